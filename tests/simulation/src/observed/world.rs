//! A site in time: what its parts do to whoever meets them.

use std::net::SocketAddr;

use localize::{FlowSighting, Layer, Micros, Step};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::history::{Fault, SECOND};
use super::modes::{Effect, Stage};
use super::noise::{Noise, micros, normal};
use super::site::{Check, Extent, Place, Site};
use super::wire::{Host, Leg, Page, Served, Terms};

/// What a balancer makes of its checks of a backend.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    out: bool,
    /// Checks in a row that speak against that.
    against: u32,
}

/// Failed checks until a backend is out, and passed ones until it is back.
const FALL: u32 = 3;
const RISE: u32 = 2;

/// A delay shows from here on.
const SHOWS_US: u64 = 150_000;

/// What resolvers keep, and until when.
#[derive(Clone, Debug)]
pub(crate) struct Kept<T> {
    pub(crate) until_us: u64,
    pub(crate) what: T,
}

/// A site with its faults.
pub struct World {
    /// The site.
    pub site: Site,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    pub(crate) noise: Noise,
    pub(crate) rng: StdRng,
    /// The instant, in microseconds of mesh time.
    pub(crate) clock_us: u64,
    /// What faults meet is counted.
    pub(crate) counting: bool,
    /// The faults that the probe under way has crossed, and which of them have struck.
    crossed: Vec<(usize, bool)>,
    /// By how much they have made it later, in microseconds.
    late_us: u64,
    health: Vec<Health>,
    checked_us: u64,
    turn: usize,
    pub(crate) edge_caches: Vec<Option<Kept<Page>>>,
    pub(crate) resolver_caches: Vec<Option<Kept<bool>>>,
    pub(crate) port: u16,
    /// By vantage point.
    pub(crate) sequences: Vec<u64>,
    /// What witnesses have seen, by vantage point, not yet reported.
    pub(crate) sighted: Vec<(usize, u64, FlowSighting)>,
    /// An answer held the former address.
    pub former: bool,
}

impl World {
    /// Puts a site into time, from an instant on to another.
    #[must_use]
    pub fn new(site: Site, faults: Vec<Fault>, seed: u64, from_us: u64, to_us: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let noise = Noise::draw(&mut rng, &site, from_us, to_us);
        Self {
            noise,
            rng,
            clock_us: from_us,
            counting: false,
            crossed: Vec::new(),
            late_us: 0,
            health: vec![Health::default(); site.backends.len()],
            checked_us: from_us,
            turn: 0,
            edge_caches: vec![None; site.edges.len()],
            resolver_caches: vec![None; site.resolvers.len()],
            port: 20_000,
            sequences: vec![0; site.vantages.len()],
            sighted: Vec::new(),
            former: false,
            faults,
            site,
        }
    }

    /// Whether a chance comes true.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.random::<f64>() < probability
    }

    /// Time goes by.
    pub(crate) fn pass(&mut self, us: f64) {
        self.clock_us += micros(us);
    }

    /// A time that scatters: log-normal, and now and then a few times as long.
    pub(crate) fn scattered(&mut self, us: f64, scatter: f64) -> f64 {
        let usual = us * (scatter * normal(&mut self.rng)).exp();
        if self.chance(0.003) {
            usual * self.rng.random_range(2.0..6.0)
        } else {
            usual
        }
    }

    /// What a place does to whoever meets it there at this stage, with the milliseconds of what is late.
    pub(crate) fn meet(&mut self, place: Place, stage: Stage) -> Option<(Effect, f64)> {
        for index in 0..self.faults.len() {
            let fault = &self.faults[index];
            if !self.covers(fault.place, place) {
                continue;
            }
            let way = fault.way;
            let weight: f64 = effects(way, stage).map(|(_, weight)| weight).sum();
            if weight <= 0.0 {
                continue;
            }
            let (rate, late_ms) = (fault.rate, fault.late_ms);
            let on = fault.course.is_on(self.clock_us);
            let struck = on && self.chance(rate);
            self.note(index, struck);
            if struck {
                return Some((self.one_of(way, stage, weight), late_ms));
            }
        }
        None
    }

    fn note(&mut self, index: usize, struck: bool) {
        match self.crossed.iter_mut().find(|(fault, _)| *fault == index) {
            Some((_, before)) => *before |= struck,
            None => self.crossed.push((index, struck)),
        }
    }

    /// A probe has ended: counts what it met, which shows if it went wrong or took long.
    pub(crate) fn note_end(&mut self, wrong: bool) {
        let shows = wrong || self.late_us >= SHOWS_US;
        self.late_us = 0;
        for (index, struck) in std::mem::take(&mut self.crossed) {
            let fault = &mut self.faults[index];
            if !self.counting {
                continue;
            }
            fault.met.last_us = self.clock_us;
            fault.met.crossed += u32::from(fault.course.lasts(self.clock_us));
            if struck && shows {
                fault.met.struck += 1;
                fault.met.spared = 0;
            } else {
                fault.met.spared += 1;
            }
        }
    }

    /// Time goes by that would not have if nothing were wrong.
    pub(crate) fn lose(&mut self, us: f64) {
        self.pass(us);
        self.late_us += micros(us);
    }

    fn one_of(&mut self, way: &'static [(Effect, f64)], stage: Stage, weight: f64) -> Effect {
        let mut left = self.rng.random::<f64>() * weight;
        let mut last = way[0].0;
        for (effect, weight) in effects(way, stage) {
            last = effect;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// Whether a fault's place covers one that is crossed.
    fn covers(&self, fault: Place, crossed: Place) -> bool {
        match (fault, crossed) {
            (Place::Provider, Place::Edge(_))
            | (Place::Machine, Place::Balancer(_))
            | (Place::OriginPaths, Place::OriginPath(..))
            | (Place::Shared, Place::Backend(_)) => true,
            (Place::OriginPath(edge, _), Place::OriginPath(from, _)) => edge == from,
            (Place::Return(from, extent), Place::Return(backend, Extent::One(to))) => {
                from == backend
                    && match extent {
                        Extent::One(one) => one == to,
                        Extent::ToBalancer => self.site.balancer_addresses.contains(&to),
                        Extent::Everywhere => true,
                    }
            }
            (fault, crossed) => fault == crossed,
        }
    }

    /// A packet crosses a place: what becomes of it, if it does not arrive.
    pub(crate) fn packet(&mut self, place: Place) -> Option<Effect> {
        if self.chance(self.noise.loss(place)) {
            return Some(Effect::Loss);
        }
        self.meet(place, Stage::Packet).map(|(effect, _)| effect)
    }

    /// Whether a packet is lost on a way.
    pub(crate) fn is_lost(&mut self, way: &[Place]) -> bool {
        way.iter().any(|place| self.packet(*place).is_some())
    }

    /// The balancer's next backend, other than those tried; `None` when none is in rotation.
    pub(crate) fn next_backend(&mut self, tried: &[usize]) -> Option<usize> {
        let well = (0..self.health.len()).filter(|b| !self.health[*b].out);
        let well: Vec<usize> = well.filter(|b| !tried.contains(b)).collect();
        self.turn += 1 + self.rng.random_range(0..2);
        (!well.is_empty()).then(|| well[self.turn % well.len()])
    }

    /// Nothing was checked before an instant.
    pub(crate) fn begin(&mut self, at_us: u64) {
        self.checked_us = at_us;
    }

    /// Lets the balancer check its backends until an instant.
    pub(crate) fn check_until(&mut self, at_us: u64) {
        let (every_s, request) = match self.site.check {
            Check::Never => return,
            Check::Connects { every_s } => (every_s, false),
            Check::Requests { every_s } => (every_s, true),
        };
        let (clock, counting) = (self.clock_us, self.counting);
        self.counting = false;
        while self.checked_us + every_s * SECOND <= at_us {
            self.checked_us += every_s * SECOND;
            for backend in 0..self.health.len() {
                self.clock_us = self.checked_us;
                let passed = self.check(backend, request);
                let health = &mut self.health[backend];
                health.against = if passed == health.out {
                    health.against + 1
                } else {
                    0
                };
                if health.against >= if health.out { RISE } else { FALL } {
                    *health = Health {
                        out: !health.out,
                        against: 0,
                    };
                }
            }
        }
        self.clock_us = clock;
        self.counting = counting;
    }

    fn check(&mut self, backend: usize, request: bool) -> bool {
        let leg = self.backend_leg(backend);
        let terms = Terms {
            connect_us: 2 * SECOND,
            tls_us: 2 * SECOND,
            answer_us: 2 * SECOND,
            total_us: 2 * SECOND,
            strict: false,
            tls: request && self.site.ends_tls(Place::Backend(backend)),
            request,
        };
        let passed = self.fetch(&leg, &terms).end.is_ok();
        self.note_end(!passed);
        passed
    }

    /// The balancer's way to a backend.
    pub(crate) fn backend_leg(&mut self, backend: usize) -> Leg {
        let addresses = &self.site.balancer_addresses;
        let from = addresses[self.turn % addresses.len()];
        Leg {
            out: vec![Place::Toward(backend), Place::LbPath(backend)],
            host: Host::Backend(backend),
            back: vec![Place::Return(backend, Extent::One(from))],
            rtt_us: 300.0,
            scatter: 0.1,
            local: false,
        }
    }

    /// A server's own answer.
    pub(crate) fn page(&mut self, by: Option<usize>) -> Served {
        let digest = if self.site.varies {
            format!("{:032x}", self.rng.random::<u128>())
        } else {
            "5f0c".repeat(8)
        };
        Ok(Page {
            status: 200,
            bytes: self.site.page_bytes,
            digest,
            by,
            hit: false,
        })
    }

    pub(crate) fn next_port(&mut self, ip: std::net::IpAddr) -> SocketAddr {
        self.port = if self.port >= 60_000 {
            20_000
        } else {
            self.port + 1
        };
        SocketAddr::new(ip, self.port)
    }
}

fn effects(way: &'static [(Effect, f64)], stage: Stage) -> impl Iterator<Item = (Effect, f64)> {
    way.iter()
        .copied()
        .filter(move |(effect, _)| effect.stage() == stage)
}

/// A layer passed.
pub(crate) const fn step(layer: Layer, took_us: u64) -> Step {
    Step {
        layer,
        took: Micros(took_us),
    }
}
