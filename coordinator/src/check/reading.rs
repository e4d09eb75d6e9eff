//! The observations of a check by target and place.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use localize::{Arm, Failure, Firing, Observation, Outcome, Target, Topology, Traits, VantageName};

use crate::engine::Checked;

/// What became of one arm, by the names of vantage points; with the source address where there are several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The arm's name.
    pub arm: String,
    /// Where a probe passed.
    pub passed: Vec<String>,
    /// Where all that were fired failed.
    pub failed: Vec<String>,
    /// Where none was fired, or nothing was heard of it.
    pub not_probed: Vec<String>,
}

/// One target, asked in one way, from everywhere.
#[derive(Clone, Debug)]
pub(super) struct Row<'c> {
    pub(super) target: Target,
    pub(super) traits: Traits,
    pub(super) spots: Vec<Spot<'c>>,
}

/// A place from which it was asked.
#[derive(Clone, Debug)]
pub(super) struct Spot<'c> {
    pub(super) vantage: &'c VantageName,
    /// The vantage point, with its source address where it has several.
    pub(super) name: String,
    pub(super) came: Came<'c>,
}

/// What came of asking.
#[derive(Clone, Copy, Debug)]
pub(super) enum Came<'c> {
    /// Once at least what should.
    Passed(&'c Observation),
    /// Never what should, in so many tries; the last failure.
    Failed(Failure, u32),
    /// Nothing was fired in so many tries, for this reason.
    LeftOut(&'c str, u32),
    /// The agent has said nothing.
    Silent,
}

/// The rows in the order of a request's way.
pub(super) fn rows(checked: &Checked) -> Vec<Row<'_>> {
    type Sources<'c> = BTreeMap<Option<IpAddr>, Vec<&'c Observation>>;
    let mut all: BTreeMap<(Target, Traits), BTreeMap<&VantageName, Sources<'_>>> = BTreeMap::new();
    for (vantage, arm) in &checked.announced {
        let row = all.entry((arm.target.clone(), arm.traits)).or_default();
        let sources = row.entry(vantage).or_default();
        sources.entry(arm.source).or_default();
    }
    for seen in &checked.observations {
        let key = (seen.arm.target.clone(), seen.arm.traits);
        let sources = all.entry(key).or_default();
        let sources = sources.entry(seen.vantage()).or_default();
        sources.entry(seen.arm.source).or_default().push(seen);
    }
    let row = |((target, traits), vantages)| {
        let vantages: BTreeMap<&VantageName, Sources<'_>> = vantages;
        let spots = vantages.into_iter().flat_map(|(vantage, sources)| {
            let several = sources.len() > 1;
            sources.into_iter().map(move |(source, seen)| Spot {
                vantage,
                name: match source.filter(|_| several) {
                    Some(source) => format!("{vantage} from {source}"),
                    None => vantage.to_string(),
                },
                came: came(&seen),
            })
        });
        Row {
            target,
            traits,
            spots: spots.collect(),
        }
    };
    all.into_iter().map(row).collect()
}

fn came<'c>(seen: &[&'c Observation]) -> Came<'c> {
    let mut came = Came::Silent;
    let mut tries = 0;
    for seen in seen {
        tries += 1;
        came = match (&seen.outcome, &seen.firing, came) {
            (_, _, passed @ Came::Passed(_)) => passed,
            (Outcome::Passed, _, _) => Came::Passed(seen),
            (Outcome::Failed { failure, .. }, _, _) => Came::Failed(*failure, tries),
            (Outcome::NotFired, _, failed @ Came::Failed(..)) => failed,
            (Outcome::NotFired, Firing::Skipped { why }, _) => Came::LeftOut(why, tries),
            (Outcome::NotFired, Firing::OnTime | Firing::Late { .. }, _) => {
                Came::LeftOut("the agent gave no reason", tries)
            }
        };
    }
    came
}

/// Whether it is a public address, asked for what users ask for.
pub(super) fn is_public(row: &Row<'_>, topology: &Topology) -> bool {
    let public = match &row.target {
        Target::Edge { .. } => true,
        Target::Vip { address } => topology.edges.contains(address),
        Target::Resolver { .. } | Target::NameServer { .. } | Target::Backend { .. } => false,
    };
    public && row.is_plain()
}

/// Whether it may be the silence of the asker's own network: nothing came back.
pub(super) fn is_silence(failure: Failure) -> bool {
    matches!(
        failure,
        Failure::DnsTimeout
            | Failure::DnsUnreachable
            | Failure::ConnectTimeout
            | Failure::ConnectUnreachable
            | Failure::ConnectLocal
            | Failure::TlsTimeout
            | Failure::HttpTimeout
    )
}

/// The vantage points that heard nothing from anything, though they asked for several things, and others
/// got through to one of these.
pub(super) fn lost(rows: &[Row<'_>]) -> Vec<String> {
    #[derive(Default)]
    struct Tally {
        heard: bool,
        unheard: u32,
        others: bool,
    }
    let mut tally: BTreeMap<&VantageName, Tally> = BTreeMap::new();
    for row in rows {
        let answered = row.passed().next().is_some();
        for spot in &row.spots {
            let tally = tally.entry(spot.vantage).or_default();
            match spot.came {
                Came::Failed(failure, _) if is_silence(failure) => {
                    tally.unheard += 1;
                    tally.others |= answered;
                }
                Came::Passed(_) | Came::Failed(..) => tally.heard = true,
                Came::LeftOut(..) | Came::Silent => {}
            }
        }
    }
    let lost = tally
        .iter()
        .filter(|(_, tally)| !tally.heard && tally.others && tally.unheard > 1);
    lost.map(|(vantage, _)| vantage.to_string()).collect()
}

impl<'c> Row<'c> {
    /// Where a probe passed.
    pub(super) fn passed(&self) -> impl Iterator<Item = (&str, &'c Observation)> {
        self.spots.iter().filter_map(|spot| match spot.came {
            Came::Passed(seen) => Some((spot.name.as_str(), seen)),
            Came::Failed(..) | Came::LeftOut(..) | Came::Silent => None,
        })
    }

    /// Where none did, with the failure and the number of tries.
    pub(super) fn failed(&self) -> impl Iterator<Item = (&str, Failure, u32)> {
        self.spots.iter().filter_map(|spot| match spot.came {
            Came::Failed(failure, tries) => Some((spot.name.as_str(), failure, tries)),
            Came::Passed(_) | Came::LeftOut(..) | Came::Silent => None,
        })
    }

    /// Where none was fired, with the reason and the number of tries.
    pub(super) fn left_out(&self) -> impl Iterator<Item = (&str, &'c str, u32)> {
        self.spots.iter().filter_map(|spot| match spot.came {
            Came::LeftOut(why, tries) => Some((spot.name.as_str(), why, tries)),
            Came::Passed(_) | Came::Failed(..) | Came::Silent => None,
        })
    }

    /// The one failure of all that failed.
    pub(super) fn one_failure(&self) -> Option<Failure> {
        let failures: BTreeSet<Failure> = self.failed().map(|(_, failure, _)| failure).collect();
        match failures.len() {
            1 => failures.first().copied(),
            _ => None,
        }
    }

    /// The arm's name.
    pub(super) fn label(&self) -> String {
        Arm::to(self.target.clone()).twin(self.traits).label()
    }

    /// Whether it is asked as users ask.
    pub(super) fn is_plain(&self) -> bool {
        self.traits == Traits::PLAIN
    }

    pub(super) fn tried(&self) -> Tried {
        let mut tried = Tried {
            arm: self.label(),
            passed: Vec::new(),
            failed: Vec::new(),
            not_probed: Vec::new(),
        };
        for spot in &self.spots {
            let names = match spot.came {
                Came::Passed(_) => &mut tried.passed,
                Came::Failed(..) => &mut tried.failed,
                Came::LeftOut(..) | Came::Silent => &mut tried.not_probed,
            };
            names.push(spot.name.clone());
        }
        tried
    }
}
