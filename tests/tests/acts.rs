//! `docs/acts.md` against the code: every row is there, whatever a row names as its proof exists, and the numbers
//! at the top are those of the tables.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::fs;
use std::path::{Path, PathBuf};

use lab::fault::{Fault, Listed};

/// The tables: the letters of their rows, and how many rows they have.
const ACTS: [(&str, usize); 5] = [("S0", 20), ("S1", 18), ("S2", 9), ("S3", 40), ("S4", 6)];
const TRAPS: usize = 12;
const TRUTHS: usize = 14;

/// How far a row has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Done,
    InPart,
    NotDone,
}

#[derive(Debug)]
struct Row {
    name: String,
    state: State,
    instead: String,
    proofs: Vec<Proof>,
}

/// What proves a row.
#[derive(Debug)]
enum Proof {
    /// A fault of the lab.
    Lab(String),
    /// A case that the lab recorded.
    Golden(String),
    /// A test, by its file.
    Test { file: String, name: String },
}

impl Proof {
    fn of(text: &str) -> Self {
        let quoted: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
        match (text.split('`').next().unwrap().trim(), quoted.as_slice()) {
            ("lab", [fault]) => Self::Lab((*fault).to_owned()),
            ("golden", [case]) => Self::Golden((*case).to_owned()),
            ("", [file, name]) => Self::Test {
                file: (*file).to_owned(),
                name: (*name).to_owned(),
            },
            _ => panic!("no proof can be read from {text:?}"),
        }
    }

    /// What is wrong with it.
    fn flaw(&self) -> Option<String> {
        match self {
            Self::Lab(fault) => match Fault::named(fault).map(Fault::listed) {
                None => Some(format!("the lab has no fault {fault}")),
                Some(Listed::NotYet) => Some(format!("{fault} is told from others by no arm yet")),
                Some(Listed::Usual | Listed::Seldom) => None,
            },
            Self::Golden(case) => {
                let rows = fs::read_to_string(root().join("localize/tests/golden.rs")).unwrap();
                let judged = rows.contains(&format!("\"{case}.case.json\""));
                (!judged).then(|| format!("no case {case} is judged"))
            }
            Self::Test { file, name } => match fs::read_to_string(root().join(file)) {
                Err(error) => Some(format!("{file}: {error}")),
                Ok(text) if is_test(&text, name) => None,
                Ok(_) => Some(format!("{file} has no test {name}")),
            },
        }
    }
}

/// Whether a file has a test of this name.
fn is_test(text: &str, name: &str) -> bool {
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else {
        return false;
    };
    let lines = before.trim_end_matches("async ").trim_end().lines().rev();
    let mut attributes = lines.take_while(|line| line.trim_start().starts_with('#'));
    attributes.any(|line| line.contains("#[test]") || line.contains("::test"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page() -> String {
    fs::read_to_string(root().join("docs/acts.md")).unwrap()
}

/// The rows of all tables, in their order.
fn rows(page: &str) -> Vec<Row> {
    let rows = page.lines().filter(|line| {
        let mut after = line.strip_prefix("| ").unwrap_or_default().chars();
        let letter = after.next().is_some_and(|c| "STR".contains(c));
        letter && after.next().is_some_and(|c| c.is_ascii_digit())
    });
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [act, state, instead, _, proofs] = cells.as_slice() else {
            panic!("five cells: {line}");
        };
        let proofs = proofs.split("; ").filter(|proof| !proof.is_empty());
        Row {
            name: act.split(' ').next().unwrap().to_owned(),
            state: match *state {
                "done" => State::Done,
                "in part" => State::InPart,
                "not done" => State::NotDone,
                other => panic!("{act}: {other}"),
            },
            instead: (*instead).to_owned(),
            proofs: proofs.map(Proof::of).collect(),
        }
    })
    .collect()
}

#[test]
fn every_row_is_there() {
    let numbered = |letters: &str, count| -> Vec<String> {
        (1..=count).map(|n| format!("{letters}{n:02}")).collect()
    };
    let acts = ACTS
        .iter()
        .flat_map(|(story, count)| numbered(&format!("{story}-"), *count));
    let traps = (1..=TRAPS).map(|n| format!("T{n}"));
    let expected: Vec<String> = acts.chain(traps).chain(numbered("R", TRUTHS)).collect();
    let found: Vec<String> = rows(&page()).into_iter().map(|row| row.name).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_a_row_names_exists() {
    let mut flaws = Vec::new();
    for row in rows(&page()) {
        let found = row.proofs.iter().filter_map(Proof::flaw);
        flaws.extend(found.map(|flaw| format!("{}: {flaw}", row.name)));
        if row.state == State::Done && row.proofs.is_empty() {
            flaws.push(format!("{} is done and nothing proves it", row.name));
        }
        if row.instead.is_empty() {
            flaws.push(format!("{} says nothing", row.name));
        }
    }
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
}

#[test]
fn the_numbers_at_the_top_are_those_of_the_tables() {
    let page = page();
    let rows = rows(&page);
    let count = |letter, state| {
        let of = rows
            .iter()
            .filter(|r| r.name.starts_with(letter) && r.state == state);
        of.count()
    };
    let all = |letter| {
        rows.iter()
            .filter(|row| row.name.starts_with(letter))
            .count()
    };
    let (acts, traps, truths) = (all('S'), all('T'), all('R'));
    let numbers = format!(
        "**{} of {acts} acts are done**, {} in part, {} not; {} of {traps} mistakes are not made again; \
         {} of {truths} rows of the table are told.",
        count('S', State::Done),
        count('S', State::InPart),
        count('S', State::NotDone),
        count('T', State::Done),
        count('R', State::Done),
    );
    assert!(
        page.lines().any(|line| line == numbers),
        "missing: {numbers}"
    );
}

#[test]
fn a_proof_that_is_none_is_found_out() {
    let flawed = [
        "lab `no-such-fault`",
        "golden `no-such-case`",
        "`no/such/file.rs` `a_test`",
        "`tests/tests/acts.rs` `no_such_test`",
        // A function, and no test.
        "`tests/tests/acts.rs` `rows`",
    ];
    for proof in flawed {
        assert!(Proof::of(proof).flaw().is_some(), "{proof}");
    }
}

/// What a probe says holds for what users ask by, since nothing else leaves an agent: no packet is one of ICMP. Those
/// with a short time to live are a trace's SYNs, from sockets that are made as those of probes are.
#[test]
fn agents_ask_by_tcp_and_dns_alone() {
    let mut folders = vec![root().join("probe-agent/src")];
    let (mut read, mut traces) = (0, 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let holds = |words: &[&'static str]| {
                let mut words = words.iter().copied();
                words.find(|word| text.contains(word))
            };
            let never = ["IPPROTO_ICMP", "Protocol::ICMP", "IPPROTO_RAW"];
            assert_eq!(holds(&never), None, "{}", path.display());
            if path.ends_with("probe-agent/src/trace/mod.rs") {
                let other = ["Socket::new", "Type::", "UdpSocket", "Protocol::"];
                assert_eq!(holds(&other), None, "{}", path.display());
                assert!(text.contains("tcp::prepare"), "{}", path.display());
                traces += 1;
            } else {
                let short = ["set_ttl", "hop_limit", "set_unicast_hops", "IP_TTL"];
                assert_eq!(holds(&short), None, "{}", path.display());
            }
            read += 1;
        }
    }
    assert!(read > 50, "{read}");
    assert_eq!(traces, 1);
}
