//! What is nobody's fault: jitter, background losses and errors, and machines that are late in bursts.

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

use super::history::SECOND;
use super::site::{Extent, Place, Site};
use crate::fault::log_uniform;

/// A stretch in which a machine is late: from, to, and by how much on average in microseconds.
type Busy = (u64, u64, f64);

/// What is usual at a site.
#[derive(Clone, Debug)]
pub(crate) struct Noise {
    loss: BTreeMap<Place, f64>,
    /// Share of a backend's answers that are 500.
    errors: Vec<f64>,
    /// Share of a backend's answers that are late.
    late: Vec<f64>,
    /// Round trip from an edge to the site, in microseconds.
    pub(crate) edge_rtt_us: Vec<f64>,
    busy: Vec<Vec<Busy>>,
    /// Scatter of the logarithm of times, by vantage point.
    pub(crate) scatter: Vec<f64>,
}

impl Noise {
    pub(crate) fn draw(rng: &mut StdRng, site: &Site, from_us: u64, to_us: u64) -> Self {
        let mut loss = BTreeMap::new();
        for v in 0..site.vantages.len() {
            let near = site.vantages[v].to_site_ms < site.vantages[v].to_edges_ms;
            let most = if near { 2e-4 } else { 2e-3 };
            loss.insert(Place::Access(v), log_uniform(rng, 1e-5, most));
        }
        let elsewhere = (0..site.edges.len())
            .flat_map(|e| {
                let paths = (0..site.vips.len()).map(move |v| Place::OriginPath(e, v));
                paths.chain([Place::Edge(e)])
            })
            .chain((0..site.vips.len()).map(Place::Balancer))
            .chain((0..site.backends.len()).flat_map(|b| {
                [
                    Place::LbPath(b),
                    Place::Backend(b),
                    Place::Return(b, Extent::Everywhere),
                ]
            }));
        for place in elsewhere {
            loss.insert(place, log_uniform(rng, 1e-6, 1e-4));
        }
        let servers = site.backends.len().max(1);
        let busy = site.vantages.iter().map(|_| bursts(rng, from_us, to_us));
        Self {
            loss,
            busy: busy.collect(),
            errors: (0..servers).map(|_| log_uniform(rng, 1e-6, 3e-4)).collect(),
            late: (0..servers).map(|_| log_uniform(rng, 1e-5, 2e-3)).collect(),
            edge_rtt_us: site
                .edges
                .iter()
                .map(|_| rng.random_range(2e3..30e3))
                .collect(),
            scatter: site
                .vantages
                .iter()
                .map(|_| rng.random_range(0.05..0.3))
                .collect(),
        }
    }

    /// Share of the packets that are lost at a place.
    pub(crate) fn loss(&self, place: Place) -> f64 {
        let place = if let Place::Return(b, _) = place {
            Place::Return(b, Extent::Everywhere)
        } else {
            place
        };
        self.loss.get(&place).copied().unwrap_or(0.0)
    }

    /// Share of errors and of late answers among the answers of a server.
    pub(crate) fn server(&self, place: usize) -> (f64, f64) {
        (self.errors[place], self.late[place])
    }

    /// By how much a vantage point's machine is late for a step, in microseconds.
    pub(crate) fn busy_us(&self, rng: &mut StdRng, vantage: usize, at_us: u64) -> u64 {
        let now = self.busy[vantage]
            .iter()
            .find(|(from, to, _)| (*from..*to).contains(&at_us));
        match now {
            Some((_, _, mean)) if rng.random_bool(0.85) => micros(exponential(rng, *mean)),
            Some(_) | None => 0,
        }
    }
}

/// Bursts of half a second to five seconds, every five minutes to never, on a machine that is late by 20 to
/// 500 ms in them.
fn bursts(rng: &mut StdRng, from_us: u64, to_us: u64) -> Vec<Busy> {
    let mean_s = log_uniform(rng, 200.0, 10_000.0);
    let late = log_uniform(rng, 20e3, 500e3);
    let mut all = Vec::new();
    let mut at = from_us;
    loop {
        at += micros(exponential(rng, mean_s * 1e6));
        if at >= to_us {
            return all;
        }
        let end = at + rng.random_range(SECOND / 2..5 * SECOND);
        all.push((at, end, late));
        at = end;
    }
}

/// An exponential with this mean.
pub(crate) fn exponential(rng: &mut StdRng, mean: f64) -> f64 {
    -mean * (1.0 - rng.random::<f64>()).ln()
}

/// A normal deviate (Box and Muller, 1958).
pub(crate) fn normal(rng: &mut StdRng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// Whole microseconds of a time that is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float's conversion saturates, and times are far below that"
)]
pub(crate) fn micros(time: f64) -> u64 {
    time as u64
}
