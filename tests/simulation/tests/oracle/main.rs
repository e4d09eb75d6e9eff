//! The engine against slow, straightforward reckonings of the same model on small meshes.
//!
//! `MESHES` sets how many meshes, `FIRST` the first seed, `MOST` the largest sets. The priors and the
//! limits of the search are stated here once more: whoever changes the engine's changes these.
#![allow(
    clippy::expect_used,
    reason = "what is not there is a mistake of the test"
)]

mod common;
mod exact;
mod fit;
mod laws;
mod problem;
mod search;
mod sets;

use std::collections::BTreeMap;
use std::env;
use std::str::FromStr;

use localize::score::{CountedCase, Scores, score};
use simulation::shapes;

use problem::{FURTHER, Problem, late};
use sets::Set;

/// What is less probable is not listed.
const LISTED: f64 = 0.001;
/// Logarithm of the prior odds of failures being reported late at times.
const LATE: f64 = -4.0;
/// The probability under which a reading is left out.
const FAINT: f64 = 1e-4;

fn setting<T: FromStr>(name: &str, usual: T) -> T {
    let asked = env::var(name).ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(usual)
}

/// Probabilities by component, then of nothing and of an unknown cause.
struct Beliefs {
    components: BTreeMap<u32, f64>,
    healthy: f64,
    unknown: f64,
}

impl Beliefs {
    fn new(scores: &Scores) -> Self {
        let listed = scores.components.iter();
        Self {
            components: listed.map(|s| (s.id, s.probability)).collect(),
            healthy: scores.healthy,
            unknown: scores.unknown,
        }
    }

    /// The greatest difference between components, where either is listed.
    fn difference(&self, other: &Self) -> f64 {
        let ids = self.components.keys().chain(other.components.keys());
        let of = |beliefs: &Self, id| beliefs.components.get(id).copied().unwrap_or(0.0);
        let differences = ids.map(|id| (of(self, id), of(other, id)));
        differences
            .filter(|(p, q)| p.min(*q) > LISTED || p.max(*q) > LISTED + 1e-6)
            .map(|(p, q)| {
                if p.min(q) == 0.0 {
                    (p - q).abs() - LISTED
                } else {
                    (p - q).abs()
                }
            })
            .fold(0.0, f64::max)
    }
}

/// A case under one reading of when failures are reported, with the sets visited.
struct Reading {
    log_odds: f64,
    problem: Problem,
    visited: Vec<Set>,
}

impl Reading {
    fn new(case: &CountedCase, late: &[(usize, usize)]) -> Self {
        let mut problem = Problem::new(case, late);
        problem.learn();
        let visited = problem.visited();
        let visited = problem.doubted(visited);
        Self {
            log_odds: if late.is_empty() { 0.0 } else { LATE },
            problem,
            visited,
        }
    }

    /// Logarithm of what the reading weighs, with these sets.
    fn weight(&self, sets: &[Set]) -> f64 {
        let problem = &self.problem;
        let sets = sets.iter().map(|set| set.score + problem.excuse(set));
        self.log_odds + problem.calm_total() + laws::log_sum(sets)
    }
}

/// Every reading that is worth a thought.
fn readings(case: &CountedCase) -> Vec<Reading> {
    let mut all = vec![Reading::new(case, &[])];
    let links = late(case);
    if !links.is_empty() {
        all.push(Reading::new(case, &links));
    }
    all
}

/// The mean of what is believed under each reading, by its weight; faint ones are left out.
fn mixed(readings: Vec<(f64, Beliefs)>) -> Beliefs {
    let total = laws::log_sum(readings.iter().map(|(weight, _)| *weight));
    let mut mixed = Beliefs {
        components: BTreeMap::new(),
        healthy: 0.0,
        unknown: 0.0,
    };
    for (weight, beliefs) in readings {
        let probability = (weight - total).exp();
        if probability > FAINT {
            mixed.healthy += probability * beliefs.healthy;
            mixed.unknown += probability * beliefs.unknown;
            for (id, blame) in beliefs.components {
                *mixed.components.entry(id).or_default() += probability * blame;
            }
        }
    }
    mixed
}

impl Problem {
    /// Odds of a fault's component being merely restless against being at fault, in a set.
    fn restless_odds(&self, fit: &fit::Fit, set: &Set) -> f64 {
        let blamable = fit.fault.cause < self.components();
        if !blamable || Set::superfluous(fit) {
            return 0.0;
        }
        let further = if self.blamable(set) > 1 {
            FURTHER.ln()
        } else {
            0.0
        };
        (fit.restless - self.weight(fit) - further).exp()
    }

    /// Sets, and the best of them beside an unknown cause.
    fn doubted(&self, mut sets: Vec<Set>) -> Vec<Set> {
        let doubts = self.doubts(&sets);
        sets.extend(doubts);
        sets
    }

    /// What the restless alternatives add to a set's weight, as a logarithm.
    fn excuse(&self, set: &Set) -> f64 {
        set.fits
            .iter()
            .map(|fit| self.restless_odds(fit, set).ln_1p())
            .sum()
    }
}

fn beliefs(case: &CountedCase, problem: &Problem, sets: &[Set]) -> Beliefs {
    let scores: Vec<f64> = sets
        .iter()
        .map(|set| set.score + problem.excuse(set))
        .collect();
    let total = laws::log_sum(scores.iter().copied());
    let mut beliefs = Beliefs {
        components: BTreeMap::new(),
        healthy: 0.0,
        unknown: 0.0,
    };
    for (set, score) in sets.iter().zip(scores) {
        let probability = (score - total).exp();
        let mut innocent = probability;
        for fit in &set.fits {
            let cause = &problem.causes[fit.fault.cause];
            let odds = problem.restless_odds(fit, set);
            innocent *= odds / (1.0 + odds);
            let share = probability / (1.0 + odds) / cause.members.len() as f64;
            for member in &cause.members {
                let id = case.components[*member].id;
                *beliefs.components.entry(id).or_default() += share;
            }
        }
        if set.unknown || problem.blamable(set) < set.fits.len() {
            beliefs.unknown += probability;
        } else {
            beliefs.healthy += innocent;
        }
    }
    beliefs
}

/// Values of all meshes, the least first.
struct Differences(Vec<f64>);

impl Differences {
    fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// The value under which so many of a hundred are.
    fn quantile(&self, percent: usize) -> f64 {
        self.0[(self.0.len() - 1) * percent / 100]
    }

    fn within(&self, limit: f64) -> f64 {
        self.0.iter().filter(|value| **value <= limit).count() as f64 / self.0.len() as f64
    }
}

impl std::fmt::Display for Differences {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mean {:.2e}", self.mean())?;
        for (name, percent) in [("median", 50), ("p90", 90), ("p99", 99), ("most", 100)] {
            write!(f, ", {name} {:.2e}", self.quantile(percent))?;
        }
        for limit in [1e-9, 1e-6, 1e-3, 1e-2] {
            write!(f, "; {:.2} % within {limit:e}", 100.0 * self.within(limit))?;
        }
        Ok(())
    }
}

#[test]
fn the_search_weighs_its_sets_as_defined() {
    let first = setting("FIRST", 0_u64);
    let most = setting("MOST", 3);
    let (mut same, mut more, mut missed) = (Vec::new(), Vec::new(), Vec::new());
    for seed in first..first + setting("MESHES", 12) {
        let case = shapes::small(seed).case;
        let engine = Beliefs::new(&score(&case));
        let readings = readings(&case);
        let believed = |reading: &Reading, sets: &[Set]| {
            (reading.weight(sets), beliefs(&case, &reading.problem, sets))
        };
        let worlds = readings.iter().map(|r| believed(r, &r.visited));
        let difference = engine.difference(&mixed(worlds.collect()));
        if difference > 1e-6 {
            println!("seed {seed}: {difference:.2e}");
        }
        same.push(difference);
        let worlds = readings.iter().map(|reading| {
            let every = every_set(reading, most);
            missed.push(weight_missed(&reading.problem, &reading.visited, &every));
            believed(reading, &every)
        });
        more.push(engine.difference(&mixed(worlds.collect())));
    }
    let (same, more) = (Differences::new(same), Differences::new(more));
    println!("the sets visited: {same}");
    println!("every set: {more}");
    println!("weight of sets not visited: {}", Differences::new(missed));
    // The engine weighs every set of three, and of larger ones what its beam comes across.
    for of in [&same, &more] {
        assert!(of.within(1e-6) >= 0.95 && of.quantile(99) < 0.02, "{of}");
    }
}

/// Every set of so many causes, and the larger ones that were visited.
fn every_set(reading: &Reading, most: u32) -> Vec<Set> {
    let mut every = reading.problem.sets(most);
    let larger = |set: &&Set| !set.unknown && set.fits.len() > most as usize;
    every.extend(reading.visited.iter().filter(larger).cloned());
    reading.problem.doubted(every)
}

/// The share of the weight of all sets that is of sets not visited.
fn weight_missed(problem: &Problem, visited: &[Set], every: &[Set]) -> f64 {
    let log = |sets: &mut dyn Iterator<Item = &Set>| {
        laws::log_sum(sets.map(|set| set.score + problem.excuse(set)))
    };
    let seen = |set: &&Set| visited.iter().any(|other| other.key() == set.key());
    let known = log(&mut visited.iter().filter(|set| !set.unknown));
    let missed = log(&mut every.iter().filter(|set| !seen(set)));
    1.0 / (1.0 + (known - missed).exp())
}

/// How far under the best set, in nats, one of two faults is integrated jointly.
const RELEVANT: f64 = 9.0;

/// Probabilities with the sets of one and two faults integrated over all their parameters, the others
/// by the definition.
fn integrated(case: &CountedCase, problem: &Problem, sets: &[Set]) -> Beliefs {
    let best = sets
        .iter()
        .map(|set| set.score + problem.excuse(set))
        .fold(f64::NEG_INFINITY, f64::max);
    let mut known: BTreeMap<u64, Vec<exact::Weight>> = BTreeMap::new();
    let mut weights: Vec<(exact::Weight, bool)> = Vec::new();
    for set in sets {
        let score = set.score + problem.excuse(set);
        let causes: Vec<usize> = set.fits.iter().map(|fit| fit.fault.cause).collect();
        let parts = known.entry(set.key()).or_insert_with(|| match causes[..] {
            [cause] => problem.one(cause),
            [_, _] if score > best - RELEVANT => problem.two(set),
            _ => by_definition(problem, set),
        });
        let shift = if set.unknown {
            sets::UNKNOWN.ln() + problem.unknown_gain(&set.faults())
        } else {
            0.0
        };
        weights.extend(parts.iter().map(|part| {
            let log = part.log + shift;
            (
                exact::Weight {
                    guilty: part.guilty,
                    log,
                },
                set.unknown,
            )
        }));
    }
    let total = laws::log_sum(weights.iter().map(|(weight, _)| weight.log));
    let sum = |wanted: &dyn Fn(u64, bool) -> bool| -> f64 {
        let wanted = weights
            .iter()
            .filter(|(weight, unknown)| wanted(weight.guilty, *unknown));
        wanted.map(|(weight, _)| (weight.log - total).exp()).sum()
    };
    let causes = || problem.causes.iter().enumerate();
    let blame = causes().flat_map(|(c, cause)| {
        let guilt = sum(&|guilty, _| guilty >> c & 1 == 1) / cause.members.len() as f64;
        let ids = cause
            .members
            .iter()
            .map(|member| case.components[*member].id);
        ids.map(move |id| (id, guilt))
    });
    Beliefs {
        components: blame.collect(),
        healthy: sum(&|guilty, unknown| guilty == 0 && !unknown),
        unknown: sum(&|_, unknown| unknown),
    }
}

/// A set's weight by the definition, parted by which members are merely restless.
fn by_definition(problem: &Problem, set: &Set) -> Vec<exact::Weight> {
    let doubt = if set.unknown {
        sets::UNKNOWN.ln() + problem.unknown_gain(&set.faults())
    } else {
        0.0
    };
    let start = vec![exact::Weight {
        guilty: 0,
        log: set.score - doubt,
    }];
    set.fits.iter().fold(start, |weights, fit| {
        let odds = problem.restless_odds(fit, set);
        let parted = weights.into_iter().flat_map(|weight| {
            let guilty = weight.guilty | 1 << fit.fault.cause;
            let rest = exact::Weight {
                guilty: weight.guilty,
                log: weight.log + odds.ln(),
            };
            [
                exact::Weight {
                    guilty,
                    log: weight.log,
                },
                rest,
            ]
        });
        parted.collect()
    })
}

#[test]
#[ignore = "slow in debug builds; run with --release and --ignored"]
fn the_approximations_stay_near_the_integrals() {
    let first = setting("FIRST", 0_u64);
    let most = setting("MOST", 3);
    let (mut by_engine, mut by_sets) = (Vec::new(), Vec::new());
    for seed in first..first + setting("MESHES", 60) {
        let case = shapes::small(seed).case;
        let engine = Beliefs::new(&score(&case));
        let worlds = readings(&case).into_iter().map(|reading| {
            let problem = &reading.problem;
            let sets = problem.doubted(problem.sets(most));
            let every = beliefs(&case, problem, &sets);
            let exact = integrated(&case, problem, &sets);
            let weight = reading.weight(&sets);
            ((weight, every), (weight, exact))
        });
        let (every, exact): (Vec<_>, Vec<_>) = worlds.unzip();
        let (every, exact) = (mixed(every), mixed(exact));
        by_engine.push(engine.difference(&exact));
        by_sets.push(every.difference(&exact));
        if engine.difference(&exact) > 0.1 {
            println!("seed {seed}: {:.2e}", engine.difference(&exact));
        }
    }
    let by_engine = Differences::new(by_engine);
    println!("engine against integrals: {by_engine}");
    println!("every set against integrals: {}", Differences::new(by_sets));
    assert!(
        by_engine.mean() < 0.03 && by_engine.quantile(90) < 0.1,
        "{by_engine}"
    );
}
