//! Failures as somebody reads them who wrote the file.

use localize::{Failure, HttpVersion};

use super::Grade;
use super::reading::Row;

/// Names that are written out; the rest is counted.
const NAMES: usize = 6;

/// What whoever was asked does, as the predicate of a sentence.
pub(super) fn does(failure: Failure, host: &str) -> String {
    let words = match failure {
        Failure::DnsTimeout => "does not answer questions",
        Failure::DnsUnreachable => "takes no questions (the port is closed, or a firewall says so)",
        Failure::DnsMalformed => "sends answers that cannot be read",
        Failure::DnsRefused => return format!("refuses to answer for {host} (REFUSED)"),
        Failure::DnsServfail => return format!("fails to answer for {host} (SERVFAIL)"),
        Failure::DnsNxdomain => return format!("says that there is no {host} (NXDOMAIN)"),
        Failure::DnsNoData => return format!("knows {host}, but no address of it"),
        Failure::DnsLame => return format!("answers for {host} without authority (lame)"),
        Failure::ConnectRefused => "refuses connections",
        Failure::ConnectTimeout => "leaves connections unanswered",
        Failure::ConnectUnreachable => {
            "cannot be reached (no route, or a router or firewall says so)"
        }
        Failure::ConnectLocal => "cannot be connected to (for reasons of the agent's own host)",
        Failure::TlsTimeout => "takes connections, and leaves TLS handshakes unanswered",
        Failure::TlsReset => "takes connections, and ends them when TLS is asked for",
        Failure::TlsAlert(alert) => return format!("refuses TLS handshakes (alert {alert})"),
        Failure::CertificateExpired => "shows a certificate that has expired",
        Failure::CertificateNotYetValid => "shows a certificate that is not valid yet",
        Failure::CertificateUnknownIssuer => {
            "shows a certificate of an authority that the agents do not know"
        }
        Failure::CertificateChainIncomplete => {
            "shows its certificate without that of the issuer (the chain lacks its intermediate)"
        }
        Failure::CertificateWrongName => {
            return format!("shows a certificate for another name than {host}");
        }
        Failure::CertificateInvalid => "shows a certificate that does not hold",
        Failure::TlsProtocol => "takes connections, and speaks no TLS",
        Failure::ResetBeforeRequest => "resets connections before a request is through",
        Failure::ResetAfterRequest => "resets connections in the place of an answer",
        Failure::ClosedWithoutAnswer => "closes connections without an answer",
        Failure::HttpTimeout => "does not answer requests in time",
        Failure::BodyTimeout => "begins answers and does not end them in time",
        Failure::BodyTruncated => "cuts its answers short",
        Failure::HttpMalformed => "answers with something other than HTTP",
        Failure::HttpStatus(status) => return format!("answers {status}"),
        Failure::CdnStatus(status) => {
            return format!("answers {status}, which the CDN makes by itself");
        }
        Failure::UnexpectedStatus(status) => {
            return format!("answers {status}, which expect.status does not list");
        }
        Failure::UnexpectedBody => "answers without what expect.body asks for",
        Failure::LateFirstByte => "answers later than expect.max_ttfb allows",
        Failure::HttpVersion(HttpVersion::One) => {
            "speaks HTTP/1.1 alone, which request.http leaves out"
        }
        Failure::HttpVersion(HttpVersion::Two) => {
            "speaks HTTP/2 alone, which request.http leaves out"
        }
    };
    words.to_owned()
}

/// What a target that somebody did not get through to does, to whom, and who got through. A warning is of
/// the moment.
pub(super) fn sentence(row: &Row<'_>, host: &str, grade: Grade) -> String {
    let mut ways: Vec<(Failure, Vec<String>)> = Vec::new();
    let mut tries = 1;
    for (spot, failure, tried) in row.failed() {
        tries = tried.max(tries);
        match ways.iter_mut().find(|(known, _)| *known == failure) {
            Some((_, spots)) => spots.push(spot.to_owned()),
            None => ways.push((failure, vec![spot.to_owned()])),
        }
    }
    let passed: Vec<String> = row.passed().map(|(spot, _)| spot.to_owned()).collect();
    let now = match passed.is_empty() && grade != Grade::Error {
        true => " just now",
        false => "",
    };
    let how_often = match tries {
        1 => "once",
        _ => "twice",
    };
    let said = match ways.as_slice() {
        [(failure, spots)] => {
            let (does, spots) = (does(*failure, host), listed(spots));
            format!("{does}{now}; asked {how_often} by {spots}")
        }
        ways => {
            let ways = ways.iter();
            let ways = ways.map(|(way, spots)| format!("{} ({})", does(*way, host), listed(spots)));
            format!(
                "{}{now}; asked {how_often}",
                ways.collect::<Vec<_>>().join(", ")
            )
        }
    };
    match passed.is_empty() {
        true => said + ".",
        false => format!("{said}; {} got through.", listed(&passed)),
    }
}

/// `a`, `a and b`, `a, b and c`, and not too many.
pub(super) fn listed(names: &[String]) -> String {
    let (named, rest) = match names.len() {
        0..=NAMES => (names, String::new()),
        _ => {
            let (named, rest) = names.split_at(NAMES - 1);
            (named, format!("{} others", rest.len()))
        }
    };
    let mut all: Vec<&str> = named.iter().map(String::as_str).collect();
    all.extend(Some(rest.as_str()).filter(|rest| !rest.is_empty()));
    match all.split_last() {
        None => String::new(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
    }
}

/// With a capital letter.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
