//! One file a command: ask, convert, print.

mod agent;
mod check;
mod completion;
mod coverage;
mod explain;
mod history;
mod localize;
mod mended;
mod replay;
mod report;
mod service;
mod status;
mod verdicts;
mod watch;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use ::localize::Verdict;
use proto::kept::Kept;
use tonic::Request;

#[cfg(test)]
pub use self::mended::Stretch as MendedStretch;
pub use self::mended::{Decision, Fault as MendedFault, Mended};
use crate::args::{Args, Command};
use crate::connect::{CallError, Client, connect};
use crate::demo;
use crate::exit::Exit;
use crate::output::{Output, confirm};
use crate::trouble::Trouble;
use crate::{context, duration};

/// What every command that speaks to the coordinator needs.
struct Session<'a> {
    client: Client,
    output: &'a Output,
    timeout: Duration,
}

impl Session<'_> {
    /// A request whose answer comes at once, so that it has a deadline.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }
}

/// Carries out the command.
pub async fn run(args: Args, output: &Output) -> Result<Exit, Trouble> {
    // Connects only where it is awaited: some commands need no coordinator.
    let session = open(args.context.clone(), args.timeout, output);
    match args.command {
        Command::Status { wait } => status::run(args.context, args.timeout, wait, output).await,
        Command::Agent(command) => agent::run(session.await?, command).await,
        Command::Service(command) => service::run(session.await?, command).await,
        Command::Localize {
            name,
            budget,
            since,
        } => {
            let (budget_ms, since_ms) = (duration::millis(budget), duration::millis(since));
            localize::run(session.await?, &name, budget_ms, since_ms).await
        }
        Command::Watch { name } => watch::run(session.await?, name).await,
        Command::History { name, since } => {
            history::run(session.await?, &name, duration::millis(since)).await
        }
        Command::Verdicts { name, limit } => verdicts::run(session.await?, name, limit).await,
        Command::Explain { id, case, bundle } => {
            let files = explain::Files { case, bundle };
            explain::run(session.await?, &id, files).await
        }
        Command::Report { id, html } => report::run(session.await?, &id, html).await,
        Command::Mended { id, since, wait } => {
            mended::run(session.await?, &id, since, wait.unwrap_or_default()).await
        }
        Command::Replay { file } => replay::run(&file, output),
        Command::Coverage { name } => coverage::run(session.await?, &name).await,
        Command::Completion { shell } => completion::run(shell, output),
        Command::Demo(what) => demo::run(what, output).await,
    }
}

async fn open(
    path: Option<PathBuf>,
    timeout: Duration,
    output: &Output,
) -> Result<Session<'_>, Trouble> {
    let context = context::load(path)?;
    Ok(Session {
        client: connect(&context, timeout).await?,
        output,
        timeout,
    })
}

/// The verdict as the heart has it.
fn verdict(wire: proto::v1::Verdict) -> Result<Verdict, CallError> {
    Verdict::try_from(wire).map_err(|source| CallError::Unreadable(source.to_string()))
}

/// The verdict as the coordinator keeps it.
fn kept(wire: proto::v1::Verdict) -> Result<Kept, CallError> {
    Kept::read(wire).map_err(|source| CallError::Unreadable(source.to_string()))
}

/// Asks before something that cannot be taken back, where there is somebody to ask.
fn sure(yes: bool, question: &str) -> Result<(), Trouble> {
    if yes || !std::io::stdin().is_terminal() || confirm(question) {
        Ok(())
    } else {
        Err(Trouble::NotConfirmed)
    }
}
