//! Which targets this host agrees to probe, and how fast.
//!
//! The coordinator asks, the host decides: a captured coordinator must not turn agents into scanners
//! of the networks that they stand in, nor into a burden to strangers. The rules hold without any file;
//! `policy.toml` in the data folder says more:
//!
//! ```toml
//! role  = "outside"                      # what this host is; a token for another role opens nothing more
//! only  = ["203.0.113.0/24"]             # nothing else is probed, but the host's own resolvers
//! allow = ["192.168.7.20/32"]            # besides what the rules allow
//! deny  = ["198.51.100.0/24"]            # wins over everything
//! ports = [80, 443]                      # no other is connected to, wherever
//!
//! secrets = ["env:SHOP_TOKEN"]           # all that requests may hold of this host; without it every
//!                                        # variable of the agent, and the files in secrets/
//!
//! [[allow_until]]                        # for a time
//! prefix = "10.20.0.0/16"
//! until  = 2030-01-31T18:00:00Z
//!
//! [limits]
//! max_probes_per_second = 200
//! max_concurrent = 256
//!
//! [limits.public]                        # for any one public address
//! max_probes_per_second = 5
//! max_bytes_per_second = 1_000_000
//!
//! [limits.private]                       # for any one other address; no bound without it
//! max_probes_per_second = 20
//! ```

mod around;
mod file;
mod limits;
mod ports;
mod ranges;
mod refusal;
mod secrets;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ipnet::IpNet;
use localize::Role;

use self::ports::{DNS_PORT, is_a_sites};
use self::ranges::{Class, classify, ends};

pub use self::around::Around;
pub use self::limits::{Each, Exceeded, Limits, Meter, Spent, Whose};
pub use self::refusal::{Narrowed, Near, PolicyError, Refusal};
pub use self::secrets::{SecretError, Secrets};

/// The file's name in the data folder.
const FILE: &str = "policy.toml";

/// What this host agrees to.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What the host's owner says that it is.
    role: Option<Role>,
    /// The owner's allow-list.
    only: Option<Vec<IpNet>>,
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    ports: Option<Vec<u16>>,
    /// Each with the microsecond of mesh time at which it ends.
    allow_until: Vec<(IpNet, u64)>,
    limits: Limits,
    secrets: Secrets,
}

/// What the rules look at besides the target.
#[derive(Clone, Debug)]
pub struct Context {
    /// The role that the token was for, by which the agent has joined.
    pub role: Role,
    /// The resolvers of the host's own configuration.
    pub resolvers: Vec<SocketAddr>,
    /// What stands around the host.
    pub around: Around,
}

/// What is sent to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A question of DNS.
    Question,
    /// A connection.
    Connection {
        /// The port of the service's URL.
        declared: u16,
    },
}

impl Policy {
    /// Reads `policy.toml` in the data folder; without that file, the rules alone.
    ///
    /// # Errors
    /// When the file is there and cannot be read, or is not a policy; the error names file and field.
    pub fn load(data_dir: &Path) -> Result<Self, PolicyError> {
        let path = data_dir.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text, &path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self {
                secrets: Secrets::usual(Some(data_dir)),
                ..Self::default()
            }),
            Err(source) => Err(PolicyError::Read { path, source }),
        }
    }

    /// With the role that the command line gives instead of the file's.
    #[must_use]
    pub fn of_role(self, given: Option<Role>) -> Self {
        Self {
            role: given.or(self.role),
            ..self
        }
    }

    /// The role that the host's owner says, if any.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// Whether the host agrees to send to the target at the microsecond `now_us` since the Unix
    /// epoch.
    ///
    /// # Errors
    /// The refusal, in words for the operator.
    pub fn allows(
        &self,
        context: &Context,
        target: SocketAddr,
        purpose: Purpose,
        now_us: u64,
    ) -> Result<(), Refusal> {
        let address = target.ip();
        let all_ends = ends(address);
        let denies = |prefix: &IpNet| {
            prefix.contains(&address) || all_ends.each().any(|a| prefix.contains(&a))
        };
        if let Some(prefix) = self.deny.iter().copied().find(denies) {
            return Err(Refusal::Denied { address, prefix });
        }
        // Whatever address it has: the host asks it all the time.
        if purpose == Purpose::Question && context.resolvers.contains(&target) {
            return Ok(());
        }
        self.port_allows(target, purpose)?;
        for end in all_ends.each() {
            // A translated address may be opened as it is written, one behind a relay only by itself.
            let written = (end == all_ends.first).then_some(address);
            let by = |prefix: &IpNet| {
                prefix.contains(&end) || written.is_some_and(|address| prefix.contains(&address))
            };
            let by_loopback = |prefix: &IpNet| ranges::is_loopback(prefix) && by(prefix);
            let opened = Opened {
                listed: self.only.as_ref().map(|only| only.iter().any(by)),
                allowed: self.opened(now_us).any(by),
                loopback: self.opened(now_us).any(by_loopback),
            };
            self.end_allows(context, (target, purpose), end, opened)?;
        }
        Ok(())
    }

    /// One of the places where packets to a target end.
    fn end_allows(
        &self,
        context: &Context,
        (target, purpose): (SocketAddr, Purpose),
        end: IpAddr,
        opened: Opened,
    ) -> Result<(), Refusal> {
        let address = target.ip();
        let prefix = IpNet::from(end);
        let (role, narrowed) = self.effective(context);
        match classify(end) {
            Class::Never(range) => Err(Refusal::Never {
                address,
                range: range.prefix,
                name: range.name,
            }),
            Class::Loopback | Class::Special(_) | Class::Public if opened.listed == Some(false) => {
                Err(Refusal::NotListed { address, prefix })
            }
            Class::Loopback if opened.loopback => Ok(()),
            Class::Loopback => Err(Refusal::Loopback { address, prefix }),
            Class::Special(_) | Class::Public if opened.allowed || role != Role::Outside => Ok(()),
            Class::Special(range) => Err(Refusal::Special {
                address,
                range: range.prefix,
                name: range.name,
                narrowed,
                prefix,
            }),
            Class::Public => match context.around.near(end) {
                Some(near) => Err(Refusal::Near {
                    address,
                    near,
                    narrowed,
                    prefix,
                }),
                None if self.is_usual(target.port(), purpose) => Ok(()),
                None => Err(Refusal::Port { target, narrowed }),
            },
        }
    }

    /// Whether an agent outside asks a public address there.
    fn is_usual(&self, port: u16, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Question => port == DNS_PORT,
            Purpose::Connection { declared } => self.ports.is_some() || is_a_sites(port, declared),
        }
    }

    fn port_allows(&self, target: SocketAddr, purpose: Purpose) -> Result<(), Refusal> {
        let port = target.port();
        let usual = purpose == Purpose::Question && port == DNS_PORT;
        match &self.ports {
            Some(ports) if !usual && !ports.contains(&port) => {
                Err(Refusal::PortNotListed { target })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The narrower of the owner's role and the token's, which alone counts where the owner says none:
    /// whoever let the agent join with it has said so.
    fn effective(&self, context: &Context) -> (Role, Narrowed) {
        match self.role {
            Some(own) if own < context.role => (own, Narrowed::ByOwner(context.role)),
            Some(own) if own > context.role => (context.role, Narrowed::ByToken(own)),
            Some(_) | None => (context.role, Narrowed::No),
        }
    }

    /// Whose account a target's probes go on, and under which address: another form of an IPv4 address
    /// is the same machine.
    #[must_use]
    pub fn account(target: IpAddr) -> (IpAddr, Whose) {
        let first = ends(target).first;
        let whose = match classify(first) {
            Class::Public => Whose::Public,
            Class::Special(_) | Class::Loopback | Class::Never(_) => Whose::Private,
        };
        (first, whose)
    }

    /// The limits of the file, or the defaults.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What of this host may stand in requests.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// What the owner has named is open, by whichever list.
    fn opened(&self, now_us: u64) -> impl Iterator<Item = &IpNet> {
        let timed = self.allow_until.iter();
        let timed = timed.filter(move |(_, until_us)| now_us < *until_us);
        self.allow
            .iter()
            .chain(self.only.iter().flatten())
            .chain(timed.map(|(prefix, _)| prefix))
    }
}

/// What the owner's lists say of an address.
#[derive(Clone, Copy, Debug)]
struct Opened {
    /// Whether it is in the allow-list, where there is one.
    listed: Option<bool>,
    allowed: bool,
    /// By a prefix of loopback addresses alone.
    loopback: bool,
}

impl Default for Policy {
    /// The rules alone, on a host without files to give out.
    fn default() -> Self {
        Self {
            role: None,
            only: None,
            allow: Vec::new(),
            deny: Vec::new(),
            ports: None,
            allow_until: Vec::new(),
            limits: Limits::default(),
            secrets: Secrets::usual(None),
        }
    }
}

#[cfg(test)]
mod tests;
