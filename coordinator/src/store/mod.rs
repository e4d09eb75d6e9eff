//! The store: everything that outlives the process, on sled. Nothing else names sled.
//!
//! One thread writes. It takes the commits that wait, stages them as one batch of sled's default tree,
//! applies and syncs it, and answers; an answered commit survives `kill -9` and a power cut. A record
//! that an agent sends again is known by the watermark that went to disk in the same batch as the
//! record itself, so everything counted here is counted once. After any error of the disk the store
//! stops for good and says so: the state on disk is then known only to the next start.

mod acts;
mod apply;
mod backup;
mod copying;
mod counting;
mod course;
mod disk;
mod error;
mod journal;
mod key;
mod ledger;
mod mark;
mod migration;
mod minute;
mod observed;
mod read;
mod rebuild;
mod records;
mod retention;
mod salvage;
mod series;
mod shared;
mod staging;
#[cfg(test)]
mod tests;
mod trouble;
mod value;
mod window;
mod windows;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use localize::watch::Watch;
use localize::{
    Baselines, Observation, RoundId, ServiceName, Trace, VantageName, Verdict, WitnessReport,
};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

pub use acts::{Act, ActChain, ActFilter, ActOutcome, ActPlace, ActRecord, Deed, HostDeed};
pub use backup::{Backup, BackupError, Brought, Piece, Written};
pub use course::{Course, CourseOf, QUANTILES, Stretch};
pub use disk::SpaceLimits;
pub use error::StoreError;
pub use ledger::Loss;
pub use records::{
    AgentRecord, AgentState, Gap, HistoryLine, IssuedCertificate, Notice, Noticed, OperatorRecord,
    OperatorState, RaisedRecord, Restored, RoundRecord, RoundSummary, SecretHash, ServiceRecord,
    TokenRecord, Use, Write,
};
pub use salvage::{Audit, Saved, check, repair};
pub use value::ValueError;

use crate::notify::{Incident, Silence};
use apply::Prepared;
use key::Kind;
use shared::Shared;
use value::Packed;
use writer::{Command, Lanes};

/// Number of the layout on disk that this version writes. Layout 3 had no operators and no log of acts: a version of
/// then would let in whom this one has revoked. In layout 2 keys did not begin with the service, and layout 1 had
/// no ledger. All are brought to this one.
const LAYOUT: u64 = 4;
/// The oldest layout that is read.
const OLDEST_LAYOUT: u64 = 1;

/// Most writes of one commit: a batch is held in memory, and others wait for it.
pub const MAX_WRITES: usize = 4096;

/// Longest JSON of a case, in bytes: a quarter of an hour of a hundred arms every second is a third
/// of it.
pub const MAX_CASE_BYTES: usize = 256 << 20;

/// Most observations answered at once, the passed and the failed counted apart: the newest.
pub const MAX_OBSERVATIONS: usize = 200_000;

/// Commits that wait for the writer in each lane: two groups of single records, so that the next batch is
/// there when one is done. More wait in their senders, whose agents keep what is not acknowledged.
const WAITING_COMMITS: usize = 1024;

/// The trouble when the writer's thread is gone: sled asserts its invariants by panics.
const WRITER_ENDED: &str = "its writer ended";

/// Whether there is a database in a store's folder, sound or not.
#[must_use]
pub fn exists(dir: &Path) -> bool {
    dir.join("db").exists() || dir.join(mark::FILE).exists()
}

/// The open store. Cloning is cheap; the last clone to go closes it.
#[derive(Clone)]
pub struct Store(Arc<Open>);

struct Open {
    shared: Arc<Shared>,
    /// `None` only while closing.
    lanes: Option<Lanes>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Open {
    /// Waits for what was asked for before, so that the folder can be opened again at once.
    fn drop(&mut self) {
        self.lanes = None;
        if let Some(writer) = self.writer.take() {
            // A panic of the writer has been told to those who waited for it.
            let _ = writer.join();
        }
    }
}

impl Store {
    /// Opens the store in a folder, made when missing, with the usual [`SpaceLimits`].
    ///
    /// Fails when another process has it open, when the disk is too full for sled to open, or when
    /// the database is damaged.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, SpaceLimits::default())
    }

    /// Opens the store with other limits.
    pub fn open_with(dir: &Path, space: SpaceLimits) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::open(dir, space)?);
        let (lanes, waiting) = writer::lanes(WAITING_COMMITS);
        // The writer waits on two lanes at once, and does nothing else on it.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(StoreError::io("start the writer"))?;
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || writer::run(&shared, &runtime, waiting)
            })
            .map_err(StoreError::io("start the writer"))?;
        Ok(Self(Arc::new(Open {
            shared,
            lanes: Some(lanes),
            writer: Some(writer),
        })))
    }

    /// Stores the writes, all or none, and returns when they are on disk.
    ///
    /// [`StoreError::DiskFull`], [`StoreError::TooLarge`] and the three of tokens refuse this commit
    /// alone; any other error is final, and the process must end.
    ///
    /// Facts wait for everything else: a commit of nothing but facts may be overtaken by a later one.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let answer = self.submit(writes).await?;
        self.answered(answer).await
    }

    /// Stores several commits in their order, each by itself, and returns what came of each.
    pub async fn commit_each(&self, commits: Vec<Vec<Write>>) -> Vec<Result<(), StoreError>> {
        let mut submitted = Vec::with_capacity(commits.len());
        for writes in commits {
            submitted.push(self.submit(writes).await);
        }
        let mut done = Vec::with_capacity(submitted.len());
        for answer in submitted {
            done.push(match answer {
                Ok(answer) => self.answered(answer).await,
                Err(error) => Err(error),
            });
        }
        done
    }

    /// Forgets what has aged out at `now_us` of mesh time, a bounded amount of it: to be called once
    /// a minute or oftener, and again at once while it answers `true`.
    pub async fn retain(&self, now_us: u64) -> Result<bool, StoreError> {
        let (reply, answer) = oneshot::channel();
        let retain = Command::Retain { now_us, reply };
        self.hand(retain, |lanes| &lanes.facts).await?;
        self.answered(answer).await
    }

    /// Everything of the agent up to this sequence is on disk.
    #[must_use]
    pub fn durable_through(&self, agent: &VantageName) -> Option<u64> {
        self.0.shared.durable_through(agent)
    }

    /// The fingerprint of the authority that the agents and operators of this store rely on.
    pub fn authority(&self) -> Result<Option<String>, StoreError> {
        self.0.shared.get(&Kind::Meta.key(apply::AUTHORITY))
    }

    /// Whether, when and how often the store was restored from a backup.
    pub fn restored(&self) -> Result<Option<Restored>, StoreError> {
        self.0.shared.get(&Kind::Meta.key(apply::RESTORED))
    }

    /// Hands over a backup in pieces, of everything that was stored before this instant and nothing after,
    /// while others go on writing; until all of it is there or somebody does not `take` a piece.
    ///
    /// [`StoreError::BackupUnderWay`] while another is being taken, [`StoreError::BackupOutrun`] when the
    /// pieces are taken too slowly for what is written meanwhile.
    pub fn backup(&self, now_us: u64, take: impl FnMut(Piece) -> bool) -> Result<(), StoreError> {
        backup::write(&self.0.shared, now_us, take)
    }

    /// Whether anybody was invited or anything applied yet.
    pub fn is_used(&self) -> Result<bool, StoreError> {
        for kind in [Kind::Agent, Kind::Token, Kind::Service] {
            let mut range = self.0.shared.disk.db.range(kind.start()..kind.end());
            if let Some(first) = range.next() {
                first.map_err(StoreError::database("list"))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether anything was stored of the observation's arm, in whatever way it was fired, and how many
    /// series its vantage point has of its service.
    #[must_use]
    pub fn knows_arm(&self, observation: &Observation) -> (bool, usize) {
        self.0.shared.series().lane(observation)
    }

    /// Every agent, by name.
    pub fn agents(&self) -> Result<Vec<AgentRecord>, StoreError> {
        let mut agents = Vec::new();
        self.0
            .shared
            .each(Kind::Agent, |_, agent| agents.push(agent))?;
        Ok(agents)
    }

    /// One agent.
    pub fn agent(&self, name: &VantageName) -> Result<Option<AgentRecord>, StoreError> {
        self.0.shared.get(&key::agent(name))
    }

    /// Every operator, by name.
    pub fn operators(&self) -> Result<Vec<OperatorRecord>, StoreError> {
        self.listed(Kind::Operator)
    }

    /// The acts of operators that are wanted, newest first, each with its place in the chain.
    pub fn acts(&self, wanted: &ActFilter) -> Result<Vec<(ActRecord, ActPlace)>, StoreError> {
        acts::list(&self.0.shared, wanted)
    }

    /// Whether the chain of acts is as it was written, and holds the place that somebody has `kept`.
    pub fn verify_acts(&self, kept: Option<&ActPlace>) -> Result<ActChain, StoreError> {
        acts::verify(&self.0.shared, kept)
    }

    /// Every service, by name.
    pub fn services(&self) -> Result<Vec<ServiceRecord>, StoreError> {
        let mut services = Vec::new();
        self.0
            .shared
            .each(Kind::Service, |_, service| services.push(service))?;
        Ok(services)
    }

    /// One service.
    pub fn service(&self, name: &ServiceName) -> Result<Option<ServiceRecord>, StoreError> {
        self.0.shared.get(&key::service(name))
    }

    /// One token.
    pub fn token(&self, secret: &SecretHash) -> Result<Option<TokenRecord>, StoreError> {
        self.0.shared.get(&key::token(secret))
    }

    /// The observations whose round's instant lies in `[from_us, to_us]`, oldest first; whole for an
    /// hour, the failed ones for 30 days; at most the newest [`MAX_OBSERVATIONS`].
    pub fn observations(
        &self,
        service: &ServiceName,
        from_us: u64,
        to_us: u64,
    ) -> Result<Vec<Observation>, StoreError> {
        read::observations(&self.0.shared, service, from_us, to_us, MAX_OBSERVATIONS)
    }

    /// The witness reports that overlap `[from_us, to_us]`, by their end; kept for an hour.
    pub fn reports(&self, from_us: u64, to_us: u64) -> Result<Vec<WitnessReport>, StoreError> {
        read::reports(&self.0.shared, from_us, to_us)
    }

    /// The traces of all services that began in `[from_us, to_us]`, oldest first; kept for an hour.
    pub fn traces(&self, from_us: u64, to_us: u64) -> Result<Vec<Trace>, StoreError> {
        read::traces(&self.0.shared, from_us, to_us)
    }

    /// The rounds of a service whose instant lies in `[from_us, to_us]`, oldest first; kept for 30
    /// days.
    pub fn rounds(
        &self,
        service: &ServiceName,
        from_us: u64,
        to_us: u64,
    ) -> Result<Vec<RoundRecord>, StoreError> {
        read::rounds(&self.0.shared, service, from_us, to_us)
    }

    /// Hands over the rounds of all services since an instant, oldest first; kept for 30 days.
    pub fn each_round(
        &self,
        from_us: u64,
        take: impl FnMut(RoundRecord),
    ) -> Result<(), StoreError> {
        read::each_round(&self.0.shared, from_us, take)
    }

    /// How many rounds of a service were closed, and when the last was.
    pub fn round_summary(&self, service: &ServiceName) -> Result<RoundSummary, StoreError> {
        let known = self.0.shared.get(&key::round_summary(service))?;
        Ok(known.unwrap_or_default())
    }

    /// The verdicts on a service, or on all, newest first.
    pub fn verdicts(
        &self,
        service: Option<&ServiceName>,
        limit: usize,
    ) -> Result<Vec<Verdict>, StoreError> {
        read::verdicts(&self.0.shared, service, limit)
    }

    /// One verdict.
    pub fn verdict(&self, id: &str) -> Result<Option<Verdict>, StoreError> {
        read::verdict(&self.0.shared, id)
    }

    /// What is known of a verdict that the watch has raised; `None` for one that somebody asked for.
    pub fn raised(&self, id: &str) -> Result<Option<RaisedRecord>, StoreError> {
        self.0.shared.get(&key::raised(id))
    }

    /// The watch over a service.
    pub fn watch(&self, name: &ServiceName) -> Result<Option<Watch>, StoreError> {
        self.0.shared.get(&key::watch(name))
    }

    /// What people are to be told and nobody has taken up, oldest first.
    pub fn notices(&self) -> Result<Vec<Notice>, StoreError> {
        self.listed(Kind::Notice)
    }

    /// What people are told of.
    pub fn incidents(&self) -> Result<Vec<Incident>, StoreError> {
        self.listed(Kind::Incident)
    }

    /// Every silence.
    pub fn silences(&self) -> Result<Vec<Silence>, StoreError> {
        self.listed(Kind::Silence)
    }

    fn listed<T: DeserializeOwned>(&self, kind: Kind) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        self.0.shared.each(kind, |_, record| found.push(record))?;
        Ok(found)
    }

    /// The JSON of the case that a verdict was made from, kept for the last 200 verdicts.
    pub fn case(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        read::case(&self.0.shared, id)
    }

    /// A round number that was never used before and will never be again. Rises; a restart skips some.
    ///
    /// [`StoreError::NoRoundNumber`] when none is reserved for want of space, [`StoreError::Poisoned`]
    /// when the store has stopped.
    pub fn next_round_id(&self) -> Result<RoundId, StoreError> {
        let shared = &self.0.shared;
        let taken = shared.take_round();
        if shared.wants_rounds() {
            // A full queue is no loss: the next call asks again, long before the reserve is used up.
            if let Some(lanes) = &self.0.lanes {
                let _ = lanes.decisions.try_send(Command::ReserveRounds);
            }
        }
        match taken {
            Some(round) => Ok(RoundId(round)),
            None => match shared.trouble() {
                Some(trouble) => Err(StoreError::Poisoned(trouble.clone())),
                None => Err(StoreError::NoRoundNumber),
            },
        }
    }

    /// Counts and latencies of a service since an instant, to the minute, beyond a day to the hour: one
    /// line for each vantage point, arm and layer, sorted by them. Reaches back 30 days.
    pub fn history(
        &self,
        service: &ServiceName,
        since_us: u64,
    ) -> Result<Vec<HistoryLine>, StoreError> {
        read::history(&self.0.shared, service, since_us)
    }

    /// How one layer of a service's arms went over time, sorted by the arms' labels. Reaches back 30
    /// days.
    pub fn course(&self, of: &CourseOf) -> Result<Vec<Course>, StoreError> {
        course::course(&self.0.shared, of)
    }

    /// What was usual for a service in the last `calm_us` of a stretch in which nothing was wrong with it by
    /// its verdicts and alarms, no farther back than seven times as long; to the minute, beyond a day to
    /// the hour.
    pub fn baselines(
        &self,
        service: &ServiceName,
        calm_us: u64,
        within: std::ops::Range<u64>,
    ) -> Result<Baselines, StoreError> {
        read::baselines(&self.0.shared, service, calm_us, within)
    }

    /// Observations stored since the store was made, the forgotten ones included.
    #[must_use]
    pub fn stored_count(&self) -> u64 {
        self.0.shared.stored()
    }

    /// Bytes that the database takes on disk.
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        let size = self.0.shared.disk.db.size_on_disk();
        size.map_err(StoreError::database("read its size"))
    }

    /// Why the store has stopped, when it has: the process must end then.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let ended = self.0.writer.as_ref().is_none_or(JoinHandle::is_finished);
        match self.0.shared.trouble() {
            Some(trouble) => Some(trouble.clone()),
            None => ended.then(|| WRITER_ENDED.to_owned()),
        }
    }

    /// Hands a commit to the writer; the answer comes when it is on disk.
    async fn submit(&self, writes: Vec<Write>) -> Result<Answer<()>, StoreError> {
        let facts = writes.iter().all(Write::is_fact);
        let writes = prepare(writes).await?;
        let (reply, answer) = oneshot::channel();
        let commit = Command::Commit { writes, reply };
        match facts {
            true => self.hand(commit, |lanes| &lanes.facts).await?,
            false => self.hand(commit, |lanes| &lanes.decisions).await?,
        }
        Ok(answer)
    }

    async fn hand(
        &self,
        command: Command,
        lane: impl Fn(&Lanes) -> &mpsc::Sender<Command>,
    ) -> Result<(), StoreError> {
        let lanes = self.0.lanes.as_ref().ok_or_else(|| self.gone())?;
        lane(lanes).send(command).await.map_err(|_| self.gone())
    }

    async fn answered<T>(&self, answer: Answer<T>) -> Result<T, StoreError> {
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    fn gone(&self) -> StoreError {
        let error = StoreError::Poisoned(WRITER_ENDED.to_owned());
        self.0.shared.poison(&error)
    }
}

/// What the writer answers.
type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

/// Checks the bounds, and packs the long parts where they hold up nobody.
async fn prepare(writes: Vec<Write>) -> Result<Vec<Prepared>, StoreError> {
    if writes.len() > MAX_WRITES {
        return Err(StoreError::TooLarge {
            what: "more writes than a commit may have",
        });
    }
    let mut prepared = Vec::with_capacity(writes.len());
    for write in writes {
        let Write::Verdict { verdict, case_json } = write else {
            prepared.push(Prepared::Plain(write));
            continue;
        };
        if case_json.len() > MAX_CASE_BYTES {
            return Err(StoreError::TooLarge {
                what: "a case longer than it may be",
            });
        }
        let case = tokio::task::spawn_blocking(|| Packed::bytes(case_json)).await;
        let case = case.map_err(|error| StoreError::io("pack a case")(error))?;
        prepared.push(Prepared::Verdict { verdict, case });
    }
    Ok(prepared)
}
