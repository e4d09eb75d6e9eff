//! Sets of one and two faults integrated over all rates and patterns of both, on dense grids.

use crate::fit::{HARD, HARD_RATES, RESTLESS, RESTLESS_PLACES, restless_rate};
use crate::laws::{Joint, Law, laws, log_sum, over, over_both};
use crate::problem::{Cell, FLOOR, FURTHER, Problem};
use crate::sets::Set;

/// No rate is higher.
const TOP: f64 = 0.9995;
/// Places of a grid for one fault, and of one for two: even ones, and as many round the peak.
const DENSE: usize = 300;
const EVEN: usize = 20;
/// Half the width of a peak's surroundings, in its standard deviations.
const WIDTH: f64 = 5.0;

/// A rate with its prior mass.
#[derive(Clone, Copy)]
struct Node {
    rate: f64,
    mass: f64,
}

/// What a set weighs when its members are faulty or merely restless, as bits of the faulty ones.
pub struct Weight {
    pub guilty: u64,
    pub log: f64,
}

/// The rates of faults at these places, with the trapezoid rule's masses, and the hard ones.
fn faulty(mut rates: Vec<f64>) -> Vec<Node> {
    rates.sort_by(f64::total_cmp);
    let span = (1.0 / FLOOR).ln();
    let logs: Vec<f64> = rates.iter().map(|rate| (rate / FLOOR).ln()).collect();
    let edge = |i: usize| {
        if i == 0 {
            0.0
        } else {
            (logs[i - 1] + logs[i]) / 2.0
        }
    };
    let end = |i: usize| {
        if i + 1 == logs.len() {
            span
        } else {
            edge(i + 1)
        }
    };
    let soft = (0..rates.len()).map(|i| Node {
        rate: rates[i].min(TOP),
        mass: (1.0 - HARD) * (end(i) - edge(i)) / span,
    });
    let hard = HARD_RATES.map(|(rate, share)| Node {
        rate,
        mass: HARD * share,
    });
    soft.chain(hard).collect()
}

fn even(places: usize) -> Vec<f64> {
    let share = |i: usize| (i as f64 + 0.5) / places as f64;
    (0..places)
        .map(|i| FLOOR * (1.0 / FLOOR).powf(share(i)))
        .collect()
}

fn restless() -> Vec<Node> {
    let node = |place| Node {
        rate: restless_rate(place),
        mass: RESTLESS / RESTLESS_PLACES as f64,
    };
    (0..RESTLESS_PLACES).map(node).collect()
}

impl Problem {
    fn gains(&self, cause: usize, rate: f64) -> Vec<f64> {
        let gain = |window: usize| {
            let cells = self.touched(cause);
            let gains =
                cells.map(|cell| cell.seen(window, &[(cause, rate)]) - cell.seen(window, &[]));
            gains.sum()
        };
        (0..self.windows).map(gain).collect()
    }

    /// One fault, integrated.
    pub fn one(&self, cause: usize) -> Vec<Weight> {
        let laws = laws(self.windows);
        let of = |nodes: Vec<Node>, laws: &[Law]| {
            log_sum(
                nodes
                    .iter()
                    .map(|node| node.mass.ln() + over(laws, &self.gains(cause, node.rate))),
            )
        };
        let calm = [Law::Stretch(1.0, 0, self.windows)];
        let at_fault = self.causes[cause].log_odds + of(faulty(even(DENSE)), &laws);
        vec![
            Weight {
                guilty: 1 << cause,
                log: at_fault,
            },
            Weight {
                guilty: 0,
                log: of(restless(), &calm),
            },
        ]
    }

    /// A grid that is fine where a set of two and its faults alone have their peaks.
    fn places(&self, cause: usize, peak: f64) -> Vec<f64> {
        let failures: f64 = self.touched(cause).map(Cell::failures).sum();
        let width = (WIDTH / (failures + 1.0).sqrt()).min(1.5);
        let round =
            (0..EVEN).map(|i| peak * (width * (2.0 * (i as f64 + 0.5) / EVEN as f64 - 1.0)).exp());
        even(EVEN)
            .into_iter()
            .chain(round.filter(|rate| (FLOOR..1.0).contains(rate)))
            .collect()
    }

    /// Two faults, integrated jointly.
    pub fn two(&self, set: &Set) -> Vec<Weight> {
        let [a, b] = [0, 1].map(|i| &set.fits[i].fault);
        let states = |cause: usize, peak: f64| {
            let odds = self.causes[cause].log_odds;
            let fault = (
                1 << cause,
                odds,
                faulty(self.places(cause, peak)),
                laws(self.windows),
            );
            let calm = (0, 0.0, restless(), vec![Law::Stretch(1.0, 0, self.windows)]);
            vec![fault, calm]
        };
        let mut weights = Vec::new();
        for (first, odds, nodes, laws) in states(a.cause, a.theta) {
            for (second, more_odds, others, more_laws) in states(b.cause, b.theta) {
                weights.push(Weight {
                    guilty: first | second,
                    log: odds
                        + more_odds
                        + if first > 0 && second > 0 {
                            FURTHER.ln()
                        } else {
                            0.0
                        }
                        + self.joint((a.cause, &nodes, &laws), (b.cause, &others, &more_laws)),
                });
            }
        }
        weights
    }

    fn joint(&self, one: (usize, &[Node], &[Law]), other: (usize, &[Node], &[Law])) -> f64 {
        let shared: Vec<&Cell> = self
            .touched(one.0)
            .filter(|cell| cell.touching >> other.0 & 1 == 1 && cell.informative())
            .collect();
        let along = |(cause, nodes, _): (usize, &[Node], &[Law])| -> Vec<Vec<f64>> {
            nodes
                .iter()
                .map(|node| self.gains(cause, node.rate))
                .collect()
        };
        let (gains, more) = (along(one), along(other));
        let mut logs = Vec::new();
        for (node, gains) in one.1.iter().zip(&gains) {
            for (second, more) in other.1.iter().zip(&more) {
                let (x, y) = ((one.0, node.rate), (other.0, second.rate));
                let joint = |window: usize| -> Joint {
                    let both = |cell: &&Cell| {
                        cell.seen(window, &[x, y])
                            - cell.seen(window, &[x])
                            - cell.seen(window, &[y])
                            + cell.seen(window, &[])
                    };
                    let (g, h) = (gains[window], more[window]);
                    [g, h, g + h + shared.iter().map(both).sum::<f64>()]
                };
                let windows: Vec<Joint> = (0..self.windows).map(joint).collect();
                logs.push((node.mass * second.mass).ln() + over_both(one.2, other.2, &windows));
            }
        }
        log_sum(logs.into_iter())
    }
}
