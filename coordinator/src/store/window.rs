//! A latency window: how one layer of one series went in one minute.
//!
//! Times are kept as an HdrHistogram of 1 µs to 60 s with three significant digits, failures by kind
//! and apart from the times, because a time-out is no latency.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use localize::{Failure, Micros};
use serde::{Deserialize, Serialize};

use super::value::ValueError;

/// Longest time told apart, in microseconds; longer ones count as this.
const HIGHEST_US: u64 = 60_000_000;
/// Significant digits.
const DIGITS: u8 = 3;
/// `V2_COOKIE` and `V2_COMPRESSED_COOKIE` of the HdrHistogram formats, word size included.
const COOKIE: u32 = 0x1c84_9313;
const DEFLATED_COOKIE: u32 = 0x1c84_9314;
/// Length of the inner head: cookie, length, offset, digits, lowest, highest, ratio.
const INNER_HEAD_BYTES: usize = 40;
/// Longest histogram accepted, deflated and inflated. A window with every one of its 17,408 counters
/// in use takes two bytes a counter before deflating.
const MAX_DEFLATED_BYTES: usize = 16 << 10;
const MAX_INFLATED_BYTES: usize = 64 << 10;

/// Counts and times of one layer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Window {
    /// Probes that passed the layer.
    pub passed: u64,
    /// Probes that reached the layer and failed at it, by kind.
    pub failed: BTreeMap<Failure, u64>,
    /// How often each status of HTTP was answered, whether that passed or failed.
    pub statuses: BTreeMap<u16, u64>,
    times: Histogram<u32>,
}

impl Window {
    pub(super) fn new() -> Result<Self, ValueError> {
        let times = Histogram::new_with_bounds(1, HIGHEST_US, DIGITS);
        Ok(Self {
            passed: 0,
            failed: BTreeMap::new(),
            statuses: BTreeMap::new(),
            times: times.map_err(|_| ValueError::Payload)?,
        })
    }

    /// Counts a probe that passed the layer.
    #[cfg(test)]
    pub(super) fn pass(&mut self, took: Micros) {
        self.passed += 1;
        self.times.saturating_record(took.0.min(HIGHEST_US));
    }

    /// Counts a probe that failed at the layer.
    #[cfg(test)]
    pub(super) fn fail(&mut self, failure: Failure) {
        *self.failed.entry(failure).or_default() += 1;
    }

    /// Counts an answer of HTTP.
    #[cfg(test)]
    pub(super) fn answer(&mut self, status: u16) {
        *self.statuses.entry(status).or_default() += 1;
    }

    /// Adds another window's counts.
    pub(super) fn merge(&mut self, other: &Self) -> Result<(), ValueError> {
        self.passed += other.passed;
        for (failure, count) in &other.failed {
            *self.failed.entry(*failure).or_default() += count;
        }
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.times
            .add(&other.times)
            .map_err(|_| ValueError::Payload)
    }

    /// Failures of every kind.
    pub(super) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// The commonest failure; of equals the first in the order of layers.
    pub(super) fn commonest_failure(&self) -> Option<Failure> {
        let mut commonest = None;
        for (failure, count) in &self.failed {
            if commonest.is_none_or(|(_, most)| count > most) {
                commonest = Some((failure, count));
            }
        }
        commonest.map(|(failure, _)| *failure)
    }

    /// A quantile of the times that passed, zero when none did.
    pub(super) fn quantile(&self, share: f64) -> Micros {
        Micros(self.times.value_at_quantile(share).min(self.longest().0))
    }

    /// The longest time that passed, zero when none did.
    pub(super) fn longest(&self) -> Micros {
        Micros(self.times.max().min(HIGHEST_US))
    }

    /// Passed (8 bytes), length of the counts (4), the counts as JSON, the histogram (V2, deflated or not).
    pub(super) fn encode(&self) -> Result<Vec<u8>, ValueError> {
        let failed = self.failed.iter().map(|(f, n)| (*f, *n)).collect();
        let statuses = self.statuses.iter().map(|(s, n)| (*s, *n)).collect();
        let mut bytes = head(self.passed, failed, statuses)?;
        V2DeflateSerializer::new()
            .serialize(&self.times, &mut bytes)
            .map_err(|_| ValueError::Payload)?;
        Ok(bytes)
    }

    /// Adds a window as it is stored, all of it or nothing. It takes as long as the window has distinct times,
    /// and not, as to build it first, as long as its shape has counters.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), ValueError> {
        let Stored {
            passed,
            failed,
            statuses,
            times,
        } = Stored::parse(bytes)?;
        let inner = inflate(times).ok_or(ValueError::Payload)?;
        let recorded = recorded(&inner).ok_or(ValueError::Payload)?;
        if recorded
            .iter()
            .map(|(_, count)| u64::from(*count))
            .sum::<u64>()
            != passed
        {
            return Err(ValueError::Payload);
        }
        self.passed += passed;
        for (failure, count) in failed {
            *self.failed.entry(failure).or_default() += count;
        }
        for (status, count) in statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (time, count) in recorded {
            self.times.saturating_record_n(time, count);
        }
        Ok(())
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        let stored = Stored::parse(bytes)?;
        let window = Self {
            passed: stored.passed,
            failed: stored.failed.into_iter().collect(),
            statuses: stored.statuses.into_iter().collect(),
            times: decode_times(stored.times).ok_or(ValueError::Payload)?,
        };
        if window.times.len() != window.passed {
            return Err(ValueError::Payload);
        }
        Ok(window)
    }
}

/// A window of these times, in rising order, as it is stored. A histogram of few times is shorter and ten
/// times as quickly written when it is not deflated.
pub(super) fn encode_sorted(
    times: &[u32],
    failed: Vec<(Failure, u64)>,
    statuses: Vec<(u16, u64)>,
) -> Result<Vec<u8>, ValueError> {
    let counters = counters(times);
    let passed = u64::try_from(times.len()).map_err(|_| ValueError::Payload)?;
    let length = u32::try_from(counters.len()).map_err(|_| ValueError::Payload)?;
    let mut bytes = head(passed, failed, statuses)?;
    bytes.extend_from_slice(&COOKIE.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    // The offset that normalises, which is of no use here.
    bytes.extend_from_slice(&0_u32.to_be_bytes());
    bytes.extend_from_slice(&u32::from(DIGITS).to_be_bytes());
    bytes.extend_from_slice(&1_u64.to_be_bytes());
    bytes.extend_from_slice(&HIGHEST_US.to_be_bytes());
    // The ratio of what is counted to what is meant.
    bytes.extend_from_slice(&1.0_f64.to_be_bytes());
    bytes.extend_from_slice(&counters);
    Ok(bytes)
}

/// What stands before the histogram.
fn head(
    passed: u64,
    failed: Vec<(Failure, u64)>,
    statuses: Vec<(u16, u64)>,
) -> Result<Vec<u8>, ValueError> {
    let counts = match statuses.is_empty() {
        true => Counts::Failed(failed),
        false => Counts::Answered { failed, statuses },
    };
    let counts = serde_json::to_vec(&counts).map_err(|_| ValueError::Payload)?;
    let length = u32::try_from(counts.len()).map_err(|_| ValueError::Payload)?;
    let mut bytes = Vec::with_capacity(128 + counts.len());
    bytes.extend_from_slice(&passed.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&counts);
    Ok(bytes)
}

/// The counts of a window as they are stored. Those of layers without statuses, and of versions that did
/// not count them, are the failures alone.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Counts {
    Failed(Vec<(Failure, u64)>),
    Answered {
        failed: Vec<(Failure, u64)>,
        statuses: Vec<(u16, u64)>,
    },
}

/// A window as it is stored, its histogram still packed.
struct Stored<'a> {
    passed: u64,
    failed: Vec<(Failure, u64)>,
    statuses: Vec<(u16, u64)>,
    times: &'a [u8],
}

impl<'a> Stored<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, ValueError> {
        let (passed, rest) = bytes.split_first_chunk::<8>().ok_or(ValueError::Payload)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(ValueError::Payload)?;
        let length =
            usize::try_from(u32::from_be_bytes(*length)).map_err(|_| ValueError::Payload)?;
        let (counts, times) = rest.split_at_checked(length).ok_or(ValueError::Payload)?;
        let counts = serde_json::from_slice(counts).map_err(|_| ValueError::Payload)?;
        let (failed, statuses) = match counts {
            Counts::Failed(failed) => (failed, Vec::new()),
            Counts::Answered { failed, statuses } => (failed, statuses),
        };
        Ok(Self {
            passed: u64::from_be_bytes(*passed),
            failed,
            statuses,
            times,
        })
    }
}

/// Reads a histogram of exactly this module's shape.
fn decode_times(bytes: &[u8]) -> Option<Histogram<u32>> {
    let inner = inflate(bytes)?;
    Deserializer::new()
        .deserialize(&mut Cursor::new(inner))
        .ok()
}

/// The inflated histogram, if it has exactly this module's shape.
///
/// The head is checked before the library sees it: forty bytes can else declare a histogram of many
/// megabytes.
fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let (outer, rest) = bytes.split_first_chunk::<8>()?;
    let mut inner = Vec::new();
    match word(outer, 0)? {
        COOKIE if bytes.len() <= MAX_INFLATED_BYTES => inner.extend_from_slice(bytes),
        DEFLATED_COOKIE
            if rest.len() <= MAX_DEFLATED_BYTES
                && usize::try_from(word(outer, 4)?) == Ok(rest.len()) =>
        {
            let limit = u64::try_from(MAX_INFLATED_BYTES).ok()?;
            ZlibDecoder::new(rest)
                .take(limit)
                .read_to_end(&mut inner)
                .ok()?;
        }
        _ => return None,
    }
    let counters = inner.len().checked_sub(INNER_HEAD_BYTES)?;
    let ours = word(&inner, 0)? == COOKIE
        && usize::try_from(word(&inner, 4)?) == Ok(counters)
        && word(&inner, 12)? == u32::from(DIGITS)
        && long(&inner, 16)? == 1
        && long(&inner, 24)? == HIGHEST_US;
    ours.then_some(inner)
}

/// Counters of a whole power of two: 2,048 tell three digits apart (HdrHistogram, `sub_bucket_count`), of
/// which every power but the first uses the upper half.
const HALF: u64 = 1024;

/// The distinct times of an inflated histogram with their counts. Each counter is a number, a negative one
/// so many counters of zero (HdrHistogram, V2 encoding).
fn recorded(inner: &[u8]) -> Option<Vec<(u64, u32)>> {
    let mut rest = inner.get(INNER_HEAD_BYTES..)?;
    let (mut recorded, mut index) = (Vec::new(), 0_u64);
    while !rest.is_empty() {
        let number = zigzag(&mut rest)?;
        if number <= 0 {
            index = index.checked_add(number.unsigned_abs().max(1))?;
            continue;
        }
        let time = time_of(index).filter(|time| *time <= HIGHEST_US)?;
        recorded.push((time, u32::try_from(number).ok()?));
        index += 1;
    }
    Some(recorded)
}

/// The lowest time that a counter stands for, in microseconds.
fn time_of(index: u64) -> Option<u64> {
    match u32::try_from(index / HALF).ok()?.checked_sub(1) {
        None => Some(index),
        Some(power) => (index % HALF + HALF).checked_mul(1_u64.checked_shl(power)?),
    }
}

/// The counter that a time is counted in.
fn index_of(time_us: u64) -> u64 {
    let bits = u64::from(u64::BITS - time_us.leading_zeros());
    match bits.checked_sub(u64::from(HALF.ilog2()) + 1) {
        None | Some(0) => time_us,
        Some(power) => (power + 1) * HALF + (time_us >> power) - HALF,
    }
}

/// The counters of times in rising order, as [`recorded`] reads them.
fn counters(times: &[u32]) -> Vec<u8> {
    let (mut bytes, mut next) = (Vec::with_capacity(times.len() * 3), 0);
    let indices = times
        .iter()
        .map(|time| index_of(u64::from(*time).min(HIGHEST_US)));
    let indices: Vec<u64> = indices.collect();
    for equal in indices.chunk_by(|a, b| a == b) {
        let (Some(index), count) = (equal.first(), equal.len()) else {
            continue;
        };
        if *index > next {
            put_zigzag(&mut bytes, (index - next) * 2 - 1);
        }
        put_zigzag(&mut bytes, u64::try_from(count).unwrap_or(u64::MAX / 2) * 2);
        next = index + 1;
    }
    bytes
}

/// LEB128 of a number of far less than 63 bits that is in ZigZag already.
fn put_zigzag(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(low & 0x7f);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// A number in ZigZag LEB128 of nine bytes at most, of which the ninth has all its bits.
fn zigzag(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for place in 0..9 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        let last = place == 8 || *byte < 0x80;
        let bits = if place == 8 { *byte } else { *byte & 0x7f };
        value |= u64::from(bits) << (7 * place);
        if last {
            break;
        }
    }
    i64::try_from(value >> 1)
        .ok()
        .map(|half| if value & 1 == 1 { -half - 1 } else { half })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(word))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let long = bytes.get(at..at + 8)?.try_into().ok()?;
    Some(u64::from_be_bytes(long))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(times: &[u64], failures: &[Failure]) -> Window {
        let mut window = Window::new().expect("bounds are valid");
        times.iter().for_each(|t| window.pass(Micros(*t)));
        failures.iter().for_each(|f| window.fail(*f));
        window
    }

    #[test]
    fn comes_back() {
        let many: Vec<u64> = (0..5000).map(|n| n * n % 70_000_000).collect();
        let rows: [(&[u64], &[Failure]); 4] = [
            (&[], &[]),
            (&[0, 1, 1500, u64::MAX], &[]),
            (
                &[],
                &[
                    Failure::ConnectTimeout,
                    Failure::HttpStatus(503),
                    Failure::HttpStatus(503),
                ],
            ),
            (&many, &[Failure::TlsAlert(40)]),
        ];
        for (times, failures) in rows {
            let mut window = window(times, failures);
            let bytes = window.encode().expect("encodes");
            assert_eq!(Window::decode(&bytes).as_ref(), Ok(&window));
            window.answer(200);
            window.answer(404);
            let bytes = window.encode().expect("encodes");
            assert_eq!(Window::decode(&bytes), Ok(window));
        }
    }

    #[test]
    fn windows_of_older_versions_are_read() {
        let window = window(&[10], &[Failure::HttpStatus(503)]);
        let bytes = window.encode().expect("encodes");
        let json = br#"[[{"http_status":503},1]]"#;
        assert_eq!(&bytes[12..12 + json.len()], json);
        let read = Window::decode(&bytes).expect("decodes");
        assert_eq!((read.failures(), read.statuses.len()), (1, 0));
    }

    #[test]
    fn long_times_saturate() {
        let window = window(&[100_000_000, 200_000_000], &[]);
        assert_eq!(window.longest(), Micros(HIGHEST_US));
        assert_eq!(window.quantile(0.5), Micros(HIGHEST_US));
    }

    #[test]
    fn merges() {
        let mut sum = window(&[10, 20], &[Failure::ConnectTimeout]);
        sum.merge(&window(
            &[30],
            &[Failure::ConnectRefused, Failure::ConnectRefused],
        ))
        .expect("same shape");
        let mut other = window(&[], &[]);
        [404, 200, 404]
            .into_iter()
            .for_each(|status| other.answer(status));
        sum.answer(200);
        sum.merge(&other).expect("same shape");
        assert_eq!(sum.statuses, BTreeMap::from([(200, 2), (404, 2)]));
        assert_eq!((sum.passed, sum.failures()), (3, 3));
        assert_eq!(sum.commonest_failure(), Some(Failure::ConnectRefused));
        assert_eq!(sum.quantile(0.5), Micros(20));
        assert_eq!(window(&[], &[]).quantile(0.99), Micros(0));
    }

    #[test]
    fn adding_a_stored_window_is_merging_it() {
        let spread: Vec<u64> = (0..3000).map(|n| n * n * 7 % 61_000_000).collect();
        let rows: [(&[u64], &[Failure]); 5] = [
            (&[], &[Failure::HttpStatus(503)]),
            (
                &[0, 1, 2, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096],
                &[],
            ),
            (&[59_999_999, 60_000_000, u64::MAX], &[]),
            (&[5; 70_000], &[]),
            (&spread, &[Failure::ConnectTimeout, Failure::ConnectTimeout]),
        ];
        let mut added = window(&[3], &[Failure::ConnectTimeout]);
        let mut merged = added.clone();
        for (times, failures) in rows {
            let mut other = window(times, failures);
            other.answer(200);
            let bytes = other.encode().expect("encodes");
            added.add(&bytes).expect("adds");
            merged.merge(&other).expect("same shape");
            assert_eq!(added, merged, "{} times", times.len());
        }
    }

    #[test]
    fn what_is_not_whole_is_not_added() {
        let good = window(&[1, 2, 3], &[Failure::ConnectTimeout]);
        let good = good.encode().expect("encodes");
        let mut sum = window(&[9], &[]);
        for cut in 0..good.len() {
            assert!(sum.add(&good[..cut]).is_err(), "cut at {cut}");
        }
        let mut lying = good;
        lying[7] += 1;
        assert_eq!(sum.add(&lying), Err(ValueError::Payload));
        assert_eq!(sum, window(&[9], &[]));
    }

    #[test]
    fn hostile_heads_are_refused() {
        let good = window(&[1, 2, 3], &[]).encode().expect("encodes");
        for cut in 0..good.len() {
            assert!(Window::decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        // A wider histogram than ours, honestly encoded.
        let mut wide = Histogram::<u32>::new_with_bounds(1, u64::MAX / 2, 5).expect("bounds");
        wide.record(7).expect("in range");
        let mut bytes = 1_u64.to_be_bytes().to_vec();
        bytes.extend_from_slice(&2_u32.to_be_bytes());
        bytes.extend_from_slice(b"[]");
        V2DeflateSerializer::new()
            .serialize(&wide, &mut bytes)
            .expect("serialises");
        assert_eq!(Window::decode(&bytes), Err(ValueError::Payload));
        // A count that the histogram does not bear out.
        let mut lying = good.clone();
        lying[7] += 1;
        assert_eq!(Window::decode(&lying), Err(ValueError::Payload));
    }
}
