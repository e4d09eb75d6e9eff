//! One bad message for each reason.

use std::collections::BTreeMap;
use std::fmt::Debug;

use localize::{
    Arm, Component, Counter, Facts, Firing, HostReading, Layer, Observation, ObservationId,
    Outcome, RoundId, ServiceName, Setting, Stamp, Target, Trace, VantageName, Verdict,
    WitnessReport,
};
use proto::convert::Malformed;
use proto::v1;

use crate::arbitrary::{KINDS, OUTCOMES, PATTERNS};

fn good() -> v1::Observation {
    v1::Observation::from(&Observation {
        id: ObservationId {
            vantage: VantageName("home1".into()),
            sequence: 7,
        },
        service: ServiceName("shop.example".into()),
        round: RoundId(1),
        arm: Arm::to(Target::Backend {
            name: "web2".into(),
            address: ([192, 0, 2, 2], 80).into(),
        }),
        started: Stamp::default(),
        scheduled_us: 0,
        firing: Firing::OnTime,
        steps: Vec::new(),
        outcome: Outcome::Passed,
        facts: Facts::default(),
    })
}

fn failed(failed: v1::Failed) -> Option<v1::observation::Outcome> {
    Some(v1::observation::Outcome::Failed(failed))
}

fn step(layer: v1::Layer) -> v1::Step {
    v1::Step {
        layer: layer.into(),
        took_us: 1,
    }
}

#[test]
fn what_is_wrong_with_an_observation_is_said() {
    type Change = fn(&mut v1::Observation);
    let rows: &[(Change, &str)] = &[
        (|o| o.vantage.clear(), "vantage is missing"),
        (
            |o| o.vantage = "a".repeat(254),
            "vantage is over its bound of 253",
        ),
        (
            |o| o.service = "a\u{1b}[2J".into(),
            "service holds a control character",
        ),
        (|o| o.arm = None, "arm is missing"),
        (
            |o| o.arm = Some(v1::Arm::default()),
            "arm.target is missing",
        ),
        (
            |o| {
                let edge = v1::EdgeTarget {
                    address: "192.0.2.1".into(),
                };
                let target = Some(v1::arm::Target::Edge(edge));
                o.arm = Some(v1::Arm {
                    target,
                    ..v1::Arm::default()
                });
            },
            "arm.edge is no address: \"192.0.2.1\"",
        ),
        (
            |o| {
                if let Some(arm) = &mut o.arm {
                    arm.source = Some("here".into());
                }
            },
            "arm.source is no address: \"here\"",
        ),
        (
            |o| {
                let resolver = v1::ResolverTarget {
                    server: "192.0.2.1:53".into(),
                };
                o.arm = Some(v1::Arm {
                    target: Some(v1::arm::Target::Resolver(resolver)),
                    reuse_port: true,
                    ..v1::Arm::default()
                });
            },
            "arm.reuse_port and arm.target contradict each other",
        ),
        (
            |o| {
                let server = v1::NameServerTarget {
                    name: "ns1".into(),
                    server: "192.0.2.53:53".into(),
                };
                o.arm = Some(v1::Arm {
                    target: Some(v1::arm::Target::NameServer(server)),
                    large: true,
                    ..v1::Arm::default()
                });
            },
            "arm.large and arm.target contradict each other",
        ),
        (
            |o| {
                o.tcp = Some(v1::TcpFacts {
                    local: "192.0.2.9:4000".into(),
                    reused_after_us: Some(900),
                    ..v1::TcpFacts::default()
                });
            },
            "arm.reuse_port and tcp.reused_after contradict each other",
        ),
        (
            |o| {
                if let Some(arm) = &mut o.arm {
                    arm.reuse_port = true;
                }
                o.tcp = Some(v1::TcpFacts {
                    local: "192.0.2.9:4000".into(),
                    ..v1::TcpFacts::default()
                });
            },
            "arm.reuse_port and tcp.reused_after contradict each other",
        ),
        (
            |o| {
                o.tcp = Some(v1::TcpFacts {
                    local: "192.0.2.9:4000".into(),
                    reused_after_us: Some(3_600_000_001),
                    ..v1::TcpFacts::default()
                });
            },
            "tcp.reused_after is over its bound of 3600000000",
        ),
        (|o| o.started = None, "started is missing"),
        (
            |o| {
                o.started = Some(v1::Stamp {
                    at_us: u64::MAX,
                    uncertainty_us: 0,
                })
            },
            "stamp is over its bound of 9223372036854775807",
        ),
        (|o| o.scheduled_us = u64::MAX, "scheduled is over its bound"),
        (|o| o.firing = None, "firing is missing"),
        (
            |o| o.firing = Some(v1::Firing::default()),
            "firing is missing",
        ),
        (
            |o| o.steps = vec![step(v1::Layer::Tcp); 9],
            "steps is over its bound of 8",
        ),
        (
            |o| o.steps = vec![step(v1::Layer::Tls), step(v1::Layer::Tcp)],
            "steps are out of order",
        ),
        (
            |o| o.steps = vec![step(v1::Layer::Unspecified)],
            "layer is missing",
        ),
        (
            |o| {
                o.steps = vec![v1::Step {
                    layer: 9,
                    took_us: 0,
                }]
            },
            "layer has the unknown value 9",
        ),
        (|o| o.outcome = None, "outcome is missing"),
        (
            |o| {
                o.outcome = failed(v1::Failed {
                    layer: 2,
                    failure: 99,
                    code: 0,
                    after_us: 0,
                })
            },
            "failure has the unknown value 99",
        ),
        (
            |o| {
                o.outcome = failed(v1::Failed {
                    layer: 2,
                    failure: 0,
                    code: 0,
                    after_us: 0,
                })
            },
            "failure is missing",
        ),
        (
            |o| {
                o.outcome = failed(v1::Failed {
                    layer: 3,
                    failure: 14,
                    code: 256,
                    after_us: 0,
                })
            },
            "failure.code is over its bound of 255",
        ),
        (
            |o| {
                let addresses = vec!["192.0.2.1".into(); 65];
                o.dns = Some(v1::DnsFacts {
                    addresses,
                    ..Default::default()
                });
            },
            "dns.addresses is over its bound of 64",
        ),
        (
            |o| {
                o.dns = Some(v1::DnsFacts {
                    extended: vec![65_536],
                    ..Default::default()
                });
            },
            "dns.extended is over its bound of 65535",
        ),
        (
            |o| {
                o.dns = Some(v1::DnsFacts {
                    extended: vec![6; 9],
                    ..Default::default()
                });
            },
            "dns.extended is over its bound of 8",
        ),
        (
            |o| {
                o.dns = Some(v1::DnsFacts {
                    soa: Some(v1::DnsSoa {
                        zone: "z".repeat(1001),
                        ..Default::default()
                    }),
                    ..Default::default()
                });
            },
            "dns.soa.zone is over its bound of 1000",
        ),
        (
            |o| o.dns = again(&["192.0.2.1"], 0, 2),
            "dns.aaaa and dns.aaaa.addresses contradict each other",
        ),
        (
            |o| o.dns = again(&["2001:db8::1"], 0, 3),
            "dns.unchecked and dns.rcode contradict each other",
        ),
        (
            |o| o.dns = again(&["2001:db8::1"], 1, 2),
            "dns.again.addresses and dns.again.failure contradict each other",
        ),
        (|o| o.dns = again(&[], 0, 2), "failure is missing"),
        (
            |o| o.dns = again(&[], v1::FailureKind::FailureTlsReset.into(), 2),
            "dns.again.failure and dns contradict each other",
        ),
        (
            |o| o.dns = again(&[], 4_000, 2),
            "failure has the unknown value 4000",
        ),
        (
            |o| {
                o.dns = Some(v1::DnsFacts {
                    aaaa: Some(v1::DnsAgain {
                        took_us: u64::MAX,
                        addresses: vec!["2001:db8::1".into()],
                        ..Default::default()
                    }),
                    ..Default::default()
                });
            },
            "dns.again.took is over its bound",
        ),
        (
            |o| {
                o.http = Some(v1::HttpFacts {
                    status: 65_536,
                    ..Default::default()
                })
            },
            "http.status is over its bound",
        ),
        (
            |o| {
                o.http = Some(v1::HttpFacts {
                    redirect: 9,
                    ..Default::default()
                });
            },
            "http.redirect has the unknown value 9",
        ),
        (
            |o| {
                o.outcome = failed(v1::Failed {
                    layer: v1::Layer::Http.into(),
                    failure: v1::FailureKind::FailureHttpVersion.into(),
                    code: 3,
                    after_us: 0,
                });
            },
            "failure.code has the unknown value 3",
        ),
        (
            |o| {
                let headers = vec![v1::Header::default(); 33];
                o.http = Some(v1::HttpFacts {
                    headers,
                    ..Default::default()
                });
            },
            "http.headers is over its bound of 32",
        ),
        (
            |o| {
                let headers = vec![v1::Header {
                    name: "via".into(),
                    value: "x".repeat(129),
                }];
                o.http = Some(v1::HttpFacts {
                    headers,
                    ..Default::default()
                });
            },
            "http.header.value is over its bound of 128",
        ),
    ];
    for (change, says) in rows {
        let mut wire = good();
        change(&mut wire);
        refused(Observation::try_from(wire), says);
    }
}

#[test]
fn what_is_wrong_with_a_report_is_said() {
    let report = || v1::WitnessReport {
        witness: "web1".into(),
        from: Some(v1::Stamp::default()),
        to: Some(v1::Stamp::default()),
        ..Default::default()
    };
    let flow = |seen| v1::FlowSighting {
        client: "192.0.2.1:1".into(),
        server: "192.0.2.2:80".into(),
        seen,
    };
    let sighting = v1::Seen {
        packet: v1::Packet::Syn.into(),
        interface: "eth0".into(),
        first: Some(v1::Stamp::default()),
        ..Default::default()
    };
    let seen = |seen: Vec<v1::Seen>| v1::WitnessReport {
        flows: vec![flow(seen)],
        ..report()
    };
    let packet = v1::PacketHeaders {
        at: Some(v1::Stamp::default()),
        interface: "eth0".into(),
        headers: vec![0x45; 40],
        out: true,
    };
    let packets = |packets| v1::WitnessReport {
        packets,
        ..report()
    };
    let rows = [
        (
            v1::WitnessReport {
                from: None,
                ..report()
            },
            "report.from is missing",
        ),
        (
            v1::WitnessReport {
                flows: vec![v1::FlowSighting::default(); 20_001],
                ..report()
            },
            "report.flows is over its bound of 20000",
        ),
        (
            v1::WitnessReport {
                flows: vec![v1::FlowSighting::default()],
                ..report()
            },
            "flow.client is no address",
        ),
        (
            seen(vec![sighting.clone(); 65]),
            "flow.seen is over its bound of 64",
        ),
        (
            seen(vec![v1::Seen {
                packet: 0,
                ..sighting.clone()
            }]),
            "packet is missing",
        ),
        (
            seen(vec![v1::Seen {
                packet: 8,
                ..sighting.clone()
            }]),
            "packet has the unknown value 8",
        ),
        (
            seen(vec![v1::Seen {
                options: Some(v1::TcpOptions {
                    mss: Some(65_536),
                    ..Default::default()
                }),
                ..sighting.clone()
            }]),
            "options.mss is over its bound of 65535",
        ),
        (
            seen(vec![v1::Seen {
                interface: String::new(),
                ..sighting
            }]),
            "seen.interface is missing",
        ),
        (
            v1::WitnessReport {
                host: Some(v1::HostReading {
                    unread: vec![String::new(); 201],
                    ..Default::default()
                }),
                ..report()
            },
            "host.unread is over its bound of 200",
        ),
        (
            v1::WitnessReport {
                host: Some(v1::HostReading {
                    queues: vec![v1::host_reading::Queue::default()],
                    ..Default::default()
                }),
                ..report()
            },
            "queue.local is no address",
        ),
        (
            packets(vec![v1::PacketHeaders::default(); 2049]),
            "report.packets is over its bound of 2048",
        ),
        (
            packets(vec![v1::PacketHeaders {
                headers: vec![0; 121],
                ..packet.clone()
            }]),
            "packet.headers is over its bound of 120",
        ),
        (
            packets(vec![v1::PacketHeaders {
                at: None,
                ..packet.clone()
            }]),
            "packet.at is missing",
        ),
        (
            packets(vec![v1::PacketHeaders {
                interface: String::new(),
                ..packet
            }]),
            "packet.interface is missing",
        ),
    ];
    for (wire, says) in rows {
        refused(WitnessReport::try_from(wire), says);
    }
}

#[test]
fn what_is_wrong_with_a_trace_is_said() {
    let trace = || v1::Trace {
        vantage: "home1".into(),
        service: "shop.example".into(),
        from: "192.0.2.1:40000".into(),
        to: "192.0.2.2:443".into(),
        started: Some(v1::Stamp::default()),
        ..Default::default()
    };
    let hop = |heard: v1::trace_hop::Heard, by: &str, code| v1::Trace {
        hops: vec![v1::TraceHop {
            heard: heard.into(),
            by: by.to_owned(),
            code,
            ..Default::default()
        }],
        ..trace()
    };
    use v1::trace_hop::Heard;
    let rows = [
        (
            v1::Trace {
                vantage: "home\u{1b}1".into(),
                ..trace()
            },
            "trace.vantage holds a control character",
        ),
        (
            v1::Trace {
                from: "192.0.2.1".into(),
                ..trace()
            },
            "trace.from is no address",
        ),
        (
            v1::Trace {
                started: None,
                ..trace()
            },
            "trace.started is missing",
        ),
        (
            v1::Trace {
                hops: vec![v1::TraceHop::default(); 65],
                ..trace()
            },
            "trace.hops is over its bound of 64",
        ),
        (hop(Heard::Unspecified, "", 0), "hop.heard is missing"),
        (
            v1::Trace {
                whole: Some(v1::TraceHop {
                    heard: 7,
                    ..Default::default()
                }),
                ..trace()
            },
            "hop.heard has the unknown value 7",
        ),
        (hop(Heard::Expired, "\u{1b}[2J", 0), "hop.by is no address"),
        (
            hop(Heard::Unreachable, "192.0.2.3", 256),
            "hop.code is over its bound of 255",
        ),
        (
            v1::Trace {
                hops: vec![v1::TraceHop {
                    heard: Heard::SynAck.into(),
                    rtt_us: 3_600_000_001,
                    ..Default::default()
                }],
                ..trace()
            },
            "hop.rtt is over its bound of 3600000000",
        ),
    ];
    for (wire, says) in rows {
        refused(Trace::try_from(wire), says);
    }
}

#[test]
fn what_a_newer_agent_counts_is_left_out() {
    let value = |word: &str, value| v1::host_reading::Value {
        word: word.to_owned(),
        value,
    };
    let wire = v1::HostReading {
        rose: vec![value("listen_overflows", 31), value("tcp_of_2040", 7)],
        unread: vec!["tcp_of_2041".to_owned()],
        settings: vec![value("tcp_timestamps", 0), value("sysctl_of_2040", 1)],
        ..Default::default()
    };
    let read = HostReading::try_from(wire).expect("nothing is wrong with it");
    assert_eq!(read.rose, BTreeMap::from([(Counter::ListenOverflows, 31)]));
    assert!(read.unread.is_empty());
    assert_eq!(read.settings, BTreeMap::from([(Setting::TcpTimestamps, 0)]));
}

#[test]
fn what_is_wrong_with_a_verdict_is_said() {
    let verdict = |outcome: &str| v1::Verdict {
        outcome: outcome.into(),
        ..Default::default()
    };
    let fault = v1::Fault {
        component: Some(v1::Component {
            kind: "backend".into(),
            name: "web2".into(),
        }),
        confidence: f64::NAN,
        rate: Some(v1::Rate::default()),
        ..Default::default()
    };
    let faults = |fault| v1::Verdict {
        faults: vec![fault],
        ..verdict("fault")
    };
    let unknown = Some(v1::Component {
        kind: "moon".into(),
        name: "x".into(),
    });
    let rows = [
        (verdict("sad"), "outcome has the unknown word \"sad\""),
        (
            v1::Verdict {
                detection_rate: f64::INFINITY,
                ..verdict("healthy")
            },
            "detection_rate is not a finite number",
        ),
        (faults(fault.clone()), "confidence is not a finite number"),
        (
            faults(v1::Fault {
                rate: None,
                ..fault.clone()
            }),
            "fault.rate is missing",
        ),
        (
            faults(v1::Fault {
                component: None,
                ..fault.clone()
            }),
            "component is missing",
        ),
        (
            faults(v1::Fault {
                confidence: 0.5,
                pattern: "tidal".into(),
                ..fault.clone()
            }),
            "fault.pattern has the unknown word \"tidal\"",
        ),
        (
            faults(v1::Fault {
                confidence: 0.5,
                period_s: Some(f64::NAN),
                ..fault.clone()
            }),
            "fault.period_s is not a finite number",
        ),
        (
            v1::Verdict {
                earlier: vec![v1::Earlier::default()],
                ..verdict("healthy")
            },
            "component is missing",
        ),
        (
            faults(v1::Fault {
                component: unknown,
                ..fault
            }),
            "component.kind has the unknown word \"moon\"",
        ),
    ];
    for (wire, says) in rows {
        refused(Verdict::try_from(wire), says);
    }
}

fn refused<T: Debug>(result: Result<T, Malformed>, says: &str) {
    let said = result.expect_err(says).to_string();
    assert!(said.contains(says), "{said:?} instead of {says:?}");
}

#[test]
fn text_of_servers_reaches_no_terminal_raw() {
    let mut wire = good();
    let headers = vec![v1::Header {
        name: "server".into(),
        value: "\u{1b}[2Jx\r".into(),
    }];
    wire.http = Some(v1::HttpFacts {
        headers,
        ..Default::default()
    });
    let http = Observation::try_from(wire).unwrap().facts.http.unwrap();
    assert_eq!(http.headers, [("server".to_owned(), "?[2Jx?".to_owned())]);
}

#[test]
fn an_unspecified_role_is_refused() {
    use localize::Role;
    for role in [Role::Outside, Role::BehindCdn, Role::Inside] {
        assert_eq!(Role::try_from(v1::Role::from(role)), Ok(role));
    }
    assert_eq!(
        Role::try_from(v1::Role::Unspecified),
        Err(Malformed::Missing("role"))
    );
    assert_eq!(
        Layer::try_from(v1::Layer::Unspecified),
        Err(Malformed::Missing("layer"))
    );
}

#[test]
fn the_words_are_those_of_the_json() {
    let json = |value: serde_json::Value| value.as_str().unwrap().to_owned();
    for kind in KINDS {
        let component = Component {
            kind,
            name: "x".into(),
        };
        let word = v1::Component::from(&component).kind;
        assert_eq!(word, json(serde_json::to_value(kind).unwrap()));
    }
    for pattern in PATTERNS {
        let word = json(serde_json::to_value(pattern).unwrap());
        let wire = v1::Verdict {
            faults: vec![v1::Fault {
                component: Some(v1::Component {
                    kind: "backend".into(),
                    name: "x".into(),
                }),
                rate: Some(v1::Rate::default()),
                pattern: word.clone(),
                ..Default::default()
            }],
            outcome: "fault".into(),
            ..Default::default()
        };
        let verdict = Verdict::try_from(wire).unwrap();
        assert_eq!(verdict.faults[0].pattern, pattern);
        assert_eq!(v1::Verdict::from(&verdict).faults[0].pattern, word);
    }
    for outcome in OUTCOMES {
        let word = json(serde_json::to_value(outcome).unwrap());
        let wire = v1::Verdict {
            outcome: word.clone(),
            ..Default::default()
        };
        let verdict = Verdict::try_from(wire).unwrap();
        assert_eq!(v1::Verdict::from(&verdict).outcome, word);
    }
}

/// Both questions that are asked beside the first one, with the same reply.
fn again(addresses: &[&str], failure: i32, rcode: u32) -> Option<v1::DnsFacts> {
    let again = v1::DnsAgain {
        took_us: 1,
        addresses: addresses.iter().map(ToString::to_string).collect(),
        failure,
    };
    Some(v1::DnsFacts {
        rcode,
        aaaa: Some(again.clone()),
        unchecked: Some(again),
        ..Default::default()
    })
}

#[test]
fn a_clock_of_which_nothing_is_known_is_no_mistake() {
    for uncertainty_us in [0, localize::Stamp::UNKNOWN_US, u64::MAX] {
        let stamp = v1::Stamp {
            at_us: 1,
            uncertainty_us,
        };
        let stamp = localize::Stamp::try_from(stamp).expect("a stamp");
        assert_eq!(
            stamp.uncertainty_us,
            uncertainty_us.min(localize::Stamp::UNKNOWN_US)
        );
    }
}
