//! How well a set of faults explains the counts.
//!
//! A probe fails at a stage when any faulty part that it crosses makes it fail there (noisy-OR); which
//! symptom it shows is a mixture of those parts' signatures. Where a proxy hides which backend served,
//! the probe's likelihood is the mixture over the paths it may have taken, and only a success tells
//! which it was. Rates are integrated over a grid, and so is the stretch of time that a fault was on.

use alloc::vec;
use alloc::vec::Vec;

use crate::cells::{Cell, Evidence};
use crate::mode::{Class, MODES, Signatures, View};
use crate::path::PartId;
use crate::symptom::{Stage, Symptom};

/// Rates: geometric from 0.2 % to 98 %. The first `GRID_FRONT` are reached only by attenuation.
const GRID: usize = 22;
const GRID_FRONT: usize = 6;
const GRID_TOP: f64 = 0.98;
const GRID_STEP: f64 = 1.341;

/// Index of "out of rotation" beside the rates: the proxy in front sends nothing there.
const MASKED: usize = GRID;

/// Prior share of hard faults; the others are even over the logarithm of the rate.
const HARD: f64 = 0.25;

/// How the rate of what follows the handshake relates to the rate of lost SYNs, in grid steps: a
/// request is many packets, and TCP mends some losses without anybody noticing.
const DATA_SHIFTS: [isize; 4] = [-5, -2, 0, 2];

/// How a proxy in front changes the rate, in grid steps; `None` is "out of rotation". Retries lower
/// it, uneven balancing raises it.
const PROXY_SHIFTS: [Option<isize>; 4] = [None, Some(-4), Some(0), Some(2)];

/// Prior of a fault that was on during the whole record, that began in it, and that is over.
const ALWAYS: f64 = 0.5;
const BEGAN: f64 = 0.3;
const OVER: f64 = 0.2;

/// Which of a hypothesis's rates governs a crossing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    /// The component itself answers.
    Front,
    /// What follows the handshake, when packets are lost.
    Data,
    /// A proxy stands in between.
    Behind,
}

fn group(mode: usize, view: View, stage: Stage) -> Group {
    if view != View::Direct {
        Group::Behind
    } else if MODES[mode].lossy && matches!(stage, Stage::Tls | Stage::Http) {
        Group::Data
    } else {
        Group::Front
    }
}

/// A part that fails in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hypothesis {
    pub(crate) part: PartId,
    pub(crate) mode: usize,
}

/// A hypothesis with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) hypothesis: Hypothesis,
    /// Place in the grid of the rate that direct probes meet.
    rate: usize,
    data: usize,
    behind: usize,
    /// First window in which the fault is on, and the one after the last.
    pub(crate) from: usize,
    pub(crate) to: usize,
}

impl Fault {
    /// Whether a proxy keeps users away from the component.
    pub(crate) fn masked(&self) -> bool {
        self.behind == MASKED
    }

    fn on(&self, window: usize) -> bool {
        self.from <= window && window < self.to
    }

    fn theta(&self, group: Group) -> f64 {
        rate_at(match group {
            Group::Front => self.rate,
            Group::Data => self.data,
            Group::Behind => self.behind,
        })
    }
}

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

/// The counts with everything that the likelihood needs.
pub(crate) struct Problem<'a> {
    pub(crate) evidence: &'a Evidence,
    signatures: &'a Signatures,
    /// Rate at which probes fail when nothing is at fault.
    background: f64,
    /// For each part the cells that cross it.
    pub(crate) cells_of: Vec<Vec<usize>>,
}

impl<'a> Problem<'a> {
    /// Prepares the evidence for a background rate.
    pub(crate) fn new(evidence: &'a Evidence, signatures: &'a Signatures, background: f64) -> Self {
        let mut cells_of = vec![Vec::new(); evidence.parts.len()];
        for (index, cell) in evidence.cells.iter().enumerate() {
            for crossing in cell.alternatives.iter().flat_map(|a| &a.crossed) {
                let cells: &mut Vec<usize> = &mut cells_of[crossing.part];
                if cells.last() != Some(&index) {
                    cells.push(index);
                }
            }
        }
        Self {
            evidence,
            signatures,
            background,
            cells_of,
        }
    }

    /// Every hypothesis that could explain at least one failure better than chance does.
    pub(crate) fn candidates(&self) -> Vec<Hypothesis> {
        let mut candidates = Vec::new();
        for (part, cells) in self.cells_of.iter().enumerate() {
            for (mode, m) in MODES.iter().enumerate() {
                let hypothesis = Hypothesis { part, mode };
                if m.class == self.evidence.parts[part].class
                    && cells
                        .iter()
                        .any(|c| self.shows(hypothesis, &self.evidence.cells[*c]))
                {
                    candidates.push(hypothesis);
                }
            }
        }
        candidates
    }

    /// Logarithm of the prior odds of a hypothesis against its part being well.
    pub(crate) fn log_prior(&self, hypothesis: Hypothesis) -> f64 {
        let prior = self.evidence.parts[hypothesis.part].prior;
        libm::log(prior / (1.0 - prior)) + libm::log(MODES[hypothesis.mode].share)
    }

    /// Whether a failure in the cell is one that the hypothesis makes.
    pub(crate) fn shows(&self, hypothesis: Hypothesis, cell: &Cell) -> bool {
        cell.tallies
            .iter()
            .filter_map(|t| t.symptom)
            .any(|s| self.explains(hypothesis, cell, s))
    }

    /// Whether a symptom in the cell is one that the hypothesis makes.
    pub(crate) fn explains(&self, hypothesis: Hypothesis, cell: &Cell, symptom: Symptom) -> bool {
        cell.alternatives
            .iter()
            .flat_map(|a| &a.crossed)
            .any(|crossing| {
                crossing.part == hypothesis.part
                    && self
                        .signatures
                        .of(hypothesis.mode, crossing.view, cell.stage)
                        .is_some_and(|d| d[symptom as usize] > 0.04)
            })
    }

    /// Whether the hypothesis would show at the cell's stage at all.
    pub(crate) fn visible(&self, hypothesis: Hypothesis, cell: &Cell) -> bool {
        cell.alternatives
            .iter()
            .flat_map(|a| &a.crossed)
            .any(|crossing| {
                crossing.part == hypothesis.part
                    && self
                        .signatures
                        .of(hypothesis.mode, crossing.view, cell.stage)
                        .is_some()
            })
    }

    /// Fits one hypothesis beside faults that are held fast.
    pub(crate) fn fit(&self, hypothesis: Hypothesis, others: &[Fault]) -> Fit {
        let gains = self.gains(hypothesis, others);
        integrate(hypothesis, &gains, self.evidence.windows)
    }

    /// Logarithm of the likelihood of a set of faults over that of none, in one cell.
    pub(crate) fn cell_gain(&self, cell: &Cell, faults: &[Fault]) -> f64 {
        let mut gain = 0.0;
        for tally in &cell.tallies {
            let calm = libm::log(self.probability(cell, tally.symptom, tally.served_by, &[]));
            let mut known: Vec<(Vec<Fault>, f64)> = Vec::new();
            for (window, count) in tally.counts.iter().enumerate().filter(|(_, c)| **c > 0) {
                let acting: Vec<Fault> = faults.iter().copied().filter(|f| f.on(window)).collect();
                let log = match known.iter().find(|(pattern, _)| *pattern == acting) {
                    Some((_, log)) => *log,
                    None => {
                        let p = self.probability(cell, tally.symptom, tally.served_by, &acting);
                        known.push((acting, libm::log(p)));
                        libm::log(p)
                    }
                };
                gain += f64::from(*count) * (log - calm);
            }
        }
        gain
    }

    /// Logarithm of the likelihood of a set of faults over that of none.
    pub(crate) fn set_gain(&self, faults: &[Fault]) -> f64 {
        let mut cells: Vec<usize> = faults
            .iter()
            .flat_map(|f| self.cells_of[f.hypothesis.part].iter().copied())
            .collect();
        cells.sort_unstable();
        cells.dedup();
        cells
            .iter()
            .map(|c| self.cell_gain(&self.evidence.cells[*c], faults))
            .sum()
    }

    /// Logarithm of the gain of "something that no component explains": every cell with failures has
    /// a rate of its own with a Beta(1/2, 1/2) prior and symptoms at random.
    pub(crate) fn unknown_gain(&self, faults: &[Fault]) -> f64 {
        /// Share of the cells that an unknown cause touches.
        const TOUCHED: f64 = 0.1;
        let mut total = 0.0;
        for cell in &self.evidence.cells {
            let failed = cell.failed() as f64;
            if failed == 0.0 {
                total += libm::log(1.0 - TOUCHED);
                continue;
            }
            let kinds = Symptom::ALL
                .iter()
                .filter(|s| s.seen_at(cell.stage))
                .count() as f64;
            let free = log_beta_binomial(failed, cell.trials() as f64) - failed * libm::log(kinds);
            let modelled = self.cell_gain(cell, faults) + self.calm(cell);
            total += libm::log(1.0 - TOUCHED + TOUCHED * libm::exp((free - modelled).min(500.0)));
        }
        total
    }

    fn calm(&self, cell: &Cell) -> f64 {
        cell.tallies
            .iter()
            .map(|t| {
                t.total() as f64 * libm::log(self.probability(cell, t.symptom, t.served_by, &[]))
            })
            .sum()
    }

    /// Probability of one outcome of a probe of the cell while the given faults are on.
    fn probability(
        &self,
        cell: &Cell,
        symptom: Option<Symptom>,
        served_by: Option<usize>,
        acting: &[Fault],
    ) -> f64 {
        let mut weights = 0.0;
        let mut share = 0.0;
        for alternative in &cell.alternatives {
            let out = acting.iter().any(|fault| {
                fault.masked()
                    && alternative
                        .crossed
                        .iter()
                        .any(|c| c.part == fault.hypothesis.part && c.view != View::Direct)
            });
            if out {
                continue;
            }
            weights += alternative.weight;
            if matches!((served_by, alternative.backend), (Some(a), Some(b)) if a != b) {
                continue;
            }
            share += alternative.weight
                * self.path_probability(cell.stage, alternative, symptom, acting);
        }
        if weights > 0.0 {
            share /= weights;
        } else {
            share = if symptom.is_none() { 1.0 } else { 0.0 };
        }
        let noise: f64 = Symptom::ALL
            .iter()
            .filter(|s| s.seen_at(cell.stage))
            .map(|s| s.background() * self.background)
            .sum();
        let random = symptom.map_or(0.0, |s| s.background() * self.background);
        (share * (1.0 - noise) + random).max(1e-12)
    }

    fn path_probability(
        &self,
        stage: Stage,
        alternative: &crate::path::Alternative,
        symptom: Option<Symptom>,
        acting: &[Fault],
    ) -> f64 {
        let mut survival = 1.0;
        let mut rates = 0.0;
        let mut towards = 0.0;
        for crossing in &alternative.crossed {
            for fault in acting.iter().filter(|f| f.hypothesis.part == crossing.part) {
                let mode = fault.hypothesis.mode;
                let Some(signature) = self.signatures.of(mode, crossing.view, stage) else {
                    continue;
                };
                let theta = fault.theta(group(mode, crossing.view, stage));
                survival *= 1.0 - theta;
                rates += theta;
                towards += theta * symptom.map_or(0.0, |s| signature[s as usize]);
            }
        }
        match symptom {
            None => survival,
            Some(_) if rates > 0.0 => (1.0 - survival) * towards / rates,
            Some(_) => 0.0,
        }
    }

    /// For each group, rate and window the logarithm of what the hypothesis adds.
    fn gains(&self, hypothesis: Hypothesis, others: &[Fault]) -> Gains {
        let windows = self.evidence.windows;
        let mut gains = Gains::new(windows);
        for index in &self.cells_of[hypothesis.part] {
            let cell = &self.evidence.cells[*index];
            let Some(group) = self.group_in(hypothesis, cell) else {
                continue;
            };
            let relevant: Vec<Fault> = others
                .iter()
                .copied()
                .filter(|f| {
                    self.cells_of[f.hypothesis.part]
                        .binary_search(index)
                        .is_ok()
                })
                .collect();
            for tally in &cell.tallies {
                self.tally_gains(hypothesis, cell, group, tally, &relevant, &mut gains);
            }
        }
        gains
    }

    fn tally_gains(
        &self,
        hypothesis: Hypothesis,
        cell: &Cell,
        group: Group,
        tally: &crate::cells::Tally,
        others: &[Fault],
        gains: &mut Gains,
    ) {
        let mut known: Vec<(Vec<Fault>, [f64; GRID + 1])> = Vec::new();
        for (window, count) in tally.counts.iter().enumerate().filter(|(_, c)| **c > 0) {
            let mut acting: Vec<Fault> = others.iter().copied().filter(|f| f.on(window)).collect();
            let position = known.iter().position(|(pattern, _)| *pattern == acting);
            let ratios = match position {
                Some(found) => known[found].1,
                None => {
                    let pattern = acting.clone();
                    let before = self.probability(cell, tally.symptom, tally.served_by, &acting);
                    let mut ratios = [0.0; GRID + 1];
                    for (rate, ratio) in ratios.iter_mut().enumerate() {
                        if rate == MASKED && group != Group::Behind {
                            continue;
                        }
                        acting.push(Fault {
                            hypothesis,
                            rate,
                            data: rate,
                            behind: rate,
                            from: 0,
                            to: usize::MAX,
                        });
                        let after = self.probability(cell, tally.symptom, tally.served_by, &acting);
                        acting.pop();
                        *ratio = libm::log(after / before);
                    }
                    known.push((pattern, ratios));
                    ratios
                }
            };
            gains.add(group, window, f64::from(*count), &ratios);
        }
    }

    /// The group of the hypothesis's crossing in a cell; `None` when it cannot show there.
    fn group_in(&self, hypothesis: Hypothesis, cell: &Cell) -> Option<Group> {
        cell.alternatives
            .iter()
            .flat_map(|a| &a.crossed)
            .find(|c| {
                c.part == hypothesis.part
                    && (self
                        .signatures
                        .of(hypothesis.mode, c.view, cell.stage)
                        .is_some()
                        || c.view != View::Direct)
            })
            .map(|c| group(hypothesis.mode, c.view, cell.stage))
    }

    /// Whether a part is one that verdicts can name.
    pub(crate) fn blamable(&self, part: PartId) -> bool {
        matches!(self.evidence.parts[part].class, Class::Blamable(_))
    }
}

/// Cumulative gains over windows: `by_group[group][rate][window]` is the sum of the windows before.
struct Gains {
    by_group: [Vec<[f64; GRID + 1]>; 3],
}

impl Gains {
    fn new(windows: usize) -> Self {
        let zeros = || vec![[0.0; GRID + 1]; windows];
        Self {
            by_group: [zeros(), zeros(), zeros()],
        }
    }

    fn add(&mut self, group: Group, window: usize, count: f64, ratios: &[f64; GRID + 1]) {
        let row = &mut self.by_group[group as usize][window];
        for (sum, ratio) in row.iter_mut().zip(ratios) {
            *sum += count * ratio;
        }
    }

    /// Sums of the windows `from..to`, by running along `to`.
    fn cumulative(&self, group: Group) -> Vec<[f64; GRID + 1]> {
        let mut running = [0.0; GRID + 1];
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

fn difference(cumulative: &[[f64; GRID + 1]], from: usize, to: usize) -> [f64; GRID + 1] {
    let mut out = cumulative[to];
    for (value, before) in out.iter_mut().zip(&cumulative[from]) {
        *value -= before;
    }
    out
}

/// Sums over rates, attenuations and stretches of time.
fn integrate(hypothesis: Hypothesis, gains: &Gains, windows: usize) -> Fit {
    let front = gains.cumulative(Group::Front);
    let data = gains.cumulative(Group::Data);
    let behind = gains.cumulative(Group::Behind);
    let mut all = LogSum::default();
    let mut present = LogSum::default();
    let mut by_rate = vec![LogSum::default(); GRID];
    let mut best: Option<(f64, Fault)> = None;
    for (from, to, prior) in stretches(windows) {
        let front = difference(&front, from, to);
        let data = difference(&data, from, to);
        let behind = difference(&behind, from, to);
        for rate in GRID_FRONT..GRID {
            let (data_sum, data_best) = attenuate(rate, &data, &DATA_SHIFTS.map(Some));
            let (behind_sum, behind_best) = attenuate(rate, &behind, &PROXY_SHIFTS);
            let log = front[rate] + data_sum + behind_sum + prior + log_rate_prior(rate);
            all.add(log);
            by_rate[rate].add(log);
            if to == windows {
                present.add(log);
            }
            let top = front[rate] + data[data_best] + behind[behind_best];
            if best.as_ref().is_none_or(|(value, _)| top > *value) {
                let fault = Fault {
                    hypothesis,
                    rate,
                    data: data_best,
                    behind: behind_best,
                    from,
                    to,
                };
                best = Some((top, fault));
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

/// Averages over the attenuations; returns the logarithm of the mean and the best one's rate.
fn attenuate(rate: usize, gains: &[f64; GRID + 1], shifts: &[Option<isize>; 4]) -> (f64, usize) {
    let shifted = |shift: &Option<isize>| match shift {
        None => MASKED,
        Some(by) => rate.saturating_add_signed(*by).min(GRID - 1),
    };
    let mut best = shifted(&Some(0));
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for index in shifts.iter().map(shifted) {
        least = least.min(gains[index]);
        if gains[index] > most {
            most = gains[index];
            best = index;
        }
    }
    // Nothing is seen there: the average needs no exponentials.
    if most - least < 1e-12 {
        return (most, shifted(&Some(0)));
    }
    let sum: f64 = shifts
        .iter()
        .map(|shift| libm::exp(gains[shifted(shift)] - most))
        .sum();
    (most + libm::log(sum / shifts.len() as f64), best)
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
    if index == MASKED {
        return 0.0;
    }
    GRID_TOP / libm::pow(GRID_STEP, (GRID - 1 - index) as f64)
}

/// Logarithm of the probability of one particular sequence with `k` failures among `n` under a
/// Beta(1/2, 1/2) rate.
fn log_beta_binomial(k: f64, n: f64) -> f64 {
    libm::lgamma(k + 0.5) + libm::lgamma(n - k + 0.5)
        - libm::lgamma(n + 1.0)
        - 2.0 * libm::lgamma(0.5)
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
