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

/// A sum of less is looked at more closely.
const SMALL_SUM: f64 = 1e-70;

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
        let Some((first, others)) = gains.split_first() else {
            return ZERO;
        };
        let ratios = Ratios::of(first);
        let mut stretches = Stretches::begin();
        stretches.add(&self.stretch, &ratios);
        let mut returns = Returns::begin(&ratios);
        for gains in others {
            let ratios = Ratios::of(gains);
            stretches.add(&self.stretch, &ratios);
            returns.add(&ratios);
        }
        let all = Ratios::of(&totals(gains));
        let plain = self.plain_totals(&stretches, &returns, &all);
        from_fn(|row| {
            let scaled = all.up[row] + stretches.steps[row] + returns.steps[row] > 0.0;
            match (SMALL_SUM..BIG).contains(&plain[row]) && !scaled {
                true => libm::log(plain[row]),
                false => self.scaled_total(&stretches, &returns, &all, row),
            }
        })
    }

    /// The likelihood ratios where plain numbers hold them.
    fn plain_totals(&self, stretches: &Stretches, returns: &Returns, all: &Ratios) -> Lane {
        let Stretches { over, open, .. } = stretches;
        let longer = map(open, &all.exact, |open, all| (open - all).max(0.0));
        let stretch = map(over, &longer, |over, longer| {
            over + self.stretch.going_on * longer
        });
        let again = map(&returns.on, &returns.off, |on, off| on + off);
        let sum = map(&all.exact, &stretch, |all, stretch| {
            all * self.prior.always + stretch * self.prior.stretch
        });
        map(&sum, &again, |sum, again| sum + again * self.prior.again)
    }

    /// The logarithm of one row's likelihood ratio.
    fn scaled_total(
        &self,
        stretches: &Stretches,
        returns: &Returns,
        all: &Ratios,
        row: usize,
    ) -> f64 {
        let all = Scaled::exp(all.gains[row]);
        let Stretches {
            over, open, steps, ..
        } = stretches;
        let stretch = self.stretch.but_all(over[row], open[row], steps[row], all);
        let again = Scaled::new(returns.on[row] + returns.off[row]).raised(returns.steps[row]);
        let parts = Parts {
            always: all.times(self.prior.always),
            stretch: stretch.times(self.prior.stretch),
            again: again.times(self.prior.again),
            ..Parts::default()
        };
        parts.total().log()
    }
}

fn map(a: &Lane, b: &Lane, f: impl Fn(f64, f64) -> f64) -> Lane {
    from_fn(|row| f(a[row], b[row]))
}

fn mul(a: &Lane, b: &Lane) -> Lane {
    map(a, b, |a, b| a * b)
}

fn add(a: &Lane, b: &Lane) -> Lane {
    map(a, b, |a, b| a + b)
}

/// The sum of each row, in four strands as that of a single row.
fn totals(gains: &[Lane]) -> Lane {
    let mut strands = [ZERO; 4];
    let chunks = gains.chunks_exact(strands.len());
    let rest = chunks.remainder();
    for chunk in chunks {
        let pairs = strands.iter_mut().zip(chunk);
        pairs.for_each(|(sums, gains)| *sums = add(sums, gains));
    }
    let left = rest.iter().fold(ZERO, |sums, gains| add(&sums, gains));
    let [a, b, c, d] = strands;
    add(&add(&add(&a, &b), &add(&c, &d)), &left)
}

/// Likelihood ratios of a window.
struct Ratios {
    gains: Lane,
    /// In steps of 2^512 where they are above one.
    exact: Lane,
    up: Lane,
    any_up: bool,
    /// The same, but never far under one.
    bounded: Lane,
}

impl Ratios {
    fn of(gains: &Lane) -> Self {
        let steps = gains.map(|gain| floor(gain / (STEP * LN_2)));
        let moderate = map(gains, &steps, |gain, steps| gain - steps * (STEP * LN_2));
        let sunk = steps.map(|steps| down(-steps.min(0.0)));
        let exact = mul(&moderate.map(exp_of_moderate), &sunk);
        let low = gains.map(|gain| exp_of_moderate(gain.clamp(-SMALL, 0.0)));
        let up = steps.map(|steps| steps.max(0.0));
        Self {
            gains: *gains,
            bounded: from_fn(|row| match gains[row] >= 0.0 {
                true => exact[row],
                false => low[row],
            }),
            any_up: up.iter().any(|up| *up > 0.0),
            exact,
            up,
        }
    }

    /// By what numbers shrink that keep to the scale of what the ratios have raised.
    fn shrinking(&self) -> Lane {
        self.up.map(down)
    }
}

/// The largest whole number that is not greater, of one that is not large.
fn floor(x: f64) -> f64 {
    /// Adding it rounds to a whole number.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let near = (x + ROUND) - ROUND;
    near - if near > x { 1.0 } else { 0.0 }
}

/// 2^512 to the power of so few steps downwards; zero where that is nothing beside a mantissa.
fn down(steps: f64) -> f64 {
    let one = if steps == 1.0 { DOWN } else { 0.0 };
    if steps == 0.0 { 1.0 } else { one }
}

/// The rows in which one of two numbers is too big for its scale, as the steps to take and what they come
/// to; none where all are in range.
fn excess(a: &Lane, b: &Lane) -> Option<(Lane, Lane)> {
    let steps = map(a, b, |a, b| if a > BIG || b > BIG { 1.0 } else { 0.0 });
    let any = steps.iter().any(|steps| *steps > 0.0);
    any.then(|| (steps, steps.map(down)))
}

/// [`Stretch::sum`] as far as it has come.
struct Stretches {
    over: Lane,
    open: Lane,
    steps: Lane,
    ending: [Lane; ENDINGS],
    one: Lane,
}

impl Stretches {
    fn begin() -> Self {
        Self {
            over: ZERO,
            open: ZERO,
            steps: ZERO,
            ending: [ZERO; ENDINGS],
            one: ONE,
        }
    }

    fn add(&mut self, law: &Stretch, ratios: &Ratios) {
        for ((on, prior), end) in self.ending.iter_mut().zip(law.over).zip(ENDING) {
            self.over = map(&self.over, on, |over, on| over + on * prior);
            let stay = map(on, &self.one, |on, one| on * (1.0 - end) + one);
            *on = mul(&stay, &ratios.bounded);
        }
        self.open = mul(&add(&self.open, &self.one), &ratios.bounded);
        if ratios.any_up {
            let scale = ratios.shrinking();
            self.over = mul(&self.over, &scale);
            self.one = mul(&self.one, &scale);
            self.steps = add(&self.steps, &ratios.up);
        }
        if let Some((steps, scale)) = excess(&self.open, &self.over) {
            self.steps = add(&self.steps, &steps);
            for number in [&mut self.open, &mut self.over, &mut self.one] {
                *number = mul(number, &scale);
            }
            for on in &mut self.ending {
                *on = mul(on, &scale);
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

impl Returns {
    fn begin(ratios: &Ratios) -> Self {
        let mut returns = Self {
            before: [1.0 - FROM_THE_START; ABREAST],
            on: ratios.exact.map(|ratio| ratio * FROM_THE_START),
            off: ZERO,
            steps: ZERO,
        };
        returns.keep_in_range(ratios);
        returns
    }

    fn add(&mut self, ratios: &Ratios) {
        let stays = 1.0 - CHANGES;
        let comes = map(&self.before, &self.off, |before, off| {
            (before + off) * CHANGES
        });
        let on = map(&self.on, &comes, |on, comes| on * stays + comes);
        self.off = map(&self.on, &self.off, |on, off| on * CHANGES + off * stays);
        self.before = self.before.map(|before| before * stays);
        self.on = mul(&on, &ratios.exact);
        self.keep_in_range(ratios);
    }

    fn keep_in_range(&mut self, ratios: &Ratios) {
        if ratios.any_up {
            let scale = ratios.shrinking();
            self.before = mul(&self.before, &scale);
            self.off = mul(&self.off, &scale);
            self.steps = add(&self.steps, &ratios.up);
        }
        if let Some((steps, scale)) = excess(&self.on, &self.off) {
            self.steps = add(&self.steps, &steps);
            for number in [&mut self.before, &mut self.on, &mut self.off] {
                *number = mul(number, &scale);
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
