//! What goes wrong on the ways between the balancer and the backends, and on the ways back.

use anyhow::Result;

use super::{Known, Listed, Row, Strength, behind_the_balancer};
use crate::address::{
    BACKEND_NAMES, BACKENDS, BACKENDS_SECOND_ROUTER, BALANCER, BALANCER_SECOND_NETWORK, CDN1, DC1,
    DC1_NETWORK, EDGES, VIP,
};
use crate::balancer::{LAST_RESORT_PORTS, Serving};
use crate::blame::{MASKED, one, returning, way};
use crate::expectation::Blame;
use crate::net::Balancer;
use crate::packets::{BALANCER_SET, FROM_BALANCER, SYN, lose, packets, route, translate};
use crate::said::Kind;
use crate::sign::Sign::{Always, AtTimes};
use crate::sign::{Ask, Signs, hurt, timed_out, well};
use crate::topology::Lab;
use crate::verdicts::Declared;

/// Backend 2.
const WEB2: &str = BACKENDS[1];

/// Matches a request for the page, in the first bytes behind a TCP header with timestamps ("GET / "). Health checks
/// ask for something else.
const PAGE: &str = "@th,256,48 0x474554202f20";

/// A fault of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WayFault {
    /// 30 % of the SYNs from the balancer to backend 2 are lost on the way.
    LosesSyns,
    /// Backend 1's answers to the balancer's second address leave by the wrong interface.
    BackToBalancer,
    /// Backend 1's answers to the agent in the data centre leave by the wrong interface.
    BackToDc1,
    /// A third of backend 2's answers to the balancer, or to its clients where it answers them itself,
    /// are lost.
    BackLossy,
    /// What backend 2 sends there in full packets is lost.
    BackBlackHole,
    /// A third of the balancer's connections leave from its second address, and all backends' answers
    /// to that leave by the wrong interface.
    LastResort,
    /// Something on the way refuses the balancer's connections to backend 2 by a reset.
    Refuses,
    /// Something in front of backend 2 reads requests, and resets connections once it has read one for the page.
    Resets,
}

impl WayFault {
    /// All of them.
    pub const EVERY: [WayFault; 8] = [
        WayFault::LosesSyns,
        WayFault::BackToBalancer,
        WayFault::BackToDc1,
        WayFault::BackLossy,
        WayFault::BackBlackHole,
        WayFault::LastResort,
        WayFault::Refuses,
        WayFault::Resets,
    ];
}

impl Row for WayFault {
    fn name(&self) -> &'static str {
        match self {
            WayFault::LosesSyns => "path-loses-syns",
            WayFault::BackToBalancer => "return-route-balancer",
            WayFault::BackToDc1 => "return-route-dc1",
            WayFault::BackLossy => "return-answers-lost",
            WayFault::BackBlackHole => "return-black-hole",
            WayFault::LastResort => "balancer-last-resort",
            WayFault::Refuses => "path-refuses",
            WayFault::Resets => "path-resets",
        }
    }

    fn listed(&self) -> Listed {
        Listed::Usual
    }

    fn strength(&self) -> Strength {
        match self {
            WayFault::LosesSyns | WayFault::BackLossy => Strength::Intermittent,
            WayFault::BackToBalancer
            | WayFault::BackToDc1
            | WayFault::BackBlackHole
            | WayFault::LastResort
            | WayFault::Refuses
            | WayFault::Resets => Strength::Hard,
        }
    }

    fn settles(&self) -> u64 {
        match self {
            // Health checks take two seconds to take a route out.
            WayFault::BackToBalancer | WayFault::LastResort | WayFault::Refuses => 4,
            WayFault::Resets
            | WayFault::LosesSyns
            | WayFault::BackToDc1
            | WayFault::BackLossy
            | WayFault::BackBlackHole => 1,
        }
    }

    fn fits(&self, balancer: Balancer) -> bool {
        match self {
            WayFault::LastResort => balancer.checks_health(),
            // What is behind TLS it cannot read.
            WayFault::Resets => balancer == Balancer::L7,
            WayFault::Refuses
            | WayFault::LosesSyns
            | WayFault::BackToBalancer
            | WayFault::BackToDc1
            | WayFault::BackLossy
            | WayFault::BackBlackHole => true,
        }
    }

    fn truth(&self, balancer: Balancer) -> Vec<Blame> {
        let to = clients_of_web2(balancer);
        let lost = &["answers_lost"];
        match self {
            WayFault::LosesSyns => {
                vec![way(Kind::LbBackendPath, VIP, &["web2"], &["packet_loss"])]
            }
            // The balancer's health checks keep to its other address.
            WayFault::BackToBalancer => {
                // Without connections that it keeps, clients wait until it has tried another address.
                let felt = MASKED.filter(|_| balancer != Balancer::Tcp);
                vec![returning("web1", &BALANCER[1..], lost).felt(felt)]
            }
            // Nobody but dc1 is in dc1's network.
            WayFault::BackToDc1 => vec![returning("web1", &[DC1], lost).felt(MASKED)],
            WayFault::BackLossy => vec![returning("web2", to, lost)],
            WayFault::BackBlackHole => vec![returning("web2", to, &["mtu_black_hole"])],
            WayFault::LastResort => BACKEND_NAMES
                .map(|name| returning(name, &[BALANCER[1], VIP], lost))
                .to_vec(),
            WayFault::Refuses => {
                let refused = way(Kind::LbBackendPath, VIP, &["web2"], &["blocked"]);
                // Checks take it out, and a retry goes elsewhere meanwhile.
                vec![match balancer.checks_health() {
                    true => refused.felt(MASKED),
                    false => refused,
                }]
            }
            // It stands in front of the backend for everybody: no other part is that.
            WayFault::Resets => vec![one(Kind::Backend, "web2", &["resets"])],
        }
    }

    fn asks_for(&self) -> &'static [&'static str] {
        match self {
            WayFault::LosesSyns | WayFault::Refuses => &["lb", "web2"],
            WayFault::Resets => &[],
            WayFault::BackToBalancer | WayFault::BackToDc1 => &["web1", "lb"],
            WayFault::BackLossy | WayFault::BackBlackHole => &["web2", "lb"],
            WayFault::LastResort => &["lb", "web1", "web2", "web3"],
        }
    }

    fn shows_beside(&self) -> bool {
        match self {
            // The hosts see whose answers do not come back.
            WayFault::LastResort
            | WayFault::BackToBalancer
            | WayFault::BackToDc1
            | WayFault::Resets => true,
            WayFault::Refuses
            | WayFault::LosesSyns
            | WayFault::BackLossy
            | WayFault::BackBlackHole => false,
        }
    }

    fn needs_agents(&self) -> bool {
        // The balancer's health checks take the route out of use, and no probe from outside its host leaves
        // from the addresses concerned.
        matches!(self, WayFault::BackToBalancer | WayFault::Refuses)
    }

    fn known(&self, declared: Declared, balancer: Balancer) -> Known {
        // Balancer and edges try again: what is left is late, or given up.
        let modes: &[&'static str] = match self {
            WayFault::LosesSyns
            | WayFault::BackToBalancer
            | WayFault::BackToDc1
            | WayFault::BackLossy
            | WayFault::LastResort => &["slow", "no_answer", "http_5xx", "stalls"],
            WayFault::BackBlackHole => &["stalls", "no_answer", "http_5xx", "mtu_black_hole"],
            WayFault::Refuses | WayFault::Resets => &["resets", "blocked", "refuses", "http_5xx"],
        };
        match declared {
            Declared::Name | Declared::Vip => behind_the_balancer(&self.truth(balancer), modes),
            Declared::Backends | Declared::All => Known::Clear,
        }
    }

    fn switch(&self, lab: &mut Lab, on: bool) -> Result<()> {
        match self {
            WayFault::LosesSyns => {
                let rule = format!("forward {FROM_BALANCER} oifname web2a {SYN} {}", lose(0.3));
                packets(lab, "dc", on, &[rule])
            }
            WayFault::BackToBalancer => by_second_link(lab, 0, BALANCER_SECOND_NETWORK, on),
            WayFault::BackToDc1 => by_second_link(lab, 0, DC1_NETWORK, on),
            WayFault::BackLossy => {
                let rule = format!("forward {} {}", answers_of_web2(lab.mode), lose(0.33));
                packets(lab, "dc", on, &[rule])
            }
            WayFault::BackBlackHole => {
                let full = "meta length > 1400 drop";
                let rule = format!("forward {} {full}", answers_of_web2(lab.mode));
                packets(lab, "dc", on, &[rule])
            }
            WayFault::LastResort => last_resort(lab, on),
            WayFault::Refuses => {
                let rule = format!(
                    "forward {FROM_BALANCER} oifname web2a tcp dport {{ 80, 443 }} {SYN} reject with tcp reset"
                );
                packets(lab, "dc", on, &[rule])
            }
            WayFault::Resets => {
                let rule =
                    format!("forward oifname web2a tcp dport 80 {PAGE} reject with tcp reset");
                packets(lab, "dc", on, &[rule])
            }
        }
    }

    fn signs(&self, balancer: Balancer) -> Signs {
        let edge = Ask::Page(EDGES[0]);
        let direct = |number| Ask::Backend(number, None);
        let from = |number, address: usize| Ask::Backend(number, Some(BALANCER[address]));
        match self {
            WayFault::LosesSyns => vec![
                ("lb", direct(1), AtTimes(|a| a.seconds > 0.9)),
                ("dc1", direct(1), Always(well)),
            ],
            WayFault::BackToBalancer => vec![
                ("lb", from(0, 1), Always(timed_out)),
                ("lb", from(0, 0), Always(well)),
                ("home1", edge, Always(well)),
            ],
            WayFault::BackToDc1 => vec![
                ("dc1", direct(0), Always(timed_out)),
                ("lb", direct(0), Always(well)),
            ],
            WayFault::BackLossy => match balancer {
                Balancer::L7 | Balancer::Tcp | Balancer::L4 => vec![
                    ("lb", direct(1), AtTimes(hurt)),
                    ("dc1", direct(1), Always(well)),
                ],
                Balancer::Dsr => vec![
                    ("cdn1", Ask::Page(VIP), AtTimes(hurt)),
                    ("dc1", Ask::Page(VIP), Always(well)),
                ],
            },
            WayFault::BackBlackHole => match balancer {
                Balancer::L7 | Balancer::Tcp | Balancer::L4 => vec![
                    ("lb", direct(1), Always(timed_out)),
                    ("lb", Ask::Health(1), Always(well)),
                    ("dc1", direct(1), Always(well)),
                    ("home1", edge, AtTimes(|a| a.status == 524)),
                ],
                Balancer::Dsr => vec![
                    ("cdn1", Ask::Page(VIP), AtTimes(timed_out)),
                    ("dc1", Ask::Page(VIP), Always(well)),
                    ("home1", edge, AtTimes(|a| a.status == 524)),
                ],
            },
            WayFault::LastResort => vec![
                ("lb", from(0, 1), Always(timed_out)),
                ("lb", from(2, 1), Always(timed_out)),
                ("lb", from(2, 0), Always(well)),
                ("home1", edge, AtTimes(|a| !well(a))),
            ],
            WayFault::Refuses => vec![
                (
                    "lb",
                    direct(1),
                    Always(|a| a.text.contains("connect to server")),
                ),
                ("lb", direct(0), Always(well)),
                ("dc1", direct(1), Always(well)),
            ],
            WayFault::Resets => vec![
                ("dc1", direct(1), Always(|a| a.text.contains("reset"))),
                ("lb", Ask::Health(1), Always(well)),
                ("home1", edge, AtTimes(|a| a.status == 502)),
            ],
        }
    }
}

/// Whom backend 2 answers that is a client of the service: the balancer, or the balancer's clients.
fn clients_of_web2(balancer: Balancer) -> &'static [&'static str] {
    match balancer {
        Balancer::L7 | Balancer::Tcp | Balancer::L4 => &[BALANCER[0], BALANCER[1], VIP],
        Balancer::Dsr => &[EDGES[0], EDGES[1], CDN1],
    }
}

/// Backend 2's answers to them. What its own agent asks of the VIP must not suffer.
fn answers_of_web2(balancer: Balancer) -> String {
    let answers = "tcp sport { 80, 443 }";
    match balancer {
        Balancer::L7 | Balancer::Tcp | Balancer::L4 => {
            format!("ip saddr {WEB2} ip daddr {BALANCER_SET} {answers}")
        }
        Balancer::Dsr => {
            format!("iifname web2a ip saddr {VIP} ip daddr 198.51.100.0/24 {answers}")
        }
    }
}

/// A backend's answers to a network leave by its second interface, whose link forwards nothing from
/// a foreign source.
pub(super) fn by_second_link(lab: &Lab, number: usize, network: &str, on: bool) -> Result<()> {
    let router = BACKENDS_SECOND_ROUTER[number];
    let line = format!("{network} via {router} dev eth1");
    route(lab, BACKEND_NAMES[number], on, &line)
}

fn last_resort(lab: &mut Lab, on: bool) -> Result<()> {
    for number in 0..BACKENDS.len() {
        by_second_link(lab, number, BALANCER_SECOND_NETWORK, on)?;
    }
    let chain = format!(
        "type nat hook postrouting priority 100;\n\
         tcp sport {LAST_RESORT_PORTS} numgen random mod 3 0 snat to {}",
        BALANCER[1]
    );
    translate(lab, "lb", on, &chain)?;
    lab.serve(if on {
        Serving::OneAddress
    } else {
        Serving::Well
    })
}
