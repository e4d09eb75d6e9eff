//! The log of acts: in the batch of the act, a chain from end to end, and whoever changes it is found out.

use super::*;
use crate::rights::{Call, OperatorRole};
use crate::store::key::act as key;
use crate::store::staging::Staging;
use crate::store::value::Packed;

fn act(operator: &str, at_us: u64) -> Act {
    let deed = Deed::Call(Call::ApplyService);
    Act {
        role: Some(OperatorRole::Operator),
        ..Act::new(at_us, operator, deed, "shop.example".into())
    }
}

fn all() -> ActFilter {
    ActFilter {
        since_us: 0,
        operator: None,
        limit: 1000,
    }
}

fn numbers(store: &Store, wanted: &ActFilter) -> Vec<u64> {
    let found = store.acts(wanted).expect("reads");
    found.iter().map(|(record, _)| record.number).collect()
}

/// Five acts: two in one batch, and one of another operator.
async fn written(dir: &TempDir) -> Store {
    let store = open(dir);
    let batches = [
        vec![act("ann", NOW)],
        vec![act("ann", NOW + 1), act("bob", NOW + 2)],
        vec![act("ann", NOW + 3)],
        vec![act("ann", NOW + 4)],
    ];
    for batch in batches {
        let writes = batch.into_iter().map(Write::Act).collect();
        store.commit(writes).await.expect("stored");
    }
    store
}

#[tokio::test]
async fn acts_come_back_newest_first_and_follow_each_other_through_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    drop(written(&dir).await);
    let store = open(&dir);
    store
        .commit(vec![Write::Act(act("ann", NOW + 5))])
        .await
        .expect("stored");
    assert_eq!(numbers(&store, &all()), [6, 5, 4, 3, 2, 1]);
    let since = ActFilter {
        since_us: NOW + 2,
        limit: 2,
        ..all()
    };
    assert_eq!(numbers(&store, &since), [6, 5]);
    let of_bob = ActFilter {
        operator: Some("bob".into()),
        ..all()
    };
    assert_eq!(numbers(&store, &of_bob), [3]);
    let chain = store.verify_acts(None).expect("reads");
    assert_eq!((chain.first, chain.head.number, chain.broken), (1, 6, None));
    let found = store.acts(&all()).expect("reads");
    for pair in found.windows(2) {
        assert_eq!(pair[0].0.previous, pair[1].1.sha256);
    }
    assert_eq!(found[5].0.previous, "");
}

#[tokio::test]
async fn what_is_not_done_leaves_no_act() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = written(&dir).await;
    let unknown = Write::BurnToken {
        secret: SecretHash([9; 32]),
        used_at_us: NOW,
        used_for: Use {
            key_sha256: [0; 32],
            serial: String::new(),
        },
        agent: agent("home1"),
    };
    let refused = store
        .commit(vec![Write::Act(act("ann", NOW)), unknown])
        .await;
    assert!(matches!(refused, Err(StoreError::TokenUnknown)));
    assert_eq!(numbers(&store, &all()).len(), 5);
}

#[tokio::test]
async fn whoever_changes_the_log_is_found_out_at_that_record() {
    type Change = fn(&mut Staging<'_>, &[ActRecord]);
    fn put(staging: &mut Staging<'_>, number: u64, record: &ActRecord) {
        let packed = Packed::json(record).expect("packed");
        staging.put(key(number), &packed).expect("staged");
    }
    let rows: [(&str, Change, u64); 5] = [
        (
            "another operator's name",
            |staging, acts| {
                let mut record = acts[1].clone();
                record.act.operator = "bob".into();
                put(staging, 2, &record);
            },
            3,
        ),
        (
            "one taken out",
            |staging, _| staging.remove(&key(3)).expect("staged"),
            3,
        ),
        (
            "one in the place of another",
            |staging, acts| put(staging, 4, &acts[2]),
            4,
        ),
        (
            "the last one taken out",
            |staging, _| staging.remove(&key(5)).expect("staged"),
            5,
        ),
        (
            "the last one changed",
            |staging, acts| {
                let mut record = acts[4].clone();
                record.act.outcome = ActOutcome::Begun;
                put(staging, 5, &record);
            },
            5,
        ),
    ];
    for (what, change, broken_at) in rows {
        let dir = tempfile::tempdir().expect("a folder");
        let store = written(&dir).await;
        let mut acts = store.acts(&all()).expect("reads");
        acts.reverse();
        let acts: Vec<ActRecord> = acts.into_iter().map(|(record, _)| record).collect();
        let shared = &store.0.shared;
        let mut staging = Staging::new(&shared.disk.db);
        change(&mut staging, &acts);
        shared.apply(staging).expect("applied");
        let chain = store.verify_acts(None).expect("reads");
        let at = chain.broken.map(|(number, _)| number);
        assert_eq!(at, Some(broken_at), "{what}: {chain:?}");
        // The ledger knows nothing of it, so that the store opens, and a look at it tells.
        drop(store);
        let looked = crate::store::check(dir.path()).expect("sound");
        assert_eq!(looked.acts.broken, chain.broken, "{what}");
    }
}

#[tokio::test]
async fn a_log_that_was_made_anew_does_not_hold_what_was_kept_of_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = written(&dir).await;
    let kept = store.verify_acts(None).expect("reads").head;
    let other = tempfile::tempdir().expect("a folder");
    let forged = open(&other);
    for number in 1..=6 {
        let forged_act = Write::Act(act("bob", NOW + number));
        forged.commit(vec![forged_act]).await.expect("stored");
    }
    let broken = |store: &Store, kept: &ActPlace| {
        let chain = store.verify_acts(Some(kept)).expect("reads");
        chain.broken.map(|(number, _)| number)
    };
    assert_eq!(broken(&store, &kept), None);
    assert_eq!(broken(&forged, &kept), Some(5));
    let later = ActPlace { number: 7, ..kept };
    assert_eq!(broken(&store, &later), Some(6), "an earlier day");
}

#[tokio::test]
async fn the_oldest_are_forgotten_and_the_rest_is_still_a_chain() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = written(&dir).await;
    let later = NOW + 400 * DAY + 3;
    while store.retain(later).await.expect("swept") {}
    assert_eq!(numbers(&store, &all()), [5, 4]);
    let chain = store.verify_acts(None).expect("reads");
    assert_eq!((chain.first, chain.head.number, chain.broken), (4, 5, None));
    let forgotten = |sha256: &str| ActPlace {
        number: 3,
        sha256: sha256.into(),
    };
    let hash = &store.acts(&all()).expect("reads")[1].0.previous;
    for (sha256, broken) in [(hash.as_str(), None), ("ab", Some(3))] {
        let chain = store.verify_acts(Some(&forgotten(sha256))).expect("reads");
        assert_eq!(chain.broken.map(|(number, _)| number), broken);
    }
    drop(store);
    let store = open(&dir);
    while store.retain(later + DAY).await.expect("swept") {}
    let one = Write::Act(act("ann", later + DAY));
    store.commit(vec![one]).await.expect("stored");
    let chain = store.verify_acts(None).expect("reads");
    assert_eq!((chain.first, chain.head.number, chain.broken), (6, 6, None));
    let shared = &store.0.shared;
    let mut staging = Staging::new(&shared.disk.db);
    staging.remove(&key(6)).expect("staged");
    shared.apply(staging).expect("applied");
    let chain = store.verify_acts(None).expect("reads");
    assert_eq!(chain.broken, Some((6, "it is missing")));
}
