//! The watch over scheduled rounds on a simulated site: alarms in healthy days, and rounds from the
//! beginning of a fault to the alarm.
//!
//! `SEED=1 cargo bench -p simulation --bench watching`. `EVERY` is the schedule in seconds and `CALM` the
//! seconds of health before a fault, `DAYS` counts stretches of `HOURS` healthy hours each (0 leaves
//! them out), `CASES` the faults of each rate. With `BARE=1` balancer and backends have no agents when there
//! are faults.

use localize::watch::{FALSE_ALARMS_A_DAY, Watch};
use simulation::vigil::{BARE, FULL, Site, Theory};

const RATES: [f64; 4] = [0.1, 0.02, 0.01, 0.005];
/// Rounds after which no alarm is waited for.
const MOST: u64 = 200_000;
const SECOND_US: u64 = 1_000_000;

fn main() {
    let seed = variable("SEED").unwrap_or(1);
    let every = variable("EVERY").unwrap_or(10);
    let every_us = every * SECOND_US;
    let hours = variable("HOURS").unwrap_or(8);
    let days = variable("DAYS").unwrap_or(300);
    if days > 0 {
        healthy(seed, every_us, hours, days);
    }
    let calm = variable("CALM").unwrap_or(28_800) / every;
    let cases = variable("CASES").unwrap_or(40);
    let places = match std::env::var_os("BARE") {
        Some(_) => &BARE[..],
        None => &FULL[..],
    };
    if cases > 0 {
        println!(
            "\nA round every {every} s, {calm} calm rounds before, {cases} faults of each rate from seed {seed}; rounds.\n"
        );
        println!(
            "| rate | median | 90 % | slowest | before the fault | theory | promised for 95 % | seen by then |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        for rate in RATES {
            delays(seed, every_us, calm, cases, rate, places);
        }
    }
}

/// Alarms in so many stretches of health, each with a watch that begins with nothing learnt.
fn healthy(seed: u64, every_us: u64, hours: u64, stretches: u64) {
    let rounds = hours * 3_600 * SECOND_US / every_us;
    let struck = (seed..seed + stretches).filter(|seed| {
        let mut site = Site::new(*seed, every_us, &FULL);
        site.watch(&mut Watch::default(), 0.0, rounds).is_some()
    });
    let alarms = struck.count() as u64;
    let days = (stretches * hours) as f64 / 24.0;
    println!(
        "A round every {} s: {stretches} stretches of {hours} healthy hours from seed {seed} ({days:.0} days, \
         {} rounds): {alarms} alarms; the rate is at most {:.2e} a day with 95 %, and {FALSE_ALARMS_A_DAY:.0e} is stated.",
        every_us / SECOND_US,
        stretches * rounds,
        upper(alarms) / days,
    );
}

fn delays(seed: u64, every_us: u64, calm: u64, cases: u64, rate: f64, places: &[&str]) {
    let (mut delays, mut theories, mut early, mut kept) = (Vec::new(), Vec::new(), 0, 0);
    for seed in seed..seed + cases {
        let (mut site, mut watch) = (Site::new(seed, every_us, places), Watch::default());
        early += u64::from(site.watch(&mut watch, 0.0, calm).is_some());
        let theory = site.theory(&watch, rate);
        let alarm = site.watch(&mut watch, rate, MOST);
        let delay = alarm.map_or(MOST, |(rounds, _)| rounds);
        kept += u64::from(delay as f64 <= theory.promised);
        delays.push(delay);
        theories.push(theory);
    }
    delays.sort_unstable();
    let place = |tenths: usize| delays[(delays.len() * tenths / 10).min(delays.len() - 1)];
    println!(
        "| {rate} | {} | {} | {} | {early} | {:.0} | {:.0} | {} |",
        place(5),
        place(9),
        place(10),
        median(&theories, |theory| theory.mean),
        median(&theories, |theory| theory.promised),
        kept,
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

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
