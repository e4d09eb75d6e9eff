//! Why a backend's host does not answer SYNs that reach it. What its kernel counts tells one from the
//! other; without an agent there they all look like packets that get lost.

use anyhow::Result;

use super::ways::by_second_link;
use super::{Known, Row, Strength, behind_the_balancer};
use crate::address::{BACKEND_NAMES, DC1, DC1_NETWORK, EDGES};
use crate::blame::{MASKED, one, returning};
use crate::daemons;
use crate::expectation::Blame;
use crate::net::{Balancer, set};
use crate::packets::{SYN, packets};
use crate::said::Kind;
use crate::sign::Sign::Always;
use crate::sign::{Ask, Signs, timed_out, well};
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
    /// Backend 1 has another way to the data centre's agent than SYNs come in by, and is strict.
    Strict,
}

impl HostFault {
    /// All of them.
    pub const EVERY: [HostFault; 4] = [
        HostFault::QueueFull,
        HostFault::Filtered,
        HostFault::Silent,
        HostFault::Strict,
    ];

    /// The word for it, and the word of who has no agent there.
    fn modes(self) -> [&'static str; 2] {
        match self {
            HostFault::QueueFull => ["accept_queue_full", "syn_unanswered"],
            HostFault::Filtered => ["host_firewall", "syn_unanswered"],
            HostFault::Silent => ["stack_silent", "syn_unanswered"],
            HostFault::Strict => ["reverse_path_filter", "answers_lost"],
        }
    }

    /// The backend (0 to 2).
    fn number(self) -> usize {
        match self {
            HostFault::QueueFull | HostFault::Filtered | HostFault::Silent => 1,
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
            HostFault::Strict => vec![
                ("dc1", direct(0), Always(timed_out)),
                ("lb", direct(0), Always(well)),
                ("home1", Ask::Page(EDGES[0]), Always(well)),
            ],
        }
    }
}
