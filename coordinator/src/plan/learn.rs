//! What observations and discoveries tell about a service's path.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use localize::topology::Zone;
use localize::{HttpFacts, NameServer, Observation, Target};
use serde::{Deserialize, Serialize};

use super::{Given, Proven};

/// Most public addresses kept: a CDN that hands out more is probed at enough of them.
const MAX_EDGES: usize = 64;
/// Most name servers kept: the root zone has 13 names.
const MAX_NAME_SERVERS: usize = 32;
/// An address that no answer has carried for so long is no longer the service's, whatever the name
/// servers say.
const FORGET_US: u64 = 3600 * 1_000_000;
/// A gap between answers of more than this tells nothing about the addresses not seen in it.
const GAP_US: u64 = 600 * 1_000_000;

/// What was found out about a service's path, kept across restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learnt {
    /// Public addresses, with the mesh time in microseconds of the last answer that carried each.
    pub edges: BTreeMap<IpAddr, u64>,
    /// How often the name servers gave each.
    #[serde(default)]
    pub given: Given,
    /// Start of the present stretch of answers without a long gap, in microseconds of mesh time.
    pub answers_since_us: u64,
    /// The latest answer, likewise.
    pub last_answer_us: u64,
    /// The zone that the service's name stands in.
    #[serde(default)]
    pub zone: Option<Zone>,
    /// Authoritative name servers that agents found.
    pub name_servers: BTreeSet<NameServer>,
    /// Who runs the edges, as the headers of an answer told.
    pub cdn_provider: Option<String>,
    /// What its answers hang on.
    #[serde(default)]
    pub varies: Varies,
    /// How far each arm has come since the file was applied; nothing is known in records of versions that
    /// did not keep it.
    #[serde(default)]
    pub proven: Proven,
}

/// What of a request the service's answers hang on, as they have told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Varies {
    /// Which encodings the client accepts: some answer said so (Vary), or came packed.
    pub by_encoding: bool,
    /// Who asks again: it gives its users cookies.
    pub gives_cookies: bool,
}

/// Learns from an observation; `true` when something other than the times of answers changed, so that
/// it is worth storing and the topology may differ.
pub fn learn(learnt: &mut Learnt, observation: &Observation) -> bool {
    let addresses = learn_addresses(learnt, observation);
    let provider = learn_provider(learnt, observation);
    let proven = learnt.proven.learn(observation);
    let zone = learn_zone_name(learnt, observation);
    let varies = learn_varies(learnt, observation);
    addresses || provider || proven || zone || varies
}

/// Takes the name servers that an agent found in place of those known; `true` when they differ. An
/// empty finding tells nothing.
pub fn learn_name_servers(learnt: &mut Learnt, found: &[NameServer]) -> bool {
    let found: BTreeSet<NameServer> = found.iter().take(MAX_NAME_SERVERS).cloned().collect();
    if found.is_empty() || found == learnt.name_servers {
        return false;
    }
    learnt.name_servers = found;
    true
}

/// Takes what an agent found out about the zone in the place of what is known; `true` when it differs. What
/// was not heard this time stays.
pub fn learn_zone(learnt: &mut Learnt, mut found: Zone) -> bool {
    if found.name.is_empty() {
        return false;
    }
    if let Some(known) = learnt
        .zone
        .as_ref()
        .filter(|known| known.name == found.name)
    {
        for (set, before) in [
            (&mut found.at_parent, &known.at_parent),
            (&mut found.at_zone, &known.at_zone),
        ] {
            if set.is_empty() {
                set.clone_from(before);
            }
        }
    }
    let differs = learnt.zone.as_ref() != Some(&found);
    learnt.zone = Some(found);
    differs
}

/// A name server that answers for the zone tells its name, where no agent has found it yet.
fn learn_zone_name(learnt: &mut Learnt, observation: &Observation) -> bool {
    if learnt.zone.is_some() {
        return false;
    }
    let asked = matches!(observation.arm.target, Target::NameServer { .. });
    let dns = observation.facts.dns.as_ref().filter(|_| asked);
    let soa = dns
        .filter(|dns| dns.authoritative)
        .and_then(|dns| dns.soa.as_ref());
    let name = soa.map_or("", |soa| &soa.zone).to_owned();
    learn_zone(
        learnt,
        Zone {
            name,
            ..Zone::default()
        },
    )
}

/// The union of what the answers carry, since each resolver may be given others.
fn learn_addresses(learnt: &mut Learnt, observation: &Observation) -> bool {
    let authority = match observation.arm.target {
        Target::Resolver { .. } => false,
        Target::NameServer { .. } => true,
        Target::Edge { .. } | Target::Vip { .. } | Target::Backend { .. } => return false,
    };
    let Some(dns) = &observation.facts.dns else {
        return false;
    };
    let addresses: Vec<IpAddr> = dns.held().filter(is_public_to_all).collect();
    if addresses.is_empty() {
        return false;
    }
    let at_us = observation.scheduled_us;
    learnt.given.take(dns, authority, at_us);
    if at_us.saturating_sub(learnt.last_answer_us) > GAP_US {
        learnt.answers_since_us = at_us;
    }
    learnt.last_answer_us = learnt.last_answer_us.max(at_us);

    let known: BTreeSet<IpAddr> = learnt.edges.keys().copied().collect();
    for address in &addresses {
        let room = learnt.edges.len() < MAX_EDGES;
        match learnt.edges.get_mut(address) {
            Some(last_us) => *last_us = at_us.max(*last_us),
            None if room => {
                learnt.edges.insert(*address, at_us);
            }
            None => {}
        }
    }
    let (since_us, given) = (learnt.answers_since_us, &learnt.given);
    learnt.edges.retain(|address, last_us| {
        let forgotten = at_us.saturating_sub(since_us.max(*last_us)) > FORGET_US;
        !forgotten && !given.is_withdrawn(*address, *last_us, at_us)
    });
    learnt
        .given
        .keep(|address| learnt.edges.contains_key(address));
    !known.iter().eq(learnt.edges.keys())
}

/// Whether an address is the service's for everybody: none that says that there is none, and none that a
/// network has made for itself of an IPv4 address (RFC 6052, section 2.1, and RFC 8215).
fn is_public_to_all(address: &IpAddr) -> bool {
    let made = match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => matches!(
            v6.segments(),
            [0x64, 0xff9b, 0, 0, 0, 0, _, _] | [0x64, 0xff9b, 1, ..]
        ),
    };
    !made && !address.is_unspecified()
}

/// Only the edges' own answers tell who runs them. A provider once known stays until another one is
/// told: most faults hide the headers.
fn learn_provider(learnt: &mut Learnt, observation: &Observation) -> bool {
    let http = match (&observation.arm.target, &observation.facts.http) {
        (Target::Edge { .. }, Some(http)) => http,
        (
            Target::Resolver { .. }
            | Target::NameServer { .. }
            | Target::Edge { .. }
            | Target::Vip { .. }
            | Target::Backend { .. },
            _,
        ) => return false,
    };
    match provider(http) {
        Some(told) if learnt.cdn_provider.as_deref() != Some(told) => {
            learnt.cdn_provider = Some(told.to_owned());
            true
        }
        Some(_) | None => false,
    }
}

/// What answers once hung on, they may hang on again: it is kept as long as what is learnt of the path.
fn learn_varies(learnt: &mut Learnt, observation: &Observation) -> bool {
    let http = observation.facts.http.as_ref();
    let balanced = !matches!(observation.arm.target, Target::Backend { .. });
    let before = learnt.varies;
    for (name, value) in http.into_iter().flat_map(|http| &http.headers) {
        match name.as_str() {
            "vary" => learnt.varies.by_encoding |= lists(value, "accept-encoding"),
            "content-encoding" => {
                learnt.varies.by_encoding |= !value.eq_ignore_ascii_case("identity");
            }
            "set-cookie" => learnt.varies.gives_cookies |= balanced,
            _ => {}
        }
    }
    learnt.varies != before
}

/// Whether a header that lists names holds this one (RFC 9110, section 5.6.1).
fn lists(value: &str, name: &str) -> bool {
    let mut names = value.split(',');
    names.any(|listed| listed.trim().eq_ignore_ascii_case(name))
}

/// The provider that the headers of an answer name.
fn provider(http: &HttpFacts) -> Option<&'static str> {
    http.headers
        .iter()
        .find_map(|(name, value)| provider_of_header(name, &value.to_ascii_lowercase()))
}

/// Headers that one provider alone sets, as its documentation says. Names are in lower case on the
/// wire already, the value here too.
fn provider_of_header(name: &str, value: &str) -> Option<&'static str> {
    match name {
        "cf-ray" | "cf-cache-status" => Some("cloudflare"),
        "server" if value == "cloudflare" => Some("cloudflare"),
        "x-amz-cf-id" | "x-amz-cf-pop" => Some("cloudfront"),
        "x-served-by" if value.starts_with("cache-") => Some("fastly"),
        "x-fastly-request-id" => Some("fastly"),
        "via" if value.contains("varnish") && value.contains("fastly") => Some("fastly"),
        "server" if value == "akamaighost" => Some("akamai"),
        _ if name.starts_with("x-akamai") => Some("akamai"),
        _ => None,
    }
}
