//! What the writer and the readers share.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{
    Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use localize::{Observation, VantageName};
use serde::de::DeserializeOwned;

use super::apply::{STORED, Staged};
use super::copying::Copying;
use super::counting::{Counted, Counting};
use super::disk::{Disk, SpaceLimits, guarded};
use super::error::StoreError;
use super::journal::{Journal, Member};
use super::key::{self, Kind, ObservationKey};
use super::ledger::Ledger;
use super::mark::Mark;
use super::migration;
use super::observed;
use super::records::AgentRecord;
use super::series::{Series, SeriesTable};
use super::staging::{MAX_RECORD_BYTES, Staging, read_value};
use super::value::{self, Packed, ValueError};
use super::{LAYOUT, OLDEST_LAYOUT};

/// Round numbers reserved on disk at a time: a restart skips what is left of them.
const ROUNDS_RESERVED: u64 = 1024;

pub(super) struct Shared {
    pub(super) disk: Disk,
    mark: Mark,
    ledger: Mutex<Ledger>,
    /// `None` where there was no room for it at the start.
    journal: Mutex<Option<Journal>>,
    /// Held by the writer while a batch goes in, by a reader while it gathers the pieces of one value.
    pieces: RwLock<()>,
    /// The copy that is being taken of the database, if any.
    copying: Mutex<Option<Copying>>,
    series: RwLock<SeriesTable>,
    /// Held by the writer from before windows go to the disk until they are counted there alone.
    counting: Mutex<Counting>,
    /// Of what is on disk, never of what is on its way there.
    watermarks: RwLock<BTreeMap<VantageName, u64>>,
    /// The names of agents by those that they had before.
    names: RwLock<BTreeMap<VantageName, VantageName>>,
    stored: AtomicU64,
    next_round: AtomicU64,
    /// Rounds below this are reserved on disk.
    rounds_end: AtomicU64,
    trouble: OnceLock<String>,
}

impl Shared {
    /// Opens the database and holds it against its ledger and the high mark, before anybody reads it.
    pub(super) fn open(dir: &Path, space: SpaceLimits) -> Result<Self, StoreError> {
        let (disk, mark, commits) = Disk::open(dir, space)?;
        let ledger = guarded("be read", || audit(&disk, commits))?;
        mark.raise(ledger.commits)?;
        let shared = Self {
            disk,
            mark,
            ledger: Mutex::new(ledger),
            journal: Mutex::default(),
            pieces: RwLock::default(),
            copying: Mutex::default(),
            series: RwLock::default(),
            counting: Mutex::default(),
            watermarks: RwLock::default(),
            names: RwLock::default(),
            stored: AtomicU64::new(0),
            next_round: AtomicU64::new(0),
            rounds_end: AtomicU64::new(0),
            trouble: OnceLock::new(),
        };
        guarded("be read", || shared.load())?;
        shared.begin_journal(dir)?;
        Ok(shared)
    }

    /// Reads what is kept in memory, and reserves round numbers.
    fn load(&self) -> Result<(), StoreError> {
        self.each::<Series>(Kind::Series, |key, series| {
            if let Some(id) = key::series_id(key) {
                self.series_mut().insert(id, series);
            }
        })?;
        self.each::<u64>(Kind::Watermark, |key, sequence| {
            if let Ok(name) = std::str::from_utf8(key.get(1..).unwrap_or_default()) {
                let mut watermarks = write(&self.watermarks);
                watermarks.insert(VantageName(name.to_owned()), sequence);
            }
        })?;
        self.each::<AgentRecord>(Kind::Agent, |_, agent| self.know(&agent))?;
        migration::run(self, self.get(&Kind::Meta.key(b"layout"))?)?;
        self.count_again()?;
        let stored: Option<u64> = self.get(&Kind::Meta.key(STORED))?;
        self.stored.store(stored.unwrap_or(0), Ordering::Relaxed);
        let rounds: Option<u64> = self.get(&Kind::Meta.key(b"rounds"))?;
        let first = rounds.unwrap_or(1);
        self.next_round.store(first, Ordering::Relaxed);
        self.rounds_end.store(first, Ordering::Relaxed);
        // With a full disk the store opens for reading, and hands no round out.
        match self.reserve_rounds() {
            Ok(()) | Err(StoreError::DiskFull { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Counts what was on disk and not yet in windows there.
    fn count_again(&self) -> Result<(), StoreError> {
        let mut through = BTreeMap::new();
        self.each::<u64>(Kind::Counted, |key, sequence| {
            if let Ok(name) = std::str::from_utf8(key.get(1..).unwrap_or_default()) {
                through.insert(VantageName(name.to_owned()), sequence);
            }
        })?;
        for kind in [Kind::Observation, Kind::FailedObservation] {
            for entry in self.disk.db.range(kind.start()..kind.end()) {
                let (key, head) = entry.map_err(StoreError::database("list observations"))?;
                let Some(named) = ObservationKey::parse(&key) else {
                    continue;
                };
                let is_counted = |vantage: &VantageName| {
                    let through = through.get(vantage);
                    vantage.0.is_empty() || through.is_some_and(|t| named.sequence <= *t)
                };
                let series = {
                    let table = self.series();
                    let series = table.get(named.series);
                    series
                        .filter(|series| !is_counted(&series.vantage))
                        .cloned()
                };
                let Some(series) = series else {
                    continue;
                };
                if let Some(seen) = self.listed_observation(&key, &head, &series)? {
                    let (service, id) = (named.service, named.series);
                    let counted = Counted::new(service, id, &series.vantage, &seen);
                    self.counting().add(counted);
                }
            }
        }
        Ok(())
    }

    /// Makes at least half a reserve of round numbers available. Only the writer calls it once the
    /// store is open.
    pub(super) fn reserve_rounds(&self) -> Result<(), StoreError> {
        if !self.wants_rounds() {
            return Ok(());
        }
        self.disk.check_space(1.0)?;
        let end = self.next_round.load(Ordering::Relaxed) + ROUNDS_RESERVED;
        let mut staging = Staging::new(&self.disk.db);
        staging.put(Kind::Meta.key(b"layout"), &Packed::json(&LAYOUT)?)?;
        staging.put(Kind::Meta.key(b"rounds"), &Packed::json(&end)?)?;
        self.apply(staging)?;
        self.rounds_end.store(end, Ordering::Release);
        Ok(())
    }

    /// Less than half a reserve of round numbers is left.
    pub(super) fn wants_rounds(&self) -> bool {
        let next = self.next_round.load(Ordering::Relaxed);
        next + ROUNDS_RESERVED / 2 > self.rounds_end.load(Ordering::Acquire)
    }

    /// The next round number, if one is reserved.
    pub(super) fn take_round(&self) -> Option<u64> {
        let end = self.rounds_end.load(Ordering::Acquire);
        let below = |next: u64| (next < end).then_some(next + 1);
        self.next_round
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, below)
            .ok()
    }

    /// Applies a batch durably, hidden from readers of long values until it is whole.
    pub(super) fn apply(&self, staging: Staging<'_>) -> Result<(), StoreError> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let (batch, after) = {
            let mut copying = self.copying();
            staging.into_batch(&ledger, |key, old| {
                if let Some(copying) = copying.as_mut() {
                    copying.replaced(key, old);
                }
            })?
        };
        {
            let _whole = write(&self.pieces);
            self.disk.apply(batch)?;
        }
        // Readers need not wait for the disk: what they see early is not acknowledged yet.
        self.disk.sync()?;
        *ledger = after;
        self.mark.raise(ledger.commits)
    }

    /// Has what batches replace kept from here on, for a copy of the database as it stands: what its ledger
    /// says of it.
    pub(super) fn begin_copy(&self) -> Result<Ledger, StoreError> {
        if let Some(trouble) = self.trouble() {
            return Err(StoreError::Poisoned(trouble.clone()));
        }
        // No batch is under way while it is held.
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let mut copying = self.copying();
        if copying.is_some() {
            return Err(StoreError::BackupUnderWay);
        }
        *copying = Some(Copying::default());
        Ok(ledger.clone())
    }

    /// The copy that is being taken of the database, if any.
    pub(super) fn copying(&self) -> MutexGuard<'_, Option<Copying>> {
        self.copying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While it is held no batch goes in.
    pub(super) fn hold_still(&self) -> RwLockReadGuard<'_, ()> {
        read(&self.pieces)
    }

    fn begin_journal(&self, dir: &Path) -> Result<(), StoreError> {
        let mut members = Vec::new();
        self.each(Kind::Agent, |_, agent| members.push(Member::Agent(agent)))?;
        self.each(Kind::Service, |_, service| {
            members.push(Member::Service(service))
        })?;
        self.each(Kind::Operator, |_, operator| {
            members.push(Member::Operator(operator))
        })?;
        // With a full disk the store opens for reading, and that of the last start is kept.
        if self.disk.check_space(1.0).is_ok() {
            let journal = Journal::begin(dir, members)?;
            *self.journal.lock().unwrap_or_else(PoisonError::into_inner) = Some(journal);
        }
        Ok(())
    }

    /// Writes down what a batch that is on disk says of the members of the mesh.
    pub(super) fn add_members(&self, members: &[Member]) -> Result<(), StoreError> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal
            .as_mut()
            .map_or(Ok(()), |journal| journal.add(members))
    }

    /// Forces the high mark to the disk.
    pub(super) fn sync_mark(&self) -> Result<(), StoreError> {
        self.mark.sync()
    }

    /// How many records there are, by kind in words; with how many batches were written.
    pub(super) fn counts(&self) -> (u64, Vec<(&'static str, u64)>) {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        (ledger.commits, ledger.counts())
    }

    /// Applies what a group of commits changes, and makes it known.
    pub(super) fn carry_out(&self, mut staged: Staged<'_>) -> Result<(), StoreError> {
        let mut counting = self.counting();
        if let Some(staging) = staged.staging.take() {
            self.apply(staging)?;
            self.add_members(&staged.members)?;
        }
        counting.written(&staged.ripe);
        for agent in &staged.renamed {
            let former = agent.former.iter();
            former.for_each(|former| counting.rename(former, &agent.name));
        }
        for mut counted in std::mem::take(&mut staged.counted) {
            // It may have been staged before its agent got another name.
            let renamed = staged.renamed.iter().rev();
            let mut renamed = renamed.filter(|agent| agent.former.contains(&counted.vantage));
            if let Some(agent) = renamed.next() {
                counted.vantage.clone_from(&agent.name);
            }
            counting.add(counted);
        }
        staged
            .forgotten
            .iter()
            .for_each(|name| counting.forget(name));
        drop(counting);
        self.publish(&staged);
        Ok(())
    }

    /// The windows under way.
    pub(super) fn counting(&self) -> MutexGuard<'_, Counting> {
        self.counting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far everything of each agent is on disk.
    pub(super) fn watermarks(&self) -> BTreeMap<VantageName, u64> {
        read(&self.watermarks).clone()
    }

    /// Makes known what has reached the disk.
    fn publish(&self, staged: &Staged<'_>) {
        let mut watermarks = write(&self.watermarks);
        watermarks.retain(|agent, _| !staged.forgotten.contains(agent));
        write(&self.names).retain(|_, name| !staged.forgotten.contains(name));
        staged.renamed.iter().for_each(|agent| self.know(agent));
        for (agent, sequence) in &staged.watermarks {
            watermarks.insert(agent.clone(), *sequence);
        }
        self.stored.fetch_add(staged.stored, Ordering::Relaxed);
    }

    fn know(&self, agent: &AgentRecord) {
        let mut names = write(&self.names);
        for former in &agent.former {
            names.insert(former.clone(), agent.name.clone());
        }
    }

    /// The name that an agent of this name has, when it is another one.
    pub(super) fn renamed(&self, name: &VantageName) -> Option<VantageName> {
        read(&self.names).get(name).cloned()
    }

    /// Stops the store for good. The first trouble is the one told.
    pub(super) fn poison(&self, error: &StoreError) -> StoreError {
        let trouble = self.trouble.get_or_init(|| error.to_string());
        StoreError::Poisoned(trouble.clone())
    }

    pub(super) fn trouble(&self) -> Option<&String> {
        self.trouble.get()
    }

    pub(super) fn durable_through(&self, agent: &VantageName) -> Option<u64> {
        read(&self.watermarks).get(agent).copied()
    }

    pub(super) fn stored(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    pub(super) fn series(&self) -> RwLockReadGuard<'_, SeriesTable> {
        read(&self.series)
    }

    pub(super) fn series_mut(&self) -> RwLockWriteGuard<'_, SeriesTable> {
        write(&self.series)
    }

    /// The bytes of a value, at most `limit`.
    pub(super) fn get_bytes(
        &self,
        key: &[u8],
        limit: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let _whole = read(&self.pieces);
        let fetch = |key: &[u8]| self.disk.db.get(key).map_err(StoreError::database("read"));
        read_value(fetch, key, limit)
    }

    pub(super) fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        let bytes = self.get_bytes(key, MAX_RECORD_BYTES)?;
        let record = bytes.map(|bytes| value::parse(&bytes)).transpose();
        record.map_err(StoreError::damaged(key))
    }

    /// The bytes of a value found by a range, which is whole when its head names no further piece.
    /// `None` when the value has gone since or is damaged: one bad record hides no other.
    pub(super) fn listed_bytes(
        &self,
        key: &[u8],
        head: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let read = match value::further_pieces(head) {
            Ok(0) => value::unpack(head, std::iter::empty(), MAX_RECORD_BYTES)
                .map(Some)
                .map_err(StoreError::damaged(key)),
            Ok(_) => self.get_bytes(key, MAX_RECORD_BYTES),
            Err(error) => Err(StoreError::damaged(key)(error)),
        };
        match read {
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::error!(%error, "a record is left out");
                Ok(None)
            }
            read => read,
        }
    }

    /// As [`Self::listed_bytes`], for a record.
    pub(super) fn listed<T: DeserializeOwned>(
        &self,
        key: &[u8],
        head: &[u8],
    ) -> Result<Option<T>, StoreError> {
        self.listed_where(key, head, |_| true)
    }

    /// The same for an observation.
    pub(super) fn listed_observation(
        &self,
        key: &[u8],
        head: &[u8],
        series: &Series,
    ) -> Result<Option<Observation>, StoreError> {
        let Some(bytes) = self.listed_bytes(key, head)? else {
            return Ok(None);
        };
        Ok(left_out(key, observed::parse(&bytes, series)))
    }

    /// The same for one whose bytes look as wanted: reading a long record costs ten times as much as looking
    /// at it.
    pub(super) fn listed_where<T: DeserializeOwned>(
        &self,
        key: &[u8],
        head: &[u8],
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<T>, StoreError> {
        let bytes = self.listed_bytes(key, head)?;
        let Some(bytes) = bytes.filter(|bytes| wanted(bytes)) else {
            return Ok(None);
        };
        Ok(left_out(key, value::parse(&bytes)))
    }

    /// Hands every record of a kind over, in the order of the keys.
    pub(super) fn each<T: DeserializeOwned>(
        &self,
        kind: Kind,
        mut take: impl FnMut(&[u8], T),
    ) -> Result<(), StoreError> {
        for entry in self.disk.db.range(kind.start()..kind.end()) {
            let (key, head) = entry.map_err(StoreError::database("list"))?;
            if let Some(record) = self.listed(&key, &head)? {
                take(&key, record);
            }
        }
        Ok(())
    }
}

/// A record that cannot be read hides no other.
fn left_out<T>(key: &[u8], read: Result<T, ValueError>) -> Option<T> {
    match read {
        Ok(record) => Some(record),
        Err(error) => {
            let error = StoreError::damaged(key)(error);
            tracing::error!(%error, "a record is left out");
            None
        }
    }
}

/// Whether the database holds what was written to it: the ledger, if so. One of before ledgers has what it
/// has.
fn audit(disk: &Disk, mark: Option<u64>) -> Result<Ledger, StoreError> {
    check_layout(disk)?;
    let found = Ledger::of(&disk.db)?;
    let written = disk.read::<Ledger>(&Ledger::key())?;
    let missing = |commits: u64| mark.unwrap_or(0).saturating_sub(commits);
    match written {
        None if missing(0) > 0 && found.counts().is_empty() => Err(StoreError::Gone {
            commits: missing(0),
        }),
        None if missing(0) > 0 => Err(StoreError::Lost {
            missing_commits: missing(0),
            losses: Vec::new(),
        }),
        None => Ok(found),
        Some(written) => {
            let (missing_commits, losses) = (missing(written.commits), written.losses(&found));
            match missing_commits == 0 && losses.is_empty() {
                true => Ok(written),
                false => Err(StoreError::Lost {
                    missing_commits,
                    losses,
                }),
            }
        }
    }
}

/// A folder of a later layout is left untouched.
fn check_layout(disk: &Disk) -> Result<(), StoreError> {
    match disk.read::<u64>(&Kind::Meta.key(b"layout"))? {
        None | Some(OLDEST_LAYOUT..=LAYOUT) => Ok(()),
        Some(found) => Err(StoreError::Layout { found }),
    }
}

/// The data behind these locks is replaced whole, so a panic elsewhere leaves none of it half-made.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
