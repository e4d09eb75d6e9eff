//! A high mark beside the database: how many batches were written to it, as far as that is known outside.
//! A database that knows of fewer has lost its end.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::error::StoreError;

/// Its name in the store's folder.
pub(super) const FILE: &str = "mark";
/// The number, and its CRC-32; both big-endian. A sector is written whole or not at all.
const LENGTH: usize = 12;

/// The open mark.
#[derive(Debug)]
pub(super) struct Mark(File);

impl Mark {
    /// Opens the mark, made when missing, and tells what it says; `None` for a new one and for one that
    /// cannot be read.
    pub(super) fn open(dir: &Path) -> Result<(Self, Option<u64>), StoreError> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(FILE));
        let file = opened.map_err(StoreError::io("open the high mark"))?;
        let commits = read(&file).map_err(StoreError::io("read the high mark"))?;
        Ok((Self(file), commits))
    }

    /// Raises it. It is not forced to the disk: after a power cut it may lag, and says less, never more.
    pub(super) fn raise(&self, commits: u64) -> Result<(), StoreError> {
        let number = commits.to_be_bytes();
        let mut bytes = number.to_vec();
        bytes.extend_from_slice(&crc32fast::hash(&number).to_be_bytes());
        let written = self.0.write_all_at(&bytes, 0);
        written.map_err(StoreError::io("write the high mark"))
    }

    /// Forces it to the disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.0
            .sync_data()
            .map_err(StoreError::io("sync the high mark"))
    }
}

fn read(file: &File) -> io::Result<Option<u64>> {
    let mut bytes = [0; LENGTH];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let (number, sum) = bytes.split_at(8);
    let sound = crc32fast::hash(number).to_be_bytes() == *sum;
    let number = number.try_into().map(u64::from_be_bytes);
    Ok(number.ok().filter(|_| sound))
}
