//! The faults, as values: each can be switched on and off while everything runs. Everything that is to
//! be said of a fault stands in one place, by where it strikes: how it is switched, what a person at
//! the keyboard sees of it, and whom a verdict must name.

mod backends;
mod balancers;
mod edges;
mod homes;
mod hosts;
mod names;
mod ways;

use std::time::Duration;

use anyhow::{Context, Result};

pub use self::backends::BackendFault;
pub use self::balancers::BalancerFault;
pub use self::edges::EdgeFault;
pub use self::homes::HomeFault;
pub use self::hosts::HostFault;
pub use self::names::NameFault;
pub use self::ways::WayFault;
use crate::blame::{Modes, origin};
use crate::expectation::Blame;
use crate::net::Balancer;
use crate::sign::Signs;
use crate::topology::Lab;
use crate::verdicts::Declared;

/// One thing that is broken, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Resolvers, name servers or the zone.
    Name(NameFault),
    /// A home's own network.
    Home(HomeFault),
    /// Edges, or their way to the balancer.
    Edge(EdgeFault),
    /// The balancer.
    Balancer(BalancerFault),
    /// A backend.
    Backend(BackendFault),
    /// A backend's host, whose kernel counts what it does not answer.
    Host(HostFault),
    /// A way between balancer and backends, or back.
    Way(WayFault),
    /// Backend 2 answers 500 to every page and home 1's resolver is not there.
    TwoAtOnce,
    /// Backend 2 drops SYNs and is slow at times.
    TwiceAtOnce,
}

/// How often a fault strikes what crosses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// Always.
    Hard,
    /// At times.
    Intermittent,
}

/// Whether a fault is one of those that a run goes through when none is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// It is.
    Usual,
    /// It strikes so rarely that only the watch over scheduled rounds finds it.
    Seldom,
    /// The arms of the product do not tell it from others yet.
    NotYet,
}

/// How much of a fault is known to who declares less than the whole path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// All of it.
    Clear,
    /// That something is wrong; these may be named, or must be among the candidates.
    Open(Vec<Blame>),
    /// Nothing: no probe that is left meets it.
    Hidden,
    /// That users are served, and these vantage points are not.
    TurnedAway(&'static [&'static str]),
}

/// What is to be said of a fault.
trait Row {
    /// The name on the command line.
    fn name(&self) -> &'static str;

    /// Whether it is run when none is asked for.
    fn listed(&self) -> Listed {
        Listed::Usual
    }

    /// How often it strikes.
    fn strength(&self) -> Strength {
        Strength::Hard
    }

    /// Seconds after which the path has settled into it.
    fn settles(&self) -> u64 {
        1
    }

    /// Whether it shows only to those who ask for the large object.
    fn strikes_large_answers(&self) -> bool {
        false
    }

    /// Whether it means anything with this balancer.
    fn fits(&self, balancer: Balancer) -> bool;

    /// Whom a mesh names that sees everything.
    fn truth(&self, balancer: Balancer) -> Vec<Blame>;

    /// The same as one must name it, or have it among its candidates, that has no agents on the hosts.
    fn unaided(&self, balancer: Balancer) -> Vec<Blame> {
        self.truth(balancer)
    }

    /// Hosts of which a mesh without agents on balancer and backends must ask for one, since it cannot
    /// tell this fault from others; none where it can.
    fn asks_for(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether a mesh that lacks an agent on the balancer alone can tell it from others.
    fn shows_beside(&self) -> bool {
        self.asks_for().iter().all(|host| *host != "lb")
    }

    /// Whether such a mesh may see nothing at all.
    fn needs_agents(&self) -> bool {
        false
    }

    /// What who declares no more than this can know.
    fn known(&self, declared: Declared, balancer: Balancer) -> Known;

    /// Switches it on or off.
    fn switch(&self, lab: &mut Lab, on: bool) -> Result<()>;

    /// What shows it.
    fn signs(&self, balancer: Balancer) -> Signs;
}

impl Fault {
    /// All of them, those too that are not run when none is asked for.
    pub fn every() -> impl Iterator<Item = Fault> {
        let names = NameFault::EVERY.into_iter().map(Fault::Name);
        names
            .chain(HomeFault::EVERY.into_iter().map(Fault::Home))
            .chain(EdgeFault::EVERY.into_iter().map(Fault::Edge))
            .chain(BalancerFault::EVERY.into_iter().map(Fault::Balancer))
            .chain(BackendFault::EVERY.into_iter().map(Fault::Backend))
            .chain(HostFault::EVERY.into_iter().map(Fault::Host))
            .chain(WayFault::EVERY.into_iter().map(Fault::Way))
            .chain([Fault::TwoAtOnce, Fault::TwiceAtOnce])
    }

    /// Those that a localisation finds within its budget, in the order of the path.
    pub fn usual() -> Vec<Fault> {
        let listed = |fault: &Fault| fault.listed() == Listed::Usual;
        Fault::every().filter(listed).collect()
    }

    /// The fault of this name.
    pub fn named(name: &str) -> Option<Fault> {
        Fault::every().find(|fault| fault.name() == name)
    }

    /// What it is made of: itself, or the two that it is.
    pub fn parts(self) -> Vec<Fault> {
        match self {
            Fault::TwoAtOnce => vec![
                Fault::Backend(BackendFault::Fails),
                Fault::Name(NameFault::ResolverDead),
            ],
            Fault::TwiceAtOnce => vec![
                Fault::Backend(BackendFault::DropsSyns),
                Fault::Backend(BackendFault::SlowSome),
            ],
            Fault::Name(_)
            | Fault::Home(_)
            | Fault::Edge(_)
            | Fault::Balancer(_)
            | Fault::Backend(_)
            | Fault::Host(_)
            | Fault::Way(_) => vec![self],
        }
    }

    /// The row of a fault that is one; of two, that of the first.
    fn row(&self) -> &dyn Row {
        match self {
            Fault::Name(fault) => fault,
            Fault::Home(fault) => fault,
            Fault::Edge(fault) => fault,
            Fault::Balancer(fault) => fault,
            Fault::Backend(fault) => fault,
            Fault::Host(fault) => fault,
            Fault::Way(fault) => fault,
            Fault::TwoAtOnce => &BackendFault::Fails,
            Fault::TwiceAtOnce => &BackendFault::DropsSyns,
        }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Fault::TwoAtOnce => "two-at-once",
            Fault::TwiceAtOnce => "backend-drops-syns-and-slow-some",
            Fault::Name(_)
            | Fault::Home(_)
            | Fault::Edge(_)
            | Fault::Balancer(_)
            | Fault::Backend(_)
            | Fault::Host(_)
            | Fault::Way(_) => self.row().name(),
        }
    }

    /// Whether it is run when none is asked for.
    pub fn listed(self) -> Listed {
        self.row().listed()
    }

    /// How often it strikes.
    pub fn strength(self) -> Strength {
        self.row().strength()
    }

    /// Whether it shows only to those who ask for the large object. Nobody does so otherwise: it would
    /// be a third more for every round of every other fault.
    pub fn strikes_large_answers(self) -> bool {
        self.row().strikes_large_answers()
    }

    /// How long after it is switched on the path has settled into it: health checks need two
    /// seconds, and resolvers forget an answer after five.
    pub fn settles(self) -> Duration {
        Duration::from_secs(self.row().settles())
    }

    /// Whether the fault means anything with this balancer.
    pub fn fits(self, balancer: Balancer) -> bool {
        self.row().fits(balancer)
    }

    /// The faults that are there, as a mesh that sees everything must name them.
    pub fn truth(self, balancer: Balancer) -> Vec<Blame> {
        let parts = self.parts();
        parts.iter().flat_map(|f| f.row().truth(balancer)).collect()
    }

    /// The fault that is one, as a mesh without agents on the hosts names it.
    pub fn unaided(self, balancer: Balancer) -> Vec<Blame> {
        self.row().unaided(balancer)
    }

    /// Hosts of which a mesh without agents on balancer and backends must ask for one.
    pub fn asks_for(self) -> &'static [&'static str] {
        self.row().asks_for()
    }

    /// Whether a mesh that lacks an agent on the balancer alone can tell it from others.
    pub fn shows_beside(self) -> bool {
        self.row().shows_beside()
    }

    /// Whether such a mesh may see nothing of it.
    pub fn needs_agents(self) -> bool {
        self.row().needs_agents()
    }

    /// What who declares no more than this can know of a fault that is one.
    pub fn known(self, declared: Declared, balancer: Balancer) -> Known {
        self.row().known(declared, balancer)
    }

    /// Who asks what, and what they see.
    pub fn signs(self, balancer: Balancer) -> Signs {
        let parts = self.parts();
        parts.iter().flat_map(|f| f.row().signs(balancer)).collect()
    }

    /// Switches the fault on.
    pub fn apply(self, lab: &mut Lab) -> Result<()> {
        self.switch(lab, true)
            .with_context(|| format!("switching {} on", self.name()))
    }

    /// Switches the fault off.
    pub fn revert(self, lab: &mut Lab) -> Result<()> {
        self.switch(lab, false)
            .with_context(|| format!("switching {} off", self.name()))
    }

    fn switch(self, lab: &mut Lab, on: bool) -> Result<()> {
        let parts = self.parts();
        parts.iter().try_for_each(|f| f.row().switch(lab, on))
    }
}

/// What clients of the edges know of something behind the balancer: that what stands behind them fails
/// in one of these ways; nothing where the balancer hides it from its clients.
fn behind_the_balancer(truth: &[Blame], modes: Modes) -> Known {
    if truth.iter().all(|blame| blame.user_impact == Some(false)) {
        return Known::Hidden;
    }
    Known::Open(vec![origin(modes)])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::expectation::Name;

    const BALANCERS: [Balancer; 4] = [Balancer::L7, Balancer::Tcp, Balancer::L4, Balancer::Dsr];

    #[test]
    fn names_are_unique_and_lead_back() {
        let names: BTreeSet<&str> = Fault::every().map(Fault::name).collect();
        assert_eq!(names.len(), Fault::every().count());
        for fault in Fault::every() {
            assert_eq!(Fault::named(fault.name()), Some(fault));
        }
        assert_eq!(Fault::named("none"), None);
    }

    #[test]
    fn every_fault_fits_somewhere_and_shows_there() {
        for fault in Fault::every() {
            let fits: Vec<Balancer> = BALANCERS.into_iter().filter(|b| fault.fits(*b)).collect();
            assert!(!fits.is_empty(), "{fault:?}");
            for balancer in fits {
                assert!(!fault.signs(balancer).is_empty(), "{fault:?}");
            }
        }
    }

    #[test]
    fn every_truth_has_a_mode_a_word_on_users_and_addresses_that_are_some() {
        for fault in Fault::every() {
            for balancer in BALANCERS.into_iter().filter(|b| fault.fits(*b)) {
                let blames = fault.truth(balancer);
                assert!(!blames.is_empty(), "{fault:?}");
                for blame in blames {
                    let checked = matches!(fault, Fault::Host(_)) && balancer.checks_health();
                    let tried = matches!(fault, Fault::Way(_)) && balancer == Balancer::Tcp;
                    let depends = checked || tried;
                    assert!(blame.user_impact.is_some() || depends, "{fault:?}");
                    for part in blame.parts {
                        assert!(!part.modes.is_empty(), "{fault:?}");
                        if let Name::Return { to, .. } = part.name {
                            assert!(!to.is_empty(), "{fault:?}");
                        }
                    }
                }
            }
        }
    }
}
