//! Secrets of receivers: the configuration says where they are, and each use reads them anew, so that one
//! can be changed without a restart. They are in no file of ours, no log and no message.

use std::fmt;

use proto::spec::Value;
use thiserror::Error;

/// Where a secret is.
#[derive(Clone, PartialEq, Eq)]
pub struct Reference(Value);

/// Why there is no secret.
#[derive(Debug, Error)]
pub enum SecretError {
    /// It stands in the configuration itself.
    #[error("a secret is not written down here: say where it is, as env:NAME or file:/PATH")]
    Literal,
    /// The reference makes no sense.
    #[error("{0}")]
    Malformed(String),
    /// The environment has no such variable.
    #[error("there is no variable {0} in the coordinator's environment")]
    NoVariable(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(Reference),
}

/// A secret. It shows itself to nobody.
pub struct Secret(String);

impl Reference {
    /// `env:NAME` or `file:PATH`.
    ///
    /// # Errors
    /// For anything else: a literal is no reference.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        match Value::parse(text) {
            Ok(Value::Literal(_)) => Err(SecretError::Literal),
            Ok(value) => Ok(Self(value)),
            Err(flaw) => Err(SecretError::Malformed(flaw.to_string())),
        }
    }

    /// The secret as it is at present, without the line break at its end.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let text = match &self.0 {
            Value::Literal(_) => return Err(SecretError::Literal),
            Value::Env(name) => {
                std::env::var(name).map_err(|_| SecretError::NoVariable(name.clone()))?
            }
            Value::File(path) => {
                std::fs::read_to_string(path).map_err(|source| SecretError::File {
                    path: path.display().to_string(),
                    source,
                })?
            }
        };
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(SecretError::Empty(self.clone())),
            text => Ok(Secret(text.to_owned())),
        }
    }
}

impl Secret {
    /// Its text, for the one request that it is for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_somewhere_else() {
        let said = Reference::parse("hunter2").unwrap_err().to_string();
        assert!(
            said.contains("say where it is") && !said.contains("hunter2"),
            "{said}"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let reference = Reference::parse(&format!("file:{}", path.display())).unwrap();
        let missing = reference.read().unwrap_err().to_string();
        assert!(missing.starts_with("cannot read "), "{missing}");
        std::fs::write(&path, "\n").unwrap();
        assert!(
            reference
                .read()
                .unwrap_err()
                .to_string()
                .ends_with("is empty")
        );
        std::fs::write(&path, "hunter2\n").unwrap();
        let secret = reference.read().unwrap();
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        let nowhere = Reference::parse("env:NO_SUCH_VARIABLE_HERE").unwrap();
        assert!(nowhere.read().is_err());
    }
}
