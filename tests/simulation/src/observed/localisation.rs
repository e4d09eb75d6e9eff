//! A localisation as the coordinator drives it, in simulated time: the scheduled rounds of the last quarter
//! of an hour, then rounds on demand, judged each second until the engine has had enough or a minute is over.

use std::collections::BTreeMap;

use localize::asked;
use localize::{
    Arm, Assessment, Baselines, Case, Choice, Observation, Outcome, RoundId, VantageName,
    WitnessReport,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::history::{self, Fault, SECOND};
use super::site::Site;
use super::world::World;
use super::{usual, witness};

/// The farthest look back when nobody says otherwise.
const SINCE_US: u64 = 900 * SECOND;
/// How long a localisation takes at most.
const BUDGET_US: u64 = 60 * SECOND;
/// A localisation fires at most so often.
const TICK_US: u64 = 250_000;
/// One round on demand in so many is of all arms.
const WHOLE: u64 = 4;
/// Rounds are announced so long before.
const AHEAD_US: u64 = 300_000;
/// Rounds of all arms under way at most.
const IN_FLIGHT: usize = 30;
/// A chosen round is fired so often before the next choice.
const TURNS: u32 = 2;
/// Witnesses report so often.
const REPORT_US: u64 = 2 * SECOND;
/// Observations come in so long after they are made.
const DELIVERY_US: u64 = 50_000;
/// Somebody asks about this time: whole seconds since the Unix epoch.
const EPOCH_S: u64 = 1_700_000_000;

/// The world begins so long before what is looked back at.
const BEFORE_US: u64 = 900 * SECOND;
/// Sets the seed of noise apart from that of the site.
const NOISE: u64 = 0x5eed;

/// A localisation that has ended.
pub struct Asked {
    /// What it was drawn from.
    pub seed: u64,
    /// The site.
    pub site: Site,
    /// What was and is wrong, with what met it.
    pub faults: Vec<Fault>,
    /// When somebody asked.
    pub asked_us: u64,
    /// How long the answer took, in simulated microseconds.
    pub took_us: u64,
    /// How many judgements it took.
    pub judgements: u32,
    /// Probes judged.
    pub probes: usize,
    /// The last judgement.
    pub assessment: Assessment,
    /// What it was made from.
    pub case: Case,
}

impl Asked {
    /// The same site in the same noise with other faults, in which chance falls as another seed says.
    pub(crate) fn again(&self, faults: Vec<Fault>, chance: u64) -> World {
        let from_us = self.asked_us - SINCE_US - BEFORE_US;
        let end_us = self.asked_us + BUDGET_US;
        let site = self.site.clone();
        let mut world = World::new(site, faults, self.seed ^ NOISE, from_us, end_us);
        world.rng = StdRng::seed_from_u64(chance);
        world
    }
}

/// A round under way.
struct Flight {
    at_us: u64,
    closes_us: u64,
    whole: bool,
    demanded: bool,
    observations: Vec<Observation>,
}

/// What is known so far.
struct Run {
    world: World,
    case: Case,
    flights: Vec<Flight>,
    round: u64,
    reported_us: u64,
    reports: Vec<WitnessReport>,
    wanted: Vec<(VantageName, Arm)>,
    turns: u32,
    /// A round fired for this question has closed.
    fresh: bool,
}

/// Draws a case and asks, with the engine given.
pub fn ask(seed: u64, judge: impl Fn(&Case) -> Assessment) -> Asked {
    let mut rng = StdRng::seed_from_u64(seed);
    let site = Site::draw(&mut rng);
    let asked_us = EPOCH_S * SECOND + rng.random_range(0..3600 * SECOND);
    let faults = history::draw(&mut rng, &site, asked_us);
    ask_about(seed, site, faults, asked_us, judge)
}

/// Asks about a given site with given faults.
pub fn ask_about(
    seed: u64,
    site: Site,
    faults: Vec<Fault>,
    asked_us: u64,
    judge: impl Fn(&Case) -> Assessment,
) -> Asked {
    let mut run = Run::new(seed, site, faults, asked_us);
    run.look_back(asked_us);
    let mut judgements = 0;
    let mut last = None;
    let mut stands = false;
    let mut now = asked_us;
    let mut tick = 0;
    run.fire_whole(now + AHEAD_US, true);
    let assessment = loop {
        tick += 1;
        now += TICK_US;
        run.tick(now, tick, asked_us);
        let over = now >= asked_us + BUDGET_US;
        if !over && !tick.is_multiple_of(WHOLE) {
            continue;
        }
        if run.gather(now) || last.is_none() {
            judgements += 1;
            let assessment = judge(&run.case);
            let settled = run.fresh && assessment.settled;
            let lacks = settled.then(|| asked::lacks(&run.case, &assessment, asked_us));
            let lacks = lacks.flatten();
            stands = settled && lacks.is_none();
            run.want(lacks.as_ref().unwrap_or(&assessment.choice));
            last = Some(assessment);
        }
        if let Some(assessment) = last.take_if(|_| over || stands) {
            break assessment;
        }
    };
    Asked {
        seed,
        asked_us,
        took_us: now - asked_us,
        judgements,
        probes: run.case.observations.len(),
        assessment,
        case: run.case,
        site: run.world.site,
        faults: run.world.faults,
    }
}

impl Run {
    fn new(seed: u64, site: Site, faults: Vec<Fault>, asked_us: u64) -> Self {
        let from_us = asked_us - SINCE_US;
        let end_us = asked_us + BUDGET_US;
        let learnt = site.every_s.filter(|_| site.learnt);
        let mut world = World::new(site, faults, seed ^ NOISE, from_us - BEFORE_US, end_us);
        let baselines = match learnt {
            Some(every_s) => usual::learn(&mut world, from_us - BEFORE_US, every_s),
            None => Baselines::default(),
        };
        world.counting = true;
        world.check_until(from_us);
        // Who answers is known from before, and an address that was handed out within the hour.
        world.former = world.site.every_s.is_some()
            && world.faults.iter().any(|fault| {
                fault.way[0].0 == super::modes::Effect::DnsStale && fault.course.from_us < from_us
            });
        Self {
            case: Case {
                declared: Default::default(),
                topology: world.site.topology(world.former),
                baselines,
                observations: Vec::new(),
                sightings: Vec::new(),
                traces: Vec::new(),
            },
            world,
            flights: Vec::new(),
            round: 0,
            reported_us: from_us - REPORT_US,
            reports: Vec::new(),
            wanted: Vec::new(),
            turns: 0,
            fresh: false,
        }
    }

    /// The scheduled rounds before the question.
    fn look_back(&mut self, asked_us: u64) {
        let Some(every_s) = self.world.site.every_s else {
            self.reported_us = asked_us - REPORT_US;
            self.world.check_until(asked_us);
            return;
        };
        let every = every_s * SECOND;
        let first = (asked_us - SINCE_US).div_ceil(every) * every;
        for at in (first..asked_us).step_by(usize::try_from(every).unwrap_or(usize::MAX)) {
            self.fire_whole(at, false);
        }
    }

    /// What is due at an instant: scheduled rounds, rounds on demand, chosen arms.
    fn tick(&mut self, now: u64, tick: u64, asked_us: u64) {
        if let Some(every_s) = self.world.site.every_s {
            let every = every_s * SECOND;
            let due = now / every * every;
            if due > now - TICK_US && due >= asked_us {
                self.fire_whole(due, false);
            }
        }
        if tick.is_multiple_of(WHOLE) {
            self.fire_whole(now + AHEAD_US, true);
        } else if self.turns > 0 && !self.wanted.is_empty() {
            self.turns -= 1;
            self.fire_chosen(now + AHEAD_US);
        }
    }

    fn fire_whole(&mut self, at_us: u64, demanded: bool) {
        let now = at_us - AHEAD_US;
        let under_way = self.flights.iter().filter(|f| f.whole && f.closes_us > now);
        if under_way.count() >= IN_FLIGHT {
            return;
        }
        let vantages = 0..self.world.site.vantages.len();
        let all = vantages.flat_map(|v| self.world.arms(v).into_iter().map(move |arm| (v, arm)));
        let all = all.collect();
        self.fire(at_us, all, true, demanded);
    }

    fn fire_chosen(&mut self, at_us: u64) {
        let vantages = &self.world.site.vantages;
        let place = |name: &VantageName| vantages.iter().position(|v| v.point.name == *name);
        let chosen = self.wanted.iter();
        let chosen = chosen.filter_map(|(name, arm)| Some((place(name)?, arm.clone())));
        let chosen = chosen.collect();
        self.fire(at_us, chosen, false, true);
    }

    fn fire(&mut self, at_us: u64, arms: Vec<(usize, Arm)>, whole: bool, demanded: bool) {
        self.world.check_until(at_us);
        self.round += 1;
        let round = RoundId(self.round);
        let observations: Vec<Observation> = arms
            .into_iter()
            .map(|(vantage, arm)| self.world.probe(vantage, arm, round, at_us))
            .collect();
        let ends = observations.iter().map(|seen| at_us + length(seen));
        self.flights.push(Flight {
            at_us,
            closes_us: ends.max().unwrap_or(at_us) + DELIVERY_US,
            whole,
            demanded,
            observations,
        });
    }

    /// Takes in what witnesses have reported and the rounds before the first that is still open, as the
    /// coordinator does; whether there were any.
    fn gather(&mut self, now: u64) -> bool {
        while self.reported_us + REPORT_US <= now {
            let (from, to) = (self.reported_us, self.reported_us + REPORT_US);
            self.reports
                .extend(witness::reports(&mut self.world, from, to));
            self.reported_us = to;
        }
        self.case.sightings.append(&mut self.reports);
        let flights = std::mem::take(&mut self.flights);
        let open = flights.iter().filter(|f| f.closes_us > now);
        let known_us = open.map(|f| f.at_us).min().unwrap_or(u64::MAX);
        let (closed, open): (Vec<_>, Vec<_>) =
            flights.into_iter().partition(|f| f.at_us < known_us);
        self.flights = open;
        let any = !closed.is_empty();
        for flight in closed {
            self.fresh |= flight.demanded;
            self.case.observations.extend(flight.observations);
        }
        self.case.topology = self.world.site.topology(self.world.former);
        any
    }

    fn want(&mut self, choice: &Choice) {
        self.wanted.clone_from(&choice.next);
        self.turns = TURNS;
    }
}

/// How long a probe took, in microseconds.
fn length(seen: &Observation) -> u64 {
    let passed: u64 = seen.steps.iter().map(|step| step.took.0).sum();
    passed
        + match &seen.outcome {
            Outcome::Failed { after, .. } => after.0,
            Outcome::Passed | Outcome::NotFired => 0,
        }
}

/// How many observations each vantage point made, for tests.
#[must_use]
pub fn by_vantage(case: &Case) -> BTreeMap<VantageName, usize> {
    let mut counts = BTreeMap::new();
    for seen in &case.observations {
        *counts.entry(seen.id.vantage.clone()).or_default() += 1;
    }
    counts
}
