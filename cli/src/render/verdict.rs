//! A verdict for the person on call: the headline says it, the rest says why and what next.

use std::fmt::Write as _;

use localize::{Alternative, Component, Detection, Evidence, Fault, Kind, Verdict, VerdictOutcome};

use super::beside;
use super::words::{component, counted, kind, micros, outcome, percent};
use super::wrap::wrap;
use crate::output::{Style, Tone};

/// Lines of evidence of a fault, and how many of them may be contrasts; `meshctl explain` shows all.
const EVIDENCE_LINES: usize = 6;
const CONTRASTS: usize = 2;
/// From this probability on that no component explains what is seen, the verdict says so.
const UNEXPLAINED: f64 = 0.03;
/// Rival explanations; the rest is in `meshctl explain`.
const ALTERNATIVES: usize = 4;
/// Cleared components of a kind that are named; `meshctl explain` names all.
const NAMES: usize = 4;
/// Columns of the left margin with the headings of a fault's lines.
const MARGIN: usize = 12;

/// The whole verdict.
pub fn verdict(verdict: &Verdict, style: Style) -> String {
    let mut out = String::new();
    match verdict.outcome {
        VerdictOutcome::Healthy => {
            out += &headline(style, Tone::Good, verdict, "no component at fault");
            out += &wrap("  ", &detection(verdict), style.width);
        }
        VerdictOutcome::Inconclusive => {
            out += &headline(style, Tone::Doubt, verdict, &open_question(verdict));
        }
        VerdictOutcome::Fault => {
            for (index, fault) in verdict.faults.iter().enumerate() {
                if index > 0 {
                    out.push('\n');
                }
                out += &fault_headline(style, verdict, index);
                out += &fault_body(verdict, fault, style, EVIDENCE_LINES);
            }
        }
    }
    out.push('\n');
    out += &others(verdict, style);
    let mut parts = origin(verdict);
    if verdict.outcome != VerdictOutcome::Healthy && verdict.detection.power > 0.0 {
        let Detection { rate, power } = verdict.detection;
        let shows = format!(
            "a fault of {} would show with {}",
            percent(rate),
            percent(power)
        );
        parts.insert(2, shows);
    }
    out += &wrap("", &parts.join("; "), style.width);
    out
}

/// The verdict on one line, for lists and for `watch`.
pub fn verdict_line(verdict: &Verdict) -> String {
    let what = match verdict.outcome {
        VerdictOutcome::Healthy => String::new(),
        VerdictOutcome::Inconclusive => open_question(verdict),
        VerdictOutcome::Fault => {
            let faults: Vec<String> = verdict
                .faults
                .iter()
                .map(|fault| {
                    format!(
                        "{} {} {}",
                        component(&fault.component),
                        fault.mode,
                        percent(fault.confidence)
                    )
                })
                .collect();
            faults.join(", ")
        }
    };
    format!("{} {} {what}", outcome(verdict.outcome), verdict.service)
        .trim_end()
        .to_owned()
}

fn headline(style: Style, tone: Tone, verdict: &Verdict, what: &str) -> String {
    format!(
        "{}  {}  {what}\n",
        style.paint(tone, outcome(verdict.outcome)),
        style.paint(Tone::Strong, &verdict.service),
    )
}

fn open_question(verdict: &Verdict) -> String {
    match verdict.alternatives.as_slice() {
        [] if !verdict.standing.is_empty() => {
            "an alarm stands, and nothing proves it over".to_owned()
        }
        [] if verdict.unknown > 0.5 => "something that no known component explains".to_owned(),
        [] => "nothing is blamed, but too little was seen to call it healthy".to_owned(),
        [one] => format!("perhaps {}", component(&one.component)),
        [first, second] => format!(
            "{} or {}",
            component(&first.component),
            component(&second.component)
        ),
        [first, second, rest @ ..] => format!(
            "{}, {} or {}",
            component(&first.component),
            component(&second.component),
            counted(rest.len() as u64, "other")
        ),
    }
}

/// What goes wrong, where, how sure, and whether anybody feels it: one line a fault.
pub(super) fn fault_headline(style: Style, verdict: &Verdict, index: usize) -> String {
    let Some(fault) = verdict.faults.get(index) else {
        return String::new();
    };
    let word = match verdict.faults.len() {
        1 => "FAULT".to_owned(),
        several => format!("FAULT {} of {several}", index + 1),
    };
    let impact = if fault.user_impact {
        "users are affected"
    } else {
        "masked"
    };
    format!(
        "{}  {}  {}  {}  {} sure  {impact}\n",
        style.paint(Tone::Bad, &word),
        verdict.service,
        style.paint(Tone::Strong, &component(&fault.component)),
        fault.mode,
        percent(fault.confidence),
    )
}

/// Summary, owner, since when, rate, evidence and next step.
pub(super) fn fault_body(verdict: &Verdict, fault: &Fault, style: Style, most: usize) -> String {
    let mut out = wrap("  ", &fault.summary, style.width);
    out += &entry("Since", &beside::since(fault, verdict), style.width);
    out += &entry("Owner", &fault.owner, style.width);
    let rate = &fault.rate;
    out += &entry(
        "Rate",
        &format!(
            "{} of the probes that cross it (95% interval {} to {})",
            percent(rate.estimate),
            percent(rate.low),
            percent(rate.high)
        ),
        style.width,
    );
    out += &evidence(&fault.evidence, style, most);
    out += &entry("Next", &fault.next_step, style.width);
    out
}

fn evidence(evidence: &[Evidence], style: Style, most: usize) -> String {
    let mut out = String::new();
    for (index, cell) in strongest(evidence, most).into_iter().enumerate() {
        let heading = if index == 0 { "Evidence" } else { "" };
        out += &wrap(&format!("  {heading:<10}"), &cell.text, style.width);
    }
    let hidden = evidence.len().saturating_sub(most);
    if hidden > 0 {
        let _ = writeln!(out, "{:MARGIN$}and {hidden} more, in `meshctl explain`", "");
    }
    out
}

/// The lines that carry most, in the order in which they came: contrasts take the places that they are
/// allowed, and those that lines against the component leave free.
fn strongest(evidence: &[Evidence], most: usize) -> Vec<&Evidence> {
    let mut ranked: Vec<&Evidence> = evidence.iter().collect();
    ranked.sort_by(|a, b| b.nats.total_cmp(&a.nats));
    let contrasts = ranked.iter().filter(|line| !line.implicates).count();
    let against = ranked.len() - contrasts;
    let contrasts = contrasts.min(CONTRASTS.max(most.saturating_sub(against)));
    let against = most.saturating_sub(contrasts);
    let some = |implicates, count| {
        let lines = ranked.iter().filter(move |l| l.implicates == implicates);
        lines.take(count).copied()
    };
    let chosen: Vec<&Evidence> = some(true, against).chain(some(false, contrasts)).collect();
    let lines = evidence.iter();
    lines
        .filter(|line| chosen.iter().any(|c| core::ptr::eq(*c, *line)))
        .collect()
}

fn entry(heading: &str, text: &str, width: usize) -> String {
    if text.is_empty() {
        return String::new();
    }
    wrap(&format!("  {heading:<10}"), text, width)
}

/// What stands and what is over, the cleared, the rivals, what was not probed, and what would tell more.
fn others(verdict: &Verdict, style: Style) -> String {
    let mut out = items("Standing", &beside::standing(verdict), style.width);
    out += &items("Earlier", &beside::earlier(verdict), style.width);
    out += &items("Cleared", &cleared(verdict), style.width);
    let heading = match verdict.outcome {
        VerdictOutcome::Inconclusive => "Candidates",
        VerdictOutcome::Healthy | VerdictOutcome::Fault => "Or else",
    };
    for (index, candidate) in candidates(verdict, ALTERNATIVES).iter().enumerate() {
        let heading = if index == 0 { heading } else { "" };
        let _ = writeln!(out, "{heading:<MARGIN$}{candidate}");
    }
    let hidden = verdict.alternatives.len().saturating_sub(ALTERNATIVES);
    if hidden > 0 {
        let _ = writeln!(out, "{:MARGIN$}and {hidden} less likely", "");
    }
    out += &items("Not probed", &beside::not_probed(verdict), style.width);
    for ask in &verdict.ask {
        out += &wrap(&format!("{:<MARGIN$}", "To tell"), ask, style.width);
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// The first of the candidates, a line each, and what is left to something that no component explains.
fn candidates(verdict: &Verdict, most: usize) -> Vec<String> {
    let rivals = verdict.alternatives.iter().take(most);
    let mut lines: Vec<String> = rivals.map(candidate).collect();
    lines.extend(unexplained(verdict));
    lines
}

/// How probable a candidate is, which it is, and what it would do wrong.
pub(super) fn candidate(rival: &Alternative) -> String {
    format!(
        "{:>6}  {}  {}",
        percent(rival.confidence),
        component(&rival.component),
        rival.mode
    )
}

/// What no component explains, where that has a share worth knowing.
pub(super) fn unexplained(verdict: &Verdict) -> Option<String> {
    let share = percent(verdict.unknown);
    (verdict.unknown >= UNEXPLAINED)
        .then(|| format!("{share:>6}  something that no known component explains"))
}

/// Kind by kind, with the names of the cleared.
fn cleared(verdict: &Verdict) -> Vec<String> {
    let mut kinds: Vec<(Kind, Vec<&str>)> = Vec::new();
    for part in &verdict.exonerated {
        let Component { kind, name } = &part.component;
        match kinds.iter_mut().find(|(known, _)| known == kind) {
            Some((_, names)) => names.push(name),
            None => kinds.push((*kind, vec![name])),
        }
    }
    kinds
        .into_iter()
        .map(|(of, names)| format!("{} {}", kind(of), some(&names, in_question(verdict, of))))
        .collect()
}

/// Whether a component of this kind is blamed or a rival.
fn in_question(verdict: &Verdict, kind: Kind) -> bool {
    let blamed = verdict.faults.iter().map(|fault| &fault.component);
    let rivals = verdict.alternatives.iter().map(|rival| &rival.component);
    blamed.chain(rivals).any(|component| component.kind == kind)
}

/// The names, or how many they are where reading them all helps nobody.
fn some(names: &[&str], in_question: bool) -> String {
    let hidden = names.len().saturating_sub(NAMES);
    if hidden == 0 {
        names.join(", ")
    } else if in_question {
        format!("{} and {hidden} more", names[..NAMES].join(", "))
    } else {
        format!("(all {})", names.len())
    }
}

/// A heading with one item a line.
fn items(heading: &str, items: &[String], width: usize) -> String {
    items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let heading = if index == 0 { heading } else { "" };
            wrap(&format!("{heading:<MARGIN$}"), item, width)
        })
        .collect()
}

/// What the probes could have seen.
pub(super) fn detection(verdict: &Verdict) -> String {
    format!(
        "A fault in {} of the requests through any component would have been seen with a \
         probability of {}.",
        percent(verdict.detection.rate),
        percent(verdict.detection.power)
    )
}

/// Where the verdict comes from, how long it took, and its id.
pub(super) fn origin(verdict: &Verdict) -> Vec<String> {
    let mut parts = vec![
        format!(
            "{}, {} from {}",
            counted(verdict.rounds, "round"),
            counted(verdict.probes, "probe"),
            if verdict.vantages.is_empty() {
                "nowhere".to_owned()
            } else {
                verdict.vantages.join(", ")
            }
        ),
        format!(
            "clocks within {}",
            micros(verdict.clock.worst_uncertainty_us)
        ),
    ];
    if verdict.elapsed_ms > 0 {
        parts.push(micros(verdict.elapsed_ms.saturating_mul(1000)));
    }
    if !verdict.id.is_empty() {
        parts.push(format!("id {}", verdict.id));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    const PLAIN: Style = Style {
        colour: false,
        width: 100,
    };

    #[test]
    fn verdicts_read_as_they_should() {
        let rows = [
            (samples::fault(), include_str!("golden/fault.txt")),
            (samples::masked(), include_str!("golden/masked.txt")),
            (samples::two_faults(), include_str!("golden/two_faults.txt")),
            (samples::healthy(), include_str!("golden/healthy.txt")),
            (
                samples::inconclusive(),
                include_str!("golden/inconclusive.txt"),
            ),
            (samples::chain(), include_str!("golden/chain.txt")),
        ];
        for (sample, expected) in rows {
            let text = verdict(&sample, PLAIN);
            assert_eq!(text, expected, "\n--- rendered:\n{text}");
        }
    }

    #[test]
    fn the_strongest_lines_are_shown_and_some_contrasts_with_them() {
        let line = |implicates, nats| Evidence {
            text: String::new(),
            vantage: String::new(),
            arm: String::new(),
            failed: 0,
            of: 1,
            failure: String::new(),
            implicates,
            nats,
        };
        let lines = [
            line(false, 0.1),
            line(true, 1.0),
            line(true, 9.0),
            line(false, 0.3),
            line(false, 0.2),
            line(true, 5.0),
        ];
        let rows: [(usize, &[f64]); 4] = [
            (6, &[0.1, 1.0, 9.0, 0.3, 0.2, 5.0]),
            (5, &[1.0, 9.0, 0.3, 0.2, 5.0]),
            (4, &[9.0, 0.3, 0.2, 5.0]),
            (3, &[9.0, 0.3, 0.2]),
        ];
        for (most, expected) in rows {
            let nats: Vec<f64> = strongest(&lines, most).iter().map(|l| l.nats).collect();
            assert_eq!(nats, expected, "{most}");
        }
        let few = [
            line(true, 1.0),
            line(false, 0.1),
            line(false, 0.2),
            line(false, 0.3),
        ];
        assert_eq!(strongest(&few, 4).len(), 4);
    }

    #[test]
    fn no_line_is_wider_than_asked_where_words_allow() {
        let narrow = Style {
            colour: false,
            width: 60,
        };
        for line in verdict(&samples::healthy(), narrow).lines().skip(1) {
            assert!(line.chars().count() <= 60, "{line}");
        }
    }

    #[test]
    fn colours_come_only_when_welcome() {
        let colourful = Style {
            colour: true,
            width: 100,
        };
        assert!(verdict(&samples::fault(), colourful).starts_with("\x1b[1;31mFAULT\x1b[0m"));
        assert!(!verdict(&samples::fault(), PLAIN).contains('\x1b'));
    }

    #[test]
    fn one_line_holds_the_essence() {
        let rows = [
            (
                samples::fault(),
                "FAULT shop.example backend web2 http_5xx 98%",
            ),
            (samples::healthy(), "HEALTHY shop.example"),
            (
                Verdict {
                    outcome: VerdictOutcome::Inconclusive,
                    standing: vec!["v-1".to_owned()],
                    ..samples::healthy()
                },
                "INCONCLUSIVE shop.example an alarm stands, and nothing proves it over",
            ),
        ];
        for (sample, expected) in rows {
            assert_eq!(verdict_line(&sample), expected);
        }
    }
}
