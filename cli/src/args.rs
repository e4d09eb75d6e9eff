//! The command line.

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::complete;
use crate::demo::fault::Fault;
use crate::duration;
use crate::since::{self, Since};

/// Finds the guilty component of a site's delivery path.
#[derive(Debug, Parser)]
#[command(
    name = "meshctl",
    version,
    about = "Finds the guilty component of a site's delivery path",
    disable_help_subcommand = true,
    after_help = "`meshctl help exit-codes` lists the exit statuses, `meshctl help COMMAND` says more of a command."
)]
pub struct Args {
    /// File with the coordinator's address and your certificate, or the name of a context
    /// [default: $MESHCTL_CONTEXT, else ~/.config/meshctl/context.toml]
    #[arg(long, global = true, value_name = "FILE|NAME")]
    pub context: Option<PathBuf>,
    /// Form of the output: text and wide for people, the others for scripts
    #[arg(short, long, global = true, value_name = "FORM", value_enum, default_value_t = Format::Text,
          env = "MESHCTL_OUTPUT", hide_env_values = true)]
    pub output: Format,
    /// Tables without their headings
    #[arg(long, global = true)]
    pub no_headers: bool,
    /// Nothing on standard error but why it failed
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say on standard error which context is used and who answers
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// How long to wait for the coordinator
    #[arg(long, global = true, default_value = "10s", value_name = "TIME", value_parser = duration::parse,
          env = "MESHCTL_TIMEOUT", hide_env_values = true)]
    pub timeout: Duration,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; may change
    #[value(alias = "table")]
    Text,
    /// The same with more columns
    Wide,
    /// For scripts; only grows
    Json,
    /// The same, each thing of a list on a line of its own
    Jsonl,
    /// The same as YAML
    Yaml,
    /// Names or ids alone, one a line
    Name,
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
    /// The operators: create, list, give another role, revoke; renew your own certificate
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// The services: check a file, apply it, list, show, delete
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Fire rounds at a service until the guilty component is known
    Localize {
        /// The service
        #[arg(add = complete::services())]
        name: String,
        /// Longest time to take
        #[arg(long, default_value = "60s", value_name = "TIME", value_parser = duration::parse)]
        budget: Duration,
        /// Scheduled rounds not older than this count too
        #[arg(long, default_value = "15m", value_name = "TIME", value_parser = duration::parse)]
        since: Duration,
        /// One line and an exit status as Nagios and its heirs want them: 0 healthy, 1 a fault that users do
        /// not feel, 2 one that they do, 3 anything else
        #[arg(long)]
        nagios: bool,
    },
    /// Print rounds, verdicts and agents' comings and goings as they happen
    Watch {
        /// One service only
        #[arg(add = complete::services())]
        name: Option<String>,
    },
    /// What the probes of a service saw, by vantage point, arm and layer
    History {
        /// The service
        #[arg(add = complete::services())]
        name: String,
        /// How far back
        #[arg(long, default_value = "1h", value_name = "TIME", value_parser = duration::parse)]
        since: Duration,
    },
    /// The latest verdicts
    Verdicts {
        /// One service only
        #[arg(add = complete::services())]
        name: Option<String>,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// A stored verdict with all its evidence
    Explain {
        /// The verdict's id
        #[arg(add = complete::verdicts())]
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
        #[arg(add = complete::verdicts())]
        id: String,
        /// Where to write it; `-` is standard output [default: ID.html]
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Is the fault of a verdict mended: what its probes saw before against what they see since
    Mended {
        /// The verdict's id
        #[arg(add = complete::verdicts())]
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
        #[arg(add = complete::services())]
        name: String,
    },
    /// Tell nobody of what concerns a service for a while; what stands at the end is told then
    Silence {
        /// The service; `*` stands for any text
        #[arg(add = complete::services())]
        name: String,
        /// For how long
        #[arg(long = "for", value_name = "TIME", value_parser = duration::at_least_a_second)]
        length: Duration,
        /// Why; whoever finds it reads that
        #[arg(long, value_name = "TEXT")]
        because: String,
        /// From when on (2026-03-01T12:03:11Z), for work that is planned [default: at once]
        #[arg(long, value_name = "INSTANT", value_parser = since::instant)]
        from: Option<u64>,
        /// Even if there is no such service yet
        #[arg(long)]
        force: bool,
    },
    /// List the silences that count or will
    Silences,
    /// End a silence
    Unsilence {
        /// The silence's id
        #[arg(add = complete::silences())]
        id: String,
    },
    /// What operators did, and were refused: the newest first
    #[command(args_conflicts_with_subcommands = true)]
    Audit {
        #[command(flatten)]
        wish: AuditArgs,
        #[command(subcommand)]
        command: Option<AuditCommand>,
    },
    /// Write everything that the coordinator has stored to one file, while it goes on
    ///
    /// The file shows one instant, and `mesh-coordinator restore` makes a data folder of it. THE AUTHORITY'S
    /// KEY IS NOT IN IT, since nobody gets that from a coordinator: keep a copy of the folder `ca` of its data
    /// folder apart. What is in it is confidential all the same: service files, addresses, what was seen.
    Backup {
        /// Where to write it, for you alone to read; `-` is standard output
        file: PathBuf,
        /// Put it in the place of a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Those whom the coordinator tells
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// The contexts: which coordinator, and who you are there
    #[command(subcommand)]
    Context(ContextCommand),
    /// Print what a shell needs to complete commands, and names of services, agents and verdicts
    #[command(
        after_help = "bash: source <(meshctl completion bash), in ~/.bashrc. zsh: the same in ~/.zshrc.\n\
                            fish: meshctl completion fish | source, in ~/.config/fish/config.fish."
    )]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages
    Man {
        /// The folder, for instance /usr/local/share/man/man1; made when missing
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Say more of a command, or of `exit-codes`
    Help {
        /// A command, or `exit-codes`
        words: Vec<String>,
    },
    /// Start a whole mesh on loopback addresses, break something in it, and localise it
    Demo(DemoArgs),
}

/// Before something that cannot be taken back.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub struct Care {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Which acts.
#[derive(Debug, ClapArgs)]
pub struct AuditArgs {
    /// From when on: an instant (2026-03-01T12:03:11Z) or so long ago (24h) [default: all that is kept]
    #[arg(long, value_name = "INSTANT|TIME", value_parser = since::parse)]
    pub since: Option<Since>,
    /// One operator's alone
    #[arg(long, value_name = "NAME", add = complete::operators())]
    pub operator: Option<String>,
    /// How many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub limit: u32,
}

/// The log as a whole.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Whether the log is as it was written: each record holds the SHA-256 of the one before it
    #[command(after_help = "Exit status: 0 it is, 1 it is not, 2 it could not be looked at.")]
    Verify {
        /// What an earlier `verify` has printed of the last record: it must still be there
        #[arg(long, value_name = "NUMBER:SHA256", value_parser = kept_record)]
        kept: Option<(u64, String)>,
    },
}

/// Those whom the coordinator tells.
#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// Send a message that says that nothing is wrong
    Test {
        /// The `name` under `[[notify]]` in the coordinator's configuration
        receiver: String,
    },
}

/// The contexts, which are files in ~/.config/meshctl/contexts.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List the contexts
    List,
    /// Use a context from now on
    Use {
        /// Its name
        #[arg(add = complete::contexts())]
        name: String,
    },
    /// Keep a context file (a coordinator's admin.toml) under a name
    Add {
        /// Its name
        name: String,
        /// The file; it is copied, for you alone to read
        file: PathBuf,
    },
    /// Forget a context
    Delete {
        /// Its name
        #[arg(add = complete::contexts())]
        name: String,
        #[command(flatten)]
        care: Care,
    },
}

/// The shells that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Bash
    Bash,
    /// Elvish
    Elvish,
    /// Fish
    Fish,
    /// PowerShell
    Powershell,
    /// Zsh
    Zsh,
}

impl Command {
    /// Whether the exit status is a verdict's, in which 2 says that there is none, whatever the reason.
    pub fn ends_with_a_verdict(&self) -> bool {
        match self {
            Self::Localize { .. } | Self::Replay { .. } | Self::Mended { .. } | Self::Demo(_) => {
                true
            }
            Self::Service(command) => matches!(command, ServiceCommand::Check { .. }),
            Self::Audit { command, .. } => command.is_some(),
            Self::Status { .. }
            | Self::Agent(_)
            | Self::Operator(_)
            | Self::Watch { .. }
            | Self::History { .. }
            | Self::Verdicts { .. }
            | Self::Explain { .. }
            | Self::Report { .. }
            | Self::Coverage { .. }
            | Self::Silence { .. }
            | Self::Silences
            | Self::Unsilence { .. }
            | Self::Backup { .. }
            | Self::Notify(_)
            | Self::Context(_)
            | Self::Completion { .. }
            | Self::Man { .. }
            | Self::Help { .. } => false,
        }
    }

    /// Whether Nagios reads the answer.
    pub fn is_for_nagios(&self) -> bool {
        matches!(self, Self::Localize { nagios: true, .. })
    }
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
        #[arg(add = complete::agents())]
        name: String,
    },
    /// Make a token for an agent that is known, to let it in again as who it is: after its certificate has
    /// ended for too long, or on another host
    Rejoin {
        /// The agent
        #[arg(add = complete::agents())]
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
        #[arg(add = complete::agents())]
        old: String,
        /// The name that it gets
        new: String,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Forget an agent with all that was observed from it
    Delete {
        /// The agent
        #[arg(add = complete::agents())]
        name: String,
        #[command(flatten)]
        care: Care,
    },
    /// Refuse an agent's certificates from now on and end its session
    Revoke {
        /// The agent
        #[arg(add = complete::agents())]
        name: String,
        #[command(flatten)]
        care: Care,
    },
}

/// The operators.
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Make an operator, and write the context file for it
    ///
    /// The key is made here. Hand the file over on a safe way; whoever gets it makes a key of their own by
    /// `meshctl operator renew`, and the one in the file ends an hour later.
    #[command(visible_alias = "add")]
    Create {
        /// The new operator's name
        name: String,
        /// What it may do
        #[arg(long, value_enum)]
        role: OperatorRoleArg,
        /// Where to write the context file, for you alone to read [default: NAME.toml]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// List the operators
    List,
    /// Give an operator another role, from its next call on
    Role {
        /// The operator
        #[arg(add = complete::operators())]
        name: String,
        /// What it may do from now on
        role: OperatorRoleArg,
    },
    /// Refuse an operator's certificates from now on and end its streams
    Revoke {
        /// The operator
        #[arg(add = complete::operators())]
        name: String,
        #[command(flatten)]
        care: Care,
    },
    /// Make a new key and have it certified in your name, in the place of what is in the context file
    ///
    /// Copies of the file as it was are good for another hour.
    Renew,
}

/// What an operator may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OperatorRoleArg {
    /// Read
    Viewer,
    /// Services, localisations, silences
    Operator,
    /// Agents, operators, backups
    Admin,
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
        /// Show what would change of what the coordinator holds, and do nothing but the check
        #[arg(long)]
        dry_run: bool,
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
        #[arg(add = complete::services())]
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
        #[arg(add = complete::services())]
        name: String,
    },
    /// Forget a service
    Delete {
        /// The service
        #[arg(add = complete::services())]
        name: String,
        #[command(flatten)]
        care: Care,
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

fn kept_record(text: &str) -> Result<(u64, String), String> {
    let said =
        || "a record is written NUMBER:SHA256, as `meshctl audit verify` prints it".to_owned();
    let (number, sha256) = text.split_once(':').ok_or_else(said)?;
    let number: u64 = number.parse().map_err(|_| said())?;
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
    match number > 0 && is_hash {
        true => Ok((number, sha256.to_ascii_lowercase())),
        false => Err(said()),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is written KEY=VALUE".to_owned()),
    }
}
