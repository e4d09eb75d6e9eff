//! A zone as its own servers tell it: which versions there are, and who is behind.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::IpAddr;

use super::Told;
use crate::facts::dns::is_newer;
use crate::facts::observation::Failure;
use crate::world::symptom::Symptom;

/// For so long the servers of a zone may differ after a change: NOTIFY takes seconds, and is tried again
/// after a minute (RFC 1996, section 3.6).
const SPREADS_US: u64 = 60_000_000;
/// What the zone's own servers say of it.
pub(super) struct Zone<'a> {
    /// Its name, as the first start of authority says.
    pub(super) name: Option<&'a str>,
    /// Some server gives an IPv4 address.
    pub(super) has_a: bool,
    /// Some server hands out signatures that hold no longer, or not yet.
    pub(super) out_of_time: bool,
    /// When each server was first seen with each version, by who has the first copy.
    versions: BTreeMap<(&'a str, u32), u64>,
    /// The sets of addresses that came with each version.
    answers: BTreeMap<(&'a str, u32), BTreeSet<BTreeSet<IpAddr>>>,
}

impl<'a> Zone<'a> {
    /// From answers in the order of time.
    pub(super) fn new(servers: &[(&str, Told<'a>)]) -> Self {
        let mut zone = Self {
            name: None,
            has_a: false,
            out_of_time: false,
            versions: BTreeMap::new(),
            answers: BTreeMap::new(),
        };
        for (_, told) in servers {
            let Some(facts) = told.facts else {
                continue;
            };
            zone.has_a |= told.failure.is_none() && facts.held().any(|ip| ip.is_ipv4());
            zone.out_of_time |= is_out_of_time(told);
            let Some(soa) = &facts.soa else {
                continue;
            };
            zone.name.get_or_insert(&soa.zone);
            let version = (soa.primary.as_str(), soa.serial);
            zone.versions.entry(version).or_insert(told.at());
            let held = facts.held().collect();
            zone.answers.entry(version).or_default().insert(held);
        }
        zone
    }

    /// What a name server's answer is a sign of. `checked` says that some resolver checks signatures,
    /// `left` that the zone does not name this server, to which its parent sends.
    pub(super) fn sign(
        &self,
        told: Told<'a>,
        dead: &BTreeSet<IpAddr>,
        checked: bool,
        left: bool,
    ) -> Option<Symptom> {
        let behind = self.behind(told);
        match told.failure {
            Some(Failure::DnsNxdomain | Failure::DnsNoData) => behind.map(|_| Symptom::StaleAnswer),
            Some(Failure::DnsRefused | Failure::DnsServfail) if left => Some(Symptom::DnsLame),
            Some(_) => None,
            None if told.holds(dead) => Some(match behind {
                Some(_) => Symptom::StaleAnswer,
                None => Symptom::WrongAnswer,
            }),
            None if checked && is_out_of_time(&told) => Some(Symptom::DnsExpired),
            None => behind
                .filter(|since| told.at() >= since + SPREADS_US && self.differs(told))
                .map(|_| Symptom::StaleAnswer),
        }
    }

    /// Since when there is a newer version than a server's own, if there is one.
    fn behind(&self, told: Told<'a>) -> Option<u64> {
        let newer = self.newer(told)?;
        let since = newer.map(|(_, since)| *since).filter(|s| *s <= told.at());
        since.min()
    }

    /// Whether no newer version came with the addresses that this one gives.
    fn differs(&self, told: Told<'a>) -> bool {
        let held: BTreeSet<IpAddr> = told.facts.iter().flat_map(|facts| facts.held()).collect();
        let Some(mut newer) = self.newer(told) else {
            return false;
        };
        newer.all(|(version, _)| self.answers.get(version).is_none_or(|a| !a.contains(&held)))
    }

    fn newer(&self, told: Told<'a>) -> Option<impl Iterator<Item = (&(&'a str, u32), &u64)>> {
        let soa = told.facts?.soa.as_ref()?;
        let newer = move |version: &(&str, u32)| {
            version.0 == soa.primary && is_newer(version.1, soa.serial)
        };
        Some(
            self.versions
                .iter()
                .filter(move |(version, _)| newer(version)),
        )
    }
}

/// Whether the signatures in a name server's answer did not hold when it was given.
fn is_out_of_time(told: &Told<'_>) -> bool {
    let at_s = told.observation.started.at_us / 1_000_000;
    let signed = told.facts.and_then(|facts| facts.signed);
    signed.is_some_and(|held| held.is_over(at_s) || held.is_ahead(at_s))
}
