//! The watch over scheduled rounds on a simulated site: alarms in healthy days, and rounds from the
//! beginning of a fault to the alarm.
//!
//! `SEED=1 cargo bench -p simulation --bench watching`. `EVERY` is the schedule in seconds and `CALM` the
//! healthy hours before what is measured, `DAYS` counts stretches of `HOURS` healthy hours each (0 leaves
//! them out), `CASES` the faults of each rate.

use localize::watch::{FALSE_ALARMS_A_DAY, Watch};
use simulation::vigil::{Site, Theory};

const RATES: [f64; 4] = [0.1, 0.02, 0.01, 0.005];
/// Rounds after which no alarm is waited for.
const MOST: u64 = 200_000;

fn main() {
    let seed = variable("SEED").unwrap_or(1.0) as u64;
    let every = variable("EVERY").unwrap_or(10.0);
    let every_us = (every * 1e6) as u64;
    let hours = variable("HOURS").unwrap_or(8.0);
    let days = variable("DAYS").unwrap_or(300.0) as u64;
    if days > 0 {
        healthy(seed, every_us, hours, days);
    }
    let calm = variable("CALM").unwrap_or(8.0);
    let cases = variable("CASES").unwrap_or(40.0) as u64;
    if cases > 0 {
        println!(
            "\nA round every {every} s, {calm} calm hours, {cases} faults of each rate from seed {seed}; rounds.\n"
        );
        println!(
            "| rate | median | 90 % | slowest | before the fault | theory | promised for 95 % |"
        );
        println!("|---|---|---|---|---|---|---|");
        for rate in RATES {
            delays(seed, every_us, calm, cases, rate);
        }
    }
}

/// Alarms in so many stretches of health, each with a watch that begins with nothing learnt.
fn healthy(seed: u64, every_us: u64, hours: f64, stretches: u64) {
    let rounds = (hours * 3.6e9 / every_us as f64) as u64;
    let struck = (seed..seed + stretches).filter(|seed| {
        let mut site = Site::new(*seed, every_us);
        site.watch(&mut Watch::default(), 0.0, rounds).is_some()
    });
    let alarms = struck.count() as u64;
    let days = stretches as f64 * hours / 24.0;
    println!(
        "A round every {} s: {stretches} stretches of {hours} healthy hours from seed {seed} ({days:.0} days, \
         {} rounds): {alarms} alarms; the rate is at most {:.2e} a day with 95 %, and {FALSE_ALARMS_A_DAY:.0e} is stated.",
        every_us as f64 / 1e6,
        stretches * rounds,
        upper(alarms) / days,
    );
}

fn delays(seed: u64, every_us: u64, calm_hours: f64, cases: u64, rate: f64) {
    let calm = (calm_hours * 3.6e9 / every_us as f64) as u64;
    let (mut delays, mut theories, mut early) = (Vec::new(), Vec::new(), 0);
    for seed in seed..seed + cases {
        let (mut site, mut watch) = (Site::new(seed, every_us), Watch::default());
        early += u64::from(site.watch(&mut watch, 0.0, calm).is_some());
        theories.push(site.theory(&watch, rate));
        let alarm = site.watch(&mut watch, rate, MOST);
        delays.push(alarm.map_or(MOST, |(rounds, _)| rounds));
    }
    delays.sort_unstable();
    let place = |share: f64| delays[((delays.len() as f64 * share) as usize).min(delays.len() - 1)];
    println!(
        "| {rate} | {} | {} | {} | {early} | {:.0} | {:.0} |",
        place(0.5),
        place(0.9),
        place(1.0),
        median(&theories, |theory| theory.mean),
        median(&theories, |theory| theory.promised),
    );
}

fn median(theories: &[Theory], of: impl Fn(&Theory) -> f64) -> f64 {
    let mut values: Vec<f64> = theories.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The upper 95 % limit of the mean of a Poisson count (Garwood 1936): with a higher one, so few would
/// be seen in less than one case of twenty.
fn upper(count: u64) -> f64 {
    let so_few = |mean: f64| {
        let mut term = (-mean).exp();
        let mut sum = term;
        for nth in 1..=count {
            term *= mean / nth as f64;
            sum += term;
        }
        sum
    };
    let (mut low, mut high) = (0.0, 10.0 + 3.0 * count as f64);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        match so_few(middle) > 0.05 {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

fn variable(name: &str) -> Option<f64> {
    std::env::var(name).ok()?.parse().ok()
}
