//! The probes that carried a fault, and the same ones since.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Named, Round, Since, end_of};
use crate::facts::case::Case;
use crate::facts::observation::{Arm, Observation};
use crate::facts::topology::VantageName;
use crate::judgement::carried::Carried;
use crate::judgement::problem::{Hypothesis, Problem};
use crate::reading::cells::{self, Cell, Record};
use crate::reading::comparison::Reading;
use crate::reading::epochs::Span;
use crate::reading::witness::Index;
use crate::world::mode::MODES;
use crate::world::path::{self, Balancing};
use crate::world::signature::Signatures;
use crate::world::symptom::Stage;

/// Share of a service's probes that fails by chance where no calm time was seen.
const BACKGROUND: f64 = 0.003;
/// The shares that count as calm, at least and at most: what fails more often may be a fault that was
/// there all the time.
const CALM: (f64, f64) = (2e-4, 0.01);
/// An arm that never failed is spared by the fault when that would be less probable than this, had it
/// failed as often as the one that failed most: a balancer has the backend out of rotation.
const SPARED: f64 = 0.01;

/// Where probes straight to the component showed so many failures, those that others may have failed as
/// well need not be asked.
const STRAIGHT: usize = 4;

/// One probe, named by where it went and when.
type ProbeKey = (u64, VantageName, Arm);
/// Probes with whether they failed as the fault fails them.
type Probes = BTreeMap<ProbeKey, bool>;

/// The probes of a case and since that cross a fault where it would show, and whether they failed as it
/// fails them.
pub(super) struct Carriers<'a> {
    case: &'a Case,
    probes: Probes,
    /// The end of the case, in microseconds of mesh time.
    end_us: u64,
    /// The first failure, in microseconds of mesh time.
    first_us: u64,
    weights: BTreeMap<(VantageName, Arm), f64>,
    /// The weights of a usual round, added up.
    usual: f64,
}

impl<'a> Carriers<'a> {
    /// Reads the balancer in the way that makes the fault explain the most failures of the case. The case
    /// is read as its verdict read it. What came later is read together with it, but by what was usual
    /// in the case.
    pub(super) fn find(case: &'a Case, named: &Named<'_>, since: &Since) -> Option<Self> {
        let joint = joint(case, since);
        let end_us = end_of(case);
        let (then, now) = (cells::usable(case), cells::usable(&joint));
        let reading_then = Reading::new(case, &then);
        let reading_now = Reading::new(&joint, &now).by_the_standards_of(&reading_then);
        let readings = path::readings(&case.topology).iter();
        let readings = readings.map(|(balancing, _)| {
            let before = shown(case, &then, &reading_then, *balancing, named);
            (*balancing, before)
        });
        // Of those that are equal the first, which is the most probable.
        let (balancing, before) = readings
            .rev()
            .max_by_key(|(_, before)| failures(before.carrying()))?;
        let after = shown(&joint, &now, &reading_now, balancing, named);
        let after = match before.is_straight() {
            true => after.straight,
            false => after.all,
        };
        let mut probes = before.into_carrying();
        probes.extend(after.into_iter().filter(|((at, ..), _)| *at > end_us));
        let first_us = probes.iter().find(|(_, failed)| **failed)?.0.0;
        if first_us > end_us {
            return None;
        }
        let mut carriers = Self {
            case,
            probes,
            end_us,
            first_us,
            weights: BTreeMap::new(),
            usual: 1.0,
        };
        carriers.weigh();
        Some(carriers)
    }

    /// Gives each arm its share of failures, drawn towards the share of all; those that the fault spared
    /// are left out.
    fn weigh(&mut self) {
        let mut counts: BTreeMap<(VantageName, Arm), (f64, f64)> = BTreeMap::new();
        let (mut failures, mut trials) = (0.0, 0.0);
        let stretch = self.first_us..=self.end_us;
        let during = self
            .probes
            .iter()
            .filter(|((at, ..), _)| stretch.contains(at));
        for ((_, vantage, arm), failed) in during {
            let count = counts.entry((vantage.clone(), arm.clone())).or_default();
            let failed = f64::from(u8::from(*failed));
            count.0 += failed;
            count.1 += 1.0;
            failures += failed;
            trials += 1.0;
        }
        // As if each arm had been seen until one more failure, at the rate of all.
        let until_one = trials / failures;
        let weight = |failed: f64, of: f64| (failed + 1.0) / (of + until_one);
        let weights = counts.values().map(|(failed, of)| weight(*failed, *of));
        let passing = 1.0 - weights.fold(0.0, f64::max);
        counts.retain(|_, (failed, of)| *failed > 0.0 || libm::pow(passing, *of) >= SPARED);
        let weighed = counts.into_iter();
        self.weights = weighed
            .map(|(key, (failed, of))| (key, weight(failed, of)))
            .collect();
        let rounds = self.rounds(self.first_us, self.end_us);
        self.usual = rounds.iter().map(|r| r.share).sum::<f64>() / rounds.len() as f64;
    }

    /// The rounds from the first failure to the end of the case.
    pub(super) fn before(&self) -> Vec<Round> {
        self.rounds(self.first_us, self.end_us)
    }

    /// The rounds since then.
    pub(super) fn after(&self) -> Vec<Round> {
        self.rounds(self.end_us + 1, u64::MAX)
    }

    /// The share of rounds of so many probes that is struck without the fault: what is usual for any
    /// service, corrected by the day before the case.
    pub(super) fn calm(&self, probes: f64) -> f64 {
        let (mut failed, mut of) = (1.0, 1.0 / BACKGROUND);
        for baseline in &self.case.baselines.0 {
            let key = (baseline.vantage.clone(), baseline.arm.clone());
            if self.weights.contains_key(&key) {
                failed += baseline.failed as f64;
                of += (baseline.passed + baseline.failed) as f64;
            }
        }
        let (least, most) = CALM;
        let share = (failed / of).clamp(least, most);
        -libm::expm1(probes * libm::log1p(-share))
    }

    fn rounds(&self, from_us: u64, to_us: u64) -> Vec<Round> {
        let mut rounds: Vec<Round> = Vec::new();
        for ((at_us, vantage, arm), failed) in &self.probes {
            let weight = self.weights.get(&(vantage.clone(), arm.clone()));
            let Some(weight) = weight.filter(|_| (from_us..=to_us).contains(at_us)) else {
                continue;
            };
            if rounds.last().is_none_or(|round| round.at_us != *at_us) {
                rounds.push(Round {
                    at_us: *at_us,
                    share: 0.0,
                    probes: 0,
                    failed: 0,
                });
            }
            if let Some(round) = rounds.last_mut() {
                round.share += weight / self.usual;
                round.probes += 1;
                round.failed += u64::from(*failed);
            }
        }
        rounds
    }
}

/// The case with what was seen since.
fn joint(case: &Case, since: &Since) -> Case {
    let mut joint = case.clone();
    joint
        .observations
        .extend(since.observations.iter().cloned());
    joint.sightings.extend(since.sightings.iter().cloned());
    joint
}

/// The probes in which a fault would show, under one reading of the balancer, and whether it did.
struct Shown {
    all: Probes,
    /// Those straight to the component: behind a proxy other faults look the same.
    straight: Probes,
}

impl Shown {
    /// Whether those straight to the component are enough.
    fn is_straight(&self) -> bool {
        failures(&self.straight) >= STRAIGHT
    }

    fn carrying(&self) -> &Probes {
        match self.is_straight() {
            true => &self.straight,
            false => &self.all,
        }
    }

    fn into_carrying(self) -> Probes {
        match self.is_straight() {
            true => self.straight,
            false => self.all,
        }
    }
}

fn shown(
    case: &Case,
    observations: &[&Observation],
    reading: &Reading<'_>,
    balancing: Balancing,
    named: &Named<'_>,
) -> Shown {
    let index = Index::new(&case.topology, &case.sightings, observations);
    let record = Record::new(&index, observations, reading, balancing);
    let evidence = record.count(reading, Span::WHOLE);
    let signatures = Signatures::new();
    let problem = Problem::new(&evidence, &signatures, &Carried::default());
    let hypotheses = hypotheses(&problem, named);
    let mut visible: BTreeMap<(&VantageName, &Arm, Stage), &Cell> = BTreeMap::new();
    for cell in &evidence.cells {
        if hypotheses.iter().any(|h| problem.visible(*h, cell)) {
            visible.insert((&cell.vantage, &cell.arm, cell.stage), cell);
        }
    }
    let (mut all, mut straight) = (Probes::new(), Probes::new());
    for (key, trials) in &record.by_cell {
        let Some(cell) = visible.get(&(&key.0, &key.1, key.2)) else {
            continue;
        };
        let is_straight = hypotheses.iter().any(|h| is_straight(cell, *h));
        for trial in trials {
            let carries = |symptom| {
                let mut hypotheses = hypotheses.iter();
                hypotheses.any(|h| problem.explains(*h, cell, symptom))
            };
            let failed = trial.symptom.is_some_and(carries);
            let probe = (trial.at, key.0.clone(), key.1.clone());
            if is_straight {
                *straight.entry(probe.clone()).or_insert(false) |= failed;
            }
            *all.entry(probe).or_insert(false) |= failed;
        }
    }
    Shown { all, straight }
}

/// How many of the probes failed.
fn failures(probes: &Probes) -> usize {
    probes.values().filter(|failed| **failed).count()
}

/// Whether the cell's own packets cross the part, whichever path they take.
fn is_straight(cell: &Cell, hypothesis: Hypothesis) -> bool {
    cell.alternatives.iter().all(|path| {
        let mut crossed = path.crossed.iter();
        crossed.any(|c| c.part == hypothesis.part && c.view.is_direct())
    })
}

/// The parts that are the component, in the modes that the word stands for.
fn hypotheses(problem: &Problem<'_>, named: &Named<'_>) -> Vec<Hypothesis> {
    let parts = problem.evidence.parts.iter().enumerate();
    let parts = parts.filter(|(_, part)| part.component().as_ref() == Some(named.component));
    let modes = || {
        MODES
            .iter()
            .enumerate()
            .filter(|(_, m)| m.word.text() == named.mode)
    };
    let pairs = parts.flat_map(|(part, p)| {
        let modes = modes().filter(|(_, m)| m.is_of(p.class()));
        modes.map(move |(mode, _)| Hypothesis { part, mode })
    });
    pairs.collect()
}
