//! What has become of a verdict's faults, for people.

use std::fmt::Write as _;

use super::words::{counted, percent};
use super::wrap;
use crate::commands::{Decision, Mended, MendedFault};
use crate::output::{Style, Tone};

/// A line for each fault, a sentence of what that means, and both rates.
pub fn mended(mended: &Mended, style: Style) -> String {
    let mut text = String::new();
    for fault in &mended.faults {
        let (tone, word) = match fault.decision {
            Decision::Mended => (Tone::Good, "MENDED"),
            Decision::Undecided => (Tone::Doubt, "UNDECIDED"),
            Decision::NotMended => (Tone::Bad, "NOT MENDED"),
        };
        let _ = writeln!(text, "{}  {}", style.paint(tone, word), counts(fault));
        let meaning = format!("{} {}", meaning(fault, mended), rates(fault));
        text += &wrap("  ", &meaning, style.width);
    }
    text
}

/// The same on one line, while it is waited for.
pub fn mended_progress(mended: &Mended) -> String {
    let faults = mended.faults.iter().map(|fault| {
        let state = match fault.decision {
            Decision::Mended => "mended".to_owned(),
            Decision::NotMended => format!("still {}", words(fault).it_does),
            Decision::Undecided => match fault.probes_needed {
                Some(probes) => format!("{probes} quiet probes to go"),
                None => "undecided".to_owned(),
            },
        };
        let MendedFault { name, after, .. } = fault;
        format!(
            "{name}: {} of {} {} since, {state}",
            after.failed,
            after.of,
            words(fault).probes_did
        )
    });
    faults.collect::<Vec<_>>().join("; ")
}

/// Which fault, and how many of its probes failed before and since.
fn counts(fault: &MendedFault) -> String {
    let MendedFault {
        kind,
        name,
        mode,
        before,
        after,
        ..
    } = fault;
    format!(
        "{kind} {name} ({mode}): {} of {} probes {} before, {} of {} since {}.",
        before.failed,
        before.of,
        words(fault).probes_did,
        after.failed,
        after.of,
        after.from
    )
}

/// What the counts mean.
fn meaning(fault: &MendedFault, mended: &Mended) -> String {
    match fault.decision {
        Decision::Mended => over(fault),
        Decision::NotMended => format!(
            "It {} still{}: {}. {}",
            words(fault).it_does,
            trend(fault, &mended.service),
            last_failure(fault),
            missing(fault, mended)
        ),
        Decision::Undecided if fault.rounds == 0 => format!(
            "Nothing that could show it has been probed since. {}",
            missing(fault, mended)
        ),
        Decision::Undecided => {
            let quiet = match &fault.last_failure_at {
                Some(at) => format!(
                    "It {} last at {at}, and has been quiet since",
                    words(fault).it_did
                ),
                None => "It has been quiet so far".to_owned(),
            };
            format!(
                "{quiet}; unchanged it would be for as long with a probability of {}. {}",
                percent(fault.chance),
                missing(fault, mended)
            )
        }
    }
}

fn over(fault: &MendedFault) -> String {
    let quiet = &fault.quiet;
    let odds = "the odds against a fault that is unchanged are";
    let e_value = match fault.e_value {
        e if e < 1e6 => format!("{e:.0} to 1"),
        _ => "over a million to 1".to_owned(),
    };
    match quiet.of == fault.after.of {
        true => format!("It is over: {odds} {e_value}."),
        false => format!(
            "It is over since about {}; {} of {} probes {} from then on: {odds} {e_value}.",
            quiet.from,
            quiet.failed,
            quiet.of,
            words(fault).probes_did
        ),
    }
}

/// How one speaks of a fault: an answer that is late has not failed.
struct Words {
    probes_did: &'static str,
    it_does: &'static str,
    it_did: &'static str,
    event: &'static str,
}

fn words(fault: &MendedFault) -> Words {
    match fault.mode.as_str() {
        "slow" => Words {
            probes_did: "were late",
            it_does: "is late",
            it_did: "was late",
            event: "late answer",
        },
        _ => Words {
            probes_did: "failed",
            it_does: "fails",
            it_did: "failed",
            event: "failure",
        },
    }
}

/// Whether it fails otherwise than it did.
fn trend(fault: &MendedFault, service: &str) -> String {
    let (before, after) = (&fault.before.rate, &fault.after.rate);
    if after.high < before.low {
        ", though less often than before".to_owned()
    } else if after.low > before.high {
        format!(
            ", more often than before: it or another fault (`meshctl localize {service}` tells)"
        )
    } else {
        String::new()
    }
}

fn last_failure(fault: &MendedFault) -> String {
    match &fault.last_failure_at {
        Some(at) => format!("the last {} was at {at}", words(fault).event),
        None => format!("no {} since", words(fault).event),
    }
}

/// What it takes for "mended".
fn missing(fault: &MendedFault, mended: &Mended) -> String {
    let (Some(rounds), Some(probes)) = (fault.rounds_needed, fault.probes_needed) else {
        return "It was too rare for any number of quiet probes to tell.".to_owned();
    };
    let more = match fault.rounds {
        1.. if fault.decision == Decision::Undecided => " more",
        _ => "",
    };
    let rounds = counted(rounds, "round");
    let mended_takes = match fault.decision {
        Decision::NotMended => "Once it is mended, and --since says when, that takes",
        Decision::Mended | Decision::Undecided => "Mended takes",
    };
    match fault.needed_ms {
        Some(ms) => {
            let time = duration(ms);
            format!("{mended_takes} {probes}{more} quiet probes: {rounds}, {time} of the schedule.")
        }
        None => format!(
            "{mended_takes} {probes}{more} quiet probes: {rounds}; none goes by itself, `meshctl localize {}` fires some.",
            mended.service
        ),
    }
}

/// A length of time, roughly.
fn duration(ms: u64) -> String {
    match ms.div_ceil(1000) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds.div_ceil(60)),
        seconds @ 7_200..172_800 => format!("{} h", seconds.div_ceil(3_600)),
        seconds => format!("{} days", seconds.div_ceil(86_400)),
    }
}

/// Both rates with their intervals.
fn rates(fault: &MendedFault) -> String {
    let interval = |rate: &localize::Rate| {
        format!(
            "{} ({} to {})",
            percent(rate.estimate),
            percent(rate.low),
            percent(rate.high)
        )
    };
    let before = interval(&fault.before.rate);
    if fault.after.of == 0 {
        return format!("Rate before, with its 95% interval: {before}.");
    }
    let since = match fault.decision {
        Decision::Mended => interval(&fault.quiet.rate),
        Decision::Undecided | Decision::NotMended => interval(&fault.after.rate),
    };
    format!("Rates with their 95% intervals: {before} before, {since} since.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::MendedStretch;

    const PLAIN: Style = Style {
        colour: false,
        width: 1000,
    };

    fn stretch(failed: u64, of: u64, from: &str) -> MendedStretch {
        let counts = localize::interval::Counts { failed, of };
        MendedStretch {
            failed,
            of,
            rate: localize::interval::jeffreys(counts),
            from: format!("2026-01-02T{from}.000Z"),
        }
    }

    fn of(fault: MendedFault) -> Mended {
        Mended {
            verdict: "v-1".to_owned(),
            service: "shop".to_owned(),
            since: String::new(),
            every_ms: Some(10_000),
            decision: fault.decision,
            faults: vec![fault],
        }
    }

    fn fault(decision: Decision, failed: u64, of: u64) -> MendedFault {
        MendedFault {
            kind: "backend".to_owned(),
            name: "web2".to_owned(),
            mode: "http_5xx".to_owned(),
            decision,
            before: stretch(5, 73, "11:58:00"),
            after: stretch(failed, of, "12:03:11"),
            quiet: stretch(0, of, "12:03:11"),
            rounds: of / 3,
            last_failure_at: (failed > 0).then(|| "2026-01-02T12:20:00.000Z".to_owned()),
            e_value: 41.2,
            chance: 0.2,
            rounds_needed: (decision != Decision::Mended).then_some(21),
            probes_needed: (decision != Decision::Mended).then_some(63),
            needed_ms: (decision != Decision::Mended).then_some(210_000),
        }
    }

    fn check(fault: MendedFault, expected: &str) {
        assert_eq!(mended(&of(fault), PLAIN), expected);
    }

    const BEFORE: &str = "backend web2 (http_5xx): 5 of 73 probes failed before,";

    #[test]
    fn a_mended_fault() {
        check(
            fault(Decision::Mended, 0, 360),
            &format!(
                "MENDED  {BEFORE} 0 of 360 since 2026-01-02T12:03:11.000Z.\n  It is over: the odds \
                 against a fault that is unchanged are 41 to 1. Rates with their 95% intervals: 7% (3% \
                 to 14%) before, 0.1% (0% to 0.7%) since.\n"
            ),
        );
        let late = MendedFault {
            quiet: stretch(0, 350, "12:20:00"),
            ..fault(Decision::Mended, 2, 360)
        };
        check(
            late,
            &format!(
                "MENDED  {BEFORE} 2 of 360 since 2026-01-02T12:03:11.000Z.\n  It is over since about \
                 2026-01-02T12:20:00.000Z; 0 of 350 probes failed from then on: the odds against a \
                 fault that is unchanged are 41 to 1. Rates with their 95% intervals: 7% (3% to 14%) \
                 before, 0.1% (0% to 0.7%) since.\n"
            ),
        );
    }

    #[test]
    fn one_that_still_fails() {
        let rows = [
            (3, 40, "", "9% (2% to 19%)"),
            (
                3,
                400,
                ", though less often than before",
                "0.9% (0.2% to 2%)",
            ),
            (
                39,
                40,
                ", more often than before: it or another fault (`meshctl localize shop` tells)",
                "96% (89% to 99.7%)",
            ),
        ];
        for (failed, of, trend, since) in rows {
            check(
                fault(Decision::NotMended, failed, of),
                &format!(
                    "NOT MENDED  {BEFORE} {failed} of {of} since 2026-01-02T12:03:11.000Z.\n  It fails \
                     still{trend}: the last failure was at 2026-01-02T12:20:00.000Z. Once it is mended, \
                     and --since says when, that takes 63 quiet probes: 21 rounds, 4 min of the schedule. Rates with their 95% intervals: 7% \
                     (3% to 14%) before, {since} since.\n"
                ),
            );
        }
    }

    #[test]
    fn one_of_which_too_little_was_seen() {
        check(
            fault(Decision::Undecided, 0, 12),
            &format!(
                "UNDECIDED  {BEFORE} 0 of 12 since 2026-01-02T12:03:11.000Z.\n  It has been quiet so \
                 far; unchanged it would be for as long with a probability of 20%. Mended takes 63 more \
                 quiet probes: 21 rounds, 4 min of the schedule. Rates with their 95% intervals: 7% (3% \
                 to 14%) before, 4% (0% to 19%) since.\n"
            ),
        );
        let unscheduled = MendedFault {
            needed_ms: None,
            ..fault(Decision::Undecided, 0, 0)
        };
        check(
            unscheduled,
            &format!(
                "UNDECIDED  {BEFORE} 0 of 0 since 2026-01-02T12:03:11.000Z.\n  Nothing that could show \
                 it has been probed since. Mended takes 63 quiet probes: 21 rounds; none goes by itself, \
                 `meshctl localize shop` fires some. Rate before, with its 95% interval: 7% (3% to \
                 14%).\n"
            ),
        );
    }

    #[test]
    fn late_answers_have_not_failed() {
        let slow = |decision| MendedFault {
            mode: "slow".to_owned(),
            ..fault(decision, 3, 40)
        };
        for decision in [Decision::NotMended, Decision::Undecided, Decision::Mended] {
            let said = mended(&of(slow(decision)), PLAIN);
            assert!(said.contains("5 of 73 probes were late before"), "{said}");
            assert!(!said.contains("fail"), "{said}");
        }
    }

    #[test]
    fn progress_says_what_is_missing() {
        let line = mended_progress(&of(fault(Decision::Undecided, 0, 12)));
        assert_eq!(line, "web2: 0 of 12 failed since, 63 quiet probes to go");
    }
}
