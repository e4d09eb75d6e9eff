//! Addresses of the balancer's host, and how addresses lie to each other.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::facts::topology::{BALANCER_HOST, Topology};

/// Every address of the balancer's host, from its agent; empty without one.
pub(super) fn balancer_host(topology: &Topology) -> Vec<IpAddr> {
    let agents = topology
        .vantages
        .iter()
        .filter(|v| v.host.as_deref() == Some(BALANCER_HOST));
    agents.flat_map(|v| v.addresses.iter().copied()).collect()
}

/// Addresses that the balancer's own connections may leave from: those of its host that are not
/// virtual, where there are such.
pub(super) fn balancer_addresses(topology: &Topology) -> Vec<IpAddr> {
    let vips: BTreeSet<IpAddr> = topology.vips.iter().map(SocketAddr::ip).collect();
    let all = balancer_host(topology);
    let own: Vec<IpAddr> = all.iter().copied().filter(|a| !vips.contains(a)).collect();
    if own.is_empty() { all } else { own }
}

/// Leading bits that two addresses of one family share.
pub(super) fn common_bits(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => 0,
    }
}

/// The network address of the /24 or /64 around an address.
pub(super) fn prefix(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(v6) => {
            let s = v6.segments();
            IpAddr::from([s[0], s[1], s[2], s[3], 0, 0, 0, 0])
        }
    }
}
