//! `/probe?target=NAME&module=localize`: a localisation, asked for as blackbox_exporter is.
//!
//! The answer comes when the verdict does, and in time for Prometheus, which says in a header how long it
//! waits.

use std::fmt;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use localize::{ServiceName, Verdict, VerdictOutcome};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use proto::v1;
use proto::v1::localize_event::Event as Said;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::asked::InQuery;
use super::metrics::{Exposition, exposition, families::gauges};
use super::trouble::Trouble;
use super::{Face, Shared};
use crate::localisation::Wish;

/// How long Prometheus waits for an answer, in seconds.
const PATIENCE: &str = "x-prometheus-scrape-timeout-seconds";
/// What the verdict and its way back take of that.
const MARGIN: Duration = Duration::from_millis(1500);
/// Longest localisation where nobody says how long he waits, and shortest.
const BUDGET: Duration = Duration::from_secs(8);
const SHORTEST: Duration = Duration::from_secs(2);
/// Scheduled rounds that count too.
pub(super) const SINCE: Duration = Duration::from_secs(15 * 60);
/// Events of the run that wait to be read.
const EVENTS: usize = 16;

type Event = Result<v1::LocalizeEvent, tonic::Status>;

/// What is to be probed, and how.
#[derive(Deserialize)]
pub(super) struct Wanted {
    target: Option<String>,
    module: Option<String>,
}

pub(super) async fn probe(
    State(face): Shared,
    InQuery(wanted): InQuery<Wanted>,
    headers: HeaderMap,
) -> Result<Exposition, Trouble> {
    let Some(target) = wanted.target.filter(|target| !target.is_empty()) else {
        let words = "the target is missing: /probe?target=NAME, with the name of a service";
        return Err(Trouble::Unfit(words.to_owned()));
    };
    match wanted.module.as_deref() {
        None | Some("localize") => {}
        Some(other) => {
            let words = format!("there is no module {other:?}; the only one is localize");
            return Err(Trouble::Unfit(words));
        }
    }
    let started = Instant::now();
    // Prometheus asks every few seconds: what has not changed does not fill the store.
    let wish = Wish::new(ServiceName(target), budget(&headers), SINCE).for_news();
    let verdict = face.localised(wish).await?;
    let probed = Probed {
        took: started.elapsed(),
        verdict,
    };
    exposition(probed, &headers)
}

/// As long as whoever asks waits for the answer, less the way back.
fn budget(headers: &HeaderMap) -> Duration {
    let said = headers.get(PATIENCE).and_then(|value| value.to_str().ok());
    let said = said.and_then(|value| value.parse().ok());
    let waits = said.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    waits.map_or(BUDGET, |waits| waits.saturating_sub(MARGIN).max(SHORTEST))
}

impl Face {
    /// The verdict of a localisation; hanging up ends it.
    pub(super) async fn localised(&self, wish: Wish) -> Result<Verdict, Trouble> {
        let run = self.localiser.begin(wish).await?;
        let (events, mut said) = mpsc::channel::<Event>(EVENTS);
        let last = async {
            while let Some(event) = said.recv().await {
                let event = event.map_err(|status| Trouble::Refused {
                    status: axum::http::StatusCode::SERVICE_UNAVAILABLE,
                    words: status.message().to_owned(),
                })?;
                if let Some(Said::Verdict(verdict)) = event.event {
                    return read(verdict);
                }
            }
            Err(Trouble::Stopping)
        };
        tokio::select! {
            () = self.stop.cancelled() => Err(Trouble::Stopping),
            ((), last) = async { tokio::join!(run.to_the_end(&events), last) } => last,
        }
    }
}

fn read(verdict: v1::Verdict) -> Result<Verdict, Trouble> {
    let verdict = Verdict::try_from(verdict);
    verdict.map_err(|error| Trouble::Page(error.to_string()))
}

/// A verdict as metrics.
#[derive(Debug)]
struct Probed {
    took: Duration,
    verdict: Verdict,
}

impl Collector for Probed {
    fn encode(&self, mut to: DescriptorEncoder) -> fmt::Result {
        let Self { took, verdict } = self;
        let is = |yes: bool| f64::from(u8::from(yes));
        let outcome = verdict.outcome;
        let rows = [
            (
                "probe_success",
                "Whether the verdict is healthy",
                is(outcome == VerdictOutcome::Healthy),
            ),
            (
                "probe_duration_seconds",
                "How long the localisation took",
                took.as_secs_f64(),
            ),
            (
                "mesh_verdict_inconclusive",
                "Whether the evidence does not tell",
                is(outcome == VerdictOutcome::Inconclusive),
            ),
            (
                "mesh_verdict_rounds",
                "Rounds that it was made from",
                verdict.rounds as f64,
            ),
            (
                "mesh_verdict_probes",
                "Probes that it was made from",
                verdict.probes as f64,
            ),
            (
                "mesh_verdict_unknown_ratio",
                "Probability of something that no component explains",
                verdict.unknown,
            ),
            (
                "mesh_verdict_detection_rate_ratio",
                "A fault of this rate would have been seen",
                verdict.detection.rate,
            ),
            (
                "mesh_verdict_detection_power_ratio",
                "... with this probability",
                verdict.detection.power,
            ),
        ];
        for (name, help, value) in rows {
            gauges(&mut to, name, help, [(Vec::new(), value)])?;
        }
        self.faults(&mut to)
    }
}

impl Probed {
    fn faults(&self, to: &mut DescriptorEncoder) -> fmt::Result {
        let all = || {
            self.verdict.faults.iter().map(|fault| {
                let kind = proto::words::kind(fault.component.kind);
                let name = fault.component.name.as_str();
                (
                    vec![
                        ("kind", kind),
                        ("name", name),
                        ("mode", fault.mode.as_str()),
                    ],
                    fault,
                )
            })
        };
        let sure = all().map(|(labels, fault)| (labels, fault.confidence));
        gauges(
            to,
            "mesh_verdict_fault_confidence_ratio",
            "Probability that this component is at fault",
            sure,
        )?;
        let rate = all().map(|(labels, fault)| (labels, fault.rate.estimate));
        gauges(
            to,
            "mesh_verdict_fault_rate_ratio",
            "Share of the probes crossing it that it fails",
            rate,
        )?;
        let felt = all().map(|(labels, fault)| (labels, f64::from(u8::from(fault.user_impact))));
        gauges(
            to,
            "mesh_verdict_fault_user_impact",
            "Whether users feel it",
            felt,
        )
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_answer_comes_while_somebody_waits() {
        let budget = |said: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(said.map(|said| {
                (
                    axum::http::HeaderName::from_static(PATIENCE),
                    HeaderValue::from_static(said),
                )
            }));
            super::budget(&headers).as_millis()
        };
        assert_eq!(budget(None), 8000);
        assert_eq!(budget(Some("10")), 8500);
        assert_eq!(budget(Some("30.5")), 29_000);
        for odd in ["1", "0", "-5", "NaN", "soon"] {
            assert!(matches!(budget(Some(odd)), 2000 | 8000), "{odd}");
        }
    }
}
