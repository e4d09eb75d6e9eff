//! The DNS layer: one question to one server over UDP, and over TCP when the answer was truncated.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use localize::{DnsFacts, Failure, Layer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{Ladder, tcp};
use crate::failure;
use crate::fire::{Charge, Fired};

/// Whether the server is asked to look further than its own zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recursion {
    /// A resolver is asked.
    Desired,
    /// An authoritative server is asked.
    NotDesired,
}

/// One question to one server.
#[derive(Clone, Debug)]
pub struct Question {
    name: Name,
    server: SocketAddr,
    source: Option<IpAddr>,
    recursion: Recursion,
    within: Duration,
    query: Message,
}

/// What a server said, or that it did not.
pub type Answer = Result<Message, Failure>;

/// The payload that passes without fragments nearly everywhere (DNS flag day 2020).
const PAYLOAD: u16 = 1232;
/// Larger datagrams than asked for are cut off here, and then do not parse.
const DATAGRAM: usize = 4096;
/// The limit of a question of which nothing else is said.
const LIMIT: Duration = Duration::from_secs(2);

impl Question {
    /// A question for the addresses of `host`; `None` when that is an address or no name at all.
    #[must_use]
    pub fn new(
        host: &str,
        server: SocketAddr,
        source: Option<IpAddr>,
        recursion: Recursion,
    ) -> Option<Self> {
        if host.parse::<IpAddr>().is_ok() {
            return None;
        }
        let mut name = Name::from_utf8(host).ok()?;
        name.set_fqdn(true);
        let query = query(&name, RecordType::A, recursion);
        Some(Self {
            name,
            server,
            source,
            recursion,
            within: LIMIT,
            query,
        })
    }

    /// The same question with another limit.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// The same question for another kind of record.
    #[must_use]
    pub fn kind(self, kind: RecordType) -> Self {
        let query = query(&self.name, kind, self.recursion);
        Self { query, ..self }
    }

    /// The socket, connected so that only the server is heard and ICMP reaches it, and the datagram.
    ///
    /// # Errors
    /// What the system says about the socket, or the codec about the name.
    pub fn charge(&self) -> io::Result<Charge> {
        let kind = Type::DGRAM.nonblocking().cloexec();
        let domain = Domain::for_address(self.server);
        let socket = Socket::new(domain, kind, Some(Protocol::UDP))?;
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        let packet = self.query.to_vec().map_err(io::Error::other)?;
        match socket.connect(&self.server.into()) {
            Ok(()) => Ok(Charge::Send { socket, packet }),
            // Without a route there is nothing to send on, which is what the probe found.
            Err(error) => Ok(Charge::Broken(error)),
        }
    }

    /// Follows the fired question to its answer, asking for AAAA where there is no A.
    pub(super) async fn follow(self, fired: Fired, ladder: &mut Ladder<'_>) -> super::End {
        let failed = |failure| (Layer::Dns, failure);
        let socket = fired.socket.map_err(|error| failed(failure::dns(&error)))?;
        let within = ladder.left(self.within, self.within);
        let (facts, end) = match timeout(within, self.addresses(socket)).await {
            Ok(answered) => answered,
            Err(_) => (None, Err(Failure::DnsTimeout)),
        };
        ladder.facts.dns = facts;
        end.map_err(failed)?;
        ladder.passed(Layer::Dns);
        Ok(())
    }

    async fn addresses(self, socket: Socket) -> (Option<DnsFacts>, Result<(), Failure>) {
        let socket = match UdpSocket::from_std(socket.into()) {
            Ok(socket) => socket,
            Err(error) => return (None, Err(failure::dns(&error))),
        };
        let mut over_tcp = false;
        let first = self.answer(&socket, &mut over_tcp).await;
        let Ok(answer) = first else {
            return (None, first.map(drop));
        };
        let judged = judge(&answer, self.recursion);
        let facts = facts(&answer, over_tcp);
        if judged != Err(Failure::DnsNoData) {
            return (Some(facts), judged);
        }
        let question = self.kind(RecordType::AAAA);
        let second = match question.ask_again(&socket, &mut over_tcp).await {
            Ok(answer) => answer,
            Err(failure) => return (Some(facts), Err(failure)),
        };
        let judged = judge(&second, question.recursion);
        (Some(self::facts(&second, over_tcp)), judged)
    }

    async fn ask_again(&self, socket: &UdpSocket, over_tcp: &mut bool) -> Answer {
        let packet = self.query.to_vec().map_err(|_| Failure::DnsMalformed)?;
        socket
            .send(&packet)
            .await
            .map_err(|error| failure::dns(&error))?;
        self.answer(socket, over_tcp).await
    }

    /// The answer to a question that has been sent, taken over TCP when it does not fit.
    async fn answer(&self, socket: &UdpSocket, over_tcp: &mut bool) -> Answer {
        let answer = self.receive(socket).await?;
        if !answer.metadata.truncation {
            return Ok(answer);
        }
        *over_tcp = true;
        self.ask_over_tcp().await
    }

    async fn receive(&self, socket: &UdpSocket) -> Answer {
        let mut buffer = [0; DATAGRAM];
        loop {
            let received = socket.recv(&mut buffer).await;
            let length = received.map_err(|error| failure::dns(&error))?;
            // Another id is a late or forged answer; the true one may still come.
            let packet = &buffer[..length];
            if packet.starts_with(&self.query.metadata.id.to_be_bytes()) {
                return self.parse(packet);
            }
        }
    }

    fn parse(&self, packet: &[u8]) -> Answer {
        let answer = Message::from_vec(packet).map_err(|_| Failure::DnsMalformed)?;
        // A server that refuses may leave the question out (RFC 9619 allows none as well as one).
        let same = answer.queries.is_empty() || answer.queries == self.query.queries;
        let is_answer = answer.metadata.message_type == hickory_proto::op::MessageType::Response;
        if same && is_answer {
            Ok(answer)
        } else {
            Err(Failure::DnsMalformed)
        }
    }

    /// RFC 7766: the same question with two bytes of length before it.
    async fn ask_over_tcp(&self) -> Answer {
        let exchange = async {
            let socket = tcp::prepare(self.server, self.source)?;
            match socket.connect(&self.server.into()) {
                Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
                _ => {}
            }
            let mut stream = tokio::net::TcpStream::from_std(socket.into())?;
            stream.writable().await?;
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            let packet = self.query.to_vec().map_err(io::Error::other)?;
            let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
            stream
                .write_all(&[&length.to_be_bytes()[..], &packet].concat())
                .await?;
            let length = stream.read_u16().await?;
            let mut answer = vec![0; length.into()];
            stream.read_exact(&mut answer).await?;
            Ok(answer)
        };
        let answer = exchange.await.map_err(|error| failure::dns(&error))?;
        if answer.starts_with(&self.query.metadata.id.to_be_bytes()) {
            self.parse(&answer)
        } else {
            Err(Failure::DnsMalformed)
        }
    }
}

/// Asks a question by itself, outside of any round.
///
/// # Errors
/// What the server or the network said instead of an answer of NOERROR.
pub async fn ask(question: &Question) -> Answer {
    let socket = match question.charge().map_err(|error| failure::dns(&error))? {
        Charge::Send { socket, .. } | Charge::Connect { socket, .. } => socket,
        Charge::Broken(error) => return Err(failure::dns(&error)),
    };
    let socket = UdpSocket::from_std(socket.into()).map_err(|error| failure::dns(&error))?;
    let mut over_tcp = false;
    let asked = question.ask_again(&socket, &mut over_tcp);
    let answer = match timeout(question.within, asked).await {
        Ok(answer) => answer?,
        Err(_) => return Err(Failure::DnsTimeout),
    };
    match failure::rcode(answer.metadata.response_code) {
        Some(failure) => Err(failure),
        None => Ok(answer),
    }
}

fn query(name: &Name, kind: RecordType, recursion: Recursion) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = recursion == Recursion::Desired;
    message.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    message.set_edns(edns);
    message
}

/// An authoritative server that answers with an alias alone has answered: where the alias leads is for
/// the resolver to follow.
fn judge(answer: &Message, recursion: Recursion) -> Result<(), Failure> {
    if let Some(failure) = failure::rcode(answer.metadata.response_code) {
        return Err(failure);
    }
    let holds = |wanted: fn(&RData) -> bool| answer.answers.iter().any(|r| wanted(&r.data));
    let alias = recursion == Recursion::NotDesired && holds(|data| matches!(data, RData::CNAME(_)));
    if alias || holds(|data| data.ip_addr().is_some()) {
        Ok(())
    } else {
        Err(Failure::DnsNoData)
    }
}

fn facts(answer: &Message, over_tcp: bool) -> DnsFacts {
    let addresses = answer.answers.iter().filter_map(|r| r.data.ip_addr());
    let mut addresses: Vec<_> = addresses.collect();
    addresses.sort_unstable();
    addresses.dedup();
    DnsFacts {
        rcode: u8::try_from(u16::from(answer.metadata.response_code)).unwrap_or(u8::MAX),
        addresses,
        authoritative: answer.metadata.authoritative,
        over_tcp,
        ttl: answer.answers.iter().map(|record| record.ttl).min(),
    }
}
