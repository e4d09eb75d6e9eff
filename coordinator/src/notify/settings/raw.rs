//! The tables of the configuration as they are written, and what makes no sense in them.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use lettre::message::Mailbox;
use proto::words;
use reqwest::Url;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;

use super::{Flaw, Receiver, UNDECIDED};
use crate::notify::channel::email::Protection;
use crate::notify::channel::{Alertmanager, Channel, Email, PagerDuty, Slack, Webhook, pagerduty};
use crate::notify::secret::Reference;
use crate::notify::silence::Maintenance;

/// `[[notify]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawReceiver {
    pub(super) name: String,
    #[serde(default = "all")]
    services: Vec<String>,
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    users_affected: bool,
    webhook: Option<RawWebhook>,
    alertmanager: Option<RawAlertmanager>,
    slack: Option<RawSlack>,
    pagerduty: Option<RawPagerDuty>,
    email: Option<RawEmail>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWebhook {
    url: String,
    secret: Option<String>,
    authorization: Option<String>,
    ca_file: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAlertmanager {
    url: String,
    authorization: Option<String>,
    ca_file: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSlack {
    url: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPagerDuty {
    routing_key: String,
    url: Option<String>,
    ca_file: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEmail {
    server: String,
    #[serde(default)]
    tls: RawProtection,
    from: String,
    to: Vec<String>,
    user: Option<String>,
    password: Option<String>,
    ca_file: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawProtection {
    #[default]
    Starttls,
    Implicit,
    None,
}

/// `[[maintenance]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMaintenance {
    #[serde(default = "all")]
    services: Vec<String>,
    #[serde(default)]
    days: Vec<String>,
    from: String,
    until: String,
    zone: Option<String>,
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

impl RawReceiver {
    pub(super) fn check(self) -> Result<Receiver, Flaw> {
        if self.name.is_empty() || self.name.chars().count() > 64 {
            return Err(Flaw::Name);
        }
        if let Some(odd) = self.kinds.iter().find(|kind| !is_kind(kind)) {
            return Err(Flaw::Kind(odd.clone()));
        }
        let ways = [
            self.webhook.map(RawWebhook::check),
            self.alertmanager.map(RawAlertmanager::check),
            self.slack.map(RawSlack::check),
            self.pagerduty.map(RawPagerDuty::check),
            self.email.map(RawEmail::check),
        ];
        let mut ways = ways.into_iter().flatten();
        let channel = match (ways.next(), ways.next()) {
            (Some(channel), None) => channel?,
            (None, _) | (Some(_), Some(_)) => return Err(Flaw::Channel),
        };
        Ok(Receiver {
            name: self.name,
            services: self.services,
            kinds: self.kinds,
            users_affected: self.users_affected,
            channel,
        })
    }
}

impl RawWebhook {
    fn check(self) -> Result<Channel, Flaw> {
        Ok(Channel::Webhook(Webhook {
            url: address(&self.url)?,
            secret: reference(self.secret)?,
            authorization: reference(self.authorization)?,
            ca_pem: anchors(self.ca_file)?,
        }))
    }
}

impl RawAlertmanager {
    fn check(self) -> Result<Channel, Flaw> {
        Ok(Channel::Alertmanager(Alertmanager {
            url: address(&self.url)?,
            authorization: reference(self.authorization)?,
            ca_pem: anchors(self.ca_file)?,
        }))
    }
}

impl RawSlack {
    fn check(self) -> Result<Channel, Flaw> {
        let url = Reference::parse(&self.url)?;
        Ok(Channel::Slack(Slack { url }))
    }
}

impl RawPagerDuty {
    fn check(self) -> Result<Channel, Flaw> {
        Ok(Channel::PagerDuty(PagerDuty {
            url: address(self.url.as_deref().unwrap_or(pagerduty::EVENTS))?,
            routing_key: Reference::parse(&self.routing_key)?,
            ca_pem: anchors(self.ca_file)?,
        }))
    }
}

impl RawEmail {
    fn check(self) -> Result<Channel, Flaw> {
        let protection = match self.tls {
            RawProtection::Starttls => Protection::StartTls,
            RawProtection::Implicit => Protection::Implicit,
            RawProtection::None => Protection::None,
        };
        let (host, port) = server(&self.server, protection)?;
        let account = match (self.user, self.password) {
            (Some(user), Some(password)) => Some((user, Reference::parse(&password)?)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(Flaw::Account),
        };
        let to: Vec<Mailbox> = self
            .to
            .iter()
            .map(|to| mailbox(to))
            .collect::<Result<_, _>>()?;
        if to.is_empty() {
            return Err(Flaw::Nobody);
        }
        Ok(Channel::Email(Email {
            host,
            port,
            protection,
            from: mailbox(&self.from)?,
            to,
            account,
            ca_pem: anchors(self.ca_file)?,
        }))
    }
}

impl RawMaintenance {
    pub(super) fn check(self) -> Result<Maintenance, Flaw> {
        let zone = self.zone.as_deref().unwrap_or("UTC");
        let days: Vec<Weekday> = self
            .days
            .iter()
            .map(|day| weekday(day))
            .collect::<Result<_, _>>()?;
        let (from, until) = (time(&self.from)?, time(&self.until)?);
        if from == until {
            return Err(Flaw::Empty);
        }
        Ok(Maintenance {
            services: self.services,
            days: match days.is_empty() {
                true => Weekday::Monday.cycle_forward().take(7).collect(),
                false => days,
            },
            from,
            until,
            zone: TimeZone::get(zone).map_err(|_| Flaw::Zone(zone.to_owned()))?,
        })
    }
}

fn is_kind(word: &str) -> bool {
    use localize::Kind;
    let kinds = [
        Kind::Resolver,
        Kind::AuthoritativeDns,
        Kind::Cdn,
        Kind::CdnOriginPath,
        Kind::Origin,
        Kind::LoadBalancer,
        Kind::LbBackendPath,
        Kind::Backend,
        Kind::ReturnPath,
    ];
    word == UNDECIDED || kinds.into_iter().any(|kind| words::kind(kind) == word)
}

fn address(text: &str) -> Result<Url, Flaw> {
    let url: Url = text.parse().map_err(|_| Flaw::Url(text.to_owned()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(Flaw::Url(text.to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Flaw::UserInfo);
    }
    Ok(url)
}

/// Where people find the page, without a slash at its end.
pub(super) fn page_address(text: &str) -> Result<String, Flaw> {
    let url = address(text)?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn reference(text: Option<String>) -> Result<Option<Reference>, Flaw> {
    Ok(text.as_deref().map(Reference::parse).transpose()?)
}

/// The text of a file of trust anchors, of which there must be one at least.
fn anchors(file: Option<String>) -> Result<Option<String>, Flaw> {
    let Some(file) = file else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(&file)
        .map_err(|error| Flaw::Anchors(format!("{file}: {error}")))?;
    match CertificateDer::from_pem_slice(text.as_bytes()) {
        Ok(_) => Ok(Some(text)),
        Err(_) => Err(Flaw::Anchors(format!("{file} holds no certificate"))),
    }
}

fn server(text: &str, protection: Protection) -> Result<(String, u16), Flaw> {
    let odd = || Flaw::Server(text.to_owned());
    let usual = match protection {
        Protection::StartTls => 587,
        Protection::Implicit => 465,
        Protection::None => 25,
    };
    let parsed: Url = format!("smtp://{text}").parse().map_err(|_| odd())?;
    let host = parsed
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or_else(odd)?;
    let bare = !parsed.username().is_empty() || !matches!(parsed.path(), "" | "/");
    if bare {
        return Err(odd());
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    if protection == Protection::None && !is_here {
        return Err(Flaw::Clear(host.to_owned()));
    }
    Ok((host.to_owned(), parsed.port().unwrap_or(usual)))
}

fn mailbox(text: &str) -> Result<Mailbox, Flaw> {
    text.parse().map_err(|_| Flaw::Mailbox(text.to_owned()))
}

fn weekday(text: &str) -> Result<Weekday, Flaw> {
    match text {
        "mon" => Ok(Weekday::Monday),
        "tue" => Ok(Weekday::Tuesday),
        "wed" => Ok(Weekday::Wednesday),
        "thu" => Ok(Weekday::Thursday),
        "fri" => Ok(Weekday::Friday),
        "sat" => Ok(Weekday::Saturday),
        "sun" => Ok(Weekday::Sunday),
        _ => Err(Flaw::Day(text.to_owned())),
    }
}

fn time(text: &str) -> Result<Time, Flaw> {
    text.parse().map_err(|_| Flaw::Time(text.to_owned()))
}
