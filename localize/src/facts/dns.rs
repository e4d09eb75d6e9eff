//! What answers of DNS hold, and what was asked beside the question that is timed.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::observation::Failure;
use super::time::Micros;

/// What the DNS answer held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsFacts {
    /// The RCODE of the answer.
    pub rcode: u8,
    /// Every A and AAAA record of the answer, sorted.
    pub addresses: Vec<IpAddr>,
    /// The AA bit.
    pub authoritative: bool,
    /// The UDP answer was truncated, and the question asked again over TCP.
    pub over_tcp: bool,
    /// The smallest TTL of the answer, in seconds.
    pub ttl: Option<u32>,
    /// The AD bit: the resolver has found the answer to be signed as it must be (RFC 4035, section 3.2.3).
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub authentic: bool,
    /// The codes of extended errors in the answer (RFC 8914), sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extended: Vec<u16>,
    /// The zone's start of authority: of a name server its own, else that of a negative answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soa: Option<Soa>,
    /// When the signatures in a name server's answer hold; `None` where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Validity>,
    /// What came of the same name's AAAA question. It was asked after that for A had been answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aaaa: Option<Again>,
    /// What came of the same question with checking disabled (the CD bit, RFC 4035, section 3.2.2), asked
    /// of a resolver that had answered SERVFAIL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<Again>,
    /// What the host's own stub resolver would have got in the place of this answer, where its search list has a
    /// name with addresses that it tries before the name itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searched: Option<Searched>,
}

/// A name that a stub resolver tries before the name itself, since it has fewer dots than `ndots` asks for
/// (RFC 1535, section 6; resolv.conf(5)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Searched {
    /// The name, in lower case and without the last dot.
    pub name: String,
    /// What came of it.
    pub again: Again,
}

/// A start of authority (RFC 1035, section 3.3.13).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Soa {
    /// The zone, in lower case and without the last dot; empty for the root.
    pub zone: String,
    /// The server that the zone's others take it from, written likewise.
    pub primary: String,
    /// The version of the zone; serials are compared as RFC 1982 says.
    pub serial: u32,
    /// For so many seconds more a negative answer may be kept: the lesser of the record's TTL and its
    /// MINIMUM (RFC 2308, section 5).
    pub negative_ttl: u32,
}

/// From when to when signatures hold, in seconds since the Unix epoch modulo 2^32, compared as serials
/// are (RFC 4034, section 3.1.5): the latest beginning and the earliest end of all in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// They hold from then on.
    pub inception: u32,
    /// They hold until then.
    pub expiration: u32,
}

/// A question that was asked beside the one that is timed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Again {
    /// From this question to its answer, or to the failure.
    pub took: Micros,
    /// What came of it.
    pub reply: Reply,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Addresses, sorted; at least one.
    Addresses(Vec<IpAddr>),
    /// None; the failure is one of DNS.
    Failed(Failure),
}

impl DnsFacts {
    /// Every address that the answers gave, those of the AAAA question included; some may come twice.
    pub fn held(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let aaaa = self.aaaa.iter().flat_map(|again| again.reply.addresses());
        self.addresses.iter().chain(aaaa).copied()
    }
}

impl Reply {
    /// The addresses given.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Addresses(addresses) => addresses,
            Self::Failed(_) => &[],
        }
    }
}

/// Whether one serial is newer than another (RFC 1982, section 3.2).
#[must_use]
pub const fn is_newer(serial: u32, than: u32) -> bool {
    let ahead = serial.wrapping_sub(than);
    ahead != 0 && ahead < 1 << 31
}

impl Validity {
    /// Whether they hold no longer at a time in seconds since the Unix epoch.
    #[must_use]
    pub const fn is_over(&self, at_s: u64) -> bool {
        is_newer(seconds(at_s), self.expiration)
    }

    /// Whether they hold not yet.
    #[must_use]
    pub const fn is_ahead(&self, at_s: u64) -> bool {
        is_newer(self.inception, seconds(at_s))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32")]
const fn seconds(at_s: u64) -> u32 {
    at_s as u32
}

impl Failure {
    /// Whether it is one of DNS.
    #[must_use]
    pub const fn is_of_dns(self) -> bool {
        matches!(
            self,
            Self::DnsTimeout
                | Self::DnsUnreachable
                | Self::DnsRefused
                | Self::DnsServfail
                | Self::DnsNxdomain
                | Self::DnsNoData
                | Self::DnsMalformed
                | Self::DnsLame
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_wrap() {
        let rows = [
            (2, 1, true),
            (1, 1, false),
            (1, 2, false),
            (5, u32::MAX - 5, true),
            (u32::MAX - 5, 5, false),
            (2_026_112_901, 2_026_112_801, true),
            // Undefined by the RFC: neither is newer.
            (1 << 31, 0, false),
        ];
        for (serial, than, newer) in rows {
            assert_eq!(is_newer(serial, than), newer, "{serial} {than}");
        }
    }

    #[test]
    fn signatures_hold_between_their_times() {
        let held = Validity {
            inception: 100,
            expiration: 200,
        };
        let rows = [
            (99, (true, false)),
            (100, (false, false)),
            (200, (false, false)),
            (201, (false, true)),
        ];
        for (at, expected) in rows {
            assert_eq!((held.is_ahead(at), held.is_over(at)), expected, "{at}");
        }
    }
}
