//! Between the wire and the coordinator's own types, where these are not facts of the heart.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use localize::topology::Zone;
use localize::verdict::NotProbed;
use localize::watch::{Ending, FALSE_ALARMS_A_DAY};
use localize::{CdnProvider, NameServer, ServiceName, Topology, Verdict, VerdictOutcome, VipMode};
use proto::convert::printable;
use proto::spec::Request;
use proto::token::JoinToken;
use proto::v1;
use proto::v1::watch_event::{AgentChange, Event, RoundClosed};

use super::operators::wire_role;
use crate::clock::rfc3339;
use crate::coverage::{self, Part, Price};
use crate::engine::{
    AgentView, Applied, Happening, Host, Outlook, Presence, Rehearsed, ServiceView, Status, What,
};
use crate::operators::Caller;
use crate::store::{HistoryLine, RaisedRecord, Restored};

/// Addresses of a host, and resolvers of one: more are taken for a mistake.
const ADDRESSES: usize = 256;
const RESOLVERS: usize = 32;
/// Name servers of a zone, addresses of all together: the root zone has 26.
const NAME_SERVERS: usize = 64;
/// Longest text of an agent that is kept, in bytes.
const LONGEST_TEXT: usize = 256;
/// Longest signing request taken, in bytes: one of an RSA key of 4096 bits is a third of it.
const LONGEST_REQUEST: usize = 8192;
/// Longest service file and longest trust anchors, in bytes.
pub(super) const LONGEST_FILE: usize = 256 << 10;
/// Where name servers listen.
const DNS_PORT: u16 = 53;

/// A fact that cannot be one.
pub(super) fn malformed(error: impl Display) -> tonic::Status {
    tonic::Status::invalid_argument(error.to_string())
}

/// A signing request of a length that is worth parsing.
pub(super) fn signing_request(pem: String) -> Result<String, tonic::Status> {
    if pem.len() > LONGEST_REQUEST {
        return Err(malformed("the signing request is too long"));
    }
    Ok(pem)
}

/// A service file of a length that is worth parsing.
pub(super) fn service_file(
    file: v1::ApplyServiceRequest,
) -> Result<v1::ApplyServiceRequest, tonic::Status> {
    let anchors = file.ca_pem.as_ref().map_or(0, String::len);
    if file.toml.len().max(anchors) > LONGEST_FILE {
        return Err(malformed("a service file has at most 256 KiB"));
    }
    Ok(file)
}

/// A service's name, and in a word what applying its file does.
pub(super) fn applied(applied: Applied) -> (String, String) {
    let (name, result) = match applied {
        Applied::Created(name) => (name, "created"),
        Applied::Changed(name) => (name, "changed"),
        Applied::Unchanged(name) => (name, "unchanged"),
    };
    (name.0, result.to_owned())
}

pub(super) fn rehearsed(rehearsed: Rehearsed) -> v1::RehearseServiceResponse {
    let (name, result) = applied(rehearsed.applied);
    let held = rehearsed.held.map(|held| v1::ApplyServiceRequest {
        toml: held.toml,
        ca_pem: held.ca_pem,
    });
    v1::RehearseServiceResponse { name, result, held }
}

/// The beginning of a text of a peer that only people read, printable.
pub(crate) fn shortened(mut text: String) -> String {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    printable(text)
}

/// What an agent says about its host.
pub(super) fn host(host: v1::HostState) -> Result<Host, tonic::Status> {
    Ok(Host {
        addresses: list("addresses", &host.addresses, ADDRESSES)?,
        resolvers: list("resolvers", &host.resolvers, RESOLVERS)?,
        witness: host.witness,
        witness_trouble: shortened(host.witness_trouble),
        spool_bytes: host.spool_bytes,
        spool_dropped: host.spool_dropped,
    })
}

fn list<T: FromStr>(field: &str, texts: &[String], most: usize) -> Result<Vec<T>, tonic::Status> {
    if texts.len() > most {
        return Err(malformed(format!("more than {most} {field}")));
    }
    let parse = |text: &String| {
        text.parse().map_err(|_| {
            malformed(format!(
                "{field}: {:?} is not an address",
                shortened(text.clone())
            ))
        })
    };
    texts.iter().map(parse).collect()
}

/// The name servers that an agent found, the first of them: how many a zone has is said by its owner.
pub(super) fn name_servers(
    found: Vec<v1::discovery::FoundNameServer>,
) -> Result<Vec<NameServer>, tonic::Status> {
    let mut name_servers = Vec::new();
    for server in found {
        let first: Vec<String> = server.addresses.into_iter().take(NAME_SERVERS).collect();
        let addresses: Vec<IpAddr> = list("name_servers", &first, NAME_SERVERS)?;
        let name = shortened(server.name);
        name_servers.extend(addresses.into_iter().map(|address| NameServer {
            name: name.clone(),
            server: SocketAddr::new(address, DNS_PORT),
        }));
    }
    name_servers.truncate(NAME_SERVERS);
    Ok(name_servers)
}

/// The zone that an agent found, with as many of its name servers as are probed.
pub(super) fn zone(found: &v1::Discovery) -> Zone {
    let named = |at: fn(&v1::discovery::FoundNameServer) -> bool| {
        let servers = found.name_servers.iter().filter(|server| at(server));
        servers
            .take(NAME_SERVERS)
            .map(|server| shortened(server.name.clone()))
            .collect()
    };
    Zone {
        name: shortened(found.zone.clone()),
        at_parent: named(|server| server.at_parent),
        at_zone: named(|server| server.at_zone),
    }
}

/// An agent's state in the word of the interface.
fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Invited => "invited",
        Presence::Connected => "connected",
        Presence::Disconnected => "disconnected",
        Presence::Revoked => "revoked",
    }
}

/// The whole in numbers, with those of the store; `asking` is an operator with the end of the certificate,
/// in microseconds since the Unix epoch.
pub(crate) fn status(
    status: Status,
    stored: u64,
    store_bytes: u64,
    now_us: u64,
    asking: Option<&Caller>,
    restored: Option<Restored>,
) -> v1::StatusResponse {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    v1::StatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: rfc3339(status.started_us),
        agents_connected: number(status.connected),
        agents_known: number(status.known),
        services: number(status.services),
        observations_stored: stored,
        store_bytes,
        now_us,
        operator: asking.map_or_else(String::new, |caller| caller.name.clone()),
        operator_certificate_expires_at: asking.map_or_else(String::new, |caller| {
            rfc3339(caller.certificate.not_after_us)
        }),
        operator_role: asking.map_or(0, |caller| wire_role(caller.role).into()),
        restored: restored.map(|restored| v1::RestoredFrom {
            taken_at: rfc3339(restored.taken_us),
            restored_at: rfc3339(restored.restored_us),
            times: restored.times,
        }),
    }
}

pub(crate) fn agent(view: AgentView) -> v1::Agent {
    let AgentView {
        record,
        presence: state,
        clock,
        durable_through,
        spool_bytes,
        spool_dropped,
    } = view;
    let expires = record.certificates.iter().map(|c| c.expires_us).max();
    v1::Agent {
        name: record.name.0,
        role: v1::Role::from(record.role).into(),
        host: record.host.unwrap_or_default(),
        labels: record.labels.into_iter().collect(),
        state: presence(state).to_owned(),
        last_seen_at: rfc3339(record.last_seen_us.unwrap_or(0)),
        certificate_expires_at: rfc3339(expires.unwrap_or(0)),
        version: record.version,
        addresses: texts(&record.addresses),
        resolvers: texts(&record.resolvers),
        witness: record.witness,
        witness_trouble: record.witness_trouble,
        clock_offset_us: clock.offset_us,
        clock_uncertainty_us: clock.uncertainty_us,
        durable_through,
        spool_bytes,
        spool_dropped,
        not_probed: Vec::new(),
    }
}

pub(crate) fn token((token, expires_us): (JoinToken, u64)) -> v1::CreateTokenResponse {
    v1::CreateTokenResponse {
        token: token.to_string(),
        expires_at: rfc3339(expires_us),
    }
}

pub(crate) fn left_out((service, arm): (ServiceName, NotProbed)) -> v1::agent::LeftOut {
    v1::agent::LeftOut {
        service: service.0,
        arm: Some(v1::NotProbed::from(&arm)),
    }
}

pub(crate) fn service(view: ServiceView) -> v1::Service {
    let Topology {
        service,
        scheme: _,
        vantages: _,
        resolvers,
        zone,
        name_servers,
        edges,
        cdn,
        vips,
        vip_mode,
        backends,
        expect: _,
    } = view.topology;
    let listed = |name: &str| match &zone {
        Some(zone) if zone.has_left(name) => " (at the parent alone)",
        Some(zone) if zone.hides(name) => " (not at the parent)",
        Some(_) | None => "",
    };
    let name_server = |known: &NameServer| {
        let listed = listed(&known.name);
        format!("{} {}{listed}", known.name, known.server)
    };
    let backend = |known: &localize::Backend| format!("{} {}", known.name, known.address);
    v1::Service {
        name: service.0,
        url: view.url,
        toml: view.toml,
        resolvers: texts(&resolvers),
        name_servers: name_servers.iter().map(name_server).collect(),
        edges: texts(&edges),
        cdn_provider: match cdn {
            CdnProvider::Auto(None) => "auto".to_owned(),
            CdnProvider::None => "none".to_owned(),
            CdnProvider::Auto(Some(name)) | CdnProvider::Named(name) => name,
        },
        vips: texts(&vips),
        vip_mode: match vip_mode {
            VipMode::Auto => "auto",
            VipMode::L4 => "l4",
            VipMode::L7 => "l7",
            VipMode::Dsr => "dsr",
        }
        .to_owned(),
        backends: backends.iter().map(backend).collect(),
        every_ms: view.every_ms,
        rounds: view.rounds,
        last_round_at: rfc3339(view.last_round_us),
        last_outcome: view
            .last_outcome
            .map(outcome)
            .unwrap_or_default()
            .to_owned(),
        request: (view.request != Request::default()).then(|| (&view.request).into()),
        expect: (!view.expect.is_empty()).then(|| (&view.expect).into()),
    }
}

fn outcome(outcome: VerdictOutcome) -> &'static str {
    match outcome {
        VerdictOutcome::Healthy => "healthy",
        VerdictOutcome::Fault => "fault",
        VerdictOutcome::Inconclusive => "inconclusive",
    }
}

pub(crate) fn happening(happening: &Happening) -> v1::WatchEvent {
    let event = match &happening.what {
        What::Agent { name, state } => Event::Agent(AgentChange {
            name: name.0.clone(),
            state: presence(*state).to_owned(),
        }),
        What::Round(round) => Event::Round(RoundClosed {
            service: round.service.0.clone(),
            round: round.round.0,
            probes: round.received,
            failed: round.failed,
            missing: round.expected.saturating_sub(round.received),
            skew_us: round.skew_us,
            worst_uncertainty_us: round.worst_uncertainty_us,
        }),
        What::Verdict(verdict) => Event::Verdict(v1::Verdict::from(verdict.as_ref())),
        What::Raised(verdict, raised) => Event::Verdict(self::verdict(verdict, Some(*raised))),
        What::Over(service, over) => Event::Over(v1::watch_event::Over {
            service: service.0.clone(),
            verdict: over.verdict.clone(),
            components: over.components.iter().map(v1::Component::from).collect(),
            ending: ending(over.ending).to_owned(),
        }),
    };
    v1::WatchEvent {
        at: rfc3339(happening.at_us),
        event: Some(event),
    }
}

/// Whether somebody who watches one service wants to hear of it; agents concern every service.
pub(super) fn concerns(happening: &Happening, service: &str) -> bool {
    service.is_empty()
        || match &happening.what {
            What::Agent { .. } => true,
            What::Round(round) => round.service.0 == service,
            What::Verdict(verdict) | What::Raised(verdict, _) => verdict.service == service,
            What::Over(name, _) => name.0 == service,
        }
}

/// A verdict with what is known of it where the watch has raised it.
pub(crate) fn verdict(verdict: &Verdict, raised: Option<RaisedRecord>) -> v1::Verdict {
    v1::Verdict {
        raised: raised.map(|raised| v1::Raised {
            began_at: rfc3339(raised.began_us),
            over_at: rfc3339(raised.over.map_or(0, |(at_us, _)| at_us)),
            ending: raised.over.map_or("", |(_, why)| ending(why)).to_owned(),
            false_alarms_per_day: raised.false_alarms_a_day,
        }),
        ..v1::Verdict::from(verdict)
    }
}

fn ending(ending: Ending) -> &'static str {
    match ending {
        Ending::Quiet => "quiet",
        Ending::Superseded => "superseded",
        Ending::Unseen => "unseen",
    }
}

pub(crate) fn history_line(line: HistoryLine) -> v1::history_response::Line {
    v1::history_response::Line {
        vantage: line.vantage.0,
        arm: line.arm,
        layer: v1::Layer::from(line.layer).into(),
        passed: line.passed,
        failed: line.failed,
        p50_us: line.p50_us,
        p90_us: line.p90_us,
        p99_us: line.p99_us,
        max_us: line.max_us,
        failure: line.failure.map(failure_word).unwrap_or_default(),
    }
}

/// A failure in the word of the JSON, without its number.
pub(crate) fn failure_word(failure: localize::Failure) -> String {
    match serde_json::to_value(failure) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(serde_json::Value::Object(fields)) => fields
            .into_iter()
            .next()
            .map(|(word, _)| word)
            .unwrap_or_default(),
        Ok(
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::Array(_),
        )
        | Err(_) => String::new(),
    }
}

/// What rounds see of a path, with the interval of its schedule.
pub(crate) fn coverage(parts: Vec<Part>, outlook: &Outlook) -> v1::CoverageResponse {
    let every = outlook.every;
    let prices = coverage::prices(outlook);
    v1::CoverageResponse {
        parts: parts.into_iter().map(part).collect(),
        every_ms: every.and_then(|every| u64::try_from(every.as_millis()).ok()),
        false_alarms_per_day: FALSE_ALARMS_A_DAY,
        prices: prices.into_iter().map(price).collect(),
        trace_syns_per_minute: coverage::trace_syns(outlook),
    }
}

fn price(price: Price) -> v1::coverage_response::Price {
    v1::coverage_response::Price {
        way: price.way,
        probes_per_round: u32::try_from(price.probes_per_round).unwrap_or(u32::MAX),
    }
}

fn part(part: Part) -> v1::coverage_response::Part {
    let component = |component: localize::Component| v1::Component::from(&component);
    v1::coverage_response::Part {
        component: Some(component(part.component)),
        probes_per_round: part.probes_per_round,
        same_as: part.same_as.into_iter().map(component).collect(),
        ask: part.ask,
        rate_seen_in_an_hour: part.hour,
        rate_seen_in_a_day: part.day,
        not_probed: part.not_probed.iter().map(Into::into).collect(),
    }
}

fn texts<T: Display>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_of_many_name_servers_ends_no_session() {
        let server = |name: &str, many: u8| v1::discovery::FoundNameServer {
            name: name.to_owned(),
            addresses: (0..many).map(|n| format!("192.0.2.{n}")).collect(),
            ..v1::discovery::FoundNameServer::default()
        };
        let found = name_servers(vec![server("ns1", 200), server("ns2", 3)]);
        assert_eq!(found.map(|found| found.len()).ok(), Some(NAME_SERVERS));
        let odd = v1::discovery::FoundNameServer {
            addresses: vec!["nowhere".to_owned()],
            ..server("ns3", 0)
        };
        assert!(name_servers(vec![odd]).is_err());
    }
}
