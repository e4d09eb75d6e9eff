//! Getting in: a single-use token becomes a certificate.
//!
//! The key is on disk before the coordinator hears of it: when the answer is lost, the next attempt
//! shows the same key, for which the token is good once more. Which token an identity came of is kept
//! as well, so that a token which stands in an environment file for ever is used once, and another one,
//! of `meshctl agent rejoin`, is not taken for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use localize::Role;
use proto::convert::Malformed;
use proto::token::JoinToken;
use proto::v1::enrolment_client::EnrolmentClient;
use proto::v1::{JoinRequest, JoinResponse};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tonic::Code;

use crate::clocks;
use crate::identity::{self, Identity, IdentityError, new_key, request_for, write_secret};
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

/// Why there is nobody to be.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The token would make another agent of this one.
    #[error(
        "{data_dir} holds the identity of agent {name}, and the token is for {wanted}: give the new agent \
         its own --data-dir"
    )]
    Another {
        /// The folder.
        data_dir: PathBuf,
        /// Whose identity it holds.
        name: String,
        /// Whom the token is for.
        wanted: String,
    },
    /// Nothing to join with.
    #[error(
        "{0} holds no identity yet: start with --join TOKEN, which `meshctl agent token --name NAME` prints"
    )]
    NoToken(PathBuf),
    /// Joining failed.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// A file of the folder cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// The file that names the token which was used last.
const USED: &str = "joined";
/// The file with the key of a join under way.
const JOINING: &str = "joining.json";

/// Who the agent is: what the data folder holds, or what a token that was not used yet makes of it.
///
/// # Errors
/// When there is neither an identity nor a token that lets in.
pub async fn enter(data_dir: &Path, token: Option<&JoinToken>) -> Result<Identity, EnterError> {
    match (Identity::load(data_dir)?, token) {
        (Some(identity), None) => Ok(identity),
        (None, None) => Err(EnterError::NoToken(data_dir.to_owned())),
        (None, Some(token)) => {
            let identity = join(token, data_dir).await?;
            tracing::info!(name = identity.name, role = ?identity.role, "joined");
            Ok(identity)
        }
        (Some(identity), Some(token)) if token.name != identity.name => Err(EnterError::Another {
            data_dir: data_dir.to_owned(),
            name: identity.name,
            wanted: token.name.clone(),
        }),
        (Some(identity), Some(token)) if used(data_dir).as_deref() == Some(&*sum_of(token)) => {
            tracing::info!(
                name = identity.name,
                "already joined; the token is not used"
            );
            Ok(identity)
        }
        (Some(identity), Some(token)) => Ok(again(data_dir, identity, token).await?),
    }
}

/// Joins anew with a token that this identity did not come of; goes on as before when that fails.
async fn again(
    data_dir: &Path,
    identity: Identity,
    token: &JoinToken,
) -> Result<Identity, IdentityError> {
    match join(token, data_dir).await {
        Ok(identity) => {
            tracing::info!(name = identity.name, "joined again");
            Ok(identity)
        }
        Err(error) => {
            tracing::warn!(%error, "the token is not used; the agent goes on as who it is");
            if let JoinError::Refused(_) = error {
                write_secret(data_dir, USED, sum_of(token).as_bytes())?;
            }
            Ok(identity)
        }
    }
}

/// What names a token without giving it away.
fn sum_of(token: &JoinToken) -> String {
    link::hex_of(&Sha256::digest(&token.secret))
}

fn used(data_dir: &Path) -> Option<String> {
    std::fs::read_to_string(data_dir.join(USED)).ok()
}

/// The key of a join under way.
#[derive(Serialize, Deserialize)]
struct Joining {
    token: String,
    key_pem: String,
}

/// The key to join with: that of an attempt with this token that was cut short, or a new one, on disk.
fn joining_key(data_dir: &Path, token: &str) -> Result<String, IdentityError> {
    let begun = std::fs::read(data_dir.join(JOINING)).ok();
    let begun = begun.and_then(|text| serde_json::from_slice::<Joining>(&text).ok());
    if let Some(begun) = begun.filter(|begun| begun.token == token) {
        return Ok(begun.key_pem);
    }
    let (key_pem, _) = new_key()?;
    let joining = Joining {
        token: token.to_owned(),
        key_pem: key_pem.clone(),
    };
    let text = serde_json::to_vec(&joining).map_err(|source| IdentityError::Damaged {
        path: data_dir.join(JOINING),
        source,
    })?;
    write_secret(data_dir, JOINING, &text)?;
    Ok(key_pem)
}

/// Exchanges a token for an identity and keeps it in the data folder. The key is made here.
///
/// # Errors
/// Says whether nobody answered, or why the coordinator refused.
pub async fn join(token: &JoinToken, data_dir: &Path) -> Result<Identity, JoinError> {
    let sum = sum_of(token);
    let key_pem = joining_key(data_dir, &sum)?;
    let joined = ask(token, request_for(&key_pem)?).await?;
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
    write_secret(data_dir, USED, sum.as_bytes())?;
    identity::remove(data_dir, JOINING)?;
    Ok(identity)
}

/// Asks the addresses of the token one by one.
async fn ask(token: &JoinToken, csr_pem: String) -> Result<JoinResponse, JoinError> {
    let config = Arc::new(link::pinned(&token.ca_sha256)?);
    let mut attempts = Vec::new();
    for address in &token.addresses {
        let channel = match link::dial(address, Arc::clone(&config)).await {
            Ok((channel, _)) => channel,
            Err(error) => {
                let why = clocks::explained(&error).map(|why| format!(" ({why})"));
                attempts.push(format!("{error}{}", why.unwrap_or_default()));
                continue;
            }
        };
        let request = JoinRequest {
            token_secret: token.secret.clone(),
            csr_pem,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let joined = EnrolmentClient::new(channel).join(request).await;
        return match joined {
            Ok(joined) => Ok(joined.into_inner()),
            Err(status) if lost(status.code()) => Err(JoinError::Unreachable(format!(
                "{address}: {}",
                status.message()
            ))),
            Err(status) => Err(JoinError::Refused(status.message().to_owned())),
        };
    }
    Err(JoinError::Unreachable(attempts.join("; ")))
}

/// Whether the coordinator has not said whether it lets the agent in.
fn lost(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(secret: &str) -> JoinToken {
        JoinToken {
            // Nobody listens on the port of the discard protocol of a loopback address.
            addresses: vec!["127.0.0.9:9".to_owned()],
            ca_sha256: "ab".repeat(32),
            name: "home1".to_owned(),
            secret: secret.repeat(32),
        }
    }

    #[tokio::test]
    async fn a_join_that_was_cut_short_goes_on_with_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let key = |token: &JoinToken| joining_key(folder.path(), &sum_of(token)).unwrap();
        let failed = join(&token("01"), folder.path()).await.unwrap_err();
        assert!(matches!(failed, JoinError::Unreachable(_)), "{failed}");
        let first = key(&token("01"));
        assert_eq!(first, key(&token("01")));
        assert_ne!(first, key(&token("02")), "another token, another key");
    }

    #[tokio::test]
    async fn a_token_is_used_once_and_another_one_is_tried() {
        let folder = tempfile::tempdir().unwrap();
        let none = enter(folder.path(), None).await.unwrap_err().to_string();
        assert!(none.contains("--join TOKEN"), "{none}");
        let identity = Identity {
            name: "home1".into(),
            role: Role::Outside,
            host: None,
            addresses: Vec::new(),
            ca_pem: String::new(),
            certificate_pem: String::new(),
            key_pem: String::new(),
        };
        identity.save(folder.path()).unwrap();
        write_secret(folder.path(), USED, sum_of(&token("01")).as_bytes()).unwrap();
        let tried = || folder.path().join(JOINING).exists();
        let entered = enter(folder.path(), Some(&token("01"))).await.unwrap();
        assert_eq!((entered, tried()), (identity.clone(), false));
        let entered = enter(folder.path(), Some(&token("02"))).await.unwrap();
        assert_eq!((entered, tried()), (identity, true));
        let other = JoinToken {
            name: "home2".to_owned(),
            ..token("03")
        };
        let error = enter(folder.path(), Some(&other)).await.unwrap_err();
        assert!(matches!(error, EnterError::Another { .. }), "{error}");
    }
}
