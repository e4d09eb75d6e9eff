//! How rare a fault the scheduled rounds would show, component by component.

use std::collections::{BTreeMap, BTreeSet};

use localize::power::{lowest_visible, rounds_to_see};
use localize::watch::{Group, Watch};
use localize::{Arm, Layer, Scheme, Target, Topology};

use super::Probes;
use crate::engine::Outlook;
use crate::plan;

pub(super) const HOUR_US: u64 = 3_600_000_000;
pub(super) const DAY_US: u64 = 24 * HOUR_US;

/// What the watch over a service can see.
pub(super) struct Sight<'a> {
    topology: &'a Topology,
    watch: &'a Watch,
    every_us: u64,
    /// Probes a round of each group.
    groups: BTreeMap<Group, f64>,
}

impl<'a> Sight<'a> {
    /// `None` without a schedule.
    pub(super) fn new(outlook: &'a Outlook) -> Option<Self> {
        let every = outlook.every?;
        let topology = &outlook.topology;
        let twins = outlook.twins.clone().in_every_round();
        let mut groups: BTreeMap<Group, f64> = BTreeMap::new();
        for vantage in &topology.vantages {
            for arm in plan::arms(topology, vantage, &twins) {
                for layer in layers(topology, &arm) {
                    for group in Group::of(&vantage.name, &arm, *layer) {
                        *groups.entry(group).or_default() += 1.0;
                    }
                }
            }
        }
        Some(Self {
            topology,
            watch: &outlook.watch,
            every_us: u64::try_from(every.as_micros()).unwrap_or(u64::MAX).max(1),
            groups,
        })
    }

    /// The lowest rate that shows within so long with a probability of 0.95 in some group, of a fault
    /// at the last layer of the probes that cross it; the rate is a share of those probes.
    pub(super) fn rate_seen(&self, crossing: &Probes, within_us: u64) -> Option<f64> {
        let rounds = within_us as f64 / self.every_us as f64;
        let level = self.watch.level(self.groups.len(), self.every_us);
        let views = self.views(crossing);
        lowest_visible(|rate| {
            views.iter().any(|view| {
                let missed = view.shares.iter().map(|share| 1.0 - rate * share);
                let struck = 1.0 - (1.0 - view.calm) * missed.product::<f64>();
                rounds_to_see(view.calm, struck, level) <= rounds
            })
        })
    }

    /// The groups that some of the crossing probes are in.
    fn views(&self, crossing: &Probes) -> Vec<View> {
        let mut shares: BTreeMap<Group, Vec<f64>> = BTreeMap::new();
        for ((vantage, arm), share) in crossing {
            let last = layers(self.topology, arm).last();
            for group in last
                .iter()
                .flat_map(|layer| Group::of(vantage, arm, **layer))
            {
                shares.entry(group).or_default().push(*share);
            }
        }
        // Groups of the very same probes are one view.
        let mut seen = BTreeSet::new();
        let views = shares.into_iter().map(|(group, shares)| {
            let probes = self.groups.get(&group).copied().unwrap_or(1.0);
            let calm = self.watch.calm_rate(&group, probes);
            View { calm, shares }
        });
        views
            .filter(|view| seen.insert((view.calm.to_bits(), view.bits())))
            .collect()
    }
}

/// What one group sees of a component.
struct View {
    /// Share of rounds with a failure in the group while all is well.
    calm: f64,
    /// The shares in which its probes cross the component.
    shares: Vec<f64>,
}

impl View {
    fn bits(&self) -> Vec<u64> {
        self.shares.iter().map(|share| share.to_bits()).collect()
    }
}

/// The layers that an arm's probes pass.
fn layers(topology: &Topology, arm: &Arm) -> &'static [Layer] {
    let scheme = match &arm.target {
        Target::Resolver { .. } | Target::NameServer { .. } => return &[Layer::Dns],
        Target::Edge { .. } | Target::Vip { .. } => topology.scheme,
        Target::Backend { name, .. } => {
            let backend = topology.backends.iter().find(|b| b.name == *name);
            backend.map_or(topology.scheme, |backend| backend.scheme)
        }
    };
    match scheme {
        Scheme::Http => &[Layer::Tcp, Layer::Http],
        Scheme::Https => &[Layer::Tcp, Layer::Tls, Layer::Http],
        Scheme::Tcp => &[Layer::Tcp],
    }
}
