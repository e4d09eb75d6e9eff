//! How faults are drawn, as a prior, and what the rows of a component say of one: what `ceiling` and
//! `posterior` reckon with. Only for meshes whose rows have one way each.

use localize::score::CountedCase;

use crate::fault::{self, Fault, SHARES};
use crate::world::WINDOWS;

/// Prior odds of a fault by how many others there are, times the components that could have it: those
/// of `fault::mixture`.
const ODDS: [f64; 3] = [0.5 / 0.15, 0.25 / 0.5 * 2.0, 0.1 / 0.25 * 3.0];
/// Places in each of the ranges of rates.
const PLACES: usize = 16;
/// Share of the faults that are on all the time.
pub(crate) const ALWAYS: f64 = 2.0 / 3.0;

/// Rates with their prior probabilities, as `fault::rate` draws them.
pub(crate) fn rates() -> Vec<(f64, f64)> {
    let places = || (0..PLACES).map(|i| (i as f64 + 0.5) / PLACES as f64);
    let each = 1.0 / PLACES as f64;
    let even = places().map(|at| (0.2 + 0.4 * at, 0.3 * each));
    let low = places().map(|at| (0.01 * 10_f64.powf(at), 0.3 * each));
    let lowest = places().map(|at| (0.005 * 2_f64.powf(at), 0.15 * each));
    let hard = std::iter::once((1.0, 0.25));
    hard.chain(even).chain(low).chain(lowest).collect()
}

/// Prior odds of a component's fault beside so many others, as a logarithm.
pub(crate) fn log_odds_of_another(others: usize, components: usize) -> f64 {
    match ODDS.get(others) {
        Some(odds) => (odds / (components - others) as f64).ln(),
        None => f64::NEG_INFINITY,
    }
}

/// Over every pattern of windows that `fault` draws.
pub(crate) fn over_patterns(gains: &[f64; WINDOWS]) -> f64 {
    let always = ALWAYS.ln() + gains.iter().sum::<f64>();
    let each = ((1.0 - ALWAYS) / (2 * SHARES.len()) as f64).ln();
    let bursts = SHARES.into_iter().flat_map(|share| {
        let (stretches, scattered) = bursts(gains, share);
        let one = log_sum(&stretches) - (stretches.len() as f64).ln();
        [each + one, each + scattered]
    });
    let all: Vec<f64> = std::iter::once(always).chain(bursts).collect();
    log_sum(&all)
}

/// The gain of a fault that is on in a share of the windows: by the beginning of its one stretch, and when
/// every window is drawn by itself.
pub(crate) fn bursts(gains: &[f64; WINDOWS], share: f64) -> (Vec<f64>, f64) {
    let stretches = gains
        .windows(fault::length(WINDOWS, share))
        .map(|on| on.iter().sum());
    let (off, on) = ((1.0 - share).ln(), share.ln());
    let scattered = gains.iter().map(|gain| log_sum(&[off, on + gain])).sum();
    (stretches.collect(), scattered)
}

/// Logarithm of the sum of exponentials.
pub(crate) fn log_sum(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln()
}

/// What the rows that cross a component saw.
pub(crate) struct Column {
    /// Rows with a failure, by their places.
    failing: Vec<usize>,
    /// Passes of all rows by window.
    pub(crate) passed: [f64; WINDOWS],
}

impl Column {
    pub(crate) fn new(case: &CountedCase, id: u32) -> Self {
        let mut column = Self {
            failing: Vec::new(),
            passed: [0.0; WINDOWS],
        };
        for (place, row) in case.rows.iter().enumerate() {
            if !row.crosses[0].contains(&id) {
                continue;
            }
            if row.failed.iter().any(|failed| *failed > 0) {
                column.failing.push(place);
            }
            let counts = row.probes.iter().zip(&row.failed);
            for (sum, (probes, failed)) in column.passed.iter_mut().zip(counts) {
                *sum += f64::from(probes - failed);
            }
        }
        column
    }

    /// Where its probes failed, with these calm rates by component and these faults, none of them its own.
    pub(crate) fn seen(&self, case: &CountedCase, calm: &[f64], faults: &[Fault]) -> Vec<Seen> {
        let mut seen = Vec::new();
        for place in &self.failing {
            let row = &case.rows[*place];
            let crossed = &row.crosses[0];
            let well = crossed.iter().map(|id| 1.0 - calm[*id as usize]);
            let well: f64 = well.product();
            let met = || faults.iter().filter(|fault| crossed.contains(&fault.id));
            for (window, failed) in row.failed.iter().enumerate().filter(|(_, f)| **f > 0) {
                let on = met().filter(|fault| fault.on.contains(&window));
                seen.push(Seen {
                    window,
                    failed: f64::from(*failed),
                    survival: well * on.map(|fault| 1.0 - fault.rate).product::<f64>(),
                });
            }
        }
        seen
    }

    /// By window the logarithm of the likelihood ratio of a fault of this rate against none.
    pub(crate) fn gains(&self, seen: &[Seen], rate: f64) -> [f64; WINDOWS] {
        let pass = (1.0 - rate).max(1e-300).ln();
        let mut gains = self.passed.map(|passed| passed * pass);
        for s in seen {
            let failing = 1.0 - s.survival * (1.0 - rate);
            gains[s.window] += s.failed * (failing / (1.0 - s.survival)).ln();
        }
        gains
    }
}

/// Failures of a row in a window, and the probability of a pass there.
pub(crate) struct Seen {
    pub(crate) window: usize,
    pub(crate) failed: f64,
    pub(crate) survival: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_a_distribution() {
        let sum: f64 = rates().iter().map(|(_, prior)| prior).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }

    #[test]
    fn patterns_are_a_distribution() {
        assert!(over_patterns(&[0.0; WINDOWS]).abs() < 1e-9);
    }
}
