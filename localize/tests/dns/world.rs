//! A site whose DNS is told by hand: who asks whom in which round, and what is said.

use std::net::{IpAddr, SocketAddr};

use localize::declared::Declared;
use localize::dns::{Again, Reply, Soa, Validity};
use localize::topology::Zone;
use localize::{
    Arm, Baselines, Case, CdnProvider, DnsFacts, Expectation, Facts, Failure, Firing, HttpFacts,
    Layer, Micros, NameServer, Observation, ObservationId, Outcome, Redirect, Role, RoundId,
    Scheme, ServiceName, Stamp, Step, Target, Topology, VantageName, VantagePoint, VipMode,
};

/// The first round, in seconds since the Unix epoch.
pub const BEGIN_S: u64 = 1_700_000_000;
pub const ZONE: &str = "shop.example";
pub const EDGES: [&str; 2] = ["198.51.100.11", "198.51.100.12"];
pub const NAME_SERVERS: [&str; 2] = ["ns1.shop.example", "ns2.shop.example"];
/// Each home asks its own one.
pub const RESOLVERS: [&str; 3] = ["192.0.2.11", "192.0.2.12", "192.0.2.13"];

/// Who is asked what, when.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub round: u64,
    /// The resolver or name server, by its place; edges by their address.
    pub of: Of<'a>,
    pub vantage: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Of<'a> {
    Resolver(usize),
    NameServer(usize),
    Edge(&'a str),
}

impl Ask<'_> {
    /// Whether a question of DNS is asked.
    pub fn asks_dns(&self) -> bool {
        !matches!(self.of, Of::Edge(_))
    }
}

/// What is said.
#[derive(Clone, Debug)]
pub struct Said {
    pub failure: Option<Failure>,
    pub facts: DnsFacts,
}

impl Said {
    /// Both edges, as a resolver or name server gives them; the zone is signed.
    pub fn well(of: Of<'_>) -> Self {
        let authoritative = matches!(of, Of::NameServer(_));
        let facts = DnsFacts {
            addresses: EDGES.iter().map(|e| e.parse().expect("address")).collect(),
            authoritative,
            authentic: !authoritative,
            ttl: Some(5),
            soa: authoritative.then(|| soa(7)),
            signed: authoritative.then(|| until(BEGIN_S + 86_400)),
            aaaa: Some(Again {
                took: Micros(2_000),
                reply: Reply::Failed(Failure::DnsNoData),
            }),
            ..DnsFacts::default()
        };
        Self {
            failure: None,
            facts,
        }
    }

    /// The same from where nothing is signed or checked.
    pub fn unsigned(of: Of<'_>) -> Self {
        let mut said = Self::well(of);
        said.facts.authentic = false;
        said.facts.signed = None;
        said
    }

    pub fn with(mut self, change: impl FnOnce(&mut DnsFacts)) -> Self {
        change(&mut self.facts);
        self
    }

    pub fn failed(failure: Failure, facts: DnsFacts) -> Self {
        Self {
            failure: Some(failure),
            facts,
        }
    }

    /// SERVFAIL, with the codes of extended errors, and what came of the question with checking disabled.
    pub fn servfail(extended: &[u16], unchecked: bool) -> Self {
        let reply = match unchecked {
            true => Reply::Addresses(vec![EDGES[0].parse().expect("address")]),
            false => Reply::Failed(Failure::DnsServfail),
        };
        let facts = DnsFacts {
            rcode: 2,
            extended: extended.to_vec(),
            unchecked: Some(Again {
                took: Micros(2_000),
                reply,
            }),
            ..DnsFacts::default()
        };
        Self::failed(Failure::DnsServfail, facts)
    }

    /// There is no such name, or no address for it, as `soa` says.
    pub fn negative(of: Of<'_>, failure: Failure, soa: Option<Soa>) -> Self {
        let facts = DnsFacts {
            rcode: if failure == Failure::DnsNxdomain {
                3
            } else {
                0
            },
            authoritative: matches!(of, Of::NameServer(_)),
            soa,
            ..DnsFacts::default()
        };
        Self::failed(failure, facts)
    }

    pub fn says(failure: Failure, rcode: u8) -> Self {
        let facts = DnsFacts {
            rcode,
            ..DnsFacts::default()
        };
        Self::failed(failure, facts)
    }
}

pub fn soa(serial: u32) -> Soa {
    Soa {
        zone: ZONE.into(),
        primary: NAME_SERVERS[0].into(),
        serial,
        negative_ttl: 300,
    }
}

/// Signatures that hold until a time.
pub fn until(at_s: u64) -> Validity {
    Validity {
        inception: u32::try_from(BEGIN_S - 86_400).expect("fits"),
        expiration: u32::try_from(at_s).expect("fits"),
    }
}

/// Two homes with a resolver each, and a data centre with a third.
pub fn topology() -> Topology {
    let vantage = |place: usize, name: &str| VantagePoint {
        name: VantageName(name.into()),
        role: Role::Outside,
        host: None,
        addresses: vec![format!("192.0.2.10{place}").parse().expect("address")],
        witness: false,
        resolvers: vec![at(RESOLVERS[place], 53)],
    };
    let names = ["home1", "home2", "home3"].into_iter().enumerate();
    Topology {
        service: ServiceName("shop".into()),
        scheme: Scheme::Https,
        vantages: names.map(|(place, name)| vantage(place, name)).collect(),
        resolvers: vec![],
        zone: Some(Zone {
            name: ZONE.into(),
            ..Zone::default()
        }),
        name_servers: NAME_SERVERS
            .iter()
            .zip(["192.0.2.51", "192.0.2.52"])
            .map(|(name, server)| NameServer {
                name: (*name).into(),
                server: at(server, 53),
            })
            .collect(),
        edges: EDGES.iter().map(|edge| at(edge, 443)).collect(),
        cdn: CdnProvider::Auto(None),
        vips: vec![],
        vip_mode: VipMode::Auto,
        backends: vec![],
        expect: Expectation::default(),
    }
}

pub fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("address"), port)
}

/// So many rounds, one a second, of all arms.
pub fn case(topology: &Topology, rounds: u64, told: impl Fn(Ask<'_>) -> Option<Said>) -> Case {
    let mut observations = Vec::new();
    for round in 1..=rounds {
        for (vantage, place) in topology.vantages.iter().enumerate() {
            let own = place
                .resolvers
                .iter()
                .map(|server| Target::Resolver { server: *server });
            let zone = topology.name_servers.iter().map(|ns| Target::NameServer {
                name: ns.name.clone(),
                server: ns.server,
            });
            let edges = topology.edges.iter().filter(|e| place.has_way_to(e.ip()));
            let edges = edges.map(|e| Target::Edge { address: *e });
            for target in own.chain(zone).chain(edges) {
                let sequence = observations.len() as u64;
                let (outcome, steps, facts) = fire(topology, round, vantage, &target, &told);
                observations.push(Observation {
                    id: ObservationId {
                        vantage: place.name.clone(),
                        sequence,
                    },
                    service: topology.service.clone(),
                    round: RoundId(round),
                    arm: Arm::to(target),
                    started: Stamp {
                        at_us: (BEGIN_S + round) * 1_000_000,
                        uncertainty_us: 100,
                    },
                    scheduled_us: (BEGIN_S + round) * 1_000_000,
                    firing: Firing::OnTime,
                    steps,
                    outcome,
                    facts,
                });
            }
        }
    }
    Case {
        topology: topology.clone(),
        declared: Declared::default(),
        baselines: Baselines::default(),
        observations,
        sightings: vec![],
        traces: vec![],
    }
}

fn fire(
    topology: &Topology,
    round: u64,
    vantage: usize,
    target: &Target,
    told: &impl Fn(Ask<'_>) -> Option<Said>,
) -> (Outcome, Vec<Step>, Facts) {
    let text;
    let of = match target {
        Target::Resolver { server } => {
            let ip = server.ip().to_string();
            Of::Resolver(RESOLVERS.iter().position(|r| *r == ip).expect("known"))
        }
        Target::NameServer { name, .. } => {
            let servers = &topology.name_servers;
            let place = servers.iter().position(|ns| ns.name == *name);
            Of::NameServer(place.expect("known"))
        }
        Target::Edge { address } => {
            text = address.ip().to_string();
            Of::Edge(&text)
        }
        Target::Vip { .. } | Target::Backend { .. } => unreachable!("not in this path"),
    };
    let said = told(Ask { round, of, vantage });
    match (of, said) {
        (Of::Edge(_), None) => fetched(),
        (Of::Edge(_), Some(_)) => {
            let outcome = failed(Layer::Tcp, Failure::ConnectTimeout, 5_000_000);
            (outcome, vec![], Facts::default())
        }
        (Of::Resolver(_) | Of::NameServer(_), said) => {
            answered(said.unwrap_or_else(|| Said::well(of)))
        }
    }
}

fn failed(layer: Layer, failure: Failure, after: u64) -> Outcome {
    Outcome::Failed {
        layer,
        failure,
        after: Micros(after),
    }
}

fn answered(said: Said) -> (Outcome, Vec<Step>, Facts) {
    let silent = matches!(
        said.failure,
        Some(Failure::DnsTimeout | Failure::DnsUnreachable)
    );
    let facts = Facts {
        dns: (!silent).then_some(said.facts),
        ..Facts::default()
    };
    match said.failure {
        Some(failure) => (failed(Layer::Dns, failure, 3_000), vec![], facts),
        None => (Outcome::Passed, vec![step(Layer::Dns, 3_000)], facts),
    }
}

fn fetched() -> (Outcome, Vec<Step>, Facts) {
    let steps = vec![
        step(Layer::Tcp, 10_000),
        step(Layer::Tls, 20_000),
        step(Layer::Http, 30_000),
    ];
    let http = HttpFacts {
        status: 200,
        first_byte: Micros(25_000),
        body_bytes: 900,
        body_digest: "d1".into(),
        headers: vec![("server".into(), "cloudflare".into())],
        redirect: Redirect::None,
    };
    let facts = Facts {
        http: Some(http),
        ..Facts::default()
    };
    (Outcome::Passed, steps, facts)
}

fn step(layer: Layer, took: u64) -> Step {
    Step {
        layer,
        took: Micros(took),
    }
}

/// An address that nobody listens at.
pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}
