//! Whose fault each fault is, in which mode, and whether users feel it.

use std::net::IpAddr;

use crate::address::{BALANCER, DC1, EDGES, NAME_SERVERS, RESOLVERS, SERVICE, VIP};
use crate::expectation::{Blame, Name, Part};
use crate::fault::Fault;
use crate::net::Balancer;
use crate::said::Kind;

/// The mode of whoever fails connections from ports used shortly before.
const PORT_REUSE: &str = "port_reuse_collision";

/// What users feel of a fault.
const FELT: Option<bool> = Some(true);
/// What redundancy, or who is concerned, keeps from users.
const MASKED: Option<bool> = Some(false);

/// The faults that are there, as a mesh that sees everything must name them.
pub fn truth(fault: Fault, balancer: Balancer) -> Vec<Blame> {
    let backend = |name, mode| one(Kind::Backend, &[name], &[mode], FELT);
    let vip = |mode| one(Kind::LoadBalancer, &[VIP], &[mode], FELT);
    let edge = |number: usize, mode| one(Kind::Cdn, &[EDGES[number]], &[mode], FELT);
    let blame = match fault {
        Fault::ResolverDead => resolver(0),
        Fault::ResolverLossy => resolver(1),
        // Resolvers ask the other one.
        Fault::AuthoritativeRefuses => name_server(0, "refuses", MASKED),
        Fault::AuthoritativeRemovedEdge => name_server(1, "wrong_answer", FELT),
        Fault::EdgeAnswers500 => edge(0, "http_5xx"),
        Fault::EdgeStalls => edge(1, "stalls"),
        Fault::EdgesReset => one(Kind::Cdn, &["cloudflare"], &["resets"], FELT),
        Fault::EdgeExpired => edge(0, "certificate_expired"),
        Fault::EdgeCutOff => blame(
            Kind::CdnOriginPath,
            path(EDGES[0], &[VIP]),
            &["unreachable"],
            FELT,
        ),
        Fault::BalancerDead => vip("refuses"),
        Fault::Balancer503 => vip("http_5xx"),
        Fault::BalancerExpired => vip("certificate_expired"),
        Fault::BackendFails | Fault::BackendFailsSome | Fault::BackendFailsSeldom => {
            backend("web2", "http_5xx")
        }
        Fault::BackendSlow => backend("web3", "slow"),
        Fault::BackendSlow300Ms => backend("web2", "slow"),
        Fault::BackendClosed => {
            let impact = if balancer.checks_health() {
                MASKED
            } else {
                FELT
            };
            one(Kind::Backend, &["web1"], &["refuses"], impact)
        }
        Fault::BackendDropsSyns => backend("web2", "syn_unanswered"),
        Fault::BackendResets => backend("web3", "resets"),
        Fault::BackendTruncates => backend("web1", "truncates"),
        Fault::BackendTruncatesLarge => backend("web2", "large_answers_fail"),
        Fault::BackendOtherBody => backend("web2", "wrong_content"),
        // Neither the edges nor the balancer use a port again within a minute.
        Fault::BackendPortReuse => one(Kind::Backend, &["web2"], &[PORT_REUSE], MASKED),
        Fault::BalancerPortReuse => one(Kind::LoadBalancer, &[VIP], &[PORT_REUSE], MASKED),
        Fault::HomeLossy => one(Kind::ClientNetwork, &["home1"], &["packet_loss"], FELT),
        Fault::PathLosesSyns => blame(
            Kind::LbBackendPath,
            path(VIP, &["web2"]),
            &["packet_loss"],
            FELT,
        ),
        // The balancer's health checks keep to its other address; nobody but dc1 is in dc1's network.
        Fault::ReturnRouteBalancer => returning("web1", &BALANCER[1..], "answers_lost", MASKED),
        Fault::ReturnRouteDc1 => returning("web1", &[DC1], "answers_lost", MASKED),
        Fault::ReturnAnswersLost => returning("web2", &to_the_balancer(), "answers_lost", FELT),
        Fault::ReturnBlackHole => returning("web2", &to_the_balancer(), "mtu_black_hole", FELT),
        Fault::TwoAtOnce => return vec![backend("web2", "http_5xx"), resolver(0)],
    };
    vec![blame]
}

/// What stands for a fault behind the edges where the file declares nothing of it. A client of the
/// edges sees what these made of it, so that there are more words for it.
pub fn origin(modes: &[&'static str]) -> Blame {
    one(Kind::Origin, &[SERVICE], modes, FELT)
}

/// A blame of one component by its texts.
pub fn one(kind: Kind, names: &[&str], modes: &[&'static str], user_impact: Option<bool>) -> Blame {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    blame(kind, Name::OneOf(names), modes, user_impact)
}

/// The way from an edge to what stands behind it, of whatever name that has.
pub fn way_from_edge(number: usize, modes: &[&'static str]) -> Part {
    Part {
        kind: Kind::CdnOriginPath,
        name: path(EDGES[number], &["origin", SERVICE, "*", VIP]),
        modes: modes.to_vec(),
        mentions: None,
    }
}

fn blame(kind: Kind, name: Name, modes: &[&'static str], user_impact: Option<bool>) -> Blame {
    let part = Part {
        kind,
        name,
        modes: modes.to_vec(),
        mentions: None,
    };
    Blame {
        parts: vec![part],
        user_impact,
    }
}

fn resolver(number: usize) -> Blame {
    one(Kind::Resolver, &[RESOLVERS[number]], &["no_answer"], FELT)
}

fn name_server(number: usize, mode: &'static str, user_impact: Option<bool>) -> Blame {
    let names = [
        NAME_SERVERS[number],
        ["ns1.shop.example", "ns2.shop.example"][number],
    ];
    one(Kind::AuthoritativeDns, &names, &[mode], user_impact)
}

fn path(from: &str, to: &[&str]) -> Name {
    Name::Path {
        from: vec![from.to_owned()],
        to: to.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn to_the_balancer() -> [&'static str; 3] {
    [BALANCER[0], BALANCER[1], VIP]
}

fn returning(host: &str, to: &[&str], mode: &'static str, user_impact: Option<bool>) -> Blame {
    let to: Vec<IpAddr> = to
        .iter()
        .filter_map(|address| address.parse().ok())
        .collect();
    let name = Name::Return {
        host: host.to_owned(),
        to,
    };
    blame(Kind::ReturnPath, name, &[mode], user_impact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_truth_with_a_mode_and_every_address_of_it_is_one() {
        for fault in Fault::every() {
            let blames = truth(fault, Balancer::L7);
            assert!(!blames.is_empty(), "{fault:?}");
            for part in blames.iter().flat_map(|blame| &blame.parts) {
                assert!(!part.modes.is_empty(), "{fault:?}");
                if let Name::Return { to, .. } = &part.name {
                    assert!(!to.is_empty(), "{fault:?}");
                }
            }
        }
    }

    #[test]
    fn users_feel_every_fault_or_do_not() {
        for fault in Fault::every() {
            for blame in truth(fault, Balancer::L7) {
                assert!(blame.user_impact.is_some(), "{fault:?}");
            }
        }
    }
}
