//! The sets that a beam of the engine's width comes across, so that the rest can be weighed.

use crate::problem::Problem;
use crate::sets::{HOPELESS, Set, best_first, few, nothing};

const BEAM: usize = 6;
const LARGEST: usize = 12;
const SWAPS: usize = 4;
const TRIPLED: usize = 12;

struct Search<'a> {
    problem: &'a Problem,
    singles: &'a [Set],
    visited: Vec<Set>,
}

impl Problem {
    /// The sets visited: nothing, every one, two and with few causes three, and larger ones from the best of these.
    pub fn visited(&self) -> Vec<Set> {
        let singles = self.singles();
        let mut search = Search::new(self, &singles);
        search.grow(singles.len(), BEAM);
        for _ in 0..SWAPS {
            if !search.swap() {
                break;
            }
        }
        search.visited
    }

    /// What is left when the best fault is added again and again.
    pub fn greedy(&self, singles: &[Set]) -> Set {
        let mut search = Search::new(self, singles);
        search.grow(1, 1);
        best_first(&mut search.visited);
        search.visited.swap_remove(0)
    }
}

impl<'a> Search<'a> {
    fn new(problem: &'a Problem, singles: &'a [Set]) -> Self {
        let mut visited = vec![nothing()];
        visited.extend(singles.iter().cloned());
        Self {
            problem,
            singles,
            visited,
        }
    }

    fn seen(&self) -> Vec<u64> {
        self.visited.iter().map(Set::key).collect()
    }

    fn best(&self) -> f64 {
        let scores = self.visited.iter().map(|set| set.score);
        scores.fold(f64::NEG_INFINITY, f64::max)
    }

    /// A set with each cause that makes one which was not seen before, but for those of `without`.
    fn extend(&self, set: u64, without: u64, seen: &mut Vec<u64>) -> Vec<Set> {
        let causes = self.singles.iter().map(Set::key);
        let keys = causes.filter(|cause| (set | without) & cause == 0);
        let larger = keys.filter_map(|cause| {
            let fresh = !seen.contains(&(set | cause));
            seen.push(set | cause);
            fresh.then(|| self.problem.set(set | cause, self.singles))
        });
        larger.collect()
    }

    /// Larger and larger sets, from `first` single ones and then from the best of each size.
    fn grow(&mut self, first: usize, width: usize) {
        let mut beam: Vec<u64> = self.singles.iter().take(first).map(Set::key).collect();
        let from_pairs = width > 1 && self.singles.len() <= TRIPLED;
        for size in 2..=LARGEST {
            let every = from_pairs && size == 2;
            let best = self.best();
            let mut seen = self.seen();
            let larger = beam.iter().map(|set| self.extend(*set, 0, &mut seen));
            let mut larger: Vec<Set> = larger.collect::<Vec<_>>().concat();
            best_first(&mut larger);
            let kept = match every {
                true => larger.len(),
                false => few(width, larger.iter().map(|set| set.score)),
            };
            beam = larger[..kept].iter().map(Set::key).collect();
            let top = larger.first().map(|set| set.score);
            self.visited.append(&mut larger);
            if top.is_none_or(|top| top < best + HOPELESS && !every) {
                break;
            }
        }
    }

    /// Each fault of the best set exchanged for another. Returns whether that made a better one.
    fn swap(&mut self) -> bool {
        best_first(&mut self.visited);
        let best = self.visited[0].clone();
        if best.fits.len() < 2 {
            return false;
        }
        let mut seen = self.seen();
        let mut others = Vec::new();
        for fit in &best.fits {
            let rest = best.key() & !(1 << fit.fault.cause);
            others.extend(self.extend(rest, best.key(), &mut seen));
            if !seen.contains(&rest) {
                others.push(self.problem.set(rest, self.singles));
                seen.push(rest);
            }
        }
        let better = others.iter().any(|set| set.score > best.score);
        self.visited.append(&mut others);
        better
    }
}
