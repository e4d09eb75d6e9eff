//! Rates of failure with their uncertainty, and whether one has fallen.

use serde::{Deserialize, Serialize};

use crate::verdict::Rate;

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

/// Whether a fault is mended, from what was seen while it was there and since.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The rate while it was there.
    pub before: Rate,
    /// The rate since.
    pub after: Rate,
    /// Probability of so few failures since, or fewer, with the fault unchanged.
    pub chance: f64,
    /// Evidence against the fault being unchanged, valid however often it is looked at: it exceeds
    /// 20 with a probability of at most 1/20 while the rate is at the low end of `before` or above.
    pub e_value: f64,
    /// Further probes without a failure until `e_value` is 20; zero when it is.
    pub quiet_needed: u64,
}

/// Evidence that is taken for proof: odds of 20 to 1.
const PROOF: f64 = 20.0;

/// Shares of the old rate that may be left, in equal parts: from mended to halved.
const LEFT: [f64; 4] = [0.0, 0.02, 0.15, 0.5];

/// Compares before and after.
///
/// The e-value is a likelihood ratio of lower rates against the low end of the old rate's interval; it
/// is at most one on average for that rate and for every higher one (Ramdas, Grünwald, Vovk, Shafer
/// 2023, Game-Theoretic Statistics and Safe Anytime-Valid Inference, section 2).
#[must_use]
pub fn compare(before: Counts, after: Counts) -> Comparison {
    let rate = jeffreys(before);
    let e_value = libm::exp(log_fallen(rate.low, after));
    Comparison {
        before: rate,
        after: jeffreys(after),
        chance: predictive_tail(before, after),
        quiet_needed: quiet_needed(rate.low, after),
        e_value,
    }
}

/// Logarithm of the evidence that the rate is below `old`.
fn log_fallen(old: f64, after: Counts) -> f64 {
    if old <= 0.0 {
        return 0.0;
    }
    let old = old.min(1.0 - 1e-9);
    let (failed, passed) = (after.failed as f64, (after.of - after.failed) as f64);
    let ratio = |left: f64| {
        let rate = old * left;
        let failures = match after.failed {
            0 => 0.0,
            _ => failed * libm::log(left.max(1e-300)),
        };
        failures + passed * (libm::log1p(-rate) - libm::log1p(-old))
    };
    let logs = LEFT.map(ratio);
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logs.iter().map(|log| libm::exp(log - top)).sum();
    top + libm::log(sum / LEFT.len() as f64)
}

/// Quiet probes that are missing; at most ten times what a clean slate would take.
fn quiet_needed(old: f64, after: Counts) -> u64 {
    let enough = |more: u64| {
        let after = Counts {
            of: after.of + more,
            ..after
        };
        log_fallen(old, after) >= libm::log(PROOF)
    };
    if old <= 0.0 {
        return u64::MAX;
    }
    let (mut low, mut high) = (0, 1);
    while !enough(high) {
        low = high;
        match high.checked_mul(2) {
            Some(double) => high = double,
            None => return u64::MAX,
        }
    }
    if enough(0) {
        return 0;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match enough(middle) {
            true => high = middle,
            false => low = middle,
        }
    }
    high
}

/// Probability of at most `after.failed` failures among `after.of` when the rate is as uncertain as
/// `before` leaves it: the lower tail of a beta-binomial distribution.
fn predictive_tail(before: Counts, after: Counts) -> f64 {
    let (a, b) = shape(before);
    let n = after.of as f64;
    // Beyond the first thousands of terms nothing is small any more; a rate that high is no success.
    let most = after.failed.min(100_000);
    let mut tail = 0.0;
    for k in 0..=most {
        let k = k as f64;
        let log = log_choose(n, k) + log_beta(k + a, n - k + b) - log_beta(a, b);
        tail += libm::exp(log);
    }
    tail.min(1.0)
}

/// Jeffreys' posterior.
fn shape(counts: Counts) -> (f64, f64) {
    let passed = counts.of.saturating_sub(counts.failed);
    (counts.failed as f64 + 0.5, passed as f64 + 0.5)
}

fn log_choose(n: f64, k: f64) -> f64 {
    libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0)
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

    #[test]
    fn a_few_clean_days_prove_nothing_about_a_rare_fault() {
        // Three failures in nine days, then two clean days, at one probe every fifteen seconds.
        let day = 5_760;
        let weak = compare(counts(3, 9 * day), counts(0, 2 * day));
        assert!(
            weak.chance > 0.4 && weak.chance < 0.6 && weak.e_value < 2.0,
            "{weak:?}"
        );
        assert!(weak.quiet_needed > 9 * day, "{weak:?}");
        let strong = compare(counts(200, 1_000), counts(0, 100));
        assert!(
            strong.chance < 1e-6 && strong.e_value > 1e6 && strong.quiet_needed == 0,
            "{strong:?}"
        );
        let same = compare(counts(200, 1_000), counts(40, 200));
        assert!(same.e_value < 1.0 && same.chance > 0.3, "{same:?}");
    }

    #[test]
    fn what_is_needed_is_enough() {
        for (failed, of) in [(2, 100), (20, 1_000), (9, 10), (10, 10)] {
            let first = compare(counts(failed, of), counts(0, 0));
            let then = compare(counts(failed, of), counts(0, first.quiet_needed));
            assert!(then.e_value >= PROOF * 0.999, "{first:?} {then:?}");
        }
    }
}
