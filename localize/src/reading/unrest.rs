//! Rounds in which a vantage point's own host was late with everything.
//!
//! A host that has no time is late at targets that share nothing else. Handshakes and DNS answers show
//! it, since no application stands behind them: where many of a round's took much longer than usual, and
//! of more than one sort of target, no lateness of that round says anything about the path.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::facts::observation::{Layer, Observation, RoundId, Target};
use crate::facts::topology::VantageName;
use crate::reading::delay::Delays;

/// An opening this much later than usual is out of the ordinary, in microseconds, and as many times.
const LATE_BY: u64 = 40_000;
const LATE_TIMES: u64 = 3;
/// Share of a round's probes whose openings are late when the host is to blame.
const MANY: f64 = 0.3;

/// The rounds of unrest.
pub(crate) struct Unrest(BTreeSet<(VantageName, RoundId)>);

impl Unrest {
    /// Finds them by what openings usually take.
    pub(crate) fn new(delays: &Delays, observations: &[&Observation]) -> Self {
        let mut rounds: BTreeMap<(&VantageName, RoundId), Tally> = BTreeMap::new();
        for observation in observations {
            let openings = [Layer::Dns, Layer::Tls];
            let took = openings
                .into_iter()
                .filter_map(|layer| Some((layer, observation.took(layer)?)));
            let tally = rounds
                .entry((observation.vantage(), observation.round))
                .or_default();
            for (layer, took) in took {
                let usual = delays.usual(observation.vantage(), &observation.arm, layer);
                let usual = usual.map_or(took.0, |usual| usual.0);
                let late = took.0 > usual + LATE_BY && took.0 > LATE_TIMES * usual;
                tally.of += 1.0;
                if late {
                    tally.late += 1.0;
                    tally.sorts.insert(sort(&observation.arm.target));
                }
            }
        }
        let unrestful = rounds
            .into_iter()
            .filter(|(_, tally)| tally.sorts.len() > 1 && tally.late >= MANY * tally.of);
        Self(
            unrestful
                .map(|((v, round), _)| (v.clone(), round))
                .collect(),
        )
    }

    /// Whether an observation is of such a round.
    pub(crate) fn holds(&self, observation: &Observation) -> bool {
        !self.0.is_empty()
            && self
                .0
                .contains(&(observation.vantage().clone(), observation.round))
    }
}

#[derive(Default)]
struct Tally {
    late: f64,
    of: f64,
    sorts: BTreeSet<u8>,
}

/// What targets of one sort share, others do not.
fn sort(target: &Target) -> u8 {
    match target {
        Target::Resolver { .. } => 0,
        Target::NameServer { .. } => 1,
        Target::Edge { .. } => 2,
        Target::Vip { .. } => 3,
        Target::Backend { .. } => 4,
    }
}
