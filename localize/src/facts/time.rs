//! Mesh time: the coordinator's clock, as well as an agent knows it.

use serde::{Deserialize, Serialize};

/// A length of time in microseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl Micros {
    /// From whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// The time in seconds, for arithmetic and for text.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

/// An instant of mesh time with the bound of its error.
///
/// The true coordinator's clock at that instant lies within `at_us ± uncertainty_us`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Microseconds since the Unix epoch on the coordinator's clock.
    pub at_us: u64,
    /// Half width, in microseconds, of the interval that holds the true instant.
    pub uncertainty_us: u64,
}

impl Stamp {
    /// The bound of a stamp of which nothing is known, such as one made before an agent's first exchange with the
    /// coordinator, in microseconds: a day. Larger ones say no less.
    pub const UNKNOWN_US: u64 = 86_400_000_000;
}

/// An instant in microseconds since the Unix epoch as RFC 3339 writes it in UTC, to the millisecond.
#[must_use]
pub fn rfc3339(at_us: u64) -> alloc::string::String {
    let (seconds, millis) = (at_us / 1_000_000, at_us / 1000 % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of the year 0, in eras of 400 years, so that leap days come last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    alloc::format!(
        "{:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        era * 400 + year + carry,
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_rfc_3339_says() {
        for (at_us, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999_000, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (1_735_689_599_000_000, "2024-12-31T23:59:59.000Z"),
            (1_795_953_600_500_000, "2026-11-29T12:00:00.500Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(at_us), text);
        }
    }
}
