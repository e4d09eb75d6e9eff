//! Whose packets witnesses are asked for: those of connections whose probes failed, and those of the balancer that
//! came to nothing, health checks among them; no more than memory and disk bear.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use localize::topology::BALANCER_HOST;
use localize::{Observation, Outcome, VantageName, WitnessReport};
use proto::v1::WantedPackets;
use proto::v1::coordinator_message::Message;

use super::state::State;

/// Connections that may be asked for at once: those of a round or two in which much fails.
const AT_ONCE: u64 = 64;
/// Connections a second in the long run. While an outage lasts that is 3,600 in a quarter of an hour, of some eight
/// packets of 130 bytes: 4 MB of a witness's reports in memory, and 16 MB on disk in the hour that reports are kept.
const A_SECOND: u64 = 4;
const SECOND_US: u64 = 1_000_000;
/// Connections of the balancer's own in one report: what shows once shows in each of the next.
const OF_A_REPORT: usize = 4;

/// How many may still be asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// In millionths of a connection, so that every microsecond counts.
    left: u64,
    at_us: u64,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            left: AT_ONCE * SECOND_US,
            at_us: 0,
        }
    }
}

impl Wanted {
    /// The clients' ends of those connections, as many as may be asked for, and each once.
    fn among(&mut self, now_us: u64, ends: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        let since_us = now_us.saturating_sub(self.at_us);
        self.at_us = self.at_us.max(now_us);
        let grown = self.left.saturating_add(since_us.saturating_mul(A_SECOND));
        self.left = grown.min(AT_ONCE * SECOND_US);
        let room = usize::try_from(self.left / SECOND_US).unwrap_or(0);
        let mut known = BTreeSet::new();
        let ends: Vec<SocketAddr> = ends.filter(|end| known.insert(*end)).take(room).collect();
        let taken = u64::try_from(ends.len()).unwrap_or(u64::MAX);
        self.left = self.left.saturating_sub(taken.saturating_mul(SECOND_US));
        ends
    }
}

/// Where probes that failed had left from.
fn failed(observations: &[Observation]) -> impl Iterator<Item = SocketAddr> {
    let failed = observations.iter();
    let failed = failed.filter(|seen| matches!(seen.outcome, Outcome::Failed { .. }));
    failed.filter_map(|seen| seen.facts.tcp.as_ref().map(|tcp| tcp.local))
}

/// Where the balancer's connections had left from whose handshake did not end; a few of each report.
fn unfinished<'a>(
    reports: &'a [WitnessReport],
    balancer: &'a BTreeSet<IpAddr>,
) -> impl Iterator<Item = SocketAddr> + 'a {
    reports.iter().flat_map(|report| {
        let flows = report.flows.iter();
        let own = flows.filter(|flow| balancer.contains(&flow.client.ip()));
        let unfinished = own.filter(|flow| flow.is_unfinished());
        unfinished.map(|flow| flow.client).take(OF_A_REPORT)
    })
}

impl State {
    /// Asks every witness for the packets of probes that failed, and of connections of the balancer that came to
    /// nothing: whom they met on the way is not known, and who has none of them says nothing.
    pub(super) fn want_packets(
        &mut self,
        now_us: u64,
        observations: &[Observation],
        reports: &[WitnessReport],
    ) {
        let agents = self.agents.values();
        let balancers = agents.filter(|agent| agent.host.as_deref() == Some(BALANCER_HOST));
        let balancer = balancers.flat_map(|agent| agent.addresses.iter().copied());
        let balancer: BTreeSet<IpAddr> = balancer.collect();
        let ends = failed(observations).chain(unfinished(reports, &balancer));
        let ends = self.wanted.among(now_us, ends);
        if ends.is_empty() {
            return;
        }
        let wanted = WantedPackets {
            clients: ends.iter().map(ToString::to_string).collect(),
        };
        let witnesses = self.sessions.iter().filter(|(_, s)| s.host.witness);
        let names: Vec<VantageName> = witnesses.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.send(now_us, &name, Message::WantedPackets(wanted.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use localize::{Direction, Failure, FlowSighting, Layer, Micros, Packet, Seen, Stamp};

    use super::super::super::localisation::seen;
    use super::*;

    /// So many probes, each from a port of its own, that all failed or all passed.
    fn probes(count: u16, failed: bool) -> Vec<Observation> {
        let case = seen::case(0, 1);
        let probe = |n| {
            let mut probe = case.observations[0].clone();
            probe.facts.tcp = Some(seen::left_from(([192, 0, 2, 1], 40_000 + n).into()));
            probe.outcome = match failed {
                false => Outcome::Passed,
                true => Outcome::Failed {
                    layer: Layer::Tcp,
                    failure: Failure::ConnectTimeout,
                    after: Micros(5_000_000),
                },
            };
            probe
        };
        (0..count).map(probe).collect()
    }

    #[test]
    fn failures_alone_are_asked_for_and_no_more_than_may_be() {
        let mut wanted = Wanted::default();
        let now_us = 1_700_000_000 * SECOND_US;
        let mut asked = |at_us, count, failed: bool| {
            let probes = probes(count, failed);
            wanted.among(at_us, super::failed(&probes)).len()
        };
        assert_eq!(asked(now_us, 100, false), 0);
        assert_eq!(asked(now_us, 60, true), 60);
        assert_eq!(asked(now_us, 60, true), 4);
        assert_eq!(asked(now_us, 60, true), 0);
        // A quarter of a second for each.
        assert_eq!(asked(now_us + SECOND_US / 4, 60, true), 1);
        assert_eq!(asked(now_us + SECOND_US, 60, true), 3);
        // A clock that was set back gives nothing.
        assert_eq!(asked(now_us, 60, true), 0);
        assert_eq!(asked(now_us + 3600 * SECOND_US, 100, true), 64);
    }

    #[test]
    fn a_probe_that_never_had_a_connection_has_no_packets() {
        let mut probes = probes(1, true);
        probes[0].facts.tcp = None;
        assert_eq!(super::failed(&probes).count(), 0);
    }

    #[test]
    fn of_the_balancers_connections_those_that_came_to_nothing_are_asked_for() {
        let at = Stamp::default();
        let seen = |packet| Seen {
            packet,
            direction: Direction::In,
            interface: "eth0".to_owned(),
            count: 1,
            first: at,
            options: None,
        };
        let flow = |ip: [u8; 4], port, packets: &[Packet]| FlowSighting {
            client: (ip, port).into(),
            server: ([10, 0, 0, 51], 80).into(),
            seen: packets.iter().copied().map(seen).collect(),
        };
        let (balancer, other) = ([10, 0, 9, 10], [192, 0, 2, 1]);
        let whole = [Packet::Syn, Packet::SynAck, Packet::Ack];
        let report = WitnessReport {
            witness: VantageName("web1".to_owned()),
            sequence: 1,
            from: at,
            to: at,
            dropped: 0,
            flows: vec![
                flow(balancer, 1, &whole),
                flow(balancer, 2, &whole[..2]),
                flow(other, 3, &whole[..2]),
                flow(balancer, 4, &whole[1..]),
                flow(balancer, 5, &whole[..1]),
            ],
            host: None,
            packets: Vec::new(),
        };
        let addresses = BTreeSet::from([balancer.into()]);
        let reports = [report.clone(), report];
        let ends = Wanted::default().among(0, unfinished(&reports, &addresses));
        assert_eq!(ends, [(balancer, 2).into(), (balancer, 5).into()]);
    }
}
