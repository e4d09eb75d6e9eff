//! `/hooks/alertmanager`: an alert of somebody else's starts a localisation of the service that it is about,
//! and is answered with the verdict's link.
//!
//! Alertmanager sends many alerts in one call and repeats a call that was not answered with a status of 200
//! to 299, so a call that was answered before gets its answer again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use localize::ServiceName;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::probe::SINCE;
use super::trouble::Trouble;
use super::{Face, Shared};
use crate::engine::{Event, ServiceView};
use crate::localisation::Wish;

/// Longest localisation; Alertmanager waits for minutes.
const BUDGET: Duration = Duration::from_secs(30);
/// Services of one call: so many localisations run at once.
const SERVICES: usize = 8;
/// Calls whose answers are remembered.
const REMEMBERED: usize = 128;
/// Labels that may say which service an alert is about, the surest first.
const LABELS: [&str; 5] = ["mesh_service", "service", "target", "instance", "host"];

/// What Alertmanager sends (webhook version 4); the fields that matter here.
#[derive(Debug, Deserialize)]
pub(super) struct Call {
    #[serde(default, rename = "groupKey")]
    group: String,
    alerts: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
struct Alert {
    status: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default, rename = "startsAt")]
    starts_at: String,
}

/// Which service it is about, where the alerts' labels do not say.
#[derive(Debug, Deserialize)]
pub(super) struct About {
    service: Option<String>,
}

/// The calls that were answered lately. Cloning is cheap.
#[derive(Clone, Default)]
pub(super) struct Hooked(Arc<Mutex<VecDeque<(String, Value)>>>);

impl Hooked {
    fn answer(&self, call: &str) -> Option<Value> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = known.iter().filter(|(known, _)| known == call);
        known.next().map(|(_, answer)| answer.clone())
    }

    fn keep(&self, call: String, answer: Value) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.pop_front();
        }
        known.push_back((call, answer));
    }
}

pub(super) async fn alertmanager(
    State(face): Shared,
    Query(About { service }): Query<About>,
    Json(call): Json<Call>,
) -> Result<(StatusCode, Json<Value>), Trouble> {
    let firing: Vec<Alert> = call.alerts.into_iter().filter(is_news).collect();
    let known = face.engine.ask(Event::Services).await?;
    let named = |alert: &Alert| named(alert, service.as_deref(), &known);
    let services: BTreeSet<String> = firing.iter().filter_map(named).collect();
    let services: BTreeSet<String> = services.into_iter().take(SERVICES).collect();
    let unknown = firing.iter().filter(|alert| named(alert).is_none()).count();
    let beginnings = firing.iter().map(|alert| alert.starts_at.as_str());
    let beginnings: BTreeSet<&str> = beginnings.collect();
    let this = format!("{} {beginnings:?} {services:?}", call.group);
    if let Some(answer) = face.hooked.answer(&this) {
        return Ok((StatusCode::OK, Json(answer)));
    }
    let page = face
        .notifier
        .page()
        .await
        .ok()
        .flatten()
        .unwrap_or_default();
    let mut under_way = JoinSet::new();
    for name in services {
        let (face, page) = (Arc::clone(&face), page.clone());
        under_way.spawn(async move { localised(&face, name, &page).await });
    }
    let (mut verdicts, mut is_busy) = (Vec::new(), false);
    while let Some(Ok((answer, busy))) = under_way.join_next().await {
        verdicts.push(answer);
        is_busy |= busy;
    }
    let answer = json!({"verdicts": verdicts, "alerts_of_no_known_service": unknown});
    if is_busy {
        return Ok((StatusCode::SERVICE_UNAVAILABLE, Json(answer)));
    }
    face.hooked.keep(this, answer.clone());
    Ok((StatusCode::OK, Json(answer)))
}

/// Whether an alert is one to act upon: it fires, and is not this mesh's own.
fn is_news(alert: &Alert) -> bool {
    alert.status == "firing" && !alert.labels.contains_key("incident")
}

/// The service that an alert is about: by its name, else by the host of its address.
fn named(alert: &Alert, said: Option<&str>, known: &[ServiceView]) -> Option<String> {
    let labels = LABELS.iter().filter_map(|label| alert.labels.get(*label));
    let said: Vec<&str> = said.into_iter().chain(labels.map(String::as_str)).collect();
    let is_host = |text: &str, service: &ServiceView| host(text) == host(&service.url);
    let by_name = |text: &&str| {
        let mut known = known.iter();
        known.find(|service| service.topology.service.0 == **text)
    };
    let by_host = |text: &&str| known.iter().find(|service| is_host(text, service));
    let found = said.iter().find_map(by_name);
    let found = found.or_else(|| said.iter().find_map(by_host))?;
    Some(found.topology.service.0.clone())
}

/// The host in an address, or in what a label has in its place: `shop.example:443`.
fn host(text: &str) -> String {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match rest.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => rest.split(':').next(),
    };
    host.unwrap_or_default().to_ascii_lowercase()
}

/// What a localisation came to, and whether it could not even begin for now.
async fn localised(face: &Face, service: String, page: &str) -> (Value, bool) {
    let wish = Wish::new(ServiceName(service.clone()), BUDGET, SINCE);
    match face.localised(wish).await {
        Ok(verdict) => {
            let summary = verdict.faults.first().map(|fault| fault.summary.clone());
            let answer = json!({
                "service": service, "id": verdict.id, "outcome": verdict.outcome,
                "summary": summary, "link": format!("{page}/verdicts/{}", verdict.id),
            });
            (answer, false)
        }
        Err(trouble) => {
            let again = [
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::SERVICE_UNAVAILABLE,
            ];
            let is_busy = again.contains(&trouble.status());
            (
                json!({"service": service, "error": trouble.to_string()}),
                is_busy,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_in_labels() {
        let rows = [
            ("https://Shop.example/path?x=1", "shop.example"),
            ("shop.example:443", "shop.example"),
            ("http://[2001:db8::1]:80/", "2001:db8::1"),
            ("shop.example", "shop.example"),
        ];
        for (text, expected) in rows {
            assert_eq!(host(text), expected, "{text}");
        }
    }

    #[test]
    fn our_own_alerts_and_those_that_are_over_start_nothing() {
        let text = r#"{"version": "4", "groupKey": "{}", "status": "firing", "alerts": [
            {"status": "firing", "labels": {"alertname": "SlowShop", "service": "shop"}, "startsAt": "2026-01-01T00:00:00Z"},
            {"status": "resolved", "labels": {"service": "shop"}},
            {"status": "firing", "labels": {"alertname": "MeshFault", "incident": "i-1", "service": "shop"}}]}"#;
        let call: Call = serde_json::from_str(text).unwrap();
        let news: Vec<bool> = call.alerts.iter().map(is_news).collect();
        assert_eq!(news, [true, false, false]);
    }
}
