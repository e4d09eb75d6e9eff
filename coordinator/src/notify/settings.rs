//! Whom the configuration wants to be told, and when nobody is: `[[notify]]`, `[[maintenance]]`,
//! `notify_after` and `external_url`.

mod raw;
#[cfg(test)]
mod tests;

use std::time::Duration;

use thiserror::Error;

use super::channel::Channel;
use super::incident::{About, Incident};
use super::secret::SecretError;
use super::silence::{Maintenance, matches};
use raw::page_address;
pub use raw::{RawMaintenance, RawReceiver};

/// Most receivers: beyond that a program of the operator's own had better hand messages on.
const RECEIVERS: usize = 64;
/// Most windows of maintenance.
const WINDOWS: usize = 256;

/// Something in the configuration makes no sense.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// Of a receiver.
    #[error("notify {name:?}: {flaw}")]
    Receiver {
        /// Its place among them, from 0.
        at: usize,
        /// Its name.
        name: String,
        /// What.
        flaw: Flaw,
    },
    /// Of a window of maintenance.
    #[error("maintenance: {flaw}")]
    Maintenance {
        /// Its place among them, from 0.
        at: usize,
        /// What.
        flaw: Flaw,
    },
    /// The page's address.
    #[error("external_url: {0}")]
    Page(Flaw),
    /// There are too many.
    #[error(
        "there are more than {} receivers or {} windows of maintenance",
        RECEIVERS,
        WINDOWS
    )]
    TooMany,
}

/// What makes no sense.
#[derive(Debug, Error)]
pub enum Flaw {
    /// No name, or a long one.
    #[error("a name has 1 to 64 characters")]
    Name,
    /// Two of one name.
    #[error("there are two of this name")]
    Twice,
    /// None of the channels, or several.
    #[error("it is told in one way: webhook, alertmanager, slack, pagerduty or email")]
    Channel,
    /// No such kind.
    #[error("{0:?} is no kind of component; `undecided` is what nobody knows")]
    Kind(String),
    /// No address.
    #[error("{0:?} is no http or https address")]
    Url(String),
    /// An address that holds a password.
    #[error("an address holds no user and no password: `authorization` says where they are")]
    UserInfo,
    /// Not a secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// No mailbox.
    #[error("{0:?} is no mail address")]
    Mailbox(String),
    /// Nobody gets the mail.
    #[error("`to` names nobody")]
    Nobody,
    /// No mail server.
    #[error("{0:?} is no mail server: write HOST or HOST:PORT")]
    Server(String),
    /// Mail in the clear over a network.
    #[error("without TLS mail goes to a server on this host alone, and {0:?} is not on loopback")]
    Clear(String),
    /// A user without a password, or the other way round.
    #[error("`user` and `password` go together")]
    Account,
    /// The trust anchors.
    #[error("ca_file {0}")]
    Anchors(String),
    /// No day.
    #[error("{0:?} is no day: mon, tue, wed, thu, fri, sat, sun")]
    Day(String),
    /// No time.
    #[error("{0:?} is no time of the day, as in \"02:30\"")]
    Time(String),
    /// No zone.
    #[error("{0:?} is no time zone that this host knows, as in \"Europe/Berlin\" or \"UTC\"")]
    Zone(String),
    /// It lasts no time.
    #[error("it ends when it begins")]
    Empty,
}

/// Whom to tell, and in which way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Its name.
    pub name: String,
    /// Of which services, `*` for any text.
    services: Vec<String>,
    /// Of which kinds of component; all when empty.
    kinds: Vec<String>,
    /// Of what users feel alone.
    users_affected: bool,
    /// The way.
    pub channel: Channel,
}

impl Receiver {
    /// Whether it is to be told of an incident.
    #[must_use]
    pub fn wants(&self, incident: &Incident) -> bool {
        let kind = match &incident.about {
            About::Fault { kind, .. } => kind,
            About::Undecided { .. } => UNDECIDED,
        };
        let services = incident.services();
        let concerns = |pattern: &String| services.iter().any(|name| matches(pattern, name));
        self.services.iter().any(concerns)
            && (self.kinds.is_empty() || self.kinds.iter().any(|known| known == kind))
            && (incident.user_impact || !self.users_affected)
    }
}

/// The word for what nobody knows, in the place of a kind.
const UNDECIDED: &str = "undecided";

/// All of it, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where people find the web face, without a slash at its end.
    pub page: Option<String>,
    /// Nobody is told of what is over within this.
    pub wait: Duration,
    /// Whom to tell.
    pub receivers: Vec<Receiver>,
    /// When nobody is.
    pub maintenance: Vec<Maintenance>,
}

impl Settings {
    /// A receiver by its name.
    #[must_use]
    pub fn receiver(&self, name: &str) -> Option<&Receiver> {
        self.receivers.iter().find(|receiver| receiver.name == name)
    }

    /// As the file has it.
    ///
    /// # Errors
    /// When something makes no sense; the text names it.
    pub fn new(
        page: Option<&str>,
        wait: Duration,
        receivers: Vec<RawReceiver>,
        windows: Vec<RawMaintenance>,
    ) -> Result<Self, SettingsError> {
        if receivers.len() > RECEIVERS || windows.len() > WINDOWS {
            return Err(SettingsError::TooMany);
        }
        let mut settings = Self {
            page: page
                .map(page_address)
                .transpose()
                .map_err(SettingsError::Page)?,
            wait,
            ..Self::default()
        };
        for (at, raw) in receivers.into_iter().enumerate() {
            let name = raw.name.clone();
            let known = settings.receiver(&name).is_some();
            let receiver = match known {
                true => Err(Flaw::Twice),
                false => raw.check(),
            };
            let receiver = receiver.map_err(|flaw| SettingsError::Receiver { at, name, flaw })?;
            settings.receivers.push(receiver);
        }
        for (at, raw) in windows.into_iter().enumerate() {
            let window = raw.check();
            let window = window.map_err(|flaw| SettingsError::Maintenance { at, flaw })?;
            settings.maintenance.push(window);
        }
        Ok(settings)
    }
}
