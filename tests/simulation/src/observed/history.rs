//! What goes wrong in the hour before a question, and what is wrong at its instant.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::course::{self, Course, Pattern};
use super::modes::{MODES, Mode, SORTS, Sort, Way};
use super::site::{Balancing, Declared, Extent, Place, Site};
use crate::fault::log_uniform;

/// A second, in microseconds.
pub const SECOND: u64 = 1_000_000;
/// The hour before the question.
const HOUR: u64 = 3600 * SECOND;

/// A part that fails, how and when.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The part.
    pub place: Place,
    /// Its mode.
    pub mode: &'static Mode,
    /// What it does each time.
    pub way: Way,
    /// Share of those that it strikes of those that meet it while it is on.
    pub rate: f64,
    /// Milliseconds that late answers are late by.
    pub late_ms: f64,
    /// When it is on.
    pub course: Course,
    /// What met it.
    pub met: Met,
}

/// What met a fault, of the probes of a localisation and of those looked back at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Probes that it struck so that it showed: as a failure, another answer, or a delay.
    pub struck: u32,
    /// Probes that crossed it while it lasted.
    pub crossed: u32,
    /// Probes that crossed it since it last struck one.
    pub spared: u32,
    /// The last time that something crossed it.
    pub last_us: u64,
}

impl Fault {
    /// Whether every one that meets it is struck, all the time.
    #[must_use]
    pub fn is_hard(&self) -> bool {
        self.rate >= 1.0 && self.course.pattern == Pattern::Steady
    }
}

/// Draws what is wrong at `asked_us` and what was within the hour before.
#[must_use]
pub fn draw(rng: &mut StdRng, site: &Site, asked_us: u64) -> Vec<Fault> {
    let mut faults = Vec::new();
    if rng.random_bool(0.6) {
        past(rng, site, asked_us, &mut faults);
    }
    let now = match rng.random::<f64>() {
        x if x < 0.25 => 0,
        x if x < 0.75 => 1,
        x if x < 0.93 => 2,
        _ => 3,
    };
    let over = faults.len();
    for _ in 0..now {
        let again = faults[..over].choose(rng).map(|fault| fault.place);
        let place = match again.filter(|_| rng.random_bool(0.35)) {
            Some(place) => place,
            None => place(rng, site),
        };
        let taken = |fault: &Fault| fault.place == place && fault.course.lasts(asked_us);
        if faults.iter().any(taken) {
            continue;
        }
        let Some(mut fault) = fault(rng, site, place, Course::steady(0, u64::MAX)) else {
            continue;
        };
        let from = asked_us - since(rng, fault.rate);
        // What failed before had been mended by then.
        let ended = faults
            .iter()
            .filter(|f| f.place == place && f.course.to_us < asked_us);
        let mended = ended.map(|f| f.course.to_us).max().unwrap_or(0);
        fault.course.from_us = from.max(mended + SECOND).min(asked_us);
        with_pattern(rng, &mut fault, asked_us);
        faults.push(fault);
    }
    faults
}

/// One to six faults that are over, one after the other, backwards from the last.
fn past(rng: &mut StdRng, site: &Site, asked_us: u64, faults: &mut Vec<Fault>) {
    let gap = match rng.random::<f64>() {
        x if x < 0.4 => rng.random_range(3..30),
        x if x < 0.7 => rng.random_range(30..300),
        _ => rng.random_range(300..2400),
    };
    let mut end = asked_us - gap * SECOND;
    for _ in 0..rng.random_range(1..=6) {
        let from = end - rng.random_range(10..120) * SECOND;
        if from + HOUR < asked_us {
            return;
        }
        let again = faults.choose(rng).map(|fault| fault.place);
        let first = match again.filter(|_| rng.random_bool(0.4)) {
            Some(place) => place,
            None => place(rng, site),
        };
        let course = Course::steady(from, end);
        if let Some(one) = fault(rng, site, first, course.clone()) {
            // Partly everything of a kind fails at once.
            if rng.random_bool(0.15) {
                let others = places(site, first.sort());
                let others = others.into_iter().filter(|other| *other != first);
                faults.extend(
                    others
                        .filter(|p| one.mode.fits(site, *p))
                        .map(|place| Fault {
                            place,
                            ..one.clone()
                        }),
                );
            }
            faults.push(one);
        }
        end = from - rng.random_range(5..90) * SECOND;
    }
}

/// How long a fault has been there when somebody asks: of rare ones people learn later.
fn since(rng: &mut StdRng, rate: f64) -> u64 {
    let seconds = match rng.random::<f64>() {
        _ if rate < 0.1 => rng.random_range(60..2400),
        x if x < 0.3 => rng.random_range(1..10),
        x if x < 0.7 => rng.random_range(10..300),
        x if x < 0.9 => rng.random_range(300..900),
        _ => rng.random_range(900..2400),
    };
    seconds * SECOND
}

/// One in ten comes and goes.
fn with_pattern(rng: &mut StdRng, fault: &mut Fault, asked_us: u64) {
    if rng.random_bool(0.9) {
        return;
    }
    fault.rate = if rng.random_bool(0.7) {
        1.0
    } else {
        rng.random_range(0.3..0.9)
    };
    // Whoever asks has met it a few times.
    fault.course.from_us = fault.course.from_us.min(asked_us - 240 * SECOND);
    fault.course.pattern = match rng.random_range(0..3) {
        0 => course::bursts(rng, fault.course.from_us, asked_us + 120 * SECOND),
        1 => Pattern::Periodic {
            every_us: 30 * SECOND,
            for_us: 2 * SECOND,
        },
        _ => Pattern::Periodic {
            every_us: 60 * SECOND,
            for_us: rng.random_range(2..6) * SECOND,
        },
    };
}

/// 35 of 90 hard, 35 between a tenth and 0.6, 20 rare.
fn rate(rng: &mut StdRng) -> f64 {
    match rng.random::<f64>() * 0.9 {
        x if x < 0.35 => 1.0,
        x if x < 0.7 => rng.random_range(0.1..0.6),
        _ => log_uniform(rng, 0.02, 0.1),
    }
}

/// Every place that can fail with every way in which it can, and how probable each is to be drawn.
#[must_use]
pub fn every(site: &Site) -> Vec<(Place, &'static Mode, Way, f64)> {
    let sorts = SORTS
        .iter()
        .map(|(sort, share)| (places(site, *sort), *share));
    let sorts: Vec<(Vec<Place>, f64)> = sorts.filter(|(places, _)| !places.is_empty()).collect();
    let shares: f64 = sorts.iter().map(|(_, share)| share).sum();
    let mut all = Vec::new();
    for (places, share) in sorts {
        for place in &places {
            let fitting = || MODES.iter().filter(|mode| mode.fits(site, *place));
            let of_modes: f64 = fitting().map(|mode| mode.share).sum();
            for mode in fitting() {
                let each = share / shares / places.len() as f64 * mode.share / of_modes;
                let ways = mode.ways.iter();
                all.extend(ways.map(|way| (*place, mode, *way, each / mode.ways.len() as f64)));
            }
        }
    }
    all
}

/// A fault of a place, in one of the modes that it can have.
pub fn fault(rng: &mut StdRng, site: &Site, place: Place, course: Course) -> Option<Fault> {
    let fitting: Vec<&'static Mode> = MODES.iter().filter(|m| m.fits(site, place)).collect();
    let mode = *fitting.choose_weighted(rng, |mode| mode.share).ok()?;
    Some(Fault {
        place,
        mode,
        way: mode.ways.choose(rng)?,
        rate: rate(rng),
        late_ms: log_uniform(rng, 400.0, 5_000.0),
        course,
        met: Met::default(),
    })
}

fn place(rng: &mut StdRng, site: &Site) -> Place {
    let sorts = SORTS
        .iter()
        .map(|(sort, share)| (places(site, *sort), *share));
    let sorts: Vec<(Vec<Place>, f64)> = sorts.filter(|(places, _)| !places.is_empty()).collect();
    let chosen = sorts.choose_weighted(rng, |(_, share)| *share).ok();
    // Every site has a vantage point.
    chosen
        .and_then(|(places, _)| places.choose(rng).copied())
        .unwrap_or(Place::Access(0))
}

/// Every place of a sort.
#[must_use]
pub fn places(site: &Site, sort: Sort) -> Vec<Place> {
    let several = |count: usize, all: Place| (count > 1).then_some(all);
    match sort {
        Sort::Access => (0..site.vantages.len())
            .filter(|v| !site.on_balancer(*v) && site.on_backend(*v).is_none())
            .map(Place::Access)
            .collect(),
        Sort::Resolver => (0..site.resolvers.len())
            .filter(|r| site.vantages.iter().any(|v| v.resolvers.contains(r)))
            .map(Place::Resolver)
            .collect(),
        Sort::NameServer => (0..site.name_servers.len())
            .map(Place::NameServer)
            .collect(),
        Sort::Cdn => (0..site.edges.len())
            .map(Place::Edge)
            .chain(several(site.edges.len(), Place::Provider))
            .collect(),
        Sort::OriginPath => (0..site.edges.len())
            .map(|e| Place::OriginPath(e, 0))
            .chain(several(site.edges.len(), Place::OriginPaths))
            .collect(),
        Sort::Balancer => (0..site.vips.len())
            .map(Place::Balancer)
            .chain(several(site.vips.len(), Place::Machine))
            .collect(),
        Sort::Toward if site.balancing == Balancing::Proxied => {
            (0..site.backends.len()).map(Place::Toward).collect()
        }
        Sort::Toward => Vec::new(),
        Sort::LbPath => (0..site.backends.len()).map(Place::LbPath).collect(),
        Sort::Shared => several(site.backends.len(), Place::Shared)
            .into_iter()
            .collect(),
        Sort::Backend => (0..site.backends.len()).map(Place::Backend).collect(),
        Sort::Return => (0..site.backends.len())
            .flat_map(|b| returns(site, b))
            .collect(),
    }
}

fn returns(site: &Site, backend: usize) -> Vec<Place> {
    let mut extents = vec![Extent::Everywhere];
    match site.balancing {
        Balancing::Proxied | Balancing::Translated => extents.push(Extent::ToBalancer),
        Balancing::Forwarded | Balancing::Direct => {
            extents.extend(site.edges.iter().map(|edge| Extent::One(edge.ip())));
        }
    }
    if site.declared >= Declared::Backends {
        let inside = site
            .vantages
            .iter()
            .filter(|v| v.to_site_ms < v.to_edges_ms);
        let others = inside.filter(|v| v.point.host.is_none());
        let sources = others.flat_map(|v| v.point.addresses.iter());
        extents.extend(sources.map(|source| Extent::One(*source)));
        if site.balancer_addresses.len() > 1 {
            extents.extend(site.balancer_addresses.iter().map(|own| Extent::One(*own)));
        }
    }
    extents
        .into_iter()
        .map(|extent| Place::Return(backend, extent))
        .collect()
}
