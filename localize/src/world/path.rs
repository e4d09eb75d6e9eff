//! Which components a probe crosses, layer by layer.

mod addresses;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use self::addresses::{balancer_addresses, balancer_host, common_bits, prefix};
use crate::facts::observation::{Arm, SourcePort, Target};
use crate::facts::topology::{
    BALANCER_HOST, CdnProvider, Role, Scheme, Topology, VantageName, VantagePoint, VipMode,
};
use crate::world::mode::View;
use crate::world::part::{Destination, Part, Vip, What};
use crate::world::symptom::Stage;

/// Number of a part in one problem.
pub(crate) type PartId = usize;

/// A part crossed, and through what it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Crossing {
    pub(crate) part: PartId,
    pub(crate) view: View,
}

/// One of the paths that a probe may have taken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alternative {
    /// Probability of this path when nothing is known to be out of rotation.
    pub(crate) weight: f64,
    /// The backend that serves on this path, by its place in the topology.
    pub(crate) backend: Option<usize>,
    /// The parts crossed.
    pub(crate) crossed: Vec<Crossing>,
}

/// What a vantage point has ever got from a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    /// Some layer was passed.
    pub(crate) through: bool,
    /// Some vantage point, this one or another, has passed one.
    pub(crate) known: bool,
    /// A request was answered as wanted, by this edge or another, in the stretch that is judged.
    pub(crate) served: bool,
}

/// How probable it is beforehand that a rule keeps a vantage point from a target.
mod barred {
    pub(super) const EXPECTED_OPEN: f64 = 0.02;
    pub(super) const EXPECTED_CLOSED: f64 = 0.5;
    pub(super) const PERHAPS_CLOSED: f64 = 0.2;
    pub(super) const NEVER_CLOSED: f64 = 0.0002;
}

/// How probable it is beforehand that a vantage point is turned away by all edges.
mod not_served {
    /// Where users are; elsewhere the part says.
    pub(super) const HOMES: f64 = 0.006;
}

/// How a balancer works. What is not declared is read in every way that it may be, and decided by the
/// evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Balancing {
    /// It ends its clients' connections and balances requests (layer 7).
    Proxied,
    /// It forwards connections (layer 4), mostly with their clients' addresses, to which answers go.
    Forwarded,
    /// It forwards connections (layer 4) from its own addresses, by which answers come back.
    Translated,
    /// It ends its clients' connections, and passes the bytes of each on to a backend.
    Relayed,
}

impl Balancing {
    /// Whether a backend's own stack answers the client's packets.
    pub(crate) fn at_layer_4(self) -> bool {
        matches!(self, Balancing::Forwarded | Balancing::Translated)
    }
}

/// The parts of a delivery path, made as probes turn out to cross them.
pub(crate) struct Paths<'a> {
    topology: &'a Topology,
    parts: Vec<Part>,
    index: BTreeMap<What, PartId>,
    /// Addresses that the balancer's own connections may leave from.
    balancer_addresses: Vec<IpAddr>,
    /// Every address of the balancer's host, the virtual ones included.
    balancer_host: Vec<IpAddr>,
    /// Prefixes that hold at least two of the addresses that backends answer to.
    prefixes: BTreeSet<IpAddr>,
    balancing: Balancing,
    /// Some host does not answer where the way back leads elsewhere: ways back decide on that, too.
    strict: bool,
}

impl<'a> Paths<'a> {
    /// Prepares the paths of a topology under one reading of its balancer.
    pub(crate) fn new(topology: &'a Topology, balancing: Balancing) -> Self {
        let balancer_addresses = balancer_addresses(topology);
        let destinations: BTreeSet<IpAddr> = topology
            .vantages
            .iter()
            .flat_map(|v| v.addresses.iter().copied())
            .chain(balancer_addresses.iter().copied())
            .collect();
        let mut seen = BTreeSet::new();
        let prefixes = destinations
            .iter()
            .map(|a| prefix(*a))
            .filter(|p| !seen.insert(*p))
            .collect();
        Self {
            topology,
            parts: Vec::new(),
            index: BTreeMap::new(),
            balancer_addresses,
            balancer_host: balancer_host(topology),
            prefixes,
            balancing,
            strict: false,
        }
    }

    /// The same, where a host's kernel says, or does not, that its reverse-path filter drops SYNs.
    pub(crate) fn strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }

    /// The parts made so far.
    pub(crate) fn into_parts(self) -> Vec<Part> {
        self.parts
    }

    /// The paths that a probe may take at a stage, or none when it says nothing there.
    ///
    /// `destination` is the prober's own address, where answers go to; what the vantage point has never
    /// got may be kept from it.
    pub(crate) fn alternatives(
        &mut self,
        vantage: &VantagePoint,
        arm: &Arm,
        stage: Stage,
        destination: Option<IpAddr>,
        got: Got,
    ) -> Vec<Alternative> {
        let mut alternatives = match &arm.target {
            Target::Resolver { server } => self.resolver(vantage, *server),
            Target::NameServer { name, .. } => {
                let server = self.part(What::NameServer(name.clone()));
                let mut crossed = vec![self.access(&vantage.name), direct(server)];
                crossed.extend(self.zone(View::Direct));
                vec![only(crossed)]
            }
            Target::Edge { address } => {
                let mut ways = self.edge(vantage, *address, stage);
                if !got.known && self.topology.edges.len() > 1 {
                    let zone = self.topology.zone_name().to_string();
                    let record = direct(self.part(What::Zone(zone)));
                    ways.iter_mut().for_each(|way| way.crossed.push(record));
                }
                ways
            }
            Target::Vip { address } => self.vip(vantage, *address, stage, destination),
            Target::Backend { name, .. } => self.backend(vantage, name, stage, destination),
        };
        let kept = match stage {
            Stage::Dns | Stage::Tcp | Stage::Arrive if !got.through => {
                Some(self.barred(vantage, &arm.target))
            }
            Stage::Http if !got.served && matches!(arm.target, Target::Edge { .. }) => {
                let what = What::NotServed(vantage.name.clone());
                let homes = vantage.role == Role::Outside;
                let prior = if homes {
                    not_served::HOMES
                } else {
                    what.prior(1)
                };
                Some(self.part_with(what, prior))
            }
            Stage::Dns
            | Stage::Tcp
            | Stage::Arrive
            | Stage::Answer
            | Stage::Return
            | Stage::Tls
            | Stage::Http => None,
        };
        for alternative in &mut alternatives {
            alternative.crossed.extend(kept.map(direct));
        }
        if arm.traits.port == SourcePort::Reused {
            let crossed = alternatives.iter_mut().flat_map(|a| &mut a.crossed);
            for crossing in crossed.filter(|c| c.view == View::Direct) {
                crossing.view = View::ReusedPort;
            }
        }
        alternatives
    }

    fn access(&mut self, vantage: &VantageName) -> Crossing {
        direct(self.part(What::Access(vantage.clone())))
    }

    /// What a vantage point's packets cross on their way out. On a backend's host they leave as its
    /// answers do.
    fn outbound(&mut self, vantage: &VantagePoint, to: IpAddr) -> Vec<Crossing> {
        let mut crossed = vec![self.access(&vantage.name)];
        if let Some(host) = vantage
            .host
            .as_deref()
            .filter(|host| *host != BALANCER_HOST)
        {
            let ways = self.return_paths(host, Some(to)).unwrap_or_default();
            crossed.extend(ways.into_iter().map(direct));
        }
        crossed
    }

    fn resolver(&mut self, vantage: &VantagePoint, server: SocketAddr) -> Vec<Alternative> {
        let mut front = vec![
            self.access(&vantage.name),
            direct(self.part(What::Resolver(server.ip()))),
        ];
        front.extend(self.zone(View::BehindResolver));
        let servers = self.topology.name_servers.iter();
        let behind = servers
            .map(|server| {
                let part = self.part(What::NameServer(server.name.clone()));
                let crossing = Crossing {
                    part,
                    view: View::BehindResolver,
                };
                (vec![crossing], None)
            })
            .collect();
        fan_out(front, behind)
    }

    /// What every question about the name crosses.
    fn zone(&mut self, view: View) -> Vec<Crossing> {
        let name = self.topology.zone_name().to_string();
        let mut parts = vec![self.part(What::Zone(name.clone()))];
        if self.topology.name_servers.len() > 1 {
            parts.push(self.part(What::NameServers(name)));
        }
        parts
            .into_iter()
            .map(|part| Crossing { part, view })
            .collect()
    }

    /// A public address: an edge where there is evidence of a CDN, else whatever it is.
    fn edge(&mut self, vantage: &VantagePoint, edge: SocketAddr, stage: Stage) -> Vec<Alternative> {
        let several = self.topology.edges.len() > 1;
        let mut front = vec![self.access(&vantage.name)];
        if !has_cdn(self.topology) {
            front.push(direct(self.origin()));
            if several {
                front.push(direct(self.part(What::Address(edge.ip()))));
            }
            let behind = match stage {
                Stage::Http => self.pool(Vip::Undeclared, View::BehindLb),
                Stage::Dns
                | Stage::Tcp
                | Stage::Arrive
                | Stage::Answer
                | Stage::Return
                | Stage::Tls => Vec::new(),
            };
            return fan_out(front, behind);
        }
        front.push(direct(self.part(What::Edge(edge.ip()))));
        if several {
            let provider = provider_name(&self.topology.cdn);
            front.push(direct(self.part(What::Provider(provider))));
        }
        if stage != Stage::Http {
            return vec![only(front)];
        }
        let mut behind = Vec::new();
        for vip in self.vips() {
            let origin = self.behind_edge(edge.ip(), vip, several);
            let view = match self.balancing {
                Balancing::Forwarded | Balancing::Translated => View::BehindCdn,
                Balancing::Relayed => View::BehindCdnAndRelay,
                Balancing::Proxied => View::BehindCdnAndLb,
            };
            let mut pool = self.pool(vip, view);
            if self.balancing == Balancing::Forwarded {
                // Answers go to whoever connected, and that is the edge.
                for (crossed, backend) in &mut pool {
                    let host = backend.map(|b| self.topology.backends[b].name.clone());
                    let ways = host.and_then(|host| self.return_paths(&host, Some(edge.ip())));
                    let ways = ways.into_iter().flatten();
                    let known: Vec<PartId> = crossed.iter().map(|c| c.part).collect();
                    let new = ways.filter(|part| !known.contains(part));
                    crossed.extend(new.map(|part| Crossing { part, view }));
                }
            }
            if pool.is_empty() {
                let mut path = origin;
                // What stands behind a balancer that is declared, and is not.
                path.extend(vip.address().map(|_| Crossing {
                    part: self.origin(),
                    view,
                }));
                behind.push((path, None));
                continue;
            }
            for (crossed, backend) in pool {
                let mut path = origin.clone();
                path.extend(crossed);
                behind.push((path, backend));
            }
        }
        fan_out(front, behind)
    }

    /// What an edge meets on its way to a virtual address, and there.
    fn behind_edge(&mut self, edge: IpAddr, vip: Vip, several: bool) -> Vec<Crossing> {
        let froms = [Some(Some(edge)), several.then_some(None)];
        let mut met = Vec::new();
        for to in self.extents(vip) {
            let from = froms.iter().flatten().copied();
            let declared = to != Vip::Undeclared;
            let from = from.filter(|edge| declared || edge.is_some());
            met.extend(from.map(|edge| What::OriginPath { edge, to }));
            met.push(match to {
                Vip::One(_) | Vip::Any(_) => What::Balancer(to),
                Vip::Undeclared => What::Origin(self.topology.service.0.clone()),
            });
        }
        met.into_iter()
            .map(|what| Crossing {
                part: self.part(what),
                view: View::BehindCdn,
            })
            .collect()
    }

    fn origin(&mut self) -> PartId {
        self.part(What::Origin(self.topology.service.0.clone()))
    }

    fn vip(
        &mut self,
        vantage: &VantagePoint,
        vip: SocketAddr,
        stage: Stage,
        destination: Option<IpAddr>,
    ) -> Vec<Alternative> {
        let own = vantage.host.as_deref().filter(|host| self.is_backend(host));
        if let Some(own) = own.filter(|_| vantage.addresses.contains(&vip.ip())) {
            // With direct return each backend has the VIP for itself, and gets no further than that.
            return self.backend(vantage, own, stage, None);
        }
        let at_home = vantage.host.as_deref() == Some(BALANCER_HOST);
        let view = if at_home { View::AtHome } else { View::Direct };
        let balancer: Vec<Crossing> = self
            .extents(Vip::One(vip))
            .into_iter()
            .map(|vip| Crossing {
                part: self.part(What::Balancer(vip)),
                view,
            })
            .collect();
        match stage {
            Stage::Arrive => {
                let mut crossed = self.outbound(vantage, vip.ip());
                crossed.extend(balancer);
                return vec![only(crossed)];
            }
            Stage::Answer => return vec![only(balancer)],
            Stage::Return => return vec![only(vec![self.access(&vantage.name)])],
            Stage::Dns | Stage::Tcp | Stage::Tls | Stage::Http => {}
        }
        let mut front = balancer;
        if !at_home {
            front.extend(self.outbound(vantage, vip.ip()));
        }
        if self.balancing.at_layer_4() {
            let mut behind = Vec::new();
            for (index, backend) in self.topology.backends.iter().enumerate() {
                let mut parts = self.toward(Vip::One(vip), &backend.name);
                parts.extend(self.lb_backend_path(Vip::One(vip), &backend.name));
                let mut crossed: Vec<Crossing> = parts.into_iter().map(direct).collect();
                crossed.push(direct(self.part(What::Backend(backend.name.clone()))));
                crossed.extend(self.shared().map(direct));
                crossed.extend(self.forwarded_back(&backend.name, destination));
                behind.push((crossed, Some(index)));
            }
            if behind.is_empty() {
                front.push(direct(self.origin()));
            }
            return fan_out(front, behind);
        }
        let Some(view) = self.behind_vip(stage) else {
            return vec![only(front)];
        };
        let behind = self.pool(Vip::One(vip), view);
        if behind.is_empty() {
            // What no service file declares is not innocent.
            let part = self.origin();
            front.push(Crossing { part, view });
        }
        fan_out(front, behind)
    }

    /// How probes of a balancer that ends its clients' connections see what is behind it, where they do. One
    /// that passes bytes on connects for the first of them, and what follows meets the backend itself.
    fn behind_vip(&self, stage: Stage) -> Option<View> {
        let relays = self.balancing == Balancing::Relayed;
        match stage {
            Stage::Tls if relays => Some(View::BehindRelay),
            Stage::Http if relays && self.topology.scheme == Scheme::Https => Some(View::Direct),
            Stage::Http if relays => Some(View::BehindRelay),
            Stage::Http => Some(View::BehindLb),
            Stage::Dns
            | Stage::Tcp
            | Stage::Arrive
            | Stage::Answer
            | Stage::Return
            | Stage::Tls => None,
        }
    }

    fn is_backend(&self, host: &str) -> bool {
        let mut backends = self.topology.backends.iter();
        backends.any(|backend| backend.name == host)
    }

    /// How answers to forwarded connections come back. A balancer may leave the client's address in
    /// place, or put one of its own there, or speak TCP itself: which, no probe shows, so that faults
    /// on the ways to its own addresses may spare what it forwards. Direct return passes it by.
    fn forwarded_back(&mut self, backend: &str, client: Option<IpAddr>) -> Vec<Crossing> {
        if self.balancing == Balancing::Translated {
            let parts = self.return_to_sources(backend);
            return parts.into_iter().map(direct).collect();
        }
        let to_client = self.return_paths(backend, client).unwrap_or_default();
        let mut crossed: Vec<Crossing> = to_client.into_iter().map(direct).collect();
        if self.topology.vip_mode != VipMode::Dsr {
            let parts = self.return_to_sources(backend);
            let parts = parts
                .into_iter()
                .filter(|part| crossed.iter().all(|c| c.part != *part))
                .map(|part| Crossing {
                    part,
                    view: View::BehindLb,
                })
                .collect::<Vec<_>>();
            crossed.extend(parts);
        }
        crossed
    }

    /// The ways back to the addresses that the balancer's own connections may leave from.
    fn return_to_sources(&mut self, backend: &str) -> Vec<PartId> {
        let mut sources = self.balancer_addresses.clone();
        if sources.is_empty() {
            sources.extend(self.topology.vips.first().map(SocketAddr::ip));
        }
        let mut parts = Vec::new();
        for source in sources {
            for part in self.return_paths(backend, Some(source)).unwrap_or_default() {
                if !parts.contains(&part) {
                    parts.push(part);
                }
            }
        }
        parts
    }

    /// What a balancer does to one backend alone.
    fn toward(&mut self, vip: Vip, backend: &str) -> Vec<PartId> {
        let extents = self.extents(vip).into_iter();
        let toward = extents.map(|vip| {
            let backend = backend.to_string();
            self.part(What::Toward { vip, backend })
        });
        toward.collect()
    }

    /// What lies behind the balancer: one path for each backend, and back by whichever of its
    /// addresses the balancer's connection left from.
    fn pool(&mut self, vip: Vip, view: View) -> Vec<(Vec<Crossing>, Option<usize>)> {
        let mut paths = Vec::new();
        for (index, backend) in self.topology.backends.iter().enumerate() {
            let mut parts = self.toward(vip, &backend.name);
            parts.extend(self.lb_backend_path(vip, &backend.name));
            parts.push(self.part(What::Backend(backend.name.clone())));
            parts.extend(self.shared());
            if self.topology.vip_mode != VipMode::Dsr {
                parts.extend(self.return_to_sources(&backend.name));
            }
            let crossed = parts
                .into_iter()
                .map(|part| Crossing { part, view })
                .collect();
            paths.push((crossed, Some(index)));
        }
        paths
    }

    fn backend(
        &mut self,
        vantage: &VantagePoint,
        name: &str,
        stage: Stage,
        destination: Option<IpAddr>,
    ) -> Vec<Alternative> {
        let mut backend = vec![direct(self.part(What::Backend(name.to_string())))];
        backend.extend(self.shared().map(direct));
        if vantage.host.as_deref() == Some(name) {
            for crossing in &mut backend {
                crossing.view = View::AtHome;
            }
            return match stage {
                Stage::Tls | Stage::Http => vec![only(backend)],
                Stage::Dns | Stage::Tcp | Stage::Arrive | Stage::Answer | Stage::Return => vec![],
            };
        }
        let forward = if vantage.host.as_deref() == Some(BALANCER_HOST) {
            let vip = self.vips().first().copied().unwrap_or(Vip::Undeclared);
            let ways = self.lb_backend_path(vip, name);
            ways.into_iter().map(direct).collect()
        } else {
            match self
                .topology
                .backends
                .iter()
                .find(|b| b.name == name)
                .map(|b| b.address.ip())
            {
                Some(to) => self.outbound(vantage, to),
                None => vec![self.access(&vantage.name)],
            }
        };
        let back: Vec<Crossing> = self
            .return_paths(name, destination)
            .unwrap_or_default()
            .into_iter()
            .map(direct)
            .collect();
        let mut crossed = Vec::new();
        match stage {
            Stage::Arrive => crossed.extend(forward),
            Stage::Answer => {
                crossed.extend(backend);
                crossed.extend(back.into_iter().filter(|_| self.strict));
            }
            Stage::Return => {
                crossed.extend(back);
                crossed.extend(self.answered_at(destination));
                if vantage.host.as_deref() != Some(BALANCER_HOST) {
                    crossed.push(self.access(&vantage.name));
                }
            }
            Stage::Dns | Stage::Tcp | Stage::Tls | Stage::Http => {
                crossed.extend(forward);
                crossed.extend(backend);
                crossed.extend(back);
                crossed.extend(self.answered_at(destination));
            }
        }
        vec![only(crossed)]
    }

    /// What is for a virtual address comes to where that is.
    fn answered_at(&mut self, destination: Option<IpAddr>) -> Vec<Crossing> {
        let vips = self.topology.vips.iter().copied();
        let vips: Vec<SocketAddr> = vips.filter(|vip| destination == Some(vip.ip())).collect();
        let balancers = vips.into_iter().map(Vip::One).map(What::Balancer);
        let view = View::Answered;
        balancers
            .map(|what| Crossing {
                part: self.part(what),
                view,
            })
            .collect()
    }

    /// The paths of a connection that the balancer made, from what its backend's host saw of it: a SYN that
    /// comes from a port which the balancer uses again too soon is the balancer's.
    pub(crate) fn passing(
        &mut self,
        vantage: &VantagePoint,
        arm: &Arm,
        stage: Stage,
    ) -> Vec<Alternative> {
        let Target::Backend { name, .. } = &arm.target else {
            return Vec::new();
        };
        let mut alternatives = self.backend(vantage, name, stage, arm.source);
        if stage == Stage::Answer {
            let vip = self.vips().first().copied().unwrap_or(Vip::Undeclared);
            let balancers = self.extents(vip).into_iter();
            let balancers: Vec<Crossing> = balancers
                .map(|vip| Crossing {
                    part: self.part(What::Balancer(vip)),
                    view: View::OwnPort,
                })
                .collect();
            for alternative in &mut alternatives {
                alternative.crossed.extend(&balancers);
            }
        }
        alternatives
    }

    /// What all backends share, where there are several.
    fn shared(&mut self) -> Option<PartId> {
        let several = self.topology.backends.len() > 1;
        several.then(|| self.part(What::Shared(self.topology.service.0.clone())))
    }

    fn lb_backend_path(&mut self, vip: Vip, backend: &str) -> Vec<PartId> {
        let extents = self.extents(vip).into_iter();
        extents
            .map(|vip| {
                let backend = backend.to_string();
                self.part(What::LbBackendPath { vip, backend })
            })
            .collect()
    }

    /// A virtual address by itself, and where there are several all of them.
    fn extents(&self, vip: Vip) -> Vec<Vip> {
        let several = self.topology.vips.len() > 1;
        let first = self.topology.vips.first().filter(|_| several);
        let mut extents = vec![vip];
        extents.extend(first.map(|first| Vip::Any(*first)));
        extents
    }

    /// The ways back from a backend to an address: to it alone, to the balancer whatever its address,
    /// to the address's prefix, to everywhere.
    fn return_paths(&mut self, backend: &str, to: Option<IpAddr>) -> Option<Vec<PartId>> {
        let to = to?;
        let mut ways = vec![Destination::Address(to)];
        if self.balancer_host.len() > 1 && self.balancer_host.contains(&to) {
            ways.push(Destination::Balancer(self.nearest_to(backend, to)));
        }
        let prefix = prefix(to);
        if self.prefixes.contains(&prefix) {
            ways.push(Destination::Prefix(prefix));
        }
        let everywhere = match to {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        ways.push(Destination::Everywhere(everywhere));
        let parts = ways.into_iter().map(|to| {
            let host = backend.to_string();
            self.part(What::Return { host, to })
        });
        Some(parts.collect())
    }

    /// The balancer's address that is nearest to a backend: its own connections leave from there.
    fn nearest_to(&self, backend: &str, otherwise: IpAddr) -> IpAddr {
        let own = self.topology.backends.iter().find(|b| b.name == backend);
        let near = |address: &&IpAddr| own.map_or(0, |b| common_bits(**address, b.address.ip()));
        let nearest = self.balancer_host.iter().max_by_key(near).copied();
        nearest.unwrap_or(otherwise)
    }

    /// The virtual addresses; where none is declared, one of which nothing is known.
    fn vips(&self) -> Vec<Vip> {
        match self.topology.vips.as_slice() {
            [] => vec![Vip::Undeclared],
            vips => vips.iter().copied().map(Vip::One).collect(),
        }
    }

    fn part(&mut self, what: What) -> PartId {
        let prior = what.prior(self.topology.vips.len());
        self.part_with(what, prior)
    }

    fn part_with(&mut self, what: What, prior: f64) -> PartId {
        let next = self.parts.len();
        let id = *self.index.entry(what.clone()).or_insert(next);
        if id == next {
            let speaks_tls = self.speaks_tls(&what);
            self.parts.push(Part {
                what,
                prior,
                speaks_tls,
            });
        }
        id
    }

    /// Whether a part may have to do with TLS, by the schemes that are declared.
    fn speaks_tls(&self, what: &What) -> bool {
        let declared = |name: &str| {
            let mut backends = self.topology.backends.iter();
            backends.any(|b| b.name == name && b.scheme == Scheme::Https)
        };
        match what {
            What::Backend(name) => declared(name),
            What::Shared(_) => self.topology.backends.iter().any(|b| declared(&b.name)),
            What::Edge(_)
            | What::Provider(_)
            | What::Address(_)
            | What::Origin(_)
            | What::Balancer(Vip::One(_) | Vip::Any(_)) => self.topology.scheme == Scheme::Https,
            What::Access(_)
            | What::Resolver(_)
            | What::NameServer(_)
            | What::NameServers(_)
            | What::Zone(_)
            | What::OriginPath { .. }
            | What::Balancer(Vip::Undeclared)
            | What::Toward { .. }
            | What::LbBackendPath { .. }
            | What::Return { .. }
            | What::Barred { .. }
            | What::NotServed(_) => true,
        }
    }

    fn barred(&mut self, vantage: &VantagePoint, target: &Target) -> PartId {
        let prior = match (vantage.role, target) {
            (Role::Outside, Target::Vip { .. } | Target::Backend { .. })
            | (Role::BehindCdn, Target::Backend { .. }) => barred::EXPECTED_CLOSED,
            (Role::Inside, Target::Vip { .. } | Target::Edge { .. }) => barred::PERHAPS_CLOSED,
            (_, Target::Resolver { server }) if vantage.resolvers.contains(server) => {
                barred::NEVER_CLOSED
            }
            _ => barred::EXPECTED_OPEN,
        };
        let what = What::Barred {
            vantage: vantage.name.clone(),
            target: target.label(),
        };
        self.part_with(what, prior)
    }
}

/// Whether there is evidence of a CDN: it is declared, answers tell of one, or public addresses are
/// not those of the balancer.
pub(crate) fn has_cdn(topology: &Topology) -> bool {
    match &topology.cdn {
        CdnProvider::Named(_) | CdnProvider::Auto(Some(_)) => true,
        CdnProvider::Auto(None) => !topology.vips.is_empty(),
        CdnProvider::None => false,
    }
}

/// The readings of a topology's balancer, with the logarithms of their prior odds.
pub(crate) fn readings(topology: &Topology) -> &'static [(Balancing, f64)] {
    use Balancing::{Forwarded, Proxied, Relayed, Translated};
    match topology.vip_mode {
        VipMode::L7 => &[(Proxied, 0.0)],
        VipMode::Dsr => &[(Forwarded, 0.0)],
        VipMode::L4 => &[(Forwarded, 0.0), (Translated, 0.0), (Relayed, -1.5)],
        VipMode::Auto if topology.vips.is_empty() || topology.backends.is_empty() => {
            &[(Proxied, 0.0)]
        }
        VipMode::Auto => &[(Proxied, 0.0), (Forwarded, -0.85), (Relayed, -1.5)],
    }
}

/// The name that the verdict gives to all edges together.
pub(crate) fn provider_name(provider: &CdnProvider) -> String {
    match provider {
        CdnProvider::Named(name) | CdnProvider::Auto(Some(name)) => name.clone(),
        CdnProvider::Auto(None) | CdnProvider::None => "cdn".to_string(),
    }
}

fn direct(part: PartId) -> Crossing {
    Crossing {
        part,
        view: View::Direct,
    }
}

fn only(crossed: Vec<Crossing>) -> Alternative {
    Alternative {
        weight: 1.0,
        backend: None,
        crossed,
    }
}

/// One alternative for each way behind a common front; the front alone when nothing is behind it.
fn fan_out(front: Vec<Crossing>, behind: Vec<(Vec<Crossing>, Option<usize>)>) -> Vec<Alternative> {
    if behind.is_empty() {
        return vec![only(front)];
    }
    let weight = 1.0 / behind.len() as f64;
    behind
        .into_iter()
        .map(|(crossed, backend)| {
            let mut path = front.clone();
            path.extend(crossed);
            Alternative {
                weight,
                backend,
                crossed: path,
            }
        })
        .collect()
}
