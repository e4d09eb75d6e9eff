//! Who a certificate says its holder is: one SPIFFE URI (SPIFFE-ID section 2).

use core::fmt;
use core::str::FromStr;

/// The trust domain and scheme of every identity of a mesh.
const PREFIX: &str = "spiffe://mesh/";

/// The holder of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// An agent, by the name of its vantage point.
    Agent(String),
    /// A person or a script with meshctl.
    Operator(String),
    /// The coordinator.
    Coordinator,
}

/// A URI that names nobody of a mesh.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identity of a mesh: {0:?}")]
pub struct NotAnIdentity(pub String);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) => write!(f, "{PREFIX}agent/{name}"),
            Self::Operator(name) => write!(f, "{PREFIX}operator/{name}"),
            Self::Coordinator => write!(f, "{PREFIX}coordinator"),
        }
    }
}

impl FromStr for Identity {
    type Err = NotAnIdentity;

    fn from_str(uri: &str) -> Result<Self, NotAnIdentity> {
        let refused = || NotAnIdentity(uri.chars().take(200).collect());
        let path = uri.strip_prefix(PREFIX).ok_or_else(refused)?;
        match path.split_once('/') {
            None if path == "coordinator" => Ok(Self::Coordinator),
            Some(("agent", name)) if is_name(name) => Ok(Self::Agent(name.to_string())),
            Some(("operator", name)) if is_name(name) => Ok(Self::Operator(name.to_string())),
            Some(_) | None => Err(refused()),
        }
    }
}

/// A path segment of a SPIFFE ID (section 2.2) that fits a DNS label: `.` and `..` are none.
pub(crate) fn is_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for identity in [
            Identity::Agent("home1".into()),
            Identity::Operator("admin".into()),
            Identity::Coordinator,
        ] {
            assert_eq!(identity.to_string().parse(), Ok(identity));
        }
    }

    #[test]
    fn others_are_refused() {
        for uri in [
            "",
            "spiffe://mesh/",
            "spiffe://mesh/agent/",
            "spiffe://mesh/agent/..",
            "spiffe://mesh/agent/a/b",
            "spiffe://mesh/coordinator/",
            "SPIFFE://mesh/coordinator",
            "spiffe://other/agent/a",
            "spiffe://mesh/root/a",
        ] {
            assert!(uri.parse::<Identity>().is_err(), "{uri}");
        }
    }
}
