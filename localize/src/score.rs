//! Counts of failed probes by row and window, without names of layers or symptoms: the form in which
//! inference engines are compared with each other.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::engine;
use crate::engine::model::{
    Cause, Count, EVERY_PATH, Effect, Group, Habit, Model, Noise, Shelter, Touch, Way, index16,
    index32,
};
use crate::engine::search::Posterior;
use crate::verdict::Kind;

/// One comparable problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountedCase {
    /// Version of the form: 1.
    pub schema: u32,
    /// Windows of time; every row has this many counts.
    pub windows: usize,
    /// What can be at fault.
    pub components: Vec<CountedComponent>,
    /// Calm times before, by vantage point.
    #[serde(default)]
    pub baseline: Vec<Calm>,
    /// The counts.
    pub rows: Vec<Row>,
}

/// A component of a counted case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountedComponent {
    /// Number by which rows name it.
    pub id: u32,
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// What a vantage point saw while all was well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calm {
    /// Number of the vantage point.
    pub vantage: u32,
    /// Probes sent.
    pub probes: u64,
    /// Those of them that failed, at any layer.
    pub failed: u64,
}

/// Probes of one arm at one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Number of the vantage point.
    pub vantage: u32,
    /// The components crossed, once for each path that a probe may have taken: each takes one of them
    /// at random.
    pub crosses: Vec<Vec<u32>>,
    /// Probes that reached the layer, by window.
    pub probes: Vec<u32>,
    /// Those of them that failed there, by window.
    pub failed: Vec<u32>,
}

/// What the inference makes of a counted case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Every component with a probability above 0.001, most probable first.
    pub components: Vec<Scored>,
    /// Probability that nothing is at fault.
    pub healthy: f64,
    /// Probability of something that no component explains.
    pub unknown: f64,
}

/// One component's part in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// The component's number.
    pub id: u32,
    /// Probability that it is at fault.
    pub probability: f64,
    /// Mean of its rate of failure, while it is on, if it is.
    pub rate: f64,
}

/// Prior odds of a component's fault, and of a storm at a vantage point.
const FAULT: f64 = 0.03;
const STORM: f64 = 0.02;
/// Rate at which probes fail by chance where no calm record tells, and what that is worth in failures.
const BACKGROUND: f64 = 5e-4;
const BACKGROUND_FAILURES: f64 = 1.0;
/// The lowest rate that counts as a fault.
const FLOOR: f64 = 0.004;
/// Components are listed from this probability on.
const LISTED: f64 = 0.001;

/// Judges a counted case.
#[must_use]
pub fn score(case: &CountedCase) -> Scores {
    let (mut model, ids) = model(case);
    let posterior = engine::explain(&mut model);
    scores(&posterior, &model, &ids)
}

fn scores(posterior: &Posterior, model: &Model, ids: &[u32]) -> Scores {
    let mut blame = vec![(0.0, 0.0); ids.len()];
    for (weight, set) in &posterior.sets {
        for (fit, guilt) in set.fits.iter().zip(&set.guilt) {
            if let Some((sum, rate)) = blame.get_mut(fit.fault.cause) {
                let mean: f64 = fit.rates.iter().map(|(theta, p)| theta * p).sum();
                let guilty = weight * guilt;
                *sum += guilty;
                *rate += guilty * mean;
            }
        }
    }
    let mut components: Vec<Scored> = blame
        .iter()
        .zip(ids)
        .filter(|((probability, _), _)| *probability > LISTED)
        .map(|((probability, rate), id)| Scored {
            id: *id,
            probability: *probability,
            rate: rate / probability,
        })
        .collect();
    components.sort_by(|a, b| {
        let order = b.probability.total_cmp(&a.probability);
        order.then(a.id.cmp(&b.id))
    });
    Scores {
        components,
        healthy: posterior.mean(|s| if s.unknown { 0.0 } else { s.innocence(model) }),
        unknown: posterior.unknown(),
    }
}

/// The engine's problem, and the component of each of its first causes.
fn model(case: &CountedCase) -> (Model, Vec<u32>) {
    let ids: Vec<u32> = case.components.iter().map(|c| c.id).collect();
    let place: BTreeMap<u32, usize> = ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let backgrounds = Backgrounds::new(&case.baseline);
    let own = |id: &u32| {
        let component = place.get(id).and_then(|p| case.components.get(*p));
        component.is_some_and(|c| c.kind == Kind::ClientNetwork)
    };
    let networks = case.components.iter().any(|c| own(&c.id));
    let mut model = Model::new(case.windows.max(1), FLOOR, vec![vec![1.0]]);
    let mut touches: Vec<Vec<Touch>> = vec![Vec::new(); ids.len()];
    let mut storms: BTreeMap<u32, Vec<Touch>> = BTreeMap::new();
    for (index, row) in case.rows.iter().enumerate() {
        let access = !networks || row.crosses.iter().flatten().any(own);
        push_row(&mut model, row, backgrounds.of(row.vantage, access));
        let cell = index32(index);
        if access {
            let storm = storms.entry(row.vantage).or_default();
            storm.push(touch(cell, EVERY_PATH, 0));
        }
        for (component, path, order) in crossed(row) {
            if let Some(component) = place.get(&component) {
                touches[*component].push(touch(cell, path, order));
            }
        }
    }
    let causes = touches.into_iter().map(|t| (FAULT, Habit::Fault, t));
    let storms = storms.into_values().map(|t| (STORM, Habit::Storm, t));
    for (part, (odds, habit, touches)) in (0..).zip(causes.chain(storms)) {
        model.push_cause(Cause {
            part,
            log_odds: libm::log(odds),
            shelter: Shelter::Optional,
            habit,
            blamable: habit == Habit::Fault,
            touches,
            passes: Default::default(),
        });
    }
    (model, ids)
}

fn touch(cell: u32, path: u16, order: u16) -> Touch {
    Touch {
        cell,
        path,
        order,
        group: Group::Front,
        effect: Effect::Fail(0),
    }
}

/// Each component of a row with the path that crosses it; once where every path does.
fn crossed(row: &Row) -> impl Iterator<Item = (u32, u16, u16)> + '_ {
    let shared = |component: &u32| row.crosses.iter().all(|path| path.contains(component));
    row.crosses
        .iter()
        .enumerate()
        .flat_map(move |(path, components)| {
            components.iter().enumerate().filter_map(move |(order, c)| {
                let first = components[..order].iter().all(|before| before != c);
                let order = index16(order);
                match shared(c) {
                    _ if !first => None,
                    true => (path == 0).then_some((*c, EVERY_PATH, order)),
                    false => Some((*c, index16(path), order)),
                }
            })
        })
}

fn push_row(model: &mut Model, row: &Row, noise: Noise) {
    let paths = row.crosses.len().max(1);
    let way = Way {
        weight: 1.0 / paths as f64,
        server: None,
    };
    model.push_cell(noise, &vec![way; paths]);
    let counts = |of: fn(u32, u32) -> u32| {
        let pairs = row.probes.iter().zip(&row.failed).take(model.windows);
        let counts: Vec<Count> = pairs
            .enumerate()
            .map(|(window, (probes, failed))| Count {
                window: index16(window),
                count: of(*probes, *failed),
            })
            .collect();
        counts
    };
    let passed = counts(|probes, failed| probes.saturating_sub(failed));
    let failed = counts(|probes, failed| failed.min(probes));
    model.push_outcome(None, None, 0.0, passed.into_iter());
    model.push_outcome(Some(0), None, 1.0, failed.into_iter());
}

/// How often probes fail by chance: where they cross the vantage point's own network, by vantage point;
/// elsewhere alike for all.
struct Backgrounds {
    calm: BTreeMap<u32, (f64, f64)>,
    elsewhere: f64,
}

/// Share of a usual vantage point's failures that its own network is not to blame for.
const ELSEWHERE: f64 = 0.5;

impl Backgrounds {
    fn new(baseline: &[Calm]) -> Self {
        let mut calm: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for record in baseline {
            let (probes, failed) = calm.entry(record.vantage).or_default();
            *probes += record.probes as f64;
            *failed += record.failed as f64;
        }
        let mut rates: Vec<f64> = calm.values().map(|c| mean(*c, BACKGROUND)).collect();
        rates.sort_by(f64::total_cmp);
        let usual = rates.get(rates.len() / 2).copied().unwrap_or(BACKGROUND);
        Self {
            calm,
            elsewhere: usual * ELSEWHERE,
        }
    }

    fn of(&self, vantage: u32, access: bool) -> Noise {
        let calm = self.calm.get(&vantage).copied().unwrap_or_default();
        let (group, background) = if access {
            (vantage.saturating_add(1), mean(calm, BACKGROUND))
        } else {
            (0, self.elsewhere)
        };
        Noise {
            group,
            background,
            spread: 1.0,
            kinds: 1.0,
        }
    }
}

fn mean((probes, failed): (f64, f64), prior: f64) -> f64 {
    (failed + BACKGROUND_FAILURES) / (probes + BACKGROUND_FAILURES / prior)
}
