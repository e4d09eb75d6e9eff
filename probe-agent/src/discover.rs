//! Finds the authoritative name servers of a service, as the host's own resolvers tell them.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, RecordType};

use crate::probe::dns::{Question, Recursion, ask};

/// A name server and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name, without the last dot.
    pub name: String,
    /// Its addresses, sorted.
    pub addresses: Vec<IpAddr>,
}

/// A zone with more name servers than these is asked by the first of them: each becomes an arm.
const MOST: usize = 16;

/// The name servers of the closest zone that encloses `host`; empty when no resolver tells.
///
/// The zone is found by asking for NS records label by label upwards; an answer counts only when the
/// records belong to the very name asked for, as an alias leads into another zone.
pub async fn name_servers(host: &str, resolvers: &[SocketAddr]) -> Vec<Found> {
    let mut zone = host.trim_end_matches('.');
    while !zone.is_empty() {
        let answer = first_answer(zone, RecordType::NS, resolvers).await;
        let names = answer.map_or(Vec::new(), |answer| servers_of(zone, &answer));
        if !names.is_empty() {
            return with_addresses(names, resolvers).await;
        }
        zone = zone.split_once('.').map_or("", |(_, parent)| parent);
    }
    Vec::new()
}

async fn with_addresses(names: Vec<String>, resolvers: &[SocketAddr]) -> Vec<Found> {
    let mut found = Vec::new();
    for name in names.into_iter().take(MOST) {
        let answer = first_answer(&name, RecordType::A, resolvers).await;
        let records = answer.map(|answer| answer.answers).unwrap_or_default();
        let mut addresses: Vec<_> = records.iter().filter_map(|r| r.data.ip_addr()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        found.push(Found { name, addresses });
    }
    found
}

/// The answer of the first resolver that has one. A name that does not exist is no answer.
async fn first_answer(name: &str, kind: RecordType, resolvers: &[SocketAddr]) -> Option<Message> {
    for resolver in resolvers {
        let question = Question::new(name, *resolver, None, Recursion::Desired)?.kind(kind);
        match ask(&question).await {
            Ok(answer) => return Some(answer),
            Err(failure) => tracing::debug!(name, %resolver, ?failure, "no answer"),
        }
    }
    None
}

fn servers_of(zone: &str, answer: &Message) -> Vec<String> {
    let Ok(mut zone) = Name::from_utf8(zone) else {
        return Vec::new();
    };
    zone.set_fqdn(true);
    let mut names: Vec<String> = answer
        .answers
        .iter()
        .filter(|record| record.name == zone)
        .filter_map(|record| {
            if let RData::NS(server) = &record.data {
                Some(server.0.to_ascii())
            } else {
                None
            }
        })
        .map(|name| name.trim_end_matches('.').to_owned())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{MessageType, ResponseCode};
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::{A, CNAME, NS};
    use tokio::net::UdpSocket;

    /// `www.shop.example` is an alias into another zone; `shop.example` is a zone with two servers.
    fn records(name: &str, kind: RecordType) -> Vec<(&'static str, RData)> {
        let ns = |zone, server| (zone, RData::NS(NS(Name::from_ascii(server).unwrap())));
        match (name, kind) {
            ("www.shop.example.", RecordType::NS) => vec![
                (
                    "www.shop.example.",
                    RData::CNAME(CNAME(Name::from_ascii("cdn.test.").unwrap())),
                ),
                ns("cdn.test.", "ns.cdn.test."),
            ],
            ("shop.example.", RecordType::NS) => vec![
                ns("shop.example.", "ns2.shop.example."),
                ns("shop.example.", "ns1.shop.example."),
            ],
            ("ns1.shop.example.", RecordType::A) => {
                vec![("ns1.shop.example.", RData::A(A::new(192, 0, 2, 53)))]
            }
            _ => Vec::new(),
        }
    }

    async fn resolver() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let query = Message::from_vec(&buffer[..length]).unwrap();
                let asked = &query.queries[0];
                let mut answer = Message::new(
                    query.metadata.id,
                    MessageType::Response,
                    query.metadata.op_code,
                );
                answer.add_query(asked.clone());
                let records = records(&asked.name().to_ascii(), asked.query_type());
                if records.is_empty() {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                for (name, data) in records {
                    let name = Name::from_ascii(name).unwrap();
                    answer.add_answer(Record::from_rdata(name, 60, data));
                }
                socket
                    .send_to(&answer.to_vec().unwrap(), peer)
                    .await
                    .unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn the_closest_zone_is_found_past_aliases_and_dead_resolvers() {
        let dead = UdpSocket::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let resolvers = [dead, resolver().await];
        let found = name_servers("www.shop.example", &resolvers).await;
        let expected = [
            ("ns1.shop.example", vec!["192.0.2.53".parse().unwrap()]),
            ("ns2.shop.example", vec![]),
        ];
        let expected = expected.map(|(name, addresses)| Found {
            name: name.to_owned(),
            addresses,
        });
        assert_eq!(found, expected);
        assert_eq!(name_servers("nowhere.test", &resolvers).await, []);
    }
}
