//! `mesh-coordinator`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use coordinator::config::Config;
use tracing_subscriber::EnvFilter;

/// Exit status when it could not start or go on.
const FAILED: u8 = 2;

/// The coordinator of a mesh: agents and operators talk to it.
#[derive(Debug, Parser)]
#[command(name = "mesh-coordinator", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the coordinator until SIGTERM. The first start makes the mesh's certificate authority and
    /// DIR/admin.toml, a context for meshctl.
    Run(Run),
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Folder for everything that the coordinator keeps; made when missing
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Where to listen [default: 0.0.0.0:7443]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Serve the page, metrics and JSON there as well, on loopback alone; 127.0.0.1:7480 without a value
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:7480"
    )]
    web: Option<String>,
    /// How agents and operators reach this coordinator, best first; once for each address
    /// [default: the address listened on, else every address of this host]
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Vec<String>,
    /// TOML file with listen, web, advertise and the table `certificates`; flags win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Form of the log on stderr; RUST_LOG chooses what is in it
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn main() -> ExitCode {
    let Command::Run(arguments) = Arguments::parse().command;
    start_log(arguments.log_format);
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mesh-coordinator: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(arguments: Run) -> anyhow::Result<()> {
    // Fails only when one is installed already, which is then the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Run {
        data_dir,
        listen,
        web,
        advertise,
        config,
        log_format: _,
    } = arguments;
    let config = Config::new(data_dir, listen, web, advertise, config.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(coordinator::server::run(config))?;
    Ok(())
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
