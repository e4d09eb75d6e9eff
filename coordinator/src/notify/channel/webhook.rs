//! An HTTP endpoint of the operator's own, signed as Standard Webhooks says
//! (github.com/standard-webhooks/standard-webhooks, spec version 1.0.0): `webhook-id` is the same at every
//! attempt, so that whoever keeps the ids takes each message once.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;
use ring::hmac;
use serde_json::{Value, json};

use super::TellError;
use super::post::{To, bytes, post};
use crate::notify::message::Message;
use crate::notify::secret::{Reference, Secret};

/// What secrets of Standard Webhooks begin with; base64 follows.
const ENCODED: &str = "whsec_";

/// Where, and what it is signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The address.
    pub url: Url,
    /// What it is signed with; unsigned without.
    pub secret: Option<Reference>,
    /// The value of the header Authorization.
    pub authorization: Option<Reference>,
    /// Further trust anchors.
    pub ca_pem: Option<String>,
}

impl Webhook {
    pub(super) async fn tell(&self, message: &Message, now_us: u64) -> Result<(), TellError> {
        let body = bytes(&body(message));
        let secret = self.secret.as_ref().map(Reference::read).transpose()?;
        let authorization = self
            .authorization
            .as_ref()
            .map(Reference::read)
            .transpose()?;
        let seconds = (now_us / 1_000_000).to_string();
        let mut headers = vec![
            ("webhook-id", message.id.as_str()),
            ("webhook-timestamp", seconds.as_str()),
            ("idempotency-key", message.id.as_str()),
        ];
        let signature = secret.map(|secret| signature(&secret, &message.id, &seconds, &body));
        headers.extend(
            signature
                .as_deref()
                .map(|signed| ("webhook-signature", signed)),
        );
        let authorization = authorization.as_ref().map(Secret::expose);
        headers.extend(authorization.map(|value| ("authorization", value)));
        let to = To {
            url: &self.url,
            ca_pem: self.ca_pem.as_deref(),
        };
        post(to, &headers, body).await
    }
}

/// What is sent. It only grows.
fn body(message: &Message) -> Value {
    json!({
        "schema": 1,
        "id": message.id,
        "event": message.phase.word(),
        "incident": message.incident,
        "title": message.title,
        "summary": message.summary,
        "text": message.text(),
        "severity": message.severity.word(),
        "services": message.services,
        "component": {"kind": message.kind, "name": message.component},
        "mode": message.mode,
        "began_at": message.began_at,
        "over_at": Some(&message.over_at).filter(|at| !at.is_empty()),
        "link": message.link,
        "verdict": message.verdict,
    })
}

/// `v1,` and the HMAC-SHA256 of id, time and body in base64.
fn signature(secret: &Secret, id: &str, seconds: &str, body: &[u8]) -> String {
    let text = secret.expose();
    let encoded = text.strip_prefix(ENCODED);
    let decoded = encoded.and_then(|text| BASE64_STANDARD.decode(text).ok());
    let key = decoded.unwrap_or_else(|| text.as_bytes().to_vec());
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
    for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
        context.update(part);
    }
    format!("v1,{}", BASE64_STANDARD.encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own test vectors.
    #[test]
    fn it_is_signed_as_the_specification_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secret = Reference::parse(&format!("file:{}", path.display())).unwrap();
        let signed = signature(
            &secret.read().unwrap(),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
