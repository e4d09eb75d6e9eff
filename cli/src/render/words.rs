//! Numbers and closed words as people read them: those of the page, and ages.

pub use proto::words::{component, counted, kind, micros, outcome, percent};

/// How long before `now_us` an RFC 3339 instant was: `12s`, `5m`, `3h`, `2d`; the text itself when it
/// is none, a dash when it is empty.
pub fn ago(rfc3339: &str, now_us: u64) -> String {
    if rfc3339.is_empty() {
        return "-".to_owned();
    }
    let Ok(then) = rfc3339.parse::<jiff::Timestamp>() else {
        return rfc3339.to_owned();
    };
    let now = i64::try_from(now_us / 1_000_000).unwrap_or(i64::MAX);
    match now.saturating_sub(then.as_second()).max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let rows = [
            ("", "-"),
            ("yesterday", "yesterday"),
            ("1970-01-01T00:16:30Z", "10s"),
            ("1970-01-01T00:00:00Z", "16m"),
            ("1970-01-01T00:20:00Z", "0s"),
        ];
        for (text, expected) in rows {
            assert_eq!(ago(text, 1_000_000_000), expected);
        }
    }
}
