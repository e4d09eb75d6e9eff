//! What a request asks for, read from its path and its query. What cannot be read is refused in the form in which
//! everything else there is answered.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};

use super::trouble::Trouble;

/// What stands in the path.
pub(super) struct InPath<T>(pub(super) T);

/// What stands in the query.
pub(super) struct InQuery<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Trouble> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(found)) => Ok(Self(found)),
            Err(refused) => Err(Trouble::Unfit(refused.body_text())),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InQuery<T> {
    type Rejection = Trouble;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Trouble> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(found)) => Ok(Self(found)),
            Err(refused) => Err(Trouble::Unfit(refused.body_text())),
        }
    }
}

/// How many, or how long. What no number holds is as many as there can be: whoever asks for too much gets what
/// there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count(pub(super) u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(D::Error::custom(format!("{text:?} is no number from 0 on")));
        }
        Ok(Self(text.parse().unwrap_or(u64::MAX)))
    }
}
