//! Backups on their way to an operator.

use std::time::Duration;

use proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::guard;
use crate::clock;
use crate::engine::Refusal;
use crate::operators::{Caller, Registry};
use crate::store::{Piece, Store};

/// Pieces that wait for a slow reader, each a quarter of a megabyte at most; the copy waits then.
const WAITING: usize = 8;

/// A reader that takes nothing for so long has given up, and others may want one.
const PATIENCE: Duration = Duration::from_secs(60);

type Pieces = mpsc::Sender<Result<v1::BackupPiece, Status>>;

/// Sends a backup as fast as it is read, until the reader leaves, loses its rights, or the coordinator stops.
pub(super) fn stream(
    store: Store,
    operators: Registry,
    caller: Caller,
) -> ReceiverStream<Result<v1::BackupPiece, Status>> {
    let (made, mut pieces) = mpsc::channel(WAITING);
    let (outgoing, stream) = mpsc::channel(1);
    let operator = caller.name.clone();
    tracing::info!(operator, "a backup is being taken");
    tokio::task::spawn_blocking(move || make(&store, &operator, &made));
    tokio::spawn(async move {
        let forward = async {
            while let Some(piece) = pieces.recv().await {
                let sent = tokio::time::timeout(PATIENCE, outgoing.send(piece)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
        };
        tokio::select! {
            () = caller.rights.cancelled() => {
                let _ = outgoing.try_send(Err(guard::over(&operators, &caller)));
            }
            () = outgoing.closed() => {}
            () = forward => {}
        }
        // What makes the pieces ends with its receiver.
    });
    ReceiverStream::new(stream)
}

/// Makes the pieces, on a thread that may wait.
fn make(store: &Store, operator: &str, pieces: &Pieces) {
    let taken_us = clock::now_us();
    let made = store.backup(taken_us, |piece| {
        if let Some(written) = &piece.written {
            tracing::info!(
                operator,
                bytes = written.bytes,
                sha256 = written.sha256,
                "backup taken"
            );
        }
        pieces.blocking_send(Ok(wire(piece, taken_us))).is_ok()
    });
    if let Err(error) = made {
        tracing::warn!(operator, %error, "no backup");
        // The reader may have gone.
        let _ = pieces.blocking_send(Err(Refusal::Store(error).into()));
    }
}

fn wire(piece: Piece, taken_us: u64) -> v1::BackupPiece {
    let Piece {
        content,
        records,
        of,
        written,
    } = piece;
    v1::BackupPiece {
        content,
        records,
        of,
        taken: written.map(|written| v1::BackupTaken {
            at: clock::rfc3339(taken_us),
            bytes: written.bytes,
            sha256: written.sha256,
        }),
    }
}
