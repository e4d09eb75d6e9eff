//! The inference: which sets of causes explain the counts, and how probable each is.
//!
//! It knows cells, outcomes, paths and causes, and nothing of names, layers or symptoms: the same code
//! judges live observations and counted cases.

mod background;
pub(crate) mod fit;
pub(crate) mod information;
pub(crate) mod law;
pub(crate) mod model;
pub(crate) mod search;
mod unknown;

use model::Model;
use search::{Posterior, search};

/// A background that changes by less than this factor was known well enough.
const STEADY: f64 = 1.5;

/// Weighs the explanations, learning the background on the way.
pub(crate) fn explain(model: &mut Model) -> Posterior {
    model.guess_background();
    let posterior = search(model);
    let best = posterior.sets.first().map(|(_, set)| set.faults());
    if model.learn_background(&best.unwrap_or_default()) < STEADY {
        return posterior;
    }
    search(model)
}
