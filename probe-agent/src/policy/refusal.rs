//! What is said of a policy that cannot be used, and of a target that is not probed.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use localize::Role;
use thiserror::Error;

/// The file cannot be used.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// It is there and cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its text is not a policy. What the parser said is part of the text, since it names the field,
    /// and so is no source beside it.
    #[error("{path} is not a policy: {said}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, field and reason.
        said: Box<toml::de::Error>,
    },
    /// It allows what nothing can allow.
    #[error("{path}: {field}: {prefix} is {name} space, which no policy opens")]
    NeverAllowed {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// The prefix in it.
        prefix: IpNet,
        /// What the range is for.
        name: &'static str,
    },
    /// It gives out what is no variable and no file.
    #[error("{path}: secrets: an entry is env:NAME or file:/PATH, for example \"env:SHOP_TOKEN\"")]
    NoReference {
        /// The file.
        path: PathBuf,
    },
    /// A time that is not an instant.
    #[error("{path}: allow_until: {until} must be a date and time with an offset, from 1970 on")]
    NotAnInstant {
        /// The file.
        path: PathBuf,
        /// The value.
        until: String,
    },
}

/// Why a target is not probed, and what would change that.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The host's own `deny`.
    #[error(
        "{address} is refused by deny = [\"{prefix}\"] in policy.toml: remove that prefix to probe it"
    )]
    Denied {
        /// The target.
        address: IpAddr,
        /// The prefix that holds it.
        prefix: IpNet,
    },
    /// The host's own list holds others alone.
    #[error(
        "{address} is not in the list `only` of policy.toml: to probe it write \"{prefix}\" into that list"
    )]
    NotListed {
        /// The target.
        address: IpAddr,
        /// What to write.
        prefix: IpNet,
    },
    /// A range that no probe enters.
    #[error(
        "{address} is {name} space ({range}), which is never probed; policy.toml cannot change that"
    )]
    Never {
        /// The target.
        address: IpAddr,
        /// The range.
        range: IpNet,
        /// What the range is for.
        name: &'static str,
    },
    /// The host itself.
    #[error(
        "{address} is loopback, which is probed only where the host's owner says so: to probe it write \
         allow = [\"{prefix}\"] into policy.toml"
    )]
    Loopback {
        /// The target.
        address: IpAddr,
        /// What to write.
        prefix: IpNet,
    },
    /// Private or special-purpose space, asked of an agent outside.
    #[error(
        "{address} is {name} space ({range}), which an agent of role outside does not probe{narrowed}; to \
         probe it write allow = [\"{prefix}\"] into policy.toml"
    )]
    Special {
        /// The target.
        address: IpAddr,
        /// The range.
        range: IpNet,
        /// What the range is for.
        name: &'static str,
        /// Who made the role so narrow, where there are two.
        narrowed: Narrowed,
        /// What to write.
        prefix: IpNet,
    },
    /// What stands around the host, asked of an agent outside.
    #[error(
        "{address} is {near}, which an agent of role outside does not probe{narrowed}; to probe it write \
         allow = [\"{prefix}\"] into policy.toml"
    )]
    Near {
        /// The target.
        address: IpAddr,
        /// What it is to the host.
        near: Near,
        /// Who made the role so narrow, where there are two.
        narrowed: Narrowed,
        /// What to write.
        prefix: IpNet,
    },
    /// The host's own `ports`.
    #[error(
        "port {} of {} is not in the list `ports` of policy.toml: to probe it write {} into that list",
        .target.port(), .target.ip(), .target.port()
    )]
    PortNotListed {
        /// The target.
        target: SocketAddr,
    },
    /// A port where no user asks a site.
    #[error(
        "an agent of role outside{narrowed} asks public addresses at the ports 80, 443 and the url's own, as a \
         browser does, and name servers at port 53: to probe {target} write ports = [53, 80, 443, {}] into \
         policy.toml",
        .target.port()
    )]
    Port {
        /// The target.
        target: SocketAddr,
        /// Who made the role so narrow, where there are two.
        narrowed: Narrowed,
    },
}

/// What an address is to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Near {
    /// One of its own.
    #[error("an address of this host")]
    Own,
    /// A router of its own networks.
    #[error("this host's gateway")]
    Gateway,
    /// Another machine in a network that it is in.
    #[error("in a network of this host ({0})")]
    OnLink(IpNet),
}

/// Where the role of a vantage point is narrower than one of two who have a say: by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Narrowed {
    /// Both say the same, or one alone speaks.
    #[error("")]
    No,
    /// The coordinator gave another role than the host's owner.
    #[error(" (its owner says {}, its token was for outside)", word(*.0))]
    ByToken(Role),
    /// The host's owner said another role than the coordinator gave.
    #[error(" (so its owner says; its token was for {})", word(*.0))]
    ByOwner(Role),
}

const fn word(role: Role) -> &'static str {
    match role {
        Role::Outside => "outside",
        Role::BehindCdn => "behind-cdn",
        Role::Inside => "inside",
    }
}
