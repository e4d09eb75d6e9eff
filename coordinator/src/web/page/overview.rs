//! Every service in one line: its state in words, who mends it, and its last 24 hours.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use proto::kept::Kept;
use proto::words::{counted, micros};

use super::super::strip::{HEIGHT, Strip};
use super::super::time::{self, Instant};
use super::super::told::{Told, Tone, told};
use super::super::{Face, Shared};
use super::{Answer, Frame, Place, html};
use crate::clock;
use crate::engine::{Event, ServiceView};

/// Verdicts that states are told from: older ones than the newest of these say nothing of the present.
const VERDICTS: usize = 500;

#[derive(Template)]
#[template(path = "web/overview.html")]
struct Overview {
    frame: Frame,
    summary: String,
    rows: Vec<Row>,
    strip_height: u64,
}

struct Row {
    name: String,
    rhythm: String,
    last: Option<Instant>,
    told: Told,
    strip: Strip,
}

pub(super) async fn overview(State(face): Shared) -> Answer {
    let now_us = clock::now_us();
    let services = face.engine.ask(Event::Services).await?;
    let mut verdicts: BTreeMap<String, Vec<Kept>> = BTreeMap::new();
    for kept in face.verdicts(None, VERDICTS).await? {
        let of = verdicts.entry(kept.verdict.service.clone()).or_default();
        of.push(kept);
    }
    let mut rows = Vec::new();
    for service in services {
        let mut known = verdicts
            .remove(&service.topology.service.0)
            .unwrap_or_default();
        face.recall(&mut known, &service.standing).await?;
        rows.push(row(&face, &service, &known, now_us));
    }
    // The worst first, else by name, as they came.
    rows.sort_by_key(|row| row.told.tone);
    html(&Overview {
        frame: Frame::new(Place::Services, title(&rows), now_us),
        summary: summary(&rows),
        rows,
        strip_height: HEIGHT,
    })
}

impl Face {
    /// Adds the verdicts by which alarms stand, where they are older than those that are known.
    pub(super) async fn recall(
        &self,
        known: &mut Vec<Kept>,
        standing: &[String],
    ) -> Result<(), super::Trouble> {
        for id in standing {
            if !known.iter().any(|kept| kept.verdict.id == *id) {
                known.extend(self.verdict(id.clone()).await.ok());
            }
        }
        Ok(())
    }
}

fn row(face: &Face, service: &ServiceView, verdicts: &[Kept], now_us: u64) -> Row {
    let slots = face.strips.of(&service.topology.service, now_us);
    Row {
        name: service.topology.service.0.clone(),
        rhythm: rhythm(service),
        last: Instant::at(service.last_round_us, now_us),
        told: told(verdicts, &service.standing, service.rounds, now_us),
        strip: Strip::new(&slots, &alarms(verdicts, now_us)),
    }
}

/// How often it is looked at.
pub(super) fn rhythm(service: &ServiceView) -> String {
    match service.every_ms {
        Some(every_ms) => format!("a round every {}", micros(every_ms.saturating_mul(1000))),
        None => "rounds on demand".to_owned(),
    }
}

/// The stretches in which alarms stood, in microseconds of mesh time.
pub(super) fn alarms(verdicts: &[Kept], now_us: u64) -> Vec<(u64, u64)> {
    let raised = verdicts.iter().filter_map(|kept| kept.raised.as_ref());
    raised
        .filter_map(|raised| {
            let began_us = time::micros(&raised.began_at)?;
            let over_us = raised.over_at.as_deref().and_then(time::micros);
            Some((began_us, over_us.unwrap_or(now_us)))
        })
        .collect()
}

/// What a browser's tab says of a page that nobody looks at.
fn title(rows: &[Row]) -> String {
    let bad = rows.iter().filter(|row| row.told.tone == Tone::Bad).count();
    match bad {
        0 => "Services".to_owned(),
        bad => format!("{} with a fault", counted(bad as u64, "service")),
    }
}

/// The whole in a sentence.
fn summary(rows: &[Row]) -> String {
    let count = |tone: Tone| rows.iter().filter(|row| row.told.tone == tone).count();
    let parts = [
        (count(Tone::Bad), "with a fault that users feel"),
        (count(Tone::Doubt), "masked or not clear"),
        (count(Tone::Good), "well"),
        (count(Tone::Quiet), "quiet"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
    match rows.len() {
        0 => String::new(),
        all => format!(
            "Of {}: {}",
            counted(all as u64, "service"),
            parts.join(", ")
        ),
    }
}
