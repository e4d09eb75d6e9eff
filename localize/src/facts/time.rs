//! Mesh time: the coordinator's clock, as well as an agent knows it.

use serde::{Deserialize, Serialize};

/// A length of time in microseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl Micros {
    /// From whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// The time in seconds, for arithmetic and for text.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

/// An instant of mesh time with the bound of its error.
///
/// The true coordinator's clock at that instant lies within `at_us ± uncertainty_us`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Microseconds since the Unix epoch on the coordinator's clock.
    pub at_us: u64,
    /// Half width, in microseconds, of the interval that holds the true instant.
    pub uncertainty_us: u64,
}
