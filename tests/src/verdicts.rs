//! The verdict that each fault must get from each mesh.

use std::net::IpAddr;

use localize::verdict::Kind;

use crate::address::{BALANCER, DC1, EDGES, NAME_SERVERS, RESOLVERS, VIP};
use crate::expectation::{Blame, Expected, Name};
use crate::fault::Fault;
use crate::net::Balancer;

/// The mode of whoever fails connections from ports used shortly before.
const PORT_REUSE: &str = "port_reuse_collision";

/// Which agents a mesh has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// An agent on every host that has a part in the path.
    Full,
    /// No agent on balancer and backends.
    Bare,
}

/// What a mesh must say of a fault; of no fault, that all is well.
pub fn expected(fault: Option<Fault>, coverage: Coverage, balancer: Balancer) -> Expected {
    let Some(fault) = fault else {
        return Expected::Healthy;
    };
    let mut expected = match coverage {
        Coverage::Full => Expected::Faults(truth(fault)),
        Coverage::Bare => without_agents_on_hosts(fault),
    };
    // Without health checks no fault of a backend is masked.
    if let (Expected::Faults(blames), Balancer::L4) = (&mut expected, balancer) {
        for blame in blames {
            blame.user_impact = None;
        }
    }
    expected
}

/// The components that are at fault.
pub fn truth(fault: Fault) -> Vec<Blame> {
    let one = |kind, names: &[&str]| vec![blame(kind, names)];
    match fault {
        Fault::ResolverDead => one(Kind::Resolver, &[RESOLVERS[0]]),
        Fault::ResolverLossy => one(Kind::Resolver, &[RESOLVERS[1]]),
        Fault::AuthoritativeRefuses => name_server(0),
        Fault::AuthoritativeRemovedEdge => name_server(1),
        Fault::EdgeAnswers500 | Fault::EdgeExpired => one(Kind::Cdn, &[EDGES[0]]),
        Fault::EdgeStalls => one(Kind::Cdn, &[EDGES[1]]),
        Fault::EdgesReset => one(Kind::Cdn, &["cloudflare"]),
        Fault::EdgeCutOff => vec![Blame {
            kind: Kind::CdnOriginPath,
            name: path(EDGES[0], VIP),
            mode: None,
            user_impact: None,
        }],
        Fault::BalancerDead | Fault::Balancer503 | Fault::BalancerExpired => {
            one(Kind::LoadBalancer, &[VIP])
        }
        Fault::BackendFails
        | Fault::BackendFailsSome
        | Fault::BackendFailsSeldom
        | Fault::BackendSlow300Ms
        | Fault::BackendDropsSyns
        | Fault::BackendOtherBody => one(Kind::Backend, &["web2"]),
        Fault::BackendSlow | Fault::BackendResets => one(Kind::Backend, &["web3"]),
        Fault::BackendTruncatesLarge => {
            as_mode("large_answers_fail", one(Kind::Backend, &["web2"]))
        }
        Fault::BackendTruncates => one(Kind::Backend, &["web1"]),
        Fault::BackendClosed => masked(Kind::Backend, "web1"),
        // Neither the edges nor the balancer use a port again within a minute.
        Fault::BackendPortReuse => as_mode(PORT_REUSE, masked(Kind::Backend, "web2")),
        Fault::BalancerPortReuse => as_mode(PORT_REUSE, masked(Kind::LoadBalancer, VIP)),
        Fault::HomeLossy => one(Kind::ClientNetwork, &["home1"]),
        Fault::PathLosesSyns => vec![Blame {
            kind: Kind::LbBackendPath,
            name: path(VIP, "web2"),
            mode: None,
            user_impact: None,
        }],
        Fault::ReturnRouteBalancer => vec![returning("web1", &BALANCER[1..])],
        Fault::ReturnRouteDc1 => vec![returning("web1", &[DC1])],
        Fault::ReturnAnswersLost => vec![returning("web2", &[BALANCER[0], BALANCER[1], VIP])],
        Fault::ReturnBlackHole => as_mode("mtu_black_hole", truth(Fault::ReturnAnswersLost)),
        Fault::TwoAtOnce => vec![
            blame(Kind::Backend, &["web2"]),
            blame(Kind::Resolver, &[RESOLVERS[0]]),
        ],
    }
}

/// Without an agent on the hosts, a packet that is missing could be missing for several reasons.
fn without_agents_on_hosts(fault: Fault) -> Expected {
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
        | Fault::TwoAtOnce => return Expected::Faults(truth(fault)),
    };
    Expected::Ambiguous {
        truth: truth(fault),
        ask,
        // The balancer's health checks take the lost route out of use, and no probe of this mesh
        // leaves from the address concerned.
        unseen: fault == Fault::ReturnRouteBalancer,
    }
}

fn blame(kind: Kind, names: &[&str]) -> Blame {
    Blame {
        kind,
        name: Name::OneOf(names.iter().map(|name| (*name).to_owned()).collect()),
        mode: None,
        user_impact: None,
    }
}

/// The same, in this mode and no other.
fn as_mode(mode: &'static str, blames: Vec<Blame>) -> Vec<Blame> {
    let in_mode = |blame| Blame {
        mode: Some(mode),
        ..blame
    };
    blames.into_iter().map(in_mode).collect()
}

fn masked(kind: Kind, name: &str) -> Vec<Blame> {
    vec![Blame {
        user_impact: Some(false),
        ..blame(kind, &[name])
    }]
}

fn name_server(number: usize) -> Vec<Blame> {
    let name = ["ns1.shop.example", "ns2.shop.example"][number];
    vec![blame(Kind::AuthoritativeDns, &[NAME_SERVERS[number], name])]
}

fn path(from: &str, to: &str) -> Name {
    Name::Path {
        from: vec![from.to_owned()],
        to: vec![to.to_owned()],
    }
}

fn returning(host: &str, to: &[&str]) -> Blame {
    let to: Vec<IpAddr> = to
        .iter()
        .filter_map(|address| address.parse().ok())
        .collect();
    Blame {
        kind: Kind::ReturnPath,
        name: Name::Return {
            host: host.to_owned(),
            to,
        },
        mode: None,
        user_impact: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_truth_and_every_address_of_it_is_one() {
        for fault in Fault::ALL {
            let blames = truth(fault);
            assert!(!blames.is_empty(), "{fault:?}");
            for blame in blames {
                if let Name::Return { to, .. } = blame.name {
                    assert!(!to.is_empty(), "{fault:?}");
                }
            }
        }
    }

    #[test]
    fn what_a_mesh_without_host_agents_cannot_tell_it_must_ask_about() {
        for fault in Fault::ALL {
            if let Expected::Ambiguous { ask, .. } =
                expected(Some(fault), Coverage::Bare, Balancer::L7)
            {
                assert!(!ask.is_empty(), "{fault:?}");
            }
        }
    }
}
