//! What scrapers read.

use super::*;

#[tokio::test]
async fn metrics_say_what_the_probes_came_to() {
    let bench = Bench::new().await;
    let now_us = clock::now_us();
    let passed = (1..=3).map(|sequence| seen(sequence, now_us, true));
    bench
        .observe(passed.chain([seen(4, now_us, false)]).collect())
        .await;
    let mut scrape = request(Method::GET, "/metrics");
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    scrape
        .headers_mut()
        .insert(header::ACCEPT, accept.parse().unwrap());
    let (status, text, answer) = bench.ask(scrape).await;
    assert_eq!(status, StatusCode::OK);
    let kind = answer.headers()[header::CONTENT_TYPE].to_str().unwrap();
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    let of = "service=\"shop.example\",agent=\"dc1\",target=\"backend/web2\"";
    for line in [
        &format!(
            "mesh_build_info{{version=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        ),
        &format!("mesh_probe_total{{{of}}} 4"),
        &format!("mesh_probe_success_total{{{of}}} 3"),
        &format!("mesh_probe_failure_total{{{of},failure=\"connect_timeout\"}} 1"),
        &format!("mesh_probe_duration_seconds_count{{{of},phase=\"connect\"}} 3"),
        &format!("mesh_probe_duration_seconds_bucket{{le=\"0.001\",{of},phase=\"connect\"}} 3"),
        &format!("mesh_probe_duration_seconds_bucket{{le=\"0.0025\",{of},phase=\"ttfb\"}} 0"),
        &format!("mesh_probe_duration_seconds_bucket{{le=\"+Inf\",{of},phase=\"ttfb\"}} 3"),
        "mesh_agent_up{agent=\"dc1\"} 0.0",
        "mesh_store_durable_seq{agent=\"dc1\"} 4.0",
        "mesh_alarms_standing{service=\"shop.example\"} 0.0",
    ] {
        assert!(
            text.lines().any(|known| known == line),
            "no {line} in\n{text}"
        );
    }
    assert!(text.ends_with("# EOF\n"));
    let seen = text
        .lines()
        .find(|line| line.starts_with("mesh_agent_last_seen_timestamp_seconds{"));
    let seen: f64 = seen.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!((seen - (now_us as f64 / 1e6 - 90.0)).abs() < 10.0, "{seen}");
    openmetrics(&text);
    documented(&text);
    let (_, text, answer) = bench.ask(request(Method::GET, "/metrics")).await;
    let kind = answer.headers()[header::CONTENT_TYPE].to_str().unwrap();
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(text.contains("# TYPE mesh_probe_total counter\n"), "{text}");
    promtool(&text);
}

/// Every family stands in the documentation, and none that is none.
fn documented(text: &str) {
    let page = include_str!("../../../../docs/metrics.md");
    let told = page.split("## /probe").next().unwrap().lines();
    let told = told.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let told: std::collections::BTreeSet<&str> = told.collect();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let families = types.map(|line| {
        let (name, kind) = line.split_once(' ').unwrap();
        match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        }
    });
    let families: std::collections::BTreeSet<String> = families.collect();
    let families: std::collections::BTreeSet<&str> = families.iter().map(String::as_str).collect();
    assert_eq!(told, families);
}

/// What Prometheus' own reader says of it, where it is installed (`tests/packages.sh`).
fn promtool(text: &str) {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let Ok(mut child) = promtool.stderr(Stdio::piped()).spawn() else {
        eprintln!("promtool is not installed; its check is left out");
        return;
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let said = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success() && words.is_empty(), "{words}");
}

/// What a parser of OpenMetrics asks of every line: a family declared before its samples, once, and
/// samples of declared families alone.
fn openmetrics(text: &str) {
    let mut families: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "TYPE", name, kind] => {
                assert!(
                    families.iter().all(|(known, _)| known != name),
                    "{name} twice"
                );
                families.push(((*name).to_owned(), (*kind).to_owned()));
            }
            ["#", ..] => {}
            _ => {
                let (name, kind) = families.last().unwrap();
                let sample = line.split(['{', ' ']).next().unwrap();
                let suffixes: &[&str] = match kind.as_str() {
                    "counter" => &["_total"],
                    "histogram" => &["_bucket", "_count", "_sum"],
                    "info" => &["_info"],
                    _ => &[""],
                };
                let fits = suffixes
                    .iter()
                    .any(|suffix| sample == format!("{name}{suffix}"));
                assert!(fits, "{line} under {name} {kind}");
                let value = line.rsplit_once(' ').unwrap().1;
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
}
