//! How far packets came towards a target that did not answer, beside the faults that lose them.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test")]

#[path = "mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with the rows of verdicts")]
mod world;

use std::net::IpAddr;

use localize::{
    Case, Failure, Heard, Layer, Micros, Observation, Outcome, Trace, VantageName, localize,
};
use world::{Fault, Mesh, World};

const RTT: Micros = Micros(20_000);

fn router(n: u8) -> Heard {
    Heard::Expired {
        by: IpAddr::from([198, 51, 100, n]),
        rtt: RTT,
    }
}

/// The probes of a vantage point and target that met silence.
fn lost<'c>(case: &'c Case, vantage: &str, arm: &str) -> Vec<&'c Observation> {
    let lost = case.observations.iter().filter(|o| {
        let silent = matches!(
            &o.outcome,
            Outcome::Failed {
                layer: Layer::Tcp,
                failure: Failure::ConnectTimeout,
                ..
            }
        );
        silent && o.vantage().0 == vantage && o.arm.label() == arm
    });
    lost.collect()
}

/// What a trace heard: of each hop, and of the whole way.
type Way<'a> = (&'a [Heard], Option<Heard>);

/// A trace of each of those probes, which heard so.
fn traced(case: &mut Case, vantage: &str, arm: &str, ways: &[Way<'_>]) {
    let lost = lost(case, vantage, arm).into_iter().zip(ways);
    let traces: Vec<Trace> = lost
        .zip(1_000_000..)
        .map(|((probe, (hops, whole)), sequence)| Trace {
            vantage: VantageName(vantage.to_owned()),
            sequence,
            service: probe.service.clone(),
            round: probe.round,
            from: probe.facts.tcp.as_ref().expect("a port").local,
            to: probe.arm.target.connects_to().expect("an address"),
            started: probe.started,
            hops: hops.to_vec(),
            whole: *whole,
        })
        .collect();
    assert_eq!(traces.len(), ways.len(), "probes of {vantage} were lost");
    case.traces.extend(traces);
}

fn case(fault: Fault, mesh: Mesh) -> Case {
    let mut world = World::new(mesh, 1);
    world.learn(20);
    world.faults = vec![fault];
    (0..14).for_each(|_| world.round());
    world.case()
}

/// The lines about traces, of the first fault.
fn told(case: &Case) -> Vec<String> {
    let verdict = localize(case).verdict;
    let fault = verdict.faults.first().expect("a fault");
    let lines = fault.evidence.iter();
    let lines = lines.filter(|line| line.arm.starts_with("trace/"));
    lines.map(|line| line.text.clone()).collect()
}

const SILENT: Option<Heard> = Some(Heard::Silence);

#[test]
fn the_last_router_that_answers_is_named_beside_those_whose_packets_arrive() {
    let mut case = case(Fault::Return(0, "10.0.5.5", 1.0), Mesh::Full);
    let way: Way<'_> = (&[router(1), router(2)], SILENT);
    traced(&mut case, "dc1", "backend/web1", &[way; 3]);
    let lines = told(&case);
    assert_eq!(
        lines,
        [
            "packets from dc1 to 10.0.1.2:80 are answered up to 198.51.100.2 (hop 2), and by nothing behind it, \
          in 3 of 3 traces; those of lb and web2 reach it"
        ]
    );
    // A repeat is the same trace.
    let again = case.traces.clone();
    case.traces.extend(again);
    assert_eq!(told(&case), lines);
}

#[test]
fn silence_on_the_way_is_told_of_nobody() {
    let lossy = case(Fault::Return(0, "10.0.5.5", 1.0), Mesh::Full);
    let refused = Heard::Refused { rtt: RTT };
    let rows: [(&str, &[Heard], Option<Heard>); 5] = [
        // Whoever is silent on a way that leads on has lost nothing.
        ("arrived", &[router(1), Heard::Silence, refused], None),
        ("arrived whole", &[router(1)], Some(refused)),
        ("nobody answers", &[], SILENT),
        // It was cut short before the target was asked.
        ("cut short", &[router(1), router(2)], None),
        ("accepted", &[router(1), Heard::Accepted { rtt: RTT }], None),
    ];
    for (name, hops, whole) in rows {
        let mut case = lossy.clone();
        traced(&mut case, "dc1", "backend/web1", &[(hops, whole)]);
        assert_eq!(told(&case), [""; 0], "{name}");
    }
}

#[test]
fn of_traces_that_differ_most_count_and_how_many_is_said() {
    let lossy = case(Fault::Return(0, "10.0.5.5", 1.0), Mesh::Full);
    let told_by = Heard::Unreachable {
        by: IpAddr::from([198, 51, 100, 9]),
        code: 13,
        rtt: RTT,
    };
    let refused = Heard::Refused { rtt: RTT };
    let behind: Way<'_> = (&[router(1), Heard::Silence, router(3)], SILENT);
    let arrived: Way<'_> = (&[router(1), refused], None);
    let told_so: Way<'_> = (&[router(1), told_by], None);
    let unsent: Way<'_> = (&[Heard::Unsent], None);
    let rows: [(&[Way<'_>], &str); 3] = [
        (
            &[behind, arrived, behind],
            "are answered up to 198.51.100.3 (hop 3), and by nothing behind it, in 2 of 3 traces",
        ),
        (
            &[told_so],
            "come to 198.51.100.9, which says that it cannot be reached from there (ICMP code 13), in 1 of 1 traces",
        ),
        (
            &[unsent, unsent],
            "dc1's own host sends no packet to 10.0.1.2:80",
        ),
    ];
    for (ways, says) in rows {
        let mut case = lossy.clone();
        traced(&mut case, "dc1", "backend/web1", ways);
        let lines = told(&case);
        assert!(
            lines.iter().any(|line| line.contains(says)),
            "{says}: {lines:?}"
        );
    }
}

/// A trace of what no probe lost, or of another way, stands beside nothing: whoever sends such ones is not believed.
#[test]
fn nobody_tells_of_ways_that_no_probe_went() {
    let mut case = case(Fault::Return(0, "10.0.5.5", 1.0), Mesh::Full);
    let way: Way<'_> = (&[router(1)], SILENT);
    traced(&mut case, "dc1", "backend/web1", &[way]);
    let good = case.traces[0].clone();
    let others = [
        Trace {
            to: "10.0.2.2:80".parse().unwrap(),
            ..good.clone()
        },
        Trace {
            vantage: VantageName("home1".to_owned()),
            ..good.clone()
        },
        Trace {
            round: localize::RoundId(999),
            ..good
        },
    ];
    case.traces = others.into();
    assert_eq!(told(&case), [""; 0]);
}
