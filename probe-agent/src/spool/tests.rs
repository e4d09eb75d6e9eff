use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const FIRST: u64 = 1_700_000_000_000_000;

fn open(dir: &Path, max_bytes: u64) -> Spool {
    Spool::open(dir, FIRST, max_bytes).unwrap()
}

fn numbers(spool: &Spool) -> Vec<u64> {
    let pending = spool.pending_after(0, usize::MAX).unwrap();
    pending.into_iter().map(|(number, _)| number).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    segment::list(dir).unwrap()
}

#[test]
fn a_spool_made_anew_numbers_beyond_what_the_coordinator_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path(), 1 << 20);
    spool.append(b"a").unwrap();
    // The clock of the lost spool was a day ahead.
    let ahead = FIRST + 86_400_000_000;
    spool.acknowledge(ahead).unwrap();
    assert_eq!((numbers(&spool).len(), spool.dropped()), (0, 1));
    spool.append(b"b").unwrap();
    assert_eq!(numbers(&spool), [ahead + 1]);
    spool.acknowledge(ahead).unwrap();
    assert_eq!(numbers(&spool), [ahead + 1]);
    drop(spool);
    let mut spool = open(dir.path(), 1 << 20);
    assert_eq!((numbers(&spool), spool.dropped()), (vec![ahead + 1], 1));
    spool.append(b"c").unwrap();
    assert_eq!(numbers(&spool), [ahead + 1, ahead + 2]);
}

#[test]
fn records_come_back_in_order_until_they_are_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path(), 1 << 20);
    for text in ["a", "b", "c", "d"] {
        spool.append(text.as_bytes()).unwrap();
    }
    let record = |offset: u64, text: &str| (FIRST + offset, text.as_bytes().to_vec());
    let rows = [
        (
            0,
            10,
            vec![
                record(0, "a"),
                record(1, "b"),
                record(2, "c"),
                record(3, "d"),
            ],
        ),
        (FIRST, 2, vec![record(1, "b"), record(2, "c")]),
        (FIRST + 3, 10, vec![]),
        (0, 0, vec![]),
    ];
    for (after, max, expected) in rows {
        assert_eq!(spool.pending_after(after, max).unwrap(), expected);
    }
    spool.acknowledge(FIRST + 1).unwrap();
    assert_eq!(numbers(&spool), [FIRST + 2, FIRST + 3]);
    spool.acknowledge(FIRST).unwrap();
    assert_eq!(numbers(&spool), [FIRST + 2, FIRST + 3]);
    // A number from the future must not hide the records to come.
    spool.acknowledge(u64::MAX).unwrap();
    assert_eq!(numbers(&spool), [0; 0]);
    spool.append(b"e").unwrap();
    assert_eq!(numbers(&spool), [FIRST + 4]);
}

#[test]
fn numbers_go_on_after_everything_was_acknowledged_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path(), 1 << 20);
    spool.append(b"a").unwrap();
    spool.acknowledge(FIRST).unwrap();
    drop(spool);
    let mut spool = open(dir.path(), 1 << 20);
    assert_eq!(spool.next_sequence(), FIRST + 1, "a clean end gives back");
    spool.acknowledge(FIRST).unwrap();
    assert_eq!(files(dir.path()).len(), 0);
    drop(spool);
    assert_eq!(open(dir.path(), 1 << 20).next_sequence(), FIRST + 1);
}

#[test]
fn a_lost_mark_never_brings_a_number_back() {
    let rows: [(&[u8], u64, u64); 4] = [
        // The mark's new content, first_sequence of the second start, its next number.
        (b"", FIRST + 77_777, FIRST + 77_777),
        (b"", FIRST, FIRST + 2 + RESERVED_BLOCK),
        (b"{\"reserved\":", FIRST, FIRST + 2 + RESERVED_BLOCK),
        (b"\0\0\0\0", FIRST + 77_777, FIRST + 77_777),
    ];
    for (mark, first, expected) in rows {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = open(dir.path(), 1 << 20);
        spool.append(b"a").unwrap();
        spool.append(b"b").unwrap();
        drop(spool);
        fs::write(dir.path().join("mark.json"), mark).unwrap();
        let spool = Spool::open(dir.path(), first, 1 << 20).unwrap();
        assert_eq!(spool.next_sequence(), expected);
        assert_eq!(numbers(&spool).len(), 2);
    }
}

#[test]
fn over_the_bound_the_oldest_go_and_are_counted_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let max_bytes = 10_000;
    let mut spool = open(dir.path(), max_bytes);
    for _ in 0..200 {
        spool.append(&[7; 84]).unwrap();
        assert!(spool.bytes() <= max_bytes);
    }
    let kept = numbers(&spool);
    assert!(kept.len() > 80, "{}", kept.len());
    assert_eq!(kept.last(), Some(&(FIRST + 199)));
    assert_eq!(spool.dropped(), 200 - kept.len() as u64);
    let dropped = spool.dropped();
    drop(spool);
    let mut spool = open(dir.path(), max_bytes);
    assert_eq!(spool.dropped(), dropped);
    assert_eq!(numbers(&spool), kept);
    // What is acknowledged is not lost by going.
    spool.acknowledge(FIRST + 199).unwrap();
    for _ in 0..50 {
        spool.append(&[7; 84]).unwrap();
    }
    assert_eq!(spool.dropped(), dropped);
}

#[test]
fn a_record_may_fill_the_spool_but_not_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path(), 1000);
    spool.append(b"small").unwrap();
    spool.append(&[1; 1000 - segment::HEADER]).unwrap();
    assert_eq!((spool.bytes(), spool.dropped()), (1000, 1));
    let refused = spool.append(&[1; 1001 - segment::HEADER]);
    assert!(matches!(refused, Err(SpoolError::TooLarge { .. })));
    assert_eq!(numbers(&spool), [FIRST + 1]);
    let mut large = open(tempfile::tempdir().unwrap().path(), u64::MAX);
    let refused = large.append(&vec![1; MAX_RECORD + 1]);
    assert!(matches!(refused, Err(SpoolError::TooLarge { .. })));
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path(), 1000);
    let second = Spool::open(dir.path(), FIRST, 1000);
    assert!(matches!(second, Err(SpoolError::InUse { .. })));
    drop(spool);
    open(dir.path(), 1000);
}

/// A spool of several ended segments, and one that a kill has left.
fn filled(dir: &Path) -> Vec<u64> {
    let mut spool = open(dir, 8000);
    for _ in 0..30 {
        spool.append(&[7; 84]).unwrap();
    }
    let all = numbers(&spool);
    drop(spool);
    all
}

#[test]
fn damage_inside_a_segment_costs_its_record_alone_and_counts() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let first = files(dir.path()).remove(0);
    let mut content = fs::read(&first).unwrap();
    content[450] ^= 1;
    fs::write(&first, content).unwrap();
    for _ in 0..2 {
        let mut spool = open(dir.path(), 8000);
        assert_eq!(numbers(&spool).len(), 29);
        spool.welcomed(0).unwrap();
        assert_eq!(spool.dropped(), 1);
    }
}

#[test]
fn what_was_counted_is_taken_out() {
    type Row<'a> = (&'a [(u64, u64)], &'a [(u64, u64)]);
    let rows: [Row<'_>; 5] = [
        (&[], &[(3, 9)]),
        (&[(1, 2), (10, 11)], &[(3, 9)]),
        (&[(3, 9)], &[]),
        (&[(5, 6)], &[(3, 4), (7, 9)]),
        (&[(0, 4), (9, 20)], &[(5, 8)]),
    ];
    for (counted, left) in rows {
        assert_eq!(without(vec![(3, 9)], counted), left, "{counted:?}");
    }
}

#[test]
fn what_the_coordinator_has_is_not_lost_by_damage() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let first = files(dir.path()).remove(0);
    let lost = fs::metadata(&first).unwrap().len() / 100;
    fs::remove_file(&first).unwrap();
    let mut spool = open(dir.path(), 8000);
    spool.welcomed(FIRST + lost - 2).unwrap();
    assert_eq!(
        spool.dropped(),
        1,
        "of {lost} records the coordinator lacks the last"
    );
}

#[test]
fn every_record_that_damage_takes_is_counted() {
    let mut number: usize = 0x5eed;
    // Xorshift64: the same numbers each time.
    let mut below = |bound: usize| {
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        number % bound
    };
    for n in 0..200 {
        let dir = tempfile::tempdir().unwrap();
        let all = filled(dir.path());
        let files = files(dir.path());
        let path = &files[below(files.len())];
        let mut content = fs::read(path).unwrap();
        let at = below(content.len());
        match n % 5 {
            0 => content[at] ^= 1,
            1 => content[at..].iter_mut().take(512).for_each(|b| *b = 0),
            2 => content.truncate(at),
            3 => content[at..].iter_mut().take(4096).for_each(|b| *b = 0xa5),
            _ => content.clear(),
        }
        match n % 10 {
            9 => fs::remove_file(path).unwrap(),
            _ => fs::write(path, content).unwrap(),
        }
        let mut spool = open(dir.path(), 8000);
        spool.welcomed(0).unwrap();
        let left = numbers(&spool);
        let lost = all.iter().filter(|number| !left.contains(number)).count() as u64;
        assert_eq!(spool.dropped(), lost, "{n}: damage at {at}");
        assert_eq!(left.len() as u64 + lost, 30, "{n}: damage at {at}");
        drop(spool);
        let spool = open(dir.path(), 8000);
        assert_eq!((spool.dropped(), numbers(&spool)), (lost, left), "{n}");
    }
}

#[test]
fn what_a_coordinator_has_lost_goes_again_as_far_as_it_is_here() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path(), 1 << 20);
    for _ in 0..4 {
        spool.append(b"a").unwrap();
    }
    spool.acknowledge(FIRST + 3).unwrap();
    assert_eq!(numbers(&spool), [0; 0]);
    spool.welcomed(FIRST + 1).unwrap();
    assert_eq!(numbers(&spool), [FIRST + 2, FIRST + 3]);
    assert_eq!(spool.dropped(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    /// Up to this share (of 255) of what is pending.
    Acknowledge(u8),
    Reopen,
    /// The process dies, and so many bytes of the last file never reached the disk.
    Crash(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0_usize..300).prop_map(Step::Append),
        3 => any::<u8>().prop_map(Step::Acknowledge),
        1 => Just(Step::Reopen),
        2 => prop_oneof![Just(0), 0_usize..600].prop_map(Step::Crash),
    ]
}

/// What the spool should hold.
struct Model {
    dir: TempDir,
    spool: Spool,
    pending: VecDeque<(u64, Vec<u8>)>,
    acknowledged: u64,
    dropped: u64,
    highest: u64,
}

const MODEL_BYTES: u64 = 6000;

impl Model {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = open(dir.path(), MODEL_BYTES);
        Self {
            dir,
            spool,
            pending: VecDeque::new(),
            acknowledged: 0,
            dropped: 0,
            highest: 0,
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append(length) => self.append(*length),
            Step::Acknowledge(share) => {
                let count = self.pending.len() * usize::from(*share) / 255;
                if let Some((number, _)) = self.pending.drain(..count).next_back() {
                    self.acknowledged = number;
                    self.spool.acknowledge(number).unwrap();
                }
            }
            Step::Reopen => {
                let nowhere = tempfile::tempdir().unwrap();
                let other = open(nowhere.path(), MODEL_BYTES);
                drop(std::mem::replace(&mut self.spool, other));
                self.spool = open(self.dir.path(), MODEL_BYTES);
            }
            Step::Crash(bytes) => self.crash(*bytes),
        }
        self.check();
    }

    fn append(&mut self, length: usize) {
        let number = self.spool.next_sequence();
        assert!(number > self.highest, "{number} was used before");
        self.highest = number;
        let record = vec![number.to_le_bytes()[0]; length];
        self.spool.append(&record).unwrap();
        self.pending.push_back((number, record));
        let lost = self.spool.dropped() - self.dropped;
        self.dropped += lost;
        self.pending.drain(..usize::try_from(lost).unwrap());
    }

    /// Goes on in a copy of the folder as the dying process left it.
    fn crash(&mut self, bytes: usize) {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        let mut cut = 0;
        if let Some(last) = files(copy.path()).last() {
            let length = fs::metadata(last).unwrap().len();
            cut = length.min(bytes as u64);
            let file = OpenOptions::new().write(true).open(last).unwrap();
            file.set_len(length - cut).unwrap();
        }
        self.spool = open(copy.path(), MODEL_BYTES);
        self.dir = copy;
        // As at the start of a session; the coordinator knows what it acknowledged.
        self.spool.welcomed(self.acknowledged).unwrap();
        let kept = numbers(&self.spool).len();
        let lost: Vec<_> = self.pending.drain(kept..).collect();
        let after_the_torn = lost.iter().skip(1);
        let size: usize = after_the_torn
            .map(|(_, record)| record.len() + segment::HEADER)
            .sum();
        assert!(lost.is_empty() || (size as u64) < cut, "more lost than cut");
        let counted = self.spool.dropped() - self.dropped;
        assert!(counted <= lost.len() as u64, "{counted} of {}", lost.len());
        self.dropped += counted;
    }

    fn check(&self) {
        let found = self.spool.pending_after(0, usize::MAX).unwrap();
        assert_eq!(self.pending, found);
        assert_eq!(self.spool.dropped(), self.dropped);
        assert!(self.spool.bytes() <= MODEL_BYTES);
        assert!(self.spool.next_sequence() > self.highest);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn the_spool_does_what_its_model_does(steps in prop::collection::vec(step(), 1..80)) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step);
        }
    }

    #[test]
    fn hostile_segments_are_cut_not_believed(content in prop::collection::vec(any::<u8>(), 0..400)) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(segment::path(dir.path(), FIRST), &content).unwrap();
        let spool = open(dir.path(), 1000);
        prop_assert_eq!(numbers(&spool).len(), 0);
    }
}

/// The body of the process that is killed; a test of its own only in name.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os("SPOOL_CHILD_DIR") else {
        return;
    };
    let mut spool = open(Path::new(&dir), 1 << 30);
    loop {
        let number = spool.next_sequence();
        let record = vec![7; usize::try_from(number % 3000).unwrap()];
        spool.append(&record).unwrap();
        println!("kept {number}");
    }
}

#[test]
fn a_kill_loses_no_record_and_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept: Vec<u64> = Vec::new();
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_that_appends_until_it_is_killed", "--nocapture"])
            .env("SPOOL_CHILD_DIR", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            let numbers = lines.filter_map(|line| line.rsplit_once("kept ")?.1.parse().ok());
            numbers.collect::<Vec<u64>>()
        });
        std::thread::sleep(Duration::from_millis(30 + 17 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let told = reader.join().unwrap();
        assert!(
            told.first() > kept.last() || told.is_empty(),
            "a number came again"
        );
        kept.extend(told);
        let spool = open(dir.path(), 1 << 30);
        let mut found = Vec::new();
        loop {
            let part = spool.pending_after(found.last().copied().unwrap_or(0), 1000);
            let part = part.unwrap();
            if part.is_empty() {
                break;
            }
            found.extend(part.into_iter().map(|(number, _)| number));
        }
        // The last record may have been kept without being told of.
        let told: Vec<u64> = kept
            .iter()
            .copied()
            .filter(|n| found.binary_search(n).is_err())
            .collect();
        assert_eq!(told, [0; 0], "told as kept, and gone");
        assert!(spool.next_sequence() > *found.last().unwrap_or(&0));
    }
    assert!(kept.len() > 100, "only {} records were written", kept.len());
}

/// A small file system of its own, gone at the end.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_refuses_and_works_again_when_there_is_space() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: a file system can be mounted by root alone");
        return;
    };
    let dir = disk.0.path().join("spool");
    let ballast = disk.0.path().join("ballast");
    let mut spool = open(&dir, 1 << 20);
    let mut expected = Vec::new();
    for round in 0..4 {
        // Ballast takes what is left, so that records fail at every size and place.
        let _ = fs::write(&ballast, vec![0; 60_000 + round * 3000]);
        loop {
            let number = spool.next_sequence();
            match spool.append(&[9; 777]) {
                Ok(()) => expected.push(number),
                Err(error) => {
                    assert!(matches!(error, SpoolError::Full { .. }), "{error}");
                    assert_eq!(spool.next_sequence(), number);
                    break;
                }
            }
        }
        assert_eq!(numbers(&spool), expected);
        fs::remove_file(&ballast).unwrap();
        expected.push(spool.next_sequence());
        spool.append(b"there is space again").unwrap();
        assert_eq!(numbers(&spool), expected);
        drop(spool);
        spool = open(&dir, 1 << 20);
        assert_eq!(numbers(&spool), expected);
        spool.acknowledge(spool.next_sequence() - 1).unwrap();
        assert_eq!(spool.dropped(), 0);
        expected.clear();
    }
}
