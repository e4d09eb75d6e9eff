//! How a balancer is seen to choose: anew for every request, or the same backend for hours.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::facts::observation::Target;
use crate::facts::topology::VantageName;
use crate::reading::cells::{Key, Trial};

/// In so many steps it is said how much a choice is the one before.
pub(crate) const STEPS: u8 = 4;

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

/// Says of each probe how much of what it tells of whom the balancer chose was told by the one before it: of a
/// balancer that draws or takes turns nothing, of one that keeps its clients (sticky, by the source's address,
/// an edge's kept connections) all but the first time. `backends` are to choose from.
pub(crate) fn tell_kept(by_cell: &mut BTreeMap<Key, Vec<Trial>>, backends: usize) {
    if backends < 2 {
        return;
    }
    let mut clients: BTreeMap<Client<'_>, Vec<Request>> = BTreeMap::new();
    for (cell, ((vantage, arm, _), trials)) in by_cell.iter().enumerate() {
        if trials.iter().all(|trial| trial.served_by.is_none()) {
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
    let kept: Vec<((usize, usize), u8)> = kept.collect();
    let mut cells: Vec<&mut Vec<Trial>> = by_cell.values_mut().collect();
    for ((cell, number), kept) in kept {
        let trial = cells.get_mut(cell).and_then(|cell| cell.get_mut(number));
        if let Some(trial) = trial {
            trial.kept = trial.kept.max(kept);
        }
    }
}

/// How probable it is that each of one client's requests went where the one before it did because of that.
fn kept(requests: &[Request], backends: usize) -> Vec<((usize, usize), u8)> {
    let by_lot = 1.0 / backends as f64;
    let told = requests.iter().filter_map(|r| Some((r.at, r.served_by?)));
    let told: Vec<(u64, usize)> = told.collect();
    let sticky = [false, true].map(|close| stickiness(&told, close, by_lot));
    let mut before: Option<(u64, usize)> = None;
    let mut all = Vec::new();
    for request in requests {
        if let Some((at, by)) = before {
            let sticky = sticky[usize::from(is_close(at, request.at))];
            let kept = match request.served_by {
                Some(now) if now != by => 0.0,
                Some(_) => sticky / (sticky + (1.0 - sticky) * by_lot),
                None => sticky,
            };
            all.push((request.place, libm::round(kept * f64::from(STEPS)) as u8));
        }
        before = request.served_by.map(|by| (request.at, by)).or(before);
    }
    all
}

fn is_close(before: u64, at: u64) -> bool {
    at <= before + CLOSE_US
}

/// How much more often than by lot a request is served by whom the one before was, in 0 to 1, where they follow
/// closely or do not. 1 where that was never seen.
fn stickiness(told: &[(u64, usize)], close: bool, by_lot: f64) -> f64 {
    let pairs = told
        .windows(2)
        .filter(|two| is_close(two[0].0, two[1].0) == close);
    let (mut same, mut all) = (1.0, 1.0);
    for two in pairs {
        same += f64::from(u8::from(two[0].1 == two[1].1));
        all += 1.0;
    }
    ((same / all - by_lot) / (1.0 - by_lot)).clamp(0.0, 1.0)
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

    fn share(requests: &[Request]) -> f64 {
        let kept = kept(requests, 3);
        let sum: u32 = kept.iter().map(|(_, kept)| u32::from(*kept)).sum();
        f64::from(sum) / (kept.len() as f64 * f64::from(STEPS))
    }

    #[test]
    fn who_takes_turns_keeps_nobody_and_who_hashes_keeps_all() {
        assert_eq!(share(&requests(10, (0..60).map(|n| n % 3))), 0.0);
        assert_eq!(share(&requests(10, [1; 60])), 1.0);
        let now_and_then = share(&requests(10, (0..60).map(|n| n / 20)));
        assert!((0.9..1.0).contains(&now_and_then), "{now_and_then}");
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
        let of = |in_burst: bool| {
            let kept = kept.iter().filter(|((_, n), _)| (*n > 100) == in_burst);
            kept.map(|(_, kept)| *kept).collect::<Vec<u8>>()
        };
        assert_eq!(of(true), [STEPS; 8]);
        assert!(of(false).iter().all(|kept| *kept == 0), "{:?}", of(false));
    }
}
