//! Whether a fault is mended, on the simulated delivery path.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with the rows of verdicts")]
mod world;

use localize::mended::{Comparison, Decision, Since, compare, end_of};
use localize::{Case, Component, Failure, HttpFacts, Kind, Micros, Observation, Outcome};
use world::{Fault, Mesh, World};

fn backend(name: &str) -> Component {
    Component {
        kind: Kind::Backend,
        name: name.to_owned(),
    }
}

/// 404 wherever the world answers 500.
fn not_found(mut case: Case) -> Case {
    for seen in &mut case.observations {
        let Outcome::Failed { failure, .. } = &mut seen.outcome else {
            continue;
        };
        if *failure == Failure::HttpStatus(500) {
            *failure = Failure::HttpStatus(404);
            seen.facts.http = Some(HttpFacts {
                status: 404,
                first_byte: Micros(1500),
                body_bytes: 9,
                body_digest: "not found".to_owned(),
                headers: Vec::new(),
                redirect: Default::default(),
            });
        }
    }
    case
}

/// What has become of a fault of the case since an instant, by the later rounds.
fn became(
    case: &Case,
    later: &Case,
    (component, mode): &(Component, &str),
    at_us: u64,
) -> Option<Comparison> {
    let end_us = end_of(case);
    let since = |seen: &&Observation| seen.scheduled_us > end_us;
    let since = Since {
        at_us,
        observations: later.observations.iter().filter(since).cloned().collect(),
        sightings: Vec::new(),
        every_us: Some(1_000_000),
    };
    compare(case, component, mode, &since)
}

#[test]
fn an_outage_that_goes_on_does_not_become_usual() {
    let mut world = World::new(Mesh::Bare, 1);
    (0..10).for_each(|_| world.round());
    // Not at a share of one: the balancer would have nobody left in rotation.
    world.faults = (0..3)
        .map(|web| Fault::BackendStatus(web, 0.9999))
        .collect();
    (0..4).for_each(|_| world.round());
    let case = not_found(world.case());

    // A hundred rounds of nothing else.
    (0..100).for_each(|_| world.round());
    let later = not_found(world.case());
    for web in ["web1", "web2", "web3"] {
        let fault = (backend(web), "http_4xx");
        let became = became(&case, &later, &fault, end_of(&case)).expect("the case shows it");
        assert_eq!(became.decision, Decision::NotMended, "{became:?}");
        assert_eq!(became.before.counts.failed, 4);
        assert_eq!(became.after.counts.failed, became.after.counts.of);
    }

    let mended_us = end_of(&world.case());
    world.faults.clear();
    (0..20).for_each(|_| world.round());
    let mended = not_found(world.case());
    let fault = (backend("web1"), "http_4xx");
    let became = became(&case, &mended, &fault, mended_us).expect("the case shows it");
    assert_eq!(became.decision, Decision::Mended, "{became:?}");
}

#[test]
fn a_wrong_page_that_spreads_does_not_become_the_right_one() {
    let mut world = World::new(Mesh::Bare, 1);
    (0..6).for_each(|_| world.round());
    world.faults = vec![Fault::BackendBody(1)];
    (0..4).for_each(|_| world.round());
    let case = world.case();
    world.faults = (0..3).map(Fault::BackendBody).collect();
    (0..100).for_each(|_| world.round());
    let fault = (backend("web2"), "wrong_content");
    let still = became(&case, &world.case(), &fault, end_of(&case)).expect("the case shows it");
    assert_eq!(still.decision, Decision::NotMended, "{still:?}");

    let mended_us = end_of(&world.case());
    world.faults.clear();
    (0..20).for_each(|_| world.round());
    let mended = became(&case, &world.case(), &fault, mended_us).expect("the case shows it");
    assert_eq!(mended.decision, Decision::Mended, "{mended:?}");
}

#[test]
fn a_case_of_another_fault_shows_nothing_of_this_one() {
    let mut world = World::new(Mesh::Bare, 1);
    (0..6).for_each(|_| world.round());
    let fault = (backend("web2"), "http_5xx");
    assert!(became(&world.case(), &world.case(), &fault, 0).is_none());
}

#[test]
fn of_two_faults_the_one_that_is_mended_is_said_to_be() {
    let mut world = World::new(Mesh::Bare, 1);
    (0..10).for_each(|_| world.round());
    world.faults = vec![Fault::BackendResets(1), Fault::BackendSlow(2, 3.0)];
    (0..12).for_each(|_| world.round());
    let case = world.case();
    let mended_us = end_of(&case);
    // What keeps connections from being served is mended, what makes one backend slow is not.
    world.faults = vec![Fault::BackendSlow(2, 3.0)];
    (0..40).for_each(|_| world.round());
    let later = world.case();
    let resets = (backend("web2"), "resets");
    let slow = (backend("web3"), "slow");
    let gone = became(&case, &later, &resets, mended_us).expect("the case shows it");
    assert_eq!(gone.decision, Decision::Mended, "{gone:?}");
    let still = became(&case, &later, &slow, mended_us).expect("the case shows it");
    assert_eq!(still.decision, Decision::NotMended, "{still:?}");

    // And the slow one, when it is quick again.
    let quick_us = end_of(&later);
    world.faults.clear();
    (0..40).for_each(|_| world.round());
    let quick = became(&case, &world.case(), &slow, quick_us).expect("the case shows it");
    assert_eq!(quick.decision, Decision::Mended, "{quick:?}");
    assert_eq!(quick.after.counts.failed, 0, "{quick:?}");
}
