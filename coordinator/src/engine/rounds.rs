//! Rounds: announced ahead, closed when everything expected is in or cannot come any more.

use std::collections::{BTreeMap, BTreeSet};

use localize::declared::Declared;
use localize::watch::Glimpse;
use localize::{Arm, Firing, Observation, Outcome, RoundId, ServiceName, VantageName};
use proto::v1;
use proto::v1::coordinator_message::Message;

use super::state::State;
use super::{Evidence, Fired, Refusal, What, vantage_point};
use crate::plan::Twins;
use crate::sample;
use crate::store::{AgentRecord, RoundRecord, Write};

/// How far ahead a round is announced, in microseconds: longer than the way to any agent.
pub(super) const AHEAD_US: u64 = 300_000;
/// How long after the limit of its probes a round is waited for, in microseconds: the way back, and
/// the agents' batches.
const SLACK_US: u64 = 2_000_000;
/// Rounds of a service in flight: one a second for as long as the longest probe takes.
const IN_FLIGHT: usize = 30;
/// The same for a round of chosen arms, which leaves room for whole ones.
const IN_FLIGHT_CHOSEN: usize = 15;

/// A round that somebody asks for is fired from all of so few agents, whatever arms they have ...
const ALL: usize = 32;
/// ... and from more of them as long as it has no more arms than this: a localisation fires one a second.
const ON_DEMAND: usize = 1000;

/// Why a round is fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is due: the watch takes it in.
    Schedule,
    /// A localisation wants it.
    Demand,
    /// A localisation has chosen its arms.
    Choice,
    /// A localisation wants bursts, and what is plain apart from them.
    Bursts,
}

impl Cause {
    /// Whether such a round has the arms of the whole path.
    fn is_whole(self) -> bool {
        match self {
            Self::Schedule | Self::Demand => true,
            Self::Choice | Self::Bursts => false,
        }
    }

    fn most_in_flight(self) -> usize {
        match self {
            Self::Schedule | Self::Demand => IN_FLIGHT,
            Self::Choice | Self::Bursts => IN_FLIGHT_CHOSEN,
        }
    }
}

/// A round that is announced and not closed.
#[derive(Debug)]
pub(super) struct OpenRound {
    pub(super) service: ServiceName,
    pub(super) cause: Cause,
    pub(super) fire_at_us: u64,
    /// From when on nothing more is waited for.
    pub(super) close_us: u64,
    /// What has not come, by vantage point.
    outstanding: BTreeMap<VantageName, Vec<Arm>>,
    expected: usize,
    received: usize,
    failed: usize,
    /// First and last firing of those on time.
    fired: Option<(u64, u64)>,
    worst_uncertainty_us: u64,
    /// What its probes tell the watch.
    pub(super) glimpses: Vec<Glimpse>,
}

impl OpenRound {
    pub(super) fn new(
        service: ServiceName,
        cause: Cause,
        fire_at_us: u64,
        close_us: u64,
        outstanding: BTreeMap<VantageName, Vec<Arm>>,
    ) -> Self {
        Self {
            service,
            cause,
            fire_at_us,
            close_us,
            expected: outstanding.values().map(Vec::len).sum(),
            outstanding,
            received: 0,
            failed: 0,
            fired: None,
            worst_uncertainty_us: 0,
            glimpses: Vec::new(),
        }
    }

    /// Counts an observation that was waited for; false when it was not.
    pub(super) fn observe(&mut self, observation: &Observation) -> bool {
        let Some(arms) = self.outstanding.get_mut(observation.vantage()) else {
            return false;
        };
        let Some(place) = place(arms.iter().enumerate(), &observation.arm) else {
            return false;
        };
        arms.swap_remove(place);
        if arms.is_empty() {
            self.outstanding.remove(observation.vantage());
        }
        self.received += 1;
        self.failed += usize::from(matches!(observation.outcome, Outcome::Failed { .. }));
        if self.cause == Cause::Schedule {
            self.glimpses.extend(Glimpse::of(observation));
        }
        let stamp = observation.started;
        if observation.firing == Firing::OnTime {
            let (first, last) = self.fired.unwrap_or((stamp.at_us, stamp.at_us));
            self.fired = Some((first.min(stamp.at_us), last.max(stamp.at_us)));
            self.worst_uncertainty_us = self.worst_uncertainty_us.max(stamp.uncertainty_us);
        }
        true
    }

    /// Waits no more for a vantage point.
    pub(super) fn expect_nothing_of(&mut self, vantage: &VantageName) {
        self.outstanding.remove(vantage);
    }

    /// Whether nothing is waited for.
    pub(super) fn is_complete(&self) -> bool {
        self.outstanding.is_empty()
    }

    pub(super) fn record(&self, round: RoundId) -> RoundRecord {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        RoundRecord {
            service: self.service.clone(),
            round,
            fire_at_us: self.fire_at_us,
            expected: number(self.expected),
            received: number(self.received),
            failed: number(self.failed),
            skew_us: self.fired.map_or(0, |(first, last)| last - first),
            worst_uncertainty_us: self.worst_uncertainty_us,
        }
    }
}

/// The place of the arm that was fired among those planned. One that was to leave from a reused port is
/// fired from a fresh one by agents that have no such port, and one that was to keep a cookie without one
/// by those that were given none; agents that have never heard of a twin fire
/// the arm that it is one of.
pub(super) fn place<'a>(
    planned: impl Iterator<Item = (usize, &'a Arm)> + Clone,
    fired: &Arm,
) -> Option<usize> {
    let position = |is: &dyn Fn(&Arm) -> bool| {
        let mut planned = planned.clone();
        planned.find(|(_, arm)| is(arm)).map(|(place, _)| place)
    };
    let stands_in = |arm: &Arm| arm.plain() == *fired;
    position(&|arm| arm == fired)
        .or_else(|| position(&|arm| stands_in(arm) && arm.traits.need_an_earlier_probe()))
        .or_else(|| position(&stands_in))
}

impl State {
    /// Announces a round of a service to every connected agent that has an arm, unless one is
    /// announced that is yet to be fired: that one serves both.
    pub(super) fn fire(
        &mut self,
        now_us: u64,
        name: &ServiceName,
        cause: Cause,
    ) -> Result<Fired, Refusal> {
        if let Some(id) = self.coming(now_us, name, cause) {
            let refused = self.why_refused(name);
            return Ok(Fired::Round { id, refused });
        }
        let planned = match cause {
            Cause::Schedule => self.planned(name, self.connected(), cause)?,
            Cause::Demand | Cause::Choice | Cause::Bursts => self.planned_for_all(name, cause)?,
        };
        self.announce(now_us, name, planned, cause)
    }

    /// Announces a round of all bursts alone. Who limits how many connections come at once would drop of what comes
    /// with them as well, from another agent or for another service.
    pub(super) fn fire_bursts(
        &mut self,
        now_us: u64,
        name: &ServiceName,
    ) -> Result<Fired, Refusal> {
        let mut planned = self.planned_for_all(name, Cause::Bursts)?;
        for arms in planned.values_mut() {
            arms.retain(|arm| !arm.traits.pace.is_plain());
        }
        planned.retain(|_, arms| !arms.is_empty());
        self.announce(now_us, name, planned, Cause::Bursts)
    }

    /// Announces a round of the arms that a localisation has chosen, as far as they are still planned.
    /// An arm given several times is fired so many times at once.
    pub(super) fn fire_chosen(
        &mut self,
        now_us: u64,
        name: &ServiceName,
        chosen: Vec<(VantageName, Arm)>,
    ) -> Result<Fired, Refusal> {
        let wanted: BTreeSet<&VantageName> = chosen.iter().map(|(vantage, _)| vantage).collect();
        let here = self.connected().filter(|a| wanted.contains(&a.name));
        let planned = self.planned(name, here, Cause::Choice)?;
        let is_planned = |(vantage, arm): &(VantageName, Arm)| {
            planned.get(vantage).is_some_and(|arms| arms.contains(arm))
        };
        let mut outstanding: BTreeMap<VantageName, Vec<Arm>> = BTreeMap::new();
        for (vantage, arm) in chosen.into_iter().filter(is_planned) {
            outstanding.entry(vantage).or_default().push(arm);
        }
        self.announce(now_us, name, outstanding, Cause::Choice)
    }

    /// The whole round of a service that is yet to be fired. Two at nearly the same instant would be late
    /// for each other's sake.
    fn coming(&mut self, now_us: u64, name: &ServiceName, cause: Cause) -> Option<RoundId> {
        let coming = |round: &OpenRound| {
            round.service == *name && round.cause.is_whole() && round.fire_at_us > now_us
        };
        let mut rounds = self.rounds.iter_mut();
        let (id, round) = rounds.find(|(_, round)| coming(round))?;
        if cause == Cause::Schedule {
            round.cause = Cause::Schedule;
        }
        Some(*id)
    }

    fn connected(&self) -> impl Iterator<Item = &AgentRecord> {
        let connected = self.sessions.names();
        connected.filter_map(|name| self.agents.get(name))
    }

    /// The arms of some connected agents.
    fn planned<'a>(
        &self,
        name: &ServiceName,
        agents: impl Iterator<Item = &'a AgentRecord>,
        cause: Cause,
    ) -> Result<BTreeMap<VantageName, Vec<Arm>>, Refusal> {
        let service = self.service(name)?;
        if self.sessions.is_empty() {
            return Err(Refusal::NoAgent);
        }
        let arms = |agent| service.arms(&vantage_point(agent), cause);
        let planned = agents.map(|agent| (agent.name.clone(), arms(agent)));
        Ok(planned.filter(|(_, arms)| !arms.is_empty()).collect())
    }

    /// The arms of every connected agent, or, where these are very many, of those that stand for all.
    fn planned_for_all(
        &self,
        name: &ServiceName,
        cause: Cause,
    ) -> Result<BTreeMap<VantageName, Vec<Arm>>, Refusal> {
        if self.sessions.len() <= ALL {
            return self.planned(name, self.connected(), cause);
        }
        let service = self.service(name)?;
        let vantages: Vec<_> = self.connected().map(vantage_point).collect();
        let (mut planned, mut room) = (BTreeMap::new(), ON_DEMAND);
        for vantage in sample::in_order(name, &vantages) {
            let arms = service.arms(vantage, cause);
            if arms.len() > room {
                break;
            }
            room -= arms.len();
            if !arms.is_empty() {
                planned.insert(vantage.name.clone(), arms);
            }
        }
        Ok(planned)
    }

    fn announce(
        &mut self,
        now_us: u64,
        name: &ServiceName,
        outstanding: BTreeMap<VantageName, Vec<Arm>>,
        cause: Cause,
    ) -> Result<Fired, Refusal> {
        let in_flight = self.rounds.values().filter(|r| r.service == *name).count();
        if in_flight >= cause.most_in_flight() {
            return Ok(Fired::TooManyInFlight);
        }
        if outstanding.is_empty() {
            return Err(Refusal::NothingToProbe(name.clone()));
        }
        let id = self.store.next_round_id()?;
        let fire_at_us = now_us + AHEAD_US;
        let total = self.service(name)?.file.timeouts.total.as_micros();
        let total_us = u64::try_from(total).unwrap_or(u64::MAX);
        let close_us = fire_at_us.saturating_add(total_us).saturating_add(SLACK_US);
        let announced: Vec<(VantageName, Vec<v1::Arm>)> = outstanding
            .iter()
            .map(|(agent, arms)| (agent.clone(), arms.iter().map(v1::Arm::from).collect()))
            .collect();
        self.outside
            .given
            .announce(id, name, fire_at_us, &outstanding);
        // The round stands before it is announced: an agent found gone is then no longer waited for.
        let round = OpenRound::new(name.clone(), cause, fire_at_us, close_us, outstanding);
        self.rounds.insert(id, round);
        for (agent, arms) in announced {
            let round = Message::Round(v1::Round {
                service: name.0.clone(),
                round: id.0,
                fire_at_us,
                arms,
            });
            self.send(now_us, &agent, round);
        }
        let refused = self.why_refused(name);
        Ok(Fired::Round { id, refused })
    }

    /// Which agent refused an earlier round and why, for the first who wants to know.
    fn why_refused(&mut self, name: &ServiceName) -> Option<String> {
        self.services.get_mut(name)?.refused.take()
    }

    /// Counts an observation for its round, and closes the round when it was the last.
    pub(super) fn count_for_round(&mut self, now_us: u64, observation: &Observation) {
        match self.rounds.get_mut(&observation.round) {
            Some(round) => {
                round.observe(observation);
                if round.is_complete() {
                    self.close(now_us, observation.round);
                }
            }
            // Late, after its round was closed: it counts from now on.
            None => {
                if let Some(service) = self.services.get_mut(&observation.service) {
                    service.version += 1;
                }
            }
        }
    }

    /// An agent says that it fires nothing of a round, and why.
    pub(super) fn refused(&mut self, now_us: u64, id: RoundId, vantage: &VantageName, why: &str) {
        tracing::info!(agent = %vantage, round = id.0, why, "round refused");
        let service = self.rounds.get(&id).map(|round| round.service.clone());
        if let Some(service) = service.and_then(|name| self.services.get_mut(&name)) {
            service.refused = Some(format!("{vantage} fired nothing of a round: {why}"));
        }
        self.expect_nothing(now_us, id, vantage);
        self.check_refused(now_us, id, vantage, why);
    }

    /// An agent fires nothing of a round.
    pub(super) fn expect_nothing(&mut self, now_us: u64, id: RoundId, vantage: &VantageName) {
        if let Some(round) = self.rounds.get_mut(&id) {
            round.expect_nothing_of(vantage);
            if round.is_complete() {
                self.close(now_us, id);
            }
        }
    }

    /// An agent is gone: nothing of it is waited for.
    pub(super) fn expect_nothing_of(&mut self, now_us: u64, vantage: &VantageName) {
        let open: Vec<RoundId> = self.rounds.keys().copied().collect();
        for id in open {
            self.expect_nothing(now_us, id, vantage);
        }
        self.check_without(now_us, vantage);
    }

    /// Closes the rounds that have been waited for long enough.
    pub(super) fn close_overdue(&mut self, now_us: u64) {
        let overdue: Vec<RoundId> = self
            .rounds
            .iter()
            .filter(|(_, round)| round.close_us <= now_us)
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            self.close(now_us, id);
        }
    }

    fn close(&mut self, now_us: u64, id: RoundId) {
        let Some(round) = self.rounds.remove(&id) else {
            return;
        };
        let record = round.record(id);
        tracing::debug!(
            service = %record.service, round = id.0, expected = record.expected,
            received = record.received, failed = record.failed, skew_us = record.skew_us,
            "round closed"
        );
        if let Some(service) = self.services.get_mut(&record.service) {
            service.version += 1;
            service.rounds += 1;
            service.last_round_us = record.fire_at_us;
        }
        self.note(vec![Write::Round(record.clone())]);
        self.happened(now_us, What::Round(record));
        self.watch_round(now_us, id, round);
    }

    /// The open rounds of a service, with when they fire.
    fn open(&self, name: &ServiceName) -> BTreeMap<RoundId, u64> {
        let open = self.rounds.iter().filter(|(_, r)| r.service == *name);
        open.map(|(id, r)| (*id, r.fire_at_us)).collect()
    }

    /// What a localisation is made from, unless it has it.
    pub(super) fn gather(
        &self,
        name: &ServiceName,
        from_us: u64,
        have: Option<u64>,
    ) -> Result<Option<Evidence>, Refusal> {
        let service = self.service(name)?;
        // Both only rise, so that the sum stays the same only when both do.
        let version = service.version + self.report_count;
        if have == Some(version) {
            return Ok(None);
        }
        let topology = self.path(name)?;
        let proven = &service.record.learnt.proven;
        Ok(Some(Evidence {
            version,
            path_since_us: service.path_since_us,
            asked_us: service.record.asked_us,
            declared: Declared {
                applied_us: service.record.applied_us,
                unproven: proven.unproven(&topology, Twins::of(&service.file)),
            },
            topology,
            observations: service
                .recent
                .known_since(from_us.max(service.record.asked_us), &self.open(name)),
            reports: self.reports.since(from_us),
            traces: service.traces.since(from_us),
            standing: service.watching.standing(),
        }))
    }
}
