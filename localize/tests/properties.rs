//! What must hold for every case: order, repeats and names change nothing.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with the rows of verdicts")]
mod world;

use localize::{Case, localize};
use proptest::prelude::*;
use world::{Fault, Mesh, World};

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let one = prop_oneof![
        (0usize..2).prop_map(|i| Fault::Resolver(i, 0.5)),
        (0usize..2).prop_map(Fault::NameServerRefuses),
        (0usize..2).prop_map(|i| Fault::EdgeStatus(i, 500, 1.0)),
        Just(Fault::BalancerStatus(503)),
        (0usize..3).prop_map(|i| Fault::BackendStatus(i, 0.5)),
        (0usize..3).prop_map(|i| Fault::BackendSyn(i, 0.4)),
        (0usize..3).prop_map(|i| Fault::LbPath(i, 0.4)),
    ];
    proptest::collection::vec(one, 0..3)
}

fn case(faults: Vec<Fault>, seed: u64, rounds: usize) -> Case {
    let mut world = World::new(Mesh::Full, seed);
    world.faults = faults;
    (0..rounds).for_each(|_| world.round());
    world.case()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn order_and_repeats_change_nothing(faults in faults(), seed in 0u64..1000, shift in 1usize..500) {
        let case = case(faults, seed, 6);
        let mut shuffled = case.clone();
        let n = shuffled.observations.len();
        shuffled.observations.rotate_left(shift % n);
        shuffled.observations.extend(case.observations.iter().take(n / 2).cloned());
        shuffled.sightings.reverse();
        shuffled.sightings.extend(case.sightings.iter().take(5).cloned());
        prop_assert_eq!(localize(&case), localize(&shuffled));
    }

    #[test]
    fn a_case_survives_its_own_json(faults in faults(), seed in 0u64..1000) {
        let case = case(faults, seed, 3);
        let json = serde_json::to_string(&case).expect("json");
        let back: Case = serde_json::from_str(&json).expect("case");
        prop_assert_eq!(&case, &back);
    }

    /// More clean rounds never make a clean component look worse than the faulty one.
    #[test]
    fn confidence_stays_a_probability(faults in faults(), seed in 0u64..1000, rounds in 1usize..8) {
        let verdict = localize(&case(faults, seed, rounds)).verdict;
        for fault in &verdict.faults {
            prop_assert!((0.9..=1.0).contains(&fault.confidence));
            prop_assert!(fault.rate.low <= fault.rate.estimate && fault.rate.estimate <= fault.rate.high);
        }
        for rival in &verdict.alternatives {
            prop_assert!((0.0..=1.0).contains(&rival.confidence));
        }
    }
}

#[test]
fn an_empty_case_is_inconclusive() {
    let mut empty = case(vec![], 1, 1);
    empty.observations.clear();
    empty.sightings.clear();
    let assessment = localize(&empty);
    assert_eq!(
        assessment.verdict.outcome,
        localize::VerdictOutcome::Inconclusive
    );
    assert!(!assessment.settled);
}
