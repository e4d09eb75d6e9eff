//! What one could know who knows how cases are drawn: the posterior over all components together.
//!
//! The prior is the one of `world` and `fault`: calm rates, how many faults there are, their rates and their
//! windows; which is which must be found out. No engine that has to do for other worlds as well can be
//! expected to do better. Sampled by Gibbs's method (Geman and Geman, "Stochastic relaxation, Gibbs
//! distributions, and the Bayesian restoration of images", 1984), which takes seconds a case: each
//! component's calm rate, then whether it is at fault, then for each fault whose it is are drawn anew with
//! all else held fast. Probabilities are means of the conditional ones. Only for worlds that
//! differ from the nominal one in calm rates and layers alone.

use localize::Kind;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::drawing::{self, Column, log_sum};
use crate::engine::{Judgement, Suspect};
use crate::fault::{self, Fault, SHARES};
use crate::mesh::VANTAGES;
use crate::world::{Drawn, WINDOWS, World};

/// Rates that cannot make a component as probable as the best one by so much are left out, in nats.
const NEGLIGIBLE: f64 = 20.0;
/// Places in the range of calm rates, and in that of the one noisy network.
const CALM_PLACES: usize = 12;
const NOISY_PLACES: usize = 8;
/// Components that a probe crosses on its whole way beside its own network, about.
const BEYOND: f64 = 7.0;

/// The posterior by so many sweeps over all components, of which the first tenth does not count.
#[must_use]
pub fn judge(world: World, drawn: &Drawn, sweeps: usize) -> Judgement {
    let mut chain = Chain::new(world, drawn);
    let settled = sweeps / 10;
    let mut sums = vec![0.0; chain.columns.len()];
    for sweep in 0..sweeps {
        for id in 0..chain.columns.len() {
            chain.calm_down(id);
        }
        for (id, sum) in sums.iter_mut().enumerate() {
            let probability = chain.visit(id);
            if sweep >= settled {
                *sum += probability;
            }
        }
        for place in 0..chain.faults.len() {
            chain.relocate(place);
        }
    }
    let counted = (sweeps - settled).max(1) as f64;
    let mut suspects: Judgement = (0..)
        .zip(sums)
        .map(|(id, sum)| Suspect {
            id,
            probability: sum / counted,
        })
        .collect();
    suspects.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    suspects
}

/// A rate with its gains by window, and the sum over patterns with its prior, as logarithms.
type Weighed = (f64, [f64; WINDOWS], f64);

struct Chain<'d> {
    drawn: &'d Drawn,
    columns: Vec<Column>,
    /// Rates at which components fail while they are well.
    calm: Vec<f64>,
    /// By how much they are higher in this world than in the nominal one.
    times: f64,
    faults: Vec<Fault>,
    rates: Vec<(f64, f64)>,
    rng: StdRng,
}

impl<'d> Chain<'d> {
    fn new(world: World, drawn: &'d Drawn) -> Self {
        let ids = drawn.case.components.iter().map(|component| component.id);
        let columns: Vec<Column> = ids.map(|id| Column::new(&drawn.case, id)).collect();
        Self {
            drawn,
            calm: vec![1e-4; columns.len()],
            times: world.times_calm(),
            columns,
            faults: Vec::new(),
            rates: drawing::rates(),
            rng: StdRng::seed_from_u64(drawn.truth.seed),
        }
    }

    /// Draws anew at which rate a component fails while it is well.
    fn calm_down(&mut self, id: usize) {
        self.calm[id] = 0.0;
        let column = &self.columns[id];
        let seen = column.seen(&self.drawn.case, &self.calm, &self.faults);
        let passed: f64 = column.passed.iter().sum();
        let others = self.calm.iter().sum::<f64>() / self.calm.len() as f64 * BEYOND;
        let own = self.drawn.case.components[id].kind == Kind::ClientNetwork;
        let mut records = self.drawn.case.baseline.iter();
        let record = records.find(|record| own && record.vantage as usize == id);
        let choices = calm_rates(own, self.times);
        let log = |(rate, prior): &(f64, f64)| {
            let rows: f64 = seen
                .iter()
                .map(|s| s.failed * (1.0 - s.survival * (1.0 - rate)).ln())
                .sum();
            let before = record.map_or(0.0, |record| {
                let fails = rate + others;
                record.failed as f64 * fails.ln()
                    + (record.probes - record.failed) as f64 * (1.0 - fails).ln()
            });
            prior.ln() + rows + passed * (1.0 - rate).ln() + before
        };
        let logs: Vec<f64> = choices.iter().map(log).collect();
        self.calm[id] = choices[pick(&mut self.rng, &logs)].0;
    }

    /// Draws anew whether a component is at fault, and how; gives the probability of that.
    fn visit(&mut self, id: usize) -> f64 {
        self.faults.retain(|fault| fault.id as usize != id);
        let weighed = self.weigh(id);
        let odds = drawing::log_odds_of_another(self.faults.len(), self.columns.len());
        let probability = 1.0 / (1.0 + (-odds - total(&weighed)).exp());
        if self.rng.random_bool(probability) {
            let fault = self.draw(id, &weighed);
            self.faults.push(fault);
        }
        probability
    }

    /// Draws anew whose a fault is.
    fn relocate(&mut self, place: usize) {
        self.faults.swap_remove(place);
        let free =
            (0..self.columns.len()).filter(|id| self.faults.iter().all(|f| f.id as usize != *id));
        let choices: Vec<(usize, Vec<Weighed>)> = free.map(|id| (id, self.weigh(id))).collect();
        let logs: Vec<f64> = choices.iter().map(|(_, weighed)| total(weighed)).collect();
        let (id, weighed) = &choices[pick(&mut self.rng, &logs)];
        let fault = self.draw(*id, weighed);
        self.faults.push(fault);
        let last = self.faults.len() - 1;
        self.faults.swap(place, last);
    }

    /// What speaks for a component's fault beside those of the others, by rate.
    fn weigh(&self, id: usize) -> Vec<Weighed> {
        let column = &self.columns[id];
        let seen = column.seen(&self.drawn.case, &self.calm, &self.faults);
        let mut weighed: Vec<Weighed> = Vec::new();
        let mut best = f64::NEG_INFINITY;
        for (rate, prior) in &self.rates {
            let gains = column.gains(&seen, *rate);
            let bound = prior.ln() + gains.iter().map(|gain| gain.max(0.0)).sum::<f64>();
            if bound >= best - NEGLIGIBLE {
                let log = prior.ln() + drawing::over_patterns(&gains);
                best = best.max(log);
                weighed.push((*rate, gains, log));
            }
        }
        weighed
    }

    /// Draws rate and windows of a component's fault.
    fn draw(&mut self, id: usize, weighed: &[Weighed]) -> Fault {
        let logs: Vec<f64> = weighed.iter().map(|(_, _, log)| *log).collect();
        let (rate, gains, _) = &weighed[pick(&mut self.rng, &logs)];
        Fault {
            id: self.drawn.case.components[id].id,
            rate: *rate,
            on: self.windows(gains),
        }
    }

    /// Draws the windows in which a fault is on, from the patterns that `fault` draws.
    fn windows(&mut self, gains: &[f64; WINDOWS]) -> Vec<usize> {
        let each = ((1.0 - drawing::ALWAYS) / (2 * SHARES.len()) as f64).ln();
        let mut logs = vec![drawing::ALWAYS.ln() + gains.iter().sum::<f64>()];
        for share in SHARES {
            let (stretches, scattered) = drawing::bursts(gains, share);
            let one = log_sum(&stretches) - (stretches.len() as f64).ln();
            logs.extend([each + one, each + scattered]);
        }
        let Some(pattern) = pick(&mut self.rng, &logs).checked_sub(1) else {
            return (0..WINDOWS).collect();
        };
        let share = SHARES[pattern / 2];
        if pattern % 2 == 0 {
            let (stretches, _) = drawing::bursts(gains, share);
            let start = pick(&mut self.rng, &stretches);
            return (start..start + fault::length(WINDOWS, share)).collect();
        }
        let mut is_on = |window: &usize| {
            let logs = [(1.0 - share).ln(), share.ln() + gains[*window]];
            pick(&mut self.rng, &logs) == 1
        };
        (0..WINDOWS).filter(|window| is_on(window)).collect()
    }
}

/// Calm rates with their prior probabilities, as `world` draws them: one own network is noisy.
fn calm_rates(own: bool, times: f64) -> Vec<(f64, f64)> {
    let places = |n: usize| (0..n).map(move |i| (i as f64 + 0.5) / n as f64);
    let noisy = if own { 1.0 / f64::from(VANTAGES) } else { 0.0 };
    let quiet = (1.0 - noisy) / CALM_PLACES as f64;
    let quiet = places(CALM_PLACES).map(|at| (times * 1e-5 * 50_f64.powf(at), quiet));
    let loud = noisy / NOISY_PLACES as f64;
    let loud = places(NOISY_PLACES).map(|at| (0.003 + 0.007 * at, loud));
    quiet
        .chain(loud.filter(|(_, prior)| *prior > 0.0))
        .collect()
}

/// Over all rates.
fn total(weighed: &[Weighed]) -> f64 {
    let logs: Vec<f64> = weighed.iter().map(|(_, _, log)| *log).collect();
    log_sum(&logs)
}

/// Draws a place by weights that are given as logarithms.
fn pick(rng: &mut StdRng, logs: &[f64]) -> usize {
    let all = log_sum(logs);
    let mut left: f64 = rng.random();
    let chosen = logs.iter().position(|log| {
        left -= (log - all).exp();
        left <= 0.0
    });
    chosen.unwrap_or(logs.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Outcome, Summary};
    use crate::{ceiling, draw};

    #[test]
    fn calm_rates_are_distributions() {
        for own in [false, true] {
            let sum: f64 = calm_rates(own, 1.0).iter().map(|(_, prior)| prior).sum();
            assert!((sum - 1.0).abs() < 1e-12);
        }
    }

    /// Whoever is told the other faults and the calm rates as well can do little better, since a case seldom
    /// leaves open whose a fault is.
    #[test]
    fn one_who_is_told_more_knows_a_little_more() {
        let drawn: Vec<Drawn> = (40..43).map(|s| draw(World::Nominal, 3_000, s)).collect();
        let summary = |judge: &dyn Fn(&Drawn) -> Judgement| {
            let outcomes = drawn.iter().map(|d| Outcome::new(&judge(d), d));
            Summary::new(&outcomes.collect::<Vec<_>>())
        };
        let posterior = summary(&|drawn| judge(World::Nominal, drawn, 8));
        let told = summary(&ceiling::judge);
        assert!(posterior.brier < told.brier + 0.1, "{posterior:?} {told:?}");
        assert!(posterior.f1 > 0.7, "{posterior:?}");
    }
}
