//! How a balancer is seen to choose: anew for every request, or the same backend for hours.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::reading::cells::Trial;
use crate::world::path::Alternative;

/// How much more often than by lot a request is served by whom the one before was, in 0 to 1: 0 of a balancer
/// that draws or takes turns, 1 of one that keeps its clients (sticky, by the source's address, an edge's kept
/// connections). 0 where nobody tells who served, 1 where that is told too seldom, or of one alone.
pub(crate) fn stickiness(alternatives: &[Alternative], trials: &[Trial]) -> f64 {
    let mut shares: BTreeMap<usize, f64> = BTreeMap::new();
    for alternative in alternatives {
        if let Some(backend) = alternative.backend {
            *shares.entry(backend).or_default() += alternative.weight;
        }
    }
    let whole: f64 = shares.values().sum();
    let by_lot: f64 = shares.values().map(|s| (s / whole) * (s / whole)).sum();
    let mut served: Vec<(u64, usize)> = trials
        .iter()
        .filter_map(|trial| Some((trial.at, trial.served_by?)))
        .collect();
    if served.is_empty() {
        return 0.0;
    }
    if served.len() < 2 || shares.len() < 2 {
        return 1.0;
    }
    served.sort_by_key(|(at, _)| *at);
    let same = served.windows(2).filter(|two| two[0].1 == two[1].1);
    let same = same.count() as f64 / (served.len() - 1) as f64;
    ((same - by_lot) / (1.0 - by_lot)).clamp(0.0, 1.0)
}

/// How much of what so many probes say of who is out of rotation is said twice, in 0 to 1: of a balancer that
/// keeps its clients they are one choice, and no more evidence than that. In steps, so that cells stay alike.
pub(crate) fn said_twice(stickiness: f64, probes: u64) -> f64 {
    let probes = probes.max(1) as f64;
    let choices = 1.0 + (probes - 1.0) * (1.0 - stickiness);
    1.0 - libm::exp2(libm::round(libm::log2(choices / probes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn ways(weights: &[f64]) -> Vec<Alternative> {
        let way = |(backend, weight): (usize, &f64)| Alternative {
            weight: *weight,
            backend: Some(backend),
            crossed: vec![],
        };
        weights.iter().enumerate().map(way).collect()
    }

    fn served(by: impl IntoIterator<Item = usize>) -> Vec<Trial> {
        let at = |(at, backend)| Trial::plain(at, None).by(backend);
        (0..).zip(by).map(at).collect()
    }

    #[test]
    fn who_takes_turns_keeps_nobody_and_who_hashes_keeps_all() {
        let three = ways(&[0.4, 0.3, 0.3]);
        assert_eq!(stickiness(&three, &served((0..60).map(|n| n % 3))), 0.0);
        assert_eq!(stickiness(&three, &served([1; 60])), 1.0);
        let now_and_then = stickiness(&three, &served((0..60).map(|n| n / 20)));
        assert!((0.9..1.0).contains(&now_and_then), "{now_and_then}");
        // Nothing is known of who told once, or of a single backend.
        assert_eq!(stickiness(&three, &served([2])), 1.0);
        assert_eq!(stickiness(&ways(&[1.0]), &served([0; 60])), 1.0);
        assert_eq!(stickiness(&three, &[Trial::plain(0, None)]), 0.0);
    }

    #[test]
    fn all_of_one_choice_but_the_first_is_said_twice() {
        assert_eq!(said_twice(1.0, 64), 1.0 - 1.0 / 64.0);
        assert_eq!(said_twice(0.0, 64), 0.0);
        assert_eq!(said_twice(1.0, 1), 0.0);
        assert_eq!(said_twice(0.25, 64), 0.0);
    }
}
