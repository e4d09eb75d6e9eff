//! The faults, as values: each can be switched on and off while everything runs.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::address::{
    BACKEND_NAMES, BACKENDS, BACKENDS_SECOND_ROUTER, BALANCER_SECOND_NETWORK, COORDINATOR_PORTS,
    DC1_NETWORK, EDGES, RESOLVERS, VIP,
};
use crate::app::{IN_FRONT, behaviour_file};
use crate::behaviour::{self, AppBehaviour, EdgeBehaviour};
use crate::daemons::{self, Shown, Zone};
use crate::net::Balancer;
use crate::shell;
use crate::topology::Lab;

/// Matches a SYN without ACK.
const SYN: &str = "tcp flags & (syn|ack) == syn";
/// Every address of the balancer, as an nftables set.
const BALANCER_SET: &str = "{ 10.0.0.10, 10.0.9.10, 203.0.113.10 }";
/// Backend 2.
const WEB2: &str = BACKENDS[1];

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
    /// Backend 3 takes four seconds longer.
    BackendSlow,
    /// Backend 1's port is closed, and the balancer's health checks have taken it out.
    BackendClosed,
    /// Backend 2's stack does not answer 40 % of the SYNs that reach it.
    BackendDropsSyns,
    /// Backend 3 resets connections once it has read the request.
    BackendResets,
    /// Backend 1 sends half the body that it declares.
    BackendTruncates,
    /// Backend 2 serves another page than its peers.
    BackendOtherBody,
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
    /// Every fault, in the order of the path.
    pub const ALL: [Fault; 26] = [
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
        Fault::BackendClosed,
        Fault::BackendDropsSyns,
        Fault::BackendResets,
        Fault::BackendTruncates,
        Fault::BackendOtherBody,
        Fault::HomeLossy,
        Fault::PathLosesSyns,
        Fault::ReturnRouteBalancer,
        Fault::ReturnRouteDc1,
        Fault::ReturnAnswersLost,
        Fault::TwoAtOnce,
    ];

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
            Fault::BackendSlow => "backend-slow",
            Fault::BackendClosed => "backend-closed",
            Fault::BackendDropsSyns => "backend-drops-syns",
            Fault::BackendResets => "backend-resets",
            Fault::BackendTruncates => "backend-truncates",
            Fault::BackendOtherBody => "backend-other-body",
            Fault::HomeLossy => "home-lossy",
            Fault::PathLosesSyns => "path-loses-syns",
            Fault::ReturnRouteBalancer => "return-route-balancer",
            Fault::ReturnRouteDc1 => "return-route-dc1",
            Fault::ReturnAnswersLost => "return-answers-lost",
            Fault::TwoAtOnce => "two-at-once",
        }
    }

    /// The fault of this name.
    pub fn named(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// How often it strikes.
    pub fn strength(self) -> Strength {
        match self {
            Fault::ResolverLossy
            | Fault::AuthoritativeRemovedEdge
            | Fault::EdgesReset
            | Fault::BackendFailsSome
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
            | Fault::BackendClosed
            | Fault::BackendResets
            | Fault::BackendTruncates
            | Fault::BackendOtherBody
            | Fault::ReturnRouteBalancer
            | Fault::ReturnRouteDc1
            | Fault::TwoAtOnce => Strength::Hard,
        }
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
    /// certificate and no answers of its own, and a kernel's translation has no process.
    pub fn fits(self, balancer: Balancer) -> bool {
        let of_proxy = matches!(self, Fault::Balancer503 | Fault::BalancerExpired);
        // The application stands in for nginx here, and does not speak TLS.
        let plain = self == Fault::BackendResets;
        match balancer {
            Balancer::L7 => true,
            Balancer::Tcp => !of_proxy && !plain,
            Balancer::L4 => !of_proxy && !plain && self != Fault::BalancerDead,
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

fn switch(fault: Fault, lab: &mut Lab, on: bool) -> Result<()> {
    match fault {
        Fault::ResolverDead => resolver_dead(lab, on),
        Fault::ResolverLossy => {
            let lose = lose(0.45);
            let rule = format!("output ip saddr {} udp sport 53 {lose}", RESOLVERS[1]);
            packets(lab, "gw2", on, &[rule])
        }
        Fault::AuthoritativeRefuses => zone(lab, 0, if on { Zone::Refuses } else { Zone::Well }),
        Fault::AuthoritativeRemovedEdge => {
            zone(lab, 1, if on { Zone::RemovedEdge } else { Zone::Well })
        }
        Fault::EdgeAnswers500 => edge(lab, 0, on, EdgeBehaviour::Answer { status: 500 }),
        Fault::EdgeStalls => edge(lab, 1, on, EdgeBehaviour::Stall),
        Fault::EdgesReset => {
            let behaviour = EdgeBehaviour::Reset { share: 0.3 };
            edge(lab, 0, on, behaviour)?;
            edge(lab, 1, on, behaviour)
        }
        Fault::EdgeExpired => edge(lab, 0, on, EdgeBehaviour::ExpiredCertificate),
        Fault::EdgeCutOff => {
            let rule = format!("forward ip saddr {} ip daddr {VIP} drop", EDGES[0]);
            packets(lab, "dc", on, &[rule])
        }
        Fault::BalancerDead => balancer(lab, if on { None } else { Some(Shown::Good) }),
        Fault::Balancer503 => balancer_without_servers(lab, on),
        Fault::BalancerExpired => {
            balancer(lab, Some(if on { Shown::Expired } else { Shown::Good }))
        }
        Fault::BackendFails => application(lab, 1, on, AppBehaviour::Fail { share: 1.0 }),
        Fault::BackendFailsSome => application(lab, 1, on, AppBehaviour::Fail { share: 0.2 }),
        Fault::BackendSlow => application(lab, 2, on, AppBehaviour::Slow { ms: 4000 }),
        Fault::BackendClosed => {
            lab.webs[0] = if on {
                None
            } else {
                Some(daemons::web(&lab.run, 0, &lab.certificates)?)
            };
            Ok(())
        }
        Fault::BackendTruncates => application(lab, 0, on, AppBehaviour::Truncate),
        Fault::BackendOtherBody => application(lab, 1, on, AppBehaviour::WrongBody),
        Fault::BackendResets => {
            application(lab, 2, on, AppBehaviour::Reset)?;
            let port = IN_FRONT.rsplit_once(':').map_or("8081", |(_, port)| port);
            redirect(lab, BACKEND_NAMES[2], on, port)
        }
        Fault::BackendDropsSyns => {
            let rule = format!("input tcp dport {{ 80, 443 }} {SYN} {}", lose(0.4));
            packets(lab, BACKEND_NAMES[1], on, &[rule])
        }
        Fault::HomeLossy => packets(lab, "gw1", on, &lossy_line()),
        Fault::PathLosesSyns => {
            let lose = lose(0.3);
            let rule = format!("forward ip saddr {BALANCER_SET} ip daddr {WEB2} {SYN} {lose}");
            packets(lab, "dc", on, &[rule])
        }
        Fault::ReturnAnswersLost => {
            let lose = lose(0.33);
            let rule = format!("forward ip saddr {WEB2} ip daddr {BALANCER_SET} {lose}");
            packets(lab, "dc", on, &[rule])
        }
        Fault::ReturnRouteBalancer => route(lab, BALANCER_SECOND_NETWORK, on),
        Fault::ReturnRouteDc1 => route(lab, DC1_NETWORK, on),
        Fault::TwoAtOnce => {
            switch(Fault::BackendFails, lab, on)?;
            switch(Fault::ResolverDead, lab, on)
        }
    }
}

/// Loss on a home's line, both ways. Our own link is spared: the fault is to be localised while it
/// lasts.
fn lossy_line() -> [String; 4] {
    let [first, second] = COORDINATOR_PORTS;
    let own = format!("{{ {first}, {second} }}");
    let lose = lose(0.35);
    [
        format!("prerouting iifname lan tcp dport {own} accept"),
        format!("prerouting iifname lan {lose}"),
        format!("postrouting oifname lan tcp sport {own} accept"),
        format!("postrouting oifname lan {lose}"),
    ]
}

/// The end of an nftables rule that drops this share of the packets.
pub fn lose(share: f64) -> String {
    format!("numgen random mod 10000 < {:.0} drop", share * 10_000.0)
}

/// Puts rules, each starting with the name of its hook, in force on a host, or takes them away.
fn packets(lab: &Lab, host: &str, on: bool, rules: &[String]) -> Result<()> {
    let namespace = lab.run.namespace(host);
    if !on {
        return shell::nft(&namespace, "delete table ip fault\n");
    }
    let mut script = String::from("table ip fault {\n");
    let hooks = ["prerouting", "input", "forward", "output", "postrouting"];
    for hook in hooks {
        script.push_str(&format!(
            "chain {hook} {{ type filter hook {hook} priority -10;\n"
        ));
        for rule in rules {
            if let Some(rule) = rule.strip_prefix(hook) {
                script.push_str(rule);
                script.push('\n');
            }
        }
        script.push_str("}\n");
    }
    script.push_str("}\n");
    shell::nft(&namespace, &script)
}

fn redirect(lab: &Lab, host: &str, on: bool, port: &str) -> Result<()> {
    let script = if on {
        format!(
            "table ip fault {{\nchain to {{ type nat hook prerouting priority -100;\n\
             tcp dport 80 redirect to :{port}\n}}\n}}\n"
        )
    } else {
        "delete table ip fault\n".to_owned()
    };
    shell::nft(&lab.run.namespace(host), &script)
}

fn resolver_dead(lab: &mut Lab, on: bool) -> Result<()> {
    // The old process must be gone before its successor can listen.
    lab.resolvers[0] = None;
    if !on {
        lab.resolvers[0] = Some(daemons::resolver(&lab.run, 0)?);
    }
    Ok(())
}

fn zone(lab: &mut Lab, number: usize, zone: Zone) -> Result<()> {
    lab.name_servers[number] = None;
    lab.name_servers[number] = Some(daemons::name_server(&lab.run, number, zone)?);
    Ok(())
}

fn edge(lab: &Lab, number: usize, on: bool, broken: EdgeBehaviour) -> Result<()> {
    let file = daemons::edge_behaviour_file(&lab.run, number);
    behaviour::write(&file, if on { broken } else { EdgeBehaviour::Proxy })
}

fn application(lab: &Lab, number: usize, on: bool, broken: AppBehaviour) -> Result<()> {
    let file = behaviour_file(&lab.folder(), BACKEND_NAMES[number]);
    behaviour::write(&file, if on { broken } else { AppBehaviour::Well })
}

fn balancer(lab: &mut Lab, shown: Option<Shown>) -> Result<()> {
    lab.balancer = None;
    if let Some(shown) = shown {
        lab.balancer = Some(daemons::balancer(
            &lab.run,
            &lab.certificates,
            shown,
            lab.mode,
        )?);
    }
    Ok(())
}

fn balancer_without_servers(lab: &Lab, on: bool) -> Result<()> {
    let state = if on { "maint" } else { "ready" };
    for server in daemons::balancer_servers() {
        daemons::order_balancer(&lab.run, &format!("set server web/{server} state {state}"))?;
    }
    Ok(())
}

/// Backend 1's answers to a network leave by its second interface, whose link forwards nothing from
/// a foreign source.
fn route(lab: &Lab, network: &str, on: bool) -> Result<()> {
    let web1 = lab.run.namespace(BACKEND_NAMES[0]);
    let verb = if on { "add" } else { "del" };
    let router = BACKENDS_SECOND_ROUTER[0];
    shell::ip(&format!(
        "-n {web1} route {verb} {network} via {router} dev eth1"
    ))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::address::BALANCER;

    #[test]
    fn names_are_unique_and_lead_back() {
        let names: BTreeSet<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(fault));
        }
        assert_eq!(Fault::named("none"), None);
    }

    #[test]
    fn the_set_holds_the_balancers_addresses() {
        for address in BALANCER.into_iter().chain([VIP]) {
            assert!(BALANCER_SET.contains(address));
        }
    }

    #[test]
    fn losses_are_in_ten_thousandths() {
        assert_eq!(lose(0.003), "numgen random mod 10000 < 30 drop");
        assert_eq!(lose(0.45), "numgen random mod 10000 < 4500 drop");
    }
}
