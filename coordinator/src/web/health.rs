//! Whether the coordinator lives, and whether it can do its work.

use std::time::Duration;

use axum::extract::State;

use super::Shared;
use super::trouble::Trouble;
use crate::engine::Event;

/// The engine answers within microseconds, the store within milliseconds: what takes longer than this
/// is stuck.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// The process answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Engine and store answer too.
pub(super) async fn readyz(State(face): Shared) -> Result<&'static str, Trouble> {
    let asked = async {
        if let Some(trouble) = face.store.trouble() {
            return Err(unready(&format!("the store has stopped: {trouble}")));
        }
        face.engine.ask(Event::Status).await?;
        face.read(crate::store::Store::services).await.map(drop)
    };
    match tokio::time::timeout(READY_WITHIN, asked).await {
        Ok(answered) => answered.map(|()| "ready\n"),
        Err(_) => Err(unready("engine and store did not answer within 2 s")),
    }
}

fn unready(words: &str) -> Trouble {
    Trouble::Refused {
        status: axum::http::StatusCode::SERVICE_UNAVAILABLE,
        words: words.to_owned(),
    }
}
