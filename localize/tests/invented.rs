//! What one vantage point that makes things up can do to a verdict.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "mesh/world/mod.rs"]
#[allow(dead_code, reason = "shared with the rows of verdicts")]
mod world;

use localize::{
    Case, Component, Failure, Kind, Layer, MOST_COPIES, Micros, Observation, Outcome, Target,
    VantageName, Verdict, localize,
};
use proptest::prelude::*;
use world::{Fault, Mesh, World};

/// What a liar says of the probes that it was to make.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// All is well, and this backend served it.
    Served(usize),
    Status(u16),
    Refused,
    TimedOut,
    /// One after the other.
    Anything,
}

/// Says it of every arm in every round of its own so many times, beside what it has seen or instead of that.
#[derive(Clone, Copy, Debug)]
struct Liar {
    name: &'static str,
    lie: Lie,
    copies: u64,
    honest_as_well: bool,
}

fn case(fault: Fault, seed: u64) -> Case {
    let mut world = World::new(Mesh::Full, seed);
    world.faults = vec![fault];
    (0..8).for_each(|_| world.round());
    world.case()
}

impl Liar {
    fn told(self, honest: &Case) -> Case {
        let me = VantageName(self.name.to_owned());
        let (own, others): (Vec<Observation>, Vec<Observation>) = honest
            .observations
            .iter()
            .cloned()
            .partition(|seen| *seen.vantage() == me);
        let mut told = honest.clone();
        if !self.honest_as_well {
            told.observations = others;
        }
        for seen in &own {
            for copy in 0..self.copies {
                let mut lie = self.of(seen, copy);
                lie.id.sequence += 1_000_000 * (copy + 1);
                told.observations.push(lie);
            }
        }
        told
    }

    fn of(self, seen: &Observation, copy: u64) -> Observation {
        let lie = match self.lie {
            Lie::Anything => match (seen.id.sequence + copy) % 4 {
                0 => Lie::Served(0),
                1 => Lie::Status(503),
                2 => Lie::Refused,
                _ => Lie::TimedOut,
            },
            lie @ (Lie::Served(_) | Lie::Status(_) | Lie::Refused | Lie::TimedOut) => lie,
        };
        let mut told = seen.clone();
        match (&told.arm.target, lie) {
            (_, Lie::Served(backend)) => {
                told.outcome = Outcome::Passed;
                let headers = told
                    .facts
                    .http
                    .iter_mut()
                    .flat_map(|http| &mut http.headers);
                for (_, value) in headers.filter(|(_, value)| value.starts_with("web")) {
                    *value = format!("web{}", backend + 1);
                }
            }
            (Target::Resolver { .. } | Target::NameServer { .. }, _) => {
                told.steps.clear();
                told.facts.dns = None;
                told.outcome = failed(Layer::Dns, Failure::DnsTimeout);
            }
            (_, Lie::Status(status)) => {
                told.outcome = failed(Layer::Http, Failure::HttpStatus(status))
            }
            (_, lie) => {
                told.steps.clear();
                (told.facts.http, told.facts.tls) = (None, None);
                let failure = match lie {
                    Lie::Refused => Failure::ConnectRefused,
                    Lie::Served(_) | Lie::Status(_) | Lie::TimedOut | Lie::Anything => {
                        Failure::ConnectTimeout
                    }
                };
                told.outcome = failed(Layer::Tcp, failure);
            }
        }
        told
    }

    /// Whether no probe of its own passes a component.
    fn is_far_from(self, component: &Component) -> bool {
        let own_resolver = match self.name {
            "home1" => "192.0.2.11",
            _ => "10.0.5.53",
        };
        match component.kind {
            Kind::ClientNetwork => component.name != self.name,
            Kind::Resolver => component.name != own_resolver,
            Kind::Cdn | Kind::CdnOriginPath => self.name != "home1",
            Kind::AuthoritativeDns
            | Kind::Origin
            | Kind::LoadBalancer
            | Kind::LbBackendPath
            | Kind::Backend
            | Kind::ReturnPath => false,
        }
    }
}

fn failed(layer: Layer, failure: Failure) -> Outcome {
    Outcome::Failed {
        layer,
        failure,
        after: Micros(900),
    }
}

fn blame(verdict: &Verdict) -> Vec<(Component, f64)> {
    let named = verdict.faults.iter();
    let named = named.map(|fault| (fault.component.clone(), fault.confidence));
    let others = verdict.alternatives.iter();
    named
        .chain(others.map(|other| (other.component.clone(), other.confidence)))
        .collect()
}

fn blame_of(verdict: &Verdict, component: &Component) -> f64 {
    let all = blame(verdict);
    let of = all.iter().filter(|(known, _)| known == component);
    of.map(|(_, blame)| *blame).fold(0.0, f64::max)
}

fn liars() -> impl Strategy<Value = Liar> {
    let lie = prop_oneof![
        (0usize..3).prop_map(Lie::Served),
        Just(Lie::Status(503)),
        Just(Lie::Refused),
        Just(Lie::TimedOut),
        Just(Lie::Anything),
    ];
    let name = prop_oneof![Just("home1"), Just("web1")];
    (name, lie, 1u64..60, any::<bool>()).prop_map(|(name, lie, copies, honest_as_well)| Liar {
        name,
        lie,
        copies,
        honest_as_well,
    })
}

fn sick() -> impl Strategy<Value = (usize, Fault)> {
    (1usize..3).prop_flat_map(|i| {
        prop_oneof![
            Just((i, Fault::BackendStatus(i, 1.0))),
            Just((i, Fault::BackendStatus(i, 0.5))),
            Just((i, Fault::BackendClosed(i))),
            Just((i, Fault::BackendSyn(i, 0.4))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever one vantage point says, and however often, nobody is blamed for it whom it does not meet.
    #[test]
    fn nobody_is_blamed_from_afar(liar in liars(), (_, fault) in sick(), seed in 0u64..1000) {
        let honest = case(fault, seed);
        let before = localize(&honest).verdict;
        let after = localize(&liar.told(&honest)).verdict;
        for (component, blame) in blame(&after) {
            if liar.is_far_from(&component) {
                let known = blame_of(&before, &component);
                prop_assert!(blame <= known.max(0.5), "{component:?} {blame} by {liar:?}");
            }
        }
    }

    /// A sick backend that others see stays named, or among the candidates.
    #[test]
    fn a_sick_backend_is_not_talked_well((place, fault) in sick(), lie in liars(), seed in 0u64..1000) {
        let liar = Liar { name: "home1", ..lie };
        let sick = Component { kind: Kind::Backend, name: format!("web{}", place + 1) };
        let honest = case(fault, seed);
        let before = blame_of(&localize(&honest).verdict, &sick);
        let after = localize(&liar.told(&honest)).verdict;
        let now = blame_of(&after, &sick);
        prop_assert!(before < 0.9 || now >= 0.3, "{now} by {liar:?}: {:?} unknown {}", blame(&after), after.unknown);
    }

    /// Nobody weighs more by saying more than a round can have asked.
    #[test]
    fn what_is_said_again_and_again_weighs_no_more(liar in liars(), seed in 0u64..1000, more in 1u64..200) {
        let honest = case(Fault::BackendStatus(1, 0.5), seed);
        let lies = |copies| {
            let liar = Liar { copies, honest_as_well: false, ..liar };
            localize(&liar.told(&honest)).verdict
        };
        let bound = u64::from(MOST_COPIES);
        prop_assert_eq!(blame(&lies(bound)), blame(&lies(bound + more)));
    }
}
