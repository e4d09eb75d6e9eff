//! The newest verdicts, a line each.

use askama::Template;
use axum::extract::State;
use localize::{ServiceName, VerdictOutcome};
use proto::kept::Kept;
use proto::words::{component, percent};
use serde::Deserialize;

use super::super::Shared;
use super::super::asked::InQuery;
use super::super::time::Instant;
use super::super::told::{Tone, question};
use super::{Answer, Frame, Place, html};
use crate::clock;

/// Verdicts on the page.
const VERDICTS: usize = 100;

#[derive(Template)]
#[template(path = "web/verdicts.html")]
struct Verdicts {
    frame: Frame,
    service: String,
    verdicts: Vec<Line>,
}

/// A verdict in a line.
pub(super) struct Line {
    pub(super) id: String,
    pub(super) service: String,
    pub(super) at: Option<Instant>,
    pub(super) tone: Tone,
    pub(super) word: &'static str,
    pub(super) what: String,
    pub(super) state: String,
}

/// Which verdicts.
#[derive(Deserialize)]
pub(super) struct Which {
    service: Option<String>,
}

pub(super) async fn verdicts(State(face): Shared, InQuery(which): InQuery<Which>) -> Answer {
    let now_us = clock::now_us();
    let service = which.service.filter(|service| !service.is_empty());
    let kept = face
        .verdicts(service.clone().map(ServiceName), VERDICTS)
        .await?;
    html(&Verdicts {
        frame: Frame::new(Place::Verdicts, "Verdicts", now_us),
        service: service.unwrap_or_default(),
        verdicts: listed(&kept, now_us),
    })
}

/// Verdicts as lines.
pub(super) fn listed(verdicts: &[Kept], now_us: u64) -> Vec<Line> {
    verdicts.iter().map(|kept| line(kept, now_us)).collect()
}

fn line(kept: &Kept, now_us: u64) -> Line {
    let verdict = &kept.verdict;
    let faults = verdict.faults.iter().map(|fault| {
        format!(
            "{} {}, {} sure",
            component(&fault.component),
            fault.mode,
            percent(fault.confidence)
        )
    });
    let faults: Vec<String> = faults.collect();
    let (tone, word, what) = match verdict.outcome {
        VerdictOutcome::Healthy => (Tone::Good, "healthy", "no component at fault".to_owned()),
        VerdictOutcome::Inconclusive => (Tone::Doubt, "inconclusive", question(verdict)),
        VerdictOutcome::Fault => (tone(kept), "fault", faults.join("; ")),
    };
    Line {
        id: verdict.id.clone(),
        service: verdict.service.clone(),
        at: Instant::read(&verdict.started_at, now_us),
        tone,
        word,
        what,
        state: kept.state(),
    }
}

fn tone(kept: &Kept) -> Tone {
    match kept.verdict.faults.iter().any(|fault| fault.user_impact) {
        true => Tone::Bad,
        false => Tone::Doubt,
    }
}
