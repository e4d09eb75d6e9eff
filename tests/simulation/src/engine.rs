//! What an engine is here: a function from a case to suspects, and the settings that it is tuned by.

use localize::score::{self, CountedCase};

use crate::metrics::{Outcome, Summary};
use crate::peers::{coverage, flock, netbouncer, scfs, sherlock, spectrum, votes};
use crate::world::Drawn;

/// An engine's word on one component.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suspect {
    /// The component.
    pub id: u32,
    /// Probability that it is at fault. Engines that return a set say 1 or 0.
    pub probability: f64,
}

/// Suspects, the most suspected first.
pub type Judgement = Vec<Suspect>;

/// Judges a case under some settings.
pub type Judge = fn(&CountedCase, &[f64]) -> Judgement;

/// An engine and how it is tuned.
#[derive(Clone, Copy)]
pub struct Engine {
    /// Its name in tables.
    pub name: &'static str,
    /// The engine.
    pub judge: Judge,
    /// The values that are tried for each of its settings; none for an engine that has none.
    pub grid: &'static [&'static [f64]],
}

/// The project's own, by the door that it has for counted cases. It has nothing to tune.
pub const OURS: Engine = Engine {
    name: "localize",
    judge: |case, _| {
        let said = score::score(case).components.into_iter();
        said.map(|scored| Suspect {
            id: scored.id,
            probability: scored.probability,
        })
        .collect()
    },
    grid: &[],
};

/// Everyone that is compared.
pub const ENGINES: &[Engine] = &[
    OURS,
    flock::ENGINE,
    flock::CALMED,
    netbouncer::ENGINE,
    sherlock::ENGINE,
    coverage::ENGINE,
    scfs::ENGINE,
    votes::ENGINE,
    spectrum::OCHIAI,
    spectrum::TARANTULA,
    spectrum::DSTAR,
];

impl Engine {
    /// The settings with the best F1 on training cases; of equals, the first.
    #[must_use]
    pub fn tune(&self, training: &[Drawn]) -> Vec<f64> {
        if self.grid.is_empty() {
            return Vec::new();
        }
        let mut best = (f64::NEG_INFINITY, Vec::new());
        for settings in combinations(self.grid) {
            let outcomes: Vec<Outcome> = training
                .iter()
                .map(|drawn| Outcome::new(&(self.judge)(&drawn.case, &settings), drawn))
                .collect();
            let f1 = Summary::new(&outcomes).f1;
            if f1 > best.0 {
                best = (f1, settings);
            }
        }
        best.1
    }
}

fn combinations(grid: &[&[f64]]) -> Vec<Vec<f64>> {
    grid.iter().fold(vec![Vec::new()], |heads, values| {
        let extended = |head: &Vec<f64>, value: f64| head.iter().copied().chain([value]).collect();
        heads
            .iter()
            .flat_map(|head| values.iter().map(move |&value| extended(head, value)))
            .collect()
    })
}

/// Suspects from scores: those that pass are named, all are ranked.
#[must_use]
pub fn ranked(ids: &[u32], scores: &[f64], named: impl Fn(usize) -> bool) -> Judgement {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by(|&a, &b| {
        named(b)
            .cmp(&named(a))
            .then(scores[b].total_cmp(&scores[a]))
    });
    order
        .into_iter()
        .map(|place| Suspect {
            id: ids[place],
            probability: if named(place) { 1.0 } else { 0.0 },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_every_combination() {
        let all = combinations(&[&[1.0, 2.0], &[3.0, 4.0]]);
        assert_eq!(all, [[1.0, 3.0], [1.0, 4.0], [2.0, 3.0], [2.0, 4.0]]);
        assert_eq!(combinations(&[]), [Vec::<f64>::new()]);
    }

    #[test]
    fn the_named_come_first() {
        let judgement = ranked(&[7, 8, 9], &[0.2, 0.9, 0.5], |place| place == 2);
        let ids: Vec<u32> = judgement.iter().map(|suspect| suspect.id).collect();
        assert_eq!(ids, [9, 8, 7]);
        assert_eq!(judgement[0].probability, 1.0);
        assert_eq!(judgement[1].probability, 0.0);
    }
}
