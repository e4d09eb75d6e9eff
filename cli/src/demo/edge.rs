//! An edge of a CDN that answers for the origin's failures as Cloudflare documents it: 520 to 526
//! ("Troubleshooting Cloudflare 5XX errors").

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, SERVER};
use hyper::{Request, Response, StatusCode};
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::fault::Fault;
use super::plan::SERVICE;
use super::serve::{self, Body, Faults, Identities};

const ERROR_PAGE: &str = "<!doctype html><title>shop.example</title><p>Cloudflare error.</p>\n";
/// Limit of a connection to the origin; 522 after it.
const CONNECT: Duration = Duration::from_millis(1500);
/// Limit of the origin's answer; 524 after it. Longer than the balancer's own limit.
const ANSWER: Duration = Duration::from_millis(2800);
/// Share of requests that are reset where the CDN resets some.
const RESETS: f64 = 0.3;
/// How long a stalled request is held: longer than any probe waits.
const STALL: Duration = Duration::from_secs(60);

/// One edge.
pub struct Edge {
    /// Its place among the edges.
    pub index: usize,
    /// Its own address, from which it speaks to the origin too.
    pub address: SocketAddr,
    /// The origin.
    pub vip: SocketAddr,
    /// What it shows to users.
    pub identities: Identities,
    /// With which it checks the origin.
    pub client: Arc<rustls::ClientConfig>,
}

impl Edge {
    /// Serves until the path is taken down.
    pub async fn run(self: Arc<Self>, listener: TcpListener, faults: Faults) {
        let seen = faults.clone();
        serve::accept(
            listener,
            faults,
            |_| false,
            |stream| Arc::clone(&self).connection(stream, *seen.borrow()),
        )
        .await;
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, fault: Fault) {
        let expired = fault == Fault::EdgeCertExpired && self.index == 0;
        let Ok(mut stream) = self.identities.accept(stream, expired).await else {
            return;
        };
        if fault == Fault::CdnResets && rand::random_bool(RESETS) {
            if serve::read_header(&mut stream).await {
                serve::reset(stream.get_ref().0);
            }
            return;
        }
        serve::http(stream, |request| self.request(request, fault)).await;
    }

    async fn request(&self, request: Request<Incoming>, fault: Fault) -> Response<Body> {
        let answered = match (fault, self.index) {
            (Fault::Edge500, 0) => Err(500),
            (Fault::EdgeStalls, 1) => {
                tokio::time::sleep(STALL).await;
                Err(500)
            }
            (Fault::EdgeCannotReachVip, 0) => {
                tokio::time::sleep(CONNECT).await;
                Err(522)
            }
            _ => self.ask_origin(request).await,
        };
        let mut answer = answered.unwrap_or_else(|status| {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            serve::answer(status, ERROR_PAGE)
        });
        let headers = answer.headers_mut();
        headers.insert(SERVER, HeaderValue::from_static("cloudflare"));
        let ray = format!("{:016x}-DM{}", rand::random::<u64>(), self.index + 1);
        if let Ok(ray) = HeaderValue::from_str(&ray) {
            headers.insert("cf-ray", ray);
        }
        answer
    }

    /// The origin's answer, or the status that tells why there is none.
    async fn ask_origin(&self, request: Request<Incoming>) -> Result<Response<Body>, u16> {
        let stream = self.connect().await?;
        let stream = self.handshake(stream).await?;
        match timeout(ANSWER, serve::forward(stream, request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(520),
            Err(_) => Err(524),
        }
    }

    async fn connect(&self) -> Result<TcpStream, u16> {
        match timeout(CONNECT, serve::connect_from(self.address.ip(), self.vip)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Err(521),
            Ok(Err(_)) => Err(523),
            Err(_) => Err(522),
        }
    }

    async fn handshake(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, u16> {
        let connector = TlsConnector::from(Arc::clone(&self.client));
        let name = ServerName::try_from(SERVICE).map_err(|_| 525_u16)?;
        match timeout(CONNECT, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if is_about_certificate(&error) => Err(526),
            Ok(Err(_)) | Err(_) => Err(525),
        }
    }
}

fn is_about_certificate(error: &std::io::Error) -> bool {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|tls| matches!(tls, rustls::Error::InvalidCertificate(_)))
}
