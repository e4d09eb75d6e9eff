//! `meshctl history`.

use proto::v1::history_response::Line;
use proto::v1::{HistoryRequest, Layer};
use serde_json::{Value, json};

use super::Session;
use crate::connect::{About, Subject};
use crate::exit::Exit;
use crate::render::{Table, micros, percent};
use crate::trouble::Trouble;

pub async fn run(mut session: Session<'_>, name: &str, since_ms: u64) -> Result<Exit, Trouble> {
    let request = session.request(HistoryRequest {
        service: name.to_owned(),
        since_ms,
    });
    let lines = session
        .client
        .history(request)
        .await
        .about(Subject::Service(name))?
        .lines;
    let value: Vec<Value> = lines.iter().map(as_json).collect();
    session.output.list(
        &value,
        "No probes in that time. Give a longer one with --since.",
        || text(&lines),
    )?;
    Ok(Exit::Ok)
}

fn layer(line: &Line) -> &'static str {
    match line.layer() {
        Layer::Unspecified => "",
        Layer::Dns => "dns",
        Layer::Tcp => "tcp",
        Layer::Tls => "tls",
        Layer::Http => "http",
    }
}

fn as_json(line: &Line) -> Value {
    json!({
        "vantage": line.vantage, "arm": line.arm, "layer": layer(line),
        "passed": line.passed, "failed": line.failed,
        "p50_us": line.p50_us, "p90_us": line.p90_us, "p99_us": line.p99_us, "max_us": line.max_us,
        "failure": line.failure,
    })
}

fn text(lines: &[Line]) -> String {
    let mut table = Table::new([
        "VANTAGE", "ARM", "LAYER", "PASSED", "FAILED", "LOST", "P50", "P90", "P99", "MAX",
        "FAILURE",
    ])
    .numbers(3..10);
    for line in lines {
        let all = line.passed + line.failed;
        let lost = if all == 0 {
            0.0
        } else {
            line.failed as f64 / all as f64
        };
        let time = |us: u64| {
            if line.passed == 0 {
                String::new()
            } else {
                micros(us)
            }
        };
        table.row([
            line.vantage.clone(),
            line.arm.clone(),
            layer(line).to_owned(),
            line.passed.to_string(),
            line.failed.to_string(),
            percent(lost),
            time(line.p50_us),
            time(line.p90_us),
            time(line.p99_us),
            time(line.max_us),
            line.failure.clone(),
        ]);
    }
    table.text()
}
