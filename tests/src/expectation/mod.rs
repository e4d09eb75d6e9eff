//! What a verdict must say, and whether it does.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::said::{Blamed, Candidate, Kind, Outcome, Said};

/// Above this a wrong verdict is one that somebody acts on.
pub const SURE: f64 = 0.9;
/// Above this a name is said to be the more probable one.
pub const LIKELY: f64 = 0.5;

/// How a component must be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// One of these texts. An address may carry a port.
    OneOf(Vec<String>),
    /// `FROM->TO`, both ends by one of these texts.
    Path {
        /// Texts for the near end.
        from: Vec<String>,
        /// Texts for the far end.
        to: Vec<String>,
    },
    /// `HOST->DESTINATION`, the destination being one of these addresses or a prefix with one in it.
    Return {
        /// The host that the answers leave.
        host: String,
        /// Addresses that the answers do not reach.
        to: Vec<IpAddr>,
    },
}

/// A component in a mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// The words for what it does wrong: where two say the same thing, either.
    pub modes: Vec<&'static str>,
    /// What the summary must mention: whom a fault of the balancer concerns.
    pub mentions: Option<&'static str>,
}

/// A fault that must be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// One of these: whose fault it is may be a matter of words.
    pub parts: Vec<Part>,
    /// What the verdict must say of users; `None` where chance decides.
    pub user_impact: Option<bool>,
    /// How it must be said to go on, where that is what the fault is about.
    pub pattern: Option<&'static str>,
    /// What a line of the evidence must have in it, where that is what the fault is about.
    pub evidence: Option<&'static str>,
}

/// What a mesh must say of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing is wrong.
    Healthy,
    /// Nothing is wrong for users, and these vantage points are said not to be served.
    TurnedAway(&'static [&'static str]),
    /// These faults, and no others.
    Faults(Vec<Blame>),
    /// The mesh cannot know. It says so, has the truth among its candidates, and asks for what would
    /// tell; or it names the truth after all. Never another component.
    Ambiguous {
        /// The faults.
        truth: Vec<Blame>,
        /// Words of which one must be in what the verdict asks for.
        ask: Vec<&'static str>,
        /// The mesh may see nothing at all, so that healthy is no lie.
        unseen: bool,
    },
}

/// How a verdict compares with what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// What was expected.
    Right,
    /// An honest "cannot be told" where that was expected.
    AmbiguousOk,
    /// Anything else, with the reason.
    Wrong(String),
}

impl Judgement {
    /// Whether it is no mistake.
    pub fn passes(&self) -> bool {
        match self {
            Judgement::Right | Judgement::AmbiguousOk => true,
            Judgement::Wrong(_) => false,
        }
    }
}

impl Name {
    /// Whether `text` is this name.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Name::OneOf(texts) => is_one_of(text, texts),
            Name::Path { from, to } => text
                .split_once("->")
                .is_some_and(|(near, far)| is_one_of(near, from) && is_one_of(far, to)),
            Name::Return { host, to } => text
                .split_once("->")
                .is_some_and(|(near, far)| near == host && reaches(far, to)),
        }
    }
}

impl Part {
    fn is(&self, kind: Kind, name: &str) -> bool {
        self.kind == kind && self.name.matches(name)
    }

    fn is_named_by(&self, blamed: &Blamed) -> bool {
        self.is(blamed.kind, &blamed.name)
            && self
                .mentions
                .is_none_or(|word| blamed.summary.contains(word))
    }
}

impl Blame {
    fn is_named_by(&self, blamed: &Blamed) -> bool {
        self.parts.iter().any(|part| part.is_named_by(blamed))
    }

    fn has_candidate(&self, candidate: &Candidate) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| part.is(candidate.kind, &candidate.name))
    }

    /// What is wrong with how the verdict names this fault.
    fn mistake(&self, faults: &[Blamed]) -> Option<String> {
        // One component may fail in two ways.
        let named = || faults.iter().filter(|blamed| self.is_named_by(blamed));
        let mut in_its_mode = named().filter(|blamed| self.in_its_mode(blamed));
        let Some(blamed) = in_its_mode.next().or(named().next()) else {
            return Some(format!("{} is not named", self.in_words()));
        };
        if !self.in_its_mode(blamed) {
            return Some(format!("mode {}", blamed.mode));
        }
        if self.user_impact.is_some_and(|i| i != blamed.user_impact) {
            return Some(format!("user_impact {}", blamed.user_impact));
        }
        if self.pattern.is_some_and(|p| p != blamed.pattern) {
            return Some(format!("pattern {:?}", blamed.pattern));
        }
        let told = |text: &str| blamed.evidence.iter().any(|line| line.text.contains(text));
        let untold = self.evidence.filter(|text| !told(text));
        untold.map(|text| format!("no evidence says {text:?}"))
    }

    fn in_its_mode(&self, blamed: &Blamed) -> bool {
        let named = self.parts.iter().filter(|part| part.is_named_by(blamed));
        named
            .flat_map(|part| &part.modes)
            .any(|m| *m == blamed.mode)
    }

    /// The first of the parts, as the verdict would have it.
    fn in_words(&self) -> String {
        let part = self.parts.first();
        let words =
            part.map(|part| format!("{:?} {} {}", part.kind, part.name, part.modes.join("|")));
        words.unwrap_or_default()
    }

    /// Kind, name, mode and user impact by tabs; where there are several words for one, with `|` between.
    pub fn row(&self) -> String {
        let of = |text: fn(&Part) -> String| {
            let texts: Vec<String> = self.parts.iter().map(text).collect();
            texts.join("|")
        };
        let impact = match self.user_impact {
            Some(true) => "felt",
            Some(false) => "masked",
            None => "either",
        };
        let kind = of(|part| part.kind.word().to_owned());
        let name = of(|part| part.name.to_string());
        let modes = of(|part| part.modes.join("|"));
        format!("{kind}\t{name}\t{modes}\t{impact}")
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Name::OneOf(texts) => write!(f, "{}", texts.join("|")),
            Name::Path { from, to } => write!(f, "{}->{}", from.join("|"), to.join("|")),
            Name::Return { host, to } => {
                let to: Vec<String> = to.iter().map(ToString::to_string).collect();
                write!(f, "{host}->{}", to.join("|"))
            }
        }
    }
}

impl Expected {
    /// The faults that may be named.
    pub fn truth(&self) -> &[Blame] {
        match self {
            Expected::Healthy | Expected::TurnedAway(_) => &[],
            Expected::Faults(blames) => blames,
            Expected::Ambiguous { truth, .. } => truth,
        }
    }

    /// The highest confidence with which the verdict names somebody who is well, as a fault or as a
    /// candidate; 0 when it names nobody wrong.
    pub fn wrong_name(&self, said: &Said) -> f64 {
        let truth = self.truth();
        let stray = said.faults.iter().filter(|f| is_stray(truth, f));
        let others = said.alternatives.iter();
        let others = others.filter(|c| !truth.iter().any(|blame| blame.has_candidate(c)));
        let named = stray.map(|f| f.confidence);
        named
            .chain(others.map(|c| c.confidence))
            .fold(0.0, f64::max)
    }

    /// The highest confidence of a wrong verdict's fault with a wrong name or mode.
    pub fn wrong_fault(&self, said: &Said) -> f64 {
        let truth = self.truth();
        let wrong = said.faults.iter().filter(|blamed| {
            let named = truth.iter().filter(|blame| blame.is_named_by(blamed));
            !named.into_iter().any(|blame| blame.in_its_mode(blamed))
        });
        wrong.map(|f| f.confidence).fold(0.0, f64::max)
    }
}

/// Compares a verdict with what was expected.
pub fn judge(expected: &Expected, said: &Said) -> Judgement {
    let mistake = match expected {
        Expected::Healthy | Expected::TurnedAway(_) if said.outcome != Outcome::Healthy => {
            Some("should be healthy".to_owned())
        }
        Expected::Healthy => None,
        Expected::TurnedAway(vantages) => {
            let told = |vantage: &&&str| said.not_probed.iter().any(|n| n.vantage == **vantage);
            let untold = vantages.iter().find(|vantage| !told(vantage));
            untold.map(|vantage| format!("{vantage} is not said to be turned away"))
        }
        Expected::Faults(blames) => match said.outcome {
            Outcome::Fault => mistaken(blames, said),
            Outcome::Healthy | Outcome::Inconclusive => Some(format!("outcome {:?}", said.outcome)),
        },
        Expected::Ambiguous { truth, ask, unseen } => {
            return judge_ambiguous(truth, ask, *unseen, said);
        }
    };
    mistake.map_or(Judgement::Right, Judgement::Wrong)
}

/// What is wrong with the faults of a verdict that must name all of `blames` and nobody else.
fn mistaken(blames: &[Blame], said: &Said) -> Option<String> {
    let mut mistakes = blames
        .iter()
        .filter_map(|blame| blame.mistake(&said.faults));
    mistakes.next().or_else(|| {
        let stray = said.faults.iter().find(|f| is_stray(blames, f));
        stray.map(|f| format!("{} is blamed too", f.name))
    })
}

fn judge_ambiguous(truth: &[Blame], ask: &[&str], unseen: bool, said: &Said) -> Judgement {
    let asked = said.ask.iter().any(|t| ask.iter().any(|a| t.contains(a)));
    let dumb = || Judgement::Wrong(format!("does not ask for {}", ask.join(" or ")));
    let candidates = &said.alternatives;
    let names_origin = said.faults.iter().any(|f| f.kind == Kind::Origin);
    let listed = |blame: &Blame| candidates.iter().any(|c| blame.has_candidate(c));
    match said.outcome {
        Outcome::Healthy if unseen => Judgement::AmbiguousOk,
        Outcome::Healthy => Judgement::Wrong("outcome Healthy".to_owned()),
        Outcome::Fault => {
            // One may be known while the other stays a candidate.
            let open = |blame: &&Blame| {
                let named = said.faults.iter().any(|f| blame.is_named_by(f));
                named || !listed(blame)
            };
            let known: Vec<Blame> = truth.iter().filter(open).cloned().collect();
            match mistaken(&known, said) {
                Some(mistake) => Judgement::Wrong(mistake),
                // What nobody declared has parts of its own.
                None if names_origin && !asked => dumb(),
                None => Judgement::Right,
            }
        }
        Outcome::Inconclusive => {
            let wrong = candidates.iter().find(|c| {
                c.confidence > LIKELY && !truth.iter().any(|blame| blame.has_candidate(c))
            });
            match wrong {
                _ if !truth.iter().any(listed) => {
                    Judgement::Wrong("the truth is not among the candidates".to_owned())
                }
                Some(wrong) => Judgement::Wrong(format!("{} is the likelier", wrong.name)),
                None if !asked => dumb(),
                None => Judgement::AmbiguousOk,
            }
        }
    }
}

/// Whether a blamed component is none of those that may be blamed.
fn is_stray(blames: &[Blame], blamed: &Blamed) -> bool {
    !blames.iter().any(|blame| blame.is_named_by(blamed))
}

/// Equal, or equal but for a port.
fn is_one_of(text: &str, texts: &[String]) -> bool {
    let bare = text.rsplit_once(':').map_or(text, |(host, _)| host);
    texts.iter().any(|t| t == text || t == bare)
}

fn reaches(destination: &str, addresses: &[IpAddr]) -> bool {
    if let Ok(address) = IpAddr::from_str(destination) {
        return addresses.contains(&address);
    }
    IpNet::from_str(destination)
        .is_ok_and(|net| net.prefix_len() > 0 && addresses.iter().any(|a| net.contains(a)))
}

#[cfg(test)]
mod tests;
