//! How each fault is switched on and off.

use anyhow::Result;

use crate::address::{
    BACKEND_NAMES, BACKENDS, BACKENDS_SECOND_ROUTER, BALANCER_SECOND_NETWORK, COORDINATOR_PORTS,
    DC1_NETWORK, EDGES, RESOLVERS, VIP,
};
use crate::app::{IN_FRONT, behaviour_file};
use crate::behaviour::{self, AppBehaviour, EdgeBehaviour};
use crate::daemons::{self, Shown, Zone};
use crate::fault::Fault;
use crate::shell;
use crate::topology::Lab;

/// Matches a SYN without ACK.
const SYN: &str = "tcp flags & (syn|ack) == syn";
/// Every address of the balancer, as an nftables set.
const BALANCER_SET: &str = "{ 10.0.0.10, 10.0.9.10, 203.0.113.10 }";
/// Backend 2.
const WEB2: &str = BACKENDS[1];

/// Switches a fault on or off.
pub fn switch(fault: Fault, lab: &mut Lab, on: bool) -> Result<()> {
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
        Fault::BackendFailsSeldom => application(lab, 1, on, AppBehaviour::Fail { share: 0.02 }),
        Fault::BackendSlow => application(lab, 2, on, AppBehaviour::Slow { ms: 4000 }),
        Fault::BackendSlow300Ms => application(lab, 1, on, AppBehaviour::Slow { ms: 300 }),
        Fault::BackendClosed => {
            lab.webs[0] = if on {
                None
            } else {
                Some(daemons::web(&lab.run, 0, &lab.certificates)?)
            };
            Ok(())
        }
        Fault::BackendTruncates => application(lab, 0, on, AppBehaviour::Truncate),
        Fault::BackendTruncatesLarge => application(lab, 1, on, AppBehaviour::TruncateLarge),
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
        Fault::BackendPortReuse => packets(lab, BACKEND_NAMES[1], on, &once_a_minute("")),
        Fault::BalancerPortReuse => {
            let to_vip = format!("ip daddr {VIP}");
            packets(lab, "lb", on, &once_a_minute(&to_vip))
        }
        Fault::HomeLossy => packets(lab, "gw1", on, &lossy_line()),
        Fault::PathLosesSyns => {
            let lose = lose(0.3);
            let rule = format!("forward ip saddr {BALANCER_SET} ip daddr {WEB2} {SYN} {lose}");
            packets(lab, "dc", on, &[rule])
        }
        Fault::ReturnAnswersLost => {
            let lose = lose(0.33);
            // Answers alone: what backend 2's own agent asks of the VIP must not suffer.
            let answers = "tcp sport { 80, 443 }";
            let rule = format!("forward ip saddr {WEB2} ip daddr {BALANCER_SET} {answers} {lose}");
            packets(lab, "dc", on, &[rule])
        }
        Fault::ReturnBlackHole => {
            let full = "meta length > 1400 drop";
            let rule = format!("forward ip saddr {WEB2} ip daddr {BALANCER_SET} {full}");
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

/// Only one SYN a minute from each address and port, as where closed connections are remembered and
/// TCP timestamps do not tell the new one from the old.
fn once_a_minute(which: &str) -> [String; 3] {
    let syn = format!("input {which} {SYN}");
    [
        "set used { type ipv4_addr . inet_service; flags dynamic, timeout; timeout 60s; }"
            .to_owned(),
        format!("{syn} ip saddr . tcp sport @used drop"),
        format!("{syn} add @used {{ ip saddr . tcp sport }}"),
    ]
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

/// Puts rules, each starting with the name of its hook, in force on a host, or takes them away. Sets
/// that they speak of come first.
fn packets(lab: &Lab, host: &str, on: bool, rules: &[String]) -> Result<()> {
    let namespace = lab.run.namespace(host);
    if !on {
        return shell::nft(&namespace, "delete table ip fault\n");
    }
    let mut script = String::from("table ip fault {\n");
    for set in rules.iter().filter(|rule| rule.starts_with("set ")) {
        script.push_str(set);
        script.push('\n');
    }
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
    use super::*;
    use crate::address::BALANCER;

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
