//! `meshctl report`: a verdict as one file, for whoever has no `meshctl`.

use std::fs;
use std::path::{Path, PathBuf};

use proto::v1::GetVerdictRequest;
use serde_json::json;

use super::Session;
use crate::connect::{About, CallError, Subject};
use crate::exit::Exit;
use crate::trouble::Trouble;

pub async fn run(
    mut session: Session<'_>,
    id: &str,
    file: Option<PathBuf>,
) -> Result<Exit, Trouble> {
    let subject = Subject::Verdict(id);
    let request = GetVerdictRequest { id: id.to_owned() };
    let mut pieces = session.client.report(request).await.about(subject)?;
    let mut html = Vec::new();
    while let Some(piece) = pieces
        .message()
        .await
        .map_err(|status| CallError::of(&status, subject))?
    {
        html.extend_from_slice(&piece.html);
    }
    let file = file.unwrap_or_else(|| PathBuf::from(format!("{id}.html")));
    if file == Path::new("-") {
        session.output.text(&String::from_utf8_lossy(&html))?;
        return Ok(Exit::Ok);
    }
    fs::write(&file, &html).map_err(|source| Trouble::Write {
        path: file.clone(),
        source,
    })?;
    let value = json!({"id": id, "file": file});
    session
        .output
        .print(&value, || format!("{}\n", file.display()))?;
    Ok(Exit::Ok)
}
