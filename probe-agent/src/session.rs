//! The one stream to the coordinator, and its renewal whenever it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use proto::token::{MAX_ADDRESSES, is_address};
use proto::v1::agent_message::Message as Up;
use proto::v1::agent_service_client::AgentServiceClient;
use proto::v1::coordinator_message::Message as Down;
use proto::v1::{self, goodbye::Reason};
use rustls::ClientConfig;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use crate::clock::{Clock, Estimator, Exchange, Local};
use crate::clocks;
use crate::discover;
use crate::host::{Given, Host};
use crate::identity::{Identity, IdentityError};
use crate::link::{self, LinkError, Presented};
use crate::outbox::{Outbox, OutboxError};
use crate::policy::Context;
use crate::renewal::{self, Renewal, RenewalError, Renewed};
use crate::round::Rounds;
use crate::service::Service;
use crate::uplink::{Uplink, UplinkError};

/// Pauses between attempts to reach the coordinator: doubled each time, with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The longest where somebody must act before the coordinator lets the agent in.
const LONGEST_PAUSE_REFUSED: Duration = Duration::from_secs(120);
/// After a session of this length, in microseconds, the pauses begin anew.
const STEADY_US: u64 = 5_000_000;
/// Records taken from the spool at once.
const FROM_SPOOL: usize = 128;
/// Clock exchanges at the start of a session, their pace, and the pace later on.
const BURST: u32 = 8;
const BURST_PACE: Duration = Duration::from_millis(50);
const CLOCK_PACE: Duration = Duration::from_secs(2);
/// How often the host's addresses and resolvers are looked at.
const HOST_PACE: Duration = Duration::from_secs(10);
/// Services that one agent knows; a coordinator with more sends the rest in vain.
const MAX_SERVICES: usize = 256;
/// Connections of one question for packets: four times as many as a coordinator asks for at once.
const MAX_WANTED: usize = 256;
/// Searches for name servers at once, each of which asks the resolvers a dozen questions.
const MAX_SEARCHES: usize = 8;
/// A search for name servers is given up after this.
const DISCOVER_LIMIT: Duration = Duration::from_secs(30);

/// What ends an agent for good.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The coordinator does not accept it any more.
    #[error("the coordinator does not accept this agent any more: {0}")]
    Refused(String),
    /// The identity cannot be used.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The identity cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Why one session ended while the agent goes on.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("{}", .0.message())]
    Status(#[from] Status),
    #[error("the coordinator ended the stream")]
    Closed,
    #[error("the coordinator says goodbye: {0}")]
    Goodbye(&'static str),
    #[error(
        "another agent has connected with this identity; where that is a copy of this folder, give it one \
         of its own, and where it is a thief: `meshctl agent revoke NAME`"
    )]
    Replaced,
    #[error("this agent's certificate has ended, and cannot be renewed yet: {0}")]
    Renewal(#[from] RenewalError),
    #[error(transparent)]
    Uplink(#[from] UplinkError),
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    #[error(transparent)]
    Ended(#[from] Ended),
}

impl From<IdentityError> for Interrupted {
    fn from(error: IdentityError) -> Self {
        Self::Ended(error.into())
    }
}

/// The parts that outlive a session.
#[derive(Debug)]
pub struct Agent {
    /// The data folder, where a renewed identity goes.
    pub data_dir: PathBuf,
    /// Who the agent is.
    pub identity: Identity,
    /// What the command line says of the host.
    pub given: Given,
    /// The agent's clock.
    pub clock: Arc<Clock>,
    /// What is not acknowledged.
    pub outbox: Outbox,
    /// Fires rounds.
    pub rounds: Arc<Rounds>,
    /// The ports that a witness watches.
    pub witness_ports: watch::Sender<BTreeSet<u16>>,
    /// Ends of connections whose packets the witness is asked for.
    pub wanted_packets: mpsc::Sender<Vec<SocketAddr>>,
    /// `Ok` while the witness watches, else why not; `None` where none was wanted.
    pub witness: watch::Receiver<Option<Result<(), String>>>,
    /// The coordinator says that the certificate has ended.
    pub told_ended: bool,
}

impl Agent {
    /// Keeps a session open until told to stop.
    ///
    /// # Errors
    /// When there is no point in trying again.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Ended> {
        let presented = Arc::new(Presented::new(
            &self.identity.certificate_pem,
            &self.identity.key_pem,
        )?);
        let config = Arc::new(link::known(&self.identity.ca_pem, Arc::clone(&presented))?);
        let mut pauses = Pauses::default();
        let mut turn = 0;
        loop {
            let address = self.identity.addresses[turn % self.identity.addresses.len()].clone();
            turn += 1;
            let began = self.clock.now();
            let ended = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                ended = self.attempt(&address, &config, &presented) => ended,
            };
            if self.clock.now().since(began).0 > STEADY_US {
                pauses = Pauses::default();
            }
            let wait = match ended {
                Ok(()) => pauses.next(FIRST_PAUSE),
                Err(error) => pauses.next(self.took_leave(&address, error)?),
            };
            let jittered = wait.mul_f64(rand::random_range(0.5..1.0));
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(jittered) => {}
            }
        }
    }

    /// One session, before it a new certificate where the one at hand has ended: an agent whose
    /// coordinator was away goes on as who it is.
    async fn attempt(
        &mut self,
        address: &str,
        config: &Arc<ClientConfig>,
        presented: &Presented,
    ) -> Result<(), Interrupted> {
        if self.told_ended || self.identity.validity()?.1 <= self.now_seconds() {
            let old = self.identity.clone();
            let renewed = renewal::ask(address.to_owned(), Arc::clone(config), old).await?;
            renewed.save(&self.data_dir)?;
            presented.renew(&renewed.certificate_pem, &renewed.key_pem)?;
            self.identity = renewed;
            self.told_ended = false;
            tracing::info!("the certificate had ended and is renewed");
        }
        self.session(address, Arc::clone(config), presented).await
    }

    /// Says why there is no session any more, and how long to wait for the next at most; an error when
    /// there will be none.
    fn took_leave(&mut self, address: &str, error: Interrupted) -> Result<Duration, Ended> {
        let clocks = clocks::explained(&error);
        let (code, message) = match error {
            Interrupted::Ended(ended) => return Err(ended),
            Interrupted::Replaced => {
                tracing::warn!(%address, %error, "no session");
                return Ok(LONGEST_PAUSE_REFUSED);
            }
            Interrupted::Status(ref status)
            | Interrupted::Renewal(RenewalError::Status(ref status)) => {
                (status.code(), status.message().to_owned())
            }
            Interrupted::Link(_)
            | Interrupted::Closed
            | Interrupted::Goodbye(_)
            | Interrupted::Renewal(_)
            | Interrupted::Uplink(_)
            | Interrupted::Outbox(_) => (Code::Unavailable, String::new()),
        };
        match clocks {
            Some(why) => tracing::warn!(%address, %error, why, "no session"),
            None => tracing::warn!(%address, %error, "no session"),
        }
        match refusal(code) {
            Refusal::Final => Err(Ended::Refused(message)),
            Refusal::Ended => {
                self.told_ended = true;
                Ok(LONGEST_PAUSE)
            }
            Refusal::Lasting => Ok(LONGEST_PAUSE_REFUSED),
            Refusal::None => Ok(LONGEST_PAUSE),
        }
    }

    async fn session(
        &mut self,
        address: &str,
        config: Arc<ClientConfig>,
        presented: &Presented,
    ) -> Result<(), Interrupted> {
        let (channel, _) = link::dial(address, Arc::clone(&config)).await?;
        let (uplink, stream) = Uplink::open(Arc::clone(&self.clock));
        let host = Host::look(&self.given);
        let told = self.host_state(&host);
        // The coordinator answers the call only after Hello.
        uplink.say(Up::Hello(v1::Hello {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            host: Some(told.clone()),
        }))?;
        let mut client = AgentServiceClient::new(channel);
        let incoming = client.session(stream).await?.into_inner();
        tracing::info!(%address, "session open");
        let renewal = Renewal::of(self.identity.validity()?, rand::random_range(0.0..1.0));
        let session = Session {
            agent: self,
            address,
            config,
            presented,
            uplink,
            host,
            told,
            services: BTreeMap::new(),
            estimator: Estimator::default(),
            renewal,
            errands: JoinSet::new(),
        };
        session.serve(incoming).await
    }

    fn mesh_us(&self) -> u64 {
        self.clock.stamp(self.clock.now()).at_us
    }

    fn now_seconds(&self) -> i64 {
        i64::try_from(self.mesh_us() / 1_000_000).unwrap_or(i64::MAX)
    }

    fn host_state(&self, host: &Host) -> v1::HostState {
        let spool = *self.outbox.state().borrow();
        let witness = self.witness.borrow().clone();
        v1::HostState {
            addresses: host.addresses.iter().map(ToString::to_string).collect(),
            resolvers: host.resolvers.iter().map(ToString::to_string).collect(),
            witness: matches!(witness, Some(Ok(()))),
            witness_trouble: match witness {
                Some(Err(trouble)) => trouble,
                Some(Ok(())) | None => String::new(),
            },
            spool_bytes: spool.bytes,
            spool_dropped: spool.dropped,
        }
    }
}

/// What a status says of this agent's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// It is revoked.
    Final,
    /// It has ended, and a new one may be asked for.
    Ended,
    /// Somebody must act before it is accepted.
    Lasting,
    /// Nothing.
    None,
}

fn refusal(code: Code) -> Refusal {
    match code {
        Code::PermissionDenied => Refusal::Final,
        Code::Unauthenticated => Refusal::Ended,
        Code::FailedPrecondition => Refusal::Lasting,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Refusal::None,
    }
}

/// Pauses between attempts, each twice as long as the one before.
#[derive(Debug)]
struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pauses {
    /// The next one, at most so long.
    fn next(&mut self, longest: Duration) -> Duration {
        let pause = self.0.min(longest);
        self.0 = pause * 2;
        pause
    }
}

/// One open stream.
struct Session<'a> {
    agent: &'a mut Agent,
    address: &'a str,
    config: Arc<ClientConfig>,
    presented: &'a Presented,
    uplink: Uplink,
    host: Host,
    /// What the coordinator knows of the host.
    told: v1::HostState,
    services: BTreeMap<String, Arc<Service>>,
    estimator: Estimator,
    renewal: Renewal,
    /// They end with the session: at most one reader of the spool, one renewal and some searches.
    errands: JoinSet<Errand>,
}

/// What is done beside the stream, so that nothing keeps it from being heard.
enum Errand {
    /// The spool was read until it or the stream failed.
    Spool(Interrupted),
    /// The coordinator was asked for a certificate.
    Renewal(Box<Renewed>),
    /// Name servers were looked for.
    Search(v1::Discovery),
}

impl Session<'_> {
    async fn serve(
        mut self,
        mut incoming: Streaming<v1::CoordinatorMessage>,
    ) -> Result<(), Interrupted> {
        let mut exchanges = 0;
        let mut clock = interval(BURST_PACE);
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut look = interval_at(Instant::now() + HOST_PACE, HOST_PACE);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut witness = self.agent.witness.clone();
        let mut watching = true;
        loop {
            let renewal = self.renewal.due_in(self.agent.mesh_us());
            tokio::select! {
                message = incoming.message() => match message? {
                    Some(message) => self.hear(message).await?,
                    None => return Err(Interrupted::Closed),
                },
                _ = clock.tick() => {
                    exchanges += 1;
                    if exchanges == BURST {
                        clock = interval_at(Instant::now() + CLOCK_PACE, CLOCK_PACE);
                    }
                    self.uplink.ask_time()?;
                }
                _ = look.tick() => {
                    self.watch_ports();
                    self.look_at_host()?;
                }
                changed = witness.changed(), if watching => {
                    watching = changed.is_ok();
                    self.look_at_host()?;
                }
                () = tokio::time::sleep(renewal.unwrap_or_default()), if renewal.is_some() => {
                    self.ask_for_renewal();
                }
                Some(done) = self.errands.join_next() => match done {
                    Ok(errand) => self.finish(errand)?,
                    Err(error) => tracing::error!(%error, "an errand of the session failed"),
                },
            }
        }
    }

    async fn hear(&mut self, message: v1::CoordinatorMessage) -> Result<(), Interrupted> {
        let heard = self.agent.clock.now();
        match message.message {
            Some(Down::Welcome(welcome)) => self.welcome(&welcome).await?,
            Some(Down::Clock(reply)) => self.clock(&reply, heard)?,
            Some(Down::Service(spec)) => self.learn(spec),
            Some(Down::ServiceGone(gone)) => drop(self.services.remove(&gone.name)),
            Some(Down::Round(round)) => {
                let context = self.context();
                let service = self.services.get(&round.service);
                let answer = self.agent.rounds.announce(service, Some(&context), round);
                self.uplink.say(Up::RoundAnswer(answer))?;
            }
            Some(Down::Ack(ack)) => self.agent.outbox.acknowledge(ack.durable_through).await,
            Some(Down::Discover(wanted)) => self.discover(wanted),
            Some(Down::WantedPackets(wanted)) => self.want_packets(&wanted),
            Some(Down::Moved(moved)) => self.moved(moved.addresses)?,
            Some(Down::Goodbye(goodbye)) => return Err(leave(goodbye.reason())),
            // A message of a later version has nothing for this one.
            None => {}
        }
        Ok(())
    }

    /// Hands on whose packets the coordinator wants. Where the witness has not taken up what was asked before,
    /// or there is none, they are not to be had.
    fn want_packets(&self, wanted: &v1::WantedPackets) {
        let ends = wanted.clients.iter().take(MAX_WANTED);
        let ends = ends.filter_map(|end| end.parse().ok()).collect();
        let _ = self.agent.wanted_packets.try_send(ends);
    }

    fn finish(&mut self, errand: Errand) -> Result<(), Interrupted> {
        match errand {
            Errand::Spool(interrupted) => Err(interrupted),
            Errand::Renewal(renewed) => self.renewed(*renewed),
            Errand::Search(discovery) => Ok(self.uplink.say(Up::Discovery(discovery))?),
        }
    }

    /// Forgets what the coordinator has, and sends the rest of the spool from there on.
    async fn welcome(&mut self, welcome: &v1::Welcome) -> Result<(), IdentityError> {
        tracing::info!(
            name = welcome.name,
            coordinator = welcome.coordinator_version,
            durable_through = welcome.durable_through,
            "welcome"
        );
        if welcome.name != self.agent.identity.name && !welcome.name.is_empty() {
            // What is made before the next start goes by the old name, which the coordinator knows.
            tracing::info!(
                name = welcome.name,
                "the operator has given this agent another name"
            );
            self.agent.identity.name.clone_from(&welcome.name);
            self.agent.identity.save(&self.agent.data_dir)?;
        }
        self.moved(welcome.addresses.clone())?;
        let after = welcome.durable_through;
        self.agent.outbox.welcomed(after).await;
        let outbox = self.agent.outbox.clone();
        let uplink = self.uplink.clone();
        self.errands.spawn(async move {
            let Err(interrupted) = drain(outbox, uplink, after).await;
            Errand::Spool(interrupted)
        });
        Ok(())
    }

    /// Remembers where the coordinator is reached from now on, and tries what was known before after that.
    fn moved(&mut self, addresses: Vec<String>) -> Result<(), IdentityError> {
        let known = &self.agent.identity.addresses;
        let addresses = told_addresses(addresses, known);
        if addresses != *known {
            tracing::info!(?addresses, "the coordinator is reached otherwise");
            self.agent.identity.addresses = addresses;
            self.agent.identity.save(&self.agent.data_dir)?;
        }
        Ok(())
    }

    fn clock(&mut self, reply: &v1::ClockReply, heard: Local) -> Result<(), UplinkError> {
        let exchange = Exchange {
            t1: Local(reply.t1_us),
            t2_us: reply.t2_us,
            t3_us: reply.t3_us,
            t4: heard,
        };
        let Some(best) = self.estimator.add(exchange) else {
            return Ok(());
        };
        self.agent.clock.set(best);
        let state = v1::ClockState {
            offset_us: best.offset_us,
            uncertainty_us: best.uncertainty_us(heard),
            round_trip_us: best.round_trip_us,
        };
        self.uplink.say(Up::ClockState(state))
    }

    fn learn(&mut self, spec: v1::ServiceSpec) {
        if self.services.len() >= MAX_SERVICES && !self.services.contains_key(&spec.name) {
            tracing::warn!(service = spec.name, "more than {MAX_SERVICES} services");
            return;
        }
        let name = spec.name.clone();
        match Service::try_from(spec) {
            Ok(service) => {
                self.watch_also(&service.witness_ports);
                self.services.insert(name, Arc::new(service));
            }
            Err(error) => tracing::warn!(service = name, %error, "a service cannot be probed"),
        }
    }

    /// Ports are added at once and taken away at the next look: the services come one by one at the
    /// start of a session, and a witness that left out the ports of those still to come would miss
    /// the packets of rounds under way.
    fn watch_also(&self, ports: &[u16]) {
        self.agent.witness_ports.send_if_modified(|watched| {
            let before = watched.len();
            watched.extend(ports);
            watched.len() > before
        });
    }

    fn watch_ports(&self) {
        let services = self.services.values();
        let ports: BTreeSet<u16> = services
            .flat_map(|service| service.witness_ports.iter().copied())
            .collect();
        self.agent
            .witness_ports
            .send_if_modified(|watched| std::mem::replace(watched, ports.clone()) != ports);
    }

    fn context(&self) -> Context {
        Context {
            role: self.agent.identity.role,
            resolvers: self.host.resolvers.clone(),
            around: self.host.around.clone(),
        }
    }

    fn discover(&mut self, wanted: v1::Discover) {
        if self.errands.len() >= MAX_SEARCHES {
            tracing::warn!(service = wanted.service, "too many searches at once");
            return;
        }
        let resolvers = self.host.resolvers.clone();
        let (rounds, context) = (Arc::clone(&self.agent.rounds), self.context());
        self.errands.spawn(async move {
            let admits = |server| rounds.admits(&context, server);
            let search = discover::zone(&wanted.host, &resolvers, admits);
            let found = tokio::time::timeout(DISCOVER_LIMIT, search).await;
            let zone = found.unwrap_or_default();
            let servers = zone.servers.into_iter();
            let name_servers = servers.map(|server| v1::discovery::FoundNameServer {
                name: server.name,
                addresses: server.addresses.iter().map(ToString::to_string).collect(),
                at_parent: server.at_parent,
                at_zone: server.at_zone,
            });
            Errand::Search(v1::Discovery {
                service: wanted.service,
                name_servers: name_servers.collect(),
                zone: zone.name,
            })
        });
    }

    fn look_at_host(&mut self) -> Result<(), UplinkError> {
        self.host = Host::look(&self.agent.given);
        let state = self.agent.host_state(&self.host);
        if state == self.told {
            return Ok(());
        }
        self.told = state.clone();
        self.uplink.say(Up::HostState(state))
    }

    fn ask_for_renewal(&mut self) {
        self.renewal.begun();
        let address = self.address.to_owned();
        let asked = renewal::ask(
            address,
            Arc::clone(&self.config),
            self.agent.identity.clone(),
        );
        self.errands
            .spawn(async move { Errand::Renewal(Box::new(asked.await)) });
    }

    /// The stream goes on; the next connection shows the new certificate.
    fn renewed(&mut self, renewed: Renewed) -> Result<(), Interrupted> {
        match renewed {
            Ok(identity) => {
                identity.save(&self.agent.data_dir)?;
                self.presented
                    .renew(&identity.certificate_pem, &identity.key_pem)?;
                let chance = rand::random_range(0.0..1.0);
                self.renewal = Renewal::fresh(identity.validity()?, self.agent.mesh_us(), chance);
                self.agent.identity = identity;
                tracing::info!("certificate renewed");
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate was not renewed; tried again soon");
                self.renewal.failed(self.agent.mesh_us());
            }
        }
        Ok(())
    }
}

/// Addresses that somebody has told, before those known.
fn told_addresses(told: Vec<String>, known: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let told = told.into_iter().filter(|address| is_address(address));
    for address in told.chain(known.iter().cloned()) {
        if all.len() < MAX_ADDRESSES && !all.contains(&address) {
            all.push(address);
        }
    }
    all
}

/// Sends the spool's records above a sequence, in order, for as long as spool and stream last.
async fn drain(
    outbox: Outbox,
    uplink: Uplink,
    after: u64,
) -> Result<std::convert::Infallible, Interrupted> {
    let mut state = outbox.state();
    let mut sent = after;
    loop {
        let records = outbox.pending(sent, FROM_SPOOL).await?;
        if records.is_empty() {
            state.changed().await.map_err(|_| OutboxError::Ended)?;
        }
        for (sequence, record) in records {
            sent = sequence;
            match v1::AgentMessage::decode(record.as_slice()) {
                Ok(message) => uplink.bring(message).await?,
                Err(error) => tracing::error!(sequence, %error, "a record cannot be read"),
            }
        }
    }
}

const REVOKED: &str =
    "the operator revoked it; a new token of `meshctl agent token` lets it in again";

fn leave(reason: Reason) -> Interrupted {
    match reason {
        Reason::Revoked => Ended::Refused(REVOKED.to_owned()).into(),
        Reason::Replaced => Interrupted::Replaced,
        Reason::ShuttingDown => Interrupted::Goodbye("it is shutting down"),
        Reason::CertificateExpired => Interrupted::Goodbye("the certificate has expired"),
        Reason::Unspecified => Interrupted::Goodbye("no reason given"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_revoked_certificate_ends_an_agent() {
        let codes = (0..17).map(Code::from_i32);
        let last: Vec<Code> = codes
            .filter(|code| refusal(*code) == Refusal::Final)
            .collect();
        assert_eq!(last, [Code::PermissionDenied]);
        assert_eq!(refusal(Code::Unauthenticated), Refusal::Ended);
        assert_eq!(refusal(Code::FailedPrecondition), Refusal::Lasting);
    }

    #[test]
    fn what_was_told_is_tried_first_and_what_was_known_is_kept() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let known = texts(&["192.0.2.1:7443"]);
        let rows: [(&[&str], &[&str]); 4] = [
            (&[], &["192.0.2.1:7443"]),
            (
                &["mesh.example:7443"],
                &["mesh.example:7443", "192.0.2.1:7443"],
            ),
            (&["192.0.2.1:7443"], &["192.0.2.1:7443"]),
            (&["no address", "a:0", "x\u{1b}[2J:1"], &["192.0.2.1:7443"]),
        ];
        for (told, expected) in rows {
            assert_eq!(told_addresses(texts(told), &known), texts(expected));
        }
        let many = (0..99).map(|n| format!("192.0.2.1:{}", 1000 + n)).collect();
        assert_eq!(told_addresses(many, &known).len(), MAX_ADDRESSES);
    }

    #[test]
    fn pauses_grow_to_what_the_reason_allows() {
        let mut pauses = Pauses::default();
        let grown: Vec<u128> = (0..12)
            .map(|_| pauses.next(LONGEST_PAUSE_REFUSED).as_millis())
            .collect();
        assert_eq!(grown[..4], [200, 400, 800, 1600]);
        assert_eq!(grown[11], 120_000);
        assert_eq!(pauses.next(LONGEST_PAUSE), LONGEST_PAUSE);
    }
}
