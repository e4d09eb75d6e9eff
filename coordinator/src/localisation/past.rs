//! What a judgement takes from the store: what was usual, and what the engine's memory does not reach
//! back to.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use localize::topology::BALANCER_HOST;
use localize::{
    Baselines, Case, Observation, Outcome, PacketHeaders, ServiceName, Target, Topology, Trace,
    WitnessReport, thinning,
};

use super::LONGEST_SINCE;
use super::standing::Alarms;
use crate::engine::{Evidence, Refusal, WINDOW_US};
use crate::store::{Store, StoreError};

/// What is usual is learnt from a day before the window in which nothing was wrong, in microseconds.
const CALM_US: u64 = 24 * 3600 * 1_000_000;

/// Packets of one case, the latest: those of some two hundred connections, as many as anybody looks through.
/// With a quarter of a kilobyte each in JSON they are half a megabyte of a case that is packed after that.
const PACKETS: usize = 2000;

/// What is read from the store once.
#[derive(Clone, Default)]
pub(crate) struct Past {
    baselines: Baselines,
    observations: Vec<Observation>,
    reports: Vec<WitnessReport>,
    traces: Vec<Trace>,
}

/// A stretch of time to be judged, in microseconds of mesh time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// From when on.
    pub(crate) from_us: u64,
    /// Since when the service is asked as it is: what was before is neither evidence nor usual.
    pub(crate) asked_us: u64,
    /// The present.
    pub(crate) now_us: u64,
}

impl Past {
    /// Baselines before the stretch, and what of it the engine's memory does not reach back to.
    pub(crate) async fn read(
        store: &Store,
        service: &ServiceName,
        span: Span,
    ) -> Result<Self, Refusal> {
        let (store, service) = (store.clone(), service.clone());
        let Span {
            asked_us, now_us, ..
        } = span;
        let from_us = span.from_us.max(asked_us);
        let remembered_us = now_us.saturating_sub(WINDOW_US);
        let past = tokio::task::spawn_blocking(move || -> Result<Self, StoreError> {
            let mut past = Self {
                baselines: store.baselines(&service, CALM_US, asked_us..from_us)?,
                ..Self::default()
            };
            if from_us < remembered_us {
                past.observations = store.observations(&service, from_us, remembered_us)?;
                past.reports = store.reports(from_us, remembered_us)?;
                past.traces = store.traces(from_us, remembered_us)?;
                past.traces.retain(|trace| trace.service == service);
            }
            Ok(past)
        });
        Ok(past.await.map_err(|_| Refusal::Stopping)??)
    }
}

/// How far a localisation looks back, and what it finds there.
#[derive(Default)]
pub(super) struct Lookback {
    /// From when on rounds count, in microseconds of mesh time.
    pub(super) from_us: u64,
    pub(super) past: Past,
    pub(super) alarms: Alarms,
}

impl Lookback {
    /// To the beginning of the stretch, or to that of the alarms that stand, as far as observations that
    /// passed are kept.
    pub(super) async fn read(
        store: &Store,
        service: &ServiceName,
        span: Span,
        standing: &[String],
    ) -> Result<Self, Refusal> {
        let (reading, ids) = (store.clone(), standing.to_vec());
        let alarms = tokio::task::spawn_blocking(move || Alarms::read(&reading, &ids)).await;
        let alarms = alarms.map_err(|_| Refusal::Stopping)??;
        let longest = u64::try_from(LONGEST_SINCE.as_micros()).unwrap_or(u64::MAX);
        let since_us = alarms.since_us().unwrap_or(u64::MAX);
        let since_us = since_us.max(span.now_us.saturating_sub(longest));
        let from_us = span.from_us.min(since_us);
        let span = Span { from_us, ..span };
        Ok(Self {
            from_us,
            past: Past::read(store, service, span).await?,
            alarms,
        })
    }
}

/// A case of what is remembered and what is past, but for what was seen of addresses that are the
/// service's no longer, and for rounds that a judgement would leave out.
pub(crate) fn case(evidence: Evidence, past: &Past) -> Case {
    let topology: Topology = evidence.topology;
    let remembered = evidence.observations.iter().map(AsRef::as_ref);
    let all: Vec<&Observation> = past.observations.iter().chain(remembered).collect();
    let rounds = thinning::rounds(all.iter().map(|seen| (seen.scheduled_us, seen.round)));
    let is_judged = |seen: &Observation| {
        let kept = rounds.as_ref();
        kept.is_none_or(|kept| kept.contains(&seen.round))
    };
    let (judged, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|seen| is_judged(seen));
    // Another probe may have left from the same port since.
    let left_out = &ports(&others) - &ports(&judged);
    let failed = judged.iter().copied();
    let failed = failed.filter(|seen| matches!(seen.outcome, Outcome::Failed { .. }));
    let mut shown = Shown {
        ends: ports(&failed.collect::<Vec<_>>()),
        balancer: addresses(&topology),
        room: PACKETS,
    };
    let observations = judged.into_iter().filter(|seen| is_of(&topology, seen));
    let remembered = evidence.reports.iter().map(AsRef::as_ref);
    let reports = past.reports.iter().chain(remembered);
    let latest_first = reports.rev();
    let latest_first =
        latest_first.map(|report| needed(report, &left_out, shown.of(&report.packets)));
    let mut sightings: Vec<WitnessReport> = latest_first.collect();
    sightings.reverse();
    let remembered = evidence.traces.iter().map(AsRef::as_ref);
    let traces = past.traces.iter().chain(remembered);
    Case {
        observations: observations.cloned().collect(),
        sightings,
        traces: traces.cloned().collect(),
        topology,
        declared: evidence.declared,
        baselines: past.baselines.clone(),
    }
}

/// Where probes left from.
fn ports(observations: &[&Observation]) -> BTreeSet<SocketAddr> {
    let tcp = observations
        .iter()
        .filter_map(|seen| seen.facts.tcp.as_ref());
    tcp.map(|tcp| tcp.local).collect()
}

/// The addresses of the balancer's host.
fn addresses(topology: &Topology) -> BTreeSet<IpAddr> {
    let all = topology.vantages.iter();
    let own = all.filter(|vantage| vantage.host.as_deref() == Some(BALANCER_HOST));
    own.flat_map(|vantage| vantage.addresses.iter().copied())
        .collect()
}

/// Whose packets a case shows: those of its own probes that failed, and of the balancer, of which only those were
/// asked for that came to nothing.
struct Shown {
    ends: BTreeSet<SocketAddr>,
    balancer: BTreeSet<IpAddr>,
    /// Packets that it may still have.
    room: usize,
}

impl Shown {
    fn of(&mut self, packets: &[PacketHeaders]) -> Vec<PacketHeaders> {
        let is_of = |end: &SocketAddr| self.ends.contains(end) || self.balancer.contains(&end.ip());
        let is_shown = |packet: &&PacketHeaders| {
            packet
                .ends()
                .is_some_and(|(from, to)| is_of(&from) || is_of(&to))
        };
        let shown = packets.iter().filter(is_shown).take(self.room).cloned();
        let shown: Vec<PacketHeaders> = shown.collect();
        self.room -= shown.len();
        shown
    }
}

/// A report without what it says of probes that are left out, and with these packets.
fn needed(
    report: &WitnessReport,
    left_out: &BTreeSet<SocketAddr>,
    packets: Vec<PacketHeaders>,
) -> WitnessReport {
    let flows = report.flows.iter();
    let flows = flows.filter(|flow| !thinning::needless(flow, left_out));
    WitnessReport {
        witness: report.witness.clone(),
        sequence: report.sequence,
        from: report.from,
        to: report.to,
        flows: flows.cloned().collect(),
        dropped: report.dropped,
        host: report.host.clone(),
        packets,
    }
}

fn is_of(topology: &Topology, seen: &Observation) -> bool {
    match &seen.arm.target {
        Target::Edge { address } => topology.edges.contains(address),
        Target::Resolver { .. }
        | Target::NameServer { .. }
        | Target::Vip { .. }
        | Target::Backend { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use localize::{Arm, Direction, FlowSighting, Packet, Seen, Stamp, VantageName};

    use super::super::seen;
    use super::*;

    fn evidence(known: &Case, observations: impl IntoIterator<Item = Observation>) -> Evidence {
        Evidence {
            version: 0,
            path_since_us: 0,
            asked_us: 0,
            declared: known.declared.clone(),
            topology: known.topology.clone(),
            observations: observations.into_iter().map(Arc::new).collect(),
            reports: known.sightings.iter().cloned().map(Arc::new).collect(),
            traces: known.traces.iter().cloned().map(Arc::new).collect(),
            standing: Vec::new(),
        }
    }

    /// What became of SYNs from a port, as the backend's host saw it.
    fn flow(port: u16, answered: bool) -> FlowSighting {
        let seen = |packet, direction| Seen {
            packet,
            direction,
            interface: "eth0".to_owned(),
            count: 1,
            first: Stamp::default(),
            options: None,
        };
        let mut flow = FlowSighting {
            client: ([10, 0, 5, 5], port).into(),
            server: ([10, 0, 0, 51], 80).into(),
            seen: vec![seen(Packet::Syn, Direction::In)],
        };
        if answered {
            flow.seen.push(seen(Packet::SynAck, Direction::Out));
        }
        flow
    }

    #[test]
    fn what_was_seen_of_probes_that_are_left_out_is_left_out() {
        let mut known = seen::case(0, 13_000);
        let last = known.observations.len() - 1;
        // The second and third round are left out; the last one's probe left from the port of the second's.
        for (place, port) in [(1, 40_001), (2, 40_002), (last, 40_001)] {
            known.observations[place].facts.tcp =
                Some(seen::left_from(([10, 0, 5, 5], port).into()));
        }
        let flows = [
            (40_001, true),
            (40_002, true),
            (40_002, false),
            (50_000, true),
        ];
        known.sightings.push(WitnessReport {
            witness: VantageName("web1".to_owned()),
            sequence: 1,
            from: Stamp::default(),
            to: Stamp::default(),
            dropped: 0,
            flows: flows.map(|(port, answered)| flow(port, answered)).to_vec(),
            host: None,
            packets: Vec::new(),
        });
        let case = case(
            evidence(&known, known.observations.clone()),
            &Past::default(),
        );
        assert!(case.observations.len() < 4000);
        let left = &case.sightings[0].flows;
        assert_eq!(
            left[..],
            [flow(40_001, true), flow(40_002, false), flow(50_000, true)]
        );
    }

    /// A SYN from a port of the probes' address to the backend.
    fn packet(port: u16, at_us: u64) -> PacketHeaders {
        let mut bytes = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0];
        bytes.extend([10, 0, 5, 5, 10, 0, 0, 51]);
        bytes.extend(port.to_be_bytes());
        bytes.extend([0, 80]);
        bytes.extend([0; 16]);
        PacketHeaders {
            at: Stamp {
                at_us,
                uncertainty_us: 1,
            },
            direction: Direction::In,
            interface: "eth0".to_owned(),
            bytes,
        }
    }

    #[test]
    fn a_case_has_the_packets_of_its_own_failures_and_the_latest_of_them() {
        let mut known = seen::case(2, 3);
        for (observation, port) in known.observations.iter_mut().zip(40_001..) {
            observation.facts.tcp = Some(seen::left_from(([10, 0, 5, 5], port).into()));
        }
        let mut report = |sequence, packets| {
            known.sightings.push(WitnessReport {
                witness: VantageName("web1".to_owned()),
                sequence,
                from: Stamp::default(),
                to: Stamp::default(),
                dropped: 0,
                flows: Vec::new(),
                host: None,
                packets,
            });
        };
        report(1, vec![packet(40_001, 1); PACKETS]);
        // The third probe passed, and another service's failed.
        report(
            2,
            vec![packet(40_003, 2), packet(40_002, 2), packet(50_000, 2)],
        );
        let case = case(
            evidence(&known, known.observations.clone()),
            &Past::default(),
        );
        let kept = |report: &WitnessReport| (report.sequence, report.packets.clone());
        let kept: Vec<_> = case.sightings.iter().map(kept).collect();
        let before = vec![packet(40_001, 1); PACKETS - 1];
        assert_eq!(kept, [(1, before), (2, vec![packet(40_002, 2)])]);
    }

    #[test]
    fn what_was_seen_of_former_addresses_is_left_out() {
        let mut known = seen::case(0, 1);
        let [former, edge] = [7, 8].map(|n| ([198, 51, 100, n], 443).into());
        known.topology.edges = vec![edge];
        let to_edge = |address| Observation {
            arm: Arm::to(Target::Edge { address }),
            ..known.observations[0].clone()
        };
        let past = Past {
            observations: vec![to_edge(former), to_edge(edge)],
            ..Past::default()
        };
        let observed = [to_edge(former), known.observations[0].clone()];
        let evidence = evidence(&known, observed);
        let arms = case(evidence, &past).observations.into_iter();
        let arms: Vec<Arm> = arms.map(|seen| seen.arm).collect();
        assert_eq!(arms, [to_edge(edge).arm, known.observations[0].arm.clone()]);
    }
}
