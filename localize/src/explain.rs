//! Why: the evidence for every fault and the reason for every component cleared.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::cells::Cell;
use crate::engine::fit::{Fault as Fitted, Fit};
use crate::engine::search::{Posterior, Set};
use crate::inference::Suspect;
use crate::mode::{MODES, View};
use crate::path::PartId;
use crate::problem::{Hypothesis, Problem};
use crate::symptom::Symptom;
use crate::verdict::{Evidence, Exonerated, Fault, Kind, Rate};
use crate::words;

/// Lines of evidence for a fault, and lines of contrast.
const MAX_LINES: usize = 6;
const MAX_CONTRASTS: usize = 3;

/// A component is listed as cleared up to this probability of blame, and from so many probes on.
const CLEARED: f64 = 0.02;
const CLEARED_PROBES: f64 = 5.0;

/// Gain over all that users do from which a fault is said to reach them, in nats.
const FELT: f64 = 1.0;

/// The word for how a part fails, in its most probable reading.
pub(crate) fn mode_word(
    problem: &Problem<'_>,
    posterior: &Posterior,
    parts: &[PartId],
) -> &'static str {
    let blaming = problem.blaming(posterior, parts);
    blaming.map_or("unknown", |(set, place)| {
        MODES[problem.hypothesis(&set.fits[place].fault).mode].word
    })
}

/// A blamed component with everything that a person needs to act on it.
pub(crate) fn fault(
    problem: &Problem<'_>,
    posterior: &Posterior,
    suspect: &Suspect,
    ceiling: f64,
) -> Option<Fault> {
    let (set, position) = problem.blaming(posterior, &suspect.parts)?;
    let fitted = &set.fits[position].fault;
    let mode = MODES[problem.hypothesis(fitted).mode].word;
    let gains = contributions(problem, set, position);
    let (faults, others) = with_and_without(set, position);
    let felt: f64 = gains
        .iter()
        .filter(|(_, cell)| problem.evidence.cells[*cell].user_facing)
        .map(|(_, cell)| {
            problem.failure_likelihood(*cell, &faults) - problem.failure_likelihood(*cell, &others)
        })
        .sum();
    let user_impact = felt > FELT;
    let rate = rate(problem, &set.fits[position]);
    Some(Fault {
        component: suspect.component.clone(),
        mode: mode.to_string(),
        confidence: suspect.blame.min(ceiling),
        user_impact,
        rate,
        summary: summary(suspect, mode, rate, user_impact),
        owner: words::owner(suspect.component.kind).to_string(),
        evidence: evidence(problem, &gains, fitted),
        next_step: words::next_step(&suspect.component, mode),
    })
}

fn summary(suspect: &Suspect, mode: &str, rate: Rate, user_impact: bool) -> String {
    let noun = words::noun(&suspect.component);
    let misdeed = words::misdeed(mode);
    let share = if rate.estimate > 0.9 {
        "(nearly) every time".to_string()
    } else {
        format!("in {:.0} % of the cases", rate.estimate * 100.0)
    };
    let impact = if user_impact {
        "users are affected"
    } else {
        "redundancy hides it from users, capacity is reduced"
    };
    let mut sentence = format!("{noun} {misdeed}, {share}; {impact}.");
    if let Some(first) = sentence.get(..1) {
        let upper = first.to_uppercase();
        sentence.replace_range(..1, &upper);
    }
    sentence
}

/// The faults of a set, and the same without one of them.
fn with_and_without(set: &Set, position: usize) -> (Vec<Fitted>, Vec<Fitted>) {
    let faults = set.faults();
    let mut others = faults.clone();
    others.remove(position);
    (faults, others)
}

/// For every cell that crosses the fault, by how much it speaks for it: the gain of the whole set
/// over the set without the fault. Strongest first.
fn contributions(problem: &Problem<'_>, set: &Set, position: usize) -> Vec<(f64, usize)> {
    let (faults, others) = with_and_without(set, position);
    let hypothesis = problem.hypothesis(&faults[position]);
    let mut gains: Vec<(f64, usize)> = problem.cells_of[hypothesis.part]
        .iter()
        .filter(|cell| problem.visible(hypothesis, &problem.evidence.cells[**cell]))
        .map(|cell| {
            let gain = problem.cell_gain(*cell, &faults) - problem.cell_gain(*cell, &others);
            (gain, *cell)
        })
        .collect();
    gains.sort_by(|a, b| b.0.total_cmp(&a.0));
    gains
}

fn evidence(problem: &Problem<'_>, gains: &[(f64, usize)], fitted: &Fitted) -> Vec<Evidence> {
    let hypothesis = problem.hypothesis(fitted);
    let mut lines: Vec<Evidence> = gains
        .iter()
        .map(|(gain, cell)| (gain, &problem.evidence.cells[*cell]))
        .filter(|(gain, cell)| **gain > 0.0 && problem.shows(hypothesis, cell))
        .take(MAX_LINES)
        .map(|(_, cell)| line(cell, fitted, true))
        .collect();
    let strongest = gains
        .first()
        .map(|(_, cell)| &problem.evidence.cells[*cell]);
    lines.extend(
        strongest
            .into_iter()
            .flat_map(|cell| contrasts(problem, cell, fitted)),
    );
    lines
}

/// Sibling cells that do not cross the fault and are clean: the same stage of the same kind of arm.
fn contrasts(problem: &Problem<'_>, like: &Cell, fitted: &Fitted) -> Vec<Evidence> {
    let mut siblings: Vec<(usize, &Cell)> = problem
        .evidence
        .cells
        .iter()
        .enumerate()
        .filter(|(index, cell)| {
            cell.stage == like.stage
                && core::mem::discriminant(&cell.arm.target)
                    == core::mem::discriminant(&like.arm.target)
                && problem.cells_of[problem.hypothesis(fitted).part]
                    .binary_search(index)
                    .is_err()
                && cell.failed() * 20 <= cell.trials()
        })
        .collect();
    siblings
        .sort_by_key(|(_, cell)| core::cmp::Reverse((cell.vantage == like.vantage, cell.trials())));
    siblings
        .into_iter()
        .take(MAX_CONTRASTS)
        .map(|(_, cell)| line(cell, fitted, false))
        .collect()
}

fn line(cell: &Cell, fitted: &Fitted, implicates: bool) -> Evidence {
    let (mut failed, mut of) = (0, 0);
    let mut kinds: BTreeMap<Symptom, u64> = BTreeMap::new();
    for tally in &cell.tallies {
        let count: u64 = within(&tally.counts, fitted).map(|c| u64::from(*c)).sum();
        of += count;
        if let Some(symptom) = tally.symptom {
            failed += count;
            *kinds.entry(symptom).or_default() += count;
        }
    }
    let failure = kinds
        .iter()
        .filter(|(_, count)| **count > 0)
        .max_by_key(|(_, count)| **count)
        .map_or("", |(symptom, _)| symptom.word());
    let arm = cell.arm.label();
    let counted = words::counted(cell.stage);
    let text = if failed == 0 {
        format!("{} to {arm}: none of {of} {counted} failed", cell.vantage)
    } else {
        let way = if cell.asymmetric {
            "; answers leave by another interface than requests come in by"
        } else {
            ""
        };
        format!(
            "{} to {arm}: {failed} of {of} {counted} failed, mostly {failure}{way}",
            cell.vantage
        )
    };
    Evidence {
        text,
        vantage: cell.vantage.to_string(),
        arm,
        failed,
        of,
        failure: failure.to_string(),
        implicates,
    }
}

/// The counts of the windows in which a fault was on.
fn within<'c>(counts: &'c [u32], fitted: &'c Fitted) -> impl Iterator<Item = &'c u32> {
    let windows = counts.iter().enumerate();
    windows
        .filter(|(w, _)| fitted.on(*w))
        .map(|(_, count)| count)
}

/// The rate with its interval: counted where the component itself was probed (Wilson's interval on
/// Jeffreys' counts), else from the posterior over the grid.
fn rate(problem: &Problem<'_>, fit: &Fit) -> Rate {
    let fitted = &fit.fault;
    let hypothesis = problem.hypothesis(fitted);
    let (mut failed, mut of) = (0.0, 0.0);
    for index in &problem.cells_of[hypothesis.part] {
        let cell = &problem.evidence.cells[*index];
        if !direct(cell, hypothesis.part)
            || !problem.visible(hypothesis, cell)
            || lossy_data(cell, hypothesis)
        {
            continue;
        }
        for tally in &cell.tallies {
            let count: f64 = within(&tally.counts, fitted).map(|c| f64::from(*c)).sum();
            of += count;
            if tally
                .symptom
                .is_some_and(|s| problem.explains(hypothesis, cell, s))
            {
                failed += count;
            }
        }
    }
    if of > 0.0 {
        wilson(failed + 0.5, of + 1.0)
    } else {
        from_grid(fit)
    }
}

/// Whether the cell's own packets cross the part, whichever path they take.
fn direct(cell: &Cell, part: PartId) -> bool {
    cell.alternatives.iter().all(|path| {
        path.crossed
            .iter()
            .any(|c| c.part == part && c.view == View::Direct)
    })
}

fn lossy_data(cell: &Cell, hypothesis: Hypothesis) -> bool {
    use crate::symptom::Stage;
    MODES[hypothesis.mode].lossy && matches!(cell.stage, Stage::Tls | Stage::Http)
}

fn wilson(k: f64, n: f64) -> Rate {
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

/// Probes of the last minute that a fault in the part could have failed, at the stage with the most.
pub(crate) fn crossing_probes(problem: &Problem<'_>, part: PartId) -> f64 {
    let mut by_stage: BTreeMap<_, f64> = BTreeMap::new();
    for index in &problem.cells_of[part] {
        let cell = &problem.evidence.cells[*index];
        let share: f64 = cell
            .alternatives
            .iter()
            .filter(|a| a.crossed.iter().any(|c| c.part == part))
            .map(|a| a.weight)
            .sum();
        *by_stage.entry(cell.stage).or_default() += share * cell.recent as f64;
    }
    by_stage.into_values().fold(0.0, f64::max)
}

fn most_probes(problem: &Problem<'_>, parts: &[PartId]) -> f64 {
    parts
        .iter()
        .map(|part| crossing_probes(problem, *part))
        .fold(0.0, f64::max)
}

/// The components that the probes clear.
pub(crate) fn exonerated(
    problem: &Problem<'_>,
    suspects: &[Suspect],
    faults: &[Fault],
    ceiling: f64,
) -> Vec<Exonerated> {
    let mut cleared: Vec<Exonerated> = suspects
        .iter()
        .filter(|s| s.blame <= CLEARED && !shared_parent(s))
        .filter_map(|suspect| {
            let probes = most_probes(problem, &suspect.parts);
            (probes >= CLEARED_PROBES).then(|| Exonerated {
                component: suspect.component.clone(),
                confidence: (1.0 - suspect.blame).min(ceiling),
                because: because(problem, suspect, faults),
            })
        })
        .collect();
    cleared.sort_by(|a, b| a.component.cmp(&b.component));
    cleared
}

/// Parents that only sum up their children are not worth a line of their own.
fn shared_parent(suspect: &Suspect) -> bool {
    let name = &suspect.component.name;
    suspect.component.kind == Kind::ReturnPath && name.contains('/') || name.starts_with("*->")
}

fn because(problem: &Problem<'_>, suspect: &Suspect, faults: &[Fault]) -> String {
    let (mut failed, mut of) = (0, 0);
    let Some(part) = suspect.parts.first().copied() else {
        return String::new();
    };
    for index in &problem.cells_of[part] {
        let cell = &problem.evidence.cells[*index];
        if cell.alternatives.len() == 1 || !any_direct(problem, part) {
            failed += cell.failed();
            of += cell.trials();
        }
    }
    match faults.first() {
        _ if failed == 0 => format!("none of {of} probes across it failed"),
        Some(fault) => format!(
            "{failed} of {of} probes across it failed, which {} explains",
            words::noun(&fault.component)
        ),
        None => format!("{failed} of {of} probes across it failed, no more than by chance"),
    }
}

fn any_direct(problem: &Problem<'_>, part: PartId) -> bool {
    problem.cells_of[part]
        .iter()
        .any(|index| direct(&problem.evidence.cells[*index], part))
}
