//! What anyone could know: each component judged with everything else known.
//!
//! For one component after the other the true calm rates and the true faults of all others are given, and
//! the prior is the one that the faults were drawn from (`fault`): rates, windows and how many there are. No engine
//! that has to find these out can be expected to do better. Only for meshes whose rows have one way each.

use crate::drawing::{self, Column, log_sum};
use crate::engine::{Judgement, Suspect};
use crate::fault::Fault;
use crate::world::Drawn;

/// The judgement of one who knows everything but whether this component is at fault.
#[must_use]
pub fn judge(drawn: &Drawn) -> Judgement {
    let rates = drawing::rates();
    let mut suspects: Judgement = drawn
        .case
        .components
        .iter()
        .map(|component| {
            let log_odds = log_odds(drawn, component.id, &rates);
            Suspect {
                id: component.id,
                probability: 1.0 / (1.0 + (-log_odds).exp()),
            }
        })
        .collect();
    suspects.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    suspects
}

fn log_odds(drawn: &Drawn, id: u32, rates: &[(f64, f64)]) -> f64 {
    let others = drawn.truth.faults.iter().filter(|fault| fault.id != id);
    let others: Vec<Fault> = others.cloned().collect();
    let column = Column::new(&drawn.case, id);
    let seen = column.seen(&drawn.case, &drawn.truth.calm, &others);
    let logs = rates.iter().map(|(rate, prior)| {
        let gains = column.gains(&seen, *rate);
        prior.ln() + drawing::over_patterns(&gains)
    });
    let logs: Vec<f64> = logs.collect();
    drawing::log_odds_of_another(others.len(), drawn.case.components.len()) + log_sum(&logs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Outcome, Summary};
    use crate::{World, draw};

    #[test]
    fn nobody_does_better() {
        let drawn: Vec<Drawn> = (0..12).map(|s| draw(World::Nominal, 3_000, s)).collect();
        let summary = |judge: &dyn Fn(&Drawn) -> Judgement| {
            let outcomes: Vec<Outcome> = drawn
                .iter()
                .map(|drawn| Outcome::new(&judge(drawn), drawn))
                .collect();
            Summary::new(&outcomes)
        };
        let knowing = summary(&judge);
        let ours = summary(&|drawn| (crate::engine::OURS.judge)(&drawn.case, &[]));
        assert!(knowing.f1 > 0.7 && knowing.brier < ours.brier);
    }
}
