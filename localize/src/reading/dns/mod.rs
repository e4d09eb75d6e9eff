//! Answers of DNS, compared: what an answer or a failure is a sign of, which only the others tell.

pub(crate) mod addresses;
mod zone;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use self::zone::Zone;
use crate::facts::dns::{DnsFacts, Reply, Soa};
use crate::facts::observation::{Arm, Failure, Observation, ObservationId, Outcome, Target};
use crate::facts::topology::{Topology, VantageName};
use crate::world::symptom::Symptom;

/// Extended errors (RFC 8914, section 4): what signatures or keys lack.
const NOT_VALID: [u16; 8] = [5, 6, 7, 8, 9, 10, 11, 12];
/// Signature expired, signature not yet valid.
const OUT_OF_TIME: [u16; 2] = [7, 8];
/// Forged answer, blocked, censored, filtered: withheld on purpose.
const WITHHELD: [u16; 4] = [4, 15, 16, 17];
/// Other error, cached error: they do not tell why.
const SAY_NOTHING: [u16; 2] = [0, 13];

/// A question that fails once in so many times where the other does not, and so often at least, is not
/// lost by chance.
const FAILS_ONE_IN: usize = 2;
const FAILS_TIMES: usize = 3;

/// What the window tells about answers of DNS.
pub(crate) struct Dns {
    /// What an observation is a sign of, where that is not what its failure says.
    signs: BTreeMap<ObservationId, Symptom>,
    /// Resolvers that have been seen to check the zone's signatures.
    validators: BTreeSet<SocketAddr>,
    /// Answers that came from caches and are no evidence of their own.
    repeats: BTreeSet<ObservationId>,
    /// For how many seconds more a resolver's last negative answer may be kept.
    kept: BTreeMap<SocketAddr, u32>,
}

/// What is known of those who are asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    /// It is a resolver that checks signatures.
    pub(crate) validates: bool,
    /// It is a resolver whose last answer was negative, and may be kept for so many seconds.
    pub(crate) kept: Option<u32>,
}

/// One answer, or the lack of it.
#[derive(Clone, Copy)]
struct Told<'a> {
    observation: &'a Observation,
    /// `None` where nothing came.
    facts: Option<&'a DnsFacts>,
    failure: Option<Failure>,
}

impl Dns {
    /// Compares every answer with the others. `dead` are addresses that serve nobody.
    pub(crate) fn new(
        topology: &Topology,
        observations: &[&Observation],
        dead: &BTreeSet<IpAddr>,
    ) -> Self {
        let mut resolvers: BTreeMap<SocketAddr, Vec<Told<'_>>> = BTreeMap::new();
        let mut servers: Vec<(&str, Told<'_>)> = Vec::new();
        for observation in observations {
            let told = Told::of(observation);
            match &observation.arm.target {
                Target::Resolver { server } => resolvers.entry(*server).or_default().push(told),
                Target::NameServer { name, .. } => servers.push((name, told)),
                Target::Edge { .. } | Target::Vip { .. } | Target::Backend { .. } => {}
            }
        }
        for told in resolvers.values_mut() {
            told.sort_by_key(|t| t.at());
        }
        servers.sort_by_key(|(_, t)| t.at());
        let zone = Zone::new(&servers);
        let mut dns = Self {
            signs: BTreeMap::new(),
            validators: BTreeSet::new(),
            repeats: BTreeSet::new(),
            kept: BTreeMap::new(),
        };
        for (server, told) in &resolvers {
            dns.read_resolver(*server, told, &zone, dead);
            let astray = told.iter().filter(|one| one.is_led_elsewhere(topology));
            let signs = astray.map(|one| (one.id(), Symptom::SearchedElsewhere));
            for (id, sign) in signs.collect::<Vec<_>>() {
                dns.signs.entry(id).or_insert(sign);
            }
        }
        let checked = !dns.validators.is_empty();
        for (name, told) in &servers {
            let left = topology.zone.as_ref().is_some_and(|z| z.has_left(name));
            let sign = zone.sign(*told, dead, checked, left);
            dns.signs.extend(sign.map(|s| (told.id(), s)));
        }
        let wrong = observations.iter().filter(|o| {
            let sign = dns.signs.get(&o.id);
            sign.is_some_and(|s| matches!(s, Symptom::DnsBogus | Symptom::DnsExpired))
        });
        let disagree = observations
            .iter()
            .filter(|o| addresses::disagrees(o, dead));
        if let Some(while_so) = addresses::about(disagree) {
            dns.repeats = addresses::repeated(observations, &while_so, |_| true);
        } else if let Some(while_so) = addresses::about(wrong) {
            dns.repeats = addresses::repeated(observations, &while_so, |facts| facts.authentic);
        }
        let all = resolvers.into_values().flatten();
        dns.read_aaaa(all.chain(servers.into_iter().map(|(_, told)| told)));
        dns
    }

    /// What an observation is a sign of, where its failure does not say it.
    pub(crate) fn sign(&self, observation: &Observation) -> Option<Symptom> {
        self.signs.get(&observation.id).copied()
    }

    /// Whether a resolver's answer is one that it has given before, from its cache, while name servers
    /// disagree or another resolver finds the zone's signatures wrong: what it had been told by whom, and
    /// when, is the chance of one question, however often it is told.
    pub(crate) fn repeated(&self, observation: &Observation) -> bool {
        self.repeats.contains(&observation.id)
    }

    /// What is known of who is asked.
    pub(crate) fn asked(&self, arm: &Arm) -> Asked {
        match &arm.target {
            Target::Resolver { server } => Asked {
                validates: self.validators.contains(server),
                kept: self.kept.get(server).copied(),
            },
            Target::NameServer { .. }
            | Target::Edge { .. }
            | Target::Vip { .. }
            | Target::Backend { .. } => Asked::default(),
        }
    }

    fn read_resolver(
        &mut self,
        server: SocketAddr,
        told: &[Told<'_>],
        zone: &Zone<'_>,
        dead: &BTreeSet<IpAddr>,
    ) {
        for (place, one) in told.iter().enumerate() {
            let sign = if fails_the_check(told, place) {
                self.validators.insert(server);
                let over = one.says(&OUT_OF_TIME) || zone.out_of_time;
                Some(if over {
                    Symptom::DnsExpired
                } else {
                    Symptom::DnsBogus
                })
            } else if one.is_withheld(zone) {
                Some(Symptom::DnsFiltered)
            } else if one.holds(dead) {
                Some(Symptom::WrongAnswer)
            } else {
                one.lacks_a(zone).then_some(Symptom::DnsNoData)
            };
            self.signs.extend(sign.map(|s| (one.id(), s)));
            if one.facts.is_some_and(|facts| facts.authentic) {
                self.validators.insert(server);
            }
        }
        let last = told.iter().rev().find(|one| one.facts.is_some());
        let negative = last.filter(|one| one.is_negative() || one.lacks_a(zone));
        let soa = negative.and_then(|one| one.facts?.soa.as_ref());
        self.kept.extend(soa.map(|soa| (server, soa.negative_ttl)));
    }

    /// Questions for AAAA that go unanswered far more often than those for A, by vantage point and arm.
    fn read_aaaa<'a>(&mut self, all: impl Iterator<Item = Told<'a>>) {
        let mut by_arm: BTreeMap<(&VantageName, &Arm), Vec<Told<'a>>> = BTreeMap::new();
        for told in all {
            let place = (told.observation.vantage(), &told.observation.arm);
            by_arm.entry(place).or_default().push(told);
        }
        for told in by_arm.values() {
            let unanswered = told.iter().filter(|t| t.leaves_aaaa_unanswered());
            let unanswered: Vec<&Told<'_>> = unanswered.collect();
            let asked = told.iter().filter(|t| t.aaaa().is_some()).count();
            let silent = told.iter().filter(|t| t.facts.is_none()).count();
            if unanswered.len() >= FAILS_TIMES
                && unanswered.len() * FAILS_ONE_IN >= asked
                && silent * FAILS_TIMES <= unanswered.len()
            {
                for one in unanswered {
                    self.signs.entry(one.id()).or_insert(Symptom::AaaaFails);
                }
            }
        }
    }
}

impl<'a> Told<'a> {
    fn of(observation: &'a Observation) -> Self {
        Self {
            observation,
            facts: observation.facts.dns.as_ref(),
            failure: match &observation.outcome {
                Outcome::Failed { failure, .. } => Some(*failure),
                Outcome::Passed | Outcome::NotFired => None,
            },
        }
    }

    fn at(&self) -> u64 {
        self.observation.scheduled_us
    }

    fn id(&self) -> ObservationId {
        self.observation.id.clone()
    }

    /// Whether an extended error is one of some.
    fn says(&self, codes: &[u16]) -> bool {
        let mut said = self.facts.iter().flat_map(|facts| &facts.extended);
        said.any(|code| codes.contains(code))
    }

    fn is_negative(&self) -> bool {
        matches!(
            self.failure,
            Some(Failure::DnsNxdomain | Failure::DnsNoData)
        )
    }

    /// Whether a resolver failed and, asked again with checking disabled, did not.
    fn passes_unchecked(&self) -> bool {
        let again = self.facts.and_then(|facts| facts.unchecked.as_ref());
        self.failure == Some(Failure::DnsServfail)
            && again.is_some_and(|again| matches!(again.reply, Reply::Addresses(_)))
    }

    /// Whether a resolver's operator keeps the name from its users: it says so, or speaks for a zone
    /// of its own making, or gives the address of nobody.
    fn is_withheld(&self, zone: &Zone<'_>) -> bool {
        let Some(facts) = self.facts else {
            return false;
        };
        let elsewhere = |soa: &Soa| zone.name.is_some_and(|name| !is_above(&soa.zone, name));
        let made_up = self.is_negative() && facts.soa.as_ref().is_some_and(elsewhere);
        let nobody = |ip: IpAddr| ip.is_unspecified();
        let nobodys =
            self.failure.is_none() && facts.held().all(nobody) && !facts.addresses.is_empty();
        let refused = self.failure == Some(Failure::DnsRefused);
        let said = self.says(&WITHHELD) && (!refused || self.says(&WITHHELD[1..]));
        said || made_up || nobodys
    }

    fn holds(&self, dead: &BTreeSet<IpAddr>) -> bool {
        self.facts
            .is_some_and(|facts| facts.held().any(|ip| dead.contains(&ip)))
    }

    /// Whether the host's search list leads its programs to none of the service's addresses.
    fn is_led_elsewhere(&self, topology: &Topology) -> bool {
        let Some((facts, searched)) = self.facts.and_then(|f| Some((f, f.searched.as_ref()?)))
        else {
            return false;
        };
        let public = || topology.edges.iter().chain(&topology.vips);
        let is_own = |ip: &IpAddr| {
            facts.held().any(|held| held == *ip) || public().any(|own| own.ip() == *ip)
        };
        let given = searched.again.reply.addresses();
        self.failure.is_none() && !given.is_empty() && !given.iter().any(is_own)
    }

    /// Whether it gives IPv6 addresses alone, where name servers have others as well.
    fn lacks_a(&self, zone: &Zone<'_>) -> bool {
        let v4 = |facts: &DnsFacts| facts.held().any(|ip| ip.is_ipv4());
        self.failure.is_none() && zone.has_a && self.facts.is_some_and(|facts| !v4(facts))
    }

    fn aaaa(&self) -> Option<&'a Reply> {
        let again = self.facts?.aaaa.as_ref()?;
        self.failure.is_none().then_some(&again.reply)
    }

    fn leaves_aaaa_unanswered(&self) -> bool {
        matches!(
            self.aaaa(),
            Some(Reply::Failed(Failure::DnsTimeout | Failure::DnsServfail))
        )
    }
}

/// Whether a resolver's answer in its row of answers means that signatures or keys were found wrong. An
/// extended error says so. Where it says nothing, the same question passes with checking disabled, and
/// not once by chance: so does the one before it or after it.
fn fails_the_check(told: &[Told<'_>], place: usize) -> bool {
    let one = &told[place];
    if one.failure != Some(Failure::DnsServfail) {
        return false;
    }
    if one.says(&NOT_VALID) {
        return true;
    }
    let silent = |one: &Told<'_>| {
        let mut codes = one.facts.iter().flat_map(|facts| &facts.extended);
        codes.all(|code| SAY_NOTHING.contains(code))
    };
    let near = [place.checked_sub(1), place.checked_add(1)];
    let mut near = near.into_iter().flatten().filter_map(|p| told.get(p));
    silent(one)
        && one.passes_unchecked()
        && near.any(|other| other.passes_unchecked() && (silent(other) || other.says(&NOT_VALID)))
}

/// Whether a zone is another one or encloses it.
fn is_above(zone: &str, name: &str) -> bool {
    let rest = name.strip_suffix(zone);
    zone.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_encloses_what_ends_in_its_name() {
        let rows = [
            ("shop.example", "shop.example", true),
            ("example", "shop.example", true),
            ("", "shop.example", true),
            ("op.example", "shop.example", false),
            ("a.shop.example", "shop.example", false),
            ("filter.test", "shop.example", false),
        ];
        for (zone, name, above) in rows {
            assert_eq!(is_above(zone, name), above, "{zone:?} {name:?}");
        }
    }
}
