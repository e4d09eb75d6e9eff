use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proto::v1;
use serde_json::Value;
use tempfile::TempDir;

use super::*;

/// A case that the lab recorded: a backend that drops SYNs, and an agent on it.
const CASE: &[u8] =
    include_bytes!("../../../localize/tests/golden/backend-drops-syns-full.case.json");

fn kept(case: &Case) -> Kept {
    let mut verdict = localize::localize(case).verdict;
    verdict.id = "v-../7f3a".to_owned();
    Kept::read(v1::Verdict::from(&verdict)).expect("a verdict")
}

/// The archive as `tar` unpacks it, and the folder in it.
fn unpacked(packed: &[u8]) -> (TempDir, PathBuf) {
    let dir = TempDir::new().expect("a folder");
    let archive = dir.path().join("bundle.tar.gz");
    fs::write(&archive, packed).expect("written");
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&archive).arg("-C").arg(dir.path());
    assert!(tar.status().expect("tar").success());
    let folder = dir.path().join("verdict----7f3a");
    (dir, folder)
}

fn json_lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).expect("the file");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn what_was_packed_is_read_back_by_anybody() {
    let case: Case = serde_json::from_slice(CASE).expect("a case");
    let kept = kept(&case);
    let packed = bundle(&kept, &case, CASE).expect("packed");
    assert_eq!(packed, bundle(&kept, &case, CASE).expect("packed again"));
    let (_dir, folder) = unpacked(&packed);
    let read = |file: &str| fs::read_to_string(folder.join(file)).expect("the file");

    let fired = json_lines(&folder.join("observations.jsonl"));
    assert_eq!(fired.len(), ordered(&case).len());
    let failed = json_lines(&folder.join("failed.jsonl"));
    assert!(
        failed
            .iter()
            .all(|probe| probe["outcome"]["failed"].is_object())
    );
    // web2's witness saw SYNs of probes that failed, and no answer.
    let seen = failed
        .iter()
        .flat_map(|probe| probe["seen"].as_array().expect("a list"));
    let by_web2: Vec<&Value> = seen.filter(|seen| seen["witness"] == "web2").collect();
    assert!(!by_web2.is_empty());
    assert!(
        by_web2
            .iter()
            .all(|seen| seen["packets"][0]["packet"] == "syn")
    );
    let sightings = json_lines(&folder.join("sightings.jsonl"));
    assert!(sightings.len() > by_web2.len());

    let verdict: Value = serde_json::from_str(&read("verdict.json")).expect("JSON");
    assert_eq!(verdict["faults"][0]["name"], "web2");
    assert!(read("verdict.txt").contains("web2"));
    let sentences = read("cleared.txt");
    for part in &kept.verdict.exonerated {
        let start = format!("{} is not at fault", part.component.name);
        let unwrapped = sentences.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(unwrapped.contains(&start), "{start}");
    }
    let clocks: Vec<Value> = serde_json::from_str(&read("clocks.json")).expect("JSON");
    assert_eq!(clocks.len(), kept.verdict.vantages.len());
    assert_eq!(read("case.json").as_bytes(), CASE);

    let told = read("README.txt");
    for file in fs::read_dir(&folder).expect("the folder") {
        let name = file
            .expect("a file")
            .file_name()
            .into_string()
            .expect("text");
        assert!(name == "README.txt" || told.contains(&name), "{name}");
    }
}

#[test]
fn how_far_packets_came_is_in_it() {
    let mut case: Case = serde_json::from_slice(CASE).expect("a case");
    let seen = case.observations.first().expect("an observation").clone();
    let trace = Trace {
        vantage: seen.vantage().clone(),
        sequence: 9,
        service: seen.service.clone(),
        round: seen.round,
        from: "10.0.5.5:40001".parse().expect("an address"),
        to: "10.0.2.2:80".parse().expect("an address"),
        started: seen.started,
        hops: vec![localize::Heard::Expired {
            by: "10.0.5.1".parse().expect("an address"),
            rtt: localize::Micros(300),
        }],
        whole: Some(localize::Heard::Silence),
    };
    // A repeat is the same trace.
    case.traces = vec![trace.clone(), trace];
    let packed = bundle(&kept(&case), &case, CASE).expect("packed");
    let (_dir, folder) = unpacked(&packed);
    let traces = json_lines(&folder.join("traces.jsonl"));
    assert_eq!(traces.len(), 1);
    assert_eq!(traces[0]["hops"][0]["expired"]["by"], "10.0.5.1");
    assert_eq!(traces[0]["whole"], "silence");
    assert!(traces[0]["at"].is_string());
}

#[test]
fn an_archive_does_not_take_what_it_cannot_say() {
    let file = File {
        path: "x".repeat(101),
        bytes: Vec::new(),
    };
    assert!(archive::pack(&[file]).is_err());
}
