//! Stretches of time in which failures follow one pattern, the present being the last.
//!
//! What was wrong and is over must not bear on what is wrong now, and a change of pattern is a change for
//! everybody: somebody failed over, mended, rolled back, or the next thing broke. The record is parted
//! where it is so much more probable as two stretches than as one that chance and the number of places
//! where it could be parted are no explanation (optimal partitioning, Jackson et al. 2005, An Algorithm
//! for Optimal Partitioning of Data on an Interval). A fault that is rare or random parts nothing:
//! its failures are as probable in one long stretch.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::reading::cells::{Key, Trial};
use crate::world::symptom::Symptom;

/// Places at which the record may be parted, at most: where the most cells change. The cost grows with
/// their square.
const PLACES: usize = 72;
/// What one more stretch costs, in nats: changes are rare beside rounds.
const CHANGE: f64 = 5.0;
/// Cells that cross the same parts fail together, so that what they say is worth less than its sum.
const DEPENDENCE: f64 = 0.6;
/// A run of failures goes on over a few rounds that pass.
const RUN_US: u64 = 4_000_000;

/// From when, inclusive, to when, exclusive, in microseconds of mesh time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Span {
    /// All of time.
    pub(crate) const WHOLE: Self = Self {
        from: 0,
        to: u64::MAX,
    };

    /// Whether an instant lies in it.
    pub(crate) fn holds(&self, at: u64) -> bool {
        (self.from..self.to).contains(&at)
    }
}

/// Parts a record into stretches of one pattern each, in order. There is always one, and the last one
/// has no end.
pub(crate) fn epochs(trials: &BTreeMap<Key, Vec<Trial>>) -> Vec<Span> {
    let failing: Vec<&Vec<Trial>> = trials
        .values()
        .filter(|trials| trials.iter().any(|t| t.symptom.is_some()))
        .collect();
    let places = places(&failing);
    let cells: Vec<Sums> = failing.iter().map(|t| Sums::new(t, &places)).collect();
    let cuts = partition(&cells, places.len() + 1);
    let starts = core::iter::once(0).chain(cuts.iter().map(|cut| places[cut - 1]));
    let ends = cuts.iter().map(|cut| places[cut - 1]);
    let ends = ends.chain(core::iter::once(u64::MAX));
    starts
        .zip(ends)
        .map(|(from, to)| Span { from, to })
        .collect()
}

/// Where the record may be parted: where the records of the most cells turn, in order of time.
fn places(failing: &[&Vec<Trial>]) -> Vec<u64> {
    let mut votes: BTreeMap<u64, u32> = BTreeMap::new();
    for trials in failing {
        for place in turns(trials) {
            *votes.entry(place).or_default() += 1;
        }
    }
    let mut ranked: Vec<(u32, u64)> = votes.into_iter().map(|(at, n)| (n, at)).collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    ranked.truncate(PLACES);
    let mut places: Vec<u64> = ranked.into_iter().map(|(_, at)| at).collect();
    places.sort_unstable();
    places
}

/// The rounds in which a cell's runs of failures begin, show otherwise than before, or are over.
fn turns(trials: &[Trial]) -> Vec<u64> {
    let mut in_order: Vec<(u64, Option<Symptom>)> =
        trials.iter().map(|t| (t.at, t.symptom)).collect();
    in_order.sort_unstable();
    let mut turns = Vec::new();
    let mut run: Option<(u64, Symptom)> = None;
    let mut passed_since = None;
    for (at, symptom) in in_order {
        match (symptom, run) {
            (Some(symptom), Some((last, same))) if symptom == same && at <= last + RUN_US => {
                run = Some((at, symptom));
                passed_since = None;
            }
            (Some(symptom), _) => {
                turns.extend(passed_since.take());
                turns.push(at);
                run = Some((at, symptom));
            }
            (None, Some((last, _))) if at > last && passed_since.is_none() => {
                passed_since = Some(at);
            }
            (None, _) => {}
        }
    }
    turns.extend(passed_since);
    turns
}

/// What a cell counted up to each place: passes first, then every symptom that it showed.
struct Sums {
    kinds: usize,
    sums: Vec<u32>,
}

impl Sums {
    fn new(trials: &[Trial], places: &[u64]) -> Self {
        let mut symptoms: Vec<Symptom> = trials.iter().filter_map(|t| t.symptom).collect();
        symptoms.sort_unstable();
        symptoms.dedup();
        let kinds = symptoms.len() + 1;
        let mut sums = vec![0; kinds * (places.len() + 2)];
        for trial in trials {
            let kind = trial
                .symptom
                .and_then(|s| symptoms.binary_search(&s).ok())
                .map_or(0, |place| place + 1);
            let slot = places.partition_point(|place| *place <= trial.at) + 1;
            sums[slot * kinds + kind] += trial.count;
        }
        for slot in 1..=places.len() + 1 {
            for kind in 0..kinds {
                sums[slot * kinds + kind] += sums[(slot - 1) * kinds + kind];
            }
        }
        Self { kinds, sums }
    }

    /// Trials, and failures by symptom, from one place to another.
    fn between(&self, from: usize, to: usize) -> impl Iterator<Item = u32> + '_ {
        let kinds = 0..self.kinds;
        kinds.map(move |kind| {
            self.sums[to * self.kinds + kind] - self.sums[from * self.kinds + kind]
        })
    }

    fn all(&self) -> u32 {
        let last = self.sums.len() - self.kinds;
        self.sums[last..].iter().sum()
    }
}

/// The places before which a new stretch begins, from 1, ascending, of `slots` between places.
fn partition(cells: &[Sums], slots: usize) -> Vec<usize> {
    let tables = Tables::new(cells.iter().map(Sums::all).max().unwrap_or(0));
    let mut best: Vec<(f64, usize)> = vec![(-CHANGE, 0)];
    for to in 1..=slots {
        let scores = (0..to).map(|from| {
            let stretch: f64 = cells
                .iter()
                .map(|cell| tables.stretch(cell, from, to))
                .sum();
            (best[from].0 + DEPENDENCE * stretch - CHANGE, from)
        });
        let score = scores.fold((f64::NEG_INFINITY, 0), |best, next| {
            if next.0 > best.0 { next } else { best }
        });
        best.push(score);
    }
    let mut cuts = Vec::new();
    let mut at = slots;
    while best[at].1 > 0 {
        at = best[at].1;
        cuts.push(at);
    }
    cuts.reverse();
    cuts
}

/// A cell with a failure may fail hardly ever: a Beta law of this prior weight, with the mean one in
/// two hundred. Or it fails at any rate, rather nearly always or seldom.
const CALM: (f64, f64, f64) = (0.5, 1.0, 199.0);
const SICK: (f64, f64, f64) = (0.5, 0.4, 0.4);
/// How a stretch's failures show: a Dirichlet law of so little weight for each of so many symptoms,
/// since mostly they show as one.
const SYMPTOM: (f64, f64) = (0.3, 8.0);

/// ln Γ(offset + n) - ln Γ(offset) for every n.
struct Rising(Vec<f64>);

impl Rising {
    fn new(offset: f64, most: u32) -> Self {
        let mut sum = 0.0;
        let mut table = vec![0.0];
        for n in 0..most {
            sum += libm::log(offset + f64::from(n));
            table.push(sum);
        }
        Self(table)
    }

    fn at(&self, n: u32) -> f64 {
        self.0[n as usize]
    }
}

struct Tables {
    calm: [Rising; 3],
    sick: [Rising; 3],
    symptom: [Rising; 2],
}

impl Tables {
    fn new(most: u32) -> Self {
        let beta = |(_, failed, passed): (f64, f64, f64)| {
            [failed, passed, failed + passed].map(|offset| Rising::new(offset, most))
        };
        Self {
            calm: beta(CALM),
            sick: beta(SICK),
            symptom: [SYMPTOM.0, SYMPTOM.0 * SYMPTOM.1].map(|offset| Rising::new(offset, most)),
        }
    }

    /// Logarithm of the probability of a cell's record from one place to another, its rate and how its
    /// failures show integrated.
    fn stretch(&self, cell: &Sums, from: usize, to: usize) -> f64 {
        let mut counts = cell.between(from, to);
        let passed = counts.next().unwrap_or(0);
        let mut failed = 0;
        let mut shown = 0.0;
        for count in counts {
            failed += count;
            shown += self.symptom[0].at(count);
        }
        // Where nothing fails there is nothing to explain: cells are calm together, so that each of many
        // must not pay for that by itself.
        if failed == 0 {
            return 0.0;
        }
        let beta = |rising: &[Rising; 3]| {
            rising[0].at(failed) + rising[1].at(passed) - rising[2].at(failed + passed)
        };
        let (calm, sick) = (beta(&self.calm), beta(&self.sick));
        let most = calm.max(sick);
        let mixed = CALM.0 * libm::exp(calm - most) + SICK.0 * libm::exp(sick - most);
        most + libm::log(mixed) + shown - self.symptom[1].at(failed)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::facts::observation::{Arm, Target};
    use crate::facts::topology::VantageName;
    use crate::world::symptom::Stage;

    /// One cell's record: for each second the symptom seen, or none.
    fn cell(number: u8, record: &[Option<Symptom>]) -> (Key, Vec<Trial>) {
        let address = ([10, 0, 0, number], 443).into();
        let arm = Arm::to(Target::Vip { address });
        let key = (VantageName("dc1".to_string()), arm, Stage::Http);
        let trials = record.iter().zip(1..);
        let trials = trials.map(|(symptom, second)| Trial::plain(second * 1_000_000, *symptom));
        (key, trials.collect())
    }

    fn starts(cells: &[(Key, Vec<Trial>)]) -> Vec<u64> {
        let mut trials = BTreeMap::new();
        for (key, record) in cells {
            trials.insert(key.clone(), record.clone());
        }
        let spans = epochs(&trials);
        spans.iter().map(|span| span.from / 1_000_000).collect()
    }

    #[test]
    fn a_stretch_ends_where_the_pattern_changes() {
        let failing = |from: usize, to: usize, symptom| -> Vec<Option<Symptom>> {
            let at = |second| (from..to).contains(&second).then_some(symptom);
            (1..=120).map(at).collect()
        };
        let hard = failing(40, 50, Symptom::Status5xx);
        assert_eq!(starts(&[cell(1, &hard)]), [0, 40, 50]);
        assert_eq!(starts(&[cell(1, &failing(200, 201, Symptom::Reset))]), [0]);
        // What fails otherwise from some time on is something else.
        let mut other = hard.clone();
        other[49..60].fill(Some(Symptom::Reset));
        assert_eq!(starts(&[cell(1, &other), cell(2, &other)]), [0, 40, 50, 61]);
        // One failure, and one in ten at random, are no change of pattern.
        assert_eq!(starts(&[cell(1, &failing(40, 41, Symptom::Reset))]), [0]);
        let seldom = |second: usize| (second * 7919 % 10 == 3).then_some(Symptom::Status5xx);
        let random: Vec<Option<Symptom>> = (1..=120).map(seldom).collect();
        assert_eq!(starts(&[cell(1, &random), cell(2, &random)]), [0]);
        // Beside it a hard fault comes and goes.
        assert_eq!(starts(&[cell(1, &random), cell(2, &hard)]), [0, 40, 50]);
    }
}
