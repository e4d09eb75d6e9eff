//! Traces on real packets: a host, three routers in a row and a target, each a network namespace, and the kernel's
//! own TCP and ICMP. Needs root, ip and nft, and says so when they are not there.

use std::net::TcpListener;
use std::process::Command;

use super::*;
use crate::namespaces::{self, Namespaces, run};

/// The host, the routers, the target; each is wired to the next.
const NAMES: [&str; 5] = ["a", "r1", "r2", "r3", "b"];
/// A port that nobody listens at, and where probes leave from.
const PORT: u16 = 443;
const FROM: u16 = 40_001;

/// Link `n` is 10.78.n.0/24 and fd78:0:0:n::/64: the end nearer to the host has the addresses that end in 1, the
/// other those that end in 2.
struct Lab(Namespaces);

impl Lab {
    fn new() -> Option<Self> {
        let mut hosts = Namespaces::new("tr")?;
        let settings = [
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv6/conf/default/accept_dad", "0"),
        ];
        for name in NAMES {
            hosts.add(name, &settings);
        }
        let lab = Self(hosts);
        for (n, ends) in NAMES.windows(2).enumerate() {
            let [near, far] = [lab.name(ends[0]), lab.name(ends[1])];
            run(&format!(
                "ip link add right netns {near} type veth peer name left netns {far}"
            ));
            for (host, interface, last) in [(&near, "right", 1), (&far, "left", 2)] {
                for address in [
                    format!("10.78.{n}.{last}/24 dev {interface}"),
                    format!("fd78:0:0:{n}::{last}/64 dev {interface} nodad"),
                ] {
                    run(&format!("ip -n {host} addr add {address}"));
                }
                run(&format!("ip -n {host} link set {interface} up"));
            }
        }
        lab.routes();
        Some(lab)
    }

    /// What is to the right goes there, and what is to the left goes back.
    fn routes(&self) {
        let last = NAMES.len() - 1;
        for (place, name) in NAMES.iter().enumerate() {
            let host = self.name(name);
            for n in 0..last {
                let via = match () {
                    () if n > place => (place, 2),
                    () if n + 1 < place => (place - 1, 1),
                    () => continue,
                };
                let (link, end) = via;
                run(&format!(
                    "ip -n {host} route add 10.78.{n}.0/24 via 10.78.{link}.{end}"
                ));
                run(&format!(
                    "ip -n {host} route add fd78:0:0:{n}::/64 via fd78:0:0:{link}::{end}"
                ));
            }
        }
    }

    fn name(&self, host: &str) -> String {
        self.0.name(host)
    }

    /// Runs the function on a thread of its own in a host.
    fn inside<T: Send>(&self, host: &str, function: impl FnOnce() -> T + Send) -> T {
        namespaces::inside(&self.name(host), function)
    }

    /// Puts a rule in force on a host, in the place of the one before.
    fn rule(&self, host: &str, rule: &str) {
        let hook = rule.split(' ').next().unwrap();
        let rest = &rule[hook.len()..];
        let chain = format!("type filter hook {hook} priority 0;{rest};");
        let script = format!(
            "table inet t\ndelete table inet t\ntable inet t {{\nchain c {{\n{chain}\n}}\n}}\n"
        );
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.name(host), "nft", &script]);
        assert!(nft.status().unwrap().success(), "{script}");
    }

    /// Traces from the host to the target, from the probe's port.
    fn trace(&self, to: &str) -> Found {
        let to: SocketAddr = to.parse().unwrap();
        let own: IpAddr = match to.is_ipv4() {
            true => "10.78.0.1".parse().unwrap(),
            false => "fd78::1".parse().unwrap(),
        };
        let from = SocketAddr::new(own, FROM);
        self.inside("a", || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build().unwrap();
            runtime.block_on(trace(Lost { from, to }, LONGEST, &Clock::start()))
        })
        .unwrap()
    }
}

/// What was heard, without times: routers by the link that they answered on.
fn words(found: &Found) -> String {
    let word = |heard: &Heard| match heard {
        Heard::Silence => "-".to_owned(),
        Heard::Expired { by, .. } => link(*by),
        Heard::Unreachable { by, code, .. } => format!("{} says {code}", link(*by)),
        Heard::Accepted { .. } => "accepted".to_owned(),
        Heard::Refused { .. } => "refused".to_owned(),
        Heard::Unsent => "unsent".to_owned(),
    };
    let hops: Vec<String> = found.hops.iter().map(word).collect();
    let whole = found.whole.as_ref().map(word);
    whole.map_or(hops.join(" "), |whole| {
        format!("{}, whole {whole}", hops.join(" "))
    })
}

/// The router whose left end has the address.
fn link(by: IpAddr) -> String {
    let router = (0..3).find(|n| {
        let [v4, v6] = [format!("10.78.{n}.2"), format!("fd78:0:0:{n}::2")];
        [v4, v6].iter().any(|own| own.parse() == Ok(by))
    });
    router.map_or_else(|| by.to_string(), |n| format!("r{}", n + 1))
}

const TARGET: &str = "10.78.3.2:443";

#[test]
fn routers_answer_by_their_place_and_the_target_by_itself() {
    let Some(lab) = Lab::new() else {
        return;
    };
    for to in [TARGET, "[fd78:0:0:3::2]:443"] {
        let refused = lab.trace(to);
        assert_eq!(words(&refused), "r1 r2 r3 refused", "{to}");
        // From where the probe had left, packet by packet.
        assert_eq!(refused.from.port(), FROM);
    }
    let listener = lab.inside("b", || TcpListener::bind(("10.78.3.2", PORT)).unwrap());
    assert_eq!(words(&lab.trace(TARGET)), "r1 r2 r3 accepted");
    drop(listener);
    // The probe's port is somebody else's by now.
    let taken = lab.inside("a", || TcpListener::bind(("10.78.0.1", FROM)).unwrap());
    let found = lab.trace(TARGET);
    assert_eq!(words(&found), "r1 r2 r3 refused");
    assert_ne!(found.from.port(), FROM);
    drop(taken);
}

#[test]
fn what_is_lost_is_lost_behind_the_last_that_answers() {
    let Some(lab) = Lab::new() else {
        return;
    };
    lab.rule("b", "input tcp dport 443 drop");
    assert_eq!(words(&lab.trace(TARGET)), "r1 r2 r3, whole -");
    lab.rule("r2", "forward tcp dport 443 drop");
    assert_eq!(words(&lab.trace(TARGET)), "r1 r2, whole -");
    lab.rule(
        "r2",
        "forward tcp dport 443 reject with icmp admin-prohibited",
    );
    assert_eq!(words(&lab.trace(TARGET)), "r1 r2 r2 says 13");
    // A filter of the host's own says nothing to who sends, and nobody answers then.
    lab.rule("a", "output tcp dport 443 drop");
    assert_eq!(words(&lab.trace(TARGET)), ", whole -");
    // The host has no route there.
    assert_eq!(words(&lab.trace("198.51.100.1:443")), "unsent");
}

/// A router that keeps silent, or answers now and then, loses nothing: the target has answered.
#[test]
fn who_is_silent_on_the_way_is_no_loss() {
    let Some(lab) = Lab::new() else {
        return;
    };
    lab.rule("r2", "output icmp type time-exceeded drop");
    assert_eq!(words(&lab.trace(TARGET)), "r1 - r3 refused");
    lab.rule(
        "r2",
        "output icmp type time-exceeded limit rate over 1/hour burst 1 packets drop",
    );
    assert_eq!(words(&lab.trace(TARGET)), "r1 r2 r3 refused");
    assert_eq!(words(&lab.trace(TARGET)), "r1 - r3 refused");
    // And where the target is silent as well, the last that answers is the one behind it.
    lab.rule("b", "input tcp dport 443 drop");
    assert_eq!(words(&lab.trace(TARGET)), "r1 - r3, whole -");
}

#[test]
fn a_target_is_traced_once_a_minute_and_few_at_once() {
    let tracer = Tracer::default();
    let target = |n: u8| SocketAddr::from(([192, 0, 2, n], 443));
    let now = Local(1_000_000_000);
    let begin = |n: u8, now: Local| tracer.begin(target(n), now, || true);
    assert!(tracer.begin(target(1), now, || false).is_none());
    // What the limits refuse is not traced, and may be a little later.
    let mut places: Vec<_> = (1..=4).map(|n| begin(n, now)).collect();
    assert!(places.iter().all(Option::is_some));
    assert!(begin(5, now).is_none(), "four at once");
    places.clear();
    assert!(begin(5, now).is_some());
    assert!(begin(1, now.after(Duration::from_secs(59))).is_none());
    assert!(begin(1, now.after(Duration::from_secs(60))).is_some());
}
