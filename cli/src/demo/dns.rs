//! Name servers and resolvers over UDP (RFC 1035), EDNS of the question answered (RFC 6891).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Metadata, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

use super::fault::Fault;
use super::plan::SERVICE;
use super::serve::Faults;

/// Largest datagram: what EDNS announces.
const DATAGRAM: u16 = 1232;
/// TTL of the zone's answers in seconds: short, so that a switched fault shows at once.
const TTL: u32 = 1;
/// How long a resolver waits for one name server.
const PATIENCE: Duration = Duration::from_millis(400);
/// Share of the questions that a lossy resolver loses.
const LOSS: f64 = 0.45;

/// An authoritative name server.
pub struct NameServer {
    /// Its place among the name servers.
    pub index: usize,
    /// The edges in use.
    pub edges: [SocketAddr; 2],
    /// The one that is not.
    pub removed_edge: SocketAddr,
}

impl NameServer {
    /// Serves until the path is taken down.
    pub async fn run(self, socket: UdpSocket, faults: Faults) {
        let mut buffer = [0; DATAGRAM as usize];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            let Ok(question) = Message::from_vec(&buffer[..length]) else {
                continue;
            };
            let answer = self.answer(&question, *faults.borrow());
            if let Ok(bytes) = answer.to_vec() {
                let _ = socket.send_to(&bytes, from).await;
            }
        }
    }

    fn answer(&self, question: &Message, fault: Fault) -> Message {
        let mut answer = reply(question);
        answer.metadata.authoritative = true;
        if fault == Fault::NameserverRefusing && self.index == 0 {
            answer.metadata.authoritative = false;
            answer.metadata.response_code = ResponseCode::Refused;
            return answer;
        }
        let stale = fault == Fault::NameserverStale && self.index == 1;
        let addresses = match stale {
            true => [self.edges[0], self.removed_edge],
            false => self.edges,
        };
        match question.queries.first() {
            Some(query) if !is_ours(query.name()) => {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            Some(query) => {
                let records = addresses.iter().filter_map(|a| record(query, a.ip()));
                answer.add_answers(records.collect::<Vec<_>>());
            }
            None => answer.metadata.response_code = ResponseCode::FormErr,
        }
        answer
    }
}

fn is_ours(name: &Name) -> bool {
    name.to_ascii()
        .trim_end_matches('.')
        .eq_ignore_ascii_case(SERVICE)
}

/// The address as a record of the type that was asked for, if it is of that family.
fn record(query: &Query, address: IpAddr) -> Option<Record> {
    let data = match (query.query_type(), address) {
        (RecordType::A, IpAddr::V4(v4)) => RData::A(A(v4)),
        (RecordType::AAAA, IpAddr::V6(v6)) => RData::AAAA(AAAA(v6)),
        _ => return None,
    };
    Some(Record::from_rdata(query.name().clone(), TTL, data))
}

/// An empty answer to the question.
fn reply(question: &Message) -> Message {
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata = Metadata::response_from_request(&question.metadata);
    answer.add_queries(question.queries.clone());
    if question.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(DATAGRAM);
        answer.set_edns(edns);
    }
    answer
}

/// A recursive resolver that asks the name servers in turn and keeps answers for their TTL.
pub struct Resolver {
    /// Its place among the resolvers.
    index: usize,
    address: IpAddr,
    name_servers: [SocketAddr; 2],
    /// One entry for each question that was ever asked: the probes ask two.
    cache: Mutex<HashMap<(Name, RecordType), (Instant, Message)>>,
}

impl Resolver {
    /// A resolver with an empty cache.
    pub fn new(index: usize, address: IpAddr, name_servers: [SocketAddr; 2]) -> Self {
        Self {
            index,
            address,
            name_servers,
            cache: Mutex::default(),
        }
    }

    /// Serves until the path is taken down.
    pub async fn run(self, socket: UdpSocket, faults: Faults) {
        let this = Arc::new(self);
        let socket = Arc::new(socket);
        let mut buffer = [0; DATAGRAM as usize];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            let Ok(question) = Message::from_vec(&buffer[..length]) else {
                continue;
            };
            let fault = *faults.borrow();
            if this.index == 0 && is_lost(fault) {
                continue;
            }
            let (this, socket) = (Arc::clone(&this), Arc::clone(&socket));
            tokio::spawn(async move {
                if let Ok(bytes) = this.answer(&question).await.to_vec() {
                    let _ = socket.send_to(&bytes, from).await;
                }
            });
        }
    }

    async fn answer(&self, question: &Message) -> Message {
        let mut answer = reply(question);
        answer.metadata.recursion_available = true;
        let Some(query) = question.queries.first() else {
            answer.metadata.response_code = ResponseCode::FormErr;
            return answer;
        };
        match self.look_up(query).await {
            Some(found) => {
                answer.metadata.response_code = found.metadata.response_code;
                answer.add_answers(found.answers);
            }
            None => answer.metadata.response_code = ResponseCode::ServFail,
        }
        answer
    }

    async fn look_up(&self, query: &Query) -> Option<Message> {
        let key = (query.name().clone(), query.query_type());
        if let Some(found) = self.cached(&key) {
            return Some(found);
        }
        let first = usize::from(rand::random_bool(0.5));
        for server in [self.name_servers[first], self.name_servers[1 - first]] {
            let Ok(Ok(found)) = timeout(PATIENCE, self.ask(query, server)).await else {
                continue;
            };
            let code = found.metadata.response_code;
            if code == ResponseCode::NoError || code == ResponseCode::NXDomain {
                let until = Instant::now() + Duration::from_secs(TTL.into());
                let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
                cache.insert(key, (until, found.clone()));
                return Some(found);
            }
        }
        None
    }

    fn cached(&self, key: &(Name, RecordType)) -> Option<Message> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, found) = cache.get(key)?;
        (Instant::now() < *until).then(|| found.clone())
    }

    async fn ask(&self, query: &Query, server: SocketAddr) -> io::Result<Message> {
        let socket = UdpSocket::bind((self.address, 0)).await?;
        socket.connect(server).await?;
        let mut question = Message::query();
        question.add_query(query.clone());
        socket
            .send(&question.to_vec().map_err(io::Error::other)?)
            .await?;
        let mut buffer = [0; DATAGRAM as usize];
        let length = socket.recv(&mut buffer).await?;
        let found = Message::from_vec(&buffer[..length]).map_err(io::Error::other)?;
        if found.metadata.id != question.metadata.id {
            return Err(io::Error::other("an answer to another question"));
        }
        Ok(found)
    }
}

fn is_lost(fault: Fault) -> bool {
    fault == Fault::ResolverDead || fault == Fault::ResolverLossy && rand::random_bool(LOSS)
}
