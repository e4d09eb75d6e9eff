//! The test: rounds since a fault was said to be mended, one after the other.

use super::law::Unchanged;
use super::{Decision, Round};
use crate::engine::interval::{Counts, jeffreys};

/// Evidence that is taken for proof: odds of 20 to 1, one error in twenty.
pub(super) const PROOF: f64 = 20.0;
/// Quiet that an unchanged fault would keep with at least this probability is nothing unusual.
const USUAL: f64 = 0.05;
/// So many rounds are forecast one by one.
const STEPS: u64 = 1_000;
/// More quiet rounds than these are not forecast: it is a year at one a second.
const MOST_ROUNDS: u64 = 1 << 25;

/// What was seen since, and what it says.
///
/// The evidence that the fault is over is an e-process: the likelihood ratio of "over since round n"
/// against the fault unchanged, mixed over all n with weights that add up to one. Its mean is at most
/// one as long as nothing was mended, so that it passes 20 in at most one case of twenty, however often
/// it is looked at (Ville's inequality; Ramdas, Grünwald, Vovk, Shafer 2023, Game-Theoretic Statistics
/// and Safe Anytime-Valid Inference, sections 2 and 3). One average is over the laws that an unchanged
/// fault may follow, weighed by what it did before.
#[derive(Clone, Debug)]
pub(super) struct Sequel {
    unchanged: Unchanged,
    /// Low end of the old rate of probes.
    old: f64,
    /// Rounds since the verdict's.
    taken: u64,
    /// How many of them come before the fault is said to be mended.
    said: u64,
    /// Logarithm of the sum of the processes begun so far.
    over: f64,
    /// The largest of them, and the counts since it began.
    best: f64,
    since_best: Counts,
    /// When it began.
    best_us: Option<u64>,
    /// Logarithm of the evidence that the fault is there all the same.
    there: f64,
    /// Logarithm of the probability of the quiet since the last failure.
    tail: f64,
    after: Counts,
    last_us: Option<u64>,
    last_failure_us: Option<u64>,
}

impl Sequel {
    /// Begins at the end of the verdict's rounds. `before` are the probes while the fault was there; so
    /// many rounds come before it is said to be mended.
    pub(super) fn new(unchanged: Unchanged, before: Counts, said: u64) -> Self {
        Self {
            unchanged,
            old: jeffreys(before).low,
            taken: 0,
            said,
            over: f64::NEG_INFINITY,
            best: f64::NEG_INFINITY,
            since_best: Counts::default(),
            best_us: None,
            there: 0.0,
            tail: 0.0,
            after: Counts::default(),
            last_us: None,
            last_failure_us: None,
        }
    }

    /// Takes the next round in.
    pub(super) fn take(&mut self, round: &Round) {
        let without = self.unchanged.without(round);
        let with = self.unchanged.expect(round);
        let start = libm::log(self.weight());
        if start > self.best {
            self.best = start;
            self.since_best = Counts::default();
            self.best_us = self.last_us;
        }
        self.best += without - with;
        self.over = log_sum(self.over, start) + without - with;
        self.tail = if round.struck() {
            0.0
        } else {
            self.tail + with
        };
        add(&mut self.since_best, round);
        self.last_us = Some(round.at_us);
        if self.taken >= self.said {
            self.there += with - without;
            add(&mut self.after, round);
            self.last_failure_us = match round.struck() {
                true => Some(round.at_us),
                false => self.last_failure_us,
            };
        }
        self.taken += 1;
    }

    /// The evidence that the fault is over, against its being unchanged.
    pub(super) fn e_value(&self) -> f64 {
        libm::exp(self.over) + self.left()
    }

    /// The weight of the process that begins with the next round. Half goes to any round, as 1/(1·2) +
    /// 1/(2·3) + … = 1, a quarter to when the fault is said to be mended, and a quarter to the rounds
    /// before that alike: who says so may have waited.
    pub(super) fn weight(&self) -> f64 {
        let n = self.taken as f64;
        0.5 / ((n + 1.0) * (n + 2.0))
            + self.waited()
            + if self.taken == self.said { 0.25 } else { 0.0 }
    }

    /// The weight of the next round as one in which it was mended before somebody said so.
    fn waited(&self) -> f64 {
        match self.said {
            0 if self.taken == 0 => 0.25,
            said if self.taken < said => 0.25 / said as f64,
            _ => 0.0,
        }
    }

    /// The weight of those that have not begun.
    pub(super) fn left(&self) -> f64 {
        let (taken, said) = (self.taken as f64, self.said.max(1) as f64);
        let waited = 0.25 * (1.0 - taken / said).max(0.0);
        let said = if self.taken <= self.said { 0.25 } else { 0.0 };
        0.5 / (taken + 1.0) + waited + said
    }

    /// The probability that an unchanged fault is as quiet as it has been since its last failure.
    pub(super) fn chance(&self) -> f64 {
        libm::exp(self.tail)
    }

    /// All probes since the fault was said to be mended.
    pub(super) fn after(&self) -> Counts {
        self.after
    }

    /// The probes since it most probably was, and the last round before them if any.
    pub(super) fn since_best(&self) -> (Counts, Option<u64>) {
        (self.since_best, self.best_us)
    }

    /// Rounds since then.
    pub(super) fn rounds(&self) -> u64 {
        self.taken.saturating_sub(self.said)
    }

    /// The last failure since.
    pub(super) fn last_failure_us(&self) -> Option<u64> {
        self.last_failure_us
    }

    pub(super) fn decision(&self) -> Decision {
        if self.rounds() > 0 && self.e_value() >= PROOF && self.lower(self.since_best) {
            Decision::Mended
        } else if self.there >= libm::log(PROOF) && self.chance() >= USUAL {
            Decision::NotMended
        } else {
            Decision::Undecided
        }
    }

    /// Whether the rate is lower than it was, by their intervals.
    fn lower(&self, counts: Counts) -> bool {
        jeffreys(counts).high < self.old
    }

    /// Usual rounds of so many probes without a failure that are missing, so many seconds apart; `None`
    /// when that is beyond any patience. For a fault that is not mended they count from when it will be.
    pub(super) fn quiet_needed(&self, probes: f64, seconds: f64) -> Option<u64> {
        let mut ahead = self.clone();
        if self.decision() == Decision::NotMended {
            ahead.said = self.taken;
            ahead.best = f64::NEG_INFINITY;
        }
        for rounds in 0..STEPS {
            if ahead.decision() == Decision::Mended {
                return Some(rounds);
            }
            let next = Round {
                at_us: ahead.unchanged.now_us() + whole(seconds * 1e6),
                share: 1.0,
                probes: whole(probes),
                failed: 0,
            };
            ahead.take(&next);
        }
        ahead.forecast(probes, seconds).map(|rounds| STEPS + rounds)
    }

    /// The same without a look at every round. Processes that have not begun count little by then.
    fn forecast(&self, probes: f64, seconds: f64) -> Option<u64> {
        let enough = |more: u64| {
            let (with, without) = self.unchanged.quiet(more, seconds);
            let after = Counts {
                of: self.since_best.of + whole(more as f64 * probes),
                ..self.since_best
            };
            self.over + without - with >= libm::log(PROOF) && self.lower(after)
        };
        let (mut short, mut long) = (0, 1);
        while !enough(long) {
            short = long;
            long *= 2;
            if long > MOST_ROUNDS {
                return None;
            }
        }
        while long - short > 1 {
            let middle = short + (long - short) / 2;
            match enough(middle) {
                true => long = middle,
                false => short = middle,
            }
        }
        Some(long)
    }
}

fn add(counts: &mut Counts, round: &Round) {
    counts.of += round.probes;
    counts.failed += round.failed;
}

fn log_sum(a: f64, b: f64) -> f64 {
    let top = a.max(b);
    match top == f64::NEG_INFINITY {
        true => top,
        false => top + libm::log(libm::exp(a - top) + libm::exp(b - top)),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a positive count; what is larger is the largest"
)]
pub(super) fn whole(count: f64) -> u64 {
    libm::ceil(count) as u64
}
