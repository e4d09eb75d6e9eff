//! When something was wrong with a service, by its verdicts and by the alarms of its watch: what is usual
//! is not learnt from that.

use std::ops::Range;

use localize::{ServiceName, Verdict, VerdictOutcome};

use super::error::StoreError;
use super::key::{self, Kind};
use super::records::RaisedRecord;
use super::shared::Shared;

/// Most verdicts looked at, those of other services included: reading one takes some ten microseconds.
const MOST_VERDICTS: usize = 500;
/// An alarm is dated by a mean over all its possible beginnings, and a verdict that does not say when its
/// fault began comes some rounds later; in microseconds.
const EARLIER_US: u64 = 60_000_000;
/// Between two verdicts nearer to each other than this a fault of the first lasts until the second.
const LASTS_US: u64 = 3_600_000_000;

/// A verdict in time, in microseconds of mesh time.
struct Told {
    began_us: u64,
    ended_us: u64,
    outcome: VerdictOutcome,
    raised: Option<RaisedRecord>,
}

/// The stretches in which something was wrong with a service, in microseconds of mesh time, in no order;
/// they may overlap. Nothing is known of what was over before `from_us`.
pub(super) fn stretches(
    shared: &Shared,
    service: &ServiceName,
    from_us: u64,
) -> Result<Vec<Range<u64>>, StoreError> {
    let mut told = Vec::new();
    let range = Kind::Verdict.start()..Kind::Verdict.end();
    for entry in shared.disk.db.range(range).rev().take(MOST_VERDICTS) {
        let (key, head) = entry.map_err(StoreError::database("list verdicts"))?;
        let verdict: Option<Verdict> = shared.listed(&key, &head)?;
        let Some(verdict) = verdict.filter(|verdict| verdict.service == service.0) else {
            continue;
        };
        let raised = shared.get(&key::raised(&verdict.id))?;
        told.extend(Told::of(&verdict, raised));
    }
    told.reverse();
    let mut stretches = of(&told);
    stretches.retain(|stretch| stretch.end > from_us);
    Ok(stretches)
}

impl Told {
    /// `None` for a verdict that does not say when it was made.
    fn of(verdict: &Verdict, raised: Option<RaisedRecord>) -> Option<Self> {
        let started_us = instant(&verdict.started_at)?;
        let faults = verdict.faults.iter();
        let began_us = faults.filter_map(|fault| instant(&fault.began_at)).min();
        Some(Self {
            began_us: began_us.unwrap_or(started_us).min(started_us),
            ended_us: started_us.saturating_add(verdict.elapsed_ms.saturating_mul(1000)),
            outcome: verdict.outcome,
            raised,
        })
    }
}

/// The stretches of trouble that verdicts tell of, oldest first.
fn of(told: &[Told]) -> Vec<Range<u64>> {
    let mut stretches = Vec::new();
    // Until when the last fault is known to have lasted.
    let mut lasting: Option<u64> = None;
    for verdict in told {
        if let Some(raised) = verdict.raised {
            let end_us = raised.over.map_or(u64::MAX, |(at_us, _)| at_us);
            stretches.push(raised.began_us.saturating_sub(EARLIER_US)..end_us);
        }
        if let Some(since_us) = lasting
            && verdict.began_us.saturating_sub(since_us) <= LASTS_US
        {
            stretches.push(since_us..verdict.began_us);
        }
        lasting = match verdict.outcome {
            VerdictOutcome::Fault => {
                stretches.push(verdict.began_us.saturating_sub(EARLIER_US)..verdict.ended_us);
                Some(verdict.ended_us)
            }
            // It does not say that what was wrong is over.
            VerdictOutcome::Inconclusive => lasting,
            VerdictOutcome::Healthy => None,
        };
    }
    stretches
}

fn instant(rfc3339: &str) -> Option<u64> {
    let at: jiff::Timestamp = rfc3339.parse().ok()?;
    u64::try_from(at.as_microsecond()).ok()
}

#[cfg(test)]
mod tests {
    use localize::watch::Ending;

    use super::*;

    const MINUTE: u64 = 60_000_000;

    fn told(began: u64, ended: u64, outcome: VerdictOutcome) -> Told {
        Told {
            began_us: began * MINUTE,
            ended_us: ended * MINUTE,
            outcome,
            raised: None,
        }
    }

    fn minutes(told: &[Told]) -> Vec<(u64, u64)> {
        let all = of(told).into_iter();
        all.map(|s| (s.start / MINUTE, s.end / MINUTE)).collect()
    }

    #[test]
    fn a_fault_lasts_until_a_verdict_says_otherwise() {
        use VerdictOutcome::{Fault, Healthy, Inconclusive};
        let fault = |began, ended| told(began, ended, Fault);
        let healthy = |at| told(at, at, Healthy);
        type Row<'a> = (&'a [Told], &'a [(u64, u64)]);
        let rows: [Row<'_>; 5] = [
            (&[healthy(10), healthy(20)], &[]),
            (&[fault(10, 12)], &[(9, 12)]),
            (
                &[fault(10, 12), healthy(30), healthy(40)],
                &[(9, 12), (12, 30)],
            ),
            // Whoever does not look for an hour does not know.
            (&[fault(10, 12), healthy(80)], &[(9, 12)]),
            (
                &[fault(10, 12), told(20, 21, Inconclusive), fault(40, 41)],
                &[(9, 12), (12, 20), (12, 40), (39, 41)],
            ),
        ];
        for (verdicts, expected) in rows {
            assert_eq!(minutes(verdicts), expected);
        }
    }

    #[test]
    fn an_alarm_lasts_until_it_is_over() {
        let raised = |over| Told {
            raised: Some(RaisedRecord {
                began_us: 10 * MINUTE,
                over,
                false_alarms_a_day: 1e-4,
            }),
            ..told(12, 12, VerdictOutcome::Inconclusive)
        };
        let over = Some((50 * MINUTE, Ending::Quiet));
        assert_eq!(minutes(&[raised(over)]), [(9, 50)]);
        assert_eq!(minutes(&[raised(None)]), [(9, u64::MAX / MINUTE)]);
    }

    #[test]
    fn verdicts_say_when_they_were_made() {
        assert_eq!(
            instant("1970-01-01T00:02:00.500Z"),
            Some(2 * MINUTE + 500_000)
        );
        assert_eq!((instant(""), instant("1969-12-31T23:59:59Z")), (None, None));
    }
}
