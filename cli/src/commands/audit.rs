//! `meshctl audit`.

use proto::json;
use proto::v1::list_acts_request::Since as WireSince;
use proto::v1::{Act, ListActsRequest, VerifyActsRequest};
use serde_json::{Value, json};

use super::Session;
use crate::args::AuditArgs;
use crate::connect::{About, Subject};
use crate::duration;
use crate::exit::Exit;
use crate::render::Table;
use crate::since::Since;
use crate::trouble::Trouble;

pub async fn list(mut session: Session<'_>, wish: AuditArgs) -> Result<Exit, Trouble> {
    let since = wish.since.map(|since| match since {
        Since::Ago(ago) => WireSince::AgoMs(duration::millis(ago)),
        Since::At(at_us) => WireSince::AtUs(at_us),
    });
    let request = session.request(ListActsRequest {
        since,
        operator: wish.operator.unwrap_or_default(),
        limit: wish.limit,
    });
    let answer = session.client.list_acts(request).await;
    let acts = answer.about(Subject::Mesh)?.acts;
    let values: Vec<Value> = acts.iter().map(json::act).collect();
    session.output.list(&values, "No acts.", |grid| {
        let headings = [
            "AT", "OPERATOR", "ROLE", "ACT", "OBJECT", "OUTCOME", "NUMBER", "SHA256",
        ];
        let mut table = Table::new(headings).usual(6);
        for act in acts {
            let (role, outcome) = (json::operator_role(act.role()).to_owned(), outcome(&act));
            let number = act.number.to_string();
            table.row([
                act.at,
                act.operator,
                role,
                act.act,
                act.object,
                outcome,
                number,
                act.sha256,
            ]);
        }
        table.text(grid)
    })?;
    Ok(Exit::Ok)
}

fn outcome(act: &Act) -> String {
    let mut text = act.outcome.clone();
    if !act.why.is_empty() {
        text += &format!(": {}", act.why);
    }
    if act.left_out > 0 {
        text += &format!(" ({} more before it)", act.left_out);
    }
    text
}

pub async fn verify(
    mut session: Session<'_>,
    kept: Option<(u64, String)>,
) -> Result<Exit, Trouble> {
    let (number, sha256) = kept.unwrap_or_default();
    let request = session.request(VerifyActsRequest { number, sha256 });
    let chain = session.client.verify_acts(request).await;
    let chain = chain.about(Subject::Mesh)?;
    if number > 0 && number + 1 < chain.first {
        let said = "is older than what is kept, so that nothing can be said of it";
        session.output.say(&format!("Record {number} {said}."));
    }
    let value = json!({
        "first": chain.first, "last": chain.last, "sha256": chain.sha256,
        "broken_at": chain.broken_at, "why": chain.why,
    });
    session.output.print(&value, || match chain.broken_at {
        Some(number) => format!("BROKEN at record {number}: {}\n", chain.why),
        None => format!(
            "records {} to {} are as they were written; the last is {}:{}\n",
            chain.first, chain.last, chain.last, chain.sha256
        ),
    })?;
    Ok(match chain.broken_at {
        Some(_) => Exit::Fault,
        None => Exit::Ok,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_says_why_and_how_often() {
        let rows = [
            ("done", "", 0, "done"),
            (
                "refused",
                "PermissionDenied",
                0,
                "refused: PermissionDenied",
            ),
            (
                "refused",
                "NotFound",
                3,
                "refused: NotFound (3 more before it)",
            ),
        ];
        for (word, why, left_out, expected) in rows {
            let act = Act {
                outcome: word.to_owned(),
                why: why.to_owned(),
                left_out,
                ..Act::default()
            };
            assert_eq!(outcome(&act), expected);
        }
    }
}
