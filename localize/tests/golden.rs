//! Cases that the lab recorded between real daemons, judged again.

#![allow(clippy::expect_used, reason = "a test")]

use std::fs;
use std::path::Path;

use localize::{Case, Kind, VerdictOutcome, localize};

/// The verdict on a recorded case must name just these components; an empty list means that the case
/// cannot be decided, and must be said to be inconclusive.
fn check(name: &str, expected: &[(Kind, &str)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let text = fs::read(path).expect("the case's file");
    let case: Case = serde_json::from_slice(&text).expect("a case");
    let verdict = localize(&case).verdict;
    let named: Vec<(Kind, &str)> = verdict
        .faults
        .iter()
        .map(|f| (f.component.kind, f.component.name.as_str()))
        .collect();
    assert_eq!(named, expected, "{name}: {:?}", verdict.alternatives);
    let outcome = if expected.is_empty() {
        VerdictOutcome::Inconclusive
    } else {
        VerdictOutcome::Fault
    };
    assert_eq!(verdict.outcome, outcome, "{name}");
}

macro_rules! rows {
    ($($row:ident: $file:literal => [$(($kind:ident, $component:literal)),*];)*) => {
        $(#[test] fn $row() { check($file, &[$((Kind::$kind, $component)),*]); })*
    };
}

rows! {
    authoritative_refuses: "authoritative-refuses-bare.case.json" => [(AuthoritativeDns, "192.0.2.53")];
    backend_closed: "backend-closed-bare.case.json" => [(Backend, "web1")];
    balancer_dead: "balancer-dead-bare.case.json" => [(LoadBalancer, "203.0.113.10:443")];
    edge_cut_off: "edge-cut-off-bare.case.json" => [(CdnOriginPath, "198.51.100.11->203.0.113.10:443")];
    return_route: "return-route-balancer-full.case.json" => [(ReturnPath, "web1->10.0.9.10")];
    path_loses_syns: "path-loses-syns-full.case.json" => [(LbBackendPath, "203.0.113.10:443->web2")];
    path_loses_syns_unseen: "path-loses-syns-bare.case.json" => [];
    // To its own host it answers 502, and others' connections are reset.
    backend_resets: "backend-resets-full.case.json" => [(Backend, "web3")];
    // What is for its address comes to the standby: users' requests, and backends' answers.
    vip_at_standby: "vip-at-standby-full.case.json" => [(LoadBalancer, "203.0.113.10:443")];
    // A balancer that passes bytes on; its checks take out of rotation whom they do not reach.
    last_resort: "balancer-last-resort-full.case.json" => [
        (ReturnPath, "web1->10.0.9.10"), (ReturnPath, "web3->10.0.9.10"), (ReturnPath, "web2->10.0.9.10")
    ];
    backend_drops_syns: "backend-drops-syns-full.case.json" => [(Backend, "web2")];
    // It failed always and fails now and then; those of its own probes that came last all passed, by chance.
    backend_fades: "backend-500-fades.case.json" => [(Backend, "web2")];
}

/// Of a site with a name and an address alone nobody can tell a late CDN from what is late behind it. It was the
/// latter, for the third time in a chain, and each time the CDN had been a candidate.
#[test]
fn what_is_not_declared_leads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("tests/golden/backends-slow-name.case.json");
    let text = fs::read(path).expect("the case's file");
    let case: Case = serde_json::from_slice(&text).expect("a case");
    let verdict = localize(&case).verdict;
    assert!(verdict.faults.is_empty(), "{:?}", verdict.faults);
    let candidates = verdict.alternatives.iter();
    let candidates: Vec<_> = candidates
        .map(|a| (a.component.kind, a.mode.as_str(), a.confidence > 0.5))
        .collect();
    assert_eq!(
        candidates[0],
        (Kind::Origin, "slow", true),
        "{candidates:?}"
    );
    assert_eq!(candidates[1], (Kind::Cdn, "slow", false), "{candidates:?}");
    let ask = verdict.ask.join("; ");
    assert!(ask.contains("the balancer's address"), "{ask}");
}

/// What the lines of the first fault of a recorded case must say.
#[test]
fn evidence_names_interfaces_and_what_the_witness_saw() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let rows: [(&str, &[&str]); 2] = [
        (
            "return-route-balancer-full.case.json",
            &[
                "SYNs from 10.0.9.10 come in at web1 by eth0, and the answers leave by eth1; those to 10.0.0.10 leave by eth0",
                "in which no packet was missed, and ",
            ],
        ),
        (
            "backend-drops-syns-full.case.json",
            &[
                "what web2's witness saw: ",
                "connections of probes that are known to have come there",
            ],
        ),
    ];
    for (name, expected) in rows {
        let text = fs::read(path.join(name)).expect("the case's file");
        let case: Case = serde_json::from_slice(&text).expect("a case");
        let lines = |case: &Case| -> Vec<String> {
            let verdict = localize(case).verdict;
            let fault = verdict.faults.into_iter().next().expect("a fault");
            fault.evidence.into_iter().map(|line| line.text).collect()
        };
        let told = lines(&case);
        for words in expected {
            assert!(
                told.iter().any(|line| line.contains(words)),
                "{name}: {told:?}"
            );
        }
    }
}
