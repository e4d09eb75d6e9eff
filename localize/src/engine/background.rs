//! The background that the search's best explanation leaves over.

use alloc::vec;
use alloc::vec::Vec;

use super::fit::Fault;
use super::model::Model;

/// What the rate that a group of cells began with is worth, in failures.
const PRIOR_FAILURES: f64 = 2.0;

/// The lowest background is by this factor under the lowest rate of a fault.
const CALMEST: f64 = 30.0;

/// A background that would change by less than this factor is known well enough.
const STEADY: f64 = 1.3;

/// Times that ordinary cells are sorted from the others.
const SORTINGS: usize = 3;

/// Failures and probes of the cells of one background.
#[derive(Clone, Copy)]
struct Tally {
    failed: f64,
    probes: f64,
    prior: f64,
}

impl Tally {
    /// The rate, where it was thought to be `prior`.
    fn rate(&self, prior: f64, low: f64) -> f64 {
        let worth = PRIOR_FAILURES / prior.max(low);
        ((self.failed + PRIOR_FAILURES) / (self.probes + worth)).max(low)
    }
}

impl Model {
    /// Sets the backgrounds to what the cells without conspicuously many failures show.
    pub(crate) fn guess_background(&mut self) {
        let prior: Vec<f64> = self.tallies(|_, _| 0.0).iter().map(|t| t.prior).collect();
        for _ in 0..SORTINGS {
            let tallies = self.tallies(|index, _| {
                let cell = &self.cells[index];
                let (expected, failed) = (cell.trials * cell.spread * cell.background, cell.failed);
                let conspicuous = failed > expected + 3.0 * libm::sqrt(expected) + 1.0;
                if conspicuous { f64::NAN } else { failed }
            });
            let low = self.floor / CALMEST;
            let rates = tallies.iter().zip(&prior);
            let rates: Vec<f64> = rates
                .map(|(t, p)| t.rate(*p, low).min(p.max(low)))
                .collect();
            self.set_background(&rates);
        }
    }

    /// The backgrounds that faults leave over, by one step of expectation and maximisation; `None`
    /// when those of the model are near enough.
    pub(crate) fn better_background(&self, faults: &[Fault]) -> Option<Vec<f64>> {
        let tallies = self.tallies(|index, all| {
            if all > 0.0 {
                self.by_chance(index, faults)
            } else {
                0.0
            }
        });
        let low = self.floor / CALMEST;
        let rates = tallies.iter().map(|t| t.rate(t.prior, low));
        let rates: Vec<f64> = rates.collect();
        let near = |(t, rate): (&Tally, &f64)| (1.0 / STEADY..STEADY).contains(&(rate / t.prior));
        let steady = tallies.iter().zip(&rates).all(near);
        (!steady).then_some(rates)
    }

    /// Sets the background of each group of cells.
    pub(crate) fn set_background(&mut self, rates: &[f64]) {
        for cell in &mut self.cells {
            cell.background = rates[cell.noise as usize];
        }
    }

    /// Sums by background, of what failed by chance in a cell; one that is no number is left out.
    fn tallies(&self, by_chance: impl Fn(usize, f64) -> f64) -> Vec<Tally> {
        let groups = self.cells.iter().map(|c| c.noise as usize + 1).max();
        let nothing = Tally {
            failed: 0.0,
            probes: 0.0,
            prior: 0.0,
        };
        let mut tallies = vec![nothing; groups.unwrap_or(0)];
        for (index, cell) in self.cells.iter().enumerate() {
            let tally = &mut tallies[cell.noise as usize];
            tally.prior = cell.background;
            let failed = by_chance(index, cell.failed);
            if failed.is_finite() {
                tally.failed += failed;
                tally.probes += cell.trials * cell.spread;
            }
        }
        tallies
    }
}
