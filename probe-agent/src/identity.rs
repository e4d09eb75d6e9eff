//! Who this agent is: what joining gave it, kept in the data folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use localize::Role;
use nix::fcntl::{Flock, FlockArg};
use rcgen::{CertificateParams, KeyPair};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Everything that an agent needs to open a session. The file holds the private key: mode 0600.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The name that the certificate carries.
    pub name: String,
    /// Where the vantage point stands.
    pub role: Role,
    /// The backend that it runs on, or `lb`.
    pub host: Option<String>,
    /// `HOST:PORT` of the coordinator, tried in this order.
    pub addresses: Vec<String>,
    /// The mesh's authority, PEM.
    pub ca_pem: String,
    /// The agent's certificate, PEM.
    pub certificate_pem: String,
    /// Its key, PEM. It never leaves the host.
    pub key_pem: String,
}

/// Why there is no identity to work with.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file or folder cannot be used.
    #[error("cannot {doing} {path}: {source}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is damaged.
    #[error(
        "{path} is damaged ({source}); move it away and join again with a new token \
         (`meshctl agent token`)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Another agent uses the folder.
    #[error("another agent runs on {0}: give each its own --data-dir")]
    InUse(PathBuf),
    /// The certificate cannot be read.
    #[error("the agent's certificate cannot be read: {0}")]
    Certificate(String),
    /// No key or signing request could be made.
    #[error("cannot make a key: {0}")]
    Key(#[from] rcgen::Error),
}

/// The file's name in the data folder.
const FILE: &str = "identity.json";
/// The lock's name in the data folder.
const LOCK: &str = "lock";

/// Makes the data folder where needed and keeps other agents out of it while the value lives.
///
/// # Errors
/// When the folder cannot be made or written, or another agent has it.
pub fn lock(data_dir: &Path) -> Result<Flock<File>, IdentityError> {
    fs::create_dir_all(data_dir).map_err(|source| failed("make", data_dir, source))?;
    let path = data_dir.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|source| failed("write", &path, source))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| IdentityError::InUse(data_dir.to_owned()))
}

impl Identity {
    /// The identity that the folder holds; `None` before joining.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = data_dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("read", &path, source)),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| IdentityError::Damaged { path, source })
    }

    /// Writes the identity so that a crash leaves the old file or the new one, whole.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&self, data_dir: &Path) -> Result<(), IdentityError> {
        let text = serde_json::to_vec_pretty(self).map_err(|source| IdentityError::Damaged {
            path: data_dir.join(FILE),
            source,
        })?;
        write_secret(data_dir, FILE, &text)
    }

    /// Puts an identity that is accepted no more aside, so that the next start can join with a token.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn retire(data_dir: &Path) -> Result<(), IdentityError> {
        let path = data_dir.join(FILE);
        fs::rename(&path, data_dir.join("identity.json.refused"))
            .map_err(|source| failed("put aside", &path, source))
    }

    /// When the certificate begins and ends, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// When it is no certificate.
    pub fn validity(&self) -> Result<(i64, i64), IdentityError> {
        let bad = |text: String| IdentityError::Certificate(text);
        let (_, pem) = x509_parser::pem::parse_x509_pem(self.certificate_pem.as_bytes())
            .map_err(|error| bad(error.to_string()))?;
        let (_, certificate) =
            X509Certificate::from_der(&pem.contents).map_err(|error| bad(error.to_string()))?;
        let validity = certificate.validity();
        Ok((
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        ))
    }
}

/// Writes a file of the data folder, which nobody else reads, so that a crash leaves the old one or the
/// new one, whole.
pub(crate) fn write_secret(data_dir: &Path, name: &str, text: &[u8]) -> Result<(), IdentityError> {
    let (path, next) = (data_dir.join(name), data_dir.join(format!("{name}.new")));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&next)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&next, &path)?;
        File::open(data_dir)?.sync_all()
    };
    write().map_err(|source| failed("write", &path, source))
}

/// Removes a file of the data folder, if it is there.
pub(crate) fn remove(data_dir: &Path, name: &str) -> Result<(), IdentityError> {
    let path = data_dir.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", &path, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The signing request for a key that is there, PEM.
///
/// # Errors
/// When it is no key.
pub fn request_for(key_pem: &str) -> Result<String, IdentityError> {
    let key = KeyPair::from_pem(key_pem)?;
    let request = CertificateParams::default().serialize_request(&key)?;
    Ok(request.pem()?)
}

/// A new key (ECDSA P-256) and the signing request for it, both PEM. The coordinator ignores every
/// name in the request; it names the certificate itself.
///
/// # Errors
/// When the system gives no randomness.
pub fn new_key() -> Result<(String, String), IdentityError> {
    let key_pem = KeyPair::generate()?.serialize_pem();
    let request = request_for(&key_pem)?;
    Ok((key_pem, request))
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> IdentityError {
    IdentityError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn identity() -> Identity {
        Identity {
            name: "home1".into(),
            role: Role::Outside,
            host: None,
            addresses: vec!["192.0.2.1:7443".into()],
            ca_pem: String::new(),
            certificate_pem: String::new(),
            key_pem: "secret".into(),
        }
    }

    #[test]
    fn it_comes_back_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Identity::load(folder.path()).unwrap(), None);
        identity().save(folder.path()).unwrap();
        assert_eq!(Identity::load(folder.path()).unwrap(), Some(identity()));
        let mode = fs::metadata(folder.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{").unwrap();
        let error = Identity::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("meshctl agent token"), "{error}");
    }

    #[test]
    fn two_agents_do_not_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let _held = lock(folder.path()).unwrap();
        assert!(matches!(lock(folder.path()), Err(IdentityError::InUse(_))));
    }
}
