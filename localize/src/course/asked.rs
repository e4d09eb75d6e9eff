//! What the rounds since a question say by themselves: those before it tell of a time at which nobody had
//! asked.
//!
//! A window that is well but for its last second is well on the whole, and a fault that strikes seldom
//! looks the same for some seconds after it was mended. So neither is the last word before the rounds
//! since the question say the same.

use crate::course::mended::{Since, compare};
use crate::facts::case::Case;
use crate::facts::observation::Observation;
use crate::judgement::choice::Choice;
use crate::judgement::inference::assess;
use crate::judgement::verdict::{Assessment, Fault, Outcome, Pattern};

/// A fault of this rate must show in the rounds of the run before they are called well: it is the rate
/// at which a verdict says so at all.
const SHOWN_RATE: f64 = 0.3;

/// A candidate beside a fault from this probability on leaves something open.
const OPEN: f64 = 0.05;

/// What to probe before a verdict may stand; `None` when the rounds since the question bear it out.
/// `asked_us` is when somebody asked, in microseconds of mesh time.
#[must_use]
pub fn lacks(case: &Case, assessment: &Assessment, asked_us: u64) -> Option<Choice> {
    let own = || assess(&part(case, |seen| seen.scheduled_us >= asked_us));
    match assessment.verdict.outcome {
        Outcome::Healthy => {
            let own = own();
            (own.verdict.detection.rate > SHOWN_RATE).then_some(own.choice)
        }
        // What is left open by rounds before it broke may be known from those since.
        Outcome::Inconclusive => {
            let own = own();
            (!own.settled).then_some(own.choice)
        }
        Outcome::Fault => {
            let before = part(case, |seen| seen.scheduled_us < asked_us);
            let since = Since {
                at_us: asked_us,
                observations: part(case, |seen| seen.scheduled_us >= asked_us).observations,
                sightings: case.sightings.clone(),
                every_us: None,
            };
            let mut faults = assessment.verdict.faults.iter();
            let mut candidates = assessment.verdict.alternatives.iter();
            if faults.any(|fault| is_quiet(&before, fault, &since)) {
                return Some(assessment.choice.clone());
            }
            let open = candidates.any(|candidate| candidate.confidence >= OPEN);
            (open && !own().settled).then(|| assessment.choice.clone())
        }
    }
}

/// Whether a fault was seen before the question and not since. Of one that keeps a period that is no
/// wonder: the verdict has weighed how long it has been quiet.
fn is_quiet(before: &Case, fault: &Fault, since: &Since) -> bool {
    if fault.pattern == Pattern::Periodic {
        return false;
    }
    let found = compare(before, &fault.component, &fault.mode, since);
    found.is_some_and(|found| found.last_failure_us.is_none())
}

/// The case with some of its observations.
fn part(case: &Case, wanted: impl Fn(&Observation) -> bool) -> Case {
    let observations = case.observations.iter().filter(|seen| wanted(seen));
    Case {
        topology: case.topology.clone(),
        declared: case.declared.clone(),
        baselines: case.baselines.clone(),
        observations: observations.cloned().collect(),
        sightings: case.sightings.clone(),
        traces: case.traces.clone(),
    }
}
