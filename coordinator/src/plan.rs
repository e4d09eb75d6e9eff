//! Which vantage point fires which arm: pure, from what is declared and what was learnt.

mod given;
mod learn;
mod proven;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use localize::topology::BALANCER_HOST;
use localize::{
    Arm, Backend, CdnProvider, Encoding, Expectation, Hello, Object, Pace, Role, Scheme, Session,
    SourcePort, TWINS, Target, Topology, Traits, Twin, VantagePoint,
};
use proto::v1;

use crate::service_file::{Extra, ServiceFile};

pub use given::Given;
pub use learn::{Learnt, Varies, learn, learn_name_servers, learn_zone};
pub use proven::Proven;

/// Most source addresses of one vantage point that are probed from: a host has a few, and each costs
/// one arm for every backend.
const MAX_SOURCES: usize = 8;

/// Of so many rounds of the schedule one has large hellos: with one each ten seconds that is one a minute.
pub const LARGE_HELLO_EVERY: u64 = 6;

/// Of so many rounds of the schedule one has bursts of connections, and none that has large hellos: with one each ten seconds
/// that is one in 100 s, so that even who lets a client have only a few connections a minute lets the rounds between through.
pub const BURST_EVERY: u64 = 10;
const BURST_TURN: u64 = 5;

/// The delivery path of a service as it is declared and learnt, with the vantage points given.
///
/// What the file declares goes before what was learnt. Where there is no CDN and no VIP is declared,
/// the public addresses are the balancer's.
#[must_use]
pub fn topology(file: &ServiceFile, learnt: &Learnt, vantages: &[VantagePoint]) -> Topology {
    let edges: Vec<SocketAddr> = learnt
        .edges
        .keys()
        .map(|ip| SocketAddr::new(*ip, file.url.port))
        .collect();
    let cdn = cdn(file, learnt, &edges);
    let vips = match cdn {
        CdnProvider::None if file.vips.is_empty() => edges.clone(),
        CdnProvider::None | CdnProvider::Auto(_) | CdnProvider::Named(_) => file.vips.clone(),
    };
    let name_servers = if file.name_servers.is_empty() {
        learnt.name_servers.iter().cloned().collect()
    } else {
        file.name_servers.clone()
    };
    Topology {
        service: file.name.clone(),
        scheme: file.url.scheme,
        vantages: vantages.to_vec(),
        resolvers: file.resolvers.clone(),
        zone: learnt.zone.clone(),
        name_servers,
        edges,
        cdn,
        vips,
        vip_mode: file.vip_mode,
        backends: file.backends.clone(),
        expect: match file.expect.is_declared() {
            true => Expectation::Declared,
            false => Expectation::Undeclared,
        },
    }
}

/// In which other ways arms are fired once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twins(Vec<&'static Twin>);

impl Twins {
    /// What the service file asks for.
    #[must_use]
    pub fn of(file: &ServiceFile) -> Self {
        let wanted = |twin: &&Twin| wants(file, twin.traits);
        Self(TWINS.iter().filter(wanted).collect())
    }

    /// Those alone that are other than plain, by what was learnt of the service: nobody keeps a cookie that
    /// none is given.
    #[must_use]
    pub fn possible(self, learnt: &Learnt) -> Self {
        let is_possible = |twin: &&'static Twin| match twin.traits.session {
            Session::New => true,
            Session::Kept => learnt.varies.gives_cookies,
        };
        Self(self.0.into_iter().filter(is_possible).collect())
    }

    /// Of these those alone that may tell something in rounds of the schedule: where answers hang on the
    /// encodings which a client accepts. A localisation fires the others as well.
    #[must_use]
    pub fn telling(self, learnt: &Learnt) -> Self {
        let tells = |twin: &&'static Twin| match twin.traits.encoding {
            Encoding::Identity => true,
            Encoding::Gzip => learnt.varies.by_encoding,
        };
        let possible = self.possible(learnt).0.into_iter();
        Self(possible.filter(tells).collect())
    }

    /// Of these those alone whose turn it is in a round of the schedule: what middleboxes make of a large hello changes
    /// seldom, and it costs a probe of every target; a burst costs eight connections.
    #[must_use]
    pub fn due(self, round: u64) -> Self {
        let is_due = |twin: &&'static Twin| match (twin.traits.hello, twin.traits.pace) {
            (Hello::Usual, Pace::Single) => true,
            (Hello::Large, _) => round.is_multiple_of(LARGE_HELLO_EVERY),
            (Hello::Usual, Pace::Burst) => round % BURST_EVERY == BURST_TURN,
        };
        Self(self.0.into_iter().filter(is_due).collect())
    }

    /// Of these those alone whose probes open so many connections at once.
    #[must_use]
    pub fn at_once(self, pace: Pace) -> Self {
        let is_so = |twin: &&'static Twin| twin.traits.pace == pace;
        Self(self.0.into_iter().filter(is_so).collect())
    }

    /// Those alone that every round of the schedule has.
    #[must_use]
    pub fn in_every_round(self) -> Self {
        let is_always =
            |twin: &&'static Twin| twin.traits.hello.is_plain() && twin.traits.pace.is_plain();
        Self(self.0.into_iter().filter(is_always).collect())
    }

    /// Those alone that stand for something which the service file declares.
    #[must_use]
    pub fn declared(self) -> Self {
        let declared = |twin: &&'static Twin| match twin.traits.object {
            Object::Usual => false,
            Object::Large => true,
        };
        Self(self.0.into_iter().filter(declared).collect())
    }
}

/// Whether a service file has arms with these traits fired.
fn wants(file: &ServiceFile, traits: Traits) -> bool {
    let Traits {
        port,
        object,
        encoding,
        session,
        hello,
        pace,
    } = traits;
    let port = match port {
        SourcePort::Fresh => true,
        SourcePort::Reused => file.port_reuse == Extra::Probed,
    };
    let encoding = match encoding {
        Encoding::Identity => true,
        Encoding::Gzip => file.gzip == Extra::Probed,
    };
    let object = match object {
        Object::Usual => true,
        Object::Large => file.large_path.is_some(),
    };
    let session = match session {
        Session::New => true,
        Session::Kept => file.cookies == Extra::Probed,
    };
    let hello = match hello {
        Hello::Usual => true,
        Hello::Large => file.large_hello == Extra::Probed,
    };
    let pace = match pace {
        Pace::Single => true,
        Pace::Burst => file.bursts == Extra::Probed,
    };
    port && object && encoding && session && hello && pace
}

/// The arms that a vantage point fires in a round, in a fixed order, none twice.
///
/// Every vantage point asks its own resolvers, those of the service file and each name server. Those
/// that run on no host of the path go to the edges as users do, to those of IPv6 where they have IPv6. The VIPs are for those behind the
/// CDN, in the data centre and on its hosts, and for everybody where they are the public addresses.
/// The backends are for the data centre and its hosts, from each source address. Twins come last.
#[must_use]
pub fn arms(topology: &Topology, vantage: &VantagePoint, twins: &Twins) -> Vec<Arm> {
    let mut arms = Vec::new();
    let mut seen = BTreeSet::new();
    let targets = dns_targets(topology, vantage)
        .chain(edge_targets(topology, vantage))
        .chain(vip_targets(topology, vantage));
    for arm in targets.map(Arm::to).chain(backend_arms(topology, vantage)) {
        if seen.insert(arm.clone()) {
            arms.push(arm);
        }
    }
    // Agents on backends have no twins: those elsewhere see the same, and their number does not grow with
    // the backends.
    let host = vantage.host.as_deref();
    if host.is_none_or(|host| host == BALANCER_HOST) {
        let fetching = arms.iter().filter(|arm| fetches(topology, arm));
        let fetching: Vec<Arm> = fetching.cloned().collect();
        let of = |twin: &&'static Twin| twinned(topology, &fetching, twin);
        arms.extend(twins.0.iter().flat_map(of));
    }
    arms
}

/// Whether an arm ends in a request.
fn fetches(topology: &Topology, arm: &Arm) -> bool {
    match &arm.target {
        Target::Resolver { .. } | Target::NameServer { .. } => false,
        Target::Edge { .. } | Target::Vip { .. } => true,
        Target::Backend { name, .. } => {
            let mut backends = topology.backends.iter();
            backends.any(|b| b.name == *name && b.scheme != Scheme::Tcp)
        }
    }
}

/// Whether TLS is spoken with an arm's target.
fn speaks_tls(topology: &Topology, arm: &Arm) -> bool {
    let scheme = match &arm.target {
        Target::Resolver { .. } | Target::NameServer { .. } => None,
        Target::Edge { .. } | Target::Vip { .. } => Some(topology.scheme),
        Target::Backend { name, .. } => {
            let mut backends = topology.backends.iter();
            backends.find(|b| b.name == *name).map(|b| b.scheme)
        }
    };
    scheme == Some(Scheme::Https)
}

/// The twins of arms that end in a request. Behind a bare handshake there is none: it has no answer, and the
/// agent would be the first to close.
fn twinned(topology: &Topology, fetching: &[Arm], twin: &Twin) -> Vec<Arm> {
    let says_hello = |arm: &&Arm| twin.traits.hello.is_plain() || speaks_tls(topology, arm);
    let plain = fetching.iter().filter(|arm| twin.of.holds(&arm.target));
    let plain = plain.filter(says_hello);
    let mut twins: Vec<Arm> = plain.map(|arm| arm.twin(twin.traits)).collect();
    if twin.of.from_one_source() {
        // The arms of one target stand together.
        twins.dedup_by(|a, b| a.target == b.target);
    }
    twins
}

/// What an agent must know to probe the service, and a witness to watch it.
#[must_use]
pub fn spec(file: &ServiceFile) -> v1::ServiceSpec {
    let ports = file
        .vips
        .iter()
        .chain(file.backends.iter().map(|b| &b.address));
    let ports: BTreeSet<u16> = ports.map(SocketAddr::port).chain([file.url.port]).collect();
    v1::ServiceSpec {
        name: file.name.0.clone(),
        host: file.url.host.clone(),
        scheme: scheme_word(file.url.scheme).to_owned(),
        path: file.url.path.clone(),
        authority: file.url.authority.clone(),
        ca_pem: file.ca_pem.clone().unwrap_or_default(),
        dns_timeout_ms: millis(file.timeouts.dns),
        connect_timeout_ms: millis(file.timeouts.connect),
        tls_timeout_ms: millis(file.timeouts.tls),
        total_timeout_ms: millis(file.timeouts.total),
        witness_ports: ports.into_iter().map(u32::from).collect(),
        backends: file.backends.iter().map(backend_request).collect(),
        large_path: file.large_path.clone().unwrap_or_default(),
        request: Some((&file.request).into()),
        expect: Some((&file.expect).into()),
        trace: file.trace == Extra::Probed,
    }
}

/// Who runs the edges. Declared words stand; else all public addresses being VIPs tells that nobody
/// stands before the balancer, and headers tell who does.
fn cdn(file: &ServiceFile, learnt: &Learnt, edges: &[SocketAddr]) -> CdnProvider {
    match &file.cdn {
        CdnProvider::Auto(_) => {
            let public = !edges.is_empty() && edges.iter().all(|edge| file.vips.contains(edge));
            if public {
                CdnProvider::None
            } else {
                CdnProvider::Auto(learnt.cdn_provider.clone())
            }
        }
        declared @ (CdnProvider::None | CdnProvider::Named(_)) => declared.clone(),
    }
}

fn dns_targets<'a>(
    topology: &'a Topology,
    vantage: &'a VantagePoint,
) -> impl Iterator<Item = Target> + 'a {
    let resolvers = vantage.resolvers.iter().chain(&topology.resolvers);
    let resolvers = resolvers.map(|server| Target::Resolver { server: *server });
    let name_servers = topology.name_servers.iter();
    resolvers.chain(name_servers.map(|found| Target::NameServer {
        name: found.name.clone(),
        server: found.server,
    }))
}

/// The public addresses that are not the balancer's own.
fn edge_targets<'a>(
    topology: &'a Topology,
    vantage: &'a VantagePoint,
) -> impl Iterator<Item = Target> + 'a {
    let edges: &[SocketAddr] = match vantage.host {
        None => &topology.edges,
        Some(_) => &[],
    };
    let edges = edges.iter().filter(|edge| !topology.vips.contains(edge));
    let edges = edges.filter(|edge| vantage.has_way_to(edge.ip()));
    edges.map(|address| Target::Edge { address: *address })
}

fn vip_targets<'a>(
    topology: &'a Topology,
    vantage: &'a VantagePoint,
) -> impl Iterator<Item = Target> + 'a {
    let near = vantage.host.is_some() || vantage.role != Role::Outside;
    let vips = topology.vips.iter();
    let vips = vips.filter(move |vip| near || topology.edges.contains(vip));
    let vips = vips.filter(|vip| vantage.has_way_to(vip.ip()));
    vips.map(|address| Target::Vip { address: *address })
}

fn backend_arms<'a>(
    topology: &'a Topology,
    vantage: &'a VantagePoint,
) -> impl Iterator<Item = Arm> + 'a {
    let inside = vantage.host.is_some() || vantage.role == Role::Inside;
    let backends: &[Backend] = if inside { &topology.backends } else { &[] };
    backends.iter().flat_map(|backend| {
        sources(topology, vantage, backend.address.ip())
            .into_iter()
            .map(|source| Arm {
                source,
                ..Arm::to(Target::Backend {
                    name: backend.name.clone(),
                    address: backend.address,
                })
            })
    })
}

/// The source addresses to probe an address from: each of the host's own of that family where it has
/// several, since the way back may differ by source; else the kernel's choice. A VIP that a backend has
/// as well, to answer past the balancer, is none: answers to it go to the balancer.
fn sources(topology: &Topology, vantage: &VantagePoint, to: IpAddr) -> Vec<Option<IpAddr>> {
    let balances = vantage.host.as_deref() == Some(BALANCER_HOST);
    let comes_back = |own: &IpAddr| balances || topology.vips.iter().all(|vip| vip.ip() != *own);
    let usable = vantage
        .addresses
        .iter()
        .filter(|own| own.is_ipv4() == to.is_ipv4() && !is_link_local(**own) && comes_back(own));
    let own: BTreeSet<IpAddr> = usable.copied().collect();
    if own.len() < 2 {
        return vec![None];
    }
    own.into_iter().take(MAX_SOURCES).map(Some).collect()
}

/// Link-local addresses reach no further than their link, and IPv6 ones need its name besides.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn backend_request(backend: &Backend) -> v1::service_spec::BackendRequest {
    v1::service_spec::BackendRequest {
        name: backend.name.clone(),
        scheme: scheme_word(backend.scheme).to_owned(),
        path: backend.path.clone(),
    }
}

const fn scheme_word(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
        Scheme::Tcp => "tcp",
    }
}

/// Service files bound every limit to a minute.
fn millis(limit: Duration) -> u32 {
    u32::try_from(limit.as_millis()).unwrap_or(u32::MAX)
}
