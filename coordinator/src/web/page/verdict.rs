//! One verdict with everything behind it, as a page and as a file of its own.

use askama::Template;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use proto::kept::Kept;
use serde::Deserialize;

use super::super::Shared;
use super::super::asked::InPath;
use super::super::assets::STYLE;
use super::super::evidence::Evidence;
use super::super::known::Knowledge;
use super::super::picture::Drawn;
use super::super::time;
use super::super::trouble::Trouble;
use super::{Answer, Frame, Place, html};
use crate::clock;
use localize::Topology;

#[derive(Template)]
#[template(path = "web/verdict.html")]
struct VerdictPage {
    frame: Frame,
    verdict: Evidence,
    /// The path as it was then; `None` when the case is no longer kept.
    path: Option<Drawn>,
}

pub(super) async fn verdict(State(face): Shared, InPath(id): InPath<String>) -> Answer {
    let now_us = clock::now_us();
    let kept = face.verdict(id).await?;
    let wanted = kept.verdict.id.clone();
    let case = face.read(move |store| store.case(&wanted)).await?;
    html(&VerdictPage {
        path: drawn(&kept, case.as_deref()),
        frame: Frame::new(
            Place::Verdicts,
            format!("Verdict on {}", kept.verdict.service),
            now_us,
        ),
        verdict: Evidence::new(&kept, now_us),
    })
}

#[derive(Template)]
#[template(path = "web/report.html")]
struct Report {
    style: &'static str,
    verdict: Evidence,
    /// The path as it was then; `None` when the case is no longer kept.
    path: Option<Drawn>,
    made: String,
    version: &'static str,
}

/// What of a case is drawn.
#[derive(Deserialize)]
struct Where {
    topology: Topology,
}

/// The path of a verdict's case, with what the verdict says of it.
fn drawn(kept: &Kept, case_json: Option<&[u8]>) -> Option<Drawn> {
    let case: Where = serde_json::from_slice(case_json?).ok()?;
    let known = Knowledge::new(Some(&kept.verdict), &[]);
    Some(Drawn::new(&case.topology, &known))
}

/// A verdict as one file that needs nothing else, with the path as it was in its case.
///
/// # Errors
/// When a template cannot be filled in, which nothing that a verdict holds can bring about.
pub(in crate::web) fn report(
    kept: &Kept,
    case_json: Option<&[u8]>,
    now_us: u64,
) -> Result<String, askama::Error> {
    let report = Report {
        style: STYLE,
        verdict: Evidence::new(kept, now_us),
        path: drawn(kept, case_json),
        made: time::clock(now_us, 0),
        version: env!("CARGO_PKG_VERSION"),
    };
    report.render()
}

/// The same from the page's button.
pub(super) async fn download(
    State(face): Shared,
    InPath(id): InPath<String>,
) -> Result<impl IntoResponse, Trouble> {
    let kept = face.verdict(id).await?;
    let wanted = kept.verdict.id.clone();
    let case = face.read(move |store| store.case(&wanted)).await?;
    let made = report(&kept, case.as_deref(), clock::now_us());
    let made = made.map_err(|error| Trouble::Page(error.to_string()))?;
    let name = format!("attachment; filename=\"{}.html\"", kept.verdict.id);
    // An id is letters, digits and a hyphen.
    let name = HeaderValue::from_str(&name).map_err(|error| Trouble::Page(error.to_string()))?;
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    Ok(([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, name)], made))
}
