//! `meshctl verdicts`.

use proto::v1::ListVerdictsRequest;

use super::Session;
use super::raised::Kept;
use crate::connect::{About, CallError, Subject};
use crate::exit::Exit;
use crate::render::{Table, verdict_line};
use crate::trouble::Trouble;

pub async fn run(
    mut session: Session<'_>,
    name: Option<String>,
    limit: u32,
) -> Result<Exit, Trouble> {
    let service = name.unwrap_or_default();
    let request = session.request(ListVerdictsRequest {
        service: service.clone(),
        limit,
    });
    let subject = match service.as_str() {
        "" => Subject::Mesh,
        name => Subject::Service(name),
    };
    let answer = session.client.list_verdicts(request).await.about(subject)?;
    let verdicts = answer
        .verdicts
        .into_iter()
        .map(Kept::read)
        .collect::<Result<Vec<Kept>, CallError>>()?;
    session.output.list(
        &verdicts,
        "No verdicts. `meshctl localize NAME` makes one; the watch over scheduled rounds raises them by itself.",
        || {
            let mut table = Table::new(["STARTED", "ID", "STATE", "VERDICT"]);
            for kept in &verdicts {
                let verdict = &kept.verdict;
                table.row([
                    verdict.started_at.clone(),
                    verdict.id.clone(),
                    kept.state(),
                    verdict_line(verdict),
                ]);
            }
            table.text()
        },
    )?;
    Ok(Exit::Ok)
}
