//! Opening the database and making writes durable.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg, posix_fallocate};
use nix::sys::statvfs::statvfs;

use serde::de::DeserializeOwned;

use super::error::StoreError;
use super::mark::Mark;
use super::staging::MAX_RECORD_BYTES;
use super::value;

/// Memory for sled's pages. Its own default of a gigabyte is more than small hosts have.
const CACHE_BYTES: u64 = 64 << 20;

/// Below this much free space opening is known to fail or to spin.
const OPENING_BYTES: u64 = 8 << 20;

/// As long as sled may take to let go of its own lock: it writes out what is in memory first.
const OPENING_TRIES: u32 = 250;
const OPENING_PAUSE: Duration = Duration::from_millis(20);

/// How much of the disk is left to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceLimits {
    /// Commits are refused while less than this is free, in bytes.
    pub low_water: u64,
    /// Size of a file kept only to be deleted when the disk is full at start-up, in bytes: sled
    /// cannot open without some room.
    pub ballast: u64,
}

impl Default for SpaceLimits {
    fn default() -> Self {
        Self {
            low_water: 64 << 20,
            ballast: 16 << 20,
        }
    }
}

/// The database with all that makes a write durable.
pub(super) struct Disk {
    /// The one tree in use is the default one: a batch is atomic in one tree alone.
    pub(super) db: sled::Db,
    /// sled's own file: its `flush` leaves the data in the page cache, so it is synced here.
    file: File,
    dir: PathBuf,
    space: SpaceLimits,
    _lock: Flock<File>,
}

impl Disk {
    /// Opens the database, and the high mark beside it with what that says.
    pub(super) fn open(
        dir: &Path,
        space: SpaceLimits,
    ) -> Result<(Self, Mark, Option<u64>), StoreError> {
        fs::create_dir_all(dir).map_err(StoreError::io("make the data folder"))?;
        let lock = lock(dir)?;
        remove_torn_snapshots(dir)?;
        make_room(dir, space)?;
        let (mark, commits) = Mark::open(dir)?;
        if let Some(commits) = commits
            && !dir.join("db").exists()
        {
            return Err(StoreError::Gone { commits });
        }
        let db = guarded("be opened", || open_database(dir))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(dir.join("db"))
            .map_err(StoreError::io("open the database's file"))?;
        sync_folder(dir)?;
        keep_ballast(dir, space)?;
        let disk = Self {
            db,
            file,
            dir: dir.to_owned(),
            space,
            _lock: lock,
        };
        Ok((disk, mark, commits))
    }

    /// A record of one piece.
    pub(super) fn read<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        let Some(head) = self.db.get(key).map_err(StoreError::database("read"))? else {
            return Ok(None);
        };
        value::unpack(&head, std::iter::empty(), MAX_RECORD_BYTES)
            .and_then(|bytes| value::parse(&bytes))
            .map(Some)
            .map_err(StoreError::damaged(key))
    }

    /// Applies a batch, which [`Self::sync`] makes durable. After an error the state is unknown.
    pub(super) fn apply(&self, batch: sled::Batch) -> Result<(), StoreError> {
        self.db
            .apply_batch(batch)
            .map_err(StoreError::database("apply a batch"))
    }

    /// Returns when what was applied is on disk. After an error the state is unknown.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.db
            .flush()
            .map_err(StoreError::database("flush the database"))?;
        self.file
            .sync_data()
            .map_err(StoreError::io("sync the database's file"))
    }

    /// Refuses when less than the low-water mark, or the given share of it, is free.
    pub(super) fn check_space(&self, share: f64) -> Result<(), StoreError> {
        let free_bytes = free_bytes(&self.dir)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a limit, to the byte or not"
        )]
        let needed_bytes = (self.space.low_water as f64 * share) as u64;
        if free_bytes < needed_bytes {
            return Err(StoreError::DiskFull {
                free_bytes,
                needed_bytes,
            });
        }
        Ok(())
    }
}

/// Takes the folder for this process. The kernel gives it back however the process ends.
pub(super) fn lock(dir: &Path) -> Result<Flock<File>, StoreError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))
        .map_err(StoreError::io("open the lock file"))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        if errno == nix::errno::Errno::EWOULDBLOCK {
            StoreError::Locked
        } else {
            StoreError::io("lock the data folder")(errno)
        }
    })
}

/// sled's threads may keep its own lock for a moment after this process has closed it. No other
/// process can be the one that holds it: the folder is ours by then.
pub(super) fn open_database(dir: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::default()
        .path(dir)
        .cache_capacity(CACHE_BYTES);
    let mut patience = OPENING_TRIES;
    loop {
        match config.open() {
            Err(sled::Error::Io(error)) if patience > 0 && is_lock_taken(&error) => {
                patience -= 1;
                std::thread::sleep(OPENING_PAUSE);
            }
            opened => return opened.map_err(StoreError::database("open the database")),
        }
    }
}

/// Works on the database, whose code asserts by panics what damage makes untrue.
pub(super) fn guarded<T>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let done = std::panic::catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(StoreError::GaveUp {
            operation,
            said: text.unwrap_or("no reason given").to_owned(),
        })
    })
}

/// sled wraps the kernel's answer in a text.
fn is_lock_taken(error: &std::io::Error) -> bool {
    error.to_string().starts_with("could not acquire lock")
}

/// A kill while sled writes a snapshot leaves `snap.N.generating`, which it would take for the newest
/// snapshot at the next start and find corrupt. The log alone is enough to recover from.
fn remove_torn_snapshots(dir: &Path) -> Result<(), StoreError> {
    let list = StoreError::io("list the data folder");
    for entry in fs::read_dir(dir).map_err(&list)? {
        let entry = entry.map_err(&list)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path()).map_err(StoreError::io("remove a torn snapshot"))?;
        }
    }
    Ok(())
}

/// Gives the ballast up when there is little room, and refuses to open when that is not enough.
fn make_room(dir: &Path, space: SpaceLimits) -> Result<(), StoreError> {
    let db_bytes = fs::metadata(dir.join("db")).map_or(0, |meta| meta.len());
    if free_bytes(dir)? >= db_bytes / 10 + space.low_water {
        return Ok(());
    }
    match fs::remove_file(ballast(dir)) {
        Ok(()) => tracing::warn!("little disk space: the ballast was given up"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(StoreError::io("remove the ballast")(error)),
    }
    let free_bytes = free_bytes(dir)?;
    if free_bytes < OPENING_BYTES {
        return Err(StoreError::DiskFull {
            free_bytes,
            needed_bytes: OPENING_BYTES,
        });
    }
    Ok(())
}

/// Lays the ballast down where there is ample room.
fn keep_ballast(dir: &Path, space: SpaceLimits) -> Result<(), StoreError> {
    let path = ballast(dir);
    let room = space
        .low_water
        .saturating_add(space.ballast.saturating_mul(2));
    if path.exists() || space.ballast == 0 || free_bytes(dir)? < room {
        return Ok(());
    }
    let file = File::create(&path).map_err(StoreError::io("make the ballast"))?;
    let length = i64::try_from(space.ballast).unwrap_or(i64::MAX);
    // Not every file system can do it, and the store works without.
    if let Err(error) = posix_fallocate(file.as_fd(), 0, length) {
        tracing::debug!(%error, "no ballast");
    }
    Ok(())
}

fn ballast(dir: &Path) -> PathBuf {
    dir.join("ballast")
}

/// A file just made is there after a power cut only when its folder was synced too.
fn sync_folder(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|folder| folder.sync_all())
        .map_err(StoreError::io("sync the data folder"))
}

fn free_bytes(dir: &Path) -> Result<u64, StoreError> {
    let stat = statvfs(dir).map_err(StoreError::io("read the free space"))?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}
