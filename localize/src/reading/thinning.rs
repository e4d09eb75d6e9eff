//! What of a long window is judged: a localisation fires up to four rounds a second, and a window may hold many
//! localisations.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::facts::observation::{Observation, RoundId};
use crate::facts::sighting::FlowSighting;
use crate::reading::kernel::unanswered;

/// No more observations than these are judged as they are.
const PLENTY: usize = 12_000;
/// What is newer than this is judged as it is, in microseconds.
const FRESH_US: u64 = 90_000_000;
/// Of what is older one round in so many microseconds is enough: schedules fire less often.
const APART_US: u64 = 4_000_000;

/// The rounds that a judgement is made from, whatever they saw, by the instant (in microseconds of mesh time) and
/// round of each observation: where there are very many the fresh ones, and of the older ones whole rounds some
/// seconds apart. `None` means all of them.
#[must_use]
pub fn rounds(
    observations: impl ExactSizeIterator<Item = (u64, RoundId)>,
) -> Option<BTreeSet<RoundId>> {
    if observations.len() <= PLENTY {
        return None;
    }
    let mut rounds: BTreeMap<(u64, RoundId), usize> = BTreeMap::new();
    for round in observations {
        *rounds.entry(round).or_default() += 1;
    }
    let now = rounds.keys().map(|(at, _)| *at).max().unwrap_or(0);
    let largest = rounds.values().copied().max().unwrap_or(0);
    let mut kept: BTreeSet<RoundId> = BTreeSet::new();
    let mut last: Option<u64> = None;
    for ((at, round), probes) in rounds {
        let fresh = at + FRESH_US >= now;
        let whole = probes * 2 >= largest;
        let apart = last.is_none_or(|last| at >= last + APART_US);
        if fresh || whole && apart {
            kept.insert(round);
            last = Some(at);
        }
    }
    Some(kept)
}

/// The observations of those rounds.
pub(crate) fn judged<'o>(observations: &[&'o Observation]) -> Vec<&'o Observation> {
    let observations = observations.iter().copied();
    let kept = rounds(
        observations
            .clone()
            .map(|seen| (seen.scheduled_us, seen.round)),
    );
    let is_kept = |seen: &&Observation| kept.as_ref().is_none_or(|kept| kept.contains(&seen.round));
    observations.filter(is_kept).collect()
}

/// Whether what a witness saw of a connection may be left out of a case: it was of a probe that is left out, and
/// was answered. What was not answered tells what the host's kernel counted.
#[must_use]
pub fn needless(flow: &FlowSighting, left_out: &BTreeSet<SocketAddr>) -> bool {
    left_out.contains(&flow.client) && unanswered(flow) == 0
}
