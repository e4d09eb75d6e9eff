//! How the balancer works, where nobody declared it: by what makes the latest stretches most probable.

use alloc::vec::Vec;

use crate::facts::case::Case;
use crate::facts::observation::Observation;
use crate::judgement::carried::Carried;
use crate::judgement::stretch::{self, TELLING, Weighed};
use crate::reading::cells::Record;
use crate::reading::comparison::Reading;
use crate::reading::epochs::Span;
use crate::reading::witness::Index;
use crate::world::path;
use crate::world::signature::Signatures;

/// A reading that is by so much less probable than the best one is asked no further, in nats.
const GIVEN_UP: f64 = 12.0;

/// The same at a glance.
const FAR: f64 = 40.0;

/// The case under one reading of the balancer.
pub(super) struct Candidate {
    /// How probable it is, as a logarithm, by what it was held against so far.
    worth: f64,
    record: Record,
    /// It is the one whose stretches were joined.
    first: bool,
}

/// The case in every way in which its balancer may work, the most probable beforehand first.
pub(super) fn candidates(
    case: &Case,
    observations: &[&Observation],
    reading: &Reading<'_>,
) -> Vec<Candidate> {
    let index = Index::new(&case.topology, &case.sightings, observations);
    let mut candidates: Vec<Candidate> = Vec::new();
    for (balancing, odds) in path::readings(&case.topology) {
        let mut before = candidates.iter();
        let known = before.find_map(|other| other.record.read_as(*balancing));
        let record =
            known.unwrap_or_else(|| Record::new(&index, observations, reading, *balancing));
        let elsewhere = record.tried_elsewhere(case.topology.backends.len());
        let first = candidates.is_empty();
        candidates.push(Candidate {
            worth: *odds,
            record,
            first,
        });
        candidates.extend(elsewhere.map(|(more, record)| Candidate {
            worth: odds + more,
            record,
            first: false,
        }));
    }
    candidates
}

/// The stretches of the window, and the record of the reading that makes the latest of them most probable.
pub(super) fn likeliest(
    mut candidates: Vec<Candidate>,
    reading: &Reading<'_>,
    signatures: &Signatures,
) -> Option<(Vec<Span>, Record)> {
    let first = &candidates.first()?.record;
    let spans = stretch::spans(first);
    let joined = match spans.len() {
        0 | 1 => spans.into_iter().map(Weighed::unweighed).collect(),
        _ => stretch::joined(first, reading, signatures, &spans),
    };
    let spans: Vec<Span> = joined.iter().map(|weighed| weighed.span).collect();
    let wanted = stretch::wanted(first, &spans);
    for span in wanted.iter().rev().take(TELLING) {
        if candidates.len() == 1 {
            break;
        }
        let glances = candidates.iter().map(|candidate| {
            candidate.worth + Weighed::glance(*span, &candidate.record, reading, signatures)
        });
        let glances: Vec<f64> = glances.collect();
        keep(&mut candidates, &glances, FAR);
        if candidates.len() == 1 {
            break;
        }
        let mut known = joined.iter().filter(|weighed| weighed.span == *span);
        let known = known.find_map(|weighed| weighed.evidence);
        for candidate in &mut candidates {
            let known = known.filter(|_| candidate.first);
            let weigh = || {
                let fresh = Carried::default();
                Weighed::new(*span, &candidate.record, reading, signatures, &fresh).evidence
            };
            candidate.worth += known.or_else(weigh).unwrap_or_default();
        }
        let worths: Vec<f64> = candidates.iter().map(|candidate| candidate.worth).collect();
        keep(&mut candidates, &worths, GIVEN_UP);
    }
    // Of those that are equal the first, which is the most probable beforehand.
    let best = candidates
        .into_iter()
        .reduce(|best, next| match next.worth > best.worth {
            true => next,
            false => best,
        });
    best.map(|best| (spans, best.record))
}

/// Keeps the candidates whose worth is less than this below that of the best.
fn keep(candidates: &mut Vec<Candidate>, worths: &[f64], slack: f64) {
    let best = worths.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut worths = worths.iter();
    candidates.retain(|_| worths.next().is_some_and(|worth| *worth >= best - slack));
}
