//! The join token: where the coordinator is, how to know it, and a secret that works once.

use core::fmt;
use core::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::identity::is_name;

/// First characters of a token, with the version of its form.
const PREFIX: &str = "mesh1.";
/// As many addresses as anybody would try.
pub const MAX_ADDRESSES: usize = 16;
/// A token with sixteen addresses stays under this.
const MAX_LENGTH: usize = 4096;

/// Everything that an agent needs to join.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Without the secret: a token may end up in a log.
impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("addresses", &self.addresses)
            .field("ca_sha256", &self.ca_sha256)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
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
        let token: Self = serde_json::from_slice(&json)
            .map_err(|_| TokenError::Damaged("cut short or mistyped"))?;
        let is_hash = |text: &str| hex::decode(text).is_ok_and(|bytes| bytes.len() == 32);
        if token.addresses.is_empty() || token.addresses.len() > MAX_ADDRESSES {
            return Err(TokenError::Damaged("no address, or more than 16"));
        }
        if !token.addresses.iter().all(|text| is_address(text)) {
            return Err(TokenError::Damaged("an address is not HOST:PORT"));
        }
        if !is_name(&token.name) {
            return Err(TokenError::Damaged("the agent's name"));
        }
        if !is_hash(&token.ca_sha256) || !is_hash(&token.secret) {
            return Err(TokenError::Damaged("fingerprint or secret"));
        }
        Ok(token)
    }
}

/// Whether it is `HOST:PORT`, an IPv6 address in brackets.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let is_host = match host.strip_prefix('[') {
        Some(inner) => inner
            .strip_suffix(']')
            .is_some_and(|ip| ip.parse::<core::net::Ipv6Addr>().is_ok()),
        None => {
            !host.is_empty()
                && host.len() <= 253
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        }
    };
    is_host && port.parse().is_ok_and(|port: u16| port != 0)
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
        let bad = |change: fn(&mut JoinToken)| {
            let mut token = token();
            change(&mut token);
            token.to_string()
        };
        let long = format!("mesh1.{}", "A".repeat(5000));
        let other_version = token().to_string().replacen("mesh1", "mesh2", 1);
        for (text, says) in [
            ("hello", "not a join token"),
            ("mesh1.!!", "not base64"),
            (cut, "damaged"),
            ("mesh1.", "cut short"),
            ("mesh1.e30", "cut short"),
            (&other_version, "not a join token"),
            (&long, "too long"),
            (&bad(|t| t.secret = "xyz".into()), "fingerprint or secret"),
            (&bad(|t| t.ca_sha256.truncate(62)), "fingerprint or secret"),
            (&bad(|t| t.name = "a/b".into()), "the agent's name"),
            (&bad(|t| t.addresses.clear()), "no address"),
            (
                &bad(|t| t.addresses = vec!["a:1".into(); 17]),
                "more than 16",
            ),
            (
                &bad(|t| t.addresses[0] = "192.0.2.1".into()),
                "not HOST:PORT",
            ),
            (
                &bad(|t| t.addresses[0] = "mesh.example:0".into()),
                "not HOST:PORT",
            ),
            (
                &bad(|t| t.addresses[0] = "2001:db8::1:7443".into()),
                "not HOST:PORT",
            ),
        ] {
            let error = text.parse::<JoinToken>().expect_err("no token").to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(error.contains("meshctl agent token"), "{error}");
        }
    }

    #[test]
    fn addresses_of_every_form() {
        for address in ["192.0.2.1:7443", "[2001:db8::1]:7443", "mesh.example:443"] {
            let token = JoinToken {
                addresses: vec![address.into()],
                ..token()
            };
            // Pasted with a line break, as from a terminal.
            let text = format!(" {token}\n");
            assert_eq!(text.parse::<JoinToken>().unwrap(), token);
        }
    }

    #[test]
    fn the_secret_is_not_printed() {
        let text = format!("{:?}", token());
        assert!(text.contains("home1") && !text.contains("0101"), "{text}");
    }
}
