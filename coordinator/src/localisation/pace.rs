//! How much one judgement of a localisation looks through, so that some of them fit into its budget.

use std::time::Duration;

/// Observations that the first one looks through: the heart needs a fraction of a second for them, on a busy host
/// some seconds.
const FIRST: usize = 3000;
/// The fewest, which take a fraction of that.
const FEWEST: usize = 500;
/// The most: as many as the engine remembers of a service.
const MOST: usize = 90_000;
/// Judgements that are to fit into a budget.
const IN_A_BUDGET: u32 = 20;
/// The longest that one is to take.
const LONGEST: Duration = Duration::from_secs(2);

/// By how long the judgements before have taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    most: usize,
    aim: Duration,
}

impl Pace {
    /// For a run of this budget.
    pub(super) fn new(budget: Duration) -> Self {
        Self {
            most: FIRST,
            aim: (budget / IN_A_BUDGET).min(LONGEST),
        }
    }

    /// Observations of the next judgement.
    pub(super) fn most(self) -> usize {
        self.most
    }

    /// One has taken so long. What takes too long shrinks at once, and what is quick grows by half, since
    /// the time rises faster than the number.
    pub(super) fn took(&mut self, time: Duration) {
        let share = self.aim.as_secs_f64() / time.as_secs_f64().max(1e-6);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a number, to the observation or not"
        )]
        let next = (self.most as f64 * share.clamp(0.05, 1.5)) as usize;
        self.most = next.clamp(FEWEST, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_heart_is_given_less() {
        let mut pace = Pace::new(Duration::from_secs(20));
        assert_eq!(pace.most(), FIRST);
        pace.took(Duration::from_secs(4));
        assert_eq!(pace.most(), FIRST / 4);
        pace.took(Duration::from_millis(10));
        assert_eq!(pace.most(), FIRST / 4 * 3 / 2);
        for _ in 0..20 {
            pace.took(Duration::from_secs(600));
        }
        assert_eq!(pace.most(), FEWEST);
        for _ in 0..20 {
            pace.took(Duration::ZERO);
        }
        assert_eq!(pace.most(), MOST);
    }
}
