//! The parts of a delivery path that a verdict can name.

use alloc::string::String;

use serde::{Deserialize, Serialize};

/// The kinds of component that can be blamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A vantage point's own access network, or its agent.
    ClientNetwork,
    /// A recursive resolver.
    Resolver,
    /// The zone or one of its name servers.
    AuthoritativeDns,
    /// One edge, or the provider when all edges share the fault.
    Cdn,
    /// Between an edge and the balancer.
    CdnOriginPath,
    /// What stands behind the CDN, or behind the name, where the service file declares nothing of it.
    Origin,
    /// The balancer.
    LoadBalancer,
    /// From the balancer to one backend, forward direction.
    LbBackendPath,
    /// Host or application of one backend.
    Backend,
    /// Answers that leave the host and do not arrive, or leave by the wrong interface.
    ReturnPath,
}

/// A part that can be blamed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Component {
    /// What it is.
    pub kind: Kind,
    /// Its name, formed as interface and documentation say for its kind.
    pub name: String,
}
