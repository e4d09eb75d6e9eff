//! Rows: what is said, and what that is worth.

use super::*;
use crate::said::{NotProbed, Rate};

fn texts(of: &[&str]) -> Vec<String> {
    of.iter().map(|t| (*t).to_owned()).collect()
}

fn web2() -> Blame {
    Blame {
        parts: vec![Part {
            kind: Kind::Backend,
            name: Name::OneOf(texts(&["web2"])),
            modes: vec!["http_5xx"],
            mentions: None,
        }],
        user_impact: Some(true),
        pattern: None,
        evidence: None,
    }
}

fn blamed(name: &str, mode: &str, confidence: f64, user_impact: bool) -> Blamed {
    Blamed {
        kind: Kind::Backend,
        name: name.to_owned(),
        mode: mode.to_owned(),
        confidence,
        user_impact,
        pattern: "steady".to_owned(),
        rate: Rate { estimate: 1.0 },
        summary: String::new(),
        evidence: Vec::new(),
    }
}

fn said(outcome: Outcome, faults: Vec<Blamed>) -> Said {
    Said {
        id: String::new(),
        outcome,
        faults,
        alternatives: Vec::new(),
        not_probed: Vec::new(),
        unknown: 0.0,
        ask: Vec::new(),
        probes: 1,
    }
}

fn candidate(name: &str, confidence: f64) -> Candidate {
    Candidate {
        kind: Kind::Backend,
        name: name.to_owned(),
        mode: "http_5xx".to_owned(),
        confidence,
    }
}

#[test]
fn what_the_evidence_must_say_is_missed_where_it_does_not() {
    let expected = Expected::Faults(vec![web2().told_by("up to 192.0.2.1 (hop 1)")]);
    let told = |text: &str| {
        let mut fault = blamed("web2", "http_5xx", 0.99, true);
        fault.evidence.push(crate::said::Line {
            text: text.to_owned(),
        });
        judge(&expected, &said(Outcome::Fault, vec![fault]))
    };
    let well = "packets from home1 are answered up to 192.0.2.1 (hop 1), and by nothing behind it";
    assert_eq!(told(well), Judgement::Right);
    let wrong = told("12 of 13 probes failed");
    let because = "no evidence says \"up to 192.0.2.1 (hop 1)\"";
    assert_eq!(wrong, Judgement::Wrong(because.to_owned()));
}

#[test]
fn names_match_with_and_without_ports() {
    let path = Name::Path {
        from: texts(&["198.51.100.11"]),
        to: texts(&["203.0.113.10"]),
    };
    assert!(path.matches("198.51.100.11->203.0.113.10:443"));
    assert!(!path.matches("*->203.0.113.10:443"));
    assert!(Name::OneOf(texts(&["web2"])).matches("web2"));
    assert!(!Name::OneOf(texts(&["web2"])).matches("web22"));
}

#[test]
fn a_return_path_may_be_an_address_or_a_prefix_that_holds_it() {
    let name = Name::Return {
        host: "web1".to_owned(),
        to: vec![IpAddr::from([10, 0, 9, 10])],
    };
    for (text, expected) in [
        ("web1->10.0.9.10", true),
        ("web1->10.0.9.0/24", true),
        ("web1->10.0.8.0/24", false),
        ("web1->0.0.0.0/0", false),
        ("web2->10.0.9.10", false),
    ] {
        assert_eq!(name.matches(text), expected, "{text}");
    }
}

#[test]
fn kind_name_mode_and_impact_must_all_be_right_and_nobody_else_blamed() {
    let good = || blamed("web2", "http_5xx", 0.99, true);
    let rows: [(Vec<Blamed>, &str); 5] = [
        (vec![good()], ""),
        (vec![blamed("web2", "slow", 0.99, true)], "mode slow"),
        (
            vec![blamed("web2", "http_5xx", 0.99, false)],
            "user_impact false",
        ),
        (
            vec![good(), blamed("web3", "slow", 0.2, true)],
            "web3 is blamed too",
        ),
        (
            vec![blamed("web3", "http_5xx", 0.95, true)],
            "Backend web2 http_5xx is not named",
        ),
    ];
    for (faults, wrong) in rows {
        let judgement = judge(
            &Expected::Faults(vec![web2()]),
            &said(Outcome::Fault, faults),
        );
        let expected = match wrong {
            "" => Judgement::Right,
            why => Judgement::Wrong(why.to_owned()),
        };
        assert_eq!(judgement, expected);
    }
}

#[test]
fn a_fault_that_is_its_pattern_must_be_said_to_have_it() {
    let mut now_and_then = web2();
    now_and_then.pattern = Some("periodic");
    let expected = Expected::Faults(vec![now_and_then]);
    let mut fault = blamed("web2", "http_5xx", 0.99, true);
    let steady = said(Outcome::Fault, vec![fault.clone()]);
    assert!(!judge(&expected, &steady).passes());
    fault.pattern = "periodic".to_owned();
    assert!(judge(&expected, &said(Outcome::Fault, vec![fault])).passes());
}

#[test]
fn a_fault_of_the_balancer_towards_one_backend_must_say_towards_which() {
    let mut towards = web2();
    towards.parts[0].mentions = Some("web9");
    let expected = Expected::Faults(vec![towards]);
    let mut fault = blamed("web2", "http_5xx", 0.99, true);
    let mute = said(Outcome::Fault, vec![fault.clone()]);
    assert!(!judge(&expected, &mute).passes());
    fault.summary = "It keeps an old address of web9.".to_owned();
    assert_eq!(
        judge(&expected, &said(Outcome::Fault, vec![fault])),
        Judgement::Right
    );
}

#[test]
fn who_cannot_know_has_the_truth_among_the_candidates_and_asks() {
    let expected = Expected::Ambiguous {
        truth: vec![web2()],
        ask: vec!["an agent"],
        unseen: false,
    };
    let ask = || vec!["install an agent on web2".to_owned()];
    let open = |candidates: &[(&str, f64)], ask: Vec<String>| Said {
        alternatives: candidates.iter().map(|(n, c)| candidate(n, *c)).collect(),
        ask,
        ..said(Outcome::Inconclusive, Vec::new())
    };
    let named = vec![blamed("web2", "http_5xx", 0.99, true)];
    let rows = [
        (open(&[("web2", 0.4), ("web3", 0.4)], ask()), true),
        (open(&[("web2", 0.4)], Vec::new()), false),
        (open(&[("web3", 0.4)], ask()), false),
        (open(&[("web2", 0.3), ("web3", 0.6)], ask()), false),
        (said(Outcome::Healthy, Vec::new()), false),
        (said(Outcome::Fault, named), true),
    ];
    for (said, passes) in rows {
        assert_eq!(judge(&expected, &said).passes(), passes, "{said:?}");
    }
}

#[test]
fn who_names_what_nobody_declared_asks_for_its_parts() {
    let mut origin = web2();
    origin.parts[0].kind = Kind::Origin;
    let expected = Expected::Ambiguous {
        truth: vec![origin],
        ask: vec!["[[backend]]"],
        unseen: false,
    };
    let mut fault = blamed("web2", "http_5xx", 0.99, true);
    fault.kind = Kind::Origin;
    let mute = said(Outcome::Fault, vec![fault]);
    assert!(!judge(&expected, &mute).passes());
    let asking = Said {
        ask: texts(&["list the backends ([[backend]])"]),
        ..mute
    };
    assert!(judge(&expected, &asking).passes());
}

#[test]
fn of_who_is_turned_away_it_must_be_said_and_nobody_blamed() {
    let expected = Expected::TurnedAway(&["cdn1", "dc1"]);
    let healthy = |vantages: &[&str]| Said {
        not_probed: texts(vantages)
            .into_iter()
            .map(|vantage| NotProbed { vantage })
            .collect(),
        ..said(Outcome::Healthy, Vec::new())
    };
    let blaming = said(Outcome::Fault, vec![blamed("a", "http_4xx", 0.9, false)]);
    let rows = [
        (healthy(&["dc1", "cdn1"]), true),
        (healthy(&["dc1"]), false),
        (blaming, false),
    ];
    for (said, passes) in rows {
        assert_eq!(judge(&expected, &said).passes(), passes, "{said:?}");
    }
}

#[test]
fn how_sure_a_verdict_was_of_what_is_wrong() {
    let expected = Expected::Faults(vec![web2()]);
    let mut verdict = said(
        Outcome::Fault,
        vec![
            blamed("web2", "slow", 0.97, true),
            blamed("web3", "http_5xx", 0.6, true),
        ],
    );
    verdict.alternatives = vec![candidate("web1", 0.7), candidate("web2", 0.8)];
    assert_eq!(expected.wrong_fault(&verdict), 0.97);
    assert_eq!(expected.wrong_name(&verdict), 0.7);
    verdict.faults = vec![blamed("web2", "http_5xx", 0.97, false)];
    verdict.alternatives.clear();
    assert_eq!(expected.wrong_fault(&verdict), 0.0);
    assert_eq!(expected.wrong_name(&verdict), 0.0);
}
