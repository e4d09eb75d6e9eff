//! The watch over scheduled rounds: which rise of failures is worth a judgement, what has been raised,
//! and when it is over.
//!
//! Groups of probes overlap and share their rounds, so their evidence is averaged, never multiplied:
//! the average of e-detectors is one, and bounds the false alarms of a service as a whole. Rounds must
//! come in rising order; one that comes again changes nothing.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::course::evalue::{Detector, Recovery, Strike};
use crate::course::power;
use crate::facts::component::Component;
use crate::facts::observation::{Arm, Layer, Observation, Outcome, RoundId, Target};
use crate::facts::topology::VantageName;
use crate::judgement::verdict::{Outcome as VerdictOutcome, Verdict};
use crate::world::symptom::Symptom;

/// False alarms a day, of one service with all its groups, that are allowed at most.
pub const FALSE_ALARMS_A_DAY: f64 = 1e-4;

const DAY_US: u64 = 24 * 3_600 * 1_000_000;
/// Groups of one service: a thousand probes a round make no more.
const MOST_GROUPS: usize = 4_096;
/// A group without a probe for so long is forgotten: its arm or its agent is gone.
const FORGET_US: u64 = DAY_US;
/// A judgement takes a second of a processor; the next one may begin this long after the last ...
const JUDGE_AGAIN_US: u64 = 60_000_000;
/// ... and this long when that one told nothing that was not known.
const JUDGE_LATER_US: u64 = 300_000_000;
/// The rounds of no longer a time are judged, in microseconds.
const LONGEST_US: u64 = 3_600_000_000;
/// A rival explanation of an inconclusive verdict leads from here on.
const LEADING: f64 = 0.2;

/// Probes that are watched together, because one component may be behind all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// One arm from one vantage point.
    Probe {
        /// From where.
        vantage: VantageName,
        /// Which arm.
        arm: Arm,
        /// At which layer.
        layer: Layer,
    },
    /// One target from everywhere.
    Target {
        /// Which target.
        target: Target,
        /// At which layer.
        layer: Layer,
    },
    /// Everything from one vantage point.
    Vantage {
        /// From where.
        vantage: VantageName,
        /// At which layer.
        layer: Layer,
    },
    /// Everything.
    Service {
        /// At which layer.
        layer: Layer,
    },
}

impl Group {
    /// The groups that a probe counts in at a layer.
    #[must_use]
    pub fn of(vantage: &VantageName, arm: &Arm, layer: Layer) -> [Self; 4] {
        [
            Self::Probe {
                vantage: vantage.clone(),
                arm: arm.clone(),
                layer,
            },
            Self::Target {
                target: arm.target.clone(),
                layer,
            },
            Self::Vantage {
                vantage: vantage.clone(),
                layer,
            },
            Self::Service { layer },
        ]
    }
}

/// What one observation tells the watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glimpse {
    vantage: VantageName,
    arm: Arm,
    /// The layers that the probe reached, and whether it failed there.
    layers: Vec<(Layer, bool)>,
}

impl Glimpse {
    /// `None` for a probe that was not fired, and for a failure of the vantage point's own making.
    ///
    /// A SYN that had to be sent again is a failure, although the connection came about.
    #[must_use]
    pub fn of(observation: &Observation) -> Option<Self> {
        let failed = match observation.outcome {
            Outcome::NotFired => return None,
            Outcome::Passed => None,
            Outcome::Failed { layer, failure, .. } => {
                Symptom::of(failure)?;
                Some(layer)
            }
        };
        let tcp = observation.facts.tcp.as_ref();
        let again = tcp.is_some_and(|tcp| tcp.syn_retransmissions > 0);
        let passed = observation.steps.iter().map(|step| step.layer);
        let mut layers: Vec<(Layer, bool)> = passed
            .map(|layer| (layer, layer == Layer::Tcp && again))
            .collect();
        layers.extend(failed.map(|layer| (layer, true)));
        Some(Self {
            vantage: observation.vantage().clone(),
            arm: observation.arm.clone(),
            layers,
        })
    }
}

/// A scheduled round that nothing more is waited for of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedRound {
    /// Its number.
    pub id: RoundId,
    /// Its instant, in microseconds of mesh time.
    pub at_us: u64,
    /// The interval of the schedule, in microseconds.
    pub every_us: u64,
    /// What its probes saw, in any order, repeats allowed.
    pub glimpses: Vec<Glimpse>,
}

/// Failures have become more than they were.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// Where that is clearest.
    pub group: Group,
    /// Since when, in microseconds of mesh time: the mean over all possible beginnings.
    pub since_us: u64,
    /// The round that tipped the scales, in microseconds of mesh time.
    pub at_us: u64,
    /// Rounds since then.
    pub rounds: f64,
    /// How many of them had a failure in the group.
    pub struck: f64,
}

/// Why something raised stands no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Its rate of failure is refuted by quiet rounds.
    Quiet,
    /// A later verdict says more exactly what it is.
    Superseded,
    /// Nothing has probed it for a day.
    Unseen,
}

/// Something raised that stands no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// The verdict that raised it.
    pub verdict: String,
    /// What it named.
    pub components: Vec<Component>,
    /// Why.
    pub ending: Ending,
}

/// What a round brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct News {
    /// Something to judge.
    pub alarm: Option<Alarm>,
    /// What is over.
    pub over: Vec<Over>,
}

/// What becomes of a judgement that an alarm has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It says something that does not stand yet, and is raised.
    Raise {
        /// What it takes the place of.
        over: Vec<Over>,
    },
    /// It says what stands already.
    Known,
    /// All is well, by a verdict that would have seen it: what set the alarm off is usual from here on.
    Usual,
    /// It names nobody, or has not seen enough to say that all is well; there will be another.
    Undecided,
}

/// Something that was raised and is not over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Standing {
    verdict: String,
    components: Vec<Component>,
    /// False when they are mere candidates.
    named: bool,
    group: Group,
    recovery: Recovery,
}

impl Standing {
    fn over(self, ending: Ending) -> Over {
        Over {
            verdict: self.verdict,
            components: self.components,
            ending,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Watched {
    group: Group,
    detector: Detector,
    seen_us: u64,
}

/// The watch over one service: everything that must survive a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// Sorted by group.
    watched: Vec<Watched>,
    /// The last round taken in.
    through: Option<RoundId>,
    /// No judgement is asked for before this instant, in microseconds of mesh time.
    judge_us: u64,
    standing: Vec<Standing>,
}

impl Watch {
    /// Takes a round in.
    pub fn round(&mut self, round: &ClosedRound) -> News {
        if Some(round.id) <= self.through {
            return News::default();
        }
        self.through = Some(round.id);
        self.forget(round.at_us);
        let strikes = strikes(round);
        let teachable = self
            .standing
            .is_empty()
            .then(|| self.doubtful(round.every_us));
        let mut over = self.recover(&strikes);
        for (group, strike) in strikes {
            self.take(group, strike, round, teachable);
        }
        if !over.is_empty() && self.standing.is_empty() {
            self.watched.iter_mut().for_each(|w| w.detector.restart());
        }
        over.extend(self.unseen());
        let alarm = match round.at_us >= self.judge_us {
            true => self.alarm(round),
            false => None,
        };
        if alarm.is_some() {
            self.judge_us = round.at_us + JUDGE_AGAIN_US;
        }
        News { alarm, over }
    }

    /// What stood by these verdicts is over: somebody has asked, and what its probes see since is quiet
    /// for longer than it ever was.
    pub fn mended(&mut self, verdicts: &[String]) -> Vec<Over> {
        let standing = core::mem::take(&mut self.standing);
        let is_over = |s: &Standing| verdicts.contains(&s.verdict);
        let (over, standing): (Vec<Standing>, Vec<Standing>) =
            standing.into_iter().partition(is_over);
        self.standing = standing;
        if !over.is_empty() && self.standing.is_empty() {
            self.watched.iter_mut().for_each(|w| w.detector.restart());
        }
        over.into_iter().map(|s| s.over(Ending::Quiet)).collect()
    }

    /// Decides about the judgement of an alarm. `id` names its verdict.
    pub fn judged(&mut self, alarm: &Alarm, verdict: &Verdict, id: &str, every_us: u64) -> Ruling {
        let (components, named) = accused(verdict);
        let ruling = match verdict.outcome {
            // What is usual is not learnt from what is wrong: nothing is while something stands.
            VerdictOutcome::Healthy if self.standing.is_empty() && acquits(verdict, alarm) => {
                self.accept(every_us);
                return Ruling::Usual;
            }
            VerdictOutcome::Healthy => Ruling::Undecided,
            _ if components.is_empty() => Ruling::Undecided,
            VerdictOutcome::Fault | VerdictOutcome::Inconclusive => {
                self.rule(alarm, components, named, id)
            }
        };
        match &ruling {
            Ruling::Raise { .. } => self.start_afresh(every_us),
            Ruling::Known => {
                self.start_afresh(every_us);
                self.judge_us = alarm.at_us + JUDGE_LATER_US;
            }
            Ruling::Undecided | Ruling::Usual => self.judge_us = alarm.at_us + JUDGE_LATER_US,
        }
        ruling
    }

    /// The calm rate of a group of so many probes: the share of rounds that has a failure in it at most
    /// while all is well.
    #[must_use]
    pub fn calm_rate(&self, group: &Group, probes: f64) -> f64 {
        match self.place(group) {
            Ok(place) => self.watched[place].detector.calm_rate(probes),
            Err(_) => Detector::new().calm_rate(probes),
        }
    }

    /// The evidence, as a logarithm, that one group alone must bring for an alarm when there are at
    /// least so many.
    #[must_use]
    pub fn level(&self, groups: usize, every_us: u64) -> f64 {
        let groups = groups.max(self.watched.len()).max(1);
        level(every_us) + libm::log(groups as f64) + power::cost_of_not_knowing()
    }

    /// The verdicts that stand.
    pub fn standing(&self) -> impl Iterator<Item = &str> {
        self.standing.iter().map(|s| s.verdict.as_str())
    }

    fn place(&self, group: &Group) -> Result<usize, usize> {
        self.watched.binary_search_by(|w| w.group.cmp(group))
    }

    /// Groups with less evidence than `teachable` learn from what they see; `None` when none may.
    fn take(&mut self, group: Group, strike: Strike, round: &ClosedRound, teachable: Option<f64>) {
        let place = match self.place(&group) {
            Ok(place) => place,
            Err(_) if self.watched.len() >= MOST_GROUPS => return,
            Err(place) => {
                let watched = Watched {
                    group,
                    detector: Detector::new(),
                    seen_us: 0,
                };
                self.watched.insert(place, watched);
                place
            }
        };
        let watched = &mut self.watched[place];
        watched.seen_us = watched.seen_us.max(round.at_us);
        watched.detector.step(strike);
        if let Some(doubtful) = teachable {
            let rounds_a_day = rounds_a_day(round.every_us);
            watched.detector.learn(rounds_a_day, doubtful);
        }
    }

    /// Forgets groups that nothing probes. What is left weighs no more than it did among all.
    fn forget(&mut self, now_us: u64) {
        let before = self.watched.len();
        self.watched
            .retain(|w| w.seen_us.saturating_add(FORGET_US) >= now_us);
        let left = self.watched.len();
        if left < before {
            let share = left as f64 / before as f64;
            self.watched
                .iter_mut()
                .for_each(|w| w.detector.scale(share));
        }
    }

    /// An alarm when the average of the groups' evidence is high enough.
    fn alarm(&self, round: &ClosedRound) -> Option<Alarm> {
        let evidence: Vec<f64> = self.watched.iter().map(|w| w.detector.evidence()).collect();
        let average = evidence.iter().sum::<f64>() / evidence.len().max(1) as f64;
        if average < libm::exp(level(round.every_us)) {
            return None;
        }
        let each = self.watched.iter().zip(&evidence);
        let (strongest, _) = each.max_by(|a, b| a.1.total_cmp(b.1))?;
        let change = strongest.detector.change();
        Some(Alarm {
            group: strongest.group.clone(),
            since_us: round.at_us - stretch(change.rounds, round.every_us).min(round.at_us),
            at_us: round.at_us,
            rounds: change.rounds,
            struck: change.struck,
        })
    }

    /// The square root of the evidence that one group needs for an alarm: what is above may be a fault in the making.
    fn doubtful(&self, every_us: u64) -> f64 {
        let groups = self.watched.len().max(1) as f64;
        libm::exp(0.5 * (level(every_us) + libm::log(groups)))
    }

    fn recover(&mut self, strikes: &BTreeMap<Group, Strike>) -> Vec<Over> {
        let mut standing = core::mem::take(&mut self.standing);
        for one in &mut standing {
            if let Some(strike) = strikes.get(&one.group) {
                let calm = self.calm_rate(&one.group, strike.probes as f64);
                one.recovery.step(*strike, calm);
            }
        }
        let (over, standing) = standing.into_iter().partition(|s| s.recovery.is_over());
        self.standing = standing;
        over.into_iter().map(|s| s.over(Ending::Quiet)).collect()
    }

    fn unseen(&mut self) -> Vec<Over> {
        let standing = core::mem::take(&mut self.standing);
        let seen = |s: &Standing| self.place(&s.group).is_ok();
        let (standing, unseen) = standing.into_iter().partition(seen);
        self.standing = standing;
        let unseen: Vec<Standing> = unseen;
        unseen.into_iter().map(|s| s.over(Ending::Unseen)).collect()
    }

    /// Groups that may have had a part in the alarm begin again.
    fn start_afresh(&mut self, every_us: u64) {
        let doubtful = self.doubtful(every_us);
        for watched in &mut self.watched {
            if watched.detector.evidence() >= doubtful {
                watched.detector.restart();
            }
        }
    }

    fn accept(&mut self, every_us: u64) {
        let doubtful = self.doubtful(every_us);
        for watched in &mut self.watched {
            if watched.detector.evidence() >= doubtful {
                watched.detector.accept(rounds_a_day(every_us));
            }
        }
    }

    fn rule(&mut self, alarm: &Alarm, components: Vec<Component>, named: bool, id: &str) -> Ruling {
        let covers = |s: &Standing, c: &Component| s.components.contains(c);
        let new = components.iter().any(|c| {
            let mut standing = self.standing.iter().filter(|s| s.named || !named);
            !standing.any(|s| covers(s, c))
        });
        // Candidates are worth a word only while nothing is known of what they would explain.
        let same_place = self.standing.iter().any(|s| s.group == alarm.group);
        if !new || (!named && same_place) {
            return Ruling::Known;
        }
        let Ok(place) = self.place(&alarm.group) else {
            return Ruling::Undecided;
        };
        let standing = core::mem::take(&mut self.standing);
        let (over, left) = standing.into_iter().partition(|s| {
            named && !s.named && s.components.iter().any(|c| components.contains(c))
        });
        self.standing = left;
        let detector = &self.watched[place].detector;
        let probes = detector.usual_probes();
        self.standing.push(Standing {
            verdict: id.into(),
            components,
            named,
            group: alarm.group.clone(),
            recovery: Recovery::of(detector.change(), probes, detector.calm_rate(probes)),
        });
        let over: Vec<Standing> = over;
        Ruling::Raise {
            over: over
                .into_iter()
                .map(|s| s.over(Ending::Superseded))
                .collect(),
        }
    }
}

/// Whether a healthy verdict refutes an alarm: it would have seen a fault as frequent as what struck, or
/// it had as long to see it as it can have.
fn acquits(verdict: &Verdict, alarm: &Alarm) -> bool {
    let share = alarm.struck / alarm.rounds.max(1.0);
    share > verdict.detection.rate || alarm.at_us.saturating_sub(alarm.since_us) >= LONGEST_US
}

/// Who a verdict accuses, and whether by name or as candidates.
fn accused(verdict: &Verdict) -> (Vec<Component>, bool) {
    if verdict.outcome == VerdictOutcome::Fault {
        let named = verdict.faults.iter().map(|f| f.component.clone());
        return (named.collect(), true);
    }
    let leading = verdict.alternatives.iter();
    let leading = leading.filter(|rival| rival.confidence >= LEADING);
    (
        leading.map(|rival| rival.component.clone()).collect(),
        false,
    )
}

/// What each group saw of a round.
fn strikes(round: &ClosedRound) -> BTreeMap<Group, Strike> {
    let glimpses: BTreeSet<&Glimpse> = round.glimpses.iter().collect();
    let mut strikes: BTreeMap<Group, Strike> = BTreeMap::new();
    for glimpse in glimpses {
        for (layer, failed) in &glimpse.layers {
            for group in Group::of(&glimpse.vantage, &glimpse.arm, *layer) {
                let strike = strikes.entry(group).or_insert(Strike {
                    probes: 0,
                    struck: false,
                });
                strike.probes += 1;
                strike.struck |= failed;
            }
        }
    }
    strikes
}

fn rounds_a_day(every_us: u64) -> f64 {
    DAY_US as f64 / every_us.max(1) as f64
}

/// The evidence for an alarm, as a logarithm: it is passed after so many rounds on average at the
/// earliest while all is calm, which are `1 / FALSE_ALARMS_A_DAY` days.
fn level(every_us: u64) -> f64 {
    libm::log(rounds_a_day(every_us) / FALSE_ALARMS_A_DAY)
}

/// The length of so many rounds, in microseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive number of microseconds; what is larger is the largest"
)]
fn stretch(rounds: f64, every_us: u64) -> u64 {
    (rounds * every_us as f64) as u64
}
