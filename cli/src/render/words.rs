//! Numbers and closed words as people read them.

use localize::{Component, Kind, VerdictOutcome};

/// A share of one as a percentage. Certainty is not claimed by rounding: 0.9999 is `>99.9%`.
pub fn percent(share: f64) -> String {
    let hundredths = share * 100.0;
    if share <= 0.0 {
        "0%".to_owned()
    } else if share >= 1.0 {
        "100%".to_owned()
    } else if hundredths < 0.1 {
        "<0.1%".to_owned()
    } else if hundredths > 99.9 {
        ">99.9%".to_owned()
    } else if !(1.0..=99.0).contains(&hundredths) {
        format!("{hundredths:.1}%")
    } else {
        format!("{hundredths:.0}%")
    }
}

/// A length of time in microseconds with the unit that leaves the fewest digits.
pub fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{:.1} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} ms", us as f64 / 1e3),
        1_000_000..60_000_000 => format!("{:.1} s", us as f64 / 1e6),
        _ => format!("{} min {} s", us / 60_000_000, us / 1_000_000 % 60),
    }
}

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

/// The word of a kind, as in the JSON.
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::ClientNetwork => "client_network",
        Kind::Resolver => "resolver",
        Kind::AuthoritativeDns => "authoritative_dns",
        Kind::Cdn => "cdn",
        Kind::CdnOriginPath => "cdn_origin_path",
        Kind::Origin => "origin",
        Kind::LoadBalancer => "load_balancer",
        Kind::LbBackendPath => "lb_backend_path",
        Kind::Backend => "backend",
        Kind::ReturnPath => "return_path",
    }
}

/// Kind and name.
pub fn component(component: &Component) -> String {
    format!("{} {}", kind(component.kind), component.name)
}

/// The first word of a verdict.
pub fn outcome(outcome: VerdictOutcome) -> &'static str {
    match outcome {
        VerdictOutcome::Healthy => "HEALTHY",
        VerdictOutcome::Fault => "FAULT",
        VerdictOutcome::Inconclusive => "INCONCLUSIVE",
    }
}

/// `1 round`, `2 rounds`.
pub fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        let rows = [
            (0.0, "0%"),
            (0.0004, "<0.1%"),
            (0.004, "0.4%"),
            (0.01, "1%"),
            (0.414, "41%"),
            (0.98, "98%"),
            (0.9949, "99.5%"),
            (0.99999, ">99.9%"),
            (1.0, "100%"),
        ];
        for (share, expected) in rows {
            assert_eq!(percent(share), expected);
        }
    }

    #[test]
    fn lengths_of_time() {
        let rows = [
            (180, "180 µs"),
            (1_500, "1.5 ms"),
            (15_400, "15 ms"),
            (8_123_000, "8.1 s"),
            (61_000_000, "1 min 1 s"),
        ];
        for (us, expected) in rows {
            assert_eq!(micros(us), expected);
        }
    }

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
