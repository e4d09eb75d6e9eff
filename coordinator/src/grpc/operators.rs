//! Operators as they cross the wire.

use proto::v1;
use tonic::Status;

use super::view;
use crate::ca::Issued;
use crate::clock::rfc3339;
use crate::operators::ends_us;
use crate::rights::OperatorRole;
use crate::store::{OperatorRecord, OperatorState};

/// # Errors
/// INVALID_ARGUMENT for one that is not known.
pub(super) fn role(wire: v1::OperatorRole) -> Result<OperatorRole, Status> {
    match wire {
        v1::OperatorRole::Viewer => Ok(OperatorRole::Viewer),
        v1::OperatorRole::Operator => Ok(OperatorRole::Operator),
        v1::OperatorRole::Admin => Ok(OperatorRole::Admin),
        v1::OperatorRole::Unspecified => {
            Err(view::malformed("a role is viewer, operator or admin"))
        }
    }
}

/// An operator and the role that it is to have, for the log.
pub(super) fn with_role(name: &str, role: &Result<OperatorRole, Status>) -> String {
    match role {
        Ok(role) => format!("{name} ({role})"),
        Err(_) => name.to_owned(),
    }
}

pub(super) fn wire_role(role: OperatorRole) -> v1::OperatorRole {
    match role {
        OperatorRole::Viewer => v1::OperatorRole::Viewer,
        OperatorRole::Operator => v1::OperatorRole::Operator,
        OperatorRole::Admin => v1::OperatorRole::Admin,
    }
}

pub(super) fn identity(operator: OperatorRecord, now_us: u64) -> v1::OperatorIdentity {
    let ends_us = ends_us(&operator);
    let state = match operator.state {
        OperatorState::Revoked => "revoked",
        // Of a gap nobody knows what was issued in it.
        OperatorState::Active if ends_us <= now_us && operator.gaps.is_empty() => "expired",
        OperatorState::Active => "active",
    };
    v1::OperatorIdentity {
        role: wire_role(operator.role).into(),
        state: state.to_owned(),
        certificate_expires_at: rfc3339(ends_us),
        created_at: rfc3339(operator.created_us),
        created_by: operator.created_by,
        name: operator.name,
    }
}

pub(super) fn certificate(
    (operator, issued): (OperatorRecord, Issued),
    ca_pem: String,
    now_us: u64,
) -> v1::OperatorCertificate {
    v1::OperatorCertificate {
        certificate_pem: issued.pem,
        ca_pem,
        operator: Some(identity(operator, now_us)),
    }
}
