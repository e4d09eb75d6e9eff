//! The sets that a beam of the engine's width comes across, so that the rest can be weighed.

use crate::problem::Problem;
use crate::sets::{HOPELESS, Set, best_first, nothing};

const BEAM: usize = 6;
const LARGEST: usize = 12;
const SWAPS: usize = 4;
/// Sets this much under the best one are not followed, in nats.
const OUTCLASSED: f64 = 10.0;
/// What lowers the best set of a size by more is not weighed beside it, in nats.
const IDLE: f64 = 5.0;

struct Search<'a> {
    problem: &'a Problem,
    singles: Vec<Set>,
    visited: Vec<Set>,
}

impl Problem {
    /// The sets visited.
    pub fn visited(&self) -> Vec<Set> {
        let singles = self.singles();
        let mut visited = vec![nothing()];
        visited.extend(singles.iter().cloned());
        let mut search = Search {
            problem: self,
            singles,
            visited,
        };
        search.grow();
        for _ in 0..SWAPS {
            if !search.swap() {
                break;
            }
        }
        search.visited
    }
}

impl Search<'_> {
    fn additions(&self) -> impl Iterator<Item = &Set> {
        self.singles.iter().filter(|single| single.score > HOPELESS)
    }

    fn seen(&self) -> Vec<u64> {
        self.visited.iter().map(Set::key).collect()
    }

    fn best(&self) -> f64 {
        let scores = self.visited.iter().map(|set| set.score);
        scores.fold(f64::NEG_INFINITY, f64::max)
    }

    /// A set with each cause that is worth adding and makes a set not seen before.
    fn extend(&self, set: &Set, best: f64, worst: f64, seen: &mut Vec<u64>) -> Vec<Set> {
        let needed = (best - OUTCLASSED - set.score).max(worst);
        let larger = self.additions().filter_map(|single| {
            let key = set.key() | single.key();
            if seen.contains(&key) {
                return None;
            }
            seen.push(key);
            self.problem.with(set, single, needed)
        });
        larger.collect()
    }

    fn grow(&mut self) {
        let mut beam: Vec<Set> = self.additions().take(BEAM).cloned().collect();
        for _ in 1..LARGEST {
            let best = self.best();
            let mut seen = self.seen();
            let mut larger = Vec::new();
            for (rank, set) in beam.iter().enumerate() {
                let worst = if rank == 0 { -IDLE } else { 0.0 };
                larger.extend(self.extend(set, best, worst, &mut seen));
            }
            best_first(&mut larger);
            larger.truncate(BEAM);
            larger.retain(|set| set.score > best - OUTCLASSED);
            for set in &mut larger {
                self.problem.refit(set, &self.singles);
            }
            best_first(&mut larger);
            let Some(top) = larger.first().map(|set| set.score) else {
                break;
            };
            self.visited.extend(larger.iter().cloned());
            beam = larger;
            if top < best + HOPELESS {
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
        for index in 0..best.fits.len() {
            let mut rest = best.clone();
            rest.fits.remove(index);
            self.problem.refit(&mut rest, &self.singles);
            others.extend(self.extend(&rest, best.score, 0.0, &mut seen));
            if !seen.contains(&rest.key()) {
                others.push(rest);
            }
        }
        best_first(&mut others);
        others.truncate(BEAM);
        for set in &mut others {
            self.problem.refit(set, &self.singles);
        }
        let better = others.iter().any(|set| set.score > best.score);
        self.visited.extend(others);
        better
    }
}
