//! What a witness must show of itself before its silence counts.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with the rows of verdicts")]
mod world;

use localize::{Verdict, WitnessReport, localize};
use world::{Fault, Mesh, World};

/// The verdict on a backend that leaves SYNs unanswered, with its own witness's reports changed.
fn verdict(change: impl Fn(&mut WitnessReport)) -> Verdict {
    let mut world = World::new(Mesh::Full, 1);
    world.faults = vec![Fault::BackendSyn(1, 0.4)];
    (0..10).for_each(|_| world.round());
    let mut case = world.case();
    let own = case.sightings.iter_mut().filter(|r| r.witness.0 == "web2");
    own.for_each(change);
    localize(&case).verdict
}

/// Whether a line tells of SYNs to web2 that its own host saw, or did not.
fn is_believed(verdict: &Verdict) -> bool {
    let lines = verdict.faults.iter().flat_map(|fault| &fault.evidence);
    let mut lines = lines.filter(|line| line.arm.starts_with("backend/web2"));
    lines.any(|line| line.text.contains("arrive"))
}

#[test]
fn silence_counts_from_who_is_seen_to_see() {
    let seeing = verdict(|_| {});
    assert!(is_believed(&seeing));
    assert_eq!(seeing.faults[0].mode, "syn_unanswered");
    let rows: [(&str, fn(&mut WitnessReport)); 3] = [
        ("it says itself that it missed packets", |r| r.dropped = 1),
        // Of the connections that were good it saw none: something rewrites addresses on the way.
        ("it sees nobody", |r| r.flows.clear()),
        ("it was not there", |r| (r.from, r.to) = (r.to, r.to)),
    ];
    for (case, change) in rows {
        let verdict = verdict(change);
        assert!(!is_believed(&verdict), "{case}: {:?}", verdict.faults);
        let modes = verdict.faults.iter().map(|fault| fault.mode.as_str());
        assert!(modes.clone().all(|mode| mode != "packet_loss"), "{case}");
    }
}
