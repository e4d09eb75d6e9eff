//! The coordinator's one clock: mesh time is what it says.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time now, in microseconds since the Unix epoch.
///
/// Zero when the system clock stands before 1970, and pinned to the largest value in the far future:
/// a clock cannot fail.
#[must_use]
pub fn now_us() -> u64 {
    #[allow(clippy::disallowed_methods)]
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// An instant in microseconds since the Unix epoch as RFC 3339 text in UTC with milliseconds; empty
/// for zero, which stands for "never", and for what no calendar holds.
#[must_use]
pub fn rfc3339(at_us: u64) -> String {
    i64::try_from(at_us)
        .ok()
        .filter(|at| *at != 0)
        .and_then(|at| jiff::Timestamp::from_microsecond(at).ok())
        .map(|at| format!("{at:.3}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_rfc_3339_in_utc() {
        assert_eq!(rfc3339(1_700_000_000_123_456), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(0), "");
        assert_eq!(rfc3339(u64::MAX), "");
    }
}
