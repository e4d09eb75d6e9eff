//! What would stand in a fault's place, and what speaks against that.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::apart::{Refutation, TELLING, contrasts, crossed_too, refutation};
use super::{contributions, lines, with_and_without};
use crate::engine::fit::{Fault as Fitted, Fitter};
use crate::engine::search::{Posterior, Set};
use crate::facts::component::Component;
use crate::judgement::guilt::Accused;
use crate::judgement::problem::Problem;
use crate::judgement::stretch::Suspect;
use crate::judgement::verdict::Rival;
use crate::judgement::words;
use crate::world::mode::{MODES, Word};
use crate::world::path::PartId;

/// Rivals of one fault that are reported.
const MAX_RIVALS: usize = 3;
/// Candidates that are fitted beside the other faults.
const MAX_FITTED: usize = 6;
/// Cells by which candidates are found: the strongest of the fault.
const MAX_CELLS: usize = 12;
/// What a candidate must explain of those, in nats.
const EXPLAINS: f64 = 1.0;

/// From here on a second rival of one kind says nothing that the first does not, in nats.
const FAR: f64 = 7.0;

/// A set of faults with another one in the place of the one blamed.
pub(super) struct StandIn {
    component: Component,
    part: PartId,
    mode: Word,
    pub(super) faults: Vec<Fitted>,
    /// By how much it is less probable.
    nats: f64,
}

impl StandIn {
    /// How probable it is beside the fault, as a ratio.
    pub(super) fn odds(&self) -> f64 {
        libm::exp(-self.nats)
    }
}

/// What could stand in the place of one fault of a set, the most probable first.
pub(super) fn stand_ins(
    problem: &Problem<'_>,
    posterior: &Posterior,
    (set, position): (&Set, usize),
    suspect: &Suspect,
) -> Vec<StandIn> {
    let candidates = candidates(problem, posterior, (set, position), suspect);
    let fitter = Fitter::new(&problem.model);
    let alone = set.fits.len() == 1 && !set.unknown;
    let held = if alone {
        set.score
    } else {
        fitted(set, &fitter).score
    };
    let mut stand_ins: Vec<StandIn> = candidates
        .into_iter()
        .filter_map(|(component, single)| {
            let mut stand_in = single.clone();
            if !alone {
                let mut place = set.clone();
                place.fits[position] = single.fits[0].clone();
                stand_in = fitted(&place, &fitter);
            }
            if problem.tells_of(&stand_in, suspect.accused()) {
                return None;
            }
            let nats = held - stand_in.score;
            let hypothesis = problem.hypothesis(&single.fits[0].fault);
            let met = met(problem, posterior, hypothesis.part, suspect.accused());
            Some(StandIn {
                component,
                part: hypothesis.part,
                mode: MODES[hypothesis.mode].word,
                faults: stand_in.faults(),
                nats: nats.min(set.score - met).max(0.0),
            })
        })
        .collect();
    stand_ins.sort_by(|a, b| a.nats.total_cmp(&b.nats));
    let mut kinds = BTreeSet::new();
    stand_ins.retain(|s| kinds.insert(s.component.kind) || s.nats < FAR);
    stand_ins.truncate(MAX_RIVALS);
    stand_ins
}

/// A set at its joint optimum, without an unknown cause beside it.
fn fitted(set: &Set, fitter: &Fitter<'_>) -> Set {
    let mut set = set.clone();
    set.unknown = false;
    set.refit(fitter);
    set
}

/// The score of the best set met in the search that blames one part and not who is accused.
fn met(problem: &Problem<'_>, posterior: &Posterior, part: PartId, accused: Accused<'_>) -> f64 {
    let sets = posterior.sets.iter().map(|(_, set)| set);
    sets.filter(|set| !set.unknown && blames(problem, set, &[part]))
        .filter(|set| !blames(problem, set, accused.parts) && !problem.tells_of(set, accused))
        .map(|set| set.score)
        .fold(f64::NEG_INFINITY, f64::max)
}

fn blames(problem: &Problem<'_>, set: &Set, parts: &[PartId]) -> bool {
    let mut fits = set.fits.iter();
    fits.any(|f| parts.contains(&problem.hypothesis(&f.fault).part))
}

/// Other components that explain some of what the fault explains, each in its best reading alone.
fn candidates<'p>(
    problem: &Problem<'_>,
    posterior: &'p Posterior,
    (set, position): (&Set, usize),
    suspect: &Suspect,
) -> Vec<(Component, &'p Set)> {
    let carrying: Vec<usize> = contributions(problem, set, position)
        .into_iter()
        .take(MAX_CELLS)
        .take_while(|(gain, _)| *gain > 0.0)
        .map(|(_, cell)| cell)
        .collect();
    let mut best: BTreeMap<Component, (f64, &Set)> = BTreeMap::new();
    let singles = posterior.sets.iter().map(|(_, set)| set);
    for single in singles.filter(|s| s.fits.len() == 1 && !s.unknown) {
        let part = problem.hypothesis(&single.fits[0].fault).part;
        let Some(component) = problem.evidence.parts[part].component() else {
            continue;
        };
        if component == suspect.component || blames(problem, set, &[part]) {
            continue;
        }
        let faults = single.faults();
        let gains = carrying.iter().map(|c| problem.cell_gain(*c, &faults, &[]));
        let worth: f64 = gains.sum();
        let known = best.get(&component).map_or(EXPLAINS, |(worth, _)| *worth);
        if worth > known {
            best.insert(component, (worth, single));
        }
    }
    let mut best: Vec<(Component, (f64, &Set))> = best.into_iter().collect();
    best.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
    best.truncate(MAX_FITTED);
    best.into_iter().map(|(c, (_, set))| (c, set)).collect()
}

/// The rivals of a fault, as a verdict shows them.
pub(super) fn rivals(
    problem: &Problem<'_>,
    held: &[Fitted],
    stand_ins: Vec<StandIn>,
) -> Vec<Rival> {
    let stand_ins = stand_ins.into_iter();
    stand_ins
        .map(|rival| Rival {
            because: less_probable(problem, held, &rival),
            component: rival.component,
            mode: rival.mode.text().to_string(),
            nats: rival.nats,
        })
        .collect()
}

/// By how much a rival is less probable, and what makes it so.
fn less_probable(problem: &Problem<'_>, held: &[Fitted], rival: &StandIn) -> String {
    let odds = words::less_probable(rival.nats);
    let contrasts = contrasts(problem, held, &rival.faults);
    let all: f64 = contrasts.iter().map(|c| c.nats).sum();
    match contrasts.first() {
        Some(best) if best.nats >= TELLING => {
            let seen = refutation(problem, *best, held, &rival.faults);
            let crosses = problem.cells_of[rival.part].contains(&best.cell);
            let clear = crossed_too(problem, &[rival.part], &rival.faults);
            match (&seen, clear) {
                (Refutation::Fewer(text), Some(clear)) if crosses => {
                    format!("{odds}: {text}; {clear}")
                }
                _ => format!("{odds}: {}", seen.text()),
            }
        }
        _ if all >= TELLING => format!("{odds}, by all observations together"),
        _ => format!("{odds} beforehand; no probe tells the two apart"),
    }
}

/// What a candidate explains, and what tells it from the most probable one.
pub(crate) fn candidate(
    problem: &Problem<'_>,
    posterior: &Posterior,
    suspect: &Suspect,
    leader: &Suspect,
) -> String {
    let with = |wanted: &[PartId], unwanted: &[PartId]| {
        posterior
            .sets
            .iter()
            .find(|(_, set)| blames(problem, set, wanted) && !blames(problem, set, unwanted))
    };
    let Some((set, position)) = problem.blaming(posterior, suspect.accused()) else {
        return String::new();
    };
    let strongest = contributions(problem, set, position).into_iter().next();
    let strongest = strongest.map_or(String::new(), |(_, cell)| {
        let fault = &set.fits[position].fault;
        let manner = Problem::manner(problem.hypothesis(fault));
        lines::text(&problem.evidence.cells[cell], fault, manner)
    });
    if suspect.component == leader.component {
        return format!("what it explains best: {strongest}");
    }
    let name = words::noun(&leader.what);
    if blames(problem, set, &leader.parts) {
        return format!("beside {name}, for {strongest}");
    }
    let Some((_, held)) = with(&leader.parts, &suspect.parts) else {
        return strongest;
    };
    let (held, other) = (held.faults(), with_and_without(set, position).0);
    match contrasts(problem, &held, &other).first() {
        Some(best) if best.nats >= TELLING => {
            let seen = refutation(problem, *best, &held, &other);
            format!("unlike {name}: {}", seen.text())
        }
        _ => format!("no probe tells it from {name}"),
    }
}
