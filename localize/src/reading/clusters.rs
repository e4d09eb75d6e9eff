//! Late answers that come together, and are over in a moment.
//!
//! A queue that forms and drains, a machine that has no time for a second: what stands behind several targets then
//! makes late whatever is asked of it in that instant, so that fifty late answers are one event. A fault of one
//! backend makes only that one late, and one that lasts is late again soon; both count as they are.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use crate::facts::observation::Target;
use crate::facts::topology::Backend;
use crate::reading::cells::{Key, Trial};
use crate::world::symptom::{Stage, Symptom};

/// Late answers that are no farther from each other belong together, in microseconds.
const TOGETHER_US: u64 = 3_000_000;
/// What is late for so long, in microseconds, does not pass in a moment.
const LASTS_US: u64 = 2_000_000;

/// Whose time it is that a late answer took.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whose {
    Backend(String),
    Target(Target),
}

impl Whose {
    /// That of a target's answer, which a backend served where that is known.
    pub(super) fn of(target: &Target, served_by: Option<usize>, backends: &[Backend]) -> Self {
        match (target, served_by.and_then(|place| backends.get(place))) {
            (Target::Backend { name, .. }, _) => Self::Backend(name.clone()),
            (_, Some(backend)) => Self::Backend(backend.name.clone()),
            (target, None) => Self::Target(target.clone()),
        }
    }
}

/// A time in which answers were late: its first and its last instant, and whose they were.
struct Cluster {
    from: u64,
    to: u64,
    whose: BTreeSet<Whose>,
}

impl Cluster {
    /// Whether it is one event of what several share.
    fn passes(&self) -> bool {
        self.to - self.from < LASTS_US && self.whose.len() > 1
    }
}

/// Leaves one late answer of each target and stage where lateness of several passed in a moment.
pub(super) fn leave_one(by_cell: &mut BTreeMap<Key, Vec<Trial>>, backends: &[Backend]) {
    let passing: Vec<Cluster> = clusters(by_cell, backends)
        .into_iter()
        .filter(Cluster::passes)
        .collect();
    if passing.is_empty() {
        return;
    }
    let mut left: BTreeSet<(usize, Target, Stage)> = BTreeSet::new();
    for ((_, arm, stage), trials) in by_cell {
        trials.retain(|trial| {
            let place = passing.partition_point(|cluster| cluster.to < trial.at);
            let within = passing.get(place).is_some_and(|c| c.from <= trial.at);
            !within || !is_late(trial) || left.insert((place, arm.target.clone(), *stage))
        });
    }
}

fn is_late(trial: &Trial) -> bool {
    matches!(trial.symptom, Some(Symptom::Late | Symptom::Slow))
}

/// The times in which answers were late, in order.
fn clusters(by_cell: &BTreeMap<Key, Vec<Trial>>, backends: &[Backend]) -> Vec<Cluster> {
    let mut late: Vec<(u64, Whose)> = Vec::new();
    for ((_, arm, _), trials) in by_cell {
        for trial in trials.iter().filter(|trial| is_late(trial)) {
            let whose = Whose::of(&arm.target, trial.served_by, backends);
            late.push((trial.at, whose));
        }
    }
    late.sort();
    let mut clusters: Vec<Cluster> = Vec::new();
    for (at, whose) in late {
        match clusters.last_mut() {
            Some(last) if at - last.to <= TOGETHER_US => {
                last.to = at;
                last.whose.insert(whose);
            }
            _ => clusters.push(Cluster {
                from: at,
                to: at,
                whose: BTreeSet::from([whose]),
            }),
        }
    }
    clusters
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::facts::observation::Arm;
    use crate::facts::topology::{Scheme, VantageName};

    const SECOND: u64 = 1_000_000;

    fn backends() -> Vec<Backend> {
        let backend = |number: u8| Backend {
            name: alloc::format!("web{number}"),
            address: ([10, 0, 0, number], 80).into(),
            scheme: Scheme::Http,
            path: "/".to_string(),
        };
        vec![backend(1), backend(2)]
    }

    fn key(vantage: &str, target: Target) -> Key {
        (
            VantageName(vantage.to_string()),
            Arm::to(target),
            Stage::Http,
        )
    }

    fn direct(vantage: &str, backend: usize) -> Key {
        let Backend { name, address, .. } = backends().swap_remove(backend);
        key(vantage, Target::Backend { name, address })
    }

    fn late(at: u64) -> Trial {
        Trial::plain(at, Some(Symptom::Late))
    }

    /// How many late answers are left of each cell's.
    fn left(cells: Vec<(Key, Vec<Trial>)>) -> Vec<usize> {
        let mut by_cell: BTreeMap<Key, Vec<Trial>> = cells.into_iter().collect();
        leave_one(&mut by_cell, &backends());
        let late = |trials: &Vec<Trial>| trials.iter().filter(|t| is_late(t)).count();
        by_cell.values().map(late).collect()
    }

    #[test]
    fn what_is_late_at_several_for_a_moment_is_one_event_at_each() {
        let moment = || vec![late(10 * SECOND), late(11 * SECOND), late(40 * SECOND)];
        let cells = vec![
            (direct("dc1", 0), moment()),
            (direct("dc1", 1), moment()),
            (direct("dc2", 0), moment()),
        ];
        assert_eq!(left(cells), [2, 2, 0]);
    }

    #[test]
    fn what_is_late_alone_or_lasts_counts_as_it_is() {
        let vip = key(
            "dc1",
            Target::Vip {
                address: ([192, 0, 2, 1], 443).into(),
            },
        );
        let alone = |vip: Key| {
            let through = vec![late(10 * SECOND).by(0), late(11 * SECOND).by(0)];
            vec![(direct("dc1", 0), vec![late(10 * SECOND)]), (vip, through)]
        };
        assert_eq!(left(alone(vip.clone())), [2, 1]);
        let lasting = |from: u64| (from..from + 4).map(|s| late(s * SECOND)).collect();
        let cells = vec![
            (direct("dc1", 0), lasting(10)),
            (direct("dc1", 1), lasting(11)),
        ];
        assert_eq!(left(cells), [4, 4]);
        // Whatever fails is not late.
        let resets = vec![Trial::plain(10 * SECOND, Some(Symptom::Reset)); 3];
        let mut by_cell = BTreeMap::from([
            (direct("dc1", 0), resets.clone()),
            (direct("dc1", 1), vec![late(10 * SECOND)]),
            (vip, vec![late(10 * SECOND).by(0)]),
        ]);
        leave_one(&mut by_cell, &backends());
        assert_eq!(by_cell[&direct("dc1", 0)].len(), resets.len());
    }
}
