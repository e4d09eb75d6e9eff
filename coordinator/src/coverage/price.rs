//! What it costs to fire arms once more in other ways.

use std::collections::BTreeMap;

use localize::{Hello, TWINS, Traits};

use crate::engine::Outlook;
use crate::plan::{self, LARGE_HELLO_EVERY};

/// What one of the ways costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The way, in the words of the arms' names, and in how many of the rounds, where not in all.
    pub way: String,
    /// Probes of a scheduled round that are fired in it, from all vantage points.
    pub probes_per_round: usize,
}

/// The price of every way in which scheduled rounds ask once more, in the order of the rounds.
#[must_use]
pub fn prices(outlook: &Outlook) -> Vec<Price> {
    let mut probes: BTreeMap<Traits, usize> = BTreeMap::new();
    for vantage in &outlook.topology.vantages {
        for arm in plan::arms(&outlook.topology, vantage, &outlook.twins) {
            *probes.entry(arm.traits).or_default() += 1;
        }
    }
    let price = |twin: &localize::Twin| {
        let probes_per_round = *probes.get(&twin.traits)?;
        let way = twin.words.trim_start_matches([',', ' ']);
        Some(Price {
            way: match twin.traits.hello {
                Hello::Usual => way.to_owned(),
                Hello::Large => format!("{way}, in one round of {LARGE_HELLO_EVERY}"),
            },
            probes_per_round,
        })
    };
    TWINS.iter().filter_map(price).collect()
}
