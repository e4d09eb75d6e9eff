//! `mesh-coordinator`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use coordinator::config::{Config, ConfigError};
use coordinator::server::{self, ServerError};
use coordinator::store::ActChain;
use coordinator::{clock, restore};
use tracing_subscriber::EnvFilter;

/// Exit status when it could not start or go on.
const FAILED: u8 = 2;
/// Exit status of a check that has found damage.
const DAMAGED: u8 = 1;

/// Exit status of a configuration that cannot be used.
const UNUSABLE: u8 = 1;

/// What stands where, for the help and the manual page.
const FILES: &str = "\
SIGHUP has it read the file of --config again; one that makes no sense changes nothing. SIGTERM ends it.\n\n\
As a service (mesh-coordinator.service): options in /etc/mesh-coordinator.env, as OPTIONS=...; everything that it \
keeps in /var/lib/mesh-coordinator, with admin.toml, a context for meshctl, and ca/, of which a copy is to be kept apart.";

/// The coordinator of a mesh: agents and operators talk to it.
#[derive(Debug, Parser)]
#[command(name = "mesh-coordinator", version, after_help = FILES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the coordinator until SIGTERM. The first start makes the mesh's certificate authority and
    /// DIR/admin.toml, a context for meshctl.
    Run(Run),
    /// Looks whether the store holds all that was written to it. Exit status 0 when it does, 1 when it does
    /// not, 2 when that could not be found out.
    Check(Folder),
    /// Puts a damaged store aside, and makes a new one with what can be read of it.
    Repair(Folder),
    /// Looks whether a configuration can be used, as `run` would at its start and at SIGHUP, without touching
    /// anything: the first mistake with its file, line and key.
    #[command(after_help = "Exit status: 0 it can be used, 1 it cannot.")]
    CheckConfig(CheckConfig),
    /// Makes a data folder from a file that `meshctl backup` has written.
    ///
    /// The file is read through before anything is written, and the folder is checked before it is put in
    /// place. THE AUTHORITY'S KEY IS NOT IN A BACKUP: name a copy of the folder `ca` by --ca, or put it
    /// there before the start. Join tokens are void afterwards. What was done after the backup was taken
    /// has to be done again: an agent that was revoked or deleted since is let in until then.
    #[command(
        after_help = "Exit status: 0 restored, 1 the file is cut or damaged, 2 not restored for another reason."
    )]
    Restore(Restore),
    /// Writes the manual pages.
    Man(Pages),
}

#[derive(Debug, clap::Args)]
struct Restore {
    /// The backup
    file: PathBuf,
    /// The folder to make; absent or empty
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// A copy of the folder `ca` of the same mesh, with the authority's key
    #[arg(long, value_name = "DIR")]
    ca: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Pages {
    /// The folder, for instance /usr/local/share/man/man1; made when missing
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Folder {
    /// The coordinator's folder; no coordinator may be running on it
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

#[derive(Debug, clap::Args)]
struct CheckConfig {
    /// As for `run`, so that the same options can be given; it is not looked into
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    wanted: Wanted,
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Folder for everything that the coordinator keeps; made when missing
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    wanted: Wanted,
    /// Form of the log on stderr; RUST_LOG chooses what is in it
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// What a file may say as well.
#[derive(Clone, Debug, clap::Args)]
struct Wanted {
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
    /// TOML file with listen, web, advertise and the table `certificates`; flags win. SIGHUP has it read again
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Wanted {
    fn config(self, data_dir: PathBuf) -> Result<Config, ConfigError> {
        let Self {
            listen,
            web,
            advertise,
            config,
        } = self;
        Config::new(data_dir, listen, web, advertise, config.as_deref())
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(arguments) => {
            start_log(arguments.log_format);
            ended(run(arguments).map(|()| ExitCode::SUCCESS))
        }
        Command::Check(folder) => {
            silence_panics();
            ended(check(&folder))
        }
        Command::Repair(folder) => {
            silence_panics();
            start_log(LogFormat::Text);
            ended(repair(&folder))
        }
        Command::CheckConfig(wish) => check_config(wish),
        Command::Restore(wish) => {
            silence_panics();
            ended(restore(&wish))
        }
        Command::Man(pages) => ended(man(&pages)),
    }
}

fn ended(done: anyhow::Result<ExitCode>) -> ExitCode {
    done.unwrap_or_else(|error| {
        eprintln!("mesh-coordinator: {error:#}");
        ExitCode::from(FAILED)
    })
}

/// What the database's code says when it gives up on damage is told as an error.
fn silence_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

fn check(folder: &Folder) -> anyhow::Result<ExitCode> {
    match server::check(&folder.data_dir) {
        Ok(audit) => {
            println!(
                "sound: {} batches, {}",
                audit.commits,
                counted(&audit.records)
            );
            Ok(chain(&audit.acts))
        }
        Err(ServerError::Store { folder, cause }) if cause.is_damage() => {
            eprintln!("mesh-coordinator: {}", ServerError::Store { folder, cause });
            Ok(ExitCode::from(DAMAGED))
        }
        Err(error @ ServerError::StoreGone(_)) => {
            eprintln!("mesh-coordinator: {error}");
            Ok(ExitCode::from(DAMAGED))
        }
        Err(error) => Err(error.into()),
    }
}

/// Says whether the log of acts is as it was written.
fn chain(acts: &ActChain) -> ExitCode {
    match acts.broken {
        Some((number, why)) => {
            eprintln!(
                "mesh-coordinator: the log of operators' acts breaks at record {number}: {why}"
            );
            ExitCode::from(DAMAGED)
        }
        None if acts.head.number == 0 => ExitCode::SUCCESS,
        None => {
            let (first, last, sha256) = (acts.first, acts.head.number, &acts.head.sha256);
            println!("acts {first} to {last} follow each other; the last is {last}:{sha256}");
            ExitCode::SUCCESS
        }
    }
}

fn repair(folder: &Folder) -> anyhow::Result<ExitCode> {
    let saved = server::repair(&folder.data_dir)?;
    println!("saved: {}", counted(&saved.records));
    println!(
        "not readable: {} records, and {} stretches of which nobody knows how many they held",
        saved.unreadable, saved.stretches
    );
    println!("the damaged store is kept in {}", saved.kept_at.display());
    println!(
        "Join tokens are void; agents and services come from a list of their own beside the database. Look whether `meshctl agent list` and `meshctl service list` show what you expect: `agent rejoin NAME` lets in an agent whose certificate is not known."
    );
    Ok(ExitCode::SUCCESS)
}

fn check_config(wish: CheckConfig) -> ExitCode {
    let data_dir = wish.data_dir.unwrap_or_default();
    match wish.wanted.config(data_dir) {
        Ok(config) => {
            println!("{}", summary(&config));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("mesh-coordinator: {error}");
            ExitCode::from(UNUSABLE)
        }
    }
}

/// What a coordinator would make of it.
fn summary(config: &Config) -> String {
    let web = config
        .web
        .map_or("nowhere".to_owned(), |web| web.to_string());
    let advertise = match config.advertise.is_empty() {
        true => "what it listens on".to_owned(),
        false => config.advertise.join(", "),
    };
    format!(
        "good: listens on {}, web face {web}, advertises {advertise}, tells {} receivers, {} windows of maintenance",
        config.listen,
        config.notify.receivers.len(),
        config.notify.maintenance.len()
    )
}

fn restore(wish: &Restore) -> anyhow::Result<ExitCode> {
    let now_us = clock::now_us();
    let done = match restore::restore(&wish.file, &wish.data_dir, wish.ca.as_deref(), now_us) {
        Err(error) if error.is_damage() => {
            eprintln!("mesh-coordinator: {error}");
            return Ok(ExitCode::from(DAMAGED));
        }
        done => done?,
    };
    print!(
        "{}",
        restore::told(&done, wish.ca.is_some(), &wish.data_dir, now_us)
    );
    println!(
        "sound: {} batches, {}",
        done.audit.commits,
        counted(&done.audit.records)
    );
    Ok(ExitCode::SUCCESS)
}

fn man(pages: &Pages) -> anyhow::Result<ExitCode> {
    let failed = || format!("cannot write to {}", pages.dir.display());
    std::fs::create_dir_all(&pages.dir).with_context(failed)?;
    clap_mangen::generate_to(Arguments::command(), &pages.dir).with_context(failed)?;
    Ok(ExitCode::SUCCESS)
}

fn counted(records: &[(&str, u64)]) -> String {
    if records.is_empty() {
        return "no records".to_owned();
    }
    let records = records
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"));
    records.collect::<Vec<_>>().join(", ")
}

fn run(arguments: Run) -> anyhow::Result<()> {
    // Fails only when one is installed already, which is then the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Run {
        data_dir, wanted, ..
    } = arguments;
    let load = move || wanted.clone().config(data_dir.clone());
    let config = load()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(server::run(config, load))?;
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
