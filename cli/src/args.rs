//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::demo::fault::Fault;
use crate::duration;
use crate::since::{self, Since};

/// Finds the guilty component of a site's delivery path.
#[derive(Debug, Parser)]
#[command(
    name = "meshctl",
    version,
    about = "Finds the guilty component of a site's delivery path",
    after_help = "Exit status of localize and replay: 0 healthy, 1 at least one fault named, \
                  2 could not run, 3 inconclusive.\nOf mended: 0 mended, 1 not mended, 2 could not \
                  run, 3 undecided.\nOf service check: 0 nothing speaks against the file, 1 something \
                  does, 2 could not run, 3 nothing was probed.\nOf all other commands: 0 done, 2 not \
                  done."
)]
pub struct Args {
    /// File with the coordinator's address and your certificate
    /// [default: $MESHCTL_CONTEXT, else ~/.config/meshctl/context.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub context: Option<PathBuf>,
    /// Form of the output: text for people, json for scripts
    #[arg(short, long, global = true, value_name = "FORM", value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// How long to wait for the coordinator
    #[arg(long, global = true, default_value = "10s", value_name = "TIME", value_parser = duration::parse)]
    pub timeout: Duration,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; may change.
    #[value(alias = "table")]
    Text,
    /// For scripts; only grows.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Is the coordinator there, and what is connected
    Status {
        /// Keep trying for so long until the coordinator answers
        #[arg(long, value_name = "TIME", value_parser = duration::parse)]
        wait: Option<Duration>,
    },
    /// The agents: invite, list, show, let in again, rename, revoke, delete
    #[command(subcommand)]
    Agent(AgentCommand),
    /// The services: check a file, apply it, list, show, delete
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Fire rounds at a service until the guilty component is known
    Localize {
        /// The service
        name: String,
        /// Longest time to take
        #[arg(long, default_value = "60s", value_name = "TIME", value_parser = duration::parse)]
        budget: Duration,
        /// Scheduled rounds not older than this count too
        #[arg(long, default_value = "15m", value_name = "TIME", value_parser = duration::parse)]
        since: Duration,
    },
    /// Print rounds, verdicts and agents' comings and goings as they happen
    Watch {
        /// One service only
        name: Option<String>,
    },
    /// What the probes of a service saw, by vantage point, arm and layer
    History {
        /// The service
        name: String,
        /// How far back
        #[arg(long, default_value = "1h", value_name = "TIME", value_parser = duration::parse)]
        since: Duration,
    },
    /// The latest verdicts
    Verdicts {
        /// One service only
        name: Option<String>,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// A stored verdict with all its evidence
    Explain {
        /// The verdict's id
        id: String,
        /// Write what the verdict was made from to this file, for `replay`
        #[arg(long, value_name = "FILE")]
        case: Option<PathBuf>,
        /// Write everything behind it to this file (.tar.gz), for whoever has to mend it: verdict, probes,
        /// packets seen, kernel counters, clocks, and a README
        #[arg(long, value_name = "FILE")]
        bundle: Option<PathBuf>,
    },
    /// A verdict as one file for the other team: it opens in any browser, offline, and prints
    Report {
        /// The verdict's id
        id: String,
        /// Where to write it; `-` is standard output [default: ID.html]
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Is the fault of a verdict mended: what its probes saw before against what they see since
    Mended {
        /// The verdict's id
        id: String,
        /// When it was mended: an instant (2026-03-01T12:03:11Z) or so long ago (10m)
        /// [default: the end of the verdict's own rounds]
        #[arg(long, value_name = "INSTANT|TIME", value_parser = since::parse)]
        since: Option<Since>,
        /// Look again until it is decided, for so long at most
        #[arg(long, value_name = "TIME", value_parser = duration::parse)]
        wait: Option<Duration>,
    },
    /// Judge a case file again, without a coordinator
    Replay {
        /// A file written by `explain --case`
        file: PathBuf,
    },
    /// Which components the probes can tell apart, and which agent would help
    Coverage {
        /// The service
        name: String,
    },
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Start a whole mesh on loopback addresses, break something in it, and localise it
    Demo(DemoArgs),
}

/// The agents.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Make a single-use join token and print it alone on standard output
    Token(TokenArgs),
    /// List the agents
    List,
    /// Show one agent
    Show {
        /// The agent
        name: String,
    },
    /// Make a token for an agent that is known, to let it in again as who it is: after its certificate has
    /// ended for too long, or on another host
    Rejoin {
        /// The agent
        name: String,
        /// How long the token can be used
        #[arg(long, default_value = "1h", value_name = "TIME", value_parser = duration::at_least_a_second)]
        ttl: Duration,
        /// Whoever joins takes the place of the agent while that one is connected
        #[arg(long)]
        replace: bool,
    },
    /// Give an agent another name; it keeps its history and goes on by itself
    Rename {
        /// The name that it has
        old: String,
        /// The name that it gets
        new: String,
    },
    /// Forget an agent with all that was observed from it
    Delete {
        /// The agent
        name: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Refuse an agent's certificates from now on and end its session
    Revoke {
        /// The agent
        name: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// What a join token is for.
#[derive(Debug, ClapArgs)]
pub struct TokenArgs {
    /// The new agent's name
    #[arg(long)]
    pub name: String,
    /// Where it will stand
    #[arg(long, value_enum)]
    pub role: RoleArg,
    /// The backend that it will run on, or `lb` for the balancer: makes it a witness there
    #[arg(long)]
    pub host: Option<String>,
    /// A label; may be given more than once
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// How long the token can be used
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = duration::at_least_a_second)]
    pub ttl: Duration,
    /// Whoever joins takes the place of an agent that is connected by this name
    #[arg(long)]
    pub replace: bool,
}

/// Where an agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// At a user's side: the public path only
    Outside,
    /// Reaches the virtual address as the CDN does
    BehindCdn,
    /// In the data centre: virtual address and every backend
    Inside,
}

/// The services.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Create or replace a service from its file, and say what does not hold of it
    Apply {
        /// The service file; `-` reads standard input
        #[arg(short, long)]
        file: PathBuf,
        /// Do not check what the file says
        #[arg(long)]
        no_check: bool,
    },
    /// Fire every arm of a service file once, and say what does not hold of it
    ///
    /// An arm that fails is fired once more. The file need not be applied, and nothing that is seen becomes
    /// evidence. What does not work just now may be a fault as well as a mistake in the file: that is a
    /// warning. An error cannot work as the file says it; a note is what was not probed, and why.
    #[command(
        after_help = "Exit status: 0 nothing speaks against the file, 1 at least one error or warning, \
                      2 could not run (a file that cannot be read included), 3 nothing was probed.",
        group = ArgGroup::new("what").args(["name", "file"]).required(true)
    )]
    Check {
        /// A service that is applied
        name: Option<String>,
        /// The service file, applied or not; `-` reads standard input
        #[arg(short, long)]
        file: Option<PathBuf>,
    },
    /// List the services
    List,
    /// Show a service and what is known of its path
    Show {
        /// The service
        name: String,
    },
    /// Forget a service
    Delete {
        /// The service
        name: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// What to demonstrate.
#[derive(Debug, ClapArgs)]
pub struct DemoArgs {
    /// One fault, or several with commas between, one after the other in one mesh; `list` lists them
    /// [default: a tour of the harder ones]
    #[arg(long, value_name = "NAME|list", value_delimiter = ',')]
    pub fault: Vec<FaultChoice>,
    /// Every fault there is, one after the other
    #[arg(long, conflicts_with = "fault")]
    pub all: bool,
    /// Leave the mesh running at the end, the last fault in it, until Ctrl-C
    #[arg(long)]
    pub keep: bool,
}

/// The value of `--fault`.
#[derive(Clone, Copy, Debug)]
pub enum FaultChoice {
    /// Print the names.
    List,
    /// This one.
    One(Fault),
}

impl std::str::FromStr for FaultChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "list" {
            return Ok(Self::List);
        }
        Fault::ALL
            .into_iter()
            .find(|fault| fault.name() == text)
            .map(Self::One)
            .ok_or_else(|| "no such fault; `meshctl demo --fault list` lists them".to_owned())
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is written KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn global_options_work_after_the_command() {
        let args = Args::try_parse_from(["meshctl", "localize", "shop", "-o", "table"]).unwrap();
        assert_eq!(args.output, Format::Text);
        let args = Args::try_parse_from(["meshctl", "-o", "json", "agent", "list"]).unwrap();
        assert_eq!(args.output, Format::Json);
    }

    #[test]
    fn usage_errors_end_with_two() {
        let rows: &[&[&str]] = &[
            &["meshctl"],
            &["meshctl", "localize"],
            &["meshctl", "localize", "shop", "--budget", "60"],
            &["meshctl", "agent", "token", "--name", "a", "--role", "moon"],
            &[
                "meshctl", "agent", "token", "--name", "a", "--role", "inside", "--label", "x",
            ],
            &["meshctl", "demo", "--fault", "nonsense"],
            &["meshctl", "mended"],
            &["meshctl", "mended", "v-1", "--since", "yesterday"],
            &["meshctl", "service", "check"],
            &["meshctl", "service", "check", "shop", "-f", "shop.toml"],
        ];
        for row in rows {
            let error = Args::try_parse_from(*row).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{row:?}");
        }
    }
}
