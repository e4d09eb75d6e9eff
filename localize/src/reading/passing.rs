//! What the witnesses on the backends' hosts see of connections that no agent made: the balancer's health
//! checks and the requests that it hands on. A source address of the balancer's is an arm that it fires for
//! us: each SYN that arrives must be answered, and each answer must come back.
//!
//! Where an agent stands on the balancer, it fires these arms itself, and what passes is read only where a
//! server took some SYN for a segment of an old connection, which no probe can see.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::facts::case::Case;
use crate::facts::observation::{Arm, Observation, REUSE_WITHIN, Target};
use crate::facts::sighting::{Direction, FlowSighting, Packet, WitnessReport};
use crate::facts::topology::{
    BALANCER_HOST, Backend, Role, Topology, VantageName, VantagePoint, VipMode,
};
use crate::reading::epochs::Span;
use crate::reading::kernel::{self, Kernels, Reason, unanswered};
use crate::reading::witness::{SAME_CONNECTION_US, SEAMLESS_US, probes, unique};
use crate::world::symptom::{Stage, Symptom};

/// Who fires what passes. No agent has a name with a blank in it.
const BALANCER: &str = "the balancer";

/// An address is the balancer's when it has connected at least so many times to each backend that is
/// watched: checks do so in seconds, and nobody who came by chance does.
const OFTEN: usize = 5;
/// A balancer has a handful of addresses. Where more would be its own, they are its clients'.
const MOST_ADDRESSES: usize = 4;
/// Connections of one address to one backend between two rounds that count: those of one moment are not
/// independent.
const MOST_AT_ONCE: usize = 8;
/// Lost packets of one connection that count, for the same reason.
const MOST_LOST: u32 = 3;
/// A connection is as old as that when its handshake has failed: a SYN-ACK is sent again after one second
/// (RFC 6298).
const RIPE_US: u64 = 3_000_000;
/// What passes after the last round by more than this waits for the next one.
const LAST_ROUND_US: u64 = 10_000_000;

/// What passed at one stage of a handshake, at the instant of the round before.
pub(crate) struct Passed {
    pub(crate) arm: Arm,
    pub(crate) stage: Stage,
    pub(crate) at: u64,
    pub(crate) symptom: Option<Symptom>,
    pub(crate) count: u32,
    /// Answers left by another interface than the SYNs came in by.
    pub(crate) asymmetric: bool,
}

/// The balancer's own connections.
pub(crate) struct Passing {
    /// Stands for the balancer, with the addresses that its connections come from.
    pub(crate) vantage: VantagePoint,
    /// The path with what is known of the balancer from here, where no agent stands there.
    pub(crate) topology: Option<Topology>,
    /// What became of them.
    pub(crate) passed: Vec<Passed>,
}

/// Whether a vantage point stands for what passes, and cannot be asked to fire anything.
pub(crate) fn passes(vantage: &VantageName) -> bool {
    vantage.0 == BALANCER
}

/// One connection, as the server's host saw its handshake.
#[derive(Clone, Debug, Default)]
struct Handshake {
    at: u64,
    syns: u32,
    answers: u32,
    stale: u32,
    refused: u32,
    completed: u32,
    reset: bool,
    /// Its port had been used shortly before.
    reused: bool,
    /// SYNs that were not answered, by what the server's kernel says of them.
    reasons: BTreeMap<Reason, u32>,
    arrived_by: BTreeSet<String>,
    left_by: BTreeSet<String>,
}

/// The connections to one backend, by the client's address.
type Connections = BTreeMap<IpAddr, Vec<Handshake>>;

impl Passing {
    /// Reads the reports; `None` where nothing can be told of the balancer's own connections.
    pub(crate) fn new(case: &Case, observations: &[&Observation]) -> Option<Self> {
        let agent = balancer_agent(&case.topology);
        let probes = probes(observations.iter().copied());
        let stale = || {
            case.sightings
                .iter()
                .any(|report| is_stale(report, &probes))
        };
        if case.topology.vip_mode == VipMode::Dsr || agent.is_some() && !stale() {
            return None;
        }
        let seen = watched(case);
        let addresses = addresses(&case.topology, &seen)?;
        let rounds: BTreeSet<u64> = observations.iter().map(|o| o.scheduled_us).collect();
        let mut passed = Vec::new();
        for (backend, connections) in &seen {
            for source in &addresses {
                let handshakes = connections.get(source).map_or(&[][..], Vec::as_slice);
                passed.extend(counted(backend, *source, handshakes, &rounds));
            }
        }
        let vantage = VantagePoint {
            name: VantageName(BALANCER.to_string()),
            role: Role::Inside,
            host: Some(BALANCER_HOST.to_string()),
            addresses: addresses.into_iter().collect(),
            witness: false,
            resolvers: Vec::new(),
        };
        let topology = agent.is_none().then(|| {
            let mut topology = case.topology.clone();
            topology.vantages.push(vantage.clone());
            topology
        });
        (!passed.is_empty()).then_some(Self {
            vantage,
            topology,
            passed,
        })
    }
}

/// Whether a connection that no probe made met an old one. A probe whose answers were lost leaves half of a
/// connection behind, which the SYNs of its trace meet.
fn is_stale(report: &WitnessReport, probes: &BTreeSet<SocketAddr>) -> bool {
    let passing = report.flows.iter();
    let passing = passing.filter(|flow| !probes.contains(&flow.client));
    let mut seen = passing.flat_map(|flow| &flow.seen);
    seen.any(|seen| seen.packet == Packet::StaleAck)
}

fn balancer_agent(topology: &Topology) -> Option<&VantagePoint> {
    let mut vantages = topology.vantages.iter();
    vantages.find(|v| v.host.as_deref() == Some(BALANCER_HOST))
}

fn witness_of<'t>(topology: &'t Topology, backend: &Backend) -> Option<&'t VantageName> {
    let mut vantages = topology.vantages.iter();
    let own = vantages.find(|v| v.host.as_deref() == Some(backend.name.as_str()))?;
    Some(&own.name)
}

/// The backends that have a witness, with the connections that it saw and no probe made.
fn watched<'c>(case: &'c Case) -> Vec<(&'c Backend, Connections)> {
    let reports = unique(&case.sightings);
    let kernels = Kernels::new(reports.values().copied());
    let mut probes = probes(&case.observations);
    // Those whose probe's port was taken left from one of their own.
    probes.extend(case.traces.iter().map(|trace| trace.from));
    let backends = case.topology.backends.iter();
    let watched = backends.filter_map(|backend| {
        let witness = witness_of(&case.topology, backend)?;
        let reports = reports.range((witness, 0)..=(witness, u64::MAX));
        let reports: Vec<&WitnessReport> = reports.map(|(_, report)| *report).collect();
        let of_server = |report: &'c WitnessReport| {
            let reason = kernels.reason(report, backend.address.is_ipv4());
            let flows = report.flows.iter();
            let flows = flows.filter(move |flow| flow.server == backend.address);
            flows.map(move |flow| (flow, reason))
        };
        let flows = reports.iter().flat_map(|report| of_server(report));
        let flows = flows.filter(|(flow, _)| !probes.contains(&flow.client));
        let end = reports.iter().map(|r| r.to.at_us).max().unwrap_or(0);
        Some((backend, connections(flows, end, &gaps(&reports))))
    });
    watched.collect()
}

/// The balancer's own connections, as the backends' hosts saw them.
pub(crate) struct Own {
    /// By the name of the backend.
    seen: Vec<(String, Connections)>,
    /// The addresses that they come from, as the balancer's agent or those hosts know.
    pub(crate) addresses: BTreeSet<IpAddr>,
}

impl Own {
    pub(crate) fn of(case: &Case) -> Self {
        let seen = watched(case);
        let addresses = addresses(&case.topology, &seen).unwrap_or_default();
        let seen = seen
            .into_iter()
            .map(|(backend, all)| (backend.name.clone(), all));
        Self {
            seen: seen.collect(),
            addresses,
        }
    }

    /// Those to a backend that began in a span, by the address that they came from.
    fn within<'s>(
        &'s self,
        connections: &'s Connections,
        span: Span,
    ) -> impl Iterator<Item = (IpAddr, &'s Handshake)> {
        let own = connections.iter();
        let own = own.filter(|(source, _)| self.addresses.contains(*source));
        let all = own.flat_map(|(source, all)| all.iter().map(move |h| (*source, h)));
        all.filter(move |(_, h)| span.holds(h.at))
    }

    /// How many to a backend began in a span, by the address that they came from.
    pub(crate) fn by_source(&self, span: Span, backend: &str) -> BTreeMap<IpAddr, usize> {
        let mut counts = BTreeMap::new();
        let of_backend = self.seen.iter().filter(|(name, _)| name == backend);
        for (_, connections) in of_backend {
            for (source, _) in self.within(connections, span) {
                *counts.entry(source).or_default() += 1;
            }
        }
        counts
    }

    /// How many to each backend began in a span, and how many of those were completed: the latter first.
    pub(crate) fn completed(&self, span: Span) -> BTreeMap<String, (usize, usize)> {
        let counts = self.seen.iter().map(|(backend, connections)| {
            let all = self.within(connections, span).count();
            let within = self.within(connections, span);
            let completed = within.filter(|(_, h)| h.is_done()).count();
            (backend.clone(), (completed, all))
        });
        counts.filter(|(_, (_, all))| *all > 0).collect()
    }

    /// How many to each backend began in a span and were answered, and how many of those the balancer ended by a
    /// reset, as far as their host remembered them until then: the latter first.
    pub(crate) fn reset(&self, span: Span) -> BTreeMap<String, (usize, usize)> {
        let counts = self.seen.iter().map(|(backend, connections)| {
            let answered = || {
                let within = self.within(connections, span);
                within.filter(|(_, h)| h.answers > 0 && h.stale == 0)
            };
            let reset = answered().filter(|(_, h)| h.reset).count();
            (backend.clone(), (reset, answered().count()))
        });
        counts.filter(|(_, (_, all))| *all > 0).collect()
    }

    /// Of a span how many there were, and how many of them met an old connection; of those from ports that the
    /// balancer had used shortly before, and of the others.
    pub(crate) fn reuse(&self, span: Span) -> [(usize, usize); 2] {
        let mut counts = [(0, 0); 2];
        let connections = self.seen.iter().map(|(_, connections)| connections);
        for (_, handshake) in connections.flat_map(|c| self.within(c, span)) {
            let (all, met) = &mut counts[usize::from(!handshake.reused)];
            *all += 1;
            *met += usize::from(handshake.stale > 0);
        }
        counts
    }
}

/// The balancer's addresses: its agent's, or those that are its own by what they do. `None` where there
/// are none, or too many.
fn addresses(topology: &Topology, seen: &[(&Backend, Connections)]) -> Option<BTreeSet<IpAddr>> {
    if let Some(agent) = balancer_agent(topology) {
        return Some(agent.addresses.iter().copied().collect());
    }
    let agents: BTreeSet<IpAddr> = topology
        .vantages
        .iter()
        .flat_map(|v| v.addresses.iter().copied())
        .collect();
    let (_, first) = seen.first()?;
    let addresses = first.keys().copied().filter(|address| {
        let often = |(backend, connections): &(&Backend, Connections)| {
            let count = connections.get(address).map_or(0, Vec::len);
            count >= OFTEN && (is_inner(*address) || !is_inner(backend.address.ip()))
        };
        !agents.contains(address) && seen.iter().all(often)
    });
    let addresses: BTreeSet<IpAddr> = addresses.collect();
    let few = (1..=MOST_ADDRESSES).contains(&addresses.len());
    few.then_some(addresses)
}

/// Whether an address is of no public network: a backend that has such a one is balanced from such ones.
fn is_inner(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local(),
    }
}

/// What was seen of connections, stretch by stretch and each with why SYNs went unanswered then, each with
/// what its whole handshake was. One that a gap in the reports, or their end, may have cut short is left out,
/// unless it was completed.
fn connections<'r>(
    flows: impl Iterator<Item = (&'r FlowSighting, Option<Reason>)>,
    end: u64,
    gaps: &[u64],
) -> Connections {
    let mut open: BTreeMap<SocketAddr, Handshake> = BTreeMap::new();
    let mut all = Connections::new();
    let mut used: BTreeMap<SocketAddr, u64> = BTreeMap::new();
    let mut close = |client: SocketAddr, mut handshake: Handshake| {
        let before = used.insert(client, handshake.at);
        let soon = before.is_some_and(|at| handshake.at < at + REUSE_WITHIN.0);
        handshake.reused = soon;
        let over = handshake.completed > 0 || handshake.reset;
        let ripe = handshake.at + RIPE_US;
        let cut = gaps.iter().any(|gap| (handshake.at..=ripe).contains(gap));
        // Who is silent may be so for the sake of the port's last connection, which is no fault of this one's.
        let collides = soon && handshake.answers == 0 && handshake.stale == 0;
        if handshake.syns > 0 && !collides && (over || ripe <= end && !cut) {
            all.entry(client.ip()).or_default().push(handshake);
        }
    };
    for (flow, reason) in flows {
        let Some(next) = Handshake::of(flow, reason) else {
            continue;
        };
        match open.remove(&flow.client) {
            Some(known) if !known.is_another(&next) => {
                open.insert(flow.client, known.and(next));
            }
            Some(known) => {
                close(flow.client, known);
                open.insert(flow.client, next);
            }
            None => drop(open.insert(flow.client, next)),
        }
    }
    for (client, handshake) in open {
        close(client, handshake);
    }
    all
}

/// When the witness missed something, or was not there.
fn gaps(reports: &[&WitnessReport]) -> Vec<u64> {
    let mut stretches: Vec<(u64, u64, bool)> = reports
        .iter()
        .map(|report| (report.from.at_us, report.to.at_us, report.dropped > 0))
        .collect();
    stretches.sort_unstable();
    let mut gaps = Vec::new();
    let mut reached = stretches.first().map_or(0, |first| first.0);
    for (from, to, missed) in stretches {
        if from > reached + SEAMLESS_US {
            gaps.push(reached);
        }
        if missed {
            gaps.push(to);
        }
        reached = reached.max(to);
    }
    gaps
}

impl Handshake {
    /// What one stretch saw of a flow, and why SYNs went unanswered then.
    fn of(flow: &FlowSighting, reason: Option<Reason>) -> Option<Self> {
        let lost = reason.map(|reason| (reason, unanswered(flow)));
        let mut handshake = Self {
            at: flow.seen.iter().map(|seen| seen.first.at_us).min()?,
            reasons: lost.into_iter().filter(|(_, count)| *count > 0).collect(),
            ..Self::default()
        };
        for seen in &flow.seen {
            match (seen.packet, seen.direction) {
                // Who does not know of options does not know either what completes a handshake by payload.
                (Packet::Syn, Direction::In) if seen.options.is_some() => {
                    handshake.syns += seen.count;
                    handshake.arrived_by.insert(seen.interface.clone());
                }
                (Packet::SynAck, Direction::Out) => {
                    handshake.answers += seen.count;
                    handshake.left_by.insert(seen.interface.clone());
                }
                (Packet::StaleAck, Direction::Out) => handshake.stale += seen.count,
                (Packet::ResetByServer, Direction::Out) => handshake.refused += seen.count,
                (Packet::Ack, Direction::In) | (Packet::Established, _) => {
                    handshake.completed += seen.count;
                }
                (Packet::ResetByClient, Direction::In) => handshake.reset = true,
                _ => {}
            }
        }
        Some(handshake)
    }

    /// Whether what comes next from the same port is of another connection.
    fn is_another(&self, next: &Self) -> bool {
        let begins = next.syns > 0 && next.at > self.at + SAME_CONNECTION_US;
        begins || next.syns > 0 && self.completed > 0
    }

    fn and(mut self, next: Self) -> Self {
        self.syns += next.syns;
        self.answers += next.answers;
        self.stale += next.stale;
        self.refused += next.refused;
        self.completed += next.completed;
        self.reset |= next.reset;
        for (reason, count) in next.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.arrived_by.extend(next.arrived_by);
        self.left_by.extend(next.left_by);
        self
    }

    /// Whether the client got its answer: who resets what it has got an answer to has got the answer.
    fn is_done(&self) -> bool {
        self.completed > 0 || self.reset && self.answers > 0 && self.stale == 0
    }

    /// What it says of both stages: how often which symptom was seen, or none.
    fn counts(&self) -> Vec<(Stage, Option<Symptom>, u32)> {
        let answered = self.answers.min(self.syns);
        let stale = self.stale.min(self.syns - answered);
        // A server resets later, too.
        let refused = match answered {
            0 => self.refused.min(self.syns - stale),
            _ => 0,
        };
        let silent = self.syns - answered - stale - refused;
        let back = self.completed.max(u32::from(self.is_done()));
        let lost = self.answers.saturating_sub(back);
        let few = |count: u32| count.min(MOST_LOST);
        let mut counts = vec![
            (Stage::Answer, None, answered),
            (Stage::Answer, Some(Symptom::StaleAck), few(stale)),
            (Stage::Answer, Some(Symptom::Refused), few(refused)),
            (Stage::Return, None, back),
            (Stage::Return, Some(Symptom::SynLost), few(lost)),
        ];
        let told = kernel::told(&self.reasons, few(silent)).into_iter();
        counts.extend(told.map(|(symptom, count)| (Stage::Answer, Some(symptom), count)));
        counts
    }
}

/// One address's connections to one backend, each at the instant of the round before it.
fn counted(
    backend: &Backend,
    source: IpAddr,
    handshakes: &[Handshake],
    rounds: &BTreeSet<u64>,
) -> Vec<Passed> {
    let target = Target::Backend {
        name: backend.name.clone(),
        address: backend.address,
    };
    let arm = Arm {
        source: Some(source),
        ..Arm::to(target)
    };
    let last = rounds.last().copied().unwrap_or(0);
    let mut at_once: BTreeMap<u64, usize> = BTreeMap::new();
    let mut passed = Vec::new();
    for handshake in handshakes {
        let round = rounds.range(..=handshake.at).next_back();
        let Some(at) = round.filter(|_| handshake.at <= last + LAST_ROUND_US) else {
            continue;
        };
        let before = at_once.entry(*at).or_default();
        *before += 1;
        if *before > MOST_AT_ONCE {
            continue;
        }
        let asymmetric =
            !handshake.left_by.is_empty() && handshake.left_by.is_disjoint(&handshake.arrived_by);
        let counts = handshake.counts().into_iter();
        passed.extend(
            counts
                .filter(|count| count.2 > 0)
                .map(|(stage, symptom, count)| Passed {
                    arm: arm.clone(),
                    stage,
                    at: *at,
                    symptom,
                    count,
                    asymmetric,
                }),
        );
    }
    passed
}
