//! What one stretch of a window makes probable in the next one.

use alloc::collections::BTreeMap;
use alloc::vec;

use crate::engine::search::Posterior;
use crate::facts::component::Component;
use crate::judgement::habit::AS_BEFORE;
use crate::judgement::problem::{Hypothesis, Problem};
use crate::world::mode::{MODES, Mode, Word};
use crate::world::part::Part;
use crate::world::signature::Distribution;

/// What earlier stretches make probable: components in a mode.
#[derive(Default)]
pub(crate) struct Carried(BTreeMap<(Component, Word), Expected>);

/// What is expected of a component in a mode.
#[derive(Default)]
pub(crate) struct Expected {
    /// With this probability it was at fault, at its worst time.
    was: f64,
    /// With this one it is so in the stretch that is judged next.
    will_be: f64,
    /// How it showed, by signature, when it was most to blame.
    pub(crate) habits: BTreeMap<u16, Distribution>,
}

/// How probable it is that whoever was at fault is so in the next stretch.
#[derive(Clone, Copy)]
pub(crate) struct Again {
    /// If it was so in the last one, which the next one follows at once.
    pub(crate) goes_on: f64,
    /// If it was so at any time.
    pub(crate) returns: f64,
}

/// A stretch in which it was so with this share of the most that it ever was shows how it does.
const SHOWS: f64 = 0.5;

impl Carried {
    /// Every component that was at fault with at least `least` may be so again, and shows itself as it did.
    pub(crate) fn expect(
        &mut self,
        problem: &Problem<'_>,
        posterior: &Posterior,
        again: Again,
        least: f64,
    ) {
        self.rest(again);
        let mut guilts = vec![0.0; problem.hypotheses.len()];
        for (weight, set) in &posterior.sets {
            for (fit, guilt) in set.fits.iter().zip(&set.guilt) {
                guilts[fit.fault.cause] += weight * guilt;
            }
        }
        // In every word the sum over its causes, and the last one that outweighs those before it.
        let mut by_word: BTreeMap<(Component, Word), (f64, usize)> = BTreeMap::new();
        for (cause, Hypothesis { part, mode }) in problem.hypotheses.iter().enumerate() {
            let Some(component) = problem.evidence.parts[*part].component() else {
                continue;
            };
            let word = by_word.entry((component, MODES[*mode].word));
            let (sum, most) = word.or_insert((0.0, cause));
            if guilts[cause] >= *sum {
                *most = cause;
            }
            *sum += guilts[cause];
        }
        for (key, (guilt, cause)) in by_word
            .into_iter()
            .filter(|(_, (guilt, _))| *guilt >= least)
        {
            let known = self.0.entry(key).or_default();
            let guilt = guilt.min(1.0);
            known.was = known.was.max(guilt);
            known.will_be = (known.was * again.returns).max(guilt * again.goes_on);
            if guilt >= SHOWS * known.was {
                known.habits.clone_from(&problem.habits[cause]);
            }
        }
    }

    /// Nobody is known to have failed a moment ago.
    pub(crate) fn rest(&mut self, again: Again) {
        let all = self.0.values_mut();
        all.for_each(|known| known.will_be = known.was * again.returns);
    }

    /// What is expected of a part in a mode.
    pub(crate) fn expected(&self, part: &Part, mode: &Mode) -> Option<&Expected> {
        self.0.get(&(part.component()?, mode.word))
    }
}

/// The logarithm of the prior odds of a part failing in a mode. What was expected of it is expected of a fault
/// that shows itself as it did.
pub(crate) fn log_odds(
    part: &Part,
    mode: &Mode,
    expected: Option<&Expected>,
    as_before: bool,
) -> f64 {
    let fresh = libm::log(part.prior / (1.0 - part.prior)) + libm::log(mode.share);
    let share = if as_before {
        AS_BEFORE
    } else {
        1.0 - AS_BEFORE
    };
    let known = expected.map(|e| e.will_be * share);
    let known = known.map(|p| libm::log(p / (1.0 - p)));
    known.map_or(fresh, |known| fresh.max(known))
}
