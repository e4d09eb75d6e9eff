//! At which layer the balancer was read to work, and what tells: whether connections that it takes come to a backend
//! as they are.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::{Scene, remark};
use crate::facts::observation::{Layer, Target};
use crate::facts::sighting::{Direction, FlowSighting, Packet, WitnessReport};
use crate::facts::topology::BALANCER_HOST;
use crate::judgement::verdict::Evidence;
use crate::world::part::What;

/// What is said of a balancer that is at fault, or that a fault is towards; none where a backend has no witness.
pub(super) fn balancing(scene: Scene<'_>, what: &What) -> Option<Evidence> {
    let (What::Balancer(_) | What::Toward { .. } | What::LbBackendPath { .. }) = what else {
        return None;
    };
    let taken = taken(scene);
    let mut arrived: BTreeSet<SocketAddr> = BTreeSet::new();
    for backend in &scene.case.topology.backends {
        let (_, reports) = scene.reports_of(&backend.name)?;
        arrived.extend(clients(&reports));
    }
    let (same, of) = (taken.intersection(&arrived).count(), taken.len());
    let how = match (scene.forwarded, same) {
        (false, _) => "ends its clients' connections and makes its own (layer 7)",
        (true, 0) => "forwards its clients' connections from addresses of its own (layer 4)",
        (true, _) => "forwards its clients' connections as they are (layer 4)",
    };
    let text = format!(
        "read as one that {how}: {same} of the {of} connections of probes that it took came to a backend from the prober's own address and port"
    );
    (of > 0).then(|| remark(BALANCER_HOST, "balancing/lb".into(), text))
}

/// Whether it is the balancer's own host that answers at its address; nothing where no agent stands there.
pub(super) fn answerer(scene: Scene<'_>, what: &What) -> Option<Evidence> {
    let What::Balancer(_) = what else {
        return None;
    };
    let (witness, reports) = scene.reports_of(BALANCER_HOST)?;
    let taken = taken(scene);
    let arrived: BTreeSet<SocketAddr> = clients(&reports).collect();
    let (seen, of) = (taken.intersection(&arrived).count(), taken.len());
    if of == 0 || reports.is_empty() {
        return None;
    }
    let so = match seen {
        0 => ": something else answers at that address, or addresses are rewritten on the way",
        all if all == of => ": it is the one who answers",
        _ => "",
    };
    let text = format!(
        "{seen} of the {of} connections that probes made to the balancer's address came to its own host{so}"
    );
    let line = remark(witness, "answers/lb".into(), text);
    Some(Evidence {
        failed: (of - seen) as u64,
        of: of as u64,
        ..line
    })
}

/// Where the connections of probes that something at the balancer's address took came from; those of its own path's
/// hosts may never leave them.
fn taken(scene: Scene<'_>) -> BTreeSet<SocketAddr> {
    let on_path = |name: &str| {
        let mut vantages = scene.case.topology.vantages.iter();
        vantages.any(|v| v.name.0 == name && v.host.is_some())
    };
    let taken = scene.observations.iter().filter(|o| {
        let to_vip = matches!(o.arm.target, Target::Vip { .. });
        let took = to_vip && o.took(Layer::Tcp).is_some() && !on_path(&o.vantage().0);
        took && scene.span.holds(o.scheduled_us)
    });
    let locals = taken.filter_map(|o| Some(o.facts.tcp.as_ref()?.local));
    locals.collect()
}

/// Whose SYNs came in at a host.
fn clients<'r>(reports: &[&'r WitnessReport]) -> impl Iterator<Item = SocketAddr> + use<'r> {
    let flows: Vec<&FlowSighting> = reports.iter().flat_map(|report| &report.flows).collect();
    let arrived = flows.into_iter().filter(|flow| {
        let mut seen = flow.seen.iter();
        seen.any(|s| (s.packet, s.direction) == (Packet::Syn, Direction::In))
    });
    arrived.map(|flow| flow.client)
}
