//! The HTTP layer: one request, from its first byte to the last byte of the answer's body.
//!
//! The library says that an exchange broke; the connection under it is watched to tell how.

mod answer;
mod ask;
mod body;
mod expected;
mod one;
mod two;
mod watched;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use localize::{Failure, HttpFacts, HttpVersion, Layer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use self::answer::Answer;
use self::watched::{Trace, Watched, lock};
use crate::clock::Clock;
use crate::failure::{self, Break};

pub use self::ask::Ask;
pub use self::expected::Expected;

/// Who is the first to close a connection. The other one keeps nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closes {
    /// Whoever comes first.
    Either,
    /// The server, as the request asks it to. HTTP/2 has no words for that, so there it is whoever
    /// comes first as well, as far as the server is concerned.
    Server,
}

/// Bytes of the usual answer that are read at most: enough for any page, and a round of thirty arms stays
/// below 128 MiB of traffic.
pub const MAX_BODY: u64 = 4 << 20;

/// After the answer the connection is given this long to close in an orderly way.
const GRACE: Duration = Duration::from_millis(250);

/// What came of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// There whenever a whole header came.
    pub facts: Option<HttpFacts>,
    /// How it ended.
    pub end: Result<(), Stopped>,
}

/// Why an exchange did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It failed, after the server had said something, or too late.
    Failed(Layer, Failure),
    /// The server ended the connection and had not said anything.
    Mute(Layer, Failure),
    /// The server answered in this version of HTTP, in which it was not asked.
    Speaks(HttpVersion),
}

/// Makes one exchange in one version of HTTP.
pub async fn exchange<S>(
    ask: &Ask<'_>,
    version: HttpVersion,
    stream: S,
    within: Duration,
    clock: &Clock,
) -> Exchange
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let trace = Arc::new(Mutex::new(Trace::of(version)));
    let watched = Watched {
        stream,
        clock,
        trace: Arc::clone(&trace),
        closes: ask.closes,
    };
    let mut answer = Answer::new(ask.request);
    let run = async {
        match version {
            HttpVersion::One => one::run(ask, watched, &mut answer).await,
            HttpVersion::Two => two::run(ask, watched, &mut answer, &trace).await,
        }
    };
    let ended = match timeout(within, run).await {
        Ok(ended) => ended,
        Err(_) => Err(Stop::Limit),
    };
    let trace = lock(&trace);
    let end = match ended {
        Ok(()) => answer.judged(&trace),
        Err(stop) => Err(stopped(&stop, version, &trace, &answer)),
    };
    if let (Some(jar), Some(headers)) = (ask.jar, answer.headers()) {
        jar.take(headers, ask.request.path.as_str());
    }
    Exchange {
        facts: answer.facts(ask, &trace),
        end,
    }
}

/// Why an exchange did not come to its end, as far as the libraries tell.
enum Stop {
    Limit,
    One(hyper::Error),
    Two(h2::Error),
}

impl From<hyper::Error> for Stop {
    fn from(error: hyper::Error) -> Self {
        Self::One(error)
    }
}

impl From<h2::Error> for Stop {
    fn from(error: h2::Error) -> Self {
        Self::Two(error)
    }
}

fn stopped(stop: &Stop, version: HttpVersion, trace: &Trace, answer: &Answer<'_>) -> Stopped {
    let one_wanted =
        matches!(stop, Stop::Two(error) if error.reason() == Some(h2::Reason::HTTP_1_1_REQUIRED));
    let instead = match version {
        HttpVersion::One if trace.opens_with_frame() => Some(HttpVersion::Two),
        HttpVersion::Two if trace.opens_with_status_line() || one_wanted => Some(HttpVersion::One),
        HttpVersion::One | HttpVersion::Two => None,
    };
    if let Some(instead) = instead.filter(|_| answer.has_no_head()) {
        return Stopped::Speaks(instead);
    }
    let broke = match stop {
        Stop::Limit => Break::Limit,
        Stop::One(error) => one::broke(error, trace),
        Stop::Two(error) => two::broke(error, trace),
    };
    let (layer, failure) = failure::http(broke, answer.progress(trace));
    match broke {
        Break::Reset | Break::End if trace.is_mute() => Stopped::Mute(layer, failure),
        Break::Limit | Break::Parser | Break::Reset | Break::End | Break::Alert(_) | Break::Tls => {
            Stopped::Failed(layer, failure)
        }
    }
}
