//! When a fault is on.

use rand::Rng;
use rand::rngs::StdRng;

/// How a fault goes on and off between its beginning and its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// On all the time.
    Steady,
    /// On for stretches at random; each as its beginning and its end, in microseconds of mesh time.
    Bursts(Vec<(u64, u64)>),
    /// On for so long at the start of each period, in microseconds since the Unix epoch.
    Periodic {
        /// From one beginning to the next.
        every_us: u64,
        /// For how long each time.
        for_us: u64,
    },
}

/// A fault's life: from its beginning to its end, in microseconds of mesh time.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// Its beginning.
    pub from_us: u64,
    /// Its end; `u64::MAX` while it lasts.
    pub to_us: u64,
    /// What goes on between.
    pub pattern: Pattern,
}

impl Course {
    /// On all the time between two instants.
    #[must_use]
    pub const fn steady(from_us: u64, to_us: u64) -> Self {
        Self {
            from_us,
            to_us,
            pattern: Pattern::Steady,
        }
    }

    /// Whether the fault strikes at an instant.
    #[must_use]
    pub fn is_on(&self, at_us: u64) -> bool {
        if !self.lasts(at_us) {
            return false;
        }
        match &self.pattern {
            Pattern::Steady => true,
            Pattern::Bursts(bursts) => bursts
                .iter()
                .any(|(from, to)| (*from..*to).contains(&at_us)),
            Pattern::Periodic { every_us, for_us } => at_us % every_us < *for_us,
        }
    }

    /// Whether the instant lies between beginning and end: the fault is there, be it between two bursts.
    #[must_use]
    pub const fn lasts(&self, at_us: u64) -> bool {
        self.from_us <= at_us && at_us < self.to_us
    }

    /// The longest time for which it is off while it lasts.
    #[must_use]
    pub fn longest_pause_us(&self) -> u64 {
        match &self.pattern {
            Pattern::Steady => 0,
            Pattern::Bursts(bursts) => bursts
                .windows(2)
                .map(|pair| pair[1].0 - pair[0].1)
                .max()
                .unwrap_or(0),
            Pattern::Periodic { every_us, for_us } => every_us - for_us,
        }
    }
}

/// Bursts of 1 to 20 s with pauses of 5 to 60 s between two instants.
pub(crate) fn bursts(rng: &mut StdRng, from_us: u64, to_us: u64) -> Pattern {
    let mut all = Vec::new();
    let mut at = from_us;
    while at < to_us {
        let end = at + rng.random_range(1_000_000..20_000_000);
        all.push((at, end));
        at = end + rng.random_range(5_000_000..60_000_000);
    }
    Pattern::Bursts(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn periods_and_bursts_are_off_between() {
        let periodic = Course {
            from_us: 0,
            to_us: 100,
            pattern: Pattern::Periodic {
                every_us: 30,
                for_us: 2,
            },
        };
        let on: Vec<u64> = (0..120).filter(|at| periodic.is_on(*at)).collect();
        assert_eq!(on, [0, 1, 30, 31, 60, 61, 90, 91]);
        assert_eq!(periodic.longest_pause_us(), 28);
        let mut rng = StdRng::seed_from_u64(1);
        let course = Course {
            from_us: 0,
            to_us: 3_600_000_000,
            pattern: bursts(&mut rng, 0, 3_600_000_000),
        };
        let on = (0..3600).filter(|s| course.is_on(s * 1_000_000)).count();
        assert!((300..1500).contains(&on), "{on} s of an hour");
        assert!(course.lasts(3_599_000_000) && !course.is_on(3_600_000_000));
    }
}
