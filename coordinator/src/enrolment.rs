//! Who may be an agent: invitations, joining, renewal and revocation, as decisions on records.
//!
//! A token invites one agent by name. A token for a name that is enrolled enrols it again, and its
//! older certificates stay valid until they end or the agent is revoked; a token for a revoked name
//! invites it again, and the certificates that were revoked stay refused. A name that is connected is
//! given to nobody else, unless the token was made to replace it. A certificate that has ended opens no
//! session, and renews for as long as the operator's grace lasts: an outage costs nobody its identity. Nor
//! does a store that was restored from a backup: what was issued between backup and restore counts, until
//! the agent is revoked or replaced.

use std::collections::BTreeMap;
use std::time::Duration;

use localize::{Role, VantageName};
use proto::convert::printable;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::ca::Issued;
use crate::clock;
use crate::store::{AgentRecord, AgentState, IssuedCertificate, SecretHash, TokenRecord};
use crate::tls::PeerCertificate;

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
/// Revoked ones remembered: those of four agents of one name that were revoked within the grace. An
/// older one is not accepted either, since no list names it.
const REVOKED: usize = 64;

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
    #[error(
        "labels: at most 32, each name and value at most 128 bytes of printable text, no name empty"
    )]
    Labels,
    /// The validity is too long.
    #[error("a token is valid for at most 24 h, not for {0} s")]
    Ttl(u64),
    /// Somebody is there by that name.
    #[error(
        "agent {0} is connected, and another one would take its place: choose another name, or say --replace to have the token do so"
    )]
    Connected(VantageName),
    /// Certificates and spools may still carry it.
    #[error("{former} is a former name of agent {name}: choose another one")]
    Former {
        /// The name wanted.
        former: VantageName,
        /// Who had it.
        name: VantageName,
    },
    /// Another agent has it.
    #[error("there is an agent {0} already: choose another name, or delete that one first")]
    Taken(VantageName),
}

/// Why somebody may not join.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JoinError {
    /// No such token.
    #[error(
        "this token is not known here (wrong coordinator, mistyped, or made before its store was restored or repaired)"
    )]
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
    /// Somebody is there by the token's name.
    #[error(
        "agent {0} is connected, and the token does not say that it is to be replaced; the token stays good: stop that agent, or make one with `meshctl agent token --replace`"
    )]
    Connected(VantageName),
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
    #[error(
        "agent {0} is not known here (deleted, or the coordinator's store is of an earlier day); a new token lets it join again: `meshctl agent token --name {0} --role ROLE`"
    )]
    Unknown(VantageName),
    /// The authority has signed it, and the store does not list it.
    #[error(
        "the certificate of agent {0} is not among those that this coordinator's store knows (is the store of an earlier day?); a token for the same agent: `meshctl agent rejoin {0}`"
    )]
    Unlisted(VantageName),
    /// The certificate has ended, and may be renewed.
    #[error(
        "the certificate of agent {name} ended at {at}, by the coordinator's clock ({now}); it may be renewed until {until}"
    )]
    Expired {
        /// The agent.
        name: VantageName,
        /// When, RFC 3339.
        at: String,
        /// The time at the coordinator, RFC 3339.
        now: String,
        /// Until when it may be renewed, RFC 3339.
        until: String,
    },
    /// The certificate has ended, and so has the grace.
    #[error(
        "the certificate of agent {name} ended at {at}, too long ago by the coordinator's clock ({now}) to be renewed; if that clock is right, a token for the same agent: `meshctl agent rejoin {name}`"
    )]
    Ended {
        /// The agent.
        name: VantageName,
        /// When, RFC 3339.
        at: String,
        /// The time at the coordinator, RFC 3339.
        now: String,
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
    replace: bool,
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
            && (host.is_empty() || host.len() > LONGEST_NAME || printable(host.clone()) != *host)
        {
            return Err(InviteError::Host(host.clone()));
        }
        let fits = |(key, value): (&String, &String)| {
            let plain =
                |text: &str| text.len() <= LONGEST_LABEL && printable(text.to_owned()) == *text;
            !key.is_empty() && plain(key) && plain(value)
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
            replace: false,
        })
    }

    /// For an agent that is known, as it is known.
    ///
    /// # Errors
    /// When the validity is too long.
    pub fn again(agent: &AgentRecord, ttl: Duration) -> Result<Self, InviteError> {
        let name = agent.name.0.clone();
        Self::new(
            name,
            agent.role,
            agent.host.clone(),
            agent.labels.clone(),
            ttl,
        )
    }

    /// The same, for an agent that takes the place of one that is connected by the name.
    #[must_use]
    pub fn replacing(self, replace: bool) -> Self {
        Self { replace, ..self }
    }

    /// Whether it may be made, while the agent of its name is connected or not, and others had the name.
    ///
    /// # Errors
    /// With what to do about it.
    pub fn permit<'a>(
        &self,
        connected: bool,
        mut others: impl Iterator<Item = &'a AgentRecord>,
    ) -> Result<(), InviteError> {
        if connected && !self.replace {
            return Err(InviteError::Connected(self.name.clone()));
        }
        match others.find(|agent| agent.former.contains(&self.name)) {
            None => Ok(()),
            Some(agent) => Err(InviteError::Former {
                former: self.name.clone(),
                name: agent.name.clone(),
            }),
        }
    }

    /// The agent invited.
    #[must_use]
    pub fn name(&self) -> &VantageName {
        &self.name
    }

    /// How long the token will be valid, in microseconds.
    #[must_use]
    pub fn ttl_us(&self) -> u64 {
        micros(self.ttl)
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
            used_for: None,
            replace: self.replace,
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
            revoked: known.map(|a| a.revoked.clone()).unwrap_or_default(),
            former: known.map(|a| a.former.clone()).unwrap_or_default(),
            // Whoever was revoked is let in by the new token alone.
            gaps: known
                .filter(|agent| agent.state != AgentState::Revoked)
                .map(|agent| agent.gaps.clone())
                .unwrap_or_default(),
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

/// Whether somebody with this key may join by a token now.
///
/// # Errors
/// With the reason in words that tell what to do.
pub fn admit<'a>(
    token: Option<TokenRecord>,
    key_sha256: &[u8; 32],
    known: impl FnOnce(&VantageName) -> (Option<&'a AgentRecord>, bool),
    now_us: u64,
) -> Result<TokenRecord, JoinError> {
    let token = token.ok_or(JoinError::Unknown)?;
    let (agent, connected) = known(&token.name);
    if let Some(at_us) = token.used_at_us {
        if same_again(&token, key_sha256, agent) {
            return Ok(token);
        }
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
    if agent.is_some_and(|agent| agent.state == AgentState::Revoked) {
        return Err(JoinError::Revoked {
            name: token.name,
            role: token.role,
        });
    }
    if connected && !token.replace {
        return Err(JoinError::Connected(token.name));
    }
    Ok(token)
}

/// Whether the holder of the key that a token was used for asks again, since the answer was lost. Not
/// when what it got has been revoked, or has left the list.
fn same_again(token: &TokenRecord, key_sha256: &[u8; 32], agent: Option<&AgentRecord>) -> bool {
    let used_for = token.used_for.as_ref();
    used_for.is_some_and(|used| {
        let listed = |agent: &AgentRecord| lists(&agent.certificates, &used.serial);
        used.key_sha256 == *key_sha256 && agent.is_some_and(listed)
    })
}

fn lists(certificates: &[IssuedCertificate], serial: &str) -> bool {
    certificates.iter().any(|known| known.serial == serial)
}

/// The record of an agent that has joined.
#[must_use]
pub fn enrolled(
    token: &TokenRecord,
    known: Option<&AgentRecord>,
    issued: &Issued,
    version: String,
    now_us: u64,
    grace: Duration,
) -> AgentRecord {
    let mut agent = AgentRecord {
        name: token.name.clone(),
        role: token.role,
        host: token.host.clone(),
        labels: token.labels.clone(),
        state: AgentState::Enrolled,
        certificates: known.map(|a| a.certificates.clone()).unwrap_or_default(),
        revoked: known.map(|a| a.revoked.clone()).unwrap_or_default(),
        former: known.map(|a| a.former.clone()).unwrap_or_default(),
        gaps: known.map(|a| a.gaps.clone()).unwrap_or_default(),
        version,
        last_seen_us: known.and_then(|agent| agent.last_seen_us),
        addresses: Vec::new(),
        resolvers: Vec::new(),
        witness: false,
        witness_trouble: String::new(),
    };
    if token.replace {
        refuse_all(&mut agent);
    }
    certified(&mut agent, issued, now_us, grace);
    agent
}

/// Adds a certificate to an agent's record and forgets those that nobody may renew any more.
pub fn certified(agent: &mut AgentRecord, issued: &Issued, now_us: u64, grace: Duration) {
    let kept_us = now_us.saturating_sub(micros(grace));
    agent
        .certificates
        .retain(|known| known.expires_us > kept_us);
    agent.revoked.retain(|known| known.expires_us > kept_us);
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
    refuse_all(agent);
}

/// Refuses the certificates of an agent for good, those of which nothing is known included.
fn refuse_all(agent: &mut AgentRecord) {
    agent.gaps.clear();
    agent.revoked.append(&mut agent.certificates);
    let surplus = agent.revoked.len().saturating_sub(REVOKED);
    agent.revoked.drain(..surplus);
}

/// Takes a certificate that is accepted onto the list, where only the gap of a restored store speaks for it.
pub fn recognise(agent: &mut AgentRecord, peer: &PeerCertificate) {
    if lists(&agent.certificates, &peer.serial.0) {
        return;
    }
    agent.state = AgentState::Enrolled;
    agent.certificates.push(IssuedCertificate {
        serial: peer.serial.0.clone(),
        expires_us: peer.not_after_us,
    });
}

/// What a certificate is to be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A session: it has not ended.
    Session,
    /// Its renewal: it ended no longer ago than the grace lasts.
    Renewal,
}

/// Whether a certificate, whose signature holds, is one of this agent's that counts.
///
/// # Errors
/// With the reason in words that tell what to do.
pub fn accept(
    agent: Option<&AgentRecord>,
    peer: &PeerCertificate,
    name: &VantageName,
    purpose: Purpose,
    grace: Duration,
    now_us: u64,
) -> Result<(), Unaccepted> {
    let agent = agent.ok_or_else(|| Unaccepted::Unknown(name.clone()))?;
    let serial = &peer.serial.0;
    let in_gap = agent.gaps.iter().any(|gap| gap.covers(peer.issued_us));
    let revoked = match agent.state {
        // An invited one that shows a certificate has joined a store that knows more than this one.
        AgentState::Enrolled | AgentState::Invited => lists(&agent.revoked, serial),
        // It was let in again after the backup, and nobody knows whether that still holds: neither in, nor
        // ended for good.
        AgentState::Revoked => !in_gap || lists(&agent.revoked, serial),
    };
    if revoked {
        return Err(Unaccepted::Revoked(name.clone()));
    }
    in_time(peer.not_after_us, name, purpose, grace, now_us)?;
    let vouched_for = in_gap && agent.state != AgentState::Revoked;
    match vouched_for || lists(&agent.certificates, serial) {
        true => Ok(()),
        false => Err(Unaccepted::Unlisted(name.clone())),
    }
}

fn in_time(
    not_after_us: u64,
    name: &VantageName,
    purpose: Purpose,
    grace: Duration,
    now_us: u64,
) -> Result<(), Unaccepted> {
    let until_us = not_after_us.saturating_add(micros(grace));
    let (name, at) = (name.clone(), clock::rfc3339(not_after_us));
    let now = clock::rfc3339(now_us);
    if now_us >= until_us {
        return Err(Unaccepted::Ended { name, at, now });
    }
    match purpose {
        Purpose::Session if now_us >= not_after_us => Err(Unaccepted::Expired {
            name,
            at,
            now,
            until: clock::rfc3339(until_us),
        }),
        Purpose::Session | Purpose::Renewal => Ok(()),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// `[a-z0-9][a-z0-9.-]{0,62}`: fits a SPIFFE path segment and a DNS label alike.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= LONGEST_NAME
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|b| plain(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::Serial;
    use crate::store::Use;

    const NOW: u64 = 1_700_000_000_000_000;
    const SECOND: u64 = 1_000_000;
    const GRACE: Duration = Duration::from_secs(30 * 86_400);

    fn invitation(name: &str, ttl: u64) -> Result<Invitation, InviteError> {
        let ttl = Duration::from_secs(ttl);
        Invitation::new(name.into(), Role::Outside, None, BTreeMap::new(), ttl)
    }

    fn issued(serial: &str) -> Issued {
        Issued {
            der: Vec::new().into(),
            pem: String::new(),
            serial: Serial(serial.into()),
            not_after_us: NOW + SECOND,
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
        let agent = enrolled(&token, None, &issued("aa"), String::new(), NOW, GRACE);
        let gone = AgentRecord {
            state: AgentState::Revoked,
            ..agent.clone()
        };
        for (token, known, now, expected) in [
            (
                None,
                None,
                NOW,
                "not known here (wrong coordinator, mistyped,",
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
                Some(&gone),
                NOW,
                "was revoked after this token was made",
            ),
        ] {
            let admitted = admit(token, &[0; 32], |_| (known, false), now);
            let message = admitted.unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let now = NOW + 59_999_999;
        assert!(admit(Some(token), &[0; 32], |_| (Some(&agent), false), now).is_ok());
    }

    #[test]
    fn who_is_connected_is_replaced_by_a_token_for_that_alone() {
        let invitation = invitation("home1", 60).unwrap();
        let token = invitation.token(&[1; 32], NOW);
        let agent = enrolled(&token, None, &issued("aa"), String::new(), NOW, GRACE);
        assert_eq!(
            invitation.permit(true, std::iter::empty()),
            Err(InviteError::Connected(agent.name.clone()))
        );
        let replacing = invitation.clone().replacing(true);
        assert_eq!(replacing.permit(true, std::iter::empty()), Ok(()));
        assert_eq!(invitation.permit(false, std::iter::empty()), Ok(()));
        let join = |token: &TokenRecord, connected| {
            let known = |_: &VantageName| (Some(&agent), connected);
            admit(Some(token.clone()), &[0; 32], known, NOW).map(|_| ())
        };
        assert_eq!(join(&token, false), Ok(()));
        assert!(matches!(join(&token, true), Err(JoinError::Connected(_))));
        let token = replacing.token(&[1; 32], NOW);
        assert_eq!(join(&token, true), Ok(()));
        let other = enrolled(
            &token,
            Some(&agent),
            &issued("bb"),
            String::new(),
            NOW,
            GRACE,
        );
        let of_the_first = accepted_at(Some(&other), "aa", Purpose::Renewal, NOW);
        assert!(matches!(of_the_first, Err(Unaccepted::Revoked(_))));
    }

    #[test]
    fn a_used_token_is_good_for_the_same_key_and_no_other() {
        let used = TokenRecord {
            used_at_us: Some(NOW),
            used_for: Some(Use {
                key_sha256: [5; 32],
                serial: "aa".into(),
            }),
            ..invitation("home1", 60).unwrap().token(&[1; 32], NOW)
        };
        let mut agent = enrolled(&used, None, &issued("aa"), String::new(), NOW, GRACE);
        let join = |key: u8, agent: Option<&AgentRecord>| {
            admit(Some(used.clone()), &[key; 32], |_| (agent, true), NOW).is_ok()
        };
        assert!(join(5, Some(&agent)));
        assert!(!join(6, Some(&agent)) && !join(5, None));
        revoke(&mut agent);
        assert!(!join(5, Some(&agent)));
    }

    fn accepted_at(
        agent: Option<&AgentRecord>,
        serial: &str,
        purpose: Purpose,
        now_us: u64,
    ) -> Result<(), Unaccepted> {
        let peer = PeerCertificate {
            identity: proto::identity::Identity::Agent("home1".into()),
            serial: Serial(serial.into()),
            not_after_us: NOW + SECOND,
            issued_us: NOW,
        };
        let name = VantageName("home1".into());
        accept(agent, &peer, &name, purpose, GRACE, now_us)
    }

    #[test]
    fn a_life_of_certificates() {
        use Purpose::{Renewal, Session};
        let token = invitation("home1", 60).unwrap().token(&[1; 32], NOW);
        let mut agent = enrolled(&token, None, &issued("aa"), String::new(), NOW, GRACE);
        certified(&mut agent, &issued("bb"), NOW, GRACE);
        let agent = Some(&agent);
        let ended = NOW + SECOND;
        let grace = ended + micros(GRACE);
        let rows = [
            (None, "aa", Session, NOW, Some("is not known here")),
            (agent, "aa", Session, NOW, None),
            (agent, "bb", Session, ended - 1, None),
            (agent, "cc", Session, NOW, Some("not among those")),
            (agent, "aa", Session, ended, Some("may be renewed until")),
            (agent, "aa", Renewal, ended, None),
            (agent, "aa", Renewal, grace - 1, None),
            (agent, "aa", Renewal, grace, Some("agent rejoin home1")),
            (agent, "aa", Session, grace, Some("agent rejoin home1")),
        ];
        for (agent, serial, purpose, now_us, says) in rows {
            let accepted = accepted_at(agent, serial, purpose, now_us);
            let said = accepted.err().map(|error| error.to_string());
            let as_wanted = match (&said, says) {
                (None, None) => true,
                (Some(said), Some(says)) => said.contains(says),
                (None, Some(_)) | (Some(_), None) => false,
            };
            assert!(as_wanted, "{serial} {purpose:?} at {now_us}: {said:?}");
        }
    }

    #[test]
    fn revocation_wins_over_grace_and_over_what_comes_after() {
        let invitation = invitation("home1", 60).unwrap();
        let token = invitation.token(&[1; 32], NOW);
        let mut agent = enrolled(&token, None, &issued("aa"), String::new(), NOW, GRACE);
        assert_eq!(invitation.invited(Some(&agent)), None);
        revoke(&mut agent);
        let refused = |agent: &AgentRecord, purpose| {
            let accepted = accepted_at(Some(agent), "aa", purpose, NOW + SECOND);
            matches!(accepted, Err(Unaccepted::Revoked(_)))
        };
        assert!(refused(&agent, Purpose::Session) && refused(&agent, Purpose::Renewal));
        let again = invitation.invited(Some(&agent)).unwrap();
        assert_eq!(again.state, AgentState::Invited);
        let unlisted = accepted_at(Some(&again), "zz", Purpose::Session, NOW);
        assert!(matches!(unlisted, Err(Unaccepted::Unlisted(_))));
        assert!(refused(&again, Purpose::Renewal));
        let again = enrolled(
            &token,
            Some(&again),
            &issued("cc"),
            String::new(),
            NOW,
            GRACE,
        );
        assert_eq!(
            accepted_at(Some(&again), "cc", Purpose::Session, NOW),
            Ok(())
        );
        assert!(refused(&again, Purpose::Session) && refused(&again, Purpose::Renewal));
    }

    #[test]
    fn the_list_of_certificates_is_bounded() {
        let token = invitation("a", 0).unwrap().token(&[1; 32], NOW);
        let mut agent = enrolled(&token, None, &issued("00"), String::new(), NOW, GRACE);
        for n in 0..100 {
            certified(&mut agent, &issued(&n.to_string()), NOW, GRACE);
        }
        assert_eq!(agent.certificates.len(), CERTIFICATES);
        assert_eq!(agent.certificates.last().unwrap().serial, "99");
        for _ in 0..10 {
            revoke(&mut agent);
            for n in 0..16 {
                certified(&mut agent, &issued(&n.to_string()), NOW, GRACE);
            }
        }
        revoke(&mut agent);
        assert_eq!(agent.revoked.len(), REVOKED);
    }
}
