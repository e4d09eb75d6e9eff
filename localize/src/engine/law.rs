//! When a fault was on: always, for one stretch of windows, or now and then.
//!
//! Each law is a prior over the sequences of on and off. Given for each window the logarithm of the
//! likelihood ratio of on against off, the sum over all sequences takes one pass along the windows
//! (hidden Markov chain; the windows of "now and then" are independent).

pub(super) mod abreast;

use alloc::vec;
use alloc::vec::Vec;

use super::model::Habit;
use super::scaled::{BIG, Scaled, exp_in_steps, exp_of_moderate, power};

/// Prior weights of the laws.
struct Prior {
    always: f64,
    /// For one stretch, and the share of those that are over.
    stretch: f64,
    over: f64,
    /// For one short stretch.
    short: f64,
    /// For coming back: a stretch, a pause, another stretch, and so on.
    again: f64,
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
    again: 0.0,
    now_and_then: 0.2,
    duties: &[0.5, 0.2, 0.1, 0.05],
};
/// A fault, where windows part the failures from the rest: what comes and goes by chance would look
/// like one that is now on and now off.
const LASTING: Prior = Prior {
    always: 0.6,
    stretch: 0.32,
    over: 0.143,
    short: 0.0,
    again: 0.08,
    now_and_then: 0.0,
    duties: &[],
};
/// What is nobody's fault: more would be a fault of somebody.
const STORM: Prior = Prior {
    always: 0.0,
    stretch: 0.0,
    over: 0.0,
    short: 0.5,
    again: 0.0,
    now_and_then: 0.5,
    duties: &[0.05, 0.02],
};

/// The longest stretch of a storm as a share of all windows, and in windows.
const STORM_SHARE: usize = 10;
const STORM_WINDOWS: usize = 10;
const _: () = assert!(
    STORM_WINDOWS as f64 * SMALL < 500.0,
    "the ratio of a short stretch is a number"
);

/// Sums over all sequences.
#[derive(Clone, Copy)]
pub(crate) struct Laws {
    prior: &'static Prior,
    stretch: Stretch,
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
        Self {
            prior,
            stretch: Stretch::new(windows, prior.over),
            windows,
        }
    }

    /// Logarithm of the likelihood ratio of the fault against nothing, over all laws. `ratios` is room
    /// to work in.
    pub(crate) fn log_sum(self, gains: &[f64], ratios: &mut Vec<f64>) -> f64 {
        if self.windows == 1 {
            return gains[0];
        }
        self.parts(gains, ratios).total().log()
    }

    /// What each law comes to; fills in the likelihood ratios by window.
    fn parts(self, gains: &[f64], ratios: &mut Vec<f64>) -> Parts {
        let Prior {
            always,
            stretch,
            short,
            again,
            now_and_then,
            duties,
            over: _,
        } = self.prior;
        ratios.clear();
        let clamped = gains.iter().map(|gain| gain.clamp(-SMALL, LARGE));
        ratios.extend(clamped.map(exp_of_moderate));
        let mut parts = Parts::default();
        if *now_and_then > 0.0 {
            let share = now_and_then / duties.len() as f64;
            let products = independent(gains, ratios, duties);
            let pairs = parts.now_and_then.iter_mut().zip(products);
            pairs
                .take(duties.len())
                .for_each(|(part, product)| *part = product.times(share));
        }
        let all = Scaled::exp(sum(gains));
        parts.always = all.times(*always);
        if *stretch > 0.0 {
            let sum = self.stretch.sum(gains, ratios, all);
            parts.stretch = sum.times(*stretch);
        }
        if *again > 0.0 {
            let (sum, _) = Returning::forward(gains);
            parts.again = sum.times(*again);
        }
        if *short > 0.0 {
            let share = short / number_of_short(self.windows) as f64;
            parts.short = sum_of_short(gains, ratios).times(share);
        }
        parts
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
        let parts = self.parts(gains, &mut ratios);
        let total = parts.total();
        let mut on = vec![parts.always.over(total); windows];
        for (part, duty) in parts.now_and_then.iter().zip(self.prior.duties) {
            let weight = part.over(total);
            if weight >= FAINT {
                let p = |ratio: &f64| duty * ratio / (duty * ratio + 1.0 - duty);
                let pairs = on.iter_mut().zip(&ratios);
                pairs.for_each(|(sum, ratio)| *sum += weight * p(ratio));
            }
        }
        let weight = parts.stretch.over(total);
        if weight > FAINT {
            let posterior = self.stretch.posterior(gains, &ratios);
            let pairs = on.iter_mut().zip(posterior);
            pairs.for_each(|(sum, p)| *sum += weight * p);
        }
        let weight = parts.again.over(total);
        if weight > FAINT {
            let pairs = on.iter_mut().zip(Returning::posterior(gains));
            pairs.for_each(|(sum, p)| *sum += weight * p);
        }
        // A short stretch is over, even where it lasts to the end.
        let present = on[windows - 1];
        if self.prior.short > 0.0 {
            let share = self.prior.short / number_of_short(windows) as f64;
            for stretch in short_stretches(gains) {
                let weight = stretch.ratio.times(share).over(total);
                let windows = &mut on[stretch.from..stretch.to];
                windows.iter_mut().for_each(|sum| *sum += weight);
            }
        }
        Course {
            on: on.iter().map(|p| p.clamp(0.0, 1.0)).collect(),
            present: present.clamp(0.0, 1.0),
        }
    }
}

/// For each law its prior times its likelihood ratio.
struct Parts {
    /// By share of windows that are on.
    now_and_then: [Scaled; DUTIES],
    always: Scaled,
    stretch: Scaled,
    again: Scaled,
    short: Scaled,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            now_and_then: [Scaled::ZERO; DUTIES],
            always: Scaled::ZERO,
            stretch: Scaled::ZERO,
            again: Scaled::ZERO,
            short: Scaled::ZERO,
        }
    }
}

impl Parts {
    fn total(&self) -> Scaled {
        let others = self.always.plus(self.stretch).plus(self.short);
        let others = others.plus(self.again);
        self.now_and_then.iter().fold(others, |sum, p| sum.plus(*p))
    }
}

/// A sum in four strands, which need not wait for each other.
pub(super) fn sum(values: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let chunks = values.chunks_exact(sums.len());
    let rest: f64 = chunks.remainder().iter().sum();
    for chunk in chunks {
        let pairs = sums.iter_mut().zip(chunk);
        pairs.for_each(|(sum, value)| *sum += value);
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// A few windows one after the other, with their likelihood ratio.
struct ShortStretch {
    from: usize,
    to: usize,
    ratio: Scaled,
}

/// Every short stretch.
fn short_stretches(gains: &[f64]) -> impl Iterator<Item = ShortStretch> {
    let ratios: Vec<Scaled> = gains.iter().map(|gain| Scaled::exp(*gain)).collect();
    let windows = ratios.len();
    let longest = longest_short(windows);
    let ends = move |from: usize| (from + 1)..=(from + longest).min(windows);
    let all = (0..windows).flat_map(move |from| ends(from).map(move |to| (from, to)));
    let mut ratio = Scaled::ZERO;
    all.map(move |(from, to)| {
        let last = ratios[to - 1];
        ratio = if to == from + 1 { last } else { ratio.by(last) };
        ShortStretch { from, to, ratio }
    })
}

/// The sum over every short stretch of its likelihood ratio.
fn sum_of_short(gains: &[f64], ratios: &[f64]) -> Scaled {
    if gains.iter().any(|gain| gain.abs() > SMALL) {
        return short_stretches(gains).fold(Scaled::ZERO, |sum, short| sum.plus(short.ratio));
    }
    let longest = longest_short(ratios.len());
    let mut sum = 0.0;
    for from in 0..ratios.len() {
        let mut product = 1.0;
        for ratio in ratios[from..].iter().take(longest) {
            product *= ratio;
            sum += product;
        }
    }
    Scaled::new(sum)
}

fn longest_short(windows: usize) -> usize {
    (windows / STORM_SHARE).clamp(1, STORM_WINDOWS)
}

fn number_of_short(windows: usize) -> usize {
    let longest = longest_short(windows);
    longest * windows - longest * (longest - 1) / 2
}

/// Shares of windows that may be on now and then, at most.
const DUTIES: usize = 4;
/// Windows whose product takes a number no further than a step out of range.
const TOGETHER: usize = 4;

/// For each share of windows that are on, the product over windows of the mean of on and off.
fn independent(gains: &[f64], ratios: &[f64], duties: &[f64]) -> [Scaled; DUTIES] {
    let mut on = [0.0; DUTIES];
    on.iter_mut().zip(duties).for_each(|(on, duty)| *on = *duty);
    let off = on.map(|duty| 1.0 - duty);
    let mut products = [Scaled::exp(beyond(gains)); DUTIES];
    for ratios in ratios.chunks(TOGETHER) {
        let mut factors = [1.0; DUTIES];
        for ratio in ratios {
            for ((factor, on), off) in factors.iter_mut().zip(on).zip(off) {
                *factor *= off + on * ratio;
            }
        }
        let pairs = products.iter_mut().zip(factors);
        pairs.for_each(|(product, factor)| *product = product.times(factor));
    }
    products
}

/// What the gains have above what the ratios can hold.
fn beyond(gains: &[f64]) -> f64 {
    let most = gains.iter().fold(LARGE, |most, gain| most.max(*gain));
    if most > LARGE {
        gains.iter().map(|gain| (gain - LARGE).max(0.0)).sum()
    } else {
        0.0
    }
}

/// Beyond this a window is on for certain, and under the negative of the other it is off.
const LARGE: f64 = 60.0;
const SMALL: f64 = 40.0;
/// A law that is less probable says nothing of the course.
const FAINT: f64 = 3e-3;

/// The exponential, without its cost where the result is nothing.
fn exp(x: f64) -> f64 {
    if x < -40.0 { 0.0 } else { libm::exp(x) }
}

/// One stretch: the chain of before, on, and over.
#[derive(Clone, Copy)]
struct Stretch {
    /// Prior of each stretch that lasts to the end.
    going_on: f64,
    /// Prior of each one of a single window that ends before, by how readily it does; each further
    /// window makes it less probable.
    over: [f64; ENDINGS],
}

/// Probability that a stretch ends with a window: about as many stretches are short as long, whatever
/// one calls short.
const ENDING: [f64; ENDINGS] = [0.4, 0.13, 0.04];
const ENDINGS: usize = 3;

impl Stretch {
    fn new(windows: usize, share_over: f64) -> Self {
        let n = windows as f64;
        let over = ENDING.map(|ending| {
            // All that begin somewhere and end before the end.
            let lasting = 1.0 - ending;
            let mass = (n - 1.0) - lasting * (1.0 - libm::pow(lasting, n - 1.0)) / ending;
            share_over / ENDINGS as f64 * ending / mass
        });
        Self {
            going_on: (1.0 - share_over) / (n - 1.0),
            over,
        }
    }

    /// The sum over all stretches but that of every window, which comes to `all`.
    fn sum(&self, gains: &[f64], ratios: &[f64], all: Scaled) -> Scaled {
        // All stretches that are on in the window, and those that are over, in steps of one scale.
        let (mut open, mut over, mut steps) = (0.0_f64, 0.0_f64, 0.0);
        // Those of the open ones that end, by how readily they do.
        let mut ending = [0.0_f64; ENDINGS];
        // What a stretch begins with.
        let mut one = 1.0;
        for (gain, ratio) in gains.iter().zip(ratios) {
            for ((on, prior), end) in ending.iter_mut().zip(self.over).zip(ENDING) {
                over += *on * prior;
                *on = *on * (1.0 - end) + one;
            }
            open += one;
            let mut ratio = *ratio;
            if *gain > LARGE {
                let up;
                (ratio, up) = exp_in_steps(*gain);
                over *= power(-up);
                one *= power(-up);
                steps += up;
            }
            open *= ratio;
            ending.iter_mut().for_each(|on| *on *= ratio);
            if open > BIG || over > BIG {
                open *= power(-1.0);
                ending.iter_mut().for_each(|on| *on *= power(-1.0));
                over *= power(-1.0);
                one *= power(-1.0);
                steps += 1.0;
            }
        }
        self.but_all(over, open, steps, all)
    }

    /// The sum over those that are over and those that last to the end, in steps of one scale, but for
    /// that of every window.
    fn but_all(&self, over: f64, open: f64, steps: f64, all: Scaled) -> Scaled {
        let all = all.mantissa() * power(all.steps() - steps);
        let sum = over + self.going_on * (open - all).max(0.0);
        Scaled::new(sum).raised(steps)
    }

    /// Probability of on in each window, given that it is one stretch.
    fn posterior(&self, gains: &[f64], ratios: &[f64]) -> Vec<f64> {
        let windows = gains.len();
        let all = Scaled::exp(sum(gains));
        let total = self.sum(gains, ratios, all);
        if total.is_zero() {
            return vec![0.0; windows];
        }
        let ratios: Vec<Scaled> = gains.iter().map(|gain| Scaled::exp(*gain)).collect();
        let always = all.times(self.going_on).over(total);
        let mut on = lasting(&ratios, 0.0, self.going_on, 0.0);
        for (over, end) in self.over.into_iter().zip(ENDING) {
            let ending = lasting(&ratios, end, 0.0, over);
            let pairs = on.iter_mut().zip(ending);
            pairs.for_each(|(sum, more)| *sum = sum.plus(more));
        }
        let on = on.into_iter();
        on.map(|sum| (sum.over(total) - always).clamp(0.0, 1.0))
            .collect()
    }
}

/// The chain of what comes back: before, on, and off for now. It has been on at least once.
#[derive(Clone, Copy)]
struct Returning {
    before: Scaled,
    on: Scaled,
    off: Scaled,
}

/// Probability that it begins, ends or comes back with a window; windows part where something changes.
const CHANGES: f64 = 0.15;
/// Probability that it is on from the first window.
const FROM_THE_START: f64 = 0.5;

impl Returning {
    fn first(ratio: Scaled) -> Self {
        Self {
            before: Scaled::new(1.0 - FROM_THE_START),
            on: ratio.times(FROM_THE_START),
            off: Scaled::ZERO,
        }
    }

    fn next(self, ratio: Scaled) -> Self {
        let stays = 1.0 - CHANGES;
        let comes = self.before.plus(self.off).times(CHANGES);
        Self {
            before: self.before.times(stays),
            on: self.on.times(stays).plus(comes).by(ratio),
            off: self.on.times(CHANGES).plus(self.off.times(stays)),
        }
    }

    /// The sum over all courses, and what it comes to up to each window.
    fn forward(gains: &[f64]) -> (Scaled, Vec<Self>) {
        let mut steps: Vec<Self> = Vec::with_capacity(gains.len());
        for gain in gains {
            let ratio = Scaled::exp(*gain);
            let step = match steps.last() {
                None => Self::first(ratio),
                Some(last) => last.next(ratio),
            };
            steps.push(step);
        }
        let sum = steps
            .last()
            .map_or(Scaled::ZERO, |last| last.on.plus(last.off));
        (sum, steps)
    }

    /// Probability of on in each window, given that this is the law.
    fn posterior(gains: &[f64]) -> Vec<f64> {
        let (total, steps) = Self::forward(gains);
        if total.is_zero() {
            return vec![0.0; gains.len()];
        }
        let one = Scaled::new(1.0);
        // What follows a window that is on, and one that is off.
        let (mut after_on, mut after_off) = (one, one);
        let mut on: Vec<f64> = vec![0.0; gains.len()];
        for (window, step) in steps.iter().enumerate().rev() {
            on[window] = step.on.by(after_on).over(total);
            let here = Scaled::exp(gains[window]).by(after_on);
            let stays = 1.0 - CHANGES;
            let from_on = here.times(stays).plus(after_off.times(CHANGES));
            let from_off = here.times(CHANGES).plus(after_off.times(stays));
            (after_on, after_off) = (from_on, from_off);
        }
        on
    }
}

/// By window the sum over the stretches that are on in it, which end with each window with a
/// probability, where what lasts to the end and what ends before has these priors.
fn lasting(ratios: &[Scaled], end: f64, to_the_end: f64, before: f64) -> Vec<Scaled> {
    // The sums over what follows a window, from the end backwards.
    let mut after = vec![Scaled::ZERO; ratios.len()];
    let mut ahead = Scaled::new(to_the_end);
    for (after, ratio) in after.iter_mut().zip(ratios).rev() {
        *after = ahead;
        ahead = ahead.by(*ratio).times(1.0 - end).plus(Scaled::new(before));
    }
    let mut open = Scaled::ZERO;
    let on = ratios.iter().zip(after).map(|(ratio, after)| {
        open = open.times(1.0 - end).plus(Scaled::new(1.0)).by(*ratio);
        open.by(after)
    });
    on.collect()
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
                    (_, false) => {
                        let of = |end: f64| {
                            let each =
                                |length: usize| end * libm::pow(1.0 - end, (length - 1) as f64);
                            let mass: f64 = (1..n).map(|l| (n - l) as f64 * each(l)).sum();
                            each(to - from) / mass
                        };
                        FAULT.over / ENDINGS as f64 * ENDING.map(of).iter().sum::<f64>()
                    }
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
    fn what_comes_back_is_summed_over_all_courses() {
        for gains in [vec![0.3, -1.0, 2.0, 0.5], vec![-4.0, 12.0, -9.0, 30.0, 2.0]] {
            let n = gains.len();
            let (mut sum, mut on) = (0.0, vec![0.0; n]);
            for course in 1_u32..1 << n {
                let is_on = |window: usize| course >> window & 1 == 1;
                let start = if is_on(0) {
                    FROM_THE_START
                } else {
                    1.0 - FROM_THE_START
                };
                let turns = (1..n).filter(|w| is_on(*w) != is_on(w - 1)).count();
                let stays = n - 1 - turns;
                let gain: f64 = (0..n).filter(|w| is_on(*w)).map(|w| gains[w]).sum();
                let weight = start
                    * libm::pow(CHANGES, turns as f64)
                    * libm::pow(1.0 - CHANGES, stays as f64)
                    * libm::exp(gain);
                sum += weight;
                let places = on.iter_mut().enumerate();
                places
                    .filter(|(w, _)| is_on(*w))
                    .for_each(|(_, p)| *p += weight);
            }
            let (total, _) = Returning::forward(&gains);
            assert!((total.log() - libm::log(sum)).abs() < 1e-9, "{gains:?}");
            let found = Returning::posterior(&gains);
            for (found, by_hand) in found.iter().zip(&on) {
                assert!((found - by_hand / sum).abs() < 1e-9, "{gains:?}: {found}");
            }
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
