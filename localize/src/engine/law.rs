//! When a fault was on: always, for one stretch of windows, or now and then.
//!
//! Each law is a prior over the sequences of on and off. Given for each window the logarithm of the
//! likelihood ratio of on against off, the sum over all sequences takes one pass along the windows
//! (hidden Markov chain; the windows of "now and then" are independent).

use alloc::vec;
use alloc::vec::Vec;

use super::model::Habit;

/// Prior weights of the laws.
struct Prior {
    always: f64,
    /// For one stretch, and the share of those that are over.
    stretch: f64,
    over: f64,
    /// For one short stretch.
    short: f64,
    /// For now and then, and the shares of the windows that are on then.
    now_and_then: f64,
    duties: &'static [f64],
}

/// A fault, where windows are equal spans of time.
const FAULT: Prior = Prior {
    always: 0.6,
    stretch: 0.2,
    over: 0.4,
    short: 0.0,
    now_and_then: 0.2,
    duties: &[0.5, 0.2, 0.1, 0.05],
};
/// A fault, where windows part the failures from the rest: what comes and goes by chance would look
/// like one that is now on and now off.
const LASTING: Prior = Prior {
    always: 0.65,
    stretch: 0.35,
    over: 0.143,
    short: 0.0,
    now_and_then: 0.0,
    duties: &[],
};
/// What is nobody's fault: more would be a fault of somebody.
const STORM: Prior = Prior {
    always: 0.0,
    stretch: 0.0,
    over: 0.0,
    short: 0.5,
    now_and_then: 0.5,
    duties: &[0.05, 0.02],
};

/// The longest stretch of a storm as a share of all windows, and in windows.
const STORM_SHARE: usize = 10;
const STORM_WINDOWS: usize = 10;

/// Sums over all sequences.
#[derive(Clone, Copy)]
pub(crate) struct Laws {
    prior: &'static Prior,
    windows: usize,
}

/// How the windows of one fault were, given everything.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Course {
    /// Probability of on, by window.
    pub(crate) on: Vec<f64>,
    /// Probability of on at the end.
    pub(crate) present: f64,
}

impl Laws {
    /// For so many windows.
    pub(crate) fn new(habit: Habit, windows: usize) -> Self {
        let prior = match habit {
            Habit::Fault => &FAULT,
            Habit::Lasting => &LASTING,
            Habit::Storm => &STORM,
        };
        Self { prior, windows }
    }

    /// Logarithm of the likelihood ratio of the fault against nothing, over all laws.
    pub(crate) fn log_sum(self, gains: &[f64]) -> f64 {
        if self.windows == 1 {
            return gains[0];
        }
        let ratios: Vec<f64> = gains.iter().map(|gain| exp(gain.min(LARGE))).collect();
        let mut all = LogSum::default();
        let now_and_then = libm::log(self.share_of_duty());
        for duty in self.prior.duties {
            all.add(now_and_then + independent(gains, &ratios, *duty));
        }
        if self.prior.always > 0.0 {
            all.add(libm::log(self.prior.always) + gains.iter().sum::<f64>());
        }
        if self.prior.stretch > 0.0 {
            let stretch = Stretch::new(self.windows, self.prior.over);
            all.add(libm::log(self.prior.stretch) + stretch.log_sum(gains, &ratios));
        }
        if self.prior.short > 0.0 {
            let sum: f64 = short(&ratios).map(|(_, _, product)| product).sum();
            all.add(libm::log(self.prior.short * sum));
        }
        all.value()
    }

    fn share_of_duty(self) -> f64 {
        self.prior.now_and_then / self.prior.duties.len() as f64
    }

    /// How the windows were.
    pub(crate) fn course(self, gains: &[f64]) -> Course {
        let windows = self.windows;
        if windows == 1 {
            return Course {
                on: vec![1.0],
                present: 1.0,
            };
        }
        let total = self.log_sum(gains);
        let ratios: Vec<f64> = gains.iter().map(|gain| exp(gain.min(LARGE))).collect();
        let mut on = vec![0.0; windows];
        let mut present = 0.0;
        for duty in self.prior.duties {
            let log = independent(gains, &ratios, *duty);
            let weight = self.share_of_duty() * libm::exp(log - total);
            let p = |gain: &f64| duty / (duty + (1.0 - duty) * libm::exp(-gain.max(-700.0)));
            present += weight * gains.last().map_or(0.0, p);
            for (sum, gain) in on.iter_mut().zip(gains) {
                *sum += weight * p(gain);
            }
        }
        if self.prior.always > 0.0 {
            let always = self.prior.always * libm::exp(gains.iter().sum::<f64>() - total);
            present += always;
            on.iter_mut().for_each(|sum| *sum += always);
        }
        if self.prior.stretch > 0.0 {
            let stretch = Stretch::new(windows, self.prior.over);
            let posterior = stretch.posterior(gains, &ratios);
            let log = stretch.log_sum(gains, &ratios);
            let weight = self.prior.stretch * libm::exp(log - total);
            present += weight * posterior[windows - 1];
            for (sum, p) in on.iter_mut().zip(posterior) {
                *sum += weight * p;
            }
        }
        if self.prior.short > 0.0 {
            for (from, to, product) in short(&ratios) {
                let weight = self.prior.short * product * libm::exp(-total);
                on[from..to].iter_mut().for_each(|sum| *sum += weight);
            }
        }
        Course {
            on: on.iter().map(|p| p.clamp(0.0, 1.0)).collect(),
            present: present.clamp(0.0, 1.0),
        }
    }
}

/// Every short stretch with its share of the prior times its likelihood ratio.
fn short(ratios: &[f64]) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
    let windows = ratios.len();
    let longest = (windows / STORM_SHARE).clamp(1, STORM_WINDOWS);
    let number = (longest * windows - longest * (longest - 1) / 2) as f64;
    (0..windows).flat_map(move |from| {
        let mut product = 1.0 / number;
        let ends = (from + 1)..=(from + longest).min(windows);
        ends.map(move |to| {
            product *= ratios[to - 1];
            (from, to, product)
        })
    })
}

/// Logarithm of the product over windows of the mean of on and off.
fn independent(gains: &[f64], ratios: &[f64], duty: f64) -> f64 {
    let (mut product, mut logs) = (1.0, 0.0);
    for (gain, ratio) in gains.iter().zip(ratios) {
        product *= 1.0 - duty + duty * ratio;
        if *gain > LARGE {
            logs += gain - LARGE;
        }
        if !(1e-200..1e200).contains(&product) {
            logs += libm::log(product);
            product = 1.0;
        }
    }
    logs + libm::log(product)
}

/// Beyond this a window is on for certain.
const LARGE: f64 = 60.0;

/// The exponential, without its cost where the result is nothing.
fn exp(x: f64) -> f64 {
    if x < -40.0 { 0.0 } else { libm::exp(x) }
}

/// One stretch: the chain of before, on, and over.
struct Stretch {
    /// Prior of each stretch that lasts to the end, and of each one that ends before.
    going_on: f64,
    over: f64,
}

impl Stretch {
    fn new(windows: usize, share_over: f64) -> Self {
        let n = windows as f64;
        Self {
            going_on: (1.0 - share_over) / (n - 1.0),
            over: share_over / (n * (n - 1.0) / 2.0),
        }
    }

    /// Logarithm of the sum over all stretches but that of every window.
    fn log_sum(&self, gains: &[f64], ratios: &[f64]) -> f64 {
        // All stretches that are on in the window, and those that are over, both scaled.
        let (mut open, mut over, mut scale) = (0.0, 0.0, 0.0_f64);
        for (window, (gain, ratio)) in gains.iter().zip(ratios).enumerate() {
            if window > 0 {
                over += open;
            }
            open += exp(-scale);
            if *gain > LARGE || open > 1e100 || over > 1e100 {
                let shift = gain.max(0.0) + libm::log(open.max(1.0));
                open *= libm::exp(gain - shift);
                over *= exp(-shift);
                scale += shift;
            } else {
                open *= ratio;
            }
        }
        let all = exp(gains.iter().sum::<f64>() - scale);
        let sum = self.over * over + self.going_on * (open - all).max(0.0);
        if sum > 0.0 {
            libm::log(sum) + scale
        } else {
            f64::NEG_INFINITY
        }
    }

    /// Probability of on in each window, given that it is one stretch.
    fn posterior(&self, gains: &[f64], ratios: &[f64]) -> Vec<f64> {
        let windows = gains.len();
        let total = self.log_sum(gains, ratios);
        if total == f64::NEG_INFINITY {
            return vec![0.0; windows];
        }
        // Logarithms of the sums over what ends after a window, from the end backwards.
        let mut after = vec![f64::NEG_INFINITY; windows];
        let mut ahead = libm::log(self.going_on);
        for window in (0..windows).rev() {
            after[window] = ahead;
            ahead = add(ahead + gains[window], libm::log(self.over));
        }
        let always = libm::log(self.going_on) + gains.iter().sum::<f64>();
        let mut open = f64::NEG_INFINITY;
        let mut posterior = vec![0.0; windows];
        for window in 0..windows {
            open = add(open, 0.0) + gains[window];
            let p = exp(open + after[window] - total) - exp(always - total);
            posterior[window] = p.clamp(0.0, 1.0);
        }
        posterior
    }
}

/// Logarithm of the sum of two exponentials.
fn add(a: f64, b: f64) -> f64 {
    let most = a.max(b);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + libm::log1p(exp(a.min(b) - most))
}

/// A running logarithm of a sum of exponentials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogSum {
    most: f64,
    sum: f64,
}

impl Default for LogSum {
    fn default() -> Self {
        Self {
            most: f64::NEG_INFINITY,
            sum: 0.0,
        }
    }
}

impl LogSum {
    /// Adds the exponential of a value.
    pub(crate) fn add(&mut self, log: f64) {
        if log == f64::NEG_INFINITY {
            return;
        }
        if log <= self.most {
            self.sum += exp(log - self.most);
        } else {
            self.sum = self.sum * exp(self.most - log) + 1.0;
            self.most = log;
        }
    }

    /// The logarithm of the sum; minus infinity when nothing was added.
    pub(crate) fn value(&self) -> f64 {
        if self.sum > 0.0 {
            self.most + libm::log(self.sum)
        } else {
            f64::NEG_INFINITY
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sequence of on and off of the laws, summed one by one.
    fn by_hand(gains: &[f64]) -> f64 {
        let n = gains.len();
        let all: f64 = gains.iter().sum();
        let mut sum = FAULT.always * libm::exp(all);
        for duty in FAULT.duties {
            let product: f64 = gains
                .iter()
                .map(|g| 1.0 - duty + duty * libm::exp(*g))
                .product();
            sum += FAULT.now_and_then / 4.0 * product;
        }
        for to in 1..=n {
            for from in 0..to {
                let gain: f64 = gains[from..to].iter().sum();
                let prior = match (from, to == n) {
                    (0, true) => 0.0,
                    (_, true) => (1.0 - FAULT.over) / (n - 1) as f64,
                    (_, false) => FAULT.over / (n * (n - 1) / 2) as f64,
                };
                sum += FAULT.stretch * prior * libm::exp(gain);
            }
        }
        libm::log(sum)
    }

    #[test]
    fn one_pass_sums_all_sequences() {
        for gains in [
            vec![0.0; 5],
            vec![1.0, -2.0, 3.0, 0.5],
            vec![-4.0, 12.0, 30.0, -1.0, -1.0, 2.0],
        ] {
            let laws = Laws::new(Habit::Fault, gains.len());
            assert!(
                (laws.log_sum(&gains) - by_hand(&gains)).abs() < 1e-9,
                "{gains:?}"
            );
        }
    }

    #[test]
    fn a_stretch_is_found_where_it_is() {
        let gains = [-6.0, -6.0, 9.0, 9.0, 9.0, -6.0, -6.0, -6.0];
        let course = Laws::new(Habit::Fault, 8).course(&gains);
        for (window, on) in course.on.iter().enumerate() {
            assert_eq!(*on > 0.5, (2..5).contains(&window), "{course:?}");
        }
        let fresh = Laws::new(Habit::Fault, 4).course(&[-6.0, -6.0, 9.0, 9.0]);
        assert!(fresh.present > 0.95, "{fresh:?}");
        let certain = Laws::new(Habit::Fault, 3).course(&[900.0; 3]);
        assert!(
            certain.present > 0.99 && certain.on[1] > 0.99,
            "{certain:?}"
        );
        let over = Laws::new(Habit::Fault, 4).course(&[9.0, 9.0, -9.0, -9.0]);
        assert!(over.present < 0.5, "{over:?}");
    }
}
