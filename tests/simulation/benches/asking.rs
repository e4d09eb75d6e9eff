//! Probes until the engine names the faulty component, by rate of the fault: arms in turn against arms
//! that the engine chooses.
//!
//! `CASES=40 SEED=1 cargo bench -p simulation --bench asking`

use simulation::asking::{Asking, Ending, ask};

const RATES: [f64; 4] = [1.0, 0.33, 0.05, 0.01];

fn main() {
    let cases = variable("CASES").unwrap_or(40);
    let seed = variable("SEED").unwrap_or(1);
    println!("Probes to a verdict, {cases} faults of each rate from seed {seed}.\n");
    println!("| rate | asking | median | quartiles | named rightly | another named | none named |");
    println!("|---|---|---|---|---|---|---|");
    for rate in RATES {
        for (asking, word) in [(Asking::Uniform, "uniform"), (Asking::Chosen, "chosen")] {
            let endings = (seed..seed + cases).map(|seed| ask(rate, seed, asking));
            println!("| {rate} | {word} | {} |", row(endings.collect()));
        }
    }
}

fn row(mut endings: Vec<Ending>) -> String {
    endings.sort_by_key(|ending| ending.probes);
    let quarter = |of_four: usize| {
        let place = endings.len() * of_four / 4;
        endings.get(place).map_or(0, |ending| ending.probes)
    };
    let count = |right| endings.iter().filter(|e| e.right == right).count();
    format!(
        "{} | {} to {} | {} | {} | {}",
        quarter(2),
        quarter(1),
        quarter(3),
        count(Some(true)),
        count(Some(false)),
        count(None)
    )
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
