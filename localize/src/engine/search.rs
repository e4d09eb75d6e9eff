//! Which sets of causes are worth weighing, and how much each weighs.

use alloc::vec;
use alloc::vec::Vec;

use super::fit::{Fault, Fit};
use super::law::LogSum;
use super::model::Model;
use super::unknown::Calm;

/// Sets kept at each size.
const BEAM: usize = 6;
/// Most causes in a set.
const MAX_FAULTS: usize = 12;
/// Causes tried as additions.
const MAX_ADDITIONS: usize = 32;
/// A cause that cannot gain more than this is not fitted, in nats: its odds stay under one in a thousand.
const FUTILE: f64 = -7.0;
/// The search ends when a larger set is this much worse than the best, in nats.
const HOPELESS: f64 = 3.0;
/// An addition whose set cannot come within this of the best one is not fitted, in nats.
const OUTCLASSED: f64 = 10.0;
/// An addition that makes its set less probable by more than this is not fitted, in nats.
const IDLE: f64 = 5.0;
/// Times that the faults of a set are fitted in turn.
const SWEEPS: usize = 2;
/// Rounds of exchanging the faults of the best set.
const SWAPS: usize = 4;
/// Prior odds of "something that no component explains".
const UNKNOWN_PRIOR: f64 = 0.02;
/// Share of what a fault gains beside those before it, under which the others make it superfluous.
const NEEDED: f64 = 0.5;
/// Sets that are weighed with an unknown cause beside them.
const DOUBTED: usize = 3;

/// A set of faults with its weight.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    /// What came of fitting each cause beside the others.
    pub(crate) fits: Vec<Fit>,
    /// Logarithm of prior times integrated likelihood, over that of no fault at all.
    pub(crate) score: f64,
    /// Something beside these faults is wrong that no component explains.
    pub(crate) unknown: bool,
    /// For each fault the probability that it is one: that its component is not merely restless.
    pub(crate) guilt: Vec<f64>,
}

impl Set {
    fn empty() -> Self {
        Self {
            fits: vec![],
            score: 0.0,
            unknown: false,
            guilt: vec![],
        }
    }

    /// The faults at their most probable parameters.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        self.fits.iter().map(|f| f.fault.clone()).collect()
    }

    /// Whether a cause is in it.
    pub(crate) fn has(&self, cause: usize) -> bool {
        self.fits.iter().any(|f| f.fault.cause == cause)
    }

    /// Lets each component that may be merely restless be so, and says how probable that is. A fault
    /// that others make superfluous has no such excuse: with it at rest, they would have to be there.
    fn judge(&mut self, model: &Model) {
        let odds = |fit: &Fit| {
            let blamable = model.causes[fit.fault.cause].blamable;
            if blamable && fit.gain >= fit.telescoped * NEEDED {
                libm::exp(fit.restless - weight(model, fit))
            } else {
                0.0
            }
        };
        for fit in &self.fits {
            self.score += libm::log1p(odds(fit));
            self.guilt.push(1.0 / (1.0 + odds(fit)));
        }
    }

    /// Probability that it holds nothing that a verdict could name.
    pub(crate) fn innocence(&self, model: &Model) -> f64 {
        let fits = self.fits.iter().zip(&self.guilt);
        fits.filter(|(f, _)| model.causes[f.fault.cause].blamable)
            .map(|(_, guilt)| 1.0 - guilt)
            .product()
    }

    fn key(&self) -> Vec<usize> {
        let mut key: Vec<usize> = self.fits.iter().map(|f| f.fault.cause).collect();
        key.sort_unstable();
        key
    }

    fn key_with(&self, cause: usize) -> Vec<usize> {
        let mut key = self.key();
        key.insert(key.partition_point(|c| *c < cause), cause);
        key
    }
}

/// The sets visited, with their probabilities.
pub(crate) struct Posterior {
    /// Most probable first.
    pub(crate) sets: Vec<(f64, Set)>,
    /// Logarithm of the sum of all weights.
    pub(crate) evidence: f64,
}

impl Posterior {
    /// Sum over sets of their probability times a value.
    pub(crate) fn mean(&self, value: impl Fn(&Set) -> f64) -> f64 {
        let terms = self.sets.iter().map(|(weight, set)| weight * value(set));
        terms.sum()
    }

    /// Probability that something is wrong that no component explains.
    pub(crate) fn unknown(&self) -> f64 {
        self.mean(|set| f64::from(u8::from(set.unknown)))
    }
}

/// The search for the sets that matter.
#[derive(Clone)]
pub(crate) struct Search<'a> {
    model: &'a Model,
    /// Sets weighed, each once.
    visited: Vec<Set>,
    /// Causes worth adding, with what each gains alone and the informative cells that it touches.
    additions: Vec<Addition>,
}

#[derive(Clone)]
struct Addition {
    alone: Set,
    cause: usize,
    cells: Vec<u32>,
}

impl<'a> Search<'a> {
    /// Fits every cause alone.
    pub(crate) fn new(model: &'a Model) -> Self {
        let mut singles: Vec<Set> = (0..model.causes.len())
            .filter_map(|cause| {
                let needed = FUTILE - model.causes[cause].log_odds;
                let mut fit = model.fit_if(cause, &[], needed)?;
                if model.bent(cause) {
                    fit.telescoped = model.gain(&fit.fault, &[]);
                }
                Some(Set {
                    score: fit.telescoped - fit.gain + weight(model, &fit),
                    fits: vec![fit],
                    unknown: false,
                    guilt: vec![],
                })
            })
            .collect();
        best_first(&mut singles);
        let informative: Vec<bool> = model
            .cells
            .iter()
            .map(|cell| !model.plain(cell) || cell.failed > 0.0)
            .collect();
        let additions = singles
            .iter()
            .take_while(|s| s.score > -HOPELESS)
            .take(MAX_ADDITIONS)
            .map(|single| {
                let cause = single.fits[0].fault.cause;
                let touches = model.causes[cause].touches.iter().map(|t| t.cell);
                let mut cells: Vec<u32> = touches.filter(|c| informative[*c as usize]).collect();
                cells.dedup();
                Addition {
                    alone: single.clone(),
                    cause,
                    cells,
                }
            })
            .collect();
        let mut visited = vec![Set::empty()];
        visited.extend(singles);
        Self {
            model,
            visited,
            additions,
        }
    }

    /// The faults of a good set, found by adding the best one again and again.
    pub(crate) fn greedy(&self) -> Vec<Fault> {
        let mut search = self.clone();
        search.grow(1);
        best_first(&mut search.visited);
        search.visited.swap_remove(0).faults()
    }

    /// Finds the sets that matter, and weighs them.
    pub(crate) fn finish(mut self) -> Posterior {
        self.grow(BEAM);
        for _ in 0..SWAPS {
            if !self.swap() {
                break;
            }
        }
        self.doubt();
        self.posterior()
    }

    fn best(&self) -> f64 {
        let scores = self.visited.iter().map(|s| s.score);
        scores.fold(f64::NEG_INFINITY, f64::max)
    }

    /// Larger and larger sets, from the best ones of each size.
    fn grow(&mut self, width: usize) {
        let alone = self.additions.iter().take(BEAM);
        let mut beam: Vec<Set> = alone.map(|a| a.alone.clone()).collect();
        for _ in 1..MAX_FAULTS {
            let best = self.best();
            let mut seen: Vec<Vec<usize>> = self.visited.iter().map(Set::key).collect();
            let mut larger = Vec::new();
            for (rank, set) in beam.iter().enumerate() {
                // What the best set does not need is weighed beside it alone.
                let worst = if rank == 0 && width > 1 { -IDLE } else { 0.0 };
                for addition in &self.additions {
                    larger.extend(self.extend(set, addition, best, worst, &mut seen));
                }
            }
            best_first(&mut larger);
            larger.truncate(width);
            larger.retain(|set| set.score > best - OUTCLASSED);
            larger.iter_mut().for_each(|set| self.refit(set));
            best_first(&mut larger);
            let Some(top) = larger.first().map(|s| s.score) else {
                break;
            };
            self.visited.extend(larger.iter().cloned());
            beam = larger;
            if top < best - HOPELESS {
                break;
            }
        }
    }

    /// A set with one fault more, the others as they are; `None` when it was seen, or would come
    /// neither near the best one nor, by as much as `worst`, near the set itself.
    fn extend(
        &self,
        set: &Set,
        addition: &Addition,
        best: f64,
        worst: f64,
        seen: &mut Vec<Vec<usize>>,
    ) -> Option<Set> {
        let part = self.model.causes[addition.cause].part;
        let mut fits = set.fits.iter();
        if fits.any(|f| self.model.causes[f.fault.cause].part == part) {
            return None;
        }
        let key = set.key_with(addition.cause);
        if seen.contains(&key) {
            return None;
        }
        seen.push(key);
        let fit = if self.apart(set, addition) {
            addition.alone.fits[0].clone()
        } else {
            let worth = (best - OUTCLASSED - set.score).max(worst);
            let needed = worth - self.model.causes[addition.cause].log_odds;
            self.model.fit_if(addition.cause, &set.faults(), needed)?
        };
        let mut larger = set.clone();
        larger.score += weight(self.model, &fit);
        larger.fits.push(fit);
        Some(larger)
    }

    /// Whether a fault of a set shares no informative cell with the others.
    fn alone(&self, set: &Set, index: usize) -> bool {
        let cells = |fit: &Fit| {
            let mut additions = self.additions.iter();
            additions
                .find(|a| a.cause == fit.fault.cause)
                .map(|a| &a.cells)
        };
        let Some(own) = cells(&set.fits[index]) else {
            return false;
        };
        let mut others = set.fits.iter().enumerate().filter(|(i, _)| *i != index);
        others.all(|(_, fit)| cells(fit).is_some_and(|other| disjoint(own, other)))
    }

    /// Whether an addition shares no informative cell with a set.
    fn apart(&self, set: &Set, addition: &Addition) -> bool {
        set.fits.iter().all(|f| {
            let other = self.additions.iter().find(|a| a.cause == f.fault.cause);
            other.is_some_and(|other| disjoint(&other.cells, &addition.cells))
        })
    }

    /// Brings every fault of a set to its best beside the others, and weighs the set there: likelihood
    /// at the joint optimum, for each fault an Occam factor (integral over maximum), and the prior.
    fn refit(&self, set: &mut Set) {
        for _ in 0..SWEEPS {
            let mut moved = false;
            for index in 0..set.fits.len() {
                if self.alone(set, index) {
                    continue;
                }
                let mut others = set.faults();
                let before = others.remove(index);
                let fit = self.model.fit(before.cause, &others);
                moved |= !fit.fault.near(&before);
                set.fits[index] = fit;
            }
            if !moved {
                break;
            }
        }
        let faults = set.faults();
        set.score = 0.0;
        for (index, fit) in set.fits.iter_mut().enumerate() {
            fit.telescoped = self.model.gain(&fit.fault, &faults[..index]);
            set.score += fit.telescoped - fit.gain + weight(self.model, fit);
        }
    }

    /// Each fault of the best set exchanged for each other cause, and left out. Returns whether that
    /// made a better set.
    fn swap(&mut self) -> bool {
        best_first(&mut self.visited);
        let Some(best) = self.visited.first().cloned() else {
            return false;
        };
        if best.fits.len() < 2 {
            return false;
        }
        let mut seen: Vec<Vec<usize>> = self.visited.iter().map(Set::key).collect();
        let mut others = Vec::new();
        for index in 0..best.fits.len() {
            let mut rest = best.clone();
            rest.fits.remove(index);
            self.refit(&mut rest);
            for addition in &self.additions {
                if !best.has(addition.cause) {
                    others.extend(self.extend(&rest, addition, best.score, 0.0, &mut seen));
                }
            }
            if !seen.contains(&rest.key()) {
                others.push(rest);
            }
        }
        best_first(&mut others);
        others.truncate(BEAM);
        others.iter_mut().for_each(|set| self.refit(set));
        let better = others.iter().any(|set| set.score > best.score);
        self.visited.extend(others);
        better
    }

    /// The best sets once more, each with an unknown cause beside it, and without the faults which
    /// that makes superfluous.
    fn doubt(&mut self) {
        best_first(&mut self.visited);
        let mut doubted: Vec<Set> = self.visited.iter().take(DOUBTED).cloned().collect();
        if !doubted.iter().any(|s| s.fits.is_empty()) {
            doubted.push(Set::empty());
        }
        let best = self.best();
        let calm = self.model.calm();
        let mut doubts: Vec<Set> = Vec::new();
        for set in doubted {
            let mut set = self.beside_unknown(&calm, set);
            while set.score > best - OUTCLASSED {
                let smaller = (0..set.fits.len()).map(|index| {
                    let mut smaller = set.clone();
                    smaller.fits.remove(index);
                    self.refit(&mut smaller);
                    self.beside_unknown(&calm, smaller)
                });
                let Some(next) = smaller.max_by(|a, b| a.score.total_cmp(&b.score)) else {
                    break;
                };
                if next.score < set.score {
                    break;
                }
                set = next;
            }
            if !doubts.iter().any(|d| d.key() == set.key()) {
                doubts.push(set);
            }
        }
        self.visited.extend(doubts);
    }

    fn beside_unknown(&self, calm: &Calm, mut set: Set) -> Set {
        set.score += libm::log(UNKNOWN_PRIOR) + self.model.unknown_gain(calm, &set.faults());
        set.unknown = true;
        set
    }

    fn posterior(mut self) -> Posterior {
        for set in &mut self.visited {
            set.judge(self.model);
        }
        best_first(&mut self.visited);
        let mut total = LogSum::default();
        self.visited.iter().for_each(|set| total.add(set.score));
        let evidence = total.value();
        let sets = self.visited.into_iter();
        Posterior {
            sets: sets
                .map(|set| (libm::exp(set.score - evidence), set))
                .collect(),
            evidence,
        }
    }
}

/// What a fit adds to the score of a set.
fn weight(model: &Model, fit: &Fit) -> f64 {
    fit.integral + model.causes[fit.fault.cause].log_odds
}

fn best_first(sets: &mut [Set]) {
    sets.sort_by(|a, b| b.score.total_cmp(&a.score));
}

fn disjoint(a: &[u32], b: &[u32]) -> bool {
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            core::cmp::Ordering::Less => i += 1,
            core::cmp::Ordering::Greater => j += 1,
            core::cmp::Ordering::Equal => return false,
        }
    }
    true
}
