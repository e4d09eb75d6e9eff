//! What the database must hold: of each kind of record how many, and a sum over all of them, written in the
//! same batch as the records. A record that is missing, changed or older than it was does not add up.
//!
//! The sum is one of hashes modulo 2^64, so that a record is put in and taken out without looking at the
//! others (Bellare and Micciancio 1997, "AdHash"). It is against damage, not against forgers.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::key::Kind;

/// Counts and sums of all records but its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// Batches written since the store was made.
    pub(super) commits: u64,
    kinds: BTreeMap<char, Tally>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    records: u64,
    sum: u64,
}

impl Ledger {
    /// Where it is kept.
    pub(super) fn key() -> Vec<u8> {
        Kind::Meta.key(b"ledger")
    }

    /// A value was put under a key that had none.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        let tally = self.tally(key);
        tally.records = tally.records.wrapping_add(1);
        tally.sum = tally.sum.wrapping_add(hash(key, value));
    }

    /// A value was taken from its key.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) {
        let tally = self.tally(key);
        tally.records = tally.records.wrapping_sub(1);
        tally.sum = tally.sum.wrapping_sub(hash(key, value));
    }

    /// Reads everything that there is.
    pub(super) fn of(db: &sled::Tree) -> Result<Self, StoreError> {
        let (mut found, own) = (Self::default(), Self::key());
        for entry in db {
            let (key, value) = entry.map_err(StoreError::database("read a record"))?;
            if *key != *own {
                found.put(&key, &value);
            }
        }
        Ok(found)
    }

    /// The kinds of which something else is there than should be.
    pub(super) fn losses(&self, found: &Self) -> Vec<Loss> {
        let letters = self.kinds.keys().chain(found.kinds.keys());
        let letters: std::collections::BTreeSet<char> = letters.copied().collect();
        let tally = |of: &Self, letter| of.kinds.get(&letter).copied().unwrap_or_default();
        let differs = letters.into_iter().filter_map(|letter| {
            let (written, found) = (tally(self, letter), tally(found, letter));
            (written != found).then_some(Loss {
                letter,
                written: written.records,
                found: found.records,
            })
        });
        differs.collect()
    }

    /// How many records there are, by kind in words.
    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let kinds = self.kinds.iter();
        let there = kinds.filter(|(_, tally)| tally.records > 0);
        there
            .map(|(letter, tally)| (word(*letter), tally.records))
            .collect()
    }

    fn tally(&mut self, key: &[u8]) -> &mut Tally {
        let letter = key.first().copied().map_or('?', char::from);
        self.kinds.entry(letter).or_default()
    }
}

/// Of one kind, what is not there as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    letter: char,
    written: u64,
    found: u64,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (written, kind) = (self.written, word(self.letter));
        match self.written.checked_sub(self.found) {
            None => write!(
                f,
                "there are {} {kind} and {written} were written",
                self.found
            ),
            Some(0) => write!(f, "of {written} {kind} some are not as they were written"),
            Some(missing) => write!(f, "of {written} {kind} {missing} are missing"),
        }
    }
}

/// What people call the records of a kind.
fn word(letter: char) -> &'static str {
    match letter {
        'a' => "agents",
        's' => "services",
        't' => "join tokens",
        'w' => "watermarks of agents",
        'o' => "observations",
        'f' => "failed observations",
        'h' => "latency windows",
        'y' => "counts of latency windows",
        'n' => "series",
        'r' => "witness reports",
        'q' => "rounds",
        'k' => "counts of rounds",
        'v' => "verdicts",
        'c' => "cases of verdicts",
        'd' => "places of verdicts",
        'i' => "alarms",
        'e' => "watches",
        'p' => "notices",
        'g' => "incidents",
        'l' => "silences",
        'z' => "operators",
        'u' => "acts of operators",
        'm' => "counters",
        'x' => "pieces of long records",
        _ => "records of an unknown kind",
    }
}

/// CRC-32 of key and value, mixed so that sums of several do not cancel out (SplitMix64's finalizer).
fn hash(key: &[u8], value: &[u8]) -> u64 {
    let both = u64::from(crc32fast::hash(key)) << 32 | u64::from(crc32fast::hash(value));
    let mixed = (both ^ both >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_out_again_leaves_no_trace_and_all_else_does() {
        let records: [(&[u8], &[u8]); 3] = [(b"oa", b"1"), (b"ob", b"1"), (b"fa", b"2")];
        let of = |records: &[(&[u8], &[u8])]| {
            let mut ledger = Ledger::default();
            records
                .iter()
                .for_each(|(key, value)| ledger.put(key, value));
            ledger
        };
        let written = of(&records);
        let mut again = written.clone();
        again.put(b"oc", b"3");
        again.take(b"oc", b"3");
        assert_eq!(written.losses(&again), []);
        let said = |found: &Ledger| {
            let losses = written.losses(found).into_iter();
            losses.map(|loss| loss.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            said(&of(&records[1..])),
            ["of 2 observations 1 are missing"]
        );
        let swapped: [(&[u8], &[u8]); 3] = [(b"oa", b"1"), (b"ob", b"2"), (b"fa", b"1")];
        assert_eq!(
            said(&of(&swapped)),
            [
                "of 1 failed observations some are not as they were written",
                "of 2 observations some are not as they were written"
            ]
        );
        let mut more = written.clone();
        more.put(b"ax", b"");
        assert_eq!(said(&more), ["there are 1 agents and 0 were written"]);
    }
}
