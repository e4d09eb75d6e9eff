//! Who may be an agent: invitations, joining, renewal and revocation, as decisions on records.
//!
//! A token invites one agent by name. A token for a name that is enrolled enrols it again, and its
//! older certificates stay valid until they end or the agent is revoked; a token for a revoked name
//! invites it again, and the certificates that were revoked stay refused.

use std::collections::BTreeMap;
use std::time::Duration;

use localize::{Role, VantageName};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::ca::{Issued, Serial};
use crate::clock;
use crate::store::{AgentRecord, AgentState, IssuedCertificate, SecretHash, TokenRecord};

/// Validity of a token when nobody said.
pub const DEFAULT_TTL: Duration = Duration::from_secs(3600);
/// Longest validity of a token: whoever finds it later must not get in.
pub const LONGEST_TTL: Duration = Duration::from_secs(24 * 3600);
/// Longest name: that of a DNS label.
const LONGEST_NAME: usize = 63;
/// Labels of an agent, and the length of one: they stand in every listing.
const LABELS: usize = 32;
const LONGEST_LABEL: usize = 128;
/// Certificates remembered for an agent: with a lifetime of a day and renewal at half of it two are
/// alive; the rest is for those who join again and again.
const CERTIFICATES: usize = 16;

/// Why an invitation is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InviteError {
    /// The name is not usable.
    #[error(
        "{0:?} is not a name for an agent: 1 to 63 of a-z, 0-9, '.' and '-', the first a letter or a digit"
    )]
    Name(String),
    /// The host's name is not usable.
    #[error("{0:?} is not a host's name: 1 to 63 printable characters")]
    Host(String),
    /// Too many or too long labels.
    #[error("labels: at most 32, each name and value at most 128 bytes, no name empty")]
    Labels,
    /// The validity is too long.
    #[error("a token is valid for at most 24 h, not for {0} s")]
    Ttl(u64),
}

/// Why somebody may not join.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JoinError {
    /// No such token.
    #[error("this token is not known here (wrong coordinator, or mistyped)")]
    Unknown,
    /// The token was used before.
    #[error("this token was used at {at}; {}", again(.name, *.role))]
    Used {
        /// When, RFC 3339.
        at: String,
        /// The name that it was for.
        name: VantageName,
        /// The role likewise.
        role: Role,
    },
    /// The token is too old.
    #[error("this token expired at {at}; {}", again(.name, *.role))]
    Expired {
        /// When, RFC 3339.
        at: String,
        /// The name that it was for.
        name: VantageName,
        /// The role likewise.
        role: Role,
    },
    /// The agent was revoked after the token was made.
    #[error("agent {name} was revoked after this token was made; {}", again(.name, *.role))]
    Revoked {
        /// The name that the token was for.
        name: VantageName,
        /// The role likewise.
        role: Role,
    },
}

/// The command that makes another token.
fn again(name: &VantageName, role: Role) -> String {
    let role = match role {
        Role::Outside => "outside",
        Role::BehindCdn => "behind-cdn",
        Role::Inside => "inside",
    };
    format!("make a new one with `meshctl agent token --name {name} --role {role}`")
}

/// Why a certificate is not accepted although the authority has signed it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unaccepted {
    /// The agent is revoked, or this certificate of it was.
    #[error(
        "the certificate of agent {0} is revoked; a new token lets it join again: `meshctl agent token --name {0} --role ROLE`"
    )]
    Revoked(VantageName),
    /// The data folder knows no such agent.
    #[error("agent {0} is not known here; it must join with a token of this coordinator")]
    Unknown(VantageName),
    /// The certificate has ended while the connection went on.
    #[error(
        "the certificate of agent {name} ended at {at}; connect again with the renewed one, or join again"
    )]
    Expired {
        /// The agent.
        name: VantageName,
        /// When, RFC 3339.
        at: String,
    },
}

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    name: VantageName,
    role: Role,
    host: Option<String>,
    labels: BTreeMap<String, String>,
    ttl: Duration,
}

impl Invitation {
    /// Checks the wishes; a `ttl` of zero means the default of an hour.
    ///
    /// # Errors
    /// When a name or label is not usable or the validity too long.
    pub fn new(
        name: String,
        role: Role,
        host: Option<String>,
        labels: BTreeMap<String, String>,
        ttl: Duration,
    ) -> Result<Self, InviteError> {
        if !is_name(&name) {
            return Err(InviteError::Name(name));
        }
        if let Some(host) = &host
            && (host.is_empty() || host.len() > LONGEST_NAME || host.contains(char::is_control))
        {
            return Err(InviteError::Host(host.clone()));
        }
        let fits = |(key, value): (&String, &String)| {
            !key.is_empty() && key.len() <= LONGEST_LABEL && value.len() <= LONGEST_LABEL
        };
        if labels.len() > LABELS || !labels.iter().all(fits) {
            return Err(InviteError::Labels);
        }
        if ttl > LONGEST_TTL {
            return Err(InviteError::Ttl(ttl.as_secs()));
        }
        Ok(Self {
            name: VantageName(name),
            role,
            host,
            labels,
            ttl: if ttl.is_zero() { DEFAULT_TTL } else { ttl },
        })
    }

    /// The agent invited.
    #[must_use]
    pub fn name(&self) -> &VantageName {
        &self.name
    }

    /// How long the token will be valid, in microseconds.
    #[must_use]
    pub fn ttl_us(&self) -> u64 {
        u64::try_from(self.ttl.as_micros()).unwrap_or(u64::MAX)
    }

    /// The token to store for a secret.
    #[must_use]
    pub fn token(&self, secret: &[u8; 32], now_us: u64) -> TokenRecord {
        TokenRecord {
            secret_sha256: hash(secret),
            name: self.name.clone(),
            role: self.role,
            host: self.host.clone(),
            labels: self.labels.clone(),
            expires_us: now_us.saturating_add(self.ttl_us()),
            used_at_us: None,
        }
    }

    /// The agent's record from now on; `None` when an enrolled one stays as it is until it joins again.
    #[must_use]
    pub fn invited(&self, known: Option<&AgentRecord>) -> Option<AgentRecord> {
        if known.is_some_and(|agent| agent.state == AgentState::Enrolled) {
            return None;
        }
        Some(AgentRecord {
            name: self.name.clone(),
            role: self.role,
            host: self.host.clone(),
            labels: self.labels.clone(),
            state: AgentState::Invited,
            certificates: Vec::new(),
            version: String::new(),
            last_seen_us: known.and_then(|agent| agent.last_seen_us),
            addresses: Vec::new(),
            resolvers: Vec::new(),
            witness: false,
            witness_trouble: String::new(),
        })
    }
}

/// What names the token of a secret in the store.
#[must_use]
pub fn hash(secret: &[u8; 32]) -> SecretHash {
    SecretHash(Sha256::digest(secret).into())
}

/// Whether a token lets somebody join now.
///
/// # Errors
/// With the reason in words that tell what to do.
pub fn admit(
    token: Option<TokenRecord>,
    known: impl FnOnce(&VantageName) -> Option<AgentState>,
    now_us: u64,
) -> Result<TokenRecord, JoinError> {
    let token = token.ok_or(JoinError::Unknown)?;
    if let Some(at_us) = token.used_at_us {
        return Err(JoinError::Used {
            at: clock::rfc3339(at_us),
            name: token.name,
            role: token.role,
        });
    }
    if now_us >= token.expires_us {
        return Err(JoinError::Expired {
            at: clock::rfc3339(token.expires_us),
            name: token.name,
            role: token.role,
        });
    }
    if known(&token.name) == Some(AgentState::Revoked) {
        return Err(JoinError::Revoked {
            name: token.name,
            role: token.role,
        });
    }
    Ok(token)
}

/// The record of an agent that has joined.
#[must_use]
pub fn enrolled(
    token: &TokenRecord,
    known: Option<&AgentRecord>,
    issued: &Issued,
    version: String,
    now_us: u64,
) -> AgentRecord {
    let mut agent = AgentRecord {
        name: token.name.clone(),
        role: token.role,
        host: token.host.clone(),
        labels: token.labels.clone(),
        state: AgentState::Enrolled,
        certificates: known.map(|a| a.certificates.clone()).unwrap_or_default(),
        version,
        last_seen_us: known.and_then(|agent| agent.last_seen_us),
        addresses: Vec::new(),
        resolvers: Vec::new(),
        witness: false,
        witness_trouble: String::new(),
    };
    certified(&mut agent, issued, now_us);
    agent
}

/// Adds a certificate to an agent's record and forgets those that have ended.
pub fn certified(agent: &mut AgentRecord, issued: &Issued, now_us: u64) {
    agent.certificates.retain(|known| known.expires_us > now_us);
    let surplus = (agent.certificates.len() + 1).saturating_sub(CERTIFICATES);
    agent.certificates.drain(..surplus);
    agent.certificates.push(IssuedCertificate {
        serial: issued.serial.0.clone(),
        expires_us: issued.not_after_us,
    });
}

/// Revokes an agent: none of its certificates is accepted from now on.
pub fn revoke(agent: &mut AgentRecord) {
    agent.state = AgentState::Revoked;
    agent.certificates.clear();
}

/// Whether a certificate, whose chain holds, is one of this agent's that counts.
///
/// # Errors
/// With the reason in words that tell what to do.
pub fn accept(
    name: &VantageName,
    agent: Option<&AgentRecord>,
    serial: &Serial,
    not_after_us: u64,
    now_us: u64,
) -> Result<(), Unaccepted> {
    if now_us >= not_after_us {
        return Err(Unaccepted::Expired {
            name: name.clone(),
            at: clock::rfc3339(not_after_us),
        });
    }
    let agent = agent.ok_or_else(|| Unaccepted::Unknown(name.clone()))?;
    let listed = agent.certificates.iter().any(|c| c.serial == serial.0);
    match agent.state {
        AgentState::Enrolled if listed => Ok(()),
        AgentState::Enrolled | AgentState::Revoked | AgentState::Invited => {
            Err(Unaccepted::Revoked(name.clone()))
        }
    }
}

/// `[a-z0-9][a-z0-9.-]{0,62}`: fits a SPIFFE path segment and a DNS label alike.
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= LONGEST_NAME
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|b| plain(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000_000;

    fn invitation(name: &str, ttl: u64) -> Result<Invitation, InviteError> {
        let ttl = Duration::from_secs(ttl);
        Invitation::new(name.into(), Role::Outside, None, BTreeMap::new(), ttl)
    }

    fn issued(serial: &str) -> Issued {
        Issued {
            der: Vec::new().into(),
            pem: String::new(),
            serial: Serial(serial.into()),
            not_after_us: NOW + 1_000_000,
        }
    }

    #[test]
    fn names() {
        let long = "a".repeat(64);
        for (name, good) in [
            ("home1", true),
            ("1", true),
            ("dc-1.example", true),
            ("", false),
            ("-a", false),
            ("Home", false),
            ("a/b", false),
            ("a b", false),
            (&long[..63], true),
            (&long, false),
        ] {
            assert_eq!(invitation(name, 0).is_ok(), good, "{name:?}");
        }
    }

    #[test]
    fn validity_of_tokens() {
        let expires = |ttl| invitation("a", ttl).map(|i| i.token(&[1; 32], NOW).expires_us - NOW);
        assert_eq!(expires(0), Ok(3_600_000_000));
        assert_eq!(expires(60), Ok(60_000_000));
        assert_eq!(expires(86_401), Err(InviteError::Ttl(86_401)));
    }

    #[test]
    fn messages_say_which() {
        let token = invitation("home1", 60).unwrap().token(&[1; 32], NOW);
        let used = TokenRecord {
            used_at_us: Some(NOW),
            ..token.clone()
        };
        for (token, state, now, expected) in [
            (
                None,
                None,
                NOW,
                "not known here (wrong coordinator, or mistyped)",
            ),
            (
                Some(used),
                None,
                NOW,
                "was used at 2023-11-14T22:13:20.000Z",
            ),
            (
                Some(token.clone()),
                None,
                NOW + 60_000_000,
                "expired at 2023-11-14T22:14:20.000Z; make a new one with `meshctl agent token --name home1 --role outside`",
            ),
            (
                Some(token.clone()),
                Some(AgentState::Revoked),
                NOW,
                "was revoked after this token was made",
            ),
        ] {
            let message = admit(token, |_| state, now).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        assert!(
            admit(
                Some(token),
                |_| Some(AgentState::Enrolled),
                NOW + 59_999_999
            )
            .is_ok()
        );
    }

    #[test]
    fn a_life_of_certificates() {
        let invitation = invitation("home1", 60).unwrap();
        let token = invitation.token(&[1; 32], NOW);
        let name = token.name.clone();
        let accepted = |agent: Option<&AgentRecord>, serial: &str, now| {
            accept(&name, agent, &Serial(serial.into()), NOW + 1_000_000, now)
        };
        assert!(matches!(
            accepted(None, "aa", NOW),
            Err(Unaccepted::Unknown(_))
        ));
        let mut agent = enrolled(&token, None, &issued("aa"), String::new(), NOW);
        assert_eq!(accepted(Some(&agent), "aa", NOW), Ok(()));
        assert!(matches!(
            accepted(Some(&agent), "bb", NOW),
            Err(Unaccepted::Revoked(_))
        ));
        assert!(matches!(
            accepted(Some(&agent), "aa", NOW + 1_000_000),
            Err(Unaccepted::Expired { .. })
        ));
        certified(&mut agent, &issued("bb"), NOW);
        assert_eq!(
            accepted(Some(&agent), "aa", NOW),
            Ok(()),
            "the older one stays"
        );
        assert_eq!(invitation.invited(Some(&agent)), None);

        revoke(&mut agent);
        assert!(matches!(
            accepted(Some(&agent), "bb", NOW),
            Err(Unaccepted::Revoked(_))
        ));
        let again = invitation.invited(Some(&agent)).unwrap();
        assert_eq!(again.state, AgentState::Invited);
        let again = enrolled(&token, Some(&again), &issued("cc"), String::new(), NOW);
        assert_eq!(accepted(Some(&again), "cc", NOW), Ok(()));
        assert!(matches!(
            accepted(Some(&again), "bb", NOW),
            Err(Unaccepted::Revoked(_))
        ));
    }

    #[test]
    fn the_list_of_certificates_is_bounded() {
        let token = invitation("a", 0).unwrap().token(&[1; 32], NOW);
        let mut agent = enrolled(&token, None, &issued("00"), String::new(), NOW);
        for n in 0..100 {
            certified(&mut agent, &issued(&n.to_string()), NOW);
        }
        assert_eq!(agent.certificates.len(), CERTIFICATES);
        assert_eq!(agent.certificates.last().unwrap().serial, "99");
    }
}
