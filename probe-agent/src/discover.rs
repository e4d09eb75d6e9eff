//! Finds the zone of a service and its name servers: as the host's own resolvers tell them, and as the
//! zone's parent delegates to them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::host::DNS_PORT;
use crate::probe::dns::{Question, Recursion, ask};
use crate::round::NotAdmitted;

/// What is known of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// Its name, without the last dot; empty when no resolver tells.
    pub name: String,
    /// Its name servers by name, those of its parent and its own.
    pub servers: Vec<Found>,
}

/// A name server and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name, without the last dot.
    pub name: String,
    /// Its addresses, sorted.
    pub addresses: Vec<IpAddr>,
    /// The zone's parent delegates to it.
    pub at_parent: bool,
    /// The zone itself names it.
    pub at_zone: bool,
}

/// A zone with more name servers than these is asked by the first of them: each becomes an arm.
const MOST: usize = 16;
/// So many servers of the parent are asked: any one of them knows the delegation.
const PARENTS: usize = 3;
/// Pause before a limit is asked again, of which a second lets five questions of one server through.
const PAUSE: Duration = Duration::from_millis(100);
/// The parent's word is worth waiting for, and not worth losing the zone's own.
const PARENT_LIMIT: Duration = Duration::from_secs(8);

/// The closest zone that encloses `host`, with its name servers.
///
/// The zone is found by asking for NS records label by label upwards; an answer counts only when the
/// records belong to the very name asked for, as an alias leads into another zone. `admits` says which
/// servers this host agrees to ask, and takes each question of its limits: where one is reached it is waited
/// for.
pub async fn zone(
    host: &str,
    resolvers: &[SocketAddr],
    admits: impl Fn(SocketAddr) -> Result<(), NotAdmitted>,
) -> Zone {
    let search = Search {
        resolvers,
        admits,
        port: DNS_PORT,
    };
    search.zone(host).await
}

struct Search<'a, A> {
    resolvers: &'a [SocketAddr],
    admits: A,
    /// Where name servers listen.
    port: u16,
}

impl<A: Fn(SocketAddr) -> Result<(), NotAdmitted>> Search<'_, A> {
    /// Whether a server may be asked, once the limits let it be.
    async fn may_ask(&self, server: SocketAddr) -> bool {
        loop {
            match (self.admits)(server) {
                Ok(()) => return true,
                Err(NotAdmitted::Exceeded(_)) => tokio::time::sleep(PAUSE).await,
                Err(NotAdmitted::Refused(why)) => {
                    tracing::debug!(%server, %why, "not asked for a zone");
                    return false;
                }
            }
        }
    }

    async fn zone(&self, host: &str) -> Zone {
        let mut zone = host.trim_end_matches('.');
        while !zone.is_empty() {
            let own = self.servers(zone).await;
            if !own.is_empty() {
                let delegated = tokio::time::timeout(PARENT_LIMIT, self.delegation(zone)).await;
                let delegated = delegated.unwrap_or_default();
                return Zone {
                    name: zone.to_ascii_lowercase(),
                    servers: self.with_addresses(&own, &delegated).await,
                };
            }
            zone = parent(zone);
        }
        Zone::default()
    }

    /// The name servers that a zone itself names, as resolvers tell.
    async fn servers(&self, zone: &str) -> BTreeSet<String> {
        let answer = self.first_answer(zone, RecordType::NS).await;
        let records = answer.map(|answer| answer.answers).unwrap_or_default();
        servers_of(zone, &records)
    }

    /// The name servers that the zone's parent delegates it to; empty when it was not heard, or where
    /// its servers are the zone's as well, so that they speak for the zone.
    async fn delegation(&self, zone: &str) -> BTreeSet<String> {
        let mut above = parent(zone);
        let mut parents = BTreeSet::new();
        while parents.is_empty() && !above.is_empty() {
            parents = self.servers(above).await;
            above = parent(above);
        }
        for name in parents.iter().take(PARENTS) {
            for address in self.addresses(name).await {
                let server = SocketAddr::new(address, self.port);
                let question = Question::new(zone, server, None, Recursion::NotDesired);
                let Some(question) = question else {
                    continue;
                };
                if !self.may_ask(server).await {
                    continue;
                }
                if let Ok(answer) = ask(&question.kind(RecordType::NS)).await {
                    return match answer.metadata.authoritative {
                        true => BTreeSet::new(),
                        false => servers_of(zone, &answer.authorities),
                    };
                }
            }
        }
        BTreeSet::new()
    }

    async fn with_addresses(
        &self,
        own: &BTreeSet<String>,
        delegated: &BTreeSet<String>,
    ) -> Vec<Found> {
        let mut found = Vec::new();
        for name in own.union(delegated).take(MOST) {
            found.push(Found {
                addresses: self.addresses(name).await,
                at_parent: delegated.contains(name),
                at_zone: own.contains(name),
                name: name.clone(),
            });
        }
        found
    }

    async fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let answer = self.first_answer(name, RecordType::A).await;
        let records = answer.map(|answer| answer.answers).unwrap_or_default();
        let mut addresses: Vec<_> = records.iter().filter_map(|r| r.data.ip_addr()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// The answer of the first resolver that has one. A name that does not exist is no answer.
    async fn first_answer(&self, name: &str, kind: RecordType) -> Option<Message> {
        for resolver in self.resolvers {
            let question = Question::new(name, *resolver, None, Recursion::Desired)?.kind(kind);
            if !self.may_ask(*resolver).await {
                continue;
            }
            match ask(&question).await {
                Ok(answer) => return Some(answer),
                Err(failure) => tracing::debug!(name, %resolver, ?failure, "no answer"),
            }
        }
        None
    }
}

fn parent(zone: &str) -> &str {
    zone.split_once('.').map_or("", |(_, parent)| parent)
}

/// The servers that records name for a zone, in lower case.
fn servers_of(zone: &str, records: &[Record]) -> BTreeSet<String> {
    let Ok(mut zone) = Name::from_utf8(zone) else {
        return BTreeSet::new();
    };
    zone.set_fqdn(true);
    let named = records.iter().filter(|record| record.name == zone);
    let servers = named.filter_map(|record| {
        if let RData::NS(server) = &record.data {
            Some(server.0.to_lowercase().to_ascii())
        } else {
            None
        }
    });
    servers
        .map(|name| name.trim_end_matches('.').to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Exceeded, Refusal};
    use hickory_proto::op::{MessageType, ResponseCode};
    use hickory_proto::rr::rdata::{A, CNAME, NS};
    use tokio::net::UdpSocket;

    type Records = fn(&str, RecordType) -> Vec<(&'static str, RData)>;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn ns(zone: &'static str, server: &str) -> (&'static str, RData) {
        (zone, RData::NS(NS(name(server))))
    }

    fn a(owner: &'static str, [x, y, z, w]: [u8; 4]) -> (&'static str, RData) {
        (owner, RData::A(A::new(x, y, z, w)))
    }

    /// `www.shop.example` is an alias into another zone; `shop.example` is a zone with two servers, and
    /// its parent has one, of which the first address is not to be asked and the second says nothing.
    fn records(asked: &str, kind: RecordType) -> Vec<(&'static str, RData)> {
        match (asked, kind) {
            ("www.shop.example.", RecordType::NS) => vec![
                ("www.shop.example.", RData::CNAME(CNAME(name("cdn.test.")))),
                ns("cdn.test.", "ns.cdn.test."),
            ],
            ("shop.example.", RecordType::NS) => vec![
                ns("shop.example.", "NS2.shop.example."),
                ns("shop.example.", "ns1.shop.example."),
            ],
            ("example.", RecordType::NS) => vec![ns("example.", "a.nic.example.")],
            ("a.nic.example.", RecordType::A) => vec![
                a("a.nic.example.", [127, 0, 0, 2]),
                a("a.nic.example.", [127, 0, 0, 3]),
                a("a.nic.example.", [127, 0, 0, 4]),
            ],
            ("ns1.shop.example.", RecordType::A) => vec![a("ns1.shop.example.", [192, 0, 2, 53])],
            ("ns3.shop.example.", RecordType::A) => vec![a("ns3.shop.example.", [192, 0, 2, 55])],
            _ => Vec::new(),
        }
    }

    fn delegated(_: &str, _: RecordType) -> Vec<(&'static str, RData)> {
        vec![
            ns("shop.example.", "ns1.shop.example."),
            ns("shop.example.", "ns3.shop.example."),
            ns("other.example.", "ns.other.example."),
        ]
    }

    fn answer(query: &Message, records: Records, authoritative: bool) -> Message {
        let asked = &query.queries[0];
        let metadata = &query.metadata;
        let mut answer = Message::new(metadata.id, MessageType::Response, metadata.op_code);
        answer.add_query(asked.clone());
        answer.metadata.authoritative = authoritative;
        let records = records(&asked.name().to_ascii(), asked.query_type());
        if records.is_empty() {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        for (owner, data) in records {
            let record = Record::from_rdata(name(owner), 60, data);
            match metadata.recursion_desired || authoritative {
                true => answer.add_answer(record),
                false => answer.add_authority(record),
            };
        }
        answer
    }

    /// A server on some address that answers with some records.
    async fn serve(at: &str, records: Records, authoritative: bool) -> SocketAddr {
        let socket = UdpSocket::bind(at).await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let query = Message::from_vec(&buffer[..length]).unwrap();
                let bytes = answer(&query, records, authoritative).to_vec().unwrap();
                socket.send_to(&bytes, peer).await.unwrap();
            }
        });
        address
    }

    fn found(name: &str, address: Option<&str>, at: (bool, bool)) -> Found {
        Found {
            name: name.to_owned(),
            addresses: address.iter().map(|a| a.parse().unwrap()).collect(),
            at_parent: at.0,
            at_zone: at.1,
        }
    }

    fn refused(server: SocketAddr) -> NotAdmitted {
        let address = server.ip();
        let prefix = address.into();
        NotAdmitted::Refused(Refusal::Denied { address, prefix })
    }

    /// A resolver that the owner denies is not asked for zones either, and a limit is waited for.
    #[tokio::test]
    async fn no_question_goes_past_the_policy() {
        let resolvers = [serve("127.0.0.1:0", records, false).await];
        let denied = super::zone("shop.example", &resolvers, |server| Err(refused(server))).await;
        assert_eq!(denied, Zone::default());
        let asked = std::cell::Cell::new(0);
        let late = |_| {
            asked.set(asked.get() + 1);
            match asked.get() > 3 {
                true => Ok(()),
                false => Err(NotAdmitted::Exceeded(Exceeded::Whole(1))),
            }
        };
        let search = Search {
            resolvers: &resolvers,
            admits: late,
            port: DNS_PORT,
        };
        assert!(search.may_ask(resolvers[0]).await);
        assert_eq!(asked.get(), 4);
    }

    #[tokio::test]
    async fn the_closest_zone_is_found_past_aliases_and_dead_resolvers() {
        let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let dead = closed.local_addr().unwrap();
        drop(closed);
        let resolvers = [dead, serve("127.0.0.1:0", records, false).await];
        // The parent is not asked against the host's will.
        let nobody_else = |server: SocketAddr| match resolvers.contains(&server) {
            true => Ok(()),
            false => Err(refused(server)),
        };
        let zone = super::zone("www.shop.example.", &resolvers, nobody_else).await;
        assert_eq!(zone.name, "shop.example");
        let expected = [
            found("ns1.shop.example", Some("192.0.2.53"), (false, true)),
            found("ns2.shop.example", None, (false, true)),
        ];
        assert_eq!(zone.servers, expected);
        let nowhere = super::zone("nowhere.test", &resolvers, nobody_else).await;
        assert_eq!(nowhere, Zone::default());
    }

    #[tokio::test]
    async fn the_parent_says_to_whom_it_delegates() {
        let resolvers = [serve("127.0.0.1:0", records, false).await];
        let parent = serve("127.0.0.4:0", delegated, false).await;
        let search = |port| Search {
            resolvers: &resolvers,
            admits: |server: SocketAddr| match server.ip() == IpAddr::from([127, 0, 0, 2]) {
                true => Err(refused(server)),
                false => Ok(()),
            },
            port,
        };
        let zone = search(parent.port()).zone("shop.example").await;
        let expected = [
            found("ns1.shop.example", Some("192.0.2.53"), (true, true)),
            found("ns2.shop.example", None, (false, true)),
            found("ns3.shop.example", Some("192.0.2.55"), (true, false)),
        ];
        assert_eq!(zone.servers, expected);
        // A parent that serves the zone as well speaks for the zone.
        let both = serve("127.0.0.4:0", delegated, true).await;
        let zone = search(both.port()).zone("shop.example").await;
        assert!(zone.servers.iter().all(|server| !server.at_parent));
        assert_eq!(zone.servers.len(), 2);
    }
}
