//! What engines said, against the truth.

use crate::engine::Judgement;
use crate::world::Drawn;

/// A component is blamed from this probability on.
pub const BLAMED: f64 = 0.5;
/// Blaming an innocent above this is a confident false blame.
pub const CONFIDENT: f64 = 0.9;
/// Probabilities up to this are no statement, and do not enter the calibration.
pub const SAID: f64 = 0.001;
/// Bins of the calibration.
pub const BINS: usize = 10;

/// One case, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Faulty components that were blamed.
    pub found: u32,
    /// Innocent components that were blamed.
    pub wronged: u32,
    /// Faulty components that were not blamed.
    pub missed: u32,
    /// Whether something was at fault, listed or not.
    pub troubled: bool,
    /// Whether the most suspected component is at fault.
    pub top: bool,
    /// Sum over the components of the squared error of the probability (Brier 1950).
    pub brier: f64,
    /// Innocents blamed above [`CONFIDENT`].
    pub confident: u32,
    /// Every probability said, and whether it came true.
    pub said: Vec<(f64, bool)>,
}

impl Outcome {
    /// Compares a judgement with the truth.
    #[must_use]
    pub fn new(judgement: &Judgement, drawn: &Drawn) -> Self {
        let guilty: Vec<u32> = drawn.truth.ids().collect();
        let mut outcome = Self {
            found: 0,
            wronged: 0,
            missed: 0,
            troubled: !guilty.is_empty() || drawn.truth.unmodelled.is_some(),
            top: judgement
                .first()
                .is_some_and(|first| guilty.contains(&first.id)),
            brier: 0.0,
            confident: 0,
            said: Vec::new(),
        };
        for component in &drawn.case.components {
            let suspect = judgement.iter().find(|suspect| suspect.id == component.id);
            let probability = suspect.map_or(0.0, |suspect| suspect.probability);
            outcome.add(probability, guilty.contains(&component.id));
        }
        outcome
    }

    fn add(&mut self, probability: f64, guilty: bool) {
        match (probability >= BLAMED, guilty) {
            (true, true) => self.found += 1,
            (true, false) => self.wronged += 1,
            (false, true) => self.missed += 1,
            (false, false) => {}
        }
        self.confident += u32::from(probability > CONFIDENT && !guilty);
        self.brier += (probability - f64::from(u8::from(guilty))).powi(2);
        if probability > SAID {
            self.said.push((probability, guilty));
        }
    }

    fn exact(&self) -> bool {
        self.wronged + self.missed == 0
    }
}

/// Many cases together.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Cases.
    pub cases: usize,
    /// Harmonic mean of precision and recall over all components of all cases.
    pub f1: f64,
    /// Share of what was blamed that was at fault.
    pub precision: f64,
    /// Share of what was at fault that was blamed.
    pub recall: f64,
    /// Share of the cases in which exactly the faulty were blamed.
    pub exact: f64,
    /// Share of the cases with a listed fault in which the most suspected is at fault.
    pub top: f64,
    /// Share of the healthy cases in which anything was blamed.
    pub alarms: f64,
    /// Mean over cases of the summed squared error.
    pub brier: f64,
    /// Expected calibration error: the mean distance between what was said and what came true over
    /// ten bins, weighted by their counts (Naeini et al., AAAI 2015).
    pub ece: f64,
    /// Confident false blames a case.
    pub confident: f64,
    /// The calibration, bin by bin.
    pub bins: [Bin; BINS],
}

/// Statements of similar probability.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// How many.
    pub count: u32,
    /// Mean of what was said.
    pub said: f64,
    /// Share that came true.
    pub came: f64,
}

impl Summary {
    /// Adds up.
    #[must_use]
    pub fn new(outcomes: &[Outcome]) -> Self {
        let sum = |count: fn(&Outcome) -> u32| -> f64 {
            outcomes.iter().map(|o| f64::from(count(o))).sum()
        };
        let (found, wronged, missed) = (sum(|o| o.found), sum(|o| o.wronged), sum(|o| o.missed));
        let bins = calibration(outcomes);
        Self {
            cases: outcomes.len(),
            f1: share(2.0 * found, 2.0 * found + wronged + missed),
            precision: share(found, found + wronged),
            recall: share(found, found + missed),
            exact: part(outcomes, |_| true, Outcome::exact),
            top: part(outcomes, |o| o.found + o.missed > 0, |o| o.top),
            alarms: part(outcomes, |o| !o.troubled, |o| o.wronged > 0),
            brier: mean(outcomes, |o| o.brier),
            ece: ece(&bins),
            confident: mean(outcomes, |o| f64::from(o.confident)),
            bins,
        }
    }
}

fn share(of: f64, all: f64) -> f64 {
    if all > 0.0 { of / all } else { 0.0 }
}

fn mean(outcomes: &[Outcome], value: fn(&Outcome) -> f64) -> f64 {
    share(outcomes.iter().map(value).sum(), outcomes.len() as f64)
}

fn part(outcomes: &[Outcome], among: fn(&Outcome) -> bool, having: fn(&Outcome) -> bool) -> f64 {
    let among: Vec<&Outcome> = outcomes.iter().filter(|outcome| among(outcome)).collect();
    let having = among.iter().filter(|outcome| having(outcome)).count();
    share(having as f64, among.len() as f64)
}

fn calibration(outcomes: &[Outcome]) -> [Bin; BINS] {
    let mut bins = [Bin::default(); BINS];
    for &(probability, came) in outcomes.iter().flat_map(|outcome| &outcome.said) {
        let place = (1..BINS)
            .filter(|&edge| probability >= edge as f64 / BINS as f64)
            .count();
        let bin = &mut bins[place];
        bin.count += 1;
        bin.said += probability;
        bin.came += f64::from(u8::from(came));
    }
    for bin in &mut bins {
        bin.said = share(bin.said, f64::from(bin.count));
        bin.came = share(bin.came, f64::from(bin.count));
    }
    bins
}

fn ece(bins: &[Bin; BINS]) -> f64 {
    let all: f64 = bins.iter().map(|bin| f64::from(bin.count)).sum();
    let off: f64 = bins
        .iter()
        .map(|bin| f64::from(bin.count) * (bin.said - bin.came).abs())
        .sum();
    share(off, all)
}

/// The calibration as a table: what was said, how often, and how often it came true.
#[must_use]
pub fn table(bins: &[Bin; BINS]) -> String {
    let mut text = String::from("said        times   mean said   came true\n");
    for (place, bin) in bins.iter().enumerate() {
        let (low, high) = (place as f64 / BINS as f64, (place + 1) as f64 / BINS as f64);
        let line = if bin.count == 0 {
            format!("{low:.1} - {high:.1} {:>8}\n", 0)
        } else {
            format!(
                "{low:.1} - {high:.1} {:>8} {:>11.3} {:>11.3}\n",
                bin.count, bin.said, bin.came
            )
        };
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Suspect;
    use crate::shapes;

    fn outcome(said: &[f64], guilty: &[u32]) -> Outcome {
        let shape = shapes::Shape {
            components: 4,
            rows: 1,
            windows: 1,
            probes: 1,
        };
        let mut drawn = shapes::random(shape, 0, 1);
        drawn.truth.faults = guilty
            .iter()
            .map(|&id| crate::Fault {
                id,
                rate: 1.0,
                on: vec![0],
            })
            .collect();
        let judgement: Judgement = (0..)
            .zip(said)
            .map(|(id, &probability)| Suspect { id, probability })
            .collect();
        Outcome::new(&judgement, &drawn)
    }

    #[test]
    fn a_case_by_hand() {
        let outcome = outcome(&[0.8, 0.95, 0.2, 0.0], &[0, 2]);
        assert_eq!((outcome.found, outcome.wronged, outcome.missed), (1, 1, 1));
        assert_eq!(outcome.confident, 1);
        // 0.2 squared + 0.95 squared + 0.8 squared
        assert!((outcome.brier - (0.04 + 0.9025 + 0.64)).abs() < 1e-12);
        assert!(outcome.top && outcome.troubled);
        assert_eq!(outcome.said.len(), 3);
    }

    #[test]
    fn two_cases_by_hand() {
        let summary = Summary::new(&[outcome(&[0.9], &[0, 1]), outcome(&[0.0, 0.6], &[])]);
        // found 1, wronged 1, missed 1
        assert_eq!(summary.f1, 0.5);
        assert_eq!((summary.precision, summary.recall), (0.5, 0.5));
        assert_eq!(
            (summary.exact, summary.top, summary.alarms),
            (0.0, 1.0, 1.0)
        );
        // said 0.9 and came; said 0.6 and did not
        assert!((summary.ece - f64::midpoint(0.1, 0.6)).abs() < 1e-12);
        assert_eq!(summary.bins[6].count, 1);
        assert_eq!(summary.bins[9].count, 1);
    }
}
