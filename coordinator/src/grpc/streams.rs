//! Streams to operators, which end when their rights do.

use proto::v1;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{guard, view};
use crate::engine::{Happening, Refusal};
use crate::operators::{Caller, Registry};

/// Messages that wait for a slow reader of a stream; what makes them waits then.
pub(super) const STREAM: usize = 16;
/// Bytes of a case or a report in one message: well under the limit of a message.
const PIECE: usize = 256 << 10;

/// What happens to a service, or to all when it is empty, until the caller hangs up.
pub(super) fn happenings(
    mut happenings: broadcast::Receiver<Happening>,
    operators: Registry,
    caller: Caller,
    service: String,
) -> ReceiverStream<Result<v1::WatchEvent, Status>> {
    let (events, stream) = mpsc::channel(STREAM);
    let last = events.clone();
    let forward = async move {
        loop {
            let event = match happenings.recv().await {
                Ok(happening) if !view::concerns(&happening, &service) => continue,
                Ok(happening) => Ok(view::happening(&happening)),
                Err(RecvError::Closed) => Err(Refusal::Stopping.into()),
                Err(RecvError::Lagged(missed)) => Err(Status::data_loss(format!(
                    "{missed} events were missed, because they were read too slowly; watch again"
                ))),
            };
            let last = event.is_err();
            if events.send(event).await.is_err() || last {
                return;
            }
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            () = caller.rights.cancelled() => {
                let _ = last.try_send(Err(guard::over(&operators, &caller)));
            }
            () = forward => {}
        }
    });
    ReceiverStream::new(stream)
}

/// Sends something long, as fast as it is read.
pub(super) fn in_pieces<T: Send + 'static>(
    caller: Caller,
    bytes: Vec<u8>,
    piece: impl Fn(&[u8]) -> T + Send + 'static,
) -> ReceiverStream<Result<T, Status>> {
    let (pieces, stream) = mpsc::channel(STREAM);
    tokio::spawn(async move {
        for bytes in bytes.chunks(PIECE) {
            let sent = tokio::select! {
                () = caller.rights.cancelled() => return,
                sent = pieces.send(Ok(piece(bytes))) => sent,
            };
            if sent.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(stream)
}
