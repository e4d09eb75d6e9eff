//! Numbers and closed words as people read them, on a terminal and on a page.

use localize::{Component, Kind, Pattern, VerdictOutcome};

/// A share of one as a percentage. Certainty is not claimed by rounding: 0.9999 is `>99.9%`.
#[must_use]
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
#[must_use]
pub fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000 => format!("{:.1} ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} ms", us as f64 / 1e3),
        1_000_000..60_000_000 => format!("{:.1} s", us as f64 / 1e6),
        _ => format!("{} min {} s", us / 60_000_000, us / 1_000_000 % 60),
    }
}

/// The word of a kind, as in the JSON.
#[must_use]
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
#[must_use]
pub fn component(component: &Component) -> String {
    format!("{} {}", kind(component.kind), component.name)
}

/// The first word of a verdict.
#[must_use]
pub fn outcome(outcome: VerdictOutcome) -> &'static str {
    match outcome {
        VerdictOutcome::Healthy => "HEALTHY",
        VerdictOutcome::Fault => "FAULT",
        VerdictOutcome::Inconclusive => "INCONCLUSIVE",
    }
}

/// `1 round`, `2 rounds`.
#[must_use]
pub fn counted(count: u64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// How the failures of a fault go on, in words; `None` at one steady rate.
#[must_use]
pub fn pattern(pattern: Pattern, period_s: Option<f64>) -> Option<String> {
    match (pattern, period_s) {
        (Pattern::Steady, _) => None,
        (Pattern::Bursts, _) | (Pattern::Periodic, None) => Some("it comes and goes".to_owned()),
        (Pattern::Periodic, Some(period_s)) => {
            Some(format!("it comes every {}", seconds(period_s)))
        }
        (Pattern::ByFlow, _) => Some("the same ports always fail, others never".to_owned()),
        (Pattern::BySource, _) => {
            Some("the same source addresses always fail, others never".to_owned())
        }
        (Pattern::ByVariant, _) => Some("one variant of the content alone".to_owned()),
        (Pattern::ByCookie, _) => Some("the same sessions always fail, others never".to_owned()),
    }
}

/// A period with the digits that it is known to.
fn seconds(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{seconds:.0} s")
    }
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
}
