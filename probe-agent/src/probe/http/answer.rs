//! What comes of an answer.

use std::borrow::Cow;

use http::header::{self, HeaderMap};
use http::response;
use localize::{HttpFacts, Layer, Redirect};
use url::Url;

use super::body::{Body, More};
use super::expected::Expected;
use super::watched::Trace;
use super::{Ask, Stopped};
use crate::failure::Progress;
use crate::secret::HIDDEN;
use crate::service::Request;

/// What came of the answer, kept outside of the future that reads it, since a limit drops that.
pub(super) struct Answer<'a> {
    request: &'a Request,
    head: Option<response::Parts>,
    body: Body,
}

impl<'a> Answer<'a> {
    /// Nothing as yet. Digest and count are of what is read of the body.
    pub(super) fn new(request: &'a Request) -> Self {
        Self {
            request,
            head: None,
            body: Body::new(request.expected.search(), request.at_most),
        }
    }

    pub(super) fn begins(&mut self, head: response::Parts) {
        self.body.begins(self.request.encoding, &head.headers);
        self.head = Some(head);
    }

    pub(super) fn take(&mut self, data: &[u8]) -> More {
        self.body.take(data)
    }

    pub(super) fn has_no_head(&self) -> bool {
        self.head.is_none()
    }

    pub(super) fn progress(&self, trace: &Trace) -> Progress {
        match (trace.written, trace.first_byte, &self.head) {
            (_, _, Some(_)) => Progress::Body,
            (None, _, None) => Progress::Writing,
            (Some(_), None, None) => Progress::Waiting,
            (Some(_), Some(_), None) => Progress::Header,
        }
    }

    /// Whether an answer that came whole is the one expected.
    pub(super) fn judged(&mut self, trace: &Trace) -> Result<(), Stopped> {
        let Some(head) = &self.head else {
            return Ok(());
        };
        // Nobody knows what a page says that cannot be unpacked.
        let unread = self.body.failure();
        let found = unread.is_some() || self.body.found();
        let took = trace.until_first_byte();
        let expected: &Expected = &self.request.expected;
        let unwanted = expected.failure(head.status, &head.headers, found, took);
        match unwanted.or(unread) {
            Some(failure) => Err(Stopped::Failed(Layer::Http, failure)),
            None => Ok(()),
        }
    }

    /// The header, as far as one came.
    pub(super) fn headers(&self) -> Option<&HeaderMap> {
        self.head.as_ref().map(|head| &head.headers)
    }

    pub(super) fn facts(self, ask: &Ask<'_>, trace: &Trace) -> Option<HttpFacts> {
        let head = self.head?;
        Some(HttpFacts {
            status: head.status.as_u16(),
            first_byte: trace.until_first_byte()?,
            body_bytes: self.body.came(),
            body_digest: self.body.digest(),
            redirect: redirect(ask, &head),
            headers: telling(&head.headers, ask),
        })
    }
}

/// Where an answer sends the client. A Location that no client could follow leads elsewhere: what is
/// certain is that nobody comes to the service by it.
fn redirect(ask: &Ask<'_>, head: &response::Parts) -> Redirect {
    let follows = matches!(head.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = head.headers.get(header::LOCATION).filter(|_| follows) else {
        return Redirect::None;
    };
    let asked = format!("http://{}{}", ask.authority, ask.request.path);
    let same = Url::parse(&asked).ok().and_then(|asked| {
        let text = std::str::from_utf8(location.as_bytes()).ok()?;
        let leads = asked.join(text).ok()?;
        let spoken = matches!(leads.scheme(), "http" | "https");
        Some(spoken && site(asked.host_str()?) == site(leads.host_str()?))
    });
    match same {
        Some(true) => Redirect::Within,
        Some(false) | None => Redirect::Elsewhere,
    }
}

/// A host's name without what makes no other site of it. The library has it in lower case.
fn site(host: &str) -> &str {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.strip_prefix("www.").unwrap_or(host)
}

/// Headers that change with every answer, or are long and tell nothing of who made it.
const LEFT_OUT: [&str; 13] = [
    "date",
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

/// What a server sends back of a secret that was sent to it is hidden before anything is cut, or half of it
/// would remain.
fn telling(headers: &HeaderMap, ask: &Ask<'_>) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()))
        .take(MAX_HEADERS)
        .map(|(name, value)| {
            // That a cookie is given is told, and not what it says.
            let text = match *name == header::SET_COOKIE {
                true => Cow::Borrowed(HIDDEN),
                false => String::from_utf8_lossy(value.as_bytes()),
            };
            (
                ask.sent.hidden(name.as_str()).into_owned(),
                cut(&ask.sent.hidden(&text)),
            )
        })
        .collect()
}

fn cut(text: &str) -> String {
    let end = (0..=MAX_VALUE.min(text.len()))
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    text[..end].to_owned()
}
