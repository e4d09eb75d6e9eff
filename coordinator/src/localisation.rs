//! A localisation: rounds on demand until the evidence decides or the budget ends.
//!
//! Every fourth round is of all arms, one a second: they keep watch over the whole path. Those between
//! are of the arms that the heart chooses, as it finds any worth probing, and at times of bursts.

mod concluding;
mod judging;
mod news;
mod pace;
mod past;
#[cfg(test)]
pub(crate) mod seen;
mod standing;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use localize::{Observation, Outcome, RoundId, ServiceName, Verdict};
use proto::v1;
use proto::v1::localize_event::Event as Said;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};
use tonic::Status;

use self::judging::Judged;
use self::pace::Pace;
use self::wanted::{Turn, Wanted};
use crate::clock;
use crate::engine::{Event, Fatal, Fired, Handle, Refusal};
use crate::store::Store;

pub(crate) use self::past::{Past, Span, case};

/// Localisations at once: each judges twice a second on a thread of its own.
const RUNS: usize = 8;
/// A round is fired this often at most: nearer ones would share one burst of trouble.
const FIRE_EVERY: Duration = Duration::from_millis(250);
/// One round in so many is of all arms.
const WHOLE: usize = 4;
/// Which of those between may have bursts: the one that is farthest from both whole rounds beside it, so that who limits
/// connections by a rate lets those through again that come one at a time.
const HALFWAY: usize = WHOLE / 2;
/// Once in so many seconds bursts have that one for themselves.
const BURSTS: usize = 3;
/// What is new is judged this often.
const JUDGE_EVERY: Duration = Duration::from_millis(500);
/// Budget when nobody said, and the longest.
const BUDGET: Duration = Duration::from_secs(60);
const LONGEST_BUDGET: Duration = Duration::from_secs(600);
/// What of a budget is left for the end: one part in so many, a second at most.
const CONCLUDING: u32 = 10;
const LONGEST_CONCLUDING: Duration = Duration::from_secs(1);
/// The farthest look back: observations that passed are kept whole for an hour.
pub(crate) const LONGEST_SINCE: Duration = Duration::from_secs(3600);
/// As long as this a run waits for a round that was announced after the path last changed: some CDNs
/// give out new addresses all the time.
const PATH_PATIENCE: Duration = Duration::from_secs(10);

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    service: ServiceName,
    budget: Duration,
    since: Duration,
    keep: Keep,
}

/// Which verdicts are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// Every one.
    All,
    /// Those that say something else than the last one of the service.
    News,
}

impl Wish {
    /// Within bounds: a budget of zero means a minute, at most ten; at most an hour of looking back.
    #[must_use]
    pub fn new(service: ServiceName, budget: Duration, since: Duration) -> Self {
        let budget = if budget.is_zero() { BUDGET } else { budget };
        Self {
            service,
            budget: budget.min(LONGEST_BUDGET),
            since: since.min(LONGEST_SINCE),
            keep: Keep::All,
        }
    }

    /// For whoever asks all the time: a verdict that says the same as the last one is not stored again, and
    /// goes by that one's id.
    #[must_use]
    pub fn for_news(self) -> Self {
        Self {
            keep: Keep::News,
            ..self
        }
    }

    /// The part of the budget in which rounds are judged.
    fn judging(&self) -> Duration {
        self.budget - (self.budget / CONCLUDING).min(LONGEST_CONCLUDING)
    }
}

/// Runs localisations.
#[derive(Clone)]
pub struct Localiser {
    engine: Handle,
    store: Store,
    fatal: Fatal,
    places: Arc<Semaphore>,
}

impl Localiser {
    /// Asks the engine for rounds and evidence, and puts verdicts into the store.
    #[must_use]
    pub fn new(engine: Handle, store: Store, fatal: Fatal) -> Self {
        Self {
            engine,
            store,
            fatal,
            places: Arc::new(Semaphore::new(RUNS)),
        }
    }

    /// Fires the first round of a localisation.
    ///
    /// # Errors
    /// When there is no such service, nobody to probe it, or too many localisations run.
    pub async fn begin(&self, wish: Wish) -> Result<Run, Refusal> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Refusal::TooManyRuns)?;
        let (started, started_us) = (Instant::now(), clock::now_us());
        let fire = self
            .engine
            .ask(|reply| Event::Fire(wish.service.clone(), reply));
        let fired = timeout_at(started + wish.judging(), fire).await;
        let first = match fired.map_err(|_| Refusal::NoTime(wish.budget))?? {
            Fired::Round { id, .. } => Some(id),
            Fired::TooManyInFlight => None,
        };
        let since_us = u64::try_from(wish.since.as_micros()).unwrap_or(u64::MAX);
        let (notes, _) = watch::channel(String::new());
        Ok(Run {
            localiser: self.clone(),
            from_us: started_us.saturating_sub(since_us),
            wish,
            started,
            started_us,
            first,
            notes,
            wanted: Wanted::default(),
            place: Arc::new(place),
        })
    }
}

/// One localisation under way.
pub struct Run {
    localiser: Localiser,
    wish: Wish,
    started: Instant,
    started_us: u64,
    /// Start of what counts, in microseconds of mesh time.
    from_us: u64,
    /// The first round fired for this run; `None` when rounds in flight took its place.
    first: Option<RoundId>,
    notes: watch::Sender<String>,
    wanted: Wanted,
    /// Kept by a judgement as well, which goes on to its end when nobody waits for it any more.
    place: Arc<OwnedSemaphorePermit>,
}

impl Run {
    /// Goes on until the evidence decides or the budget ends; the last event is the verdict, or the
    /// reason why there is none. Dropping the future ends the run.
    pub async fn to_the_end(self, events: &mpsc::Sender<Result<v1::LocalizeEvent, Status>>) {
        let verdict = tokio::select! {
            refusal = self.keep_firing() => Err(refusal),
            verdict = self.judge_until_settled(events) => verdict,
        };
        let last = match verdict {
            Ok(verdict) => Ok(Said::Verdict(v1::Verdict::from(verdict.as_ref()))),
            Err(refusal) => Err(Status::from(refusal)),
        };
        // The caller may have hung up.
        let _ = events.send(last.map(event)).await;
    }

    /// Fires rounds. Ends only when the engine refuses for good.
    async fn keep_firing(&self) -> Refusal {
        let mut ticks = interval_at(self.started + FIRE_EVERY, FIRE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for round in 1.. {
            ticks.tick().await;
            let fired = match round % WHOLE {
                0 => self.fire_whole().await,
                HALFWAY if (round / WHOLE).is_multiple_of(BURSTS) => self.fire_bursts().await,
                HALFWAY => self.fire_chosen(Turn::All).await,
                _ => self.fire_chosen(Turn::Single).await,
            };
            if let Err(refusal @ (Refusal::UnknownService(_) | Refusal::Stopping)) = fired {
                return refusal;
            }
        }
        Refusal::Stopping
    }

    /// A round of all arms; the next progress tells what stands in its way.
    async fn fire_whole(&self) -> Result<(), Refusal> {
        let service = self.wish.service.clone();
        let engine = &self.localiser.engine;
        let fired = engine.ask(|reply| Event::Fire(service, reply)).await;
        let note = match &fired {
            Ok(Fired::Round { refused, .. }) => refused.clone().unwrap_or_default(),
            Ok(Fired::TooManyInFlight) => {
                "30 rounds are in flight; the next waits for their time-outs".to_owned()
            }
            Err(refusal) => refusal.to_string(),
        };
        self.notes.send_replace(note);
        fired.map(drop)
    }

    /// A round of all bursts, where there are any.
    async fn fire_bursts(&self) -> Result<(), Refusal> {
        let service = self.wish.service.clone();
        let engine = &self.localiser.engine;
        let fired = engine.ask(|reply| Event::FireBursts(service, reply)).await;
        match fired {
            Ok(_) | Err(Refusal::NothingToProbe(_)) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    /// A round of the arms that the heart has chosen, where there are any.
    async fn fire_chosen(&self, turn: Turn) -> Result<(), Refusal> {
        let Some(arms) = self.wanted.take(turn) else {
            return Ok(());
        };
        let service = self.wish.service.clone();
        let engine = &self.localiser.engine;
        let fired = engine.ask(|reply| Event::FireChosen(service, arms, reply));
        if let Fired::Round { id, .. } = fired.await? {
            self.wanted.fired(id);
        }
        Ok(())
    }

    /// The verdict of the last judgement that was done in time. What is under way when the time is over is
    /// given up.
    async fn judge_until_settled(
        &self,
        events: &mpsc::Sender<Result<v1::LocalizeEvent, Status>>,
    ) -> Result<Arc<Verdict>, Refusal> {
        let mut judged = None;
        let end = self.started + self.wish.judging();
        if let Ok(Err(refusal)) = timeout_at(end, self.keep_judging(&mut judged, events)).await {
            return Err(refusal);
        }
        match judged {
            Some(judged) => self.conclude(judged).await,
            None => Err(Refusal::NoTime(self.wish.budget)),
        }
    }

    /// Judges what is new until more would not change it.
    async fn keep_judging(
        &self,
        judged: &mut Option<Judged>,
        events: &mpsc::Sender<Result<v1::LocalizeEvent, Status>>,
    ) -> Result<(), Refusal> {
        let (mut lookback, mut have) = (None, None);
        let mut pace = Pace::new(self.wish.budget);
        let mut ticks = interval_at(self.started + JUDGE_EVERY, JUDGE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !judged.as_ref().is_some_and(Judged::settled) {
            ticks.tick().await;
            if let Some(evidence) = self.gather(&mut lookback, have).await? {
                have = Some(evidence.evidence.version);
                let begun = Instant::now();
                let now = self.judge(evidence, pace.most()).await?;
                pace.took(begun.elapsed());
                self.wanted.choose(now.choice(), &now.case);
                *judged = Some(now);
            }
            let progress = self.progress(judged.as_ref());
            // A slow reader misses some progress, never the verdict.
            let _ = events.try_send(Ok(event(Said::Progress(progress))));
        }
        Ok(())
    }

    fn progress(&self, judged: Option<&Judged>) -> v1::Progress {
        let mut progress = v1::Progress {
            elapsed_ms: self.elapsed_ms(),
            note: self.notes.borrow().clone(),
            ..v1::Progress::default()
        };
        let Some(Judged {
            case, assessment, ..
        }) = judged
        else {
            return progress;
        };
        let failed = |seen: &&Observation| matches!(seen.outcome, Outcome::Failed { .. });
        progress.rounds = assessment.verdict.rounds;
        progress.probes = assessment.verdict.probes;
        progress.failed = case.observations.iter().filter(failed).count() as u64;
        progress.leading.clone_from(&assessment.leading);
        progress.leading_confidence = assessment.leading_confidence;
        progress
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn event(said: Said) -> v1::LocalizeEvent {
    v1::LocalizeEvent { event: Some(said) }
}

/// A letter that says of what (`v` of a verdict), and ten characters of RFC 4648 base32 in lower case: 50 random bits.
pub(crate) fn new_id(of: char) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let random: [u8; 10] = rand::random();
    let letters = random.map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    format!("{of}-{}", letters.iter().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_kept_within_bounds() {
        let wish = |budget, since| {
            let wish = Wish::new(
                ServiceName("a".into()),
                Duration::from_secs(budget),
                Duration::from_secs(since),
            );
            (wish.budget.as_secs(), wish.since.as_secs())
        };
        assert_eq!(wish(0, 0), (60, 0));
        assert_eq!(wish(5, 900), (5, 900));
        assert_eq!(wish(86_400, 86_400), (600, 3600));
    }

    #[test]
    fn a_part_of_the_budget_is_left_for_the_end() {
        for (budget_ms, judging_ms) in [(1000, 900), (5000, 4500), (60_000, 59_000)] {
            let budget = Duration::from_millis(budget_ms);
            let wish = Wish::new(ServiceName("a".into()), budget, Duration::ZERO);
            assert_eq!(wish.judging(), Duration::from_millis(judging_ms));
        }
    }

    #[test]
    fn ids_look_like_ids() {
        let id = new_id('v');
        assert_eq!(id.len(), 12);
        assert!(id.starts_with("v-") && id != new_id('v'), "{id}");
    }
}
