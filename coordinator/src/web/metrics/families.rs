//! The families of `/metrics`, by the names that Prometheus asks for: base units, `_total` of counters,
//! `_timestamp_seconds` of instants.

use std::fmt;

use localize::VerdictOutcome;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use super::Snapshot;
use crate::engine::{AgentView, BOUNDS_US, Counted, Group, Phase, Presence, ServiceView, Times};
use crate::grpc::view;

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Counters without exemplars.
const NONE: Option<&Exemplar<NoLabelSet, f64>> = None;

impl Collector for Snapshot {
    fn encode(&self, mut to: DescriptorEncoder) -> fmt::Result {
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        to.encode_descriptor(
            "mesh_build",
            "Version of the coordinator",
            None,
            MetricType::Info,
        )?
        .encode_info(&build)?;
        self.whole(&mut to)?;
        self.agents(&mut to)?;
        self.services(&mut to)?;
        self.probes(&mut to)?;
        self.notified(&mut to)
    }
}

impl Snapshot {
    fn whole(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX) as f64;
        let rows = [
            (
                "mesh_start_timestamp_seconds",
                "When the coordinator was started",
                seconds(self.status.started_us),
            ),
            (
                "mesh_agents_connected",
                "Agents with a session",
                number(self.status.connected),
            ),
            (
                "mesh_agents_known",
                "Agents invited, enrolled or revoked",
                number(self.status.known),
            ),
            (
                "mesh_store_bytes",
                "Bytes that the store takes on disk",
                self.store_bytes as f64,
            ),
        ];
        for (name, help, value) in rows {
            gauges(to, name, help, [(Vec::new(), value)])?;
        }
        let stored = [(Vec::new(), self.stored)];
        counters(
            to,
            "mesh_observations_stored",
            "Observations stored since the store was made",
            stored,
        )
    }

    fn notified(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        fn of(name: &str) -> Labels<'_> {
            vec![("receiver", name)]
        }
        let all = &self.notified.tellings;
        let told = all.iter().map(|(name, counts)| (of(name), counts.told));
        counters(
            to,
            "mesh_notifications",
            "Messages that the receiver took",
            told,
        )?;
        let failed = all.iter().map(|(name, counts)| (of(name), counts.failed));
        counters(
            to,
            "mesh_notifications_failed",
            "Attempts to tell the receiver that did not get through",
            failed,
        )?;
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX) as f64;
        let pending = [(Vec::new(), number(self.notified.pending))];
        gauges(
            to,
            "mesh_notifications_pending",
            "Messages that have not got through yet",
            pending,
        )?;
        let silences = [(Vec::new(), number(self.notified.silences))];
        gauges(to, "mesh_silences", "Silences that count or will", silences)
    }

    fn agents(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let all = || {
            self.agents
                .iter()
                .map(|agent| (vec![("agent", agent.record.name.0.as_str())], agent))
        };
        let known = |value: fn(&AgentView) -> Option<f64>| {
            all().filter_map(move |(labels, agent)| Some((labels, value(agent)?)))
        };
        let connected = |agent: &AgentView| agent.presence == Presence::Connected;
        let up = all().map(|(labels, agent)| (labels, f64::from(u8::from(connected(agent)))));
        gauges(to, "mesh_agent_up", "Whether the agent has a session", up)?;
        let seen = known(|agent| agent.record.last_seen_us.map(seconds));
        gauges(
            to,
            "mesh_agent_last_seen_timestamp_seconds",
            "When the agent was last heard of",
            seen,
        )?;
        let expires = known(|agent| {
            let ends = agent.record.certificates.iter().map(|c| c.expires_us);
            ends.max().map(seconds)
        });
        gauges(
            to,
            "mesh_agent_certificate_expiry_timestamp_seconds",
            "When the agent's certificate ends",
            expires,
        )?;
        let durable = all().map(|(labels, agent)| (labels, agent.durable_through as f64));
        gauges(
            to,
            "mesh_store_durable_seq",
            "Everything of the agent up to this number is on disk",
            durable,
        )?;
        // A clock and a spool are known from a session, and the clock from an estimate, alone.
        let estimated = |agent: &&AgentView| connected_with_clock(agent);
        let clocks = |value: fn(&AgentView) -> f64| {
            all()
                .filter(move |(_, agent)| estimated(agent))
                .map(move |(l, agent)| (l, value(agent)))
        };
        let offset = clocks(|agent| agent.clock.offset_us as f64 / 1e6);
        gauges(
            to,
            "mesh_clock_offset_seconds",
            "Mesh time minus the agent's clock",
            offset,
        )?;
        let bound = clocks(|agent| agent.clock.uncertainty_us as f64 / 1e6);
        gauges(
            to,
            "mesh_clock_uncertainty_seconds",
            "Bound of the error of the clock's offset",
            bound,
        )?;
        let in_session = || all().filter(|(_, agent)| agent.presence == Presence::Connected);
        let spool = in_session().map(|(labels, agent)| (labels, agent.spool_bytes as f64));
        gauges(to, "mesh_spool_bytes", "Bytes in the agent's spool", spool)?;
        let dropped = in_session().map(|(labels, agent)| (labels, agent.spool_dropped));
        counters(
            to,
            "mesh_spool_dropped",
            "Observations that the agent's spool had to drop",
            dropped,
        )?;
        let unasked = self.unasked.iter().map(|((agent, why), times)| {
            let labels = vec![("agent", agent.0.as_str()), ("reason", why.word())];
            (labels, *times)
        });
        counters(
            to,
            "mesh_unasked",
            "What the agent said and was not asked for, which does not count",
            unasked,
        )
    }

    fn services(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let names: Vec<(&str, &ServiceView)> = self
            .services
            .iter()
            .map(|service| (service.topology.service.0.as_str(), service))
            .collect();
        let of = |name| vec![("service", name)];
        let rounds = names.iter().map(|(name, s)| (of(*name), s.rounds));
        counters(
            to,
            "mesh_rounds",
            "Rounds closed since the service was first applied",
            rounds,
        )?;
        let last = names.iter().filter(|(_, s)| s.last_round_us > 0);
        let last = last.map(|(name, s)| (of(*name), seconds(s.last_round_us)));
        gauges(
            to,
            "mesh_last_round_timestamp_seconds",
            "Instant of the last round that closed",
            last,
        )?;
        let alarms = names
            .iter()
            .map(|(name, s)| (of(*name), s.standing.len() as f64));
        gauges(
            to,
            "mesh_alarms_standing",
            "Alarms of the watch that stand",
            alarms,
        )?;
        let standing = self.standing.iter().map(|((service, kind, mode), count)| {
            (
                vec![
                    ("service", service.0.as_str()),
                    ("kind", kind),
                    ("mode", mode),
                ],
                *count as f64,
            )
        });
        gauges(
            to,
            "mesh_fault_standing",
            "Components that a standing alarm names",
            standing,
        )?;
        let outcomes = names
            .iter()
            .flat_map(|(name, service)| outcomes(name, service));
        gauges(
            to,
            "mesh_last_verdict",
            "Whether the last verdict on the service was this",
            outcomes,
        )
    }

    fn probes(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let all = || {
            self.tally
                .0
                .iter()
                .map(|(group, counted)| (labels(group), counted))
        };
        let probes = all().map(|(labels, counted)| (labels, counted.probes));
        counters(
            to,
            "mesh_probe",
            "Probes fired since the start, by what became known of them",
            probes,
        )?;
        let passed = all().map(|(labels, counted)| (labels, counted.passed));
        counters(
            to,
            "mesh_probe_success",
            "Probes that passed every layer",
            passed,
        )?;
        self.failures(to)?;
        self.durations(to)
    }

    fn failures(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let mut rows: Vec<(&Group, String, u64)> = Vec::new();
        for (group, counted) in &self.tally.0 {
            for (failure, count) in &counted.failed {
                let word = view::failure_word(*failure);
                match rows.last_mut() {
                    Some((known, last, sum)) if *known == group && *last == word => *sum += count,
                    Some(_) | None => rows.push((group, word, *count)),
                }
            }
        }
        let rows = rows.iter().map(|(group, word, count)| {
            let mut labels = labels(group);
            labels.push(("failure", word));
            (labels, *count)
        });
        counters(to, "mesh_probe_failure", "Probes that failed, by how", rows)
    }

    fn durations(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let name = "mesh_probe_duration_seconds";
        let help = "Time of each phase that a probe passed";
        let mut family = to.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (group, Counted { times, .. }) in &self.tally.0 {
            for (phase, times) in times {
                let mut labels = labels(group);
                labels.push(("phase", word(*phase)));
                let (buckets, count) = buckets(times);
                let sum = times.sum_us as f64 / 1e6;
                family
                    .encode_family(&labels)?
                    .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        Ok(())
    }
}

fn connected_with_clock(agent: &AgentView) -> bool {
    agent.presence == Presence::Connected && agent.clock.uncertainty_us > 0
}

fn labels(group: &Group) -> Labels<'_> {
    vec![
        ("service", group.service.0.as_str()),
        ("agent", group.vantage.0.as_str()),
        ("target", group.target.as_str()),
    ]
}

fn outcomes<'a>(name: &'a str, service: &ServiceView) -> Vec<(Labels<'a>, f64)> {
    let all = [
        ("healthy", VerdictOutcome::Healthy),
        ("fault", VerdictOutcome::Fault),
        ("inconclusive", VerdictOutcome::Inconclusive),
    ];
    let last = service.last_outcome;
    let row = |(word, outcome)| {
        let labels = vec![("service", name), ("outcome", word)];
        (labels, f64::from(u8::from(last == Some(outcome))))
    };
    all.into_iter().map(row).collect()
}

const fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Dns => "dns",
        Phase::Connect => "connect",
        Phase::Tls => "tls",
        Phase::FirstByte => "ttfb",
        Phase::Transfer => "transfer",
    }
}

/// Bounds in seconds with the count of each bucket, the last one unbounded; and the sum of the counts.
fn buckets(times: &Times) -> (Vec<(f64, u64)>, u64) {
    let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6);
    let bounds = bounds.chain([f64::INFINITY]);
    let buckets = bounds.zip(times.buckets.iter().copied()).collect();
    (buckets, times.buckets.iter().sum())
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// A family of gauges, with a row for each set of labels; nothing without rows.
pub(in crate::web) fn gauges<'a>(
    to: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Labels<'a>, f64)>,
) -> fmt::Result {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in rows {
        match labels.is_empty() {
            true => family.encode_gauge(&value)?,
            false => family.encode_family(&labels)?.encode_gauge(&value)?,
        }
    }
    Ok(())
}

/// A family of counters, likewise; the encoder adds `_total` to the name.
fn counters<'a>(
    to: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Labels<'a>, u64)>,
) -> fmt::Result {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in rows {
        match labels.is_empty() {
            true => family.encode_counter(&value, NONE)?,
            false => family
                .encode_family(&labels)?
                .encode_counter(&value, NONE)?,
        }
    }
    Ok(())
}
