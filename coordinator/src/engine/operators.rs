//! What operators ask of the engine: status, agents, services, verdicts reached.

use std::sync::Arc;

use localize::{ServiceName, Topology, VantageName, Verdict, VerdictOutcome};
use proto::spec::{Expect, Request};
use proto::v1::ServiceGone;
use proto::v1::coordinator_message::Message;

use super::rounds::AHEAD_US;
use super::state::{Service, State};
use super::{ClockEstimate, Presence, Refusal, Reply, What};
use crate::plan::{self, Learnt, Proven};
use crate::service_file::ServiceFile;
use crate::store::{AgentRecord, ServiceRecord, Write};

/// The whole in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// When the coordinator was started, in microseconds of mesh time.
    pub started_us: u64,
    /// Agents with a session.
    pub connected: usize,
    /// Agents invited, enrolled or revoked.
    pub known: usize,
    /// Services.
    pub services: usize,
}

/// An agent with what only its session knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentView {
    /// What is on disk.
    pub record: AgentRecord,
    /// Whether it is there.
    pub presence: Presence,
    /// Its clock; zero without a session.
    pub clock: ClockEstimate,
    /// Everything of it up to this sequence is on disk.
    pub durable_through: u64,
    /// Bytes in its spool.
    pub spool_bytes: u64,
    /// Observations that its spool has dropped.
    pub spool_dropped: u64,
}

/// A service with what is known of it by now.
#[derive(Clone, Debug)]
pub struct ServiceView {
    /// The text of its file.
    pub toml: String,
    /// The text of its URL.
    pub url: String,
    /// How it is asked.
    pub request: Request,
    /// What a good answer is.
    pub expect: Expect,
    /// The interval of its rounds in milliseconds.
    pub every_ms: Option<u64>,
    /// Its path.
    pub topology: Topology,
    /// Rounds closed.
    pub rounds: u64,
    /// Instant of the last one, in microseconds of mesh time; zero when there was none.
    pub last_round_us: u64,
    /// Of the last verdict.
    pub last_outcome: Option<VerdictOutcome>,
    /// The verdicts by which alarms stand.
    pub standing: Vec<String>,
}

/// What applying a service file did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// There was none of that name.
    Created(ServiceName),
    /// It replaced another.
    Changed(ServiceName),
    /// It is the one that was there.
    Unchanged(ServiceName),
}

/// What applying a service file would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsed {
    /// The outcome.
    pub applied: Applied,
    /// The service of that name as it is, if there is one.
    pub held: Option<ServiceRecord>,
}

impl State {
    pub(super) fn status(&self) -> Status {
        Status {
            started_us: self.started_us,
            connected: self.sessions.len(),
            known: self.agents.len(),
            services: self.services.len(),
        }
    }

    pub(super) fn agent_views(&self) -> Vec<AgentView> {
        self.agents.values().map(|a| self.view_of(a)).collect()
    }

    pub(super) fn agent_view(&self, name: &VantageName) -> Result<AgentView, Refusal> {
        self.agents
            .get(name)
            .map(|agent| self.view_of(agent))
            .ok_or_else(|| Refusal::UnknownAgent(name.clone()))
    }

    fn view_of(&self, agent: &AgentRecord) -> AgentView {
        let session = self.sessions.get(&agent.name);
        AgentView {
            presence: self.presence(agent),
            clock: session.map(|s| s.clock).unwrap_or_default(),
            durable_through: self.store.durable_through(&agent.name).unwrap_or(0),
            spool_bytes: session.map_or(0, |s| s.host.spool_bytes),
            spool_dropped: session.map_or(0, |s| s.host.spool_dropped),
            record: agent.clone(),
        }
    }

    pub(super) fn service_views(&self) -> Vec<ServiceView> {
        self.services
            .keys()
            .filter_map(|name| self.service_view(name).ok())
            .collect()
    }

    pub(super) fn service_view(&self, name: &ServiceName) -> Result<ServiceView, Refusal> {
        let service = self.service(name)?;
        let millis = |every: std::time::Duration| u64::try_from(every.as_millis()).ok();
        Ok(ServiceView {
            toml: service.record.toml.clone(),
            url: service.file.url.text.clone(),
            request: service.file.request.clone(),
            expect: service.file.expect.clone(),
            every_ms: service.file.every.and_then(millis),
            topology: self.path(name)?,
            rounds: service.rounds,
            last_round_us: service.last_round_us,
            last_outcome: service.last_outcome,
            standing: service.watching.standing(),
        })
    }

    /// A service file, and what applying it does.
    fn read(&self, toml: &str, ca_pem: Option<&str>) -> Result<(ServiceFile, Applied), Refusal> {
        let file = ServiceFile::parse(toml, ca_pem)?;
        let name = file.name.clone();
        let applied = match self.services.get(&name).map(|known| &known.record) {
            None => Applied::Created(name),
            Some(known) if known.toml == toml && known.ca_pem.as_deref() == ca_pem => {
                Applied::Unchanged(name)
            }
            Some(_) => Applied::Changed(name),
        };
        Ok((file, applied))
    }

    /// What applying a service file would do.
    pub(super) fn rehearse(&self, toml: &str, ca_pem: Option<&str>) -> Result<Rehearsed, Refusal> {
        let (file, applied) = self.read(toml, ca_pem)?;
        let held = self.services.get(&file.name);
        let held = held.map(|known| known.record.clone());
        Ok(Rehearsed { applied, held })
    }

    /// Creates or replaces a service. What was learnt of its path stays, as long as its URL does.
    pub(super) fn apply(
        &mut self,
        now_us: u64,
        toml: String,
        ca_pem: Option<String>,
        reply: Reply<Applied>,
    ) {
        let (file, applied) = match self.read(&toml, ca_pem.as_deref()) {
            Ok((_, unchanged @ Applied::Unchanged(_))) => return reply.send(Ok(unchanged)),
            Ok(read) => read,
            Err(refusal) => return reply.send(Err(refusal)),
        };
        let name = file.name.clone();
        let known = self.services.remove(&name);
        let learnt = match &known {
            Some(known) if known.file.url == file.url => {
                let mut learnt = known.record.learnt.clone();
                learnt.proven.revise(&known.file, &file, now_us);
                learnt
            }
            Some(_) | None => Learnt {
                proven: Proven::since(now_us),
                ..Learnt::default()
            },
        };
        let asked_us = match &known {
            Some(known) if known.file.asks_alike(&file) => known.record.asked_us,
            // Rounds that are announced are still asked as before.
            Some(_) => now_us + AHEAD_US,
            None => now_us,
        };
        let record = ServiceRecord {
            name,
            toml,
            ca_pem,
            applied_us: now_us,
            asked_us,
            learnt,
        };
        let write = Write::Service(record.clone());
        let spec = Message::Service(plan::spec(&file));
        let mut service = Service::new(file, record);
        if let Some(known) = known {
            service.recent = known.recent;
            if known.file.url == service.file.url {
                service.watching = known.watching;
            }
            service.version = known.version + 1;
            service.rounds = known.rounds;
            service.last_round_us = known.last_round_us;
            service.last_outcome = known.last_outcome;
        }
        self.watch_service(service);
        self.send_to_all(now_us, &spec);
        self.discover_due(now_us);
        self.settle(vec![write], applied, reply);
    }

    pub(super) fn delete(&mut self, now_us: u64, name: &ServiceName, reply: Reply<()>) {
        if self.services.remove(name).is_none() {
            return reply.send(Err(Refusal::UnknownService(name.clone())));
        }
        self.schedule.remove(name);
        self.tally.forget(name);
        self.outside.given.forget_service(name);
        self.rounds.retain(|_, round| round.service != *name);
        self.publish_services();
        let gone = ServiceGone {
            name: name.0.clone(),
        };
        self.send_to_all(now_us, &Message::ServiceGone(gone));
        self.settle(vec![Write::DeleteService(name.clone())], (), reply);
    }

    pub(super) fn concluded(&mut self, now_us: u64, verdict: Arc<Verdict>) {
        let name = ServiceName(verdict.service.clone());
        if let Some(service) = self.services.get_mut(&name) {
            service.last_outcome = Some(verdict.outcome);
        }
        self.happened(now_us, What::Verdict(verdict));
    }
}
