//! Counts of failed probes by row and window, without names of layers or symptoms: the form in which
//! inference engines are compared with each other.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::verdict::Kind;

/// One comparable problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountedCase {
    /// Version of the form: 1.
    pub schema: u32,
    /// Windows of time; every row has this many counts.
    pub windows: usize,
    /// What can be at fault.
    pub components: Vec<CountedComponent>,
    /// Calm times before, by vantage point.
    #[serde(default)]
    pub baseline: Vec<Calm>,
    /// The counts.
    pub rows: Vec<Row>,
}

/// A component of a counted case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountedComponent {
    /// Number by which rows name it.
    pub id: u32,
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// What a vantage point saw while all was well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calm {
    /// Number of the vantage point.
    pub vantage: u32,
    /// Probes sent.
    pub probes: u64,
    /// Those of them that failed, at any layer.
    pub failed: u64,
}

/// Probes of one arm at one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Number of the vantage point.
    pub vantage: u32,
    /// The components crossed, once for each path that a probe may have taken: each takes one of them
    /// at random.
    pub crosses: Vec<Vec<u32>>,
    /// Probes that reached the layer, by window.
    pub probes: Vec<u32>,
    /// Those of them that failed there, by window.
    pub failed: Vec<u32>,
}

/// What the inference makes of a counted case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Every component with a probability above 0.001, most probable first.
    pub components: Vec<Scored>,
    /// Probability that nothing is at fault.
    pub healthy: f64,
    /// Probability of something that no component explains.
    pub unknown: f64,
}

/// One component's part in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// The component's number.
    pub id: u32,
    /// Probability that it is at fault.
    pub probability: f64,
    /// Mean of its rate of failure, while it is on, if it is.
    pub rate: f64,
}
