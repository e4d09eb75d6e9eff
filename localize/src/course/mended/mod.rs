//! Whether a fault is mended: what its probes saw while it was there against what they see since.
//!
//! [`compare`] finds the probes that carried the fault in the case of its verdict, counts the same ones
//! in the rounds since, and asks how an unchanged fault would explain them.

mod carriers;
mod law;
mod sequel;

use alloc::vec::Vec;

use self::carriers::Carriers;
use self::law::Unchanged;
use self::sequel::{Sequel, whole};
use crate::engine::interval::{Counts, jeffreys};
use crate::facts::case::Case;
use crate::facts::component::Component;
use crate::facts::observation::Observation;
use crate::facts::sighting::WitnessReport;
use crate::judgement::verdict::Rate;

/// One round, as far as it could show the fault.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Round {
    /// Its instant, in microseconds of mesh time.
    at_us: u64,
    /// How much of a usual round's sight it has: 1 for a usual one, less when probes are missing that
    /// showed the fault.
    share: f64,
    /// Probes that could have shown the fault.
    probes: u64,
    /// How many did.
    failed: u64,
}

impl Round {
    fn struck(&self) -> bool {
        self.failed > 0
    }
}

/// What was seen since a verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Since {
    /// When its fault was said to be mended, in microseconds of mesh time; not before the case's end.
    pub at_us: u64,
    /// The observations of closed rounds later than the case, in any order, repeats allowed.
    pub observations: Vec<Observation>,
    /// The witnesses' reports, likewise.
    pub sightings: Vec<WitnessReport>,
    /// The interval at which rounds go by themselves, in microseconds; `None` when none do.
    pub every_us: Option<u64>,
}

/// What a verdict names.
#[derive(Clone, Copy)]
struct Named<'a> {
    component: &'a Component,
    mode: &'a str,
}

/// Whether a fault is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// Its old rate is refuted, and what is left of it is no more than usual.
    Mended,
    /// The probes do not tell yet.
    Undecided,
    /// It has failed probes since, and has not been quiet for longer than it would be anyway.
    NotMended,
}

/// Probes over a stretch of time, and how many of them failed as the fault fails them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// The probes.
    pub counts: Counts,
    /// Their rate of failure with its 95 % interval.
    pub rate: Rate,
    /// When it begins, in microseconds of mesh time.
    pub from_us: u64,
}

impl Stretch {
    fn new(counts: Counts, from_us: u64) -> Self {
        Self {
            rate: jeffreys(counts),
            counts,
            from_us,
        }
    }
}

/// What is missing for a decision, should everything stay quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Rounds.
    pub rounds: u64,
    /// Probes in them, as many as were usual in the verdict's rounds.
    pub probes: u64,
    /// The time that they take, in microseconds; `None` when no rounds go by themselves.
    pub time_us: Option<u64>,
}

/// A fault before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Whether it is mended.
    pub decision: Decision,
    /// From its first failure to the end of the verdict's rounds.
    pub before: Stretch,
    /// Since it was said to be mended.
    pub after: Stretch,
    /// Since it most probably was: later than that where it failed once more, or earlier.
    pub quiet: Stretch,
    /// Rounds since it was said to be mended that could have shown it.
    pub rounds: u64,
    /// The last failure since, in microseconds of mesh time.
    pub last_failure_us: Option<u64>,
    /// Evidence that it is over, against its being unchanged: 20 are proof, however often one looks.
    pub e_value: f64,
    /// Probability of so long a quiet since its last failure, were it unchanged.
    pub chance: f64,
    /// What is missing; `None` when mended, or when no patience would do.
    pub missing: Option<Missing>,
}

/// When the rounds of a case end, in microseconds of mesh time.
#[must_use]
pub fn end_of(case: &Case) -> u64 {
    let instants = case.observations.iter().map(|o| o.scheduled_us);
    instants.max().unwrap_or(0)
}

/// Compares a component in a mode that the verdict on a case names, as a fault or as a candidate, with
/// what was seen since.
///
/// `None` when nothing in the case fails as the mode says: the case is another verdict's, or was judged
/// by another version.
#[must_use]
pub fn compare(
    case: &Case,
    component: &Component,
    mode: &str,
    since: &Since,
) -> Option<Comparison> {
    let carriers = Carriers::find(case, &Named { component, mode }, since)?;
    let before = carriers.before();
    let from_us = before.first()?.at_us;
    let counts = total(&before);
    let usual_probes = counts.of as f64 / before.len() as f64;
    let calm = carriers.calm(usual_probes);
    let after = carriers.after();
    let said = after.partition_point(|round| round.at_us <= since.at_us) as u64;
    let mut sequel = Sequel::new(Unchanged::learn(&before, calm), counts, said);
    for round in &after {
        sequel.take(round);
    }
    let decision = sequel.decision();
    let (quiet, quiet_us) = sequel.since_best();
    Some(Comparison {
        decision,
        before: Stretch::new(counts, from_us),
        after: Stretch::new(sequel.after(), since.at_us),
        quiet: Stretch::new(quiet, quiet_us.unwrap_or_else(|| end_of(case))),
        rounds: sequel.rounds(),
        last_failure_us: sequel.last_failure_us(),
        e_value: sequel.e_value(),
        chance: sequel.chance(),
        missing: match decision {
            Decision::Mended => None,
            Decision::Undecided | Decision::NotMended => {
                missing(&sequel, usual_probes, since.every_us, &before)
            }
        },
    })
}

fn missing(
    sequel: &Sequel,
    probes: f64,
    every_us: Option<u64>,
    before: &[Round],
) -> Option<Missing> {
    let apart_us = every_us.unwrap_or_else(|| apart_us(before)).max(1);
    let rounds = sequel.quiet_needed(probes, apart_us as f64 / 1e6)?;
    Some(Missing {
        rounds,
        probes: whole(rounds as f64 * probes),
        time_us: every_us.map(|every_us| rounds.saturating_mul(every_us)),
    })
}

/// The mean time between rounds, in microseconds.
fn apart_us(rounds: &[Round]) -> u64 {
    match rounds {
        [first, .., last] => (last.at_us - first.at_us) / (rounds.len() as u64 - 1),
        _ => 1_000_000,
    }
}

fn total(rounds: &[Round]) -> Counts {
    Counts {
        failed: rounds.iter().map(|r| r.failed).sum(),
        of: rounds.iter().map(|r| r.probes).sum(),
    }
}

#[cfg(test)]
mod tests;
