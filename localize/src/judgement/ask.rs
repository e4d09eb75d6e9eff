//! What would tell apart what the probes could not.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::facts::component::Kind;
use crate::facts::topology::{BALANCER_HOST, CdnProvider, Role, Topology};
use crate::judgement::verdict::{Alternative, Outcome};

/// From this probability on a candidate is worth a question.
const DOUBT: f64 = 0.05;

/// From this probability of "no component explains it" on the path itself is in question.
const UNEXPLAINED: f64 = 0.1;

/// What to install or to declare, most useful first, without repeats.
pub(crate) fn questions(
    topology: &Topology,
    outcome: Outcome,
    alternatives: &[Alternative],
    unknown: f64,
) -> Vec<String> {
    let mut asked = Vec::new();
    let doubtful: Vec<&Alternative> = alternatives
        .iter()
        .filter(|a| a.confidence >= DOUBT)
        .collect();
    for candidate in &doubtful {
        for question in about(topology, candidate) {
            push(&mut asked, question);
        }
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

/// What would confirm or clear one candidate.
fn about(topology: &Topology, candidate: &Alternative) -> Vec<String> {
    let name = &candidate.component.name;
    match candidate.component.kind {
        Kind::Backend => [witness_on(topology, name), vantage(topology, Role::Inside)]
            .into_iter()
            .flatten()
            .collect(),
        Kind::ReturnPath => {
            let host = name.split("->").next().unwrap_or(name);
            [witness_on(topology, host), on_balancer(topology)]
                .into_iter()
                .flatten()
                .collect()
        }
        Kind::LbBackendPath => {
            let backend = name.rsplit("->").next().unwrap_or(name);
            [on_balancer(topology), witness_on(topology, backend)]
                .into_iter()
                .flatten()
                .collect()
        }
        Kind::LoadBalancer => [
            vantage(topology, Role::BehindCdn),
            vantage(topology, Role::Inside),
        ]
        .into_iter()
        .flatten()
        .collect(),
        Kind::Cdn | Kind::CdnOriginPath => vantage(topology, Role::BehindCdn).into_iter().collect(),
        Kind::ClientNetwork | Kind::Resolver => second_outside(topology).into_iter().collect(),
        Kind::Origin => missing(topology),
        Kind::AuthoritativeDns => Vec::new(),
    }
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
