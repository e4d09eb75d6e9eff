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
use search::{Posterior, Search};

/// Rounds of learning the background.
const ROUNDS: usize = 2;

/// Weighs the explanations, learning the background first.
pub(crate) fn explain(model: &mut Model) -> Posterior {
    model.guess_background();
    for _ in 0..ROUNDS {
        let search = Search::new(model);
        let Some(rates) = model.better_background(&search.greedy()) else {
            return search.finish();
        };
        model.set_background(&rates);
    }
    Search::new(model).finish()
}
