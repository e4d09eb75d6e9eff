//! What a round looks at: which components its probes cross, and which cannot be told apart.
//!
//! A rough picture for people, made from the path as it is known: a probe whose way is chosen by
//! somebody else (the balancer, a resolver) counts in equal shares for each way. The heart, which
//! knows layers and witnesses, may tell apart more.

use std::collections::{BTreeMap, BTreeSet};

use localize::topology::BALANCER_HOST;
use localize::{Arm, CdnProvider, Component, Kind, Target, Topology, VantageName, VantagePoint};

use crate::plan;

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
}

/// The probes that cross a component, with the share that each counts for.
type Probes = BTreeMap<(VantageName, Arm), f64>;

/// The coverage of a path by the vantage points in it.
#[must_use]
pub fn coverage(topology: &Topology) -> Vec<Part> {
    let mut crossed: BTreeMap<Component, Probes> = expected(topology)
        .into_iter()
        .map(|component| (component, Probes::new()))
        .collect();
    for vantage in &topology.vantages {
        for arm in plan::arms(topology, vantage) {
            for (component, share) in crossings(topology, vantage, &arm) {
                let probe = (vantage.name.clone(), arm.clone());
                *crossed
                    .entry(component)
                    .or_default()
                    .entry(probe)
                    .or_default() += share;
            }
        }
    }
    let mut groups: BTreeMap<BTreeSet<&(VantageName, Arm)>, Vec<&Component>> = BTreeMap::new();
    for (component, probes) in &crossed {
        groups
            .entry(probes.keys().collect())
            .or_default()
            .push(component);
    }
    let parts = crossed.iter().map(|(component, probes)| {
        let keys: BTreeSet<_> = probes.keys().collect();
        let group = groups.get(&keys).map(Vec::as_slice).unwrap_or_default();
        let others = group.iter().filter(|other| **other != component);
        let same_as: Vec<Component> = match probes.is_empty() {
            true => Vec::new(),
            false => others.map(|other| (*other).clone()).collect(),
        };
        Part {
            ask: ask(component, probes.is_empty(), &same_as),
            component: component.clone(),
            probes_per_round: probes.values().sum(),
            same_as,
        }
    });
    parts.collect()
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

/// Which agent is missing, in words.
fn ask(component: &Component, unseen: bool, same_as: &[Component]) -> String {
    if !unseen && same_as.is_empty() {
        return String::new();
    }
    let name = &component.name;
    match component.kind {
        Kind::ClientNetwork => "a second agent of role outside, in another network".to_owned(),
        Kind::Resolver | Kind::AuthoritativeDns => {
            "an agent of role outside that uses another resolver".to_owned()
        }
        Kind::Cdn | Kind::CdnOriginPath => {
            "an agent of role behind-cdn, which reaches the VIP as the CDN does".to_owned()
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
mod tests {
    use localize::{Backend, Role, Scheme, ServiceName, VipMode};

    use super::*;

    fn vantage(name: &str, role: Role, host: Option<&str>, address: &str) -> VantagePoint {
        VantagePoint {
            name: VantageName(name.into()),
            role,
            host: host.map(ToOwned::to_owned),
            addresses: vec![address.parse().unwrap()],
            witness: false,
            resolvers: Vec::new(),
        }
    }

    fn topology(vantages: Vec<VantagePoint>) -> Topology {
        let backend = |name: &str, address: &str| Backend {
            name: name.into(),
            address: address.parse().unwrap(),
            scheme: Scheme::Http,
            path: "/".into(),
        };
        Topology {
            service: ServiceName("shop".into()),
            scheme: Scheme::Http,
            vantages,
            resolvers: Vec::new(),
            name_servers: Vec::new(),
            edges: vec!["203.0.113.10:80".parse().unwrap()],
            cdn: CdnProvider::None,
            vips: vec!["203.0.113.10:80".parse().unwrap()],
            vip_mode: VipMode::L7,
            backends: vec![
                backend("web1", "10.0.0.51:80"),
                backend("web2", "10.0.0.52:80"),
            ],
        }
    }

    fn part(parts: &[Part], kind: Kind, name: &str) -> Part {
        let found = parts.iter().find(|p| p.component == component(kind, name));
        found.unwrap_or_else(|| panic!("{name}")).clone()
    }

    #[test]
    fn from_outside_alone_the_origin_is_one_group() {
        let home = vantage("home1", Role::Outside, None, "198.51.100.7");
        let parts = coverage(&topology(vec![home]));
        let balancer = part(&parts, Kind::LoadBalancer, "203.0.113.10:80");
        assert!((balancer.probes_per_round - 1.0).abs() < 1e-9);
        assert!(balancer.same_as.contains(&component(Kind::Backend, "web1")));
        assert!(balancer.ask.contains("role inside"), "{}", balancer.ask);
        let backend = part(&parts, Kind::Backend, "web1");
        assert!((backend.probes_per_round - 0.5).abs() < 1e-9);
    }

    #[test]
    fn an_inside_agent_splits_the_group() {
        let home = vantage("home1", Role::Outside, None, "198.51.100.7");
        let inside = vantage("dc1", Role::Inside, None, "10.0.0.9");
        let parts = coverage(&topology(vec![home, inside]));
        let backend = part(&parts, Kind::Backend, "web1");
        assert!(!backend.same_as.contains(&component(Kind::Backend, "web2")));
        assert!(
            !backend
                .same_as
                .contains(&component(Kind::LoadBalancer, "203.0.113.10:80"))
        );
        assert!((backend.probes_per_round - 2.0).abs() < 1e-9, "{backend:?}");
    }

    #[test]
    fn what_nobody_crosses_is_listed_with_what_is_missing() {
        let parts = coverage(&topology(Vec::new()));
        let backend = part(&parts, Kind::Backend, "web2");
        assert_eq!((backend.probes_per_round, backend.same_as.len()), (0.0, 0));
        assert!(backend.ask.contains("--host web2"), "{}", backend.ask);
    }
}
