//! Who looks, and what nobody looks at.

use std::net::SocketAddr;

use localize::topology::BALANCER_HOST;
use localize::{Role, Target};

use super::reading::{Came, Row, is_silence};
use super::words::listed;
use super::{Finding, Grade, Scene};
use crate::engine::{Presence, Seat};
use crate::service_file::Declaration;

pub(super) fn findings(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings = witnesses(scene);
    if scene.checked.topology.vantages.is_empty() {
        findings.push(nobody(scene));
        return findings;
    }
    findings.extend(unreached(scene));
    findings.extend(refusing(scene));
    findings.extend(silent(scene));
    findings.extend(scene.lost.iter().map(|vantage| lost(vantage)));
    findings.extend(nothing(scene));
    findings
}

/// What to do about agents that are not there.
const START: &str =
    "Start mesh-agent there, or see with `meshctl agent list` what is wrong with it.";

fn note(at: Option<Declaration>, what: String, next: String) -> Finding {
    Finding::new(Grade::Note, at, what, next)
}

fn token(role: &str) -> String {
    format!("`meshctl agent token --name NAME --role {role}` makes a token to install one with.")
}

/// No agent is connected.
fn nobody(scene: &Scene<'_>) -> Finding {
    let away: Vec<String> = scene.checked.seats.iter().filter_map(away).collect();
    let (who, next) = match away.is_empty() {
        true => (String::new(), token("outside")),
        false => (format!(" ({})", away.join("; ")), START.to_owned()),
    };
    note(
        None,
        format!("No agent is connected{who}, so that nothing was probed."),
        next,
    )
}

/// An agent that might look and is not there, in words.
fn away(seat: &Seat) -> Option<String> {
    match seat.presence {
        Presence::Connected | Presence::Revoked => None,
        Presence::Disconnected => Some(format!("{} is not connected", seat.name)),
        Presence::Invited => Some(format!("{} was invited and has not joined", seat.name)),
    }
}

/// Hosts of the path whose agents are not there.
fn witnesses(scene: &Scene<'_>) -> Vec<Finding> {
    let file = &scene.checked.file;
    let of = |seat: &Seat| {
        let host = seat.host.as_deref()?;
        let at = match host {
            BALANCER_HOST => {
                let vip = file.vips.first()?;
                scene.places.vip(*vip, file.url.port)
            }
            host => scene.places.backend(host),
        }?;
        let away = away(seat)?;
        let what = format!("Agent {away}: nobody sees there what arrives and what leaves.");
        let next = match seat.presence {
            Presence::Invited => format!(
                "Start mesh-agent on {host} with its token; if that has expired, `meshctl agent token` \
                 makes another one."
            ),
            Presence::Connected | Presence::Disconnected | Presence::Revoked => {
                format!("Is mesh-agent running on {host}, and does it reach the coordinator?")
            }
        };
        Some(note(Some(at), what, next))
    };
    scene.checked.seats.iter().filter_map(of).collect()
}

/// Declared addresses that no connected agent is in a place to ask.
fn unreached(scene: &Scene<'_>) -> Vec<Finding> {
    let checked = scene.checked;
    let file = &checked.file;
    let asked = |is: &dyn Fn(&Target) -> bool| checked.announced.iter().any(|(_, a)| is(&a.target));
    let mut findings = Vec::new();
    let vips = file
        .vips
        .iter()
        .filter(|vip| !asked(&|t| *t == Target::Vip { address: **vip }));
    let vips: Vec<&SocketAddr> = vips.collect();
    if let Some(first) = vips.first() {
        let names: Vec<String> = vips.iter().map(ToString::to_string).collect();
        let at = scene.places.vip(**first, file.url.port);
        let near = |seat: &Seat| seat.host.is_some() || seat.role != Role::Outside;
        let (missing, next) = missing(scene, near, "behind-cdn or inside", "inside", &vips);
        let what = format!("{} asked by nobody: {missing}.", are(&names));
        findings.push(note(at, what, next));
    }
    let backends = file.backends.iter().filter(|backend| {
        !asked(&|t| matches!(t, Target::Backend { name, .. } if *name == backend.name))
    });
    let backends: Vec<_> = backends.collect();
    if let Some(first) = backends.first() {
        let names: Vec<String> = backends.iter().map(|b| b.name.clone()).collect();
        let at = scene.places.backend(&first.name);
        let inside = |seat: &Seat| seat.host.is_some() || seat.role == Role::Inside;
        let (missing, next) = missing(scene, inside, "inside", "inside", &[]);
        let what = format!("{} asked by nobody: {missing}.", are(&names));
        findings.push(note(at, what, next));
    }
    findings.extend(unseen_by_users(scene));
    findings
}

fn are(names: &[String]) -> String {
    match names {
        [one] => format!("{one} is"),
        several => format!("{} are", listed(several)),
    }
}

/// Why nobody asks, and what to do about it.
fn missing(
    scene: &Scene<'_>,
    fits: impl Fn(&Seat) -> bool,
    roles: &str,
    role: &str,
    addresses: &[&SocketAddr],
) -> (String, String) {
    let seats = scene.checked.seats.iter().filter(|seat| fits(seat));
    let connected = seats.clone().any(|s| s.presence == Presence::Connected);
    if connected && !addresses.is_empty() && addresses.iter().all(|a| a.is_ipv6()) {
        let missing = format!("no connected agent of role {roles} has IPv6");
        return (missing, "Give one of them an address of IPv6.".to_owned());
    }
    let away: Vec<String> = seats.filter_map(away).collect();
    match away.is_empty() {
        true => (
            format!("no agent of role {roles} is connected"),
            token(role),
        ),
        false => (away.join("; "), START.to_owned()),
    }
}

/// Nobody asks as users do: no resolver gives an address, or all agents run on hosts of the path.
fn unseen_by_users(scene: &Scene<'_>) -> Option<Finding> {
    let checked = scene.checked;
    let topology = &checked.topology;
    let resolver = |target: &Target| matches!(target, Target::Resolver { .. });
    let asked = checked
        .announced
        .iter()
        .any(|(_, arm)| resolver(&arm.target));
    let unasked = topology.edges.iter().filter(|edge| {
        let address = **edge;
        let mut arms = checked.announced.iter();
        !arms.any(|(_, arm)| {
            arm.target == Target::Edge { address } || arm.target == Target::Vip { address }
        })
    });
    let unasked: Vec<String> = unasked.map(|edge| edge.ip().to_string()).collect();
    let free = topology.vantages.iter().any(|v| v.host.is_none());
    let (what, next) = match (asked, unasked.is_empty()) {
        (false, true) => (
            "The public path is asked by nobody: no connected agent has a resolver.".to_owned(),
            "Name one under [dns] resolvers.".to_owned(),
        ),
        (_, true) => return None,
        (_, false) if free => (
            format!(
                "{} asked by nobody: no connected agent has IPv6.",
                are(&unasked)
            ),
            "Users of IPv6 alone are not seen; an agent in a network that has it would see them."
                .to_owned(),
        ),
        (_, false) => (
            format!(
                "{} asked by nobody: every connected agent runs on a host of the path.",
                are(&unasked)
            ),
            token("outside"),
        ),
    };
    Some(note(scene.places.url(), what, next))
}

/// Agents that fire nothing at all.
fn refusing(scene: &Scene<'_>) -> Vec<Finding> {
    let of = |(vantage, why): (&localize::VantageName, &String)| Finding {
        vantages: vec![vantage.0.clone()],
        ..note(
            None,
            format!("Agent {vantage} fired nothing: {why}."),
            "If it has just started, check again in some seconds; else its log says more."
                .to_owned(),
        )
    };
    scene.checked.refused.iter().map(of).collect()
}

/// Agents of whose probes nothing was heard.
fn silent(scene: &Scene<'_>) -> Vec<Finding> {
    let mut counts: Vec<(String, u32)> = Vec::new();
    for spot in scene.rows.iter().flat_map(|row| &row.spots) {
        let heard_of = scene.checked.refused.contains_key(spot.vantage);
        if !matches!(spot.came, Came::Silent) || heard_of {
            continue;
        }
        match counts.iter_mut().find(|(name, _)| *name == spot.vantage.0) {
            Some((_, count)) => *count += 1,
            None => counts.push((spot.vantage.0.clone(), 1)),
        }
    }
    let of = |(vantage, count): (String, u32)| {
        let arms = match count {
            1 => "1 arm".to_owned(),
            count => format!("{count} arms"),
        };
        let what = format!("Agent {vantage} has told nothing of {arms}.");
        let next = "Is it still connected? `meshctl agent list` tells.".to_owned();
        Finding {
            vantages: vec![vantage],
            ..note(None, what, next)
        }
    };
    counts.into_iter().map(of).collect()
}

/// A vantage point that heard nothing from anything.
fn lost(vantage: &str) -> Finding {
    Finding {
        vantages: vec![vantage.to_owned()],
        ..note(
            None,
            format!(
                "Agent {vantage} heard nothing from anything, while others did: that is its own network \
                 rather than the file, and what it saw is left out here."
            ),
            format!("See to the network of {vantage}."),
        )
    }
}

/// Nothing comes back from anything: then the agents' networks are in doubt as well as the file.
fn nothing(scene: &Scene<'_>) -> Option<Finding> {
    let rows = scene.rows.iter();
    let asked = rows.filter(|row| row.passed().count() + row.failed().count() > 0);
    let asked: Vec<&Row<'_>> = asked.collect();
    let silent = |row: &&Row<'_>| {
        let mut failed = row.failed();
        row.passed().next().is_none() && failed.all(|(_, failure, _)| is_silence(failure))
    };
    if asked.len() < 2 || !asked.iter().all(silent) {
        return None;
    }
    Some(note(
        None,
        "Nothing came back from anything: it may be the agents' own network rather than the file."
            .to_owned(),
        "Another agent in another network would tell.".to_owned(),
    ))
}
