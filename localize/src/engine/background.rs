//! The background that the search's best explanation leaves over.

use alloc::vec;
use alloc::vec::Vec;

use super::fit::Fault;
use super::model::Model;

/// What the rate that a group of cells began with is worth, in failures.
const PRIOR_FAILURES: f64 = 2.0;

/// The lowest background is by this factor under the lowest rate of a fault.
const CALMEST: f64 = 30.0;

/// Times that ordinary cells are sorted from the others.
const SORTINGS: usize = 3;

/// Failures and probes of the cells of one background.
#[derive(Clone, Copy)]
struct Tally {
    failed: f64,
    probes: f64,
    prior: f64,
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
            self.set_background(&tallies, &prior, 1.0);
        }
    }

    /// Sets the backgrounds to what faults leave over: one step of expectation and maximisation.
    /// Returns the greatest factor by which one of them changed.
    pub(crate) fn learn_background(&mut self, faults: &[Fault]) -> f64 {
        let before: Vec<f64> = self.cells.iter().map(|c| c.background).collect();
        let tallies = self.tallies(|index, all| {
            if all > 0.0 {
                self.by_chance(index, faults)
            } else {
                0.0
            }
        });
        let prior: Vec<f64> = tallies.iter().map(|t| t.prior).collect();
        self.set_background(&tallies, &prior, f64::INFINITY);
        let ratios = self.cells.iter().zip(before).map(|(c, b)| c.background / b);
        ratios.fold(1.0, |most, ratio| most.max(ratio).max(1.0 / ratio))
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

    fn set_background(&mut self, tallies: &[Tally], prior: &[f64], most: f64) {
        let low = self.floor / CALMEST;
        for cell in &mut self.cells {
            let group = cell.noise as usize;
            let Tally { failed, probes, .. } = tallies[group];
            let worth = PRIOR_FAILURES / prior[group].max(low);
            let rate = (failed + PRIOR_FAILURES) / (probes + worth);
            cell.background = rate.min(prior[group] * most).max(low);
        }
    }
}
