//! One judgement of a localisation: what is gathered for it, and what comes of it.

use std::sync::Arc;

use localize::{Assessment, Case, Choice, VerdictOutcome};

use super::past::{Lookback, Span, case};
use super::{Localiser, PATH_PATIENCE, Run};
use crate::engine::{Event, Evidence, Refusal};
use crate::sample::thinned;

/// A case with what came of it.
pub(super) struct Judged {
    pub(super) case: Case,
    pub(super) assessment: Assessment,
    /// The case speaks of the present.
    fresh: bool,
    /// What else is to be probed although nothing more is to be learnt from all rounds together: those
    /// of the run do not say the same by themselves.
    lacks: Option<Choice>,
    /// The alarms that are proved to be over, where all is well otherwise and that was asked.
    pub(super) over: Option<Vec<String>>,
    pub(super) lookback: Arc<Lookback>,
}

impl Run {
    /// What is new, looked back from as far as the alarms that stand began.
    pub(super) async fn gather(
        &self,
        lookback: &mut Option<Arc<Lookback>>,
        have: Option<u64>,
    ) -> Result<Option<Gathered>, Refusal> {
        let ask = |from_us, have| {
            let service = self.wish.service.clone();
            self.localiser.engine.ask(move |reply| Event::Gather {
                service,
                from_us,
                have,
                reply,
            })
        };
        let from_us = lookback.as_ref().map_or(self.from_us, |l| l.from_us);
        let Some(mut evidence) = ask(from_us, have).await? else {
            return Ok(None);
        };
        let known = lookback.take();
        let known = known.filter(|l| l.alarms.are(&evidence.standing));
        let known = match known {
            Some(known) => known,
            None => {
                let Localiser { store, .. } = &self.localiser;
                let (standing, span) = (&evidence.standing, self.span(evidence.asked_us));
                let read = Lookback::read(store, &self.wish.service, span, standing).await?;
                if let Some(farther) = ask(read.from_us, None).await? {
                    evidence = farther;
                }
                Arc::new(read)
            }
        };
        *lookback = Some(Arc::clone(&known));
        Ok(Some(Gathered {
            evidence,
            lookback: known,
        }))
    }

    fn span(&self, asked_us: u64) -> Span {
        Span {
            from_us: self.from_us,
            asked_us,
            now_us: self.started_us,
        }
    }

    /// Judges about so many observations on a thread of its own: the heart may take a second on a large mesh.
    pub(super) async fn judge(&self, gathered: Gathered, most: usize) -> Result<Judged, Refusal> {
        let Gathered { evidence, lookback } = gathered;
        let fresh = self.is_fresh(&evidence);
        let asked_us = self.started_us;
        let place = Arc::clone(&self.place);
        let judged = tokio::task::spawn_blocking(move || {
            let _place = place;
            let case = thinned(case(evidence, &lookback.past), most);
            let mut judged = Judged {
                assessment: localize::localize(&case),
                case,
                fresh,
                lacks: None,
                over: None,
                lookback,
            };
            if judged.assessment.settled && fresh {
                let assessment = &judged.assessment;
                judged.lacks = localize::asked::lacks(&judged.case, assessment, asked_us);
                judged.ask_alarms(asked_us);
            }
            judged
        });
        judged.await.map_err(|_| Refusal::Stopping)
    }

    /// Whether the evidence speaks of the present, and of the whole path: old rounds alone may tell of
    /// a fault that has been mended since, and the first round of a new service asks only for its
    /// addresses.
    fn is_fresh(&self, evidence: &Evidence) -> bool {
        let path_settled = self.started.elapsed() >= PATH_PATIENCE;
        evidence.observations.iter().any(|seen| {
            self.first.is_none_or(|first| seen.round >= first)
                && (path_settled || seen.scheduled_us > evidence.path_since_us)
        })
    }
}

impl Judged {
    /// More rounds would not change it.
    pub(super) fn settled(&self) -> bool {
        let alarms = self.lookback.alarms.count();
        let stands = |over: &Vec<String>| over.len() < alarms;
        let more = self.lacks.is_some() || self.over.as_ref().is_some_and(stands);
        self.fresh && self.assessment.settled && !more
    }

    /// What to probe next.
    pub(super) fn choice(&self) -> &Choice {
        self.lacks.as_ref().unwrap_or(&self.assessment.choice)
    }

    /// Finds out, where all is well otherwise, which of the alarms are over.
    pub(super) fn ask_alarms(&mut self, asked_us: u64) {
        let healthy = self.assessment.verdict.outcome == VerdictOutcome::Healthy;
        if healthy && self.over.is_none() {
            let verdict = &self.assessment.verdict;
            let over = self.lookback.alarms.over(&self.case, verdict, asked_us);
            self.over = Some(over);
        }
    }
}

/// Evidence with what lies before it.
pub(super) struct Gathered {
    pub(super) evidence: Evidence,
    lookback: Arc<Lookback>,
}
