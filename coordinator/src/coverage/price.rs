//! What it costs to fire arms once more in other ways.

use std::collections::{BTreeMap, BTreeSet};

use localize::trace::MOST_SYNS;
use localize::{BURST, Hello, Pace, TWINS, Traits};

use crate::engine::Outlook;
use crate::plan::{self, BURST_EVERY, LARGE_HELLO_EVERY};
use crate::service_file::Extra;

/// What one of the ways costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The way, in the words of the arms' names, and in how many of the rounds, where not in all.
    pub way: String,
    /// Connections or questions that probes in it are of a scheduled round, from all vantage points.
    pub probes_per_round: usize,
}

/// The price of every way in which scheduled rounds ask once more, in the order of the rounds.
#[must_use]
pub fn prices(outlook: &Outlook) -> Vec<Price> {
    let mut probes: BTreeMap<Traits, usize> = BTreeMap::new();
    for vantage in &outlook.topology.vantages {
        for arm in plan::arms(&outlook.topology, vantage, &outlook.twins) {
            let connections = usize::try_from(arm.traits.connections()).unwrap_or(usize::MAX);
            *probes.entry(arm.traits).or_default() += connections;
        }
    }
    let price = |twin: &localize::Twin| {
        let probes_per_round = *probes.get(&twin.traits)?;
        let way = twin.words.trim_start_matches([',', ' ']);
        Some(Price {
            way: match (twin.traits.hello, twin.traits.pace) {
                (Hello::Usual, Pace::Single) => way.to_owned(),
                (Hello::Large, _) => format!("{way}, in one round of {LARGE_HELLO_EVERY}"),
                (Hello::Usual, Pace::Burst) => {
                    format!("in bursts of {BURST} connections, in one round of {BURST_EVERY}")
                }
            },
            probes_per_round,
        })
    };
    TWINS.iter().filter_map(price).collect()
}

/// SYNs that agents send at most in a minute to trace ways, were every probe met with silence: each agent traces each
/// target once. While probes are answered nothing is traced.
#[must_use]
pub fn trace_syns(outlook: &Outlook) -> u32 {
    if outlook.trace == Extra::LeftOut {
        return 0;
    }
    let mut ways = BTreeSet::new();
    for vantage in &outlook.topology.vantages {
        for arm in plan::arms(&outlook.topology, vantage, &outlook.twins) {
            ways.extend(arm.target.connects_to().map(|to| (&vantage.name, to)));
        }
    }
    let ways = u32::try_from(ways.len()).unwrap_or(u32::MAX);
    ways.saturating_mul(MOST_SYNS)
}
