//! The context file: what meshctl needs to talk to a coordinator.

use serde::{Deserialize, Serialize};

/// Contents of `admin.toml` and of `~/.config/meshctl/context.toml`; mode 0600, for it holds a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

impl Context {
    /// The file's text.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// Says line and field of what is missing, unknown or of another type.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}
