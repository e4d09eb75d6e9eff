//! Rows: who fires what, and what is learnt from what.

use localize::dns::{Again, Reply, Soa};
use localize::topology::Zone;
use localize::{
    DnsFacts, Facts, Failure, Firing, HttpFacts, Layer, Micros, NameServer, Observation,
    ObservationId, Outcome, Redirect, RoundId, ServiceName, Stamp, Step, VantageName,
};

use super::*;

const FILE: &str = r#"
name = "shop.example"
url = "https://shop.example/"
[dns]
resolvers = ["192.0.2.1"]
[load_balancer]
vip = ["203.0.113.10:443"]
[[backend]]
name = "web1"
address = "10.0.0.51:80"
[[backend]]
name = "web2"
address = "[2001:db8::52]:9000"
scheme = "tcp"
"#;

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3600 * SECOND;
const NOW: u64 = 1_700_000_000 * SECOND;

fn file(text: &str) -> ServiceFile {
    ServiceFile::parse(text, None).expect("parses")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn vantage(role: Role, host: Option<&str>, addresses: &[&str]) -> VantagePoint {
    VantagePoint {
        name: VantageName("v".into()),
        role,
        host: host.map(Into::into),
        addresses: addresses.iter().map(|a| ip(a)).collect(),
        witness: false,
        resolvers: vec!["192.0.2.99:53".parse().expect("address")],
    }
}

fn learnt(edges: &[&str]) -> Learnt {
    Learnt {
        edges: edges.iter().map(|a| (ip(a), NOW)).collect(),
        name_servers: [NameServer {
            name: "ns1.shop.example".into(),
            server: "192.0.2.53:53".parse().expect("address"),
        }]
        .into(),
        ..Learnt::default()
    }
}

fn labels(text: &str, edges: &[&str], vantage: &VantagePoint) -> Vec<String> {
    let file = file(text);
    let topology = topology(&file, &learnt(edges), std::slice::from_ref(vantage));
    let twins = Twins::of(&file).telling(&Learnt::default());
    let twins = twins.in_every_round();
    let arms = arms(&topology, vantage, &twins);
    let distinct: BTreeSet<&Arm> = arms.iter().collect();
    assert_eq!(distinct.len(), arms.len(), "no arm twice");
    arms.iter().map(Arm::label).collect()
}

const DNS: [&str; 3] = [
    "resolver/192.0.2.99",
    "resolver/192.0.2.1",
    "nameserver/ns1.shop.example",
];
const EDGES: [&str; 2] = ["edge/198.51.100.1", "edge/198.51.100.2"];
const VIP: &str = "vip/203.0.113.10:443";
const VIP_AGAIN: &str = "vip/203.0.113.10:443 on a reused port";
const BACKENDS: [&str; 2] = ["backend/web1", "backend/web2"];

#[test]
fn each_role_fires_its_arms() {
    let one = ["10.0.0.7"];
    let again = ["backend/web1 on a reused port"];
    let behind = [EDGES[0], EDGES[1], VIP, VIP_AGAIN];
    let inside = [
        EDGES[0],
        EDGES[1],
        VIP,
        BACKENDS[0],
        BACKENDS[1],
        VIP_AGAIN,
        again[0],
    ];
    let on_host = [VIP, BACKENDS[0], BACKENDS[1], VIP_AGAIN, again[0]];
    let on_backend = &on_host[..3];
    let rows: [(Role, Option<&str>, &[&str]); 6] = [
        (Role::Outside, None, &EDGES),
        (Role::BehindCdn, None, &behind),
        (Role::Inside, None, &inside),
        (Role::Inside, Some("web1"), on_backend),
        (Role::Inside, Some("lb"), &on_host),
        (Role::Outside, Some("web2"), on_backend),
    ];
    for (role, host, expected) in rows {
        let fired = labels(
            FILE,
            &["198.51.100.2", "198.51.100.1"],
            &vantage(role, host, &one),
        );
        let expected: Vec<&str> = DNS.iter().chain(expected).copied().collect();
        assert_eq!(fired, expected, "{role:?} on {host:?}");
    }
}

#[test]
fn every_source_address_is_an_arm() {
    let many: Vec<String> = (1..=12).map(|n| format!("10.0.0.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let rows: [(&[&str], &[&str]); 5] = [
        (&[], &["backend/web1", "backend/web2"]),
        (
            &["10.0.0.7", "2001:db8::7"],
            &["backend/web1", "backend/web2"],
        ),
        (
            &["10.0.1.7", "10.0.0.7", "2001:db8::7", "10.0.0.7"],
            &[
                "backend/web1 from 10.0.0.7",
                "backend/web1 from 10.0.1.7",
                "backend/web2",
            ],
        ),
        (
            &[
                "10.0.0.7",
                "169.254.1.1",
                "2001:db8::7",
                "fe80::1",
                "2001:db8::8",
            ],
            &[
                "backend/web1",
                "backend/web2 from 2001:db8::7",
                "backend/web2 from 2001:db8::8",
            ],
        ),
        (
            &many,
            &[
                "backend/web1 from 10.0.0.1",
                "backend/web1 from 10.0.0.2",
                "backend/web1 from 10.0.0.3",
                "backend/web1 from 10.0.0.4",
                "backend/web1 from 10.0.0.5",
                "backend/web1 from 10.0.0.6",
                "backend/web1 from 10.0.0.7",
                "backend/web1 from 10.0.0.8",
                "backend/web2",
            ],
        ),
    ];
    for (addresses, expected) in rows {
        let fired = labels(FILE, &[], &vantage(Role::Inside, Some("lb"), addresses));
        let (last, ordinary) = fired[4..].split_last().unwrap();
        assert_eq!(&ordinary[..ordinary.len() - 1], expected, "{addresses:?}");
        // From the first source alone, and not at all where a handshake is all there is.
        assert_eq!(*last, format!("{} on a reused port", expected[0]));
    }
}

/// With direct return the backends have the VIP as well. Answers to it go to the balancer, and so do
/// those that its own host's probes from there are waiting for.
#[test]
fn the_vip_is_a_source_on_the_balancer_alone() {
    let from = |address: &str| format!("backend/web1 from {address}");
    let two = ["10.0.0.51", "10.1.0.51", "203.0.113.10"];
    let rows: [(Option<&str>, &[&str], Vec<String>); 4] = [
        (Some("web1"), &two, vec![from(two[0]), from(two[1])]),
        (Some("lb"), &two, two.map(from).to_vec()),
        (Some("web1"), &two[1..], vec![BACKENDS[0].to_owned()]),
        (None, &two[1..], vec![BACKENDS[0].to_owned()]),
    ];
    for (host, addresses, expected) in rows {
        let fired = labels(FILE, &[], &vantage(Role::Inside, host, addresses));
        let to_web1 = |label: &&String| label.starts_with(BACKENDS[0]) && !label.ends_with("port");
        let fired: Vec<&String> = fired.iter().filter(to_web1).collect();
        assert_eq!(fired, expected.iter().collect::<Vec<_>>(), "{host:?}");
    }
}

/// Users without IPv6 do not go there either; what is in the data centre is declared, and asked for.
#[test]
fn public_addresses_of_ipv6_are_for_who_has_ipv6() {
    let v6 = "edge/2001:db8::1";
    let rows: [(&[&str], bool); 6] = [
        (&[], false),
        (&["192.0.2.7"], false),
        (&["192.0.2.7", "fe80::7"], false),
        (&["192.0.2.7", "fd00::7"], false),
        (&["192.0.2.7", "2001:db8:7::7"], true),
        (&["2001:db8:7::7"], true),
    ];
    for (addresses, goes) in rows {
        let vantage = vantage(Role::Outside, None, addresses);
        let fired = labels(FILE, &["198.51.100.1", "2001:db8::1"], &vantage);
        assert!(fired.contains(&EDGES[0].to_owned()), "{addresses:?}");
        assert_eq!(fired.contains(&v6.to_owned()), goes, "{addresses:?}");
    }
    let rows = [
        ("fd00::7", "fd00:1::1", true),
        ("2001:db8:7::7", "fd00:1::1", true),
        ("fd00::7", "2001:db8::1", false),
        ("192.0.2.7", "::1", true),
        ("fe80::7", "192.0.2.1", true),
    ];
    for (own, to, goes) in rows {
        let vantage = vantage(Role::Outside, None, &[own]);
        assert_eq!(vantage.has_way_to(ip(to)), goes, "{own} to {to}");
    }
    // So it is with a VIP that is the public address.
    let text = FILE.replace("203.0.113.10", "[2001:db8::10]");
    let inside = |own| vantage(Role::Inside, None, &[own]);
    let vip = "vip/[2001:db8::10]:443".to_owned();
    assert!(!labels(&text, &[], &inside("10.0.0.7")).contains(&vip));
    assert!(labels(&text, &[], &inside("2001:db8::7")).contains(&vip));
}

#[test]
fn a_public_vip_is_for_everybody() {
    let outside = vantage(Role::Outside, None, &[]);
    let rows: [(&[&str], &[&str]); 3] = [
        (&["203.0.113.10"], &[VIP, VIP_AGAIN]),
        (
            &["203.0.113.10", "198.51.100.1"],
            &["edge/198.51.100.1", VIP, VIP_AGAIN],
        ),
        (&["198.51.100.1"], &["edge/198.51.100.1"]),
    ];
    for (edges, expected) in rows {
        assert_eq!(&labels(FILE, edges, &outside)[3..], expected, "{edges:?}");
    }
}

#[test]
fn a_service_file_leaves_reused_ports_out() {
    let inside = vantage(Role::Inside, None, &["10.0.0.7"]);
    let text = format!("{FILE}[schedule]\nreuse_ports = false\n");
    let ordinary = [VIP, BACKENDS[0], BACKENDS[1]];
    assert_eq!(labels(&text, &[], &inside)[3..], ordinary);
}

/// From every source, since the way back may lose large packets alone; nothing where there is no request.
#[test]
fn a_large_object_is_asked_for_besides() {
    let text = FILE.replacen("url =", "large_path = \"/app.js\"\nurl =", 1);
    let text = format!("{text}[schedule]\nreuse_ports = false\n");
    let balancer = vantage(Role::Inside, Some("lb"), &["10.0.0.7", "10.0.1.7"]);
    let expected = [
        "vip/203.0.113.10:443, large answer",
        "backend/web1 from 10.0.0.7, large answer",
        "backend/web1 from 10.0.1.7, large answer",
    ];
    assert_eq!(labels(&text, &[], &balancer)[7..], expected);
    let home = vantage(Role::Outside, None, &[]);
    let expected = ["edge/198.51.100.1", "edge/198.51.100.1, large answer"];
    assert_eq!(labels(&text, &["198.51.100.1"], &home)[3..], expected);
    let backend = vantage(Role::Inside, Some("web2"), &[]);
    let fired = labels(&text, &[], &backend);
    assert!(!fired.iter().any(|arm| arm.contains("large")), "{fired:?}");
    assert_eq!(spec(&file(&text)).large_path, "/app.js");
}

/// One for each target, and in rounds of the schedule only where answers hang on it.
#[test]
fn packed_answers_are_asked_for_besides() {
    let text = format!("{FILE}[schedule]\nreuse_ports = false\n");
    let fired = |text: &str, varies: Option<Varies>| {
        let file = file(text);
        let lb = vantage(Role::Inside, Some("lb"), &["10.0.0.7", "10.0.1.7"]);
        let twins = match varies {
            Some(varies) => Twins::of(&file).telling(&Learnt {
                varies,
                ..Learnt::default()
            }),
            None => Twins::of(&file),
        };
        let path = topology(&file, &learnt(&[]), std::slice::from_ref(&lb));
        let arms = arms(&path, &lb, &twins);
        let packed = arms
            .iter()
            .filter(|arm| arm.traits.encoding == Encoding::Gzip);
        packed.map(Arm::label).collect::<Vec<_>>()
    };
    let expected = [
        "vip/203.0.113.10:443, accepting gzip",
        "backend/web1 from 10.0.0.7, accepting gzip",
    ];
    let by_encoding = |by_encoding| {
        Some(Varies {
            by_encoding,
            gives_cookies: false,
        })
    };
    assert_eq!(fired(&text, None), expected, "on demand");
    assert_eq!(fired(&text, by_encoding(true)), expected);
    assert_eq!(fired(&text, by_encoding(false)), [""; 0]);
    let without = format!("{text}accept_gzip = false\n");
    assert_eq!(fired(&without, None), [""; 0]);
}

/// Of whoever speaks TLS; in rounds of the schedule now and then.
#[test]
fn a_large_hello_is_said_to_who_speaks_tls() {
    let fired = |text: &str, round: u64| {
        let file = file(text);
        let inside = vantage(Role::Inside, None, &["10.0.0.7"]);
        let learnt = learnt(&["198.51.100.1"]);
        let path = topology(&file, &learnt, std::slice::from_ref(&inside));
        let twins = Twins::of(&file).telling(&learnt).due(round);
        let arms = arms(&path, &inside, &twins);
        let large = arms.iter().filter(|arm| arm.traits.hello == Hello::Large);
        large.map(Arm::label).collect::<Vec<_>>()
    };
    let public = [
        "edge/198.51.100.1, large hello",
        "vip/203.0.113.10:443, large hello",
    ];
    assert_eq!(fired(FILE, 0), public);
    assert_eq!(fired(FILE, 12), public);
    assert_eq!(fired(FILE, 7), [""; 0]);
    let without = format!("{FILE}[schedule]\nlarge_hello = false\n");
    assert_eq!(fired(&without, 0), [""; 0]);
}

/// Of VIPs and backends, one for each target whatever its sources; now and then, and never with large hellos.
#[test]
fn bursts_go_to_vips_and_backends_now_and_then() {
    let inside = vantage(Role::Inside, None, &["10.0.0.7", "10.0.0.8"]);
    let fired = |text: &str, due: &dyn Fn(Twins) -> Twins| {
        let file = file(text);
        let learnt = learnt(&["198.51.100.1"]);
        let path = topology(&file, &learnt, std::slice::from_ref(&inside));
        let arms = arms(&path, &inside, &due(Twins::of(&file).telling(&learnt)));
        let bursts = arms.iter().filter(|arm| arm.traits.pace == Pace::Burst);
        bursts.map(Arm::label).collect::<Vec<_>>()
    };
    let all = [
        "vip/203.0.113.10:443, 8 connections at once",
        "backend/web1 from 10.0.0.7, 8 connections at once",
    ];
    let scheduled = |round| fired(FILE, &move |twins| twins.due(round));
    let having: Vec<u64> = (0..60).filter(|round| scheduled(*round) == all).collect();
    assert_eq!(having, [5, 15, 25, 35, 45, 55]);
    let large = having
        .iter()
        .any(|round| round.is_multiple_of(LARGE_HELLO_EVERY));
    assert!(!large);
    assert_eq!(fired(FILE, &|twins| twins.at_once(Pace::Burst)), all);
    assert_eq!(fired(FILE, &|twins| twins.at_once(Pace::Single)), [""; 0]);
    assert_eq!(fired(FILE, &Twins::in_every_round), [""; 0]);
    let without = format!("{FILE}[schedule]\nbursts = false\n");
    assert_eq!(fired(&without, &|twins| twins), [""; 0]);
}

#[test]
fn ways_are_traced_unless_a_service_file_leaves_that_out() {
    let traced = |text: &str| spec(&file(text)).trace;
    assert!(traced(FILE));
    assert!(!traced(&format!("{FILE}[schedule]\ntrace = false\n")));
}

/// Only where cookies are given, and behind somebody who chooses by them.
#[test]
fn a_cookie_is_kept_where_one_is_given() {
    let fired = |text: &str, gives_cookies: bool| {
        let file = file(text);
        let inside = vantage(Role::Inside, None, &["10.0.0.7"]);
        let learnt = Learnt {
            varies: Varies {
                by_encoding: false,
                gives_cookies,
            },
            ..learnt(&["198.51.100.1"])
        };
        let path = topology(&file, &learnt, std::slice::from_ref(&inside));
        let arms = arms(&path, &inside, &Twins::of(&file).telling(&learnt));
        let kept = arms
            .iter()
            .filter(|arm| arm.traits.session == Session::Kept);
        kept.map(Arm::label).collect::<Vec<_>>()
    };
    let expected = [
        "edge/198.51.100.1, keeping its cookie",
        "vip/203.0.113.10:443, keeping its cookie",
    ];
    assert_eq!(fired(FILE, true), expected);
    assert_eq!(fired(FILE, false), [""; 0]);
    let without = format!("{FILE}[schedule]\nkeep_cookies = false\n");
    assert_eq!(fired(&without, true), [""; 0]);
}

#[test]
fn answers_tell_what_they_hang_on() {
    let rows: [(&str, &str, bool); 7] = [
        ("set-cookie", "(hidden)", false),
        ("vary", "Cookie, Accept-Encoding", true),
        ("vary", "accept-encoding", true),
        ("vary", "Cookie", false),
        ("content-encoding", "gzip", true),
        ("content-encoding", "identity", false),
        ("server", "accept-encoding", false),
    ];
    for (name, value, by_encoding) in rows {
        let mut learnt = Learnt::default();
        let seen = edge_page(&[(name, value)]);
        learn(&mut learnt, &seen);
        assert_eq!(learnt.varies.by_encoding, by_encoding, "{name}: {value}");
        assert_eq!(learnt.varies.gives_cookies, name == "set-cookie", "{name}");
    }
}

#[test]
fn who_runs_the_edges() {
    let bare = "name = \"a\"\nurl = \"https://a.example:8443/\"\n";
    let none = format!("{bare}[cdn]\nprovider = \"none\"\n");
    let named = format!("{bare}[cdn]\nprovider = \"akamai\"\n");
    let told = CdnProvider::Auto(Some("cloudflare".into()));
    let vip = "203.0.113.10:443";
    let edge = "198.51.100.1:8443";
    let rows: [(&str, &str, CdnProvider, &[&str]); 6] = [
        (FILE, "203.0.113.10", CdnProvider::None, &[vip]),
        (FILE, "198.51.100.1", told.clone(), &[vip]),
        (bare, "198.51.100.1", told.clone(), &[]),
        (&none, "198.51.100.1", CdnProvider::None, &[edge]),
        (
            &named,
            "198.51.100.1",
            CdnProvider::Named("akamai".into()),
            &[],
        ),
        (bare, "203.0.113.10", told, &[]),
    ];
    for (text, address, cdn, vips) in rows {
        let learnt = Learnt {
            cdn_provider: Some("cloudflare".into()),
            ..learnt(&[address])
        };
        let topology = topology(&file(text), &learnt, &[]);
        assert_eq!(topology.cdn, cdn, "{text}");
        let found: Vec<String> = topology.vips.iter().map(ToString::to_string).collect();
        assert_eq!(found, vips, "{text}");
    }
}

#[test]
fn declared_name_servers_go_before_found_ones() {
    let text =
        "name = \"a\"\nurl = \"http://a.example/\"\n[dns]\nauthoritative = [\"192.0.2.7\"]\n";
    let fired = labels(text, &[], &vantage(Role::Outside, None, &[]));
    assert_eq!(fired, ["resolver/192.0.2.99", "nameserver/192.0.2.7"]);
}

#[test]
fn the_spec_says_what_an_agent_needs() {
    let spec = spec(&file(FILE));
    assert_eq!(
        (spec.host.as_str(), spec.scheme.as_str()),
        ("shop.example", "https")
    );
    assert_eq!(spec.witness_ports, [80, 443, 9000]);
    let limits = [
        spec.dns_timeout_ms,
        spec.connect_timeout_ms,
        spec.tls_timeout_ms,
        spec.total_timeout_ms,
    ];
    assert_eq!(limits, [2000, 5000, 5000, 10_000]);
    let backends: Vec<_> = spec
        .backends
        .iter()
        .map(|b| (b.name.as_str(), b.scheme.as_str()))
        .collect();
    assert_eq!(backends, [("web1", "http"), ("web2", "tcp")]);
}

/// Where the host has a secret goes to the agents, and what is expected to them and to the heart.
#[test]
fn the_spec_says_how_it_is_asked_and_what_is_expected() {
    let sections = "[request.headers]\nAuthorization = \"env:SHOP_TOKEN\"\n\
                    [expect]\nstatus = [404]\nbody = \"Gone\"\n";
    let asked = file(&format!("{FILE}{sections}"));
    let spec = spec(&asked);
    let headers = spec.request.expect("request").headers;
    assert_eq!(headers[0].value, "env:SHOP_TOKEN");
    let expect = spec.expect.expect("expect");
    assert_eq!(
        (expect.statuses[0].first, expect.body.as_str()),
        (404, "Gone")
    );
    let rows = [
        (asked, Expectation::Declared),
        (file(FILE), Expectation::Undeclared),
    ];
    for (file, expected) in rows {
        assert_eq!(topology(&file, &Learnt::default(), &[]).expect, expected);
    }
}

fn observation(target: Target, at_us: u64, facts: Facts) -> Observation {
    let tcp = match target {
        Target::Resolver { .. } | Target::NameServer { .. } => Vec::new(),
        Target::Edge { .. } | Target::Vip { .. } | Target::Backend { .. } => vec![Step {
            layer: Layer::Tcp,
            took: Micros(1),
        }],
    };
    Observation {
        id: ObservationId {
            vantage: VantageName("v".into()),
            sequence: 1,
        },
        service: ServiceName("shop.example".into()),
        round: RoundId(1),
        arm: Arm::to(target),
        started: Stamp {
            at_us,
            uncertainty_us: 1,
        },
        scheduled_us: at_us,
        firing: Firing::OnTime,
        steps: tcp,
        outcome: Outcome::Passed,
        facts,
    }
}

fn answer(at_us: u64, addresses: &[&str]) -> Observation {
    let facts = Facts {
        dns: Some(DnsFacts {
            addresses: addresses.iter().map(|a| ip(a)).collect(),
            ..DnsFacts::default()
        }),
        ..Facts::default()
    };
    let target = Target::Resolver {
        server: "192.0.2.1:53".parse().expect("address"),
    };
    observation(target, at_us, facts)
}

fn edge_page(headers: &[(&str, &str)]) -> Observation {
    let headers = headers
        .iter()
        .map(|(n, v)| ((*n).into(), (*v).into()))
        .collect();
    let facts = Facts {
        http: Some(HttpFacts {
            status: 200,
            first_byte: Micros(1),
            body_bytes: 0,
            body_digest: String::new(),
            headers,
            redirect: Redirect::None,
        }),
        ..Facts::default()
    };
    let target = Target::Edge {
        address: "198.51.100.1:443".parse().expect("address"),
    };
    observation(target, NOW, facts)
}

fn edges(learnt: &Learnt) -> Vec<String> {
    learnt.edges.keys().map(ToString::to_string).collect()
}

#[test]
fn addresses_are_learnt_and_forgotten() {
    let mut learnt = Learnt::default();
    assert!(learn(
        &mut learnt,
        &answer(NOW, &["198.51.100.2", "0.0.0.0"])
    ));
    assert!(learn(&mut learnt, &answer(NOW + SECOND, &["198.51.100.1"])));
    assert!(!learn(
        &mut learnt,
        &answer(NOW + 2 * SECOND, &["198.51.100.1"])
    ));
    assert!(!learn(&mut learnt, &answer(NOW + 3 * SECOND, &[])));
    assert_eq!(edges(&learnt), ["198.51.100.1", "198.51.100.2"]);
    // Answers go on every five minutes, and one address is no longer in them.
    let steps = (1..=12).map(|n| NOW + n * HOUR / 12);
    let changed: Vec<u64> = steps
        .filter(|t| learn(&mut learnt, &answer(*t, &["198.51.100.1"])))
        .collect();
    assert_eq!(changed, [] as [u64; 0], "an hour is not over");
    assert!(learn(
        &mut learnt,
        &answer(NOW + HOUR + SECOND, &["198.51.100.1"])
    ));
    assert_eq!(edges(&learnt), ["198.51.100.1"]);
}

/// What a name server answers for both families; `None` where its answer for AAAA is lost.
fn authority(at_us: u64, v4: &[&str], v6: Option<&[&str]>) -> Observation {
    let server = "192.0.2.53:53".parse().expect("address");
    let name = "ns1.shop.example".to_owned();
    let mut seen = answer(at_us, v4);
    seen.arm = Arm::to(Target::NameServer { name, server });
    let reply = match v6 {
        None => Reply::Failed(Failure::DnsTimeout),
        Some([]) => Reply::Failed(Failure::DnsNoData),
        Some(texts) => Reply::Addresses(texts.iter().map(|a| ip(a)).collect()),
    };
    if let Some(dns) = &mut seen.facts.dns {
        let took = Micros(1);
        dns.aaaa = Some(Again { took, reply });
    }
    seen
}

#[test]
fn an_address_that_the_name_servers_give_no_longer_is_forgotten() {
    let (v4, v6) = ("198.51.100.1", "2001:db8::1");
    let at = |n: u64| NOW + n * 5 * SECOND;
    let known = |later: &dyn Fn(u64) -> Vec<Observation>| {
        let mut learnt = Learnt::default();
        for n in 1..=10 {
            learn(&mut learnt, &authority(at(n), &[v4], Some(&[v6])));
        }
        for seen in (11..=20).flat_map(later) {
            learn(&mut learnt, &seen);
        }
        edges(&learnt).contains(&v6.to_owned())
    };
    type Later<'a> = &'a dyn Fn(u64) -> Vec<Observation>;
    let rows: [(Later<'_>, bool); 5] = [
        (&|n| vec![authority(at(n), &[v4], Some(&[]))], false),
        (&|n| vec![authority(at(n), &[v4], None)], true),
        // Another server gives it all the same.
        (
            &|n| {
                let other = authority(at(n), &[v4], Some(&[v6]));
                vec![authority(at(n), &[v4], Some(&[])), other]
            },
            true,
        ),
        // A resolver that has kept it, and one that never had it.
        (
            &|n| {
                let kept = asked_for_aaaa(at(n), Reply::Addresses(vec![ip(v6)]));
                vec![authority(at(n), &[v4], Some(&[])), kept]
            },
            true,
        ),
        (&|n| vec![answer(at(n), &[v4])], true),
    ];
    for (number, (later, stays)) in rows.into_iter().enumerate() {
        assert_eq!(known(later), stays, "row {number}");
    }
}

#[test]
fn an_address_that_is_given_now_and_then_is_waited_for() {
    let at = |n: u64| NOW + n * 5 * SECOND;
    let mut learnt = Learnt::default();
    let all = [
        "198.51.100.1",
        "198.51.100.2",
        "198.51.100.3",
        "198.51.100.4",
    ];
    for n in 0..40_usize {
        let given = [all[n % 4]];
        learn(&mut learnt, &authority(at(n as u64), &given, Some(&[])));
    }
    assert_eq!(edges(&learnt), all);
    let mut rest = Vec::new();
    for n in 40..100 {
        learn(&mut learnt, &authority(at(n), &all[..1], Some(&[])));
        rest.push(edges(&learnt).len());
    }
    assert!(rest[15] == 4 && rest[40] == 1, "{rest:?}");
}

fn asked_for_aaaa(at_us: u64, reply: Reply) -> Observation {
    let mut seen = answer(at_us, &["198.51.100.1"]);
    let took = Micros(1);
    if let Some(dns) = &mut seen.facts.dns {
        dns.aaaa = Some(Again { took, reply });
    }
    seen
}

#[test]
fn every_aaaa_is_an_edge_of_its_own() {
    let given = |texts: &[&str]| Reply::Addresses(texts.iter().map(|a| ip(a)).collect());
    let mut learnt = Learnt::default();
    let both = ["2001:db8::1", "2001:db8::2"];
    assert!(learn(&mut learnt, &asked_for_aaaa(NOW, given(&both))));
    let expected = ["198.51.100.1", "2001:db8::1", "2001:db8::2"];
    assert_eq!(edges(&learnt), expected);
    let path = topology(&file(FILE), &learnt, &[]);
    assert_eq!(path.edges[1], "[2001:db8::1]:443".parse().expect("address"));
    // None at all, or one that a network has made for itself.
    let failed = Reply::Failed(Failure::DnsNoData);
    assert!(!learn(&mut learnt, &asked_for_aaaa(NOW, failed)));
    let made = given(&["64:ff9b::c633:6401", "64:ff9b:1::1", "::"]);
    assert!(!learn(&mut learnt, &asked_for_aaaa(NOW, made)));
    assert_eq!(edges(&learnt), expected);
}

#[test]
fn the_zone_is_what_its_servers_say_until_an_agent_has_found_it() {
    let told = |zone: &str, authoritative| {
        let facts = Facts {
            dns: Some(DnsFacts {
                authoritative,
                soa: Some(Soa {
                    zone: zone.into(),
                    primary: String::new(),
                    serial: 1,
                    negative_ttl: 1,
                }),
                ..DnsFacts::default()
            }),
            ..Facts::default()
        };
        let name = "ns1.shop.example".to_owned();
        let server = "192.0.2.53:53".parse().expect("address");
        observation(Target::NameServer { name, server }, NOW, facts)
    };
    let mut learnt = Learnt::default();
    assert!(!learn(&mut learnt, &told("heard.example", false)));
    assert!(learn(&mut learnt, &told("shop.example", true)));
    assert!(!learn(&mut learnt, &told("another.example", true)));
    let named = |learnt: &Learnt| topology(&file(FILE), learnt, &[]).zone_name().to_owned();
    assert_eq!(named(&learnt), "shop.example");
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let zone = |name: &str, at_parent: &[&str], at_zone: &[&str]| Zone {
        name: name.into(),
        at_parent: set(at_parent),
        at_zone: set(at_zone),
    };
    let found = zone("shop.example", &["ns1", "ns3"], &["ns1", "ns2"]);
    assert!(learn_zone(&mut learnt, found.clone()));
    assert!(found.has_left("ns3") && !found.has_left("ns2") && !found.has_left("ns1"));
    assert!(found.hides("ns2") && !found.hides("ns3") && !found.hides("ns1"));
    // The parent was not heard this time; nothing was.
    assert!(!learn_zone(
        &mut learnt,
        zone("shop.example", &[], &["ns1", "ns2"])
    ));
    assert!(!learn_zone(&mut learnt, Zone::default()));
    assert_eq!(learnt.zone, Some(found));
    assert!(learn_zone(
        &mut learnt,
        zone("www.shop.example", &[], &["ns9"])
    ));
    assert_eq!(named(&learnt), "www.shop.example");
}

#[test]
fn a_gap_in_the_answers_forgets_nothing() {
    let mut learnt = Learnt::default();
    learn(&mut learnt, &answer(NOW, &["198.51.100.1", "198.51.100.2"]));
    assert!(!learn(
        &mut learnt,
        &answer(NOW + 9 * HOUR, &["198.51.100.1"])
    ));
    assert_eq!(edges(&learnt).len(), 2);
}

#[test]
fn addresses_are_bounded() {
    let mut learnt = Learnt::default();
    for n in 0..=255 {
        learn(&mut learnt, &answer(NOW, &[&format!("198.51.100.{n}")]));
    }
    assert_eq!(learnt.edges.len(), 64);
}

#[test]
fn headers_tell_the_provider() {
    let rows = [
        ("server", "cloudflare", Some("cloudflare")),
        ("cf-ray", "8f-FRA", Some("cloudflare")),
        ("x-amz-cf-id", "abc", Some("cloudfront")),
        ("x-served-by", "cache-fra-eddf1", Some("fastly")),
        ("x-served-by", "web1", None),
        ("via", "1.1 varnish, 1.1 fastly", Some("fastly")),
        ("via", "1.1 varnish", None),
        ("server", "AkamaiGHost", Some("akamai")),
        ("x-akamai-transformed", "9", Some("akamai")),
        ("server", "nginx", None),
    ];
    for (name, value, expected) in rows {
        let mut learnt = Learnt::default();
        learn(
            &mut learnt,
            &edge_page(&[("content-type", "text/html"), (name, value)]),
        );
        assert_eq!(learnt.cdn_provider.as_deref(), expected, "{name}: {value}");
        learn(&mut learnt, &edge_page(&[("server", "nginx")]));
        assert_eq!(
            learnt.cdn_provider.as_deref(),
            expected,
            "silence tells nothing"
        );
    }
}

#[test]
fn what_is_learnt_outlives_a_restart() {
    let mut before = learnt(&["198.51.100.1", "2001:db8::1"]);
    learn(&mut before, &edge_page(&[("cf-ray", "1")]));
    let text = serde_json::to_string(&before).expect("writes");
    assert_eq!(
        serde_json::from_str::<Learnt>(&text).expect("reads"),
        before
    );
    let found = [NameServer {
        name: "ns2.shop.example".into(),
        server: "192.0.2.54:53".parse().expect("address"),
    }];
    assert!(!learn_name_servers(&mut before, &[]));
    assert!(learn_name_servers(&mut before, &found));
    assert!(!learn_name_servers(&mut before, &found));
    assert_eq!(before.name_servers, found.into());
}
