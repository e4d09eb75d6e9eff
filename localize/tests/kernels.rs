//! Why SYNs went unanswered, where the agent on a host reads what its kernel counts.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with the rows of verdicts")]
mod world;

use localize::{
    Case, Counter, Direction, FlowSighting, HostReading, Kind, ListenQueue, Packet, Setting,
    Verdict, localize,
};
use world::{Fault, Mesh, World};

fn case(fault: Fault, seed: u64) -> Case {
    let mut world = World::new(Mesh::Full, seed);
    world.faults = vec![fault];
    (0..10).for_each(|_| world.round());
    world.case()
}

fn count(flow: &FlowSighting, packet: Packet, direction: Direction) -> u64 {
    let seen = flow.seen.iter();
    let seen = seen.filter(|s| (s.packet, s.direction) == (packet, direction));
    seen.map(|s| u64::from(s.count)).sum()
}

fn unanswered(flow: &FlowSighting) -> u64 {
    let answers = count(flow, Packet::SynAck, Direction::Out);
    count(flow, Packet::Syn, Direction::In).saturating_sub(answers)
}

/// Lets the kernels of all backends count: `counter` rises by what web2 leaves unanswered, and at every host
/// by as much as `always` beside that.
fn counted(case: &mut Case, counter: Option<Counter>, always: &[(Counter, u64)]) {
    for report in &mut case.sightings {
        let lost: u64 = report.flows.iter().map(unanswered).sum();
        let mut host = HostReading {
            rose: always.iter().copied().collect(),
            ..Default::default()
        };
        if let Some(counter) = counter.filter(|_| lost > 0) {
            *host.rose.entry(counter).or_default() += lost;
        }
        let off = u64::from(report.witness.0 != "web2");
        host.settings = [(Setting::TcpTimestamps, off), (Setting::Somaxconn, 4096)].into();
        report.host = Some(host);
    }
}

fn only(verdict: &Verdict) -> (Kind, &str, &str) {
    assert_eq!(verdict.faults.len(), 1, "{:?}", verdict.alternatives);
    let fault = verdict.faults.first().expect("one fault");
    (fault.component.kind, &fault.component.name, &fault.mode)
}

#[test]
fn the_counter_that_rises_names_the_mode() {
    /// What rises with the fault, what rises all day, and the mode.
    type Row<'a> = (Option<Counter>, &'a [(Counter, u64)], &'a str);
    let busy = (Counter::Undelivered, 5);
    let rows: [Row<'_>; 8] = [
        (Some(Counter::ListenOverflows), &[], "accept_queue_full"),
        (Some(Counter::RequestQueueDrops), &[], "accept_queue_full"),
        (Some(Counter::Undelivered), &[], "host_firewall"),
        (Some(Counter::ConntrackDrops), &[], "connection_table_full"),
        (None, &[], "stack_silent"),
        // What rises all day says nothing, and does not hide what rises beyond it.
        (None, &[busy], "stack_silent"),
        (Some(Counter::ListenOverflows), &[busy], "accept_queue_full"),
        (Some(Counter::RetransSegs), &[], "stack_silent"),
    ];
    for (counter, always, mode) in rows {
        for seed in 1..=3 {
            let mut case = case(Fault::BackendSyn(1, 0.4), seed);
            counted(&mut case, counter, always);
            let verdict = localize(&case).verdict;
            let found = only(&verdict);
            assert_eq!(found, (Kind::Backend, "web2", mode), "{counter:?} {seed}");
        }
    }
}

/// A host that does not show all of it tells no reason, and one without an agent tells nothing at all.
#[test]
fn what_is_not_read_is_not_held_against_anybody() {
    let mut untold = case(Fault::BackendSyn(1, 0.4), 1);
    let before = localize(&untold).verdict;
    counted(&mut untold, None, &[]);
    for report in &mut untold.sightings {
        let host = report.host.as_mut().expect("just read");
        host.unread = [Counter::Undelivered].into();
        host.settings.clear();
    }
    assert_eq!(localize(&untold).verdict, before);
    assert_eq!(only(&before), (Kind::Backend, "web2", "syn_unanswered"));
}

#[test]
fn a_strict_host_and_a_way_back_that_leads_elsewhere() {
    for seed in 1..=3 {
        let mut case = case(Fault::Return(0, "10.0.9.10", 1.0), seed);
        // It is not that answers get lost: there are none.
        for report in case.sightings.iter_mut().filter(|r| r.witness.0 == "web1") {
            for flow in &mut report.flows {
                if flow.client.ip().to_string() == "10.0.9.10" {
                    flow.seen.retain(|seen| seen.packet != Packet::SynAck);
                }
            }
        }
        counted(&mut case, Some(Counter::ReversePathDrops), &[]);
        let verdict = localize(&case).verdict;
        let expected = (Kind::ReturnPath, "web1->10.0.9.10", "reverse_path_filter");
        assert_eq!(only(&verdict), expected, "{seed}");
    }
}

#[test]
fn evidence_says_what_was_counted_and_what_differs() {
    let mut case = case(Fault::BackendSyn(1, 0.4), 1);
    counted(&mut case, Some(Counter::ListenOverflows), &[]);
    let queue = |waiting, room| ListenQueue {
        local: "0.0.0.0:80".parse().expect("an address"),
        waiting,
        room,
    };
    let of_web2 = case.sightings.iter_mut().filter(|r| r.witness.0 == "web2");
    for (report, waiting) in of_web2.zip(1..) {
        let host = report.host.as_mut().expect("just read");
        host.queues = vec![queue(waiting % 4, 2), queue(5, 511)];
    }
    let verdict = localize(&case).verdict;
    let fault = verdict.faults.first().expect("one fault");
    let of_kernel = fault
        .evidence
        .iter()
        .filter(|e| e.arm.starts_with("kernel/"));
    let texts: Vec<&str> = of_kernel.map(|e| e.text.as_str()).collect();
    let [counted, full, set] = texts[..] else {
        panic!("{texts:?}")
    };
    assert!(
        counted.starts_with("web2's kernel counted ")
            && counted.contains(" listen overflows in the ")
            && counted.ends_with(" s in which it left SYNs unanswered, web1 and web3 none"),
        "{counted}"
    );
    assert_eq!(
        full,
        "web2's listener at 0.0.0.0:80 had 3 connections waiting to be accepted, and room for 2"
    );
    assert_eq!(
        set,
        "tcp_timestamps is off on web2 alone (web1 and web3: on)"
    );
    assert!(
        fault.summary.contains("its listen queue is full"),
        "{}",
        fault.summary
    );
}

/// A verdict does not stand before the host has had time to say why, where one is there that does; nor on
/// what it said of another fault just before.
#[test]
fn what_the_host_is_about_to_say_is_waited_for() {
    let mut whole = case(Fault::BackendSyn(1, 1.0), 1);
    counted(&mut whole, Some(Counter::ListenOverflows), &[]);
    assert!(localize(&whole).settled);
    let mut rounds = whole.observations.iter().map(|o| o.scheduled_us);
    let first = rounds.next().expect("a round");
    // The rounds that are there, and since when nothing has come of the host.
    let rows = [
        (first + 5_000_000, 0, "syn_unanswered"),
        (first + 6_000_000, first + 1_000_000, "accept_queue_full"),
    ];
    for (to, unsaid, mode) in rows {
        let mut case = whole.clone();
        case.observations.retain(|o| o.scheduled_us <= to);
        for report in case.sightings.iter_mut().filter(|r| r.witness.0 == "web2") {
            if report.from.at_us > unsaid {
                report.to = report.from;
                report.flows.clear();
                report.host = Some(HostReading::default());
            }
        }
        let assessment = localize(&case);
        let named = only(&assessment.verdict);
        assert_eq!(named, (Kind::Backend, "web2", mode));
        assert!(!assessment.settled, "{mode}");
    }
}
