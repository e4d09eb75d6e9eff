//! Verdicts on a simulated delivery path, a row for each fault.
//!
//! The path is that of the lab: two homes with a resolver each, two name servers, two edges, a
//! layer-7 balancer with two addresses towards the backends, three backends, agents at the homes,
//! behind the CDN, inside, and on the hosts. Seeds are fixed, so that a failure can be seen again.

#![allow(clippy::expect_used, reason = "a test")]

mod world;

use localize::{Kind, VerdictOutcome, localize};
use world::{Fault, Mesh, World};

/// Judges after every second round, as the coordinator does, until settled or out of rounds.
fn run(fault: &[Fault], mesh: Mesh, seed: u64, rounds: u64) -> (localize::Assessment, u64) {
    let mut world = World::new(mesh, seed);
    world.faults = fault.to_vec();
    let mut last = None;
    for round in 1..=rounds {
        world.round();
        if round % 2 == 0 {
            let assessment = localize(&world.case());
            let settled = assessment.settled;
            last = Some((assessment, round));
            if settled {
                break;
            }
        }
    }
    last.expect("at least two rounds")
}

fn describe(assessment: &localize::Assessment) -> String {
    let verdict = &assessment.verdict;
    let faults: Vec<String> = verdict
        .faults
        .iter()
        .map(|f| {
            format!(
                "{:?} {} {} {:.3}",
                f.component.kind, f.component.name, f.mode, f.confidence
            )
        })
        .collect();
    let rivals: Vec<String> = verdict
        .alternatives
        .iter()
        .map(|a| {
            format!(
                "{:?} {} {} {:.3}",
                a.component.kind, a.component.name, a.mode, a.confidence
            )
        })
        .collect();
    format!(
        "{:?} named {faults:?} rivals {rivals:?} ask {:?}",
        verdict.outcome, verdict.ask
    )
}

/// The verdict must name exactly these components, for every seed.
fn check(fault: &[Fault], mesh: Mesh, expected: &[(Kind, &str)]) {
    let mut wrong = Vec::new();
    for seed in 1..=seeds() {
        let (assessment, rounds) = run(fault, mesh, seed, 50);
        let mut named: Vec<(Kind, String)> = assessment
            .verdict
            .faults
            .iter()
            .map(|f| (f.component.kind, f.component.name.clone()))
            .collect();
        named.sort();
        let mut wanted: Vec<(Kind, String)> = expected
            .iter()
            .map(|(kind, name)| (*kind, (*name).to_string()))
            .collect();
        wanted.sort();
        let right = named == wanted
            && (expected.is_empty() == (assessment.verdict.outcome == VerdictOutcome::Healthy));
        if std::env::var_os("SHOW").is_some() || !right {
            eprintln!(
                "{fault:?} {mesh:?} seed {seed}, {rounds} rounds: {}",
                describe(&assessment)
            );
        }
        if !right {
            wrong.push(seed);
        }
    }
    assert!(
        wrong.is_empty(),
        "{fault:?} on {mesh:?}: wrong for seeds {wrong:?}"
    );
}

/// The verdict must name nothing wrong, and what it cannot know must stand among its rivals.
fn check_ambiguous(fault: &[Fault], truth: (Kind, &str), ask: &str) {
    for seed in 1..=seeds() {
        let (assessment, rounds) = run(fault, Mesh::Bare, seed, 50);
        let verdict = &assessment.verdict;
        let text = describe(&assessment);
        if std::env::var_os("SHOW").is_some() {
            eprintln!("{fault:?} bare seed {seed}, {rounds} rounds: {text}");
        }
        let is_truth = |c: &localize::Component| c.kind == truth.0 && c.name == truth.1;
        assert!(
            verdict.faults.iter().all(|f| is_truth(&f.component)),
            "seed {seed}: a wrong name: {text}"
        );
        if verdict.faults.is_empty() {
            assert_eq!(
                verdict.outcome,
                VerdictOutcome::Inconclusive,
                "seed {seed}: {text}"
            );
            assert!(
                verdict.alternatives.iter().any(|a| is_truth(&a.component)),
                "seed {seed}: not among the candidates: {text}"
            );
            assert!(
                verdict.ask.iter().any(|a| a.contains(ask)),
                "seed {seed}: {text}"
            );
        }
    }
}

macro_rules! rows {
    ($($name:ident: $fault:expr, $mesh:ident => [$(($kind:ident, $component:literal)),*];)*) => {
        $(#[test] fn $name() { check(&$fault, Mesh::$mesh, &[$((Kind::$kind, $component)),*]); })*
    };
}

const VIP: &str = "203.0.113.10:443";

rows! {
    healthy: [], Full => [];
    healthy_with_random_loss: [Fault::Backbone(0.003)], Full => [];
    healthy_without_hosts: [], Bare => [];
    resolver_dead: [Fault::Resolver(0, 1.0)], Full => [(Resolver, "192.0.2.11")];
    resolver_lossy: [Fault::Resolver(0, 0.45)], Full => [(Resolver, "192.0.2.11")];
    name_server_refuses: [Fault::NameServerRefuses(1)], Full => [(AuthoritativeDns, "ns2.shop.example")];
    name_server_stale: [Fault::NameServerStale(1)], Full => [(AuthoritativeDns, "ns2.shop.example")];
    edge_500: [Fault::EdgeStatus(0, 500, 1.0)], Full => [(Cdn, "198.51.100.11")];
    edge_stalls: [Fault::EdgeStalls(1)], Full => [(Cdn, "198.51.100.12")];
    both_edges_reset: [Fault::EdgesReset(0.3)], Full => [(Cdn, "cloudflare")];
    edge_certificate: [Fault::EdgeCertificate(0)], Full => [(Cdn, "198.51.100.11")];
    one_origin_path: [Fault::OriginPath(0)], Full => [(CdnOriginPath, "198.51.100.11->203.0.113.10:443")];
    balancer_dead: [Fault::BalancerDead], Full => [(LoadBalancer, "203.0.113.10:443")];
    balancer_503: [Fault::BalancerStatus(503)], Full => [(LoadBalancer, "203.0.113.10:443")];
    balancer_certificate: [Fault::BalancerCertificate], Full => [(LoadBalancer, "203.0.113.10:443")];
    backend_500: [Fault::BackendStatus(1, 1.0)], Full => [(Backend, "web2")];
    backend_500_one_in_five: [Fault::BackendStatus(1, 0.2)], Full => [(Backend, "web2")];
    backend_slow: [Fault::BackendSlow(2, 4.0)], Full => [(Backend, "web3")];
    backend_closed_masked: [Fault::BackendClosed(0)], Full => [(Backend, "web1")];
    backend_syn: [Fault::BackendSyn(1, 0.4)], Full => [(Backend, "web2")];
    backend_resets: [Fault::BackendResets(2)], Full => [(Backend, "web3")];
    backend_truncates: [Fault::BackendTruncates(0)], Full => [(Backend, "web1")];
    backend_other_body: [Fault::BackendBody(1)], Full => [(Backend, "web2")];
    home_loss: [Fault::Access(0, 0.35)], Full => [(ClientNetwork, "home1")];
    balancer_syns_lost: [Fault::LbPath(1, 0.3)], Full => [(LbBackendPath, "203.0.113.10:443->web2")];
    return_one_prefix: [Fault::Return(0, "10.0.9.10", 1.0)], Full => [(ReturnPath, "web1->10.0.9.10")];
    return_third: [Fault::Return(1, "10.0.0.10", 0.33)], Full => [(ReturnPath, "web2->10.0.0.10")];
    return_to_the_balancer: [Fault::Return(1, "10.0.0.10", 0.33), Fault::Return(1, "10.0.9.10", 0.33)], Full =>
        [(ReturnPath, "web2->10.0.0.10")];
    two_faults: [Fault::BackendStatus(1, 1.0), Fault::Resolver(0, 1.0)], Full =>
        [(Backend, "web2"), (Resolver, "192.0.2.11")];

    bare_resolver_dead: [Fault::Resolver(0, 1.0)], Bare => [(Resolver, "192.0.2.11")];
    bare_edge_500: [Fault::EdgeStatus(0, 500, 1.0)], Bare => [(Cdn, "198.51.100.11")];
    bare_both_edges_reset: [Fault::EdgesReset(0.3)], Bare => [(Cdn, "cloudflare")];
    bare_origin_path: [Fault::OriginPath(0)], Bare => [(CdnOriginPath, "198.51.100.11->203.0.113.10:443")];
    bare_balancer_dead: [Fault::BalancerDead], Bare => [(LoadBalancer, "203.0.113.10:443")];
    bare_balancer_503: [Fault::BalancerStatus(503)], Bare => [(LoadBalancer, "203.0.113.10:443")];
    bare_backend_500: [Fault::BackendStatus(1, 1.0)], Bare => [(Backend, "web2")];
    bare_backend_500_one_in_five: [Fault::BackendStatus(1, 0.2)], Bare => [(Backend, "web2")];
    bare_backend_slow: [Fault::BackendSlow(2, 4.0)], Bare => [(Backend, "web3")];
    bare_backend_closed: [Fault::BackendClosed(0)], Bare => [(Backend, "web1")];
    bare_backend_other_body: [Fault::BackendBody(1)], Bare => [(Backend, "web2")];
    bare_home_loss: [Fault::Access(0, 0.35)], Bare => [(ClientNetwork, "home1")];
}

#[test]
fn bare_backend_syn_is_ambiguous() {
    check_ambiguous(
        &[Fault::BackendSyn(1, 0.4)],
        (Kind::Backend, "web2"),
        "web2",
    );
}

#[test]
fn bare_balancer_syns_lost_is_ambiguous() {
    let name = format!("{VIP}->web2");
    check_ambiguous(
        &[Fault::LbPath(1, 0.3)],
        (Kind::LbBackendPath, &name),
        "web2",
    );
}

#[test]
fn bare_return_to_one_vantage_point_is_ambiguous() {
    let truth = (Kind::ReturnPath, "web1->10.0.5.5");
    check_ambiguous(&[Fault::Return(0, "10.0.5.5", 1.0)], truth, "web1");
}

#[test]
fn masked_faults_do_not_reach_users() {
    let (assessment, _) = run(&[Fault::BackendClosed(0)], Mesh::Full, 1, 50);
    assert!(
        !assessment.verdict.faults[0].user_impact,
        "{:#?}",
        assessment.verdict.faults
    );
    let (assessment, _) = run(&[Fault::BalancerStatus(503)], Mesh::Full, 1, 50);
    assert!(assessment.verdict.faults[0].user_impact);
}

/// A fault that is over is not named when the path has been clean since.
#[test]
fn a_fault_that_is_over_is_not_named() {
    let mut world = World::new(Mesh::Full, 3);
    world.faults = vec![Fault::BackendStatus(1, 1.0)];
    (0..20).for_each(|_| world.round());
    world.faults = vec![Fault::Resolver(0, 1.0)];
    (0..12).for_each(|_| world.round());
    let assessment = localize(&world.case());
    let text = describe(&assessment);
    assert_eq!(assessment.verdict.faults.len(), 1, "{text}");
    assert_eq!(
        assessment.verdict.faults[0].component.kind,
        Kind::Resolver,
        "{text}"
    );
}

/// A fault that began after a long calm is named as soon as one without a past.
#[test]
fn a_fault_after_a_long_calm_is_named() {
    let rows = [
        (Fault::BackendStatus(1, 1.0), Kind::Backend, "web2"),
        (Fault::BackendSyn(1, 0.4), Kind::Backend, "web2"),
        (Fault::BalancerStatus(503), Kind::LoadBalancer, VIP),
        (Fault::EdgeStalls(1), Kind::Cdn, "198.51.100.12"),
        (Fault::Access(0, 0.35), Kind::ClientNetwork, "home1"),
    ];
    for (fault, kind, name) in rows {
        let mut world = World::new(Mesh::Full, 7);
        (0..90).for_each(|_| world.round());
        world.faults = vec![fault];
        (0..10).for_each(|_| world.round());
        let assessment = localize(&world.case());
        let text = describe(&assessment);
        let named: Vec<_> = assessment
            .verdict
            .faults
            .iter()
            .map(|f| (f.component.kind, f.component.name.as_str()))
            .collect();
        assert_eq!(named, [(kind, name)], "{fault:?}: {text}");
    }
}

/// The same faults when the balancer only forwards connections, declared or not.
#[test]
fn behind_a_layer_4_balancer() {
    type Row<'a> = (&'a [Fault], &'a [(Kind, &'a str)]);
    let rows: [Row<'_>; 6] = [
        (&[], &[]),
        (&[Fault::BackendClosed(0)], &[(Kind::Backend, "web1")]),
        (&[Fault::BackendStatus(1, 0.3)], &[(Kind::Backend, "web2")]),
        (&[Fault::BackendResets(2)], &[(Kind::Backend, "web3")]),
        (&[Fault::BackendSyn(1, 0.4)], &[(Kind::Backend, "web2")]),
        (&[Fault::BackendSlow(2, 4.0)], &[(Kind::Backend, "web3")]),
    ];
    for (faults, expected) in rows {
        let mut world = World::new(Mesh::Full, 11);
        world.layer4 = true;
        world.faults = faults.to_vec();
        (0..25).for_each(|_| world.round());
        let assessment = localize(&world.case());
        let text = describe(&assessment);
        let named: Vec<_> = assessment
            .verdict
            .faults
            .iter()
            .map(|f| (f.component.kind, f.component.name.as_str()))
            .collect();
        assert_eq!(named, expected, "{faults:?}: {text}");
        assert!(
            assessment.verdict.faults.iter().all(|f| f.user_impact),
            "{faults:?}: {text}"
        );
    }
}

/// Seeds a row: two in the inner loop, more when `SEEDS` says so.
fn seeds() -> u64 {
    std::env::var("SEEDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(2)
}

/// An address that is probed still and handed out by nobody any more is nobody's fault.
#[test]
fn a_forgotten_address_is_not_an_edge() {
    let mut world = World::new(Mesh::Full, 5);
    world.faults = vec![Fault::NameServerStale(1)];
    (0..5).for_each(|_| world.round());
    let mut after = World::new(Mesh::Full, 6);
    after.forget_nothing(&world);
    after.faults = vec![Fault::BalancerDead];
    (0..8).for_each(|_| after.round());
    let assessment = localize(&after.case());
    let text = describe(&assessment);
    assert_eq!(assessment.verdict.faults.len(), 1, "{text}");
    assert_eq!(
        assessment.verdict.faults[0].component.kind,
        Kind::LoadBalancer,
        "{text}"
    );
}
