//! The agents' service: one stream each, and the next certificate.

use std::sync::Arc;
use std::time::Duration;

use localize::{NameServer, Observation, RoundId, ServiceName, Trace, VantageName, WitnessReport};
use prost::Message as _;
use proto::convert::Malformed;
use proto::v1::agent_message::Message;
use proto::v1::agent_service_server::AgentService;
use proto::v1::{
    Ack, AgentMessage, ClockReply, CoordinatorMessage, RenewRequest, RenewResponse,
    coordinator_message,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::intake::{self, Allowances, Intake};
use super::view;
use crate::ca::Authority;
use crate::clock;
use crate::engine::{
    ClockEstimate, Delivery, Event, Fatal, Handle, Link, OUTGOING, Opened, Opening, Said,
    SessionId, Unasked,
};
use crate::store::{Store, StoreError, Write};

/// The first message follows the call at once.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// Facts of one agent that wait for the disk: two batches. When they are full the stream is not read,
/// and the agent's spool keeps the rest.
const WAITING: usize = 1024;
/// Facts in one commit.
const BATCH: usize = 512;
/// Pause before a full disk is tried again.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(1);

/// The agents' service.
pub struct AgentsService {
    engine: Handle,
    store: Store,
    authority: Arc<Authority>,
    fatal: Fatal,
    allowances: Allowances,
}

impl AgentsService {
    /// Forwards to engine and store.
    #[must_use]
    pub fn new(engine: Handle, store: Store, authority: Arc<Authority>, fatal: Fatal) -> Self {
        Self {
            engine,
            store,
            authority,
            fatal,
            allowances: Allowances::default(),
        }
    }
}

#[tonic::async_trait]
impl AgentService for AgentsService {
    type SessionStream = ReceiverStream<Result<CoordinatorMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (name, peer) = super::agent(&request)?;
        let mut incoming = request.into_inner();
        let first = tokio::time::timeout(HELLO_LIMIT, incoming.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no Hello within 10 s"))??;
        let Some(Message::Hello(hello)) = first.and_then(|m| m.message) else {
            return Err(Status::invalid_argument(
                "the first message of a session is Hello",
            ));
        };
        let host = view::host(hello.host.unwrap_or_default())?;
        let (outgoing, stream) = mpsc::channel(OUTGOING);
        let end = CancellationToken::new();
        let link = Link {
            outgoing: outgoing.clone(),
            end: end.clone(),
        };
        let opening = Opening {
            peer,
            name,
            version: view::shortened(hello.agent_version),
            host,
            link,
        };
        let connect = self.engine.ask(|reply| Event::Connect(opening, reply));
        let Opened { id, name, former } = connect.await?;
        let (facts, waiting) = mpsc::channel(WAITING);
        let recorder = Recorder {
            name: name.clone(),
            engine: self.engine.clone(),
            store: self.store.clone(),
            fatal: self.fatal.clone(),
            outgoing: outgoing.clone(),
            end: end.clone(),
        };
        let reader = Reader {
            id,
            name,
            former,
            engine: self.engine.clone(),
            store: self.store.clone(),
            allowances: self.allowances.clone(),
            room: Arc::new(Semaphore::new(intake::IN_HAND)),
            facts,
            outgoing,
        };
        // It ends when the reader has, and what was read is on disk.
        tokio::spawn(recorder.run(waiting));
        tokio::spawn(reader.run(incoming, end));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewResponse>, Status> {
        let (name, peer) = super::agent(&request)?;
        let csr_pem = view::signing_request(request.into_inner().csr_pem)?;
        let renew = self.engine.ask(|reply| Event::Renew {
            peer,
            name,
            csr_pem,
            reply,
        });
        let issued = renew.await?;
        Ok(Response::new(RenewResponse {
            certificate_pem: issued.pem,
            ca_pem: self.authority.pem().to_owned(),
        }))
    }
}

/// A fact on its way to the disk.
enum Fact {
    Observation(Observation),
    /// One of a check, which is not kept.
    Checked(Observation),
    Report(WitnessReport),
    Trace(Trace),
    /// One that is not kept at all.
    Unkept(u64),
}

/// A fact with the room that it takes until the engine has it.
struct Waiting {
    fact: Fact,
    room: OwnedSemaphorePermit,
}

/// Reads what an agent sends.
struct Reader {
    id: SessionId,
    name: VantageName,
    former: Vec<VantageName>,
    engine: Handle,
    store: Store,
    allowances: Allowances,
    /// Bytes of facts that may still be read.
    room: Arc<Semaphore>,
    facts: mpsc::Sender<Waiting>,
    outgoing: mpsc::Sender<Result<CoordinatorMessage, Status>>,
}

impl Reader {
    async fn run(self, mut incoming: Streaming<AgentMessage>, end: CancellationToken) {
        let ended = tokio::select! {
            () = end.cancelled() => Ok(()),
            () = self.outgoing.closed() => Ok(()),
            ended = self.read(&mut incoming) => ended,
        };
        if let Err(status) = ended {
            tracing::warn!(agent = %self.name, %status, "session ended");
            // The agent learns why, unless it is gone or does not read.
            let _ = self.outgoing.try_send(Err(status));
        }
        end.cancel();
        // Nobody is there to tell when the engine has stopped.
        let _ = self.engine.tell(Event::Gone(self.id)).await;
    }

    async fn read(&self, incoming: &mut Streaming<AgentMessage>) -> Result<(), Status> {
        while let Some(message) = incoming.message().await? {
            let received_us = clock::now_us();
            // A message of a later version has nothing for this one.
            if let Some(message) = message.message {
                self.take(message, received_us).await?;
            }
        }
        Ok(())
    }

    async fn take(&self, message: Message, received_us: u64) -> Result<(), Status> {
        match message {
            Message::Hello(_) => Err(Status::invalid_argument("a second Hello")),
            Message::Clock(request) => {
                let reply = ClockReply {
                    t1_us: request.t1_us,
                    t2_us: received_us,
                    t3_us: clock::now_us(),
                };
                send(&self.outgoing, coordinator_message::Message::Clock(reply)).await
            }
            Message::Observation(wire) => {
                let sequence = wire.sequence;
                let bytes = intake::observation_bytes(&wire)
                    .ok_or_else(|| Status::invalid_argument("an observation of over 64 KiB"))?;
                let room = self.room_for(bytes).await?;
                let fact = match Observation::try_from(wire) {
                    Ok(observation) => self.observation(observation, received_us)?,
                    Err(error) => self.malformed(sequence, &error, received_us),
                };
                self.record(fact, room).await
            }
            Message::Report(wire) => {
                let (sequence, bytes) = (wire.sequence, wire.encoded_len());
                let room = self.room_for(bytes).await?;
                let fact = match WitnessReport::try_from(wire) {
                    Ok(report) => self.report(report, bytes, received_us)?,
                    Err(error) => self.malformed(sequence, &error, received_us),
                };
                self.record(fact, room).await
            }
            Message::Trace(wire) => {
                let (sequence, bytes) = (wire.sequence, wire.encoded_len());
                let room = self.room_for(bytes).await?;
                let fact = match Trace::try_from(wire) {
                    Ok(trace) => self.trace(trace, bytes, received_us)?,
                    Err(error) => self.malformed(sequence, &error, received_us),
                };
                self.record(fact, room).await
            }
            Message::RoundAnswer(answer) if answer.refused.is_empty() => Ok(()),
            Message::RoundAnswer(answer) => {
                self.say(Said::Refused {
                    round: RoundId(answer.round),
                    why: view::shortened(answer.refused),
                })
                .await
            }
            Message::Discovery(found) => {
                let zone = view::zone(&found);
                let name_servers: Vec<NameServer> = view::name_servers(found.name_servers)?;
                self.say(Said::Found {
                    service: ServiceName(found.service),
                    name_servers,
                    zone,
                })
                .await
            }
            Message::ClockState(state) => {
                self.say(Said::Clock(ClockEstimate {
                    offset_us: state.offset_us,
                    uncertainty_us: state.uncertainty_us,
                }))
                .await
            }
            Message::HostState(host) => self.say(Said::Host(view::host(host)?)).await,
        }
    }

    /// A record that makes no sense counts nowhere, and is known to have come: its agent would send it again for
    /// ever, and nothing that it has behind it would arrive.
    fn malformed(&self, sequence: u64, error: &Malformed, now_us: u64) -> Option<Fact> {
        tracing::debug!(agent = %self.name, sequence, %error, "a malformed record is dropped");
        self.engine.drop_unasked(&self.name, Unasked::Malformed);
        intake::is_reachable(sequence, now_us).then_some(Fact::Unkept(sequence))
    }

    fn observation(
        &self,
        mut observation: Observation,
        now_us: u64,
    ) -> Result<Option<Fact>, Status> {
        observation.id.vantage = self.own(observation.id.vantage)?;
        if self.engine.checks(&observation.service) {
            let reachable = intake::is_reachable(observation.id.sequence, now_us);
            return Ok(reachable.then_some(Fact::Checked(observation)));
        }
        let sequence = observation.id.sequence;
        if !self.engine.knows(&observation.service) {
            tracing::debug!(agent = %self.name, service = %observation.service, "observation of an unknown service dropped");
            return Ok(None);
        }
        Ok(
            match intake::of_observation(&self.engine, &self.store, &observation, now_us) {
                Intake::Kept => Some(Fact::Observation(observation)),
                Intake::Unasked(why) => {
                    self.engine.drop_unasked(&self.name, why);
                    tracing::debug!(agent = %self.name, sequence, round = observation.round.0, arm = observation.arm.label(), why = why.word(), "observation dropped that was not asked for");
                    Some(Fact::Unkept(sequence))
                }
                Intake::Refused => {
                    tracing::warn!(agent = %self.name, sequence, "a record is numbered beyond all time and is refused");
                    None
                }
            },
        )
    }

    fn report(
        &self,
        mut report: WitnessReport,
        bytes: usize,
        now_us: u64,
    ) -> Result<Option<Fact>, Status> {
        report.witness = self.own(report.witness)?;
        let sequence = report.sequence;
        if !intake::is_reachable(sequence, now_us) {
            tracing::warn!(agent = %self.name, sequence, "a record is numbered beyond all time and is refused");
            return Ok(None);
        }
        if !self.allowances.take(&self.name, bytes, now_us) {
            tracing::debug!(agent = %self.name, sequence, "a report beyond the hour's allowance is dropped");
            return Ok(Some(Fact::Unkept(sequence)));
        }
        intake::lighten(&mut report);
        Ok(Some(Fact::Report(report)))
    }

    /// A trace is shown beside a probe that was asked for, and nowhere else: one that nobody has asked for is kept
    /// for its hour, and seen by nobody.
    fn trace(&self, mut trace: Trace, bytes: usize, now_us: u64) -> Result<Option<Fact>, Status> {
        trace.vantage = self.own(trace.vantage)?;
        let sequence = trace.sequence;
        if !intake::is_reachable(sequence, now_us) {
            tracing::warn!(agent = %self.name, sequence, "a record is numbered beyond all time and is refused");
            return Ok(None);
        }
        // A check's name is no service's: what is traced of a file that is only tried is for nobody.
        let known = self.engine.knows(&trace.service);
        if !known || !self.allowances.take(&self.name, bytes, now_us) {
            tracing::debug!(agent = %self.name, sequence, "a trace is dropped");
            return Ok(Some(Fact::Unkept(sequence)));
        }
        Ok(Some(Fact::Trace(trace)))
    }

    /// Waits until there is room for another fact of so many bytes.
    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Status> {
        let bytes = u32::try_from(bytes.min(intake::IN_HAND)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
        room.map_err(|_| Status::unavailable("the session ends"))
    }

    /// The name in a message must be the certificate's, or one that the agent had before.
    fn own(&self, vantage: VantageName) -> Result<VantageName, Status> {
        if vantage == self.name || self.former.contains(&vantage) {
            return Ok(self.name.clone());
        }
        Err(Status::invalid_argument(format!(
            "agent {} sent a fact of {vantage}",
            self.name
        )))
    }

    async fn say(&self, said: Said) -> Result<(), Status> {
        Ok(self.engine.tell(Event::Heard(self.id, said)).await?)
    }

    async fn record(&self, fact: Option<Fact>, room: OwnedSemaphorePermit) -> Result<(), Status> {
        let Some(fact) = fact else {
            return Ok(());
        };
        self.facts
            .send(Waiting { fact, room })
            .await
            .map_err(|_| Status::unavailable("the store does not take facts"))
    }
}

/// Brings an agent's facts to the disk in their order, and acknowledges them.
struct Recorder {
    name: VantageName,
    engine: Handle,
    store: Store,
    fatal: Fatal,
    outgoing: mpsc::Sender<Result<CoordinatorMessage, Status>>,
    end: CancellationToken,
}

impl Recorder {
    async fn run(self, mut waiting: mpsc::Receiver<Waiting>) {
        let mut batch = Vec::with_capacity(BATCH);
        while waiting.recv_many(&mut batch, BATCH).await > 0 {
            if self.store_batch(&batch).await.is_err() {
                return;
            }
            let mut facts = Delivery::default();
            let mut held = Vec::with_capacity(batch.len());
            for Waiting { fact, room } in batch.drain(..) {
                held.push(room);
                match fact {
                    Fact::Observation(observation) | Fact::Checked(observation) => {
                        facts.observations.push(observation);
                    }
                    Fact::Report(report) => facts.reports.push(report),
                    Fact::Trace(trace) => facts.traces.push(trace),
                    Fact::Unkept(_) => {}
                }
            }
            let recorded = Event::Recorded {
                vantage: self.name.clone(),
                facts,
                held,
            };
            let ack = coordinator_message::Message::Ack(Ack {
                durable_through: self.store.durable_through(&self.name).unwrap_or(0),
            });
            if self.engine.tell(recorded).await.is_err() {
                return;
            }
            tokio::select! {
                // What is in the queue goes to the disk all the same; the next welcome tells of it.
                () = self.end.cancelled() => {}
                _ = send(&self.outgoing, ack) => {}
            }
        }
    }

    /// Stores a batch. While the disk is full it is tried again and again, and nothing is
    /// acknowledged.
    async fn store_batch(&self, batch: &[Waiting]) -> Result<(), StoreError> {
        loop {
            let writes = batch.iter().map(|waiting| match &waiting.fact {
                Fact::Observation(observation) => Write::Observation(observation.clone()),
                Fact::Checked(observation) => Write::Unkept {
                    vantage: observation.vantage().clone(),
                    sequence: observation.id.sequence,
                },
                Fact::Report(report) => Write::Report(report.clone()),
                Fact::Trace(trace) => Write::Trace(trace.clone()),
                Fact::Unkept(sequence) => Write::Unkept {
                    vantage: self.name.clone(),
                    sequence: *sequence,
                },
            });
            match self.store.commit(writes.collect()).await {
                Ok(()) => return Ok(()),
                Err(error @ StoreError::DiskFull { .. }) => {
                    tracing::error!(agent = %self.name, %error, "facts wait in the agents' spools");
                    tokio::select! {
                        () = self.end.cancelled() => return Err(error),
                        () = tokio::time::sleep(FULL_DISK_PAUSE) => {}
                    }
                }
                Err(error) => {
                    tracing::error!(agent = %self.name, %error, "facts cannot be stored");
                    self.fatal.judge(&error);
                    return Err(error);
                }
            }
        }
    }
}

async fn send(
    outgoing: &mpsc::Sender<Result<CoordinatorMessage, Status>>,
    message: coordinator_message::Message,
) -> Result<(), Status> {
    let message = CoordinatorMessage {
        message: Some(message),
    };
    let sent = outgoing.send(Ok(message)).await;
    sent.map_err(|_| Status::cancelled("the agent is gone"))
}
