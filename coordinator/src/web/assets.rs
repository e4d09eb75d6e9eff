//! The stylesheet, the scripts and the mark, as they are in the binary.

use std::sync::Arc;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;

use super::Face;

/// The one stylesheet; reports carry it in themselves.
pub(super) const STYLE: &str = include_str!("assets/style.css");
/// Follows a localisation under way. Every page works without it.
const SCRIPT: &str = include_str!("assets/live.js");
/// Keeps an open page true.
const FRESH: &str = include_str!("assets/fresh.js");
const MARK: &str = include_str!("assets/mark.svg");
/// Long enough for a visit, short enough for an upgrade.
const KEPT: &str = "private, max-age=60";

pub(super) fn router() -> Router<Arc<Face>> {
    Router::new()
        .route(
            "/style.css",
            get(async || asset("text/css; charset=utf-8", STYLE)),
        )
        .route(
            "/live.js",
            get(async || asset("text/javascript; charset=utf-8", SCRIPT)),
        )
        .route(
            "/fresh.js",
            get(async || asset("text/javascript; charset=utf-8", FRESH)),
        )
        .route("/mark.svg", get(async || asset("image/svg+xml", MARK)))
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, KEPT)], text)
}
