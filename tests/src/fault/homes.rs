//! What goes wrong in a home's own network.

use anyhow::Result;

use super::{Known, Listed, Row, Strength};
use crate::address::{COORDINATOR_PORTS, EDGES, RESOLVERS, WILDCARD};
use crate::astray;
use crate::blame::{one, resolver};
use crate::expectation::Blame;
use crate::net::{Balancer, set_resolver};
use crate::packets::{lose, packets};
use crate::said::Kind;
use crate::sign::Sign::{Always, AtTimes};
use crate::sign::{Answer, Ask, Signs, hurt, timed_out, well};
use crate::topology::Lab;
use crate::verdicts::Declared;

/// A fault of a home's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HomeFault {
    /// Home 1's line loses 35 % of the packets in each direction.
    Lossy,
    /// Home 1's network resets every connection whose client has said hello in TLS.
    ResetsHello,
    /// The router behind home 1's drops what goes from there to the edges.
    CutOff,
    /// Of two questions to a resolver from one port, home 1's network loses the second, as a race in
    /// connection tracking does.
    LosesSecondQuestion,
    /// The clock of home 1's host was set back by years.
    ClockBehind,
    /// Home 1's network drops the first packet of a hello in TLS that takes more than one.
    DropsLargeHello,
    /// Home 1's network tells hosts to search a domain that has an address for every name below it.
    SearchWildcard,
}

impl HomeFault {
    /// All of them.
    pub const EVERY: [HomeFault; 7] = [
        HomeFault::Lossy,
        HomeFault::ResetsHello,
        HomeFault::CutOff,
        HomeFault::LosesSecondQuestion,
        HomeFault::ClockBehind,
        HomeFault::DropsLargeHello,
        HomeFault::SearchWildcard,
    ];
}

impl Row for HomeFault {
    fn name(&self) -> &'static str {
        match self {
            HomeFault::Lossy => "home-lossy",
            HomeFault::ResetsHello => "home-resets-hello",
            HomeFault::CutOff => "home-cut-off",
            HomeFault::LosesSecondQuestion => "home-loses-second-question",
            HomeFault::ClockBehind => "home-clock-behind",
            HomeFault::DropsLargeHello => "home-drops-large-hello",
            HomeFault::SearchWildcard => "home-search-wildcard",
        }
    }

    fn listed(&self) -> Listed {
        match self {
            HomeFault::Lossy
            | HomeFault::ResetsHello
            | HomeFault::CutOff
            | HomeFault::ClockBehind
            | HomeFault::DropsLargeHello
            | HomeFault::SearchWildcard => Listed::Usual,
            HomeFault::LosesSecondQuestion => Listed::NotYet,
        }
    }

    fn strength(&self) -> Strength {
        match self {
            HomeFault::Lossy => Strength::Intermittent,
            HomeFault::ResetsHello
            | HomeFault::CutOff
            | HomeFault::LosesSecondQuestion
            | HomeFault::ClockBehind
            | HomeFault::DropsLargeHello
            | HomeFault::SearchWildcard => Strength::Hard,
        }
    }

    fn settles(&self) -> u64 {
        match self {
            // What reads the time there looks once a second whether it was set.
            HomeFault::ClockBehind => 2,
            HomeFault::Lossy
            | HomeFault::ResetsHello
            | HomeFault::CutOff
            | HomeFault::LosesSecondQuestion
            | HomeFault::DropsLargeHello
            | HomeFault::SearchWildcard => 1,
        }
    }

    fn fits(&self, _: Balancer) -> bool {
        true
    }

    fn truth(&self, _: Balancer) -> Vec<Blame> {
        let network = |modes| one(Kind::ClientNetwork, "home1", modes);
        let blame = match self {
            HomeFault::Lossy => network(&["packet_loss"]),
            HomeFault::ResetsHello => network(&["tls_fails", "resets"]),
            // Who is to mend it wants to know which router it is behind.
            HomeFault::CutOff => {
                network(&["unreachable", "packet_loss", "blocked"]).told_by(CUT_OFF_BEHIND)
            }
            HomeFault::ClockBehind => network(&["clock"]),
            HomeFault::DropsLargeHello => network(&["large_hello"]).in_pattern("by_variant"),
            HomeFault::SearchWildcard => network(&["search_domain"]),
            // Nobody but the network's own resolver is asked so from there.
            HomeFault::LosesSecondQuestion => {
                let modes = ["slow", "packet_loss", "no_answer"];
                network(&modes).or(resolver(0, &modes))
            }
        };
        vec![blame]
    }

    fn known(&self, _: Declared, _: Balancer) -> Known {
        Known::Clear
    }

    fn switch(&self, lab: &mut Lab, on: bool) -> Result<()> {
        match self {
            HomeFault::Lossy => packets(lab, "gw1", on, &lossy_line()),
            HomeFault::ResetsHello => {
                // A TLS record of the handshake begins with the byte 22 (RFC 8446, section 5.1).
                let hello = "forward iifname lan tcp dport 443 @ih,0,8 22 reject with tcp reset";
                packets(lab, "gw1", on, &[hello.to_owned()])
            }
            HomeFault::CutOff => {
                let [edge1, edge2] = EDGES;
                let rule = format!(
                    "forward iifname gw1 ip daddr {{ {edge1}, {edge2} }} tcp dport 443 drop"
                );
                packets(lab, "net", on, &[rule])
            }
            HomeFault::ClockBehind => astray::set(&lab.run, on),
            HomeFault::DropsLargeHello => {
                // What is full and begins a handshake is the first packet of several.
                let hello = "forward iifname lan tcp dport 443 meta length > 1400 @ih,0,8 22 drop";
                packets(lab, "gw1", on, &[hello.to_owned()])
            }
            HomeFault::SearchWildcard => {
                let search = format!("search {WILDCARD}\noptions ndots:2\n");
                let more = if on { search.as_str() } else { "" };
                set_resolver(&lab.run, "home1", Some(RESOLVERS[0]), more)
            }
            HomeFault::LosesSecondQuestion => packets(lab, "gw1", on, &one_question()),
        }
    }

    fn signs(&self, _: Balancer) -> Signs {
        let edge = Ask::Page(EDGES[0]);
        match self {
            HomeFault::Lossy => vec![
                ("home1", edge, AtTimes(hurt)),
                ("home2", edge, Always(well)),
            ],
            HomeFault::ResetsHello => vec![
                ("home1", edge, Always(|a| a.text.contains("reset by peer"))),
                ("home2", edge, Always(well)),
            ],
            HomeFault::CutOff => vec![
                ("home1", edge, Always(timed_out)),
                ("home2", edge, Always(well)),
            ],
            HomeFault::ClockBehind => vec![
                (
                    "home1",
                    Ask::ByOwnClock(EDGES[0]),
                    Always(|a| a.text.contains("not yet valid")),
                ),
                ("home2", edge, Always(well)),
            ],
            HomeFault::DropsLargeHello => {
                let hello = Ask::LargeHello(EDGES[0]);
                vec![
                    ("home1", hello, Always(|a| !is_certified(a))),
                    ("home1", edge, Always(well)),
                    ("home2", hello, Always(is_certified)),
                ]
            }
            HomeFault::SearchWildcard => vec![
                ("home1", Ask::ByName, Always(|a| a.status != 200)),
                ("home1", edge, Always(well)),
                ("home2", Ask::ByName, Always(well)),
            ],
            HomeFault::LosesSecondQuestion => vec![
                ("home1", Ask::ByName, Always(|a| a.seconds > 4.9)),
                ("home2", Ask::ByName, Always(well)),
                (
                    "home1",
                    Ask::Dig(RESOLVERS[0]),
                    Always(|a| a.text.contains("ANSWER: 2")),
                ),
            ],
        }
    }
}

/// The router that drops what goes from home 1 to the edges, the second on the way.
const CUT_OFF_BEHIND: &str =
    ":443 are answered up to 198.18.101.1 (hop 2), and by nothing behind it, in";

/// Whether somebody said hello in TLS and was shown a certificate.
fn is_certified(answer: &Answer) -> bool {
    answer.text.contains("BEGIN CERTIFICATE")
}

/// Only one question each ten seconds from each address and port.
fn one_question() -> [String; 3] {
    let question = "input iifname lan udp dport 53 ip saddr . udp sport";
    [
        "set asked { type ipv4_addr . inet_service; flags dynamic, timeout; timeout 10s; }"
            .to_owned(),
        format!("{question} @asked drop"),
        "input iifname lan udp dport 53 add @asked { ip saddr . udp sport }".to_owned(),
    ]
}

/// Loss on a home's line, both ways. Our own link is spared: the fault is to be localised while it
/// lasts.
fn lossy_line() -> [String; 4] {
    let own = COORDINATOR_PORTS.map(|port| port.to_string()).join(", ");
    let own = format!("{{ {own} }}");
    let lose = lose(0.35);
    [
        format!("prerouting iifname lan tcp dport {own} accept"),
        format!("prerouting iifname lan {lose}"),
        format!("postrouting oifname lan tcp sport {own} accept"),
        format!("postrouting oifname lan {lose}"),
    ]
}
