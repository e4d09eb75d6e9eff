//! What the coordinator has not acknowledged yet, on disk.
//!
//! Records lie in segment files, each named by the first sequence number in it; the segments go as
//! wholes, when all of their records are acknowledged or when the spool is over its bound. A small
//! mark file beside them keeps what the segments cannot tell once they are gone.
//!
//! A record is handed to the kernel by the time that [`Spool::append`] returns, so that a kill loses
//! none. It is forced to the disk only when its segment ends: a power cut may cost the last segment,
//! which holds minutes of facts, while forcing every record would wear out the cheap flash of the
//! machines that agents live on. Sequence numbers survive both, since they are reserved in blocks
//! that are forced to the disk before the first of them is used.

mod mark;
mod segment;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use self::mark::Mark;
use self::segment::{Records, Segment};

/// Numbers reserved by one write of the mark. A crash skips at most this many, and a busy agent
/// writes the mark a few times an hour.
const RESERVED_BLOCK: u64 = 10_000;

/// No clock leads to a number from here on: microseconds of more than a hundred thousand years.
const FARTHEST: u64 = 1 << 62;

/// A segment's aim. Small enough that dropping one loses little and reading one costs little, for the
/// newest is read whenever a record is sent; large enough that a spool of 256 MiB has no more than
/// two thousand files.
const SEGMENT_BYTES: u64 = 1 << 17;

/// The longest record: what a gRPC message may hold by default, so a longer one could not be sent.
const MAX_RECORD: usize = 4 << 20;

/// What one call of [`Spool::pending_after`] reads at most, one record besides: the memory that a
/// resend holds, however many records were asked for.
const READ_BYTES: usize = 4 << 20;

/// A bounded queue of numbered records on disk, for one process at a time.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    max_bytes: u64,
    mark: Mark,
    /// Oldest first; none is empty.
    segments: VecDeque<Segment>,
    /// Numbers of records that were kept and are not there, first and last of each stretch; counted when
    /// the coordinator has said what of them it has.
    missing: Vec<(u64, u64)>,
    /// The last segment's file, while it is appended to.
    writer: Option<File>,
    next: u64,
    acknowledged: u64,
    lock: File,
}

/// The spool could not do it; nothing that it held is lost by that.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// Another process has the folder open.
    #[error("the spool {dir} is in use by another process")]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// The file system is full, or the quota used up. Works again when there is space.
    #[error("no space is left for the spool at {path}: records are refused until there is")]
    Full {
        /// The file that could not grow.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Any other failure of the file system.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A record that could never be kept or sent.
    #[error("a record of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The longest that is taken.
        limit: usize,
    },
}

impl Spool {
    /// Opens the folder, makes it if need be, and looks what of the records is whole.
    ///
    /// `first_sequence` is the first number of a new spool. It must be larger than any number that a
    /// lost spool of this agent can have used, as the Unix time in microseconds is. `max_bytes`
    /// bounds the segments on disk.
    ///
    /// # Errors
    /// When the folder is in use, or the file system refuses.
    pub fn open(dir: &Path, first_sequence: u64, max_bytes: u64) -> Result<Self, SpoolError> {
        fs::create_dir_all(dir).map_err(failed("make the folder", dir))?;
        let lock = lock(dir)?;
        let found = Mark::read(dir)?;
        let mut mark = found.clone().unwrap_or_default();
        let (segments, missing) = recover(dir, &mark)?;
        let after_last = segments.back().map_or(0, |segment| segment.last + 1);
        let next = match (&found, after_last) {
            (Some(found), _) => found.reserved.max(after_last),
            (None, 0) => first_sequence,
            // The records that were acknowledged and deleted may have had numbers above those left.
            (None, _) => first_sequence.max(after_last + RESERVED_BLOCK),
        };
        mark.reserved = next;
        Ok(Self {
            dir: dir.to_owned(),
            max_bytes,
            acknowledged: mark.acknowledged,
            mark,
            segments,
            missing,
            writer: None,
            next,
            lock,
        })
    }

    /// The number that the next record must carry.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Takes a record, which carries [`Self::next_sequence`], and drops the oldest segments if the
    /// bound asks for it.
    ///
    /// # Errors
    /// When the record is too long or the file system refuses. The record is not kept then, and the
    /// next one has the same number.
    pub fn append(&mut self, record: &[u8]) -> Result<(), SpoolError> {
        let bytes = self.fitting(record)?;
        self.reserve()?;
        while self.bytes() + bytes > self.max_bytes && !self.segments.is_empty() {
            self.drop_oldest()?;
        }
        let full = |segment: &Segment| segment.bytes + bytes > self.segment_bytes();
        if self.segments.back().is_some_and(full) {
            self.seal()?;
        }
        match self.writer.take() {
            Some(file) => self.extend(file, record),
            None => self.begin(record),
        }
    }

    /// Forgets every record up to and including `through`. Where that was never given out, an earlier
    /// spool of this agent is lost whose clock was ahead: the next record is numbered beyond it, since
    /// lower numbers would be taken for repeats, and those at hand are counted as dropped. What no clock
    /// could have led to counts as the last one given.
    ///
    /// # Errors
    /// When a segment cannot be removed; it is tried again at the next call.
    pub fn acknowledge(&mut self, through: u64) -> Result<(), SpoolError> {
        let given = self.next.saturating_sub(1);
        if through > given && through < FARTHEST {
            self.leap(through)?;
        }
        let given = self.next.saturating_sub(1);
        self.acknowledged = self.acknowledged.max(through.min(given));
        self.count_missing()?;
        let goes = |segment: &Segment| segment.last <= self.acknowledged;
        let written_to = usize::from(self.writer.is_some());
        let ended = self.segments.len().saturating_sub(written_to);
        let going = self
            .segments
            .iter()
            .take(ended)
            .take_while(|s| goes(s))
            .count();
        if going > 0 {
            // The mark goes first: a segment that is gone and not acknowledged there would count as lost.
            self.replace_mark(self.mark.clone())?;
        }
        for _ in 0..going {
            if let Some(oldest) = self.segments.front() {
                remove(&oldest.path)?;
                self.segments.pop_front();
            }
        }
        Ok(())
    }

    /// At the start of a session: as [`Self::acknowledge`], and where the coordinator has less than it
    /// had acknowledged, what of the rest is still at hand is pending again.
    ///
    /// # Errors
    /// As there.
    pub fn welcomed(&mut self, through: u64) -> Result<(), SpoolError> {
        if through < self.acknowledged {
            tracing::warn!(
                through,
                acknowledged = self.acknowledged,
                "the coordinator has lost what it had acknowledged; what is still here goes again"
            );
            self.acknowledged = through;
        }
        self.acknowledge(through)
    }

    /// Counts what was kept and is not there as dropped, but for what the coordinator has.
    fn count_missing(&mut self) -> Result<(), SpoolError> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let beyond = |(first, last): &(u64, u64)| {
            let first = (*first).max(self.acknowledged + 1);
            (last + 1).saturating_sub(first)
        };
        let lost: u64 = self.missing.iter().map(beyond).sum();
        if lost > 0 {
            tracing::warn!(
                lost,
                "records of the spool are damaged or gone, and count as dropped"
            );
        }
        let mut mark = self.mark.clone();
        mark.dropped += lost;
        mark.counted.append(&mut self.missing);
        self.replace_mark(mark)
    }

    fn leap(&mut self, through: u64) -> Result<(), SpoolError> {
        let mut lost = 0;
        for segment in &self.segments {
            lost += segment.records_after(self.acknowledged)?;
        }
        tracing::warn!(
            through,
            lost,
            "the coordinator has higher numbers of this agent than its spool; the next record goes beyond them"
        );
        self.acknowledged = through;
        // The numbers of a segment follow each other.
        self.seal()?;
        self.replace_mark(Mark {
            reserved: through + RESERVED_BLOCK,
            dropped: self.mark.dropped + lost,
            ..self.mark.clone()
        })?;
        self.next = through + 1;
        Ok(())
    }

    /// The oldest records that have a number above `sequence` and are not acknowledged: at most
    /// `max`, and fewer when they are long. An empty answer means that there are none.
    ///
    /// # Errors
    /// When a segment cannot be read.
    pub fn pending_after(
        &self,
        sequence: u64,
        max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, SpoolError> {
        let floor = sequence.max(self.acknowledged);
        let mut pending = Vec::new();
        let mut read = 0;
        for segment in self.segments.iter().filter(|segment| segment.last > floor) {
            let content = segment.read()?;
            for (number, record) in Records::of(&content).filter(|(number, _)| *number > floor) {
                if pending.len() >= max || read >= READ_BYTES {
                    return Ok(pending);
                }
                read += record.len();
                pending.push((number, record.to_vec()));
            }
        }
        Ok(pending)
    }

    /// Bytes of the segments on disk. The segment that is appended to counts in full, even where its
    /// records are acknowledged.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Records that were dropped unacknowledged since the folder was made, those that were damaged
    /// included. What a power cut takes whole from the end of the last segment leaves no trace, and a torn
    /// end there counts as one.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.mark.dropped
    }

    /// The length that the record takes on disk.
    fn fitting(&self, record: &[u8]) -> Result<u64, SpoolError> {
        let room = usize::try_from(self.max_bytes).unwrap_or(usize::MAX);
        let limit = MAX_RECORD.min(room.saturating_sub(segment::HEADER));
        if record.len() > limit {
            return Err(SpoolError::TooLarge {
                bytes: record.len(),
                limit,
            });
        }
        Ok((segment::HEADER + record.len()) as u64)
    }

    /// A small spool has small segments, so that dropping one leaves most of the records.
    fn segment_bytes(&self) -> u64 {
        SEGMENT_BYTES.min(self.max_bytes / 8)
    }

    fn reserve(&mut self) -> Result<(), SpoolError> {
        if self.next < self.mark.reserved {
            return Ok(());
        }
        self.replace_mark(Mark {
            reserved: self.next + RESERVED_BLOCK,
            ..self.mark.clone()
        })
    }

    /// The mark goes first: when the process dies in between, the next start finishes the removal,
    /// and the records are counted once.
    fn drop_oldest(&mut self) -> Result<(), SpoolError> {
        let Some(oldest) = self.segments.front() else {
            return Ok(());
        };
        let lost = oldest.records_after(self.acknowledged)?;
        let (path, through) = (oldest.path.clone(), oldest.last);
        if through > self.mark.dropped_through {
            self.replace_mark(Mark {
                dropped: self.mark.dropped + lost,
                dropped_through: through,
                ..self.mark.clone()
            })?;
        }
        remove(&path)?;
        if self.segments.len() == 1 {
            self.writer = None;
        }
        self.segments.pop_front();
        Ok(())
    }

    /// Forces the last segment to the disk; the next record begins another.
    fn seal(&mut self) -> Result<(), SpoolError> {
        if let (Some(file), Some(segment)) = (&self.writer, self.segments.back()) {
            file.sync_data()
                .map_err(failed("force to the disk", &segment.path))?;
            sync_folder(&self.dir)?;
            let mut mark = self.mark.clone();
            mark.ended.push((segment.first, segment.last));
            self.replace_mark(mark)?;
        }
        self.writer = None;
        Ok(())
    }

    /// Begins a segment with the record.
    fn begin(&mut self, record: &[u8]) -> Result<(), SpoolError> {
        let path = segment::path(&self.dir, self.next);
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path);
        let file = opened.map_err(failed("make", &path))?;
        let bytes = segment::encode(self.next, record);
        if let Err(error) = file.write_all_at(&bytes, 0) {
            // Nothing is in it: a leftover would be removed at the next start anyway.
            let _ = fs::remove_file(&path);
            return Err(failed("write to", &path)(error));
        }
        self.segments.push_back(Segment {
            path,
            first: self.next,
            last: self.next,
            bytes: bytes.len() as u64,
        });
        self.writer = Some(file);
        self.next += 1;
        Ok(())
    }

    /// Adds the record to the last segment, at the end of its whole records: what a failed write left
    /// behind them is cut off, at once or, should that fail too, at the next start.
    fn extend(&mut self, file: File, record: &[u8]) -> Result<(), SpoolError> {
        let Some(segment) = self.segments.back_mut() else {
            return self.begin(record);
        };
        let bytes = segment::encode(self.next, record);
        if let Err(error) = file.write_all_at(&bytes, segment.bytes) {
            // A segment that could not be cut is not written to again.
            if file.set_len(segment.bytes).is_ok() {
                self.writer = Some(file);
            }
            return Err(failed("write to", &segment.path)(error));
        }
        segment.last = self.next;
        segment.bytes += bytes.len() as u64;
        self.writer = Some(file);
        self.next += 1;
        Ok(())
    }

    fn replace_mark(&mut self, mut mark: Mark) -> Result<(), SpoolError> {
        mark.acknowledged = self.acknowledged;
        let done = mark.acknowledged.max(mark.dropped_through);
        mark.ended.retain(|(_, last)| *last > done);
        mark.counted.retain(|(_, last)| *last > done);
        mark.write(&self.dir)?;
        self.mark = mark;
        Ok(())
    }
}

impl Drop for Spool {
    /// A clean end gives back the numbers that were reserved and not used. When it fails, the next
    /// start skips them.
    fn drop(&mut self) {
        let ended = self.seal().and_then(|()| {
            let given_back = Mark {
                reserved: self.next,
                ..self.mark.clone()
            };
            self.replace_mark(given_back)
        });
        // Closing the file would not do while a process that is just being started has a copy of it.
        let _ = self.lock.unlock();
        if let Err(error) = ended {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the spool did not end cleanly"
            );
        }
    }
}

/// Makes the error of an operation on a file.
fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        if full.contains(&source.kind()) {
            return SpoolError::Full { path, source };
        }
        SpoolError::Io {
            operation,
            path,
            source,
        }
    }
}

fn lock(dir: &Path) -> Result<File, SpoolError> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(failed("make", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse {
            dir: dir.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
    }
}

/// Numbers, first and last of each stretch.
type Stretches = Vec<(u64, u64)>;

/// Reads every segment, removes what is empty or was counted as dropped, and tells what is missing.
fn recover(dir: &Path, mark: &Mark) -> Result<(VecDeque<Segment>, Stretches), SpoolError> {
    let (mut segments, mut missing) = (VecDeque::new(), Vec::new());
    let mut ended: BTreeMap<u64, u64> = mark.ended.iter().copied().collect();
    for path in segment::list(dir)? {
        let found = Segment::recover(&path)?;
        let last = found.segment.as_ref().map(|segment| segment.last);
        let after = last.map_or(found.first, |last| last + 1);
        let wanted = |last: u64| last > mark.dropped_through;
        let holes = found.holes.into_iter();
        let mut lost: Stretches = holes.filter(|(_, last)| wanted(*last)).collect();
        match ended.remove(&found.first) {
            Some(ended) if ended >= after && wanted(ended) => lost.push((after, ended)),
            Some(_) => {}
            // It was not ended: how much of the torn end were whole records nobody knows, but for one.
            None if found.torn && wanted(after) => lost.push((after, after)),
            None => {}
        }
        if !lost.is_empty() {
            tracing::warn!(path = %path.display(), ?lost, "a segment is damaged");
        }
        missing.append(&mut lost);
        match found.segment {
            Some(segment) if wanted(segment.last) => segments.push_back(segment),
            Some(_) | None => remove(&path)?,
        }
    }
    let gone = ended
        .into_iter()
        .filter(|(_, last)| *last > mark.dropped_through);
    for (first, last) in gone {
        tracing::warn!(first, last, "a segment is gone");
        missing.push((first, last));
    }
    Ok((segments, without(missing, &mark.counted)))
}

/// What of some stretches is in none of others.
fn without(stretches: Stretches, others: &[(u64, u64)]) -> Stretches {
    let mut left = stretches;
    for (from, to) in others {
        let around = |(first, last): (u64, u64)| {
            let before = (first, last.min(from.saturating_sub(1)));
            let after = (first.max(to + 1), last);
            match last < *from || first > *to {
                true => [Some((first, last)), None],
                false => [Some(before), Some(after)],
            }
        };
        let parts = left.into_iter().flat_map(around).flatten();
        left = parts.filter(|(first, last)| first <= last).collect();
    }
    left
}

fn remove(path: &Path) -> Result<(), SpoolError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync_folder(dir: &Path) -> Result<(), SpoolError> {
    let synced = File::open(dir).and_then(|folder| folder.sync_all());
    synced.map_err(failed("force to the disk", dir))
}

#[cfg(test)]
mod tests;
