//! The context file: what meshctl needs to talk to a coordinator.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Contents of `admin.toml` and of `~/.config/meshctl/context.toml`; mode 0600, for it holds a key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// `HOST:PORT` of the coordinator, tried in this order.
    pub addresses: Vec<String>,
    /// The mesh's authority, PEM.
    pub ca: String,
    /// The operator's certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
}

/// Without the key: a context may end up in a log.
impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("addresses", &self.addresses)
            .field("ca", &self.ca)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// The file's text.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let text = |text: &String| toml::Value::String(text.clone());
        let addresses = self.addresses.iter().map(text).collect();
        let table = toml::Table::from_iter([
            ("addresses".to_owned(), toml::Value::Array(addresses)),
            ("ca".to_owned(), text(&self.ca)),
            ("certificate".to_owned(), text(&self.certificate)),
            ("key".to_owned(), text(&self.key)),
        ]);
        table.to_string()
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// Says line and field of what is missing, unknown or of another type.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        let pem =
            |label: &str| format!("-----BEGIN {label}-----\nMIIB+/=\n-----END {label}-----\n");
        Context {
            addresses: vec!["127.0.0.1:7443".into(), "[2001:db8::1]:7443".into()],
            ca: pem("CERTIFICATE"),
            certificate: pem("CERTIFICATE"),
            key: pem("PRIVATE KEY"),
        }
    }

    #[test]
    fn round_trip() {
        let text = context().to_toml();
        assert_eq!(Context::from_toml(&text).unwrap(), context(), "{text}");
        assert!(
            text.contains("key = \"\"\"\n-----BEGIN PRIVATE KEY-----\n"),
            "{text}"
        );
    }

    #[test]
    fn bad_files_name_the_field() {
        let good = context().to_toml();
        for (text, says) in [
            ("", "missing field `addresses`"),
            ("addresses = \"127.0.0.1:7443\"", "expected a sequence"),
            (&format!("{good}\nport = 1"), "unknown field `port`"),
        ] {
            let error = Context::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_key_is_not_printed() {
        let text = format!("{:?}", context());
        assert!(text.contains("7443") && !text.contains("PRIVATE"), "{text}");
    }
}
