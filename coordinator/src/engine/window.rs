//! The facts of the last quarter of an hour, in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use localize::{Observation, RoundId, VantageName, WitnessReport};

/// Length of the window, in microseconds: what `localize --since` looks back by default. What is
/// older is read from the store.
pub const WINDOW_US: u64 = 15 * 60 * 1_000_000;

/// Observations kept of one service: a quarter of an hour of a round every second with a hundred
/// arms, at about a kilobyte each.
const OBSERVATIONS: usize = 90_000;
/// Reports kept: a quarter of an hour of ten witnesses that report every second.
const REPORTS: usize = 9_000;

/// The recent observations of one service.
#[derive(Debug, Default)]
pub(super) struct Observations(VecDeque<Arc<Observation>>);

impl Observations {
    /// Adds one; false when it is too old to matter.
    pub(super) fn push(&mut self, observation: Arc<Observation>, now_us: u64) -> bool {
        if observation.scheduled_us.saturating_add(WINDOW_US) < now_us {
            return false;
        }
        if self.0.len() >= OBSERVATIONS {
            self.0.pop_front();
        }
        self.0.push_back(observation);
        true
    }

    /// Forgets what is too old.
    pub(super) fn trim(&mut self, now_us: u64) {
        let oldest = now_us.saturating_sub(WINDOW_US);
        while self.0.front().is_some_and(|o| o.scheduled_us < oldest) {
            self.0.pop_front();
        }
    }

    /// A vantage point has another name from now on.
    pub(super) fn rename(&mut self, from: &VantageName, to: &VantageName) {
        for observation in self.0.iter_mut().filter(|o| o.vantage() == from) {
            Arc::make_mut(observation).id.vantage.clone_from(to);
        }
    }

    /// Forgets what a vantage point saw.
    pub(super) fn forget(&mut self, vantage: &VantageName) {
        self.0
            .retain(|observation| observation.vantage() != vantage);
    }

    /// Those since an instant, of the rounds before the first that is still open. Of what came after that
    /// one only the rounds without a time-out have closed: whoever judged these would see everybody well.
    pub(super) fn known_since(
        &self,
        from_us: u64,
        open: &BTreeMap<RoundId, u64>,
    ) -> Vec<Arc<Observation>> {
        let to_us = open.values().copied().min().unwrap_or(u64::MAX);
        let wanted = |o: &&Arc<Observation>| {
            (from_us..to_us).contains(&o.scheduled_us) && !open.contains_key(&o.round)
        };
        self.0.iter().filter(wanted).cloned().collect()
    }

    /// The vantage points that made one.
    pub(super) fn vantages(&self) -> BTreeSet<VantageName> {
        // A name is cloned once for each vantage point, not once for each observation.
        let mut names: BTreeMap<&VantageName, ()> = BTreeMap::new();
        for observation in &self.0 {
            names.entry(observation.vantage()).or_default();
        }
        names.into_keys().cloned().collect()
    }
}

/// The recent reports of all witnesses.
#[derive(Debug, Default)]
pub(super) struct Reports(VecDeque<Arc<WitnessReport>>);

impl Reports {
    /// Adds one, unless it is too old to matter.
    pub(super) fn push(&mut self, report: Arc<WitnessReport>, now_us: u64) {
        if report.to.at_us.saturating_add(WINDOW_US) < now_us {
            return;
        }
        if self.0.len() >= REPORTS {
            self.0.pop_front();
        }
        self.0.push_back(report);
    }

    /// Forgets what is too old.
    pub(super) fn trim(&mut self, now_us: u64) {
        let oldest = now_us.saturating_sub(WINDOW_US);
        while self.0.front().is_some_and(|r| r.to.at_us < oldest) {
            self.0.pop_front();
        }
    }

    /// A witness has another name from now on.
    pub(super) fn rename(&mut self, from: &VantageName, to: &VantageName) {
        for report in self.0.iter_mut().filter(|r| r.witness == *from) {
            Arc::make_mut(report).witness.clone_from(to);
        }
    }

    /// Forgets what a witness saw.
    pub(super) fn forget(&mut self, witness: &VantageName) {
        self.0.retain(|report| report.witness != *witness);
    }

    /// Those that end at or after an instant.
    pub(super) fn since(&self, from_us: u64) -> Vec<Arc<WitnessReport>> {
        let wanted = self.0.iter().filter(|r| r.to.at_us >= from_us);
        wanted.cloned().collect()
    }
}
