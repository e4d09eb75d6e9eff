//! Backups: one instant while others write, told when they are not whole, and a store again.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::*;
use crate::store::salvage::check;

const LATER: u64 = NOW + 3 * 3600 * SECOND;

fn write(store: &Store, to: &Path, mut meanwhile: impl FnMut(u64)) -> Written {
    let (mut file, mut written) = (Vec::new(), None);
    let made = store.backup(NOW, |piece| {
        meanwhile(piece.records);
        file.extend_from_slice(&piece.content);
        assert!(
            piece.records <= piece.of,
            "{} of {}",
            piece.records,
            piece.of
        );
        written = piece.written;
        true
    });
    made.expect("made");
    fs::write(to, &file).expect("written");
    let written = written.expect("whole");
    assert_eq!(written.bytes, file.len() as u64);
    written
}

fn batch(agent: &str, numbers: std::ops::Range<u64>) -> Vec<Write> {
    let observed = |n: u64| {
        let failure = n.is_multiple_of(7).then_some(Failure::ConnectTimeout);
        Write::Observation(observation(agent, n, NOW + n * SECOND, failure))
    };
    numbers.map(observed).collect()
}

fn ids(store: &Store) -> Vec<u64> {
    let observations = store.observations(&shop(), 0, u64::MAX).expect("reads");
    let mut ids: Vec<u64> = observations.iter().map(|o| o.id.sequence).collect();
    ids.sort_unstable();
    ids
}

/// With labels that take several pieces on disk.
fn long_token() -> Write {
    let label = |n: u8| (n.to_string(), hex::encode(Sha256::digest([n])));
    Write::Token(TokenRecord {
        labels: (0..32).map(label).collect(),
        ..token(7)
    })
}

struct Place {
    folder: TempDir,
    file: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("backup");
        Self { folder, file }
    }

    fn restored(&self) -> (Brought, Store) {
        let dir = self.folder.path().join("restored");
        let backup = Backup::open(&self.file).expect("whole");
        assert_eq!(backup.taken_us(), NOW);
        let brought = backup.restore(&dir, LATER).expect("restored");
        check(&dir).expect("sound");
        (brought, Store::open(&dir).expect("opens"))
    }
}

#[tokio::test]
async fn a_backup_shows_the_instant_at_which_it_began() {
    let (dir, place) = (tempfile::tempdir().expect("a folder"), Place::new());
    let store = open(&dir);
    let agents = ["home1", "gone"].map(|name| Write::Agent(agent(name)));
    store.commit(agents.to_vec()).await.expect("stored");
    for first in (1..6_001).step_by(2000) {
        store
            .commit(batch("home1", first..first + 2000))
            .await
            .expect("stored");
    }
    let (runtime, mut last) = (tokio::runtime::Handle::current(), 6_001);
    let (backed, of) = (store.clone(), place.file.clone());
    let changing = tokio::task::spawn_blocking(move || {
        let mut changes = 0;
        write(&backed, &of, |_| {
            // New records before and behind the place that was reached, changed ones, and removed ones.
            runtime.block_on(async {
                changes += 1;
                let mut next = agent("home1");
                next.version = changes.to_string();
                let late = Write::Agent(agent(&format!("late{changes}")));
                let writes = vec![
                    Write::Agent(next),
                    late,
                    Write::DeleteAgent(vantage("gone")),
                ];
                backed.commit(writes).await.expect("stored");
                backed
                    .commit(batch("home1", last..last + 500))
                    .await
                    .expect("stored");
                last += 500;
            });
        });
        (changes, last)
    });
    let (changes, last) = changing.await.expect("ends");
    assert!(changes > 2, "{changes}");
    let (brought, restored) = place.restored();
    assert_eq!(ids(&restored), (1..6_001).collect::<Vec<_>>());
    assert_eq!(restored.durable_through(&vantage("home1")), Some(6_000));
    let gap = Gap {
        from_us: NOW - MINUTE,
        until_us: LATER,
    };
    let expected = ["gone", "home1"].map(|name| AgentRecord {
        gaps: vec![gap],
        ..agent(name)
    });
    assert_eq!(restored.agents().expect("reads"), expected);
    assert!(brought.records.contains(&("agents", 2)), "{brought:?}");
    assert_eq!(store.durable_through(&vantage("home1")), Some(last - 1));
    // The copy has left nothing behind, and the next one is of later.
    write(&store, &place.file, |_| {});
    let agents = 1 + changes;
    let next = Backup::open(&place.file).expect("whole");
    let again = place.folder.path().join("again");
    let brought = next.restore(&again, LATER).expect("restored");
    assert!(brought.records.contains(&("agents", agents)), "{brought:?}");
}

#[tokio::test]
async fn a_restored_store_voids_tokens_skips_rounds_and_says_so() {
    let (dir, place) = (tempfile::tempdir().expect("a folder"), Place::new());
    let store = open(&dir);
    let invited = AgentRecord {
        state: AgentState::Invited,
        ..agent("new")
    };
    let writes = vec![
        Write::Agent(agent("home1")),
        Write::Agent(invited),
        Write::Authority("feed".to_owned()),
        long_token(),
    ];
    store.commit(writes).await.expect("stored");
    assert_eq!(store.restored().expect("reads"), None);
    let next = store.next_round_id().expect("a number");
    write(&store, &place.file, |_| {});
    let (brought, restored) = place.restored();
    assert_eq!(brought.invited, [vantage("new")]);
    assert_eq!(restored.token(&SecretHash([7; 32])).expect("reads"), None);
    assert!(
        !brought
            .records
            .iter()
            .any(|(kind, _)| kind.contains("token"))
    );
    let pieces = brought
        .records
        .iter()
        .find(|(kind, _)| kind.contains("pieces"));
    assert_eq!(pieces, None);
    let skipped = restored.next_round_id().expect("a number").0 - next.0;
    assert!(skipped > 1 << 31, "{skipped}");
    let known = restored.restored().expect("reads").expect("restored");
    assert_eq!(
        (known.taken_us, known.restored_us, known.times),
        (NOW, LATER, 1)
    );
    assert_eq!(
        restored.authority().expect("reads").as_deref(),
        Some("feed")
    );
    // Once more: both gaps count.
    write(&restored, &place.file, |_| {});
    drop(restored);
    fs::remove_dir_all(place.folder.path().join("restored")).expect("removed");
    let (_, again) = place.restored();
    assert_eq!(again.restored().expect("reads").map(|r| r.times), Some(2));
    assert_eq!(again.agents().expect("reads")[0].gaps.len(), 2);
}

#[tokio::test]
async fn a_backup_that_is_cut_or_changed_anywhere_is_told() {
    let (dir, place) = (tempfile::tempdir().expect("a folder"), Place::new());
    let store = open(&dir);
    store.commit(batch("home1", 1..4000)).await.expect("stored");
    write(&store, &place.file, |_| {});
    let whole = fs::read(&place.file).expect("reads");
    let says = |bytes: &[u8]| {
        fs::write(&place.file, bytes).expect("written");
        Backup::open(&place.file)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(says(&whole), Ok(()));
    let line = whole
        .iter()
        .position(|byte| *byte == b'\n')
        .expect("a line")
        + 1;
    for length in [
        line / 2,
        line,
        line + 2,
        line + 9,
        whole.len() / 2,
        whole.len() - 33,
        whole.len() - 1,
    ] {
        let said = says(&whole[..length]).expect_err("told");
        assert!(
            said.contains("cut short after") && said.contains("fetch it again"),
            "{said}"
        );
    }
    for length in [0, 1] {
        let said = says(&whole[..length]).expect_err("told");
        assert!(said.contains("is no backup"), "{said}");
    }
    let step = whole.len() / 97;
    for at in (0..whole.len())
        .step_by(step)
        .chain(whole.len() - 40..whole.len())
    {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        assert!(says(&changed).is_err(), "byte {at} of {}", whole.len());
    }
    let longer = [whole.as_slice(), b"x"].concat();
    assert!(says(&longer).expect_err("told").contains("behind its end"));
    let text =
        String::from_utf8_lossy(&whole[..line]).replace("\"mesh_backup\":1", "\"mesh_backup\":2");
    let later = [text.as_bytes(), &whole[line..]].concat();
    let said = says(&later).expect_err("told");
    assert!(said.contains("form 2, written by version"), "{said}");
    // A block of zeros in place of records, with a length that no memory holds.
    let huge = [&whole[..line], &[0xff; 64]].concat();
    assert!(says(&huge).expect_err("told").contains("longer than any"));
}

#[tokio::test]
async fn one_backup_at_a_time_and_one_that_nobody_takes_ends() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(&dir);
    store.commit(batch("home1", 1..200)).await.expect("stored");
    let mut pieces = 0;
    let made = store.backup(NOW, |_| {
        let second = store.backup(NOW, |_| true);
        assert!(matches!(second, Err(StoreError::BackupUnderWay)));
        pieces += 1;
        false
    });
    made.expect("given up by whoever takes");
    assert_eq!(pieces, 1);
    store.backup(NOW, |_| true).expect("the next one");
}
