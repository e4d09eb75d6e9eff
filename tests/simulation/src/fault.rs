//! Faults and the times at which they are on.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};

/// A component that fails probes of its own, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// The component.
    pub id: u32,
    /// Share of the crossing probes that fail while it is on.
    pub rate: f64,
    /// The windows in which it is on.
    pub on: Vec<usize>,
}

/// Shares of the windows in which a fault that comes in bursts is on.
pub const SHARES: [f64; 4] = [0.5, 0.2, 0.1, 0.05];

/// The benchmark's mixture: none to three faulty components among `components`.
pub fn mixture(rng: &mut StdRng, components: u32, windows: usize) -> Vec<Fault> {
    let count = match rng.random::<f64>() {
        x if x < 0.15 => 0,
        x if x < 0.65 => 1,
        x if x < 0.90 => 2,
        _ => 3,
    };
    some(rng, count, components, windows)
}

/// So many faults of the benchmark's rates, on different components.
pub fn some(rng: &mut StdRng, count: usize, components: u32, windows: usize) -> Vec<Fault> {
    let mut ids: Vec<u32> = (0..components).collect();
    let (chosen, _) = ids.partial_shuffle(rng, count);
    let mut faults: Vec<Fault> = chosen
        .iter()
        .map(|&id| Fault {
            id,
            rate: rate(rng),
            on: on(rng, windows),
        })
        .collect();
    faults.sort_by_key(|fault| fault.id);
    faults
}

/// A quarter is hard, the others are spread over three decades.
pub fn rate(rng: &mut StdRng) -> f64 {
    match rng.random::<f64>() {
        x if x < 0.25 => 1.0,
        x if x < 0.55 => rng.random_range(0.2..0.6),
        x if x < 0.85 => log_uniform(rng, 0.01, 0.1),
        _ => log_uniform(rng, 0.005, 0.01),
    }
}

/// A value whose logarithm is uniform between those of two bounds.
pub fn log_uniform(rng: &mut StdRng, low: f64, high: f64) -> f64 {
    rng.random_range(low.ln()..high.ln()).exp()
}

/// Two thirds are on all the time; the rest in bursts, half of them in one stretch.
fn on(rng: &mut StdRng, windows: usize) -> Vec<usize> {
    if rng.random::<f64>() >= 1.0 / 3.0 {
        return (0..windows).collect();
    }
    let share = SHARES.choose(rng).copied().unwrap_or(1.0);
    if rng.random() {
        stretch(rng, windows, share)
    } else {
        scattered(rng, windows, share)
    }
}

/// Windows of a stretch of such a share of all.
pub fn length(windows: usize, share: f64) -> usize {
    (1..=windows)
        .find(|&length| length as f64 >= share * windows as f64)
        .unwrap_or(windows)
}

fn stretch(rng: &mut StdRng, windows: usize, share: f64) -> Vec<usize> {
    let length = length(windows, share);
    let start = rng.random_range(0..=windows - length);
    (start..start + length).collect()
}

/// Every window by itself; at least one, or there would be no fault.
fn scattered(rng: &mut StdRng, windows: usize, share: f64) -> Vec<usize> {
    let on: Vec<usize> = (0..windows).filter(|_| rng.random_bool(share)).collect();
    if on.is_empty() {
        vec![rng.random_range(0..windows)]
    } else {
        on
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_stretch_is_one_and_has_its_length() {
        let mut rng = StdRng::seed_from_u64(1);
        for share in SHARES {
            let on = stretch(&mut rng, 60, share);
            assert_eq!(on.len() as f64, share * 60.0);
            assert!(on.windows(2).all(|pair| pair[1] == pair[0] + 1));
        }
    }

    #[test]
    fn the_mixture_has_the_shares_of_its_definition() {
        let mut rng = StdRng::seed_from_u64(2);
        let cases: Vec<Vec<Fault>> = (0..20_000).map(|_| mixture(&mut rng, 41, 60)).collect();
        let share = |count| {
            let having = cases.iter().filter(|case| case.len() == count).count();
            having as f64 / cases.len() as f64
        };
        for (count, expected) in [0.15, 0.5, 0.25, 0.1].into_iter().enumerate() {
            assert!((share(count) - expected).abs() < 0.015);
        }
        let faults: Vec<&Fault> = cases.iter().flatten().collect();
        let part = |test: fn(&Fault) -> bool| {
            faults.iter().filter(|fault| test(fault)).count() as f64 / faults.len() as f64
        };
        assert!((part(|fault| fault.rate == 1.0) - 0.25).abs() < 0.015);
        assert!((part(|fault| fault.rate < 0.01) - 0.15).abs() < 0.015);
        assert!((part(|fault| fault.on.len() < 60) - 1.0 / 3.0).abs() < 0.015);
    }
}
