//! The rounds of a schedule on a small site, well or with a backend that fails a share of its requests,
//! as the watch is given them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use localize::power::rounds_to_see;
use localize::watch::{Alarm, ClosedRound, Glimpse, Group, Watch};
use localize::{
    Arm, Facts, Failure, Firing, Layer, Micros, Observation, ObservationId, Outcome, RoundId,
    ServiceName, Stamp, Step, Target, VantageName,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::fault::log_uniform;

/// Share of probes that fail at an ordinary vantage point, from and to.
const BACKGROUND: (f64, f64) = (1e-5, 5e-4);
/// The same at the noisy one.
const NOISY: f64 = 0.003;
/// Share of a vantage point's probes that fail in a round in which its own network stumbles.
const STUMBLE: f64 = 0.5;
const BACKENDS: usize = 3;
/// The backend that is at fault when one is.
const FAULTY: usize = 1;

/// Agents on every host that has a part in the path, as in the lab's full mesh.
pub const FULL: [&str; 8] = [
    "home1", "home2", "cdn1", "dc1", "lb", "web1", "web2", "web3",
];
/// No agents on balancer and backends, as in its bare one.
pub const BARE: [&str; 4] = ["home1", "home2", "cdn1", "dc1"];

/// A probe of each round, with what the watch is told of every way in which it may end.
struct Probe {
    arm: Arm,
    vantage: usize,
    layers: &'static [Layer],
    /// Share of its requests that the faulty backend answers.
    crosses: f64,
    passed: Option<Glimpse>,
    /// By place of the layer.
    failed: Vec<Option<Glimpse>>,
}

/// The lab's site: three backends behind a balancer and two edges, seen by two homes, a neighbour of the
/// CDN, and agents inside.
pub struct Site {
    rng: StdRng,
    probes: Vec<Probe>,
    names: Vec<VantageName>,
    /// Share of failing probes, by vantage point.
    background: Vec<f64>,
    every_us: u64,
    round: u64,
}

/// What the theory says of a fault, in rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Theory {
    /// The evidence that an alarm takes over the divergence of the rates, in the group that is best.
    pub mean: f64,
    /// After which 95 of 100 are seen, as `meshctl coverage` promises it.
    pub promised: f64,
}

impl Site {
    /// A site with agents at these places. Backgrounds are drawn from the seed.
    #[must_use]
    pub fn new(seed: u64, every_us: u64, places: &[&str]) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let names = places.iter().map(|name| VantageName((*name).to_owned()));
        let names: Vec<VantageName> = names.collect();
        let (low, high) = BACKGROUND;
        let mut background: Vec<f64> = names
            .iter()
            .map(|_| log_uniform(&mut rng, low, high))
            .collect();
        let noisy = rng.random_range(0..background.len());
        background[noisy] = NOISY;
        let probes = (0..names.len()).flat_map(|vantage| probes(&names[vantage], vantage));
        Self {
            rng,
            probes: probes.collect(),
            names,
            background,
            every_us,
            round: 0,
        }
    }

    /// The next round, in which the faulty backend fails this share of its requests.
    ///
    /// Half of a vantage point's failures come one by one, and half in rounds in which its own network
    /// stumbles and every other probe fails.
    pub fn next_round(&mut self, rate: f64) -> ClosedRound {
        self.round += 1;
        let rng = &mut self.rng;
        let chances = self.background.iter().map(|share| {
            let stumbles = rng.random_bool(*share);
            if stumbles { STUMBLE } else { 0.5 * share }
        });
        let chances: Vec<f64> = chances.collect();
        let mut glimpses = Vec::with_capacity(self.probes.len());
        for probe in &self.probes {
            let last = probe.layers.len() - 1;
            let failed = if rng.random_bool(chances[probe.vantage]) {
                Some(rng.random_range(0..=last))
            } else {
                rng.random_bool(rate * probe.crosses).then_some(last)
            };
            let glimpse = match failed {
                Some(layer) => probe.failed[layer].clone(),
                None => probe.passed.clone(),
            };
            glimpses.extend(glimpse);
        }
        ClosedRound {
            id: RoundId(self.round),
            at_us: self.round * self.every_us,
            every_us: self.every_us,
            glimpses,
        }
    }

    /// Hands rounds to the watch until one brings an alarm, so many at most; the number of that round.
    pub fn watch(&mut self, watch: &mut Watch, rate: f64, most: u64) -> Option<(u64, Alarm)> {
        (1..=most).find_map(|nth| {
            let news = watch.round(&self.next_round(rate));
            news.alarm.map(|alarm| (nth, alarm))
        })
    }

    /// When a fault of this rate would show, by what the watch has learnt.
    #[must_use]
    pub fn theory(&self, watch: &Watch, rate: f64) -> Theory {
        let groups = self.groups();
        let level = watch.level(groups.len(), self.every_us);
        let mut best = Theory {
            mean: f64::INFINITY,
            promised: f64::INFINITY,
        };
        for (group, crosses) in &groups {
            let calm = watch.calm_rate(group, crosses.len() as f64);
            let missed: f64 = crosses.iter().map(|share| 1.0 - rate * share).product();
            let struck = 1.0 - (1.0 - calm) * missed;
            if missed < 1.0 {
                let passed = (1.0 - struck) * ((1.0 - struck) / (1.0 - calm)).ln();
                let divergence = struck * (struck / calm).ln() + passed;
                best.mean = best.mean.min(level / divergence);
                best.promised = best.promised.min(rounds_to_see(calm, struck, level));
            }
        }
        best
    }

    /// The groups that are watched, with the share of the fault that each probe in them crosses.
    fn groups(&self) -> BTreeMap<Group, Vec<f64>> {
        let mut groups: BTreeMap<Group, Vec<f64>> = BTreeMap::new();
        for probe in &self.probes {
            let last = probe.layers.len() - 1;
            for (place, layer) in probe.layers.iter().enumerate() {
                let share = if place == last { probe.crosses } else { 0.0 };
                for group in Group::of(&self.names[probe.vantage], &probe.arm, *layer) {
                    groups.entry(group).or_default().push(share);
                }
            }
        }
        groups
    }
}

/// What the agent at a place probes in each round.
fn probes(name: &VantageName, vantage: usize) -> Vec<Probe> {
    let dns = &[Layer::Dns][..];
    let https = &[Layer::Tcp, Layer::Tls, Layer::Http][..];
    let chance = 1.0 / BACKENDS as f64;
    let at = |host: u8, port| SocketAddr::from(([10, 0, 0, host], port));
    let name_server = |number: u8| Target::NameServer {
        name: format!("ns{number}"),
        server: at(number, 53),
    };
    let mut targets = vec![(name_server(1), dns, 0.0), (name_server(2), dns, 0.0)];
    if name.0.starts_with("home") {
        let own = u8::try_from(vantage).unwrap_or(0);
        let server = at(10 + own, 53);
        targets.push((Target::Resolver { server }, dns, 0.0));
        for address in [at(21, 443), at(22, 443)] {
            targets.push((Target::Edge { address }, https, chance));
        }
    } else {
        let address = at(30, 443);
        targets.push((Target::Vip { address }, https, chance));
    }
    if !name.0.starts_with("home") && !name.0.starts_with("cdn") {
        for (number, host) in (41..).take(BACKENDS).enumerate() {
            let target = Target::Backend {
                name: format!("web{}", number + 1),
                address: at(host, 443),
            };
            let crosses = if number == FAULTY { 1.0 } else { 0.0 };
            targets.push((target, https, crosses));
        }
    }
    let probes = targets
        .into_iter()
        .map(|(target, layers, crosses)| probe(name, vantage, target, layers, crosses));
    probes.collect()
}

fn probe(
    name: &VantageName,
    vantage: usize,
    target: Target,
    layers: &'static [Layer],
    crosses: f64,
) -> Probe {
    let arm = Arm::to(target);
    let failed = (0..layers.len())
        .map(|layer| Glimpse::of(&observation(name, &arm, layers, Some(layer))))
        .collect();
    Probe {
        passed: Glimpse::of(&observation(name, &arm, layers, None)),
        failed,
        arm,
        vantage,
        layers,
        crosses,
    }
}

/// A probe that passed all of its layers, or failed at one of them.
fn observation(
    name: &VantageName,
    arm: &Arm,
    layers: &[Layer],
    failed: Option<usize>,
) -> Observation {
    let passed = &layers[..failed.unwrap_or(layers.len())];
    let steps = passed.iter().map(|layer| Step {
        layer: *layer,
        took: Micros(1_000),
    });
    let outcome = failed.map_or(Outcome::Passed, |place| Outcome::Failed {
        layer: layers[place],
        failure: match layers[place] {
            Layer::Dns => Failure::DnsTimeout,
            Layer::Tcp => Failure::ConnectTimeout,
            Layer::Tls => Failure::TlsTimeout,
            Layer::Http => Failure::HttpStatus(500),
        },
        after: Micros(1_000_000),
    });
    Observation {
        id: ObservationId {
            vantage: name.clone(),
            sequence: 1,
        },
        service: ServiceName("shop".to_owned()),
        round: RoundId(1),
        arm: arm.clone(),
        started: Stamp {
            at_us: 1,
            uncertainty_us: 1,
        },
        scheduled_us: 1,
        firing: Firing::OnTime,
        steps: steps.collect(),
        outcome,
        facts: Facts::default(),
    }
}
