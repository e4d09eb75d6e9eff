//! Which answers are what somebody wants, where no service file says it.
//!
//! Calm times say what was usual. Where these do not, an answer that no user wants (an error that blames
//! the request, a redirect to another site) is a fault only beside better ones: from a site that answers
//! nothing else, it is neither good nor bad, but a question to its operator.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;

use crate::facts::baseline::Baselines;
use crate::facts::case::Case;
use crate::facts::observation::{
    Arm, Failure, HttpFacts, Layer, Object, Observation, Outcome, Redirect,
};
use crate::facts::topology::Expectation;

/// Share of the answers that makes one of them the usual one.
const CLEAR_MAJORITY: f64 = 0.6;
/// Fewer answers of calm times say nothing.
const CALM_ENOUGH: u64 = 20;

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Somebody wants it, or calm times had it.
    Good,
    /// Others or calm times had better ones.
    Bad,
    /// Nobody has said, and there never was another one.
    Open,
}

/// An answer that no user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unwanted {
    Status(u16),
    Elsewhere,
}

/// What answers to requests for each object are worth.
#[derive(Clone)]
pub(crate) struct Wanted {
    expect: Expectation,
    /// Statuses that calm times had mostly, by object.
    usual: BTreeMap<Object, BTreeSet<u16>>,
    /// The objects of which a good answer was seen, in the window or in calm times.
    better: BTreeSet<Object>,
    /// What nearly all answers to requests for the usual object are, where none was better.
    asked: Option<Unwanted>,
}

impl Wanted {
    /// Reads the window and the calm record before it.
    pub(crate) fn new(case: &Case, observations: &[&Observation]) -> Self {
        let usual = usual(&case.baselines);
        let mut better = better_in_calm(&case.baselines);
        let mut answers: BTreeMap<Unwanted, u32> = BTreeMap::new();
        let mut of = 0;
        for observation in observations {
            let Some(http) = &observation.facts.http else {
                continue;
            };
            let object = observation.arm.traits.object;
            of += u32::from(object.is_plain());
            match unwanted(http) {
                Some(unwanted) if object.is_plain() => *answers.entry(unwanted).or_default() += 1,
                Some(_) => {}
                None if observation.outcome == Outcome::Passed => {
                    better.insert(object);
                }
                None => {}
            }
        }
        let commonest = answers.into_iter().max_by_key(|(_, count)| *count);
        let asked = commonest.filter(|(unwanted, count)| {
            let known = match unwanted {
                Unwanted::Status(status) => is_usual(&usual, Object::Usual, *status),
                Unwanted::Elsewhere => usual_redirect(&usual),
            };
            case.topology.expect == Expectation::Undeclared
                && !known
                && !better.contains(&Object::Usual)
                && f64::from(*count) >= CLEAR_MAJORITY * f64::from(of)
        });
        Self {
            expect: case.topology.expect,
            usual,
            better,
            asked: asked.map(|(unwanted, _)| unwanted),
        }
    }

    /// What a failure for its status is worth.
    pub(crate) fn of_failure(&self, failure: Failure, arm: &Arm) -> Worth {
        if let Failure::HttpStatus(status @ 400..=499) = failure {
            return self.of(Unwanted::Status(status), arm);
        }
        Worth::Bad
    }

    /// What an answer is worth that passed. Where the service file says what a good one is, the agent has
    /// held it against that, and whatever its status means elsewhere, it is good.
    pub(crate) fn of_answer(&self, http: &HttpFacts, arm: &Arm) -> Worth {
        match self.expect {
            Expectation::Declared => Worth::Good,
            Expectation::Undeclared => {
                unwanted(http).map_or(Worth::Good, |unwanted| self.of(unwanted, arm))
            }
        }
    }

    fn of(&self, unwanted: Unwanted, arm: &Arm) -> Worth {
        if self.expect == Expectation::Declared {
            return match unwanted {
                Unwanted::Status(_) => Worth::Bad,
                Unwanted::Elsewhere => Worth::Good,
            };
        }
        let known = match unwanted {
            Unwanted::Status(status) => is_usual(&self.usual, arm.traits.object, status),
            Unwanted::Elsewhere => usual_redirect(&self.usual),
        };
        match (known, self.better.contains(&arm.traits.object)) {
            (true, _) => Worth::Good,
            (false, true) => Worth::Bad,
            (false, false) => Worth::Open,
        }
    }

    /// What the operator is to be asked, where no good answer was ever seen.
    pub(crate) fn question(&self) -> Option<String> {
        let seen = match self.asked? {
            Unwanted::Status(status) => format!("answers {status} to every request"),
            Unwanted::Elsewhere => String::from("sends every request to another site"),
        };
        Some(format!(
            "the service {seen}, and has never answered otherwise: say under [expect] in the service file what a good answer is (for example `status = [200]`, or that status), or under [request] how to ask for one"
        ))
    }
}

fn unwanted(http: &HttpFacts) -> Option<Unwanted> {
    match (http.status, http.redirect) {
        (status @ 400..=499, _) => Some(Unwanted::Status(status)),
        (_, Redirect::Elsewhere) => Some(Unwanted::Elsewhere),
        (_, Redirect::None | Redirect::Within) => None,
    }
}

fn is_usual(usual: &BTreeMap<Object, BTreeSet<u16>>, object: Object, status: u16) -> bool {
    usual
        .get(&object)
        .is_some_and(|known| known.contains(&status))
}

fn usual_redirect(usual: &BTreeMap<Object, BTreeSet<u16>>) -> bool {
    let mut statuses = usual.values().flatten();
    statuses.any(|status| (300..400).contains(status))
}

/// How often each status was answered in calm times, by object.
fn calm_statuses(baselines: &Baselines) -> BTreeMap<Object, BTreeMap<u16, u64>> {
    let mut counts: BTreeMap<Object, BTreeMap<u16, u64>> = BTreeMap::new();
    for baseline in baselines.0.iter().filter(|b| b.layer == Layer::Http) {
        let counts = counts.entry(baseline.arm.traits.object).or_default();
        for (status, times) in &baseline.statuses {
            *counts.entry(*status).or_default() += times;
        }
    }
    counts
}

fn usual(baselines: &Baselines) -> BTreeMap<Object, BTreeSet<u16>> {
    let counts = calm_statuses(baselines).into_iter();
    let usual = counts.map(|(object, counts)| {
        let total: u64 = counts.values().sum();
        let clear = |times: u64| times as f64 >= CLEAR_MAJORITY * total as f64;
        let usual = counts.into_iter();
        let usual = usual.filter(|(_, times)| total >= CALM_ENOUGH && clear(*times));
        (object, usual.map(|(status, _)| status).collect())
    });
    usual.collect()
}

/// The objects of which calm times had an answer below 400 that led nowhere; without a record of
/// statuses, one that passed.
fn better_in_calm(baselines: &Baselines) -> BTreeSet<Object> {
    let requests = baselines.0.iter().filter(|b| b.layer == Layer::Http);
    let good = requests.filter(|b| match b.statuses.as_slice() {
        [] => b.passed > 0,
        statuses => statuses
            .iter()
            .any(|(status, _)| (200..300).contains(status)),
    });
    good.map(|b| b.arm.traits.object).collect()
}
