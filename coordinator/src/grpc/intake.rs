//! What is taken in of an agent: so many bytes, numbers that time can have led to, answers to what it was
//! asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use localize::{Observation, VantageName, WitnessReport};
use prost::Message as _;
use proto::v1;

use crate::engine::{Handle, Unasked, weight};
use crate::store::Store;

/// Bytes of facts of one agent that are between the wire and the engine: its largest message, since a
/// smaller bound would never let that through.
pub(super) const IN_HAND: usize = 4 << 20;
/// Longest observation, in bytes on the wire: with the most headers of the longest kind it is a fifth.
const OBSERVATION: usize = 64 << 10;
/// Largest report kept, in bytes of memory. One of a thousand connections takes half of it; of a larger
/// one the flows beyond are counted as dropped, so that nobody is blamed for what is not in it.
const REPORT: usize = 512 << 10;
/// Bytes of reports kept of one agent in an hour, and at once after an outage: a report a second of a host
/// of a hundred connections a second takes half of it.
const ALLOWANCE: u64 = 64 << 20;
const HOUR_US: u64 = 3_600_000_000;
/// How far beyond the time, in microseconds, a sequence may be. Agents count from the microseconds of
/// their clock at installation; that of a clock which is years ahead still has room, and nobody can use up
/// the numbers of an agent, since time makes more of them than any agent has records.
const AHEAD_US: u64 = 10 * 365 * 86_400 * 1_000_000;

/// What becomes of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    /// It is stored.
    Kept,
    /// It is known to have come, and is not stored: nobody has asked for it.
    Unasked(Unasked),
    /// It is as if it had not come: its number would silence the agent.
    Refused,
}

/// Whether a number is one that an agent can have come to by now.
pub(super) fn is_reachable(sequence: u64, now_us: u64) -> bool {
    sequence <= now_us.saturating_add(AHEAD_US)
}

/// Bytes of a fact on the wire; `None` when it has more than any honest one.
pub(super) fn observation_bytes(wire: &v1::Observation) -> Option<usize> {
    Some(wire.encoded_len()).filter(|bytes| *bytes <= OBSERVATION)
}

/// What becomes of an observation of a service that there is.
pub(super) fn of_observation(
    engine: &Handle,
    store: &Store,
    observation: &Observation,
    now_us: u64,
) -> Intake {
    if !is_reachable(observation.id.sequence, now_us) {
        return Intake::Refused;
    }
    match engine.answers(observation, || store.knows_arm(observation), now_us) {
        Ok(()) => Intake::Kept,
        Err(why) => Intake::Unasked(why),
    }
}

/// Packets kept of a report: a fifth of what may be kept of it. Beyond that they would crowd out what verdicts
/// are made from.
const PACKETS: usize = 512;

/// Leaves as many flows in a report as may be kept of it, and of the packets the first: how a connection
/// begins tells most.
pub(super) fn lighten(report: &mut WitnessReport) {
    report.packets.truncate(PACKETS);
    let mut bytes = weight(report);
    while bytes > REPORT {
        let Some(flow) = report.flows.pop() else {
            return;
        };
        let alone = WitnessReport {
            flows: vec![flow],
            witness: VantageName(String::new()),
            host: None,
            packets: Vec::new(),
            ..*report
        };
        bytes = bytes.saturating_sub(weight(&alone) - size_of::<WitnessReport>());
        report.dropped = report.dropped.saturating_add(1);
    }
}

/// What agents may still have kept of their reports.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowances(Arc<Mutex<BTreeMap<VantageName, Allowance>>>);

impl Allowances {
    /// Takes so many bytes of an agent's allowance; false when there are not so many left.
    pub(super) fn take(&self, agent: &VantageName, bytes: usize, now_us: u64) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let allowance = all.entry(agent.clone()).or_insert(Allowance {
            left: ALLOWANCE,
            at_us: now_us,
        });
        allowance.take(u64::try_from(bytes).unwrap_or(u64::MAX), now_us)
    }
}

#[derive(Clone, Copy, Debug)]
struct Allowance {
    left: u64,
    at_us: u64,
}

impl Allowance {
    fn take(&mut self, bytes: u64, now_us: u64) -> bool {
        let since_us = now_us.saturating_sub(self.at_us).min(HOUR_US);
        let grown = u128::from(ALLOWANCE) * u128::from(since_us) / u128::from(HOUR_US);
        let grown = u64::try_from(grown).unwrap_or(ALLOWANCE);
        self.left = self.left.saturating_add(grown).min(ALLOWANCE);
        self.at_us = now_us;
        let has = bytes <= self.left;
        self.left -= if has { bytes } else { 0 };
        has
    }
}

#[cfg(test)]
mod tests {
    use localize::{FlowSighting, Stamp};

    use super::*;

    #[test]
    fn no_number_silences_its_owner() {
        let now_us = 1_700_000_000_000_000;
        for (sequence, reachable) in [
            (0, true),
            (now_us, true),
            // A clock that is a year ahead.
            (now_us + AHEAD_US / 10, true),
            (now_us + AHEAD_US, true),
            (now_us + AHEAD_US + 1, false),
            (u64::MAX - 1, false),
        ] {
            assert_eq!(is_reachable(sequence, now_us), reachable, "{sequence}");
        }
    }

    #[test]
    fn a_large_report_is_kept_in_part_and_says_so() {
        let at = Stamp {
            at_us: 1,
            uncertainty_us: 1,
        };
        let flow = FlowSighting {
            client: "192.0.2.1:40000".parse().unwrap(),
            server: "192.0.2.2:443".parse().unwrap(),
            seen: Vec::new(),
        };
        for (flows, whole) in [(1000, true), (20_000, false)] {
            let mut report = WitnessReport {
                host: None,
                packets: Vec::new(),
                witness: VantageName("w".to_owned()),
                sequence: 1,
                from: at,
                to: at,
                dropped: 0,
                flows: vec![flow.clone(); flows],
            };
            lighten(&mut report);
            assert!(weight(&report) <= REPORT);
            let told = report.flows.len() as u64 + report.dropped;
            assert_eq!((told, report.dropped == 0), (flows as u64, whole));
        }
    }

    #[test]
    fn an_allowance_grows_with_time_and_no_further() {
        let (now_us, agent) = (HOUR_US, VantageName("w".to_owned()));
        let allowances = Allowances::default();
        let all = usize::try_from(ALLOWANCE).unwrap();
        assert!(allowances.take(&agent, all, now_us));
        assert!(!allowances.take(&agent, 1, now_us));
        assert!(allowances.take(&VantageName("v".to_owned()), all, now_us));
        assert!(!allowances.take(&agent, all, now_us + HOUR_US / 2));
        assert!(allowances.take(&agent, all / 2, now_us + HOUR_US / 2));
        // A clock that was set back gives nothing.
        assert!(!allowances.take(&agent, 1, 0));
        assert!(allowances.take(&agent, all, 9 * HOUR_US));
        assert!(!allowances.take(&agent, 1, 9 * HOUR_US));
    }
}
