//! Instants and lengths of time as people read them, in UTC.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// An instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instant {
    /// RFC 3339, for programs that read the page.
    pub(super) machine: String,
    /// With its day, where that is not the present one.
    pub(super) text: String,
    /// How long ago.
    pub(super) ago: String,
}

impl Instant {
    /// `None` for zero, which stands for "never", and for what no calendar holds.
    pub(super) fn at(at_us: u64, now_us: u64) -> Option<Self> {
        let machine = crate::clock::rfc3339(at_us);
        (!machine.is_empty()).then(|| Self {
            text: format!("{} UTC", clock(at_us, now_us)),
            ago: ago(at_us, now_us),
            machine,
        })
    }

    /// From RFC 3339.
    pub(super) fn read(text: &str, now_us: u64) -> Option<Self> {
        Self::at(micros(text)?, now_us)
    }
}

/// An RFC 3339 instant in microseconds since the Unix epoch.
pub(super) fn micros(rfc3339: &str) -> Option<u64> {
    let at: Timestamp = rfc3339.parse().ok()?;
    u64::try_from(at.as_microsecond()).ok()
}

/// To the second, with its day where that is not the day of `beside_us`.
pub(super) fn clock(at_us: u64, beside_us: u64) -> String {
    let utc = |us: u64| {
        let at = Timestamp::from_microsecond(i64::try_from(us).ok()?).ok()?;
        Some(at.to_zoned(TimeZone::UTC))
    };
    let Some(at) = utc(at_us) else {
        return String::new();
    };
    let same_day = utc(beside_us).is_some_and(|beside| beside.date() == at.date());
    let form = if same_day {
        "%H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M:%S"
    };
    at.strftime(form).to_string()
}

/// How long ago, in the unit that leaves two digits or three.
pub(super) fn ago(at_us: u64, now_us: u64) -> String {
    match now_us.saturating_sub(at_us) / 1_000_000 {
        0 => "now".to_owned(),
        seconds @ 1..120 => format!("{seconds} s ago"),
        seconds @ 120..7_200 => format!("{} min ago", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_names_its_day_where_it_is_another() {
        let now_us = micros("2030-01-02T03:04:05Z").unwrap();
        let rows = [
            ("2030-01-02T02:59:01.250Z", "02:59:01 UTC", "5 min ago"),
            ("2030-01-02T03:04:01Z", "03:04:01 UTC", "4 s ago"),
            ("2030-01-01T23:59:59Z", "2030-01-01 23:59:59 UTC", "3 h ago"),
            (
                "2029-12-01T00:00:00Z",
                "2029-12-01 00:00:00 UTC",
                "32 days ago",
            ),
        ];
        for (at, text, ago) in rows {
            let instant = Instant::read(at, now_us).unwrap();
            assert_eq!((instant.text.as_str(), instant.ago.as_str()), (text, ago));
        }
        assert_eq!(Instant::read("", now_us), None);
        assert_eq!(Instant::at(0, now_us), None);
    }
}
