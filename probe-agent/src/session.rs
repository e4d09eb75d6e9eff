//! The one stream to the coordinator, and its renewal whenever it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use proto::v1::agent_message::Message as Up;
use proto::v1::agent_service_client::AgentServiceClient;
use proto::v1::coordinator_message::Message as Down;
use proto::v1::{self, goodbye::Reason};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use crate::clock::{Clock, Estimator, Exchange, Local};
use crate::discover;
use crate::host::{Given, Host};
use crate::identity::{Identity, IdentityError, new_key};
use crate::link::{self, LinkError, Presented};
use crate::outbox::Outbox;
use crate::policy::Context;
use crate::round::Rounds;
use crate::service::Service;

/// Pauses between attempts to reach the coordinator: doubled each time, with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Messages that wait for the stream. When it is full the spool keeps the rest.
const OUTGOING: usize = 256;
/// Records taken from the spool at once.
const FROM_SPOOL: usize = 128;
/// Clock exchanges at the start of a session, their pace, and the pace later on.
const BURST: u32 = 8;
const BURST_PACE: Duration = Duration::from_millis(50);
const CLOCK_PACE: Duration = Duration::from_secs(2);
/// How often the host's addresses, resolvers and the certificate's age are looked at, at most; a
/// certificate with a short life is looked at sixteen times in it.
const HOST_PACE: Duration = Duration::from_secs(10);
const LOOKS_IN_A_LIFE: i64 = 16;
/// Services that one agent knows; a coordinator with more sends the rest in vain.
const MAX_SERVICES: usize = 256;
/// A search for name servers is given up after this.
const DISCOVER_LIMIT: Duration = Duration::from_secs(30);

/// What ends an agent for good.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The coordinator does not accept it any more.
    #[error("the coordinator does not accept this agent any more: {0}")]
    Refused(String),
    /// The certificate ended while there was no connection to renew it over.
    #[error(
        "this agent's certificate ended while it could not be renewed; to let it in again: `meshctl \
         agent token --name NAME`, and start with --join TOKEN"
    )]
    Expired,
    /// Another process uses the same identity.
    #[error("another agent with this identity has connected; this one ends")]
    Replaced,
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
    #[error(transparent)]
    Ended(#[from] Ended),
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
    /// `Ok` while the witness watches, else why not; `None` where none was wanted.
    pub witness: watch::Receiver<Option<Result<(), String>>>,
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
        let mut pause = FIRST_PAUSE;
        let mut turn = 0;
        loop {
            let address = self.identity.addresses[turn % self.identity.addresses.len()].clone();
            turn += 1;
            let began = self.clock.now();
            let ended = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                ended = self.session(&address, Arc::clone(&config), &presented) => ended,
            };
            match ended {
                Err(Interrupted::Ended(ended)) => return Err(ended),
                Err(Interrupted::Status(status)) if is_final(&status) => {
                    return Err(Ended::Refused(status.message().to_owned()));
                }
                Err(error) => tracing::warn!(%address, %error, "no session"),
                Ok(()) => {}
            }
            // A coordinator refuses an ended certificate in the handshake, without a word.
            if self.identity.validity()?.1 <= self.now_seconds() {
                return Err(Ended::Expired);
            }
            if self.clock.now().since(began).0 > 30_000_000 {
                pause = FIRST_PAUSE;
            }
            let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(jittered) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn session(
        &mut self,
        address: &str,
        config: Arc<rustls::ClientConfig>,
        presented: &Presented,
    ) -> Result<(), Interrupted> {
        let (channel, peer) = link::dial(address, Arc::clone(&config)).await?;
        let mut client = AgentServiceClient::new(channel);
        let (outgoing, stream) = mpsc::channel(OUTGOING);
        let host = Host::look(&self.given);
        let hello = v1::Hello {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            host: Some(self.host_state(&host)),
        };
        // The coordinator answers the call only after Hello.
        send(&outgoing, Up::Hello(hello)).await?;
        let incoming = client
            .session(ReceiverStream::new(stream))
            .await?
            .into_inner();
        tracing::info!(%address, "session open");
        let mut session = Session {
            agent: self,
            address,
            config,
            peer,
            outgoing,
            host,
            services: BTreeMap::new(),
            estimator: Estimator::default(),
            sender: None,
        };
        session.serve(incoming, presented).await
    }

    fn now_seconds(&self) -> i64 {
        i64::try_from(self.clock.now().0 / 1_000_000).unwrap_or(i64::MAX)
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

/// Whether the coordinator will never accept this certificate again.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::PermissionDenied | Code::Unauthenticated
    )
}

async fn send(outgoing: &mpsc::Sender<v1::AgentMessage>, message: Up) -> Result<(), Interrupted> {
    let message = v1::AgentMessage {
        message: Some(message),
    };
    outgoing
        .send(message)
        .await
        .map_err(|_| Interrupted::Closed)
}

/// One open stream.
struct Session<'a> {
    agent: &'a mut Agent,
    address: &'a str,
    config: Arc<rustls::ClientConfig>,
    peer: SocketAddr,
    outgoing: mpsc::Sender<v1::AgentMessage>,
    host: Host,
    services: BTreeMap<String, Arc<Service>>,
    estimator: Estimator,
    sender: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Session<'_> {
    /// The sender holds the outbox, which must end with the agent.
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.abort();
        }
    }
}

impl Session<'_> {
    async fn serve(
        &mut self,
        mut incoming: Streaming<v1::CoordinatorMessage>,
        presented: &Presented,
    ) -> Result<(), Interrupted> {
        let mut exchanges = 0;
        let mut clock = tokio::time::interval(BURST_PACE);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut look = tokio::time::interval(self.pace_of_looks()?);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                message = incoming.message() => match message? {
                    Some(message) => self.hear(message).await?,
                    None => return Err(Interrupted::Closed),
                },
                _ = clock.tick() => {
                    exchanges += 1;
                    if exchanges == BURST {
                        clock = tokio::time::interval_at(
                            tokio::time::Instant::now() + CLOCK_PACE,
                            CLOCK_PACE,
                        );
                    }
                    let t1_us = self.agent.clock.now().0;
                    send(&self.outgoing, Up::Clock(v1::ClockRequest { t1_us })).await?;
                }
                _ = look.tick() => {
                    self.look_at_host().await?;
                    self.renew_if_due(presented).await?;
                }
            }
        }
    }

    fn pace_of_looks(&self) -> Result<Duration, Interrupted> {
        let (begins, ends) = self.agent.identity.validity().map_err(Ended::from)?;
        let seconds = u64::try_from((ends - begins) / LOOKS_IN_A_LIFE)
            .unwrap_or(0)
            .max(1);
        Ok(HOST_PACE.min(Duration::from_secs(seconds)))
    }

    async fn hear(&mut self, message: v1::CoordinatorMessage) -> Result<(), Interrupted> {
        let heard = self.agent.clock.now();
        match message.message {
            Some(Down::Welcome(welcome)) => self.welcome(&welcome).await,
            Some(Down::Clock(reply)) => return self.clock(&reply, heard).await,
            Some(Down::Service(spec)) => self.learn(spec),
            Some(Down::ServiceGone(gone)) => {
                self.services.remove(&gone.name);
                self.watch_ports();
            }
            Some(Down::Round(round)) => {
                let context = self.context();
                let service = self.services.get(&round.service);
                let answer = self.agent.rounds.announce(service, Some(&context), round);
                return send(&self.outgoing, Up::RoundAnswer(answer)).await;
            }
            Some(Down::Ack(ack)) => self.agent.outbox.acknowledge(ack.durable_through).await,
            Some(Down::Discover(wanted)) => self.discover(wanted),
            Some(Down::Goodbye(goodbye)) => return Err(leave(goodbye.reason())),
            // A message of a later version has nothing for this one.
            None => {}
        }
        Ok(())
    }

    /// Forgets what the coordinator has, and sends the rest of the spool from there on.
    async fn welcome(&mut self, welcome: &v1::Welcome) {
        tracing::info!(
            name = welcome.name,
            coordinator = welcome.coordinator_version,
            durable_through = welcome.durable_through,
            "welcome"
        );
        self.agent.outbox.acknowledge(welcome.durable_through).await;
        let outbox = self.agent.outbox.clone();
        let outgoing = self.outgoing.clone();
        let after = welcome.durable_through;
        if let Some(old) = self
            .sender
            .replace(tokio::spawn(drain(outbox, outgoing, after)))
        {
            old.abort();
        }
    }

    async fn clock(&mut self, reply: &v1::ClockReply, heard: Local) -> Result<(), Interrupted> {
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
        send(&self.outgoing, Up::ClockState(state)).await
    }

    fn learn(&mut self, spec: v1::ServiceSpec) {
        if self.services.len() >= MAX_SERVICES && !self.services.contains_key(&spec.name) {
            tracing::warn!(service = spec.name, "more than {MAX_SERVICES} services");
            return;
        }
        let name = spec.name.clone();
        match Service::try_from(spec) {
            Ok(service) => {
                self.services.insert(name, Arc::new(service));
                self.watch_ports();
            }
            Err(error) => tracing::warn!(service = name, %error, "a service cannot be probed"),
        }
    }

    fn watch_ports(&self) {
        let ports: BTreeSet<u16> = self
            .services
            .values()
            .flat_map(|s| s.witness_ports.iter().copied())
            .collect();
        self.agent
            .witness_ports
            .send_if_modified(|old| (*old != ports).then(|| *old = ports).is_some());
    }

    fn context(&self) -> Context {
        Context {
            coordinator: self.peer.ip(),
            role: self.agent.identity.role,
            resolvers: self
                .host
                .resolvers
                .iter()
                .map(SocketAddr::ip)
                .collect::<Vec<IpAddr>>(),
        }
    }

    fn discover(&self, wanted: v1::Discover) {
        let resolvers = self.host.resolvers.clone();
        let outgoing = self.outgoing.clone();
        tokio::spawn(async move {
            let search = discover::name_servers(&wanted.host, &resolvers);
            let found = tokio::time::timeout(DISCOVER_LIMIT, search)
                .await
                .unwrap_or_default();
            let name_servers = found
                .into_iter()
                .map(|server| v1::discovery::FoundNameServer {
                    name: server.name,
                    addresses: server.addresses.iter().map(ToString::to_string).collect(),
                })
                .collect();
            let discovery = v1::Discovery {
                service: wanted.service,
                name_servers,
            };
            // The session may have ended meanwhile; the coordinator asks again.
            let _ = send(&outgoing, Up::Discovery(discovery)).await;
        });
    }

    async fn look_at_host(&mut self) -> Result<(), Interrupted> {
        self.host = Host::look(&self.agent.given);
        let state = self.agent.host_state(&self.host);
        send(&self.outgoing, Up::HostState(state)).await
    }

    /// Asks for the next certificate once half of this one's life is over. The stream goes on; the
    /// next connection shows the new one.
    async fn renew_if_due(&mut self, presented: &Presented) -> Result<(), Interrupted> {
        let (begins, ends) = self.agent.identity.validity().map_err(Ended::from)?;
        if self.agent.now_seconds() < begins + (ends - begins) / 2 {
            return Ok(());
        }
        let (key_pem, csr_pem) = new_key().map_err(Ended::from)?;
        let renewed = match self.ask_for_renewal(csr_pem).await {
            Ok(renewed) => renewed,
            Err(error) => {
                tracing::warn!(%error, "the certificate was not renewed; tried again soon");
                return Ok(());
            }
        };
        presented.renew(&renewed.certificate_pem, &key_pem)?;
        self.agent.identity.certificate_pem = renewed.certificate_pem;
        self.agent.identity.ca_pem = renewed.ca_pem;
        self.agent.identity.key_pem = key_pem;
        self.agent
            .identity
            .save(&self.agent.data_dir)
            .map_err(Ended::from)?;
        tracing::info!("certificate renewed");
        Ok(())
    }

    /// Over a connection of its own, which shows the newest certificate: that of the stream's
    /// connection may have ended.
    async fn ask_for_renewal(&self, csr_pem: String) -> Result<v1::RenewResponse, Interrupted> {
        let (channel, _) = link::dial(self.address, Arc::clone(&self.config)).await?;
        let mut client = AgentServiceClient::new(channel);
        Ok(client
            .renew(v1::RenewRequest { csr_pem })
            .await?
            .into_inner())
    }
}

/// Sends the spool's records above a sequence, in order, for as long as the session lasts.
async fn drain(outbox: Outbox, outgoing: mpsc::Sender<v1::AgentMessage>, after: u64) {
    let mut state = outbox.state();
    let mut sent = after;
    loop {
        let records = match outbox.pending(sent, FROM_SPOOL).await {
            Ok(records) => records,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read");
                return;
            }
        };
        if records.is_empty() && state.changed().await.is_err() {
            return;
        }
        for (sequence, record) in records {
            sent = sequence;
            match v1::AgentMessage::decode(record.as_slice()) {
                Ok(message) => {
                    if outgoing.send(message).await.is_err() {
                        return;
                    }
                }
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
        Reason::Replaced => Ended::Replaced.into(),
        Reason::ShuttingDown => Interrupted::Goodbye("it is shutting down"),
        Reason::CertificateExpired => Interrupted::Goodbye("the certificate has expired"),
        Reason::Unspecified => Interrupted::Goodbye("no reason given"),
    }
}
