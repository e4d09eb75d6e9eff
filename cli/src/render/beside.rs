//! What stands in a verdict beside faults and candidates: when things began and were over, what was
//! not probed, and which alarms stand.

use localize::verdict::{Earlier, NotProbed};
use localize::{Fault, Verdict};
use proto::words::pattern;

use super::words::component;
use super::wrap::wrap;

/// Arms not probed that are named; `meshctl explain` names all.
const NOT_PROBED: usize = 4;

/// Since when a fault is there, and how it goes on; empty where neither is known.
pub(super) fn since(fault: &Fault, verdict: &Verdict) -> String {
    let began = match fault.began_at.as_str() {
        "" => None,
        at => Some(instant(at, &verdict.started_at)),
    };
    let goes_on = pattern(fault.pattern, fault.period_s);
    let parts: Vec<String> = began.into_iter().chain(goes_on).collect();
    parts.join("; ")
}

/// What was wrong and is over, a line each.
pub(super) fn earlier(verdict: &Verdict) -> Vec<String> {
    let line = |earlier: &Earlier| {
        format!(
            "{} {} from {} to {}",
            component(&earlier.component),
            earlier.mode,
            instant(&earlier.began_at, &verdict.started_at),
            instant(&earlier.ended_at, &verdict.started_at)
        )
    };
    verdict.earlier.iter().map(line).collect()
}

/// The first of the arms about which nothing is known, those with one reason together.
pub(super) fn not_probed(verdict: &Verdict) -> Vec<String> {
    let mut groups: Vec<(&NotProbed, Vec<&str>)> = Vec::new();
    for left_out in &verdict.not_probed {
        let same = |(first, _): &&mut (&NotProbed, Vec<&str>)| {
            (&first.vantage, &first.because) == (&left_out.vantage, &left_out.because)
        };
        match groups.iter_mut().find(same) {
            Some((_, arms)) => arms.push(&left_out.arm),
            None => groups.push((left_out, vec![&left_out.arm])),
        }
    }
    let hidden = groups.len().saturating_sub(NOT_PROBED);
    let shown = groups.into_iter().take(NOT_PROBED);
    let mut lines: Vec<String> = shown
        .map(|(first, arms)| {
            let more = match arms.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!(
                "{} to {}{more}: {}",
                first.vantage, first.arm, first.because
            )
        })
        .collect();
    if hidden > 0 {
        lines.push(format!("and {hidden} more, in `meshctl explain`"));
    }
    lines
}

/// Every arm about which nothing is known, and why.
pub(super) fn all_not_probed(verdict: &Verdict, width: usize) -> String {
    let line = |left_out: &NotProbed| {
        format!("  {} to {}\n", left_out.vantage, left_out.arm)
            + &wrap("      ", &left_out.because, width)
    };
    verdict.not_probed.iter().map(line).collect()
}

/// The alarms that stand, with how to learn more.
pub(super) fn standing(verdict: &Verdict) -> Vec<String> {
    let line = |id: &String| format!("{id}; `meshctl mended {id}` says whether it is over");
    verdict.standing.iter().map(line).collect()
}

/// An instant in UTC to the second, with its day where that is not the day of `beside`; the text itself
/// when it is none.
fn instant(rfc3339: &str, beside: &str) -> String {
    let utc = |text: &str| {
        let at: jiff::Timestamp = text.parse().ok()?;
        Some(at.to_zoned(jiff::tz::TimeZone::UTC))
    };
    match utc(rfc3339) {
        None => rfc3339.to_owned(),
        Some(at) if utc(beside).is_some_and(|beside| beside.date() == at.date()) => {
            at.strftime("%H:%M:%S UTC").to_string()
        }
        Some(at) => at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use localize::Pattern;

    use super::super::samples;
    use super::*;

    #[test]
    fn an_instant_names_its_day_where_it_is_another() {
        let today = "2030-01-02T03:04:05Z";
        let rows = [
            ("2030-01-02T02:59:01.250Z", "02:59:01 UTC"),
            ("2030-01-02T04:59:01+02:00", "02:59:01 UTC"),
            ("2030-01-01T23:59:59Z", "2030-01-01 23:59:59 UTC"),
            ("soon", "soon"),
        ];
        for (at, expected) in rows {
            assert_eq!(instant(at, today), expected);
        }
        assert_eq!(instant(today, ""), "2030-01-02 03:04:05 UTC");
    }

    #[test]
    fn every_pattern_has_its_words() {
        let verdict = samples::fault();
        let rows = [
            (Pattern::Steady, None, ""),
            (Pattern::Bursts, None, "it comes and goes"),
            (Pattern::Periodic, Some(30.0), "it comes every 30 s"),
            (Pattern::Periodic, None, "it comes and goes"),
            (
                Pattern::ByFlow,
                None,
                "the same ports always fail, others never",
            ),
            (
                Pattern::BySource,
                None,
                "the same source addresses always fail, others never",
            ),
            (Pattern::ByVariant, None, "one variant of the content alone"),
        ];
        for (pattern, period_s, expected) in rows {
            let fault = Fault {
                began_at: String::new(),
                pattern,
                period_s,
                ..verdict.faults[0].clone()
            };
            assert_eq!(since(&fault, &verdict), expected);
        }
    }

    #[test]
    fn arms_left_out_for_one_reason_take_one_line() {
        let mut verdict = samples::fault();
        let left_out = |vantage: &str, arm: usize, because: &str| NotProbed {
            vantage: vantage.to_owned(),
            arm: format!("backend/web{arm}"),
            because: because.to_owned(),
        };
        verdict.not_probed = (1..8).map(|n| left_out("dc1", n, "refused")).collect();
        assert_eq!(
            not_probed(&verdict),
            ["dc1 to backend/web1 and 6 more: refused"]
        );
        verdict.not_probed = (1..8)
            .map(|n| left_out(&format!("dc{n}"), n, "refused"))
            .collect();
        let lines = not_probed(&verdict);
        assert_eq!(lines.len(), NOT_PROBED + 1);
        assert_eq!(lines[NOT_PROBED], "and 3 more, in `meshctl explain`");
        assert_eq!(all_not_probed(&verdict, 80).lines().count(), 14);
    }

    #[test]
    fn scripts_find_it_where_it_was_promised() {
        let json = serde_json::to_value(samples::chain()).unwrap();
        let fault = &json["faults"][0];
        assert_eq!(fault["began_at"], "2030-01-02T03:02:11.300Z");
        assert_eq!(fault["pattern"], "periodic");
        assert_eq!(fault["period_s"], 30.0);
        assert_eq!(
            json["earlier"],
            serde_json::json!([{
                "kind": "backend", "name": "web1", "mode": "http_5xx",
                "began_at": "2030-01-01T23:58:00.000Z", "ended_at": "2030-01-02T02:59:30.000Z",
            }])
        );
        assert_eq!(
            json["not_probed"][0],
            serde_json::json!({
                "vantage": "dc1", "arm": "backend/md",
                "because": "169.254.169.254 is link-local space, which is never probed",
            })
        );
        assert_eq!(json["standing"], serde_json::json!(["v-c4lm2d5x7a"]));
        let steady = serde_json::to_value(samples::fault()).unwrap();
        assert_eq!(steady["faults"][0]["pattern"], "steady");
        assert_eq!(steady["faults"][0].get("period_s"), None);
    }
}
