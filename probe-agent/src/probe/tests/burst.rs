//! Bursts: companions that carry nothing, are closed in time, and change nothing of what is reported.

use std::time::Duration;

use localize::{Arm, BURST, Failure, Layer, Outcome, Pace};
use proto::v1;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::{failed, layers, listener, probe, probe_arm, spec, vip};

/// What came over one connection, and how long after the first was taken its end came.
struct Heard {
    bytes: usize,
    ended: Duration,
}

/// Takes as many connections as a burst has, reads each to its end, and answers whoever asks.
async fn take_all(listener: TcpListener, answer: &'static str) -> Vec<Heard> {
    let mut heard: Vec<JoinHandle<Heard>> = Vec::new();
    let mut begun = None;
    while heard.len() < BURST as usize {
        let (stream, _) = timeout(Duration::from_secs(5), listener.accept())
            .await
            .expect("as many as a burst has")
            .unwrap();
        let begun = *begun.get_or_insert_with(Instant::now);
        heard.push(tokio::spawn(hear(stream, answer, begun)));
    }
    let more = timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(more.is_err(), "no more than a burst has");
    let mut all = Vec::new();
    for one in heard {
        all.push(one.await.unwrap());
    }
    all
}

async fn hear(mut stream: TcpStream, answer: &'static str, begun: Instant) -> Heard {
    let (mut bytes, mut buffer) = (0, [0; 4096]);
    loop {
        // A reset would be an error.
        match stream.read(&mut buffer).await.expect("a clean end") {
            0 => break,
            read if bytes == 0 => {
                bytes += read;
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            read => bytes += read,
        }
    }
    let ended = begun.elapsed();
    Heard { bytes, ended }
}

/// The last connection carries the request; the seven before it carry no byte, and are closed with it.
#[tokio::test]
async fn seven_connections_carry_nothing_and_are_closed_with_the_probe() {
    let (listener, address) = listener().await;
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let server = tokio::spawn(take_all(listener, answer));
    let arm = Arm::to(vip(address)).twin(Pace::Burst);
    let findings = probe_arm(spec("http"), arm).await;
    assert_eq!(findings.outcome, Outcome::Passed);
    assert_eq!(layers(&findings), [Layer::Tcp, Layer::Http]);
    let heard = server.await.unwrap();
    let (probe, companions) = heard.split_last().unwrap();
    assert!(probe.bytes > 0, "the request comes last");
    for companion in companions {
        assert_eq!(companion.bytes, 0);
        assert!(
            companion.ended < Duration::from_millis(450),
            "{:?}",
            companion.ended
        );
    }
}

/// A probe may wait for longer than companions are to be held.
#[tokio::test]
async fn companions_of_a_probe_that_waits_are_closed_before_it() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(take_all(listener, ""));
    let arm = Arm::to(vip(address)).twin(Pace::Burst);
    let waits = v1::ServiceSpec {
        total_timeout_ms: 2_500,
        ..spec("http")
    };
    let findings = probe_arm(waits, arm).await;
    assert_eq!(failed(&findings), (Layer::Http, Failure::HttpTimeout));
    let heard = server.await.unwrap();
    let (probe, companions) = heard.split_last().unwrap();
    assert!(probe.ended > Duration::from_secs(2), "{:?}", probe.ended);
    for companion in companions {
        let held = Duration::from_millis(450)..Duration::from_millis(1_500);
        assert!(held.contains(&companion.ended), "{:?}", companion.ended);
    }
}

/// A listener that has room for five and takes none: one connection is let in and the last of eight is not.
#[tokio::test]
async fn where_few_at_once_are_let_in_the_last_one_is_not() {
    let crowded = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(4).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, vip(address))
    };
    let (_socket, target) = crowded();
    let alone = probe(spec("http"), target).await;
    assert_eq!(failed(&alone), (Layer::Http, Failure::HttpTimeout));
    let (_socket, target) = crowded();
    let last = probe_arm(spec("http"), Arm::to(target).twin(Pace::Burst)).await;
    assert_eq!(failed(&last), (Layer::Tcp, Failure::ConnectTimeout));
}
