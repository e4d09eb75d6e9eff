//! From a case to an assessment.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::OnceCell;

use crate::engine::search::Posterior;
use crate::facts::case::Case;
use crate::facts::component::Component;
use crate::facts::observation::Observation;
use crate::facts::time::rfc3339;
use crate::judgement::ask;
use crate::judgement::balancing;
use crate::judgement::choice::Choice;
use crate::judgement::enough;
use crate::judgement::explain::{self, Scene};
use crate::judgement::guilt::Accused;
use crate::judgement::problem::Problem;
use crate::judgement::rhythm;
use crate::judgement::stretch::{self, Episode, Stretch, Suspect};
use crate::judgement::unprobed;
use crate::judgement::verdict::{
    Alternative, Assessment, Clock, Detection, Fault, NotProbed, Outcome, Pattern, Verdict,
};
use crate::judgement::words;
use crate::reading::cells::{self, Record};
use crate::reading::comparison::Reading;
use crate::reading::passing::Own;
use crate::reading::thinning;
use crate::world::mode::Word;
use crate::world::part::What;
use crate::world::path::PartId;
use crate::world::signature::Signatures;

/// A component is named from here on.
pub(crate) const NAME: f64 = 0.9;
/// A rival is listed from here on.
pub(crate) const LIST: f64 = 0.02;
/// Nobody hands a verdict out as certain.
const CEILING: f64 = 0.995;
/// Healthy is said when a fault of this rate would have been seen.
const HEALTHY_RATE: f64 = 0.3;

/// Judges a case: every stretch of one pattern by itself, in the most probable reading of the balancer.
pub(crate) fn assess(case: &Case) -> Assessment {
    let all = cells::usable(case);
    let observations = thinning::judged(&all);
    let signatures = Signatures::new();
    let reading = Reading::new(case, &observations);
    let candidates = balancing::candidates(case, &observations, &reading);
    let Some((spans, record)) = balancing::likeliest(candidates, &reading, &signatures) else {
        return unjudged(case, &all);
    };
    let evidence = stretch::evidence(&record, &reading, &spans);
    let stretches = stretch::judge(&evidence, &signatures);
    let seen = Seen {
        case,
        all: &all,
        observations: &observations,
        question: reading.wanted().question(),
        record: &record,
        own: OnceCell::new(),
    };
    conclude(&seen, &stretches)
}

/// What was seen in the window, under the most probable reading of the balancer.
pub(super) struct Seen<'a> {
    pub(super) case: &'a Case,
    /// Every observation that is evidence, and those that were judged.
    all: &'a [&'a Observation],
    pub(super) observations: &'a [&'a Observation],
    /// What the operator must say before anything can be called healthy.
    pub(super) question: Option<String>,
    record: &'a Record,
    own: OnceCell<Own>,
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

fn conclude(seen: &Seen<'_>, stretches: &[Stretch<'_>]) -> Assessment {
    let Some(present) = stretches.last() else {
        return unjudged(seen.case, seen.observations);
    };
    let Stretch {
        problem,
        posterior,
        suspects,
        ..
    } = present;
    let healthy = problem.healthy(posterior);
    let mut verdict = frame(seen.case, seen.all);
    verdict.detection = enough::detection(problem);
    let episodes = stretch::episodes(stretches);
    let (faults, doubted) = named(seen, stretches, &episodes);
    verdict.faults = faults;
    verdict.outcome = outcome(&verdict, healthy, seen.question.is_some());
    let is_named = |s: &Suspect| verdict.faults.iter().any(|f| f.component == s.component);
    let open = suspects.iter().filter(|s| s.blame >= LIST && !is_named(s));
    let open: Vec<&Suspect> = open.collect();
    verdict.alternatives = alternatives(present, &open, &doubted);
    verdict.exonerated = explain::exonerated(problem, posterior, suspects, CEILING);
    let blamed = suspects.iter().filter(|s| s.blame >= NAME);
    let blamed: Vec<PartId> = blamed.flat_map(|s| s.parts.iter().copied()).collect();
    verdict.unknown = problem.unknown_beside(posterior, &blamed);
    verdict.not_probed.extend(turned_away(problem, posterior));
    verdict.not_probed.sort();
    verdict.earlier = stretch::earlier(&episodes, present, stretches.len() - 1, &verdict.faults);
    verdict.ask = questions(seen, &verdict, suspects, &open);
    let (settled, choice) = enough::settled(seen, present, &verdict, healthy);
    let (leading, leading_confidence) = leading(suspects, healthy, posterior.unknown());
    Assessment {
        verdict,
        settled,
        leading,
        leading_confidence,
        choice,
    }
}

fn outcome(verdict: &Verdict, healthy: f64, questioned: bool) -> Outcome {
    let shown = verdict.detection.rate <= HEALTHY_RATE;
    if !verdict.faults.is_empty() {
        Outcome::Fault
    } else if healthy >= NAME && shown && !questioned {
        Outcome::Healthy
    } else {
        Outcome::Inconclusive
    }
}

/// Those who are not named and may be at fault, most probable first.
fn alternatives(present: &Stretch<'_>, open: &[&Suspect], doubted: &[Doubted]) -> Vec<Alternative> {
    let Stretch {
        problem,
        posterior,
        suspects,
        ..
    } = present;
    let open = open.iter();
    open.map(|s| {
        let mode = explain::mode(problem, posterior, s);
        let mut doubted = doubted.iter();
        let doubt = doubted.find(|(component, _)| *component == s.component);
        Alternative {
            component: s.component.clone(),
            mode: mode.map_or("unknown", Word::text).to_string(),
            confidence: doubt.map_or(s.blame, |(_, confidence)| *confidence),
            because: explain::candidate(problem, posterior, s, &suspects[0]),
        }
    })
    .collect()
}

/// What would tell more: of the site, and of those who are in doubt. Whoever is named may still be more
/// than one.
fn questions(
    seen: &Seen<'_>,
    verdict: &Verdict,
    suspects: &[Suspect],
    open: &[&Suspect],
) -> Vec<String> {
    let several = |s: &&Suspect| {
        let undeclared = matches!(s.what, What::Origin(_) | What::Address(_));
        undeclared && verdict.faults.iter().any(|f| f.component == s.component)
    };
    let doubtful = open.iter().copied().filter(|s| s.blame >= ask::DOUBT);
    let doubtful = doubtful.chain(suspects.iter().filter(several));
    let doubtful: Vec<&What> = doubtful.map(|s| &s.what).collect();
    let topology = &seen.case.topology;
    let asked = ask::questions(topology, verdict.outcome, &doubtful, verdict.unknown);
    seen.question.iter().cloned().chain(asked).collect()
}

/// A vantage point is said not to be served from this probability on.
const TURNED_AWAY: f64 = 0.5;

/// The vantage points that edges refuse to serve while others are served: nothing is known of what they
/// would get, and nobody has to mend it for users.
fn turned_away(problem: &Problem<'_>, posterior: &Posterior) -> Vec<NotProbed> {
    let mut turned_away = Vec::new();
    for (part, p) in problem.evidence.parts.iter().enumerate() {
        let What::NotServed(vantage) = &p.what else {
            continue;
        };
        if problem.blame(posterior, Accused::any(&[part])) < TURNED_AWAY {
            continue;
        }
        for cell in problem.cells_of[part]
            .iter()
            .map(|c| &problem.evidence.cells[*c])
        {
            let Some(symptom) = cell.symptoms().next() else {
                continue;
            };
            turned_away.push(NotProbed {
                vantage: vantage.to_string(),
                arm: cell.arm.label(),
                because: alloc::format!(
                    "it answers {} to this vantage point and serves others: {}",
                    symptom.word(),
                    words::next_step(&p.what, Word::NotServed)
                ),
            });
        }
    }
    turned_away
}

/// A component with what its rivals leave of its probability.
type Doubted = (Component, f64);

/// The faults that are there now, those that only pause among them; and the components whose rivals leave
/// too little to name them.
fn named(
    seen: &Seen<'_>,
    stretches: &[Stretch<'_>],
    episodes: &[Episode],
) -> (Vec<Fault>, Vec<Doubted>) {
    let (mut faults, mut doubted) = (Vec::new(), Vec::new());
    let Some(present) = stretches.last() else {
        return (faults, doubted);
    };
    let now = present.problem.evidence.now;
    for suspect in present.suspects.iter().filter(|s| s.blame >= NAME) {
        let Some(fault) = fault(seen, present, suspect, suspect.blame) else {
            continue;
        };
        let mine: Vec<&Episode> = episodes.iter().filter(|e| e.is_of(&fault)).collect();
        let dates = dates(
            seen,
            present,
            suspect,
            &mine,
            mine.last().map(|e| e.began()),
        );
        let fault = dates.of(fault);
        if fault.confidence >= NAME {
            faults.push(fault);
        } else {
            doubted.push((fault.component, fault.confidence));
        }
    }
    for (index, stretch) in stretches.iter().enumerate().rev() {
        for suspect in stretch.suspects.iter().filter(|s| s.was >= NAME) {
            let mode = explain::mode(&stretch.problem, &stretch.posterior, suspect);
            let Some(mode) = mode else {
                continue;
            };
            let mine = |e: &&Episode| e.component == suspect.component && e.mode == mode;
            let mine: Vec<&Episode> = episodes.iter().filter(mine).collect();
            let is_named = |f: &Fault| {
                f.component == suspect.component
                    && (suspect.phase.is_none() || f.mode == mode.text())
            };
            if mine.last().is_none_or(|e| e.stretch != index) || faults.iter().any(is_named) {
                continue;
            }
            let dates = dates(
                seen,
                stretch,
                suspect,
                &mine,
                mine.first().map(|e| e.began()),
            );
            let there = dates.there(&mine, now);
            // Its rivals leave no more than this.
            if suspect.was * there < NAME {
                continue;
            }
            let Some(mut fault) = fault(seen, stretch, suspect, suspect.was) else {
                continue;
            };
            fault.confidence *= there;
            if fault.confidence >= NAME {
                faults.push(dates.of(fault));
            }
        }
    }
    (faults, doubted)
}

/// Somebody who is at fault with a probability.
fn fault(
    seen: &Seen<'_>,
    stretch: &Stretch<'_>,
    suspect: &Suspect,
    probability: f64,
) -> Option<Fault> {
    let Stretch {
        problem, posterior, ..
    } = stretch;
    let well = well(problem, &stretch.suspects);
    let probability = probability.min(CEILING);
    let mut fault = explain::fault(problem, posterior, suspect, &well, probability)?;
    if let Some(mode) = explain::mode(problem, posterior, suspect) {
        let scene = Scene {
            case: seen.case,
            observations: seen.observations,
            span: stretch.span,
            forwarded: problem.evidence.balancing.at_layer_4(),
            own: &seen.own,
        };
        explain::remarks(scene, &suspect.what, mode, &mut fault);
    }
    Some(fault)
}

/// Since when a fault is there, and how it goes on.
struct Dates {
    /// The rounds in which it could have shown, and whether it did: what fails alike outside of its times
    /// is somebody else's.
    rounds: Vec<(u64, bool)>,
    pattern: Pattern,
    /// Seconds.
    period: Option<f64>,
    /// Microseconds of mesh time.
    began: Option<u64>,
}

/// Dates a fault by the times at which its component was at fault: since it first failed where it comes and
/// goes, else since it failed last, which is `current`.
fn dates(
    seen: &Seen<'_>,
    stretch: &Stretch<'_>,
    suspect: &Suspect,
    mine: &[&Episode],
    current: Option<u64>,
) -> Dates {
    let first = mine.iter().map(|e| e.began()).min();
    let rounds = stretch.rounds_of(suspect, seen.record, first.unwrap_or(0));
    let mut rounds = rounds.unwrap_or_default();
    let is_mine = |at: u64| {
        let mut times = mine.iter().flat_map(|e| &e.times);
        times.any(|(from, to)| (*from..=*to).contains(&at))
    };
    rounds
        .iter_mut()
        .for_each(|(at, failed)| *failed &= is_mine(*at));
    let (pattern, period) = rhythm::rhythm(&rounds);
    let began = match pattern.pauses() {
        true => first,
        false => current,
    };
    let failed = rounds.iter().find(|(_, failed)| *failed).map(|(at, _)| *at);
    let decided = (pattern == Pattern::Steady).then(|| stretch.decided_by(suspect));
    Dates {
        rounds,
        pattern: decided.flatten().unwrap_or(pattern),
        period,
        began: began.or(failed),
    }
}

impl Dates {
    /// How probable it is that a fault only pauses which was there at these times and is not seen now.
    fn there(&self, mine: &[&Episode], now: u64) -> f64 {
        if self.pattern.pauses() {
            return rhythm::pauses(&rhythm::bursts(&self.rounds), self.period, now);
        }
        let lasted: Vec<(u64, u64)> = mine.iter().map(|e| (e.began(), e.ended())).collect();
        rhythm::pauses(&lasted, None, now)
    }

    fn of(&self, fault: Fault) -> Fault {
        Fault {
            began_at: self.began.map_or_else(String::new, rfc3339),
            pattern: self.pattern,
            period_s: self.period,
            ..fault
        }
    }
}

/// The parts that are cleared: a sentence names those that are siblings of one that is not.
fn well(problem: &Problem<'_>, suspects: &[Suspect]) -> Vec<What> {
    let cleared = suspects.iter().filter(|s| explain::cleared(problem, s));
    let mut well: Vec<What> = cleared.map(|s| s.what.clone()).collect();
    well.sort_unstable();
    well
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
