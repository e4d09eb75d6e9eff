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

    /// Logarithm of the likelihood ratio of the fault against nothing, over all laws. `ratios` is room
    /// to work in.
    pub(crate) fn log_sum(self, gains: &[f64], ratios: &mut Vec<f64>) -> f64 {
        if self.windows == 1 {
            return gains[0];
        }
        ratios.clear();
        ratios.extend(
            gains
                .iter()
                .map(|gain| exp_of_moderate(gain.clamp(-SMALL, LARGE))),
        );
        let mut all = LogSum::default();
        let now_and_then = libm::log(self.share_of_duty());
        for duties in self.prior.duties.chunks(TOGETHER) {
            let logs = independent(gains, ratios, duties);
            logs.iter()
                .zip(duties)
                .for_each(|(log, _)| all.add(now_and_then + log));
        }
        if self.prior.always > 0.0 {
            all.add(libm::log(self.prior.always) + gains.iter().sum::<f64>());
        }
        if self.prior.stretch > 0.0 {
            let stretch = Stretch::new(self.windows, self.prior.over);
            all.add(libm::log(self.prior.stretch) + stretch.log_sum(gains, ratios));
        }
        if self.prior.short > 0.0 {
            all.add(libm::log(self.prior.short) + log_sum_of_short(gains));
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
        let mut ratios = Vec::new();
        let total = self.log_sum(gains, &mut ratios);
        let mut on = vec![0.0; windows];
        let mut present = 0.0;
        for duties in self.prior.duties.chunks(TOGETHER) {
            let logs = independent(gains, &ratios, duties);
            for (log, duty) in logs.iter().zip(duties) {
                let weight = self.share_of_duty() * libm::exp(log - total);
                if weight < FAINT {
                    continue;
                }
                let p = |ratio: &f64| duty * ratio / (duty * ratio + 1.0 - duty);
                present += weight * ratios.last().map_or(0.0, p);
                for (sum, ratio) in on.iter_mut().zip(&ratios) {
                    *sum += weight * p(ratio);
                }
            }
        }
        if self.prior.always > 0.0 {
            let always = self.prior.always * libm::exp(gains.iter().sum::<f64>() - total);
            present += always;
            on.iter_mut().for_each(|sum| *sum += always);
        }
        if self.prior.stretch > 0.0 {
            let stretch = Stretch::new(windows, self.prior.over);
            let log = stretch.log_sum(gains, &ratios);
            let weight = self.prior.stretch * libm::exp(log - total);
            let posterior = if weight > FAINT {
                stretch.posterior(gains, &ratios)
            } else {
                vec![0.0; windows]
            };
            present += weight * posterior[windows - 1];
            for (sum, p) in on.iter_mut().zip(posterior) {
                *sum += weight * p;
            }
        }
        if self.prior.short > 0.0 {
            let prior = libm::log(self.prior.short / number_of_short(windows) as f64);
            for (from, to, gain) in short(gains) {
                let weight = exp(prior + gain - total);
                on[from..to].iter_mut().for_each(|sum| *sum += weight);
            }
        }
        Course {
            on: on.iter().map(|p| p.clamp(0.0, 1.0)).collect(),
            present: present.clamp(0.0, 1.0),
        }
    }
}

/// Every short stretch with its gain.
fn short(gains: &[f64]) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
    let windows = gains.len();
    let longest = longest_short(windows);
    (0..windows).flat_map(move |from| {
        let mut gain = 0.0;
        let ends = (from + 1)..=(from + longest).min(windows);
        ends.map(move |to| {
            gain += gains[to - 1];
            (from, to, gain)
        })
    })
}

/// Logarithm of the mean over all short stretches of their likelihood ratios.
fn log_sum_of_short(gains: &[f64]) -> f64 {
    let most = short(gains).map(|(_, _, gain)| gain);
    let most = most.fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = short(gains).map(|(_, _, gain)| exp(gain - most)).sum();
    most + libm::log(sum / number_of_short(gains.len()) as f64)
}

fn longest_short(windows: usize) -> usize {
    (windows / STORM_SHARE).clamp(1, STORM_WINDOWS)
}

fn number_of_short(windows: usize) -> usize {
    let longest = longest_short(windows);
    longest * windows - longest * (longest - 1) / 2
}

/// Shares of windows that are reckoned with at once.
const TOGETHER: usize = 4;
/// Windows whose product stays finite, from any product within the bounds.
const FINITE: usize = 4;

/// For each share of windows that are on, logarithm of the product over windows of the mean of on and
/// off.
fn independent(gains: &[f64], ratios: &[f64], duties: &[f64]) -> [f64; TOGETHER] {
    let mut on = [0.0; TOGETHER];
    on.iter_mut().zip(duties).for_each(|(on, duty)| *on = *duty);
    let off = on.map(|duty| 1.0 - duty);
    let beyond: f64 = gains.iter().map(|gain| (gain - LARGE).max(0.0)).sum();
    let (mut products, mut logs) = ([1.0; TOGETHER], [beyond; TOGETHER]);
    for ratios in ratios.chunks(FINITE) {
        for ratio in ratios {
            for ((product, on), off) in products.iter_mut().zip(on).zip(off) {
                *product *= off + on * ratio;
            }
        }
        for (product, log) in products.iter_mut().zip(&mut logs) {
            if !(1e-200..1e200).contains(product) {
                *log += libm::log(*product);
                *product = 1.0;
            }
        }
    }
    for (log, product) in logs.iter_mut().zip(products) {
        *log += libm::log(product);
    }
    logs
}

/// Beyond this a window is on for certain, and under the negative of the other it is off.
const LARGE: f64 = 60.0;
const SMALL: f64 = 40.0;
/// A law that is less probable says nothing of the course.
const FAINT: f64 = 3e-3;

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
        let (mut open, mut over, mut scale) = (0.0_f64, 0.0, 0.0_f64);
        // What a stretch begins with.
        let mut one = 1.0;
        for (gain, ratio) in gains.iter().zip(ratios) {
            over += open;
            open += one;
            if *gain > LARGE || open > 1e100 || over > 1e100 {
                let shift = gain.max(0.0) + libm::log(open.max(1.0));
                open *= libm::exp(gain - shift);
                over *= libm::exp(-shift);
                scale += shift;
                one = libm::exp(-scale);
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
            [vec![-0.1], vec![23.4; 10], vec![-0.1; 5]].concat(),
            vec![-0.2, 170.0, -3.0, 59.0, 190.0, -4.0, -5.0],
        ] {
            let laws = Laws::new(Habit::Fault, gains.len());
            assert!(
                (laws.log_sum(&gains, &mut vec![]) - by_hand(&gains)).abs() < 1e-9,
                "{gains:?}"
            );
        }
    }

    #[test]
    fn a_storm_is_worth_all_that_its_windows_are() {
        let laws = Laws::new(Habit::Storm, 60);
        let mut gains = vec![-1.0; 60];
        gains[30] = 500.0;
        let storm = laws.log_sum(&gains, &mut vec![]);
        assert!((490.0..500.0).contains(&storm), "{storm}");
        let course = laws.course(&gains);
        assert!(course.on[30] > 0.99 && course.on[28] < 0.2, "{course:?}");
    }

    #[test]
    fn the_quick_exponential_is_exact_enough() {
        for i in -4000..=6000 {
            let x = f64::from(i) * 0.01 + 0.003;
            let error = exp_of_moderate(x) / libm::exp(x) - 1.0;
            assert!(error.abs() < 1e-14, "{x}: {error}");
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
