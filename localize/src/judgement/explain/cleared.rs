//! Why each cleared component is cleared.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::apart::{Contrast, Refutation, TELLING, contrasts, crossed_too, predicted, refutation};
use super::{contributions, crossing_probes};
use crate::engine::fit::Fault as Fitted;
use crate::engine::search::{Posterior, Set};
use crate::facts::component::Kind;
use crate::facts::observation::Arm;
use crate::facts::topology::VantageName;
use crate::judgement::problem::{Hypothesis, Problem};
use crate::judgement::stretch::Suspect;
use crate::judgement::verdict::Exonerated;
use crate::judgement::words::{self, Manner, Tried};
use crate::reading::cells::{Cell, Tally};
use crate::world::mode::MODES;
use crate::world::path::PartId;
use crate::world::symptom::{Stage, Symptom};

/// A component is listed as cleared up to this probability of blame, and from so many probes on.
const CLEARED: f64 = 0.02;
const CLEARED_PROBES: f64 = 5.0;

/// What a fault must explain of the failures across a component to be named as their cause, in nats.
const EXPLAINS: f64 = 1.0;

/// Whether the probes clear a component.
pub(crate) fn cleared(problem: &Problem<'_>, suspect: &Suspect) -> bool {
    let probes = suspect.parts.iter().map(|p| crossing_probes(problem, *p));
    suspect.blame <= CLEARED
        // Parents that only sum up their children are not worth a line of their own.
        && !suspect.what.is_shared_parent()
        && probes.fold(0.0, f64::max) >= CLEARED_PROBES
        && crossed(problem, &suspect.parts)
}

/// Whether some probe has crossed one of the parts for certain: there was no other way for it, or the
/// answer told which way it was.
fn crossed(problem: &Problem<'_>, parts: &[PartId]) -> bool {
    let cells = parts.iter().flat_map(|part| &problem.cells_of[*part]);
    let mut cells = cells.map(|cell| &problem.evidence.cells[*cell]);
    cells.any(|cell| cell.trials() > 0 && surely(cell, parts) || served(cell, parts) > 0)
}

/// Whether every way of a cell's probes crosses one of the parts.
fn surely(cell: &Cell, parts: &[PartId]) -> bool {
    let mut ways = cell.alternatives.iter();
    ways.all(|way| way.crossed.iter().any(|c| parts.contains(&c.part)))
}

/// How many requests of a cell were served across one of the parts for certain.
fn served(cell: &Cell, parts: &[PartId]) -> u64 {
    let over = |backend: usize| {
        let mut ways = cell.alternatives.iter();
        ways.any(|way| {
            let crosses = way.crossed.iter().any(|c| parts.contains(&c.part));
            way.backend == Some(backend) && crosses
        })
    };
    let proven = cell
        .tallies
        .iter()
        .filter(|t| t.served_by.is_some_and(over));
    proven.map(Tally::total).sum()
}

/// The components that the probes clear.
pub(crate) fn exonerated(
    problem: &Problem<'_>,
    posterior: &Posterior,
    suspects: &[Suspect],
    ceiling: f64,
) -> Vec<Exonerated> {
    let held = Held::new(problem, posterior);
    let mut cleared: Vec<Exonerated> = suspects
        .iter()
        .filter(|suspect| self::cleared(problem, suspect))
        .map(|suspect| Exonerated {
            component: suspect.component.clone(),
            confidence: (1.0 - suspect.blame).min(ceiling),
            because: held.because(suspect),
        })
        .collect();
    cleared.sort_by(|a, b| a.component.cmp(&b.component));
    cleared
}

/// The explanation that is held to be true, against which components are cleared.
struct Held<'a> {
    problem: &'a Problem<'a>,
    faults: Vec<Fitted>,
    /// For each of its faults what every cell owes to it, in nats.
    owed: Vec<BTreeMap<usize, f64>>,
    /// For each part its best reading were it alone at fault.
    alone: BTreeMap<PartId, &'a Set>,
}

/// The cells that cross a component.
struct Across<'a> {
    cells: Vec<(usize, &'a Cell)>,
    /// Not all their probes cross it: a proxy chooses.
    perhaps: bool,
}

impl Across<'_> {
    /// How many requests were served across one of the parts for certain.
    fn served(&self, parts: &[PartId]) -> u64 {
        let cells = self.cells.iter();
        cells.map(|(_, cell)| served(cell, parts)).sum()
    }
}

impl<'a> Held<'a> {
    fn new(problem: &'a Problem<'a>, posterior: &'a Posterior) -> Self {
        let best = posterior.sets.first().map(|(_, set)| set);
        let owed = |(set, position)| {
            let gains = contributions(problem, set, position).into_iter();
            gains.map(|(gain, cell)| (cell, gain)).collect()
        };
        let mut alone: BTreeMap<PartId, &Set> = BTreeMap::new();
        for (_, set) in &posterior.sets {
            if let ([fit], false) = (set.fits.as_slice(), set.unknown) {
                alone
                    .entry(problem.hypothesis(&fit.fault).part)
                    .or_insert(set);
            }
        }
        Self {
            problem,
            faults: best.map_or(Vec::new(), Set::faults),
            owed: best
                .into_iter()
                .flat_map(|set| (0..set.fits.len()).map(move |position| (set, position)))
                .map(owed)
                .collect(),
            alone,
        }
    }

    fn because(&self, suspect: &Suspect) -> String {
        let across = self.across(&suspect.parts);
        let mut failed: BTreeMap<Stage, u64> = BTreeMap::new();
        for (_, cell) in &across.cells {
            *failed.entry(cell.stage).or_default() += cell.failed();
        }
        let worst = failed.into_iter().max_by_key(|(_, failed)| *failed);
        match worst.filter(|(_, failed)| *failed > 0) {
            Some((stage, _)) => self.in_spite_of_failures(suspect, &across, stage),
            None => nothing_failed(suspect, &across),
        }
    }

    /// The cells whose probes cross one of the parts; those that may, where none does for certain.
    fn across(&self, parts: &[PartId]) -> Across<'a> {
        let mut indices: Vec<usize> = parts
            .iter()
            .flat_map(|part| self.problem.cells_of[*part].iter().copied())
            .collect();
        indices.sort_unstable();
        indices.dedup();
        let all: Vec<(usize, &Cell)> = indices
            .into_iter()
            .map(|index| (index, &self.problem.evidence.cells[index]))
            .collect();
        let sure: Vec<(usize, &Cell)> = all
            .iter()
            .copied()
            .filter(|(_, cell)| surely(cell, parts))
            .collect();
        let perhaps = sure.is_empty();
        let cells = if perhaps { all } else { sure };
        Across { cells, perhaps }
    }

    /// Some of what crosses it failed at a stage: who made that, and where it would have shown itself.
    fn in_spite_of_failures(&self, suspect: &Suspect, across: &Across<'_>, stage: Stage) -> String {
        let here: Vec<(usize, &Cell)> = across
            .cells
            .iter()
            .copied()
            .filter(|(_, cell)| cell.stage == stage)
            .collect();
        let failed: u64 = here.iter().map(|(_, cell)| cell.failed()).sum();
        let of: u64 = here.iter().map(|(_, cell)| cell.trials()).sum();
        let across_it = if across.perhaps {
            "that may have crossed it"
        } else {
            "that crossed it"
        };
        let tested = match stage {
            Stage::Arrive | Stage::Answer => "SYNs",
            Stage::Return => "answers",
            Stage::Dns | Stage::Tcp | Stage::Tls | Stage::Http => words::tested(stage),
        };
        let manner = Manner::of(here.iter().flat_map(|(_, cell)| cell.symptoms()));
        let past = manner.past();
        let counted = format!("{failed} of {of} {tested} {across_it} {past}");
        let part = |fault: &Fitted| self.problem.hypothesis(fault).part;
        if self.faults.iter().any(|f| suspect.parts.contains(&part(f))) {
            return format!("{counted} for a while, and that is over");
        }
        let culprits = self.culprits(&here);
        let Some(first) = culprits.first() else {
            return format!("{counted}, no more than by chance");
        };
        let reason = self.reason(&culprits, &here);
        let innocence = self.innocence(suspect, *first, &here);
        let innocence = innocence.or_else(|| match across.served(&suspect.parts) {
            0 => None,
            proven => Some(format!("{proven} were served across it")),
        });
        innocence.map_or(format!("{counted}, {reason}"), |innocence| {
            format!("{counted}, {reason}; {innocence}")
        })
    }

    /// What speaks for the component itself, where one of the faults has the most to do with what
    /// failed across it.
    fn innocence(
        &self,
        suspect: &Suspect,
        culprit: usize,
        cells: &[(usize, &Cell)],
    ) -> Option<String> {
        let unlike = || self.unlike(suspect, cells);
        let Some((instead, contrast)) = self.contrast(suspect, culprit) else {
            return unlike();
        };
        let refutation = refutation(self.problem, contrast, &self.faults, &instead);
        match &refutation {
            Refutation::Otherwise(text) => Some(text.clone()),
            Refutation::More(text) => Some(format!("at fault itself, {text}")),
            Refutation::Fewer(text) => unlike()
                .or_else(|| crossed_too(self.problem, &suspect.parts, &instead))
                .or_else(|| Some(format!("at fault itself, {text}"))),
        }
    }

    /// What failed across it in a way that it has not, where nothing of it was of another sort.
    fn unlike(&self, suspect: &Suspect, cells: &[(usize, &Cell)]) -> Option<String> {
        let causes = |cell: &Cell, symptom: Symptom| {
            let mut hypotheses = suspect.parts.iter().flat_map(|part| {
                let modes = (0..MODES.len()).map(|mode| Hypothesis { part: *part, mode });
                let class = self.problem.evidence.parts[*part].class();
                modes.filter(move |h| MODES[h.mode].is_of(class))
            });
            hypotheses.any(|h| self.problem.explains(h, cell, symptom))
        };
        let mut odd = None;
        for (_, cell) in cells {
            for symptom in cell.tallies.iter().filter_map(|t| t.symptom) {
                if causes(cell, symptom) {
                    return None;
                }
                odd = Some(symptom);
            }
        }
        odd.map(|symptom| format!("it does not cause {}", symptom.word()))
    }

    /// The faults that made what failed in some cells, the one with the most of it first.
    fn culprits(&self, cells: &[(usize, &Cell)]) -> Vec<usize> {
        let owed = |fault: &usize| -> f64 {
            let owed = &self.owed[*fault];
            cells.iter().filter_map(|(index, _)| owed.get(index)).sum()
        };
        let mut culprits: Vec<usize> = (0..self.faults.len())
            .filter(|fault| owed(fault) > EXPLAINS)
            .collect();
        culprits.sort_by(|a, b| owed(b).total_cmp(&owed(a)));
        culprits
    }

    /// Who they are, and how much of it they account for.
    fn reason(&self, culprits: &[usize], cells: &[(usize, &Cell)]) -> String {
        let expected: f64 = cells
            .iter()
            .map(|(index, _)| predicted(self.problem, *index, &self.faults))
            .sum();
        let digits = usize::from(expected < 0.95);
        let nouns: Vec<String> = culprits
            .iter()
            .map(|fault| self.problem.hypothesis(&self.faults[*fault]).part)
            .map(|part| words::noun(&self.problem.evidence.parts[part].what))
            .collect();
        let verb = if nouns.len() == 1 {
            "accounts"
        } else {
            "account"
        };
        let nouns = nouns.join(" and ");
        format!("where {nouns} {verb} for about {expected:.digits$}")
    }

    /// The component in its best reading in the place of a fault, and what tells that best from what is
    /// held: among the probes that cross it if these do.
    fn contrast(&self, suspect: &Suspect, culprit: usize) -> Option<(Vec<Fitted>, Contrast)> {
        let alone = suspect.parts.iter().filter_map(|p| self.alone.get(p));
        let alone = alone.max_by(|a, b| a.score.total_cmp(&b.score))?;
        let mut instead = self.faults.clone();
        instead.remove(culprit);
        instead.extend(alone.faults());
        let mut telling = contrasts(self.problem, &self.faults, &instead);
        telling.retain(|c| c.nats >= TELLING);
        let mine = |c: &&Contrast| {
            let mut cells = suspect.parts.iter().map(|p| &self.problem.cells_of[*p]);
            cells.any(|cells| cells.contains(&c.cell))
        };
        let best = telling.iter().find(mine).or(telling.first()).copied()?;
        Some((instead, best))
    }
}

/// Nothing that crosses it failed: how much that was, and what its witnesses saw.
fn nothing_failed(suspect: &Suspect, across: &Across<'_>) -> String {
    if across.perhaps {
        let of: u64 = across.cells.iter().map(|(_, cell)| cell.trials()).sum();
        return match across.served(&suspect.parts) {
            0 => format!("none of {of} probes that may have crossed it failed"),
            proven => format!("{proven} of {of} requests were served across it, and none failed"),
        };
    }
    let mut probes: BTreeMap<(&VantageName, &Arm), u64> = BTreeMap::new();
    let mut seen: BTreeMap<Stage, u64> = BTreeMap::new();
    for (_, cell) in &across.cells {
        let most = probes.entry((&cell.vantage, &cell.arm)).or_default();
        *most = cell.trials().max(*most);
        *seen.entry(cell.stage).or_default() += cell.trials();
    }
    let probes: u64 = probes.into_values().sum();
    let stage = match suspect.component.kind {
        Kind::ReturnPath => Stage::Return,
        Kind::LbBackendPath => Stage::Arrive,
        Kind::Backend | Kind::LoadBalancer => Stage::Answer,
        Kind::ClientNetwork
        | Kind::Resolver
        | Kind::AuthoritativeDns
        | Kind::Cdn
        | Kind::CdnOriginPath
        | Kind::Origin => return format!("none of {probes} probes across it failed"),
    };
    match seen.get(&stage) {
        Some(count) => format!(
            "none of {probes} probes across it failed; {}",
            words::outcome(stage, Tried::clean(*count, Manner::Failed))
        ),
        None => format!("none of {probes} probes across it failed"),
    }
}
