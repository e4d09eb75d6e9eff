//! When the agent's certificate is renewed, and asking for the next one.
//!
//! Renewal begins at half of the certificate's life, give or take a tenth of that, so that agents
//! which joined together do not renew together. Times are mesh time: the coordinator's clock dates
//! the certificates.

use std::sync::Arc;
use std::time::Duration;

use proto::v1::agent_service_client::AgentServiceClient;
use proto::v1::{RenewRequest, RenewResponse};
use rustls::ClientConfig;
use tonic::Status;

use crate::clock::micros;
use crate::identity::{Identity, IdentityError, new_key};
use crate::link::{self, LinkError, Presented};

/// The renewal of one certificate after the other.
#[derive(Debug)]
pub struct Renewal {
    due_us: u64,
    lifetime: Duration,
    under_way: bool,
}

/// What came of asking: the new identity, to be kept.
pub type Renewed = Result<Identity, RenewalError>;

/// There is no new certificate, and the one in use goes on.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// No connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The coordinator gives none.
    #[error("{}", .0.message())]
    Status(#[from] Status),
    /// No key, or no certificate in the answer.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No answer.
    #[error("no answer within {} s", LIMIT.as_secs())]
    Limit,
}

/// Connecting, asking and answering take less than this even over a poor line.
const LIMIT: Duration = Duration::from_secs(20);
/// Between attempts at most and at least; in between a twentieth of the certificate's life.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

impl Renewal {
    /// For a certificate valid from and until these seconds since the Unix epoch. `chance` between 0
    /// and 1 says where in its span the renewal falls.
    #[must_use]
    pub fn of((begins, ends): (i64, i64), chance: f64) -> Self {
        let begins = u64::try_from(begins).unwrap_or(0);
        let ends = u64::try_from(ends).unwrap_or(0);
        let lifetime = Duration::from_secs(ends.saturating_sub(begins));
        let share = 0.5 * (0.9 + 0.2 * chance.clamp(0.0, 1.0));
        let wait = lifetime.mul_f64(share);
        Self {
            due_us: micros(Duration::from_secs(begins) + wait),
            lifetime,
            under_way: false,
        }
    }

    /// For a certificate that was given just now: whatever it says of its beginning, less than a third of
    /// its life is not over, so that short ones are renewed once and not without end.
    #[must_use]
    pub fn fresh(validity: (i64, i64), mesh_us: u64, chance: f64) -> Self {
        let renewal = Self::of(validity, chance);
        let ends_us = micros(Duration::from_secs(u64::try_from(validity.1).unwrap_or(0)));
        let third = Duration::from_micros(ends_us.saturating_sub(mesh_us) / 3);
        let earliest_us = mesh_us.saturating_add(micros(third.max(SHORTEST_PAUSE)));
        Self {
            due_us: renewal.due_us.max(earliest_us),
            ..renewal
        }
    }

    /// Time left at `mesh_us`; `None` while an answer is awaited.
    #[must_use]
    pub fn due_in(&self, mesh_us: u64) -> Option<Duration> {
        let left = Duration::from_micros(self.due_us.saturating_sub(mesh_us));
        (!self.under_way).then_some(left)
    }

    /// The coordinator is being asked.
    pub fn begun(&mut self) {
        self.under_way = true;
    }

    /// It was in vain at `mesh_us`.
    pub fn failed(&mut self, mesh_us: u64) {
        let pause = (self.lifetime / 20).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        self.due_us = mesh_us.saturating_add(micros(pause));
        self.under_way = false;
    }
}

/// Makes a new key and asks for its certificate, over a connection of its own, which shows the newest
/// certificate: that of the stream's connection may have ended.
///
/// # Errors
/// What kept the coordinator from giving one.
pub async fn ask(address: String, config: Arc<ClientConfig>, old: Identity) -> Renewed {
    let (key_pem, csr_pem) = new_key()?;
    let exchange = async {
        let (channel, _) = link::dial(&address, config).await?;
        let mut client = AgentServiceClient::new(channel);
        Ok::<RenewResponse, RenewalError>(
            client.renew(RenewRequest { csr_pem }).await?.into_inner(),
        )
    };
    let limited = tokio::time::timeout(LIMIT, exchange).await;
    let response = limited.map_err(|_| RenewalError::Limit)??;
    let renewed = Identity {
        certificate_pem: response.certificate_pem,
        ca_pem: response.ca_pem,
        key_pem,
        ..old
    };
    // A pair that cannot be shown must not replace one that can.
    Presented::new(&renewed.certificate_pem, &renewed.key_pem)?;
    renewed.validity()?;
    Ok(renewed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn renewal_falls_around_half_of_the_life() {
        let begins = 1_700_000_000;
        for (chance, hours) in [(0.0, 10.8), (0.5, 12.0), (1.0, 13.2)] {
            let renewal = Renewal::of((begins, begins + DAY), chance);
            let start_us = u64::try_from(begins).unwrap() * 1_000_000;
            let due = renewal.due_in(start_us).unwrap().as_secs_f64() / 3600.0;
            assert!((due - hours).abs() < 0.001, "{chance}: {due}");
            assert_eq!(renewal.due_in(u64::MAX), Some(Duration::ZERO));
        }
    }

    #[test]
    fn a_vain_attempt_is_made_again_after_a_while() {
        let rows = [(DAY, 600), (200, 10), (10, 1)];
        for (life, pause) in rows {
            let mut renewal = Renewal::of((0, life), 0.5);
            renewal.begun();
            assert_eq!(renewal.due_in(u64::MAX), None);
            renewal.failed(1_000);
            assert_eq!(renewal.due_in(1_000), Some(Duration::from_secs(pause)));
        }
    }

    #[test]
    fn a_fresh_certificate_is_not_renewed_before_a_third_of_its_life() {
        let now = 1_700_000_000;
        let now_us = u64::try_from(now).unwrap() * 1_000_000;
        // Half an hour, backdated by an hour; a second; one that has ended by the agent's clock.
        for (begins, ends, seconds) in [
            (now - 3600, now + 1800, 600),
            (now, now + 1, 1),
            (now - 90, now - 60, 1),
        ] {
            let due = Renewal::fresh((begins, ends), now_us, 0.5).due_in(now_us);
            assert_eq!(due, Some(Duration::from_secs(seconds)), "{begins}");
        }
        let day = Renewal::fresh((now, now + DAY), now_us, 0.5).due_in(now_us);
        assert_eq!(day, Some(Duration::from_secs(43_200)));
    }

    #[test]
    fn a_certificate_of_nonsense_times_is_renewed_at_once() {
        let renewal = Renewal::of((-5, -9), 0.5);
        assert_eq!(renewal.due_in(1), Some(Duration::ZERO));
    }
}
