//! Starting and stopping the real binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test may fail, skip what it does not wait for, and look at the clock"
)]

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::{Coordinator, command, refused};
use proto::v1::StatusRequest;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

#[tokio::test]
async fn a_first_start_makes_a_context_that_works_and_a_second_keeps_it() {
    let first = Coordinator::start();
    let path = first.data().join("admin.toml");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        first.admin()["addresses"].as_array().unwrap()[0].as_str(),
        Some(first.address.to_string().as_str())
    );
    let status = first
        .operator()
        .await
        .status(StatusRequest {})
        .await
        .unwrap();
    assert_eq!(status.into_inner().agents_known, 0);
    let context = std::fs::read_to_string(&path).unwrap();

    let (status, folder) = first.terminate().await;
    assert_eq!(status.code(), Some(0));
    let second = Coordinator::start_in(folder);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), context);
    second
        .operator()
        .await
        .status(StatusRequest {})
        .await
        .unwrap();
}

#[tokio::test]
async fn reasons_not_to_start_are_told_with_status_2() {
    let running = Coordinator::start();
    let (code, said) = refused(command(&running.data(), "127.0.0.1:0"));
    assert_eq!(code, Some(2));
    assert!(said.contains("another coordinator runs on"), "{said}");

    let other = tempfile::tempdir().unwrap();
    let (code, said) = refused(command(other.path(), &running.address.to_string()));
    assert_eq!(code, Some(2));
    assert!(said.contains("another program has the port"), "{said}");

    let file = other.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (code, said) = refused(command(&file.join("data"), "127.0.0.1:0"));
    assert_eq!(code, Some(2));
    assert!(
        said.contains("cannot make the folder") && said.contains("file/data"),
        "{said}"
    );

    let with_web = |web: &str| {
        let mut command = command(other.path(), "127.0.0.1:0");
        command.args(["--web", web]);
        refused(command)
    };
    let (code, said) = with_web("0.0.0.0:7480");
    assert_eq!(code, Some(2));
    assert!(
        said.contains("is not a loopback address") && said.contains("ssh -L"),
        "{said}"
    );
    let (code, said) = with_web(&running.address.to_string());
    assert_eq!(code, Some(2));
    assert!(said.contains("choose one with --web"), "{said}");

    let (code, said) = refused(command(other.path(), "7443"));
    assert_eq!(code, Some(2));
    assert!(said.contains("is not ADDRESS:PORT"), "{said}");
}

#[test]
fn a_configuration_is_looked_at_without_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let check = |text: &str, options: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mesh-coordinator"));
        command
            .arg("check-config")
            .args(options)
            .arg("--config")
            .arg(&file);
        let done = command.output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, said) = check("listen = \"127.0.0.1:1\"", &["--data-dir", "/nowhere"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("good: listens on 127.0.0.1:1,"), "{said}");
    let (code, said) = check("\n[certificates]\nagent = \"1 day\"", &[]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("c.toml:3: certificates.agent: \"1 day\" is not"),
        "{said}"
    );
    let (code, said) = check("listen = \"127.0.0.1:1\"", &["--listen", "7443"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("mesh-coordinator: listen: \"7443\" is not ADDRESS:PORT"),
        "{said}"
    );
    std::fs::remove_file(&file).unwrap();
    let mut absent = std::process::Command::new(env!("CARGO_BIN_EXE_mesh-coordinator"));
    let done = absent
        .arg("check-config")
        .arg("--config")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "nothing is made");
}

#[tokio::test]
async fn an_authority_that_is_gone_is_told_and_its_key_is_kept() {
    let first = Coordinator::start();
    let data = first.data();
    let (_, _folder) = first.terminate().await;
    let (key, pem) = (data.join("ca/ca.key"), data.join("ca/ca.pem"));
    let kept = std::fs::read(&key).unwrap();
    std::fs::remove_file(&pem).unwrap();
    let (code, said) = refused(command(&data, "127.0.0.1:0"));
    assert_eq!(code, Some(2));
    assert!(
        said.contains("ca.pem is missing") && said.contains("field `ca`"),
        "{said}"
    );
    assert_eq!(std::fs::read(&key).unwrap(), kept);
    std::fs::remove_dir_all(data.join("ca")).unwrap();
    // The context may have gone to a laptop: the store knows all the same.
    std::fs::remove_file(data.join("admin.toml")).unwrap();
    let (code, said) = refused(command(&data, "127.0.0.1:0"));
    assert_eq!(code, Some(2));
    assert!(said.contains("restore the folder"), "{said}");
    assert!(!data.join("ca").exists());
}

#[tokio::test]
async fn a_store_that_is_gone_is_told_and_not_made_anew_in_silence() {
    let first = Coordinator::start();
    let data = first.data();
    let (_, _folder) = first.terminate().await;
    std::fs::rename(data.join("store/db"), data.join("db")).unwrap();
    let (code, said) = refused(command(&data, "127.0.0.1:0"));
    assert_eq!(code, Some(2));
    assert!(
        said.contains("the database is gone") && said.contains("repair"),
        "{said}"
    );
    std::fs::remove_dir_all(data.join("store")).unwrap();
    std::fs::remove_file(data.join("admin.toml")).unwrap();
    let (code, said) = refused(command(&data, "127.0.0.1:0"));
    assert_eq!(code, Some(2));
    assert!(
        said.contains("no store") && said.contains("repair"),
        "{said}"
    );
    assert!(!data.join("store").exists());
}

#[tokio::test]
async fn a_changed_configuration_is_told_to_agents_and_a_bad_one_changes_nothing() {
    use proto::v1::coordinator_message::Message;
    let coordinator = Coordinator::start();
    let agent = coordinator.enrol("home1").await;
    let mut session = coordinator.session(&agent).await.unwrap();
    let file = coordinator.folder.path().join("coordinator.toml");
    for text in [
        "advertise = [\"nonsense\"]",
        "advertise = [\"mesh.example:7443\"]",
    ] {
        std::fs::write(&file, text).unwrap();
        coordinator.signal(nix::sys::signal::Signal::SIGUSR1);
        coordinator.signal(nix::sys::signal::Signal::SIGHUP);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let moved = session.until(|message| match message {
        Message::Moved(moved) => Some(moved.addresses),
        _ => None,
    });
    assert_eq!(moved.await, ["mesh.example:7443"]);
    let mut next = coordinator.session(&agent).await.unwrap();
    let welcome = next.until(|message| match message {
        Message::Welcome(welcome) => Some(welcome.addresses),
        _ => None,
    });
    assert_eq!(welcome.await, ["mesh.example:7443"]);
}

#[tokio::test]
async fn health_is_open_to_strangers() {
    let coordinator = Coordinator::start();
    let mut health = HealthClient::new(coordinator.channel(None).await);
    let service = String::new();
    let answer = health.check(HealthCheckRequest { service }).await.unwrap();
    assert_eq!(answer.into_inner().status, 1);
}
