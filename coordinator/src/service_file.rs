//! The service file: TOML in, a type that cannot be wrong out.
//!
//! Every message names the line and the field, says what is wrong, and gives an example.

mod ask;
mod parse;
mod places;
mod raw;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use localize::{Backend, CdnProvider, NameServer, Scheme, ServiceName, VipMode};
use proto::spec::{
    BodyFlaw, Expect, HeaderFlaw, PatternFlaw, Request, StatusFlaw, Unknown as UnknownWord,
};

pub use places::{Declaration, Declarations};

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
    /// Whether a round has probes from reused ports.
    pub port_reuse: Extra,
    /// Whether it has probes that accept gzip.
    pub gzip: Extra,
    /// Whether it has probes that keep the cookie which they were given.
    pub cookies: Extra,
    /// Whether it has probes whose first message of TLS takes more than one packet.
    pub large_hello: Extra,
    /// Whether it has probes that open several connections at once.
    pub bursts: Extra,
    /// Whether the way is traced to what a probe met silence at.
    pub trace: Extra,
    /// Path and query of something larger than the usual answer, to be asked for besides.
    pub large_path: Option<String>,
    /// How edges, VIPs and backends are asked.
    pub request: Request,
    /// What a good answer is.
    pub expect: Expect,
}

/// The URL of a service in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl {
    /// In normal form.
    pub text: String,
    /// `Http` or `Https`.
    pub scheme: Scheme,
    /// The host name: SNI, and the name asked of DNS.
    pub host: String,
    /// The port, the scheme's own when not written.
    pub port: u16,
    /// The Host header: the host, with the port where it is not the scheme's own.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

/// Whether something is done besides the plain probes: targets probed in some other way, or ways traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extra {
    /// They are.
    #[default]
    Probed,
    /// They are not: somebody on the way takes it amiss, or it is too dear.
    LeftOut,
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

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            dns: Duration::from_secs(2),
            connect: Duration::from_secs(5),
            tls: Duration::from_secs(5),
            total: Duration::from_secs(10),
        }
    }
}

/// Why a service file is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceFileError {
    /// Not TOML, a field unknown or missing, or a value of the wrong type; the text names line,
    /// column and field.
    #[error("{0}")]
    Syntax(String),
    /// The text is longer than a service file may be.
    #[error(
        "the file has {bytes} bytes, at most {} are read",
        parse::MAX_FILE_BYTES
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A value that is of the right type and wrong all the same.
    #[error("line {line}, {field} = {value:?}: {problem}, for example {field} = {example}")]
    Value {
        /// Line of the value, from 1.
        line: usize,
        /// The field with its tables.
        field: &'static str,
        /// The value as written.
        value: String,
        /// What is wrong with it.
        problem: Problem,
        /// A value that would do.
        example: &'static str,
    },
    /// A list with too many entries.
    #[error("line {line}, {field}: {count} entries, at most {limit} are allowed")]
    TooMany {
        /// Line of the list, from 1.
        line: usize,
        /// The field with its tables.
        field: &'static str,
        /// Its entries.
        count: usize,
        /// As many are allowed.
        limit: usize,
    },
    /// `tls.ca_file` is named, and its text does not come with the service file.
    #[error("line {line}, tls.ca_file = {value:?}: the text of that file was not sent along")]
    CaMissing {
        /// Line of the value, from 1.
        line: usize,
        /// The file's name.
        value: String,
    },
    /// The text of `tls.ca_file` holds no certificate.
    #[error("tls.ca_file: its text holds no PEM certificate (-----BEGIN CERTIFICATE-----)")]
    CaUnreadable,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Names are used on command lines and in file names.
    #[error(
        "a name has 1 to 64 letters, digits, '.', '-' and '_', and begins with a letter or digit"
    )]
    Name,
    /// `lb` as a backend's name.
    #[error("this name stands for the balancer itself")]
    Reserved,
    /// Two backends of one name.
    #[error("an earlier backend has this name")]
    Duplicate,
    /// Not a URL at all.
    #[error("this is not a URL")]
    Url,
    /// Neither http nor https.
    #[error("a service is asked for by http or https")]
    UrlScheme,
    /// An address in the URL.
    #[error(
        "the host must be a name, which DNS probes can ask for; addresses belong to [load_balancer] vip"
    )]
    UrlHost,
    /// User name, password or fragment in the URL.
    #[error("a URL here has no user name, password or fragment")]
    UrlExtras,
    /// A host name, or nonsense, where an address is wanted.
    #[error("an IP address is wanted, with or without a port, not a host name")]
    Address,
    /// An address to which nothing can be sent.
    #[error("nothing answers at the unspecified address or at port 0")]
    Nowhere,
    /// A backend of scheme tcp without a port.
    #[error("scheme tcp has no port of its own, so the address needs one")]
    PortNeeded,
    /// A path that is none.
    #[error("a path begins with '/' and has no spaces or control characters")]
    Path,
    /// Not a provider's name.
    #[error("a provider is auto, none, or a name in lower-case letters, digits and '-'")]
    Provider,
    /// Not a length of time.
    #[error("a length of time is a whole number with ms, s, m or h")]
    Duration,
    /// An interval out of bounds.
    #[error("rounds come every 1s to 1h")]
    Every,
    /// A limit out of bounds.
    #[error("a limit lies between 50ms and 60s")]
    Timeout,
    /// Not a method, or not a version of HTTP.
    #[error(transparent)]
    Word(#[from] UnknownWord),
    /// A list without versions of HTTP.
    #[error("at least one version of HTTP is spoken")]
    NoVersion,
    /// A header that cannot be sent.
    #[error(transparent)]
    Header(#[from] HeaderFlaw),
    /// A request's body that cannot be sent.
    #[error(transparent)]
    Body(#[from] BodyFlaw),
    /// Redirects to be followed.
    #[error(
        "redirects are not followed: what is asked for is one answer of one server, so let url name \
         where they lead to"
    )]
    Follow,
    /// A status that no answer has.
    #[error(transparent)]
    Status(#[from] StatusFlaw),
    /// A pattern that no body can be searched for.
    #[error(transparent)]
    Pattern(#[from] PatternFlaw),
    /// A body expected in answer to HEAD.
    #[error("an answer to HEAD has no body")]
    NoBody,
}

impl ServiceFile {
    /// Whether both ask for the same in the same way and expect the same, so that answers tell of both.
    #[must_use]
    pub fn asks_alike(&self, other: &Self) -> bool {
        self.url == other.url
            && self.large_path == other.large_path
            && self.request == other.request
            && self.expect == other.expect
    }

    /// Reads a service file, with the text of its `tls.ca_file` where it names one.
    pub fn parse(text: &str, ca_pem: Option<&str>) -> Result<Self, ServiceFileError> {
        parse::service_file(text, ca_pem)
    }
}
