//! How well the witness saw on whose silence a fault rests: a capture that is not whole proves nothing.

use alloc::collections::BTreeSet;
use alloc::format;
use core::net::SocketAddr;

use super::{Scene, remark};
use crate::facts::observation::{Layer, Target};
use crate::facts::sighting::{Direction, Packet, WitnessReport};
use crate::judgement::verdict::Evidence;
use crate::world::mode::Word;
use crate::world::part::What;

/// Whether a mode is known by packets that a witness did not see.
pub(super) fn rests_on_silence(mode: Word) -> bool {
    matches!(
        mode,
        Word::SynUnanswered
            | Word::AcceptQueueFull
            | Word::HostFirewall
            | Word::ReversePathFilter
            | Word::ConnectionTableFull
            | Word::StackSilent
            | Word::AnswersLost
            | Word::PacketLoss
            | Word::Unreachable
            | Word::Blocked
    )
}

/// What the witness on a host saw in a stretch of what it should have.
pub(super) fn sight(scene: Scene<'_>, what: &What, mode: Word) -> Option<Evidence> {
    if !rests_on_silence(mode) {
        return None;
    }
    let (What::Backend(host)
    | What::LbBackendPath { backend: host, .. }
    | What::Return { host, .. }) = what
    else {
        return None;
    };
    let (witness, reports) = scene.reports_of(host)?;
    let mut seen: BTreeSet<SocketAddr> = BTreeSet::new();
    let (mut watched, mut dropped) = (0, 0);
    for report in reports {
        watched += length(report);
        dropped += report.dropped;
        let flows = report.flows.iter();
        let arrived = flows.filter(|flow| {
            let mut packets = flow.seen.iter();
            packets.any(|s| (s.packet, s.direction) == (Packet::Syn, Direction::In))
        });
        seen.extend(arrived.map(|flow| flow.client));
    }
    let good = scene.observations.iter().filter(|o| {
        let to_it = matches!(&o.arm.target, Target::Backend { name, .. } if name == host);
        to_it
            && o.vantage().0 != witness
            && o.took(Layer::Tcp).is_some()
            && scene.span.holds(o.scheduled_us)
    });
    let good: BTreeSet<SocketAddr> = good
        .filter_map(|o| Some(o.facts.tcp.as_ref()?.local))
        .collect();
    let (known, of) = (good.intersection(&seen).count(), good.len());
    let missed = match dropped {
        0 => "no packet was missed".into(),
        dropped => format!("{dropped} packets were missed"),
    };
    let text = format!(
        "what {host}'s witness saw: {:.0} s, in which {missed}, and {known} of the {of} connections of probes that are known to have come there",
        watched as f64 / 1e6
    );
    let line = remark(witness, format!("witness/{host}"), text);
    (watched > 0 && of > 0).then_some(Evidence {
        of: of as u64,
        ..line
    })
}

fn length(report: &WitnessReport) -> u64 {
    report.to.at_us.saturating_sub(report.from.at_us)
}
