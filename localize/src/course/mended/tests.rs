use alloc::vec::Vec;

use super::law::Unchanged;
use super::sequel::Sequel;
use super::{Decision, Round, total};

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

    /// Log-uniform between two bounds.
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low * libm::pow(high / low, self.roll())
    }
}

const CALM: f64 = 0.003;
const SECONDS: u64 = 10;

/// A fault in a schedule of a round every ten seconds.
struct Simulated {
    dice: Dice,
    /// Share of the probes that fail while it is on.
    rate: f64,
    /// Mean seconds on and off; lasting without.
    dwell: Option<(f64, f64)>,
    on: bool,
    round: u64,
}

impl Simulated {
    fn new(seed: u64, bursts: f64) -> Self {
        let mut dice = Dice(seed);
        let rate = match dice.roll() < 0.25 {
            true => 1.0,
            false => dice.between(0.01, 0.9),
        };
        let bursty = dice.roll() < bursts;
        let dwell = bursty.then(|| (dice.between(5.0, 600.0), dice.between(20.0, 1800.0)));
        Self {
            dice,
            rate,
            dwell,
            on: true,
            round: 0,
        }
    }

    /// A round of three probes.
    fn fire(&mut self) -> Round {
        if let Some((on, off)) = self.dwell {
            let mean = if self.on { on } else { off };
            // The state at the end of the interval, stretches shorter than it included.
            let kept = libm::exp(-(SECONDS as f64) * (1.0 / on + 1.0 / off));
            let other = (1.0 - kept) * (1.0 / mean) / (1.0 / on + 1.0 / off);
            self.on ^= self.dice.roll() < other;
        }
        let rate = if self.on {
            self.rate.max(CALM)
        } else {
            CALM / 3.0
        };
        let failed = (0..3).filter(|_| self.dice.roll() < rate).count() as u64;
        self.round += 1;
        Round {
            at_us: self.round * SECONDS * 1_000_000,
            share: 1.0,
            probes: 3,
            failed,
        }
    }

    /// The rounds from its first failure until a verdict: three to ten struck rounds, or an hour.
    fn verdict(&mut self) -> Option<Vec<Round>> {
        let enough = 3.0 + 8.0 * self.dice.roll();
        let mut rounds: Vec<Round> = Vec::new();
        let mut struck = 0.0;
        for _ in 0..360 {
            let round = self.fire();
            struck += f64::from(u8::from(round.struck()));
            if struck > 0.0 {
                rounds.push(round);
            }
            if struck >= enough {
                break;
            }
        }
        (struck >= 3.0).then_some(rounds)
    }

    fn mend(&mut self) {
        (self.rate, self.dwell, self.on) = (0.0, None, false);
    }
}

fn sequel(before: &[Round]) -> Sequel {
    Sequel::new(Unchanged::learn(before, 3.0 * CALM), total(before), 0)
}

/// Of so many faults with a verdict, those that some look in the hours after calls mended while nothing
/// was changed; and all.
fn wrongly_mended(faults: u64, bursts: f64, rounds: u32) -> (u32, u32) {
    let (mut wrong, mut all) = (0, 0);
    for seed in 0..faults {
        let mut fault = Simulated::new(seed.wrapping_mul(0x5851_f42d_4c95_7f2d), bursts);
        let Some(before) = fault.verdict() else {
            continue;
        };
        let mut sequel = sequel(&before);
        all += 1;
        wrong += u32::from((0..rounds).any(|_| {
            sequel.take(&fault.fire());
            sequel.decision() == Decision::Mended
        }));
    }
    (wrong, all)
}

#[test]
fn an_unchanged_fault_is_seldom_called_mended_however_often_one_looks() {
    let (wrong, all) = wrongly_mended(2_100, 1.0 / 3.0, 300);
    assert!(all >= 2_000, "{all}");
    assert!(wrong * 20 <= all, "{wrong} of {all}");
}

#[test]
fn a_mended_fault_is_called_so_after_as_many_quiet_rounds_as_were_said() {
    let (mut all, mut in_time) = (0, 0);
    for seed in 0..120 {
        let mut fault = Simulated::new(seed, 1.0 / 3.0);
        let Some(before) = fault.verdict() else {
            continue;
        };
        fault.mend();
        let mut sequel = sequel(&before);
        let Some(needed) = sequel.quiet_needed(3.0, SECONDS as f64) else {
            panic!("no patience would do for {before:?}")
        };
        let (mut calls, mut quiet) = (0, true);
        for _ in 0..needed.min(3_000) {
            let round = fault.fire();
            quiet &= !round.struck();
            sequel.take(&round);
            calls += u32::from(sequel.decision() == Decision::Mended);
        }
        all += 1;
        in_time += u32::from(calls > 0);
        // Neither earlier nor later, as long as nothing fails by chance.
        if quiet && needed <= 1_000 {
            assert_eq!(calls, 1, "seed {seed}: {needed} rounds");
        }
    }
    assert!(all >= 100 && in_time * 10 >= all * 8, "{in_time} of {all}");
}

/// Rounds of one probe, so many seconds apart, with failures at these.
fn record(rounds: u64, seconds: u64, failures: &[u64]) -> Vec<Round> {
    let round = |n| Round {
        at_us: n * seconds * 1_000_000,
        share: 1.0,
        probes: 1,
        failed: u64::from(failures.contains(&n)),
    };
    (0..rounds).map(round).collect()
}

#[test]
fn two_clean_days_prove_nothing_about_a_failure_every_third_day() {
    let day = 5_760;
    let before = record(9 * day, 15, &[0, 3 * day, 6 * day]);
    let mut sequel = Sequel::new(Unchanged::learn(&before, 1e-6), total(&before), 0);
    for round in &record(11 * day, 15, &[])[before.len()..] {
        sequel.take(round);
    }
    let chance = sequel.chance();
    assert!((0.4..0.75).contains(&chance), "{chance}");
    assert_eq!(sequel.decision(), Decision::Undecided);
    let needed = sequel.quiet_needed(1.0, 15.0);
    assert!(needed.is_some_and(|rounds| rounds > 7 * day), "{needed:?}");
}

/// What is decided after each of the rounds since, as letters.
fn decisions(before: &str, after: &str) -> alloc::string::String {
    let rounds: Vec<Round> = (before.bytes().chain(after.bytes()).zip(0..))
        .map(|(mark, n)| Round {
            at_us: n * SECONDS * 1_000_000,
            share: 1.0,
            probes: 3,
            failed: u64::from(mark == b'x'),
        })
        .collect();
    let (before, after) = rounds.split_at(before.len());
    let mut sequel = sequel(before);
    let after = after.iter().map(|round| {
        sequel.take(round);
        match sequel.decision() {
            Decision::Mended => 'm',
            Decision::Undecided => '?',
            Decision::NotMended => 'n',
        }
    });
    after.collect()
}

#[test]
fn decisions_follow_the_record() {
    let hard = "xxxxxxxxxxxx";
    let rows = [
        // Quiet from the beginning.
        (hard, "..........", "???mmmmmmm"),
        // It goes on.
        (hard, "xxxxxx", "nnnnnn"),
        // It went on for a while; the calm after that may be that between two bursts.
        (hard, "xxx..........", "nnn??????????"),
        // Half of it is left.
        (hard, "x.x.x.x.x.x.x.x", "n?nnnnnnnnnnnnn"),
        // Once more after it had seemed to be over: it is not.
        (hard, "........xxxx", "???mmmmmm?nn"),
    ];
    for (before, after, expected) in rows {
        assert_eq!(decisions(before, after), expected, "of {after}");
    }
}

#[test]
fn who_says_when_it_was_mended_is_believed_sooner() {
    // On for ten minutes after the verdict, and quiet from then on.
    let rounds = record(500, SECONDS, &(0..66).collect::<Vec<u64>>());
    let (before, after) = rounds.split_at(6);
    // Quiet rounds until it is called mended, and failures counted by then.
    let quiet = |said: u64| {
        let unchanged = Unchanged::learn(before, CALM);
        let mut sequel = Sequel::new(unchanged, total(before), said);
        let mended = after.iter().position(|round| {
            sequel.take(round);
            sequel.decision() == Decision::Mended
        });
        (mended.map(|n| n as u64 - 59), sequel.after().failed)
    };
    let [(nothing, failed), exactly, later] = [quiet(0), quiet(60), quiet(70)];
    assert_eq!((failed, exactly.1, later.1), (60, 0, 0));
    assert!(exactly.0 < Some(6), "{exactly:?}");
    let rounds = |quiet: Option<u64>| quiet.unwrap_or(u64::MAX);
    assert!(rounds(later.0) < rounds(nothing), "{later:?} {nothing:?}");
}

#[test]
fn the_weights_add_up_to_one() {
    for said in [0, 1, 7] {
        let unchanged = Unchanged::learn(&record(3, SECONDS, &[0, 1, 2]), CALM);
        let mut sequel = Sequel::new(unchanged, total(&[]), said);
        let mut begun = 0.0;
        for round in &record(20, SECONDS, &[]) {
            assert!(
                (begun + sequel.left() - 1.0).abs() < 1e-12,
                "{said}: {begun}"
            );
            begun += sequel.weight();
            sequel.take(round);
        }
    }
}
