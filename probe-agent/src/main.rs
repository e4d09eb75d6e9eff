//! `mesh-agent`: the process at a vantage point.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use localize::{Role, VantageName, WitnessReport};
use probe_agent::clock::Clock;
use probe_agent::fire::Trigger;
use probe_agent::host::{DNS_PORT, Given};
use probe_agent::identity::{self, Identity};
use probe_agent::join;
use probe_agent::outbox::{Outbox, Record};
use probe_agent::policy::Policy;
use probe_agent::round::{Parts, Rounds};
use probe_agent::session::{Agent, Ended};
use probe_agent::spool::Spool;
use probe_agent::witness::{self, WitnessConfig};
use proto::token::JoinToken;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// What stands where, for the help and the manual page.
const FILES: &str = "\
As a service (mesh-agent.service): the token of the first start in /etc/mesh-agent.env, as MESH_JOIN_TOKEN=..., beside \
options, as OPTIONS=..., and the variables that service files refer to; everything that it keeps in /var/lib/mesh-agent, \
with policy.toml, which says what may be probed from this host.";

/// The agent of a vantage point: probes, and on hosts of the delivery path a witness.
#[derive(Debug, Parser)]
#[command(name = "mesh-agent", version, after_help = FILES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Joins when it must, and works until it is told to stop.
    Run(Run),
    /// Writes the manual pages.
    Man {
        /// The folder, for instance /usr/local/share/man/man1; made when missing.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Where identity, spool and policy are kept.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The single-use token of `meshctl agent token`; needed at the first start alone.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "MESH_JOIN_TOKEN",
        hide_env_values = true
    )]
    join: Option<JoinToken>,
    /// An address to probe from, instead of the interfaces' own. May be repeated.
    #[arg(long, value_name = "ADDR")]
    source: Vec<IpAddr>,
    /// A resolver to ask, instead of those of /etc/resolv.conf. May be repeated.
    #[arg(long, value_name = "ADDR[:PORT]", value_parser = resolver)]
    resolver: Vec<SocketAddr>,
    /// What this host is, by its owner's word, whatever the token was for: of the two the narrower one counts. Goes
    /// before `role` of policy.toml.
    #[arg(long, value_enum, value_name = "ROLE")]
    role: Option<GivenRole>,
    /// Form of the log on stderr.
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What an owner may say that a host is.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum GivenRole {
    /// At a user's side: public addresses alone.
    Outside,
    /// Reaches the VIP as the CDN does.
    BehindCdn,
    /// In the data centre: VIP and every backend.
    Inside,
}

impl From<GivenRole> for Role {
    fn from(given: GivenRole) -> Self {
        match given {
            GivenRole::Outside => Self::Outside,
            GivenRole::BehindCdn => Self::BehindCdn,
            GivenRole::Inside => Self::Inside,
        }
    }
}

/// The agent cannot start.
const SETUP: u8 = 2;
/// The agent may not go on.
const ENDED: u8 = 1;
/// The spool holds a week of a busy agent's observations.
const SPOOL_BYTES: u64 = 256 << 20;
/// Probes under way at the end are waited for this long.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pace of the witness's reports.
const REPORT_PACE: Duration = Duration::from_secs(1);
/// Questions for packets that wait for the witness, which looks once a second.
const WANTED: usize = 64;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(run) => start(run),
        Command::Man { dir } => man(&dir),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mesh-agent: {error:#}");
            let ended = error.downcast_ref::<Ended>().is_some();
            ExitCode::from(if ended { ENDED } else { SETUP })
        }
    }
}

fn start(run: Run) -> anyhow::Result<()> {
    log_to_stderr(run.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(work(run))
}

fn man(dir: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot write to {}", dir.display());
    std::fs::create_dir_all(dir).with_context(failed)?;
    clap_mangen::generate_to(Cli::command(), dir).with_context(failed)
}

fn resolver(text: &str) -> Result<SocketAddr, String> {
    text.parse::<SocketAddr>()
        .or_else(|_| {
            text.parse::<IpAddr>()
                .map(|ip| SocketAddr::new(ip, DNS_PORT))
        })
        .map_err(|_| "give an address, with a port where it is not 53".to_owned())
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

async fn work(run: Run) -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow!("a second TLS provider"))?;
    let _lock = identity::lock(&run.data_dir)?;
    let policy = Policy::load(&run.data_dir)?.of_role(run.role.map(Role::from));
    let identity = join::enter(&run.data_dir, run.join.as_ref()).await?;
    tell_role(policy.role(), identity.role);
    let vantage = VantageName(identity.name.clone());
    let clock = Arc::new(Clock::start());
    let spool = Spool::open(&run.data_dir.join("spool"), clock.now().0, SPOOL_BYTES)?;
    let (outbox, spool_thread) = Outbox::start(spool).context("cannot start the spool's thread")?;
    let trigger = Trigger::start(Arc::clone(&clock)).context("cannot start the firing thread")?;
    let rounds = Arc::new(Rounds::new(Parts {
        vantage: vantage.clone(),
        clock: Arc::clone(&clock),
        trigger,
        outbox: outbox.clone(),
        policy,
    }));
    let (witness_ports, ports) = watch::channel(BTreeSet::new());
    let (told, witness) = watch::channel(None);
    let (wanted_packets, wanted) = mpsc::channel(WANTED);
    let watching = identity.host.is_some().then(|| {
        let config = WitnessConfig {
            ports,
            name: vantage,
            interval: REPORT_PACE,
            wanted,
        };
        tokio::spawn(watch_flows(
            config,
            Arc::clone(&clock),
            outbox.clone(),
            told,
        ))
    });
    let stop = stop_on_signals()?;
    let data_dir = run.data_dir.clone();
    let agent = Agent {
        data_dir: run.data_dir,
        identity,
        given: Given {
            sources: run.source,
            resolvers: run.resolver,
        },
        clock,
        outbox,
        rounds: Arc::clone(&rounds),
        witness_ports,
        wanted_packets,
        witness,
        told_ended: false,
    };
    let ended = agent.run(stop).await;
    if let Err(Ended::Refused(_)) = &ended {
        Identity::retire(&data_dir)?;
    }
    rounds.finish(PATIENCE).await;
    if let Some(watching) = watching {
        watching.abort();
        let _ = watching.await;
    }
    drop(rounds);
    // Every handle of the outbox is gone: the thread writes what it has and ends.
    let _ = tokio::task::spawn_blocking(move || spool_thread.join()).await;
    Ok(ended?)
}

/// What private space is open for should be known from the host alone.
fn tell_role(own: Option<Role>, token: Role) {
    match own {
        Some(own) if own == token => {}
        Some(own) => tracing::warn!(
            ?own,
            ?token,
            "this host's owner says another role than the token was for: the narrower one counts"
        ),
        None if token == Role::Outside => {}
        None => tracing::info!(
            ?token,
            "the token's role opens private addresses here; to say it yourself start with --role, or write \
             role into policy.toml, and what may be probed into `only`"
        ),
    }
}

/// Brings the witness's batches to the outbox, and tells how the witness fares.
async fn watch_flows(
    config: WitnessConfig,
    clock: Arc<Clock>,
    outbox: Outbox,
    told: watch::Sender<Option<Result<(), String>>>,
) {
    // Stamps before the first estimate of mesh time would be worth nothing.
    while clock.local(0).is_none() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (name, interval) = (config.name.clone(), config.interval);
    let now = move || clock.stamp(clock.now());
    let started = witness::start(config, now.clone());
    told.send_replace(Some(match &started {
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::warn!(%error, "no witness, but for what the kernel counts");
            Err(error.to_string())
        }
    }));
    let Ok(mut batches) = started.or_else(|_| witness::start_blind(interval, now)) else {
        return;
    };
    while let Some(batch) = batches.recv().await {
        let report = WitnessReport {
            witness: name.clone(),
            // The outbox numbers what it keeps.
            sequence: 0,
            from: batch.from,
            to: batch.to,
            dropped: batch.dropped,
            flows: batch.flows,
            host: Some(batch.host),
            packets: batch.packets,
        };
        outbox.keep(Record::Report(Box::new(report))).await;
    }
    told.send_replace(Some(Err(
        "the witness has ended; see the agent's log".to_owned()
    )));
}

fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).context("cannot listen for signals")?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    // They mean nothing to an agent, and end nobody.
    for kind in [SignalKind::hangup(), SignalKind::user_defined1()] {
        let mut signals = signal(kind).context("cannot listen for signals")?;
        tokio::spawn(async move { while signals.recv().await.is_some() {} });
    }
    Ok(stop)
}
