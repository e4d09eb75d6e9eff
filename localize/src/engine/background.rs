//! The background that the search's best explanation leaves over.

use alloc::vec::Vec;

use super::fit::Fault;
use super::model::Model;

/// What the rate that a noise began with is worth, in failures.
const PRIOR_FAILURES: f64 = 2.0;

/// A noise that would change by less than this factor is known well enough.
const STEADY: f64 = 1.3;

/// Times that ordinary cells are sorted from the others.
const SORTINGS: usize = 3;

/// What failed by chance, and the probes that could have, of one noise.
#[derive(Clone, Copy, Default)]
struct Tally {
    failed: f64,
    probes: f64,
    /// Its rate is known from elsewhere.
    known: bool,
}

impl Tally {
    /// The rate, where it was thought to be `prior`.
    fn rate(&self, prior: f64, low: f64) -> f64 {
        if self.known {
            return prior;
        }
        let worth = PRIOR_FAILURES / prior.max(low);
        ((self.failed + PRIOR_FAILURES) / (self.probes + worth)).max(low)
    }
}

impl Model {
    /// Sets the noises to what the cells without conspicuously many failures show.
    pub(crate) fn guess_background(&mut self) {
        let prior = self.noises.clone();
        for _ in 0..SORTINGS {
            let tallies = self.tallies(|index| {
                let cell = &self.cells[index];
                let (expected, failed) = (cell.trials * cell.spread * cell.background, cell.failed);
                let conspicuous = failed > expected + 3.0 * libm::sqrt(expected) + 1.0;
                if conspicuous { f64::NAN } else { failed }
            });
            let low = self.calmest;
            let rates = tallies.iter().zip(&prior);
            let rates: Vec<f64> = rates
                .map(|(t, p)| t.rate(*p, low).min(p.max(low)))
                .collect();
            self.set_noises(rates);
        }
    }

    /// The noises that faults leave over, by one step of expectation and maximisation; `None` when
    /// those of the model are near enough.
    pub(crate) fn better_background(&self, faults: &[Fault]) -> Option<Vec<f64>> {
        let tallies = self.tallies(|index| {
            if self.cells[index].failed > 0.0 {
                self.by_chance(index, faults)
            } else {
                0.0
            }
        });
        let low = self.calmest;
        let pairs = || tallies.iter().zip(&self.noises);
        let rates: Vec<f64> = pairs().map(|(t, noise)| t.rate(*noise, low)).collect();
        let near = |(noise, rate): (&f64, &f64)| (1.0 / STEADY..STEADY).contains(&(rate / noise));
        let steady = self.noises.iter().zip(&rates).all(near);
        (!steady).then_some(rates)
    }

    /// Sets the noises, and the background of each cell.
    pub(crate) fn set_noises(&mut self, noises: Vec<f64>) {
        self.noises = noises;
        for index in 0..self.cells.len() {
            let cell = &self.cells[index];
            let background = self.background(cell.noise, cell.own, cell.common);
            self.cells[index].background = background;
        }
    }

    /// Sums by noise, of what failed by chance in a cell; one that is no number is left out.
    fn tallies(&self, by_chance: impl Fn(usize) -> f64) -> Vec<Tally> {
        let tally = |noise| Tally {
            known: self.knows(noise),
            ..Tally::default()
        };
        let mut tallies: Vec<Tally> = (0..self.noises.len()).map(tally).collect();
        for (index, cell) in self.cells.iter().enumerate() {
            let failed = by_chance(index);
            if failed.is_finite() {
                let own = cell.own * self.noises[cell.noise as usize] / cell.background;
                let probes = cell.trials * cell.spread;
                let tally = &mut tallies[cell.noise as usize];
                tally.failed += failed * own;
                tally.probes += probes * cell.own;
                let common = &mut tallies[0];
                common.failed += failed * (1.0 - own);
                common.probes += probes * cell.common;
            }
        }
        tallies
    }
}
