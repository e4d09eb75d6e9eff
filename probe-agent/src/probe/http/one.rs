//! An exchange over HTTP/1.1.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::answer::Answer;
use super::body::More;
use super::watched::{Trace, Watched};
use super::{Ask, GRACE, Stop};
use crate::failure::Break;

pub(super) async fn run<S>(
    ask: &Ask<'_>,
    watched: Watched<'_, S>,
    answer: &mut Answer<'_>,
) -> Result<(), Stop>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(256)
        .handshake::<_, Full<Bytes>>(TokioIo::new(watched))
        .await?;
    let mut connection = std::pin::pin!(connection);
    let mut work = std::pin::pin!(async {
        let request = ask.one().map(|()| Full::new(ask.request.body.clone()));
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        answer.begins(head);
        read(answer, body).await
    });
    let mut open = true;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut work => break ended,
            // What ended the connection reaches the request as well, and is told there.
            _ = &mut connection, if open => open = false,
        }
    };
    if ended.is_ok() && open {
        // How the close goes says nothing about the answer.
        let _ = timeout(GRACE, connection).await;
    }
    Ok(ended?)
}

async fn read(answer: &mut Answer<'_>, mut body: Incoming) -> Result<(), hyper::Error> {
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if answer.take(&data) == More::Enough {
            break;
        }
    }
    Ok(())
}

pub(super) fn broke(error: &hyper::Error, trace: &Trace) -> Break {
    match trace.error {
        _ if error.is_parse() => Break::Parser,
        Some(broke) => broke,
        None if trace.ended => Break::End,
        None => Break::Parser,
    }
}
