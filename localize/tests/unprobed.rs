//! What no probe has seen is said, and is cleared by nobody.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with the rows of verdicts")]
mod world;

use localize::declared::Unproven;
use localize::{
    Arm, Backend, Case, Facts, Failure, Firing, Layer, Micros, Observation, ObservationId, Outcome,
    Scheme, Target, VantageName, Verdict, VerdictOutcome, localize,
};
use world::{Mesh, World};

const ROUNDS: usize = 16;
const WHY: &str = "169.254.169.254 is link-local space, which is never probed";

fn md() -> Target {
    Target::Backend {
        name: "md".to_owned(),
        address: ([169, 254, 169, 254], 80).into(),
    }
}

/// Sixteen rounds on a path that is well, with a fourth backend of which `seen` says what becomes of a
/// probe from dc1 in each round.
fn case(seen: impl Fn(usize) -> (Firing, Outcome)) -> Case {
    let mut world = World::new(Mesh::Bare, 1);
    (0..ROUNDS).for_each(|_| world.round());
    let mut case = world.case();
    case.topology.backends.push(Backend {
        name: "md".to_owned(),
        address: ([169, 254, 169, 254], 80).into(),
        scheme: Scheme::Http,
        path: "/".to_owned(),
    });
    let web1 = |o: &&Observation| {
        let backend = matches!(&o.arm.target, Target::Backend { name, .. } if name == "web1");
        backend && o.arm.traits.port.is_plain()
    };
    let others: Vec<Observation> = case.observations.iter().filter(web1).cloned().collect();
    assert_eq!(others.len(), ROUNDS);
    for (round, other) in others.into_iter().enumerate() {
        let (firing, outcome) = seen(round);
        case.observations.push(Observation {
            id: ObservationId {
                sequence: 1_000_000 + round as u64,
                ..other.id
            },
            arm: Arm::to(md()),
            firing,
            outcome,
            steps: Vec::new(),
            facts: Facts::default(),
            ..other
        });
    }
    case
}

fn skipped() -> (Firing, Outcome) {
    let firing = Firing::Skipped {
        why: WHY.to_owned(),
    };
    (firing, Outcome::NotFired)
}

fn timed_out() -> (Firing, Outcome) {
    let outcome = Outcome::Failed {
        layer: Layer::Tcp,
        failure: Failure::ConnectTimeout,
        after: Micros(5_000_000),
    };
    (Firing::OnTime, outcome)
}

/// The reasons for what was not probed, by vantage point and arm.
fn not_probed(verdict: &Verdict) -> Vec<(&str, &str, &str)> {
    let all = verdict.not_probed.iter();
    all.map(|n| (n.vantage.as_str(), n.arm.as_str(), n.because.as_str()))
        .collect()
}

fn mentions(verdict: &Verdict, name: &str) -> bool {
    let mut cleared = verdict.exonerated.iter();
    cleared.any(|part| part.component.name.contains(name))
}

#[test]
fn what_was_refused_is_said_and_cleared_by_nobody() {
    let verdict = localize(&case(|_| skipped())).verdict;
    assert_eq!(verdict.outcome, VerdictOutcome::Healthy, "{verdict:?}");
    assert_eq!(not_probed(&verdict), [("dc1", "backend/md", WHY)]);
    assert!(!mentions(&verdict, "md"), "{:?}", verdict.exonerated);
    assert!(mentions(&verdict, "web1"), "the others are cleared");
}

#[test]
fn what_is_left_out_now_and_then_is_no_matter() {
    let healthy = localize(&case(|round| match round % 4 {
        0 => skipped(),
        _ => (Firing::OnTime, Outcome::Passed),
    }));
    assert_eq!(not_probed(&healthy.verdict), []);
    let mostly = localize(&case(|round| match round % 4 {
        0 => (Firing::OnTime, Outcome::Passed),
        _ => skipped(),
    }));
    let because = format!("12 of 16 times: {WHY}");
    assert_eq!(
        not_probed(&mostly.verdict),
        [("dc1", "backend/md", because.as_str())]
    );
}

#[test]
fn what_never_worked_since_the_file_was_applied_is_said() {
    let mut case = case(|_| timed_out());
    assert_eq!(
        not_probed(&localize(&case).verdict),
        [],
        "nothing is known of the file"
    );
    case.declared.applied_us = 1_700_000_000_000_000;
    let unproven = |layer| Unproven {
        vantage: VantageName("dc1".to_owned()),
        arm: Arm::to(md()),
        layer,
    };
    case.declared.unproven = vec![unproven(Layer::Tcp)];
    let because = "has never answered since the service file was applied at 2023-11-14T22:13:20.000Z, \
                   so that the file may be wrong: syn_unanswered";
    let verdict = localize(&case).verdict;
    assert_eq!(not_probed(&verdict), [("dc1", "backend/md", because)]);

    // Once it has, it is a fault like any other.
    let first = case.observations.last_mut().expect("sixteen rounds");
    first.outcome = Outcome::Passed;
    first.steps = vec![localize::Step {
        layer: Layer::Tcp,
        took: Micros(900),
    }];
    assert_eq!(not_probed(&localize(&case).verdict), []);
}
