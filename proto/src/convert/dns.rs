//! What answers of DNS hold.

use localize::dns::{Again, Reply, Searched, Soa, Validity};
use localize::{DnsFacts, Failure};

use super::observation::{failure_from_wire, failure_kind, failure_to_wire};
use super::{MAX_TEXT, Malformed, few, ip, micros, narrow, prose};
use crate::v1;

/// Addresses of one DNS answer that are kept.
const MAX_ADDRESSES: usize = 64;
/// Extended errors of one answer that are kept.
const MAX_EXTENDED: usize = 8;
/// RCODE 2 (RFC 1035, section 4.1.1).
const SERVFAIL: u32 = 2;

impl From<&DnsFacts> for v1::DnsFacts {
    fn from(dns: &DnsFacts) -> Self {
        Self {
            rcode: dns.rcode.into(),
            addresses: dns.addresses.iter().map(ToString::to_string).collect(),
            authoritative: dns.authoritative,
            over_tcp: dns.over_tcp,
            ttl: dns.ttl,
            authentic: dns.authentic,
            extended: dns.extended.iter().map(|code| u32::from(*code)).collect(),
            soa: dns.soa.as_ref().map(|soa| v1::DnsSoa {
                zone: soa.zone.clone(),
                primary: soa.primary.clone(),
                serial: soa.serial,
                negative_ttl: soa.negative_ttl,
            }),
            signed: dns.signed.map(|held| v1::DnsValidity {
                inception: held.inception,
                expiration: held.expiration,
            }),
            aaaa: dns.aaaa.as_ref().map(again_to_wire),
            unchecked: dns.unchecked.as_ref().map(again_to_wire),
            searched: dns.searched.as_ref().map(|searched| v1::DnsSearched {
                name: searched.name.clone(),
                again: Some(again_to_wire(&searched.again)),
            }),
        }
    }
}

impl TryFrom<v1::DnsFacts> for DnsFacts {
    type Error = Malformed;

    fn try_from(wire: v1::DnsFacts) -> Result<Self, Malformed> {
        few("dns.addresses", &wire.addresses, MAX_ADDRESSES)?;
        few("dns.extended", &wire.extended, MAX_EXTENDED)?;
        // Checking is disabled in the second question where the first ended in SERVFAIL, and nowhere else.
        if wire.unchecked.is_some() && wire.rcode != SERVFAIL {
            return Err(Malformed::Contradiction("dns.unchecked", "dns.rcode"));
        }
        let aaaa = wire.aaaa.map(again_from_wire).transpose()?;
        let given = aaaa.iter().flat_map(|again| again.reply.addresses());
        if given.copied().any(|address| address.is_ipv4()) {
            return Err(Malformed::Contradiction("dns.aaaa", "dns.aaaa.addresses"));
        }
        Ok(Self {
            rcode: narrow("dns.rcode", wire.rcode, 255)?,
            addresses: addresses(&wire.addresses)?,
            authoritative: wire.authoritative,
            over_tcp: wire.over_tcp,
            ttl: wire.ttl,
            authentic: wire.authentic,
            extended: wire
                .extended
                .into_iter()
                .map(|code| narrow("dns.extended", code, 65_535))
                .collect::<Result<_, _>>()?,
            soa: wire.soa.map(soa_from_wire).transpose()?,
            signed: wire.signed.map(|held| Validity {
                inception: held.inception,
                expiration: held.expiration,
            }),
            aaaa,
            unchecked: wire.unchecked.map(again_from_wire).transpose()?,
            searched: wire.searched.map(searched_from_wire).transpose()?,
        })
    }
}

fn searched_from_wire(wire: v1::DnsSearched) -> Result<Searched, Malformed> {
    let again = wire.again.ok_or(Malformed::Missing("dns.searched.again"))?;
    Ok(Searched {
        name: prose("dns.searched.name", wire.name, MAX_TEXT)?,
        again: again_from_wire(again)?,
    })
}

fn addresses(wire: &[String]) -> Result<Vec<std::net::IpAddr>, Malformed> {
    wire.iter().map(|text| ip("dns.addresses", text)).collect()
}

/// The zone's name is empty for the root, and so may be the primary's.
fn soa_from_wire(wire: v1::DnsSoa) -> Result<Soa, Malformed> {
    Ok(Soa {
        zone: prose("dns.soa.zone", wire.zone, MAX_TEXT)?,
        primary: prose("dns.soa.primary", wire.primary, MAX_TEXT)?,
        serial: wire.serial,
        negative_ttl: wire.negative_ttl,
    })
}

fn again_to_wire(again: &Again) -> v1::DnsAgain {
    let (addresses, failure) = match &again.reply {
        Reply::Addresses(addresses) => (
            addresses.iter().map(ToString::to_string).collect(),
            v1::FailureKind::FailureUnspecified,
        ),
        Reply::Failed(failure) => (Vec::new(), failure_to_wire(*failure).0),
    };
    v1::DnsAgain {
        took_us: again.took.0,
        addresses,
        failure: failure.into(),
    }
}

fn again_from_wire(wire: v1::DnsAgain) -> Result<Again, Malformed> {
    few("dns.addresses", &wire.addresses, MAX_ADDRESSES)?;
    let reply = match (wire.addresses.as_slice(), failure_kind(wire.failure)?) {
        ([], kind) => Reply::Failed(of_dns(failure_from_wire(kind, 0)?)?),
        (given, v1::FailureKind::FailureUnspecified) => Reply::Addresses(addresses(given)?),
        (_, _) => {
            return Err(Malformed::Contradiction(
                "dns.again.addresses",
                "dns.again.failure",
            ));
        }
    };
    Ok(Again {
        took: micros("dns.again.took", wire.took_us)?,
        reply,
    })
}

fn of_dns(failure: Failure) -> Result<Failure, Malformed> {
    match failure.is_of_dns() {
        true => Ok(failure),
        false => Err(Malformed::Contradiction("dns.again.failure", "dns")),
    }
}
