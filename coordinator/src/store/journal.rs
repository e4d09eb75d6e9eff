//! Who is in the mesh and what it watches, a second time: a file of lines beside the database, from which a
//! repair brings back what the database has lost. So damage neither loses an agent nor lets a revoked one
//! back in.
//!
//! A line is the CRC-32 of the rest in hexadecimal, a space, and a member as JSON. The last line about a name
//! counts. The file is written anew at each start, from the database that was found sound.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use localize::{ServiceName, VantageName};
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::records::{AgentRecord, OperatorRecord, ServiceRecord};

/// Its name in the store's folder.
pub(super) const FILE: &str = "members";

/// A member of the mesh, or what it watches, or that one is no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Member {
    Agent(AgentRecord),
    NoAgent(VantageName),
    Service(ServiceRecord),
    NoService(ServiceName),
    Operator(OperatorRecord),
}

/// Whom or what a line is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    Agent(VantageName),
    Service(ServiceName),
    Operator(String),
}

impl Member {
    pub(super) fn about(&self) -> About {
        match self {
            Self::Agent(agent) => About::Agent(agent.name.clone()),
            Self::NoAgent(name) => About::Agent(name.clone()),
            Self::Service(service) => About::Service(service.name.clone()),
            Self::NoService(name) => About::Service(name.clone()),
            Self::Operator(operator) => About::Operator(operator.name.clone()),
        }
    }

    /// Without what changes all the time and is learnt again.
    fn essence(&self) -> Self {
        match self {
            Self::Agent(agent) => Self::Agent(AgentRecord {
                version: String::new(),
                last_seen_us: None,
                addresses: Vec::new(),
                resolvers: Vec::new(),
                witness: false,
                witness_trouble: String::new(),
                ..agent.clone()
            }),
            Self::Service(service) => Self::Service(ServiceRecord {
                learnt: crate::plan::Learnt::default(),
                ..service.clone()
            }),
            Self::NoAgent(_) | Self::NoService(_) | Self::Operator(_) => self.clone(),
        }
    }
}

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    /// CRC-32 of the last line about each: what says nothing new is not written.
    known: BTreeMap<About, u32>,
}

impl Journal {
    /// Writes it anew.
    pub(super) fn begin(dir: &Path, members: Vec<Member>) -> Result<Self, StoreError> {
        let failed = StoreError::io("write the list of members");
        let (path, next) = (dir.join(FILE), dir.join("members.new"));
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(&next)
            .map_err(&failed)?;
        let mut journal = Self {
            file,
            known: BTreeMap::new(),
        };
        journal.add(&members)?;
        journal.file.sync_all().map_err(&failed)?;
        fs::rename(&next, &path).map_err(&failed)?;
        Ok(journal)
    }

    /// Adds lines; on disk when it returns.
    pub(super) fn add(&mut self, members: &[Member]) -> Result<(), StoreError> {
        let mut text = String::new();
        for member in members {
            let json = serde_json::to_string(&member.essence())?;
            let sum = crc32fast::hash(json.as_bytes());
            if self.known.insert(member.about(), sum) != Some(sum) {
                text += &format!("{sum:08x} {json}\n");
            }
        }
        if text.is_empty() {
            return Ok(());
        }
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(StoreError::io("write the list of members"))
    }
}

/// The last line about each in the file of a folder; damaged lines are left out.
pub(super) fn read(dir: &Path) -> BTreeMap<About, Member> {
    let text = fs::read(dir.join(FILE)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let sound = |line: &str| {
        let (sum, json) = line.split_once(' ')?;
        let sum = u32::from_str_radix(sum, 16).ok()?;
        let sound = crc32fast::hash(json.as_bytes()) == sum;
        sound.then(|| serde_json::from_str::<Member>(json).ok())?
    };
    let members = text.lines().filter_map(sound);
    members.map(|member| (member.about(), member)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_each_comes_back_and_damage_takes_its_line_alone() {
        let folder = tempfile::tempdir().unwrap();
        let agent = |name: &str| Member::NoAgent(VantageName(name.to_owned()));
        let service = |name: &str| Member::NoService(ServiceName(name.to_owned()));
        let mut journal = Journal::begin(folder.path(), vec![agent("a"), service("a")]).unwrap();
        journal.add(&[agent("b")]).unwrap();
        let path = folder.path().join(FILE);
        let length = fs::metadata(&path).unwrap().len();
        journal.add(&[agent("b"), service("a")]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), length, "nothing new");
        let read = |dir: &Path| super::read(dir).into_values().collect::<Vec<_>>();
        assert_eq!(read(folder.path()), [agent("a"), agent("b"), service("a")]);
        let mut bytes = fs::read(&path).unwrap();
        bytes[12] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(read(folder.path()), [agent("b"), service("a")]);
        assert!(super::read(&folder.path().join("none")).is_empty());
    }
}
