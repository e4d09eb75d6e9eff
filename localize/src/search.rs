//! Which sets of faults are worth weighing, and how much each weighs.

use alloc::vec;
use alloc::vec::Vec;

use crate::cells::Evidence;
use crate::integrate::{Fit, LogSum};
use crate::likelihood::{Fault, Hypothesis, Problem};
use crate::path::PartId;
use crate::signature::Signatures;
use crate::symptom::Symptom;

/// Sets kept at each size.
const BEAM: usize = 6;
/// Most faults that are looked for at once.
const MAX_FAULTS: usize = 5;
/// Hypotheses tried as additions.
const MAX_ADDITIONS: usize = 32;
/// The search ends when a larger set is this much worse than the best, in nats.
const HOPELESS: f64 = 3.0;
/// Prior odds of "something that no component explains".
const UNKNOWN_PRIOR: f64 = 0.02;
/// Background rate before anything is known of it, and what its prior is worth in probes.
const BACKGROUND: f64 = 0.003;
const BACKGROUND_WEIGHT: f64 = 400.0;

/// A set of faults with its weight.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) faults: Vec<Fault>,
    pub(crate) fits: Vec<Fit>,
    /// Logarithm of prior times integrated likelihood, over that of no fault at all.
    pub(crate) score: f64,
    /// Something beside these faults is wrong that no component explains.
    pub(crate) unknown: bool,
}

/// The sets visited, with their probabilities.
pub(crate) struct Posterior {
    /// Most probable first.
    pub(crate) sets: Vec<(f64, Set)>,
    /// Logarithm of the sum of all weights.
    pub(crate) evidence: f64,
}

impl Posterior {
    /// Probability that one of the parts is at fault at present.
    pub(crate) fn blame(&self, parts: &[PartId]) -> f64 {
        self.sum(|set| {
            set.fits
                .iter()
                .filter(|f| parts.contains(&f.best.hypothesis.part))
                .map(|f| f.present)
                .fold(0.0, f64::max)
        })
    }

    /// Probability that nothing is at fault at present that a verdict could name.
    pub(crate) fn healthy(&self, problem: &Problem<'_>) -> f64 {
        self.sum(|set| {
            if set.unknown {
                return 0.0;
            }
            set.fits
                .iter()
                .filter(|f| problem.blamable(f.best.hypothesis.part))
                .map(|f| 1.0 - f.present)
                .product()
        })
    }

    /// Probability that something is wrong that no component explains.
    pub(crate) fn unknown(&self) -> f64 {
        self.sum(|set| f64::from(u8::from(set.unknown)))
    }

    /// The most probable set that blames one of the parts, and the place of the blame in it.
    pub(crate) fn blaming(&self, parts: &[PartId]) -> Option<(&Set, usize)> {
        self.sets.iter().find_map(|(_, set)| {
            let place = set
                .faults
                .iter()
                .position(|f| parts.contains(&f.hypothesis.part))?;
            Some((set, place))
        })
    }

    fn sum(&self, value: impl Fn(&Set) -> f64) -> f64 {
        self.sets
            .iter()
            .map(|(weight, set)| weight * value(set))
            .sum()
    }
}

/// Finds the sets that matter, re-estimating the background from what the best set leaves unexplained.
pub(crate) fn search<'a>(
    evidence: &'a Evidence,
    signatures: &'a Signatures,
) -> (Problem<'a>, Posterior) {
    let problem = Problem::new(evidence, signatures, BACKGROUND);
    let posterior = weigh(&problem);
    let background = residual_rate(&problem, &posterior);
    if (0.6..=1.6).contains(&(background / BACKGROUND)) {
        return (problem, posterior);
    }
    let problem = Problem::new(evidence, signatures, background);
    let posterior = weigh(&problem);
    (problem, posterior)
}

fn weigh(problem: &Problem<'_>) -> Posterior {
    let nothing = Set {
        faults: vec![],
        fits: vec![],
        score: 0.0,
        unknown: false,
    };
    let mut singles: Vec<Set> = problem
        .candidates()
        .into_iter()
        .map(|hypothesis| extend(problem, &nothing, hypothesis))
        .collect();
    best_first(&mut singles);
    let additions: Vec<Hypothesis> = singles
        .iter()
        .filter(|s| s.score > -HOPELESS)
        .take(MAX_ADDITIONS)
        .map(|s| s.faults[0].hypothesis)
        .collect();
    let mut best = singles.first().map_or(0.0, |s| s.score.max(0.0));
    let mut beam: Vec<Set> = singles.iter().take(BEAM).cloned().collect();
    let mut visited = vec![nothing];
    visited.extend(singles);
    for _ in 1..MAX_FAULTS {
        let mut larger = grow(problem, &beam, &additions);
        larger.truncate(BEAM);
        for set in &mut larger {
            refit(problem, set);
        }
        best_first(&mut larger);
        let Some(top) = larger.first().map(|s| s.score) else {
            break;
        };
        beam.clone_from(&larger);
        visited.extend(larger);
        if top < best - HOPELESS {
            break;
        }
        best = best.max(top);
    }
    with_unknown(problem, &mut visited);
    normalise(visited)
}

/// Every addition to every set of the beam, best first, each set once.
fn grow(problem: &Problem<'_>, beam: &[Set], additions: &[Hypothesis]) -> Vec<Set> {
    let mut larger: Vec<Set> = Vec::new();
    for set in beam {
        for hypothesis in additions {
            if set
                .faults
                .iter()
                .any(|f| f.hypothesis.part == hypothesis.part)
            {
                continue;
            }
            larger.push(extend(problem, set, *hypothesis));
        }
    }
    best_first(&mut larger);
    let mut seen: Vec<Vec<Hypothesis>> = Vec::new();
    larger.retain(|set| {
        let mut key: Vec<Hypothesis> = set.faults.iter().map(|f| f.hypothesis).collect();
        key.sort_unstable();
        let new = !seen.contains(&key);
        if new {
            seen.push(key);
        }
        new
    });
    larger
}

/// A set with one fault more, the others as they are.
fn extend(problem: &Problem<'_>, set: &Set, hypothesis: Hypothesis) -> Set {
    let fit = problem.fit(hypothesis, &set.faults);
    let mut larger = set.clone();
    larger.score += fit.integral + problem.log_prior(hypothesis);
    larger.faults.push(fit.best);
    larger.fits.push(fit);
    larger
}

/// Brings every fault of a set to its best beside the others, and weighs the set there: likelihood at
/// the joint optimum, for each fault an Occam factor (integral over maximum), and the prior.
fn refit(problem: &Problem<'_>, set: &mut Set) {
    for _ in 0..2 {
        for index in 0..set.faults.len() {
            let mut others = set.faults.clone();
            let hypothesis = others.remove(index).hypothesis;
            let fit = problem.fit(hypothesis, &others);
            set.faults[index] = fit.best;
            set.fits[index] = fit;
        }
    }
    let occam: f64 = set.fits.iter().map(|f| f.integral - f.maximum).sum();
    let prior: f64 = set
        .faults
        .iter()
        .map(|f| problem.log_prior(f.hypothesis))
        .sum();
    set.score = problem.set_gain(&set.faults) + occam + prior;
}

/// The best sets once more, each with an unknown cause beside it.
fn with_unknown(problem: &Problem<'_>, visited: &mut Vec<Set>) {
    best_first(visited);
    let odds = libm::log(UNKNOWN_PRIOR);
    let mut doubted: Vec<Set> = visited.iter().take(3).cloned().collect();
    if !doubted.iter().any(|s| s.faults.is_empty()) {
        doubted.extend(visited.iter().find(|s| s.faults.is_empty()).cloned());
    }
    for mut set in doubted {
        set.score += odds + problem.unknown_gain(&set.faults);
        set.unknown = true;
        visited.push(set);
    }
}

fn normalise(mut visited: Vec<Set>) -> Posterior {
    best_first(&mut visited);
    let mut total = LogSum::default();
    for set in &visited {
        total.add(set.score);
    }
    let evidence = total.value();
    let sets = visited
        .into_iter()
        .map(|set| (libm::exp(set.score - evidence), set))
        .collect();
    Posterior { sets, evidence }
}

fn best_first(sets: &mut [Set]) {
    sets.sort_by(|a, b| b.score.total_cmp(&a.score));
}

/// The rate of lost packets in cells that the best set does not touch.
fn residual_rate(problem: &Problem<'_>, posterior: &Posterior) -> f64 {
    let Some((_, best)) = posterior.sets.first() else {
        return BACKGROUND;
    };
    let mut lost = BACKGROUND * BACKGROUND_WEIGHT;
    let mut probes = BACKGROUND_WEIGHT;
    for (index, cell) in problem.evidence.cells.iter().enumerate() {
        let touched = best.faults.iter().any(|f| {
            problem.cells_of[f.hypothesis.part]
                .binary_search(&index)
                .is_ok()
        });
        if touched {
            continue;
        }
        probes += cell.trials() as f64;
        lost += cell
            .tallies
            .iter()
            .filter(|t| t.symptom.map(Symptom::background) == Some(1.0))
            .map(|t| t.total() as f64)
            .sum::<f64>();
    }
    (lost / probes).clamp(0.001, 0.02)
}
