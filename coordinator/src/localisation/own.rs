//! What the rounds of a run say by themselves: those before it tell of a time at which nobody had asked.
//!
//! A window that is well but for its last second is well on the whole, and a fault that strikes seldom
//! looks the same for some seconds after it was mended. So neither is the last word before the rounds
//! since the question say the same.

use localize::mended::{Since, compare};
use localize::{Assessment, Case, Choice, Fault, Observation, Pattern, VerdictOutcome};

/// A fault of this rate must show in the rounds of the run before they are called well: it is the rate
/// at which a verdict says so at all.
const SHOWN_RATE: f64 = 0.3;

/// A candidate beside a fault from this probability on leaves something open.
const OPEN: f64 = 0.05;

/// What to probe before a verdict may stand; `None` when the rounds since the question bear it out.
/// `asked_us` is when somebody asked.
pub(super) fn lacks(case: &Case, assessment: &Assessment, asked_us: u64) -> Option<Choice> {
    let own = || localize::localize(&part(case, |seen| seen.scheduled_us >= asked_us));
    match assessment.verdict.outcome {
        VerdictOutcome::Healthy => {
            let own = own();
            (own.verdict.detection.rate > SHOWN_RATE).then_some(own.choice)
        }
        // What is left open by rounds before it broke may be known from those since.
        VerdictOutcome::Inconclusive => {
            let own = own();
            (!own.settled).then_some(own.choice)
        }
        VerdictOutcome::Fault => {
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
    }
}

#[cfg(test)]
mod tests {
    use localize::Alternative;

    use super::super::seen::{SECOND, case_of};
    use super::*;

    /// Whether more is to be probed when somebody asked after so many rounds.
    fn lacks_since(case: &Case, asked: u64, outcome: VerdictOutcome) -> bool {
        let assessment = localize::localize(case);
        assert_eq!(assessment.verdict.outcome, outcome);
        lacks(case, &assessment, asked * SECOND + 1).is_some()
    }

    #[test]
    fn health_is_borne_out_by_as_many_probes_as_would_have_shown_a_fault() {
        let well = case_of(60, |_| false);
        for (asked, lacking) in [(59, true), (54, true), (50, false), (0, false)] {
            let found = lacks_since(&well, asked, VerdictOutcome::Healthy);
            assert_eq!(found, lacking, "{asked}");
        }
    }

    #[test]
    fn rounds_before_the_question_alone_leave_nothing_open() {
        let well = case_of(60, |_| false);
        let mut assessment = localize::localize(&well);
        assessment.verdict.outcome = VerdictOutcome::Inconclusive;
        for (asked, lacking) in [(58, true), (0, false)] {
            let found = lacks(&well, &assessment, asked * SECOND + 1);
            assert_eq!(found.is_some(), lacking, "{asked}");
        }
    }

    #[test]
    fn a_fault_is_borne_out_when_it_strikes_after_the_question() {
        let seldom = |last: u64| move |round: u64| round <= last && round.is_multiple_of(3);
        let rows = [(30, 30, true), (33, 30, false), (33, 33, true)];
        for (last, asked, lacking) in rows {
            let case = case_of(34, seldom(last));
            let found = lacks_since(&case, asked, VerdictOutcome::Fault);
            assert_eq!(found, lacking, "{last} {asked}");
        }
        let periodic = case_of(34, seldom(30));
        let mut assessment = localize::localize(&periodic);
        assessment.verdict.faults[0].pattern = Pattern::Periodic;
        assert!(lacks(&periodic, &assessment, 30 * SECOND + 1).is_none());
        // One that was never seen before needs no more than it shows, if that leaves nothing open.
        let new = case_of(34, |round| round > 30);
        assert!(!lacks_since(&new, 33, VerdictOutcome::Fault));
        let mut assessment = localize::localize(&new);
        for (confidence, lacking) in [(0.04, false), (0.4, true)] {
            let component = assessment.verdict.faults[0].component.clone();
            assessment.verdict.alternatives = vec![Alternative {
                component,
                mode: String::new(),
                confidence,
                because: String::new(),
            }];
            let found = lacks(&new, &assessment, 33 * SECOND + 1);
            assert_eq!(found.is_some(), lacking, "{confidence}");
        }
    }
}
