//! `meshctl verdicts`.

use proto::kept::Kept;
use proto::v1::ListVerdictsRequest;

use super::{Session, kept};
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
        .map(kept)
        .collect::<Result<Vec<Kept>, CallError>>()?;
    session.output.list(
        &verdicts,
        "No verdicts. `meshctl localize NAME` makes one; the watch over scheduled rounds raises them by itself.",
        |grid| {
            let mut table = Table::new([
                "STARTED", "ID", "STATE", "VERDICT", "ROUNDS", "PROBES", "SECONDS", "VANTAGES",
            ])
            .numbers(4..7)
            .usual(4);
            for known in &verdicts {
                let verdict = &known.verdict;
                table.row([
                    verdict.started_at.clone(),
                    verdict.id.clone(),
                    known.state(),
                    verdict_line(verdict),
                    verdict.rounds.to_string(),
                    verdict.probes.to_string(),
                    format!("{:.1}", verdict.elapsed_ms as f64 / 1e3),
                    verdict.vantages.join(", "),
                ]);
            }
            table.text(grid)
        },
    )?;
    Ok(Exit::Ok)
}
