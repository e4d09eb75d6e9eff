//! The DNS layer: one question to one server, its time and its end, and what is asked beside it.

mod beside;
mod exchange;
mod facts;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use localize::dns::Again;
use localize::{DnsFacts, Failure, Layer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::Ladder;
use crate::clock::Clock;
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
    /// What the host's stub resolver tries before this name.
    before: Vec<Name>,
}

/// What a server said, or that it did not.
pub type Answer = Result<Message, Failure>;

/// The payload that passes without fragments nearly everywhere (DNS flag day 2020).
const PAYLOAD: u16 = 1232;
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
            before: Vec::new(),
        })
    }

    /// The same question where a stub resolver asks for these names before; what is no name is left out.
    #[must_use]
    pub fn after(self, names: &[String]) -> Self {
        let names = names.iter().filter_map(|name| Name::from_utf8(name).ok());
        let absolute = names.map(|mut name| {
            name.set_fqdn(true);
            name
        });
        Self {
            before: absolute.collect(),
            ..self
        }
    }

    /// The same question with another limit.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// The same question for another kind of record.
    #[must_use]
    pub fn kind(self, kind: RecordType) -> Self {
        let name = self.name.clone();
        self.named(name, kind)
    }

    /// The same question with checking disabled.
    fn unchecked(mut self) -> Self {
        self = self.kind(RecordType::A);
        self.query.metadata.checking_disabled = true;
        self
    }

    /// A question for another name and kind of record to the same server.
    fn named(self, name: Name, kind: RecordType) -> Self {
        let query = query(&name, kind, self.recursion);
        Self {
            name,
            query,
            ..self
        }
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

    /// Follows the fired question to its answer, asking for AAAA where there is no A. What is asked beside
    /// it is asked when its time and its end are known.
    pub(super) async fn follow(self, fired: Fired, ladder: &mut Ladder<'_>) -> super::End {
        let failed = |failure| (Layer::Dns, failure);
        let socket = fired.socket.map_err(|error| failed(failure::dns(&error)))?;
        let within = ladder.left(self.within, self.within);
        let asked = timeout(within, self.addresses(socket, ladder.clock)).await;
        let (facts, end) = asked.unwrap_or((None, Err(Failure::DnsTimeout)));
        match end {
            Ok(()) => ladder.passed(Layer::Dns),
            Err(_) => ladder.stopped(),
        }
        ladder.facts.dns = match facts {
            Some(facts) => Some(beside::ask(&self, facts, end, ladder).await),
            None => None,
        };
        end.map_err(failed)
    }

    async fn addresses(
        &self,
        socket: Socket,
        clock: &Clock,
    ) -> (Option<DnsFacts>, Result<(), Failure>) {
        let socket = match UdpSocket::from_std(socket.into()) {
            Ok(socket) => socket,
            Err(error) => return (None, Err(failure::dns(&error))),
        };
        let mut over_tcp = false;
        let answer = match self.answer(&socket, &mut over_tcp).await {
            Ok(answer) => answer,
            Err(failure) => return (None, Err(failure)),
        };
        let judged = judge(&answer, self.recursion);
        let first = facts::of(&answer, self.recursion, over_tcp);
        if judged != Err(Failure::DnsNoData) {
            return (Some(first), judged);
        }
        let begun = clock.now();
        let question = self.clone().kind(RecordType::AAAA);
        let asked = question.ask_again(&socket, &mut over_tcp).await;
        let took = clock.now().since(begun);
        let reply = facts::reply(asked.as_ref(), self.recursion, IpAddr::is_ipv6);
        let (held, judged) = match &asked {
            Ok(answer) => (
                facts::of(answer, self.recursion, over_tcp),
                judge(answer, self.recursion),
            ),
            Err(failure) => (first, Err(*failure)),
        };
        let aaaa = Some(Again { took, reply });
        (Some(DnsFacts { aaaa, ..held }), judged)
    }
}

/// Asks a question by itself, outside of any round.
///
/// # Errors
/// What the server or the network said instead of an answer of NOERROR.
pub async fn ask(question: &Question) -> Answer {
    let answer = ask_unjudged(question).await?;
    match failure::rcode(answer.metadata.response_code) {
        Some(failure) => Err(failure),
        None => Ok(answer),
    }
}

/// The same, whatever the answer's code.
async fn ask_unjudged(question: &Question) -> Answer {
    let socket = match question.charge().map_err(|error| failure::dns(&error))? {
        Charge::Send { socket, .. } | Charge::Connect { socket, .. } => socket,
        Charge::Broken(error) => return Err(failure::dns(&error)),
    };
    let socket = UdpSocket::from_std(socket.into()).map_err(|error| failure::dns(&error))?;
    let mut over_tcp = false;
    let asked = question.ask_again(&socket, &mut over_tcp);
    let asked = timeout(question.within, asked).await;
    asked.unwrap_or(Err(Failure::DnsTimeout))
}

/// A resolver is asked to say whether it has checked the signatures (RFC 6840, section 5.7), a name server to
/// send them, as resolvers ask it (RFC 3225).
fn query(name: &Name, kind: RecordType, recursion: Recursion) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = recursion == Recursion::Desired;
    message.metadata.authentic_data = recursion == Recursion::Desired;
    message.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD);
    edns.set_dnssec_ok(recursion == Recursion::NotDesired);
    message.set_edns(edns);
    message
}

/// An authoritative server that answers with an alias alone has answered: where the alias leads is for
/// the resolver to follow. One that does not say that it is authoritative is lame, whatever it tells.
fn judge(answer: &Message, recursion: Recursion) -> Result<(), Failure> {
    let speaks_for_it = answer.metadata.authoritative || recursion == Recursion::Desired;
    match failure::rcode(answer.metadata.response_code) {
        None | Some(Failure::DnsNxdomain) if !speaks_for_it => return Err(Failure::DnsLame),
        Some(failure) => return Err(failure),
        None => {}
    }
    let holds = |wanted: fn(&RData) -> bool| answer.answers.iter().any(|r| wanted(&r.data));
    let alias = recursion == Recursion::NotDesired && holds(|data| matches!(data, RData::CNAME(_)));
    if alias || holds(|data| data.ip_addr().is_some()) {
        Ok(())
    } else {
        Err(Failure::DnsNoData)
    }
}
