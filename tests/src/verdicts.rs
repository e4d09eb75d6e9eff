//! What a mesh must say of a fault, by what it is given.

use crate::expectation::{Blame, Expected};
use crate::fault::{Fault, Known};
use crate::net::Balancer;

/// What the verdict must ask for where the file says nothing of what stands behind the edges.
const FOR_THE_ORIGIN: [&str; 3] = ["[load_balancer]", "[[backend]]", "agent"];
/// The same where it declares the VIP.
const FOR_THE_BACKENDS: [&str; 2] = ["[[backend]]", "agent"];
/// The same where it declares all: an agent somewhere, or what somebody must look at.
const FOR_WHAT_NOBODY_SEES: [&str; 2] = ["agent", "on the balancer"];

/// Which agents a mesh has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// An agent on every host that has a part in the path.
    Full,
    /// An agent on every host but the balancer.
    Beside,
    /// No agent on balancer and backends.
    Bare,
}

/// What the service file says of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// The name and the URL.
    Name,
    /// Those and the VIP.
    Vip,
    /// Those and the backends.
    Backends,
    /// Everything, the name servers and the probes' time limits included.
    All,
}

/// What a mesh is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its agents.
    pub coverage: Coverage,
    /// Its service file.
    pub declared: Declared,
    /// How the balancer of its path works.
    pub balancer: Balancer,
}

/// What a mesh must say of a fault; of no fault, that all is well.
pub fn expected(fault: Option<Fault>, setting: Setting) -> Expected {
    let parts = fault.map(Fault::parts).unwrap_or_default();
    let each = parts.into_iter().map(|part| of_one(part, setting));
    each.fold(Expected::Healthy, both)
}

fn of_one(fault: Fault, setting: Setting) -> Expected {
    let Setting {
        coverage,
        declared,
        balancer,
    } = setting;
    match (fault.known(declared, balancer), coverage) {
        (Known::Hidden, _) => Expected::Healthy,
        (Known::TurnedAway(vantages), _) => Expected::TurnedAway(vantages),
        (Known::Open(truth), _) => open(truth, declared),
        (Known::Clear, Coverage::Bare) if !fault.asks_for().is_empty() => Expected::Ambiguous {
            truth: fault.unaided(balancer),
            // Without an agent on the hosts, a packet that is missing could be missing for several
            // reasons.
            ask: fault.asks_for().to_vec(),
            unseen: fault.needs_agents(),
        },
        (Known::Clear, Coverage::Beside) if !fault.shows_beside() => Expected::Ambiguous {
            truth: fault.unaided(balancer),
            ask: vec!["lb"],
            unseen: fault.needs_agents(),
        },
        (Known::Clear, Coverage::Full | Coverage::Beside | Coverage::Bare) => {
            Expected::Faults(fault.truth(balancer))
        }
    }
}

/// The truth, or candidates, and what would tell more.
fn open(truth: Vec<Blame>, declared: Declared) -> Expected {
    let ask = match declared {
        Declared::Name => FOR_THE_ORIGIN.to_vec(),
        Declared::Vip | Declared::Backends => FOR_THE_BACKENDS.to_vec(),
        Declared::All => FOR_WHAT_NOBODY_SEES.to_vec(),
    };
    Expected::Ambiguous {
        truth,
        ask,
        unseen: false,
    }
}

/// What must be said when both are there.
fn both(one: Expected, other: Expected) -> Expected {
    match (one, other) {
        (Expected::Healthy | Expected::TurnedAway(_), only)
        | (only, Expected::Healthy | Expected::TurnedAway(_)) => only,
        (Expected::Faults(mut these), Expected::Faults(those)) => {
            these.extend(those);
            Expected::Faults(these)
        }
        (
            Expected::Ambiguous {
                mut truth,
                ask,
                unseen,
            },
            other,
        )
        | (
            other,
            Expected::Ambiguous {
                mut truth,
                ask,
                unseen,
            },
        ) => {
            truth.extend(other.truth().iter().cloned());
            Expected::Ambiguous { truth, ask, unseen }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{BackendFault, BalancerFault, EdgeFault, WayFault};
    use crate::said::Kind;

    fn setting(declared: Declared, coverage: Coverage) -> Setting {
        Setting {
            coverage,
            declared,
            balancer: Balancer::L7,
        }
    }

    fn bare(fault: Fault, declared: Declared) -> Expected {
        expected(Some(fault), setting(declared, Coverage::Bare))
    }

    #[test]
    fn what_a_mesh_cannot_tell_it_must_ask_about() {
        let files = [Declared::Name, Declared::Vip, Declared::Backends];
        for fault in Fault::every() {
            for declared in files {
                if let Expected::Ambiguous { ask, truth, .. } = bare(fault, declared) {
                    assert!(!ask.is_empty(), "{fault:?}");
                    let mut parts = truth.iter().flat_map(|blame| &blame.parts);
                    assert!(parts.all(|part| !part.modes.is_empty()), "{fault:?}");
                }
            }
        }
    }

    #[test]
    fn nobody_is_named_whom_the_file_does_not_declare() {
        for fault in Fault::every() {
            let expected = bare(fault, Declared::Name);
            for part in expected.truth().iter().flat_map(|blame| &blame.parts) {
                let declared = matches!(
                    part.kind,
                    Kind::ClientNetwork
                        | Kind::Resolver
                        | Kind::AuthoritativeDns
                        | Kind::Cdn
                        | Kind::CdnOriginPath
                        | Kind::Origin
                );
                assert!(declared, "{fault:?}: {part:?}");
            }
        }
    }

    #[test]
    fn what_is_known_grows_with_what_is_declared() {
        let fails = Fault::Backend(BackendFault::Fails);
        let is_open = |expected: Expected| matches!(expected, Expected::Ambiguous { .. });
        assert!(is_open(bare(fails, Declared::Name)));
        assert!(is_open(bare(fails, Declared::Vip)));
        assert!(!is_open(bare(fails, Declared::Backends)));
        let cut_off = Fault::Edge(EdgeFault::CutOff);
        assert!(is_open(bare(cut_off, Declared::Name)));
        assert!(!is_open(bare(cut_off, Declared::Vip)));
        let reuse = Fault::Balancer(BalancerFault::PortReuse);
        assert_eq!(bare(reuse, Declared::Name), Expected::Healthy);
        assert!(!is_open(bare(reuse, Declared::Vip)));
        let way = Fault::Way(WayFault::LosesSyns);
        assert!(is_open(bare(way, Declared::All)));
        let full = expected(Some(way), setting(Declared::All, Coverage::Full));
        assert!(!is_open(full));
    }

    #[test]
    fn of_two_faults_one_may_be_known_while_the_other_is_open() {
        let Expected::Ambiguous { truth, .. } = bare(Fault::TwoAtOnce, Declared::Name) else {
            panic!("the backend is not declared");
        };
        let kinds: Vec<Kind> = truth.iter().map(|blame| blame.parts[0].kind).collect();
        assert_eq!(kinds, [Kind::Origin, Kind::Resolver]);
    }
}
