//! `meshctl explain`, the case file for `meshctl replay`, and the bundle for the other team.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ::localize::Case;
use proto::kept::Kept;
use proto::v1::GetVerdictRequest;

use super::{Session, kept};
use crate::bundle::bundle;
use crate::connect::{About, CallError, Subject};
use crate::exit::Exit;
use crate::render;
use crate::trouble::Trouble;

/// What is to be written beside the text.
pub struct Files {
    /// What the verdict was made from.
    pub case: Option<PathBuf>,
    /// Everything behind it.
    pub bundle: Option<PathBuf>,
}

pub async fn run(mut session: Session<'_>, id: &str, files: Files) -> Result<Exit, Trouble> {
    let request = || GetVerdictRequest { id: id.to_owned() };
    let request_verdict = session.request(request());
    let wire = session
        .client
        .get_verdict(request_verdict)
        .await
        .about(Subject::Verdict(id))?;
    let kept = kept(wire)?;
    if files.case.is_some() || files.bundle.is_some() {
        let json = case_of(&mut session, request()).await?;
        write(&session, &kept, &json, &files)?;
    }
    session.output.print(&kept, || {
        kept.story() + &render::explain(&kept.verdict, session.output.style())
    })?;
    Ok(Exit::Ok)
}

/// The JSON of the case that a verdict was made from.
async fn case_of(
    session: &mut Session<'_>,
    request: GetVerdictRequest,
) -> Result<Vec<u8>, Trouble> {
    let id = request.id.clone();
    let subject = Subject::Verdict(&id);
    let mut pieces = session.client.export_case(request).await.about(subject)?;
    let mut json = Vec::new();
    while let Some(piece) = pieces
        .message()
        .await
        .map_err(|status| CallError::of(&status, subject))?
    {
        json.extend_from_slice(&piece.json);
    }
    Ok(json)
}

fn write(session: &Session<'_>, kept: &Kept, json: &[u8], files: &Files) -> Result<(), Trouble> {
    let output = session.output;
    if let Some(path) = &files.case {
        fs::write(path, json).map_err(unwritten(path))?;
        output.say(&format!(
            "The case is in {0}: `meshctl replay {0}` judges it again.",
            path.display()
        ));
    }
    if let Some(path) = &files.bundle {
        let case: Case = serde_json::from_slice(json)
            .map_err(|source| CallError::Unreadable(source.to_string()))?;
        let packed = bundle(kept, &case, json).map_err(unwritten(path))?;
        fs::write(path, packed).map_err(unwritten(path))?;
        output.say(&format!(
            "The bundle is in {0}: `tar -xzf {0}`, and its README.txt says what is what.",
            path.display()
        ));
    }
    Ok(())
}

fn unwritten(path: &Path) -> impl Fn(io::Error) -> Trouble {
    move |source| Trouble::Write {
        path: path.to_owned(),
        source,
    }
}
