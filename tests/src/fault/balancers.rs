//! What goes wrong at the balancer.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::{Known, Listed, Row, Strength};
use crate::address::{BALANCER, EDGES, VIP};
use crate::balancer::{self, Serving};
use crate::blame::{MASKED, PORT_REUSE, balancer, origin, towards};
use crate::expectation::Blame;
use crate::net::{self, Balancer};
use crate::packets::{once_a_minute, packets};
use crate::shell;
use crate::sign::Sign::{Always, AtTimes};
use crate::sign::{Ask, Signs, timed_out, well};
use crate::topology::Lab;
use crate::verdicts::Declared;

/// A fault of the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BalancerFault {
    /// It is gone.
    Dead,
    /// It answers 503 though every backend is well.
    Answers503,
    /// It shows an expired certificate.
    Expired,
    /// It drops SYNs from an address and port that it had one from within a minute.
    PortReuse,
    /// It begins its connections to backend 2 with a line of the PROXY protocol, which nobody there
    /// expects.
    ProxyLine,
    /// It sends the requests for backend 3 to an address that backend 3 has left.
    StaleAddress,
    /// By their cookie it sends users who were there before to an address that backend 3 has left.
    StuckSessions,
    /// It has few ports for its connections to each backend and takes TCP timestamps out, so that
    /// what comes from a port again meets TIME_WAIT there.
    TimeWait,
    /// The router in front of it sends what is for the VIP to the standby.
    AtStandby,
}

impl BalancerFault {
    /// All of them.
    pub const EVERY: [BalancerFault; 9] = [
        BalancerFault::Dead,
        BalancerFault::Answers503,
        BalancerFault::Expired,
        BalancerFault::PortReuse,
        BalancerFault::ProxyLine,
        BalancerFault::StaleAddress,
        BalancerFault::StuckSessions,
        BalancerFault::TimeWait,
        BalancerFault::AtStandby,
    ];
}

impl Row for BalancerFault {
    fn name(&self) -> &'static str {
        match self {
            BalancerFault::Dead => "balancer-dead",
            BalancerFault::Answers503 => "balancer-503",
            BalancerFault::Expired => "balancer-expired",
            BalancerFault::PortReuse => "balancer-port-reuse",
            BalancerFault::ProxyLine => "balancer-proxy-line",
            BalancerFault::StaleAddress => "balancer-stale-address",
            BalancerFault::StuckSessions => "balancer-stuck-sessions",
            BalancerFault::TimeWait => "balancer-time-wait",
            BalancerFault::AtStandby => "vip-at-standby",
        }
    }

    fn listed(&self) -> Listed {
        match self {
            BalancerFault::Dead
            | BalancerFault::Answers503
            | BalancerFault::Expired
            | BalancerFault::PortReuse
            | BalancerFault::ProxyLine
            | BalancerFault::StaleAddress
            | BalancerFault::AtStandby
            | BalancerFault::TimeWait => Listed::Usual,
            BalancerFault::StuckSessions => Listed::NotYet,
        }
    }

    fn strength(&self) -> Strength {
        match self {
            BalancerFault::TimeWait => Strength::Intermittent,
            BalancerFault::Dead
            | BalancerFault::Answers503
            | BalancerFault::Expired
            | BalancerFault::PortReuse
            | BalancerFault::ProxyLine
            | BalancerFault::StaleAddress
            | BalancerFault::StuckSessions
            | BalancerFault::AtStandby => Strength::Hard,
        }
    }

    /// A balancer that does not end TLS has no certificate and no answers of its own, and a kernel's
    /// translation has no process and no stack.
    fn fits(&self, balancer: Balancer) -> bool {
        let of = |some: &[Balancer]| some.contains(&balancer);
        match self {
            BalancerFault::Dead => true,
            BalancerFault::Answers503 | BalancerFault::Expired | BalancerFault::StuckSessions => {
                of(&[Balancer::L7])
            }
            BalancerFault::PortReuse | BalancerFault::ProxyLine | BalancerFault::StaleAddress => {
                of(&[Balancer::L7, Balancer::Tcp])
            }
            BalancerFault::TimeWait => of(&[Balancer::L4]),
            // With direct return the VIP is no address of the balancer's link.
            BalancerFault::AtStandby => of(&[Balancer::L7, Balancer::Tcp, Balancer::L4]),
        }
    }

    fn truth(&self, kind: Balancer) -> Vec<Blame> {
        let blame = match self {
            BalancerFault::Dead => balancer(&[dead(kind)]),
            BalancerFault::Answers503 => balancer(&["http_5xx"]),
            BalancerFault::Expired => balancer(&["certificate_expired"]),
            BalancerFault::PortReuse => balancer(&[PORT_REUSE]).felt(MASKED),
            BalancerFault::ProxyLine => match kind {
                Balancer::Tcp => towards("web2", &["misdirected", "tls_fails", "resets"]),
                Balancer::L7 | Balancer::L4 | Balancer::Dsr => {
                    towards("web2", &["misdirected", "http_4xx"])
                }
            },
            BalancerFault::StaleAddress => towards(
                "web3",
                &["misdirected", "http_5xx", "blocked", "packet_loss"],
            ),
            // It has a wrong address of backend 3, and keeps sessions to it.
            BalancerFault::StuckSessions => {
                balancer(&["http_5xx", "misdirected"]).in_pattern("by_cookie")
            }
            BalancerFault::TimeWait => balancer(&[PORT_REUSE]),
            BalancerFault::AtStandby => balancer(&["no_answer", "unreachable"]),
        };
        vec![blame]
    }

    fn known(&self, declared: Declared, kind: Balancer) -> Known {
        let modes: &[&'static str] = match self {
            BalancerFault::Dead => &["refuses", "no_answer", "http_5xx"],
            BalancerFault::Answers503 | BalancerFault::StuckSessions => &["http_5xx"],
            BalancerFault::Expired => &["certificate_expired", "certificate_invalid", "http_5xx"],
            BalancerFault::PortReuse => &[PORT_REUSE],
            BalancerFault::ProxyLine => &["http_4xx", "tls_fails", "http_5xx"],
            BalancerFault::StaleAddress => &["http_5xx", "slow", "no_answer"],
            BalancerFault::TimeWait => &[PORT_REUSE, "slow", "no_answer", "resets", "http_5xx"],
            BalancerFault::AtStandby => &["no_answer", "unreachable", "http_5xx"],
        };
        match (declared, self) {
            // Nobody asks twice from one port but who asks the VIP.
            (Declared::Name, BalancerFault::PortReuse) => Known::Hidden,
            (Declared::Name, _) => Known::Open(vec![origin(modes)]),
            (Declared::Vip, BalancerFault::PortReuse) => Known::Clear,
            // Whoever answers there may be the balancer or somebody behind it.
            (Declared::Vip, BalancerFault::ProxyLine | BalancerFault::StaleAddress) => {
                Known::Open(vec![balancer(modes).or(origin(modes))])
            }
            (
                Declared::Vip,
                BalancerFault::Dead
                | BalancerFault::Answers503
                | BalancerFault::Expired
                | BalancerFault::StuckSessions
                | BalancerFault::TimeWait
                | BalancerFault::AtStandby,
            ) => Known::Open(self.truth(kind)),
            (Declared::Backends | Declared::All, _) => Known::Clear,
        }
    }

    fn switch(&self, lab: &mut Lab, on: bool) -> Result<()> {
        let or_well = |serving| if on { serving } else { Serving::Well };
        match self {
            BalancerFault::Dead => switch_dead(lab, on),
            BalancerFault::Answers503 => without_servers(lab, on),
            BalancerFault::Expired => lab.serve(or_well(Serving::ExpiredCertificate)),
            BalancerFault::PortReuse => {
                let to_vip = format!("ip daddr {VIP}");
                packets(lab, "lb", on, &once_a_minute(&to_vip))
            }
            BalancerFault::ProxyLine => lab.serve(or_well(Serving::ProxyLine)),
            BalancerFault::StaleAddress => lab.serve(or_well(Serving::StaleAddress)),
            BalancerFault::StuckSessions => stick(lab, on),
            BalancerFault::TimeWait => strip_timestamps(lab, on),
            BalancerFault::AtStandby => at_standby(lab, on),
        }
    }

    fn signs(&self, kind: Balancer) -> Signs {
        let edge = Ask::Page(EDGES[0]);
        let direct = |number| Ask::Backend(number, None);
        match self {
            BalancerFault::Dead => match kind {
                Balancer::L7 | Balancer::Tcp | Balancer::L4 => {
                    vec![("home1", edge, Always(|a| a.status == 521))]
                }
                Balancer::Dsr => vec![("home1", edge, Always(|a| a.status == 522))],
            },
            BalancerFault::Answers503 => vec![("home1", edge, Always(|a| a.status == 503))],
            BalancerFault::Expired => vec![("home1", edge, Always(|a| a.status == 526))],
            BalancerFault::PortReuse => vec![
                ("dc1", Ask::Again(VIP), Always(timed_out)),
                ("home1", edge, Always(well)),
            ],
            BalancerFault::ProxyLine => match kind {
                Balancer::Tcp => vec![
                    ("home1", edge, AtTimes(|a| a.status == 525)),
                    ("lb", direct(1), Always(well)),
                ],
                Balancer::L7 | Balancer::L4 | Balancer::Dsr => vec![
                    ("home1", edge, AtTimes(|a| a.status == 400)),
                    ("lb", direct(1), Always(well)),
                ],
            },
            BalancerFault::StaleAddress => vec![
                ("home1", edge, AtTimes(|a| !well(a))),
                ("lb", direct(2), Always(well)),
            ],
            BalancerFault::StuckSessions => vec![
                ("home1", edge, Always(well)),
                ("home1", Ask::InSession(EDGES[0], "web1a"), Always(well)),
                (
                    "home1",
                    Ask::InSession(EDGES[0], "web3b"),
                    Always(|a| a.status == 503),
                ),
                ("lb", direct(2), Always(well)),
            ],
            BalancerFault::TimeWait => vec![
                ("home1", edge, AtTimes(|a| !well(a))),
                ("lb", direct(0), Always(well)),
            ],
            BalancerFault::AtStandby => vec![
                ("cdn1", Ask::Page(VIP), Always(timed_out)),
                ("dc1", Ask::Page(VIP), Always(timed_out)),
                ("lb", Ask::Page(VIP), Always(well)),
                ("home1", edge, Always(|a| a.status == 522)),
            ],
        }
    }
}

/// A dead process leaves a host that refuses, a dead director nobody.
fn dead(kind: Balancer) -> &'static str {
    match kind {
        Balancer::L7 | Balancer::Tcp | Balancer::L4 => "refuses",
        Balancer::Dsr => "no_answer",
    }
}

fn switch_dead(lab: &mut Lab, on: bool) -> Result<()> {
    match lab.mode {
        Balancer::L7 | Balancer::Tcp => {
            lab.balancer = None;
            if on { Ok(()) } else { lab.serve(Serving::Well) }
        }
        Balancer::L4 => {
            let script = if on {
                "delete table ip balancer\n".to_owned()
            } else {
                net::translation(net::EVERY_PORT)
            };
            shell::nft(&lab.run.namespace("lb"), &script)
        }
        Balancer::Dsr => {
            let drop = |hook: &str| format!("{hook} ip daddr {VIP} drop");
            packets(lab, "lb", on, &[drop("prerouting"), drop("output")])
        }
    }
}

fn without_servers(lab: &Lab, on: bool) -> Result<()> {
    let state = if on { "maint" } else { "ready" };
    for server in balancer::servers() {
        balancer::order(&lab.run, &format!("set server web/{server} state {state}"))?;
    }
    Ok(())
}

/// Users must have been there before the server that they are kept to is gone: four rounds of a schedule of
/// five seconds.
const BEFORE: Duration = Duration::from_secs(20);

fn stick(lab: &mut Lab, on: bool) -> Result<()> {
    if !on {
        return lab.serve(Serving::Well);
    }
    lab.serve(Serving::Sessions)?;
    thread::sleep(BEFORE);
    balancer::leave(&lab.run, 2)
}

/// Ports that come round within seconds, and nothing in a SYN that tells a new connection from an old one
/// (RFC 6191).
fn strip_timestamps(lab: &Lab, on: bool) -> Result<()> {
    let lb = lab.run.namespace("lb");
    let verb = if on { "-A" } else { "-D" };
    for what in ["FORWARD".to_owned(), format!("OUTPUT -d {VIP}")] {
        shell::ip(&format!(
            "netns exec {lb} iptables-legacy -t mangle {verb} {what} -p tcp -j TCPOPTSTRIP --strip-options timestamp"
        ))?;
    }
    net::few_ports(&lab.run, on || lab.few_ports)
}

/// The router has the VIP on its link, and a neighbour there that is somebody else.
fn at_standby(lab: &Lab, on: bool) -> Result<()> {
    let dc = lab.run.namespace("dc");
    let lines = match on {
        true => [
            format!("neigh replace {VIP} lladdr 02:00:00:00:00:99 dev lba nud permanent"),
            format!("route replace {VIP}/32 dev lba"),
        ],
        false => [
            format!("route replace {VIP}/32 via {}", BALANCER[0]),
            format!("neigh del {VIP} dev lba"),
        ],
    };
    for line in lines {
        shell::ip(&format!("-n {dc} {line}"))?;
    }
    Ok(())
}
