//! What each write changes.

use std::collections::{BTreeMap, BTreeSet};

use localize::watch::Ending;
use localize::{Observation, Outcome, ServiceName, Trace, VantageName, Verdict, WitnessReport};

use super::acts;
use super::counting::{Counted, Ripe};
use super::error::StoreError;
use super::journal::Member;
use super::key::{self, Kind, ObservationKey, SeriesId, ServiceNumber, WindowKey};
use super::minute::Minute;
use super::observed;
use super::records::{
    AgentRecord, RaisedRecord, RoundRecord, RoundSummary, SecretHash, TokenRecord, Use,
    VerdictPlace, Write,
};
use super::series::{DAY_US, Series};
use super::shared::Shared;
use super::staging::Staging;
use super::value::{self, Packed};
use super::window::Window;

/// Cases kept: one is megabytes, and only late ones are replayed.
const CASES_KEPT: u64 = 200;
/// Windows written with one group: as many as it has observations, so that they keep up.
const WINDOWS: usize = 512;
/// Verdicts kept: a few kilobytes each.
const VERDICTS_KEPT: u64 = 10_000;

/// A write with its long part packed.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every write is an observation, the largest"
)]
pub(super) enum Prepared {
    Plain(Write),
    Verdict { verdict: Verdict, case: Packed },
}

/// The changes of one group of commits.
pub(super) struct Stage<'a> {
    shared: &'a Shared,
    pub(super) staging: Staging<'a>,
    /// What the observations of this group add to the windows under way.
    counted: Vec<Counted>,
    /// About so many of those whose time has come are written with it.
    pub(super) windows: usize,
    /// The watermarks that this group raises.
    pub(super) watermarks: BTreeMap<VantageName, u64>,
    /// Agents that this group forgets.
    forgotten: BTreeSet<VantageName>,
    /// Agents that this group gives another name.
    renamed: Vec<AgentRecord>,
    /// What this group says of the members of the mesh.
    members: Vec<Member>,
    /// Observations that this group adds.
    pub(super) stored: u64,
}

impl<'a> Stage<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            staging: Staging::new(&shared.disk.db),
            counted: Vec::new(),
            windows: WINDOWS,
            watermarks: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            renamed: Vec::new(),
            members: Vec::new(),
            stored: 0,
        }
    }

    /// Whether the commit may be staged at all; nothing of a refused one is.
    pub(super) fn admit(&self, writes: &[Prepared]) -> Result<(), StoreError> {
        for write in writes {
            if let Prepared::Plain(Write::BurnToken {
                secret, used_at_us, ..
            }) = write
            {
                self.usable_token(secret, *used_at_us)?;
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, write: Prepared) -> Result<(), StoreError> {
        match write {
            Prepared::Verdict { verdict, case } => self.verdict(&verdict, &case),
            Prepared::Plain(write) => self.plain(write),
        }
    }

    /// Writes out what was held back while staging, and some windows whose time has come.
    pub(super) fn finish(mut self) -> Result<Staged<'a>, StoreError> {
        let mut ripe = self.shared.counting().ripe(self.windows);
        // Those of an agent that gets another name in this group go with it.
        ripe.retain(|ripe| !self.forgotten.contains(&ripe.vantage));
        stage_windows(&mut self.staging, &ripe)?;
        for (agent, sequence) in &self.watermarks {
            self.staging
                .put(key::watermark(agent), &Packed::json(sequence)?)?;
        }
        if self.stored > 0 {
            let stored = self.shared.stored() + self.stored;
            self.staging
                .put(Kind::Meta.key(STORED), &Packed::json(&stored)?)?;
        }
        Ok(Staged {
            staging: (!self.staging.is_empty()).then_some(self.staging),
            watermarks: self.watermarks,
            forgotten: self.forgotten,
            renamed: self.renamed,
            members: self.members,
            stored: self.stored,
            counted: self.counted,
            ripe,
        })
    }

    fn plain(&mut self, write: Write) -> Result<(), StoreError> {
        match write {
            Write::Observation(mut observation) => {
                observation.id.vantage = self.present_name(observation.id.vantage);
                self.observation(&observation)
            }
            Write::Report(mut report) => {
                report.witness = self.present_name(report.witness);
                self.report(&report)
            }
            Write::Trace(mut trace) => {
                trace.vantage = self.present_name(trace.vantage);
                self.trace(&trace)
            }
            Write::Unkept { vantage, sequence } => {
                let vantage = self.present_name(vantage);
                self.raise_watermark(&vantage, sequence);
                Ok(())
            }
            Write::Round(round) => self.round(&round),
            Write::Verdict { verdict, case_json } => {
                self.verdict(&verdict, &Packed::bytes(case_json))
            }
            Write::Raised { verdict, raised } => self
                .staging
                .put(key::raised(&verdict), &Packed::json(&raised)?),
            Write::Over {
                verdict,
                at_us,
                ending,
            } => self.over(&verdict, at_us, ending),
            Write::Watch { service, watch } => self
                .staging
                .put(key::watch(&service), &Packed::json(&watch)?),
            Write::Notice(notice) => self
                .staging
                .put(key::notice(&notice), &Packed::json(&notice)?),
            Write::NoticeTaken(notice) => self.staging.remove(&key::notice(&notice)),
            Write::Incident(incident) => self
                .staging
                .put(key::incident(&incident.id), &Packed::json(&incident)?),
            Write::DeleteIncident(id) => self.staging.remove(&key::incident(&id)),
            Write::Silence(silence) => self
                .staging
                .put(key::silence(&silence.id), &Packed::json(&silence)?),
            Write::DeleteSilence(id) => self.staging.remove(&key::silence(&id)),
            Write::Authority(fingerprint) => self
                .staging
                .put(Kind::Meta.key(AUTHORITY), &Packed::json(&fingerprint)?),
            Write::Agent(agent) => self.agent(&agent),
            Write::RenameAgent { from, agent } => self.rename_agent(&from, &agent),
            Write::DeleteAgent(name) => self.delete_agent(&name),
            Write::Act(act) => acts::append(&mut self.staging, act),
            Write::Operator(operator) => {
                self.members.push(Member::Operator(operator.clone()));
                let key = key::operator(&operator.name);
                self.staging.put(key, &Packed::json(&operator)?)
            }
            Write::Service(service) => {
                self.members.push(Member::Service(service.clone()));
                let key = key::service(&service.name);
                self.staging.put(key, &Packed::json(&service)?)
            }
            Write::DeleteService(name) => {
                self.members.push(Member::NoService(name.clone()));
                self.staging.remove(&key::round_summary(&name))?;
                self.staging.remove(&key::watch(&name))?;
                self.staging.remove(&key::service(&name))
            }
            Write::Token(token) => self
                .staging
                .put(key::token(&token.secret_sha256), &Packed::json(&token)?),
            Write::BurnToken {
                secret,
                used_at_us,
                used_for,
                agent,
            } => self.burn_token(&secret, used_at_us, used_for, &agent),
        }
    }

    /// What a session has sent may still wait for the disk when its agent gets another name.
    fn present_name(&self, name: VantageName) -> VantageName {
        let staged = self.renamed.iter().rev();
        let staged = staged
            .filter(|agent| agent.former.contains(&name))
            .map(|agent| agent.name.clone());
        let present = staged.chain(self.shared.renamed(&name)).next();
        present.unwrap_or(name)
    }

    fn observation(&mut self, observation: &Observation) -> Result<(), StoreError> {
        if !self.raise_watermark(observation.vantage(), observation.id.sequence) {
            return Ok(());
        }
        let (service, series) = self.series(observation)?;
        let kind = match observation.outcome {
            Outcome::Failed { .. } => Kind::FailedObservation,
            Outcome::Passed | Outcome::NotFired => Kind::Observation,
        };
        let key = ObservationKey {
            service,
            at_us: observation.scheduled_us,
            series,
            sequence: observation.id.sequence,
        };
        self.staging
            .put_new(key.bytes(kind), &observed::pack(observation));
        self.stored += 1;
        let counted = Counted::new(service, series, observation.vantage(), observation);
        self.counted.push(counted);
        Ok(())
    }

    /// The numbers of the observation's service and series, new ones where it is the first.
    fn series(
        &mut self,
        observation: &Observation,
    ) -> Result<(ServiceNumber, SeriesId), StoreError> {
        let day = observation.scheduled_us / DAY_US;
        let mut table = self.shared.series_mut();
        let known = table.find(observation);
        let fresh = known.and_then(|id| Some((id, table.get(id)?)));
        if let Some((id, series)) = fresh.filter(|(_, series)| series.last_day >= day) {
            return Ok((series.number, id));
        }
        let id = known.unwrap_or_else(|| table.next_id());
        let number = table.number(&observation.service);
        let number = number.unwrap_or_else(|| table.next_number());
        {
            let series = Series {
                number,
                service: observation.service.clone(),
                vantage: observation.vantage().clone(),
                arm: observation.arm.clone(),
                last_day: day,
            };
            self.staging.put(key::series(id), &Packed::json(&series)?)?;
            table.insert(id, series);
        }
        Ok((number, id))
    }

    fn report(&mut self, report: &WitnessReport) -> Result<(), StoreError> {
        if self.raise_watermark(&report.witness, report.sequence) {
            let key = key::report(report.to.at_us, report.sequence, &report.witness);
            self.staging.put_new(key, &Packed::json(report)?);
        }
        Ok(())
    }

    fn trace(&mut self, trace: &Trace) -> Result<(), StoreError> {
        if self.raise_watermark(&trace.vantage, trace.sequence) {
            let key = key::trace(trace.started.at_us, trace.sequence, &trace.vantage);
            self.staging.put_new(key, &Packed::json(trace)?);
        }
        Ok(())
    }

    /// False for a repeat.
    fn raise_watermark(&mut self, agent: &VantageName, sequence: u64) -> bool {
        let known = match self.watermarks.get(agent) {
            Some(staged) => Some(*staged),
            None if self.forgotten.contains(agent) => None,
            None => self.shared.durable_through(agent),
        };
        let rises = known.is_none_or(|known| sequence > known);
        if rises {
            self.watermarks.insert(agent.clone(), sequence);
        }
        rises
    }

    fn round(&mut self, round: &RoundRecord) -> Result<(), StoreError> {
        let key = key::round(round.fire_at_us, round.round.0);
        if self.staging.contains(&key)? {
            return Ok(());
        }
        self.staging.put_new(key, &Packed::json(round)?);
        let key = key::round_summary(&round.service);
        let known = self.staging.sound_bytes(&key)?;
        let known = known.and_then(|bytes| value::parse(&bytes).ok());
        let known: RoundSummary = known.unwrap_or_default();
        let summary = RoundSummary {
            rounds: known.rounds + 1,
            last_fire_at_us: known.last_fire_at_us.max(round.fire_at_us),
        };
        self.staging.put(key, &Packed::json(&summary)?)
    }

    fn verdict(&mut self, verdict: &Verdict, case: &Packed) -> Result<(), StoreError> {
        let by_id = Kind::VerdictPlace.key(verdict.id.as_bytes());
        let place = match self.staging.get::<VerdictPlace>(&by_id)? {
            Some(known) => known.0,
            None => {
                let last = self
                    .staging
                    .get::<VerdictPlace>(&Kind::Meta.key(VERDICTS))?;
                let place = last.map_or(0, |last| last.0 + 1);
                self.staging
                    .put(Kind::Meta.key(VERDICTS), &Packed::json(&place)?)?;
                self.staging.put(by_id, &Packed::json(&place)?)?;
                self.forget_old_verdicts(place)?;
                place
            }
        };
        self.staging
            .put(key::verdict(Kind::Verdict, place), &Packed::json(verdict)?)?;
        self.staging.put(key::verdict(Kind::Case, place), case)
    }

    /// One comes, one goes: places rise by one.
    fn forget_old_verdicts(&mut self, newest: u64) -> Result<(), StoreError> {
        if let Some(old) = newest.checked_sub(CASES_KEPT) {
            self.staging.remove(&key::verdict(Kind::Case, old))?;
        }
        if let Some(old) = newest.checked_sub(VERDICTS_KEPT) {
            let key = key::verdict(Kind::Verdict, old);
            if let Some(verdict) = self.staging.get::<Verdict>(&key)? {
                let by_id = Kind::VerdictPlace.key(verdict.id.as_bytes());
                self.staging.remove(&by_id)?;
                self.staging.remove(&key::raised(&verdict.id))?;
            }
            self.staging.remove(&key)?;
        }
        Ok(())
    }

    fn over(&mut self, verdict: &str, at_us: u64, ending: Ending) -> Result<(), StoreError> {
        let key = key::raised(verdict);
        let Some(raised) = self.staging.get::<RaisedRecord>(&key)? else {
            return Ok(());
        };
        let raised = RaisedRecord {
            over: Some((at_us, ending)),
            ..raised
        };
        self.staging.put(key, &Packed::json(&raised)?)
    }

    fn agent(&mut self, agent: &AgentRecord) -> Result<(), StoreError> {
        self.members.push(Member::Agent(agent.clone()));
        self.staging
            .put(key::agent(&agent.name), &Packed::json(agent)?)
    }

    /// Its series go by another name from now on; what is stored of them names them by number.
    fn rename_agent(&mut self, from: &VantageName, agent: &AgentRecord) -> Result<(), StoreError> {
        let to = &agent.name;
        self.change_series(from, |series| series.vantage.clone_from(to))?;
        if let Some(counted) = self.staging.get::<u64>(&key::counted(from))? {
            self.staging
                .put(key::counted(to), &Packed::json(&counted)?)?;
        }
        let through = self.watermarks.remove(from);
        if let Some(through) = through.or_else(|| self.shared.durable_through(from)) {
            self.watermarks.insert(to.clone(), through);
        }
        self.forget_agent(from)?;
        self.renamed.push(agent.clone());
        self.agent(agent)
    }

    /// Its series belong to nobody from now on, and their records age out: a number that is given anew
    /// must find none of them.
    fn delete_agent(&mut self, name: &VantageName) -> Result<(), StoreError> {
        self.change_series(name, |series| {
            series.service = ServiceName(String::new());
            series.vantage = VantageName(String::new());
        })?;
        self.forget_agent(name)
    }

    fn forget_agent(&mut self, name: &VantageName) -> Result<(), StoreError> {
        self.watermarks.remove(name);
        self.forgotten.insert(name.clone());
        self.members.push(Member::NoAgent(name.clone()));
        self.staging.remove(&key::watermark(name))?;
        self.staging.remove(&key::counted(name))?;
        self.staging.remove(&key::agent(name))
    }

    fn change_series(
        &mut self,
        vantage: &VantageName,
        change: impl Fn(&mut Series),
    ) -> Result<(), StoreError> {
        let mut table = self.shared.series_mut();
        for (id, mut series) in table.of_vantage(vantage) {
            table.remove(id);
            change(&mut series);
            self.staging.put(key::series(id), &Packed::json(&series)?)?;
            table.insert(id, series);
        }
        Ok(())
    }

    fn burn_token(
        &mut self,
        secret: &SecretHash,
        used_at_us: u64,
        used_for: Use,
        agent: &AgentRecord,
    ) -> Result<(), StoreError> {
        let mut token = self.usable_token(secret, used_at_us)?;
        token.used_at_us = Some(used_at_us);
        token.used_for = Some(used_for);
        self.staging
            .put(key::token(secret), &Packed::json(&token)?)?;
        self.agent(agent)
    }

    fn usable_token(&self, secret: &SecretHash, now_us: u64) -> Result<TokenRecord, StoreError> {
        let token: Option<TokenRecord> = self.staging.get(&key::token(secret))?;
        match token {
            None => Err(StoreError::TokenUnknown),
            Some(token) if token.used_at_us.is_some() => Err(StoreError::TokenUsed),
            Some(token) if now_us >= token.expires_us => Err(StoreError::TokenExpired),
            Some(token) => Ok(token),
        }
    }
}

/// Windows whose time has come, with how far their agents are counted in them.
pub(super) fn stage_windows(staging: &mut Staging<'_>, ripe: &[Ripe]) -> Result<(), StoreError> {
    for Ripe {
        vantage,
        through,
        windows,
        ..
    } in ripe
    {
        for (key, minute) in windows {
            stage_window(staging, *key, minute)?;
        }
        staging.put(key::counted(vantage), &Packed::json(through)?)?;
    }
    Ok(())
}

/// Puts a minute into the window that is stored of it, if any.
fn stage_window(
    staging: &mut Staging<'_>,
    key: WindowKey,
    minute: &Minute,
) -> Result<(), StoreError> {
    let bytes = key.bytes();
    let mut window = minute.encode().map_err(StoreError::damaged(&bytes))?;
    if staging.contains(&bytes)? {
        let mut sum = stored_window(staging, key)?;
        let added = sum.add(&window).and_then(|()| sum.encode());
        window = added.map_err(StoreError::damaged(&bytes))?;
    }
    staging.put(bytes, &Packed::plain(window))
}

/// The window as stored, an empty one where there is none or where it is damaged.
pub(super) fn stored_window(staging: &Staging<'_>, key: WindowKey) -> Result<Window, StoreError> {
    let key = key.bytes();
    let stored = staging.sound_bytes(&key)?;
    let window = match stored.as_deref().map(Window::decode) {
        Some(Ok(window)) => Ok(window),
        Some(Err(error)) => {
            tracing::error!(%error, "a latency window starts afresh");
            Window::new()
        }
        None => Window::new(),
    };
    window.map_err(StoreError::damaged(&key))
}

/// A group of commits ready to be applied.
pub(super) struct Staged<'a> {
    /// `None` when everything was a repeat.
    pub(super) staging: Option<Staging<'a>>,
    pub(super) watermarks: BTreeMap<VantageName, u64>,
    pub(super) forgotten: BTreeSet<VantageName>,
    pub(super) renamed: Vec<AgentRecord>,
    pub(super) members: Vec<Member>,
    pub(super) stored: u64,
    pub(super) counted: Vec<Counted>,
    pub(super) ripe: Vec<Ripe>,
}

/// Counter of all observations ever stored.
pub(super) const STORED: &[u8] = b"stored";
/// Fingerprint of the authority that is relied on.
pub(super) const AUTHORITY: &[u8] = b"authority";
/// That the store was restored from a backup.
pub(super) const RESTORED: &[u8] = b"restored";
/// Place of the newest verdict.
const VERDICTS: &[u8] = b"verdicts";
