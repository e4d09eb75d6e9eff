//! Limits of connections are told from loss and from blocking: what opens several at once is struck, and what opens one is not.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod world;

use localize::{Assessment, Kind, Verdict, VerdictOutcome, localize};
use world::{Beyond, Fault, Mesh, World};

const VIP: &str = "203.0.113.10:443";

/// Bursts in one round of three, as localisations have them.
const EVERY: u64 = 3;

fn seeds() -> u64 {
    let set = std::env::var("SEEDS").ok();
    set.and_then(|n| n.parse().ok()).unwrap_or(3)
}

/// Judges after every second round, as the coordinator does, until it is settled or 40 are over.
fn judged(mesh: Mesh, seed: u64, every: u64, faults: &[Fault]) -> (Assessment, u64) {
    let mut world = World::new(mesh, seed);
    world.bursts_every = every;
    world.faults = faults.to_vec();
    for rounds in 1.. {
        world.round();
        let assessment = localize(&world.case());
        if rounds % 2 == 0 && (assessment.settled || rounds >= 40) {
            return (assessment, rounds);
        }
    }
    unreachable!("rounds go on")
}

fn described(verdict: &Verdict) -> String {
    let said = |component: &localize::Component, mode: &str, confidence: f64| {
        format!(
            "{:?} {} {mode} {confidence:.3}",
            component.kind, component.name
        )
    };
    let faults = verdict.faults.iter();
    let faults: Vec<String> = faults
        .map(|f| said(&f.component, &f.mode, f.confidence))
        .collect();
    let rivals = verdict.alternatives.iter();
    let rivals: Vec<String> = rivals
        .map(|f| said(&f.component, &f.mode, f.confidence))
        .collect();
    format!("{:?} {faults:?}, rivals {rivals:?}", verdict.outcome)
}

/// The verdict names this one component in one of these modes, or nobody.
fn check(mesh: Mesh, every: u64, faults: &[Fault], expected: Option<(Kind, &str, &[&str])>) {
    for seed in 1..=seeds() {
        let (assessment, rounds) = judged(mesh, seed, every, faults);
        let verdict = &assessment.verdict;
        let named: Vec<_> = verdict
            .faults
            .iter()
            .map(|f| (f.component.kind, f.component.name.as_str(), f.mode.as_str()))
            .collect();
        let right = match (expected, named.as_slice()) {
            (None, []) => verdict.outcome == VerdictOutcome::Healthy,
            (Some((kind, name, modes)), [(k, n, mode)]) => {
                (*k, *n) == (kind, name) && modes.contains(mode)
            }
            _ => false,
        };
        assert!(
            right,
            "{faults:?} {mesh:?} seed {seed}, {rounds} rounds: {}",
            described(verdict)
        );
    }
}

/// Each of them is named by who limits, whether it drops, refuses or resets what is beyond.
#[test]
fn who_lets_few_at_once_through_is_named() {
    let throttled = &["throttled"][..];
    for beyond in [Beyond::Dropped, Beyond::Refused, Beyond::Reset] {
        for mesh in [Mesh::Full, Mesh::Bare] {
            let backend = Some((Kind::Backend, "web2", throttled));
            check(mesh, EVERY, &[Fault::BackendThrottles(1, beyond)], backend);
            let balancer = Some((Kind::LoadBalancer, VIP, throttled));
            check(mesh, EVERY, &[Fault::BalancerThrottles(beyond)], balancer);
        }
    }
    let access = Some((Kind::ClientNetwork, "dc1", throttled));
    check(Mesh::Full, EVERY, &[Fault::AccessThrottles("dc1")], access);
}

/// Chance strikes the last of several connections as often as one alone, and who drops all drops both.
#[test]
fn loss_and_blocking_are_no_limits() {
    check(Mesh::Full, EVERY, &[], None);
    for share in [0.3, 1.0] {
        let fault = Fault::BackendSyn(1, share);
        let lost = Some((Kind::Backend, "web2", &["syn_unanswered"][..]));
        check(Mesh::Full, EVERY, &[fault], lost);
    }
    for mesh in [Mesh::Full, Mesh::Bare] {
        let closed = Some((Kind::Backend, "web2", &["refuses"][..]));
        check(mesh, EVERY, &[Fault::BackendClosed(1)], closed);
    }
    // Without a witness nobody tells what a host drops from answers that are lost.
    for share in [0.3, 1.0] {
        let (assessment, _) = judged(Mesh::Bare, 1, EVERY, &[Fault::BackendSyn(1, share)]);
        let verdict = &assessment.verdict;
        let faults = verdict.faults.iter().map(|fault| &fault.mode);
        let mut modes = faults.chain(verdict.alternatives.iter().map(|a| &a.mode));
        let limited = modes.any(|mode| mode == "throttled");
        assert!(!limited, "{share}: {}", described(verdict));
    }
}

/// Without bursts nobody sees a limit that single connections do not reach.
#[test]
fn one_connection_at_a_time_sees_no_limit() {
    let fault = Fault::BackendThrottles(1, Beyond::Dropped);
    check(Mesh::Full, 0, &[fault], None);
}

/// It says what is limited and against which contrast, whom to ask, and that users are spared.
#[test]
fn a_limit_is_told_so_that_somebody_can_act_on_it() {
    let fault = Fault::BackendThrottles(1, Beyond::Dropped);
    let (assessment, _) = judged(Mesh::Full, 1, EVERY, &[fault]);
    let [fault] = assessment.verdict.faults.as_slice() else {
        panic!("{}", described(&assessment.verdict));
    };
    assert!(!fault.user_impact);
    for words in [
        "Backend web2 throttles",
        "attempts at the last of 8 connections that one client opens at once",
        "not those at one alone",
        "users who open few connections at once do not meet it",
    ] {
        assert!(fault.summary.contains(words), "{}", fault.summary);
    }
    for words in ["limit rate", "raised", "fewer connections at once"] {
        assert!(fault.next_step.contains(words), "{}", fault.next_step);
    }
    let text = |ending: &str, implicates| {
        let mut lines = fault.evidence.iter();
        let line = lines.find(|e| e.arm.ends_with(ending) && e.implicates == implicates);
        line.map_or_else(|| format!("{:#?}", fault.evidence), |e| e.text.clone())
    };
    let struck = text("8 connections at once", true);
    assert!(struck.contains("were not answered"), "{struck}");
    let spared = text("backend/web2 from 10.0.0.10", false);
    assert!(spared.contains("were answered"), "{spared}");
}
