//! The web face: pages for people, JSON and metrics for programs, on a listener of its own.
//!
//! Handlers ask engine and store, convert, and decide nothing, as the gRPC services do. Pages are made
//! whole on the server and work without JavaScript; nothing is fetched from elsewhere. Who can reach the
//! listener can read everything and start localisations, so it listens on loopback alone.

mod api;
mod asked;
mod assets;
mod chart;
mod evidence;
mod guard;
mod health;
mod hooks;
mod known;
mod metrics;
mod page;
mod picture;
mod probe;
mod strip;
#[cfg(test)]
mod tests;
mod time;
mod told;
mod trouble;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, map_response};
use axum::routing::{get, post};
use localize::{ServiceName, Verdict};
use proto::kept::Kept;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::hooks::Hooked;
use self::page::Runs;
use self::strip::Strips;
use self::trouble::Trouble;
use crate::engine::{Event, Handle, ServiceView};
use crate::grpc::view;
use crate::localisation::Localiser;
use crate::notify;
use crate::store::{RaisedRecord, Store, StoreError};

/// What handlers ask. Cloning is cheap.
#[derive(Clone)]
pub struct Face {
    engine: Handle,
    store: Store,
    localiser: Localiser,
    notifier: notify::Handle,
    stop: CancellationToken,
    strips: Strips,
    runs: Runs,
    hooked: Hooked,
}

impl Face {
    /// Asks engine and store; what goes on for long ends with `stop`.
    #[must_use]
    pub fn new(
        engine: Handle,
        store: Store,
        localiser: Localiser,
        notifier: notify::Handle,
        stop: CancellationToken,
    ) -> Self {
        Self {
            engine,
            store,
            localiser,
            notifier,
            stop,
            strips: Strips::default(),
            runs: Runs::default(),
            hooked: Hooked::default(),
        }
    }

    /// Everything that it answers.
    pub fn router(self) -> Router {
        let machines = Router::new()
            .route("/healthz", get(health::healthz))
            .route("/readyz", get(health::readyz))
            .route("/metrics", get(metrics::metrics))
            .route("/probe", get(probe::probe))
            .route("/hooks/alertmanager", post(hooks::alertmanager));
        let api = api::router().layer(map_response(trouble::as_json));
        let pages = page::router().layer(map_response(trouble::as_page));
        machines
            .nest("/api/v1", api)
            .merge(pages)
            .merge(assets::router())
            .with_state(Arc::new(self))
            .layer(from_fn(guard::guard))
    }

    /// Answers until told to stop.
    pub async fn serve(self, listener: TcpListener) {
        let stop = self.stop.clone();
        let (engine, store) = (self.engine.clone(), self.store.clone());
        tokio::spawn(self.strips.clone().follow(engine, store, stop.clone()));
        let served = axum::serve(listener, self.router())
            .with_graceful_shutdown(stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the web face ended");
        }
    }

    /// Reads from the store where waiting for the disk holds up nobody.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Trouble> {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || read(&store)).await;
        let read = read.map_err(|_| Trouble::Stopping)?;
        Ok(read.map_err(crate::engine::Refusal::from)?)
    }

    async fn service(&self, name: &str) -> Result<ServiceView, Trouble> {
        let name = ServiceName(name.to_owned());
        Ok(self.engine.ask(|reply| Event::Service(name, reply)).await?)
    }
}

/// A verdict as one file that opens anywhere: HTML with its stylesheet in it, and the path as it was in the
/// JSON of the verdict's case.
///
/// # Errors
/// When the verdict cannot be told.
pub fn report(
    verdict: &Verdict,
    raised: Option<RaisedRecord>,
    case_json: Option<&[u8]>,
    now_us: u64,
) -> Result<String, String> {
    let kept = Kept::read(view::verdict(verdict, raised)).map_err(|error| error.to_string())?;
    page::report(&kept, case_json, now_us).map_err(|error| error.to_string())
}

type Shared = axum::extract::State<Arc<Face>>;

/// Whether the web face may listen there: whoever reaches it needs no password.
#[must_use]
pub fn may_listen(address: SocketAddr) -> bool {
    address.ip().is_loopback()
}

/// The path that a request is for, as it may stand in a log.
fn path(request: &Request) -> &str {
    request.uri().path()
}
