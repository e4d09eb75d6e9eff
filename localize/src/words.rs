//! The sentences of a verdict.

use alloc::format;
use alloc::string::{String, ToString};

use crate::symptom::Stage;
use crate::verdict::{Component, Kind};

/// A component as a sentence names it.
pub(crate) fn noun(component: &Component) -> String {
    let name = &component.name;
    match component.kind {
        Kind::ClientNetwork => format!("the access network of vantage point {name}"),
        Kind::Resolver => format!("resolver {name}"),
        Kind::AuthoritativeDns => format!("name server {name}"),
        Kind::Cdn => format!("CDN {name}"),
        Kind::CdnOriginPath => match name.split_once("->") {
            Some(("*", vip)) => format!("the path from every edge to {vip}"),
            Some((edge, vip)) => format!("the path from edge {edge} to {vip}"),
            None => name.clone(),
        },
        Kind::LoadBalancer => format!("load balancer {name}"),
        Kind::LbBackendPath => match name.split_once("->") {
            Some((vip, backend)) => format!("the path from balancer {vip} to {backend}"),
            None => name.clone(),
        },
        Kind::Backend => format!("backend {name}"),
        Kind::ReturnPath => match name.split_once("->") {
            Some((host, to)) => format!("the way back from {host} to {to}"),
            None => name.clone(),
        },
    }
}

/// What a component in a mode does wrong.
pub(crate) fn misdeed(mode: &str) -> &'static str {
    match mode {
        "packet_loss" => "loses packets",
        "unreachable" => "lets nothing through",
        "blocked" => "blocks connections",
        "no_answer" => "does not answer",
        "refuses" => "refuses to serve",
        "servfail" => "answers SERVFAIL",
        "wrong_answer" => "hands out an address that does not serve",
        "slow" => "is slow",
        "resets" => "resets connections",
        "certificate_expired" => "presents an expired certificate",
        "certificate_invalid" => "presents a certificate that does not verify",
        "tls_fails" => "fails TLS handshakes",
        "http_5xx" => "answers with server errors",
        "http_4xx" => "answers with client errors",
        "stalls" => "accepts the request and does not answer",
        "truncates" => "cuts the body short",
        "wrong_content" => "serves another body than its siblings",
        "syn_unanswered" => "receives SYNs and does not answer them",
        "answers_lost" => "loses answers that have left the host",
        _ => "is at fault",
    }
}

/// Who can mend a component.
pub(crate) fn owner(kind: Kind) -> &'static str {
    match kind {
        Kind::ClientNetwork => "whoever runs that vantage point's access network",
        Kind::Resolver => "the operator of that resolver (often the user's provider)",
        Kind::AuthoritativeDns => "the DNS provider of the zone",
        Kind::Cdn => "the CDN provider",
        Kind::CdnOriginPath => {
            "the network between CDN and data centre: data-centre firewall and transit, with the CDN"
        }
        Kind::LoadBalancer => "the team that runs the load balancer",
        Kind::LbBackendPath => "the network team of the data centre",
        Kind::Backend => "the team that runs that backend",
        Kind::ReturnPath => "the network team, with the owner of that host's routing table",
    }
}

/// What to look at or change first.
pub(crate) fn next_step(component: &Component, mode: &str) -> String {
    let name = &component.name;
    match (component.kind, mode) {
        (Kind::ClientNetwork, _) => {
            format!("ignore {name} for this service, and check its uplink: `mtr` from there to any target shows the same loss")
        }
        (Kind::Resolver, _) => {
            format!("ask {name} directly (`dig @{name}`), and let clients use another resolver until it is mended")
        }
        (Kind::AuthoritativeDns, "wrong_answer") => {
            format!("compare the zone's serial on {name} with its siblings, and transfer the zone again")
        }
        (Kind::AuthoritativeDns, _) => {
            format!("check that {name} is running and still serves the zone; take it out of the NS set if it stays so")
        }
        (Kind::Cdn, "certificate_expired" | "certificate_invalid") => {
            format!("renew the certificate that {name} presents")
        }
        (Kind::Cdn, _) => {
            format!("open a ticket with the CDN naming {name}, with the evidence above; meanwhile take it out of DNS if you can")
        }
        (Kind::CdnOriginPath, _) => {
            "check the firewall in front of the balancer for the edge's addresses, then trace both ways between edge and balancer".to_string()
        }
        (Kind::LoadBalancer, "certificate_expired" | "certificate_invalid") => {
            format!("renew the certificate on {name}")
        }
        (Kind::LoadBalancer, "http_5xx") => {
            "read the balancer's log for the reason of its answers, and compare its health checks with the backends, which are well".to_string()
        }
        (Kind::LoadBalancer, _) => format!("check that the listener on {name} is up, then its log"),
        (Kind::LbBackendPath, _) => {
            "check links, policies and counters between the balancer and that backend, in that direction".to_string()
        }
        (Kind::Backend, "refuses") => format!("start the service on {name}: nothing listens there"),
        (Kind::Backend, "syn_unanswered") => {
            format!("on {name} look at `nstat` for ListenDrops, ListenOverflows and TCPReqQFullDrop, the host firewall, and tcp_timestamps")
        }
        (Kind::Backend, "slow" | "stalls") => {
            format!("look at {name}'s application and what it depends on; its siblings answer in time")
        }
        (Kind::Backend, "wrong_content") => format!("compare the release on {name} with its siblings"),
        (Kind::Backend, _) => {
            format!("take {name} out of rotation, then read its error log at the times of the failed probes")
        }
        (Kind::ReturnPath, _) => match name.split_once("->") {
            Some((host, to)) => format!(
                "on {host} compare `ip route get {to}` with the interface by which requests from there come in; then follow the answer hop by hop"
            ),
            None => "compare routes both ways".to_string(),
        },
    }
}

/// What is counted at a stage.
pub(crate) fn counted(stage: Stage) -> &'static str {
    match stage {
        Stage::Dns => "queries",
        Stage::Tcp => "SYNs",
        Stage::Arrive => "SYNs (seen to arrive)",
        Stage::Answer => "SYNs that had arrived (seen to be answered)",
        Stage::Return => "answers that had left the host (seen to come back)",
        Stage::Tls => "TLS handshakes",
        Stage::Http => "requests",
    }
}
