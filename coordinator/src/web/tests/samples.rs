//! Verdicts and paths for the tests of the pages.

use std::net::{IpAddr, SocketAddr};

use localize::{
    Backend, Case, CdnProvider, Component, Expectation, Kind, NameServer, Role, Scheme,
    ServiceName, Topology, VantageName, VantagePoint, Verdict, VipMode,
};
use serde_json::{Value, json};

use crate::coverage::Part;

/// A service file of the path that the verdicts are about.
pub(crate) const SERVICE: &str = r#"
name = "shop.example"
url = "https://shop.example/"
[dns]
authoritative = ["192.0.2.54"]
[load_balancer]
vip = ["203.0.113.10:443"]
[[backend]]
name = "web1"
address = "10.0.0.51:80"
[[backend]]
name = "web2"
address = "10.0.0.52:80"
"#;

fn verdict(changes: &Value) -> Verdict {
    let mut verdict = json!({
        "schema": 1, "service": "shop.example", "id": "v-7f3a", "outcome": "healthy", "faults": [],
        "exonerated": [
            {"kind": "cdn", "name": "192.0.2.1", "confidence": 0.99,
             "because": "home1 and home2 passed it in 96 of 96 probes"},
            {"kind": "backend", "name": "web1", "confidence": 0.99,
             "because": "dc1 passed it in 24 of 24 probes"},
        ],
        "alternatives": [], "ask": [], "detection": {"rate": 0.01, "power": 0.95},
        "clock": {"worst_uncertainty_us": 180}, "rounds": 24, "probes": 612,
        "vantages": ["dc1", "home1", "home2"], "started_at": "2030-01-02T03:04:05Z",
        "elapsed_ms": 8123,
    });
    for (name, value) in changes.as_object().unwrap() {
        verdict[name] = value.clone();
    }
    serde_json::from_value(verdict).unwrap()
}

/// Nothing is wrong.
pub(crate) fn healthy() -> Verdict {
    verdict(&json!({}))
}

/// Nobody can tell.
pub(crate) fn inconclusive() -> Verdict {
    verdict(&json!({
        "outcome": "inconclusive",
        "alternatives": [
            {"kind": "backend", "name": "web2", "mode": "http_5xx", "confidence": 0.55},
            {"kind": "load_balancer", "name": "203.0.113.10:443", "mode": "http_5xx", "confidence": 0.4},
        ],
    }))
}

/// A backend fails two requests in five.
pub(crate) fn fault() -> Verdict {
    verdict(&json!({
        "outcome": "fault",
        "faults": [{
            "kind": "backend", "name": "web2", "mode": "http_5xx", "confidence": 0.98,
            "user_impact": true, "rate": {"estimate": 0.41, "low": 0.35, "high": 0.47},
            "summary": "web2 answers 500 to two requests in five, while web1 answers all of them.",
            "owner": "whoever runs the application on web2",
            "evidence": [
                {"text": "dc1 to backend/web1: none of 32 requests failed", "vantage": "dc1",
                 "arm": "backend/web1", "failed": 0, "of": 32, "failure": "", "implicates": false, "nats": 0.5},
                {"text": "dc1 to backend/web2: 13 of 32 requests failed (http_5xx)", "vantage": "dc1",
                 "arm": "backend/web2", "failed": 13, "of": 32, "failure": "http_status",
                 "implicates": true, "nats": 13.0},
            ],
            "next_step": "Read the error log of the application on web2.",
            "rivals": [{
                "kind": "load_balancer", "name": "203.0.113.10:443", "mode": "http_5xx", "nats": 9.0,
                "because": "dc1 to backend/web2 would have seen hardly any of 32 requests fail, and saw 13",
            }],
        }],
        "alternatives": [{
            "kind": "lb_backend_path", "name": "203.0.113.10:443->web2", "mode": "http_5xx",
            "confidence": 0.01, "because": "no probe tells it from backend web2",
        }],
    }))
}

/// The fault of another component, with nothing else known.
pub(crate) fn blaming(kind: Kind, name: &str) -> Verdict {
    let mut verdict = fault();
    verdict.alternatives.clear();
    verdict.exonerated.clear();
    verdict.faults[0].component = Component {
        kind,
        name: name.to_owned(),
    };
    verdict
}

/// A path with so many backends.
pub(crate) fn topology(backends: usize) -> Topology {
    let socket = |text: &str| text.parse::<SocketAddr>().unwrap();
    let vantage = |name: &str, role| VantagePoint {
        name: VantageName(name.to_owned()),
        role,
        host: None,
        addresses: vec![IpAddr::from([198, 51, 100, 1])],
        witness: false,
        resolvers: vec![socket("192.0.2.53:53")],
    };
    let backend = |number: usize| Backend {
        name: format!("web{number}"),
        address: SocketAddr::from(([10, 0, 0, 51], 80)),
        scheme: Scheme::Http,
        path: "/".to_owned(),
    };
    Topology {
        service: ServiceName("shop.example".to_owned()),
        scheme: Scheme::Https,
        vantages: vec![
            vantage("home1", Role::Outside),
            vantage("dc1", Role::Inside),
        ],
        resolvers: Vec::new(),
        zone: None,
        name_servers: vec![NameServer {
            name: "ns1.example".to_owned(),
            server: socket("192.0.2.54:53"),
        }],
        edges: vec![socket("192.0.2.1:443"), socket("192.0.2.2:443")],
        cdn: CdnProvider::Auto(Some("cloudflare".to_owned())),
        vips: vec![socket("203.0.113.10:443")],
        vip_mode: VipMode::L7,
        backends: (1..=backends).map(backend).collect(),
        expect: Expectation::Undeclared,
    }
}

/// A case of that path, without an observation.
pub(crate) fn case() -> Case {
    Case {
        topology: topology(3),
        declared: localize::declared::Declared::default(),
        baselines: localize::Baselines::default(),
        observations: Vec::new(),
        sightings: Vec::new(),
        traces: Vec::new(),
    }
}

/// A part that no round crosses.
pub(crate) fn uncrossed(kind: Kind, name: &str) -> Part {
    Part {
        component: Component {
            kind,
            name: name.to_owned(),
        },
        probes_per_round: 0.0,
        same_as: Vec::new(),
        ask: String::new(),
        hour: None,
        day: None,
        not_probed: Vec::new(),
    }
}
