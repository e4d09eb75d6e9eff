//! Whom a verdict must blame: short words for the rows of the faults.

use std::net::IpAddr;

use crate::address::{NAME_SERVERS, RESOLVERS, SERVICE, VIP};
use crate::expectation::{Blame, Name, Part};
use crate::said::Kind;

/// What users feel of a fault.
pub const FELT: Option<bool> = Some(true);
/// What redundancy, or who is concerned, keeps from users.
pub const MASKED: Option<bool> = Some(false);
/// The mode of whoever fails connections from ports used shortly before.
pub const PORT_REUSE: &str = "port_reuse_collision";

/// Words for what one component does wrong.
pub type Modes<'a> = &'a [&'static str];

/// One component, whom users feel.
pub fn one(kind: Kind, name: &str, modes: Modes) -> Blame {
    any(kind, &[name], modes)
}

/// One component that has several names, whom users feel.
pub fn any(kind: Kind, names: &[&str], modes: Modes) -> Blame {
    named(kind, Name::OneOf(owned(names)), modes)
}

/// A way between two components, whom users feel.
pub fn way(kind: Kind, from: &str, to: &[&str], modes: Modes) -> Blame {
    let name = Name::Path {
        from: vec![from.to_owned()],
        to: owned(to),
    };
    named(kind, name, modes)
}

/// The way back from a host to any of these addresses, whom users feel.
pub fn returning(host: &str, to: &[&str], modes: Modes) -> Blame {
    let to: Vec<IpAddr> = to.iter().filter_map(|text| text.parse().ok()).collect();
    let name = Name::Return {
        host: host.to_owned(),
        to,
    };
    named(Kind::ReturnPath, name, modes)
}

/// A resolver of the homes (0 or 1).
pub fn resolver(number: usize, modes: Modes) -> Blame {
    one(Kind::Resolver, RESOLVERS[number], modes)
}

/// A name server of the zone (0 or 1).
pub fn name_server(number: usize, modes: Modes) -> Blame {
    let name = ["ns1.shop.example", "ns2.shop.example"][number];
    any(Kind::AuthoritativeDns, &[NAME_SERVERS[number], name], modes)
}

/// The zone, by its own name or by those of its servers.
pub fn zone(modes: Modes) -> Blame {
    let [first, second] = NAME_SERVERS;
    let names = [
        SERVICE,
        first,
        second,
        "ns1.shop.example",
        "ns2.shop.example",
    ];
    any(Kind::AuthoritativeDns, &names, modes)
}

/// The balancer.
pub fn balancer(modes: Modes) -> Blame {
    one(Kind::LoadBalancer, VIP, modes)
}

/// What only the balancer sees of a backend: its own doing, if it says towards whom, or the way there.
pub fn towards(backend: &'static str, modes: Modes) -> Blame {
    let mut blame = balancer(modes);
    for part in &mut blame.parts {
        part.mentions = Some(backend);
    }
    blame.or(way(Kind::LbBackendPath, VIP, &[backend], modes))
}

/// What stands for everything behind the edges that is not declared.
pub fn origin(modes: Modes) -> Blame {
    one(Kind::Origin, SERVICE, modes)
}

impl Blame {
    /// The same, with another word on users.
    pub fn felt(self, user_impact: Option<bool>) -> Blame {
        Blame {
            user_impact,
            ..self
        }
    }

    /// The same, which must be said to go on so.
    pub fn in_pattern(self, pattern: &'static str) -> Blame {
        Blame {
            pattern: Some(pattern),
            ..self
        }
    }

    /// The same, whose evidence must have this in it.
    pub fn told_by(self, evidence: &'static str) -> Blame {
        Blame {
            evidence: Some(evidence),
            ..self
        }
    }

    /// Either: the words differ, and no probe tells the two apart.
    #[must_use]
    pub fn or(mut self, other: Blame) -> Blame {
        self.parts.extend(other.parts);
        self
    }
}

fn named(kind: Kind, name: Name, modes: Modes) -> Blame {
    let part = Part {
        kind,
        name,
        modes: modes.to_vec(),
        mentions: None,
    };
    Blame {
        parts: vec![part],
        user_impact: FELT,
        pattern: None,
        evidence: None,
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
