//! Who is blamed by sets of faults, and how surely.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::engine::fit::Fit;
use crate::engine::model::{Group, Meaning};
use crate::engine::search::{Posterior, Set};
use crate::judgement::problem::{Hypothesis, Problem};
use crate::world::mode::{MODES, Mode, Phase};
use crate::world::part::Part;
use crate::world::path::PartId;

/// Where nobody has looked for so long, in microseconds, while others were probed, nothing is said of the
/// present.
const OVERLOOKED_US: u64 = 15_000_000;

/// How sure a fault is that something stands beside that no component explains.
const BESIDE_UNKNOWN: f64 = 0.5;

/// Faults of several parts are one of the whole when each is so often there as this, and so sure.
const ALIKE: f64 = 0.5;

/// Who may be blamed: one of several parts, failing in one phase or in any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accused<'a> {
    pub(crate) parts: &'a [PartId],
    pub(crate) phase: Option<Phase>,
}

impl<'a> Accused<'a> {
    /// Whatever they fail in.
    pub(crate) fn any(parts: &'a [PartId]) -> Self {
        Self { parts, phase: None }
    }
}

impl Problem<'_> {
    /// Probability that one of several parts is at fault at present. Beside something that no component
    /// explains a fault is as well a part of that as not.
    pub(crate) fn blame(&self, posterior: &Posterior, accused: Accused<'_>) -> f64 {
        posterior.mean(|set| {
            let blamed = self.blamed_in(set, accused, |fit| self.present(fit));
            blamed * if set.unknown { BESIDE_UNKNOWN } else { 1.0 }
        })
    }

    /// Probability that a fault is there at the end. Where it would show, somebody must have looked of
    /// late: arms may have been taken out of the service file since.
    fn present(&self, fit: &Fit) -> f64 {
        let hypothesis = self.hypothesis(&fit.fault);
        let cells = self.cells_of[hypothesis.part].iter();
        let cells = cells.map(|index| &self.evidence.cells[*index]);
        let last = cells
            .filter(|cell| self.visible(hypothesis, cell))
            .map(|cell| cell.last)
            .max();
        let looked = last.is_some_and(|last| last + OVERLOOKED_US >= self.evidence.now);
        if looked { fit.present } else { 0.0 }
    }

    /// How sure a set is of one of several parts, where each fault counts so much. What a whole does is not its
    /// members' beside, and what all members do is the whole's.
    fn blamed_in(&self, set: &Set, accused: Accused<'_>, counts: impl Fn(&Fit) -> f64) -> f64 {
        let fits = set.fits.iter().zip(&set.guilt);
        let own = fits
            .filter(|(f, _)| self.is_of(f, accused) && !self.is_gathered(set, f))
            .map(|(f, guilt)| counts(f) * guilt)
            .fold(0.0, f64::max);
        let wholes = accused
            .parts
            .iter()
            .filter_map(|part| self.members.get(part));
        let through = wholes.map(|members| {
            let modes = set.fits.iter().filter(|f| members[0] == self.part(f));
            let modes = modes.filter(|f| accused.phase.is_none_or(|p| p == self.mode(f).phase()));
            modes
                .map(|f| self.alike(set, members, f, &counts))
                .fold(0.0, f64::max)
        });
        through.fold(own, f64::max)
    }

    /// Whether a set blames one of several parts, be it through all of its members.
    pub(crate) fn tells_of(&self, set: &Set, accused: Accused<'_>) -> bool {
        self.blamed_in(set, accused, |fit| self.present(fit)) >= ALIKE
    }

    /// Whether a fault is told as that of a whole whose member its part is.
    fn is_gathered(&self, set: &Set, fit: &Fit) -> bool {
        let part = self.part(fit);
        let mut wholes = self.members.iter().filter(|(_, all)| all.contains(&part));
        wholes.any(|(whole, members)| {
            let present = |f: &Fit| self.present(f);
            self.alike(set, &[*whole], fit, present) >= ALIKE
                || self.alike(set, members, fit, present) >= ALIKE
        })
    }

    /// How sure a set is that each of some parts fails as in a fit, and about as often.
    fn alike(&self, set: &Set, parts: &[PartId], fit: &Fit, counts: impl Fn(&Fit) -> f64) -> f64 {
        let rate = |f: &Fit| f.fault.theta[Group::Front as usize];
        let like =
            |f: &Fit| self.mode(f).word == self.mode(fit).word && rate(f) >= ALIKE * rate(fit);
        let each = parts.iter().map(|part| {
            let fits = set.fits.iter().zip(&set.guilt);
            fits.filter(|(f, _)| self.part(f) == *part && like(f))
                .map(|(f, guilt)| counts(f) * guilt)
                .fold(0.0, f64::max)
        });
        each.fold(1.0, f64::min)
    }

    fn part(&self, fit: &Fit) -> PartId {
        self.hypothesis(&fit.fault).part
    }

    fn mode(&self, fit: &Fit) -> &'static Mode {
        &MODES[self.hypothesis(&fit.fault).mode]
    }

    /// Probability of something that no component explains, beyond what one of the parts is blamed for.
    pub(crate) fn unknown_beside(&self, posterior: &Posterior, parts: &[PartId]) -> f64 {
        let accused = Accused::any(parts);
        posterior.mean(|set| {
            let blamed = self.blamed_in(set, accused, |fit| self.present(fit));
            if set.unknown {
                1.0 - BESIDE_UNKNOWN * blamed
            } else {
                0.0
            }
        })
    }

    /// Probability that one of several parts is or was at fault.
    pub(crate) fn ever_blamed(&self, posterior: &Posterior, accused: Accused<'_>) -> f64 {
        posterior.mean(|set| self.blamed_in(set, accused, |_| 1.0))
    }

    /// Probability that several parts that are one component fail or failed in both phases.
    pub(crate) fn doubly_blamed(&self, posterior: &Posterior, parts: &[PartId]) -> f64 {
        let in_phase = |phase| Accused {
            parts,
            phase: Some(phase),
        };
        posterior.mean(|set| {
            let guilt = |phase| self.blamed_in(set, in_phase(phase), |_| 1.0);
            guilt(Phase::Reaching) * guilt(Phase::Serving)
        })
    }

    /// Probability that nothing is at fault at present that a verdict could name.
    pub(crate) fn healthy(&self, posterior: &Posterior) -> f64 {
        posterior.mean(|set| {
            if set.unknown {
                return 0.0;
            }
            let fits = set.fits.iter().zip(&set.guilt);
            fits.filter(|(f, _)| self.model.causes[f.fault.cause].meaning == Meaning::Fault)
                .map(|(f, guilt)| 1.0 - self.present(f) * guilt)
                .product()
        })
    }

    /// The most probable set that blames one of the parts, and the place of the blame in it.
    pub(crate) fn blaming<'p>(
        &self,
        posterior: &'p Posterior,
        accused: Accused<'_>,
    ) -> Option<(&'p Set, usize)> {
        posterior.sets.iter().find_map(|(_, set)| {
            let place = set.fits.iter().position(|f| self.is_of(f, accused))?;
            Some((set, place))
        })
    }

    fn is_of(&self, fit: &Fit, accused: Accused<'_>) -> bool {
        let Hypothesis { part, mode } = self.hypothesis(&fit.fault);
        let phase = accused.phase.is_none_or(|p| p == MODES[mode].phase());
        phase && accused.parts.contains(&part)
    }
}

/// The members of each part that is a whole, where it has several.
pub(super) fn members(parts: &[Part]) -> BTreeMap<PartId, Vec<PartId>> {
    let wholes = parts.iter().enumerate().map(|(whole, part)| {
        let members = parts.iter().enumerate();
        let members = members.filter(|(_, other)| part.what.gathers(&other.what));
        (whole, members.map(|(member, _)| member).collect())
    });
    let wholes = wholes.filter(|(_, members): &(_, Vec<PartId>)| members.len() > 1);
    wholes.collect()
}
