//! What users met: files that declare little, sites whose "well" is not 200, what all backends share,
//! what a balancer does to one backend, who is not served.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with the rows of verdicts")]
mod world;

use localize::topology::Expectation;
use localize::{Assessment, CdnProvider, Kind, Verdict, VerdictOutcome, localize};
use world::{Fault, Mesh, World};

const VIP: &str = "203.0.113.10:443";
const SERVICE: &str = "shop.example";

/// A round a second until it is settled, for a minute at most, judged as a user's question is.
fn ask(world: &mut World) -> Assessment {
    let mut last = None;
    for _ in 0..60 {
        world.round();
        let assessment = localize(&world.case());
        let settled = assessment.settled;
        last = Some(assessment);
        if settled {
            break;
        }
    }
    last.expect("sixty rounds")
}

/// What the service file declares.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Declared {
    Name,
    Vip,
    Everything,
}

fn world(declared: Declared, mesh: Mesh) -> World {
    let mut world = World::new(mesh, 3);
    world.declare(|topology| {
        if declared != Declared::Everything {
            topology.backends.clear();
        }
        if declared == Declared::Name {
            topology.vips.clear();
        }
    });
    world
}

fn told(verdict: &Verdict) -> String {
    let faults = verdict.faults.iter().map(|f| {
        let (component, mode) = (&f.component, &f.mode);
        format!(
            "{:?} {} {mode} {:.3}",
            component.kind, component.name, f.confidence
        )
    });
    let faults: Vec<String> = faults.collect();
    let rivals = verdict.alternatives.iter().map(|a| {
        format!(
            "{:?} {} {:.2}",
            a.component.kind, a.component.name, a.confidence
        )
    });
    let rivals: Vec<String> = rivals.collect();
    format!(
        "{:?} {faults:?} rivals {rivals:?} unknown {:.2} ask {:?}",
        verdict.outcome, verdict.unknown, verdict.ask
    )
}

fn names(verdict: &Verdict, kind: Kind, name: &str) -> bool {
    verdict.outcome == VerdictOutcome::Fault
        && verdict.faults.len() == 1
        && verdict.faults[0].component.kind == kind
        && verdict.faults[0].component.name == name
}

/// Behind a CDN stands an origin that nobody declared, and it is not innocent.
#[test]
fn what_is_not_declared_is_a_candidate() {
    for (declared, fault) in [
        (Declared::Name, Fault::Everything(500)),
        (Declared::Vip, Fault::Everything(500)),
        (Declared::Name, Fault::BalancerStatus(503)),
    ] {
        let mut world = world(declared, Mesh::Bare);
        world.faults = vec![fault];
        let verdict = ask(&mut world).verdict;
        let text = told(&verdict);
        let origin = |kind: Kind, name: &str| kind == Kind::Origin && name == SERVICE;
        let named = verdict
            .faults
            .iter()
            .all(|f| origin(f.component.kind, &f.component.name));
        let candidate = verdict
            .alternatives
            .iter()
            .any(|a| origin(a.component.kind, &a.component.name));
        assert!(named, "{declared:?} {fault:?}: {text}");
        assert!(
            candidate || !verdict.faults.is_empty(),
            "{declared:?} {fault:?}: {text}"
        );
        let asked = verdict
            .ask
            .iter()
            .any(|a| a.contains("[load_balancer]") || a.contains("[[backend]]"));
        assert!(
            asked || !verdict.faults.is_empty(),
            "{declared:?} {fault:?}: {text}"
        );
    }
}

/// Nobody is called a CDN without evidence of one.
#[test]
fn a_site_without_a_cdn_has_an_origin() {
    for cdn in [CdnProvider::Auto(None), CdnProvider::None] {
        let mut world = world(Declared::Name, Mesh::Bare);
        world.declare(|topology| topology.cdn = cdn.clone());
        world.faults = vec![Fault::Everything(500)];
        let verdict = ask(&mut world).verdict;
        assert!(names(&verdict, Kind::Origin, SERVICE), "{}", told(&verdict));
        // Whoever is named is more than one, and a line of the file would tell them apart.
        let asked = verdict.ask.iter().any(|line| line.contains("[[backend]]"));
        assert!(asked, "{:?}", verdict.ask);
    }
}

/// A file of two lines is enough to hear that all is well, soon.
#[test]
fn two_lines_are_enough_to_be_healthy() {
    for cdn in [
        CdnProvider::Auto(None),
        CdnProvider::Auto(Some("cloudflare".into())),
    ] {
        let mut world = world(Declared::Name, Mesh::Bare);
        world.declare(|topology| topology.cdn = cdn.clone());
        let mut rounds = 0;
        let verdict = loop {
            world.round();
            rounds += 1;
            let assessment = localize(&world.case());
            if assessment.settled || rounds == 15 {
                break assessment.verdict;
            }
        };
        assert_eq!(
            verdict.outcome,
            VerdictOutcome::Healthy,
            "{cdn:?}: {}",
            told(&verdict)
        );
    }
}

/// What nobody declared and no calm time showed is neither well nor anybody's fault.
#[test]
fn an_answer_that_no_user_wants_is_a_question() {
    for status in [301, 401, 404, 405, 429] {
        let mut world = world(Declared::Everything, Mesh::Bare);
        world.faults = vec![Fault::Everything(status)];
        let verdict = ask(&mut world).verdict;
        let text = told(&verdict);
        assert_eq!(
            verdict.outcome,
            VerdictOutcome::Inconclusive,
            "{status}: {text}"
        );
        assert!(verdict.ask[0].contains("[expect]"), "{status}: {text}");
    }
}

/// With a calm time that was otherwise it is a fault of what all backends share: one, not three.
#[test]
fn what_all_backends_do_is_one_fault_of_what_they_share() {
    for fault in [
        Fault::Everything(404),
        Fault::Everything(500),
        Fault::Everything(301),
    ] {
        let mut world = world(Declared::Everything, Mesh::Bare);
        world.learn(20);
        world.faults = vec![Fault::BackendStatus(1, 1.0)];
        (0..6).for_each(|_| world.round());
        world.faults.clear();
        world.scheduled(60);
        world.faults = vec![fault];
        let verdict = ask(&mut world).verdict;
        let text = told(&verdict);
        assert!(names(&verdict, Kind::Origin, SERVICE), "{fault:?}: {text}");
        assert_eq!(
            verdict.earlier[0].component.name, "web2",
            "{fault:?}: {:?}",
            verdict.earlier
        );
    }
}

/// What the file declares to be well is well.
#[test]
fn a_declared_answer_is_well() {
    let mut world = world(Declared::Everything, Mesh::Bare);
    world.declare(|topology| topology.expect = Expectation::Declared);
    world.faults = vec![Fault::Everything(301)];
    let verdict = ask(&mut world).verdict;
    assert_eq!(
        verdict.outcome,
        VerdictOutcome::Healthy,
        "{}",
        told(&verdict)
    );
}

/// A backend that answers everybody but the balancer is not to blame.
#[test]
fn what_only_the_balancer_sees_is_the_balancers() {
    let mut world = world(Declared::Everything, Mesh::Bare);
    world.learn(20);
    world.faults = vec![Fault::Misdirected(1)];
    let verdict = ask(&mut world).verdict;
    let text = told(&verdict);
    assert!(names(&verdict, Kind::LoadBalancer, VIP), "{text}");
    assert!(
        verdict.faults[0].summary.contains("web2"),
        "{}",
        verdict.faults[0].summary
    );
    assert_eq!(verdict.faults[0].mode, "misdirected");
}

/// Who is turned away by bot protection is not served; that is no outage.
#[test]
fn a_vantage_point_that_is_not_served_is_no_outage() {
    let mut world = world(Declared::Everything, Mesh::Bare);
    world.faults = vec![Fault::NotServed("dc1"), Fault::NotServed("cdn1")];
    let verdict = ask(&mut world).verdict;
    let text = told(&verdict);
    assert_eq!(verdict.outcome, VerdictOutcome::Healthy, "{text}");
    let said: Vec<&str> = verdict
        .not_probed
        .iter()
        .map(|n| n.vantage.as_str())
        .collect();
    assert!(
        said.contains(&"dc1") && said.contains(&"cdn1"),
        "{:?}",
        verdict.not_probed
    );
}

/// Who was served before is turned away since: users at home are served all the while.
#[test]
fn a_vantage_point_that_is_no_longer_served_is_no_outage_either() {
    let mut world = world(Declared::Everything, Mesh::Bare);
    world.learn(60);
    (0..60).for_each(|_| world.round());
    world.faults = vec![Fault::NotServed("dc1"), Fault::NotServed("cdn1")];
    let verdict = ask(&mut world).verdict;
    let text = told(&verdict);
    assert_eq!(verdict.outcome, VerdictOutcome::Healthy, "{text}");
    let said = |name| {
        verdict
            .not_probed
            .iter()
            .any(|n| n.vantage.as_str() == name)
    };
    assert!(said("dc1") && said("cdn1"), "{:?}", verdict.not_probed);
}

/// One access network cuts every TLS handshake, and the edges serve everybody else.
#[test]
fn a_network_that_cuts_tls_is_to_blame_for_it() {
    let mut world = world(Declared::Everything, Mesh::Bare);
    world.faults = vec![Fault::TlsCut("home1")];
    let verdict = ask(&mut world).verdict;
    assert!(
        names(&verdict, Kind::ClientNetwork, "home1"),
        "{}",
        told(&verdict)
    );
    assert_eq!(verdict.faults[0].mode, "tls_fails");
}

/// A fault that comes for two seconds of every thirty is there between two of its times, and is said to
/// keep that period.
#[test]
fn a_fault_that_keeps_a_period_is_named_with_it() {
    let mut world = world(Declared::Everything, Mesh::Bare);
    world.learn(20);
    for second in 0..300 {
        world.faults.clear();
        if second % 30 < 2 {
            world.faults = vec![Fault::BackendStatus(1, 1.0)];
        }
        world.round();
    }
    world.faults.clear();
    let verdict = ask(&mut world).verdict;
    let text = told(&verdict);
    assert!(names(&verdict, Kind::Backend, "web2"), "{text}");
    assert_eq!(verdict.faults[0].period_s, Some(30.0), "{text}");
}
