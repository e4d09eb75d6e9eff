//! What is forgotten, and when. sled's file never shrinks, but takes new records where old ones were.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::acts;
use super::apply::{Stage, stored_window};
use super::error::StoreError;
use super::key::{self, Kind, ServiceNumber, WindowKey};
use super::records::TokenRecord;
use super::series::DAY_US;
use super::shared::Shared;
use super::staging::Staging;
use super::value::Packed;
use super::window::Window;

pub(super) const HOUR_US: u64 = DAY_US / 24;

/// Keys removed by one sweep, pieces included: the commits that come meanwhile wait for some ten
/// milliseconds.
pub(super) const SWEEP_KEYS: usize = 4096;

/// Records from this far in the future came from a broken clock and would else stay for ever.
const FUTURE_US: u64 = DAY_US;

/// Tokens are kept this long after their end, so that an agent that comes late is told why.
const TOKENS_KEPT_US: u64 = 7 * DAY_US;

/// How long the kinds whose keys begin with an instant are kept ...
const KEPT: [(Kind, u64); 3] = [
    (Kind::Report, HOUR_US),
    (Kind::Trace, HOUR_US),
    (Kind::Round, 30 * DAY_US),
];
/// ... and those whose keys begin with a service.
const KEPT_BY_SERVICE: [(Kind, u64); 3] = [
    (Kind::Observation, HOUR_US),
    (Kind::FailedObservation, 30 * DAY_US),
    (Kind::Window, 30 * DAY_US),
];

/// Days after which a series has no record left.
const SERIES_KEPT_DAYS: u64 = 32;

/// From this age on the windows of an hour are added up into its first, which takes a sixtieth of the
/// room and of the time to read a month.
const MINUTES_KEPT_US: u64 = DAY_US;

/// Windows added up by one sweep: each is decoded, which takes ten times as long as removing it.
const SWEEP_WINDOWS: usize = 512;

/// Start of the windows not yet added up.
const WINDOWS_FROM: &[u8] = b"windows_from";

/// Windows that begin before this instant, in microseconds of mesh time, may hold an hour.
pub(super) fn minutes_from(shared: &Shared) -> Result<u64, StoreError> {
    Ok(shared.get(&Kind::Meta.key(WINDOWS_FROM))?.unwrap_or(0))
}

/// Forgets what has aged out, a bounded amount of it; `true` when there is more.
pub(super) fn sweep(shared: &Shared, now_us: u64) -> Result<bool, StoreError> {
    // Forgetting writes to the log too, but makes room, so it goes on below the mark of the commits.
    shared.disk.check_space(0.5)?;
    // What is forgotten must have been counted.
    if write_windows(shared, now_us)? {
        return Ok(true);
    }
    let mut staging = Staging::new(&shared.disk.db);
    let future_us = now_us.saturating_add(FUTURE_US);
    for (kind, kept_us) in KEPT {
        let past = kind.at(now_us.saturating_sub(kept_us));
        remove_range(shared, &mut staging, kind.start(), past)?;
        remove_range(shared, &mut staging, kind.at(future_us), kind.end())?;
    }
    let numbers = shared.series().numbers();
    for (kind, kept_us) in KEPT_BY_SERVICE {
        for number in &numbers {
            let past = kind.of_at(*number, now_us.saturating_sub(kept_us));
            remove_range(shared, &mut staging, kind.of_at(*number, 0), past)?;
            let future = kind.of_at(*number, future_us);
            remove_range(shared, &mut staging, future, kind.end_of(*number))?;
        }
    }
    remove_tokens(shared, &mut staging, now_us)?;
    acts::forget(shared, &mut staging, now_us)?;
    let idle = shared
        .series()
        .idle_since((now_us / DAY_US).saturating_sub(SERIES_KEPT_DAYS));
    for id in &idle {
        staging.remove(&key::series(*id))?;
    }
    let windows_left = add_up_windows(shared, &mut staging, now_us)?;
    shared.sync_mark()?;
    let more = windows_left || staging.len() >= SWEEP_KEYS;
    if !staging.is_empty() {
        shared.apply(staging)?;
        let mut series = shared.series_mut();
        idle.into_iter().for_each(|id| series.remove(id));
    }
    Ok(more)
}

/// Writes windows of agents that are silent, a bounded number; `true` when there are more.
fn write_windows(shared: &Shared, now_us: u64) -> Result<bool, StoreError> {
    shared.counting().call(now_us);
    let mut stage = Stage::new(shared);
    stage.windows = SWEEP_KEYS;
    let staged = stage.finish()?;
    let more = !staged.ripe.is_empty();
    shared.carry_out(staged)?;
    Ok(more)
}

fn remove_range(
    shared: &Shared,
    staging: &mut Staging<'_>,
    from: Vec<u8>,
    to: Vec<u8>,
) -> Result<(), StoreError> {
    for key in shared.disk.db.range(from..to).keys() {
        if staging.len() >= SWEEP_KEYS {
            break;
        }
        staging.remove(&key.map_err(StoreError::database("list"))?)?;
    }
    Ok(())
}

/// Adds old windows up by the hour; `true` when there are more. A window and what it goes into change
/// in one batch, so that each observation stays counted once.
fn add_up_windows(
    shared: &Shared,
    staging: &mut Staging<'_>,
    now_us: u64,
) -> Result<bool, StoreError> {
    let cursor = Kind::Meta.key(WINDOWS_FROM);
    let from_us = staging.get::<u64>(&cursor)?.unwrap_or(0);
    let end_us = hour_start(now_us.saturating_sub(MINUTES_KEPT_US));
    let numbers = shared.series().numbers();
    // One hour of all services after the other, so that one instant tells how far they are added up.
    let Some(first_us) = first_window(shared, &numbers, from_us, end_us)? else {
        return reached(staging, cursor, from_us, end_us).map(|()| false);
    };
    let hour_us = hour_start(first_us);
    let mut hours: BTreeMap<WindowKey, Window> = BTreeMap::new();
    let (mut taken, mut whole) = (0, true);
    let keys = numbers.iter().flat_map(|number| {
        let range =
            Kind::Window.of_at(*number, hour_us)..Kind::Window.of_at(*number, hour_us + HOUR_US);
        shared.disk.db.range(range).keys()
    });
    for key in keys {
        let key = key.map_err(StoreError::database("list windows"))?;
        // Those that this sweep removes for their age are none to add up.
        let Some(minute) = WindowKey::parse(&key).filter(|_| !staging.removes(&key)) else {
            continue;
        };
        let hour = WindowKey {
            minute_us: hour_us,
            ..minute
        };
        if hour == minute {
            continue;
        }
        if taken >= SWEEP_WINDOWS {
            whole = false;
            break;
        }
        let window = stored_window(staging, minute)?;
        let sum = match hours.entry(hour) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(stored_window(staging, hour)?),
        };
        sum.merge(&window).map_err(StoreError::damaged(&key))?;
        staging.remove(&key)?;
        taken += 1;
    }
    for (hour, window) in hours {
        let key = hour.bytes();
        let bytes = window.encode().map_err(StoreError::damaged(&key))?;
        staging.put(key, &Packed::plain(bytes))?;
    }
    if whole {
        reached(staging, cursor, from_us, hour_us + HOUR_US)?;
    }
    Ok(true)
}

fn reached(
    staging: &mut Staging<'_>,
    cursor: Vec<u8>,
    from_us: u64,
    to_us: u64,
) -> Result<(), StoreError> {
    match to_us > from_us {
        true => staging.put(cursor, &Packed::json(&to_us)?),
        false => Ok(()),
    }
}

/// Start of the first window of any service in a stretch.
fn first_window(
    shared: &Shared,
    numbers: &BTreeSet<ServiceNumber>,
    from_us: u64,
    to_us: u64,
) -> Result<Option<u64>, StoreError> {
    let mut first = None;
    for number in numbers {
        let range = Kind::Window.of_at(*number, from_us)..Kind::Window.of_at(*number, to_us);
        if from_us >= to_us {
            break;
        }
        if let Some(key) = shared.disk.db.range(range).keys().next() {
            let key = key.map_err(StoreError::database("list windows"))?;
            let at_us = WindowKey::parse(&key).map(|key| key.minute_us);
            first = at_us.into_iter().chain(first).min();
        }
    }
    Ok(first)
}

const fn hour_start(at_us: u64) -> u64 {
    at_us - at_us % HOUR_US
}

fn remove_tokens(
    shared: &Shared,
    staging: &mut Staging<'_>,
    now_us: u64,
) -> Result<(), StoreError> {
    let mut ended = Vec::new();
    shared.each::<TokenRecord>(Kind::Token, |key, token| {
        if token.expires_us.saturating_add(TOKENS_KEPT_US) < now_us {
            ended.push(key.to_vec());
        }
    })?;
    ended.iter().try_for_each(|key| staging.remove(key))
}
