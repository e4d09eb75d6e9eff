//! `lab`: builds the delivery path in network namespaces, breaks it, and checks the verdicts.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use lab::app::{self, App};
use lab::chain;
use lab::edge::{self, Edge};
use lab::fault::Fault;
use lab::full::{self, Full};
use lab::killing;
use lab::namespace;
use lab::net::{Balancer, HOSTS, Options};
use lab::pausing::{self, Pause};
use lab::run::{self, Plan};
use lab::skew;
use lab::symptom;
use lab::topology::{self, Lab};
use lab::verdicts::{Coverage, Declared, Setting};
use lab::watching::{self, Vigil};

/// A delivery path of real daemons in network namespaces, with faults that can be switched.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the faults
    List,
    /// Build the path and keep it until Ctrl-C
    Up {
        /// Switch this fault on
        #[arg(long, value_parser = fault)]
        fault: Option<Fault>,
        #[command(flatten)]
        network: Network,
    },
    /// Check with dig and curl alone that each fault shows, and goes
    Verify {
        /// The faults [default: all]
        #[arg(value_parser = fault)]
        faults: Vec<Fault>,
        #[command(flatten)]
        network: Network,
    },
    /// Switch faults on one by one and check what the meshes say
    Run(RunArgs),
    /// Live through a shuffled chain of faults, a few seconds apart, and check what the meshes say
    Chain(ChainArgs),
    /// Switch one fault on and measure how soon scheduled rounds alone raise a verdict that names it
    Watch(WatchArgs),
    /// Measure on the wire how well the agents fire together, and whether their stamps are honest
    Skew {
        /// How many rounds
        #[arg(long, default_value_t = 200)]
        rounds: u32,
    },
    /// Kill coordinator and agents at random instants and count what is lost
    Kill {
        /// How many kills of each
        #[arg(long, default_value_t = 20)]
        kills: u32,
    },
    /// Remove what runs left that were killed
    Down,
    /// Serve as a backend's application
    #[command(hide = true)]
    App(App),
    /// Serve as an edge of the CDN
    #[command(hide = true)]
    Edge(Edge),
    /// Stop a process now and then
    #[command(hide = true)]
    Pause(Pause),
    /// Listen with a full accept queue
    #[command(hide = true)]
    Full(Full),
    /// Delay the packets of a netfilter queue
    #[command(hide = true)]
    Delay {
        /// By how many milliseconds
        #[arg(long)]
        ms: u64,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The faults [default: all]
    #[arg(value_parser = fault)]
    faults: Vec<Fault>,
    /// Localise the healthy path so many times first; alone, without any fault
    #[arg(long, default_value_t = 0)]
    healthy: u32,
    /// With agents on every host, without agents on balancer and backends, or both at once
    #[arg(long, value_enum, default_value_t = Meshes::Both)]
    mesh: Meshes,
    /// Keep the cases in this folder
    #[arg(long)]
    record: Option<PathBuf>,
    #[command(flatten)]
    network: Network,
}

#[derive(Debug, Args)]
struct ChainArgs {
    /// The faults [default: all]
    #[arg(value_parser = fault)]
    faults: Vec<Fault>,
    /// What order and pauses are drawn from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// With agents on every host, without agents on balancer and backends, or both at once
    #[arg(long, value_enum, default_value_t = Meshes::Full)]
    mesh: Meshes,
    /// Declare no more than this in the service file; agents stand on balancer and backends with
    /// `hosts` alone [default: everything]
    #[arg(long, value_enum, conflicts_with = "mesh")]
    declared: Option<Known>,
    /// How many faults the chain has [default: each of them once]
    #[arg(long)]
    count: Option<usize>,
    /// Questions in good health at the end
    #[arg(long, default_value_t = 10)]
    healthy: usize,
    /// Keep the cases, and what was true of each, in this folder
    #[arg(long)]
    record: Option<PathBuf>,
    #[command(flatten)]
    network: Network,
}

/// What a user has told the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Known {
    /// Name and URL
    Name,
    /// And the VIP
    Vip,
    /// And the backends
    Backends,
    /// And agents run on balancer and backends
    Hosts,
}

#[derive(Debug, Args)]
struct WatchArgs {
    /// The fault
    #[arg(value_parser = fault)]
    fault: Fault,
    /// Seconds of good health before it, from which the watch learns what is calm
    #[arg(long, default_value_t = 500)]
    calm: u64,
    /// Seconds to wait for the verdict
    #[arg(long, default_value_t = 1800)]
    patience: u64,
    /// With agents on every host, without agents on balancer and backends, or both at once
    #[arg(long, value_enum, default_value_t = Meshes::Full)]
    mesh: Meshes,
    #[command(flatten)]
    network: Network,
}

#[derive(Debug, Args)]
struct Network {
    /// Share of packets that the backbone loses, from 0 to 1
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Milliseconds by which the backbone delays packets
    #[arg(long, default_value_t = 0)]
    delay: u64,
    /// How the balancer works
    #[arg(long, value_enum, default_value_t = Balancer::L7)]
    balancer: Balancer,
    /// Keep the agent in the data centre from the VIP
    #[arg(long)]
    vip_closed_to_dc1: bool,
    /// Give a balancer that translates addresses few ports for its connections
    #[arg(long)]
    few_ports: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Meshes {
    Full,
    /// Without an agent on the balancer
    Beside,
    Bare,
    Both,
}

impl Meshes {
    fn settings(self, balancer: Balancer) -> Vec<Setting> {
        let coverages = match self {
            Meshes::Full => vec![Coverage::Full],
            Meshes::Beside => vec![Coverage::Beside],
            Meshes::Bare => vec![Coverage::Bare],
            Meshes::Both => vec![Coverage::Full, Coverage::Bare],
        };
        let setting = |coverage| Setting {
            coverage,
            declared: Declared::All,
            balancer,
        };
        coverages.into_iter().map(setting).collect()
    }
}

impl Known {
    fn setting(self, balancer: Balancer) -> Setting {
        let (declared, coverage) = match self {
            Known::Name => (Declared::Name, Coverage::Bare),
            Known::Vip => (Declared::Vip, Coverage::Bare),
            Known::Backends => (Declared::Backends, Coverage::Bare),
            Known::Hosts => (Declared::Backends, Coverage::Full),
        };
        Setting {
            coverage,
            declared,
            balancer,
        }
    }
}

fn main() -> ExitCode {
    // Fails only when a provider is installed already, which is then the one wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match act(Command::parse().what) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn act(what: What) -> Result<bool> {
    match what {
        What::List => {
            for fault in Fault::every() {
                println!("{}", fault.name());
            }
            Ok(true)
        }
        What::Up { fault, network } => up(fault, options(&network)).map(|()| true),
        What::Verify { faults, network } => verify(&faults, options(&network)),
        What::Run(args) => {
            topology::remove_on_signal()?;
            run::run(&plan(args))
        }
        What::Chain(args) => {
            topology::remove_on_signal()?;
            chain::run(&chain_plan(args))
        }
        What::Watch(args) => {
            topology::remove_on_signal()?;
            watching::run(&Vigil {
                fault: args.fault,
                calm: Duration::from_secs(args.calm),
                patience: Duration::from_secs(args.patience),
                meshes: args.mesh.settings(args.network.balancer),
                options: options(&args.network),
            })
        }
        What::Skew { rounds } => {
            topology::remove_on_signal()?;
            skew::run(rounds)
        }
        What::Kill { kills } => killing::run(kills),
        What::Down => {
            println!("{} removed", namespace::remove_stale());
            Ok(true)
        }
        What::App(settings) => app::serve(settings).map(|()| true),
        What::Edge(settings) => edge::serve(settings).map(|()| true),
        What::Full(settings) => full::serve(&settings).map(|()| true),
        What::Pause(settings) => pausing::serve(settings).map(|()| true),
        What::Delay { ms } => lab::delay::serve(Duration::from_millis(ms)).map(|()| true),
    }
}

fn up(fault: Option<Fault>, options: Options) -> Result<()> {
    topology::remove_on_signal()?;
    let mut lab = Lab::up(options)?;
    if let Some(fault) = fault {
        fault.apply(&mut lab)?;
    }
    println!("The path is up. Enter a host with");
    for host in HOSTS {
        println!("  ip netns exec {} bash", lab.run.namespace(host));
    }
    println!("Logs and configuration are in {}.", lab.folder().display());
    println!(
        "The service's authority is {}.",
        lab.certificates.ca.display()
    );
    println!("Ctrl-C takes everything down.");
    loop {
        std::thread::park();
    }
}

fn verify(faults: &[Fault], options: Options) -> Result<bool> {
    topology::remove_on_signal()?;
    let mut lab = Lab::up(options)?;
    let all: Vec<Fault> = Fault::every().collect();
    let faults = if faults.is_empty() { &all } else { faults };
    let (mut shown, mut failed) = (0, 0);
    for fault in faults.iter().filter(|fault| fault.fits(options.balancer)) {
        match symptom::verify(&mut lab, *fault) {
            Ok(()) => {
                shown += 1;
                println!("{:<26} shows", fault.name());
            }
            Err(error) => {
                failed += 1;
                println!("{:<26} DOES NOT SHOW  {error:#}", fault.name());
            }
        }
    }
    println!("{shown} shown, {failed} not");
    Ok(failed == 0)
}

fn plan(args: RunArgs) -> Plan {
    let faults = if args.faults.is_empty() && args.healthy == 0 {
        Fault::usual()
    } else {
        args.faults
    };
    Plan {
        faults,
        healthy: args.healthy,
        meshes: args.mesh.settings(args.network.balancer),
        record: args.record,
        options: options(&args.network),
    }
}

fn chain_plan(args: ChainArgs) -> chain::Plan {
    let balancer = args.network.balancer;
    let faults = if args.faults.is_empty() {
        Fault::usual()
    } else {
        args.faults
    };
    let declared = args.declared.map(|known| vec![known.setting(balancer)]);
    chain::Plan {
        faults,
        count: args.count,
        healthy: args.healthy,
        seed: args
            .seed
            .unwrap_or_else(|| u64::from(rand::random::<u32>())),
        meshes: declared.unwrap_or_else(|| args.mesh.settings(balancer)),
        record: args.record,
        options: options(&args.network),
    }
}

fn options(network: &Network) -> Options {
    Options {
        backbone_loss: network.loss,
        backbone_delay_ms: network.delay,
        balancer: network.balancer,
        vip_closed_to_dc1: network.vip_closed_to_dc1,
        few_ports: network.few_ports,
    }
}

fn fault(name: &str) -> Result<Fault> {
    Fault::named(name).with_context(|| format!("no fault {name}; `lab list` lists them"))
}
