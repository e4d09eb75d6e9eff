//! A layer-7 balancer: TLS, round robin, health checks by connecting.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, VIA};
use hyper::{Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::fault::Fault;
use super::serve::{self, Body, Faults, Identities};

const UNAVAILABLE: &str = "<h1>503 Service Unavailable</h1>No server is available.\n";
const BAD_GATEWAY: &str = "<h1>502 Bad Gateway</h1>The server returned an invalid response.\n";
const GATEWAY_TIMEOUT: &str = "<h1>504 Gateway Time-out</h1>The server didn't respond in time.\n";

/// Pause between two health checks of a backend.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// Checks in a row that take a backend out of rotation, or back into it.
const CHECKS: u32 = 2;
/// Limit of a connection to a backend.
const CONNECT: Duration = Duration::from_millis(1000);
/// Limit of a backend's answer: shorter than the edges', so that the balancer speaks first.
const ANSWER: Duration = Duration::from_millis(2200);

/// One balancer with its backends.
pub struct Balancer {
    address: SocketAddr,
    backends: Vec<Backend>,
    turn: AtomicUsize,
    identities: Identities,
}

struct Backend {
    address: SocketAddr,
    in_rotation: AtomicBool,
}

impl Balancer {
    /// A balancer that holds all backends to be well.
    pub fn new(address: SocketAddr, backends: &[SocketAddr], identities: Identities) -> Arc<Self> {
        let backends = backends.iter().map(|&address| Backend {
            address,
            in_rotation: AtomicBool::new(true),
        });
        Arc::new(Self {
            address,
            backends: backends.collect(),
            turn: AtomicUsize::new(0),
            identities,
        })
    }

    /// Serves until the path is taken down.
    pub async fn run(self: Arc<Self>, listener: TcpListener, faults: Faults) {
        for index in 0..self.backends.len() {
            tokio::spawn(Arc::clone(&self).check(index));
        }
        let seen = faults.clone();
        let closed = |fault| fault == Fault::BalancerDead;
        serve::accept(listener, faults, closed, |stream| {
            Arc::clone(&self).connection(stream, *seen.borrow())
        })
        .await;
    }

    /// Checks one backend for ever.
    async fn check(self: Arc<Self>, index: usize) {
        let backend = &self.backends[index];
        let mut against = 0;
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            let well = self.connect(backend).await.is_some();
            let rotates = backend.in_rotation.load(Ordering::Relaxed);
            against = if well == rotates { 0 } else { against + 1 };
            if against >= CHECKS {
                backend.in_rotation.store(well, Ordering::Relaxed);
                against = 0;
            }
        }
    }

    async fn connect(&self, backend: &Backend) -> Option<TcpStream> {
        let connection = serve::connect_from(self.address.ip(), backend.address);
        timeout(CONNECT, connection).await.ok()?.ok()
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, fault: Fault) {
        let expired = fault == Fault::BalancerCertExpired;
        if let Ok(stream) = self.identities.accept(stream, expired).await {
            serve::http(stream, |request| self.request(request, fault)).await;
        }
    }

    async fn request(&self, request: Request<Incoming>, fault: Fault) -> Response<Body> {
        if fault == Fault::Balancer503 {
            return serve::answer(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE);
        }
        let Some(stream) = self.next_connection().await else {
            return serve::answer(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE);
        };
        match timeout(ANSWER, serve::forward(stream, request)).await {
            Ok(Ok(mut answer)) => {
                let via = HeaderValue::from_static("1.1 lb");
                answer.headers_mut().insert(VIA, via);
                answer
            }
            Ok(Err(_)) => serve::answer(StatusCode::BAD_GATEWAY, BAD_GATEWAY),
            Err(_) => serve::answer(StatusCode::GATEWAY_TIMEOUT, GATEWAY_TIMEOUT),
        }
    }

    /// The next backend of the rotation that takes a connection.
    async fn next_connection(&self) -> Option<TcpStream> {
        for _ in &self.backends {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let backend = &self.backends[turn % self.backends.len()];
            if !backend.in_rotation.load(Ordering::Relaxed) {
                continue;
            }
            if let Some(stream) = self.connect(backend).await {
                return Some(stream);
            }
        }
        None
    }
}
