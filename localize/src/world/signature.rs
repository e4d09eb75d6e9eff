//! How every mode looks through every view: P(symptom | mode, view, stage).

use alloc::vec;
use alloc::vec::Vec;

use crate::world::mode::{CONNECT, MODES, Mode, Strikes, View, Weighted};
use crate::world::proxy::{through_balancer, through_edge, through_resolver, unspoken};
use crate::world::symptom::{STAGES, Stage, Symptom};

/// Probability of each symptom, given that a mode makes a probe fail at a stage.
pub(crate) type Distribution = [f64; Symptom::COUNT];

/// Share of every distribution that is spread evenly over what the stage can show, so that no single
/// odd outcome rules a hypothesis out.
const UNIFORM_SHARE: f64 = 0.03;

/// How much more a host's own probes fail in ways that its mode does not have, than in those that it has.
const OTHERWISE: f64 = 0.7;

/// A symptom that a mode shows with less than this probability is not one that it makes.
const MAKES: f64 = 0.04;

/// The same of a mode that two proxies stand before: each of them has a way of its own, and what both make of
/// it is a product. And of what a host shows to itself alone, of which nothing is known but that it fails.
const MAKES_TWICE: f64 = 0.015;

/// From which probability on a symptom is one that a mode makes, seen so.
pub(crate) fn makes(view: View) -> f64 {
    match view {
        View::AtHome | View::BehindCdnAndLb | View::BehindCdnAndRelay => MAKES_TWICE,
        View::Direct
        | View::ReusedPort
        | View::OwnPort
        | View::Answered
        | View::BehindResolver
        | View::BehindCdn
        | View::BehindRelay
        | View::BehindLb => MAKES,
    }
}

/// P(symptom | mode, view, stage) for every mode.
pub(crate) struct Signatures {
    table: Vec<Option<Distribution>>,
}

impl Signatures {
    /// Passes every mode through every view.
    pub(crate) fn new() -> Self {
        let mut table = vec![None; MODES.len() * View::COUNT * Stage::COUNT];
        for (index, mode) in MODES.iter().enumerate() {
            for view in View::ALL {
                for stage in STAGES {
                    table[slot(index, view, stage)] = distribution(mode, view, stage);
                }
            }
        }
        Self { table }
    }

    /// Every signature, by its slot.
    pub(crate) fn all(&self) -> &[Option<Distribution>] {
        &self.table
    }

    /// What a mode looks like there; `None` when it cannot be seen there at all.
    pub(crate) fn of(&self, mode: usize, view: View, stage: Stage) -> Option<&Distribution> {
        self.table[slot(mode, view, stage)].as_ref()
    }
}

/// Place of a mode's signature among all.
pub(crate) fn slot(mode: usize, view: View, stage: Stage) -> usize {
    (mode * View::COUNT + view as usize) * Stage::COUNT + stage as usize
}

/// The view of a signature at this place.
pub(crate) fn view(slot: usize) -> View {
    View::ALL[slot / Stage::COUNT % View::COUNT]
}

/// What a proxy's clients see of a symptom that it meets.
type Proxy = fn(Symptom) -> &'static [Weighted];

fn distribution(mode: &Mode, view: View, stage: Stage) -> Option<Distribution> {
    let mut raw = [0.0; Symptom::COUNT];
    match view {
        // A proxy opens a connection for each request, and none for who makes none: it hands on no burst.
        _ if mode.strikes == Strikes::Bursts && !hands_on_connections(view, stage) => {}
        View::Direct if mode.strikes == Strikes::ReusedPorts => {}
        View::Direct | View::ReusedPort => add_direct(mode, &mut raw, stage),
        View::OwnPort if mode.told == Some(Symptom::StaleAck) => {
            add_direct(mode, &mut raw, stage);
        }
        View::OwnPort => {}
        // Where no witness tells how far a SYN came, the whole connection tells whether answers came back.
        View::Answered if matches!(stage, Stage::Tcp | Stage::Return) => {
            add_direct(mode, &mut raw, Stage::Return);
        }
        View::Answered => {}
        // What never comes to a host is not sent to it from there.
        View::AtHome if CONNECT.contains(&stage) && !acts_at(mode, Stage::Answer) => {}
        View::AtHome => {
            add_direct(mode, &mut raw, stage);
            add_otherwise(&mut raw, stage);
        }
        View::BehindResolver if stage == Stage::Dns => match mode.behind {
            Some(seen) => add(&mut raw, seen, 1.0),
            None => spread(mode, &mut raw, &[through_resolver]),
        },
        View::BehindLb | View::BehindCdnAndLb if stage == Stage::Http && mode.behind.is_some() => {
            let edge: &[Proxy] = if view == View::BehindLb {
                &[]
            } else {
                &[through_edge]
            };
            for (symptom, weight) in mode.behind.unwrap_or_default() {
                pass(&mut raw, *symptom, *weight, edge);
            }
        }
        // What stands between an edge and the balancer is seen by the edge itself.
        View::BehindCdn if stage == Stage::Http && mode.is_behind_edges_alone() => {
            add(&mut raw, mode.behind.unwrap_or_default(), 1.0);
        }
        View::BehindLb if stage == Stage::Http => spread(mode, &mut raw, &[through_balancer]),
        View::BehindCdn if stage == Stage::Http => spread(mode, &mut raw, &[through_edge]),
        View::BehindCdnAndLb if stage == Stage::Http => {
            spread(mode, &mut raw, &[through_balancer, through_edge]);
        }
        // A balancer that forwards connections shows what they meet as it is.
        View::BehindLb => add_direct(mode, &mut raw, stage),
        View::BehindRelay if matches!(stage, Stage::Tls | Stage::Http) => {
            for (symptom, weight) in connecting(mode) {
                pass(&mut raw, symptom, weight, &[unspoken(stage)]);
            }
            add_direct(mode, &mut raw, stage);
        }
        View::BehindCdnAndRelay if stage == Stage::Http && fails_connections(mode) => {
            for (symptom, weight) in connecting(mode) {
                // The edge waits for the hello as its own clients wait for the answer.
                let relay = unspoken(if symptom.is_late() {
                    Stage::Http
                } else {
                    Stage::Tls
                });
                pass(&mut raw, symptom, weight, &[relay, through_edge]);
            }
        }
        View::BehindCdnAndRelay => return distribution(mode, View::BehindCdn, stage),
        View::BehindRelay | View::BehindResolver | View::BehindCdn | View::BehindCdnAndLb => {}
    }
    normalised(raw, stage)
}

/// Whether whoever opens a connection opens one there.
fn hands_on_connections(view: View, stage: Stage) -> bool {
    view.is_direct() || view == View::BehindLb && stage != Stage::Http
}

fn acts_at(mode: &Mode, stage: Stage) -> bool {
    mode.direct.iter().any(|(at, _)| *at == stage)
}

/// Whether it is connections that a mode fails first.
fn fails_connections(mode: &Mode) -> bool {
    let first = mode.direct.first();
    first.is_some_and(|(stage, _)| CONNECT.contains(stage))
}

/// What clients of a layer-7 balancer would see of the connections that a mode fails.
fn connecting(mode: &Mode) -> Vec<Weighted> {
    let Some((_, symptoms)) = mode.direct.first().filter(|_| fails_connections(mode)) else {
        return Vec::new();
    };
    match mode.behind {
        Some(seen) => seen.to_vec(),
        None => {
            let seen = symptoms.iter().flat_map(|(symptom, weight)| {
                let seen = through_balancer(*symptom).iter();
                seen.map(move |(seen, share)| (*seen, weight * share))
            });
            seen.collect()
        }
    }
}

/// Passes what the mode does to direct probes through proxies, nearest to the component first.
///
/// The earliest stage of the mode speaks for it, except that packet loss shows at every stage: a
/// proxy whose handshakes fail never gets to see the rest.
fn spread(mode: &Mode, raw: &mut Distribution, proxies: &[Proxy]) {
    let Some((first, _)) = mode.direct.first() else {
        return;
    };
    for (at, weighted) in mode.direct {
        if at == first || mode.lossy || !CONNECT.contains(at) && !CONNECT.contains(first) {
            for (symptom, weight) in *weighted {
                pass(raw, *symptom, *weight, proxies);
            }
        }
    }
}

fn pass(raw: &mut Distribution, symptom: Symptom, weight: f64, proxies: &[Proxy]) {
    match proxies.split_first() {
        None => raw[symptom as usize] += weight,
        Some((nearest, rest)) => {
            for (seen, share) in nearest(symptom) {
                pass(raw, *seen, weight * share, rest);
            }
        }
    }
}

fn add_direct(mode: &Mode, raw: &mut Distribution, stage: Stage) {
    for (at, weighted) in mode.direct {
        if *at == stage {
            add(raw, weighted, 1.0);
        }
    }
}

/// A server that fails requests may fail them in any other way for who is on its own host.
fn add_otherwise(raw: &mut Distribution, stage: Stage) {
    let fails = |s: &&Symptom| s.seen_at(stage) && !s.is_late();
    let share = |some: &Distribution| -> f64 {
        let failures = Symptom::ALL.iter().filter(fails);
        failures.map(|s| some[*s as usize]).sum()
    };
    let shown = share(raw);
    let many = Symptom::ALL.iter().filter(fails).count() as f64;
    for symptom in Symptom::ALL.iter().filter(fails) {
        raw[*symptom as usize] += shown * OTHERWISE / many;
    }
}

fn add(raw: &mut Distribution, weighted: &[Weighted], factor: f64) {
    for (symptom, weight) in weighted {
        raw[*symptom as usize] += weight * factor;
    }
}

fn normalised(mut raw: Distribution, stage: Stage) -> Option<Distribution> {
    let total: f64 = raw.iter().sum();
    if total <= 0.0 {
        return None;
    }
    let possible = Symptom::ALL.iter().filter(|s| s.seen_at(stage)).count() as f64;
    for symptom in Symptom::ALL {
        let value = &mut raw[*symptom as usize];
        *value *= (1.0 - UNIFORM_SHARE) / total;
        if symptom.seen_at(stage) {
            *value += UNIFORM_SHARE / possible;
        }
    }
    Some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::component::Kind;
    use crate::world::mode::{Class, Word};

    #[test]
    fn every_signature_is_a_distribution() {
        let signatures = Signatures::new();
        for (index, mode) in MODES.iter().enumerate() {
            for view in View::ALL {
                for stage in STAGES {
                    if let Some(d) = signatures.of(index, view, stage) {
                        let total: f64 = d.iter().sum();
                        assert!(
                            (total - 1.0).abs() < 1e-9,
                            "{} {view:?} {stage:?}",
                            mode.word.text()
                        );
                        assert!(d.iter().all(|p| (0.0..1.0).contains(p)));
                    }
                }
            }
        }
    }

    /// The mode of this word of a component, the first in the table.
    fn mode(kind: Kind, word: Word) -> usize {
        let is_it = |m: &Mode| m.class == Class::Blamable(kind) && m.word == word;
        MODES.iter().position(is_it).expect("the mode")
    }

    #[test]
    fn what_a_relay_waits_for_are_late_hellos() {
        let signatures = Signatures::new();
        let drops = mode(Kind::Backend, Word::HostFirewall);
        let seen = |view, stage| signatures.of(drops, view, stage);
        let hello = seen(View::BehindRelay, Stage::Tls).expect("visible");
        assert!(hello[Symptom::Slow as usize] > 0.7, "{hello:?}");
        assert!(hello[Symptom::TlsTimeout as usize] > 0.1, "{hello:?}");
        assert!(seen(View::BehindRelay, Stage::Tcp).is_none());
        let edge = seen(View::BehindCdnAndRelay, Stage::Http).expect("visible");
        assert!(edge[Symptom::Resent as usize] > 0.3);
        assert!(edge[Symptom::Cdn525 as usize] > edge[Symptom::Cdn522 as usize]);
    }

    #[test]
    fn what_never_comes_to_a_host_shows_to_others_alone() {
        let signatures = Signatures::new();
        let elsewhere = MODES.iter().position(|m| {
            m.class == Class::Blamable(Kind::LoadBalancer) && acts_at(m, Stage::Arrive)
        });
        let elsewhere = elsewhere.expect("the mode");
        let shows = |view, stage| signatures.of(elsewhere, view, stage).is_some();
        assert!(shows(View::Direct, Stage::Arrive) && shows(View::Direct, Stage::Tcp));
        assert!(!shows(View::Direct, Stage::Answer) && !shows(View::AtHome, Stage::Tcp));
    }

    #[test]
    fn a_refusing_balancer_is_a_521_at_the_edge() {
        let signatures = Signatures::new();
        let refuses = mode(Kind::LoadBalancer, Word::Refuses);
        let seen = signatures
            .of(refuses, View::BehindCdn, Stage::Http)
            .expect("visible");
        assert!(seen[Symptom::Cdn521 as usize] > 0.35);
        assert!(seen[Symptom::Cdn522 as usize] < 0.05);
    }
}
