//! What a group of commits will change, before it is applied as one batch.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::error::StoreError;
use super::key;
use super::ledger::Ledger;
use super::value::{self, Packed};

/// Longest value other than a case after inflating, in bytes: a witness report of thousands of flows
/// is a tenth of it.
pub(super) const MAX_RECORD_BYTES: usize = 16 << 20;

/// Changes over the database as it stands; what was put is read back.
pub(super) struct Staging<'a> {
    tree: &'a sled::Tree,
    pending: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a> Staging<'a> {
    pub(super) fn new(tree: &'a sled::Tree) -> Self {
        Self {
            tree,
            pending: BTreeMap::new(),
        }
    }

    pub(super) fn get_bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        read_value(|key| self.raw(key), key, MAX_RECORD_BYTES)
    }

    pub(super) fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        let bytes = self.get_bytes(key)?;
        let record = bytes.map(|bytes| value::parse(&bytes)).transpose();
        record.map_err(StoreError::damaged(key))
    }

    /// As [`Self::get_bytes`]; a damaged value counts as none. For what is only added to: stopping at
    /// it would stop again at every start, when the agents send the same records again.
    pub(super) fn sound_bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.get_bytes(key) {
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::error!(%error, "a record starts afresh");
                Ok(None)
            }
            read => read,
        }
    }

    pub(super) fn contains(&self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.raw(key)?.is_some())
    }

    /// Puts a value under a key that has none yet.
    pub(super) fn put_new(&mut self, key: Vec<u8>, value: &Packed) {
        let (head, further) = value.pieces();
        for (number, piece) in (0..).zip(further) {
            let piece_key = key::piece(&key, number);
            self.pending.insert(piece_key, Some(piece.to_vec()));
        }
        self.pending.insert(key, Some(head));
    }

    /// Puts a value in place of the one there, if any.
    pub(super) fn put(&mut self, key: Vec<u8>, value: &Packed) -> Result<(), StoreError> {
        self.remove(&key)?;
        self.put_new(key, value);
        Ok(())
    }

    /// Removes a value with all its pieces.
    pub(super) fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let Some(head) = self.raw(key)? else {
            return Ok(());
        };
        let further = value::further_pieces(&head).map_err(StoreError::damaged(key))?;
        for number in 0..further {
            self.pending.insert(key::piece(key, number), None);
        }
        self.pending.insert(key.to_vec(), None);
        Ok(())
    }

    /// The key is staged to be removed.
    pub(super) fn removes(&self, key: &[u8]) -> bool {
        matches!(self.pending.get(key), Some(None))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Puts a value as it lies in a database, its pieces apart.
    pub(super) fn put_raw(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.pending.insert(key, Some(value));
    }

    /// The changes as one batch, and the ledger with them, which is in it. What they replace is `told` of
    /// each key beforehand; `None` where there is nothing yet.
    pub(super) fn into_batch(
        self,
        ledger: &Ledger,
        mut told: impl FnMut(&[u8], Option<&[u8]>),
    ) -> Result<(sled::Batch, Ledger), StoreError> {
        let (mut batch, mut ledger) = (sled::Batch::default(), ledger.clone());
        for (key, value) in self.pending {
            let old = self.tree.get(&key).map_err(StoreError::database("read"))?;
            told(&key, old.as_deref());
            if let Some(old) = old {
                ledger.take(&key, &old);
            }
            match value {
                Some(value) => {
                    ledger.put(&key, &value);
                    batch.insert(key, value);
                }
                None => batch.remove(key),
            }
        }
        ledger.commits += 1;
        let (head, _) = Packed::json(&ledger)?.pieces();
        batch.insert(Ledger::key(), head);
        Ok((batch, ledger))
    }

    fn raw(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        match self.pending.get(key) {
            Some(staged) => Ok(staged.as_ref().map(|value| value.as_slice().into())),
            None => self.tree.get(key).map_err(StoreError::database("read")),
        }
    }
}

/// Fetches a value with all its pieces; at most `limit` bytes after inflating.
pub(super) fn read_value(
    fetch: impl Fn(&[u8]) -> Result<Option<sled::IVec>, StoreError>,
    key: &[u8],
    limit: usize,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(head) = fetch(key)? else {
        return Ok(None);
    };
    let damaged = StoreError::damaged(key);
    let count = value::further_pieces(&head).map_err(&damaged)?;
    let mut further = Vec::new();
    for number in 0..count {
        let piece = fetch(&key::piece(key, number))?;
        further.push(piece.ok_or_else(|| damaged(value::ValueError::MissingPiece(number)))?);
    }
    value::unpack(&head, further.iter().map(AsRef::as_ref), limit)
        .map(Some)
        .map_err(damaged)
}
