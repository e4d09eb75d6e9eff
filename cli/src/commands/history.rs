//! `meshctl history`.

use proto::json;
use proto::v1::HistoryRequest;
use proto::v1::history_response::Line;
use serde_json::Value;

use super::Session;
use crate::connect::{About, Subject};
use crate::exit::Exit;
use crate::render::{Grid, Table, micros, percent};
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
    let value: Vec<Value> = lines.iter().map(json::history_line).collect();
    session.output.list(
        &value,
        "No probes in that time. Give a longer one with --since.",
        |grid| text(&lines, grid),
    )?;
    Ok(Exit::Ok)
}

fn text(lines: &[Line], grid: Grid) -> String {
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
            json::layer(line.layer()).to_owned(),
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
    table.text(grid)
}
