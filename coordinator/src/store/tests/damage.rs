//! A store whose files are damaged in many ways, never silently served from, and never ended by a panic.
//!
//! `DAMAGES` sets how many damages there are, 40 if unset, and `DAMAGE_SEED` which.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;
use crate::store::salvage::{check, repair};

const AGENTS: [&str; 3] = ["home1", "office1", "dc1"];
const EACH: u64 = 200;

/// Numbers that differ from seed to seed (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

fn limits() -> SpaceLimits {
    SpaceLimits {
        low_water: 1 << 20,
        ballast: 0,
    }
}

async fn fill(dir: &Path) {
    let store = Store::open_with(dir, limits()).expect("opens");
    let agents = AGENTS.map(|name| Write::Agent(agent(name)));
    store.commit(agents.to_vec()).await.expect("stored");
    for first in (1..=EACH).step_by(20) {
        for name in AGENTS {
            let batch = (first..first + 20).map(|n| {
                let failure = (n % 5 == 0).then_some(Failure::ConnectTimeout);
                Write::Observation(observation(name, n, NOW + n * SECOND, failure))
            });
            store.commit(batch.collect()).await.expect("stored");
        }
    }
}

/// What somebody sees who reads everything.
fn seen(store: &Store) -> (BTreeSet<(String, u64)>, usize, [Option<u64>; 3]) {
    let observations = store.observations(&shop(), 0, u64::MAX).expect("reads");
    let ids = observations
        .iter()
        .map(|o| (o.vantage().0.clone(), o.id.sequence));
    let agents = store.agents().expect("reads").len();
    let through = AGENTS.map(|name| store.durable_through(&vantage(name)));
    (ids.collect(), agents, through)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("lists") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("copied")),
        }
    }
}

/// Damages a file of the store, and says how.
fn damage(dir: &Path, numbers: &mut Numbers) -> String {
    let mut snapshots = fs::read_dir(dir)
        .expect("lists")
        .flatten()
        .map(|e| e.path());
    let snapshot = snapshots.find(|path| path.to_string_lossy().contains("snap."));
    let path = match (numbers.below(8), snapshot) {
        (0, Some(snapshot)) => snapshot,
        _ => dir.join("db"),
    };
    let mut bytes = fs::read(&path).expect("reads");
    let length = bytes.len() as u64;
    let at = usize::try_from(numbers.below(length)).expect("fits");
    let overwrite = |bytes: &mut Vec<u8>, size: usize, mut byte: Box<dyn FnMut() -> u8>| {
        let end = (at + size).min(bytes.len());
        bytes[at..end].iter_mut().for_each(|b| *b = byte());
    };
    let how = match numbers.below(7) {
        0 => {
            bytes[at] ^= 1 << numbers.below(8);
            "a bit"
        }
        1 => {
            overwrite(&mut bytes, 512, Box::new(|| 0));
            "a sector of zeros"
        }
        2 => {
            let mut noise = Numbers(numbers.0);
            let byte = move || u8::try_from(noise.below(256)).expect("a byte");
            overwrite(&mut bytes, 4096, Box::new(byte));
            "a page of garbage"
        }
        3 => {
            bytes.truncate(bytes.len() - 1);
            "cut by a byte"
        }
        4 => {
            bytes.truncate(at);
            "cut somewhere"
        }
        5 => "nothing",
        _ => {
            bytes.truncate(bytes.len() / 10);
            "cut to a tenth"
        }
    };
    fs::write(&path, bytes).expect("written");
    let name = path
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    format!("{how} of {name} at {at}")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_damage_is_served_from_in_silence_and_repair_saves_what_it_can() {
    let number =
        |name, usual| std::env::var(name).map_or(usual, |text| text.parse().expect("a number"));
    let (damages, seed) = (number("DAMAGES", 40), number("DAMAGE_SEED", 0x5eed));
    let folder = TempDir::new().expect("folder");
    let sound = folder.path().join("sound");
    fill(&sound).await;
    let whole = {
        let copied = folder.path().join("look");
        copy(&sound, &copied);
        seen(&Store::open_with(&copied, limits()).expect("opens"))
    };
    assert_eq!(whole.0.len() as u64, EACH * 3);
    let mut numbers = Numbers(seed);
    let (mut told, mut harmless, mut saved) = (0, 0, 0);
    for n in 0..damages {
        let dir = folder.path().join(format!("{n}"));
        copy(&sound, &dir);
        let how = damage(&dir, &mut numbers);
        let audit = check(&dir);
        match Store::open_with(&dir, limits()) {
            Ok(store) => {
                assert!(audit.is_ok(), "{how}: {audit:?}");
                assert_eq!(seen(&store), whole, "{how}: silently lost");
                harmless += 1;
            }
            Err(error) => {
                assert!(!how.starts_with("nothing"), "{how}: {error}");
                assert!(error.is_damage(), "{how}: {error}");
                println!("{how}: {error}");
                assert!(audit.is_err(), "{how}: {error}");
                told += 1;
            }
        }
        let report = repair(&dir).unwrap_or_else(|error| panic!("{how}: {error}"));
        assert!(report.kept_at.exists());
        let store = Store::open_with(&dir, limits()).unwrap_or_else(|e| panic!("{how}: {e}"));
        let left = seen(&store);
        assert_eq!(left.1, AGENTS.len(), "{how}: an agent is lost");
        assert!(left.0.is_subset(&whole.0), "{how}: invented");
        saved += left.0.len();
        for (name, through) in AGENTS.iter().zip(left.2) {
            let highest = left
                .0
                .iter()
                .filter(|(n, _)| n == name)
                .map(|(_, s)| *s)
                .max();
            assert!(through >= highest, "{how}: {name} would be counted twice");
        }
        drop(store);
        let _ = fs::remove_dir_all(&dir);
        let _ = fs::remove_dir_all(&report.kept_at);
    }
    println!(
        "{damages} damages: {told} told, {harmless} harmless, {saved} observations saved of {}",
        damages * EACH * 3
    );
    assert!(told > 0 && harmless > 0);
}

#[tokio::test]
async fn a_database_that_is_gone_or_of_an_earlier_day_is_told() {
    let folder = TempDir::new().expect("folder");
    let dir = folder.path().join("store");
    fill(&dir).await;
    let earlier = folder.path().join("earlier");
    copy(&dir, &earlier);
    {
        let store = Store::open_with(&dir, limits()).expect("opens");
        let write = Write::Observation(observation("home1", EACH + 1, NOW, None));
        store.commit(vec![write]).await.expect("stored");
    }
    // Everything of the day before but the mark.
    for name in fs::read_dir(&earlier).expect("lists").flatten() {
        let name = name.file_name();
        if name != "mark" && name != "blobs" {
            fs::copy(earlier.join(&name), dir.join(&name)).expect("copied");
        }
    }
    let error = Store::open_with(&dir, limits()).err().expect("refused");
    assert!(
        matches!(
            error,
            StoreError::Lost {
                missing_commits: 1..,
                ..
            }
        ),
        "{error}"
    );
    repair(&dir).expect("repaired");
    let store = Store::open_with(&dir, limits()).expect("opens");
    assert_eq!(store.durable_through(&vantage("home1")), Some(EACH));
    drop(store);
    fs::remove_file(dir.join("db")).expect("removed");
    let error = Store::open_with(&dir, limits()).err().expect("refused");
    assert!(matches!(error, StoreError::Gone { .. }), "{error}");
    assert!(!dir.join("db").exists(), "nothing is made in its place");
}

#[tokio::test]
async fn a_record_that_is_gone_from_the_middle_is_told() {
    let folder = TempDir::new().expect("folder");
    fill(folder.path()).await;
    let store = Store::open_with(folder.path(), limits()).expect("opens");
    let disk = &store.0.shared.disk;
    let first = disk.db.range(Kind::Observation.start()..).next();
    let (key, _) = first.expect("is there").expect("reads");
    let mut batch = sled::Batch::default();
    batch.remove(key);
    disk.apply(batch).expect("applied");
    disk.sync().expect("synced");
    drop(store);
    let error = Store::open_with(folder.path(), limits()).err();
    let said = error.expect("refused").to_string();
    assert_eq!(
        said,
        "the database is damaged: of 480 observations 1 are missing"
    );
    let saved = repair(folder.path()).expect("repaired");
    assert!(saved.records.contains(&("observations", 479)), "{saved:?}");
}
