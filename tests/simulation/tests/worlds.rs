//! What own networks are not blamed for: storms, and what is usual there.

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
    let cases = (600_000..600_020).map(|seed| draw(World::Storms, PROBES, seed));
    let wronged: usize = cases.map(|drawn| wronged(&drawn)).sum();
    assert!(wronged <= 1, "{wronged} own networks blamed for storms");
}

#[test]
fn what_a_network_fails_in_calm_times_is_not_its_fault() {
    let cases = (31_395_400..31_395_430).map(|seed| healthy(12_000, seed));
    let wronged: usize = cases.map(|drawn| wronged(&drawn)).sum();
    assert_eq!(wronged, 0);
}
