//! What a verdict may call a fault: by kind and name, as what is declared and who looks allow.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::localisation::Asked;
use super::site::{Balancing, Declared, Extent, Place, Site};

/// Kind and name of a part, as verdicts print them.
pub type Name = (String, String);

/// What may be said of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Any of these is right.
    pub right: BTreeSet<Name>,
    /// These are not, and not false either: each is a part of what is at fault.
    pub part: BTreeSet<Name>,
    /// The part is not declared: to list it among candidates, with a question, is no mistake.
    pub undeclared: bool,
}

impl Names {
    /// Whether something may be said that means both.
    #[must_use]
    pub fn meet(&self, other: &Self) -> bool {
        self.right.iter().any(|(kind, name)| other.mean(kind, name))
    }

    /// Whether a verdict that says this means a part of the fault.
    #[must_use]
    pub fn hold(&self, kind: &str, name: &str) -> bool {
        self.part.iter().any(|(k, n)| k == kind && n == name)
    }

    /// Whether a verdict that says this means the fault.
    #[must_use]
    pub fn mean(&self, kind: &str, name: &str) -> bool {
        let same = |(k, n): &Name| {
            k == kind
                && match n.strip_suffix("->*") {
                    // A VIP that nobody declared has no name.
                    Some(from) => name.split_once("->").is_some_and(|(own, _)| own == from),
                    None => n == name,
                }
        };
        self.right.iter().any(same)
    }
}

/// What the fault at a place may be called.
pub(crate) fn names(asked: &Asked, place: Place) -> Names {
    let site = &asked.site;
    let vips_known = site.declared >= Declared::Vips;
    let backends_known = site.declared >= Declared::Backends;
    let one = |kind: &str, name: String| (kind.to_owned(), name);
    let origin = || one("origin", site.service.clone());
    let vip = |v: usize| {
        if vips_known {
            site.vips[v].to_string()
        } else {
            "*".to_owned()
        }
    };
    let known = |right: Vec<Name>| Names {
        right: right.into_iter().collect(),
        part: BTreeSet::new(),
        undeclared: false,
    };
    let hidden = |more: Vec<Name>| Names {
        right: more.into_iter().chain([origin()]).collect(),
        part: BTreeSet::new(),
        undeclared: true,
    };
    let edge = |e: usize| site.edges[e].ip().to_string();
    match place {
        Place::Access(v) => known(vec![one(
            "client_network",
            site.vantages[v].point.name.to_string(),
        )]),
        Place::Resolver(r) => known(vec![one("resolver", site.resolvers[r].ip().to_string())]),
        Place::NameServer(n) => known(vec![one(
            "authoritative_dns",
            site.name_servers[n].name.clone(),
        )]),
        // Where nothing tells of a CDN, nobody need call its edges one.
        Place::Edge(e) if !site.provider_known => {
            known(vec![one("cdn", edge(e)), one("origin", edge(e))])
        }
        Place::Edge(e) => known(vec![one("cdn", edge(e))]),
        Place::Provider if !site.provider_known && !vips_known => {
            known(vec![one("cdn", provider(site)), origin()])
        }
        Place::Provider => known(vec![one("cdn", provider(site))]),
        Place::OriginPath(..) | Place::OriginPaths => {
            let from = if let Place::OriginPath(e, _) = place {
                edge(e)
            } else {
                "*".to_owned()
            };
            let alone = site.edges.len() == 1;
            let froms = [Some(from), alone.then(|| "*".to_owned())];
            let to = |from: &String| {
                let vips = (0..site.vips.len()).map(vip);
                let paths = vips.map(|to| one("cdn_origin_path", format!("{from}->{to}")));
                paths.collect::<Vec<_>>()
            };
            let mut right: Vec<Name> = froms.iter().flatten().flat_map(to).collect();
            if let Place::OriginPath(e, _) = place
                && !site.provider_known
            {
                // Where nothing tells of a CDN, whatever is behind an address is that address.
                right.push(one("origin", edge(e)));
            }
            if vips_known {
                known(right)
            } else {
                hidden(right)
            }
        }
        Place::Balancer(_) | Place::Machine => {
            let which = if let Place::Balancer(v) = place {
                v..v + 1
            } else {
                0..site.vips.len()
            };
            let vips = which.map(|v| site.vips[v]);
            let right: Vec<Name> = if vips_known {
                vips.map(|vip| one("load_balancer", vip.to_string()))
                    .collect()
            } else {
                vips.map(|vip| one("origin", vip.ip().to_string()))
                    .collect()
            };
            match (vips_known, site.has_cdn()) {
                (true, _) => known(right),
                (false, true) => hidden(Vec::new()),
                // The public addresses are the balancer's own.
                (false, false) => hidden(right),
            }
        }
        _ if !backends_known => hidden(Vec::new()),
        Place::LbPath(b) => {
            let name = &site.backends[b].declared.name;
            let paths = site
                .vips
                .iter()
                .map(|vip| one("lb_backend_path", format!("{vip}->{name}")));
            known(paths.collect())
        }
        Place::Toward(b) => {
            let name = &site.backends[b].declared.name;
            let each = |vip: &std::net::SocketAddr| {
                let path = one("lb_backend_path", format!("{vip}->{name}"));
                [one("load_balancer", vip.to_string()), path]
            };
            known(site.vips.iter().flat_map(each).collect())
        }
        Place::Shared => {
            let each = site.backends.iter();
            let each = each.map(|b| one("backend", b.declared.name.clone()));
            Names {
                part: each.collect(),
                ..known(vec![origin()])
            }
        }
        Place::Backend(b) => known(vec![one("backend", site.backends[b].declared.name.clone())]),
        Place::Return(b, extent) => known(returns(site, b, extent)),
    }
}

/// What verdicts call all edges together.
fn provider(site: &Site) -> String {
    let named = site.edge.provider.filter(|_| site.provider_known);
    named.unwrap_or("cdn").to_owned()
}

/// Every name of a way back that covers the same of those that probes' answers go to.
fn returns(site: &Site, backend: usize, extent: Extent) -> Vec<Name> {
    let from = &site.backends[backend].declared.name;
    let all = destinations(site, backend);
    let covered: BTreeSet<IpAddr> = all
        .iter()
        .copied()
        .filter(|to| covers(site, extent, *to))
        .collect();
    let mut right = Vec::new();
    let mut add = |to: String| right.push(("return_path".to_owned(), format!("{from}->{to}")));
    for to in &covered {
        let same = BTreeSet::from([*to]);
        if same == covered || extent == Extent::ToBalancer {
            add(to.to_string());
        }
        let net: BTreeSet<IpAddr> = all
            .iter()
            .copied()
            .filter(|other| prefix(*other) == prefix(*to))
            .collect();
        if net == covered {
            add(prefix(*to));
        }
        let family: BTreeSet<IpAddr> = all
            .iter()
            .copied()
            .filter(|other| other.is_ipv4() == to.is_ipv4())
            .collect();
        if family == covered {
            add(if to.is_ipv4() { "0.0.0.0/0" } else { "::/0" }.to_owned());
        }
    }
    match extent {
        Extent::One(to) => add(to.to_string()),
        Extent::Everywhere => {
            add("0.0.0.0/0".to_owned());
            add("::/0".to_owned());
        }
        Extent::ToBalancer => site
            .balancer_addresses
            .iter()
            .for_each(|own| add(own.to_string())),
    }
    right
}

fn covers(site: &Site, extent: Extent, to: IpAddr) -> bool {
    match extent {
        Extent::One(one) => one == to,
        Extent::ToBalancer => site.balancer_addresses.contains(&to),
        Extent::Everywhere => true,
    }
}

/// Where a backend's answers to probes go.
fn destinations(site: &Site, backend: usize) -> BTreeSet<IpAddr> {
    let mut all = BTreeSet::new();
    for v in 0..site.vantages.len() {
        let point = &site.vantages[v].point;
        let inside = point.host.is_some() || point.role == localize::Role::Inside;
        if inside && site.on_backend(v) != Some(backend) {
            all.extend(point.addresses.iter().copied());
        }
    }
    match site.balancing {
        Balancing::Proxied | Balancing::Translated => all.extend(&site.balancer_addresses),
        Balancing::Forwarded | Balancing::Direct => {
            all.extend(site.edges.iter().map(std::net::SocketAddr::ip));
            all.extend(
                site.vantages
                    .iter()
                    .flat_map(|v| v.point.addresses.iter().copied()),
            );
        }
    }
    all
}

fn prefix(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let s = v6.segments();
            let net = std::net::Ipv6Addr::new(s[0], s[1], s[2], s[3], 0, 0, 0, 0);
            format!("{net}/64")
        }
    }
}
