//! From the layout before to this one: the keys of observations and windows begin with their service, and
//! beside the windows stands what is counted in them.

use localize::VantageName;

use super::error::StoreError;
use super::key::{self, Kind, ObservationKey, SeriesId, WindowKey};
use super::series::Series;
use super::shared::Shared;
use super::staging::Staging;
use super::value::Packed;

/// From this layout on keys begin with their service.
const BY_SERVICE: u64 = 3;

/// Keys moved in one batch.
const BATCH: usize = 2048;

/// There while keys are being moved: a store that was killed meanwhile has both forms.
const MOVING: &[u8] = b"moving";

/// Length of the keys of layout 2, which are those of this one without the service's number.
const OBSERVATION_BYTES: usize = 21;
const WINDOW_BYTES: usize = 14;
/// Bytes of a number of a service.
const NUMBER_BYTES: usize = 4;

/// Brings a store of an earlier layout to this one. A kill in the midst of it loses nothing: the next start
/// goes on.
pub(super) fn run(shared: &Shared, layout: Option<u64>) -> Result<(), StoreError> {
    let moving = Kind::Meta.key(MOVING);
    let begun = shared.get::<u64>(&moving)?.is_some();
    if !begun && layout.is_none_or(|layout| layout >= BY_SERVICE) {
        return match layout {
            None | Some(super::LAYOUT) => Ok(()),
            Some(_) => renumber(shared),
        };
    }
    tracing::info!("the store is brought to the layout of this version");
    shared.disk.check_space(1.0)?;
    if !begun {
        begin(shared)?;
    }
    for (kind, length) in [
        (Kind::Observation, OBSERVATION_BYTES),
        (Kind::FailedObservation, OBSERVATION_BYTES),
        (Kind::Window, WINDOW_BYTES),
    ] {
        move_keys(shared, kind, length)?;
    }
    let mut staging = Staging::new(&shared.disk.db);
    staging.remove(&moving)?;
    shared.apply(staging)
}

/// Says that the store is of this layout, where nothing has to be moved for that.
fn renumber(shared: &Shared) -> Result<(), StoreError> {
    let mut staging = Staging::new(&shared.disk.db);
    staging.put(Kind::Meta.key(b"layout"), &Packed::json(&super::LAYOUT)?)?;
    shared.apply(staging)
}

/// Numbers the services, and says that everything stored so far is counted.
fn begin(shared: &Shared) -> Result<(), StoreError> {
    let mut staging = Staging::new(&shared.disk.db);
    let unnumbered: Vec<(SeriesId, Series)> = {
        let series = shared.series();
        let all = series.all().map(|(id, series)| (id, series.clone()));
        all.collect()
    };
    for (id, mut series) in unnumbered {
        let mut table = shared.series_mut();
        table.remove(id);
        let number = table.number(&series.service);
        series.number = number.unwrap_or_else(|| table.next_number());
        staging.put(key::series(id), &Packed::json(&series)?)?;
        table.insert(id, series);
    }
    for (agent, through) in shared.watermarks() {
        let agent: VantageName = agent;
        staging.put(key::counted(&agent), &Packed::json(&through)?)?;
    }
    staging.put(Kind::Meta.key(b"layout"), &Packed::json(&super::LAYOUT)?)?;
    staging.put(Kind::Meta.key(MOVING), &Packed::json(&1_u64)?)?;
    shared.apply(staging)
}

/// Moves the keys of a kind that have the length of layout 2.
fn move_keys(shared: &Shared, kind: Kind, length: usize) -> Result<(), StoreError> {
    let mut from = kind.start();
    loop {
        let old: Vec<sled::IVec> = shared
            .disk
            .db
            .range(from.clone()..kind.end())
            .keys()
            .filter(|key| key.as_ref().map_or(true, |key| key.len() == length))
            .take(BATCH)
            .collect::<Result<_, _>>()
            .map_err(StoreError::database("list"))?;
        let Some(last) = old.last() else {
            return Ok(());
        };
        from = last.to_vec();
        from.push(0);
        let mut staging = Staging::new(&shared.disk.db);
        for key in &old {
            move_key(shared, &mut staging, key)?;
        }
        shared.apply(staging)?;
    }
}

/// Moves one record. One that is damaged, or whose series is unknown, could not be read before either.
fn move_key(shared: &Shared, staging: &mut Staging<'_>, key: &[u8]) -> Result<(), StoreError> {
    let bytes = staging.sound_bytes(key)?;
    staging.remove(key)?;
    if let (Some(new), Some(bytes)) = (moved(shared, key), bytes) {
        staging.put_new(new, &Packed::bytes(bytes));
    }
    Ok(())
}

/// The key of this layout for one of layout 2: letter, instant, series, and what follows.
fn moved(shared: &Shared, key: &[u8]) -> Option<Vec<u8>> {
    let (letter, rest) = key.split_first()?;
    let series: [u8; 4] = rest.get(8..12)?.try_into().ok()?;
    let number = {
        let table = shared.series();
        table.get(SeriesId(u32::from_be_bytes(series)))?.number
    };
    let mut moved = Vec::with_capacity(key.len() + NUMBER_BYTES);
    moved.push(*letter);
    moved.extend_from_slice(&number.0.to_be_bytes());
    moved.extend_from_slice(rest);
    let known = WindowKey::parse(&moved).is_some() || ObservationKey::parse(&moved).is_some();
    known.then_some(moved)
}
