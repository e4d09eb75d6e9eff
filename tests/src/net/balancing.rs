//! How the balancer works, where the kernel itself is one.

use anyhow::Result;

use super::{Options, set};
use crate::address::{BACKEND_NAMES, BACKENDS, BALANCER, VIP};
use crate::namespace::Run;
use crate::packets::FROM_BALANCER;
use crate::shell;

/// The ports that the kernel's translation gives to connections: whichever is free.
pub const EVERY_PORT: &str = "";
/// The same for a translation that has few: as many as connections to one backend are open in a round.
pub const FEW_PORTS: &str = ":20000-20015";

/// Who connects to the VIP.
const CLIENTS: [&str; 8] = [
    "edge1", "edge2", "cdn1", "dc1", "lb", "web1", "web2", "web3",
];

/// How the balancer works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Balancer {
    /// HAProxy ends TLS and speaks HTTP to the backends.
    #[default]
    L7,
    /// HAProxy passes the bytes of a connection on; the backends end TLS.
    Tcp,
    /// The kernel translates addresses packet by packet; the backends answer the SYN and end TLS.
    L4,
    /// The kernel sends each flow to a backend that has the VIP as an address of its own and answers
    /// clients itself: direct server return.
    Dsr,
}

impl Balancer {
    /// Whether it takes backends out of use by itself. A kernel's translation asks nobody.
    pub fn checks_health(self) -> bool {
        match self {
            Balancer::L7 | Balancer::Tcp => true,
            Balancer::L4 | Balancer::Dsr => false,
        }
    }

    /// The port on which it reaches the backends: without TLS, which it ended itself, or with it.
    pub fn backend_port(self) -> u16 {
        match self {
            Balancer::L7 => 80,
            Balancer::Tcp | Balancer::L4 | Balancer::Dsr => 443,
        }
    }
}

/// Gives the balancer its addresses, and its rules where it is the kernel.
pub(super) fn build(run: &Run, options: Options) -> Result<()> {
    second_address(run)?;
    let balancer = options.balancer;
    let lb = run.namespace("lb");
    match balancer {
        Balancer::L7 | Balancer::Tcp => own_vip(run),
        Balancer::L4 => {
            own_vip(run)?;
            set(&lb, &["net.ipv4.ip_forward=1"])?;
            shell::nft(&lb, &translation(EVERY_PORT))?;
            match options.few_ports {
                true => few_ports(run, true),
                false => Ok(()),
            }
        }
        Balancer::Dsr => direct_return(run),
    }
}

/// The VIP is the balancer's own.
fn own_vip(run: &Run) -> Result<()> {
    let lb = run.namespace("lb");
    shell::ip(&format!("-n {lb} addr add {VIP}/32 dev eth0"))?;
    Ok(())
}

/// What leaves the balancer from its second address uses its second link.
fn second_address(run: &Run) -> Result<()> {
    let lb = run.namespace("lb");
    shell::ip(&format!(
        "-n {lb} route add default via 10.0.9.1 dev eth1 table 9"
    ))?;
    shell::ip(&format!("-n {lb} rule add from {} lookup 9", BALANCER[1]))?;
    Ok(())
}

/// A balancer of the kernel's own: backends in turn, answers forced back through it, from these ports.
pub fn translation(ports: &str) -> String {
    let [web1, web2, web3] = BACKENDS;
    let forward = format!(
        "ip daddr {VIP} tcp dport 443 dnat to numgen inc mod 3 map {{ 0 : {web1}, 1 : {web2}, 2 : {web3} }}"
    );
    format!(
        "table ip balancer {{\n\
         chain from_others {{ type nat hook prerouting priority -100;\n {forward}\n }}\n\
         chain from_itself {{ type nat hook output priority -100;\n {forward}\n }}\n\
         chain back {{ type nat hook postrouting priority 100;\n\
         ct status dnat meta l4proto tcp snat to {}{ports}\n }}\n}}\n",
        BALANCER[0]
    )
}

/// Gives the balancer few ports for its connections, whatever its translation remembers of them: each comes
/// round within seconds. Clients that are many behind one address must not count their timestamps from
/// places of their own, or a server takes those of one for older than those of another.
pub fn few_ports(run: &Run, few: bool) -> Result<()> {
    let lb = run.namespace("lb");
    let (remembered, ports, timestamps) = match few {
        true => (1, FEW_PORTS, 2),
        false => (120, EVERY_PORT, 1),
    };
    let states = ["time_wait", "fin_wait", "last_ack", "close"];
    let states = states.map(|s| format!("net.netfilter.nf_conntrack_tcp_timeout_{s}={remembered}"));
    set(&lb, &states.each_ref().map(String::as_str))?;
    for client in CLIENTS {
        let counted = format!("net.ipv4.tcp_timestamps={timestamps}");
        set(&run.namespace(client), &[&counted])?;
    }
    shell::nft(&lb, "delete table ip balancer\n")?;
    shell::nft(&lb, &translation(ports))
}

/// A director that sends each flow to one of the backends, which have the VIP and answer clients past
/// it. It marks packets with a class of service, by which the router, in the place of a switch that
/// goes by the backends' link addresses, tells them apart; the packets stay as they are otherwise.
fn direct_return(run: &Run) -> Result<()> {
    let lb = run.namespace("lb");
    // It sends packets out by the link that they came in on.
    let settings = ["all", "eth0"].map(|i| format!("net.ipv4.conf.{i}.send_redirects=0"));
    set(&lb, &["net.ipv4.ip_forward=1", &settings[0], &settings[1]])?;
    let flow = "meta mark set jhash ip saddr . tcp sport mod 3 seed 7";
    let mut choose = format!("ip daddr {VIP} tcp dport 443 {flow}\n");
    let mut deliver = String::new();
    let dc = run.namespace("dc");
    for (n, (host, address)) in BACKEND_NAMES.iter().zip(BACKENDS).enumerate() {
        let class = n + 1;
        choose.push_str(&format!(
            "ip daddr {VIP} meta mark {n} ip dscp set cs{class}\n"
        ));
        deliver.push_str(&format!(
            "ip daddr {VIP} ip dscp cs{class} meta mark set {class}\n"
        ));
        let web = run.namespace(host);
        shell::ip(&format!("-n {web} addr add {VIP}/32 dev lo"))?;
        shell::ip(&format!("-n {dc} rule add fwmark {class} lookup 10{class}"))?;
        shell::ip(&format!(
            "-n {dc} route add {VIP}/32 via {address} table 10{class}"
        ))?;
    }
    shell::nft(
        &lb,
        &format!(
            "table ip balancer {{\n\
             chain from_others {{ type filter hook prerouting priority -150;\n{choose}}}\n\
             chain from_itself {{ type route hook output priority -150;\n{choose}}}\n}}\n"
        ),
    )?;
    shell::nft(
        &dc,
        &format!(
            "table ip switch {{\n\
             chain deliver {{\n{deliver}}}\n\
             chain arrive {{ type filter hook prerouting priority -150;\n{FROM_BALANCER} jump deliver\n}}\n}}\n"
        ),
    )
}
