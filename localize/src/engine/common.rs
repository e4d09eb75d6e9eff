//! What faults that look alike may have in common: one cause that no component stands for, as where a
//! balancer is in nobody's list and everything behind it seems to fail at once.

use alloc::vec::Vec;

use super::fit::Fault;
use super::model::{
    Cause, EVERY_PATH, Effect, Group, Habit, Meaning, Model, Restless, Shelter, Touch, index32,
};

/// Faults that fail at once and at much the same rate look as if they had one cause, from so many on.
const SEVERAL: usize = 2;
/// Faults are alike when the higher of their rates is at most so many times the lower one, strictly and
/// loosely, and of the windows in which one of them is on, both are on in this share.
const RATES_ALIKE: [f64; 2] = [1.5, 4.0];
const WINDOWS_ALIKE: f64 = 0.3;

/// A cause that stands for several.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) cause: usize,
    /// Those that seem to fail at once.
    pub(crate) explains: Vec<usize>,
}

impl Common {
    /// Whether it stands for several others than those that are there by themselves.
    pub(super) fn explains_several_but(&self, there: impl Fn(usize) -> bool) -> bool {
        self.explains.iter().filter(|cause| !there(**cause)).count() >= SEVERAL
    }
}

impl Model {
    /// Groups of causes whose faults are alike, strictly and loosely: the largest of each.
    pub(super) fn alike(&self, faults: &[Fault]) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        if self.in_common.is_none() {
            return groups;
        }
        let blamable = |f: &&Fault| self.causes[f.cause].meaning == Meaning::Fault;
        let faults: Vec<&Fault> = faults.iter().filter(blamable).collect();
        for times in RATES_ALIKE {
            let like = |one: &&Fault| -> Vec<usize> {
                let others = faults.iter();
                let alike = others.filter(|other| one.alike(other, times, self.windows));
                alike.map(|f| f.cause).collect()
            };
            let most = faults.iter().map(like).max_by_key(Vec::len);
            groups.extend(most.filter(|g| g.len() >= SEVERAL && !groups.contains(g)));
        }
        groups
    }

    /// Adds what faults that are alike may have in common, each a cause that no component stands for.
    pub(super) fn push_common(&mut self, faults: &[Fault]) {
        let components = self.components();
        let Some(log_odds) = self.in_common else {
            return;
        };
        for explains in self.alike(faults) {
            let touches = explains.iter().flat_map(|c| &self.causes[*c].touches);
            let cause = Cause {
                part: index32(self.causes.len()),
                phase: 0,
                log_odds: log_odds - log_choices(components, explains.len()),
                shelter: Shelter::Optional,
                habit: Habit::Fault,
                meaning: Meaning::Unknown,
                restless: Restless::default(),
                touches: once_each(touches.copied().collect()),
                passes: Default::default(),
            };
            self.common.push(Common {
                cause: self.causes.len(),
                explains,
            });
            self.push_cause(cause);
        }
    }
}

/// Logarithm of the number of ways to choose so many things of so many.
fn log_choices(things: usize, chosen: usize) -> f64 {
    (0..chosen)
        .map(|i| libm::log((things - i) as f64 / (i + 1) as f64))
        .sum()
}

/// Touches of several causes as those of one, which fails a probe once on its way, and keeps none from
/// where it fails them.
fn once_each(mut touches: Vec<Touch>) -> Vec<Touch> {
    let gate = |t: &Touch| t.effect == Effect::Gate;
    let place = |t: &Touch| {
        (
            t.cell,
            gate(t),
            t.group as usize,
            t.path != EVERY_PATH,
            t.path,
        )
    };
    touches.sort_by_key(|t| (place(t), t.order));
    touches.dedup_by_key(|t| place(t));
    // What fails probes comes first in a cell, and there what touches every path.
    let (mut failed, mut whole) = (None, None);
    touches.retain(|t| {
        let (cell, here) = (Some(t.cell), Some((t.cell, t.group)));
        let once = if gate(t) {
            failed != cell
        } else {
            whole != here
        };
        if !gate(t) {
            failed = cell;
        }
        if t.path == EVERY_PATH {
            whole = here;
        }
        once
    });
    touches
}

impl Fault {
    /// Whether both fail at once and at much the same rate.
    fn alike(&self, other: &Self, times: f64, windows: usize) -> bool {
        let front = Group::Front as usize;
        let (a, b) = (self.theta[front], other.theta[front]);
        let count = |on: &dyn Fn(usize) -> bool| (0..windows).filter(|w| on(*w)).count() as f64;
        let both = count(&|w| self.on(w) && other.on(w));
        let either = count(&|w| self.on(w) || other.on(w));
        a.max(b) <= times * a.min(b) && both >= WINDOWS_ALIKE * either
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(cell: u32, path: u16, order: u16, effect: Effect) -> Touch {
        Touch {
            cell,
            path,
            order,
            group: Group::Front,
            effect,
        }
    }

    #[test]
    fn a_probe_is_failed_once_and_where_it_is_first_touched() {
        let fail = Effect::Fail(0);
        let touches = alloc::vec![
            touch(0, 1, 3, fail),
            touch(0, 1, 2, fail),
            touch(0, 0, 4, fail),
            touch(1, 0, 1, fail),
            touch(1, EVERY_PATH, 2, fail),
            touch(2, 0, 1, fail),
            touch(2, EVERY_PATH, 0, Effect::Gate),
            touch(3, EVERY_PATH, 0, Effect::Gate),
        ];
        let left = [
            touch(0, 0, 4, fail),
            touch(0, 1, 2, fail),
            touch(1, EVERY_PATH, 2, fail),
            touch(2, 0, 1, fail),
            touch(3, EVERY_PATH, 0, Effect::Gate),
        ];
        let once = once_each(touches);
        let same = |(a, b): (&Touch, &Touch)| {
            (a.cell, a.path, a.order, a.effect) == (b.cell, b.path, b.order, b.effect)
        };
        assert_eq!(once.len(), left.len());
        assert!(once.iter().zip(&left).all(same), "{once:?}");
    }

    #[test]
    fn choices_are_counted() {
        assert!((log_choices(41, 3) - libm::log(10_660.0)).abs() < 1e-9);
    }
}
