//! Rates of failure with their uncertainty.

use serde::{Deserialize, Serialize};

/// A rate with its 95 % credible interval, as shares of one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Posterior mean.
    pub estimate: f64,
    /// 2.5 % quantile.
    pub low: f64,
    /// 97.5 % quantile.
    pub high: f64,
}

/// Trials and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// How many failed.
    pub failed: u64,
    /// Of how many.
    pub of: u64,
}

/// A share with Jeffreys' equal-tailed 95 % interval: quantiles of Beta(failed + ½, passed + ½), with
/// the ends set to 0 and 1 where none and where all failed (Brown, Cai, DasGupta 2001, Interval
/// Estimation for a Binomial Proportion, section 4.3).
#[must_use]
pub fn jeffreys(counts: Counts) -> Rate {
    let (failed, passed) = shape(counts);
    Rate {
        estimate: failed / (failed + passed),
        low: match counts.failed {
            0 => 0.0,
            _ => quantile(0.025, failed, passed),
        },
        high: match counts.of.saturating_sub(counts.failed) {
            0 => 1.0,
            _ => quantile(0.975, failed, passed),
        },
    }
}

/// Jeffreys' posterior.
fn shape(counts: Counts) -> (f64, f64) {
    let passed = counts.of.saturating_sub(counts.failed);
    (counts.failed as f64 + 0.5, passed as f64 + 0.5)
}

fn log_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

/// The value below which a Beta(a, b) variable lies with probability `p`, by bisection.
pub(crate) fn quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    // Sixty halvings are the precision of a double.
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        match cumulative(middle, a, b) < p {
            true => low = middle,
            false => high = middle,
        }
    }
    0.5 * (low + high)
}

/// The regularised incomplete beta function (DLMF 8.17), by its continued fraction (8.17.22) in Lentz's
/// form on the side where it converges fast.
fn cumulative(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = libm::exp(a * libm::log(x) + b * libm::log1p(-x) - log_beta(a, b));
    match x < (a + 1.0) / (a + b + 2.0) {
        true => front * fraction(x, a, b) / a,
        false => 1.0 - front * fraction(1.0 - x, b, a) / b,
    }
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let nonzero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    // It converges within a few times the square root of the larger parameter.
    for m in 1..2_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / nonzero(1.0 + even * d);
        c = nonzero(1.0 + even / c);
        value *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / nonzero(1.0 + odd * d);
        c = nonzero(1.0 + odd / c);
        value *= d * c;
        if (d * c - 1.0).abs() < 1e-13 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(failed: u64, of: u64) -> Counts {
        Counts { failed, of }
    }

    /// Values of R's `qbeta`.
    #[test]
    fn intervals_are_those_of_the_beta_distribution() {
        for (failed, of, low, high) in [
            (0, 10, 0.0, 0.217_198_7),
            (1, 10, 0.011_011_7, 0.381_315_5),
            (5, 10, 0.223_528_7, 0.776_471_3),
            (10, 10, 0.782_801_3, 1.0),
        ] {
            let rate = jeffreys(counts(failed, of));
            assert!((rate.low - low).abs() < 1e-4, "{failed}/{of}: {rate:?}");
            assert!((rate.high - high).abs() < 1e-4, "{failed}/{of}: {rate:?}");
        }
        let many = jeffreys(counts(5_000, 1_000_000));
        assert!(
            (many.low - 0.004_863).abs() < 2e-6 && (many.high - 0.005_140).abs() < 2e-6,
            "{many:?}"
        );
    }
}
