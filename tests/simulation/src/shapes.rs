//! Cases of other sizes: small ones that can be solved by trying every set, and one for speed.

use localize::Kind;
use localize::score::{CountedCase, CountedComponent, Row};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::fault::{self, Fault};
use crate::world::{Drawn, Truth};

/// Sizes of a random case.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// What can be at fault.
    pub components: u32,
    /// Rows; each crosses one to five components, sometimes by one of two ways.
    pub rows: usize,
    /// Windows of time.
    pub windows: usize,
    /// Probes of a row in a window, at most.
    pub probes: u32,
}

/// A case of 4 to 12 components and 5 to 40 rows.
#[must_use]
pub fn small(seed: u64) -> Drawn {
    let mut rng = StdRng::seed_from_u64(seed);
    let shape = Shape {
        components: rng.random_range(4..=12),
        rows: rng.random_range(5..=40),
        windows: rng.random_range(1..=12),
        probes: 12,
    };
    random(shape, rng.random_range(0..=2), rng.random())
}

/// 10,000 components crossed by 1,000,000 rows, three of them at fault.
#[must_use]
pub fn big(seed: u64) -> Drawn {
    let shape = Shape {
        components: 10_000,
        rows: 1_000_000,
        windows: 2,
        probes: 6,
    };
    random(shape, 3, seed)
}

/// A case of a given shape with so many faults, that are on all the time or in bursts.
#[must_use]
pub fn random(shape: Shape, faults: usize, seed: u64) -> Drawn {
    let mut rng = StdRng::seed_from_u64(seed);
    let faults = fault::some(&mut rng, faults, shape.components, shape.windows);
    let rates = rates(&mut rng, shape, &faults);
    let rows = (0..shape.rows)
        .map(|_| row(&mut rng, shape, &rates))
        .collect();
    let component = |id| CountedComponent {
        id,
        kind: Kind::Backend,
        name: format!("c{id}"),
    };
    let case = CountedCase {
        schema: 1,
        windows: shape.windows,
        components: (0..shape.components).map(component).collect(),
        baseline: Vec::new(),
        rows,
    };
    let truth = Truth {
        seed,
        faults,
        unmodelled: None,
        calm: Vec::new(),
    };
    Drawn { case, truth }
}

/// Rates of failure by window and component.
fn rates(rng: &mut StdRng, shape: Shape, faults: &[Fault]) -> Vec<Vec<f64>> {
    let background: Vec<f64> = (0..shape.components)
        .map(|_| fault::log_uniform(rng, 1e-5, 5e-4))
        .collect();
    let mut rates = vec![background; shape.windows];
    for fault in faults {
        for &window in &fault.on {
            rates[window][fault.id as usize] = fault.rate;
        }
    }
    rates
}

fn row(rng: &mut StdRng, shape: Shape, rates: &[Vec<f64>]) -> Row {
    let ways = if rng.random_bool(0.2) { 2 } else { 1 };
    let crosses: Vec<Vec<u32>> = (0..ways).map(|_| way(rng, shape.components)).collect();
    let probes: Vec<u32> = rates
        .iter()
        .map(|_| rng.random_range(0..=shape.probes))
        .collect();
    let failed = probes
        .iter()
        .zip(rates)
        .map(|(&probes, rates)| lost(rng, &crosses, probes, rates))
        .collect();
    Row {
        vantage: rng.random_range(0..4),
        crosses,
        probes,
        failed,
    }
}

fn way(rng: &mut StdRng, components: u32) -> Vec<u32> {
    let length = rng.random_range(1..=5.min(components as usize));
    let mut crossed = Vec::with_capacity(length);
    while crossed.len() < length {
        let id = rng.random_range(0..components);
        if !crossed.contains(&id) {
            crossed.push(id);
        }
    }
    crossed.shuffle(rng);
    crossed
}

fn lost(rng: &mut StdRng, crosses: &[Vec<u32>], probes: u32, rates: &[f64]) -> u32 {
    (0..probes)
        .map(|_| {
            let path = &crosses[rng.random_range(0..crosses.len())];
            u32::from(path.iter().any(|&id| rng.random_bool(rates[id as usize])))
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cases_keep_to_their_sizes() {
        for seed in 0..200 {
            let Drawn { case, truth } = small(seed);
            assert!((4..=12).contains(&case.components.len()));
            assert!((5..=40).contains(&case.rows.len()));
            assert!(truth.faults.len() <= 2);
            for row in &case.rows {
                assert_eq!(row.probes.len(), case.windows);
                assert!(
                    row.failed
                        .iter()
                        .zip(&row.probes)
                        .all(|(failed, probes)| failed <= probes)
                );
            }
        }
    }
}
