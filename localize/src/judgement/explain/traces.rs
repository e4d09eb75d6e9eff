//! How far packets came towards a target that did not answer, by the traces that were made in the rounds which failed.
//!
//! A hop's silence says nothing by itself, and what is lost at a hop and not behind it is not lost. So a line stands
//! here only where the target did not answer either, and it names the last router that did: whatever takes the packets
//! is behind that one, if it is not the next router's habit to keep silent.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::{IpAddr, SocketAddr};

use super::kernel::listed;
use super::routes::is_to;
use super::sight::rests_on_silence;
use super::{Scene, remark};
use crate::facts::observation::{Failure, Layer, Observation, Outcome, RoundId};
use crate::facts::topology::{BALANCER_HOST, Role, Topology, VantageName};
use crate::facts::trace::{Heard, Trace};
use crate::judgement::verdict::Evidence;
use crate::world::mode::Word;
use crate::world::part::{Vip, What};

/// Lines of one fault: those of the vantage points and targets with the most traces.
const LINES: usize = 2;
/// Agents trace a target once in so many microseconds: of a younger stretch the trace may have been made before.
const EACH_US: u64 = 60_000_000;
/// Vantage points that are named as those whose packets arrive.
const OTHERS: usize = 2;

/// Where the traces of one way ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// Nobody answered behind this router.
    Behind { place: usize, router: IpAddr },
    /// This router, or the target's own host, said that the target is not to be reached.
    Told { by: IpAddr, code: u8 },
    /// The host itself did not send them.
    Unsent,
}

impl End {
    /// `None` where the target answered, or nobody did.
    fn of(trace: &Trace) -> Option<Self> {
        if trace.arrived() {
            return None;
        }
        if trace.unsent() {
            return Some(Self::Unsent);
        }
        if let Some((by, code)) = trace.unreachable() {
            return Some(Self::Told { by, code });
        }
        // Of a trace that was cut short nobody knows whether the target would have answered.
        if trace.whole != Some(Heard::Silence) {
            return None;
        }
        let (place, router) = trace.last_router()?;
        Some(Self::Behind { place, router })
    }

    fn in_words(self, vantage: &VantageName, to: SocketAddr) -> String {
        match self {
            Self::Behind { place, router } => format!(
                "packets from {vantage} to {to} are answered up to {router} (hop {place}), and by nothing behind it"
            ),
            Self::Told { by, code } => format!(
                "packets from {vantage} to {to} come to {by}, which says that it cannot be reached from there (ICMP code {code})"
            ),
            Self::Unsent => format!(
                "{vantage}'s own host sends no packet to {to}: it has no route there, or a rule of its own"
            ),
        }
    }
}

/// How far the packets came whose loss a fault is.
pub(super) fn traces(scene: Scene<'_>, what: &What, mode: Word) -> Vec<Evidence> {
    if !(rests_on_silence(mode) || mode == Word::NoAnswer) {
        return Vec::new();
    }
    let topology = &scene.case.topology;
    let silent = Silent::of(scene);
    // A repeat is the same trace.
    let once: BTreeMap<(&VantageName, u64), &Trace> = scene
        .case
        .traces
        .iter()
        .filter(|trace| silent.has(trace))
        .filter(|trace| concerns(what, topology, trace))
        .map(|trace| ((&trace.vantage, trace.sequence), trace))
        .collect();
    let mut ways: BTreeMap<(&VantageName, SocketAddr), Vec<&Trace>> = BTreeMap::new();
    for trace in once.into_values() {
        let way = ways.entry((&trace.vantage, trace.to)).or_default();
        way.push(trace);
    }
    let lines = ways
        .into_iter()
        .filter_map(|((vantage, to), traces)| line(scene, vantage, to, &traces));
    let mut lines: Vec<Evidence> = lines.collect();
    lines.sort_by_key(|line| Reverse(line.failed));
    lines.truncate(LINES);
    lines
}

/// The probes that met silence: nobody's word but theirs makes a trace one of this service.
struct Silent<'a> {
    /// Who still meets silence in the stretch, and where.
    ways: BTreeSet<(&'a VantageName, SocketAddr)>,
    /// Each probe, from a minute before the stretch on.
    probes: BTreeSet<(&'a VantageName, SocketAddr, RoundId)>,
}

impl<'a> Silent<'a> {
    fn of(scene: Scene<'a>) -> Self {
        let mut silent = Self {
            ways: BTreeSet::new(),
            probes: BTreeSet::new(),
        };
        let met = scene.observations.iter().filter(|o| met_silence(o));
        for (probe, to) in met.filter_map(|o| Some((o, o.arm.target.connects_to()?))) {
            let span = scene.span;
            if span.holds(probe.scheduled_us) {
                silent.ways.insert((probe.vantage(), to));
            }
            if span.holds(probe.scheduled_us) || span.holds(probe.scheduled_us + EACH_US) {
                silent.probes.insert((probe.vantage(), to, probe.round));
            }
        }
        silent
    }

    fn has(&self, trace: &Trace) -> bool {
        let Trace {
            vantage, to, round, ..
        } = trace;
        self.ways.contains(&(vantage, *to)) && self.probes.contains(&(vantage, *to, *round))
    }
}

fn met_silence(observation: &Observation) -> bool {
    matches!(
        observation.outcome,
        Outcome::Failed {
            layer: Layer::Tcp,
            failure: Failure::ConnectTimeout | Failure::ConnectUnreachable,
            ..
        }
    )
}

/// The line of one vantage point and target, by how most of its traces ended that did not arrive.
fn line(
    scene: Scene<'_>,
    vantage: &VantageName,
    to: SocketAddr,
    traces: &[&Trace],
) -> Option<Evidence> {
    let mut ends: BTreeMap<End, u64> = BTreeMap::new();
    for end in traces.iter().filter_map(|trace| End::of(trace)) {
        *ends.entry(end).or_default() += 1;
    }
    // Of two as frequent the one farther on: the packets came that far.
    let (end, count) = ends.into_iter().max_by_key(|(end, count)| (*count, *end))?;
    let of = traces.len() as u64;
    let reach = arriving(scene, vantage, to);
    let beside = match reach.is_empty() {
        true => String::new(),
        false => format!("; those of {} reach it", listed(&reach)),
    };
    let text = format!(
        "{}, in {count} of {of} traces{beside}",
        end.in_words(vantage, to)
    );
    Some(Evidence {
        failed: count,
        of,
        ..remark(&vantage.0, format!("trace/{to}"), text)
    })
}

/// Other vantage points whose connections to the target were made in the stretch, and none of which met silence.
fn arriving<'a>(scene: Scene<'a>, vantage: &VantageName, to: SocketAddr) -> Vec<&'a str> {
    let mut well: BTreeMap<&VantageName, bool> = BTreeMap::new();
    let others = scene.observations.iter().filter(|o| {
        o.vantage() != vantage
            && o.arm.target.connects_to() == Some(to)
            && scene.span.holds(o.scheduled_us)
    });
    for other in others {
        let lost = met_silence(other);
        if lost || other.took(Layer::Tcp).is_some() {
            *well.entry(other.vantage()).or_insert(true) &= !lost;
        }
    }
    // The target's own host has no way to go.
    let vantages = &scene.case.topology.vantages;
    let own = |name: &VantageName| {
        let mut own = vantages.iter().filter(|v| v.name == *name);
        own.any(|v| v.addresses.contains(&to.ip()))
    };
    let well = well.into_iter().filter(|(name, well)| *well && !own(name));
    well.map(|(name, _)| name.0.as_str()).take(OTHERS).collect()
}

/// Whether a trace is of a way that the part is on.
fn concerns(what: &What, topology: &Topology, trace: &Trace) -> bool {
    let to = trace.to;
    let vantage = || topology.vantages.iter().find(|v| v.name == trace.vantage);
    let is_backend = |name: &str| {
        let mut backends = topology.backends.iter();
        backends.any(|b| b.name == name && b.address == to)
    };
    let is_vip = |vip: &Vip| match vip {
        Vip::One(address) => *address == to,
        Vip::Any(_) | Vip::Undeclared => topology.vips.contains(&to),
    };
    match what {
        What::Access(name) => *name == trace.vantage,
        What::Edge(address) | What::Address(address) => to.ip() == *address,
        What::Provider(_) | What::Origin(_) => topology.edges.contains(&to),
        What::OriginPath { to: vip, .. } => {
            is_vip(vip) && vantage().is_some_and(|v| v.role == Role::BehindCdn)
        }
        What::Balancer(vip) => is_vip(vip),
        What::LbBackendPath { backend, .. } => {
            is_backend(backend)
                && vantage().is_some_and(|v| v.host.as_deref() == Some(BALANCER_HOST))
        }
        What::Backend(name) => is_backend(name),
        What::Return { host, to } => is_backend(host) && is_to(to, trace.from.ip()),
        What::Resolver(_)
        | What::NameServer(_)
        | What::NameServers(_)
        | What::Zone(_)
        | What::Shared(_)
        | What::Toward { .. }
        | What::Barred { .. }
        | What::NotServed(_) => false,
    }
}
