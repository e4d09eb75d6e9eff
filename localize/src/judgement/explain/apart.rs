//! What tells two explanations apart: the cells that the one makes more probable than the other.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::lines;
use crate::engine::fit::Fault as Fitted;
use crate::engine::mixture::{Mixture, Room};
use crate::engine::model::{Acting, Outcome, index32, touches_in};
use crate::judgement::problem::Problem;
use crate::judgement::words::{self, Manner, Tried};
use crate::reading::cells::Cell;
use crate::world::part::What;
use crate::world::path::PartId;
use crate::world::symptom::Symptom;

/// Under this many nats a cell does not tell two explanations apart: odds of two to one.
pub(super) const TELLING: f64 = 0.7;

/// Counts carry a contrast when they make up this share of it; else it is what was seen, or who served.
const BY_COUNT: f64 = 0.4;

/// How much more probable one explanation makes a cell than another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contrast {
    pub(super) cell: usize,
    /// Logarithm of the ratio of likelihoods.
    pub(super) nats: f64,
}

/// The cells that either explanation touches, the one that speaks most for `held` first.
pub(super) fn contrasts(problem: &Problem<'_>, held: &[Fitted], other: &[Fitted]) -> Vec<Contrast> {
    let parts = held.iter().chain(other).map(|f| problem.hypothesis(f).part);
    let mut cells: Vec<usize> = parts
        .flat_map(|part| problem.cells_of[part].iter().copied())
        .collect();
    cells.sort_unstable();
    cells.dedup();
    let mut contrasts: Vec<Contrast> = cells
        .into_iter()
        .map(|cell| Contrast {
            cell,
            nats: problem.cell_gain(cell, held, other),
        })
        .collect();
    contrasts.sort_by(|a, b| b.nats.total_cmp(&a.nats));
    contrasts
}

/// How many of a cell's probes the faults would fail, chance included.
pub(super) fn predicted(problem: &Problem<'_>, index: usize, faults: &[Fitted]) -> f64 {
    let model = &problem.model;
    let pass = Outcome::possible(None, None, 0.0);
    let failing = |window: usize| {
        let acting: Vec<Acting<'_>> = faults
            .iter()
            .filter(|fault| fault.on(window))
            .map(|fault| Acting {
                touches: touches_in(&model.causes[fault.cause].touches, index32(index)),
                theta: fault.rates(window),
                masked: fault.masked(window),
            })
            .collect();
        let mut room = Room::default();
        let mixture = Mixture::new(model, &model.cells[index], &acting, &mut room);
        1.0 - mixture.probability(&pass)
    };
    let cell = &problem.evidence.cells[index];
    (0..problem.evidence.windows)
        .map(|window| (window, trials_in(cell, window)))
        .filter(|(_, trials)| *trials > 0.0)
        .map(|(window, trials)| trials * failing(window))
        .sum()
}

fn trials_in(cell: &Cell, window: usize) -> f64 {
    let counts = cell.tallies.iter().map(|t| f64::from(t.counts[window]));
    counts.sum()
}

/// Why one explanation fits a cell less well than another, as a clause.
pub(super) enum Refutation {
    /// It would have failed more than were seen to fail.
    More(String),
    /// It would have failed fewer.
    Fewer(String),
    /// It would have failed them otherwise, or others would have served.
    Otherwise(String),
}

impl Refutation {
    /// The clause.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::More(text) | Self::Fewer(text) | Self::Otherwise(text) => text,
        }
    }
}

/// What the other explanation would have shown where the two differ, and what was seen there.
pub(super) fn refutation(
    problem: &Problem<'_>,
    contrast: Contrast,
    held: &[Fitted],
    other: &[Fitted],
) -> Refutation {
    let cell = &problem.evidence.cells[contrast.cell];
    let (failed, of) = (cell.failed(), cell.trials());
    let expected = predicted(problem, contrast.cell, other);
    let by_count = by_count(cell, predicted(problem, contrast.cell, held), expected);
    let more = expected - failed as f64;
    if by_count < contrast.nats * BY_COUNT || libm::fabs(more) < 0.5 {
        return Refutation::Otherwise(otherwise(problem, contrast, held, other));
    }
    let mine = other.iter().map(|f| problem.hypothesis(f));
    let foreseen = mine.filter_map(|h| problem.likeliest(h, cell));
    let manner = Manner::of(cell.symptoms().chain(foreseen));
    let text = format!(
        "{} would have seen {} of {of} {}, and saw {}",
        lines::place(cell),
        words::foreseen(expected, of),
        words::failing(cell.stage, manner),
        words::seen(failed, of)
    );
    if more > 0.0 {
        Refutation::More(text)
    } else {
        Refutation::Fewer(text)
    }
}

/// Where as many would have failed: what they would have shown, or who would have served the rest.
fn otherwise(
    problem: &Problem<'_>,
    contrast: Contrast,
    held: &[Fitted],
    other: &[Fitted],
) -> String {
    let cell = &problem.evidence.cells[contrast.cell];
    let place = lines::place(cell);
    let seen = lines::commonest(cell);
    let mine = other
        .iter()
        .filter_map(|f| problem.likeliest(problem.hypothesis(f), cell));
    let foreseen = mine.min_by_key(|symptom| Some(*symptom) != seen);
    match (foreseen, seen) {
        (Some(foreseen), Some(seen)) if foreseen != seen => format!(
            "it would show mostly as {}, and {place} saw {}",
            foreseen.word(),
            seen.word()
        ),
        _ => match spared(problem, cell, held) {
            Some((backend, passed)) => {
                let well = match seen.is_some_and(Symptom::is_late) {
                    true => "were in time",
                    false => "passed",
                };
                format!(
                    "it would not explain why {backend} served none of the {passed} that {well} from {place}"
                )
            }
            None => {
                let odds = words::less_probable(contrast.nats);
                format!("what {place} saw is {odds} with it")
            }
        },
    }
}

/// The one backend that the faults are on the way to, where it served none of several that passed.
fn spared<'p>(problem: &'p Problem<'_>, cell: &Cell, held: &[Fitted]) -> Option<(&'p str, u64)> {
    let guilty = |part: PartId| held.iter().any(|f| problem.hypothesis(f).part == part);
    let ways = cell.alternatives.iter();
    let mut ways = ways.filter(|w| w.crossed.iter().any(|c| guilty(c.part)));
    let (way, None) = (ways.next()?, ways.next()) else {
        return None;
    };
    let passed = cell.tallies.iter().filter(|t| t.symptom.is_none());
    let served = |told: &Option<usize>| told.is_some() && *told == way.backend;
    let (mut all, mut told) = (0, false);
    for tally in passed {
        if served(&tally.served_by) {
            return None;
        }
        told |= tally.served_by.is_some();
        all += tally.total();
    }
    let mut parts = way.crossed.iter().map(|c| &problem.evidence.parts[c.part]);
    let name = parts.find_map(|p| {
        if let What::Backend(name) = &p.what {
            Some(name)
        } else {
            None
        }
    })?;
    (told && all > 1).then_some((name, all))
}

/// The arm with the most probes across a component on which a fault of it would show and nothing
/// failed.
pub(super) fn crossed_too(
    problem: &Problem<'_>,
    parts: &[PartId],
    faults: &[Fitted],
) -> Option<String> {
    let cells = &problem.evidence.cells;
    let shows = |cell: &Cell| {
        let mut ways = cell.alternatives.iter();
        let sure = ways.all(|w| w.crossed.iter().any(|c| parts.contains(&c.part)));
        let mut mine = faults.iter().map(|f| problem.hypothesis(f));
        sure && mine.any(|h| parts.contains(&h.part) && problem.visible(h, cell))
    };
    let calm = |cell: &Cell| {
        let mut same = cells
            .iter()
            .filter(|c| c.vantage == cell.vantage && c.arm == cell.arm);
        same.all(|c| c.failed() == 0)
    };
    let crossing = parts.iter().flat_map(|part| &problem.cells_of[*part]);
    let most = crossing
        .map(|index| &cells[*index])
        .filter(|cell| shows(cell) && calm(cell))
        .max_by_key(|cell| (cell.trials(), cell.stage))?;
    let mut mine = faults.iter().map(|f| problem.hypothesis(f));
    let mine = mine.find(|h| parts.contains(&h.part));
    let manner = mine.map_or(Manner::Failed, Problem::manner);
    let outcome = words::outcome(most.stage, Tried::clean(most.trials(), manner));
    Some(format!("{} crosses it too: {outcome}", lines::place(most)))
}

/// Logarithm of the ratio of likelihoods that the numbers of failures alone make.
fn by_count(cell: &Cell, held: f64, other: f64) -> f64 {
    let (failed, of) = (cell.failed() as f64, cell.trials() as f64);
    let likelihood = |expected: f64| {
        let rate = (expected / of).clamp(1e-4, 1.0 - 1e-4);
        failed * libm::log(rate) + (of - failed) * libm::log(1.0 - rate)
    };
    likelihood(held) - likelihood(other)
}
