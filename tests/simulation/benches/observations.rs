//! The engine on whole observations, asked as users ask: a table by what is declared and who looks.
//!
//! `CASES=2000 SEED=1 cargo bench -p simulation --bench observations`; with `SHOW=1` every wrong case in a
//! line, and `ONE=SEED OUT=FILE` writes what one case was judged on, for `meshctl replay`.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use localize::{Assessment, Case};
use simulation::observed::{self, Scored, report};

/// Judgements side by side.
const THREADS: usize = 2;

fn main() -> anyhow::Result<()> {
    if let Some(seed) = variable("ONE") {
        return one(seed);
    }
    let cases = variable("CASES").unwrap_or(40);
    let seed = variable("SEED").unwrap_or(1);
    let show = variable("SHOW").unwrap_or(0) > 0;
    let times = Mutex::new(Vec::new());
    let scored = run(seed, cases, show, &times)?;
    println!("{cases} cases from seed {seed}\n");
    println!("{}", report::table(&scored));
    println!("{}", report::calibration(&scored));
    println!("{}", report::strikes(&scored));
    println!("{}", report::modes(&scored));
    println!("{}", costs(times.into_inner()?));
    Ok(())
}

/// Milliseconds of a judgement, with the seed of its case.
type Times = Mutex<Vec<(f64, u64)>>;

fn timed(seed: u64, times: &Times) -> impl Fn(&Case) -> Assessment {
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

fn run(seed: u64, cases: u64, show: bool, times: &Times) -> anyhow::Result<Vec<Scored>> {
    let next = AtomicU64::new(seed);
    let all = Mutex::new(Vec::new());
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let work = || -> anyhow::Result<()> {
            loop {
                let seed_now = next.fetch_add(1, Ordering::Relaxed);
                if seed_now >= seed + cases {
                    return Ok(());
                }
                let scored = Scored::new(&observed::ask(seed_now, timed(seed_now, times)))?;
                if show && scored.is_wrong() {
                    println!("{}", report::line(&scored));
                }
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
    for fault in &asked.faults {
        println!("{fault:?}");
    }
    if let Ok(path) = std::env::var("OUT") {
        std::fs::write(&path, serde_json::to_vec(&asked.case)?)?;
    }
    Ok(())
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
