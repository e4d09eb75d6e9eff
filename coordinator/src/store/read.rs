//! The readers: what `Store` answers about observations, verdicts and latency.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

use localize::{
    Baseline, Baselines, Layer, Observation, ServiceName, Trace, Verdict, WitnessReport,
};

use super::MAX_CASE_BYTES;
use super::error::StoreError;
use super::key::{self, Kind, MINUTE_US, ObservationKey, SeriesId, WindowKey};
use super::records::{HistoryLine, RoundRecord, VerdictPlace};
use super::retention::{self, HOUR_US};
use super::series::Series;
use super::shared::Shared;
use super::trouble;
use super::value::ValueError;
use super::window::Window;
use super::windows;

/// What is usual is looked for no farther back than so many times the calm time wanted.
const FARTHEST: u64 = 7;

/// Longest stretch of one witness report, in microseconds: reports are indexed by their end.
const REPORT_STRETCH_US: u64 = 60_000_000;

pub(super) fn observations(
    shared: &Shared,
    service: &ServiceName,
    from_us: u64,
    to_us: u64,
    most: usize,
) -> Result<Vec<Observation>, StoreError> {
    let (number, series) = {
        let table = shared.series();
        (table.number(service), table.of_service(service))
    };
    let Some(number) = number else {
        return Ok(Vec::new());
    };
    let mut found: Vec<Observation> = Vec::new();
    for kind in [Kind::Observation, Kind::FailedObservation] {
        let range = kind.of_at(number, from_us)..match to_us.checked_add(1) {
            Some(end_us) => kind.of_at(number, end_us),
            None => kind.end_of(number),
        };
        // The newest first, so that the bound cuts off the oldest.
        for entry in shared.disk.db.range(range).rev().take(most) {
            let (key, head) = entry.map_err(StoreError::database("list observations"))?;
            let series = ObservationKey::parse(&key).and_then(|key| series.get(&key.series));
            let Some(series) = series else {
                continue;
            };
            found.extend(shared.listed_observation(&key, &head, series)?);
        }
    }
    found.sort_by(|a: &Observation, b| (a.scheduled_us, &a.id).cmp(&(b.scheduled_us, &b.id)));
    Ok(found)
}

pub(super) fn reports(
    shared: &Shared,
    from_us: u64,
    to_us: u64,
) -> Result<Vec<WitnessReport>, StoreError> {
    let kind = Kind::Report;
    let last = to_us.saturating_add(REPORT_STRETCH_US);
    let mut found: Vec<WitnessReport> = Vec::new();
    for entry in shared.disk.db.range(kind.at(from_us)..kind.at(last)) {
        let (key, head) = entry.map_err(StoreError::database("list reports"))?;
        let report: Option<WitnessReport> = shared.listed(&key, &head)?;
        let wanted = report.filter(|report| report.from.at_us <= to_us);
        found.extend(wanted.map(|mut report| {
            if let Some(name) = shared.renamed(&report.witness) {
                report.witness = name;
            }
            report
        }));
    }
    Ok(found)
}

pub(super) fn traces(shared: &Shared, from_us: u64, to_us: u64) -> Result<Vec<Trace>, StoreError> {
    let kind = Kind::Trace;
    let mut found: Vec<Trace> = Vec::new();
    for entry in shared
        .disk
        .db
        .range(kind.at(from_us)..kind.at(to_us.saturating_add(1)))
    {
        let (key, head) = entry.map_err(StoreError::database("list traces"))?;
        let trace: Option<Trace> = shared.listed(&key, &head)?;
        found.extend(trace.map(|mut trace| {
            if let Some(name) = shared.renamed(&trace.vantage) {
                trace.vantage = name;
            }
            trace
        }));
    }
    Ok(found)
}

pub(super) fn rounds(
    shared: &Shared,
    service: &ServiceName,
    from_us: u64,
    to_us: u64,
) -> Result<Vec<RoundRecord>, StoreError> {
    let kind = Kind::Round;
    let range = kind.at(from_us)..kind.at(to_us.saturating_add(1));
    let mut found = Vec::new();
    for entry in shared.disk.db.range(range) {
        let (key, head) = entry.map_err(StoreError::database("list rounds"))?;
        let round: Option<RoundRecord> = shared.listed(&key, &head)?;
        found.extend(round.filter(|round| round.service == *service));
    }
    Ok(found)
}

pub(super) fn each_round(
    shared: &Shared,
    from_us: u64,
    mut take: impl FnMut(RoundRecord),
) -> Result<(), StoreError> {
    for entry in shared
        .disk
        .db
        .range(Kind::Round.at(from_us)..Kind::Round.end())
    {
        let (key, head) = entry.map_err(StoreError::database("list rounds"))?;
        shared.listed(&key, &head)?.map(&mut take);
    }
    Ok(())
}

pub(super) fn verdicts(
    shared: &Shared,
    service: Option<&ServiceName>,
    limit: usize,
) -> Result<Vec<Verdict>, StoreError> {
    let range = Kind::Verdict.start()..Kind::Verdict.end();
    let name = service.map(serde_json::to_vec).transpose()?;
    let names = |bytes: &[u8]| {
        let holds = |name: &Vec<u8>| {
            bytes
                .windows(name.len())
                .any(|part| part == name.as_slice())
        };
        name.as_ref().is_none_or(holds)
    };
    let mut found = Vec::new();
    for entry in shared.disk.db.range(range).rev() {
        if found.len() >= limit {
            break;
        }
        let (key, head) = entry.map_err(StoreError::database("list verdicts"))?;
        let verdict: Option<Verdict> = shared.listed_where(&key, &head, names)?;
        found.extend(verdict.filter(|v| service.is_none_or(|service| v.service == service.0)));
    }
    Ok(found)
}

pub(super) fn verdict(shared: &Shared, id: &str) -> Result<Option<Verdict>, StoreError> {
    match place(shared, id)? {
        Some(place) => shared.get(&key::verdict(Kind::Verdict, place.0)),
        None => Ok(None),
    }
}

pub(super) fn case(shared: &Shared, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
    match place(shared, id)? {
        Some(place) => shared.get_bytes(&key::verdict(Kind::Case, place.0), MAX_CASE_BYTES),
        None => Ok(None),
    }
}

pub(super) fn history(
    shared: &Shared,
    service: &ServiceName,
    since_us: u64,
) -> Result<Vec<HistoryLine>, StoreError> {
    let cells = cells(shared, service, since_us..u64::MAX, &[])?;
    let lines = cells.into_iter().map(|cell| {
        let Cell {
            series,
            layer,
            window,
        } = cell;
        HistoryLine {
            vantage: series.vantage,
            arm: series.arm.label(),
            layer,
            passed: window.passed,
            failed: window.failures(),
            p50_us: window.quantile(0.5).0,
            p90_us: window.quantile(0.9).0,
            p99_us: window.quantile(0.99).0,
            max_us: window.longest().0,
            failure: window.commonest_failure(),
        }
    });
    Ok(lines.collect())
}

pub(super) fn baselines(
    shared: &Shared,
    service: &ServiceName,
    calm_us: u64,
    within: Range<u64>,
) -> Result<Baselines, StoreError> {
    let to_us = within.end;
    let longest_us = to_us.saturating_sub(calm_us.saturating_mul(FARTHEST));
    let longest_us = longest_us.max(within.start);
    let trouble = trouble::stretches(shared, service, longest_us)?;
    let from_us = calm_from(&trouble, calm_us, to_us).max(longest_us);
    let cells = cells(shared, service, from_us..to_us, &trouble)?;
    let baselines = cells.into_iter().map(|cell| {
        let Cell {
            series,
            layer,
            window,
        } = cell;
        Baseline {
            vantage: series.vantage,
            arm: series.arm,
            layer,
            passed: window.passed,
            failed: window.failures(),
            median: window.quantile(0.5),
            p75: Some(window.quantile(0.75)),
            statuses: window.statuses.iter().map(|(s, n)| (*s, *n)).collect(),
            p99: window.quantile(0.99),
        }
    });
    Ok(Baselines(baselines.collect()))
}

/// One layer of one series over a stretch.
struct Cell {
    series: Series,
    layer: Layer,
    window: Window,
}

/// From when on so much of the time before `to_us` is calm, as far as the stretches of trouble tell.
fn calm_from(trouble: &[Range<u64>], calm_us: u64, to_us: u64) -> u64 {
    let mut ends: Vec<&Range<u64>> = trouble.iter().collect();
    // The latest end first.
    ends.sort_by_key(|end| std::cmp::Reverse(end.end));
    let (mut missing_us, mut at_us) = (calm_us, to_us);
    for stretch in ends {
        let calm_us = at_us.saturating_sub(stretch.end);
        if calm_us >= missing_us {
            break;
        }
        missing_us -= calm_us;
        at_us = at_us.min(stretch.end).min(stretch.start);
    }
    at_us.saturating_sub(missing_us)
}

/// The windows of a service that begin within a stretch, its first minute included, and do not overlap
/// others, added up by series and layer, in the order that people read in.
fn cells(
    shared: &Shared,
    service: &ServiceName,
    stretch: Range<u64>,
    without: &[Range<u64>],
) -> Result<Vec<Cell>, StoreError> {
    let mut sums: BTreeMap<(SeriesId, Layer), Window> = BTreeMap::new();
    let (number, series) = {
        let table = shared.series();
        (table.number(service), table.of_service(service))
    };
    let Some(number) = number else {
        return Ok(Vec::new());
    };
    let from_us = stretch.start - stretch.start % MINUTE_US;
    let hours_until_us = retention::minutes_from(shared)?;
    windows::each(shared, number, from_us..stretch.end, |cell, bytes| {
        let length_us = match cell.minute_us < hours_until_us {
            true => HOUR_US,
            false => MINUTE_US,
        };
        let end_us = cell.minute_us + length_us;
        let overlaps = |w: &Range<u64>| w.start < end_us && w.end > cell.minute_us;
        if !series.contains_key(&cell.series) || without.iter().any(overlaps) {
            return;
        }
        if let Err(error) = add(&mut sums, cell, bytes) {
            let error = StoreError::damaged(&cell.bytes())(error);
            tracing::error!(%error, "a latency window is left out");
        }
    })?;
    let mut cells: Vec<Cell> = sums
        .into_iter()
        .filter_map(|((id, layer), window)| {
            let series = series.get(&id)?.clone();
            Some(Cell {
                series,
                layer,
                window,
            })
        })
        .collect();
    cells.sort_by_cached_key(|cell| {
        let series = &cell.series;
        (
            series.vantage.clone(),
            series.arm.label(),
            series.arm.clone(),
            cell.layer,
        )
    });
    Ok(cells)
}

fn add(
    sums: &mut BTreeMap<(SeriesId, Layer), Window>,
    cell: WindowKey,
    bytes: &[u8],
) -> Result<(), ValueError> {
    match sums.entry((cell.series, cell.layer)) {
        Entry::Occupied(mut sum) => sum.get_mut().add(bytes),
        Entry::Vacant(vacant) => {
            vacant.insert(Window::decode(bytes)?);
            Ok(())
        }
    }
}

fn place(shared: &Shared, id: &str) -> Result<Option<VerdictPlace>, StoreError> {
    shared.get(&Kind::VerdictPlace.key(id.as_bytes()))
}
