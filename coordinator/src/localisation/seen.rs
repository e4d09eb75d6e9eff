//! A small case for tests: one vantage point, one backend.

use localize::{
    Arm, Backend, Baselines, Case, CdnProvider, Facts, Failure, Firing, Layer, Micros, Observation,
    ObservationId, Outcome, Role, RoundId, Scheme, ServiceName, Stamp, Step, Target, TcpFacts,
    Topology, VantageName, VantagePoint, VipMode,
};

pub(super) const SECOND: u64 = 1_000_000;

fn address() -> std::net::SocketAddr {
    ([10, 0, 0, 51], 80).into()
}

/// What is known of a connection of which nothing matters but where it left from.
pub(crate) fn left_from(local: std::net::SocketAddr) -> TcpFacts {
    TcpFacts {
        local,
        syn_retransmissions: 0,
        retransmissions: 0,
        rtt: None,
        reused_after: None,
        options: None,
    }
}

/// A round a second, in which the one backend refuses for so many and answers from then on.
pub(crate) fn case(refuses: u64, rounds: u64) -> Case {
    case_of(rounds, |round| round <= refuses)
}

/// So many rounds, one a second, in which the one backend refuses or answers.
pub(crate) fn case_of(rounds: u64, refuses: impl Fn(u64) -> bool) -> Case {
    let vantage = VantageName("dc1".to_owned());
    let seen = |round: u64| {
        let refused = Outcome::Failed {
            layer: Layer::Tcp,
            failure: Failure::ConnectRefused,
            after: Micros(800),
        };
        let step = |layer| Step {
            layer,
            took: Micros(900),
        };
        let (steps, outcome) = match refuses(round) {
            true => (Vec::new(), refused),
            false => (vec![step(Layer::Tcp), step(Layer::Http)], Outcome::Passed),
        };
        Observation {
            id: ObservationId {
                vantage: vantage.clone(),
                sequence: round,
            },
            service: ServiceName("shop".to_owned()),
            round: RoundId(round),
            arm: Arm::to(Target::Backend {
                name: "web1".to_owned(),
                address: address(),
            }),
            started: Stamp::default(),
            scheduled_us: round * SECOND,
            firing: Firing::OnTime,
            steps,
            outcome,
            facts: Facts::default(),
        }
    };
    Case {
        topology: Topology {
            expect: Default::default(),
            service: ServiceName("shop".to_owned()),
            scheme: Scheme::Http,
            vantages: vec![VantagePoint {
                name: vantage.clone(),
                role: Role::Inside,
                host: None,
                addresses: Vec::new(),
                witness: false,
                resolvers: Vec::new(),
            }],
            resolvers: Vec::new(),
            zone: None,
            name_servers: Vec::new(),
            edges: Vec::new(),
            cdn: CdnProvider::None,
            vips: Vec::new(),
            vip_mode: VipMode::Auto,
            backends: vec![Backend {
                name: "web1".to_owned(),
                address: address(),
                scheme: Scheme::Http,
                path: "/".to_owned(),
            }],
        },
        declared: localize::declared::Declared::default(),
        baselines: Baselines::default(),
        observations: (1..=rounds).map(seen).collect(),
        sightings: Vec::new(),
        traces: Vec::new(),
    }
}
