//! Joining sightings to observations: by five-tuple and time.

use alloc::collections::{BTreeMap, BTreeSet};
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
pub(crate) struct Seen<'r> {
    /// SYNs that arrived.
    pub(crate) syns: u32,
    /// SYN-ACKs that left.
    pub(crate) answers: u32,
    /// RSTs that the host sent.
    pub(crate) resets: u32,
    /// SYNs that arrived and were not answered, by what the host's kernel says of them.
    pub(crate) reasons: BTreeMap<Reason, u32>,
    /// Interfaces by which SYNs arrived.
    pub(crate) arrived_by: BTreeSet<&'r str>,
    /// Interfaces by which SYN-ACKs left.
    pub(crate) left_by: BTreeSet<&'r str>,
}

/// The reports of a case, by what probes may ask of them.
pub(crate) struct Index<'r> {
    hosts: BTreeMap<&'r str, &'r VantageName>,
    /// Connections from where some probe left, by that and by who saw them.
    flows: BTreeMap<(SocketAddr, &'r VantageName), Vec<(u64, Seen<'r>)>>,
    coverage: BTreeMap<&'r VantageName, Vec<(u64, u64)>>,
    /// From where several connections left on purpose: a report of the one may be of the next.
    reused: BTreeSet<(SocketAddr, &'r VantageName)>,
}

/// Every witness of a case, as it is read with a balancer of one layer.
pub(crate) struct Witnesses<'i> {
    index: &'i Index<'i>,
    /// A layer-4 balancer only passes handshakes on: its witness cannot tell who did not answer.
    layer4: bool,
    sensitive: BTreeSet<(&'i VantageName, &'i VantageName)>,
}

impl<'r> Index<'r> {
    /// Indexes the reports as far as observations may need them.
    pub(crate) fn new(
        topology: &'r Topology,
        reports: &'r [WitnessReport],
        observations: &[&'r Observation],
    ) -> Self {
        let hosts = topology.vantages.iter();
        let hosts = hosts.filter_map(|v| Some((v.host.as_deref()?, &v.name)));
        let mut index = Self {
            hosts: hosts.collect(),
            flows: BTreeMap::new(),
            coverage: BTreeMap::new(),
            reused: reused(observations),
        };
        let locals = probes(observations.iter().copied());
        let unique = unique(reports);
        let kernels = Kernels::new(unique.values().copied());
        for report in unique.into_values() {
            index.add(report, &kernels, &locals);
        }
        for stretches in index.coverage.values_mut() {
            stretches.sort_unstable();
        }
        index
    }

    fn add(&mut self, report: &'r WitnessReport, kernels: &Kernels, locals: &BTreeSet<SocketAddr>) {
        if report.dropped == 0 {
            let covered = self.coverage.entry(&report.witness).or_default();
            covered.push((report.from.at_us, report.to.at_us));
        }
        let ours = report.flows.iter();
        for flow in ours.filter(|flow| locals.contains(&flow.client)) {
            let Some(first) = flow.seen.iter().map(|s| s.first.at_us).min() else {
                continue;
            };
            let mut counted = Seen::default();
            let lost = unanswered(flow);
            if lost > 0
                && let Some(reason) = kernels.reason(report, flow.server.is_ipv4())
            {
                counted.reasons.insert(reason, lost);
            }
            for seen in &flow.seen {
                match (seen.packet, seen.direction) {
                    (Packet::Syn, Direction::In) => {
                        counted.syns += seen.count;
                        counted.arrived_by.insert(&seen.interface);
                    }
                    (Packet::SynAck, Direction::Out) => {
                        counted.answers += seen.count;
                        counted.left_by.insert(&seen.interface);
                    }
                    (Packet::ResetByServer, Direction::Out) => counted.resets += seen.count,
                    _ => {}
                }
            }
            let flows = self.flows.entry((flow.client, &report.witness));
            flows.or_default().push((first, counted));
        }
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
}

impl<'i> Witnesses<'i> {
    /// Finds out which witnesses see which vantage points' connections.
    pub(crate) fn new(
        index: &'i Index<'i>,
        observations: &[&'i Observation],
        layer4: bool,
    ) -> Self {
        let mut witnesses = Self {
            index,
            layer4,
            sensitive: BTreeSet::new(),
        };
        witnesses.calibrate(observations);
        witnesses
    }

    /// What the witness at the probe's far end saw; `None` when there is no witness there, when it
    /// was not watching all the time, or when it does not see this vantage point's connections.
    pub(crate) fn saw(&self, observation: &Observation) -> Option<Seen<'i>> {
        let (witness, seen) = self.raw(observation)?;
        let known = self.sensitive.contains(&(witness, observation.vantage()));
        (known || seen.syns > 0).then_some(seen)
    }

    /// The witness's name for an observation's far end.
    fn at(&self, observation: &Observation) -> Option<&'i VantageName> {
        let host = match &observation.arm.target {
            Target::Backend { name, .. } => name.as_str(),
            Target::Vip { .. } if !self.layer4 => BALANCER_HOST,
            Target::Vip { .. }
            | Target::Resolver { .. }
            | Target::NameServer { .. }
            | Target::Edge { .. } => return None,
        };
        self.index.hosts.get(host).copied()
    }

    fn raw(&self, observation: &Observation) -> Option<(&'i VantageName, Seen<'i>)> {
        let witness = self.at(observation)?;
        if witness == observation.vantage() {
            return None;
        }
        let local = observation.facts.tcp.as_ref()?.local;
        if self.index.reused.contains(&(local, observation.vantage())) {
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
        if !self.index.covered(witness, start, start + took.0) {
            return None;
        }
        let slack = observation.started.uncertainty_us + SEAMLESS_US;
        let last = match &observation.outcome {
            // No SYN of it leaves after it was given up; those that do from its port are a trace's.
            Outcome::Failed {
                layer: Layer::Tcp, ..
            } => start + took.0 + slack,
            Outcome::Failed { .. } | Outcome::Passed | Outcome::NotFired => {
                start + SAME_CONNECTION_US
            }
        };
        let mut total = Seen::default();
        let flows = self.index.flows.get(&(local, witness)).into_iter();
        for (at, seen) in flows.flatten() {
            if *at + slack >= start && *at <= last {
                total.syns += seen.syns;
                total.answers += seen.answers;
                total.resets += seen.resets;
                for (reason, count) in &seen.reasons {
                    *total.reasons.entry(*reason).or_default() += count;
                }
                total.arrived_by.extend(&seen.arrived_by);
                total.left_by.extend(&seen.left_by);
            }
        }
        Some((witness, total))
    }

    /// A connection that the prober knows to be good and that the witness did not see shows that
    /// something rewrites addresses in between: such a witness's silence says nothing.
    fn calibrate(&mut self, observations: &[&'i Observation]) {
        let mut counts: BTreeMap<(&VantageName, &VantageName), (u32, u32)> = BTreeMap::new();
        for observation in observations {
            if observation.took(Layer::Tcp).is_none() {
                continue;
            }
            if let Some((witness, seen)) = self.raw(observation) {
                let count = counts.entry((witness, observation.vantage())).or_default();
                count.0 += u32::from(seen.syns > 0);
                count.1 += 1;
            }
        }
        let counts = counts.into_iter();
        self.sensitive = counts
            .filter(|(_, (seen, of))| f64::from(*seen) >= SENSITIVE * f64::from(*of))
            .map(|(pair, _)| pair)
            .collect();
    }
}

/// The addresses and ports that some probe left from although another one had.
fn reused<'r>(observations: &[&'r Observation]) -> BTreeSet<(SocketAddr, &'r VantageName)> {
    let again = observations
        .iter()
        .filter(|o| !o.arm.traits.port.is_plain());
    let ports = again.filter_map(|o| Some((o.facts.tcp.as_ref()?.local, o.vantage())));
    ports.collect()
}

/// Each report once, by witness and in order.
pub(crate) fn unique(reports: &[WitnessReport]) -> BTreeMap<(&VantageName, u64), &WitnessReport> {
    let reports = reports.iter();
    reports
        .map(|report| ((&report.witness, report.sequence), report))
        .collect()
}

/// Where probes' connections left from.
pub(crate) fn probes<'o>(
    observations: impl IntoIterator<Item = &'o Observation>,
) -> BTreeSet<SocketAddr> {
    let tcp = observations.into_iter();
    let tcp = tcp.filter_map(|o| o.facts.tcp.as_ref());
    tcp.map(|tcp| tcp.local).collect()
}
