//! What fails while nothing is at fault.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::iter;

use super::FLOOR;
use crate::counted::score::{Calm, Row};
use crate::engine::model::{Nature, Restless};

/// Rate at which probes fail by chance where no calm record tells, and what that is worth in failures.
const BACKGROUND: f64 = 5e-4;
const BACKGROUND_FAILURES: f64 = 1.0;
/// Components that a probe crosses on its whole way.
const CROSSED: f64 = 8.0;
/// So many failures beyond what is usual are by half chance.
const CHANCE: f64 = 3.0;
/// Highest rate of a component that is well for the rate at which probes fail in calm times, and the
/// bounds of that as a share of the floor of faults.
const RESTLESS_MOST: f64 = 0.5;
const RESTLESS_BOUNDS: (f64, f64) = (0.1, 0.9);
/// The lowest such rate as a share of the floor.
const RESTLESS_LEAST: f64 = 0.01;
/// Restless components for the rate at which probes fail in calm times, and the bounds of that.
const RESTLESS_SHARE: f64 = 125.0;
const RESTLESS_SHARES: (f64, f64) = (0.15, 1.0);

/// Prior odds of an own network's rate being higher than the calm record shows, by up to what chance may
/// have kept from it; bounds of that as a share of the floor, and how far down it goes.
const OWN_SHARE: f64 = 0.2;
const OWN_BOUNDS: (f64, f64) = (0.1, 3.0);
const OWN_SPAN: f64 = 20.0;

/// How often probes fail by chance: each component fails some, and a vantage point's own network as
/// many as the calm record has beyond what is usual.
pub(super) struct Backgrounds {
    /// Rate of the vantage point in the middle.
    usual: f64,
    /// Noises: that of a component, then those of the own networks.
    pub(super) noises: Vec<f64>,
    /// Probes of the calm records, and how many of them failed.
    records: Vec<(f64, f64)>,
    /// Numbers of the own networks' noises, by vantage point.
    numbers: BTreeMap<u32, u32>,
}

impl Backgrounds {
    pub(super) fn new(baseline: &[Calm], rows: &[Row]) -> Self {
        let mut calm: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
        for row in rows {
            calm.entry(row.vantage).or_default();
        }
        for record in baseline {
            let (probes, failed) = calm.entry(record.vantage).or_default();
            *probes += record.probes as f64;
            *failed += record.failed as f64;
        }
        let rates = calm.values();
        let rates = rates.map(|(probes, failed)| {
            (failed + BACKGROUND_FAILURES) / (probes + BACKGROUND_FAILURES / BACKGROUND)
        });
        let mut rates: Vec<f64> = rates.collect();
        rates.sort_by(f64::total_cmp);
        let usual = rates.get(rates.len() / 2).copied().unwrap_or(BACKGROUND);
        let each = usual / CROSSED;
        let own = calm.values().map(|(probes, failed)| {
            let excess = (failed - usual * probes).max(0.0);
            each + excess * excess / (excess + CHANCE) / probes.max(1.0)
        });
        Self {
            usual,
            records: calm.values().copied().collect(),
            noises: iter::once(each).chain(own).collect(),
            numbers: calm.keys().copied().zip(1..).collect(),
        }
    }

    /// How a component may fail probes while it is well: the more fails in calm times, the more of that
    /// is some component's own. What a vantage point's own network may fail, the calm record bounds.
    pub(super) fn restless(&self, vantage: Option<u32>) -> Restless {
        let bounded = |value: f64, (low, high): (f64, f64)| value.clamp(low, high);
        let number = vantage.and_then(|vantage| self.numbers.get(&vantage));
        let Some(number) = number.map(|number| *number as usize) else {
            let odds = bounded(self.usual * RESTLESS_SHARE, RESTLESS_SHARES);
            let most = bounded(self.usual / FLOOR * RESTLESS_MOST, RESTLESS_BOUNDS);
            return Restless::even(odds, RESTLESS_LEAST, most);
        };
        let (probes, failed) = self.records[number - 1];
        let most = bounded(self.doubt(number) / FLOOR, OWN_BOUNDS);
        let before = self.noises[number] + self.usual * (1.0 - 1.0 / CROSSED);
        Restless::even(OWN_SHARE, most / OWN_SPAN, most).weighed(|rate| {
            let further = rate * FLOOR;
            failed * libm::log1p(further / before) - probes * further
        })
    }

    /// The noises that a calm record tells: what rows show beyond that is unrest, or a fault.
    pub(super) fn known(&self) -> Vec<bool> {
        let recorded = self.records.iter().map(|(probes, _)| *probes > 0.0);
        iter::once(false).chain(recorded).collect()
    }

    /// By how much an own network's rate may be higher than what is reckoned with.
    fn doubt(&self, number: usize) -> f64 {
        let (probes, failed) = self.records[number - 1];
        let most = failed + 2.0 * libm::sqrt(failed + 1.0);
        (most / probes.max(1.0) - self.noises[number]).max(0.0)
    }

    /// The nature of a row that crosses the vantage point's own network or not.
    pub(super) fn of(&self, row: &Row, own_network: bool) -> Nature {
        let ways = row.crosses.len().max(1) as f64;
        let crossed = row.crosses.iter().map(Vec::len).sum::<usize>() as f64 / ways;
        let number = self.numbers.get(&row.vantage).copied();
        let (noise, own, common) = match number.filter(|_| own_network) {
            Some(number) => (number, 1.0, (crossed - 1.0).max(0.0)),
            None => (0, crossed.max(1.0), 0.0),
        };
        Nature {
            noise,
            own,
            common,
            spread: 1.0,
            kinds: 1.0,
            forsaken: None,
            kin: 0,
        }
    }
}
