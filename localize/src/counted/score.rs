//! Counts of failed probes by row and window, without names of layers or symptoms: the form in which
//! inference engines are compared with each other.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::counted::cases::{self, Problem, STORM_WINDOWS, World};
use crate::engine;
use crate::engine::law::LogSum;
use crate::engine::model::Model;
use crate::engine::search::{Posterior, Set};
use crate::facts::component::Kind;
use crate::judgement::choice::{self, Counts};

/// One comparable problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountedCase {
    /// Version of the form: 1.
    pub schema: u32,
    /// Windows of time; every row has this many counts.
    pub windows: usize,
    /// What can be at fault.
    pub components: Vec<CountedComponent>,
    /// Calm times before, by vantage point.
    #[serde(default)]
    pub baseline: Vec<Calm>,
    /// The counts.
    pub rows: Vec<Row>,
}

/// A component of a counted case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountedComponent {
    /// Number by which rows name it.
    pub id: u32,
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// What a vantage point saw while all was well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calm {
    /// Number of the vantage point.
    pub vantage: u32,
    /// Probes sent.
    pub probes: u64,
    /// Those of them that failed, at any layer.
    pub failed: u64,
}

/// Probes of one arm at one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Number of the vantage point.
    pub vantage: u32,
    /// The components crossed, once for each path that a probe may have taken: each takes one of them
    /// at random.
    pub crosses: Vec<Vec<u32>>,
    /// Probes that reached the layer, by window.
    pub probes: Vec<u32>,
    /// Those of them that failed there, by window.
    pub failed: Vec<u32>,
}

/// Why a counted case cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaseError {
    /// The case is of another version of the form.
    Schema(u32),
    /// A row, by its place, has not one count for each window.
    Counts(usize),
}

impl fmt::Display for CaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema(schema) => write!(f, "schema {schema}: only 1 is known"),
            Self::Counts(row) => write!(
                f,
                "rows[{row}]: `probes` and `failed` need one count for each window"
            ),
        }
    }
}

impl core::error::Error for CaseError {}

impl CountedCase {
    /// Whether it can be judged as what it says.
    ///
    /// # Errors
    /// Another version of the form, or a row whose counts are not one for each window.
    pub fn check(&self) -> Result<(), CaseError> {
        if self.schema != 1 {
            return Err(CaseError::Schema(self.schema));
        }
        let fits = |row: &Row| row.probes.len() == self.windows && row.failed.len() == self.windows;
        match self.rows.iter().position(|row| !fits(row)) {
            Some(row) => Err(CaseError::Counts(row)),
            None => Ok(()),
        }
    }
}

/// What the inference makes of a counted case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Every component with a probability above 0.001, most probable first.
    pub components: Vec<Scored>,
    /// Probability that nothing is at fault.
    pub healthy: f64,
    /// Probability of something that no component explains.
    pub unknown: f64,
}

/// One component's part in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// The component's number.
    pub id: u32,
    /// Probability that it is at fault.
    pub probability: f64,
    /// Mean of its rate of failure, while it is on, if it is.
    pub rate: f64,
}

/// Components are listed from this probability on.
const LISTED: f64 = 0.001;

/// Judges a counted case.
#[must_use]
pub fn score(case: &CountedCase) -> Scores {
    Readings::new(case).scores()
}

/// Judges a counted case, and chooses so many probes to send next. Each arm is given as the rows that
/// its probes pass one after the other.
#[must_use]
pub fn score_and_choose(case: &CountedCase, arms: &[Vec<usize>], probes: u32) -> (Scores, Counts) {
    let readings = Readings::new(case);
    let reading = readings.first();
    let counts = choice::of_rows(&reading.model, &reading.posterior, arms, probes);
    (readings.scores(), counts)
}

/// Logarithms of the prior odds of failures being reported late at times, and of storms.
const LATE_LOG_ODDS: f64 = -4.0;
const STORMY_LOG_ODDS: f64 = -4.0;
/// A vantage point's own network that is so much suspected makes storms worth a thought, and so does
/// what no component explains.
const SUSPECTED: f64 = 0.01;
/// A reading that is less probable is left out.
const FAINT: f64 = 1e-4;

/// Every reading of a case that is worth a thought, each with its probability; the most probable first.
struct Readings<'a>(Vec<(f64, Reading<'a>)>);

impl<'a> Readings<'a> {
    fn new(case: &'a CountedCase) -> Self {
        let links = cases::links(case);
        let plain = World {
            links: &links,
            late: false,
            stormy: false,
        };
        let mut all = vec![Reading::weighed(case, plain)];
        if case.windows >= STORM_WINDOWS && all[0].1.doubts_networks() {
            all.push(Reading::weighed(
                case,
                World {
                    stormy: true,
                    ..plain
                },
            ));
        }
        if cases::worth_asking(case, &links) {
            let stormy = all.len() > 1 && all[1].0 > all[0].0;
            let late = World {
                late: true,
                stormy,
                ..plain
            };
            all.push(Reading::weighed(case, late));
        }
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut total = LogSum::default();
        all.iter().for_each(|(weight, _)| total.add(*weight));
        for (weight, _) in &mut all {
            *weight = libm::exp(*weight - total.value());
        }
        all.retain(|(probability, _)| *probability > FAINT);
        Self(all)
    }

    /// The most probable one.
    fn first(&self) -> &Reading<'a> {
        &self.0[0].1
    }

    fn scores(&self) -> Scores {
        let mut blame = vec![(0.0, 0.0); self.first().components.len()];
        let (mut healthy, mut unknown) = (0.0, 0.0);
        for (p, reading) in &self.0 {
            reading.add(*p, &mut blame);
            healthy += p * reading.healthy();
            unknown += p * reading.posterior.unknown();
        }
        let mut components: Vec<Scored> = blame
            .iter()
            .zip(self.first().components)
            .filter(|((probability, _), _)| *probability > LISTED)
            .map(|((probability, rate), component)| Scored {
                id: component.id,
                probability: probability.min(1.0),
                rate: rate / probability,
            })
            .collect();
        components.sort_by(|a, b| {
            let order = b.probability.total_cmp(&a.probability);
            order.then(a.id.cmp(&b.id))
        });
        Scores {
            components,
            healthy,
            unknown,
        }
    }
}

/// A case in one world.
struct Reading<'a> {
    components: &'a [CountedComponent],
    model: Model,
    /// By cause the places of its components.
    members: Vec<Vec<usize>>,
    posterior: Posterior,
}

impl<'a> Reading<'a> {
    /// With the logarithm of what it weighs.
    fn weighed(case: &'a CountedCase, world: World<'_>) -> (f64, Self) {
        let Problem { mut model, members } = cases::problem(case, world);
        let posterior = engine::explain(&mut model);
        let reading = Self {
            components: &case.components,
            model,
            members,
            posterior,
        };
        let mut weight = reading.evidence();
        if world.late {
            weight += LATE_LOG_ODDS;
        }
        if world.stormy {
            weight += STORMY_LOG_ODDS;
        }
        (weight, reading)
    }

    /// Logarithm of the probability of everything that was seen.
    fn evidence(&self) -> f64 {
        self.posterior.evidence + self.model.calm_total()
    }

    /// Adds the blame of each component, and that times the mean of its rate, with a factor.
    fn add(&self, times: f64, blame: &mut [(f64, f64)]) {
        for (weight, set) in &self.posterior.sets {
            for (fit, guilt) in set.fits.iter().zip(&set.guilt) {
                // What several faults may have in common is nobody's.
                let Some(members) = self.members.get(fit.fault.cause) else {
                    continue;
                };
                let mean: f64 = fit.rates.iter().map(|(theta, p)| theta * p).sum();
                let guilty = times * weight * guilt / members.len() as f64;
                for member in members {
                    let (sum, rate) = &mut blame[*member];
                    *sum += guilty;
                    *rate += guilty * mean;
                }
            }
        }
    }

    /// Whether a vantage point's own network is suspected, or something that no component explains.
    fn doubts_networks(&self) -> bool {
        let mut blame = vec![(0.0, 0.0); self.components.len()];
        self.add(1.0, &mut blame);
        let mut components = self.components.iter().zip(blame);
        self.posterior.unknown() > SUSPECTED
            || components.any(|(c, (p, _))| c.kind == Kind::ClientNetwork && p > SUSPECTED)
    }

    /// Probability that nothing is at fault.
    fn healthy(&self) -> f64 {
        self.posterior.mean(|set: &Set| {
            if set.unknown {
                0.0
            } else {
                set.innocence(&self.model)
            }
        })
    }
}
