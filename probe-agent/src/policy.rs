//! Which targets this host agrees to probe, and how fast.
//!
//! The coordinator asks, the host decides: a captured coordinator must not turn agents into scanners
//! of the networks that they stand in. The rules hold without any file; `policy.toml` in the data
//! folder opens or closes prefixes and sets the limits:
//!
//! ```toml
//! allow = ["192.168.7.20/32"]            # besides what the rules allow
//! deny  = ["198.51.100.0/24"]            # wins over everything
//!
//! secrets = ["env:SHOP_TOKEN"]           # all that requests may hold of this host; without it every
//!                                        # variable of the agent, and the files in secrets/
//!
//! [[allow_until]]                        # for a time
//! prefix = "10.20.0.0/16"
//! until  = 2030-01-31T18:00:00Z
//!
//! [limits]
//! max_probes_per_second = 200
//! max_concurrent = 256
//! ```

mod ranges;
mod secrets;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use localize::Role;
use serde::Deserialize;
use thiserror::Error;

use self::ranges::{Class, classify, judged};

pub use self::secrets::{SecretError, Secrets};

/// The file's name in the data folder.
const FILE: &str = "policy.toml";

/// The port at which a host's resolver is asked (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;

/// What this host agrees to.
#[derive(Clone, Debug)]
pub struct Policy {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    /// Each with the microsecond of mesh time at which it ends.
    allow_until: Vec<(IpNet, u64)>,
    limits: Limits,
    secrets: Secrets,
}

/// What the rules look at besides the target.
#[derive(Clone, Debug)]
pub struct Context {
    /// The coordinator's address on this session.
    pub coordinator: IpAddr,
    /// The role in this agent's certificate.
    pub role: Role,
    /// The resolvers of the host's own configuration.
    pub resolvers: Vec<IpAddr>,
}

/// How much probing this host bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Probes started in one second.
    pub max_probes_per_second: u32,
    /// Probes under way at once.
    pub max_concurrent: u32,
}

/// The file cannot be used.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// It is there and cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its text is not a policy. What the parser said is part of the text, since it names the field,
    /// and so is no source beside it.
    #[error("{path} is not a policy: {said}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, field and reason.
        said: Box<toml::de::Error>,
    },
    /// It allows what nothing can allow.
    #[error("{path}: {field}: {prefix} is {name} space, which no policy opens")]
    NeverAllowed {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// The prefix in it.
        prefix: IpNet,
        /// What the range is for.
        name: &'static str,
    },
    /// It gives out what is no variable and no file.
    #[error("{path}: secrets: an entry is env:NAME or file:/PATH, for example \"env:SHOP_TOKEN\"")]
    NoReference {
        /// The file.
        path: PathBuf,
    },
    /// A time that is not an instant.
    #[error("{path}: allow_until: {until} must be a date and time with an offset, from 1970 on")]
    NotAnInstant {
        /// The file.
        path: PathBuf,
        /// The value.
        until: String,
    },
}

/// Why a target is not probed, and what would change that.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The host's own `deny`.
    #[error(
        "{address} is refused by deny = [\"{prefix}\"] in policy.toml: remove that prefix to probe it"
    )]
    Denied {
        /// The target.
        address: IpAddr,
        /// The prefix that holds it.
        prefix: IpNet,
    },
    /// A range that no probe enters.
    #[error(
        "{address} is {name} space ({range}), which is never probed; policy.toml cannot change that"
    )]
    Never {
        /// The target.
        address: IpAddr,
        /// The range.
        range: IpNet,
        /// What the range is for.
        name: &'static str,
    },
    /// The host itself.
    #[error(
        "{address} is loopback, which is probed only when the coordinator is on loopback too; \
         to probe it all the same write allow = [\"{prefix}\"] into policy.toml"
    )]
    Loopback {
        /// The target.
        address: IpAddr,
        /// What to write.
        prefix: IpNet,
    },
    /// Private or special-purpose space, asked of an agent outside by a coordinator outside.
    #[error(
        "{address} is {name} space ({range}), which an agent of role outside does not probe for a \
         coordinator with a public address; to probe it write allow = [\"{prefix}\"] into policy.toml"
    )]
    Special {
        /// The target.
        address: IpAddr,
        /// The range.
        range: IpNet,
        /// What the range is for.
        name: &'static str,
        /// What to write.
        prefix: IpNet,
    },
}

/// A token bucket whose burst is one second's worth.
#[derive(Clone, Debug)]
pub struct Meter {
    per_second: u64,
    /// In millionths of a probe, so that a microsecond adds a whole number of them.
    level: u64,
    at_us: u64,
}

/// One probe in the unit of [`Meter::level`].
const PROBE: u64 = 1_000_000;

impl Policy {
    /// Reads `policy.toml` in the data folder; without that file, the rules alone.
    ///
    /// # Errors
    /// When the file is there and cannot be read, or is not a policy; the error names file and field.
    pub fn load(data_dir: &Path) -> Result<Self, PolicyError> {
        let path = data_dir.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text, &path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self {
                secrets: Secrets::usual(Some(data_dir)),
                ..Self::default()
            }),
            Err(source) => Err(PolicyError::Read { path, source }),
        }
    }

    /// Whether the host agrees to send to the target at the microsecond `now_us` since the Unix
    /// epoch.
    ///
    /// # Errors
    /// The refusal, in words for the operator.
    pub fn allows(
        &self,
        context: &Context,
        target: SocketAddr,
        now_us: u64,
    ) -> Result<(), Refusal> {
        let asked = target.ip();
        let address = judged(asked);
        let holds = |prefix: &IpNet| prefix.contains(&address) || prefix.contains(&asked);
        if let Some(prefix) = self.deny.iter().copied().find(holds) {
            return Err(Refusal::Denied {
                address: asked,
                prefix,
            });
        }
        let opened = || self.opened(now_us).any(holds);
        let own_resolver = target.port() == DNS_PORT && context.resolvers.contains(&asked);
        match classify(address) {
            Class::Public => Ok(()),
            Class::Never(range) => Err(Refusal::Never {
                address: asked,
                range: range.prefix,
                name: range.name,
            }),
            Class::Loopback => {
                let opened = self
                    .opened(now_us)
                    .any(|prefix| ranges::is_loopback(prefix) && holds(prefix));
                if opened || own_resolver || context.is_on_loopback() {
                    return Ok(());
                }
                Err(Refusal::Loopback {
                    address: asked,
                    prefix: address.into(),
                })
            }
            Class::Special(range) => {
                if opened() || own_resolver || context.is_inside() {
                    return Ok(());
                }
                Err(Refusal::Special {
                    address: asked,
                    range: range.prefix,
                    name: range.name,
                    prefix: address.into(),
                })
            }
        }
    }

    /// The limits of the file, or the defaults.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What of this host may stand in requests.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    fn opened(&self, now_us: u64) -> impl Iterator<Item = &IpNet> {
        let timed = self.allow_until.iter();
        self.allow.iter().chain(
            timed
                .filter(move |(_, until_us)| now_us < *until_us)
                .map(|(prefix, _)| prefix),
        )
    }

    fn parse(text: &str, path: &Path) -> Result<Self, PolicyError> {
        let file: File = toml::from_str(text).map_err(|said| PolicyError::Parse {
            path: path.to_owned(),
            said: Box::new(said),
        })?;
        let allow = opening(path, "allow", file.allow)?;
        let timed = file.allow_until.iter().map(|timed| timed.prefix.clone());
        let timed = opening(path, "allow_until", timed.collect())?;
        let ends = file.allow_until.iter().map(|timed| {
            instant_us(&timed.until).ok_or_else(|| PolicyError::NotAnInstant {
                path: path.to_owned(),
                until: timed.until.to_string(),
            })
        });
        let ends = ends.collect::<Result<Vec<u64>, _>>()?;
        let defaults = Limits::default();
        let limit = |set: Option<NonZeroU32>, default| set.map_or(default, NonZeroU32::get);
        let secrets = match &file.secrets {
            None => Secrets::usual(path.parent()),
            Some(texts) => {
                let path = path.to_owned();
                Secrets::listed(texts).ok_or(PolicyError::NoReference { path })?
            }
        };
        Ok(Self {
            allow,
            secrets,
            deny: file.deny.into_iter().map(|prefix| prefix.0).collect(),
            allow_until: timed.into_iter().zip(ends).collect(),
            limits: Limits {
                max_probes_per_second: limit(
                    file.limits.max_probes_per_second,
                    defaults.max_probes_per_second,
                ),
                max_concurrent: limit(file.limits.max_concurrent, defaults.max_concurrent),
            },
        })
    }
}

impl Context {
    fn is_on_loopback(&self) -> bool {
        classify(judged(self.coordinator)) == Class::Loopback
    }

    /// Whether private space is this agent's business: its role says so, or its coordinator stands
    /// in such space itself, so that the whole mesh is an inside one.
    fn is_inside(&self) -> bool {
        match self.role {
            Role::Inside | Role::BehindCdn => true,
            Role::Outside => classify(judged(self.coordinator)) != Class::Public,
        }
    }
}

impl Default for Policy {
    /// The rules alone, on a host without files to give out.
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            allow_until: Vec::new(),
            limits: Limits::default(),
            secrets: Secrets::usual(None),
        }
    }
}

impl Default for Limits {
    /// What a small virtual machine sends without noticing: 200 a second, 256 at once.
    fn default() -> Self {
        Self {
            max_probes_per_second: 200,
            max_concurrent: 256,
        }
    }
}

impl Meter {
    /// A full bucket.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let per_second = u64::from(limits.max_probes_per_second);
        Self {
            per_second,
            level: per_second * PROBE,
            at_us: 0,
        }
    }

    /// Takes one probe out of the bucket; `false` when the bucket is empty. `now_us` is in
    /// microseconds of any clock; a step backwards adds nothing.
    pub fn admit(&mut self, now_us: u64) -> bool {
        let passed = now_us.saturating_sub(self.at_us);
        self.at_us = now_us;
        let gained = passed.saturating_mul(self.per_second);
        self.level = self
            .level
            .saturating_add(gained)
            .min(self.per_second * PROBE);
        match self.level.checked_sub(PROBE) {
            Some(rest) => {
                self.level = rest;
                true
            }
            None => false,
        }
    }
}

/// The text of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    allow: Vec<Prefix>,
    deny: Vec<Prefix>,
    allow_until: Vec<Timed>,
    limits: FileLimits,
    secrets: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Timed {
    prefix: Prefix,
    until: toml::value::Datetime,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileLimits {
    max_probes_per_second: Option<NonZeroU32>,
    max_concurrent: Option<NonZeroU32>,
}

/// A prefix, or an address alone.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Prefix(IpNet);

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let prefix = text.parse::<IpNet>().ok();
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        prefix
            .or_else(address)
            .map(|prefix| Self(prefix.trunc()))
            .ok_or_else(|| format!("`{text}` is neither an address nor a prefix like 10.0.0.0/8"))
    }
}

fn opening(
    path: &Path,
    field: &'static str,
    prefixes: Vec<Prefix>,
) -> Result<Vec<IpNet>, PolicyError> {
    let checked = prefixes
        .into_iter()
        .map(|Prefix(prefix)| match ranges::never(&prefix) {
            None => Ok(prefix),
            Some(range) => Err(PolicyError::NeverAllowed {
                path: path.to_owned(),
                field,
                prefix,
                name: range.name,
            }),
        });
    checked.collect()
}

/// Microseconds since the Unix epoch of a TOML offset date-time; `None` for any other kind.
fn instant_us(until: &toml::value::Datetime) -> Option<u64> {
    let (date, time) = (until.date?, until.time?);
    let offset_minutes = match until.offset? {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_since_epoch(
        i64::from(date.year),
        i64::from(date.month),
        i64::from(date.day),
    );
    let minutes = days * 1440 + i64::from(time.hour) * 60 + i64::from(time.minute);
    let seconds = (minutes - offset_minutes) * 60 + i64::from(time.second.unwrap_or(0));
    u64::try_from(seconds).ok()?.checked_mul(1_000_000)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar: years are counted from March, so that
/// the leap day ends the year and the months before it have a closed form.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let months_since_march = (month + 9) % 12;
    let day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
    // 719_468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

#[cfg(test)]
mod tests;
