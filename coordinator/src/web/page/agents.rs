//! The agents: whether they are there, their clocks, certificates and spools, and what they refuse.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use proto::json::role;
use proto::v1::Agent;
use proto::words::micros;

use super::super::Shared;
use super::super::asked::InPath;
use super::super::time::{self, Instant};
use super::super::told::Tone;
use super::{Answer, Frame, Place, html};
use crate::clock;
use crate::engine::Event;
use crate::grpc::view;

#[derive(Template)]
#[template(path = "web/agents.html")]
struct Agents {
    frame: Frame,
    summary: String,
    agents: Vec<Seat>,
}

#[derive(Template)]
#[template(path = "web/agent.html")]
struct AgentPage {
    frame: Frame,
    seat: Seat,
    labels: String,
    addresses: String,
    resolvers: String,
    durable: u64,
    left_out: Vec<(String, Vec<(String, String)>)>,
}

/// An agent for a template.
struct Seat {
    name: String,
    role: &'static str,
    host: String,
    state: String,
    tone: Tone,
    seen: Option<Instant>,
    clock: String,
    certificate: Option<Instant>,
    /// For how long it holds, in words.
    holds: String,
    spool: String,
    dropped: bool,
    witness: String,
    version: String,
}

pub(super) async fn agents(State(face): Shared) -> Answer {
    let now_us = clock::now_us();
    let agents = face.engine.ask(Event::Agents).await?.into_iter();
    let mut agents: Vec<Seat> = agents
        .map(|agent| seat(&view::agent(agent), now_us))
        .collect();
    // Those that are gone first, else by name, as they came.
    agents.sort_by_key(|seat| seat.tone);
    html(&Agents {
        frame: Frame::new(Place::Agents, "Agents", now_us),
        summary: summary(&agents),
        agents,
    })
}

/// Where the mesh looks from, in a sentence.
fn summary(agents: &[Seat]) -> String {
    let of = |tone: Tone| agents.iter().filter(|seat| seat.tone == tone).count();
    match (agents.len(), of(Tone::Doubt)) {
        (0, _) => "Where the mesh looks from".to_owned(),
        (_, 0) => format!("{} connected", of(Tone::Good)),
        (_, gone) => format!("{} connected, {gone} disconnected", of(Tone::Good)),
    }
}

pub(super) async fn agent(State(face): Shared, InPath(name): InPath<String>) -> Answer {
    let now_us = clock::now_us();
    let agent = face.agent(name).await?;
    let labels: BTreeMap<_, _> = agent.labels.iter().collect();
    let labels: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    html(&AgentPage {
        frame: Frame::new(Place::Agents, agent.name.clone(), now_us),
        seat: seat(&agent, now_us),
        labels: labels.join(", "),
        addresses: agent.addresses.join(", "),
        resolvers: agent.resolvers.join(", "),
        durable: agent.durable_through,
        left_out: left_out(&agent),
    })
}

fn seat(agent: &Agent, now_us: u64) -> Seat {
    let connected = agent.state == "connected";
    let tone = match agent.state.as_str() {
        "connected" => Tone::Good,
        "disconnected" => Tone::Doubt,
        _ => Tone::Quiet,
    };
    // One that is connected is heard all the time; what is on disk is when it came.
    let seen = match connected {
        true => Instant::at(now_us, now_us),
        false => Instant::read(&agent.last_seen_at, now_us),
    };
    Seat {
        name: agent.name.clone(),
        role: role(agent.role()),
        host: agent.host.clone(),
        state: agent.state.clone(),
        tone,
        seen,
        clock: clock_words(agent),
        certificate: Instant::read(&agent.certificate_expires_at, now_us),
        holds: holds(&agent.certificate_expires_at, now_us),
        spool: spool(agent, connected),
        dropped: agent.spool_dropped > 0,
        witness: match (agent.witness, agent.witness_trouble.as_str()) {
            (true, _) => "yes".to_owned(),
            (false, "") => String::new(),
            (false, trouble) => trouble.to_owned(),
        },
        version: agent.version.clone(),
    }
}

/// Offset and the bound of its error; empty without an estimate.
fn clock_words(agent: &Agent) -> String {
    match agent.clock_uncertainty_us {
        0 => String::new(),
        bound => {
            let sign = if agent.clock_offset_us < 0 {
                "−"
            } else {
                "+"
            };
            let offset = micros(agent.clock_offset_us.unsigned_abs());
            format!("{sign}{offset} ± {}", micros(bound))
        }
    }
}

fn holds(expires: &str, now_us: u64) -> String {
    let Some(expires_us) = time::micros(expires) else {
        return String::new();
    };
    match expires_us.checked_sub(now_us).map(|left| left / 60_000_000) {
        None => "has ended".to_owned(),
        Some(minutes @ 0..120) => format!("{minutes} min"),
        Some(minutes @ 120..2_880) => format!("{} h", minutes / 60),
        Some(minutes) => format!("{} days", minutes / 1_440),
    }
}

fn spool(agent: &Agent, connected: bool) -> String {
    match (connected, agent.spool_bytes, agent.spool_dropped) {
        (false, ..) => String::new(),
        (true, 0, 0) => "empty".to_owned(),
        (true, bytes, 0) => kilobytes(bytes),
        (true, bytes, dropped) => format!("{}, {dropped} observations lost", kilobytes(bytes)),
    }
}

fn kilobytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// The arms of which nothing is known from there, by service.
fn left_out(agent: &Agent) -> Vec<(String, Vec<(String, String)>)> {
    let mut services: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for left_out in &agent.not_probed {
        let arm = left_out.arm.clone().unwrap_or_default();
        let line = (arm.arm, arm.because);
        match services.last_mut() {
            Some((service, arms)) if *service == left_out.service => arms.push(line),
            Some(_) | None => services.push((left_out.service.clone(), vec![line])),
        }
    }
    services
}
