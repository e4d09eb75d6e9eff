//! One fault on the benchmark mesh, probed until the engine names a component: arms in turn, or those
//! that the engine chooses.

use localize::score::{Calm, CountedCase, Row, score_and_choose};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use crate::fault::log_uniform;
use crate::mesh::{self, Arm, Balancer, VANTAGES};
use crate::world::CALM;

/// Posterior from which a component is named.
const SURE: f64 = 0.95;
/// Share of the probes that go to arms at random: a guard against faults that no hypothesis covers.
const EXPLORED: f64 = 0.1;
/// Probes between two judgements: at least so many, and one for this many of those sent. A judgement after
/// each probe would find the same verdict a little sooner at a hundred times the cost.
const BATCH: u32 = 4;
const BATCH_PART: u32 = 33;
/// Probes after which no verdict is waited for.
const MOST: u32 = 60_000;

/// Who chooses the next probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// Nobody: all arms in turn, in random order.
    Uniform,
    /// The engine.
    Chosen,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Probes sent until then.
    pub probes: u32,
    /// The faulty component and no other was named; `None` when none was.
    pub right: Option<bool>,
}

/// Probes one fault of this rate until a component is named; the same for the same seed.
#[must_use]
pub fn ask(rate: f64, seed: u64, asking: Asking) -> Ending {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut site = Site::new(&mut rng, rate);
    let mut turn: Vec<usize> = Vec::new();
    let mut sent = 0;
    let mut wanted: Vec<u32> = Vec::new();
    while sent < MOST {
        let batch = BATCH.max(sent / BATCH_PART);
        let mut chosen = in_turn(&wanted);
        for _ in 0..batch {
            let explored = asking == Asking::Uniform || rng.random_bool(EXPLORED);
            let arm = match chosen.pop().filter(|_| !explored) {
                Some(arm) => arm,
                None => site.next_of(&mut turn, &mut rng),
            };
            site.send(&mut rng, arm);
        }
        sent += batch;
        let next = batch.max(sent / BATCH_PART);
        let next = if asking == Asking::Chosen { next } else { 0 };
        let (scores, counts) = score_and_choose(&site.case, &site.rows, next);
        wanted = counts.probes;
        let mut named = scores.components.iter().filter(|c| c.probability >= SURE);
        if let Some(first) = named.next() {
            return Ending {
                probes: sent,
                right: Some(first.id == site.faulty && named.next().is_none()),
            };
        }
    }
    Ending {
        probes: sent,
        right: None,
    }
}

/// Arms as often as wanted, each once before any twice, the last first.
fn in_turn(wanted: &[u32]) -> Vec<usize> {
    let most = wanted.iter().copied().max().unwrap_or(0);
    let mut arms: Vec<usize> = (0..most)
        .flat_map(|time| (0..wanted.len()).filter(move |arm| wanted[*arm] > time))
        .collect();
    arms.reverse();
    arms
}

struct Site {
    arms: Vec<Arm>,
    /// For each arm the places of its rows in the case.
    rows: Vec<Vec<usize>>,
    /// Rate of failure by component.
    rates: Vec<f64>,
    faulty: u32,
    case: CountedCase,
}

impl Site {
    /// Backgrounds and the noisy vantage point are those of the nominal world.
    fn new(rng: &mut StdRng, rate: f64) -> Self {
        let mesh = mesh::benchmark(Balancer::Pinned);
        let mut rates: Vec<f64> = mesh
            .components
            .iter()
            .map(|_| log_uniform(rng, 1e-5, 5e-4))
            .collect();
        let noisy = rng.random_range(0..VANTAGES as usize);
        rates[noisy] = rng.random_range(0.003..0.01);
        let mut case = CountedCase {
            schema: 1,
            windows: 1,
            components: mesh.components,
            baseline: Vec::new(),
            rows: Vec::new(),
        };
        let mut rows = Vec::new();
        for arm in &mesh.arms {
            let first = case.rows.len();
            case.rows.extend(arm.layers.iter().map(|crosses| Row {
                vantage: arm.vantage,
                crosses: crosses.clone(),
                probes: vec![0],
                failed: vec![0],
            }));
            rows.push((first..case.rows.len()).collect());
        }
        let mut site = Self {
            arms: mesh.arms,
            rows,
            rates,
            faulty: 0,
            case,
        };
        site.case.baseline = site.calm(rng);
        let ids: Vec<u32> = site.case.components.iter().map(|c| c.id).collect();
        // The noisy vantage point's own network fails probes anyway: naming it would be no mistake.
        let others: Vec<u32> = ids.into_iter().filter(|id| *id as usize != noisy).collect();
        site.faulty = others.choose(rng).copied().unwrap_or(0);
        let faulty = &mut site.rates[site.faulty as usize];
        *faulty = 1.0 - (1.0 - *faulty) * (1.0 - rate);
        site
    }

    fn calm(&self, rng: &mut StdRng) -> Vec<Calm> {
        let probes = CALM / u64::from(VANTAGES);
        (0..VANTAGES)
            .map(|vantage| {
                let arms = (0..self.arms.len()).filter(|arm| self.arms[*arm].vantage == vantage);
                let own: Vec<usize> = arms.collect();
                let failed = (0..probes)
                    .filter(|_| {
                        let arm = own[rng.random_range(0..own.len())];
                        self.fails(rng, arm).is_some()
                    })
                    .count() as u64;
                Calm {
                    vantage,
                    probes,
                    failed,
                }
            })
            .collect()
    }

    /// The next arm in turn.
    fn next_of(&self, turn: &mut Vec<usize>, rng: &mut StdRng) -> usize {
        if turn.is_empty() {
            turn.extend(0..self.arms.len());
            turn.shuffle(rng);
        }
        turn.pop().unwrap_or(0)
    }

    fn fails(&self, rng: &mut StdRng, arm: usize) -> Option<usize> {
        let layers = &self.arms[arm].layers;
        layers.iter().position(|paths| {
            let crossed = paths.iter().take(1).flatten();
            crossed
                .map(|id| self.rates[*id as usize])
                .any(|rate| rng.random_bool(rate))
        })
    }

    fn send(&mut self, rng: &mut StdRng, arm: usize) {
        let failed = self.fails(rng, arm);
        let rows = &self.rows[arm];
        let reached = failed.map_or(rows.len(), |layer| layer + 1);
        for row in &rows[..reached] {
            self.case.rows[*row].probes[0] += 1;
        }
        if let Some(layer) = failed {
            self.case.rows[rows[layer]].failed[0] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_arms_come_in_turn() {
        let mut arms = in_turn(&[2, 0, 1]);
        assert_eq!(
            [arms.pop(), arms.pop(), arms.pop()],
            [Some(0), Some(2), Some(0)]
        );
    }

    #[test]
    fn chosen_probes_find_a_lossy_component_sooner() {
        let total = |asking| -> u32 { (1..=5).map(|seed| ask(0.1, seed, asking).probes).sum() };
        let (uniform, chosen) = (total(Asking::Uniform), total(Asking::Chosen));
        assert!(chosen < uniform, "{chosen} against {uniform}");
    }
}
