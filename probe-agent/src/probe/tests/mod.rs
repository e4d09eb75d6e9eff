//! Each probe against a real listener that misbehaves in one way.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test asks for one variant and panics on the others"
)]

mod asked;
mod beside;
mod burst;
mod dns;
mod dns_daemons;
mod http;
mod port;
mod tcp;
mod tls;
mod version;

use std::net::SocketAddr;
use std::sync::Arc;

use localize::{Arm, Failure, Layer, Outcome, RoundId, Target};
use proto::v1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::{Earlier, Findings, Prepared, Wording, follow, prepare};
use crate::clock::Clock;
use crate::fire::{Armed, Charge, Fired, Salvo, Trigger};
use crate::policy::Policy;
use crate::secret::Sent;
use crate::service::Service;

/// A service with limits short enough for a test.
fn spec(scheme: &str) -> v1::ServiceSpec {
    v1::ServiceSpec {
        name: "shop".to_owned(),
        host: "shop.example".to_owned(),
        scheme: scheme.to_owned(),
        path: "/cart?x=1".to_owned(),
        authority: "shop.example:8443".to_owned(),
        dns_timeout_ms: 300,
        connect_timeout_ms: 300,
        tls_timeout_ms: 300,
        total_timeout_ms: 600,
        ..v1::ServiceSpec::default()
    }
}

fn vip(address: SocketAddr) -> Target {
    Target::Vip { address }
}

async fn probe(spec: v1::ServiceSpec, target: Target) -> Findings {
    probe_arm(spec, Arm::to(target)).await
}

/// Prepares, fires and follows one arm, as a round does.
async fn probe_arm(spec: v1::ServiceSpec, arm: Arm) -> Findings {
    probe_after(Earlier::default(), spec, arm).await.1
}

/// The same after earlier probes; with the arm as it was fired.
async fn probe_after(earlier: Earlier, spec: v1::ServiceSpec, arm: Arm) -> (Arm, Findings) {
    let service = Arc::new(Service::try_from(spec).unwrap());
    probe_of(&service, earlier, arm).await
}

/// The same of a service that was probed before.
async fn probe_of(service: &Arc<Service>, earlier: Earlier, arm: Arm) -> (Arm, Findings) {
    let clock = Arc::new(Clock::start());
    let prepared = prepare(service, arm, earlier, &wording(service, 7)).unwrap();
    let Prepared { arm, charge, task } = prepared;
    let fired = fire(charge, &clock).await;
    (arm, follow(task, fired, &clock).await.0)
}

/// What the requests of a round hold, as a round finds it out.
fn wording(service: &Service, round: u64) -> Wording {
    let sent = Sent::look_up(&service.headers, Policy::default().secrets());
    Wording {
        round: RoundId(round),
        sent: sent.map(Arc::new).map_err(|error| error.to_string()),
    }
}

async fn fire(charge: Charge, clock: &Arc<Clock>) -> Fired {
    let trigger = Trigger::start(Arc::clone(clock)).unwrap();
    let (fired, wait) = oneshot::channel();
    let arms = vec![Armed { charge, fired }];
    let at = clock.now();
    trigger.load(Salvo { at, arms }).unwrap();
    wait.await.unwrap()
}

fn failed(findings: &Findings) -> (Layer, Failure) {
    match &findings.outcome {
        Outcome::Failed { layer, failure, .. } => (*layer, *failure),
        other => panic!("{other:?}"),
    }
}

fn layers(findings: &Findings) -> Vec<Layer> {
    findings.steps.iter().map(|step| step.layer).collect()
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Reads a request up to its empty line and returns it.
async fn request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}

/// What a server does once it has the request.
#[derive(Clone, Copy)]
enum Then {
    Close,
    Reset,
    Wait,
}

/// Serves one connection: reads the request, writes the answer, and ends it in the given way.
async fn serve(answer: &'static str, then: Then) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = request(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        finish(stream, then).await;
        asked
    });
    (address, server)
}

async fn finish(stream: TcpStream, then: Then) {
    match then {
        Then::Close => {}
        Then::Reset => {
            // Long enough that what was written is read before the reset overtakes it.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            socket2::SockRef::from(&stream)
                .set_linger(Some(std::time::Duration::ZERO))
                .unwrap();
        }
        Then::Wait => tokio::time::sleep(std::time::Duration::from_secs(2)).await,
    }
}
