//! What the wire's messages are in JSON: the promise of `meshctl -o json` and of the coordinator's
//! `/api/v1`, made in one place so that both say the same. It only grows.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::v1::agent::LeftOut;
use crate::v1::coverage_response::Part;
use crate::v1::history_response::Line;
use crate::v1::{
    Act, Agent, Component, Expect, Layer, NotProbed, OperatorIdentity, OperatorRole, RequestSpec,
    Role, Service, Silence, StatusRange, StatusResponse,
};

/// The whole in numbers.
#[must_use]
pub fn status(status: &StatusResponse) -> Value {
    json!({
        "version": status.version,
        "started_at": status.started_at,
        "agents_connected": status.agents_connected,
        "agents_known": status.agents_known,
        "services": status.services,
        "observations_stored": status.observations_stored,
        "store_bytes": status.store_bytes,
        "now_us": status.now_us,
        "operator": status.operator,
        "operator_role": operator_role(status.operator_role()),
        "operator_certificate_expires_at": status.operator_certificate_expires_at,
        "restored": status.restored.as_ref().map(|restored| json!({
            "taken_at": restored.taken_at, "restored_at": restored.restored_at, "times": restored.times,
        })),
    })
}

/// An agent.
#[must_use]
pub fn agent(agent: &Agent) -> Value {
    json!({
        "name": agent.name, "role": role(agent.role()), "host": agent.host,
        "labels": agent.labels.iter().collect::<BTreeMap<_, _>>(),
        "state": agent.state, "last_seen_at": agent.last_seen_at,
        "certificate_expires_at": agent.certificate_expires_at, "version": agent.version,
        "addresses": agent.addresses, "resolvers": agent.resolvers,
        "witness": agent.witness, "witness_trouble": agent.witness_trouble,
        "clock_offset_us": agent.clock_offset_us,
        "clock_uncertainty_us": agent.clock_uncertainty_us,
        "durable_through": agent.durable_through,
        "spool_bytes": agent.spool_bytes, "spool_dropped": agent.spool_dropped,
        "not_probed": agent.not_probed.iter().map(left_out).collect::<Vec<_>>(),
    })
}

/// The word of a role; empty for one that is not known.
#[must_use]
pub fn role(role: Role) -> &'static str {
    match role {
        Role::Unspecified => "",
        Role::Outside => "outside",
        Role::BehindCdn => "behind-cdn",
        Role::Inside => "inside",
    }
}

/// An operator.
#[must_use]
pub fn operator(operator: &OperatorIdentity) -> Value {
    json!({
        "name": operator.name, "role": operator_role(operator.role()), "state": operator.state,
        "certificate_expires_at": operator.certificate_expires_at,
        "created_at": operator.created_at, "created_by": operator.created_by,
    })
}

/// A record of the log of acts.
#[must_use]
pub fn act(act: &Act) -> Value {
    json!({
        "number": act.number, "at": act.at, "operator": act.operator, "role": operator_role(act.role()),
        "act": act.act, "object": act.object, "outcome": act.outcome, "why": act.why,
        "left_out": act.left_out, "sha256": act.sha256, "previous_sha256": act.previous_sha256,
    })
}

/// The word of an operator's role; empty for one that is not known.
#[must_use]
pub fn operator_role(role: OperatorRole) -> &'static str {
    match role {
        OperatorRole::Unspecified => "",
        OperatorRole::Viewer => "viewer",
        OperatorRole::Operator => "operator",
        OperatorRole::Admin => "admin",
    }
}

fn left_out(left_out: &LeftOut) -> Value {
    let LeftOut { service, arm } = left_out;
    let arm = arm.clone().unwrap_or_default();
    json!({"service": service, "arm": arm.arm, "because": arm.because})
}

/// A service.
#[must_use]
pub fn service(service: &Service) -> Value {
    json!({
        "name": service.name, "url": service.url, "toml": service.toml,
        "resolvers": service.resolvers, "name_servers": service.name_servers,
        "edges": service.edges, "cdn_provider": service.cdn_provider,
        "vips": service.vips, "vip_mode": service.vip_mode, "backends": service.backends,
        "every_ms": service.every_ms, "rounds": service.rounds,
        "last_round_at": service.last_round_at, "last_outcome": service.last_outcome,
        "request": service.request.as_ref().map(request),
        "expect": service.expect.as_ref().map(expect),
    })
}

/// How a service is asked, as its file says it: of a secret where an agent's host has it, never the
/// secret.
#[must_use]
pub fn request(request: &RequestSpec) -> Value {
    let headers = request.headers.iter();
    let headers: serde_json::Map<String, Value> = headers
        .map(|header| (header.name.clone(), json!(header.value)))
        .collect();
    json!({
        "method": request.method, "headers": headers, "body": request.body, "http": request.http,
    })
}

/// What a good answer is, as the service file says it.
#[must_use]
pub fn expect(expect: &Expect) -> Value {
    let statuses = expect.statuses.iter().map(|range| match *range {
        StatusRange { first, last } if first == last => json!(first),
        StatusRange { first, .. } => json!(status_class(first)),
    });
    let body = Some(&expect.body).filter(|body| !body.is_empty());
    let limit = Some(expect.max_first_byte_ms).filter(|limit| *limit > 0);
    json!({
        "status": statuses.collect::<Vec<_>>(), "body": body, "max_ttfb_ms": limit,
    })
}

/// The hundred of statuses that begins with this one: `2xx`.
#[must_use]
pub fn status_class(first: u32) -> String {
    format!("{}xx", first / 100)
}

/// A silence.
#[must_use]
pub fn silence(silence: &Silence) -> Value {
    json!({
        "id": silence.id, "service": silence.service, "from": silence.from, "until": silence.until,
        "because": silence.because, "by": silence.by,
    })
}

/// A part of a path with what rounds see of it.
#[must_use]
pub fn part(part: &Part) -> Value {
    json!({
        "component": part.component.as_ref().map(component),
        "probes_per_round": part.probes_per_round,
        "same_as": part.same_as.iter().map(component).collect::<Vec<_>>(),
        "ask": part.ask,
        "rate_seen_in_an_hour": part.rate_seen_in_an_hour,
        "rate_seen_in_a_day": part.rate_seen_in_a_day,
        "not_probed": part.not_probed.iter().map(not_probed).collect::<Vec<_>>(),
    })
}

fn component(component: &Component) -> Value {
    json!({"kind": component.kind, "name": component.name})
}

fn not_probed(arm: &NotProbed) -> Value {
    json!({"vantage": arm.vantage, "arm": arm.arm, "because": arm.because})
}

/// How one layer of one arm went.
#[must_use]
pub fn history_line(line: &Line) -> Value {
    json!({
        "vantage": line.vantage, "arm": line.arm, "layer": layer(line.layer()),
        "passed": line.passed, "failed": line.failed,
        "p50_us": line.p50_us, "p90_us": line.p90_us, "p99_us": line.p99_us, "max_us": line.max_us,
        "failure": line.failure,
    })
}

/// The word of a layer; empty for one that is not known.
#[must_use]
pub fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::Unspecified => "",
        Layer::Dns => "dns",
        Layer::Tcp => "tcp",
        Layer::Tls => "tls",
        Layer::Http => "http",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Header;

    #[test]
    fn how_it_is_asked_is_said_as_the_file_says_it() {
        let post = RequestSpec {
            method: "POST".to_owned(),
            headers: vec![Header {
                name: "authorization".to_owned(),
                value: "env:SHOP_TOKEN".to_owned(),
            }],
            body: "{}".to_owned(),
            http: vec!["2".to_owned()],
        };
        let said = json!({
            "method": "POST", "headers": {"authorization": "env:SHOP_TOKEN"}, "body": "{}", "http": ["2"],
        });
        assert_eq!(request(&post), said);
        let range = |first, last| StatusRange { first, last };
        let welcome = Expect {
            statuses: vec![range(200, 299), range(301, 301)],
            body: "Welcome".to_owned(),
            max_first_byte_ms: 2000,
        };
        let said = json!({"status": ["2xx", 301], "body": "Welcome", "max_ttfb_ms": 2000});
        assert_eq!(expect(&welcome), said);
    }
}
