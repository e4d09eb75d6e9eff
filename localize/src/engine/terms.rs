//! What a cause does to the logarithm of the likelihood, gathered into classes of outcomes that depend
//! on its rate in the same way.

use alloc::vec;
use alloc::vec::Vec;
use core::iter;

use super::company::{ALONE, Acts, Company, Known, States};
use super::fit::{Fault, LEVELS};
use super::mixture::{Mixture, More, Room, TINY};
use super::model::{Cell, Effect, Group, Model, Outcome, Touch};

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
        let classes = self.classes.iter().enumerate();
        for (class, (_, slope)) in classes.filter(|(_, c)| c.0 == group) {
            let log = libm::log((1.0 + theta * slope).max(1e-12));
            for (gain, count) in gains.iter_mut().zip(self.counts_of(class)) {
                *gain += count * log;
            }
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
                gain += count * libm::log((1.0 + theta * slope).max(1e-12));
            }
            if masked {
                gain += sum(&self.masked);
            }
        }
        gain
    }
}

impl Terms {
    /// What an outcome gains by a cause with these touches.
    fn slopes(&mut self, mixture: &Mixture<'_>, outcome: &Outcome, mine: &[Touch]) -> Slopes {
        let known = mixture.shares(outcome);
        let (share, whole) = known.with_chance;
        let mut slopes = Slopes::default();
        for group in Group::ALL {
            if !mine.iter().any(|t| t.group == group) {
                continue;
            }
            let (hard, hard_whole) = mixture.shares_with(outcome, &known, More::Hard(mine, group));
            let mut class = |slope: f64| (slope.abs() > FLAT).then(|| self.class(group, slope));
            slopes.push(class(hard / share - 1.0), 1.0);
            slopes.push(class(hard_whole / whole - 1.0), -1.0);
            if group == Group::Behind {
                let (masked, masked_whole) =
                    mixture.shares_with(outcome, &known, More::Masked(mine));
                slopes.masked = libm::log(masked / masked_whole) - libm::log(share / whole);
            }
        }
        slopes
    }
}

/// What failures gain at the best of all rates, each by 1 + rate * slope, when others passed.
fn best_gain(failed: f64, passed: f64, slope: f64) -> f64 {
    let best = (failed * slope - passed) / (slope * (failed + passed));
    if best <= 0.0 {
        return 0.0;
    }
    failed * libm::log1p(best * slope) + passed * libm::log((1.0 - best).max(TINY))
}

/// What one outcome gains while others act in a certain way.
#[derive(Clone, Copy, Default)]
struct Slopes {
    /// Classes, counted with these signs: by group numerator and denominator.
    classes: [(usize, f64); 2 * Group::COUNT],
    len: usize,
    masked: f64,
}

impl Slopes {
    fn push(&mut self, class: Option<usize>, sign: f64) {
        if let Some(class) = class {
            self.classes[self.len] = (class, sign);
            self.len += 1;
        }
    }

    fn classes(&self) -> &[(usize, f64)] {
        &self.classes[..self.len]
    }
}

impl Model {
    /// The terms of a cause while nothing else is at fault; only informative cells are looked at.
    pub(super) fn terms(&self, cause: usize, informative: &[bool]) -> Terms {
        let cause = &self.causes[cause];
        let mut terms = Terms::new(self.windows);
        let mut room = Room::default();
        for (group, passes) in Group::ALL.into_iter().zip(&cause.passes) {
            if !passes.is_empty() {
                terms.classes.push((group, -1.0));
                terms.counts.extend_from_slice(passes);
            }
        }
        for mine in cause.touches.chunk_by(|a, b| a.cell == b.cell) {
            if informative[mine[0].cell as usize] {
                self.cell_terms(mine, ALONE, 1.0, &mut terms, &mut room);
            }
        }
        terms
    }

    /// The terms of a cause beside faults, from those alone: only cells that both touch differ.
    pub(super) fn terms_beside(
        &self,
        alone: &Terms,
        cause: usize,
        others: &[Fault],
        informative: &[bool],
    ) -> Terms {
        let mut terms = alone.clone();
        let mut room = Room::default();
        let touches = |other: &Fault| self.causes[other.cause].touches.as_slice();
        let mut rest: Vec<&[Touch]> = others.iter().map(touches).collect();
        let mut known = Known::default();
        for mine in self.causes[cause].touches.chunk_by(|a, b| a.cell == b.cell) {
            let company = Company::merge(&mut rest, mine[0].cell);
            if !company.is_empty() && informative[mine[0].cell as usize] {
                self.cell_terms(mine, ALONE, -1.0, &mut terms, &mut room);
                let states = known.states(&company, others, self.windows);
                if states.len() == 1 {
                    self.cell_terms(mine, company.acting(others, 0), 1.0, &mut terms, &mut room);
                } else {
                    self.cell_terms_by_state(mine, &company, others, states, &mut terms);
                }
            }
        }
        terms
    }

    /// Outcomes whose terms depend on who else is at fault.
    fn dependent<'a>(&'a self, cell: &'a Cell) -> impl Iterator<Item = &'a Outcome> {
        let plain = self.plain(cell);
        let outcomes = self.outcomes(cell).iter();
        outcomes.filter(move |outcome| !plain || outcome.symptom.is_some())
    }

    /// Adds what a cell's outcomes gain, so many times, while others act in one way all the time.
    fn cell_terms(
        &self,
        mine: &[Touch],
        (acting, len): Acts<'_>,
        times: f64,
        terms: &mut Terms,
        room: &mut Room,
    ) {
        let cell = &self.cells[mine[0].cell as usize];
        let mixture = Mixture::new(self, cell, &acting[..len], room);
        for outcome in self.dependent(cell) {
            let slopes = terms.slopes(&mixture, outcome, mine);
            let counts = self.counts(outcome).iter();
            let counts = counts.map(|c| (usize::from(c.window), f64::from(c.count) * times));
            for (class, sign) in slopes.classes() {
                let from = class * terms.windows;
                let sums = &mut terms.counts[from..from + terms.windows];
                counts
                    .clone()
                    .for_each(|(window, count)| sums[window] += count * sign);
            }
            if slopes.masked != 0.0 {
                counts.for_each(|(window, count)| terms.masked[window] += count * slopes.masked);
            }
        }
    }

    /// The same where what others do changes from window to window.
    fn cell_terms_by_state(
        &self,
        mine: &[Touch],
        company: &Company<'_>,
        others: &[Fault],
        states: &States,
        terms: &mut Terms,
    ) {
        let cell = &self.cells[mine[0].cell as usize];
        let mut room = Room::default();
        let mut known: Vec<Option<Slopes>> = Vec::new();
        for outcome in self.dependent(cell) {
            known.clear();
            known.resize(states.len(), None);
            for count in self.counts(outcome) {
                let window = usize::from(count.window);
                let slopes = known[states.of(window)].get_or_insert_with(|| {
                    let (acting, len) = company.acting(others, window);
                    let mixture = Mixture::new(self, cell, &acting[..len], &mut room);
                    terms.slopes(&mixture, outcome, mine)
                });
                let count = f64::from(count.count);
                for (class, sign) in slopes.classes() {
                    terms.counts[class * terms.windows + window] += count * sign;
                }
                terms.masked[window] += count * slopes.masked;
            }
        }
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
