//! The log of operators' acts: in the batch of the act itself, each record with the SHA-256 of the one before.
//!
//! What is hashed are the bytes of a record as they lie in the store, so that nothing of it can be changed
//! without a trace. Beside the records stand the head (number and hash of the last one) and, once old ones
//! have been forgotten, the anchor (the same of the last one that was): what is left is still a whole chain.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::error::StoreError;
use super::key::{self, Kind};
use super::retention::SWEEP_KEYS;
use super::series::DAY_US;
use super::shared::Shared;
use super::staging::Staging;
use super::value::{self, Packed};
use crate::rights::{Call, OperatorRole};

/// Acts kept: some thirty megabytes, and ten a minute for a week.
const ACTS_KEPT: u64 = 100_000;
/// How long they are kept, in microseconds: a year, and a month to look at it.
const KEPT_US: u64 = 400 * DAY_US;

/// The head.
const HEAD: &[u8] = b"acts_head";
/// The anchor.
const ANCHOR: &[u8] = b"acts_anchor";

/// Something that an operator did, or wanted to do; without any secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// When, in microseconds since the Unix epoch.
    pub at_us: u64,
    /// Who; [`crate::operators::HOST`] for somebody on the coordinator's own host.
    pub operator: String,
    /// The role at that time; `None` for whoever has none.
    pub role: Option<OperatorRole>,
    /// What.
    pub deed: Deed,
    /// On what: the name or id of an agent, a service, an operator, a silence or a receiver; empty where
    /// it is about the whole, or was refused before that was read.
    pub object: String,
    /// What came of it.
    pub outcome: ActOutcome,
    /// Refused acts of the same operator before this one that were not written down, for there were too
    /// many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

impl Act {
    /// One that is done, by nobody with a role.
    #[must_use]
    pub fn new(at_us: u64, operator: &str, deed: Deed, object: String) -> Self {
        Self {
            at_us,
            operator: operator.to_owned(),
            role: None,
            deed,
            object,
            outcome: ActOutcome::Done,
            left_out: 0,
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Deed {
    /// By a call of the operators' service.
    Call(Call),
    /// On the coordinator's own host.
    Host(HostDeed),
}

/// What is done on the coordinator's own host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostDeed {
    /// The first operator was given a context, and with it the role of an admin.
    WriteContext,
    /// The store was made from a backup.
    Restore,
}

impl Deed {
    /// Its name; of a call that in `mesh.v1`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Call(call) => call.name(),
            Self::Host(HostDeed::WriteContext) => "WriteContext",
            Self::Host(HostDeed::Restore) => "Restore",
        }
    }
}

/// What came of an act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActOutcome {
    /// What it changes is in the same batch as its record.
    Done,
    /// It changes nothing in the store, and was written down before it began.
    Begun,
    /// Nothing was done; with the code of the refusal, whose text may hold what a file says.
    Refused(String),
}

/// An act in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActRecord {
    /// Its place, from 1.
    pub number: u64,
    /// SHA-256 of the record before, in hexadecimal; empty for the first.
    pub previous: String,
    /// The act.
    #[serde(flatten)]
    pub act: Act,
}

/// Which acts are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActFilter {
    /// Not older than this, in microseconds since the Unix epoch.
    pub since_us: u64,
    /// Of one operator alone.
    pub operator: Option<String>,
    /// At most so many, the newest.
    pub limit: usize,
}

/// A place in the chain: a record's number, and the SHA-256 of its bytes in hexadecimal. Zero and empty before
/// the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActPlace {
    /// The record's number.
    pub number: u64,
    /// Its hash.
    pub sha256: String,
}

/// What a look at the whole chain has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActChain {
    /// Number of the first record that is kept; what was before it has aged out.
    pub first: u64,
    /// The last record.
    pub head: ActPlace,
    /// Where it breaks first, if it does: at which record, and how.
    pub broken: Option<(u64, &'static str)>,
}

/// Adds an act to the end of the chain.
pub(super) fn append(staging: &mut Staging<'_>, act: Act) -> Result<(), StoreError> {
    let head = staging.get::<ActPlace>(&Kind::Meta.key(HEAD))?;
    let head = head.unwrap_or_default();
    let record = ActRecord {
        number: head.number + 1,
        previous: head.sha256,
        act,
    };
    let bytes = serde_json::to_vec(&record)?;
    let next = place(record.number, &bytes);
    staging.put(key::act(next.number), &Packed::bytes(bytes))?;
    staging.put(Kind::Meta.key(HEAD), &Packed::json(&next)?)
}

/// Forgets the oldest acts, of a bounded number at a time, and remembers where the chain went on.
pub(super) fn forget(
    shared: &Shared,
    staging: &mut Staging<'_>,
    now_us: u64,
) -> Result<(), StoreError> {
    let head = head(shared)?.number;
    let mut anchor = None;
    for entry in shared.disk.db.range(Kind::Act.start()..Kind::Act.end()) {
        let (key, value) = entry.map_err(StoreError::database("list acts"))?;
        let Some(bytes) = shared.listed_bytes(&key, &value)? else {
            break;
        };
        let record: ActRecord = value::parse(&bytes).map_err(StoreError::damaged(&key))?;
        let surplus = head.saturating_sub(record.number) >= ACTS_KEPT;
        let aged = record.act.at_us < now_us.saturating_sub(KEPT_US);
        if !(surplus || aged) || staging.len() >= SWEEP_KEYS {
            break;
        }
        staging.remove(&key)?;
        anchor = Some(place(record.number, &bytes));
    }
    match anchor {
        Some(anchor) => staging.put(Kind::Meta.key(ANCHOR), &Packed::json(&anchor)?),
        None => Ok(()),
    }
}

/// The wanted acts, newest first, each with its place.
pub(super) fn list(
    shared: &Shared,
    wanted: &ActFilter,
) -> Result<Vec<(ActRecord, ActPlace)>, StoreError> {
    let mut found = Vec::new();
    let range = Kind::Act.start()..Kind::Act.end();
    for entry in shared.disk.db.range(range).rev() {
        if found.len() >= wanted.limit {
            break;
        }
        let (key, value) = entry.map_err(StoreError::database("list acts"))?;
        let Some(bytes) = shared.listed_bytes(&key, &value)? else {
            continue;
        };
        let Ok(record) = value::parse::<ActRecord>(&bytes) else {
            continue;
        };
        let of_operator = |name: &String| record.act.operator == *name;
        if record.act.at_us >= wanted.since_us && wanted.operator.as_ref().is_none_or(of_operator) {
            let place = place(record.number, &bytes);
            found.push((record, place));
        }
    }
    Ok(found)
}

/// Holds every record against the one before it, from the anchor to the head, and the chain against a place
/// that somebody has kept elsewhere.
pub(super) fn verify(shared: &Shared, kept: Option<&ActPlace>) -> Result<ActChain, StoreError> {
    loop {
        let anchor = anchor(shared)?;
        let chain = follow(shared, anchor.clone(), kept)?;
        // Some may have been forgotten meanwhile.
        if chain.broken.is_none() || self::anchor(shared)? == anchor {
            return Ok(chain);
        }
    }
}

fn follow(
    shared: &Shared,
    anchor: ActPlace,
    kept: Option<&ActPlace>,
) -> Result<ActChain, StoreError> {
    let head = head(shared)?;
    let mut chain = ActChain {
        first: anchor.number + 1,
        head: head.clone(),
        broken: None,
    };
    let is_another = |kept: &ActPlace| kept.number == anchor.number && *kept != anchor;
    if anchor.number > 0 && kept.is_some_and(is_another) {
        chain.broken = Some((anchor.number, "it is not the one whose hash was kept"));
        return Ok(chain);
    }
    let mut before = anchor;
    for entry in shared.disk.db.range(Kind::Act.start()..Kind::Act.end()) {
        let (key, value) = entry.map_err(StoreError::database("list acts"))?;
        if before.number >= head.number {
            break;
        }
        let bytes = shared.listed_bytes(&key, &value)?;
        match link(&before, &key, bytes.as_deref(), kept) {
            Ok(next) => before = next,
            Err(why) => {
                chain.broken = Some((before.number + 1, why));
                return Ok(chain);
            }
        }
    }
    chain.broken = match (before == head, kept) {
        (false, _) if before.number < head.number => Some((before.number + 1, "it is missing")),
        (false, _) => Some((head.number, "it is not the one that was written last")),
        (true, Some(kept)) if kept.number > head.number => Some((
            head.number + 1,
            "it is missing: the chain is of an earlier day",
        )),
        (true, _) => None,
    };
    Ok(chain)
}

/// The place of the record behind `before`, if it is that one.
fn link(
    before: &ActPlace,
    key: &[u8],
    bytes: Option<&[u8]>,
    kept: Option<&ActPlace>,
) -> Result<ActPlace, &'static str> {
    let number = before.number + 1;
    if *key != key::act(number) {
        return Err("it is missing");
    }
    let bytes = bytes.ok_or("it cannot be read")?;
    let record: ActRecord = value::parse(bytes).map_err(|_| "it cannot be read")?;
    if record.number != number {
        return Err("another record stands in its place");
    }
    if record.previous != before.sha256 {
        return Err("it does not follow the one before it: one of the two was changed");
    }
    let next = place(number, bytes);
    if kept.is_some_and(|kept| kept.number == number && kept.sha256 != next.sha256) {
        return Err("it is not the one whose hash was kept");
    }
    Ok(next)
}

/// After a repair that has lost the head it is that of the last record that is there.
pub(super) fn mend_head(staging: &mut Staging<'_>, db: &sled::Db) -> Result<(), StoreError> {
    let key = Kind::Meta.key(HEAD);
    let mut range = db.range(Kind::Act.start()..Kind::Act.end());
    let Some(last) = range.next_back() else {
        return Ok(());
    };
    let (last, _) = last.map_err(StoreError::database("list acts"))?;
    let Some(bytes) = staging.sound_bytes(&last)? else {
        return Ok(());
    };
    let record: ActRecord = value::parse(&bytes).map_err(StoreError::damaged(&last))?;
    let known = staging.sound_bytes(&key)?;
    let known = known.and_then(|bytes| value::parse::<ActPlace>(&bytes).ok());
    match known.is_some_and(|known| known.number >= record.number) {
        true => Ok(()),
        false => staging.put(key, &Packed::json(&place(record.number, &bytes))?),
    }
}

fn head(shared: &Shared) -> Result<ActPlace, StoreError> {
    Ok(shared.get(&Kind::Meta.key(HEAD))?.unwrap_or_default())
}

fn anchor(shared: &Shared) -> Result<ActPlace, StoreError> {
    Ok(shared.get(&Kind::Meta.key(ANCHOR))?.unwrap_or_default())
}

fn place(number: u64, bytes: &[u8]) -> ActPlace {
    ActPlace {
        number,
        sha256: hex::encode(Sha256::digest(bytes)),
    }
}
