//! The store as a whole, on a real folder.

mod acts;
mod backup;
mod course;
mod damage;
mod layout;
mod usual;

use std::collections::BTreeMap;

use localize::{
    Arm, Detection, Facts, Failure, Firing, Layer, Micros, Observation, ObservationId, Outcome,
    Role, RoundId, ServiceName, Stamp, Step, Target, VantageName, Verdict, VerdictOutcome,
    WitnessReport,
};
use tempfile::TempDir;

use super::*;
use crate::plan::Learnt;

pub(super) const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;
/// A full minute of mesh time, long after 1970.
pub(super) const NOW: u64 = 28_333_333 * MINUTE;

fn open(dir: &TempDir) -> Store {
    let space = SpaceLimits {
        low_water: 1 << 20,
        ballast: 0,
    };
    Store::open_with(dir.path(), space).expect("opens")
}

fn shop() -> ServiceName {
    ServiceName("shop.example".into())
}

fn vantage(name: &str) -> VantageName {
    VantageName(name.into())
}

fn backend_arm(name: &str) -> Arm {
    Arm::to(Target::Backend {
        name: name.into(),
        address: "10.0.0.51:80".parse().expect("address"),
    })
}

pub(super) fn observation(
    agent: &str,
    sequence: u64,
    at_us: u64,
    failure: Option<Failure>,
) -> Observation {
    let step = |layer, took| Step {
        layer,
        took: Micros(took),
    };
    let (steps, outcome) = match failure {
        None => (
            vec![step(Layer::Tcp, 500), step(Layer::Http, 2000)],
            Outcome::Passed,
        ),
        Some(failure) => (
            Vec::new(),
            Outcome::Failed {
                layer: Layer::Tcp,
                failure,
                after: Micros(5 * SECOND),
            },
        ),
    };
    Observation {
        id: ObservationId {
            vantage: vantage(agent),
            sequence,
        },
        service: shop(),
        round: RoundId(1),
        arm: backend_arm("web1"),
        started: Stamp {
            at_us,
            uncertainty_us: 100,
        },
        scheduled_us: at_us,
        firing: Firing::OnTime,
        steps,
        outcome,
        facts: Facts::default(),
    }
}

fn agent(name: &str) -> AgentRecord {
    AgentRecord {
        name: vantage(name),
        role: Role::Outside,
        host: None,
        labels: BTreeMap::new(),
        state: AgentState::Enrolled,
        certificates: Vec::new(),
        revoked: Vec::new(),
        former: Vec::new(),
        gaps: Vec::new(),
        version: "0.1.0".into(),
        last_seen_us: Some(NOW),
        addresses: Vec::new(),
        resolvers: Vec::new(),
        witness: false,
        witness_trouble: String::new(),
    }
}

fn token(secret: u8) -> TokenRecord {
    TokenRecord {
        secret_sha256: SecretHash([secret; 32]),
        name: vantage("home1"),
        role: Role::Outside,
        host: None,
        labels: BTreeMap::new(),
        expires_us: NOW + MINUTE,
        used_at_us: None,
        used_for: None,
        replace: false,
    }
}

fn burn(secret: u8, used_at_us: u64) -> Vec<Write> {
    vec![Write::BurnToken {
        secret: SecretHash([secret; 32]),
        used_at_us,
        used_for: Use {
            key_sha256: [7; 32],
            serial: "aa".into(),
        },
        agent: agent("home1"),
    }]
}

fn verdict(id: &str) -> Verdict {
    Verdict {
        earlier: Vec::new(),
        not_probed: Vec::new(),
        standing: Vec::new(),
        schema: 1,
        service: shop().0,
        id: id.into(),
        outcome: VerdictOutcome::Healthy,
        faults: Vec::new(),
        exonerated: Vec::new(),
        alternatives: Vec::new(),
        unknown: 0.0,
        ask: Vec::new(),
        detection: Detection {
            rate: 0.01,
            power: 0.95,
        },
        clock: localize::Clock::default(),
        rounds: 1,
        probes: 1,
        vantages: Vec::new(),
        started_at: String::new(),
        elapsed_ms: 1,
    }
}

#[tokio::test]
async fn observations_are_stored_once_and_outlive_a_restart() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    let writes: Vec<Write> = (1..=20)
        .map(|n| {
            let failure = (n % 4 == 0).then_some(Failure::ConnectTimeout);
            Write::Observation(observation("home1", n, NOW + n * SECOND, failure))
        })
        .collect();
    store.commit(writes.clone()).await.expect("stored");
    store
        .commit(writes[10..].to_vec())
        .await
        .expect("a repeat is harmless");
    drop(store);

    let store = open(&dir);
    store
        .commit(writes)
        .await
        .expect("a repeat is harmless after a restart");
    assert_eq!(store.stored_count(), 20);
    assert_eq!(store.durable_through(&vantage("home1")), Some(20));
    assert_eq!(store.durable_through(&vantage("home2")), None);
    let all = store.observations(&shop(), 0, u64::MAX).expect("reads");
    let sequences: Vec<u64> = all.iter().map(|o| o.id.sequence).collect();
    assert_eq!(sequences, (1..=20).collect::<Vec<_>>());
    assert_eq!(
        all[3],
        observation("home1", 4, NOW + 4 * SECOND, Some(Failure::ConnectTimeout))
    );
    let some = store.observations(&shop(), NOW + 5 * SECOND, NOW + 8 * SECOND);
    assert_eq!(some.expect("reads").len(), 4, "both ends included");
    let other = ServiceName("other.example".into());
    assert!(
        store
            .observations(&other, 0, u64::MAX)
            .expect("reads")
            .is_empty()
    );

    let history = store.history(&shop(), NOW).expect("reads");
    let counts: Vec<_> = history
        .iter()
        .map(|l| (l.layer, l.passed, l.failed, l.failure))
        .collect();
    let timeout = Some(Failure::ConnectTimeout);
    assert_eq!(
        counts,
        [(Layer::Tcp, 15, 5, timeout), (Layer::Http, 15, 0, None)]
    );
    assert_eq!((history[0].p50_us, history[0].max_us), (500, 500));
    assert_eq!(history[0].arm, "backend/web1");
    let baselines = store
        .baselines(&shop(), MINUTE, 0..NOW + MINUTE)
        .expect("reads");
    let tcp = baselines.of(&vantage("home1"), &backend_arm("web1"), Layer::Tcp);
    assert_eq!(
        tcp.map(|b| (b.passed, b.failed, b.median)),
        Some((15, 5, Micros(500)))
    );
    assert!(
        store
            .baselines(&shop(), NOW, 0..NOW)
            .expect("reads")
            .0
            .is_empty()
    );
}

#[tokio::test]
async fn reports_share_the_sequence_of_the_observations() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    let report = |sequence, from, to| {
        let stamp = |at_us| Stamp {
            at_us,
            uncertainty_us: 10,
        };
        Write::Report(WitnessReport {
            witness: vantage("home1"),
            sequence,
            from: stamp(from),
            to: stamp(to),
            dropped: 0,
            flows: Vec::new(),
            host: None,
            packets: Vec::new(),
        })
    };
    let writes = vec![
        report(1, NOW, NOW + SECOND),
        Write::Observation(observation("home1", 2, NOW, None)),
        report(2, NOW + SECOND, NOW + 2 * SECOND),
        report(3, NOW + SECOND, NOW + 3 * SECOND),
    ];
    store.commit(writes).await.expect("stored");
    let sequences = |from, to| -> Vec<u64> {
        let reports = store.reports(from, to).expect("reads");
        reports.iter().map(|report| report.sequence).collect()
    };
    assert_eq!(sequences(0, u64::MAX), [1, 3]);
    assert_eq!(sequences(NOW + 2 * SECOND, NOW + 2 * SECOND), [3]);
    assert_eq!(sequences(NOW, NOW), [1]);
}

#[tokio::test]
async fn traces_are_kept_for_an_hour_on_the_sequence_of_the_observations() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    let trace = |sequence, at_us| {
        Write::Trace(Trace {
            vantage: vantage("home1"),
            sequence,
            service: shop(),
            round: RoundId(1),
            from: "192.0.2.1:40000".parse().expect("an address"),
            to: "192.0.2.2:443".parse().expect("an address"),
            started: Stamp {
                at_us,
                uncertainty_us: 10,
            },
            hops: vec![localize::Heard::Unsent],
            whole: None,
        })
    };
    let repeat = trace(1, NOW + SECOND);
    let writes = vec![trace(1, NOW), repeat, trace(2, NOW + 2 * SECOND)];
    store.commit(writes).await.expect("stored");
    drop(store);
    let store = open(&dir);
    assert_eq!(store.durable_through(&vantage("home1")), Some(2));
    let sequences = |from, to| -> Vec<u64> {
        let traces = store.traces(from, to).expect("reads");
        traces.iter().map(|trace| trace.sequence).collect()
    };
    assert_eq!(sequences(0, u64::MAX), [1, 2]);
    assert_eq!(sequences(NOW, NOW + SECOND), [1]);
    while store
        .retain(NOW + 60 * MINUTE + SECOND)
        .await
        .expect("sweeps")
    {}
    assert_eq!(sequences(0, u64::MAX), [2]);
}

#[tokio::test]
async fn what_is_not_kept_is_known_to_have_come() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    let unkept = Write::Unkept {
        vantage: vantage("home1"),
        sequence: 7,
    };
    store.commit(vec![unkept]).await.expect("stored");
    drop(store);
    let store = open(&dir);
    assert_eq!(store.durable_through(&vantage("home1")), Some(7));
    assert_eq!(store.stored_count(), 0);
    let seen = store.observations(&shop(), 0, u64::MAX - 1);
    assert_eq!(seen.expect("reads"), []);
    // What comes at or below it is a repeat, as beside any other record.
    let repeat = Write::Observation(observation("home1", 7, NOW, None));
    store.commit(vec![repeat]).await.expect("stored");
    assert_eq!(store.stored_count(), 0);
}

#[tokio::test]
async fn a_token_is_used_once() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    store
        .commit(vec![Write::Token(token(1)), Write::Token(token(2))])
        .await
        .expect("stored");
    let (one, two) = tokio::join!(store.commit(burn(1, NOW)), store.commit(burn(1, NOW)));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert!(matches!(
        store.commit(burn(1, NOW)).await,
        Err(StoreError::TokenUsed)
    ));
    assert!(matches!(
        store.commit(burn(2, NOW + MINUTE)).await,
        Err(StoreError::TokenExpired)
    ));
    assert!(matches!(
        store.commit(burn(3, NOW)).await,
        Err(StoreError::TokenUnknown)
    ));
    let mut refused = burn(3, NOW);
    refused.insert(0, Write::Agent(agent("home9")));
    assert!(store.commit(refused).await.is_err());
    assert_eq!(
        store.agents().expect("reads"),
        [agent("home1")],
        "a refused commit leaves nothing"
    );
    let used = store
        .token(&SecretHash([1; 32]))
        .expect("reads")
        .expect("there");
    assert_eq!(used.used_at_us, Some(NOW));
    assert_eq!(store.trouble(), None);
}

#[tokio::test]
async fn records_are_replaced_and_deleted_with_all_their_pieces() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    let service = |len: usize| {
        // Text that deflates badly, so that it takes many pieces.
        let noise = (0..len).map(|n| format!("{:x}", n * 2_654_435_761 % 4_294_967_291));
        ServiceRecord {
            name: shop(),
            toml: noise.collect(),
            ca_pem: None,
            applied_us: NOW,
            asked_us: NOW,
            learnt: Learnt::default(),
        }
    };
    for len in [2000, 10, 500] {
        store
            .commit(vec![Write::Service(service(len))])
            .await
            .expect("stored");
        assert_eq!(store.service(&shop()).expect("reads"), Some(service(len)));
        assert_eq!(store.services().expect("reads"), [service(len)]);
    }
    store
        .commit(vec![Write::DeleteService(shop())])
        .await
        .expect("deleted");
    assert_eq!(store.service(&shop()).expect("reads"), None);
    let db = &store.0.shared.disk.db;
    let left = db.range(Kind::Piece.start()..Kind::Piece.end()).count();
    assert_eq!(left, 0, "no piece is left behind");
}

#[tokio::test]
async fn verdicts_and_cases() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    let case = |n: u64| format!("{{\"case\":{n}}}").repeat(200).into_bytes();
    for n in 0..205 {
        let write = Write::Verdict {
            verdict: verdict(&format!("v{n}")),
            case_json: case(n),
        };
        store.commit(vec![write]).await.expect("stored");
    }
    let newest: Vec<String> = store
        .verdicts(Some(&shop()), 2)
        .expect("reads")
        .into_iter()
        .map(|v| v.id)
        .collect();
    assert_eq!(newest, ["v204", "v203"]);
    assert_eq!(store.verdicts(None, 1000).expect("reads").len(), 205);
    assert_eq!(store.verdict("v0").expect("reads"), Some(verdict("v0")));
    assert_eq!(store.verdict("none").expect("reads"), None);
    assert_eq!(store.case("v4").expect("reads"), None, "200 are kept");
    assert_eq!(store.case("v5").expect("reads"), Some(case(5)));
    drop(store);
    assert_eq!(open(&dir).case("v204").expect("reads"), Some(case(204)));
}

#[tokio::test]
async fn a_large_case() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    });
    let case_json: Vec<u8> = noise.take(8 << 20).collect();
    let write = Write::Verdict {
        verdict: verdict("large"),
        case_json: case_json.clone(),
    };
    store.commit(vec![write]).await.expect("stored");
    drop(store);
    assert!(open(&dir).case("large").expect("reads") == Some(case_json));
}

#[tokio::test]
async fn round_numbers_are_never_used_twice() {
    let dir = TempDir::new().expect("folder");
    let mut last = 0;
    for _ in 0..3 {
        let store = open(&dir);
        for _ in 0..3000 {
            let round = loop {
                match store.next_round_id() {
                    Ok(round) => break round.0,
                    Err(StoreError::NoRoundNumber) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            };
            assert!(round > last);
            last = round;
        }
    }
}

#[tokio::test]
async fn rounds_are_counted_once() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    let round = |n: u64| RoundRecord {
        service: shop(),
        round: RoundId(n),
        fire_at_us: NOW + n,
        expected: 4,
        received: 4,
        failed: 0,
        skew_us: 10,
        worst_uncertainty_us: 20,
    };
    for n in [1, 2, 2, 1, 3] {
        store
            .commit(vec![Write::Round(round(n))])
            .await
            .expect("stored");
    }
    let summary = RoundSummary {
        rounds: 3,
        last_fire_at_us: NOW + 3,
    };
    assert_eq!(store.round_summary(&shop()).expect("reads"), summary);
    assert_eq!(
        store.rounds(&shop(), NOW + 2, NOW + 3).expect("reads"),
        [round(2), round(3)]
    );
}

#[tokio::test]
async fn what_has_aged_out_is_forgotten() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    let failure = Some(Failure::ConnectRefused);
    let writes = vec![
        Write::Observation(observation("home1", 1, NOW - 31 * DAY, failure)),
        Write::Observation(observation("home1", 2, NOW - DAY, None)),
        Write::Observation(observation("home1", 3, NOW - DAY, failure)),
        Write::Observation(observation("home1", 4, NOW - MINUTE, None)),
        Write::Observation(observation("home1", 5, NOW + 2 * DAY, failure)),
        Write::Token(TokenRecord {
            expires_us: NOW - 8 * DAY,
            ..token(1)
        }),
        Write::Token(token(2)),
    ];
    store.commit(writes.clone()).await.expect("stored");
    while store.retain(NOW).await.expect("sweeps") {}
    let left = store.observations(&shop(), 0, u64::MAX).expect("reads");
    let sequences: Vec<u64> = left.iter().map(|o| o.id.sequence).collect();
    assert_eq!(sequences, [3, 4]);
    let history = store.history(&shop(), 0).expect("reads");
    assert_eq!(
        (history[0].passed, history[0].failed),
        (2, 1),
        "windows live for 30 days"
    );
    assert!(store.token(&SecretHash([1; 32])).expect("reads").is_none());
    assert!(store.token(&SecretHash([2; 32])).expect("reads").is_some());
    store.commit(writes[..1].to_vec()).await.expect("stored");
    assert_eq!(store.stored_count(), 5, "forgotten is not unknown");

    while store.retain(NOW + 40 * DAY).await.expect("sweeps") {}
    assert!(store.history(&shop(), 0).expect("reads").is_empty());
    assert!(store.0.shared.series().of_service(&shop()).is_empty());
}

#[tokio::test]
async fn old_windows_are_added_up_by_the_hour() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    let hour = NOW - NOW % (60 * MINUTE);
    // Three hours, each minute of it, every seventh failed; more than one sweep adds up.
    let writes: Vec<Write> = (0..900)
        .map(|n| {
            let failure = (n % 7 == 0).then_some(Failure::ConnectRefused);
            Write::Observation(observation("home1", n + 1, hour + n * 12 * SECOND, failure))
        })
        .collect();
    store.commit(writes).await.expect("stored");
    let windows = || {
        let db = &store.0.shared.disk.db;
        db.range(Kind::Window.start()..Kind::Window.end()).count()
    };
    let before = store.history(&shop(), 0).expect("reads");
    assert_eq!(windows(), 0, "they are under way");
    while store
        .retain(hour + 180 * MINUTE + 2 * MINUTE)
        .await
        .expect("sweeps")
    {}
    assert_eq!(windows(), 180 * 2);
    assert_eq!(store.history(&shop(), 0).expect("reads"), before);
    while store.retain(hour + DAY).await.expect("sweeps") {}
    assert_eq!(windows(), 180 * 2, "none is a day old");
    while store
        .retain(hour + DAY + 121 * MINUTE)
        .await
        .expect("sweeps")
    {}
    assert_eq!(windows(), 2 * 2 + 60 * 2, "two hours are");
    assert_eq!(store.history(&shop(), 0).expect("reads"), before);
    let late = observation("home1", 2000, hour + 30 * MINUTE, None);
    store
        .commit(vec![Write::Observation(late)])
        .await
        .expect("stored");
    while store.retain(hour + 2 * DAY).await.expect("sweeps") {}
    let after = store.history(&shop(), 0).expect("reads");
    assert_eq!(after[0].passed, before[0].passed + 1);
    while store.retain(hour + 31 * DAY).await.expect("sweeps") {}
    assert_eq!(windows(), 0);
}

#[tokio::test]
async fn a_damaged_window_starts_afresh() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    let write = |n| vec![Write::Observation(observation("home1", n, NOW, None))];
    store.commit(write(1)).await.expect("stored");
    while store.retain(NOW + 3 * MINUTE).await.expect("sweeps") {}
    let mut batch = sled::Batch::default();
    for entry in store
        .0
        .shared
        .disk
        .db
        .range(Kind::Window.start()..Kind::Window.end())
    {
        let (key, mut value) = entry.expect("reads");
        value[12] ^= 1;
        batch.insert(key, value);
    }
    store.0.shared.disk.apply(batch).expect("applied");
    assert!(
        store.history(&shop(), 0).expect("reads").is_empty(),
        "left out"
    );
    store.commit(write(2)).await.expect("stored");
    assert_eq!(store.history(&shop(), 0).expect("reads")[0].passed, 1);
}

#[tokio::test]
async fn a_folder_belongs_to_one_process() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Locked)));
    drop(store);
    drop(open(&dir));
}

#[tokio::test]
async fn a_torn_snapshot_does_not_stop_the_start() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    store
        .commit(vec![Write::Agent(agent("home1"))])
        .await
        .expect("stored");
    drop(store);
    let torn = dir.path().join("snap.00000000000FFFFF.generating");
    std::fs::write(&torn, b"torn").expect("written");
    assert_eq!(open(&dir).agents().expect("reads").len(), 1);
    assert!(!torn.exists());
}

#[tokio::test]
async fn a_full_disk_refuses_and_does_not_stop() {
    let dir = TempDir::new().expect("folder");
    drop(open(&dir));
    let space = SpaceLimits {
        low_water: u64::MAX / 2,
        ballast: 0,
    };
    let store = Store::open_with(dir.path(), space).expect("opens for reading");
    let refused = store.commit(vec![Write::Agent(agent("home1"))]).await;
    assert!(
        matches!(refused, Err(StoreError::DiskFull { .. })),
        "{refused:?}"
    );
    assert!(matches!(
        store.next_round_id(),
        Err(StoreError::NoRoundNumber)
    ));
    assert_eq!(store.trouble(), None);
    assert!(store.agents().expect("reads").is_empty());
}

#[tokio::test]
async fn bounds_are_kept() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    let many = vec![Write::DeleteService(shop()); MAX_WRITES + 1];
    assert!(matches!(
        store.commit(many).await,
        Err(StoreError::TooLarge { .. })
    ));
    store
        .commit(Vec::new())
        .await
        .expect("nothing is easily stored");
}

/// Says in the store that it is of a layout.
fn say_layout(store: &Store, layout: u64) {
    let shared = &store.0.shared;
    let mut staging = staging::Staging::new(&shared.disk.db);
    let packed = Packed::json(&layout).expect("encodes");
    staging
        .put(Kind::Meta.key(b"layout"), &packed)
        .expect("staged");
    shared.apply(staging).expect("applied");
}

/// Or a version of then would let in whom this one has revoked.
#[tokio::test]
async fn a_store_without_operators_is_read_by_no_older_version_any_more() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    say_layout(&store, 3);
    drop(store);
    let store = open(&dir);
    let layout = store.0.shared.disk.read::<u64>(&Kind::Meta.key(b"layout"));
    assert_eq!(layout.expect("reads"), Some(LAYOUT));
}

#[tokio::test]
async fn a_layout_of_the_future_is_left_alone() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    say_layout(&store, 99);
    drop(store);
    let refused = Store::open(dir.path());
    assert!(matches!(refused, Err(StoreError::Layout { found: 99 })));
}
