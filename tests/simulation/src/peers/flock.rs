//! Flock: greedy search for the set of faulty components of greatest posterior, with the change in
//! likelihood kept for every neighbour of the current set and brought up to date by differences
//! (Harsh, Meng, Agrawal, Godfrey: "Flock: Accurate Network Fault Localization at Scale", CoNEXT 2023).

use localize::score::CountedCase;

use crate::counts::{Counts, Flow};
use crate::engine::{Engine, Judgement, Suspect};

/// Settings: how often a probe fails on a good path, on a bad path, and the logarithm of the prior
/// odds of a fault.
pub const ENGINE: Engine = Engine {
    name: "Flock",
    judge: |case, settings| judge(&uncalmed(case), settings),
    grid: GRID,
};

/// The same, with the calm failures of a vantage point as the least that its good paths fail: more
/// than its paper has, and what the same observations allow it.
pub const CALMED: Engine = Engine {
    name: "Flock, calm known",
    judge: |case, settings| judge(&Counts::new(case), settings),
    grid: GRID,
};

const GRID: &[&[f64]] = &[
    &[1e-4, 3e-4, 1e-3, 2e-3, 4e-3],
    &[0.005, 0.01, 0.02, 0.04, 0.08, 0.15],
    &[-4.0, -6.0, -8.0, -11.0, -15.0, -20.0, -30.0, -45.0],
];

fn uncalmed(case: &CountedCase) -> Counts {
    let mut counts = Counts::new(case);
    counts.flows.iter_mut().for_each(|flow| flow.calm = 0.0);
    counts
}

fn judge(counts: &Counts, settings: &[f64]) -> Judgement {
    let mut search = Search::new(counts, [settings[0], settings[1], settings[2]]);
    search.climb();
    search.judgement()
}

/// A set of faulty components, and what every change by one component would be worth.
struct Search<'a> {
    counts: &'a Counts,
    good: f64,
    bad: f64,
    prior: f64,
    faulty: Vec<bool>,
    /// Log of the posterior's ratio to now, after turning each component over.
    gains: Vec<f64>,
}

impl<'a> Search<'a> {
    fn new(counts: &'a Counts, [good, bad, prior]: [f64; 3]) -> Self {
        let mut search = Self {
            counts,
            good,
            bad,
            prior,
            faulty: vec![false; counts.ids.len()],
            gains: vec![prior; counts.ids.len()],
        };
        for flow in &counts.flows {
            search.credit(flow, 1.0);
        }
        search
    }

    /// Turns components over, the best first, while that makes the set more probable.
    fn climb(&mut self) {
        // Every step makes the posterior greater, so no set comes twice; a component that comes and
        // goes more than once does not happen in practice, and twice the components is the limit.
        for _ in 0..2 * self.faulty.len() {
            let best =
                (0..self.gains.len()).max_by(|&a, &b| self.gains[a].total_cmp(&self.gains[b]));
            match best {
                Some(best) if self.gains[best] > 0.0 => self.turn(best),
                _ => return,
            }
        }
    }

    fn turn(&mut self, component: usize) {
        let counts = self.counts;
        let touched = || counts.of[component].iter().map(|&flow| &counts.flows[flow]);
        touched().for_each(|flow| self.credit(flow, -1.0));
        self.faulty[component] = !self.faulty[component];
        touched().for_each(|flow| self.credit(flow, 1.0));
        let prior = if self.faulty[component] { -2.0 } else { 2.0 };
        self.gains[component] += prior * self.prior;
    }

    /// Adds what one flow says about turning over each of its components, or takes it back.
    fn credit(&mut self, flow: &Flow, sign: f64) {
        let now = self.likelihood(flow, self.bad_paths(flow, None));
        for &component in &flow.crossed {
            let then = self.likelihood(flow, self.bad_paths(flow, Some(component)));
            self.gains[component] += sign * (then - now);
        }
    }

    /// Paths with a faulty component, after one was turned over.
    fn bad_paths(&self, flow: &Flow, turned: Option<usize>) -> usize {
        let bad = |&component: &usize| self.faulty[component] != (turned == Some(component));
        flow.paths
            .iter()
            .filter(|path| path.iter().any(bad))
            .count()
    }

    /// Log-likelihood of a flow's probes against that on good paths alone. Each probe took one of the
    /// paths by chance.
    fn likelihood(&self, flow: &Flow, bad_paths: usize) -> f64 {
        if bad_paths == 0 {
            return 0.0;
        }
        let share = bad_paths as f64 / flow.paths.len() as f64;
        let good = self.good.max(flow.calm);
        let bad = if flow.calm > self.good {
            1.0 - (1.0 - good) * (1.0 - self.bad)
        } else {
            self.bad
        };
        let failed = 1.0 - share + share * bad / good;
        let passed = 1.0 - share + share * (1.0 - bad) / (1.0 - good);
        flow.failed * failed.ln() + flow.passed * passed.ln()
    }

    /// The odds of each component given all the others, which is as near as Flock comes to a
    /// probability; the set is what is above a half.
    fn judgement(&self) -> Judgement {
        let mut suspects: Vec<(f64, Suspect)> = (0..self.faulty.len())
            .map(|place| {
                let odds = if self.faulty[place] {
                    -self.gains[place]
                } else {
                    self.gains[place]
                };
                let probability = 1.0 / (1.0 + (-odds).exp());
                (
                    odds,
                    Suspect {
                        id: self.counts.ids[place],
                        probability,
                    },
                )
            })
            .collect();
        suspects.sort_by(|a, b| b.0.total_cmp(&a.0));
        suspects.into_iter().map(|(_, suspect)| suspect).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two components; 0 alone fails 5 of 10, both together 4 of 10, 1 alone none of 10.
    fn counts() -> Counts {
        let flows = vec![
            Flow::new(vec![vec![0]], 10, 5),
            Flow::new(vec![vec![0, 1]], 10, 4),
            Flow::new(vec![vec![1]], 10, 0),
        ];
        Counts::of_flows(vec![0, 1], flows)
    }

    #[test]
    fn the_gains_are_those_of_the_formula() {
        let counts = counts();
        let mut search = Search::new(&counts, [0.01, 0.5, -5.0]);
        let (lost, kept) = (50.0_f64.ln(), (0.5_f64 / 0.99).ln());
        // 0 explains 9 failures and pays for 11 successes; 1 explains 4 and pays for 16.
        assert!((search.gains[0] - (9.0 * lost + 11.0 * kept - 5.0)).abs() < 1e-9);
        assert!((search.gains[1] - (4.0 * lost + 16.0 * kept - 5.0)).abs() < 1e-9);
        search.climb();
        assert_eq!(search.faulty, [true, false]);
        // With 0 faulty the shared flow is explained: 1 has but its own ten successes to pay for.
        assert!((search.gains[1] - (10.0 * kept - 5.0)).abs() < 1e-9);
    }

    #[test]
    fn differences_agree_with_starting_again() {
        let drawn = crate::draw(crate::World::HiddenPaths, 3_000, 9);
        let counts = Counts::new(&drawn.case);
        let mut search = Search::new(&counts, [0.001, 0.05, -8.0]);
        for component in [3, 30, 17, 3, 24] {
            search.turn(component);
        }
        let mut again = Search::new(&counts, [0.001, 0.05, -8.0]);
        again.faulty.clone_from(&search.faulty);
        again.gains = search
            .faulty
            .iter()
            .map(|&faulty| if faulty { 8.0 } else { -8.0 })
            .collect();
        for flow in &counts.flows {
            again.credit(flow, 1.0);
        }
        for (one, other) in search.gains.iter().zip(&again.gains) {
            assert!((one - other).abs() < 1e-6);
        }
    }

    #[test]
    fn one_of_two_paths_is_half_the_rate() {
        let flow = Flow::new(vec![vec![0], vec![1]], 10, 3);
        let counts = Counts::of_flows(vec![0, 1], vec![flow]);
        let search = Search::new(&counts, [0.1, 0.9, 0.0]);
        // A failure is (1 + 9) / 2 times as likely, a success (1 + 1/9) / 2 times.
        let expected = 3.0 * 5.0_f64.ln() + 7.0 * (5.0_f64 / 9.0).ln();
        assert!((search.gains[0] - expected).abs() < 1e-9);
    }
}
