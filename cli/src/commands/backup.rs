//! `meshctl backup`: everything that the coordinator has stored, as one file.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use proto::v1::{BackupPiece, BackupRequest, BackupTaken};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::time::Instant;
use tonic::Streaming;

use super::Session;
use crate::connect::{About, CallError, Subject};
use crate::exit::Exit;
use crate::output::Output;
use crate::trouble::Trouble;

pub async fn run(mut session: Session<'_>, file: &Path, force: bool) -> Result<Exit, Trouble> {
    let output = session.output;
    let mut target = Target::open(file, force)?;
    let pieces = session.client.backup(BackupRequest {}).await;
    let taken = receive(pieces.about(Subject::Mesh)?, &mut target, output).await;
    output.progress_done();
    let taken = taken?;
    target.put_in_place(force)?;
    if target_is_output(file) {
        return Ok(Exit::Ok);
    }
    let value = json!({
        "file": file, "taken_at": taken.at, "bytes": taken.bytes, "sha256": taken.sha256,
        "authority": false,
    });
    output.print(&value, || {
        format!(
            "{}: {:.1} MB, as of {}\nsha256 {}\nWithout the authority's key: keep a copy of the \
             coordinator's folder `ca` apart.\n",
            file.display(),
            taken.bytes as f64 / 1e6,
            taken.at,
            taken.sha256
        )
    })?;
    Ok(Exit::Ok)
}

/// Where it goes.
enum Target {
    Output,
    /// Beside the file until it is whole, for the owner alone to read.
    File {
        path: PathBuf,
        temporary: NamedTempFile,
    },
    /// It is where it should be.
    Done,
}

fn target_is_output(file: &Path) -> bool {
    file == Path::new("-")
}

impl Target {
    fn open(path: &Path, force: bool) -> Result<Self, Trouble> {
        if target_is_output(path) {
            return match io::stdout().is_terminal() {
                true => Err(Trouble::OutputIsTerminal),
                false => Ok(Self::Output),
            };
        }
        if path.exists() && !force {
            return Err(Trouble::Exists(path.to_owned()));
        }
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        // After an interruption it is left, and is to be known for what it is.
        let mut prefix = path.file_name().unwrap_or_default().to_owned();
        prefix.push(".");
        let temporary = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".part")
            .tempfile_in(folder.unwrap_or(Path::new(".")));
        Ok(Self::File {
            path: path.to_owned(),
            temporary: temporary.map_err(Trouble::write(path))?,
        })
    }

    fn add(&mut self, content: &[u8], output: &Output) -> Result<(), Trouble> {
        match self {
            Self::Output => output.bytes(content),
            Self::File { path, temporary } => {
                temporary.write_all(content).map_err(Trouble::write(path))
            }
            Self::Done => Ok(()),
        }
    }

    fn put_in_place(&mut self, force: bool) -> Result<(), Trouble> {
        let Self::File { path, temporary } = std::mem::replace(self, Self::Done) else {
            return Ok(());
        };
        let synced = temporary.as_file().sync_all();
        synced.map_err(Trouble::write(&path))?;
        let put = match force {
            true => temporary.persist(&path),
            false => temporary.persist_noclobber(&path),
        };
        match put {
            Ok(_) => Ok(()),
            Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Trouble::Exists(path))
            }
            Err(failed) => Err(Trouble::write(&path)(failed.error)),
        }
    }
}

/// Takes the pieces in up to the last one, which says how long the whole is.
async fn receive(
    mut pieces: Streaming<BackupPiece>,
    target: &mut Target,
    output: &Output,
) -> Result<BackupTaken, Trouble> {
    let (mut bytes, began) = (0, Instant::now());
    loop {
        let piece = pieces.message().await;
        let piece = piece.map_err(|status| CallError::of(&status, Subject::Mesh))?;
        let piece = piece.ok_or(CallError::EndedEarly)?;
        target.add(&piece.content, output)?;
        bytes += piece.content.len() as u64;
        match piece.taken {
            Some(taken) if taken.bytes == bytes => return Ok(taken),
            Some(_) => return Err(CallError::EndedEarly.into()),
            None => output.progress(&format!(
                "{:.1} MB, {} of {} records, {} s",
                bytes as f64 / 1e6,
                piece.records,
                piece.of,
                began.elapsed().as_secs()
            )),
        }
    }
}
