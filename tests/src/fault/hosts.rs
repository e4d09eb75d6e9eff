//! Why a backend's host does not answer SYNs that reach it, or not all of them. What its kernel counts tells one from the
//! other; without an agent there they all look like packets that get lost.

use anyhow::Result;

use super::ways::by_second_link;
use super::{Known, Row, Strength, behind_the_balancer};
use crate::address::{BACKEND_NAMES, BACKENDS, DC1, DC1_NETWORK, EDGES};
use crate::blame::{MASKED, one, returning};
use crate::daemons;
use crate::expectation::Blame;
use crate::net::{Balancer, set};
use crate::packets::{BALANCER_SET, SYN, packets};
use crate::said::Kind;
use crate::sign::Sign::Always;
use crate::sign::{Ask, Signs, one_was_held_up, timed_out, well};
use crate::topology::Lab;
use crate::verdicts::Declared;

/// A fault of a backend's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostFault {
    /// Backend 2's listener has a full accept queue and never accepts.
    QueueFull,
    /// Backend 2's packet filter drops every SYN to its service.
    Filtered,
    /// Backend 2's answers are dropped before they leave it, and nothing counts that.
    Silent,
    /// Backend 2's packet filter lets a few connections at once through from each address but the balancer's, and
    /// drops those beyond.
    Throttles,
    /// Backend 1 has another way to the data centre's agent than SYNs come in by, and is strict.
    Strict,
}

impl HostFault {
    /// All of them.
    pub const EVERY: [HostFault; 5] = [
        HostFault::QueueFull,
        HostFault::Filtered,
        HostFault::Silent,
        HostFault::Throttles,
        HostFault::Strict,
    ];

    /// The word for it, and the word of who has no agent there.
    fn modes(self) -> [&'static str; 2] {
        match self {
            // It shows in who fails, and not in what the host counts.
            HostFault::Throttles => ["throttled", "throttled"],
            HostFault::QueueFull => ["accept_queue_full", "syn_unanswered"],
            HostFault::Filtered => ["host_firewall", "syn_unanswered"],
            HostFault::Silent => ["stack_silent", "syn_unanswered"],
            HostFault::Strict => ["reverse_path_filter", "answers_lost"],
        }
    }

    /// The backend (0 to 2).
    fn number(self) -> usize {
        match self {
            HostFault::QueueFull
            | HostFault::Filtered
            | HostFault::Silent
            | HostFault::Throttles => 1,
            HostFault::Strict => 0,
        }
    }
}

impl Row for HostFault {
    fn name(&self) -> &'static str {
        match self {
            HostFault::QueueFull => "backend-accept-queue-full",
            HostFault::Filtered => "backend-host-firewall",
            HostFault::Silent => "backend-stack-silent",
            HostFault::Throttles => "backend-throttles",
            HostFault::Strict => "backend-reverse-path-filter",
        }
    }

    fn strength(&self) -> Strength {
        Strength::Hard
    }

    fn settles(&self) -> u64 {
        // Health checks take two seconds to take a backend out.
        4
    }

    fn fits(&self, _: Balancer) -> bool {
        true
    }

    fn truth(&self, balancer: Balancer) -> Vec<Blame> {
        let modes = &self.modes()[..1];
        let blame = match self {
            HostFault::QueueFull | HostFault::Filtered | HostFault::Silent => {
                one(Kind::Backend, BACKEND_NAMES[self.number()], modes)
            }
            // Checks and users come by the balancer's addresses.
            HostFault::Throttles => {
                let blame = one(Kind::Backend, BACKEND_NAMES[self.number()], modes);
                return vec![blame.felt(MASKED).told_by("8 connections at once")];
            }
            // Nobody but dc1 is in dc1's network.
            HostFault::Strict => return vec![returning("web1", &[DC1], modes).felt(MASKED)],
        };
        match balancer.checks_health() {
            // Users feel it for the two seconds until health checks have taken it out, and probes are
            // there then or not.
            true => vec![blame.felt(None)],
            false => vec![blame],
        }
    }

    fn unaided(&self, balancer: Balancer) -> Vec<Blame> {
        let mut truth = self.truth(balancer);
        for part in truth.iter_mut().flat_map(|blame| &mut blame.parts) {
            part.modes = self.modes().to_vec();
        }
        truth
    }

    fn asks_for(&self) -> &'static [&'static str] {
        match self {
            HostFault::QueueFull | HostFault::Filtered | HostFault::Silent => &["web2"],
            HostFault::Strict => &["web1", "lb"],
            // One place is enough that may open several connections.
            HostFault::Throttles => &[],
        }
    }

    fn known(&self, declared: Declared, balancer: Balancer) -> Known {
        match declared {
            Declared::Name | Declared::Vip => behind_the_balancer(
                &self.truth(balancer),
                &["slow", "no_answer", "http_5xx", "stalls"],
            ),
            Declared::Backends | Declared::All => Known::Clear,
        }
    }

    fn switch(&self, lab: &mut Lab, on: bool) -> Result<()> {
        let number = self.number();
        let host = BACKEND_NAMES[number];
        match self {
            HostFault::QueueFull => {
                // The one must be gone before the other can listen.
                lab.webs[number] = None;
                let started = match on {
                    true => daemons::full(&lab.run, number)?,
                    false => daemons::web(&lab.run, number, &lab.certificates)?,
                };
                lab.webs[number] = Some(started);
                Ok(())
            }
            HostFault::Filtered => {
                let rule = format!("input tcp dport {{ 80, 443 }} {SYN} drop");
                packets(lab, host, on, &[rule])
            }
            HostFault::Silent => {
                let rule = "output tcp sport { 80, 443 } tcp flags & (syn|ack) == syn|ack drop";
                packets(lab, host, on, &[rule.to_owned()])
            }
            HostFault::Throttles => packets(lab, host, on, &few_at_once(number)),
            HostFault::Strict => {
                let strict = format!("net.ipv4.conf.eth0.rp_filter={}", u8::from(on));
                set(&lab.run.namespace(host), &[&strict])?;
                by_second_link(lab, number, DC1_NETWORK, on)
            }
        }
    }

    fn signs(&self, _: Balancer) -> Signs {
        let direct = |number| Ask::Backend(number, None);
        match self {
            HostFault::QueueFull | HostFault::Filtered | HostFault::Silent => vec![
                ("dc1", direct(1), Always(timed_out)),
                ("dc1", direct(0), Always(well)),
            ],
            HostFault::Throttles => vec![
                ("dc1", direct(1), Always(well)),
                ("dc1", Ask::AtOnce(1), Always(one_was_held_up)),
                ("dc1", Ask::AtOnce(0), Always(|a| !one_was_held_up(a))),
                ("lb", Ask::AtOnce(1), Always(|a| !one_was_held_up(a))),
            ],
            HostFault::Strict => vec![
                ("dc1", direct(0), Always(timed_out)),
                ("lb", direct(0), Always(well)),
                ("home1", Ask::Page(EDGES[0]), Always(well)),
            ],
        }
    }
}

/// From each address but the balancer's six connections at once, and one more each 10 ms. A round has three from the
/// data centre's agent to a backend (from a new port, a used one, and with gzip), and two meshes that have an agent
/// there six; a burst has eight for itself. What the balancer sends for everybody's sake is more than that.
fn few_at_once(number: usize) -> [String; 2] {
    let syn = format!(
        "input ip daddr {} tcp dport {{ 80, 443 }} {SYN}",
        BACKENDS[number]
    );
    [
        "set clients { type ipv4_addr; flags dynamic, timeout; timeout 60s; }".to_owned(),
        format!(
            "{syn} ip saddr != {BALANCER_SET} add @clients {{ ip saddr limit rate over 100/second burst 6 packets }} drop"
        ),
    ]
}
