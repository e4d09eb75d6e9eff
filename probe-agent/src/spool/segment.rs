//! One file of records.
//!
//! A record is, in little-endian order, its payload's length (4 bytes), the CRC-32 of all that
//! follows and of the length (4), its sequence number (8), and the payload.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use super::{MAX_RECORD, SpoolError, failed};

/// Bytes before the payload.
pub(super) const HEADER: usize = 16;

const EXTENSION: &str = "segment";

/// A segment with at least one record.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// The number of its last record.
    pub(super) last: u64,
    /// How many records it has.
    pub(super) records: u64,
    /// The length of its whole records.
    pub(super) bytes: u64,
}

/// The whole records at the start of a segment's content, up to the first that is damaged.
pub(super) struct Records<'a> {
    content: &'a [u8],
    /// Length of the records given so far.
    whole: usize,
    last: Option<u64>,
}

impl Segment {
    /// Reads a segment and cuts off what is not a whole record; gives the segment, unless nothing is
    /// left, and the number of bytes cut.
    pub(super) fn recover(path: &Path) -> Result<(Option<Self>, u64), SpoolError> {
        let content = fs::read(path).map_err(failed("read", path))?;
        let mut found = Records::of(&content);
        let records = found.by_ref().count() as u64;
        let (bytes, length) = (found.whole as u64, content.len() as u64);
        if bytes < length {
            let opened = OpenOptions::new().write(true).open(path);
            opened
                .and_then(|file| file.set_len(bytes))
                .map_err(failed("cut", path))?;
        }
        let segment = found.last.map(|last| Self {
            path: path.to_owned(),
            last,
            records,
            bytes,
        });
        Ok((segment, length - bytes))
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
            whole: 0,
            last: None,
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.content.get(self.whole..)?;
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
        if self.last.is_some_and(|last| number <= last) {
            return None;
        }
        self.whole += HEADER + size;
        self.last = Some(number);
        Some((number, payload))
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
