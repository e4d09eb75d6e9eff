//! `meshctl demo`: a whole mesh and a small real delivery path on loopback addresses, broken on
//! purpose, localised, and taken down. No root, no mocks: real sockets, DNS, TLS and HTTP.

mod backend;
mod balancer;
mod certificates;
mod dns;
mod edge;
pub mod fault;
mod mesh;
mod path;
mod plan;
mod report;
mod serve;

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use localize::Verdict;
use tokio::signal::unix::{SignalKind, signal};

use self::fault::Fault;
use self::mesh::Mesh;
use self::path::Path;
use self::plan::{Plan, SERVICE};
use self::report::Trial;
use crate::args::{DemoArgs, FaultChoice};
use crate::exit::Exit;
use crate::output::Output;
use crate::trouble::Trouble;

/// How long everything is left in peace before the first fault.
const CALM: Duration = Duration::from_secs(5);
/// From the switching of a fault until it is looked for: rounds under way end, the balancer's checks
/// notice, caches forget, and the schedule has fired a round or two.
const SETTLE: Duration = Duration::from_secs(3);
/// Ports to choose from: below the range from which the kernel takes ports for connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Ports tried until one is free at all addresses.
const ATTEMPTS: u32 = 10;

/// Why the demonstration could not run.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The temporary folder or a file in it.
    #[error("the demonstration's temporary folder cannot be used: {0}.")]
    Folder(io::Error),
    /// No port is free.
    #[error("no port is free at all of the demonstration's loopback addresses: {0}.")]
    Ports(io::Error),
    /// A certificate cannot be made.
    #[error("a certificate for the demonstration cannot be made: {0}.")]
    Certificate(#[from] rcgen::Error),
    /// A certificate cannot be used.
    #[error("a certificate of the demonstration cannot be used: {0}.")]
    Tls(#[from] rustls::Error),
    /// A program is not there.
    #[error(
        "cannot start {program}: {source}. The demonstration needs mesh-coordinator and mesh-agent \
         beside meshctl; `cargo build` makes all three."
    )]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program ended unasked.
    #[error("{program} ended by itself ({status}). The end of its log:\n{log}")]
    Ended {
        /// The program.
        program: String,
        /// How.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// The programs did not come up.
    #[error("coordinator and agents were not all there after {0:?}.")]
    Slow(Duration),
    /// A command of `meshctl` failed and has said why.
    #[error("`meshctl {0}` failed.")]
    Command(String),
    /// A command's JSON cannot be read.
    #[error("what meshctl printed cannot be read: {0}.")]
    Json(#[from] serde_json::Error),
    /// Signals cannot be waited for.
    #[error("cannot wait for Ctrl-C: {0}.")]
    Signal(io::Error),
    /// Ctrl-C.
    #[error("interrupted; everything is taken down.")]
    Interrupted,
}

/// Runs the demonstration.
pub async fn run(args: DemoArgs, output: &Output) -> Result<Exit, Trouble> {
    let mut faults = Vec::new();
    for choice in args.fault {
        match choice {
            FaultChoice::List => return report::list(output),
            FaultChoice::One(fault) => faults.push(fault),
        }
    }
    if args.all {
        faults.extend(Fault::ALL);
    } else if faults.is_empty() {
        faults.extend(Fault::TOUR);
    }
    // Dropping the demonstration takes everything down, whatever ends it.
    tokio::select! {
        done = demonstrate(&faults, args.keep, output) => done,
        stopped = interrupted() => {
            stopped?;
            Err(DemoError::Interrupted.into())
        }
    }
}

async fn demonstrate(faults: &[Fault], keep: bool, output: &Output) -> Result<Exit, Trouble> {
    let (plan, path, mesh) = start(output).await?;
    output.say(&format!("A few calm rounds ({} s).", CALM.as_secs()));
    tokio::time::sleep(CALM).await;
    let mut trials = Vec::new();
    for &fault in faults {
        let trial = trial(fault, &plan, &path, &mesh, output).await?;
        report::one(&trial, faults.len(), output)?;
        trials.push(trial);
    }
    report::all(&trials, output)?;
    if keep {
        output.say(&format!(
            "\nThe mesh stays until Ctrl-C. Its page: {}\nIts meshctl: meshctl --context {} status",
            mesh.page(),
            mesh.context().display()
        ));
        std::future::pending::<()>().await;
    }
    output.say("Taking everything down.");
    Ok(match trials.iter().all(Trial::is_right) {
        true => Exit::Ok,
        false => Exit::Fault,
    })
}

/// Starts path and mesh at a port that is free for all of them.
async fn start(output: &Output) -> Result<(Plan, Path, Mesh), Trouble> {
    let certificates = certificates::make()?;
    let mut attempt = 1;
    let (plan, path) = loop {
        let plan = Plan::at(rand::random_range(PORTS));
        // The coordinator binds its own address a moment later; that it is free can be seen now.
        let free = serve::bind(plan.coordinator).map(drop);
        let started = match free {
            Ok(()) => Path::start(&plan, &certificates).await,
            Err(taken) => Err(taken),
        };
        match started {
            Ok(path) => break (plan, path),
            Err(taken) if attempt == ATTEMPTS => return Err(DemoError::Ports(taken).into()),
            Err(_) => attempt += 1,
        }
    };
    output.say(&format!(
        "The path of {SERVICE}: 2 resolvers, 2 name servers, 2 CDN edges, a balancer at {}, 3 backends.",
        plan.vip
    ));
    output.say(
        "The mesh: a coordinator; agents home1 and home2 outside, cdn1 behind the CDN, dc1 inside.",
    );
    let mesh = Mesh::start(&plan, &certificates).await?;
    output.say(&format!("Its page: {}", mesh.page()));
    Ok((plan, path, mesh))
}

/// Breaks one thing and asks `meshctl localize` about it.
async fn trial(
    fault: Fault,
    plan: &Plan,
    path: &Path,
    mesh: &Mesh,
    output: &Output,
) -> Result<Trial, Trouble> {
    path.switch(fault);
    output.say(&format!("\n{}: {}.", fault.name(), fault.what()));
    tokio::time::sleep(SETTLE).await;
    let arguments = ["localize", SERVICE, "-o", "json"];
    output.say(&format!("$ meshctl {}", arguments[..2].join(" ")));
    let answer = mesh.meshctl(&arguments).await?;
    if answer.status == Some(i32::from(Exit::Trouble.code())) || answer.status.is_none() {
        return Err(DemoError::Command(arguments.join(" ")).into());
    }
    let verdict: Verdict = serde_json::from_slice(&answer.stdout).map_err(DemoError::Json)?;
    Ok(Trial {
        fault,
        expected: fault.expected(plan),
        verdict,
    })
}

/// Returns when somebody wants the demonstration to end.
async fn interrupted() -> Result<(), DemoError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DemoError::Signal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(DemoError::Signal)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(DemoError::Signal)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
