//! Which address ranges are not the public internet.
//!
//! The sources are the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its
//! updates, as of RFC 9780), the IANA registry of the IPv6 address space, of which 2000::/3 alone is global
//! unicast, and the addresses at which clouds serve credentials to their machines, from their own manuals.

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

/// Where packets to an address may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// Where they go first: the address itself, or the IPv4 address that it is another form of.
    pub(super) first: IpAddr,
    /// Whom a relay or translator on the way hands them on to.
    pub(super) then: Option<IpAddr>,
}

impl Ends {
    /// All of them.
    pub(super) fn each(self) -> impl Iterator<Item = IpAddr> {
        [Some(self.first), self.then].into_iter().flatten()
    }
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
static NEVER: [Range; 15] = [
    v4(0, 0, 0, 0, 8, "this network"),
    // Alibaba.
    v4(100, 100, 100, 200, 32, "cloud metadata"),
    // Azure's WireServer, which stands in public space and gives machines their configuration.
    v4(168, 63, 129, 16, 32, "cloud metadata"),
    // AWS, Azure, Google and most others at .169.254, AWS for containers at .170.2 and .170.23, Tencent
    // at .0.23, Oracle at .169.254.
    v4(169, 254, 0, 0, 16, "link-local and cloud metadata"),
    // Oracle's first cloud.
    v4(192, 0, 0, 192, 32, "cloud metadata"),
    v4(224, 0, 0, 0, 4, "multicast"),
    v4(240, 0, 0, 0, 4, "reserved and broadcast"),
    v6([0; 8], 96, "unspecified and IPv4-compatible"),
    // Scaleway.
    v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128, "cloud metadata"),
    // AWS: machines at ::254, containers at ::23, keys at ::250.
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 112, "cloud metadata"),
    // Linode.
    v6(
        [0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 0],
        48,
        "cloud metadata",
    ),
    // Google.
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, "cloud metadata"),
    // RFC 2765 section 2.1; one zero more than the IPv4-mapped form.
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "IPv4-translated"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
];

/// Of those that hold each other the narrowest comes first, so that a refusal names it.
static SPECIAL: [Range; 37] = [
    v4(10, 0, 0, 0, 8, "private use"),
    v4(100, 64, 0, 0, 10, "carrier-grade NAT"),
    v4(172, 16, 0, 0, 12, "private use"),
    v4(192, 0, 0, 0, 24, "IETF protocol assignments"),
    v4(192, 0, 2, 0, 24, "documentation"),
    v4(192, 31, 196, 0, 24, "AS112"),
    v4(192, 52, 193, 0, 24, "AMT"),
    v4(192, 88, 99, 0, 24, "6to4 relays"),
    v4(192, 168, 0, 0, 16, "private use"),
    v4(192, 175, 48, 0, 24, "AS112"),
    v4(198, 18, 0, 0, 15, "benchmarking"),
    v4(198, 51, 100, 0, 24, "documentation"),
    v4(203, 0, 113, 0, 24, "documentation"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local NAT64"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard only"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "dummy prefix"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo"),
    v6([0x2001, 1, 0, 0, 0, 0, 0, 0], 32, "protocol anycast"),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, "benchmarking"),
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, "AMT"),
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, "AS112"),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, "ORCHID"),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, "ORCHIDv2"),
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, "drone identifiers"),
    v6(
        [0x2001, 0, 0, 0, 0, 0, 0, 0],
        23,
        "IETF protocol assignments",
    ),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4"),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, "AS112"),
    // The 6bone, given back (RFC 3701).
    v6([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16, "6bone"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "unique local"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local"),
    // Whatever is left outside of 2000::/3.
    v6([0x200, 0, 0, 0, 0, 0, 0, 0], 7, "NSAP"),
    v6([0; 8], 3, "not global unicast"),
    v6([0x4000, 0, 0, 0, 0, 0, 0, 0], 2, "not global unicast"),
    v6([0x8000, 0, 0, 0, 0, 0, 0, 0], 1, "not global unicast"),
];

/// Judges one end of [`ends`].
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

/// Where packets to an address end. An IPv4-mapped address (RFC 4291 section 2.5.5.2) and one of the
/// well-known NAT64 prefix (RFC 6052 section 2.1) are the IPv4 address inside. One of the local NAT64
/// prefix (RFC 8215), taken as the /96 that most use, of 6to4 (RFC 3056) or Teredo (RFC 4380, where the
/// client's address is written inverted) is handed on to the IPv4 address inside.
pub(super) fn ends(address: IpAddr) -> Ends {
    let itself = |then| Ends {
        first: address,
        then,
    };
    let IpAddr::V6(v6) = address else {
        return itself(None);
    };
    if let Some(mapped) = v6.to_ipv4_mapped() {
        return Ends {
            first: mapped.into(),
            then: None,
        };
    }
    let [a, b, c, d, e, f, high, low] = v6.segments();
    match (a, b, c) {
        (0x64, 0xff9b, 0) if [d, e, f] == [0; 3] => Ends {
            first: embedded(high, low),
            then: None,
        },
        (0x64, 0xff9b, 1) => itself(Some(embedded(high, low))),
        (0x2002, high, low) => itself(Some(embedded(high, low))),
        (0x2001, 0, _) => itself(Some(embedded(!high, !low))),
        _ => itself(None),
    }
}

fn embedded(high: u16, low: u16) -> IpAddr {
    let bits = (u32::from(high) << 16) | u32::from(low);
    IpAddr::V4(Ipv4Addr::from_bits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A range that stands behind one which holds it would never be named.
    #[test]
    fn the_narrower_range_comes_first() {
        for table in [&NEVER[..], &SPECIAL[..]] {
            for (place, range) in table.iter().enumerate() {
                let shadow = table[..place]
                    .iter()
                    .find(|before| before.prefix.contains(&range.prefix));
                assert_eq!(shadow, None, "before {range:?}");
            }
        }
    }

    /// Of the IPv6 address space 2000::/3 alone is global unicast (IANA, RFC 4291 section 2.4).
    #[test]
    fn nothing_but_global_unicast_is_public() {
        for high in 0..=u16::MAX {
            let address = IpAddr::from(Ipv6Addr::new(high, 0x1234, 5, 6, 7, 8, 9, 10));
            let class = classify(address);
            if high >> 13 != 1 {
                assert_ne!(class, Class::Public, "{address}");
            }
        }
    }
}
