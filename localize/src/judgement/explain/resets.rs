//! Who sent the resets that probes of a backend met: its host, as its witness saw, or something in front of it.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::kernel::listed;
use super::{Scene, remark};
use crate::facts::observation::{Failure, Observation, Outcome, Target};
use crate::facts::sighting::{Direction, Packet, WitnessReport};
use crate::judgement::verdict::{Evidence, Fault};
use crate::reading::epochs::Span;
use crate::reading::witness::SEAMLESS_US;
use crate::world::mode::Word;
use crate::world::part::What;
use crate::world::symptom::Symptom;

/// A witness remembers a connection for ten seconds after its handshake: what comes so much later it may miss.
const REMEMBERED_US: u64 = 8_000_000;
/// Fewer resets that the host did not send tell nothing of somebody else.
const SOME: usize = 2;

/// Resets of connections that a witness saw begin.
#[derive(Debug, Default)]
struct Resets {
    sent: usize,
    elsewhere: usize,
    /// Who met them.
    vantages: BTreeSet<String>,
}

/// Says of a backend that resets connections whether its host does that; where it does not, the fault is in front
/// of it, and the summary and the next step say so.
pub(super) fn resets(scene: Scene<'_>, what: &What, mode: Word, fault: &mut Fault) {
    let (What::Backend(name), Word::Resets) = (what, mode) else {
        return;
    };
    let Some(resets) = Resets::of(scene, name) else {
        return;
    };
    let Resets {
        sent,
        elsewhere,
        vantages,
    } = &resets;
    let names: Vec<&str> = vantages.iter().map(String::as_str).collect();
    let all = sent + elsewhere;
    let met = format!("{all} connections that {} saw reset", listed(&names));
    let text = match (sent, elsewhere) {
        (_, 0) => format!("{name}'s host sent the resets of all {met} itself"),
        (0, _) => {
            format!("{name}'s host sent no reset in any of the {met}: something between sent them")
        }
        _ => format!(
            "{name}'s host sent the resets of {sent} of the {met}, and something between the others"
        ),
    };
    fault.evidence.push(Evidence {
        failed: all as u64,
        of: all as u64,
        failure: Symptom::Reset.word().to_string(),
        ..remark(name, format!("witness/{name}"), text)
    });
    if *sent == 0 && *elsewhere >= SOME {
        fault.summary +=
            &format!(" Its host sent none of the resets: something in front of {name} does.");
        fault.next_step = format!(
            "look for what stands in front of {name} and reads requests (firewall, proxy, intrusion prevention), and for its log at the times of the failed probes; {name} itself sends no reset"
        );
    }
}

impl Resets {
    fn of(scene: Scene<'_>, name: &str) -> Option<Self> {
        let (witness, _) = scene.reports_of(name)?;
        // The reports of a stretch's last probes come after it.
        let whole = Scene {
            span: Span::WHOLE,
            ..scene
        };
        let (_, reports) = whole.reports_of(name)?;
        let mut resets = Self::default();
        let span = scene.span;
        for probe in scene
            .observations
            .iter()
            .filter(|o| span.holds(o.scheduled_us))
        {
            let to_it = matches!(&probe.arm.target, Target::Backend { name: to, .. } if to == name);
            // Of a port that is taken again, a reset may be the one before's.
            if !to_it || probe.vantage().0 == witness || !probe.arm.traits.port.is_plain() {
                continue;
            }
            match sent_by_host(probe, &reports) {
                Some(true) => resets.sent += 1,
                Some(false) => resets.elsewhere += 1,
                None => continue,
            }
            resets.vantages.insert(probe.vantage().to_string());
        }
        (resets.sent + resets.elsewhere > 0).then_some(resets)
    }
}

/// Whether the host sent the reset that a probe met; `None` where it met none, or the witness cannot tell.
fn sent_by_host(probe: &Observation, reports: &[&WitnessReport]) -> Option<bool> {
    let Outcome::Failed { failure, after, .. } = &probe.outcome else {
        return None;
    };
    if !matches!(
        failure,
        Failure::ResetBeforeRequest | Failure::ResetAfterRequest
    ) {
        return None;
    }
    let start = probe.started.at_us;
    let steps: u64 = probe.steps.iter().map(|step| step.took.0).sum();
    let end = start + steps + after.0;
    let client = probe.facts.tcp.as_ref()?.local;
    if end > start + REMEMBERED_US {
        return None;
    }
    let slack = SEAMLESS_US + probe.started.uncertainty_us;
    let (mut reached, mut begun, mut sent) = (start, false, false);
    let during = reports
        .iter()
        .filter(|r| r.to.at_us + slack >= start && r.from.at_us <= end + slack);
    for report in during {
        if report.dropped > 0 || report.from.at_us > reached + slack {
            return None;
        }
        reached = reached.max(report.to.at_us);
        for flow in report.flows.iter().filter(|flow| flow.client == client) {
            for seen in &flow.seen {
                begun |= (seen.packet, seen.direction) == (Packet::Syn, Direction::In);
                sent |= (seen.packet, seen.direction) == (Packet::ResetByServer, Direction::Out);
            }
        }
    }
    (begun && reached >= end).then_some(sent)
}
