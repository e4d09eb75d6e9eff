//! Why SYNs went unanswered, as the host's kernel counted it in the same stretch of time.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::facts::host::{Counter, HostReading, Setting};
use crate::facts::sighting::{Direction, FlowSighting, Packet, WitnessReport};
use crate::facts::topology::VantageName;
use crate::world::symptom::Symptom;

/// Of the stretches in which all SYNs were answered, one in so many has a counter rise by more than what
/// is usual there: a host at the edge of the Internet refuses packets all day.
const UNUSUAL: usize = 10;

/// Where one thing was counted for at least this share of the SYNs that went unanswered, beyond what is
/// usual, it is the reason.
const ACCOUNTS: f64 = 0.5;

/// What became of a SYN that arrived and was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// A listener had no room for it: its accept queue or the queue of half-open connections was full.
    QueueFull,
    /// It came in and was handed to nobody: a packet filter.
    Filtered,
    /// The way back to its source leads by another interface, and the host is strict about that.
    Unrouted,
    /// The connection table had no room.
    TableFull,
    /// TCP got it, and nothing says why it did not answer.
    Silent,
}

impl Reason {
    /// All of them that a counter tells.
    const COUNTED: [Self; 4] = [
        Self::QueueFull,
        Self::Filtered,
        Self::Unrouted,
        Self::TableFull,
    ];

    /// What counts it.
    pub(crate) const fn counters(self) -> &'static [Counter] {
        match self {
            Self::QueueFull => &[Counter::ListenOverflows, Counter::RequestQueueDrops],
            Self::Filtered => &[Counter::Undelivered],
            Self::Unrouted => &[Counter::ReversePathDrops],
            Self::TableFull => &[Counter::ConntrackDrops],
            Self::Silent => &[],
        }
    }

    /// What is seen of a SYN that it is the reason for.
    const fn symptom(self) -> Symptom {
        match self {
            Self::QueueFull => Symptom::QueueFull,
            Self::Filtered => Symptom::Filtered,
            Self::Unrouted => Symptom::Unrouted,
            Self::TableFull => Symptom::TableFull,
            Self::Silent => Symptom::Silent,
        }
    }

    /// How often it was counted; `None` where the host does not show that.
    fn rise(self, reading: &HostReading) -> Option<u64> {
        let rises = self.counters().iter();
        rises.map(|counter| reading.rise(*counter)).sum()
    }
}

/// SYNs of a flow that came in and that nobody answered, in a report's stretch.
pub(crate) fn unanswered(flow: &FlowSighting) -> u32 {
    let count = |packet, direction| -> u32 {
        let seen = flow.seen.iter();
        let seen = seen.filter(|s| (s.packet, s.direction) == (packet, direction));
        seen.map(|s| s.count).sum()
    };
    let answers = [Packet::SynAck, Packet::ResetByServer, Packet::StaleAck];
    let answers: u32 = answers.map(|p| count(p, Direction::Out)).iter().sum();
    count(Packet::Syn, Direction::In).saturating_sub(answers)
}

/// The kernels of a case's hosts.
pub(crate) struct Kernels<'r> {
    /// By how much each reason's counters usually rise in a stretch.
    usual: BTreeMap<(&'r VantageName, Reason), u64>,
}

impl<'r> Kernels<'r> {
    /// Learns from stretches in which every SYN was answered.
    pub(crate) fn new(reports: impl Iterator<Item = &'r WitnessReport>) -> Self {
        let mut calm: BTreeMap<(&VantageName, Reason), Vec<u64>> = BTreeMap::new();
        for report in reports {
            let Some(reading) = &report.host else {
                continue;
            };
            if report.flows.iter().any(|flow| unanswered(flow) > 0) {
                continue;
            }
            for reason in Reason::COUNTED {
                let rises = calm.entry((&report.witness, reason)).or_default();
                rises.extend(reason.rise(reading));
            }
        }
        let usual = calm.into_iter().map(|(key, mut rises)| {
            rises.sort_unstable();
            // The least that leaves one in so many stretches above it.
            let above = rises.len() / UNUSUAL;
            let usual = rises.iter().rev().nth(above);
            (key, usual.copied().unwrap_or(0))
        });
        Self {
            usual: usual.collect(),
        }
    }

    /// Why the SYNs of a stretch went unanswered; `None` where the host does not tell, or tells two
    /// reasons. That nothing was counted says something of IPv4 alone, whose packets are counted whole.
    pub(crate) fn reason(&self, report: &WitnessReport, ipv4: bool) -> Option<Reason> {
        let reading = report.host.as_ref()?;
        let lost: u32 = report.flows.iter().map(unanswered).sum();
        let wanted = (f64::from(lost) * ACCOUNTS).max(1.0);
        let mut told = None;
        for reason in Reason::COUNTED {
            let usual = self
                .usual
                .get(&(&report.witness, reason))
                .copied()
                .unwrap_or(0);
            let beyond = reason.rise(reading).map(|rise| rise.saturating_sub(usual));
            match beyond {
                None if ipv4 => return None,
                Some(beyond) if beyond as f64 >= wanted => {
                    if told.replace(reason).is_some() {
                        return None;
                    }
                }
                None | Some(_) => {}
            }
        }
        told.or_else(|| ipv4.then_some(Reason::Silent))
    }
}

/// So many SYNs that arrived and were not answered, by what the host's kernel says of them.
pub(crate) fn told(reasons: &BTreeMap<Reason, u32>, silent: u32) -> Vec<(Symptom, u32)> {
    let mut left = silent;
    let mut told = Vec::new();
    for (reason, count) in reasons {
        let count = left.min(*count);
        left -= count;
        told.push((reason.symptom(), count));
    }
    told.push((Symptom::SynLost, left));
    told
}

/// What a host's kernel was last said to be set to.
pub(crate) fn settings(
    reports: &[WitnessReport],
    witness: &VantageName,
) -> Option<BTreeMap<Setting, u64>> {
    let own = reports.iter().filter(|r| r.witness == *witness);
    let told = own.filter_map(|r| Some((r.sequence, r.host.as_ref()?)));
    let told = told.filter(|(_, host)| !host.settings.is_empty());
    let last = told.max_by_key(|(sequence, _)| *sequence);
    last.map(|(_, host)| host.settings.clone())
}
