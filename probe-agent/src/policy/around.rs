//! What stands around the host: its own addresses, its networks, its routers.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::SockaddrStorage;

use super::refusal::Near;

/// The host's surroundings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// The addresses of its interfaces.
    pub own: Vec<IpAddr>,
    /// The networks that these are in.
    pub links: Vec<IpNet>,
    /// The routers that its routes lead to.
    pub gateways: Vec<IpAddr>,
}

/// Entries kept of each kind: hosts have a few, routers of many networks some hundreds.
const MOST: usize = 4096;
/// `RTF_GATEWAY` in include/uapi/linux/route.h.
const GATEWAY: u32 = 2;

impl Around {
    /// Looks at the host. What cannot be read is left out, and the log says so.
    #[must_use]
    pub fn look() -> Self {
        let mut around = Self::default();
        match getifaddrs() {
            Ok(interfaces) => {
                for interface in interfaces.take(MOST) {
                    around.add(&interface);
                }
            }
            Err(error) => tracing::warn!(%error, "cannot list the interfaces' addresses"),
        }
        let read = |file: &str| {
            fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_else(|error| {
                tracing::debug!(file, %error, "cannot read the host's routes");
                String::new()
            })
        };
        let (v4, v6) = (read("route"), read("ipv6_route"));
        let routers = gateways_v4(&v4).chain(gateways_v6(&v6));
        around.gateways = routers.take(MOST).collect();
        around.gateways.sort_unstable();
        around.gateways.dedup();
        around
    }

    fn add(&mut self, interface: &InterfaceAddress) {
        let Some(own) = interface.address.as_ref().and_then(ip) else {
            return;
        };
        self.own.push(own);
        let mask = interface.netmask.as_ref().and_then(ip);
        if let Some(link) = mask.and_then(|mask| IpNet::with_netmask(own, mask).ok()) {
            self.links.push(link.trunc());
        }
    }

    /// What an address is to the host, if it is near.
    #[must_use]
    pub fn near(&self, address: IpAddr) -> Option<Near> {
        if self.own.contains(&address) {
            return Some(Near::Own);
        }
        if self.gateways.contains(&address) {
            return Some(Near::Gateway);
        }
        let links = self.links.iter().filter(|link| is_a_network(link));
        let link = links.copied().find(|link| link.contains(&address))?;
        Some(Near::OnLink(link))
    }
}

/// An address alone has no neighbours, and a route to everywhere is none to a network.
fn is_a_network(link: &IpNet) -> bool {
    link.prefix_len() > 0 && link.prefix_len() < link.max_prefix_len()
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
}

/// The routers in `/proc/net/route`: a line each route, numbers of an address as the host has them in
/// memory (net/ipv4/fib_trie.c, `fib_route_seq_show`).
fn gateways_v4(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(2);
        let gateway = u32::from_str_radix(words.next()?, 16).ok()?;
        let flags = u32::from_str_radix(words.next()?, 16).ok()?;
        (flags & GATEWAY != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()).into())
    })
}

/// The routers in `/proc/net/ipv6_route`: destination, source and next hop in hexadecimal, then metric,
/// two counters and flags (net/ipv6/route.c, `rt6_info_route` and ip6_fib.c, `ipv6_route_native_seq_show`).
fn gateways_v6(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(4);
        let gateway = u128::from_str_radix(words.next()?, 16).ok()?;
        let flags = u32::from_str_radix(words.nth(3)?, 16).ok()?;
        (flags & GATEWAY != 0 && gateway != 0).then(|| Ipv6Addr::from(gateway).into())
    })
}

/// For tests: a host in one network.
#[cfg(test)]
pub(super) fn in_network(own: &str, gateway: &str) -> Around {
    let link: IpNet = own.parse().unwrap();
    Around {
        own: vec![link.addr()],
        links: vec![link.trunc()],
        gateways: vec![gateway.parse().unwrap()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_are_read_from_the_kernels_tables() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                  eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                  damaged\n";
        let v6 = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                  fd000000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n\
                  fd000000000000000000000000000000 40 00000000000000000000000000000000 00 \
                  00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n";
        let expected: IpAddr = match cfg!(target_endian = "little") {
            true => "192.0.2.1".parse().unwrap(),
            false => "1.2.0.192".parse().unwrap(),
        };
        assert_eq!(gateways_v4(v4).collect::<Vec<_>>(), [expected]);
        let expected: IpAddr = "fd00::1".parse().unwrap();
        assert_eq!(gateways_v6(v6).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn what_is_near_is_told_by_its_kind() {
        let mut around = in_network("9.8.7.6/24", "9.8.7.1");
        around.links.push("0.0.0.0/0".parse().unwrap());
        around.links.push("5.5.5.5/32".parse().unwrap());
        let rows = [
            ("9.8.7.6", Some(Near::Own)),
            ("9.8.7.1", Some(Near::Gateway)),
            ("9.8.7.9", Some(Near::OnLink("9.8.7.0/24".parse().unwrap()))),
            ("9.8.8.1", None),
            ("5.5.5.5", None),
        ];
        for (address, expected) in rows {
            assert_eq!(around.near(address.parse().unwrap()), expected, "{address}");
        }
    }

    /// Whatever this host is, it knows itself.
    #[test]
    fn the_host_is_near_itself() {
        let around = Around::look();
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!(around.near(loopback), Some(Near::Own));
    }
}
