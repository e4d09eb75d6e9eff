//! Localisations started from a page: begun by a form, followed as they go on, and left for their verdict.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Redirect, Response};
use localize::ServiceName;
use proto::v1::localize_event::Event as Said;
use proto::v1::{LocalizeEvent, Progress};
use proto::words::percent;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt as _};

use super::super::asked::InPath;
use super::super::trouble::Trouble;
use super::super::{Face, Shared};
use super::{Frame, Place, html};
use crate::clock;
use crate::localisation::{Run, Wish, new_id};

/// Runs that are remembered: those that go on, of which there are eight at most, and some that have ended
/// for whoever comes back to their page.
const REMEMBERED: usize = 64;
/// Events of a run that wait to be read.
const EVENTS: usize = 16;
/// Scheduled rounds that count too.
const SINCE: Duration = Duration::from_secs(15 * 60);

/// The runs that were started from pages. Cloning is cheap.
#[derive(Clone, Default)]
pub(in crate::web) struct Runs(Arc<Mutex<BTreeMap<String, Followed>>>);

#[derive(Clone)]
struct Followed {
    service: String,
    started_us: u64,
    stage: watch::Receiver<Stage>,
}

/// How far a run has come.
#[derive(Clone, Debug, Default)]
struct Stage {
    now: Step,
    /// The explanations that have led so far, each when it began to.
    led: Vec<Led>,
    end: Option<End>,
}

/// How a run has ended.
#[derive(Clone, Debug)]
enum End {
    /// With the verdict of this id.
    Verdict(String),
    /// Without one.
    Trouble(String),
}

/// What a run has come to, as words for its page.
#[derive(Clone, Debug, Default, Serialize)]
struct Step {
    elapsed: String,
    rounds: u64,
    probes: u64,
    failed: u64,
    leading: String,
    sure: String,
    note: String,
}

/// An explanation that has begun to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Led {
    elapsed: String,
    leading: String,
    sure: String,
}

impl Runs {
    fn keep(&self, id: String, run: Followed) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while runs.len() >= REMEMBERED {
            let oldest = runs.iter().min_by_key(|(_, run)| run.started_us);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                break;
            };
            runs.remove(&oldest);
        }
        runs.insert(id, run);
    }

    fn find(&self, id: &str) -> Result<Followed, Trouble> {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = runs.get(id).cloned();
        found.ok_or_else(|| Trouble::NoRun(id.to_owned()))
    }
}

impl Stage {
    fn take(&mut self, progress: &Progress) {
        let sure = match progress.leading.is_empty() {
            true => String::new(),
            false => percent(progress.leading_confidence),
        };
        self.now = Step {
            elapsed: format!("{:.1} s", progress.elapsed_ms as f64 / 1e3),
            rounds: progress.rounds,
            probes: progress.probes,
            failed: progress.failed,
            leading: progress.leading.clone(),
            sure: sure.clone(),
            note: progress.note.clone(),
        };
        let leads = |led: &Led| led.leading == progress.leading;
        if !progress.leading.is_empty() && !self.led.last().is_some_and(leads) {
            self.led.push(Led {
                elapsed: self.now.elapsed.clone(),
                leading: progress.leading.clone(),
                sure,
            });
        }
    }
}

/// Starts a run, and goes to its page.
pub(super) async fn start(
    State(face): Shared,
    InPath(name): InPath<String>,
) -> Result<Redirect, Trouble> {
    let wish = Wish::new(ServiceName(name.clone()), Duration::ZERO, SINCE);
    let run = face.localiser.begin(wish).await?;
    let (stage, seen) = watch::channel(Stage::default());
    let id = new_id('r');
    let followed = Followed {
        service: name,
        started_us: clock::now_us(),
        stage: seen,
    };
    face.runs.keep(id.clone(), followed);
    tokio::spawn(follow(Arc::clone(&face), run, stage));
    Ok(Redirect::to(&format!("/runs/{id}")))
}

/// Takes what a run says until it ends, whoever looks on.
async fn follow(face: Arc<Face>, run: Run, stage: watch::Sender<Stage>) {
    let (events, mut said) = mpsc::channel(EVENTS);
    let listen = async {
        while let Some(event) = said.recv().await {
            stage.send_modify(|stage| take(stage, event));
        }
    };
    let run = async move { run.to_the_end(&events).await };
    tokio::select! {
        () = face.stop.cancelled() => {}
        _ = async { tokio::join!(run, listen) } => {}
    }
    stage.send_modify(|stage| {
        stage
            .end
            .get_or_insert_with(|| End::Trouble(Trouble::Stopping.to_string()));
    });
}

fn take(stage: &mut Stage, event: Result<LocalizeEvent, tonic::Status>) {
    match event.map(|event| event.event) {
        Ok(Some(Said::Progress(progress))) => stage.take(&progress),
        Ok(Some(Said::Verdict(verdict))) => stage.end = Some(End::Verdict(verdict.id)),
        Ok(None) => {}
        Err(status) => stage.end = Some(End::Trouble(status.message().to_owned())),
    }
}

#[derive(Template)]
#[template(path = "web/run.html")]
struct RunPage {
    frame: Frame,
    id: String,
    service: String,
    step: Step,
    led: Vec<Led>,
    trouble: String,
}

/// How a run goes; the verdict's page when it has one.
pub(super) async fn run(
    State(face): Shared,
    InPath(id): InPath<String>,
) -> Result<Response, Trouble> {
    let followed = face.runs.find(&id)?;
    let stage = followed.stage.borrow().clone();
    let trouble = match stage.end {
        Some(End::Verdict(verdict)) => {
            return Ok(Redirect::to(&format!("/verdicts/{verdict}")).into_response());
        }
        Some(End::Trouble(trouble)) => trouble,
        None => String::new(),
    };
    let title = format!("Localising {}", followed.service);
    let page = html(&RunPage {
        frame: Frame::new(Place::Services, title, clock::now_us()),
        id,
        service: followed.service,
        step: stage.now,
        led: stage.led,
        trouble,
    });
    Ok(page?.into_response())
}

/// The same as it goes on: `step` while it does, then `end` with where to go.
pub(super) async fn events(
    State(face): Shared,
    InPath(id): InPath<String>,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, Trouble> {
    let followed = face.runs.find(&id)?;
    let page = format!("/runs/{id}");
    let mut ended = false;
    let stages = WatchStream::new(followed.stage).take_while(move |stage| {
        let last = ended;
        ended = stage.end.is_some();
        !last
    });
    let sent = stages.map(move |stage| Ok(sent(&stage, &page)));
    Ok(Sse::new(sent).keep_alive(KeepAlive::default()))
}

fn sent(stage: &Stage, page: &str) -> Sent {
    let event = match &stage.end {
        None => Sent::default().event("step").json_data(&stage.now),
        Some(End::Verdict(id)) => Ok(Sent::default().event("end").data(format!("/verdicts/{id}"))),
        Some(End::Trouble(_)) => Ok(Sent::default().event("end").data(page)),
    };
    // Words and numbers are JSON always.
    event.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_listed_when_it_begins_to_lead() {
        let mut stage = Stage::default();
        for (leading, ms) in [
            ("", 500),
            ("healthy", 1000),
            ("healthy", 1500),
            ("backend web2", 2000),
        ] {
            stage.take(&Progress {
                leading: leading.to_owned(),
                leading_confidence: 0.9,
                elapsed_ms: ms,
                ..Progress::default()
            });
        }
        let led: Vec<(&str, &str)> = stage
            .led
            .iter()
            .map(|led| (led.elapsed.as_str(), led.leading.as_str()))
            .collect();
        assert_eq!(led, [("1.0 s", "healthy"), ("2.0 s", "backend web2")]);
    }

    #[test]
    fn the_oldest_run_is_forgotten_first() {
        let runs = Runs::default();
        for number in 0..=REMEMBERED {
            let (_, stage) = watch::channel(Stage::default());
            let started_us = number as u64;
            let followed = Followed {
                service: "shop".to_owned(),
                started_us,
                stage,
            };
            runs.keep(format!("r-{number}"), followed);
        }
        assert!(runs.find("r-0").is_err());
        assert!(runs.find("r-1").is_ok());
    }
}
