//! What must hold of every judgement of a counted case, whatever the case.
//!
//! `MESHES` sets how many random cases each property is tried on. Where `FAILURES` names a folder, the
//! cases that break a property are written there.
#![allow(clippy::expect_used, reason = "a test that cannot go on says so")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use localize::score::{Calm, CaseError, CountedCase, Row, Scores, score};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use simulation::shapes::{self, Shape};

/// Sums in another order differ by no more.
const ROUNDING: f64 = 1e-9;
/// What is less probable than this is not listed.
const LISTED: f64 = 0.001;

fn meshes(usual: u64) -> u64 {
    let asked = env::var("MESHES").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(usual)
}

/// How many components there are, which is the number of the next one.
fn count(case: &CountedCase) -> u32 {
    u32::try_from(case.components.len()).expect("there are few components")
}

fn keep(name: &str, case: &CountedCase) {
    let Ok(folder) = env::var("FAILURES") else {
        return;
    };
    let text = serde_json::to_string(case).expect("a case can be written");
    fs::write(Path::new(&folder).join(format!("{name}.case.json")), text)
        .expect("the folder can be written to");
}

/// Tries a property on small random cases; it says what is wrong, if anything is.
fn check(
    name: &str,
    usual: u64,
    property: impl Fn(&CountedCase, &mut StdRng) -> Result<(), String>,
) {
    let meshes = meshes(usual);
    let broken: Vec<String> = (0..meshes)
        .filter_map(|seed| {
            let case = shapes::small(seed).case;
            let wrong = property(&case, &mut StdRng::seed_from_u64(seed)).err()?;
            keep(&format!("{name}.{seed}"), &case);
            Some(format!("seed {seed}: {wrong}"))
        })
        .collect();
    assert!(
        broken.is_empty(),
        "{} of {meshes}:\n{}",
        broken.len(),
        broken.join("\n")
    );
}

/// What was said, by component; what is not listed is missing.
fn said(scores: &Scores) -> BTreeMap<u32, f64> {
    let listed = scores.components.iter();
    listed
        .map(|scored| (scored.id, scored.probability))
        .collect()
}

fn of(said: &BTreeMap<u32, f64>, id: u32) -> f64 {
    said.get(&id).copied().unwrap_or(0.0)
}

/// Whether two judgements are the same, when the components of the first are renamed.
fn same(one: &Scores, other: &Scores, rename: impl Fn(u32) -> u32) -> Result<(), String> {
    let (before, after) = (said(one), said(other));
    let renamed: BTreeMap<u32, f64> = before.iter().map(|(id, p)| (rename(*id), *p)).collect();
    let ids = renamed.keys().chain(after.keys());
    for &id in ids {
        let (p, q) = (of(&renamed, id), of(&after, id));
        let listed = p.max(q) > LISTED + ROUNDING;
        if listed && (p - q).abs() > ROUNDING {
            return Err(format!(
                "component {id}: {p} and {q}, by {:e}",
                (p - q).abs()
            ));
        }
    }
    for (what, p, q) in [
        ("healthy", one.healthy, other.healthy),
        ("unknown", one.unknown, other.unknown),
    ] {
        if (p - q).abs() > ROUNDING {
            return Err(format!("{what}: {p} and {q}, by {:e}", (p - q).abs()));
        }
    }
    Ok(())
}

fn sane(scores: &Scores) -> Result<(), String> {
    let share = |p: f64| (0.0..=1.0 + 1e-6).contains(&p);
    let components = scores.components.iter();
    let odd = components
        .clone()
        .any(|scored| !share(scored.probability) || !share(scored.rate));
    if odd || !share(scores.healthy) || !share(scores.unknown) {
        return Err(format!("{scores:?}"));
    }
    Ok(())
}

#[test]
fn the_same_case_twice_is_judged_the_same() {
    check("twice", 100, |case, _| {
        let (one, other) = (score(case), score(case));
        if one == other {
            Ok(())
        } else {
            Err(format!("{one:?}\n{other:?}"))
        }
    });
}

#[test]
fn the_order_of_rows_changes_nothing() {
    check("rows", 150, |case, rng| {
        let mut other = case.clone();
        other.rows.shuffle(rng);
        same(&score(case), &score(&other), |id| id)
    });
}

#[test]
fn names_and_the_order_of_components_change_nothing() {
    check("names", 150, |case, rng| {
        let mut names: Vec<u32> = (0..count(case)).map(|n| n * 7 + 3).collect();
        names.shuffle(rng);
        let rename = |id: u32| names[id as usize];
        let mut other = case.clone();
        for component in &mut other.components {
            component.id = rename(component.id);
            component.name = format!("renamed {}", component.id);
        }
        other.components.shuffle(rng);
        let crossed = other.rows.iter_mut().flat_map(|row| &mut row.crosses);
        crossed.flatten().for_each(|id| *id = rename(*id));
        same(&score(case), &score(&other), rename)
    });
}

#[test]
fn components_that_no_row_tells_apart_are_equally_probable() {
    check("twins", 150, |case, rng| {
        let mut case = case.clone();
        let original = rng.random_range(0..count(&case));
        let twin = count(&case);
        let mut component = case.components[original as usize].clone();
        component.id = twin;
        case.components.push(component);
        for path in case.rows.iter_mut().flat_map(|row| &mut row.crosses) {
            if let Some(place) = path.iter().position(|&id| id == original) {
                path.insert(place + 1, twin);
            }
        }
        let said = said(&score(&case));
        let (p, q) = (of(&said, original), of(&said, twin));
        if p.max(q) > LISTED + ROUNDING && (p - q).abs() > ROUNDING {
            return Err(format!("{original}: {p}, its twin: {q}"));
        }
        Ok(())
    });
}

/// A row of its own with as many clean probes in every window.
fn clean(case: &CountedCase, vantage: u32, crosses: Vec<u32>, probes: u32) -> Row {
    Row {
        vantage,
        crosses: vec![crosses],
        probes: vec![probes; case.windows],
        failed: vec![0; case.windows],
    }
}

/// What blame may rise by when a component that is merely restless becomes less probable than one with
/// rare bursts.
const RESTLESS: f64 = 0.02;

#[test]
fn successes_across_a_component_alone_never_raise_its_blame() {
    check("successes", 150, |case, rng| {
        let before = said(&score(case));
        let id = rng.random_range(0..count(case));
        let mut case = case.clone();
        let row = clean(
            &case,
            rng.random_range(0..4),
            vec![id],
            rng.random_range(1..30),
        );
        case.rows.push(row);
        let after = said(&score(&case));
        let (p, q) = (of(&before, id), of(&after, id));
        if q > p.max(LISTED) + RESTLESS {
            return Err(format!("component {id}: {p} before, {q} after"));
        }
        Ok(())
    });
}

#[test]
fn more_clean_rows_never_make_a_fault_of_chance() {
    let shape = Shape {
        components: 8,
        rows: 24,
        windows: 6,
        probes: 12,
    };
    for seed in 0..meshes(100) {
        let mut case = shapes::random(shape, 0, seed).case;
        let rows = case.rows.clone();
        let clean = rows.iter().filter(|row| row.failed.iter().all(|&f| f == 0));
        let clean: Vec<Row> = clean.cloned().collect();
        let failures: u32 = rows.iter().flat_map(|row| &row.failed).sum();
        for _ in 0..20 {
            case.rows.extend(clean.iter().cloned());
        }
        let blamed: Vec<(u32, f64)> = said(&score(&case))
            .into_iter()
            .filter(|(_, p)| *p > 0.5)
            .collect();
        assert!(
            failures > 1 || blamed.is_empty(),
            "seed {seed}, {failures} failures: {blamed:?}"
        );
    }
}

#[test]
fn without_a_failure_nothing_is_blamed() {
    check("clean", 100, |case, _| {
        let mut case = case.clone();
        for row in &mut case.rows {
            row.failed.fill(0);
        }
        for _ in 0..3 {
            let rows = case.rows.clone();
            case.rows.extend(rows);
            let scores = score(&case);
            let said = said(&scores);
            if let Some((id, p)) = said.into_iter().find(|(_, p)| *p > 0.1) {
                return Err(format!("component {id}: {p} with {} rows", case.rows.len()));
            }
        }
        Ok(())
    });
}

/// Everything that can be odd about a case.
const ODDITIES: [fn(&mut CountedCase, &mut StdRng); 18] = [
    |case, _| {
        case.rows
            .iter_mut()
            .for_each(|row| std::mem::swap(&mut row.probes, &mut row.failed))
    },
    |case, _| case.windows = 0,
    |case, _| case.windows = 1,
    |case, rng| case.windows += rng.random_range(1..500),
    |case, rng| {
        case.rows
            .iter_mut()
            .for_each(|row| row.probes.truncate(rng.random_range(0..4)))
    },
    |case, rng| {
        case.rows
            .iter_mut()
            .for_each(|row| row.failed.truncate(rng.random_range(0..4)))
    },
    |case, rng| some_row(case, rng, |row| row.crosses.clear()),
    |case, rng| some_row(case, rng, |row| row.crosses = vec![vec![], vec![]]),
    |case, rng| some_row(case, rng, |row| row.crosses.push(vec![])),
    |case, rng| {
        some_row(case, rng, |row| {
            row.crosses.push(vec![99, u32::MAX, 0, 0, 0])
        })
    },
    |case, rng| {
        some_row(case, rng, |row| {
            let paths = row.crosses.clone();
            row.crosses.extend(paths);
        })
    },
    |case, _| case.components.extend(case.components.clone()),
    |case, rng| {
        some_row(case, rng, |row| {
            row.probes.iter_mut().for_each(|n| *n = 1_000_000)
        })
    },
    |case, rng| {
        some_row(case, rng, |row| {
            row.probes.iter_mut().for_each(|n| *n = 1_000_000);
            row.failed.iter_mut().for_each(|n| *n = 1_000_000);
        })
    },
    |case, _| case.components.clear(),
    |case, _| case.rows.clear(),
    |case, rng| {
        case.baseline = (0..6)
            .map(|vantage| Calm {
                vantage,
                probes: rng.random_range(0..3),
                failed: rng.random_range(0..1_000_000),
            })
            .collect()
    },
    |case, rng| {
        case.rows
            .iter_mut()
            .for_each(|row| row.vantage = rng.random_range(0..1_000))
    },
];

fn some_row(case: &mut CountedCase, rng: &mut StdRng, change: impl Fn(&mut Row)) {
    if case.rows.is_empty() {
        return;
    }
    let place = rng.random_range(0..case.rows.len());
    change(&mut case.rows[place]);
}

fn judged(case: &CountedCase) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(|| score(case))) {
        Ok(scores) => sane(&scores),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            Err(words.unwrap_or_else(|| "a panic".to_owned()))
        }
    }
}

#[test]
fn what_is_no_case_is_told_by_row() {
    let good = shapes::small(3).case;
    assert_eq!(good.check(), Ok(()));
    let mut other = good.clone();
    other.schema = 2;
    assert_eq!(other.check(), Err(CaseError::Schema(2)));
    let mut short = good;
    short.rows[4].failed.pop();
    assert_eq!(short.check(), Err(CaseError::Counts(4)));
}

#[test]
fn odd_cases_are_judged_all_the_same() {
    let mut broken = Vec::new();
    for seed in 0..meshes(400) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut case = shapes::small(seed).case;
        for _ in 0..rng.random_range(1..=3) {
            let odd = ODDITIES.choose(&mut rng).expect("there are some");
            odd(&mut case, &mut rng);
        }
        if let Err(wrong) = judged(&case) {
            keep(&format!("odd.{seed}"), &case);
            broken.push(format!("seed {seed}: {wrong}"));
        }
    }
    assert!(
        broken.is_empty(),
        "{}:\n{}",
        broken.len(),
        broken.join("\n")
    );
}

#[test]
fn counts_may_be_as_high_as_their_type_allows() {
    let full = |count: u32| vec![count; 3];
    for (probes, failed) in [
        (full(u32::MAX), full(0)),
        (full(u32::MAX), full(u32::MAX)),
        (full(0), full(u32::MAX)),
        (full(u32::MAX), full(1)),
    ] {
        let mut case = shapes::small(3).case;
        case.windows = 3;
        for row in &mut case.rows {
            (row.probes, row.failed) = (probes.clone(), failed.clone());
        }
        case.baseline = vec![Calm {
            vantage: 0,
            probes: u64::MAX,
            failed: u64::MAX,
        }];
        if let Err(wrong) = judged(&case) {
            keep(&format!("high.{}.{}", probes[0], failed[0]), &case);
            panic!("{probes:?} {failed:?}: {wrong}");
        }
    }
}
