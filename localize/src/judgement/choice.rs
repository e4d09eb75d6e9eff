//! Which probes to send next: those that tell most about who is to blame, for what they cost.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use crate::engine::information::{Chain, NOTHING, Prospect, WORTH};
use crate::engine::model::{Model, Outcome, index16, index32};
use crate::engine::search::Posterior;
use crate::facts::observation::{Arm, MOST_COPIES, Observation, Outcome as Ending, Target};
use crate::facts::topology::VantageName;
use crate::judgement::explain;
use crate::judgement::problem::Problem;
use crate::reading::cells::Cell;
use crate::reading::passing::passes;
use crate::world::symptom::{Stage, Symptom};

/// Probes that are chosen for one round: few, so that the next choice knows what they saw.
const CHOSEN: u32 = 8;
/// Arms beside a chosen one that do the same at another target: with two, two of three agree.
const SIBLINGS: usize = 2;
/// What one vantage point has under way of a chosen round, in connections or questions and in seconds of probes: with three
/// such rounds a second a quarter of what an agent allows by default.
const MOST_PROBES: usize = 16;
const MOST_SECONDS: f64 = 16.0;

/// What one more probe of an arm would tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Promise {
    /// The vantage point that would send it.
    pub vantage: VantageName,
    /// The arm.
    pub arm: Arm,
    /// Expected information about who is to blame, in bits.
    pub bits: f64,
    /// How long such a probe takes, in seconds: one that times out keeps its place for long.
    pub seconds: f64,
}

impl Promise {
    /// Bits per unit of cost: a connection or question, and each second that the probe takes.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.bits / cost(&self.arm, self.seconds)
    }
}

/// What the next probes would tell, and which to send.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Every arm seen so far, the most bits per unit of cost first.
    pub ranking: Vec<Promise>,
    /// Bits that a round of all arms would tell.
    pub bits_of_all: f64,
    /// A round of few arms worth firing before the next whole one; an arm listed several times is to
    /// be fired so many times at once. With each come siblings to compare it with: the same vantage
    /// point, the same kind of target, source address and traits, at another target.
    /// Empty when no such round is worth it.
    pub next: Vec<(VantageName, Arm)>,
}

impl Choice {
    /// No arm would tell the explanations apart.
    #[must_use]
    pub fn nothing_to_ask(&self) -> bool {
        self.ranking.iter().all(|promise| promise.bits < WORTH)
    }
}

/// How many probes of each arm of a counted case to send next.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    /// By arm, in the order given.
    pub probes: Vec<u32>,
    /// Bits that one more probe of each arm would tell.
    pub bits: Vec<f64>,
}

/// Chooses among arms that are given as the rows which their probes pass.
pub(crate) fn of_rows(
    model: &Model,
    posterior: &Posterior,
    arms: &[Vec<usize>],
    probes: u32,
) -> Counts {
    let outcomes = || {
        vec![
            Outcome::possible(None, None, 0.0),
            Outcome::possible(Some(0), None, 1.0),
        ]
    };
    let chains: Vec<Chain> = arms
        .iter()
        .map(|rows| Chain {
            stops: rows.iter().map(|row| (index32(*row), outcomes())).collect(),
            cost: 1.0,
        })
        .collect();
    let prospect = Prospect::new(model, posterior, &chains);
    Counts {
        bits: (0..arms.len()).map(|arm| prospect.bits(arm)).collect(),
        probes: prospect.choose(probes, NOTHING),
    }
}

/// What a verdict still lacks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lack {
    /// To know who it is.
    Identity,
    /// So many probes across every component that could be at fault as well.
    Probes(f64),
}

/// Chooses among the arms of a case.
pub(crate) fn choose(
    problem: &Problem<'_>,
    posterior: &Posterior,
    observations: &[&Observation],
    lack: Lack,
) -> Choice {
    let arms = Arms::new(problem, observations);
    let prospect = Prospect::new(&problem.model, posterior, &arms.chains);
    let mut ranking: Vec<Promise> = arms
        .names
        .iter()
        .enumerate()
        .map(|(i, (vantage, arm))| Promise {
            vantage: (*vantage).clone(),
            arm: (*arm).clone(),
            bits: prospect.bits(i),
            seconds: arms.seconds[i],
        })
        .collect();
    ranking.sort_by(|a, b| b.value().total_cmp(&a.value()));
    let copies = match lack {
        Lack::Identity => prospect.choose(CHOSEN, WORTH),
        Lack::Probes(needed) => arms.thin(problem, needed),
    };
    Choice {
        ranking,
        bits_of_all: prospect.bits_of_all(),
        next: arms.round(&copies),
    }
}

/// The arms of a case, in order.
struct Arms<'a> {
    names: Vec<(&'a VantageName, &'a Arm)>,
    chains: Vec<Chain>,
    /// How long a probe takes on average.
    seconds: Vec<f64>,
    cells: Vec<Vec<usize>>,
}

impl<'a> Arms<'a> {
    fn new(problem: &'a Problem<'_>, observations: &[&Observation]) -> Self {
        let mut by_name: BTreeMap<(&VantageName, &Arm), Vec<usize>> = BTreeMap::new();
        let cells = problem.evidence.cells.iter().enumerate();
        for (index, cell) in cells.filter(|(_, cell)| !passes(&cell.vantage)) {
            let cells = by_name.entry((&cell.vantage, &cell.arm)).or_default();
            cells.push(index);
        }
        let took = durations(observations);
        let mut arms = Self {
            names: Vec::new(),
            chains: Vec::new(),
            seconds: Vec::new(),
            cells: Vec::new(),
        };
        for (name, mut cells) in by_name {
            cells.sort_by_key(|index| problem.evidence.cells[*index].stage);
            let (sum, count) = took.get(&name).copied().unwrap_or((0.0, 1.0));
            let seconds = sum / count;
            let cost = cost(name.1, seconds);
            let stops = cells.iter().map(|index| {
                let cell = &problem.evidence.cells[*index];
                (index32(*index), possible(cell))
            });
            arms.chains.push(Chain {
                stops: stops.collect(),
                cost,
            });
            arms.names.push(name);
            arms.seconds.push(seconds);
            arms.cells.push(cells);
        }
        arms
    }

    /// One probe of each arm that crosses a component which too few probes have crossed of late.
    fn thin(&self, problem: &Problem<'_>, needed: f64) -> Vec<u32> {
        let parts = 0..problem.evidence.parts.len();
        let thin: BTreeSet<usize> = parts
            .filter(|part| explain::crossing_probes(problem, *part) < needed)
            .flat_map(|part| problem.cells_of[part].iter().copied())
            .collect();
        let wanted = |cells: &Vec<usize>| cells.iter().any(|cell| thin.contains(cell));
        self.cells.iter().map(|c| u32::from(wanted(c))).collect()
    }

    /// The arms so many times with their siblings, within what a vantage point may have under way.
    /// Of too many the ones with the fewest probes of late would not be fewer: each round leaves out
    /// the last ones alike.
    fn round(&self, copies: &[u32]) -> Vec<(VantageName, Arm)> {
        // Several bursts at once would be another burst.
        let most = |i: usize| match self.connections(i) {
            1 => MOST_COPIES,
            _ => 1,
        };
        let times = copies.iter().enumerate().map(|(i, n)| (*n).min(most(i)));
        let mut times: Vec<u32> = times.collect();
        for chosen in (0..copies.len()).filter(|i| copies[*i] > 0) {
            for sibling in self.siblings(chosen) {
                times[sibling] = times[sibling].max(1);
            }
        }
        let mut under_way: BTreeMap<&VantageName, (usize, f64)> = BTreeMap::new();
        let mut round = Vec::new();
        // Chosen arms go before siblings, and each once before any twice.
        for turn in 0..MOST_COPIES {
            for own in [true, false] {
                for i in (0..times.len()).filter(|i| times[*i] > turn && (copies[*i] > 0) == own) {
                    let (vantage, arm) = self.names[i];
                    let (probes, seconds) = under_way.entry(vantage).or_default();
                    let connections = self.connections(i) as usize;
                    if *probes + connections <= MOST_PROBES
                        && *seconds + self.seconds[i] <= MOST_SECONDS
                    {
                        *probes += connections;
                        *seconds += self.seconds[i];
                        round.push((vantage.clone(), arm.clone()));
                    }
                }
            }
        }
        round
    }

    /// Connections that a probe of an arm opens.
    fn connections(&self, arm: usize) -> u32 {
        self.names[arm].1.traits.connections()
    }

    /// The next arms, in turn, that differ in nothing but which target of the same kind they go to.
    fn siblings(&self, chosen: usize) -> impl Iterator<Item = usize> + '_ {
        let (vantage, arm) = self.names[chosen];
        let others = (chosen + 1..self.names.len()).chain(0..chosen);
        let alike = move |(other, theirs): (&VantageName, &Arm)| {
            other == vantage
                && kind(&theirs.target) == kind(&arm.target)
                && (theirs.source, theirs.traits) == (arm.source, arm.traits)
        };
        others.filter(move |i| alike(self.names[*i])).take(SIBLINGS)
    }
}

/// What a probe is aimed at, by what is compared with each other.
#[derive(PartialEq, Eq)]
enum Aim {
    Name,
    Edge,
    Vip,
    Backend,
}

fn kind(target: &Target) -> Aim {
    match target {
        Target::Resolver { .. } | Target::NameServer { .. } => Aim::Name,
        Target::Edge { .. } => Aim::Edge,
        Target::Vip { .. } => Aim::Vip,
        Target::Backend { .. } => Aim::Backend,
    }
}

fn cost(arm: &Arm, seconds: f64) -> f64 {
    f64::from(arm.traits.connections()) + seconds
}

/// Seconds that the probes of each arm took in all, and how many there were.
fn durations<'o>(
    observations: &[&'o Observation],
) -> BTreeMap<(&'o VantageName, &'o Arm), (f64, f64)> {
    let mut took: BTreeMap<_, (f64, f64)> = BTreeMap::new();
    for observation in observations {
        let passed: u64 = observation.steps.iter().map(|step| step.took.0).sum();
        let failed = match &observation.outcome {
            Ending::Failed { after, .. } => after.0,
            Ending::Passed | Ending::NotFired => 0,
        };
        let (sum, count) = took
            .entry((observation.vantage(), &observation.arm))
            .or_default();
        *sum += passed.saturating_add(failed) as f64 / 1e6;
        *count += 1.0;
    }
    took
}

/// What the next probe may show in a cell. Who serves shows where it has shown before.
fn possible(cell: &Cell) -> Vec<Outcome> {
    let told = cell.tallies.iter().any(|tally| tally.served_by.is_some());
    let mut servers: Vec<Option<u16>> = if told && cell.stage == Stage::Http {
        let ways = cell.alternatives.iter();
        ways.map(|way| way.backend.map(index16)).collect()
    } else {
        vec![None]
    };
    servers.sort_unstable();
    servers.dedup();
    let failures = Symptom::ALL.iter().filter(|s| s.seen_at(cell.stage));
    servers
        .into_iter()
        .map(|server| Outcome::possible(None, server, 0.0))
        .chain(failures.map(|s| Outcome::possible(Some(*s as u8), None, s.background())))
        .collect()
}
