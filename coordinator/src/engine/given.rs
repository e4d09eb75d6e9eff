//! Which arms each vantage point was given: what it says of others is invented.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use localize::{Arm, Observation, ServiceName, Target, VantageName};

/// Lanes remembered of one vantage point and service: a round of thousands of arms would be slow, and of
/// addresses that come and go an hour's worth is a tenth.
const LANES: usize = 4096;

/// An arm without how it is fired, which the agent may have to change: it says so in the observation.
type Lane = (Target, Option<IpAddr>);

/// Shared by the engine, which gives, and by whoever takes facts in.
#[derive(Clone, Debug, Default)]
pub(super) struct Given(Arc<RwLock<Lanes>>);

type Lanes = BTreeMap<VantageName, BTreeMap<ServiceName, BTreeSet<Lane>>>;

impl Given {
    /// A vantage point is given these arms of a service.
    pub(super) fn add(&self, service: &ServiceName, vantage: &VantageName, arms: &[Arm]) {
        if arms.iter().all(|arm| self.holds(service, vantage, arm)) {
            return;
        }
        let mut given = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let services = given.entry(vantage.clone()).or_default();
        let lanes = services.entry(service.clone()).or_default();
        if lanes.len() + arms.len() > LANES {
            lanes.clear();
        }
        lanes.extend(arms.iter().map(|arm| (arm.target.clone(), arm.source)));
    }

    /// A vantage point has another name from now on.
    pub(super) fn rename(&self, from: &VantageName, to: &VantageName) {
        let mut given = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(services) = given.remove(from) {
            given.insert(to.clone(), services);
        }
    }

    /// A vantage point is no more.
    pub(super) fn forget(&self, vantage: &VantageName) {
        let mut given = self.0.write().unwrap_or_else(PoisonError::into_inner);
        given.remove(vantage);
    }

    /// Whether the arm of an observation was given to its vantage point.
    pub(super) fn covers(&self, observation: &Observation) -> bool {
        let Observation { service, arm, .. } = observation;
        self.holds(service, observation.vantage(), arm)
    }

    fn holds(&self, service: &ServiceName, vantage: &VantageName, arm: &Arm) -> bool {
        let given = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let lanes = given
            .get(vantage)
            .and_then(|services| services.get(service));
        lanes.is_some_and(|lanes| lanes.contains(&(arm.target.clone(), arm.source)))
    }
}
