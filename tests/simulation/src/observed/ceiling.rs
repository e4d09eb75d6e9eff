//! What one could say of a fault who knows how cases are drawn, all other faults, and of this one its rate,
//! its course and how late it makes answers: everything but what it is.
//!
//! Every place with every way of failing is a hypothesis, weighed by its chance to be drawn. What probes show
//! under each is learnt by probing the same site in the same noise again, at the same instants; what they showed
//! is as probable as that says, arm by arm.

use std::collections::BTreeMap;

use localize::{Arm, Failure, Layer, Observation, Outcome, RoundId, Target, VantageName};

use super::history::{self, Fault, Met, SECOND};
use super::localisation::Asked;
use super::naming::{self, Names};
use super::score::NAMED;
use super::world::World;

/// Rounds probed again at most.
const ROUNDS: usize = 40;
/// How often: without the fault, under each hypothesis in the first pass, and of the best in the second.
const TIMES_WITHOUT: u64 = 10;
const TIMES: [u64; 2] = [1, 8];
/// Hypotheses of the second pass.
const BEST: usize = 16;
/// Rare faults are made this frequent when probing again, and count for less in proportion.
const OFTEN: f64 = 0.3;
/// Weight of the signs without a fault among those of probes that a fault has spared.
const SPARED: f64 = 10.0;
/// Chances of what was never shown: of one thing, and of all together.
const NEVER: f64 = 0.02;
const NEVER_OF_ALL: f64 = 1.0;
/// Prior odds of no fault against one more.
const NONE: f64 = 0.5;
/// The balancer has checked its backends for so long before the first round.
const WARM_US: u64 = 20 * SECOND;
/// Less than that is not late, in microseconds.
const LATE_US: u64 = 150_000;

/// What one could say of a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// The probability that it is the fault that it is, by name.
    pub truth: f64,
    /// The largest probability of another name.
    pub other: f64,
}

impl Known {
    /// It would be named.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.truth >= NAMED
    }

    /// Another would be named in its place.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.other >= NAMED
    }
}

/// What a probe shows, coarsely.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sign {
    failure: Option<(Layer, Failure)>,
    /// Doublings of [`LATE_US`] by which answer and TLS handshake were later than usual.
    late: [u32; 2],
    /// Length of the body, headers that tell who made it, addresses of the answer.
    answer: (u64, Vec<String>, usize),
    /// SYNs sent again.
    again: u32,
}

/// Who fired what.
type Who = (VantageName, Arm);

/// Who fired what, and which of the other faults were on.
type Place = (Who, Vec<bool>);

/// How often each sign was shown.
type Signs = BTreeMap<Sign, u32>;

/// How often each sign was shown, by probes that the fault has spared and by those that it has struck.
type Shown = BTreeMap<Place, [Signs; 2]>;

/// What answers and TLS handshakes usually take, in microseconds.
type Usual = BTreeMap<Who, [u64; 2]>;

struct Hypothesis {
    /// None: nothing is wrong but the other faults.
    fault: Option<Fault>,
    log_prior: f64,
    log_likelihood: f64,
}

/// The best hypotheses for the fault at a place of [`Asked::faults`], each in a line.
#[must_use]
pub fn ranking(asked: &Asked, index: usize) -> String {
    let line = |h: &Hypothesis| {
        let what = h.fault.as_ref().map(|f| (f.place, f.mode.word, f.way));
        format!("  {:.1} {:.1} {what:?}", h.log_prior, h.log_likelihood)
    };
    let lines: Vec<String> = judged(asked, index).iter().map(line).collect();
    lines.join("\n")
}

/// What could be said of the fault at a place of [`Asked::faults`].
#[must_use]
pub fn known(asked: &Asked, index: usize) -> Known {
    let fault = &asked.faults[index];
    let all = judged(asked, index);
    let most = all[0].weight();
    let total: f64 = all.iter().map(|h| (h.weight() - most).exp()).sum();
    let truth = naming::names(asked, fault.place);
    let named = |names: &Names| {
        let meant = all.iter().filter(|h| {
            let fault = h.fault.as_ref();
            fault.is_some_and(|fault| naming::names(asked, fault.place).meet(names))
        });
        meant.map(|h| (h.weight() - most).exp()).sum::<f64>() / total
    };
    let places = all.iter().filter_map(|h| h.fault.as_ref());
    let rivals = places.map(|fault| naming::names(asked, fault.place));
    let rivals = rivals.filter(|names| !names.meet(&truth));
    Known {
        truth: named(&truth),
        other: rivals.map(|names| named(&names)).fold(0.0, f64::max),
    }
}

/// The best hypotheses, the best first.
fn judged(asked: &Asked, index: usize) -> Vec<Hypothesis> {
    let fault = &asked.faults[index];
    let others = without(&asked.faults, index);
    let seen = asked.case.observations.iter();
    let seen: Vec<&Observation> = seen
        .filter(|o| fault.course.is_on(o.scheduled_us))
        .collect();
    let mut instants: Vec<u64> = seen.iter().map(|o| o.scheduled_us).collect();
    instants.sort_unstable();
    instants.dedup();
    let instants = &instants[instants.len().saturating_sub(ROUNDS)..];
    let again = Again {
        asked,
        others: &others,
        instants,
        usual: usual(asked, instants),
    };
    let mut observed = Shown::new();
    for observation in seen {
        again.add(&mut observed, observation, false);
    }
    let calm = again.probe(None, TIMES_WITHOUT);
    let mut all = hypotheses(asked, fault);
    for times in TIMES {
        for hypothesis in &mut all {
            let expected = again.probe(hypothesis.fault.as_ref(), times);
            let scale = hypothesis
                .fault
                .as_ref()
                .map_or(1.0, |f| f.rate / often(f.rate));
            hypothesis.log_likelihood = log_likelihood(&observed, &calm, &expected, scale);
        }
        all.sort_by(|a, b| b.weight().total_cmp(&a.weight()));
        all.truncate(BEST);
    }
    all
}

impl Hypothesis {
    fn weight(&self) -> f64 {
        self.log_prior + self.log_likelihood
    }
}

fn without(faults: &[Fault], index: usize) -> Vec<Fault> {
    let others = faults
        .iter()
        .enumerate()
        .filter(|(place, _)| *place != index);
    others.map(|(_, fault)| fault.clone()).collect()
}

/// Every way in which every place can fail, with the rate and the course of the fault.
fn hypotheses(asked: &Asked, fault: &Fault) -> Vec<Hypothesis> {
    let every = history::every(&asked.site).into_iter();
    let one = |(place, mode, way, prior): (_, _, _, f64)| Hypothesis {
        fault: Some(Fault {
            place,
            mode,
            way,
            met: Met::default(),
            ..fault.clone()
        }),
        log_prior: prior.ln(),
        log_likelihood: 0.0,
    };
    let none = Hypothesis {
        fault: None,
        log_prior: NONE.ln(),
        log_likelihood: 0.0,
    };
    every.map(one).chain([none]).collect()
}

fn often(rate: f64) -> f64 {
    rate.max(OFTEN)
}

/// The same site probed again at the same instants.
struct Again<'a> {
    asked: &'a Asked,
    others: &'a [Fault],
    instants: &'a [u64],
    usual: Usual,
}

impl Again<'_> {
    /// What probes show beside the other faults when this is another.
    fn probe(&self, fault: Option<&Fault>, times: u64) -> Shown {
        let mut all = Shown::new();
        for chance in 0..times {
            let own = fault.map(|fault| Fault {
                rate: often(fault.rate),
                ..fault.clone()
            });
            let faults: Vec<Fault> = own.into_iter().chain(self.others.iter().cloned()).collect();
            let mut world = world(self.asked, faults, chance, self.instants);
            for at in self.instants {
                for (observation, struck) in round(&mut world, *at, fault.is_some()) {
                    self.add(&mut all, &observation, struck);
                }
            }
        }
        all
    }

    fn add(&self, shown: &mut Shown, seen: &Observation, struck: bool) {
        let on = self
            .others
            .iter()
            .map(|other| other.course.is_on(seen.scheduled_us));
        let who = (seen.id.vantage.clone(), seen.arm.clone());
        let usual = self.usual.get(&who).copied().unwrap_or_default();
        let signs = shown.entry((who, on.collect())).or_default();
        *signs[usize::from(struck)]
            .entry(sign(seen, usual))
            .or_default() += 1;
    }
}

fn world(asked: &Asked, faults: Vec<Fault>, chance: u64, instants: &[u64]) -> World {
    let mut world = asked.again(faults, chance);
    if let Some(first) = instants.first() {
        world.begin(first - WARM_US);
    }
    world.former = asked.case.topology.edges.contains(&asked.site.former);
    world.counting = true;
    world
}

/// Every arm fired once, each with whether the first fault has struck it so that it showed.
fn round(world: &mut World, at_us: u64, fault: bool) -> Vec<(Observation, bool)> {
    world.check_until(at_us);
    let mut round = Vec::new();
    let struck = |world: &World| world.faults.first().map_or(0, |first| first.met.struck);
    for vantage in 0..world.site.vantages.len() {
        for arm in world.arms(vantage) {
            let before = struck(world);
            let seen = world.probe(vantage, arm, RoundId(0), at_us);
            round.push((seen, fault && struck(world) > before));
        }
    }
    world.sighted.clear();
    round
}

/// Medians of what nothing stands in the way of.
fn usual(asked: &Asked, instants: &[u64]) -> Usual {
    let mut world = world(asked, Vec::new(), 0, instants);
    let mut took: BTreeMap<Who, [Vec<u64>; 2]> = BTreeMap::new();
    for at in instants.iter().take(10) {
        for (seen, _) in round(&mut world, *at, false) {
            let times = times(&seen);
            let all = took.entry((seen.id.vantage, seen.arm)).or_default();
            all[0].push(times[0]);
            all[1].push(times[1]);
        }
    }
    let median = |mut all: Vec<u64>| {
        all.sort_unstable();
        all[all.len() / 2]
    };
    took.into_iter()
        .map(|(who, all)| (who, all.map(median)))
        .collect()
}

/// What the answer took, and the TLS handshake.
fn times(seen: &Observation) -> [u64; 2] {
    let took = |layer| seen.took(layer).map_or(0, |took| took.0);
    [took(Layer::Dns) + took(Layer::Http), took(Layer::Tls)]
}

fn sign(seen: &Observation, usual: [u64; 2]) -> Sign {
    let took = times(seen);
    let late = |place: usize| {
        let doubled = took[place].saturating_sub(usual[place]) / LATE_US;
        u64::BITS - doubled.leading_zeros()
    };
    let http = seen.facts.http.as_ref();
    let dns = seen.facts.dns.as_ref();
    Sign {
        failure: match &seen.outcome {
            Outcome::Failed { layer, failure, .. } => Some((*layer, *failure)),
            Outcome::Passed | Outcome::NotFired => None,
        },
        late: [late(0), late(1)],
        answer: (
            http.map_or(0, |http| http.body_bytes),
            http.map_or_else(Vec::new, |http| {
                let telling = http
                    .headers
                    .iter()
                    .filter(|(name, _)| name == "x-served-by");
                telling.map(|(_, value)| value.clone()).collect()
            }),
            dns.map_or(0, |dns| dns.addresses.len()),
        ),
        again: match seen.arm.target {
            Target::Resolver { .. } | Target::NameServer { .. } => 0,
            Target::Edge { .. } | Target::Vip { .. } | Target::Backend { .. } => {
                let tcp = seen.facts.tcp.as_ref();
                tcp.map_or(0, |tcp| tcp.syn_retransmissions)
            }
        },
    }
}

fn of_all(signs: &Signs) -> f64 {
    f64::from(signs.values().sum::<u32>())
}

fn of(signs: &Signs, sign: &Sign) -> f64 {
    f64::from(signs.get(sign).copied().unwrap_or(0))
}

/// What was observed is as probable as what probing again showed: struck ones by their own signs, spared ones
/// mostly as if there were no fault. `scale` is by how much more seldom the fault is than it was made.
fn log_likelihood(observed: &Shown, calm: &Shown, expected: &Shown, scale: f64) -> f64 {
    let mut sum = 0.0;
    for (place, [signs, _]) in observed {
        let (Some([usually, _]), Some([spared, struck])) = (calm.get(place), expected.get(place))
        else {
            // Of an instant that was not probed again nothing is known.
            continue;
        };
        let (all_spared, all_struck) = (of_all(spared), of_all(struck));
        let share = scale * all_struck / (all_spared + all_struck);
        for (sign, count) in signs {
            let calm = (of(usually, sign) + NEVER) / (of_all(usually) + NEVER_OF_ALL);
            let spared = (of(spared, sign) + SPARED * calm) / (all_spared + SPARED);
            let struck = (of(struck, sign) + NEVER) / (all_struck + NEVER_OF_ALL);
            sum += f64::from(*count) * (share * struck + (1.0 - share) * spared).ln();
        }
    }
    sum
}
