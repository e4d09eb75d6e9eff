//! What the url answers: one answer of everybody is one finding, however many were asked.

use std::collections::BTreeSet;

use localize::{Failure, Redirect, Scheme, Target};

use super::reading::{Row, is_public};
use super::words::{capital, does, listed};
use super::{Finding, Grade, Scene};
use crate::service_file::Declaration;

pub(super) fn findings(scene: &Scene<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = common(scene).into_iter().map(|f| asked(scene, f)).collect();
    findings.extend(redirect(scene));
    findings
}

/// A whole answer that is not the wanted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// By its status.
    Status(u16),
    /// By its status, as the file says.
    Unexpected(u16),
    /// By its body.
    Body,
    /// By when it came.
    Late,
    /// By the version of HTTP.
    Version,
}

impl Answer {
    /// `None` for what is no whole answer of the service.
    pub(super) const fn of(failure: Failure) -> Option<Self> {
        match failure {
            Failure::HttpStatus(status) => Some(Self::Status(status)),
            Failure::UnexpectedStatus(status) => Some(Self::Unexpected(status)),
            Failure::UnexpectedBody => Some(Self::Body),
            Failure::LateFirstByte => Some(Self::Late),
            Failure::HttpVersion(_) => Some(Self::Version),
            Failure::DnsTimeout
            | Failure::DnsUnreachable
            | Failure::DnsRefused
            | Failure::DnsServfail
            | Failure::DnsNxdomain
            | Failure::DnsNoData
            | Failure::DnsMalformed
            | Failure::DnsLame
            | Failure::ConnectRefused
            | Failure::ConnectTimeout
            | Failure::ConnectUnreachable
            | Failure::ConnectLocal
            | Failure::TlsTimeout
            | Failure::TlsReset
            | Failure::TlsAlert(_)
            | Failure::CertificateExpired
            | Failure::CertificateNotYetValid
            | Failure::CertificateUnknownIssuer
            | Failure::CertificateChainIncomplete
            | Failure::CertificateWrongName
            | Failure::CertificateInvalid
            | Failure::TlsProtocol
            | Failure::ResetBeforeRequest
            | Failure::ResetAfterRequest
            | Failure::ClosedWithoutAnswer
            | Failure::HttpTimeout
            | Failure::BodyTimeout
            | Failure::BodyTruncated
            | Failure::HttpMalformed
            | Failure::CdnStatus(_) => None,
        }
    }
}

/// The one answer that all give who answer the url at all, if it is not the wanted one.
pub(super) fn common(scene: &Scene<'_>) -> Option<Failure> {
    let mut answers: BTreeSet<Failure> = BTreeSet::new();
    let mut answering = 0;
    for row in scene.rows.iter().filter(|row| is_of_the_url(scene, row)) {
        if row.passed().next().is_some() {
            return None;
        }
        let failures = row.failed().map(|(_, failure, _)| failure);
        let failures: Vec<Failure> = failures.filter(|f| Answer::of(*f).is_some()).collect();
        answering += usize::from(!failures.is_empty());
        answers.extend(failures);
    }
    match answers.len() {
        // One alone says nothing of the others.
        1 if answering > 1 || public_rows(scene).count() == answering => answers.first().copied(),
        _ => None,
    }
}

fn is_of_the_url(scene: &Scene<'_>, row: &Row<'_>) -> bool {
    let file = &scene.checked.file;
    let asked = match &row.target {
        Target::Resolver { .. } | Target::NameServer { .. } => false,
        Target::Edge { .. } | Target::Vip { .. } => true,
        Target::Backend { name, .. } => file.backends.iter().any(|backend| {
            backend.name == *name && backend.path == file.url.path && backend.scheme != Scheme::Tcp
        }),
    };
    asked && row.is_plain()
}

fn public_rows<'s, 'c>(scene: &'s Scene<'c>) -> impl Iterator<Item = &'s Row<'c>> {
    let topology = &scene.checked.topology;
    scene.rows.iter().filter(|row| is_public(row, topology))
}

/// Everybody gives this answer.
fn asked(scene: &Scene<'_>, failure: Failure) -> Finding {
    let file = &scene.checked.file;
    let rows = scene.rows.iter().filter(|row| is_of_the_url(scene, row));
    let rows = rows.filter(|row| row.failed().any(|(_, f, _)| f == failure));
    let rows: Vec<&Row<'_>> = rows.collect();
    let labels: Vec<String> = rows.iter().map(|row| row.label()).collect();
    let spots = rows.iter().flat_map(|row| row.failed());
    let spots: BTreeSet<String> = spots.map(|(spot, _, _)| spot.to_owned()).collect();
    let vantages: Vec<String> = spots.into_iter().collect();
    let what = format!(
        "{} just now, whoever is asked: {}; asked by {}.",
        capital(&does(failure, &file.url.host)),
        listed(&labels),
        listed(&vantages)
    );
    Finding {
        vantages,
        failure: Some(failure),
        ..Finding::new(
            Grade::Warning,
            place(scene, failure),
            what,
            Answer::of(failure).map_or_else(String::new, |answer| next(scene, answer)),
        )
    }
}

/// What of the file an answer is about.
fn place(scene: &Scene<'_>, failure: Failure) -> Option<Declaration> {
    let places = &scene.places;
    let at = match Answer::of(failure) {
        Some(Answer::Unexpected(_)) => places.status(),
        Some(Answer::Body) => places.body(),
        Some(Answer::Late) => places.max_ttfb(),
        Some(Answer::Status(_) | Answer::Version) | None => None,
    };
    at.or_else(|| places.url())
}

/// What to do about an answer.
pub(super) fn next(scene: &Scene<'_>, answer: Answer) -> String {
    let doubt = scene.doubt();
    let (Answer::Status(status) | Answer::Unexpected(status)) = answer else {
        return match answer {
            Answer::Body => format!("Is it the text of the page at url? {doubt}"),
            Answer::Late => format!("Is that as late as usual? {doubt}"),
            Answer::Status(_) | Answer::Unexpected(_) | Answer::Version => doubt,
        };
    };
    let expected = format!("If it is the good answer, say so: [expect] status = [{status}].");
    match status {
        401 | 403 => {
            format!("What lets the agents in can stand under [request] headers. {expected} {doubt}")
        }
        404 | 410 => format!("Is the path right? {expected} {doubt}"),
        405 => format!("Is [request] method right? {expected} {doubt}"),
        429 => format!("Let the agents in, or have them ask less often. {doubt}"),
        500.. => format!("That is rather the service's than the file's. {doubt}"),
        _ => format!("{expected} {doubt}"),
    }
}

/// Users are sent on, and the file does not say that this is the good answer.
fn redirect(scene: &Scene<'_>) -> Option<Finding> {
    let file = &scene.checked.file;
    if !file.expect.statuses.is_empty() {
        return None;
    }
    let mut sent: Option<(Redirect, u16)> = None;
    let mut vantages = BTreeSet::new();
    for row in public_rows(scene) {
        for (spot, seen) in row.passed() {
            let http = seen.facts.http.as_ref()?;
            vantages.insert(spot.to_owned());
            match sent {
                None => sent = Some((http.redirect, http.status)),
                Some((redirect, _)) if redirect == http.redirect => {}
                Some(_) => return None,
            }
        }
    }
    let (redirect, status) = sent?;
    let (grade, whither) = match redirect {
        Redirect::None => return None,
        Redirect::Within => (Grade::Note, "on within the site"),
        Redirect::Elsewhere => (Grade::Warning, "to another site"),
    };
    Some(Finding {
        vantages: vantages.into_iter().collect(),
        ..Finding::new(
            grade,
            scene.places.url(),
            format!("Answers {status} and sends users {whither}; redirects are not followed."),
            format!(
                "Let url name where it leads to, or say that this is the good answer: [expect] \
                 status = [{status}]."
            ),
        )
    })
}
