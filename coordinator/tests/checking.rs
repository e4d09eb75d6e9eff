//! A service file is checked over the wire: what agents see is told to whoever asks, and kept nowhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test may fail, and looks at the clock"
)]

mod common;

use common::agent::{Agent, now_us, web2_closed};
use common::{Coordinator, PATIENCE, SHOP};
use proto::v1::check_service_request::What;
use proto::v1::check_service_response::Grade;
use proto::v1::{
    ApplyServiceRequest, CheckServiceRequest, CheckServiceResponse, GetAgentRequest,
    HistoryRequest, ListServicesRequest, StatusRequest,
};
use tonic::{Code, Status};

fn file(toml: &str) -> What {
    What::File(ApplyServiceRequest {
        toml: toml.to_owned(),
        ca_pem: None,
    })
}

async fn check(coordinator: &Coordinator, what: What) -> Result<CheckServiceResponse, Status> {
    let request = CheckServiceRequest { what: Some(what) };
    let mut operator = coordinator.operator().await;
    let answer = tokio::time::timeout(PATIENCE, operator.check_service(request));
    Ok(answer.await.expect("within 15 s")?.into_inner())
}

async fn stored(coordinator: &Coordinator) -> u64 {
    let status = coordinator.operator().await.status(StatusRequest {}).await;
    status.unwrap().into_inner().observations_stored
}

#[tokio::test]
async fn a_file_is_checked_before_it_is_applied_and_leaves_no_trace() {
    let coordinator = Coordinator::start();
    let agent = Agent::connect(&coordinator, "dc1", web2_closed).await;
    let before = agent.sequence;
    tokio::spawn(agent.work());
    let checked = check(&coordinator, file(SHOP)).await.unwrap();
    assert_eq!((checked.name.as_str(), checked.rounds), ("shop", 2));
    assert_eq!(checked.vantages, ["dc1"]);
    assert_eq!(checked.findings.len(), 1, "{checked:?}");
    let finding = &checked.findings[0];
    assert_eq!(finding.grade(), Grade::Warning);
    let said = (finding.line, finding.field.as_str(), finding.value.as_str());
    assert_eq!(said, (13, "backend[1].address", "\"10.0.0.52:80\""));
    assert_eq!(finding.failure, "connect_refused");
    assert!(finding.next.contains("apply it"), "{finding:?}");
    let arms: Vec<&str> = checked
        .arms
        .iter()
        .map(|tried| tried.arm.as_str())
        .collect();
    let expected = [
        "resolver/127.0.0.1",
        "nameserver/192.0.2.53",
        "vip/203.0.113.10:80",
        "backend/web1",
        "backend/web2",
    ];
    assert_eq!(arms, expected);
    // The agent may forget what nobody keeps.
    let mut operator = coordinator.operator().await;
    let shown = GetAgentRequest {
        name: "dc1".to_owned(),
    };
    let shown = operator.get_agent(shown).await.unwrap().into_inner();
    assert_eq!(shown.durable_through, before + checked.probes);
    assert!(now_us() > before);
    assert_eq!(stored(&coordinator).await, 0);
    let services = operator.list_services(ListServicesRequest {}).await;
    assert!(services.unwrap().into_inner().services.is_empty());
}

#[tokio::test]
async fn an_applied_service_is_checked_by_its_name() {
    let coordinator = Coordinator::start();
    let mut operator = coordinator.operator().await;
    let service = || What::Service("shop".to_owned());
    let refused = check(&coordinator, service()).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let apply = ApplyServiceRequest {
        toml: SHOP.to_owned(),
        ca_pem: None,
    };
    operator.apply_service(apply).await.unwrap();
    // Nobody is there, which is an answer too.
    let checked = check(&coordinator, service()).await.unwrap();
    assert_eq!((checked.probes, checked.findings.len()), (0, 1));
    assert!(checked.findings[0].what.contains("No agent is connected"));

    let agent = Agent::connect(&coordinator, "dc1", web2_closed).await;
    tokio::spawn(agent.work());
    let checked = check(&coordinator, service()).await.unwrap();
    assert_eq!(checked.findings.len(), 1, "{checked:?}");
    let next = &checked.findings[0].next;
    assert!(
        next.contains("`meshctl localize shop`") && !next.contains("apply it"),
        "{next}"
    );
    assert_eq!(stored(&coordinator).await, 0);
    let history = HistoryRequest {
        service: "shop".to_owned(),
        since_ms: 3_600_000,
    };
    let history = operator.history(history).await.unwrap().into_inner();
    assert!(history.lines.is_empty(), "{history:?}");
}

#[tokio::test]
async fn what_cannot_be_checked_is_refused() {
    let coordinator = Coordinator::start();
    let rows = [
        (file("name = \"shop\"\n"), "url"),
        (file(&SHOP.replace("vip", "vips")), "vips"),
        (file(&"#".repeat(300 << 10)), "256 KiB"),
    ];
    for (what, said) in rows {
        let refused = check(&coordinator, what).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(said), "{refused}");
    }
    let nothing = CheckServiceRequest { what: None };
    let refused = coordinator.operator().await.check_service(nothing).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
}
