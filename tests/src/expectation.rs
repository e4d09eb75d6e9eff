//! What a verdict must say, and whether it does.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use localize::verdict::{Kind, Outcome, Verdict};

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

/// A component that must be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// The mode that it must be named in, where others would be another fault.
    pub mode: Option<&'static str>,
    /// What the verdict must say of users, where the fault settles it.
    pub user_impact: Option<bool>,
}

/// What a mesh must say of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing is wrong.
    Healthy,
    /// These components are at fault, and no others.
    Faults(Vec<Blame>),
    /// The mesh cannot know. It says so, has the truth among its candidates, and asks for an agent on
    /// one of the hosts; or it names the truth after all. Never another component.
    Ambiguous {
        /// The component at fault.
        truth: Vec<Blame>,
        /// Hosts of which one must be in what the verdict asks for.
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

impl Blame {
    fn matches(&self, kind: Kind, name: &str) -> bool {
        self.kind == kind && self.name.matches(name)
    }
}

/// Compares a verdict with what was expected.
pub fn judge(expected: &Expected, verdict: &Verdict) -> Judgement {
    match expected {
        Expected::Healthy if verdict.outcome == Outcome::Healthy => Judgement::Right,
        Expected::Healthy => Judgement::Wrong("should be healthy".to_owned()),
        Expected::Faults(blames) => judge_faults(blames, verdict),
        Expected::Ambiguous { truth, ask, unseen } => judge_ambiguous(truth, ask, *unseen, verdict),
    }
}

fn judge_faults(blames: &[Blame], verdict: &Verdict) -> Judgement {
    if verdict.outcome != Outcome::Fault {
        return Judgement::Wrong(format!("outcome {:?}", verdict.outcome));
    }
    for blame in blames {
        let found = verdict
            .faults
            .iter()
            .find(|f| blame.matches(f.component.kind, &f.component.name));
        let Some(fault) = found else {
            return Judgement::Wrong(format!("{:?} {:?} is not named", blame.kind, blame.name));
        };
        if blame.mode.is_some_and(|mode| mode != fault.mode) {
            return Judgement::Wrong(format!("mode {}", fault.mode));
        }
        if blame
            .user_impact
            .is_some_and(|impact| impact != fault.user_impact)
        {
            return Judgement::Wrong(format!("user_impact {}", fault.user_impact));
        }
    }
    match stray(blames, verdict) {
        Some(name) => Judgement::Wrong(format!("{name} is blamed too")),
        None => Judgement::Right,
    }
}

fn judge_ambiguous(truth: &[Blame], ask: &[&str], unseen: bool, verdict: &Verdict) -> Judgement {
    match verdict.outcome {
        Outcome::Healthy if unseen => Judgement::AmbiguousOk,
        Outcome::Healthy => Judgement::Wrong("outcome Healthy".to_owned()),
        Outcome::Fault => match stray(truth, verdict) {
            Some(name) => Judgement::Wrong(format!("{name} is blamed")),
            None => Judgement::Right,
        },
        Outcome::Inconclusive => {
            let listed = verdict.alternatives.iter().any(|alternative| {
                let component = &alternative.component;
                truth
                    .iter()
                    .any(|t| t.matches(component.kind, &component.name))
            });
            let asked = verdict
                .ask
                .iter()
                .any(|text| ask.iter().any(|host| text.contains(host)));
            match (listed, asked) {
                (false, _) => Judgement::Wrong("the truth is not among the candidates".to_owned()),
                (true, false) => Judgement::Wrong(format!("does not ask for {}", ask.join("/"))),
                (true, true) => Judgement::AmbiguousOk,
            }
        }
    }
}

/// A blamed component that is not among those that may be blamed.
fn stray<'v>(blames: &[Blame], verdict: &'v Verdict) -> Option<&'v str> {
    let mut faults = verdict.faults.iter();
    let stray = faults.find(|fault| {
        let component = &fault.component;
        !blames
            .iter()
            .any(|b| b.matches(component.kind, &component.name))
    });
    stray.map(|fault| fault.component.name.as_str())
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
mod tests {
    use super::*;

    fn texts(of: &[&str]) -> Vec<String> {
        of.iter().map(|t| (*t).to_owned()).collect()
    }

    #[test]
    fn names_match_with_and_without_ports() {
        let path = Name::Path {
            from: texts(&["198.51.100.11"]),
            to: texts(&["203.0.113.10"]),
        };
        assert!(path.matches("198.51.100.11->203.0.113.10:443"));
        assert!(!path.matches("*->203.0.113.10:443"));
        assert!(Name::OneOf(texts(&["web2"])).matches("web2"));
        assert!(!Name::OneOf(texts(&["web2"])).matches("web22"));
    }

    #[test]
    fn a_return_path_may_be_an_address_or_a_prefix_that_holds_it() {
        let name = Name::Return {
            host: "web1".to_owned(),
            to: vec![IpAddr::from([10, 0, 9, 10])],
        };
        for (text, expected) in [
            ("web1->10.0.9.10", true),
            ("web1->10.0.9.0/24", true),
            ("web1->10.0.8.0/24", false),
            ("web1->0.0.0.0/0", false),
            ("web2->10.0.9.10", false),
        ] {
            assert_eq!(name.matches(text), expected, "{text}");
        }
    }
}
