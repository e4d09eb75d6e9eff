//! Verdicts for the tests of the text.

use localize::verdict::{Earlier, NotProbed};
use localize::{
    Alternative, Clock, Component, Detection, Evidence, Exonerated, Fault, Kind, Rate, Rival,
    Verdict, VerdictOutcome,
};

fn component(kind: Kind, name: &str) -> Component {
    Component {
        kind,
        name: name.to_owned(),
    }
}

fn cell(vantage: &str, arm: &str, failed: u64, of: u64) -> Evidence {
    let text = match failed {
        0 => format!("{vantage} to {arm}: none of {of} requests failed"),
        _ => format!("{vantage} to {arm}: {failed} of {of} requests failed (http_5xx)"),
    };
    Evidence {
        text,
        vantage: vantage.to_owned(),
        arm: arm.to_owned(),
        failed,
        of,
        failure: "http_status".to_owned(),
        implicates: failed > 0,
        nats: if failed > 0 { failed as f64 } else { 0.5 },
    }
}

fn cleared(kind: Kind, name: &str, because: &str) -> Exonerated {
    Exonerated {
        component: component(kind, name),
        confidence: 0.99,
        because: because.to_owned(),
    }
}

pub fn healthy() -> Verdict {
    Verdict {
        earlier: Vec::new(),
        not_probed: Vec::new(),
        standing: Vec::new(),
        schema: 1,
        service: "shop.example".to_owned(),
        id: "v-7f3a".to_owned(),
        outcome: VerdictOutcome::Healthy,
        faults: Vec::new(),
        exonerated: vec![
            cleared(
                Kind::Cdn,
                "192.0.2.1",
                "home1 and home2 passed it in 96 of 96 probes",
            ),
            cleared(
                Kind::LoadBalancer,
                "203.0.113.10:443",
                "dc1 passed it in 24 of 24 probes",
            ),
            cleared(Kind::Backend, "web1", "dc1 passed it in 24 of 24 probes"),
            cleared(
                Kind::LbBackendPath,
                "203.0.113.10:443->web1",
                "its answers came",
            ),
        ],
        alternatives: Vec::new(),
        unknown: 0.0,
        ask: Vec::new(),
        detection: Detection {
            rate: 0.01,
            power: 0.95,
        },
        clock: Clock {
            worst_uncertainty_us: 180,
        },
        rounds: 24,
        probes: 612,
        vantages: vec!["dc1".to_owned(), "home1".to_owned(), "home2".to_owned()],
        started_at: "2030-01-02T03:04:05Z".to_owned(),
        elapsed_ms: 8123,
    }
}

pub fn fault() -> Verdict {
    Verdict {
        outcome: VerdictOutcome::Fault,
        faults: vec![Fault {
            began_at: String::new(),
            pattern: localize::Pattern::Steady,
            period_s: None,
            component: component(Kind::Backend, "web2"),
            mode: "http_5xx".to_owned(),
            confidence: 0.98,
            user_impact: true,
            rate: Rate {
                estimate: 0.41,
                low: 0.35,
                high: 0.47,
            },
            summary:
                "web2 answers 500 to two requests in five, asked past the balancer as well as \
                      through it, while web1 and web3 answer all of theirs."
                    .to_owned(),
            owner: "whoever runs the application on web2".to_owned(),
            evidence: vec![
                cell("dc1", "backend/web1", 0, 32),
                cell("dc1", "backend/web3", 0, 32),
                cell("dc1", "backend/web2", 13, 32),
                cell("home1", "edge/192.0.2.1", 4, 32),
                cell("home1", "edge/192.0.2.2", 5, 32),
                cell("home2", "edge/192.0.2.1", 3, 32),
                cell("home2", "edge/192.0.2.2", 4, 32),
            ],
            next_step: "Read the error log of the application on web2, or take web2 out of the \
                        balancer's rotation until it is mended."
                .to_owned(),
            rivals: vec![Rival {
                component: component(Kind::LoadBalancer, "203.0.113.10:443"),
                mode: "http_5xx".to_owned(),
                nats: 9.0,
                because:
                    "more than 1,000 times less probable: dc1 to backend/web2 would have seen \
                          hardly any of 32 requests fail, and saw 13"
                        .to_owned(),
            }],
        }],
        alternatives: vec![Alternative {
            component: component(Kind::LbBackendPath, "203.0.113.10:443->web2"),
            mode: "http_5xx".to_owned(),
            confidence: 0.01,
            because: "no probe tells it from backend web2".to_owned(),
        }],
        ..healthy()
    }
}

pub fn masked() -> Verdict {
    let mut verdict = fault();
    for fault in &mut verdict.faults {
        fault.component.name = "web1".to_owned();
        fault.mode = "connect_refused".to_owned();
        fault.user_impact = false;
        fault.confidence = 0.9991;
        fault.rate = Rate {
            estimate: 0.97,
            low: 0.89,
            high: 1.0,
        };
        fault.summary =
            "Nothing listens on web1; the balancer sends its share elsewhere.".to_owned();
        fault.owner = "whoever runs the application on web1".to_owned();
        fault.evidence = vec![
            cell("dc1", "backend/web2", 0, 32),
            cell("dc1", "backend/web1", 32, 32),
        ];
        fault.next_step = "Start the server on web1.".to_owned();
    }
    verdict.alternatives.clear();
    verdict
}

pub fn two_faults() -> Verdict {
    let mut verdict = fault();
    verdict.faults.extend(masked().faults);
    for fault in &mut verdict.faults {
        fault.evidence.retain(|line| line.implicates);
        fault.evidence.truncate(1);
    }
    verdict
}

pub fn inconclusive() -> Verdict {
    let rival = |kind, name: &str, confidence| Alternative {
        component: component(kind, name),
        mode: "connect_timeout".to_owned(),
        confidence,
        because: String::new(),
    };
    Verdict {
        outcome: VerdictOutcome::Inconclusive,
        alternatives: vec![
            rival(Kind::Backend, "web2", 0.52),
            rival(Kind::ReturnPath, "web2->203.0.113.10", 0.41),
            rival(Kind::LbBackendPath, "203.0.113.10:443->web2", 0.05),
            rival(Kind::LoadBalancer, "203.0.113.10:443", 0.01),
        ],
        unknown: 0.06,
        ask: vec!["install an agent on web2 to tell its return path from its own stack".to_owned()],
        ..healthy()
    }
}

/// A fault that came after another one, beside an alarm and something that no agent may probe.
pub fn chain() -> Verdict {
    let mut verdict = fault();
    for fault in &mut verdict.faults {
        fault.began_at = "2030-01-02T03:02:11.300Z".to_owned();
        fault.pattern = localize::Pattern::Periodic;
        fault.period_s = Some(30.0);
        fault.evidence.truncate(3);
        fault.rivals.clear();
    }
    verdict.alternatives.clear();
    verdict.earlier = vec![Earlier {
        component: component(Kind::Backend, "web1"),
        mode: "http_5xx".to_owned(),
        began_at: "2030-01-01T23:58:00.000Z".to_owned(),
        ended_at: "2030-01-02T02:59:30.000Z".to_owned(),
    }];
    verdict.not_probed = ["backend/md", "backend/md on a reused port"]
        .map(|arm| NotProbed {
            vantage: "dc1".to_owned(),
            arm: arm.to_owned(),
            because: "169.254.169.254 is link-local space, which is never probed".to_owned(),
        })
        .into();
    verdict.standing = vec!["v-c4lm2d5x7a".to_owned()];
    verdict
}
