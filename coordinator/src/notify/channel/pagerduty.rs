//! PagerDuty, by its Events API v2. Beginning and end carry one `dedup_key`, so that a repeat is harmless.

use reqwest::Url;
use serde_json::{Map, Value, json};

use super::TellError;
use super::post::{To, bytes, post};
use crate::notify::incident::Phase;
use crate::notify::message::Message;
use crate::notify::secret::Reference;

/// Where events go unless told otherwise.
pub const EVENTS: &str = "https://events.pagerduty.com/v2/enqueue";
/// Longest summary that it takes, in characters.
const LONGEST: usize = 1024;

/// Which integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PagerDuty {
    /// Where events go.
    pub url: Url,
    /// The key of the integration.
    pub routing_key: Reference,
    /// Further trust anchors.
    pub ca_pem: Option<String>,
}

impl PagerDuty {
    pub(super) async fn tell(&self, message: &Message) -> Result<(), TellError> {
        let key = self.routing_key.read()?;
        let mut event = event(message);
        event["routing_key"] = json!(key.expose());
        let to = To {
            url: &self.url,
            ca_pem: self.ca_pem.as_deref(),
        };
        post(to, &[], bytes(&event)).await
    }
}

fn event(message: &Message) -> Value {
    let action = match message.phase {
        Phase::Begun => "trigger",
        Phase::Over => "resolve",
    };
    let mut event = json!({
        "event_action": action,
        "dedup_key": message.incident,
        "client": "mesh",
        "payload": {
            "summary": message.title.chars().take(LONGEST).collect::<String>(),
            "source": message.service,
            "severity": message.severity.word(),
            "timestamp": message.began_at,
            "component": message.component,
            "group": message.services.join(", "),
            "class": message.mode,
            "custom_details": details(message),
        },
    });
    if let Some(link) = &message.link {
        event["client_url"] = json!(link);
        event["links"] = json!([{"href": link, "text": "the verdict on its page"}]);
    }
    event
}

fn details(message: &Message) -> Value {
    let mut details = Map::new();
    details.insert("Summary".to_owned(), json!(message.summary));
    for (name, _) in &message.details {
        details.insert((*name).to_owned(), json!(message.detail(name)));
    }
    details.insert("Verdict".to_owned(), json!(message.verdict_id));
    details.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_resolves_what_the_beginning_has_triggered() {
        let begun = Message::trial("i-1", 1, Some("http://mesh.example"));
        let over = Message {
            phase: Phase::Over,
            ..begun.clone()
        };
        let (begun, over) = (event(&begun), event(&over));
        assert_eq!(
            (&begun["event_action"], &over["event_action"]),
            (&json!("trigger"), &json!("resolve"))
        );
        assert_eq!(begun["dedup_key"], over["dedup_key"]);
        assert_eq!(begun["payload"]["severity"], "warning");
        assert_eq!(begun["links"][0]["href"], "http://mesh.example");
    }
}
