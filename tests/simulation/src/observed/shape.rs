//! Delivery paths of random shape.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use localize::topology::BALANCER_HOST;
use localize::{NameServer, Role, Scheme, VantageName, VantagePoint};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::proxies::{BALANCERS, EDGES};
use super::site::{Backend, Balancing, Check, Declared, Site, Vantage};

/// Address families of the public part and of the data centre.
#[derive(Clone, Copy)]
struct Families {
    public_v6: bool,
    inside_v6: bool,
}

/// Address `host` of network `net`.
fn address(v6: bool, net: Net, host: u8) -> IpAddr {
    let (v4, segment) = match net {
        Net::Homes => ([192, 0, 2], 0x10),
        Net::Edges => ([198, 51, 100], 0x20),
        Net::Vips => ([203, 0, 113], 0x30),
        Net::Inside(n) => ([10, 0, n], 0x100 + u16::from(n)),
    };
    if v6 {
        IpAddr::V6(Ipv6Addr::new(
            0x2001,
            0xdb8,
            segment,
            0,
            0,
            0,
            0,
            u16::from(host),
        ))
    } else {
        IpAddr::V4(Ipv4Addr::new(v4[0], v4[1], v4[2], host))
    }
}

#[derive(Clone, Copy)]
enum Net {
    Homes,
    Edges,
    Vips,
    Inside(u8),
}

impl Site {
    /// Draws a site.
    #[must_use]
    pub fn draw(rng: &mut StdRng) -> Self {
        let families = Families {
            public_v6: rng.random_bool(0.15),
            inside_v6: rng.random_bool(0.15),
        };
        let declared = *[
            Declared::Name,
            Declared::Vips,
            Declared::Backends,
            Declared::Backends,
            Declared::Hosts,
            Declared::Hosts,
        ]
        .choose(rng)
        .unwrap_or(&Declared::Hosts);
        let scheme = if rng.random_bool(0.85) {
            Scheme::Https
        } else {
            Scheme::Http
        };
        let count = backend_count(rng, declared);
        let balancing = balancing(rng, count);
        let port = if scheme == Scheme::Https { 443 } else { 80 };
        let cdn = rng.random_bool(0.8);
        let edges: u8 = if cdn { rng.random_range(1..=4) } else { 0 };
        let edge = EDGES.choose(rng).unwrap_or(&EDGES[0]);
        let vips: u8 = *[1, 1, 1, 2, 3].choose(rng).unwrap_or(&1);
        let public = |net, host| SocketAddr::new(address(families.public_v6, net, host), port);
        let mut site = Self {
            service: "shop.example".to_owned(),
            scheme,
            balancing,
            mode_declared: rng.random_bool(0.5),
            declared,
            vantages: Vec::new(),
            resolvers: Vec::new(),
            name_servers: Vec::new(),
            edges: (0..edges).map(|i| public(Net::Edges, 11 + i)).collect(),
            edge,
            provider_known: edge.provider.is_some() && (rng.random_bool(0.8) || edge.own_statuses),
            cached_s: if rng.random_bool(0.15) {
                rng.random_range(5..60)
            } else {
                0
            },
            vips: (0..vips).map(|i| public(Net::Vips, 10 + i)).collect(),
            balancer: BALANCERS.choose(rng).unwrap_or(&BALANCERS[0]),
            check: check(rng),
            balancer_addresses: balancer_addresses(rng, families),
            backends: backends(rng, count, balancing, scheme, families),
            tells: rng.random_bool(0.7),
            page_bytes: *[600, 4_096, 4_096, 40_000].choose(rng).unwrap_or(&4_096),
            varies: rng.random_bool(0.1),
            every_s: [Some(5), Some(5), Some(10), None]
                .choose(rng)
                .copied()
                .flatten(),
            learnt: rng.random_bool(0.75),
            former: public(Net::Edges, 99),
        };
        site.learnt &= site.every_s.is_some();
        site.draw_dns(rng, families);
        site.draw_vantages(rng, families);
        site
    }

    fn draw_dns(&mut self, rng: &mut StdRng, families: Families) {
        let v6 = families.public_v6;
        let resolvers: u8 = rng.random_range(1..=3);
        self.resolvers = (0..resolvers)
            .map(|i| SocketAddr::new(address(v6, Net::Homes, 50 + i), 53))
            .collect();
        let servers: u8 = rng.random_range(1..=2);
        self.name_servers = (0..servers)
            .map(|i| NameServer {
                name: format!("ns{}.{}", i + 1, self.service),
                server: SocketAddr::new(address(v6, Net::Homes, 80 + i), 53),
            })
            .collect();
    }

    fn draw_vantages(&mut self, rng: &mut StdRng, families: Families) {
        let outside = rng.random_range(1..=3);
        for i in 0..outside {
            let own = address(families.public_v6, Net::Homes, 101 + i);
            self.add_vantage(
                rng,
                &format!("home{}", i + 1),
                Role::Outside,
                None,
                vec![own],
            );
        }
        if self.has_cdn() && rng.random_bool(0.5) {
            let own = address(families.public_v6, Net::Edges, 50);
            self.add_vantage(rng, "cdn1", Role::BehindCdn, None, vec![own]);
        }
        let inside = match self.declared {
            Declared::Name => u8::from(rng.random_bool(0.3)),
            Declared::Vips | Declared::Backends | Declared::Hosts => rng.random_range(0..=2),
        };
        for i in 0..inside {
            let mut own = vec![address(families.inside_v6, Net::Inside(5), 5 + i)];
            if rng.random_bool(0.2) {
                own.push(address(families.inside_v6, Net::Inside(6), 5 + i));
            }
            self.add_vantage(rng, &format!("dc{}", i + 1), Role::Inside, None, own);
        }
        if self.declared != Declared::Hosts {
            return;
        }
        let room = 8_usize.saturating_sub(self.vantages.len());
        let mut hosts: Vec<Option<usize>> = (0..self.backends.len()).map(Some).collect();
        hosts.shuffle(rng);
        hosts.insert(0, None);
        for host in hosts.into_iter().take(rng.random_range(1..=room)) {
            let (name, own) = match host {
                None => (BALANCER_HOST.to_owned(), self.balancer_addresses.clone()),
                Some(b) => {
                    let declared = &self.backends[b].declared;
                    (declared.name.clone(), vec![declared.address.ip()])
                }
            };
            self.add_vantage(rng, &name, Role::Inside, Some(name.clone()), own);
        }
    }

    fn add_vantage(
        &mut self,
        rng: &mut StdRng,
        name: &str,
        role: Role,
        host: Option<String>,
        addresses: Vec<IpAddr>,
    ) {
        let near = role == Role::Inside;
        let resolver = if near {
            self.resolvers.len() - 1
        } else {
            rng.random_range(0..self.resolvers.len())
        };
        let far = rng.random_range(4.0..40.0);
        self.vantages.push(Vantage {
            point: VantagePoint {
                name: VantageName(name.to_owned()),
                role,
                witness: host.is_some() && rng.random_bool(0.85),
                host,
                addresses,
                resolvers: vec![self.resolvers[resolver]],
            },
            resolvers: vec![resolver],
            to_edges_ms: far,
            to_site_ms: if near {
                rng.random_range(0.2..1.5)
            } else {
                far
            },
        });
    }
}

/// No backends, few, or a dozen; some where they are to be declared.
fn backend_count(rng: &mut StdRng, declared: Declared) -> u8 {
    let few = rng.random_range(1..=6);
    match rng.random::<f64>() {
        x if x < 0.1 && declared < Declared::Backends => 0,
        x if x < 0.85 => few,
        _ => rng.random_range(7..=12),
    }
}

fn balancing(rng: &mut StdRng, backends: u8) -> Balancing {
    match rng.random::<f64>() {
        _ if backends == 0 => Balancing::Proxied,
        x if x < 0.65 => Balancing::Proxied,
        x if x < 0.78 => Balancing::Forwarded,
        x if x < 0.9 => Balancing::Translated,
        _ => Balancing::Direct,
    }
}

fn check(rng: &mut StdRng) -> Check {
    let every_s = *[2, 2, 5].choose(rng).unwrap_or(&2);
    match rng.random::<f64>() {
        x if x < 0.3 => Check::Never,
        x if x < 0.55 => Check::Connects { every_s },
        _ => Check::Requests { every_s },
    }
}

fn balancer_addresses(rng: &mut StdRng, families: Families) -> Vec<IpAddr> {
    let mut all = vec![address(families.inside_v6, Net::Inside(0), 10)];
    if rng.random_bool(0.25) {
        all.push(address(families.inside_v6, Net::Inside(9), 10));
    }
    all
}

fn backends(
    rng: &mut StdRng,
    count: u8,
    balancing: Balancing,
    service: Scheme,
    families: Families,
) -> Vec<Backend> {
    let apart = rng.random_bool(0.5);
    let encrypted = match balancing {
        Balancing::Proxied => rng.random_bool(0.25),
        Balancing::Forwarded | Balancing::Translated | Balancing::Direct => {
            service == Scheme::Https
        }
    };
    let (scheme, port) = if encrypted {
        (Scheme::Https, 443)
    } else {
        (Scheme::Http, 80)
    };
    let work = rng.random_range(2.0..60.0);
    let one = |i: u8, rng: &mut StdRng| {
        let ip = if apart {
            address(families.inside_v6, Net::Inside(10 + i), 2)
        } else {
            address(families.inside_v6, Net::Inside(10), 11 + i)
        };
        Backend {
            declared: localize::Backend {
                name: format!("web{}", i + 1),
                address: SocketAddr::new(ip, port),
                scheme,
                path: "/".to_owned(),
            },
            work_ms: work * rng.random_range(0.8..1.3),
        }
    };
    (0..count).map(|i| one(i, rng)).collect()
}
