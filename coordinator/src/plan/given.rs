//! Which public addresses the name servers still give.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use localize::dns::Reply;
use localize::{DnsFacts, Failure};
use serde::{Deserialize, Serialize};

/// No address is withdrawn that was given within this time: resolvers keep answers, and rounds of chosen
/// arms may ask one server alone.
const QUIET_US: u64 = 10 * 1_000_000;
/// Nor one that fewer rounds in a row were without.
const LEAST_MISSED: u32 = 2;
/// An address that is given now and then is withdrawn when it would be missing for so long by chance with
/// this probability.
const BY_CHANCE: f64 = 1e-3;
/// So many rounds are remembered; what is older counts half.
const REMEMBERED: u32 = 512;

/// How often the name servers gave an address, in rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Times {
    given: u32,
    /// Of so many, to the last in which it was.
    of: u32,
    /// Since then.
    missed: u32,
}

/// What the name servers gave. Resolvers keep their answers for a time, so that they tell what is given, and
/// not what is given no longer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    times: BTreeMap<IpAddr, Times>,
    /// The round under way by its instant, in microseconds of mesh time ...
    at_us: u64,
    /// ... what was given in it ...
    given: BTreeSet<IpAddr>,
    /// ... and whether a name server was heard, of IPv4 and of IPv6.
    heard: [bool; 2],
}

impl Given {
    /// Takes the answer of a server in, in a round of this instant.
    pub(super) fn take(&mut self, dns: &DnsFacts, from_name_server: bool, at_us: u64) {
        if at_us > self.at_us {
            self.settle();
            self.at_us = at_us;
        }
        if at_us == self.at_us {
            self.given.extend(dns.held());
            if from_name_server {
                let aaaa = dns.aaaa.as_ref().map(|again| &again.reply);
                self.heard[0] |= !dns.addresses.is_empty();
                self.heard[1] |= matches!(
                    aaaa,
                    Some(Reply::Addresses(_) | Reply::Failed(Failure::DnsNoData))
                );
            }
        }
    }

    /// The round under way is over.
    fn settle(&mut self) {
        let given = std::mem::take(&mut self.given);
        let [v4, v6] = std::mem::take(&mut self.heard);
        for address in &given {
            self.times.entry(*address).or_default();
        }
        let heard = |address: &IpAddr| if address.is_ipv4() { v4 } else { v6 };
        for (address, times) in &mut self.times {
            if given.contains(address) {
                times.of += std::mem::take(&mut times.missed) + 1;
                times.given += 1;
            } else if heard(address) {
                times.missed = times.missed.saturating_add(1);
            }
            if times.of >= REMEMBERED {
                (times.given, times.of) = (times.given / 2, times.of / 2);
            }
        }
    }

    /// Whether an address that was last given at one instant is given no longer at another.
    pub(super) fn is_withdrawn(&self, address: IpAddr, last_us: u64, now_us: u64) -> bool {
        let Some(times) = self.times.get(&address) else {
            return false;
        };
        // As if it had been missing once more.
        let missing = 1.0 - f64::from(times.given) / f64::from(times.of + 1);
        let by_chance = missing.powf(f64::from(times.missed));
        let long_ago = now_us.saturating_sub(last_us) >= QUIET_US;
        long_ago && times.missed >= LEAST_MISSED && by_chance <= BY_CHANCE
    }

    /// Forgets all but these.
    pub(super) fn keep(&mut self, wanted: impl Fn(&IpAddr) -> bool) {
        self.times.retain(|address, _| wanted(address));
    }
}
