//! Sums over what a fault's parameters may be: its rate, what proxies make of it, and when it was on.

use alloc::vec;
use alloc::vec::Vec;

use crate::likelihood::{Fault, Group, Hypothesis};

/// Rates: geometric from 0.2 % to 98 %. The first `GRID_FRONT`, below 3 %, are reached only by
/// attenuation: within minutes a lower rate of loss cannot be told from a noisy network.
pub(crate) const GRID: usize = 22;
const GRID_FRONT: usize = 9;
const GRID_TOP: f64 = 0.98;
const GRID_STEP: f64 = 1.341;

/// Beside the rates: the proxy in front sends nothing there, and: what it sends there comes to no harm.
pub(crate) const MASKED: usize = GRID;
const INERT: usize = GRID + 1;
pub(crate) const PLACES: usize = GRID + 2;

/// Prior share of hard faults; the others are even over the logarithm of the rate.
const HARD: f64 = 0.25;

/// How a rate elsewhere relates to the rate that direct probes meet.
#[derive(Clone, Copy)]
enum Elsewhere {
    /// The proxy in front keeps its clients away from the component.
    OutOfRotation,
    /// Retries, another source address or a cache spare the proxy's clients.
    Spared,
    /// So many grid steps higher.
    Shifted(isize),
}

use Elsewhere::{OutOfRotation, Shifted, Spared};

/// What follows the handshake, when packets are lost: a request is many packets, and TCP mends some
/// losses without anybody noticing.
const DATA: &[Elsewhere] = &[Shifted(-5), Shifted(-2), Shifted(0), Shifted(2)];

/// What a proxy in front makes of a rate, by what is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shelter {
    /// A server that it chooses: it can be out of rotation, and retries can spare some requests, but
    /// what it serves in a client's sight has come to no harm only by chance.
    Chosen,
    /// The same where single packets are lost, of which a request has several.
    ChosenLossy,
    /// Something that it can do without: a cache answers, or another address is used.
    Optional,
}

impl Shelter {
    const fn choices(self) -> &'static [Elsewhere] {
        match self {
            Self::Chosen => &[OutOfRotation, Shifted(-4), Shifted(0), Shifted(1)],
            Self::ChosenLossy => &[OutOfRotation, Shifted(-4), Shifted(0), Shifted(3)],
            Self::Optional => &[OutOfRotation, Spared, Shifted(-4), Shifted(0), Shifted(3)],
        }
    }
}

/// Prior of a fault that was on during the whole record, that began in it, and that is over.
const ALWAYS: f64 = 0.65;
const BEGAN: f64 = 0.3;
const OVER: f64 = 0.05;

/// One hypothesis fitted beside others that are held fast.
#[derive(Clone, Debug)]
pub(crate) struct Fit {
    /// The parameters with the highest likelihood.
    pub(crate) best: Fault,
    /// Logarithm of the likelihood gain at `best`.
    pub(crate) maximum: f64,
    /// Logarithm of the gain, integrated over rates and stretches of time.
    pub(crate) integral: f64,
    /// Share of the integral in which the fault is on at present.
    pub(crate) present: f64,
    /// Posterior over the grid of rates.
    pub(crate) rates: Vec<f64>,
}

/// Cumulative gains over windows: `by_group[group][rate][window]` is the sum of the windows before.
pub(crate) struct Gains {
    by_group: [Vec<[f64; PLACES]>; 3],
}

impl Gains {
    /// No gain anywhere.
    pub(crate) fn new(windows: usize) -> Self {
        let zeros = || vec![[0.0; PLACES]; windows];
        Self {
            by_group: [zeros(), zeros(), zeros()],
        }
    }

    /// Adds a count's gains to a window.
    pub(crate) fn add(&mut self, group: Group, window: usize, count: f64, ratios: &[f64; PLACES]) {
        let row = &mut self.by_group[group as usize][window];
        for (sum, ratio) in row.iter_mut().zip(ratios) {
            *sum += count * ratio;
        }
    }

    /// Sums of the windows `from..to`, by running along `to`.
    fn cumulative(&self, group: Group) -> Vec<[f64; PLACES]> {
        let mut running = [0.0; PLACES];
        let mut out = vec![running];
        for row in &self.by_group[group as usize] {
            for (sum, value) in running.iter_mut().zip(row) {
                *sum += value;
            }
            out.push(running);
        }
        out
    }
}

fn difference(cumulative: &[[f64; PLACES]], from: usize, to: usize) -> [f64; PLACES] {
    let mut out = cumulative[to];
    for (value, before) in out.iter_mut().zip(&cumulative[from]) {
        *value -= before;
    }
    out
}

/// Terms this far under the largest one are left out of the sums, in nats.
const NEGLIGIBLE: f64 = 18.0;

/// Sums over rates, attenuations and stretches of time.
pub(crate) fn sum(hypothesis: Hypothesis, shelter: Shelter, gains: &Gains, windows: usize) -> Fit {
    let proxy = shelter.choices();
    let cumulative = [Group::Front, Group::Data, Group::Behind].map(|g| gains.cumulative(g));
    let log_rate: [f64; GRID] = core::array::from_fn(log_rate_prior);
    let terms = |(from, to, prior): (usize, usize, f64)| {
        let sums = [0, 1, 2].map(|g| difference(&cumulative[g], from, to));
        (from, to, prior, sums)
    };
    let mut best: Option<(f64, Fault)> = None;
    let mut largest = f64::NEG_INFINITY;
    for (from, to, prior, [front, data, behind]) in stretches(windows).into_iter().map(terms) {
        for rate in GRID_FRONT..GRID {
            let at_data = strongest(rate, &data, DATA);
            let at_behind = strongest(rate, &behind, proxy);
            let top = front[rate] + data[at_data] + behind[at_behind];
            largest = largest.max(top + prior + log_rate[rate]);
            if best.as_ref().is_none_or(|(value, _)| top > *value) {
                let fault = Fault {
                    hypothesis,
                    rate,
                    data: at_data,
                    behind: at_behind,
                    from,
                    to,
                };
                best = Some((top, fault));
            }
        }
    }
    let mut all = LogSum::default();
    let mut present = LogSum::default();
    let mut by_rate = vec![LogSum::default(); GRID];
    for (_, to, prior, [front, data, behind]) in stretches(windows).into_iter().map(terms) {
        for rate in GRID_FRONT..GRID {
            let base = front[rate] + prior + log_rate[rate];
            let top =
                base + data[strongest(rate, &data, DATA)] + behind[strongest(rate, &behind, proxy)];
            if top < largest - NEGLIGIBLE {
                continue;
            }
            let log = base + average(rate, &data, DATA) + average(rate, &behind, proxy);
            all.add(log);
            by_rate[rate].add(log);
            if to == windows {
                present.add(log);
            }
        }
    }
    let fallback = Fault {
        hypothesis,
        rate: GRID_FRONT,
        data: 0,
        behind: 0,
        from: 0,
        to: windows,
    };
    let (maximum, best) = best.unwrap_or((0.0, fallback));
    let integral = all.value();
    Fit {
        best,
        maximum,
        integral,
        present: libm::exp(present.value() - integral),
        rates: by_rate
            .iter()
            .map(|sum| libm::exp(sum.value() - integral))
            .collect(),
    }
}

/// Every stretch of windows with the logarithm of its prior.
fn stretches(windows: usize) -> Vec<(usize, usize, f64)> {
    if windows == 1 {
        return vec![(0, 1, 0.0)];
    }
    let began = libm::log(BEGAN / (windows - 1) as f64);
    let over = libm::log(OVER / (windows * (windows - 1) / 2) as f64);
    let mut out = vec![(0, windows, libm::log(ALWAYS))];
    out.extend((1..windows).map(|from| (from, windows, began)));
    for to in 1..windows {
        out.extend((0..to).map(|from| (from, to, over)));
    }
    out
}

fn place(rate: usize, elsewhere: Elsewhere) -> usize {
    match elsewhere {
        OutOfRotation => MASKED,
        Spared => INERT,
        Shifted(steps) => rate.saturating_add_signed(steps).min(GRID - 1),
    }
}

/// The place with the largest gain; that of the rate itself where nothing is seen.
fn strongest(rate: usize, gains: &[f64; PLACES], choices: &[Elsewhere]) -> usize {
    let mut best = place(rate, Shifted(0));
    for choice in choices {
        let here = place(rate, *choice);
        if gains[here] > gains[best] + 1e-12 {
            best = here;
        }
    }
    best
}

/// Logarithm of the mean of the gains' exponentials.
fn average(rate: usize, gains: &[f64; PLACES], choices: &[Elsewhere]) -> f64 {
    let most = gains[strongest(rate, gains, choices)];
    let sum: f64 = choices
        .iter()
        .map(|c| libm::exp(gains[place(rate, *c)] - most))
        .sum();
    most + libm::log(sum / choices.len() as f64)
}

fn log_rate_prior(rate: usize) -> f64 {
    if rate == GRID - 1 {
        libm::log(HARD)
    } else {
        libm::log((1.0 - HARD) / (GRID - GRID_FRONT - 1) as f64)
    }
}

/// The rate at a place of the grid.
pub(crate) fn rate_at(index: usize) -> f64 {
    if index >= GRID {
        return 0.0;
    }
    GRID_TOP / libm::pow(GRID_STEP, (GRID - 1 - index) as f64)
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
            self.sum += libm::exp(log - self.most);
        } else {
            self.sum = self.sum * libm::exp(self.most - log) + 1.0;
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
