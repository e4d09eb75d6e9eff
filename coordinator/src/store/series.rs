//! The numbers of the series, so that keys are short and of one length.

use std::collections::{BTreeMap, BTreeSet};

use localize::{Arm, Observation, ServiceName, VantageName};
use serde::{Deserialize, Serialize};

use super::key::{SeriesId, ServiceNumber};

/// Length of a day in microseconds.
pub(super) const DAY_US: u64 = 86_400_000_000;

/// What the number of a series stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Series {
    pub service: ServiceName,
    pub vantage: VantageName,
    pub arm: Arm,
    /// The number of the service, which a series that belongs to nobody any more keeps: its records are
    /// under it.
    #[serde(default)]
    pub number: ServiceNumber,
    /// The latest day, counted from the Unix epoch, on which it was observed: retention needs it.
    pub last_day: u64,
}

/// Every series in both directions.
#[derive(Debug, Default)]
pub(super) struct SeriesTable {
    by_id: BTreeMap<SeriesId, Series>,
    ids: BTreeMap<ServiceName, BTreeMap<VantageName, BTreeMap<Arm, SeriesId>>>,
}

impl SeriesTable {
    pub(super) fn insert(&mut self, id: SeriesId, series: Series) {
        self.ids
            .entry(series.service.clone())
            .or_default()
            .entry(series.vantage.clone())
            .or_default()
            .insert(series.arm.clone(), id);
        self.by_id.insert(id, series);
    }

    pub(super) fn remove(&mut self, id: SeriesId) {
        let Some(series) = self.by_id.remove(&id) else {
            return;
        };
        let Some(vantages) = self.ids.get_mut(&series.service) else {
            return;
        };
        if let Some(arms) = vantages.get_mut(&series.vantage) {
            arms.remove(&series.arm);
            if arms.is_empty() {
                vantages.remove(&series.vantage);
            }
        }
        if vantages.is_empty() {
            self.ids.remove(&series.service);
        }
    }

    pub(super) fn get(&self, id: SeriesId) -> Option<&Series> {
        self.by_id.get(&id)
    }

    pub(super) fn find(&self, observation: &Observation) -> Option<SeriesId> {
        let arms = self
            .ids
            .get(&observation.service)?
            .get(observation.vantage())?;
        arms.get(&observation.arm).copied()
    }

    /// Whether a series of the observation's vantage point, target and source is known; how many series
    /// of its service the vantage point has.
    pub(super) fn lane(&self, observation: &Observation) -> (bool, usize) {
        let vantages = self.ids.get(&observation.service);
        let arms = vantages.and_then(|vantages| vantages.get(observation.vantage()));
        let Some(arms) = arms else {
            return (false, 0);
        };
        let Arm { target, source, .. } = &observation.arm;
        let same = |arm: &Arm| arm.target == *target && arm.source == *source;
        let known = arms.contains_key(&observation.arm) || arms.keys().any(same);
        (known, arms.len())
    }

    /// The series of a service.
    pub(super) fn of_service(&self, service: &ServiceName) -> BTreeMap<SeriesId, Series> {
        self.ids
            .get(service)
            .into_iter()
            .flat_map(BTreeMap::values)
            .flat_map(BTreeMap::values)
            .filter_map(|id| Some((*id, self.by_id.get(id)?.clone())))
            .collect()
    }

    /// The series of a vantage point.
    pub(super) fn of_vantage(&self, vantage: &VantageName) -> Vec<(SeriesId, Series)> {
        let ours = self.by_id.iter().filter(|(_, s)| s.vantage == *vantage);
        ours.map(|(id, series)| (*id, series.clone())).collect()
    }

    /// The series last observed before a day.
    pub(super) fn idle_since(&self, day: u64) -> Vec<SeriesId> {
        let idle = self.by_id.iter().filter(|(_, s)| s.last_day < day);
        idle.map(|(id, _)| *id).collect()
    }

    /// The number of a service; `None` where it has no series.
    pub(super) fn number(&self, service: &ServiceName) -> Option<ServiceNumber> {
        let arms = self.ids.get(service)?.values().next()?;
        let id = arms.values().next()?;
        self.by_id.get(id).map(|series| series.number)
    }

    /// Every number that a service has, or had as long as any record of it can be left.
    pub(super) fn numbers(&self) -> BTreeSet<ServiceNumber> {
        self.by_id.values().map(|series| series.number).collect()
    }

    /// A number that no service has.
    pub(super) fn next_number(&self) -> ServiceNumber {
        let last = self.numbers().last().map_or(0, |number| number.0);
        ServiceNumber(last.saturating_add(1))
    }

    /// Every series.
    pub(super) fn all(&self) -> impl Iterator<Item = (SeriesId, &Series)> {
        self.by_id.iter().map(|(id, series)| (*id, series))
    }

    /// A number that no series has had while any record of it can be left.
    pub(super) fn next_id(&self) -> SeriesId {
        let last = self.by_id.last_key_value().map_or(0, |(id, _)| id.0);
        SeriesId(last.wrapping_add(1))
    }
}
