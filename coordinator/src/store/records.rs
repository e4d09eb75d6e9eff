//! What is kept besides the facts of the heart.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use localize::watch::{Ending, Watch};
use localize::{
    Failure, Layer, Observation, Role, RoundId, ServiceName, Trace, VantageName, Verdict,
    WitnessReport,
};
use serde::{Deserialize, Serialize};

use super::acts::Act;
use crate::notify::{Incident, Silence};
use crate::plan::Learnt;
use crate::rights::OperatorRole;

/// SHA-256 of a join token's secret; the secret itself is never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretHash(pub [u8; 32]);

/// How far an agent has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// A token was made and not yet used.
    Invited,
    /// It holds a certificate.
    Enrolled,
    /// Its certificates are refused.
    Revoked,
}

/// A certificate that was issued to an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedCertificate {
    /// Serial number in hexadecimal.
    pub serial: String,
    /// notAfter, in microseconds since the Unix epoch.
    pub expires_us: u64,
}

/// A stretch of time of which the store knows nothing, since it was restored from a backup; in
/// microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Its beginning, shortly before the backup was taken.
    pub from_us: u64,
    /// When it was restored.
    pub until_us: u64,
}

impl Gap {
    /// Whether an instant lies in it.
    #[must_use]
    pub fn covers(self, at_us: u64) -> bool {
        (self.from_us..self.until_us).contains(&at_us)
    }
}

/// That the store was restored from a backup; in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// When the backup was taken.
    pub taken_us: u64,
    /// When it was restored.
    pub restored_us: u64,
    /// How often that has been done to this store.
    pub times: u64,
}

/// What is known of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// Its name, the same as its vantage point's.
    pub name: VantageName,
    /// Where it stands.
    pub role: Role,
    /// The backend that it runs on, or `lb`.
    pub host: Option<String>,
    /// The operator's own labels.
    pub labels: BTreeMap<String, String>,
    /// How far it has come.
    pub state: AgentState,
    /// The certificates issued to it, oldest first.
    pub certificates: Vec<IssuedCertificate>,
    /// Those that are refused for good, oldest first.
    #[serde(default)]
    pub revoked: Vec<IssuedCertificate>,
    /// Names that it had before; its certificates and its spool may still carry them.
    #[serde(default)]
    pub former: Vec<VantageName>,
    /// Certificates that were issued to it in these stretches count although none of the lists names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// The version that it told last; empty before it joined.
    pub version: String,
    /// When it was last connected, in microseconds of mesh time.
    pub last_seen_us: Option<u64>,
    /// Its host's addresses, as told last.
    pub addresses: Vec<IpAddr>,
    /// Its host's resolvers, as told last.
    pub resolvers: Vec<SocketAddr>,
    /// It is a working witness.
    pub witness: bool,
    /// Why it is not, where one was wanted; empty otherwise.
    pub witness_trouble: String,
}

/// Whether an operator may do anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorState {
    /// It may do what its role may.
    Active,
    /// Its certificates are refused.
    Revoked,
}

/// What is known of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorRecord {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: OperatorRole,
    /// Whether it may do anything.
    pub state: OperatorState,
    /// The certificates issued to it that count, oldest first, each up to the end that stands here.
    pub certificates: Vec<IssuedCertificate>,
    /// Those that are refused for good, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<IssuedCertificate>,
    /// Certificates that were issued to it in these stretches count although none of the lists names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// When it was made, in microseconds since the Unix epoch.
    pub created_us: u64,
    /// The operator who made it.
    pub created_by: String,
}

/// A join token, single use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Names the token.
    pub secret_sha256: SecretHash,
    /// The name that the agent will have.
    pub name: VantageName,
    /// Where it will stand.
    pub role: Role,
    /// The backend that it will run on, or `lb`.
    pub host: Option<String>,
    /// The operator's own labels.
    pub labels: BTreeMap<String, String>,
    /// From when on it is refused, in microseconds of mesh time.
    pub expires_us: u64,
    /// When it was used, in microseconds of mesh time.
    pub used_at_us: Option<u64>,
    /// What it was used for.
    #[serde(default)]
    pub used_for: Option<Use>,
    /// Whoever joins with it takes the place of an agent that is connected by the name.
    #[serde(default)]
    pub replace: bool,
}

/// What came of using a token: whoever holds the same key may ask for it again, since the answer may have
/// been lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER).
    pub key_sha256: [u8; 32],
    /// Serial number of the certificate, in hexadecimal.
    pub serial: String,
}

/// A service that is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Its name.
    pub name: ServiceName,
    /// The text of the service file.
    pub toml: String,
    /// The text of `tls.ca_file`.
    pub ca_pem: Option<String>,
    /// When it was applied last, in microseconds of mesh time.
    pub applied_us: u64,
    /// Rounds of an earlier instant were asked something else, or held against something else, in
    /// microseconds of mesh time.
    #[serde(default)]
    pub asked_us: u64,
    /// What was found out about its path.
    pub learnt: Learnt,
}

/// A closed round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundRecord {
    /// The service probed.
    pub service: ServiceName,
    /// The round.
    pub round: RoundId,
    /// Its announced instant, in microseconds of mesh time.
    pub fire_at_us: u64,
    /// Observations expected.
    pub expected: u32,
    /// Observations received.
    pub received: u32,
    /// Observations that failed.
    pub failed: u32,
    /// Largest difference between two firings, in microseconds.
    pub skew_us: u64,
    /// Largest uncertainty of a stamp among its observations, in microseconds.
    pub worst_uncertainty_us: u64,
}

/// The rounds of a service in a few numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundSummary {
    /// Rounds closed since the service was first applied.
    pub rounds: u64,
    /// The latest instant of one, in microseconds of mesh time; zero when there was none.
    pub last_fire_at_us: u64,
}

/// One layer of one arm from one vantage point over the asked stretch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryLine {
    /// From where.
    pub vantage: VantageName,
    /// The arm's label.
    pub arm: String,
    /// Which layer.
    pub layer: Layer,
    /// Probes that passed the layer.
    pub passed: u64,
    /// Probes that reached the layer and failed at it.
    pub failed: u64,
    /// Median time of those that passed, in microseconds; zero when none passed.
    pub p50_us: u64,
    /// 90th percentile, likewise.
    pub p90_us: u64,
    /// 99th percentile, likewise.
    pub p99_us: u64,
    /// The longest, likewise.
    pub max_us: u64,
    /// The commonest failure.
    pub failure: Option<Failure>,
}

/// What is known of a verdict that the watch over scheduled rounds has raised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RaisedRecord {
    /// When it began, as far as the rounds tell, in microseconds of mesh time.
    pub began_us: u64,
    /// When and why it ended; `None` while it stands.
    pub over: Option<(u64, Ending)>,
    /// False alarms a day that the watch over the service allows at most.
    pub false_alarms_a_day: f64,
}

/// Something that people are to be told, as it was decided: on disk together with the alarm's own state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// When it was decided, in microseconds of mesh time.
    pub at_us: u64,
    /// What.
    pub what: Noticed,
    /// Of which verdict.
    pub verdict: String,
}

/// What people are to be told of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Noticed {
    /// It is raised.
    Raised,
    /// What it has raised stands no longer.
    Over,
}

/// The place of a verdict in the order of storing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct VerdictPlace(pub u64);

/// One change. All the changes of one [`super::Store::commit`] are stored together or not at all.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every one is an observation, the largest"
)]
pub enum Write {
    /// A probe's observation: stored, counted in its latency windows, and its agent's watermark
    /// raised. One at or below the watermark is a repeat and changes nothing, so the records of one
    /// agent must be committed in rising order of sequence.
    Observation(Observation),
    /// A witness's report; the watermark as for observations, on the same sequence.
    Report(WitnessReport),
    /// The way to a target that did not answer; the watermark as for observations, on the same sequence.
    Trace(Trace),
    /// That a record of an agent has come which is not kept: its watermark is raised, as for observations.
    Unkept {
        /// The agent.
        vantage: VantageName,
        /// The record's sequence.
        sequence: u64,
    },
    /// A closed round. A repeat of the same round changes nothing.
    Round(RoundRecord),
    /// A verdict with the JSON of its case. The verdict's `id` must be set; the same id again
    /// replaces it.
    Verdict {
        /// The verdict.
        verdict: Verdict,
        /// The JSON of the [`localize::Case`], at most [`super::MAX_CASE_BYTES`].
        case_json: Vec<u8>,
    },
    /// That a verdict was raised by the watch.
    Raised {
        /// The verdict's id.
        verdict: String,
        /// What is known.
        raised: RaisedRecord,
    },
    /// That what a verdict has raised stands no longer; nothing when it was not raised.
    Over {
        /// The verdict's id.
        verdict: String,
        /// When, in microseconds of mesh time.
        at_us: u64,
        /// Why.
        ending: Ending,
    },
    /// The watch over a service, in place of what was stored of it.
    Watch {
        /// The service.
        service: ServiceName,
        /// Its watch.
        watch: Box<Watch>,
    },
    /// That people are to be told something.
    Notice(Notice),
    /// That a notice has been taken up: what became of it is in the same commit.
    NoticeTaken(Notice),
    /// Creates or replaces an incident.
    Incident(Box<Incident>),
    /// Forgets an incident, by its id.
    DeleteIncident(String),
    /// Creates or replaces a silence.
    Silence(Silence),
    /// Forgets a silence, by its id.
    DeleteSilence(String),
    /// Which authority the agents and operators of this store rely on: the SHA-256 of its certificate in
    /// hexadecimal.
    Authority(String),
    /// Creates or replaces an agent.
    Agent(AgentRecord),
    /// Gives an agent, which is stored under its new name, everything that was kept under an old one.
    RenameAgent {
        /// The name that is no more.
        from: VantageName,
        /// The agent from now on.
        agent: AgentRecord,
    },
    /// Forgets an agent with what was observed from it.
    DeleteAgent(VantageName),
    /// Adds to the log of what operators do.
    Act(Act),
    /// Creates or replaces an operator.
    Operator(OperatorRecord),
    /// Creates or replaces a service.
    Service(ServiceRecord),
    /// Deletes a service; what was observed of it ages out by itself.
    DeleteService(ServiceName),
    /// Creates or replaces a token.
    Token(TokenRecord),
    /// Uses a token up and stores the agent that it stands for. The whole commit fails with
    /// [`super::StoreError::TokenUnknown`], `TokenUsed` or `TokenExpired` when it is not to be had.
    BurnToken {
        /// Which token.
        secret: SecretHash,
        /// Mesh time of its use, in microseconds.
        used_at_us: u64,
        /// What it is used for.
        used_for: Use,
        /// The agent that joins.
        agent: AgentRecord,
    },
}

impl Write {
    /// Something that an agent has sent and still holds.
    pub(super) fn is_fact(&self) -> bool {
        match self {
            Self::Observation(_) | Self::Report(_) | Self::Trace(_) | Self::Unkept { .. } => true,
            Self::Round(_)
            | Self::Verdict { .. }
            | Self::Raised { .. }
            | Self::Over { .. }
            | Self::Watch { .. }
            | Self::Authority(_)
            | Self::Agent(_)
            | Self::RenameAgent { .. }
            | Self::DeleteAgent(_)
            | Self::Act(_)
            | Self::Operator(_)
            | Self::Service(_)
            | Self::DeleteService(_)
            | Self::Token(_)
            | Self::BurnToken { .. }
            | Self::Notice(_)
            | Self::NoticeTaken(_)
            | Self::Incident(_)
            | Self::DeleteIncident(_)
            | Self::Silence(_)
            | Self::DeleteSilence(_) => false,
        }
    }
}
