//! Operators: each may do what its role says, and loses that at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test may fail, skip what it does not wait for, and look at the clock"
)]

mod common;

use common::{Coordinator, Credentials, PATIENCE, SHOP};
use coordinator::rights::{Call, OperatorRole as Role};
use proto::v1::operator_client::OperatorClient;
use proto::v1::{
    ApplyServiceRequest, ChangeOperatorRequest, CreateOperatorRequest, ListOperatorsRequest,
    OperatorRole, RenewOperatorRequest, RevokeOperatorRequest, StatusRequest, WatchRequest,
};
use rcgen::{CertificateParams, KeyPair};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

fn request() -> (KeyPair, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(Vec::new()).unwrap();
    let csr_pem = params.serialize_request(&key).unwrap().pem().unwrap();
    (key, csr_pem)
}

async fn create(
    admin: &mut OperatorClient<Channel>,
    name: &str,
    role: OperatorRole,
) -> Result<Credentials, Status> {
    let (key, csr_pem) = request();
    let made = admin.create_operator(CreateOperatorRequest {
        name: name.to_owned(),
        role: role.into(),
        csr_pem,
    });
    Ok(Credentials {
        certificate: made.await?.into_inner().certificate_pem,
        key: key.serialize_pem(),
    })
}

async fn client(coordinator: &Coordinator, who: &Credentials) -> OperatorClient<Channel> {
    OperatorClient::new(coordinator.channel(Some(who)).await)
}

/// What a call with an empty message comes to.
async fn call(channel: &Channel, call: Call) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = format!("/mesh.v1.Operator/{}", call.name());
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let answer = grpc.server_streaming(Request::new(()), path.parse().unwrap(), codec);
    answer.await.map(drop)
}

#[tokio::test]
async fn every_call_is_open_to_its_role_and_to_no_lower_one() {
    let coordinator = Coordinator::start();
    let mut admin = coordinator.operator().await;
    for (name, wire, role) in [
        ("ann", OperatorRole::Viewer, Role::Viewer),
        ("bob", OperatorRole::Operator, Role::Operator),
        ("eve", OperatorRole::Admin, Role::Admin),
    ] {
        let who = create(&mut admin, name, wire).await.unwrap();
        let channel = coordinator.channel(Some(&who)).await;
        for &what in Call::ALL {
            let refused = call(&channel, what).await.err();
            let denied = refused.filter(|status| status.code() == Code::PermissionDenied);
            assert_eq!(denied.is_some(), role < what.needs(), "{name}: {what:?}");
            if let Some(denied) = denied {
                let said = format!(
                    "you are operator {name} with role {role}, and {}",
                    what.name()
                );
                assert!(denied.message().starts_with(&said), "{denied}");
                assert!(denied.message().contains("ask an admin: admin"), "{denied}");
            }
        }
    }
    let agent = coordinator.enrol("home1").await;
    let channel = coordinator.channel(Some(&agent)).await;
    let refused = call(&channel, Call::Status).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn who_is_demoted_or_revoked_loses_rights_and_streams_at_once_and_for_good() {
    let coordinator = Coordinator::start();
    let mut admin = coordinator.operator().await;
    let bob = create(&mut admin, "bob", OperatorRole::Operator)
        .await
        .unwrap();
    let mut as_bob = client(&coordinator, &bob).await;
    let apply = || ApplyServiceRequest {
        toml: SHOP.to_owned(),
        ca_pem: None,
    };
    as_bob.apply_service(apply()).await.unwrap();
    let watch = WatchRequest::default();
    let mut stream = as_bob.watch(watch).await.unwrap().into_inner();
    let demote = ChangeOperatorRequest {
        name: "bob".to_owned(),
        role: OperatorRole::Viewer.into(),
    };
    admin.change_operator(demote).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, stream.message()).await;
    let ended = ended.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied, "{ended}");
    let refused = as_bob.apply_service(apply()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let status = as_bob.status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.operator_role(), OperatorRole::Viewer);
    let revoke = RevokeOperatorRequest {
        name: "bob".to_owned(),
    };
    let revoked = admin.revoke_operator(revoke).await.unwrap().into_inner();
    assert_eq!(revoked.state, "revoked");
    let refused = as_bob.status(StatusRequest {}).await.unwrap_err();
    assert!(refused.message().contains("is revoked"), "{refused}");
    let (_, folder) = coordinator.terminate().await;
    let coordinator = Coordinator::start_in(folder);
    let mut as_bob = client(&coordinator, &bob).await;
    let refused = as_bob.status(StatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    // Let in again, by another certificate.
    let mut admin = coordinator.operator().await;
    let again = create(&mut admin, "bob", OperatorRole::Viewer)
        .await
        .unwrap();
    let refused = as_bob.status(StatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let mut as_bob = client(&coordinator, &again).await;
    as_bob.status(StatusRequest {}).await.unwrap();
}

#[tokio::test]
async fn the_last_admin_stays() {
    let coordinator = Coordinator::start();
    let mut admin = coordinator.operator().await;
    let demote = || ChangeOperatorRequest {
        name: "admin".to_owned(),
        role: OperatorRole::Operator.into(),
    };
    let revoke = || RevokeOperatorRequest {
        name: "admin".to_owned(),
    };
    create(&mut admin, "ann", OperatorRole::Operator)
        .await
        .unwrap();
    let refused = admin.change_operator(demote()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let refused = admin.revoke_operator(revoke()).await.unwrap_err();
    assert!(refused.message().contains("last admin"), "{refused}");
    let eve = create(&mut admin, "eve", OperatorRole::Admin)
        .await
        .unwrap();
    admin.change_operator(demote()).await.unwrap();
    // Who can write to the data folder makes that operator an admin again.
    let (_, folder) = coordinator.terminate().await;
    std::fs::remove_file(folder.path().join("data/admin.toml")).unwrap();
    let coordinator = Coordinator::start_in(folder);
    let mut admin = coordinator.operator().await;
    let status = admin.status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.operator_role(), OperatorRole::Admin);
    let known = client(&coordinator, &eve)
        .await
        .list_operators(ListOperatorsRequest {})
        .await;
    let names = known.unwrap().into_inner().operators.into_iter();
    let names: Vec<_> = names.map(|one| (one.name, one.created_by)).collect();
    let expected = [("admin", "host"), ("ann", "admin"), ("eve", "admin")];
    assert_eq!(names, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[tokio::test]
async fn who_renews_goes_on_by_the_new_certificate_under_its_own_name() {
    let coordinator = Coordinator::start();
    let mut admin = coordinator.operator().await;
    let ann = create(&mut admin, "ann", OperatorRole::Viewer)
        .await
        .unwrap();
    let mut as_ann = client(&coordinator, &ann).await;
    let (key, csr_pem) = request();
    let renewed = as_ann
        .renew_operator(RenewOperatorRequest { csr_pem })
        .await;
    let renewed = renewed.unwrap().into_inner();
    assert_eq!(renewed.operator.unwrap().name, "ann");
    let next = Credentials {
        certificate: renewed.certificate_pem,
        key: key.serialize_pem(),
    };
    for who in [&ann, &next] {
        let mut client = client(&coordinator, who).await;
        let status = client.status(StatusRequest {}).await.unwrap().into_inner();
        assert_eq!((status.operator.as_str(), status.operator_role), ("ann", 1));
    }
    let taken = create(&mut admin, "ann", OperatorRole::Admin)
        .await
        .unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists, "{taken}");
    for (name, role) in [
        ("A B", OperatorRole::Viewer),
        ("joe", OperatorRole::Unspecified),
    ] {
        let refused = create(&mut admin, name, role).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
}
