//! Facts and verdicts of every shape that the edge lets through.

use std::net::{IpAddr, SocketAddr};

use localize::dns::{Again, Reply, Searched, Soa, Validity};
use localize::verdict::{Earlier, NotProbed};
use localize::{
    Alternative, Arm, Clock, Component, Counter, Detection, Direction, DnsFacts, Evidence,
    Exonerated, Facts, Failure, Fault, Firing, FlowSighting, Heard, HostReading, HttpFacts,
    HttpVersion, Kind, Layer, ListenQueue, Micros, Observation, ObservationId, Outcome, Packet,
    PacketHeaders, Pattern, Rate, Redirect, Rival, RoundId, Seen, ServiceName, Setting, Stamp,
    Step, TWINS, Target, TcpFacts, TcpOptions, TlsFacts, Trace, Traits, VantageName, Verdict,
    VerdictOutcome, WitnessReport,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const LAYERS: [Layer; 4] = [Layer::Dns, Layer::Tcp, Layer::Tls, Layer::Http];

/// Every kind of component, in the order of the interface.
pub const KINDS: [Kind; 10] = [
    Kind::ClientNetwork,
    Kind::Resolver,
    Kind::AuthoritativeDns,
    Kind::Cdn,
    Kind::CdnOriginPath,
    Kind::Origin,
    Kind::LoadBalancer,
    Kind::LbBackendPath,
    Kind::Backend,
    Kind::ReturnPath,
];

/// Every conclusion.
pub const OUTCOMES: [VerdictOutcome; 3] = [
    VerdictOutcome::Healthy,
    VerdictOutcome::Fault,
    VerdictOutcome::Inconclusive,
];

/// Every way in which failures go on.
pub const PATTERNS: [Pattern; 7] = [
    Pattern::Steady,
    Pattern::Bursts,
    Pattern::Periodic,
    Pattern::ByFlow,
    Pattern::BySource,
    Pattern::ByVariant,
    Pattern::ByCookie,
];

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9äß_.*>-]{1,40}"
}

fn text() -> impl Strategy<Value = String> {
    // Letters, marks, numbers, punctuation, symbols and the space: what stands in a line as it is.
    "[\\pL\\pM\\pN\\pP\\pS ]{0,30}"
}

fn micros() -> impl Strategy<Value = Micros> {
    (0..=3_600_000_000_u64).prop_map(Micros)
}

fn instant() -> impl Strategy<Value = u64> {
    0..=i64::MAX as u64
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (instant(), micros()).prop_map(|(at_us, Micros(uncertainty_us))| Stamp {
        at_us,
        uncertainty_us,
    })
}

/// Without a flow label, which the text of an address does not hold.
fn address() -> impl Strategy<Value = SocketAddr> {
    any::<(IpAddr, u16)>().prop_map(SocketAddr::from)
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        address().prop_map(|server| Target::Resolver { server }),
        (name(), address()).prop_map(|(name, server)| Target::NameServer { name, server }),
        address().prop_map(|address| Target::Edge { address }),
        address().prop_map(|address| Target::Vip { address }),
        (name(), address()).prop_map(|(name, address)| Target::Backend { name, address }),
    ]
}

fn arm() -> impl Strategy<Value = Arm> {
    let twins = subsequence(TWINS, 0..=TWINS.len());
    let traits =
        twins.prop_map(|twins| twins.iter().fold(Traits::PLAIN, |all, t| all.and(t.traits)));
    let sources = option::of(any::<IpAddr>());
    (target(), sources, traits).prop_map(|(target, source, traits)| match target {
        Target::Resolver { .. } | Target::NameServer { .. } => Arm {
            source,
            ..Arm::to(target)
        },
        Target::Edge { .. } | Target::Vip { .. } | Target::Backend { .. } => Arm {
            target,
            source,
            traits,
        },
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    let plain = select(vec![
        Failure::DnsTimeout,
        Failure::DnsUnreachable,
        Failure::DnsRefused,
        Failure::DnsServfail,
        Failure::DnsNxdomain,
        Failure::DnsNoData,
        Failure::DnsMalformed,
        Failure::DnsLame,
        Failure::ConnectRefused,
        Failure::ConnectTimeout,
        Failure::ConnectUnreachable,
        Failure::ConnectLocal,
        Failure::TlsTimeout,
        Failure::TlsReset,
        Failure::CertificateExpired,
        Failure::CertificateNotYetValid,
        Failure::CertificateUnknownIssuer,
        Failure::CertificateChainIncomplete,
        Failure::CertificateWrongName,
        Failure::CertificateInvalid,
        Failure::TlsProtocol,
        Failure::ResetBeforeRequest,
        Failure::ResetAfterRequest,
        Failure::ClosedWithoutAnswer,
        Failure::HttpTimeout,
        Failure::BodyTimeout,
        Failure::BodyTruncated,
        Failure::HttpMalformed,
        Failure::UnexpectedBody,
        Failure::LateFirstByte,
        Failure::HttpVersion(HttpVersion::One),
        Failure::HttpVersion(HttpVersion::Two),
    ]);
    prop_oneof![
        plain,
        any::<u8>().prop_map(Failure::TlsAlert),
        any::<u16>().prop_map(Failure::HttpStatus),
        any::<u16>().prop_map(Failure::CdnStatus),
        any::<u16>().prop_map(Failure::UnexpectedStatus),
    ]
}

fn firing() -> impl Strategy<Value = Firing> {
    prop_oneof![
        Just(Firing::OnTime),
        (micros(), text()).prop_map(|(by, why)| Firing::Late { by, why }),
        text().prop_map(|why| Firing::Skipped { why }),
    ]
}

/// Layers in their order, each once; where the probe failed, the last one is the layer that did.
fn course() -> impl Strategy<Value = (Vec<Step>, Outcome)> {
    let step = (subsequence(LAYERS.to_vec(), 1..=4), vec(micros(), 4));
    (step, failure(), micros(), 0..3_u8).prop_map(|((layers, took), failure, after, end)| {
        let mut steps: Vec<Step> = layers
            .into_iter()
            .zip(took)
            .map(|(layer, took)| Step { layer, took })
            .collect();
        let outcome = match end {
            0 => Outcome::Passed,
            1 => Outcome::NotFired,
            _ => steps
                .pop()
                .map_or(Outcome::NotFired, |last| Outcome::Failed {
                    layer: last.layer,
                    failure,
                    after,
                }),
        };
        (steps, outcome)
    })
}

fn dns() -> impl Strategy<Value = DnsFacts> {
    let addresses = vec(any::<IpAddr>(), 0..=64);
    let flags = any::<(u8, bool, bool, bool, Option<u32>)>();
    let extended = vec(any::<u16>(), 0..=8);
    let ipv6 = any::<std::net::Ipv6Addr>().prop_map(IpAddr::V6);
    let searched = (name(), again(any::<IpAddr>()));
    let asked = (
        option::of(again(ipv6)),
        option::of(again(any::<IpAddr>())),
        option::of(searched),
    );
    let soa = (text(), text(), any::<u32>(), any::<u32>());
    let signed = option::of(any::<(u32, u32)>());
    (flags, addresses, extended, option::of(soa), signed, asked).prop_map(
        |(
            (rcode, authoritative, over_tcp, authentic, ttl),
            addresses,
            extended,
            soa,
            signed,
            (aaaa, unchecked, searched),
        )| DnsFacts {
            // Checking is disabled after a SERVFAIL alone.
            rcode: if unchecked.is_some() { 2 } else { rcode },
            addresses,
            authoritative,
            over_tcp,
            ttl,
            authentic,
            extended,
            soa: soa.map(|(zone, primary, serial, negative_ttl)| Soa {
                zone,
                primary,
                serial,
                negative_ttl,
            }),
            signed: signed.map(|(inception, expiration)| Validity {
                inception,
                expiration,
            }),
            aaaa,
            unchecked,
            searched: searched.map(|(name, again)| Searched { name, again }),
        },
    )
}

fn again(address: impl Strategy<Value = IpAddr> + 'static) -> impl Strategy<Value = Again> {
    let failures = select(vec![
        Failure::DnsTimeout,
        Failure::DnsServfail,
        Failure::DnsNoData,
        Failure::DnsLame,
    ]);
    let reply = prop_oneof![
        vec(address, 1..=64).prop_map(Reply::Addresses),
        failures.prop_map(Reply::Failed),
    ];
    (micros(), reply).prop_map(|(took, reply)| Again { took, reply })
}

fn tcp() -> impl Strategy<Value = TcpFacts> {
    let options = option::of(tcp_options());
    (
        address(),
        any::<(u32, u32)>(),
        option::of(micros()),
        options,
    )
        .prop_map(
            |(local, (syn_retransmissions, retransmissions), rtt, options)| TcpFacts {
                local,
                syn_retransmissions,
                retransmissions,
                rtt,
                reused_after: None,
                options,
            },
        )
}

fn http() -> impl Strategy<Value = HttpFacts> {
    let headers = vec((name(), text()), 0..=32);
    let redirects = select(vec![Redirect::None, Redirect::Within, Redirect::Elsewhere]);
    let numbers = any::<(u16, u64)>();
    (numbers, micros(), "[0-9a-f]{32}", headers, redirects).prop_map(
        |((status, body_bytes), first_byte, body_digest, headers, redirect)| HttpFacts {
            status,
            first_byte,
            body_bytes,
            body_digest,
            headers,
            redirect,
        },
    )
}

fn facts() -> impl Strategy<Value = Facts> {
    let tls = (
        "[0-9a-f]{32}",
        any::<i64>(),
        option::of(any::<i64>()),
        option::of(any::<i64>()),
    )
        .prop_map(|(leaf, not_after, not_before, judged_at)| TlsFacts {
            leaf,
            not_after,
            not_before,
            judged_at,
        });
    (
        option::of(dns()),
        option::of(tcp()),
        option::of(tls),
        option::of(http()),
    )
        .prop_map(|(dns, tcp, tls, http)| Facts {
            dns,
            tcp,
            tls,
            http,
        })
}

/// An observation.
pub fn observation() -> impl Strategy<Value = Observation> {
    let ids = (name(), any::<u64>(), name(), any::<u64>());
    let times = (stamp(), instant(), firing());
    (ids, arm(), times, course(), facts(), micros()).prop_map(
        |((vantage, sequence, service, round), arm, times, (steps, outcome), mut facts, reuse)| {
            let (started, scheduled_us, firing) = times;
            if let Some(tcp) = &mut facts.tcp {
                tcp.reused_after = (!arm.traits.port.is_plain()).then_some(reuse);
            }
            Observation {
                id: ObservationId {
                    vantage: VantageName(vantage),
                    sequence,
                },
                service: ServiceName(service),
                round: RoundId(round),
                arm,
                started,
                scheduled_us,
                firing,
                steps,
                outcome,
                facts,
            }
        },
    )
}

fn tcp_options() -> impl Strategy<Value = TcpOptions> {
    any::<(Option<u16>, Option<u8>, bool, bool, bool)>().prop_map(
        |(mss, window_scale, sack, timestamps, ecn)| TcpOptions {
            mss,
            window_scale,
            sack,
            timestamps,
            ecn,
        },
    )
}

fn seen() -> impl Strategy<Value = Seen> {
    let packet = select(vec![
        Packet::Syn,
        Packet::SynAck,
        Packet::Ack,
        Packet::ResetByClient,
        Packet::ResetByServer,
        Packet::StaleAck,
        Packet::Established,
    ]);
    let direction = select(vec![Direction::In, Direction::Out]);
    let options = option::of(tcp_options());
    (packet, direction, name(), any::<u32>(), stamp(), options).prop_map(
        |(packet, direction, interface, count, first, options)| Seen {
            packet,
            direction,
            interface,
            count,
            first,
            options,
        },
    )
}

/// What a host's kernel counted.
fn host_reading() -> impl Strategy<Value = HostReading> {
    let counter = || select(Counter::ALL.to_vec());
    (
        btree_map(counter(), any::<u64>(), 0..6),
        btree_set(counter(), 0..3),
        btree_map(select(Setting::ALL.to_vec()), any::<u64>(), 0..6),
        vec((address(), any::<u32>(), any::<u32>()), 0..3),
    )
        .prop_map(|(rose, unread, settings, queues)| HostReading {
            rose,
            unread,
            settings,
            queues: queues
                .into_iter()
                .map(|(local, waiting, room)| ListenQueue {
                    local,
                    waiting,
                    room,
                })
                .collect(),
        })
}

fn heard() -> impl Strategy<Value = Heard> {
    let by = || address().prop_map(|address| address.ip());
    let rtt = || (0..3_600_000_000u64).prop_map(Micros);
    prop_oneof![
        Just(Heard::Silence),
        Just(Heard::Unsent),
        (by(), rtt()).prop_map(|(by, rtt)| Heard::Expired { by, rtt }),
        (by(), any::<u8>(), rtt()).prop_map(|(by, code, rtt)| Heard::Unreachable { by, code, rtt }),
        rtt().prop_map(|rtt| Heard::Accepted { rtt }),
        rtt().prop_map(|rtt| Heard::Refused { rtt }),
    ]
}

/// The way to a target that did not answer.
pub fn trace() -> impl Strategy<Value = Trace> {
    (
        name(),
        name(),
        any::<(u64, u64)>(),
        (address(), address()),
        stamp(),
        vec(heard(), 0..30),
        option::of(heard()),
    )
        .prop_map(
            |(vantage, service, (sequence, round), (from, to), started, hops, whole)| Trace {
                vantage: VantageName(vantage),
                sequence,
                service: ServiceName(service),
                round: RoundId(round),
                from,
                to,
                started,
                hops,
                whole,
            },
        )
}

/// A witness's report.
fn packet_headers() -> impl Strategy<Value = PacketHeaders> {
    let direction = select(vec![Direction::In, Direction::Out]);
    let bytes = vec(any::<u8>(), 0..=120);
    (stamp(), direction, name(), bytes).prop_map(|(at, direction, interface, bytes)| {
        PacketHeaders {
            at,
            direction,
            interface,
            bytes,
        }
    })
}

pub fn report() -> impl Strategy<Value = WitnessReport> {
    let flow =
        (address(), address(), vec(seen(), 0..6)).prop_map(|(client, server, seen)| FlowSighting {
            client,
            server,
            seen,
        });
    (
        name(),
        any::<(u64, u64)>(),
        stamp(),
        stamp(),
        vec(flow, 0..8),
        option::of(host_reading()),
        vec(packet_headers(), 0..4),
    )
        .prop_map(
            |(witness, (sequence, dropped), from, to, flows, host, packets)| WitnessReport {
                witness: VantageName(witness),
                sequence,
                from,
                to,
                dropped,
                flows,
                host,
                packets,
            },
        )
}

fn share() -> impl Strategy<Value = f64> {
    0.0..=1.0_f64
}

fn component() -> impl Strategy<Value = Component> {
    (select(KINDS.to_vec()), name()).prop_map(|(kind, name)| Component { kind, name })
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let counts = any::<(u64, u64, bool)>();
    (text(), name(), name(), counts, name(), share()).prop_map(
        |(text, vantage, arm, (failed, of, implicates), failure, nats)| Evidence {
            text,
            vantage,
            arm,
            failed,
            of,
            failure,
            implicates,
            nats,
        },
    )
}

fn fault() -> impl Strategy<Value = Fault> {
    let rate = (share(), share(), share()).prop_map(|(estimate, low, high)| Rate {
        estimate,
        low,
        high,
    });
    let words = (name(), text(), text(), text());
    let numbers = (share(), any::<bool>(), rate);
    let rival =
        (component(), name(), share(), text()).prop_map(|(component, mode, nats, because)| Rival {
            component,
            mode,
            nats,
            because,
        });
    let lists = (vec(evidence(), 0..4), vec(rival, 0..3));
    let course = (text(), select(PATTERNS.to_vec()), option::of(share()));
    (component(), words, numbers, lists, course).prop_map(
        |(component, (mode, summary, owner, next_step), numbers, lists, course)| {
            let (confidence, user_impact, rate) = numbers;
            let (evidence, rivals) = lists;
            let (began_at, pattern, period_s) = course;
            Fault {
                began_at,
                pattern,
                period_s,
                component,
                mode,
                confidence,
                user_impact,
                rate,
                summary,
                owner,
                evidence,
                next_step,
                rivals,
            }
        },
    )
}

/// A verdict.
pub fn verdict() -> impl Strategy<Value = Verdict> {
    let exonerated =
        (component(), share(), text()).prop_map(|(component, confidence, because)| Exonerated {
            component,
            confidence,
            because,
        });
    let rival = (component(), name(), share(), text()).prop_map(
        |(component, mode, confidence, because)| Alternative {
            component,
            mode,
            confidence,
            because,
        },
    );
    let earlier =
        (component(), name(), text(), text()).prop_map(|(component, mode, began_at, ended_at)| {
            Earlier {
                component,
                mode,
                began_at,
                ended_at,
            }
        });
    let not_probed = (name(), name(), text()).prop_map(|(vantage, arm, because)| NotProbed {
        vantage,
        arm,
        because,
    });
    let words = (name(), name(), text());
    let lists = (
        vec(text(), 0..3),
        vec(name(), 0..3),
        vec(earlier, 0..3),
        vec(not_probed, 0..3),
        vec(name(), 0..3),
    );
    let parts = (vec(fault(), 0..3), vec(exonerated, 0..3), vec(rival, 0..3));
    let numbers = any::<(u32, u64, u64, u64, u64)>();
    (
        words,
        select(OUTCOMES.to_vec()),
        parts,
        lists,
        numbers,
        (share(), share(), share()),
    )
        .prop_map(
            |(
                words,
                outcome,
                (faults, exonerated, alternatives),
                (ask, vantages, earlier, not_probed, standing),
                numbers,
                detection,
            )| {
                let (service, id, started_at) = words;
                let (schema, worst_uncertainty_us, rounds, probes, elapsed_ms) = numbers;
                Verdict {
                    earlier,
                    not_probed,
                    standing,
                    schema,
                    service,
                    id,
                    outcome,
                    faults,
                    exonerated,
                    alternatives,
                    unknown: detection.2,
                    ask,
                    detection: Detection {
                        rate: detection.0,
                        power: detection.1,
                    },
                    clock: Clock {
                        worst_uncertainty_us,
                    },
                    rounds,
                    probes,
                    vantages,
                    started_at,
                    elapsed_ms,
                }
            },
        )
}
