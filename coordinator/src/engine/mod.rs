//! The engine: one task owns all that changes while the coordinator runs, and is told by events.
//!
//! Handlers are plain functions of an event and the time; what they want of the outside goes into
//! channels that never make them wait. Facts reach the engine only when they are on disk.

mod agents;
mod asked;
mod checking;
mod earlier;
mod event;
mod given;
mod identities;
mod observed;
mod operators;
mod rounds;
mod scribe;
mod sessions;
mod state;
mod tally;
#[cfg(test)]
mod tests;
mod wanted;
mod watching;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use localize::{Observation, Role, ServiceName, VantageName, VantagePoint};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::store::{Act, AgentRecord, Store, StoreError};

use asked::Claim;
use given::Given;

pub use asked::Unasked;
pub use event::{
    Alarmed, Checked, ClockEstimate, Delivery, Event, Evidence, Fired, Happening, Host, Judged,
    Link, Opened, Opening, Outlook, Presence, Reconfigured, Refusal, Reply, Said, Seat, SessionId,
    Subject, What,
};
pub use operators::{AgentView, Applied, Rehearsed, ServiceView, Status};
pub use scribe::Fatal;
pub use state::Setup;
pub use tally::{BOUNDS_US, Counted, Group, Phase, Tally, Times};
pub use window::WINDOW_US;
pub(crate) use window::weight;

/// Events that wait in each of two queues, of what agents say and of all else: handlers take
/// microseconds, and a full queue holds the senders back, which in turn holds back their peers.
const EVENTS: usize = 1024;
/// What agents have said before somebody asks is handled before the question, up to so many events: some ten
/// milliseconds' worth. Whoever asks waits no longer for however many there are.
const SAID_BEFORE: usize = 32;
/// Arms of a vantage point of which it cannot be told whether they were given, before this start.
const UNTOLD: usize = 256;
/// Happenings that a slow watcher may lag behind before it is told that it missed some.
const HAPPENINGS: usize = 1024;
/// Alarms that wait to be judged: one for each service at most, and one that finds no place comes
/// again with a later round.
const ALARMS: usize = 64;
/// Messages that wait for one agent: two seconds of rounds for thirty services. An agent that is
/// slower than that has lost its link, and its session ends.
pub const OUTGOING: usize = 256;
/// The longest sleep: a step of the system clock must not silence the schedule.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The way to the engine. Cloning is cheap.
#[derive(Clone)]
pub struct Handle {
    asked: mpsc::Sender<Event>,
    said: mpsc::Sender<Event>,
    happenings: broadcast::Sender<Happening>,
    services: Arc<ArcSwap<BTreeSet<ServiceName>>>,
    checks: Arc<ArcSwap<BTreeSet<ServiceName>>>,
    given: Given,
    started_us: u64,
}

impl Handle {
    /// Tells the engine; waits while it is busy.
    ///
    /// # Errors
    /// [`Refusal::Stopping`] when there is no engine any more.
    pub async fn tell(&self, event: Event) -> Result<(), Refusal> {
        let queue = match event.is_said() {
            true => &self.said,
            false => &self.asked,
        };
        queue.send(event).await.map_err(|_| Refusal::Stopping)
    }

    /// Asks the engine.
    ///
    /// # Errors
    /// What the engine refuses.
    pub async fn ask<T>(&self, event: impl FnOnce(Reply<T>) -> Event) -> Result<T, Refusal> {
        self.ask_for(None, event).await
    }

    /// Has the engine do what an operator wants: what that changes, and that it was done, are on disk
    /// together. What changes nothing is not written down.
    ///
    /// # Errors
    /// What the engine refuses.
    pub async fn act<T>(
        self,
        act: Act,
        event: impl FnOnce(Reply<T>) -> Event,
    ) -> Result<T, Refusal> {
        self.ask_for(Some(act), event).await
    }

    async fn ask_for<T>(
        &self,
        act: Option<Act>,
        event: impl FnOnce(Reply<T>) -> Event,
    ) -> Result<T, Refusal> {
        let (sender, answer) = oneshot::channel();
        let reply = Reply {
            answer: sender,
            act,
        };
        self.tell(event(reply)).await?;
        answer.await.unwrap_or(Err(Refusal::Stopping))
    }

    /// What happens from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Happening> {
        self.happenings.subscribe()
    }

    /// The names of all services.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceName> {
        self.services.load().iter().cloned().collect()
    }

    /// Whether there is such a service: facts about another are not worth storing.
    #[must_use]
    pub fn knows(&self, service: &ServiceName) -> bool {
        self.services.load().contains(service)
    }

    /// Holds an observation, that came at `now_us`, against what was asked of its vantage point; an answer is
    /// taken. `knows_arm` says of one of an earlier round whether its arm was ever fired, and how many arms
    /// are known of its vantage point.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn answers(
        &self,
        observation: &Observation,
        knows_arm: impl FnOnce() -> (bool, usize),
        now_us: u64,
    ) -> Result<(), Unasked> {
        match self.given.claim(observation) {
            Claim::Asked => Ok(()),
            Claim::Unasked(why) => Err(why),
            Claim::Earlier => {
                let before_start = observation.scheduled_us < self.started_us;
                let was_given = self.given.covers(observation)
                    || match knows_arm() {
                        (true, _) => true,
                        (false, known) => before_start && known < UNTOLD,
                    };
                match was_given {
                    true => self.given.take_earlier(observation, now_us),
                    false => Err(Unasked::Arm),
                }
            }
        }
    }

    /// Something that an agent said does not count. It is counted, and the log says once what that may mean.
    pub fn drop_unasked(&self, agent: &VantageName, why: Unasked) {
        unasked(&self.given, agent, why);
    }

    /// What did not count since the start, by vantage point and reason.
    #[must_use]
    pub fn unasked(&self) -> BTreeMap<(VantageName, Unasked), u64> {
        self.given.all_dropped()
    }

    /// Whether it is the name of a check under way: its facts are of use to it, and are not stored.
    #[must_use]
    pub fn checks(&self, name: &ServiceName) -> bool {
        self.checks.load().contains(name)
    }
}

/// Counts what does not count, and says the first time what that may mean.
fn unasked(given: &Given, agent: &VantageName, why: Unasked) {
    if given.dropped(agent, why) == 0 {
        tracing::warn!(
            %agent, why = why.word(),
            "an agent says what it was not asked for, or what cannot be; that counts nowhere. If it goes on, it may be of \
             another version, or somebody else may have its certificate: `meshctl agent revoke NAME`, and a new token \
             for it"
        );
    }
}

/// The running engine.
pub struct Started {
    /// The way to it.
    pub handle: Handle,
    /// What is to be judged; ends with the engine.
    pub alarms: mpsc::Receiver<Alarmed>,
    /// Ends when the engine has taken leave of its agents.
    pub task: tokio::task::JoinHandle<()>,
}

/// Brings back what the store has and starts the engine, which runs until `stop` and then takes leave
/// of its agents.
///
/// # Errors
/// When the store cannot be read.
pub fn start(
    store: Store,
    setup: Setup,
    fatal: Fatal,
    stop: CancellationToken,
) -> Result<Started, StoreError> {
    let ((asked, questions), (said, sayings)) = (mpsc::channel(EVENTS), mpsc::channel(EVENTS));
    let waiting = Waiting {
        asked: questions,
        said: sayings,
    };
    let (happenings, _) = broadcast::channel(HAPPENINGS);
    let services = Arc::new(ArcSwap::default());
    let checks = Arc::new(ArcSwap::default());
    let (given, started_us) = (Given::default(), clock::now_us());
    let handle = Handle {
        asked,
        said,
        happenings: happenings.clone(),
        services: Arc::clone(&services),
        checks: Arc::clone(&checks),
        given: given.clone(),
        started_us,
    };
    let (alarms, alarmed) = mpsc::channel(ALARMS);
    let (jobs, scribe) = scribe::start(store.clone(), fatal);
    let state = state::State::restore(
        store,
        setup,
        state::Outside {
            jobs,
            happenings,
            services,
            checks,
            given,
            alarms,
        },
        started_us,
    )?;
    let task = tokio::spawn(async move {
        run(state, waiting, stop).await;
        // What was decided before the end is written before the end.
        let _ = scribe.await;
    });
    Ok(Started {
        handle,
        alarms: alarmed,
        task,
    })
}

/// The engine's ends of its queues.
struct Waiting {
    asked: mpsc::Receiver<Event>,
    said: mpsc::Receiver<Event>,
}

/// What is due goes first, then what is asked, then what agents say.
async fn run(mut state: state::State, mut waiting: Waiting, stop: CancellationToken) {
    loop {
        let now_us = clock::now_us();
        let wake = Duration::from_micros(state.next_wake(now_us).saturating_sub(now_us));
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(wake.min(LONGEST_SLEEP)) => state.tick(clock::now_us()),
            Some(question) = waiting.asked.recv() => {
                for _ in 0..SAID_BEFORE {
                    let Ok(said) = waiting.said.try_recv() else { break };
                    state.handle(clock::now_us(), said);
                }
                state.handle(clock::now_us(), question);
            }
            Some(said) = waiting.said.recv() => state.handle(clock::now_us(), said),
            else => break,
        }
    }
    state.shut_down(clock::now_us());
}

/// A vantage point as the heart knows it.
fn vantage_point(agent: &AgentRecord) -> VantagePoint {
    VantagePoint {
        name: agent.name.clone(),
        role: agent.role,
        host: agent.host.clone(),
        addresses: agent.addresses.clone(),
        witness: agent.witness,
        resolvers: agent.resolvers.clone(),
    }
}

/// Roles by how well they see what the public sees.
fn publicness(role: Role) -> u8 {
    match role {
        Role::Outside => 0,
        Role::BehindCdn => 1,
        Role::Inside => 2,
    }
}
