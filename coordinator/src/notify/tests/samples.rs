//! Verdicts and receivers.

use localize::verdict::Alternative;
use localize::{
    Clock, Component, Detection, Evidence, Fault, Kind, Pattern, Rate, Verdict, VerdictOutcome,
};
use serde::Deserialize;

use crate::notify::settings::{RawReceiver, Receiver, Settings};

pub const NOW: u64 = 1_700_000_000_000_000;

/// A verdict that names one fault.
pub fn verdict(id: &str, service: &str, kind: Kind, name: &str) -> Verdict {
    let component = Component {
        kind,
        name: name.to_owned(),
    };
    let evidence = Evidence {
        text: "dc1 to backend/web2: 4 of 14 requests failed (http_5xx)".to_owned(),
        vantage: "dc1".to_owned(),
        arm: "backend/web2".to_owned(),
        failed: 4,
        of: 14,
        failure: "http_5xx".to_owned(),
        implicates: true,
        nats: 6.6,
    };
    let fault = Fault {
        component,
        mode: "http_5xx".to_owned(),
        confidence: 0.98,
        user_impact: true,
        began_at: String::new(),
        pattern: Pattern::Steady,
        period_s: None,
        rate: Rate {
            estimate: 0.3,
            low: 0.13,
            high: 0.55,
        },
        summary: format!("{name} answers 30 % of the requests with server errors."),
        owner: "the team that runs it".to_owned(),
        evidence: vec![evidence],
        next_step: "take it out of rotation".to_owned(),
        rivals: Vec::new(),
    };
    Verdict {
        schema: 1,
        service: service.to_owned(),
        id: id.to_owned(),
        outcome: VerdictOutcome::Fault,
        faults: vec![fault],
        exonerated: Vec::new(),
        alternatives: Vec::new(),
        earlier: Vec::new(),
        not_probed: Vec::new(),
        standing: Vec::new(),
        unknown: 0.0,
        ask: Vec::new(),
        detection: Detection {
            rate: 0.1,
            power: 0.95,
        },
        clock: Clock::default(),
        rounds: 8,
        probes: 143,
        vantages: vec!["dc1".to_owned()],
        started_at: String::new(),
        elapsed_ms: 2500,
    }
}

/// One that names nobody, and what leads.
pub fn undecided(id: &str, service: &str, leading: Kind) -> Verdict {
    let mut verdict = verdict(id, service, leading, "somebody");
    let component = verdict.faults.remove(0).component;
    verdict.outcome = VerdictOutcome::Inconclusive;
    verdict.alternatives = vec![Alternative {
        component,
        mode: "unreachable".to_owned(),
        confidence: 0.6,
        because: String::new(),
    }];
    verdict
}

/// Receivers by Slack, but for one of the name of Alertmanager.
pub fn receivers(names: &[&str]) -> Vec<Receiver> {
    let texts = names.iter().map(|name| match *name {
        "alertmanager" => {
            format!("name = \"{name}\"\nalertmanager = {{ url = \"http://127.0.0.1:1\" }}")
        }
        name => format!("name = \"{name}\"\nslack = {{ url = \"env:SLACK\" }}"),
    });
    let texts: Vec<String> = texts.map(|text| format!("[[notify]]\n{text}\n")).collect();
    settings(&texts.concat()).receivers
}

/// Settings as a configuration has them, without a wait.
pub fn settings(text: &str) -> Settings {
    #[derive(Deserialize)]
    struct File {
        notify: Vec<RawReceiver>,
    }
    let file: File = toml::from_str(text).unwrap();
    let wait = std::time::Duration::ZERO;
    let page = Some("https://mesh.example/");
    Settings::new(page, wait, file.notify, Vec::new()).unwrap()
}
