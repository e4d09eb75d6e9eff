//! What is usual, learnt from calm times.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::facts::observation::{Arm, Layer};
use crate::facts::time::Micros;
use crate::facts::topology::VantageName;

/// What one layer of one arm looked like from one vantage point before the window in question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// From where.
    pub vantage: VantageName,
    /// Which variant.
    pub arm: Arm,
    /// Which layer.
    pub layer: Layer,
    /// Probes that passed the layer.
    pub passed: u64,
    /// Probes that reached the layer and failed at it.
    pub failed: u64,
    /// Median time of those that passed.
    pub median: Micros,
    /// Upper quartile of those that passed; `None` in cases that were recorded without it.
    #[serde(default)]
    pub p75: Option<Micros>,
    /// 99th percentile of those that passed.
    pub p99: Micros,
    /// At the layer HTTP how often each status was answered, whether that passed or failed, in rising
    /// order; empty in cases that were recorded without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<(u16, u64)>,
}

/// The baselines of a service; empty when it is new.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Baselines(pub Vec<Baseline>);

impl Baselines {
    /// The baseline of one layer of one arm from one vantage point.
    #[must_use]
    pub fn of(&self, vantage: &VantageName, arm: &Arm, layer: Layer) -> Option<&Baseline> {
        self.0
            .iter()
            .find(|b| b.layer == layer && b.vantage == *vantage && b.arm == *arm)
    }
}
