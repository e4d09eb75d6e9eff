//! A backup made into a store again.

use std::fs::File;
use std::path::{Path, PathBuf};

use localize::VantageName;

use super::format::{Decoder, Header};
use super::{BackupError, Record};
use crate::clock;
use crate::operators;
use crate::store::acts::{self, Act, Deed, HostDeed};
use crate::store::apply::RESTORED;
use crate::store::error::StoreError;
use crate::store::key::Kind;
use crate::store::ledger::Ledger;
use crate::store::rebuild::Rebuild;
use crate::store::records::{
    AgentRecord, AgentState, Gap, OperatorRecord, OperatorState, Restored,
};
use crate::store::staging::Staging;
use crate::store::value::Packed;
use crate::store::{LAYOUT, OLDEST_LAYOUT};

/// Records written in one batch.
const BATCH: usize = 4096;
/// Round numbers left out, since those that were given after the backup are not known: a thousand a second
/// for seven weeks.
const ROUNDS_SKIPPED: u64 = 1 << 32;
/// What was decided so long before a backup may have reached the disk behind it, in microseconds.
const UNDER_WAY_US: u64 = 60_000_000;

/// A backup that was read through and found whole.
#[derive(Debug)]
pub struct Backup {
    path: PathBuf,
    header: Header,
}

/// What was brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brought {
    /// Records by kind in words.
    pub records: Vec<(&'static str, u64)>,
    /// Agents that had a token, and nothing else yet.
    pub invited: Vec<VantageName>,
}

impl Backup {
    /// Reads all of a file.
    ///
    /// # Errors
    /// When it is not whole, or not what this version can read.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let mut found = Ledger::default();
        let header = each_block(path, |records| {
            records
                .iter()
                .for_each(|(key, value)| found.put(key, value));
            Ok(())
        })?;
        if !(OLDEST_LAYOUT..=LAYOUT).contains(&header.layout) {
            return Err(StoreError::Layout {
                found: header.layout,
            }
            .into());
        }
        let losses = header.ledger.losses(&found);
        if !losses.is_empty() {
            let missing_commits = 0;
            return Err(StoreError::Lost {
                missing_commits,
                losses,
            }
            .into());
        }
        Ok(Self {
            path: path.to_owned(),
            header,
        })
    }

    /// When it was taken, in microseconds since the Unix epoch.
    #[must_use]
    pub fn taken_us(&self) -> u64 {
        self.header.taken_us
    }

    /// The version of the coordinator that it was taken of.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.header.version
    }

    /// Fingerprint of the authority that its agents and operators rely on.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.header.authority.as_deref()
    }

    /// Makes a store of it in a folder, which must be absent or empty. Join tokens are void in it, no round
    /// number of before is given again, and it knows of the gap between then and now.
    ///
    /// # Errors
    /// When it cannot be read once more, or the store not be written.
    pub fn restore(&self, dir: &Path, now_us: u64) -> Result<Brought, BackupError> {
        let mut new = Rebuild::begin(dir)?;
        each_block(&self.path, |records| Ok(take_in(&mut new, records)?))?;
        void_tokens(&mut new)?;
        let gap = Gap {
            from_us: self.header.taken_us.saturating_sub(UNDER_WAY_US),
            until_us: now_us,
        };
        let invited = tell_agents(&mut new, gap)?;
        tell_operators(&mut new, gap)?;
        note_restored(&mut new, self.header.taken_us, now_us)?;
        new.skip_rounds(ROUNDS_SKIPPED)?;
        let records = new.finish()?;
        Ok(Brought { records, invited })
    }
}

/// Hands over the blocks of a file one after the other.
fn each_block(
    path: &Path,
    mut take: impl FnMut(Vec<Record>) -> Result<(), BackupError>,
) -> Result<Header, BackupError> {
    let file = File::open(path).map_err(BackupError::Read)?;
    let (mut file, header) = Decoder::begin(file)?;
    while let Some(records) = file.block()? {
        take(records)?;
    }
    Ok(header)
}

fn take_in(new: &mut Rebuild, records: Vec<Record>) -> Result<(), StoreError> {
    let db = new.disk.db.clone();
    let mut staging = Staging::new(&db);
    for (key, value) in records {
        staging.put_raw(key, value);
        if staging.len() >= BATCH {
            new.apply(std::mem::replace(&mut staging, Staging::new(&db)))?;
        }
    }
    new.apply(staging)
}

/// Some of them may have been used since.
fn void_tokens(new: &mut Rebuild) -> Result<(), StoreError> {
    let db = new.disk.db.clone();
    let mut staging = Staging::new(&db);
    for token in db.range(Kind::Token.start()..Kind::Token.end()).keys() {
        let token = token.map_err(StoreError::database("list join tokens"))?;
        staging.remove(&token)?;
    }
    new.apply(staging)
}

/// The same for those of operators; of one that was revoked by then none counts.
fn tell_operators(new: &mut Rebuild, gap: Gap) -> Result<(), StoreError> {
    let db = new.disk.db.clone();
    let mut staging = Staging::new(&db);
    for key in db
        .range(Kind::Operator.start()..Kind::Operator.end())
        .keys()
    {
        let key = key.map_err(StoreError::database("list operators"))?;
        let known = staging.get::<OperatorRecord>(&key)?;
        let Some(mut operator) = known.filter(|known| known.state == OperatorState::Active) else {
            continue;
        };
        operator.gaps.push(gap);
        staging.put(key.to_vec(), &Packed::json(&operator)?)?;
    }
    new.apply(staging)
}

/// Certificates that were issued in the gap count although no list names them. Answered with the agents that
/// have not joined.
fn tell_agents(new: &mut Rebuild, gap: Gap) -> Result<Vec<VantageName>, StoreError> {
    let db = new.disk.db.clone();
    let (mut staging, mut invited) = (Staging::new(&db), Vec::new());
    for key in db.range(Kind::Agent.start()..Kind::Agent.end()).keys() {
        let key = key.map_err(StoreError::database("list agents"))?;
        let Some(mut agent) = staging.get::<AgentRecord>(&key)? else {
            continue;
        };
        agent.gaps.push(gap);
        if agent.state == AgentState::Invited {
            invited.push(agent.name.clone());
        }
        staging.put(key.to_vec(), &Packed::json(&agent)?)?;
    }
    new.apply(staging)?;
    Ok(invited)
}

fn note_restored(new: &mut Rebuild, taken_us: u64, now_us: u64) -> Result<(), StoreError> {
    let db = new.disk.db.clone();
    let (mut staging, key) = (Staging::new(&db), Kind::Meta.key(RESTORED));
    let earlier: Option<Restored> = staging.get(&key)?;
    let restored = Restored {
        taken_us,
        restored_us: now_us,
        times: earlier.map_or(0, |restored| restored.times) + 1,
    };
    staging.put(key, &Packed::json(&restored)?)?;
    let (deed, taken) = (Deed::Host(HostDeed::Restore), clock::rfc3339(taken_us));
    let act = Act::new(now_us, operators::HOST, deed, taken);
    acts::append(&mut staging, act)?;
    new.apply(staging)
}
