//! What the coordinator is told when it starts: flags, and a file that the flags win over.

mod lines;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use self::lines::{Step, line_of};
use crate::notify::settings::{RawMaintenance, RawReceiver, Settings, SettingsError};
use crate::web;

/// Where the coordinator listens unless told otherwise.
const DEFAULT_LISTEN: &str = "0.0.0.0:7443";
/// Lifetime of an agent's certificate: a stolen one is worth a day.
const DEFAULT_AGENT: Duration = Duration::from_secs(24 * 3600);
/// Lifetime of the server's certificate, which is renewed in process.
const DEFAULT_SERVER: Duration = Duration::from_secs(7 * 24 * 3600);
/// Lifetime of the first operator's certificate, which lies in a file.
const DEFAULT_OPERATOR: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long after its end an agent's certificate may be renewed: a month without a coordinator, or of a
/// laptop in a drawer.
const DEFAULT_GRACE: Duration = Duration::from_secs(30 * 24 * 3600);
/// What is over within this is told nobody: an alarm that a better verdict replaces at once.
const DEFAULT_NOTIFY_AFTER: Duration = Duration::from_secs(10);
/// The shortest lifetime: below that a certificate ends while it is being fetched.
const SHORTEST: Duration = Duration::from_secs(2);
/// The longest lifetime.
const LONGEST: Duration = Duration::from_secs(5 * 365 * 24 * 3600);

/// The configuration is not usable.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line of the file is not what it should be.
    #[error("{}:{line}: {cause}", path.display())]
    At {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        cause: Box<ConfigError>,
    },
    /// The file is not TOML, or has a field that there is not.
    #[error("{0}")]
    File(String),
    /// Whom to tell, or when not, makes no sense.
    #[error(transparent)]
    Notify(#[from] SettingsError),
    /// A value of flag or file is not usable.
    #[error("{field}: {reason}")]
    Value {
        /// Flag or field.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl ConfigError {
    /// Says where in the file it is, unless a flag was meant.
    fn located(self, file: &Path, text: &str, is_flag: impl Fn(&str) -> bool) -> Self {
        let (line, cause) = match self {
            Self::At { line, cause, .. } => (Some(line), cause),
            Self::Value { field, reason } if !is_flag(field) => {
                let steps: Vec<Step> = field.split('.').map(Step::Key).collect();
                let cause = Self::Value { field, reason };
                (line_of(text, &steps), Box::new(cause))
            }
            Self::Notify(error) => (line_of(text, &steps_to(&error)), Box::new(error.into())),
            Self::File(reason) => (Some(1), Box::new(Self::File(reason))),
            Self::Value { .. } | Self::Read { .. } => return self,
        };
        match line {
            None => *cause,
            Some(line) => Self::At {
                path: file.to_owned(),
                line,
                cause,
            },
        }
    }
}

/// The way to what makes no sense, from the file's top.
fn steps_to(error: &SettingsError) -> Vec<Step<'static>> {
    match error {
        SettingsError::Receiver { at, .. } => vec![Step::Key("notify"), Step::At(*at)],
        SettingsError::Maintenance { at, .. } => vec![Step::Key("maintenance"), Step::At(*at)],
        SettingsError::Page(_) => vec![Step::Key("external_url")],
        SettingsError::TooMany => vec![Step::Key("notify")],
    }
}

/// Lifetimes of the certificates that the coordinator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of agents'; they renew at half of it.
    pub agent: Duration,
    /// Of its own; renewed in process at half of it.
    pub server: Duration,
    /// Of the operator's in `admin.toml`.
    pub operator: Duration,
    /// How long after its end an agent's certificate may still be renewed.
    pub grace: Duration,
}

/// The configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Folder of authority, store and `admin.toml`.
    pub data_dir: PathBuf,
    /// Where to listen; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// Where the web face listens, on loopback; nowhere unless asked for.
    pub web: Option<SocketAddr>,
    /// `HOST:PORT` as agents and operators reach the coordinator; empty when nobody said.
    pub advertise: Vec<String>,
    /// Lifetimes of certificates.
    pub lifetimes: Lifetimes,
    /// Whom to tell of what the watch raises.
    pub notify: Settings,
}

/// The file of `--config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<String>,
    web: Option<String>,
    #[serde(default)]
    advertise: Vec<String>,
    #[serde(default)]
    certificates: Certificates,
    external_url: Option<String>,
    notify_after: Option<String>,
    #[serde(default)]
    notify: Vec<RawReceiver>,
    #[serde(default)]
    maintenance: Vec<RawMaintenance>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Certificates {
    agent: Option<String>,
    server: Option<String>,
    operator: Option<String>,
    grace: Option<String>,
}

impl Config {
    /// Puts flags and file together; what a flag says wins.
    ///
    /// # Errors
    /// When the file cannot be read or has an unknown field, or a value makes no sense.
    pub fn new(
        data_dir: PathBuf,
        listen: Option<String>,
        web: Option<String>,
        advertise: Vec<String>,
        file: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let Some(path) = file else {
            return Self::of(data_dir, listen, web, advertise, File::default());
        };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let flags = [
            ("listen", listen.is_some()),
            ("web", web.is_some()),
            ("advertise", !advertise.is_empty()),
        ];
        let is_flag = |field: &str| flags.contains(&(field, true));
        parse(&text)
            .and_then(|file| Self::of(data_dir, listen, web, advertise, file))
            .map_err(|error| error.located(path, &text, is_flag))
    }

    fn of(
        data_dir: PathBuf,
        listen: Option<String>,
        web: Option<String>,
        advertise: Vec<String>,
        file: File,
    ) -> Result<Self, ConfigError> {
        let listen = listen
            .or(file.listen)
            .unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
        let advertise = if advertise.is_empty() {
            file.advertise
        } else {
            advertise
        };
        for address in &advertise {
            check_address(address)?;
        }
        let times = &file.certificates;
        let after = file.notify_after.as_deref();
        let after = after.map_or(Ok(DEFAULT_NOTIFY_AFTER), |text| {
            length("notify_after", text)
        })?;
        let page = file.external_url.as_deref();
        let notify = Settings::new(page, after, file.notify, file.maintenance)?;
        Ok(Self {
            data_dir,
            listen: listen.parse().map_err(|_| ConfigError::Value {
                field: "listen",
                reason: format!("{listen:?} is not ADDRESS:PORT, as in 0.0.0.0:7443"),
            })?,
            web: web.or(file.web).as_deref().map(web_address).transpose()?,
            advertise,
            lifetimes: Lifetimes {
                agent: lifetime("certificates.agent", times.agent.as_deref(), DEFAULT_AGENT)?,
                server: lifetime(
                    "certificates.server",
                    times.server.as_deref(),
                    DEFAULT_SERVER,
                )?,
                operator: lifetime(
                    "certificates.operator",
                    times.operator.as_deref(),
                    DEFAULT_OPERATOR,
                )?,
                grace: grace(times.grace.as_deref())?,
            },
            notify,
        })
    }

    /// The addresses that join tokens and `admin.toml` carry, best first.
    ///
    /// What `advertise` says, else the address listened on; where that is every address, the host's
    /// `own` ones and 127.0.0.1 last, for agents on the same host.
    #[must_use]
    pub fn addresses(&self, bound: SocketAddr, own: &[IpAddr]) -> Vec<String> {
        if !self.advertise.is_empty() {
            return self.advertise.clone();
        }
        if !bound.ip().is_unspecified() {
            return vec![bound.to_string()];
        }
        let wanted = |ip: &&IpAddr| !ip.is_loopback() && (bound.is_ipv6() || ip.is_ipv4());
        let mut addresses: Vec<String> = own
            .iter()
            .filter(wanted)
            .map(|ip| SocketAddr::new(*ip, bound.port()).to_string())
            .collect();
        addresses.push(format!("127.0.0.1:{}", bound.port()));
        addresses
    }
}

fn parse(text: &str) -> Result<File, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| lines::at(text, span.start));
        let cause = ConfigError::File(error.message().to_owned());
        match line {
            None => cause,
            // The path is known to whoever has the file.
            Some(line) => ConfigError::At {
                path: PathBuf::new(),
                line,
                cause: Box::new(cause),
            },
        }
    })
}

/// Whoever reaches the web face needs no password, so nobody else's host may.
fn web_address(text: &str) -> Result<SocketAddr, ConfigError> {
    let refused = |reason: String| ConfigError::Value {
        field: "web",
        reason,
    };
    let address: SocketAddr = text.parse().map_err(|_| {
        refused(format!(
            "{text:?} is not ADDRESS:PORT, as in 127.0.0.1:7480"
        ))
    })?;
    if !web::may_listen(address) {
        return Err(refused(format!(
            "{address} is not a loopback address, and the web face asks nobody who he is: listen on 127.0.0.1:{port}, \
             and reach it from elsewhere by a tunnel (ssh -L {port}:127.0.0.1:{port} HOST) or through a proxy that does",
            port = address.port()
        )));
    }
    Ok(address)
}

fn check_address(address: &str) -> Result<(), ConfigError> {
    let refused = |reason: String| ConfigError::Value {
        field: "advertise",
        reason,
    };
    let (host, port) = address
        .rsplit_once(':')
        .ok_or_else(|| refused(format!("{address:?} has no port; write HOST:PORT")))?;
    if host.is_empty() || port.parse::<u16>().map_or(true, |port| port == 0) {
        return Err(refused(format!("{address:?} is not HOST:PORT")));
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        return Err(refused(format!(
            "{address:?} is no address that an agent could dial"
        )));
    }
    Ok(())
}

fn lifetime(
    field: &'static str,
    text: Option<&str>,
    default: Duration,
) -> Result<Duration, ConfigError> {
    let Some(text) = text else {
        return Ok(default);
    };
    let length = length(field, text)?;
    if length < SHORTEST || length > LONGEST {
        let reason = format!("{text:?} is not between 2s and 5 years");
        return Err(ConfigError::Value { field, reason });
    }
    Ok(length)
}

fn grace(text: Option<&str>) -> Result<Duration, ConfigError> {
    let field = "certificates.grace";
    let grace = text.map_or(Ok(DEFAULT_GRACE), |text| length(field, text))?;
    if grace > LONGEST {
        let reason = "longer than 5 years; 0s lets no certificate be renewed that has ended".into();
        return Err(ConfigError::Value { field, reason });
    }
    Ok(grace)
}

fn length(field: &'static str, text: &str) -> Result<Duration, ConfigError> {
    duration(text).ok_or_else(|| ConfigError::Value {
        field,
        reason: format!("{text:?} is not a length of time, as in \"24h\" or \"20s\""),
    })
}

/// A whole number and one of `s`, `m`, `h`, `d`.
fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        Config::new("d".into(), None, None, Vec::new(), Some(&path))
    }

    #[test]
    fn the_line_is_told_where_the_file_is_wrong() {
        let notify = "[[notify]]\nname = \"a\"\nslack = { url = \"env:A\" }\n";
        for (text, expected) in [
            ("\n\nlisen = 1", "c.toml:3: unknown field `lisen`"),
            ("listen = ", "c.toml:1: "),
            ("# x\nlisten = \"7443\"", "c.toml:2: listen: "),
            (
                "[certificates]\n\ngrace = \"a month\"",
                "c.toml:3: certificates.grace: ",
            ),
            ("advertise = [\n  \"mesh\",\n]", "c.toml:1: advertise: "),
            (&format!("{notify}{notify}"), "c.toml:4: notify \"a\": "),
            ("\nexternal_url = \"x\"", "c.toml:2: external_url: "),
        ] {
            let message = from_file(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, "listen = \"127.0.0.1:1\"").unwrap();
        let flag = Some("7443".to_owned());
        let error = Config::new("d".into(), flag, None, Vec::new(), Some(&path)).unwrap_err();
        assert!(error.to_string().starts_with("listen: "), "{error}");
    }

    #[test]
    fn one_bad_file_for_each_message() {
        for (text, expected) in [
            ("lisen = \"0.0.0.0:1\"", "unknown field `lisen`"),
            ("[certificates]\nagents = \"1h\"", "unknown field `agents`"),
            ("listen = \"7443\"", "is not ADDRESS:PORT"),
            ("advertise = [\"mesh.example\"]", "has no port"),
            (
                "advertise = [\"0.0.0.0:7443\"]",
                "no address that an agent could dial",
            ),
            (
                "web = \"7480\"",
                "is not ADDRESS:PORT, as in 127.0.0.1:7480",
            ),
            ("web = \"0.0.0.0:7480\"", "is not a loopback address"),
            ("web = \"192.0.2.7:7480\"", "ssh -L 7480:127.0.0.1:7480"),
            ("[certificates]\nagent = \"1 day\"", "not a length of time"),
            ("[certificates]\nagent = \"1s\"", "not between"),
            ("[certificates]\ngrace = \"6000d\"", "longer than 5 years"),
            (
                "[certificates]\ngrace = \"a month\"",
                "not a length of time",
            ),
        ] {
            let message = from_file(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    /// The files that the documentation shows are files.
    #[test]
    fn the_files_of_the_documentation_are_good() {
        let page = include_str!("../../docs/notifications.md");
        let shown = page.split("```toml\n").nth(1).unwrap();
        let shown = shown.split("```").next().unwrap();
        let config = from_file(shown).unwrap();
        assert_eq!(config.notify.receivers.len(), 5);
        assert_eq!(config.notify.page.as_deref(), Some("https://mesh.example"));
        let example = include_str!("../../deploy/coordinator.example.toml");
        assert_eq!(from_file(example).unwrap().notify.maintenance.len(), 1);
        // With every line that is there as a comment.
        let whole: String = example
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(set) if set.contains(" = ") || set.starts_with('[') => format!("{set}\n"),
                Some(_) | None => format!("{line}\n"),
            })
            .collect();
        from_file(&whole).unwrap();
    }

    #[test]
    fn flags_win() {
        let config =
            from_file("listen = \"127.0.0.1:1\"\n[certificates]\nagent = \"20s\"").unwrap();
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.lifetimes.agent, Duration::from_secs(20));
        assert_eq!(config.lifetimes.grace, DEFAULT_GRACE);
        let listen = Some("127.0.0.1:2".to_owned());
        let config = Config::new("d".into(), listen, None, Vec::new(), None).unwrap();
        assert_eq!(config.listen.port(), 2);
    }

    #[test]
    fn addresses_that_can_be_dialled() {
        let own: Vec<IpAddr> = ["127.0.0.1", "192.0.2.7", "2001:db8::7"]
            .map(|a| a.parse().unwrap())
            .into();
        let check = |listen: &str, advertise: &[&str], expected: &[&str]| {
            let advertise = advertise.iter().map(ToString::to_string).collect();
            let config =
                Config::new("d".into(), Some(listen.into()), None, advertise, None).unwrap();
            assert_eq!(config.addresses(config.listen, &own), expected);
        };
        check("127.0.0.1:7443", &[], &["127.0.0.1:7443"]);
        check("0.0.0.0:7443", &[], &["192.0.2.7:7443", "127.0.0.1:7443"]);
        check(
            "[::]:1",
            &[],
            &["192.0.2.7:1", "[2001:db8::7]:1", "127.0.0.1:1"],
        );
        check(
            "0.0.0.0:7443",
            &["mesh.example:7443"],
            &["mesh.example:7443"],
        );
    }
}
