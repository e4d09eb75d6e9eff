//! What is usual: the times of a site on which nothing is at fault, as of the day before.

use std::collections::BTreeMap;

use localize::{Arm, Baseline, Baselines, Layer, Micros, Outcome, RoundId, VantageName};

use super::history::SECOND;
use super::world::World;

/// Rounds from whose times the quantiles are taken.
const ROUNDS: u64 = 100;
/// A day in seconds.
const DAY_S: u64 = 24 * 3600;

/// Passes and failures of a layer.
#[derive(Default)]
struct Record {
    took: Vec<Micros>,
    failed: u64,
}

/// Probes a site on which nothing is at fault, and counts as if it had been a whole day.
pub(crate) fn learn(world: &mut World, from_us: u64, every_s: u64) -> Baselines {
    let faults = std::mem::take(&mut world.faults);
    let mut records: BTreeMap<(VantageName, Arm, Layer), Record> = BTreeMap::new();
    for round in 0..ROUNDS {
        let at = from_us + round * 7 * SECOND;
        for vantage in 0..world.site.vantages.len() {
            for arm in world.arms(vantage) {
                let seen = world.probe(vantage, arm, RoundId(0), at);
                let place = |layer| (seen.id.vantage.clone(), seen.arm.clone(), layer);
                for step in &seen.steps {
                    records
                        .entry(place(step.layer))
                        .or_default()
                        .took
                        .push(step.took);
                }
                if let Outcome::Failed { layer, .. } = seen.outcome {
                    records.entry(place(layer)).or_default().failed += 1;
                }
            }
        }
    }
    world.faults = faults;
    world.sighted.clear();
    let times = DAY_S / every_s / ROUNDS;
    let learnt = records
        .into_iter()
        .map(|((vantage, arm, layer), mut record)| {
            record.took.sort_unstable();
            let last = record.took.len().saturating_sub(1);
            let quantile = |percent: usize| record.took.get(last * percent / 100).copied();
            Baseline {
                statuses: Vec::new(),
                vantage,
                arm,
                layer,
                passed: times * record.took.len() as u64,
                failed: times * record.failed,
                median: quantile(50).unwrap_or_default(),
                p75: quantile(75),
                p99: quantile(99).unwrap_or_default(),
            }
        });
    Baselines(learnt.collect())
}
