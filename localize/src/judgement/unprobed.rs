//! The arms about which nothing is known: those that agents refuse or leave out, and those that have
//! never worked since the service file was applied.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::facts::case::Case;
use crate::facts::observation::{Arm, Firing, Layer, Observation, Outcome, Target};
use crate::facts::time::rfc3339;
use crate::facts::topology::{Topology, VantageName};
use crate::judgement::verdict::NotProbed;
use crate::world::symptom::Symptom;

/// One arm from one vantage point.
type Place<'a> = (&'a VantageName, &'a Arm);

/// What became of the probes of one arm.
#[derive(Default)]
struct Tried<'a> {
    fired: u64,
    left_out: u64,
    /// Why the last of them was left out, and when that was.
    because: Option<(u64, &'a str)>,
    /// How the last one failed, and when that was.
    failed: Option<(u64, Symptom)>,
}

/// The arms about which nothing is known, by vantage point and arm.
pub(crate) fn not_probed(case: &Case) -> Vec<NotProbed> {
    let never = never_passed(case);
    let mut unknown = Vec::new();
    for ((vantage, arm), tried) in tried(case) {
        let mut layers = never.iter().filter(|(v, a, _)| (v, a) == (vantage, arm));
        let because = left_out(&tried).or_else(|| {
            let (_, _, layer) = layers.next()?;
            never_worked(case, *layer, &tried)
        });
        unknown.extend(because.map(|because| NotProbed {
            vantage: vantage.to_string(),
            arm: arm.label(),
            because,
        }));
    }
    unknown.extend(without_a_way(&case.topology));
    unknown.sort();
    unknown
}

/// The public addresses of IPv6 to which no probe goes from where there is no IPv6, as no user goes there.
fn without_a_way(topology: &Topology) -> impl Iterator<Item = NotProbed> + '_ {
    let elsewhere = topology.vantages.iter().filter(|v| v.host.is_none());
    elsewhere.flat_map(|vantage| {
        let barred = topology
            .edges
            .iter()
            .filter(|e| !vantage.has_way_to(e.ip()));
        barred.map(|edge| NotProbed {
            vantage: vantage.name.to_string(),
            arm: match topology.vips.contains(edge) {
                true => Target::Vip { address: *edge }.label(),
                false => Target::Edge { address: *edge }.label(),
            },
            because: "no IPv6 here".to_string(),
        })
    })
}

/// The layers of arms that no probe has passed since the service file was applied, each the first of its
/// arm, as far as the case tells. Empty where it is not known what was applied when.
///
/// What fails there may be a mistake in the file as well as a fault, and no probe tells which.
pub(crate) fn never_passed(case: &Case) -> BTreeSet<(VantageName, Arm, Layer)> {
    if case.declared.applied_us == 0 {
        return BTreeSet::new();
    }
    let unproven = case.declared.unproven.iter();
    let mut never: BTreeSet<(VantageName, Arm, Layer)> = unproven
        .map(|u| (u.vantage.clone(), u.arm.clone(), u.layer))
        .collect();
    if never.is_empty() {
        return never;
    }
    let mut passed: BTreeSet<(&VantageName, &Arm, Layer)> = BTreeSet::new();
    for seen in &case.observations {
        let steps = seen.steps.iter();
        passed.extend(steps.map(|step| (seen.vantage(), &seen.arm, step.layer)));
    }
    never.retain(|(vantage, arm, layer)| !passed.contains(&(vantage, arm, *layer)));
    never
}

fn tried(case: &Case) -> BTreeMap<Place<'_>, Tried<'_>> {
    let mut all: BTreeMap<Place<'_>, Tried<'_>> = BTreeMap::new();
    let mut counted = BTreeSet::new();
    for seen in &case.observations {
        if counted.insert(&seen.id) {
            let place = (seen.vantage(), &seen.arm);
            all.entry(place).or_default().count(seen);
        }
    }
    all
}

impl<'a> Tried<'a> {
    fn count(&mut self, seen: &'a Observation) {
        let at = seen.scheduled_us;
        match (&seen.outcome, &seen.firing) {
            (Outcome::NotFired, firing) => {
                self.left_out += 1;
                let why = match firing {
                    Firing::Skipped { why } => why,
                    Firing::OnTime | Firing::Late { .. } => "",
                };
                self.because = self.because.max(Some((at, why)));
            }
            (Outcome::Failed { failure, .. }, _) => {
                self.fired += 1;
                let symptom = Symptom::of(*failure).map(|symptom| (at, symptom));
                self.failed = self.failed.max(symptom);
            }
            (Outcome::Passed, _) => self.fired += 1,
        }
    }
}

/// Why an arm was not fired, where it was left out at least as often as it was fired.
fn left_out(tried: &Tried<'_>) -> Option<String> {
    let (_, why) = tried.because?;
    let why = match why {
        "" => "the agent gave no reason",
        why => why,
    };
    match (tried.fired, tried.left_out) {
        (0, _) => Some(why.to_string()),
        (fired, left_out) if left_out >= fired => {
            Some(format!("{left_out} of {} times: {why}", fired + left_out))
        }
        _ => None,
    }
}

/// That an arm has never worked, where it failed in the window.
fn never_worked(case: &Case, layer: Layer, tried: &Tried<'_>) -> Option<String> {
    let (_, symptom) = tried.failed?;
    let did = match layer {
        Layer::Dns => "answered a question",
        Layer::Tcp => "answered",
        Layer::Tls => "ended a TLS handshake",
        Layer::Http => "answered a request as it should",
    };
    let at = rfc3339(case.declared.applied_us);
    Some(format!(
        "has never {did} since the service file was applied at {at}, so that the file may be wrong: {}",
        symptom.word()
    ))
}
