//! What a cause does to the logarithm of the likelihood, gathered into classes of outcomes that depend
//! on its rate in the same way.

use alloc::vec;
use alloc::vec::Vec;
use core::iter;
use core::ops::Range;

use super::company::{ALONE, Acts, Company, Known, States};
use super::fit::{Fault, LEVELS};
use super::mixture::{Added, Mixture, More, Room, TINY};
use super::model::{Cell, Count, Effect, Group, Model, Outcome, Touch};

/// Rates at which it is tried whether a fit is worth its cost, and what lies between them, in nats.
const BOUNDS: [f64; 6] = [0.01, 0.04, 0.12, 0.3, 0.6, 0.97];
const BOUND_SLACK: f64 = 1.0;

/// Slopes that are smaller make no difference.
const FLAT: f64 = 1e-12;

/// By how much a cause at a rate raises the logarithm of what was seen: for each class of outcomes, all
/// of which grow by 1 + rate * slope, how many there were in each window.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) windows: usize,
    classes: Vec<(Group, f64)>,
    counts: Vec<f64>,
    /// Gain of being out of rotation, by window.
    pub(super) masked: Vec<f64>,
}

impl Terms {
    fn new(windows: usize) -> Self {
        Self {
            windows,
            classes: Vec::new(),
            counts: Vec::new(),
            masked: vec![0.0; windows],
        }
    }

    fn class(&mut self, group: Group, slope: f64) -> usize {
        let same = |(g, s): &(Group, f64)| *g == group && (s - slope).abs() <= 1e-9 * slope.abs();
        self.classes.iter().position(same).unwrap_or_else(|| {
            self.classes.push((group, slope));
            self.counts.resize(self.classes.len() * self.windows, 0.0);
            self.classes.len() - 1
        })
    }

    /// The counts of a class by window.
    fn counts_of(&self, class: usize) -> &[f64] {
        &self.counts[class * self.windows..(class + 1) * self.windows]
    }

    /// What can be gained at most, roughly: each window at its own best rate, or off.
    pub(super) fn bound(&self) -> f64 {
        if self.only_loses() {
            return 0.0;
        }
        let mut best = self.masked.clone();
        let mut gains = vec![0.0; self.windows];
        for theta in BOUNDS {
            gains.fill(0.0);
            for group in Group::ALL {
                self.sum(group, theta, &mut gains);
            }
            for (best, gain) in best.iter_mut().zip(&gains) {
                *best = best.max(*gain);
            }
        }
        best.iter().map(|gain| gain.max(0.0)).sum::<f64>() + BOUND_SLACK
    }

    /// Whether no rate gains anything.
    fn only_loses(&self) -> bool {
        self.classes.iter().all(|(_, slope)| *slope <= 0.0)
            && self.counts.iter().all(|count| *count >= 0.0)
            && self.masked.iter().all(|gain| *gain <= 0.0)
    }

    /// Whether the rate of a group makes a difference, or being out of rotation does.
    pub(super) fn seen(&self, group: Group) -> bool {
        let masked = group == Group::Behind && self.masked.iter().any(|gain| *gain != 0.0);
        masked || self.classes.iter().any(|(g, _)| *g == group)
    }

    /// Adds the gains of a group at a rate to those of each window.
    pub(super) fn sum(&self, group: Group, theta: f64, gains: &mut [f64]) {
        for (class, slope) in self.of(group) {
            self.sum_class(class, grown(theta, slope), gains);
        }
    }

    /// Adds the logarithms of what the classes of a group grow by at a rate.
    pub(super) fn logs(&self, group: Group, theta: f64, logs: &mut Vec<f64>) {
        logs.extend(self.of(group).map(|(_, slope)| grown(theta, slope)));
    }

    /// Adds the gains of a group, whose classes have grown by this, to those of each window.
    pub(super) fn sum_logs(&self, group: Group, logs: &[f64], gains: &mut [f64]) {
        for ((class, _), log) in self.of(group).zip(logs) {
            self.sum_class(class, *log, gains);
        }
    }

    fn of(&self, group: Group) -> impl Iterator<Item = (usize, f64)> + '_ {
        let classes = self.classes.iter().enumerate();
        let of_group = classes.filter(move |(_, c)| c.0 == group);
        of_group.map(|(class, (_, slope))| (class, *slope))
    }

    fn sum_class(&self, class: usize, log: f64, gains: &mut [f64]) {
        for (gain, count) in gains.iter_mut().zip(self.counts_of(class)) {
            *gain += count * log;
        }
    }

    /// The gain of a fault at its rates, on as far as it was.
    pub(super) fn at_levels(&self, fault: &Fault) -> f64 {
        let mut gain = 0.0;
        for level in 1..=LEVELS {
            let share = f64::from(level) / f64::from(LEVELS);
            let masked = fault.masked && level * 2 >= LEVELS;
            let sum = |values: &[f64]| -> f64 {
                let windows = values.iter().enumerate();
                let here = windows.filter(|(window, _)| fault.level(*window) == level);
                here.map(|(_, value)| value).sum()
            };
            for (class, (group, slope)) in self.classes.iter().enumerate() {
                if *group == Group::Behind && masked {
                    continue;
                }
                let count = sum(self.counts_of(class));
                let theta = fault.theta[*group as usize] * share;
                gain += count * grown(theta, *slope);
            }
            if masked {
                gain += sum(&self.masked);
            }
        }
        gain
    }
}

impl Terms {
    /// The classes of what an outcome gains.
    fn sorted(&mut self, gains: &Gains) -> Slopes {
        let mut slopes = Slopes {
            masked: gains.masked,
            ..Slopes::default()
        };
        for (group, slope) in gains.hard.iter().enumerate() {
            let Some((share, whole)) = slope else {
                continue;
            };
            for (slope, sign) in [(share, 1.0), (whole, -1.0)] {
                if slope.abs() > FLAT {
                    slopes.push(self.class(Group::ALL[group], *slope), sign);
                }
            }
        }
        slopes
    }

    /// Adds what an outcome gains, as often as it was seen, so many times.
    fn add(&mut self, counts: &[Count], slopes: &Slopes, times: f64) {
        for (class, sign) in slopes.classes() {
            let sums = &mut self.counts[class * self.windows..(class + 1) * self.windows];
            for count in counts {
                sums[usize::from(count.window)] += f64::from(count.count) * times * sign;
            }
        }
        if slopes.masked != 0.0 {
            for count in counts {
                self.masked[usize::from(count.window)] +=
                    f64::from(count.count) * times * slopes.masked;
            }
        }
    }
}

/// What one outcome gains by a cause: by group what its share and all shares grow by at the end of the
/// rate, where the cause is of that group, and what it gains when the cause is out of rotation.
#[derive(Default)]
struct Gains {
    hard: [Option<(f64, f64)>; Group::COUNT],
    masked: f64,
}

/// A cell while others act in one way, with a cause beside them.
#[derive(Default)]
struct Scene {
    room: Room,
    /// The cause at the end of its rate, by group; only of the groups that it is of.
    hard: [Added; Group::COUNT],
    masked: Added,
    groups: [bool; Group::COUNT],
}

impl Scene {
    fn set(&mut self, model: &Model, cell: &Cell, mine: &[Touch], (acting, len): Acts<'_>) {
        self.room.fill(model, cell, &acting[..len]);
        let mixture = Mixture::over(model, cell, &self.room);
        for group in Group::ALL {
            let place = group as usize;
            self.groups[place] = mine.iter().any(|t| t.group == group);
            if self.groups[place] {
                mixture.add(More::Hard(mine, group), &mut self.hard[place]);
            }
        }
        if self.groups[Group::Behind as usize] {
            mixture.add(More::Masked(mine), &mut self.masked);
        }
    }

    /// What an outcome gains by the cause.
    fn gains(&self, model: &Model, cell: &Cell, outcome: &Outcome) -> Gains {
        let mixture = Mixture::over(model, cell, &self.room);
        let known = mixture.shares(outcome);
        let (share, whole) = known.with_chance;
        let mut gains = Gains::default();
        for group in Group::ALL.into_iter().filter(|g| self.groups[*g as usize]) {
            let added = &self.hard[group as usize];
            let (hard, hard_whole) = mixture.shares_with(outcome, &known, added);
            gains.hard[group as usize] = Some((hard / share - 1.0, hard_whole / whole - 1.0));
            if group == Group::Behind {
                let (masked, masked_whole) = mixture.shares_with(outcome, &known, &self.masked);
                gains.masked = libm::log(masked / masked_whole) - libm::log(share / whole);
            }
        }
        gains
    }
}

/// Logarithm of what outcomes grow by at a rate.
fn grown(theta: f64, slope: f64) -> f64 {
    libm::log((1.0 + theta * slope).max(TINY))
}

/// What failures gain at the best of all rates, each by 1 + rate * slope, when others passed.
fn best_gain(failed: f64, passed: f64, slope: f64) -> f64 {
    let best = (failed * slope - passed) / (slope * (failed + passed));
    if best <= 0.0 {
        return 0.0;
    }
    failed * libm::log1p(best * slope) + passed * libm::log((1.0 - best).max(TINY))
}

/// The classes of what one outcome gains while others act in a certain way.
#[derive(Clone, Copy, Default)]
struct Slopes {
    /// Classes, counted with these signs: by group numerator and denominator.
    classes: [(usize, f64); 2 * Group::COUNT],
    len: usize,
    masked: f64,
}

impl Slopes {
    fn push(&mut self, class: usize, sign: f64) {
        self.classes[self.len] = (class, sign);
        self.len += 1;
    }

    fn classes(&self) -> &[(usize, f64)] {
        &self.classes[..self.len]
    }
}

/// The terms of a cause while nothing else is at fault, and what they were made of.
pub(super) struct TermsAlone {
    pub(super) terms: Terms,
    /// By informative cell that the cause touches.
    made_of: Vec<MadeOf>,
}

/// A cell's part in the terms of a cause.
struct MadeOf {
    cell: u32,
    /// The touches of the cause there.
    touches: Range<usize>,
    /// By outcome whose terms depend on who else is at fault.
    slopes: Vec<Slopes>,
}

/// A cause in a cell that other faults touch as well.
struct Encounter<'a> {
    model: &'a Model,
    cell: &'a Cell,
    mine: &'a [Touch],
    company: &'a Company<'a>,
    others: &'a [Fault],
    states: &'a States,
}

/// Room to work in: a cell by state of those who act there.
#[derive(Default)]
struct Scenes {
    scenes: Vec<Scene>,
    ready: Vec<bool>,
    slopes: Vec<Option<Slopes>>,
}

impl Encounter<'_> {
    /// Adds what the cell's outcomes gain by the cause.
    fn add_to(&self, terms: &mut Terms, room: &mut Scenes) {
        let states = self.states.len();
        room.scenes
            .resize_with(states.max(room.scenes.len()), Scene::default);
        room.ready.clear();
        room.ready.resize(states, false);
        for outcome in self.model.dependent(self.cell) {
            let counts = self.model.counts(outcome);
            room.slopes.clear();
            room.slopes.resize(states, None);
            // All at once where nothing changes, else window by window.
            for counts in counts.chunks(if states == 1 { counts.len() } else { 1 }) {
                let window = usize::from(counts[0].window);
                let slopes = self.slopes(outcome, window, terms, room);
                terms.add(counts, &slopes, 1.0);
            }
        }
    }

    fn slopes(
        &self,
        outcome: &Outcome,
        window: usize,
        terms: &mut Terms,
        room: &mut Scenes,
    ) -> Slopes {
        let state = self.states.of(window);
        let scene = &mut room.scenes[state];
        if !room.ready[state] {
            room.ready[state] = true;
            let acting = self.company.acting(self.others, window);
            scene.set(self.model, self.cell, self.mine, acting);
        }
        let gains = || scene.gains(self.model, self.cell, outcome);
        *room.slopes[state].get_or_insert_with(|| terms.sorted(&gains()))
    }
}

impl Model {
    /// The terms of a cause while nothing else is at fault; only informative cells are looked at.
    pub(super) fn terms(&self, cause: usize, informative: &[bool]) -> TermsAlone {
        let cause = &self.causes[cause];
        let mut terms = Terms::new(self.windows);
        for (group, passes) in Group::ALL.into_iter().zip(&cause.passes) {
            if !passes.is_empty() {
                terms.classes.push((group, -1.0));
                terms.counts.extend_from_slice(passes);
            }
        }
        let mut scene = Scene::default();
        let mut made_of = Vec::new();
        let mut from = 0;
        for mine in cause.touches.chunk_by(|a, b| a.cell == b.cell) {
            let touches = from..from + mine.len();
            from = touches.end;
            let id = mine[0].cell;
            if !informative[id as usize] {
                continue;
            }
            let cell = &self.cells[id as usize];
            scene.set(self, cell, mine, ALONE);
            let slopes = self.dependent(cell).map(|outcome| {
                let slopes = terms.sorted(&scene.gains(self, cell, outcome));
                terms.add(self.counts(outcome), &slopes, 1.0);
                slopes
            });
            made_of.push(MadeOf {
                cell: id,
                touches,
                slopes: slopes.collect(),
            });
        }
        TermsAlone { terms, made_of }
    }

    /// The terms of a cause beside faults, from those alone: only cells that both touch differ.
    pub(super) fn terms_beside(&self, alone: &TermsAlone, cause: usize, others: &[Fault]) -> Terms {
        let mut terms = alone.terms.clone();
        let touches = |other: &Fault| self.causes[other.cause].touches.as_slice();
        let mut rest: Vec<&[Touch]> = others.iter().map(touches).collect();
        let mut known = Known::default();
        let mut scenes = Scenes::default();
        for part in &alone.made_of {
            let company = Company::merge(&mut rest, part.cell);
            if company.is_empty() {
                continue;
            }
            let cell = &self.cells[part.cell as usize];
            for (outcome, slopes) in self.dependent(cell).zip(&part.slopes) {
                terms.add(self.counts(outcome), slopes, -1.0);
            }
            let encounter = Encounter {
                model: self,
                cell,
                mine: &self.causes[cause].touches[part.touches.clone()],
                company: &company,
                others,
                states: known.states(&company, others, self.windows),
            };
            encounter.add_to(&mut terms, &mut scenes);
        }
        terms
    }

    /// Outcomes whose terms depend on who else is at fault.
    fn dependent<'a>(&'a self, cell: &'a Cell) -> impl Iterator<Item = &'a Outcome> {
        let plain = self.plain(cell);
        let outcomes = self.outcomes(cell).iter();
        outcomes.filter(move |outcome| !plain || outcome.symptom.is_some())
    }

    /// What a cause can gain at most while nothing else is at fault, in nats: each window at its own best
    /// rate, and each failure as much as the least expected one. Without bound where it does more than
    /// fail probes.
    pub(super) fn ceiling(&self, cause: usize, failing: &[bool]) -> f64 {
        let bent = self.bent(cause);
        let cause = &self.causes[cause];
        if bent || cause.touches.iter().any(|t| t.group != Group::Front) {
            return f64::INFINITY;
        }
        let mut failed = vec![0.0; self.windows];
        let mut least = 1.0_f64;
        let touched = cause.touches.chunk_by(|a, b| a.cell == b.cell);
        for cell in touched.map(|mine| mine[0].cell as usize) {
            if !failing[cell] {
                continue;
            }
            let cell = &self.cells[cell];
            for outcome in self.outcomes(cell).iter().filter(|o| o.symptom.is_some()) {
                least = least.min(cell.background * outcome.chance);
                for count in self.counts(outcome) {
                    failed[usize::from(count.window)] += f64::from(count.count);
                }
            }
        }
        let most = 1.0 / least.max(TINY);
        let passes = cause.passes[Group::Front as usize].iter().copied();
        let windows = failed.iter().zip(passes.chain(iter::repeat(0.0)));
        windows
            .filter(|(failed, _)| **failed > 0.0)
            .map(|(failed, passed)| best_gain(*failed, passed, most))
            .sum()
    }

    /// Whether a cause keeps probes from cells in which it fails them as well: its gains are then no
    /// function of one rate at a time, and a fit is an approximation.
    pub(super) fn bent(&self, cause: usize) -> bool {
        let mut touches = self.causes[cause].touches.iter();
        touches.any(|t| t.effect == Effect::Gate)
    }
}
