//! What scheduled rounds would show, and who cannot be told from whom.

use askama::Template;
use axum::extract::State;
use proto::v1::coverage_response::Part;
use proto::v1::{Component, CoverageResponse};
use proto::words::percent;

use super::super::Shared;
use super::super::asked::InPath;
use super::{Answer, Frame, Place, html};
use crate::clock;

#[derive(Template)]
#[template(path = "web/coverage.html")]
struct Coverage {
    frame: Frame,
    name: String,
    legend: String,
    rows: Vec<Row>,
    asks: Vec<(String, Vec<String>)>,
    not_probed: Vec<(String, String)>,
    tab: &'static str,
}

struct Row {
    kind: String,
    name: String,
    probes: String,
    crossed: bool,
    hour: String,
    day: String,
    same_as: Vec<String>,
}

pub(super) async fn coverage(State(face): Shared, InPath(name): InPath<String>) -> Answer {
    let coverage = face.coverage(&name).await?;
    html(&Coverage {
        frame: Frame::new(
            Place::Services,
            format!("Coverage of {name}"),
            clock::now_us(),
        ),
        legend: legend(&coverage),
        rows: rows(&coverage.parts),
        asks: asks(&coverage.parts),
        not_probed: not_probed(&coverage.parts),
        name,
        tab: "coverage",
    })
}

fn rows(parts: &[Part]) -> Vec<Row> {
    let mut told: Vec<&Component> = Vec::new();
    let mut rows = Vec::new();
    for part in parts {
        rows.push(row(part, not_told_from(part, &told)));
        told.extend(&part.component);
    }
    rows
}

/// The rest of a component's group, once for each group.
fn not_told_from(part: &Part, told: &[&Component]) -> Vec<String> {
    match part.same_as.iter().find(|other| told.contains(other)) {
        Some(first) => vec![format!("see {}", word(first))],
        None => part.same_as.iter().map(word).collect(),
    }
}

fn row(part: &Part, same_as: Vec<String>) -> Row {
    let component = part.component.clone().unwrap_or_default();
    let rate = |rate: Option<f64>| rate.map_or_else(|| "–".to_owned(), percent);
    Row {
        kind: component.kind,
        name: component.name,
        probes: format!("{:.1}", part.probes_per_round),
        crossed: part.probes_per_round > 0.0,
        hour: rate(part.rate_seen_in_an_hour),
        day: rate(part.rate_seen_in_a_day),
        same_as,
    }
}

fn word(component: &Component) -> String {
    format!("{} {}", component.kind, component.name)
}

/// What the columns of rates mean.
fn legend(coverage: &CoverageResponse) -> String {
    let Some(every_ms) = coverage.every_ms else {
        return "No round goes by itself: give the service file a [schedule] with `every`."
            .to_owned();
    };
    format!(
        "Seen within an hour, or a day: a fault that fails this share of the probes crossing the component, or more, \
         is seen within that time with a probability of 95%, by a round every {} s and what is known so far of calm \
         times; {}.",
        every_ms as f64 / 1e3,
        rarity(coverage.false_alarms_per_day)
    )
}

/// How rare false alarms are, in the unit that people count such times in.
fn rarity(per_day: f64) -> String {
    let days = 1.0 / per_day.max(f64::MIN_POSITIVE);
    match days {
        ..700.0 => format!("at most one false alarm in {days:.0} days"),
        _ => format!("at most one false alarm in {:.0} years", days / 365.25),
    }
}

/// What would tell more apart, with all that it is good for.
fn asks(parts: &[Part]) -> Vec<(String, Vec<String>)> {
    let mut asks: Vec<(String, Vec<String>)> = Vec::new();
    for part in parts.iter().filter(|part| !part.ask.is_empty()) {
        let name = part.component.as_ref().map(word).unwrap_or_default();
        match asks.iter_mut().find(|(ask, _)| *ask == part.ask) {
            Some((_, names)) => names.push(name),
            None => asks.push((part.ask.clone(), vec![name])),
        }
    }
    asks
}

/// The arms of which nothing is known, each once, with the reason.
fn not_probed(parts: &[Part]) -> Vec<(String, String)> {
    let mut arms: Vec<(String, String)> = Vec::new();
    for arm in parts.iter().flat_map(|part| &part.not_probed) {
        let line = (
            format!("{} to {}", arm.vantage, arm.arm),
            arm.because.clone(),
        );
        if !arms.contains(&line) {
            arms.push(line);
        }
    }
    arms
}
