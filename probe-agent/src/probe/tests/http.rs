//! HTTP: a server that has the request and then misbehaves.

use std::sync::Arc;
use std::time::Duration;

use localize::{Arm, Failure, HttpVersion, LARGE_READ, Layer, Micros, Object, Outcome, RoundId};
use proto::v1;

use super::super::http::{Ask, Closes, Exchange, Stopped, exchange};
use super::super::tcp::{establish, prepare};
use super::Then::{Close, Reset, Wait};
use super::{failed, layers, listener, probe, probe_arm, serve, spec, vip, wording};
use crate::secret::Sent;
use crate::service::Service;

#[tokio::test]
async fn each_way_to_fail_has_its_failure() {
    use Failure as F;
    let rows = [
        ("", Close, F::ClosedWithoutAnswer),
        ("", Reset, F::ResetAfterRequest),
        ("", Wait, F::HttpTimeout),
        ("HTTP/1.1 200 OK\r\nContent-", Wait, F::HttpTimeout),
        ("HTTP/1.1 200 OK\r\nContent-", Close, F::HttpMalformed),
        ("SSH-2.0-OpenSSH_9.2p1\r\n", Close, F::HttpMalformed),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            Close,
            F::BodyTruncated,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            Wait,
            F::BodyTimeout,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            Reset,
            F::ResetAfterRequest,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            Close,
            F::BodyTruncated,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            Wait,
            F::HttpMalformed,
        ),
        (
            "HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nabc",
            Close,
            F::HttpStatus(500),
        ),
        (
            "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
            Close,
            F::HttpStatus(404),
        ),
        (
            "HTTP/1.1 522 x\r\nserver: cloudflare\r\ncontent-length: 0\r\n\r\n",
            Close,
            F::CdnStatus(522),
        ),
        (
            "HTTP/1.1 522 x\r\ncontent-length: 0\r\n\r\n",
            Close,
            F::HttpStatus(522),
        ),
    ];
    for (answer, then, failure) in rows {
        let (address, _server) = serve(answer, then).await;
        let findings = probe(spec("http"), vip(address)).await;
        assert_eq!(failed(&findings), (Layer::Http, failure), "{answer:?}");
        assert_eq!(layers(&findings), [Layer::Tcp], "{answer:?}");
    }
}

#[tokio::test]
async fn a_reset_before_the_request_is_told_apart() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    });
    let socket = prepare(address, None).unwrap();
    let _ = socket.connect(&address.into());
    let stream = establish(socket, Duration::from_secs(1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let service = Service::try_from(spec("http")).unwrap();
    let ask = Ask {
        authority: &service.authority,
        request: &service.request,
        sent: &Sent::default(),
        round: RoundId(1),
        closes: Closes::Either,
        jar: None,
    };
    let clock = crate::clock::Clock::start();
    let within = Duration::from_secs(1);
    let exchange = exchange(&ask, HttpVersion::One, stream, within, &clock).await;
    let end = Err(Stopped::Mute(Layer::Http, Failure::ResetBeforeRequest));
    assert_eq!(exchange, Exchange { facts: None, end });
}

#[tokio::test]
async fn a_whole_answer_passes_with_its_facts() {
    let answer = "HTTP/1.1 302 Found\r\nDate: x\r\nServer: nginx\r\nX-Cache: MISS\r\n\
                  Location: /other\r\nContent-Length: 3\r\n\r\nabc";
    let (address, server) = serve(answer, Close).await;
    let findings = probe(spec("http"), vip(address)).await;
    assert_eq!(findings.outcome, Outcome::Passed);
    assert_eq!(layers(&findings), [Layer::Tcp, Layer::Http]);
    let facts = findings.facts.http.unwrap();
    assert_eq!((facts.status, facts.body_bytes), (302, 3));
    assert_eq!(facts.body_digest, "ba7816bf8f01cfea414140de5dae2223");
    assert!(facts.first_byte < Micros(300_000));
    let names: Vec<_> = facts
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["server", "x-cache", "location", "content-length"]);
    let asked = server.await.unwrap().to_lowercase();
    assert!(asked.starts_with("get /cart?x=1 http/1.1\r\n"), "{asked}");
    for header in [
        "host: shop.example:8443\r\n",
        "mesh-round: 7\r\n",
        "connection: close\r\n",
        "accept-encoding: identity\r\n",
    ] {
        assert!(asked.contains(header), "{asked}");
    }
}

/// The large object has a path of its own, and is read as far as it tells something.
#[tokio::test]
async fn a_large_object_is_read_in_part() {
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}",
        "x".repeat(1_000_000)
    );
    let (address, server) = serve(answer.leak(), Close).await;
    let arm = Arm::to(vip(address)).twin(Object::Large);
    let with = v1::ServiceSpec {
        large_path: "/app.js?v=2".to_owned(),
        ..spec("http")
    };
    let findings = probe_arm(with, arm.clone()).await;
    assert_eq!(findings.outcome, Outcome::Passed);
    assert_eq!(findings.facts.http.unwrap().body_bytes, LARGE_READ);
    server.abort();
    let without = Arc::new(Service::try_from(spec("http")).unwrap());
    let unfit = super::super::prepare(
        &without,
        arm,
        super::Earlier::default(),
        &wording(&without, 7),
    )
    .unwrap_err();
    assert_eq!(unfit.to_string(), "the service declares no large object");
}

#[tokio::test]
async fn the_large_object_has_a_path_of_its_own() {
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    let (address, server) = serve(whole, Close).await;
    let with = v1::ServiceSpec {
        large_path: "/app.js?v=2".to_owned(),
        ..spec("http")
    };
    let arm = Arm::to(vip(address)).twin(Object::Large);
    assert_eq!(probe_arm(with, arm).await.outcome, Outcome::Passed);
    let asked = server.await.unwrap();
    assert!(asked.starts_with("GET /app.js?v=2 HTTP/1.1\r\n"), "{asked}");
    let wrong = v1::ServiceSpec {
        large_path: "app.js".to_owned(),
        ..spec("http")
    };
    assert!(Service::try_from(wrong).is_err());
}

#[tokio::test]
async fn a_body_without_length_ends_with_the_connection() {
    let (address, _server) = serve("HTTP/1.0 200 OK\r\n\r\nabc", Close).await;
    let findings = probe(spec("http"), vip(address)).await;
    assert_eq!(findings.outcome, Outcome::Passed);
    assert_eq!(findings.facts.http.unwrap().body_bytes, 3);
}
