//! The lines of evidence: chosen by what leaving each out would cost, shown in the order of a request.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::apart::{TELLING, contrasts};
use super::rivals::StandIn;
use super::{contributions, with_and_without};
use crate::engine::fit::Fault as Fitted;
use crate::engine::search::Set;
use crate::judgement::problem::Problem;
use crate::judgement::verdict::Evidence;
use crate::judgement::words::{self, Manner, Tried};
use crate::reading::cells::Cell;
use crate::world::mode::MODES;
use crate::world::symptom::{Stage, Symptom};

/// Lines that implicate, and lines of contrast.
const MAX_LINES: usize = 6;
const MAX_CONTRASTS: usize = 3;
/// Contrasts there should be: where no rival needs one, siblings show that they are well.
const CONTRASTS: usize = 2;
/// A cell is clean when one in so many of its probes failed at most.
const CLEAN: u64 = 20;

/// A cell with what leaving it out would cost, in nats.
struct Line<'a> {
    cell: &'a Cell,
    implicates: bool,
    nats: f64,
}

/// The lines that carry one fault of a set.
pub(super) fn evidence(
    problem: &Problem<'_>,
    (set, position): (&Set, usize),
    rivals: &[StandIn],
) -> Vec<Evidence> {
    let (faults, _) = with_and_without(set, position);
    let fitted = &faults[position];
    let hypothesis = problem.hypothesis(fitted);
    let cells = &problem.evidence.cells;
    let mut carrying = contributions(problem, set, position);
    carrying.retain(|(gain, cell)| *gain > 0.0 && problem.shows(hypothesis, &cells[*cell]));
    let telling = telling(problem, &faults, rivals);
    // Stable: among those that tell it from a rival, and among the others, the strongest first.
    carrying.sort_by_key(|(_, cell)| !telling.contains(cell));
    let mut lines: Vec<Line<'_>> = carrying
        .into_iter()
        .take(MAX_LINES)
        .map(|(nats, cell)| Line {
            cell: &cells[cell],
            implicates: true,
            nats,
        })
        .collect();
    let mut clean = refuting(problem, &faults, rivals);
    if let Some(strongest) = lines.first().map(|line| line.cell) {
        for cell in siblings(problem, strongest, fitted) {
            let twin = is_twin(&cells[cell], strongest);
            let wanted = clean.len() < CONTRASTS || twin;
            if wanted && !clean.iter().any(|(c, _)| *c == cell) {
                let nats = if twin {
                    spared(&cells[cell], strongest, fitted)
                } else {
                    0.0
                };
                clean.push((cell, nats));
            }
        }
    }
    lines.extend(clean.into_iter().map(|(cell, nats)| Line {
        cell: &cells[cell],
        implicates: false,
        nats,
    }));
    reading_order(&mut lines);
    let manner = Problem::manner(hypothesis);
    let lines = lines.iter();
    lines.map(|line| written(line, fitted, manner)).collect()
}

/// For each rival the cell that refutes it best.
fn telling(problem: &Problem<'_>, faults: &[Fitted], rivals: &[StandIn]) -> Vec<usize> {
    let best = rivals.iter().filter_map(|rival| {
        let contrasts = contrasts(problem, faults, &rival.faults);
        contrasts.into_iter().next()
    });
    best.filter(|c| c.nats >= TELLING).map(|c| c.cell).collect()
}

/// For each rival the clean cell that refutes it best.
fn refuting(problem: &Problem<'_>, faults: &[Fitted], rivals: &[StandIn]) -> Vec<(usize, f64)> {
    let mut clean: Vec<(usize, f64)> = Vec::new();
    for rival in rivals {
        let best = contrasts(problem, faults, &rival.faults)
            .into_iter()
            .find(|c| is_clean(&problem.evidence.cells[c.cell]));
        let Some(best) = best.filter(|c| c.nats >= TELLING) else {
            continue;
        };
        if let Some((_, nats)) = clean.iter_mut().find(|(cell, _)| *cell == best.cell) {
            *nats = nats.max(best.nats);
        } else if clean.len() < MAX_CONTRASTS {
            clean.push((best.cell, best.nats));
        }
    }
    clean
}

fn is_clean(cell: &Cell) -> bool {
    cell.failed() * CLEAN <= cell.trials()
}

/// The same probes from ports that the kernel chose, for what users ask for.
fn is_twin(cell: &Cell, of: &Cell) -> bool {
    cell.vantage == of.vantage && cell.arm != of.arm && cell.arm == of.arm.plain()
}

/// What speaks against a fault that strikes all alike: were the twin struck as often as the other one, so
/// many passes would be so rare a chance.
fn spared(twin: &Cell, struck: &Cell, fitted: &Fitted) -> f64 {
    let on = |cell| Counted::of(cell, |window| fitted.on(window));
    let (twin, struck) = (on(twin), on(struck));
    let rate = struck.failed as f64 / (struck.of + 1) as f64;
    let passed = twin.of.saturating_sub(twin.failed);
    -(passed as f64) * libm::log(1.0 - rate)
}

/// Clean cells that the fault leaves alone: the same stage of the same kind of arm, one twin first, then
/// those from the same vantage point.
fn siblings<'p>(
    problem: &'p Problem<'_>,
    like: &Cell,
    fitted: &Fitted,
) -> impl Iterator<Item = usize> + 'p {
    let hypothesis = problem.hypothesis(fitted);
    let kind = core::mem::discriminant(&like.arm.target);
    let strikes = |stage| {
        let mut stages = MODES[hypothesis.mode].direct.iter();
        stages.any(|(at, _)| *at == stage)
    };
    let alike = |cell: &Cell| {
        core::mem::discriminant(&cell.arm.target) == kind
            && (cell.stage == like.stage || is_twin(cell, like) && strikes(cell.stage))
    };
    let mut siblings: Vec<(usize, &Cell)> = problem
        .evidence
        .cells
        .iter()
        .enumerate()
        .filter(|(_, cell)| alike(cell) && !problem.visible(hypothesis, cell) && is_clean(cell))
        .collect();
    siblings.sort_by_key(|(_, cell)| {
        let near = cell.vantage == like.vantage;
        core::cmp::Reverse((is_twin(cell, like), near, cell.trials()))
    });
    siblings.dedup_by(|(_, a), (_, b)| is_twin(a, like) && is_twin(b, like));
    siblings.into_iter().map(|(index, _)| index)
}

/// The order in which a person follows a request: DNS, TCP, TLS, HTTP; in each what passed first.
fn reading_order(lines: &mut [Line<'_>]) {
    let place = |line: &Line<'_>| (layer(line.cell.stage), line.implicates, line.cell.stage);
    lines.sort_by(|a, b| {
        let by_place = place(a).cmp(&place(b));
        by_place.then_with(|| b.nats.total_cmp(&a.nats))
    });
}

/// The place of a stage's layer in a request.
fn layer(stage: Stage) -> u8 {
    match stage {
        Stage::Dns => 0,
        Stage::Tcp | Stage::Arrive | Stage::Answer | Stage::Return => 1,
        Stage::Tls => 2,
        Stage::Http => 3,
    }
}

/// A cell's counts while a fault was on.
pub(super) struct Counted {
    pub(super) failed: u64,
    pub(super) of: u64,
    /// How often each symptom was seen.
    kinds: BTreeMap<Symptom, u64>,
}

impl Counted {
    pub(super) fn of(cell: &Cell, within: impl Fn(usize) -> bool) -> Self {
        let mut counted = Self {
            failed: 0,
            of: 0,
            kinds: BTreeMap::new(),
        };
        for tally in &cell.tallies {
            let counts = tally.counts.iter().enumerate().filter(|(w, _)| within(*w));
            let count: u64 = counts.map(|(_, count)| u64::from(*count)).sum();
            counted.of += count;
            if let Some(symptom) = tally.symptom.filter(|_| count > 0) {
                counted.failed += count;
                *counted.kinds.entry(symptom).or_default() += count;
            }
        }
        counted
    }

    /// How many failures showed as symptoms of a sort.
    pub(super) fn failed_by(&self, sort: impl Fn(Symptom) -> bool) -> u64 {
        let kinds = self.kinds.iter().filter(|(symptom, _)| sort(**symptom));
        kinds.map(|(_, count)| count).sum()
    }

    fn commonest(&self) -> Option<Symptom> {
        let most = self.kinds.iter().max_by_key(|(_, count)| **count);
        most.map(|(symptom, _)| *symptom)
    }
}

/// What most of a cell's failures were.
pub(super) fn commonest(cell: &Cell) -> Option<Symptom> {
    Counted::of(cell, |_| true).commonest()
}

/// From where to where a cell's probes went.
pub(super) fn place(cell: &Cell) -> String {
    format!("{} to {}", cell.vantage, cell.arm.label())
}

/// A cell in words, counted while the fault was on; where nothing went wrong, what was looked for.
pub(super) fn text(cell: &Cell, fitted: &Fitted, looked_for: Manner) -> String {
    let counted = Counted::of(cell, |window| fitted.on(window));
    let manner = match counted.failed {
        0 => looked_for,
        _ => Manner::of(counted.kinds.keys().copied()),
    };
    let tried = Tried {
        failed: counted.failed,
        of: counted.of,
        commonest: counted.commonest(),
        mixed: counted.kinds.len() > 1,
        manner,
    };
    let outcome = words::outcome(cell.stage, tried);
    let times = match (cell.times, manner) {
        (Some(times), Manner::Late) => format!(
            " (median {} against {} usually)",
            words::duration(times.median),
            words::duration(times.usual)
        ),
        _ => String::new(),
    };
    let way = if cell.asymmetric && counted.failed > 0 {
        "; answers leave by another interface than requests come in by"
    } else {
        ""
    };
    format!("{}: {outcome}{times}{way}", place(cell))
}

fn written(line: &Line<'_>, fitted: &Fitted, looked_for: Manner) -> Evidence {
    let cell = line.cell;
    let counted = Counted::of(cell, |window| fitted.on(window));
    Evidence {
        text: text(cell, fitted, looked_for),
        vantage: cell.vantage.to_string(),
        arm: cell.arm.label(),
        failed: counted.failed,
        of: counted.of,
        failure: counted.commonest().map_or("", Symptom::word).to_string(),
        implicates: line.implicates,
        nats: line.nats,
    }
}
