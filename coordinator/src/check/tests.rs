//! Files and what probes of them see, and what is said of that.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use localize::{
    Arm, CdnProvider, Facts, Failure, Firing, HttpFacts, Layer, Micros, Observation, ObservationId,
    Outcome, Redirect, Role, RoundId, Stamp, VantageName, VantagePoint,
};

use super::*;
use crate::engine::{Presence, Seat};
use crate::plan::{self, Learnt, Twins};
use crate::service_file::ServiceFile;

const FILE: &str = r#"name = "shop"
url = "https://shop.example/"
[dns]
authoritative = ["192.0.2.53", "192.0.2.54"]
resolvers = ["192.0.2.1"]
[load_balancer]
vip = ["203.0.113.10:443"]
[[backend]]
name = "web1"
address = "10.0.0.51:80"
[[backend]]
name = "web2"
address = "10.0.0.52:80"
"#;

/// What a probe comes to.
#[derive(Clone, Copy)]
enum Answer {
    Well,
    Fails(Failure),
    /// At the first try alone.
    Once(Failure),
    Sends(Redirect, u16),
    LeftOut(&'static str),
    Nothing,
}

use Answer::{Fails, LeftOut, Nothing, Once, Sends, Well};

/// What each arm answers to each vantage point, by their names.
type Site = fn(&str, &str) -> Answer;

/// The public address of shop.example, which a CDN has.
const EDGE: &str = "198.51.100.1";

const AGENTS: [(&str, Role); 3] = [
    ("home1", Role::Outside),
    ("cdn1", Role::BehindCdn),
    ("dc1", Role::Inside),
];

fn vantage((name, role): (&str, Role)) -> VantagePoint {
    VantagePoint {
        name: VantageName(name.to_owned()),
        role,
        host: None,
        addresses: Vec::new(),
        witness: false,
        resolvers: vec!["192.0.2.2:53".parse().expect("address")],
    }
}

fn seat((name, role): (&str, Role)) -> Seat {
    Seat {
        name: VantageName(name.to_owned()),
        role,
        host: None,
        presence: Presence::Connected,
    }
}

/// Two rounds of everything that these agents probe.
fn checked(text: &str, agents: &[(&str, Role)], site: Site) -> Checked {
    let file = ServiceFile::parse(text, None).expect("parses");
    let vantages: Vec<VantagePoint> = agents.iter().copied().map(vantage).collect();
    let edge: IpAddr = EDGE.parse().expect("address");
    let learnt = Learnt {
        edges: [(edge, 1)].into(),
        cdn_provider: Some("cloudflare".to_owned()),
        ..Learnt::default()
    };
    let topology = plan::topology(&file, &learnt, &vantages);
    let twins = Twins::of(&file).declared();
    let mut announced = BTreeSet::new();
    let mut observations = Vec::new();
    for vantage in &vantages {
        for arm in plan::arms(&topology, vantage, &twins) {
            announced.insert((vantage.name.clone(), arm.clone()));
            let answer = site(&vantage.name.0, &arm.label());
            for round in 1..=2 {
                observations.extend(seen(&vantage.name, &arm, round, answer));
            }
        }
    }
    Checked {
        file,
        toml: text.to_owned(),
        applied: true,
        topology,
        seats: agents.iter().copied().map(seat).collect(),
        announced,
        observations,
        refused: [].into(),
        rounds: 2,
        took_us: 1,
    }
}

fn seen(vantage: &VantageName, arm: &Arm, round: u64, answer: Answer) -> Option<Observation> {
    let http = |redirect, status| HttpFacts {
        status,
        first_byte: Micros(900),
        body_bytes: 300,
        body_digest: "0".repeat(32),
        headers: Vec::new(),
        redirect,
    };
    let failed = |failure| Outcome::Failed {
        layer: Layer::Tcp,
        failure,
        after: Micros(900),
    };
    let mut facts = Facts::default();
    let mut firing = Firing::OnTime;
    let outcome = match answer {
        Nothing => return None,
        Well => Outcome::Passed,
        Once(_) if round > 1 => Outcome::Passed,
        Once(failure) | Fails(failure) => failed(failure),
        Sends(redirect, status) => {
            facts.http = Some(http(redirect, status));
            Outcome::Passed
        }
        LeftOut(why) => {
            firing = Firing::Skipped {
                why: why.to_owned(),
            };
            Outcome::NotFired
        }
    };
    Some(Observation {
        id: ObservationId {
            vantage: vantage.clone(),
            sequence: round,
        },
        service: localize::ServiceName("check/1/shop".to_owned()),
        round: RoundId(round),
        arm: arm.clone(),
        started: Stamp::default(),
        scheduled_us: round,
        firing,
        steps: Vec::new(),
        outcome,
        facts,
    })
}

/// Every finding as a line: grade, line of the file, field, and what happened.
fn said(checked: &Checked) -> Vec<String> {
    let findings = report(checked).findings.into_iter();
    let line = |f: Finding| {
        let at = f.at.unwrap_or_default();
        format!("{:?} {} {}: {}", f.grade, at.line, at.field, f.what)
    };
    findings.map(line).collect()
}

fn says(site: Site, expected: &[&str]) {
    assert_eq!(said(&checked(FILE, &AGENTS, site)), expected);
}

#[test]
fn of_a_file_that_holds_nothing_is_said() {
    says(|_, _| Well, &[]);
    // One lost packet is no finding.
    says(|_, _| Once(Failure::ConnectTimeout), &[]);
    let mut turned = checked(FILE, &AGENTS, |_, _| Once(Failure::ConnectTimeout));
    turned.observations.reverse();
    assert_eq!(said(&turned), [""; 0]);
    let report = report(&checked(FILE, &AGENTS, |_, _| Well));
    let arms: Vec<(&str, usize)> = report
        .arms
        .iter()
        .map(|tried| (tried.arm.as_str(), tried.passed.len()))
        .collect();
    let expected = [
        ("resolver/192.0.2.1", 3),
        ("resolver/192.0.2.2", 3),
        ("nameserver/192.0.2.53", 3),
        ("nameserver/192.0.2.54", 3),
        ("edge/198.51.100.1", 3),
        ("vip/203.0.113.10:443", 2),
        ("backend/web1", 1),
        ("backend/web2", 1),
    ];
    assert_eq!(arms, expected);
}

#[test]
fn an_address_that_nobody_reaches_is_in_doubt() {
    let closed: Site = |_, arm| match arm {
        "vip/203.0.113.10:443" => Fails(Failure::ConnectTimeout),
        "backend/web2" => Fails(Failure::ConnectRefused),
        _ => Well,
    };
    says(
        closed,
        &[
            "Warning 7 load_balancer.vip[0]: Leaves connections unanswered just now; \
             asked twice by cdn1 and dc1.",
            "Warning 13 backend[1].address: Refuses connections just now; asked twice by dc1.",
        ],
    );
    let found = report(&checked(FILE, &AGENTS, closed)).findings;
    assert_eq!(found[1].failure, Some(Failure::ConnectRefused));
    assert_eq!(found[1].arm, "backend/web2");
    assert_eq!(
        found[1].next,
        "Are address and port right? If the file is right, `meshctl localize shop` tells what is \
         broken."
    );
    let unapplied = Checked {
        applied: false,
        ..checked(FILE, &AGENTS, closed)
    };
    let next = &report(&unapplied).findings[0].next;
    assert!(
        next.contains("apply it, and `meshctl localize shop`"),
        "{next}"
    );
}

#[test]
fn who_gets_through_is_told_beside_who_does_not() {
    says(
        |vantage, arm| match (vantage, arm) {
            ("cdn1", "vip/203.0.113.10:443") => Fails(Failure::ConnectTimeout),
            _ => Well,
        },
        &[
            "Warning 7 load_balancer.vip[0]: Leaves connections unanswered; asked twice by \
           cdn1; dc1 got through.",
        ],
    );
    says(
        |vantage, arm| match (vantage, arm) {
            ("cdn1", "vip/203.0.113.10:443") => Fails(Failure::ConnectTimeout),
            ("dc1", "vip/203.0.113.10:443") => Fails(Failure::TlsReset),
            _ => Well,
        },
        &[
            "Warning 7 load_balancer.vip[0]: Leaves connections unanswered (cdn1), takes \
           connections, and ends them when TLS is asked for (dc1) just now; asked twice.",
        ],
    );
}

/// Only where users are served is another protocol than declared more than a fault might be, and only
/// where no sibling speaks the declared one.
#[test]
fn the_wrong_protocol_contradicts_the_file_where_users_are_served() {
    let plain: Site = |_, arm| match arm {
        "vip/203.0.113.10:443" => Fails(Failure::TlsProtocol),
        _ => Well,
    };
    says(
        plain,
        &[
            "Error 7 load_balancer.vip[0]: Takes connections, and speaks no TLS; asked twice by \
           cdn1 and dc1. Users are served all the same, so that it is not part of their path as \
           declared.",
        ],
    );
    let sick: Site = |_, arm| match arm {
        "vip/203.0.113.10:443" => Fails(Failure::TlsProtocol),
        "edge/198.51.100.1" => Fails(Failure::CdnStatus(525)),
        _ => Well,
    };
    let grades = |site| {
        let findings = report(&checked(FILE, &AGENTS, site)).findings;
        findings.iter().map(|f| f.grade).collect::<Vec<_>>()
    };
    assert_eq!(grades(sick), [Grade::Warning; 2]);
    // One of two backends may be the fault that redundancy masks; all of them may not.
    let masked: Site = |_, arm| match arm {
        "backend/web2" => Fails(Failure::HttpMalformed),
        _ => Well,
    };
    assert_eq!(grades(masked), [Grade::Warning]);
    let all: Site = |_, arm| match arm {
        "backend/web1" | "backend/web2" => Fails(Failure::HttpMalformed),
        _ => Well,
    };
    assert_eq!(grades(all), [Grade::Error; 2]);
}

#[test]
fn names_and_their_servers() {
    says(
        |_, arm| match arm {
            "nameserver/192.0.2.54" => Fails(Failure::DnsRefused),
            _ => Well,
        },
        &[
            "Warning 4 dns.authoritative[1]: Refuses to answer for shop.example (REFUSED) just now; asked \
           twice by cdn1, dc1 and home1.",
        ],
    );
    // What resolvers and name servers say alike is said once.
    says(
        |_, arm| match arm.split('/').next() {
            Some("resolver" | "nameserver") => Fails(Failure::DnsNxdomain),
            _ => Well,
        },
        &[
            "Warning 2 url: shop.example does not resolve just now; resolver/192.0.2.1 and \
           resolver/192.0.2.2: says that there is no shop.example (NXDOMAIN).",
        ],
    );
    // An agent's own resolver is none of the file's.
    says(
        |_, arm| match arm {
            "resolver/192.0.2.2" => Fails(Failure::DnsTimeout),
            _ => Well,
        },
        &[
            "Note 2 url: resolver/192.0.2.2: does not answer questions just now; asked twice by cdn1, \
           dc1 and home1.",
        ],
    );
    says(
        |_, arm| match arm {
            "resolver/192.0.2.1" => Fails(Failure::DnsRefused),
            _ => Well,
        },
        &[
            "Warning 5 dns.resolvers[0]: Refuses to answer for shop.example (REFUSED) just now; asked \
           twice by cdn1, dc1 and home1.",
        ],
    );
}

#[test]
fn one_answer_of_everybody_is_one_finding() {
    let gone: Site = |_, arm| match arm.split('/').next() {
        Some("resolver" | "nameserver") => Well,
        _ => Fails(Failure::HttpStatus(404)),
    };
    says(
        gone,
        &[
            "Warning 2 url: Answers 404 just now, whoever is asked: edge/198.51.100.1, \
           vip/203.0.113.10:443, backend/web1 and backend/web2; asked by cdn1, dc1 and home1.",
        ],
    );
    let next = &report(&checked(FILE, &AGENTS, gone)).findings[0].next;
    assert!(
        next.starts_with(
            "Is the path right? If it is the good answer, say so: [expect] status = [404]."
        ),
        "{next}"
    );
    // The backend alone answers so: it is that one's.
    says(
        |_, arm| match arm {
            "backend/web1" => Fails(Failure::HttpStatus(404)),
            _ => Well,
        },
        &["Warning 10 backend[0].address: Answers 404 just now; asked twice by dc1."],
    );
    let expecting = FILE.to_owned() + "[expect]\nbody = \"Welcome\"\n";
    let unwelcome: Site = |_, arm| match arm.split('/').next() {
        Some("resolver" | "nameserver") => Well,
        _ => Fails(Failure::UnexpectedBody),
    };
    let said = said(&checked(&expecting, &AGENTS, unwelcome));
    assert!(said[0].starts_with("Warning 15 expect.body: "), "{said:?}");
    assert_eq!(said.len(), 1);
}

#[test]
fn redirects_are_told() {
    says(
        |_, arm| match arm {
            "edge/198.51.100.1" => Sends(Redirect::Elsewhere, 302),
            _ => Well,
        },
        &[
            "Warning 2 url: Answers 302 and sends users to another site; redirects are not followed.",
        ],
    );
    let within: Site = |_, arm| match arm {
        "edge/198.51.100.1" => Sends(Redirect::Within, 301),
        _ => Well,
    };
    says(
        within,
        &[
            "Note 2 url: Answers 301 and sends users on within the site; redirects are not followed.",
        ],
    );
    let expecting = FILE.to_owned() + "[expect]\nstatus = [301]\n";
    assert_eq!(said(&checked(&expecting, &AGENTS, within)), [""; 0]);
}

#[test]
fn what_agents_refuse_is_told_once_for_each_reason() {
    says(
        |_, arm| match arm {
            "backend/web2" => LeftOut("10.0.0.52 is never probed"),
            _ => Well,
        },
        &[
            "Error 13 backend[1].address: dc1 to backend/web2: not fired, 10.0.0.52 is never probed.",
        ],
    );
    // Somebody else probes it.
    says(
        |vantage, arm| match (vantage, arm) {
            ("cdn1", "vip/203.0.113.10:443") => LeftOut("203.0.113.10 is refused"),
            _ => Well,
        },
        &[
            "Note 7 load_balancer.vip[0]: cdn1 to vip/203.0.113.10:443: not fired, 203.0.113.10 is refused.",
        ],
    );
    let secret = FILE.to_owned() + "[request]\nheaders = { X-Key = \"env:SHOP_KEY\" }\n";
    let lacking: Site = |_, arm| match arm.split('/').next() {
        Some("resolver" | "nameserver") => Well,
        _ => LeftOut("env:SHOP_KEY is not set in the agent's environment"),
    };
    let found = report(&checked(&secret, &AGENTS, lacking)).findings;
    assert_eq!(found.len(), 1, "{found:?}");
    let at = found[0].at.as_ref().expect("a line");
    assert_eq!((at.line, at.field.as_str()), (15, "request.headers.X-Key"));
    assert_eq!((at.value.as_str(), found[0].grade), ("", Grade::Error));
}

#[test]
fn who_is_missing_is_told() {
    let well: Site = |_, _| Well;
    let outside = &AGENTS[..1];
    let lacking = [
        "Note 7 load_balancer.vip[0]: 203.0.113.10:443 is asked by nobody: no agent of role behind-cdn \
         or inside is connected.",
        "Note 10 backend[0].address: web1 and web2 are asked by nobody: no agent of role inside is \
         connected.",
    ];
    assert_eq!(said(&checked(FILE, outside, well)), lacking);

    let mut away = checked(FILE, outside, well);
    away.seats.push(Seat {
        presence: Presence::Invited,
        ..seat(("dc1", Role::Inside))
    });
    away.seats.push(Seat {
        host: Some("web2".to_owned()),
        presence: Presence::Disconnected,
        ..seat(("w2", Role::Inside))
    });
    let said_of = said(&away);
    assert_eq!(
        said_of[1],
        "Note 10 backend[0].address: web1 and web2 are asked by nobody: dc1 was invited and has not \
         joined; w2 is not connected."
    );
    assert_eq!(
        said_of[2],
        "Note 13 backend[1].address: Agent w2 is not connected: nobody sees there what arrives and \
         what leaves."
    );

    let none = said(&checked(FILE, &[], well));
    assert_eq!(
        none,
        ["Note 0 : No agent is connected, so that nothing was probed."]
    );
}

#[test]
fn agents_that_tell_nothing_are_told_of() {
    says(
        |vantage, arm| match (vantage, arm) {
            ("cdn1", "vip/203.0.113.10:443") => Nothing,
            _ => Well,
        },
        &["Note 0 : Agent cdn1 has told nothing of 1 arm."],
    );
    let unready: Site = |vantage, _| match vantage {
        "dc1" => LeftOut("the agent has no estimate of mesh time yet"),
        _ => Well,
    };
    let mut early = checked(FILE, &AGENTS, unready);
    let why = "the agent has no estimate of mesh time yet".to_owned();
    early.refused.insert(VantageName("dc1".to_owned()), why);
    assert_eq!(
        said(&early),
        ["Note 0 : Agent dc1 fired nothing: the agent has no estimate of mesh time yet."]
    );
}

/// Its own network is no finding about the file.
#[test]
fn a_vantage_point_without_a_network_accuses_nobody() {
    let offline: Site = |vantage, arm| match (vantage, arm.split('/').next()) {
        ("home1", Some("resolver" | "nameserver")) => Fails(Failure::DnsTimeout),
        ("home1", _) => Fails(Failure::ConnectUnreachable),
        _ => Well,
    };
    let said_of = said(&checked(FILE, &AGENTS, offline));
    assert_eq!(said_of.len(), 1, "{said_of:?}");
    assert!(said_of[0].starts_with("Note 0 : Agent home1 heard nothing"));
    // Of one that is alone nothing of the kind is known.
    let alone = said(&checked(FILE, &AGENTS[..1], offline));
    assert!(
        alone
            .iter()
            .any(|line| line.contains("does not resolve just now")),
        "{alone:?}"
    );
    assert!(
        alone
            .last()
            .expect("lines")
            .starts_with("Note 0 : Nothing came back"),
        "{alone:?}"
    );
    // Whoever hears that there is no such name has a network.
    let misspelt: Site = |vantage, arm| match (vantage, arm.split('/').next()) {
        (_, Some("resolver" | "nameserver")) => Fails(Failure::DnsNxdomain),
        ("home1", _) => Fails(Failure::ConnectTimeout),
        _ => Well,
    };
    let said_of = said(&checked(FILE, &AGENTS, misspelt));
    assert!(
        !said_of.iter().any(|line| line.starts_with("Note")),
        "{said_of:?}"
    );
}

#[test]
fn addresses_that_cannot_be_right() {
    let twice = FILE.replace("10.0.0.52:80", "10.0.0.51:80");
    assert_eq!(
        said(&checked(&twice, &AGENTS, |_, _| Well)),
        [
            "Error 13 backend[1].address: The address of web1 as well: no probe can tell the two apart."
        ]
    );
    let balancer = FILE.replace("10.0.0.52:80", "203.0.113.10:443");
    assert_eq!(
        said(&checked(&balancer, &AGENTS, |_, _| Well)),
        [
            "Error 13 backend[1].address: The address in load_balancer.vip as well: a balancer and its \
          backend are not one."
        ]
    );
    let bare = FILE.to_owned() + "[cdn]\nprovider = \"none\"\n";
    assert_eq!(
        said(&checked(&bare, &AGENTS, |_, _| Well)),
        [
            "Warning 7 load_balancer.vip[0]: Not among the addresses of shop.example (198.51.100.1), \
          though the file says that no CDN stands before it."
        ]
    );
    let mut unknown = checked(FILE, &AGENTS, |_, _| Well);
    unknown.topology.cdn = CdnProvider::Auto(None);
    assert_eq!(
        said(&unknown),
        [
            "Note 7 load_balancer.vip[0]: Not among the addresses of shop.example (198.51.100.1), and \
          no CDN is known by its answers."
        ]
    );
}

/// Of addresses that were found out, one finding names all that fail alike.
#[test]
fn public_addresses_that_fail_alike_are_one_finding() {
    let mut both = checked(FILE, &AGENTS, |_, arm| match arm {
        "edge/198.51.100.1" => Fails(Failure::CertificateExpired),
        _ => Well,
    });
    let second: SocketAddr = "198.51.100.2:443".parse().expect("address");
    let target = localize::Target::Edge { address: second };
    let edge = |o: &&Observation| o.arm.label().starts_with("edge/");
    let copies: Vec<Observation> = both.observations.iter().filter(edge).cloned().collect();
    both.observations
        .extend(copies.into_iter().map(|seen| Observation {
            arm: Arm::to(target.clone()),
            ..seen
        }));
    assert_eq!(
        said(&both),
        [
            "Warning 2 url: edge/198.51.100.1, edge/198.51.100.2: shows a certificate that has expired \
          just now; asked twice by cdn1, dc1 and home1."
        ]
    );
}
