//! What faults that are alike may have in common, and the sets that hold it.

use crate::fit::Fault;
use crate::problem::{Cause, Problem};
use crate::sets::Set;

/// Prior odds of something in common, which every choice of its parts shares.
const SHARED: f64 = 0.02;
/// Fewer faults have nothing in common.
const SEVERAL: u32 = 2;
/// Most causes in a set.
const LARGEST: usize = 12;

/// A cause that stands for several, given as bits.
pub struct Common {
    pub cause: usize,
    pub explains: u64,
}

impl Problem {
    /// How many causes stand for one thing.
    pub fn components(&self) -> usize {
        self.causes.len() - self.common.len()
    }

    /// The causes of a set that stand for one thing.
    pub fn blamable(&self, set: &Set) -> usize {
        let causes = set.fits.iter().map(|fit| fit.fault.cause);
        causes.filter(|cause| *cause < self.components()).count()
    }

    /// Adds what the most of these faults may have in common.
    pub fn push_common(&mut self, faults: &[Fault]) {
        let mut groups: Vec<u64> = Vec::new();
        for times in [1.5, 4.0] {
            let like = |one: &Fault| {
                let alike = faults
                    .iter()
                    .filter(|other| alike(one, other, times, self.windows));
                alike.fold(0, |bits: u64, fault| bits | 1 << fault.cause)
            };
            let most = faults
                .iter()
                .map(like)
                .max_by_key(|group| group.count_ones());
            let most = most.filter(|group| group.count_ones() >= SEVERAL);
            groups.extend(most.filter(|group| !groups.contains(group)));
        }
        let components = self.causes.len();
        for explains in groups {
            let cause = self.causes.len();
            let chosen = explains.count_ones() as usize;
            let choices = (0..chosen).map(|i| (components - i) as f64 / (i + 1) as f64);
            self.causes.push(Cause {
                log_odds: (SHARED / choices.product::<f64>()).ln(),
                members: Vec::new(),
            });
            self.common.push(Common { cause, explains });
            for cell in &mut self.cells {
                let fails = cell.paths.iter().any(|path| path & explains != 0);
                for bits in cell.paths.iter_mut().filter(|bits| **bits & explains != 0) {
                    *bits |= 1 << cause;
                }
                if cell.gates & explains != 0 && !fails {
                    cell.gates |= 1 << cause;
                }
                if cell.touching & explains != 0 {
                    cell.touching |= 1 << cause;
                }
            }
        }
    }

    /// A set with something in common in the place of what that explains, without what is superfluous
    /// then, and with what is missing.
    pub fn with_common(&self, common: &Common, set: &Set, best: f64, singles: &[Set]) -> Set {
        let key = set.key() & !common.explains | 1 << common.cause;
        let set = self.pared(self.set(key, singles), best, singles, |set| set);
        self.completed(common, set, singles)
    }

    fn completed(&self, common: &Common, mut set: Set, singles: &[Set]) -> Set {
        for _ in set.fits.len()..LARGEST {
            let keys = singles.iter().map(|single| set.key() | single.key());
            let sensible =
                |key: &u64| *key != set.key() && (common.explains & !key).count_ones() >= SEVERAL;
            let larger = keys.filter(sensible).map(|key| self.set(key, singles));
            let next = larger.max_by(|a, b| a.score.total_cmp(&b.score));
            match next.filter(|next| next.score > set.score) {
                Some(next) => set = next,
                None => break,
            }
        }
        set
    }
}

/// Whether two faults fail at once and at much the same rate.
fn alike(one: &Fault, other: &Fault, times: f64, windows: usize) -> bool {
    let on = |fault: &Fault, window| fault.rate(window) * 2.0 >= fault.theta;
    let windows = || 0..windows;
    let both = windows().filter(|w| on(one, *w) && on(other, *w)).count();
    let either = windows().filter(|w| on(one, *w) || on(other, *w)).count();
    let (low, high) = (one.theta.min(other.theta), one.theta.max(other.theta));
    high <= times * low && both as f64 >= 0.3 * either as f64
}
