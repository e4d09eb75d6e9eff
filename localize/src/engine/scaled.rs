//! Numbers that fit in no 64-bit one: sums over products of many windows, without a logarithm or an
//! exponential for each.

use core::f64::consts::LN_2;

/// A number that is not negative: a mantissa times 2^512 to the power of the steps. The mantissa is zero
/// or lies from [`SMALL`] to [`BIG`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaled {
    mantissa: f64,
    /// A whole number.
    steps: f64,
}

/// Binary digits of a step.
pub(super) const STEP: f64 = 512.0;
/// 2^512 and its inverse.
const UP: f64 = f64::from_bits((1023 + 512) << 52);
pub(super) const DOWN: f64 = f64::from_bits((1023 - 512) << 52);
/// 2^256 and its inverse: the product of two numbers between them is within a step of them.
pub(super) const BIG: f64 = f64::from_bits((1023 + 256) << 52);
const SMALL: f64 = f64::from_bits((1023 - 256) << 52);

impl Scaled {
    pub(super) const ZERO: Self = Self {
        mantissa: 0.0,
        steps: 0.0,
    };

    /// A number from 2^-768 to 2^768, or zero.
    pub(super) fn new(number: f64) -> Self {
        let mut scaled = Self {
            mantissa: number,
            steps: 0.0,
        };
        scaled.keep_in_range();
        scaled
    }

    /// The exponential of a number.
    pub(super) fn exp(log: f64) -> Self {
        let (mantissa, steps) = exp_in_steps(log);
        Self::new(mantissa).raised(steps)
    }

    /// The logarithm; minus infinity for zero.
    pub(super) fn log(self) -> f64 {
        libm::log(self.mantissa) + self.steps * (STEP * LN_2)
    }

    pub(super) fn mantissa(self) -> f64 {
        self.mantissa
    }

    pub(super) fn steps(self) -> f64 {
        self.steps
    }

    pub(super) fn is_zero(self) -> bool {
        self.mantissa == 0.0
    }

    /// Its product with 2^512 to the power of so many steps.
    pub(super) fn raised(self, steps: f64) -> Self {
        Self {
            steps: self.steps + steps,
            ..self
        }
    }

    /// Its product with another.
    pub(super) fn by(self, other: Self) -> Self {
        self.times(other.mantissa).raised(other.steps)
    }

    /// Its product with a number from 2^-512 to 2^512, or zero.
    pub(super) fn times(self, factor: f64) -> Self {
        let mut product = Self {
            mantissa: self.mantissa * factor,
            ..self
        };
        product.keep_in_range();
        product
    }

    pub(super) fn plus(self, other: Self) -> Self {
        let (high, low) = if self.is_zero() || other.steps > self.steps {
            (other, self)
        } else {
            (self, other)
        };
        if high.is_zero() {
            return low;
        }
        let mut sum = Self {
            mantissa: high.mantissa + low.mantissa * power(low.steps - high.steps),
            ..high
        };
        sum.keep_in_range();
        sum
    }

    /// Its share of a whole.
    pub(super) fn over(self, whole: Self) -> f64 {
        self.mantissa / whole.mantissa * power(self.steps - whole.steps)
    }

    /// Brings a mantissa back that is less than a step out of range.
    fn keep_in_range(&mut self) {
        if self.mantissa > BIG {
            self.mantissa *= DOWN;
            self.steps += 1.0;
        } else if self.mantissa < SMALL && self.mantissa > 0.0 {
            self.mantissa *= UP;
            self.steps -= 1.0;
        }
    }
}

/// The exponential of a number: a mantissa from 1 to 2^512, and the steps.
pub(super) fn exp_in_steps(log: f64) -> (f64, f64) {
    let steps = libm::floor(log / (STEP * LN_2));
    (exp_of_moderate(log - steps * (STEP * LN_2)), steps)
}

/// 2^512 to a power of at most one; zero where that is nothing beside a mantissa.
pub(super) fn power(steps: f64) -> f64 {
    match steps {
        1.0 => UP,
        0.0 => 1.0,
        -1.0 => DOWN,
        _ => 0.0,
    }
}

/// The exponential of what is between -700 and 700, to 1e-14 of it, in a form of which a compiler makes
/// vector instructions: 2^k times a Taylor series in what is left (Cody and Waite, 1980).
pub(super) fn exp_of_moderate(x: f64) -> f64 {
    const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN_2_LOW: f64 = 1.908_214_929_270_588e-10;
    /// Adding it rounds to a whole number, which is then in the lowest bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let shifted = x * core::f64::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = x - k * LN_2_HIGH - k * LN_2_LOW;
    let mut series = 1.0 / 39_916_800.0;
    for factor in [
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        series = series * r + factor;
    }
    series * f64::from_bits((shifted.to_bits() << 52).wrapping_add(1.0_f64.to_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_exponential_is_exact_enough() {
        for i in -4000..=6000 {
            let x = f64::from(i) * 0.01 + 0.003;
            let error = exp_of_moderate(x) / libm::exp(x) - 1.0;
            assert!(error.abs() < 1e-14, "{x}: {error}");
        }
    }

    #[test]
    fn sums_and_products_are_those_of_the_exponentials() {
        for (a, b) in [(0.0, 1.0), (-900.0, 900.0), (700.0, 699.0), (5e4, 4.9e4)] {
            let (one, other) = (Scaled::exp(a), Scaled::exp(b));
            let most = f64::max(a, b);
            let sum = most + libm::log1p(libm::exp(f64::min(a, b) - most));
            assert!((one.plus(other).log() - sum).abs() < 1e-11 * sum.abs().max(1.0));
            assert!((one.by(other).log() - (a + b)).abs() < 1e-11 * (a + b).abs().max(1.0));
            let share = libm::exp(a - sum);
            assert!((one.over(one.plus(other)) - share).abs() < 1e-11);
        }
        assert_eq!(Scaled::ZERO.plus(Scaled::exp(-2e3)).log().round(), -2e3);
        assert_eq!(Scaled::exp(-2e3).plus(Scaled::ZERO).log().round(), -2e3);
        assert_eq!(Scaled::ZERO.log(), f64::NEG_INFINITY);
    }
}
