//! One file of records.
//!
//! The numbers of a segment follow each other, from that of its name on: what is not there is lost.
//!
//! A record is, in little-endian order, its payload's length (4 bytes), the CRC-32 of all that
//! follows and of the length (4), its sequence number (8), and the payload.

use std::fs;
use std::path::{Path, PathBuf};

use super::{MAX_RECORD, SpoolError, failed};

/// Bytes before the payload.
pub(super) const HEADER: usize = 16;

const EXTENSION: &str = "segment";

/// A segment with at least one record.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// The number of its first record, which may be lost.
    pub(super) first: u64,
    /// The number of its last record.
    pub(super) last: u64,
    /// Its length; behind the last record lies what a failed write has left.
    pub(super) bytes: u64,
}

/// A segment as it is found at the start.
pub(super) struct Found {
    /// `None` when no record is left.
    pub(super) segment: Option<Segment>,
    /// The number that its first record had.
    pub(super) first: u64,
    /// Numbers between the first and the last one left that are not there, first and last of each stretch.
    pub(super) holes: Vec<(u64, u64)>,
    /// Something lies behind the last whole record.
    pub(super) torn: bool,
}

/// The whole records of a segment's content; damaged ones are left out.
pub(super) struct Records<'a> {
    content: &'a [u8],
    /// Where the next record is looked for.
    at: usize,
    /// The end of the last whole one.
    whole: usize,
    last: Option<u64>,
}

impl Segment {
    /// Reads a segment whole.
    pub(super) fn recover(path: &Path) -> Result<Found, SpoolError> {
        let content = fs::read(path).map_err(failed("read", path))?;
        let mut records = Records::of(&content);
        let named = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse().ok());
        let mut holes = Vec::new();
        let mut expected: Option<u64> = named;
        for (number, _) in records.by_ref() {
            let from = expected.unwrap_or(number);
            if number > from {
                holes.push((from, number - 1));
            }
            expected = Some(number.saturating_add(1));
        }
        let segment = records.last.map(|last| Self {
            path: path.to_owned(),
            first: named.unwrap_or(last),
            last,
            bytes: content.len() as u64,
        });
        Ok(Found {
            segment,
            first: named.unwrap_or(0),
            holes,
            torn: records.whole < content.len(),
        })
    }

    pub(super) fn read(&self) -> Result<Vec<u8>, SpoolError> {
        fs::read(&self.path).map_err(failed("read", &self.path))
    }

    /// How many records have a number above `sequence`.
    pub(super) fn records_after(&self, sequence: u64) -> Result<u64, SpoolError> {
        if sequence >= self.last {
            return Ok(0);
        }
        let content = self.read()?;
        let above = Records::of(&content).filter(|(number, _)| *number > sequence);
        Ok(above.count() as u64)
    }
}

impl<'a> Records<'a> {
    pub(super) fn of(content: &'a [u8]) -> Self {
        Self {
            content,
            at: 0,
            whole: 0,
            last: None,
        }
    }
}

impl<'a> Records<'a> {
    /// The record that begins at a place, if one does.
    fn begins(&self, at: usize) -> Option<(u64, &'a [u8])> {
        let rest = self.content.get(at..)?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (sum, rest) = rest.split_first_chunk::<4>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let size = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let payload = rest.get(..size).filter(|_| size <= MAX_RECORD)?;
        if checksum(length, number, payload) != u32::from_le_bytes(*sum) {
            return None;
        }
        let number = u64::from_le_bytes(*number);
        // Numbers rise; what does not is a leftover that happens to lie at a record's boundary.
        self.last
            .is_none_or(|last| number > last)
            .then_some((number, payload))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while self.at + HEADER <= self.content.len() {
            if let Some((number, payload)) = self.begins(self.at) {
                self.at += HEADER + payload.len();
                self.whole = self.at;
                self.last = Some(number);
                return Some((number, payload));
            }
            // Of a damaged record not even the length is known: the next whole one is looked for.
            self.at += 1;
        }
        None
    }
}

/// The bytes of a record. Its length was checked against [`MAX_RECORD`].
pub(super) fn encode(sequence: u64, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_le_bytes();
    let number = sequence.to_le_bytes();
    let sum = checksum(&length, &number, payload).to_le_bytes();
    [&length[..], &sum, &number, payload].concat()
}

/// The file of the segment whose first record has this number.
pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.{EXTENSION}"))
}

/// The segments of a folder, oldest first: the names have a fixed width.
pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let entries = fs::read_dir(dir).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<PathBuf>, _>>()
    });
    let mut paths = entries.map_err(failed("list", dir))?;
    paths.retain(|path| path.extension().is_some_and(|found| found == EXTENSION));
    paths.sort();
    Ok(paths)
}

fn checksum(length: &[u8], number: &[u8], payload: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(length);
    sum.update(number);
    sum.update(payload);
    sum.finalize()
}
