//! What is known of each part of a path, by a verdict and by what rounds cross: the marks of the picture.

use std::collections::BTreeMap;

use localize::{Component, Kind, Verdict};
use proto::words::{kind, percent};

use crate::coverage::Part;

/// What is known of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// At fault.
    Blamed,
    /// Perhaps at fault.
    Candidate,
    /// No round crosses it.
    NotProbed,
    /// Not at fault.
    Cleared,
    /// The verdict says nothing of it.
    NotKnown,
}

impl Mark {
    /// In a word or two.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Blamed => "blamed",
            Self::Candidate => "candidate",
            Self::NotProbed => "not probed",
            Self::Cleared => "cleared",
            Self::NotKnown => "not known",
        }
    }

    /// Its class in the stylesheet.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Blamed => "blamed",
            Self::Candidate => "candidate",
            Self::NotProbed => "unprobed",
            Self::Cleared => "cleared",
            Self::NotKnown => "unknown",
        }
    }

    /// A sign that tells it without colour.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Blamed => "✕",
            Self::Candidate => "?",
            Self::NotProbed => "–",
            Self::Cleared => "✓",
            Self::NotKnown => "·",
        }
    }

    /// Whether a verdict's page says something of it.
    pub(super) const fn is_told(self) -> bool {
        match self {
            Self::Blamed | Self::Candidate | Self::Cleared => true,
            Self::NotProbed | Self::NotKnown => false,
        }
    }

    /// Whether it must be seen even where not all can be.
    pub(super) const fn is_in_question(self) -> bool {
        match self {
            Self::Blamed | Self::Candidate => true,
            Self::NotProbed | Self::Cleared | Self::NotKnown => false,
        }
    }
}

/// One part with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    /// The part.
    pub(super) component: Component,
    /// What is known.
    pub(super) mark: Mark,
    /// The same in words, with the numbers that belong to it.
    pub(super) words: String,
    /// The number alone that is worth a place where there is little.
    pub(super) short: String,
    /// Why.
    pub(super) because: String,
}

impl Known {
    /// The word of its kind.
    pub(super) fn kind(&self) -> &'static str {
        kind(self.component.kind)
    }

    /// Names it on the page of its verdict.
    pub(super) fn anchor(&self) -> String {
        anchor(&self.component)
    }
}

/// What is known of every part that somebody has said something of.
#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge {
    parts: BTreeMap<Component, Known>,
}

impl Knowledge {
    /// By a verdict, if there is one, and by what rounds cross.
    pub(super) fn new(verdict: Option<&Verdict>, crossed: &[Part]) -> Self {
        let mut known = Self::default();
        for part in crossed.iter().filter(|part| part.probes_per_round == 0.0) {
            known.learn(&part.component, Mark::NotProbed, ["", ""], &part.ask);
        }
        let Some(verdict) = verdict else {
            return known;
        };
        for cleared in &verdict.exonerated {
            let sure = format!(" {}", percent(cleared.confidence));
            known.learn(
                &cleared.component,
                Mark::Cleared,
                [&sure, ""],
                &cleared.because,
            );
        }
        for rival in verdict.alternatives.iter().rev() {
            let sure = percent(rival.confidence);
            let numbers = [&*format!(" {sure}"), &sure];
            known.learn(&rival.component, Mark::Candidate, numbers, &rival.because);
        }
        for fault in &verdict.faults {
            let (sure, rate) = (percent(fault.confidence), percent(fault.rate.estimate));
            let fails = format!("fails {rate}");
            let numbers = [&*format!(" {sure}, {fails}"), &fails];
            known.learn(&fault.component, Mark::Blamed, numbers, &fault.summary);
        }
        known
    }

    fn learn(
        &mut self,
        component: &Component,
        mark: Mark,
        [numbers, short]: [&str; 2],
        because: &str,
    ) {
        let known = Known {
            component: component.clone(),
            mark,
            words: format!("{}{numbers}", mark.word()),
            short: short.to_owned(),
            because: because.to_owned(),
        };
        self.parts.insert(component.clone(), known);
    }

    /// What is known of a part.
    pub(super) fn of(&self, kind: Kind, name: &str) -> Known {
        let component = Component {
            kind,
            name: name.to_owned(),
        };
        let unknown = || Known {
            component: component.clone(),
            mark: Mark::NotKnown,
            words: Mark::NotKnown.word().to_owned(),
            short: String::new(),
            because: String::new(),
        };
        self.parts.get(&component).cloned().unwrap_or_else(unknown)
    }

    /// The parts of these kinds, the blamed first.
    pub(super) fn of_kinds(&self, kinds: &[Kind]) -> Vec<Known> {
        let parts = self.parts.values();
        let mut parts: Vec<Known> = parts
            .filter(|known| kinds.contains(&known.component.kind))
            .cloned()
            .collect();
        parts.sort_by_key(|known| known.mark);
        parts
    }

    /// Every part, the blamed first.
    pub(super) fn all(&self) -> Vec<Known> {
        let mut parts: Vec<Known> = self.parts.values().cloned().collect();
        parts.sort_by_key(|known| known.mark);
        parts
    }
}

/// What names a part within a page: of letters, digits and hyphens alone.
pub(super) fn anchor(component: &Component) -> String {
    let text = format!("{}-{}", kind(component.kind), component.name);
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::samples;
    use super::*;

    #[test]
    fn a_verdict_marks_the_parts_that_it_speaks_of() {
        let verdict = samples::fault();
        let crossed = [samples::uncrossed(Kind::Backend, "web9")];
        let known = Knowledge::new(Some(&verdict), &crossed);
        let rows = [
            (Kind::Backend, "web2", Mark::Blamed, "blamed 98%, fails 41%"),
            (
                Kind::LbBackendPath,
                "203.0.113.10:443->web2",
                Mark::Candidate,
                "candidate 1%",
            ),
            (Kind::Backend, "web1", Mark::Cleared, "cleared 99%"),
            (Kind::Backend, "web9", Mark::NotProbed, "not probed"),
            (Kind::Resolver, "192.0.2.1", Mark::NotKnown, "not known"),
        ];
        for (kind, name, mark, words) in rows {
            let part = known.of(kind, name);
            assert_eq!((part.mark, part.words.as_str()), (mark, words), "{name}");
        }
        assert_eq!(known.all()[0].component.name, "web2");
    }

    #[test]
    fn an_anchor_holds_nothing_that_means_anything() {
        let odd = Component {
            kind: Kind::AuthoritativeDns,
            name: "\"><script>alert(1)</script>".to_owned(),
        };
        assert_eq!(
            anchor(&odd),
            "authoritative-dns----script-alert-1---script-"
        );
    }
}
