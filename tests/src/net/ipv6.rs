//! The homes' IPv6, which reaches as far as the backbone.

use anyhow::Result;

use crate::address::IPV6_EDGE;
use crate::namespace::Run;
use crate::shell;

/// Who has an IPv6 address, and on which interface.
pub(super) const ADDRESSES: [(&str, &str, &str); 8] = [
    ("net", "gw1", "2001:db8:101::1/64"),
    ("gw1", "wan", "2001:db8:101::2/64"),
    ("gw1", "lan", "2001:db8:1::1/64"),
    ("home1", "eth0", "2001:db8:1::10/64"),
    ("net", "gw2", "2001:db8:102::1/64"),
    ("gw2", "wan", "2001:db8:102::2/64"),
    ("gw2", "lan", "2001:db8:2::1/64"),
    ("home2", "eth0", "2001:db8:2::10/64"),
];

/// The IPv6 routes between these.
const ROUTES: [(&str, &str); 6] = [
    ("home1", "default via 2001:db8:1::1"),
    ("gw1", "default via 2001:db8:101::1"),
    ("net", "2001:db8:1::/64 via 2001:db8:101::2"),
    ("home2", "default via 2001:db8:2::1"),
    ("gw2", "default via 2001:db8:102::1"),
    ("net", "2001:db8:2::/64 via 2001:db8:102::2"),
];

/// The homes have IPv6 as far as the backbone, which knows no way further.
pub(super) fn build(run: &Run) -> Result<()> {
    for (host, interface, address) in ADDRESSES {
        let namespace = run.namespace(host);
        shell::ip(&format!(
            "-n {namespace} -6 addr add {address} dev {interface} nodad"
        ))?;
    }
    for (host, route) in ROUTES {
        shell::ip(&format!("-n {} -6 route add {route}", run.namespace(host)))?;
    }
    let net = run.namespace("net");
    shell::ip(&format!("-n {net} -6 route add blackhole {IPV6_EDGE}/128"))?;
    Ok(())
}
