//! The log of acts: every act and every refusal, without secrets, together with what it did.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test may fail, skip what it does not wait for, and look at the clock"
)]

mod common;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use common::{Coordinator, Credentials, SHOP};
use coordinator::store::{ActFilter, ActOutcome, Store};
use proto::v1::operator_client::OperatorClient;
use proto::v1::{
    Act, ApplyServiceRequest, BackupRequest, CreateOperatorRequest, DeleteServiceRequest,
    EndSilenceRequest, ListActsRequest, MakeSilenceRequest, OperatorRole, RenameAgentRequest,
    RevokeAgentRequest, VerifyActsRequest,
};
use rcgen::{CertificateParams, KeyPair};
use tonic::transport::Channel;

async fn acts(operator: &mut OperatorClient<Channel>) -> Vec<Act> {
    let wanted = ListActsRequest::default();
    let found = operator.list_acts(wanted).await.unwrap().into_inner();
    let mut acts = found.acts;
    acts.reverse();
    acts
}

fn said(act: &Act) -> String {
    let Act {
        operator,
        act: deed,
        object,
        outcome,
        why,
        ..
    } = act;
    format!("{operator} {deed} {object} {outcome} {why}")
        .trim_end()
        .to_owned()
}

fn apply(toml: &str) -> ApplyServiceRequest {
    ApplyServiceRequest {
        toml: toml.to_owned(),
        ca_pem: None,
    }
}

async fn viewer(coordinator: &Coordinator, name: &str) -> OperatorClient<Channel> {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::new(Vec::new())
        .unwrap()
        .serialize_request(&key);
    let mut admin = coordinator.operator().await;
    let made = admin.create_operator(CreateOperatorRequest {
        name: name.to_owned(),
        role: OperatorRole::Viewer.into(),
        csr_pem: request.unwrap().pem().unwrap(),
    });
    let who = Credentials {
        certificate: made.await.unwrap().into_inner().certificate_pem,
        key: key.serialize_pem(),
    };
    OperatorClient::new(coordinator.channel(Some(&who)).await)
}

#[tokio::test]
async fn every_act_and_every_refusal_is_written_down_without_a_secret() {
    let coordinator = Coordinator::start();
    let mut admin = coordinator.operator().await;
    let secret = coordinator.invite("home1", 0).await;
    let file = format!("{SHOP}[request]\nheaders = {{ Authorization = \"s3cret\" }}\n");
    admin.apply_service(apply(&file)).await.unwrap();
    admin.apply_service(apply(&file)).await.unwrap();
    let bad = file.replace("Authorization =", "\"a b\" =");
    admin.apply_service(apply(&bad)).await.unwrap_err();
    let mut ann = viewer(&coordinator, "ann").await;
    ann.apply_service(apply(&file)).await.unwrap_err();
    let silence = admin.make_silence(MakeSilenceRequest {
        service: "shop".to_owned(),
        length_ms: 60_000,
        because: "s3cret".to_owned(),
        ..MakeSilenceRequest::default()
    });
    let id = silence.await.unwrap().into_inner().id;
    admin
        .end_silence(EndSilenceRequest { id: id.clone() })
        .await
        .unwrap();
    let rename = RenameAgentRequest {
        from: "home1".to_owned(),
        to: "attic".to_owned(),
    };
    admin.rename_agent(rename).await.unwrap();
    let name = "home1".to_owned();
    admin
        .revoke_agent(RevokeAgentRequest { name })
        .await
        .unwrap_err();
    let mut backup = admin.backup(BackupRequest {}).await.unwrap().into_inner();
    while backup.message().await.unwrap().is_some() {}
    let name = "shop".to_owned();
    admin
        .delete_service(DeleteServiceRequest { name })
        .await
        .unwrap();
    let acts = acts(&mut admin).await;
    let expected = [
        "host WriteContext admin done".to_owned(),
        "admin CreateToken home1 done".to_owned(),
        "admin ApplyService shop done".to_owned(),
        "admin ApplyService shop refused InvalidArgument".to_owned(),
        "admin CreateOperator ann (viewer) done".to_owned(),
        "ann ApplyService  refused PermissionDenied".to_owned(),
        "admin MakeSilence shop done".to_owned(),
        format!("admin EndSilence {id} done"),
        "admin RenameAgent home1 -> attic done".to_owned(),
        "admin RevokeAgent home1 refused NotFound".to_owned(),
        "admin Backup  begun".to_owned(),
        "admin DeleteService shop done".to_owned(),
    ];
    assert_eq!(acts.iter().map(said).collect::<Vec<_>>(), expected);
    assert_eq!(acts[5].role(), OperatorRole::Viewer);
    let all = format!("{acts:?}");
    assert!(!all.contains("s3cret") && !all.contains(&secret), "{all}");
    let chain = admin
        .verify_acts(VerifyActsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((chain.first, chain.last, chain.broken_at), (1, 12, None));
    assert_eq!(chain.sha256, acts[11].sha256);
    assert_eq!(acts[11].previous_sha256, acts[10].sha256);
}

#[tokio::test]
async fn whoever_is_refused_again_and_again_pushes_nobody_out() {
    let coordinator = Coordinator::start();
    let mut ann = viewer(&coordinator, "ann").await;
    for _ in 0..60 {
        ann.apply_service(apply(SHOP)).await.unwrap_err();
    }
    let acts = acts(&mut coordinator.operator().await).await;
    let refused = acts.iter().filter(|act| act.outcome == "refused");
    assert_eq!(refused.count(), 20);
}

/// Objects of applied services by the log, and services by the store.
fn applied(coordinator: &Coordinator) -> (BTreeSet<String>, BTreeSet<String>) {
    let store = Store::open(&coordinator.data().join("store")).unwrap();
    let all = ActFilter {
        since_us: 0,
        operator: Some("admin".to_owned()),
        limit: usize::MAX,
    };
    let acts = store.acts(&all).unwrap().into_iter();
    let done = acts.filter(|(record, _)| record.act.outcome == ActOutcome::Done);
    let services = store.services().unwrap().into_iter();
    assert_eq!(store.verify_acts(None).unwrap().broken, None);
    (
        done.map(|(record, _)| record.act.object).collect(),
        services.map(|service| service.name.0).collect(),
    )
}

#[tokio::test]
async fn a_kill_leaves_neither_an_act_without_its_record_nor_a_record_without_its_act() {
    let mut coordinator = Coordinator::start();
    let mut number = 0;
    for round in 0..6 {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let mut admin = coordinator.operator().await;
            let first = number;
            number += 1000;
            tasks.spawn(async move {
                for n in first..first + 1000 {
                    let file = format!("name = \"s{n}\"\nurl = \"http://s{n}.example/\"\n");
                    if admin.apply_service(apply(&file)).await.is_err() {
                        return;
                    }
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(120 + 70 * round)).await;
        coordinator.kill();
        while tasks.join_next().await.is_some() {}
        let (by_log, by_store) = applied(&coordinator);
        assert!(!by_store.is_empty(), "nothing was applied");
        assert_eq!(by_log, by_store);
        coordinator = Coordinator::start_in(Arc::clone(&coordinator.folder));
    }
}

#[tokio::test]
async fn a_backup_carries_the_log_and_a_restore_goes_on_with_it() {
    let coordinator = Coordinator::start();
    let mut admin = coordinator.operator().await;
    admin.apply_service(apply(SHOP)).await.unwrap();
    let file = coordinator.folder.path().join("backup");
    let mut pieces = admin.backup(BackupRequest {}).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        bytes.extend_from_slice(&piece.content);
    }
    std::fs::write(&file, bytes).unwrap();
    let (_, folder) = coordinator.terminate().await;
    let data = folder.path().join("data");
    let before = folder.path().join("before");
    std::fs::rename(&data, &before).unwrap();
    let restored = Command::new(env!("CARGO_BIN_EXE_mesh-coordinator"))
        .arg("restore")
        .arg(&file)
        .arg("--data-dir")
        .arg(&data)
        .arg("--ca")
        .arg(before.join("ca"))
        .status();
    assert!(restored.unwrap().success());
    std::fs::copy(before.join("admin.toml"), data.join("admin.toml")).unwrap();
    let coordinator = Coordinator::start_in(folder);
    let mut admin = coordinator.operator().await;
    let acts = acts(&mut admin).await;
    let deeds: Vec<&str> = acts.iter().map(|act| act.act.as_str()).collect();
    assert_eq!(deeds, ["WriteContext", "ApplyService", "Backup", "Restore"]);
    let chain = admin
        .verify_acts(VerifyActsRequest::default())
        .await
        .unwrap();
    assert_eq!(chain.into_inner().broken_at, None);
}
