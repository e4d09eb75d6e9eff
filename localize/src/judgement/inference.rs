//! From a case to an assessment.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::facts::case::Case;
use crate::facts::observation::{Observation, RoundId};
use crate::judgement::ask;
use crate::judgement::choice::{self, Choice, Lack};
use crate::judgement::explain;
use crate::judgement::problem::Problem;
use crate::judgement::stretch::{self, Stretch, Suspect};
use crate::judgement::unprobed;
use crate::judgement::verdict::{Alternative, Assessment, Clock, Detection, Outcome, Verdict};
use crate::judgement::words;
use crate::reading::cells::{self, Evidence, Record};
use crate::reading::comparison::Reading;
use crate::reading::epochs::Span;
use crate::world::mode::Word;
use crate::world::part::What;
use crate::world::path;
use crate::world::signature::Signatures;

/// A component is named from here on.
pub(crate) const NAME: f64 = 0.9;
/// A rival is listed from here on.
const LIST: f64 = 0.02;
/// Nobody hands a verdict out as certain.
const CEILING: f64 = 0.995;
/// The power at which the detectable rate is stated.
const POWER: f64 = 0.95;
/// Healthy is said when a fault of this rate would have been seen.
const HEALTHY_RATE: f64 = 0.3;

/// When more rounds are not worth waiting for.
mod enough {
    /// Rounds of the last minute before anything is settled.
    pub(super) const ROUNDS: usize = 4;
    /// For a verdict of health: the rate that would have been seen.
    pub(super) const HEALTHY_RATE: f64 = 0.07;
    /// For a fault: the rate of another one that would have been seen.
    pub(super) const FAULT_RATE: f64 = 0.5;
    /// Posterior of what is named, and of everything else being well.
    pub(super) const SURE: f64 = 0.95;
    /// Rounds after which candidates that no round has told apart are reported as such.
    pub(super) const ROUNDS_AMBIGUOUS: usize = 25;
    /// The same where no arm would tell them apart, as far as the model knows.
    pub(super) const ROUNDS_EXHAUSTED: usize = 8;
}

/// Judges a case: every stretch of one pattern by itself, in the most probable reading of the balancer.
pub(crate) fn assess(case: &Case) -> Assessment {
    let observations = cells::usable(case);
    let signatures = Signatures::new();
    let reading = Reading::new(case, &observations);
    let readings = path::readings(&case.topology);
    let records: Vec<(f64, Record)> = readings
        .iter()
        .map(|(balancing, odds)| {
            let record = Record::new(case, &observations, &reading, *balancing);
            (*odds, record)
        })
        .collect();
    let first = records.first();
    let mut spans = first.map_or(Vec::new(), |(_, record)| stretch::spans(record));
    let count = |spans: &[Span]| -> Vec<Counted> {
        let counted = records.iter().map(|(odds, record)| {
            let evidence = stretch::evidence(case, record, &reading, spans);
            (*odds, evidence)
        });
        counted.collect()
    };
    let counted = count(&spans);
    let judged = likeliest(&counted, &signatures);
    let joined = stretch::joined(&spans, &judged);
    if joined.len() == spans.len() {
        return conclude(case, &observations, &judged);
    }
    spans = joined;
    let counted = count(&spans);
    conclude(case, &observations, &likeliest(&counted, &signatures))
}

/// The counts of all stretches under one reading of the balancer, with its prior odds as a logarithm.
type Counted = (f64, Vec<(Span, Evidence)>);

/// The stretches, judged in the most probable reading of the balancer.
fn likeliest<'a>(counted: &'a [Counted], signatures: &'a Signatures) -> Vec<Stretch<'a>> {
    let judged = counted.iter().map(|(odds, evidence)| {
        let (total, stretches) = stretch::judge(evidence, signatures);
        (total + odds, stretches)
    });
    // Of those that are equal the first, which is the most probable beforehand.
    let best = judged.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map_or(Vec::new(), |(_, stretches)| stretches)
}

fn unjudged(case: &Case, observations: &[&Observation]) -> Assessment {
    Assessment {
        verdict: frame(case, observations),
        settled: false,
        leading: "unknown".to_string(),
        leading_confidence: 0.0,
        choice: Choice::default(),
    }
}

/// A verdict with everything in it but the judgement.
fn frame(case: &Case, observations: &[&Observation]) -> Verdict {
    let rounds: BTreeSet<_> = observations.iter().map(|o| o.round).collect();
    let vantages: BTreeSet<String> = observations
        .iter()
        .map(|o| o.vantage().to_string())
        .collect();
    Verdict {
        schema: 1,
        service: case.topology.service.to_string(),
        id: String::new(),
        outcome: Outcome::Inconclusive,
        faults: Vec::new(),
        exonerated: Vec::new(),
        alternatives: Vec::new(),
        earlier: Vec::new(),
        not_probed: unprobed::not_probed(case),
        standing: Vec::new(),
        unknown: 0.0,
        ask: Vec::new(),
        detection: Detection {
            rate: 1.0,
            power: 0.0,
        },
        clock: Clock {
            worst_uncertainty_us: observations
                .iter()
                .map(|o| o.started.uncertainty_us)
                .max()
                .unwrap_or(0),
        },
        rounds: rounds.len() as u64,
        probes: observations.len() as u64,
        vantages: vantages.into_iter().collect(),
        started_at: String::new(),
        elapsed_ms: 0,
    }
}

fn conclude(case: &Case, observations: &[&Observation], stretches: &[Stretch<'_>]) -> Assessment {
    let Some(present) = stretches.last() else {
        return unjudged(case, observations);
    };
    let Stretch {
        problem,
        posterior,
        suspects,
        ..
    } = present;
    let healthy = problem.healthy(posterior);
    let unknown = posterior.unknown();
    let detection = detection(problem);
    let mut verdict = frame(case, observations);
    verdict.detection = detection;
    let named: Vec<&Suspect> = suspects.iter().filter(|s| s.blame >= NAME).collect();
    verdict.outcome = if !named.is_empty() {
        Outcome::Fault
    } else if healthy >= NAME && detection.rate <= HEALTHY_RATE {
        Outcome::Healthy
    } else {
        Outcome::Inconclusive
    };
    let well = well(problem, suspects);
    verdict.faults = named
        .iter()
        .filter_map(|s| explain::fault(problem, posterior, s, &well, CEILING))
        .collect();
    verdict.alternatives = suspects
        .iter()
        .filter(|s| s.blame < NAME && s.blame >= LIST)
        .map(|s| Alternative {
            component: s.component.clone(),
            mode: explain::mode(problem, posterior, &s.parts)
                .map_or("unknown", Word::text)
                .to_string(),
            confidence: s.blame,
            because: explain::candidate(problem, posterior, s, &suspects[0]),
        })
        .collect();
    verdict.exonerated = explain::exonerated(problem, posterior, suspects, CEILING);
    verdict.unknown = unknown;
    let doubtful: Vec<&What> = suspects
        .iter()
        .filter(|s| s.blame < NAME && s.blame >= ask::DOUBT)
        .map(|s| &s.what)
        .collect();
    verdict.ask = ask::questions(&case.topology, verdict.outcome, &doubtful, unknown);
    let episodes = stretch::episodes(stretches);
    verdict.earlier = stretch::earlier(&episodes, present, stretches.len() - 1);
    let now: Vec<&Observation> = observations
        .iter()
        .filter(|o| present.span.holds(o.scheduled_us))
        .copied()
        .collect();
    let rounds = recent_rounds(&now);
    let lack = lack(&verdict, suspects, healthy, unknown);
    let choice = choice::choose(problem, posterior, &now, lack);
    let clear = lack != Lack::Identity;
    let asked = choice.nothing_to_ask() && rounds >= enough::ROUNDS_EXHAUSTED;
    let passing = named
        .iter()
        .any(|s| explain::may_pass(problem, posterior, s));
    let settled = !passing && settled(&verdict, clear, asked, healthy, rounds);
    let (leading, leading_confidence) = leading(suspects, healthy, unknown);
    Assessment {
        verdict,
        settled,
        leading,
        leading_confidence,
        choice,
    }
}

/// The parts that are cleared: a sentence names those that are siblings of one that is not.
fn well(problem: &Problem<'_>, suspects: &[Suspect]) -> Vec<What> {
    let cleared = suspects.iter().filter(|s| explain::cleared(problem, s));
    let mut well: Vec<What> = cleared.map(|s| s.what.clone()).collect();
    well.sort_unstable();
    well
}

/// The rate that a fault in the least probed component would have to have to be seen, within the last
/// minute. Return paths and shared parents are left out: their own probes are those of their parts.
fn detection(problem: &Problem<'_>) -> Detection {
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

/// What the verdict lacks: who it is, or the probes that would have shown another fault.
fn lack(verdict: &Verdict, suspects: &[Suspect], healthy: f64, unknown: f64) -> Lack {
    let clear = suspects
        .iter()
        .all(|s| s.blame >= enough::SURE || s.blame <= 1.0 - enough::SURE);
    let known = unknown <= 1.0 - enough::SURE;
    match verdict.outcome {
        Outcome::Fault if clear && known => Lack::Probes(probes_for(enough::FAULT_RATE)),
        Outcome::Healthy | Outcome::Inconclusive if healthy >= enough::SURE => {
            Lack::Probes(probes_for(enough::HEALTHY_RATE))
        }
        Outcome::Healthy | Outcome::Fault | Outcome::Inconclusive => Lack::Identity,
    }
}

/// Probes of which one at least fails, with the power at which rates are stated, at this rate.
fn probes_for(rate: f64) -> f64 {
    libm::log(1.0 - POWER) / libm::log(1.0 - rate)
}

/// `clear` says that who it is is known, `asked` that no probe would tell any more of that.
fn settled(verdict: &Verdict, clear: bool, asked: bool, healthy: f64, rounds: usize) -> bool {
    if rounds < enough::ROUNDS {
        return false;
    }
    let exhausted = asked || rounds >= enough::ROUNDS_AMBIGUOUS;
    match verdict.outcome {
        Outcome::Healthy => clear && verdict.detection.rate <= enough::HEALTHY_RATE,
        Outcome::Fault => clear && verdict.detection.rate <= enough::FAULT_RATE || exhausted,
        Outcome::Inconclusive => healthy <= LIST && exhausted,
    }
}

fn leading(suspects: &[Suspect], healthy: f64, unknown: f64) -> (String, f64) {
    match suspects.first() {
        Some(top) if top.blame > healthy && top.blame > unknown => {
            (words::noun(&top.what), top.blame)
        }
        _ if unknown > healthy => ("something no component explains".to_string(), unknown),
        _ => ("healthy".to_string(), healthy),
    }
}
