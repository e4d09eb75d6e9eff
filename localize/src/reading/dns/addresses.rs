//! Addresses that answers hold and the service has not, and answers that are told again from a cache.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;

use crate::facts::dns::{DnsFacts, Reply};
use crate::facts::observation::{Failure, Observation, ObservationId, Outcome, Target};

/// An answer older than this, before the last observation, does not say what is handed out at present.
const RECENT_US: u64 = 30_000_000;

/// Addresses that are not part of the service: those that no recent answer holds, and those that
/// some servers hand out and others do not, and that served nobody in the window although they were
/// tried while others served.
pub(crate) fn removed_addresses(observations: &[&Observation]) -> BTreeSet<IpAddr> {
    let now = observations
        .iter()
        .map(|o| o.scheduled_us)
        .max()
        .unwrap_or(0);
    let mut tried: BTreeMap<IpAddr, (u32, u32)> = BTreeMap::new();
    let mut answers: Vec<(u64, &DnsFacts)> = Vec::new();
    for observation in observations {
        match &observation.arm.target {
            Target::Edge { address } => {
                let (passed, all) = tried.entry(address.ip()).or_default();
                *passed += u32::from(observation.outcome == Outcome::Passed);
                *all += 1;
            }
            Target::NameServer { .. } | Target::Resolver { .. } => {
                let passed = observation.facts.dns.as_ref();
                let passed = passed.filter(|_| observation.outcome == Outcome::Passed);
                answers.extend(passed.map(|dns| (observation.scheduled_us, dns)));
            }
            Target::Vip { .. } | Target::Backend { .. } => {}
        }
    }
    let alive = tried.values().any(|(passed, _)| *passed > 0);
    tried
        .into_iter()
        .filter(|(address, (passed, all))| {
            let speak = answers.iter().filter(|(_, dns)| speaks_of(dns, *address));
            let mut recent = speak.filter(|(at, _)| at + RECENT_US >= now).peekable();
            let gone = recent.peek().is_some() && recent.all(|(_, dns)| !gives(dns, *address));
            let doubted = answers.iter().any(|(_, dns)| gives_others(dns, *address));
            gone || alive && *passed == 0 && *all >= 2 && doubted
        })
        .map(|(address, _)| address)
        .collect()
}

fn gives(dns: &DnsFacts, address: IpAddr) -> bool {
    dns.held().any(|held| held == address)
}

/// Whether an answer gives addresses of the same family, and not this one. One that gives none of that
/// family may have been made so: many resolvers withhold AAAA.
fn gives_others(dns: &DnsFacts, address: IpAddr) -> bool {
    let mut same = dns
        .held()
        .filter(|held| held.is_ipv4() == address.is_ipv4())
        .peekable();
    same.peek().is_some() && !gives(dns, address)
}

/// Whether an answer would give an address, were it still the service's.
fn speaks_of(dns: &DnsFacts, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => !dns.addresses.is_empty(),
        IpAddr::V6(_) => matches!(
            dns.aaaa.as_ref().map(|again| &again.reply),
            Some(Reply::Addresses(_) | Reply::Failed(Failure::DnsNoData))
        ),
    }
}

/// Whether a name server hands out a dead address.
pub(super) fn disagrees(observation: &Observation, dead: &BTreeSet<IpAddr>) -> bool {
    let asked = matches!(observation.arm.target, Target::NameServer { .. });
    let dns = observation.facts.dns.as_ref().filter(|_| asked);
    dns.is_some_and(|dns| dns.held().any(|a| dead.contains(&a)))
}

/// The time in which resolvers may have asked while these were seen, in microseconds of mesh time: what is over was
/// over a while after the last of them at the latest. `None` without any.
pub(super) fn about<'o>(
    observations: impl Iterator<Item = &'o &'o Observation>,
) -> Option<RangeInclusive<u64>> {
    let at = observations.map(|o| o.scheduled_us);
    let (from, to) = at.fold(None, |range: Option<(u64, u64)>, at| {
        let (from, to) = range.unwrap_or((at, at));
        Some((from.min(at), to.max(at)))
    })?;
    Some(from.saturating_sub(RECENT_US)..=to.saturating_add(RECENT_US))
}

/// Answers of resolvers that came from their caches: the same addresses while an earlier answer of this time had
/// still to live, whoever asked. Times to live are whole seconds (RFC 1035, section 3.2.1). Of those that are
/// `wanted`.
pub(super) fn repeated(
    observations: &[&Observation],
    while_so: &RangeInclusive<u64>,
    wanted: fn(&DnsFacts) -> bool,
) -> BTreeSet<ObservationId> {
    let mut in_order = observations.to_vec();
    in_order.sort_by_key(|o| o.scheduled_us);
    let mut expires: BTreeMap<(SocketAddr, BTreeSet<IpAddr>), u64> = BTreeMap::new();
    let mut repeats = BTreeSet::new();
    for observation in in_order {
        let Target::Resolver { server } = observation.arm.target else {
            continue;
        };
        let Some((dns, ttl)) = observation
            .facts
            .dns
            .as_ref()
            .filter(|dns| wanted(dns))
            .and_then(|dns| Some((dns, dns.ttl?)))
        else {
            continue;
        };
        let key = (server, dns.held().collect());
        let at = observation.scheduled_us;
        if expires.get(&key).is_some_and(|expiry| at < *expiry) {
            repeats.insert(observation.id.clone());
        } else if while_so.contains(&at) {
            expires.insert(key, at + (u64::from(ttl) + 1) * 1_000_000);
        }
    }
    repeats
}
