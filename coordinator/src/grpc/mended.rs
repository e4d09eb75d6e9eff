//! Whether the faults of a verdict are mended, as it crosses the wire.

use std::time::Duration;

use localize::Component;
use localize::mended::{Comparison, Decision, Missing, Stretch};
use proto::v1;
use proto::v1::mended_request::Since;
use proto::v1::mended_response::{Fault, Stretch as WireStretch};
use tonic::Status;

use super::view;
use crate::clock::rfc3339;
use crate::mended::{Answer, From as Begin, Unanswerable};

pub(super) fn begin(since: Option<Since>) -> Begin {
    match since {
        None => Begin::Verdict,
        Some(Since::AgoMs(ms)) => Begin::Ago(Duration::from_millis(ms)),
        Some(Since::AtUs(at_us)) => Begin::At(at_us),
    }
}

pub(super) fn response(answer: Answer) -> v1::MendedResponse {
    v1::MendedResponse {
        service: answer.service,
        since: rfc3339(answer.since_us),
        every_ms: answer
            .every
            .and_then(|every| u64::try_from(every.as_millis()).ok()),
        faults: answer.faults.into_iter().map(fault).collect(),
    }
}

fn fault((component, mode, comparison): (Component, String, Comparison)) -> Fault {
    let Missing {
        rounds,
        probes,
        time_us,
    } = comparison.missing.unwrap_or(Missing {
        rounds: 0,
        probes: 0,
        time_us: None,
    });
    let missing = comparison.missing.is_some();
    Fault {
        component: Some(v1::Component::from(&component)),
        mode,
        decision: decision(comparison.decision).to_owned(),
        before: Some(stretch(comparison.before)),
        after: Some(stretch(comparison.after)),
        quiet: Some(stretch(comparison.quiet)),
        rounds: comparison.rounds,
        last_failure_at: rfc3339(comparison.last_failure_us.unwrap_or(0)),
        e_value: comparison.e_value,
        chance: comparison.chance,
        rounds_needed: missing.then_some(rounds),
        probes_needed: missing.then_some(probes),
        needed_ms: time_us.map(|us| us / 1000),
    }
}

fn decision(decision: Decision) -> &'static str {
    match decision {
        Decision::Mended => "mended",
        Decision::NotMended => "not_mended",
        Decision::Undecided => "undecided",
    }
}

fn stretch(stretch: Stretch) -> WireStretch {
    WireStretch {
        failed: stretch.counts.failed,
        of: stretch.counts.of,
        rate: Some(v1::Rate {
            estimate: stretch.rate.estimate,
            low: stretch.rate.low,
            high: stretch.rate.high,
        }),
        from: rfc3339(stretch.from_us),
    }
}

/// Why there is no answer, as it crosses the wire.
impl From<Unanswerable> for Status {
    fn from(why: Unanswerable) -> Self {
        match why {
            Unanswerable::Unknown(id) => {
                Self::not_found(Unanswerable::Unknown(view::shortened(id)).to_string())
            }
            Unanswerable::Healthy(..)
            | Unanswerable::Inconclusive(..)
            | Unanswerable::NotShown(..) => Self::failed_precondition(why.to_string()),
            Unanswerable::TooEarly { .. } | Unanswerable::Future { .. } => {
                Self::invalid_argument(why.to_string())
            }
            Unanswerable::Refused(refusal) => refusal.into(),
        }
    }
}
