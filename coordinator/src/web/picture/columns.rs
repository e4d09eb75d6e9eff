//! Who stands in which column of the picture, by the path and by what is known of it.

use std::net::SocketAddr;

use localize::{CdnProvider, Kind, Topology};

use super::super::known::{Knowledge, Known, Mark};

/// Between an edge and a virtual address: by what is known of it, else of all edges together.
pub(super) fn between(known: &Knowledge, edge: &Known, vip: &Known) -> Known {
    let vip = &vip.component.name;
    let own = known.of(
        Kind::CdnOriginPath,
        &format!("{}->{vip}", edge.component.name),
    );
    match own.mark {
        Mark::NotKnown => known.of(Kind::CdnOriginPath, &format!("*->{vip}")),
        Mark::Blamed | Mark::Candidate | Mark::NotProbed | Mark::Cleared => own,
    }
}

pub(super) fn vantages(topology: &Topology, known: &Knowledge) -> Vec<Known> {
    let names = topology
        .vantages
        .iter()
        .map(|vantage| vantage.name.0.as_str());
    names
        .map(|name| known.of(Kind::ClientNetwork, name))
        .collect()
}

/// Those of the service file, and those that vantage points use.
pub(super) fn resolvers(topology: &Topology, known: &Knowledge) -> Vec<Known> {
    let own = topology
        .vantages
        .iter()
        .flat_map(|vantage| &vantage.resolvers);
    let all = topology.resolvers.iter().chain(own);
    distinct(all.map(|resolver| known.of(Kind::Resolver, &resolver.ip().to_string())))
}

pub(super) fn name_servers(topology: &Topology, known: &Knowledge) -> Vec<Known> {
    let mut servers = known.of_kinds(&[Kind::AuthoritativeDns]);
    let named = topology.name_servers.iter().map(|server| &server.name);
    servers.extend(named.map(|name| known.of(Kind::AuthoritativeDns, name)));
    distinct(servers.into_iter())
}

pub(super) fn public(topology: &Topology) -> &'static str {
    match topology.cdn {
        CdnProvider::None => "Public addresses",
        CdnProvider::Auto(None) => "Edges",
        CdnProvider::Auto(Some(_)) | CdnProvider::Named(_) => "CDN",
    }
}

/// The provider, where something is known of it, and its edges; the public addresses where there is no CDN.
pub(super) fn edges(topology: &Topology, known: &Knowledge) -> Vec<Known> {
    let ips: Vec<String> = topology
        .edges
        .iter()
        .map(|edge| edge.ip().to_string())
        .collect();
    let others = known.of_kinds(&[Kind::Cdn]).into_iter();
    let provider = others.filter(|part| !ips.contains(&part.component.name));
    let edges = ips.iter().map(|ip| known.of(Kind::Cdn, ip));
    distinct(provider.chain(edges))
}

pub(super) fn balancers(topology: &Topology, known: &Knowledge) -> Vec<Known> {
    let vips = topology.vips.iter().map(SocketAddr::to_string);
    vips.map(|vip| known.of(Kind::LoadBalancer, &vip)).collect()
}

pub(super) fn behind(topology: &Topology) -> &'static str {
    match topology.backends.is_empty() {
        true => "Origin",
        false => "Backends",
    }
}

/// The backends, and the origin where a verdict speaks of it or nothing is declared behind the edges.
pub(super) fn backends(topology: &Topology, known: &Knowledge) -> Vec<Known> {
    let backends = topology.backends.iter().map(|backend| &backend.name);
    let mut parts: Vec<Known> = backends.map(|name| known.of(Kind::Backend, name)).collect();
    let origins = known.of_kinds(&[Kind::Origin]);
    if topology.vips.is_empty() && parts.is_empty() && origins.is_empty() {
        parts.push(known.of(Kind::Origin, &topology.service.0));
    }
    parts.extend(origins);
    parts
}

fn distinct(parts: impl Iterator<Item = Known>) -> Vec<Known> {
    let mut distinct: Vec<Known> = Vec::new();
    for part in parts {
        if !distinct
            .iter()
            .any(|known| known.component == part.component)
        {
            distinct.push(part);
        }
    }
    distinct
}
