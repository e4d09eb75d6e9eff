//! The one table from raw errors to [`Failure`].
//!
//! Every function here is plain and total: whatever the system, the codec or the peer says becomes
//! exactly one failure of the layer in which it was said.

use std::io;

use hickory_proto::op::ResponseCode;
use http::{HeaderMap, StatusCode};
use localize::{Failure, Layer};
use rustls::{AlertDescription, CertificateError};

/// What a name server's code says; `None` for NOERROR.
#[must_use]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the codes of the standard are sixteen and more, and five matter"
)]
pub fn rcode(code: ResponseCode) -> Option<Failure> {
    match code {
        ResponseCode::NoError => None,
        ResponseCode::Refused => Some(Failure::DnsRefused),
        ResponseCode::ServFail => Some(Failure::DnsServfail),
        ResponseCode::NXDomain => Some(Failure::DnsNxdomain),
        _ => Some(Failure::DnsMalformed),
    }
}

/// An error of the socket on which a question was asked: ICMP said that nobody is there, or the
/// connection of the TCP fallback was refused or cut.
#[must_use]
pub fn dns(error: &io::Error) -> Failure {
    match error.kind() == io::ErrorKind::UnexpectedEof {
        true => Failure::DnsMalformed,
        false => match error.raw_os_error() {
            Some(libc::ETIMEDOUT) => Failure::DnsTimeout,
            _ => Failure::DnsUnreachable,
        },
    }
}

/// An error of connect(2), at once or by `SO_ERROR`. The kernel's table from ICMP codes to errors is
/// `icmp_err_convert` in net/ipv4/icmp.c.
#[must_use]
pub fn connect(error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ECONNRESET) => Failure::ConnectRefused,
        Some(libc::ETIMEDOUT) => Failure::ConnectTimeout,
        Some(
            libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::ENOPROTOOPT
            | libc::EOPNOTSUPP
            | libc::EPROTO
            | libc::EACCES,
        ) => Failure::ConnectUnreachable,
        _ => Failure::ConnectLocal,
    }
}

/// An error of the TLS handshake.
#[must_use]
pub fn tls(error: &io::Error) -> Failure {
    match (rustls_error(error), error.raw_os_error()) {
        (Some(error), _) => tls_protocol(error),
        (None, Some(libc::ETIMEDOUT)) => Failure::TlsTimeout,
        (None, _) => Failure::TlsReset,
    }
}

/// The TLS error inside an IO error, where there is one.
#[must_use]
pub fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other error of the library says that the peer does not speak TLS as asked"
)]
fn tls_protocol(error: &rustls::Error) -> Failure {
    match error {
        rustls::Error::AlertReceived(alert) => Failure::TlsAlert(alert_number(*alert)),
        rustls::Error::InvalidCertificate(reason) => certificate(reason),
        _ => Failure::TlsProtocol,
    }
}

/// The alert's number (RFC 8446 section 6).
#[must_use]
pub fn alert_number(alert: AlertDescription) -> u8 {
    u8::from(alert)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the four reasons that are told apart; all others are one"
)]
fn certificate(reason: &CertificateError) -> Failure {
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Failure::CertificateExpired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Failure::CertificateNotYetValid
        }
        CertificateError::UnknownIssuer => Failure::CertificateUnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Failure::CertificateWrongName
        }
        _ => Failure::CertificateInvalid,
    }
}

/// How an exchange of HTTP broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The limit was reached.
    Limit,
    /// The parser refused what came.
    Parser,
    /// RST, or a write to a connection that is gone.
    Reset,
    /// FIN.
    End,
    /// A TLS alert instead of an answer.
    Alert(u8),
    /// The TLS session broke otherwise.
    Tls,
}

/// How far an exchange of HTTP had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The request was not written as a whole.
    Writing,
    /// The request was written; no byte of an answer came.
    Waiting,
    /// Some bytes of an answer came, not a whole header.
    Header,
    /// The header was complete, the body was not.
    Body,
}

/// The failure of an exchange, and the layer that it belongs to.
///
/// With TLS 1.3 the client's handshake ends before the server has judged the client, so an alert that
/// comes in place of an answer is the handshake's (RFC 8446 section 4.4.2).
#[must_use]
pub fn http(broke: Break, progress: Progress) -> (Layer, Failure) {
    let failure = match (broke, progress) {
        (Break::Alert(number), Progress::Writing | Progress::Waiting) => {
            return (Layer::Tls, Failure::TlsAlert(number));
        }
        (Break::Limit, Progress::Body) => Failure::BodyTimeout,
        (Break::Limit, Progress::Writing | Progress::Waiting | Progress::Header) => {
            Failure::HttpTimeout
        }
        (Break::Reset, Progress::Writing) => Failure::ResetBeforeRequest,
        (Break::Reset, Progress::Waiting | Progress::Header | Progress::Body) => {
            Failure::ResetAfterRequest
        }
        (Break::End, Progress::Writing | Progress::Waiting) => Failure::ClosedWithoutAnswer,
        (Break::End, Progress::Body) => Failure::BodyTruncated,
        (Break::End, Progress::Header)
        | (Break::Alert(_), Progress::Header | Progress::Body)
        | (Break::Parser | Break::Tls, _) => Failure::HttpMalformed,
    };
    (Layer::Http, failure)
}

/// What a whole answer says by its status; `None` below 400.
///
/// 520 to 530 are Cloudflare's own codes; they are the CDN's only when its headers are there, since
/// an origin may send any number.
#[must_use]
pub fn status(status: StatusCode, headers: &HeaderMap) -> Option<Failure> {
    let code = status.as_u16();
    if code < 400 {
        return None;
    }
    let by_cdn = headers.contains_key("cf-ray")
        || headers
            .get(http::header::SERVER)
            .is_some_and(|server| server.as_bytes().eq_ignore_ascii_case(b"cloudflare"));
    if by_cdn && (520..=530).contains(&code) {
        Some(Failure::CdnStatus(code))
    } else {
        Some(Failure::HttpStatus(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_connect() {
        let rows = [
            (libc::ECONNREFUSED, Failure::ConnectRefused),
            (libc::ETIMEDOUT, Failure::ConnectTimeout),
            (libc::ENETUNREACH, Failure::ConnectUnreachable),
            (libc::EHOSTUNREACH, Failure::ConnectUnreachable),
            (libc::EACCES, Failure::ConnectUnreachable),
            (libc::EADDRNOTAVAIL, Failure::ConnectLocal),
            (libc::EPERM, Failure::ConnectLocal),
            (libc::EMFILE, Failure::ConnectLocal),
        ];
        for (errno, expected) in rows {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(connect(&error), expected, "{error}");
        }
    }

    #[test]
    fn breaks_of_http() {
        use Failure as F;
        let rows = [
            (Break::Limit, Progress::Waiting, Layer::Http, F::HttpTimeout),
            (Break::Limit, Progress::Header, Layer::Http, F::HttpTimeout),
            (Break::Limit, Progress::Body, Layer::Http, F::BodyTimeout),
            (
                Break::Reset,
                Progress::Writing,
                Layer::Http,
                F::ResetBeforeRequest,
            ),
            (
                Break::Reset,
                Progress::Waiting,
                Layer::Http,
                F::ResetAfterRequest,
            ),
            (
                Break::Reset,
                Progress::Body,
                Layer::Http,
                F::ResetAfterRequest,
            ),
            (
                Break::End,
                Progress::Waiting,
                Layer::Http,
                F::ClosedWithoutAnswer,
            ),
            (Break::End, Progress::Header, Layer::Http, F::HttpMalformed),
            (Break::End, Progress::Body, Layer::Http, F::BodyTruncated),
            (
                Break::Parser,
                Progress::Header,
                Layer::Http,
                F::HttpMalformed,
            ),
            (
                Break::Alert(116),
                Progress::Waiting,
                Layer::Tls,
                F::TlsAlert(116),
            ),
            (
                Break::Alert(80),
                Progress::Body,
                Layer::Http,
                F::HttpMalformed,
            ),
        ];
        for (broke, progress, layer, failure) in rows {
            assert_eq!(
                http(broke, progress),
                (layer, failure),
                "{broke:?} {progress:?}"
            );
        }
    }

    #[test]
    fn a_status_is_the_cdn_s_when_its_headers_are() {
        let rows = [
            (200, "cloudflare", None),
            (302, "nginx", None),
            (404, "nginx", Some(Failure::HttpStatus(404))),
            (503, "cloudflare", Some(Failure::HttpStatus(503))),
            (522, "cloudflare", Some(Failure::CdnStatus(522))),
            (522, "nginx", Some(Failure::HttpStatus(522))),
        ];
        for (code, server, expected) in rows {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::SERVER, server.parse().unwrap());
            let code = StatusCode::from_u16(code).unwrap();
            assert_eq!(status(code, &headers), expected, "{code} {server}");
        }
    }
}
