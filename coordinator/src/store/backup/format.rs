//! A backup as a file.
//!
//! A line of JSON says what it is; behind it stand blocks of records, each deflated (RFC 1951) with its
//! length before it, a length of zero, and the SHA-256 of everything up to there. All numbers are 32 bits,
//! big-endian; in a block stand the length of a key, the length of its value, and both. The line can be
//! read by `head -1`, and a file that is cut or changed anywhere is told from a whole one.

use std::io::{self, BufRead, BufReader, Read, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{BackupError, Record};
use crate::store::ledger::Ledger;

/// The form that this version writes and reads.
const FORMAT: u32 = 1;
/// What the file begins with in any form.
const BEGIN: &[u8] = b"{\"mesh_backup\":";
/// Longest first line, in bytes: it has a dozen numbers for each of some twenty kinds of record.
const LONGEST_HEADER: u64 = 64 << 10;
/// Records are gathered to so many bytes for a block.
const BLOCK_BYTES: usize = 256 << 10;
/// Largest block that is read, deflated or not: one of those and its last record.
const LARGEST_BLOCK: u32 = 1 << 20;
/// Bytes of the checksum.
const SUM_BYTES: usize = 32;

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    mesh_backup: u32,
    pub(super) version: String,
    /// RFC 3339, for people; the number below counts.
    taken_at: String,
    /// In microseconds since the Unix epoch.
    pub(super) taken_us: u64,
    /// Fingerprint of the authority that the agents rely on, whose key is not in the file.
    pub(super) authority: Option<String>,
    /// Layout of the records.
    pub(super) layout: u64,
    /// What the records add up to.
    pub(super) ledger: Ledger,
}

/// What every form of the file begins with.
#[derive(Deserialize)]
struct Origin {
    mesh_backup: u32,
    version: String,
}

impl Header {
    pub(super) fn new(taken_us: u64, authority: Option<String>, ledger: Ledger) -> Self {
        Self {
            mesh_backup: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            taken_at: crate::clock::rfc3339(taken_us),
            taken_us,
            authority,
            layout: crate::store::LAYOUT,
            ledger,
        }
    }
}

/// Makes the file, in pieces.
pub(super) struct Encoder {
    sum: Sha256,
    bytes: u64,
    block: Vec<u8>,
}

/// The whole file in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of all of it, in hexadecimal.
    pub sha256: String,
}

impl Encoder {
    pub(super) fn begin(header: &Header) -> Result<(Self, Vec<u8>), serde_json::Error> {
        let mut line = serde_json::to_vec(header)?;
        line.push(b'\n');
        let mut encoder = Self {
            sum: Sha256::new(),
            bytes: 0,
            block: Vec::with_capacity(BLOCK_BYTES),
        };
        encoder.count(&line);
        Ok((encoder, line))
    }

    /// Adds a record; a piece of the file when a block is full.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) -> io::Result<Option<Vec<u8>>> {
        for part in [key, value] {
            self.block.extend_from_slice(&length(part.len())?);
        }
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(value);
        if self.block.len() < BLOCK_BYTES {
            return Ok(None);
        }
        self.end_block().map(Some)
    }

    fn end_block(&mut self) -> io::Result<Vec<u8>> {
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflated.write_all(&self.block)?;
        let deflated = deflated.finish()?;
        self.block.clear();
        let mut piece = length(deflated.len())?.to_vec();
        piece.extend_from_slice(&deflated);
        self.count(&piece);
        Ok(piece)
    }

    /// The rest of the file.
    pub(super) fn finish(mut self) -> io::Result<(Vec<u8>, Written)> {
        let mut rest = match self.block.is_empty() {
            true => Vec::new(),
            false => self.end_block()?,
        };
        let end = length(0)?;
        self.count(&end);
        let sum = self.sum.clone().finalize();
        self.count(&sum);
        rest.extend_from_slice(&end);
        rest.extend_from_slice(&sum);
        let sha256 = hex::encode(self.sum.finalize());
        let bytes = self.bytes;
        Ok((rest, Written { bytes, sha256 }))
    }

    fn count(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

fn length(bytes: usize) -> io::Result<[u8; 4]> {
    let length = u32::try_from(bytes).map_err(io::Error::other)?;
    Ok(length.to_be_bytes())
}

/// Reads the file, and believes nothing of it.
pub(super) struct Decoder<R> {
    file: BufReader<R>,
    sum: Sha256,
    bytes: u64,
}

impl<R: Read> Decoder<R> {
    /// Reads the first line.
    pub(super) fn begin(file: R) -> Result<(Self, Header), BackupError> {
        let mut file = BufReader::new(file);
        let mut line = Vec::new();
        let read = file
            .by_ref()
            .take(LONGEST_HEADER)
            .read_until(b'\n', &mut line);
        read.map_err(BackupError::Read)?;
        if !line.starts_with(BEGIN) {
            return Err(BackupError::NotOne);
        }
        if !line.ends_with(b"\n") {
            let after = line.len() as u64;
            return Err(BackupError::Cut { after });
        }
        let unreadable = |_| BackupError::Damaged("its first line does not say what it should");
        let origin: Origin = serde_json::from_slice(&line).map_err(unreadable)?;
        if origin.mesh_backup != FORMAT {
            return Err(BackupError::Later {
                format: origin.mesh_backup,
                version: origin.version,
            });
        }
        let header: Header = serde_json::from_slice(&line).map_err(unreadable)?;
        let mut decoder = Self {
            file,
            sum: Sha256::new(),
            bytes: 0,
        };
        decoder.count(&line);
        Ok((decoder, header))
    }

    /// The records of the next block; `None` behind the last, when the checksum holds.
    pub(super) fn block(&mut self) -> Result<Option<Vec<Record>>, BackupError> {
        let length = u32::from_be_bytes(self.take()?);
        if length == 0 {
            return self.end().map(|()| None);
        }
        if length > LARGEST_BLOCK {
            return Err(BackupError::Damaged("a block is longer than any can be"));
        }
        let mut deflated = vec![0; length as usize];
        self.fill(&mut deflated)?;
        let mut block = Vec::new();
        let inflate = DeflateDecoder::new(deflated.as_slice());
        let inflated = inflate
            .take(u64::from(LARGEST_BLOCK) + 1)
            .read_to_end(&mut block);
        if inflated.is_err() || block.len() > LARGEST_BLOCK as usize {
            return Err(BackupError::Damaged("a block does not inflate"));
        }
        let records = records(&block);
        records
            .map(Some)
            .ok_or(BackupError::Damaged("a block does not hold whole records"))
    }

    fn end(&mut self) -> Result<(), BackupError> {
        let expected = self.sum.clone().finalize();
        let written: [u8; SUM_BYTES] = self.take()?;
        if *expected != written {
            return Err(BackupError::Damaged(
                "its SHA-256 is not the one that it was written with",
            ));
        }
        match self.file.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(BackupError::Damaged("something stands behind its end")),
            Err(error) => Err(BackupError::Read(error)),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        let after = self.bytes;
        let filled = self.file.read_exact(bytes);
        filled.map_err(|error| match error.kind() == io::ErrorKind::UnexpectedEof {
            true => BackupError::Cut { after },
            false => BackupError::Read(error),
        })?;
        self.count(bytes);
        Ok(())
    }

    fn count(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

/// The records of an inflated block; `None` when they are not whole.
fn records(mut block: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while !block.is_empty() {
        let (key, rest) = block.split_first_chunk()?;
        let (value, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(u32::from_be_bytes(*key) as usize)?;
        let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*value) as usize)?;
        records.push((key.to_vec(), value.to_vec()));
        block = rest;
    }
    Some(records)
}
