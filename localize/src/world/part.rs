//! The parts of a delivery path: what can be the reason of a failed probe.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::facts::component::{Component, Kind};
use crate::facts::topology::VantageName;
use crate::world::mode::Class;

/// Where answers go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Destination {
    /// One address.
    Address(IpAddr),
    /// The balancer by whichever of its addresses, named by the one nearest to the host.
    Balancer(IpAddr),
    /// The /24 or /64 around this network address.
    Prefix(IpAddr),
    /// All addresses of this one's family.
    Everywhere(IpAddr),
}

impl Destination {
    /// Whether it is more than one address.
    pub(crate) fn is_wide(&self) -> bool {
        match self {
            Self::Address(_) | Self::Balancer(_) => false,
            Self::Prefix(_) | Self::Everywhere(_) => true,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(to) | Self::Balancer(to) => write!(f, "{to}"),
            Self::Prefix(network) => {
                write!(f, "{network}/{}", if network.is_ipv4() { 24 } else { 64 })
            }
            Self::Everywhere(of) if of.is_ipv4() => f.write_str("0.0.0.0/0"),
            Self::Everywhere(_) => f.write_str("::/0"),
        }
    }
}

/// By which address a balancer is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Vip {
    /// One that no service file declares.
    Undeclared,
    /// A virtual address.
    One(SocketAddr),
    /// Any virtual address of a balancer that has several, named by the first.
    Any(SocketAddr),
}

impl Vip {
    /// The address that stands for it, where one is declared.
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Undeclared => None,
            Self::One(address) | Self::Any(address) => Some(address),
        }
    }
}

fn vip_name(vip: &Vip) -> String {
    let address = vip.address();
    address.map_or_else(|| "origin".to_string(), |address| address.to_string())
}

/// What a part is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// A vantage point's own access network, host and agent.
    Access(VantageName),
    /// A recursive resolver.
    Resolver(IpAddr),
    /// An authoritative name server.
    NameServer(String),
    /// All name servers of a zone that has several.
    NameServers(String),
    /// A zone: what its name servers are right to hand out, and what leads to them.
    Zone(String),
    /// One edge of a CDN.
    Edge(IpAddr),
    /// All its edges.
    Provider(String),
    /// One public address of which nobody knows what it is.
    Address(IpAddr),
    /// From one edge, or from every one, to the balancer.
    OriginPath { edge: Option<IpAddr>, to: Vip },
    /// What stands behind the public addresses of a service and is not declared.
    Origin(String),
    /// What all declared backends of a service share, and no service file declares.
    Shared(String),
    /// The balancer.
    Balancer(Vip),
    /// The balancer in what it does with one backend: the address that it has of it, how it speaks to it.
    Toward { vip: Vip, backend: String },
    /// From the balancer to a backend.
    LbBackendPath { vip: Vip, backend: String },
    /// Host or application of a backend.
    Backend(String),
    /// From a backend's host back.
    Return { host: String, to: Destination },
    /// A rule that keeps a vantage point from a target.
    Barred {
        vantage: VantageName,
        target: String,
    },
    /// The edges answer this vantage point with a refusal, whoever else is served.
    NotServed(VantageName),
}

/// How probable faults of each kind are before any probe: rough shares of what incident reports name.
mod prior {
    pub(super) const CLIENT_NETWORK: f64 = 0.02;
    pub(super) const RESOLVER: f64 = 0.015;
    pub(super) const NAME_SERVER: f64 = 0.01;
    pub(super) const NAME_SERVERS: f64 = 0.003;
    /// A name that is not there, a delegation that leads nowhere, signatures that nobody renews.
    pub(super) const ZONE: f64 = 0.006;
    pub(super) const EDGE: f64 = 0.01;
    pub(super) const PROVIDER: f64 = 0.004;
    pub(super) const ONE_ORIGIN_PATH: f64 = 0.004;
    pub(super) const EVERY_ORIGIN_PATH: f64 = 0.002;
    /// Balancer, backends and what is between them, of which nothing is declared.
    pub(super) const ORIGIN: f64 = 0.03;
    /// A database, a release, a configuration.
    pub(super) const SHARED: f64 = 0.008;
    pub(super) const BALANCER: f64 = 0.012;
    pub(super) const TOWARD: f64 = 0.004;
    pub(super) const LB_BACKEND_PATH: f64 = 0.006;
    pub(super) const BACKEND: f64 = 0.02;
    pub(super) const RETURN_PATH: f64 = 0.004;
    pub(super) const RETURN_PREFIX: f64 = 0.001;
    pub(super) const RETURN_EVERYWHERE: f64 = 0.003;
    /// Bot protection judges by address, and data centres' addresses mostly.
    pub(super) const NOT_SERVED: f64 = 0.03;
    /// Of a rule; the path knows better.
    pub(super) const BARRED: f64 = 0.02;
    /// Of what goes wrong at a balancer with several virtual addresses, or on a way there, this share is a
    /// matter of all of them, and this one of each by itself.
    pub(super) const ANY_VIP: f64 = 0.6;
    pub(super) const ONE_VIP: f64 = 0.4;
}

impl What {
    /// By which address of the balancer it is met, where it has to do with one.
    fn vip(&self) -> Option<Vip> {
        match self {
            Self::OriginPath { to: vip, .. }
            | Self::Balancer(vip)
            | Self::Toward { vip, .. }
            | Self::LbBackendPath { vip, .. } => Some(*vip),
            Self::Access(_)
            | Self::Resolver(_)
            | Self::NameServer(_)
            | Self::NameServers(_)
            | Self::Zone(_)
            | Self::Edge(_)
            | Self::Provider(_)
            | Self::Address(_)
            | Self::Origin(_)
            | Self::Shared(_)
            | Self::Backend(_)
            | Self::Return { .. }
            | Self::Barred { .. }
            | Self::NotServed(_) => None,
        }
    }

    /// The edge that it is, or begins at, where that is one.
    pub(crate) fn edge(&self) -> Option<IpAddr> {
        match self {
            Self::Edge(edge) => Some(*edge),
            Self::OriginPath { edge, .. } => *edge,
            Self::Access(_)
            | Self::Resolver(_)
            | Self::NameServer(_)
            | Self::NameServers(_)
            | Self::Zone(_)
            | Self::Provider(_)
            | Self::Address(_)
            | Self::Origin(_)
            | Self::Shared(_)
            | Self::Balancer(_)
            | Self::Toward { .. }
            | Self::LbBackendPath { .. }
            | Self::Backend(_)
            | Self::Return { .. }
            | Self::Barred { .. }
            | Self::NotServed(_) => None,
        }
    }

    /// Prior probability that it is at fault in any one stretch; `vips` are all virtual addresses.
    pub(crate) fn prior(&self, vips: usize) -> f64 {
        let share = match self.vip() {
            Some(Vip::Any(_)) => prior::ANY_VIP,
            Some(Vip::One(_)) if vips > 1 => prior::ONE_VIP,
            Some(Vip::One(_) | Vip::Undeclared) | None => 1.0,
        };
        share * self.alone()
    }

    /// The same were there one virtual address at most.
    fn alone(&self) -> f64 {
        match self {
            Self::Access(_) => prior::CLIENT_NETWORK,
            Self::Resolver(_) => prior::RESOLVER,
            Self::NameServer(_) => prior::NAME_SERVER,
            Self::NameServers(_) => prior::NAME_SERVERS,
            Self::Zone(_) => prior::ZONE,
            Self::Edge(_) | Self::Address(_) => prior::EDGE,
            Self::Provider(_) => prior::PROVIDER,
            Self::OriginPath { edge: Some(_), .. } => prior::ONE_ORIGIN_PATH,
            Self::OriginPath { edge: None, .. } => prior::EVERY_ORIGIN_PATH,
            Self::Origin(_) => prior::ORIGIN,
            Self::Shared(_) => prior::SHARED,
            Self::Balancer(_) => prior::BALANCER,
            Self::Toward { .. } => prior::TOWARD,
            Self::LbBackendPath { .. } => prior::LB_BACKEND_PATH,
            Self::Backend(_) => prior::BACKEND,
            Self::Return { to, .. } => match to {
                Destination::Address(_) | Destination::Balancer(_) => prior::RETURN_PATH,
                Destination::Prefix(_) => prior::RETURN_PREFIX,
                Destination::Everywhere(_) => prior::RETURN_EVERYWHERE,
            },
            Self::Barred { .. } => prior::BARRED,
            Self::NotServed(_) => prior::NOT_SERVED,
        }
    }

    /// Whose modes it has.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Access(_) => Class::Blamable(Kind::ClientNetwork),
            Self::Resolver(_) => Class::Blamable(Kind::Resolver),
            Self::NameServer(_) => Class::Blamable(Kind::AuthoritativeDns),
            Self::NameServers(_) => Class::NameServers,
            Self::Zone(_) => Class::Zone,
            Self::Edge(_) | Self::Provider(_) => Class::Blamable(Kind::Cdn),
            Self::OriginPath { .. } => Class::Blamable(Kind::CdnOriginPath),
            Self::Origin(_) | Self::Shared(_) | Self::Address(_) => Class::Blamable(Kind::Origin),
            Self::Balancer(_) => Class::Blamable(Kind::LoadBalancer),
            Self::Toward { .. } => Class::Toward,
            Self::LbBackendPath { .. } => Class::Blamable(Kind::LbBackendPath),
            Self::Backend(_) => Class::Blamable(Kind::Backend),
            Self::Return { .. } => Class::Blamable(Kind::ReturnPath),
            Self::Barred { .. } => Class::Firewall,
            Self::NotServed(_) => Class::NotServed,
        }
    }

    /// The component as a verdict names it, where it can name it.
    pub(crate) fn component(&self) -> Option<Component> {
        let (kind, name) = match self {
            Self::Access(vantage) => (Kind::ClientNetwork, vantage.0.clone()),
            Self::Resolver(server) => (Kind::Resolver, server.to_string()),
            Self::NameServer(name) | Self::NameServers(name) | Self::Zone(name) => {
                (Kind::AuthoritativeDns, name.clone())
            }
            Self::Edge(edge) => (Kind::Cdn, edge.to_string()),
            Self::Provider(name) => (Kind::Cdn, name.clone()),
            Self::Address(address) => (Kind::Origin, address.to_string()),
            Self::OriginPath { edge, to } => {
                let edge = edge.map_or_else(|| "*".to_string(), |edge| edge.to_string());
                (Kind::CdnOriginPath, format!("{edge}->{}", vip_name(to)))
            }
            Self::Origin(service) | Self::Shared(service) => (Kind::Origin, service.clone()),
            Self::Balancer(vip) | Self::Toward { vip, .. } => (Kind::LoadBalancer, vip_name(vip)),
            Self::LbBackendPath { vip, backend } => {
                (Kind::LbBackendPath, format!("{}->{backend}", vip_name(vip)))
            }
            Self::Backend(name) => (Kind::Backend, name.clone()),
            Self::Return { host, to } => (Kind::ReturnPath, format!("{host}->{to}")),
            Self::Barred { .. } | Self::NotServed(_) => return None,
        };
        Some(Component { kind, name })
    }

    /// Whether it is a whole of which the other one is a member: what all members do, it does.
    pub(crate) fn gathers(&self, other: &Self) -> bool {
        match self {
            Self::NameServers(_) => matches!(other, Self::NameServer(_)),
            Self::Provider(_) => matches!(other, Self::Edge(_)),
            Self::Shared(_) => matches!(other, Self::Backend(_)),
            Self::OriginPath { edge: None, to } => {
                matches!(other, Self::OriginPath { edge: Some(_), to: same } if same == to)
            }
            Self::OriginPath { edge: Some(_), .. }
            | Self::Access(_)
            | Self::Resolver(_)
            | Self::NameServer(_)
            | Self::Zone(_)
            | Self::Edge(_)
            | Self::Address(_)
            | Self::Origin(_)
            | Self::Balancer(_)
            | Self::Toward { .. }
            | Self::LbBackendPath { .. }
            | Self::Backend(_)
            | Self::Return { .. }
            | Self::Barred { .. }
            | Self::NotServed(_) => false,
        }
    }

    /// Whether it only sums up others, which have probes of their own.
    pub(crate) fn is_shared_parent(&self) -> bool {
        match self {
            Self::OriginPath { edge, .. } => edge.is_none(),
            Self::Return { to, .. } => to.is_wide(),
            Self::Shared(_) | Self::NameServers(_) => true,
            Self::Access(_)
            | Self::Resolver(_)
            | Self::NameServer(_)
            | Self::Zone(_)
            | Self::Edge(_)
            | Self::Provider(_)
            | Self::Address(_)
            | Self::Origin(_)
            | Self::Balancer(_)
            | Self::Toward { .. }
            | Self::LbBackendPath { .. }
            | Self::Backend(_)
            | Self::Barred { .. }
            | Self::NotServed(_) => false,
        }
    }
}

/// Something that can be the reason of a failed probe.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// What it is.
    pub(crate) what: What,
    /// Prior probability that it is at fault in any one stretch.
    pub(crate) prior: f64,
    /// It may speak TLS, so that what goes wrong with TLS may go wrong here.
    pub(crate) speaks_tls: bool,
}

impl Part {
    /// Whose modes it has.
    pub(crate) fn class(&self) -> Class {
        self.what.class()
    }

    /// The component, when a verdict can name it.
    pub(crate) fn component(&self) -> Option<Component> {
        self.what.component()
    }
}
