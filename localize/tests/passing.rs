//! What the hosts of backends see of the balancer's own connections.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with the rows of verdicts")]
mod world;

use std::net::{IpAddr, SocketAddr};

use localize::{
    Case, Counter, Direction, FlowSighting, HostReading, Kind, Layer, Micros, Observation, Packet,
    Seen, Stamp, Target, TcpOptions, VantageName, Verdict, VerdictOutcome, VipMode, WitnessReport,
    localize,
};
use world::{Fault, Mesh, World};

const ROUNDS: usize = 12;
/// Where the balancer's connections come from, and somebody's that nobody knows.
const FIRST: &str = "10.0.0.10";
const SECOND: &str = "10.0.9.10";
const STRANGER: &str = "192.0.2.66";

/// What a backend's host sees of one connection.
#[derive(Clone, Copy, PartialEq)]
enum Check {
    Completed,
    /// The SYN-ACKs leave, by another interface, and nothing comes of them.
    Unanswered,
    /// The first SYN is answered with the ACK of an old connection, the second as it should be.
    Stale,
    /// The SYN is answered, and the client is content with that.
    Reset,
    /// Nothing answers.
    Dropped,
}

impl Check {
    fn seen(self, at_us: u64, timestamps: bool) -> Vec<Seen> {
        use Direction::{In, Out};
        let options = TcpOptions {
            mss: Some(1460),
            window_scale: Some(7),
            sack: true,
            timestamps,
            ecn: false,
        };
        let seen = |packet, direction, interface: &str, count| Seen {
            packet,
            direction,
            interface: interface.to_owned(),
            count,
            first: Stamp {
                at_us,
                uncertainty_us: 100,
            },
            options: (packet == Packet::Syn).then_some(options),
        };
        match self {
            Self::Completed => vec![
                seen(Packet::Syn, In, "eth0", 1),
                seen(Packet::SynAck, Out, "eth0", 1),
                seen(Packet::Ack, In, "eth0", 1),
            ],
            Self::Unanswered => vec![
                seen(Packet::Syn, In, "eth0", 1),
                seen(Packet::SynAck, Out, "eth1", 2),
            ],
            Self::Stale => vec![
                seen(Packet::Syn, In, "eth0", 2),
                seen(Packet::SynAck, Out, "eth0", 1),
                seen(Packet::Ack, In, "eth0", 1),
                seen(Packet::ResetByClient, In, "eth0", 1),
                seen(Packet::StaleAck, Out, "eth0", 1),
            ],
            Self::Dropped => vec![seen(Packet::Syn, In, "eth0", 3)],
            Self::Reset => vec![
                seen(Packet::Syn, In, "eth0", 1),
                seen(Packet::SynAck, Out, "eth0", 1),
                seen(Packet::ResetByClient, In, "eth0", 1),
            ],
        }
    }
}

/// Adds two connections a round from a client to each backend: how each goes is said by number of the
/// backend and of the connection.
fn connect(case: &mut Case, from: &str, timestamps: bool, how: impl Fn(usize, usize) -> Check) {
    let mut instants: Vec<u64> = case.observations.iter().map(|o| o.scheduled_us).collect();
    instants.sort_unstable();
    instants.dedup();
    let backends = case.topology.backends.clone();
    for (number, backend) in backends.iter().enumerate() {
        for (n, at) in instants
            .iter()
            .flat_map(|at| [*at, *at + 400_000])
            .enumerate()
        {
            let sequence = 1_000_000 + case.sightings.len() as u64;
            let port = 30_000 + u16::try_from(n).expect("few");
            let stamp = |at_us| Stamp {
                at_us,
                uncertainty_us: 100,
            };
            case.sightings.push(WitnessReport {
                witness: VantageName(backend.name.clone()),
                sequence,
                from: stamp(at),
                to: stamp(at + 1_000_000),
                dropped: 0,
                flows: vec![FlowSighting {
                    client: SocketAddr::new(from.parse().expect("an address"), port),
                    server: backend.address,
                    seen: how(number, n).seen(at + 100, timestamps),
                }],
                host: None,
                packets: Vec::new(),
            });
        }
    }
}

/// A healthy path, or one with faults, and no agent on the balancer.
fn beside(faults: &[Fault], layer4: bool) -> Case {
    seen_beside(beside_world(faults, layer4))
}

fn beside_world(faults: &[Fault], layer4: bool) -> World {
    let mut world = World::new(Mesh::Full, 5);
    world.layer4 = layer4;
    world.faults = faults.to_vec();
    if layer4 {
        world.declare(|topology| topology.vip_mode = VipMode::L4);
    }
    world
}

fn seen_beside(mut world: World) -> Case {
    (0..ROUNDS).for_each(|_| world.round());
    let mut case = world.case();
    case.topology.vantages.retain(|v| v.name.0 != "lb");
    case.observations.retain(|o| o.vantage().0 != "lb");
    case.sightings.retain(|report| report.witness.0 != "lb");
    case
}

fn named(verdict: &Verdict) -> Vec<(Kind, &str, &str)> {
    let faults = verdict.faults.iter();
    faults
        .map(|f| (f.component.kind, f.component.name.as_str(), f.mode.as_str()))
        .collect()
}

#[test]
fn health_checks_that_end_with_a_reset_are_a_habit_and_no_fault() {
    let rows: [(Check, Option<&str>); 2] = [
        (Check::Completed, None),
        (
            Check::Reset,
            Some("answered connections to web2 by a reset (24 of 24 at web1 and 24 of 24 at web3)"),
        ),
    ];
    for (check, expected) in rows {
        let mut case = beside(&[Fault::BackendStatus(1, 1.0)], false);
        connect(&mut case, "10.0.9.10", true, |_, _| check);
        let verdict = localize(&case).verdict;
        assert_eq!(named(&verdict), [(Kind::Backend, "web2", "http_5xx")]);
        let lines = verdict.faults[0].evidence.iter();
        let line = lines.clone().find(|line| line.arm == "closing/web2");
        assert_eq!(line.is_some(), expected.is_some());
        if let (Some(line), Some(expected)) = (line, expected) {
            assert!(line.text.contains(expected), "{}", line.text);
            assert!(!line.implicates);
        }
    }
}

#[test]
fn ways_back_to_the_balancer_are_known_from_its_own_connections() {
    type Row<'a> = (&'a str, fn(usize) -> Check, &'a [&'a str]);
    let rows: [Row<'_>; 4] = [
        ("all is well", |_| Check::Completed, &[]),
        ("checks end at the SYN-ACK", |_| Check::Reset, &[]),
        (
            "no host's answers come back",
            |_| Check::Unanswered,
            &["web1->10.0.9.10", "web2->10.0.9.10", "web3->10.0.9.10"],
        ),
        (
            "one host's do not",
            |backend| match backend {
                1 => Check::Unanswered,
                _ => Check::Completed,
            },
            &["web2->10.0.9.10"],
        ),
    ];
    for (row, second, expected) in rows {
        let lost = |n: usize| second(n) == Check::Unanswered;
        let faults = (0..3).filter(|n| lost(*n));
        let faults: Vec<Fault> = faults.map(|n| Fault::Return(n, SECOND, 1.0)).collect();
        let mut case = beside(&faults, false);
        connect(&mut case, FIRST, true, |_, _| Check::Completed);
        connect(&mut case, SECOND, true, |backend, _| second(backend));
        let verdict = localize(&case).verdict;
        let expected: Vec<_> = expected
            .iter()
            .map(|name| (Kind::ReturnPath, *name, "answers_lost"))
            .collect();
        let mut found = named(&verdict);
        found.sort_unstable();
        assert_eq!(found, expected, "{row}: {:?}", verdict.alternatives);
        let healthy = verdict.outcome == VerdictOutcome::Healthy;
        assert_eq!(healthy, expected.is_empty(), "{row}");
        for fault in &verdict.faults {
            let texts: Vec<&str> = fault.evidence.iter().map(|e| e.text.as_str()).collect();
            let by_another = texts.iter().any(|t| t.contains("another interface"));
            assert!(by_another, "{texts:?}");
            let left = match verdict.faults.len() {
                1 => {
                    "so 83 % of the capacity is left, and if backends drop out by chance, all of them are out at once 0.0 %"
                }
                _ => {
                    "so 50 % of the capacity is left, and if backends drop out by chance, all of them are out at once 12.5 %"
                }
            };
            assert!(texts.iter().any(|t| t.contains(left)), "{texts:?}");
        }
    }
}

/// Lets each host's kernel count what it left unanswered as handed to nobody.
fn count_undelivered(case: &mut Case) {
    for report in &mut case.sightings {
        let syns = |packet| -> u64 {
            let seen = report.flows.iter().flat_map(|flow| &flow.seen);
            let seen = seen.filter(|seen| seen.packet == packet);
            seen.map(|seen| u64::from(seen.count)).sum()
        };
        let lost = syns(Packet::Syn).saturating_sub(syns(Packet::SynAck));
        report.host = Some(HostReading {
            rose: [(Counter::Undelivered, lost)].into(),
            ..Default::default()
        });
    }
}

/// Its SYNs go unanswered for the reason that probes' do, and the host's kernel counts both.
#[test]
fn what_the_kernel_says_holds_for_the_balancers_own_connections() {
    let mut case = beside(&[Fault::BackendSyn(1, 1.0)], false);
    for from in [FIRST, SECOND] {
        connect(&mut case, from, true, |backend, _| match backend {
            1 => Check::Dropped,
            _ => Check::Completed,
        });
    }
    count_undelivered(&mut case);
    let verdict = localize(&case).verdict;
    let expected = (Kind::Backend, "web2", "host_firewall");
    assert_eq!(named(&verdict), [expected], "{:?}", verdict.alternatives);
    assert!(verdict.unknown < 0.05, "{}", verdict.unknown);
}

#[test]
fn nobody_is_blamed_for_strangers() {
    let mut case = beside(&[], false);
    connect(&mut case, STRANGER, true, |_, _| Check::Unanswered);
    let verdict = localize(&case).verdict;
    assert_eq!(verdict.outcome, VerdictOutcome::Healthy, "{verdict:?}");
}

/// A balancer at layer 4 whose ports come round: what it forwards meets old connections at the backends.
fn colliding() -> Case {
    let mut case = beside(&[], true);
    let vip = |target: &Target| matches!(target, Target::Vip { .. });
    let through = case.observations.iter_mut().filter(|o| vip(&o.arm.target));
    for (n, observation) in through.enumerate().filter(|(n, _)| n % 6 == 0) {
        let tcp = observation.facts.tcp.as_mut().expect("a connection");
        tcp.syn_retransmissions = 1;
        tcp.retransmissions = 1;
        let steps = observation.steps.iter_mut();
        for step in steps.filter(|step| step.layer == Layer::Tcp) {
            step.took = Micros(1_020_000 + n as u64);
        }
    }
    connect(&mut case, FIRST, false, |backend, n| {
        match (n + backend) % 6 {
            0 => Check::Stale,
            _ => Check::Completed,
        }
    });
    case
}

#[test]
fn old_connections_are_the_balancers_where_it_takes_ports_again() {
    let mut case = colliding();
    connect(&mut case, "10.0.5.5", true, |_, _| Check::Completed);
    let verdict = localize(&case).verdict;
    let expected = (
        Kind::LoadBalancer,
        "203.0.113.10:443",
        "port_reuse_collision",
    );
    assert_eq!(named(&verdict), [expected], "{:?}", verdict.alternatives);
    let fault = verdict.faults.first().expect("one");
    let texts: Vec<&str> = fault.evidence.iter().map(|e| e.text.as_str()).collect();
    for said in [
        "the ACK of an old connection from the same port",
        "the balancer strips TCP timestamps, or offers none",
    ] {
        assert!(texts.iter().any(|t| t.contains(said)), "{texts:#?}");
    }
}

/// Each port is taken twice, and only the second time meets an old connection.
#[test]
fn how_often_ports_are_taken_again_is_said_beside_what_comes_of_it() {
    let mut case = colliding();
    let own =
        |flow: &FlowSighting| flow.client.ip() == FIRST.parse::<IpAddr>().expect("an address");
    case.sightings
        .retain(|report| !report.flows.iter().any(own));
    connect(&mut case, FIRST, false, |_, n| match n % 2 {
        1 => Check::Stale,
        _ => Check::Completed,
    });
    let flows = case
        .sightings
        .iter_mut()
        .flat_map(|report| &mut report.flows);
    for flow in flows.filter(|flow| own(flow)) {
        flow.client.set_port(flow.client.port() / 2);
    }
    connect(&mut case, "10.0.5.5", true, |_, _| Check::Completed);
    let verdict = localize(&case).verdict;
    let fault = verdict.faults.first().expect("one");
    assert_eq!(fault.mode, "port_reuse_collision");
    let line = fault
        .evidence
        .iter()
        .find(|line| line.arm == "ports/lb")
        .expect("a line");
    let all = 6 * ROUNDS;
    let expected = format!(
        "{} of {all} connections of the balancer come from a port that it had used",
        all / 2
    );
    assert!(line.text.starts_with(&expected), "{}", line.text);
    assert_eq!((line.failed, line.of), (all as u64 / 2, all as u64 / 2));
    let others = format!("and 0 of the {} from other ports", all / 2);
    assert!(line.text.ends_with(&others), "{}", line.text);
}

/// The line about a balancer's layer, of the one fault of a case.
fn layer(case: &Case) -> String {
    let verdict = localize(case).verdict;
    let mut lines = verdict.faults.iter().flat_map(|fault| &fault.evidence);
    let line = lines.find(|line| line.arm == "balancing/lb");
    line.expect("a line").text.clone()
}

#[test]
fn at_which_layer_a_balancer_works_is_said_with_what_tells() {
    let ends = layer(&beside(&[Fault::BalancerStatus(503)], false));
    assert!(
        ends.contains("makes its own (layer 7): 0 of the "),
        "{ends}"
    );
    let mut case = colliding();
    let translates = layer(&case);
    assert!(
        translates.contains("from addresses of its own (layer 4): 0 of the "),
        "{translates}"
    );
    // The same connections come to a backend as they are.
    let to_vip = |o: &&Observation| matches!(o.arm.target, Target::Vip { .. });
    let through = case.observations.iter().filter(to_vip);
    let clients: Vec<SocketAddr> = through
        .filter_map(|o| Some(o.facts.tcp.as_ref()?.local))
        .collect();
    let report = case.sightings.iter_mut().find(|report| {
        let mut flows = report.flows.iter();
        report.witness.0 == "web1" && flows.any(|flow| flow.client.ip().to_string() == FIRST)
    });
    let flows = &mut report.expect("a report").flows;
    let like = flows.first().expect("a flow").clone();
    flows.extend(clients.into_iter().map(|client| FlowSighting {
        client,
        ..like.clone()
    }));
    let forwards = layer(&case);
    assert!(
        forwards.contains("connections as they are (layer 4): "),
        "{forwards}"
    );
    assert!(!forwards.contains(": 0 of the"), "{forwards}");
}

#[test]
fn no_word_of_timestamps_where_all_have_them() {
    let mut case = colliding();
    let flows = case.sightings.iter_mut().flat_map(|r| &mut r.flows);
    for seen in flows.flat_map(|flow| &mut flow.seen) {
        if let Some(options) = &mut seen.options {
            options.timestamps = true;
        }
    }
    connect(&mut case, "10.0.5.5", true, |_, _| Check::Completed);
    let verdict = localize(&case).verdict;
    assert_eq!(verdict.faults.len(), 1, "{:?}", verdict.alternatives);
    let evidence = verdict.faults.iter().flat_map(|fault| &fault.evidence);
    let told = evidence.filter(|line| line.arm.starts_with("handshake/"));
    assert_eq!(told.count(), 0);
}

/// A port that comes round too soon meets what the host remembers of it; new ports are let in.
#[test]
fn what_collides_is_no_packet_filter() {
    let mut world = beside_world(&[Fault::BackendPortReuse(1, 0.3)], true);
    world.reuses_ports = true;
    let mut case = seen_beside(world);
    connect(&mut case, FIRST, true, |backend, n| match backend {
        1 if n % 3 > 0 => Check::Dropped,
        _ => Check::Completed,
    });
    // Of the balancer's ports every third is new.
    let own = case.sightings.iter_mut().flat_map(|r| &mut r.flows);
    for flow in own.filter(|flow| flow.client.ip() == FIRST.parse::<IpAddr>().expect("an address"))
    {
        flow.client.set_port(flow.client.port() / 3);
    }
    count_undelivered(&mut case);
    let verdict = localize(&case).verdict;
    let expected = (Kind::Backend, "web2", "port_reuse_collision");
    assert_eq!(named(&verdict), [expected], "{:?}", verdict.alternatives);
}
