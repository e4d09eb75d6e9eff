//! What strangers and loud agents can do to the coordinator: little, and not for long.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test may fail, skip what it does not wait for, and look at the clock"
)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Coordinator, client_config};
use proto::v1::enrolment_client::EnrolmentClient;
use proto::v1::operator_client::OperatorClient;
use proto::v1::{ApplyServiceRequest, JoinRequest, StatusRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Code;

/// A connection without a certificate that has begun with HTTP/2 and says nothing more.
async fn idle(coordinator: &Coordinator) -> TlsStream<TcpStream> {
    let ca = coordinator.admin()["ca"].as_str().unwrap().to_owned();
    let connector = TlsConnector::from(Arc::new(client_config(&ca, None)));
    let stream = TcpStream::connect(coordinator.address).await.unwrap();
    let name = "mesh-coordinator".try_into().unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    // The preface and an empty frame of settings (RFC 9113 section 3.4).
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(preface).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

#[tokio::test]
async fn honest_agents_join_beside_idle_strangers_who_must_leave() {
    let coordinator = Coordinator::start();
    let secret = coordinator.invite("home1", 0).await;
    let started = Instant::now();
    let mut strangers = Vec::new();
    for _ in 0..64 {
        strangers.push(idle(&coordinator).await);
    }
    let (_, credentials) = coordinator.join(&secret).await.unwrap();
    coordinator.session(&credentials).await.unwrap();
    // Whoever is not displaced is shown out all the same.
    let mut last = strangers.pop().unwrap();
    let read = tokio::time::timeout(Duration::from_secs(15), async {
        let mut buffer = [0; 4096];
        while last.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
    });
    read.await.expect("it is still in");
    assert!(started.elapsed() > Duration::from_secs(5));
}

#[tokio::test]
async fn strangers_are_not_listened_to_at_length() {
    let coordinator = Coordinator::start();
    let channel = coordinator.channel(None).await;
    let request = JoinRequest {
        token_secret: "00".repeat(32),
        csr_pem: "A".repeat(1 << 20),
        agent_version: String::new(),
    };
    let refused = EnrolmentClient::new(channel.clone()).join(request).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    let mut operator = OperatorClient::new(channel);
    let long = ApplyServiceRequest {
        toml: "A".repeat(3 << 20),
        ca_pem: None,
    };
    let refused = operator.apply_service(long).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    // The same at a method that is for others.
    let agent = coordinator.enrol("home1").await;
    let mut as_agent = OperatorClient::new(coordinator.channel(Some(&agent)).await);
    let refused = as_agent.status(StatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
}

#[tokio::test]
async fn silence_keeps_nobody_out() {
    let coordinator = Coordinator::start();
    let mut silent = Vec::new();
    for _ in 0..600 {
        silent.push(TcpStream::connect(coordinator.address).await.unwrap());
    }
    let started = Instant::now();
    let mut operator = coordinator.operator().await;
    operator.status(StatusRequest {}).await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_loud_witness_costs_a_bounded_part_of_memory() {
    use proto::v1::agent_message::Message as Up;
    use proto::v1::coordinator_message::Message as Down;
    let coordinator = Coordinator::start();
    let credentials = coordinator.enrol("home1").await;
    let mut session = coordinator.session(&credentials).await.unwrap();
    let at = Some(proto::v1::Stamp {
        at_us: coordinator::clock::now_us(),
        uncertainty_us: 1,
    });
    let seen = proto::v1::Seen {
        packet: proto::v1::Packet::Syn.into(),
        out: false,
        interface: "eth0".to_owned(),
        count: 1,
        first: at,
        options: None,
    };
    let flow = proto::v1::FlowSighting {
        client: "192.0.2.1:40000".to_owned(),
        server: "192.0.2.2:443".to_owned(),
        seen: vec![seen; 16],
    };
    let before = coordinator.resident_mib();
    for sequence in 1..=20 {
        let report = proto::v1::WitnessReport {
            host: None,
            packets: Vec::new(),
            witness: "home1".to_owned(),
            sequence,
            from: at,
            to: at,
            dropped: 0,
            flows: vec![flow.clone(); 6000],
        };
        session.say(Up::Report(report)).await;
    }
    let last = session.until(|message| match message {
        Down::Ack(ack) if ack.durable_through == 20 => Some(()),
        _ => None,
    });
    last.await;
    let grown = coordinator.resident_mib().saturating_sub(before);
    assert!(grown < 100, "{grown} MiB");
    println!("{grown} MiB more");
}
