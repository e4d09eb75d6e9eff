//! Hosts, links, routes and the data centre's firewall, as data, and the building of them.
//!
//! ```text
//! home1 - gw1 --+                        +-- lb (two links, VIP)
//! home2 - gw2 --+                        +-- dc1
//!   ns1, ns2 ---+-- net ------- dc ------+-- web1 (two links)
//! edge1, edge2 -+  backbone   router,    +-- web2 (two links)
//!      cdn1 ----+            firewall    +-- web3 (two links)
//!     coord ----+
//! ```

mod balancing;
mod ipv6;

use std::fs;

use anyhow::{Context, Result};

pub use self::balancing::{Balancer, EVERY_PORT, few_ports, translation};
use crate::address::{
    BACKENDS, BACKENDS_SECOND, BALANCER, CDN1, COORDINATOR, DC1, EDGES, HOMES, NAME_SERVERS,
    REMOVED_EDGE, RESOLVERS, VIP,
};
use crate::namespace::Run;
use crate::shell;

/// Every host of the topology; each is a namespace.
pub const HOSTS: [&str; 17] = [
    "net", "gw1", "home1", "gw2", "home2", "ns1", "ns2", "edge1", "edge2", "cdn1", "coord", "dc",
    "dc1", "lb", "web1", "web2", "web3",
];

/// Hosts that forward packets.
const ROUTERS: [&str; 4] = ["net", "gw1", "gw2", "dc"];

/// One end of a link.
struct End {
    host: &'static str,
    interface: &'static str,
    address: String,
}

/// A link: a pair of virtual Ethernet interfaces.
struct Link {
    near: End,
    far: End,
}

/// Options of the topology.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// Share of packets that the backbone loses at random, from 0 to 1.
    pub backbone_loss: f64,
    /// How long the backbone delays each packet, in milliseconds.
    pub backbone_delay_ms: u64,
    /// How the balancer works.
    pub balancer: Balancer,
    /// The firewall keeps the agent in the data centre from the VIP.
    pub vip_closed_to_dc1: bool,
    /// A balancer that translates addresses has few ports for its connections.
    pub few_ports: bool,
}

/// Makes the namespaces, the links between them, their routes and the firewall.
pub fn build(run: &Run, options: Options) -> Result<()> {
    for host in HOSTS {
        make_host(run, host).with_context(|| format!("host {host}"))?;
    }
    for link in links() {
        make_link(run, &link)?;
    }
    for (host, route) in routes() {
        shell::ip(&format!("-n {} route add {route}", run.namespace(host)))?;
    }
    ipv6::build(run)?;
    shell::nft(&run.namespace("dc"), &firewall(options))?;
    balancing::build(run, options)?;
    if options.backbone_loss > 0.0 {
        let drop = crate::packets::lose(options.backbone_loss);
        let script = format!(
            "table inet loss {{\n chain forward {{ type filter hook forward priority 10;\n {drop}\n }}\n}}\n"
        );
        shell::nft(&run.namespace("net"), &script)?;
    }
    Ok(())
}

fn make_host(run: &Run, host: &str) -> Result<()> {
    let namespace = run.namespace(host);
    shell::ip(&format!("netns add {namespace}"))?;
    shell::ip(&format!("-n {namespace} link set lo up"))?;
    let forward = u8::from(ROUTERS.contains(&host));
    let without_ipv6 = u8::from(!ipv6::ADDRESSES.iter().any(|(has, ..)| *has == host));
    let settings = [
        format!("net.ipv4.ip_forward={forward}"),
        // Answers may leave by another interface than the question came in by: that is a fault to
        // be found, not one for the kernel to hide.
        "net.ipv4.conf.all.rp_filter=0".to_owned(),
        "net.ipv4.conf.default.rp_filter=0".to_owned(),
        format!("net.ipv6.conf.all.disable_ipv6={without_ipv6}"),
        format!("net.ipv6.conf.default.disable_ipv6={without_ipv6}"),
        format!("net.ipv6.conf.all.forwarding={forward}"),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    set(&namespace, &settings)
}

/// Sets kernel parameters in a namespace.
pub fn set(namespace: &str, settings: &[&str]) -> Result<()> {
    let mut words = vec!["netns", "exec", namespace, "sysctl", "-q", "-w"];
    words.extend(settings);
    shell::run("ip", words)?;
    Ok(())
}

fn end(host: &'static str, interface: &'static str, address: &str, length: u8) -> End {
    End {
        host,
        interface,
        address: format!("{address}/{length}"),
    }
}

fn links() -> Vec<Link> {
    let link = |near, far| Link { near, far };
    let mut links = vec![
        link(
            end("net", "gw1", "198.18.101.1", 30),
            end("gw1", "wan", "198.18.101.2", 30),
        ),
        link(
            end("gw1", "lan", RESOLVERS[0], 24),
            end("home1", "eth0", HOMES[0], 24),
        ),
        link(
            end("net", "gw2", "198.18.102.1", 30),
            end("gw2", "wan", "198.18.102.2", 30),
        ),
        link(
            end("gw2", "lan", RESOLVERS[1], 24),
            end("home2", "eth0", HOMES[1], 24),
        ),
        link(
            end("net", "ns1", "192.0.2.49", 28),
            end("ns1", "eth0", NAME_SERVERS[0], 28),
        ),
        link(
            end("net", "ns2", "192.0.2.65", 28),
            end("ns2", "eth0", NAME_SERVERS[1], 28),
        ),
        link(
            end("net", "edge1", "198.51.100.9", 29),
            end("edge1", "eth0", EDGES[0], 29),
        ),
        link(
            end("net", "edge2", "198.51.100.17", 29),
            end("edge2", "eth0", EDGES[1], 29),
        ),
        link(
            end("net", "cdn1", "198.51.100.33", 29),
            end("cdn1", "eth0", CDN1, 29),
        ),
        link(
            end("net", "coord", "192.0.2.193", 28),
            end("coord", "eth0", COORDINATOR, 28),
        ),
        link(
            end("net", "dc", "192.0.2.129", 30),
            end("dc", "net", "192.0.2.130", 30),
        ),
        link(
            end("dc", "dc1", "10.0.5.1", 24),
            end("dc1", "eth0", DC1, 24),
        ),
        link(
            end("dc", "lba", "10.0.0.1", 24),
            end("lb", "eth0", BALANCER[0], 24),
        ),
        link(
            end("dc", "lbb", "10.0.9.1", 24),
            end("lb", "eth1", BALANCER[1], 24),
        ),
    ];
    let webs = [
        ("web1", "web1a", "web1b", "10.0.1.1", "10.1.1.1"),
        ("web2", "web2a", "web2b", "10.0.2.1", "10.1.2.1"),
        ("web3", "web3a", "web3b", "10.0.3.1", "10.1.3.1"),
    ];
    for (n, (host, first, second, router, router_second)) in webs.into_iter().enumerate() {
        links.push(link(
            end("dc", first, router, 24),
            end(host, "eth0", BACKENDS[n], 24),
        ));
        links.push(link(
            end("dc", second, router_second, 24),
            end(host, "eth1", BACKENDS_SECOND[n], 24),
        ));
    }
    links
}

fn routes() -> Vec<(&'static str, String)> {
    let default = |host: &'static str, via: &str| (host, format!("default via {via}"));
    let mut routes = vec![
        default("home1", RESOLVERS[0]),
        default("home2", RESOLVERS[1]),
        default("gw1", "198.18.101.1"),
        default("gw2", "198.18.102.1"),
        default("ns1", "192.0.2.49"),
        default("ns2", "192.0.2.65"),
        default("edge1", "198.51.100.9"),
        default("edge2", "198.51.100.17"),
        default("cdn1", "198.51.100.33"),
        default("coord", "192.0.2.193"),
        default("dc", "192.0.2.129"),
        default("dc1", "10.0.5.1"),
        default("lb", "10.0.0.1"),
        default("web1", "10.0.1.1"),
        default("web2", "10.0.2.1"),
        default("web3", "10.0.3.1"),
    ];
    routes.push(("net", "198.18.1.0/24 via 198.18.101.2".to_owned()));
    routes.push(("net", "198.18.2.0/24 via 198.18.102.2".to_owned()));
    routes.push(("net", "10.0.0.0/8 via 192.0.2.130".to_owned()));
    routes.push(("net", format!("{VIP}/32 via 192.0.2.130")));
    routes.push(("net", format!("blackhole {REMOVED_EDGE}/32")));
    routes.push(("dc", format!("{VIP}/32 via {}", BALANCER[0])));
    routes
}

fn make_link(run: &Run, link: &Link) -> Result<()> {
    let Link { near, far } = link;
    shell::ip(&format!(
        "link add {} netns {} type veth peer name {} netns {}",
        near.interface,
        run.namespace(near.host),
        far.interface,
        run.namespace(far.host),
    ))?;
    for End {
        host,
        interface,
        address,
    } in [near, far]
    {
        let namespace = run.namespace(host);
        shell::ip(&format!(
            "-n {namespace} addr add {address} dev {interface}"
        ))?;
        shell::ip(&format!("-n {namespace} link set {interface} up"))?;
    }
    Ok(())
}

/// The firewall lets only the CDN reach the VIP from outside, lets answers to the data centre's own
/// questions in, and forwards nothing from a link that does not own the packet's source (RFC 2827).
fn firewall(options: Options) -> String {
    let [edge1, edge2] = EDGES;
    let dc1 = if options.vip_closed_to_dc1 {
        format!("iifname \"dc1\" ip daddr {VIP} drop")
    } else {
        String::new()
    };
    format!(
        r#"table inet firewall {{
  chain ingress {{
    type filter hook prerouting priority 0; policy accept;
    iifname "web1b" ip saddr != 10.1.1.0/24 drop
    iifname "web2b" ip saddr != 10.1.2.0/24 drop
    iifname "web3b" ip saddr != 10.1.3.0/24 drop
  }}
  chain forward {{
    type filter hook forward priority 0; policy accept;
    {dc1}
    iifname "net" ip saddr {{ {edge1}, {edge2}, {CDN1} }} ip daddr {VIP} tcp dport 443 accept
    iifname "net" ct state established,related accept
    iifname "net" drop
  }}
}}
"#
    )
}

/// Writes the file that a host finds in place of its `/etc/resolv.conf`; in its place, since processes that run there
/// hold it open by its name.
pub fn set_resolver(run: &Run, host: &str, resolver: Option<&str>, more: &str) -> Result<()> {
    let folder = run.etc(host);
    fs::create_dir_all(&folder)?;
    let text = resolver.map_or_else(String::new, |address| {
        format!("nameserver {address}\n{more}")
    });
    fs::write(folder.join("resolv.conf"), text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_link_joins_known_hosts_and_no_interface_or_address_is_used_twice() {
        let mut interfaces = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        for link in links() {
            for end in [&link.near, &link.far] {
                assert!(HOSTS.contains(&end.host), "{}", end.host);
                assert!(end.interface.len() < 16);
                assert!(interfaces.insert((end.host, end.interface)));
                assert!(addresses.insert(end.address.clone()), "{}", end.address);
            }
        }
    }

    #[test]
    fn every_ipv6_address_is_on_an_interface_that_is_there() {
        let ends: Vec<(&str, &str)> = links()
            .iter()
            .flat_map(|link| [&link.near, &link.far])
            .map(|end| (end.host, end.interface))
            .collect();
        for (host, interface, _) in ipv6::ADDRESSES {
            assert!(ends.contains(&(host, interface)), "{host} {interface}");
        }
    }

    #[test]
    fn every_host_but_the_backbone_has_a_default_route() {
        let routes = routes();
        for host in HOSTS.into_iter().filter(|host| *host != "net") {
            let found = routes
                .iter()
                .any(|(h, r)| *h == host && r.starts_with("default"));
            assert!(found, "{host}");
        }
    }
}
