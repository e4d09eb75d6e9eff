//! How well a set of faults explains the counts.
//!
//! A probe fails at a stage when any faulty part that it crosses makes it fail there (noisy-OR); which
//! symptom it shows is a mixture of those parts' signatures. Where a proxy hides which backend served,
//! the probe's likelihood is the mixture over the paths it may have taken, and only a success tells
//! which it was. Rates are integrated over a grid, and so is the stretch of time that a fault was on.

use alloc::vec;
use alloc::vec::Vec;

use crate::cells::{Cell, Evidence};
use crate::integrate::{self, Fit, GRID, Gains, MASKED, PLACES, Shelter, rate_at};
use crate::mode::{Class, MODES, View};
use crate::path::{Crossing, PartId};
use crate::signature::Signatures;
use crate::symptom::{STAGES, Stage, Symptom};
use crate::verdict::Kind;

/// Which of a hypothesis's rates governs a crossing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
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
    pub(crate) rate: usize,
    pub(crate) data: usize,
    pub(crate) behind: usize,
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

    fn acting(&self) -> Acting {
        Acting {
            hypothesis: self.hypothesis,
            theta: [rate_at(self.rate), rate_at(self.data), rate_at(self.behind)],
            masked: self.masked(),
        }
    }
}

/// A fault while it is on: its rate by group.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Acting {
    hypothesis: Hypothesis,
    theta: [f64; 3],
    masked: bool,
}

/// The counts with everything that the likelihood needs.
pub(crate) struct Problem<'a> {
    pub(crate) evidence: &'a Evidence,
    signatures: &'a Signatures,
    /// Rate at which probes fail when nothing is at fault.
    background: f64,
    /// For each part the cells that cross it.
    pub(crate) cells_of: Vec<Vec<usize>>,
    /// Probability that chance alone fails a probe, by stage.
    noise: [f64; Stage::COUNT],
    rates: [f64; GRID],
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
        let mut noise = [0.0; Stage::COUNT];
        for stage in STAGES {
            let seen = Symptom::ALL.iter().filter(|s| s.seen_at(stage));
            noise[stage as usize] = seen.map(|s| s.background() * background).sum();
        }
        let rates = core::array::from_fn(rate_at);
        Self {
            evidence,
            signatures,
            background,
            cells_of,
            noise,
            rates,
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
        integrate::sum(
            hypothesis,
            self.shelter(hypothesis),
            &gains,
            self.evidence.windows,
        )
    }

    /// How proxies in front bear on a hypothesis.
    fn shelter(&self, hypothesis: Hypothesis) -> Shelter {
        let part = &self.evidence.parts[hypothesis.part];
        let Class::Blamable(kind) = part.class else {
            return Shelter::Optional;
        };
        match kind {
            Kind::Backend | Kind::LbBackendPath if MODES[hypothesis.mode].lossy => {
                Shelter::ChosenLossy
            }
            Kind::Backend | Kind::LbBackendPath => Shelter::Chosen,
            // Who loses everything that leaves a host loses what goes to the balancer, too.
            Kind::ReturnPath if part.name.contains('/') => Shelter::ChosenLossy,
            Kind::ReturnPath
            | Kind::ClientNetwork
            | Kind::Resolver
            | Kind::AuthoritativeDns
            | Kind::Cdn
            | Kind::CdnOriginPath
            | Kind::LoadBalancer => Shelter::Optional,
        }
    }

    /// Logarithm of the likelihood of a set of faults over that of none, in one cell.
    pub(crate) fn cell_gain(&self, cell: &Cell, faults: &[Fault]) -> f64 {
        self.tallies_gain(cell, faults, |_| true)
    }

    /// The part of a cell's gain that its failures make.
    pub(crate) fn failure_gain(&self, cell: &Cell, faults: &[Fault]) -> f64 {
        self.tallies_gain(cell, faults, |tally| tally.symptom.is_some())
    }

    fn tallies_gain(
        &self,
        cell: &Cell,
        faults: &[Fault],
        counts: impl Fn(&crate::cells::Tally) -> bool,
    ) -> f64 {
        let mut gain = 0.0;
        for tally in cell.tallies.iter().filter(|t| counts(t)) {
            let calm = libm::log(self.probability(cell, tally.symptom, tally.served_by, &[]));
            let mut known: Vec<(Vec<Acting>, f64)> = Vec::new();
            for (window, count) in tally.counts.iter().enumerate().filter(|(_, c)| **c > 0) {
                let acting: Vec<Acting> = faults
                    .iter()
                    .filter(|f| f.on(window))
                    .map(Fault::acting)
                    .collect();
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
        const TOUCHED: f64 = 0.05;
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
            let free = log_beta_binomial(failed, cell.trials() as f64) - failed * libm::log(kinds)
                + served_share(cell);
            let modelled = self.cell_gain(cell, faults) + self.calm(cell);
            total += libm::log(1.0 - TOUCHED + TOUCHED * libm::exp((free - modelled).min(500.0)));
        }
        total
    }

    /// Logarithm of the probability of everything that was seen if nothing were at fault.
    pub(crate) fn calm_total(&self) -> f64 {
        self.evidence.cells.iter().map(|cell| self.calm(cell)).sum()
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
        acting: &[Acting],
    ) -> f64 {
        let masks = acting.iter().any(|a| a.masked);
        let mut share = self.mixture(cell, symptom, served_by, acting, masks);
        if share.is_none() {
            // Everything is out of rotation: then something is served in spite of it.
            share = self.mixture(cell, symptom, served_by, acting, false);
        }
        let share = share.unwrap_or(0.0);
        let noise = self.noise[cell.stage as usize];
        let random = symptom.map_or(0.0, |s| s.background() * self.background);
        (share * (1.0 - noise) + random).max(1e-12)
    }

    /// The mean over the paths that a probe may take; `None` when none is in rotation.
    fn mixture(
        &self,
        cell: &Cell,
        symptom: Option<Symptom>,
        served_by: Option<usize>,
        acting: &[Acting],
        masks: bool,
    ) -> Option<f64> {
        let mut weights = 0.0;
        let mut share = 0.0;
        for alternative in &cell.alternatives {
            let out = masks
                && alternative.crossed.iter().any(|c| {
                    c.view != View::Direct
                        && acting
                            .iter()
                            .any(|a| a.masked && a.hypothesis.part == c.part)
                });
            if out {
                continue;
            }
            let weight = alternative.weight * self.got_here(cell, alternative, acting);
            weights += weight;
            if matches!((served_by, alternative.backend), (Some(a), Some(b)) if a != b) {
                continue;
            }
            let path = self.path_probability(cell.stage, alternative, symptom, acting);
            share += weight * path;
        }
        (weights > 0.0).then(|| share / weights)
    }

    /// Share of the probes of a path that passed the stages before the cell's: where the connection
    /// itself is forwarded, a backend that refuses it never gets to see a request.
    fn got_here(
        &self,
        cell: &Cell,
        alternative: &crate::path::Alternative,
        acting: &[Acting],
    ) -> f64 {
        if cell.alternatives.len() == 1 {
            return 1.0;
        }
        let before: &[Stage] = match cell.stage {
            Stage::Http => &[Stage::Tcp, Stage::Tls],
            Stage::Tls => &[Stage::Tcp],
            Stage::Dns | Stage::Tcp | Stage::Arrive | Stage::Answer | Stage::Return => &[],
        };
        before
            .iter()
            .map(|stage| self.path_probability(*stage, alternative, None, acting))
            .product()
    }

    /// Along one path the first part that fails decides what is seen.
    fn path_probability(
        &self,
        stage: Stage,
        alternative: &crate::path::Alternative,
        symptom: Option<Symptom>,
        acting: &[Acting],
    ) -> f64 {
        let mut survival = 1.0;
        let mut towards = 0.0;
        for crossing in &alternative.crossed {
            for fault in acting.iter().filter(|f| f.hypothesis.part == crossing.part) {
                let mode = fault.hypothesis.mode;
                let Some(signature) = self.signatures.of(mode, crossing.view, stage) else {
                    continue;
                };
                let theta = fault.theta[group(mode, crossing.view, stage) as usize];
                towards += survival * theta * symptom.map_or(0.0, |s| signature[s as usize]);
                survival *= 1.0 - theta;
            }
        }
        if symptom.is_none() { survival } else { towards }
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
        let mut known: Vec<(Vec<Acting>, [f64; PLACES])> = Vec::new();
        for (window, count) in tally.counts.iter().enumerate().filter(|(_, c)| **c > 0) {
            let acting: Vec<Acting> = others
                .iter()
                .filter(|f| f.on(window))
                .map(Fault::acting)
                .collect();
            let position = known.iter().position(|(pattern, _)| *pattern == acting);
            let position = position.unwrap_or_else(|| {
                let ratios = self.ratios(hypothesis, cell, group, tally, &acting);
                known.push((acting, ratios));
                known.len() - 1
            });
            gains.add(group, window, f64::from(*count), &known[position].1);
        }
    }

    /// By how much the hypothesis raises the logarithm of a tally's probability, for each rate. The
    /// probability is linear in the rate, so that both ends tell everything in between.
    fn ratios(
        &self,
        hypothesis: Hypothesis,
        cell: &Cell,
        group: Group,
        tally: &crate::cells::Tally,
        others: &[Acting],
    ) -> [f64; PLACES] {
        let before = self.probability(cell, tally.symptom, tally.served_by, others);
        let mut acting = others.to_vec();
        acting.push(Acting {
            hypothesis,
            theta: [1.0; 3],
            masked: false,
        });
        let hard = self.probability(cell, tally.symptom, tally.served_by, &acting);
        let mut ratios = [0.0; PLACES];
        if self.sorted_out(hypothesis, cell) {
            for (index, ratio) in ratios.iter_mut().take(GRID).enumerate() {
                acting.pop();
                acting.push(Acting {
                    hypothesis,
                    theta: [self.rates[index]; 3],
                    masked: false,
                });
                let after = self.probability(cell, tally.symptom, tally.served_by, &acting);
                *ratio = libm::log(after / before);
            }
        } else if (hard - before).abs() > 1e-15 {
            for (index, ratio) in ratios.iter_mut().take(GRID).enumerate() {
                let theta = self.rates[index];
                *ratio = libm::log((1.0 - theta) + theta * hard / before);
            }
        }
        if group == Group::Behind {
            acting.pop();
            acting.push(Acting {
                hypothesis,
                theta: [0.0; 3],
                masked: true,
            });
            let masked = self.probability(cell, tally.symptom, tally.served_by, &acting);
            ratios[MASKED] = libm::log(masked / before);
        }
        ratios
    }

    /// Whether the hypothesis, at an earlier stage, decides which of the paths lead to this cell.
    fn sorted_out(&self, hypothesis: Hypothesis, cell: &Cell) -> bool {
        let earlier = |crossing: &Crossing| {
            [Stage::Tcp, Stage::Tls].iter().any(|stage| {
                *stage < cell.stage
                    && self
                        .signatures
                        .of(hypothesis.mode, crossing.view, *stage)
                        .is_some()
            })
        };
        matches!(cell.stage, Stage::Tls | Stage::Http)
            && cell.alternatives.len() > 1
            && crossings(cell).any(|c| c.part == hypothesis.part && earlier(c))
    }

    /// The group of the hypothesis's crossing in a cell; `None` when it cannot show there.
    fn group_in(&self, hypothesis: Hypothesis, cell: &Cell) -> Option<Group> {
        let crossing = crossings(cell).find(|c| c.part == hypothesis.part)?;
        if self
            .signatures
            .of(hypothesis.mode, crossing.view, cell.stage)
            .is_some()
            || crossing.view != View::Direct
        {
            return Some(group(hypothesis.mode, crossing.view, cell.stage));
        }
        self.sorted_out(hypothesis, cell).then_some(Group::Front)
    }

    /// Whether a part is one that verdicts can name.
    pub(crate) fn blamable(&self, part: PartId) -> bool {
        matches!(self.evidence.parts[part].class, Class::Blamable(_))
    }
}

/// Every crossing of every path of a cell.
fn crossings(cell: &Cell) -> impl Iterator<Item = &Crossing> {
    cell.alternatives.iter().flat_map(|a| &a.crossed)
}

/// Logarithm of the probability of one particular sequence with `k` failures among `n` under a
/// Beta(1/2, 1/2) rate.
fn log_beta_binomial(k: f64, n: f64) -> f64 {
    libm::lgamma(k + 0.5) + libm::lgamma(n - k + 0.5)
        - libm::lgamma(n + 1.0)
        - 2.0 * libm::lgamma(0.5)
}

/// Logarithm of the probability of who served, where answers told, at even balancing.
fn served_share(cell: &Cell) -> f64 {
    let told = cell
        .tallies
        .iter()
        .filter_map(|t| Some((t.served_by?, t.total() as f64)));
    told.map(|(backend, count)| {
        let share: f64 = cell
            .alternatives
            .iter()
            .filter(|a| a.backend.is_none_or(|b| b == backend))
            .map(|a| a.weight)
            .sum();
        count * libm::log(share.max(1e-6))
    })
    .sum()
}
