//! The stretches of a window, judged one after the other: what is wrong now, and what was before.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::engine;
use crate::engine::search::Posterior;
use crate::facts::component::{Component, Kind};
use crate::facts::observation::{Session, SourcePort, Traits};
use crate::facts::time::rfc3339;
use crate::judgement::carried::{Again, Carried};
use crate::judgement::explain;
use crate::judgement::guilt::Accused;
use crate::judgement::inference::NAME;
use crate::judgement::problem::{Hypothesis, Problem};
use crate::judgement::verdict::{Earlier, Fault, Pattern};
use crate::reading::cells::{Cell, Evidence, Record};
use crate::reading::comparison::Reading;
use crate::reading::epochs::{self, Span};
use crate::world::mode::{MODES, Phase, Strikes, Word};
use crate::world::part::What;
use crate::world::path::PartId;
use crate::world::signature::Signatures;
use crate::world::symptom::Stage;

/// Past stretches with failures that are judged, the latest: what comes before them is told by history.
const PAST: usize = 12;
/// The latest stretches that are told apart with care, and that tell how the balancer works.
pub(super) const TELLING: usize = 4;
/// Into so many pieces those may have been parted.
const PARTED: usize = 6;
/// So many places of a stretch are tried at which a fault of it may have changed.
const TURNS: usize = 3;
/// What a change must make more probable, in nats.
const CHANGED: f64 = 3.0;
/// A fault of one stretch may be there in the next one, too, when the pattern changes all the same; a component
/// that failed earlier in the window is likelier to fail again than others.
const AGAIN: Again = Again {
    goes_on: 0.5,
    returns: 0.05,
};
/// What is expected of a stretch is expected of all its candidates, or one that leads by a hair would
/// be sure of itself in the next one.
const POSSIBLE: f64 = 0.01;
/// From here on somebody is a candidate of a stretch.
const CANDIDATE: f64 = 0.05;
/// A fault that is at least so probable there goes on, where it is named before or after.
const LIKELY: f64 = 0.5;

/// A component with the probability that it is at fault.
pub(crate) struct Suspect {
    /// The parts that are this component; more than one where it can fail in several extents.
    pub(crate) parts: Vec<PartId>,
    /// Which phase of its work is meant, where it fails in both.
    pub(crate) phase: Option<Phase>,
    pub(crate) component: Component,
    /// The first of the parts, or the one that is blamed.
    pub(crate) what: What,
    /// At the end of the stretch.
    pub(crate) blame: f64,
    /// At any time of it.
    pub(crate) was: f64,
}

impl Suspect {
    /// What it is blamed for.
    pub(crate) fn accused(&self) -> Accused<'_> {
        Accused {
            parts: &self.parts,
            phase: self.phase,
        }
    }

    /// Whether a fault in this mode is what it is suspected of.
    fn fails_in(&self, mode: Word, problem: &Problem<'_>, posterior: &Posterior) -> bool {
        self.phase.is_none() || explain::mode(problem, posterior, self) == Some(mode)
    }
}

/// One stretch, judged.
pub(crate) struct Stretch<'a> {
    pub(crate) span: Span,
    pub(crate) problem: Problem<'a>,
    pub(crate) posterior: Posterior,
    /// Most to blame first.
    pub(crate) suspects: Vec<Suspect>,
}

/// The stretches that are judged: those with failures, and the present.
pub(super) fn wanted(record: &Record, spans: &[Span]) -> Vec<Span> {
    let Some((present, past)) = spans.split_last() else {
        return Vec::new();
    };
    let mut wanted: Vec<Span> = past.iter().filter(|s| fails(record, s)).copied().collect();
    wanted.drain(..wanted.len().saturating_sub(PAST));
    wanted.push(*present);
    wanted
}

/// The counts of those.
pub(super) fn evidence(
    record: &Record,
    reading: &Reading<'_>,
    spans: &[Span],
) -> Vec<(Span, Evidence)> {
    let wanted = wanted(record, spans).into_iter();
    wanted
        .map(|span| (span, record.count(reading, span)))
        .collect()
}

/// Whether something fails in a stretch.
fn fails(record: &Record, span: &Span) -> bool {
    let mut trials = record.by_cell.values().flatten();
    trials.any(|t| t.symptom.is_some() && span.holds(t.at))
}

/// A stretch by itself, under one reading of the balancer.
pub(super) struct Weighed {
    pub(super) span: Span,
    /// How probable it is, as a logarithm; `None` where nobody needs to know.
    pub(super) evidence: Option<f64>,
    /// The kinds of those who may be at fault in it; `None` where that may be anybody.
    blamed: Option<BTreeSet<Kind>>,
    /// What it makes probable in the next one.
    carried: Carried,
    /// The instants at which one of several faults that explain it best begins or ends.
    turns: Vec<u64>,
}

impl Weighed {
    pub(super) fn new(
        span: Span,
        record: &Record,
        reading: &Reading<'_>,
        signatures: &Signatures,
        carried: &Carried,
    ) -> Self {
        let evidence = record.count(reading, span);
        let mut problem = Problem::new(&evidence, signatures, carried);
        let posterior = engine::explain(&mut problem.model);
        let all = suspects(&problem, &posterior);
        let mut next = Carried::default();
        next.expect(&problem, &posterior, AGAIN, POSSIBLE);
        let mut blamed = all.iter().filter(|s| s.was >= CANDIDATE).peekable();
        let anybody = posterior.unknown() >= LIKELY || blamed.peek().is_none();
        Self {
            span,
            evidence: Some(
                posterior.evidence + problem.model.calm_total() - problem.model.prior_total(),
            ),
            carried: next,
            turns: turns(&evidence, &posterior),
            blamed: (!anybody).then(|| blamed.map(|s| s.component.kind).collect()),
        }
    }

    /// How probable a stretch is at least, as a logarithm, at a glance.
    pub(super) fn glance(
        span: Span,
        record: &Record,
        reading: &Reading<'_>,
        signatures: &Signatures,
    ) -> f64 {
        let evidence = record.count(reading, span);
        let mut problem = Problem::new(&evidence, signatures, &Carried::default());
        engine::glance(&mut problem.model) + problem.model.calm_total()
    }

    pub(super) fn unweighed(span: Span) -> Self {
        Self {
            span,
            evidence: None,
            blamed: None,
            carried: Carried::default(),
            turns: Vec::new(),
        }
    }

    /// Whether one fault may have made both: weighing what two of them made together is what takes longest,
    /// and leads to nothing.
    fn may_be(&self, other: &Self) -> bool {
        match (&self.blamed, &other.blamed) {
            (Some(own), Some(others)) => !own.is_disjoint(others),
            (None, _) | (_, None) => true,
        }
    }
}

/// The same stretches, those as one that are as probable as one: what changed between them was chance,
/// or the course of one fault. The places were found without knowing what fails what.
pub(super) fn joined(
    record: &Record,
    reading: &Reading<'_>,
    signatures: &Signatures,
    spans: &[Span],
) -> Vec<Weighed> {
    let weigh =
        |span: Span, carried: &Carried| Weighed::new(span, record, reading, signatures, carried);
    let fresh = Carried::default();
    // The latest first, as the present is what matters.
    let mut joined: Vec<Weighed> = Vec::new();
    for (place, span) in spans.iter().rev().enumerate() {
        // What was parted without need is told as one time all the same.
        if joined.len() >= TELLING || place >= PARTED {
            joined.push(Weighed::unweighed(*span));
            continue;
        }
        let alone = weigh(*span, &fresh);
        if let Some(later) = joined.last().filter(|later| later.may_be(&alone)) {
            let whole = Span {
                from: span.from,
                to: later.span.to,
            };
            let together = weigh(whole, &fresh);
            // What changed may have been the rate of one fault, or its way.
            let as_one = |later: &Weighed| {
                let parted = alone.evidence.zip(later.evidence).map(|(a, b)| a + b);
                let both = together.evidence.zip(parted);
                both.is_some_and(|(together, parted)| together + CHANGED >= parted)
            };
            if as_one(later) && as_one(&weigh(later.span, &alone.carried)) {
                joined.pop();
                joined.push(together);
                continue;
            }
        }
        joined.push(alone);
    }
    joined.reverse();
    let joined = joined.into_iter();
    joined.flat_map(|whole| parted(whole, &weigh)).collect()
}

/// The instants at which one of the faults of the best set of several begins or ends.
fn turns(evidence: &Evidence, posterior: &Posterior) -> Vec<u64> {
    let best = posterior.sets.first().map(|(_, set)| &set.fits);
    let Some(fits) = best.filter(|fits| fits.len() > 1) else {
        return Vec::new();
    };
    let turns = (1..evidence.windows).filter(|window| {
        let mut faults = fits.iter().map(|fit| &fit.fault);
        faults.any(|fault| fault.on(window - 1) != fault.on(*window))
    });
    turns.map(|w| evidence.starts[w]).take(TURNS).collect()
}

/// A stretch as two, where one fault that has changed its rate explains it better than one fault that ended
/// while another was there: within a stretch a fault has one rate.
fn parted(whole: Weighed, weigh: &impl Fn(Span, &Carried) -> Weighed) -> Vec<Weighed> {
    let fresh = Carried::default();
    let Span { from, to } = whole.span;
    let pairs = whole.turns.iter().filter_map(|turn| {
        let early = weigh(Span { from, to: *turn }, &fresh);
        let late = weigh(Span { from: *turn, to }, &early.carried);
        Some((early.evidence? + late.evidence?, early, late.span))
    });
    let best = pairs.max_by(|a, b| a.0.total_cmp(&b.0));
    let changed = |both: &f64| whole.evidence.is_some_and(|one| *both > one + CHANGED);
    match best.filter(|(both, ..)| changed(both)) {
        Some((_, early, late)) => alloc::vec![early, weigh(late, &fresh)],
        None => alloc::vec![whole],
    }
}

/// The stretches of a record: where its pattern changes, whatever the balancer does.
pub(crate) fn spans(record: &Record) -> Vec<Span> {
    epochs::epochs(&record.by_cell)
}

/// Judges stretches in order, each with what the one before makes probable.
pub(crate) fn judge<'a>(
    evidence: &'a [(Span, Evidence)],
    signatures: &'a Signatures,
) -> Vec<Stretch<'a>> {
    let mut carried = Carried::default();
    let mut stretches: Vec<Stretch<'a>> = Vec::new();
    for (span, evidence) in evidence {
        let adjacent = stretches
            .last()
            .is_some_and(|last| last.span.to == span.from);
        if !adjacent {
            carried.rest(AGAIN);
        }
        let mut problem = Problem::new(evidence, signatures, &carried);
        let posterior = engine::explain(&mut problem.model);
        let suspects = suspects(&problem, &posterior);
        carried.expect(&problem, &posterior, AGAIN, POSSIBLE);
        stretches.push(Stretch {
            span: *span,
            problem,
            posterior,
            suspects,
        });
    }
    stretches
}

fn suspects(problem: &Problem<'_>, posterior: &Posterior) -> Vec<Suspect> {
    let mut by_component: BTreeMap<Component, Vec<PartId>> = BTreeMap::new();
    for (part, p) in problem.evidence.parts.iter().enumerate() {
        if let Some(component) = p.component() {
            by_component.entry(component).or_default().push(part);
        }
    }
    let mut suspects: Vec<Suspect> = Vec::new();
    for (component, parts) in by_component {
        let both = problem.doubly_blamed(posterior, &parts) >= LIKELY;
        let phases: &[Option<Phase>] = match both {
            true => &[Some(Phase::Reaching), Some(Phase::Serving)],
            false => &[None],
        };
        suspects.extend(phases.iter().map(|phase| {
            let accused = Accused {
                parts: &parts,
                phase: *phase,
            };
            Suspect {
                blame: problem.blame(posterior, accused),
                was: problem.ever_blamed(posterior, accused),
                what: blamed(problem, posterior, accused),
                component: component.clone(),
                parts: parts.clone(),
                phase: *phase,
            }
        }));
    }
    suspects.sort_by(|a, b| {
        b.blame
            .total_cmp(&a.blame)
            .then_with(|| b.was.total_cmp(&a.was))
            .then_with(|| (&a.component, a.phase).cmp(&(&b.component, b.phase)))
    });
    suspects
}

/// Which of the parts of one component is blamed; the first, where none is.
fn blamed(problem: &Problem<'_>, posterior: &Posterior, accused: Accused<'_>) -> What {
    let blaming = problem.blaming(posterior, accused);
    let part = blaming.map(|(set, place)| problem.hypothesis(&set.fits[place].fault).part);
    let part = part.or(accused.parts.first().copied()).unwrap_or_default();
    problem.evidence.parts[part].what.clone()
}

impl Stretch<'_> {
    /// How probable it is that what an episode was is there at the end.
    fn blame(&self, episode: &Episode) -> f64 {
        let mine = self.suspects.iter().find(|s| {
            s.component == episode.component
                && s.fails_in(episode.mode, &self.problem, &self.posterior)
        });
        mine.map_or(0.0, |s| s.blame)
    }

    /// The times at which a component was at fault here, from when to when in microseconds of mesh time,
    /// in order.
    fn times(&self, suspect: &Suspect) -> Vec<(u64, u64)> {
        let evidence = self.problem.evidence;
        let Some((set, place)) = self.problem.blaming(&self.posterior, suspect.accused()) else {
            return Vec::new();
        };
        let fault = &set.fits[place].fault;
        let mut times: Vec<(u64, u64)> = Vec::new();
        for window in (0..evidence.windows).filter(|window| fault.on(*window)) {
            let begun = evidence.starts[window];
            let ended = evidence.starts.get(window + 1).copied();
            let ended = ended.unwrap_or(self.end());
            match times.last_mut() {
                Some((_, last)) if *last == begun => *last = ended,
                _ => times.push((begun, ended)),
            }
        }
        times
    }

    /// When the stretch ended; the last round of one that has not.
    fn end(&self) -> u64 {
        match self.span.to {
            u64::MAX => self.problem.evidence.now,
            to => to,
        }
    }
}

/// Kept ports that never fail where fresh ones do so often: less probable than this by chance.
const KEPT: f64 = 0.01;

impl Stretch<'_> {
    /// All rounds of the window from an instant on in which a suspect's fault could have shown, in order,
    /// with whether it did; `None` where nobody is blamed.
    pub(crate) fn rounds_of(
        &self,
        suspect: &Suspect,
        record: &Record,
        from: u64,
    ) -> Option<Vec<(u64, bool)>> {
        let (set, place) = self.problem.blaming(&self.posterior, suspect.accused())?;
        let hypothesis = self.problem.hypothesis(&set.fits[place].fault);
        let mut rounds: BTreeMap<u64, bool> = BTreeMap::new();
        for index in &self.problem.cells_of[hypothesis.part] {
            let cell = &self.problem.evidence.cells[*index];
            if !self.problem.visible(hypothesis, cell) {
                continue;
            }
            let key = (cell.vantage.clone(), cell.arm.clone(), cell.stage);
            let trials = record.by_cell.get(&key).into_iter().flatten();
            for trial in trials.filter(|t| t.at >= from) {
                let shown = trial.symptom;
                let failed = shown.is_some_and(|s| self.problem.explains(hypothesis, cell, s));
                *rounds.entry(trial.at).or_default() |= failed;
            }
        }
        Some(rounds.into_iter().collect())
    }

    /// What decides which of a suspect's probes fail, where it is not chance: the flow, when a kept port
    /// never fails beside fresh ones that do; the source, when answers to one address alone are lost; the
    /// variant, when those alone fail that ask for it; the cookie, when those alone fail that keep one.
    pub(crate) fn decided_by(&self, suspect: &Suspect) -> Option<Pattern> {
        if let What::Return { to, .. } = &suspect.what
            && !to.is_wide()
        {
            return Some(Pattern::BySource);
        }
        let (set, place) = self.problem.blaming(&self.posterior, suspect.accused())?;
        let hypothesis = self.problem.hypothesis(&set.fits[place].fault);
        match MODES[hypothesis.mode].strikes {
            Strikes::PackedAnswers | Strikes::LargeHellos => return Some(Pattern::ByVariant),
            Strikes::Sessions
            | Strikes::All
            | Strikes::ReusedPorts
            | Strikes::LongAnswers
            | Strikes::LargeObjects
            | Strikes::Bursts
            | Strikes::Validators => {}
        }
        if self.spares_who_is_new(hypothesis) {
            return Some(Pattern::ByCookie);
        }
        let cells = &self.problem.evidence.cells;
        let connects = |cell: &&Cell| matches!(cell.stage, Stage::Tcp | Stage::Arrive);
        let mut by_port = [(0, 0); 2];
        let crossing = self.problem.cells_of[hypothesis.part].iter();
        for cell in crossing.map(|index| &cells[*index]).filter(connects) {
            let twin = cell.arm.twin(Traits {
                port: SourcePort::Reused,
                ..cell.arm.traits
            });
            let mut others = cells.iter();
            let twinned = others.any(|c| c.vantage == cell.vantage && c.arm == twin);
            if twinned || !cell.arm.traits.port.is_plain() {
                let (failed, of) = &mut by_port[usize::from(!cell.arm.traits.port.is_plain())];
                *failed += cell.failed();
                *of += cell.trials();
            }
        }
        let [(failed, of), (kept_failed, kept)] = by_port;
        if failed == 0 || kept_failed > 0 {
            return None;
        }
        let rate = failed as f64 / of as f64;
        (libm::pow(1.0 - rate, kept as f64) < KEPT).then_some(Pattern::ByFlow)
    }

    /// Whether a fault shows to those alone who keep a cookie, where others cross the part as well.
    fn spares_who_is_new(&self, hypothesis: Hypothesis) -> bool {
        let crossing = self.problem.cells_of[hypothesis.part].iter();
        let crossing = crossing.map(|index| &self.problem.evidence.cells[*index]);
        let (kept, others): (Vec<&Cell>, Vec<&Cell>) = crossing
            .filter(|cell| cell.stage == Stage::Http)
            .partition(|cell| cell.arm.traits.session == Session::Kept);
        // Late are others at any time.
        let shows = |cell: &&Cell| {
            let mut failed = cell.symptoms().filter(|symptom| !symptom.is_late());
            failed.any(|symptom| self.problem.explains(hypothesis, cell, symptom))
        };
        kept.iter().any(shows) && !others.is_empty() && !others.iter().any(shows)
    }
}

/// One time that a component was at fault, or came and went, over all stretches that this lasted.
#[derive(Clone, Debug)]
pub(crate) struct Episode {
    pub(crate) component: Component,
    pub(crate) mode: Word,
    /// From when to when it was at fault, in microseconds of mesh time, in order; at least one.
    pub(crate) times: Vec<(u64, u64)>,
    /// Place of its last stretch among all.
    pub(crate) stretch: usize,
    /// The greatest probability in any of them.
    confidence: f64,
}

impl Episode {
    /// Microseconds of mesh time.
    pub(crate) fn began(&self) -> u64 {
        self.times.first().map_or(0, |time| time.0)
    }

    /// Microseconds of mesh time.
    pub(crate) fn ended(&self) -> u64 {
        self.times.last().map_or(0, |time| time.1)
    }

    /// Goes on with further times, the first of which may be the end of the last.
    fn goes_on(&mut self, times: Vec<(u64, u64)>) {
        for time in times {
            match self.times.last_mut() {
                Some((_, ended)) if *ended == time.0 => *ended = time.1,
                _ => self.times.push(time),
            }
        }
    }

    /// Whether it is of the same component in the same mode.
    pub(crate) fn is_of(&self, fault: &Fault) -> bool {
        self.component == fault.component && self.mode.text() == fault.mode
    }
}

/// The times at which components were at fault, in order of their ends.
pub(crate) fn episodes(stretches: &[Stretch<'_>]) -> Vec<Episode> {
    let mut episodes: Vec<Episode> = Vec::new();
    for (index, stretch) in stretches.iter().enumerate() {
        for suspect in stretch.suspects.iter().filter(|s| s.was >= LIKELY) {
            let mode = explain::mode(&stretch.problem, &stretch.posterior, suspect);
            let Some(mode) = mode else {
                continue;
            };
            let times = stretch.times(suspect);
            if times.is_empty() {
                continue;
            }
            let before = episodes.iter_mut().find(|e| {
                e.stretch + 1 == index
                    && e.component == suspect.component
                    && e.mode == mode
                    && stretches[e.stretch].span.to == stretch.span.from
            });
            match before {
                Some(episode) => {
                    episode.goes_on(times);
                    episode.stretch = index;
                    episode.confidence = episode.confidence.max(suspect.was);
                }
                None => episodes.push(Episode {
                    component: suspect.component.clone(),
                    mode,
                    times,
                    stretch: index,
                    confidence: suspect.was,
                }),
            }
        }
    }
    episodes.retain(|e| e.confidence >= NAME);
    episodes.sort_by_key(|e| (e.ended(), e.began()));
    episodes
}

/// What was wrong and is over, the latest first: not what is wrong now.
pub(crate) fn earlier(
    episodes: &[Episode],
    present: &Stretch<'_>,
    last: usize,
    faults: &[Fault],
) -> Vec<Earlier> {
    let over = |e: &&Episode| {
        if present.blame(e) >= LIKELY {
            return e.stretch < last;
        }
        let pauses = faults.iter().any(|fault| e.is_of(fault));
        !pauses
    };
    let over = episodes.iter().rev().filter(over);
    over.map(|episode| Earlier {
        component: episode.component.clone(),
        mode: alloc::string::String::from(episode.mode.text()),
        began_at: rfc3339(episode.began()),
        ended_at: rfc3339(episode.ended()),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a stretch of so much evidence is parted that may turn at 10 and at 20, if those before and after
    /// the latter have as much as this together.
    fn parted_at(whole: f64, at_20: f64) -> Vec<(u64, u64)> {
        let weigh = |span: Span, _: &Carried| Weighed {
            evidence: Some(match span {
                Span { from: 20, .. } | Span { to: 20, .. } => at_20 / 2.0,
                Span { .. } => -200.0,
            }),
            ..Weighed::unweighed(span)
        };
        let whole = Weighed {
            evidence: Some(whole),
            turns: alloc::vec![10, 20],
            ..Weighed::unweighed(Span { from: 0, to: 30 })
        };
        let parted = parted(whole, &weigh).into_iter();
        parted.map(|w| (w.span.from, w.span.to)).collect()
    }

    #[test]
    fn a_stretch_is_parted_where_it_is_so_much_more_probable_as_two() {
        assert_eq!(parted_at(-320.0, -290.0), [(0, 20), (20, 30)]);
        assert_eq!(parted_at(-320.0, -320.0 + CHANGED), [(0, 30)]);
        assert_eq!(parted_at(-320.0, -350.0), [(0, 30)]);
    }
}
