//! The gRPC services: who may call, and conversion; no decisions.

pub mod agent;
mod check;
pub mod enrolment;
mod mended;
pub mod operator;
pub(crate) mod view;

use localize::VantageName;
use proto::identity::Identity;
use tonic::{Code, Request, Status};

use crate::ca::CaError;
use crate::engine::Refusal;
use crate::enrolment::Unaccepted;
use crate::store::StoreError;
use crate::tls::{Peer, PeerCertificate};

/// Largest message in either direction: a round of thousands of arms is a tenth of it.
pub const LARGEST_MESSAGE: usize = 4 << 20;

/// The certificate of whoever calls.
///
/// # Errors
/// UNAUTHENTICATED without one.
fn certificate<T>(request: &Request<T>) -> Result<&PeerCertificate, Status> {
    request
        .extensions()
        .get::<Peer>()
        .and_then(|peer| peer.certificate.as_ref())
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

/// Lets operators in.
///
/// # Errors
/// UNAUTHENTICATED without a certificate or with one that has ended while the connection went on,
/// PERMISSION_DENIED with another's.
fn operator<T>(request: &Request<T>, now_us: u64) -> Result<(), Status> {
    let certificate = certificate(request)?;
    match &certificate.identity {
        Identity::Operator(_) if certificate.not_after_us <= now_us => Err(
            Status::unauthenticated("the operator's certificate has ended"),
        ),
        Identity::Operator(_) => Ok(()),
        Identity::Agent(_) | Identity::Coordinator => Err(Status::permission_denied(
            "this is for operators; the certificate is not an operator's",
        )),
    }
}

/// Lets agents and operators in: for what only describes the interface.
///
/// # Errors
/// UNAUTHENTICATED without a certificate.
pub fn anybody_known(request: Request<()>) -> Result<Request<()>, Status> {
    certificate(&request)?;
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
        Refusal::Invite(_) | Refusal::ServiceFile(_) => Code::InvalidArgument,
        Refusal::Join(_) => Code::Unauthenticated,
        Refusal::Unaccepted(Unaccepted::Expired { .. }) => Code::Unauthenticated,
        Refusal::Unaccepted(Unaccepted::Revoked(_) | Unaccepted::Unknown(_)) => {
            Code::PermissionDenied
        }
        Refusal::Certificate(CaError::Request(_)) => Code::InvalidArgument,
        Refusal::Certificate(
            CaError::File(_)
            | CaError::KeyMissing { .. }
            | CaError::Damaged { .. }
            | CaError::Make(_),
        ) => Code::Internal,
        Refusal::Store(error) => store_code(error),
        Refusal::TooManyRuns | Refusal::TooManyChecks | Refusal::Busy => Code::ResourceExhausted,
        Refusal::Stopping => Code::Unavailable,
    }
}

fn store_code(error: &StoreError) -> Code {
    match error {
        StoreError::DiskFull { .. } | StoreError::TooLarge { .. } | StoreError::NoRoundNumber => {
            Code::ResourceExhausted
        }
        StoreError::TokenUnknown | StoreError::TokenUsed | StoreError::TokenExpired => {
            Code::Unauthenticated
        }
        StoreError::Poisoned(_)
        | StoreError::Locked
        | StoreError::Layout { .. }
        | StoreError::Io { .. }
        | StoreError::Database { .. }
        | StoreError::Damaged { .. }
        | StoreError::Encode(_) => Code::Internal,
    }
}
