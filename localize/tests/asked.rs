//! What the rounds since a question bear out.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with the rows of verdicts")]
mod world;

use localize::asked::lacks;
use localize::{Alternative, Case, Pattern, VerdictOutcome, localize};
use world::{Fault, Mesh, World};

/// The case of so many rounds, one a second, in some of which a backend fails.
fn case_of(rounds: u64, fails: impl Fn(u64) -> bool) -> Case {
    let mut world = World::new(Mesh::Bare, 3);
    for round in 0..rounds {
        world.faults.clear();
        let fault = Fault::BackendStatus(1, 1.0);
        world.faults.extend(fails(round).then_some(fault));
        world.round();
    }
    world.case()
}

/// When the rounds from this one on were fired, in microseconds of mesh time.
fn instant(case: &Case, round: u64) -> u64 {
    let seen = case.observations.iter();
    let from = seen.filter(|o| o.round.0 > round).map(|o| o.scheduled_us);
    from.min().unwrap_or(u64::MAX)
}

/// Whether more is to be probed when somebody asked before this round.
fn lacks_since(case: &Case, asked: u64, outcome: VerdictOutcome) -> bool {
    let assessment = localize(case);
    assert_eq!(assessment.verdict.outcome, outcome);
    lacks(case, &assessment, instant(case, asked)).is_some()
}

#[test]
fn health_is_borne_out_by_as_many_probes_as_would_have_shown_a_fault() {
    let well = case_of(60, |_| false);
    for (asked, lacking) in [(59, true), (50, false), (0, false)] {
        let found = lacks_since(&well, asked, VerdictOutcome::Healthy);
        assert_eq!(found, lacking, "{asked}");
    }
}

#[test]
fn rounds_before_the_question_alone_leave_nothing_open() {
    let well = case_of(60, |_| false);
    let mut assessment = localize(&well);
    assessment.verdict.outcome = VerdictOutcome::Inconclusive;
    for (asked, lacking) in [(58, true), (0, false)] {
        let found = lacks(&well, &assessment, instant(&well, asked));
        assert_eq!(found.is_some(), lacking, "{asked}");
    }
}

#[test]
fn a_fault_is_borne_out_when_it_strikes_after_the_question() {
    let seldom = |last: u64| move |round: u64| round <= last && round.is_multiple_of(3);
    for (last, asked, lacking) in [(30, 31, true), (33, 31, false), (33, 34, true)] {
        let case = case_of(35, seldom(last));
        let found = lacks_since(&case, asked, VerdictOutcome::Fault);
        assert_eq!(found, lacking, "{last} {asked}");
    }
    let periodic = case_of(35, seldom(30));
    let mut assessment = localize(&periodic);
    assessment.verdict.faults[0].pattern = Pattern::Periodic;
    assert!(lacks(&periodic, &assessment, instant(&periodic, 31)).is_none());
}

#[test]
fn a_new_fault_needs_no_more_than_it_shows_unless_candidates_are_open() {
    let new = case_of(35, |round| round > 30);
    assert!(!lacks_since(&new, 33, VerdictOutcome::Fault));
    let mut assessment = localize(&new);
    for (confidence, lacking) in [(0.04, false), (0.4, true)] {
        let component = assessment.verdict.faults[0].component.clone();
        assessment.verdict.alternatives = vec![Alternative {
            component,
            mode: String::new(),
            confidence,
            because: String::new(),
        }];
        let found = lacks(&new, &assessment, instant(&new, 33));
        assert_eq!(found.is_some(), lacking, "{confidence}");
    }
}
