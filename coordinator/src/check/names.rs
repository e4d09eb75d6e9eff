//! Whether the name resolves, and by whom.

use std::collections::BTreeSet;

use localize::{Failure, Target};

use super::reading::Row;
use super::targets::{self, at_fault};
use super::words::{does, listed};
use super::{Finding, Grade, Scene};

pub(super) fn findings(scene: &Scene<'_>) -> Vec<Finding> {
    let resolvers: Vec<&Row<'_>> = rows(scene, |t| matches!(t, Target::Resolver { .. }));
    let servers: Vec<&Row<'_>> = rows(scene, |t| matches!(t, Target::NameServer { .. }));
    let mut findings = Vec::new();
    let failed = |row: &&&Row<'_>| row.failed().next().is_some();
    let unresolved = resolvers.iter().any(|row| failed(&row))
        && resolvers.iter().all(|row| row.passed().next().is_none());
    if unresolved {
        findings.push(no_resolution(scene, &resolvers));
    } else {
        findings.extend(
            resolvers
                .iter()
                .filter(failed)
                .map(|row| resolver(scene, row)),
        );
    }
    // Those that say of the name what resolvers say say nothing more.
    let said: BTreeSet<Failure> = match unresolved {
        true => resolvers
            .iter()
            .filter_map(|row| row.one_failure())
            .collect(),
        false => BTreeSet::new(),
    };
    let of_the_name = |failure| matches!(failure, Failure::DnsNxdomain | Failure::DnsNoData);
    for row in servers.iter().filter(failed) {
        let repeated = row.one_failure().filter(|f| of_the_name(*f));
        if repeated.is_none_or(|failure| !said.contains(&failure)) {
            findings.push(name_server(scene, row));
        }
    }
    findings
}

fn rows<'s, 'c>(scene: &'s Scene<'c>, is: impl Fn(&Target) -> bool) -> Vec<&'s Row<'c>> {
    scene.rows.iter().filter(|row| is(&row.target)).collect()
}

/// No resolver of anybody gives an address.
fn no_resolution(scene: &Scene<'_>, resolvers: &[&Row<'_>]) -> Finding {
    let host = &scene.checked.file.url.host;
    let mut ways: Vec<String> = Vec::new();
    let mut failures = BTreeSet::new();
    let mut vantages = BTreeSet::new();
    for row in resolvers {
        for (spot, failure, _) in row.failed() {
            vantages.insert(spot.to_owned());
            failures.insert(failure);
        }
    }
    for failure in &failures {
        let by = resolvers
            .iter()
            .filter(|row| row.failed().any(|(_, f, _)| f == *failure));
        let by: Vec<String> = by.map(|row| row.label()).collect();
        ways.push(format!("{}: {}", listed(&by), does(*failure, host)));
    }
    let absent = failures
        .iter()
        .all(|f| matches!(f, Failure::DnsNxdomain | Failure::DnsNoData));
    let spelt = match absent {
        true => format!("Is {host} spelt as it should be? "),
        false => "Do the resolvers serve these agents, and does the zone? ".to_owned(),
    };
    Finding {
        failure: failures.first().copied().filter(|_| failures.len() == 1),
        vantages: vantages.into_iter().collect(),
        ..Finding::new(
            Grade::Warning,
            scene.places.url(),
            format!("{host} does not resolve just now; {}.", ways.join("; ")),
            spelt + &scene.doubt(),
        )
    }
}

fn resolver(scene: &Scene<'_>, row: &Row<'_>) -> Finding {
    let at = match &row.target {
        Target::Resolver { server } => scene.places.resolver(*server),
        Target::NameServer { .. }
        | Target::Edge { .. }
        | Target::Vip { .. }
        | Target::Backend { .. } => None,
    };
    let (grade, hint) = match (at.is_some(), row.one_failure()) {
        // An agent's own: not of the file.
        (false, _) => (Grade::Note, "It is one that agents use by themselves. "),
        (true, Some(Failure::DnsRefused)) => (
            Grade::Warning,
            "Does it answer questions of these agents' networks? ",
        ),
        (true, _) => (
            Grade::Warning,
            "Is it a resolver, and is its address right? ",
        ),
    };
    at_fault(scene, row, at, grade, hint.to_owned())
}

fn name_server(scene: &Scene<'_>, row: &Row<'_>) -> Finding {
    let host = &scene.checked.file.url.host;
    let (mut at, mut address) = (None, String::new());
    if let Target::NameServer { server, .. } = &row.target {
        at = scene.places.name_server(*server);
        address = server.ip().to_string();
    }
    let hint = match row.one_failure() {
        Some(Failure::DnsRefused | Failure::DnsLame | Failure::DnsServfail) => {
            format!("Does it serve the zone? `dig +norec @{address} {host}` asks the same. ")
        }
        Some(Failure::DnsNxdomain | Failure::DnsNoData) => {
            "Does it serve the zone as its others do? ".to_owned()
        }
        _ if at.is_some() => "Is its address right, and does it take questions? ".to_owned(),
        _ => String::new(),
    };
    let once = row
        .failed()
        .all(|(_, f, tries)| f == Failure::DnsTimeout && tries < 2);
    // A question is one packet, and may be lost.
    let grade = match once {
        true => Grade::Note,
        false => Grade::Warning,
    };
    targets::at_fault(scene, row, at, grade, hint)
}
