//! One file a command: ask, convert, print.

mod agent;
mod audit;
mod backup;
mod check;
mod completion;
mod contexts;
mod coverage;
mod explain;
mod help;
mod history;
mod localize;
mod mended;
mod operator;
mod replay;
mod report;
mod service;
mod silence;
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
use crate::args::{Args, AuditCommand, Care, Command};
use crate::connect::{CallError, Client, connect};
use crate::contexts::Found;
use crate::demo;
use crate::duration;
use crate::exit::Exit;
use crate::output::{Output, confirm};
use crate::trouble::Trouble;

/// What every command that speaks to the coordinator needs.
struct Session<'a> {
    client: Client,
    output: &'a Output,
    timeout: Duration,
    /// The context, and where it lies.
    found: Found,
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
        Command::Operator(command) => operator::run(session.await?, command).await,
        Command::Service(command) => service::run(session.await?, command).await,
        Command::Localize {
            name,
            budget,
            since,
            nagios,
        } => {
            let wish = localize::Wish {
                name,
                budget_ms: duration::millis(budget),
                since_ms: duration::millis(since),
                nagios,
            };
            localize::run(session.await?, wish).await
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
        Command::Silence {
            name,
            length,
            because,
            from,
            force,
        } => {
            let wish = silence::Wish {
                name,
                length,
                because,
                from,
                force,
            };
            silence::make(session.await?, wish).await
        }
        Command::Silences => silence::list(session.await?).await,
        Command::Unsilence { id } => silence::end(session.await?, id).await,
        Command::Audit { wish, command } => match command {
            None => audit::list(session.await?, wish).await,
            Some(AuditCommand::Verify { kept }) => audit::verify(session.await?, kept).await,
        },
        Command::Backup { file, force } => backup::run(session.await?, &file, force).await,
        Command::Notify(command) => silence::notify(session.await?, command).await,
        Command::Context(command) => contexts::run(command, output),
        Command::Completion { shell } => completion::run(shell, output),
        Command::Man { dir } => help::man(&dir, output),
        Command::Help { words } => help::run(&words, output),
        Command::Demo(what) => demo::run(what, output).await,
    }
}

async fn open(
    path: Option<PathBuf>,
    timeout: Duration,
    output: &Output,
) -> Result<Session<'_>, Trouble> {
    let found = crate::contexts::load(path)?;
    let addresses = found.context.addresses.join(", ");
    output.detail(&format!(
        "meshctl: context {} ({}), coordinator at {addresses}",
        found.path.display(),
        found.origin
    ));
    let began = tokio::time::Instant::now();
    let client = connect(&found.context, timeout).await?;
    output.detail(&format!("meshctl: connected in {:?}", began.elapsed()));
    Ok(Session {
        client,
        output,
        timeout,
        found,
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

/// How something that cannot be taken back is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Careful {
    /// It is wanted.
    Sure,
    /// It is only to be said.
    DryRun,
}

/// Asks before something that cannot be taken back; where there is nobody to ask, it must have been said.
fn careful(care: Care, question: &str) -> Result<Careful, Trouble> {
    match said(care, std::io::stdin().is_terminal())? {
        Some(careful) => Ok(careful),
        None if confirm(question) => Ok(Careful::Sure),
        None => Err(Trouble::NotConfirmed),
    }
}

/// What the options say; `None` where somebody is to be asked.
fn said(care: Care, is_terminal: bool) -> Result<Option<Careful>, Trouble> {
    match (care.dry_run, care.yes, is_terminal) {
        (true, ..) => Ok(Some(Careful::DryRun)),
        (false, true, _) => Ok(Some(Careful::Sure)),
        (false, false, true) => Ok(None),
        (false, false, false) => Err(Trouble::NobodyToAsk),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_destroyed_unasked() {
        let said = |dry_run, yes, is_terminal| said(Care { yes, dry_run }, is_terminal).ok();
        assert_eq!(said(false, false, false), None, "refused");
        assert_eq!(said(false, false, true), Some(None), "asked");
        assert_eq!(said(false, true, false), Some(Some(Careful::Sure)));
        assert_eq!(said(true, true, true), Some(Some(Careful::DryRun)));
    }
}
