//! `load`: so many agents on real streams beside a real coordinator, and what an observation costs it.
//!
//! Every agent joins with a token of its own, has a certificate, a connection and a session, answers each
//! round that it is given with observations of all its arms, and keeps its clock as agents do. Nothing is
//! probed: what the probes saw is made up.

#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

mod agent;
mod counts;
mod link;
mod measure;
mod mesh;
mod observation;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::measure::Row;
use crate::mesh::Shape;

/// Descriptors besides those of the agents' connections.
const DESCRIPTORS: u64 = 1024;

/// Measures what so many agents cost a coordinator.
#[derive(Debug, Parser)]
#[command(name = "load", version)]
struct Args {
    /// How many agents; each number is measured by itself
    #[arg(default_values_t = [1000, 3000, 10_000])]
    agents: Vec<usize>,
    /// Services, each probed by all agents
    #[arg(long, default_value_t = 4)]
    services: usize,
    /// Arms of each service: one VIP, and backends
    #[arg(long, default_value_t = 5)]
    arms: usize,
    /// Seconds from one round of a service to the next
    #[arg(long, default_value_t = 10)]
    every: u64,
    /// Share of the probes that fail
    #[arg(long, default_value_t = 0.001)]
    failing: f64,
    /// Seconds of load before it is measured
    #[arg(long, default_value_t = 20)]
    warm_up: u64,
    /// Seconds over which it is measured
    #[arg(long, default_value_t = 40)]
    seconds: u64,
    /// Budget of the localisation under load, in seconds
    #[arg(long, default_value_t = 20)]
    budget: u64,
    /// Keep the coordinators' folders, with their logs, in this one
    #[arg(long)]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    match measure_all(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Measures each size; true when no localisation came back past its budget.
fn measure_all(args: &Args) -> Result<bool> {
    let most = args.agents.iter().max().copied().unwrap_or(0);
    allow_descriptors(u64::try_from(most)? + DESCRIPTORS)?;
    let runtime = tokio::runtime::Runtime::new()?;
    println!("{}", Row::head());
    let mut in_time = true;
    for agents in &args.agents {
        let folder = tempfile::tempdir()?;
        let shape = Shape {
            agents: *agents,
            services: args.services,
            arms: args.arms,
            every: Duration::from_secs(args.every),
            failing: args.failing,
        };
        let plan = measure::Plan {
            shape,
            warm_up: Duration::from_secs(args.warm_up),
            seconds: Duration::from_secs(args.seconds),
            budget: Duration::from_secs(args.budget),
        };
        let row = runtime.block_on(measure::run(folder.path(), &plan));
        if let Some(keep) = &args.keep {
            let to = keep.join(format!("load-{agents}"));
            let kept = folder.keep();
            std::fs::rename(&kept, &to)
                .with_context(|| format!("{} stays where it is", kept.display()))?;
        }
        let row = row?;
        println!("{row}");
        in_time &= row.in_time();
    }
    Ok(in_time)
}

/// Coordinator and agents have one descriptor each for every connection.
fn allow_descriptors(wanted: u64) -> Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).with_context(|| {
            format!("{wanted} open files are needed and {hard} allowed: see `ulimit -n`")
        })?;
    }
    Ok(())
}
