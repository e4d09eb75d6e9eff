//! What own networks are blamed for: bursts of their own, and neither storms nor what is usual there.

use localize::Kind;
use localize::score::{CountedCase, score};
use simulation::{Drawn, World, draw, healthy};

const PROBES: u32 = 6_000;

fn is_network(case: &CountedCase, id: u32) -> bool {
    let mut components = case.components.iter();
    components.any(|c| c.id == id && c.kind == Kind::ClientNetwork)
}

/// Own networks that are blamed though nothing is at fault there.
fn wronged(drawn: &Drawn) -> usize {
    let scores = score(&drawn.case);
    let blamed = scores.components.iter().filter(|c| c.probability > 0.5);
    let guilty: Vec<u32> = drawn.truth.ids().collect();
    blamed
        .filter(|c| is_network(&drawn.case, c.id) && !guilty.contains(&c.id))
        .count()
}

#[test]
fn storms_are_nobodys_fault() {
    let cases = (600_000..600_040).map(|seed| draw(World::Storms, PROBES, seed));
    let wronged: usize = cases.map(|drawn| wronged(&drawn)).sum();
    assert!(wronged <= 1, "{wronged} own networks blamed for storms");
}

#[test]
fn a_burst_of_one_own_network_is_its_fault() {
    let (mut found, mut bursts) = (0, 0);
    for drawn in (600_000..600_600).map(|seed| draw(World::Nominal, PROBES, seed)) {
        let clear = |f: &&simulation::Fault| {
            f.on.len() < 30 && f.rate < 0.4 && f.rate * f.on.len() as f64 > 0.5
        };
        let faults = drawn.truth.faults.iter().filter(clear);
        let faults: Vec<u32> = faults
            .map(|f| f.id)
            .filter(|id| is_network(&drawn.case, *id))
            .collect();
        if faults.is_empty() {
            continue;
        }
        let scores = score(&drawn.case);
        bursts += faults.len();
        let blamed = scores.components.iter().filter(|c| c.probability > 0.5);
        found += blamed.filter(|c| faults.contains(&c.id)).count();
    }
    assert!(bursts >= 5, "{bursts} bursts drawn");
    assert!(found * 10 >= bursts * 7, "{found} of {bursts} bursts found");
}

#[test]
fn what_a_network_fails_in_calm_times_is_not_its_fault() {
    let cases = (31_395_400..31_395_430).map(|seed| healthy(12_000, seed));
    let wronged: usize = cases.map(|drawn| wronged(&drawn)).sum();
    assert_eq!(wronged, 0);
}
