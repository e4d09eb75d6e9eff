//! How connections end that were made and not served: whoever accepts and does not answer has a habit, and how long
//! it takes is part of that (a reset at once, silence and then a reset after a limit of its own, a status).

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Scene, remark};
use crate::facts::observation::{Failure, Observation, Outcome, Target};
use crate::facts::time::Micros;
use crate::judgement::verdict::Evidence;
use crate::judgement::words::duration;
use crate::world::mode::Word;
use crate::world::part::What;

/// What comes within this is an answer to the request; what comes later was waited for.
const AT_ONCE: Micros = Micros(1_000_000);
/// Times of which the longest is beyond the shortest by no more than one in so many are the same: a limit that
/// somebody has set, and no application's work.
const SAME: u64 = 10;
/// Fewer of them are the same by chance.
const SOME: usize = 3;

/// A way to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Reset,
    Closed,
    Silent,
    Status(u16),
}

impl Ending {
    /// That of a failure after the request was sent.
    fn of(failure: &Failure) -> Option<Self> {
        if let Failure::HttpStatus(status) | Failure::UnexpectedStatus(status) = failure {
            return Some(Self::Status(*status));
        }
        let known = [
            (Failure::ResetAfterRequest, Self::Reset),
            (Failure::ClosedWithoutAnswer, Self::Closed),
            (Failure::HttpTimeout, Self::Silent),
        ];
        let mut known = known.into_iter();
        let (_, ending) = known.find(|(of, _)| of == failure)?;
        Some(ending)
    }

    fn text(self, median: Micros) -> String {
        let at_once = median < AT_ONCE;
        match self {
            Self::Reset if at_once => String::from("reset on the request, after"),
            Self::Reset => String::from("met by silence and then reset, after"),
            Self::Closed if at_once => String::from("closed on the request (FIN), after"),
            Self::Closed => String::from("met by silence and then closed (FIN), after"),
            Self::Silent => String::from("met by silence until the probe gave up, after"),
            Self::Status(status) => format!("answered with status {status}, after"),
        }
    }
}

/// Who ends connections, where a fault is of a kind that lets them be made; nothing otherwise.
fn who(what: &What, mode: Word) -> Option<String> {
    let by_itself = matches!(mode, Word::Resets | Word::Stalls | Word::Http5xx);
    if let What::Backend(name) = what {
        return by_itself.then(|| name.clone());
    }
    if let What::Edge(address) | What::Address(address) = what {
        return by_itself.then(|| format!("{address}"));
    }
    // Nobody is behind it, and it accepts all the same: what it does then is its own habit.
    let before = matches!(what, What::Shared(_));
    (before || by_itself && matches!(what, What::Balancer(_))).then(|| String::from("the balancer"))
}

/// Whether probes to a target show that of a part.
fn is_asked(what: &What, target: &Target) -> bool {
    match target {
        Target::Backend { name, .. } => matches!(what, What::Backend(of) if of == name),
        Target::Vip { .. } => matches!(what, What::Balancer(_) | What::Shared(_)),
        Target::Edge { address } => {
            matches!(what, What::Edge(ip) | What::Address(ip) if *ip == address.ip())
        }
        Target::Resolver { .. } | Target::NameServer { .. } => false,
    }
}

/// How the connections end that a part took and did not serve, and after which time.
pub(super) fn ending(scene: Scene<'_>, what: &What, mode: Word) -> Option<Evidence> {
    let name = who(what, mode)?;
    let probes = scene.observations.iter().copied();
    let probes = probes.filter(|seen| scene.span.holds(seen.scheduled_us));
    let mut ends: BTreeMap<Ending, Vec<Micros>> = BTreeMap::new();
    for seen in probes.filter(|seen| is_asked(what, &seen.arm.target)) {
        if let Some((ending, after)) = of(seen) {
            ends.entry(ending).or_default().push(after);
        }
    }
    let all: usize = ends.values().map(Vec::len).sum();
    let mut ways: Vec<(Ending, Vec<Micros>)> = ends.into_iter().collect();
    // The commonest first; of as many the first by its kind.
    ways.sort_by_key(|(ending, times)| (core::cmp::Reverse(times.len()), *ending));
    let told = ways.into_iter().map(|(ending, times)| told(ending, times));
    let told: Vec<String> = told.collect();
    (all > 0).then(|| {
        let text = format!(
            "how {name} ends the {all} connections that it took and did not serve: {}",
            told.join("; ")
        );
        Evidence {
            failed: all as u64,
            of: all as u64,
            ..remark(&name, format!("ending/{name}"), text)
        }
    })
}

fn of(seen: &Observation) -> Option<(Ending, Micros)> {
    let Outcome::Failed { failure, after, .. } = &seen.outcome else {
        return None;
    };
    Some((Ending::of(failure)?, *after))
}

fn told(ending: Ending, mut times: Vec<Micros>) -> String {
    times.sort_unstable();
    let count = times.len();
    let first = times.first().copied().unwrap_or_default();
    let last = times.last().copied().unwrap_or_default();
    let median = times.get(count / 2).copied().unwrap_or_default();
    let range = match count {
        1 => String::new(),
        _ => format!(" ({} to {})", duration(first), duration(last)),
    };
    let alike = (last.0 - first.0) * SAME <= first.0;
    let waited = median >= AT_ONCE && !matches!(ending, Ending::Silent);
    let limit = match waited && alike && count >= SOME {
        true => ", always the same: somebody's limit",
        false => "",
    };
    format!(
        "{count} {} {}{range}{limit}",
        ending.text(median),
        duration(median)
    )
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_way_to_end_is_told_with_its_time() {
        let ms = |times: &[u64]| times.iter().map(|ms| Micros(ms * 1000)).collect();
        let rows: [(Ending, Vec<Micros>, &str); 7] = [
            (
                Ending::Reset,
                ms(&[2, 3, 1]),
                "3 reset on the request, after 2 ms (1 ms to 3 ms)",
            ),
            (
                Ending::Reset,
                ms(&[15_000, 15_100, 14_900]),
                "3 met by silence and then reset, after 15.0 s (14.9 s to 15.1 s), always the same: somebody's limit",
            ),
            (
                Ending::Reset,
                ms(&[2_000, 15_100, 4_900]),
                "3 met by silence and then reset, after 4.9 s (2.0 s to 15.1 s)",
            ),
            (
                Ending::Reset,
                ms(&[15_000, 15_000]),
                "2 met by silence and then reset, after 15.0 s (15.0 s to 15.0 s)",
            ),
            (
                Ending::Closed,
                ms(&[20]),
                "1 closed on the request (FIN), after 20 ms",
            ),
            (
                Ending::Silent,
                vec![Micros(10_000_000); 4],
                "4 met by silence until the probe gave up, after 10.0 s (10.0 s to 10.0 s)",
            ),
            (
                Ending::Status(503),
                ms(&[1]),
                "1 answered with status 503, after 1 ms",
            ),
        ];
        for (ending, times, expected) in rows {
            assert_eq!(told(ending, times), expected);
        }
    }
}
