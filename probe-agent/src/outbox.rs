//! The spool on a thread of its own, so that a slow disk never holds back a probe.
//!
//! Observations, witness reports and traces share one sequence. A record is numbered here, written, and only
//! then offered to the session; it leaves the disk when the coordinator says that it has it.

use std::io;
use std::thread;

use localize::{Observation, Trace, WitnessReport};
use prost::Message as _;
use proto::v1;
use tokio::sync::{mpsc, oneshot, watch};

use crate::spool::{Spool, SpoolError};

/// A record to be numbered and kept. The sequence inside is overwritten.
#[derive(Clone, Debug)]
pub enum Record {
    /// Of a probe.
    Observation(Box<Observation>),
    /// Of the witness.
    Report(Box<WitnessReport>),
    /// Of the way to a target that did not answer.
    Trace(Box<Trace>),
}

/// What the spool holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The number of the newest record; it need not be pending.
    pub newest: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Records dropped because the spool was full, since the data folder was made.
    pub dropped: u64,
}

/// A handle of the spool's thread, which ends when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Outbox {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<State>,
}

/// The spool's thread has ended, which it does only after a panic.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// No answer from the thread.
    #[error("the spool's thread has ended")]
    Ended,
    /// The spool could not be read.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Records, each with its number.
type Numbered = Vec<(u64, Vec<u8>)>;

#[derive(Debug)]
enum Command {
    Keep(Record),
    Acknowledge(u64),
    Welcomed(u64),
    Pending {
        after: u64,
        max: usize,
        reply: oneshot::Sender<Result<Numbered, SpoolError>>,
    },
}

/// A few rounds of thirty arms. Those who bring records wait when it is full: their number is bounded
/// by the rounds in flight.
const QUEUE: usize = 256;

impl Outbox {
    /// Takes over the spool.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(spool: Spool) -> io::Result<(Self, thread::JoinHandle<()>)> {
        let (commands, inbox) = mpsc::channel(QUEUE);
        let (publish, state) = watch::channel(state_of(&spool));
        let thread = thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || run(spool, inbox, &publish))?;
        Ok((Self { commands, state }, thread))
    }

    /// Keeps a record.
    pub async fn keep(&self, record: Record) {
        // Without the thread nothing can be kept; the session ends on its own account.
        let _ = self.commands.send(Command::Keep(record)).await;
    }

    /// Forgets everything up to a sequence.
    pub async fn acknowledge(&self, through: u64) {
        let _ = self.commands.send(Command::Acknowledge(through)).await;
    }

    /// The same at the start of a session, where the coordinator may have less than it had acknowledged.
    pub async fn welcomed(&self, through: u64) {
        let _ = self.commands.send(Command::Welcomed(through)).await;
    }

    /// The next records above a sequence, in order, at most `max`.
    ///
    /// # Errors
    /// When the spool cannot be read.
    pub async fn pending(&self, after: u64, max: usize) -> Result<Numbered, OutboxError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Pending { after, max, reply };
        self.commands
            .send(command)
            .await
            .map_err(|_| OutboxError::Ended)?;
        Ok(answer.await.map_err(|_| OutboxError::Ended)??)
    }

    /// What the spool holds, as it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }
}

fn state_of(spool: &Spool) -> State {
    State {
        newest: spool.next_sequence().saturating_sub(1),
        bytes: spool.bytes(),
        dropped: spool.dropped(),
    }
}

fn run(mut spool: Spool, mut inbox: mpsc::Receiver<Command>, publish: &watch::Sender<State>) {
    while let Some(command) = inbox.blocking_recv() {
        let outcome = match command {
            Command::Keep(record) => {
                let message = numbered(record, spool.next_sequence());
                spool.append(&message.encode_to_vec())
            }
            Command::Acknowledge(through) => spool.acknowledge(through),
            Command::Welcomed(through) => spool.welcomed(through),
            Command::Pending { after, max, reply } => {
                // The session that asked may have ended.
                let _ = reply.send(spool.pending_after(after, max));
                continue;
            }
        };
        if let Err(error) = outcome {
            tracing::error!(%error, "the spool does not take what it should");
        }
        let state = state_of(&spool);
        publish.send_if_modified(|old| std::mem::replace(old, state) != state);
    }
}

fn numbered(record: Record, sequence: u64) -> v1::AgentMessage {
    use v1::agent_message::Message;
    let message = match record {
        Record::Observation(mut observation) => {
            observation.id.sequence = sequence;
            Message::Observation(v1::Observation::from(&*observation))
        }
        Record::Report(mut report) => {
            report.sequence = sequence;
            Message::Report(v1::WitnessReport::from(&*report))
        }
        Record::Trace(mut trace) => {
            trace.sequence = sequence;
            Message::Trace(v1::Trace::from(&*trace))
        }
    };
    v1::AgentMessage {
        message: Some(message),
    }
}
