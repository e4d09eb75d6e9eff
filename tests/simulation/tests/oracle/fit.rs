//! One fault beside others that are held fast, integrated on the grid of the definition.

use crate::laws::{Law, course, laws, log_sum, over};
use crate::problem::{FLOOR, Problem};

/// Share and rates of hard faults.
pub const HARD: f64 = 0.25;
pub const HARD_RATES: [(f64, f64); 3] = [(0.97, 0.2), (0.995, 0.3), (0.9995, 0.5)];
const TOP: f64 = 0.9995;
/// Prior odds of a component that is merely restless, and the rates of one.
pub const RESTLESS: f64 = 0.15;
pub const RESTLESS_PLACES: usize = 4;
/// Steps between off and on.
const LEVELS: f64 = 4.0;

pub fn restless_rate(place: usize) -> f64 {
    let share = (place as f64 + 0.5) / RESTLESS_PLACES as f64;
    FLOOR * 0.01 * (0.1_f64 / 0.01).powf(share)
}

/// A fault with its most probable parameters.
#[derive(Clone, Debug)]
pub struct Fault {
    pub cause: usize,
    pub theta: f64,
    levels: Vec<f64>,
}

impl Fault {
    pub fn rate(&self, window: usize) -> f64 {
        self.theta * self.levels[window]
    }

    fn near(&self, other: &Self) -> bool {
        self.levels == other.levels
            && (self.theta - other.theta).abs() <= 0.03 * self.theta.max(other.theta)
    }
}

/// What came of fitting it.
#[derive(Clone)]
pub struct Fit {
    pub fault: Fault,
    /// Gain at the most probable parameters, and over all of them.
    pub gain: f64,
    pub integral: f64,
    pub restless: f64,
    /// Gain beside the faults before it.
    pub telescoped: f64,
}

impl Fit {
    pub fn near(&self, other: &Self) -> bool {
        self.fault.near(&other.fault)
    }
}

/// What acts in each window.
pub fn acting(faults: &[Fault], window: usize) -> Vec<(usize, f64)> {
    faults
        .iter()
        .map(|fault| (fault.cause, fault.rate(window)))
        .collect()
}

/// The gain of one cause beside others, by window.
struct Gains<'a> {
    problem: &'a Problem,
    cause: usize,
    others: Vec<Vec<(usize, f64)>>,
    without: Vec<f64>,
}

impl<'a> Gains<'a> {
    fn new(problem: &'a Problem, cause: usize, faults: &[Fault]) -> Self {
        let others: Vec<_> = (0..problem.windows).map(|w| acting(faults, w)).collect();
        let seen = |(window, acting): (usize, &Vec<(usize, f64)>)| {
            let cells = problem.touched(cause);
            cells.map(|cell| cell.seen(window, acting)).sum()
        };
        Self {
            problem,
            cause,
            without: others.iter().enumerate().map(seen).collect(),
            others,
        }
    }

    fn at(&self, window: usize, rate: f64) -> f64 {
        if rate == 0.0 {
            return 0.0;
        }
        let mut acting = self.others[window].clone();
        acting.push((self.cause, rate));
        let cells = self.problem.touched(self.cause);
        let with: f64 = cells.map(|cell| cell.seen(window, &acting)).sum();
        with - self.without[window]
    }

    fn steady(&self, rate: f64) -> Vec<f64> {
        (0..self.problem.windows)
            .map(|window| self.at(window, rate))
            .collect()
    }

    fn of(&self, fault: &Fault) -> f64 {
        (0..self.problem.windows)
            .map(|window| self.at(window, fault.rate(window)))
            .sum()
    }
}

/// The grid of rates: even over the logarithm, finer round the peak.
struct Grid<'a> {
    gains: &'a Gains<'a>,
    laws: Vec<Law>,
    places: Vec<(f64, f64)>,
}

impl Grid<'_> {
    fn value(&self, rate: f64) -> f64 {
        over(&self.laws, &self.gains.steady(rate))
    }

    fn add(&mut self, rate: f64) {
        let value = self.value(rate);
        self.places.push((rate, value));
    }

    fn refine(&mut self) {
        let values: Vec<f64> = self.places.iter().map(|p| p.1).collect();
        // Of equal ones the last.
        let top = (0..values.len())
            .max_by(|a, b| values[*a].total_cmp(&values[*b]))
            .expect("a grid has places");
        let blunt = |i: usize| values[top] - values[i] < 0.5;
        let (left, right) = (
            top.checked_sub(1),
            Some(top + 1).filter(|i| *i < values.len()),
        );
        if left.is_none_or(blunt) && right.is_none_or(blunt) {
            return;
        }
        let middle = self.places[top].0;
        let from = left.map_or(middle, |i| self.places[i].0);
        let to = right.map_or(TOP.max(middle), |i| self.places[i].0);
        for (low, high) in [(from, middle), (middle, to)] {
            if high > low {
                self.add(low * (high / low).powf(1.0 / 3.0));
                self.add(low * (high / low).powf(2.0 / 3.0));
            }
        }
        self.places.sort_by(|a, b| a.0.total_cmp(&b.0));
    }

    /// Logarithm of the prior mass of each place, by the trapezoid rule.
    fn masses(&self) -> Vec<f64> {
        let span = (1.0 / FLOOR).ln();
        let logs: Vec<f64> = self.places.iter().map(|p| (p.0 / FLOOR).ln()).collect();
        let last = logs.len() - 1;
        let edge = |i: usize| (logs[i] + logs[i + 1]) / 2.0;
        let width = |i: usize| {
            let from = if i == 0 { 0.0 } else { edge(i - 1) };
            let to = if i == last { span } else { edge(i) };
            (to - from).max(1e-9)
        };
        (0..logs.len())
            .map(|i| ((1.0 - HARD) * width(i) / span).ln())
            .collect()
    }
}

impl Problem {
    /// A fault beside others.
    pub fn fit(&self, cause: usize, others: &[Fault]) -> Fit {
        self.fit_on(&Gains::new(self, cause, others))
    }

    /// The gain of a fault beside others.
    pub fn gain(&self, fault: &Fault, others: &[Fault]) -> f64 {
        Gains::new(self, fault.cause, others).of(fault)
    }

    fn fit_on(&self, gains: &Gains) -> Fit {
        let mut grid = Grid {
            gains,
            laws: laws(self.windows),
            places: Vec::new(),
        };
        for i in 0..12 {
            grid.add(FLOOR * (1.0 / FLOOR).powf(f64::from(i) / 12.0));
        }
        let hard = HARD_RATES.iter();
        let hard = hard.map(|(rate, share)| (*rate, grid.value(*rate), (HARD * share).ln()));
        let hard: Vec<(f64, f64, f64)> = hard.collect();
        grid.refine();
        grid.refine();
        let soft = grid.places.iter().zip(grid.masses());
        let all: Vec<(f64, f64, f64)> = soft
            .map(|((rate, value), mass)| (*rate, *value, mass))
            .chain(hard)
            .collect();
        let peak = all
            .iter()
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .expect("a grid has places");
        let on = if self.windows == 1 {
            vec![1.0]
        } else {
            course(&grid.laws, &gains.steady(peak.0))
        };
        let fault = Fault {
            cause: gains.cause,
            theta: peak.0,
            levels: on
                .iter()
                .map(|p| (p * LEVELS + 0.5).floor() / LEVELS)
                .collect(),
        };
        let restless = (0..RESTLESS_PLACES).map(|i| gains.steady(restless_rate(i)).iter().sum());
        let gain = gains.of(&fault);
        Fit {
            gain,
            telescoped: gain,
            integral: log_sum(all.iter().map(|(_, value, mass)| mass + value)),
            restless: log_sum(restless) + (RESTLESS / RESTLESS_PLACES as f64).ln(),
            fault,
        }
    }
}
