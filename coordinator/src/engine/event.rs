//! What the engine is told and asked, and what it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use localize::declared::Declared;
use localize::topology::Zone;
use localize::watch::{Alarm, Over, Watch};
use localize::{
    Arm, NameServer, Observation, Role, RoundId, ServiceName, Topology, Trace, VantageName,
    Verdict, WitnessReport,
};
use proto::token::JoinToken;
use proto::v1;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::operators::{AgentView, Applied, Rehearsed, ServiceView, Status};
use super::tally::Tally;
use crate::ca::{CaError, Issued};
use crate::config::Lifetimes;
use crate::enrolment::{Invitation, InviteError, JoinError, Unaccepted};
use crate::plan::Twins;
use crate::service_file::{Extra, ServiceFile, ServiceFileError};
use crate::store::{Act, AgentRecord, RaisedRecord, RoundRecord, StoreError};
use crate::tls::PeerCertificate;

/// Why the engine does not do what it was asked.
#[derive(Debug, Error)]
pub enum Refusal {
    /// No service of that name.
    #[error(
        "there is no service {0}; `meshctl service list` shows what there is, `meshctl service apply -f FILE` makes one"
    )]
    UnknownService(ServiceName),
    /// No agent of that name.
    #[error("there is no agent {0}; `meshctl agent list` shows what there is")]
    UnknownAgent(VantageName),
    /// Nobody is there to fire probes.
    #[error(
        "no agent is connected, so nothing can be probed; `meshctl agent token --name NAME --role outside` makes a token to install one with"
    )]
    NoAgent,
    /// Agents are there, but none of them can reach anything of the service.
    #[error(
        "no connected agent has anything to probe of {0}; an agent of role outside (`meshctl agent token --name NAME --role outside`) probes its public path"
    )]
    NothingToProbe(ServiceName),
    /// The invitation is not usable.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// The token does not let in.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The certificate is not accepted.
    #[error(transparent)]
    Unaccepted(#[from] Unaccepted),
    /// The certificate cannot be made.
    #[error(transparent)]
    Certificate(#[from] CaError),
    /// The service file is not usable.
    #[error("{0}")]
    ServiceFile(#[from] ServiceFileError),
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Each localisation judges twice a second.
    #[error("eight localisations are running; wait for one to end")]
    TooManyRuns,
    /// Nothing was judged before the budget ended.
    #[error(
        "the coordinator had no time to judge anything within {0:?}: it has too much to do; give a longer --budget"
    )]
    NoTime(Duration),
    /// Each check has every agent fire every arm.
    #[error("four service files are being checked; wait for one to end")]
    TooManyChecks,
    /// Every former name is kept, since certificates carry it.
    #[error("agent {0} has had 16 other names already; delete it and invite it anew instead")]
    TooManyNames(VantageName),
    /// Too much waits for the store.
    #[error("the coordinator is busy: too many changes wait for the disk; try again")]
    Busy,
    /// The coordinator is going down.
    #[error("the coordinator is shutting down")]
    Stopping,
}

/// Where an answer goes.
#[derive(Debug)]
pub struct Reply<T> {
    pub(super) answer: oneshot::Sender<Result<T, Refusal>>,
    /// The act of an operator that asks, which is written down in the batch of what it changes.
    pub(super) act: Option<Act>,
}

impl<T> Reply<T> {
    /// Answers; nobody may be waiting any more.
    pub(super) fn send(self, answer: Result<T, Refusal>) {
        let _ = self.answer.send(answer);
    }

    /// Whether nobody waits for it any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }
}

/// Names one session of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub(super) u64);

/// The engine's end of a session.
#[derive(Clone, Debug)]
pub struct Link {
    /// Messages to the agent, at most [`super::OUTGOING`].
    pub outgoing: mpsc::Sender<Result<v1::CoordinatorMessage, tonic::Status>>,
    /// Ends the session's tasks.
    pub end: CancellationToken,
}

/// An agent that opens a session.
#[derive(Debug)]
pub struct Opening {
    /// Its certificate.
    pub peer: PeerCertificate,
    /// Its name.
    pub name: VantageName,
    /// Its version.
    pub version: String,
    /// Its host.
    pub host: Host,
    /// The way to it.
    pub link: Link,
}

/// A session that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Names it.
    pub id: SessionId,
    /// The agent's name, which its certificate may not carry yet.
    pub name: VantageName,
    /// Names that it had before, which its facts may still carry.
    pub former: Vec<VantageName>,
}

/// What an agent says about its host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Its own unicast addresses.
    pub addresses: Vec<IpAddr>,
    /// The resolvers that it uses.
    pub resolvers: Vec<SocketAddr>,
    /// It is a working witness.
    pub witness: bool,
    /// Why not, where one was wanted.
    pub witness_trouble: String,
    /// Bytes in its spool.
    pub spool_bytes: u64,
    /// Observations that its spool has dropped.
    pub spool_dropped: u64,
}

/// An agent's estimate of its clock against mesh time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockEstimate {
    /// Mesh time minus its clock, in microseconds.
    pub offset_us: i64,
    /// Half width of the interval, in microseconds.
    pub uncertainty_us: u64,
}

/// What an agent says besides facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It fires nothing of a round.
    Refused {
        /// The round.
        round: RoundId,
        /// Why, in its words.
        why: String,
    },
    /// It has found name servers of a service.
    Found {
        /// The service.
        service: ServiceName,
        /// Its name servers.
        name_servers: Vec<NameServer>,
        /// The zone that they serve; without a name where it was not found.
        zone: Zone,
    },
    /// Its clock.
    Clock(ClockEstimate),
    /// Its host has changed.
    Host(Host),
}

/// What happens, for those who watch.
#[derive(Clone, Debug)]
pub struct Happening {
    /// When, in microseconds of mesh time.
    pub at_us: u64,
    /// What.
    pub what: What,
}

/// The kinds of happening.
#[derive(Clone, Debug)]
pub enum What {
    /// An agent came, went, was invited or revoked.
    Agent {
        /// Which.
        name: VantageName,
        /// Its state from now on.
        state: Presence,
    },
    /// A round has closed.
    Round(RoundRecord),
    /// A verdict was reached that somebody had asked for.
    Verdict(Arc<Verdict>),
    /// The watch over scheduled rounds raises a verdict.
    Raised(Arc<Verdict>, RaisedRecord),
    /// What the watch had raised stands no longer.
    Over(ServiceName, Over),
}

/// Whether an agent is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A token was made, and nobody has joined.
    Invited,
    /// It has a session.
    Connected,
    /// It may have one and has none.
    Disconnected,
    /// It may not have one.
    Revoked,
}

/// What came of asking for a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fired {
    /// It is announced.
    Round {
        /// Its number.
        id: RoundId,
        /// Which agent refused an earlier one and why, in words.
        refused: Option<String>,
    },
    /// So many rounds of the service are in flight that another would only wait.
    TooManyInFlight,
}

/// What a localisation is made from.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Rises whenever a round closes or a report comes.
    pub version: u64,
    /// Since when the path is known as it is, in microseconds of mesh time.
    pub path_since_us: u64,
    /// Since when the service is asked as it is, and answers are held against the same, likewise: earlier
    /// rounds are no evidence.
    pub asked_us: u64,
    /// Delivery path and vantage points.
    pub topology: Topology,
    /// What has come of the service file since it was applied.
    pub declared: Declared,
    /// The observations of the rounds before the first one that is still open.
    pub observations: Vec<Arc<Observation>>,
    /// The witnesses' reports.
    pub reports: Vec<Arc<WitnessReport>>,
    /// The ways to targets that did not answer.
    pub traces: Vec<Arc<Trace>>,
    /// The verdicts by which alarms stand.
    pub standing: Vec<String>,
}

/// A service whose rounds fail more than they did, to be judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarmed {
    /// The service.
    pub service: ServiceName,
    /// What its watch has seen.
    pub alarm: Alarm,
}

/// What came of judging an alarm.
#[derive(Debug)]
pub struct Judged {
    /// The verdict, with its id.
    pub verdict: Verdict,
    /// The JSON of its case.
    pub case_json: Vec<u8>,
}

/// A service as its schedule sees it.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// Delivery path and vantage points.
    pub topology: Topology,
    /// The interval of the schedule.
    pub every: Option<Duration>,
    /// Which arms its rounds fire once more in another way.
    pub twins: Twins,
    /// Whether agents trace ways for it.
    pub trace: Extra,
    /// The watch over its rounds.
    pub watch: Watch,
}

/// What is to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A service file, applied or not.
    File {
        /// Its text.
        toml: String,
        /// The text of its `tls.ca_file`.
        ca_pem: Option<String>,
    },
    /// The file of a service that is applied.
    Applied(ServiceName),
}

/// Where an agent stands, and whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its name.
    pub name: VantageName,
    /// Its role.
    pub role: Role,
    /// The backend that it runs on, or `lb`.
    pub host: Option<String>,
    /// Whether it is there.
    pub presence: Presence,
}

/// What came of checking a service file.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The file.
    pub file: ServiceFile,
    /// Its text.
    pub toml: String,
    /// Whether it is applied as it is.
    pub applied: bool,
    /// The path as it is known by the end, with the agents that took part.
    pub topology: Topology,
    /// Every agent that there is.
    pub seats: Vec<Seat>,
    /// The arms that were announced.
    pub announced: BTreeSet<(VantageName, Arm)>,
    /// What was seen.
    pub observations: Vec<Observation>,
    /// The agents that fired nothing of a round, and why.
    pub refused: BTreeMap<VantageName, String>,
    /// Rounds fired.
    pub rounds: u32,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// What of the configuration can change while the coordinator runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconfigured {
    /// Lifetimes of certificates.
    pub lifetimes: Lifetimes,
    /// What join tokens say about where the coordinator is.
    pub addresses: Vec<String>,
    /// What the operator says about it; empty when nothing.
    pub advertised: Vec<String>,
}

/// What agents send and the store keeps.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// Observations.
    pub observations: Vec<Observation>,
    /// Reports.
    pub reports: Vec<WitnessReport>,
    /// Traces.
    pub traces: Vec<Trace>,
}

/// What happens to the engine.
#[derive(Debug)]
pub enum Event {
    /// An agent opens a session; answered when the welcome is on its way.
    Connect(Opening, Reply<Opened>),
    /// A session has ended.
    Gone(SessionId),
    /// An agent says something.
    Heard(SessionId, Said),
    /// Facts are on disk, those of one agent in rising order.
    Recorded {
        /// The agent.
        vantage: VantageName,
        /// What it has sent.
        facts: Delivery,
        /// The room that they take of what may be under way, given back when they are counted.
        held: Vec<OwnedSemaphorePermit>,
    },
    /// Somebody wants to join.
    Join {
        /// The secret of the token.
        secret: [u8; 32],
        /// The signing request.
        csr_pem: String,
        /// The agent's version.
        version: String,
        /// Answered when it is on disk.
        reply: Reply<(AgentRecord, Issued)>,
    },
    /// An agent wants its next certificate.
    Renew {
        /// Its present one.
        peer: PeerCertificate,
        /// Its name.
        name: VantageName,
        /// The signing request.
        csr_pem: String,
        /// Answered when it is on disk.
        reply: Reply<Issued>,
    },
    /// The operator has changed the configuration.
    Reconfigured(Reconfigured),
    /// The whole in numbers.
    Status(Reply<Status>),
    /// What all probes came to since the start.
    Tally(Reply<Tally>),
    /// An operator invites an agent.
    Invite(Invitation, Reply<(JoinToken, u64)>),
    /// Every agent, by name.
    Agents(Reply<Vec<AgentView>>),
    /// One agent.
    Agent(VantageName, Reply<AgentView>),
    /// An operator revokes an agent.
    Revoke(VantageName, Reply<AgentView>),
    /// An operator wants a token for an agent that is known.
    Rejoin {
        /// The agent.
        name: VantageName,
        /// How long the token is to be valid.
        ttl: Duration,
        /// Whether it takes the place of one that is connected.
        replace: bool,
        /// Answered with the token and its end when it is on disk.
        reply: Reply<(JoinToken, u64)>,
    },
    /// An operator gives an agent another name.
    Rename {
        /// The name that it has.
        from: VantageName,
        /// The name that it gets.
        to: String,
        /// Answered when it is on disk.
        reply: Reply<AgentView>,
    },
    /// An operator deletes an agent with what was observed from it.
    DeleteAgent(VantageName, Reply<()>),
    /// A service file.
    Apply {
        /// Its text.
        toml: String,
        /// The text of its `tls.ca_file`.
        ca_pem: Option<String>,
        /// Answered when it is on disk.
        reply: Reply<Applied>,
    },
    /// What applying a service file would do.
    Rehearse {
        /// Its text.
        toml: String,
        /// The text of its `tls.ca_file`.
        ca_pem: Option<String>,
        /// Answered at once.
        reply: Reply<Rehearsed>,
    },
    /// A service file is to be checked; answered within some seconds.
    Check(Subject, Reply<Checked>),
    /// Every service, by name.
    Services(Reply<Vec<ServiceView>>),
    /// One service.
    Service(ServiceName, Reply<ServiceView>),
    /// An operator deletes a service.
    Delete(ServiceName, Reply<()>),
    /// A round is wanted at once.
    Fire(ServiceName, Reply<Fired>),
    /// A round of these arms alone is wanted at once.
    FireChosen(ServiceName, Vec<(VantageName, Arm)>, Reply<Fired>),
    /// A round of all bursts alone is wanted at once.
    FireBursts(ServiceName, Reply<Fired>),
    /// A localisation wants what is new.
    Gather {
        /// The service.
        service: ServiceName,
        /// From when on, in microseconds of mesh time.
        from_us: u64,
        /// The version that it has.
        have: Option<u64>,
        /// `None` when there is nothing new.
        reply: Reply<Option<Evidence>>,
    },
    /// Somebody asks what the scheduled rounds would show.
    Outlook(ServiceName, Reply<Outlook>),
    /// An alarm was judged; without a verdict when that failed.
    Judged(Alarmed, Option<Box<Judged>>),
    /// A localisation has found the alarms of these verdicts to be over; answered, when that is on disk,
    /// with the verdicts by which alarms stand all the same.
    Mended(ServiceName, Vec<String>, Reply<Vec<String>>),
    /// A localisation has ended with a verdict that is on disk.
    Concluded(Arc<Verdict>),
}

impl Event {
    /// What agents say, of which there is much and nobody waits for it. The end of a session is among it,
    /// since that comes after all that was said in it.
    pub(super) fn is_said(&self) -> bool {
        match self {
            Self::Gone(_) | Self::Heard(..) | Self::Recorded { .. } => true,
            Self::Connect(..)
            | Self::Join { .. }
            | Self::Renew { .. }
            | Self::Reconfigured(_)
            | Self::Status(_)
            | Self::Tally(_)
            | Self::Invite(..)
            | Self::Agents(_)
            | Self::Agent(..)
            | Self::Revoke(..)
            | Self::Rejoin { .. }
            | Self::Rename { .. }
            | Self::DeleteAgent(..)
            | Self::Apply { .. }
            | Self::Rehearse { .. }
            | Self::Check(..)
            | Self::Services(_)
            | Self::Service(..)
            | Self::Delete(..)
            | Self::Fire(..)
            | Self::FireChosen(..)
            | Self::FireBursts(..)
            | Self::Gather { .. }
            | Self::Outlook(..)
            | Self::Judged(..)
            | Self::Mended(..)
            | Self::Concluded(_) => false,
        }
    }
}
