//! The web face of the real binary, with an agent on a real stream: a localisation started from the page,
//! one asked for as by Prometheus, and the report of what came of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test may fail, skip what it does not wait for, and look at the clock"
)]

mod common;

use common::agent::{Agent, web2_closed};
use common::{Coordinator, SHOP};
use proto::v1::{ApplyServiceRequest, GetVerdictRequest, ListVerdictsRequest};

async fn broken() -> Coordinator {
    let coordinator = Coordinator::start_with("web = \"127.0.0.1:0\"");
    let request = ApplyServiceRequest {
        toml: SHOP.to_owned(),
        ca_pem: None,
    };
    let applied = coordinator.operator().await.apply_service(request).await;
    assert_eq!(applied.unwrap().into_inner().result, "created");
    let agent = Agent::connect(&coordinator, "dc1", web2_closed).await;
    tokio::spawn(agent.work());
    coordinator
}

fn location(head: &str) -> &str {
    let line = head
        .lines()
        .find_map(|line| line.strip_prefix("location: "));
    line.expect("no location")
}

#[tokio::test]
async fn a_localisation_is_started_followed_and_reported() {
    let coordinator = broken().await;
    let (status, head, _) = coordinator.http("POST", "/services/shop/localize").await;
    assert_eq!(status, 303, "{head}");
    let run = location(&head).to_owned();
    let (status, _, page) = coordinator.http("GET", &run).await;
    assert_eq!(status, 200);
    assert!(
        page.contains(&format!("data-events=\"{run}/events\"")),
        "{page}"
    );
    assert!(
        page.contains("<noscript><meta http-equiv=\"refresh\""),
        "{page}"
    );

    let (status, head, events) = coordinator.http("GET", &format!("{run}/events")).await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    assert!(
        events.contains("event: step") && events.contains("\"rounds\":"),
        "{events}"
    );
    let end = events.split("event: end\ndata: ").nth(1).expect("no end");
    let verdict = end.lines().next().unwrap().trim().to_owned();
    let (status, head, _) = coordinator.http("GET", &run).await;
    assert_eq!((status, location(&head)), (303, verdict.as_str()));

    let (status, _, page) = coordinator.http("GET", &verdict).await;
    assert_eq!(status, 200);
    assert!(
        page.contains("id=\"backend-web2\"") && page.contains("<code>refuses</code>"),
        "{page}"
    );
    let id = verdict.strip_prefix("/verdicts/").unwrap().to_owned();
    let mut pieces = coordinator
        .operator()
        .await
        .report(GetVerdictRequest { id })
        .await
        .unwrap()
        .into_inner();
    let mut html = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        html.extend_from_slice(&piece.html);
    }
    let html = String::from_utf8(html).unwrap();
    assert!(
        html.contains("class=\"part blamed\"") && html.ends_with("</html>"),
        "{html}"
    );
}

#[tokio::test]
async fn prometheus_asks_for_a_localisation_as_it_asks_blackbox_exporter() {
    let coordinator = broken().await;
    let (status, _, text) = coordinator
        .http("GET", "/probe?target=shop&module=localize")
        .await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("\nprobe_success 0.0\n"), "{text}");
    assert!(text.contains("\nprobe_duration_seconds "), "{text}");
    let named = "{kind=\"backend\",name=\"web2\",mode=\"refuses\"}";
    assert!(
        text.contains(&format!("mesh_verdict_fault_confidence_ratio{named}")),
        "{text}"
    );

    // Asked again, it says the same, and that is not stored again.
    let (status, _, _) = coordinator.http("GET", "/probe?target=shop").await;
    assert_eq!(status, 200);
    assert_eq!(verdicts(&coordinator).await.len(), 1);

    let (_, _, metrics) = coordinator.http("GET", "/metrics").await;
    assert!(
        metrics.contains("mesh_last_verdict{service=\"shop\",outcome=\"fault\"} 1.0"),
        "{metrics}"
    );
    assert!(
        metrics.contains("mesh_agent_up{agent=\"dc1\"} 1.0"),
        "{metrics}"
    );
}

async fn verdicts(coordinator: &Coordinator) -> Vec<proto::v1::Verdict> {
    let request = ListVerdictsRequest::default();
    let answer = coordinator.operator().await.list_verdicts(request).await;
    answer.unwrap().into_inner().verdicts
}

#[tokio::test]
async fn an_alert_of_somebody_elses_starts_a_localisation() {
    let coordinator = broken().await;
    let call = r#"{"version": "4", "groupKey": "{}:{}", "status": "firing", "alerts": [
        {"status": "firing", "labels": {"alertname": "Slow", "instance": "http://shop.example/"}, "startsAt": "2026-01-01T00:00:00Z"},
        {"status": "firing", "labels": {"alertname": "Full", "instance": "db.example"}, "startsAt": "2026-01-01T00:00:00Z"}]}"#;
    let hook = "/hooks/alertmanager";
    let (status, _, answer) = coordinator.http_with("POST", hook, call).await;
    assert_eq!(status, 200, "{answer}");
    let json: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let verdict = &json["verdicts"][0];
    assert_eq!(
        (&verdict["service"], &verdict["outcome"]),
        (&"shop".into(), &"fault".into())
    );
    assert_eq!(json["alerts_of_no_known_service"], 1);
    let link = verdict["link"].as_str().unwrap();
    let page = format!("http://{}", coordinator.web.unwrap());
    let path = link.strip_prefix(&page).unwrap();
    assert_eq!(coordinator.http("GET", path).await.0, 200);
    // Alertmanager calls again when it has missed the answer.
    let (_, _, again) = coordinator.http_with("POST", hook, call).await;
    assert_eq!(again, answer);
    assert_eq!(verdicts(&coordinator).await.len(), 1);
    let (status, _, _) = coordinator.http_with("POST", hook, "{}").await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn a_page_that_is_open_does_not_hold_up_the_end() {
    let coordinator = broken().await;
    let (_, head, _) = coordinator.http("POST", "/services/shop/localize").await;
    let events = format!("{}/events", location(&head));
    let web = coordinator.web.unwrap();
    let mut open = tokio::net::TcpStream::connect(web).await.unwrap();
    let request = format!("GET {events} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut open, request.as_bytes())
        .await
        .unwrap();
    let asked = std::time::Instant::now();
    let (status, _) = coordinator.terminate().await;
    assert_eq!(status.code(), Some(0));
    assert!(
        asked.elapsed() < std::time::Duration::from_secs(4),
        "{:?}",
        asked.elapsed()
    );
}
