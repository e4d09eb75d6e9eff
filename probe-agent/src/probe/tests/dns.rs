//! DNS: a responder that answers in one odd way.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use localize::{Failure, Layer, Outcome, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use super::super::Findings;
use super::{failed, layers, probe, spec};

/// What a responder does with a question.
pub(super) type Reply = fn(&Message) -> Vec<Vec<u8>>;

pub(super) fn answer(query: &Message, code: ResponseCode, records: Vec<RData>) -> Message {
    let mut message = Message::new(
        query.metadata.id,
        MessageType::Response,
        query.metadata.op_code,
    );
    message.metadata.response_code = code;
    message.metadata.authoritative = true;
    message.queries = query.queries.clone();
    let name = query.queries[0].name().clone();
    for (ttl, data) in (60..).zip(records) {
        message.add_answer(Record::from_rdata(name.clone(), ttl, data));
    }
    message
}

pub(super) fn bytes(message: &Message) -> Vec<Vec<u8>> {
    vec![message.to_vec().unwrap()]
}

pub(super) fn address() -> Vec<RData> {
    vec![
        RData::A(A::new(192, 0, 2, 9)),
        RData::A(A::new(192, 0, 2, 1)),
    ]
}

pub(super) async fn respond(reply: Reply) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            for packet in reply(&query) {
                socket.send_to(&packet, peer).await.unwrap();
            }
        }
    });
    address
}

pub(super) async fn ask(server: SocketAddr) -> Findings {
    probe(spec("http"), Target::Resolver { server }).await
}

pub(super) async fn ask_name_server(server: SocketAddr) -> Findings {
    let name = "ns1.example".to_owned();
    probe(spec("http"), Target::NameServer { name, server }).await
}

#[tokio::test]
async fn each_way_to_fail_has_its_failure() {
    use Failure as F;
    let rows: [(Reply, F); 8] = [
        (
            |q| bytes(&answer(q, ResponseCode::Refused, vec![])),
            F::DnsRefused,
        ),
        (
            |q| bytes(&answer(q, ResponseCode::ServFail, vec![])),
            F::DnsServfail,
        ),
        (
            |q| bytes(&answer(q, ResponseCode::NXDomain, vec![])),
            F::DnsNxdomain,
        ),
        (
            |q| bytes(&answer(q, ResponseCode::NotImp, vec![])),
            F::DnsMalformed,
        ),
        (
            |q| bytes(&answer(q, ResponseCode::NoError, vec![])),
            F::DnsNoData,
        ),
        (|_| vec![], F::DnsTimeout),
        (
            |q| vec![[&q.metadata.id.to_be_bytes()[..], &[0xff; 9]].concat()],
            F::DnsMalformed,
        ),
        (
            |q| {
                let mut other = q.clone();
                other.queries[0].set_name(Name::from_ascii("other.example.").unwrap());
                bytes(&answer(&other, ResponseCode::NoError, address()))
            },
            F::DnsMalformed,
        ),
    ];
    for (reply, failure) in rows {
        let findings = ask(respond(reply).await).await;
        assert_eq!(failed(&findings), (Layer::Dns, failure));
        assert_eq!(layers(&findings), []);
    }
}

#[tokio::test]
async fn a_name_server_that_does_not_speak_for_the_zone_is_lame() {
    let rows: [(Reply, Failure); 4] = [
        (
            |q| deferring(q, ResponseCode::NoError, address()),
            Failure::DnsLame,
        ),
        (
            |q| deferring(q, ResponseCode::NoError, vec![]),
            Failure::DnsLame,
        ),
        (
            |q| deferring(q, ResponseCode::NXDomain, vec![]),
            Failure::DnsLame,
        ),
        (
            |q| deferring(q, ResponseCode::ServFail, vec![]),
            Failure::DnsServfail,
        ),
    ];
    for (reply, failure) in rows {
        let findings = ask_name_server(respond(reply).await).await;
        assert_eq!(failed(&findings), (Layer::Dns, failure));
        assert!(!findings.facts.dns.unwrap().authoritative);
    }
    // A resolver never speaks for it.
    let told: Reply = |q| deferring(q, ResponseCode::NoError, address());
    assert_eq!(ask(respond(told).await).await.outcome, Outcome::Passed);
}

fn deferring(query: &Message, code: ResponseCode, records: Vec<RData>) -> Vec<Vec<u8>> {
    let mut message = answer(query, code, records);
    message.metadata.authoritative = false;
    bytes(&message)
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let findings = ask(address).await;
    assert_eq!(failed(&findings), (Layer::Dns, Failure::DnsUnreachable));
}

#[tokio::test]
async fn an_answer_passes_with_its_facts() {
    let server = respond(|q| bytes(&answer(q, ResponseCode::NoError, address()))).await;
    let findings = ask(server).await;
    assert_eq!(findings.outcome, Outcome::Passed);
    assert_eq!(layers(&findings), [Layer::Dns]);
    let facts = findings.facts.dns.unwrap();
    let addresses: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.9".parse().unwrap()];
    assert_eq!(facts.addresses, addresses);
    assert_eq!((facts.rcode, facts.ttl), (0, Some(60)));
    assert!(facts.authoritative && !facts.over_tcp);
}

#[tokio::test]
async fn an_answer_with_another_id_is_not_ours() {
    let server = respond(|q| {
        let mut forged = answer(q, ResponseCode::ServFail, vec![]);
        forged.metadata.id = q.metadata.id.wrapping_add(1);
        let good = answer(q, ResponseCode::NoError, address());
        [bytes(&forged), bytes(&good)].concat()
    })
    .await;
    assert_eq!(ask(server).await.outcome, Outcome::Passed);
}

#[tokio::test]
async fn a_name_with_aaaa_alone_has_data() {
    let server = respond(|q| {
        let records = match q.queries[0].query_type() {
            RecordType::AAAA => vec![RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))],
            _ => vec![],
        };
        bytes(&answer(q, ResponseCode::NoError, records))
    })
    .await;
    let findings = ask(server).await;
    assert_eq!(findings.outcome, Outcome::Passed);
    let facts = findings.facts.dns.unwrap();
    assert_eq!(facts.addresses, ["2001:db8::1".parse::<IpAddr>().unwrap()]);
}

#[tokio::test]
async fn an_alias_answers_for_a_name_server_and_not_for_a_resolver() {
    let reply: Reply = |q| {
        let alias = RData::CNAME(CNAME(Name::from_ascii("cdn.example.").unwrap()));
        bytes(&answer(q, ResponseCode::NoError, vec![alias]))
    };
    let findings = ask_name_server(respond(reply).await).await;
    assert_eq!(findings.outcome, Outcome::Passed);
    let findings = ask(respond(reply).await).await;
    assert_eq!(failed(&findings), (Layer::Dns, Failure::DnsNoData));
}

#[tokio::test]
async fn only_a_resolver_is_asked_to_recurse() {
    let reply: Reply = |q| {
        let code = match q.metadata.recursion_desired {
            true => ResponseCode::NoError,
            false => ResponseCode::Refused,
        };
        bytes(&answer(q, code, address()))
    };
    assert_eq!(ask(respond(reply).await).await.outcome, Outcome::Passed);
    let findings = ask_name_server(respond(reply).await).await;
    assert_eq!(failed(&findings), (Layer::Dns, Failure::DnsRefused));
}

fn truncated(query: &Message) -> Vec<Vec<u8>> {
    let mut message = answer(query, ResponseCode::NoError, vec![]);
    message.metadata.truncation = true;
    bytes(&message)
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let server = respond(truncated).await;
    let refused = ask(server).await;
    assert_eq!(failed(&refused), (Layer::Dns, Failure::DnsUnreachable));

    let listener = TcpListener::bind(server).await.unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut packet = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut packet).await.unwrap();
        let query = Message::from_vec(&packet).unwrap();
        let answer = answer(&query, ResponseCode::NoError, address())
            .to_vec()
            .unwrap();
        stream
            .write_u16(answer.len().try_into().unwrap())
            .await
            .unwrap();
        stream.write_all(&answer).await.unwrap();
    });
    let findings = ask(server).await;
    assert_eq!(findings.outcome, Outcome::Passed);
    assert!(findings.facts.dns.unwrap().over_tcp);
}
