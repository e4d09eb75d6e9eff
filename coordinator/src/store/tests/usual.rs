//! What is usual is not learnt from what was wrong.

use localize::watch::Ending;

use super::*;

const DAY: u64 = 24 * 60 * MINUTE;

/// What home1 saw of web1 in a round at an instant, by HTTP status.
fn answered(sequence: u64, at_us: u64, status: u16) -> Write {
    let mut seen = observation("home1", sequence, at_us, None);
    seen.facts.http = Some(localize::HttpFacts {
        redirect: Default::default(),
        status,
        first_byte: Micros(1000),
        body_bytes: 10,
        body_digest: String::new(),
        headers: Vec::new(),
    });
    if status >= 400 {
        seen.steps.pop();
        seen.outcome = Outcome::Failed {
            layer: Layer::Http,
            failure: Failure::HttpStatus(status),
            after: Micros(2000),
        };
    }
    Write::Observation(seen)
}

/// A verdict of some length in minutes, made so many minutes after `NOW`.
fn told(id: &str, outcome: VerdictOutcome, started: u64, minutes: u64) -> Verdict {
    Verdict {
        outcome,
        started_at: crate::clock::rfc3339(NOW + started * MINUTE),
        elapsed_ms: minutes * 60_000,
        ..verdict(id)
    }
}

/// Passed, failed and statuses of web1's answers in the hour before `to_us` that was calm.
fn usual(store: &Store, to_us: u64) -> (u64, u64, Vec<(u16, u64)>) {
    let baselines = store
        .baselines(&shop(), 60 * MINUTE, 0..to_us)
        .expect("reads");
    let http = baselines.of(&vantage("home1"), &backend_arm("web1"), Layer::Http);
    http.map_or((0, 0, Vec::new()), |b| {
        (b.passed, b.failed, b.statuses.clone())
    })
}

/// A round a minute for five hours: 404 from the 200th to the 219th, else 200.
async fn five_hours(store: &Store) {
    let writes = (0..300).map(|minute| {
        let status = if (200..220).contains(&minute) {
            404
        } else {
            200
        };
        answered(minute + 1, NOW + minute * MINUTE, status)
    });
    store.commit(writes.collect()).await.expect("stored");
}

#[tokio::test]
async fn an_alarms_time_teaches_nothing_and_is_made_up_for() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    five_hours(&store).await;
    let to_us = NOW + 230 * MINUTE;
    assert_eq!(usual(&store, to_us), (40, 20, vec![(200, 40), (404, 20)]));

    // Raised four minutes after it began, and still standing.
    let raised = |over| Write::Raised {
        verdict: "v-alarm".to_owned(),
        raised: RaisedRecord {
            began_us: NOW + 200 * MINUTE,
            over,
            false_alarms_a_day: 1e-4,
        },
    };
    let verdict = told("v-alarm", VerdictOutcome::Inconclusive, 204, 0);
    let case_json = b"{}".to_vec();
    let write = Write::Verdict { verdict, case_json };
    store
        .commit(vec![raised(None), write])
        .await
        .expect("stored");
    assert_eq!(usual(&store, to_us), (60, 0, vec![(200, 60)]));
    // It ends, and what came after teaches again.
    let over = Some((NOW + 220 * MINUTE, Ending::Quiet));
    store.commit(vec![raised(over)]).await.expect("stored");
    assert_eq!(usual(&store, to_us), (60, 0, vec![(200, 60)]));
    assert_eq!(usual(&store, NOW + 290 * MINUTE), (60, 0, vec![(200, 60)]));
    // Another service's trouble is none of this one's.
    let other = ServiceName("other.example".into());
    let baselines = store
        .baselines(&other, 60 * MINUTE, 0..to_us)
        .expect("reads");
    assert!(baselines.0.is_empty());
}

#[tokio::test]
async fn a_verdicts_fault_teaches_nothing_until_one_is_healthy() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    five_hours(&store).await;
    let mut fault = told("v-fault", VerdictOutcome::Fault, 205, 1);
    fault.faults = vec![localize::Fault {
        component: localize::Component {
            kind: localize::Kind::Backend,
            name: "web1".to_owned(),
        },
        mode: "http_4xx".to_owned(),
        confidence: 0.99,
        user_impact: true,
        began_at: crate::clock::rfc3339(NOW + 200 * MINUTE),
        pattern: localize::Pattern::Steady,
        period_s: None,
        rate: localize::Rate {
            estimate: 1.0,
            low: 0.9,
            high: 1.0,
        },
        summary: String::new(),
        owner: String::new(),
        evidence: Vec::new(),
        next_step: String::new(),
        rivals: Vec::new(),
    }];
    let healthy = told("v-healthy", VerdictOutcome::Healthy, 225, 0);
    for verdict in [fault, healthy] {
        let case_json = b"{}".to_vec();
        let write = Write::Verdict { verdict, case_json };
        store.commit(vec![write]).await.expect("stored");
    }
    let to_us = NOW + 230 * MINUTE;
    assert_eq!(usual(&store, to_us), (60, 0, vec![(200, 60)]));
}

#[tokio::test]
async fn hours_that_were_added_up_are_left_out_whole() {
    let dir = TempDir::new().expect("folder");
    let store = open(&dir);
    five_hours(&store).await;
    while store.retain(NOW + 2 * DAY).await.expect("forgets") {}
    let verdict = told("v-alarm", VerdictOutcome::Inconclusive, 204, 0);
    let raised = RaisedRecord {
        began_us: NOW + 200 * MINUTE,
        over: Some((NOW + 220 * MINUTE, Ending::Quiet)),
        false_alarms_a_day: 1e-4,
    };
    let writes = vec![
        Write::Raised {
            verdict: verdict.id.clone(),
            raised,
        },
        Write::Verdict {
            verdict,
            case_json: b"{}".to_vec(),
        },
    ];
    store.commit(writes).await.expect("stored");
    let baselines = store.baselines(&shop(), DAY, 0..NOW + DAY).expect("reads");
    let http = baselines.of(&vantage("home1"), &backend_arm("web1"), Layer::Http);
    let http = http.expect("hours without trouble are left");
    assert_eq!(http.failed, 0);
    assert!(http.passed >= 180, "{http:?}");
}
