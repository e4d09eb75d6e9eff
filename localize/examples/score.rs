//! The scoring door: reads case files and prints one JSON line for each, in order.
//!
//! `cargo run --release -p localize --example score -- CASE.json...`

use std::process::ExitCode;
use std::time::Instant;

use localize::score::{CountedCase, Scores, score};
use serde::Serialize;

#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    scores: Scores,
    elapsed_us: u128,
}

fn line(path: &str) -> Result<String, String> {
    let text = std::fs::read(path).map_err(|e| format!("{path}: {e}"))?;
    let case: CountedCase = serde_json::from_slice(&text).map_err(|e| format!("{path}: {e}"))?;
    case.check().map_err(|e| format!("{path}: {e}"))?;
    #[allow(clippy::disallowed_methods, reason = "times the judgement")]
    let started = Instant::now();
    let scores = score(&case);
    let elapsed_us = started.elapsed().as_micros();
    serde_json::to_string(&Line { scores, elapsed_us }).map_err(|e| format!("{path}: {e}"))
}

fn main() -> ExitCode {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.is_empty() {
        eprintln!("usage: score CASE.json...");
        return ExitCode::from(2);
    }
    for path in paths {
        match line(&path) {
            Ok(line) => println!("{line}"),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::SUCCESS
}
