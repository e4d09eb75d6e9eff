//! When the next round of a service is due: pure, in mesh time.
//!
//! The ticks of a service are the instants congruent to its phase modulo its interval. The phase is
//! a hash of its name, so that many services of one interval spread over it, and so that a restart
//! of the coordinator does not move them.

use std::collections::BTreeMap;
use std::time::Duration;

use localize::ServiceName;

/// When each service is due.
#[derive(Debug, Default)]
pub struct Schedule {
    entries: BTreeMap<ServiceName, Entry>,
}

#[derive(Debug)]
struct Entry {
    every_us: u64,
    phase_us: u64,
    /// The next tick; `None` until the clock is first seen.
    next_us: Option<u64>,
}

impl Schedule {
    /// Adds a service, or changes its interval. The same interval again changes nothing.
    pub fn set(&mut self, service: ServiceName, every: Duration) {
        // A zero interval cannot come from a service file; one microsecond keeps the arithmetic total.
        let every_us = u64::try_from(every.as_micros()).unwrap_or(u64::MAX).max(1);
        if self
            .entries
            .get(&service)
            .is_some_and(|entry| entry.every_us == every_us)
        {
            return;
        }
        let entry = Entry {
            every_us,
            phase_us: stable_hash(&service.0) % every_us,
            next_us: None,
        };
        self.entries.insert(service, entry);
    }

    /// Takes a service out.
    pub fn remove(&mut self, service: &ServiceName) {
        self.entries.remove(service);
    }

    /// The services with a tick since the last call, by name; each once, however many ticks a stall
    /// has swallowed.
    pub fn due(&mut self, now_us: u64) -> Vec<ServiceName> {
        let mut due = Vec::new();
        for (service, entry) in &mut self.entries {
            if entry.armed(now_us) <= now_us {
                entry.next_us = Some(entry.tick_from(now_us.saturating_add(1)));
                due.push(service.clone());
            }
        }
        due
    }

    /// The earliest tick to come, or one not yet asked for; `None` without services.
    pub fn next_wake(&mut self, now_us: u64) -> Option<u64> {
        self.entries
            .values_mut()
            .map(|entry| entry.armed(now_us))
            .min()
    }
}

impl Entry {
    /// The next tick. A clock that was set back by more than an interval starts the service afresh:
    /// it would else stay silent until the clock has caught up.
    fn armed(&mut self, now_us: u64) -> u64 {
        let horizon = now_us.saturating_add(self.every_us.saturating_mul(2));
        match self.next_us {
            Some(next) if next <= horizon => next,
            Some(_) | None => {
                let next = self.tick_from(now_us);
                self.next_us = Some(next);
                next
            }
        }
    }

    /// The first tick at or after an instant.
    fn tick_from(&self, at_us: u64) -> u64 {
        let past = (at_us % self.every_us + self.every_us - self.phase_us) % self.every_us;
        match past {
            0 => at_us,
            past => at_us.saturating_add(self.every_us - past),
        }
    }
}

/// FNV-1a, 64 bits: the same in every build, unlike the hashes of the standard library.
fn stable_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn name(text: &str) -> ServiceName {
        ServiceName(text.into())
    }

    fn schedule(rows: &[(&str, u64)]) -> Schedule {
        let mut schedule = Schedule::default();
        for (service, seconds) in rows {
            schedule.set(name(service), Duration::from_secs(*seconds));
        }
        schedule
    }

    /// Runs the loop of a driver in virtual time and returns the firings.
    fn run(schedule: &mut Schedule, from_us: u64, to_us: u64) -> Vec<(u64, ServiceName)> {
        let mut fired = Vec::new();
        let mut now = from_us;
        while let Some(wake) = schedule.next_wake(now) {
            now = now.max(wake);
            if now >= to_us {
                break;
            }
            fired.extend(schedule.due(now).into_iter().map(|service| (now, service)));
        }
        fired
    }

    #[test]
    fn fires_once_an_interval() {
        for (every, stretch, expected) in [(1, 60, 60), (10, 600, 60), (3600, 36_000, 10)] {
            let mut schedule = schedule(&[("shop.example", every)]);
            let fired = run(&mut schedule, 5 * SECOND, (5 + stretch) * SECOND);
            assert_eq!(fired.len(), expected, "every {every} s");
            for pair in fired.windows(2) {
                assert_eq!(pair[1].0 - pair[0].0, every * SECOND);
            }
        }
    }

    #[test]
    fn a_restart_keeps_the_phase() {
        let first = run(&mut schedule(&[("a", 10)]), 0, 100 * SECOND);
        let second = run(&mut schedule(&[("a", 10)]), 41 * SECOND, 100 * SECOND);
        assert!(second.iter().all(|firing| first.contains(firing)));
    }

    #[test]
    fn a_stall_swallows_ticks() {
        for late in [0, 1, 9 * SECOND, 10 * SECOND, 95 * SECOND] {
            let mut schedule = schedule(&[("a", 10)]);
            let tick = schedule.next_wake(1000 * SECOND).expect("one service");
            assert_eq!(schedule.due(tick + late), [name("a")], "{late} µs late");
            assert!(
                schedule.due(tick + late).is_empty(),
                "{late} µs late, again"
            );
            let next = schedule.next_wake(tick + late).expect("one service");
            assert!(next > tick + late && next <= tick + late + 10 * SECOND);
            assert_eq!((next - tick) % (10 * SECOND), 0);
        }
    }

    #[test]
    fn services_spread_over_the_interval() {
        let names: Vec<String> = (0..100).map(|n| format!("service{n}")).collect();
        let rows: Vec<(&str, u64)> = names.iter().map(|n| (n.as_str(), 10)).collect();
        let fired = run(&mut schedule(&rows), 0, 10 * SECOND);
        assert_eq!(fired.len(), 100);
        let busiest = (0..10)
            .map(|s| fired.iter().filter(|(at, _)| at / SECOND == s).count())
            .max();
        assert!(busiest.is_some_and(|n| n < 30), "{busiest:?} in one second");
    }

    #[test]
    fn a_clock_set_back_does_not_silence() {
        let mut schedule = schedule(&[("a", 10)]);
        let tick = schedule.next_wake(100_000 * SECOND).expect("one service");
        assert_eq!(schedule.due(tick).len(), 1);
        assert!(
            schedule.due(tick - 1000).is_empty(),
            "a millisecond back is no new tick"
        );
        let next = schedule.next_wake(50_000 * SECOND).expect("one service");
        assert!(next <= 50_010 * SECOND);
    }

    #[test]
    fn set_again_and_remove() {
        let mut schedule = schedule(&[("a", 10)]);
        let tick = schedule.next_wake(0).expect("one service");
        assert_eq!(schedule.due(tick).len(), 1);
        schedule.set(name("a"), Duration::from_secs(10));
        assert!(
            schedule.due(tick).is_empty(),
            "the same interval fires no tick twice"
        );
        schedule.set(name("a"), Duration::from_secs(1));
        assert!(
            schedule
                .next_wake(tick + 1)
                .is_some_and(|next| next <= tick + 1 + SECOND)
        );
        schedule.remove(&name("a"));
        assert_eq!(schedule.next_wake(tick), None);
        assert!(schedule.due(tick + 100 * SECOND).is_empty());
    }
}
