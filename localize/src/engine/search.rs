//! Which sets of causes are worth weighing, and how much each weighs.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::convert;

use super::common::Common;
use super::fit::{Fault, Fit, Fitter};
use super::law::LogSum;
use super::model::{Meaning, Model};
use super::unknown::Calm;

/// Sets kept at each size.
const BEAM: usize = 6;
/// The same at a glance.
const GLANCED: usize = 2;
/// Most causes in a set.
const MAX_FAULTS: usize = 12;
/// Causes tried as additions, those that explain most by themselves.
const MAX_ADDITIONS: usize = 64;
/// Times that the best set is asked what else it lacks: a hard fault of something that is shared fills
/// the additions with its parts, and a rare one beside it would be nobody's.
const SECOND_LOOKS: usize = 3;
/// A cause that cannot gain more than this is not fitted, in nats: its odds stay under one in a thousand.
const FUTILE: f64 = -7.0;
/// A cause that makes nothing more probable is not in a good set, in nats.
const WORTHWHILE: f64 = 0.0;
/// The search ends when a larger set is this much worse than the best, in nats.
const HOPELESS: f64 = 3.0;
/// An addition whose set cannot come within this of the best one is not fitted, in nats.
const OUTCLASSED: f64 = 10.0;
/// An addition that makes its set less probable by more than this is not fitted, in nats.
const IDLE: f64 = 5.0;
/// What a set does not need is weighed beside it where it comes within this of the best one of its size,
/// in nats: rivals that hardly differ must not part by what was weighed beside one of them alone.
const RIVALS: f64 = 2.0;
/// What an addition may be worth more beside one fault more, in nats: by what they explain together.
const MUTUAL: f64 = 2.0;
/// Scores that differ by less are the same, in nats.
const TIE: f64 = 1e-6;
/// Sets kept that are as good as each other, as a multiple of those kept otherwise.
const TIED: usize = 2;
/// Steps of this part of a whole fall nowhere often.
const GOLDEN: f64 = 0.618_033_988_749_894_9;
/// Times that the faults of a set are fitted in turn.
const SWEEPS: usize = 2;
/// Rounds of exchanging the faults of the best set.
const SWAPS: usize = 4;
/// With no more causes than these every set of three is weighed.
const TRIPLED: usize = 12;
/// Prior odds of "something that no component explains".
const UNKNOWN_PRIOR: f64 = 0.05;
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
        let further = if self.blamable(model) > 1 {
            model.further
        } else {
            0.0
        };
        let odds = |fit: &Fit| {
            let blamable = model.causes[fit.fault.cause].meaning == Meaning::Fault;
            if blamable && fit.gain >= fit.telescoped * NEEDED {
                libm::exp(fit.restless - weight(model, fit) - further)
            } else {
                0.0
            }
        };
        for fit in &self.fits {
            self.score += libm::log1p(odds(fit));
            self.guilt.push(1.0 / (1.0 + odds(fit)));
        }
        let mut meanings = self
            .fits
            .iter()
            .map(|f| model.causes[f.fault.cause].meaning);
        self.unknown |= meanings.any(|meaning| meaning == Meaning::Unknown);
    }

    /// Probability that it holds nothing that a verdict could name.
    pub(crate) fn innocence(&self, model: &Model) -> f64 {
        let fits = self.fits.iter().zip(&self.guilt);
        fits.filter(|(f, _)| model.causes[f.fault.cause].meaning == Meaning::Fault)
            .map(|(_, guilt)| 1.0 - guilt)
            .product()
    }

    /// Brings every fault to its best beside the others, and weighs the set there: likelihood at the
    /// joint optimum, for each fault an Occam factor (integral over maximum), and the prior.
    pub(crate) fn refit(&mut self, fitter: &Fitter<'_>) {
        for _ in 0..SWEEPS {
            let mut moved = false;
            for index in 0..self.fits.len() {
                let mut others = self.faults();
                let before = others.remove(index);
                let fit = fitter.fit(before.cause, &others);
                moved |= !fit.fault.near(&before);
                self.fits[index] = fit;
            }
            if !moved {
                break;
            }
        }
        let faults = self.faults();
        self.score = 0.0;
        for (index, fit) in self.fits.iter_mut().enumerate() {
            // The last one was fitted beside all the others.
            let last = index + 1 == faults.len() && !fitter.model.bent(fit.fault.cause);
            fit.telescoped = if last {
                fit.gain
            } else {
                fitter.gain(&fit.fault, &faults[..index])
            };
            self.score += fit.telescoped - fit.gain + weight(fitter.model, fit);
        }
        self.score += fitter.model.further * self.further(fitter.model);
    }

    /// Faults beside the first one.
    fn further(&self, model: &Model) -> f64 {
        (self.blamable(model) as f64 - 1.0).max(0.0)
    }

    fn blamable(&self, model: &Model) -> usize {
        let meanings = self
            .fits
            .iter()
            .map(|f| model.causes[f.fault.cause].meaning);
        meanings
            .filter(|meaning| *meaning == Meaning::Fault)
            .count()
    }

    /// The causes that are faults, and whether something unknown is beside them.
    fn core(&self) -> (Vec<usize>, bool) {
        let fits = self.fits.iter().zip(&self.guilt);
        let faults = fits.filter(|(_, guilt)| **guilt >= GUILTY);
        let mut core: Vec<usize> = faults.map(|(fit, _)| fit.fault.cause).collect();
        core.sort_unstable();
        (core, self.unknown)
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
pub(crate) struct Search<'a> {
    model: &'a Model,
    fitter: &'a Fitter<'a>,
    /// Sets weighed, each once.
    visited: Vec<Set>,
    /// Causes worth adding, with what each gains alone.
    additions: Vec<Addition>,
    /// Every pair is weighed, with few causes every three, and every larger set that the beam comes
    /// across, however little it promises.
    thorough: bool,
}

/// A set that may grow, with what each addition can be worth to it at most, as beside fewer faults it
/// was: two faults that explain the same failures are worth less than the sum.
struct Branch {
    set: Set,
    limits: Vec<f64>,
}

struct Addition {
    alone: Set,
    cause: usize,
}

impl<'a> Search<'a> {
    /// Fits every cause alone that can come to this score.
    fn new(fitter: &'a Fitter<'a>, least: f64) -> Self {
        let model = fitter.model;
        let thorough = fitter.few_causes();
        let least = if thorough { f64::NEG_INFINITY } else { least };
        let mut singles: Vec<Set> = (0..model.components())
            .filter_map(|cause| {
                let needed = least - model.causes[cause].log_odds;
                let mut fit = fitter.fit_if(cause, &[], needed)?;
                if model.bent(cause) {
                    fit.telescoped = fitter.gain(&fit.fault, &[]);
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
        let hopeless = if thorough { f64::INFINITY } else { HOPELESS };
        let additions = singles
            .iter()
            .take_while(|s| s.score > -hopeless)
            .filter(|s| !model.causes[s.fits[0].fault.cause].touches.is_empty())
            .take(MAX_ADDITIONS)
            .map(|single| Addition {
                alone: single.clone(),
                cause: single.fits[0].fault.cause,
            })
            .collect();
        let mut visited = vec![Set::empty()];
        visited.extend(singles);
        Self {
            model,
            fitter,
            visited,
            additions,
            thorough,
        }
    }

    /// A good set, found by adding the best fault again and again.
    pub(crate) fn greedy(fitter: &'a Fitter<'a>) -> Set {
        let mut search = Self::new(fitter, WORTHWHILE);
        search.grow(1, search.beginnings(1));
        best_first(&mut search.visited);
        search.visited.swap_remove(0)
    }

    /// Finds some good sets, and weighs them.
    pub(crate) fn few(fitter: &'a Fitter<'a>) -> Posterior {
        let mut search = Self::new(fitter, WORTHWHILE);
        search.thorough = false;
        search.grow(GLANCED, search.beginnings(GLANCED));
        search.posterior()
    }

    /// Finds the sets that matter, and weighs them.
    pub(crate) fn all(fitter: &'a Fitter<'a>) -> Posterior {
        let mut search = Self::new(fitter, FUTILE);
        search.grow(BEAM, search.beginnings(BEAM));
        for _ in 0..SECOND_LOOKS {
            let Some(best) = search.look_again() else {
                break;
            };
            search.grow(BEAM, vec![best]);
        }
        for _ in 0..SWAPS {
            if !search.swap() {
                break;
            }
        }
        search.doubt();
        search.posterior()
    }

    fn best(&self) -> f64 {
        let scores = self.visited.iter().map(|s| s.score);
        scores.fold(f64::NEG_INFINITY, f64::max)
    }

    /// The sets of one fault from which larger ones grow.
    fn beginnings(&self, width: usize) -> Vec<Branch> {
        let first = match self.thorough && width > 1 {
            true => self.additions.len(),
            false => width,
        };
        let alone = self.additions.iter().take(first);
        alone.map(|a| self.branch(a.alone.clone())).collect()
    }

    fn branch(&self, set: Set) -> Branch {
        let limits = self.additions.iter().map(|a| a.alone.score);
        Branch {
            set,
            limits: limits.collect(),
        }
    }

    /// Every cause that is no addition yet and makes the best set more probable becomes one. The set, if
    /// there was any.
    fn look_again(&mut self) -> Option<Branch> {
        best_first(&mut self.visited);
        let best = self.visited.first().filter(|set| !set.fits.is_empty())?;
        let faults = best.faults();
        let singles = self.visited.iter().filter(|set| set.fits.len() == 1);
        let lacking = singles.filter_map(|alone| {
            let cause = alone.fits[0].fault.cause;
            let known = self.additions.iter().any(|a| a.cause == cause) || best.has(cause);
            let needed = WORTHWHILE - self.model.further - self.model.causes[cause].log_odds;
            (!known && self.fitter.fit_if(cause, &faults, needed).is_some()).then(|| Addition {
                alone: alone.clone(),
                cause,
            })
        });
        let lacking: Vec<Addition> = lacking.collect();
        if lacking.is_empty() {
            return None;
        }
        let best = best.clone();
        self.additions.extend(lacking);
        Some(self.branch(best))
    }

    /// Larger and larger sets, from the best ones of each size.
    fn grow(&mut self, width: usize, mut beam: Vec<Branch>) {
        // From every pair, where there are few of them.
        let from_pairs = self.thorough && width > 1 && self.model.components() <= TRIPLED;
        let smallest = beam.first().map_or(1, |branch| branch.set.fits.len());
        for size in smallest + 1..=MAX_FAULTS {
            let every = from_pairs && size == 2;
            let best = self.best();
            let mut seen: BTreeSet<Vec<usize>> = self.visited.iter().map(Set::key).collect();
            let mut larger = Vec::new();
            let rivals = beam.first().map_or(0.0, |branch| branch.set.score) - RIVALS;
            for branch in &mut beam {
                let rival = width > 1 && branch.set.score >= rivals;
                let worst = if rival { -IDLE } else { 0.0 };
                let sets: Vec<Set> = (0..self.additions.len())
                    .filter_map(|addition| self.extend(branch, addition, best, worst, &mut seen))
                    .collect();
                larger.extend(sets.into_iter().map(|set| Branch {
                    set,
                    limits: branch.limits.clone(),
                }));
            }
            if self.thorough {
                larger
                    .iter_mut()
                    .for_each(|branch| self.weigh(&mut branch.set));
            }
            larger.sort_by(|a, b| b.set.score.total_cmp(&a.set.score));
            let left = match every {
                true => Vec::new(),
                false => keep_few(width, &mut larger, |branch| branch.set.score),
            };
            self.visited
                .extend(left.into_iter().map(|branch| branch.set));
            if !self.thorough {
                larger.retain(|branch| branch.set.score > best - OUTCLASSED);
                larger
                    .iter_mut()
                    .for_each(|branch| self.weigh(&mut branch.set));
                larger.sort_by(|a, b| b.set.score.total_cmp(&a.set.score));
            }
            let Some(top) = larger.first().map(|branch| branch.set.score) else {
                break;
            };
            self.visited
                .extend(larger.iter().map(|branch| branch.set.clone()));
            beam = larger;
            if top < best - HOPELESS && !every {
                break;
            }
        }
    }

    /// A set with one fault more, the others as they are; `None` when it was seen, or would come
    /// neither near the best one nor, by as much as `worst`, near the set itself.
    fn extend(
        &self,
        branch: &mut Branch,
        addition: usize,
        best: f64,
        worst: f64,
        seen: &mut BTreeSet<Vec<usize>>,
    ) -> Option<Set> {
        let Branch { set, limits } = branch;
        let limit = &mut limits[addition];
        let addition = &self.additions[addition];
        let worth = match self.thorough {
            true => f64::NEG_INFINITY,
            false => (best - OUTCLASSED - set.score).max(worst),
        };
        let place = |cause: usize| {
            let cause = &self.model.causes[cause];
            (cause.part, cause.phase)
        };
        let taken = place(addition.cause);
        let mut fits = set.fits.iter();
        if *limit + MUTUAL < worth
            || fits.any(|f| place(f.fault.cause) == taken)
            || !seen.insert(set.key_with(addition.cause))
        {
            return None;
        }
        let needed = worth - self.model.causes[addition.cause].log_odds;
        let fit = self.fitter.fit_if(addition.cause, &set.faults(), needed);
        *limit = fit.as_ref().map_or(worth, |fit| weight(self.model, fit));
        let mut larger = set.clone();
        larger.score += *limit;
        let rank = |fit: &Fit| self.rank(fit.fault.cause);
        let fit = fit?;
        let place = larger.fits.partition_point(|f| rank(f) < rank(&fit));
        larger.fits.insert(place, fit);
        larger.score += self.model.further * (larger.further(self.model) - set.further(self.model));
        Some(larger)
    }

    /// Brings a set to its best; where every set counts, from the same beginning on whatever way it was
    /// come across.
    fn weigh(&self, set: &mut Set) {
        if self.thorough {
            for fit in &mut set.fits {
                *fit = self.fitter.fit(fit.fault.cause, &[]);
            }
        }
        set.refit(self.fitter);
    }

    /// The place of a cause among the additions: the order of the faults in a set, whatever the order in
    /// which they were found.
    fn rank(&self, cause: usize) -> usize {
        let rank = self.additions.iter().position(|a| a.cause == cause);
        rank.unwrap_or(self.additions.len())
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
        let mut seen: BTreeSet<Vec<usize>> = self.visited.iter().map(Set::key).collect();
        let mut others = Vec::new();
        for index in 0..best.fits.len() {
            let mut rest = best.clone();
            rest.fits.remove(index);
            self.weigh(&mut rest);
            let mut branch = Branch {
                set: rest,
                limits: self.additions.iter().map(|a| a.alone.score).collect(),
            };
            for addition in 0..self.additions.len() {
                if !best.has(self.additions[addition].cause) {
                    others.extend(self.extend(&mut branch, addition, best.score, 0.0, &mut seen));
                }
            }
            if seen.insert(branch.set.key()) {
                others.push(branch.set);
            }
        }
        if self.thorough {
            others.iter_mut().for_each(|set| self.weigh(set));
        }
        best_first(&mut others);
        let left = keep_few(BEAM, &mut others, |set| set.score);
        self.visited.extend(left);
        if !self.thorough {
            others.iter_mut().for_each(|set| self.weigh(set));
        }
        let better = others.iter().any(|set| set.score > best.score);
        self.visited.extend(others);
        better
    }

    /// The best sets once more, each with an unknown cause beside it or with what faults may have in common,
    /// and without the faults which that makes superfluous.
    fn doubt(&mut self) {
        best_first(&mut self.visited);
        let most = few(DOUBTED, self.visited.iter().map(|set| set.score));
        let mut doubted: Vec<Set> = self.visited.iter().take(most).cloned().collect();
        if !doubted.iter().any(|s| s.fits.is_empty()) {
            doubted.push(Set::empty());
        }
        let best = self.best();
        let calm = self.model.calm();
        let unknown = |set: Set| self.beside_unknown(&calm, set);
        let mut doubts: Vec<Set> = Vec::new();
        let mut push = |set: Set| {
            let same = |d: &Set| d.unknown == set.unknown && d.key() == set.key();
            if !doubts.iter().any(same) {
                doubts.push(set);
            }
        };
        for set in &doubted {
            push(self.pared(unknown(set.clone()), best, unknown));
        }
        for common in &self.model.common {
            let set = self.with_common(common, &doubted[0]);
            let set = self.completed(common, self.pared(set, best, convert::identity));
            push(self.pared(unknown(set.clone()), best, unknown));
            push(set);
        }
        self.visited.extend(doubts);
    }

    /// A set without the faults that are superfluous in it, where what else it holds is added by
    /// `complete`.
    fn pared(&self, mut set: Set, best: f64, complete: impl Fn(Set) -> Set) -> Set {
        while set.score > best - OUTCLASSED {
            let smaller = (0..set.fits.len()).map(|index| {
                let mut smaller = set.clone();
                smaller.fits.remove(index);
                self.weigh(&mut smaller);
                complete(smaller)
            });
            let next = smaller.max_by(|a, b| a.score.total_cmp(&b.score));
            match next.filter(|next| next.score >= set.score) {
                Some(next) => set = next,
                None => break,
            }
        }
        set
    }

    /// A set with the faults that make it better, while the common cause in it still explains several.
    fn completed(&self, common: &Common, mut set: Set) -> Set {
        for _ in set.fits.len()..MAX_FAULTS {
            let mut branch = Branch {
                limits: vec![f64::INFINITY; self.additions.len()],
                set: set.clone(),
            };
            let mut seen = BTreeSet::new();
            let sensible = |place: &usize| {
                let more = self.additions[*place].cause;
                common.explains_several_but(|cause| cause == more || set.has(cause))
            };
            let additions = (0..self.additions.len()).filter(sensible);
            let mut larger: Vec<Set> = additions
                .filter_map(|place| self.extend(&mut branch, place, set.score, 0.0, &mut seen))
                .collect();
            if self.thorough {
                larger.iter_mut().for_each(|set| self.weigh(set));
            }
            let best = larger
                .into_iter()
                .max_by(|a, b| a.score.total_cmp(&b.score));
            let Some(mut next) = best else {
                break;
            };
            if !self.thorough {
                self.weigh(&mut next);
            }
            if next.score <= set.score {
                break;
            }
            set = next;
        }
        set
    }

    /// A set with a common cause in the place of the faults that it would explain.
    fn with_common(&self, common: &Common, set: &Set) -> Set {
        let mut set = set.clone();
        let explained = |f: &Fit| common.explains.contains(&f.fault.cause);
        set.fits.retain(|f| !explained(f));
        set.fits.push(self.fitter.fit(common.cause, &set.faults()));
        self.weigh(&mut set);
        set
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
        // Where every set is weighed, nothing depends on what was come across.
        if !self.thorough {
            level(&mut self.visited);
            best_first(&mut self.visited);
        }
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

/// From this probability on a cause of a set counts as a fault, and not as unrest.
const GUILTY: f64 = 0.5;

/// What is restless beside the best explanation is so beside each of its rivals, whether or not the search
/// came across that: an explanation with its unrest is worth as many times itself as the best one is.
fn level(sets: &mut [Set]) {
    let mut by_core: BTreeMap<(Vec<usize>, bool), (f64, LogSum)> = BTreeMap::new();
    for set in sets.iter() {
        let (best, sum) = by_core
            .entry(set.core())
            .or_insert((f64::NEG_INFINITY, LogSum::default()));
        *best = best.max(set.score);
        sum.add(set.score);
    }
    let Some((most, sum)) = sets.first().and_then(|set| by_core.get(&set.core())) else {
        return;
    };
    let times = sum.value() - most;
    for set in sets {
        if let Some((most, sum)) = by_core.get(&set.core()) {
            set.score += (most + times - sum.value()).max(0.0);
        }
    }
}

/// What a fit adds to the score of a set.
fn weight(model: &Model, fit: &Fit) -> f64 {
    fit.integral + model.causes[fit.fault.cause].log_odds
}

/// How many to keep of scores, best first: so many, and what is as good as the last of them, so that
/// the order of components decides nothing.
fn few(most: usize, scores: impl Iterator<Item = f64> + Clone) -> usize {
    let last = scores.clone().take(most).last().unwrap_or(0.0);
    scores.take_while(|score| *score >= last - TIE).count()
}

/// Keeps a few, best first, and returns the others. Of very many that are as good as the last one, which
/// causes that no probe tells apart make twice as many with each fault, some are kept, here and there: none of
/// those causes may be in all of them.
fn keep_few<T>(most: usize, items: &mut Vec<T>, score: impl Fn(&T) -> f64) -> Vec<T> {
    let kept = few(most, items.iter().map(&score));
    let mut left = items.split_off(kept);
    let room = most * TIED;
    if kept > room {
        let last = score(&items[kept - 1]);
        let better = items.partition_point(|item| score(item) > last + TIE);
        let share = (room - better) as f64 / (kept - better) as f64;
        let mut turn = 0.0;
        left.extend(items.extract_if(better.., |_| {
            turn = (turn + GOLDEN) % 1.0;
            turn >= share
        }));
    }
    left
}

fn best_first(sets: &mut [Set]) {
    sets.sort_by(|a, b| b.score.total_cmp(&a.score));
}
