//! Who sent the resets that probes of a backend met, where an agent on its host saw the packets.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with the rows of verdicts")]
mod world;

use localize::{Case, Direction, Failure, FlowSighting, Kind, Outcome, Packet, Seen, localize};
use world::{Fault, Mesh, World};

/// Backend 3 resets what it is asked; its host's witness saw it send the first so many of those resets.
fn case(sent: usize) -> Case {
    let mut world = World::new(Mesh::Full, 1);
    world.faults = vec![Fault::BackendResets(2)];
    (0..10).for_each(|_| world.round());
    let mut case = world.case();
    let reset = case.observations.iter().filter(|o| {
        let failed = matches!(
            &o.outcome,
            Outcome::Failed {
                failure: Failure::ResetAfterRequest,
                ..
            }
        );
        failed && o.arm.label().starts_with("backend/web3")
    });
    let clients = reset.filter_map(|o| Some(o.facts.tcp.as_ref()?.local));
    let clients: Vec<_> = clients.take(sent).collect();
    for flow in case
        .sightings
        .iter_mut()
        .flat_map(|report| &mut report.flows)
    {
        if clients.contains(&flow.client) {
            add_reset(flow);
        }
    }
    case
}

fn add_reset(flow: &mut FlowSighting) {
    let first = flow.seen.first().expect("a packet").clone();
    flow.seen.push(Seen {
        packet: Packet::ResetByServer,
        direction: Direction::Out,
        ..first
    });
}

/// Summary and the line about resets.
fn told(case: &Case) -> (String, Option<String>) {
    let verdict = localize(case).verdict;
    let fault = verdict.faults.first().expect("a fault");
    let named = (
        fault.component.kind,
        fault.component.name.as_str(),
        fault.mode.as_str(),
    );
    assert_eq!(named, (Kind::Backend, "web3", "resets"));
    let line = fault
        .evidence
        .iter()
        .find(|line| line.text.contains("web3's host sent"));
    (fault.summary.clone(), line.map(|line| line.text.clone()))
}

#[test]
fn who_sent_the_resets_is_said() {
    let rows = [
        (usize::MAX, "sent the resets of all", false),
        (0, "sent no reset in any of the", true),
        (3, "sent the resets of 3 of the", false),
    ];
    for (sent, expected, elsewhere) in rows {
        let (summary, line) = told(&case(sent));
        let line = line.expect("a line");
        assert!(line.contains(expected), "{line}");
        let in_front = summary.contains("sent none of the resets: something in front of web3 does");
        assert_eq!(in_front, elsewhere, "{summary}");
    }
}

#[test]
fn nothing_is_said_of_what_no_witness_saw_whole() {
    let changes: [fn(&mut Case); 3] = [
        |case| case.sightings.retain(|report| report.witness.0 != "web3"),
        |case| {
            case.sightings
                .iter_mut()
                .for_each(|report| report.dropped = 1)
        },
        // Something rewrites addresses on the way: their connections are not these.
        |case| {
            let flows = case
                .sightings
                .iter_mut()
                .flat_map(|report| &mut report.flows);
            flows.for_each(|flow| flow.client.set_port(9));
        },
    ];
    for change in changes {
        let mut case = case(0);
        change(&mut case);
        let (summary, line) = told(&case);
        assert_eq!(line, None);
        assert!(!summary.contains("resets: something"), "{summary}");
    }
}

/// The line about how connections end that were taken and not served.
fn ending(case: &Case) -> String {
    let verdict = localize(case).verdict;
    let mut lines = verdict.faults[0].evidence.iter();
    let line = lines.find(|line| line.arm == "ending/web3");
    line.expect("a line").text.clone()
}

#[test]
fn a_reset_at_once_is_told_from_silence_and_a_reset_after_a_limit() {
    let mut case = case(0);
    let at_once = ending(&case);
    assert!(
        at_once.contains(" reset on the request, after "),
        "{at_once}"
    );
    for observation in &mut case.observations {
        if let Outcome::Failed {
            failure: Failure::ResetAfterRequest,
            after,
            ..
        } = &mut observation.outcome
        {
            after.0 = 15_000_000;
        }
    }
    let waited = ending(&case);
    let expected = "met by silence and then reset, after 15.0 s (15.0 s to 15.0 s), always the same: somebody's limit";
    assert!(waited.contains(expected), "{waited}");
}
