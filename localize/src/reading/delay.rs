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

use crate::facts::baseline::{Baseline, Baselines};
use crate::facts::observation::{Arm, Firing, Layer, Object, Observation, RoundId, Step, Target};
use crate::facts::time::Micros;
use crate::facts::topology::VantageName;

/// Excess over calm times that people notice: an answer within a tenth of a second feels immediate
/// (Nielsen, Usability Engineering, 1993, chapter 5).
const NOTICED: u64 = 100_000;

/// The same over siblings where calm times are unknown: others may do more, or stand farther away. Twice
/// the usual time more is needed, too: nothing tells by how much it varies.
const NOTICED_BESIDE: u64 = 200_000;
const TIMES_BESIDE: u64 = 2;

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

/// When SYNs that are not answered are sent again, after the first: after a second, and then after twice the
/// last wait (RFC 6298, section 2; RFC 9293, section 3.8.1).
const RESENT: [u64; 3] = [1_000_000, 3_000_000, 7_000_000];
/// How far from these an answer may be that waited for one: timers run by the tick, and answers scatter.
const RESENT_EARLY: u64 = 50_000;
const RESENT_LATE: u64 = 150_000;

/// Whether something is late by what lost SYNs cost.
fn is_resent(by: u64) -> bool {
    let near = |at: &u64| (at - RESENT_EARLY..=at + RESENT_LATE).contains(&by);
    RESENT.iter().any(near)
}

/// By how much a passed layer was late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delay {
    /// Users notice.
    Noticed,
    /// By what a lost SYN, or two or three of them, cost somebody on the way: no application keeps such times.
    Resent,
    /// So much that nobody waits for it gladly.
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

/// The same layer from the same vantage point to the same sort of target, for the same.
type Kin = (VantageName, Layer, Object, Sort);

fn kin(place: &Place) -> Kin {
    let (vantage, arm, layer) = place;
    (vantage.clone(), *layer, arm.traits.object, Sort::of(arm))
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
        let credible = usual.typical + usual.noticed.max(usual.spread).max(unrest) + own;
        let answers = layer == Layer::Dns || layer == Layer::Http;
        let late = took.0 > usual.ordinary + unrest + own || answers && took.0 > credible;
        // How late it is does not depend on how sure that is.
        let by = took.0.saturating_sub(usual.typical);
        late.then(|| {
            if layer == Layer::Http && is_resent(by) {
                Delay::Resent
            } else if by > GREAT + own || !answers {
                Delay::Great
            } else {
                Delay::Noticed
            }
        })
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
        let (vantage, layer, object, sort) = kin(place);
        let of = |sort| {
            let kin = (vantage.clone(), layer, object, sort);
            self.quickest.get(&kin).copied()
        };
        let own = (times.quartile(place), times.handshake(place));
        let (least, handshake) = of(sort).unwrap_or(own);
        let farther = ROUND_TRIPS * own.1.saturating_sub(handshake);
        let comparable: &[Sort] = match sort {
            Sort::Name => &[Sort::Name],
            Sort::Edge | Sort::Vip | Sort::Backend => &[Sort::Edge, Sort::Vip, Sort::Backend],
        };
        let all = comparable.iter().filter_map(|sort| of(*sort));
        let typical = own.0.min(least + farther);
        Usual {
            typical,
            ordinary: 3 * all.map(|(least, _)| least).min().unwrap_or(own.0) + GREAT,
            spread: 0,
            noticed: NOTICED_BESIDE.max(TIMES_BESIDE * typical),
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

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::facts::observation::{Facts, ObservationId, Outcome, Step, TcpFacts};
    use crate::facts::time::Stamp;
    use crate::facts::topology::ServiceName;

    const ROUNDS: u64 = 8;

    fn vantage() -> VantageName {
        VantageName("dc1".to_string())
    }

    fn backend(number: u8) -> Arm {
        Arm::to(Target::Backend {
            name: alloc::format!("web{number}"),
            address: ([10, 0, number, 2], 80).into(),
        })
    }

    /// A probe of a backend in a round, with the milliseconds of its handshake, TLS and request.
    fn probe(number: u8, round: u64, took: [u64; 3], again: u32) -> Observation {
        let layers = [Layer::Tcp, Layer::Tls, Layer::Http];
        let steps = layers.into_iter().zip(took.map(Micros::from_millis));
        Observation {
            id: ObservationId {
                vantage: vantage(),
                sequence: round * 10 + u64::from(number),
            },
            service: ServiceName("shop.example".to_string()),
            round: RoundId(round),
            arm: backend(number),
            started: Stamp::default(),
            scheduled_us: round * 1_000_000,
            firing: Firing::OnTime,
            steps: steps.map(|(layer, took)| Step { layer, took }).collect(),
            outcome: Outcome::Passed,
            facts: Facts {
                tcp: Some(TcpFacts {
                    local: ([10, 0, 5, 5], 1024).into(),
                    syn_retransmissions: again,
                    retransmissions: again,
                    rtt: None,
                    reused_after: None,
                    options: None,
                }),
                ..Facts::default()
            },
        }
    }

    /// Calm times of web1's handshakes and requests: passes, and the upper quartile of the requests.
    fn calm(passed: u64, p75: u64) -> Baselines {
        let baseline = |layer, median, p75| Baseline {
            vantage: vantage(),
            arm: backend(1),
            layer,
            passed,
            failed: 0,
            median: Micros::from_millis(median),
            p75: Some(Micros::from_millis(p75)),
            statuses: Vec::new(),
            p99: Micros::from_millis(4000),
        };
        let requests = baseline(Layer::Http, 20, p75);
        let handshakes = baseline(Layer::Tls, 20, p75);
        Baselines(vec![baseline(Layer::Tcp, 1, 1), handshakes, requests])
    }

    /// What becomes of web1's last request, which took so long, when all else is ordinary.
    fn judged(
        baselines: &Baselines,
        layer: Layer,
        took: u64,
        last: &[Observation],
    ) -> Option<Delay> {
        let mut window: Vec<Observation> = (1..ROUNDS)
            .flat_map(|round| [1, 2].map(|number| probe(number, round, [1, 20, 20], 0)))
            .collect();
        window.extend(last.iter().cloned());
        let observations: Vec<&Observation> = window.iter().collect();
        let delays = Delays::new(baselines, &observations);
        delays.of(&last[0], layer, Micros::from_millis(took))
    }

    #[test]
    fn late_is_what_goes_beyond_calm_times_and_their_spread() {
        let known = calm(100, 25);
        let rows = [
            (&known, Layer::Http, 119, None),
            (&known, Layer::Http, 121, Some(Delay::Noticed)),
            (&known, Layer::Http, 710, Some(Delay::Noticed)),
            (&known, Layer::Http, 730, Some(Delay::Great)),
            // What lost SYNs cost, and not what is near it.
            (&known, Layer::Http, 960, Some(Delay::Great)),
            (&known, Layer::Http, 1_020, Some(Delay::Resent)),
            (&known, Layer::Http, 1_200, Some(Delay::Great)),
            (&known, Layer::Http, 3_100, Some(Delay::Resent)),
            (&known, Layer::Tls, 1_020, Some(Delay::Great)),
            // A TLS handshake has no application behind it.
            (&known, Layer::Tls, 700, None),
            (&known, Layer::Tls, 765, Some(Delay::Great)),
            // Where a quarter took 50 ms more, it is no surprise that one takes 300 ms more.
            (&calm(100, 70), Layer::Http, 310, None),
            (&calm(100, 70), Layer::Http, 330, Some(Delay::Noticed)),
            // Too few passes tell nothing: beside siblings more must be missing.
            (&calm(19, 25), Layer::Http, 210, None),
            (&calm(19, 25), Layer::Http, 230, Some(Delay::Noticed)),
        ];
        for (baselines, layer, took, expected) in rows {
            let last = [probe(1, ROUNDS, [1, 20, took], 0)];
            let found = judged(baselines, layer, took, &last);
            assert_eq!(found, expected, "{layer:?} {took} ms");
        }
    }

    #[test]
    fn what_all_arms_waited_for_is_nobodys() {
        let slow = |number, again| probe(number, ROUNDS, [101, 20, 380], again);
        let rows = [
            // Every handshake of the round took 100 ms longer: so may each of three round trips.
            ([slow(1, 0), slow(2, 0)], None),
            // Only this one did.
            (
                [slow(1, 0), probe(2, ROUNDS, [1, 20, 20], 0)],
                Some(Delay::Noticed),
            ),
            // A lost SYN is not waiting.
            ([slow(1, 1), slow(2, 1)], Some(Delay::Noticed)),
        ];
        for (last, expected) in rows {
            let found = judged(&calm(100, 25), Layer::Http, 380, &last);
            assert_eq!(found, expected, "{:?}", last.map(|o| o.steps));
        }
    }

    #[test]
    fn a_restless_vantage_point_is_late_by_itself() {
        for (handshake, expected) in [(1, Some(Delay::Noticed)), (80, None)] {
            let restless = |round: u64| {
                if round.is_multiple_of(2) {
                    handshake
                } else {
                    1
                }
            };
            let mut window: Vec<Observation> = (1..=ROUNDS)
                .flat_map(|r| [1, 2].map(|number| probe(number, r, [restless(r), 20, 20], 0)))
                .collect();
            window.push(probe(1, ROUNDS + 1, [1, 20, 250], 0));
            let observations: Vec<&Observation> = window.iter().collect();
            let delays = Delays::new(&calm(100, 25), &observations);
            let last = &window[window.len() - 1];
            let found = delays.of(last, Layer::Http, Micros::from_millis(250));
            assert_eq!(found, expected, "handshakes of {handshake} ms now and then");
        }
    }

    #[test]
    fn what_is_farther_away_may_take_longer() {
        // The handshake of web1 and its request, beside a sibling at 1 ms and 20 ms.
        for (handshake, took, expected) in [
            (1, 230, Some(Delay::Noticed)),
            (50, 230, None),
            (50, 490, None),
            (50, 520, Some(Delay::Noticed)),
        ] {
            let window: Vec<Observation> = (1..=ROUNDS)
                .flat_map(|r| {
                    [
                        probe(1, r, [handshake, 20, took], 0),
                        probe(2, r, [1, 20, 20], 0),
                    ]
                })
                .collect();
            let observations: Vec<&Observation> = window.iter().collect();
            let delays = Delays::new(&Baselines::default(), &observations);
            let found = delays.of(&window[0], Layer::Http, Micros::from_millis(took));
            assert_eq!(found, expected, "{handshake} ms and {took} ms");
        }
    }
}
