//! The way to the notifier, and what it may be asked.

use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::desk::Tellings;
use super::settings::Settings;
use super::silence::Silence;
use crate::store::{Act, StoreError};

/// Why something asked of the notifier is not done.
#[derive(Debug, Error)]
pub enum NotifyError {
    /// No silence of that id.
    #[error("there is no silence {0}; `meshctl silences` shows what there is")]
    NoSilence(String),
    /// No receiver of that name.
    #[error(
        "there is no [[notify]] {name:?} in the coordinator's configuration; {}",
        offered(there, "give it one, and send it SIGHUP")
    )]
    NoReceiver {
        /// What was asked for.
        name: String,
        /// Those there are.
        there: Vec<String>,
    },
    /// A silence of a service that there is not.
    #[error(
        "no service matches {name:?}; {}. `meshctl silence --force` makes a silence for one that comes later",
        offered(there, "`meshctl service apply -f FILE` makes one")
    )]
    NoService {
        /// What was asked for.
        name: String,
        /// Those there are.
        there: Vec<String>,
    },
    /// A silence that makes no sense.
    #[error("{0}")]
    Unfit(&'static str),
    /// A trial did not get through.
    #[error("{receiver} was not reached: {cause}")]
    Untold {
        /// The receiver.
        receiver: String,
        /// Why.
        cause: String,
    },
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The coordinator is going down.
    #[error("the coordinator is shutting down")]
    Stopping,
}

/// So many names tell who has mistyped one, and do not fill the screen.
const OFFERED: usize = 12;

/// What there is instead, or what to do where there is nothing.
fn offered(there: &[String], otherwise: &str) -> String {
    let shown = there[..there.len().min(OFFERED)].join(", ");
    match there.len().saturating_sub(OFFERED) {
        _ if there.is_empty() => format!("there is none: {otherwise}"),
        0 => format!("there is {shown}"),
        more => format!("there is {shown} and {more} more"),
    }
}

/// A silence that an operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilenceWish {
    /// The service's name; `*` stands for any text.
    pub service: String,
    /// From when, in microseconds of mesh time; at once when zero.
    pub from_us: u64,
    /// For so long.
    pub length: Duration,
    /// Why.
    pub because: String,
    /// The operator.
    pub by: String,
    /// It is refused when no service has such a name by now.
    pub must_match: bool,
}

/// What was told since the start, and what is still to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By receiver.
    pub tellings: Vec<(String, Tellings)>,
    /// Messages that have not got through yet.
    pub pending: usize,
    /// Silences that count.
    pub silences: usize,
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, NotifyError>>;

/// What the notifier is asked.
#[derive(Debug)]
pub(super) enum Request {
    Silence(SilenceWish, Act, Reply<Silence>),
    Silences(Reply<Vec<Silence>>),
    Unsilence(String, Act, Reply<()>),
    Trial(String, Reply<()>),
    Tally(Reply<Tally>),
    Page(Reply<Option<String>>),
    Reconfigure(Settings),
}

/// The way to the notifier. Cloning is cheap.
#[derive(Clone)]
pub struct Handle(pub(super) mpsc::Sender<Request>);

impl Handle {
    /// Nobody is told what concerns a service for so long; the act is on disk together with that.
    ///
    /// # Errors
    /// When the wish makes no sense, or cannot be written down.
    pub async fn silence(&self, wish: SilenceWish, act: Act) -> Result<Silence, NotifyError> {
        self.ask(|reply| Request::Silence(wish, act, reply)).await
    }

    /// Silences that count or will, by the instants of their ends.
    ///
    /// # Errors
    /// When the coordinator goes down.
    pub async fn silences(&self) -> Result<Vec<Silence>, NotifyError> {
        self.ask(Request::Silences).await
    }

    /// Ends a silence, likewise.
    ///
    /// # Errors
    /// When there is none, or that cannot be written down.
    pub async fn unsilence(&self, id: String, act: Act) -> Result<(), NotifyError> {
        self.ask(|reply| Request::Unsilence(id, act, reply)).await
    }

    /// Sends a receiver a message that says that nothing is wrong.
    ///
    /// # Errors
    /// When it does not get through.
    pub async fn trial(&self, receiver: String) -> Result<(), NotifyError> {
        self.ask(|reply| Request::Trial(receiver, reply)).await
    }

    /// What was told since the start.
    ///
    /// # Errors
    /// When the coordinator goes down.
    pub async fn tally(&self) -> Result<Tally, NotifyError> {
        self.ask(Request::Tally).await
    }

    /// Where people find the web face, without a slash at its end.
    ///
    /// # Errors
    /// When the coordinator goes down.
    pub async fn page(&self) -> Result<Option<String>, NotifyError> {
        self.ask(Request::Page).await
    }

    /// Takes over a configuration that was read again.
    pub async fn reconfigure(&self, settings: Settings) {
        // It goes down with everything else.
        let _ = self.0.send(Request::Reconfigure(settings)).await;
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, NotifyError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.0.send(request(reply)).await;
        sent.map_err(|_| NotifyError::Stopping)?;
        answer.await.unwrap_or(Err(NotifyError::Stopping))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_mistypes_a_name_learns_those_there_are() {
        let names = |count: usize| (1..=count).map(|n| format!("r{n}")).collect::<Vec<_>>();
        let rows = [
            (0, "there is none: make one"),
            (2, "there is r1, r2"),
            (
                14,
                "there is r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12 and 2 more",
            ),
        ];
        for (count, expected) in rows {
            assert_eq!(offered(&names(count), "make one"), expected);
        }
    }
}
