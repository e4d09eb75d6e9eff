//! The end of a localisation: its verdict is stored with its case, and told.

use std::sync::Arc;

use localize::{ServiceName, Verdict};
use tokio::time::timeout_at;

use super::judging::Judged;
use super::{Keep, Localiser, Run, new_id, news};
use crate::clock;
use crate::engine::{Event, Refusal};
use crate::store::{StoreError, Write};

impl Run {
    /// Stores the verdict with its case, and tells those who watch. A disk or an engine that takes longer than
    /// the budget has is not waited for: the verdict is told as it is, and stored when they can.
    pub(super) async fn conclude(&self, mut judged: Judged) -> Result<Arc<Verdict>, Refusal> {
        let verdict = &mut judged.assessment.verdict;
        verdict.id = new_id('v');
        verdict.started_at = clock::rfc3339(self.started_us);
        verdict.elapsed_ms = self.elapsed_ms();
        let mut told = verdict.clone();
        let lookback = Arc::clone(&judged.lookback);
        let conclusion = Conclusion {
            localiser: self.localiser.clone(),
            service: self.wish.service.clone(),
            keep: self.wish.keep,
            asked_us: self.started_us,
            judged,
        };
        let end = self.started + self.wish.budget;
        match timeout_at(end, tokio::spawn(conclusion.carry_out())).await {
            Ok(done) => done.map_err(|_| Refusal::Stopping)?,
            Err(_) => {
                told.standing = lookback.alarms.ids();
                lookback.alarms.deny(&mut told);
                Ok(Arc::new(told))
            }
        }
    }
}

/// What is left to do.
struct Conclusion {
    localiser: Localiser,
    service: ServiceName,
    keep: Keep,
    /// When somebody asked, in microseconds of mesh time.
    asked_us: u64,
    judged: Judged,
}

impl Conclusion {
    /// What stands is asked last: nothing is healthy beside it.
    async fn carry_out(self) -> Result<Arc<Verdict>, Refusal> {
        let Self {
            localiser,
            service,
            keep,
            asked_us,
            mut judged,
        } = self;
        let packed = tokio::task::spawn_blocking(move || {
            judged.ask_alarms(asked_us);
            let case_json = serde_json::to_vec(&judged.case)?;
            Ok((judged, case_json))
        });
        let packed: Result<(Judged, Vec<u8>), serde_json::Error> =
            packed.await.map_err(|_| Refusal::Stopping)?;
        let (judged, case_json) = packed.map_err(StoreError::from)?;
        let over = judged.over.unwrap_or_default();
        let engine = &localiser.engine;
        let standing = engine.ask(|reply| Event::Mended(service.clone(), over, reply));
        let mut verdict = judged.assessment.verdict;
        verdict.standing = standing.await?;
        judged.lookback.alarms.deny(&mut verdict);
        let known = match keep {
            Keep::All => None,
            Keep::News => said_before(&localiser, service, &verdict, asked_us).await?,
        };
        if let Some(known) = known {
            verdict.id = known;
            return Ok(Arc::new(verdict));
        }
        let write = Write::Verdict {
            verdict: verdict.clone(),
            case_json,
        };
        if let Err(error) = localiser.store.commit(vec![write]).await {
            // The verdict is worth telling although nobody can ask for it again.
            tracing::error!(id = verdict.id, %error, "cannot store a verdict");
            localiser.fatal.judge(&error);
        }
        let verdict = Arc::new(verdict);
        engine.tell(Event::Concluded(Arc::clone(&verdict))).await?;
        Ok(verdict)
    }
}

/// The id of the last verdict on the service, where that says the same.
async fn said_before(
    localiser: &Localiser,
    service: ServiceName,
    verdict: &Verdict,
    asked_us: u64,
) -> Result<Option<String>, Refusal> {
    let store = localiser.store.clone();
    let last = tokio::task::spawn_blocking(move || store.verdicts(Some(&service), 1)).await;
    let last = last.map_err(|_| Refusal::Stopping)??.pop();
    let same = last.filter(|last| news::says_the_same(last, verdict, asked_us));
    Ok(same.map(|last| last.id))
}
