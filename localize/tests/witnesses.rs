//! What a witness must show of itself before its silence counts.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with the rows of verdicts")]
mod world;

use localize::{Case, Verdict, WitnessReport, localize};
use world::{Fault, Mesh, World};

fn case() -> Case {
    let mut world = World::new(Mesh::Full, 1);
    world.faults = vec![Fault::BackendSyn(1, 0.4)];
    (0..10).for_each(|_| world.round());
    world.case()
}

/// The verdict on a case, but for how much witnesses saw.
fn told(case: &Case) -> Verdict {
    let mut verdict = localize(case).verdict;
    for fault in &mut verdict.faults {
        fault
            .evidence
            .retain(|line| !line.arm.starts_with("witness/"));
    }
    verdict
}

/// The verdict on a backend that leaves SYNs unanswered, with its own witness's reports changed.
fn verdict(change: impl Fn(&mut WitnessReport)) -> Verdict {
    let mut case = case();
    let own = case.sightings.iter_mut().filter(|r| r.witness.0 == "web2");
    own.for_each(change);
    told(&case)
}

#[test]
fn silence_counts_from_who_is_seen_to_see() {
    let mut alone = case();
    alone.sightings.retain(|report| report.witness.0 != "web2");
    let without = told(&alone);
    let seeing = verdict(|_| {});
    assert_eq!(seeing.faults[0].mode, "syn_unanswered");
    assert_ne!(seeing, without);
    type Row<'a> = (&'a str, fn(&mut WitnessReport));
    let rows: [Row<'_>; 3] = [
        ("it says itself that it missed packets", |r| r.dropped = 1),
        // Of the connections that were good it saw none: something rewrites addresses on the way.
        ("it sees nobody", |r| r.flows.clear()),
        ("it was not there", |r| (r.from, r.to) = (r.to, r.to)),
    ];
    for (case, change) in rows {
        assert_eq!(verdict(change), without, "{case}");
    }
}
