//! One verdict with everything behind it, as a page and as a file of its own.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use proto::kept::Kept;

use super::super::Shared;
use super::super::assets::STYLE;
use super::super::evidence::Evidence;
use super::super::known::Knowledge;
use super::super::picture::Picture;
use super::super::time;
use super::super::trouble::Trouble;
use super::{Answer, Frame, Place, html};
use crate::clock;
use localize::{Case, Topology};

#[derive(Template)]
#[template(path = "web/verdict.html")]
struct VerdictPage {
    frame: Frame,
    verdict: Evidence,
}

pub(super) async fn verdict(State(face): Shared, Path(id): Path<String>) -> Answer {
    let now_us = clock::now_us();
    let kept = face.verdict(id).await?;
    html(&VerdictPage {
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
    picture: Option<Picture>,
    made: String,
    version: &'static str,
}

impl Report {
    /// The marks of the picture lead to places in the same file.
    fn link(&self) -> &'static str {
        "#"
    }
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
    let case: Option<Case> = case_json.and_then(|json| serde_json::from_slice(json).ok());
    let known = Knowledge::new(Some(&kept.verdict), &[]);
    let drawn = |topology: &Topology| Picture::new(topology, &known);
    let report = Report {
        style: STYLE,
        verdict: Evidence::new(kept, now_us),
        picture: case.map(|case| drawn(&case.topology)),
        made: time::clock(now_us, 0),
        version: env!("CARGO_PKG_VERSION"),
    };
    report.render()
}

/// The same from the page's button.
pub(super) async fn download(
    State(face): Shared,
    Path(id): Path<String>,
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
