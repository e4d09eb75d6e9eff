//! Verdicts on a simulated delivery path, a row for each fault.
//!
//! The path is that of the lab: two homes with a resolver each, two name servers, two edges, a
//! layer-7 balancer with two addresses towards the backends, three backends, agents at the homes,
//! behind the CDN, inside, and on the hosts. Seeds are fixed, so that a failure can be seen again.

#![allow(clippy::expect_used, reason = "a test")]

#[allow(dead_code, reason = "shared with other tests")]
mod world;

use localize::{Kind, Pattern, VerdictOutcome, localize};
use world::{Fault, Mesh, World};

/// Judges after every second round, as the coordinator does, until settled or out of rounds.
fn run(fault: &[Fault], mesh: Mesh, seed: u64, rounds: u64) -> (localize::Assessment, u64) {
    let mut world = World::new(mesh, seed);
    world.faults = fault.to_vec();
    judge(world, rounds)
}

fn judge(mut world: World, rounds: u64) -> (localize::Assessment, u64) {
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

/// What a verdict must name: kind, name, and the modes that are true of the fault. They are several
/// only where the probes of the row cannot part them.
type Wanted<'a> = (Kind, &'a str, &'a [&'a str]);

/// Whether the verdict names exactly these components, each by one of its modes.
fn names(verdict: &localize::Verdict, expected: &[Wanted<'_>]) -> bool {
    let is = |(kind, name, modes): &Wanted<'_>| {
        verdict.faults.iter().any(|f| {
            f.component.kind == *kind
                && f.component.name == *name
                && modes.contains(&f.mode.as_str())
        })
    };
    verdict.faults.len() == expected.len() && expected.iter().all(is)
}

/// The verdict must name exactly these components, for every seed.
fn check(fault: &[Fault], mesh: Mesh, expected: &[Wanted<'_>]) {
    let mut wrong = Vec::new();
    for seed in 1..=seeds() {
        let (assessment, rounds) = run(fault, mesh, seed, 50);
        let right = names(&assessment.verdict, expected)
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
fn check_ambiguous(fault: &[Fault], truth: (Kind, &str, &str), ask: &str) {
    for seed in 1..=seeds() {
        let (assessment, rounds) = run(fault, Mesh::Bare, seed, 50);
        let verdict = &assessment.verdict;
        let text = describe(&assessment);
        if std::env::var_os("SHOW").is_some() {
            eprintln!("{fault:?} bare seed {seed}, {rounds} rounds: {text}");
        }
        let is_truth =
            |c: &localize::Component, mode: &str| (c.kind, c.name.as_str(), mode) == truth;
        assert!(
            verdict
                .faults
                .iter()
                .all(|f| is_truth(&f.component, &f.mode)),
            "seed {seed}: a wrong name: {text}"
        );
        if verdict.faults.is_empty() {
            assert_eq!(
                verdict.outcome,
                VerdictOutcome::Inconclusive,
                "seed {seed}: {text}"
            );
            assert!(
                verdict
                    .alternatives
                    .iter()
                    .any(|a| is_truth(&a.component, &a.mode)),
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
    ($($name:ident: $fault:expr, $mesh:ident => [$(($kind:ident, $component:literal, $($mode:literal)|+)),*];)*) => {
        $(#[test] fn $name() {
            check(&$fault, Mesh::$mesh, &[$((Kind::$kind, $component, &[$($mode),+])),*]);
        })*
    };
}

const VIP: &str = "203.0.113.10:443";

rows! {
    healthy: [], Full => [];
    healthy_with_random_loss: [Fault::Backbone(0.003)], Full => [];
    healthy_without_hosts: [], Bare => [];
    resolver_dead: [Fault::Resolver(0, 1.0)], Full => [(Resolver, "192.0.2.11", "no_answer")];
    resolver_lossy: [Fault::Resolver(0, 0.45)], Full => [(Resolver, "192.0.2.11", "no_answer")];
    name_server_refuses: [Fault::NameServerRefuses(1)], Full => [(AuthoritativeDns, "ns2.shop.example", "refuses")];
    name_server_stale: [Fault::NameServerStale(1)], Full => [(AuthoritativeDns, "ns2.shop.example", "wrong_answer")];
    edge_500: [Fault::EdgeStatus(0, 500, 1.0)], Full => [(Cdn, "198.51.100.11", "http_5xx")];
    both_edges_reset: [Fault::EdgesReset(0.3)], Full => [(Cdn, "cloudflare", "resets")];
    edge_certificate: [Fault::EdgeCertificate(0)], Full => [(Cdn, "198.51.100.11", "certificate_expired")];
    edge_chain: [Fault::EdgeChain(0)], Full => [(Cdn, "198.51.100.11", "certificate_chain_incomplete")];
    bare_edge_chain: [Fault::EdgeChain(0)], Bare => [(Cdn, "198.51.100.11", "certificate_chain_incomplete")];
    search_domain: [Fault::SearchDomain("home1", true)], Full => [(ClientNetwork, "home1", "search_domain")];
    bare_search_domain: [Fault::SearchDomain("home1", true)], Bare => [(ClientNetwork, "home1", "search_domain")];
    a_search_domain_that_leads_home: [Fault::SearchDomain("home1", false)], Full => [];
    one_origin_path: [Fault::OriginPath(0)], Full => [(CdnOriginPath, "198.51.100.11->203.0.113.10:443", "unreachable")];
    balancer_dead: [Fault::BalancerDead], Full => [(LoadBalancer, "203.0.113.10:443", "refuses")];
    balancer_503: [Fault::BalancerStatus(503)], Full => [(LoadBalancer, "203.0.113.10:443", "http_5xx")];
    balancer_certificate: [Fault::BalancerCertificate], Full => [(LoadBalancer, "203.0.113.10:443", "certificate_expired")];
    backend_500: [Fault::BackendStatus(1, 1.0)], Full => [(Backend, "web2", "http_5xx")];
    backend_500_one_in_five: [Fault::BackendStatus(1, 0.2)], Full => [(Backend, "web2", "http_5xx")];
    backend_slow: [Fault::BackendSlow(2, 4.0)], Full => [(Backend, "web3", "slow")];
    backend_closed_masked: [Fault::BackendClosed(0)], Full => [(Backend, "web1", "refuses")];
    backend_syn: [Fault::BackendSyn(1, 0.4)], Full => [(Backend, "web2", "syn_unanswered")];
    backend_resets: [Fault::BackendResets(2)], Full => [(Backend, "web3", "resets")];
    backend_truncates: [Fault::BackendTruncates(0)], Full => [(Backend, "web1", "truncates")];
    backend_other_body: [Fault::BackendBody(1)], Full => [(Backend, "web2", "wrong_content")];
    home_loss: [Fault::Access(0, 0.35)], Full => [(ClientNetwork, "home1", "packet_loss")];
    balancer_syns_lost: [Fault::LbPath(1, 0.3)], Full => [(LbBackendPath, "203.0.113.10:443->web2", "packet_loss")];
    return_one_prefix: [Fault::Return(0, "10.0.9.10", 1.0)], Full => [(ReturnPath, "web1->10.0.9.10", "answers_lost")];
    return_third: [Fault::Return(1, "10.0.0.10", 0.33)], Full => [(ReturnPath, "web2->10.0.0.10", "answers_lost")];
    return_to_the_balancer: [Fault::Return(1, "10.0.0.10", 0.33), Fault::Return(1, "10.0.9.10", 0.33)], Full =>
        [(ReturnPath, "web2->10.0.0.10", "answers_lost")];
    two_faults: [Fault::BackendStatus(1, 1.0), Fault::Resolver(0, 1.0)], Full =>
        [(Backend, "web2", "http_5xx"), (Resolver, "192.0.2.11", "no_answer")];
    two_of_one_backend: [Fault::BackendSyn(1, 0.3), Fault::BackendSlowAtTimes(1, 4.0, 0.25)], Full =>
        [(Backend, "web2", "syn_unanswered"), (Backend, "web2", "slow")];
    fails_and_drops: [Fault::BackendSyn(1, 0.3), Fault::BackendStatus(1, 0.3)], Full =>
        [(Backend, "web2", "syn_unanswered"), (Backend, "web2", "http_5xx")];

    bare_resolver_dead: [Fault::Resolver(0, 1.0)], Bare => [(Resolver, "192.0.2.11", "no_answer")];
    bare_edge_500: [Fault::EdgeStatus(0, 500, 1.0)], Bare => [(Cdn, "198.51.100.11", "http_5xx")];
    bare_both_edges_reset: [Fault::EdgesReset(0.3)], Bare => [(Cdn, "cloudflare", "resets")];
    bare_origin_path: [Fault::OriginPath(0)], Bare => [(CdnOriginPath, "198.51.100.11->203.0.113.10:443", "unreachable")];
    bare_balancer_dead: [Fault::BalancerDead], Bare => [(LoadBalancer, "203.0.113.10:443", "refuses")];
    bare_balancer_503: [Fault::BalancerStatus(503)], Bare => [(LoadBalancer, "203.0.113.10:443", "http_5xx")];
    bare_backend_500: [Fault::BackendStatus(1, 1.0)], Bare => [(Backend, "web2", "http_5xx")];
    bare_backend_500_one_in_five: [Fault::BackendStatus(1, 0.2)], Bare => [(Backend, "web2", "http_5xx")];
    bare_backend_slow: [Fault::BackendSlow(2, 4.0)], Bare => [(Backend, "web3", "slow")];
    bare_backend_closed: [Fault::BackendClosed(0)], Bare => [(Backend, "web1", "refuses")];
    bare_backend_other_body: [Fault::BackendBody(1)], Bare => [(Backend, "web2", "wrong_content")];
    bare_home_loss: [Fault::Access(0, 0.35)], Bare => [(ClientNetwork, "home1", "packet_loss")];
}

/// Whether what is usual is known from calm times before.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Past {
    Known,
    Unknown,
}

/// Late answers, beside what troubles the path in calm times already: every row with agents on the
/// hosts and without, with baselines and without.
fn check_late(always: &[Fault], fault: &[Fault], pasts: &[Past], expected: &[Wanted<'_>]) {
    for past in pasts {
        for mesh in [Mesh::Full, Mesh::Bare] {
            for seed in 1..=seeds() {
                let mut world = World::new(mesh, seed);
                world.faults = always.to_vec();
                if *past == Past::Known {
                    world.learn(60);
                }
                world.faults.extend(fault);
                let (assessment, rounds) = judge(world, 50);
                let text = describe(&assessment);
                let right = names(&assessment.verdict, expected)
                    && (expected.is_empty()
                        == (assessment.verdict.outcome == VerdictOutcome::Healthy));
                assert!(
                    right,
                    "{fault:?} {mesh:?} {past:?} seed {seed}, {rounds} rounds: {text}"
                );
            }
        }
    }
}

macro_rules! late {
    ($($name:ident: $always:expr, $fault:expr, $pasts:expr => [$(($kind:ident, $component:literal)),*];)*) => {
        $(#[test] fn $name() {
            check_late(&$always, &$fault, &$pasts, &[$((Kind::$kind, $component, &["slow"])),*]);
        })*
    };
}

const EITHER: [Past; 2] = [Past::Known, Past::Unknown];

late! {
    backend_late: [], [Fault::BackendSlow(1, 0.3)], EITHER => [(Backend, "web2")];
    backend_late_in_a_third: [], [Fault::BackendSlowAtTimes(1, 0.3, 0.33)], EITHER => [(Backend, "web2")];
    resolver_late: [], [Fault::ResolverSlow(0, 0.25)], EITHER => [(Resolver, "192.0.2.11")];
    // Beside nothing of its kind, a balancer that is always late is late to nobody's knowledge.
    balancer_late: [], [Fault::BalancerSlow(0.3)], [Past::Known] => [(LoadBalancer, "203.0.113.10:443")];
    a_late_vantage_point_is_nobodys_fault: [], [Fault::VantageSlow("home1", 0.3)], EITHER => [];
    a_late_inside_is_nobodys_fault: [], [Fault::VantageSlow("dc1", 0.3)], EITHER => [];
    restless_and_well: [Fault::Restless(0.008)], [], EITHER => [];
    very_restless_and_well: [Fault::Restless(0.03)], [], EITHER => [];
    backend_late_among_the_restless: [Fault::Restless(0.008)], [Fault::BackendSlow(1, 0.3)], EITHER => [(Backend, "web2")];
}

/// No arm that ends at an edge tells whether this is late or silent itself or waits for its origin.
#[test]
fn an_edge_that_keeps_its_clients_waiting_may_wait_for_its_origin() {
    let rows = [
        (Mesh::Full, Fault::EdgeSlow(0, 0.3)),
        (Mesh::Bare, Fault::EdgeSlow(0, 0.3)),
        (Mesh::Full, Fault::EdgeStalls(0)),
        (Mesh::Bare, Fault::EdgeStalls(0)),
    ];
    for (mesh, fault) in rows {
        let mut world = World::new(mesh, 1);
        world.learn(60);
        world.faults.push(fault);
        let (assessment, _) = judge(world, 50);
        let text = describe(&assessment);
        let mut named = assessment.verdict.alternatives.iter();
        let listed = [Kind::Cdn, Kind::CdnOriginPath].map(|kind| {
            let candidate = named.find(|a| a.component.kind == kind);
            candidate.map_or(0.0, |a| a.confidence)
        });
        assert!(assessment.verdict.faults.is_empty(), "{mesh:?}: {text}");
        assert!(
            listed.iter().all(|c| (0.1..0.9).contains(c)),
            "{mesh:?}: {text}"
        );
        let asked = assessment.verdict.ask.iter();
        let mut there = asked.filter(|q| q.contains("connections from 198.51.100.11"));
        assert!(there.next().is_some(), "{mesh:?}: {text}");
    }
}

/// Whoever is late is waited for as long as a queue may take to drain; whoever fails is not.
#[test]
fn a_late_component_is_settled_on_when_it_stays_late() {
    let rows = [
        (Fault::BackendSlow(1, 0.3), "slow", 6, false),
        (Fault::BackendSlow(1, 0.3), "slow", 14, true),
        (Fault::BackendStatus(1, 1.0), "http_5xx", 6, true),
    ];
    for (fault, mode, rounds, settled) in rows {
        let mut world = World::new(Mesh::Full, 4);
        world.learn(60);
        (0..10).for_each(|_| world.round());
        world.faults = vec![fault];
        (0..rounds).for_each(|_| world.round());
        let assessment = localize(&world.case());
        let text = describe(&assessment);
        let wanted: Wanted<'_> = (Kind::Backend, "web2", &[mode]);
        assert!(names(&assessment.verdict, &[wanted]), "{fault:?}: {text}");
        assert_eq!(
            assessment.settled, settled,
            "{fault:?}, {rounds} rounds: {text}"
        );
    }
}

/// Who fails only what leaves from a port that was used shortly before; fresh ports tell it from whoever
/// fails everything.
#[test]
fn a_collision_of_ports_is_told_from_random_loss() {
    let web2 = |mode| [(Kind::Backend, "web2", mode)];
    let collision: &[&str] = &["port_reuse_collision"];
    let lossy: &[&str] = &["syn_unanswered"];
    let rows: [(Mesh, &[Fault], &[Wanted<'_>]); 11] = [
        (Mesh::Full, &[], &[]),
        (Mesh::Bare, &[], &[]),
        (Mesh::Full, &[Fault::Backbone(0.003)], &[]),
        (
            Mesh::Full,
            &[Fault::BackendPortReuse(1, 0.0)],
            &web2(collision),
        ),
        (
            Mesh::Bare,
            &[Fault::BackendPortReuse(1, 0.0)],
            &web2(collision),
        ),
        (
            Mesh::Full,
            &[Fault::BackendPortReuse(1, 0.3)],
            &web2(collision),
        ),
        (
            Mesh::Bare,
            &[Fault::BackendPortReuse(1, 0.3)],
            &web2(collision),
        ),
        (
            Mesh::Full,
            &[Fault::BalancerPortReuse],
            &[(Kind::LoadBalancer, VIP, collision)],
        ),
        (
            Mesh::Bare,
            &[Fault::BalancerPortReuse],
            &[(Kind::LoadBalancer, VIP, collision)],
        ),
        (
            Mesh::Full,
            &[Fault::InsidePortReuse],
            &[(Kind::ClientNetwork, "dc1", collision)],
        ),
        (Mesh::Full, &[Fault::BackendSyn(1, 0.4)], &web2(lossy)),
    ];
    for (mesh, faults, expected) in rows {
        for seed in 1..=seeds() {
            let mut world = World::new(mesh, seed);
            world.reuses_ports = true;
            world.faults = faults.to_vec();
            check_world(world, &format!("{mesh:?} seed {seed}"), expected);
        }
    }
}

/// The verdict on a world must name exactly these components.
fn check_world(world: World, row: &str, expected: &[Wanted<'_>]) {
    let faults = world.faults.clone();
    let (assessment, rounds) = judge(world, 50);
    let verdict = &assessment.verdict;
    let healthy = verdict.outcome == VerdictOutcome::Healthy;
    assert!(
        names(verdict, expected) && expected.is_empty() == healthy,
        "{faults:?} {row}, {rounds} rounds: {}",
        describe(&assessment)
    );
}

/// An old page for whoever accepts gzip, as after a purge that has missed a variant. Whoever asks plainly alone
/// does not see it.
#[test]
fn an_old_variant_is_seen_by_asking_as_browsers_do() {
    let edge: &[Wanted<'_>] = &[(Kind::Cdn, "198.51.100.11", &["wrong_content"])];
    for mesh in [Mesh::Full, Mesh::Bare] {
        for (accepts_gzip, faults, expected) in [
            (true, vec![], &[][..]),
            (true, vec![Fault::Backbone(0.003)], &[]),
            (false, vec![Fault::EdgeVariant(0)], &[]),
            (true, vec![Fault::EdgeVariant(0)], edge),
        ] {
            let mut world = World::new(mesh, 1);
            world.accepts_gzip = accepts_gzip;
            world.faults = faults;
            check_world(world, &format!("{mesh:?} gzip {accepts_gzip}"), expected);
        }
    }
    let mut world = World::new(Mesh::Bare, 2);
    world.accepts_gzip = true;
    world.faults = vec![Fault::EdgeVariant(0)];
    let (assessment, _) = judge(world, 50);
    let fault = &assessment.verdict.faults[0];
    assert_eq!(
        (fault.pattern, fault.user_impact),
        (Pattern::ByVariant, true)
    );
    assert!(
        fault.summary.contains("clients that accept gzip"),
        "{}",
        fault.summary
    );
}

/// A balancer with a session for each arm that keeps one, and then these faults.
/// What befalls hellos of two packets alone is told by asking with both, and is whose they cross: one network's, one
/// edge's, all edges', the balancer's. Who says small ones alone sees nothing of it.
#[test]
fn large_hellos_are_dropped_by_whom_they_cross() {
    let hello = &["large_hello"][..];
    let rows: [(bool, &[Fault], &[Wanted<'_>]); 6] = [
        (true, &[], &[]),
        (false, &[Fault::LargeHelloAt("home1")], &[]),
        (
            true,
            &[Fault::LargeHelloAt("home1")],
            &[(Kind::ClientNetwork, "home1", hello)],
        ),
        (
            true,
            &[Fault::LargeHelloOfEdge(0)],
            &[(Kind::Cdn, "198.51.100.11", hello)],
        ),
        (
            true,
            &[Fault::LargeHelloOfEdges],
            &[(Kind::Cdn, "cloudflare", hello)],
        ),
        (
            true,
            &[Fault::LargeHelloOfBalancer],
            &[(Kind::LoadBalancer, VIP, hello)],
        ),
    ];
    for mesh in [Mesh::Full, Mesh::Bare] {
        for (says_large, faults, expected) in rows {
            for seed in 1..=seeds() {
                let mut world = World::new(mesh, seed);
                world.says_large_hello = says_large;
                world.faults = faults.to_vec();
                check_world(world, &format!("{mesh:?} seed {seed}"), expected);
            }
        }
    }
}

/// A certificate that is valid by mesh time and not by one host's own clock: nobody else's fault, even where nobody
/// else asks the edges.
#[test]
fn a_clock_that_is_wrong_is_its_own_hosts() {
    for (days, words) in [(-40, "40 days behind the mesh's"), (90, "90 days ahead of")] {
        for alone in [false, true] {
            let mut world = World::new(Mesh::Full, 1);
            world.faults = vec![Fault::Clock("home1", days)];
            if alone {
                let on_the_path = |name: &str| name == "home1" || name == "lb" || name == "web1";
                world.declare(|t| t.vantages.retain(|v| on_the_path(&v.name.0)));
            }
            let (assessment, _) = judge(world, 50);
            let text = describe(&assessment);
            let expected = [(Kind::ClientNetwork, "home1", &["clock"][..])];
            assert!(
                names(&assessment.verdict, &expected),
                "{days} {alone}: {text}"
            );
            let summary = &assessment.verdict.faults[0].summary;
            assert!(summary.contains(words), "{summary}");
        }
    }
}

/// Where all hosts agree and the coordinator does not, its clock acquits no certificate that has ended.
#[test]
fn the_coordinators_own_clock_is_no_standard_alone() {
    let mut world = World::new(Mesh::Full, 1);
    world.faults = vec![Fault::MeshClock(-10), Fault::EdgeCertificate(0)];
    let edge = (Kind::Cdn, "198.51.100.11", &["certificate_expired"][..]);
    check_world(world, "the mesh's clock", &[edge]);
}

fn in_session(mesh: Mesh, seed: u64, faults: &[Fault]) -> World {
    let mut world = World::new(mesh, seed);
    world.keeps_cookies = true;
    (0..8).for_each(|_| world.round());
    world.faults = faults.to_vec();
    world
}

/// Users who keep a cookie that leads to nobody fail for ever, and all others never. What a backend does
/// to its own sessions is the backend's.
#[test]
fn stuck_sessions_are_the_balancer_s() {
    let balancer: &[Wanted<'_>] = &[(Kind::LoadBalancer, VIP, &["http_5xx"])];
    let status: &[Wanted<'_>] = &[(Kind::Backend, "web2", &["http_5xx"])];
    let resets: &[Wanted<'_>] = &[(Kind::Backend, "web2", &["resets"])];
    let closed: &[Wanted<'_>] = &[(Kind::Backend, "web2", &["refuses"])];
    let both = [
        (Mesh::Full, &[][..], &[][..]),
        (Mesh::Full, &[Fault::Backbone(0.003)], &[]),
        (Mesh::Full, &[Fault::BackendStatus(1, 0.4)], status),
        (Mesh::Full, &[Fault::BackendResets(1)], resets),
        (Mesh::Full, &[Fault::BackendClosed(1)], closed),
        (Mesh::Full, &[Fault::StuckSessions(1)], balancer),
        (Mesh::Bare, &[], &[]),
        (Mesh::Bare, &[Fault::BackendStatus(1, 0.4)], status),
        (Mesh::Bare, &[Fault::BackendResets(1)], resets),
        (Mesh::Bare, &[Fault::BackendClosed(1)], closed),
    ];
    for (mesh, faults, expected) in both {
        check_world(in_session(mesh, 1, faults), &format!("{mesh:?}"), expected);
    }
    let (assessment, _) = judge(in_session(Mesh::Full, 2, &[Fault::StuckSessions(1)]), 50);
    let fault = &assessment.verdict.faults[0];
    assert_eq!(
        (fault.pattern, fault.user_impact),
        (Pattern::ByCookie, true)
    );
    let mut without = in_session(Mesh::Full, 1, &[Fault::StuckSessions(1)]);
    without.keeps_cookies = false;
    check_world(without, "nobody keeps a cookie", &[]);
}

/// Without an agent on the balancer a lost way from there looks much the same: nobody else is named.
#[test]
fn bare_stuck_sessions_are_the_balancers_if_anybodys() {
    let (assessment, _) = judge(in_session(Mesh::Bare, 1, &[Fault::StuckSessions(1)]), 50);
    let verdict = &assessment.verdict;
    let text = describe(&assessment);
    let is_balancers = |kind, mode: &str| kind == Kind::LoadBalancer && mode == "http_5xx";
    let mut named = verdict.faults.iter();
    assert!(
        named.all(|f| is_balancers(f.component.kind, &f.mode)),
        "{text}"
    );
    let named = verdict.faults.iter().map(|f| (f.component.kind, &f.mode));
    let rivals = verdict.alternatives.iter();
    let mut known = named.chain(rivals.map(|a| (a.component.kind, &a.mode)));
    assert!(known.any(|(kind, mode)| is_balancers(kind, mode)), "{text}");
    let mut asked = verdict.ask.iter();
    assert!(asked.any(|a| a.contains("on the balancer")), "{text}");
}

/// What befalls large answers alone, or those of more than one packet.
#[test]
fn what_large_answers_meet_is_told_from_what_all_meet() {
    let hole: &[&str] = &["mtu_black_hole"];
    let cut: &[&str] = &["large_answers_fail"];
    let web2_to = |to| [(Kind::ReturnPath, to, hole)];
    let short = 800;
    let rows: [(Mesh, u64, &[Fault], &[Wanted<'_>]); 13] = [
        (Mesh::Full, short, &[], &[]),
        (Mesh::Bare, short, &[], &[]),
        (Mesh::Full, short, &[Fault::Backbone(0.003)], &[]),
        (
            Mesh::Full,
            short,
            &[Fault::BackendLarge(1, 1.0)],
            &[(Kind::Backend, "web2", cut)],
        ),
        (
            Mesh::Bare,
            short,
            &[Fault::BackendLarge(1, 1.0)],
            &[(Kind::Backend, "web2", cut)],
        ),
        (
            Mesh::Full,
            short,
            &[Fault::BackendLarge(1, 0.3)],
            &[(Kind::Backend, "web2", cut)],
        ),
        (
            Mesh::Bare,
            short,
            &[Fault::BackendLarge(1, 0.3)],
            &[(Kind::Backend, "web2", cut)],
        ),
        (
            Mesh::Bare,
            short,
            &[Fault::BalancerLarge],
            &[(Kind::LoadBalancer, VIP, cut)],
        ),
        (
            Mesh::Full,
            short,
            &[Fault::BlackHoleAt("home1")],
            &[(Kind::ClientNetwork, "home1", hole)],
        ),
        (
            Mesh::Full,
            4096,
            &[Fault::BlackHoleAt("home1")],
            &[(Kind::ClientNetwork, "home1", hole)],
        ),
        (
            Mesh::Full,
            short,
            &[Fault::BlackHole(1, "10.0.9.10")],
            &web2_to("web2->10.0.9.10"),
        ),
        (
            Mesh::Full,
            4096,
            &[Fault::BlackHole(1, "10.0.9.10")],
            &web2_to("web2->10.0.9.10"),
        ),
        (
            Mesh::Full,
            4096,
            &[Fault::BackendTruncates(1)],
            &[(Kind::Backend, "web2", &["truncates"])],
        ),
    ];
    for (mesh, bytes, faults, expected) in rows {
        for seed in 1..=seeds() {
            let mut world = World::new(mesh, seed);
            world.asks_large = true;
            world.usual_bytes = bytes;
            world.faults = faults.to_vec();
            let row = format!("{mesh:?} {bytes} bytes, seed {seed}");
            check_world(world, &row, expected);
        }
    }
}

/// However long it lasts, a fault that shows in one way needs no second one to explain that.
#[test]
fn a_habit_needs_no_second_fault() {
    for seed in 1..=seeds() {
        let mut world = World::new(Mesh::Bare, seed);
        world.asks_large = true;
        world.faults = vec![Fault::BalancerLarge];
        (0..60).for_each(|_| world.round());
        let assessment = localize(&world.case());
        let wanted: &[&str] = &["large_answers_fail"];
        assert!(
            names(&assessment.verdict, &[(Kind::LoadBalancer, VIP, wanted)]),
            "seed {seed}: {}",
            describe(&assessment)
        );
    }
}

/// What a proxy does with its ports says nothing of a client's that is used again.
#[test]
fn a_reused_port_ends_at_the_proxy() {
    for seed in 1..=seeds() {
        let mut world = World::new(Mesh::Bare, seed);
        world.reuses_ports = true;
        world.faults = vec![Fault::LbPath(1, 0.3)];
        let (assessment, _) = judge(world, 50);
        let said = format!("{:?}", assessment.verdict);
        assert!(
            !said.contains("port_reuse_collision"),
            "seed {seed}: {said}"
        );
    }
}

#[test]
fn bare_backend_syn_is_ambiguous() {
    check_ambiguous(
        &[Fault::BackendSyn(1, 0.4)],
        (Kind::Backend, "web2", "syn_unanswered"),
        "web2",
    );
}

#[test]
fn bare_balancer_syns_lost_is_ambiguous() {
    let name = format!("{VIP}->web2");
    check_ambiguous(
        &[Fault::LbPath(1, 0.3)],
        (Kind::LbBackendPath, &name, "packet_loss"),
        "web2",
    );
}

#[test]
fn bare_return_to_one_vantage_point_is_ambiguous() {
    let truth = (Kind::ReturnPath, "web1->10.0.5.5", "answers_lost");
    check_ambiguous(&[Fault::Return(0, "10.0.5.5", 1.0)], truth, "web1");
}

/// Answers that the balancer loses and waits for make it late; a backend that keeps no inside probe waiting
/// is not blamed for that, however few rounds there were.
#[test]
fn bare_late_answers_to_the_balancer_are_not_the_backends() {
    for seed in 1..=8 * seeds() {
        let mut world = World::new(Mesh::Bare, seed);
        world.learn(60);
        world.faults = ["10.0.0.10", "10.0.9.10"]
            .map(|to| Fault::Return(1, to, 0.33))
            .to_vec();
        for round in 1..=24 {
            world.round();
            if round % 4 == 0 {
                let assessment = localize(&world.case());
                assert!(
                    assessment.verdict.faults.is_empty(),
                    "seed {seed}, {round} rounds: {}",
                    describe(&assessment)
                );
            }
        }
    }
}

/// Handshakes and small answers come through, so that it is neither the balancer nor a lossy path; and
/// the backend serves whoever asks it directly.
#[test]
fn bare_black_hole() {
    let hole = [
        Fault::BlackHole(1, "10.0.0.10"),
        Fault::BlackHole(1, "10.0.9.10"),
    ];
    check(
        &hole,
        Mesh::Bare,
        &[(Kind::ReturnPath, "web2->203.0.113.10", &["mtu_black_hole"])],
    );
}

#[test]
fn masked_faults_do_not_reach_users() {
    for (mesh, rounds) in [Mesh::Full, Mesh::Bare]
        .into_iter()
        .flat_map(|m| [3, 8, 50].map(|r| (m, r)))
    {
        let (assessment, _) = run(&[Fault::BackendClosed(0)], mesh, 1, rounds);
        let faults = &assessment.verdict.faults;
        assert!(!faults[0].user_impact, "{mesh:?} {rounds}: {faults:#?}");
    }
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
    let wanted: Wanted<'_> = (Kind::Resolver, "192.0.2.11", &["no_answer"]);
    assert!(names(&assessment.verdict, &[wanted]), "{text}");
}

/// A fault that began after a long calm is named as soon as one without a past.
#[test]
fn a_fault_after_a_long_calm_is_named() {
    let rows: [(Fault, Wanted<'_>); 5] = [
        (
            Fault::BackendStatus(1, 1.0),
            (Kind::Backend, "web2", &["http_5xx"]),
        ),
        (
            Fault::BackendSyn(1, 0.4),
            (Kind::Backend, "web2", &["syn_unanswered"]),
        ),
        (
            Fault::BalancerStatus(503),
            (Kind::LoadBalancer, VIP, &["http_5xx"]),
        ),
        (
            Fault::EdgeStatus(1, 500, 1.0),
            (Kind::Cdn, "198.51.100.12", &["http_5xx"]),
        ),
        (
            Fault::Access(0, 0.35),
            (Kind::ClientNetwork, "home1", &["packet_loss"]),
        ),
    ];
    for (fault, wanted) in rows {
        let mut world = World::new(Mesh::Full, 7);
        (0..90).for_each(|_| world.round());
        world.faults = vec![fault];
        (0..10).for_each(|_| world.round());
        let assessment = localize(&world.case());
        let text = describe(&assessment);
        assert!(names(&assessment.verdict, &[wanted]), "{fault:?}: {text}");
    }
}

/// Asks as a user does: with the last quarter of an hour, a round a second, until it is settled.
fn ask(world: &mut World) -> localize::Assessment {
    world.look_back(900);
    let mut last = None;
    for round in 1..=60 {
        world.round();
        // Judged at every fourth round alone, as a chain takes many judgements.
        if round % 4 == 0 {
            let assessment = localize(&world.case());
            let settled = assessment.settled;
            last = Some(assessment);
            if settled {
                break;
            }
        }
    }
    last.expect("sixty rounds")
}

/// What has just failed may go on, but not unseen behind what looks otherwise: nobody waits to be told so.
#[test]
fn what_looks_otherwise_is_another() {
    for seed in 1..=seeds() {
        let mut world = World::new(Mesh::Full, seed);
        world.learn(40);
        world.scheduled(75);
        world.faults = vec![Fault::OriginPath(0)];
        ask(&mut world);
        world.faults = vec![Fault::BalancerStatus(503)];
        (0..8).for_each(|_| world.round());
        let assessment = localize(&world.case());
        let verdict = &assessment.verdict;
        let text = describe(&assessment);
        let wanted = (Kind::LoadBalancer, VIP, &["http_5xx"][..]);
        assert!(names(verdict, &[wanted]), "seed {seed}: {text}");
        assert!(assessment.settled, "seed {seed}: {text}");
        let mut others = verdict.alternatives.iter();
        let carried = others.find(|a| a.component.kind == Kind::CdnOriginPath);
        assert!(
            carried.is_none_or(|a| a.confidence < 0.05),
            "seed {seed}: {text}"
        );
    }
}

/// Faults come one after the other on one mesh, each is mended, and some come back: what is named is
/// what is wrong now, and what was before stands apart.
#[test]
fn a_chain_of_faults_is_told_link_by_link() {
    let links: [(Fault, Wanted<'_>); 14] = [
        (
            Fault::Resolver(0, 1.0),
            (Kind::Resolver, "192.0.2.11", &["no_answer"]),
        ),
        (
            Fault::NameServerRefuses(1),
            (Kind::AuthoritativeDns, "ns2.shop.example", &["refuses"]),
        ),
        (
            Fault::EdgeStatus(0, 500, 1.0),
            (Kind::Cdn, "198.51.100.11", &["http_5xx"]),
        ),
        (
            Fault::EdgeCertificate(1),
            (Kind::Cdn, "198.51.100.12", &["certificate_expired"]),
        ),
        (Fault::BalancerDead, (Kind::LoadBalancer, VIP, &["refuses"])),
        (
            Fault::BalancerStatus(503),
            (Kind::LoadBalancer, VIP, &["http_5xx"]),
        ),
        (
            Fault::BackendStatus(1, 1.0),
            (Kind::Backend, "web2", &["http_5xx"]),
        ),
        (
            Fault::BackendStatus(1, 0.3),
            (Kind::Backend, "web2", &["http_5xx"]),
        ),
        (
            Fault::BackendResets(2),
            (Kind::Backend, "web3", &["resets"]),
        ),
        (
            Fault::BackendSlow(2, 4.0),
            (Kind::Backend, "web3", &["slow"]),
        ),
        (
            Fault::BackendClosed(0),
            (Kind::Backend, "web1", &["refuses"]),
        ),
        (
            Fault::BackendSyn(1, 0.4),
            (Kind::Backend, "web2", &["syn_unanswered"]),
        ),
        (
            Fault::Access(0, 0.35),
            (Kind::ClientNetwork, "home1", &["packet_loss"]),
        ),
        (
            Fault::EdgesReset(0.45),
            (Kind::Cdn, "cloudflare", &["resets"]),
        ),
    ];
    let mut wrong = Vec::new();
    for seed in 1..=seeds().div_ceil(2) {
        let mut world = World::new(Mesh::Full, seed);
        world.learn(40);
        world.scheduled(75);
        let mut order: Vec<usize> = (0..links.len()).collect();
        let turn = usize::try_from(seed).expect("few seeds") * 5;
        order.rotate_left(turn % links.len());
        for (place, link) in order.iter().map(|i| links[*i]).enumerate() {
            let (fault, wanted) = link;
            world.faults = vec![fault];
            world.scheduled(10);
            let assessment = ask(&mut world);
            let text = describe(&assessment);
            if !names(&assessment.verdict, &[wanted]) {
                wrong.push(format!("seed {seed} place {place} {fault:?}: {text}"));
            }
            // Out of rotation or asked again elsewhere: nobody meets it.
            let masked = matches!(
                fault,
                Fault::BackendClosed(_)
                    | Fault::BackendStatus(_, 1.0)
                    | Fault::NameServerRefuses(_)
            );
            if assessment
                .verdict
                .faults
                .iter()
                .any(|f| f.user_impact == masked)
            {
                wrong.push(format!(
                    "seed {seed} place {place} {fault:?}: masked or not"
                ));
            }
            world.faults.clear();
            world.scheduled(10);
            if place % 3 == 2 {
                let assessment = ask(&mut world);
                let text = describe(&assessment);
                let earlier = &assessment.verdict.earlier;
                if assessment.verdict.outcome != VerdictOutcome::Healthy {
                    wrong.push(format!("seed {seed} place {place} healthy: {text}"));
                } else if earlier.first().is_none_or(|e| e.component.name != wanted.1) {
                    wrong.push(format!("seed {seed} place {place}: {earlier:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same faults when the balancer only forwards connections, declared or not.
#[test]
fn behind_a_layer_4_balancer() {
    let rows: [(Option<Fault>, &[Wanted<'_>]); 9] = [
        (None, &[]),
        (
            Some(Fault::BackendSyn(1, 1.0)),
            &[(Kind::Backend, "web2", &["syn_unanswered"])],
        ),
        (
            Some(Fault::LbPath(1, 0.35)),
            &[(
                Kind::LbBackendPath,
                "203.0.113.10:443->web2",
                &["packet_loss"],
            )],
        ),
        (
            Some(Fault::Misdirected(1)),
            &[(Kind::LoadBalancer, "203.0.113.10:443", &["misdirected"])],
        ),
        (
            Some(Fault::BackendClosed(0)),
            &[(Kind::Backend, "web1", &["refuses"])],
        ),
        (
            Some(Fault::BackendStatus(1, 0.3)),
            &[(Kind::Backend, "web2", &["http_5xx"])],
        ),
        (
            Some(Fault::BackendResets(2)),
            &[(Kind::Backend, "web3", &["resets"])],
        ),
        (
            Some(Fault::BackendSyn(1, 0.4)),
            &[(Kind::Backend, "web2", &["syn_unanswered"])],
        ),
        (
            Some(Fault::BackendSlow(2, 4.0)),
            &[(Kind::Backend, "web3", &["slow"])],
        ),
    ];
    for (fault, expected) in rows {
        let mut world = World::new(Mesh::Full, 11);
        world.layer4 = true;
        world.checked = false;
        world.faults = fault.into_iter().collect();
        (0..25).for_each(|_| world.round());
        let assessment = localize(&world.case());
        let text = describe(&assessment);
        assert!(names(&assessment.verdict, expected), "{fault:?}: {text}");
        assert!(
            assessment.verdict.faults.iter().all(|f| f.user_impact),
            "{fault:?}: {text}"
        );
    }
}

/// A balancer of any sort that checks its backends takes a dead one out, after a while: nobody else is at
/// fault for what happened before, or for its being out.
#[test]
fn checks_find_out_after_a_while() {
    let dead = [
        (Fault::BackendClosed(0), "web1", "refuses"),
        (Fault::BackendSyn(1, 1.0), "web2", "syn_unanswered"),
    ];
    let rows = [false, true].map(|layer4| [0, 3, 8].map(|late| (layer4, late)));
    for (layer4, late) in rows.into_iter().flatten() {
        for (seed, (fault, name, mode)) in (1..=seeds()).flat_map(|s| dead.map(|d| (s, d))) {
            let mut world = World::new(Mesh::Full, seed);
            world.layer4 = layer4;
            world.faults = vec![fault];
            world.checked = false;
            (0..late).for_each(|_| world.round());
            world.checked = true;
            (0..15).for_each(|_| world.round());
            let assessment = localize(&world.case());
            let expected: Wanted<'_> = (Kind::Backend, name, &[mode]);
            let text = describe(&assessment);
            let row = format!("layer 4 {layer4}, late {late}, seed {seed}");
            assert!(names(&assessment.verdict, &[expected]), "{row}: {text}");
        }
    }
}

/// Where a balancer tries the next backend, the late answers bear the names of those that let it in.
#[test]
fn a_late_answer_may_bear_the_name_of_another_backend() {
    for (seed, rounds) in (1..=seeds()).flat_map(|s| [8, 20].map(|r| (s, r))) {
        let mut world = World::new(Mesh::Full, seed);
        world.tries_others = true;
        world.checked = false;
        world.faults = vec![Fault::BackendSyn(0, 1.0)];
        (0..rounds).for_each(|_| world.round());
        let assessment = localize(&world.case());
        let expected: Wanted<'_> = (Kind::Backend, "web1", &["syn_unanswered"]);
        let text = describe(&assessment);
        let row = format!("seed {seed}, {rounds} rounds");
        assert!(names(&assessment.verdict, &[expected]), "{row}: {text}");
        let mut rivals = assessment.verdict.alternatives.iter();
        assert!(rivals.all(|r| r.confidence < 0.2), "{row}: {text}");
    }
}

/// An address where nobody has ever been met, and that every name server hands out: whoever stood there may be
/// dead, or the record old. Nobody is named; both are listed, and what would tell is asked.
#[test]
fn an_address_where_nobody_was_ever_met_is_perhaps_an_old_record() {
    for seed in 1..=seeds() {
        let mut world = World::new(Mesh::Full, seed);
        world.faults = vec![Fault::NameServerStale(0), Fault::NameServerStale(1)];
        (0..15).for_each(|_| world.round());
        let assessment = localize(&world.case());
        let text = describe(&assessment);
        let verdict = &assessment.verdict;
        assert!(verdict.faults.is_empty(), "{text}");
        let listed = verdict.alternatives.iter();
        let kinds: Vec<Kind> = listed.map(|a| a.component.kind).collect();
        assert!(kinds.contains(&Kind::Cdn), "{text}");
        assert!(kinds.contains(&Kind::AuthoritativeDns), "{text}");
        let asks = |q: &String| q.contains("198.51.100.99") || q.contains("still an address");
        assert!(verdict.ask.iter().any(asks), "{text}");
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
    let wanted: Wanted<'_> = (Kind::LoadBalancer, VIP, &["refuses"]);
    assert!(names(&assessment.verdict, &[wanted]), "{text}");
}
