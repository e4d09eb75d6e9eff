//! What the peers look at: failures by row, all windows together.

use std::collections::BTreeMap;

use localize::score::CountedCase;

/// A case without its windows. Components are places in `ids`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// The components' numbers in the case.
    pub ids: Vec<u32>,
    /// What was counted, once for each vantage point and distinct crossing.
    pub flows: Vec<Flow>,
    /// For each component the flows that may cross it.
    pub of: Vec<Vec<usize>>,
}

/// Probes of one vantage point that crossed the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// The ways, of which each probe took one.
    pub paths: Vec<Vec<usize>>,
    /// Every component of any way, once.
    pub crossed: Vec<usize>,
    /// Probes that passed.
    pub passed: f64,
    /// Probes that failed.
    pub failed: f64,
    /// Share of the vantage point's probes that failed in calm times.
    pub calm: f64,
}

impl Counts {
    /// Adds up a case. Components that no list names are left out of the ways.
    #[must_use]
    pub fn new(case: &CountedCase) -> Self {
        let ids: Vec<u32> = case
            .components
            .iter()
            .map(|component| component.id)
            .collect();
        let place: BTreeMap<u32, usize> = ids.iter().copied().zip(0..).collect();
        let calm: BTreeMap<u32, f64> = case
            .baseline
            .iter()
            .map(|calm| (calm.vantage, calm.failed as f64 / calm.probes.max(1) as f64))
            .collect();
        let mut sums = BTreeMap::<_, (u32, u32)>::new();
        for row in &case.rows {
            let sum = sums
                .entry((row.vantage, row.crosses.as_slice()))
                .or_default();
            sum.0 += row.probes.iter().sum::<u32>();
            sum.1 += row.failed.iter().sum::<u32>();
        }
        let places = |path: &Vec<u32>| {
            path.iter()
                .filter_map(|id| place.get(id).copied())
                .collect()
        };
        let flows = sums
            .into_iter()
            .filter(|(_, (probes, _))| *probes > 0)
            .map(|((vantage, crosses), (probes, failed))| {
                let paths = crosses.iter().map(places).collect();
                Flow {
                    calm: calm.get(&vantage).copied().unwrap_or(0.0),
                    ..Flow::new(paths, probes, failed)
                }
            })
            .collect();
        Self::of_flows(ids, flows)
    }

    /// The same of flows that are there already.
    #[must_use]
    pub fn of_flows(ids: Vec<u32>, flows: Vec<Flow>) -> Self {
        let mut of = vec![Vec::new(); ids.len()];
        for (index, flow) in flows.iter().enumerate() {
            for &component in &flow.crossed {
                of[component].push(index);
            }
        }
        Self { ids, flows, of }
    }

    /// Failures of all flows.
    #[must_use]
    pub fn failed(&self) -> f64 {
        self.flows.iter().map(|flow| flow.failed).sum()
    }
}

impl Flow {
    /// So many probes by one of these ways, and how many of them failed.
    #[must_use]
    pub fn new(paths: Vec<Vec<usize>>, probes: u32, failed: u32) -> Self {
        let mut crossed: Vec<usize> = paths.iter().flatten().copied().collect();
        crossed.sort_unstable();
        crossed.dedup();
        Self {
            paths,
            crossed,
            passed: f64::from(probes - failed),
            failed: f64::from(failed),
            calm: 0.0,
        }
    }

    /// All its probes.
    #[must_use]
    pub fn probes(&self) -> f64 {
        self.passed + self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{World, draw};

    #[test]
    fn no_probe_is_lost_in_adding_up() {
        let drawn = draw(World::HiddenPaths, 3_000, 4);
        let counts = Counts::new(&drawn.case);
        let rows = |pick: fn(&localize::score::Row) -> &Vec<u32>| -> f64 {
            drawn
                .case
                .rows
                .iter()
                .flat_map(pick)
                .copied()
                .map(f64::from)
                .sum()
        };
        assert_eq!(counts.failed(), rows(|row| &row.failed));
        let probes: f64 = counts.flows.iter().map(Flow::probes).sum();
        assert_eq!(probes, rows(|row| &row.probes));
    }
}
