//! What would tell apart what the probes could not.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::facts::topology::{BALANCER_HOST, CdnProvider, Role, Topology};
use crate::judgement::verdict::Outcome;
use crate::world::part::What;

/// From this probability on a candidate is worth a question.
pub(crate) const DOUBT: f64 = 0.05;

/// From this probability of "no component explains it" on the path itself is in question.
const UNEXPLAINED: f64 = 0.1;

/// What to install or to declare, most useful first, without repeats.
pub(crate) fn questions(
    topology: &Topology,
    outcome: Outcome,
    doubtful: &[&What],
    unknown: f64,
) -> Vec<String> {
    let mut asked = Vec::new();
    for candidate in doubtful {
        for question in about(topology, candidate) {
            push(&mut asked, question);
        }
    }
    let stray = |what: &&&What| matches!(what, What::Edge(_) | What::Address(_));
    if doubtful.iter().any(|what| matches!(what, What::Zone(_)))
        && let Some(What::Edge(address) | What::Address(address)) = doubtful.iter().find(stray)
    {
        push(
            &mut asked,
            format!(
                "say whether {address} is still an address of the service: nobody has ever been met there, and {} hands it out",
                topology.zone_name()
            ),
        );
    }
    if unknown >= UNEXPLAINED {
        push(
            &mut asked,
            "no known component explains the failures: check that the service file lists every balancer and backend that takes part".to_string(),
        );
    }
    if outcome != Outcome::Fault {
        for question in missing(topology) {
            push(&mut asked, question);
        }
    }
    asked
}

fn push(asked: &mut Vec<String>, question: String) {
    if !asked.contains(&question) {
        asked.push(question);
    }
}

/// What would tell a candidate from its rivals.
fn about(topology: &Topology, candidate: &What) -> Vec<String> {
    let asked = match candidate {
        What::Backend(name) => [witness_on(topology, name), vantage(topology, Role::Inside)],
        What::Return { host, .. } => [witness_on(topology, host), on_balancer(topology)],
        What::LbBackendPath { backend, .. } | What::Toward { backend, .. } => {
            [on_balancer(topology), witness_on(topology, backend)]
        }
        What::Balancer(_) => [
            vantage(topology, Role::BehindCdn),
            vantage(topology, Role::Inside),
        ],
        What::Shared(_) => [vantage(topology, Role::Inside), on_balancer(topology)],
        What::Origin(_) | What::Address(_) => return missing(topology),
        What::Edge(_) | What::Provider(_) | What::OriginPath { .. } => {
            let mut asked = missing(topology);
            asked.extend(vantage(topology, Role::BehindCdn));
            asked.extend(at_balancer(topology, candidate));
            return asked;
        }
        What::Access(_) | What::Resolver(_) | What::NotServed(_) => {
            [second_outside(topology), None]
        }
        What::Zone(_) => [second_outside(topology), None],
        What::NameServer(_) | What::NameServers(_) | What::Barred { .. } => [None, None],
    };
    asked.into_iter().flatten().collect()
}

/// What a mesh of this shape cannot see at all.
fn missing(topology: &Topology) -> Vec<String> {
    let mut asked = Vec::new();
    if topology.vips.is_empty() && topology.cdn != CdnProvider::None {
        asked.push("give the balancer's address in the service file ([load_balancer] vip) to tell CDN and origin apart".to_string());
    }
    asked.extend(vantage(topology, Role::BehindCdn).filter(|_| !topology.vips.is_empty()));
    if topology.backends.is_empty() {
        asked.push(
            "list the backends in the service file ([[backend]]) to tell them apart".to_string(),
        );
    } else {
        asked.extend(vantage(topology, Role::Inside));
    }
    asked
}

fn witness_on(topology: &Topology, host: &str) -> Option<String> {
    let there = topology
        .vantages
        .iter()
        .find(|v| v.host.as_deref() == Some(host));
    match there {
        None => Some(format!(
            "install an agent on {host} (`meshctl agent token --name {host} --role inside --host {host}`) to tell its return path from its own stack"
        )),
        Some(agent) if !agent.witness => Some(format!(
            "give the agent {} on {host} the capability to watch packets (CAP_NET_RAW) to tell its return path from its own stack",
            agent.name
        )),
        Some(_) => None,
    }
}

fn on_balancer(topology: &Topology) -> Option<String> {
    let there = topology
        .vantages
        .iter()
        .any(|v| v.host.as_deref() == Some(BALANCER_HOST));
    (!there).then(|| {
        "install an agent on the balancer (`meshctl agent token --name lb --role inside --host lb`) to probe the backends as the balancer does".to_string()
    })
}

/// What no agent sees: whether an edge's own connections come to the balancer.
fn at_balancer(topology: &Topology, candidate: &What) -> Option<String> {
    let edge = candidate.edge();
    let from = edge.map_or_else(|| "the CDN's edges".to_string(), |edge| edge.to_string());
    let vip = topology.vips.first()?;
    Some(format!(
        "look on the balancer for connections from {from} to {vip} while it fails: where none arrive it is the way between them, where they are answered it is the CDN"
    ))
}

fn vantage(topology: &Topology, role: Role) -> Option<String> {
    let present = topology.vantages.iter().any(|v| v.role == role);
    let (word, why) = match role {
        Role::Outside => ("outside", "to see what users see"),
        Role::BehindCdn => ("behind-cdn", "to reach the balancer as the CDN does"),
        Role::Inside => ("inside", "to probe every backend past the balancer"),
    };
    (!present).then(|| {
        format!("install an agent with the role {word} (`meshctl agent token --name NAME --role {word}`) {why}")
    })
}

fn second_outside(topology: &Topology) -> Option<String> {
    let outside: BTreeSet<_> = topology
        .vantages
        .iter()
        .filter(|v| v.role == Role::Outside)
        .map(|v| &v.name)
        .collect();
    (outside.len() < 2).then(|| {
        "install a second agent outside (`meshctl agent token --name NAME --role outside`) to tell one access network or resolver from what all users share".to_string()
    })
}
