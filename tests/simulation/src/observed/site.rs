//! A delivery path, and what of it is declared.

use std::net::{IpAddr, SocketAddr};

use localize::topology::BALANCER_HOST;
use localize::{CdnProvider, NameServer, Scheme, ServiceName, Topology, VantagePoint, VipMode};

use super::modes::Sort;
use super::proxies::{Balancer, Edge};

/// A part of the path, by its place among its like; as a fault's place it may cover several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The access network of a vantage point.
    Access(usize),
    /// A resolver.
    Resolver(usize),
    /// A name server.
    NameServer(usize),
    /// An edge.
    Edge(usize),
    /// All edges.
    Provider,
    /// From an edge to a VIP; as a fault's place, to all of them, which stand at one site.
    OriginPath(usize, usize),
    /// From all edges to all VIPs.
    OriginPaths,
    /// The balancer at a VIP; the server itself where no backends stand behind it.
    Balancer(usize),
    /// The balancer at all VIPs.
    Machine,
    /// What the balancer alone does with one backend: where it looks for it, how it speaks to it.
    Toward(usize),
    /// From the balancer to a backend.
    LbPath(usize),
    /// What all backends share: a database, a release.
    Shared,
    /// A backend.
    Backend(usize),
    /// From a backend back to somewhere.
    Return(usize, Extent),
}

/// Where answers go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// One address.
    One(IpAddr),
    /// Every address of the balancer's.
    ToBalancer,
    /// Anywhere.
    Everywhere,
}

impl Place {
    /// What verdicts call such a part.
    #[must_use]
    pub const fn sort(self) -> Sort {
        match self {
            Self::Access(_) => Sort::Access,
            Self::Resolver(_) => Sort::Resolver,
            Self::NameServer(_) => Sort::NameServer,
            Self::Edge(_) | Self::Provider => Sort::Cdn,
            Self::OriginPath(..) | Self::OriginPaths => Sort::OriginPath,
            Self::Balancer(_) | Self::Machine => Sort::Balancer,
            Self::Toward(_) => Sort::Toward,
            Self::LbPath(_) => Sort::LbPath,
            Self::Shared => Sort::Shared,
            Self::Backend(_) => Sort::Backend,
            Self::Return(..) => Sort::Return,
        }
    }
}

/// What the balancer does to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balancing {
    /// It ends it (layer 7).
    Proxied,
    /// It forwards it with the client's address (layer 4).
    Forwarded,
    /// It forwards it from its own address (layer 4).
    Translated,
    /// It forwards it, and answers pass it by (direct server return).
    Direct,
}

/// What of the path the service file and the agents' registration tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Declared {
    /// Name and URL alone.
    Name,
    /// The VIPs as well.
    Vips,
    /// The backends as well.
    Backends,
    /// And agents stand on the hosts.
    Hosts,
}

/// How the balancer finds out that a backend is not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Not at all.
    Never,
    /// It connects every so often; three failures take a backend out, two passes put it back.
    Connects {
        /// Seconds between two checks.
        every_s: u64,
    },
    /// It sends requests likewise.
    Requests {
        /// Seconds between two checks.
        every_s: u64,
    },
}

/// A web server behind the balancer.
#[derive(Clone, Debug)]
pub struct Backend {
    /// As it is declared, where it is.
    pub declared: localize::Backend,
    /// Milliseconds of work for an answer.
    pub work_ms: f64,
}

/// A vantage point with its distances.
#[derive(Clone, Debug)]
pub struct Vantage {
    /// As the engine knows it.
    pub point: VantagePoint,
    /// Its resolvers, by their places in [`Site::resolvers`].
    pub resolvers: Vec<usize>,
    /// Round trip to the edges, in milliseconds.
    pub to_edges_ms: f64,
    /// Round trip to the VIP and what is behind it.
    pub to_site_ms: f64,
}

/// A delivery path.
#[derive(Clone, Debug)]
pub struct Site {
    /// Name of the service.
    pub service: String,
    /// Scheme of its URL.
    pub scheme: Scheme,
    /// What the balancer does.
    pub balancing: Balancing,
    /// Whether the file says so.
    pub mode_declared: bool,
    /// What is declared.
    pub declared: Declared,
    /// Who looks.
    pub vantages: Vec<Vantage>,
    /// Their resolvers.
    pub resolvers: Vec<SocketAddr>,
    /// The zone's name servers.
    pub name_servers: Vec<NameServer>,
    /// The edges; none where there is no CDN.
    pub edges: Vec<SocketAddr>,
    /// How they behave.
    pub edge: &'static Edge,
    /// Who runs them is known by headers.
    pub provider_known: bool,
    /// Seconds for which edges keep an answer; 0 where they keep none.
    pub cached_s: u64,
    /// The virtual addresses.
    pub vips: Vec<SocketAddr>,
    /// How the balancer behaves.
    pub balancer: &'static Balancer,
    /// How it checks its backends.
    pub check: Check,
    /// The addresses that its own connections leave from.
    pub balancer_addresses: Vec<IpAddr>,
    /// What stands behind it.
    pub backends: Vec<Backend>,
    /// Answers tell by a header which backend made them.
    pub tells: bool,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Two answers are never the same.
    pub varies: bool,
    /// Seconds between two scheduled rounds.
    pub every_s: Option<u64>,
    /// What is usual has been learnt the day before.
    pub learnt: bool,
    /// An address that was the service's once.
    pub former: SocketAddr,
}

impl Site {
    /// Whether edges stand before the balancer.
    #[must_use]
    pub fn has_cdn(&self) -> bool {
        !self.edges.is_empty()
    }

    /// The addresses that the name stands for.
    #[must_use]
    pub fn public(&self) -> &[SocketAddr] {
        if self.has_cdn() {
            &self.edges
        } else {
            &self.vips
        }
    }

    /// The backend that an agent stands on, by its place.
    #[must_use]
    pub fn on_backend(&self, vantage: usize) -> Option<usize> {
        let host = self.vantages[vantage].point.host.as_deref()?;
        self.backends.iter().position(|b| b.declared.name == host)
    }

    /// Whether an agent stands on the balancer.
    #[must_use]
    pub fn on_balancer(&self, vantage: usize) -> bool {
        self.vantages[vantage].point.host.as_deref() == Some(BALANCER_HOST)
    }

    /// Whether a place ends TLS, or those that cross it speak it.
    #[must_use]
    pub fn ends_tls(&self, place: Place) -> bool {
        match place {
            Place::Access(_)
            | Place::Edge(_)
            | Place::Provider
            | Place::Balancer(_)
            | Place::Machine => self.scheme == Scheme::Https,
            Place::Backend(b) => self.backends[b].declared.scheme == Scheme::Https,
            Place::Resolver(_)
            | Place::NameServer(_)
            | Place::OriginPath(..)
            | Place::OriginPaths
            | Place::Toward(_)
            | Place::LbPath(_)
            | Place::Shared
            | Place::Return(..) => false,
        }
    }

    /// The path as a coordinator gives it to the engine, where `former` says that some answer of the last
    /// hour held the former address.
    #[must_use]
    pub fn topology(&self, former: bool) -> Topology {
        let mut edges = self.public().to_vec();
        if former {
            edges.push(self.former);
        }
        let vips = if self.declared == Declared::Name {
            Vec::new()
        } else {
            self.vips.clone()
        };
        let backends = if self.declared >= Declared::Backends {
            self.backends.iter().map(|b| b.declared.clone()).collect()
        } else {
            Vec::new()
        };
        let public = edges.iter().all(|edge| vips.contains(edge));
        let known = self
            .edge
            .provider
            .filter(|_| self.has_cdn() && self.provider_known);
        Topology {
            expect: Default::default(),
            service: ServiceName(self.service.clone()),
            scheme: self.scheme,
            vantages: self.vantages.iter().map(|v| v.point.clone()).collect(),
            resolvers: Vec::new(),
            zone: None,
            name_servers: self.name_servers.clone(),
            edges,
            cdn: if public {
                CdnProvider::None
            } else {
                CdnProvider::Auto(known.map(str::to_owned))
            },
            vips,
            vip_mode: self.vip_mode(),
            backends,
        }
    }

    fn vip_mode(&self) -> VipMode {
        match self.balancing {
            _ if !self.mode_declared => VipMode::Auto,
            Balancing::Proxied => VipMode::L7,
            Balancing::Forwarded | Balancing::Translated => VipMode::L4,
            Balancing::Direct => VipMode::Dsr,
        }
    }
}
