//! What handshakes offer on either side of the balancer: what it takes out, or does not offer itself.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::kernel::listed;
use super::rate::wilson;
use super::{Scene, remark};
use crate::facts::observation::Target;
use crate::facts::sighting::{Direction, Packet, TcpOptions};
use crate::facts::topology::BALANCER_HOST;
use crate::judgement::verdict::Evidence;
use crate::reading::witness::{probes, unique};
use crate::world::mode::Word;
use crate::world::part::{Destination, What};

/// Of nearly all, one in so many at most is otherwise.
const STRAY: usize = 10;

/// Something that SYNs offer or do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    Timestamps,
    Sack,
    WindowScale,
    Ecn,
}

impl Offer {
    const ALL: [Self; 4] = [Self::Timestamps, Self::Sack, Self::WindowScale, Self::Ecn];

    const fn is_in(self, options: &TcpOptions) -> bool {
        match self {
            Self::Timestamps => options.timestamps,
            Self::Sack => options.sack,
            Self::WindowScale => options.window_scale.is_some(),
            Self::Ecn => options.ecn,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Timestamps => "TCP timestamps",
            Self::Sack => "selective acknowledgements",
            Self::WindowScale => "window scaling",
            Self::Ecn => "ECN",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Timestamps => "timestamps",
            Self::Sack => "sack",
            Self::WindowScale => "window_scale",
            Self::Ecn => "ecn",
        }
    }

    /// What comes of it that it is missing.
    const fn lacking(self) -> &'static str {
        match self {
            Self::Timestamps => {
                "; without them a server cannot tell a new connection from an old one on the same port (RFC 6191)"
            }
            Self::Sack | Self::WindowScale | Self::Ecn => "",
        }
    }
}

/// Handshakes of one sort: what each offered.
#[derive(Clone, Debug, Default)]
struct Offered {
    options: Vec<TcpOptions>,
    /// Who made them, or where they arrived.
    names: BTreeSet<String>,
}

impl Offered {
    fn add(&mut self, options: TcpOptions, name: String) {
        self.options.push(options);
        self.names.insert(name);
    }

    /// How many had it.
    fn having(&self, offer: Offer) -> usize {
        self.options.iter().filter(|o| offer.is_in(o)).count()
    }

    /// Whether nearly all had it: a stretch begins a little before what changed in it. `None` where some
    /// had and some had not, or there were none.
    fn all(&self, offer: Offer) -> Option<bool> {
        let (having, of) = (self.having(offer), self.options.len());
        match having * STRAY {
            _ if of == 0 => None,
            few if few <= of => Some(false),
            most if most >= of * (STRAY - 1) => Some(true),
            _ => None,
        }
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        listed(&names)
    }

    fn tally(&self, offer: Offer) -> String {
        format!("{} of {}", self.having(offer), self.options.len())
    }
}

/// A backend's host, and the one address that its answers do not come back to, where that is the fault.
fn unanswered(what: &What) -> Option<(&String, &IpAddr)> {
    let What::Return {
        host,
        to: Destination::Address(address),
    } = what
    else {
        return None;
    };
    Some((host, address))
}

/// How much of what the balancer does at a backend leaves from the address that answers do not come back to.
pub(super) fn share(scene: Scene<'_>, what: &What) -> Option<Evidence> {
    let (host, address) = unanswered(what)?;
    let sources = scene.own().by_source(scene.span, host);
    let all: usize = sources.values().sum();
    let lost = *sources.get(address).filter(|count| **count > 0)?;
    let share = wilson(lost as f64, all as f64);
    let percent = |share: f64| libm::round(share * 100.0);
    let text = format!(
        "{lost} of {all} connections of the balancer to {host} ({:.0} %, interval {:.0} to {:.0} %) come from {address}: for so much of the time {host} serves nobody who is sent there",
        percent(share.estimate),
        percent(share.low),
        percent(share.high),
    );
    Some(Evidence {
        text,
        vantage: host.clone(),
        arm: format!("passing/{host} from {address}"),
        failed: lost as u64,
        of: all as u64,
        failure: String::new(),
        implicates: true,
        nats: 0.0,
    })
}

/// What is left of the backends' capacity where one of the balancer's addresses is not answered: by which share of
/// its connections to each backend was completed.
pub(super) fn capacity(scene: Scene<'_>, what: &What) -> Option<Evidence> {
    let (host, address) = unanswered(what)?;
    let sources = scene.own().by_source(scene.span, host);
    sources.get(address).filter(|count| **count > 0)?;
    let counts = scene.own().completed(scene.span);
    let shares = counts
        .values()
        .map(|(completed, all)| *completed as f64 / *all as f64);
    let shares: Vec<f64> = shares.collect();
    if shares.len() < scene.case.topology.backends.len() || shares.is_empty() {
        return None;
    }
    let left: f64 = shares.iter().sum::<f64>() / shares.len() as f64;
    let none: f64 = shares.iter().map(|share| 1.0 - share).product();
    let tallies = counts
        .iter()
        .map(|(name, (done, all))| format!("{done} of {all} at {name}"));
    let tallies: Vec<String> = tallies.collect();
    let tallies: Vec<&str> = tallies.iter().map(String::as_str).collect();
    let text = format!(
        "of the balancer's connections these are completed: {}; so {:.0} % of the capacity is left, and if backends drop out by chance, all of them are out at once {:.1} % of the time",
        listed(&tallies),
        left * 100.0,
        none * 100.0,
    );
    Some(remark(host, format!("passing/{host}"), text))
}

/// SYNs and handshakes on either side of the balancer.
#[derive(Debug, Default)]
struct Sides {
    /// SYNs for the balancer's address, as they came in at its host.
    in_front: Offered,
    /// The balancer's SYNs, as they reached the backends.
    behind: Offered,
    /// Agents' SYNs, as they reached the backends.
    past: Offered,
    /// What was in force in agents' connections to the balancer, and to the backends.
    through: Offered,
    direct: Offered,
}

/// The lines about a balancer whose ports meet with old connections; none where the hosts see all offered.
pub(super) fn handshake(scene: Scene<'_>, what: &What, mode: Word) -> Vec<Evidence> {
    if !matches!(what, What::Balancer(_)) || mode != Word::PortReuseCollision {
        return Vec::new();
    }
    let sides = Sides::of(scene);
    let lines = Offer::ALL.into_iter();
    let lines = lines.flat_map(|offer| sides.lines(offer));
    lines.chain(again(scene)).collect()
}

/// How often the balancer takes a port again, and what comes of that and of other ports.
fn again(scene: Scene<'_>) -> Option<Evidence> {
    let [(reused, met), (others, met_otherwise)] = scene.own().reuse(scene.span);
    let text = format!(
        "{reused} of {} connections of the balancer come from a port that it had used for the same backend less than 60 s before: {met} of these meet what is remembered of the one before, and {met_otherwise} of the {others} from other ports",
        reused + others,
    );
    (reused > 0).then(|| Evidence {
        failed: met as u64,
        of: reused as u64,
        ..remark(BALANCER_HOST, "ports/lb".to_string(), text)
    })
}

impl Sides {
    fn of(scene: Scene<'_>) -> Self {
        let mut sides = Self::default();
        sides.add_sightings(scene);
        let observations = scene.observations.iter();
        for seen in observations.filter(|o| scene.span.holds(o.scheduled_us)) {
            let Some(options) = seen.facts.tcp.as_ref().and_then(|tcp| tcp.options) else {
                continue;
            };
            let side = match &seen.arm.target {
                Target::Vip { .. } => &mut sides.through,
                Target::Backend { .. } => &mut sides.direct,
                Target::Edge { .. } | Target::Resolver { .. } | Target::NameServer { .. } => {
                    continue;
                }
            };
            side.add(options, seen.vantage().to_string());
        }
        sides
    }

    fn add_sightings(&mut self, scene: Scene<'_>) {
        let Scene { case, span, .. } = scene;
        let topology = &case.topology;
        let own = &scene.own().addresses;
        let probes = probes(&case.observations);
        let mut agents: BTreeMap<IpAddr, &str> = BTreeMap::new();
        for vantage in &topology.vantages {
            let addresses = vantage.addresses.iter();
            agents.extend(addresses.map(|address| (*address, vantage.name.0.as_str())));
        }
        let reports = unique(&case.sightings).into_values();
        for report in reports.filter(|report| span.holds(report.to.at_us)) {
            let mut hosts = topology.vantages.iter();
            let host = hosts.find(|v| v.name == report.witness);
            let Some(host) = host.and_then(|v| v.host.as_deref()) else {
                continue;
            };
            let mut backends = topology.backends.iter();
            let backend = backends.find(|backend| backend.name == host);
            for flow in &report.flows {
                let seen = flow.seen.iter();
                let mut syns =
                    seen.filter(|s| (s.packet, s.direction) == (Packet::Syn, Direction::In));
                let Some(options) = syns.find_map(|syn| syn.options) else {
                    continue;
                };
                let client = flow.client.ip();
                if host == BALANCER_HOST && topology.vips.contains(&flow.server) {
                    self.in_front.add(options, report.witness.to_string());
                }
                if backend.is_none_or(|b| b.address != flow.server) {
                    continue;
                }
                if own.contains(&client) && !probes.contains(&flow.client) {
                    self.behind.add(options, report.witness.to_string());
                } else if let Some(name) = agents.get(&client) {
                    self.past.add(options, (*name).to_string());
                }
            }
        }
    }

    /// What is said of an option that the balancer's connections lack and others have.
    fn lines(&self, offer: Offer) -> Vec<Evidence> {
        let mut lines = Vec::new();
        let lacks = self.behind.all(offer) == Some(false);
        let text = offer.text();
        if lacks && self.in_front.all(offer) == Some(true) {
            lines.push(line(
                &self.in_front,
                offer,
                format!(
                    "the balancer strips {text}: SYNs come in at {} with them ({}), and reach {} without ({}){}",
                    self.in_front.names(),
                    self.in_front.tally(offer),
                    self.behind.names(),
                    self.behind.tally(offer),
                    offer.lacking(),
                ),
            ));
        } else if lacks && self.past.all(offer) == Some(true) {
            lines.push(line(
                &self.behind,
                offer,
                format!(
                    "the balancer strips {text}, or offers none: its SYNs reach {} without ({}), those of {} with them ({}){}",
                    self.behind.names(),
                    self.behind.tally(offer),
                    self.past.names(),
                    self.past.tally(offer),
                    offer.lacking(),
                ),
            ));
        }
        if self.through.all(offer) == Some(false) && self.direct.all(offer) == Some(true) {
            lines.push(line(
                &self.through,
                offer,
                format!(
                    "connections of {} to the balancer have no {text} in force ({}), those of {} to the backends have ({})",
                    self.through.names(),
                    self.through.tally(offer),
                    self.direct.names(),
                    self.direct.tally(offer),
                ),
            ));
        }
        lines
    }
}

/// A line that is no probe's: it counts none.
fn line(seen_by: &Offered, offer: Offer, text: String) -> Evidence {
    Evidence {
        text,
        vantage: seen_by.names.iter().next().cloned().unwrap_or_default(),
        arm: format!("handshake/{}", offer.word()),
        failed: 0,
        of: 0,
        failure: String::new(),
        implicates: true,
        nats: 0.0,
    }
}
