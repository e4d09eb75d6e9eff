//! Which components a probe crosses, layer by layer.

mod addresses;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use self::addresses::{balancer_addresses, balancer_host, common_bits, prefix};
use crate::facts::component::{Component, Kind};
use crate::facts::observation::{Arm, SourcePort, Target};
use crate::facts::topology::{
    BALANCER_HOST, CdnProvider, Role, Topology, VantageName, VantagePoint, VipMode,
};
use crate::world::mode::{Class, View};
use crate::world::symptom::Stage;

/// Number of a part in one problem.
pub(crate) type PartId = usize;

/// Something that can be the reason of a failed probe.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// What it is; for a firewall rule, `name` says between whom.
    pub(crate) class: Class,
    /// Its name, as the verdict prints it.
    pub(crate) name: String,
    /// Prior probability that it is at fault in any one window.
    pub(crate) prior: f64,
}

impl Part {
    /// The component, when a verdict can name it.
    pub(crate) fn component(&self) -> Option<Component> {
        match self.class {
            Class::Blamable(kind) => Some(Component {
                kind,
                name: self.name.clone(),
            }),
            Class::Firewall => None,
        }
    }
}

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

/// How probable faults of each kind are before any probe: rough shares of what incident reports name.
mod prior {
    pub(super) const CLIENT_NETWORK: f64 = 0.02;
    pub(super) const RESOLVER: f64 = 0.015;
    pub(super) const NAME_SERVER: f64 = 0.01;
    pub(super) const EDGE: f64 = 0.01;
    pub(super) const PROVIDER: f64 = 0.004;
    pub(super) const ONE_ORIGIN_PATH: f64 = 0.004;
    pub(super) const EVERY_ORIGIN_PATH: f64 = 0.002;
    pub(super) const BALANCER: f64 = 0.012;
    pub(super) const LB_BACKEND_PATH: f64 = 0.006;
    pub(super) const BACKEND: f64 = 0.02;
    pub(super) const RETURN_PATH: f64 = 0.004;
    pub(super) const RETURN_PREFIX: f64 = 0.001;
    pub(super) const RETURN_EVERYWHERE: f64 = 0.003;
    pub(super) const EXPECTED_OPEN: f64 = 0.02;
    pub(super) const EXPECTED_CLOSED: f64 = 0.5;
    pub(super) const PERHAPS_CLOSED: f64 = 0.2;
    pub(super) const NEVER_CLOSED: f64 = 0.0002;
}

/// Name of the balancer in messages when the service file has no VIP.
const UNKNOWN_ORIGIN: &str = "origin";

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
}

impl Balancing {
    /// Whether a backend's own stack answers the client's packets.
    pub(crate) fn at_layer_4(self) -> bool {
        self != Balancing::Proxied
    }
}

/// The parts of a delivery path, made as probes turn out to cross them.
pub(crate) struct Paths<'a> {
    topology: &'a Topology,
    parts: Vec<Part>,
    index: BTreeMap<(Kind, String), PartId>,
    firewalls: BTreeMap<String, PartId>,
    to_balancer: BTreeMap<String, PartId>,
    /// Addresses that the balancer's own connections may leave from.
    balancer_addresses: Vec<IpAddr>,
    /// Every address of the balancer's host, the virtual ones included.
    balancer_host: Vec<IpAddr>,
    /// Prefixes that hold at least two of the addresses that backends answer to.
    prefixes: BTreeSet<String>,
    balancing: Balancing,
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
            .filter(|p| !seen.insert(p.clone()))
            .collect();
        Self {
            topology,
            parts: Vec::new(),
            index: BTreeMap::new(),
            firewalls: BTreeMap::new(),
            to_balancer: BTreeMap::new(),
            balancer_addresses,
            balancer_host: balancer_host(topology),
            prefixes,
            balancing,
        }
    }

    /// The parts made so far.
    pub(crate) fn into_parts(self) -> Vec<Part> {
        self.parts
    }

    /// The paths that a probe may take at a stage, or none when it says nothing there.
    ///
    /// `destination` is the prober's own address, where answers go to; `forbidden` adds the reading
    /// that a rule keeps this vantage point from this target.
    pub(crate) fn alternatives(
        &mut self,
        vantage: &VantagePoint,
        arm: &Arm,
        stage: Stage,
        destination: Option<IpAddr>,
        forbidden: bool,
    ) -> Vec<Alternative> {
        let mut alternatives = match &arm.target {
            Target::Resolver { server } => self.resolver(vantage, *server),
            Target::NameServer { name, .. } => {
                let crossed = vec![
                    self.access(&vantage.name),
                    direct(self.part(Kind::AuthoritativeDns, name, prior::NAME_SERVER)),
                ];
                vec![only(crossed)]
            }
            Target::Edge { address } => self.edge(vantage, *address, stage),
            Target::Vip { address } => self.vip(vantage, *address, stage, destination),
            Target::Backend { name, .. } => self.backend(vantage, name, stage, destination),
        };
        if forbidden
            && !matches!(
                stage,
                Stage::Tls | Stage::Http | Stage::Return | Stage::Answer
            )
        {
            let rule = self.firewall(vantage, &arm.target);
            for alternative in &mut alternatives {
                alternative.crossed.push(direct(rule));
            }
        }
        if arm.port == SourcePort::Reused {
            let crossed = alternatives.iter_mut().flat_map(|a| &mut a.crossed);
            for crossing in crossed.filter(|c| c.view == View::Direct) {
                crossing.view = View::ReusedPort;
            }
        }
        alternatives
    }

    fn access(&mut self, vantage: &VantageName) -> Crossing {
        direct(self.part(Kind::ClientNetwork, &vantage.0, prior::CLIENT_NETWORK))
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
        let name = server.ip().to_string();
        let front = vec![
            self.access(&vantage.name),
            direct(self.part(Kind::Resolver, &name, prior::RESOLVER)),
        ];
        let servers: Vec<String> = self
            .topology
            .name_servers
            .iter()
            .map(|n| n.name.clone())
            .collect();
        let behind = servers
            .iter()
            .map(|name| {
                let part = self.part(Kind::AuthoritativeDns, name, prior::NAME_SERVER);
                (
                    vec![Crossing {
                        part,
                        view: View::BehindResolver,
                    }],
                    None,
                )
            })
            .collect();
        fan_out(front, behind)
    }

    fn edge(&mut self, vantage: &VantagePoint, edge: SocketAddr, stage: Stage) -> Vec<Alternative> {
        let mut front = vec![
            self.access(&vantage.name),
            direct(self.part(Kind::Cdn, &edge.ip().to_string(), prior::EDGE)),
        ];
        if self.topology.edges.len() > 1 {
            let provider = provider_name(&self.topology.cdn);
            front.push(direct(self.part(Kind::Cdn, &provider, prior::PROVIDER)));
        }
        if stage != Stage::Http {
            return vec![only(front)];
        }
        let mut behind = Vec::new();
        for vip in self.vip_names() {
            let mut origin = vec![self.behind_cdn(
                Kind::CdnOriginPath,
                &format!("{}->{vip}", edge.ip()),
                prior::ONE_ORIGIN_PATH,
            )];
            if self.topology.edges.len() > 1 {
                origin.push(self.behind_cdn(
                    Kind::CdnOriginPath,
                    &format!("*->{vip}"),
                    prior::EVERY_ORIGIN_PATH,
                ));
            }
            origin.push(self.behind_cdn(Kind::LoadBalancer, &vip, prior::BALANCER));
            let view = if self.balancing.at_layer_4() {
                View::BehindCdn
            } else {
                View::BehindCdnAndLb
            };
            for (crossed, backend) in self.pool(&vip, view) {
                let mut path = origin.clone();
                path.extend(crossed);
                behind.push((path, backend));
            }
        }
        fan_out(front, behind)
    }

    fn vip(
        &mut self,
        vantage: &VantagePoint,
        vip: SocketAddr,
        stage: Stage,
        destination: Option<IpAddr>,
    ) -> Vec<Alternative> {
        let name = vip.to_string();
        let balancer = direct(self.part(Kind::LoadBalancer, &name, prior::BALANCER));
        match stage {
            Stage::Arrive => return vec![only(self.outbound(vantage, vip.ip()))],
            Stage::Answer => return vec![only(vec![balancer])],
            Stage::Return => return vec![only(vec![self.access(&vantage.name)])],
            Stage::Dns | Stage::Tcp | Stage::Tls | Stage::Http => {}
        }
        let mut front = vec![balancer];
        if vantage.host.as_deref() != Some(BALANCER_HOST) {
            front.extend(self.outbound(vantage, vip.ip()));
        }
        if self.balancing.at_layer_4() {
            let mut behind = Vec::new();
            for (index, backend) in self.topology.backends.iter().enumerate() {
                let mut crossed = vec![
                    direct(self.lb_backend_path(&name, &backend.name)),
                    direct(self.part(Kind::Backend, &backend.name, prior::BACKEND)),
                ];
                crossed.extend(self.forwarded_back(&backend.name, destination));
                behind.push((crossed, Some(index)));
            }
            return fan_out(front, behind);
        }
        if stage != Stage::Http {
            return vec![only(front)];
        }
        let behind = self.pool(&name, View::BehindLb);
        fan_out(front, behind)
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

    /// What lies behind the balancer: one path for each backend, and back by whichever of its
    /// addresses the balancer's connection left from.
    fn pool(&mut self, vip: &str, view: View) -> Vec<(Vec<Crossing>, Option<usize>)> {
        let mut paths = Vec::new();
        for (index, backend) in self.topology.backends.iter().enumerate() {
            let mut parts = vec![
                self.lb_backend_path(vip, &backend.name),
                self.part(Kind::Backend, &backend.name, prior::BACKEND),
            ];
            parts.extend(self.return_to_sources(&backend.name));
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
        let backend = direct(self.part(Kind::Backend, name, prior::BACKEND));
        if vantage.host.as_deref() == Some(name) {
            return match stage {
                Stage::Tls | Stage::Http => vec![only(vec![backend])],
                Stage::Dns | Stage::Tcp | Stage::Arrive | Stage::Answer | Stage::Return => vec![],
            };
        }
        let forward = if vantage.host.as_deref() == Some(BALANCER_HOST) {
            let vip = self.vip_names().swap_remove(0);
            vec![direct(self.lb_backend_path(&vip, name))]
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
            Stage::Answer => crossed.push(backend),
            Stage::Return => {
                crossed.extend(back);
                if vantage.host.as_deref() != Some(BALANCER_HOST) {
                    crossed.push(self.access(&vantage.name));
                }
            }
            Stage::Dns | Stage::Tcp | Stage::Tls | Stage::Http => {
                crossed.extend(forward);
                crossed.push(backend);
                crossed.extend(back);
            }
        }
        vec![only(crossed)]
    }

    fn behind_cdn(&mut self, kind: Kind, name: &str, prior: f64) -> Crossing {
        Crossing {
            part: self.part(kind, name, prior),
            view: View::BehindCdn,
        }
    }

    fn lb_backend_path(&mut self, vip: &str, backend: &str) -> PartId {
        self.part(
            Kind::LbBackendPath,
            &format!("{vip}->{backend}"),
            prior::LB_BACKEND_PATH,
        )
    }

    /// The ways back from a backend to an address: to it alone, to the balancer whatever its address,
    /// to the address's prefix, to everywhere.
    fn return_paths(&mut self, backend: &str, to: Option<IpAddr>) -> Option<Vec<PartId>> {
        let to = to?;
        let mut parts = vec![self.part(
            Kind::ReturnPath,
            &format!("{backend}->{to}"),
            prior::RETURN_PATH,
        )];
        if self.balancer_host.len() > 1 && self.balancer_host.contains(&to) {
            parts.push(self.return_to_balancer(backend));
        }
        let prefix = prefix(to);
        if self.prefixes.contains(&prefix) {
            parts.push(self.part(
                Kind::ReturnPath,
                &format!("{backend}->{prefix}"),
                prior::RETURN_PREFIX,
            ));
        }
        let everywhere = if to.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        parts.push(self.part(
            Kind::ReturnPath,
            &format!("{backend}->{everywhere}"),
            prior::RETURN_EVERYWHERE,
        ));
        Some(parts)
    }

    /// The way back to the balancer by whichever of its addresses, named by the one nearest to the
    /// backend, which the balancer's own connections leave from.
    fn return_to_balancer(&mut self, backend: &str) -> PartId {
        let own = self.topology.backends.iter().find(|b| b.name == backend);
        let near = |address: &&IpAddr| own.map_or(0, |b| common_bits(**address, b.address.ip()));
        let nearest = self.balancer_host.iter().max_by_key(near).copied();
        let name = nearest.map_or_else(String::new, |a| format!("{backend}->{a}"));
        let next = self.parts.len();
        let id = *self.to_balancer.entry(backend.to_string()).or_insert(next);
        if id == next {
            let class = Class::Blamable(Kind::ReturnPath);
            self.parts.push(Part {
                class,
                name,
                prior: prior::RETURN_PATH,
            });
        }
        id
    }

    fn vip_names(&self) -> Vec<String> {
        if self.topology.vips.is_empty() {
            vec![UNKNOWN_ORIGIN.to_string()]
        } else {
            self.topology.vips.iter().map(ToString::to_string).collect()
        }
    }

    fn part(&mut self, kind: Kind, name: &str, prior: f64) -> PartId {
        let next = self.parts.len();
        let id = *self.index.entry((kind, name.to_string())).or_insert(next);
        if id == next {
            self.parts.push(Part {
                class: Class::Blamable(kind),
                name: name.to_string(),
                prior,
            });
        }
        id
    }

    fn firewall(&mut self, vantage: &VantagePoint, target: &Target) -> PartId {
        let next = self.parts.len();
        let name = format!("{}->{}", vantage.name, target.label());
        let id = *self.firewalls.entry(name.clone()).or_insert(next);
        if id == next {
            let prior = match (vantage.role, target) {
                (Role::Outside, Target::Vip { .. } | Target::Backend { .. })
                | (Role::BehindCdn, Target::Backend { .. }) => prior::EXPECTED_CLOSED,
                (Role::Inside, Target::Vip { .. } | Target::Edge { .. }) => prior::PERHAPS_CLOSED,
                (_, Target::Resolver { server }) if vantage.resolvers.contains(server) => {
                    prior::NEVER_CLOSED
                }
                _ => prior::EXPECTED_OPEN,
            };
            self.parts.push(Part {
                class: Class::Firewall,
                name,
                prior,
            });
        }
        id
    }
}

/// The readings of a topology's balancer, with the logarithms of their prior odds.
pub(crate) fn readings(topology: &Topology) -> &'static [(Balancing, f64)] {
    use Balancing::{Forwarded, Proxied, Translated};
    match topology.vip_mode {
        VipMode::L7 => &[(Proxied, 0.0)],
        VipMode::Dsr => &[(Forwarded, 0.0)],
        VipMode::L4 => &[(Forwarded, 0.0), (Translated, 0.0)],
        VipMode::Auto if topology.vips.is_empty() || topology.backends.is_empty() => {
            &[(Proxied, 0.0)]
        }
        VipMode::Auto => &[(Proxied, 0.0), (Forwarded, -0.85)],
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
