//! A data folder made from a backup.
//!
//! It is built beside the place where it is to be, checked there, and put in its place by one rename: it is
//! there as a whole or not at all.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use localize::VantageName;
use thiserror::Error;

use crate::ca::{Authority, CaError, Mesh};
use crate::clock;
use crate::files::{self, Access, FileError};
use crate::server::{self, STORE, ServerError};
use crate::store::{Audit, Backup, BackupError};

/// The authority's folder in a data folder.
const CA: &str = "ca";
/// What it holds, and who may read that.
const CA_FILES: [(&str, Access); 2] = [("ca.key", Access::Secret), ("ca.pem", Access::Public)];

/// A backup was not restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// Something is there that it would be mixed with.
    #[error(
        "{} is not empty ({found} is in it), and nothing is ever restored over what is there: name another --data-dir, or move that one away",
        folder.display()
    )]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
        /// Something in it.
        found: String,
    },
    /// Another file system begins there.
    #[error(
        "{} is where a file system is mounted, and no folder can be put in its place: restore into a folder in it, as in --data-dir {}, and start with that",
        .0.display(),
        .0.join("mesh").display()
    )]
    MountPoint(PathBuf),
    /// The folder cannot be named beside itself.
    #[error("{} is no name for a folder: give --data-dir one that can be renamed to", .0.display())]
    Nameless(PathBuf),
    /// The file.
    #[error("{} {cause}", file.display())]
    Backup {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        cause: BackupError,
    },
    /// The copy of the authority.
    #[error(transparent)]
    Authority(#[from] CaError),
    /// A file of it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder cannot be made.
    #[error("cannot {doing} {}: {source}", path.display())]
    Folder {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What was made of it does not pass the check.
    #[error(
        "what was made of the backup does not pass the check, so that nothing was put in place: {0}"
    )]
    Check(#[from] ServerError),
}

impl RestoreError {
    /// Whether the backup is not as it was written.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        let Self::Backup { cause, .. } = self else {
            return false;
        };
        match cause {
            BackupError::Cut { .. } | BackupError::Damaged(_) => true,
            BackupError::Store(error) => error.is_damage(),
            BackupError::Read(_) | BackupError::NotOne | BackupError::Later { .. } => false,
        }
    }
}

/// What was restored.
#[derive(Debug)]
pub struct Done {
    /// When the backup was taken, in microseconds since the Unix epoch.
    pub taken_us: u64,
    /// Of which version of the coordinator.
    pub version: String,
    /// What the check says.
    pub audit: Audit,
    /// Agents that had a token and have not joined.
    pub invited: Vec<VantageName>,
}

/// Makes `data_dir`, which must be absent or empty, from a backup and a copy of the authority's folder,
/// which may come later.
///
/// # Errors
/// When the backup is not whole, when something is in the way, or when the folder cannot be made; then
/// nothing is left of it.
pub fn restore(
    file: &Path,
    data_dir: &Path,
    ca: Option<&Path>,
    now_us: u64,
) -> Result<Done, RestoreError> {
    must_be_empty(data_dir)?;
    let bad = |cause| RestoreError::Backup {
        file: file.to_owned(),
        cause,
    };
    let backup = Backup::open(file).map_err(bad)?;
    if let Some(ca) = ca {
        let authority = Authority::open(ca, Mesh::Relied, now_us)?;
        if let Some(expected) = backup.authority() {
            authority.must_be(ca, expected)?;
        }
    }
    let building = Building::begin(data_dir)?;
    let brought = backup.restore(&building.0.join(STORE), now_us);
    let brought = brought.map_err(bad)?;
    if let Some(ca) = ca {
        copy_authority(ca, &building.0.join(CA))?;
    }
    let audit = server::check(&building.0)?;
    building.put_in_place(data_dir)?;
    Ok(Done {
        taken_us: backup.taken_us(),
        version: backup.version().to_owned(),
        audit,
        invited: brought.invited,
    })
}

/// What somebody has to know who has restored a backup, in lines.
#[must_use]
pub fn told(done: &Done, has_authority: bool, data_dir: &Path, now_us: u64) -> String {
    let (folder, taken) = (data_dir.display(), clock::rfc3339(done.taken_us));
    let age = age(now_us.saturating_sub(done.taken_us));
    let version = &done.version;
    let mut told = format!(
        "restored into {folder}: the state of {taken}, {age} ago, of version {version}\n\
         What was done since then is not in it; do it again:\n\
         \x20 agents revoked or deleted since are LET IN until you do: `meshctl agent revoke NAME`\n\
         \x20 operators likewise, or given a lower role: they are what they were until `meshctl operator revoke NAME`\n\
         \x20 agents that joined since are not known: `meshctl agent token`; renamed ones have their old name\n\
         \x20 services applied or deleted, silences made or ended\n\
         Agents that only renewed their certificate since go on by themselves. Join tokens of before are void.\n"
    );
    if !done.invited.is_empty() {
        let names: Vec<&str> = done.invited.iter().map(|name| name.0.as_str()).collect();
        let names = names.join(", ");
        told += &format!(
            "Invited and not joined by then: {names}; unless they joined since, they need new tokens\n"
        );
    }
    if !has_authority {
        told += &format!(
            "The authority is not in a backup: put your copy of the folder `ca` into {folder} before the start\n"
        );
    }
    told
}

fn age(microseconds: u64) -> String {
    match microseconds / 1_000_000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

fn must_be_empty(folder: &Path) -> Result<(), RestoreError> {
    let failed = |source| failed("look into", folder, source);
    let mut entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    match entries.next().transpose().map_err(failed)? {
        None if is_mount_point(folder).map_err(failed)? => {
            Err(RestoreError::MountPoint(folder.to_owned()))
        }
        None => Ok(()),
        Some(entry) => Err(RestoreError::NotEmpty {
            folder: folder.to_owned(),
            found: entry.file_name().to_string_lossy().into_owned(),
        }),
    }
}

fn is_mount_point(folder: &Path) -> io::Result<bool> {
    let device = fs::metadata(folder)?.dev();
    let above = fs::metadata(folder.join(".."))?.dev();
    Ok(device != above)
}

fn copy_authority(from: &Path, to: &Path) -> Result<(), RestoreError> {
    make(to)?;
    for (name, access) in CA_FILES {
        if let Some(text) = files::read(&from.join(name))? {
            files::write(&to.join(name), access, &text)?;
        }
    }
    Ok(())
}

/// A data folder under way; removed unless it is put in its place.
struct Building(PathBuf);

impl Building {
    fn begin(data_dir: &Path) -> Result<Self, RestoreError> {
        let name = data_dir.file_name();
        let mut name = name
            .ok_or_else(|| RestoreError::Nameless(data_dir.to_owned()))?
            .to_owned();
        name.push(OsStr::new(".restoring"));
        let path = data_dir.with_file_name(name);
        if let Some(parent) = path.parent().filter(|parent| *parent != Path::new("")) {
            files::make_folder(parent)?;
        }
        match fs::remove_dir_all(&path) {
            // Of a restore that was killed.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("remove", &path, error)),
        }
        make(&path)?;
        Ok(Self(path))
    }

    fn put_in_place(self, data_dir: &Path) -> Result<(), RestoreError> {
        sync(&self.0)?;
        // An empty folder gives way, and one that is not empty any more does not.
        fs::rename(&self.0, data_dir).map_err(|error| failed("put in place", data_dir, error))?;
        match data_dir.parent().filter(|parent| *parent != Path::new("")) {
            Some(parent) => sync(parent),
            None => sync(Path::new(".")),
        }
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        // When it is in its place there is nothing.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes a folder for the owner alone.
fn make(path: &Path) -> Result<(), RestoreError> {
    let made = DirBuilder::new().mode(0o700).create(path);
    made.map_err(|error| failed("make the folder", path, error))
}

fn sync(folder: &Path) -> Result<(), RestoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| failed("sync the folder", folder, error))
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> RestoreError {
    RestoreError::Folder {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("below");
        fs::create_dir(&below).unwrap();
        assert!(!is_mount_point(&below).unwrap());
        assert!(is_mount_point(Path::new("/proc")).unwrap());
    }
}
