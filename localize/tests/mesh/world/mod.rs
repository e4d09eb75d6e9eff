//! A delivery path that lives in memory.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test's own constants"
)]

mod serve;
mod throttle;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use localize::dns::{Again, Reply, Searched};
use localize::{
    Arm, Backend, Baseline, Baselines, Case, CdnProvider, Direction, DnsFacts, Encoding,
    Expectation, Facts, Failure, Firing, FlowSighting, Hello, LARGE_READ, Layer, Micros,
    NameServer, Object, Observation, ObservationId, Outcome, Pace, Packet, Role, RoundId, Scheme,
    Seen, ServiceName, Session, SourcePort, Stamp, Step, Target, TcpFacts, TlsFacts, Topology,
    VantageName, VantagePoint, VipMode, WitnessReport,
};

pub use throttle::Beyond;
use throttle::Limit;

/// With or without agents on the hosts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mesh {
    Full,
    Bare,
}

/// What is broken; places count from zero, rates are shares of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    Backbone(f64),
    Resolver(usize, f64),
    NameServerRefuses(usize),
    NameServerStale(usize),
    EdgeStatus(usize, u16, f64),
    EdgeStalls(usize),
    EdgesReset(f64),
    EdgeCertificate(usize),
    /// The clock of a vantage point's host is so many days ahead of the mesh's.
    Clock(&'static str, i64),
    /// The search list of a vantage point's host has a wildcard that leads elsewhere, or to the service itself.
    SearchDomain(&'static str, bool),
    /// What stands on the way from a vantage point, or at an edge or the balancer, drops hellos of two packets.
    LargeHelloAt(&'static str),
    LargeHelloOfEdge(usize),
    LargeHelloOfEdges,
    LargeHelloOfBalancer,
    /// Of connections opened at once most are let in and the last is not: by a backend, the balancer, or what is around
    /// a vantage point.
    BackendThrottles(usize, Beyond),
    BalancerThrottles(Beyond),
    AccessThrottles(&'static str),
    /// The coordinator's own clock is so many days ahead of everybody else's.
    MeshClock(i64),
    /// An edge sends its certificate without that of the issuer.
    EdgeChain(usize),
    OriginPath(usize),
    /// An edge hands out an old page to whoever accepts gzip.
    EdgeVariant(usize),
    BalancerDead,
    BalancerStatus(u16),
    BalancerCertificate,
    /// The balancer keeps the sessions of a backend that it has lost, and sends nobody else there.
    StuckSessions(usize),
    BackendStatus(usize, f64),
    BackendSlow(usize, f64),
    /// In a share of its requests.
    BackendSlowAtTimes(usize, f64, f64),
    ResolverSlow(usize, f64),
    EdgeSlow(usize, f64),
    BalancerSlow(f64),
    /// Every step of a vantage point takes so much longer.
    VantageSlow(&'static str, f64),
    /// Every step takes as long again as a heavy tail says that starts at so many seconds.
    Restless(f64),
    BackendClosed(usize),
    BackendSyn(usize, f64),
    BackendResets(usize),
    BackendTruncates(usize),
    BackendBody(usize),
    Access(usize, f64),
    LbPath(usize, f64),
    Return(usize, &'static str, f64),
    /// No SYN from a port that was used shortly before; the balancer meets that in a share of its own
    /// connections' SYNs.
    BackendPortReuse(usize, f64),
    BalancerPortReuse,
    /// The access network of dc1 lets no port be used again.
    InsidePortReuse,
    /// A backend cuts large answers short, in a share of them.
    BackendLarge(usize, f64),
    BalancerLarge,
    /// Every backend answers with this status; a redirect leads to another site.
    Everything(u16),
    /// The balancer has a wrong address of a backend: what answers there knows no such page, or speaks
    /// no TLS with clients whose connections are forwarded.
    Misdirected(usize),
    /// The edges turn this vantage point away.
    NotServed(&'static str),
    /// No TLS handshake of a vantage point comes to its end.
    TlsCut(&'static str),
    /// No full packet of a backend's answers comes to this address.
    BlackHole(usize, &'static str),
    /// None comes to a vantage point.
    BlackHoleAt(&'static str),
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn chance(&mut self, p: f64) -> bool {
        ((self.next() >> 11) as f64 / (1u64 << 53) as f64) < p
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

pub struct World {
    pub faults: Vec<Fault>,
    /// The balancer forwards connections instead of proxying requests.
    pub layer4: bool,
    /// Its health checks have taken out what is closed or swallows every SYN.
    pub checked: bool,
    /// It tries the next backend, when one does not let it in for two seconds.
    pub tries_others: bool,
    /// Agents probe from reused ports as well.
    pub reuses_ports: bool,
    /// Agents ask for the large object as well.
    pub asks_large: bool,
    /// Agents ask as browsers do as well, which accept gzip.
    pub accepts_gzip: bool,
    /// Agents say a large hello as well.
    pub says_large_hello: bool,
    /// In one round of so many agents open several connections at once as well; never where it is 0.
    pub bursts_every: u64,
    /// Agents keep the cookie that the balancer gave them as well.
    pub keeps_cookies: bool,
    /// Length of the usual answer.
    pub usual_bytes: u64,
    /// When each port of an arm was used last.
    used: BTreeMap<(VantageName, Arm), (u16, u64)>,
    baselines: Baselines,
    /// The backend that the probe under way was forwarded to.
    forwarded: usize,
    /// The limit that its connection is beyond.
    limited: Option<Limit>,
    /// What it asks for, and where its backend's answer goes.
    object: Object,
    encoding: Encoding,
    /// The backend that its session is at, and those of all arms that keep one.
    session: Option<usize>,
    sessions: BTreeMap<(VantageName, Arm), usize>,
    answered_to: String,
    at_edge: bool,
    topology: Topology,
    observations: Vec<Observation>,
    sightings: Vec<WitnessReport>,
    random: Random,
    now: u64,
    round: u64,
    sequence: u64,
    port: u16,
    turn: usize,
    /// Until when each resolver keeps its answer, and whether that holds the removed edge.
    cached: BTreeMap<usize, (u64, bool)>,
}

/// Seconds for which resolvers keep an answer.
const TTL: u32 = 5;

const EDGES: [&str; 3] = [
    "198.51.100.11:443",
    "198.51.100.12:443",
    "198.51.100.99:443",
];

/// Vantage points with faults of their own.
const KNOWN: [&str; 4] = ["home1", "home2", "cdn1", "dc1"];

/// How a TCP handshake went, seen from all sides.
struct Handshake {
    passed: Result<u64, Failure>,
    sent: u32,
    arrived: u32,
    answered: u32,
    reset: bool,
}

impl World {
    pub fn new(mesh: Mesh, seed: u64) -> Self {
        let vantage = |name: &str, role, host: Option<&str>, addresses: &[&str], resolver: &str| {
            VantagePoint {
                name: VantageName(name.into()),
                role,
                host: host.map(Into::into),
                addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
                witness: host.is_some(),
                resolvers: vec![resolver.parse().unwrap()],
            }
        };
        let mut vantages = vec![
            vantage(
                "home1",
                Role::Outside,
                None,
                &["192.0.2.101"],
                "192.0.2.11:53",
            ),
            vantage(
                "home2",
                Role::Outside,
                None,
                &["192.0.2.201"],
                "192.0.2.12:53",
            ),
            vantage(
                "cdn1",
                Role::BehindCdn,
                None,
                &["198.51.100.50"],
                "192.0.2.13:53",
            ),
            vantage("dc1", Role::Inside, None, &["10.0.5.5"], "10.0.5.53:53"),
        ];
        if mesh == Mesh::Full {
            vantages.push(vantage(
                "lb",
                Role::Inside,
                Some("lb"),
                &["10.0.0.10", "10.0.9.10"],
                "10.0.5.53:53",
            ));
            for i in 1..=3 {
                let name = format!("web{i}");
                vantages.push(vantage(
                    &name,
                    Role::Inside,
                    Some(&name),
                    &[&format!("10.0.{i}.2")],
                    "10.0.5.53:53",
                ));
            }
        }
        let topology = Topology {
            service: ServiceName("shop.example".into()),
            scheme: Scheme::Https,
            vantages,
            resolvers: vec![],
            zone: None,
            name_servers: (1..=2)
                .map(|i| NameServer {
                    name: format!("ns{i}.shop.example"),
                    server: format!("192.0.2.{}:53", 50 + i).parse().unwrap(),
                })
                .collect(),
            edges: EDGES[..2].iter().map(|e| e.parse().unwrap()).collect(),
            cdn: CdnProvider::Auto(Some("cloudflare".into())),
            vips: vec!["203.0.113.10:443".parse().unwrap()],
            vip_mode: VipMode::Auto,
            backends: (1..=3)
                .map(|i| Backend {
                    name: format!("web{i}"),
                    address: format!("10.0.{i}.2:80").parse().unwrap(),
                    scheme: Scheme::Http,
                    path: "/".into(),
                })
                .collect(),
            expect: Expectation::Undeclared,
        };
        Self {
            faults: vec![],
            layer4: false,
            checked: true,
            tries_others: false,
            reuses_ports: false,
            asks_large: false,
            accepts_gzip: false,
            keeps_cookies: false,
            says_large_hello: false,
            bursts_every: 0,
            limited: None,
            usual_bytes: 4096,
            object: Object::Usual,
            encoding: Encoding::Identity,
            session: None,
            sessions: BTreeMap::new(),
            answered_to: String::new(),
            at_edge: false,
            used: BTreeMap::new(),
            baselines: Baselines::default(),
            forwarded: 0,
            topology,
            observations: vec![],
            sightings: vec![],
            random: Random(seed),
            now: 1_700_000_000_000_000,
            round: 0,
            sequence: 0,
            port: 20_000,
            turn: 0,
            cached: BTreeMap::new(),
        }
    }

    /// Lets the service file declare less than there is.
    pub fn declare(&mut self, change: impl FnOnce(&mut Topology)) {
        change(&mut self.topology);
    }

    /// Takes over every edge address that another world has learnt.
    pub fn forget_nothing(&mut self, other: &Self) {
        self.topology.edges.clone_from(&other.topology.edges);
    }

    pub fn case(&self) -> Case {
        Case {
            topology: self.topology.clone(),
            declared: localize::declared::Declared::default(),
            baselines: self.baselines.clone(),
            observations: self.observations.clone(),
            sightings: self.sightings.clone(),
            traces: vec![],
        }
    }

    /// Learns from so many rounds what is usual, and forgets them.
    pub fn learn(&mut self, rounds: u32) {
        (0..rounds).for_each(|_| self.round());
        let mut times: BTreeMap<(VantageName, Arm, Layer), Vec<Micros>> = BTreeMap::new();
        for observation in self.observations.drain(..) {
            for step in observation.steps {
                let place = (
                    observation.id.vantage.clone(),
                    observation.arm.clone(),
                    step.layer,
                );
                times.entry(place).or_default().push(step.took);
            }
        }
        self.sightings.clear();
        let learnt = times.into_iter().map(|((vantage, arm, layer), mut took)| {
            took.sort_unstable();
            let quantile = |percent: usize| took[(took.len() - 1) * percent / 100];
            Baseline {
                vantage,
                arm,
                layer,
                passed: took.len() as u64,
                failed: 0,
                median: quantile(50),
                p75: Some(quantile(75)),
                statuses: Vec::new(),
                p99: quantile(99),
            }
        });
        self.baselines = Baselines(learnt.collect());
    }

    /// Lets so many seconds go by without a round.
    pub fn rest(&mut self, seconds: u64) {
        self.now += seconds * 1_000_000;
    }

    /// Rounds every five seconds, as a schedule fires them, for so many seconds.
    pub fn scheduled(&mut self, seconds: u64) {
        for _ in 0..seconds / 5 {
            self.rest(4);
            self.round();
        }
    }

    /// Forgets what was seen more than so many seconds ago, as a look back of that length does.
    pub fn look_back(&mut self, seconds: u64) {
        let from = self.now.saturating_sub(seconds * 1_000_000);
        self.observations.retain(|o| o.scheduled_us >= from);
        self.sightings.retain(|s| s.to.at_us >= from);
    }

    /// Fires every arm of every vantage point once, a second after the last round.
    pub fn round(&mut self) {
        self.now += 1_000_000;
        self.round += 1;
        if self
            .has(|f| matches!(f, Fault::NameServerStale(_)).then_some(()))
            .is_some()
        {
            self.topology.edges = EDGES.iter().map(|e| e.parse().unwrap()).collect();
        }
        for vantage in self.topology.vantages.clone() {
            for arm in self.arms(&vantage) {
                self.probe(&vantage, arm);
            }
        }
        for vantage in self.topology.vantages.clone().iter().filter(|v| v.witness) {
            self.report(&vantage.name, vec![]);
        }
    }

    fn arms(&self, vantage: &VantagePoint) -> Vec<Arm> {
        let arm = |target| Arm::to(target);
        let mut arms = vec![arm(Target::Resolver {
            server: vantage.resolvers[0],
        })];
        for ns in &self.topology.name_servers {
            arms.push(arm(Target::NameServer {
                name: ns.name.clone(),
                server: ns.server,
            }));
        }
        if vantage.host.is_none() {
            arms.extend(
                self.topology
                    .edges
                    .iter()
                    .map(|e| arm(Target::Edge { address: *e })),
            );
        }
        if vantage.role != Role::Outside {
            arms.extend(
                self.topology
                    .vips
                    .iter()
                    .map(|v| arm(Target::Vip { address: *v })),
            );
        }
        if vantage.role == Role::Inside {
            for b in &self.topology.backends {
                for source in &vantage.addresses {
                    let source = (vantage.addresses.len() > 1).then_some(*source);
                    let target = Target::Backend {
                        name: b.name.clone(),
                        address: b.address,
                    };
                    arms.push(Arm {
                        source,
                        ..Arm::to(target)
                    });
                }
            }
        }
        let plain = arms.clone();
        let fetches = |a: &&Arm| {
            !matches!(
                a.target,
                Target::Resolver { .. } | Target::NameServer { .. }
            )
        };
        if self.accepts_gzip {
            let packed = plain.iter().filter(fetches);
            arms.extend(packed.map(|arm| arm.twin(Encoding::Gzip)));
        }
        if self.says_large_hello {
            let speaks_tls = |a: &&Arm| !matches!(a.target, Target::Backend { .. });
            let large = plain.iter().filter(fetches).filter(speaks_tls);
            arms.extend(large.map(|arm| arm.twin(Hello::Large)));
        }
        // Agents on backends have no twins, and one source stands for all.
        let on_backend = vantage.host.as_deref().is_some_and(|host| host != "lb");
        if !on_backend && self.bursts_every > 0 && self.round.is_multiple_of(self.bursts_every) {
            let connects =
                |a: &&Arm| matches!(a.target, Target::Vip { .. } | Target::Backend { .. });
            let mut bursts: Vec<Arm> = plain.iter().filter(connects).cloned().collect();
            bursts.dedup_by(|a, b| a.target == b.target);
            arms.extend(bursts.into_iter().map(|arm| arm.twin(Pace::Burst)));
        }
        if self.keeps_cookies {
            let balanced = |a: &&Arm| matches!(a.target, Target::Edge { .. } | Target::Vip { .. });
            let kept = plain.iter().filter(balanced);
            arms.extend(kept.map(|arm| arm.twin(Session::Kept)));
        }
        if self.asks_large {
            let large = plain.iter().filter(fetches).cloned();
            arms.extend(large.map(|arm| arm.twin(Object::Large)));
        }
        if self.reuses_ports {
            let connects =
                |a: &&Arm| matches!(a.target, Target::Vip { .. } | Target::Backend { .. });
            let again = plain.iter().filter(connects).cloned();
            arms.extend(again.map(|arm| arm.twin(SourcePort::Reused)));
        }
        arms
    }

    fn has<T>(&self, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.faults.iter().find_map(pick)
    }

    fn share(&mut self, pick: impl Fn(&Fault) -> Option<f64>) -> bool {
        let rate = self.has(pick).unwrap_or(0.0);
        self.random.chance(rate)
    }

    /// The seconds that a fault costs, in microseconds.
    fn slow(&self, pick: impl Fn(&Fault) -> Option<f64>) -> u64 {
        (self.has(pick).unwrap_or(0.0) * 1e6) as u64
    }

    fn backbone(&self) -> f64 {
        self.has(|f| {
            if let Fault::Backbone(p) = f {
                Some(*p)
            } else {
                None
            }
        })
        .unwrap_or(0.0)
    }

    fn access_loss(&self, vantage: &VantageName) -> f64 {
        let i = match vantage.0.as_str() {
            "home1" => 0,
            "home2" => 1,
            _ => return 0.0,
        };
        self.has(|f| {
            matches!(f, Fault::Access(j, _) if *j == i)
                .then_some(())
                .and(match f {
                    Fault::Access(_, p) => Some(*p),
                    _ => None,
                })
        })
        .unwrap_or(0.0)
    }

    fn probe(&mut self, vantage: &VantagePoint, planned: Arm) {
        let mut facts = Facts::default();
        let place = (vantage.name.clone(), planned.clone());
        let arm = match self.used.get(&place) {
            None if !planned.traits.port.is_plain() => planned.plain(),
            None if planned.traits.session == Session::Kept
                && !self.sessions.contains_key(&place) =>
            {
                planned.plain()
            }
            Some(_) | None => planned,
        };
        let mut steps = vec![];
        let end = match &arm.target {
            Target::Resolver { .. } => self.ask_resolver(vantage, &mut steps, &mut facts),
            Target::NameServer { name, .. } => {
                let i = usize::from(name.starts_with("ns2"));
                self.ask_name_server(vantage, i, &mut steps, &mut facts)
            }
            _ => self.fetch(vantage, &arm, &mut steps, &mut facts),
        };
        self.begin_session(&place, &facts);
        self.remember(place, &facts, end.is_ok());
        for step in &mut steps {
            step.took.0 += self.lost_at(vantage);
        }
        self.sequence += 1;
        let outcome = match end {
            Ok(()) => Outcome::Passed,
            Err((layer, failure, after)) => Outcome::Failed {
                layer,
                failure,
                after: Micros(after),
            },
        };
        self.observations.push(Observation {
            id: ObservationId {
                vantage: vantage.name.clone(),
                sequence: self.sequence,
            },
            service: self.topology.service.clone(),
            round: RoundId(self.round),
            arm,
            started: Stamp {
                at_us: self.now,
                uncertainty_us: 100,
            },
            scheduled_us: self.now,
            firing: Firing::OnTime,
            steps,
            outcome,
            facts,
        });
    }

    /// Who was served has a cookie from there on that leads to the same backend.
    fn begin_session(&mut self, place: &(VantageName, Arm), facts: &Facts) {
        let http = facts.http.as_ref();
        let mut headers = http.into_iter().flat_map(|http| &http.headers);
        let by = headers.find(|(name, _)| name == "x-served-by");
        if let Some((_, name)) = by.filter(|_| place.1.traits.session == Session::Kept) {
            self.sessions.insert(place.clone(), index(name));
        }
    }

    /// A connection has ended: its port may be used again for a minute.
    fn remember(&mut self, place: (VantageName, Arm), facts: &Facts, passed: bool) {
        let now = self.now;
        if let Some(tcp) = facts
            .tcp
            .as_ref()
            .filter(|_| passed && !place.1.traits.port.is_plain())
        {
            self.used.insert(place, (tcp.local.port(), now));
        }
        self.used.retain(|_, (_, ended)| now - *ended < 59_000_000);
    }

    /// The share of SYNs from a reused port that are lost before the far host, and by it.
    fn collisions(&self, vantage: &VantagePoint, arm: &Arm) -> (f64, f64) {
        let lost = |fault: Fault| f64::from(u8::from(self.faults.contains(&fault)));
        if arm.traits.port.is_plain() {
            return (0.0, 0.0);
        }
        let before = match vantage.name.0.as_str() {
            "dc1" => lost(Fault::InsidePortReuse),
            _ => 0.0,
        };
        let there = match &arm.target {
            Target::Vip { .. } => lost(Fault::BalancerPortReuse),
            Target::Backend { name, .. } => self.forgets_no_port(index(name)).map_or(0.0, |_| 1.0),
            _ => 0.0,
        };
        (before, there)
    }

    /// The share of the balancer's SYNs to a backend that meet a port in use, where some do.
    fn forgets_no_port(&self, i: usize) -> Option<f64> {
        self.has(|f| match f {
            Fault::BackendPortReuse(j, share) if *j == i => Some(*share),
            _ => None,
        })
    }

    /// What a vantage point's own host and network add to a step, in microseconds.
    fn lost_at(&mut self, vantage: &VantagePoint) -> u64 {
        let mut lost = 0.0;
        for fault in self.faults.clone() {
            match fault {
                Fault::VantageSlow(name, seconds) if vantage.name.0 == name => lost += seconds,
                // Pareto's law with an exponent of 1.4: one in 25 takes ten times as long.
                Fault::Restless(least) => {
                    let u = (self.random.below(1_000_000) + 1) as f64 / 1e6;
                    lost += (least * u.powf(-1.0 / 1.4)).min(5.0);
                }
                _ => {}
            }
        }
        (lost * 1e6) as u64
    }

    fn dns_loss(&mut self, vantage: &VantagePoint) -> bool {
        let p =
            1.0 - (1.0 - self.access_loss(&vantage.name)).powi(2) * (1.0 - self.backbone()).powi(2);
        self.random.chance(p)
    }

    fn ask_resolver(
        &mut self,
        vantage: &VantagePoint,
        steps: &mut Vec<Step>,
        facts: &mut Facts,
    ) -> End {
        let i = match vantage.name.0.as_str() {
            "home1" => 0,
            "home2" => 1,
            _ => 9,
        };
        let lost = self.dns_loss(vantage)
            || self.share(|f| {
                matches!(f, Fault::Resolver(j, _) if *j == i)
                    .then_some(())
                    .and(match f {
                        Fault::Resolver(_, p) => Some(*p),
                        _ => None,
                    })
            });
        if lost {
            return Err((Layer::Dns, Failure::DnsTimeout, 1_000_000));
        }
        let slow = self.slow(|f| match f {
            Fault::ResolverSlow(j, seconds) if *j == i => Some(*seconds),
            _ => None,
        });
        steps.push(Step {
            layer: Layer::Dns,
            took: Micros(3000 + slow),
        });
        let (until, stale) = self.cached.get(&i).copied().unwrap_or((0, false));
        let (until, stale) = if self.now < until {
            (until, stale)
        } else {
            (self.now + u64::from(TTL) * 1_000_000, self.asks_stale())
        };
        self.cached.insert(i, (until, stale));
        let left = u32::try_from((until - self.now) / 1_000_000).unwrap();
        let searched = self.has(|f| match f {
            Fault::SearchDomain(name, elsewhere) if vantage.name.0 == *name => Some(*elsewhere),
            _ => None,
        });
        let found = |elsewhere| match elsewhere {
            true => IpAddr::from([192, 0, 2, 77]),
            false => EDGES[1].parse::<SocketAddr>().unwrap().ip(),
        };
        facts.dns = Some(DnsFacts {
            searched: searched.map(|elsewhere| Searched {
                name: "shop.example.corp.example".into(),
                again: Again {
                    took: Micros(2000),
                    reply: Reply::Addresses(vec![found(elsewhere)]),
                },
            }),
            ..answer(stale, left)
        });
        Ok(())
    }

    /// Whether a resolver's question meets the name server that hands out the removed edge.
    fn asks_stale(&mut self) -> bool {
        let stale = |f: &Fault| matches!(f, Fault::NameServerStale(_));
        match self.faults.iter().filter(|f| stale(f)).count() {
            0 => false,
            1 => self.random.chance(0.5),
            _ => true,
        }
    }

    fn ask_name_server(
        &mut self,
        vantage: &VantagePoint,
        i: usize,
        steps: &mut Vec<Step>,
        facts: &mut Facts,
    ) -> End {
        if self.dns_loss(vantage) {
            return Err((Layer::Dns, Failure::DnsTimeout, 1_000_000));
        }
        if self.faults.contains(&Fault::NameServerRefuses(i)) {
            return Err((Layer::Dns, Failure::DnsRefused, 2000));
        }
        steps.push(Step {
            layer: Layer::Dns,
            took: Micros(2000),
        });
        facts.dns = Some(answer(
            self.faults.contains(&Fault::NameServerStale(i)),
            TTL,
        ));
        Ok(())
    }

    /// One handshake; losses are per packet and way.
    fn handshake(&mut self, forward: f64, host_drops: f64, back: f64, closed: bool) -> Handshake {
        let mut h = Handshake {
            passed: Err(Failure::ConnectTimeout),
            sent: 0,
            arrived: 0,
            answered: 0,
            reset: false,
        };
        for try_at in [0u64, 1, 2] {
            h.sent += 1;
            if self.random.chance(forward) || self.is_beyond(&[Limit::Before], try_at == 0) {
                continue;
            }
            h.arrived += 1;
            if closed {
                h.reset = true;
                h.passed = Err(Failure::ConnectRefused);
                return h;
            }
            let dropped = [Limit::There(Beyond::Dropped)];
            if self.random.chance(host_drops) || self.is_beyond(&dropped, try_at == 0) {
                continue;
            }
            h.answered += 1;
            if !self.random.chance(back) {
                h.passed = Ok(500 + try_at * 1_000_000);
                return h;
            }
        }
        h
    }

    fn fetch(
        &mut self,
        vantage: &VantagePoint,
        arm: &Arm,
        steps: &mut Vec<Step>,
        facts: &mut Facts,
    ) -> End {
        let access = self.access_loss(&vantage.name);
        let public = matches!(arm.target, Target::Edge { .. });
        let noise = if public { self.backbone() } else { 0.0 };
        let source = arm.source.unwrap_or(vantage.addresses[0]);
        self.object = arm.traits.object;
        self.encoding = arm.traits.encoding;
        let place = (vantage.name.clone(), arm.clone());
        self.session = self.sessions.get(&place).copied();
        self.at_edge = matches!(arm.target, Target::Edge { .. });
        self.answered_to = source.to_string();
        self.port = if self.port > 60_000 {
            20_000
        } else {
            self.port + 1
        };
        let used = self.used.get(&(vantage.name.clone(), arm.clone()));
        let used = used.copied();
        let local = SocketAddr::new(source, used.map_or(self.port, |(port, _)| port));
        let both = 1.0 - (1.0 - access) * (1.0 - noise);
        let (forward, drops, back, closed) = match &arm.target {
            Target::Edge { address } if *address == EDGES[2].parse().unwrap() => {
                (1.0, 0.0, 0.0, false)
            }
            Target::Vip { .. } if self.layer4 => {
                self.forwarded = self.chosen();
                let i = self.forwarded;
                let closed = self.faults.contains(&Fault::BackendClosed(i));
                let forward = 1.0 - (1.0 - both) * (1.0 - self.lb_path(i));
                (forward, self.syn_drops(i), self.back(i, source), closed)
            }
            Target::Vip { .. } => (both, 0.0, both, self.faults.contains(&Fault::BalancerDead)),
            Target::Backend { name, .. } => {
                let i = index(name);
                let from_lb = vantage.host.as_deref() == Some("lb");
                let forward = if from_lb { self.lb_path(i) } else { 0.0 };
                let own = vantage.host.as_deref() == Some(name.as_str());
                let drops = if own { 0.0 } else { self.syn_drops(i) };
                (
                    forward,
                    drops,
                    self.back(i, source),
                    self.faults.contains(&Fault::BackendClosed(i)),
                )
            }
            _ => (both, 0.0, both, false),
        };
        let (before, there) = self.collisions(vantage, arm);
        self.limited = self.limit(vantage, arm);
        let closed = closed || self.limited == Some(Limit::There(Beyond::Refused));
        let mut h = self.handshake(forward.max(before), drops.max(there), back, closed);
        // What the balancer opens in turn is one connection.
        let limited = self.limited.take();
        if self.layer4 && both == 0.0 && matches!(arm.target, Target::Vip { .. }) {
            // What is lost behind the balancer has come to the balancer.
            h.arrived = h.sent;
        }
        facts.tcp = Some(TcpFacts {
            local,
            syn_retransmissions: h.sent - 1,
            retransmissions: h.sent - 1,
            rtt: None,
            reused_after: used.map(|(_, ended)| Micros(self.now - ended)),
            options: None,
        });
        self.witnessed(vantage, arm, local, &h);
        match h.passed {
            Ok(took) => steps.push(Step {
                layer: Layer::Tcp,
                took: Micros(took),
            }),
            Err(Failure::ConnectTimeout) => {
                return Err((Layer::Tcp, Failure::ConnectTimeout, 3_000_000));
            }
            Err(failure) => return Err((Layer::Tcp, failure, 300)),
        }
        let own = Fault::TlsCut(
            KNOWN
                .iter()
                .find(|n| vantage.name.0 == **n)
                .copied()
                .unwrap_or(""),
        );
        if self.faults.contains(&own) {
            return Err((Layer::Tls, Failure::TlsReset, 400));
        }
        if arm.target.label().starts_with("backend/") {
            // They speak plain HTTP.
        } else if let Some(failure) = self.judge(vantage, arm, facts) {
            return Err((Layer::Tls, failure, 1000));
        }
        if arm.traits.hello == Hello::Large && self.drops_large_hello(vantage, arm) {
            return Err((Layer::Tls, Failure::TlsTimeout, 3_000_000));
        }
        let own = Fault::NotServed(
            KNOWN
                .iter()
                .find(|n| vantage.name.0 == **n)
                .copied()
                .unwrap_or(""),
        );
        if public && self.faults.contains(&own) {
            self.tls(both, None, steps)?;
            facts.http = Some(self.answer_with(403));
            return Err((Layer::Http, Failure::HttpStatus(403), 900));
        }
        Limit::once_let_in(limited, arm)?;
        let end = self.above_tcp(vantage, arm, both, steps, facts);
        let lost = self.is_long() && self.faults.contains(&black_hole_at(vantage));
        if lost && end.is_ok() {
            steps.retain(|step| step.layer != Layer::Http);
            return Err((Layer::Http, Failure::HttpTimeout, 6_000_000));
        }
        end
    }

    fn drops_large_hello(&self, vantage: &VantagePoint, arm: &Arm) -> bool {
        let is_edge = |i: usize| {
            arm.target
                .label()
                .ends_with(EDGES[i].trim_end_matches(":443"))
        };
        self.faults.iter().any(|fault| match fault {
            Fault::LargeHelloAt(name) => vantage.name.0 == *name,
            Fault::LargeHelloOfEdge(i) => is_edge(*i),
            Fault::LargeHelloOfEdges => is_edge(0) || is_edge(1),
            Fault::LargeHelloOfBalancer => matches!(arm.target, Target::Vip { .. }),
            _ => false,
        })
    }

    /// What a vantage point holds against a certificate by its host's own clock. Those of edges that have ended did
    /// so a day ago, by the clock of the sun.
    fn judge(&self, vantage: &VantagePoint, arm: &Arm, facts: &mut Facts) -> Option<Failure> {
        const DAY: i64 = 86_400;
        let mesh = (self.now / 1_000_000).cast_signed();
        let own = |f: &Fault| match f {
            Fault::Clock(name, days) if vantage.name.0 == *name => Some(days * DAY),
            Fault::MeshClock(days) => Some(-days * DAY),
            _ => None,
        };
        let sun = |f: &Fault| match f {
            Fault::MeshClock(days) => Some(-days * DAY),
            _ => None,
        };
        let sun = mesh + self.has(sun).unwrap_or(0);
        let judged = mesh + self.has(own).unwrap_or(0);
        let ended = |f: &Fault| match (f, &arm.target) {
            (Fault::EdgeCertificate(i), Target::Edge { address }) => {
                (EDGES[*i] == address.to_string()).then_some(())
            }
            _ => None,
        };
        let ended = self.has(ended).is_some();
        let not_before = sun - 30 * DAY;
        let not_after = if ended { sun - DAY } else { sun + 60 * DAY };
        facts.tls = Some(TlsFacts {
            leaf: "leaf".into(),
            not_after,
            not_before: Some(not_before),
            judged_at: Some(judged),
        });
        match judged {
            early if early < not_before => Some(Failure::CertificateNotYetValid),
            late if late > not_after => Some(Failure::CertificateExpired),
            _ => None,
        }
    }

    fn above_tcp(
        &mut self,
        vantage: &VantagePoint,
        arm: &Arm,
        both: f64,
        steps: &mut Vec<Step>,
        facts: &mut Facts,
    ) -> End {
        let source = arm.source.unwrap_or(vantage.addresses[0]);
        match &arm.target {
            Target::Edge { address } => self.at_edge(
                usize::from(*address == EDGES[1].parse().unwrap()),
                both,
                steps,
                facts,
            ),
            Target::Vip { .. } if self.layer4 => {
                if self.faults.contains(&Fault::Misdirected(self.forwarded)) {
                    return Err((Layer::Tls, Failure::TlsAlert(10), 700));
                }
                self.tls(both, None, steps)?;
                self.at_backend(self.forwarded, 0, steps, facts, true)
            }
            Target::Vip { .. } => self.at_vip(both, steps, facts),
            Target::Backend { name, .. } => {
                let i = index(name);
                let extra = self.packets(self.back(i, source), 4);
                self.at_backend(i, extra, steps, facts, true)
            }
            _ => unreachable!("DNS is elsewhere"),
        }
    }

    fn body_bytes(&self) -> u64 {
        match self.object {
            // Pages of text are packed to a fifth.
            Object::Usual if self.encoding == Encoding::Gzip => self.usual_bytes / 5,
            Object::Usual => self.usual_bytes,
            Object::Large => LARGE_READ,
        }
    }

    /// Whether what is asked for takes more than one packet.
    fn is_long(&self) -> bool {
        self.body_bytes() > 1_400
    }

    fn lb_path(&self, i: usize) -> f64 {
        self.has(|f| match f {
            Fault::LbPath(j, p) if *j == i => Some(*p),
            _ => None,
        })
        .unwrap_or(0.0)
    }

    fn syn_drops(&self, i: usize) -> f64 {
        self.has(|f| match f {
            Fault::BackendSyn(j, p) if *j == i => Some(*p),
            _ => None,
        })
        .unwrap_or(0.0)
    }

    fn back(&self, i: usize, to: IpAddr) -> f64 {
        self.has(|f| match f {
            Fault::Return(j, address, p) if *j == i && to.to_string() == *address => Some(*p),
            _ => None,
        })
        .unwrap_or(0.0)
    }

    fn witnessed(&mut self, vantage: &VantagePoint, arm: &Arm, local: SocketAddr, h: &Handshake) {
        let (host, server) = match &arm.target {
            Target::Vip { address } => ("lb".to_string(), *address),
            Target::Backend { name, address } => (name.clone(), *address),
            _ => return,
        };
        let watched = self
            .topology
            .vantages
            .iter()
            .find(|v| v.host.as_deref() == Some(&host));
        let Some(witness) = watched
            .filter(|w| w.name != vantage.name)
            .map(|w| w.name.clone())
        else {
            return;
        };
        let first = Stamp {
            at_us: self.now + 50,
            uncertainty_us: 100,
        };
        let seen = |packet, direction, count| Seen {
            packet,
            direction,
            interface: "eth0".into(),
            count,
            first,
            options: None,
        };
        let mut all = vec![];
        if h.arrived > 0 {
            all.push(seen(Packet::Syn, Direction::In, h.arrived));
        }
        if h.answered > 0 {
            all.push(seen(Packet::SynAck, Direction::Out, h.answered));
        }
        if h.reset {
            all.push(seen(Packet::ResetByServer, Direction::Out, 1));
        }
        if !all.is_empty() {
            self.report(
                &witness,
                vec![FlowSighting {
                    client: local,
                    server,
                    seen: all,
                }],
            );
        }
    }

    fn report(&mut self, witness: &VantageName, flows: Vec<FlowSighting>) {
        self.sequence += 1;
        self.sightings.push(WitnessReport {
            witness: witness.clone(),
            sequence: self.sequence,
            from: Stamp {
                at_us: self.now - 100_000,
                uncertainty_us: 100,
            },
            to: Stamp {
                at_us: self.now + 8_000_000,
                uncertainty_us: 100,
            },
            dropped: 0,
            flows,
            host: None,
            packets: Vec::new(),
        });
    }
}

type End = Result<(), (Layer, Failure, u64)>;

fn black_hole_at(vantage: &VantagePoint) -> Fault {
    let known = ["home1", "dc1"];
    let name = known.into_iter().find(|name| vantage.name.0 == *name);
    Fault::BlackHoleAt(name.unwrap_or("elsewhere"))
}

fn index(name: &str) -> usize {
    name.trim_start_matches("web").parse::<usize>().unwrap() - 1
}

fn answer(stale: bool, ttl: u32) -> DnsFacts {
    let take = if stale { 3 } else { 2 };
    DnsFacts {
        rcode: 0,
        addresses: EDGES[..take]
            .iter()
            .map(|e| e.parse::<SocketAddr>().unwrap().ip())
            .collect(),
        authoritative: true,
        over_tcp: false,
        ttl: Some(ttl),
        ..DnsFacts::default()
    }
}
