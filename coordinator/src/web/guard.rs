//! What is checked of every request, and the headers of every answer.
//!
//! Nobody has to log in on loopback, so any site that an operator's browser opens could try to have it
//! ask here. Names that are resolved to 127.0.0.1 only for that (DNS rebinding) are refused by the Host
//! header, and forms of other sites by what browsers say of where a request comes from.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::trouble::Trouble;

/// Nothing but our own styles, script and pictures; no inline script, no inline style.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// What a browser says of where a request comes from (Fetch Metadata, W3C).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what does not come from here, and puts the headers on whatever is answered.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let refused = match (request.method(), host(headers)) {
        (_, host) if !is_local(host) => Some(Trouble::ForeignHost),
        (&Method::GET | &Method::HEAD, _) => None,
        (_, host) => is_foreign(headers, host).then_some(Trouble::ForeignSite),
    };
    let mut response = match refused {
        Some(trouble) => {
            tracing::debug!(path = super::path(&request), %trouble, "request refused");
            trouble.into_response()
        }
        None => next.run(request).await,
    };
    protect(response.headers_mut());
    response
}

fn host(headers: &HeaderMap) -> &str {
    headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("")
}

/// Whether a Host header names this host by loopback, at whatever port: a tunnel has its own.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(ip, _)| ip),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let loopback = |ip: IpAddr| ip.is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(loopback)
}

/// Whether another site has made the browser ask. Browsers say so by themselves where a connection is
/// trustworthy, as one to loopback is, and through a proxy that changes the Host too; others tell the
/// origin. Programs that are no browser say neither.
fn is_foreign(headers: &HeaderMap, host: &str) -> bool {
    let said = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match (said(&FETCH_SITE), said(&ORIGIN)) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin.strip_prefix("http://") != Some(host),
        (None, None) => false,
    }
}

fn protect(headers: &mut HeaderMap) {
    let fixed = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_asked_by_name() {
        let local = [
            "127.0.0.1:7480",
            "localhost",
            "LocalHost:8080",
            "[::1]:7480",
            "127.9.9.9",
        ];
        for host in local {
            assert!(is_local(host), "{host}");
        }
        let foreign = [
            "",
            "evil.example",
            "evil.example:7480",
            "127.0.0.1.evil.example",
            "10.0.0.1:7480",
            "[2001:db8::1]:7480",
            "localhost.evil.example",
            "[::1",
        ];
        for host in foreign {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn forms_of_other_sites_are_known() {
        let host = "127.0.0.1:7480";
        let rows: [(&[(HeaderName, &str)], bool); 8] = [
            (&[], false),
            (
                &[
                    (ORIGIN, "http://127.0.0.1:7480"),
                    (FETCH_SITE, "same-origin"),
                ],
                false,
            ),
            (&[(ORIGIN, "http://127.0.0.1:9999")], true),
            (&[(ORIGIN, "http://127.0.0.1:7480")], false),
            (
                &[
                    (ORIGIN, "https://mesh.example"),
                    (FETCH_SITE, "same-origin"),
                ],
                false,
            ),
            (&[(ORIGIN, "null")], true),
            (&[(ORIGIN, "https://evil.example")], true),
            (&[(FETCH_SITE, "cross-site")], true),
        ];
        for (said, foreign) in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in said {
                headers.insert(name.clone(), HeaderValue::from_static(value));
            }
            assert_eq!(is_foreign(&headers, host), foreign, "{said:?}");
        }
    }
}
