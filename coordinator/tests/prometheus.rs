//! The rules and dashboards in `deploy/` against the real program: what they name is there, and Debian's
//! Prometheus loads the rules and answers what the dashboards ask. That half is left out where it is not
//! installed (`tests/packages.sh`); `promtool` tests what the rules say (`make rules`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test may fail, and looks at the clock"
)]

mod common;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::agent::{Agent, web2_closed};
use common::{Coordinator, PATIENCE, SHOP};
use proto::v1::ApplyServiceRequest;
use serde_json::Value;

const RULES: &str = include_str!("../../deploy/prometheus/mesh.rules.yml");
const DASHBOARDS: [(&str, &str); 2] = [
    (
        "mesh-services.json",
        include_str!("../../deploy/grafana/mesh-services.json"),
    ),
    (
        "mesh-itself.json",
        include_str!("../../deploy/grafana/mesh-itself.json"),
    ),
];

/// A coordinator with a service, whose second backend refuses, and somebody to tell.
async fn mesh() -> Coordinator {
    let config = "web = \"127.0.0.1:0\"\n[[notify]]\nname = \"ours\"\n\
                  webhook = { url = \"http://127.0.0.1:1/hook\" }\n";
    let coordinator = Coordinator::start_with(config);
    let request = ApplyServiceRequest {
        toml: SHOP.to_owned(),
        ca_pem: None,
    };
    let mut operator = coordinator.operator().await;
    operator.apply_service(request).await.unwrap();
    let agent = Agent::connect(&coordinator, "dc1", web2_closed).await;
    tokio::spawn(agent.work());
    coordinator
}

/// The names of all samples that a scrape may have.
fn offered(scrape: &str) -> BTreeSet<String> {
    let types = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let names = types.flat_map(|family| match family.split_once(' ').unwrap() {
        (name, "histogram") => ["_bucket", "_count", "_sum"]
            .map(|suffix| format!("{name}{suffix}"))
            .to_vec(),
        (name, _) => vec![name.to_owned()],
    });
    names.collect()
}

/// The names that the rules give to what they record.
fn recorded() -> BTreeSet<String> {
    let lines = RULES.lines().map(str::trim);
    let names = lines.filter_map(|line| line.strip_prefix("- record: "));
    names.map(str::to_owned).collect()
}

/// Whatever looks like a metric of the mesh, recorded or not.
fn named(text: &str) -> BTreeSet<&str> {
    let is_in_names = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let words = text.split(|c| !is_in_names(c));
    words
        .filter(|word| word.starts_with("mesh_") || word.contains(":mesh_"))
        .collect()
}

#[tokio::test]
async fn what_rules_and_dashboards_name_is_there() {
    let coordinator = mesh().await;
    let (status, _, scrape) = coordinator.http("GET", "/metrics").await;
    assert_eq!(status, 200, "{scrape}");
    let there: BTreeSet<String> = offered(&scrape).into_iter().chain(recorded()).collect();
    assert!(there.len() > 30, "{there:?}");
    for (file, text) in [("mesh.rules.yml", RULES)].into_iter().chain(DASHBOARDS) {
        let named = named(text);
        assert!(named.len() > 5, "{file}: {named:?}");
        for name in named {
            assert!(there.contains(name), "{file}: there is no {name}");
        }
    }
}

/// The page for whoever scrapes lists the alerts, and none that is none; what is recorded stands there too.
#[test]
fn rules_are_documented() {
    let page = include_str!("../../docs/metrics.md");
    let cells = page.lines().filter(|line| line.starts_with("| `Mesh"));
    let cells = cells.filter_map(|line| line.split('|').nth(1));
    let told: BTreeSet<&str> = cells
        .flat_map(|cell| cell.split('`'))
        .filter(|word| word.starts_with("Mesh"))
        .collect();
    let lines = RULES.lines().map(str::trim);
    let alerts: BTreeSet<&str> = lines
        .filter_map(|line| line.strip_prefix("- alert: "))
        .collect();
    assert_eq!(told, alerts);
    for name in recorded() {
        let level = name.split(':').next().unwrap();
        assert!(page.contains(&format!("`{level}:")), "{name}");
    }
}

/// What Grafana needs of a file, as far as it can be said without Grafana.
#[test]
fn dashboards_are_sound() {
    for (file, text) in DASHBOARDS {
        let dashboard: Value = serde_json::from_str(text).unwrap();
        assert_eq!(format!("{}.json", dashboard["uid"].as_str().unwrap()), file);
        let panels = dashboard["panels"].as_array().unwrap();
        let ids: BTreeSet<u64> = panels.iter().map(|p| p["id"].as_u64().unwrap()).collect();
        assert_eq!(
            ids.len(),
            panels.len(),
            "{file}: an id stands for two panels"
        );
        let mut taken = BTreeSet::new();
        for panel in panels {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= 24, "{file}: {}", panel["title"]);
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{file}: {} overlaps", panel["title"]);
                }
            }
        }
    }
}

/// Every expression of a dashboard, with its variables at what the mesh of these tests has.
fn asked(dashboard: &str) -> Vec<String> {
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array());
    let asked = targets.flatten().map(|target| {
        let asked = target["expr"].as_str().unwrap();
        let asked = asked.replace("$service", "shop").replace("$agent", "dc1");
        asked.replace("$__rate_interval", "1m")
    });
    let asked: Vec<String> = asked.collect();
    assert!(asked.iter().all(|asked| !asked.contains('$')), "{asked:?}");
    asked
}

/// Prometheus. Dropping it kills it.
struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// One that scrapes the coordinator each second; `None` where it is not installed.
    fn start(folder: &Path, web: SocketAddr) -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        std::fs::write(folder.join("mesh.rules.yml"), RULES).unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [mesh.rules.yml]\n\
             scrape_configs:\n- job_name: mesh-coordinator\n  static_configs:\n  - targets: ['{web}']\n"
        );
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("tsdb").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        Some(Self { child, address })
    }

    /// What it says under a path of its API; nothing before it is ready.
    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let mut url = url::Url::parse(&format!("http://{}{path}", self.address)).unwrap();
        url.query_pairs_mut().extend_pairs(parameters);
        let client = reqwest::Client::builder()
            .tls_certs_only([])
            .build()
            .unwrap();
        match client.get(url).send().await {
            Ok(answer) => {
                serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default()
            }
            Err(_) => Value::Null,
        }
    }

    /// How many series an expression gives.
    async fn series(&self, asked: &str) -> usize {
        let answer = self.get("/api/v1/query", &[("query", asked)]).await;
        assert!(
            answer.is_null() || answer["status"] == "success",
            "{asked}: {answer}"
        );
        let series = answer["data"]["result"].as_array();
        series.map_or(0, Vec::len)
    }

    /// Waits until an expression gives something.
    async fn until(&self, asked: &str) {
        let wait = async {
            while self.series(asked).await == 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "{asked} gives nothing");
    }
}

#[tokio::test]
async fn prometheus_answers_what_the_dashboards_ask() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let scratch = tempfile::tempdir().unwrap();
    let coordinator = mesh().await;
    let Some(prometheus) = Prometheus::start(scratch.path(), coordinator.web.unwrap()) else {
        eprintln!("prometheus is not installed; the test is left out");
        return;
    };
    prometheus.until("up == 1").await;
    let (status, _, text) = coordinator.http("GET", "/probe?target=shop").await;
    assert_eq!(status, 200, "{text}");
    // A localisation that is over leaves counters that no longer rise, and a last one to see them rise by.
    prometheus.until("mesh_probe_total > 0").await;
    let (status, _, text) = coordinator.http("GET", "/probe?target=shop").await;
    assert_eq!(status, 200, "{text}");
    prometheus
        .until("service:mesh_probe_failure:ratio_rate5m > 0")
        .await;
    prometheus
        .until("service_phase:mesh_probe_duration_seconds_bucket:rate5m > 0")
        .await;
    for asked in DASHBOARDS.iter().flat_map(|(_, text)| asked(text)) {
        let series = prometheus.series(&asked).await;
        // The watch has raised nothing, and the agent of these tests estimates no clock.
        let is_of_faults = asked.contains("mesh_fault_standing{") && asked.ends_with("> 0");
        let is_empty = is_of_faults || asked.contains("mesh_clock_");
        assert_eq!(series == 0, is_empty, "{asked}: {series} series");
    }
    let rules = prometheus.get("/api/v1/rules", &[]).await;
    let groups = rules["data"]["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let mut count = 0;
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        count += 1;
    }
    assert_eq!(count, RULES.matches("  expr: ").count());
}
