//! Points in the past as people type them: `10m` ago, or an instant.

use std::time::Duration;

use crate::duration;

/// A point in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Ago(Duration),
    /// An instant, in microseconds since the Unix epoch.
    At(u64),
}

/// Why a text is neither.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "neither an instant nor a length of time; write for instance 2026-03-01T12:03:11Z, \
     2026-03-01T13:03:11+01:00, or 10m for ten minutes ago"
)]
pub struct SinceError;

/// Reads an instant (RFC 3339) or how long ago it was.
pub fn parse(text: &str) -> Result<Since, SinceError> {
    if let Ok(ago) = duration::parse(text) {
        return Ok(Since::Ago(ago));
    }
    at(text).map(Since::At).ok_or(SinceError)
}

/// Why a text is no instant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no instant; write for instance 2026-03-01T12:03:11Z or 2026-03-01T13:03:11+01:00")]
pub struct InstantError;

/// Reads an instant (RFC 3339), in microseconds since the Unix epoch.
pub fn instant(text: &str) -> Result<u64, InstantError> {
    at(text).ok_or(InstantError)
}

fn at(text: &str) -> Option<u64> {
    let instant: jiff::Timestamp = text.trim().parse().ok()?;
    u64::try_from(instant.as_microsecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_and_lengths_of_time() {
        let rows = [
            ("10m", Ok(Since::Ago(Duration::from_secs(600)))),
            ("0", Ok(Since::Ago(Duration::ZERO))),
            ("1970-01-01T00:00:01.5Z", Ok(Since::At(1_500_000))),
            ("1970-01-01T01:00:00+01:00", Ok(Since::At(0))),
            ("1969-12-31T23:59:59Z", Err(SinceError)),
            ("yesterday", Err(SinceError)),
            ("12:03", Err(SinceError)),
            ("", Err(SinceError)),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text), expected, "of {text:?}");
        }
    }
}
