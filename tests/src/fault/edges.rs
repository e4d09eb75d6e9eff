//! What goes wrong at the edges, and on their way to the balancer.

use anyhow::Result;

use super::{Known, Listed, Row, Strength};
use crate::address::{EDGES, VIP};
use crate::behaviour::{self, EdgeBehaviour};
use crate::blame::{MASKED, one, origin, way};
use crate::cache;
use crate::daemons;
use crate::expectation::Blame;
use crate::net::Balancer;
use crate::packets::packets;
use crate::said::Kind;
use crate::sign::Sign::{Always, AtTimes};
use crate::sign::{Ask, Signs, timed_out, well};
use crate::topology::Lab;
use crate::verdicts::Declared;

/// A fault of the edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeFault {
    /// Edge 1 answers 500 by itself.
    Answers500,
    /// Edge 2 reads requests and never answers.
    Stalls,
    /// Both edges reset 30 % of the requests.
    AllReset,
    /// Edge 1 shows an expired certificate.
    Expired,
    /// Edge 1 shows its certificate without that of the intermediate authority.
    LacksIntermediate,
    /// Both edges answer 403 to whoever asks from a data centre.
    RefuseDataCentres,
    /// Edge 1 hands out an old page to clients that take packed answers.
    StaleForGzip,
    /// Edge 1 alone cannot reach the VIP.
    CutOff,
    /// The backbone's router to the data centre drops whatever is for the VIP.
    AllCutOff,
    /// One of four equal paths to the VIP is dead: which flows take it, their addresses and ports say.
    FlowsDead,
}

impl EdgeFault {
    /// All of them.
    pub const EVERY: [EdgeFault; 10] = [
        EdgeFault::Answers500,
        EdgeFault::Stalls,
        EdgeFault::AllReset,
        EdgeFault::Expired,
        EdgeFault::LacksIntermediate,
        EdgeFault::RefuseDataCentres,
        EdgeFault::StaleForGzip,
        EdgeFault::CutOff,
        EdgeFault::AllCutOff,
        EdgeFault::FlowsDead,
    ];
}

impl Row for EdgeFault {
    fn name(&self) -> &'static str {
        match self {
            EdgeFault::Answers500 => "edge-500",
            EdgeFault::Stalls => "edge-stalls",
            EdgeFault::AllReset => "edges-reset",
            EdgeFault::Expired => "edge-expired",
            EdgeFault::LacksIntermediate => "edge-lacks-intermediate",
            EdgeFault::RefuseDataCentres => "edges-403-data-centres",
            EdgeFault::StaleForGzip => "edge-stale-for-gzip",
            EdgeFault::CutOff => "edge-cut-off",
            EdgeFault::AllCutOff => "edges-cut-off",
            EdgeFault::FlowsDead => "flows-dead",
        }
    }

    fn listed(&self) -> Listed {
        match self {
            EdgeFault::Answers500
            | EdgeFault::Stalls
            | EdgeFault::AllReset
            | EdgeFault::Expired
            | EdgeFault::LacksIntermediate
            | EdgeFault::StaleForGzip
            | EdgeFault::CutOff => Listed::Usual,
            // The ways back to the one agent that meets the VIP as the CDN does are named beside it.
            EdgeFault::RefuseDataCentres | EdgeFault::AllCutOff | EdgeFault::FlowsDead => {
                Listed::NotYet
            }
        }
    }

    fn strength(&self) -> Strength {
        match self {
            EdgeFault::AllReset | EdgeFault::FlowsDead => Strength::Intermittent,
            EdgeFault::Answers500
            | EdgeFault::Stalls
            | EdgeFault::Expired
            | EdgeFault::LacksIntermediate
            | EdgeFault::RefuseDataCentres
            | EdgeFault::StaleForGzip
            | EdgeFault::CutOff
            | EdgeFault::AllCutOff => Strength::Hard,
        }
    }

    fn fits(&self, _: Balancer) -> bool {
        true
    }

    fn truth(&self, _: Balancer) -> Vec<Blame> {
        let edge = |number: usize, mode| one(Kind::Cdn, EDGES[number], &[mode]);
        let to_vip =
            |from: &str, modes: &[&'static str]| way(Kind::CdnOriginPath, from, &[VIP], modes);
        let blame = match self {
            EdgeFault::Answers500 => edge(0, "http_5xx"),
            EdgeFault::Stalls => edge(1, "stalls"),
            EdgeFault::AllReset => one(Kind::Cdn, "cloudflare", &["resets"]),
            EdgeFault::Expired => edge(0, "certificate_expired"),
            EdgeFault::LacksIntermediate => edge(0, "certificate_chain_incomplete"),
            // No user asks from there, and nobody has to mend it.
            EdgeFault::RefuseDataCentres => {
                one(Kind::Cdn, "cloudflare", &["not_served"]).felt(MASKED)
            }
            EdgeFault::StaleForGzip => edge(0, "wrong_content").in_pattern("by_variant"),
            EdgeFault::CutOff => to_vip(EDGES[0], &["unreachable"]),
            // Who is to mend it wants to know which router it is behind.
            EdgeFault::AllCutOff => {
                to_vip("*", &["unreachable", "blocked"]).told_by(CUT_OFF_BEHIND)
            }
            EdgeFault::FlowsDead => to_vip("*", &["unreachable"]).in_pattern("by_flow"),
        };
        vec![blame]
    }

    fn known(&self, declared: Declared, balancer: Balancer) -> Known {
        match (declared, self) {
            (_, EdgeFault::RefuseDataCentres) => Known::TurnedAway(&["cdn1", "dc1"]),
            // What an edge does by itself may be the doing of what nobody declared behind it; and who says
            // nothing may wait for an origin that cannot be reached.
            (_, EdgeFault::Stalls)
            | (Declared::Name, EdgeFault::Answers500 | EdgeFault::AllReset) => {
                Known::Open(self.truth(balancer))
            }
            (Declared::Name, EdgeFault::CutOff) => cut_off(EDGES[0]),
            (Declared::Name, EdgeFault::AllCutOff | EdgeFault::FlowsDead) => cut_off("*"),
            (
                Declared::Name,
                EdgeFault::Expired | EdgeFault::LacksIntermediate | EdgeFault::StaleForGzip,
            )
            | (Declared::Vip | Declared::Backends | Declared::All, _) => Known::Clear,
        }
    }

    fn switch(&self, lab: &mut Lab, on: bool) -> Result<()> {
        let one = |number, behaviour| edge(lab, number, on, behaviour);
        let both = |behaviour| one(0, behaviour).and_then(|()| one(1, behaviour));
        match self {
            EdgeFault::Answers500 => one(0, EdgeBehaviour::Answer { status: 500 }),
            EdgeFault::Stalls => one(1, EdgeBehaviour::Stall),
            EdgeFault::AllReset => both(EdgeBehaviour::Reset { share: 0.3 }),
            EdgeFault::Expired => one(0, EdgeBehaviour::ExpiredCertificate),
            EdgeFault::LacksIntermediate => one(0, EdgeBehaviour::LacksIntermediate),
            EdgeFault::RefuseDataCentres => both(EdgeBehaviour::HomesOnly { status: 403 }),
            EdgeFault::StaleForGzip => stale_for_gzip(lab, on),
            EdgeFault::CutOff => {
                let rule = format!("forward ip saddr {} ip daddr {VIP} drop", EDGES[0]);
                packets(lab, "dc", on, &[rule])
            }
            EdgeFault::AllCutOff => {
                let rule = format!("forward oifname dc ip daddr {VIP} drop");
                packets(lab, "net", on, &[rule])
            }
            EdgeFault::FlowsDead => {
                let flow = "jhash ip saddr . ip daddr . tcp sport mod 4 seed 11 0";
                let rule = format!("forward oifname dc ip daddr {VIP} {flow} drop");
                packets(lab, "net", on, &[rule])
            }
        }
    }

    fn signs(&self, _: Balancer) -> Signs {
        let [edge1, edge2] = EDGES.map(Ask::Page);
        match self {
            EdgeFault::Answers500 => vec![
                ("home1", edge1, Always(|a| a.status == 500)),
                ("home1", edge2, Always(well)),
            ],
            EdgeFault::Stalls => vec![("home2", edge2, Always(timed_out))],
            EdgeFault::AllReset => vec![
                ("home1", edge1, AtTimes(|a| a.status == 0)),
                ("home1", edge2, AtTimes(|a| a.status == 0)),
            ],
            EdgeFault::Expired => vec![("home1", edge1, Always(|a| a.text.contains("expired")))],
            EdgeFault::LacksIntermediate => vec![
                (
                    "home1",
                    edge1,
                    Always(|a| a.text.contains("unable to get local issuer")),
                ),
                ("home1", edge2, Always(well)),
            ],
            EdgeFault::RefuseDataCentres => vec![
                ("cdn1", edge1, Always(|a| a.status == 403)),
                ("dc1", edge2, Always(|a| a.status == 403)),
                ("home1", edge1, Always(well)),
            ],
            EdgeFault::StaleForGzip => vec![
                ("home1", Ask::Packed(EDGES[0]), Always(|a| a.size < 100)),
                ("home1", Ask::Packed(EDGES[1]), Always(|a| a.size > 100)),
                ("home1", edge1, Always(|a| a.size > 100)),
            ],
            EdgeFault::CutOff => vec![
                ("home1", edge1, Always(|a| a.status == 522)),
                ("home1", edge2, Always(well)),
            ],
            EdgeFault::AllCutOff => vec![
                ("home1", edge1, Always(|a| a.status == 522)),
                ("home2", edge2, Always(|a| a.status == 522)),
                ("cdn1", Ask::Page(VIP), Always(timed_out)),
                ("dc1", Ask::Page(VIP), Always(well)),
            ],
            EdgeFault::FlowsDead => vec![
                ("home1", edge1, AtTimes(|a| a.status == 522)),
                ("cdn1", Ask::FromPort(DEAD_PORT), Always(timed_out)),
                ("cdn1", Ask::Page(VIP), AtTimes(timed_out)),
                ("dc1", Ask::Page(VIP), Always(well)),
            ],
        }
    }
}

/// An edge asks its cache before the origin.
fn stale_for_gzip(lab: &mut Lab, on: bool) -> Result<()> {
    lab.cache = match on {
        true => Some(cache::stale(&lab.run, 0)?),
        false => None,
    };
    edge(lab, 0, on, EdgeBehaviour::Cached)
}

/// The router that drops them all, as cdn1 is next to it.
const CUT_OFF_BEHIND: &str = "packets from cdn1 to 203.0.113.10:443 are answered up to 198.51.100.33 (hop 1), and by nothing behind it";

/// A port of cdn1 whose flow to the VIP takes the dead path.
const DEAD_PORT: u16 = 30_004;

/// Without the VIP, the way from an edge cannot be told from where it leads.
fn cut_off(from: &str) -> Known {
    let modes = ["unreachable", "no_answer", "http_5xx"];
    let to = ["origin", crate::address::SERVICE, "*", VIP];
    let either = origin(&modes).or(way(Kind::CdnOriginPath, from, &to, &modes));
    Known::Open(vec![either])
}

fn edge(lab: &Lab, number: usize, on: bool, broken: EdgeBehaviour) -> Result<()> {
    let file = daemons::edge_behaviour_file(&lab.run, number);
    behaviour::write(&file, if on { broken } else { EdgeBehaviour::Proxy })
}

/// Switches how both edges pass answers on.
pub(super) fn reframe(lab: &Lab, on: bool) -> Result<()> {
    edge(lab, 0, on, EdgeBehaviour::Reframe)?;
    edge(lab, 1, on, EdgeBehaviour::Reframe)
}
