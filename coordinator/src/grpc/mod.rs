//! The gRPC services: who may call, and conversion; no decisions.

mod acts;
pub mod agent;
mod backup;
mod check;
pub mod enrolment;
pub mod guard;
mod intake;
mod mended;
pub mod operator;
mod operators;
mod silence;
mod streams;
pub(crate) mod view;

use localize::VantageName;
use proto::identity::Identity;
use tonic::{Code, Request, Status};

use crate::ca::CaError;
use crate::clock;
use crate::engine::Refusal;
use crate::enrolment::{InviteError, JoinError, Unaccepted};
use crate::store::StoreError;
use crate::tls::{Peer, PeerCertificate};

/// Largest message in either direction: a round of thousands of arms is a tenth of it.
pub const LARGEST_MESSAGE: usize = 4 << 20;
/// Largest message of a stranger: a join with a signing request of the longest kind is half of it.
pub const STRANGERS_MESSAGE: usize = 16 << 10;

/// The certificate of whoever calls.
///
/// # Errors
/// UNAUTHENTICATED without one.
fn certificate<T>(request: &Request<T>) -> Result<&PeerCertificate, Status> {
    shown(request.extensions().get::<Peer>())
}

/// The certificate that a peer shows.
///
/// # Errors
/// UNAUTHENTICATED without one.
fn shown(peer: Option<&Peer>) -> Result<&PeerCertificate, Status> {
    peer.and_then(|peer| peer.certificate.as_ref())
        .ok_or_else(|| Status::unauthenticated("this needs a client certificate of this mesh"))
}

/// Lets agents in, by certificate; whether it is revoked is the engine's to say.
///
/// # Errors
/// UNAUTHENTICATED without a certificate, PERMISSION_DENIED with another's.
fn agent<T>(request: &Request<T>) -> Result<(VantageName, PeerCertificate), Status> {
    let certificate = certificate(request)?;
    match &certificate.identity {
        Identity::Agent(name) => Ok((VantageName(name.clone()), certificate.clone())),
        Identity::Operator(_) | Identity::Coordinator => Err(Status::permission_denied(
            "this is for agents; the certificate is not an agent's",
        )),
    }
}

/// Lets agents and operators in: for what only describes the interface.
///
/// # Errors
/// UNAUTHENTICATED without a certificate, or with one that has ended.
pub fn anybody_known(request: Request<()>) -> Result<Request<()>, Status> {
    match certificate(&request)?.not_after_us > clock::now_us() {
        true => Ok(request),
        false => Err(Status::unauthenticated("the certificate has ended")),
    }
}

/// Lets agents in, before anything of the call is read.
///
/// # Errors
/// As every call of theirs.
pub fn agents_alone(request: Request<()>) -> Result<Request<()>, Status> {
    agent(&request)?;
    Ok(request)
}

/// A refusal as it crosses the wire.
impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::new(code(&refusal), refusal.to_string())
    }
}

fn code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::UnknownService(_) | Refusal::UnknownAgent(_) => Code::NotFound,
        Refusal::NoAgent | Refusal::NothingToProbe(_) => Code::FailedPrecondition,
        Refusal::Invite(
            InviteError::Connected(_) | InviteError::Former { .. } | InviteError::Taken(_),
        ) => Code::AlreadyExists,
        Refusal::Invite(
            InviteError::Name(_) | InviteError::Host(_) | InviteError::Labels | InviteError::Ttl(_),
        )
        | Refusal::ServiceFile(_) => Code::InvalidArgument,
        Refusal::Join(JoinError::Connected(_)) => Code::AlreadyExists,
        Refusal::Join(
            JoinError::Unknown
            | JoinError::Used { .. }
            | JoinError::Expired { .. }
            | JoinError::Revoked { .. },
        ) => Code::Unauthenticated,
        Refusal::Unaccepted(Unaccepted::Expired { .. }) => Code::Unauthenticated,
        // Nothing but this ends an agent for good.
        Refusal::Unaccepted(Unaccepted::Revoked(_)) => Code::PermissionDenied,
        Refusal::Unaccepted(
            Unaccepted::Unknown(_) | Unaccepted::Unlisted(_) | Unaccepted::Ended { .. },
        ) => Code::FailedPrecondition,
        Refusal::Certificate(error) => certificate_code(error),
        Refusal::Store(error) => store_code(error),
        Refusal::TooManyRuns
        | Refusal::NoTime(_)
        | Refusal::TooManyChecks
        | Refusal::TooManyNames(_)
        | Refusal::Busy => Code::ResourceExhausted,
        Refusal::Stopping => Code::Unavailable,
    }
}

fn certificate_code(error: &CaError) -> Code {
    match error {
        CaError::Request(_) => Code::InvalidArgument,
        CaError::File(_)
        | CaError::Missing { .. }
        | CaError::Foreign { .. }
        | CaError::Damaged { .. }
        | CaError::Make(_) => Code::Internal,
    }
}

fn store_code(error: &StoreError) -> Code {
    match error {
        StoreError::DiskFull { .. }
        | StoreError::TooLarge { .. }
        | StoreError::NoRoundNumber
        | StoreError::BackupUnderWay
        | StoreError::BackupOutrun => Code::ResourceExhausted,
        StoreError::TokenUnknown | StoreError::TokenUsed | StoreError::TokenExpired => {
            Code::Unauthenticated
        }
        StoreError::Poisoned(_)
        | StoreError::Locked
        | StoreError::Layout { .. }
        | StoreError::Io { .. }
        | StoreError::Gone { .. }
        | StoreError::Lost { .. }
        | StoreError::GaveUp { .. }
        | StoreError::Database { .. }
        | StoreError::Damaged { .. }
        | StoreError::Encode(_) => Code::Internal,
    }
}
