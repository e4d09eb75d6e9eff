//! Evidence that may be looked at all the time: a detector of change over rounds of probes, and its
//! counterpart that tells when the change is over.
//!
//! The unit is the round: a round strikes a group of probes when at least one of them fails. Probes of
//! one round share its instant and much of their paths, so nothing is assumed about how their failures
//! go together; that a round of `n` probes strikes with at most `n` times the calm rate of one holds in
//! any case.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::engine::interval::quantile;

/// Rates of struck rounds that a fault may bring, log-uniform, with the weights of the prior: three
/// quarters of the faults have any rate, a quarter is hard.
pub(crate) const RATES: [(f64, f64); 8] = [
    (0.004, 0.75 / 7.0),
    (0.009, 0.75 / 7.0),
    (0.02, 0.75 / 7.0),
    (0.045, 0.75 / 7.0),
    (0.1, 0.75 / 7.0),
    (0.22, 0.75 / 7.0),
    (0.5, 0.75 / 7.0),
    (0.95, 0.25),
];

/// No group is calmer than this: what is rarer is found by counting for weeks, not by an alarm.
const CALMEST: f64 = 2e-4;
/// A probe that fails more often than this does not count as calm, however long it has done so, until
/// a verdict has said that all is well.
const UNPROVEN: f64 = 0.01;
/// And with a verdict a group that is struck more often than this tells nothing.
const NOISIEST: f64 = 0.8;
/// The calm rate is bounded from above with this probability of being higher.
const DOUBT: f64 = 0.01;
/// Rounds until a group's first own calm rate.
const FIRST_LESSON: u64 = 30;
/// Evidence of so much a round is more than calm times bring: its mean rises by one a round at most, and
/// hardly at all below the bound of the calm rate.
const SUSPICIOUS: f64 = 0.5;
/// Evidence beyond this changes nothing; it keeps the arithmetic finite.
const MOST: f64 = 1e200;
/// Odds at which a fault is said to be over.
const OVER: f64 = 20.0;

/// One group of probes in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strike {
    /// Probes that came far enough to tell.
    pub(crate) probes: u64,
    /// At least one of them failed.
    pub(crate) struck: bool,
}

/// Rounds counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    rounds: u64,
    struck: u64,
    probes: u64,
}

impl Tally {
    fn add(&mut self, strike: Strike) {
        self.rounds += 1;
        self.struck += u64::from(strike.struck);
        self.probes += strike.probes;
    }

    fn join(&mut self, other: Tally) {
        self.rounds += other.rounds;
        self.struck += other.struck;
        self.probes += other.probes;
    }

    fn halve(&mut self) {
        // Upwards for what was struck: what is known of failures is forgotten last.
        self.struck = self.struck.div_ceil(2);
        self.rounds /= 2;
        self.probes /= 2;
    }
}

/// The evidence for one rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Trail {
    /// The sum of the e-processes started at each round so far.
    sum: f64,
    /// Rounds since the change, averaged over the starts by their evidence.
    rounds: f64,
    /// Struck rounds since the change, likewise.
    struck: f64,
}

impl Trail {
    fn step(&mut self, ratio: f64, struck: bool) {
        // Of all starts, those before this round.
        let past = self.sum / (1.0 + self.sum);
        self.rounds = 1.0 + self.rounds * past;
        self.struck = f64::from(u8::from(struck)) + self.struck * past;
        self.sum = ((1.0 + self.sum) * ratio).min(MOST);
    }
}

/// Where a change began and what it is like, as far as the evidence tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    /// Rounds since then.
    pub(crate) rounds: f64,
    /// How many of them were struck.
    pub(crate) struck: f64,
}

/// Watches one group of probes for a rise of its rate of failure.
///
/// An e-detector of the Shiryaev-Roberts kind (Shin, Ramdas, Rinaldo 2022, E-detectors: a
/// nonparametric framework for sequential change detection, section 2): the sum, over all rounds at
/// which the change may have begun, of likelihood ratios of Bernoulli rounds, mixed over the rates that
/// a fault may have. While rounds strike with no more than the calm rate, its mean rises by at most one
/// a round, so that the mean time until it passes `A` is at least `A` rounds, however often it is
/// looked at, and a change after months is found as soon as one after a minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Detector {
    calm: Tally,
    /// Upper bound of the calm rate; `None` until the first lesson.
    bound: Option<f64>,
    /// Not yet taken for calm.
    pending: Tally,
    /// A verdict said that this much is usual.
    accepted: bool,
    trails: Vec<Trail>,
}

impl Detector {
    pub(crate) fn new() -> Self {
        Self {
            calm: Tally::default(),
            bound: None,
            pending: Tally::default(),
            accepted: false,
            trails: RATES.iter().map(|_| Trail::default()).collect(),
        }
    }

    /// Most rounds of so many probes that strike while all is calm, as a share.
    pub(crate) fn calm_rate(&self, probes: f64) -> f64 {
        let most = match self.accepted {
            true => NOISIEST,
            false => (UNPROVEN * probes).min(NOISIEST),
        };
        let learnt = self.bound.map_or(most, |bound| {
            let usual = self.calm.probes as f64 / self.calm.rounds.max(1) as f64;
            bound * (probes / usual.max(1.0)).max(1.0)
        });
        learnt.clamp(CALMEST, most.max(CALMEST))
    }

    /// Probes of an ordinary round.
    pub(crate) fn usual_probes(&self) -> f64 {
        let mut all = self.calm;
        all.join(self.pending);
        all.probes as f64 / all.rounds.max(1) as f64
    }

    /// Takes one round in.
    pub(crate) fn step(&mut self, strike: Strike) {
        let calm = self.calm_rate(strike.probes as f64);
        for (trail, (rate, _)) in self.trails.iter_mut().zip(RATES) {
            let rate = faulty(rate, calm);
            let ratio = match strike.struck {
                true => rate / calm,
                false => (1.0 - rate) / (1.0 - calm),
            };
            trail.step(ratio, strike.struck);
        }
        self.pending.add(strike);
    }

    /// Takes what is pending for calm when it has grown as large as what is known, a day's rounds at
    /// most: a change that is too slow for an alarm meanwhile does not teach its own rate at once.
    /// What is suspicious, or brings evidence of `doubtful`, teaches nothing.
    pub(crate) fn learn(&mut self, rounds_a_day: f64, doubtful: f64) {
        let known = (self.calm.rounds as f64).min(rounds_a_day);
        let seen = (self.calm.rounds + self.pending.rounds) as f64;
        if self.evidence() >= doubtful.min(SUSPICIOUS * seen) {
            return;
        }
        if self.pending.rounds >= FIRST_LESSON && self.pending.rounds as f64 >= known {
            self.take_for_calm(rounds_a_day);
        }
    }

    fn take_for_calm(&mut self, rounds_a_day: f64) {
        if self.calm.rounds as f64 >= rounds_a_day {
            self.calm.halve();
        }
        self.calm.join(core::mem::take(&mut self.pending));
        let Tally { rounds, struck, .. } = self.calm;
        let passed = rounds.saturating_sub(struck) as f64;
        // Clopper and Pearson's upper limit.
        self.bound = Some(match passed > 0.0 {
            true => quantile(1.0 - DOUBT, struck as f64 + 1.0, passed),
            false => 1.0,
        });
    }

    /// A verdict says that all is well: what was seen is usual.
    pub(crate) fn accept(&mut self, rounds_a_day: f64) {
        self.accepted = true;
        self.take_for_calm(rounds_a_day);
        self.restart();
    }

    /// Starts afresh, in the knowledge of what is calm.
    pub(crate) fn restart(&mut self) {
        self.trails.fill(Trail::default());
        self.pending = Tally::default();
    }

    /// The evidence: at most one a round on average while all is calm.
    pub(crate) fn evidence(&self) -> f64 {
        let trails = self.trails.iter().zip(RATES);
        trails.map(|(trail, (_, weight))| weight * trail.sum).sum()
    }

    /// Takes a share of the evidence away.
    pub(crate) fn scale(&mut self, share: f64) {
        for trail in &mut self.trails {
            trail.sum *= share;
        }
    }

    /// The change that the evidence speaks for.
    pub(crate) fn change(&self) -> Change {
        let (mut total, mut rounds, mut struck) = (0.0, 0.0, 0.0);
        for (trail, (_, weight)) in self.trails.iter().zip(RATES) {
            let evidence = weight * trail.sum;
            total += evidence;
            rounds += evidence * trail.rounds;
            struck += evidence * trail.struck;
        }
        match total > 0.0 {
            true => Change {
                rounds: rounds / total,
                struck: struck / total,
            },
            false => Change {
                rounds: 0.0,
                struck: 0.0,
            },
        }
    }
}

/// The rate of a fault beside a calm rate: twice that at least, and no certainty.
fn faulty(rate: f64, calm: f64) -> f64 {
    rate.max((2.0 * calm).min(0.5 * (1.0 + calm)))
}

/// Watches a fault for its end.
///
/// A cumulative sum of the evidence for the calm rate against the low end of the fault's rate, which
/// begins again whenever a failure has used it up. Each beginning asks for more than the one before, so
/// that all together a fault of that rate is said to be over in at most one case of twenty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Recovery {
    /// Low end of the share of rounds that the fault strikes, its silent times included.
    rate: f64,
    /// Probes of the rounds that this rate is of.
    probes: f64,
    log: f64,
    setbacks: u32,
}

impl Recovery {
    /// Of a change in a group of so many probes a round, whose calm rate is this.
    pub(crate) fn of(change: Change, probes: f64, calm: f64) -> Self {
        let rounds = change.rounds.max(change.struck);
        let low = quantile(0.025, change.struck + 0.5, rounds - change.struck + 0.5);
        Self {
            rate: low.max(1.5 * calm).min(0.95),
            probes,
            log: 0.0,
            setbacks: 0,
        }
    }

    /// Takes one round in.
    pub(crate) fn step(&mut self, strike: Strike, calm: f64) {
        // Fewer probes than usual see less of the fault.
        let share = (strike.probes as f64 / self.probes.max(1.0)).min(1.0);
        let rate = -libm::expm1(share * libm::log1p(-self.rate));
        if rate <= calm {
            return;
        }
        let log = match strike.struck {
            true => self.log + libm::log(calm / rate),
            false => self.log + libm::log1p(-calm) - libm::log1p(-rate),
        };
        if log < 0.0 && self.log > 0.0 {
            self.setbacks += 1;
        }
        self.log = log.max(0.0);
    }

    /// The fault's rate is refuted. The levels of the beginnings add up: 1/(1·2) + 1/(2·3) + … = 1.
    pub(crate) fn is_over(&self) -> bool {
        let nth = f64::from(self.setbacks) + 1.0;
        self.log >= libm::log(OVER * nth * (nth + 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64, as a share of one.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / 9_007_199_254_740_992.0
        }
    }

    fn strike(dice: &mut Dice, rate: f64) -> Strike {
        Strike {
            probes: 1,
            struck: dice.roll() < rate,
        }
    }

    /// A detector that has seen a calm time with this many failures among so many rounds.
    fn taught(struck: u64, rounds: u64) -> Detector {
        let mut detector = Detector::new();
        detector.pending = Tally {
            rounds,
            struck,
            probes: rounds,
        };
        detector.take_for_calm(1e9);
        detector
    }

    /// Rounds until the evidence passes a level, when rounds strike with this rate.
    fn delay(detector: &Detector, rate: f64, level: f64, dice: &mut Dice) -> u64 {
        let mut detector = detector.clone();
        for round in 1..100_000 {
            detector.step(strike(dice, rate));
            if libm::log(detector.evidence()) >= level {
                return round;
            }
        }
        100_000
    }

    #[test]
    fn false_alarms_are_as_rare_as_promised() {
        let calm = taught(20, 10_000);
        let bound = calm.calm_rate(1.0);
        let (runs, rounds, most) = (600, 1_000, 5_000.0);
        for rate in [bound, 0.5 * bound] {
            let mut dice = Dice(7);
            let alarms = (0..runs).filter(|_| {
                let mut detector = calm.clone();
                (0..rounds).any(|_| {
                    detector.step(strike(&mut dice, rate));
                    detector.evidence() >= most
                })
            });
            // At most a fifth of the runs; chance adds four standard deviations.
            let share = alarms.count() as f64 / f64::from(runs);
            let promised = f64::from(rounds) / most;
            assert!(share <= promised + 0.065, "rate {rate}: {share}");
        }
    }

    #[test]
    fn the_mean_of_the_evidence_rises_by_one_a_round_at_most() {
        // Exactly, over all ways in which ten rounds can go.
        let calm = taught(3, 100);
        let bound = calm.calm_rate(1.0);
        let mut mean = 0.0;
        for ways in 0..1_u32 << 10 {
            let mut detector = calm.clone();
            let mut probability = 1.0;
            for round in 0..10 {
                let struck = ways >> round & 1 == 1;
                probability *= if struck { bound } else { 1.0 - bound };
                detector.step(Strike { probes: 1, struck });
            }
            mean += probability * detector.evidence();
        }
        assert!((mean - 10.0).abs() < 1e-9, "{mean}");
    }

    #[test]
    fn two_percent_are_found_as_soon_as_theory_says() {
        let calm = taught(5, 10_000);
        let bound = calm.calm_rate(1.0);
        let (rate, level) = (0.02, 18.0);
        let divergence =
            rate * libm::log(rate / bound) + (1.0 - rate) * libm::log((1.0 - rate) / (1.0 - bound));
        let theory = level / divergence;
        let mut dice = Dice(11);
        let mut delays: Vec<u64> = (0..100)
            .map(|_| delay(&calm, rate, level, &mut dice))
            .collect();
        delays.sort_unstable();
        let mean = delays.iter().sum::<u64>() as f64 / 100.0;
        assert!(
            mean > 0.5 * theory && mean < 1.3 * theory,
            "{mean} rounds, {theory} in theory"
        );
        let promised = crate::course::power::rounds_to_see(bound, rate, level);
        let late = delays.iter().filter(|d| **d as f64 > promised).count();
        assert!(late <= 5, "{late} of 100 later than {promised} rounds");
    }

    #[test]
    fn the_change_is_dated() {
        let mut detector = taught(5, 10_000);
        let mut dice = Dice(3);
        for _ in 0..2_000 {
            detector.step(strike(&mut dice, 0.0005));
        }
        for _ in 0..100 {
            detector.step(strike(&mut dice, 0.2));
        }
        let change = detector.change();
        assert!(change.rounds > 85.0 && change.rounds < 125.0, "{change:?}");
    }

    #[test]
    fn months_of_calm_do_not_dull() {
        let calm = taught(5, 10_000);
        let mut old = calm.clone();
        for _ in 0..100_000 {
            old.step(Strike {
                probes: 1,
                struck: false,
            });
        }
        let (mut first, mut second) = (Dice(5), Dice(5));
        let fresh = delay(&calm, 0.1, 18.0, &mut first);
        assert!(delay(&old, 0.1, 18.0, &mut second) <= fresh);
    }

    #[test]
    fn a_fault_is_over_after_as_many_quiet_rounds_as_it_takes() {
        let calm = 0.001;
        for (rounds, struck) in [(350.0, 7.0), (50.0, 10.0), (5.0, 5.0)] {
            let change = Change { rounds, struck };
            let mut recovery = Recovery::of(change, 1.0, calm);
            let needed = libm::log(20.0) / (struck / rounds);
            let mut quiet = 0.0;
            while !recovery.is_over() {
                let strike = Strike {
                    probes: 1,
                    struck: false,
                };
                recovery.step(strike, calm);
                quiet += 1.0;
            }
            assert!(
                quiet >= needed && quiet < 6.0 * needed + 5.0,
                "{struck}/{rounds}: {quiet} quiet rounds"
            );
        }
    }

    #[test]
    fn what_is_suspicious_after_a_short_calm_teaches_nothing() {
        let mut detector = taught(0, 60);
        detector.accepted = true;
        let calm = detector.calm_rate(1.0);
        for round in 1..=60 {
            detector.step(Strike {
                probes: 1,
                struck: round % 3 == 0,
            });
            detector.learn(8_640.0, f64::INFINITY);
        }
        assert_eq!(detector.calm_rate(1.0), calm);
    }

    #[test]
    fn a_fault_that_lasts_is_seldom_said_to_be_over() {
        let (mut dice, runs) = (Dice(13), 200);
        let wrong = (0..runs).filter(|_| {
            let change = Change {
                rounds: 500.0,
                struck: 50.0,
            };
            let mut recovery = Recovery::of(change, 1.0, 0.001);
            (0..2_000).any(|_| {
                recovery.step(strike(&mut dice, 0.1), 0.001);
                recovery.is_over()
            })
        });
        let wrong = wrong.count();
        assert!(wrong <= runs / 20 + 9, "{wrong} of {runs}");
    }
}
