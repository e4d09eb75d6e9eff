//! The rival of every explanation: something that no component explains.

use super::fit::Fault;
use super::law::LogSum;
use super::model::{Cell, Model};

/// Shares of the cells that an unknown cause may touch.
const TOUCHED: [f64; 5] = [0.003, 0.01, 0.03, 0.1, 0.3];

impl Model {
    /// Logarithm of the gain of an unknown cause beside faults: some of the cells have a rate of
    /// their own with a Beta(1/2, 1/2) prior, and symptoms at random.
    pub(crate) fn unknown_gain(&self, faults: &[Fault]) -> f64 {
        let mut totals = [0.0; TOUCHED.len()];
        for (index, cell) in self.cells.iter().enumerate() {
            let (trials, failed) = self.trials(cell);
            if failed == 0.0 {
                for (total, touched) in totals.iter_mut().zip(TOUCHED) {
                    *total += libm::log1p(-touched);
                }
                continue;
            }
            let free = log_beta_binomial(failed, trials) - failed * libm::log(cell.kinds)
                + self.served_share(cell);
            let ratio = libm::exp((free - self.log_likelihood(index, faults)).min(500.0));
            for (total, touched) in totals.iter_mut().zip(TOUCHED) {
                *total += libm::log(1.0 - touched + touched * ratio);
            }
        }
        let mut all = LogSum::default();
        totals.iter().for_each(|t| all.add(*t));
        all.value() - libm::log(TOUCHED.len() as f64)
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

/// Logarithm of the probability of one particular sequence with `k` failures among `n` under a
/// Beta(1/2, 1/2) rate.
fn log_beta_binomial(k: f64, n: f64) -> f64 {
    libm::lgamma(k + 0.5) + libm::lgamma(n - k + 0.5)
        - libm::lgamma(n + 1.0)
        - 2.0 * libm::lgamma(0.5)
}
