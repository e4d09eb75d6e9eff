//! The engine on whole observations, asked as users ask: a table by what is declared and who looks.
//!
//! `CASES=2000 SEED=1 cargo bench -p simulation --bench observations`; with `SHOW=1` every wrong case in a
//! line, with `CEILING=1` what one could say who knows how cases are drawn and everything but what the fault is,
//! and `ONE=SEED OUT=FILE` writes what one case was judged on, for `meshctl replay`.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use localize::{Assessment, Case};
use simulation::observed::ceiling::{self, Known};
use simulation::observed::score::Fate;
use simulation::observed::{self, Asked, Scored, report};

/// Judgements side by side.
const THREADS: usize = 2;

fn main() -> anyhow::Result<()> {
    if let Some(seed) = variable("ONE") {
        return one(seed);
    }
    let cases = variable("CASES").unwrap_or(40);
    let seed = variable("SEED").unwrap_or(1);
    let show = variable("SHOW").unwrap_or(0) > 0;
    let ceiling = variable("CEILING").unwrap_or(0) > 0;
    let times = Mutex::new(Vec::new());
    let judge = |seed: u64| observed::ask(seed, timed(seed, &times));
    let limits = Mutex::new(Vec::new());
    let scored = run(seed, cases, |seed| {
        let asked = judge(seed);
        let scored = Scored::new(&asked)?;
        if show && scored.is_wrong() {
            println!("{}", report::line(&scored));
        }
        if ceiling && let Ok(mut limits) = limits.lock() {
            limits.extend(known(&asked, &scored));
        }
        Ok(scored)
    })?;
    println!("{cases} cases from seed {seed}\n");
    println!("{}", report::table(&scored));
    println!("{}", report::calibration(&scored));
    println!("{}", report::strikes(&scored));
    println!("{}", report::modes(&scored));
    println!("{}", costs(times.into_inner()?));
    if ceiling {
        println!("\n{}", report::ceiling(&limits.into_inner()?));
    }
    Ok(())
}

/// For every fault that was seen whether it was found, and what could be known of it.
fn known(asked: &Asked, scored: &Scored) -> Vec<(bool, Known)> {
    let present = 0..asked.faults.len();
    let present = present.filter(|index| asked.faults[*index].course.lasts(asked.asked_us));
    let fates = present.zip(scored.present.iter().map(|present| present.fate));
    let seen = fates.filter(|(_, fate)| *fate != Fate::Unseen);
    seen.map(|(index, fate)| {
        (
            matches!(fate, Fate::Found { .. }),
            ceiling::known(asked, index),
        )
    })
    .collect()
}

/// Milliseconds of a judgement, with the seed of its case.
type Times = Mutex<Vec<(f64, u64)>>;

fn timed(seed: u64, times: &Times) -> impl Fn(&Case) -> Assessment + '_ {
    move |case| {
        let start = Instant::now();
        let assessment = localize::localize(case);
        let took = start.elapsed().as_secs_f64() * 1e3;
        if let Ok(mut times) = times.lock() {
            times.push((took, seed));
        }
        assessment
    }
}

fn costs(mut times: Vec<(f64, u64)>) -> String {
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let at = |share: usize| {
        times
            .get(times.len().saturating_sub(1) * share / 100)
            .map_or(0.0, |t| t.0)
    };
    let slowest = times
        .iter()
        .rev()
        .take(5)
        .map(|(took, seed)| format!("{took:.0} (seed {seed})"));
    format!(
        "{} judgements: median {:.1} ms, nine in ten below {:.0} ms, 99 in 100 below {:.0} ms; slowest: {}",
        times.len(),
        at(50),
        at(90),
        at(99),
        slowest.collect::<Vec<_>>().join(", ")
    )
}

fn run(
    seed: u64,
    cases: u64,
    judge: impl Fn(u64) -> anyhow::Result<Scored> + Sync,
) -> anyhow::Result<Vec<Scored>> {
    let next = AtomicU64::new(seed);
    let all = Mutex::new(Vec::new());
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let work = || -> anyhow::Result<()> {
            loop {
                let seed_now = next.fetch_add(1, Ordering::Relaxed);
                if seed_now >= seed + cases {
                    return Ok(());
                }
                let scored = judge(seed_now)?;
                if let Ok(mut all) = all.lock() {
                    all.push(scored);
                }
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a judgement panicked"))??;
        }
        Ok(())
    })?;
    let mut all = all.into_inner()?;
    all.sort_by_key(|scored| scored.seed);
    Ok(all)
}

/// One case, told and written.
fn one(seed: u64) -> anyhow::Result<()> {
    let asked = observed::ask(seed, localize::localize);
    let scored = Scored::new(&asked)?;
    println!("{}", report::line(&scored));
    for (index, fault) in asked.faults.iter().enumerate() {
        println!("{fault:?}");
        if fault.course.lasts(asked.asked_us) {
            println!("{}", ceiling::ranking(&asked, index));
        }
    }
    if let Ok(path) = std::env::var("OUT") {
        std::fs::write(&path, serde_json::to_vec(&asked.case)?)?;
    }
    Ok(())
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
