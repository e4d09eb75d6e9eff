//! Checks of service files as they cross the wire.

use localize::ServiceName;
use proto::v1;
use proto::v1::check_service_request::What;
use proto::v1::check_service_response as wire;
use tonic::Status;

use super::view;
use crate::check::{Finding, Grade, Report, Tried};
use crate::engine::{Checked, Subject};

/// What is to be checked.
///
/// # Errors
/// INVALID_ARGUMENT when nothing is named, or a file is too long.
pub(super) fn subject(request: v1::CheckServiceRequest) -> Result<Subject, Status> {
    match request.what {
        Some(What::Service(name)) => Ok(Subject::Applied(ServiceName(name))),
        Some(What::File(file)) => {
            let v1::ApplyServiceRequest { toml, ca_pem } = view::service_file(file)?;
            Ok(Subject::File { toml, ca_pem })
        }
        None => Err(view::malformed("neither a file nor a service is named")),
    }
}

/// What came of it. The numbers are those of the facts that the report was made from.
pub(super) fn response(checked: &Checked, report: Report) -> v1::CheckServiceResponse {
    let fired = |seen: &&localize::Observation| seen.outcome != localize::Outcome::NotFired;
    let vantages = checked.topology.vantages.iter();
    v1::CheckServiceResponse {
        name: checked.file.name.0.clone(),
        findings: report.findings.into_iter().map(finding).collect(),
        arms: report.arms.into_iter().map(tried).collect(),
        vantages: vantages.map(|vantage| vantage.name.0.clone()).collect(),
        rounds: checked.rounds,
        probes: checked.observations.iter().filter(fired).count() as u64,
        elapsed_ms: checked.took_us / 1000,
    }
}

fn finding(finding: Finding) -> wire::Finding {
    let at = finding.at.unwrap_or_default();
    let grade = match finding.grade {
        Grade::Note => wire::Grade::Note,
        Grade::Warning => wire::Grade::Warning,
        Grade::Error => wire::Grade::Error,
    };
    wire::Finding {
        grade: grade.into(),
        line: u32::try_from(at.line).unwrap_or(0),
        field: at.field,
        value: at.value,
        what: finding.what,
        next: finding.next,
        vantages: finding.vantages,
        arm: finding.arm,
        failure: finding.failure.map(view::failure_word).unwrap_or_default(),
    }
}

fn tried(tried: Tried) -> wire::Tried {
    wire::Tried {
        arm: tried.arm,
        passed: tried.passed,
        failed: tried.failed,
        not_probed: tried.not_probed,
    }
}
