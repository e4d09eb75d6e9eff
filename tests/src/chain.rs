//! `lab chain`: one mesh lives through a shuffled chain of faults, as real incidents come: one mended a
//! few seconds ago, the next one there. It is asked as a user asks, in the middle of each fault and now
//! and then between two.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::asking::{Asked, Record, ask};
use crate::expectation::{LIKELY, SURE};
use crate::fault::Fault;
use crate::net::Options;
use crate::run::{during, start};
use crate::said::Outcome;
use crate::verdicts::Setting;

/// From a mend to the next fault, or to a question between, in milliseconds: enough for health checks
/// to bring a backend back, too short for anybody to forget.
const PAUSE_MS: std::ops::RangeInclusive<u64> = 4_000..=10_000;
/// How often somebody asks between two faults.
const ASKS_BETWEEN: f64 = 0.25;
/// Share of the verdicts that must be right, in per cent, of a chain of so many or more.
const RIGHT_PER_CENT: usize = 95;
/// A chain with fewer faults must be all right: a wrong verdict would be more than the share.
const LONG: usize = 20;

/// What to live through.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The faults; those that the balancer cannot have are left out.
    pub faults: Vec<Fault>,
    /// How many faults the chain has: the list is gone through again and again, each time in another
    /// order.
    pub count: Option<usize>,
    /// Questions in good health at the end.
    pub healthy: usize,
    /// What the order and the pauses are drawn from.
    pub seed: u64,
    /// The meshes.
    pub meshes: Vec<Setting>,
    /// Folder for the cases, one file for each question and mesh.
    pub record: Option<PathBuf>,
    /// Options of the topology.
    pub options: Options,
}

/// A link of the chain: a pause in good health, a question in it or not, and a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    pause: Duration,
    asks_before: bool,
    fault: Fault,
}

/// Lives through the plan; true when the verdicts are good enough.
pub fn run(plan: &Plan) -> Result<bool> {
    let mut draw = StdRng::seed_from_u64(plan.seed);
    let links = links(&plan.faults, plan, &mut draw);
    let faults = links.len();
    println!("seed {}, {faults} faults", plan.seed);
    let record = plan.record.as_deref().map(Record::at).transpose()?;
    let record = record.as_ref();
    let (mut lab, mut meshes) = start(plan.options, &plan.meshes)?;
    let mut all = Vec::new();
    let mut number = 0;
    let mut stem = |what: &str| {
        number += 1;
        format!("{number:03}-{what}")
    };
    for link in links {
        std::thread::sleep(link.pause);
        if link.asks_before {
            all.extend(ask(&mut meshes, None, record, &stem("healthy"))?);
        }
        let stem = stem(link.fault.name());
        all.extend(during(&mut lab, &mut meshes, link.fault, record, &stem)?);
    }
    let mut last = Vec::new();
    for _ in 0..plan.healthy {
        std::thread::sleep(pause(&mut draw));
        last.extend(ask(&mut meshes, None, record, &stem("healthy"))?);
    }
    lab.check().context("the path is not well at the end")?;
    Ok(Tally::of(faults, &all, &last).told())
}

/// The chain: every fault that fits at least once, in rounds of another order each.
fn links(faults: &[Fault], plan: &Plan, draw: &mut StdRng) -> Vec<Link> {
    let balancer = plan.options.balancer;
    let fit: Vec<Fault> = faults
        .iter()
        .copied()
        .filter(|f| f.fits(balancer))
        .collect();
    let count = plan.count.unwrap_or(fit.len()).max(fit.len());
    let mut order = Vec::new();
    while order.len() < count && !fit.is_empty() {
        let mut round = fit.clone();
        round.shuffle(draw);
        order.extend(round);
    }
    order.truncate(count);
    let link = |fault| Link {
        pause: pause(draw),
        asks_before: draw.random_bool(ASKS_BETWEEN),
        fault,
    };
    order.into_iter().map(link).collect()
}

fn pause(draw: &mut StdRng) -> Duration {
    Duration::from_millis(draw.random_range(PAUSE_MS))
}

/// How the verdicts were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Faults that the chain had.
    faults: usize,
    asked: usize,
    right: usize,
    /// Faults of wrong name or mode above 0.9.
    sure_and_wrong: usize,
    /// Wrong names, candidates included, above 0.5.
    likely_and_wrong: usize,
    last: usize,
    last_healthy: usize,
}

impl Tally {
    fn of(faults: usize, all: &[Asked], last: &[Asked]) -> Tally {
        let every = || all.iter().chain(last);
        let wrong = |asked: &Asked, above: f64, by: fn(&Asked) -> f64| by(asked) > above;
        Tally {
            faults,
            asked: every().count(),
            right: every().filter(|asked| asked.passed()).count(),
            sure_and_wrong: every().filter(|a| wrong(a, SURE, wrong_fault)).count(),
            likely_and_wrong: every().filter(|a| wrong(a, LIKELY, wrong_name)).count(),
            last: last.len(),
            last_healthy: last.iter().filter(|asked| is_healthy(asked)).count(),
        }
    }

    fn told(self) -> bool {
        println!("{} of {} right", self.right, self.asked);
        println!("{} wrong above {SURE}", self.sure_and_wrong);
        println!("{} wrong names above {LIKELY}", self.likely_and_wrong);
        println!("{} of the last {} healthy", self.last_healthy, self.last);
        self.is_good_enough()
    }

    fn is_good_enough(self) -> bool {
        let enough = match self.faults {
            LONG.. => self.right * 100 >= self.asked * RIGHT_PER_CENT,
            _ => self.right == self.asked,
        };
        enough && self.sure_and_wrong == 0 && self.last_healthy == self.last
    }
}

fn wrong_fault(asked: &Asked) -> f64 {
    asked
        .said()
        .map_or(0.0, |said| asked.expected.wrong_fault(said))
}

fn wrong_name(asked: &Asked) -> f64 {
    asked
        .said()
        .map_or(0.0, |said| asked.expected.wrong_name(said))
}

fn is_healthy(asked: &Asked) -> bool {
    asked
        .said()
        .is_some_and(|said| said.outcome == Outcome::Healthy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{BackendFault, BalancerFault};
    use crate::net::Balancer;

    const FAULTS: [Fault; 4] = [
        Fault::Backend(BackendFault::Fails),
        Fault::Backend(BackendFault::Slow),
        Fault::Balancer(BalancerFault::Answers503),
        Fault::TwoAtOnce,
    ];

    fn drawn(seed: u64, count: Option<usize>, balancer: Balancer) -> Vec<Link> {
        let plan = Plan {
            faults: FAULTS.to_vec(),
            count,
            healthy: 0,
            seed,
            meshes: Vec::new(),
            record: None,
            options: Options {
                balancer,
                ..Options::default()
            },
        };
        links(&plan.faults, &plan, &mut StdRng::seed_from_u64(seed))
    }

    fn sorted(links: &[Link]) -> Vec<Fault> {
        let mut faults: Vec<Fault> = links.iter().map(|link| link.fault).collect();
        faults.sort_unstable();
        faults
    }

    #[test]
    fn a_chain_has_every_fault_that_fits_and_its_seed_makes_it_again() {
        let chain = drawn(5, None, Balancer::L7);
        let mut all = FAULTS.to_vec();
        all.sort_unstable();
        assert_eq!(sorted(&chain), all);
        assert_eq!(chain, drawn(5, None, Balancer::L7));
        let order = |links: &[Link]| links.iter().map(|l| l.fault).collect::<Vec<_>>();
        let other = |seed| order(&drawn(seed, None, Balancer::L7)) != order(&chain);
        assert!((0..20).any(other));
        // A balancer that speaks no HTTP answers none.
        assert_eq!(drawn(5, None, Balancer::Tcp).len(), 3);
    }

    #[test]
    fn a_longer_chain_goes_round_and_a_shorter_one_leaves_nothing_out() {
        let long = drawn(5, Some(10), Balancer::L7);
        assert_eq!(long.len(), 10);
        assert_eq!(sorted(&long[..4]), sorted(&drawn(5, None, Balancer::L7)));
        assert_eq!(drawn(5, Some(2), Balancer::L7).len(), 4);
    }

    #[test]
    fn pauses_are_seconds() {
        for link in drawn(5, Some(200), Balancer::L7) {
            assert!((4.0..=10.0).contains(&link.pause.as_secs_f64()));
        }
    }

    #[test]
    fn a_long_chain_may_have_a_wrong_verdict_in_twenty_and_a_short_one_none() {
        let tally = |faults, asked: usize, right: usize| Tally {
            faults,
            asked: asked + 10,
            right: right + 10,
            sure_and_wrong: 0,
            likely_and_wrong: 0,
            last: 10,
            last_healthy: 10,
        };
        let rows = [
            (tally(20, 30, 28), true),
            (tally(20, 30, 27), false),
            (tally(19, 25, 25), true),
            (tally(19, 25, 24), false),
            (
                Tally {
                    sure_and_wrong: 1,
                    ..tally(20, 30, 29)
                },
                false,
            ),
            (
                Tally {
                    last_healthy: 9,
                    ..tally(20, 30, 30)
                },
                false,
            ),
        ];
        for (tally, good) in rows {
            assert_eq!(tally.is_good_enough(), good, "{tally:?}");
        }
    }
}
