//! The last 24 hours of every service as a strip: how many probes of each quarter of an hour failed.
//!
//! The strips are kept in memory, since a day of rounds takes seconds to read: read once at the start,
//! then carried on as rounds close.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use localize::ServiceName;
use proto::words::counted;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::engine::{Handle, Happening, What};
use crate::store::{RoundRecord, Store};

/// Length of a slot in microseconds.
pub(super) const SLOT_US: u64 = 15 * 60 * 1_000_000;
/// Slots of a day.
pub(super) const SLOTS: usize = 96;

/// What the rounds of one slot came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    /// Which quarter of an hour since the Unix epoch.
    pub(super) number: u64,
    /// Rounds that were fired in it and have closed.
    pub(super) rounds: u64,
    /// Their observations.
    pub(super) probes: u64,
    /// Those that failed.
    pub(super) failed: u64,
}

/// The slots in which rounds have closed, oldest first.
#[derive(Clone, Debug, Default)]
struct Day(VecDeque<Slot>);

impl Day {
    fn count(&mut self, round: &RoundRecord) {
        let number = round.fire_at_us / SLOT_US;
        let place = self.0.partition_point(|slot| slot.number < number);
        if self.0.get(place).is_none_or(|slot| slot.number != number) {
            let slot = Slot {
                number,
                ..Slot::default()
            };
            self.0.insert(place, slot);
        }
        if let Some(slot) = self.0.get_mut(place) {
            slot.rounds += 1;
            slot.probes += u64::from(round.received);
            slot.failed += u64::from(round.failed);
        }
        while self.0.len() > SLOTS {
            self.0.pop_front();
        }
    }
}

/// The strips of all services. Cloning is cheap.
#[derive(Clone, Default)]
pub(super) struct Strips(Arc<RwLock<BTreeMap<ServiceName, Day>>>);

impl Strips {
    /// The slots of a service in the day before `now_us`, oldest first; those without a round are empty.
    pub(super) fn of(&self, service: &ServiceName, now_us: u64) -> Vec<Slot> {
        let days = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let known = days.get(service).map(|day| &day.0);
        let last = now_us / SLOT_US;
        let numbers = (0..SLOTS as u64)
            .rev()
            .map(|back| last.saturating_sub(back));
        numbers
            .map(|number| {
                let found = known.and_then(|day| day.iter().find(|slot| slot.number == number));
                found.copied().unwrap_or(Slot {
                    number,
                    ..Slot::default()
                })
            })
            .collect()
    }

    fn count(&self, round: &RoundRecord) {
        let mut days = self.0.write().unwrap_or_else(PoisonError::into_inner);
        days.entry(round.service.clone()).or_default().count(round);
    }

    /// Reads what is on disk, and goes on with what happens until told to stop.
    pub(super) async fn follow(self, engine: Handle, store: Store, stop: CancellationToken) {
        loop {
            // Listening begins before reading ends, so that no round is missed between.
            let mut happenings = engine.watch();
            let strips = self.clone();
            let reading = store.clone();
            let read = tokio::task::spawn_blocking(move || strips.read(&reading));
            let read_us = read.await.unwrap_or(0);
            loop {
                let happening = tokio::select! {
                    () = stop.cancelled() => return,
                    happening = happenings.recv() => happening,
                };
                match happening {
                    // A round of the time before is read already.
                    Ok(Happening { at_us, .. }) if at_us <= read_us => {}
                    Ok(Happening {
                        what: What::Round(round),
                        ..
                    }) => self.count(&round),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return,
                }
            }
        }
    }

    /// Begins anew with the rounds on disk; up to which instant, in microseconds of mesh time.
    fn read(&self, store: &Store) -> u64 {
        let now_us = clock::now_us();
        let from_us = now_us.saturating_sub(SLOT_US * SLOTS as u64);
        let mut days: BTreeMap<ServiceName, Day> = BTreeMap::new();
        let read = store.each_round(from_us, |round| {
            days.entry(round.service.clone()).or_default().count(&round);
        });
        if let Err(error) = read {
            tracing::warn!(%error, "the strips of the last day begin empty");
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = days;
        now_us
    }
}

/// A strip as a picture: courses of upright strokes, in the words of SVG, since a page holds a hundred strips.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Strip {
    /// What it shows, in words.
    pub(super) words: String,
    /// A stroke for each quarter of an hour in which nothing failed ...
    pub(super) calm: String,
    /// ... for each in which something did ...
    pub(super) failing: String,
    /// ... and for each in which an alarm stood.
    pub(super) alarm: String,
}

/// Width of a stroke with its gap, and height of the strip, in its own units.
const WIDTH: usize = 3;
pub(super) const HEIGHT: u64 = 28;
/// Where strokes end, and where the lane of alarms begins.
const FLOOR: u64 = 22;

impl Strip {
    /// Of the slots of a day, and the stretches in which an alarm stood, in microseconds of mesh time.
    pub(super) fn new(slots: &[Slot], alarms: &[(u64, u64)]) -> Self {
        let mut strip = Self::default();
        let (mut striking, mut stood) = (0, 0);
        for (index, slot) in slots.iter().enumerate() {
            let x = index * WIDTH + 1;
            striking += u64::from(slot.failed > 0);
            let height = height(*slot);
            match slot.failed {
                _ if slot.rounds == 0 => {}
                0 => strip.calm += &stroke(x, FLOOR - height, height),
                _ => strip.failing += &stroke(x, FLOOR - height, height),
            }
            let (from_us, to_us) = (slot.number * SLOT_US, (slot.number + 1) * SLOT_US);
            if alarms
                .iter()
                .any(|(began, over)| *began < to_us && *over > from_us)
            {
                stood += 1;
                strip.alarm += &stroke(x, FLOOR + 2, HEIGHT - FLOOR - 2);
            }
        }
        let rounds: u64 = slots.iter().map(|slot| slot.rounds).sum();
        let (failed, probes) = slots.iter().fold((0, 0), |(failed, probes), slot| {
            (failed + slot.failed, probes + slot.probes)
        });
        let hours = |quarters: u64| format!("{:.1} h", quarters as f64 / 4.0);
        let mut words =
            format!("Last 24 hours: {rounds} rounds, {failed} of {probes} probes failed");
        if striking > 0 {
            words += &format!(" in {} of an hour", counted(striking, "quarter"));
        }
        if stood > 0 {
            words += &format!("; an alarm stood for about {}", hours(stood));
        }
        Self { words, ..strip }
    }
}

/// An upright stroke from its upper end.
fn stroke(x: usize, y: u64, length: u64) -> String {
    format!("M{x} {y}v{length}")
}

/// Small shares are seen too: a stroke's length grows with the root of the share.
fn height(slot: Slot) -> u64 {
    if slot.failed == 0 {
        return 4;
    }
    let share = slot.failed as f64 / slot.probes.max(1) as f64;
    // Between 6 and 22: small and positive.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let height = 6 + (share.sqrt() * 16.0).round() as u64;
    height.min(FLOOR)
}

#[cfg(test)]
mod tests {
    use localize::RoundId;

    use super::*;

    fn round(service: &str, fire_at_us: u64, failed: u32) -> RoundRecord {
        RoundRecord {
            service: ServiceName(service.to_owned()),
            round: RoundId(1),
            fire_at_us,
            expected: 10,
            received: 10,
            failed,
            skew_us: 0,
            worst_uncertainty_us: 0,
        }
    }

    #[test]
    fn rounds_are_counted_in_their_quarter_of_an_hour() {
        let strips = Strips::default();
        let now_us = 1_000_000 * SLOT_US + 5;
        let rows = [(0, 1), (0, 2), (3, 0), (95, 4), (96, 7), (1, 1)];
        for (back, failed) in rows {
            strips.count(&round("shop", now_us - back * SLOT_US, failed));
        }
        let slots = strips.of(&ServiceName("shop".to_owned()), now_us);
        assert_eq!(slots.len(), SLOTS);
        let failed = |back: usize| {
            (
                slots[SLOTS - 1 - back].rounds,
                slots[SLOTS - 1 - back].failed,
            )
        };
        assert_eq!(failed(0), (2, 3));
        assert_eq!(failed(1), (1, 1));
        assert_eq!(failed(2), (0, 0));
        assert_eq!(failed(95), (1, 4), "the day before is over");
        let none = strips.of(&ServiceName("other".to_owned()), now_us);
        assert!(none.iter().all(|slot| slot.rounds == 0));
    }

    #[test]
    fn a_strip_shows_failures_and_alarms() {
        let slot = |number, rounds, failed| Slot {
            number,
            rounds,
            probes: rounds * 10,
            failed,
        };
        let strip = Strip::new(
            &[slot(7, 0, 0), slot(8, 1, 0), slot(9, 1, 10)],
            &[(9 * SLOT_US, 9 * SLOT_US + 1)],
        );
        assert_eq!(strip.calm, "M4 18v4");
        assert_eq!(strip.failing, "M7 0v22", "all that can be seen of it");
        assert_eq!(strip.alarm, "M7 24v4");
        assert!(
            strip
                .words
                .contains("10 of 20 probes failed in 1 quarter of an hour"),
            "{}",
            strip.words
        );
    }

    #[tokio::test]
    async fn a_start_reads_the_last_day() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let now_us = clock::now_us();
        let rounds = [(1, 2), (2, 3), (SLOTS as u64 + 1, 5)];
        let rounds = rounds.map(|(back, failed)| round("shop", now_us - back * SLOT_US, failed));
        let mut writes = rounds.map(crate::store::Write::Round).to_vec();
        for (number, write) in writes.iter_mut().enumerate() {
            if let crate::store::Write::Round(round) = write {
                round.round = RoundId(number as u64);
            }
        }
        store.commit(writes).await.unwrap();
        let strips = Strips::default();
        let reading = (strips.clone(), store);
        let read = tokio::task::spawn_blocking(move || reading.0.read(&reading.1));
        assert!(read.await.unwrap() >= now_us);
        let slots = strips.of(&ServiceName("shop".to_owned()), now_us);
        let failed: Vec<u64> = slots
            .iter()
            .map(|slot| slot.failed)
            .filter(|n| *n > 0)
            .collect();
        assert_eq!(failed, [3, 2], "what is older than a day is no part of it");
    }
}
