//! The service that is open to strangers: joining with a token.

use std::sync::Arc;
use std::time::Duration;

use proto::v1;
use proto::v1::enrolment_server::Enrolment;
use proto::v1::{JoinRequest, JoinResponse, Role};
use tonic::{Request, Response, Status};

use super::view;
use crate::ca::Authority;
use crate::engine::{Event, Handle, Refusal};
use crate::enrolment::{Invitation, JoinError};

/// The enrolment service.
pub struct EnrolmentService {
    engine: Handle,
    authority: Arc<Authority>,
}

impl EnrolmentService {
    /// Forwards to the engine.
    #[must_use]
    pub fn new(engine: Handle, authority: Arc<Authority>) -> Self {
        Self { engine, authority }
    }
}

/// What an operator wants a token for.
///
/// # Errors
/// INVALID_ARGUMENT when a name or label is not usable, or the validity too long.
pub(super) fn invitation(request: v1::CreateTokenRequest) -> Result<Invitation, Status> {
    let role = localize::Role::try_from(request.role()).map_err(view::malformed)?;
    let invitation = Invitation::new(
        request.name,
        role,
        Some(request.host).filter(|host| !host.is_empty()),
        request.labels.into_iter().collect(),
        Duration::from_secs(request.ttl_seconds),
    );
    let invitation = invitation.map_err(Refusal::from)?;
    Ok(invitation.replacing(request.replace))
}

#[tonic::async_trait]
impl Enrolment for EnrolmentService {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let JoinRequest {
            token_secret,
            csr_pem,
            agent_version,
        } = request.into_inner();
        let csr_pem = view::signing_request(csr_pem)?;
        let mut secret = [0; 32];
        // A secret that is none cannot be one that is known.
        hex::decode_to_slice(token_secret, &mut secret)
            .map_err(|_| Refusal::Join(JoinError::Unknown))?;
        let join = self.engine.ask(|reply| Event::Join {
            secret,
            csr_pem,
            version: view::shortened(agent_version),
            reply,
        });
        let (agent, issued) = join.await?;
        Ok(Response::new(JoinResponse {
            name: agent.name.0,
            certificate_pem: issued.pem,
            ca_pem: self.authority.pem().to_owned(),
            role: Role::from(agent.role).into(),
            host: agent.host.unwrap_or_default(),
        }))
    }
}
