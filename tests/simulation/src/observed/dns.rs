//! Questions of DNS: name servers, and resolvers that keep what they were told.

use std::net::{IpAddr, SocketAddr};

use localize::{DnsFacts, Facts, Failure, Layer};
use rand::Rng;

use super::history::SECOND;
use super::modes::{Effect, Stage};
use super::probe::Run;
use super::site::Place;
use super::world::{Kept, World, step};

/// For so long agents wait for an answer.
const DNS_US: u64 = 2 * SECOND;
/// For so long resolvers do.
const PATIENCE_US: u64 = 800_000;
/// Seconds for which the zone's records live.
const TTL: u32 = 30;

/// What a question of DNS came to: `true` with the former address.
type Told = Result<bool, Failure>;

impl World {
    pub(crate) fn ask_resolver(&mut self, vantage: usize, server: SocketAddr) -> Run {
        let resolver = self
            .site
            .resolvers
            .iter()
            .position(|r| *r == server)
            .unwrap_or(0);
        let start = self.clock_us;
        let told = self.reach_dns(vantage, Place::Resolver(resolver), 6.0);
        let told = told.and_then(|former| match former {
            true => Ok((true, TTL)),
            false => self.resolve(resolver),
        });
        self.dns_run(start, told)
    }

    pub(crate) fn ask_name_server(&mut self, vantage: usize, name: &str) -> Run {
        let server = self
            .site
            .name_servers
            .iter()
            .position(|s| s.name == name)
            .unwrap_or(0);
        let start = self.clock_us;
        let told = self.reach_dns(vantage, Place::NameServer(server), 15.0);
        self.dns_run(start, told.map(|former| (former, TTL)))
    }

    /// A question to a server and its answer.
    fn reach_dns(&mut self, vantage: usize, server: Place, rtt_ms: f64) -> Told {
        let scatter = self.noise.scatter[vantage];
        let trip = self.scattered(rtt_ms * 1000.0, scatter);
        if let Some(effect) = self.packet(Place::Access(vantage)) {
            if effect == Effect::Unreachable && self.chance(0.5) {
                self.pass(trip);
                return Err(Failure::DnsUnreachable);
            }
            self.clock_us += DNS_US;
            return Err(Failure::DnsTimeout);
        }
        let told = self.at_dns(server);
        self.pass(trip);
        if self.is_lost(&[Place::Access(vantage)]) {
            self.clock_us += DNS_US;
            return Err(Failure::DnsTimeout);
        }
        told
    }

    /// What a server of DNS says by itself: `true` for the former address.
    fn at_dns(&mut self, server: Place) -> Told {
        match self.meet(server, Stage::Dns) {
            Some((Effect::DnsMute, _)) => {
                self.clock_us += DNS_US;
                Err(Failure::DnsTimeout)
            }
            Some((Effect::Dns(failure), _)) => Err(failure),
            Some((Effect::DnsStale, _)) => Ok(true),
            Some((Effect::DnsLate, late_ms)) => {
                self.lose(late_ms * 500.0);
                Ok(false)
            }
            // Servers of DNS do nothing else.
            Some(_) | None => Ok(false),
        }
    }

    /// A resolver answers from its cache or asks the name servers, one after the other.
    fn resolve(&mut self, resolver: usize) -> Result<(bool, u32), Failure> {
        let now = self.clock_us;
        if let Some(kept) = self.resolver_caches[resolver]
            .as_ref()
            .filter(|k| now < k.until_us)
        {
            let left = (kept.until_us - now) / SECOND;
            return Ok((kept.what, u32::try_from(left).unwrap_or(TTL)));
        }
        let count = self.site.name_servers.len();
        let first = self.rng.random_range(0..count);
        let mut answer = Err(Failure::DnsServfail);
        for turn in 0..count {
            let asked = self.clock_us;
            let told = self.at_dns(Place::NameServer((first + turn) % count));
            self.pass(12_000.0);
            // A resolver waits for less long than its clients do.
            if self.clock_us > asked + PATIENCE_US {
                self.clock_us = asked;
                self.lose(PATIENCE_US as f64);
            }
            match told {
                Ok(former) => {
                    answer = Ok((former, TTL));
                    break;
                }
                Err(Failure::DnsNxdomain) => return Err(Failure::DnsNxdomain),
                Err(_) => {}
            }
        }
        if let Ok((former, _)) = answer {
            self.resolver_caches[resolver] = Some(Kept {
                until_us: self.clock_us + u64::from(TTL) * SECOND,
                what: former,
            });
        }
        answer
    }

    fn dns_run(&mut self, start: u64, told: Result<(bool, u32), Failure>) -> Run {
        let took = self.clock_us - start;
        let told = if took >= DNS_US {
            Err(Failure::DnsTimeout)
        } else {
            told
        };
        match told {
            Ok((former, ttl)) => {
                self.former |= former && self.counting;
                let mut addresses: Vec<IpAddr> =
                    self.site.public().iter().map(SocketAddr::ip).collect();
                if former {
                    addresses.push(self.site.former.ip());
                }
                addresses.sort_unstable();
                Run {
                    steps: vec![step(Layer::Dns, took)],
                    end: Ok(()),
                    facts: Facts {
                        dns: Some(DnsFacts {
                            rcode: 0,
                            addresses,
                            authoritative: ttl == TTL,
                            over_tcp: false,
                            ttl: Some(ttl),
                            ..DnsFacts::default()
                        }),
                        ..Facts::default()
                    },
                }
            }
            Err(failure) => Run {
                steps: Vec::new(),
                end: Err((Layer::Dns, failure, took.min(DNS_US))),
                facts: Facts::default(),
            },
        }
    }
}
