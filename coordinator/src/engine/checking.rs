//! Checks of service files: their arms are fired once, those that did not pass once more, and what came of
//! it goes to whoever asked. None of it becomes evidence: a check has a name of its own that no service can
//! have, so that its observations are counted nowhere and kept nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use localize::topology::Zone;
use localize::{
    Arm, NameServer, Observation, Outcome, RoundId, ServiceName, VantageName, VantagePoint,
};
use proto::v1::coordinator_message::Message;
use proto::v1::{self, Discover, ServiceGone};

use super::rounds::{AHEAD_US, Cause, OpenRound};
use super::state::State;
use super::{Checked, Refusal, Reply, Seat, Subject, Unasked, vantage_point};
use crate::plan::{self, Learnt, Twins};
use crate::service_file::{ServiceFile, Timeouts};

/// Checks at once: each has every agent probe every arm of a file.
const CHECKS: usize = 4;
/// The second round comes so long after the beginning at the earliest, in microseconds, where an arm has
/// failed: one burst of loss must not strike both.
const PAUSE_US: u64 = 1_000_000;
/// And no later, though time-outs of the first round or the name servers are still waited for: longer than
/// a resolver takes to tell the public addresses.
const SECOND_US: u64 = 3_000_000;
/// After so long nothing is waited for: the second round's longest probe, and the way back.
const LONGEST_US: u64 = 14_000_000;
/// The longest limit of a probe in a check, whatever the file allows.
const LONGEST_PROBE: Duration = Duration::from_secs(10);

/// A check under way.
#[derive(Debug)]
pub(super) struct Check {
    file: ServiceFile,
    toml: String,
    /// What is known of the path, and learnt on the way.
    learnt: Learnt,
    /// The agents that were connected when it began.
    vantages: BTreeSet<VantageName>,
    began_us: u64,
    rounds: u32,
    /// The second round is fired, or there was nothing left to fire.
    second: bool,
    open: BTreeMap<RoundId, OpenRound>,
    announced: BTreeSet<(VantageName, Arm)>,
    passed: BTreeSet<(VantageName, Arm)>,
    observations: Vec<Observation>,
    refused: BTreeMap<VantageName, String>,
    /// The agent that looks for the name servers.
    finder: Option<VantageName>,
    reply: Reply<Checked>,
}

impl Check {
    /// When something is due, in microseconds of mesh time.
    fn wake_us(&self) -> u64 {
        match self.second {
            true => {
                let closing = self.open.values().map(|round| round.close_us).min();
                let end_us = self.began_us + LONGEST_US;
                closing.unwrap_or(end_us).min(end_us)
            }
            false if self.is_quiet() => self.began_us + PAUSE_US,
            false => self.began_us + SECOND_US,
        }
    }

    /// Whether nothing is waited for.
    fn is_quiet(&self) -> bool {
        self.open.is_empty() && self.finder.is_none()
    }

    fn close(&mut self, now_us: u64) {
        self.open
            .retain(|_, round| !round.is_complete() && round.close_us > now_us);
    }
}

impl State {
    /// Begins a check.
    pub(super) fn check(&mut self, now_us: u64, subject: Subject, reply: Reply<Checked>) {
        let begun = self.subject(subject).and_then(|begun| {
            let room = self.checks.len() < CHECKS;
            room.then_some(begun).ok_or(Refusal::TooManyChecks)
        });
        let (file, toml, learnt) = match begun {
            Ok(begun) => begun,
            Err(refusal) => return reply.send(Err(refusal)),
        };
        self.check_count += 1;
        // No service has such a name.
        let name = ServiceName(format!("check/{}/{}", self.check_count, file.name));
        let spec = Message::Service(spec(&name, &file));
        let host = file.url.host.clone();
        let wanted = file.name_servers.is_empty() && learnt.name_servers.is_empty();
        let finder = self.most_public().filter(|_| wanted);
        let check = Check {
            file,
            toml,
            learnt,
            vantages: self.sessions.names().cloned().collect(),
            began_us: now_us,
            rounds: 0,
            second: false,
            open: BTreeMap::new(),
            announced: BTreeSet::new(),
            passed: BTreeSet::new(),
            observations: Vec::new(),
            refused: BTreeMap::new(),
            finder: finder.clone(),
            reply,
        };
        self.checks.insert(name.clone(), check);
        self.publish_checks();
        self.send_to_all(now_us, &spec);
        if let Some(finder) = finder {
            let service = name.0.clone();
            let question = Message::Discover(Discover { service, host });
            self.send(now_us, &finder, question);
        }
        self.fire_check(now_us, &name);
        self.go_on(now_us, &name);
    }

    /// The file to be checked, with its text and what is known of its path.
    fn subject(&self, subject: Subject) -> Result<(ServiceFile, String, Learnt), Refusal> {
        match subject {
            Subject::Applied(name) => {
                let service = self.service(&name)?;
                let record = &service.record;
                let file = service.file.clone();
                Ok((file, record.toml.clone(), record.learnt.clone()))
            }
            Subject::File { toml, ca_pem } => {
                let file = ServiceFile::parse(&toml, ca_pem.as_deref())?;
                let known = self.services.get(&file.name);
                let known = known.filter(|known| known.file.url == file.url);
                let learnt = known.map(|known| known.record.learnt.clone());
                Ok((file, toml, learnt.unwrap_or_default()))
            }
        }
    }

    fn publish_checks(&self) {
        let names = self.checks.keys().cloned().collect();
        self.outside.checks.store(std::sync::Arc::new(names));
    }

    /// The agents that take part and are still there.
    fn checkers(&self, check: &Check) -> Vec<VantagePoint> {
        let here = check.vantages.iter();
        let here = here.filter(|name| self.sessions.contains(name));
        let agents = here.filter_map(|name| self.agents.get(name));
        agents.map(vantage_point).collect()
    }

    /// The arms that are not known to work.
    fn left_to_check(&self, check: &Check) -> BTreeMap<VantageName, Vec<Arm>> {
        let vantages = self.checkers(check);
        let topology = plan::topology(&check.file, &check.learnt, &vantages);
        let twins = Twins::of(&check.file).declared();
        let left = vantages.iter().map(|vantage| {
            let mut arms = plan::arms(&topology, vantage, &twins);
            arms.retain(|arm| {
                let arm = (vantage.name.clone(), arm.clone());
                !check.passed.contains(&arm)
            });
            (vantage.name.clone(), arms)
        });
        left.filter(|(_, arms)| !arms.is_empty()).collect()
    }

    /// Announces a round of the arms that are not known to work, if there are any.
    fn fire_check(&mut self, now_us: u64, name: &ServiceName) {
        let Some(check) = self.checks.get(name) else {
            return;
        };
        let left = self.left_to_check(check);
        let id = match self.store.next_round_id() {
            Ok(id) if !left.is_empty() => id,
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "a round of a check is not fired");
                return;
            }
        };
        let fire_at_us = now_us + AHEAD_US;
        let announced: Vec<(VantageName, Vec<v1::Arm>)> = left
            .iter()
            .map(|(agent, arms)| (agent.clone(), arms.iter().map(v1::Arm::from).collect()))
            .collect();
        if let Some(check) = self.checks.get_mut(name) {
            let close_us = check.began_us + LONGEST_US;
            for (vantage, arms) in &left {
                let arms = arms.iter().map(|arm| (vantage.clone(), arm.clone()));
                check.announced.extend(arms);
            }
            let round = OpenRound::new(name.clone(), Cause::Demand, fire_at_us, close_us, left);
            check.open.insert(id, round);
            check.rounds += 1;
        }
        for (agent, arms) in announced {
            let round = Message::Round(v1::Round {
                service: name.0.clone(),
                round: id.0,
                fire_at_us,
                arms,
            });
            self.send(now_us, &agent, round);
        }
    }

    /// Does what is due in a check: its second round, or its end.
    fn go_on(&mut self, now_us: u64, name: &ServiceName) {
        let Some(check) = self.checks.get_mut(name) else {
            return;
        };
        check.close(now_us);
        let Some(check) = self.checks.get(name) else {
            return;
        };
        if !check.second {
            let since_us = now_us.saturating_sub(check.began_us);
            let due = match check.is_quiet() {
                false => since_us >= SECOND_US,
                true => since_us >= PAUSE_US || self.is_new(check),
            };
            if !due {
                return;
            }
            self.fire_check(now_us, name);
        }
        let Some(check) = self.checks.get_mut(name) else {
            return;
        };
        check.second = true;
        if check.open.is_empty() || now_us >= check.began_us + LONGEST_US {
            self.finish_check(now_us, name);
        }
    }

    /// Whether all that is left to fire was not fired before.
    fn is_new(&self, check: &Check) -> bool {
        let left = self.left_to_check(check);
        let mut arms = left
            .into_iter()
            .flat_map(|(vantage, arms)| arms.into_iter().map(move |arm| (vantage.clone(), arm)));
        arms.all(|arm| !check.announced.contains(&arm))
    }

    /// Tells what came of it, and has the agents forget it.
    fn finish_check(&mut self, now_us: u64, name: &ServiceName) {
        let Some(check) = self.checks.remove(name) else {
            return;
        };
        self.publish_checks();
        let gone = ServiceGone {
            name: name.0.clone(),
        };
        self.send_to_all(now_us, &Message::ServiceGone(gone));
        let vantages = check.vantages.iter();
        let vantages = vantages.filter_map(|name| self.agents.get(name));
        let vantages: Vec<VantagePoint> = vantages.map(vantage_point).collect();
        let seats = self.agents.values().map(|agent| Seat {
            name: agent.name.clone(),
            role: agent.role,
            host: agent.host.clone(),
            presence: self.presence(agent),
        });
        let applied = self.services.get(&check.file.name);
        let checked = Checked {
            topology: plan::topology(&check.file, &check.learnt, &vantages),
            seats: seats.collect(),
            applied: applied.is_some_and(|service| service.record.toml == check.toml),
            file: check.file,
            toml: check.toml,
            announced: check.announced,
            observations: check.observations,
            refused: check.refused,
            rounds: check.rounds,
            took_us: now_us.saturating_sub(check.began_us),
        };
        check.reply.send(Ok(checked));
    }

    /// An observation of a check.
    pub(super) fn checked(&mut self, now_us: u64, observation: Observation) {
        let name = observation.service.clone();
        let Some(check) = self.checks.get_mut(&name) else {
            return;
        };
        let round = check.open.get_mut(&observation.round);
        if !round.is_some_and(|round| round.observe(&observation)) {
            return super::unasked(&self.outside.given, observation.vantage(), Unasked::Round);
        }
        plan::learn(&mut check.learnt, &observation);
        if observation.outcome == Outcome::Passed {
            let arm = (observation.vantage().clone(), observation.arm.clone());
            check.passed.insert(arm);
        }
        check.observations.push(observation);
        self.go_on(now_us, &name);
    }

    /// An agent fires nothing of a round that may be a check's.
    pub(super) fn check_refused(
        &mut self,
        now_us: u64,
        id: RoundId,
        vantage: &VantageName,
        why: &str,
    ) {
        let mut checks = self.checks.iter_mut();
        let found = checks.find(|(_, check)| check.open.contains_key(&id));
        let Some((name, check)) = found else {
            return;
        };
        let name = name.clone();
        // The agent knows the service by the check's name.
        let why = why.replace(&name.0, &check.file.name.0);
        check.refused.insert(vantage.clone(), why);
        if let Some(round) = check.open.get_mut(&id) {
            round.expect_nothing_of(vantage);
        }
        self.go_on(now_us, &name);
    }

    /// An agent is gone: no check waits for it.
    pub(super) fn check_without(&mut self, now_us: u64, vantage: &VantageName) {
        let names: Vec<ServiceName> = self.checks.keys().cloned().collect();
        for name in names {
            if let Some(check) = self.checks.get_mut(&name) {
                for round in check.open.values_mut() {
                    round.expect_nothing_of(vantage);
                }
            }
            self.go_on(now_us, &name);
        }
    }

    /// What an agent has found out about the zone, if it was a check that asked; false when it was not.
    pub(super) fn check_found(
        &mut self,
        now_us: u64,
        (name, by): (&ServiceName, &VantageName),
        name_servers: &[NameServer],
        zone: &Zone,
    ) -> bool {
        let check = self.checks.get_mut(name);
        let Some(check) = check.filter(|check| check.finder.as_ref() == Some(by)) else {
            return false;
        };
        plan::learn_name_servers(&mut check.learnt, name_servers);
        plan::learn_zone(&mut check.learnt, zone.clone());
        check.finder = None;
        self.go_on(now_us, name);
        true
    }

    /// When a check wants something done.
    pub(super) fn checks_wake(&self) -> Option<u64> {
        self.checks.values().map(Check::wake_us).min()
    }

    /// Does what is due in the checks, and ends those that nobody waits for.
    pub(super) fn tick_checks(&mut self, now_us: u64) {
        let names: Vec<ServiceName> = self.checks.keys().cloned().collect();
        for name in names {
            let waited_for = |check: &Check| !check.reply.is_abandoned();
            match self.checks.get(&name).is_some_and(waited_for) {
                true => self.go_on(now_us, &name),
                false => self.finish_check(now_us, &name),
            }
        }
    }
}

/// What agents must know to probe the file, by the check's name. No witness need watch its ports, and no way be traced.
fn spec(name: &ServiceName, file: &ServiceFile) -> v1::ServiceSpec {
    let Timeouts {
        dns,
        connect,
        tls,
        total,
    } = file.timeouts;
    let file = ServiceFile {
        timeouts: Timeouts {
            dns: dns.min(LONGEST_PROBE),
            connect: connect.min(LONGEST_PROBE),
            tls: tls.min(LONGEST_PROBE),
            total: total.min(LONGEST_PROBE),
        },
        ..file.clone()
    };
    v1::ServiceSpec {
        name: name.0.clone(),
        witness_ports: Vec::new(),
        trace: false,
        ..plan::spec(&file)
    }
}
