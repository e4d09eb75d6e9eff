//! The inference: which sets of causes explain the counts, and how probable each is.
//!
//! It knows cells, outcomes, paths and causes, and nothing of names, layers or symptoms: the same code
//! judges live observations and counted cases.

mod background;
mod common;
mod company;
pub(crate) mod fit;
pub(crate) mod information;
pub mod interval;
pub(crate) mod law;
mod memo;
pub(crate) mod mixture;
pub(crate) mod model;
mod scaled;
pub(crate) mod search;
mod terms;
mod unknown;

use fit::Fitter;
use model::Model;
use search::{Posterior, Search, Set};

/// Rounds of learning the background.
const ROUNDS: usize = 2;

/// How probable what was seen is by good explanations, as a logarithm; some nats less than [`explain`] finds, in a
/// fraction of its time.
pub(crate) fn glance(model: &mut Model) -> f64 {
    model.guess_background();
    Search::few(&Fitter::new(model)).evidence
}

/// Weighs the explanations, learning the background first.
pub(crate) fn explain(model: &mut Model) -> Posterior {
    model.guess_background();
    let mut good: Option<Set> = None;
    for _ in 0..ROUNDS {
        let fitter = Fitter::new(model);
        let set = match good.take() {
            Some(mut set) => {
                set.refit(&fitter);
                set
            }
            None => Search::greedy(&fitter),
        };
        let faults = set.faults();
        let rates = model.better_background(&faults);
        if rates.is_none() && model.alike(&faults).is_empty() {
            return Search::all(&fitter);
        }
        good = Some(set);
        match rates {
            Some(rates) => model.set_noises(rates),
            None => break,
        }
    }
    if let Some(set) = good {
        model.push_common(&set.faults());
    }
    Search::all(&Fitter::new(model))
}
