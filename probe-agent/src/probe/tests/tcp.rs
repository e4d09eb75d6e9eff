//! TCP: listeners that are not there, full, or silent.

use localize::{Failure, Layer, Outcome, Target};
use proto::v1::service_spec::BackendRequest;
use socket2::{Domain, Socket, Type};

use super::{failed, layers, listener, probe, spec, vip};

#[tokio::test]
async fn a_closed_port_refuses() {
    let (listener, address) = listener().await;
    drop(listener);
    let findings = probe(spec("http"), vip(address)).await;
    assert_eq!(failed(&findings), (Layer::Tcp, Failure::ConnectRefused));
    assert_eq!(layers(&findings), []);
}

#[tokio::test]
async fn a_full_backlog_answers_no_syn() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _fills = std::net::TcpStream::connect(address).unwrap();
    let findings = probe(
        proto::v1::ServiceSpec {
            connect_timeout_ms: 1_300,
            total_timeout_ms: 5_000,
            ..spec("http")
        },
        vip(address),
    )
    .await;
    assert_eq!(failed(&findings), (Layer::Tcp, Failure::ConnectTimeout));
    let facts = findings.facts.tcp.unwrap();
    assert_eq!((facts.syn_retransmissions, facts.retransmissions), (1, 1));
    assert_eq!(facts.rtt, None);
    assert_ne!(facts.local.port(), 0);
}

#[tokio::test]
async fn no_route_is_unreachable() {
    // A broadcast address takes no connection: the kernel says so at once.
    let findings = probe(spec("http"), vip("255.255.255.255:80".parse().unwrap())).await;
    assert_eq!(failed(&findings), (Layer::Tcp, Failure::ConnectUnreachable));
}

#[tokio::test]
async fn a_backend_of_scheme_tcp_ends_after_the_handshake() {
    let (_listener, address) = listener().await;
    let backend = BackendRequest {
        name: "db1".to_owned(),
        scheme: "tcp".to_owned(),
        path: String::new(),
    };
    let spec = proto::v1::ServiceSpec {
        backends: vec![backend],
        ..spec("http")
    };
    let name = "db1".to_owned();
    let findings = probe(spec, Target::Backend { name, address }).await;
    assert_eq!(findings.outcome, Outcome::Passed);
    assert_eq!(layers(&findings), [Layer::Tcp]);
    let facts = findings.facts.tcp.unwrap();
    assert_eq!(facts.syn_retransmissions, 0);
    assert!(facts.rtt.is_some());
}
