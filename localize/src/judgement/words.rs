//! The sentences of a verdict.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::facts::component::{Component, Kind};
use crate::facts::time::Micros;
use crate::world::mode::{BLACK_HOLE, LARGE_FAIL, PORT_REUSE};
use crate::world::symptom::{Stage, Symptom};

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
        Kind::Origin => format!("the origin of {name}"),
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

/// In what manner probes went wrong. An answer that is late is an answer, and no failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// They failed.
    Failed,
    /// Their answers were late.
    Late,
    /// Some failed and some were late.
    Both,
}

impl Manner {
    /// In what manner these symptoms are wrong; without any, what is looked for are failures.
    pub(crate) fn of(symptoms: impl IntoIterator<Item = Symptom>) -> Self {
        let (mut failed, mut late) = (false, false);
        for symptom in symptoms {
            failed |= !symptom.is_late();
            late |= symptom.is_late();
        }
        match (failed, late) {
            (_, false) => Self::Failed,
            (false, true) => Self::Late,
            (true, true) => Self::Both,
        }
    }

    /// What befell them.
    pub(crate) const fn past(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Late => "were late",
            Self::Both => "failed or were late",
        }
    }

    /// What they would be seen to do.
    const fn infinitive(self) -> &'static str {
        match self {
            Self::Failed => "fail",
            Self::Late => "end late",
            Self::Both => "fail or end late",
        }
    }
}

/// How late something is that answers, all the same.
#[derive(Clone, Copy)]
pub(crate) struct Lateness<'a> {
    /// The usual time.
    pub(crate) usual: Micros,
    /// The median of those that were late.
    pub(crate) median: Micros,
    /// From where that was seen.
    pub(crate) vantage: &'a str,
}

/// How far a fault reaches.
#[derive(Clone, Copy)]
pub(crate) struct Reach<'a> {
    /// Share of what crosses the component that it fails.
    pub(crate) rate: f64,
    /// Nothing that could have shown the fault got through.
    pub(crate) always: bool,
    /// What users do fails for it, or takes longer.
    pub(crate) user_impact: bool,
    /// By how much it is late, where that is what is wrong with it.
    pub(crate) late: Option<Lateness<'a>>,
}

/// The one sentence for the person on call: what the component does, how often, whether its siblings
/// do so too, and who feels it.
pub(crate) fn summary(
    component: &Component,
    mode: &str,
    reach: Reach<'_>,
    well: &[&str],
) -> String {
    let noun = noun(component);
    let misdeed = misdeed(component.kind, mode, reach);
    let siblings = siblings(component, well);
    let impact = match (reach.user_impact, component.kind) {
        (false, _) if reach.late.is_some() => {
            "what users do varies by more than that anyway, or is spared it"
        }
        (false, _) if mode == PORT_REUSE => "what users do has not met it so far",
        (false, _) => "redundancy hides it from users, at the price of capacity",
        (true, Kind::ClientNetwork) => "users behind it are affected",
        (true, Kind::Resolver) => "its users are affected",
        (true, _) => "users are affected",
    };
    let mut sentence = format!("{noun} {misdeed}{siblings}; {impact}.");
    if let Some(first) = sentence.get(..1) {
        let upper = first.to_uppercase();
        sentence.replace_range(..1, &upper);
    }
    sentence
}

/// So many of what is spoken of next.
fn quantity(reach: Reach<'_>) -> String {
    let percent = reach.rate * 100.0;
    if reach.always {
        "all".to_string()
    } else if reach.rate > 0.9 {
        "nearly all".to_string()
    } else if percent < 9.5 {
        format!("{percent:.1} % of the")
    } else {
        format!("{percent:.0} % of the")
    }
}

/// Later than usual by how much, and what that was seen by.
fn later(late: Option<Lateness<'_>>) -> String {
    let Some(late) = late else {
        return "much later than usual".to_string();
    };
    let by = Micros(late.median.0.saturating_sub(late.usual.0));
    format!(
        "{} later than usual (median {} against {} at {})",
        duration(rounded(by)),
        duration(late.median),
        duration(late.usual),
        late.vantage
    )
}

/// To two digits that count.
fn rounded(time: Micros) -> Micros {
    let mut unit = 1;
    while time.0 / unit >= 100 {
        unit *= 10;
    }
    Micros((time.0 + unit / 2) / unit * unit)
}

/// A time as a person reads it.
pub(crate) fn duration(time: Micros) -> String {
    match time.0 {
        0..950 => format!("{} us", time.0),
        950..9_950 => {
            let text = format!("{:.1}", time.0 as f64 / 1e3);
            format!("{} ms", text.trim_end_matches(".0"))
        }
        9_950..999_500 => format!("{:.0} ms", time.0 as f64 / 1e3),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// What a component in a mode does wrong, to how many of what crosses it.
fn misdeed(kind: Kind, mode: &str, reach: Reach<'_>) -> String {
    let so_many = quantity(reach);
    let dns = matches!(kind, Kind::Resolver | Kind::AuthoritativeDns);
    let asked = if dns { "questions" } else { "requests" };
    let opened = if dns { "questions" } else { "connections" };
    match mode {
        "packet_loss" => format!("loses {so_many} packets"),
        "unreachable" => format!("drops {so_many} traffic"),
        "blocked" => format!("blocks {so_many} connections"),
        "no_answer" => format!("leaves {so_many} {opened} unanswered"),
        "refuses" => format!("refuses {so_many} {opened}"),
        "servfail" => format!("answers {so_many} questions with SERVFAIL"),
        "wrong_answer" => {
            format!("answers {so_many} questions with an address that does not serve")
        }
        "slow" => format!("answers {so_many} {asked} {}", later(reach.late)),
        "resets" => format!("resets {so_many} connections"),
        "certificate_expired" => format!("presents an expired certificate in {so_many} handshakes"),
        "certificate_invalid" => {
            format!("presents a certificate that does not verify in {so_many} handshakes")
        }
        "tls_fails" => format!("fails {so_many} TLS handshakes"),
        "http_5xx" => format!("answers {so_many} requests with server errors"),
        "http_4xx" => format!("answers {so_many} requests with client errors"),
        "stalls" => format!("takes {so_many} requests and never answers them"),
        "truncates" => format!("cuts {so_many} bodies short"),
        "wrong_content" => format!("serves another body than its siblings to {so_many} requests"),
        "syn_unanswered" => format!("leaves {so_many} SYNs that reach it unanswered"),
        "answers_lost" => format!("loses {so_many} answers that have left the host"),
        BLACK_HOLE => format!("loses {so_many} answers that take more than one packet"),
        LARGE_FAIL => format!("fails {so_many} large answers"),
        PORT_REUSE => {
            format!("fails {so_many} connections whose source port was used less than 60 s before")
        }
        _ => format!("fails {so_many} probes"),
    }
}

/// That siblings are well: by name where these are few and short.
fn siblings(component: &Component, well: &[&str]) -> String {
    let shared = |name: &str| name.contains(['*', '/']);
    let edge = |name: &str| name.parse::<IpAddr>().is_ok();
    let of_edges = component.kind == Kind::Cdn;
    if shared(&component.name) || of_edges && !edge(&component.name) {
        return String::new();
    }
    let like: Vec<&str> = well
        .iter()
        .copied()
        .filter(|name| !shared(name) && (!of_edges || edge(name)))
        .collect();
    let paths = like.iter().any(|name| name.contains("->"));
    match like.as_slice() {
        [] => String::new(),
        [one] if !paths => format!(", while {one} is well"),
        [some @ .., last] if !paths && some.len() < 3 => {
            format!(", while {} and {last} are well", some.join(", "))
        }
        [_] => ", while another is well".to_string(),
        others => format!(", while {} others are well", others.len()),
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
        Kind::Origin => "the team that runs the site behind its public addresses",
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
        (_, PORT_REUSE) => format!(
            "it fails when a source port is used again within 60 s: check TCP timestamps (`sysctl net.ipv4.tcp_timestamps`) on balancer and backend, then stateful firewalls and NAT at {name}"
        ),
        (_, BLACK_HOLE) => format!(
            "full packets vanish and small ones pass: check MTU and MSS on every hop and tunnel of {}, and that ICMP \"fragmentation needed\" (type 3 code 4; ICMPv6 type 2) is let through (`tracepath`, `ping -M do -s 1472` to its far end)",
            noun(component)
        ),
        (_, LARGE_FAIL) => format!(
            "small answers of {name} are whole and large ones are not: check limits on answer size, buffers and the disk that they spill to, and its error log"
        ),
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
        (Kind::Origin, _) => {
            format!("declare the balancer and the backends of {name} in the service file, so that the part at fault can be named; meanwhile read the origin's own log")
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
pub(crate) fn tested(stage: Stage) -> &'static str {
    match stage {
        Stage::Dns => "queries",
        Stage::Tcp | Stage::Arrive => "SYNs",
        Stage::Answer => "SYNs that arrived",
        Stage::Return => "answers that left the host",
        Stage::Tls => "TLS handshakes",
        Stage::Http => "requests",
    }
}

/// What is counted at a stage, going wrong in a manner.
pub(crate) fn failing(stage: Stage, manner: Manner) -> String {
    match stage {
        Stage::Dns | Stage::Tcp | Stage::Tls | Stage::Http => {
            format!("{} {}", tested(stage), manner.infinitive())
        }
        Stage::Arrive => "SYNs get lost".to_string(),
        Stage::Answer => "SYNs that arrived go unanswered".to_string(),
        Stage::Return => "answers that left the host get lost".to_string(),
    }
}

/// Probes at one stage, and what became of them.
#[derive(Clone, Copy)]
pub(crate) struct Tried {
    /// How many went wrong.
    pub(crate) failed: u64,
    /// Of how many.
    pub(crate) of: u64,
    /// What most of these showed.
    pub(crate) commonest: Option<Symptom>,
    /// Not all showed the same.
    pub(crate) mixed: bool,
    /// In what manner they went wrong; where none did, what was looked for.
    pub(crate) manner: Manner,
}

impl Tried {
    /// So many of which none went wrong in this manner.
    pub(crate) const fn clean(of: u64, manner: Manner) -> Self {
        Self {
            failed: 0,
            of,
            commonest: None,
            mixed: false,
            manner,
        }
    }
}

/// How what is counted at a stage came out.
pub(crate) fn outcome(stage: Stage, tried: Tried) -> String {
    let Tried { failed, of, .. } = tried;
    let tested = tested(stage);
    let past = tried.manner.past();
    let Some(symptom) = tried.commonest.filter(|_| failed > 0) else {
        return match stage {
            Stage::Arrive => format!("all {of} SYNs arrived"),
            Stage::Answer => format!("all {of} {tested} were answered"),
            Stage::Return => format!("all {of} {tested} came back"),
            Stage::Dns | Stage::Tcp | Stage::Tls | Stage::Http => {
                format!("none of {of} {tested} {past}")
            }
        };
    };
    let word = symptom.word();
    match (symptom, stage) {
        _ if tried.manner == Manner::Late && failed == 1 => format!("1 of {of} {tested} was late"),
        _ if tried.manner == Manner::Late => format!("{failed} of {of} {tested} {past}"),
        _ if tried.mixed => format!("{failed} of {of} {tested} {past} (mostly {word})"),
        (Symptom::SynLost, Stage::Arrive) => format!("{failed} of {of} {tested} did not arrive"),
        (Symptom::SynLost, Stage::Answer) => format!("{failed} of {of} {tested} were not answered"),
        (Symptom::SynLost, Stage::Return) => format!("{failed} of {of} {tested} did not come back"),
        (Symptom::SynLost, _) => format!("{failed} of {of} {tested} were not answered"),
        _ => format!("{failed} of {of} {tested} failed ({word})"),
    }
}

/// How many of a number an explanation would have failed.
pub(crate) fn foreseen(expected: f64, of: u64) -> String {
    if expected < 0.5 {
        "hardly any".to_string()
    } else if expected > of as f64 - 0.5 {
        "all".to_string()
    } else {
        format!("about {expected:.0}")
    }
}

/// How many of a number failed.
pub(crate) fn seen(failed: u64, of: u64) -> String {
    match failed {
        0 => "none".to_string(),
        all if all == of => "all".to_string(),
        some => format!("{some}"),
    }
}

/// Odds in words. Beyond a thousand the model's own faults count for more than the number says.
pub(crate) fn less_probable(nats: f64) -> String {
    let times = libm::exp(nats);
    if times < 1.1 {
        "as probable".to_string()
    } else if times < 10.0 {
        format!("{times:.1} times less probable")
    } else if times < 1000.0 {
        let digit = libm::pow(10.0, libm::floor(libm::log10(times)));
        format!(
            "{:.0} times less probable",
            libm::round(times / digit) * digit
        )
    } else {
        "more than 1,000 times less probable".to_string()
    }
}
