//! The inference: which sets of causes explain the counts, and how probable each is.
//!
//! It knows cells, outcomes, paths and causes, and nothing of names, layers or symptoms: the same code
//! judges live observations and counted cases.

mod background;
pub(crate) mod fit;
pub(crate) mod law;
pub(crate) mod model;
pub(crate) mod search;
mod unknown;

use model::Model;
use search::{Posterior, search};

/// Rounds of estimating the background from what the best explanation leaves over.
const ROUNDS: usize = 2;
/// A background that changes by less than this factor needs no further search.
const STEADY: f64 = 1.5;

/// Weighs the explanations, learning the background on the way.
pub(crate) fn explain(model: &mut Model) -> Posterior {
    let mut posterior = search(model);
    for _ in 0..ROUNDS {
        let Some((_, best)) = posterior.sets.first() else {
            break;
        };
        let before: alloc::vec::Vec<f64> = model.cells.iter().map(|c| c.background).collect();
        model.set_background(&model.residual(&best.faults()));
        let steady = model
            .cells
            .iter()
            .zip(before)
            .all(|(cell, old)| (1.0 / STEADY..STEADY).contains(&(cell.background / old)));
        posterior = search(model);
        if steady {
            break;
        }
    }
    posterior
}
