//! Who is to be told what, and when. Pure: facts and the time go in, writes and errands come out.
//!
//! Alarms of one thing make one incident. Once it has gone on for a moment and is not silenced, everybody
//! whom it concerns is written down as to be told; from then on they are told of its beginning and of its
//! end, however long that takes to get through. What is over before that was nothing.

use std::collections::{BTreeMap, BTreeSet};

use localize::Verdict;

use super::incident::{About, Incident, Member, Phase, Told};
use super::settings::{Receiver, Settings};
use super::silence::Silence;
use crate::store::Write;

/// Pause after the first failure to get through; it doubles ...
const FIRST_PAUSE_US: u64 = 500_000;
/// ... up to this.
const LONGEST_PAUSE_US: u64 = 300_000_000;
/// A receiver that could not be told for so long is not told any more: a day, in which somebody has looked.
const GIVE_UP_US: u64 = 24 * 3600 * 1_000_000;
/// Alertmanager forgets what it is not told again, as Prometheus tells it: each minute.
pub(super) const REPEAT_US: u64 = 60_000_000;

/// Something to be told to somebody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Errand {
    /// The incident's id.
    pub incident: String,
    /// The receiver's name.
    pub receiver: String,
    /// What.
    pub phase: Phase,
}

/// How often an errand has failed, and when it is tried again.
#[derive(Clone, Copy, Debug, Default)]
struct Attempt {
    tries: u32,
    next_us: u64,
    under_way: bool,
}

/// What was told a receiver since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tellings {
    /// Messages that it took.
    pub told: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// The whole of it.
#[derive(Debug)]
pub struct Desk {
    settings: Settings,
    incidents: BTreeMap<String, Incident>,
    silences: BTreeMap<String, Silence>,
    attempts: BTreeMap<Errand, Attempt>,
    tellings: BTreeMap<String, Tellings>,
}

impl Desk {
    /// As the store has it.
    #[must_use]
    pub fn new(settings: Settings, incidents: Vec<Incident>, silences: Vec<Silence>) -> Self {
        let mut desk = Self {
            settings,
            incidents: BTreeMap::new(),
            silences: BTreeMap::new(),
            attempts: BTreeMap::new(),
            tellings: BTreeMap::new(),
        };
        desk.restore(incidents, silences);
        desk
    }

    /// Takes over what the store has, in place of what was decided and could not be written.
    pub fn restore(&mut self, incidents: Vec<Incident>, silences: Vec<Silence>) {
        let incidents = incidents.into_iter().map(|one| (one.id.clone(), one));
        self.incidents = incidents.collect();
        let silences = silences.into_iter().map(|one| (one.id.clone(), one));
        self.silences = silences.collect();
    }

    /// Takes over a configuration that was read again.
    pub fn reconfigure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// How everybody is told.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// One incident.
    #[must_use]
    pub fn incident(&self, id: &str) -> Option<&Incident> {
        self.incidents.get(id)
    }

    /// Whether time alone may bring something.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.incidents.is_empty()
    }

    /// What was told since the start, by receiver.
    #[must_use]
    pub fn tellings(&self) -> &BTreeMap<String, Tellings> {
        &self.tellings
    }

    /// Errands that have not got through yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        let incidents = self.incidents.values();
        let told = incidents.flat_map(|one| one.told.values().map(|told| (one.is_over(), told)));
        told.filter(|(over, told)| told.next(*over).is_some())
            .count()
    }

    /// A verdict was raised: it joins the incidents that stand about the same, or begins new ones.
    pub fn raised(
        &mut self,
        now_us: u64,
        verdict: &Verdict,
        began_us: u64,
        mut new_id: impl FnMut() -> String,
    ) -> Vec<Write> {
        let member = Member {
            verdict: verdict.id.clone(),
            service: verdict.service.clone(),
            began_us,
            over_us: None,
        };
        let mut writes = Vec::new();
        for about in About::of(verdict) {
            let mut faults = verdict.faults.iter();
            let felt = faults.any(|fault| about.is(fault, &verdict.service) && fault.user_impact);
            let stands = |one: &&mut Incident| one.about == about && !one.is_over();
            let incident = match self.incidents.values_mut().find(stands) {
                Some(incident) => {
                    if !incident.members.contains(&member) {
                        incident.members.push(member.clone());
                    }
                    // What was told stays as it was told.
                    incident.user_impact |= felt && incident.told.is_empty();
                    incident.clone()
                }
                None => {
                    let new = Incident::new(new_id(), about, member.clone(), now_us, felt);
                    self.incidents.insert(new.id.clone(), new.clone());
                    new
                }
            };
            writes.push(Write::Incident(Box::new(incident)));
        }
        writes
    }

    /// What a verdict has raised stands no longer.
    pub fn over(&mut self, now_us: u64, verdict: &str) -> Vec<Write> {
        self.close(now_us, |member| member.verdict == verdict)
    }

    /// By these verdicts and no others alarms of a service stand: it may have been deleted, or be watched anew.
    pub fn standing(&mut self, now_us: u64, service: &str, verdicts: &[String]) -> Vec<Write> {
        self.close(now_us, |member| {
            member.service == service && !verdicts.contains(&member.verdict)
        })
    }

    fn close(&mut self, now_us: u64, which: impl Fn(&Member) -> bool) -> Vec<Write> {
        let mut writes = Vec::new();
        for incident in self.incidents.values_mut() {
            let mut closed = false;
            for member in &mut incident.members {
                if member.over_us.is_none() && which(member) {
                    member.over_us = Some(now_us);
                    closed = true;
                }
            }
            if closed {
                writes.push(Write::Incident(Box::new(incident.clone())));
            }
        }
        writes
    }

    /// The services of which something stands.
    #[must_use]
    pub fn services(&self) -> BTreeSet<String> {
        let incidents = self.incidents.values();
        let members = incidents.flat_map(|incident| &incident.members);
        let stands = members.filter(|member| member.over_us.is_none());
        stands.map(|member| member.service.clone()).collect()
    }

    /// Writes down who is to be told of what has gone on for long enough, and forgets what is done with.
    pub fn decide(&mut self, now_us: u64) -> Vec<Write> {
        let mut writes = Vec::new();
        let due: Vec<(String, Vec<String>)> = self
            .incidents
            .values()
            .filter(|incident| self.may_be_told(incident, now_us))
            .map(|incident| (incident.id.clone(), self.audience(incident)))
            .filter(|(_, names)| !names.is_empty())
            .collect();
        for (id, names) in due {
            if let Some(incident) = self.incidents.get_mut(&id) {
                let told = Told {
                    since_us: now_us,
                    ..Told::default()
                };
                incident.told = names.into_iter().map(|name| (name, told.clone())).collect();
                writes.push(Write::Incident(Box::new(incident.clone())));
            }
        }
        writes.extend(self.forget(now_us));
        writes
    }

    /// It is told once, when it has gone on for a moment and nobody wants silence.
    fn may_be_told(&self, incident: &Incident, now_us: u64) -> bool {
        let wait_us = u64::try_from(self.settings.wait.as_micros()).unwrap_or(u64::MAX);
        incident.told.is_empty()
            && !incident.is_over()
            && incident.opened_us.saturating_add(wait_us) <= now_us
            && !incident.about.is_own_network()
            && !self.is_silent(incident, now_us)
    }

    fn is_silent(&self, incident: &Incident, now_us: u64) -> bool {
        let silent = |service: &str| {
            let mut silences = self.silences.values();
            let mut windows = self.settings.maintenance.iter();
            silences.any(|one| one.covers(service, now_us))
                || windows.any(|window| window.covers(service, now_us))
        };
        let mut members = incident.members.iter();
        members.all(|member| member.over_us.is_some() || silent(&member.service))
            || self.may_be_own_network(incident)
    }

    /// While a vantage point of a service accuses itself, what nobody can tell may be its doing.
    fn may_be_own_network(&self, incident: &Incident) -> bool {
        let About::Undecided { service, .. } = &incident.about else {
            return false;
        };
        let accuses = |one: &Incident| {
            one.about.is_own_network()
                && !one.is_over()
                && one.services().contains(&service.as_str())
        };
        self.incidents.values().any(accuses)
    }

    fn audience(&self, incident: &Incident) -> Vec<String> {
        let receivers = self.settings.receivers.iter();
        let concerned = receivers.filter(|receiver| receiver.wants(incident));
        concerned.map(|receiver| receiver.name.clone()).collect()
    }

    fn forget(&mut self, now_us: u64) -> Vec<Write> {
        let mut writes = Vec::new();
        let known = |name: &str| self.settings.receiver(name).is_some();
        let done = |incident: &Incident| {
            let mut told = incident.told.iter();
            incident.is_over() && told.all(|(name, told)| told.next(true).is_none() || !known(name))
        };
        let done: Vec<String> = self
            .incidents
            .values()
            .filter(|incident| done(incident))
            .map(|incident| incident.id.clone())
            .collect();
        for id in done {
            self.incidents.remove(&id);
            self.attempts.retain(|errand, _| errand.incident != id);
            writes.push(Write::DeleteIncident(id));
        }
        let ended = self.silences.values().filter(|one| one.until_us <= now_us);
        let ended: Vec<String> = ended.map(|one| one.id.clone()).collect();
        writes.extend(ended.iter().flat_map(|id| self.unsilence(id)));
        writes
    }

    /// What is to be told at once; each is under way until it is [`Self::done`].
    pub fn errands(&mut self, now_us: u64) -> Vec<Errand> {
        let mut errands = Vec::new();
        for incident in self.incidents.values() {
            for (name, told) in &incident.told {
                let Some(receiver) = self.settings.receiver(name) else {
                    continue;
                };
                let Some(phase) = next_phase(incident, told, receiver) else {
                    continue;
                };
                let errand = Errand {
                    incident: incident.id.clone(),
                    receiver: name.clone(),
                    phase,
                };
                let attempt = self.attempts.entry(errand.clone()).or_default();
                if !attempt.under_way && attempt.next_us <= now_us {
                    attempt.under_way = true;
                    errands.push(errand);
                }
            }
        }
        errands
    }

    /// An errand got through, or did not.
    pub fn done(&mut self, now_us: u64, errand: &Errand, got_through: bool) -> Vec<Write> {
        let attempt = self.attempts.entry(errand.clone()).or_default();
        attempt.under_way = false;
        let counts = self.tellings.entry(errand.receiver.clone()).or_default();
        let Some(incident) = self.incidents.get_mut(&errand.incident) else {
            self.attempts.remove(errand);
            return Vec::new();
        };
        let Some(told) = incident.told.get_mut(&errand.receiver) else {
            return Vec::new();
        };
        if !got_through {
            counts.failed += 1;
            let pause = FIRST_PAUSE_US << attempt.tries.min(20);
            attempt.next_us = now_us.saturating_add(pause.min(LONGEST_PAUSE_US));
            attempt.tries += 1;
            let is_repeat = errand.phase == Phase::Begun && told.begun_us.is_some();
            if is_repeat || now_us.saturating_sub(told.since_us) < GIVE_UP_US {
                return Vec::new();
            }
            told.given_up = true;
            return vec![Write::Incident(Box::new(incident.clone()))];
        }
        counts.told += 1;
        *attempt = Attempt {
            next_us: now_us.saturating_add(REPEAT_US),
            ..Attempt::default()
        };
        let when = match errand.phase {
            Phase::Begun => &mut told.begun_us,
            Phase::Over => &mut told.over_us,
        };
        if when.is_some() {
            return Vec::new();
        }
        *when = Some(now_us);
        vec![Write::Incident(Box::new(incident.clone()))]
    }

    /// A silence begins to count.
    pub fn silence(&mut self, silence: Silence) -> Vec<Write> {
        self.silences.insert(silence.id.clone(), silence.clone());
        vec![Write::Silence(silence)]
    }

    /// A silence ends; nothing where there is none of this id.
    pub fn unsilence(&mut self, id: &str) -> Vec<Write> {
        match self.silences.remove(id) {
            Some(_) => vec![Write::DeleteSilence(id.to_owned())],
            None => Vec::new(),
        }
    }

    /// Silences that count or will, by the instants of their ends.
    #[must_use]
    pub fn silences(&self, now_us: u64) -> Vec<Silence> {
        let silences = self.silences.values();
        let mut silences: Vec<Silence> = silences
            .filter(|one| now_us < one.until_us)
            .cloned()
            .collect();
        silences.sort_by(|a, b| (a.until_us, &a.id).cmp(&(b.until_us, &b.id)));
        silences
    }
}

/// What a receiver is to be told next: what it does not know yet, else the same again where it forgets.
fn next_phase(incident: &Incident, told: &Told, receiver: &Receiver) -> Option<Phase> {
    let over = incident.is_over();
    let again = receiver.channel.forgets() && !over && !told.given_up;
    told.next(over).or(again.then_some(Phase::Begun))
}
