//! People are told of what the watch raises: once when it begins, once when it is over.
//!
//! The engine writes a notice down together with the alarm's own state. What is here takes notices up, makes
//! incidents of them (`desk`, which is pure), and keeps on disk who has been told what: a restart neither
//! loses a message nor sends one again whose answer had come. A receiver that got a message whose answer was
//! lost gets it once more, under the same id.

pub mod channel;
mod desk;
mod handle;
mod incident;
mod message;
mod secret;
pub mod settings;
mod silence;
#[cfg(test)]
pub(crate) use self::tests::samples;
#[cfg(test)]
mod tests;

use std::time::Duration;

use localize::watch::Ending;
use localize::{ServiceName, Verdict};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::desk::Tellings;
use self::desk::{Desk, Errand};
pub use self::handle::{Handle, NotifyError, SilenceWish, Tally};
use self::handle::{Reply, Request};
pub use self::incident::Incident;
use self::message::{Message, spoken};
pub use self::settings::Settings;
pub use self::silence::Silence;
use crate::clock;
use crate::engine::{self, Event, Fatal, Happening, Refusal, What};
use crate::localisation::new_id;
use crate::store::{Act, Notice, Noticed, RaisedRecord, Store, StoreError, Write};

/// Requests that wait: operators' own, a few a day.
const REQUESTS: usize = 64;
/// While something stands, time is looked at this often: the pause after a first failure is as long.
const TICK: Duration = Duration::from_millis(500);
/// Otherwise this often: notices that were missed among the happenings wait no longer.
const IDLE: Duration = Duration::from_secs(5);
/// So often the incidents are held against the alarms that stand, in microseconds.
const COMPARE_US: u64 = 30_000_000;
/// Messages under way at the end are waited for, so that what got through is known.
const LEAVE: Duration = Duration::from_secs(3);
/// The longest silence: a year.
const LONGEST_SILENCE: Duration = Duration::from_secs(366 * 24 * 3600);
/// Silences at once, and characters of the reason for one.
const SILENCES: usize = 1000;
const REASON: usize = 500;

/// Brings back what the store has and starts to tell, until `stop`.
///
/// # Errors
/// When the store cannot be read.
pub fn start(
    engine: engine::Handle,
    store: Store,
    settings: Settings,
    fatal: Fatal,
    stop: CancellationToken,
) -> Result<(Handle, tokio::task::JoinHandle<()>), StoreError> {
    let desk = Desk::new(settings, store.incidents()?, store.silences()?);
    let (requests, waiting) = mpsc::channel(REQUESTS);
    let notifier = Notifier {
        desk,
        engine,
        store,
        fatal,
        under_way: JoinSet::new(),
        compared_us: clock::now_us(),
    };
    let task = tokio::spawn(notifier.run(waiting, stop));
    Ok((Handle(requests), task))
}

struct Notifier {
    desk: Desk,
    engine: engine::Handle,
    store: Store,
    fatal: Fatal,
    under_way: JoinSet<(Errand, bool)>,
    compared_us: u64,
}

impl Notifier {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>, stop: CancellationToken) {
        let mut happenings = self.engine.watch();
        self.take_up().await;
        loop {
            self.step(clock::now_us()).await;
            let pause = if self.desk.is_busy() { TICK } else { IDLE };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(request) = requests.recv() => self.asked(request).await,
                Some(done) = self.under_way.join_next() => self.done(done).await,
                happening = happenings.recv() => match happening {
                    Ok(happening) if !concerns(&happening) => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => self.take_up().await,
                    Err(RecvError::Closed) => break,
                },
                () = tokio::time::sleep(pause) => self.take_up().await,
            }
        }
        let leave = async {
            while let Some(done) = self.under_way.join_next().await {
                self.done(done).await;
            }
        };
        let _ = tokio::time::timeout(LEAVE, leave).await;
    }

    /// What time alone brings.
    async fn step(&mut self, now_us: u64) {
        if now_us.saturating_sub(self.compared_us) >= COMPARE_US {
            self.compared_us = now_us;
            self.compare(now_us).await;
        }
        let decided = self.desk.decide(now_us);
        self.commit(decided).await;
        for errand in self.desk.errands(now_us) {
            self.send(errand, now_us);
        }
    }

    /// Takes up what the engine has written down.
    async fn take_up(&mut self) {
        let notices = self.read(|store| {
            let notices = store.notices()?.into_iter();
            let told = notices.map(|notice| {
                let verdict = store.verdict(&notice.verdict)?;
                let raised = store.raised(&notice.verdict)?;
                Ok((notice, verdict, raised))
            });
            told.collect::<Result<Vec<_>, StoreError>>()
        });
        for (notice, verdict, raised) in notices.await.unwrap_or_default() {
            let mut writes = self.noticed(&notice, verdict.as_ref(), raised);
            writes.push(Write::NoticeTaken(notice));
            self.commit(writes).await;
        }
    }

    fn noticed(
        &mut self,
        notice: &Notice,
        verdict: Option<&Verdict>,
        raised: Option<RaisedRecord>,
    ) -> Vec<Write> {
        match (notice.what, verdict) {
            (Noticed::Raised, Some(verdict)) => {
                let began_us = raised.map_or(notice.at_us, |raised| raised.began_us);
                let id = || new_id('i');
                self.desk.raised(notice.at_us, verdict, began_us, id)
            }
            (Noticed::Raised, None) => Vec::new(),
            (Noticed::Over, _) => self.desk.over(notice.at_us, &notice.verdict),
        }
    }

    /// Holds the incidents against the alarms that stand: those of a service that was deleted end with it.
    async fn compare(&mut self, now_us: u64) {
        for service in self.desk.services() {
            let name = ServiceName(service.clone());
            let view = self.engine.ask(|reply| Event::Service(name, reply)).await;
            let standing = match view {
                Ok(view) => view.standing,
                Err(Refusal::UnknownService(_)) => Vec::new(),
                Err(_) => continue,
            };
            let writes = self.desk.standing(now_us, &service, &standing);
            self.commit(writes).await;
        }
    }

    fn send(&mut self, errand: Errand, now_us: u64) {
        let settings = self.desk.settings();
        let receiver = settings.receiver(&errand.receiver).cloned();
        let (page, store) = (settings.page.clone(), self.store.clone());
        let incident = self.desk.incident(&errand.incident).cloned();
        self.under_way.spawn(async move {
            let (Some(receiver), Some(incident)) = (receiver, incident) else {
                return (errand, false);
            };
            let (phase, word) = (errand.phase, errand.phase.word());
            let message = move || words(&store, &incident, phase, page.as_deref());
            let told = match tokio::task::spawn_blocking(message).await {
                Ok(message) => receiver.channel.tell(&message, now_us).await,
                Err(error) => Err(channel::TellError::Http(error.to_string())),
            };
            let by = receiver.channel.word();
            match &told {
                Ok(()) => tracing::info!(receiver = receiver.name, by, incident = errand.incident, word, "told"),
                Err(error) => tracing::warn!(
                    receiver = receiver.name, by, incident = errand.incident, word, %error, "not told; it is tried again"
                ),
            }
            (errand, told.is_ok())
        });
    }

    async fn done(&mut self, done: Result<(Errand, bool), tokio::task::JoinError>) {
        // A panic of a task has been logged, and its errand stays under way until the next start.
        if let Ok((errand, got_through)) = done {
            let writes = self.desk.done(clock::now_us(), &errand, got_through);
            self.commit(writes).await;
        }
    }

    async fn asked(&mut self, request: Request) {
        let now_us = clock::now_us();
        // Whoever asked may have hung up.
        match request {
            Request::Silence(wish, act, reply) => {
                let _ = reply.send(self.silence(wish, act, now_us).await);
            }
            Request::Silences(reply) => {
                let _ = reply.send(Ok(self.desk.silences(now_us)));
            }
            Request::Unsilence(id, act, reply) => {
                let _ = reply.send(self.unsilence(id, act).await);
            }
            Request::Trial(name, reply) => self.trial(&name, now_us, reply),
            Request::Tally(reply) => {
                let _ = reply.send(Ok(self.tally(now_us)));
            }
            Request::Page(reply) => {
                let _ = reply.send(Ok(self.desk.settings().page.clone()));
            }
            Request::Reconfigure(settings) => self.desk.reconfigure(settings),
        }
    }

    async fn silence(
        &mut self,
        wish: SilenceWish,
        act: Act,
        now_us: u64,
    ) -> Result<Silence, NotifyError> {
        if wish.length.is_zero() || wish.length > LONGEST_SILENCE {
            return Err(NotifyError::Unfit(
                "a silence lasts a second at least and a year at most",
            ));
        }
        if wish.because.trim().is_empty() || wish.because.chars().count() > REASON {
            return Err(NotifyError::Unfit("say why, in at most 500 characters"));
        }
        if wish.must_match {
            self.is_of_somebody(&wish.service).await?;
        }
        if self.desk.silences(now_us).len() >= SILENCES {
            return Err(NotifyError::Unfit(
                "there are 1000 silences; end some of them",
            ));
        }
        let from_us = if wish.from_us == 0 {
            now_us
        } else {
            wish.from_us
        };
        let length = u64::try_from(wish.length.as_micros()).unwrap_or(u64::MAX);
        let until_us = from_us.saturating_add(length);
        if until_us <= now_us {
            return Err(NotifyError::Unfit(
                "it would be over before it begins to count",
            ));
        }
        let silence = Silence {
            id: new_id('s'),
            service: wish.service,
            from_us,
            until_us,
            because: wish.because,
            by: wish.by,
        };
        let mut writes = self.desk.silence(silence.clone());
        writes.push(Write::Act(act));
        self.try_commit(writes).await?;
        tracing::info!(
            id = silence.id,
            service = silence.service,
            by = silence.by,
            because = silence.because,
            "silence"
        );
        Ok(silence)
    }

    /// That a service has such a name.
    async fn is_of_somebody(&self, pattern: &str) -> Result<(), NotifyError> {
        let services = self.engine.ask(Event::Services).await;
        let services = services.map_err(|_| NotifyError::Stopping)?.into_iter();
        let there: Vec<String> = services.map(|service| service.topology.service.0).collect();
        if there.iter().any(|name| silence::matches(pattern, name)) {
            return Ok(());
        }
        let name = pattern.to_owned();
        Err(NotifyError::NoService { name, there })
    }

    async fn unsilence(&mut self, id: String, act: Act) -> Result<(), NotifyError> {
        let mut writes = self.desk.unsilence(&id);
        if writes.is_empty() {
            return Err(NotifyError::NoSilence(id));
        }
        writes.push(Write::Act(act));
        self.try_commit(writes).await?;
        tracing::info!(id, "the silence is over");
        Ok(())
    }

    /// A trial is told beside everything else, and tried once.
    fn trial(&self, name: &str, now_us: u64, reply: Reply<()>) {
        let settings = self.desk.settings();
        let Some(receiver) = settings.receiver(name).cloned() else {
            let there = settings.receivers.iter();
            let _ = reply.send(Err(NotifyError::NoReceiver {
                name: name.to_owned(),
                there: there.map(|receiver| receiver.name.clone()).collect(),
            }));
            return;
        };
        let id = new_id('t');
        let message = Message::trial(&id, now_us, settings.page.as_deref());
        tokio::spawn(async move {
            let told = receiver.channel.tell(&message, now_us).await;
            let _ = reply.send(told.map_err(|cause| NotifyError::Untold {
                receiver: receiver.name,
                cause: cause.to_string(),
            }));
        });
    }

    fn tally(&self, now_us: u64) -> Tally {
        let receivers = self.desk.settings().receivers.iter();
        let known = self.desk.tellings();
        let counts = receivers.map(|receiver| {
            let counts = known.get(&receiver.name).copied().unwrap_or_default();
            (receiver.name.clone(), counts)
        });
        Tally {
            tellings: counts.collect(),
            pending: self.desk.pending(),
            silences: self.desk.silences(now_us).len(),
        }
    }

    async fn commit(&mut self, writes: Vec<Write>) {
        // It has been told, and what was decided is decided again.
        let _ = self.try_commit(writes).await;
    }

    /// What is not on disk was not decided: the desk goes back to what the store has.
    async fn try_commit(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let Err(error) = self.store.commit(writes).await else {
            return Ok(());
        };
        tracing::error!(%error, "cannot write down who is told what");
        self.fatal.judge(&error);
        let kept = self.read(|store| Ok((store.incidents()?, store.silences()?)));
        if let Some((incidents, silences)) = kept.await {
            self.desk.restore(incidents, silences);
        }
        Err(error)
    }

    /// Reads from the store where waiting for the disk holds up nobody.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Option<T> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || read(&store)).await {
            Ok(Ok(found)) => Some(found),
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot read what people are to be told");
                self.fatal.judge(&error);
                None
            }
            Err(_) => None,
        }
    }
}

fn concerns(happening: &Happening) -> bool {
    match happening.what {
        What::Raised(..) | What::Over(..) => true,
        What::Agent { .. } | What::Round(_) | What::Verdict(_) => false,
    }
}

/// The message as its verdict is in the store; a verdict that cannot be read is told without its words.
fn words(
    store: &Store,
    incident: &Incident,
    phase: incident::Phase,
    page: Option<&str>,
) -> Message {
    let id = spoken(incident).map_or("", |member| member.verdict.as_str());
    let verdict = store.verdict(id).ok().flatten();
    let over = store
        .raised(id)
        .ok()
        .flatten()
        .and_then(|raised| raised.over);
    let why = over.map(|(_, ending)| reason(ending));
    Message::new(incident, phase, verdict.as_ref(), page, why)
}

const fn reason(ending: Ending) -> &'static str {
    match ending {
        Ending::Quiet => "because quiet rounds refute its rate",
        Ending::Superseded => "because a later verdict is more exact",
        Ending::Unseen => "because nothing has probed it for a day",
    }
}
