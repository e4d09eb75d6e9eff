//! The connection to the coordinator, and what its refusals mean to a user.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use proto::context::Context;
use proto::v1::operator_client::OperatorClient;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// The name in every coordinator's certificate, whatever address is dialled.
const SERVER_NAME: &str = "mesh-coordinator";
/// A verdict with the evidence of hundreds of arms stays far below this.
const LARGEST_MESSAGE: usize = 64 << 20;

/// The coordinator, as an operator sees it.
pub type Client = OperatorClient<Channel>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The context's certificate or key is not PEM of the expected kind.
    #[error(
        "the context file's {what} cannot be used: {reason}. Copy DIR/admin.toml of the coordinator \
         again."
    )]
    BadIdentity {
        /// Which of its fields.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// No address answered.
    #[error("cannot reach the coordinator: {}. {}", said(.0), advice(.0))]
    Unreachable(Vec<(String, DialError)>),
}

/// Why one address did not answer.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody listens.
    #[error("connection refused")]
    Refused,
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The name does not resolve, no route, and the like.
    #[error("{0}")]
    Tcp(io::Error),
    /// The TLS handshake failed.
    #[error("{0}")]
    Tls(io::Error),
    /// HTTP/2 could not be started.
    #[error("{0}")]
    Http(tonic::transport::Error),
}

fn said(attempts: &[(String, DialError)]) -> String {
    let attempts: Vec<String> = attempts
        .iter()
        .map(|(address, error)| format!("{address}: {error}"))
        .collect();
    attempts.join("; ")
}

fn advice(attempts: &[(String, DialError)]) -> &'static str {
    if attempts.iter().any(|(_, e)| matches!(e, DialError::Tls(_))) {
        "Somebody answers there without a certificate of this context's mesh: another coordinator, or \
         the context is of an earlier installation (take a new DIR/admin.toml)."
    } else {
        "Is `mesh-coordinator run` running there, and is the address in the context file right?"
    }
}

/// What a call was about, for the advice when it is not found.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// Nothing in particular.
    Mesh,
    /// A service.
    Service(&'a str),
    /// An agent.
    Agent(&'a str),
    /// A verdict.
    Verdict(&'a str),
}

/// Why the coordinator did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no such service.
    #[error("there is no service `{0}`. `meshctl service list` shows those there are.")]
    NoService(String),
    /// There is no such agent.
    #[error("there is no agent `{0}`. `meshctl agent list` shows those there are.")]
    NoAgent(String),
    /// There is no such verdict.
    #[error("there is no verdict `{0}`. `meshctl verdicts` shows those that are kept.")]
    NoVerdict(String),
    /// Something else was not found.
    #[error("{0}")]
    NotFound(String),
    /// The coordinator does not accept the context's certificate.
    #[error(
        "the coordinator does not accept this context's certificate: {0}. An admin makes a new context by \
         `meshctl operator create`; on its own host there is DIR/admin.toml."
    )]
    NotAccepted(String),
    /// The coordinator knows who asks, and does not let that one.
    #[error("{0}.")]
    NotAllowed(String),
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// No answer in time.
    #[error("the coordinator did not answer in time. Give it longer with --timeout.")]
    Timeout,
    /// The connection ended.
    #[error("the connection to the coordinator was lost: {0}. Try again; its log says more.")]
    Lost(String),
    /// The coordinator does not know the call.
    #[error("the coordinator is older than this meshctl and cannot do that.")]
    TooOld,
    /// The stream ended before what it was for.
    #[error("the coordinator ended the answer early. Its log says why.")]
    EndedEarly,
    /// The answer does not hold together.
    #[error("the coordinator's answer cannot be read: {0}. Is it of another version than meshctl?")]
    Unreadable(String),
    /// Anything else.
    #[error("the coordinator says: {0} ({1:?}).")]
    Other(String, Code),
}

impl CallError {
    /// What a status means, given what was asked about.
    pub fn of(status: &Status, subject: Subject<'_>) -> Self {
        let message = status.message().to_owned();
        match (status.code(), subject) {
            (Code::NotFound, Subject::Service(name)) => Self::NoService(name.to_owned()),
            (Code::NotFound, Subject::Agent(name)) => Self::NoAgent(name.to_owned()),
            (Code::NotFound, Subject::Verdict(id)) => Self::NoVerdict(id.to_owned()),
            (Code::NotFound, Subject::Mesh) => Self::NotFound(message),
            (Code::Unauthenticated, _) => Self::NotAccepted(message),
            (Code::PermissionDenied, _) => Self::NotAllowed(message),
            (Code::InvalidArgument | Code::FailedPrecondition | Code::AlreadyExists, _) => {
                Self::Invalid(message)
            }
            (Code::DeadlineExceeded | Code::Cancelled, _) => Self::Timeout,
            (Code::Unimplemented, _) => Self::TooOld,
            (code, _) => match alert(status) {
                // With TLS 1.3 the server's judgement on our certificate comes after the handshake.
                Some(alert) => Self::NotAccepted(alert),
                None if code == Code::Unavailable => Self::Lost(root_cause(status)),
                None => Self::Other(message, code),
            },
        }
    }
}

/// Adds what the call was about to its failure.
pub trait About<T> {
    /// The value, or what the refusal means for this subject.
    fn about(self, subject: Subject<'_>) -> Result<T, CallError>;
}

impl<T> About<T> for Result<tonic::Response<T>, Status> {
    fn about(self, subject: Subject<'_>) -> Result<T, CallError> {
        self.map(tonic::Response::into_inner)
            .map_err(|status| CallError::of(&status, subject))
    }
}

/// The TLS alert among the causes of a status, in words.
fn alert(status: &Status) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    while let Some(error) = cause {
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(tls.to_string());
        }
        cause = error.source();
    }
    None
}

/// The innermost cause, which is what a person can use.
fn root_cause(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

/// Connects to the first coordinator that answers. A unary call takes `timeout` at most.
pub async fn connect(context: &Context, timeout: Duration) -> Result<Client, ConnectError> {
    let tls = TlsConnector::from(Arc::new(tls_config(context)?));
    let mut attempts = Vec::new();
    for address in &context.addresses {
        match dial(address, &tls, timeout).await {
            Ok(client) => return Ok(client),
            Err(error) => attempts.push((address.clone(), error)),
        }
    }
    Err(ConnectError::Unreachable(attempts))
}

async fn dial(address: &str, tls: &TlsConnector, timeout: Duration) -> Result<Client, DialError> {
    let stream = match tokio::time::timeout(timeout, handshake(address, tls)).await {
        Ok(stream) => stream?,
        Err(_) => return Err(DialError::Timeout(timeout)),
    };
    let mut stream = Some(TokioIo::new(stream));
    // The connection is made beforehand, so that its failure can be told in full; tonic takes it
    // once, and a command is over before it would want a second.
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let stream = stream.take();
        async move { stream.ok_or_else(|| io::Error::other("the connection ended")) }
    });
    let channel = Endpoint::from_static("http://mesh-coordinator")
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map_err(DialError::Http)?;
    Ok(OperatorClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE))
}

async fn handshake(address: &str, tls: &TlsConnector) -> Result<TlsStream<TcpStream>, DialError> {
    let tcp = TcpStream::connect(address).await.map_err(|source| {
        if source.kind() == io::ErrorKind::ConnectionRefused {
            DialError::Refused
        } else {
            DialError::Tcp(source)
        }
    })?;
    tcp.set_nodelay(true).map_err(DialError::Tcp)?;
    let name = ServerName::try_from(SERVER_NAME)
        .map_err(|source| DialError::Tls(io::Error::other(source)))?;
    tls.connect(name, tcp).await.map_err(DialError::Tls)
}

fn tls_config(context: &Context) -> Result<rustls::ClientConfig, ConnectError> {
    let bad = |what, reason: String| ConnectError::BadIdentity { what, reason };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates("ca", &context.ca)? {
        roots
            .add(certificate)
            .map_err(|e| bad("ca", e.to_string()))?;
    }
    let chain = certificates("certificate", &context.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(context.key.as_bytes())
        .map_err(|e| bad("key", e.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| bad("key", e.to_string()))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|e| bad("certificate", e.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(
    what: &'static str,
    pem: &str,
) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let bad = |reason: String| ConnectError::BadIdentity { what, reason };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| bad(e.to_string()))?;
    if certificates.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_do_next() {
        let rows = [
            (
                Status::not_found("x"),
                Subject::Service("shop"),
                "meshctl service list",
            ),
            (
                Status::not_found("x"),
                Subject::Agent("home1"),
                "meshctl agent list",
            ),
            (
                Status::not_found("x"),
                Subject::Verdict("v1"),
                "meshctl verdicts",
            ),
            (Status::unauthenticated("none"), Subject::Mesh, "admin.toml"),
            (
                Status::permission_denied("you are operator ann"),
                Subject::Mesh,
                "you are operator ann.",
            ),
            (
                Status::invalid_argument("line 3: url"),
                Subject::Mesh,
                "line 3: url",
            ),
            (
                Status::not_found("there is no silence s-1"),
                Subject::Mesh,
                "there is no silence s-1",
            ),
            (Status::deadline_exceeded(""), Subject::Mesh, "--timeout"),
            (Status::unavailable("gone"), Subject::Mesh, "was lost: gone"),
        ];
        for (status, subject, expected) in rows {
            let said = CallError::of(&status, subject).to_string();
            assert!(said.contains(expected), "{said}");
        }
    }

    #[tokio::test]
    async fn a_refused_connection_names_the_address() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(Vec::new())
            .and_then(|params| params.self_signed(&key))
            .unwrap();
        let context = Context {
            addresses: vec![address.clone()],
            ca: certificate.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        };
        let said = connect(&context, Duration::from_secs(5))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            said.contains(&format!("{address}: connection refused")),
            "{said}"
        );
    }

    #[test]
    fn an_identity_that_is_none_names_its_field() {
        let context = Context {
            addresses: vec![],
            ca: "hello".to_owned(),
            certificate: String::new(),
            key: String::new(),
        };
        let said = tls_config(&context).unwrap_err().to_string();
        assert!(said.contains("context file's ca"), "{said}");
    }
}
