//! What an agent says beyond what it was asked, on a real stream: it counts nowhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test may fail, skip what it does not wait for, and look at the clock"
)]

mod common;

use common::agent::{Agent, now_us, well};
use common::{Coordinator, SHOP};
use proto::v1::agent_message::Message as FromAgent;
use proto::v1::coordinator_message::Message;
use proto::v1::{
    ApplyServiceRequest, Arm, BackendTarget, Observation, Round, Stamp, StatusRequest, Trace,
    WitnessReport, arm,
};

/// Two hundred good answers of one arm in a round, answers of another round, of another arm and of another
/// instant, beside the honest ones.
#[tokio::test]
async fn an_agent_says_nothing_more_than_it_was_asked() {
    let coordinator = Coordinator::start();
    let request = ApplyServiceRequest {
        toml: [SHOP, "[schedule]\nevery = \"1s\"\n"].concat(),
        ca_pem: None,
    };
    let mut operator = coordinator.operator().await;
    operator.apply_service(request).await.unwrap();
    let mut agent = Agent::connect(&coordinator, "dc1", well).await;
    let round: Round = agent
        .session
        .until(|message| match message {
            Message::Round(round) => Some(round),
            _ => None,
        })
        .await;
    let at_us = round.fire_at_us;
    let first = round.arms.first().unwrap().clone();
    let mut said: Vec<Observation> = Vec::new();
    let mut say = |number, at_us, arm: Arm| said.push(agent.saw("shop", number, at_us, arm));
    for arm in &round.arms {
        say(round.round, at_us, arm.clone());
    }
    for _ in 0..200 {
        say(round.round, at_us, first.clone());
    }
    say(round.round + 1000, at_us, first.clone());
    say(round.round, at_us + 1, first.clone());
    let elsewhere = Arm {
        target: Some(arm::Target::Backend(BackendTarget {
            name: "web9".to_owned(),
            address: "10.0.0.99:80".to_owned(),
        })),
        ..Arm::default()
    };
    say(round.round, at_us, elsewhere);
    let last = agent.sequence;
    for observation in said {
        let observation = FromAgent::Observation(observation);
        agent.session.say(observation).await;
    }
    let all = |message| match message {
        Message::Ack(ack) if ack.durable_through == last => Some(()),
        _ => None,
    };
    agent.session.until(all).await;
    let status = operator.status(StatusRequest {}).await.unwrap();
    let asked = u64::try_from(round.arms.len()).unwrap();
    assert_eq!(status.into_inner().observations_stored, asked);
}

/// Records that cannot be, and one that was made before the agent knew what time it is: nothing keeps what
/// comes behind them from arriving.
#[tokio::test]
async fn what_cannot_be_stands_in_nobodys_way() {
    let coordinator = Coordinator::start();
    let request = ApplyServiceRequest {
        toml: SHOP.to_owned(),
        ca_pem: None,
    };
    let mut operator = coordinator.operator().await;
    operator.apply_service(request).await.unwrap();
    let mut agent = Agent::connect(&coordinator, "dc1", well).await;
    let at = |uncertainty_us| {
        Some(Stamp {
            at_us: now_us(),
            uncertainty_us,
        })
    };
    let early = WitnessReport {
        witness: agent.name.clone(),
        sequence: agent.sequence + 1,
        from: at(86_400_000_000),
        to: at(u64::MAX),
        ..WitnessReport::default()
    };
    let endless = WitnessReport {
        sequence: agent.sequence + 2,
        to: None,
        ..early.clone()
    };
    let timeless = Trace {
        vantage: agent.name.clone(),
        sequence: agent.sequence + 3,
        ..Trace::default()
    };
    let armless = Observation {
        vantage: agent.name.clone(),
        sequence: agent.sequence + 4,
        ..Observation::default()
    };
    let last = WitnessReport {
        sequence: agent.sequence + 5,
        ..early.clone()
    };
    let through = last.sequence;
    for message in [
        FromAgent::Report(early),
        FromAgent::Report(endless),
        FromAgent::Trace(timeless),
        FromAgent::Observation(armless),
        FromAgent::Report(last),
    ] {
        agent.session.say(message).await;
    }
    let all = |message| match message {
        Message::Ack(ack) if ack.durable_through == through => Some(()),
        _ => None,
    };
    agent.session.until(all).await;
}
