//! Which vantage point fires which arm.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use localize::{Arm, NameServer, Observation, Topology, VantageName, VantagePoint};
use serde::{Deserialize, Serialize};

use crate::service_file::ServiceFile;

/// What was found out about a service's path, kept across restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learnt {
    /// Public addresses, with the mesh time in microseconds of the last answer that carried each.
    pub edges: BTreeMap<IpAddr, u64>,
    /// Start of the present stretch of answers without a long gap, in microseconds of mesh time.
    pub answers_since_us: u64,
    /// The latest answer, likewise.
    pub last_answer_us: u64,
    /// Authoritative name servers that agents found.
    pub name_servers: BTreeSet<NameServer>,
    /// Who runs the edges, as the headers of an answer told.
    pub cdn_provider: Option<String>,
    /// The arms whose TCP layer was ever passed, by vantage point.
    pub reached: BTreeSet<(VantageName, Arm)>,
}

/// The delivery path of a service as it is declared and learnt, with the vantage points given.
#[must_use]
pub fn topology(file: &ServiceFile, learnt: &Learnt, vantages: &[VantagePoint]) -> Topology {
    let _ = learnt;
    Topology {
        service: file.name.clone(),
        scheme: file.url.scheme,
        vantages: vantages.to_vec(),
        resolvers: file.resolvers.clone(),
        name_servers: file.name_servers.clone(),
        edges: Vec::new(),
        cdn: file.cdn.clone(),
        vips: file.vips.clone(),
        vip_mode: file.vip_mode,
        backends: file.backends.clone(),
    }
}

/// The arms that a vantage point fires in a round, in a fixed order, none twice.
#[must_use]
pub fn arms(topology: &Topology, vantage: &VantagePoint) -> Vec<Arm> {
    let _ = (topology, vantage);
    Vec::new()
}

/// Learns from an observation; `true` when the topology may have changed by it.
pub fn learn(learnt: &mut Learnt, observation: &Observation) -> bool {
    let _ = (learnt, observation);
    false
}

/// Takes the name servers that an agent found in place of those known; `true` when they differ. An
/// empty finding tells nothing.
pub fn learn_name_servers(learnt: &mut Learnt, found: &[NameServer]) -> bool {
    let _ = (learnt, found);
    false
}

/// What an agent must know to probe the service.
#[must_use]
pub fn spec(file: &ServiceFile) -> proto::v1::ServiceSpec {
    let _ = file;
    proto::v1::ServiceSpec::default()
}
