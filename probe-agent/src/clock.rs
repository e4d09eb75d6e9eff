//! The agent's only clock: local time, and what is known of mesh time.
//!
//! Local time starts at the system clock and runs on with the boot clock, so that a step of the
//! system clock never reaches a measurement. Mesh time is the coordinator's clock; its distance is
//! estimated from four-stamp exchanges (RFC 5905 section 8) on the session's own stream.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use localize::{Micros, Stamp};
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// An instant of the agent's own clock, in microseconds since the Unix epoch by that clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Local(pub u64);

impl Local {
    /// The time from `earlier` to this instant; nothing when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }

    /// The time left until `later`; nothing when it has passed.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_micros(later.0.saturating_sub(self.0))
    }

    /// The instant after so much time.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(micros(time)))
    }
}

/// Whole microseconds of a duration.
#[must_use]
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The agent's clock.
#[derive(Debug)]
pub struct Clock {
    unix_us: u64,
    boot_us: u64,
    estimate: ArcSwapOption<Sample>,
}

impl Clock {
    /// Ties local time to the system clock as it is at this moment.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system clock"
    )]
    pub fn start() -> Self {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            unix_us: micros(unix),
            boot_us: boot_us(),
            estimate: ArcSwapOption::empty(),
        }
    }

    /// The local time.
    #[must_use]
    pub fn now(&self) -> Local {
        Local(self.unix_us + boot_us().saturating_sub(self.boot_us))
    }

    /// Mesh time at a local instant, with the bound of its error at that instant.
    #[must_use]
    pub fn stamp(&self, at: Local) -> Stamp {
        match self.estimate.load().as_deref() {
            Some(sample) => Stamp {
                at_us: at.0.saturating_add_signed(sample.offset_us),
                uncertainty_us: sample.uncertainty_us(at),
            },
            None => Stamp {
                at_us: at.0,
                uncertainty_us: Stamp::UNKNOWN_US,
            },
        }
    }

    /// The local instant of a mesh time; `None` before the first estimate.
    #[must_use]
    pub fn local(&self, mesh_us: u64) -> Option<Local> {
        let estimate = self.estimate.load();
        let offset_us = estimate.as_deref()?.offset_us;
        Some(Local(
            mesh_us.saturating_add_signed(offset_us.saturating_neg()),
        ))
    }

    /// Takes over the estimator's choice; stamps made from then on use it.
    pub fn set(&self, sample: Sample) {
        self.estimate.store(Some(sample.into()));
    }

    /// Blocks the calling thread until the local instant. Returns at once if it has passed.
    pub fn sleep_until(&self, at: Local) {
        let boot = Duration::from_micros(at.0.saturating_sub(self.unix_us) + self.boot_us);
        // A signal may end the sleep early; the instant is absolute, so it is simply taken up again.
        while self.now() < at {
            if clock_nanosleep(BOOT, ClockNanosleepFlags::TIMER_ABSTIME, &boot.into())
                .is_err_and(|errno| errno != nix::errno::Errno::EINTR)
            {
                std::thread::sleep(self.now().until(at));
            }
        }
    }
}

/// The boot clock counts suspended time as well, so an estimate survives a closed lid.
const BOOT: ClockId = ClockId::CLOCK_BOOTTIME;

fn boot_us() -> u64 {
    // The call fails only for an unknown clock, and this one is in every kernel since 2.6.39.
    clock_gettime(BOOT).map_or(0, |time| micros(Duration::from(time)))
}

/// One exchange: the request left at `t1`, came in at `t2_us` and was answered at `t3_us` by the
/// coordinator's clock, and the answer came in at `t4`.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// When the request left.
    pub t1: Local,
    /// When the coordinator had it, in microseconds of mesh time.
    pub t2_us: u64,
    /// When the coordinator answered, in microseconds of mesh time.
    pub t3_us: u64,
    /// When the answer was here.
    pub t4: Local,
}

/// What one exchange told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Mesh time minus local time, in microseconds.
    pub offset_us: i64,
    /// Time that the two messages were under way, in microseconds.
    pub round_trip_us: u64,
    /// When it was taken.
    pub taken: Local,
}

/// Drift allowed for between two quartz clocks that NTP disciplines or not, in parts per million.
const DRIFT_PPM: u64 = 50;
/// Reading the clocks and waking up, in microseconds.
const GRAIN_US: u64 = 5;

impl Sample {
    /// `None` when the stamps contradict each other.
    #[must_use]
    pub fn of(exchange: Exchange) -> Option<Self> {
        let there_and_back = exchange.t4.0.checked_sub(exchange.t1.0)?;
        let at_coordinator = exchange.t3_us.checked_sub(exchange.t2_us)?;
        let round_trip_us = there_and_back.checked_sub(at_coordinator)?;
        let out = i128::from(exchange.t2_us) - i128::from(exchange.t1.0);
        let back = i128::from(exchange.t3_us) - i128::from(exchange.t4.0);
        Some(Self {
            offset_us: i64::try_from((out + back) / 2).ok()?,
            round_trip_us,
            taken: exchange.t4,
        })
    }

    /// Half width of the interval that holds the true offset at `now`: half the round trip, whatever
    /// its asymmetry, and the drift since.
    #[must_use]
    pub fn uncertainty_us(&self, now: Local) -> u64 {
        let age_us = now.0.abs_diff(self.taken.0);
        self.round_trip_us / 2 + age_us.saturating_mul(DRIFT_PPM) / 1_000_000 + GRAIN_US
    }

    fn contradicts(&self, other: &Self, now: Local) -> bool {
        let reach = self
            .uncertainty_us(now)
            .saturating_add(other.uncertainty_us(now));
        self.offset_us.abs_diff(other.offset_us) > reach
    }
}

/// Chooses among the last samples the one that bounds the offset best.
#[derive(Debug, Default)]
pub struct Estimator {
    samples: VecDeque<Sample>,
}

/// Sixteen samples at one every two seconds look back half a minute: long enough to hold one of an
/// idle moment, short enough that drift stays below two milliseconds.
const WINDOW: usize = 16;

impl Estimator {
    /// Takes in an exchange and returns the best sample, or `None` when it contradicts itself.
    pub fn add(&mut self, exchange: Exchange) -> Option<Sample> {
        let sample = Sample::of(exchange)?;
        let now = sample.taken;
        // Bounds that do not meet cannot both hold: one of the clocks was set. The newest knows.
        self.samples.retain(|old| !old.contradicts(&sample, now));
        self.samples.push_back(sample);
        if self.samples.len() > WINDOW {
            self.samples.pop_front();
        }
        self.best(now)
    }

    /// The sample with the least uncertainty at `now`.
    #[must_use]
    pub fn best(&self, now: Local) -> Option<Sample> {
        self.samples
            .iter()
            .min_by_key(|sample| sample.uncertainty_us(now))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The coordinator is `skew` ahead; the request takes `out`, the answer `back`.
    fn exchange(at: u64, skew: i64, out: u64, back: u64) -> Exchange {
        let t2_us = (at + out).saturating_add_signed(skew);
        Exchange {
            t1: Local(at),
            t2_us,
            t3_us: t2_us + 7,
            t4: Local(at + out + 7 + back),
        }
    }

    #[test]
    fn the_true_offset_is_within_the_bound_whatever_the_asymmetry() {
        for skew in [-3_000_000, -1, 0, 1, 250_000_000] {
            for (out, back) in [(50, 50), (10_000, 100), (100, 10_000), (0, 90_000)] {
                let sample = Sample::of(exchange(1_000_000_000, skew, out, back)).unwrap();
                assert!(
                    sample.offset_us.abs_diff(skew) <= sample.uncertainty_us(sample.taken),
                    "skew {skew}, out {out}, back {back}: {sample:?}"
                );
            }
        }
    }

    #[test]
    fn the_quickest_exchange_is_chosen_until_drift_outweighs_it() {
        let mut estimator = Estimator::default();
        estimator.add(exchange(1_000_000, 500, 9_000, 100)).unwrap();
        let best = estimator.add(exchange(2_000_000, 500, 100, 100)).unwrap();
        assert_eq!((best.round_trip_us, best.offset_us), (200, 500));
        let best = estimator.add(exchange(3_000_000, 500, 5_000, 100)).unwrap();
        assert_eq!(best.round_trip_us, 200);
        let best = estimator
            .add(exchange(203_000_000, 500, 5_000, 100))
            .unwrap();
        assert_eq!(best.round_trip_us, 5_100);
    }

    #[test]
    fn a_clock_that_was_set_makes_older_samples_void() {
        let mut estimator = Estimator::default();
        for i in 0..20 {
            estimator
                .add(exchange(i * 2_000_000, 500, 100, 100))
                .unwrap();
        }
        let best = estimator
            .add(exchange(50_000_000, -4_000_000, 8_000, 8_000))
            .unwrap();
        assert_eq!(best.offset_us, -4_000_000);
    }

    #[test]
    fn stamps_that_contradict_each_other_are_refused() {
        let good = exchange(1_000, 0, 10, 10);
        let rows = [
            Exchange {
                t4: Local(999),
                ..good
            },
            Exchange {
                t3_us: good.t2_us - 1,
                ..good
            },
            Exchange {
                t3_us: good.t2_us + 1_000,
                ..good
            },
        ];
        for row in rows {
            assert_eq!(Sample::of(row), None, "{row:?}");
        }
    }

    #[test]
    fn mesh_time_and_local_time_convert_into_each_other() {
        let clock = Clock::start();
        assert_eq!(clock.local(5), None);
        let now = clock.now();
        assert_eq!(clock.stamp(now).uncertainty_us, Stamp::UNKNOWN_US);
        clock.set(Sample {
            offset_us: -1_500,
            round_trip_us: 300,
            taken: now,
        });
        let stamp = clock.stamp(now);
        assert_eq!(
            stamp,
            Stamp {
                at_us: now.0 - 1_500,
                uncertainty_us: 155
            }
        );
        assert_eq!(clock.local(stamp.at_us), Some(now));
    }

    #[test]
    fn sleeping_ends_at_the_instant() {
        let clock = Clock::start();
        let at = clock.now().after(Duration::from_millis(20));
        clock.sleep_until(at);
        assert!(clock.now() >= at);
    }
}
