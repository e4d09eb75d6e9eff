//! What the host says of itself: its addresses and its resolvers.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::policy::Around;

/// The host's addresses and resolvers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Unicast addresses, sorted, without loopback and link-local ones unless they were given.
    pub addresses: Vec<IpAddr>,
    /// The resolvers, in the order of the configuration.
    pub resolvers: Vec<SocketAddr>,
    /// What stands around it.
    pub around: Around,
}

/// What the command line says instead of the host; an empty list says nothing.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Instead of the interfaces' addresses.
    pub sources: Vec<IpAddr>,
    /// Instead of `/etc/resolv.conf`.
    pub resolvers: Vec<SocketAddr>,
}

/// Where the resolvers stand, resolv.conf(5).
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Addresses and resolvers reported at most: every one becomes an arm of every round.
const MOST: usize = 32;

impl Host {
    /// Looks at the host. What cannot be read is left out.
    #[must_use]
    pub fn look(given: &Given) -> Self {
        let addresses = match given.sources.is_empty() {
            true => own_addresses().unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot list the interfaces' addresses");
                Vec::new()
            }),
            false => given.sources.clone(),
        };
        let resolvers = match given.resolvers.is_empty() {
            true => configured_resolvers(Path::new(RESOLV_CONF)),
            false => given.resolvers.clone(),
        };
        Self {
            addresses: addresses.into_iter().take(MOST).collect(),
            resolvers: resolvers.into_iter().take(MOST).collect(),
            around: Around::look(),
        }
    }
}

/// What a host's stub resolver is told of names, resolv.conf(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stub {
    /// The resolvers that it asks.
    servers: Vec<SocketAddr>,
    /// The domains that it appends.
    search: Vec<String>,
    /// A name of so many dots is tried as it is before any domain is appended.
    ndots: usize,
}

/// Domains that are appended at most: as many as stub resolvers took that had a limit.
const MOST_DOMAINS: usize = 6;
/// As many dots as resolvers take at most (`RES_MAXNDOTS`).
const MOST_DOTS: usize = 15;

impl Stub {
    /// Looks at the host. What cannot be read says nothing.
    #[must_use]
    pub fn look() -> Self {
        let text = fs::read_to_string(RESOLV_CONF);
        text.map_or_else(|_| Self::default(), |text| Self::read(&text))
    }

    fn read(text: &str) -> Self {
        let mut stub = Self {
            servers: resolvers(text),
            search: Vec::new(),
            ndots: 1,
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                // The last one stands.
                Some("search" | "domain") => {
                    let domains = words.map(|domain| domain.trim_end_matches('.').to_owned());
                    let domains = domains.filter(|domain| !domain.is_empty());
                    stub.search = domains.take(MOST_DOMAINS).collect();
                }
                Some("options") => {
                    let told = |word: &str| word.strip_prefix("ndots:")?.parse().ok();
                    let last = words.filter_map(told).next_back();
                    stub.ndots = last.unwrap_or(stub.ndots).min(MOST_DOTS);
                }
                Some(_) | None => {}
            }
        }
        stub
    }

    /// The names that it asks a resolver for before a host's own name, where it asks that resolver at all.
    #[must_use]
    pub fn before(&self, host: &str, server: SocketAddr) -> Vec<String> {
        let dots = host.bytes().filter(|byte| *byte == b'.').count();
        if dots >= self.ndots || !self.servers.contains(&server) {
            return Vec::new();
        }
        let domains = self.search.iter();
        domains.map(|domain| format!("{host}.{domain}")).collect()
    }
}

fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = getifaddrs()?
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|interface| interface.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
        })
        .filter(|address| is_of_use(*address))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

fn is_of_use(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(link_local || address.is_loopback() || address.is_multicast() || address.is_unspecified())
}

fn configured_resolvers(path: &Path) -> Vec<SocketAddr> {
    match fs::read_to_string(path) {
        Ok(text) => resolvers(&text),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read the resolvers");
            Vec::new()
        }
    }
}

/// A link-local resolver with a zone is left out: its address means nothing to the coordinator.
fn resolvers(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver"))
                .then(|| words.next()?.parse().ok())
                .flatten()
        })
        .map(|address: IpAddr| SocketAddr::new(address, DNS_PORT))
        .collect()
}

/// The port of DNS (RFC 1035 section 4.2).
pub const DNS_PORT: u16 = 53;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_the_resolver_reads_it() {
        let text = "# nameserver 192.0.2.1\nsearch example\nnameserver 192.0.2.2\n\
                    nameserver\t2001:db8::53 # second\nnameserver fe80::1%eth0\nnameserver\n";
        let expected: [SocketAddr; 2] = [
            "192.0.2.2:53".parse().unwrap(),
            "[2001:db8::53]:53".parse().unwrap(),
        ];
        assert_eq!(resolvers(text), expected);
    }

    #[test]
    fn names_are_searched_for_as_the_stub_does() {
        let server: SocketAddr = "192.0.2.1:53".parse().unwrap();
        let other = "192.0.2.2:53".parse().unwrap();
        let rows: [(&str, &[&str]); 7] = [
            ("search corp.example", &[]),
            (
                "search corp.example\noptions ndots:2",
                &["shop.example.corp.example"],
            ),
            (
                "search a.example. b.example\noptions timeout:1 ndots:5",
                &["shop.example.a.example", "shop.example.b.example"],
            ),
            (
                "search a.example\ndomain b.example\noptions ndots:2",
                &["shop.example.b.example"],
            ),
            ("options ndots:2", &[]),
            ("search .\noptions ndots:2", &[]),
            ("search a.example\noptions ndots:2\noptions ndots:1", &[]),
        ];
        for (text, expected) in rows {
            let stub = Stub::read(&format!("nameserver 192.0.2.1\n{text}\n"));
            assert_eq!(stub.before("shop.example", server), expected, "{text}");
            assert_eq!(stub.before("shop.example", other), [""; 0], "{text}");
            assert_eq!(
                stub.before("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p", server),
                [""; 0]
            );
        }
    }

    #[test]
    fn addresses_that_no_probe_can_leave_from_are_not_named() {
        let rows = [
            ("127.0.0.1", false),
            ("169.254.1.1", false),
            ("::1", false),
            ("fe80::1", false),
            ("10.0.0.1", true),
            ("2001:db8::1", true),
        ];
        for (address, of_use) in rows {
            assert_eq!(is_of_use(address.parse().unwrap()), of_use, "{address}");
        }
    }

    #[test]
    fn what_is_given_replaces_what_is_there() {
        let given = Given {
            sources: vec!["127.0.0.2".parse().unwrap()],
            resolvers: vec!["127.0.0.1:5353".parse().unwrap()],
        };
        let host = Host::look(&given);
        assert_eq!(
            (host.addresses, host.resolvers),
            (given.sources, given.resolvers)
        );
    }
}
