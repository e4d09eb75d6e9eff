//! The store as one file: written while it is in use, as it stood after one batch, and made into a store
//! again.

mod format;
mod restore;

use std::io;

use super::apply::AUTHORITY;
use super::disk::guarded;
use super::error::StoreError;
use super::key::Kind;
use super::ledger::Ledger;
use super::shared::Shared;
use format::{Encoder, Header};

pub use format::Written;
pub use restore::{Backup, Brought};

/// Records read at a time: no batch goes in meanwhile, for about a millisecond.
const CHUNK: usize = 1024;

/// Key and value, as they lie in the database.
type Record = (Vec<u8>, Vec<u8>);

/// Some of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The next bytes of the file.
    pub content: Vec<u8>,
    /// Records in the file so far ...
    pub records: u64,
    /// ... and in the whole of it.
    pub of: u64,
    /// The whole file, with its last piece.
    pub written: Option<Written>,
}

/// A backup cannot be made a store of.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The operating system refuses.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// It does not begin as one.
    #[error("is no backup of a coordinator: `meshctl backup FILE` writes one")]
    NotOne,
    /// A later version has written it.
    #[error(
        "is a backup of form {format}, written by version {version}, which this version does not know: restore it with that version or a later one"
    )]
    Later {
        /// The form.
        format: u32,
        /// The version that wrote it.
        version: String,
    },
    /// It ends too early.
    #[error(
        "is cut short after {after} bytes, so that nothing was restored from it: fetch it again from where it was whole, or take an earlier one"
    )]
    Cut {
        /// Bytes that were whole.
        after: u64,
    },
    /// It is not as it was written.
    #[error(
        "is damaged ({0}), so that nothing was restored from it: fetch it again from where it was whole, or take an earlier one"
    )]
    Damaged(&'static str),
    /// Its records do not add up.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Hands over the store in pieces as it stands at this instant, until somebody does not `take` one.
pub(super) fn write(
    shared: &Shared,
    now_us: u64,
    take: impl FnMut(Piece) -> bool,
) -> Result<(), StoreError> {
    let ledger = shared.begin_copy()?;
    let copying = Ended(shared);
    let written = guarded("be read", || {
        let authority = shared.get(&Kind::Meta.key(AUTHORITY))?;
        Backing {
            shared,
            of: ledger.counts().iter().map(|(_, count)| count).sum(),
            copied: Ledger::default(),
            records: 0,
            take,
        }
        .run(&Header::new(now_us, authority, ledger))
    });
    drop(copying);
    written
}

/// Ends what is kept for a copy.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        *self.0.copying() = None;
    }
}

/// A backup under way.
struct Backing<'a, T> {
    shared: &'a Shared,
    of: u64,
    copied: Ledger,
    records: u64,
    take: T,
}

impl<T: FnMut(Piece) -> bool> Backing<'_, T> {
    fn run(mut self, header: &Header) -> Result<(), StoreError> {
        let failed = StoreError::io("write a backup");
        let (mut encoder, first) = Encoder::begin(header)?;
        if !self.hand_over(first, None) {
            return Ok(());
        }
        let mut from = Some(Vec::new());
        while let Some(start) = from {
            let (records, next) = chunk(self.shared, start)?;
            for (key, value) in records {
                self.copied.put(&key, &value);
                self.records += 1;
                let full = encoder.add(&key, &value).map_err(&failed)?;
                if full.is_some_and(|block| !self.hand_over(block, None)) {
                    return Ok(());
                }
            }
            from = next;
        }
        let losses = header.ledger.losses(&self.copied);
        if !losses.is_empty() {
            let missing_commits = 0;
            return Err(StoreError::Lost {
                missing_commits,
                losses,
            });
        }
        let (last, written) = encoder.finish().map_err(&failed)?;
        self.hand_over(last, Some(written));
        Ok(())
    }

    fn hand_over(&mut self, content: Vec<u8>, written: Option<Written>) -> bool {
        (self.take)(Piece {
            content,
            records: self.records,
            of: self.of,
            written,
        })
    }
}

/// The records from a key on as they stood when the copy was begun, and from where to go on; the ledger is
/// not among them.
fn chunk(shared: &Shared, from: Vec<u8>) -> Result<(Vec<Record>, Option<Vec<u8>>), StoreError> {
    let still = shared.hold_still();
    let mut records = std::collections::BTreeMap::new();
    for entry in shared.disk.db.range(from..).take(CHUNK) {
        let (key, value) = entry.map_err(StoreError::database("read a record"))?;
        records.insert(key.to_vec(), value.to_vec());
    }
    let last = records.last_key_value().filter(|_| records.len() == CHUNK);
    let next = last.map(|(last, _)| [last.as_slice(), &[0]].concat());
    let mut copying = shared.copying();
    let before = match copying.as_mut() {
        Some(copying) => copying.reach(next.as_deref())?,
        None => return Err(StoreError::BackupOutrun),
    };
    drop((still, copying));
    for (key, value) in before {
        match value {
            Some(value) => records.insert(key, value),
            None => records.remove(&key),
        };
    }
    records.remove(&Ledger::key());
    Ok((records.into_iter().collect(), next))
}
