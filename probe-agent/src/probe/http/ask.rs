//! What is asked, and the headers that go with it.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, Request as HttpRequest, Uri};
use localize::{Encoding, RoundId, Scheme};

use super::Closes;
use crate::probe::cookie::Jar;
use crate::secret::Sent;
use crate::service::Request;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The `Host` header.
    pub authority: &'a Authority,
    /// Method, path, body, and what a good answer is.
    pub request: &'a Request,
    /// The service's own headers.
    pub sent: &'a Sent,
    /// The round, so that the request can be found in the server's log.
    pub round: RoundId,
    /// Who is the first to close.
    pub closes: Closes,
    /// Where the cookies go that the answer gives, if they are kept.
    pub jar: Option<&'a Jar>,
}

const ROUND: HeaderName = HeaderName::from_static("mesh-round");

impl Ask<'_> {
    /// The request in the form of HTTP/1.1, without a body.
    pub(super) fn one(&self) -> HttpRequest<()> {
        let mut request = HttpRequest::new(());
        *request.uri_mut() = Uri::from(self.request.path.clone());
        let mut headers = HeaderMap::new();
        // An authority holds only characters that a header value may hold.
        if let Ok(host) = HeaderValue::from_str(self.authority.as_str()) {
            headers.insert(header::HOST, host);
        }
        headers.extend(self.common());
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        *request.headers_mut() = headers;
        *request.method_mut() = self.request.method.clone();
        request
    }

    /// The request in the form of HTTP/2 (RFC 9113, section 8.3.1), without a body.
    pub(super) fn two(&self) -> HttpRequest<()> {
        let mut request = HttpRequest::new(());
        let scheme = match self.request.scheme {
            Scheme::Https => "https",
            Scheme::Http | Scheme::Tcp => "http",
        };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(self.authority.clone())
            .path_and_query(self.request.path.clone());
        // Of three good parts a good whole is made.
        *request.uri_mut() = uri.build().unwrap_or_default();
        *request.headers_mut() = self.common();
        *request.method_mut() = self.request.method.clone();
        *request.version_mut() = http::Version::HTTP_2;
        request
    }

    /// The headers that both versions have; the service's own take the place of the probe's, but for what
    /// sets the arm apart.
    fn common(&self) -> HeaderMap {
        let agent = format!(
            "mesh-probe/{} (round={}; +https://mesh.invalid/probe)",
            env!("CARGO_PKG_VERSION"),
            self.round.0
        );
        let mut headers = HeaderMap::new();
        if let Ok(agent) = HeaderValue::from_str(&agent) {
            headers.insert(header::USER_AGENT, agent);
        }
        headers.insert(ROUND, self.round.0.into());
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        // Without it some servers refuse a POST (RFC 9110, section 8.6).
        if self.request.method == Method::POST {
            headers.insert(header::CONTENT_LENGTH, self.request.body.len().into());
        }
        for (name, value) in self.sent.headers() {
            headers.insert(name.clone(), value.clone());
        }
        match self.request.encoding {
            Encoding::Identity => {
                let identity = HeaderValue::from_static("identity");
                headers.entry(header::ACCEPT_ENCODING).or_insert(identity);
            }
            Encoding::Gzip => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
            }
        }
        headers
    }
}
