//! NetBouncer: success rates of components that fit those of paths by regularised least squares, by
//! coordinate descent (Tan, Jin, Guo, et al.: "NetBouncer: Active Device and Link Failure
//! Localization in Data Center Networks", NSDI 2019).

use localize::score::CountedCase;

use crate::counts::{Counts, Flow};
use crate::engine::{Engine, Judgement, ranked};

/// Settings: the weight of the regulariser, which draws success rates to 0 or 1, and the success rate
/// under which a component is named.
pub const ENGINE: Engine = Engine {
    name: "NetBouncer",
    judge,
    grid: &[
        &[0.01, 0.1, 0.3, 1.0, 3.0, 10.0],
        &[
            0.999, 0.998, 0.996, 0.994, 0.992, 0.99, 0.985, 0.98, 0.97, 0.95, 0.9,
        ],
    ],
};

/// Sweeps at most; in practice some ten are enough.
const SWEEPS: usize = 100;
const STILL: f64 = 1e-6;

fn judge(case: &CountedCase, settings: &[f64]) -> Judgement {
    let counts = Counts::new(case);
    let success = fit(&counts, settings[0]);
    let loss: Vec<f64> = success.iter().map(|success| 1.0 - success).collect();
    ranked(&counts.ids, &loss, |place| success[place] < settings[1])
}

/// Success rates that make least the sum over flows of `probes * (product - observed)^2`, plus
/// `weight * x * (1 - x)` for every component. A flow with several ways counts as crossing them all:
/// the method knows its paths.
fn fit(counts: &Counts, weight: f64) -> Vec<f64> {
    let mut success = start(counts);
    for _ in 0..SWEEPS {
        let mut moved = 0.0_f64;
        for component in 0..success.len() {
            let next = best(counts, &success, component, weight);
            moved = moved.max((next - success[component]).abs());
            success[component] = next;
        }
        if moved < STILL {
            break;
        }
    }
    success
}

/// Each starts at the mean success of the flows across it.
fn start(counts: &Counts) -> Vec<f64> {
    let mean = |flows: &Vec<usize>| {
        let sum =
            |value: fn(&Flow) -> f64| flows.iter().map(|&f| value(&counts.flows[f])).sum::<f64>();
        let probes = sum(Flow::probes);
        if probes > 0.0 {
            sum(|flow| flow.passed) / probes
        } else {
            1.0
        }
    };
    counts.of.iter().map(mean).collect()
}

/// The value of one coordinate at which the sum is least, the others fixed: a parabola on [0, 1].
fn best(counts: &Counts, success: &[f64], component: usize, weight: f64) -> f64 {
    let (mut square, mut cross) = (0.0, 0.0);
    for flow in counts.of[component].iter().map(|&flow| &counts.flows[flow]) {
        let others: f64 = flow
            .crossed
            .iter()
            .filter(|&&other| other != component)
            .map(|&other| success[other])
            .product();
        square += flow.probes() * others * others;
        cross += flow.passed * others;
    }
    let (bend, slope) = (square - weight, 2.0 * cross - weight);
    if bend > 0.0 {
        (slope / (2.0 * bend)).clamp(0.0, 1.0)
    } else if bend < slope {
        1.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0 alone passes 40 of 50, 0 and 1 together 80 of 100, 1 alone 50 of 50.
    fn counts() -> Counts {
        let flows = vec![
            Flow::new(vec![vec![0]], 50, 10),
            Flow::new(vec![vec![0, 1]], 100, 20),
            Flow::new(vec![vec![1]], 50, 0),
        ];
        Counts::of_flows(vec![0, 1], flows)
    }

    #[test]
    fn one_step_is_the_closed_form() {
        // Others are 1: squares 150, cross terms 40 + 80 = 120, so x = (240 - 2) / (2 * 148).
        let step = best(&counts(), &[0.5, 1.0], 0, 2.0);
        assert!((step - 238.0 / 296.0).abs() < 1e-12);
    }

    #[test]
    fn without_a_regulariser_the_fit_is_exact() {
        let success = fit(&counts(), 0.0);
        assert!((success[0] - 0.8).abs() < 1e-4);
        assert!((success[1] - 1.0).abs() < 1e-4);
    }
}
