//! Verdicts. They come from the coordinator, whose word its clients take: there are no bounds but that
//! of the message.

use localize::verdict::{Earlier, NotProbed};
use localize::{
    Alternative, Clock, Component, Detection, Evidence, Exonerated, Fault, Kind, Pattern, Rate,
    Rival, Verdict, VerdictOutcome,
};

use super::{Malformed, finite};
use crate::v1;

/// The kinds and their words, those of the JSON.
const KINDS: [(Kind, &str); 10] = [
    (Kind::ClientNetwork, "client_network"),
    (Kind::Resolver, "resolver"),
    (Kind::AuthoritativeDns, "authoritative_dns"),
    (Kind::Cdn, "cdn"),
    (Kind::CdnOriginPath, "cdn_origin_path"),
    (Kind::Origin, "origin"),
    (Kind::LoadBalancer, "load_balancer"),
    (Kind::LbBackendPath, "lb_backend_path"),
    (Kind::Backend, "backend"),
    (Kind::ReturnPath, "return_path"),
];

/// The outcomes and their words, those of the JSON.
const OUTCOMES: [(VerdictOutcome, &str); 3] = [
    (VerdictOutcome::Healthy, "healthy"),
    (VerdictOutcome::Fault, "fault"),
    (VerdictOutcome::Inconclusive, "inconclusive"),
];

/// The patterns and their words, those of the JSON.
const PATTERNS: [(Pattern, &str); 7] = [
    (Pattern::Steady, "steady"),
    (Pattern::Bursts, "bursts"),
    (Pattern::Periodic, "periodic"),
    (Pattern::ByFlow, "by_flow"),
    (Pattern::BySource, "by_source"),
    (Pattern::ByVariant, "by_variant"),
    (Pattern::ByCookie, "by_cookie"),
];

fn word<T: Copy + PartialEq>(table: &[(T, &'static str)], value: T) -> String {
    table
        .iter()
        .find(|(known, _)| *known == value)
        .map_or("", |(_, word)| word)
        .to_string()
}

fn meaning<T: Copy>(
    field: &'static str,
    table: &[(T, &'static str)],
    word: &str,
) -> Result<T, Malformed> {
    table
        .iter()
        .find(|(_, known)| *known == word)
        .map(|(value, _)| *value)
        .ok_or_else(|| Malformed::UnknownWord {
            field,
            word: super::shortened(word),
        })
}

impl From<&Component> for v1::Component {
    fn from(component: &Component) -> Self {
        Self {
            kind: word(&KINDS, component.kind),
            name: component.name.clone(),
        }
    }
}

impl TryFrom<v1::Component> for Component {
    type Error = Malformed;

    fn try_from(wire: v1::Component) -> Result<Self, Malformed> {
        Ok(Self {
            kind: meaning("component.kind", &KINDS, &wire.kind)?,
            name: wire.name,
        })
    }
}

fn component(wire: Option<v1::Component>) -> Result<Component, Malformed> {
    wire.ok_or(Malformed::Missing("component"))?.try_into()
}

impl From<&Evidence> for v1::Evidence {
    fn from(evidence: &Evidence) -> Self {
        Self {
            text: evidence.text.clone(),
            vantage: evidence.vantage.clone(),
            arm: evidence.arm.clone(),
            failed: evidence.failed,
            of: evidence.of,
            failure: evidence.failure.clone(),
            implicates: evidence.implicates,
            nats: evidence.nats,
        }
    }
}

impl TryFrom<v1::Evidence> for Evidence {
    type Error = Malformed;

    fn try_from(wire: v1::Evidence) -> Result<Self, Malformed> {
        Ok(Self {
            text: wire.text,
            vantage: wire.vantage,
            arm: wire.arm,
            failed: wire.failed,
            of: wire.of,
            failure: wire.failure,
            implicates: wire.implicates,
            nats: finite("evidence.nats", wire.nats)?,
        })
    }
}

impl From<&Rival> for v1::Rival {
    fn from(rival: &Rival) -> Self {
        Self {
            component: Some((&rival.component).into()),
            mode: rival.mode.clone(),
            nats: rival.nats,
            because: rival.because.clone(),
        }
    }
}

impl TryFrom<v1::Rival> for Rival {
    type Error = Malformed;

    fn try_from(wire: v1::Rival) -> Result<Self, Malformed> {
        Ok(Self {
            component: component(wire.component)?,
            mode: wire.mode,
            nats: finite("rival.nats", wire.nats)?,
            because: wire.because,
        })
    }
}

impl From<&Fault> for v1::Fault {
    fn from(fault: &Fault) -> Self {
        Self {
            component: Some((&fault.component).into()),
            mode: fault.mode.clone(),
            confidence: fault.confidence,
            user_impact: fault.user_impact,
            rate: Some(v1::Rate {
                estimate: fault.rate.estimate,
                low: fault.rate.low,
                high: fault.rate.high,
            }),
            summary: fault.summary.clone(),
            owner: fault.owner.clone(),
            evidence: fault.evidence.iter().map(Into::into).collect(),
            next_step: fault.next_step.clone(),
            rivals: fault.rivals.iter().map(Into::into).collect(),
            began_at: fault.began_at.clone(),
            pattern: word(&PATTERNS, fault.pattern),
            period_s: fault.period_s,
        }
    }
}

impl TryFrom<v1::Fault> for Fault {
    type Error = Malformed;

    fn try_from(wire: v1::Fault) -> Result<Self, Malformed> {
        let evidence = wire.evidence.into_iter().map(TryInto::try_into);
        let rivals = wire.rivals.into_iter().map(TryInto::try_into);
        let rate = wire.rate.ok_or(Malformed::Missing("fault.rate"))?;
        Ok(Self {
            began_at: wire.began_at,
            pattern: match wire.pattern.as_str() {
                // A coordinator that knows of no patterns.
                "" => Pattern::Steady,
                word => meaning("fault.pattern", &PATTERNS, word)?,
            },
            period_s: match wire.period_s {
                Some(period_s) => Some(finite("fault.period_s", period_s)?),
                None => None,
            },
            component: component(wire.component)?,
            mode: wire.mode,
            confidence: finite("confidence", wire.confidence)?,
            user_impact: wire.user_impact,
            rate: Rate {
                estimate: finite("rate.estimate", rate.estimate)?,
                low: finite("rate.low", rate.low)?,
                high: finite("rate.high", rate.high)?,
            },
            summary: wire.summary,
            owner: wire.owner,
            evidence: evidence.collect::<Result<_, Malformed>>()?,
            next_step: wire.next_step,
            rivals: rivals.collect::<Result<_, Malformed>>()?,
        })
    }
}

impl From<&Exonerated> for v1::Exonerated {
    fn from(cleared: &Exonerated) -> Self {
        Self {
            component: Some((&cleared.component).into()),
            confidence: cleared.confidence,
            because: cleared.because.clone(),
        }
    }
}

impl TryFrom<v1::Exonerated> for Exonerated {
    type Error = Malformed;

    fn try_from(wire: v1::Exonerated) -> Result<Self, Malformed> {
        Ok(Self {
            component: component(wire.component)?,
            confidence: finite("confidence", wire.confidence)?,
            because: wire.because,
        })
    }
}

impl From<&Alternative> for v1::Alternative {
    fn from(rival: &Alternative) -> Self {
        Self {
            component: Some((&rival.component).into()),
            mode: rival.mode.clone(),
            confidence: rival.confidence,
            because: rival.because.clone(),
        }
    }
}

impl TryFrom<v1::Alternative> for Alternative {
    type Error = Malformed;

    fn try_from(wire: v1::Alternative) -> Result<Self, Malformed> {
        Ok(Self {
            component: component(wire.component)?,
            mode: wire.mode,
            confidence: finite("confidence", wire.confidence)?,
            because: wire.because,
        })
    }
}

impl From<&Earlier> for v1::Earlier {
    fn from(earlier: &Earlier) -> Self {
        Self {
            component: Some((&earlier.component).into()),
            mode: earlier.mode.clone(),
            began_at: earlier.began_at.clone(),
            ended_at: earlier.ended_at.clone(),
        }
    }
}

impl TryFrom<v1::Earlier> for Earlier {
    type Error = Malformed;

    fn try_from(wire: v1::Earlier) -> Result<Self, Malformed> {
        Ok(Self {
            component: component(wire.component)?,
            mode: wire.mode,
            began_at: wire.began_at,
            ended_at: wire.ended_at,
        })
    }
}

impl From<&NotProbed> for v1::NotProbed {
    fn from(left_out: &NotProbed) -> Self {
        Self {
            vantage: left_out.vantage.clone(),
            arm: left_out.arm.clone(),
            because: left_out.because.clone(),
        }
    }
}

impl From<v1::NotProbed> for NotProbed {
    fn from(wire: v1::NotProbed) -> Self {
        Self {
            vantage: wire.vantage,
            arm: wire.arm,
            because: wire.because,
        }
    }
}

impl From<&Verdict> for v1::Verdict {
    fn from(verdict: &Verdict) -> Self {
        Self {
            schema: verdict.schema,
            service: verdict.service.clone(),
            id: verdict.id.clone(),
            outcome: word(&OUTCOMES, verdict.outcome),
            faults: verdict.faults.iter().map(Into::into).collect(),
            exonerated: verdict.exonerated.iter().map(Into::into).collect(),
            alternatives: verdict.alternatives.iter().map(Into::into).collect(),
            unknown: verdict.unknown,
            ask: verdict.ask.clone(),
            detection_rate: verdict.detection.rate,
            detection_power: verdict.detection.power,
            worst_uncertainty_us: verdict.clock.worst_uncertainty_us,
            rounds: verdict.rounds,
            probes: verdict.probes,
            vantages: verdict.vantages.clone(),
            started_at: verdict.started_at.clone(),
            elapsed_ms: verdict.elapsed_ms,
            raised: None,
            earlier: verdict.earlier.iter().map(Into::into).collect(),
            not_probed: verdict.not_probed.iter().map(Into::into).collect(),
            standing: verdict.standing.clone(),
        }
    }
}

impl TryFrom<v1::Verdict> for Verdict {
    type Error = Malformed;

    fn try_from(wire: v1::Verdict) -> Result<Self, Malformed> {
        let faults = wire.faults.into_iter().map(TryInto::try_into);
        let exonerated = wire.exonerated.into_iter().map(TryInto::try_into);
        let alternatives = wire.alternatives.into_iter().map(TryInto::try_into);
        let earlier = wire.earlier.into_iter().map(TryInto::try_into);
        Ok(Self {
            earlier: earlier.collect::<Result<_, Malformed>>()?,
            not_probed: wire.not_probed.into_iter().map(Into::into).collect(),
            standing: wire.standing,
            schema: wire.schema,
            service: wire.service,
            id: wire.id,
            outcome: meaning("outcome", &OUTCOMES, &wire.outcome)?,
            faults: faults.collect::<Result<_, Malformed>>()?,
            exonerated: exonerated.collect::<Result<_, Malformed>>()?,
            alternatives: alternatives.collect::<Result<_, Malformed>>()?,
            unknown: finite("unknown", wire.unknown)?,
            ask: wire.ask,
            detection: Detection {
                rate: finite("detection_rate", wire.detection_rate)?,
                power: finite("detection_power", wire.detection_power)?,
            },
            clock: Clock {
                worst_uncertainty_us: wire.worst_uncertainty_us,
            },
            rounds: wire.rounds,
            probes: wire.probes,
            vantages: wire.vantages,
            started_at: wire.started_at,
            elapsed_ms: wire.elapsed_ms,
        })
    }
}
