//! Localisations beside alarms that stand: neither contradicts the other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test may fail, and looks at the clock"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::agent::{Agent, not_found, well};
use common::{Coordinator, PATIENCE, SHOP};
use proto::v1::localize_event::Event;
use proto::v1::{ApplyServiceRequest, ListVerdictsRequest, LocalizeRequest, Verdict};

/// A round every second, and probes that are quick to give up.
const SCHEDULE: &str = r#"[schedule]
every = "1s"
timeout = { connect = "1s", total = "2s" }
"#;

/// Long enough for the watch to be sure, and to judge.
const ALARMED: Duration = Duration::from_secs(60);

async fn localize(coordinator: &Coordinator, budget: Duration, since: Duration) -> Verdict {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
    let wish = LocalizeRequest {
        service: "shop".to_owned(),
        budget_ms: millis(budget),
        since_ms: millis(since),
    };
    let mut operator = coordinator.operator().await;
    let mut events = operator.localize(wish).await.unwrap().into_inner();
    loop {
        let event = tokio::time::timeout(PATIENCE + budget, events.message());
        let event = event.await.unwrap().unwrap().expect("no verdict");
        if let Some(Event::Verdict(verdict)) = event.event {
            return verdict;
        }
    }
}

/// The newest of the verdicts that the watch has raised.
async fn raised(coordinator: &Coordinator) -> Option<Verdict> {
    let request = ListVerdictsRequest::default();
    let verdicts = coordinator.operator().await.list_verdicts(request).await;
    let mut verdicts = verdicts.unwrap().into_inner().verdicts.into_iter();
    verdicts.find(|verdict| verdict.raised.is_some())
}

#[tokio::test]
async fn nothing_is_healthy_beside_an_alarm_until_its_probes_have_been_quiet() {
    let coordinator = Coordinator::start();
    let request = ApplyServiceRequest {
        toml: [SHOP, SCHEDULE].concat(),
        ca_pem: None,
    };
    let applied = coordinator.operator().await.apply_service(request).await;
    assert_eq!(applied.unwrap().into_inner().result, "created");
    let agent = Agent::connect(&coordinator, "dc1", well).await;
    let site = Arc::clone(&agent.site);
    tokio::spawn(agent.work());
    tokio::time::sleep(Duration::from_secs(8)).await;

    *site.lock().unwrap() = not_found;
    let end = tokio::time::Instant::now() + ALARMED;
    let alarm = loop {
        if let Some(alarm) = raised(&coordinator).await {
            break alarm;
        }
        assert!(tokio::time::Instant::now() < end, "no alarm was raised");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert_eq!(
        alarm.standing,
        std::slice::from_ref(&alarm.id),
        "it stands itself"
    );

    // The last second holds nothing else, so that it looks usual.
    let short = Duration::from_secs(1);
    let verdict = localize(&coordinator, Duration::from_secs(8), short).await;
    assert_ne!(verdict.outcome, "healthy", "{verdict:?}");
    assert_eq!(verdict.standing, std::slice::from_ref(&alarm.id));
    assert!(
        raised(&coordinator)
            .await
            .unwrap()
            .raised
            .unwrap()
            .over_at
            .is_empty()
    );

    *site.lock().unwrap() = well;
    let verdict = localize(&coordinator, Duration::from_secs(60), short).await;
    assert_eq!(verdict.outcome, "healthy", "{verdict:?}");
    assert!(verdict.standing.is_empty(), "{verdict:?}");
    let over = raised(&coordinator).await.unwrap().raised.unwrap();
    assert!(
        !over.over_at.is_empty() && over.ending == "quiet",
        "{over:?}"
    );
}
