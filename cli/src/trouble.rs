//! Everything that can keep `meshctl` from doing what was asked, in the words that the user reads.

use std::io;
use std::path::{Path, PathBuf};

use crate::connect::{CallError, ConnectError};
use crate::context::ContextError;
use crate::contexts::ContextsError;
use crate::demo::DemoError;
use crate::exit::Exit;

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// No usable context file.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// No connection to a coordinator.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The coordinator did not do what it was asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The demonstration could not run.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// A file named on the command line cannot be read.
    #[error("cannot read {path}: {source}.")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file named on the command line cannot be written.
    #[error("cannot write {path}: {source}.")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key or a request for its certificate cannot be made.
    #[error("cannot make a key: {0}.")]
    Key(#[from] rcgen::Error),
    /// Nothing is overwritten unasked.
    #[error("{0} is there already, and nothing was done. Name another file, or give --force.")]
    Exists(PathBuf),
    /// What would be written is nothing for a terminal.
    #[error(
        "a backup is not written to a terminal. Name a file, or send standard output elsewhere."
    )]
    OutputIsTerminal,
    /// A case file that is none.
    #[error("{path} is not a case file: {source}. `meshctl explain ID --case FILE` writes one.")]
    NotACase {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A service file that is not TOML; what is in it is the coordinator's to judge.
    #[error("the service file {path} is not TOML: {}.", source.message())]
    ServiceFile {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: Box<toml::de::Error>,
    },
    /// Something would be destroyed, and nobody can be asked.
    #[error(
        "nothing was done: this cannot be taken back, and there is no terminal to ask on. Give --yes."
    )]
    NobodyToAsk,
    /// What is printed goes by no name.
    #[error(
        "what this prints has no names: -o name is for lists of agents, services, verdicts, silences and operators."
    )]
    NoNames,
    /// It cannot be said in YAML.
    #[error("cannot be written as YAML: {0}.")]
    Yaml(String),
    /// A context that there is not, or that is in the way.
    #[error(transparent)]
    Contexts(#[from] ContextsError),
    /// No such word.
    #[error(
        "there is no help on `{0}`; `meshctl --help` lists the commands, and there is `exit-codes`."
    )]
    NoHelp(String),
    /// The user said no.
    #[error("nothing was done.")]
    NotConfirmed,
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}.")]
    Output(io::Error),
    /// The threads of the program could not be started.
    #[error("cannot start: {0}.")]
    Runtime(io::Error),
}

impl Trouble {
    /// That a file cannot be written.
    pub fn write(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Write {
            path: path.to_owned(),
            source,
        }
    }

    /// The exit status of a command that ends with no verdict.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Connect(ConnectError::Unreachable(_)) | Self::Call(CallError::Lost(_)) => {
                Exit::Unreachable
            }
            Self::Call(CallError::NotAccepted(_) | CallError::NotAllowed(_)) => Exit::NotAccepted,
            Self::Call(
                CallError::NoService(_)
                | CallError::NoAgent(_)
                | CallError::NoVerdict(_)
                | CallError::NotFound(_),
            )
            | Self::Contexts(ContextsError::Unknown { .. }) => Exit::NotFound,
            Self::Call(CallError::Timeout) => Exit::Timeout,
            Self::NotConfirmed | Self::NobodyToAsk => Exit::NotConfirmed,
            Self::Context(_)
            | Self::Connect(ConnectError::BadIdentity { .. })
            | Self::Call(
                CallError::Invalid(_)
                | CallError::TooOld
                | CallError::EndedEarly
                | CallError::Unreadable(_)
                | CallError::Other(..),
            )
            | Self::Demo(_)
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Key(_)
            | Self::Exists(_)
            | Self::OutputIsTerminal
            | Self::NotACase { .. }
            | Self::ServiceFile { .. }
            | Self::NoNames
            | Self::Yaml(_)
            | Self::Contexts(_)
            | Self::NoHelp(_)
            | Self::Output(_)
            | Self::Runtime(_) => Exit::Trouble,
        }
    }

    /// The reader of standard output has gone (`| head`), which is no trouble at all.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_ends_with_the_status_that_the_help_lists() {
        let rows: [(Trouble, u8); 7] = [
            (CallError::Invalid(String::new()).into(), 2),
            (ConnectError::Unreachable(Vec::new()).into(), 4),
            (CallError::NotAccepted(String::new()).into(), 5),
            (CallError::NotAllowed(String::new()).into(), 5),
            (CallError::NoAgent("home1".to_owned()).into(), 6),
            (Trouble::NobodyToAsk, 7),
            (CallError::Timeout.into(), 8),
        ];
        for (trouble, code) in rows {
            assert_eq!(trouble.exit().code(), code, "{trouble}");
            let listed = crate::exit::CODES.lines();
            assert!(
                listed
                    .into_iter()
                    .any(|line| line.starts_with(&format!("  {code}  ")))
            );
        }
    }
}
