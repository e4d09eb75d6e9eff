//! Why a request has no answer, as a line of text, as JSON, and as a page.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use thiserror::Error;
use tonic::{Code, Status};

use super::page;
use crate::engine::Refusal;

/// Why there is no answer.
#[derive(Clone, Debug, Error)]
pub(super) enum Trouble {
    /// The engine or the store refuses.
    #[error("{words}")]
    Refused {
        /// With this status.
        status: StatusCode,
        /// Why.
        words: String,
    },
    /// No such verdict.
    #[error("there is no verdict {0}: it was never made, or is no longer kept")]
    NoVerdict(String),
    /// No such run.
    #[error(
        "there is no localisation {0} under way; its verdict, if it came to one, is among the verdicts"
    )]
    NoRun(String),
    /// A parameter makes no sense.
    #[error("{0}")]
    Unfit(String),
    /// No such page.
    #[error("there is nothing at this address")]
    NoPage,
    /// Nothing can be changed at such an address.
    #[error("this can be read, by GET, and nothing else")]
    OnlyRead,
    /// The Host header names another host.
    #[error(
        "this answers for loopback alone: ask for it as http://127.0.0.1:PORT or http://localhost:PORT, from elsewhere through a tunnel (ssh -L)"
    )]
    ForeignHost,
    /// Another site asks for a change.
    #[error("this came from another site, and only pages of this one may start anything")]
    ForeignSite,
    /// A page cannot be made.
    #[error("the page cannot be made: {0}")]
    Page(String),
    /// The coordinator is going down.
    #[error("the coordinator is shutting down")]
    Stopping,
}

impl Trouble {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Refused { status, .. } => *status,
            Self::NoVerdict(_) | Self::NoRun(_) | Self::NoPage => StatusCode::NOT_FOUND,
            Self::Unfit(_) => StatusCode::BAD_REQUEST,
            Self::OnlyRead => StatusCode::METHOD_NOT_ALLOWED,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::ForeignSite => StatusCode::FORBIDDEN,
            Self::Page(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl From<Refusal> for Trouble {
    /// With the status of HTTP for that of gRPC.
    fn from(refusal: Refusal) -> Self {
        let refused = Status::from(refusal);
        let status = match refused.code() {
            Code::Ok => StatusCode::OK,
            Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => StatusCode::CONFLICT,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::Unavailable | Code::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal | Code::Unknown | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::Refused {
            status,
            words: refused.message().to_owned(),
        }
    }
}

impl IntoResponse for Trouble {
    /// A line of text; the routers of pages and of the API put it into their own form.
    fn into_response(self) -> Response {
        let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        let mut response = (self.status(), text, format!("{self}\n")).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Answers of the API: troubles as JSON.
pub(super) async fn as_json(response: Response) -> Response {
    match response.extensions().get::<Trouble>() {
        Some(trouble) => {
            let words = Json(json!({"error": trouble.to_string()}));
            let mut told = (trouble.status(), words).into_response();
            if matches!(trouble, Trouble::OnlyRead) {
                let read = HeaderValue::from_static("GET, HEAD");
                told.headers_mut().insert(header::ALLOW, read);
            }
            told
        }
        None => response,
    }
}

/// Answers to people: troubles as a page.
pub(super) async fn as_page(response: Response) -> Response {
    match response.extensions().get::<Trouble>() {
        Some(trouble) => page::trouble(trouble),
        None => response,
    }
}
