//! `meshctl status`.

use std::path::PathBuf;
use std::time::Duration;

use proto::json;
use proto::v1::{StatusRequest, StatusResponse};
use tokio::time::Instant;

use crate::connect::{About, Subject, connect};
use crate::context;
use crate::exit::Exit;
use crate::output::Output;
use crate::render::ago;
use crate::trouble::Trouble;

/// Pause between two attempts of `--wait`.
const PAUSE: Duration = Duration::from_millis(200);

pub async fn run(
    path: Option<PathBuf>,
    timeout: Duration,
    wait: Option<Duration>,
    output: &Output,
) -> Result<Exit, Trouble> {
    let until = Instant::now() + wait.unwrap_or_default();
    let status = loop {
        match attempt(path.clone(), timeout).await {
            Ok(status) => break status,
            Err(trouble) if Instant::now() + PAUSE >= until => return Err(trouble),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    };
    output.print(&json::status(&status), || text(&status))?;
    Ok(Exit::Ok)
}

/// One attempt. The context file is read each time: a coordinator that is starting writes it.
async fn attempt(path: Option<PathBuf>, timeout: Duration) -> Result<StatusResponse, Trouble> {
    let context = context::load(path)?;
    let mut client = connect(&context, timeout).await?;
    let mut request = tonic::Request::new(StatusRequest {});
    request.set_timeout(timeout);
    Ok(client.status(request).await.about(Subject::Mesh)?)
}

fn text(status: &StatusResponse) -> String {
    format!(
        "Coordinator   {} up {}\nAgents        {} of {} connected\nServices      {}\n\
         Observations  {} in a store of {:.1} MB\n",
        status.version,
        ago(&status.started_at, status.now_us),
        status.agents_connected,
        status.agents_known,
        status.services,
        status.observations_stored,
        status.store_bytes as f64 / 1e6,
    )
}
