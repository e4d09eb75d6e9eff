//! The door of the operators' service: who may call what is decided by certificate, record and role, before
//! the first byte of a message is read.

use std::convert::Infallible;
use std::task::{Context, Poll};

use proto::identity::Identity;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use tonic::{Code, Request, Status};

use crate::clock;
use crate::engine::Refusal;
use crate::operators::{Caller, Denied, OperatorError, Registry};
use crate::rights::Call;
use crate::store::{Act, Deed};
use crate::tls::Peer;

/// The service behind its door.
#[derive(Clone)]
pub struct Guarded<S> {
    service: S,
    operators: Registry,
}

impl<S> Guarded<S> {
    /// Lets those in whom the registry admits.
    #[must_use]
    pub fn new(service: S, operators: Registry) -> Self {
        Self { service, operators }
    }
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = BoxFuture<S::Response, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        match admit(&self.operators, &request, clock::now_us()) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Box::pin(self.service.call(request))
            }
            Err(refused) => {
                let operators = self.operators.clone();
                let act = asked(&request);
                Box::pin(async move {
                    if let Some(act) = act {
                        operators.refused(act, refused.code()).await;
                    }
                    Ok(refused.into_http())
                })
            }
        }
    }
}

/// Lets operators in.
///
/// # Errors
/// UNAUTHENTICATED without a certificate or with one that has ended while the connection went on,
/// PERMISSION_DENIED with another's, with one that does not count, and when the role is too low,
/// UNIMPLEMENTED for a call that has no role.
fn admit<T>(
    operators: &Registry,
    request: &http::Request<T>,
    now_us: u64,
) -> Result<Caller, Status> {
    let peer = request.extensions().get::<Peer>();
    let certificate = super::shown(peer)?;
    let Identity::Operator(name) = &certificate.identity else {
        return Err(Status::permission_denied(
            "this is for operators; the certificate is not an operator's: use a context that `meshctl operator create` has written, or the coordinator's admin.toml",
        ));
    };
    let call = Call::at(request.uri().path());
    let call = call.ok_or_else(|| Status::unimplemented("there is no such call"))?;
    Ok(operators.admit(certificate, name, call, now_us)?)
}

/// What an operator asks for, as far as it is known before its message is read.
fn asked<T>(request: &http::Request<T>) -> Option<Act> {
    let certificate = super::shown(request.extensions().get::<Peer>()).ok()?;
    let Identity::Operator(name) = &certificate.identity else {
        return None;
    };
    let deed = Deed::Call(Call::at(request.uri().path())?);
    Some(Act::new(clock::now_us(), name, deed, String::new()))
}

/// Who calls, with the message.
///
/// # Errors
/// INTERNAL when nobody has looked who it is.
pub(super) fn let_in<T>(mut request: Request<T>) -> Result<(Caller, T), Status> {
    let caller = request.extensions_mut().remove::<Caller>();
    let caller = caller.ok_or_else(|| Status::internal("nobody has looked who calls"))?;
    Ok((caller, request.into_inner()))
}

/// Why a stream ends before its time.
pub(super) fn over(operators: &Registry, caller: &Caller) -> Status {
    match operators.is_stopping() {
        true => Refusal::Stopping.into(),
        false => Status::permission_denied(format!(
            "the rights of operator {} have changed; try again",
            caller.name
        )),
    }
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        let code = match &denied {
            Denied::Ended { .. } => Code::Unauthenticated,
            Denied::Revoked { .. }
            | Denied::Unlisted { .. }
            | Denied::Superseded { .. }
            | Denied::Role { .. } => Code::PermissionDenied,
        };
        Self::new(code, denied.to_string())
    }
}

impl From<OperatorError> for Status {
    fn from(error: OperatorError) -> Self {
        let code = match &error {
            OperatorError::Name(_) => Code::InvalidArgument,
            OperatorError::Taken { .. } => Code::AlreadyExists,
            OperatorError::Unknown(_) => Code::NotFound,
            OperatorError::Revoked(_) | OperatorError::LastAdmin(_) => Code::FailedPrecondition,
            OperatorError::TooMany => Code::ResourceExhausted,
            OperatorError::Certificate(error) => super::certificate_code(error),
            OperatorError::Stopping => Code::Unavailable,
            OperatorError::Store(error) => super::store_code(error),
        };
        Self::new(code, error.to_string())
    }
}
