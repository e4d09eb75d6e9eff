//! What each vantage point was given to do: what it says beside that is invented.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use localize::{Arm, Observation, RoundId, ServiceName, Target, VantageName};

use super::asked::{Asked, Claim, Unasked};
use super::earlier::Earlier;

/// Lanes remembered of one vantage point and service: a round of thousands of arms would be slow, and of
/// addresses that come and go an hour's worth is a tenth.
const LANES: usize = 4096;

/// An arm without how it is fired, which the agent may have to change: it says so in the observation.
type Lane = (Target, Option<IpAddr>);

type Lanes = BTreeMap<VantageName, BTreeMap<ServiceName, BTreeSet<Lane>>>;

/// Shared by the engine, which gives, and by whoever takes facts in.
#[derive(Clone, Debug, Default)]
pub(super) struct Given(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    lanes: Lanes,
    asked: Asked,
    earlier: Earlier,
    /// What did not count, by vantage point and reason.
    dropped: BTreeMap<(VantageName, Unasked), u64>,
}

impl Given {
    /// A round is about to be announced with these arms.
    pub(super) fn announce(
        &self,
        id: RoundId,
        service: &ServiceName,
        fire_at_us: u64,
        given: &BTreeMap<VantageName, Vec<Arm>>,
    ) {
        let mut book = self.book();
        for (vantage, arms) in given {
            book.add(service, vantage, arms);
        }
        book.asked.add(id, service, fire_at_us, given);
    }

    /// A vantage point may have been given these arms of a service before this start.
    pub(super) fn add(&self, service: &ServiceName, vantage: &VantageName, arms: &[Arm]) {
        self.book().add(service, vantage, arms);
    }

    /// A vantage point has another name from now on.
    pub(super) fn rename(&self, from: &VantageName, to: &VantageName) {
        let mut book = self.book();
        if let Some(services) = book.lanes.remove(from) {
            book.lanes.insert(to.clone(), services);
        }
        book.asked.rename(from, to);
        book.earlier.rename(from, to);
        book.dropped.retain(|(vantage, _), _| vantage != from);
    }

    /// A vantage point is no more.
    pub(super) fn forget(&self, vantage: &VantageName) {
        let mut book = self.book();
        book.lanes.remove(vantage);
        book.asked.forget(vantage);
        book.earlier.forget(vantage);
        book.dropped.retain(|(known, _), _| known != vantage);
    }

    /// A service is no more.
    pub(super) fn forget_service(&self, service: &ServiceName) {
        let mut book = self.book();
        for services in book.lanes.values_mut() {
            services.remove(service);
        }
        book.asked.forget_service(service);
    }

    /// Holds an observation against what was asked, and takes it as the answer if it is one.
    pub(super) fn claim(&self, observation: &Observation) -> Claim {
        self.book().asked.claim(observation)
    }

    /// Takes an observation of an earlier round, that came at `received_us`.
    pub(super) fn take_earlier(
        &self,
        observation: &Observation,
        received_us: u64,
    ) -> Result<(), Unasked> {
        self.book().earlier.take(observation, received_us)
    }

    /// Whether the arm of an observation was ever given to its vantage point.
    pub(super) fn covers(&self, observation: &Observation) -> bool {
        let Observation { service, arm, .. } = observation;
        self.book().holds(service, observation.vantage(), arm)
    }

    /// Something that a vantage point said does not count; how often that was so before, for this reason.
    pub(super) fn dropped(&self, vantage: &VantageName, why: Unasked) -> u64 {
        let mut book = self.book();
        let times = book.dropped.entry((vantage.clone(), why)).or_default();
        *times += 1;
        *times - 1
    }

    /// What did not count since the start, by vantage point and reason.
    pub(super) fn all_dropped(&self) -> BTreeMap<(VantageName, Unasked), u64> {
        self.book().dropped.clone()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn add(&mut self, service: &ServiceName, vantage: &VantageName, arms: &[Arm]) {
        if arms.iter().all(|arm| self.holds(service, vantage, arm)) {
            return;
        }
        let services = self.lanes.entry(vantage.clone()).or_default();
        let lanes = services.entry(service.clone()).or_default();
        if lanes.len() + arms.len() > LANES {
            lanes.clear();
        }
        lanes.extend(arms.iter().map(|arm| (arm.target.clone(), arm.source)));
    }

    fn holds(&self, service: &ServiceName, vantage: &VantageName, arm: &Arm) -> bool {
        let services = self.lanes.get(vantage);
        let lanes = services.and_then(|services| services.get(service));
        lanes.is_some_and(|lanes| lanes.contains(&(arm.target.clone(), arm.source)))
    }
}
