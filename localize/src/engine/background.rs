//! The background that the search's best explanation leaves over.

use alloc::vec;
use alloc::vec::Vec;

use super::fit::Fault;
use super::model::Model;

/// What the rate that a group of cells began with is worth, in failures.
const PRIOR_FAILURES: f64 = 2.0;

/// The lowest background is by this factor under the lowest rate of a fault.
const CALMEST: f64 = 30.0;

impl Model {
    /// For each group of cells the rate at which they fail by chance, beside faults: one step of
    /// expectation and maximisation from the present rates.
    pub(crate) fn residual(&self, faults: &[Fault]) -> Vec<f64> {
        let groups = self
            .cells
            .iter()
            .map(|c| c.noise as usize + 1)
            .max()
            .unwrap_or(0);
        let mut prior = vec![0.0; groups];
        let mut failed = vec![PRIOR_FAILURES; groups];
        let mut probes = vec![0.0; groups];
        for (index, cell) in self.cells.iter().enumerate() {
            let group = cell.noise as usize;
            prior[group] = cell.background;
            let (trials, all) = self.trials(cell);
            probes[group] += trials * cell.spread;
            if all > 0.0 {
                failed[group] += self.by_chance(index, faults);
            }
        }
        let low = self.floor / CALMEST;
        let rate = |g: usize| failed[g] / (probes[g] + PRIOR_FAILURES / prior[g].max(low));
        (0..groups).map(|g| rate(g).max(low)).collect()
    }

    /// Sets the rate of each group of cells.
    pub(crate) fn set_background(&mut self, rates: &[f64]) {
        for cell in &mut self.cells {
            cell.background = rates[cell.noise as usize];
        }
    }
}
