//! A round: from its announcement to the observations of its arms.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use localize::{
    Arm, Facts, Firing, Micros, Observation, ObservationId, Outcome, RoundId, ServiceName, Session,
    Target, Trace, VantageName,
};
use proto::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Local};
use crate::fire::{Armed, Salvo, Trigger, firing};
use crate::outbox::{Outbox, Record};
use crate::policy::{Context, Exceeded, Meter, Policy, Purpose, Refusal, Spent};
use crate::probe::cookie::Jars;
use crate::probe::port::Ports;
use crate::probe::{self, Earlier, Findings, Prepared, Task, Wording, aimed_at};
use crate::secret::Sent;
use crate::service::Service;
use crate::trace::{self, Lost, Tracer};

/// Rounds that wait for their instant or have probes under way. With one a second and ten seconds for
/// the slowest probe, six services can be localised at once.
pub const MAX_IN_FLIGHT: usize = 64;
/// Arms of one round; the largest plan known has some sixty. More are dropped, and the log says so.
const MAX_ARMS: usize = 512;
/// A round whose instant passed longer ago than this is not fired: its observations would be compared
/// with those of another moment.
const TOO_LATE: Duration = Duration::from_secs(2);
/// An instant further ahead than this is not believed.
const TOO_EARLY: Duration = Duration::from_secs(60);

/// What a trace leaves of a probe's time, so that its round has what came of it before it is closed.
const TO_SPARE: Duration = Duration::from_millis(300);

/// Fires rounds and brings their observations to the outbox.
#[derive(Debug)]
pub struct Rounds {
    vantage: VantageName,
    clock: Arc<Clock>,
    trigger: Trigger,
    outbox: Outbox,
    policy: Policy,
    meter: Arc<Mutex<Meter>>,
    rounds: Arc<Semaphore>,
    probes: Arc<Semaphore>,
    ports: Arc<Ports>,
    tracer: Arc<Tracer>,
    jars: Jars,
    tasks: TaskTracker,
}

/// What `Rounds` needs besides its own state.
#[derive(Debug)]
pub struct Parts {
    /// The agent's name.
    pub vantage: VantageName,
    /// The agent's clock.
    pub clock: Arc<Clock>,
    /// The firing thread.
    pub trigger: Trigger,
    /// Where observations go.
    pub outbox: Outbox,
    /// What this host agrees to.
    pub policy: Policy,
}

/// Everything that the arms of one round have in common.
struct Common {
    vantage: VantageName,
    service: ServiceName,
    round: RoundId,
    scheduled_us: u64,
    clock: Arc<Clock>,
    outbox: Outbox,
    ports: Arc<Ports>,
    meter: Arc<Mutex<Meter>>,
    /// Where the service's owner lets ways be traced; with how long a probe may take, after which the round closes.
    tracer: Option<(Arc<Tracer>, Duration)>,
}

/// What an arm that is fired holds until its observation is made and its connection closed.
struct Permits {
    _round: Arc<OwnedSemaphorePermit>,
    _probe: OwnedSemaphorePermit,
}

impl Rounds {
    /// Ready for rounds.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let limits = parts.policy.limits();
        let concurrent = usize::try_from(limits.max_concurrent).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            vantage: parts.vantage,
            clock: parts.clock,
            trigger: parts.trigger,
            outbox: parts.outbox,
            policy: parts.policy,
            meter: Arc::new(Mutex::new(Meter::new(limits))),
            rounds: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            probes: Arc::new(Semaphore::new(concurrent)),
            ports: Arc::default(),
            tracer: Arc::default(),
            jars: Jars::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Takes in an announcement and says what will be fired. Every arm ends as one observation.
    pub fn announce(
        &self,
        service: Option<&Arc<Service>>,
        context: Option<&Context>,
        announced: v1::Round,
    ) -> v1::RoundAnswer {
        let heard = self.clock.now();
        let common = Arc::new(Common {
            vantage: self.vantage.clone(),
            service: ServiceName(announced.service),
            round: RoundId(announced.round),
            scheduled_us: announced.fire_at_us,
            clock: Arc::clone(&self.clock),
            outbox: self.outbox.clone(),
            ports: Arc::clone(&self.ports),
            meter: Arc::clone(&self.meter),
            tracer: service
                .filter(|service| service.trace)
                .map(|service| (Arc::clone(&self.tracer), service.limits.total)),
        });
        let arms = arms(announced.arms);
        let mut answer = v1::RoundAnswer {
            round: announced.round,
            ..v1::RoundAnswer::default()
        };
        let (Some(service), Some(context)) = (service, context) else {
            answer.refused = format!("the agent knows nothing of service {}", common.service);
            self.skip_all(&common, arms, &answer.refused);
            return answer;
        };
        match self.admit(heard, announced.fire_at_us) {
            Ok((at, permit)) => {
                let sent = Sent::look_up(&service.headers, self.policy.secrets());
                let wording = Wording {
                    round: common.round,
                    sent: sent.map(Arc::new).map_err(|error| error.to_string()),
                };
                let salvo = Aim {
                    wording,
                    at,
                    heard,
                    common,
                    service,
                    context,
                    permit: Arc::new(permit),
                };
                answer.accepted = self.fire(&salvo, arms);
            }
            Err(refusal) => {
                let why = refusal.to_string();
                self.skip_all(&common, arms, &why);
                if refusal == Refused::NoClock {
                    answer.refused = why;
                }
            }
        }
        answer
    }

    /// Whether this host agrees to ask a server of DNS at present, outside of any round. What is agreed to
    /// is taken of the limits.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self, context: &Context, server: SocketAddr) -> Result<(), NotAdmitted> {
        let now = self.clock.now();
        let now_us = self.clock.stamp(now).at_us;
        self.policy
            .allows(context, server, Purpose::Question, now_us)?;
        let (address, whose) = Policy::account(server.ip());
        Ok(locked(&self.meter).admit(address, whose, now.0)?)
    }

    /// Waits for the probes under way, but no longer than `patience`.
    pub async fn finish(&self, patience: Duration) {
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::info!(probes = self.tasks.len(), "probes given up at the end");
        }
    }

    fn admit(
        &self,
        heard: Local,
        fire_at_us: u64,
    ) -> Result<(Local, OwnedSemaphorePermit), Refused> {
        let at = self.clock.local(fire_at_us).ok_or(Refused::NoClock)?;
        if heard.since(at) > Micros(crate::clock::micros(TOO_LATE)) {
            return Err(Refused::TooLate(heard.since(at)));
        }
        if heard.until(at) > TOO_EARLY {
            return Err(Refused::TooEarly);
        }
        let rounds = Arc::clone(&self.rounds);
        let permit = rounds.try_acquire_owned().map_err(|_| Refused::Full)?;
        Ok((at, permit))
    }

    fn fire(&self, aim: &Aim<'_>, arms: Vec<Arm>) -> u32 {
        let mut armed = Vec::with_capacity(arms.len());
        for arm in arms {
            match self.load(aim, &arm) {
                Ok((prepared, permits)) => {
                    let (fired, wait) = oneshot::channel();
                    let charge = prepared.charge;
                    armed.push(Armed { charge, fired });
                    let common = Arc::clone(&aim.common);
                    let probe = Probe {
                        common,
                        planned: arm,
                        arm: prepared.arm,
                        task: prepared.task,
                        permits,
                        at: aim.at,
                        heard: aim.heard,
                    };
                    self.tasks.spawn(probe.follow(wait));
                }
                Err(why) => self.skip(&aim.common, arm, why),
            }
        }
        let accepted = u32::try_from(armed.len()).unwrap_or(u32::MAX);
        let salvo = Salvo {
            at: aim.at,
            arms: armed,
        };
        match self.trigger.load(salvo) {
            Ok(()) => accepted,
            Err(error) => {
                // The waiting probes see their channel close and report that they were not fired.
                tracing::error!(%error, "a round was not fired");
                0
            }
        }
    }

    /// Passes an arm through the policy and the limits, and prepares it.
    fn load(&self, aim: &Aim<'_>, arm: &Arm) -> Result<(Prepared, Permits), String> {
        let target = aimed_at(&arm.target);
        let now = self.clock.now();
        let purpose = purpose(arm, aim.service);
        self.policy
            .allows(aim.context, target, purpose, self.clock.stamp(now).at_us)
            .map_err(|refusal| refusal.to_string())?;
        let (address, whose) = Policy::account(target.ip());
        let connections = arm.traits.connections();
        locked(&self.meter)
            .admit_connections(connections, address, whose, now.0)
            .map_err(|exceeded| exceeded.to_string())?;
        let probes = Arc::clone(&self.probes);
        let probe = probes.try_acquire_many_owned(connections).map_err(|_| {
            let limit = self.policy.limits().max_concurrent;
            format!("the limit of {limit} probes at once is reached")
        })?;
        let earlier = self.earlier(&aim.common.service, arm, aim.at);
        let prepared = probe::prepare(aim.service, arm.clone(), earlier, &aim.wording)
            .map_err(|unfit| unfit.to_string())?;
        let permits = Permits {
            _round: Arc::clone(&aim.permit),
            _probe: probe,
        };
        Ok((prepared, permits))
    }

    /// What is kept of an arm's earlier probes.
    fn earlier(&self, service: &ServiceName, arm: &Arm, at: Local) -> Earlier {
        let jar = match arm.traits.session {
            Session::New => None,
            Session::Kept => Some(self.jars.of(service, arm)),
        };
        Earlier {
            port: self.ports.take(arm, at),
            jar,
        }
    }

    fn skip_all(&self, common: &Arc<Common>, arms: Vec<Arm>, why: &str) {
        for arm in arms {
            self.skip(common, arm, why.to_owned());
        }
    }

    fn skip(&self, common: &Arc<Common>, arm: Arm, why: String) {
        let common = Arc::clone(common);
        self.tasks
            .spawn(async move { common.skipped(arm, why).await });
    }
}

/// A server that is not asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Whenever it is.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// At present.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
}

fn locked(meter: &Mutex<Meter>) -> MutexGuard<'_, Meter> {
    meter.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an arm sends.
fn purpose(arm: &Arm, service: &Service) -> Purpose {
    match arm.target {
        Target::Resolver { .. } | Target::NameServer { .. } => Purpose::Question,
        Target::Edge { .. } | Target::Vip { .. } | Target::Backend { .. } => Purpose::Connection {
            declared: service.port(),
        },
    }
}

/// A round that is going to be fired.
struct Aim<'a> {
    at: Local,
    heard: Local,
    common: Arc<Common>,
    service: &'a Arc<Service>,
    context: &'a Context,
    permit: Arc<OwnedSemaphorePermit>,
    wording: Wording,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("the agent has no estimate of mesh time yet")]
    NoClock,
    #[error("the announcement came {} ms after the instant", .0.0 / 1000)]
    TooLate(Micros),
    #[error("the instant is more than a minute ahead")]
    TooEarly,
    #[error("{MAX_IN_FLIGHT} rounds are in flight")]
    Full,
}

fn arms(wire: Vec<v1::Arm>) -> Vec<Arm> {
    if wire.len() > MAX_ARMS {
        tracing::warn!(arms = wire.len(), "a round has more than {MAX_ARMS} arms");
    }
    wire.into_iter()
        .take(MAX_ARMS)
        .filter_map(|arm| match Arm::try_from(arm) {
            Ok(arm) => Some(arm),
            Err(error) => {
                tracing::warn!(%error, "an arm cannot be understood");
                None
            }
        })
        .collect()
}

/// One arm on its way.
struct Probe {
    common: Arc<Common>,
    planned: Arm,
    /// As it is fired.
    arm: Arm,
    task: Task,
    permits: Permits,
    at: Local,
    heard: Local,
}

impl Probe {
    async fn follow(self, fired: oneshot::Receiver<crate::fire::Fired>) {
        let Ok(fired) = fired.await else {
            let why = "the firing thread was behind".to_owned();
            return self.common.skipped(self.arm, why).await;
        };
        let left = fired.at;
        let mut started = self.common.clock.stamp(left);
        started.uncertainty_us += fired.blur.0;
        let firing = firing(self.at, left, self.heard);
        let clock = &self.common.clock;
        let (findings, spent, parting) = probe::follow(self.task, fired, clock).await;
        self.common.spent(&self.planned, spent);
        let observation = self.common.observation(self.arm, started, firing, findings);
        let lost = Lost::of(&observation);
        let within = self.common.left_to_trace(left);
        // In this order: a round that has all its observations has the traces made in it as well.
        if let (Some(lost), Some(within)) = (lost, within) {
            self.common.trace(lost, within).await;
        }
        self.common.keep(observation).await;
        if let Some(used) = parting.wait(clock).await {
            self.common.ports.keep(&self.planned, used);
        }
        drop(self.permits);
        if let (Some(lost), None) = (lost, within) {
            self.common.trace(lost, trace::LONGEST).await;
        }
    }
}

impl Common {
    fn observation(
        &self,
        arm: Arm,
        started: localize::Stamp,
        firing: Firing,
        findings: Findings,
    ) -> Observation {
        Observation {
            // The outbox numbers what it keeps.
            id: ObservationId {
                vantage: self.vantage.clone(),
                sequence: 0,
            },
            service: self.service.clone(),
            round: self.round,
            arm,
            started,
            scheduled_us: self.scheduled_us,
            firing,
            steps: findings.steps,
            outcome: findings.outcome,
            facts: findings.facts,
        }
    }

    /// What a probe took goes on the account of its address.
    fn spent(&self, arm: &Arm, spent: Spent) {
        let (address, whose) = Policy::account(aimed_at(&arm.target).ip());
        let now_us = self.clock.now().0;
        locked(&self.meter).spent(address, whose, spent, now_us);
    }

    /// What is left for a trace of the time that a probe may take which left at `fired`, if that is enough: its round
    /// waits for it then, and not longer than for a probe.
    fn left_to_trace(&self, fired: Local) -> Option<Duration> {
        let (_, total) = self.tracer.as_ref()?;
        let left = self.clock.now().until(fired.after(*total));
        Some(left.saturating_sub(TO_SPARE)).filter(|left| *left >= trace::SHORTEST)
    }

    /// Traces the way to where a probe met silence, as far as the limits bear it.
    async fn trace(&self, lost: Lost, within: Duration) {
        let Some((tracer, _)) = &self.tracer else {
            return;
        };
        let now = self.clock.now();
        let (address, whose) = Policy::account(lost.to.ip());
        let admit = || {
            let admitted = locked(&self.meter).admit_trace(address, whose, now.0);
            admitted.is_ok()
        };
        let Some(_place) = tracer.begin(lost.to, now, admit) else {
            return;
        };
        let found = match trace::trace(lost, within, &self.clock).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(to = %lost.to, %error, "a trace came to nothing");
                return;
            }
        };
        let trace = Trace {
            vantage: self.vantage.clone(),
            // The outbox numbers what it keeps.
            sequence: 0,
            service: self.service.clone(),
            round: self.round,
            from: found.from,
            to: lost.to,
            started: self.clock.stamp(found.started),
            hops: found.hops,
            whole: found.whole,
        };
        self.outbox.keep(Record::Trace(Box::new(trace))).await;
    }

    async fn skipped(&self, arm: Arm, why: String) {
        tracing::debug!(round = self.round.0, arm = arm.label(), why, "not fired");
        let started = self.clock.stamp(self.clock.now());
        let findings = Findings {
            steps: Vec::new(),
            outcome: Outcome::NotFired,
            facts: Facts::default(),
        };
        let firing = Firing::Skipped { why };
        let observation = self.observation(arm, started, firing, findings);
        self.keep(observation).await;
    }

    async fn keep(&self, observation: Observation) {
        self.outbox
            .keep(Record::Observation(Box::new(observation)))
            .await;
    }
}

#[cfg(test)]
mod tests;
