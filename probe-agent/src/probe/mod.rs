//! One probe: from the fired socket through its layers to what it saw.

pub mod burst;
pub mod cookie;
pub mod dns;
pub mod hello;
pub mod http;
pub mod port;
pub mod tcp;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod version;

use std::fmt::Write as _;
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use localize::{
    Arm, Facts, Failure, Layer, Micros, Outcome, RoundId, Scheme, Session, SourcePort, Step,
    Target, TcpFacts, Traits,
};

use self::cookie::Jar;
use self::port::{Parting, Used};
use crate::clock::{Clock, Local};
use crate::failure;
use crate::fire::{Charge, Fired};
use crate::host::Stub;
use crate::policy::Spent;
use crate::secret::Sent;
use crate::service::{Request, Service};

/// What a probe saw, without who, when and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The layers passed, in order.
    pub steps: Vec<Step>,
    /// How it ended.
    pub outcome: Outcome,
    /// What else the wire told.
    pub facts: Facts,
}

/// What is left to do once the charge has been fired.
#[derive(Debug)]
pub enum Task {
    /// Wait for the answer to a question.
    Question(Box<dns::Question>),
    /// Climb the layers of a connection.
    Connection(Box<Connection>),
}

/// A connection probe.
#[derive(Debug)]
pub struct Connection {
    service: Arc<Service>,
    target: Target,
    source: Option<IpAddr>,
    request: Request,
    sent: Arc<Sent>,
    round: RoundId,
    closes: http::Closes,
    /// The port that is used again.
    again: Option<Used>,
    /// Where the cookies go that an answer gives, where the arm keeps them.
    jar: Option<Arc<Jar>>,
    /// The second connection, where the server's version of HTTP asks for one.
    second: OnceLock<tcp::Gauge>,
}

/// What is kept of an arm's earlier probes, for one that asks for it.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    /// The port of its last connection.
    pub port: Option<Used>,
    /// The cookies that it was given.
    pub jar: Option<Arc<Jar>>,
}

/// An arm that is ready to be fired.
#[derive(Debug)]
pub struct Prepared {
    /// The arm as it will be fired: from a fresh port where that of the last connection is not free, and as
    /// somebody new asks where no cookie was given.
    pub arm: Arm,
    /// What firing it comes to.
    pub charge: Charge,
    /// What is left to do then.
    pub task: Task,
}

/// Why an arm cannot be fired from here. That is no evidence about the path.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// There is nothing to ask of DNS.
    #[error("the service's host is no name that DNS could be asked for")]
    NoName,
    /// The backend is not in the service's specification.
    #[error("backend {0:?} is not declared")]
    UnknownBackend(String),
    /// A header that the service asks for is not to be had.
    #[error("{0}")]
    Header(String),
    /// The service's specification has no large object.
    #[error("the service declares no large object")]
    NoLargeObject,
    /// Source and target are of different families.
    #[error("{source_address} cannot reach {target}: different address families")]
    Family {
        /// Where the probe should leave from.
        source_address: IpAddr,
        /// What it is aimed at.
        target: SocketAddr,
    },
    /// No socket for a question.
    #[error("cannot prepare the question's socket: {0}")]
    Socket(#[source] io::Error),
}

/// The address that an arm is aimed at.
#[must_use]
pub fn aimed_at(target: &Target) -> SocketAddr {
    match target {
        Target::Resolver { server } | Target::NameServer { server, .. } => *server,
        Target::Edge { address } | Target::Vip { address } | Target::Backend { address, .. } => {
            *address
        }
    }
}

/// What the requests of one round have in common.
#[derive(Clone, Debug)]
pub struct Wording {
    /// The round, so that a request can be found in a server's log.
    pub round: RoundId,
    /// The service's own headers, or why they are not to be had.
    pub sent: Result<Arc<Sent>, String>,
}

/// Makes and binds the socket of an arm, so that firing it is one system call.
///
/// # Errors
/// When the arm cannot be fired from here. A connection's socket that cannot be made is not among
/// the reasons: it is fired as [`Charge::Broken`] and ends as [`Failure::ConnectLocal`].
pub fn prepare(
    service: &Arc<Service>,
    arm: Arm,
    earlier: Earlier,
    wording: &Wording,
) -> Result<Prepared, Unfit> {
    let target = aimed_at(&arm.target);
    if let Some(source_address) = arm.source
        && source_address.is_ipv4() != target.is_ipv4()
    {
        return Err(Unfit::Family {
            source_address,
            target,
        });
    }
    let recursion = match &arm.target {
        Target::Resolver { .. } => dns::Recursion::Desired,
        Target::NameServer { .. } => dns::Recursion::NotDesired,
        Target::Backend { name, .. } if !service.backends.contains_key(name) => {
            return Err(Unfit::UnknownBackend(name.clone()));
        }
        Target::Edge { .. } | Target::Vip { .. } | Target::Backend { .. } => {
            let request = service.request_for(&arm).ok_or(Unfit::NoLargeObject)?;
            return connection(service, request, arm, earlier, wording);
        }
    };
    let question = dns::Question::new(&service.host, target, arm.source, recursion)
        .ok_or(Unfit::NoName)?
        .within(service.limits.dns);
    let question = match recursion {
        dns::Recursion::Desired => question.after(&Stub::look().before(&service.host, target)),
        dns::Recursion::NotDesired => question,
    };
    let charge = question.charge().map_err(Unfit::Socket)?;
    Ok(Prepared {
        arm,
        charge,
        task: Task::Question(Box::new(question)),
    })
}

fn connection(
    service: &Arc<Service>,
    request: Request,
    arm: Arm,
    earlier: Earlier,
    wording: &Wording,
) -> Result<Prepared, Unfit> {
    let Earlier { port: again, jar } = earlier;
    let sent = match (request.scheme, &wording.sent) {
        (_, Ok(sent)) => Arc::clone(sent),
        // A bare connection has no headers.
        (Scheme::Tcp, Err(_)) => Arc::default(),
        (Scheme::Http | Scheme::Https, Err(why)) => return Err(Unfit::Header(why.clone())),
    };
    let known = jar.as_ref().and_then(|jar| sent.with_cookies(jar));
    let session = match known {
        Some(_) => arm.traits.session,
        None => Session::New,
    };
    let sent = known.map_or(sent, Arc::new);
    let to = aimed_at(&arm.target);
    let reopened = again.and_then(|used| Some((used, tcp::prepare_again(to, used.local).ok()?)));
    let (again, socket) = match reopened {
        Some((used, socket)) => (Some(used), Ok(socket)),
        None => (None, tcp::prepare(to, arm.source)),
    };
    let sockets = socket.and_then(|socket| {
        let companions = burst::companions(arm.traits, to, arm.source)?;
        Ok((socket, companions))
    });
    let connection = Connection {
        target: arm.target.clone(),
        source: arm.source,
        request,
        sent,
        service: Arc::clone(service),
        round: wording.round,
        closes: match arm.traits.port {
            SourcePort::Fresh => http::Closes::Either,
            SourcePort::Reused => http::Closes::Server,
        },
        again,
        jar,
        second: OnceLock::new(),
    };
    let port = match again {
        Some(_) => arm.traits.port,
        None => SourcePort::Fresh,
    };
    Ok(Prepared {
        arm: arm.twin(Traits {
            port,
            session,
            ..arm.traits
        }),
        charge: match sockets {
            Ok((socket, companions)) => Charge::Connect {
                socket,
                to,
                companions,
            },
            Err(error) => Charge::Broken(error),
        },
        task: Task::Connection(Box::new(connection)),
    })
}

/// Follows a fired probe to its end, and says what it took beyond its first connection; what becomes of its port does not delay that.
pub async fn follow(task: Task, mut fired: Fired, clock: &Clock) -> (Findings, Spent, Parting) {
    let mut ladder = Ladder::new(clock, fired.at);
    let (end, spent, parting) = match task {
        Task::Question(question) => {
            let end = question.follow(fired, &mut ladder).await;
            (end, Spent::default(), Parting::Done)
        }
        Task::Connection(connection) => {
            let companions = mem::take(&mut fired.companions);
            burst::beside(companions, connection.follow(fired, &mut ladder)).await
        }
    };
    (ladder.findings(end), spent, parting)
}

/// The layer that was not passed, and why.
type End = Result<(), (Layer, Failure)>;

/// Keeps the time of each layer while a probe climbs.
#[derive(Clone, Debug)]
pub struct Ladder<'a> {
    clock: &'a Clock,
    begun: Local,
    layer_begun: Local,
    /// What a first connection took above TCP that a second one has taken the place of.
    lost: Micros,
    /// When the layer under way failed, where something was asked after that.
    failed: Option<Local>,
    steps: Vec<Step>,
    facts: Facts,
}

impl<'a> Ladder<'a> {
    fn new(clock: &'a Clock, begun: Local) -> Self {
        Self {
            clock,
            begun,
            layer_begun: begun,
            lost: Micros(0),
            failed: None,
            steps: Vec::new(),
            facts: Facts::default(),
        }
    }

    fn passed(&mut self, layer: Layer) {
        let now = self.clock.now();
        let took = now.since(self.layer_begun);
        self.steps.push(Step { layer, took });
        self.layer_begun = now;
    }

    /// The layer under way was not passed; what is asked from here on does not count as its time.
    fn stopped(&mut self) {
        self.failed = Some(self.clock.now());
    }

    /// What is left of a layer's limit; a limit of the whole probe ends the layer as well.
    fn left(&self, layer: Duration, total: Duration) -> Duration {
        let end = self.layer_begun.after(layer).min(self.begun.after(total));
        self.clock.now().until(end)
    }

    /// What is left of a limit that begins at present; the whole probe's ends it as well.
    fn left_of(&self, limit: Duration, total: Duration) -> Duration {
        let now = self.clock.now();
        limit.min(now.until(self.begun.after(total)))
    }

    /// A second connection takes the place of the first: whatever came of that is of no layer.
    fn anew(&mut self) {
        self.steps.retain(|step| step.layer <= Layer::Tcp);
        self.facts.tls = None;
        self.facts.http = None;
        let now = self.clock.now();
        let kept: u64 = self.steps.iter().map(|step| step.took.0).sum();
        self.lost = Micros(now.since(self.begun).0.saturating_sub(kept));
        self.layer_begun = now;
    }

    fn findings(mut self, end: End) -> Findings {
        let outcome = match end {
            Ok(()) => Outcome::Passed,
            Err((layer, failure)) => {
                // A layer may turn out not to have been passed when the next one is under way.
                self.steps.retain(|step| step.layer < layer);
                let passed: u64 = self.steps.iter().map(|step| step.took.0).sum();
                let before = passed.saturating_add(self.lost.0);
                let stopped = self.failed.unwrap_or_else(|| self.clock.now());
                let after = stopped.since(self.begun).0.saturating_sub(before);
                Outcome::Failed {
                    layer,
                    failure,
                    after: Micros(after),
                }
            }
        };
        Findings {
            steps: self.steps,
            outcome,
            facts: self.facts,
        }
    }
}

impl Connection {
    async fn follow(self, fired: Fired, ladder: &mut Ladder<'_>) -> (End, Spent, Parting) {
        let socket = match fired.socket {
            Ok(socket) => socket,
            Err(error) => {
                let end = Err((Layer::Tcp, failure::connect(&error)));
                return (end, Spent::default(), Parting::Done);
            }
        };
        let gauge = tcp::Gauge::of(&socket);
        let limits = self.service.limits;
        let within = ladder.left(limits.connect, limits.total);
        let connected = tcp::establish(socket, within).await;
        if connected.is_ok() {
            ladder.passed(Layer::Tcp);
        }
        let reached = connected.is_ok();
        ladder.facts.tcp = fired.local.map(|local| TcpFacts {
            reused_after: self.again.map(|used| fired.at.since(used.ended)),
            ..gauge.facts(local, reached)
        });
        let end = match connected {
            Ok(stream) => self.above_tcp(stream, ladder).await,
            Err(failure) => Err((Layer::Tcp, failure)),
        };
        if let Some(facts) = &mut ladder.facts.tcp {
            facts.retransmissions = gauge.retransmissions();
        }
        let local = fired.local.filter(|_| reached);
        let second = self.second.get();
        let spent = Spent {
            connections: second.map_or(0, |_| 1),
            bytes: gauge.bytes() + second.map_or(0, tcp::Gauge::bytes),
        };
        (end, spent, self.parting(gauge, local))
    }

    /// What becomes of the port; `local` is where the connection left from, if there was one.
    fn parting(&self, gauge: tcp::Gauge, local: Option<SocketAddr>) -> Parting {
        match (self.closes, local, self.again) {
            (http::Closes::Server, Some(local), _) => Parting::Open(gauge, local),
            (http::Closes::Server, None, Some(used)) => Parting::Unused(used),
            (http::Closes::Server, None, None) | (http::Closes::Either, _, _) => Parting::Done,
        }
    }

    async fn above_tcp(&self, stream: tokio::net::TcpStream, ladder: &mut Ladder<'_>) -> End {
        match self.request.scheme {
            Scheme::Tcp => Ok(()),
            Scheme::Http | Scheme::Https => self.converse(stream, ladder).await,
        }
    }
}

impl tcp::Gauge {
    fn facts(&self, local: SocketAddr, connected: bool) -> TcpFacts {
        let syn_retransmissions = self.retransmissions();
        TcpFacts {
            local,
            syn_retransmissions,
            retransmissions: syn_retransmissions,
            rtt: self.rtt().filter(|_| connected),
            reused_after: None,
            options: self.options().filter(|_| connected),
        }
    }
}

/// First 16 bytes of a digest, in hexadecimal.
fn short_hex(digest: &[u8]) -> String {
    digest
        .iter()
        .take(16)
        .fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
