//! Judges alarms: the rounds since the change that an alarm points to, with what was usual before.

use std::sync::Arc;

use localize::{ServiceName, Verdict};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::clock;
use crate::engine::{Alarmed, Event, Handle, Judged, Refusal};
use crate::localisation::{LONGEST_SINCE, Past, Span, case, new_id};
use crate::store::Store;

/// At least so much is judged, in microseconds: a hard fault alarms within a few rounds, and the calm
/// before it tells who is innocent.
const SHORTEST_US: u64 = 300_000_000;

/// Judges alarms one after the other until the engine ends.
pub async fn run(engine: Handle, store: Store, mut alarms: mpsc::Receiver<Alarmed>) {
    while let Some(alarmed) = alarms.recv().await {
        let judged = match judge(&engine, &store, &alarmed).await {
            Ok(judged) => judged,
            Err(refusal) => {
                tracing::warn!(service = %alarmed.service, %refusal, "an alarm was not judged");
                None
            }
        };
        if engine.tell(Event::Judged(alarmed, judged)).await.is_err() {
            return;
        }
    }
}

async fn judge(
    engine: &Handle,
    store: &Store,
    alarmed: &Alarmed,
) -> Result<Option<Box<Judged>>, Refusal> {
    let (started, now_us) = (Instant::now(), clock::now_us());
    let from_us = beginning(alarmed.alarm.since_us, now_us);
    let service: ServiceName = alarmed.service.clone();
    let gather = engine.ask(|reply| Event::Gather {
        service: service.clone(),
        from_us,
        have: None,
        reply,
    });
    let Some(evidence) = gather.await? else {
        return Ok(None);
    };
    let span = Span {
        from_us,
        asked_us: evidence.asked_us,
        now_us,
    };
    let past = Arc::new(Past::read(store, &service, span).await?);
    let judged = tokio::task::spawn_blocking(move || {
        let case = case(evidence, &past);
        let verdict: Verdict = localize::localize(&case).verdict;
        Some((verdict, serde_json::to_vec(&case).ok()?))
    });
    let judged = judged.await.map_err(|_| Refusal::Stopping)?;
    Ok(judged.map(|(mut verdict, case_json)| {
        verdict.id = new_id('v');
        verdict.started_at = clock::rfc3339(now_us);
        verdict.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Box::new(Judged { verdict, case_json })
    }))
}

/// From when on rounds count: a quarter earlier than the change is dated, which is a mean, and no
/// earlier than observations that passed are kept.
fn beginning(since_us: u64, now_us: u64) -> u64 {
    let stretch = now_us.saturating_sub(since_us);
    let longest = u64::try_from(LONGEST_SINCE.as_micros()).unwrap_or(u64::MAX);
    now_us.saturating_sub((stretch + stretch / 4).clamp(SHORTEST_US, longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_judged_begins_before_the_change() {
        let (now, minute) = (1_700_000_000_000_000, 60_000_000);
        for (ago, expected) in [(0, 5), (1, 5), (20, 25), (50, 60), (600, 60)] {
            let from = beginning(now - ago * minute, now);
            assert_eq!(now - from, expected * minute, "{ago} minutes ago");
        }
    }
}
