//! `meshctl watch`: one line an event, until Ctrl-C.

use proto::kept::reason;
use proto::v1::watch_event::Event;
use proto::v1::{Component, WatchEvent, WatchRequest};
use serde_json::json;

use super::Session;
use crate::connect::{About, CallError, Subject};
use crate::exit::Exit;
use crate::render::{micros, verdict_line};
use crate::trouble::Trouble;

pub async fn run(mut session: Session<'_>, name: Option<String>) -> Result<Exit, Trouble> {
    let service = name.unwrap_or_default();
    let subject = match service.as_str() {
        "" => Subject::Mesh,
        name => Subject::Service(name),
    };
    let request = WatchRequest {
        service: service.clone(),
    };
    let mut events = session.client.watch(request).await.about(subject)?;
    while let Some(event) = events
        .message()
        .await
        .map_err(|status| CallError::of(&status, subject))?
    {
        print(&session, event)?;
    }
    Err(CallError::EndedEarly.into())
}

fn component(component: &Component) -> serde_json::Value {
    json!({"kind": component.kind, "name": component.name})
}

fn print(session: &Session<'_>, event: WatchEvent) -> Result<(), Trouble> {
    let at = event.at;
    let (value, text) = match event.event {
        Some(Event::Agent(agent)) => (
            json!({"at": at, "event": "agent", "name": agent.name, "state": agent.state}),
            format!("agent {} {}", agent.name, agent.state),
        ),
        Some(Event::Round(round)) => (
            json!({
                "at": at, "event": "round", "service": round.service, "round": round.round,
                "probes": round.probes, "failed": round.failed, "missing": round.missing,
                "skew_us": round.skew_us, "worst_uncertainty_us": round.worst_uncertainty_us,
            }),
            format!(
                "round {} {}: {} probes, {} failed, {} missing; fired within {}, clocks within {}",
                round.round,
                round.service,
                round.probes,
                round.failed,
                round.missing,
                micros(round.skew_us),
                micros(round.worst_uncertainty_us)
            ),
        ),
        Some(Event::Verdict(wire)) => {
            let kept = super::kept(wire)?;
            let word = if kept.raised.is_some() {
                "raised"
            } else {
                "verdict"
            };
            let verdict = &kept.verdict;
            let text = format!("{word} {}: {}", verdict.id, verdict_line(verdict));
            (json!({"at": at, "event": "verdict", "verdict": kept}), text)
        }
        Some(Event::Over(over)) => {
            let names = over
                .components
                .iter()
                .map(|c| format!("{} {}", c.kind, c.name));
            let names: Vec<String> = names.collect();
            let text = format!(
                "over {}: {} {}, {}",
                over.verdict,
                over.service,
                names.join(", "),
                reason(&over.ending)
            );
            let components: Vec<_> = over.components.iter().map(component).collect();
            (
                json!({
                    "at": at, "event": "over", "service": over.service, "verdict": over.verdict,
                    "components": components, "ending": over.ending,
                }),
                text,
            )
        }
        // Of a later version.
        None => return Ok(()),
    };
    if session.output.is_for_scripts() {
        session.output.one_of_many(&value)
    } else {
        session.output.text(&format!("{at}  {text}\n"))
    }
}
