//! Joining sightings to observations: by five-tuple and time.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::facts::observation::{Layer, Observation, Outcome, Target};
use crate::facts::sighting::{Direction, Packet, WitnessReport};
use crate::facts::topology::{BALANCER_HOST, Topology, VantageName};
use crate::reading::kernel::{Kernels, Reason, unanswered};

/// How long after a probe's first SYN its packets are still taken for the same connection.
pub(crate) const SAME_CONNECTION_US: u64 = 15_000_000;

/// A gap between two reports that is still no hole, in microseconds.
pub(crate) const SEAMLESS_US: u64 = 200_000;

/// A witness counts for a vantage point when it saw this share of the connections known to be good.
const SENSITIVE: f64 = 0.9;

/// What the far host's witness saw of one probe's connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// SYNs that arrived.
    pub(crate) syns: u32,
    /// SYN-ACKs that left.
    pub(crate) answers: u32,
    /// RSTs that the host sent.
    pub(crate) resets: u32,
    /// SYNs that arrived and were not answered, by what the host's kernel says of them.
    pub(crate) reasons: BTreeMap<Reason, u32>,
    /// Interfaces by which SYNs arrived.
    pub(crate) arrived_by: BTreeSet<String>,
    /// Interfaces by which SYN-ACKs left.
    pub(crate) left_by: BTreeSet<String>,
}

/// Every witness of a case.
pub(crate) struct Witnesses {
    /// A layer-4 balancer only passes handshakes on: its witness cannot tell who did not answer.
    layer4: bool,
    hosts: BTreeMap<String, VantageName>,
    flows: BTreeMap<(VantageName, SocketAddr), Vec<(u64, Seen)>>,
    coverage: BTreeMap<VantageName, Vec<(u64, u64)>>,
    sensitive: BTreeSet<(VantageName, VantageName)>,
    /// From where several connections left on purpose: a report of the one may be of the next.
    reused: BTreeSet<(VantageName, SocketAddr)>,
}

impl Witnesses {
    /// Indexes the reports and finds out which witnesses see which vantage points' connections.
    pub(crate) fn new(
        topology: &Topology,
        reports: &[WitnessReport],
        observations: &[&Observation],
        layer4: bool,
    ) -> Self {
        let hosts = topology
            .vantages
            .iter()
            .filter_map(|v| v.host.clone().map(|host| (host, v.name.clone())))
            .collect();
        let mut witnesses = Self {
            layer4,
            hosts,
            flows: BTreeMap::new(),
            coverage: BTreeMap::new(),
            sensitive: BTreeSet::new(),
            reused: reused(observations),
        };
        let unique: BTreeMap<_, _> = reports
            .iter()
            .map(|r| ((r.witness.clone(), r.sequence), r))
            .collect();
        let kernels = Kernels::new(unique.values().copied());
        for report in unique.into_values() {
            witnesses.add(report, &kernels);
        }
        for stretches in witnesses.coverage.values_mut() {
            stretches.sort_unstable();
        }
        witnesses.calibrate(observations);
        witnesses
    }

    /// What the witness at the probe's far end saw; `None` when there is no witness there, when it
    /// was not watching all the time, or when it does not see this vantage point's connections.
    pub(crate) fn saw(&self, observation: &Observation) -> Option<Seen> {
        let (witness, seen) = self.raw(observation)?;
        let known = self
            .sensitive
            .contains(&(witness.clone(), observation.vantage().clone()));
        (known || seen.syns > 0).then_some(seen)
    }

    /// The witness's name for an observation's far end.
    pub(crate) fn at(&self, observation: &Observation) -> Option<&VantageName> {
        let host = match &observation.arm.target {
            Target::Backend { name, .. } => name,
            Target::Vip { .. } if !self.layer4 => BALANCER_HOST,
            Target::Vip { .. }
            | Target::Resolver { .. }
            | Target::NameServer { .. }
            | Target::Edge { .. } => return None,
        };
        self.hosts.get(host)
    }

    fn add(&mut self, report: &WitnessReport, kernels: &Kernels) {
        if report.dropped == 0 {
            self.coverage
                .entry(report.witness.clone())
                .or_default()
                .push((report.from.at_us, report.to.at_us));
        }
        for flow in &report.flows {
            let Some(first) = flow.seen.iter().map(|s| s.first.at_us).min() else {
                continue;
            };
            let mut counted = Seen::default();
            let lost = unanswered(flow);
            let reason = kernels.reason(report, flow.server.is_ipv4());
            if let Some(reason) = reason.filter(|_| lost > 0) {
                counted.reasons.insert(reason, lost);
            }
            for seen in &flow.seen {
                match (seen.packet, seen.direction) {
                    (Packet::Syn, Direction::In) => {
                        counted.syns += seen.count;
                        counted.arrived_by.insert(seen.interface.clone());
                    }
                    (Packet::SynAck, Direction::Out) => {
                        counted.answers += seen.count;
                        counted.left_by.insert(seen.interface.clone());
                    }
                    (Packet::ResetByServer, Direction::Out) => counted.resets += seen.count,
                    _ => {}
                }
            }
            self.flows
                .entry((report.witness.clone(), flow.client))
                .or_default()
                .push((first, counted));
        }
    }

    fn raw(&self, observation: &Observation) -> Option<(&VantageName, Seen)> {
        let witness = self.at(observation)?;
        if witness == observation.vantage() {
            return None;
        }
        let tcp = observation.facts.tcp.as_ref()?;
        let port = (observation.vantage().clone(), tcp.local);
        if self.reused.contains(&port) {
            return None;
        }
        let start = observation.started.at_us;
        let took = observation
            .took(Layer::Tcp)
            .or(match &observation.outcome {
                Outcome::Failed {
                    layer: Layer::Tcp,
                    after,
                    ..
                } => Some(*after),
                Outcome::Failed { .. } | Outcome::Passed | Outcome::NotFired => None,
            })?;
        if !self.covered(witness, start, start + took.0) {
            return None;
        }
        let slack = observation.started.uncertainty_us + SEAMLESS_US;
        let mut total = Seen::default();
        for (at, seen) in self
            .flows
            .get(&(witness.clone(), tcp.local))
            .into_iter()
            .flatten()
        {
            if *at + slack >= start && *at <= start + SAME_CONNECTION_US {
                total.syns += seen.syns;
                total.answers += seen.answers;
                total.resets += seen.resets;
                for (reason, count) in &seen.reasons {
                    *total.reasons.entry(*reason).or_default() += count;
                }
                total.arrived_by.extend(seen.arrived_by.iter().cloned());
                total.left_by.extend(seen.left_by.iter().cloned());
            }
        }
        Some((witness, total))
    }

    fn covered(&self, witness: &VantageName, from: u64, to: u64) -> bool {
        let Some(stretches) = self.coverage.get(witness) else {
            return false;
        };
        let first = stretches.partition_point(|(_, end)| *end < from);
        let mut reached = from;
        for (start, end) in &stretches[first..] {
            if *start > reached + SEAMLESS_US {
                return false;
            }
            reached = reached.max(*end);
            if reached >= to {
                return true;
            }
        }
        false
    }

    /// A connection that the prober knows to be good and that the witness did not see shows that
    /// something rewrites addresses in between: such a witness's silence says nothing.
    fn calibrate(&mut self, observations: &[&Observation]) {
        let mut counts: BTreeMap<(VantageName, VantageName), (u32, u32)> = BTreeMap::new();
        for observation in observations {
            if observation.took(Layer::Tcp).is_none() {
                continue;
            }
            if let Some((witness, seen)) = self.raw(observation) {
                let count = counts
                    .entry((witness.clone(), observation.vantage().clone()))
                    .or_default();
                count.0 += u32::from(seen.syns > 0);
                count.1 += 1;
            }
        }
        self.sensitive = counts
            .into_iter()
            .filter(|(_, (seen, of))| f64::from(*seen) >= SENSITIVE * f64::from(*of))
            .map(|(pair, _)| pair)
            .collect();
    }
}

/// The addresses and ports that some probe left from although another one had.
fn reused(observations: &[&Observation]) -> BTreeSet<(VantageName, SocketAddr)> {
    let again = observations
        .iter()
        .filter(|o| !o.arm.traits.port.is_plain());
    let ports = again.filter_map(|o| Some((o.vantage().clone(), o.facts.tcp.as_ref()?.local)));
    ports.collect()
}
