//! The comparison of engines: worlds, numbers of probes and engines, on seeds that nobody was tuned on.
//!
//! `CASES=200 SEED=1 cargo bench -p simulation --bench compare`; without `SEED` the seeds are fresh ones,
//! and printed. The peers' settings are chosen on 60 other cases for each world and number of probes; in
//! rough worlds they keep those of the nominal one. `ONLY=localize` leaves the other engines out; `SWEEPS=80`
//! adds what one could know who knows how cases are drawn, which takes minutes a column.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::time::Instant;

use simulation::engine::OURS;
use simulation::metrics::{Outcome, Summary};
use simulation::{Drawn, ENGINES, Engine, World, ceiling, draw, healthy, posterior, shapes};

/// Training cases, with seeds far from those of the comparison.
const TRAINING: u64 = 60;
const APART: u64 = 1 << 32;
/// Healthy cases in which nobody should be blamed.
const HEALTHY: u64 = 500;

fn main() {
    let cases = variable("CASES").unwrap_or(200);
    let seed = variable("SEED").unwrap_or_else(fresh);
    println!("{cases} cases from seed {seed}\n");
    let nominal = [12_000, 3_000, 600].map(|probes| (World::Nominal, probes));
    let known = [(World::HiddenPaths, 12_000), (World::NoLayers, 12_000)];
    for (world, probes) in nominal.into_iter().chain(known) {
        compare(world, probes, seed, cases, &tune(world, probes, seed));
    }
    let tuned = tune(World::Nominal, 6_000, seed);
    let rough = [World::Background, World::Storms, World::LateLayers];
    let alien = [World::Missing, World::RandomPaths];
    for world in [World::Nominal].into_iter().chain(rough).chain(alien) {
        compare(world, 6_000, seed, cases, &tuned);
    }
    false_alarms(seed);
    speed(seed);
}

fn engines() -> impl Iterator<Item = &'static Engine> {
    let only = std::env::var("ONLY").ok();
    ENGINES
        .iter()
        .filter(move |engine| only.as_deref().is_none_or(|only| only == engine.name))
}

fn false_alarms(seed: u64) {
    let drawn: Vec<Drawn> = (seed..seed + HEALTHY)
        .map(|seed| healthy(12_000, seed))
        .collect();
    let (summary, time) = run(&OURS, &[], &drawn);
    println!("{HEALTHY} healthy cases, 12000 probes");
    let said = |name: &str, summary: &Summary| {
        println!(
            "{name}: {:.4} with a false alarm, {:.4} confident false blames a case",
            summary.alarms, summary.confident
        );
    };
    said(OURS.name, &summary);
    said("all else known", &known(&drawn));
    println!("{}: {time:.3} ms a case\n", OURS.name);
}

fn speed(seed: u64) {
    let drawn = [shapes::big(seed)];
    let (summary, time) = run(&OURS, &[], &drawn);
    println!(
        "{}: 10,000 components and 1,000,000 rows in {:.2} s, F1 {:.3}",
        OURS.name,
        time / 1e3,
        summary.f1
    );
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn fresh() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs() % 1_000_000 * 1_000)
}

fn tune(world: World, probes: u32, seed: u64) -> Vec<Vec<f64>> {
    let seeds = seed + APART..seed + APART + TRAINING;
    let training: Vec<Drawn> = seeds.map(|seed| draw(world, probes, seed)).collect();
    engines().map(|engine| engine.tune(&training)).collect()
}

fn compare(world: World, probes: u32, seed: u64, cases: u64, tuned: &[Vec<f64>]) {
    println!("{}, {probes} probes", world.name());
    println!(
        "{:<21} {:>6} {:>6} {:>6} {:>6} {:>6} {:>7} {:>6} {:>6} {:>6} {:>8}",
        "engine", "F1", "prec", "recall", "exact", "top-1", "alarms", "Brier", "ECE", "false", "ms"
    );
    let drawn: Vec<Drawn> = (seed..seed + cases)
        .map(|seed| draw(world, probes, seed))
        .collect();
    for (engine, settings) in engines().zip(tuned) {
        let (summary, time) = run(engine, settings, &drawn);
        report(
            engine.name,
            &summary,
            &format!("{time:>8.3}   {settings:?}"),
        );
    }
    if matches!(world, World::Nominal | World::NoLayers | World::Background) {
        report("all else known", &known(&drawn), "");
        let sweeps = variable("SWEEPS").and_then(|sweeps| usize::try_from(sweeps).ok());
        if let Some(sweeps) = sweeps {
            report("drawing known", &posterior(world, &drawn, sweeps), "");
        }
    }
    println!();
}

/// What one makes of the cases who knows how they are drawn.
fn posterior(world: World, drawn: &[Drawn], sweeps: usize) -> Summary {
    let outcomes = drawn
        .iter()
        .map(|d| Outcome::new(&posterior::judge(world, d, sweeps), d));
    Summary::new(&outcomes.collect::<Vec<_>>())
}

/// What one makes of the cases who knows everything but one component at a time.
fn known(drawn: &[Drawn]) -> Summary {
    let outcomes = drawn.iter().map(|d| Outcome::new(&ceiling::judge(d), d));
    Summary::new(&outcomes.collect::<Vec<_>>())
}

fn report(name: &str, summary: &Summary, rest: &str) {
    println!(
        "{name:<21} {:>6.3} {:>6.3} {:>6.3} {:>6.3} {:>6.3} {:>7.3} {:>6.3} {:>6.3} {:>6.3} {rest}",
        summary.f1,
        summary.precision,
        summary.recall,
        summary.exact,
        summary.top,
        summary.alarms,
        summary.brier,
        summary.ece,
        summary.confident,
    );
}

/// What an engine makes of the cases, and its median time in milliseconds.
fn run(engine: &Engine, settings: &[f64], drawn: &[Drawn]) -> (Summary, f64) {
    let mut times = Vec::with_capacity(drawn.len());
    let mut outcomes = Vec::with_capacity(drawn.len());
    for drawn in drawn {
        let start = Instant::now();
        let judgement = (engine.judge)(&drawn.case, settings);
        times.push(start.elapsed().as_secs_f64() * 1e3);
        outcomes.push(Outcome::new(&judgement, drawn));
    }
    times.sort_by(f64::total_cmp);
    (Summary::new(&outcomes), times[times.len() / 2])
}
