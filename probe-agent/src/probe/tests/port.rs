//! Source ports that are used again, as rounds do it.

use std::net::SocketAddr;
use std::sync::Arc;

use localize::{Arm, Facts, Micros, Outcome, SourcePort, TcpFacts};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::super::port::{Ports, Used};
use super::super::{Findings, follow, prepare};
use super::{finish, fire, listener, request, spec, vip, wording};
use crate::clock::Clock;
use crate::service::Service;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// An agent's memory of ports, and one arm that asks for them.
struct Bench {
    service: Arc<Service>,
    clock: Arc<Clock>,
    ports: Ports,
    arm: Arm,
}

impl Bench {
    fn new(to: SocketAddr) -> Self {
        Self {
            service: Arc::new(Service::try_from(spec("http")).unwrap()),
            clock: Arc::new(Clock::start()),
            ports: Ports::default(),
            arm: Arm::to(vip(to)).twin(SourcePort::Reused),
        }
    }

    /// The arm as it was fired, what it saw, and the port kept for the next one.
    async fn probe(&self) -> (Arm, Findings, Option<Used>) {
        let again = self.ports.take(&self.arm, self.clock.now());
        let wording = wording(&self.service, 1);
        let earlier = super::Earlier {
            port: again,
            jar: None,
        };
        let prepared = prepare(&self.service, self.arm.clone(), earlier, &wording).unwrap();
        let fired = fire(prepared.charge, &self.clock).await;
        let (findings, _, parting) = follow(prepared.task, fired, &self.clock).await;
        let used = parting.wait(&self.clock).await;
        if let Some(used) = used {
            self.ports.keep(&self.arm, used);
        }
        (prepared.arm, findings, used)
    }
}

fn tcp(findings: &Findings) -> &TcpFacts {
    let Facts { tcp, .. } = &findings.facts;
    tcp.as_ref().unwrap()
}

/// Answers every connection, and ends it in the given way.
fn answer_all(listener: TcpListener, then: super::Then) {
    tokio::spawn(async move {
        loop {
            let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            stream.write_all(ANSWER.as_bytes()).await.unwrap();
            tokio::spawn(finish(stream, then));
        }
    });
}

#[tokio::test]
async fn the_second_probe_leaves_from_the_port_of_the_first_and_says_so() {
    let (listener, address) = listener().await;
    answer_all(listener, super::Then::Close);
    let bench = Bench::new(address);
    let (arm, first, _) = bench.probe().await;
    assert_eq!(arm.traits.port, SourcePort::Fresh);
    assert_eq!(tcp(&first).reused_after, None);
    for _ in 0..3 {
        let (arm, again, _) = bench.probe().await;
        assert_eq!(again.outcome, Outcome::Passed);
        assert_eq!(arm.traits.port, SourcePort::Reused);
        assert_eq!(tcp(&again).local, tcp(&first).local);
        let after = tcp(&again).reused_after.unwrap();
        assert!(after < Micros(5_000_000), "{after:?}");
    }
}

#[tokio::test]
async fn a_port_in_other_hands_is_not_waited_for() {
    let (listener, address) = listener().await;
    answer_all(listener, super::Then::Close);
    let bench = Bench::new(address);
    let (_, _, used) = bench.probe().await;
    let _taken = TcpListener::bind(used.unwrap().local).await.unwrap();
    let (arm, findings, _) = bench.probe().await;
    assert_eq!(findings.outcome, Outcome::Passed);
    assert_eq!(arm.traits.port, SourcePort::Fresh);
    assert_eq!(tcp(&findings).reused_after, None);
    assert_ne!(tcp(&findings).local, used.unwrap().local);
}

/// Whoever closes first remembers the connection; were it the agent, the port would be of no use.
#[tokio::test]
async fn a_far_end_that_does_not_close_leaves_no_port() {
    let (listener, address) = listener().await;
    answer_all(listener, super::Then::Wait);
    let bench = Bench::new(address);
    let (_, findings, used) = bench.probe().await;
    assert_eq!(findings.outcome, Outcome::Passed);
    assert_eq!(used, None);
}

#[tokio::test]
async fn a_port_without_an_answer_is_tried_again() {
    let (listener, address) = listener().await;
    answer_all(listener, super::Then::Close);
    let bench = Bench::new(address);
    let (_, _, used) = bench.probe().await;
    let nobody = Bench {
        arm: Arm {
            target: vip("127.0.0.1:9".parse().unwrap()),
            ..bench.arm.clone()
        },
        ..bench
    };
    nobody.ports.keep(&nobody.arm, used.unwrap());
    for _ in 0..2 {
        let (arm, findings, kept) = nobody.probe().await;
        assert_eq!(arm.traits.port, SourcePort::Reused);
        assert!(findings.outcome != Outcome::Passed);
        assert!(tcp(&findings).reused_after.is_some());
        assert_eq!(kept, used);
    }
}
