//! The one thread that writes: it gathers the commits that wait, applies them as one batch, and
//! answers when the batch is on disk. What was decided goes before what was observed: somebody waits for
//! a decision, and facts wait in spools.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::apply::{Prepared, Stage};
use super::error::StoreError;
use super::retention;
use super::shared::Shared;

/// Records in one batch. Commits are never parted, so a batch may pass it by the last one. Larger
/// batches gain nothing: syncing 512 records takes as long as encoding them.
const GROUP_RECORDS: usize = 512;

/// What the writer is asked for.
pub(super) enum Command {
    Commit {
        writes: Vec<Prepared>,
        reply: Reply<()>,
    },
    /// Forget what has aged out.
    Retain { now_us: u64, reply: Reply<bool> },
    /// Keep round numbers in reserve.
    ReserveRounds,
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// The ways to the writer.
#[derive(Clone)]
pub(super) struct Lanes {
    /// For what was decided: a few commits at a time.
    pub(super) decisions: mpsc::Sender<Command>,
    /// For facts.
    pub(super) facts: mpsc::Sender<Command>,
}

/// The writer's ends of them.
pub(super) struct Waiting {
    decisions: mpsc::Receiver<Command>,
    facts: mpsc::Receiver<Command>,
}

/// Two lanes, each for so many commands that wait.
pub(super) fn lanes(waiting: usize) -> (Lanes, Waiting) {
    let (to_decisions, decisions) = mpsc::channel(waiting);
    let (to_facts, facts) = mpsc::channel(waiting);
    let lanes = Lanes {
        decisions: to_decisions,
        facts: to_facts,
    };
    (lanes, Waiting { decisions, facts })
}

impl Waiting {
    /// The next command; `None` when every sender is gone.
    async fn next(&mut self) -> Option<Command> {
        tokio::select! {
            biased;
            Some(command) = self.decisions.recv() => Some(command),
            Some(command) = self.facts.recv() => Some(command),
            else => None,
        }
    }

    /// Another one that waits already.
    fn another(&mut self) -> Option<Command> {
        let decision = self.decisions.try_recv();
        decision.or_else(|_| self.facts.try_recv()).ok()
    }
}

/// Runs until every sender is gone.
///
/// There is no waiting for a group to fill: while one batch is being synced the next one gathers.
pub(super) fn run(shared: &Arc<Shared>, runtime: &Runtime, mut waiting: Waiting) {
    while let Some(first) = runtime.block_on(waiting.next()) {
        let mut group = Group::default();
        group.add(first);
        while group.records < GROUP_RECORDS {
            match waiting.another() {
                Some(next) => group.add(next),
                None => break,
            }
        }
        group.carry_out(shared);
    }
}

#[derive(Default)]
struct Group {
    records: usize,
    commits: Vec<(Vec<Prepared>, Reply<()>)>,
    retain: Vec<(u64, Reply<bool>)>,
    reserve_rounds: bool,
}

impl Group {
    fn add(&mut self, command: Command) {
        match command {
            Command::Commit { writes, reply } => {
                self.records += writes.len();
                self.commits.push((writes, reply));
            }
            Command::Retain { now_us, reply } => {
                self.records += 1;
                self.retain.push((now_us, reply));
            }
            Command::ReserveRounds => self.reserve_rounds = true,
        }
    }

    /// Commits first: agents wait for them.
    fn carry_out(self, shared: &Shared) {
        commit(shared, self.commits);
        if self.reserve_rounds {
            // Without room no number is handed out, which tells the caller.
            if let Err(error) = unless_stopped(shared, || shared.reserve_rounds()) {
                tracing::error!(%error, "no round numbers");
            }
        }
        for (now_us, reply) in self.retain {
            let more = unless_stopped(shared, || retention::sweep(shared, now_us));
            // The caller may have gone; the work is done all the same.
            let _ = reply.send(more);
        }
    }
}

/// Stores a group of commits, each whole or not at all, and answers them.
fn commit(shared: &Shared, commits: Vec<(Vec<Prepared>, Reply<()>)>) {
    if commits.is_empty() {
        return;
    }
    let mut stage = Stage::new(shared);
    let mut waiting = Vec::with_capacity(commits.len());
    let mut result = unless_stopped(shared, || shared.disk.check_space(1.0));
    for (writes, reply) in commits {
        if result.is_ok() {
            if let Err(refusal) = stage.admit(&writes) {
                // The caller may have gone, here as below; it learns from the store what happened.
                let _ = reply.send(Err(refusal));
                continue;
            }
            let mut writes = writes.into_iter();
            result = unless_stopped(shared, || writes.try_for_each(|write| stage.write(write)));
        }
        waiting.push(reply);
    }
    let result = result.and_then(|()| unless_stopped(shared, || shared.carry_out(stage.finish()?)));
    for reply in waiting {
        let _ = reply.send(match &result {
            Ok(()) => Ok(()),
            Err(error) => Err(told_again(error)),
        });
    }
}

/// Does the work unless the store has stopped, and stops it when the work fails for any other reason
/// than want of space, which is seen before anything is touched.
fn unless_stopped<T>(
    shared: &Shared,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if let Some(trouble) = shared.trouble() {
        return Err(StoreError::Poisoned(trouble.clone()));
    }
    match work() {
        Ok(done) => Ok(done),
        Err(full @ StoreError::DiskFull { .. }) => Err(full),
        Err(error) => {
            tracing::error!(%error, "the store stops");
            Err(shared.poison(&error))
        }
    }
}

/// The same error for another commit of the group.
fn told_again(error: &StoreError) -> StoreError {
    if let StoreError::DiskFull {
        free_bytes,
        needed_bytes,
    } = *error
    {
        StoreError::DiskFull {
            free_bytes,
            needed_bytes,
        }
    } else if let StoreError::Poisoned(trouble) = error {
        StoreError::Poisoned(trouble.clone())
    } else {
        StoreError::Poisoned(error.to_string())
    }
}
