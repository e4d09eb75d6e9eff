//! The HTTP layer: one GET over HTTP/1.1, from its first byte to the last byte of the body.
//!
//! The library says that an exchange broke; the connection under it is watched to tell how.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::response;
use http::uri::{Authority, PathAndQuery};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use localize::{Failure, HttpFacts, Layer, RoundId};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::short_hex;
use crate::clock::{Clock, Local};
use crate::failure::{self, Break, Progress};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Get<'a> {
    /// The `Host` header.
    pub authority: &'a Authority,
    /// Path and query.
    pub path: &'a PathAndQuery,
    /// The round, so that the request can be found in the server's log.
    pub round: RoundId,
    /// Who is the first to close.
    pub closes: Closes,
    /// No more of the body is read than this many bytes; digest and count are of what was read.
    pub at_most: u64,
}

/// Who is the first to close a connection. The other one keeps nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closes {
    /// Whoever comes first.
    Either,
    /// The server, as the request asks it to.
    Server,
}

/// Bytes of the usual answer that are read at most: enough for any page, and a round of thirty arms stays
/// below 128 MiB of traffic.
pub const MAX_BODY: u64 = 4 << 20;

/// After the answer the connection is given this long to close in an orderly way.
const GRACE: Duration = Duration::from_millis(250);

/// Makes one exchange. The facts are there whenever a whole header came.
pub async fn exchange<S>(
    get: Get<'_>,
    stream: S,
    within: Duration,
    clock: &Clock,
) -> (Option<HttpFacts>, Result<(), (Layer, Failure)>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let trace = Arc::new(Mutex::new(Trace::default()));
    let watched = Watched {
        stream,
        clock,
        trace: Arc::clone(&trace),
        closes: get.closes,
    };
    let mut answer = Answer::default();
    let ended = match timeout(within, run(get, watched, &mut answer)).await {
        Ok(ended) => ended,
        Err(_) => Err(Stop::Limit),
    };
    let trace = lock(&trace);
    let end = match ended {
        Ok(()) => answer
            .status_failure()
            .map_or(Ok(()), |failure| Err((Layer::Http, failure))),
        Err(stop) => Err(failure::http(trace.broke(stop), trace.progress(&answer))),
    };
    (answer.facts(&trace), end)
}

/// Why an exchange did not come to its end, as far as the library tells.
enum Stop {
    Limit,
    Library(hyper::Error),
}

impl From<hyper::Error> for Stop {
    fn from(error: hyper::Error) -> Self {
        Self::Library(error)
    }
}

async fn run<S>(get: Get<'_>, watched: Watched<'_, S>, answer: &mut Answer) -> Result<(), Stop>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(256)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(watched))
        .await?;
    let mut connection = std::pin::pin!(connection);
    let mut work = std::pin::pin!(async {
        let response = sender.send_request(get.request()).await?;
        let (head, body) = response.into_parts();
        answer.head = Some(head);
        answer.read(body, get.at_most).await
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

impl Get<'_> {
    fn request(&self) -> http::Request<Empty<Bytes>> {
        let mut request = http::Request::new(Empty::new());
        *request.uri_mut() = http::Uri::from(self.path.clone());
        let agent = format!(
            "mesh-probe/{} (round={}; +https://mesh.invalid/probe)",
            env!("CARGO_PKG_VERSION"),
            self.round.0
        );
        let given = [
            (header::HOST, HeaderValue::from_str(self.authority.as_str())),
            (header::USER_AGENT, HeaderValue::from_str(&agent)),
            (ROUND, Ok(self.round.0.into())),
            (header::ACCEPT, Ok(HeaderValue::from_static("*/*"))),
            (
                header::ACCEPT_ENCODING,
                Ok(HeaderValue::from_static("identity")),
            ),
            (header::CONNECTION, Ok(HeaderValue::from_static("close"))),
        ];
        for (name, value) in given {
            // An authority holds only characters that a header value may hold.
            if let Ok(value) = value {
                request.headers_mut().append(name, value);
            }
        }
        request
    }
}

const ROUND: HeaderName = HeaderName::from_static("mesh-round");

/// What came of the answer, kept outside of the future that reads it, since a limit drops that.
#[derive(Default)]
struct Answer {
    head: Option<response::Parts>,
    body_bytes: u64,
    digest: Sha256,
}

impl Answer {
    async fn read(&mut self, mut body: Incoming, at_most: u64) -> Result<(), hyper::Error> {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            let room = at_most.saturating_sub(self.body_bytes);
            let take = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            self.digest.update(&data[..take]);
            self.body_bytes += take as u64;
            if self.body_bytes == at_most {
                break;
            }
        }
        Ok(())
    }

    fn status_failure(&self) -> Option<Failure> {
        let head = self.head.as_ref()?;
        failure::status(head.status, &head.headers)
    }

    fn facts(self, trace: &Trace) -> Option<HttpFacts> {
        let head = self.head?;
        let first_byte = trace.first_byte?.since(trace.written?);
        Some(HttpFacts {
            status: head.status.as_u16(),
            first_byte,
            body_bytes: self.body_bytes,
            body_digest: short_hex(&self.digest.finalize()),
            headers: telling(&head.headers),
        })
    }
}

/// Headers that change with every answer, or are long and tell nothing of who made it.
const LEFT_OUT: [&str; 14] = [
    "date",
    "set-cookie",
    "expires",
    "last-modified",
    "etag",
    "age",
    "report-to",
    "nel",
    "reporting-endpoints",
    "content-security-policy",
    "content-security-policy-report-only",
    "permissions-policy",
    "strict-transport-security",
    "link",
];
const MAX_HEADERS: usize = 32;
const MAX_VALUE: usize = 128;

fn telling(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()))
        .take(MAX_HEADERS)
        .map(|(name, value)| (name.as_str().to_owned(), cut(value.as_bytes())))
        .collect()
}

fn cut(value: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(value).into_owned();
    let end = (0..=MAX_VALUE.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    text.truncate(end);
    text
}

/// What was seen of the connection during the exchange.
#[derive(Debug, Default)]
struct Trace {
    wrote: bool,
    /// When the whole request had been handed to the kernel.
    written: Option<Local>,
    /// When the first byte of the answer was read.
    first_byte: Option<Local>,
    ended: bool,
    error: Option<Break>,
}

impl Trace {
    fn progress(&self, answer: &Answer) -> Progress {
        match (self.written, self.first_byte, &answer.head) {
            (_, _, Some(_)) => Progress::Body,
            (None, _, None) => Progress::Writing,
            (Some(_), None, None) => Progress::Waiting,
            (Some(_), Some(_), None) => Progress::Header,
        }
    }

    fn broke(&self, stop: Stop) -> Break {
        match (stop, self.error) {
            (Stop::Limit, _) => Break::Limit,
            (Stop::Library(error), _) if error.is_parse() => Break::Parser,
            (Stop::Library(_), Some(broke)) => broke,
            (Stop::Library(_), None) if self.ended => Break::End,
            (Stop::Library(_), None) => Break::Parser,
        }
    }

    fn failed(&mut self, error: &io::Error) {
        let broke = match failure::rustls_error(error) {
            None => Break::Reset,
            Some(rustls::Error::AlertReceived(alert)) => {
                Break::Alert(failure::alert_number(*alert))
            }
            Some(_) => Break::Tls,
        };
        self.error.get_or_insert(broke);
    }
}

/// A panic while the trace was held leaves facts that are still true.
fn lock(trace: &Mutex<Trace>) -> MutexGuard<'_, Trace> {
    trace.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that keeps a trace of what passes.
struct Watched<'a, S> {
    stream: S,
    clock: &'a Clock,
    trace: Arc<Mutex<Trace>>,
    closes: Closes,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        let mut trace = lock(&self.trace);
        match outcome {
            Ok(()) if buf.filled().len() > before => {
                trace.first_byte.get_or_insert_with(|| self.clock.now());
                Poll::Ready(Ok(()))
            }
            Ok(()) => {
                trace.ended = true;
                Poll::Ready(Ok(()))
            }
            // FIN without close_notify. Browsers take it for an end, and the length that the header
            // declares still shows a body that was cut.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                trace.ended = true;
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                trace.failed(&error);
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        let mut trace = lock(&self.trace);
        match &outcome {
            Ok(_) => trace.wrote = true,
            Err(error) => trace.failed(error),
        }
        Poll::Ready(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The library flushes once its own buffer is empty, so that the request is then written.
        let outcome = std::task::ready!(Pin::new(&mut self.stream).poll_flush(cx));
        let mut trace = lock(&self.trace);
        match &outcome {
            Ok(()) if trace.wrote => {
                trace.written.get_or_insert_with(|| self.clock.now());
            }
            Ok(()) => {}
            Err(error) => trace.failed(error),
        }
        Poll::Ready(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.closes {
            Closes::Either => Pin::new(&mut self.stream).poll_shutdown(cx),
            Closes::Server => Poll::Ready(Ok(())),
        }
    }
}
