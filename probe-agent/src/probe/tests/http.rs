//! HTTP: a server that has the request and then misbehaves.

use std::time::Duration;

use localize::{Failure, Layer, Micros, Outcome, RoundId};

use super::super::http::{Closes, Get, exchange};
use super::super::tcp::{establish, prepare};
use super::Then::{Close, Reset, Wait};
use super::{failed, layers, listener, probe, serve, spec, vip};

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
    let get = Get {
        authority: &"shop.example".parse().unwrap(),
        path: &"/".parse().unwrap(),
        round: RoundId(1),
        closes: Closes::Either,
    };
    let clock = crate::clock::Clock::start();
    let within = Duration::from_secs(1);
    let (facts, end) = exchange(get, stream, within, &clock).await;
    assert_eq!(
        (facts, end),
        (None, Err((Layer::Http, Failure::ResetBeforeRequest)))
    );
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

#[tokio::test]
async fn a_body_without_length_ends_with_the_connection() {
    let (address, _server) = serve("HTTP/1.0 200 OK\r\n\r\nabc", Close).await;
    let findings = probe(spec("http"), vip(address)).await;
    assert_eq!(findings.outcome, Outcome::Passed);
    assert_eq!(findings.facts.http.unwrap().body_bytes, 3);
}
