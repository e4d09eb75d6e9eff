//! `lab skew`: how far apart the agents' probes of one round really leave, taken from packets, and
//! whether the stamps on the observations are as good as they say.
//!
//! Namespaces share one clock, so that a packet's time and an observation's stamp can be compared as
//! they are; the agents do not know that and estimate their offsets as anywhere.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use localize::{Case, Observation, Outcome, Target, VantageName};

use crate::daemon::Daemon;
use crate::mesh::{Mesh, Schedule};
use crate::net::{Balancer, Options};
use crate::topology::Lab;
use crate::verdicts::{Coverage, Declared, Setting};

/// A packet and an observation farther apart than this are not of the same connection: ports come
/// around again after minutes.
const SAME_US: u64 = 500_000;
/// Share of the rounds whose stamps must hold.
const HELD: f64 = 0.99;

/// The times, in microseconds since the Unix epoch, of the SYNs of each connection, by
/// `client address.port > server address.port` as tcpdump writes it, and of the questions to each
/// name server or resolver, by `client address > server address`.
type Packets = BTreeMap<String, Vec<u64>>;

/// The first probe of a vantage point in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct First {
    scheduled_us: u64,
    wire_us: u64,
    stated_us: u64,
    uncertainty_us: u64,
}

/// Measures over so many rounds; true when the stamps hold in 99 % of them.
pub fn run(rounds: u32) -> Result<bool> {
    let lab = Lab::up(Options::default())?;
    let mut mesh = Mesh::start(
        &lab.run,
        Setting {
            coverage: Coverage::Full,
            declared: Declared::All,
            balancer: Balancer::L7,
        },
        &lab.certificates,
        Schedule::Dense,
    )?;
    // The agents' clocks need some exchanges to settle.
    std::thread::sleep(Duration::from_secs(10));
    let mut captures = Vec::new();
    for host in ["net", "dc", "gw1", "gw2"] {
        captures.push(capture(&lab, host)?);
    }
    let length = Duration::from_secs(u64::from(rounds) + 1);
    std::thread::sleep(length);
    mesh.check()?;
    let localized = mesh.localize()?;
    let file = lab.folder().join("skew.case.json");
    mesh.export_case(&localized.said.id, &file)?;
    let mut packets = Packets::new();
    for (daemon, log) in captures {
        daemon.stop();
        read_capture(&fs::read_to_string(&log)?, &mut packets);
    }
    let case: Case = serde_json::from_slice(&fs::read(&file)?).context("the exported case")?;
    report(&first_probes(&case.observations, &packets), rounds)
}

fn capture(lab: &Lab, host: &str) -> Result<(Daemon, PathBuf)> {
    let mut command = lab.run.command(host, "tcpdump");
    command.args(["-i", "any", "-Q", "in", "-n", "-tt", "-l", "-B", "8192"]);
    command.arg("tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn or udp dst port 53");
    let mut daemon = Daemon::start(&format!("tcpdump-{host}"), command, &lab.folder())?;
    let log = daemon.log().to_owned();
    daemon.wait_ready(|| listening(&log))?;
    Ok((daemon, log))
}

fn listening(log: &Path) -> bool {
    fs::read_to_string(log).is_ok_and(|text| text.contains("listening on"))
}

fn read_capture(text: &str, packets: &mut Packets) {
    for line in text.lines() {
        if let Some((flow, at_us)) = read_line(line) {
            packets.entry(flow).or_default().push(at_us);
        }
    }
}

/// `1763697000.123456 home1 In  IP 198.18.1.10.40000 > 198.51.100.11.443: Flags [S], ...`, or
/// `1763697000.123456 home1 In  IP 198.18.1.10.40000 > 192.0.2.53.53: 4711 A? shop.example. (41)`
fn read_line(line: &str) -> Option<(String, u64)> {
    let (seconds, rest) = line.split_once(' ')?;
    let (whole, micros) = seconds.split_once('.')?;
    let at_us = whole.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
    let (_, packet) = rest.split_once(" IP ")?;
    if let Some((flow, _)) = packet.split_once(": Flags [S]") {
        return Some((flow.to_owned(), at_us));
    }
    let (flow, _) = packet.split_once(".53: ")?;
    let (client, server) = flow.split_once(" > ")?;
    let (client, _port) = client.rsplit_once('.')?;
    Some((format!("{client} > {server}"), at_us))
}

/// The address that a vantage point's probes leave from when none is asked for.
type Sources = BTreeMap<VantageName, IpAddr>;

fn sources(observations: &[Observation]) -> Sources {
    let free = observations.iter().filter(|o| o.arm.source.is_none());
    let locals = free.filter_map(|o| {
        // What the balancer asks of its own address leaves from that address.
        let outward = !matches!(o.arm.target, Target::Vip { .. });
        let local = o.facts.tcp.as_ref().filter(|_| outward)?.local.ip();
        Some((o.vantage().clone(), local))
    });
    locals.collect()
}

/// The first probe on the wire of each vantage point, by round.
fn first_probes(
    observations: &[Observation],
    packets: &Packets,
) -> BTreeMap<u64, BTreeMap<VantageName, First>> {
    let sources = sources(observations);
    let mut rounds: BTreeMap<u64, BTreeMap<VantageName, First>> = BTreeMap::new();
    for observation in observations {
        let Some(first) = on_the_wire(observation, packets, &sources) else {
            continue;
        };
        let vantages = rounds.entry(observation.round.0).or_default();
        let known = vantages
            .entry(observation.vantage().clone())
            .or_insert(first);
        if first.wire_us < known.wire_us {
            *known = first;
        }
    }
    rounds
}

fn on_the_wire(observation: &Observation, packets: &Packets, sources: &Sources) -> Option<First> {
    let flow = match &observation.arm.target {
        Target::Resolver { server } | Target::NameServer { server, .. } => {
            let source = observation
                .arm
                .source
                .or(sources.get(observation.vantage()).copied())?;
            format!("{source} > {}", server.ip())
        }
        Target::Edge { address } | Target::Vip { address } | Target::Backend { address, .. } => {
            let local = observation.facts.tcp.as_ref()?.local;
            let (client, server) = (local.ip(), address.ip());
            format!("{client}.{} > {server}.{}", local.port(), address.port())
        }
    };
    if observation.outcome == Outcome::NotFired {
        return None;
    }
    let stated_us = observation.started.at_us;
    let times = packets.get(&flow)?.iter();
    let wire_us = *times.min_by_key(|at| at.abs_diff(stated_us))?;
    (wire_us.abs_diff(stated_us) < SAME_US).then_some(First {
        scheduled_us: observation.scheduled_us,
        wire_us,
        stated_us,
        uncertainty_us: observation.started.uncertainty_us,
    })
}

/// Whether the stated distance of two probes and the true one differ by no more than is admitted.
fn holds(a: &First, b: &First) -> bool {
    let distance = |x: u64, y: u64| i128::from(x) - i128::from(y);
    let stated = distance(a.stated_us, b.stated_us);
    let on_wire = distance(a.wire_us, b.wire_us);
    stated.abs_diff(on_wire) <= u128::from(a.uncertainty_us + b.uncertainty_us)
}

fn report(rounds: &BTreeMap<u64, BTreeMap<VantageName, First>>, wanted: u32) -> Result<bool> {
    let mut spreads = Vec::new();
    let mut admitted = Vec::new();
    let mut late = Vec::new();
    let mut held = 0_u32;
    let mut pairs = [0_u32; 2];
    for vantages in rounds.values().filter(|vantages| vantages.len() > 1) {
        let firsts: Vec<&First> = vantages.values().collect();
        let times = || firsts.iter().map(|first| first.wire_us);
        let (Some(earliest), Some(latest)) = (times().min(), times().max()) else {
            continue;
        };
        spreads.push(latest - earliest);
        late.extend(
            firsts
                .iter()
                .map(|f| f.wire_us.saturating_sub(f.scheduled_us)),
        );
        admitted.extend(firsts.iter().map(|first| first.uncertainty_us));
        let mut all = true;
        for (n, a) in firsts.iter().enumerate() {
            for b in &firsts[n + 1..] {
                let good = holds(a, b);
                pairs[usize::from(good)] += 1;
                all &= good;
            }
        }
        held += u32::from(all);
    }
    let count = u32::try_from(spreads.len())?;
    if count < wanted * 9 / 10 {
        bail!("{count} rounds of {wanted} were seen on the wire");
    }
    println!("rounds {count}, vantage points {}", most_vantages(rounds));
    println!("spread of the first packets:  {}", distribution(spreads));
    println!("after the announced instant:  {}", distribution(late));
    println!("stated uncertainty:           {}", distribution(admitted));
    let share = f64::from(held) / f64::from(count);
    let pair_share = f64::from(pairs[1]) / f64::from(pairs[0] + pairs[1]);
    println!(
        "stamps hold for every pair in {held} of {count} rounds ({:.1} %), for {:.2} % of the pairs",
        share * 100.0,
        pair_share * 100.0
    );
    Ok(share >= HELD)
}

fn most_vantages(rounds: &BTreeMap<u64, BTreeMap<VantageName, First>>) -> usize {
    rounds.values().map(BTreeMap::len).max().unwrap_or(0)
}

fn distribution(mut values: Vec<u64>) -> String {
    values.sort_unstable();
    let at = |per_mille: usize| {
        let index = values.len().saturating_sub(1) * per_mille / 1000;
        values.get(index).copied().unwrap_or(0)
    };
    format!(
        "p50 {} us, p90 {} us, p99 {} us, max {} us",
        at(500),
        at(900),
        at(990),
        at(1000)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_tcpdump_is_read() {
        let line = "1763697000.123456 home1 In  IP 198.18.1.10.40000 > 198.51.100.11.443: \
                    Flags [S], seq 1, win 64240, length 0";
        let flow = "198.18.1.10.40000 > 198.51.100.11.443".to_owned();
        assert_eq!(read_line(line), Some((flow, 1_763_697_000_123_456)));
        let line = "1763697000.000009 home1 In  IP 198.18.1.10.5353 > 192.0.2.53.53: \
                    4711 A? shop.example. (41)";
        let flow = "198.18.1.10 > 192.0.2.53".to_owned();
        assert_eq!(read_line(line), Some((flow, 1_763_697_000_000_009)));
        assert_eq!(read_line("listening on any"), None);
    }

    #[test]
    fn stamps_hold_within_the_sum_of_their_uncertainties() {
        let first = |wire_us, stated_us| First {
            scheduled_us: 0,
            wire_us,
            stated_us,
            uncertainty_us: 10,
        };
        assert!(holds(&first(1000, 1000), &first(2000, 2020)));
        assert!(!holds(&first(1000, 1000), &first(2000, 2021)));
    }
}
