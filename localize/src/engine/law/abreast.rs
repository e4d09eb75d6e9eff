//! What the laws come to for several rows of gains at once, digit for digit what they come to one by one.
//!
//! The sums of one row wait for each other from window to window. Those of several rows do not, and where
//! nothing depends on a branch a compiler makes vector instructions of them.

use core::array::from_fn;
use core::f64::consts::LN_2;

use super::{CHANGES, ENDING, ENDINGS, FROM_THE_START, Laws, Parts, SMALL, Scaled, Stretch};
use crate::engine::scaled::{BIG, DOWN, STEP, exp_of_moderate};

/// Rows side by side.
pub(in crate::engine) const ABREAST: usize = 4;

/// A number for each row.
pub(in crate::engine) type Lane = [f64; ABREAST];

const ZERO: Lane = [0.0; ABREAST];
const ONE: Lane = [1.0; ABREAST];

impl Laws {
    /// How many rows are summed at once: several under laws that are sums along the windows.
    pub(in crate::engine) fn at_once(&self) -> usize {
        match self.windows > 1 && self.prior.now_and_then <= 0.0 && self.prior.short <= 0.0 {
            true => ABREAST,
            false => 1,
        }
    }

    /// Logarithms of the likelihood ratios of the fault against nothing, given the rows' gains by window.
    pub(in crate::engine) fn log_sums(self, gains: &[Lane]) -> Lane {
        let mut stretches = Stretches::default();
        let mut returns = Returns::default();
        for (window, gains) in gains.iter().enumerate() {
            let ratios = Ratios::of(gains);
            stretches.add(&self.stretch, &ratios);
            returns.add(window == 0, &ratios);
        }
        let totals = totals(gains);
        from_fn(|row| {
            let all = Scaled::exp(totals[row]);
            let stretch = self.stretch.but_all(
                stretches.over[row],
                stretches.open[row],
                stretches.steps[row],
                all,
            );
            let again = Scaled::new(returns.on[row] + returns.off[row]).raised(returns.steps[row]);
            let parts = Parts {
                always: all.times(self.prior.always),
                stretch: stretch.times(self.prior.stretch),
                again: again.times(self.prior.again),
                ..Parts::default()
            };
            parts.total().log()
        })
    }
}

/// The sum of each row, in four strands as that of a single row.
fn totals(gains: &[Lane]) -> Lane {
    let add = |sums: &mut Lane, gains: &Lane| {
        let pairs = sums.iter_mut().zip(gains);
        pairs.for_each(|(sum, gain)| *sum += gain);
    };
    let mut strands = [ZERO; 4];
    let chunks = gains.chunks_exact(strands.len());
    let rest = chunks.remainder();
    for chunk in chunks {
        strands
            .iter_mut()
            .zip(chunk)
            .for_each(|(sums, gains)| add(sums, gains));
    }
    let mut left = ZERO;
    rest.iter().for_each(|gains| add(&mut left, gains));
    let [a, b, c, d] = strands;
    from_fn(|row| (a[row] + b[row]) + (c[row] + d[row]) + left[row])
}

/// Likelihood ratios of a window.
struct Ratios {
    /// Mantissas and steps of 2^512.
    exact: Lane,
    steps: Lane,
    /// The same, but never far under one, in steps that are not negative.
    bounded: Lane,
    up: Lane,
}

impl Ratios {
    fn of(gains: &Lane) -> Self {
        let steps: Lane = from_fn(|row| floor(gains[row] / (STEP * LN_2)));
        let exact: Lane = from_fn(|row| exp_of_moderate(gains[row] - steps[row] * (STEP * LN_2)));
        let low: Lane = from_fn(|row| exp_of_moderate(gains[row].min(0.0).max(-SMALL)));
        Self {
            bounded: from_fn(|row| {
                if gains[row] >= 0.0 {
                    exact[row]
                } else {
                    low[row]
                }
            }),
            up: from_fn(|row| steps[row].max(0.0)),
            exact,
            steps,
        }
    }
}

/// The largest whole number that is not greater, of one that is not large.
fn floor(x: f64) -> f64 {
    /// Adding it rounds to a whole number.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let near = (x + ROUND) - ROUND;
    if near > x { near - 1.0 } else { near }
}

/// 2^512 to the power of so few steps downwards; zero where that is nothing beside a mantissa.
fn down(steps: f64) -> f64 {
    let one = if steps == 1.0 { DOWN } else { 0.0 };
    if steps == 0.0 { 1.0 } else { one }
}

/// A step where a number is too big, else nothing.
fn excess(too_big: bool) -> (f64, f64) {
    if too_big { (DOWN, 1.0) } else { (1.0, 0.0) }
}

/// [`Stretch::sum`] as far as it has come.
struct Stretches {
    over: Lane,
    open: Lane,
    steps: Lane,
    ending: [Lane; ENDINGS],
    one: Lane,
}

impl Default for Stretches {
    fn default() -> Self {
        Self {
            over: ZERO,
            open: ZERO,
            steps: ZERO,
            ending: [ZERO; ENDINGS],
            one: ONE,
        }
    }
}

impl Stretches {
    fn add(&mut self, law: &Stretch, ratios: &Ratios) {
        for ((on, prior), end) in self.ending.iter_mut().zip(law.over).zip(ENDING) {
            for row in 0..ABREAST {
                self.over[row] += on[row] * prior;
                on[row] = (on[row] * (1.0 - end) + self.one[row]) * ratios.bounded[row];
            }
        }
        for row in 0..ABREAST {
            let up = down(ratios.up[row]);
            self.open[row] = (self.open[row] + self.one[row]) * ratios.bounded[row];
            self.over[row] *= up;
            self.one[row] *= up;
            self.steps[row] += ratios.up[row];
        }
        let big: [bool; ABREAST] = from_fn(|row| self.open[row] > BIG || self.over[row] > BIG);
        if big.contains(&true) {
            for row in 0..ABREAST {
                let (scale, steps) = excess(big[row]);
                self.open[row] *= scale;
                self.over[row] *= scale;
                self.one[row] *= scale;
                self.steps[row] += steps;
                self.ending.iter_mut().for_each(|on| on[row] *= scale);
            }
        }
    }
}

/// The chain of what comes back as far as it has come, in steps of one scale: what is too small for it is
/// nothing beside the rest.
struct Returns {
    before: Lane,
    on: Lane,
    off: Lane,
    steps: Lane,
}

impl Default for Returns {
    fn default() -> Self {
        Self {
            before: ZERO,
            on: ZERO,
            off: ZERO,
            steps: ZERO,
        }
    }
}

impl Returns {
    fn add(&mut self, first: bool, ratios: &Ratios) {
        let stays = 1.0 - CHANGES;
        let from: Lane = from_fn(|row| {
            if first {
                FROM_THE_START
            } else {
                self.on[row] * stays + (self.before[row] + self.off[row]) * CHANGES
            }
        });
        for row in 0..ABREAST {
            // Where the ratio is less than one, its steps are downwards.
            let up = down(ratios.up[row]);
            let sunk = down(ratios.up[row] - ratios.steps[row]);
            self.off[row] = (self.on[row] * CHANGES + self.off[row] * stays) * up;
            self.before[row] = match first {
                true => (1.0 - FROM_THE_START) * up,
                false => self.before[row] * stays * up,
            };
            self.on[row] = from[row] * ratios.exact[row] * sunk;
            self.steps[row] += ratios.up[row];
        }
        let big: [bool; ABREAST] = from_fn(|row| self.on[row] > BIG || self.off[row] > BIG);
        if big.contains(&true) {
            for row in 0..ABREAST {
                let (scale, steps) = excess(big[row]);
                self.before[row] *= scale;
                self.on[row] *= scale;
                self.off[row] *= scale;
                self.steps[row] += steps;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::engine::model::Habit;

    #[test]
    fn rows_side_by_side_are_what_each_is_alone() {
        // Gains of all sizes, by a linear congruential generator (Numerical Recipes).
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1_u32 << 24)
        };
        for case in 0..400 {
            let windows = 2 + case % 23;
            let size = [1.0, 30.0, 300.0, 3_000.0][case % 4];
            let gains: Vec<Lane> = (0..windows)
                .map(|_| from_fn(|_| (next() - 0.4) * size * next()))
                .collect();
            let laws = Laws::new(Habit::Lasting, windows);
            let sums = laws.log_sums(&gains);
            for row in 0..ABREAST {
                let own: Vec<f64> = gains.iter().map(|lane| lane[row]).collect();
                assert_eq!(sums[row], laws.log_sum(&own, &mut vec![]), "{own:?}");
            }
        }
    }
}
