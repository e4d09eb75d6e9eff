//! How long a judgement takes, beside the floor of merely reading the case.
//!
//! Prints one line for each size of window: the median time of `localize` and of decoding the same
//! case from JSON, which is what `meshctl replay` must do in any case, and their ratio.

#![allow(clippy::expect_used, reason = "a benchmark")]

#[path = "../tests/mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod world;

use std::hint::black_box;
use std::time::{Duration, Instant};

use localize::{Case, localize};
use world::{Fault, Mesh, World};

const RUNS: usize = 5;

#[allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[RUNS / 2]
}

fn case(faults: &[Fault], calm: usize, broken: usize) -> Case {
    let mut world = World::new(Mesh::Full, 1);
    (0..calm).for_each(|_| world.round());
    world.faults = faults.to_vec();
    (0..broken).for_each(|_| world.round());
    world.case()
}

fn main() {
    println!(
        "{:<28} {:>8} {:>12} {:>12} {:>7}",
        "case", "probes", "localize", "read JSON", "ratio"
    );
    let rows: [(&str, &[Fault], usize, usize); 4] = [
        ("healthy, 10 rounds", &[], 0, 10),
        ("one fault, 10 rounds", &[Fault::BackendSyn(1, 0.4)], 0, 10),
        (
            "one fault after 90 rounds",
            &[Fault::BackendSyn(1, 0.4)],
            90,
            10,
        ),
        (
            "two faults after 400 rounds",
            &[Fault::BackendStatus(1, 0.3), Fault::Resolver(0, 0.5)],
            400,
            20,
        ),
    ];
    for (name, faults, calm, broken) in rows {
        let case = case(faults, calm, broken);
        let json = serde_json::to_vec(&case).expect("json");
        let judged = median(|| {
            black_box(localize(black_box(&case)));
        });
        let read = median(|| {
            let back: Case = serde_json::from_slice(black_box(&json)).expect("case");
            black_box(back);
        });
        let ratio = judged.as_secs_f64() / read.as_secs_f64();
        println!(
            "{name:<28} {:>8} {judged:>12.1?} {read:>12.1?} {ratio:>7.2}",
            case.observations.len()
        );
    }
}
