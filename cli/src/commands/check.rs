//! `meshctl service check`, and what `service apply` says of the file.

use std::time::Duration;

use proto::v1::check_service_request::What;
use proto::v1::check_service_response::{Finding, Grade, Tried};
use proto::v1::{CheckServiceRequest, CheckServiceResponse};
use serde_json::{Value, json};
use tonic::Request;

use super::Session;
use crate::connect::{About, CallError, Subject};
use crate::exit::Exit;
use crate::render;
use crate::trouble::Trouble;

/// A check takes 14 s at most.
const LIMIT: Duration = Duration::from_secs(15);

/// Checks, prints what was found, and ends by it.
pub async fn run(mut session: Session<'_>, what: What) -> Result<Exit, Trouble> {
    let checked = ask(&mut session, what).await?;
    session.output.print(&as_json(&checked), || {
        render::check(&checked, session.output.style())
    })?;
    Ok(exit(&checked))
}

/// What a check has found.
pub async fn ask(session: &mut Session<'_>, what: What) -> Result<CheckServiceResponse, CallError> {
    session
        .output
        .progress("Every arm is fired once, and once more if it fails ...");
    let name = match &what {
        What::Service(name) => name.clone(),
        What::File(_) => String::new(),
    };
    let subject = match name.as_str() {
        "" => Subject::Mesh,
        name => Subject::Service(name),
    };
    let mut request = Request::new(CheckServiceRequest { what: Some(what) });
    request.set_timeout(LIMIT);
    let answer = session.client.check_service(request).await.about(subject);
    session.output.progress_done();
    answer
}

/// 0 where nothing speaks against the file, 1 where something does, 3 where nothing was probed.
fn exit(checked: &CheckServiceResponse) -> Exit {
    match render::worst(checked) {
        Some(Grade::Error | Grade::Warning) => Exit::Fault,
        Some(Grade::Note | Grade::Unspecified) | None if checked.probes == 0 => Exit::Inconclusive,
        Some(Grade::Note | Grade::Unspecified) | None => Exit::Ok,
    }
}

pub fn as_json(checked: &CheckServiceResponse) -> Value {
    json!({
        "name": checked.name,
        "findings": checked.findings.iter().map(finding).collect::<Vec<_>>(),
        "arms": checked.arms.iter().map(tried).collect::<Vec<_>>(),
        "vantages": checked.vantages, "rounds": checked.rounds, "probes": checked.probes,
        "elapsed_ms": checked.elapsed_ms,
    })
}

/// What a finding is not about is null.
fn finding(finding: &Finding) -> Value {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    json!({
        "grade": render::grade(finding.grade()),
        "line": Some(finding.line).filter(|line| *line > 0),
        "field": some(&finding.field), "value": some(&finding.value),
        "what": finding.what, "next": finding.next, "vantages": finding.vantages,
        "arm": some(&finding.arm), "failure": some(&finding.failure),
    })
}

fn tried(tried: &Tried) -> Value {
    json!({
        "arm": tried.arm, "passed": tried.passed, "failed": tried.failed,
        "not_probed": tried.not_probed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_tells_the_worst() {
        let rows = [
            (None, 0, Exit::Inconclusive),
            (None, 5, Exit::Ok),
            (Some(Grade::Note), 0, Exit::Inconclusive),
            (Some(Grade::Note), 5, Exit::Ok),
            (Some(Grade::Warning), 5, Exit::Fault),
            (Some(Grade::Error), 0, Exit::Fault),
        ];
        for (grade, probes, expected) in rows {
            let findings = grade.into_iter().map(|grade| Finding {
                grade: grade.into(),
                ..Finding::default()
            });
            let checked = CheckServiceResponse {
                findings: findings.collect(),
                probes,
                ..CheckServiceResponse::default()
            };
            assert_eq!(exit(&checked), expected, "{grade:?} {probes}");
        }
    }

    #[test]
    fn json_has_null_where_there_is_nothing() {
        let checked = CheckServiceResponse {
            name: "shop".to_owned(),
            findings: vec![Finding {
                grade: Grade::Note.into(),
                what: "Agent dc1 fired nothing.".to_owned(),
                vantages: vec!["dc1".to_owned()],
                ..Finding::default()
            }],
            ..CheckServiceResponse::default()
        };
        let expected = json!({
            "name": "shop", "arms": [], "vantages": [], "rounds": 0, "probes": 0, "elapsed_ms": 0,
            "findings": [{
                "grade": "note", "line": null, "field": null, "value": null,
                "what": "Agent dc1 fired nothing.", "next": "", "vantages": ["dc1"], "arm": null,
                "failure": null,
            }],
        });
        assert_eq!(as_json(&checked), expected);
    }
}
