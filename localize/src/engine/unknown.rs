//! The rival of every explanation: something that no component explains.

use alloc::collections::BTreeMap;

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
    /// Logarithm of the gain of an unknown cause beside faults: some of the cells have a rate of
    /// their own with a Beta(1/2, 1/2) prior, and symptoms at random; each cell for itself, or all
    /// that go the same way from different vantage points alike.
    pub(crate) fn unknown_gain(&self, faults: &[Fault]) -> f64 {
        let mut cells = Touched::default();
        let mut kin: BTreeMap<u32, Pool> = BTreeMap::new();
        for (index, cell) in self.cells.iter().enumerate() {
            let (trials, failed) = self.trials(cell);
            let pool = Pool {
                trials,
                failed,
                rest: self.served_share(cell) - failed * libm::log(cell.kinds),
                modelled: if trials > 0.0 {
                    self.log_likelihood(index, faults)
                } else {
                    0.0
                },
            };
            cells.add(pool);
            kin.entry(cell.kin).or_default().add(pool);
        }
        let mut ways = Touched::default();
        kin.into_values().for_each(|pool| ways.add(pool));
        let mut both = LogSum::default();
        both.add(cells.log_mean());
        both.add(ways.log_mean());
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

/// Sums over which of some pools are touched, for each share.
#[derive(Default)]
struct Touched {
    totals: [f64; TOUCHED.len()],
}

impl Touched {
    fn add(&mut self, pool: Pool) {
        let ratio = if pool.failed > 0.0 {
            libm::exp(pool.gain().min(500.0))
        } else {
            0.0
        };
        for (total, touched) in self.totals.iter_mut().zip(TOUCHED) {
            *total += libm::log(1.0 - touched + touched * ratio);
        }
    }

    fn log_mean(&self) -> f64 {
        let mut all = LogSum::default();
        self.totals.iter().for_each(|t| all.add(*t));
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
