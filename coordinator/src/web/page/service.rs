//! One service: its state, its path as a picture, every part by what is known of it.

use askama::Template;
use axum::extract::State;
use proto::kept::Kept;
use proto::words::kind;

use super::super::asked::InPath;
use super::super::known::{Knowledge, Known, Mark};
use super::super::picture::Drawn;
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
    path: Drawn,
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

pub(super) async fn service(State(face): Shared, InPath(name): InPath<String>) -> Answer {
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
        path: Drawn::new(&service.topology, &known),
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
            .sort_by_cached_key(|part| (part.component.kind, counted(&part.component.name)));
    }
    groups
}

/// A name as people sort it, `web2` before `web10`: its numbers with as many digits.
fn counted(name: &str) -> String {
    let mut sorted = String::new();
    let mut digits = String::new();
    for letter in name.chars().chain(['\0']) {
        match letter {
            '0'..='9' => digits.push(letter),
            other => {
                if !digits.is_empty() {
                    sorted += &format!("{digits:0>20}");
                    digits.clear();
                }
                sorted.push(other);
            }
        }
    }
    sorted
}

/// Parts of one kind that have the same to say.
struct Alike {
    kind: &'static str,
    names: Vec<String>,
    because: String,
}

impl Group {
    /// Whether each part has a line of its own, with the reason.
    fn is_told_one_by_one(&self) -> bool {
        self.mark.is_in_question()
    }

    /// Those together that need no line of their own: by kind, and by what would have them probed.
    fn alike(&self) -> Vec<Alike> {
        let mut groups: Vec<Alike> = Vec::new();
        for part in &self.parts {
            let because = match self.mark {
                Mark::NotProbed => part.because.as_str(),
                Mark::Blamed | Mark::Candidate | Mark::Cleared | Mark::NotKnown => "",
            };
            let name = part.component.name.clone();
            let kind = kind(part.component.kind);
            let same = |group: &&mut Alike| group.kind == kind && group.because == because;
            match groups.iter_mut().find(same) {
                Some(group) => group.names.push(name),
                None => groups.push(Alike {
                    kind,
                    names: vec![name],
                    because: because.to_owned(),
                }),
            }
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_as_people_count() {
        let mut names = ["web10", "web2", "10.0.0.9", "10.0.0.10", "web", ""];
        names.sort_by_cached_key(|name| counted(name));
        assert_eq!(names, ["", "10.0.0.9", "10.0.0.10", "web", "web2", "web10"]);
    }
}
