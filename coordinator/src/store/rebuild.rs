//! A store that is made from the records of another one: by a repair, or from a backup.

use std::path::Path;

use super::SpaceLimits;
use super::disk::Disk;
use super::error::StoreError;
use super::key::Kind;
use super::ledger::Ledger;
use super::mark::Mark;
use super::staging::Staging;
use super::value::Packed;

/// A store under way.
pub(super) struct Rebuild {
    pub(super) disk: Disk,
    mark: Mark,
    ledger: Ledger,
}

impl Rebuild {
    /// Begins an empty store in a folder, made when missing.
    pub(super) fn begin(dir: &Path) -> Result<Self, StoreError> {
        let (disk, mark, _) = Disk::open(dir, no_limits())?;
        Ok(Self {
            disk,
            mark,
            ledger: Ledger::default(),
        })
    }

    /// Applies changes durably.
    pub(super) fn apply(&mut self, staging: Staging<'_>) -> Result<(), StoreError> {
        if staging.is_empty() {
            return Ok(());
        }
        let (batch, ledger) = staging.into_batch(&self.ledger, |_, _| {})?;
        self.disk.apply(batch)?;
        self.disk.sync()?;
        self.ledger = ledger;
        Ok(())
    }

    /// Leaves out so many round numbers, since those that the records do not know of may have been given.
    pub(super) fn skip_rounds(&mut self, skipped: u64) -> Result<(), StoreError> {
        let key = Kind::Meta.key(b"rounds");
        let rounds: u64 = self.disk.read(&key)?.unwrap_or(1);
        let db = self.disk.db.clone();
        let mut staging = Staging::new(&db);
        staging.put(key, &Packed::json(&rounds.saturating_add(skipped))?)?;
        self.apply(staging)
    }

    /// Ends it: how many records there are, by kind in words.
    pub(super) fn finish(self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        self.mark.raise(self.ledger.commits)?;
        self.mark.sync()?;
        Ok(self.ledger.counts())
    }
}

/// Nothing is refused for want of space here but by the disk itself.
pub(super) fn no_limits() -> SpaceLimits {
    SpaceLimits {
        low_water: 0,
        ballast: 0,
    }
}
