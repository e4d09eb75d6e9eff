//! How soon the scheduled rounds would show a fault.

use crate::course::evalue::RATES;

/// 95 % quantile of the normal distribution.
const Z: f64 = 1.645;

/// Rounds until a detector's evidence has passed `level` (a logarithm) with a probability of 0.95, when
/// rounds strike with `rate` instead of with `calm`; infinite when that is no rise.
///
/// The evidence is a walk with the Kullback-Leibler divergence of the two rates as its mean step, so
/// that it takes about `level / KL` rounds (Lorden 1971, Procedures for reacting to a change in
/// distribution), and here so many more that a bad day is covered.
#[must_use]
pub fn rounds_to_see(calm: f64, rate: f64, level: f64) -> f64 {
    if rate <= calm || calm <= 0.0 {
        return f64::INFINITY;
    }
    let rate = rate.min(0.999);
    let struck = libm::log(rate / calm);
    let passed = libm::log1p(-rate) - libm::log1p(-calm);
    let mean = rate * struck + (1.0 - rate) * passed;
    // Rates that differ by rounding alone.
    if mean <= 0.0 {
        return f64::INFINITY;
    }
    let deviation = (struck - passed) * libm::sqrt(rate * (1.0 - rate));
    // mean·n − Z·deviation·√n = level, solved for √n.
    let spread = Z * deviation;
    let root = (spread + libm::sqrt(spread * spread + 4.0 * mean * level)) / (2.0 * mean);
    (root * root).max(1.0)
}

/// The weight of the rate in the detector's mixture that is nearest to the true one, as nats lost.
pub(crate) fn cost_of_not_knowing() -> f64 {
    let least = RATES.iter().map(|(_, weight)| *weight).fold(1.0, f64::min);
    -libm::log(least)
}

/// The lowest rate in `(0, 1]` that is visible, when every higher one is; `None` when none is.
#[must_use]
pub fn lowest_visible(visible: impl Fn(f64) -> bool) -> Option<f64> {
    if !visible(1.0) {
        return None;
    }
    let (mut low, mut high) = (1e-5_f64, 1.0);
    // Halving the ratio forty times leaves no digit that anybody reads.
    for _ in 0..40 {
        let middle = libm::sqrt(low * high);
        match visible(middle) {
            true => high = middle,
            false => low = middle,
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_follow_the_divergence() {
        // KL(0.02, 0.001) is 0.0411 nats; 16 nats take 389 rounds on average.
        let rounds = rounds_to_see(0.001, 0.02, 16.0);
        assert!(rounds > 389.0 && rounds < 2.5 * 389.0, "{rounds}");
        assert!(rounds_to_see(0.001, 1.0, 16.0) < 5.0);
        assert_eq!(rounds_to_see(0.01, 0.01, 16.0), f64::INFINITY);
        // By a rounding above a rate that many probes make.
        let calm = 0.01;
        let hardly = 1.0 - (1.0 - calm) * 1.0;
        assert!(hardly > calm);
        assert!(rounds_to_see(calm, hardly, 16.0) > 1e9);
    }

    #[test]
    fn the_lowest_rate_is_where_sight_begins() {
        let found = lowest_visible(|rate| rate >= 0.037).unwrap_or(0.0);
        assert!((found - 0.037).abs() < 1e-6, "{found}");
        assert_eq!(lowest_visible(|_| false), None);
    }
}
