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
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::Router;

use crate::ca::{Authority, CaError, Mesh};
use crate::clock;
use crate::config::{Config, ConfigError};
use crate::doors;
use crate::engine::{self, Event, Fatal, Reconfigured, Setup};
use crate::files::{self, Access, FileError};
use crate::grpc::agent::AgentsService;
use crate::grpc::enrolment::EnrolmentService;
use crate::grpc::guard::Guarded;
use crate::grpc::operator::OperatorsService;
use crate::grpc::{self, LARGEST_MESSAGE, STRANGERS_MESSAGE};
use crate::localisation::Localiser;
use crate::notify::{self, Settings};
use crate::operators::{self, OperatorError, Registry};
use crate::store::{self, Audit, Saved, Store, StoreError, Write};
use crate::tls::{self, HotCertificate, PeerCertificate, TlsError};
use crate::watcher;
use crate::web::Face;

/// The file of that context, in the data folder.
const CONTEXT: &str = "admin.toml";
/// The folder of the store there.
pub(crate) const STORE: &str = "store";
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
/// The same of a stranger, which has one call to make ...
const STRANGERS_STREAMS: u32 = 4;
/// ... in bytes of headers ...
const STRANGERS_HEADERS: u32 = 4 << 10;
/// ... and of what may be on its way to us: the least that HTTP/2 starts with.
const STRANGERS_WINDOW: u32 = (64 << 10) - 1;
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
    /// The first operator.
    #[error("the first operator: {0}")]
    FirstOperator(#[from] OperatorError),
    /// Another process has the store open.
    #[error("another coordinator runs on {0}; stop it first, or use another --data-dir")]
    InUse(String),
    /// The folder has a mesh's context and no store.
    #[error(
        "{0} holds the authority or the context of a mesh and no store: agents, services and all that was observed are gone. Put folder `store` back from a backup, or begin with an empty one by `mesh-coordinator repair --data-dir {0}`"
    )]
    StoreGone(String),
    /// The store.
    #[error("the store in {folder}: {cause}{}", advice(cause, folder))]
    Store {
        /// Its folder.
        folder: String,
        /// What is wrong, which the text says.
        cause: StoreError,
    },
    /// There is nothing to look at.
    #[error("there is no store in {0}")]
    NoStore(String),
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

/// What to do about a store that does not open.
fn advice(error: &StoreError, folder: &str) -> String {
    match error.is_damage() {
        false => String::new(),
        true => format!(
            ". Nothing is served from it. A backup of the folder from before is best; without one, `mesh-coordinator repair --data-dir {folder}` saves what can be read and keeps the damaged store beside it, and agents send again what they still have"
        ),
    }
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

/// Runs a coordinator until SIGTERM or SIGINT. SIGHUP has it `reload` its configuration.
///
/// # Errors
/// When it cannot start, or its store breaks.
pub async fn run(
    config: Config,
    reload: impl Fn() -> Result<Config, ConfigError> + Send + 'static,
) -> Result<(), ServerError> {
    files::make_folder(&config.data_dir)?;
    let store = open_store(&config.data_dir)?;
    let now_us = clock::now_us();
    let authority = Arc::new(open_authority(&config.data_dir, &store, now_us).await?);
    let listener = TcpListener::bind(config.listen).await;
    let listen_error = |source| ServerError::Listen {
        address: config.listen,
        source,
    };
    let listener = listener.map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    let web = listen_for_web(config.web).await?;
    let page = web.as_ref().and_then(|web| web.local_addr().ok());
    let addresses = config.addresses(bound, &own_addresses());
    let (fatal, stop) = (Fatal::default(), CancellationToken::new());
    let operators = Registry::open(
        store.clone(),
        Arc::clone(&authority),
        fatal.clone(),
        stop.clone(),
        config.lifetimes.operator,
    );
    let operators = operators.map_err(|source| store_error(&config.data_dir, source))?;
    write_context(&config, &authority, &operators, bound, now_us).await?;

    let lifetime = config.lifetimes.server;
    let certificate = Arc::new(HotCertificate::new(&authority, now_us, lifetime)?);
    let tls = tls::server_config(&authority, Arc::clone(&certificate))?;
    let setup = Setup {
        authority: Arc::clone(&authority),
        lifetimes: config.lifetimes,
        addresses: addresses.clone(),
        advertised: config.advertise.clone(),
    };
    let started = engine::start(store.clone(), setup, fatal.clone(), stop.clone());
    let started = started.map_err(|source| store_error(&config.data_dir, source))?;
    let (engine, engine_task) = (started.handle, started.task);
    tokio::spawn(watcher::run(engine.clone(), store.clone(), started.alarms));
    let settings = with_page(config.notify.clone(), page);
    let notifier = notify::start(
        engine.clone(),
        store.clone(),
        settings,
        fatal.clone(),
        stop.clone(),
    );
    let (notifier, telling) = notifier.map_err(|source| store_error(&config.data_dir, source))?;
    tokio::spawn(renew_certificate(
        certificate,
        Arc::clone(&authority),
        lifetime,
    ));
    tokio::spawn(retain(store.clone(), fatal.clone()));
    let hangups = signal(SignalKind::hangup()).map_err(ServerError::Runtime)?;
    let users = signal(SignalKind::user_defined1()).map_err(ServerError::Runtime)?;
    let changes = Changes {
        engine: engine.clone(),
        notifier: notifier.clone(),
        operators: operators.clone(),
        bound,
        page,
    };
    tokio::spawn(reload_on(hangups, users, config.clone(), changes, reload));
    let localiser = Localiser::new(engine.clone(), store.clone(), fatal.clone());
    let face = Face::new(
        engine.clone(),
        store.clone(),
        localiser.clone(),
        notifier.clone(),
        stop.clone(),
    );
    let services = Services {
        engine,
        store,
        localiser,
        notifier,
        operators,
        authority,
        fatal: fatal.clone(),
    };
    let doors = doors::accept(listener, tls, stop.clone());
    let routers = services.routers().await?;
    let serve = |router: Router, door| {
        let over = stop.clone().cancelled_owned();
        tokio::spawn(router.serve_with_incoming_shutdown(ReceiverStream::new(door), over))
    };
    // It ends with the process.
    serve(routers.strangers, doors.strangers);
    let server = serve(routers.known, doors.known);
    let pages = web.map(|listener| tokio::spawn(face.serve(listener)));
    tracing::info!(address = %bound, advertise = ?addresses, data_dir = %config.data_dir.display(), "listening");

    let ended = until_told(&fatal).await;
    tracing::info!("shutting down");
    stop.cancel();
    // Calls that do not end are cut off; what they were promised is on disk or was not promised.
    let served = tokio::time::timeout(LEAVE, server).await;
    let _ = tokio::time::timeout(LEAVE, engine_task).await;
    let _ = tokio::time::timeout(LEAVE, telling).await;
    if let Some(pages) = pages {
        let _ = tokio::time::timeout(LEAVE, pages).await;
    }
    if let Ok(Ok(Err(error))) = served {
        return ended.and(Err(error.into()));
    }
    ended
}

/// Who is told that the configuration has changed.
struct Changes {
    engine: engine::Handle,
    notifier: notify::Handle,
    operators: Registry,
    bound: SocketAddr,
    page: Option<SocketAddr>,
}

/// Links in messages lead to the web face where it listens, unless the configuration knows better.
fn with_page(mut settings: Settings, page: Option<SocketAddr>) -> Settings {
    let listens = page.map(|page| format!("http://{page}"));
    settings.page = settings.page.or(listens);
    settings
}

/// Takes over the configuration at each SIGHUP; one that is not usable changes nothing. SIGUSR1 means
/// nothing here, and ends nobody.
async fn reload_on(
    mut hangups: Signal,
    mut users: Signal,
    mut config: Config,
    changes: Changes,
    reload: impl Fn() -> Result<Config, ConfigError>,
) {
    loop {
        tokio::select! {
            Some(()) = hangups.recv() => {}
            Some(()) = users.recv() => {
                tracing::info!("SIGUSR1 means nothing to a coordinator; SIGHUP reloads its configuration");
                continue;
            }
            else => return,
        }
        let next = match reload() {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "the configuration is not usable; the one before stays");
                continue;
            }
        };
        if (next.listen, next.lifetimes.server) != (config.listen, config.lifetimes.server) {
            tracing::warn!("`listen` and `certificates.server` change at the next start");
        }
        let addresses = next.addresses(changes.bound, &own_addresses());
        let changed = Event::Reconfigured(Reconfigured {
            lifetimes: next.lifetimes,
            addresses,
            advertised: next.advertise.clone(),
        });
        if changes.engine.tell(changed).await.is_err() {
            return;
        }
        let settings = with_page(next.notify.clone(), changes.page);
        changes.notifier.reconfigure(settings).await;
        changes.operators.reconfigure(next.lifetimes.operator);
        tracing::info!(advertise = ?next.advertise, "configuration reloaded");
        config = next;
    }
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
    notifier: notify::Handle,
    operators: Registry,
    authority: Arc<Authority>,
    fatal: Fatal,
}

/// Both ways in.
struct Routers {
    known: Router,
    strangers: Router,
}

impl Services {
    async fn routers(self) -> Result<Routers, ServerError> {
        let Self {
            engine,
            store,
            localiser,
            notifier,
            operators: registry,
            authority,
            fatal,
        } = self;
        let enrolment = EnrolmentService::new(engine.clone(), Arc::clone(&authority));
        let agents = AgentsService::new(engine.clone(), store.clone(), authority, fatal);
        let operators = OperatorsService::new(engine, store, localiser, notifier, registry.clone());
        let (enrolment, agents) = (Arc::new(enrolment), Arc::new(agents));
        let operators = Arc::new(operators);
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
        let enrol = |largest| {
            EnrolmentServer::from_arc(Arc::clone(&enrolment))
                .max_decoding_message_size(largest)
                .max_encoding_message_size(LARGEST_MESSAGE)
        };
        let agents = AgentServiceServer::from_arc(agents)
            .max_decoding_message_size(LARGEST_MESSAGE)
            .max_encoding_message_size(LARGEST_MESSAGE);
        let operators = OperatorServer::from_arc(operators)
            .max_decoding_message_size(LARGEST_MESSAGE)
            .max_encoding_message_size(LARGEST_MESSAGE);
        // Who may call is decided before the first byte of a message is read.
        let agents = InterceptedService::new(agents, grpc::agents_alone);
        let operators = Guarded::new(operators, registry);
        Ok(Routers {
            known: for_the_known()
                .add_service(health.clone())
                .add_service(InterceptedService::new(reflection, grpc::anybody_known))
                .add_service(enrol(LARGEST_MESSAGE))
                .add_service(agents.clone())
                .add_service(operators.clone()),
            strangers: for_strangers()
                .add_service(health)
                .add_service(enrol(STRANGERS_MESSAGE))
                .add_service(agents)
                .add_service(operators),
        })
    }
}

fn for_the_known() -> Server {
    Server::builder()
        .max_concurrent_streams(STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
        .http2_max_header_list_size(LARGEST_HEADERS)
}

/// A stranger's connection holds at most a window of what it sends, for as long as it may stay.
fn for_strangers() -> Server {
    Server::builder()
        .max_concurrent_streams(STRANGERS_STREAMS)
        .initial_stream_window_size(STRANGERS_WINDOW)
        .initial_connection_window_size(STRANGERS_WINDOW)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
        .http2_max_header_list_size(STRANGERS_HEADERS)
}

fn open_store(data_dir: &Path) -> Result<Store, ServerError> {
    let dir = data_dir.join(STORE);
    if had_store(data_dir) && !store::exists(&dir) {
        return Err(ServerError::StoreGone(data_dir.display().to_string()));
    }
    Store::open(&dir).map_err(|error| store_error(data_dir, error))
}

/// Authority and context are written after the store is made.
fn had_store(data_dir: &Path) -> bool {
    data_dir.join(CONTEXT).exists() || data_dir.join("ca/ca.pem").exists()
}

/// Looks at the store of a data folder without changing it.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn check(data_dir: &Path) -> Result<Audit, ServerError> {
    let dir = data_dir.join(STORE);
    if !store::exists(&dir) {
        let folder = data_dir.display().to_string();
        return Err(match had_store(data_dir) {
            true => ServerError::StoreGone(folder),
            false => ServerError::NoStore(folder),
        });
    }
    store::check(&dir).map_err(|error| store_error(data_dir, error))
}

/// Puts the store of a data folder aside and makes a new one with what can be read of it.
///
/// # Errors
/// When that is not possible.
pub fn repair(data_dir: &Path) -> Result<Saved, ServerError> {
    store::repair(&data_dir.join(STORE)).map_err(|error| store_error(data_dir, error))
}

/// Opens the authority, and has the store remember which one it is.
async fn open_authority(
    data_dir: &Path,
    store: &Store,
    now_us: u64,
) -> Result<Authority, ServerError> {
    let failed = |source| store_error(data_dir, source);
    let known = store.authority().map_err(failed)?;
    let used = store.is_used().map_err(failed)?;
    let folder = data_dir.join("ca");
    let mesh = match known.is_some() || used || data_dir.join(CONTEXT).exists() {
        true => Mesh::Relied,
        false => Mesh::Fresh,
    };
    let authority = Authority::open(&folder, mesh, now_us)?;
    match known {
        Some(known) => authority.must_be(&folder, &known)?,
        None => {
            let write = Write::Authority(authority.fingerprint());
            match store.commit(vec![write]).await {
                // It is written at a later start; without room the store is read all the same.
                Ok(()) | Err(StoreError::DiskFull { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
    Ok(authority)
}

fn store_error(data_dir: &Path, error: StoreError) -> ServerError {
    let folder = data_dir.display().to_string();
    if matches!(error, StoreError::Locked) {
        return ServerError::InUse(folder);
    }
    ServerError::Store {
        folder,
        cause: error,
    }
}

/// Writes the first operator's context, once: a second one would be a second key. Whoever can remove the file
/// can do whatever an admin can, so that a new one makes that operator an admin again.
async fn write_context(
    config: &Config,
    authority: &Authority,
    operators: &Registry,
    bound: SocketAddr,
    now_us: u64,
) -> Result<(), ServerError> {
    let path = config.data_dir.join(CONTEXT);
    if let Some(text) = files::read(&path)? {
        if let Some(trouble) = context_trouble(&text, authority, now_us) {
            tracing::warn!(path = %path.display(), trouble, "remove the file and start again for a new one");
        }
        return Ok(operators.begin(now_us).await?);
    }
    let identity = Identity::Operator(operators::FIRST.to_owned());
    let lifetime = config.lifetimes.operator;
    let (issued, key) = authority.issue_client(&identity, now_us, lifetime)?;
    let context = Context {
        addresses: context_addresses(config, bound),
        ca: authority.pem().to_owned(),
        certificate: issued.pem.clone(),
        key: key.serialize_pem(),
    };
    // It would be of no use without its record.
    operators.let_in_first(&issued, now_us).await?;
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
            let authority = Authority::open(folder.path(), Mesh::Fresh, NOW).unwrap();
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
