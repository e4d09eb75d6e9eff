//! How often a component fails what crosses it.

use alloc::vec::Vec;

use super::contributions;
use super::lines::Counted;
use crate::engine::fit::Fit;
use crate::engine::search::Set;
use crate::judgement::problem::{Hypothesis, Problem};
use crate::judgement::verdict::Rate;
use crate::judgement::words::{Lateness, Manner};
use crate::reading::cells::Cell;
use crate::world::mode::MODES;
use crate::world::path::PartId;
use crate::world::symptom::{Stage, Symptom};

/// The rate with its interval, and whether nothing got through: counted where the component itself was
/// probed (Wilson's interval on Jeffreys' counts), else from the posterior over the grid.
pub(super) fn rate(problem: &Problem<'_>, fit: &Fit) -> (Rate, bool) {
    let fitted = &fit.fault;
    let hypothesis = problem.hypothesis(fitted);
    let (mut failed, mut of) = (0, 0);
    for index in &problem.cells_of[hypothesis.part] {
        let cell = &problem.evidence.cells[*index];
        if !direct(cell, hypothesis.part)
            || !problem.visible(hypothesis, cell)
            || lossy_data(cell, hypothesis)
        {
            continue;
        }
        let counted = Counted::of(cell, |window| fitted.on(window));
        of += counted.of;
        failed += counted.failed_by(|symptom| problem.explains(hypothesis, cell, symptom));
    }
    if of > 0 {
        let rate = wilson(failed as f64 + 0.5, of as f64 + 1.0);
        (rate, failed == of)
    } else {
        (from_grid(fit), nothing_passed(problem, fit))
    }
}

/// By how much a component is late, as the probes saw it that tell most of it: direct ones, if any.
pub(super) fn lateness<'p>(
    problem: &'p Problem<'_>,
    (set, position): (&Set, usize),
) -> Option<Lateness<'p>> {
    let hypothesis = problem.hypothesis(&set.fits[position].fault);
    if Problem::manner(hypothesis) != Manner::Late {
        return None;
    }
    let cells = contributions(problem, set, position);
    let cells = cells.iter().map(|(_, cell)| &problem.evidence.cells[*cell]);
    let late = cells.filter(|cell| cell.symptoms().any(Symptom::is_late));
    let late: Vec<&Cell> = late.filter(|cell| cell.times.is_some()).collect();
    let straight = late.iter().find(|cell| direct(cell, hypothesis.part));
    let cell = straight.or(late.first())?;
    let times = cell.times?;
    Some(Lateness {
        usual: times.usual,
        median: times.median,
        vantage: &cell.vantage.0,
    })
}

/// Whether every probe that crosses it failed, where none of them crosses it directly.
fn nothing_passed(problem: &Problem<'_>, fit: &Fit) -> bool {
    let hypothesis = problem.hypothesis(&fit.fault);
    let cells = problem.cells_of[hypothesis.part].iter();
    cells
        .map(|index| &problem.evidence.cells[*index])
        .filter(|cell| problem.visible(hypothesis, cell))
        .map(|cell| Counted::of(cell, |window| fit.fault.on(window)))
        .all(|counted| counted.failed == counted.of)
}

/// Whether the cell's own packets cross the part, whichever path they take.
fn direct(cell: &Cell, part: PartId) -> bool {
    cell.alternatives.iter().all(|path| {
        path.crossed
            .iter()
            .any(|c| c.part == part && c.view.is_direct())
    })
}

fn lossy_data(cell: &Cell, hypothesis: Hypothesis) -> bool {
    MODES[hypothesis.mode].lossy && matches!(cell.stage, Stage::Tls | Stage::Http)
}

pub(super) fn wilson(k: f64, n: f64) -> Rate {
    const Z: f64 = 1.96;
    let p = k / n;
    let denominator = 1.0 + Z * Z / n;
    let centre = (p + Z * Z / (2.0 * n)) / denominator;
    let half = Z * libm::sqrt(p * (1.0 - p) / n + Z * Z / (4.0 * n * n)) / denominator;
    Rate {
        estimate: p,
        low: (centre - half).max(0.0),
        high: (centre + half).min(1.0),
    }
}

fn from_grid(fit: &Fit) -> Rate {
    let estimate = fit.rates.iter().map(|(rate, p)| p * rate).sum();
    let mut ascending = fit.rates.clone();
    ascending.sort_by(|a, b| a.0.total_cmp(&b.0));
    let quantile = |share: f64| {
        let mut sum = 0.0;
        for (rate, p) in &ascending {
            sum += p;
            if sum >= share {
                return *rate;
            }
        }
        1.0
    };
    Rate {
        estimate,
        low: quantile(0.025).min(estimate),
        high: quantile(0.975).max(estimate),
    }
}
