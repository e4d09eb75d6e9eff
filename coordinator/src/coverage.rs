//! What a round looks at: which components its probes cross, and which cannot be told apart.
//!
//! A rough picture for people, made from the path as it is known: a probe whose way is chosen by
//! somebody else (the balancer, a resolver) counts in equal shares for each way. The heart, which
//! knows layers and witnesses, may tell apart more.

mod price;
mod sight;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use localize::topology::BALANCER_HOST;
use localize::verdict::NotProbed;
use localize::{
    Arm, CdnProvider, Component, Kind, Role, Target, Topology, VantageName, VantagePoint,
};

use crate::engine::Outlook;
use crate::plan::{self, Twins};

pub use price::{Price, prices, trace_syns};

/// A component and the probes of a round that cross it.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The component.
    pub component: Component,
    /// Probes a round that cross it; a probe whose way others choose counts in shares.
    pub probes_per_round: f64,
    /// The components that the very same probes cross.
    pub same_as: Vec<Component>,
    /// Which agent would tell it from those, or would reach it at all; empty when nothing is missing.
    pub ask: String,
    /// The lowest rate of a fault that scheduled rounds show within an hour with a probability of 0.95.
    pub hour: Option<f64>,
    /// The same within a day.
    pub day: Option<f64>,
    /// Arms that would cross it and of which nothing is known: they count in none of the numbers.
    pub not_probed: Vec<NotProbed>,
}

/// The probes that cross a component, with the share that each counts for.
type Probes = BTreeMap<(VantageName, Arm), f64>;

/// The coverage of a service's path by the vantage points in it, and what its schedule would show, without
/// the arms of which nothing is known.
#[must_use]
pub fn coverage(outlook: &Outlook, not_probed: &[NotProbed]) -> Vec<Part> {
    let topology = &outlook.topology;
    // What is asked in few rounds alone sees no more than the others do, but for what it is for.
    let twins = outlook.twins.clone().in_every_round();
    let planned = columns(topology, &twins);
    let columns = without(planned.clone(), not_probed);
    let sight = sight::Sight::new(outlook);
    let helpers = helpers(topology);
    let helped: Vec<(&Helper, BTreeMap<Component, Probes>)> = helpers
        .iter()
        .map(|h| {
            let columns = self::columns(&h.with(topology), &twins);
            (h, without(columns, not_probed))
        })
        .collect();
    let parts = columns.iter().map(|(component, probes)| {
        let same_as = same_as(component, &columns);
        let seen = |within_us| sight.as_ref()?.rate_seen(probes, within_us);
        Part {
            ask: ask(component, probes, &same_as, &helped),
            component: component.clone(),
            probes_per_round: probes.values().sum(),
            same_as,
            hour: seen(sight::HOUR_US),
            day: seen(sight::DAY_US),
            not_probed: crossing(&planned, component, not_probed),
        }
    });
    parts.collect()
}

/// Whether an arm is one of which nothing is known.
fn is(left_out: &NotProbed, (vantage, arm): &(VantageName, Arm)) -> bool {
    left_out.vantage == vantage.0 && left_out.arm == arm.label()
}

fn without(
    mut columns: BTreeMap<Component, Probes>,
    not_probed: &[NotProbed],
) -> BTreeMap<Component, Probes> {
    if !not_probed.is_empty() {
        for probes in columns.values_mut() {
            probes.retain(|probe, _| !not_probed.iter().any(|n| is(n, probe)));
        }
    }
    columns
}

/// Those of the arms that would cross a component.
fn crossing(
    planned: &BTreeMap<Component, Probes>,
    component: &Component,
    not_probed: &[NotProbed],
) -> Vec<NotProbed> {
    let probes = planned.get(component);
    let crosses = |n: &&NotProbed| probes.is_some_and(|probes| probes.keys().any(|p| is(n, p)));
    not_probed.iter().filter(crosses).cloned().collect()
}

/// The components of a path, each with the probes that cross it.
fn columns(topology: &Topology, twins: &Twins) -> BTreeMap<Component, Probes> {
    let mut columns: BTreeMap<Component, Probes> = expected(topology)
        .into_iter()
        .map(|component| (component, Probes::new()))
        .collect();
    for vantage in &topology.vantages {
        for arm in plan::arms(topology, vantage, twins) {
            for (component, share) in crossings(topology, vantage, &arm) {
                let probe = (vantage.name.clone(), arm.clone());
                let column = columns.entry(component).or_default();
                *column.entry(probe).or_default() += share;
            }
        }
    }
    columns
}

/// The components that the very same probes cross.
fn same_as(component: &Component, columns: &BTreeMap<Component, Probes>) -> Vec<Component> {
    let Some(probes) = columns.get(component).filter(|probes| !probes.is_empty()) else {
        return Vec::new();
    };
    let same = columns.iter().filter(|(other, theirs)| {
        *other != component && theirs.len() == probes.len() && theirs.keys().eq(probes.keys())
    });
    same.map(|(other, _)| other.clone()).collect()
}

/// The components of the declared path, crossed or not.
fn expected(topology: &Topology) -> Vec<Component> {
    let mut expected = Vec::new();
    for server in &topology.name_servers {
        expected.push(component(Kind::AuthoritativeDns, &server.name));
    }
    for vip in &topology.vips {
        expected.push(component(Kind::LoadBalancer, &vip.to_string()));
    }
    for backend in &topology.backends {
        expected.push(component(Kind::Backend, &backend.name));
        for vip in &topology.vips {
            let name = format!("{vip}->{}", backend.name);
            expected.push(component(Kind::LbBackendPath, &name));
        }
    }
    expected
}

/// The components that a probe crosses, with the share of it that does.
fn crossings(topology: &Topology, vantage: &VantagePoint, arm: &Arm) -> Vec<(Component, f64)> {
    let mut crossed = Vec::new();
    let access = component(Kind::ClientNetwork, &vantage.name.0);
    let host = vantage.host.as_deref();
    match &arm.target {
        Target::Resolver { server } => {
            crossed.push((access, 1.0));
            crossed.push((component(Kind::Resolver, &server.ip().to_string()), 1.0));
            let share = share(topology.name_servers.len());
            for server in &topology.name_servers {
                crossed.push((component(Kind::AuthoritativeDns, &server.name), share));
            }
        }
        Target::NameServer { name, .. } => {
            crossed.push((access, 1.0));
            crossed.push((component(Kind::AuthoritativeDns, name), 1.0));
        }
        Target::Edge { address } => {
            crossed.push((access, 1.0));
            crossed.push((component(Kind::Cdn, &address.ip().to_string()), 1.0));
            if topology.edges.len() > 1 {
                crossed.push((component(Kind::Cdn, provider(&topology.cdn)), 1.0));
            }
            let share = share(topology.vips.len());
            for vip in topology.vips.iter().map(ToString::to_string) {
                let origin = format!("{}->{vip}", address.ip());
                crossed.push((component(Kind::CdnOriginPath, &origin), share));
                if topology.edges.len() > 1 {
                    crossed.push((component(Kind::CdnOriginPath, &format!("*->{vip}")), share));
                }
                crossed.extend(behind_balancer(topology, &vip, share));
            }
        }
        Target::Vip { address } => {
            if host != Some(BALANCER_HOST) {
                crossed.push((access, 1.0));
            }
            crossed.extend(behind_balancer(topology, &address.to_string(), 1.0));
        }
        Target::Backend { name, .. } => {
            crossed.push((component(Kind::Backend, name), 1.0));
            if host == Some(BALANCER_HOST) {
                for vip in &topology.vips {
                    let path = component(Kind::LbBackendPath, &format!("{vip}->{name}"));
                    crossed.push((path, 1.0));
                }
            } else if host != Some(name) {
                crossed.push((access, 1.0));
            }
            let destination = arm.source.or_else(|| vantage.addresses.first().copied());
            if let Some(destination) = destination.filter(|_| host != Some(name)) {
                let way_back = component(Kind::ReturnPath, &format!("{name}->{destination}"));
                crossed.push((way_back, 1.0));
            }
        }
    }
    crossed
}

fn behind_balancer(topology: &Topology, vip: &str, whole: f64) -> Vec<(Component, f64)> {
    let mut crossed = vec![(component(Kind::LoadBalancer, vip), whole)];
    let share = whole * share(topology.backends.len());
    for backend in &topology.backends {
        let path = component(Kind::LbBackendPath, &format!("{vip}->{}", backend.name));
        crossed.push((path, share));
        crossed.push((component(Kind::Backend, &backend.name), share));
    }
    crossed
}

/// An agent that there might be.
struct Helper {
    vantage: VantagePoint,
    /// How to get it.
    words: String,
}

impl Helper {
    fn with(&self, topology: &Topology) -> Topology {
        let mut topology = topology.clone();
        topology.vantages.push(self.vantage.clone());
        topology
    }
}

/// The agents worth a thought, the easiest to install first.
fn helpers(topology: &Topology) -> Vec<Helper> {
    let helper = |role: Role, host: Option<&str>, address: IpAddr| {
        let word = match role {
            Role::Outside => "outside",
            Role::BehindCdn => "behind-cdn",
            Role::Inside => "inside",
        };
        let words = match host {
            None => {
                format!("an agent of role {word} (`meshctl agent token --name NAME --role {word}`)")
            }
            Some(host) => format!(
                "an agent on {host} (`meshctl agent token --name {host} --role {word} --host {host}`)"
            ),
        };
        let vantage = VantagePoint {
            // No agent can have this name.
            name: VantageName(String::new()),
            role,
            host: host.map(ToOwned::to_owned),
            addresses: vec![address],
            witness: host.is_some(),
            resolvers: vec![SocketAddr::new(ELSEWHERE, 53)],
        };
        Helper { vantage, words }
    };
    let mut helpers: Vec<Helper> = [Role::Outside, Role::BehindCdn, Role::Inside]
        .map(|role| helper(role, None, ELSEWHERE))
        .into();
    helpers.push(helper(Role::Inside, Some(BALANCER_HOST), ELSEWHERE));
    for backend in &topology.backends {
        helpers.push(helper(
            Role::Inside,
            Some(&backend.name),
            backend.address.ip(),
        ));
    }
    helpers
}

/// Where nobody is (RFC 5737).
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254));

/// Which agent would tell the component from most of those that it is not told from, or would reach
/// it at all; in words.
fn ask(
    component: &Component,
    probes: &Probes,
    same_as: &[Component],
    helped: &[(&Helper, BTreeMap<Component, Probes>)],
) -> String {
    if !probes.is_empty() && same_as.is_empty() {
        return String::new();
    }
    let left = |columns: &BTreeMap<Component, Probes>| {
        let reached = columns
            .get(component)
            .is_some_and(|probes| !probes.is_empty());
        let known = |other: &Component| same_as.contains(other) || same_as.is_empty();
        let same = self::same_as(component, columns);
        reached.then(|| same.iter().filter(|other| known(other)).count())
    };
    let splits = |left: &usize| probes.is_empty() || *left < same_as.len();
    let best = helped
        .iter()
        .filter_map(|(helper, columns)| Some((left(columns).filter(splits)?, helper)))
        .min_by_key(|(left, _)| *left);
    match best {
        Some((_, helper)) => helper.words.clone(),
        None => beyond_agents(component),
    }
}

/// What would tell where the probes of no further agent would.
fn beyond_agents(component: &Component) -> String {
    let name = &component.name;
    match component.kind {
        Kind::ClientNetwork => "a second agent of role outside, in another network".to_owned(),
        Kind::Resolver | Kind::AuthoritativeDns => {
            "an agent of role outside that uses another resolver".to_owned()
        }
        Kind::Cdn | Kind::CdnOriginPath => {
            "an agent of role behind-cdn, which reaches the VIP as the CDN does".to_owned()
        }
        Kind::Origin => {
            "`[load_balancer]` and `[[backend]]` in the service file, and an agent that reaches them"
                .to_owned()
        }
        Kind::LoadBalancer => {
            "an agent of role inside, which reaches the VIP and every backend".to_owned()
        }
        Kind::LbBackendPath => {
            "an agent on the balancer (`--host lb`), which reaches the backends as it does"
                .to_owned()
        }
        Kind::Backend => format!("an agent on {name} (`--host {name}`), or one of role inside"),
        Kind::ReturnPath => {
            let backend = name
                .split_once("->")
                .map_or(name.as_str(), |(backend, _)| backend);
            format!("an agent on {backend} (`--host {backend}`), which sees answers leave")
        }
    }
}

fn component(kind: Kind, name: &str) -> Component {
    Component {
        kind,
        name: name.to_owned(),
    }
}

fn provider(cdn: &CdnProvider) -> &str {
    match cdn {
        CdnProvider::Named(name) | CdnProvider::Auto(Some(name)) => name,
        CdnProvider::Auto(None) | CdnProvider::None => "cdn",
    }
}

fn share(ways: usize) -> f64 {
    1.0 / f64::from(u32::try_from(ways.max(1)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
