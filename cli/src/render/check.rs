//! What a check of a service file has found, for people.

use proto::v1::CheckServiceResponse;
use proto::v1::check_service_response::{Finding, Grade, Tried};

use super::words::{counted, micros};
use super::wrap;
use crate::output::{Style, Tone};

/// Columns of the left margin with the headings of a finding's lines.
const MARGIN: usize = 12;
/// Arms of a kind that are named; the JSON names all.
const ARMS: usize = 24;

/// The whole of it: the findings, the gravest first of what the file says, and what became of the arms.
pub fn check(checked: &CheckServiceResponse, style: Style) -> String {
    let tone = match worst(checked) {
        Some(Grade::Error) => Tone::Bad,
        Some(Grade::Warning) => Tone::Doubt,
        Some(Grade::Note | Grade::Unspecified) | None if checked.probes == 0 => Tone::Doubt,
        Some(Grade::Note | Grade::Unspecified) | None => Tone::Good,
    };
    let mut out = format!(
        "{}  {}  {}\n",
        style.paint(tone, "CHECKED"),
        style.paint(Tone::Strong, &checked.name),
        summary(checked),
    );
    for finding in &checked.findings {
        out.push('\n');
        out += &one(finding, style);
    }
    out.push('\n');
    out += &arms(&checked.arms, style.width);
    out + &wrap("", &origin(checked), style.width)
}

/// The gravest grade of all findings.
pub fn worst(checked: &CheckServiceResponse) -> Option<Grade> {
    checked.findings.iter().map(Finding::grade).max()
}

/// The word of a grade, as in the JSON.
pub const fn grade(grade: Grade) -> &'static str {
    match grade {
        Grade::Error => "error",
        Grade::Warning => "warning",
        Grade::Note | Grade::Unspecified => "note",
    }
}

fn summary(checked: &CheckServiceResponse) -> String {
    let count = |wanted: Grade| {
        let found = checked.findings.iter();
        let found = found.filter(|f| grade(f.grade()) == grade(wanted)).count();
        (found > 0).then(|| counted(found as u64, grade(wanted)))
    };
    let counts = [Grade::Error, Grade::Warning, Grade::Note].map(count);
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    match (counts.is_empty(), checked.probes) {
        (true, 0) => "nothing was probed".to_owned(),
        (true, _) => "all of the file holds".to_owned(),
        (false, _) => counts.join(", "),
    }
}

fn one(finding: &Finding, style: Style) -> String {
    let (tone, word) = match finding.grade() {
        Grade::Error => (Tone::Bad, "ERROR"),
        Grade::Warning => (Tone::Doubt, "WARNING"),
        Grade::Note | Grade::Unspecified => (Tone::Strong, "NOTE"),
    };
    let value = match finding.value.lines().next() {
        None => String::new(),
        Some(first) if first.len() < finding.value.len() => format!(" = {first} ..."),
        Some(first) => format!(" = {first}"),
    };
    let place = match finding.line {
        0 => String::new(),
        line => format!("  line {line}, {}{value}", finding.field),
    };
    let next = match finding.next.as_str() {
        "" => String::new(),
        next => wrap(&format!("  {:1$}", "Next", MARGIN - 2), next, style.width),
    };
    format!("{}{place}\n", style.paint(tone, word))
        + &wrap("  ", &finding.what, style.width)
        + &next
}

/// What became of the arms, by what it was.
fn arms(arms: &[Tried], width: usize) -> String {
    let mut groups: [(&str, Vec<String>); 4] =
        ["Answered", "In part", "Failed", "Not probed"].map(|heading| (heading, Vec::new()));
    for tried in arms {
        let (place, name) = match (tried.passed.is_empty(), tried.failed.is_empty()) {
            (false, true) => (0, tried.arm.clone()),
            (false, false) => (
                1,
                format!("{} (not to {})", tried.arm, tried.failed.join(", ")),
            ),
            (true, false) => (2, tried.arm.clone()),
            (true, true) => (3, tried.arm.clone()),
        };
        groups[place].1.push(name);
    }
    let mut out = String::new();
    for (heading, mut names) in groups {
        if names.is_empty() {
            continue;
        }
        if names.len() > ARMS {
            let rest = names.split_off(ARMS - 1);
            names.push(counted(rest.len() as u64, "other"));
        }
        out += &wrap(&format!("{heading:MARGIN$}"), &names.join(", "), width);
    }
    match out.is_empty() {
        true => out,
        false => out + "\n",
    }
}

fn origin(checked: &CheckServiceResponse) -> String {
    let from = match checked.vantages.is_empty() {
        true => String::new(),
        false => format!(" from {}", checked.vantages.join(", ")),
    };
    format!(
        "{}, {}{from}, of which nothing is kept; {}",
        counted(checked.rounds.into(), "round"),
        counted(checked.probes, "probe"),
        micros(checked.elapsed_ms.saturating_mul(1000)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style {
        colour: false,
        width: 80,
    };

    fn tried(arm: &str, passed: &[&str], failed: &[&str], not_probed: &[&str]) -> Tried {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Tried {
            arm: arm.to_owned(),
            passed: names(passed),
            failed: names(failed),
            not_probed: names(not_probed),
        }
    }

    /// A file with a finding of each grade.
    pub(crate) fn sample() -> CheckServiceResponse {
        let finding =
            |grade: Grade, line, field: &str, value: &str, what: &str, next: &str| Finding {
                grade: grade.into(),
                line,
                field: field.to_owned(),
                value: value.to_owned(),
                what: what.to_owned(),
                next: next.to_owned(),
                ..Finding::default()
            };
        CheckServiceResponse {
            name: "shop.example".to_owned(),
            findings: vec![
                finding(
                    Grade::Warning,
                    9,
                    "load_balancer.vip[0]",
                    "\"203.0.113.19:443\"",
                    "Leaves connections unanswered just now; asked twice by cdn1 and dc1.",
                    "Is the address right, and does a firewall let the agents in? If the file is \
                     right, `meshctl localize shop.example` tells what is broken.",
                ),
                finding(
                    Grade::Error,
                    17,
                    "backend[1].address",
                    "\"10.0.0.51:80\"",
                    "The address of web1 as well: no probe can tell the two apart.",
                    "Give web2 its own address, or leave it out.",
                ),
                finding(
                    Grade::Note,
                    0,
                    "",
                    "",
                    "Agent dc2 fired nothing: the agent has no estimate of mesh time yet.",
                    "If it has just started, check again in some seconds; else its log says more.",
                ),
            ],
            arms: vec![
                tried("resolver/192.0.2.1", &["cdn1", "dc1"], &[], &[]),
                tried("edge/198.51.100.1", &["cdn1"], &["dc1"], &[]),
                tried("vip/203.0.113.19:443", &[], &["cdn1", "dc1"], &[]),
                tried("backend/web1", &["dc1"], &[], &["dc2"]),
                tried("backend/web2", &[], &[], &["dc2"]),
            ],
            vantages: ["cdn1", "dc1", "dc2"].map(str::to_owned).into(),
            rounds: 2,
            probes: 19,
            elapsed_ms: 8_312,
        }
    }

    #[test]
    fn findings_come_with_their_lines() {
        assert_eq!(check(&sample(), PLAIN), include_str!("golden/check.txt"));
    }

    #[test]
    fn the_headline_says_how_much() {
        let rows = [
            (vec![], 0, "nothing was probed"),
            (vec![], 9, "all of the file holds"),
            (vec![Grade::Note, Grade::Note], 9, "2 notes"),
            (
                vec![Grade::Note, Grade::Warning, Grade::Error],
                9,
                "1 error, 1 warning, 1 note",
            ),
        ];
        for (grades, probes, expected) in rows {
            let grades = grades.into_iter();
            let findings = grades.map(|grade| Finding {
                grade: grade.into(),
                ..Finding::default()
            });
            let checked = CheckServiceResponse {
                findings: findings.collect(),
                probes,
                ..CheckServiceResponse::default()
            };
            assert_eq!(summary(&checked), expected);
        }
    }
}
