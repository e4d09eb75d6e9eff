//! `/metrics`: what is known at the moment of the scrape, in OpenMetrics.
//!
//! Labels are bounded by what operators declare: services, agents, backends. No URL, no address and no
//! verdict's id is one.

mod classic;
pub(super) mod families;

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use localize::{Component, ServiceName, VantageName};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::trouble::Trouble;
use super::{Face, Shared};
use crate::engine::{AgentView, Event, ServiceView, Status, Tally, Unasked};
use crate::mended::named;
use crate::notify;
use crate::store::Store;

/// OpenMetrics 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The text that came before it, which every other reader knows.
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics with the form that they are in.
pub(super) type Exposition = ([(HeaderName, &'static str); 1], String);

/// Everything that a scrape tells.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) status: Status,
    pub(super) agents: Vec<AgentView>,
    pub(super) services: Vec<ServiceView>,
    pub(super) tally: Tally,
    /// What alarms stand on, counted by service, kind and mode.
    pub(super) standing: BTreeMap<(ServiceName, &'static str, String), u64>,
    pub(super) stored: u64,
    /// What agents said unasked, by agent and why it does not count.
    pub(super) unasked: BTreeMap<(VantageName, Unasked), u64>,
    pub(super) store_bytes: u64,
    pub(super) notified: notify::Tally,
}

pub(super) async fn metrics(
    State(face): Shared,
    headers: HeaderMap,
) -> Result<Exposition, Trouble> {
    let snapshot = snapshot(&face).await?;
    exposition(snapshot, &headers)
}

/// What a collector tells, in the form that whoever asks can read.
pub(super) fn exposition(
    collector: impl Collector,
    headers: &HeaderMap,
) -> Result<Exposition, Trouble> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    let mut written = String::new();
    match text::encode(&mut written, &registry) {
        Ok(()) if reads_open_metrics(headers) => {
            Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], written))
        }
        Ok(()) => Ok((
            [(header::CONTENT_TYPE, CLASSIC)],
            classic::classic(&written),
        )),
        Err(error) => Err(Trouble::Page(error.to_string())),
    }
}

fn reads_open_metrics(headers: &HeaderMap) -> bool {
    let said = headers.get_all(header::ACCEPT).into_iter();
    let mut said = said.filter_map(|value| value.to_str().ok());
    said.any(|value| value.contains("application/openmetrics-text"))
}

async fn snapshot(face: &Face) -> Result<Snapshot, Trouble> {
    let engine = &face.engine;
    let services = engine.ask(Event::Services).await?;
    let alarms: Vec<(ServiceName, Vec<String>)> = services
        .iter()
        .map(|service| (service.topology.service.clone(), service.standing.clone()))
        .collect();
    let read = |store: &Store| {
        let mut standing = BTreeMap::new();
        for (service, ids) in alarms {
            for id in ids {
                let verdict = store.verdict(&id)?;
                for (Component { kind, .. }, mode) in verdict.iter().flat_map(named) {
                    let key = (service.clone(), proto::words::kind(kind), mode);
                    *standing.entry(key).or_default() += 1;
                }
            }
        }
        Ok((standing, store.size_on_disk()?))
    };
    let (standing, store_bytes) = face.read(read).await?;
    Ok(Snapshot {
        status: engine.ask(Event::Status).await?,
        agents: engine.ask(Event::Agents).await?,
        services,
        tally: engine.ask(Event::Tally).await?,
        standing,
        stored: face.store.stored_count(),
        unasked: engine.unasked(),
        store_bytes,
        notified: face.notifier.tally().await.map_err(|_| Trouble::Stopping)?,
    })
}
