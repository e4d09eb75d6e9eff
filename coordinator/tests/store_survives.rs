//! What the store has acknowledged survives `kill -9` and a full disk, once and only once.
//!
//! The kill test starts this very binary again as a writer that tells each acknowledgement on its
//! standard output, kills it at a random instant, its start included, and looks at what is left.
//! `KILLS` sets the number of kills, 40 if unset, and `KILL_SEED` the instants.

#![expect(clippy::expect_used, reason = "a test's helpers end the test")]

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use coordinator::store::{SpaceLimits, Store, StoreError, Write};
use localize::{
    Arm, Facts, Failure, Firing, Layer, Micros, Observation, ObservationId, Outcome, RoundId,
    ServiceName, Stamp, Step, Target, VantageName,
};

/// Set for the writer alone: its folder.
const WRITER_FOLDER: &str = "STORE_WRITER_FOLDER";
const AGENTS: [&str; 3] = ["home1", "office1", "dc1"];
/// A full minute, long after 1970.
const BASE_US: u64 = 1_700_000_040_000_000;
const HOUR_US: usize = 3_600_000_000;

/// Numbers that differ from seed to seed and are the same for one (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn shop() -> ServiceName {
    ServiceName("shop.example".into())
}

/// Every fifth one fails; ten a second, so that the minutes fill.
fn observation(agent: &str, sequence: u64) -> Observation {
    let at_us = BASE_US + sequence * 100_000;
    let outcome = match sequence % 5 {
        0 => Outcome::Failed {
            layer: Layer::Tcp,
            failure: Failure::ConnectTimeout,
            after: Micros(5_000_000),
        },
        _ => Outcome::Passed,
    };
    let step = Step {
        layer: Layer::Tcp,
        took: Micros(100 + sequence % 900),
    };
    Observation {
        id: ObservationId {
            vantage: VantageName(agent.into()),
            sequence,
        },
        service: shop(),
        round: RoundId(sequence),
        arm: Arm::to(Target::Vip {
            address: "203.0.113.10:443".parse().expect("an address"),
        }),
        started: Stamp {
            at_us,
            uncertainty_us: 100,
        },
        scheduled_us: at_us,
        firing: Firing::OnTime,
        steps: if outcome == Outcome::Passed {
            vec![step]
        } else {
            Vec::new()
        },
        outcome,
        facts: Facts::default(),
    }
}

/// Writes for one agent until it is killed, some of each batch for the second time.
async fn write_for_ever(store: Store, agent: &'static str) {
    let mut numbers = Numbers(u64::from(std::process::id()) << 8 | agent.len() as u64);
    loop {
        let durable = store
            .durable_through(&VantageName(agent.into()))
            .unwrap_or(0);
        let first = (durable + 1).saturating_sub(numbers.below(4)).max(1);
        let last = durable + 1 + numbers.below(49);
        let batch = (first..=last).map(|n| Write::Observation(observation(agent, n)));
        store.commit(batch.collect()).await.expect("stored");
        println!("acknowledged {agent} {last}");
    }
}

/// The writer's side of the kill test; nothing when run as a test of its own.
#[test]
fn writer() {
    let Some(folder) = env::var_os(WRITER_FOLDER) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(Path::new(&folder)).expect("opens");
        let writers = AGENTS.map(|agent| tokio::spawn(write_for_ever(store.clone(), agent)));
        for writer in writers {
            writer.await.expect("goes on until killed");
        }
    });
}

/// Runs a writer for a while, kills it, and returns its last acknowledgement for each agent.
fn kill_a_writer(folder: &Path, after: Duration) -> BTreeMap<String, u64> {
    let mut writer = Command::new(env::current_exe().expect("this binary"))
        .args(["--exact", "writer", "--nocapture", "--test-threads=1"])
        .env(WRITER_FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let stdout = writer.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let mut acknowledged = BTreeMap::new();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // The last line may be torn by the kill; a torn number is smaller than the whole one.
            let mut words = line
                .split(' ')
                .skip_while(|word| !word.ends_with("acknowledged"))
                .skip(1);
            if let (Some(agent), Some(Ok(sequence))) = (words.next(), words.next().map(str::parse))
            {
                acknowledged.insert(agent.to_owned(), sequence);
            }
        }
        acknowledged
    });
    std::thread::sleep(after);
    writer.kill().expect("killed");
    let status = writer.wait().expect("waited for");
    assert_eq!(
        status.signal(),
        Some(9),
        "the writer ended by itself: {status}"
    );
    reader.join().expect("read")
}

/// Checks that exactly the observations up to each watermark are there, and that the windows counted
/// each of them once. Returns the watermarks.
fn look(folder: &Path) -> BTreeMap<String, u64> {
    let store = Store::open(folder).expect("opens after a kill");
    let mut sequences: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let highest = AGENTS.map(|agent| store.durable_through(&VantageName(agent.into())));
    let last_us = BASE_US + highest.into_iter().flatten().max().unwrap_or(0) * 100_000;
    // By the hour of mesh time, since an answer has a bound.
    for from_us in (BASE_US..=last_us).step_by(HOUR_US) {
        let to_us = from_us + HOUR_US as u64 - 1;
        for observation in store.observations(&shop(), from_us, to_us).expect("reads") {
            let id = &observation.id;
            assert_eq!(observation, self::observation(&id.vantage.0, id.sequence));
            let sequences = sequences.entry(id.vantage.0.clone()).or_default();
            sequences.push(id.sequence);
        }
    }
    let mut watermarks = BTreeMap::new();
    let history = store.history(&shop(), 0).expect("reads");
    for (agent, mut found) in sequences {
        found.sort_unstable();
        let watermark = store
            .durable_through(&VantageName(agent.clone()))
            .expect("known");
        assert!(
            found.iter().copied().eq(1..=watermark),
            "{agent}: a hole or a repeat"
        );
        let counts: Vec<_> = history
            .iter()
            .filter(|line| line.vantage.0 == agent)
            .map(|line| (line.layer, line.passed, line.failed))
            .collect();
        let failed = watermark / 5;
        assert_eq!(
            counts,
            [(Layer::Tcp, watermark - failed, failed)],
            "{agent}"
        );
        watermarks.insert(agent, watermark);
    }
    assert_eq!(store.stored_count(), watermarks.values().sum::<u64>());
    watermarks
}

#[test]
fn kills_lose_nothing_and_count_nothing_twice() {
    if env::var_os(WRITER_FOLDER).is_some() {
        return;
    }
    let number = |name, usual| env::var(name).map_or(usual, |text| text.parse().expect("a number"));
    let kills: u64 = number("KILLS", 40);
    let mut numbers = Numbers(number("KILL_SEED", 0x5eed));
    let folder = tempfile::tempdir().expect("a folder");
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    for kill in 1..=kills {
        // Half of the kills come while the store opens.
        let millis = match numbers.below(2) {
            0 => numbers.below(60),
            _ => 60 + numbers.below(300),
        };
        acknowledged.extend(kill_a_writer(folder.path(), Duration::from_millis(millis)));
        // Not after each: a writer too must find its way after a kill.
        if kill % 4 == 0 || kill == kills {
            let watermarks = look(folder.path());
            for (agent, sequence) in &acknowledged {
                let watermark = watermarks.get(agent).copied().unwrap_or(0);
                assert!(
                    watermark >= *sequence,
                    "{agent}: {sequence} was acknowledged, {watermark} is there"
                );
            }
        }
    }
    println!("{kills} kills, acknowledged {acknowledged:?}");
    assert!(
        acknowledged.values().sum::<u64>() > 0,
        "no writer came to write"
    );
}

/// A small file system in memory, taken down with its owner.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this process may not mount.
    fn mount(at: &Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        let mounted = mount.is_ok_and(|status| status.success());
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is left mounted", self.0.display());
        }
    }
}

/// Writes until the disk takes no more.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    let block = vec![1_u8; 64 << 10];
    while file.write_all(&block).is_ok() {}
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(folder.path(), "44m") else {
        println!("skipped: mounting a small disk needs root");
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let data = folder.path().join("data");
    let space = SpaceLimits {
        low_water: 10 << 20,
        ballast: 10 << 20,
    };
    let agent = AGENTS[0];
    let name = VantageName(agent.into());
    let commit = |store: &Store, first: u64, count: u64| {
        let batch = (first..first + count).map(|n| Write::Observation(observation(agent, n)));
        runtime.block_on(store.commit(batch.collect()))
    };

    let store = Store::open_with(&data, space).expect("opens");
    let mut next = 1;
    let foreign = folder.path().join("foreign");
    commit(&store, next, 500).expect("there is room");
    next += 500;
    fill(&foreign);
    let refused = commit(&store, next, 500);
    assert!(
        matches!(refused, Err(StoreError::DiskFull { .. })),
        "{refused:?}"
    );
    assert_eq!(store.trouble(), None, "the store goes on");
    fs::remove_file(&foreign).expect("removed");
    commit(&store, next, 500).expect("there is room again");
    next += 500;
    fill(&foreign);
    drop(store);

    let store = Store::open_with(&data, space).expect("opens on a full disk");
    assert_eq!(store.durable_through(&name), Some(next - 1));
    let refused = commit(&store, next, 1);
    assert!(
        matches!(refused, Err(StoreError::DiskFull { .. })),
        "{refused:?}"
    );
    // As much room as some ten thousand records take.
    let foreign = File::options().write(true).open(&foreign).expect("opens");
    let length = foreign.metadata().expect("a length").len();
    foreign.set_len(length - (3 << 20)).expect("shortened");
    while commit(&store, next, 500).is_ok() {
        next += 500;
    }
    assert!(next > 1001, "the freed room was used");
    assert_eq!(store.trouble(), None, "only the low-water mark refuses");
    drop(store);

    let store = Store::open_with(&data, space).expect("opens below the low-water mark");
    let all = store.observations(&shop(), 0, u64::MAX).expect("reads");
    assert!(all.iter().map(|o| o.id.sequence).eq(1..next));
    drop(store);
    drop(disk);
}
