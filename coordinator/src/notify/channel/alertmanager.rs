//! Prometheus' Alertmanager, by its API v2 (`POST /api/v2/alerts`). It forgets alerts that are not told again,
//! and all of them when it is restarted, so they are told again each minute until they are over, as
//! Prometheus does.

use reqwest::Url;
use serde_json::{Value, json};

use super::TellError;
use super::post::{To, bytes, post};
use crate::clock::rfc3339;
use crate::notify::desk::REPEAT_US;
use crate::notify::incident::Phase;
use crate::notify::message::Message;
use crate::notify::secret::{Reference, Secret};

/// An alert counts for so many repetitions after the last, as Prometheus has it.
const REPETITIONS: u64 = 4;

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alertmanager {
    /// Its address as a browser has it, without `/api/v2`.
    pub url: Url,
    /// The value of the header Authorization.
    pub authorization: Option<Reference>,
    /// Further trust anchors.
    pub ca_pem: Option<String>,
}

impl Alertmanager {
    pub(super) async fn tell(&self, message: &Message, now_us: u64) -> Result<(), TellError> {
        let authorization = self
            .authorization
            .as_ref()
            .map(Reference::read)
            .transpose()?;
        let authorization = authorization.as_ref().map(Secret::expose);
        let headers: Vec<_> = authorization
            .map(|value| ("authorization", value))
            .into_iter()
            .collect();
        let mut url = self.url.clone();
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{path}/api/v2/alerts"));
        let to = To {
            url: &url,
            ca_pem: self.ca_pem.as_deref(),
        };
        post(to, &headers, bytes(&alerts(message, now_us))).await
    }
}

/// Labels are who it is, and stay the same until it is over; what may be said better later is an annotation.
fn alerts(message: &Message, now_us: u64) -> Value {
    let ends_at = match message.phase {
        Phase::Begun => rfc3339(now_us.saturating_add(REPETITIONS * REPEAT_US)),
        Phase::Over => message.over_at.clone(),
    };
    let mut labels = json!({
        "alertname": "MeshFault",
        "severity": message.severity.word(),
        "service": message.service,
        "kind": message.kind,
        "incident": message.incident,
    });
    if !message.component.is_empty() {
        labels["component"] = json!(message.component);
    }
    json!([{
        "labels": labels,
        "annotations": {
            "summary": message.title,
            "description": message.text(),
            "mode": message.mode,
            "services": message.services.join(", "),
        },
        "startsAt": message.began_at,
        "endsAt": ends_at,
        "generatorURL": message.link.clone().unwrap_or_default(),
    }])
}
