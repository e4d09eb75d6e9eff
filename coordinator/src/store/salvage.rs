//! Looking at a damaged store, and saving what can be read of it into a new one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use localize::VantageName;

use super::MAX_CASE_BYTES;
use super::acts::{self, ActChain};
use super::disk::guarded;
use super::error::StoreError;
use super::journal::{self, About, Member};
use super::key::{self, Kind};
use super::ledger::Ledger;
use super::rebuild::{Rebuild, no_limits};
use super::records::ServiceRecord;
use super::series::Series;
use super::shared::Shared;
use super::staging::{Staging, read_value};
use super::value::{self, Packed};

/// What a look at a sound store has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Batches written since the store was made.
    pub commits: u64,
    /// Records by kind in words.
    pub records: Vec<(&'static str, u64)>,
    /// The log of what operators did.
    pub acts: ActChain,
}

/// What was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Records by kind in words.
    pub records: Vec<(&'static str, u64)>,
    /// Records that could not be read, as far as they could be counted.
    pub unreadable: u64,
    /// Stretches of records that could not be read and not be counted.
    pub stretches: u64,
    /// Where the damaged store is kept.
    pub kept_at: PathBuf,
}

/// Records copied in one batch.
const BATCH: usize = 512;
/// Round numbers left out, since those of lost batches may have been given.
const ROUNDS_SKIPPED: u64 = 1 << 20;

/// Looks at a copy of the store in a folder; the store itself stays as it is.
///
/// # Errors
/// What is wrong with it; [`StoreError::Locked`] while a coordinator runs on it.
pub fn check(dir: &Path) -> Result<Audit, StoreError> {
    let lock = super::disk::lock(dir)?;
    let copy = Copy::of(dir, beside(dir, "checking"))?;
    drop(lock);
    let shared = Shared::open(&copy.0, no_limits())?;
    let (commits, records) = shared.counts();
    let acts = guarded("be read", || acts::verify(&shared, None))?;
    Ok(Audit {
        commits,
        records,
        acts,
    })
}

/// Puts a damaged store aside and makes a new one with what can be read of it. Join tokens are void
/// afterwards, since some of those that are there may have been used.
///
/// # Errors
/// When files cannot be moved or written; [`StoreError::Locked`] while a coordinator runs on it.
pub fn repair(dir: &Path) -> Result<Saved, StoreError> {
    fs::create_dir_all(dir).map_err(StoreError::io("make the data folder"))?;
    let lock = super::disk::lock(dir)?;
    let aside = (1..).map(|n| beside(dir, &format!("damaged-{n}")));
    let free = aside.take(1000).find(|path| !path.exists());
    let kept_at = free.unwrap_or_else(|| beside(dir, "damaged"));
    fs::rename(dir, &kept_at).map_err(StoreError::io("put the damaged store aside"))?;
    let mut saved = Saved {
        records: Vec::new(),
        unreadable: 0,
        stretches: 0,
        kept_at: kept_at.clone(),
    };
    let mut new = Rebuild::begin(dir)?;
    for way in [Way::AsItIs, Way::WithoutSnapshots] {
        let copy = Copy::of(&kept_at, beside(dir, "reading"))?;
        if way == Way::WithoutSnapshots {
            copy.remove_snapshots()?;
        }
        match guarded("be opened", || super::disk::open_database(&copy.0)) {
            Ok(old) => {
                new.save(&old, &mut saved)?;
                break;
            }
            Err(error) => tracing::warn!(%error, "the damaged database does not open"),
        }
    }
    new.skip_rounds(ROUNDS_SKIPPED)?;
    new.bring_back(journal::read(&kept_at))?;
    new.mend_acts()?;
    saved.records = new.finish()?;
    drop(lock);
    Ok(saved)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    AsItIs,
    WithoutSnapshots,
}

impl Rebuild {
    fn save(&mut self, old: &sled::Db, saved: &mut Saved) -> Result<(), StoreError> {
        for kind in Kind::ALL {
            match kind {
                // They come along with the first piece.
                Kind::Piece | Kind::Token => {}
                Kind::Agent
                | Kind::Service
                | Kind::Watermark
                | Kind::Observation
                | Kind::FailedObservation
                | Kind::Window
                | Kind::Counted
                | Kind::Series
                | Kind::Report
                | Kind::Trace
                | Kind::Round
                | Kind::RoundSummary
                | Kind::Verdict
                | Kind::Case
                | Kind::VerdictPlace
                | Kind::Raised
                | Kind::Watch
                | Kind::Notice
                | Kind::Incident
                | Kind::Silence
                | Kind::Operator
                | Kind::Act
                | Kind::Meta => self.save_kind(old, kind, saved)?,
            }
        }
        self.raise_watermarks()
    }

    fn save_kind(
        &mut self,
        old: &sled::Db,
        kind: Kind,
        saved: &mut Saved,
    ) -> Result<(), StoreError> {
        let (mut from, mut tries) = (kind.start(), 0);
        while from < kind.end() {
            let mut reached = from.clone();
            let read = guarded("be read", || {
                self.save_range(old, from.clone()..kind.end(), &mut reached, saved)
            });
            match read {
                Ok(()) => return Ok(()),
                Err(error @ (StoreError::DiskFull { .. } | StoreError::Io { .. })) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(%error, at = hex::encode(&reached), "a stretch is left out");
                    saved.stretches += 1;
                    tries = if reached == from { tries + 1 } else { 1 };
                    from = beyond(&reached, tries);
                }
            }
        }
        Ok(())
    }

    /// Copies the sound records of a range, batch by batch; `reached` is the last key that was read.
    fn save_range(
        &mut self,
        old: &sled::Db,
        range: std::ops::Range<Vec<u8>>,
        reached: &mut Vec<u8>,
        saved: &mut Saved,
    ) -> Result<(), StoreError> {
        let db = self.disk.db.clone();
        let mut staging = Staging::new(&db);
        let read = |key: &[u8]| old.get(key).map_err(StoreError::database("read"));
        for entry in old.range(range) {
            let (key, head) = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.apply(staging)?;
                    return Err(StoreError::database("read a record")(error));
                }
            };
            *reached = key.to_vec();
            if *key == *Ledger::key() {
                continue;
            }
            match read_value(read, &key, MAX_CASE_BYTES) {
                Ok(Some(_)) => stage(&mut staging, old, &key, &head)?,
                Ok(None) | Err(_) => saved.unreadable += 1,
            }
            if staging.len() >= BATCH {
                self.apply(std::mem::replace(&mut staging, Staging::new(&db)))?;
            }
        }
        self.apply(staging)
    }

    /// What is known of the members of the mesh besides: of agents that says more than their records, of
    /// services as much, but for what is learnt of them again.
    fn bring_back(&mut self, members: BTreeMap<About, Member>) -> Result<(), StoreError> {
        let db = self.disk.db.clone();
        for member in members.into_values() {
            let mut staging = Staging::new(&db);
            match member {
                Member::Agent(agent) => {
                    staging.put(key::agent(&agent.name), &Packed::json(&agent)?)?
                }
                Member::NoAgent(name) => staging.remove(&key::agent(&name))?,
                Member::Service(service) => {
                    let key = key::service(&service.name);
                    let known = staging.get::<ServiceRecord>(&key).ok().flatten();
                    if known.is_none_or(|known| known.applied_us != service.applied_us) {
                        staging.put(key, &Packed::json(&service)?)?;
                    }
                }
                Member::NoService(name) => staging.remove(&key::service(&name))?,
                Member::Operator(operator) => {
                    staging.put(key::operator(&operator.name), &Packed::json(&operator)?)?
                }
            }
            self.apply(staging)?;
        }
        Ok(())
    }

    fn mend_acts(&mut self) -> Result<(), StoreError> {
        let db = self.disk.db.clone();
        let mut staging = Staging::new(&db);
        acts::mend_head(&mut staging, &db)?;
        self.apply(staging)
    }

    /// A watermark that was lost is at least the highest sequence that is there, or the agent's repeats
    /// would be counted again.
    fn raise_watermarks(&mut self) -> Result<(), StoreError> {
        let db = self.disk.db.clone();
        let mut highest: BTreeMap<VantageName, u64> = BTreeMap::new();
        for kind in [Kind::Observation, Kind::FailedObservation] {
            for entry in db.range(kind.start()..kind.end()).keys() {
                let observed = entry.map_err(StoreError::database("list observations"))?;
                let Some((id, sequence)) = key::end_of_observation(&observed) else {
                    continue;
                };
                if let Some(series) = self.disk.read::<Series>(&key::series(id))? {
                    let highest = highest.entry(series.vantage).or_default();
                    *highest = sequence.max(*highest);
                }
            }
        }
        let mut staging = Staging::new(&db);
        for (vantage, sequence) in highest.into_iter().filter(|(v, _)| !v.0.is_empty()) {
            let key = key::watermark(&vantage);
            let known: Option<u64> = self.disk.read(&key)?;
            if known.is_none_or(|known| known < sequence) {
                staging.put(key, &Packed::json(&sequence)?)?;
            }
        }
        self.apply(staging)?;
        self.take_for_counted()
    }

    /// Where it is lost how far an agent is counted in the windows, all of it is taken for counted: rather a
    /// minute is missing than hours are counted twice.
    fn take_for_counted(&mut self) -> Result<(), StoreError> {
        let db = self.disk.db.clone();
        let mut staging = Staging::new(&db);
        for entry in db.range(Kind::Watermark.start()..Kind::Watermark.end()) {
            let (watermark, value) = entry.map_err(StoreError::database("list watermarks"))?;
            let counted = Kind::Counted.key(watermark.get(1..).unwrap_or_default());
            if !staging.contains(&counted)? {
                staging.put_raw(counted, value.to_vec());
            }
        }
        self.apply(staging)
    }
}

/// Copies a record with its pieces.
fn stage(
    staging: &mut Staging<'_>,
    old: &sled::Db,
    key: &[u8],
    head: &[u8],
) -> Result<(), StoreError> {
    let further = value::further_pieces(head).map_err(StoreError::damaged(key))?;
    for number in 0..further {
        let piece = key::piece(key, number);
        let value = old.get(&piece).map_err(StoreError::database("read"))?;
        if let Some(value) = value {
            staging.put_raw(piece, value.to_vec());
        }
    }
    staging.put_raw(key.to_vec(), head.to_vec());
    Ok(())
}

/// A key beyond one after which nothing can be read: with each try a larger stretch is left out, up to the
/// whole kind.
fn beyond(key: &[u8], tries: usize) -> Vec<u8> {
    let mut prefix = key[..key.len().saturating_sub(tries).max(1)].to_vec();
    while let Some(last) = prefix.last_mut() {
        if let Some(next) = last.checked_add(1) {
            *last = next;
            break;
        }
        prefix.pop();
    }
    prefix
}

fn beside(dir: &Path, what: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(what);
    dir.with_file_name(name)
}

/// A copy of a store's folder, removed in the end.
struct Copy(PathBuf);

impl Copy {
    fn of(dir: &Path, to: PathBuf) -> Result<Self, StoreError> {
        // A leftover of a kill.
        let _ = fs::remove_dir_all(&to);
        let copy = Self(to);
        copy_folder(dir, &copy.0).map_err(StoreError::io("copy the store"))?;
        Ok(copy)
    }

    fn remove_snapshots(&self) -> Result<(), StoreError> {
        let failed = StoreError::io("remove a snapshot");
        for entry in fs::read_dir(&self.0).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("snap.") {
                fs::remove_file(&path).map_err(&failed)?;
            }
        }
        Ok(())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a copy is left");
        }
    }
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_folder(&entry.path(), &target)?,
            // It holds nothing.
            false if entry.file_name() == "ballast" => {}
            false => drop(fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}
