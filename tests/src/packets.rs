//! Rules for packets, put in force on a host and taken away again.

use anyhow::Result;

use crate::shell;
use crate::topology::Lab;

/// Matches a SYN without ACK.
pub const SYN: &str = "tcp flags & (syn|ack) == syn";
/// Every address of the balancer, as an nftables set.
pub const BALANCER_SET: &str = "{ 10.0.0.10, 10.0.9.10, 203.0.113.10 }";
/// The data centre's links to the balancer, as an nftables set.
pub const FROM_BALANCER: &str = "iifname { lba, lbb }";

/// The end of an nftables rule that drops this share of the packets.
pub fn lose(share: f64) -> String {
    format!("numgen random mod 10000 < {:.0} drop", share * 10_000.0)
}

/// Only one SYN a minute from each address and port, as where closed connections are remembered and
/// TCP timestamps do not tell the new one from the old.
pub fn once_a_minute(which: &str) -> [String; 3] {
    let syn = format!("input {which} {SYN}");
    [
        "set used { type ipv4_addr . inet_service; flags dynamic, timeout; timeout 60s; }"
            .to_owned(),
        format!("{syn} ip saddr . tcp sport @used drop"),
        format!("{syn} add @used {{ ip saddr . tcp sport }}"),
    ]
}

/// Puts rules, each starting with the name of its hook, in force on a host, or takes them away. Sets
/// that they speak of come first.
pub fn packets(lab: &Lab, host: &str, on: bool, rules: &[String]) -> Result<()> {
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

/// Loads a chain of address translation on a host, or takes it away.
pub fn translate(lab: &Lab, host: &str, on: bool, chain: &str) -> Result<()> {
    let script = if on {
        format!("table ip fault {{\nchain to {{\n{chain}\n}}\n}}\n")
    } else {
        "delete table ip fault\n".to_owned()
    };
    shell::nft(&lab.run.namespace(host), &script)
}

/// Adds a route on a host, or removes it.
pub fn route(lab: &Lab, host: &str, on: bool, route: &str) -> Result<()> {
    let namespace = lab.run.namespace(host);
    let verb = if on { "add" } else { "del" };
    shell::ip(&format!("-n {namespace} route {verb} {route}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{BALANCER, VIP};

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
