//! `meshctl mended`: whether the faults of a verdict are mended.

use std::time::Duration;

use proto::v1::mended_request::Since as WireSince;
use proto::v1::{MendedRequest, MendedResponse};
use serde::Serialize;
use tokio::time::Instant;

use super::Session;
use crate::connect::{About, CallError, Subject};
use crate::duration;
use crate::exit::Exit;
use crate::render;
use crate::since::{self, Since};
use crate::trouble::Trouble;

/// Looked at again this often at most: rounds go every few seconds.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What has become of a verdict's faults.
#[derive(Debug, Serialize)]
pub struct Mended {
    /// The verdict's id.
    pub verdict: String,
    /// The service.
    pub service: String,
    /// From when on rounds count, RFC 3339.
    pub since: String,
    /// The interval of the schedule; `None` when no rounds go by themselves.
    pub every_ms: Option<u64>,
    /// The worst decision about a fault.
    pub decision: Decision,
    /// The faults in the verdict's order.
    pub faults: Vec<Fault>,
}

/// Whether a fault is mended; the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Its old rate is refuted.
    Mended,
    /// Not enough was probed.
    Undecided,
    /// It fails as before, or less often, but it fails.
    NotMended,
}

/// One fault before and after.
#[derive(Debug, Serialize)]
pub struct Fault {
    /// The component's kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it did wrong.
    pub mode: String,
    /// What has become of it.
    pub decision: Decision,
    /// From its first failure to the end of the verdict's rounds.
    pub before: Stretch,
    /// Since the asked instant.
    pub after: Stretch,
    /// Since it most probably was mended.
    pub quiet: Stretch,
    /// Rounds since the asked instant that could have shown it.
    pub rounds: u64,
    /// The last failure since, RFC 3339.
    pub last_failure_at: Option<String>,
    /// Evidence that it is over; 20 are proof.
    pub e_value: f64,
    /// Probability of so long a quiet, were it unchanged.
    pub chance: f64,
    /// Rounds without a failure that are missing for `mended`.
    pub rounds_needed: Option<u64>,
    /// Probes in them.
    pub probes_needed: Option<u64>,
    /// The time that the schedule takes for them, in milliseconds.
    pub needed_ms: Option<u64>,
}

/// Probes that could show a fault, and those that failed as it fails them.
#[derive(Debug, Serialize)]
pub struct Stretch {
    /// How many failed.
    pub failed: u64,
    /// Of how many.
    pub of: u64,
    /// The rate with its 95 % interval.
    pub rate: localize::Rate,
    /// Since when, RFC 3339.
    pub from: String,
}

pub async fn run(
    mut session: Session<'_>,
    id: &str,
    since: Option<Since>,
    wait: Duration,
) -> Result<Exit, Trouble> {
    let end = Instant::now() + wait;
    let mut mended = ask(&mut session, id, since).await?;
    let failed = mended.failed();
    let since = mended.pinned(since)?;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || mended.is_decided(failed) {
            break;
        }
        session.output.progress(&render::mended_progress(&mended));
        tokio::time::sleep(LOOK_EVERY.min(left)).await;
        mended = ask(&mut session, id, since).await?;
    }
    session.output.progress_done();
    session
        .output
        .print(&mended, || render::mended(&mended, session.output.style()))?;
    Ok(mended.decision.into())
}

async fn ask(
    session: &mut Session<'_>,
    id: &str,
    since: Option<Since>,
) -> Result<Mended, CallError> {
    let request = session.request(MendedRequest {
        verdict: id.to_owned(),
        since: since.map(|since| match since {
            Since::Ago(ago) => WireSince::AgoMs(duration::millis(ago)),
            Since::At(at_us) => WireSince::AtUs(at_us),
        }),
    });
    let answer = session.client.mended(request).await;
    Mended::read(id, answer.about(Subject::Verdict(id))?)
}

impl Mended {
    fn read(id: &str, wire: MendedResponse) -> Result<Self, CallError> {
        let faults = wire.faults.into_iter().map(Fault::read);
        let faults: Vec<Fault> = faults.collect::<Result<_, _>>()?;
        let decision = faults.iter().map(|fault| fault.decision).max();
        Ok(Self {
            verdict: id.to_owned(),
            service: wire.service,
            since: wire.since,
            every_ms: wire.every_ms,
            decision: decision.ok_or_else(|| unreadable("it is about no fault"))?,
            faults,
        })
    }
}

impl Mended {
    /// Probes that failed since.
    fn failed(&self) -> u64 {
        self.faults.iter().map(|fault| fault.after.failed).sum()
    }

    /// The same instant for every look: "so long ago" would move on meanwhile.
    fn pinned(&self, since: Option<Since>) -> Result<Option<Since>, CallError> {
        match since {
            None | Some(Since::At(_)) => Ok(since),
            Some(Since::Ago(_)) => {
                let instant = since::parse(&self.since);
                Ok(Some(
                    instant.map_err(|_| unreadable("no instant in `since`"))?,
                ))
            }
        }
    }

    /// Whether waiting has an end. Failures from before the first look do not say that it has not been
    /// mended since.
    fn is_decided(&self, failed_at_first: u64) -> bool {
        match self.decision {
            Decision::Mended => true,
            Decision::Undecided => false,
            Decision::NotMended => self.failed() > failed_at_first,
        }
    }
}

impl Fault {
    fn read(wire: proto::v1::mended_response::Fault) -> Result<Self, CallError> {
        let component = wire.component.ok_or_else(|| unreadable("no component"))?;
        Ok(Self {
            kind: component.kind,
            name: component.name,
            mode: wire.mode,
            decision: Decision::read(&wire.decision)?,
            before: Stretch::read(wire.before)?,
            after: Stretch::read(wire.after)?,
            quiet: Stretch::read(wire.quiet)?,
            rounds: wire.rounds,
            last_failure_at: (!wire.last_failure_at.is_empty()).then_some(wire.last_failure_at),
            e_value: wire.e_value,
            chance: wire.chance,
            rounds_needed: wire.rounds_needed,
            probes_needed: wire.probes_needed,
            needed_ms: wire.needed_ms,
        })
    }
}

impl Stretch {
    fn read(wire: Option<proto::v1::mended_response::Stretch>) -> Result<Self, CallError> {
        let wire = wire.ok_or_else(|| unreadable("a stretch is missing"))?;
        let rate = wire.rate.ok_or_else(|| unreadable("a rate is missing"))?;
        Ok(Self {
            failed: wire.failed,
            of: wire.of,
            rate: localize::Rate {
                estimate: rate.estimate,
                low: rate.low,
                high: rate.high,
            },
            from: wire.from,
        })
    }
}

impl Decision {
    fn read(word: &str) -> Result<Self, CallError> {
        match word {
            "mended" => Ok(Self::Mended),
            "undecided" => Ok(Self::Undecided),
            "not_mended" => Ok(Self::NotMended),
            other => Err(unreadable(&format!("a decision `{other}`"))),
        }
    }
}

impl From<Decision> for Exit {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Mended => Self::Ok,
            Decision::NotMended => Self::Fault,
            Decision::Undecided => Self::Inconclusive,
        }
    }
}

fn unreadable(what: &str) -> CallError {
    CallError::Unreadable(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_fault_decides() {
        let fault = |decision: &str| proto::v1::mended_response::Fault {
            component: Some(proto::v1::Component::default()),
            decision: decision.to_owned(),
            before: Some(stretch()),
            after: Some(stretch()),
            quiet: Some(stretch()),
            ..Default::default()
        };
        let rows: [(&[&str], u8); 4] = [
            (&["mended"], 0),
            (&["mended", "not_mended", "undecided"], 1),
            (&["undecided", "mended"], 3),
            (&["not_mended"], 1),
        ];
        for (decisions, code) in rows {
            let wire = MendedResponse {
                faults: decisions.iter().map(|word| fault(word)).collect(),
                ..MendedResponse::default()
            };
            let mended = Mended::read("v-1", wire).unwrap();
            assert_eq!(Exit::from(mended.decision).code(), code, "{decisions:?}");
        }
        for faults in [Vec::new(), vec![fault("perhaps")]] {
            let wire = MendedResponse {
                faults,
                ..MendedResponse::default()
            };
            assert!(Mended::read("v-1", wire).is_err());
        }
    }

    #[test]
    fn so_long_ago_is_the_same_instant_at_every_look() {
        let fault = proto::v1::mended_response::Fault {
            component: Some(proto::v1::Component::default()),
            decision: "undecided".to_owned(),
            before: Some(stretch()),
            after: Some(stretch()),
            quiet: Some(stretch()),
            ..Default::default()
        };
        let wire = MendedResponse {
            since: "1970-01-01T00:00:02.000Z".to_owned(),
            faults: vec![fault],
            ..MendedResponse::default()
        };
        let mended = Mended::read("v-1", wire).unwrap();
        let at = |us| Some(Since::At(us));
        let rows = [
            (Some(Since::Ago(Duration::from_secs(9))), at(2_000_000)),
            (at(5), at(5)),
            (None, None),
        ];
        for (since, expected) in rows {
            assert_eq!(mended.pinned(since).unwrap(), expected, "{since:?}");
        }
    }

    fn stretch() -> proto::v1::mended_response::Stretch {
        proto::v1::mended_response::Stretch {
            rate: Some(proto::v1::Rate::default()),
            ..Default::default()
        }
    }
}
