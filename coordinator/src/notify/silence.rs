//! When nobody is told: silences that operators make, and windows of maintenance in the configuration.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

/// Nobody is told of the beginning of what concerns a service, from an instant until another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// `s-` and ten letters.
    pub id: String,
    /// The service's name; `*` stands for any text.
    pub service: String,
    /// From when, in microseconds of mesh time ...
    pub from_us: u64,
    /// ... until when.
    pub until_us: u64,
    /// Why.
    pub because: String,
    /// The operator who made it.
    pub by: String,
}

impl Silence {
    /// Whether nobody is told of this service.
    #[must_use]
    pub fn covers(&self, service: &str, now_us: u64) -> bool {
        (self.from_us..self.until_us).contains(&now_us) && matches(&self.service, service)
    }
}

/// Hours that come again, in which nobody is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// Names of services, `*` for any text.
    pub services: Vec<String>,
    /// On which days it begins.
    pub days: Vec<Weekday>,
    /// From when ...
    pub from: Time,
    /// ... until when: of the next day where that is no later.
    pub until: Time,
    /// The zone of both.
    pub zone: TimeZone,
}

impl Maintenance {
    /// Whether nobody is told of this service.
    #[must_use]
    pub fn covers(&self, service: &str, now_us: u64) -> bool {
        self.services.iter().any(|name| matches(name, service)) && self.is_now(now_us)
    }

    fn is_now(&self, now_us: u64) -> bool {
        let at = i64::try_from(now_us).ok();
        let Some(at) = at.and_then(|at| Timestamp::from_microsecond(at).ok()) else {
            return false;
        };
        let now = Zoned::new(at, self.zone.clone());
        let begins = |day: Weekday| self.days.contains(&day);
        let (day, time) = (now.weekday(), now.time());
        if self.from < self.until {
            return begins(day) && self.from <= time && time < self.until;
        }
        (begins(day) && self.from <= time) || (begins(day.previous()) && time < self.until)
    }
}

/// Whether a name is like a pattern in which `*` stands for any text.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(head) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        let rows = [
            ("shop.example", "shop.example", true),
            ("shop.example", "shop.example.org", false),
            ("*", "shop.example", true),
            ("shop.*", "shop.example", true),
            ("*.example", "shop.example", true),
            ("*.example", "shop.test", false),
            ("s*p*e", "shop.example", true),
            ("s*x*x", "shop.example", false),
            ("shop*shop", "shop", false),
        ];
        for (pattern, name, expected) in rows {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn maintenance_is_by_the_clock_on_the_wall() {
        let at = |text: &str| {
            let at: Timestamp = text.parse().unwrap();
            u64::try_from(at.as_microsecond()).unwrap()
        };
        let window = |from: &str, until: &str, zone: &str| Maintenance {
            services: vec!["shop.*".to_owned()],
            days: vec![Weekday::Sunday],
            from: from.parse().unwrap(),
            until: until.parse().unwrap(),
            zone: TimeZone::get(zone).unwrap(),
        };
        // 2026-03-01 and 2026-07-05 are Sundays.
        let rows = [
            ("02:00", "04:00", "UTC", "2026-03-01T02:00:00Z", true),
            ("02:00", "04:00", "UTC", "2026-03-01T04:00:00Z", false),
            ("02:00", "04:00", "UTC", "2026-03-02T03:00:00Z", false),
            ("22:00", "02:00", "UTC", "2026-03-01T23:00:00Z", true),
            ("22:00", "02:00", "UTC", "2026-03-02T01:59:00Z", true),
            ("22:00", "02:00", "UTC", "2026-03-01T01:00:00Z", false),
            (
                "02:00",
                "04:00",
                "Europe/Berlin",
                "2026-03-01T01:30:00Z",
                true,
            ),
            (
                "02:00",
                "04:00",
                "Europe/Berlin",
                "2026-07-05T00:30:00Z",
                true,
            ),
            (
                "02:00",
                "04:00",
                "Europe/Berlin",
                "2026-07-05T02:30:00Z",
                false,
            ),
        ];
        for (from, until, zone, now, expected) in rows {
            let window = window(from, until, zone);
            assert_eq!(window.covers("shop.example", at(now)), expected, "{now}");
            assert!(!window.covers("other.example", at(now)));
        }
    }
}
