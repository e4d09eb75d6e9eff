//! Checks of service files: two rounds at most, and nothing of them is evidence.

use localize::{Layer, Step};

use super::*;

/// A file that nobody has applied.
const OTHER: &str = r#"
name = "other"
url = "http://other.example/"
[load_balancer]
vip = ["203.0.113.20:80"]
"#;

type Answer = oneshot::Receiver<Result<Checked, Refusal>>;

impl Bench {
    fn check(&mut self, now_us: u64, toml: &str) -> Answer {
        let (reply, answer) = reply();
        let subject = Subject::File {
            toml: toml.to_owned(),
            ca_pem: None,
        };
        self.state.check(now_us, subject, reply);
        answer
    }

    /// Everything that a round asks for comes back.
    fn answer(
        &mut self,
        now_us: u64,
        agent: &Agent,
        round: &v1::Round,
        outcome: impl Fn(&Arm) -> Outcome,
    ) {
        for arm in &round.arms {
            let arm = Arm::try_from(arm.clone()).unwrap();
            let sequence = self.state.seen_through.get(&agent.name).copied();
            let outcome = outcome(&arm);
            let seen = agent.saw(
                RoundId(round.round),
                sequence.unwrap_or(0) + 1,
                arm,
                now_us,
                outcome,
            );
            let seen = Observation {
                service: ServiceName(round.service.clone()),
                ..seen
            };
            self.record(now_us, agent, vec![seen]);
        }
    }
}

fn done(answer: &mut Answer) -> Option<Checked> {
    answer.try_recv().ok().map(|answer| answer.unwrap())
}

fn announces(agent: &mut Agent) -> bool {
    agent
        .messages()
        .iter()
        .any(|message| matches!(message, Message::Round(_)))
}

fn passed(_: &Arm) -> Outcome {
    Outcome::Passed
}

fn targets(round: &v1::Round) -> Vec<String> {
    let arms = round.arms.iter();
    let arms = arms.map(|arm| Arm::try_from(arm.clone()).unwrap().label());
    arms.collect()
}

#[test]
fn a_file_that_holds_is_checked_in_one_round_and_forgotten() {
    let mut bench = Bench::new();
    let mut agent = bench.connect("a", Role::Inside);
    agent.messages();
    let mut answer = bench.check(NOW, SERVICE);
    let messages = agent.messages();
    let spec = messages.iter().find_map(|message| match message {
        Message::Service(spec) => Some(spec.clone()),
        _ => None,
    });
    let spec = spec.expect("a spec comes first");
    assert_eq!(spec.name, "check/1/shop");
    assert!(spec.witness_ports.is_empty(), "{spec:?}");
    let round = messages.into_iter().find_map(|message| match message {
        Message::Round(round) => Some(round),
        _ => None,
    });
    let round = round.expect("a round follows");
    assert_eq!(round.service, "check/1/shop");
    // No twins on reused ports.
    let expected = ["resolver/192.0.2.1", "vip/203.0.113.10:80", "backend/web1"];
    assert_eq!(targets(&round), expected);
    // The name servers are looked for; that nobody finds any is an answer.
    bench.answer(NOW, &agent, &round, passed);
    assert!(done(&mut answer).is_none(), "the search is waited for");
    let found = Said::Found {
        service: ServiceName("check/1/shop".to_owned()),
        name_servers: Vec::new(),
        zone: Zone::default(),
    };
    bench.state.heard(NOW, agent.session, found);
    let checked = done(&mut answer).expect("it is over");
    assert_eq!((checked.rounds, checked.observations.len()), (1, 3));
    assert!(checked.applied && checked.topology.vantages.len() == 1);
    let gone = |message: &Message| matches!(message, Message::ServiceGone(gone) if gone.name == "check/1/shop");
    assert!(agent.messages().iter().any(gone));
}

#[test]
fn nothing_of_a_check_becomes_evidence() {
    let mut bench = Bench::new();
    let mut agent = bench.connect("a", Role::Inside);
    let before = bench.state.service_view(&shop()).unwrap();
    bench.written();
    let mut answer = bench.check(NOW, SERVICE);
    let first = agent.round();
    bench.answer(NOW, &agent, &first, |_| failed());
    let late = NOW + 4 * SECOND;
    bench.state.tick(late);
    let second = agent.round();
    bench.answer(late, &agent, &second, |_| failed());
    assert!(done(&mut answer).is_some());
    let after = bench.state.service_view(&shop()).unwrap();
    assert_eq!(bench.gathered(), 0);
    assert_eq!(
        (before.rounds, before.topology),
        (after.rounds, after.topology)
    );
    assert!(bench.closed().is_empty());
    let kept = |write: &Write| {
        matches!(
            write,
            Write::Round(_) | Write::Service(_) | Write::Watch { .. }
        )
    };
    assert!(!bench.written().iter().any(kept));
    assert_eq!(bench.state.status().services, 1);
}

#[test]
fn what_fails_is_fired_once_more_and_no_oftener() {
    let mut bench = Bench::new();
    let mut agent = bench.connect("a", Role::Inside);
    let text = SERVICE.to_owned() + "[dns]\nauthoritative = [\"192.0.2.53\"]\n";
    let mut answer = bench.check(NOW, &text);
    let first = agent.round();
    assert_eq!(first.arms.len(), 4);
    let web1_fails = |arm: &Arm| match arm.label().as_str() {
        "backend/web1" => failed(),
        _ => Outcome::Passed,
    };
    bench.answer(NOW, &agent, &first, web1_fails);
    assert!(done(&mut answer).is_none());
    // Not at once: a burst of loss would strike both.
    bench.state.tick(NOW + SECOND / 2);
    assert!(!announces(&mut agent));
    let wake = bench.state.next_wake(NOW + SECOND / 2);
    assert!(wake <= NOW + SECOND, "{wake}");
    bench.state.tick(NOW + SECOND);
    let second = agent.round();
    assert_eq!(targets(&second), ["backend/web1"]);
    bench.answer(NOW + SECOND, &agent, &second, web1_fails);
    let checked = done(&mut answer).expect("it is over");
    assert_eq!((checked.rounds, checked.observations.len()), (2, 5));
    assert!(!announces(&mut agent));
}

/// Of a file that was never applied the public addresses are learnt in the first round.
#[test]
fn what_the_first_round_tells_is_probed_in_the_second() {
    let mut bench = Bench::new();
    let mut agent = bench.connect("a", Role::Outside);
    let mut answer = bench.check(NOW, OTHER);
    let first = agent.round();
    assert_eq!(targets(&first), ["resolver/192.0.2.1"]);
    let resolver = Arm::try_from(first.arms[0].clone()).unwrap();
    let mut seen = agent.saw(RoundId(first.round), 1, resolver, NOW, Outcome::Passed);
    seen.service = ServiceName(first.service.clone());
    seen.steps = vec![Step {
        layer: Layer::Dns,
        took: Micros(900),
    }];
    seen.facts.dns = Some(localize::DnsFacts {
        addresses: vec!["198.51.100.1".parse().unwrap()],
        ..localize::DnsFacts::default()
    });
    bench.record(NOW, &agent, vec![seen]);
    assert!(!announces(&mut agent));
    let found = Said::Found {
        service: ServiceName(first.service.clone()),
        name_servers: vec![NameServer {
            name: "ns1".to_owned(),
            server: "192.0.2.53:53".parse().unwrap(),
        }],
        zone: Zone::default(),
    };
    bench.state.heard(NOW, agent.session, found);
    // Nothing has failed, so that there is nothing to wait for.
    let second = agent.round();
    assert_eq!(targets(&second), ["nameserver/ns1", "edge/198.51.100.1"]);
    bench.answer(NOW, &agent, &second, passed);
    let checked = done(&mut answer).expect("it is over");
    assert_eq!(checked.topology.edges.len(), 1);
    assert!(!checked.applied);
    assert!(
        bench
            .state
            .service(&ServiceName("other".to_owned()))
            .is_err()
    );
}

#[test]
fn a_check_ends_whatever_does_not_come() {
    let mut bench = Bench::new();
    let mut silent = bench.connect("a", Role::Outside);
    let refusing = bench.connect("b", Role::Outside);
    let leaving = bench.connect("c", Role::Outside);
    let slow = SERVICE.replace("\"5s\"", "\"60s\"");
    let mut answer = bench.check(NOW, &slow);
    let round = silent.round();
    let refused = Said::Refused {
        round: RoundId(round.round),
        why: "the agent knows nothing of service check/1/shop".to_owned(),
    };
    bench.state.heard(NOW, refusing.session, refused);
    bench.state.gone(NOW, leaving.session);
    let mut now_us = NOW;
    let checked = loop {
        if let Some(checked) = done(&mut answer) {
            break checked;
        }
        now_us = bench.state.next_wake(now_us).max(now_us + 1);
        assert!(now_us <= NOW + 14 * SECOND, "it goes on");
        bench.state.tick(now_us);
    };
    assert_eq!(now_us, NOW + 14 * SECOND);
    assert_eq!(checked.rounds, 2);
    let why = &checked.refused[&refusing.name];
    assert_eq!(why, "the agent knows nothing of service shop");
    assert!(checked.observations.is_empty() && checked.announced.len() == 3);
    assert_eq!(bench.state.checks_wake(), None);
}

#[test]
fn without_agents_there_is_an_answer_at_once() {
    let mut bench = Bench::new();
    let mut answer = bench.check(NOW, SERVICE);
    let checked = done(&mut answer).expect("an answer");
    assert_eq!((checked.rounds, checked.topology.vantages.len()), (0, 0));

    let mut unread = bench.check(NOW, "name = 1");
    let refusal = unread.try_recv().unwrap().unwrap_err();
    assert!(matches!(refusal, Refusal::ServiceFile(_)), "{refusal}");
    let (reply, mut answer) = reply();
    let nobody = Subject::Applied(ServiceName("nobody".to_owned()));
    bench.state.check(NOW, nobody, reply);
    let refusal = answer.try_recv().unwrap().unwrap_err();
    assert!(matches!(refusal, Refusal::UnknownService(_)), "{refusal}");
}

#[test]
fn checks_are_few_and_end_when_nobody_waits() {
    let mut bench = Bench::new();
    let _agent = bench.connect("a", Role::Outside);
    let mut waiting: Vec<Answer> = (0..4).map(|_| bench.check(NOW, SERVICE)).collect();
    let refused = bench.check(NOW, SERVICE).try_recv().unwrap().unwrap_err();
    assert!(matches!(refused, Refusal::TooManyChecks), "{refused}");
    waiting.pop();
    bench.state.tick(NOW + SECOND);
    let mut again = bench.check(NOW + SECOND, SERVICE);
    assert!(again.try_recv().is_err(), "it is under way");
}
