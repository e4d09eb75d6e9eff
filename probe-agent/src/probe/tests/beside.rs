//! What is asked beside the question that is timed, of responders that answer each question in a way.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NULL, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use localize::dns::{Again, Reply as Came, Soa, Validity};
use localize::{DnsFacts, Failure, Layer, Outcome};

use super::super::Findings;
use super::dns::{Reply, answer, ask, ask_name_server, bytes, respond};
use super::failed;

const V6: AAAA = AAAA(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

fn kind(query: &Message) -> RecordType {
    query.queries[0].query_type()
}

fn a() -> Vec<RData> {
    vec![RData::A(A::new(192, 0, 2, 1))]
}

fn good(query: &Message, records: Vec<RData>) -> Message {
    answer(query, ResponseCode::NoError, records)
}

fn facts(findings: Findings) -> DnsFacts {
    findings.facts.dns.unwrap()
}

fn came(again: Option<Again>) -> Came {
    again.expect("it was asked").reply
}

fn v6() -> Came {
    Came::Addresses(vec![IpAddr::V6(V6.0)])
}

#[tokio::test]
async fn aaaa_is_asked_for_after_a_and_fails_by_itself() {
    let rows: [(Reply, Came); 6] = [
        (
            |q| match kind(q) {
                RecordType::AAAA => bytes(&good(q, vec![RData::AAAA(V6)])),
                _ => bytes(&good(q, a())),
            },
            v6(),
        ),
        (
            |q| match kind(q) {
                RecordType::AAAA => bytes(&good(q, vec![])),
                _ => bytes(&good(q, a())),
            },
            Came::Failed(Failure::DnsNoData),
        ),
        // An address of the other family is none.
        (|q| bytes(&good(q, a())), Came::Failed(Failure::DnsNoData)),
        (
            |q| match kind(q) {
                RecordType::AAAA => bytes(&answer(q, ResponseCode::NXDomain, vec![])),
                _ => bytes(&good(q, a())),
            },
            Came::Failed(Failure::DnsNxdomain),
        ),
        (
            |q| match kind(q) {
                RecordType::AAAA => vec![
                    b"odd".to_vec(),
                    bytes(&good(q, a())).remove(0)[..9].to_vec(),
                ],
                _ => bytes(&good(q, a())),
            },
            Came::Failed(Failure::DnsMalformed),
        ),
        (
            |q| match kind(q) {
                RecordType::AAAA => vec![],
                _ => bytes(&good(q, a())),
            },
            Came::Failed(Failure::DnsTimeout),
        ),
    ];
    for (reply, expected) in rows {
        let server = respond(reply).await;
        for findings in [ask(server).await, ask_name_server(server).await] {
            assert_eq!(findings.outcome, Outcome::Passed);
            let took = findings.steps[0].took;
            let facts = facts(findings);
            assert_eq!(facts.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
            let again = facts.aaaa.expect("it was asked");
            assert_eq!(again.reply, expected);
            if expected == Came::Failed(Failure::DnsTimeout) {
                assert!(again.took.as_secs_f64() > 1.9, "{again:?}");
                assert!(took.as_secs_f64() < 0.2, "{took:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_name_without_a_keeps_what_came_of_aaaa() {
    let rows: [(Reply, Came); 2] = [
        (
            |q| match kind(q) {
                RecordType::AAAA => bytes(&good(q, vec![RData::AAAA(V6)])),
                _ => bytes(&good(q, vec![])),
            },
            v6(),
        ),
        (
            |q| bytes(&good(q, vec![])),
            Came::Failed(Failure::DnsNoData),
        ),
    ];
    for (reply, expected) in rows {
        let findings = ask(respond(reply).await).await;
        assert_eq!(
            findings.outcome == Outcome::Passed,
            expected != Came::Failed(Failure::DnsNoData)
        );
        assert_eq!(came(facts(findings).aaaa), expected);
    }
}

/// A resolver that finds the zone's signatures wrong, as long as it checks them.
fn validating(query: &Message) -> Vec<Vec<u8>> {
    if query.metadata.checking_disabled {
        std::thread::sleep(Duration::from_millis(150));
        return bytes(&good(query, a()));
    }
    let mut message = answer(query, ResponseCode::ServFail, vec![]);
    let mut edns = Edns::new();
    for code in [7_u16, 6, 7] {
        let data = [&code.to_be_bytes()[..], b"words"].concat();
        edns.options_mut().insert(EdnsOption::Unknown(15, data));
    }
    edns.options_mut()
        .insert(EdnsOption::Unknown(3, vec![0, 9]));
    message.set_edns(edns);
    bytes(&message)
}

#[tokio::test]
async fn servfail_is_asked_again_with_checking_disabled() {
    let findings = ask(respond(validating).await).await;
    assert_eq!(failed(&findings), (Layer::Dns, Failure::DnsServfail));
    let Outcome::Failed { after, .. } = &findings.outcome else {
        panic!("{findings:?}");
    };
    assert!(
        after.as_secs_f64() < 0.1,
        "the second question counts: {after:?}"
    );
    let facts = facts(findings);
    assert_eq!((facts.rcode, &facts.extended[..]), (2, &[6, 7][..]));
    let again = facts.unchecked.expect("it was asked");
    let given = Came::Addresses(vec!["192.0.2.1".parse().unwrap()]);
    assert_eq!(again.reply, given);
    assert!(again.took.as_secs_f64() > 0.14, "{again:?}");
}

#[tokio::test]
async fn checking_is_disabled_for_resolvers_that_say_servfail_alone() {
    let servfail: Reply = |q| bytes(&answer(q, ResponseCode::ServFail, vec![]));
    let unchecked = facts(ask(respond(servfail).await).await).unchecked;
    assert_eq!(came(unchecked), Came::Failed(Failure::DnsServfail));
    let name_server = ask_name_server(respond(servfail).await).await;
    assert_eq!(facts(name_server).unchecked, None);
    let refused: Reply = |q| bytes(&answer(q, ResponseCode::Refused, vec![]));
    assert_eq!(facts(ask(respond(refused).await).await).unchecked, None);
}

#[tokio::test]
async fn resolvers_are_asked_whether_they_checked_and_name_servers_for_signatures() {
    let reply: Reply = |q| {
        let mut message = good(q, a());
        message.metadata.authentic_data = q.metadata.authentic_data;
        if q.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok) {
            for (inception, expiration) in [(1_000_u32, 9_000_u32), (2_000, 8_000), (500, 8_500)] {
                let times = [expiration.to_be_bytes(), inception.to_be_bytes()].concat();
                let rdata = NULL::with([&[0, 1, 13, 2, 0, 0, 0, 60][..], &times, b"rest"].concat());
                let code = RecordType::RRSIG;
                let name = q.queries[0].name().clone();
                let data = RData::Unknown { code, rdata };
                message.add_answer(Record::from_rdata(name, 60, data));
            }
        }
        bytes(&message)
    };
    let server = respond(reply).await;
    let resolver = facts(ask(server).await);
    assert_eq!((resolver.authentic, resolver.signed), (true, None));
    let name_server = facts(ask_name_server(server).await);
    let validity = Validity {
        inception: 2_000,
        expiration: 8_000,
    };
    assert_eq!(
        (name_server.authentic, name_server.signed),
        (false, Some(validity))
    );
}

fn soa_record(zone: &str, ttl: u32) -> Record {
    let name = |text| Name::from_ascii(text).unwrap();
    let soa = SOA::new(
        name("NS1.Example."),
        name("host.example."),
        42,
        1,
        1,
        1,
        900,
    );
    Record::from_rdata(name(zone), ttl, RData::SOA(soa))
}

fn soa(zone: &str, negative_ttl: u32) -> Soa {
    Soa {
        zone: zone.to_owned(),
        primary: "ns1.example".to_owned(),
        serial: 42,
        negative_ttl,
    }
}

#[tokio::test]
async fn a_negative_answer_says_for_how_long_it_is_kept() {
    let reply: Reply = |q| {
        let mut message = answer(q, ResponseCode::NXDomain, vec![]);
        message.add_authority(soa_record("Example.", 300));
        bytes(&message)
    };
    let server = respond(reply).await;
    for findings in [ask(server).await, ask_name_server(server).await] {
        assert_eq!(failed(&findings), (Layer::Dns, Failure::DnsNxdomain));
        assert_eq!(facts(findings).soa, Some(soa("example", 300)));
    }
}

#[tokio::test]
async fn a_name_server_is_asked_for_its_serial_past_an_alias() {
    let reply: Reply = |q| {
        let name = q.queries[0].name().to_ascii();
        match (kind(q), name.as_str()) {
            (RecordType::SOA, "example.") => {
                let mut message = good(q, vec![]);
                message.add_answer(soa_record("example.", 3600));
                bytes(&message)
            }
            _ => {
                let alias = Name::from_ascii("cdn.test.").unwrap();
                bytes(&good(q, vec![RData::CNAME(CNAME(alias))]))
            }
        }
    };
    let server = respond(reply).await;
    let findings = ask_name_server(server).await;
    assert_eq!(findings.outcome, Outcome::Passed);
    let facts = facts(findings);
    assert_eq!(facts.soa, Some(soa("example", 900)));
    assert_eq!(facts.aaaa, None);
}

#[tokio::test]
async fn what_is_heard_of_a_zone_is_not_the_server_s_own() {
    let reply: Reply = |q| {
        let mut message = match kind(q) {
            RecordType::SOA => good(q, vec![]),
            _ => return bytes(&good(q, a())),
        };
        message.metadata.authoritative = false;
        message.add_answer(soa_record("example.", 3600));
        bytes(&message)
    };
    assert_eq!(facts(ask_name_server(respond(reply).await).await).soa, None);
}

/// As the host's stub resolver asks whose search list stands before the name: what the first of its names with
/// addresses gives is what programs there get.
#[tokio::test]
async fn names_of_the_search_list_are_asked_for_beside() {
    use super::super::{Task, dns::Question, dns::Recursion, follow};
    use crate::clock::Clock;
    let server = respond(|query| {
        let name = query.queries[0].name().to_ascii();
        match (name.as_str(), kind(query)) {
            ("shop.example.", RecordType::A) => bytes(&good(query, a())),
            ("shop.example.corp.example.", RecordType::A) => {
                bytes(&good(query, vec![RData::A(A::new(192, 0, 2, 77))]))
            }
            ("shop.example.lab.example.", _) => vec![],
            _ => bytes(&answer(query, ResponseCode::NXDomain, vec![])),
        }
    })
    .await;
    let corp = || {
        let elsewhere = IpAddr::from([192, 0, 2, 77]);
        Some(("shop.example.corp.example".to_owned(), vec![elsewhere]))
    };
    let rows = [
        (&[][..], None),
        (&["shop.example.other.example"], None),
        (
            &["shop.example.other.example", "shop.example.corp.example"],
            corp(),
        ),
        (
            &["shop.example.corp.example", "shop.example.other.example"],
            corp(),
        ),
        (&["shop.example.lab.example"], None),
    ];
    for (names, expected) in rows {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let question = Question::new("shop.example", server, None, Recursion::Desired).unwrap();
        let question = question.after(&names);
        let clock = std::sync::Arc::new(Clock::start());
        let fired = super::fire(question.charge().unwrap(), &clock).await;
        let (findings, _, _) = follow(Task::Question(Box::new(question)), fired, &clock).await;
        assert_eq!(findings.outcome, Outcome::Passed);
        let searched = facts(findings).searched;
        let came = searched.map(|s| (s.name, s.again.reply.addresses().to_vec()));
        assert_eq!(came, expected, "{names:?}");
    }
}
