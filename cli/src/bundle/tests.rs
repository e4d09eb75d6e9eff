use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use localize::{Direction, PacketHeaders};
use pcap_file::pcapng::{Block, PcapNgReader};
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

/// A case with a probe that failed, and what hosts on its way saw of its packets: a SYN that leaves the balancer and
/// comes in at the backend, whose answer leaves by another interface and carries five bytes.
fn case_with_packets() -> Case {
    let mut case: Case = serde_json::from_slice(CASE).expect("a case");
    let failed =
        |o: &&Observation| matches!(o.outcome, Outcome::Failed { .. }) && o.facts.tcp.is_some();
    let probe = case.observations.iter().find(failed).expect("a failure");
    let client = probe.facts.tcp.as_ref().expect("a connection").local;
    let start_us = probe.started.at_us;
    let headers = |forth: bool, flags: u8, length: u8| {
        let IpAddr::V4(client_ip) = client.ip() else {
            panic!("the lab has IPv4")
        };
        let (client, server) = (
            (client_ip, client.port()),
            (Ipv4Addr::new(10, 0, 0, 52), 80),
        );
        let (from, to) = if forth {
            (client, server)
        } else {
            (server, client)
        };
        let mut bytes = vec![0x45, 0, 0, length, 0, 0, 0, 0, 64, 6, 0, 0];
        bytes.extend(from.0.octets().into_iter().chain(to.0.octets()));
        bytes.extend(from.1.to_be_bytes().into_iter().chain(to.1.to_be_bytes()));
        bytes.extend([0, 0, 0, 7, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        bytes
    };
    let mut add = |witness: &str, packets: &[(u64, bool, &str, Vec<u8>)]| {
        let packets = packets
            .iter()
            .map(|(after_us, out, on, bytes)| PacketHeaders {
                at: Stamp {
                    at_us: start_us + after_us,
                    uncertainty_us: 120,
                },
                direction: if *out { Direction::Out } else { Direction::In },
                interface: (*on).to_owned(),
                bytes: bytes.clone(),
            });
        let of = |r: &&mut WitnessReport| r.witness.0 == witness;
        let report = case.sightings.iter_mut().find(of).expect("a report");
        report.packets = packets.collect();
    };
    add(
        "web2",
        &[
            (900, false, "eth0", headers(true, 0x02, 40)),
            (1000, true, "eth1", headers(false, 0x11, 45)),
        ],
    );
    add("lb", &[(800, true, "eth0", headers(true, 0x02, 40))]);
    case
}

#[test]
fn packets_are_read_back_with_host_interface_time_and_probe() {
    let case = case_with_packets();
    let bytes = capture::file(&ordered(&case), &reports(&case)).expect("a capture");
    let mut reader = PcapNgReader::new(bytes.as_slice()).expect("pcap-ng");
    let mut packets = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.expect("a block") {
            let packet = packet.into_owned();
            let on = &reader.interfaces()[packet.interface_id as usize];
            packets.push((format!("{:?}", on.options[0]), packet));
        }
    }
    let names = packets.iter().map(|(on, _)| on.as_str());
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            r#"IfName("lb:eth0")"#,
            r#"IfName("web2:eth0")"#,
            r#"IfName("web2:eth1")"#
        ]
    );
    let (_, last) = &packets[2];
    assert_eq!((last.data.len(), last.original_len), (16 + 40, 16 + 45));
    let told = format!("{:?}", last.options);
    assert!(
        told.contains("out from web2 by eth1, to within 120 us; probe "),
        "{told}"
    );
    assert!(
        told.contains(", round ") && told.contains("Flags(2)"),
        "{told}"
    );
    let apart = last.timestamp - packets[0].1.timestamp;
    assert_eq!(apart.as_micros(), 200);
}

#[test]
fn tcpdump_reads_the_packets() {
    if Command::new("tcpdump").arg("--version").output().is_err() {
        eprintln!("skipped: no tcpdump; tests/packages.sh installs it");
        return;
    }
    let case = case_with_packets();
    let packed = bundle(&kept(&case), &case, CASE).expect("packed");
    let (_dir, folder) = unpacked(&packed);
    let mut tcpdump = Command::new("tcpdump");
    tcpdump
        .args(["-e", "-n", "-tt", "-r"])
        .arg(folder.join("packets.pcapng"));
    let read = tcpdump.output().expect("tcpdump");
    let lines = String::from_utf8(read.stdout).expect("text");
    let said = String::from_utf8_lossy(&read.stderr).into_owned();
    assert!(read.status.success(), "{said}");
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, way, said) in [
        (lines[0], "Out", "> 10.0.0.52.80: Flags [S]"),
        (lines[1], "In", "> 10.0.0.52.80: Flags [S]"),
        (lines[2], "Out", "10.0.0.52.80 > "),
    ] {
        assert!(line.contains(way) && line.contains(said), "{lines:?}");
    }
    assert!(
        lines[2].contains("Flags [F.]") && lines[2].contains("length 5"),
        "{lines:?}"
    );
    let probe_s = case.observations[0].started.at_us / 1_000_000;
    let at_s: u64 = lines[0]
        .split('.')
        .next()
        .expect("a time")
        .parse()
        .expect("seconds");
    assert!(at_s.abs_diff(probe_s) < 900, "{at_s} {probe_s}");
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
