//! What all agents together have sent and been acknowledged.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Longest wait for an acknowledgement that is told apart, in milliseconds.
const LONGEST_MS: u64 = 600_000;

/// Counts of the whole fleet since the start.
#[derive(Debug)]
pub struct Counts {
    pub connected: AtomicU64,
    /// Sessions that the coordinator has ended.
    pub lost: AtomicU64,
    /// Arms of the rounds that were announced.
    pub asked: AtomicU64,
    pub sent: AtomicU64,
    pub acknowledged: AtomicU64,
    /// From the instant of a round to its acknowledgement, in milliseconds.
    waits: Mutex<Histogram<u64>>,
}

/// The same at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    pub asked: u64,
    pub sent: u64,
    pub acknowledged: u64,
}

impl Counts {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            connected: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            waits: Mutex::new(Histogram::new_with_bounds(1, LONGEST_MS, 3)?),
        })
    }

    /// A whole round of one agent is on the coordinator's disk.
    pub fn waited(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(LONGEST_MS);
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.saturating_record(ms);
    }

    /// Median and 99th percentile of the waits since the last call, in milliseconds.
    pub fn take_waits(&self) -> (u64, u64) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = (waits.value_at_quantile(0.5), waits.value_at_quantile(0.99));
        waits.reset();
        taken
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            asked: self.asked.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            acknowledged: self.acknowledged.load(Ordering::Relaxed),
        }
    }
}
