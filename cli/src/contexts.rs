//! Contexts by name: files in `~/.config/meshctl/contexts`, of which `~/.config/meshctl/context.toml` is a
//! link to the one in use.

use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::{fs, io};

use proto::context::Context;

use crate::context::{self, ContextError, Origin};

/// Why there is no such context, or it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextsError {
    /// The home folder is not known.
    #[error("$HOME is not set, so there is no place for contexts.")]
    NoHome,
    /// None of that name.
    #[error("there is no context `{name}`. `meshctl context list` shows those there are.")]
    Unknown {
        /// The name.
        name: String,
    },
    /// There is one of that name.
    #[error("there is a context `{0}` already. `meshctl context delete {0}` makes room.")]
    Taken(String),
    /// A name that would be a path.
    #[error("`{0}` is no name for a context: letters, digits, `-`, `_` and `.`, not first.")]
    BadName(String),
    /// The file is no context file.
    #[error(transparent)]
    File(#[from] ContextError),
    /// The file system.
    #[error("cannot {doing} {path}: {source}.")]
    Io {
        /// What was to be done.
        doing: &'static str,
        /// With this.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A context, and how it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The context.
    pub context: Context,
    /// Its file.
    pub path: PathBuf,
    /// Why that one.
    pub origin: Origin,
}

/// Finds and reads the context: `option`, else `$MESHCTL_CONTEXT`, else the default place. Both may be the
/// name of a context in the place of a file.
pub fn load(option: Option<PathBuf>) -> Result<Found, ContextError> {
    let (path, origin) = context::find(option)?;
    let path = by_name(path);
    let context = context::read(&path, origin)?;
    Ok(Found {
        context,
        path,
        origin,
    })
}

/// A bare name that is no file here is that of a context.
fn by_name(path: PathBuf) -> PathBuf {
    let name = path.to_str().filter(|name| !name.contains('/'));
    let named = name.and_then(|name| Some(Contexts::of_this_user().ok()?.file(name)));
    match named {
        Some(file) if !path.exists() && file.exists() => file,
        Some(_) | None => path,
    }
}

/// The folder of meshctl's own files.
pub struct Contexts(PathBuf);

/// A context in a list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Whether it is used where no other is named.
    pub current: bool,
    /// The coordinator's addresses; empty where the file cannot be read.
    pub addresses: Vec<String>,
}

impl Contexts {
    /// Below the home folder.
    pub fn of_this_user() -> Result<Self, ContextsError> {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
        let home = home.ok_or(ContextsError::NoHome)?;
        Ok(Self(PathBuf::from(home).join(".config/meshctl")))
    }

    /// The file of a context.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join("contexts").join(format!("{name}.toml"))
    }

    fn current(&self) -> PathBuf {
        self.0.join("context.toml")
    }

    /// Every name, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("contexts"));
        let files = entries.into_iter().flatten().flatten();
        let named = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            Some(name.strip_suffix(".toml")?.to_owned())
        };
        let mut names: Vec<String> = files.filter_map(named).collect();
        names.sort();
        names
    }

    /// Every context.
    pub fn list(&self) -> Vec<Listed> {
        let used = fs::read_link(self.current()).ok();
        let listed = |name: String| Listed {
            current: used.as_deref() == Some(&link(&name)),
            addresses: context::read(&self.file(&name), Origin::Option)
                .map(|context| context.addresses)
                .unwrap_or_default(),
            name,
        };
        self.names().into_iter().map(listed).collect()
    }

    /// Copies a context file, for the user alone to read.
    pub fn add(&self, name: &str, file: &Path) -> Result<(), ContextsError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with(['.', '-']) || !name.chars().all(plain) {
            return Err(ContextsError::BadName(name.to_owned()));
        }
        let text = fs::read_to_string(file).map_err(failed("read", file))?;
        context::parse(file, &text)?;
        let to = self.file(name);
        let folder = self.0.join("contexts");
        fs::create_dir_all(&folder).map_err(failed("make", &folder))?;
        let mut made = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&to)
            .map_err(
                |source| match source.kind() == io::ErrorKind::AlreadyExists {
                    true => ContextsError::Taken(name.to_owned()),
                    false => failed("make", &to)(source),
                },
            )?;
        io::Write::write_all(&mut made, text.as_bytes()).map_err(failed("write", &to))
    }

    /// Makes one the context that is used. A file in that place which is no link is kept under the name
    /// that is returned.
    pub fn select(&self, name: &str) -> Result<Option<String>, ContextsError> {
        self.must_know(name)?;
        let current = self.current();
        let is_file = fs::symlink_metadata(&current).is_ok_and(|known| !known.is_symlink());
        let kept = match is_file {
            true => Some(self.keep(&current)?),
            false => None,
        };
        let fresh = self.0.join("context.new");
        let _ = fs::remove_file(&fresh);
        symlink(link(name), &fresh).map_err(failed("make", &fresh))?;
        fs::rename(&fresh, &current).map_err(failed("replace", &current))?;
        Ok(kept)
    }

    fn keep(&self, file: &Path) -> Result<String, ContextsError> {
        let names = self.names();
        let numbered = (2..).map(|number| format!("default-{number}"));
        let mut candidates = std::iter::once("default".to_owned()).chain(numbered);
        let free = candidates.find(|name| !names.contains(name));
        let free = free.unwrap_or_default();
        let to = self.file(&free);
        fs::rename(file, &to).map_err(failed("move", file))?;
        Ok(free)
    }

    /// Forgets one; the link to it goes too.
    pub fn delete(&self, name: &str) -> Result<(), ContextsError> {
        self.must_know(name)?;
        let file = self.file(name);
        fs::remove_file(&file).map_err(failed("remove", &file))?;
        let current = self.current();
        match fs::read_link(&current) {
            Ok(used) if used == link(name) => {
                fs::remove_file(&current).map_err(failed("remove", &current))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Whether there is one of this name.
    pub fn must_know(&self, name: &str) -> Result<(), ContextsError> {
        match self.names().iter().any(|known| known == name) {
            true => Ok(()),
            false => Err(ContextsError::Unknown {
                name: name.to_owned(),
            }),
        }
    }
}

fn link(name: &str) -> PathBuf {
    Path::new("contexts").join(format!("{name}.toml"))
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl Fn(io::Error) -> ContextsError + 'a {
    move |source| ContextsError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(folder: &Path, address: &str) -> PathBuf {
        let path = folder.join("admin.toml");
        let text =
            format!("addresses = [\"{address}\"]\nca = \"\"\ncertificate = \"\"\nkey = \"\"\n");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    #[test]
    fn contexts_are_added_used_and_deleted() {
        let home = tempfile::tempdir().unwrap();
        let contexts = Contexts(home.path().join("meshctl"));
        assert!(contexts.list().is_empty());
        contexts.add("lab", &file(home.path(), "lab:7443")).unwrap();
        contexts
            .add("prod", &file(home.path(), "prod:7443"))
            .unwrap();
        let mode = fs::metadata(contexts.file("prod"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(
            contexts.select("moon"),
            Err(ContextsError::Unknown { .. })
        ));

        // The file that was there before contexts had names.
        fs::rename(file(home.path(), "old:7443"), contexts.current()).unwrap();
        assert_eq!(contexts.select("prod").unwrap().as_deref(), Some("default"));
        assert_eq!(contexts.select("lab").unwrap(), None);
        let listed: Vec<(String, bool, String)> = contexts
            .list()
            .into_iter()
            .map(|one| (one.name, one.current, one.addresses.concat()))
            .collect();
        let row =
            |name: &str, current, address: &str| (name.to_owned(), current, address.to_owned());
        assert_eq!(
            listed,
            [
                row("default", false, "old:7443"),
                row("lab", true, "lab:7443"),
                row("prod", false, "prod:7443")
            ]
        );
        contexts.delete("lab").unwrap();
        assert!(fs::symlink_metadata(contexts.current()).is_err());
    }

    #[test]
    fn names_and_files_are_looked_at() {
        let home = tempfile::tempdir().unwrap();
        let contexts = Contexts(home.path().join("meshctl"));
        let good = file(home.path(), "a:7443");
        for name in ["", ".", "../x", "a/b", "-x"] {
            assert!(
                matches!(contexts.add(name, &good), Err(ContextsError::BadName(_))),
                "{name}"
            );
        }
        contexts.add("a", &good).unwrap();
        assert!(matches!(
            contexts.add("a", &good),
            Err(ContextsError::Taken(_))
        ));
        fs::write(&good, "hello").unwrap();
        assert!(matches!(
            contexts.add("b", &good),
            Err(ContextsError::File(_))
        ));
    }
}
