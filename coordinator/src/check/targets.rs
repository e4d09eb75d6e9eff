//! What the file says of addresses: the balancer's, the backends', and what users are given.

use std::collections::BTreeMap;

use localize::{CdnProvider, Failure, Object, Scheme, Target};

use super::answers::{self, Answer};
use super::reading::{Row, is_public};
use super::words::{capital, listed, sentence};
use super::{Finding, Grade, Scene};
use crate::service_file::Declaration;

pub(super) fn findings(scene: &Scene<'_>) -> Vec<Finding> {
    let common = answers::common(scene);
    let mut findings = same_addresses(scene);
    findings.extend(beside_the_name(scene));
    findings.extend(left_out(scene));
    for row in &scene.rows {
        let told = |failure| Some(failure) == common && row.is_plain();
        let mut failures = row.failed().filter(|(_, failure, _)| !told(*failure));
        if failures.next().is_some() {
            findings.extend(of_target(scene, row));
        }
    }
    grouped(findings)
}

/// What a row with a failure tells, but for those of DNS.
fn of_target(scene: &Scene<'_>, row: &Row<'_>) -> Option<Finding> {
    let file = &scene.checked.file;
    let at = match (&row.target, row.traits.object) {
        (Target::Resolver { .. } | Target::NameServer { .. }, _) => return None,
        (_, Object::Large) => scene.places.large_path(),
        (Target::Edge { .. }, _) => None,
        (Target::Vip { address }, _) => scene.places.vip(*address, file.url.port),
        (Target::Backend { name, .. }, _) => scene.places.backend(name),
    };
    let grade = match contradicts(scene, row) {
        true => Grade::Error,
        false => Grade::Warning,
    };
    Some(at_fault(scene, row, at, grade, hint(scene, row)))
}

/// Whether all declared targets of the kind speak another protocol than declared, each time, while users
/// are served: no fault of these would leave users served.
fn contradicts(scene: &Scene<'_>, row: &Row<'_>) -> bool {
    let kind = std::mem::discriminant(&row.target);
    let topology = &scene.checked.topology;
    let same = scene
        .rows
        .iter()
        .filter(|other| std::mem::discriminant(&other.target) == kind && other.is_plain());
    let foreign = |row: &Row<'_>| {
        let failed = row.failed().count() > 0 && row.passed().next().is_none();
        let mut ways = row.failed();
        let mismatch = |f| matches!(f, Failure::TlsProtocol | Failure::HttpMalformed);
        failed && ways.all(|(_, failure, tries)| mismatch(failure) && tries > 1)
    };
    let declared = matches!(row.target, Target::Vip { .. } | Target::Backend { .. });
    declared && scene.served && !is_public(row, topology) && same.into_iter().all(foreign)
}

/// What may be wrong with the file where a target fails so.
fn hint(scene: &Scene<'_>, row: &Row<'_>) -> String {
    let file = &scene.checked.file;
    let Some(failure) = row.one_failure() else {
        return String::new();
    };
    if row.traits.object == Object::Large {
        return "Is the path right? ".to_owned();
    }
    let backend = match &row.target {
        Target::Backend { name, .. } => file.backends.iter().find(|b| b.name == *name),
        Target::Resolver { .. }
        | Target::NameServer { .. }
        | Target::Edge { .. }
        | Target::Vip { .. } => None,
    };
    let is_edge = matches!(row.target, Target::Edge { .. });
    match failure {
        Failure::ConnectRefused if !is_edge => "Are address and port right? ".to_owned(),
        Failure::ConnectTimeout | Failure::ConnectUnreachable if !is_edge => {
            "Is the address right, and does a firewall let the agents in? ".to_owned()
        }
        Failure::TlsProtocol | Failure::TlsReset => match backend {
            Some(_) => "Does it speak plain HTTP? Then its scheme = \"http\". ".to_owned(),
            None => "Is plain HTTP spoken at this port, and TLS at another? ".to_owned(),
        },
        Failure::HttpMalformed | Failure::HttpStatus(400)
            if backend.is_some_and(|b| b.scheme == Scheme::Http) =>
        {
            "Does it speak TLS? Then its scheme = \"https\". ".to_owned()
        }
        Failure::CertificateUnknownIssuer => match file.ca_pem {
            None => "Name its authority: [tls] ca_file. ".to_owned(),
            Some(_) => "Is it of an authority in ca_file, or a public one? ".to_owned(),
        },
        Failure::CertificateChainIncomplete => {
            "Does it send the whole chain, or is its authority one to name in [tls] ca_file? "
                .to_owned()
        }
        Failure::CertificateWrongName => format!(
            "It is asked as {}: is it a server of this site? ",
            file.url.host
        ),
        Failure::HttpStatus(..500) | Failure::UnexpectedStatus(..500) if !is_edge => {
            format!("Is it a server of {}? ", file.url.authority)
        }
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
        | Failure::TlsAlert(_)
        | Failure::CertificateExpired
        | Failure::CertificateNotYetValid
        | Failure::CertificateInvalid
        | Failure::ResetBeforeRequest
        | Failure::ResetAfterRequest
        | Failure::ClosedWithoutAnswer
        | Failure::HttpTimeout
        | Failure::BodyTimeout
        | Failure::BodyTruncated
        | Failure::HttpMalformed
        | Failure::HttpStatus(_)
        | Failure::CdnStatus(_)
        | Failure::UnexpectedStatus(_)
        | Failure::UnexpectedBody
        | Failure::LateFirstByte
        | Failure::HttpVersion(_) => String::new(),
    }
}

/// A target that somebody did not get through to.
pub(super) fn at_fault(
    scene: &Scene<'_>,
    row: &Row<'_>,
    at: Option<Declaration>,
    grade: Grade,
    hint: String,
) -> Finding {
    let sentence = sentence(row, &scene.checked.file.url.host, grade);
    let declared = at.is_some() && row.is_plain();
    let mut what = match declared {
        true => capital(&sentence),
        // What was found out has no line of its own.
        false => format!("{}: {sentence}", row.label()),
    };
    if grade == Grade::Error {
        what += " Users are served all the same, so that it is not part of their path as declared.";
    }
    let usual = row.one_failure().filter(|_| row.is_plain());
    let answer = usual.and_then(Answer::of);
    let next = match (grade, answer) {
        (Grade::Error | Grade::Note, _) => hint.trim_end().to_owned(),
        (_, Some(answer)) => hint + &answers::next(scene, answer),
        (_, None) => hint + &scene.doubt(),
    };
    Finding {
        vantages: row.failed().map(|(spot, _, _)| spot.to_owned()).collect(),
        arm: row.label(),
        failure: row.one_failure(),
        ..Finding::new(grade, at.or_else(|| scene.places.url()), what, next)
    }
}

/// Findings alike of several public addresses are one.
fn grouped(findings: Vec<Finding>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::new();
    for finding in findings {
        let said = |f: &Finding| {
            f.what
                .strip_prefix(&format!("{}: ", f.arm))
                .map(str::to_owned)
        };
        let alike = said(&finding).and_then(|words| {
            kept.iter_mut().find(|known| {
                let arms = known
                    .what
                    .split_once(": ")
                    .map(|(_, words)| words.to_owned());
                arms.as_ref() == Some(&words) && known.at == finding.at
            })
        });
        match alike {
            Some(known) => {
                let labels = known.what.split_once(": ").map_or("", |(labels, _)| labels);
                known.what = format!("{labels}, {}", finding.what);
                known.arm = String::new();
            }
            None => kept.push(finding),
        }
    }
    kept
}

/// Backends of one address, and backends at the balancer's.
fn same_addresses(scene: &Scene<'_>) -> Vec<Finding> {
    let file = &scene.checked.file;
    let mut findings = Vec::new();
    for (index, backend) in file.backends.iter().enumerate() {
        let at = scene.places.backend(&backend.name);
        let mut before = file.backends.iter().take(index);
        let twin = before.find(|other| {
            (other.address, other.scheme, &other.path)
                == (backend.address, backend.scheme, &backend.path)
        });
        if let Some(twin) = twin {
            findings.push(Finding::new(
                Grade::Error,
                at,
                format!(
                    "The address of {} as well: no probe can tell the two apart.",
                    twin.name
                ),
                format!("Give {} its own address, or leave it out.", backend.name),
            ));
        } else if file.vips.contains(&backend.address) {
            findings.push(Finding::new(
                Grade::Error,
                at,
                "The address in load_balancer.vip as well: a balancer and its backend are not one."
                    .to_owned(),
                "One of the two is wrong: a backend's is the one at which the balancer reaches it."
                    .to_owned(),
            ));
        }
    }
    findings
}

/// Virtual addresses that the name does not lead to, where nobody is known to stand between.
fn beside_the_name(scene: &Scene<'_>) -> Vec<Finding> {
    let topology = &scene.checked.topology;
    let file = &scene.checked.file;
    let beside = |vip: &&std::net::SocketAddr| !topology.edges.contains(vip);
    let beside = file
        .vips
        .iter()
        .filter(beside)
        .filter(|_| !topology.edges.is_empty());
    let public: Vec<String> = topology.edges.iter().map(|e| e.ip().to_string()).collect();
    let not_among = format!(
        "Not among the addresses of {} ({})",
        file.url.host,
        listed(&public)
    );
    let (grade, what, next) = match &topology.cdn {
        CdnProvider::None => (
            Grade::Warning,
            format!("{not_among}, though the file says that no CDN stands before it."),
            "Is the address right, or is a CDN or another proxy at the public ones? Then name it: \
             [cdn] provider."
                .to_owned(),
        ),
        CdnProvider::Auto(None) if scene.served => (
            Grade::Note,
            format!("{not_among}, and no CDN is known by its answers."),
            "That is as it should be if something stands before it; name it: [cdn] provider."
                .to_owned(),
        ),
        CdnProvider::Auto(_) | CdnProvider::Named(_) => return Vec::new(),
    };
    let finding = |vip: &std::net::SocketAddr| {
        let at = scene.places.vip(*vip, file.url.port);
        Finding::new(grade, at, what.clone(), next.clone())
    };
    beside.map(finding).collect()
}

/// What agents did not fire, and why: once for each reason.
fn left_out(scene: &Scene<'_>) -> Vec<Finding> {
    let mut reasons: BTreeMap<&str, Vec<(&Row<'_>, &str, u32)>> = BTreeMap::new();
    for row in &scene.rows {
        for spot in &row.spots {
            // Said of the agent already.
            let refused = scene.checked.refused.contains_key(spot.vantage);
            let left_out = row.left_out().find(|(name, _, _)| *name == spot.name);
            if let Some((name, why, tries)) = left_out.filter(|_| !refused) {
                reasons.entry(why).or_default().push((row, name, tries));
            }
        }
    }
    let of = |(why, rows): (&str, Vec<(&Row<'_>, &str, u32)>)| not_fired(scene, why, &rows);
    reasons.into_iter().map(of).collect()
}

/// What was not fired for one reason. Where nobody fires at some target, each time, the file asks for what
/// no agent does.
fn not_fired(scene: &Scene<'_>, why: &str, rows: &[(&Row<'_>, &str, u32)]) -> Finding {
    let file = &scene.checked.file;
    let mut labels: Vec<String> = Vec::new();
    let mut vantages: Vec<String> = Vec::new();
    for (row, spot, _) in rows {
        if !labels.contains(&row.label()) {
            labels.push(row.label());
        }
        if !vantages.iter().any(|name| name == spot) {
            vantages.push((*spot).to_owned());
        }
    }
    let nobody = |row: &Row<'_>| row.passed().count() + row.failed().count() == 0;
    let never = rows.iter().any(|(row, _, tries)| nobody(row) && *tries > 1);
    let mut headers = file.request.headers.iter();
    let header = headers.find(|header| why.contains(&header.value.to_string()));
    let at = match (header, rows.first()) {
        (Some(header), _) => scene.places.header(&header.name),
        (None, Some((row, _, _))) => match &row.target {
            Target::Resolver { server } => scene.places.resolver(*server),
            Target::NameServer { server, .. } => scene.places.name_server(*server),
            Target::Edge { .. } => None,
            Target::Vip { address } => scene.places.vip(*address, file.url.port),
            Target::Backend { name, .. } => scene.places.backend(name),
        },
        (None, None) => None,
    };
    let declared = at.is_some();
    let (grade, next) = match never && declared {
        true => (
            Grade::Error,
            "Nobody probes it so: change the file, or what those hosts allow.",
        ),
        false => (Grade::Note, "It counts neither for nor against anybody."),
    };
    Finding {
        arm: match labels.as_slice() {
            [only] => only.clone(),
            _ => String::new(),
        },
        vantages: vantages.clone(),
        ..Finding::new(
            grade,
            at.or_else(|| scene.places.url()),
            format!(
                "{} to {}: not fired, {why}.",
                listed(&vantages),
                listed(&labels)
            ),
            next.to_owned(),
        )
    }
}
