//! When more rounds are not worth waiting for.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::facts::observation::{Observation, RoundId};
use crate::judgement::choice::{self, Choice, Lack};
use crate::judgement::explain;
use crate::judgement::inference::{LIST, NAME, Seen};
use crate::judgement::problem::Problem;
use crate::judgement::stretch::{Stretch, Suspect};
use crate::judgement::verdict::{Detection, Outcome, Verdict};
use crate::world::part::What;

/// The power at which the detectable rate is stated.
const POWER: f64 = 0.95;
/// Rounds of the last minute before anything is settled.
const ROUNDS: usize = 4;
/// For a verdict of health: the rate that would have been seen.
const HEALTHY_RATE: f64 = 0.07;
/// For a fault: the rate of another one that would have been seen.
const FAULT_RATE: f64 = 0.5;
/// Posterior of what is named, and of everything else being well.
const SURE: f64 = 0.95;
/// Rounds after which candidates that no round has told apart are reported as such.
const ROUNDS_AMBIGUOUS: usize = 25;
/// The same where no arm would tell them apart, as far as the model knows.
const ROUNDS_EXHAUSTED: usize = 8;

/// Whether a verdict is settled, and what to probe next. `healthy` is the probability that all is well.
pub(super) fn settled(
    seen: &Seen<'_>,
    present: &Stretch<'_>,
    verdict: &Verdict,
    healthy: f64,
) -> (bool, Choice) {
    let (problem, posterior, suspects) = (&present.problem, &present.posterior, &present.suspects);
    let observations = seen.observations.iter().copied();
    let now = observations.filter(|o| present.span.holds(o.scheduled_us));
    let now: Vec<&Observation> = now.collect();
    let rounds = recent_rounds(&now);
    let lack = lack(verdict, suspects, healthy, posterior.unknown());
    let choice = choice::choose(problem, posterior, &now, lack);
    let clear = lack != Lack::Identity;
    let exhausted = rounds >= ROUNDS_EXHAUSTED;
    let asked = choice.nothing_to_ask() && exhausted;
    let leaders = || suspects.iter().filter(|s| s.blame >= NAME);
    let awaited = leaders().any(|s| {
        let since = explain::awaited(seen.case, problem, posterior, s);
        since.is_some_and(|since| rounds_since(&now, since) < ROUNDS_EXHAUSTED)
    });
    let passing = awaited || leaders().any(|s| explain::may_pass(problem, posterior, s));
    let questioned = seen.question.is_some() && exhausted;
    let settled = !passing && enough(verdict, clear, asked, healthy, rounds) || questioned;
    (settled, choice)
}

/// `clear` says that who it is is known, `asked` that no probe would tell any more of that.
fn enough(verdict: &Verdict, clear: bool, asked: bool, healthy: f64, rounds: usize) -> bool {
    if rounds < ROUNDS {
        return false;
    }
    let exhausted = asked || rounds >= ROUNDS_AMBIGUOUS;
    match verdict.outcome {
        Outcome::Healthy => clear && verdict.detection.rate <= HEALTHY_RATE,
        Outcome::Fault => clear && verdict.detection.rate <= FAULT_RATE || exhausted,
        Outcome::Inconclusive => healthy <= LIST && exhausted,
    }
}

/// Whole rounds of the last minute: one of few arms counts as the share of the largest that it is.
fn recent_rounds(observations: &[&Observation]) -> usize {
    let now = observations
        .iter()
        .map(|o| o.scheduled_us)
        .max()
        .unwrap_or(0);
    let mut rounds: BTreeMap<RoundId, usize> = BTreeMap::new();
    for observation in observations {
        if observation.scheduled_us + 60_000_000 >= now {
            *rounds.entry(observation.round).or_default() += 1;
        }
    }
    let largest = rounds.values().copied().max().unwrap_or(1);
    (rounds.values().sum::<usize>() + largest / 2) / largest
}

/// The same of those after an instant.
fn rounds_since(observations: &[&Observation], since: u64) -> usize {
    let later = observations.iter().filter(|o| o.scheduled_us > since);
    recent_rounds(&later.copied().collect::<Vec<_>>())
}

/// What the verdict lacks: who it is, or the probes that would have shown another fault.
fn lack(verdict: &Verdict, suspects: &[Suspect], healthy: f64, unknown: f64) -> Lack {
    let clear = suspects
        .iter()
        .all(|s| s.blame >= SURE || s.blame <= 1.0 - SURE);
    let known = unknown <= 1.0 - SURE;
    match verdict.outcome {
        Outcome::Fault if clear && known => Lack::Probes(probes_for(FAULT_RATE)),
        Outcome::Healthy | Outcome::Inconclusive if healthy >= SURE => {
            Lack::Probes(probes_for(HEALTHY_RATE))
        }
        Outcome::Healthy | Outcome::Fault | Outcome::Inconclusive => Lack::Identity,
    }
}

/// Probes of which one at least fails, with the power at which rates are stated, at this rate.
fn probes_for(rate: f64) -> f64 {
    libm::log(1.0 - POWER) / libm::log(1.0 - rate)
}

/// The rate that a fault in the least probed component would have to have to be seen, within the last
/// minute. Return paths and shared parents are left out: their own probes are those of their parts.
pub(super) fn detection(problem: &Problem<'_>) -> Detection {
    let least = problem
        .evidence
        .parts
        .iter()
        .enumerate()
        .filter(|(_, part)| {
            part.component().is_some()
                && !part.what.is_shared_parent()
                && !matches!(
                    part.what,
                    What::Return { .. } | What::LbBackendPath { .. } | What::Toward { .. }
                )
        })
        .map(|(part, _)| explain::crossing_probes(problem, part))
        .fold(f64::INFINITY, f64::min);
    if !least.is_finite() || least <= 0.0 {
        return Detection {
            rate: 1.0,
            power: 0.0,
        };
    }
    Detection {
        rate: 1.0 - libm::pow(1.0 - POWER, 1.0 / least),
        power: POWER,
    }
}
