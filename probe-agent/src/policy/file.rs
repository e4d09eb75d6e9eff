//! The text of `policy.toml`.

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::Path;

use ipnet::IpNet;
use localize::Role;
use serde::Deserialize;

use super::limits::{Each, Limits};
use super::ranges;
use super::refusal::PolicyError;
use super::{Policy, Secrets};

/// The text of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    role: Option<Role>,
    only: Option<Vec<Prefix>>,
    allow: Vec<Prefix>,
    deny: Vec<Prefix>,
    ports: Option<Vec<NonZeroU16>>,
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
    public: FileEach,
    private: FileEach,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileEach {
    max_probes_per_second: Option<NonZeroU32>,
    max_bytes_per_second: Option<NonZeroU32>,
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

impl Policy {
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self, PolicyError> {
        let file: File = toml::from_str(text).map_err(|said| PolicyError::Parse {
            path: path.to_owned(),
            said: Box::new(said),
        })?;
        let allow = opening(path, "allow", file.allow)?;
        let only = file.only.map(|only| opening(path, "only", only));
        let timed = file.allow_until.iter().map(|timed| timed.prefix.clone());
        let timed = opening(path, "allow_until", timed.collect())?;
        let ends = file.allow_until.iter().map(|timed| {
            instant_us(&timed.until).ok_or_else(|| PolicyError::NotAnInstant {
                path: path.to_owned(),
                until: timed.until.to_string(),
            })
        });
        let ends = ends.collect::<Result<Vec<u64>, _>>()?;
        let secrets = match &file.secrets {
            None => Secrets::usual(path.parent()),
            Some(texts) => {
                let path = path.to_owned();
                Secrets::listed(texts).ok_or(PolicyError::NoReference { path })?
            }
        };
        let ports = |ports: Vec<NonZeroU16>| ports.into_iter().map(NonZeroU16::get).collect();
        Ok(Self {
            role: file.role,
            only: only.transpose()?,
            allow,
            deny: file.deny.into_iter().map(|prefix| prefix.0).collect(),
            ports: file.ports.map(ports),
            allow_until: timed.into_iter().zip(ends).collect(),
            limits: file.limits.over(Limits::default()),
            secrets,
        })
    }
}

impl FileLimits {
    fn over(self, defaults: Limits) -> Limits {
        let limit = |set: Option<NonZeroU32>, default| set.map_or(default, NonZeroU32::get);
        Limits {
            max_probes_per_second: limit(
                self.max_probes_per_second,
                defaults.max_probes_per_second,
            ),
            max_concurrent: limit(self.max_concurrent, defaults.max_concurrent),
            public: self.public.over(defaults.public),
            private: self.private.over(defaults.private),
        }
    }
}

impl FileEach {
    fn over(self, defaults: Each) -> Each {
        let limit = |set: Option<NonZeroU32>, default| set.map(NonZeroU32::get).or(default);
        Each {
            max_probes_per_second: limit(
                self.max_probes_per_second,
                defaults.max_probes_per_second,
            ),
            max_bytes_per_second: limit(self.max_bytes_per_second, defaults.max_bytes_per_second),
        }
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
mod tests {
    use super::*;

    #[test]
    fn dates_become_days() {
        let rows = [
            ((1970, 1, 1), 0),
            ((1970, 3, 1), 59),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2024, 12, 31), 20_088),
            ((2100, 3, 1), 47_541),
        ];
        for ((year, month, day), expected) in rows {
            assert_eq!(days_since_epoch(year, month, day), expected);
        }
    }
}
