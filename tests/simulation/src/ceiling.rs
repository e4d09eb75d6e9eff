//! What anyone could know: each component judged with everything else known.
//!
//! For one component after the other the true calm rates and the true faults of all others are given, and
//! the prior is the one that the faults were drawn from (`fault`): rates, windows and how many there are. No engine
//! that has to find these out can be expected to do better. Only for meshes whose rows have one way each.

use localize::score::{CountedCase, Row};

use crate::engine::{Judgement, Suspect};
use crate::fault::{self, SHARES};
use crate::world::{Drawn, WINDOWS};

/// Prior odds of a fault by how many others there are, times the components that could have it: those
/// of `fault::mixture`.
const ODDS: [f64; 3] = [0.5 / 0.15, 0.25 / 0.5 * 2.0, 0.1 / 0.25 * 3.0];
/// Places in each of the ranges of rates.
const PLACES: usize = 16;
/// Share of the faults that are on all the time.
pub(crate) const ALWAYS: f64 = 2.0 / 3.0;

/// The judgement of one who knows everything but whether this component is at fault.
#[must_use]
pub fn judge(drawn: &Drawn) -> Judgement {
    let rates = rates();
    let mut suspects: Judgement = drawn
        .case
        .components
        .iter()
        .map(|component| {
            let log_odds = log_odds(drawn, component.id, &rates);
            Suspect {
                id: component.id,
                probability: 1.0 / (1.0 + (-log_odds).exp()),
            }
        })
        .collect();
    suspects.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    suspects
}

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

fn log_odds(drawn: &Drawn, id: u32, rates: &[(f64, f64)]) -> f64 {
    let others = drawn.truth.faults.iter().filter(|fault| fault.id != id);
    let odds = log_odds_of_another(others.count(), drawn.case.components.len());
    let cells = cells(drawn, id);
    let logs = rates.iter().map(|(rate, prior)| {
        let gains = gains(&cells, *rate);
        prior.ln() + over_patterns(&gains)
    });
    let logs: Vec<f64> = logs.collect();
    odds + log_sum(&logs)
}

/// Prior odds of a component's fault beside so many others, as a logarithm.
pub(crate) fn log_odds_of_another(others: usize, components: usize) -> f64 {
    match ODDS.get(others) {
        Some(odds) => (odds / (components - others) as f64).ln(),
        None => f64::NEG_INFINITY,
    }
}

/// Failures and passes in a window, and the probability of a pass while the component is well.
struct Seen {
    window: usize,
    failed: f64,
    passed: f64,
    survival: f64,
}

/// What the rows that cross a component saw.
fn cells(drawn: &Drawn, id: u32) -> Vec<Seen> {
    let CountedCase { rows, .. } = &drawn.case;
    let crossing = rows.iter().filter(|row| row.crosses[0].contains(&id));
    let seen = crossing.flat_map(|row| {
        (0..WINDOWS).map(move |window| Seen {
            window,
            failed: f64::from(row.failed[window]),
            passed: f64::from(row.probes[window] - row.failed[window]),
            survival: survival(drawn, row, window, id),
        })
    });
    seen.filter(|seen| seen.failed + seen.passed > 0.0)
        .collect()
}

/// Probability of passing a row with the calm rates and the faults of all but one component.
fn survival(drawn: &Drawn, row: &Row, window: usize, but: u32) -> f64 {
    let truth = &drawn.truth;
    let calm = row.crosses[0].iter().map(|id| truth.calm[*id as usize]);
    let faults = truth.faults.iter().filter(|fault| {
        fault.id != but && fault.on.contains(&window) && row.crosses[0].contains(&fault.id)
    });
    let rates = calm.chain(faults.map(|fault| fault.rate));
    rates.map(|rate| 1.0 - rate).product()
}

/// By window, the logarithm of the likelihood ratio of a fault of this rate against none.
fn gains(cells: &[Seen], rate: f64) -> [f64; WINDOWS] {
    let mut gains = [0.0; WINDOWS];
    for seen in cells {
        let failing = 1.0 - seen.survival * (1.0 - rate);
        let calm = 1.0 - seen.survival;
        gains[seen.window] += seen.passed * (1.0 - rate).max(1e-300).ln();
        if seen.failed > 0.0 {
            gains[seen.window] += seen.failed * (failing / calm).ln();
        }
    }
    gains
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Outcome, Summary};
    use crate::{World, draw};

    #[test]
    fn rates_are_a_distribution() {
        let sum: f64 = rates().iter().map(|(_, prior)| prior).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }

    #[test]
    fn patterns_are_a_distribution() {
        assert!(over_patterns(&[0.0; WINDOWS]).abs() < 1e-9);
    }

    #[test]
    fn nobody_does_better() {
        let drawn: Vec<Drawn> = (0..12).map(|s| draw(World::Nominal, 3_000, s)).collect();
        let summary = |judge: &dyn Fn(&Drawn) -> Judgement| {
            let outcomes: Vec<Outcome> = drawn
                .iter()
                .map(|drawn| Outcome::new(&judge(drawn), drawn))
                .collect();
            Summary::new(&outcomes)
        };
        let knowing = summary(&judge);
        let ours = summary(&|drawn| (crate::engine::OURS.judge)(&drawn.case, &[]));
        assert!(knowing.f1 > 0.7 && knowing.brier < ours.brier);
    }
}
