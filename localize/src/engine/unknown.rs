//! The rival of every explanation: something that no component explains.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::fit::Fault;
use super::law::LogSum;
use super::model::{Cell, Model};

/// Shares of the cells that an unknown cause may touch.
const TOUCHED: [f64; 5] = [0.003, 0.01, 0.03, 0.1, 0.3];

/// Failures and trials beside the logarithm of their probability under the faults.
#[derive(Clone, Copy, Default)]
struct Pool {
    trials: f64,
    failed: f64,
    /// Logarithm of what a free rate leaves open: which symptom, and who served.
    rest: f64,
    modelled: f64,
}

impl Pool {
    fn add(&mut self, other: Self) {
        self.trials += other.trials;
        self.failed += other.failed;
        self.rest += other.rest;
        self.modelled += other.modelled;
    }

    /// By how much a rate of its own raises the probability, as a logarithm.
    fn gain(self) -> f64 {
        log_beta_binomial(self.failed, self.trials) + self.rest - self.modelled
    }
}

impl Model {
    /// What the cells look like while nothing is at fault, for [`Self::unknown_gain`].
    pub(crate) fn calm(&self) -> Calm {
        let pool = |index: usize| {
            let cell = &self.cells[index];
            Pool {
                trials: cell.trials,
                failed: cell.failed,
                rest: self.served_share(cell) - cell.failed * libm::log(cell.kinds),
                modelled: self.log_likelihood(index, &[]),
            }
        };
        let pools: Vec<Pool> = (0..self.cells.len()).map(pool).collect();
        let mut ways: BTreeMap<u32, Pool> = BTreeMap::new();
        for (cell, pool) in self.cells.iter().zip(&pools) {
            ways.entry(cell.kin).or_default().add(*pool);
        }
        Calm { cells: pools, ways }
    }

    /// Logarithm of the gain of an unknown cause beside faults: some of the cells have a rate of
    /// their own with a Beta(1/2, 1/2) prior, and symptoms at random; each cell for itself, or all
    /// that go the same way from different vantage points alike.
    pub(crate) fn unknown_gain(&self, calm: &Calm, faults: &[Fault]) -> f64 {
        let mut changed: Vec<u32> = faults
            .iter()
            .flat_map(|f| self.causes[f.cause].touches.iter().map(|t| t.cell))
            .collect();
        changed.sort_unstable();
        changed.dedup();
        let mut ways = calm.ways.clone();
        let mut cells = Touched::default();
        let mut next = changed.into_iter().peekable();
        for (index, pool) in (0..).zip(&calm.cells) {
            let mut pool = *pool;
            if next.next_if_eq(&index).is_some() {
                let place = index as usize;
                let modelled = self.log_likelihood(place, faults);
                if let Some(way) = ways.get_mut(&self.cells[place].kin) {
                    way.modelled += modelled - pool.modelled;
                }
                pool.modelled = modelled;
            }
            cells.add(pool);
        }
        let mut together = Touched::default();
        ways.into_values().for_each(|pool| together.add(pool));
        let mut both = LogSum::default();
        both.add(cells.log_mean());
        both.add(together.log_mean());
        both.value() - libm::log(2.0)
    }

    /// Logarithm of the probability of who served, where answers told, at even balancing.
    fn served_share(&self, cell: &Cell) -> f64 {
        let outcomes = self.outcomes(cell).iter();
        let told = outcomes.filter_map(|o| Some((o.server?, self.total(o))));
        told.map(|(server, count)| {
            let ways = self.ways(cell).iter();
            let share: f64 = ways
                .filter(|w| w.server.is_none_or(|s| s == server))
                .map(|w| w.weight)
                .sum();
            count * libm::log(share.max(1e-6))
        })
        .sum()
    }
}

/// What the cells look like while nothing is at fault, each and by way.
pub(crate) struct Calm {
    cells: Vec<Pool>,
    ways: BTreeMap<u32, Pool>,
}

/// Sums over which of some pools are touched, for each share.
#[derive(Default)]
struct Touched {
    totals: [f64; TOUCHED.len()],
    /// Pools without a failure, which nothing can have touched.
    clean: f64,
}

impl Touched {
    fn add(&mut self, pool: Pool) {
        if pool.failed == 0.0 {
            self.clean += 1.0;
            return;
        }
        let ratio = libm::exp(pool.gain().min(500.0));
        for (total, touched) in self.totals.iter_mut().zip(TOUCHED) {
            *total += libm::log(1.0 - touched + touched * ratio);
        }
    }

    fn log_mean(&self) -> f64 {
        let mut all = LogSum::default();
        for (total, touched) in self.totals.iter().zip(TOUCHED) {
            all.add(total + self.clean * libm::log1p(-touched));
        }
        all.value() - libm::log(TOUCHED.len() as f64)
    }
}

/// Logarithm of the probability of one particular sequence with `k` failures among `n` under a
/// Beta(1/2, 1/2) rate.
fn log_beta_binomial(k: f64, n: f64) -> f64 {
    libm::lgamma(k + 0.5) + libm::lgamma(n - k + 0.5)
        - libm::lgamma(n + 1.0)
        - 2.0 * libm::lgamma(0.5)
}
