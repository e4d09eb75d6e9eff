//! The pages for people.

mod agents;
mod coverage;
mod history;
mod live;
mod overview;
mod service;
mod verdict;
mod verdicts;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};

use super::Face;
use super::trouble::Trouble;
use crate::clock;

pub(super) use live::Runs;
pub(super) use verdict::report;

/// A page, or why there is none.
type Answer = Result<Html<String>, Trouble>;

pub(super) fn router() -> Router<Arc<Face>> {
    Router::new()
        .route("/", get(overview::overview))
        .route("/services/{name}", get(service::service))
        .route("/services/{name}/history", get(history::history))
        .route("/services/{name}/coverage", get(coverage::coverage))
        .route("/services/{name}/localize", post(live::start))
        .route("/runs/{id}", get(live::run))
        .route("/runs/{id}/events", get(live::events))
        .route("/verdicts", get(verdicts::verdicts))
        .route("/verdicts/{id}", get(verdict::verdict))
        .route("/verdicts/{id}/report.html", get(verdict::download))
        .route("/agents", get(agents::agents))
        .route("/agents/{name}", get(agents::agent))
        .fallback(async || Trouble::NoPage)
        .method_not_allowed_fallback(async || Trouble::NoPage)
}

/// Which part of the face a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Services,
    Verdicts,
    Agents,
    Nowhere,
}

/// What is around every page.
struct Frame {
    title: String,
    place: Place,
    /// The coordinator's clock, by which everything on the page is counted.
    now: String,
    version: &'static str,
}

impl Frame {
    fn new(place: Place, title: impl Into<String>, now_us: u64) -> Self {
        Self {
            title: title.into(),
            place,
            now: super::time::clock(now_us, 0),
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    fn is(&self, place: Place) -> bool {
        self.place == place
    }
}

fn html(page: &impl Template) -> Answer {
    let page = page.render();
    page.map(Html)
        .map_err(|error| Trouble::Page(error.to_string()))
}

#[derive(Template)]
#[template(path = "web/trouble.html")]
struct TroublePage {
    frame: Frame,
    status: StatusCode,
    words: String,
}

/// Why there is no page, as one.
pub(super) fn trouble(trouble: &Trouble) -> Response {
    let page = TroublePage {
        frame: Frame::new(Place::Nowhere, "No page", clock::now_us()),
        status: trouble.status(),
        words: sentence(&trouble.to_string()),
    };
    let body = page.render().unwrap_or_default();
    (page.status, Html(body)).into_response()
}

/// A sentence by its backticks: what stands between two of them is meant to be typed.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = (bool, &str)> {
    let pieces = text.split('`').enumerate();
    pieces
        .map(|(number, piece)| (number % 2 == 1, piece))
        .filter(|(_, piece)| !piece.is_empty())
}

/// With a capital letter and a full stop.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(char::to_uppercase);
    let first: String = first.into_iter().flatten().collect();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}
