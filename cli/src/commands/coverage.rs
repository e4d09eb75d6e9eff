//! `meshctl coverage`: what the scheduled rounds would show, and what no probe tells apart.

use proto::json;
use proto::v1::coverage_response::{Part, Price};
use proto::v1::{Component, CoverageRequest, CoverageResponse, NotProbed};
use serde_json::Value;

use super::Session;
use crate::connect::{About, Subject};
use crate::exit::Exit;
use crate::render::{Grid, Table, percent, wrap};
use crate::trouble::Trouble;

pub async fn run(mut session: Session<'_>, name: &str) -> Result<Exit, Trouble> {
    let request = session.request(CoverageRequest {
        service: name.to_owned(),
    });
    let answer = session.client.coverage(request).await;
    let coverage = answer.about(Subject::Service(name))?;
    let value: Vec<Value> = coverage.parts.iter().map(json::part).collect();
    session
        .output
        .list(&value, "Nothing is known of the path yet.", |grid| {
            text(&coverage, grid, session.output.style().width)
        })?;
    Ok(Exit::Ok)
}

fn component(component: Option<&Component>) -> String {
    component.map_or_else(String::new, |c| format!("{} {}", c.kind, c.name))
}

fn text(coverage: &CoverageResponse, grid: Grid, width: usize) -> String {
    let headings = [
        "COMPONENT",
        "PROBES/ROUND",
        "1 HOUR",
        "1 DAY",
        "NOT TOLD FROM",
    ];
    let mut table = Table::new(headings).numbers(1..4);
    let rate = |rate: Option<f64>| rate.map(percent).unwrap_or_default();
    let mut told: Vec<&Component> = Vec::new();
    for part in &coverage.parts {
        table.row([
            component(part.component.as_ref()),
            format!("{:.1}", part.probes_per_round),
            rate(part.rate_seen_in_an_hour),
            rate(part.rate_seen_in_a_day),
            not_told_from(part, &told),
        ]);
        told.extend(&part.component);
    }
    let parts = &coverage.parts;
    let prices = prices(coverage);
    table.text(grid) + &legend(coverage) + &prices + &unknown(parts, width) + &asks(parts, width)
}

/// What rounds cost beyond their plain arms.
fn prices(coverage: &CoverageResponse) -> String {
    let price = |p: &Price| format!("{} {}", p.probes_per_round, p.way);
    let prices: Vec<String> = coverage.prices.iter().map(price).collect();
    let again = match prices.is_empty() {
        true => String::new(),
        false => format!(
            "Of a round's probes are fired once more: {}.\n",
            prices.join(", ")
        ),
    };
    let traces = match coverage.trace_syns_per_minute {
        0 => String::new(),
        most => format!(
            "To trace ways to who stays silent: at most {most} SYNs a minute, and none while all answer.\n"
        ),
    };
    again + &traces
}

/// The arms of which nothing is known, each once.
fn unknown(parts: &[Part], width: usize) -> String {
    let mut arms: Vec<&NotProbed> = Vec::new();
    for arm in parts.iter().flat_map(|part| &part.not_probed) {
        if !arms.contains(&arm) {
            arms.push(arm);
        }
    }
    if arms.is_empty() {
        return String::new();
    }
    let mut text = "\nNot probed, and counted nowhere:\n".to_owned();
    for arm in arms {
        text += &format!("  {} to {}\n", arm.vantage, arm.arm);
        text += &wrap("      ", &arm.because, width);
    }
    text
}

/// The rest of a component's group, once for each group.
fn not_told_from(part: &Part, told: &[&Component]) -> String {
    match part.same_as.iter().find(|c| told.contains(c)) {
        Some(first) => format!("see {}", component(Some(first))),
        None => {
            let same = part.same_as.iter().map(|c| component(Some(c)));
            same.collect::<Vec<String>>().join(", ")
        }
    }
}

/// What the columns of rates mean.
fn legend(coverage: &CoverageResponse) -> String {
    match coverage.every_ms {
        None => "\nNo round goes by itself: give the service file a [schedule] with `every`.\n"
            .to_owned(),
        Some(every_ms) => format!(
            "\n1 HOUR, 1 DAY: a fault that fails this share of the probes crossing it is seen within that time\n\
             with a probability of 95%, by a round every {} s and what is known so far of calm times;\n\
             at most one false alarm in {:.0} days.\n",
            every_ms as f64 / 1e3,
            1.0 / coverage.false_alarms_per_day.max(f64::MIN_POSITIVE)
        ),
    }
}

/// What would tell more apart, with all that it is good for.
fn asks(parts: &[Part], width: usize) -> String {
    let mut asks: Vec<(&str, Vec<String>)> = Vec::new();
    for part in parts.iter().filter(|part| !part.ask.is_empty()) {
        let name = component(part.component.as_ref());
        match asks.iter_mut().find(|(ask, _)| *ask == part.ask) {
            Some((_, names)) => names.push(name),
            None => asks.push((&part.ask, vec![name])),
        }
    }
    if asks.is_empty() {
        return String::new();
    }
    let mut text = "\nTo tell more apart:\n".to_owned();
    for (ask, names) in asks {
        text += &format!("  {ask}\n");
        text += &wrap("      for ", &names.join(", "), width);
    }
    text
}
