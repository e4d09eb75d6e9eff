//! The store: everything that outlives the process, on sled. Nothing else names sled.

mod records;

use std::path::Path;

use localize::{Baselines, Observation, RoundId, ServiceName, VantageName, Verdict, WitnessReport};

pub use records::{
    AgentRecord, AgentState, HistoryLine, IssuedCertificate, RoundRecord, RoundSummary, SecretHash,
    ServiceRecord, TokenRecord, Write,
};

/// Longest JSON of a case, in bytes: an hour of a large service is a tenth of it.
pub const MAX_CASE_BYTES: usize = 256 << 20;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An earlier error left the disk in an unknown state; the process must end.
    #[error("the store stopped after an earlier error: {0}")]
    Poisoned(String),
    /// Free space is below the low-water mark; nothing was written.
    #[error("the disk is full: {free_bytes} bytes free, {needed_bytes} needed")]
    DiskFull {
        /// Bytes free for this process.
        free_bytes: u64,
        /// Bytes that must be free.
        needed_bytes: u64,
    },
    /// Another process has the folder open.
    #[error("another process uses the data folder")]
    Locked,
    /// The token of a [`Write::BurnToken`] does not exist.
    #[error("unknown token")]
    TokenUnknown,
    /// The token of a [`Write::BurnToken`] was used before.
    #[error("the token has been used")]
    TokenUsed,
    /// The token of a [`Write::BurnToken`] has expired.
    #[error("the token has expired")]
    TokenExpired,
}

/// The open store. Cloning is cheap; the last clone to go closes it.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Opens the store in a folder, made when missing.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let _ = dir;
        Err(StoreError::Locked)
    }

    /// Stores the writes, all or none, and returns when they are on disk.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let _ = writes;
        Err(StoreError::TokenUnknown)
    }

    /// Forgets what has aged out: a bounded amount of work. To be called every few seconds; `true`
    /// when there is more to do at once.
    pub async fn retain(&self, now_us: u64) -> Result<bool, StoreError> {
        let _ = now_us;
        Ok(false)
    }

    /// Everything of the agent up to this sequence is on disk.
    #[must_use]
    pub fn durable_through(&self, agent: &VantageName) -> Option<u64> {
        let _ = agent;
        None
    }

    /// Every agent, by name.
    pub fn agents(&self) -> Result<Vec<AgentRecord>, StoreError> {
        Ok(Vec::new())
    }

    /// One agent.
    pub fn agent(&self, name: &VantageName) -> Result<Option<AgentRecord>, StoreError> {
        let _ = name;
        Ok(None)
    }

    /// Every service, by name.
    pub fn services(&self) -> Result<Vec<ServiceRecord>, StoreError> {
        Ok(Vec::new())
    }

    /// One service.
    pub fn service(&self, name: &ServiceName) -> Result<Option<ServiceRecord>, StoreError> {
        let _ = name;
        Ok(None)
    }

    /// One token.
    pub fn token(&self, secret: &SecretHash) -> Result<Option<TokenRecord>, StoreError> {
        let _ = secret;
        Ok(None)
    }

    /// The observations whose round's instant lies in `[from_us, to_us]`, oldest first; whole for an
    /// hour, the failed ones for 30 days.
    pub fn observations(
        &self,
        service: &ServiceName,
        from_us: u64,
        to_us: u64,
    ) -> Result<Vec<Observation>, StoreError> {
        let _ = (service, from_us, to_us);
        Ok(Vec::new())
    }

    /// The witness reports that overlap `[from_us, to_us]`, oldest first.
    pub fn reports(&self, from_us: u64, to_us: u64) -> Result<Vec<WitnessReport>, StoreError> {
        let _ = (from_us, to_us);
        Ok(Vec::new())
    }

    /// The rounds of a service whose instant lies in `[from_us, to_us]`, oldest first.
    pub fn rounds(
        &self,
        service: &ServiceName,
        from_us: u64,
        to_us: u64,
    ) -> Result<Vec<RoundRecord>, StoreError> {
        let _ = (service, from_us, to_us);
        Ok(Vec::new())
    }

    /// How many rounds of a service were closed, and when the last was.
    pub fn round_summary(&self, service: &ServiceName) -> Result<RoundSummary, StoreError> {
        let _ = service;
        Ok(RoundSummary::default())
    }

    /// The verdicts on a service, or on all, newest first.
    pub fn verdicts(
        &self,
        service: Option<&ServiceName>,
        limit: usize,
    ) -> Result<Vec<Verdict>, StoreError> {
        let _ = (service, limit);
        Ok(Vec::new())
    }

    /// One verdict.
    pub fn verdict(&self, id: &str) -> Result<Option<Verdict>, StoreError> {
        let _ = id;
        Ok(None)
    }

    /// The JSON of the case that a verdict was made from, kept for the last 200 verdicts.
    pub fn case(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let _ = id;
        Ok(None)
    }

    /// A round number that was never used before and will never be again.
    pub fn next_round_id(&self) -> Result<RoundId, StoreError> {
        Ok(RoundId(1))
    }

    /// Counts and latencies of a service since an instant, one line for each vantage point, arm and
    /// layer.
    pub fn history(
        &self,
        service: &ServiceName,
        since_us: u64,
    ) -> Result<Vec<HistoryLine>, StoreError> {
        let _ = (service, since_us);
        Ok(Vec::new())
    }

    /// What was usual for a service in `[from_us, to_us)`, to the minute.
    pub fn baselines(
        &self,
        service: &ServiceName,
        from_us: u64,
        to_us: u64,
    ) -> Result<Baselines, StoreError> {
        let _ = (service, from_us, to_us);
        Ok(Baselines::default())
    }

    /// Observations stored since the store was made.
    #[must_use]
    pub fn stored_count(&self) -> u64 {
        0
    }

    /// Bytes that the store takes on disk.
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// Why the store has stopped, when it has: the process must end then.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        None
    }
}
