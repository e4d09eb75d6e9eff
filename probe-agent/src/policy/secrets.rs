//! Which of its variables and files the host puts into requests.
//!
//! A service file names them, and so does whoever holds the coordinator: what they may name is the
//! host's to say, or a captured coordinator could have everything that the agent can read.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use proto::spec::{MAX_VALUE, Value, is_sendable};
use thiserror::Error;

/// The folder in the data folder whose files are given out without more ado.
const FOLDER: &str = "secrets";
/// The agent's own variables, among them its join token, are nobody's.
const OWN: &str = "MESH_";

/// What the host gives out.
#[derive(Clone, Debug)]
pub struct Secrets(Given);

#[derive(Clone, Debug)]
enum Given {
    /// The variables of the agent's environment but for its own, and the files of one folder.
    Usual(Option<PathBuf>),
    /// What `policy.toml` lists, and nothing else.
    Listed {
        variables: Vec<String>,
        paths: Vec<PathBuf>,
    },
}

/// Why there is no value to send.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The variable is not there.
    #[error("env:{0} is not set in the agent's environment")]
    NotSet(String),
    /// The file cannot be read.
    #[error("file:{} cannot be read: {source}", .path.display())]
    Unreadable {
        /// The path as the service file has it.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The host does not give it out.
    #[error(
        "{0} is not given out by this host: to send it write secrets = [\"{0}\"] into policy.toml"
    )]
    Withheld(Value),
    /// Its value would not arrive as it is.
    #[error(
        "the value of {0} cannot stand in a header: it is empty, longer than {MAX_VALUE} bytes, or \
         holds something other than visible ASCII characters and blanks in one line"
    )]
    Unsendable(Value),
}

impl Secrets {
    /// What is given out without a word of the policy.
    pub(super) fn usual(data_dir: Option<&Path>) -> Self {
        Self(Given::Usual(data_dir.map(|folder| folder.join(FOLDER))))
    }

    /// What the policy lists; `None` when something of it is no reference.
    pub(super) fn listed(texts: &[String]) -> Option<Self> {
        let (mut variables, mut paths) = (Vec::new(), Vec::new());
        for text in texts {
            match Value::parse(text).ok()? {
                Value::Env(name) => variables.push(name),
                Value::File(path) => paths.push(path),
                Value::Literal(_) => return None,
            }
        }
        Some(Self(Given::Listed { variables, paths }))
    }

    /// The value that stands for what a service file says; a file's without the end of its line.
    ///
    /// # Errors
    /// When there is none, or the host does not give it out. No error holds a value.
    pub fn value(&self, written: &Value) -> Result<String, SecretError> {
        let value = match written {
            Value::Literal(text) => return Ok(text.clone()),
            Value::Env(name) if self.gives_variable(name) => {
                let value = std::env::var_os(name);
                let value = value.ok_or_else(|| SecretError::NotSet(name.clone()))?;
                value.into_string().unwrap_or_default()
            }
            Value::Env(_) => return Err(SecretError::Withheld(written.clone())),
            Value::File(path) => {
                let unreadable = |source| SecretError::Unreadable {
                    path: path.clone(),
                    source,
                };
                let real = fs::canonicalize(path).map_err(unreadable)?;
                if !self.gives_file(&real) {
                    return Err(SecretError::Withheld(written.clone()));
                }
                read(&real).map_err(unreadable)?
            }
        };
        match !value.is_empty() && is_sendable(&value) {
            true => Ok(value),
            false => Err(SecretError::Unsendable(written.clone())),
        }
    }

    fn gives_variable(&self, name: &str) -> bool {
        match &self.0 {
            Given::Usual(_) => !name.starts_with(OWN),
            Given::Listed { variables, .. } => variables.iter().any(|given| given == name),
        }
    }

    /// `real` has no links in it, and neither has what it is compared with: a link in a folder that is given
    /// out leads nowhere else.
    fn gives_file(&self, real: &Path) -> bool {
        let holds = |given: &PathBuf| {
            let given = fs::canonicalize(given);
            given.is_ok_and(|given| real.starts_with(given))
        };
        match &self.0 {
            Given::Usual(folder) => folder.iter().any(holds),
            Given::Listed { paths, .. } => paths.iter().any(holds),
        }
    }
}

/// Reads no more than may be sent, and nothing that could keep the agent waiting.
fn read(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    // Room for the end of the line, and for one byte too many.
    let room = u64::try_from(MAX_VALUE + 3).unwrap_or(u64::MAX);
    File::open(path)?.take(room).read_to_string(&mut text)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn value(secrets: &Secrets, written: &str) -> Result<String, String> {
        let written = Value::parse(written).unwrap();
        secrets.value(&written).map_err(|error| error.to_string())
    }

    fn listed(texts: &[&str]) -> Secrets {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        Secrets::listed(&texts).unwrap()
    }

    /// Cargo sets the variable for every test.
    #[test]
    fn variables_are_given_out_but_for_the_agent_s_own() {
        let usual = Secrets::usual(None);
        let package = Ok("probe-agent".to_owned());
        assert_eq!(value(&usual, "env:CARGO_PKG_NAME"), package);
        assert_eq!(value(&usual, "plain"), Ok("plain".to_owned()));
        let one = listed(&["env:CARGO_PKG_NAME"]);
        assert_eq!(value(&one, "env:CARGO_PKG_NAME"), package);
        let rows = [
            (
                &usual,
                "env:NO_SUCH_VARIABLE",
                "env:NO_SUCH_VARIABLE is not set in the agent's environment",
            ),
            (
                &usual,
                "env:MESH_JOIN_TOKEN",
                "env:MESH_JOIN_TOKEN is not given out by this host: to send it write secrets = \
                 [\"env:MESH_JOIN_TOKEN\"] into policy.toml",
            ),
            (&one, "env:PATH", "env:PATH is not given out by this host"),
        ];
        for (secrets, written, sentence) in rows {
            let error = value(secrets, written).unwrap_err();
            assert!(error.starts_with(sentence), "{error}");
        }
    }

    #[test]
    fn files_are_given_out_where_the_host_says() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join(FOLDER);
        fs::create_dir(&folder).unwrap();
        fs::write(data.path().join("identity.json"), "key").unwrap();
        fs::write(folder.join("token"), "Bearer abc\r\n").unwrap();
        symlink("../identity.json", folder.join("link")).unwrap();
        let written = |name: &str| format!("file:{}/{name}", data.path().display());
        let usual = Secrets::usual(Some(data.path()));
        assert_eq!(
            value(&usual, &written("secrets/token")),
            Ok("Bearer abc".into())
        );
        let opened = listed(&[&written("identity.json")]);
        assert_eq!(value(&opened, &written("identity.json")), Ok("key".into()));
        assert_eq!(value(&opened, &written("secrets/link")), Ok("key".into()));
        let rows = [
            (&usual, "identity.json", "is not given out by this host"),
            (&usual, "secrets/link", "is not given out by this host"),
            (&usual, "secrets/none", "cannot be read: No such file"),
            (&usual, "secrets", "cannot be read: it is no regular file"),
            (&opened, "secrets/token", "is not given out by this host"),
            (&Secrets::usual(None), "secrets/token", "is not given out"),
        ];
        for (secrets, name, sentence) in rows {
            let error = value(secrets, &written(name)).unwrap_err();
            assert!(error.contains(sentence), "{name}: {error}");
        }
    }

    #[test]
    fn a_value_that_would_not_arrive_is_not_sent() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join(FOLDER);
        fs::create_dir(&folder).unwrap();
        let long = "x".repeat(MAX_VALUE + 1);
        for text in ["", "\n", "a\nb", "a\r\nX: b\n", "grüße", " a", &long] {
            fs::write(folder.join("token"), text).unwrap();
            let written = format!("file:{}", folder.join("token").display());
            let error = value(&Secrets::usual(Some(data.path())), &written).unwrap_err();
            assert!(
                error.contains("cannot stand in a header"),
                "{text:?}: {error}"
            );
        }
    }
}
