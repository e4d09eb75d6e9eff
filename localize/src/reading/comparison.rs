//! What only a comparison of observations shows: who served, what is slow, what is different.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::facts::case::Case;
use crate::facts::observation::{
    Arm, Encoding, Failure, HttpFacts, Layer, Object, Observation, Outcome, Target, Traits,
};
use crate::facts::topology::{Topology, VantageName};
use crate::reading::clock::Clocks;
use crate::reading::clusters::Whose;
use crate::reading::delay::Delays;
use crate::reading::dns::Dns;
use crate::reading::dns::addresses::removed_addresses;
use crate::reading::passing::Passing;
use crate::reading::unborne::unborne;
use crate::reading::unrest::Unrest;
use crate::reading::wanted::Wanted;
use crate::world::path::Got;

/// Share of the votes that makes a content or a status the usual one.
const CLEAR_MAJORITY: f64 = 0.6;

/// A longer body does not fit into one packet with its header, nor into one that a tunnel makes smaller
/// by what it adds (1,500 bytes on Ethernet, 1,280 at least with IPv6, RFC 8200, section 5).
const ONE_PACKET: u64 = 1_400;

/// Answers that should have the same body, once it is unpacked: the public ones or those of backends asked
/// for one path, to requests for one object.
type Page = (Option<String>, Object);

/// The backends by the headers that tell them apart, by their places in the topology.
type Identities = BTreeMap<(String, String), usize>;

/// The backend that served an answer, where the answer tells.
fn served_by(identities: &Identities, http: &HttpFacts) -> Option<usize> {
    let marks = http.headers.iter().map(|(n, v)| (n.clone(), v.clone()));
    let mut named = marks.filter_map(|mark| identities.get(&mark).copied());
    let first = named.next()?;
    named.all(|other| other == first).then_some(first)
}

/// Whose an answer is.
fn whose(topology: &Topology, identities: &Identities, observation: &Observation) -> Whose {
    let http = observation.facts.http.as_ref();
    let served = http.and_then(|http| served_by(identities, http));
    Whose::of(&observation.arm.target, served, &topology.backends)
}

/// The page that an arm asks for; `None` for a question of DNS.
fn page(topology: &Topology, arm: &Arm) -> Option<Page> {
    let path = match &arm.target {
        Target::Resolver { .. } | Target::NameServer { .. } => return None,
        Target::Edge { .. } | Target::Vip { .. } => None,
        Target::Backend { name, .. } => {
            let mut backends = topology.backends.iter();
            let found = backends.find(|b| b.name == *name && arm.traits.object.is_plain());
            Some(found.map(|b| b.path.clone()).unwrap_or_default())
        }
    };
    Some((path, arm.traits.object))
}

/// What the window as a whole tells about single observations.
pub(crate) struct Reading<'a> {
    topology: &'a Topology,
    identities: Identities,
    contents: Contents,
    wanted: Wanted,
    /// The shortest whole body of each page, as it came.
    shortest: BTreeMap<(Page, Encoding), u64>,
    delays: Delays,
    unrest: Unrest,
    dns: Dns,
    clocks: Clocks,
    /// Declarations that never held, each with the first layer that nobody passed.
    unborne: BTreeMap<Target, Layer>,
    dead: BTreeSet<IpAddr>,
    reached: BTreeSet<(VantageName, Target)>,
    /// The vantage points that an edge has ever served.
    served: BTreeSet<VantageName>,
    passing: Option<Passing>,
}

impl<'a> Reading<'a> {
    /// Reads the window.
    pub(crate) fn new(case: &'a Case, observations: &[&Observation]) -> Self {
        let dead = removed_addresses(observations);
        let delays = Delays::new(&case.baselines, observations);
        let topology = &case.topology;
        let identities = identities(topology, observations);
        let whose = |observation: &Observation| whose(topology, &identities, observation);
        let unrest = Unrest::new(&delays, observations, whose);
        Self {
            topology,
            identities,
            contents: contents(&case.topology, observations),
            wanted: Wanted::new(case, observations),
            shortest: shortest(&case.topology, observations),
            unrest,
            unborne: unborne(case, observations),
            delays,
            dns: Dns::new(&case.topology, observations, &dead),
            clocks: Clocks::new(observations),
            dead,
            reached: reached(case, observations),
            served: served(case, observations),
            passing: Passing::new(case, observations),
        }
    }

    /// The same window by what an earlier one had for usual: were a fault there for long enough, what it
    /// does would else be usual.
    pub(crate) fn by_the_standards_of(mut self, earlier: &Self) -> Self {
        self.wanted = earlier.wanted.clone();
        let found = &self.contents.wrong - &earlier.contents.right;
        self.contents.wrong = &found | &earlier.contents.wrong;
        self
    }

    /// The backend that served an answer, by its place in the topology, where the answer tells.
    pub(crate) fn served_by(&self, http: &HttpFacts) -> Option<usize> {
        served_by(&self.identities, http)
    }

    /// Whether a passed answer is not what its siblings give.
    pub(crate) fn differs(&self, http: &HttpFacts) -> bool {
        self.contents.wrong.contains(&http.body_digest)
    }

    /// What answers are worth.
    pub(crate) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Whether what an arm asks for takes more than one packet. A page that nobody got is as long as
    /// the same object elsewhere.
    pub(crate) fn is_long(&self, arm: &Arm) -> bool {
        let Some(page) = page(self.topology, arm) else {
            return false;
        };
        let Traits {
            object, encoding, ..
        } = arm.traits;
        let own = self.shortest.get(&(page, encoding)).copied();
        let elsewhere = || {
            let alike = |((_, o), e): &(Page, Encoding)| (*o, *e) == (object, encoding);
            let same = self.shortest.iter().filter(|(page, _)| alike(page));
            same.map(|(_, bytes)| *bytes).min()
        };
        match own.or_else(elsewhere) {
            Some(bytes) => bytes > ONE_PACKET,
            None => !object.is_plain(),
        }
    }

    /// What layers take, and usually take.
    pub(crate) fn delays(&self) -> &Delays {
        &self.delays
    }

    /// Whether a layer of a target is one that nobody has ever passed, though users are served.
    pub(crate) fn never_held(&self, target: &Target, layer: Layer) -> bool {
        self.unborne
            .get(target)
            .is_some_and(|first| layer >= *first)
    }

    /// Whether lateness of an observation is that of its vantage point's machine.
    pub(crate) fn is_unrest(&self, observation: &Observation) -> bool {
        let whose = || whose(self.topology, &self.identities, observation);
        self.unrest.holds(observation, whose)
    }

    /// What answers of DNS are signs of.
    pub(crate) fn dns(&self) -> &Dns {
        &self.dns
    }

    /// The clocks that vantage points judge certificates by.
    pub(crate) fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// Whether an edge address is not part of the service any more: its probes say nothing about the
    /// CDN, only about whoever hands it out.
    pub(crate) fn removed(&self, edge: SocketAddr) -> bool {
        self.dead.contains(&edge.ip())
    }

    /// What a vantage point has ever got from a target, in the window or before it.
    pub(crate) fn got(&self, vantage: &VantageName, target: &Target) -> Got {
        Got {
            through: self.reached.contains(&(vantage.clone(), target.clone())),
            known: self.reached.iter().any(|(_, known)| known == target),
            served: self.served.contains(vantage),
        }
    }

    /// The balancer's own connections, where something can be told of them.
    pub(crate) fn passing(&self) -> Option<&Passing> {
        self.passing.as_ref()
    }

    /// The path, with what is known of the balancer from its own connections.
    pub(crate) fn path(&self) -> &Topology {
        let passing = self.passing.as_ref();
        let known = passing.and_then(|passing| passing.topology.as_ref());
        known.unwrap_or(self.topology)
    }

    /// The topology read against.
    pub(crate) fn topology(&self) -> &'a Topology {
        self.topology
    }
}

/// Headers whose value tells the backends apart: a value that direct probes saw from one backend
/// only, for a name that every backend probed has sent.
fn identities(
    topology: &Topology,
    observations: &[&Observation],
) -> BTreeMap<(String, String), usize> {
    let mut owners: BTreeMap<(String, String), BTreeSet<usize>> = BTreeMap::new();
    let mut values: BTreeMap<(String, usize), BTreeSet<String>> = BTreeMap::new();
    let mut probed = BTreeSet::new();
    for observation in observations {
        let Target::Backend { name, .. } = &observation.arm.target else {
            continue;
        };
        let Some(http) = &observation.facts.http else {
            continue;
        };
        let Some(index) = topology.backends.iter().position(|b| b.name == *name) else {
            continue;
        };
        if observation.outcome != Outcome::Passed {
            continue;
        }
        probed.insert(index);
        for (header, value) in &http.headers {
            owners
                .entry((header.clone(), value.clone()))
                .or_default()
                .insert(index);
            values
                .entry((header.clone(), index))
                .or_default()
                .insert(value.clone());
        }
    }
    let constant = |header: &String| {
        probed.iter().all(|i| {
            values
                .get(&(header.clone(), *i))
                .is_some_and(|v| v.len() == 1)
        })
    };
    let mut known: BTreeMap<(String, String), usize> = owners
        .into_iter()
        .filter(|((header, _), who)| who.len() == 1 && probed.len() > 1 && constant(header))
        .filter_map(|(mark, who)| who.first().map(|index| (mark, *index)))
        .collect();
    let mut unprobed = (0..topology.backends.len()).filter(|index| !probed.contains(index));
    if let (Some(hidden), None) = (unprobed.next(), unprobed.next()) {
        let marks = by_elimination(&known, &probed, observations);
        known.extend(marks.into_iter().map(|mark| (mark, hidden)));
    }
    known
}

/// Values of telling headers that no backend probed has sent: they are of the one that no direct
/// probe got an answer from.
fn by_elimination(
    known: &BTreeMap<(String, String), usize>,
    probed: &BTreeSet<usize>,
    observations: &[&Observation],
) -> Vec<(String, String)> {
    let mut tellers: BTreeMap<&String, BTreeSet<usize>> = BTreeMap::new();
    for ((header, _), index) in known {
        tellers.entry(header).or_default().insert(*index);
    }
    tellers.retain(|_, who| who == probed);
    let mut values = BTreeSet::new();
    for observation in observations {
        let proxied = matches!(
            observation.arm.target,
            Target::Edge { .. } | Target::Vip { .. }
        );
        let Some(http) = observation.facts.http.as_ref().filter(|_| proxied) else {
            continue;
        };
        if observation.outcome != Outcome::Passed {
            continue;
        }
        let new = http
            .headers
            .iter()
            .filter(|mark| tellers.contains_key(&mark.0) && !known.contains_key(*mark));
        values.extend(new.cloned());
    }
    // More than one new value of a header is a header that varies by itself.
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for (header, _) in &values {
        *counts.entry(header.clone()).or_default() += 1;
    }
    values
        .into_iter()
        .filter(|(header, _)| counts.get(header) == Some(&1))
        .collect()
}

/// Digests of bodies whose siblings' bodies otherwise do not vary.
struct Contents {
    /// Those of the minority.
    wrong: BTreeSet<String>,
    /// Those of the majority.
    right: BTreeSet<String>,
}

fn contents(topology: &Topology, observations: &[&Observation]) -> Contents {
    let mut by_page: BTreeMap<Page, BTreeMap<&Target, BTreeMap<String, u32>>> = BTreeMap::new();
    for (page, arm, http) in whole_answers(topology, observations) {
        *by_page
            .entry(page)
            .or_default()
            .entry(&arm.target)
            .or_default()
            .entry(http.body_digest.clone())
            .or_default() += 1;
    }
    let mut wrong = BTreeSet::new();
    let mut right = BTreeSet::new();
    for members in by_page.values() {
        let Some(usual) = agreed(members) else {
            continue;
        };
        for digest in members.values().flat_map(BTreeMap::keys) {
            if *digest == usual {
                right.insert(digest.clone());
            } else {
                wrong.insert(digest.clone());
            }
        }
    }
    Contents {
        wrong: &wrong - &right,
        right,
    }
}

/// The digest that a clear majority of the members give most of the time; `None` where bodies vary
/// by themselves or nobody has a majority.
fn agreed(members: &BTreeMap<&Target, BTreeMap<String, u32>>) -> Option<String> {
    let mut votes: BTreeMap<&String, f64> = BTreeMap::new();
    for digests in members.values() {
        let total: u32 = digests.values().sum();
        for (digest, count) in digests {
            *votes.entry(digest).or_default() += f64::from(*count) / f64::from(total);
        }
    }
    let (digest, votes) = votes.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    (votes / members.len() as f64 >= CLEAR_MAJORITY).then(|| digest.clone())
}

/// Every answer that came whole, with the page that was asked for and of whom.
fn whole_answers<'o>(
    topology: &'o Topology,
    observations: &'o [&Observation],
) -> impl Iterator<Item = (Page, &'o Arm, &'o HttpFacts)> {
    let passed = observations.iter().filter(|o| o.outcome == Outcome::Passed);
    passed.filter_map(|o| {
        let http = o.facts.http.as_ref()?;
        Some((page(topology, &o.arm)?, &o.arm, http))
    })
}

/// The shortest whole body of each page, by how it may be packed.
fn shortest(topology: &Topology, observations: &[&Observation]) -> BTreeMap<(Page, Encoding), u64> {
    let mut shortest = BTreeMap::new();
    for (page, arm, http) in whole_answers(topology, observations) {
        let page = (page, arm.traits.encoding);
        let least = shortest.entry(page).or_insert(http.body_bytes);
        *least = http.body_bytes.min(*least);
    }
    shortest
}

/// Which targets each vantage point has got through to, in the window or before it.
fn reached(case: &Case, observations: &[&Observation]) -> BTreeSet<(VantageName, Target)> {
    // Whoever answers was reached; but for REFUSED, which may be the rule's own word.
    let answered = |o: &Observation| {
        let refused = matches!(
            o.outcome,
            Outcome::Failed {
                failure: Failure::DnsRefused,
                ..
            }
        );
        o.facts.dns.is_some() && !refused
    };
    let now = observations
        .iter()
        .filter(|o| !o.steps.is_empty() || answered(o))
        .map(|o| (o.vantage().clone(), o.arm.target.clone()));
    let before = case
        .baselines
        .0
        .iter()
        .filter(|b| b.passed > 0)
        .map(|b| (b.vantage.clone(), b.arm.target.clone()));
    now.chain(before).collect()
}

/// Which vantage points some edge has answered as wanted, in the window or before it.
fn served(case: &Case, observations: &[&Observation]) -> BTreeSet<VantageName> {
    let edge = |arm: &Arm| matches!(arm.target, Target::Edge { .. });
    let now = observations
        .iter()
        .filter(|o| edge(&o.arm) && o.outcome == Outcome::Passed)
        .map(|o| o.vantage().clone());
    let baselines = case.baselines.0.iter();
    let before = baselines
        .filter(|b| edge(&b.arm) && b.layer == Layer::Http && b.passed > 0)
        .map(|b| b.vantage.clone());
    now.chain(before).collect()
}
