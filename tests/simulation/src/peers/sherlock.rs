//! Sherlock: every assignment of at most two components to "troubled" or "down", each weighed by the
//! likelihood of what was seen; the posterior is over those (Bahl, Chandra, Greenberg, et al.: "Towards
//! Highly Reliable Enterprise Network Services via Inference of Multi-level Dependencies", SIGCOMM 2007).

use localize::score::CountedCase;

use crate::counts::{Counts, Flow};
use crate::engine::{Engine, Judgement, Suspect};

/// Settings: how often a probe fails by itself, how often across a troubled component, and the
/// logarithm of the prior odds of either state. Across one that is down, nearly every probe fails.
pub const ENGINE: Engine = Engine {
    name: "Sherlock",
    judge,
    grid: &[
        &[3e-4, 1e-3, 2e-3, 4e-3],
        &[0.01, 0.02, 0.04, 0.08, 0.15],
        &[-5.0, -8.0, -11.0, -15.0],
    ],
};

const DOWN: f64 = 0.9;

fn judge(case: &CountedCase, settings: &[f64]) -> Judgement {
    let counts = Counts::new(case);
    let world = Weights::new([settings[0], settings[1], DOWN]);
    let mut posterior = posterior(&counts, &world, settings[2]);
    let order = |a: &Suspect, b: &Suspect| b.probability.total_cmp(&a.probability);
    posterior.sort_by(order);
    posterior
}

/// Logarithms of the chances of failing and of passing against those of a healthy path, by the states
/// of the two components that may be on it: 0 up, 1 troubled, 2 down.
struct Weights {
    failed: [[f64; 3]; 3],
    passed: [[f64; 3]; 3],
}

impl Weights {
    fn new(rates: [f64; 3]) -> Self {
        let mut weights = Self {
            failed: [[0.0; 3]; 3],
            passed: [[0.0; 3]; 3],
        };
        let keeps = |state: usize| if state == 0 { 1.0 } else { 1.0 - rates[state] };
        for (one, other) in (0..3).flat_map(|one| (0..3).map(move |other| (one, other))) {
            let kept = keeps(one) * keeps(other);
            weights.failed[one][other] = ((1.0 - (1.0 - rates[0]) * kept) / rates[0]).ln();
            weights.passed[one][other] = kept.ln();
        }
        weights
    }

    fn of(&self, one: usize, other: usize, failed: f64, passed: f64) -> f64 {
        failed * self.failed[one][other] + passed * self.passed[one][other]
    }
}

/// Failures and successes on the flows across each component, and across each two. A flow with several
/// ways counts as crossing them all.
struct Sums {
    single: Vec<(f64, f64)>,
    pair: Vec<Vec<(f64, f64)>>,
}

impl Sums {
    fn new(counts: &Counts) -> Self {
        let size = counts.ids.len();
        let mut sums = Self {
            single: vec![(0.0, 0.0); size],
            pair: vec![vec![(0.0, 0.0); size]; size],
        };
        let add = |sum: &mut (f64, f64), flow: &Flow| {
            sum.0 += flow.failed;
            sum.1 += flow.passed;
        };
        for flow in &counts.flows {
            for (place, &one) in flow.crossed.iter().enumerate() {
                add(&mut sums.single[one], flow);
                for &other in &flow.crossed[place + 1..] {
                    add(&mut sums.pair[one][other], flow);
                }
            }
        }
        sums
    }

    /// Log-likelihood against nothing being at fault.
    fn score(
        &self,
        weights: &Weights,
        (one, a): (usize, usize),
        (other, b): (usize, usize),
    ) -> f64 {
        let (both, first, second) = (self.pair[one][other], self.single[one], self.single[other]);
        weights.of(a, b, both.0, both.1)
            + weights.of(a, 0, first.0 - both.0, first.1 - both.1)
            + weights.of(b, 0, second.0 - both.0, second.1 - both.1)
    }
}

fn posterior(counts: &Counts, weights: &Weights, prior: f64) -> Vec<Suspect> {
    let sums = Sums::new(counts);
    let size = counts.ids.len();
    let mut sets: Vec<(f64, [usize; 2])> = vec![(0.0, [size, size])];
    for (one, a) in (0..size).flat_map(|one| [(one, 1), (one, 2)]) {
        let (failed, passed) = sums.single[one];
        sets.push((prior + weights.of(a, 0, failed, passed), [one, size]));
        for (other, b) in (one + 1..size).flat_map(|other| [(other, 1), (other, 2)]) {
            let score = 2.0 * prior + sums.score(weights, (one, a), (other, b));
            sets.push((score, [one, other]));
        }
    }
    let top = sets
        .iter()
        .map(|set| set.0)
        .fold(f64::NEG_INFINITY, f64::max);
    let mut mass = vec![0.0; size + 1];
    let mut all = 0.0;
    for (score, members) in sets {
        let weight = (score - top).exp();
        all += weight;
        mass[members[0]] += weight;
        mass[members[1]] += weight;
    }
    let suspect = |(&id, mass): (&u32, f64)| Suspect {
        id,
        probability: mass / all,
    };
    counts.ids.iter().zip(mass).map(suspect).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_posterior_by_hand() {
        // One component, two failures in two probes; background 0.1, troubled 0.5, down 0.9, even odds.
        let counts = Counts::of_flows(vec![4], vec![Flow::new(vec![vec![0]], 2, 2)]);
        let suspects = posterior(&counts, &Weights::new([0.1, 0.5, 0.9]), 0.0);
        // Up 0.1^2, troubled (1 - 0.9 * 0.5)^2, down (1 - 0.9 * 0.1)^2.
        let (up, troubled, down) = (0.01, 0.55 * 0.55, 0.91 * 0.91);
        let expected = (troubled + down) / (up + troubled + down);
        assert_eq!(suspects[0].id, 4);
        assert!((suspects[0].probability - expected).abs() < 1e-12);
    }

    #[test]
    fn two_components_share_a_flow() {
        let flows = vec![
            Flow::new(vec![vec![0, 1]], 3, 1),
            Flow::new(vec![vec![1]], 2, 0),
        ];
        let counts = Counts::of_flows(vec![0, 1], flows);
        let weights = Weights::new([0.1, 0.5, 0.9]);
        // 0 troubled, 1 down: the shared flow keeps 0.9 * 0.5 * 0.1, the other one 0.9 * 0.1.
        let seen = (0.955_f64 * 0.045_f64.powi(2)) * 0.09_f64.powi(2);
        let healthy = 0.1 * 0.9_f64.powi(4);
        let score = Sums::new(&counts).score(&weights, (0, 1), (1, 2));
        assert!((score - (seen / healthy).ln()).abs() < 1e-9);
    }
}
