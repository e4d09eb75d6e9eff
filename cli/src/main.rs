//! `meshctl`, the operator's command.
//!
//! Data goes to standard output, everything else to standard error. The exit status of `localize`
//! and `replay` is the verdict's, that of `mended` its decision's, that of `service check` tells what was
//! found; every other command ends with 0, or with a status that tells why not (`exit`).

mod args;
mod bundle;
mod commands;
mod complete;
mod connect;
mod context;
mod contexts;
mod demo;
mod duration;
mod exit;
mod output;
mod render;
mod since;
mod trouble;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};

use crate::args::Args;
use crate::exit::Exit;
use crate::output::Output;

fn main() -> ExitCode {
    // Fails only when a provider is installed already, which is then the one wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A shell asks what may come next: answers and ends.
    clap_complete::CompleteEnv::with_factory(Args::command).complete();
    let args = Args::parse();
    let output = Output::new(&args);
    let (is_verdict, nagios) = (
        args.command.ends_with_a_verdict(),
        args.command.is_for_nagios(),
    );
    match run(args, &output) {
        Ok(exit) => exit.into(),
        Err(trouble) if trouble.is_closed_pipe() => Exit::Ok.into(),
        Err(trouble) if nagios => {
            println!("UNKNOWN - {trouble}");
            Exit::Inconclusive.into()
        }
        Err(trouble) => {
            eprintln!("meshctl: {trouble}");
            let exit = if is_verdict {
                Exit::Trouble
            } else {
                trouble.exit()
            };
            exit.into()
        }
    }
}

fn run(args: Args, output: &Output) -> Result<Exit, trouble::Trouble> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(trouble::Trouble::Runtime)?;
    let outcome = runtime.block_on(commands::run(args, output));
    // A name look-up under way would hold up the end for as long as the system's resolver likes.
    runtime.shutdown_background();
    outcome
}
