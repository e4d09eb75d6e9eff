//! What a judgement costs.
//!
//! Prints a line for each window of the simulated mesh: the median time of `localize`, and of decoding
//! the same case from JSON, which is what `meshctl replay` must do in any case. The chains are windows
//! as a schedule fills them, a round every five seconds, in which faults come and go.
//!
//! Where other work disturbs the clock, instructions are the figure that can be compared:
//!
//! ```sh
//! cargo bench -p localize --bench judge -- quarter    # or: hour; builds, judges once
//! valgrind --tool=callgrind --toggle-collect='judge::judged*' target/release/deps/judge-* quarter
//! ```
//!
//! The last line, `Collected`, is the number of instructions of that one judgement.

#![allow(clippy::expect_used, reason = "a benchmark")]

#[path = "../tests/mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod world;

use std::env;
use std::hint::black_box;
use std::time::{Duration, Instant};

use localize::{Assessment, Case, localize};
use world::{Fault, Mesh, World};

const RUNS: usize = 9;

/// The faults of a chain, in turn.
const LINKS: [Fault; 12] = [
    Fault::Resolver(0, 1.0),
    Fault::NameServerRefuses(1),
    Fault::EdgeStatus(0, 500, 1.0),
    Fault::EdgeCertificate(1),
    Fault::BalancerDead,
    Fault::BackendStatus(1, 1.0),
    Fault::BackendStatus(1, 0.3),
    Fault::BackendResets(2),
    Fault::BackendSlow(2, 4.0),
    Fault::BackendClosed(0),
    Fault::BackendSyn(1, 0.4),
    Fault::EdgesReset(0.45),
];

/// A window with its name on the command line, its length in seconds, and how long a fault lasts.
const CHAINS: [(&str, u64, u64); 2] = [("quarter", 900, 35), ("hour", 3600, 150)];

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

/// One judgement, by a name that a profiler finds.
#[inline(never)]
fn judged(case: &Case) -> Assessment {
    localize(case)
}

fn case(faults: &[Fault], calm: usize, broken: usize) -> Case {
    let mut world = World::new(Mesh::Full, 1);
    (0..calm).for_each(|_| world.round());
    world.faults = faults.to_vec();
    (0..broken).for_each(|_| world.round());
    world.case()
}

/// Scheduled rounds in which every link breaks once and is mended; the last one still stands.
fn chain(seconds: u64, lasting: u64) -> Case {
    let mut world = World::new(Mesh::Full, 1);
    world.learn(40);
    let links = LINKS.len() as u64;
    let calm = (seconds - links * lasting) / links;
    for link in LINKS {
        world.faults.clear();
        world.scheduled(calm);
        world.faults.push(link);
        world.scheduled(lasting);
    }
    world.case()
}

fn row(name: &str, case: &Case) {
    let json = serde_json::to_vec(case).expect("json");
    let judged = median(|| {
        black_box(judged(black_box(case)));
    });
    let read = median(|| {
        let back: Case = serde_json::from_slice(black_box(&json)).expect("case");
        black_box(back);
    });
    println!(
        "{name:<32} {:>8} {:>9.1} ms {:>9.1} ms",
        case.observations.len(),
        judged.as_secs_f64() * 1e3,
        read.as_secs_f64() * 1e3
    );
}

fn main() {
    let wanted = env::args().nth(1);
    if let Some((_, seconds, lasting)) = CHAINS
        .iter()
        .find(|(name, ..)| Some(*name) == wanted.as_deref())
    {
        black_box(judged(&chain(*seconds, *lasting)));
        return;
    }
    println!(
        "{:<32} {:>8} {:>12} {:>12}",
        "case", "probes", "localize", "read JSON"
    );
    let slow = Fault::BackendSyn(1, 0.4);
    row("healthy, 10 rounds", &case(&[], 0, 10));
    row("one fault, 10 rounds", &case(&[slow], 0, 10));
    row("one fault after 90 rounds", &case(&[slow], 90, 10));
    let two = [Fault::BackendStatus(1, 0.3), Fault::Resolver(0, 0.5)];
    row("two faults after 400 rounds", &case(&two, 400, 20));
    for (name, seconds, lasting) in CHAINS {
        row(
            &format!("chain of 12 faults, {name}"),
            &chain(seconds, lasting),
        );
    }
}
