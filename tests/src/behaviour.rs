//! What the lab's own programs, the application and the edges, are told to do while they run.
//!
//! The order is a small JSON file that the program reads at every request: no socket, no protocol,
//! and a test sees with its own eyes what is in force.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What the application of a backend does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppBehaviour {
    /// Answers the page.
    #[default]
    Well,
    /// Answers 500 to this share of the requests.
    Fail {
        /// From 0 to 1.
        share: f64,
    },
    /// Answers this share of the requests after a delay.
    Slow {
        /// The delay in milliseconds.
        ms: u64,
        /// From 0 to 1.
        share: f64,
    },
    /// Answers the page, the first one after a delay.
    LateOnce {
        /// The delay in milliseconds.
        ms: u64,
    },
    /// Answers another page than its peers.
    WrongBody,
    /// Declares the whole length and sends half.
    Truncate,
    /// The same for the large object alone.
    TruncateLarge,
    /// Resets the connection once it has read the request.
    Reset,
}

/// What an edge of the CDN does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeBehaviour {
    /// Fetches from the origin.
    #[default]
    Proxy,
    /// Answers this status by itself.
    Answer {
        /// The status code.
        status: u16,
    },
    /// Reads the request and never answers.
    Stall,
    /// Resets this share of the connections once it has read the request.
    Reset {
        /// From 0 to 1.
        share: f64,
    },
    /// Shows an expired certificate.
    ExpiredCertificate,
    /// Shows its certificate without that of the intermediate authority.
    LacksIntermediate,
    /// Fetches from the origin and says anew how long the answer is: as long as what came.
    Reframe,
    /// Asks its cache, which asks the origin.
    Cached,
    /// Serves the homes, and answers this status to everybody else.
    HomesOnly {
        /// The status code.
        status: u16,
    },
}

/// The behaviour in force: the default where there is no file.
pub fn read<B: DeserializeOwned + Default>(file: &Path) -> Result<B> {
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| format!("{}", file.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(B::default()),
        Err(error) => Err(error).with_context(|| format!("{}", file.display())),
    }
}

/// Puts a behaviour in force, at once for every later request.
pub fn write<B: Serialize>(file: &Path, behaviour: B) -> Result<()> {
    let beside = file.with_extension("new");
    fs::write(&beside, serde_json::to_vec(&behaviour)?)?;
    fs::rename(&beside, file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_the_default_and_a_written_one_is_read_back() {
        let file = std::env::temp_dir().join(format!("lab-behaviour-{}", std::process::id()));
        let _ = fs::remove_file(&file);
        assert_eq!(read::<AppBehaviour>(&file).unwrap(), AppBehaviour::Well);
        write(&file, EdgeBehaviour::Reset { share: 0.3 }).unwrap();
        let read_back = read::<EdgeBehaviour>(&file).unwrap();
        assert_eq!(read_back, EdgeBehaviour::Reset { share: 0.3 });
        fs::remove_file(&file).unwrap();
    }
}
