//! From observations to counts: the cells of the differential test.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::facts::case::Case;
use crate::facts::observation::{
    Arm, Failure, Layer, MOST_COPIES, Observation, ObservationId, Outcome, RoundId, SourcePort,
    Target,
};
use crate::facts::time::Micros;
use crate::facts::topology::{Role, VantageName, VantagePoint};
use crate::reading::choosing::{Kept, tell_kept};
use crate::reading::clusters;
use crate::reading::comparison::Reading;
use crate::reading::delay::Delay;
use crate::reading::dns::Asked;
use crate::reading::epochs::Span;
use crate::reading::kernel;
use crate::reading::passing::{Passed, passes};
use crate::reading::sessions;
use crate::reading::wanted::Worth;
use crate::reading::witness::{Index, Seen, Witnesses};
use crate::world::part::Part;
use crate::world::path::{Alternative, Balancing, Paths};
use crate::world::symptom::{Stage, Symptom};

/// At most this many windows; the cost of a judgement grows with their number, and more than ten
/// faults in one quarter of an hour are no longer told from each other by anybody.
const MAX_WINDOWS: usize = 24;

/// Changes nearer to each other than this are one change, seen by different probes.
const SAME_CHANGE_US: u64 = 1_500_000;

/// The prior odds of a balancer that tries the next backend when one does not let it in (nginx's
/// `proxy_next_upstream`, HAProxy's `option redispatch`), and of how many late answers on that matters.
const TRIES_OTHERS: f64 = 0.5;
const LATE_ANSWERS: u32 = 6;

/// Calm for at least so long parts two stretches of failures.
const CALM_US: u64 = 15_000_000;

/// Less probable than this is a rare chance.
const RARE: f64 = 0.05;

/// Lost SYNs of one connection that count: those of one connection are not independent, and a fault
/// that swallows them all would otherwise outweigh every other evidence.
const MAX_SYNS: u32 = 3;

/// What happened so many times in a cell.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// The symptom; `None` for success.
    pub(crate) symptom: Option<Symptom>,
    /// The backend that served, where the answer told.
    pub(crate) served_by: Option<usize>,
    /// Whom the balancer had chosen just before, where it may not have chosen anew.
    pub(crate) kept: Option<Kept>,
    /// How many times, by window.
    pub(crate) counts: Vec<u32>,
}

impl Tally {
    /// How many times in all.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().map(|c| u64::from(*c)).sum()
    }
}

/// One arm from one vantage point at one stage, counted.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) vantage: VantageName,
    pub(crate) arm: Arm,
    pub(crate) stage: Stage,
    /// The paths that its probes may take.
    pub(crate) alternatives: Vec<Alternative>,
    pub(crate) tallies: Vec<Tally>,
    /// The probes do what users do.
    pub(crate) user_facing: bool,
    /// What is answered takes more than one packet.
    pub(crate) long: bool,
    /// It is of a session that leads to nobody: since one of its requests failed, most did.
    pub(crate) stuck: bool,
    /// Probes of the last minute that reached the stage.
    pub(crate) recent: u64,
    /// When the last of all its probes was fired, in microseconds of mesh time.
    pub(crate) last: u64,
    /// Some SYN-ACKs left the far host by another interface than the SYNs came in by.
    pub(crate) asymmetric: bool,
    /// What the stage took, where it has a time of its own.
    pub(crate) times: Option<Times>,
    /// What is known of who is asked, where that is DNS.
    pub(crate) asked: Asked,
}

/// The time that a stage takes in a cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Usually.
    pub(crate) usual: Micros,
    /// The median of the probes that were late; of all, where none was.
    pub(crate) median: Micros,
}

impl Cell {
    /// Probes that reached the stage.
    pub(crate) fn trials(&self) -> u64 {
        self.tallies.iter().map(Tally::total).sum()
    }

    /// What its probes showed that did not pass as usual, each once for every backend that served.
    pub(crate) fn symptoms(&self) -> impl Iterator<Item = Symptom> + '_ {
        self.tallies.iter().filter_map(|t| t.symptom)
    }

    /// Probes that failed at the stage, or passed it late.
    pub(crate) fn failed(&self) -> u64 {
        self.tallies
            .iter()
            .filter(|t| t.symptom.is_some())
            .map(Tally::total)
            .sum()
    }
}

/// The evidence, counted.
pub(crate) struct Evidence {
    pub(crate) cells: Vec<Cell>,
    pub(crate) parts: Vec<Part>,
    /// How many windows the counts are split into; the last one holds the present.
    pub(crate) windows: usize,
    /// When each window began, in microseconds of mesh time.
    pub(crate) starts: Vec<u64>,
    /// The last round.
    pub(crate) now: u64,
    /// How the balancer is taken to work.
    pub(crate) balancing: Balancing,
    /// By how many seconds the clock of a vantage point's host is ahead, where it is wrong.
    pub(crate) astray: BTreeMap<VantageName, i64>,
}

/// One probe at one stage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    /// The round's instant, in microseconds of mesh time.
    pub(crate) at: u64,
    stage: Stage,
    /// How it failed; `None` for success.
    pub(crate) symptom: Option<Symptom>,
    /// The backend that served, where the answer told.
    pub(crate) served_by: Option<usize>,
    /// Whom the balancer had chosen just before, where it may not have chosen anew.
    pub(crate) kept: Option<Kept>,
    /// So many alike.
    pub(crate) count: u32,
    asymmetric: bool,
    /// How long the stage took, where it was passed and has a time of its own.
    took: Option<Micros>,
}

#[cfg(test)]
impl Trial {
    /// One probe of which nothing else matters.
    pub(crate) fn plain(at: u64, symptom: Option<Symptom>) -> Self {
        Self {
            at,
            stage: Stage::Http,
            symptom,
            served_by: None,
            kept: None,
            count: 1,
            asymmetric: false,
            took: None,
        }
    }

    /// The same, served by this backend.
    pub(crate) fn by(mut self, backend: usize) -> Self {
        self.served_by = Some(backend);
        self
    }
}

impl Trial {
    /// What passed, and its cell.
    fn of(vantage: &VantageName, passed: &Passed) -> (Key, Self) {
        let key = (vantage.clone(), passed.arm.clone(), passed.stage);
        let trial = Self {
            at: passed.at,
            stage: passed.stage,
            symptom: passed.symptom,
            served_by: None,
            kept: None,
            count: passed.count,
            asymmetric: passed.asymmetric,
            took: None,
        };
        (key, trial)
    }
}

pub(crate) type Key = (VantageName, Arm, Stage);

/// Observations that are evidence: each once, in order of their ids, without those never fired, and of one
/// arm of a vantage point in one round no more than a round asks for. Nobody weighs more by saying more.
pub(crate) fn usable(case: &Case) -> Vec<&Observation> {
    let unique: BTreeMap<&ObservationId, &Observation> =
        case.observations.iter().map(|o| (&o.id, o)).collect();
    let mut said: BTreeMap<(&VantageName, RoundId, &Arm), u32> = BTreeMap::new();
    unique
        .into_values()
        .filter(|o| o.outcome != Outcome::NotFired)
        .filter(|o| {
            let times = said.entry((o.vantage(), o.round, &o.arm)).or_default();
            *times += 1;
            *times <= MOST_COPIES
        })
        .collect()
}

/// Every probe at every stage that it reached, by cell, under one reading of the balancer.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) by_cell: BTreeMap<Key, Vec<Trial>>,
    /// The address that a cell's first probe left from.
    local: BTreeMap<Key, IpAddr>,
    balancing: Balancing,
}

impl Record {
    /// Reads every observation against the others, and against what the index holds of them.
    pub(crate) fn new(
        index: &Index<'_>,
        observations: &[&Observation],
        reading: &Reading<'_>,
        balancing: Balancing,
    ) -> Self {
        let witnesses = Witnesses::new(index, observations, balancing.at_layer_4());
        let mut by_arm: BTreeMap<(&VantageName, &Arm), Vec<&Observation>> = BTreeMap::new();
        for observation in observations {
            let arm = (observation.vantage(), &observation.arm);
            by_arm.entry(arm).or_default().push(observation);
        }
        let mut by_cell: BTreeMap<Key, Vec<Trial>> = BTreeMap::new();
        let mut local: BTreeMap<Key, IpAddr> = BTreeMap::new();
        for ((vantage, arm), observations) in by_arm {
            if matches!(&arm.target, Target::Edge { address } if reading.removed(*address)) {
                continue;
            }
            let mut by_stage: BTreeMap<Stage, Vec<Trial>> = BTreeMap::new();
            let mut left_from: BTreeMap<Stage, IpAddr> = BTreeMap::new();
            for observation in observations {
                if reading.dns().repeated(observation) {
                    continue;
                }
                for trial in read(observation, reading, &witnesses) {
                    if let Some(tcp) = &observation.facts.tcp {
                        left_from.entry(trial.stage).or_insert(tcp.local.ip());
                    }
                    by_stage.entry(trial.stage).or_default().push(trial);
                }
            }
            let key = |stage| (vantage.clone(), arm.clone(), stage);
            local.extend(left_from.into_iter().map(|(stage, ip)| (key(stage), ip)));
            by_cell.extend(by_stage.into_iter().map(|(stage, all)| (key(stage), all)));
        }
        if let Some(passing) = reading.passing() {
            for passed in &passing.passed {
                let (key, trial) = Trial::of(&passing.vantage.name, passed);
                by_cell.entry(key).or_default().push(trial);
            }
        }
        let backends = &reading.topology().backends;
        clusters::leave_one(&mut by_cell, backends);
        tell_kept(&mut by_cell, backends.len());
        Self {
            by_cell,
            local,
            balancing,
        }
    }

    /// The same of a balancer that works in another way; `None` where its backends' witnesses would be read in
    /// another way, too.
    pub(crate) fn read_as(&self, balancing: Balancing) -> Option<Self> {
        let alike = self.balancing.at_layer_4() == balancing.at_layer_4();
        alike.then(|| Self {
            balancing,
            ..self.clone()
        })
    }

    /// The same of a balancer that tries the next backend when one does not let it in: of a late answer that came
    /// through it nobody knows whom the lateness is of. With the logarithm of the odds of that, and of whose names
    /// the late answers bear. `None` where too few do.
    pub(crate) fn tried_elsewhere(&self, backends: usize) -> Option<(f64, Self)> {
        if self.balancing != Balancing::Proxied {
            return None;
        }
        let late = |trial: &Trial| {
            trial.served_by.is_some() && trial.symptom.is_some_and(Symptom::is_late)
        };
        let mut elsewhere = self.clone();
        let mut told = 0;
        let mut names = BTreeSet::new();
        let through = elsewhere.by_cell.iter_mut().filter(|((_, arm, _), _)| {
            matches!(arm.target, Target::Vip { .. } | Target::Edge { .. })
        });
        for trial in through.flat_map(|(_, trials)| trials).filter(|t| late(t)) {
            names.extend(trial.served_by.take());
            told += trial.count;
        }
        tell_kept(&mut elsewhere.by_cell, backends);
        // Where all are late by themselves, chance makes each of their names; else nobody is tried in its own place.
        let others = match names.len() < backends {
            true => backends.saturating_sub(1).max(1) as f64,
            false => backends as f64,
        };
        let odds = libm::log(TRIES_OTHERS) - f64::from(told) * libm::log(others);
        (told >= LATE_ANSWERS).then_some((odds, elsewhere))
    }

    /// Counts one stretch of it.
    pub(crate) fn count(&self, reading: &Reading<'_>, span: Span) -> Evidence {
        let within = |trials: &Vec<Trial>| -> Vec<Trial> {
            trials
                .iter()
                .filter(|t| span.holds(t.at))
                .copied()
                .collect()
        };
        let by_cell: BTreeMap<&Key, Vec<Trial>> = self
            .by_cell
            .iter()
            .map(|(key, trials)| (key, within(trials)))
            .filter(|(_, trials)| !trials.is_empty())
            .collect();
        let mut trials = by_cell.values().flatten();
        let strict = trials.any(|t| t.symptom == Some(Symptom::Unrouted));
        let mut paths = Paths::new(reading.path(), self.balancing).strict(strict);
        let served = served(&by_cell);
        let bounds = boundaries(&by_cell);
        let instants = || by_cell.values().flatten().map(|t| t.at);
        let now = instants().max().unwrap_or(0);
        let first = instants().min();
        let mut cells = Vec::new();
        for (key, trials) in &by_cell {
            let passing = reading.passing().map(|passing| &passing.vantage);
            let mut vantages = reading.path().vantages.iter().chain(passing);
            let Some(vantage) = vantages.find(|v| v.name == key.0) else {
                continue;
            };
            let mut alternatives = if passes(&key.0) {
                paths.passing(vantage, &key.1, key.2)
            } else {
                let destination = destination(&self.local, key, vantage);
                let mut got = reading.got(&key.0, &key.1.target);
                got.served &= served.contains(&key.0);
                paths.alternatives(vantage, &key.1, key.2, destination, got)
            };
            if alternatives.is_empty() {
                continue;
            }
            let times = Frame {
                bounds: &bounds,
                now,
            };
            let all = &self.by_cell[*key];
            let trials = sessions::read(&key.1, &mut alternatives, all, trials);
            cells.push(cell(key, vantage, alternatives, &trials, times, reading));
        }
        Evidence {
            cells,
            parts: paths.into_parts(),
            windows: bounds.len() + 1,
            starts: first.into_iter().chain(bounds.iter().copied()).collect(),
            now,
            balancing: self.balancing,
            astray: reading.clocks().astray().clone(),
        }
    }
}

/// The vantage points that an edge has served: who was served before may be turned away since.
fn served<'k>(by_cell: &BTreeMap<&'k Key, Vec<Trial>>) -> BTreeSet<&'k VantageName> {
    let answered = by_cell.iter().filter(|(key, trials)| {
        let by_edge = matches!(key.1.target, Target::Edge { .. }) && key.2 == Stage::Http;
        by_edge && trials.iter().any(|trial| trial.symptom.is_none())
    });
    answered.map(|(key, _)| &key.0).collect()
}

/// The windows of a stretch and its last round, in microseconds of mesh time.
#[derive(Clone, Copy)]
struct Frame<'a> {
    bounds: &'a [u64],
    now: u64,
}

/// Where answers to a cell's probes go.
fn destination(local: &BTreeMap<Key, IpAddr>, key: &Key, vantage: &VantagePoint) -> Option<IpAddr> {
    key.1
        .source
        .or_else(|| local.get(key).copied().filter(|a| !a.is_unspecified()))
        .or_else(|| vantage.addresses.first().copied())
}

/// How a probe went, who served, and whom the balancer had chosen before.
type Alike = (Option<Symptom>, Option<usize>, Option<Kept>);

fn cell(
    key: &Key,
    vantage: &VantagePoint,
    alternatives: Vec<Alternative>,
    trials: &[Trial],
    Frame { bounds, now }: Frame<'_>,
    reading: &Reading<'_>,
) -> Cell {
    let mut counts: BTreeMap<Alike, Vec<u32>> = BTreeMap::new();
    let mut recent = 0;
    for trial in trials {
        let window = bounds.partition_point(|bound| *bound <= trial.at);
        counts
            .entry((trial.symptom, trial.served_by, trial.kept))
            .or_insert_with(|| vec![0; bounds.len() + 1])[window] += trial.count;
        if trial.at + 60_000_000 >= now {
            recent += u64::from(trial.count);
        }
    }
    let tallies = counts
        .into_iter()
        .map(|((symptom, served_by, kept), counts)| Tally {
            symptom,
            served_by,
            kept,
            counts,
        })
        .collect();
    let (name, arm, stage) = key.clone();
    Cell {
        user_facing: user_facing(vantage, &arm, reading),
        long: reading.is_long(&arm),
        stuck: stage == Stage::Http && sessions::is_stuck(&arm, trials),
        asymmetric: trials.iter().any(|t| t.asymmetric),
        times: times(&name, &arm, stage, trials, reading),
        asked: reading.dns().asked(&arm),
        vantage: name,
        arm,
        stage,
        alternatives,
        tallies,
        recent,
        last: trials.iter().map(|t| t.at).max().unwrap_or(0),
    }
}

/// What a cell's stage usually takes, and what it took.
fn times(
    vantage: &VantageName,
    arm: &Arm,
    stage: Stage,
    trials: &[Trial],
    reading: &Reading<'_>,
) -> Option<Times> {
    let layer = match stage {
        Stage::Dns => Layer::Dns,
        Stage::Tls => Layer::Tls,
        Stage::Http => Layer::Http,
        Stage::Tcp | Stage::Arrive | Stage::Answer | Stage::Return => return None,
    };
    let is_late = |t: &&Trial| t.symptom.is_some_and(Symptom::is_late);
    let mut took: Vec<Micros> = trials
        .iter()
        .filter(is_late)
        .filter_map(|t| t.took)
        .collect();
    if took.is_empty() {
        took = trials.iter().filter_map(|t| t.took).collect();
    }
    took.sort_unstable();
    Some(Times {
        usual: reading.delays().usual(vantage, arm, layer)?,
        median: *took.get(took.len() / 2)?,
    })
}

/// Whether an arm does what users do: asks a resolver from outside, or fetches by a public address, from
/// a port that it has not just used, and with one connection.
fn user_facing(vantage: &VantagePoint, arm: &Arm, reading: &Reading<'_>) -> bool {
    let users_ask = match &arm.target {
        Target::Resolver { .. } => vantage.role == Role::Outside,
        Target::Edge { .. } => true,
        Target::Vip { .. } => {
            reading.topology().edges.is_empty() || vantage.role == Role::BehindCdn
        }
        Target::NameServer { .. } | Target::Backend { .. } => false,
    };
    users_ask && arm.traits.port.is_plain() && arm.traits.pace.is_plain()
}

/// The windows begin and end where the record of some cell changes: where failures begin and where
/// they end for a while. Returns the starts of all windows but the first, ascending.
fn boundaries(trials: &BTreeMap<&Key, Vec<Trial>>) -> Vec<u64> {
    let rounds: BTreeSet<u64> = trials.values().flatten().map(|t| t.at).collect();
    let mut votes: BTreeMap<u64, u32> = BTreeMap::new();
    for trials in trials.values() {
        let failed = trials.iter().filter(|t| t.symptom.is_some());
        for (first, last) in episodes(failed.map(|t| t.at).collect()) {
            *votes.entry(first).or_default() += 1;
            let end = rounds.range(last + 1..).next();
            if let Some(end) = end.filter(|_| is_over(trials, first, last)) {
                *votes.entry(*end).or_default() += 1;
            }
        }
    }
    if let Some(first) = rounds.first() {
        votes.remove(first);
    }
    let mut ranked: Vec<(u32, u64)> = votes.into_iter().map(|(at, n)| (n, at)).collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    let mut bounds: Vec<u64> = Vec::new();
    for (_, at) in ranked {
        let near = |bound: &u64| bound.abs_diff(at) < SAME_CHANGE_US;
        if bounds.len() < MAX_WINDOWS - 1 && !bounds.iter().any(near) {
            bounds.push(at);
        }
    }
    bounds.sort_unstable();
    bounds
}

/// Whether a stretch of failures has come to its end: were it still going on, so many passes since its
/// last one would be a rare chance.
fn is_over(trials: &[Trial], first: u64, last: u64) -> bool {
    let count = |wanted: &dyn Fn(&Trial) -> bool| -> u32 {
        let trials = trials.iter().filter(|t| wanted(t));
        trials.map(|t| t.count).sum()
    };
    let during = count(&|t| (first..=last).contains(&t.at));
    let failed = count(&|t| (first..=last).contains(&t.at) && t.symptom.is_some());
    let since = count(&|t| t.at > last && t.symptom.is_none());
    let passing = 1.0 - f64::from(failed) / f64::from(during + 1);
    libm::pow(passing, f64::from(since)) < RARE
}

/// Stretches of failures, each as the times of its first and its last. A stretch is over when no
/// failure follows for much longer than its failures were apart.
fn episodes(mut failures: Vec<u64>) -> Vec<(u64, u64)> {
    failures.sort_unstable();
    failures.dedup();
    let mut stretches: Vec<(u64, u64)> = Vec::new();
    let mut count = 0;
    for at in failures {
        match stretches.last_mut() {
            Some((first, last)) if at - *last <= calm(*last - *first, count) => {
                *last = at;
                count += 1;
            }
            _ => {
                stretches.push((at, at));
                count = 1;
            }
        }
    }
    stretches
}

/// How long it must be calm until a stretch of so many failures over so long a time is over.
fn calm(length: u64, failures: u64) -> u64 {
    let apart = length / failures.saturating_sub(1).max(1);
    CALM_US.max(apart.saturating_mul(6))
}

/// The trials of one observation, one for each stage that it reached.
fn read(observation: &Observation, reading: &Reading<'_>, witnesses: &Witnesses<'_>) -> Vec<Trial> {
    let mut trials = Vec::new();
    let at = observation.scheduled_us;
    let push = |trials: &mut Vec<Trial>, layer, symptom, took| {
        trials.push(Trial {
            at,
            stage: stage_of(layer),
            symptom,
            served_by: served_by(observation, layer, reading),
            kept: None,
            count: 1,
            asymmetric: false,
            took,
        });
    };
    let failed = match &observation.outcome {
        Outcome::Failed { layer, failure, .. } => match Symptom::of(*failure) {
            Some(_) if !reading.never_held(&observation.arm.target, *layer) => {
                Some((*layer, *failure))
            }
            Some(_) | None => return trials,
        },
        Outcome::Passed | Outcome::NotFired => None,
    };
    // An answer came, and only too late by the service file: it took what it took.
    let late = match &observation.outcome {
        Outcome::Failed {
            failure: Failure::LateFirstByte,
            after,
            ..
        } => Some(*after),
        Outcome::Failed { .. } | Outcome::Passed | Outcome::NotFired => None,
    };
    let http = observation.facts.http.as_ref();
    let worth = http.map(|http| reading.wanted().of_answer(http, &observation.arm));
    let open = |layer| layer == Layer::Http && worth == Some(Worth::Open);
    for layer in [Layer::Dns, Layer::Tls, Layer::Http] {
        if let Some(took) = observation.took(layer).filter(|_| !open(layer)) {
            let symptom = after_passing(observation, layer, took, reading);
            push(&mut trials, layer, symptom, Some(took));
        }
    }
    if let Some((layer, failure)) = failed.filter(|(layer, _)| *layer != Layer::Tcp) {
        let sign = reading.dns().sign(observation);
        let sign = sign.or_else(|| reading.clocks().sign(observation));
        let symptom = sign.or_else(|| Symptom::of(failure));
        match reading.wanted().of_failure(failure, &observation.arm) {
            Worth::Good => push(&mut trials, layer, None, None),
            Worth::Bad => push(&mut trials, layer, symptom, late),
            Worth::Open => {}
        }
    }
    trials.extend(handshake(observation, failed, witnesses));
    trials
}

fn stage_of(layer: Layer) -> Stage {
    match layer {
        Layer::Dns => Stage::Dns,
        Layer::Tcp => Stage::Tcp,
        Layer::Tls => Stage::Tls,
        Layer::Http => Stage::Http,
    }
}

/// What a comparison holds against a layer that was passed.
fn after_passing(
    observation: &Observation,
    layer: Layer,
    took: Micros,
    reading: &Reading<'_>,
) -> Option<Symptom> {
    let facts = &observation.facts;
    if let Some(sign) = reading.dns().sign(observation) {
        return Some(sign);
    }
    if layer == Layer::Http
        && facts.http.as_ref().is_some_and(|http| {
            let worth = reading.wanted().of_answer(http, &observation.arm);
            reading.differs(http) || worth == Worth::Bad
        })
    {
        return Some(Symptom::ContentDiffers);
    }
    if reading.is_unrest(observation) {
        return None;
    }
    let delay = reading.delays().of(observation, layer, took)?;
    Some(match delay {
        Delay::Noticed => Symptom::Late,
        Delay::Resent => Symptom::Resent,
        Delay::Great => Symptom::Slow,
    })
}

fn served_by(observation: &Observation, layer: Layer, reading: &Reading<'_>) -> Option<usize> {
    let behind = matches!(
        observation.arm.target,
        Target::Edge { .. } | Target::Vip { .. }
    );
    if layer != Layer::Http || !behind {
        return None;
    }
    observation
        .facts
        .http
        .as_ref()
        .and_then(|http| reading.served_by(http))
}

/// The handshake, SYN by SYN; in three stages where the far end has a witness.
fn handshake(
    observation: &Observation,
    failed: Option<(Layer, Failure)>,
    witnesses: &Witnesses<'_>,
) -> Vec<Trial> {
    let passed = observation.took(Layer::Tcp).is_some();
    let failure = failed
        .filter(|(layer, _)| *layer == Layer::Tcp)
        .map(|(_, failure)| failure);
    if !passed && failure.is_none() {
        return Vec::new();
    }
    let again = observation
        .facts
        .tcp
        .as_ref()
        .map_or(0, |tcp| tcp.syn_retransmissions);
    let last = failure.and_then(Symptom::of);
    let unanswered = again.min(MAX_SYNS) + u32::from(last == Some(Symptom::SynLost));
    let unanswered = match (&observation.arm.target, observation.arm.traits.port) {
        // What the far end remembers of a port is the same for every SYN of the connection.
        (_, SourcePort::Reused) => unanswered.min(1),
        // A balancer chooses once for a connection: whoever it forwards the first SYN to gets them all.
        (Target::Vip { .. }, SourcePort::Fresh) if !passed => unanswered.min(1),
        (_, SourcePort::Fresh) => unanswered,
    };
    let other = last.filter(|symptom| *symptom != Symptom::SynLost);
    let syns = Syns {
        unanswered,
        other,
        passed,
        again,
    };
    let seen = witnesses.saw(observation);
    let asymmetric = seen
        .as_ref()
        .is_some_and(|s| !s.left_by.is_empty() && s.left_by.is_disjoint(&s.arrived_by));
    let counted = seen.map_or_else(|| syns.alone(), |seen| syns.witnessed(&seen));
    let counted = counted.into_iter().filter(|(_, _, count)| *count > 0);
    counted
        .map(|(stage, symptom, count)| Trial {
            at: observation.scheduled_us,
            stage,
            symptom,
            served_by: None,
            kept: None,
            count,
            asymmetric,
            took: None,
        })
        .collect()
}

/// The SYNs of one connection, as its prober knows them.
struct Syns {
    /// Those that nothing came back for, as far as they count.
    unanswered: u32,
    /// What the last one met with instead.
    other: Option<Symptom>,
    /// The last one was answered.
    passed: bool,
    /// How many were sent after the first.
    again: u32,
}

/// A stage, what was seen there, and how often.
type Counted = (Stage, Option<Symptom>, u32);

const LOST: Option<Symptom> = Some(Symptom::SynLost);

impl Syns {
    /// Where nobody stands at the far end.
    fn alone(&self) -> Vec<Counted> {
        vec![
            (Stage::Tcp, LOST, self.unanswered),
            (Stage::Tcp, self.other, u32::from(self.other.is_some())),
            (Stage::Tcp, None, u32::from(self.passed)),
        ]
    }

    /// In three stages, where a witness does.
    fn witnessed(&self, seen: &Seen<'_>) -> Vec<Counted> {
        let (other, passed) = (self.other, u32::from(self.passed));
        let sent = self.unanswered + passed + u32::from(other.is_some());
        let arrived = seen.syns.min(sent);
        let answered = (seen.answers.min(arrived)).max(passed.min(arrived));
        let refused = u32::from(other.is_some() && seen.resets > 0 && arrived > answered);
        let silent = (arrived - answered).saturating_sub(refused);
        let unreachable = u32::from(other.is_some() && refused == 0);
        let lost_back = match self.passed {
            true => seen.answers.saturating_sub(1).min(self.again).min(MAX_SYNS),
            false => seen.answers.min(MAX_SYNS),
        };
        let missing = sent - arrived;
        let mut counted = vec![
            (Stage::Arrive, None, arrived),
            (Stage::Arrive, other, unreachable.min(missing)),
            (Stage::Arrive, LOST, missing.saturating_sub(unreachable)),
            (Stage::Answer, None, answered),
            (Stage::Answer, other, refused),
            (Stage::Return, None, passed),
            (Stage::Return, LOST, lost_back),
        ];
        let told = kernel::told(&seen.reasons, silent).into_iter();
        counted.extend(told.map(|(symptom, count)| (Stage::Answer, Some(symptom), count)));
        counted
    }
}

#[cfg(test)]
mod tests;
