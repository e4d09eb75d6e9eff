//! Reading the latency windows of a service: those on disk and those under way.

use std::collections::BTreeMap;
use std::ops::Range;

use super::error::StoreError;
use super::key::{Kind, MINUTE_US, ServiceNumber, WindowKey};
use super::minute::Minute;
use super::shared::Shared;

/// What may be written while it is read, in microseconds before the newest window under way: agents deliver
/// within minutes. The writer waits for the reader of this part alone.
const LATELY_US: u64 = 10 * MINUTE_US;

/// Hands over the windows of a service that begin within a stretch, as they are stored, by time; of one key
/// there may be two, of which one is under way. A damaged one is left out.
pub(super) fn each(
    shared: &Shared,
    service: ServiceNumber,
    stretch: Range<u64>,
    mut take: impl FnMut(WindowKey, &[u8]),
) -> Result<(), StoreError> {
    let (newest, mut early) = {
        let counting = shared.counting();
        (counting.newest(), counting.of(service))
    };
    let lately = newest.map_or(stretch.end, |at_us| at_us.saturating_sub(LATELY_US));
    let lately = lately.clamp(stretch.start, stretch.end.max(stretch.start));
    let (early_on, late) = (stretch.start..lately, lately..stretch.end);
    early.retain(|key, _| early_on.contains(&key.minute_us));
    stored(shared, service, early_on, early, &mut take)?;
    let counting = shared.counting();
    let mut under_way = counting.of(service);
    under_way.retain(|key, _| late.contains(&key.minute_us));
    stored(shared, service, late, under_way, &mut take)
}

/// Those on disk, with those under way between them.
fn stored(
    shared: &Shared,
    service: ServiceNumber,
    stretch: Range<u64>,
    mut under_way: BTreeMap<WindowKey, Minute>,
    take: &mut impl FnMut(WindowKey, &[u8]),
) -> Result<(), StoreError> {
    if stretch.is_empty() {
        return Ok(());
    }
    let to = match stretch.end {
        u64::MAX => Kind::Window.end_of(service),
        end_us => Kind::Window.of_at(service, end_us),
    };
    let range = Kind::Window.of_at(service, stretch.start)..to;
    for entry in shared.disk.db.range(range) {
        let (bytes, head) = entry.map_err(StoreError::database("list windows"))?;
        let Some(key) = WindowKey::parse(&bytes) else {
            continue;
        };
        while let Some(first) = under_way.first_entry().filter(|first| *first.key() < key) {
            let (key, minute) = first.remove_entry();
            give(key, &minute, take)?;
        }
        if let Some(window) = shared.listed_bytes(&bytes, &head)? {
            take(key, &window);
        }
    }
    for (key, minute) in under_way {
        give(key, &minute, take)?;
    }
    Ok(())
}

fn give(
    key: WindowKey,
    minute: &Minute,
    take: &mut impl FnMut(WindowKey, &[u8]),
) -> Result<(), StoreError> {
    let bytes = minute.encode().map_err(StoreError::damaged(&key.bytes()))?;
    take(key, &bytes);
    Ok(())
}
