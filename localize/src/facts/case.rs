//! Everything that a verdict was made from, so that it can be made again.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::facts::baseline::Baselines;
use crate::facts::declared::Declared;
use crate::facts::observation::Observation;
use crate::facts::sighting::WitnessReport;
use crate::facts::topology::Topology;
use crate::facts::trace::Trace;

/// The input of [`crate::localize`]: what `meshctl replay` reads and golden tests keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The delivery path and the vantage points.
    pub topology: Topology,
    /// What has come of the service file since it was applied.
    #[serde(default)]
    pub declared: Declared,
    /// What is usual.
    pub baselines: Baselines,
    /// The observations of the window, in any order, repeats allowed.
    pub observations: Vec<Observation>,
    /// The witnesses' reports of the window, in any order, repeats allowed.
    pub sightings: Vec<WitnessReport>,
    /// The ways to targets that did not answer, in any order, repeats allowed. They are shown, and weigh nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traces: Vec<Trace>,
}
