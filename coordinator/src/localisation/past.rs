//! What a judgement takes from the store: what was usual, and what the engine's memory does not reach
//! back to.

use localize::{Baselines, Case, Observation, ServiceName, Topology, WitnessReport};

use super::LONGEST_SINCE;
use super::standing::Alarms;
use crate::engine::{Evidence, Refusal, WINDOW_US};
use crate::store::{Store, StoreError};

/// What is usual is learnt from a day before the window in which nothing was wrong, in microseconds.
const CALM_US: u64 = 24 * 3600 * 1_000_000;

/// What is read from the store once.
#[derive(Clone, Default)]
pub(crate) struct Past {
    baselines: Baselines,
    observations: Vec<Observation>,
    reports: Vec<WitnessReport>,
}

impl Past {
    /// Baselines before `from_us`, and what the engine's memory does not reach back to at `now_us`.
    pub(crate) async fn read(
        store: &Store,
        service: &ServiceName,
        from_us: u64,
        now_us: u64,
    ) -> Result<Self, Refusal> {
        let (store, service) = (store.clone(), service.clone());
        let remembered_us = now_us.saturating_sub(WINDOW_US);
        let past = tokio::task::spawn_blocking(move || -> Result<Self, StoreError> {
            let mut past = Self {
                baselines: store.baselines(&service, CALM_US, from_us)?,
                ..Self::default()
            };
            if from_us < remembered_us {
                past.observations = store.observations(&service, from_us, remembered_us)?;
                past.reports = store.reports(from_us, remembered_us)?;
            }
            Ok(past)
        });
        Ok(past.await.map_err(|_| Refusal::Stopping)??)
    }
}

/// How far a localisation looks back, and what it finds there.
#[derive(Default)]
pub(super) struct Lookback {
    /// From when on rounds count, in microseconds of mesh time.
    pub(super) from_us: u64,
    pub(super) past: Past,
    pub(super) alarms: Alarms,
}

impl Lookback {
    /// To `from_us`, or to the beginning of the alarms that stand at `now_us`, as far as observations
    /// that passed are kept.
    pub(super) async fn read(
        store: &Store,
        service: &ServiceName,
        (from_us, now_us): (u64, u64),
        standing: &[String],
    ) -> Result<Self, Refusal> {
        let (reading, ids) = (store.clone(), standing.to_vec());
        let alarms = tokio::task::spawn_blocking(move || Alarms::read(&reading, &ids)).await;
        let alarms = alarms.map_err(|_| Refusal::Stopping)??;
        let longest = u64::try_from(LONGEST_SINCE.as_micros()).unwrap_or(u64::MAX);
        let since_us = alarms.since_us().unwrap_or(u64::MAX);
        let since_us = since_us.max(now_us.saturating_sub(longest));
        let from_us = from_us.min(since_us);
        Ok(Self {
            from_us,
            past: Past::read(store, service, from_us, now_us).await?,
            alarms,
        })
    }
}

/// A case of what is remembered and what is past.
pub(crate) fn case(evidence: Evidence, past: &Past) -> Case {
    let topology: Topology = evidence.topology;
    let mut observations = past.observations.clone();
    observations.extend(evidence.observations.iter().map(|o| o.as_ref().clone()));
    let mut sightings = past.reports.clone();
    sightings.extend(evidence.reports.iter().map(|r| r.as_ref().clone()));
    Case {
        topology,
        declared: evidence.declared,
        baselines: past.baselines.clone(),
        observations,
        sightings,
    }
}
