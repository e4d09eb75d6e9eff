//! The context file: which coordinator, and with which certificate.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use proto::context::Context;

/// Why there is no context to work with.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// No file where it was looked for.
    #[error(
        "no context file at {path} ({origin}). `mesh-coordinator run --data-dir DIR` writes one to \
         DIR/admin.toml: copy it there, or name it with --context or $MESHCTL_CONTEXT."
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// Why there.
        origin: Origin,
    },
    /// Neither an option nor an environment variable says where.
    #[error(
        "no context file: give --context FILE or set $MESHCTL_CONTEXT ($HOME is not set, so there is \
         no default). `mesh-coordinator run --data-dir DIR` writes one to DIR/admin.toml."
    )]
    NoHome,
    /// Group or others can read the private key.
    #[error(
        "context file {path} holds a private key and others can read it (mode {mode:04o}): refused. \
         Run `chmod 600 {path}`."
    )]
    ReadableByOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is there and cannot be read.
    #[error("cannot read context file {path}: {source}.")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not the TOML that is expected.
    #[error(
        "context file {path} is not as `mesh-coordinator run` writes it: {}. Copy DIR/admin.toml of \
         the coordinator again.", source.message()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: Box<toml::de::Error>,
    },
    /// `addresses` is empty.
    #[error("context file {path} names no coordinator: put its HOST:PORT into `addresses`.")]
    NoAddress {
        /// The file.
        path: PathBuf,
    },
}

/// Why a context file is looked for where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `--context`.
    Option,
    /// `$MESHCTL_CONTEXT`.
    Environment,
    /// Neither was given.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Option => "from --context",
            Self::Environment => "from $MESHCTL_CONTEXT",
            Self::Default => "the default place",
        })
    }
}

/// Where the context file is looked for: `option`, else `$MESHCTL_CONTEXT`, else the default place.
pub fn find(option: Option<PathBuf>) -> Result<(PathBuf, Origin), ContextError> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    locate(
        option,
        variable("MESHCTL_CONTEXT").map(PathBuf::from),
        variable("HOME").map(PathBuf::from),
    )
}

fn locate(
    option: Option<PathBuf>,
    environment: Option<PathBuf>,
    home: Option<PathBuf>,
) -> Result<(PathBuf, Origin), ContextError> {
    if let Some(path) = option {
        return Ok((path, Origin::Option));
    }
    if let Some(path) = environment {
        return Ok((path, Origin::Environment));
    }
    let home = home.ok_or(ContextError::NoHome)?;
    Ok((home.join(".config/meshctl/context.toml"), Origin::Default))
}

/// Reads a context file, which nobody else may be able to read.
pub fn read(path: &Path, origin: Origin) -> Result<Context, ContextError> {
    let unreadable = |source: io::Error| {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            ContextError::Missing { path, origin }
        } else {
            ContextError::Unreadable { path, source }
        }
    };
    let mut file = fs::File::open(path).map_err(unreadable)?;
    // The open file is asked, not the path, so that what is checked is what is read.
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(ContextError::ReadableByOthers {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unreadable)?;
    parse(path, &text)
}

/// Reads the text of a context file.
pub fn parse(path: &Path, text: &str) -> Result<Context, ContextError> {
    let context = Context::from_toml(text).map_err(|source| ContextError::Malformed {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    if context.addresses.is_empty() {
        return Err(ContextError::NoAddress {
            path: path.to_owned(),
        });
    }
    Ok(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "addresses = [\"127.0.0.1:7443\"]\nca = \"\"\ncertificate = \"\"\nkey = \"\"\n";

    #[test]
    fn the_option_goes_before_the_environment_before_the_default() {
        let path = |text: &str| Some(PathBuf::from(text));
        let rows = [
            (path("/o"), path("/e"), path("/h"), "/o", Origin::Option),
            (None, path("/e"), path("/h"), "/e", Origin::Environment),
            (
                None,
                None,
                path("/h"),
                "/h/.config/meshctl/context.toml",
                Origin::Default,
            ),
        ];
        for (option, environment, home, expected, origin) in rows {
            let found = locate(option, environment, home).unwrap();
            assert_eq!(found, (PathBuf::from(expected), origin));
        }
        assert!(matches!(
            locate(None, None, None),
            Err(ContextError::NoHome)
        ));
    }

    #[test]
    fn bad_files_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let rows = [
            ("missing", None, 0, "no context file at"),
            (
                "open",
                Some(GOOD),
                0o644,
                "others can read it (mode 0644): refused. Run `chmod 600",
            ),
            ("group", Some(GOOD), 0o640, "(mode 0640)"),
            (
                "text",
                Some("hello"),
                0o600,
                "is not as `mesh-coordinator run` writes it",
            ),
            (
                "field",
                Some("adresses = []"),
                0o600,
                "unknown field `adresses`",
            ),
            (
                "empty",
                Some("addresses = []\nca = \"\"\ncertificate = \"\"\nkey = \"\""),
                0o600,
                "names no coordinator",
            ),
        ];
        for (name, text, mode, expected) in rows {
            let path = folder.path().join(name);
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
            let said = read(&path, Origin::Option).unwrap_err().to_string();
            assert!(said.contains(expected), "{name}: {said}");
        }
    }

    #[test]
    fn a_good_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("context.toml");
        fs::write(&path, GOOD).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(
            read(&path, Origin::Option).unwrap().addresses,
            ["127.0.0.1:7443"]
        );
    }
}
