//! What goes wrong with the name: resolvers, name servers, the zone.

use anyhow::Result;

use super::{Known, Listed, Row, Strength};
use crate::address::{IPV6_EDGE, NAME_SERVERS, REMOVED_EDGE, RESOLVERS, SERVICE};
use crate::blame::{MASKED, name_server, one, resolver, zone};
use crate::daemons;
use crate::expectation::Blame;
use crate::net::Balancer;
use crate::packets::{lose, packets};
use crate::said::Kind;
use crate::sign::Sign::{Always, AtTimes};
use crate::sign::{Ask, Signs, no_answer, timed_out};
use crate::topology::Lab;
use crate::verdicts::Declared;
use crate::zone::Zone;

/// A fault of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameFault {
    /// Home 1's resolver is not there.
    ResolverDead,
    /// Home 2's resolver loses 45 % of its answers.
    ResolverLossy,
    /// The zone had no address for a moment, and home 1's resolver goes on saying so.
    ResolverKeepsNegative,
    /// Name server 1 refuses every question.
    ServerRefuses,
    /// Name server 2 hands out an edge that has been given up.
    ServerRemovedEdge,
    /// Both name servers know nothing of the zone that is delegated to them.
    ZoneLame,
    /// The zone's signatures have expired, and the resolvers check them.
    ZoneExpired,
    /// The zone has an IPv6 address where nobody answers.
    Ipv6Silent,
}

impl NameFault {
    /// All of them.
    pub const EVERY: [NameFault; 8] = [
        NameFault::ResolverDead,
        NameFault::ResolverLossy,
        NameFault::ResolverKeepsNegative,
        NameFault::ServerRefuses,
        NameFault::ServerRemovedEdge,
        NameFault::ZoneLame,
        NameFault::ZoneExpired,
        NameFault::Ipv6Silent,
    ];
}

impl Row for NameFault {
    fn name(&self) -> &'static str {
        match self {
            NameFault::ResolverDead => "resolver-dead",
            NameFault::ResolverLossy => "resolver-lossy",
            NameFault::ResolverKeepsNegative => "resolver-keeps-negative",
            NameFault::ServerRefuses => "authoritative-refuses",
            NameFault::ServerRemovedEdge => "authoritative-removed-edge",
            NameFault::ZoneLame => "zone-lame",
            NameFault::ZoneExpired => "zone-signatures-expired",
            NameFault::Ipv6Silent => "ipv6-silent",
        }
    }

    fn listed(&self) -> Listed {
        match self {
            NameFault::ResolverDead
            | NameFault::ResolverLossy
            | NameFault::ResolverKeepsNegative
            | NameFault::ServerRefuses
            | NameFault::ServerRemovedEdge
            | NameFault::ZoneLame
            | NameFault::ZoneExpired => Listed::Usual,
            NameFault::Ipv6Silent => Listed::NotYet,
        }
    }

    fn strength(&self) -> Strength {
        match self {
            NameFault::ResolverLossy | NameFault::ServerRemovedEdge => Strength::Intermittent,
            NameFault::ResolverDead
            | NameFault::ResolverKeepsNegative
            | NameFault::ServerRefuses
            | NameFault::ZoneLame
            | NameFault::ZoneExpired
            | NameFault::Ipv6Silent => Strength::Hard,
        }
    }

    fn settles(&self) -> u64 {
        match self {
            // Until the resolvers have forgotten the answer before.
            NameFault::ServerRemovedEdge
            | NameFault::ZoneLame
            | NameFault::ZoneExpired
            | NameFault::Ipv6Silent => 7,
            NameFault::ResolverDead
            | NameFault::ResolverLossy
            | NameFault::ResolverKeepsNegative
            | NameFault::ServerRefuses => 1,
        }
    }

    fn fits(&self, _: Balancer) -> bool {
        true
    }

    fn truth(&self, _: Balancer) -> Vec<Blame> {
        let blame = match self {
            NameFault::ResolverDead => resolver(0, &["no_answer"]),
            NameFault::ResolverLossy => resolver(1, &["no_answer"]),
            NameFault::ResolverKeepsNegative => resolver(0, &["stale_answer", "wrong_answer"]),
            // Resolvers ask the other one.
            NameFault::ServerRefuses => name_server(0, &["refuses"]).felt(MASKED),
            NameFault::ServerRemovedEdge => name_server(1, &["wrong_answer"]),
            NameFault::ZoneLame => zone(&["lame", "refuses"]),
            NameFault::ZoneExpired => zone(&["signatures_expired", "bogus"]),
            // Browsers take the IPv4 address when the other one is silent (RFC 8305).
            NameFault::Ipv6Silent => one(Kind::Cdn, IPV6_EDGE, &["no_answer"]).felt(MASKED),
        };
        vec![blame]
    }

    fn known(&self, _: Declared, _: Balancer) -> Known {
        Known::Clear
    }

    fn switch(&self, lab: &mut Lab, on: bool) -> Result<()> {
        let or_well = |zone| if on { zone } else { Zone::Well };
        match self {
            NameFault::ResolverDead => resolver_dead(lab, on),
            NameFault::ResolverLossy => {
                let lose = lose(0.45);
                let rule = format!("output ip saddr {} udp sport 53 {lose}", RESOLVERS[1]);
                packets(lab, "gw2", on, &[rule])
            }
            NameFault::ResolverKeepsNegative => keeps_negative(lab, on),
            NameFault::ServerRefuses => serve(lab, &[0], or_well(Zone::Refuses)),
            NameFault::ServerRemovedEdge => serve(lab, &[1], or_well(Zone::RemovedEdge)),
            NameFault::ZoneLame => serve(lab, &[0, 1], or_well(Zone::Refuses)),
            NameFault::ZoneExpired => signatures_expired(lab, on),
            NameFault::Ipv6Silent => serve(lab, &[0, 1], or_well(Zone::Ipv6)),
        }
    }

    fn signs(&self, _: Balancer) -> Signs {
        let failed = Always(|a| a.text.contains("SERVFAIL"));
        match self {
            NameFault::ResolverDead => vec![("home1", Ask::Dig(RESOLVERS[0]), Always(no_answer))],
            NameFault::ResolverLossy => vec![("home2", Ask::Dig(RESOLVERS[1]), AtTimes(timed_out))],
            NameFault::ResolverKeepsNegative => vec![
                (
                    "home1",
                    Ask::Dig(RESOLVERS[0]),
                    Always(|a| a.text.contains("ANSWER: 0")),
                ),
                (
                    "home1",
                    Ask::Dig(NAME_SERVERS[0]),
                    Always(|a| a.text.contains("ANSWER: 2")),
                ),
                (
                    "home2",
                    Ask::Dig(RESOLVERS[1]),
                    Always(|a| a.text.contains("ANSWER: 2")),
                ),
            ],
            NameFault::ServerRefuses => vec![(
                "home1",
                Ask::Dig(NAME_SERVERS[0]),
                Always(|a| a.text.contains("REFUSED")),
            )],
            NameFault::ServerRemovedEdge => vec![(
                "home1",
                Ask::Dig(NAME_SERVERS[1]),
                Always(|a| a.text.contains(REMOVED_EDGE)),
            )],
            NameFault::ZoneLame => vec![
                (
                    "home1",
                    Ask::Dig(NAME_SERVERS[1]),
                    Always(|a| a.text.contains("REFUSED")),
                ),
                ("home2", Ask::Dig(RESOLVERS[1]), failed),
            ],
            NameFault::ZoneExpired => vec![
                (
                    "home1",
                    Ask::Dig(NAME_SERVERS[0]),
                    Always(|a| a.text.contains("NOERROR")),
                ),
                ("home1", Ask::Dig(RESOLVERS[0]), failed),
                (
                    "home2",
                    Ask::Unchecked(RESOLVERS[1]),
                    Always(|a| a.text.contains("NOERROR")),
                ),
            ],
            NameFault::Ipv6Silent => vec![
                ("home1", Ask::Page(BRACKETED_IPV6_EDGE), Always(timed_out)),
                (
                    "home1",
                    Ask::Dig6(NAME_SERVERS[0]),
                    Always(|a| a.text.contains(IPV6_EDGE)),
                ),
            ],
        }
    }
}

/// The edge's IPv6 address as curl wants it.
const BRACKETED_IPV6_EDGE: &str = "[2001:db8:51::11]";

fn resolver_dead(lab: &mut Lab, on: bool) -> Result<()> {
    // The old process must be gone before its successor can listen.
    lab.resolvers[0] = None;
    if !on {
        restart_resolver(lab, 0)?;
    }
    Ok(())
}

fn restart_resolver(lab: &mut Lab, number: usize) -> Result<()> {
    lab.resolvers[number] = None;
    lab.resolvers[number] = Some(daemons::resolver(&lab.run, number)?);
    Ok(())
}

fn serve(lab: &mut Lab, servers: &[usize], zone: Zone) -> Result<()> {
    for number in servers {
        lab.name_servers[*number] = None;
        lab.name_servers[*number] = Some(daemons::name_server(&lab.run, *number, zone)?);
    }
    Ok(())
}

/// A resolver remembers for a minute that a zone's keys do not hold; whoever mends that has the
/// resolvers forget it.
fn signatures_expired(lab: &mut Lab, on: bool) -> Result<()> {
    serve(lab, &[0, 1], if on { Zone::Expired } else { Zone::Well })?;
    if !on {
        restart_resolver(lab, 0)?;
        restart_resolver(lab, 1)?;
    }
    Ok(())
}

/// The zone is without addresses for as long as it takes home 1's resolver to ask; the other resolver
/// forgets what it may have heard meanwhile.
fn keeps_negative(lab: &mut Lab, on: bool) -> Result<()> {
    restart_resolver(lab, 0)?;
    if on {
        serve(lab, &[0, 1], Zone::Empty)?;
        let question = format!("dig +time=2 +tries=2 {SERVICE} @{}", RESOLVERS[0]);
        daemons::on_host(&lab.run, "home1", &question)?;
        serve(lab, &[0, 1], Zone::Well)?;
        restart_resolver(lab, 1)?;
    }
    Ok(())
}
