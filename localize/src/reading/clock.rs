//! Hosts' own clocks, by which programs there judge certificates (RFC 5280, section 4.1.2.5).
//!
//! An agent says at what time its host's clock stood when a certificate was judged, and its stamps say what that
//! is in mesh time. A clock far from that is wrong, unless it is the coordinator's that is: the more witnesses
//! are right, and the coordinator is one of them.

use alloc::collections::BTreeMap;

use crate::facts::observation::{Failure, Observation, Outcome, TlsFacts};
use crate::facts::topology::VantageName;
use crate::world::symptom::Symptom;

/// A clock is wrong by more than this, in seconds: a certificate is judged at the end of a handshake, and no probe
/// takes longer.
const BEYOND: u64 = 60;

/// The clocks that are wrong.
pub(crate) struct Clocks {
    /// By how many seconds each is ahead of mesh time.
    astray: BTreeMap<VantageName, i64>,
}

impl Clocks {
    /// Reads them from what was last seen of each vantage point.
    pub(crate) fn new(observations: &[&Observation]) -> Self {
        let mut last: BTreeMap<&VantageName, (u64, i64)> = BTreeMap::new();
        for observation in observations {
            if let Some((ahead, _)) = ahead(observation) {
                let at = observation.started.at_us;
                let newest = last.entry(observation.vantage()).or_insert((at, ahead));
                if at >= newest.0 {
                    *newest = (at, ahead);
                }
            }
        }
        let is_wrong = |ahead: i64| ahead.unsigned_abs() > BEYOND;
        let wrong = last.values().filter(|(_, ahead)| is_wrong(*ahead)).count();
        let right = last.len() - wrong + 1;
        let astray = last
            .into_iter()
            .filter(|(_, (_, ahead))| right > wrong && is_wrong(*ahead))
            .map(|(vantage, (_, ahead))| (vantage.clone(), ahead));
        Self {
            astray: astray.collect(),
        }
    }

    /// By how many seconds the clock of a vantage point's host is ahead, where it is wrong.
    pub(crate) fn astray(&self) -> &BTreeMap<VantageName, i64> {
        &self.astray
    }

    /// What a failure is a sign of, where the certificate is valid by mesh time and the host's clock is wrong.
    pub(crate) fn sign(&self, observation: &Observation) -> Option<Symptom> {
        let Outcome::Failed { failure, .. } = &observation.outcome else {
            return None;
        };
        if !self.astray.contains_key(observation.vantage()) {
            return None;
        }
        let (_, tls) = ahead(observation)?;
        let judged = tls.judged_at?;
        let (begin, end) = (tls.not_before?, tls.not_after);
        let early = *failure == Failure::CertificateNotYetValid && judged < begin;
        let over = *failure == Failure::CertificateExpired && judged > end;
        let valid = (begin..=end).contains(&seconds(observation.started.at_us));
        ((early || over) && valid).then_some(Symptom::CertificateClock)
    }
}

/// By how many seconds a host's clock was ahead of mesh time, where both are known, and what was judged by it. One
/// within the uncertainty is not ahead.
fn ahead(observation: &Observation) -> Option<(i64, &TlsFacts)> {
    let tls = observation.facts.tls.as_ref()?;
    let started = observation.started;
    let ahead = tls.judged_at?.saturating_sub(seconds(started.at_us));
    let uncertain = started.uncertainty_us / 1_000_000;
    let known = ahead.unsigned_abs() > uncertain;
    Some((if known { ahead } else { 0 }, tls))
}

fn seconds(us: u64) -> i64 {
    i64::try_from(us / 1_000_000).unwrap_or(i64::MAX)
}
