//! Puts the parts together and runs them until a signal or a broken store.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proto::context::Context;
use proto::identity::Identity;
use proto::v1::agent_service_server::AgentServiceServer;
use proto::v1::enrolment_server::EnrolmentServer;
use proto::v1::operator_server::OperatorServer;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

use crate::ca::{Authority, CaError};
use crate::clock;
use crate::config::Config;
use crate::engine::{self, Fatal, Setup};
use crate::files::{self, Access, FileError};
use crate::grpc::agent::AgentsService;
use crate::grpc::enrolment::EnrolmentService;
use crate::grpc::operator::OperatorsService;
use crate::grpc::{self, LARGEST_MESSAGE};
use crate::localisation::Localiser;
use crate::store::{Store, StoreError};
use crate::tls::{self, HotCertificate, PeerCertificate, TlsError};
use crate::watcher;
use crate::web::Face;

/// Name of the operator whose context is written at the first start.
const FIRST_OPERATOR: &str = "admin";
/// Streams of one connection at once: an agent has two, `meshctl` one.
const STREAMS: u32 = 32;
/// A peer is asked whether it is there this often ...
const KEEPALIVE: Duration = Duration::from_secs(10);
/// ... and has gone when it does not answer within this.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(5);
/// Resets of streams that wait to be taken: beyond that a peer only opens and resets (CVE-2023-44487).
const PENDING_RESETS: usize = 32;
/// Headers of a request, in bytes.
const LARGEST_HEADERS: u32 = 16 << 10;
/// How long calls may take to end when the coordinator goes down.
const LEAVE: Duration = Duration::from_secs(5);
/// How often the store is asked to forget what has aged out.
const RETAIN_EVERY: Duration = Duration::from_secs(30);
/// The server's certificate is looked at this often at least: a step of the clock must not let it end.
const RENEW_LOOK: Duration = Duration::from_secs(3600);

/// The coordinator cannot start, or cannot go on.
#[derive(Debug, Error)]
pub enum ServerError {
    /// A file of the data folder.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate authority.
    #[error(transparent)]
    Authority(#[from] CaError),
    /// Another process has the store open.
    #[error("another coordinator runs on {0}; stop it first, or use another --data-dir")]
    InUse(String),
    /// The store.
    #[error("the store in {folder}: {source}")]
    Store {
        /// Its folder.
        folder: String,
        /// What is wrong.
        source: StoreError,
    },
    /// The port.
    #[error("cannot listen on {address}: {source}{}", hint(source))]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The port of the web face.
    #[error(
        "cannot listen on {address} for the web face: {source}{}",
        web_hint(source)
    )]
    ListenForWeb {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The runtime.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// Reflection.
    #[error("the interface's own description is damaged: {0}")]
    Reflection(String),
    /// The server has ended by itself.
    #[error("the server ended: {0}")]
    Serve(#[from] tonic::transport::Error),
    /// The store broke while running.
    #[error("the store broke, and its state is known only to the next start: {0}")]
    Broken(String),
}

/// What to do about it.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(nix::libc::EADDRINUSE) => "; another program has the port, choose one with --listen",
        Some(nix::libc::EACCES) => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        Some(nix::libc::EADDRNOTAVAIL) => "; this host does not have the address",
        _ => "",
    }
}

/// The same for the web face.
fn web_hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(nix::libc::EADDRINUSE) => "; another program has the port, choose one with --web",
        _ => hint(error),
    }
}

/// Runs a coordinator until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, or its store breaks.
pub async fn run(config: Config) -> Result<(), ServerError> {
    files::make_folder(&config.data_dir)?;
    let store = open_store(&config.data_dir)?;
    let now_us = clock::now_us();
    let authority = Arc::new(Authority::open(&config.data_dir.join("ca"), now_us)?);
    let listener = TcpListener::bind(config.listen).await;
    let listen_error = |source| ServerError::Listen {
        address: config.listen,
        source,
    };
    let listener = listener.map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    let web = listen_for_web(config.web).await?;
    let addresses = config.addresses(bound, &own_addresses());
    write_context(&config, &authority, bound, now_us)?;

    let lifetime = config.lifetimes.server;
    let certificate = Arc::new(HotCertificate::new(&authority, now_us, lifetime)?);
    let tls = tls::server_config(&authority, Arc::clone(&certificate))?;
    let (fatal, stop) = (Fatal::default(), CancellationToken::new());
    let setup = Setup {
        authority: Arc::clone(&authority),
        lifetimes: config.lifetimes,
        addresses: addresses.clone(),
    };
    let started = engine::start(store.clone(), setup, fatal.clone(), stop.clone());
    let started = started.map_err(|source| store_error(&config.data_dir, source))?;
    let (engine, engine_task) = (started.handle, started.task);
    tokio::spawn(watcher::run(engine.clone(), store.clone(), started.alarms));
    tokio::spawn(renew_certificate(
        certificate,
        Arc::clone(&authority),
        lifetime,
    ));
    tokio::spawn(retain(store.clone(), fatal.clone()));
    let localiser = Localiser::new(engine.clone(), store.clone(), fatal.clone());
    let face = Face::new(
        engine.clone(),
        store.clone(),
        localiser.clone(),
        stop.clone(),
    );
    let services = Services {
        engine,
        store,
        localiser,
        authority,
        fatal: fatal.clone(),
        stop: stop.clone(),
    };
    let incoming = ReceiverStream::new(tls::accept(listener, tls, stop.clone()));
    let router = services.router().await?;
    let server =
        tokio::spawn(router.serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned()));
    let pages = web.map(|listener| tokio::spawn(face.serve(listener)));
    tracing::info!(address = %bound, advertise = ?addresses, data_dir = %config.data_dir.display(), "listening");

    let ended = until_told(&fatal).await;
    tracing::info!("shutting down");
    stop.cancel();
    // Calls that do not end are cut off; what they were promised is on disk or was not promised.
    let served = tokio::time::timeout(LEAVE, server).await;
    let _ = tokio::time::timeout(LEAVE, engine_task).await;
    if let Some(pages) = pages {
        let _ = tokio::time::timeout(LEAVE, pages).await;
    }
    if let Ok(Ok(Err(error))) = served {
        return ended.and(Err(error.into()));
    }
    ended
}

/// The web face's listener, where it is asked for.
async fn listen_for_web(address: Option<SocketAddr>) -> Result<Option<TcpListener>, ServerError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let error = |source| ServerError::ListenForWeb { address, source };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let bound = listener.local_addr().map_err(error)?;
    tracing::info!(page = %format_args!("http://{bound}/"), "the web face listens");
    Ok(Some(listener))
}

/// Waits for a signal (Ok) or a broken store.
async fn until_told(fatal: &Fatal) -> Result<(), ServerError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServerError::Runtime)?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        what = fatal.wait() => Err(ServerError::Broken(what)),
    }
}

struct Services {
    engine: engine::Handle,
    store: Store,
    localiser: Localiser,
    authority: Arc<Authority>,
    fatal: Fatal,
    stop: CancellationToken,
}

impl Services {
    async fn router(self) -> Result<tonic::transport::server::Router, ServerError> {
        let Self {
            engine,
            store,
            localiser,
            authority,
            fatal,
            stop,
        } = self;
        let enrolment = EnrolmentService::new(engine.clone(), Arc::clone(&authority));
        let agents = AgentsService::new(engine.clone(), store.clone(), authority, fatal);
        let operators = OperatorsService::new(engine, store, localiser, stop);
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter
            .set_serving::<OperatorServer<OperatorsService>>()
            .await;
        reporter
            .set_serving::<AgentServiceServer<AgentsService>>()
            .await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTOR_SET)
            .build_v1()
            .map_err(|error| ServerError::Reflection(error.to_string()))?;
        Ok(Server::builder()
            .max_concurrent_streams(STREAMS)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
            .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
            .http2_max_header_list_size(LARGEST_HEADERS)
            .add_service(health)
            .add_service(InterceptedService::new(reflection, grpc::anybody_known))
            .add_service(
                EnrolmentServer::new(enrolment)
                    .max_decoding_message_size(LARGEST_MESSAGE)
                    .max_encoding_message_size(LARGEST_MESSAGE),
            )
            .add_service(
                AgentServiceServer::new(agents)
                    .max_decoding_message_size(LARGEST_MESSAGE)
                    .max_encoding_message_size(LARGEST_MESSAGE),
            )
            .add_service(
                OperatorServer::new(operators)
                    .max_decoding_message_size(LARGEST_MESSAGE)
                    .max_encoding_message_size(LARGEST_MESSAGE),
            ))
    }
}

fn open_store(data_dir: &Path) -> Result<Store, ServerError> {
    Store::open(&data_dir.join("store")).map_err(|error| store_error(data_dir, error))
}

fn store_error(data_dir: &Path, error: StoreError) -> ServerError {
    let folder = data_dir.display().to_string();
    if matches!(error, StoreError::Locked) {
        return ServerError::InUse(folder);
    }
    ServerError::Store {
        folder,
        source: error,
    }
}

/// Writes the first operator's context, once: a second one would be a second key.
fn write_context(
    config: &Config,
    authority: &Authority,
    bound: SocketAddr,
    now_us: u64,
) -> Result<(), ServerError> {
    let path = config.data_dir.join("admin.toml");
    if let Some(text) = files::read(&path)? {
        if let Some(trouble) = context_trouble(&text, authority, now_us) {
            tracing::warn!(path = %path.display(), trouble, "remove the file and start again for a new one");
        }
        return Ok(());
    }
    let identity = Identity::Operator(FIRST_OPERATOR.to_owned());
    let lifetime = config.lifetimes.operator;
    let (issued, key) = authority.issue_client(&identity, now_us, lifetime)?;
    let context = Context {
        addresses: context_addresses(config, bound),
        ca: authority.pem().to_owned(),
        certificate: issued.pem,
        key: key.serialize_pem(),
    };
    files::write(&path, Access::Secret, &context.to_toml())?;
    tracing::info!(path = %path.display(), "operator's context written");
    Ok(())
}

/// Why a context from an earlier start is of no use.
fn context_trouble(text: &str, authority: &Authority, now_us: u64) -> Option<&'static str> {
    let Ok(context) = Context::from_toml(text) else {
        return Some("it cannot be read");
    };
    let certificate = CertificateDer::from_pem_slice(context.certificate.as_bytes()).ok();
    match certificate.as_ref().and_then(PeerCertificate::read) {
        _ if context.ca != authority.pem() => Some("it is of another authority"),
        None => Some("its certificate cannot be read"),
        Some(certificate) if certificate.not_after_us <= now_us => {
            Some("its certificate has ended")
        }
        Some(_) => None,
    }
}

/// The first operator sits on this host: what is advertised, else loopback first.
fn context_addresses(config: &Config, bound: SocketAddr) -> Vec<String> {
    let mut addresses = config.addresses(bound, &own_addresses());
    if config.advertise.is_empty() {
        // Loopback is last for agents, and first for who is here.
        addresses.rotate_right(1);
    }
    addresses
}

fn own_addresses() -> Vec<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let addresses = interfaces.filter_map(|interface| interface.address);
    let mut own: Vec<IpAddr> = addresses
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .collect();
    own.dedup();
    own
}

/// Renews the server's certificate at half of its life.
async fn renew_certificate(
    certificate: Arc<HotCertificate>,
    authority: Arc<Authority>,
    lifetime: Duration,
) {
    let half_us = u64::try_from(lifetime.as_micros() / 2).unwrap_or(u64::MAX);
    let mut made_us = clock::now_us();
    loop {
        tokio::time::sleep((lifetime / 8).min(RENEW_LOOK)).await;
        let now_us = clock::now_us();
        if now_us.abs_diff(made_us) < half_us {
            continue;
        }
        match certificate.renew(&authority, now_us, lifetime) {
            Ok(()) => {
                made_us = now_us;
                tracing::info!("server certificate renewed");
            }
            Err(error) => tracing::error!(%error, "cannot renew the server certificate"),
        }
    }
}

/// Has the store forget what has aged out, as much at a time as holds up nobody.
async fn retain(store: Store, fatal: Fatal) {
    loop {
        tokio::time::sleep(RETAIN_EVERY).await;
        loop {
            match store.retain(clock::now_us()).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "cannot forget what has aged out");
                    fatal.judge(&error);
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_that_is_of_no_use_is_noticed() {
        const NOW: u64 = 1_700_000_000_000_000;
        let make = || {
            let folder = tempfile::tempdir().unwrap();
            let authority = Authority::open(folder.path(), NOW).unwrap();
            let identity = Identity::Operator("admin".to_owned());
            let lifetime = Duration::from_secs(60);
            let (issued, key) = authority.issue_client(&identity, NOW, lifetime).unwrap();
            let context = Context {
                addresses: vec!["127.0.0.1:7443".to_owned()],
                ca: authority.pem().to_owned(),
                certificate: issued.pem,
                key: key.serialize_pem(),
            };
            (authority, context.to_toml())
        };
        let ((ours, context), (theirs, _)) = (make(), make());
        let later = NOW + 61_000_000;
        assert_eq!(context_trouble(&context, &ours, NOW), None);
        assert_eq!(
            context_trouble(&context, &theirs, NOW),
            Some("it is of another authority")
        );
        assert_eq!(
            context_trouble(&context, &ours, later),
            Some("its certificate has ended")
        );
        assert_eq!(
            context_trouble("x = 1", &ours, NOW),
            Some("it cannot be read")
        );
    }
}
