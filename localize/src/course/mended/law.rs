//! How an unchanged fault behaves: the laws that fit what it did, and what they expect of it next.
//!
//! The unit is the round, which is struck when one of its probes fails. A fault is on all the time, or
//! comes and goes as a two-state Markov process in continuous time; while it is on it strikes a usual
//! round with some probability. All laws are weighed by how well they fit (a forward filter each), so
//! that a fault which came in bursts is expected to be silent between them.

use alloc::vec::Vec;

use super::Round;
use crate::engine::interval::quantile;

/// Prior weight of a fault that comes and goes: one in three does.
const BURSTS: f64 = 1.0 / 3.0;
/// Mean lengths of its stretches, in seconds: on, and off.
const ON: [f64; 5] = [4.0, 16.0, 64.0, 256.0, 1024.0];
const OFF: [f64; 5] = [16.0, 64.0, 256.0, 1024.0, 4096.0];
/// It is on for this share of the time at least.
const DUTY: f64 = 0.03;
/// Prior weight of a fault that strikes whenever it is on.
const HARD: f64 = 0.25;
/// The probability with which it then does.
const HARD_RATE: f64 = 0.98;
/// Neighbours among the other probabilities of striking; the data are never sharp enough to fall
/// between two for long.
const STEP: f64 = 1.35;
/// The probabilities begin where lower ones would have struck so many rounds with this probability.
const BEYOND: f64 = 1e-3;

/// How long a fault is on and off, as rates of change a second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Dwell {
    ending: f64,
    beginning: f64,
}

impl Dwell {
    const LASTING: Self = Self {
        ending: 0.0,
        beginning: 1.0,
    };

    /// Probabilities of being on after so many seconds, having been on and having been off.
    fn after(self, seconds: f64) -> (f64, f64) {
        let on = self.beginning / (self.beginning + self.ending);
        let kept = libm::exp(-(self.beginning + self.ending) * seconds);
        (on + (1.0 - on) * kept, on * (1.0 - kept))
    }
}

/// One law with its weight, split by the state that the fault is in.
#[derive(Clone, Copy, Debug)]
struct Filter {
    rate: usize,
    dwell: usize,
    on: f64,
    off: f64,
}

/// All laws, weighed by what was seen so far.
#[derive(Clone, Debug)]
pub(super) struct Unchanged {
    calm: f64,
    rates: Vec<f64>,
    dwells: Vec<Dwell>,
    filters: Vec<Filter>,
    at_us: u64,
}

impl Unchanged {
    /// Learns from the rounds of a fault, oldest first; the first one is struck and tells only that the
    /// fault was on then. `calm` is the share of usual rounds that are struck without a fault.
    pub(super) fn learn(rounds: &[Round], calm: f64) -> Self {
        let (first_us, rest) = match rounds {
            [first, rest @ ..] => (first.at_us, rest),
            [] => (0, rounds),
        };
        let rates = rates(rest, calm);
        let dwells = dwells();
        let mut filters = Vec::new();
        for (dwell, law) in dwells.iter().enumerate() {
            let share = match *law == Dwell::LASTING {
                true => 1.0 - BURSTS,
                false => BURSTS / (dwells.len() - 1) as f64,
            };
            for (rate, value) in rates.iter().enumerate() {
                let weight = match *value == HARD_RATE {
                    true => HARD,
                    false => (1.0 - HARD) / (rates.len() - 1).max(1) as f64,
                };
                filters.push(Filter {
                    rate,
                    dwell,
                    on: share * weight,
                    off: 0.0,
                });
            }
        }
        let mut unchanged = Self {
            calm,
            rates,
            dwells,
            filters,
            at_us: first_us,
        };
        for round in rest {
            unchanged.expect(round);
        }
        unchanged
    }

    /// The logarithm of the probability of what the next round saw, which is then taken in.
    pub(super) fn expect(&mut self, round: &Round) -> f64 {
        let seconds = round.at_us.saturating_sub(self.at_us) as f64 / 1e6;
        self.at_us = self.at_us.max(round.at_us);
        let moves: Vec<(f64, f64)> = self.dwells.iter().map(|d| d.after(seconds)).collect();
        let calm = passing(self.calm, round.share);
        let passing: Vec<f64> = self.passing(round.share);
        let seen = |passing: f64| {
            if round.struck() {
                1.0 - passing
            } else {
                passing
            }
        };
        let mut total = 0.0;
        for filter in &mut self.filters {
            let (stays, comes) = moves[filter.dwell];
            let on = filter.on * stays + filter.off * comes;
            let off = filter.on + filter.off - on;
            filter.on = on * seen(calm * passing[filter.rate]);
            filter.off = off * seen(calm);
            total += filter.on + filter.off;
        }
        // What no law allows has some probability all the same.
        let total = total.max(1e-300);
        for filter in &mut self.filters {
            filter.on /= total;
            filter.off /= total;
        }
        libm::log(total)
    }

    /// The instant of the last round taken in, in microseconds of mesh time.
    pub(super) fn now_us(&self) -> u64 {
        self.at_us
    }

    /// The logarithm of what a round would see without the fault.
    pub(super) fn without(&self, round: &Round) -> f64 {
        let passing = passing(self.calm, round.share);
        match round.struck() {
            true => libm::log(1.0 - passing),
            false => libm::log(passing),
        }
    }

    /// The logarithms of the probability of so many quiet usual rounds to come, so many seconds apart,
    /// with the fault and without it.
    pub(super) fn quiet(&self, rounds: u64, seconds: f64) -> (f64, f64) {
        let calm = 1.0 - self.calm;
        let passing = self.passing(1.0);
        let moves: Vec<(f64, f64)> = self.dwells.iter().map(|d| d.after(seconds)).collect();
        let mut total = 0.0;
        for filter in &self.filters {
            let (stays, comes) = moves[filter.dwell];
            let passing = passing[filter.rate];
            let step = [
                [stays * passing, 1.0 - stays],
                [comes * passing, 1.0 - comes],
            ];
            let [[a, b], [c, d]] = power(step, rounds);
            total += filter.on * (a + b) + filter.off * (c + d);
        }
        let without = rounds as f64 * libm::log(calm);
        (without + libm::log(total.max(1e-300)), without)
    }

    /// Probabilities that the fault lets a round pass while it is on, for each rate.
    fn passing(&self, share: f64) -> Vec<f64> {
        self.rates
            .iter()
            .map(|rate| passing(*rate, share))
            .collect()
    }
}

/// The probability that a round passes which is such a share of a usual one.
fn passing(rate: f64, share: f64) -> f64 {
    libm::exp(share.min(1.0) * libm::log1p(-rate))
}

/// The probabilities of striking that are worth a thought, ascending.
fn rates(rounds: &[Round], calm: f64) -> Vec<f64> {
    let struck = rounds.iter().filter(|round| round.struck()).count() as f64;
    let passed = rounds.len() as f64 - struck;
    let lowest = quantile(BEYOND, struck + 0.5, passed + 0.5).max(1.5 * calm);
    let mut rates = Vec::new();
    let mut rate = lowest.max(1e-6);
    while rate < HARD_RATE / libm::sqrt(STEP) {
        rates.push(rate);
        rate *= STEP;
    }
    rates.push(HARD_RATE);
    rates
}

fn dwells() -> Vec<Dwell> {
    let mut dwells = alloc::vec![Dwell::LASTING];
    for on in ON {
        let off = OFF.into_iter().filter(|off| on / (on + off) >= DUTY);
        dwells.extend(off.map(|off| Dwell {
            ending: 1.0 / on,
            beginning: 1.0 / off,
        }));
    }
    dwells
}

type Matrix = [[f64; 2]; 2];

/// By repeated squaring.
fn power(mut base: Matrix, mut exponent: u64) -> Matrix {
    let mut product = [[1.0, 0.0], [0.0, 1.0]];
    while exponent > 0 {
        if exponent & 1 == 1 {
            product = times(product, base);
        }
        base = times(base, base);
        exponent >>= 1;
    }
    product
}

fn times(a: Matrix, b: Matrix) -> Matrix {
    let cell = |i: usize, j: usize| a[i][0] * b[0][j] + a[i][1] * b[1][j];
    [[cell(0, 0), cell(0, 1)], [cell(1, 0), cell(1, 1)]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(second: u64, struck: bool) -> Round {
        Round {
            at_us: second * 1_000_000,
            share: 1.0,
            probes: 4,
            failed: u64::from(struck),
        }
    }

    fn learnt(record: &str) -> Unchanged {
        let rounds: Vec<Round> = record
            .bytes()
            .zip(0..)
            .map(|(mark, second)| round(10 * second, mark == b'x'))
            .collect();
        Unchanged::learn(&rounds, 0.003)
    }

    #[test]
    fn quiet_rounds_ahead_are_as_probable_as_when_they_come() {
        for record in [
            "xxxxxxx",
            "xxxx.....xxx......xx....",
            "x....x...x........x..x...",
        ] {
            let mut unchanged = learnt(record);
            let (ahead, _) = unchanged.quiet(25, 10.0);
            let start = record.len() as u64;
            let came: f64 = (0..25)
                .map(|n| unchanged.expect(&round(10 * (start + n), false)))
                .sum();
            assert!((ahead - came).abs() < 1e-6, "{record}: {ahead} {came}");
        }
    }

    #[test]
    fn probabilities_of_struck_and_quiet_add_up_to_one() {
        let unchanged = learnt("xx..x....x");
        for struck in [0, 1] {
            let next = |struck| libm::exp(unchanged.clone().expect(&round(100, struck)));
            assert!((next(true) + next(false) - 1.0).abs() < 1e-12, "{struck}");
        }
    }

    #[test]
    fn silence_between_bursts_is_expected() {
        // The same number of struck rounds, all over the stretch and in three bursts.
        let scattered = learnt("x.x..x..x.x..x...x..x..x.x..x..x");
        let bursts = learnt("xxxx..........xxxx..........xxxx");
        let (of_scattered, _) = scattered.quiet(12, 10.0);
        let (of_bursts, _) = bursts.quiet(12, 10.0);
        assert!(of_bursts > of_scattered + 0.5, "{of_bursts} {of_scattered}");
    }
}
