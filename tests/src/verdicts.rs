//! The verdict that each fault must get, by what the mesh is given.

use crate::expectation::{Blame, Expected};
use crate::fault::Fault;
use crate::net::Balancer;
use crate::said::Kind;
use crate::truth::{origin, truth, way_from_edge};

/// What the verdict must ask for where the file says nothing of what stands behind the edges.
const FOR_THE_ORIGIN: [&str; 3] = ["[load_balancer]", "[[backend]]", "agent"];
/// The same where it declares the VIP.
const FOR_THE_BACKENDS: [&str; 2] = ["[[backend]]", "agent"];

/// Which agents a mesh has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// An agent on every host that has a part in the path.
    Full,
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
    let Some(fault) = fault else {
        return Expected::Healthy;
    };
    match (setting.declared, setting.coverage) {
        (Declared::Name, _) => by_name_alone(fault, setting.balancer),
        (Declared::Vip, _) => with_the_vip(fault, setting.balancer),
        (Declared::Backends | Declared::All, Coverage::Full) => {
            Expected::Faults(truth(fault, setting.balancer))
        }
        (Declared::Backends | Declared::All, Coverage::Bare) => {
            without_agents_on_hosts(fault, setting.balancer)
        }
    }
}

/// Without an agent on the hosts, a packet that is missing could be missing for several reasons.
fn without_agents_on_hosts(fault: Fault, balancer: Balancer) -> Expected {
    let truth = truth(fault, balancer);
    let ask = match fault {
        Fault::BackendDropsSyns => vec!["web2"],
        Fault::PathLosesSyns => vec!["lb", "web2"],
        Fault::ReturnRouteBalancer | Fault::ReturnRouteDc1 => vec!["web1", "lb"],
        Fault::ReturnAnswersLost | Fault::ReturnBlackHole => vec!["web2", "lb"],
        Fault::ResolverDead
        | Fault::ResolverLossy
        | Fault::AuthoritativeRefuses
        | Fault::AuthoritativeRemovedEdge
        | Fault::EdgeAnswers500
        | Fault::EdgeStalls
        | Fault::EdgesReset
        | Fault::EdgeExpired
        | Fault::EdgeCutOff
        | Fault::BalancerDead
        | Fault::Balancer503
        | Fault::BalancerExpired
        | Fault::BackendFails
        | Fault::BackendFailsSome
        | Fault::BackendFailsSeldom
        | Fault::BackendSlow
        | Fault::BackendSlow300Ms
        | Fault::BackendClosed
        | Fault::BackendResets
        | Fault::BackendTruncates
        | Fault::BackendTruncatesLarge
        | Fault::BackendOtherBody
        | Fault::BackendPortReuse
        | Fault::BalancerPortReuse
        | Fault::HomeLossy
        | Fault::TwoAtOnce => return Expected::Faults(truth),
    };
    Expected::Ambiguous {
        truth,
        ask,
        always_ask: false,
        // The balancer's health checks take the lost route out of use, and no probe of this mesh
        // leaves from the address concerned.
        unseen: fault == Fault::ReturnRouteBalancer,
    }
}

/// Where nothing behind the edges is declared, all of that is the origin, and what an edge does by
/// itself may be the origin's doing.
fn by_name_alone(fault: Fault, balancer: Balancer) -> Expected {
    match fault {
        Fault::ResolverDead
        | Fault::ResolverLossy
        | Fault::AuthoritativeRefuses
        | Fault::AuthoritativeRemovedEdge
        | Fault::EdgeExpired
        | Fault::HomeLossy => Expected::Faults(truth(fault, balancer)),
        Fault::EdgeAnswers500 | Fault::EdgeStalls | Fault::EdgesReset => {
            open(truth(fault, balancer), &FOR_THE_ORIGIN)
        }
        Fault::EdgeCutOff => {
            let modes = ["unreachable", "no_answer", "http_5xx"];
            let mut blame = origin(&modes);
            blame.parts.push(way_from_edge(0, &modes));
            open(vec![blame], &FOR_THE_ORIGIN)
        }
        Fault::BalancerPortReuse => Expected::Healthy,
        Fault::BalancerDead | Fault::Balancer503 | Fault::BalancerExpired => {
            open(vec![origin(at_the_origin(fault))], &FOR_THE_ORIGIN)
        }
        Fault::BackendFails
        | Fault::BackendFailsSome
        | Fault::BackendFailsSeldom
        | Fault::BackendSlow
        | Fault::BackendSlow300Ms
        | Fault::BackendClosed
        | Fault::BackendDropsSyns
        | Fault::BackendResets
        | Fault::BackendTruncates
        | Fault::BackendTruncatesLarge
        | Fault::BackendOtherBody
        | Fault::BackendPortReuse
        | Fault::PathLosesSyns
        | Fault::ReturnRouteBalancer
        | Fault::ReturnRouteDc1
        | Fault::ReturnAnswersLost
        | Fault::ReturnBlackHole
        | Fault::TwoAtOnce => behind_the_balancer(fault, balancer, &FOR_THE_ORIGIN),
    }
}

/// Where the VIP is declared and no backend, what stands behind the VIP is the origin.
fn with_the_vip(fault: Fault, balancer: Balancer) -> Expected {
    match fault {
        Fault::ResolverDead
        | Fault::ResolverLossy
        | Fault::AuthoritativeRefuses
        | Fault::AuthoritativeRemovedEdge
        | Fault::EdgeAnswers500
        | Fault::EdgeStalls
        | Fault::EdgesReset
        | Fault::EdgeExpired
        | Fault::EdgeCutOff
        | Fault::BalancerPortReuse
        | Fault::HomeLossy => Expected::Faults(truth(fault, balancer)),
        // Whoever answers there may be the balancer or somebody behind it.
        Fault::BalancerDead | Fault::Balancer503 | Fault::BalancerExpired => {
            open(truth(fault, balancer), &FOR_THE_BACKENDS)
        }
        Fault::BackendFails
        | Fault::BackendFailsSome
        | Fault::BackendFailsSeldom
        | Fault::BackendSlow
        | Fault::BackendSlow300Ms
        | Fault::BackendClosed
        | Fault::BackendDropsSyns
        | Fault::BackendResets
        | Fault::BackendTruncates
        | Fault::BackendTruncatesLarge
        | Fault::BackendOtherBody
        | Fault::BackendPortReuse
        | Fault::PathLosesSyns
        | Fault::ReturnRouteBalancer
        | Fault::ReturnRouteDc1
        | Fault::ReturnAnswersLost
        | Fault::ReturnBlackHole
        | Fault::TwoAtOnce => behind_the_balancer(fault, balancer, &FOR_THE_BACKENDS),
    }
}

/// What a mesh says of a fault behind the balancer that has nobody declared there.
fn behind_the_balancer(fault: Fault, balancer: Balancer, ask: &[&'static str]) -> Expected {
    let blames = truth(fault, balancer);
    let visible = blames.iter().any(|blame| blame.user_impact != Some(false));
    if !visible {
        // What the balancer hides from its clients, nobody sees who asks it alone.
        return Expected::Healthy;
    }
    let hidden = |blame: Blame| match blame.parts.first().map(|part| part.kind) {
        Some(Kind::LoadBalancer | Kind::LbBackendPath | Kind::Backend | Kind::ReturnPath) => {
            origin(at_the_origin(fault))
        }
        Some(
            Kind::ClientNetwork
            | Kind::Resolver
            | Kind::AuthoritativeDns
            | Kind::Cdn
            | Kind::CdnOriginPath
            | Kind::Origin,
        )
        | None => blame,
    };
    open(blames.into_iter().map(hidden).collect(), ask)
}

/// The truth, or candidates. Who names what nobody declared says what would tell its parts apart.
fn open(truth: Vec<Blame>, ask: &[&'static str]) -> Expected {
    let mut parts = truth.iter().flat_map(|blame| &blame.parts);
    let always_ask = parts.any(|part| part.kind == Kind::Origin);
    Expected::Ambiguous {
        truth,
        ask: ask.to_vec(),
        always_ask,
        unseen: false,
    }
}

/// The words for what clients of the edges see of a fault behind them.
fn at_the_origin(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::BalancerDead => &["refuses", "http_5xx"],
        Fault::BalancerExpired => &["certificate_expired", "certificate_invalid", "http_5xx"],
        Fault::Balancer503
        | Fault::BackendFails
        | Fault::BackendFailsSome
        | Fault::BackendFailsSeldom
        | Fault::TwoAtOnce => &["http_5xx"],
        Fault::BackendSlow | Fault::BackendSlow300Ms => &["slow"],
        Fault::BackendClosed => &["refuses", "http_5xx"],
        Fault::BackendResets => &["resets", "http_5xx"],
        Fault::BackendTruncates => &["truncates"],
        Fault::BackendTruncatesLarge => &["large_answers_fail"],
        Fault::BackendOtherBody => &["wrong_content"],
        Fault::BackendPortReuse | Fault::BalancerPortReuse => &["port_reuse_collision"],
        // Balancer and edges try again: what is left is late, or given up.
        Fault::BackendDropsSyns
        | Fault::PathLosesSyns
        | Fault::ReturnRouteBalancer
        | Fault::ReturnRouteDc1
        | Fault::ReturnAnswersLost => &["slow", "no_answer", "http_5xx", "stalls"],
        Fault::ReturnBlackHole => &["stalls", "no_answer", "http_5xx", "mtu_black_hole"],
        Fault::ResolverDead
        | Fault::ResolverLossy
        | Fault::AuthoritativeRefuses
        | Fault::AuthoritativeRemovedEdge
        | Fault::EdgeAnswers500
        | Fault::EdgeStalls
        | Fault::EdgesReset
        | Fault::EdgeExpired
        | Fault::EdgeCutOff
        | Fault::HomeLossy => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(declared: Declared, coverage: Coverage) -> Setting {
        Setting {
            coverage,
            declared,
            balancer: Balancer::L7,
        }
    }

    #[test]
    fn what_a_mesh_cannot_tell_it_must_ask_about() {
        let files = [Declared::Name, Declared::Vip, Declared::Backends];
        for fault in Fault::every() {
            for declared in files {
                let expected = expected(Some(fault), setting(declared, Coverage::Bare));
                if let Expected::Ambiguous { ask, truth, .. } = expected {
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
            let expected = expected(Some(fault), setting(Declared::Name, Coverage::Bare));
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
}
