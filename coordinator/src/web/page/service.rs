//! One service: its state, its path as a picture, every part by what is known of it.

use askama::Template;
use axum::extract::{Path, State};
use proto::kept::Kept;
use proto::words::kind;

use super::super::known::{Knowledge, Known, Mark};
use super::super::picture::Picture;
use super::super::strip::{HEIGHT, Strip};
use super::super::time::Instant;
use super::super::told::{Told, current, told};
use super::super::{Face, Shared};
use super::overview::{alarms, rhythm};
use super::verdicts::{Line as Listed, listed};
use super::{Answer, Frame, Place, html};
use crate::clock;
use crate::coverage::{self, Part};
use crate::engine::{Event, Refusal, ServiceView};

/// Verdicts that are listed.
const VERDICTS: usize = 12;

#[derive(Template)]
#[template(path = "web/service.html")]
struct Service {
    frame: Frame,
    name: String,
    url: String,
    rhythm: String,
    rounds: u64,
    last: Option<Instant>,
    told: Told,
    strip: Strip,
    strip_height: u64,
    picture: Picture,
    /// The verdict whose page has the evidence; empty without one.
    evidence: String,
    groups: Vec<Group>,
    verdicts: Vec<Listed>,
    tab: &'static str,
}

impl Service {
    /// Where the marks of the picture lead; empty without a verdict.
    fn link(&self) -> String {
        match self.evidence.as_str() {
            "" => String::new(),
            id => format!("/verdicts/{id}"),
        }
    }
}

/// The parts of one mark.
struct Group {
    mark: Mark,
    parts: Vec<Known>,
}

pub(super) async fn service(State(face): Shared, Path(name): Path<String>) -> Answer {
    let now_us = clock::now_us();
    let service = face.service(&name).await?;
    let of = service.topology.service.clone();
    let mut verdicts = face.verdicts(Some(of.clone()), VERDICTS).await?;
    face.recall(&mut verdicts, &service.standing).await?;
    let crossed = face.crossed(&service).await?;
    let verdict = current(&verdicts, &service.standing);
    let known = Knowledge::new(verdict.map(|kept| &kept.verdict), &crossed);
    let slots = face.strips.of(&of, now_us);
    html(&Service {
        frame: Frame::new(Place::Services, of.0.clone(), now_us),
        url: service.url.clone(),
        rhythm: rhythm(&service),
        rounds: service.rounds,
        last: Instant::at(service.last_round_us, now_us),
        told: told(&verdicts, &service.standing, service.rounds, now_us),
        strip: Strip::new(&slots, &alarms(&verdicts, now_us)),
        strip_height: HEIGHT,
        picture: Picture::new(&service.topology, &known),
        evidence: verdict
            .map(|kept: &Kept| kept.verdict.id.clone())
            .unwrap_or_default(),
        groups: groups(known.all()),
        verdicts: listed(&verdicts, now_us),
        name: of.0,
        tab: "path",
    })
}

impl Face {
    /// What rounds cross of the path, without what only the window of observations tells.
    async fn crossed(&self, service: &ServiceView) -> Result<Vec<Part>, super::Trouble> {
        let name = service.topology.service.clone();
        let outlook = self.engine.ask(|reply| Event::Outlook(name, reply)).await?;
        let parts = tokio::task::spawn_blocking(move || coverage::coverage(&outlook, &[])).await;
        Ok(parts.map_err(|_| Refusal::Stopping)?)
    }
}

/// By mark, the blamed first; each kind together.
fn groups(parts: Vec<Known>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for part in parts {
        match groups.last_mut() {
            Some(group) if group.mark == part.mark => group.parts.push(part),
            Some(_) | None => groups.push(Group {
                mark: part.mark,
                parts: vec![part],
            }),
        }
    }
    for group in &mut groups {
        group
            .parts
            .sort_by_key(|part| (part.component.kind, part.component.name.clone()));
    }
    groups
}

impl Group {
    /// Whether each part has a line of its own, with the reason.
    fn is_told_one_by_one(&self) -> bool {
        self.mark.is_in_question() || self.mark == Mark::NotProbed
    }

    /// Its kinds with the names of their parts, for who only wants to know that they are well.
    fn names(&self) -> Vec<(&'static str, String)> {
        let mut kinds: Vec<(&'static str, Vec<&str>)> = Vec::new();
        for part in &self.parts {
            let word = kind(part.component.kind);
            match kinds.last_mut() {
                Some((known, names)) if *known == word => names.push(&part.component.name),
                Some(_) | None => kinds.push((word, vec![&part.component.name])),
            }
        }
        kinds
            .into_iter()
            .map(|(word, names)| (word, names.join(", ")))
            .collect()
    }
}
