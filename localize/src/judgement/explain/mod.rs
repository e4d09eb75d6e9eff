//! Why: the evidence for every fault, what speaks against its rivals, and the reason for every
//! component cleared. Everything is chosen by likelihood, in the cells that the verdict was made from.

mod apart;
mod balancing;
mod cleared;
mod closing;
mod ending;
mod handshake;
mod kernel;
mod lines;
mod rate;
mod resets;
mod rivals;
mod routes;
mod sight;
mod traces;
mod transfer;

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::OnceCell;

pub(crate) use self::cleared::{cleared, exonerated};
pub(crate) use self::kernel::awaited;
pub(crate) use self::rivals::candidate;

use crate::engine::fit::Fault as Fitted;
use crate::engine::search::{Posterior, Set};
use crate::facts::case::Case;
use crate::facts::observation::Observation;
use crate::facts::sighting::WitnessReport;
use crate::judgement::problem::Problem;
use crate::judgement::stretch::Suspect;
use crate::judgement::verdict::{Evidence, Fault, Pattern};
use crate::judgement::words::{self, Manner, Reach};
use crate::reading::epochs::Span;
use crate::reading::passing::Own;
use crate::reading::witness::unique;
use crate::world::mode::{MODES, Word};
use crate::world::part::What;
use crate::world::path::PartId;

/// A stretch as it was seen.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) case: &'a Case,
    pub(crate) observations: &'a [&'a Observation],
    pub(crate) span: Span,
    /// Whether a backend meets its clients' own connections, or those of a proxy.
    pub(crate) forwarded: bool,
    /// The balancer's own connections, once they were asked for.
    pub(crate) own: &'a OnceCell<Own>,
}

impl<'a> Scene<'a> {
    /// The balancer's own connections.
    fn own(&self) -> &'a Own {
        self.own.get_or_init(|| Own::of(self.case))
    }

    /// The name of the witness on a host, and its reports of the stretch, each once and in order.
    fn reports_of(&self, host: &str) -> Option<(&'a str, Vec<&'a WitnessReport>)> {
        let mut vantages = self.case.topology.vantages.iter();
        let witness = &vantages.find(|v| v.host.as_deref() == Some(host))?.name;
        let reports = unique(&self.case.sightings);
        let reports = reports.range((witness, 0)..=(witness, u64::MAX));
        let within = reports.map(|(_, report)| *report);
        let within = within.filter(|report| self.span.holds(report.to.at_us));
        Some((&witness.0, within.collect()))
    }
}

/// What else is known of a fault in its stretch, beside the probes that it was weighed by.
pub(crate) fn remarks(scene: Scene<'_>, what: &What, mode: Word, fault: &mut Fault) {
    let lines = &mut fault.evidence;
    lines.extend(kernel::kernel(scene.case, scene.span, what, mode));
    lines.extend(handshake::share(scene, what));
    lines.extend(handshake::capacity(scene, what));
    lines.extend(handshake::handshake(scene, what, mode));
    lines.extend(balancing::balancing(scene, what));
    lines.extend(balancing::answerer(scene, what));
    lines.extend(routes::routes(scene, what));
    lines.extend(transfer::transfer(scene, what, mode));
    lines.extend(sight::sight(scene, what, mode));
    lines.extend(ending::ending(scene, what, mode));
    lines.extend(closing::closing(scene, what));
    lines.extend(traces::traces(scene, what, mode));
    resets::resets(scene, what, mode, fault);
}

/// A line that no probe has seen: it counts none, and weighs nothing.
fn remark(vantage: &str, arm: String, text: String) -> Evidence {
    Evidence {
        text,
        vantage: vantage.to_string(),
        arm,
        failed: 0,
        of: 0,
        failure: String::new(),
        implicates: true,
        nats: 0.0,
    }
}

/// Gain over all that users do from which a fault is said to reach them, in nats.
const FELT: f64 = 1.0;

/// The share of users' requests that a fault must fail to be called felt where none has failed yet.
const FELT_SHARE: f64 = 0.02;

/// A queue that has not drained after so many microseconds is a fault.
const DRAINED_US: u64 = 10_000_000;

/// How a suspect fails, in its most probable reading.
pub(crate) fn mode(
    problem: &Problem<'_>,
    posterior: &Posterior,
    suspect: &Suspect,
) -> Option<Word> {
    let (set, place) = problem.blaming(posterior, suspect.accused())?;
    Some(MODES[problem.hypothesis(&set.fits[place].fault).mode].word)
}

/// A component that is at fault with a probability, and everything that a person needs to act on it.
/// `well` are the siblings that are cleared.
pub(crate) fn fault(
    problem: &Problem<'_>,
    posterior: &Posterior,
    suspect: &Suspect,
    well: &[What],
    probability: f64,
) -> Option<Fault> {
    let (set, position) = problem.blaming(posterior, suspect.accused())?;
    let hypothesis = problem.hypothesis(&set.fits[position].fault);
    let mode = MODES[hypothesis.mode].word;
    let what = &problem.evidence.parts[hypothesis.part].what;
    let user_impact = felt(problem, set, position);
    let stand_ins = rivals::stand_ins(problem, posterior, (set, position), suspect);
    let (rate, always) = rate::rate(problem, &set.fits[position]);
    let reach = Reach {
        rate: rate.estimate,
        always,
        user_impact,
        late: rate::lateness(problem, (set, position)),
        kept: kept(problem, hypothesis.part),
        ahead: ahead(problem, what),
    };
    // What its rivals leave: a confidence is one of several odds that add up to one.
    let left = 1.0 / (1.0 + stand_ins.iter().map(rivals::StandIn::odds).sum::<f64>());
    Some(Fault {
        component: suspect.component.clone(),
        mode: mode.text().to_string(),
        confidence: probability.min(left),
        user_impact,
        began_at: String::new(),
        pattern: Pattern::Steady,
        period_s: None,
        rate,
        summary: words::summary(what, mode, reach, well),
        owner: words::owner(what).to_string(),
        evidence: lines::evidence(problem, (set, position), &stand_ins),
        next_step: words::next_step(what, mode),
        rivals: rivals::rivals(problem, &set.faults(), stand_ins),
    })
}

/// By how many seconds the clock of a vantage point's host is ahead, where it is wrong.
fn ahead(problem: &Problem<'_>, what: &What) -> Option<i64> {
    let mut astray = problem.evidence.astray.iter();
    let found = astray.find(|(vantage, _)| *what == What::Access((*vantage).clone()));
    found.map(|(_, ahead)| *ahead)
}

/// For how many seconds more one of the negative answers across a part may be kept.
fn kept(problem: &Problem<'_>, part: PartId) -> Option<u32> {
    let cells = problem.cells_of[part].iter();
    cells
        .filter_map(|cell| problem.evidence.cells[*cell].asked.kept)
        .max()
}

/// Whether a component is late, and has been for so short a time that a queue that forms and drains
/// again would look the same.
pub(crate) fn may_pass(problem: &Problem<'_>, posterior: &Posterior, suspect: &Suspect) -> bool {
    let Some((set, position)) = problem.blaming(posterior, suspect.accused()) else {
        return false;
    };
    let fault = &set.fits[position].fault;
    let windows = (0..problem.evidence.windows).rev();
    let begun = windows.take_while(|window| fault.on(*window)).last();
    let evidence = problem.evidence;
    let age = begun.map_or(0, |window| {
        evidence.now.saturating_sub(evidence.starts[window])
    });
    Problem::manner(problem.hypothesis(fault)) == Manner::Late && age < DRAINED_US
}

/// Whether what users do fails for it: it has, or the fault as it is fitted to everything that was seen would
/// fail so many of their requests. Few of them that passed are no proof that users are spared.
fn felt(problem: &Problem<'_>, set: &Set, position: usize) -> bool {
    let (faults, others) = with_and_without(set, position);
    let cells = problem.cells_of[problem.hypothesis(&faults[position]).part].iter();
    let users = || {
        cells
            .clone()
            .filter(|cell| problem.evidence.cells[**cell].user_facing)
    };
    let seen: f64 = users()
        .map(|cell| {
            problem.failure_likelihood(*cell, &faults) - problem.failure_likelihood(*cell, &others)
        })
        .sum();
    let predicted = users().map(|cell| problem.predicted(*cell, &faults, &others));
    seen > FELT || predicted.fold(0.0, f64::max) > FELT_SHARE
}

/// The faults of a set, and the same without one of them.
fn with_and_without(set: &Set, position: usize) -> (Vec<Fitted>, Vec<Fitted>) {
    let faults = set.faults();
    let mut others = faults.clone();
    others.remove(position);
    (faults, others)
}

/// For every cell that crosses the fault what leaving it out would cost: its likelihood with the whole
/// set over that without the fault, as a logarithm. Strongest first.
fn contributions(problem: &Problem<'_>, set: &Set, position: usize) -> Vec<(f64, usize)> {
    let (faults, others) = with_and_without(set, position);
    let hypothesis = problem.hypothesis(&faults[position]);
    let mut gains: Vec<(f64, usize)> = problem.cells_of[hypothesis.part]
        .iter()
        .filter(|cell| problem.visible(hypothesis, &problem.evidence.cells[**cell]))
        .map(|cell| (problem.cell_gain(*cell, &faults, &others), *cell))
        .collect();
    gains.sort_by(|a, b| b.0.total_cmp(&a.0));
    gains
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
