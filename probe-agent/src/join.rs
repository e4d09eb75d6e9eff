//! Getting in: a single-use token becomes a certificate.

use std::path::Path;
use std::sync::Arc;

use localize::Role;
use proto::convert::Malformed;
use proto::token::JoinToken;
use proto::v1::JoinRequest;
use proto::v1::enrolment_client::EnrolmentClient;

use crate::identity::{Identity, IdentityError, new_key};
use crate::link::{self, LinkError};

/// Why the agent is not in.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No address of the token answered.
    #[error("cannot reach the coordinator to join: {0}")]
    Unreachable(String),
    /// The coordinator does not let the agent in.
    #[error("the coordinator does not let this agent join: {0}")]
    Refused(String),
    /// The token cannot be used.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The identity could not be made or kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The answer does not hold together.
    #[error("the coordinator's answer cannot be read: {0}")]
    Answer(#[from] Malformed),
}

/// Exchanges a token for an identity and keeps it in the data folder. The key is made here.
///
/// # Errors
/// Says whether nobody answered, or why the coordinator refused.
pub async fn join(token: &JoinToken, data_dir: &Path) -> Result<Identity, JoinError> {
    let (key_pem, csr_pem) = new_key()?;
    let config = Arc::new(link::pinned(&token.ca_sha256)?);
    let mut attempts = Vec::new();
    for address in &token.addresses {
        let channel = match link::dial(address, Arc::clone(&config)).await {
            Ok((channel, _)) => channel,
            Err(error) => {
                attempts.push(error.to_string());
                continue;
            }
        };
        let request = JoinRequest {
            token_secret: token.secret.clone(),
            csr_pem,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let joined = EnrolmentClient::new(channel)
            .join(request)
            .await
            .map_err(|status| JoinError::Refused(status.message().to_owned()))?
            .into_inner();
        let role = Role::try_from(joined.role())?;
        let identity = Identity {
            name: joined.name,
            role,
            host: Some(joined.host).filter(|host| !host.is_empty()),
            addresses: token.addresses.clone(),
            ca_pem: joined.ca_pem,
            certificate_pem: joined.certificate_pem,
            key_pem,
        };
        identity.save(data_dir)?;
        return Ok(identity);
    }
    Err(JoinError::Unreachable(attempts.join("; ")))
}
