//! What agents on the hosts see of probes' handshakes.

use std::net::SocketAddr;

use localize::topology::BALANCER_HOST;
use localize::{Arm, Direction, FlowSighting, Packet, Seen, Stamp, Target, WitnessReport};

use super::site::Balancing;
use super::wire::Fetched;
use super::world::World;

/// How well stamps are known, in microseconds.
const UNCERTAINTY_US: u64 = 300;

/// Notes what the witness at the far end of a probe has seen.
pub(crate) fn note(
    world: &mut World,
    vantage: usize,
    arm: &Arm,
    client: SocketAddr,
    at_us: u64,
    fetched: &Fetched,
) {
    let (host, server) = match &arm.target {
        Target::Vip { address } if world.site.balancing == Balancing::Proxied => {
            (BALANCER_HOST, *address)
        }
        Target::Backend { name, address } => (name.as_str(), *address),
        Target::Vip { .. }
        | Target::Resolver { .. }
        | Target::NameServer { .. }
        | Target::Edge { .. } => {
            return;
        }
    };
    let mut vantages = world.site.vantages.iter();
    let Some(witness) = vantages.position(|v| v.point.host.as_deref() == Some(host)) else {
        return;
    };
    if witness == vantage || !world.site.vantages[witness].point.witness {
        return;
    }
    let handshake = &fetched.handshake;
    let seen = |packet, direction, count, later| Seen {
        packet,
        direction,
        interface: "eth0".to_owned(),
        count,
        first: Stamp {
            at_us: at_us + later,
            uncertainty_us: UNCERTAINTY_US,
        },
        options: None,
    };
    let mut all = Vec::new();
    if handshake.arrived > 0 {
        all.push(seen(Packet::Syn, Direction::In, handshake.arrived, 150));
    }
    if handshake.answered > 0 {
        all.push(seen(
            Packet::SynAck,
            Direction::Out,
            handshake.answered,
            160,
        ));
    }
    if handshake.reset {
        all.push(seen(Packet::ResetByServer, Direction::Out, 1, 165));
    }
    if !all.is_empty() {
        let flow = FlowSighting {
            client,
            server,
            seen: all,
        };
        world.sighted.push((witness, at_us, flow));
    }
}

/// Every witness's report of a stretch, whether it saw anything or not.
pub(crate) fn reports(world: &mut World, from_us: u64, to_us: u64) -> Vec<WitnessReport> {
    let stamp = |at_us| Stamp {
        at_us,
        uncertainty_us: UNCERTAINTY_US,
    };
    let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut world.sighted)
        .into_iter()
        .partition(|(_, at, _)| *at < to_us);
    world.sighted = later;
    let vantages = 0..world.site.vantages.len();
    let witnesses = vantages.filter(|v| world.site.vantages[*v].point.witness);
    let mut reports = Vec::new();
    for witness in witnesses.collect::<Vec<_>>() {
        world.sequences[witness] += 1;
        let own = now.iter().filter(|(by, _, _)| *by == witness);
        reports.push(WitnessReport {
            witness: world.site.vantages[witness].point.name.clone(),
            sequence: world.sequences[witness],
            from: stamp(from_us),
            to: stamp(to_us),
            dropped: 0,
            flows: own.map(|(_, _, flow)| flow.clone()).collect(),
            host: None,
            packets: Vec::new(),
        });
    }
    reports
}
