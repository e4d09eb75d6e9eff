//! Files that are either there as a whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file of the data folder could not be read or written.
#[derive(Debug, Error)]
#[error("cannot {doing} {}: {source}", path.display())]
pub struct FileError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    fn new(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The owner alone: mode 0600.
    Secret,
    /// Everybody: mode 0644.
    Public,
}

/// Writes a file so that a crash leaves the old one or the new one, never a part: a new file beside
/// it, fsync, rename, fsync of the folder.
///
/// # Errors
/// When any of the four steps fails; the old file is then untouched.
pub fn write(path: &Path, access: Access, content: &str) -> Result<(), FileError> {
    let temporary = path.with_extension("new");
    let mode = match access {
        Access::Secret => 0o600,
        Access::Public => 0o644,
    };
    let fill = || -> io::Result<()> {
        // A leftover of a crash may have another mode, which opening would keep.
        match fs::remove_file(&temporary) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |parent| {
            File::open(parent).and_then(|folder| folder.sync_all())
        })
    };
    fill().map_err(|source| FileError::new("write", path, source))
}

/// Reads a file; `None` when there is none.
///
/// # Errors
/// When it is there and cannot be read as text.
pub fn read(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::new("read", path, source)),
    }
}

/// Makes a folder and those above it.
///
/// # Errors
/// When that is not possible.
pub fn make_folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(|source| FileError::new("make the folder", path, source))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_the_owners_alone_even_over_a_leftover() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        fs::write(path.with_extension("new"), "half").unwrap();
        write(&path, Access::Secret, "one").unwrap();
        write(&path, Access::Secret, "two").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("two"));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_absent_file_is_none_and_a_folder_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&folder.path().join("none")).unwrap().is_none());
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(&folder.path().display().to_string()),
            "{error}"
        );
    }
}
