//! How a balancer is seen to choose: anew for every request, or the same backend for hours.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::facts::observation::{Session, Target};
use crate::facts::topology::VantageName;
use crate::reading::cells::{Key, Trial};
use crate::world::path::Alternative;

/// Probabilities in 0 to 1 are kept in so many steps, so that probes stay alike.
const STEPS: u8 = 4;
/// What is taken for so many choices by lot that were not seen.
const UNSEEN: f64 = 2.0;
/// Nobody keeps his clients for ever.
const MOST: f64 = 0.97;

/// Whom a balancer had chosen for a client the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kept {
    /// The backend, by its place in the topology.
    pub(crate) by: usize,
    steps: u8,
}

impl Kept {
    /// `None` where it chooses anew each time.
    fn new(by: usize, sticky: f64) -> Option<Self> {
        let reached = |steps: &u8| sticky * f64::from(STEPS) >= f64::from(*steps) - 0.5;
        let steps = (1..=STEPS).rev().find(reached)?;
        Some(Self { by, steps })
    }

    /// How probable it is that it does not choose anew.
    pub(crate) fn share(self) -> f64 {
        (f64::from(self.steps) / f64::from(STEPS)).min(MOST)
    }
}

/// Requests that follow each other within so many microseconds may leave by a connection that an edge keeps for
/// a moment; those further apart, only by one that it keeps for long.
const CLOSE_US: u64 = 3_000_000;

/// Whose requests a balancer may keep together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Client<'k> {
    /// Everybody's that come by one edge: it has few connections, and keeps them.
    Edge(&'k Target),
    /// Those of one vantage point: it has one address.
    Vantage(&'k VantageName, &'k Target),
}

/// One request: when, where it stands, and who served.
#[derive(Clone, Copy)]
struct Request {
    at: u64,
    place: (usize, usize),
    served_by: Option<usize>,
}

/// Says of each probe whom the balancer had chosen for the one before it, and how probable it is that it kept
/// to that: not of one that draws or takes turns, surely of one that is sticky, goes by the source's address, or
/// has an edge's connections kept. `backends` are to choose from.
pub(crate) fn tell_kept(by_cell: &mut BTreeMap<Key, Vec<Trial>>, backends: usize) {
    if backends < 2 {
        return;
    }
    let mut clients: BTreeMap<Client<'_>, Vec<Request>> = BTreeMap::new();
    for (cell, ((vantage, arm, _), trials)) in by_cell.iter().enumerate() {
        let keeps = arm.traits.session == Session::Kept;
        if keeps || trials.iter().all(|trial| trial.served_by.is_none()) {
            continue;
        }
        let requests = trials.iter().enumerate().map(|(number, trial)| Request {
            at: trial.at,
            place: (cell, number),
            served_by: trial.served_by,
        });
        let requests: Vec<Request> = requests.collect();
        let mut add = |client| clients.entry(client).or_default().extend(&requests);
        add(Client::Vantage(vantage, &arm.target));
        if matches!(arm.target, Target::Edge { .. }) {
            add(Client::Edge(&arm.target));
        }
    }
    let kept = clients.into_values().flat_map(|mut requests| {
        requests.sort_by_key(|request| (request.at, request.place));
        kept(&requests, backends)
    });
    let kept: Vec<((usize, usize), Option<Kept>)> = kept.collect();
    let mut cells: Vec<&mut Vec<Trial>> = by_cell.values_mut().collect();
    let trials = cells.iter_mut().flat_map(|trials| trials.iter_mut());
    trials.for_each(|trial| trial.kept = None);
    for ((cell, number), kept) in kept {
        let trial = cells.get_mut(cell).and_then(|cell| cell.get_mut(number));
        if let Some(trial) = trial {
            let steps = |kept: Option<Kept>| kept.map(|kept| kept.steps);
            if steps(kept) > steps(trial.kept) {
                trial.kept = kept;
            }
        }
    }
}

/// For each of one client's requests whom the one before it was served by.
fn kept(requests: &[Request], backends: usize) -> Vec<((usize, usize), Option<Kept>)> {
    let told = requests.iter().filter_map(|r| Some((r.at, r.served_by?)));
    let told: Vec<(u64, usize)> = told.collect();
    let by_lot = by_lot(&told, backends);
    let sticky = [false, true].map(|close| stickiness(&told, close, by_lot));
    let mut before: Option<(u64, usize)> = None;
    let mut all = Vec::new();
    for request in requests {
        let kept = before.and_then(|(at, by)| {
            let close = is_close(at, request.at);
            Kept::new(by, sticky[usize::from(close)])
        });
        all.push((request.place, kept));
        before = request.served_by.map(|by| (request.at, by)).or(before);
    }
    all
}

fn is_close(before: u64, at: u64) -> bool {
    at <= before + CLOSE_US
}

/// How much more often than by lot one client's requests are served by whom the one before was, in 0 to 1: 1 where
/// that is told too seldom.
pub(crate) fn keeps_to_one(trials: &[Trial], ways: &[Alternative]) -> f64 {
    let backends: BTreeSet<usize> = ways.iter().filter_map(|way| way.backend).collect();
    let told = trials.iter().filter_map(|t| Some((t.at, t.served_by?)));
    let mut told: Vec<(u64, usize)> = told.collect();
    told.sort_by_key(|(at, _)| *at);
    if told.len() < 2 || backends.len() < 2 {
        return 1.0;
    }
    let (same, all) = repeats(&told, |_| true);
    let by_lot = 1.0 / backends.len() as f64;
    ((same / all - by_lot) / (1.0 - by_lot)).clamp(0.0, 1.0)
}

/// How often two requests are served by the same backend where each is drawn from those that serve: some may be
/// out of rotation.
fn by_lot(told: &[(u64, usize)], backends: usize) -> f64 {
    let all = (told.len() + backends) as f64;
    let mut served: BTreeMap<usize, f64> = BTreeMap::new();
    for (_, by) in told {
        *served.entry(*by).or_insert(1.0) += 1.0;
    }
    let unseen = backends.saturating_sub(served.len()) as f64;
    let shares = served.into_values().map(|count| count / all);
    shares.map(|share| share * share).sum::<f64>() + unseen / (all * all)
}

/// How much more often than by lot a request is served by whom the one before was, in 0 to 1, where they follow
/// closely or do not. Nobody is taken to keep anybody before that was seen.
fn stickiness(told: &[(u64, usize)], close: bool, by_lot: f64) -> f64 {
    let (same, all) = repeats(told, |pair| is_close(pair[0].0, pair[1].0) == close);
    ((same - by_lot * all) / ((1.0 - by_lot) * (all + UNSEEN))).clamp(0.0, 1.0)
}

/// Of the pairs of requests that follow each other and are meant: how many were served by the same backend, and
/// how many there are.
fn repeats(told: &[(u64, usize)], meant: impl Fn(&[(u64, usize)]) -> bool) -> (f64, f64) {
    let (mut same, mut all) = (0.0, 0.0);
    for pair in told.windows(2).filter(|pair| meant(pair)) {
        same += f64::from(u8::from(pair[0].1 == pair[1].1));
        all += 1.0;
    }
    (same, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// One client's requests, so many seconds apart.
    fn requests(seconds: u64, by: impl IntoIterator<Item = usize>) -> Vec<Request> {
        let request = |(n, by): (usize, usize)| Request {
            at: n as u64 * seconds * SECOND,
            place: (0, n),
            served_by: Some(by),
        };
        by.into_iter().enumerate().map(request).collect()
    }

    /// The mean probability that a choice was kept.
    fn share(requests: &[Request]) -> f64 {
        let kept = kept(requests, 3);
        let shares = kept.iter().map(|(_, kept)| kept.map_or(0.0, Kept::share));
        shares.sum::<f64>() / (kept.len() - 1) as f64
    }

    #[test]
    fn who_takes_turns_keeps_nobody_and_who_hashes_keeps_all() {
        assert_eq!(share(&requests(10, (0..60).map(|n| n % 3))), 0.0);
        for kept in [
            share(&requests(10, [1; 60])),
            share(&requests(10, (0..60).map(|n| n / 20))),
        ] {
            assert!((0.9..1.0).contains(&kept), "{kept}");
        }
    }

    #[test]
    fn a_connection_that_is_kept_for_a_moment_keeps_what_follows_closely() {
        let mut all = requests(10, (0..30).map(|n| n % 3));
        let last = all.last().map_or(0, |request| request.at);
        let mut burst = requests(1, [2; 9]);
        for request in &mut burst {
            request.at += last + 10 * SECOND;
            request.place.1 += 100;
        }
        all.extend(burst);
        let kept = kept(&all, 3);
        let (before, burst) = kept.split_at(31);
        assert!(before.iter().all(|(_, kept)| kept.is_none()), "{before:?}");
        let to_the_last = |(_, kept): &(_, Option<Kept>)| kept.is_some_and(|k| k.by == 2);
        assert!(burst.iter().all(to_the_last), "{burst:?}");
    }
}
