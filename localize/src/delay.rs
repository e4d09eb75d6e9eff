//! How much later than usual a layer was passed, and how much of that is nobody's.
//!
//! What is usual comes from calm times where these hold enough passes, else from the quickest sibling:
//! the same vantage point and kind of target. Three things may delay a layer without being a fault of
//! the path: its own spread in calm times, the unrest of the vantage point's host and network in the
//! window, and what all arms of the vantage point had to wait for in the same round. The latter two are
//! read off handshakes and DNS answers, since no application stands behind them. What goes beyond these
//! and beyond what a user notices is a delay: its excess is that of the components crossed, together.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::baseline::{Baseline, Baselines};
use crate::observation::{Arm, Firing, Layer, Observation, RoundId, Step, Target};
use crate::time::Micros;
use crate::topology::VantageName;

/// Excess over calm times that people notice: an answer within a tenth of a second feels immediate
/// (Nielsen, Usability Engineering, 1993, chapter 5).
const NOTICED: u64 = 100_000;

/// The same over siblings where calm times are unknown: they may do more, or stand farther away.
const NOTICED_BESIDE: u64 = 200_000;

/// Excess over three times the usual time that no ordinary unrest makes: under the one second after
/// which a lost SYN is sent again (RFC 6298), over the 200 to 300 ms of one lost segment later on.
const GREAT: u64 = 700_000;

/// Round trips between the first byte of a request and the last of its answer, about.
const ROUND_TRIPS: u64 = 3;

/// Distances from the median to the upper quartile beyond the median up to which a time is no surprise:
/// one in a hundred of an exponential tail goes farther. Higher quantiles would tell more of a heavy tail,
/// and would take a fault in a tenth of the calm times for one.
const TAIL: u64 = 6;

/// Interquantile ranges of handshakes that an answer may be late by on a restless host: it passes more
/// processes than a handshake does.
const RESTLESS: u64 = 3;

/// How often an agent is woken in a layer, about: on a host that wakes it late for the first packet,
/// each of these may be as late, and the time is its own and not the service's.
const WAKE_UPS: u64 = 10;

/// Lateness beyond this has other reasons than a busy host, such as a late announcement.
const LATE_AT_MOST: u64 = 100_000;

/// Probes that a baseline needs before it counts.
const BASELINE_ENOUGH: u64 = 20;

/// By how much a passed layer was late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delay {
    /// Users notice.
    Noticed,
    /// So much that a lost SYN explains it, too.
    Great,
}

/// What a layer of an arm takes when nothing is in the way.
#[derive(Clone, Copy, Debug)]
struct Usual {
    typical: u64,
    /// In calm times, else the quickest of all siblings: to three times that nothing is great.
    ordinary: u64,
    /// Excess that is no surprise.
    spread: u64,
    /// Excess that people notice.
    noticed: u64,
}

type Place = (VantageName, Arm, Layer);

/// What is usual at every place, and how restless every vantage point is.
pub(crate) struct Delays {
    usual: BTreeMap<Place, Usual>,
    unrest: BTreeMap<VantageName, u64>,
    waited: BTreeMap<(VantageName, RoundId), u64>,
}

impl Delays {
    /// Reads calm times and the window.
    pub(crate) fn new(baselines: &Baselines, observations: &[&Observation]) -> Self {
        let times = Times::new(observations);
        let calm: BTreeMap<Place, &Baseline> = baselines
            .0
            .iter()
            .filter(|b| b.passed >= BASELINE_ENOUGH)
            .map(|b| ((b.vantage.clone(), b.arm.clone(), b.layer), b))
            .collect();
        let usual = times
            .0
            .keys()
            .map(|place| (place.clone(), usual(place, &calm, &times)))
            .collect();
        let mut delays = Self {
            usual,
            unrest: times.unrest(),
            waited: BTreeMap::new(),
        };
        delays.waited = delays.waited_together(observations);
        delays
    }

    /// What a layer of an arm usually takes from a vantage point, where that is known.
    pub(crate) fn usual(&self, vantage: &VantageName, arm: &Arm, layer: Layer) -> Option<Micros> {
        let place = (vantage.clone(), arm.clone(), layer);
        self.usual.get(&place).map(|usual| Micros(usual.typical))
    }

    /// By how much a passed layer was late beyond everything that is nobody's; `None` if it was not.
    pub(crate) fn of(
        &self,
        observation: &Observation,
        layer: Layer,
        took: Micros,
    ) -> Option<Delay> {
        let vantage = observation.vantage();
        let arm = &observation.arm;
        let usual = self.usual.get(&(vantage.clone(), arm.clone(), layer))?;
        let unrest = RESTLESS * self.unrest.get(vantage).copied().unwrap_or(0);
        let waited = self.waited.get(&(vantage.clone(), observation.round));
        let waited = waited.copied().unwrap_or(0) * if is_dns(arm) { 1 } else { ROUND_TRIPS };
        let own = waited + woken_late(observation);
        if took.0 > (usual.ordinary * 3 + GREAT).max(usual.typical + usual.spread) + unrest + own {
            return Some(Delay::Great);
        }
        let credible = usual.noticed.max(usual.spread.max(unrest));
        let counts = layer == Layer::Dns || layer == Layer::Http;
        (counts && took.0 > usual.typical + credible + own).then_some(Delay::Noticed)
    }

    /// For each vantage point and round what most of its handshakes and DNS answers were late by.
    fn waited_together(
        &self,
        observations: &[&Observation],
    ) -> BTreeMap<(VantageName, RoundId), u64> {
        let mut excess: BTreeMap<(VantageName, RoundId), Vec<u64>> = BTreeMap::new();
        for observation in observations {
            let Some((layer, took)) = opening(observation) else {
                continue;
            };
            let Some(usual) = self.usual(observation.vantage(), &observation.arm, layer) else {
                continue;
            };
            excess
                .entry((observation.vantage().clone(), observation.round))
                .or_default()
                .push(took.saturating_sub(usual.0));
        }
        let lowest_half = excess
            .into_iter()
            .map(|(key, all)| (key, quantile(all, 1, 2)));
        lowest_half.collect()
    }
}

/// What is usual at a place: from calm times, or from the quickest of its kind.
fn usual(place: &Place, calm: &BTreeMap<Place, &Baseline>, times: &Times) -> Usual {
    if let Some(baseline) = calm.get(place) {
        let kin = calm.iter().filter(|(other, _)| akin(place, other));
        let spreads: Vec<u64> = kin.map(|(_, b)| spread(b)).collect();
        // Calm times may hold an old fault of this arm, and hardly of most of its siblings.
        let most = 2 * quantile(spreads, 1, 2);
        return Usual {
            typical: baseline.median.0,
            ordinary: baseline.median.0,
            spread: spread(baseline).min(most),
            noticed: NOTICED,
        };
    }
    let own = times.quartile(&(place.0.clone(), place.1.clone(), Layer::Tcp));
    let kin = times.0.keys().filter(|other| akin(place, other));
    let typical = kin.map(|other| {
        let theirs = times.quartile(&(other.0.clone(), other.1.clone(), Layer::Tcp));
        times.quartile(other) + ROUND_TRIPS * own.saturating_sub(theirs)
    });
    Usual {
        typical: typical.min().unwrap_or(0),
        ordinary: times.quickest(place),
        spread: 0,
        noticed: NOTICED_BESIDE,
    }
}

/// Excess that calm times make no surprise.
fn spread(baseline: &Baseline) -> u64 {
    match baseline.p75 {
        Some(p75) => TAIL * p75.0.saturating_sub(baseline.median.0),
        // One old fault in a hundred probes would else hide the next one.
        None => baseline.p99.0.saturating_sub(baseline.median.0).min(GREAT),
    }
}

/// The same layer from the same vantage point to the same kind of target, itself included.
fn akin(place: &Place, other: &Place) -> bool {
    let kind = |arm: &Arm| (core::mem::discriminant(&arm.target), is_dns(arm));
    let alike = kind(&place.1) == kind(&other.1) || is_dns(&place.1) && is_dns(&other.1);
    place.0 == other.0 && place.2 == other.2 && alike
}

/// The first packets of a probe and their answer, if none of them had to be sent again.
fn opening(observation: &Observation) -> Option<(Layer, u64)> {
    let first = whole_steps(observation).next()?;
    matches!(first.layer, Layer::Dns | Layer::Tcp).then_some((first.layer, first.took.0))
}

/// The layers passed, but for a handshake that a lost SYN made longer: that is no time of its own.
fn whole_steps(observation: &Observation) -> impl Iterator<Item = &Step> {
    let tcp = observation.facts.tcp.as_ref();
    let again = tcp.is_some_and(|tcp| tcp.syn_retransmissions > 0);
    let steps = observation.steps.iter();
    steps.filter(move |step| step.layer != Layer::Tcp || !again)
}

/// What a probe may have lost because its own host woke it late.
fn woken_late(observation: &Observation) -> u64 {
    match &observation.firing {
        Firing::Late { by, .. } => by.0.min(LATE_AT_MOST) * WAKE_UPS,
        Firing::OnTime | Firing::Skipped { .. } => 0,
    }
}

fn is_dns(arm: &Arm) -> bool {
    matches!(
        arm.target,
        Target::Resolver { .. } | Target::NameServer { .. }
    )
}

/// Every time of the window, ascending at each place; retried handshakes left out.
struct Times(BTreeMap<Place, Vec<u64>>);

impl Times {
    fn new(observations: &[&Observation]) -> Self {
        let mut times: BTreeMap<Place, Vec<u64>> = BTreeMap::new();
        for observation in observations {
            for step in whole_steps(observation) {
                let place = (
                    observation.vantage().clone(),
                    observation.arm.clone(),
                    step.layer,
                );
                times.entry(place).or_default().push(step.took.0);
            }
        }
        times.values_mut().for_each(|took| took.sort_unstable());
        Self(times)
    }

    /// The lower quartile: a fault in less than three quarters of the probes leaves it alone.
    fn quartile(&self, place: &Place) -> u64 {
        self.0.get(place).map_or(0, |took| took[took.len() / 4])
    }

    /// The quickest arm at a layer from a vantage point, DNS apart.
    fn quickest(&self, place: &Place) -> u64 {
        let names = is_dns(&place.1);
        let beside =
            |other: &&Place| other.0 == place.0 && other.2 == place.2 && is_dns(&other.1) == names;
        let all = self.0.keys().filter(beside);
        all.map(|other| self.quartile(other)).min().unwrap_or(0)
    }

    /// How far the times of handshakes and DNS answers scatter, at most of a vantage point's arms.
    fn unrest(&self) -> BTreeMap<VantageName, u64> {
        let mut ranges: BTreeMap<VantageName, Vec<u64>> = BTreeMap::new();
        let openings = |layer| matches!(layer, Layer::Dns | Layer::Tcp);
        for (place, took) in self.0.iter().filter(|(place, _)| openings(place.2)) {
            let range = took[took.len() * 9 / 10] - took[took.len() / 4];
            ranges.entry(place.0.clone()).or_default().push(range);
        }
        let typical = ranges
            .into_iter()
            .map(|(vantage, all)| (vantage, quantile(all, 1, 2)));
        typical.collect()
    }
}

/// The value below which so many of so many lie; the lower one of two, 0 of none.
fn quantile(mut values: Vec<u64>, share: usize, of: usize) -> u64 {
    values.sort_unstable();
    let place = values.len().saturating_sub(1) * share / of;
    values.get(place).copied().unwrap_or(0)
}
