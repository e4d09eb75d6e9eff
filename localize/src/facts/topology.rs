//! The delivery path of a service, and who looks at it from where.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The name of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceName(pub String);

/// The name of a vantage point, the same as its agent's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VantageName(pub String);

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for VantageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a vantage point stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// At a user's side: the public path only.
    Outside,
    /// Reaches the VIP as the CDN does.
    BehindCdn,
    /// In the data centre: VIP and every backend.
    Inside,
}

/// A place from which we look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VantagePoint {
    /// Its name.
    pub name: VantageName,
    /// Where it stands.
    pub role: Role,
    /// The backend that it runs on, or `lb` for the balancer.
    pub host: Option<String>,
    /// The host's own unicast addresses, without loopback.
    pub addresses: Vec<IpAddr>,
    /// The agent is a working witness (it has the capability and a capture socket).
    pub witness: bool,
    /// The resolvers that its host uses.
    pub resolvers: Vec<SocketAddr>,
}

impl VantagePoint {
    /// Whether its packets have a way to an address at all. To one of IPv6 they have from an address of
    /// IPv6 alone, and from a unique local one (RFC 4193) to others of these.
    #[must_use]
    pub fn has_way_to(&self, to: IpAddr) -> bool {
        let IpAddr::V6(to) = to else {
            return true;
        };
        let reaches = |own: &IpAddr| match own {
            IpAddr::V4(_) => false,
            IpAddr::V6(own) => {
                let local = own.is_unicast_link_local() || own.is_loopback();
                !local && (to.is_unique_local() || !own.is_unique_local())
            }
        };
        to.is_loopback() || self.addresses.iter().any(reaches)
    }
}

/// An authoritative name server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NameServer {
    /// Its name, or its address in text where only that is known.
    pub name: String,
    /// Address and port.
    pub server: SocketAddr,
}

/// A zone and the two sets of its name servers, which should be one (RFC 1034, section 4.2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Zone {
    /// Its name, in lower case and without the last dot.
    pub name: String,
    /// The name servers to which its parent delegates it; empty where the parent was not heard.
    pub at_parent: BTreeSet<String>,
    /// Those that the zone itself names; empty where it was not heard.
    pub at_zone: BTreeSet<String>,
}

impl Zone {
    /// Whether resolvers are sent to a name server by the parent that the zone itself does not name.
    #[must_use]
    pub fn has_left(&self, server: &str) -> bool {
        self.at_parent.contains(server)
            && !self.at_zone.is_empty()
            && !self.at_zone.contains(server)
    }

    /// Whether the zone names a name server that its parent sends nobody to.
    #[must_use]
    pub fn hides(&self, server: &str) -> bool {
        self.at_zone.contains(server)
            && !self.at_parent.is_empty()
            && !self.at_parent.contains(server)
    }
}

/// How a backend is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// HTTP over TCP.
    Http,
    /// HTTP over TLS.
    Https,
    /// A connection alone.
    Tcp,
}

/// A backend of the balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Its name in the service file.
    pub name: String,
    /// Address and port.
    pub address: SocketAddr,
    /// How it is spoken to.
    pub scheme: Scheme,
    /// The path asked for.
    pub path: String,
}

/// What the balancer does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VipMode {
    /// Not declared: both are hypotheses.
    Auto,
    /// Layer 4: the backend's own stack answers the SYN.
    L4,
    /// Layer 7: a proxy with its own TCP and TLS.
    L7,
    /// Layer 4 with direct server return: answers bypass the balancer.
    Dsr,
}

/// Who runs the edges.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CdnProvider {
    /// Found out from the answers' headers; `None` inside until then.
    Auto(Option<String>),
    /// There is no CDN: the public addresses are the balancer's.
    None,
    /// Named by the operator.
    Named(String),
}

/// Whether the service file says what a good answer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    /// It names statuses or a text in the body: a probe that passed got what its operator wants.
    Declared,
    /// It does not: a probe that passed got a status below 400, which may be no answer that a user wants.
    #[default]
    Undeclared,
}

/// The delivery path of one service and the vantage points that look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The service.
    pub service: ServiceName,
    /// The scheme of the service's URL.
    pub scheme: Scheme,
    /// The vantage points, connected or lately so.
    pub vantages: Vec<VantagePoint>,
    /// Resolvers named in the service file, asked by every vantage point.
    pub resolvers: Vec<SocketAddr>,
    /// The zone that the service's name stands in; `None` until it is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Zone>,
    /// The authoritative name servers, from the service file or found.
    pub name_servers: Vec<NameServer>,
    /// Every public address that a name server or resolver has given, with the service's port.
    pub edges: Vec<SocketAddr>,
    /// Who runs the edges.
    pub cdn: CdnProvider,
    /// The balancer's virtual addresses.
    pub vips: Vec<SocketAddr>,
    /// What the balancer does to a connection.
    pub vip_mode: VipMode,
    /// The backends.
    pub backends: Vec<Backend>,
    /// Whether its operator says what a good answer is.
    #[serde(default)]
    pub expect: Expectation,
}

impl Topology {
    /// The name of the zone, which is that of the service until it is known.
    #[must_use]
    pub fn zone_name(&self) -> &str {
        let found = self.zone.as_ref().map(|zone| zone.name.as_str());
        found.unwrap_or(&self.service.0)
    }
}

/// The `host` value of the balancer's own agent.
pub const BALANCER_HOST: &str = "lb";
