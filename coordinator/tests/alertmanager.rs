//! Debian's Alertmanager on loopback: it gets an alert of the mesh, is told when it is over, and one of its own
//! starts a localisation. Left out where it is not installed (`tests/packages.sh`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test may fail, and looks at the clock"
)]

mod common;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::agent::{Agent, now_us, web2_closed};
use common::{Coordinator, PATIENCE, SHOP};
use coordinator::store::{Notice, Noticed, RaisedRecord, Store, Write};
use localize::watch::Ending;
use proto::v1::{ApplyServiceRequest, ListVerdictsRequest};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Alertmanager. Dropping it kills it.
struct Alertmanager {
    child: Child,
    address: SocketAddr,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Alertmanager {
    /// One that hands everything on to the mesh; `None` where it is not installed.
    fn start(folder: &Path, web: SocketAddr) -> Option<Self> {
        let address = free();
        let config = format!(
            "route: {{receiver: mesh, group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
             receivers:\n- name: mesh\n  webhook_configs:\n  - url: http://{web}/hooks/alertmanager\n"
        );
        let file = folder.join("alertmanager.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", folder.join("am").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        Some(Self { child, address })
    }

    /// Its alerts that are not over.
    async fn alerts(&self) -> Vec<Value> {
        let url = format!("http://{}/api/v2/alerts", self.address);
        let Ok(answer) = client().get(url).send().await else {
            return Vec::new();
        };
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default()
    }

    /// Waits for so many.
    async fn until(&self, count: usize) -> Vec<Value> {
        let wait = async {
            loop {
                let alerts = self.alerts().await;
                if alerts.len() == count {
                    return alerts;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("alerts")
    }
}

/// One that needs no certificates of this host.
fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().tls_certs_only([]);
    client.build().unwrap()
}

/// An address that nobody listens on.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Writes down what the engine does when the watch raises a verdict, or finds it over.
async fn noticed(folder: &TempDir, what: Noticed) {
    let store = Store::open(&folder.path().join("data/store")).unwrap();
    let (at_us, id) = (now_us(), "v-aaaaaaaaaa".to_owned());
    let notice = Write::Notice(Notice {
        at_us,
        what,
        verdict: id.clone(),
    });
    let mut writes = vec![notice];
    match what {
        Noticed::Raised => {
            let raised = RaisedRecord {
                began_us: at_us - 1_000_000,
                over: None,
                false_alarms_a_day: 1e-4,
            };
            let verdict = verdict(&id);
            writes.push(Write::Raised {
                verdict: id,
                raised,
            });
            writes.push(Write::Verdict {
                verdict,
                case_json: b"{}".to_vec(),
            });
        }
        Noticed::Over => writes.push(Write::Over {
            verdict: id,
            at_us,
            ending: Ending::Quiet,
        }),
    }
    store.commit(writes).await.unwrap();
}

fn verdict(id: &str) -> localize::Verdict {
    let fault = json!({
        "kind": "backend", "name": "web2", "mode": "refuses", "confidence": 0.97, "user_impact": true,
        "rate": {"estimate": 0.9, "low": 0.8, "high": 1.0}, "summary": "Backend web2 refuses connections.",
        "owner": "the team that runs it", "evidence": [], "next_step": "start it", "rivals": [],
        "began_at": "", "pattern": "steady", "period_s": null,
    });
    let verdict = json!({
        "schema": 1, "service": "shop", "id": id, "outcome": "fault", "faults": [fault], "exonerated": [],
        "alternatives": [], "earlier": [], "not_probed": [], "standing": [], "unknown": 0.0, "ask": [],
        "detection": {"rate": 0.1, "power": 0.95}, "clock": {"worst_uncertainty_us": 10}, "rounds": 8,
        "probes": 100, "vantages": ["dc1"], "started_at": "", "elapsed_ms": 10,
    });
    serde_json::from_value(verdict).unwrap()
}

#[tokio::test]
async fn alertmanager_is_told_and_its_alerts_start_localisations() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (scratch, web) = (tempfile::tempdir().unwrap(), free());
    let Some(alertmanager) = Alertmanager::start(scratch.path(), web) else {
        eprintln!("prometheus-alertmanager is not installed; the test is left out");
        return;
    };
    let receiver = format!(
        "web = \"{web}\"\nnotify_after = \"0s\"\n[[notify]]\nname = \"prometheus\"\n\
         alertmanager = {{ url = \"http://{}\" }}\n",
        alertmanager.address
    );
    let (_, folder) = Coordinator::start_with(&receiver).terminate().await;
    noticed(&folder, Noticed::Raised).await;
    let coordinator = Coordinator::start_in(Arc::clone(&folder));
    let alert = alertmanager.until(1).await.remove(0);
    assert_eq!(alert["labels"]["alertname"], "MeshFault");
    assert_eq!(alert["labels"]["component"], "web2");
    assert_eq!(alert["labels"]["severity"], "critical");
    let link = format!("http://{web}/verdicts/v-aaaaaaaaaa");
    assert_eq!(alert["generatorURL"], link.as_str());
    coordinator.terminate().await;
    noticed(&folder, Noticed::Over).await;
    let coordinator = Coordinator::start_in(folder);
    alertmanager.until(0).await;

    let request = ApplyServiceRequest {
        toml: SHOP.to_owned(),
        ca_pem: None,
    };
    let mut operator = coordinator.operator().await;
    operator.apply_service(request).await.unwrap();
    let agent = Agent::connect(&coordinator, "dc1", web2_closed).await;
    tokio::spawn(agent.work());
    let alert = json!([{"labels": {"alertname": "SlowShop", "service": "shop"}}]);
    let posted = client()
        .post(format!("http://{}/api/v2/alerts", alertmanager.address))
        .header("content-type", "application/json")
        .body(alert.to_string())
        .send();
    assert!(posted.await.unwrap().status().is_success());
    let localised = async {
        loop {
            let known = operator.list_verdicts(ListVerdictsRequest::default()).await;
            let known = known.unwrap().into_inner().verdicts.into_iter();
            if let Some(verdict) = known.into_iter().find(|one| one.raised.is_none()) {
                return verdict;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // One agent that has never met web2 may be kept from it by a rule, as far as it knows: that takes more rounds.
    let verdict = tokio::time::timeout(PATIENCE * 2, localised).await.unwrap();
    assert_eq!(verdict.outcome, "fault");
}
