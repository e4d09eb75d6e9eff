//! Who may be an operator, and what each may do: decisions on records.
//!
//! A certificate says who somebody is, and the store what that one may do: so a change of role counts at the
//! next call, and not when a certificate ends. One admin at least is left at any time.

mod refusals;
mod registry;

use std::time::Duration;

use thiserror::Error;

use crate::ca::{CaError, Issued};
use crate::clock;
use crate::enrolment;
use crate::rights::{Call, OperatorRole};
use crate::store::{Gap, IssuedCertificate, OperatorRecord, OperatorState, StoreError};
use crate::tls::PeerCertificate;

pub use registry::{Caller, Registry};

/// Who acts when it is somebody with access to the coordinator's own host: no operator has such a name.
pub const HOST: &str = "host";
/// Name of the operator whose context is written at the first start.
pub const FIRST: &str = "admin";
/// Certificates from before a renewal are good for so long: the answer may be lost on its way.
const OLD_ONES: Duration = Duration::from_secs(3600);
/// Operators, revoked ones included: each is looked through in every listing.
const OPERATORS: usize = 1000;
/// Certificates of one operator that are remembered, and of those that were revoked.
const CERTIFICATES: usize = 16;
const REVOKED: usize = 64;

/// Why something asked of the operators is not done.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// The name is not usable.
    #[error(
        "{0:?} is not a name for an operator: 1 to 63 of a-z, 0-9, '.' and '-', the first a letter or a digit, and not `host`"
    )]
    Name(String),
    /// There is one of that name.
    #[error(
        "there is an operator {name} already, with role {role}: `meshctl operator role {name} ROLE` changes that; for a lost context `meshctl operator revoke {name}`, then create it again"
    )]
    Taken {
        /// The name.
        name: String,
        /// The role that it has.
        role: OperatorRole,
    },
    /// None of that name.
    #[error("there is no operator {0}; `meshctl operator list` shows what there is")]
    Unknown(String),
    /// It is revoked.
    #[error("operator {0} is revoked; `meshctl operator create {0} --role ROLE` lets it in again")]
    Revoked(String),
    /// Nobody would be left who can let anybody in.
    #[error("{0} is the last admin whose certificate is good: make another one first")]
    LastAdmin(String),
    /// Too many.
    #[error("there are 1000 operators, revoked ones included")]
    TooMany,
    /// The certificate cannot be made.
    #[error(transparent)]
    Certificate(#[from] CaError),
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The coordinator is going down.
    #[error("the coordinator is shutting down")]
    Stopping,
}

/// Why somebody with an operator's certificate of this mesh may not do what it asks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    /// The certificate has ended.
    #[error(
        "the certificate of operator {name} ended at {at}, and the coordinator's clock says {now}; {}", again(.name)
    )]
    Ended {
        /// The operator.
        name: String,
        /// When, RFC 3339.
        at: String,
        /// The time at the coordinator, RFC 3339.
        now: String,
    },
    /// The operator is revoked, or this certificate of it was.
    #[error("the certificate of operator {name} is revoked; {}", again(.name))]
    Revoked {
        /// The operator.
        name: String,
    },
    /// The store knows no such operator, or not this certificate.
    #[error(
        "the certificate of operator {name} is not among those that this coordinator's store knows (is the store of an earlier day?); {}", again(.name)
    )]
    Unlisted {
        /// The operator.
        name: String,
    },
    /// A later one has taken its place.
    #[error(
        "operator {name} has renewed its certificate, and this older one is good no longer: use the context that `meshctl operator renew` has written"
    )]
    Superseded {
        /// The operator.
        name: String,
    },
    /// The role is too low.
    #[error(
        "you are operator {name} with role {has}, and {} needs role {}; {}", .call.name(), .call.needs(), ask(.admins)
    )]
    Role {
        /// The operator.
        name: String,
        /// Its role.
        has: OperatorRole,
        /// What it asked for.
        call: Call,
        /// Who can change that.
        admins: Vec<String>,
    },
}

/// How somebody gets in again whose certificate is none.
fn again(name: &str) -> String {
    format!(
        "an admin makes a new one by `meshctl operator revoke {name}` and `meshctl operator create {name} --role ROLE`; where there is no admin left, remove admin.toml from the coordinator's data folder and start it again"
    )
}

/// Whom to ask for another role.
fn ask(admins: &[String]) -> String {
    const NAMED: usize = 5;
    match admins.len() {
        0 => "no admin is left to ask".to_owned(),
        count if count > NAMED => format!("ask {} or another admin", admins[..NAMED].join(", ")),
        _ => format!("ask an admin: {}", admins.join(", ")),
    }
}

/// Whether a name can be an operator's.
#[must_use]
pub fn is_name(name: &str) -> bool {
    enrolment::is_name(name) && name != HOST
}

/// A new operator, or one that was revoked and is let in again.
///
/// # Errors
/// When the name is not usable or taken.
pub fn created(
    known: Option<&OperatorRecord>,
    name: &str,
    role: OperatorRole,
    by: &str,
    now_us: u64,
) -> Result<OperatorRecord, OperatorError> {
    if !is_name(name) {
        return Err(OperatorError::Name(name.to_owned()));
    }
    if let Some(known) = known.filter(|known| known.state == OperatorState::Active) {
        return Err(OperatorError::Taken {
            name: name.to_owned(),
            role: known.role,
        });
    }
    Ok(OperatorRecord {
        name: name.to_owned(),
        role,
        state: OperatorState::Active,
        certificates: Vec::new(),
        revoked: known.map(|known| known.revoked.clone()).unwrap_or_default(),
        gaps: Vec::new(),
        created_us: now_us,
        created_by: by.to_owned(),
    })
}

/// The first operator, with the certificates that were issued before anything was written down of operators.
#[must_use]
pub fn first(now_us: u64) -> OperatorRecord {
    OperatorRecord {
        name: FIRST.to_owned(),
        role: OperatorRole::Admin,
        state: OperatorState::Active,
        certificates: Vec::new(),
        revoked: Vec::new(),
        gaps: vec![Gap {
            from_us: 0,
            until_us: now_us,
        }],
        created_us: now_us,
        created_by: HOST.to_owned(),
    }
}

/// Adds a certificate to an operator's record, and forgets those that have ended.
pub fn certified(operator: &mut OperatorRecord, issued: &Issued, now_us: u64) {
    let good = |known: &IssuedCertificate| known.expires_us > now_us;
    operator.certificates.retain(good);
    operator.revoked.retain(good);
    let surplus = (operator.certificates.len() + 1).saturating_sub(CERTIFICATES);
    operator.certificates.drain(..surplus);
    operator.certificates.push(IssuedCertificate {
        serial: issued.serial.0.clone(),
        expires_us: issued.not_after_us,
    });
}

/// A certificate in the place of all others of its operator, which are good for another hour.
pub fn renewed(
    operator: &mut OperatorRecord,
    peer: &PeerCertificate,
    issued: &Issued,
    now_us: u64,
) {
    let old_us = now_us.saturating_add(u64::try_from(OLD_ONES.as_micros()).unwrap_or(u64::MAX));
    let listed = operator.certificates.iter();
    if !listed.clone().any(|known| known.serial == peer.serial.0) {
        operator.certificates.push(IssuedCertificate {
            serial: peer.serial.0.clone(),
            expires_us: peer.not_after_us,
        });
    }
    for known in &mut operator.certificates {
        known.expires_us = known.expires_us.min(old_us);
    }
    operator.gaps.clear();
    certified(operator, issued, now_us);
}

/// Refuses an operator's certificates for good.
pub fn revoke(operator: &mut OperatorRecord) {
    operator.state = OperatorState::Revoked;
    operator.gaps.clear();
    operator.revoked.append(&mut operator.certificates);
    let surplus = operator.revoked.len().saturating_sub(REVOKED);
    operator.revoked.drain(..surplus);
}

/// Whether an operator is an admin that can do something at `now_us`.
#[must_use]
pub fn is_able_admin(operator: &OperatorRecord, now_us: u64) -> bool {
    operator.state == OperatorState::Active
        && operator.role == OperatorRole::Admin
        && (!operator.gaps.is_empty() || ends_us(operator) > now_us)
}

/// The latest end of an operator's certificates, in microseconds since the Unix epoch; zero when none is
/// listed.
#[must_use]
pub fn ends_us(operator: &OperatorRecord) -> u64 {
    let ends = operator.certificates.iter().map(|known| known.expires_us);
    ends.max().unwrap_or(0)
}

/// The role of whoever shows a certificate, whose signature holds.
///
/// # Errors
/// With the reason in words that tell what to do.
pub fn accept(
    operator: Option<&OperatorRecord>,
    peer: &PeerCertificate,
    name: &str,
    now_us: u64,
) -> Result<OperatorRole, Denied> {
    let named = || name.to_owned();
    if peer.not_after_us <= now_us {
        return Err(Denied::Ended {
            name: named(),
            at: clock::rfc3339(peer.not_after_us),
            now: clock::rfc3339(now_us),
        });
    }
    let operator = operator.ok_or_else(|| Denied::Unlisted { name: named() })?;
    let serial = &peer.serial.0;
    let revoked = operator.revoked.iter().any(|known| known.serial == *serial);
    if revoked || operator.state == OperatorState::Revoked {
        return Err(Denied::Revoked { name: named() });
    }
    let listed = operator.certificates.iter();
    match listed.clone().find(|known| known.serial == *serial) {
        Some(known) if known.expires_us <= now_us => Err(Denied::Superseded { name: named() }),
        Some(_) => Ok(operator.role),
        None if operator.gaps.iter().any(|gap| gap.covers(peer.issued_us)) => Ok(operator.role),
        None => Err(Denied::Unlisted { name: named() }),
    }
}

#[cfg(test)]
mod tests;
