//! What a copy of the database needs to show it as it stood after one batch, while others go in.
//!
//! The copy is read in the order of the keys. What a batch replaces beyond the place that was reached is
//! kept as it was until the copy has come by there.

use std::collections::BTreeMap;

use super::error::StoreError;

/// Most bytes kept: at ten thousand observations a second those of two minutes.
const MOST_BYTES: usize = 128 << 20;
/// What a key takes besides its own bytes and those of its value.
const ENTRY_BYTES: usize = 96;

/// A copy under way.
#[derive(Debug, Default)]
pub(super) struct Copying {
    /// Every key below it is copied.
    reached: Vec<u8>,
    /// What stood under keys beyond; `None` where nothing did.
    before: Before,
    bytes: usize,
    outrun: bool,
}

/// Values by key.
pub(super) type Before = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

impl Copying {
    /// A batch will put another value in the place of this one, or the first one.
    pub(super) fn replaced(&mut self, key: &[u8], old: Option<&[u8]>) {
        if self.outrun || key < self.reached.as_slice() || self.before.contains_key(key) {
            return;
        }
        self.bytes += cost(key, old);
        if self.bytes > MOST_BYTES {
            self.outrun = true;
            self.before.clear();
            return;
        }
        self.before.insert(key.to_vec(), old.map(<[u8]>::to_vec));
    }

    /// The copy has come to this key, or to the end: what stood before it under keys that were changed.
    pub(super) fn reach(&mut self, key: Option<&[u8]>) -> Result<Before, StoreError> {
        if self.outrun {
            return Err(StoreError::BackupOutrun);
        }
        let beyond = key.map(|key| self.before.split_off(key));
        let passed = std::mem::replace(&mut self.before, beyond.unwrap_or_default());
        let cost = |(key, old): (&Vec<u8>, &Option<Vec<u8>>)| cost(key, old.as_deref());
        self.bytes -= passed.iter().map(cost).sum::<usize>();
        if let Some(key) = key {
            self.reached = key.to_vec();
        }
        Ok(passed)
    }
}

fn cost(key: &[u8], old: Option<&[u8]>) -> usize {
    ENTRY_BYTES + key.len() + old.map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_beyond_is_kept_as_it_was_first() {
        let mut copying = Copying::default();
        copying.replaced(b"a", Some(b"1"));
        copying.replaced(b"a", Some(b"2"));
        copying.replaced(b"c", None);
        let passed = copying.reach(Some(b"b")).unwrap();
        assert_eq!(passed, Before::from([(b"a".to_vec(), Some(b"1".to_vec()))]));
        copying.replaced(b"a", Some(b"3"));
        copying.replaced(b"b", Some(b"4"));
        let passed = copying.reach(None).unwrap();
        let beyond = [(b"b".to_vec(), Some(b"4".to_vec())), (b"c".to_vec(), None)];
        assert_eq!(passed, Before::from(beyond));
        assert_eq!(copying.bytes, 0);
    }

    #[test]
    fn one_that_is_outrun_says_so_and_keeps_nothing() {
        let mut copying = Copying::default();
        let large = vec![0; MOST_BYTES / 2];
        copying.replaced(b"a", Some(&large));
        assert!(!copying.outrun);
        copying.replaced(b"b", Some(&large));
        assert!(copying.before.is_empty());
        let reached = copying.reach(None);
        assert!(matches!(reached, Err(StoreError::BackupOutrun)));
    }
}
