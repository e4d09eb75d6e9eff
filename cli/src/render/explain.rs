//! A verdict with everything that is behind it.

use localize::{Fault, Verdict, VerdictOutcome};

use super::beside;
use super::verdict::{
    candidate, detection, fault_body, fault_headline, origin, unexplained, verdict_line,
};
use super::words::{component, percent};
use super::wrap::wrap;
use crate::output::{Style, Tone};

/// Every line of evidence, why each cleared component is cleared, and every rival.
pub fn explain(verdict: &Verdict, style: Style) -> String {
    let mut out = String::new();
    if verdict.outcome == VerdictOutcome::Fault {
        for (index, fault) in verdict.faults.iter().enumerate() {
            out += &fault_headline(style, verdict, index);
            out += &fault_body(verdict, fault, style, usize::MAX);
            out += &rivals(fault, style);
            out.push('\n');
        }
    } else {
        out += &style.paint(Tone::Strong, &verdict_line(verdict));
        out += "\n\n";
    }
    out += &list(
        style,
        "Alarms of the watch that stand",
        &beside::standing(verdict),
    );
    out += &list(style, "Earlier, and over", &beside::earlier(verdict));
    if !verdict.exonerated.is_empty() {
        out += &heading(style, "Cleared, and why");
        for part in &verdict.exonerated {
            out += &format!(
                "  {} ({} sure)\n",
                component(&part.component),
                percent(part.confidence)
            );
            out += &wrap("      ", &part.because, style.width);
        }
        out.push('\n');
    }
    out += &others(verdict, style);
    if !verdict.not_probed.is_empty() {
        out += &heading(style, "Not probed, and why");
        out += &beside::all_not_probed(verdict, style.width);
        out.push('\n');
    }
    if !verdict.ask.is_empty() {
        out += &heading(style, "What would tell more");
        for ask in &verdict.ask {
            out += &wrap("  ", ask, style.width);
        }
        out.push('\n');
    }
    out += &wrap("", &detection(verdict), style.width);
    if !verdict.started_at.is_empty() {
        out += &format!("Started at {}.\n", verdict.started_at);
    }
    out += &wrap("", &origin(verdict).join("; "), style.width);
    out
}

/// What would stand in the fault's place, by how much it is worse, and why.
fn rivals(fault: &Fault, style: Style) -> String {
    let mut out = String::new();
    for (index, rival) in fault.rivals.iter().enumerate() {
        let heading = if index == 0 { "Rivals" } else { "" };
        let of = component(&rival.component);
        let text = format!("{of} {}, {}", rival.mode, rival.because);
        out += &wrap(&format!("  {heading:<10}"), &text, style.width);
    }
    out
}

/// Every candidate with its reason, and what no component explains.
fn others(verdict: &Verdict, style: Style) -> String {
    let mut out = String::new();
    for rival in &verdict.alternatives {
        out += &format!("  {}\n", candidate(rival));
        if !rival.because.is_empty() {
            out += &wrap(&" ".repeat(10), &rival.because, style.width);
        }
    }
    if let Some(line) = unexplained(verdict) {
        out += &format!("  {line}\n");
    }
    if out.is_empty() {
        return out;
    }
    heading(style, "Other explanations") + &out + "\n"
}

/// A section with a line for each item; nothing without items.
fn list(style: Style, title: &str, items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let lines: String = items.iter().map(|item| format!("  {item}\n")).collect();
    heading(style, title) + &lines + "\n"
}

fn heading(style: Style, text: &str) -> String {
    style.paint(Tone::Strong, text) + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn everything_is_told() {
        let style = Style {
            colour: false,
            width: 100,
        };
        let rows = [
            (samples::fault(), include_str!("golden/explain.txt")),
            (samples::chain(), include_str!("golden/explain_chain.txt")),
        ];
        for (sample, expected) in rows {
            let text = explain(&sample, style);
            assert_eq!(text, expected, "\n--- rendered:\n{text}");
        }
    }
}
