//! Who gets in, who does not, and what they are told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test may fail, skip what it does not wait for, and look at the clock"
)]

mod common;

use std::time::{Duration, Instant};

use common::{Coordinator, Credentials, PATIENCE};
use proto::v1::enrolment_client::EnrolmentClient;
use proto::v1::goodbye::Reason;
use proto::v1::operator_client::OperatorClient;
use proto::v1::{
    DeleteAgentRequest, GetAgentRequest, JoinRequest, RenameAgentRequest, RenewRequest,
    RevokeAgentRequest, StatusRequest, coordinator_message::Message,
};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tonic::Code;

fn request_for(key: &KeyPair) -> String {
    let request = CertificateParams::default().serialize_request(key);
    request.unwrap().pem().unwrap()
}

#[tokio::test]
async fn a_token_lets_in_once() {
    let coordinator = Coordinator::start();
    let secret = coordinator.invite("home1", 0).await;

    let mut stranger = EnrolmentClient::new(coordinator.channel(None).await);
    let garbage = JoinRequest {
        token_secret: secret.clone(),
        csr_pem: "garbage".to_owned(),
        agent_version: String::new(),
    };
    let refused = stranger.join(garbage).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");

    let (joined, credentials) = coordinator.join(&secret).await.unwrap();
    assert_eq!((joined.name.as_str(), joined.host.as_str()), ("home1", ""));
    let mut session = coordinator.session(&credentials).await.unwrap();
    let welcome = session
        .until(|message| match message {
            Message::Welcome(welcome) => Some(welcome),
            _ => None,
        })
        .await;
    assert_eq!(
        (welcome.name.as_str(), welcome.durable_through),
        ("home1", 0)
    );

    let refused = coordinator.join(&secret).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("was used at"), "{refused}");
}

#[tokio::test]
async fn unknown_and_expired_tokens_are_told_apart() {
    let coordinator = Coordinator::start();
    for unknown in ["00".repeat(32), "not hexadecimal".to_owned()] {
        let refused = coordinator.join(&unknown).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert!(refused.message().contains("not known here"), "{refused}");
    }
    let secret = coordinator.invite("home1", 1).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let refused = coordinator.join(&secret).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(
        refused
            .message()
            .contains("meshctl agent token --name home1"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_token_survives_a_restart_and_is_used_for_good() {
    let coordinator = Coordinator::start();
    let (kept, used) = (
        coordinator.invite("a", 0).await,
        coordinator.invite("b", 0).await,
    );
    let (_, b) = coordinator.join(&used).await.unwrap();
    let (_, folder) = coordinator.terminate().await;
    let coordinator = Coordinator::start_in(folder);
    coordinator.join(&kept).await.unwrap();
    let refused = coordinator.join(&used).await.unwrap_err();
    assert!(refused.message().contains("was used at"), "{refused}");
    coordinator.session(&b).await.unwrap();
}

#[tokio::test]
async fn certificates_open_only_their_own_doors() {
    let coordinator = Coordinator::start();
    let agent = coordinator.enrol("home1").await;
    let operator = coordinator.operator_credentials();

    let mut as_agent = OperatorClient::new(coordinator.channel(Some(&agent)).await);
    let refused = as_agent.status(StatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let refused = coordinator
        .session(&operator)
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let mut nobody = OperatorClient::new(coordinator.channel(None).await);
    let refused = nobody.status(StatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn another_authoritys_certificate_is_refused_in_the_handshake() {
    let (ours, theirs) = (Coordinator::start(), Coordinator::start());
    let foreign = theirs.operator_credentials();
    // With TLS 1.3 the server's refusal may come after the client believes in the connection.
    if let Ok(channel) = ours.try_channel(Some(&foreign)).await {
        let refused = OperatorClient::new(channel).status(StatusRequest {}).await;
        let refused = refused.unwrap_err();
        assert!(
            !matches!(refused.code(), Code::Ok | Code::PermissionDenied),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn revoking_ends_the_stream_within_a_second_and_lasts() {
    let coordinator = Coordinator::start();
    let agent = coordinator.enrol("home1").await;
    let mut session = coordinator.session(&agent).await.unwrap();
    let mut operator = coordinator.operator().await;
    let name = "home1".to_owned();
    let shown = operator
        .get_agent(GetAgentRequest { name: name.clone() })
        .await;
    assert_eq!(shown.unwrap().into_inner().state, "connected");

    let started = Instant::now();
    let revoked = operator
        .revoke_agent(RevokeAgentRequest { name: name.clone() })
        .await;
    assert_eq!(revoked.unwrap().into_inner().state, "revoked");
    assert_eq!(session.goodbye().await, Reason::Revoked);
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );

    let refused = coordinator.session(&agent).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let (_, folder) = coordinator.terminate().await;
    let coordinator = Coordinator::start_in(folder);
    let refused = coordinator.session(&agent).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");

    // A new token lets the name in again, not the old certificate.
    let again = coordinator.enrol("home1").await;
    coordinator.session(&again).await.unwrap();
    let refused = coordinator.session(&agent).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
}

#[tokio::test]
async fn a_second_stream_ends_the_first() {
    let coordinator = Coordinator::start();
    let agent = coordinator.enrol("home1").await;
    let mut first = coordinator.session(&agent).await.unwrap();
    let mut second = coordinator.session(&agent).await.unwrap();
    assert_eq!(first.goodbye().await, Reason::Replaced);
    drop(first);
    let stop = coordinator.terminate().await;
    assert_eq!(second.goodbye().await, Reason::ShuttingDown);
    assert_eq!(stop.0.code(), Some(0));
}

#[tokio::test]
async fn a_stream_ends_with_its_certificate_unless_renewed() {
    let coordinator = Coordinator::start_with("[certificates]\nagent = \"3s\"\nserver = \"4s\"");
    let (idle, busy) = (
        coordinator.enrol("idle").await,
        coordinator.enrol("busy").await,
    );
    let mut idle_session = coordinator.session(&idle).await.unwrap();
    let busy_session = coordinator.session(&busy).await.unwrap();

    let renewing = async {
        let mut credentials = busy.clone();
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let key = KeyPair::generate().unwrap();
            let csr_pem = request_for(&key);
            let mut client = coordinator.agent(&credentials).await;
            let renewed = client.renew(RenewRequest { csr_pem }).await.unwrap();
            credentials = Credentials {
                certificate: renewed.into_inner().certificate_pem,
                key: key.serialize_pem(),
            };
        }
        credentials
    };
    let (reason, renewed) = tokio::join!(idle_session.goodbye(), renewing);
    assert_eq!(reason, Reason::CertificateExpired);
    // The stream of the one that renewed has outlived its first certificate.
    let mut busy_session = busy_session;
    busy_session
        .say(proto::v1::agent_message::Message::Clock(
            proto::v1::ClockRequest { t1_us: 7 },
        ))
        .await;
    let reply = busy_session.until(|message| match message {
        Message::Clock(reply) => Some(reply),
        _ => None,
    });
    let reply = tokio::time::timeout(PATIENCE, reply).await.unwrap();
    assert_eq!(reply.t1_us, 7);
    assert!(reply.t2_us <= reply.t3_us);
    coordinator.session(&renewed).await.unwrap();
    // One that has ended opens nothing, and renews itself all the same.
    let refused = coordinator.session(&idle).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let renewed = renew(&coordinator, &idle).await.unwrap();
    coordinator.session(&renewed).await.unwrap();
}

async fn renew(
    coordinator: &Coordinator,
    with: &Credentials,
) -> Result<Credentials, tonic::Status> {
    let key = KeyPair::generate().unwrap();
    let csr_pem = request_for(&key);
    let mut client = coordinator.agent(with).await;
    let renewed = client.renew(RenewRequest { csr_pem }).await?;
    Ok(Credentials {
        certificate: renewed.into_inner().certificate_pem,
        key: key.serialize_pem(),
    })
}

#[tokio::test]
async fn an_ended_certificate_renews_within_the_grace_and_never_once_revoked() {
    let config = "[certificates]\nagent = \"2s\"\noperator = \"3s\"\ngrace = \"6s\"";
    let coordinator = Coordinator::start_with(config);
    let (late, gone) = (
        coordinator.enrol("late").await,
        coordinator.enrol("gone").await,
    );
    let name = "gone".to_owned();
    let mut operator = coordinator.operator().await;
    operator
        .revoke_agent(RevokeAgentRequest { name })
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(4500)).await;
    let refused = renew(&coordinator, &gone).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    renew(&coordinator, &late).await.unwrap();
    // Whoever operates has no grace, and is told in words.
    let refused = operator.status(StatusRequest {}).await.unwrap_err();
    assert!(
        refused.message().contains("operator admin ended at"),
        "{refused}"
    );
    let mut again = coordinator.operator().await;
    let refused = again.status(StatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    tokio::time::sleep(Duration::from_millis(5500)).await;
    let refused = renew(&coordinator, &late).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("agent rejoin late"), "{refused}");
}

#[tokio::test]
async fn an_agent_goes_on_under_another_name_with_what_it_has() {
    let coordinator = Coordinator::start();
    let old = coordinator.enrol("old").await;
    let request = |from: &str, to: &str| RenameAgentRequest {
        from: from.to_owned(),
        to: to.to_owned(),
    };
    let mut operator = coordinator.operator().await;
    operator.rename_agent(request("old", "new")).await.unwrap();
    let refused = operator
        .rename_agent(request("old", "x"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
    let refused = operator
        .rename_agent(request("new", "A B"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let (_, folder) = coordinator.terminate().await;
    let coordinator = Coordinator::start_in(folder);
    let mut session = coordinator.session(&old).await.unwrap();
    let welcome = session.until(|message| match message {
        Message::Welcome(welcome) => Some(welcome),
        _ => None,
    });
    assert_eq!(welcome.await.name, "new");
    let renewed = renew(&coordinator, &old).await.unwrap();
    let der = CertificateDer::from_pem_slice(renewed.certificate.as_bytes()).unwrap();
    let identity = coordinator::tls::PeerCertificate::read(&der)
        .unwrap()
        .identity;
    assert_eq!(identity.to_string(), "spiffe://mesh/agent/new");

    let name = "new".to_owned();
    let mut operator = coordinator.operator().await;
    operator
        .delete_agent(DeleteAgentRequest { name })
        .await
        .unwrap();
    for credentials in [old, renewed] {
        let refused = coordinator.session(&credentials).await.map(|_| ());
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    }
}
