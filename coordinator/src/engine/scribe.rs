//! Writes down what the engine decides, in order, so that the engine never waits for the disk.

use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::store::{Store, StoreError, Write};

/// Decisions that wait for the disk: a commit takes milliseconds, and rounds close at a few a second;
/// more than this means that the disk is stuck.
const JOBS: usize = 1024;

/// Decisions on their way to the disk at once: one after the other each would wait for a batch of its own.
const TOGETHER: usize = 64;

/// A decision to write down.
pub(super) struct Job {
    /// What changes, together or not at all.
    pub(super) writes: Vec<Write>,
    /// Called when it is on disk, or is not.
    pub(super) then: Box<dyn FnOnce(Result<(), StoreError>) + Send>,
}

/// Where a broken store is told, so that the process ends: the state on disk is known only to the
/// next start.
#[derive(Clone, Debug, Default)]
pub struct Fatal {
    told: CancellationToken,
    what: Arc<OnceLock<String>>,
}

impl Fatal {
    /// Tells of an error, unless it refuses one commit alone.
    pub fn judge(&self, error: &StoreError) {
        if is_final(error) {
            // The first error is the cause of those that follow.
            let _ = self.what.set(error.to_string());
            self.told.cancel();
        }
    }

    /// Waits for the first such error.
    pub async fn wait(&self) -> String {
        self.told.cancelled().await;
        self.what.get().cloned().unwrap_or_default()
    }
}

/// Whether the store can go on after an error.
#[must_use]
fn is_final(error: &StoreError) -> bool {
    match error {
        StoreError::DiskFull { .. }
        | StoreError::TooLarge { .. }
        | StoreError::NoRoundNumber
        | StoreError::TokenUnknown
        | StoreError::TokenUsed
        | StoreError::TokenExpired
        | StoreError::BackupUnderWay
        | StoreError::BackupOutrun
        | StoreError::Encode(_) => false,
        StoreError::Poisoned(_)
        | StoreError::Locked
        | StoreError::Layout { .. }
        | StoreError::Io { .. }
        | StoreError::Gone { .. }
        | StoreError::Lost { .. }
        | StoreError::GaveUp { .. }
        | StoreError::Database { .. }
        | StoreError::Damaged { .. } => true,
    }
}

/// Starts the scribe, which ends when its last sender is gone and all is written.
pub(super) fn start(store: Store, fatal: Fatal) -> (mpsc::Sender<Job>, JoinHandle<()>) {
    let (sender, mut jobs) = mpsc::channel::<Job>(JOBS);
    let task = tokio::spawn(async move {
        let mut batch = Vec::with_capacity(TOGETHER);
        while jobs.recv_many(&mut batch, TOGETHER).await > 0 {
            let (writes, thens): (Vec<_>, Vec<_>) =
                batch.drain(..).map(|job| (job.writes, job.then)).unzip();
            for (done, then) in store.commit_each(writes).await.into_iter().zip(thens) {
                if let Err(error) = &done {
                    tracing::error!(%error, "cannot write down a decision");
                    fatal.judge(error);
                }
                then(done);
            }
        }
    });
    (sender, task)
}
