//! From facts on the stream to a verdict that can be asked for again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test may fail, skip what it does not wait for, and look at the clock"
)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::agent::{Agent, now_us, refused, web2_closed, well};
use common::{Coordinator, PATIENCE, SHOP};
use proto::v1::agent_message::Message as FromAgent;
use proto::v1::coordinator_message::Message;
use proto::v1::localize_event::Event;
use proto::v1::mended_request::Since;
use proto::v1::mended_response;
use proto::v1::{
    ApplyServiceRequest, Arm, CoverageRequest, GetServiceRequest, GetVerdictRequest,
    HistoryRequest, ListVerdictsRequest, LocalizeRequest, MendedRequest, Observation,
    StatusRequest, Verdict, WatchRequest, arm, watch_event,
};
use tonic::Code;

const SCHEDULE: &str = r#"[schedule]
timeout = { connect = "1s", total = "2s" }
"#;

async fn apply(coordinator: &Coordinator) {
    let request = ApplyServiceRequest {
        toml: [SHOP, SCHEDULE].concat(),
        ca_pem: None,
    };
    let applied = coordinator.operator().await.apply_service(request).await;
    assert_eq!(applied.unwrap().into_inner().result, "created");
}

/// With a round every second.
async fn schedule(coordinator: &Coordinator) {
    let request = ApplyServiceRequest {
        toml: [SHOP, SCHEDULE]
            .concat()
            .replace("[schedule]", "[schedule]\nevery = \"1s\""),
        ca_pem: None,
    };
    let applied = coordinator.operator().await.apply_service(request).await;
    assert_eq!(applied.unwrap().into_inner().result, "changed");
}

/// What has become of web2's fault, as soon as it is as asked.
async fn until(
    coordinator: &Coordinator,
    request: &MendedRequest,
    wanted: impl Fn(&mended_response::Fault) -> bool,
) -> mended_response::Fault {
    let mut operator = coordinator.operator().await;
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = operator.mended(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.faults.len(), 1, "{answer:?}");
        if wanted(&answer.faults[0]) {
            return answer.faults[0].clone();
        }
        assert!(tokio::time::Instant::now() < end, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_fault_is_mended_when_its_probes_have_been_quiet_for_long_enough() {
    let coordinator = Coordinator::start();
    apply(&coordinator).await;
    let agent = Agent::connect(&coordinator, "dc1", web2_closed).await;
    let site = Arc::clone(&agent.site);
    tokio::spawn(agent.work());
    let (verdict, _) = localize(&coordinator, Duration::from_secs(15)).await;
    assert_eq!(verdict.faults.len(), 1, "{verdict:?}");

    let request = MendedRequest {
        verdict: verdict.id.clone(),
        since: None,
    };
    // Nothing goes by itself, and a round of the run may still have been in flight.
    let fault = until(&coordinator, &request, |_| true).await;
    assert_eq!(fault.component.as_ref().unwrap().name, "web2");
    assert_eq!(fault.needed_ms, None, "{fault:?}");
    let before = fault.before.unwrap();
    assert!(
        before.failed > 3 && before.failed == before.of,
        "{before:?}"
    );

    schedule(&coordinator).await;
    let fault = until(&coordinator, &request, |f| f.decision == "not_mended").await;
    assert!(
        fault.probes_needed.is_some_and(|probes| probes > 1),
        "{fault:?}"
    );
    assert!(
        fault.needed_ms == fault.rounds_needed.map(|n| n * 1000),
        "{fault:?}"
    );

    *site.lock().unwrap() = well;
    let mended_us = now_us() + 500_000;
    let since = MendedRequest {
        since: Some(Since::AtUs(mended_us)),
        ..request.clone()
    };
    let fault = loop {
        let answer = coordinator.operator().await.mended(since.clone()).await;
        match answer {
            Ok(_) => break until(&coordinator, &since, |f| f.decision == "mended").await,
            Err(early) => assert!(early.message().contains("future"), "{early}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let after = fault.after.unwrap();
    assert!(after.failed == 0 && after.of > 0, "{after:?}");
    assert!(fault.e_value >= 20.0 && fault.probes_needed.is_none());
    assert_eq!(fault.last_failure_at, "");
    // Without it what came in between counts.
    let fault = until(&coordinator, &request, |_| true).await;
    let [after, quiet] = [fault.after.unwrap(), fault.quiet.unwrap()];
    assert!(after.failed > 0 && !fault.last_failure_at.is_empty());
    assert!(quiet.failed == 0 && quiet.of < after.of, "{quiet:?}");

    let (healthy, _) = localize(&coordinator, Duration::from_secs(15)).await;
    let request = MendedRequest {
        verdict: healthy.id,
        since: None,
    };
    let refused = coordinator.operator().await.mended(request).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("nothing to mend"), "{refused}");
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused_with_advice() {
    let coordinator = Coordinator::start();
    apply(&coordinator).await;
    tokio::spawn(
        Agent::connect(&coordinator, "dc1", web2_closed)
            .await
            .work(),
    );
    let (verdict, _) = localize(&coordinator, Duration::from_secs(15)).await;

    let at = |at_us| Some(Since::AtUs(at_us));
    let rows = [
        ("v-aaaaaaaaaa", None, Code::NotFound, "meshctl verdicts"),
        (&verdict.id, at(1), Code::InvalidArgument, "or leave it out"),
        (&verdict.id, at(u64::MAX), Code::InvalidArgument, "future"),
    ];
    let mut operator = coordinator.operator().await;
    for (id, since, code, said) in rows {
        let request = MendedRequest {
            verdict: id.to_owned(),
            since,
        };
        let refused = operator.mended(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(said), "{refused}");
    }
}

fn wish(budget: Duration) -> LocalizeRequest {
    LocalizeRequest {
        service: "shop".to_owned(),
        budget_ms: u64::try_from(budget.as_millis()).unwrap(),
        since_ms: 900_000,
    }
}

async fn localize(coordinator: &Coordinator, budget: Duration) -> (Verdict, usize) {
    let mut operator = coordinator.operator().await;
    let mut events = operator.localize(wish(budget)).await.unwrap().into_inner();
    let mut progress = 0;
    loop {
        let event = tokio::time::timeout(PATIENCE, events.message())
            .await
            .unwrap();
        match event.unwrap().expect("it ended without a verdict").event {
            Some(Event::Progress(_)) => progress += 1,
            Some(Event::Verdict(verdict)) => {
                assert!(events.message().await.unwrap().is_none());
                return (verdict, progress);
            }
            None => panic!("an empty event"),
        }
    }
}

#[tokio::test]
async fn a_verdict_is_reached_stored_and_explained() {
    let coordinator = Coordinator::start();
    apply(&coordinator).await;
    let mut operator = coordinator.operator().await;
    let mut watched = operator
        .watch(WatchRequest {
            service: "shop".to_owned(),
        })
        .await
        .unwrap()
        .into_inner();
    tokio::spawn(
        Agent::connect(&coordinator, "dc1", web2_closed)
            .await
            .work(),
    );

    let (verdict, progress) = localize(&coordinator, Duration::from_secs(5)).await;
    assert!(
        verdict.id.starts_with("v-") && verdict.id.len() == 12,
        "{}",
        verdict.id
    );
    assert!(progress > 0);
    assert!(verdict.probes >= 4, "{verdict:?}");
    assert!(verdict.started_at.ends_with('Z') && verdict.elapsed_ms > 0);

    let id = verdict.id.clone();
    let again = operator
        .get_verdict(GetVerdictRequest { id: id.clone() })
        .await;
    assert_eq!(again.unwrap().into_inner(), verdict);
    let list = ListVerdictsRequest::default();
    let list = operator.list_verdicts(list).await.unwrap().into_inner();
    assert_eq!(list.verdicts, [verdict]);
    let mut pieces = operator
        .export_case(GetVerdictRequest { id })
        .await
        .unwrap()
        .into_inner();
    let mut json = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        json.extend(piece.json);
    }
    let case: localize::Case = serde_json::from_slice(&json).unwrap();
    assert!(case.observations.len() >= 4);
    assert_eq!(case.topology.vantages.len(), 1);

    let history = HistoryRequest {
        service: "shop".to_owned(),
        since_ms: 3_600_000,
    };
    let lines = operator.history(history).await.unwrap().into_inner().lines;
    let web2 = lines
        .iter()
        .find(|line| line.arm == "backend/web2")
        .unwrap();
    assert!(web2.failed > 0 && web2.passed == 0);
    assert_eq!(web2.failure, "connect_refused");

    let shown = GetServiceRequest {
        name: "shop".to_owned(),
    };
    let shown = operator.get_service(shown).await.unwrap().into_inner();
    assert!(shown.rounds > 0 && !shown.last_outcome.is_empty());
    let coverage = CoverageRequest {
        service: "shop".to_owned(),
    };
    assert!(
        !operator
            .coverage(coverage)
            .await
            .unwrap()
            .into_inner()
            .parts
            .is_empty()
    );

    let (mut agents, mut rounds, mut verdicts) = (0, 0, 0);
    while verdicts == 0 {
        let event = tokio::time::timeout(PATIENCE, watched.message())
            .await
            .unwrap();
        match event.unwrap().expect("it goes on").event.unwrap() {
            watch_event::Event::Agent(_) => agents += 1,
            watch_event::Event::Round(round) => {
                rounds += 1;
                assert_eq!((round.missing, round.skew_us), (0, 0), "{round:?}");
                // A round of chosen arms fires some of them several times, or not at all.
                // The first one fires the failing arm plainly, from a reused port and accepting gzip.
                assert!(rounds > 1 || round.failed == 3, "{round:?}");
            }
            watch_event::Event::Verdict(_) => verdicts += 1,
            watch_event::Event::Over(over) => panic!("nothing was raised: {over:?}"),
        }
    }
    assert!(agents >= 2 && rounds >= 1, "{agents} {rounds}");
}

#[tokio::test]
async fn what_cannot_be_localized_is_refused_with_advice() {
    let coordinator = Coordinator::start();
    let mut operator = coordinator.operator().await;
    let refused = operator.localize(wish(Duration::ZERO)).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(
        refused.message().contains("meshctl service apply"),
        "{refused}"
    );
    apply(&coordinator).await;
    let refused = operator.localize(wish(Duration::ZERO)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        refused.message().contains("meshctl agent token"),
        "{refused}"
    );

    let _agent = Agent::connect(&coordinator, "dc1", web2_closed).await;
    let mut runs = Vec::new();
    for _ in 0..8 {
        runs.push(operator.localize(wish(Duration::ZERO)).await.unwrap());
    }
    let refused = operator.localize(wish(Duration::ZERO)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    // Hanging up makes room.
    runs.clear();
    let mut tries = 0;
    while operator.localize(wish(Duration::ZERO)).await.is_err() {
        tries += 1;
        assert!(tries < 100);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn facts_are_acknowledged_when_on_disk_and_kept() {
    let coordinator = Coordinator::start();
    apply(&coordinator).await;
    let secret = coordinator.invite("home1", 0).await;
    let credentials = coordinator.join(&secret).await.unwrap().1;
    // A start has agents asked what an earlier process asked them: here their own resolvers.
    drop(coordinator.session(&credentials).await.unwrap());
    let (_, folder) = coordinator.terminate().await;
    let coordinator = Coordinator::start_in(folder);
    let mut agent = Agent {
        session: coordinator.session(&credentials).await.unwrap(),
        site: Arc::new(Mutex::new(well)),
        name: "home1".to_owned(),
        sequence: 100,
    };
    let arm = Arm {
        target: Some(arm::Target::Resolver(proto::v1::ResolverTarget {
            server: "127.0.0.1:5353".to_owned(),
        })),
        ..proto::v1::Arm::default()
    };
    let observations = [1, 2, 3].map(|round| agent.saw("shop", round, now_us(), arm.clone()));
    for observation in &observations {
        let observation = FromAgent::Observation(observation.clone());
        agent.session.say(observation).await;
    }
    let acknowledged = |message, through| match message {
        Message::Ack(ack) if ack.durable_through == through => Some(()),
        _ => None,
    };
    let ack = |message| acknowledged(message, 103);
    agent.session.until(ack).await;

    let (_, folder) = coordinator.terminate().await;
    let coordinator = Coordinator::start_in(folder);
    let mut session = coordinator.session(&credentials).await.unwrap();
    let welcome = |message| match message {
        Message::Welcome(welcome) => Some(welcome.durable_through),
        _ => None,
    };
    assert_eq!(session.until(welcome).await, 103);
    // A repeat changes nothing.
    session
        .say(FromAgent::Observation(observations[2].clone()))
        .await;
    session.until(ack).await;
    // An arm that nobody gave is not kept, nor asked for again; a number beyond all time is as nothing.
    let invented = proto::v1::Arm {
        target: Some(arm::Target::Resolver(proto::v1::ResolverTarget {
            server: "192.0.2.99:53".to_owned(),
        })),
        ..proto::v1::Arm::default()
    };
    let absurd = proto::v1::Observation {
        sequence: u64::MAX - 1,
        ..observations[0].clone()
    };
    let invented = agent.saw("shop", 1, now_us(), invented);
    assert_eq!(invented.sequence, 104);
    for observation in [absurd, invented] {
        session.say(FromAgent::Observation(observation)).await;
    }
    session.until(|message| acknowledged(message, 104)).await;
    let status = coordinator
        .operator()
        .await
        .status(StatusRequest {})
        .await
        .unwrap();
    assert_eq!(status.into_inner().observations_stored, 3);

    // A fact in another's name ends the stream.
    let forged = Observation {
        vantage: "home2".to_owned(),
        sequence: 200,
        ..observations[0].clone()
    };
    session.say(FromAgent::Observation(forged)).await;
    let status = loop {
        match session.next().await {
            Ok(message) => assert!(message.is_some(), "it ended without a reason"),
            Err(status) => break status,
        }
    };
    // Not the status that ends an agent for good.
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
}

#[tokio::test]
async fn a_spool_full_of_facts_is_acknowledged_to_the_last() {
    const FACTS: u64 = 5000;
    let coordinator = Coordinator::start();
    apply(&coordinator).await;
    let secret = coordinator.invite("home1", 0).await;
    let credentials = coordinator.join(&secret).await.unwrap().1;
    // A start has agents asked what an earlier process asked them: here their own resolvers.
    drop(coordinator.session(&credentials).await.unwrap());
    let (_, folder) = coordinator.terminate().await;
    let coordinator = Coordinator::start_in(folder);
    let mut agent = Agent {
        session: coordinator.session(&credentials).await.unwrap(),
        site: Arc::new(Mutex::new(well)),
        name: "home1".to_owned(),
        sequence: 0,
    };
    let arm = Arm {
        target: Some(arm::Target::Resolver(proto::v1::ResolverTarget {
            server: "127.0.0.1:5353".to_owned(),
        })),
        ..proto::v1::Arm::default()
    };
    let start_us = now_us();
    for n in 0..FACTS {
        let seen = agent.saw("shop", n, start_us - n * 1_000_000, arm.clone());
        agent.session.say(FromAgent::Observation(seen)).await;
    }
    let last = |message| match message {
        Message::Ack(ack) if ack.durable_through == FACTS => Some(()),
        _ => None,
    };
    agent.session.until(last).await;
    let status = coordinator
        .operator()
        .await
        .status(StatusRequest {})
        .await
        .unwrap();
    assert_eq!(status.into_inner().observations_stored, FACTS);
}

/// A quarter of an hour of a round every few seconds with forty backends, of which none is well all the time.
#[tokio::test]
async fn a_verdict_comes_within_its_budget_however_much_there_is_to_judge() {
    const BACKENDS: u64 = 40;
    const ROUNDS: u64 = 250;
    let coordinator = Coordinator::start();
    let backends = (1..=BACKENDS)
        .map(|n| format!("[[backend]]\nname = \"web{n}\"\naddress = \"10.0.0.{n}:80\"\n"));
    let request = ApplyServiceRequest {
        toml: format!(
            "name = \"shop\"\nurl = \"http://shop.example/\"\n[dns]\nauthoritative = [\"192.0.2.53\"]\n{}",
            backends.collect::<String>()
        ),
        ca_pem: None,
    };
    let mut operator = coordinator.operator().await;
    operator.apply_service(request).await.unwrap();
    let mut agent = Agent::connect(&coordinator, "dc1", well).await;
    let start_us = now_us();
    for number in 0..BACKENDS * ROUNDS {
        let (round, backend) = (number / BACKENDS, number % BACKENDS + 1);
        let target = arm::Target::Backend(proto::v1::BackendTarget {
            name: format!("web{backend}"),
            address: format!("10.0.0.{backend}:80"),
        });
        let arm = Arm {
            target: Some(target),
            ..Arm::default()
        };
        let ill = (round * 7 + backend * 13) % 29 < 2;
        *agent.site.lock().unwrap() = if ill { refused } else { well };
        let at_us = start_us - (ROUNDS - round) * 3_000_000;
        let seen = agent.saw("shop", round + 1, at_us, arm);
        agent.session.say(FromAgent::Observation(seen)).await;
    }
    let last = agent.sequence;
    agent
        .session
        .until(|message| match message {
            Message::Ack(ack) if ack.durable_through == last => Some(()),
            _ => None,
        })
        .await;
    *agent.site.lock().unwrap() = well;
    tokio::spawn(agent.work());
    let budget = Duration::from_secs(1);
    let started = tokio::time::Instant::now();
    let mut events = operator.localize(wish(budget)).await.unwrap().into_inner();
    let ended = loop {
        match events.message().await {
            Ok(Some(event)) if matches!(event.event, Some(Event::Verdict(_))) => break Ok(()),
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a verdict"),
            Err(status) => break Err(status),
        }
    };
    let took = started.elapsed();
    assert!(took < budget * 2, "{took:?}");
    // A machine that has no time at all says so.
    if let Err(status) = ended {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    }
}
