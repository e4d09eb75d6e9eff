//! What was said against what came true, over many nominal cases of 12,000 probes.
//!
//! `CASES=20000 SEED=1 DIAGRAM=FILE cargo bench -p simulation --bench calibration` prints the table, and
//! writes the reliability diagram where `DIAGRAM` says.

use simulation::engine::OURS;
use simulation::metrics::{self, Outcome, Summary};
use simulation::{World, diagram, draw};

const PROBES: u32 = 12_000;

fn main() {
    let cases = variable("CASES").unwrap_or(500);
    let seed = variable("SEED").unwrap_or(1);
    let judged = (seed..seed + cases).map(|seed| {
        let drawn = draw(World::Nominal, PROBES, seed);
        Outcome::new(&(OURS.judge)(&drawn.case, &[]), &drawn)
    });
    let outcomes: Vec<Outcome> = judged.collect();
    let summary = Summary::new(&outcomes);
    println!("{cases} cases from seed {seed}, {PROBES} probes each\n");
    println!("{}", metrics::table(&summary.bins));
    println!(
        "Brier {:.4} a case, ECE {:.4}, F1 {:.4}, false alarms in {:.4} of the healthy cases, {:.4} confident false blames a case",
        summary.brier, summary.ece, summary.f1, summary.alarms, summary.confident
    );
    if let Ok(path) = std::env::var("DIAGRAM") {
        let title = format!("{cases} cases, {PROBES} probes each");
        if let Err(error) = std::fs::write(&path, diagram::svg(&title, &summary.bins)) {
            eprintln!("cannot write {path}: {error}");
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
