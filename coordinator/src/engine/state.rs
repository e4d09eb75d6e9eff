//! What the engine owns, how it comes back after a restart, and what the passing of time does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use localize::{
    Arm, Pace, RoundId, ServiceName, Topology, VantageName, VantagePoint, VerdictOutcome,
};
use proto::v1::goodbye::Reason;
use tokio::sync::{broadcast, mpsc};

use super::checking::Check;
use super::given::Given;
use super::rounds::{Cause, OpenRound};
use super::scribe::Job;
use super::sessions::Sessions;
use super::tally::Tally;
use super::wanted::Wanted;
use super::watching::Watching;
use super::window::{Observations, Reports, Traces, WINDOW_US};
use super::{Alarmed, Event, Happening, Presence, Refusal, Reply, What, vantage_point};
use crate::ca::Authority;
use crate::config::Lifetimes;
use crate::plan::{self, Learnt, Twins};
use crate::schedule::Schedule;
use crate::service_file::ServiceFile;
use crate::store::{AgentRecord, ServiceRecord, Store, StoreError, Write};

/// Housekeeping: certificates that end, discovery, what was learnt.
const HOUSEKEEPING_US: u64 = 1_000_000;
/// What was learnt is written down this long after it changed at the earliest: most of it is learnt
/// in the first rounds of a service, in a burst.
const LEARNT_PAUSE_US: u64 = 5_000_000;
/// What was learnt is written down this often although nothing new came: the times of last answers
/// move all the time.
const LEARNT_REFRESH_US: u64 = 60_000_000;

/// The watches are written down this often: a kill costs them so many rounds, which makes them slower
/// by as much and never wrong.
const WATCH_REFRESH_US: u64 = 300_000_000;

/// What the engine needs besides the store.
pub struct Setup {
    /// Makes certificates.
    pub authority: Arc<Authority>,
    /// How long they live.
    pub lifetimes: Lifetimes,
    /// What join tokens say about where the coordinator is.
    pub addresses: Vec<String>,
    /// What the operator says about it, for those who have joined; empty when nothing.
    pub advertised: Vec<String>,
}

/// Where the engine's wishes go.
pub(super) struct Outside {
    pub(super) jobs: mpsc::Sender<Job>,
    pub(super) happenings: broadcast::Sender<Happening>,
    pub(super) services: Arc<ArcSwap<BTreeSet<ServiceName>>>,
    pub(super) checks: Arc<ArcSwap<BTreeSet<ServiceName>>>,
    pub(super) given: Given,
    pub(super) alarms: mpsc::Sender<Alarmed>,
}

/// A service that is watched.
pub(super) struct Service {
    pub(super) file: ServiceFile,
    pub(super) record: ServiceRecord,
    /// `record.learnt` holds something that must be written down soon.
    pub(super) dirty: bool,
    pub(super) written_us: u64,
    pub(super) recent: Observations,
    pub(super) traces: Traces,
    pub(super) watching: Watching,
    /// Rises whenever a round closes, an observation of a closed one comes late, or an alarm begins to
    /// stand or stands no longer.
    pub(super) version: u64,
    pub(super) rounds: u64,
    pub(super) last_round_us: u64,
    pub(super) last_outcome: Option<VerdictOutcome>,
    /// Which agent refused a round and why, until somebody is told.
    pub(super) refused: Option<String>,
    /// When an agent is asked next for the name servers.
    pub(super) discover_us: u64,
    /// Who was asked last, until it answers.
    pub(super) finder: Option<VantageName>,
    /// The path as it was last known, without vantage points ...
    path: Topology,
    /// ... and since when, in microseconds of mesh time.
    pub(super) path_since_us: u64,
}

impl Service {
    pub(super) fn new(file: ServiceFile, record: ServiceRecord) -> Self {
        Self {
            path: plan::topology(&file, &record.learnt, &[]),
            path_since_us: record.applied_us,
            file,
            dirty: false,
            written_us: record.applied_us,
            record,
            recent: Observations::default(),
            traces: Traces::default(),
            watching: Watching::default(),
            version: 0,
            rounds: 0,
            last_round_us: 0,
            last_outcome: None,
            refused: None,
            discover_us: 0,
            finder: None,
        }
    }

    /// Something was learnt, which is to be written down, and may have changed the path.
    pub(super) fn learnt_more(&mut self, now_us: u64) {
        self.dirty = true;
        let path = plan::topology(&self.file, &self.record.learnt, &[]);
        if path != self.path {
            self.path = path;
            self.path_since_us = now_us;
        }
    }

    /// The arms of a vantage point that are wanted for a reason.
    pub(super) fn arms(&self, vantage: &VantagePoint, cause: Cause) -> Vec<Arm> {
        let twins = match cause {
            Cause::Schedule => self.scheduled_twins().due(self.rounds),
            Cause::Demand => self.possible_twins().at_once(Pace::Single),
            Cause::Bursts => self.possible_twins().at_once(Pace::Burst),
            Cause::Choice => self.possible_twins(),
        };
        plan::arms(&self.path, vantage, &twins)
    }

    /// In which other ways a localisation may ask.
    fn possible_twins(&self) -> Twins {
        Twins::of(&self.file).possible(&self.record.learnt)
    }

    /// In which other ways rounds of the schedule ask.
    pub(super) fn scheduled_twins(&self) -> Twins {
        Twins::of(&self.file).telling(&self.record.learnt)
    }

    /// A service as the store has it; `None` when this version cannot read its file.
    fn restore(
        store: &Store,
        record: ServiceRecord,
        now_us: u64,
    ) -> Result<Option<Self>, StoreError> {
        let file = match ServiceFile::parse(&record.toml, record.ca_pem.as_deref()) {
            Ok(file) => file,
            Err(error) => {
                tracing::error!(service = %record.name, %error, "the stored service file cannot be read; apply it again");
                return Ok(None);
            }
        };
        let summary = store.round_summary(&record.name)?;
        let verdicts = store.verdicts(Some(&record.name), 1)?;
        let from_us = now_us.saturating_sub(WINDOW_US);
        let observations = store.observations(&record.name, from_us, u64::MAX - 1)?;
        let watching = Watching::restore(store, &record.name, now_us)?;
        let mut service = Self::new(file, record);
        service.watching = watching;
        service.rounds = summary.rounds;
        service.last_round_us = summary.last_fire_at_us;
        service.last_outcome = verdicts.first().map(|verdict| verdict.outcome);
        for observation in observations {
            service.recent.push(Arc::new(observation), now_us);
        }
        Ok(Some(service))
    }
}

/// Everything that changes while the coordinator runs.
pub(super) struct State {
    pub(super) store: Store,
    pub(super) setup: Setup,
    pub(super) outside: Outside,
    pub(super) started_us: u64,
    pub(super) agents: BTreeMap<VantageName, AgentRecord>,
    pub(super) sessions: Sessions,
    pub(super) session_count: u64,
    /// The highest sequence seen of each agent; a repeat is at or below it.
    pub(super) seen_through: BTreeMap<VantageName, u64>,
    pub(super) services: BTreeMap<ServiceName, Service>,
    pub(super) rounds: BTreeMap<RoundId, OpenRound>,
    pub(super) schedule: Schedule,
    /// The checks under way, by the names that agents know them by.
    pub(super) checks: BTreeMap<ServiceName, Check>,
    /// Checks begun since the start.
    pub(super) check_count: u64,
    pub(super) reports: Reports,
    /// Reports seen since the start.
    pub(super) report_count: u64,
    /// What all probes came to since the start.
    pub(super) tally: Tally,
    /// Whose packets witnesses may still be asked for.
    pub(super) wanted: Wanted,
    housekeeping_us: u64,
}

impl State {
    /// Brings back what the store has.
    pub(super) fn restore(
        store: Store,
        setup: Setup,
        outside: Outside,
        now_us: u64,
    ) -> Result<Self, StoreError> {
        let agents: BTreeMap<_, _> = store
            .agents()?
            .into_iter()
            .map(|agent| (agent.name.clone(), agent))
            .collect();
        let seen_through = agents
            .keys()
            .filter_map(|name| Some((name.clone(), store.durable_through(name)?)))
            .collect();
        let mut state = Self {
            started_us: now_us,
            agents,
            sessions: Sessions::default(),
            session_count: 0,
            seen_through,
            services: BTreeMap::new(),
            rounds: BTreeMap::new(),
            schedule: Schedule::default(),
            checks: BTreeMap::new(),
            check_count: 0,
            reports: Reports::default(),
            report_count: 0,
            tally: Tally::default(),
            wanted: Wanted::default(),
            housekeeping_us: now_us,
            setup,
            outside,
            store,
        };
        for record in state.store.services()? {
            if let Some(service) = Service::restore(&state.store, record, now_us)? {
                state.watch_service(service);
            }
        }
        let from_us = now_us.saturating_sub(WINDOW_US);
        for report in state.store.reports(from_us, u64::MAX - WINDOW_US)? {
            state.reports.push(Arc::new(report), now_us);
        }
        for trace in state.store.traces(from_us, u64::MAX - WINDOW_US)? {
            if let Some(service) = state.services.get_mut(&trace.service) {
                service.traces.push(Arc::new(trace), now_us);
            }
        }
        state.give_again();
        Ok(state)
    }

    /// What agents still have in their spools is of arms that an earlier process has given them.
    fn give_again(&self) {
        let vantages: Vec<VantagePoint> = self.agents.values().map(vantage_point).collect();
        for (name, service) in &self.services {
            let topology = plan::topology(&service.file, &service.record.learnt, &vantages);
            for vantage in &vantages {
                let arms = plan::arms(&topology, vantage, &Twins::of(&service.file));
                self.outside.given.add(name, &vantage.name, &arms);
            }
        }
    }

    /// Takes a service in, in place of the one of its name.
    pub(super) fn watch_service(&mut self, service: Service) {
        let name = service.record.name.clone();
        match service.file.every {
            Some(every) => self.schedule.set(name.clone(), every),
            None => self.schedule.remove(&name),
        }
        self.services.insert(name, service);
        self.publish_services();
    }

    pub(super) fn publish_services(&self) {
        let names = self.services.keys().cloned().collect();
        self.outside.services.store(Arc::new(names));
    }

    /// One event.
    pub(super) fn handle(&mut self, now_us: u64, event: Event) {
        match event {
            Event::Connect(opening, reply) => reply.send(self.connect(now_us, opening)),
            Event::Gone(session) => self.gone(now_us, session),
            Event::Heard(session, said) => self.heard(now_us, session, said),
            Event::Recorded {
                vantage,
                facts,
                held,
            } => {
                self.recorded(now_us, &vantage, facts);
                drop(held);
            }
            Event::Join {
                secret,
                csr_pem,
                version,
                reply,
            } => {
                self.join(now_us, &secret, &csr_pem, version, reply);
            }
            Event::Renew {
                peer,
                name,
                csr_pem,
                reply,
            } => {
                self.renew(now_us, &peer, &name, &csr_pem, reply);
            }
            Event::Reconfigured(changed) => self.reconfigure(now_us, changed),
            Event::Status(reply) => reply.send(Ok(self.status())),
            Event::Tally(reply) => reply.send(Ok(self.tally.clone())),
            Event::Invite(invitation, reply) => self.invite(now_us, &invitation, reply),
            Event::Agents(reply) => reply.send(Ok(self.agent_views())),
            Event::Agent(name, reply) => reply.send(self.agent_view(&name)),
            Event::Revoke(name, reply) => self.revoke(now_us, &name, reply),
            Event::Rejoin {
                name,
                ttl,
                replace,
                reply,
            } => self.rejoin(now_us, &name, ttl, replace, reply),
            Event::Rename { from, to, reply } => self.rename(now_us, &from, to, reply),
            Event::DeleteAgent(name, reply) => self.delete_agent(now_us, &name, reply),
            Event::Apply {
                toml,
                ca_pem,
                reply,
            } => self.apply(now_us, toml, ca_pem, reply),
            Event::Rehearse {
                toml,
                ca_pem,
                reply,
            } => reply.send(self.rehearse(&toml, ca_pem.as_deref())),
            Event::Check(subject, reply) => self.check(now_us, subject, reply),
            Event::Services(reply) => reply.send(Ok(self.service_views())),
            Event::Service(name, reply) => reply.send(self.service_view(&name)),
            Event::Delete(name, reply) => self.delete(now_us, &name, reply),
            Event::Outlook(service, reply) => reply.send(self.outlook(&service)),
            Event::Judged(alarmed, judged) => self.judged(now_us, &alarmed, judged),
            Event::Fire(service, reply) => {
                reply.send(self.fire(now_us, &service, Cause::Demand));
            }
            Event::FireChosen(service, arms, reply) => {
                reply.send(self.fire_chosen(now_us, &service, arms));
            }
            Event::FireBursts(service, reply) => {
                reply.send(self.fire_bursts(now_us, &service));
            }
            Event::Gather {
                service,
                from_us,
                have,
                reply,
            } => {
                reply.send(self.gather(&service, from_us, have));
            }
            Event::Mended(service, over, reply) => self.mended(now_us, &service, &over, reply),
            Event::Concluded(verdict) => self.concluded(now_us, verdict),
        }
    }

    /// When the engine wants to be woken, in microseconds of mesh time.
    pub(super) fn next_wake(&mut self, now_us: u64) -> u64 {
        let scheduled = self.schedule.next_wake(now_us).unwrap_or(u64::MAX);
        let closing = self.rounds.values().map(|round| round.close_us).min();
        self.housekeeping_us
            .min(scheduled)
            .min(closing.unwrap_or(u64::MAX))
            .min(self.checks_wake().unwrap_or(u64::MAX))
    }

    /// What is due.
    pub(super) fn tick(&mut self, now_us: u64) {
        for service in self.schedule.due(now_us) {
            if let Err(refusal) = self.fire(now_us, &service, Cause::Schedule) {
                tracing::debug!(%service, %refusal, "scheduled round not fired");
            }
        }
        self.close_overdue(now_us);
        self.tick_checks(now_us);
        // A clock that was set back must not stop the housekeeping.
        if now_us >= self.housekeeping_us || self.housekeeping_us - now_us > HOUSEKEEPING_US {
            self.housekeeping_us = now_us + HOUSEKEEPING_US;
            self.end_expired(now_us);
            self.discover_due(now_us);
            self.write_learnt(now_us);
            self.write_watches(now_us, WATCH_REFRESH_US);
            self.reports.trim(now_us);
            for service in self.services.values_mut() {
                service.recent.trim(now_us);
                service.traces.trim(now_us);
            }
        }
    }

    fn write_learnt(&mut self, now_us: u64) {
        let mut writes = Vec::new();
        for service in self.services.values_mut() {
            let pause = if service.dirty {
                LEARNT_PAUSE_US
            } else {
                LEARNT_REFRESH_US
            };
            let news = service.dirty || service.record.learnt.last_answer_us > service.written_us;
            if news && now_us.saturating_sub(service.written_us) >= pause {
                service.dirty = false;
                service.written_us = now_us;
                writes.push(Write::Service(service.record.clone()));
            }
        }
        if !writes.is_empty() {
            self.note(writes);
        }
    }

    /// Takes leave of every agent and writes down what was learnt.
    pub(super) fn shut_down(mut self, now_us: u64) {
        let names: Vec<VantageName> = self.sessions.names().cloned().collect();
        for name in names {
            self.end_session(now_us, &name, Reason::ShuttingDown);
        }
        for service in self.services.values_mut() {
            service.dirty = true;
            service.written_us = 0;
        }
        self.write_learnt(now_us);
        self.write_watches(now_us, 0);
    }

    /// Writes something down that nobody waits for. It is left out when too much waits for the disk.
    pub(super) fn note(&self, writes: Vec<Write>) {
        self.note_and(writes, |_| {});
    }

    /// The same, with what to do when it is on disk, or is not.
    pub(super) fn note_and(
        &self,
        writes: Vec<Write>,
        then: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        let job = Job {
            writes,
            then: Box::new(then),
        };
        if self.outside.jobs.try_send(job).is_err() {
            tracing::warn!("too much waits for the disk; a decision was not written down");
        }
    }

    /// Writes something down and answers when it is on disk.
    pub(super) fn settle<T: Send + 'static>(&self, writes: Vec<Write>, answer: T, reply: Reply<T>) {
        self.settle_with(writes, reply, |done| {
            done.map(|()| answer).map_err(Refusal::from)
        });
    }

    /// Writes something down and answers by what came of it; at once when too much waits for the disk.
    pub(super) fn settle_with<T: Send + 'static>(
        &self,
        mut writes: Vec<Write>,
        mut reply: Reply<T>,
        answer: impl FnOnce(Result<(), StoreError>) -> Result<T, Refusal> + Send + 'static,
    ) {
        writes.extend(reply.act.take().map(Write::Act));
        match self.outside.jobs.try_reserve() {
            Ok(place) => place.send(Job {
                writes,
                then: Box::new(move |done| reply.send(answer(done))),
            }),
            Err(_) => reply.send(Err(Refusal::Busy)),
        }
    }

    pub(super) fn service(&self, name: &ServiceName) -> Result<&Service, Refusal> {
        self.services
            .get(name)
            .ok_or_else(|| Refusal::UnknownService(name.clone()))
    }

    /// The path of a service with the vantage points that are connected or were lately.
    pub(super) fn path(&self, name: &ServiceName) -> Result<Topology, Refusal> {
        let service = self.service(name)?;
        let mut names = service.recent.vantages();
        names.extend(self.sessions.names().cloned());
        let vantages: Vec<VantagePoint> = names
            .iter()
            .filter_map(|name| self.agents.get(name))
            .map(vantage_point)
            .collect();
        let learnt: &Learnt = &service.record.learnt;
        Ok(plan::topology(&service.file, learnt, &vantages))
    }

    pub(super) fn happened(&self, at_us: u64, what: What) {
        // Nobody may be watching.
        let _ = self.outside.happenings.send(Happening { at_us, what });
    }

    pub(super) fn happened_to(&self, at_us: u64, name: &VantageName, state: Presence) {
        tracing::info!(agent = %name, ?state, "agent");
        let name = name.clone();
        self.happened(at_us, What::Agent { name, state });
    }
}
