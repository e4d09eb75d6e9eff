//! The faults, as values: each can be switched on and off while everything runs.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::net::Balancer;
use crate::switch::switch;
use crate::topology::Lab;

/// One thing that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Home 1's resolver is not there.
    ResolverDead,
    /// Home 2's resolver loses 45 % of its answers.
    ResolverLossy,
    /// Name server 1 refuses every question.
    AuthoritativeRefuses,
    /// Name server 2 hands out an edge that has been given up.
    AuthoritativeRemovedEdge,
    /// Edge 1 answers 500 by itself.
    EdgeAnswers500,
    /// Edge 2 reads requests and never answers.
    EdgeStalls,
    /// Both edges reset 30 % of the requests.
    EdgesReset,
    /// Edge 1 shows an expired certificate.
    EdgeExpired,
    /// Edge 1 alone cannot reach the VIP.
    EdgeCutOff,
    /// The balancer's process is gone.
    BalancerDead,
    /// The balancer answers 503 though every backend is well.
    Balancer503,
    /// The balancer shows an expired certificate.
    BalancerExpired,
    /// Backend 2 answers 500 to every page.
    BackendFails,
    /// Backend 2 answers 500 to one page in five.
    BackendFailsSome,
    /// Backend 2 answers 500 to one page in fifty.
    BackendFailsSeldom,
    /// Backend 3 takes four seconds longer.
    BackendSlow,
    /// Backend 2 takes 300 milliseconds longer.
    BackendSlow300Ms,
    /// Backend 1's port is closed, and the balancer's health checks have taken it out.
    BackendClosed,
    /// Backend 2's stack does not answer 40 % of the SYNs that reach it.
    BackendDropsSyns,
    /// Backend 3 resets connections once it has read the request.
    BackendResets,
    /// Backend 1 sends half the body that it declares.
    BackendTruncates,
    /// Backend 2 sends half of its large answers, and all of the others.
    BackendTruncatesLarge,
    /// Backend 2 serves another page than its peers.
    BackendOtherBody,
    /// Backend 2 drops SYNs from an address and port that it had one from within a minute.
    BackendPortReuse,
    /// The balancer does.
    BalancerPortReuse,
    /// Home 1's line loses 35 % of its packets.
    HomeLossy,
    /// 30 % of the balancer's SYNs to backend 2 are lost on the way.
    PathLosesSyns,
    /// Backend 1's answers to the balancer's second network leave by an interface that loses them.
    ReturnRouteBalancer,
    /// Backend 1's answers to dc1's network leave by an interface that loses them.
    ReturnRouteDc1,
    /// A third of backend 2's answers to the balancer are lost after they left backend 2.
    ReturnAnswersLost,
    /// No full packet of backend 2's answers comes to the balancer, nor any notice of that to backend 2.
    ReturnBlackHole,
    /// Backend 2 answers 500 to every page and home 1's resolver is not there.
    TwoAtOnce,
}

/// How often a fault strikes what crosses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// Always.
    Hard,
    /// At times.
    Intermittent,
}

impl Fault {
    /// Every fault that a localisation finds within its budget, in the order of the path.
    pub const ALL: [Fault; 31] = [
        Fault::ResolverDead,
        Fault::ResolverLossy,
        Fault::AuthoritativeRefuses,
        Fault::AuthoritativeRemovedEdge,
        Fault::EdgeAnswers500,
        Fault::EdgeStalls,
        Fault::EdgesReset,
        Fault::EdgeExpired,
        Fault::EdgeCutOff,
        Fault::BalancerDead,
        Fault::Balancer503,
        Fault::BalancerExpired,
        Fault::BackendFails,
        Fault::BackendFailsSome,
        Fault::BackendSlow,
        Fault::BackendSlow300Ms,
        Fault::BackendClosed,
        Fault::BackendDropsSyns,
        Fault::BackendResets,
        Fault::BackendTruncates,
        Fault::BackendTruncatesLarge,
        Fault::BackendOtherBody,
        Fault::BackendPortReuse,
        Fault::BalancerPortReuse,
        Fault::HomeLossy,
        Fault::PathLosesSyns,
        Fault::ReturnRouteBalancer,
        Fault::ReturnRouteDc1,
        Fault::ReturnAnswersLost,
        Fault::ReturnBlackHole,
        Fault::TwoAtOnce,
    ];

    /// Faults so rare that only the watch over scheduled rounds finds them.
    pub const SELDOM: [Fault; 1] = [Fault::BackendFailsSeldom];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Fault::ResolverDead => "resolver-dead",
            Fault::ResolverLossy => "resolver-lossy",
            Fault::AuthoritativeRefuses => "authoritative-refuses",
            Fault::AuthoritativeRemovedEdge => "authoritative-removed-edge",
            Fault::EdgeAnswers500 => "edge-500",
            Fault::EdgeStalls => "edge-stalls",
            Fault::EdgesReset => "edges-reset",
            Fault::EdgeExpired => "edge-expired",
            Fault::EdgeCutOff => "edge-cut-off",
            Fault::BalancerDead => "balancer-dead",
            Fault::Balancer503 => "balancer-503",
            Fault::BalancerExpired => "balancer-expired",
            Fault::BackendFails => "backend-500",
            Fault::BackendFailsSome => "backend-500-some",
            Fault::BackendFailsSeldom => "backend-500-seldom",
            Fault::BackendSlow => "backend-slow",
            Fault::BackendSlow300Ms => "backend-slow-300ms",
            Fault::BackendClosed => "backend-closed",
            Fault::BackendDropsSyns => "backend-drops-syns",
            Fault::BackendResets => "backend-resets",
            Fault::BackendTruncates => "backend-truncates",
            Fault::BackendTruncatesLarge => "backend-truncates-large",
            Fault::BackendOtherBody => "backend-other-body",
            Fault::BackendPortReuse => "backend-port-reuse",
            Fault::BalancerPortReuse => "balancer-port-reuse",
            Fault::HomeLossy => "home-lossy",
            Fault::PathLosesSyns => "path-loses-syns",
            Fault::ReturnRouteBalancer => "return-route-balancer",
            Fault::ReturnRouteDc1 => "return-route-dc1",
            Fault::ReturnAnswersLost => "return-answers-lost",
            Fault::ReturnBlackHole => "return-black-hole",
            Fault::TwoAtOnce => "two-at-once",
        }
    }

    /// All of them, those too that are in no list to be run by default.
    pub fn every() -> impl Iterator<Item = Fault> {
        Fault::ALL.into_iter().chain(Fault::SELDOM)
    }

    /// The fault of this name.
    pub fn named(name: &str) -> Option<Fault> {
        Fault::every().find(|fault| fault.name() == name)
    }

    /// How often it strikes.
    pub fn strength(self) -> Strength {
        match self {
            Fault::ResolverLossy
            | Fault::AuthoritativeRemovedEdge
            | Fault::EdgesReset
            | Fault::BackendFailsSome
            | Fault::BackendFailsSeldom
            | Fault::BackendDropsSyns
            | Fault::HomeLossy
            | Fault::PathLosesSyns
            | Fault::ReturnAnswersLost => Strength::Intermittent,
            Fault::ResolverDead
            | Fault::AuthoritativeRefuses
            | Fault::EdgeAnswers500
            | Fault::EdgeStalls
            | Fault::EdgeExpired
            | Fault::EdgeCutOff
            | Fault::BalancerDead
            | Fault::Balancer503
            | Fault::BalancerExpired
            | Fault::BackendFails
            | Fault::BackendSlow
            | Fault::BackendSlow300Ms
            | Fault::BackendClosed
            | Fault::BackendResets
            | Fault::BackendTruncates
            | Fault::BackendTruncatesLarge
            | Fault::BackendOtherBody
            | Fault::BackendPortReuse
            | Fault::BalancerPortReuse
            | Fault::ReturnRouteBalancer
            | Fault::ReturnRouteDc1
            | Fault::ReturnBlackHole
            | Fault::TwoAtOnce => Strength::Hard,
        }
    }

    /// Whether it shows only to those who ask for the large object. Nobody does so otherwise: it would
    /// be a third more for every round of every other fault.
    pub fn strikes_large_answers(self) -> bool {
        self == Fault::BackendTruncatesLarge
    }

    /// How long after it is switched on the path has settled into it: health checks need two
    /// seconds, and resolvers forget an answer after five.
    pub fn settles(self) -> Duration {
        let seconds = if self == Fault::AuthoritativeRemovedEdge {
            7
        } else if matches!(self, Fault::BackendClosed | Fault::ReturnRouteBalancer) {
            4
        } else {
            1
        };
        Duration::from_secs(seconds)
    }

    /// Whether the fault means anything with this balancer. A balancer that does not end TLS has no
    /// certificate and no answers of its own, and a kernel's translation has no process and no stack.
    pub fn fits(self, balancer: Balancer) -> bool {
        let of_proxy = matches!(self, Fault::Balancer503 | Fault::BalancerExpired);
        // The application stands in for nginx here, and does not speak TLS.
        let plain = self == Fault::BackendResets;
        match balancer {
            Balancer::L7 => true,
            Balancer::Tcp => !of_proxy && !plain,
            Balancer::L4 => {
                let of_process = matches!(self, Fault::BalancerDead | Fault::BalancerPortReuse);
                !of_proxy && !plain && !of_process
            }
        }
    }

    /// Switches the fault on.
    pub fn apply(self, lab: &mut Lab) -> Result<()> {
        switch(self, lab, true).with_context(|| format!("switching {} on", self.name()))
    }

    /// Switches the fault off.
    pub fn revert(self, lab: &mut Lab) -> Result<()> {
        switch(self, lab, false).with_context(|| format!("switching {} off", self.name()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        let names: BTreeSet<&str> = Fault::every().map(Fault::name).collect();
        assert_eq!(names.len(), Fault::every().count());
        for fault in Fault::every() {
            assert_eq!(Fault::named(fault.name()), Some(fault));
        }
        assert_eq!(Fault::named("none"), None);
    }
}
