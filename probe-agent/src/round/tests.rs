//! Rounds from announcement to spool, and what of a secret they leave behind.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::MutexGuard;

use localize::{Pace, Role, Target};
use prost::Message as _;
use proto::v1::agent_message::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::clock::Sample;
use crate::policy::Around;
use crate::spool::Spool;

const SECRET: &str = "Bearer d41d8cd98f00b204";
/// The last word of it, which is a secret as well.
const TOKEN: &str = "d41d8cd98f00b204";

/// Keeps everything that is logged.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// An agent's rounds with a data folder of their own.
struct Bench {
    folder: tempfile::TempDir,
    clock: Arc<Clock>,
    outbox: Outbox,
    rounds: Rounds,
}

impl Bench {
    fn new() -> Self {
        Self::with_policy("")
    }

    /// On loopback, which its owner opens.
    fn with_policy(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let opened = format!("allow = ['127.0.0.0/8']\n{text}");
        fs::write(folder.path().join("policy.toml"), opened).unwrap();
        let clock = Arc::new(Clock::start());
        clock.set(Sample {
            offset_us: 0,
            round_trip_us: 1,
            taken: clock.now(),
        });
        let spool = Spool::open(&folder.path().join("spool"), 1, 1 << 20).unwrap();
        let (outbox, _) = Outbox::start(spool).unwrap();
        let rounds = Rounds::new(Parts {
            vantage: VantageName("home1".to_owned()),
            clock: Arc::clone(&clock),
            trigger: Trigger::start(Arc::clone(&clock)).unwrap(),
            outbox: outbox.clone(),
            policy: Policy::load(folder.path()).unwrap(),
        });
        Self {
            folder,
            clock,
            outbox,
            rounds,
        }
    }

    /// The service, with a header whose value stands in a file of the agent's.
    fn service(&self, versions: &[&str]) -> Arc<Service> {
        Arc::new(Service::try_from(self.spec(versions)).unwrap())
    }

    fn spec(&self, versions: &[&str]) -> v1::ServiceSpec {
        let path = self.folder.path().join("secrets/token");
        let header = v1::Header {
            name: "authorization".to_owned(),
            value: format!("file:{}", path.display()),
        };
        v1::ServiceSpec {
            name: "shop".to_owned(),
            host: "shop.example".to_owned(),
            scheme: "http".to_owned(),
            backends: vec![v1::service_spec::BackendRequest {
                name: "db".to_owned(),
                scheme: "tcp".to_owned(),
                path: String::new(),
            }],
            request: Some(v1::RequestSpec {
                headers: vec![header],
                http: versions.iter().map(ToString::to_string).collect(),
                ..v1::RequestSpec::default()
            }),
            ..v1::ServiceSpec::default()
        }
    }

    /// Fires a round of a VIP and a bare backend at one address, and returns the answer to its announcement
    /// with the messages that follow.
    async fn round(
        &self,
        service: &Arc<Service>,
        to: SocketAddr,
    ) -> (v1::RoundAnswer, Vec<v1::AgentMessage>) {
        let backend = Target::Backend {
            name: "db".to_owned(),
            address: to,
        };
        let arms = [Target::Vip { address: to }, backend].map(Arm::to);
        self.round_of(service, arms).await
    }

    /// The same of two other arms.
    async fn round_of(
        &self,
        service: &Arc<Service>,
        arms: [Arm; 2],
    ) -> (v1::RoundAnswer, Vec<v1::AgentMessage>) {
        let context = Context {
            role: Role::Inside,
            resolvers: Vec::new(),
            around: Around::default(),
        };
        let before = self.outbox.state().borrow().newest;
        let answer = self.rounds.announce(
            Some(service),
            Some(&context),
            v1::Round {
                service: "shop".to_owned(),
                round: 7,
                fire_at_us: self.clock.stamp(self.clock.now()).at_us,
                arms: arms.map(|arm| (&arm).into()).into(),
            },
        );
        let mut state = self.outbox.state();
        // A trace may have come beside them before anybody looks.
        let two_more = state.wait_for(|state| state.newest >= before + 2);
        tokio::time::timeout(Duration::from_secs(15), two_more)
            .await
            .expect("both probes end")
            .unwrap();
        let records = self.outbox.pending(before, 8).await.unwrap();
        let decoded = records.iter();
        let decoded = decoded.map(|(_, bytes)| v1::AgentMessage::decode(bytes.as_slice()).unwrap());
        (answer, decoded.collect())
    }

    fn give(&self, secret: &str) {
        let folder = self.folder.path().join("secrets");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("token"), secret).unwrap();
    }
}

/// Answers every request with what it holds: a debugging page, or somebody who means no good. What is not
/// HTTP/1.1 is read as well.
async fn echo() -> (SocketAddr, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Log::default();
    let log = heard.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let log = log.clone();
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                let read = stream.read(&mut asked).await.unwrap_or(0);
                log.bytes().extend_from_slice(&asked[..read]);
                let answer = format!(
                    "HTTP/1.1 302 {TOKEN}\r\nX-Echo: {SECRET}\r\nSet-Cookie: {TOKEN}\r\nX-{TOKEN}: 1\r\n\
                     Location: https://login.example/?t={TOKEN}\r\nContent-Length: 16\r\n\r\n{TOKEN}"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (address, heard)
}

fn holds(bytes: &[u8]) -> bool {
    let lower = bytes.to_ascii_lowercase();
    let found = |word: &str| {
        lower
            .windows(word.len())
            .any(|part| part == word.as_bytes())
    };
    found(TOKEN)
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.display().to_string(), fs::read(&path).unwrap())),
        }
    }
    found
}

/// Over HTTP/1.1 and HTTP/2 the secret is sent, and stands in no message, file or line of the log.
#[tokio::test]
async fn a_secret_is_sent_and_told_to_nobody() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    for versions in [["1.1"], ["2"]] {
        let bench = Bench::new();
        bench.give(SECRET);
        let (address, heard) = echo().await;
        let service = bench.service(&versions);
        tracing::info!(?service, "what a log may show of it");
        let (answer, messages) = bench.round(&service, address).await;
        assert_eq!(answer.accepted, 2, "{answer:?}");
        if versions == ["1.1"] {
            assert!(holds(&heard.bytes()), "the server gets it");
        }
        let mut wire = answer.encode_to_vec();
        for message in &messages {
            wire.extend(message.encode_to_vec());
        }
        assert!(!holds(&wire), "{messages:?}");
        let folder = bench.folder.path();
        fs::remove_dir_all(folder.join("secrets")).unwrap();
        for (name, bytes) in files(folder) {
            assert!(!holds(&bytes), "{name}");
        }
    }
    let log = log.bytes();
    assert!(!holds(&log), "{}", String::from_utf8_lossy(&log));
    assert!(!log.is_empty());
}

/// What the agent lacks is no fault of the service: the arms that need it are not fired.
#[tokio::test]
async fn without_the_secret_the_arm_is_not_fired() {
    let bench = Bench::new();
    let (address, heard) = echo().await;
    let service = bench.service(&[]);
    let (answer, messages) = bench.round(&service, address).await;
    assert_eq!(answer.accepted, 1, "the bare backend needs no header");
    let skipped: Vec<String> = messages
        .into_iter()
        .filter_map(|message| match message.message {
            Some(Message::Observation(observation)) => Some(observation),
            _ => None,
        })
        .map(|observation| Observation::try_from(observation).unwrap())
        .filter(|observation| observation.outcome == Outcome::NotFired)
        .map(|observation| match observation.firing {
            Firing::Skipped { why } => why,
            fired @ (Firing::OnTime | Firing::Late { .. }) => panic!("{fired:?}"),
        })
        .collect();
    let path = bench.folder.path().join("secrets/token");
    let expected = format!(
        "file:{} cannot be read: No such file or directory (os error 2)",
        path.display()
    );
    assert_eq!(skipped, [expected]);
    assert!(heard.bytes().is_empty(), "nobody is asked without it");
    // Once it is there the next round has it.
    bench.give(SECRET);
    assert_eq!(bench.round(&service, address).await.0.accepted, 2);
}

/// Why each arm of some messages was not fired, those that were left out.
fn left_out(messages: Vec<v1::AgentMessage>) -> Vec<String> {
    let observations = messages
        .into_iter()
        .filter_map(|message| match message.message {
            Some(Message::Observation(observation)) => Some(observation),
            _ => None,
        });
    observations
        .map(|observation| Observation::try_from(observation).unwrap())
        .filter_map(
            |observation| match (observation.outcome, observation.firing) {
                (Outcome::NotFired, Firing::Skipped { why }) => Some(why),
                (Outcome::NotFired | Outcome::Passed | Outcome::Failed { .. }, _) => None,
            },
        )
        .collect()
}

/// The second of two probes of one address is left out, says why, and is no evidence.
#[tokio::test]
async fn beyond_the_limit_of_an_address_nothing_is_fired() {
    let bench = Bench::with_policy("[limits.private]\nmax_probes_per_second = 1");
    bench.give(SECRET);
    let (address, _) = echo().await;
    let (answer, messages) = bench.round(&bench.service(&[]), address).await;
    assert_eq!(answer.accepted, 1);
    let said = "the limit of 1 probes a second of 127.0.0.1 is reached (limits.private in policy.toml sets it)";
    assert_eq!(left_out(messages), [said]);
}

/// A burst takes the address's share for eight probes, and of what is under way.
#[tokio::test]
async fn a_burst_counts_for_each_of_its_connections() {
    for (policy, said) in [
        (
            "[limits.private]\nmax_probes_per_second = 8",
            "the limit of 8 probes a second of 127.0.0.1 is reached (limits.private in policy.toml sets it)",
        ),
        (
            "[limits]\nmax_concurrent = 8",
            "the limit of 8 probes at once is reached",
        ),
    ] {
        let bench = Bench::with_policy(policy);
        bench.give(SECRET);
        let (address, _) = echo().await;
        let plain = Arm::to(Target::Vip { address });
        let arms = [plain.twin(Pace::Burst), plain];
        let (answer, messages) = bench.round_of(&bench.service(&[]), arms).await;
        assert_eq!(answer.accepted, 1, "{policy}");
        assert_eq!(left_out(messages), [said]);
    }
}

/// What an answer took beyond the address's share is paid back before it is asked again.
#[tokio::test]
async fn bytes_that_are_owed_are_waited_for() {
    let bench = Bench::with_policy("[limits.private]\nmax_bytes_per_second = 1");
    bench.give(SECRET);
    let (address, _) = echo().await;
    let service = bench.service(&[]);
    assert_eq!(bench.round(&service, address).await.0.accepted, 2);
    let (answer, messages) = bench.round(&service, address).await;
    assert_eq!(answer.accepted, 0);
    let said = "the limit of 1 bytes a second of 127.0.0.1 is reached (limits.private in policy.toml sets it)";
    assert_eq!(left_out(messages), [said, said]);
}

/// Nobody answers a SYN there: the one place is taken.
fn full() -> (SocketAddr, [socket2::Socket; 2]) {
    let kind = socket2::Type::STREAM;
    let [listener, taker] =
        [0; 2].map(|_| socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap());
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    taker.connect(&address.into()).unwrap();
    (address, [listener, taker])
}

/// Two probes of one address meet silence, and the way there is traced: from the port of one of them, once a
/// minute, and where the owner of the service lets it be.
#[tokio::test]
async fn the_way_to_who_is_silent_is_traced_once_a_minute() {
    for trace in [true, false] {
        let bench = Bench::new();
        bench.give(SECRET);
        let (address, _sockets) = full();
        let spec = v1::ServiceSpec {
            trace,
            connect_timeout_ms: 300,
            ..bench.spec(&[])
        };
        let service = Arc::new(Service::try_from(spec).unwrap());
        bench.round(&service, address).await;
        let all = 2 + u64::from(trace);
        let mut state = bench.outbox.state();
        let arrived = state.wait_for(|state| state.newest == all);
        tokio::time::timeout(Duration::from_secs(15), arrived)
            .await
            .expect("the trace ends")
            .unwrap();
        let records = bench.outbox.pending(0, 8).await.unwrap();
        let (mut left_from, mut traced) = (Vec::new(), Vec::new());
        for (_, bytes) in records {
            match v1::AgentMessage::decode(bytes.as_slice()).unwrap().message {
                Some(Message::Observation(observation)) => {
                    left_from.push(observation.tcp.unwrap().local);
                }
                Some(Message::Trace(found)) => {
                    assert_eq!(left_from.len(), 1, "it comes before what it is of");
                    traced.push(Trace::try_from(found).unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((left_from.len(), traced.len()), (2, usize::from(trace)));
        for found in traced {
            assert_eq!((found.to, found.round), (address, RoundId(7)));
            assert_eq!(left_from[1], found.from.to_string());
            // Loopback has no routers.
            let silent = Some(localize::Heard::Silence);
            assert_eq!((found.hops.len(), found.whole), (0, silent));
        }
        // Both probes meet silence once more, and that is all.
        bench.round(&service, address).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(bench.outbox.state().borrow().newest, all + 2);
    }
}
