//! `meshctl`, the operator's command.
//!
//! Data goes to standard output, everything else to standard error. The exit status of `localize`
//! and `replay` is the verdict's, that of `mended` its decision's, that of `service check` tells what was
//! found; every other command ends with 0, or with 2 when it could not do what was asked.

mod args;
mod bundle;
mod commands;
mod connect;
mod context;
mod demo;
mod duration;
mod exit;
mod output;
mod render;
mod since;
mod trouble;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;
use crate::exit::Exit;
use crate::output::Output;

fn main() -> ExitCode {
    // Fails only when a provider is installed already, which is then the one wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = Args::parse();
    let output = Output::new(args.output);
    match run(args, &output) {
        Ok(exit) => exit.into(),
        Err(trouble) if trouble.is_closed_pipe() => Exit::Ok.into(),
        Err(trouble) => {
            eprintln!("meshctl: {trouble}");
            Exit::Trouble.into()
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
