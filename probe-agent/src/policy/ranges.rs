//! Which address ranges are not the public internet.
//!
//! The sources are the IANA special-purpose address registries (RFC 6890 and its updates) and the
//! addresses at which clouds serve credentials to their machines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What kind of address it is, as far as probing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Anybody may be asked there.
    Public,
    /// Private or special-purpose space: somebody's inside.
    Special(&'static Range),
    /// The host itself.
    Loopback,
    /// No honest probe goes there.
    Never(&'static Range),
}

/// A range that is not public.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// The addresses.
    pub(super) prefix: IpNet,
    /// What they are for, in words.
    pub(super) name: &'static str,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8, name: &'static str) -> Range {
    let prefix = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length));
    Range { prefix, name }
}

const fn v6(segments: [u16; 8], length: u8, name: &'static str) -> Range {
    let [a, b, c, d, e, f, g, h] = segments;
    let address = Ipv6Addr::new(a, b, c, d, e, f, g, h);
    let prefix = IpNet::V6(Ipv6Net::new_assert(address, length));
    Range { prefix, name }
}

/// The host itself.
const LOOPBACK: [Range; 2] = [
    v4(127, 0, 0, 0, 8, "loopback"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
];

/// Looked at before [`SPECIAL`], whose prefixes hold some of these.
static NEVER: [Range; 10] = [
    v4(0, 0, 0, 0, 8, "this network"),
    v4(100, 100, 100, 200, 32, "cloud metadata"),
    v4(169, 254, 0, 0, 16, "link-local and cloud metadata"),
    v4(224, 0, 0, 0, 4, "multicast"),
    v4(240, 0, 0, 0, 4, "reserved and broadcast"),
    v6([0; 8], 96, "unspecified and IPv4-compatible"),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, "cloud metadata"),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, "cloud metadata"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
];

static SPECIAL: [Range; 21] = [
    v4(10, 0, 0, 0, 8, "private use"),
    v4(100, 64, 0, 0, 10, "carrier-grade NAT"),
    v4(172, 16, 0, 0, 12, "private use"),
    v4(192, 0, 0, 0, 24, "IETF protocol assignments"),
    v4(192, 0, 2, 0, 24, "documentation"),
    v4(192, 88, 99, 0, 24, "6to4 relays"),
    v4(192, 168, 0, 0, 16, "private use"),
    v4(198, 18, 0, 0, 15, "benchmarking"),
    v4(198, 51, 100, 0, 24, "documentation"),
    v4(203, 0, 113, 0, 24, "documentation"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local NAT64"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard only"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo"),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "ORCHID"),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "ORCHIDv2"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local"),
];

/// Judges an address that [`judged`] has unwrapped.
pub(super) fn classify(address: IpAddr) -> Class {
    let holds = |range: &&Range| range.prefix.contains(&address);
    if is_loopback(&IpNet::from(address)) {
        return Class::Loopback;
    }
    if let Some(range) = NEVER.iter().find(holds) {
        return Class::Never(range);
    }
    match SPECIAL.iter().find(holds) {
        Some(range) => Class::Special(range),
        None => Class::Public,
    }
}

/// Whether a prefix lies wholly in loopback space.
pub(super) fn is_loopback(prefix: &IpNet) -> bool {
    LOOPBACK.iter().any(|range| range.prefix.contains(prefix))
}

/// The range that no rule opens and that holds the whole prefix, if there is one.
pub(super) fn never(prefix: &IpNet) -> Option<&'static Range> {
    NEVER
        .iter()
        .find(|range| range.prefix.contains(prefix) && !is_loopback(prefix))
}

/// The address that packets in the end go to: the IPv4 address inside an IPv4-mapped one (RFC 4291
/// section 2.5.5.2) or inside one of the well-known NAT64 prefix (RFC 6052 section 2.1), or inside a
/// 6to4 one (RFC 3056) when that is a place where no probe may go.
pub(super) fn judged(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    if let Some(mapped) = v6.to_ipv4_mapped() {
        return mapped.into();
    }
    let [a, b, c, d, e, f, high, low] = v6.segments();
    if [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return embedded(high, low);
    }
    if a == 0x2002 {
        let relayed = embedded(b, c);
        if matches!(classify(relayed), Class::Loopback | Class::Never(_)) {
            return relayed;
        }
    }
    address
}

fn embedded(high: u16, low: u16) -> IpAddr {
    let bits = (u32::from(high) << 16) | u32::from(low);
    IpAddr::V4(Ipv4Addr::from_bits(bits))
}
