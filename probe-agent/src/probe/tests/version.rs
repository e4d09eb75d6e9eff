//! Versions of HTTP, with servers that speak one of them or both.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use localize::{Arm, Failure, HttpVersion, Layer, Outcome};
use proto::v1;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::super::{Findings, follow, prepare};
use super::tls::{Authority, Clients, authority, config, trusting};
use super::{failed, fire, layers, listener, spec, vip, wording};
use crate::clock::Clock;
use crate::service::Service;

/// What a server speaks, and how it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// HTTP/2 in the clear, to who begins so.
    PlainTwo,
    /// HTTP/2, and an alert for who offers anything else.
    TlsTwo,
    /// HTTP/2, whatever is offered, without a word in the handshake.
    TlsTwoTacit,
    /// HTTP/2 for who offers it; with anybody else it shakes hands, and ends the connection at the first request.
    TlsTwoMute,
    /// HTTP/1.1 in the clear.
    PlainOne,
    /// HTTP/1.1 in the clear; what is not that it does not answer.
    PlainOneMute,
    /// HTTP/1.1, and an alert for who offers anything else.
    TlsOne,
    /// HTTP/1.1, whatever is offered, without a word in the handshake.
    TlsOneTacit,
    /// Both; over HTTP/1.1 it ends the connection at every request.
    TlsBothMuteInOne,
    /// Another protocol altogether.
    TlsOther,
}

impl Server {
    fn scheme(self) -> &'static str {
        match self {
            Self::PlainOne | Self::PlainOneMute | Self::PlainTwo => "http",
            Self::TlsTwo
            | Self::TlsTwoTacit
            | Self::TlsTwoMute
            | Self::TlsOne
            | Self::TlsOneTacit
            | Self::TlsBothMuteInOne
            | Self::TlsOther => "https",
        }
    }

    async fn serve(self, stream: TcpStream, authority: &Authority) -> io::Result<()> {
        let tls = |alpn: &[&[u8]]| {
            let mut config = config(authority, "shop.example", (2020, 2090), Clients::Any);
            config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        let accept = |alpn: &[&[u8]]| TlsAcceptor::from(tls(alpn));
        match self {
            Self::PlainTwo => two(stream).await,
            Self::PlainOne => one(stream).await,
            Self::PlainOneMute => one_or_mute(stream).await,
            Self::TlsTwo => two(accept(&[b"h2"]).accept(stream).await?).await,
            Self::TlsTwoTacit => two(accept(&[]).accept(stream).await?).await,
            Self::TlsOne => one(accept(&[b"http/1.1"]).accept(stream).await?).await,
            Self::TlsOneTacit => one(accept(&[]).accept(stream).await?).await,
            Self::TlsOther => mute(accept(&[b"imap"]).accept(stream).await?).await,
            Self::TlsTwoMute => {
                let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
                let start = start.await?;
                let offers_two = {
                    let mut offered = start.client_hello().alpn().into_iter().flatten();
                    offered.any(|name| name == b"h2")
                };
                match offers_two {
                    true => two(start.into_stream(tls(&[b"h2"])).await?).await,
                    false => mute(start.into_stream(tls(&[])).await?).await,
                }
            }
            Self::TlsBothMuteInOne => {
                let session = accept(&[b"http/1.1", b"h2"]).accept(stream).await?;
                match session.get_ref().1.alpn_protocol() == Some(b"h2") {
                    true => two(session).await,
                    false => mute(session).await,
                }
            }
        }
    }
}

async fn two<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> io::Result<()> {
    let answer = service_fn(
        |request: hyper::Request<hyper::body::Incoming>| async move {
            let told = format!(
                "{} {} {:?}",
                request.method(),
                request.uri(),
                request.version()
            );
            Ok::<_, Infallible>(
                hyper::Response::builder()
                    .header("x-asked", told)
                    .header("x-round", request.headers()["mesh-round"].clone())
                    .body(Full::new(Bytes::from_static(b"Welcome")))
                    .unwrap(),
            )
        },
    );
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), answer)
        .await
        .map_err(io::Error::other)
}

async fn one<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    let mut asked = [0; 2048];
    let read = stream.read(&mut asked).await?;
    let answer: &[u8] = match asked[..read].starts_with(b"GET ") {
        true => b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nWelcome",
        false => b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    };
    stream.write_all(answer).await?;
    stream.shutdown().await
}

async fn one_or_mute(stream: TcpStream) -> io::Result<()> {
    let mut begins = [0; 4];
    stream.peek(&mut begins).await?;
    match &begins {
        b"GET " => one(stream).await,
        _ => mute(stream).await,
    }
}

async fn mute<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    stream.read_exact(&mut [0; 16]).await.map(drop)
}

/// A server, and a service whose agent remembers what it heard.
struct Bench {
    service: Arc<Service>,
    clock: Arc<Clock>,
    arm: Arm,
    connections: Arc<AtomicUsize>,
}

impl Bench {
    async fn new(server: Server, http: &[&str]) -> Self {
        let authority = Arc::new(authority());
        let (listener, address) = listener().await;
        let connections = Arc::new(AtomicUsize::new(0));
        let pem = authority.pem.clone();
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let authority = Arc::clone(&authority);
                tokio::spawn(async move {
                    let _ = server.serve(stream, &authority).await;
                });
            }
        });
        let usual = match server.scheme() {
            "https" => trusting(&pem),
            _ => spec("http"),
        };
        let with = v1::ServiceSpec {
            request: Some(v1::RequestSpec {
                http: http.iter().map(ToString::to_string).collect(),
                ..v1::RequestSpec::default()
            }),
            tls_timeout_ms: 2000,
            total_timeout_ms: 4000,
            ..usual
        };
        Self::of(with, address, connections)
    }

    fn of(spec: v1::ServiceSpec, address: SocketAddr, connections: Arc<AtomicUsize>) -> Self {
        Self {
            service: Arc::new(Service::try_from(spec).unwrap()),
            clock: Arc::new(Clock::start()),
            arm: Arm::to(vip(address)),
            connections,
        }
    }

    /// What a probe finds, and how many connections it took.
    async fn probe(&self) -> (Findings, usize) {
        let wording = wording(&self.service, 7);
        let prepared = prepare(
            &self.service,
            self.arm.clone(),
            super::Earlier::default(),
            &wording,
        )
        .unwrap();
        let fired = fire(prepared.charge, &self.clock).await;
        let (findings, _, _) = follow(prepared.task, fired, &self.clock).await;
        (findings, self.connections.swap(0, Ordering::SeqCst))
    }
}

#[tokio::test]
async fn a_server_is_spoken_with_as_it_speaks_and_is_remembered() {
    let rows = [
        (Server::PlainTwo, 2),
        (Server::TlsTwo, 2),
        (Server::TlsTwoTacit, 2),
        (Server::TlsTwoMute, 2),
        (Server::PlainOne, 1),
        (Server::TlsOne, 1),
        (Server::TlsOneTacit, 1),
    ];
    for (server, connections) in rows {
        let bench = Bench::new(server, &[]).await;
        for connections in [connections, 1] {
            let (findings, took) = bench.probe().await;
            assert_eq!(findings.outcome, Outcome::Passed, "{server:?} {findings:?}");
            let passed: &[Layer] = match server.scheme() {
                "http" => &[Layer::Tcp, Layer::Http],
                _ => &[Layer::Tcp, Layer::Tls, Layer::Http],
            };
            assert_eq!(layers(&findings), passed, "{server:?}");
            let facts = findings.facts.http.unwrap();
            assert_eq!((facts.status, facts.body_bytes), (200, 7), "{server:?}");
            assert_eq!(took, connections, "{server:?}");
        }
    }
}

/// What is tried first is nobody's time: HTTP takes as long as if it had been spoken from the beginning.
#[tokio::test]
async fn the_request_is_the_same_over_two() {
    let bench = Bench::new(Server::TlsTwo, &[]).await;
    let (findings, _) = bench.probe().await;
    let facts = findings.facts.http.as_ref().unwrap();
    let asked = "GET https://shop.example:8443/cart?x=1 HTTP/2.0".to_owned();
    assert!(
        facts.headers.contains(&("x-asked".into(), asked)),
        "{facts:?}"
    );
    assert!(facts.headers.contains(&("x-round".into(), "7".into())));
    assert_eq!(facts.body_digest.len(), 32);
    let tls = findings.facts.tls.unwrap();
    assert_eq!(tls.leaf.len(), 32);
}

#[tokio::test]
async fn who_speaks_another_version_than_is_asked_for_is_told() {
    use HttpVersion::{One, Two};
    let rows: [(Server, &[&str], HttpVersion); 7] = [
        (Server::PlainTwo, &["1.1"], Two),
        (Server::TlsTwo, &["1.1"], Two),
        (Server::TlsTwoTacit, &["1.1"], Two),
        (Server::TlsTwoMute, &["1.1"], Two),
        (Server::PlainOne, &["2"], One),
        (Server::TlsOne, &["2"], One),
        (Server::TlsOneTacit, &["2"], One),
    ];
    for (server, http, speaks) in rows {
        let (findings, _) = Bench::new(server, http).await.probe().await;
        let expected = (Layer::Http, Failure::HttpVersion(speaks));
        assert_eq!(failed(&findings), expected, "{server:?} {http:?}");
    }
}

/// A second version is no second chance: only who agrees to it is asked in it.
#[tokio::test]
async fn a_failure_is_not_hidden_by_another_version() {
    let rows = [
        (
            Server::TlsBothMuteInOne,
            (Layer::Http, Failure::ClosedWithoutAnswer),
            1,
        ),
        (Server::TlsOther, (Layer::Tls, Failure::TlsAlert(120)), 2),
    ];
    for (server, failure, connections) in rows {
        let bench = Bench::new(server, &[]).await;
        let (findings, took) = bench.probe().await;
        assert_eq!(failed(&findings), failure, "{server:?}");
        assert_eq!(took, connections, "{server:?}");
    }
}

/// Who has answered in HTTP/1.1 and then ends connections without a word is not asked in HTTP/2.
#[tokio::test]
async fn who_was_heard_is_believed() {
    let bench = Bench::new(Server::TlsTwoMute, &[]).await;
    let spoken = &bench.service.spoken;
    spoken.keep(&bench.arm.target, HttpVersion::One);
    let (findings, took) = bench.probe().await;
    let expected = (Layer::Http, Failure::ClosedWithoutAnswer);
    assert_eq!((failed(&findings), took), (expected, 1));
}

/// A server that was replaced by one of the other kind is found out about, at the latest by the second probe.
#[tokio::test]
async fn what_was_heard_may_change() {
    let rows = [
        (Server::PlainOne, HttpVersion::Two, true),
        (Server::TlsOne, HttpVersion::Two, true),
        (Server::TlsOneTacit, HttpVersion::Two, true),
        (Server::TlsTwo, HttpVersion::One, true),
        (Server::PlainTwo, HttpVersion::One, true),
        (Server::PlainOneMute, HttpVersion::Two, false),
    ];
    for (server, heard, at_once) in rows {
        let bench = Bench::new(server, &[]).await;
        bench.service.spoken.keep(&bench.arm.target, heard);
        let passes = [bench.probe().await, bench.probe().await]
            .map(|(findings, _)| findings.outcome == Outcome::Passed);
        assert_eq!(passes, [at_once, true], "{server:?}");
    }
}

/// What a server does once it has a request over HTTP/2.
#[derive(Clone, Copy, Debug)]
enum Then {
    Status(u16),
    ResetStream,
    GoAway,
    Close,
    CloseMidway,
    Wait,
    WaitMidway,
}

async fn misbehave(stream: TcpStream, then: Then) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
    let answer = |status: u16| http::Response::builder().status(status).body(()).unwrap();
    let mut kept = None;
    match then {
        Then::Status(status) => drop(respond.send_response(answer(status), true).unwrap()),
        Then::ResetStream => respond.send_reset(h2::Reason::INTERNAL_ERROR),
        Then::GoAway => connection.abrupt_shutdown(h2::Reason::INTERNAL_ERROR),
        Then::Close => return,
        Then::CloseMidway | Then::WaitMidway => {
            let mut body = respond.send_response(answer(200), false).unwrap();
            body.send_data(Bytes::from_static(b"Wel"), false).unwrap();
            kept = Some(body);
        }
        Then::Wait => {}
    }
    let drive = async { while let Some(Ok(_)) = connection.accept().await {} };
    let patience = match then {
        Then::CloseMidway => Duration::from_millis(100),
        _ => Duration::from_secs(2),
    };
    let _ = tokio::time::timeout(patience, drive).await;
    drop(kept);
}

#[tokio::test]
async fn each_way_to_fail_over_two_has_its_failure() {
    use Failure as F;
    let rows = [
        (Then::Status(503), F::HttpStatus(503)),
        (Then::ResetStream, F::ResetAfterRequest),
        (Then::GoAway, F::ClosedWithoutAnswer),
        (Then::Close, F::ClosedWithoutAnswer),
        (Then::CloseMidway, F::BodyTruncated),
        (Then::Wait, F::HttpTimeout),
        (Then::WaitMidway, F::BodyTimeout),
    ];
    for (then, failure) in rows {
        let (listener, address) = listener().await;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            misbehave(stream, then).await;
        });
        let with = v1::ServiceSpec {
            request: Some(v1::RequestSpec {
                http: vec!["2".to_owned()],
                ..v1::RequestSpec::default()
            }),
            ..spec("http")
        };
        let bench = Bench::of(with, address, Arc::default());
        let (findings, _) = bench.probe().await;
        assert_eq!(failed(&findings), (Layer::Http, failure), "{then:?}");
    }
}
