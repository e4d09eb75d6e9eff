//! What one probe saw: facts, no judgement.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use crate::facts::arm::{
    Arm, BURST, Encoding, Hello, LARGE_READ, MOST_COPIES, Object, Pace, REUSE_WITHIN, Session,
    SourcePort, TWINS, Target, Traits, Twin, Twinned,
};
pub use crate::facts::dns::DnsFacts;
use crate::facts::sighting::TcpOptions;
use crate::facts::time::{Micros, Stamp};
use crate::facts::topology::{ServiceName, VantageName};

/// A round: one synchronised firing of a service's arms. Unique in one coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoundId(pub u64);

/// Names one observation for ever: the agent's own counter, never used twice for an incarnation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObservationId {
    /// The vantage point that made it.
    pub vantage: VantageName,
    /// The agent's spool sequence number, rising by one, kept across restarts of the agent.
    pub sequence: u64,
}

/// A layer that a probe passes, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// One question to one server, over UDP, then TCP when the answer was truncated.
    Dns,
    /// The three-way handshake.
    Tcp,
    /// The TLS handshake, certificate included.
    Tls,
    /// From the first byte of the request to the last byte of the body.
    Http,
}

/// One layer passed, with the time that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The layer.
    pub layer: Layer,
    /// How long the layer took.
    pub took: Micros,
}

/// The wire said no: the first failure ends the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// No answer to the question within the limit.
    DnsTimeout,
    /// ICMP port unreachable, or the TCP fallback was refused: nobody listens there.
    DnsUnreachable,
    /// RCODE 5, REFUSED (RFC 1035 section 4.1.1).
    DnsRefused,
    /// RCODE 2, SERVFAIL.
    DnsServfail,
    /// RCODE 3, NXDOMAIN.
    DnsNxdomain,
    /// NOERROR without an address record.
    DnsNoData,
    /// Any other RCODE, or an answer that cannot be parsed or belongs to another question.
    DnsMalformed,
    /// An answer without the AA bit (RFC 1035, section 4.1.1) from a name server of the zone: it refers
    /// elsewhere, or tells what it has heard.
    DnsLame,
    /// RST in answer to the SYN.
    ConnectRefused,
    /// No answer to any SYN within the limit.
    ConnectTimeout,
    /// ICMP network, host or administratively unreachable, or no route.
    ConnectUnreachable,
    /// The local side could not open the connection (address not available, descriptor limit).
    ConnectLocal,
    /// The TLS handshake did not end within the limit.
    TlsTimeout,
    /// RST or FIN in the TLS handshake.
    TlsReset,
    /// A TLS alert was received; its number (RFC 8446 section 6).
    TlsAlert(u8),
    /// The certificate is past its notAfter.
    CertificateExpired,
    /// The certificate is not yet valid.
    CertificateNotYetValid,
    /// No chain to a trust anchor.
    CertificateUnknownIssuer,
    /// No chain to a trust anchor, since the certificate came without that of its issuer, which is none (RFC 8446,
    /// section 4.4.2): browsers know such intermediates or fetch them, programs do not.
    CertificateChainIncomplete,
    /// The certificate does not cover the service's name.
    CertificateWrongName,
    /// Any other reason against the certificate.
    CertificateInvalid,
    /// The peer does not speak TLS as asked.
    TlsProtocol,
    /// RST before the whole request was written.
    ResetBeforeRequest,
    /// RST after the request was written and before the last byte of the body.
    ResetAfterRequest,
    /// FIN after the request, before any byte of an answer.
    ClosedWithoutAnswer,
    /// No complete header within the limit.
    HttpTimeout,
    /// The header came, the body did not end within the limit.
    BodyTimeout,
    /// The body ended before its declared length or last chunk.
    BodyTruncated,
    /// The answer is not HTTP.
    HttpMalformed,
    /// A whole answer with a status of 400 or more, made by the origin as far as its headers tell.
    HttpStatus(u16),
    /// A status that the CDN made by itself (52x and the like), as its headers tell.
    CdnStatus(u16),
    /// A whole answer with a status that the service file does not count among those expected.
    UnexpectedStatus(u16),
    /// A whole answer of a status expected, without the text that the service file expects in its body.
    UnexpectedBody,
    /// The answer expected, its first byte later than the service file allows.
    LateFirstByte,
    /// The server speaks this version of HTTP alone, and another one was asked for.
    HttpVersion(HttpVersion),
}

/// A version of HTTP over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpVersion {
    /// HTTP/1.1 (RFC 9112).
    One,
    /// HTTP/2 (RFC 9113).
    Two,
}

/// How a probe ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every layer of the arm was passed.
    Passed,
    /// The first failure, at the layer that was not passed.
    Failed {
        /// The layer not passed. It has no step.
        layer: Layer,
        /// What the wire said.
        failure: Failure,
        /// Time from the start of that layer to the failure; a time-out is data.
        after: Micros,
    },
    /// The probe was not fired; `firing` says why. No evidence about the path.
    NotFired,
}

/// Whether the probe left at its instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Firing {
    /// Within the tolerance of the round's instant.
    OnTime,
    /// Fired, but late.
    Late {
        /// By how much.
        by: Micros,
        /// Why, in words.
        why: String,
    },
    /// Not fired at all (limit reached, target refused by the agent's policy, too late).
    Skipped {
        /// Why, in words.
        why: String,
    },
}

/// What the kernel knows of the connection (`TCP_INFO`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpFacts {
    /// The probe's own address and port, where the socket got that far.
    pub local: SocketAddr,
    /// SYNs sent again before the handshake ended or was given up.
    pub syn_retransmissions: u32,
    /// Segments sent again over the whole connection, SYNs included.
    pub retransmissions: u32,
    /// Smoothed round-trip time after the handshake.
    pub rtt: Option<Micros>,
    /// How long ago the last connection from a reused port had ended; `None` for a fresh port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused_after: Option<Micros>,
    /// What the handshake left in force, by what both ends offered; the segment size is the largest that
    /// is sent. Absent where there was no handshake, and of agents that do not know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<TcpOptions>,
}

/// What the TLS handshake showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFacts {
    /// First 16 bytes of the SHA-256 of the leaf certificate, in hexadecimal.
    pub leaf: String,
    /// notAfter of the leaf, in seconds since the Unix epoch.
    pub not_after: i64,
    /// notBefore of the leaf, likewise; of agents that tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<i64>,
    /// What the host's own clock said when the certificate was judged by it, likewise; programs there judge by
    /// that, and not by mesh time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_at: Option<i64>,
}

/// What the HTTP answer held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpFacts {
    /// The status code.
    pub status: u16,
    /// Time from the request's last byte to the first byte of the answer.
    pub first_byte: Micros,
    /// Bytes of the body that arrived.
    pub body_bytes: u64,
    /// First 16 bytes of the SHA-256 of the body, in hexadecimal.
    pub body_digest: String,
    /// Headers of the answer that can tell who made it: lower-case name and value. At most 32, each
    /// value at most 128 bytes; `date` and the like are left out, and of `set-cookie` what it says.
    pub headers: Vec<(String, String)>,
    /// Where it sends the client.
    #[serde(default, skip_serializing_if = "Redirect::is_none")]
    pub redirect: Redirect,
}

/// Where an answer sends the client: its Location, with a status that asks for another request
/// (RFC 9110, section 15.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redirect {
    /// Nowhere.
    #[default]
    None,
    /// To the url's host, by whatever scheme and port, with or without `www.` before it.
    Within,
    /// To another site.
    Elsewhere,
}

/// Facts beside the outcome, by layer; absent where the layer said nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Of the DNS answer.
    pub dns: Option<DnsFacts>,
    /// Of the TCP connection.
    pub tcp: Option<TcpFacts>,
    /// Of the TLS session.
    pub tls: Option<TlsFacts>,
    /// Of the HTTP answer.
    pub http: Option<HttpFacts>,
}

/// What one probe saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Names it for ever; a second observation of the same id is the same one.
    pub id: ObservationId,
    /// The service probed.
    pub service: ServiceName,
    /// The round that it was part of.
    pub round: RoundId,
    /// The variant that was fired.
    pub arm: Arm,
    /// When the first packet left, in mesh time.
    pub started: Stamp,
    /// The instant that the round had announced, in microseconds of mesh time.
    pub scheduled_us: u64,
    /// Whether it left at its instant.
    pub firing: Firing,
    /// The layers passed, in order.
    pub steps: Vec<Step>,
    /// How it ended.
    pub outcome: Outcome,
    /// What else the wire told.
    pub facts: Facts,
}

impl Observation {
    /// The vantage point that made the observation.
    #[must_use]
    pub fn vantage(&self) -> &VantageName {
        &self.id.vantage
    }

    /// The time of a layer, if it was passed.
    #[must_use]
    pub fn took(&self, layer: Layer) -> Option<Micros> {
        self.steps
            .iter()
            .find(|step| step.layer == layer)
            .map(|step| step.took)
    }
}

impl Redirect {
    /// Whether the answer sends the client nowhere.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}
