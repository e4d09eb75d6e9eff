//! An exchange over HTTP/2 (RFC 9113), one on a connection.

use std::sync::Mutex;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::answer::Answer;
use super::body::More;
use super::watched::{Trace, Watched, lock};
use super::{Ask, GRACE, Stop};
use crate::clock::Clock;
use crate::failure::Break;

/// As much of a body may be under way as a young connection has in its own buffers.
const WINDOW: u32 = 256 << 10;
/// Headers of an answer, in bytes: what servers send at most is a quarter of it.
const MAX_HEADERS: u32 = 64 << 10;

pub(super) async fn run<S>(
    ask: &Ask<'_>,
    watched: Watched<'_, S>,
    answer: &mut Answer<'_>,
    trace: &Mutex<Trace>,
) -> Result<(), Stop>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let clock = watched.clock;
    let (sender, connection) = client::Builder::new()
        .enable_push(false)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(MAX_HEADERS)
        .handshake::<_, Bytes>(watched)
        .await?;
    let mut connection = std::pin::pin!(connection);
    let mut work = std::pin::pin!(exchange(ask, sender, answer, trace, clock));
    let mut open = true;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut work => break ended,
            // What ended the connection reaches the stream as well, and is told there.
            _ = &mut connection, if open => open = false,
        }
    };
    if ended.is_ok() && open {
        // How the close goes says nothing about the answer.
        let _ = timeout(GRACE, connection).await;
    }
    Ok(ended?)
}

/// Nothing of the connection is held when it ends, so that the connection is closed.
async fn exchange(
    ask: &Ask<'_>,
    sender: SendRequest<Bytes>,
    answer: &mut Answer<'_>,
    trace: &Mutex<Trace>,
    clock: &Clock,
) -> Result<(), h2::Error> {
    let mut sender = sender.ready().await?;
    lock(trace).asked = true;
    let body = &ask.request.body;
    let (response, mut stream) = sender.send_request(ask.two(), body.is_empty())?;
    if !body.is_empty() {
        stream.send_data(body.clone(), true)?;
    }
    let (head, mut body) = response.await?.into_parts();
    lock(trace).first_byte.get_or_insert_with(|| clock.now());
    answer.begins(head);
    while let Some(data) = body.data().await {
        let data = data?;
        if answer.take(&data) == More::Enough {
            break;
        }
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(())
}

pub(super) fn broke(error: &h2::Error, trace: &Trace) -> Break {
    match trace.error {
        Some(broke) => broke,
        // RST_STREAM takes the answer back as RST does; GOAWAY and FIN say that no more will come.
        None if error.is_remote() && error.is_reset() => Break::Reset,
        None if error.is_remote() && error.is_go_away() => Break::End,
        None if trace.ended => Break::End,
        None => Break::Parser,
    }
}
