//! Keys by service, windows under way, and stores of the layout before.

use std::fs;
use std::path::Path;

use super::*;
use crate::store::ledger::Ledger;
use crate::store::read;
use crate::store::value::{Packed, parse, unpack};

fn of(service: &str, agent: &str, sequence: u64, at_us: u64) -> Write {
    Write::Observation(Observation {
        service: ServiceName(service.to_owned()),
        ..observation(agent, sequence, at_us, None)
    })
}

/// What history counts of the first layer.
fn counted(store: &Store) -> (u64, u64) {
    let history = store.history(&shop(), 0).expect("reads");
    let first = history.iter().filter(|line| line.layer == Layer::Tcp);
    first.fold((0, 0), |(passed, failed), line| {
        (passed + line.passed, failed + line.failed)
    })
}

#[tokio::test]
async fn busy_neighbours_cut_nothing_off() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    let ours = (1..=5).map(|n| of("shop.example", "home1", n, NOW + n));
    let theirs = (1..=50).map(|n| of("busy.example", "home2", n, NOW + 10 + n));
    store
        .commit(ours.chain(theirs).collect())
        .await
        .expect("stored");
    let found = |service: &str, most| {
        let service = ServiceName(service.to_owned());
        let found = read::observations(&store.0.shared, &service, 0, u64::MAX, most);
        let found = found.expect("reads").into_iter();
        found.map(|seen| seen.id.sequence).collect::<Vec<_>>()
    };
    assert_eq!(found("shop.example", 10), [1, 2, 3, 4, 5]);
    assert_eq!(found("busy.example", 10), (41..=50).collect::<Vec<_>>());
    assert!(found("none.example", 10).is_empty());
}

#[tokio::test]
async fn windows_under_way_outlive_a_kill_and_are_counted_once() {
    let dir = TempDir::new().expect("folder");
    let mut store = open(&dir);
    let mut sequence = 0;
    for round in 0..30 {
        // Three a minute; now and then one that was made long before.
        let early = if round % 7 == 3 { 20 * MINUTE } else { 0 };
        let writes = (0..3).map(|_| {
            sequence += 1;
            let failure = (sequence % 5 == 0).then_some(Failure::ConnectTimeout);
            let at_us = NOW + sequence * 20 * SECOND - early;
            Write::Observation(observation("home1", sequence, at_us, failure))
        });
        store.commit(writes.collect()).await.expect("stored");
        if round % 10 == 9 {
            while store.retain(NOW + round * MINUTE).await.expect("sweeps") {}
        }
        let all = (sequence - sequence / 5, sequence / 5);
        assert_eq!(counted(&store), all, "round {round}");
        if round % 4 == 1 {
            // Nothing is written at the end, so that this is what a kill leaves.
            drop(store);
            store = open(&dir);
            assert_eq!(counted(&store), all, "after round {round}");
        }
    }
    let db = &store.0.shared.disk.db;
    let windows = db.range(Kind::Window.start()..Kind::Window.end());
    assert!(windows.count() >= 28 * 2, "most are written");
}

#[tokio::test]
async fn an_agent_takes_its_windows_along() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    let mut member = agent("home1");
    let writes =
        (1..=9).map(|n| Write::Observation(observation("home1", n, NOW + n * 20 * SECOND, None)));
    let writes = std::iter::once(Write::Agent(member.clone())).chain(writes);
    store.commit(writes.collect()).await.expect("stored");
    member.name = vantage("office1");
    member.former = vec![vantage("home1")];
    let renamed = Write::RenameAgent {
        from: vantage("home1"),
        agent: member,
    };
    store.commit(vec![renamed]).await.expect("renamed");
    let more = observation("office1", 10, NOW + 200 * SECOND, None);
    store
        .commit(vec![Write::Observation(more)])
        .await
        .expect("stored");
    assert_eq!(counted(&store), (10, 0));
    drop(store);
    let store = open(&dir);
    assert_eq!(counted(&store), (10, 0));
    while store.retain(NOW + 10 * MINUTE).await.expect("sweeps") {}
    drop(store);
    let store = open(&dir);
    assert_eq!(counted(&store), (10, 0));
    let gone = Write::DeleteAgent(vantage("office1"));
    store.commit(vec![gone]).await.expect("deleted");
    assert_eq!(counted(&store), (0, 0));
    drop(store);
    assert_eq!(counted(&open(&dir)), (0, 0));
}

/// Rewrites a store as layout 2 had it.
fn as_layout_2(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    let old = sled::open(to).expect("opens");
    let mut ledger = Ledger::default();
    let mut put = |key: &[u8], value: &[u8]| {
        ledger.put(key, value);
        old.insert(key, value).expect("inserts");
    };
    let json = |value: serde_json::Value| Packed::json(&value).expect("packs").pieces().0;
    let series = |head: &[u8]| {
        let bytes = unpack(head, std::iter::empty(), 1 << 20).expect("sound");
        let mut series: serde_json::Value = parse(&bytes).expect("JSON");
        series.as_object_mut().expect("a record").remove("number");
        json(series)
    };
    for entry in sled::open(from).expect("opens").iter() {
        let (key, value) = entry.expect("reads");
        let kind = |kind: Kind| key.starts_with(&kind.start());
        if *key == *Ledger::key() || kind(Kind::Counted) {
            continue;
        }
        if kind(Kind::Observation) || kind(Kind::FailedObservation) || kind(Kind::Window) {
            put(&[&key[..1], &key[5..]].concat(), &value);
        } else if kind(Kind::Series) {
            put(&key, &series(&value));
        } else if *key == *Kind::Meta.key(b"layout") {
            put(&key, &json(2.into()));
        } else {
            put(&key, &value);
        }
    }
    let head = Packed::json(&ledger).expect("packs").pieces().0;
    old.insert(Ledger::key(), head).expect("inserts");
    old.flush().expect("flushes");
}

#[tokio::test]
async fn a_store_of_layout_2_is_brought_along() {
    let (now, before) = (
        TempDir::new().expect("folder"),
        TempDir::new().expect("folder"),
    );
    let store = open(&now);
    let writes = (1..=40).map(|n| {
        let failure = (n % 4 == 0).then_some(Failure::ConnectTimeout);
        Write::Observation(observation("home1", n, NOW + n * 10 * SECOND, failure))
    });
    let others = (1..=9).map(|n| of("other.example", "home2", n, NOW + n * SECOND));
    store
        .commit(writes.chain(others).collect())
        .await
        .expect("stored");
    // Layout 2 wrote windows at once.
    while store.retain(NOW + 20 * MINUTE).await.expect("sweeps") {}
    let seen = |store: &Store| {
        let observations = store.observations(&shop(), 0, u64::MAX).expect("reads");
        let history = store.history(&shop(), 0).expect("reads");
        (observations, history, store.stored_count())
    };
    let expected = seen(&store);
    assert_eq!(expected.0.len(), 40);
    drop(store);
    as_layout_2(now.path(), before.path());

    let store = open(&before);
    assert_eq!(seen(&store), expected);
    let other = ServiceName("other.example".to_owned());
    assert_eq!(
        store
            .observations(&other, 0, u64::MAX)
            .expect("reads")
            .len(),
        9
    );
    let repeat = observation("home1", 40, NOW + 400 * SECOND, None);
    let fresh = observation("home1", 41, NOW + 410 * SECOND, None);
    let writes = [repeat, fresh].map(Write::Observation);
    store.commit(writes.to_vec()).await.expect("stored");
    assert_eq!(store.stored_count(), expected.2 + 1);
    assert_eq!(counted(&store), (31, 10));
    drop(store);
    let store = open(&before);
    assert_eq!(counted(&store), (31, 10));
    let db = &store.0.shared.disk.db;
    let old = db.iter().keys().map(|key| key.expect("reads"));
    let old = old.filter(|key| key.starts_with(b"o") && key.len() != 25);
    assert_eq!(old.count(), 0);
}
