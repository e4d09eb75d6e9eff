//! The service file: TOML in, a type that cannot be wrong out.

use std::net::SocketAddr;
use std::time::Duration;

use localize::{Backend, CdnProvider, NameServer, Scheme, ServiceName, VipMode};

/// A service as its operator declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFile {
    /// Its name.
    pub name: ServiceName,
    /// What a user asks for.
    pub url: ServiceUrl,
    /// Trust anchors besides the public ones, PEM.
    pub ca_pem: Option<String>,
    /// The authoritative name servers; found from the NS records when empty.
    pub name_servers: Vec<NameServer>,
    /// Resolvers asked besides each vantage point's own.
    pub resolvers: Vec<SocketAddr>,
    /// Who runs the edges.
    pub cdn: CdnProvider,
    /// The balancer's virtual addresses.
    pub vips: Vec<SocketAddr>,
    /// What the balancer does to a connection.
    pub vip_mode: VipMode,
    /// The backends.
    pub backends: Vec<Backend>,
    /// Time between two scheduled rounds; `None` for rounds on demand alone.
    pub every: Option<Duration>,
    /// The limits of a probe.
    pub timeouts: Timeouts,
}

/// The URL of a service in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl {
    /// As written by the operator, in normal form.
    pub text: String,
    /// `Http` or `Https`.
    pub scheme: Scheme,
    /// The host name: SNI, and the name asked of DNS.
    pub host: String,
    /// The port, the scheme's own when not written.
    pub port: u16,
    /// The Host header: the host, with the port where one is written.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

/// The limits of a probe, by layer and in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the answer to a DNS question.
    pub dns: Duration,
    /// For the TCP handshake.
    pub connect: Duration,
    /// For the TLS handshake.
    pub tls: Duration,
    /// For everything together.
    pub total: Duration,
}

/// Why a service file is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceFileError {
    /// Not TOML, a field unknown or missing, or a value of the wrong type.
    #[error("{0}")]
    Syntax(String),
}

impl ServiceFile {
    /// Reads a service file, with the text of its `tls.ca_file` where it names one.
    pub fn parse(text: &str, ca_pem: Option<&str>) -> Result<Self, ServiceFileError> {
        let _ = (text, ca_pem);
        Err(ServiceFileError::Syntax("empty".into()))
    }
}
