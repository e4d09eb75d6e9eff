//! By which interfaces requests come in at a host and its answers leave, for the address that they do not come back to
//! and for the others.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::kernel::listed;
use super::{Scene, remark};
use crate::facts::sighting::{Direction, Packet};
use crate::judgement::verdict::Evidence;
use crate::world::part::{Destination, What};

/// Addresses that are shown beside the one in question.
const OTHERS: usize = 2;

/// The interfaces of one client's handshakes.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Ways<'a> {
    arrived_by: BTreeSet<&'a str>,
    left_by: BTreeSet<&'a str>,
}

impl Ways<'_> {
    /// Answers leave, and by no interface that requests come in by.
    fn part(&self) -> bool {
        !self.left_by.is_empty() && self.left_by.is_disjoint(&self.arrived_by)
    }
}

/// Where answers to an address leave by another interface than its requests come in by, which these are.
pub(super) fn routes(scene: Scene<'_>, what: &What) -> Option<Evidence> {
    let What::Return { host, to } = what else {
        return None;
    };
    let (witness, reports) = scene.reports_of(host)?;
    let mut ways: BTreeMap<IpAddr, Ways<'_>> = BTreeMap::new();
    let flows = reports.iter().flat_map(|report| &report.flows);
    for (client, seen) in
        flows.flat_map(|flow| flow.seen.iter().map(|seen| (flow.client.ip(), seen)))
    {
        let own = ways.entry(client).or_default();
        let by = match (seen.packet, seen.direction) {
            (Packet::Syn, Direction::In) => &mut own.arrived_by,
            (Packet::SynAck, Direction::Out) => &mut own.left_by,
            _ => continue,
        };
        by.insert(&seen.interface);
    }
    let (struck, others): (Vec<_>, Vec<_>) =
        ways.iter().partition(|(client, _)| is_to(to, **client));
    let (address, own) = struck.into_iter().find(|(_, own)| own.part())?;
    let list = |names: &BTreeSet<&str>| listed(&names.iter().copied().collect::<Vec<&str>>());
    let well = others
        .into_iter()
        .filter(|(_, other)| !other.part() && !other.left_by.is_empty());
    let well: Vec<_> = well.take(OTHERS).collect();
    let beside = well
        .iter()
        .map(|(client, other)| format!("; those to {client} leave by {}", list(&other.left_by)));
    let beside: Vec<_> = beside.collect();
    let text = format!(
        "SYNs from {address} come in at {host} by {}, and the answers leave by {}{}",
        list(&own.arrived_by),
        list(&own.left_by),
        beside.concat(),
    );
    Some(remark(witness, format!("routes/{host}"), text))
}

pub(super) fn is_to(to: &Destination, client: IpAddr) -> bool {
    match to {
        Destination::Address(address) | Destination::Balancer(address) => *address == client,
        Destination::Prefix(network) => same_network(*network, client),
        Destination::Everywhere(of) => of.is_ipv4() == client.is_ipv4(),
    }
}

/// Whether both are in one network of 24 bits, or of 64.
fn same_network(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..3] == other.octets()[..3],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.octets()[..8] == other.octets()[..8],
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}
