//! The weight of every set of causes, by the definition of the search and without its short cuts.

use std::collections::BTreeMap;

use crate::fit::{Fault, Fit, acting};
use crate::laws::log_sum;
use crate::problem::{Cell, FURTHER, Problem};

/// The search ends with sets that are so much less probable than the best smaller one, in nats.
pub const HOPELESS: f64 = -3.0;
/// Prior odds of something that no component explains.
pub const UNKNOWN: f64 = 0.05;
/// A noise that would change by less than this factor is known well enough.
const STEADY: f64 = 1.3;
/// The lowest noise.
const CALMEST: f64 = crate::problem::FLOOR / 100.0;

/// A set of faults, each fitted beside the others.
#[derive(Clone)]
pub struct Set {
    pub fits: Vec<Fit>,
    pub score: f64,
    pub unknown: bool,
}

impl Set {
    pub fn faults(&self) -> Vec<Fault> {
        self.fits.iter().map(|fit| fit.fault.clone()).collect()
    }

    pub fn key(&self) -> u64 {
        self.fits
            .iter()
            .fold(0, |bits, fit| bits | 1 << fit.fault.cause)
    }

    /// Whether what one fit gains is the others' as well.
    pub fn superfluous(fit: &Fit) -> bool {
        fit.gain < fit.telescoped * 0.5
    }
}

impl Problem {
    pub fn weight(&self, fit: &Fit) -> f64 {
        fit.integral + self.causes[fit.fault.cause].log_odds
    }

    /// Every cause alone, the best first.
    pub fn singles(&self) -> Vec<Set> {
        let single = |cause| {
            let mut fit = self.fit(cause, &[]);
            fit.telescoped = self.gain(&fit.fault, &[]);
            Set {
                score: fit.telescoped - fit.gain + self.weight(&fit),
                fits: vec![fit],
                unknown: false,
            }
        };
        let mut singles: Vec<Set> = (0..self.components()).map(single).collect();
        best_first(&mut singles);
        singles
    }

    /// The set of these causes: from what each is alone, in the order of what that is worth.
    pub fn set(&self, key: u64, singles: &[Set]) -> Set {
        let here = singles.iter().filter(|single| key & single.key() != 0);
        let mut set = nothing();
        set.fits = here.map(|single| single.fits[0].clone()).collect();
        let common = self
            .common
            .iter()
            .filter(|common| key >> common.cause & 1 == 1);
        set.fits
            .extend(common.map(|common| self.fit(common.cause, &[])));
        self.refit(&mut set, singles);
        set
    }

    /// Every fault at its best beside the others; weighed at the joint optimum.
    pub fn refit(&self, set: &mut Set, singles: &[Set]) {
        for _ in 0..2 {
            let mut moved = false;
            for index in 0..set.fits.len() {
                let mut others = set.faults();
                let cause = others.remove(index).cause;
                let fit = if others.iter().all(|other| self.apart(other.cause, cause)) {
                    let single = singles.iter().find(|s| s.fits[0].fault.cause == cause);
                    single.map_or_else(|| self.fit(cause, &[]), |s| s.fits[0].clone())
                } else {
                    self.fit(cause, &others)
                };
                moved |= !fit.near(&set.fits[index]);
                set.fits[index] = fit;
            }
            if !moved {
                break;
            }
        }
        let faults = set.faults();
        set.score = 0.0;
        for (index, fit) in set.fits.iter_mut().enumerate() {
            fit.telescoped = self.gain(&fit.fault, &faults[..index]);
            set.score += fit.telescoped - fit.gain + self.weight(fit);
        }
        let further = self.blamable(set).saturating_sub(1) as f64;
        set.score += further * FURTHER.ln();
    }

    /// Every set of up to `most` causes.
    pub fn sets(&self, most: u32) -> Vec<Set> {
        let singles = self.singles();
        let mut all = vec![nothing()];
        all.extend(singles.iter().cloned());
        let keys = (0..1_u64 << singles.len()).filter(|key| (2..=most).contains(&key.count_ones()));
        all.extend(keys.map(|key| self.set(key, &singles)));
        all
    }

    /// Sets the noise to what the best explanation leaves over.
    pub fn learn(&mut self) {
        let prior = self.noise;
        for _ in 0..3 {
            let ordinary = self.cells.iter().filter_map(|cell| {
                let expected = cell.trials() * cell.background;
                let failed = cell.failures();
                let ordinary = failed <= expected + 3.0 * expected.sqrt() + 1.0;
                ordinary.then_some((cell, failed))
            });
            let noise = noise(ordinary, prior);
            self.set_noise(noise.min(prior.max(CALMEST)));
        }
        let mut good: Option<Set> = None;
        for _ in 0..2 {
            let singles = self.singles();
            let mut set = good.take().unwrap_or_else(|| self.greedy(&singles));
            self.refit(&mut set, &singles);
            let faults = set.faults();
            good = Some(set);
            let left = self.cells.iter().map(|cell| {
                let windows = cell.failed.iter().enumerate();
                let windows = windows.filter(|(_, failed)| **failed > 0.0);
                let of = |(w, failed): (usize, &f64)| failed * cell.chance(&acting(&faults, w));
                (cell, windows.map(of).sum())
            });
            let noise = noise(left, self.noise);
            if (1.0 / STEADY..STEADY).contains(&(noise / self.noise)) {
                break;
            }
            self.set_noise(noise);
        }
        if let Some(set) = good {
            self.push_common(&set.faults());
        }
    }

    /// Logarithm of the probability of what was seen in a cell.
    fn seen(&self, cell: usize, faults: &[Fault]) -> f64 {
        let windows = 0..self.windows;
        windows
            .map(|w| self.cells[cell].seen(w, &acting(faults, w)))
            .sum()
    }

    pub fn calm_total(&self) -> f64 {
        (0..self.cells.len()).map(|cell| self.seen(cell, &[])).sum()
    }

    /// Gain of rates that no component explains: of single cells, or of whole ways.
    pub fn unknown_gain(&self, faults: &[Fault]) -> f64 {
        let pools: Vec<[f64; 3]> = (0..self.cells.len())
            .map(|c| {
                [
                    self.cells[c].trials(),
                    self.cells[c].failures(),
                    self.seen(c, faults),
                ]
            })
            .collect();
        let mut ways: BTreeMap<&[u32], [f64; 3]> = BTreeMap::new();
        for (cell, pool) in self.cells.iter().zip(&pools) {
            let sum = ways.entry(&cell.way).or_default();
            sum.iter_mut()
                .zip(pool)
                .for_each(|(sum, part)| *sum += part);
        }
        let ways: Vec<[f64; 3]> = ways.into_values().collect();
        log_sum([touched(&pools), touched(&ways)].into_iter()) - 2.0_f64.ln()
    }

    /// The best sets with an unknown cause beside them, or with what faults may have in common, without
    /// what that makes superfluous.
    pub fn doubts(&self, sets: &[Set]) -> Vec<Set> {
        let singles = self.singles();
        let mut order: Vec<&Set> = sets.iter().collect();
        order.sort_by(|a, b| b.score.total_cmp(&a.score));
        let best = order[0].score;
        let most = few(3, order.iter().map(|set| set.score));
        let mut doubted: Vec<Set> = order.into_iter().take(most).cloned().collect();
        if doubted.iter().all(|set| !set.fits.is_empty()) {
            doubted.push(nothing());
        }
        let mut doubts: Vec<Set> = Vec::new();
        let unknown = |set| self.beside_unknown(set);
        let mut push = |set: Set| {
            let same = |doubt: &Set| doubt.key() == set.key() && doubt.unknown == set.unknown;
            if !doubts.iter().any(same) {
                doubts.push(set);
            }
        };
        for set in &doubted {
            push(self.pared(unknown(set.clone()), best, &singles, unknown));
        }
        for common in &self.common {
            let set = self.with_common(common, &doubted[0], best, &singles);
            push(self.pared(unknown(set.clone()), best, &singles, unknown));
            push(set);
        }
        doubts
    }

    /// A set without what is superfluous in it.
    pub fn pared(
        &self,
        mut set: Set,
        best: f64,
        singles: &[Set],
        complete: impl Fn(Set) -> Set,
    ) -> Set {
        while set.score > best - 10.0 {
            let smaller = (0..set.fits.len()).map(|index| {
                let without = set.key() & !(1 << set.fits[index].fault.cause);
                complete(self.set(without, singles))
            });
            let next = smaller.max_by(|a, b| a.score.total_cmp(&b.score));
            match next.filter(|next| next.score >= set.score) {
                Some(next) => set = next,
                None => break,
            }
        }
        set
    }

    fn beside_unknown(&self, mut set: Set) -> Set {
        set.score += UNKNOWN.ln() + self.unknown_gain(&set.faults());
        set.unknown = true;
        set
    }
}

pub fn nothing() -> Set {
    Set {
        fits: Vec::new(),
        score: 0.0,
        unknown: false,
    }
}

/// The noise that failures by chance in some cells show, where it was thought to be `prior`.
fn noise<'c>(failed: impl Iterator<Item = (&'c Cell, f64)>, prior: f64) -> f64 {
    let (mut failures, mut probes) = (2.0, 2.0 / prior.max(CALMEST));
    for (cell, failed) in failed {
        failures += failed;
        probes += cell.trials() * cell.crossed.max(1.0);
    }
    f64::max(failures / probes, CALMEST)
}

/// How many to keep of scores, best first: so many, and what is as good as the last of them.
pub fn few(most: usize, scores: impl Iterator<Item = f64> + Clone) -> usize {
    let last = scores.clone().take(most).last().unwrap_or(0.0);
    scores.take_while(|score| *score >= last - 1e-6).count()
}

pub fn best_first(sets: &mut [Set]) {
    sets.sort_by(|a, b| b.score.total_cmp(&a.score));
}

/// Logarithm of the mean over which of some pools have a rate of their own, Beta(1/2, 1/2), or one that
/// is the same for all.
fn touched(pools: &[[f64; 3]]) -> f64 {
    let own = |[n, k, modelled]: &[f64; 3]| {
        let beta = log_gamma(k + 0.5) + log_gamma(n - k + 0.5) - log_gamma(n + 1.0);
        if *k > 0.0 {
            beta - std::f64::consts::PI.ln() - modelled
        } else {
            f64::NEG_INFINITY
        }
    };
    let common = |rate: f64, [n, k, modelled]: &[f64; 3]| {
        let log = k * rate.ln() + (n - k) * (1.0 - rate).ln();
        // A pool without a failure is as if it were sure to have none.
        if *k > 0.0 { log - modelled } else { log }
    };
    let own = shares(pools, own) - 2.0_f64.ln();
    let rates = [0.005, 0.012, 0.03, 0.08, 0.2, 0.4, 0.7, 0.97];
    let prior = 16.0_f64.ln();
    let common = rates.map(|rate| shares(pools, |pool| common(rate, pool)) - prior);
    log_sum(common.into_iter().chain([own]))
}

/// The mean over shares of the pools that are touched, given what that gains.
fn shares(pools: &[[f64; 3]], gain: impl Fn(&[f64; 3]) -> f64) -> f64 {
    let of = |share: f64| {
        let terms = pools.iter().map(|pool| {
            let touched = share * gain(pool).min(500.0).exp();
            (1.0 - share + touched).ln()
        });
        terms.sum::<f64>()
    };
    let shares = [0.003, 0.01, 0.03, 0.1, 0.3];
    log_sum(shares.into_iter().map(of)) - 5.0_f64.ln()
}

/// Logarithm of the gamma function: Stirling's series after a few steps up.
fn log_gamma(mut x: f64) -> f64 {
    let mut steps = 0.0;
    while x < 30.0 {
        steps += x.ln();
        x += 1.0;
    }
    let x2 = 1.0 / (x * x);
    let series = (1.0 / 12.0 - x2 * (1.0 / 360.0 - x2 * (1.0 / 1260.0 - x2 / 1680.0))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - steps
}
