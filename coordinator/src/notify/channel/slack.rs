//! Slack, by an incoming webhook, whose address is the secret.

use reqwest::Url;
use serde_json::{Value, json};

use super::TellError;
use super::post::{To, bytes, post};
use crate::notify::incident::Phase;
use crate::notify::message::{Message, Severity};
use crate::notify::secret::Reference;

/// Characters of a section's text that Slack takes.
const LONGEST: usize = 2900;

/// Where its address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slack {
    /// Holds the address of the incoming webhook.
    pub url: Reference,
}

impl Slack {
    pub(super) async fn tell(&self, message: &Message) -> Result<(), TellError> {
        let secret = self.url.read()?;
        let no_address = || TellError::Address(self.url.to_string());
        let url: Url = secret.expose().parse().map_err(|_| no_address())?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(no_address());
        }
        let to = To {
            url: &url,
            ca_pem: None,
        };
        post(to, &[], bytes(&body(message))).await
    }
}

fn body(message: &Message) -> Value {
    let sign = match (message.phase, message.severity) {
        (Phase::Begun, Severity::Critical) => ":red_circle:",
        (Phase::Begun, Severity::Warning) => ":large_yellow_circle:",
        (Phase::Over, _) => ":white_check_mark:",
    };
    let title = escaped(&message.title);
    let mut text: String = escaped(&message.text()).chars().take(LONGEST).collect();
    text = format!("```{}```", text.replace("```", "'''"));
    let section =
        |text: String| json!({"type": "section", "text": {"type": "mrkdwn", "text": text}});
    let mut blocks = vec![section(format!("{sign} *{title}*")), section(text)];
    blocks.extend(message.link.as_deref().map(|link| {
        let link = format!("<{}|the verdict on its page>", escaped(link));
        json!({"type": "context", "elements": [{"type": "mrkdwn", "text": link}]})
    }));
    json!({"text": format!("{sign} {title}"), "blocks": blocks})
}

/// The three characters that mean something in Slack's text.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_cannot_mention_everybody() {
        let mut message = Message::trial("i-1", 1, None);
        message.title = "<!channel> & \u{1F600}".to_owned();
        message.summary = "``` <@U1>".to_owned();
        let body = body(&message).to_string();
        assert!(body.contains("&lt;!channel&gt; &amp;"), "{body}");
        assert!(
            body.contains("''' &lt;@U1&gt;") && !body.contains("<@"),
            "{body}"
        );
    }
}
