//! A backup over the wire, and what a coordinator that was restored from it makes of its fleet.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test may fail, skip what it does not wait for, and look at the clock"
)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Coordinator, Credentials, PATIENCE};
use coordinator::store::{Store, Write};
use localize::{Clock, Detection, Verdict, VerdictOutcome};
use proto::v1::{
    ApplyServiceRequest, BackupRequest, ListServicesRequest, RenewRequest, RevokeAgentRequest,
    StatusRequest,
};
use rcgen::{CertificateParams, KeyPair};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tonic::Code;

async fn backup(coordinator: &Coordinator, to: &Path) {
    let mut operator = coordinator.operator().await;
    let mut pieces = operator
        .backup(BackupRequest {})
        .await
        .unwrap()
        .into_inner();
    let (mut file, mut taken) = (Vec::new(), None);
    while let Some(piece) = pieces.message().await.unwrap() {
        file.extend_from_slice(&piece.content);
        taken = piece.taken;
    }
    assert_eq!(taken.expect("the last piece").bytes, file.len() as u64);
    let key = fs::read_to_string(coordinator.data().join("ca/ca.key")).unwrap();
    let text = String::from_utf8_lossy(&file).into_owned();
    assert!(
        !text.contains(key.lines().nth(1).unwrap()),
        "the key is in it"
    );
    fs::write(to, file).unwrap();
}

/// Runs `mesh-coordinator restore`: its exit status and what it said.
fn restore(file: &Path, data: &Path, ca: Option<&Path>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-coordinator"));
    command.arg("restore").arg(file).arg("--data-dir").arg(data);
    if let Some(ca) = ca {
        command.arg("--ca").arg(ca);
    }
    let done = command.output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.code(), String::from_utf8(said).unwrap())
}

async fn renew(coordinator: &Coordinator, agent: &Credentials) -> Credentials {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    let csr_pem = request.pem().unwrap();
    let mut client = coordinator.agent(agent).await;
    let renewed = client.renew(RenewRequest { csr_pem }).await.unwrap();
    Credentials {
        certificate: renewed.into_inner().certificate_pem,
        key: key.serialize_pem(),
    }
}

async fn revoke(coordinator: &Coordinator, name: &str) {
    let name = name.to_owned();
    let mut operator = coordinator.operator().await;
    operator
        .revoke_agent(RevokeAgentRequest { name })
        .await
        .unwrap();
}

async fn refused(coordinator: &Coordinator, agent: &Credentials) -> Code {
    coordinator
        .session(agent)
        .await
        .map(|_| ())
        .unwrap_err()
        .code()
}

#[tokio::test]
async fn a_restored_coordinator_keeps_its_fleet_and_lets_nobody_else_in() {
    let first = Coordinator::start();
    let kept = first.enrol("kept").await;
    let burnt = first.enrol("burnt").await;
    revoke(&first, "burnt").await;
    first.enrol("again").await;
    revoke(&first, "again").await;
    let open = first.invite("late", 0).await;
    let unused = first.invite("unused", 0).await;
    let toml = common::SHOP.to_owned();
    let apply = ApplyServiceRequest { toml, ca_pem: None };
    first.operator().await.apply_service(apply).await.unwrap();
    let file = first.folder.path().join("backup");
    backup(&first, &file).await;

    let unseen = renew(&first, &kept).await;
    let renewed = renew(&first, &unseen).await;
    let late = first.join(&open).await.unwrap().1;
    let again = first.enrol("again").await;
    let unknown = first.enrol("unknown").await;
    let ca = first.data().join("ca");
    let restored = first.folder.path().join("next/data");
    let (code, said) = restore(&file, &restored, Some(&ca));
    assert_eq!(code, Some(0), "{said}");
    for expected in [
        "LET IN",
        "Join tokens of before are void",
        "not joined by then: late, unused",
        "sound: ",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!said.contains("The authority is not in"), "{said}");
    let (_, _folder) = first.terminate().await;

    let next = start(&restored);
    next.session(&kept).await.unwrap();
    next.session(&renewed).await.unwrap();
    next.session(&late).await.unwrap();
    assert_eq!(refused(&next, &burnt).await, Code::PermissionDenied);
    // Of whom it is not known whether they are still welcome: not in, and not ended for good.
    assert_eq!(refused(&next, &again).await, Code::FailedPrecondition);
    assert_eq!(refused(&next, &unknown).await, Code::FailedPrecondition);
    for secret in [&open, &unused] {
        let refused = next.join(secret).await.unwrap_err();
        assert!(
            refused.message().contains("restored or repaired"),
            "{refused}"
        );
    }
    let mut operator = next.operator().await;
    let services = operator
        .list_services(ListServicesRequest {})
        .await
        .unwrap();
    assert_eq!(services.into_inner().services.len(), 1);
    let status = operator
        .status(StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(status.restored.map(|restored| restored.times), Some(1));

    // A revocation that is done again closes the gap for good, a token afterwards or not.
    revoke(&next, "kept").await;
    assert_eq!(refused(&next, &renewed).await, Code::PermissionDenied);
    assert_eq!(refused(&next, &unseen).await, Code::PermissionDenied);
    let anew = next.enrol("kept").await;
    next.session(&anew).await.unwrap();
    assert_eq!(refused(&next, &kept).await, Code::PermissionDenied);
    assert_eq!(refused(&next, &renewed).await, Code::PermissionDenied);
    assert_eq!(refused(&next, &unseen).await, Code::FailedPrecondition);
    // What the gap vouched for is on the list by now, and goes on.
    let (_, folder) = next.terminate().await;
    let next = Coordinator::start_in(folder);
    next.session(&late).await.unwrap();
    renew(&next, &late).await;
}

/// A coordinator on a data folder that is there.
fn start(data: &Path) -> Coordinator {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("coordinator.toml"), "").unwrap();
    fs::rename(data, folder.path().join("data")).unwrap();
    Coordinator::start_in(Arc::new(folder))
}

/// A coordinator with more in its store than any buffer on the way to a reader takes.
async fn with_much() -> Coordinator {
    let (_, folder) = Coordinator::start().terminate().await;
    let store = Store::open(&folder.path().join("data/store")).unwrap();
    // No two stretches of it are alike, so that it does not deflate.
    let case_json: Vec<u8> = (0..200_000_u32)
        .flat_map(|n| Sha256::digest(n.to_be_bytes()))
        .collect();
    let verdict = Verdict {
        earlier: Vec::new(),
        not_probed: Vec::new(),
        standing: Vec::new(),
        schema: 1,
        service: "shop".to_owned(),
        id: "v-much".to_owned(),
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
        clock: Clock::default(),
        rounds: 1,
        probes: 1,
        vantages: Vec::new(),
        started_at: String::new(),
        elapsed_ms: 1,
    };
    store
        .commit(vec![Write::Verdict { verdict, case_json }])
        .await
        .unwrap();
    drop(store);
    Coordinator::start_in(folder)
}

#[tokio::test]
async fn a_reader_that_stands_still_keeps_nobody_from_anything_for_long() {
    let coordinator = with_much().await;
    let mut operator = coordinator.operator().await;
    let mut stuck = operator
        .backup(BackupRequest {})
        .await
        .unwrap()
        .into_inner();
    stuck.message().await.unwrap().expect("a piece");
    let mut second = operator
        .backup(BackupRequest {})
        .await
        .unwrap()
        .into_inner();
    let refused = second.message().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("another backup"), "{refused}");
    // Writing goes on meanwhile, and whoever leaves makes room for the next.
    coordinator.enrol("home1").await;
    drop(stuck);
    let file = coordinator.folder.path().join("backup");
    tokio::time::sleep(Duration::from_millis(500)).await;
    backup(&coordinator, &file).await;
    assert!(fs::metadata(&file).unwrap().len() > 6_000_000);
    let mut stuck = operator
        .backup(BackupRequest {})
        .await
        .unwrap()
        .into_inner();
    stuck.message().await.unwrap().expect("a piece");
    let began = Instant::now();
    let (status, _folder) = coordinator.terminate().await;
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn nothing_is_restored_over_something_or_from_half_a_file() {
    let coordinator = Coordinator::start();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("backup");
    backup(&coordinator, &file).await;
    let data = folder.path().join("data");

    let (code, said) = restore(&file, &coordinator.data(), None);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is not empty"), "{said}");

    let foreign = Coordinator::start();
    let (code, said) = restore(&file, &data, Some(&foreign.data().join("ca")));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("of one and the same mesh"), "{said}");
    let (code, said) = restore(&file, &data, Some(folder.path()));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("is missing"), "{said}");

    let half = folder.path().join("half");
    let whole = fs::read(&file).unwrap();
    fs::write(&half, &whole[..whole.len() / 2]).unwrap();
    let (code, said) = restore(&half, &data, None);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("half is cut short after"), "{said}");
    let (code, said) = restore(&folder.path().join("none"), &data, None);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("none cannot be read: No such file"), "{said}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 2, "{left:?}");

    // An empty folder is as good as none, and without its authority it does not start.
    fs::create_dir(&data).unwrap();
    let (code, said) = restore(&file, &data, None);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("put your copy of the folder `ca`"), "{said}");
    let mode = fs::metadata(&data).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let (code, said) = common::refused(common::command(&data, "127.0.0.1:0"));
    assert_eq!(code, Some(2));
    assert!(said.contains("ca is missing"), "{said}");
    let (code, _) = restore(&file, &data, None);
    assert_eq!(code, Some(2), "once");
}
