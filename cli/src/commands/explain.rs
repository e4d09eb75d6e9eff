//! `meshctl explain`, and the case file for `meshctl replay`.

use std::fs;
use std::path::Path;

use proto::v1::GetVerdictRequest;

use super::{Session, kept};
use crate::connect::{About, CallError, Subject};
use crate::exit::Exit;
use crate::render;
use crate::trouble::Trouble;

pub async fn run(mut session: Session<'_>, id: &str, case: Option<&Path>) -> Result<Exit, Trouble> {
    let request = || GetVerdictRequest { id: id.to_owned() };
    let request_verdict = session.request(request());
    let wire = session
        .client
        .get_verdict(request_verdict)
        .await
        .about(Subject::Verdict(id))?;
    let kept = kept(wire)?;
    if let Some(path) = case {
        write_case(&mut session, request(), path).await?;
    }
    session.output.print(&kept, || {
        kept.story() + &render::explain(&kept.verdict, session.output.style())
    })?;
    Ok(Exit::Ok)
}

async fn write_case(
    session: &mut Session<'_>,
    request: GetVerdictRequest,
    path: &Path,
) -> Result<(), Trouble> {
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
    fs::write(path, &json).map_err(|source| Trouble::Write {
        path: path.to_owned(),
        source,
    })?;
    session.output.say(&format!(
        "The case is in {0}: `meshctl replay {0}` judges it again.",
        path.display()
    ));
    Ok(())
}
