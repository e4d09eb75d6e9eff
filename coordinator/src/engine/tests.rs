//! Handlers in virtual time, on a real store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test may fail, and skips the messages that it does not wait for"
)]

mod asking;
mod checking;
mod identities;
mod tallying;
mod watching;

use std::collections::BTreeMap;
use std::sync::Arc;

use localize::topology::Zone;
use localize::{
    Arm, Facts, Failure, Firing, Layer, Micros, NameServer, Object, Observation, ObservationId,
    Outcome, Pace, Role, RoundId, ServiceName, SourcePort, Stamp, Target, VantageName,
};
use proto::v1;
use proto::v1::coordinator_message::Message;
use proto::v1::goodbye::Reason;
use tempfile::TempDir;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

use super::rounds::Cause;
use super::scribe::Job;
use super::state::{Outside, State};
use super::*;
use crate::ca::{Authority, Mesh, Serial};
use crate::config::Lifetimes;
use crate::store::{AgentState, IssuedCertificate, RoundRecord, Write};
use crate::tls::PeerCertificate;

const NOW: u64 = 1_700_000_000_000_000;
const SECOND: u64 = 1_000_000;
const SERVICE: &str = r#"
name = "shop"
url = "http://shop.example/"
[load_balancer]
vip = ["203.0.113.10:80"]
[[backend]]
name = "web1"
address = "10.0.0.51:80"
[schedule]
timeout = { total = "5s" }
"#;

/// A state with what comes out of it.
struct Bench {
    state: State,
    jobs: mpsc::Receiver<Job>,
    happenings: broadcast::Receiver<Happening>,
    alarms: mpsc::Receiver<Alarmed>,
    folder: TempDir,
}

/// An agent's end of its session.
struct Agent {
    name: VantageName,
    session: SessionId,
    incoming: mpsc::Receiver<Result<v1::CoordinatorMessage, tonic::Status>>,
    end: CancellationToken,
}

fn state(
    folder: &TempDir,
    jobs: mpsc::Sender<Job>,
    happenings: broadcast::Sender<Happening>,
    alarms: mpsc::Sender<Alarmed>,
) -> State {
    let authority = Authority::open(&folder.path().join("ca"), Mesh::Fresh, NOW).unwrap();
    let day = std::time::Duration::from_secs(86_400);
    let setup = Setup {
        authority: Arc::new(authority),
        lifetimes: Lifetimes {
            agent: day,
            server: day,
            operator: day,
            grace: 30 * day,
        },
        addresses: vec!["127.0.0.1:7443".to_owned()],
        advertised: Vec::new(),
    };
    let store = Store::open(&folder.path().join("store")).unwrap();
    let outside = Outside {
        jobs,
        happenings,
        services: Arc::default(),
        checks: Arc::default(),
        given: super::given::Given::default(),
        alarms,
    };
    State::restore(store, setup, outside, NOW).unwrap()
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self::open(tempfile::tempdir().unwrap());
        let (reply, _) = reply();
        bench.state.apply(NOW, SERVICE.to_owned(), None, reply);
        bench
    }

    /// On what is in the folder.
    fn open(folder: TempDir) -> Self {
        let (jobs, written) = mpsc::channel(256);
        let (happenings, happened) = broadcast::channel(256);
        let (alarms, alarmed) = mpsc::channel(1);
        Self {
            state: state(&folder, jobs, happenings, alarms),
            jobs: written,
            happenings: happened,
            alarms: alarmed,
            folder,
        }
    }

    /// Ends as a kill would, and comes back.
    fn restart(self) -> Self {
        let Self { state, folder, .. } = self;
        drop(state);
        Self::open(folder)
    }

    fn connect(&mut self, name: &str, role: Role) -> Agent {
        let name = VantageName(name.to_owned());
        let record = AgentRecord {
            name: name.clone(),
            role,
            host: None,
            labels: BTreeMap::new(),
            state: AgentState::Enrolled,
            certificates: vec![IssuedCertificate {
                serial: "aa".to_owned(),
                expires_us: NOW + 3600 * SECOND,
            }],
            revoked: Vec::new(),
            former: Vec::new(),
            gaps: Vec::new(),
            version: String::new(),
            last_seen_us: None,
            addresses: Vec::new(),
            resolvers: Vec::new(),
            witness: false,
            witness_trouble: String::new(),
        };
        self.state.agents.insert(name.clone(), record);
        let peer = PeerCertificate {
            identity: proto::identity::Identity::Agent(name.0.clone()),
            serial: Serial("aa".to_owned()),
            not_after_us: NOW + 3600 * SECOND,
            issued_us: NOW,
        };
        let (outgoing, incoming) = mpsc::channel(OUTGOING);
        let end = CancellationToken::new();
        let link = Link {
            outgoing,
            end: end.clone(),
        };
        let host = Host {
            resolvers: vec!["192.0.2.1:53".parse().unwrap()],
            ..Host::default()
        };
        let opening = Opening {
            peer,
            name: name.clone(),
            version: String::new(),
            host,
            link,
        };
        let connected = self.state.connect(NOW, opening);
        Agent {
            session: connected.unwrap().id,
            name,
            incoming,
            end,
        }
    }

    fn fire(&mut self, now_us: u64) -> RoundId {
        match self.state.fire(now_us, &shop(), Cause::Demand).unwrap() {
            Fired::Round { id, .. } => id,
            Fired::TooManyInFlight => panic!("too many"),
        }
    }

    fn record(&mut self, now_us: u64, agent: &Agent, observations: Vec<Observation>) {
        self.state.recorded(now_us, &agent.name, of(observations));
    }

    fn closed(&mut self) -> Vec<RoundRecord> {
        let mut closed = Vec::new();
        while let Ok(happening) = self.happenings.try_recv() {
            if let What::Round(round) = happening.what {
                closed.push(round);
            }
        }
        closed
    }

    fn gathered(&self) -> usize {
        let evidence = self.state.gather(&shop(), 0, None).unwrap().unwrap();
        evidence.observations.len()
    }

    fn written(&mut self) -> Vec<Write> {
        let mut writes = Vec::new();
        while let Ok(job) = self.jobs.try_recv() {
            writes.extend(job.writes);
        }
        writes
    }
}

impl Agent {
    fn messages(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Ok(message) = self.incoming.try_recv() {
            messages.extend(message.unwrap().message);
        }
        messages
    }

    fn round(&mut self) -> v1::Round {
        let mut rounds = self
            .messages()
            .into_iter()
            .filter_map(|message| match message {
                Message::Round(round) => Some(round),
                _ => None,
            });
        rounds.next_back().expect("no round came")
    }

    fn goodbye(&mut self) -> Option<Reason> {
        let mut goodbyes = self
            .messages()
            .into_iter()
            .filter_map(|message| match message {
                Message::Goodbye(goodbye) => Some(goodbye.reason()),
                _ => None,
            });
        goodbyes.next_back()
    }

    fn saw(
        &self,
        round: RoundId,
        sequence: u64,
        arm: Arm,
        started_us: u64,
        outcome: Outcome,
    ) -> Observation {
        Observation {
            id: ObservationId {
                vantage: self.name.clone(),
                sequence,
            },
            service: shop(),
            round,
            arm,
            started: Stamp {
                at_us: started_us,
                uncertainty_us: 40,
            },
            scheduled_us: NOW,
            firing: Firing::OnTime,
            steps: Vec::new(),
            outcome,
            facts: Facts::default(),
        }
    }
}

fn reply<T>() -> (Reply<T>, oneshot::Receiver<Result<T, Refusal>>) {
    let (sender, receiver) = oneshot::channel();
    let reply = Reply {
        answer: sender,
        act: None,
    };
    (reply, receiver)
}

/// Observations alone, as an agent sends them.
fn of(observations: Vec<Observation>) -> Delivery {
    Delivery {
        observations,
        ..Delivery::default()
    }
}

fn shop() -> ServiceName {
    ServiceName("shop".to_owned())
}

fn resolver() -> Arm {
    Arm::to(Target::Resolver {
        server: "192.0.2.1:53".parse().unwrap(),
    })
}

fn failed() -> Outcome {
    Outcome::Failed {
        layer: Layer::Dns,
        failure: Failure::DnsTimeout,
        after: Micros(2_000_000),
    }
}

#[test]
fn a_round_is_announced_ahead_and_closes_with_its_last_observation() {
    let mut bench = Bench::new();
    let (mut a, mut b) = (
        bench.connect("a", Role::Outside),
        bench.connect("b", Role::Outside),
    );
    let round = bench.fire(NOW);
    let (to_a, to_b) = (a.round(), b.round());
    assert_eq!((to_a.round, to_a.fire_at_us), (to_b.round, to_b.fire_at_us));
    assert!(to_a.fire_at_us >= NOW + 250_000);
    assert_eq!(to_a.arms.len(), 1);

    bench.record(
        NOW,
        &a,
        vec![a.saw(round, 1, resolver(), NOW + 100, Outcome::Passed)],
    );
    assert!(bench.closed().is_empty());
    assert_eq!(bench.gathered(), 0, "an open round is no evidence");
    bench.record(
        NOW,
        &b,
        vec![b.saw(round, 1, resolver(), NOW + 350, failed())],
    );
    let closed = bench.closed();
    assert_eq!(closed.len(), 1);
    let RoundRecord {
        expected,
        received,
        failed,
        skew_us,
        worst_uncertainty_us,
        ..
    } = closed[0];
    assert_eq!(
        (expected, received, failed, skew_us, worst_uncertainty_us),
        (2, 2, 1, 250, 40)
    );
    assert_eq!(bench.gathered(), 2);
    let rounds = bench
        .written()
        .into_iter()
        .filter(|write| matches!(write, Write::Round(_)));
    assert_eq!(rounds.count(), 1);
}

#[test]
fn rounds_that_closed_behind_an_open_one_wait_for_it() {
    let mut bench = Bench::new();
    let mut agent = bench.connect("a", Role::Outside);
    let mut fire = |bench: &mut Bench, now| {
        let round = bench.fire(now);
        (round, agent.round().fire_at_us)
    };
    let slow = fire(&mut bench, NOW);
    let quick = fire(&mut bench, NOW + SECOND);
    let at = |(round, scheduled_us): (RoundId, u64), number, outcome| Observation {
        scheduled_us,
        ..agent.saw(round, number, resolver(), scheduled_us, outcome)
    };
    // The first probe waits for its answer, the second has had one.
    bench.record(NOW, &agent, vec![at(quick, 1, Outcome::Passed)]);
    assert_eq!(bench.closed().len(), 1);
    assert_eq!(bench.gathered(), 0, "nothing is well while a probe waits");
    bench.record(NOW, &agent, vec![at(slow, 2, failed())]);
    assert_eq!(bench.gathered(), 2);
}

#[test]
fn a_round_closes_without_those_that_cannot_answer() {
    let mut bench = Bench::new();
    let refusing = bench.connect("a", Role::Outside);
    let leaving = bench.connect("b", Role::Outside);
    let round = bench.fire(NOW);
    let refused = Said::Refused {
        round,
        why: "no clock".to_owned(),
    };
    bench.state.heard(NOW, refusing.session, refused);
    assert!(bench.closed().is_empty());
    bench.state.gone(NOW, leaving.session);
    assert_eq!(bench.closed().len(), 1);

    let fired = bench.state.fire(NOW, &shop(), Cause::Demand).unwrap();
    let told =
        matches!(&fired, Fired::Round { refused: Some(why), .. } if why.contains("no clock"));
    assert!(told, "{fired:?}");
    bench.state.close_overdue(u64::MAX);
    bench.closed();

    let silent = bench.connect("c", Role::Outside);
    bench.state.gone(NOW, refusing.session);
    bench.fire(NOW);
    let total = 300_000 + 5 * SECOND + 2 * SECOND;
    bench.state.tick(NOW + total - 1);
    assert!(bench.closed().is_empty());
    assert!(bench.state.next_wake(NOW + total - 1) <= NOW + total);
    bench.state.tick(NOW + total);
    let closed = bench.closed();
    assert_eq!(
        (closed.len(), closed[0].expected, closed[0].received),
        (1, 1, 0)
    );
    drop(silent);
}

#[test]
fn an_observation_counts_once_and_late_ones_still_count() {
    let mut bench = Bench::new();
    let agent = bench.connect("a", Role::Outside);
    let round = bench.fire(NOW);
    let seen = agent.saw(round, 7, resolver(), NOW, Outcome::Passed);
    bench.record(NOW, &agent, vec![seen.clone()]);
    bench.record(NOW, &agent, vec![seen.clone()]);
    assert_eq!(bench.gathered(), 1);
    let version = bench
        .state
        .gather(&shop(), 0, None)
        .unwrap()
        .unwrap()
        .version;
    assert!(
        bench
            .state
            .gather(&shop(), 0, Some(version))
            .unwrap()
            .is_none()
    );

    let late = agent.saw(RoundId(0), 8, resolver(), NOW, Outcome::Passed);
    bench.record(NOW, &agent, vec![late]);
    assert!(
        bench
            .state
            .gather(&shop(), 0, Some(version))
            .unwrap()
            .is_some()
    );
    assert_eq!(bench.gathered(), 2);
    let old = Observation {
        scheduled_us: NOW - WINDOW_US - 1,
        ..agent.saw(RoundId(0), 9, resolver(), NOW, Outcome::Passed)
    };
    bench.record(NOW, &agent, vec![old]);
    assert_eq!(
        bench.gathered(),
        2,
        "what is older than the window says nothing of the present"
    );
}

#[test]
fn rounds_in_flight_are_bounded() {
    let mut bench = Bench::new();
    let _agent = bench.connect("a", Role::Outside);
    for second in 0..30 {
        bench.fire(NOW + second * SECOND);
    }
    let later = NOW + 30 * SECOND;
    assert_eq!(
        bench.state.fire(later, &shop(), Cause::Demand).unwrap(),
        Fired::TooManyInFlight
    );
}

/// A localisation asks with one connection at a time, and for bursts apart from that.
#[test]
fn bursts_of_a_localisation_have_rounds_of_their_own() {
    let mut bench = Bench::new();
    let mut agent = bench.connect("a", Role::Inside);
    let paces = |agent: &mut Agent| {
        let arms = agent.round().arms.into_iter();
        let arms = arms.map(|arm| Arm::try_from(arm).unwrap());
        arms.map(|arm| arm.traits.pace).collect::<Vec<_>>()
    };
    bench.fire(NOW);
    let whole = paces(&mut agent);
    assert!(whole.len() > 1 && whole.iter().all(|pace| *pace == Pace::Single));
    let fired = bench.state.fire_bursts(NOW, &shop());
    assert!(matches!(fired, Ok(Fired::Round { .. })), "{fired:?}");
    let bursts = paces(&mut agent);
    assert!(!bursts.is_empty() && bursts.iter().all(|pace| *pace == Pace::Burst));
    // It serves nobody who wants a whole one.
    bench.fire(NOW + SECOND);
    assert_eq!(paces(&mut agent), whole);
}

#[test]
fn a_round_that_is_yet_to_be_fired_serves_whoever_wants_one() {
    let mut bench = Bench::new();
    let mut agent = bench.connect("a", Role::Outside);
    let demanded = bench.fire(NOW);
    agent.messages();
    let fire = |bench: &mut Bench, after, cause| {
        let fired = bench.state.fire(NOW + after, &shop(), cause);
        let Fired::Round { id, .. } = fired.unwrap() else {
            panic!("too many")
        };
        (id, bench.state.rounds[&id].cause)
    };
    let both = (demanded, Cause::Schedule);
    assert_eq!(fire(&mut bench, SECOND / 5, Cause::Schedule), both);
    assert_eq!(fire(&mut bench, SECOND / 4, Cause::Demand), both);
    assert!(agent.messages().is_empty());
    let (id, cause) = fire(&mut bench, SECOND, Cause::Demand);
    assert!(id != demanded && cause == Cause::Demand);
    assert_eq!(agent.round().round, id.0);
}

#[test]
fn a_round_of_chosen_arms_closes_when_each_has_come_so_often() {
    let mut bench = Bench::new();
    let (mut a, mut b) = (
        bench.connect("a", Role::Outside),
        bench.connect("b", Role::Outside),
    );
    let unplanned = Arm {
        source: Some("192.0.2.9".parse().unwrap()),
        ..resolver()
    };
    let chosen = [resolver(), unplanned, resolver()].map(|arm| (a.name.clone(), arm));
    let fired = bench.state.fire_chosen(NOW, &shop(), chosen.to_vec());
    let Fired::Round { id, .. } = fired.unwrap() else {
        panic!("too many")
    };
    assert_eq!(a.round().arms, vec![v1::Arm::from(&resolver()); 2]);
    assert!(!b.messages().iter().any(|m| matches!(m, Message::Round(_))));
    let saw = |sequence| a.saw(id, sequence, resolver(), NOW, Outcome::Passed);
    bench.record(NOW, &a, vec![saw(1)]);
    assert!(bench.closed().is_empty());
    bench.record(NOW, &a, vec![saw(2)]);
    assert_eq!(bench.closed().len(), 1);
    assert_eq!(bench.gathered(), 2, "each is an observation of its own");
}

#[test]
fn a_fresh_port_in_the_place_of_a_reused_one_is_waited_for_no_longer() {
    let mut bench = Bench::new();
    let agent = bench.connect("a", Role::Inside);
    let vip = Arm::to(Target::Vip {
        address: "203.0.113.10:80".parse().unwrap(),
    });
    let again = vip.twin(SourcePort::Reused);
    let planned = vec![
        (agent.name.clone(), vip.clone()),
        (agent.name.clone(), again),
    ];
    let Fired::Round { id, .. } = bench.state.fire_chosen(NOW, &shop(), planned).unwrap() else {
        panic!("too many")
    };
    let saw = |sequence| agent.saw(id, sequence, vip.clone(), NOW, Outcome::Passed);
    bench.record(NOW, &agent, vec![saw(1)]);
    assert!(bench.closed().is_empty());
    bench.record(NOW, &agent, vec![saw(2)]);
    assert_eq!(bench.closed().len(), 1);
}

/// Whichever twin an agent has never heard of, what it fires instead takes the place of no other one.
#[test]
fn a_twin_that_comes_late_is_still_waited_for() {
    let mut bench = Bench::new();
    let text = SERVICE.replacen("url", "large_path = \"/app.js\"\nurl", 1);
    bench.state.apply(NOW, text, None, reply().0);
    let agent = bench.connect("a", Role::Inside);
    let vip = Arm::to(Target::Vip {
        address: "203.0.113.10:80".parse().unwrap(),
    });
    let large = vip.twin(Object::Large);
    let again = vip.twin(SourcePort::Reused);
    let planned = [&large, &again, &vip].map(|arm| (agent.name.clone(), arm.clone()));
    let fired = bench.state.fire_chosen(NOW, &shop(), planned.to_vec());
    let Fired::Round { id, .. } = fired.unwrap() else {
        panic!("too many")
    };
    let saw = |sequence, arm: &Arm| agent.saw(id, sequence, arm.clone(), NOW, Outcome::Passed);
    bench.record(NOW, &agent, vec![saw(1, &vip), saw(2, &vip)]);
    assert!(bench.closed().is_empty());
    bench.record(NOW, &agent, vec![saw(3, &large)]);
    assert_eq!(bench.closed().len(), 1);
}

#[test]
fn chosen_rounds_leave_room_for_whole_ones() {
    let mut bench = Bench::new();
    let agent = bench.connect("a", Role::Outside);
    let chosen = vec![(agent.name.clone(), resolver())];
    for second in 0..15 {
        bench.fire(NOW + second * SECOND);
    }
    let later = NOW + 15 * SECOND;
    let fired = bench.state.fire_chosen(later, &shop(), chosen).unwrap();
    assert_eq!(fired, Fired::TooManyInFlight);
    bench.fire(later);
}

#[test]
fn without_agents_nothing_is_fired() {
    let mut bench = Bench::new();
    assert!(matches!(
        bench.state.fire(NOW, &shop(), Cause::Demand),
        Err(Refusal::NoAgent)
    ));
    let other = ServiceName("other".to_owned());
    assert!(matches!(
        bench.state.fire(NOW, &other, Cause::Demand),
        Err(Refusal::UnknownService(_))
    ));
}

#[test]
fn an_agent_that_does_not_read_loses_its_session() {
    let mut bench = Bench::new();
    let agent = bench.connect("a", Role::Outside);
    let message = Message::ServiceGone(v1::ServiceGone::default());
    for _ in 0..=OUTGOING {
        bench.state.send(NOW, &agent.name, message.clone());
    }
    assert!(agent.end.is_cancelled());
    assert!(bench.state.sessions.is_empty());
}

#[test]
fn sessions_end_for_their_reasons() {
    let mut bench = Bench::new();
    let mut first = bench.connect("a", Role::Outside);
    let mut second = bench.connect("a", Role::Outside);
    assert_eq!(first.goodbye(), Some(Reason::Replaced));
    bench.state.gone(NOW, first.session);
    assert!(
        bench.state.sessions.contains(&second.name),
        "only its own end counts"
    );
    bench.state.end_expired(NOW + 3600 * SECOND - 1);
    assert!(!second.end.is_cancelled());
    bench.state.end_expired(NOW + 3600 * SECOND);
    assert_eq!(second.goodbye(), Some(Reason::CertificateExpired));

    let mut third = bench.connect("a", Role::Outside);
    let (reply, _answer) = reply();
    bench.state.revoke(NOW, &third.name, reply);
    assert_eq!(third.goodbye(), Some(Reason::Revoked));
    assert!(third.end.is_cancelled());
    let view = bench.state.agent_view(&third.name).unwrap();
    assert_eq!(view.presence, Presence::Revoked);
}

#[test]
fn name_servers_are_asked_of_the_most_public_agent_until_they_are_known() {
    let mut bench = Bench::new();
    let mut inside = bench.connect("a", Role::Inside);
    let mut outside = bench.connect("b", Role::Outside);
    bench.state.discover_due(NOW);
    let asked = |agent: &mut Agent| {
        let messages = agent.messages();
        messages
            .iter()
            .filter(|m| matches!(m, Message::Discover(_)))
            .count()
    };
    assert_eq!((asked(&mut inside), asked(&mut outside)), (0, 1));
    bench.state.discover_due(NOW + 29 * SECOND);
    assert_eq!(asked(&mut outside), 0);
    bench.state.discover_due(NOW + 30 * SECOND);
    assert_eq!(asked(&mut outside), 1);
    let found = Said::Found {
        service: shop(),
        name_servers: vec![NameServer {
            name: "ns1.shop.example".to_owned(),
            server: "192.0.2.53:53".parse().unwrap(),
        }],
        zone: Zone {
            name: "shop.example".to_owned(),
            ..Zone::default()
        },
    };
    // Nobody has asked this one.
    bench.state.heard(NOW, inside.session, found.clone());
    assert!(bench.state.path(&shop()).unwrap().name_servers.is_empty());
    let dropped = bench.state.outside.given.all_dropped();
    assert_eq!(dropped[&(inside.name.clone(), Unasked::Discovery)], 1);
    bench.state.heard(NOW, outside.session, found.clone());
    let path = bench.state.path(&shop()).unwrap();
    assert_eq!(path.name_servers.len(), 1);
    // And this one has answered.
    let Said::Found { service, zone, .. } = found else {
        panic!("it was found");
    };
    let more = Said::Found {
        service,
        name_servers: (0..16)
            .map(|n| NameServer {
                name: format!("ns{n}.shop.example"),
                server: ([10, 0, 0, n], 53).into(),
            })
            .collect(),
        zone,
    };
    bench.state.heard(NOW, outside.session, more);
    let path = bench.state.path(&shop()).unwrap();
    assert_eq!(path.name_servers.len(), 1);
    assert_eq!(path.zone_name(), "shop.example");
    bench.state.discover_due(NOW + 60 * SECOND);
    bench.state.discover_due(NOW + 600 * SECOND);
    assert_eq!(asked(&mut outside), 1);
}

#[tokio::test]
async fn what_is_on_disk_comes_back() {
    let mut bench = Bench::new();
    let agent = bench.connect("a", Role::Outside);
    let round = bench.fire(NOW);
    let seen = agent.saw(round, 7, resolver(), NOW, Outcome::Passed);
    bench.record(NOW, &agent, vec![seen.clone()]);
    let mut writes = bench.written();
    writes.push(Write::Observation(seen.clone()));
    bench.state.store.commit(writes).await.unwrap();

    let mut bench = bench.restart();
    let state = &mut bench.state;
    assert_eq!(state.status().known, 1);
    let view = state.service_view(&shop()).unwrap();
    assert_eq!((view.rounds, view.last_round_us), (1, NOW + 300_000));
    let gather = |state: &State| {
        state
            .gather(&shop(), 0, None)
            .unwrap()
            .unwrap()
            .observations
            .len()
    };
    assert_eq!(gather(state), 1);
    state.recorded(NOW, &agent.name, of(vec![seen]));
    assert_eq!(gather(state), 1, "the agent's repeat is known");
    let (reply, answer) = reply();
    state.apply(NOW, SERVICE.to_owned(), None, reply);
    assert_eq!(answer.await.unwrap().unwrap(), Applied::Unchanged(shop()));
}
