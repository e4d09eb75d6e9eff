//! What the probes would have seen: as many fields as a real observation of that arm has.

use proto::v1::arm::Target;
use proto::v1::firing::Firing;
use proto::v1::observation::Outcome;
use proto::v1::{
    Arm, Failed, FailureKind, Header, HttpFacts, Layer, Observation, OnTime, Passed, Round, Stamp,
    Step, TcpFacts,
};
use rand::Rng;
use rand::rngs::StdRng;

/// Quickest handshake and first byte, in microseconds; the slowest takes twice as long.
const HANDSHAKE_US: u64 = 800;
const FIRST_BYTE_US: u64 = 9_000;

/// One probe of a round: it passes, or its connection is refused.
pub fn of(
    vantage: &str,
    sequence: u64,
    round: &Round,
    arm: Arm,
    fails: bool,
    rng: &mut StdRng,
) -> Observation {
    let handshake_us = rng.random_range(HANDSHAKE_US..HANDSHAKE_US * 2);
    let first_byte_us = rng.random_range(FIRST_BYTE_US..FIRST_BYTE_US * 2);
    let (steps, outcome, http) = match fails {
        true => (Vec::new(), refused(handshake_us), None),
        false => (
            vec![
                step(Layer::Tcp, handshake_us),
                step(Layer::Http, first_byte_us),
            ],
            Outcome::Passed(Passed {}),
            Some(answer(&arm, first_byte_us)),
        ),
    };
    Observation {
        vantage: vantage.to_owned(),
        sequence,
        service: round.service.clone(),
        round: round.round,
        arm: Some(arm),
        started: Some(Stamp {
            at_us: round.fire_at_us + rng.random_range(5..60),
            uncertainty_us: 90,
        }),
        scheduled_us: round.fire_at_us,
        firing: Some(proto::v1::Firing {
            firing: Some(Firing::OnTime(OnTime {})),
        }),
        steps,
        outcome: Some(outcome),
        tcp: Some(TcpFacts {
            local: format!("127.0.0.1:{}", rng.random_range(32_768..60_999)),
            rtt_us: (!fails).then_some(handshake_us - 20),
            ..TcpFacts::default()
        }),
        http,
        ..Observation::default()
    }
}

fn step(layer: Layer, took_us: u64) -> Step {
    Step {
        layer: layer.into(),
        took_us,
    }
}

fn refused(after_us: u64) -> Outcome {
    Outcome::Failed(Failed {
        layer: Layer::Tcp.into(),
        failure: FailureKind::FailureConnectRefused.into(),
        code: 0,
        after_us,
    })
}

/// Every backend says who it is, as most do.
fn answer(arm: &Arm, first_byte_us: u64) -> HttpFacts {
    let served_by = match &arm.target {
        Some(Target::Backend(backend)) => backend.name.clone(),
        _ => "web1".to_owned(),
    };
    let header = |name: &str, value: &str| Header {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    HttpFacts {
        status: 200,
        first_byte_us,
        body_bytes: 5120,
        body_digest: "9f86d081884c7d659a2feaa0c55ad015".to_owned(),
        headers: vec![header("server", "nginx"), header("x-served-by", &served_by)],
        ..HttpFacts::default()
    }
}
