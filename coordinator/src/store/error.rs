//! Why the store could not do what it was asked.

use super::ledger::Loss;
use super::value::ValueError;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An earlier error left the disk in an unknown state; the process must end and start again.
    #[error("the store has stopped: {0}")]
    Poisoned(String),
    /// Free space is below the low-water mark; nothing was written, and the same commit may succeed
    /// once there is room.
    #[error("the disk is full: {free_bytes} bytes free, {needed_bytes} needed")]
    DiskFull {
        /// Bytes free for this process.
        free_bytes: u64,
        /// Bytes that must be free.
        needed_bytes: u64,
    },
    /// Another process has the folder open.
    #[error("another process uses the data folder")]
    Locked,
    /// The folder was written by a later version.
    #[error(
        "the data folder has layout {found}; this version knows {}",
        super::LAYOUT
    )]
    Layout {
        /// The layout's number on disk.
        found: u64,
    },
    /// More in one commit than [`super::MAX_WRITES`], or a longer case than [`super::MAX_CASE_BYTES`].
    #[error("too large to be stored at once: {what}")]
    TooLarge {
        /// Which bound was passed.
        what: &'static str,
    },
    /// No round number is in reserve: the disk is full, or the writer is far behind.
    #[error("no round number is in reserve")]
    NoRoundNumber,
    /// The token of a [`super::Write::BurnToken`] does not exist.
    #[error("unknown token")]
    TokenUnknown,
    /// The token of a [`super::Write::BurnToken`] was used before.
    #[error("the token has been used")]
    TokenUsed,
    /// The token of a [`super::Write::BurnToken`] has expired.
    #[error("the token has expired")]
    TokenExpired,
    /// The operating system refused.
    #[error("cannot {operation}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The database refused.
    #[error("cannot {operation}: {source}")]
    Database {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: sled::Error,
    },
    /// A value on disk is damaged.
    #[error("the value of key {key} is damaged: {source}")]
    Damaged {
        /// The key in hexadecimal.
        key: String,
        /// What is wrong with the value.
        source: ValueError,
    },
    /// The database's file is not there although batches were written to it.
    #[error("the database is gone, to which {commits} batches were written")]
    Gone {
        /// So many.
        commits: u64,
    },
    /// The database does not hold what was written to it.
    #[error("the database is damaged: {}", said(*.missing_commits, .losses))]
    Lost {
        /// Batches at the end that are missing.
        missing_commits: u64,
        /// What does not add up.
        losses: Vec<Loss>,
    },
    /// The database's code has given up.
    #[error("the database is damaged: it cannot {operation} ({said})")]
    GaveUp {
        /// What was tried.
        operation: &'static str,
        /// What it said.
        said: String,
    },
    /// One backup at a time: each keeps in memory what is changed meanwhile.
    #[error("another backup is being taken; wait for it to end")]
    BackupUnderWay,
    /// The backup was read too slowly for what changes meanwhile.
    #[error(
        "the backup was given up, since more has changed while it was read than can be kept for it: take it where the link to the coordinator is faster, or when there is less to do"
    )]
    BackupOutrun,
    /// A record cannot be written as JSON.
    #[error("cannot encode a record: {0}")]
    Encode(#[from] serde_json::Error),
}

fn said(missing_commits: u64, losses: &[Loss]) -> String {
    let end = (missing_commits > 0).then(|| {
        format!("the last {missing_commits} of the batches that were acknowledged are missing")
    });
    let losses = losses.iter().map(ToString::to_string);
    end.into_iter().chain(losses).collect::<Vec<_>>().join("; ")
}

impl StoreError {
    /// Whether the database is damaged, so that repairing it may help.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Gone { .. } | Self::Lost { .. } | Self::GaveUp { .. } | Self::Damaged { .. } => {
                true
            }
            Self::Database { source, .. } => {
                matches!(
                    source,
                    sled::Error::Corruption { .. } | sled::Error::ReportableBug(_)
                )
            }
            Self::Poisoned(_)
            | Self::DiskFull { .. }
            | Self::Locked
            | Self::Layout { .. }
            | Self::TooLarge { .. }
            | Self::NoRoundNumber
            | Self::TokenUnknown
            | Self::TokenUsed
            | Self::TokenExpired
            | Self::BackupUnderWay
            | Self::BackupOutrun
            | Self::Io { .. }
            | Self::Encode(_) => false,
        }
    }

    /// For `map_err` on an operating system's call.
    pub(super) fn io<E: Into<std::io::Error>>(operation: &'static str) -> impl Fn(E) -> Self {
        // `Fn` and not `FnOnce`: the same closure serves a loop.
        move |source| Self::Io {
            operation,
            source: source.into(),
        }
    }

    /// For `map_err` on a database's call.
    pub(super) fn database(operation: &'static str) -> impl Fn(sled::Error) -> Self {
        move |source| Self::Database { operation, source }
    }

    /// For `map_err` on the decoding of a value.
    pub(super) fn damaged(key: &[u8]) -> impl Fn(ValueError) -> Self {
        move |source| Self::Damaged {
            key: hex::encode(key),
            source,
        }
    }
}
