//! The join token: where the coordinator is, how to know it, and a secret that works once.

use core::fmt;
use core::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// First characters of a token, with the version of its form.
const PREFIX: &str = "mesh1.";
/// A token with sixteen addresses stays under this.
const MAX_LENGTH: usize = 4096;

/// Everything that an agent needs to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinToken {
    /// `HOST:PORT` of the coordinator, tried in this order.
    #[serde(rename = "a")]
    pub addresses: Vec<String>,
    /// SHA-256 of the certificate of the mesh's authority (DER), in lower-case hexadecimal.
    #[serde(rename = "c")]
    pub ca_sha256: String,
    /// The name that the agent will have.
    #[serde(rename = "n")]
    pub name: String,
    /// 32 random bytes in hexadecimal. The coordinator keeps only their SHA-256.
    #[serde(rename = "s")]
    pub secret: String,
}

/// Why a text is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It does not begin as tokens do.
    #[error(
        "this is not a join token (they begin with {PREFIX}); make one with `meshctl agent token`"
    )]
    NotAToken,
    /// It begins like one and cannot be read.
    #[error(
        "the join token is damaged ({0}); copy it whole, or make a new one with `meshctl agent token`"
    )]
    Damaged(&'static str),
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(self).map_err(|_| fmt::Error)?;
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let body = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or(TokenError::NotAToken)?;
        if body.len() > MAX_LENGTH {
            return Err(TokenError::Damaged("too long"));
        }
        let json = URL_SAFE_NO_PAD
            .decode(body)
            .map_err(|_| TokenError::Damaged("not base64"))?;
        let token: Self =
            serde_json::from_slice(&json).map_err(|_| TokenError::Damaged("cut short"))?;
        let is_hash = |text: &str| hex::decode(text).is_ok_and(|bytes| bytes.len() == 32);
        if token.addresses.is_empty() {
            return Err(TokenError::Damaged("no address"));
        }
        if !is_hash(&token.ca_sha256) || !is_hash(&token.secret) {
            return Err(TokenError::Damaged("fingerprint or secret"));
        }
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            addresses: vec!["192.0.2.1:7443".into()],
            ca_sha256: "ab".repeat(32),
            name: "home1".into(),
            secret: "01".repeat(32),
        }
    }

    #[test]
    fn round_trip() {
        let text = token().to_string();
        assert_eq!(text.parse::<JoinToken>().expect("a token"), token());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cut = &token().to_string()[..40];
        let bad = JoinToken {
            secret: "xyz".into(),
            ..token()
        }
        .to_string();
        for (text, says) in [
            ("hello", "not a join token"),
            ("mesh1.!!", "not base64"),
            (cut, "damaged"),
            (bad.as_str(), "fingerprint or secret"),
        ] {
            let error = text.parse::<JoinToken>().expect_err("no token").to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
