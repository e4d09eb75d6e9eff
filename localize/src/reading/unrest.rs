//! Rounds in which a vantage point's own host was late with everything, or all hosts were.
//!
//! A host that has no time is late at targets that share nothing else. Handshakes and DNS answers show
//! it, since no application stands behind them: where many of a round's took much longer than usual, and
//! of more than one sort of target, no lateness of that round says anything about the path.
//!
//! Where most vantage points were late to fire at one instant, they share a machine that had no time, and whoever
//! else is on it had none either: nothing that is late about then is anybody's, but for whose answers are late
//! then as nobody else's are.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::facts::observation::{Firing, Layer, Observation, RoundId, Target};
use crate::facts::topology::VantageName;
use crate::reading::clusters::Whose;
use crate::reading::delay::Delays;

/// An opening this much later than usual is out of the ordinary, in microseconds, and as many times.
const LATE_BY: u64 = 40_000;
const LATE_TIMES: u64 = 3;
/// Share of a round's probes whose openings are late when the host is to blame.
const MANY: f64 = 0.3;

/// A probe that left later than this was kept waiting, in microseconds: ten times what agents call late.
const KEPT_WAITING: u64 = 50_000;
/// So many vantage points, and this share of a round's, are not kept waiting at once by chance.
const TOGETHER: usize = 3;
const MOST: f64 = 0.5;
/// How far from such an instant a busy machine may still be busy, in microseconds: about as long as lateness comes
/// in clusters.
const BUSY_US: u64 = 2_500_000;

/// What is late so often, and so many times as often as everything else, is so for a reason of its own.
const LATE_ALONE: f64 = 5.0;
const TIMES_OTHERS: f64 = 4.0;

/// The rounds of unrest.
pub(crate) struct Unrest {
    own: BTreeSet<(VantageName, RoundId)>,
    /// The instants at which most vantage points were kept waiting, ascending, in microseconds of mesh time.
    common: Vec<u64>,
    /// Those who have a reason of their own to be late about then.
    alone: BTreeSet<Whose>,
}

impl Unrest {
    /// Finds them by what openings usually take. `whose` tells whose an answer is.
    pub(crate) fn new(
        delays: &Delays,
        observations: &[&Observation],
        whose: impl Fn(&Observation) -> Whose,
    ) -> Self {
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
        let common = common(observations);
        let about = observations.iter().filter(|o| is_about(&common, o));
        let answers = about.filter_map(|observation| {
            let layers = [Layer::Http, Layer::Dns].into_iter();
            let answer = layers.map(|layer| (layer, observation.took(layer)));
            let (layer, took) = answer.filter_map(|(l, took)| Some((l, took?))).next()?;
            let late = delays.of(observation, layer, took).is_some();
            Some((whose(observation), late))
        });
        Self {
            own: unrestful
                .map(|((v, round), _)| (v.clone(), round))
                .collect(),
            alone: alone(answers),
            common,
        }
    }

    /// Whether lateness of an observation is nobody's: it is of such a round, or of a time about such an instant.
    pub(crate) fn holds(&self, observation: &Observation, whose: impl FnOnce() -> Whose) -> bool {
        let round = || (observation.vantage().clone(), observation.round);
        let own = || !self.own.is_empty() && self.own.contains(&round());
        is_about(&self.common, observation) && !self.alone.contains(&whose()) || own()
    }
}

/// Whether an observation is of a time about one of some instants.
fn is_about(instants: &[u64], observation: &Observation) -> bool {
    let from = observation.scheduled_us.saturating_sub(BUSY_US);
    let took: u64 = observation.steps.iter().map(|step| step.took.0).sum();
    let to = observation.scheduled_us.saturating_add(took + BUSY_US);
    let first = instants.partition_point(|at| *at < from);
    instants.get(first).is_some_and(|at| *at <= to)
}

/// Those of whose answers many times more are late than of all others'.
fn alone(answers: impl Iterator<Item = (Whose, bool)>) -> BTreeSet<Whose> {
    let mut each: BTreeMap<Whose, (f64, f64)> = BTreeMap::new();
    let (mut late, mut all) = (0.0, 0.0);
    for (whose, is_late) in answers {
        let (own, of) = each.entry(whose).or_default();
        *of += 1.0;
        all += 1.0;
        if is_late {
            *own += 1.0;
            late += 1.0;
        }
    }
    let stands_out = each.into_iter().filter(|(_, (own, of))| {
        let as_others = of * (late - own) / (all - of).max(1.0);
        *own >= LATE_ALONE && *own > TIMES_OTHERS * as_others
    });
    stands_out.map(|(whose, _)| whose).collect()
}

/// The instants at which most of those who fired left late, three at least.
fn common(observations: &[&Observation]) -> Vec<u64> {
    let mut rounds: BTreeMap<u64, BTreeMap<&VantageName, bool>> = BTreeMap::new();
    for observation in observations {
        let round = rounds.entry(observation.scheduled_us).or_default();
        let waited = round.entry(observation.vantage()).or_default();
        *waited |= matches!(observation.firing, Firing::Late { by, .. } if by.0 > KEPT_WAITING);
    }
    let busy = rounds.into_iter().filter(|(_, round)| {
        let waited = round.values().filter(|waited| **waited).count();
        waited >= TOGETHER && waited as f64 >= MOST * round.len() as f64
    });
    busy.map(|(at, _)| at).collect()
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

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::facts::observation::{Arm, Facts, ObservationId, Outcome};
    use crate::facts::time::{Micros, Stamp};
    use crate::facts::topology::ServiceName;

    const SECOND: u64 = 1_000_000;

    fn fired(vantage: usize, at_us: u64, late_by: u64) -> Observation {
        let vantage = VantageName(vantage.to_string());
        Observation {
            id: ObservationId {
                vantage,
                sequence: at_us,
            },
            service: ServiceName("shop.example".to_string()),
            round: RoundId(at_us / SECOND),
            arm: Arm::to(Target::Vip {
                address: ([192, 0, 2, 1], 443).into(),
            }),
            started: Stamp::default(),
            scheduled_us: at_us,
            firing: match late_by {
                0 => Firing::OnTime,
                by => Firing::Late {
                    by: Micros(by),
                    why: "busy".to_string(),
                },
            },
            steps: vec![],
            outcome: Outcome::Passed,
            facts: Facts::default(),
        }
    }

    /// Whether an answer of a vantage point that was on time counts, so long after most were not.
    fn holds(late: usize, of: usize, by: u64, after_us: u64) -> bool {
        let at = 100 * SECOND;
        let round = (0..of).map(|v| fired(v, at, if v < late { by } else { 0 }));
        let round: Vec<Observation> = round.collect();
        let all: Vec<&Observation> = round.iter().collect();
        let delays = Delays::new(&Default::default(), &all);
        let whose = |o: &Observation| Whose::Target(o.arm.target.clone());
        let seen = fired(of, at + after_us, 0);
        Unrest::new(&delays, &all, whose).holds(&seen, || whose(&seen))
    }

    #[test]
    fn whose_answers_alone_are_late_has_a_reason() {
        let of = |name: &str| Whose::Backend(name.to_string());
        let answers = |name: &str, late: usize, of_all: usize| -> Vec<(Whose, bool)> {
            (0..of_all).map(|n| (of(name), n < late)).collect()
        };
        let told = |rows: [(&str, usize, usize); 3]| {
            alone(
                rows.into_iter()
                    .flat_map(|(name, late, all)| answers(name, late, all)),
            )
        };
        assert_eq!(
            told([("web1", 0, 30), ("web2", 1, 30), ("web3", 30, 30)]),
            [of("web3")].into()
        );
        assert_eq!(
            told([("web1", 0, 30), ("web2", 1, 30), ("web3", 9, 30)]),
            [of("web3")].into()
        );
        let busy = told([("web1", 12, 30), ("web2", 20, 30), ("web3", 30, 30)]);
        assert_eq!(busy, [].into(), "the machine is late with all of them");
        let few = told([("web1", 0, 30), ("web2", 0, 30), ("web3", 4, 30)]);
        assert_eq!(few, [].into(), "four may be one hiccup");
    }

    #[test]
    fn a_machine_that_most_share_is_busy_for_all() {
        assert!(holds(4, 8, 60_000, 2 * SECOND));
        assert!(!holds(4, 8, 60_000, 3 * SECOND), "it has time again");
        assert!(!holds(3, 8, 60_000, 0), "the others were on time");
        assert!(!holds(2, 2, 60_000, 0), "two may be late by chance");
        assert!(!holds(4, 8, 40_000, 0), "late as agents are now and then");
    }
}
