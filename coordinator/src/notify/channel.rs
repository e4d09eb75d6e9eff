//! The ways on which people are told, one file each: a message becomes that channel's form, and is sent.

pub mod alertmanager;
pub mod email;
pub mod pagerduty;
mod post;
pub mod slack;
pub mod webhook;

use std::time::Duration;

use thiserror::Error;

pub use self::alertmanager::Alertmanager;
pub use self::email::Email;
pub use self::pagerduty::PagerDuty;
pub use self::slack::Slack;
pub use self::webhook::Webhook;
use super::message::Message;
use super::secret::SecretError;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a message did not get through.
#[derive(Debug, Error)]
pub enum TellError {
    /// Its secret is not to be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The address in a secret is none.
    #[error("what {0} holds is no http or https address")]
    Address(String),
    /// The request could not be made, or nothing came back.
    #[error("{0}")]
    Http(String),
    /// The receiver answered, and does not take it.
    #[error("it answers {status}{}{said}", colon(said))]
    Refused {
        /// With this status of HTTP.
        status: u16,
        /// The beginning of what it said.
        said: String,
    },
    /// The mail server does not take it, or is not there.
    #[error("{0}")]
    Mail(String),
}

fn colon(said: &str) -> &'static str {
    match said {
        "" => "",
        _ => ": ",
    }
}

/// A way to tell somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// An HTTP endpoint of the operator's own.
    Webhook(Webhook),
    /// Prometheus' Alertmanager.
    Alertmanager(Alertmanager),
    /// An incoming webhook of Slack.
    Slack(Slack),
    /// PagerDuty.
    PagerDuty(PagerDuty),
    /// Electronic mail.
    Email(Email),
}

impl Channel {
    /// Tells it, and returns when the other side has taken it. `now_us` is mesh time.
    ///
    /// # Errors
    /// When it did not get through; it may have been taken all the same, if only the answer was lost.
    pub async fn tell(&self, message: &Message, now_us: u64) -> Result<(), TellError> {
        match self {
            Self::Webhook(webhook) => webhook.tell(message, now_us).await,
            Self::Alertmanager(alertmanager) => alertmanager.tell(message, now_us).await,
            Self::Slack(slack) => slack.tell(message).await,
            Self::PagerDuty(pagerduty) => pagerduty.tell(message).await,
            Self::Email(email) => email.tell(message).await,
        }
    }

    /// Whether the other side forgets what it is not told again and again.
    #[must_use]
    pub const fn forgets(&self) -> bool {
        match self {
            Self::Alertmanager(_) => true,
            Self::Webhook(_) | Self::Slack(_) | Self::PagerDuty(_) | Self::Email(_) => false,
        }
    }

    /// Its word, as in the configuration.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Alertmanager(_) => "alertmanager",
            Self::Slack(_) => "slack",
            Self::PagerDuty(_) => "pagerduty",
            Self::Email(_) => "email",
        }
    }
}
