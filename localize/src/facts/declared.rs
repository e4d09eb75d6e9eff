//! What has come of a service file since it was applied.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::facts::observation::{Arm, Layer};
use crate::facts::topology::VantageName;

/// The service file, as far as probes have borne it out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// When it was applied last, in microseconds of mesh time; zero where that is not known, and then
    /// nothing is unproven.
    pub applied_us: u64,
    /// The arms that have not come as far as they should, each at the first layer that it never passed.
    pub unproven: Vec<Unproven>,
}

/// An arm with a layer that no probe of it has passed since the service file was applied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unproven {
    /// From where.
    pub vantage: VantageName,
    /// Which variant.
    pub arm: Arm,
    /// The first layer never passed.
    pub layer: Layer,
}
