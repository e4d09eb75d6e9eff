//! Observations and their parts.

use localize::{
    Arm, DnsFacts, Facts, Failure, Firing, HttpFacts, HttpVersion, Layer, Object, Observation,
    ObservationId, Outcome, Redirect, RoundId, ServiceName, SourcePort, Step, Target, TcpFacts,
    TlsFacts, Traits, Twin, VantageName,
};

use super::{
    MAX_INSTANT, MAX_TEXT, Malformed, at_most, few, ip, layer, micros, name, narrow, prose, socket,
};
use crate::v1;

/// Layers that a probe can pass.
const MAX_STEPS: usize = 8;
/// Headers of an answer that are kept, and the longest value.
const MAX_HEADERS: usize = 32;
const MAX_HEADER_VALUE: usize = 128;

impl From<&Arm> for v1::Arm {
    fn from(arm: &Arm) -> Self {
        use v1::arm::Target as Wire;
        let target = match &arm.target {
            Target::Resolver { server } => Wire::Resolver(v1::ResolverTarget {
                server: server.to_string(),
            }),
            Target::NameServer { name, server } => Wire::NameServer(v1::NameServerTarget {
                name: name.clone(),
                server: server.to_string(),
            }),
            Target::Edge { address } => Wire::Edge(v1::EdgeTarget {
                address: address.to_string(),
            }),
            Target::Vip { address } => Wire::Vip(v1::VipTarget {
                address: address.to_string(),
            }),
            Target::Backend { name, address } => Wire::Backend(v1::BackendTarget {
                name: name.clone(),
                address: address.to_string(),
            }),
        };
        Self {
            target: Some(target),
            source: arm.source.map(|source| source.to_string()),
            reuse_port: !arm.traits.port.is_plain(),
            large: !arm.traits.object.is_plain(),
            traits: arm
                .traits
                .twins()
                .filter(has_number)
                .map(|twin| twin.code)
                .collect(),
        }
    }
}

impl TryFrom<v1::Arm> for Arm {
    type Error = Malformed;

    fn try_from(wire: v1::Arm) -> Result<Self, Malformed> {
        use v1::arm::Target as Wire;
        let told = told(&wire);
        let target = match wire.target.ok_or(Malformed::Missing("arm.target"))? {
            Wire::Resolver(to) => Target::Resolver {
                server: socket("arm.resolver", &to.server)?,
            },
            Wire::NameServer(to) => Target::NameServer {
                name: name("arm.name_server.name", to.name)?,
                server: socket("arm.name_server", &to.server)?,
            },
            Wire::Edge(to) => Target::Edge {
                address: socket("arm.edge", &to.address)?,
            },
            Wire::Vip(to) => Target::Vip {
                address: socket("arm.vip", &to.address)?,
            },
            Wire::Backend(to) => Target::Backend {
                name: name("arm.backend.name", to.name)?,
                address: socket("arm.backend", &to.address)?,
            },
        };
        let source = wire
            .source
            .map(|text| ip("arm.source", &text))
            .transpose()?;
        let connects = match &target {
            Target::Edge { .. } | Target::Vip { .. } | Target::Backend { .. } => true,
            Target::Resolver { .. } | Target::NameServer { .. } => false,
        };
        Ok(Self {
            target,
            source,
            traits: traits(&told, connects)?,
        })
    }
}

/// What the wire tells of an arm's traits: each one with the field that tells it.
fn told(wire: &v1::Arm) -> Vec<(&'static str, Traits)> {
    let fields = [
        (wire.reuse_port, "arm.reuse_port", SourcePort::Reused.into()),
        (wire.large, "arm.large", Object::Large.into()),
    ];
    let fields = fields.into_iter().filter(|(set, ..)| *set);
    // What this version does not know, it does without.
    let numbers = wire.traits.iter().filter_map(|code| Traits::of_code(*code));
    fields
        .map(|(_, field, traits)| (field, traits))
        .chain(numbers.map(|traits| ("arm.traits", traits)))
        .collect()
}

fn traits(told: &[(&'static str, Traits)], connects: bool) -> Result<Traits, Malformed> {
    match told.first() {
        Some((field, _)) if !connects => Err(Malformed::Contradiction(field, "arm.target")),
        Some(_) | None => {
            let all = told.iter().map(|(_, traits)| *traits);
            Ok(all.fold(Traits::PLAIN, Traits::and))
        }
    }
}

/// Whether a twin is told by its number: two were there before the numbers, and have fields of their own.
fn has_number(twin: &&Twin) -> bool {
    let of_fields = [SourcePort::Reused.into(), Object::Large.into()];
    !of_fields.contains(&twin.traits)
}

/// A failure as its kind and the code of those that have one.
pub(super) fn failure_to_wire(failure: Failure) -> (v1::FailureKind, u32) {
    use v1::FailureKind as Kind;
    match failure {
        Failure::DnsTimeout => (Kind::FailureDnsTimeout, 0),
        Failure::DnsUnreachable => (Kind::FailureDnsUnreachable, 0),
        Failure::DnsRefused => (Kind::FailureDnsRefused, 0),
        Failure::DnsServfail => (Kind::FailureDnsServfail, 0),
        Failure::DnsNxdomain => (Kind::FailureDnsNxdomain, 0),
        Failure::DnsNoData => (Kind::FailureDnsNoData, 0),
        Failure::DnsMalformed => (Kind::FailureDnsMalformed, 0),
        Failure::DnsLame => (Kind::FailureDnsLame, 0),
        Failure::ConnectRefused => (Kind::FailureConnectRefused, 0),
        Failure::ConnectTimeout => (Kind::FailureConnectTimeout, 0),
        Failure::ConnectUnreachable => (Kind::FailureConnectUnreachable, 0),
        Failure::ConnectLocal => (Kind::FailureConnectLocal, 0),
        Failure::TlsTimeout => (Kind::FailureTlsTimeout, 0),
        Failure::TlsReset => (Kind::FailureTlsReset, 0),
        Failure::TlsAlert(alert) => (Kind::FailureTlsAlert, alert.into()),
        Failure::CertificateExpired => (Kind::FailureCertificateExpired, 0),
        Failure::CertificateNotYetValid => (Kind::FailureCertificateNotYetValid, 0),
        Failure::CertificateUnknownIssuer => (Kind::FailureCertificateUnknownIssuer, 0),
        Failure::CertificateChainIncomplete => (Kind::FailureCertificateChainIncomplete, 0),
        Failure::CertificateWrongName => (Kind::FailureCertificateWrongName, 0),
        Failure::CertificateInvalid => (Kind::FailureCertificateInvalid, 0),
        Failure::TlsProtocol => (Kind::FailureTlsProtocol, 0),
        Failure::ResetBeforeRequest => (Kind::FailureResetBeforeRequest, 0),
        Failure::ResetAfterRequest => (Kind::FailureResetAfterRequest, 0),
        Failure::ClosedWithoutAnswer => (Kind::FailureClosedWithoutAnswer, 0),
        Failure::HttpTimeout => (Kind::FailureHttpTimeout, 0),
        Failure::BodyTimeout => (Kind::FailureBodyTimeout, 0),
        Failure::BodyTruncated => (Kind::FailureBodyTruncated, 0),
        Failure::HttpMalformed => (Kind::FailureHttpMalformed, 0),
        Failure::HttpStatus(status) => (Kind::FailureHttpStatus, status.into()),
        Failure::CdnStatus(status) => (Kind::FailureCdnStatus, status.into()),
        Failure::UnexpectedStatus(status) => (Kind::FailureUnexpectedStatus, status.into()),
        Failure::UnexpectedBody => (Kind::FailureUnexpectedBody, 0),
        Failure::LateFirstByte => (Kind::FailureLateFirstByte, 0),
        Failure::HttpVersion(HttpVersion::One) => (Kind::FailureHttpVersion, 1),
        Failure::HttpVersion(HttpVersion::Two) => (Kind::FailureHttpVersion, 2),
    }
}

pub(super) fn failure_from_wire(kind: v1::FailureKind, code: u32) -> Result<Failure, Malformed> {
    use v1::FailureKind as Kind;
    Ok(match kind {
        Kind::FailureUnspecified => return Err(Malformed::Missing("failure")),
        Kind::FailureDnsTimeout => Failure::DnsTimeout,
        Kind::FailureDnsUnreachable => Failure::DnsUnreachable,
        Kind::FailureDnsRefused => Failure::DnsRefused,
        Kind::FailureDnsServfail => Failure::DnsServfail,
        Kind::FailureDnsNxdomain => Failure::DnsNxdomain,
        Kind::FailureDnsNoData => Failure::DnsNoData,
        Kind::FailureDnsMalformed => Failure::DnsMalformed,
        Kind::FailureDnsLame => Failure::DnsLame,
        Kind::FailureConnectRefused => Failure::ConnectRefused,
        Kind::FailureConnectTimeout => Failure::ConnectTimeout,
        Kind::FailureConnectUnreachable => Failure::ConnectUnreachable,
        Kind::FailureConnectLocal => Failure::ConnectLocal,
        Kind::FailureTlsTimeout => Failure::TlsTimeout,
        Kind::FailureTlsReset => Failure::TlsReset,
        Kind::FailureTlsAlert => Failure::TlsAlert(narrow("failure.code", code, 255)?),
        Kind::FailureCertificateExpired => Failure::CertificateExpired,
        Kind::FailureCertificateNotYetValid => Failure::CertificateNotYetValid,
        Kind::FailureCertificateUnknownIssuer => Failure::CertificateUnknownIssuer,
        Kind::FailureCertificateChainIncomplete => Failure::CertificateChainIncomplete,
        Kind::FailureCertificateWrongName => Failure::CertificateWrongName,
        Kind::FailureCertificateInvalid => Failure::CertificateInvalid,
        Kind::FailureTlsProtocol => Failure::TlsProtocol,
        Kind::FailureResetBeforeRequest => Failure::ResetBeforeRequest,
        Kind::FailureResetAfterRequest => Failure::ResetAfterRequest,
        Kind::FailureClosedWithoutAnswer => Failure::ClosedWithoutAnswer,
        Kind::FailureHttpTimeout => Failure::HttpTimeout,
        Kind::FailureBodyTimeout => Failure::BodyTimeout,
        Kind::FailureBodyTruncated => Failure::BodyTruncated,
        Kind::FailureHttpMalformed => Failure::HttpMalformed,
        Kind::FailureHttpStatus => Failure::HttpStatus(narrow("failure.code", code, 65_535)?),
        Kind::FailureCdnStatus => Failure::CdnStatus(narrow("failure.code", code, 65_535)?),
        Kind::FailureUnexpectedStatus => {
            Failure::UnexpectedStatus(narrow("failure.code", code, 65_535)?)
        }
        Kind::FailureUnexpectedBody => Failure::UnexpectedBody,
        Kind::FailureLateFirstByte => Failure::LateFirstByte,
        Kind::FailureHttpVersion => Failure::HttpVersion(match code {
            1 => HttpVersion::One,
            2 => HttpVersion::Two,
            other => {
                return Err(Malformed::Unknown {
                    field: "failure.code",
                    value: other.into(),
                });
            }
        }),
    })
}

pub(super) fn failure_kind(wire: i32) -> Result<v1::FailureKind, Malformed> {
    v1::FailureKind::try_from(wire).map_err(|_| Malformed::Unknown {
        field: "failure",
        value: wire.into(),
    })
}

fn outcome_to_wire(outcome: &Outcome) -> v1::observation::Outcome {
    use v1::observation::Outcome as Wire;
    match outcome {
        Outcome::Passed => Wire::Passed(v1::Passed {}),
        Outcome::NotFired => Wire::NotFired(v1::NotFired {}),
        Outcome::Failed {
            layer,
            failure,
            after,
        } => {
            let (kind, code) = failure_to_wire(*failure);
            Wire::Failed(v1::Failed {
                layer: v1::Layer::from(*layer).into(),
                failure: kind.into(),
                code,
                after_us: after.0,
            })
        }
    }
}

fn outcome_from_wire(wire: v1::observation::Outcome) -> Result<Outcome, Malformed> {
    use v1::observation::Outcome as Wire;
    Ok(match wire {
        Wire::Passed(_) => Outcome::Passed,
        Wire::NotFired(_) => Outcome::NotFired,
        Wire::Failed(failed) => {
            let kind = failure_kind(failed.failure)?;
            Outcome::Failed {
                layer: layer(failed.layer)?,
                failure: failure_from_wire(kind, failed.code)?,
                after: micros("failed.after", failed.after_us)?,
            }
        }
    })
}

fn firing_to_wire(firing: &Firing) -> v1::Firing {
    use v1::firing::Firing as Wire;
    let wire = match firing {
        Firing::OnTime => Wire::OnTime(v1::OnTime {}),
        Firing::Late { by, why } => Wire::Late(v1::Late {
            by_us: by.0,
            why: why.clone(),
        }),
        Firing::Skipped { why } => Wire::Skipped(v1::Skipped { why: why.clone() }),
    };
    v1::Firing { firing: Some(wire) }
}

fn firing_from_wire(wire: v1::Firing) -> Result<Firing, Malformed> {
    use v1::firing::Firing as Wire;
    Ok(match wire.firing.ok_or(Malformed::Missing("firing"))? {
        Wire::OnTime(_) => Firing::OnTime,
        Wire::Late(late) => Firing::Late {
            by: micros("late.by", late.by_us)?,
            why: prose("late.why", late.why, MAX_TEXT)?,
        },
        Wire::Skipped(skipped) => Firing::Skipped {
            why: prose("skipped.why", skipped.why, MAX_TEXT)?,
        },
    })
}

fn tcp_from_wire(wire: v1::TcpFacts) -> Result<TcpFacts, Malformed> {
    Ok(TcpFacts {
        local: socket("tcp.local", &wire.local)?,
        syn_retransmissions: wire.syn_retransmissions,
        retransmissions: wire.retransmissions,
        rtt: wire.rtt_us.map(|rtt| micros("tcp.rtt", rtt)).transpose()?,
        reused_after: wire
            .reused_after_us
            .map(|after| micros("tcp.reused_after", after))
            .transpose()?,
        options: wire.options.map(TryInto::try_into).transpose()?,
    })
}

fn http_from_wire(wire: v1::HttpFacts) -> Result<HttpFacts, Malformed> {
    few("http.headers", &wire.headers, MAX_HEADERS)?;
    let headers = wire.headers.into_iter().map(|header| {
        Ok((
            name("http.header.name", header.name)?,
            prose("http.header.value", header.value, MAX_HEADER_VALUE)?,
        ))
    });
    Ok(HttpFacts {
        status: narrow("http.status", wire.status, 65_535)?,
        first_byte: micros("http.first_byte", wire.first_byte_us)?,
        body_bytes: wire.body_bytes,
        body_digest: prose("http.body_digest", wire.body_digest, MAX_HEADER_VALUE)?,
        headers: headers.collect::<Result<_, Malformed>>()?,
        redirect: redirect_from_wire(wire.redirect)?,
    })
}

fn redirect_from_wire(value: i32) -> Result<Redirect, Malformed> {
    match v1::Redirect::try_from(value) {
        Ok(v1::Redirect::None) => Ok(Redirect::None),
        Ok(v1::Redirect::Within) => Ok(Redirect::Within),
        Ok(v1::Redirect::Elsewhere) => Ok(Redirect::Elsewhere),
        Err(_) => Err(Malformed::Unknown {
            field: "http.redirect",
            value: value.into(),
        }),
    }
}

fn redirect_to_wire(redirect: Redirect) -> v1::Redirect {
    match redirect {
        Redirect::None => v1::Redirect::None,
        Redirect::Within => v1::Redirect::Within,
        Redirect::Elsewhere => v1::Redirect::Elsewhere,
    }
}

fn tls_from_wire(wire: v1::TlsFacts) -> Result<TlsFacts, Malformed> {
    Ok(TlsFacts {
        leaf: prose("tls.leaf", wire.leaf, MAX_HEADER_VALUE)?,
        not_after: wire.not_after,
        not_before: wire.not_before,
        judged_at: wire.judged_at,
    })
}

impl From<&Observation> for v1::Observation {
    fn from(observation: &Observation) -> Self {
        let facts = &observation.facts;
        Self {
            vantage: observation.id.vantage.0.clone(),
            sequence: observation.id.sequence,
            service: observation.service.0.clone(),
            round: observation.round.0,
            arm: Some((&observation.arm).into()),
            started: Some(observation.started.into()),
            scheduled_us: observation.scheduled_us,
            firing: Some(firing_to_wire(&observation.firing)),
            steps: observation
                .steps
                .iter()
                .map(|step| v1::Step {
                    layer: v1::Layer::from(step.layer).into(),
                    took_us: step.took.0,
                })
                .collect(),
            outcome: Some(outcome_to_wire(&observation.outcome)),
            dns: facts.dns.as_ref().map(v1::DnsFacts::from),
            tcp: facts.tcp.as_ref().map(|tcp| v1::TcpFacts {
                local: tcp.local.to_string(),
                syn_retransmissions: tcp.syn_retransmissions,
                retransmissions: tcp.retransmissions,
                rtt_us: tcp.rtt.map(|rtt| rtt.0),
                reused_after_us: tcp.reused_after.map(|after| after.0),
                options: tcp.options.map(Into::into),
            }),
            tls: facts.tls.as_ref().map(|tls| v1::TlsFacts {
                leaf: tls.leaf.clone(),
                not_after: tls.not_after,
                not_before: tls.not_before,
                judged_at: tls.judged_at,
            }),
            http: facts.http.as_ref().map(http_to_wire),
        }
    }
}

fn http_to_wire(http: &HttpFacts) -> v1::HttpFacts {
    v1::HttpFacts {
        status: http.status.into(),
        first_byte_us: http.first_byte.0,
        body_bytes: http.body_bytes,
        body_digest: http.body_digest.clone(),
        headers: http
            .headers
            .iter()
            .map(|(name, value)| v1::Header {
                name: name.clone(),
                value: value.clone(),
            })
            .collect(),
        redirect: redirect_to_wire(http.redirect).into(),
    }
}

impl TryFrom<v1::Observation> for Observation {
    type Error = Malformed;

    fn try_from(wire: v1::Observation) -> Result<Self, Malformed> {
        few("steps", &wire.steps, MAX_STEPS)?;
        let steps: Vec<Step> = wire
            .steps
            .iter()
            .map(|step| {
                Ok(Step {
                    layer: layer(step.layer)?,
                    took: micros("step.took", step.took_us)?,
                })
            })
            .collect::<Result<_, Malformed>>()?;
        let outcome = outcome_from_wire(wire.outcome.ok_or(Malformed::Missing("outcome"))?)?;
        in_order(&steps, &outcome)?;
        let arm: Arm = wire.arm.ok_or(Malformed::Missing("arm"))?.try_into()?;
        let tcp = wire.tcp.map(tcp_from_wire).transpose()?;
        port_agrees(&arm, tcp.as_ref())?;
        Ok(Self {
            id: ObservationId {
                vantage: VantageName(name("vantage", wire.vantage)?),
                sequence: wire.sequence,
            },
            service: ServiceName(name("service", wire.service)?),
            round: RoundId(wire.round),
            arm,
            started: wire
                .started
                .ok_or(Malformed::Missing("started"))?
                .try_into()?,
            scheduled_us: at_most("scheduled", wire.scheduled_us, MAX_INSTANT)?,
            firing: firing_from_wire(wire.firing.ok_or(Malformed::Missing("firing"))?)?,
            steps,
            outcome,
            facts: Facts {
                dns: wire.dns.map(DnsFacts::try_from).transpose()?,
                tcp,
                tls: wire.tls.map(tls_from_wire).transpose()?,
                http: wire.http.map(http_from_wire).transpose()?,
            },
        })
    }
}

/// Whoever left from a reused port says how long after the last connection, and nobody else.
fn port_agrees(arm: &Arm, tcp: Option<&TcpFacts>) -> Result<(), Malformed> {
    match (arm.traits.port, tcp.map(|tcp| tcp.reused_after)) {
        (SourcePort::Fresh, Some(Some(_))) | (SourcePort::Reused, Some(None)) => Err(
            Malformed::Contradiction("arm.reuse_port", "tcp.reused_after"),
        ),
        (_, None) | (SourcePort::Fresh, Some(None)) | (SourcePort::Reused, Some(Some(_))) => Ok(()),
    }
}

/// Layers come in their order, each once, and the layer that failed comes after those passed.
fn in_order(steps: &[Step], outcome: &Outcome) -> Result<(), Malformed> {
    let failed = match outcome {
        Outcome::Failed { layer, .. } => Some(*layer),
        Outcome::Passed | Outcome::NotFired => None,
    };
    let layers: Vec<Layer> = steps.iter().map(|step| step.layer).chain(failed).collect();
    if layers.windows(2).all(|pair| pair[0] < pair[1]) {
        Ok(())
    } else {
        Err(Malformed::OutOfOrder("steps"))
    }
}
