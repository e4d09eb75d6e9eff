//! Whether the faults of a verdict are mended: the verdict's case against the rounds since.

use std::collections::BTreeSet;
use std::time::Duration;

use localize::mended::{Comparison, Since, compare, end_of};
use localize::{
    Alternative, Case, Component, Fault, RoundId, ServiceName, Verdict, VerdictOutcome,
};
use thiserror::Error;

use crate::clock;
use crate::engine::{Event, Handle, Refusal};
use crate::store::{Store, StoreError};

/// From when on the rounds since count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The end of the verdict's own rounds.
    Verdict,
    /// So long ago.
    Ago(Duration),
    /// This instant, in microseconds of mesh time.
    At(u64),
}

/// A candidate of an inconclusive verdict is looked at from this probability on, as the watch does that
/// raises such verdicts.
const LEADING: f64 = 0.2;

/// Why there is nothing to compare.
#[derive(Debug, Error)]
pub enum Unanswerable {
    /// No such verdict, or its case is not kept.
    #[error(
        "there is no verdict {0}, or its case is no longer kept; `meshctl verdicts` shows what there is"
    )]
    Unknown(String),
    /// The verdict named nobody.
    #[error(
        "verdict {0} is healthy: there is nothing to mend; `meshctl localize {1}` looks whether something is wrong at present"
    )]
    Healthy(String, String),
    /// The verdict named nobody for lack of evidence.
    #[error(
        "verdict {0} is inconclusive and has no candidate that leads; `meshctl localize {1}` looks again, `meshctl verdicts {1}` shows those that name one"
    )]
    Inconclusive(String, String),
    /// The fault was there at that time.
    #[error(
        "the verdict's own rounds went on until {end}, and the fault was in them; give --since an instant after that, or leave it out"
    )]
    TooEarly {
        /// The end of the verdict's rounds, RFC 3339.
        end: String,
    },
    /// Nothing has been seen of that time.
    #[error(
        "{since} is in the future: the coordinator's clock says {now}; give --since an instant that has passed"
    )]
    Future {
        /// What was asked for, RFC 3339.
        since: String,
        /// The coordinator's time, RFC 3339.
        now: String,
    },
    /// The case does not show the fault.
    #[error(
        "the case of verdict {0} does not show the fault that it names, so it was judged by another version; `meshctl localize {1}` judges the present"
    )]
    NotShown(String, String),
    /// The engine or the store refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl std::convert::From<StoreError> for Unanswerable {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

/// A verdict's faults before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The service.
    pub service: String,
    /// From when on rounds counted, in microseconds of mesh time.
    pub since_us: u64,
    /// The interval of the schedule; `None` when no rounds go by themselves.
    pub every: Option<Duration>,
    /// Each fault, or candidate that leads, in the verdict's order: its component, its mode, and what has become of it.
    pub faults: Vec<(Component, String, Comparison)>,
}

/// Compares.
///
/// # Errors
/// When the verdict is not known or names no fault, or when `from` makes no sense for it.
pub async fn mended(
    engine: &Handle,
    store: &Store,
    id: String,
    from: From,
) -> Result<Answer, Unanswerable> {
    let (reading, wanted) = (store.clone(), id.clone());
    let found = tokio::task::spawn_blocking(move || find(&reading, wanted)).await;
    let (verdict, case) = found.map_err(|_| Refusal::Stopping)??;
    let since_us = since(from, end_of(&case), clock::now_us())?;
    let service = ServiceName(verdict.service.clone());
    let outlook = engine.ask(|reply| Event::Outlook(service, reply));
    let every = outlook.await?.every;
    let store = store.clone();
    let answer =
        tokio::task::spawn_blocking(move || answer(&store, &verdict, &case, since_us, every));
    answer.await.map_err(|_| Refusal::Stopping)?
}

/// What a verdict is about, with its mode: its faults, or the candidates that lead where it names none.
pub(crate) fn named(verdict: &Verdict) -> Vec<(Component, String)> {
    let fault = |f: &Fault| (f.component.clone(), f.mode.clone());
    let candidate = |a: &Alternative| (a.component.clone(), a.mode.clone());
    match verdict.outcome {
        VerdictOutcome::Healthy => Vec::new(),
        VerdictOutcome::Fault => verdict.faults.iter().map(fault).collect(),
        VerdictOutcome::Inconclusive => {
            let leading = verdict.alternatives.iter();
            let leading = leading.filter(|a| a.confidence >= LEADING);
            leading.map(candidate).collect()
        }
    }
}

/// The verdict with its case, if it names somebody.
fn find(store: &Store, id: String) -> Result<(Verdict, Case), Unanswerable> {
    let Some(verdict) = store.verdict(&id)? else {
        return Err(Unanswerable::Unknown(id));
    };
    match verdict.outcome {
        VerdictOutcome::Healthy => return Err(Unanswerable::Healthy(id, verdict.service)),
        VerdictOutcome::Inconclusive if named(&verdict).is_empty() => {
            return Err(Unanswerable::Inconclusive(id, verdict.service));
        }
        VerdictOutcome::Inconclusive | VerdictOutcome::Fault => {}
    }
    let json = store.case(&id)?;
    let case = json.and_then(|json| serde_json::from_slice(&json).ok());
    match case {
        Some(case) => Ok((verdict, case)),
        None => Err(Unanswerable::Unknown(id)),
    }
}

/// From when on rounds count, in microseconds of mesh time; `end_us` is the end of the verdict's own.
fn since(from: From, end_us: u64, now_us: u64) -> Result<u64, Unanswerable> {
    let since_us = match from {
        From::Verdict => return Ok(end_us),
        From::Ago(ago) => {
            let ago_us = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
            now_us.saturating_sub(ago_us)
        }
        From::At(at_us) => at_us,
    };
    if since_us > now_us {
        return Err(Unanswerable::Future {
            since: clock::rfc3339(since_us),
            now: clock::rfc3339(now_us),
        });
    }
    if since_us < end_us {
        return Err(Unanswerable::TooEarly {
            end: clock::rfc3339(end_us),
        });
    }
    Ok(since_us)
}

fn answer(
    store: &Store,
    verdict: &Verdict,
    case: &Case,
    since_us: u64,
    every: Option<Duration>,
) -> Result<Answer, Unanswerable> {
    let every_us = every.and_then(|every| u64::try_from(every.as_micros()).ok());
    let mut since = read(store, &verdict.service, end_of(case))?;
    (since.at_us, since.every_us) = (since_us, every_us);
    let mut faults = Vec::new();
    for (component, mode) in named(verdict) {
        let Some(comparison) = compare(case, &component, &mode, &since) else {
            return Err(Unanswerable::NotShown(
                verdict.id.clone(),
                verdict.service.clone(),
            ));
        };
        faults.push((component, mode, comparison));
    }
    Ok(Answer {
        service: verdict.service.clone(),
        since_us,
        every,
        faults,
    })
}

/// What closed rounds have seen since the verdict's own. Observations that passed are kept for an hour;
/// of what is older only the failures are left, which speaks against "mended" and never for it.
fn read(store: &Store, service: &str, end_us: u64) -> Result<Since, StoreError> {
    let service = ServiceName(service.to_owned());
    let now_us = clock::now_us();
    let rounds = store.rounds(&service, end_us, now_us)?;
    let closed: BTreeSet<RoundId> = rounds.iter().map(|round| round.round).collect();
    let mut observations = store.observations(&service, end_us, now_us)?;
    observations.retain(|seen| closed.contains(&seen.round));
    Ok(Since {
        at_us: end_us,
        observations,
        sightings: store.reports(end_us, now_us)?,
        every_us: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_count_from_the_end_of_the_verdict_at_the_earliest() {
        let (end, now) = (1_700_000_000_000_000, 1_700_000_600_000_000);
        let ago = |seconds| From::Ago(Duration::from_secs(seconds));
        let rows = [
            (From::Verdict, Ok(end)),
            (ago(60), Ok(now - 60_000_000)),
            (From::At(end + 5), Ok(end + 5)),
            (ago(601), Err("went on until 2023-11-14T22:13:20.000Z")),
            (From::At(end - 1), Err("or leave it out")),
            (From::At(now + 1_000_000), Err("in the future")),
        ];
        for (from, expected) in rows {
            match (since(from, end, now), expected) {
                (Ok(since_us), Ok(expected)) => assert_eq!(since_us, expected, "{from:?}"),
                (Err(error), Err(said)) => {
                    assert!(error.to_string().contains(said), "{from:?}: {error}");
                }
                (since, expected) => panic!("{from:?}: {since:?}, not {expected:?}"),
            }
        }
    }
}
