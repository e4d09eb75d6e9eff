//! A web face on a store that holds what pages must be able to show: services in every state, faults of many
//! kinds, paths of many parts, names that are long, days of history.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coordinator::ca::{Authority, Mesh};
use coordinator::config::Lifetimes;
use coordinator::engine::{self, Fatal, Setup};
use coordinator::localisation::Localiser;
use coordinator::notify;
use coordinator::plan::Learnt;
use coordinator::store::{
    AgentRecord, AgentState, RaisedRecord, RoundRecord, ServiceRecord, Store, Write,
};
use coordinator::web::Face;
use localize::watch::Ending;
use localize::{
    Arm, Case, Facts, Failure, Firing, Layer, Micros, NameServer, Observation, ObservationId,
    Outcome, Role, RoundId, ServiceName, Stamp, Step, Target, VantageName, Verdict, localize,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub const MINUTE_US: u64 = 60_000_000;
pub const HOUR_US: u64 = 60 * MINUTE_US;
/// The cases of the lab whose verdicts are shown, each on a service of that name.
const RECORDED: [(&str, &str); 4] = [
    ("balancer.example", "balancer-dead-bare"),
    ("edge.example", "edge-cut-off-bare"),
    ("zone.example", "authoritative-refuses-bare"),
    ("closed.example", "backend-closed-bare"),
];
/// A name as long as they are.
pub const LONG: &str = "checkout.payments.eu-central-1.production.internal.example";

/// A face that is served until it is dropped.
pub struct Showroom {
    pub address: SocketAddr,
    pub store: Store,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Drop for Showroom {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Showroom {
    /// Puts what is given on disk, and serves a face of it.
    pub async fn open(writes: Vec<Write>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let mut left = writes.into_iter();
        loop {
            let some: Vec<Write> = left.by_ref().take(2000).collect();
            if some.is_empty() {
                break;
            }
            store.commit(some).await.unwrap();
        }
        let day = Duration::from_secs(86_400);
        let ca = folder.path().join("ca");
        let authority = Authority::open(&ca, Mesh::Fresh, coordinator::clock::now_us());
        let setup = Setup {
            authority: Arc::new(authority.unwrap()),
            lifetimes: Lifetimes {
                agent: day,
                server: day,
                operator: day,
                grace: 30 * day,
            },
            addresses: vec!["127.0.0.1:7443".to_owned()],
            advertised: Vec::new(),
        };
        let (fatal, stop) = (Fatal::default(), CancellationToken::new());
        let started = engine::start(store.clone(), setup, fatal.clone(), stop.clone()).unwrap();
        let engine = started.handle;
        let localiser = Localiser::new(engine.clone(), store.clone(), fatal.clone());
        let settings = notify::Settings::default();
        let notifier = notify::start(engine.clone(), store.clone(), settings, fatal, stop.clone());
        let face = Face::new(
            engine,
            store.clone(),
            localiser,
            notifier.unwrap().0,
            stop.clone(),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(face.serve(listener));
        Self {
            address,
            store,
            stop,
            _folder: folder,
        }
    }

    /// Stores a verdict.
    pub async fn keep(&self, verdict: Verdict) {
        let case_json = serde_json::to_vec(&path_of(&verdict.service, 3)).unwrap();
        let write = Write::Verdict { verdict, case_json };
        self.store.commit(vec![write]).await.unwrap();
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// One of every kind: agents, services in every state with their verdicts, a day of one's history.
pub fn everything(now_us: u64) -> Vec<Write> {
    let mut writes: Vec<Write> = agents(now_us).into_iter().map(Write::Agent).collect();
    for name in [
        "shop.example",
        "masked.example",
        "unclear.example",
        "well.example",
        "over.example",
    ] {
        writes.push(service(name, 3, now_us));
    }
    writes.push(service(LONG, 30, now_us));
    writes.push(Write::Service(record(
        "new.example",
        "name = \"new.example\"\nurl = \"https://new.example/\"\n".to_owned(),
        now_us,
    )));
    for (name, case) in RECORDED {
        writes.push(service(name, 3, now_us));
        let (verdict, case_json) = recorded(name, case, now_us);
        writes.push(Write::Verdict { verdict, case_json });
    }
    for (verdict, backends) in verdicts(now_us) {
        let case_json = serde_json::to_vec(&path_of(&verdict.service, backends)).unwrap();
        writes.push(Write::Verdict { verdict, case_json });
    }
    let raised = |began_us, over| RaisedRecord {
        began_us,
        over,
        false_alarms_a_day: 1e-4,
    };
    writes.push(Write::Raised {
        verdict: "v-over".to_owned(),
        raised: raised(
            now_us - 5 * HOUR_US,
            Some((now_us - 3 * HOUR_US, Ending::Quiet)),
        ),
    });
    writes.push(Write::Raised {
        verdict: "v-shop".to_owned(),
        raised: raised(now_us - 42 * MINUTE_US, None),
    });
    for back in 0..90_u64 {
        let at_us = now_us - back * 15 * MINUTE_US;
        writes.push(round("shop.example", 1_000 - back, at_us, back < 3));
        writes.push(round("well.example", 2_000 - back, at_us, back == 40));
    }
    writes.extend(history("shop.example", now_us, 90, MINUTE_US, 0));
    writes
}

/// So many services that are well, with a day of rounds and a verdict each.
pub fn many(services: u64, now_us: u64) -> Vec<Write> {
    let mut writes: Vec<Write> = agents(now_us).into_iter().map(Write::Agent).collect();
    for number in 0..services {
        let name = format!("service-{number:03}.example");
        writes.push(service(&name, 3, now_us));
        let verdict = match number % 20 {
            0 => fault(&name, "web2", now_us),
            _ => healthy(&name, now_us),
        };
        let case_json = serde_json::to_vec(&path_of(&name, 3)).unwrap();
        writes.push(Write::Verdict { verdict, case_json });
        for back in 0..96 {
            let at_us = now_us - back * 15 * MINUTE_US;
            writes.push(round(&name, number * 1_000 + back, at_us, back % 50 == 0));
        }
    }
    writes
}

/// What probes of a service's backends, edges and VIP saw at so many instants back from now.
pub fn history(
    service: &str,
    now_us: u64,
    instants: u64,
    apart_us: u64,
    before_us: u64,
) -> Vec<Write> {
    let socket = |text: &str| text.parse::<SocketAddr>().unwrap();
    let backend = |number: u8| Target::Backend {
        name: format!("web{number}"),
        address: SocketAddr::from(([10, 0, number, 50 + number], 80)),
    };
    let targets = [
        backend(1),
        backend(2),
        backend(3),
        Target::Vip {
            address: socket("203.0.113.10:443"),
        },
        Target::Edge {
            address: socket("198.51.100.11:443"),
        },
        Target::Edge {
            address: socket("198.51.100.22:443"),
        },
    ];
    let mut writes = Vec::new();
    for back in (0..instants).rev() {
        let at_us = now_us - before_us - back * apart_us;
        for vantage in ["dc1", "cdn1", "home1", "home2"] {
            for (place, target) in (0_u64..).zip(&targets) {
                let number = at_us / 1_000 * 10 + place;
                let failing = place == 1 && back < 40 && (back + place) % 3 == 0;
                writes.push(Write::Observation(seen(
                    service, vantage, target, number, at_us, failing,
                )));
            }
        }
    }
    writes
}

fn seen(
    service: &str,
    vantage: &str,
    target: &Target,
    sequence: u64,
    at_us: u64,
    failing: bool,
) -> Observation {
    let step = |layer, us| Step {
        layer,
        took: Micros(us),
    };
    // Times that look drawn, and are the same in every run.
    let drawn = sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
    let steps = vec![
        step(Layer::Tcp, 700 + drawn),
        step(Layer::Tls, 2_000 + drawn * 2),
    ];
    Observation {
        id: ObservationId {
            vantage: VantageName(vantage.to_owned()),
            sequence,
        },
        service: ServiceName(service.to_owned()),
        round: RoundId(sequence),
        arm: Arm::to(target.clone()),
        started: Stamp {
            at_us,
            uncertainty_us: 100,
        },
        scheduled_us: at_us,
        firing: Firing::OnTime,
        steps: match failing {
            true => steps,
            false => [steps, vec![step(Layer::Http, 9_000 + drawn * 12)]].concat(),
        },
        outcome: match failing {
            true => Outcome::Failed {
                layer: Layer::Http,
                failure: Failure::HttpStatus(500),
                after: Micros(4_000),
            },
            false => Outcome::Passed,
        },
        facts: Facts::default(),
    }
}

fn round(service: &str, number: u64, fire_at_us: u64, failing: bool) -> Write {
    Write::Round(RoundRecord {
        service: ServiceName(service.to_owned()),
        round: RoundId(number),
        fire_at_us,
        expected: 24,
        received: 24,
        failed: if failing { 3 } else { 0 },
        skew_us: 200,
        worst_uncertainty_us: 200,
    })
}

/// The vantage points of the recorded cases, three hosts, and forty that are only many.
fn agents(now_us: u64) -> Vec<AgentRecord> {
    let agent = |name: &str, role, host: Option<&str>, state| AgentRecord {
        name: VantageName(name.to_owned()),
        role,
        host: host.map(str::to_owned),
        labels: BTreeMap::from([("site".to_owned(), "vienna".to_owned())]),
        state,
        certificates: Vec::new(),
        version: "0.1.0".to_owned(),
        last_seen_us: (state != AgentState::Invited).then(|| now_us - 90 * 1_000_000),
        addresses: vec![IpAddr::from([198, 51, 100, 35])],
        resolvers: vec![SocketAddr::from(([198, 18, 1, 1], 53))],
        witness: host.is_some(),
        witness_trouble: String::new(),
        revoked: Vec::new(),
        former: Vec::new(),
        gaps: Vec::new(),
    };
    let mut agents = vec![
        agent("cdn1", Role::BehindCdn, None, AgentState::Enrolled),
        agent("dc1", Role::Inside, None, AgentState::Enrolled),
        agent("home1", Role::Outside, None, AgentState::Enrolled),
        agent("home2", Role::Outside, None, AgentState::Enrolled),
        agent(
            "web1-host",
            Role::Inside,
            Some("web1"),
            AgentState::Enrolled,
        ),
        agent("lb-host", Role::Inside, Some("lb"), AgentState::Revoked),
        agent("attic", Role::Outside, None, AgentState::Invited),
    ];
    let many = (1..=40).map(|number| {
        let name = format!("probe-{number:02}-mobile-network-eu-central");
        agent(&name, Role::Outside, None, AgentState::Enrolled)
    });
    agents.extend(many);
    agents
}

/// A service of the recorded path, with so many backends and what was learnt of its edges.
fn service(name: &str, backends: u8, now_us: u64) -> Write {
    let mut toml = format!(
        "name = \"{name}\"\nurl = \"https://{name}/\"\n[dns]\nauthoritative = [\"192.0.2.53\", \"192.0.2.69\"]\n\
         [load_balancer]\nvip = [\"203.0.113.10:443\"]\n[schedule]\nevery = \"10s\"\n"
    );
    for number in 1..=backends {
        let last = 50 + number;
        toml += &format!(
            "[[backend]]\nname = \"web{number}\"\naddress = \"10.0.{number}.{last}:80\"\n"
        );
    }
    Write::Service(record(name, toml, now_us))
}

fn record(name: &str, toml: String, now_us: u64) -> ServiceRecord {
    let mut learnt = Learnt {
        answers_since_us: now_us - HOUR_US,
        last_answer_us: now_us,
        cdn_provider: Some("cloudflare".to_owned()),
        ..Learnt::default()
    };
    for edge in [[198, 51, 100, 11], [198, 51, 100, 22]] {
        learnt.edges.insert(IpAddr::from(edge), now_us);
    }
    ServiceRecord {
        name: ServiceName(name.to_owned()),
        toml,
        ca_pem: None,
        applied_us: now_us - HOUR_US,
        asked_us: now_us - HOUR_US,
        learnt,
    }
}

fn file(case: &str) -> PathBuf {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../localize/tests/golden");
    golden.join(format!("{case}.case.json"))
}

/// A case of the lab.
pub fn case(name: &str) -> Case {
    serde_json::from_slice(&std::fs::read(file(name)).unwrap()).unwrap()
}

/// The verdict on a case of the lab, as if a service of this name had been asked about.
pub fn recorded(service: &str, name: &str, now_us: u64) -> (Verdict, Vec<u8>) {
    let mut case = case(name);
    let mut verdict = localize(&case).verdict;
    verdict.id = format!("v-{}", name.split('-').next().unwrap());
    verdict.service = service.to_owned();
    verdict.started_at = coordinator::clock::rfc3339(now_us - 4 * MINUTE_US);
    verdict.elapsed_ms = 6_200;
    for fault in &mut verdict.faults {
        fault.began_at = coordinator::clock::rfc3339(now_us - 6 * MINUTE_US);
    }
    case.topology.service = ServiceName(service.to_owned());
    (verdict, serde_json::to_vec(&case).unwrap())
}

/// A case of the recorded path without an observation.
fn path_of(service: &str, backends: u8) -> Case {
    let mut case = case("backend-closed-bare");
    case.observations.clear();
    case.sightings.clear();
    case.topology.service = ServiceName(service.to_owned());
    let one = case.topology.backends[0].clone();
    case.topology.backends = (1..=backends)
        .map(|number| localize::Backend {
            name: format!("web{number}"),
            address: SocketAddr::from(([10, 0, number, 50 + number], 80)),
            ..one.clone()
        })
        .collect();
    case.topology.name_servers = vec![NameServer {
        name: "192.0.2.53".to_owned(),
        server: "192.0.2.53:53".parse().unwrap(),
    }];
    case
}

fn verdict(service: &str, id: &str, now_us: u64, changes: &Value) -> Verdict {
    let cleared = |kind: &str, name: &str| json!({"kind": kind, "name": name, "confidence": 0.995, "because": "none of 96 probes across it failed"});
    let mut verdict = json!({
        "schema": 1, "service": service, "id": id, "outcome": "healthy", "faults": [],
        "exonerated": [
            cleared("client_network", "home1"), cleared("client_network", "home2"),
            cleared("client_network", "dc1"), cleared("resolver", "198.18.1.1"),
            cleared("authoritative_dns", "192.0.2.53"), cleared("cdn", "198.51.100.11"),
            cleared("cdn", "198.51.100.22"), cleared("load_balancer", "203.0.113.10:443"),
            cleared("cdn_origin_path", "198.51.100.11->203.0.113.10:443"),
            cleared("cdn_origin_path", "198.51.100.22->203.0.113.10:443"),
            cleared("lb_backend_path", "203.0.113.10:443->web1"),
            cleared("lb_backend_path", "203.0.113.10:443->web2"),
            cleared("lb_backend_path", "203.0.113.10:443->web3"),
            cleared("backend", "web1"), cleared("backend", "web3"),
            cleared("return_path", "web1->10.0.9.10"),
        ],
        "alternatives": [], "ask": [], "detection": {"rate": 0.012, "power": 0.95},
        "clock": {"worst_uncertainty_us": 180}, "rounds": 24, "probes": 612,
        "vantages": ["dc1", "home1", "home2"], "started_at": coordinator::clock::rfc3339(now_us - 5 * MINUTE_US),
        "elapsed_ms": 8123,
    });
    for (name, value) in changes.as_object().unwrap() {
        verdict[name] = value.clone();
    }
    serde_json::from_value(verdict).unwrap()
}

fn healthy(service: &str, now_us: u64) -> Verdict {
    verdict(service, &format!("v-{service}"), now_us, &json!({}))
}

/// A backend that answers one request in five with 500.
fn fault(service: &str, backend: &str, now_us: u64) -> Verdict {
    let began_at = coordinator::clock::rfc3339(now_us - 42 * MINUTE_US);
    verdict(
        service,
        &format!("v-{service}"),
        now_us,
        &json!({
            "outcome": "fault",
            "faults": [{
                "kind": "backend", "name": backend, "mode": "http_5xx", "confidence": 0.984, "user_impact": true,
                "began_at": began_at, "pattern": "steady",
                "rate": {"estimate": 0.19, "low": 0.11, "high": 0.29},
                "summary": format!("Backend {backend} answers 19 % of the requests with server errors, while web1 and web3 are well; users are affected."),
                "owner": "the team that runs that backend",
                "evidence": [
                    {"text": "dc1 to backend/web1: none of 32 requests failed", "vantage": "dc1",
                     "arm": "backend/web1", "failed": 0, "of": 32, "failure": "", "implicates": false, "nats": 1.9},
                    {"text": format!("dc1 to backend/{backend}: 7 of 32 requests failed (http_5xx)"), "vantage": "dc1",
                     "arm": format!("backend/{backend}"), "failed": 7, "of": 32, "failure": "http_status",
                     "implicates": true, "nats": 13.0},
                    {"text": "home1 to edge/198.51.100.11: 2 of 30 requests failed (http_5xx)", "vantage": "home1",
                     "arm": "edge/198.51.100.11", "failed": 2, "of": 30, "failure": "http_status",
                     "implicates": true, "nats": 3.1},
                ],
                "next_step": format!("take {backend} out of rotation, then read its error log at the times of the failed probes"),
                "rivals": [{
                    "kind": "load_balancer", "name": "203.0.113.10:443", "mode": "http_5xx", "nats": 9.0,
                    "because": format!("dc1 to backend/{backend} would have seen hardly any of 32 requests fail, and saw 7"),
                }],
            }],
            "alternatives": [{
                "kind": "lb_backend_path", "name": format!("203.0.113.10:443->{backend}"), "mode": "resets",
                "confidence": 0.011, "because": format!("no probe tells it from backend {backend}"),
            }],
            "unknown": 0.005,
            "ask": [format!("an agent on {backend} (`meshctl agent token --name {backend} --role inside --host {backend}`)")],
        }),
    )
}

/// That web2 of a service fails, found just now.
pub fn found(service: &str, now_us: u64) -> Verdict {
    fault(service, "web2", now_us)
}

/// With how many backends the path of each is drawn.
fn verdicts(now_us: u64) -> Vec<(Verdict, u8)> {
    let mut shop = fault("shop.example", "web2", now_us);
    shop.id = "v-shop".to_owned();
    let mut masked = fault("masked.example", "web3", now_us);
    masked.id = "v-masked".to_owned();
    masked.faults[0].user_impact = false;
    masked.faults[0].summary =
        "Backend web3 refuses connections; the balancer goes round it, and capacity is lost."
            .to_owned();
    let mut over = fault("over.example", "web1", now_us - 5 * HOUR_US);
    over.id = "v-over".to_owned();
    let mut many = fault(LONG, "web17", now_us);
    many.id = "v-many".to_owned();
    let path = localize::Component {
        kind: localize::Kind::LbBackendPath,
        name: "203.0.113.10:443->web17".to_owned(),
    };
    many.faults[0].component = path;
    many.faults[0].mode = "loses_packets".to_owned();
    many.faults[0].summary = "19 % of the packets from 203.0.113.10:443 to web17 are lost, while those to 29 other backends arrive; users are affected.".to_owned();
    many.alternatives.clear();
    let unclear = verdict(
        "unclear.example",
        "v-unclear",
        now_us,
        &json!({
            "outcome": "inconclusive",
            "alternatives": [
                {"kind": "backend", "name": "web2", "mode": "http_5xx", "confidence": 0.55, "because": "no probe crosses one and not the other"},
                {"kind": "load_balancer", "name": "203.0.113.10:443", "mode": "http_5xx", "confidence": 0.4, "because": "no probe crosses one and not the other"},
            ],
            "unknown": 0.05,
            "ask": ["an agent of role inside, which reaches every backend by itself"],
            "not_probed": [{"vantage": "home1", "arm": "edge/198.51.100.99:443", "because": "refused by the agent: its policy has no such network"}],
        }),
    );
    let mut well = healthy("well.example", now_us);
    well.id = "v-well".to_owned();
    vec![
        (shop, 3),
        (masked, 3),
        (over, 3),
        (many, 30),
        (unclear, 3),
        (well, 3),
    ]
}
