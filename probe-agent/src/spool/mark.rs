//! The few numbers that must outlive the segments.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{SpoolError, failed, sync_folder};

const FILE: &str = "mark.json";
const FRESH: &str = "mark.json.new";

/// Replaced as a whole, so that a crash leaves the old one or the new one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// No number from here on was ever used.
    pub(super) reserved: u64,
    /// The coordinator has everything up to here; may lag, which costs a repeat.
    pub(super) acknowledged: u64,
    /// Records dropped unacknowledged.
    pub(super) dropped: u64,
    /// Segments up to this number are dropped and counted.
    pub(super) dropped_through: u64,
    /// The first and the last number of each segment that was ended and may hold something pending: what
    /// of them is not there any more is lost.
    #[serde(default)]
    pub(super) ended: Vec<(u64, u64)>,
    /// Stretches of numbers that are not there and were counted, likewise.
    #[serde(default)]
    pub(super) counted: Vec<(u64, u64)>,
}

impl Mark {
    /// The mark of the folder. One that is damaged is like none: the segments and the first number
    /// of [`super::Spool::open`] keep the numbers from coming again.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, SpoolError> {
        let path = dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        match serde_json::from_slice(&text) {
            Ok(mark) => Ok(Some(mark)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the spool's mark is damaged");
                Ok(None)
            }
        }
    }

    /// On disk when it returns.
    pub(super) fn write(&self, dir: &Path) -> Result<(), SpoolError> {
        let (fresh, path) = (dir.join(FRESH), dir.join(FILE));
        let written = serde_json::to_vec(self)
            .map_err(io::Error::from)
            .and_then(|text| {
                let mut file = File::create(&fresh)?;
                file.write_all(&text)?;
                file.sync_all()?;
                fs::rename(&fresh, &path)
            });
        written.map_err(failed("write", &path))?;
        sync_folder(dir)
    }
}
