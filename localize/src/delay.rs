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
    /// Up to here no ordinary unrest needs to be explained, however much the machines are loaded.
    ordinary: u64,
    /// Excess that is no surprise.
    spread: u64,
    /// Excess that people notice.
    noticed: u64,
}

type Place = (VantageName, Arm, Layer);

/// What is alike enough to be compared: all that answers questions, or one kind of what serves pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    Name,
    Edge,
    Vip,
    Backend,
}

impl Sort {
    fn of(arm: &Arm) -> Self {
        match arm.target {
            Target::Resolver { .. } | Target::NameServer { .. } => Self::Name,
            Target::Edge { .. } => Self::Edge,
            Target::Vip { .. } => Self::Vip,
            Target::Backend { .. } => Self::Backend,
        }
    }
}

/// The same layer from the same vantage point to the same sort of target.
type Kin = (VantageName, Layer, Sort);

fn kin(place: &Place) -> Kin {
    (place.0.clone(), place.2, Sort::of(&place.1))
}

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
        let calm = Calm::new(baselines);
        let siblings = Siblings::new(&times);
        let places = times.0.keys();
        let usual = places.map(|place| {
            let known = calm.usual(place);
            let usual = known.unwrap_or_else(|| siblings.usual(place, &times));
            (place.clone(), usual)
        });
        let usual = usual.collect();
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
        let waited = waited.copied().unwrap_or(0)
            * match Sort::of(arm) {
                Sort::Name => 1,
                Sort::Edge | Sort::Vip | Sort::Backend => ROUND_TRIPS,
            };
        let own = waited + woken_late(observation);
        if took.0 > usual.ordinary + unrest + own {
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
        let lowest_half = excess.into_iter().map(|(key, all)| (key, middle(all)));
        lowest_half.collect()
    }
}

/// What calm times tell.
struct Calm<'a> {
    baselines: BTreeMap<Place, &'a Baseline>,
    /// The lower median of the spreads of kin.
    spreads: BTreeMap<Kin, u64>,
}

impl<'a> Calm<'a> {
    fn new(baselines: &'a Baselines) -> Self {
        let known = baselines.0.iter().filter(|b| b.passed >= BASELINE_ENOUGH);
        let baselines: BTreeMap<Place, &Baseline> = known
            .map(|b| ((b.vantage.clone(), b.arm.clone(), b.layer), b))
            .collect();
        let mut spreads: BTreeMap<Kin, Vec<u64>> = BTreeMap::new();
        for (place, baseline) in &baselines {
            spreads
                .entry(kin(place))
                .or_default()
                .push(spread(baseline));
        }
        let spreads = spreads.into_iter().map(|(kin, all)| (kin, middle(all)));
        Self {
            spreads: spreads.collect(),
            baselines,
        }
    }

    fn usual(&self, place: &Place) -> Option<Usual> {
        let baseline = self.baselines.get(place)?;
        // Calm times may hold an old fault of this arm, and hardly of most of its siblings.
        let most = 2 * self.spreads.get(&kin(place)).copied().unwrap_or(0);
        let spread = spread(baseline).min(most);
        Some(Usual {
            typical: baseline.median.0,
            ordinary: 3 * baseline.median.0 + GREAT.max(spread),
            spread,
            noticed: NOTICED,
        })
    }
}

/// What the window tells where calm times tell nothing.
struct Siblings {
    /// The quickest of each kin by its lower quartile, with that and the quartile of its handshakes.
    quickest: BTreeMap<Kin, (u64, u64)>,
}

impl Siblings {
    fn new(times: &Times) -> Self {
        let mut quickest: BTreeMap<Kin, (u64, u64)> = BTreeMap::new();
        for place in times.0.keys() {
            let own = (times.quartile(place), times.handshake(place));
            let least = quickest.entry(kin(place)).or_insert(own);
            *least = own.min(*least);
        }
        Self { quickest }
    }

    /// What the quickest of its kin takes, and more where a place is farther away.
    fn usual(&self, place: &Place, times: &Times) -> Usual {
        let (vantage, layer, sort) = kin(place);
        let of = |sort| self.quickest.get(&(vantage.clone(), layer, sort)).copied();
        let own = (times.quartile(place), times.handshake(place));
        let (least, handshake) = of(sort).unwrap_or(own);
        let farther = ROUND_TRIPS * own.1.saturating_sub(handshake);
        let comparable: &[Sort] = match sort {
            Sort::Name => &[Sort::Name],
            Sort::Edge | Sort::Vip | Sort::Backend => &[Sort::Edge, Sort::Vip, Sort::Backend],
        };
        let all = comparable.iter().filter_map(|sort| of(*sort));
        Usual {
            typical: own.0.min(least + farther),
            ordinary: 3 * all.map(|(least, _)| least).min().unwrap_or(own.0) + GREAT,
            spread: 0,
            noticed: NOTICED_BESIDE,
        }
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

    fn handshake(&self, place: &Place) -> u64 {
        self.quartile(&(place.0.clone(), place.1.clone(), Layer::Tcp))
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
            .map(|(vantage, all)| (vantage, middle(all)));
        typical.collect()
    }
}

/// The lower median; 0 of none.
fn middle(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    let place = values.len().saturating_sub(1) / 2;
    values.get(place).copied().unwrap_or(0)
}
