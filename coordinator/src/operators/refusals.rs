//! How many refused acts of one operator are written down: whoever is refused again and again must not push
//! out of the log what others have done.

use std::collections::BTreeMap;

/// Refusals written down in a burst ...
const BURST: u64 = 20;
/// ... and then one in so many microseconds: with the age of records some half of those that are kept.
const EVERY_US: u64 = 600_000_000;

/// The refusals of all operators.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<String, Bucket>);

#[derive(Debug)]
struct Bucket {
    left: u64,
    filled_us: u64,
    left_out: u64,
}

impl Refusals {
    /// How many were left out before this one, if it is to be written down.
    pub(super) fn admit(&mut self, operator: &str, now_us: u64) -> Option<u64> {
        let bucket = self.0.entry(operator.to_owned()).or_insert(Bucket {
            left: BURST,
            filled_us: now_us,
            left_out: 0,
        });
        let earned = now_us.saturating_sub(bucket.filled_us) / EVERY_US;
        bucket.left = bucket.left.saturating_add(earned).min(BURST);
        bucket.filled_us += earned * EVERY_US;
        if bucket.left == 0 {
            bucket.left_out += 1;
            return None;
        }
        bucket.left -= 1;
        Some(std::mem::take(&mut bucket.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_all_the_time_is_counted_and_pushes_nobody_out() {
        const NOW: u64 = 1_700_000_000_000_000;
        let mut refusals = Refusals::default();
        let written = (0..1000).filter_map(|_| refusals.admit("ann", NOW));
        assert_eq!(written.collect::<Vec<_>>(), [0; 20]);
        assert_eq!(refusals.admit("bob", NOW), Some(0), "another one");
        assert_eq!(refusals.admit("ann", NOW + EVERY_US - 1), None);
        assert_eq!(refusals.admit("ann", NOW + EVERY_US), Some(981));
        assert_eq!(refusals.admit("ann", NOW + EVERY_US), None);
        // A clock that was set back lets nothing in and breaks nothing.
        assert_eq!(refusals.admit("ann", 0), None);
    }
}
