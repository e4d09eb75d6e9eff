//! Handlers in process, against a real engine and a real store.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod described;
mod metrics;
pub(super) mod samples;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use localize::{
    Arm, Facts, Failure, Firing, Layer, Micros, Observation, ObservationId, Outcome, Role, RoundId,
    Stamp, Step, Target, VantageName,
};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::*;
use crate::ca::{Authority, Mesh};
use crate::clock;
use crate::config::Lifetimes;
use crate::engine::{self, Delivery, Fatal, Setup};
use crate::notify;
use crate::store::{AgentRecord, AgentState, RoundRecord, Write};

/// What a name that means harm looks like, where nothing but HTML escapes it.
const HOSTILE: &str = "\"><script>alert(1)</script>";

/// A face on an engine of its own, with one service and one agent that is not connected.
struct Bench {
    router: Router,
    engine: Handle,
    store: Store,
    stop: CancellationToken,
    _folder: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now_us = clock::now_us();
        let store = Store::open(&folder.path().join("store")).unwrap();
        store
            .commit(vec![Write::Agent(agent(now_us))])
            .await
            .unwrap();
        let day = Duration::from_secs(86_400);
        let setup = Setup {
            authority: Arc::new(
                Authority::open(&folder.path().join("ca"), Mesh::Fresh, now_us).unwrap(),
            ),
            lifetimes: Lifetimes {
                agent: day,
                server: day,
                operator: day,
                grace: 30 * day,
            },
            addresses: vec!["127.0.0.1:7443".to_owned()],
            advertised: Vec::new(),
        };
        let (fatal, stop) = (Fatal::default(), CancellationToken::new());
        let started = engine::start(store.clone(), setup, fatal.clone(), stop.clone()).unwrap();
        let engine = started.handle;
        let localiser = Localiser::new(engine.clone(), store.clone(), fatal.clone());
        let settings = notify::Settings::default();
        let notifier = notify::start(engine.clone(), store.clone(), settings, fatal, stop.clone());
        let face = Face::new(
            engine.clone(),
            store.clone(),
            localiser,
            notifier.unwrap().0,
            stop.clone(),
        );
        let strips = face.strips.clone();
        tokio::spawn(strips.follow(engine.clone(), store.clone(), stop.clone()));
        let bench = Self {
            router: face.router(),
            engine,
            store,
            stop,
            _folder: folder,
        };
        bench.apply().await;
        bench
    }

    async fn apply(&self) {
        let toml = samples::SERVICE.to_owned();
        let apply = self.engine.ask(|reply| Event::Apply {
            toml,
            ca_pem: None,
            reply,
        });
        apply.await.unwrap();
    }

    async fn ask(&self, request: Request<Body>) -> (StatusCode, String, Response<()>) {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(text.to_vec()).unwrap();
        (parts.status, text, Response::from_parts(parts, ()))
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let (status, text, _) = self.ask(request(Method::GET, path)).await;
        (status, text)
    }

    async fn page(&self, path: &str) -> String {
        let (status, text) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        text
    }

    async fn json(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.page(path).await).unwrap()
    }

    async fn keep(&self, verdict: &Verdict) {
        let case_json = serde_json::to_vec(&samples::case()).unwrap();
        let write = Write::Verdict {
            verdict: verdict.clone(),
            case_json,
        };
        self.store.commit(vec![write]).await.unwrap();
    }

    /// Observations as an agent's stream brings them: to disk, and then to the engine.
    async fn observe(&self, observations: Vec<Observation>) {
        let writes = observations.iter().cloned().map(Write::Observation);
        self.store.commit(writes.collect()).await.unwrap();
        let recorded = Event::Recorded {
            vantage: VantageName("dc1".to_owned()),
            facts: Delivery {
                observations,
                ..Delivery::default()
            },
            held: Vec::new(),
        };
        self.engine.tell(recorded).await.unwrap();
    }
}

fn request(method: Method, path: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::HOST, "127.0.0.1:7480");
    request.body(Body::empty()).unwrap()
}

fn agent(now_us: u64) -> AgentRecord {
    AgentRecord {
        name: VantageName("dc1".to_owned()),
        role: Role::Inside,
        host: None,
        labels: BTreeMap::from([("site".to_owned(), HOSTILE.to_owned())]),
        state: AgentState::Enrolled,
        certificates: Vec::new(),
        version: format!("0.1.0 {HOSTILE}"),
        last_seen_us: Some(now_us - 90_000_000),
        addresses: Vec::new(),
        resolvers: Vec::new(),
        witness: false,
        witness_trouble: HOSTILE.to_owned(),
        revoked: Vec::new(),
        former: Vec::new(),
        gaps: Vec::new(),
    }
}

/// A probe of web2 that passed, or ended in a time-out.
fn seen(sequence: u64, at_us: u64, passed: bool) -> Observation {
    let address = "10.0.0.52:80".parse().unwrap();
    let target = Target::Backend {
        name: "web2".to_owned(),
        address,
    };
    let step = |layer, us| Step {
        layer,
        took: Micros(us),
    };
    Observation {
        id: ObservationId {
            vantage: VantageName("dc1".to_owned()),
            sequence,
        },
        service: ServiceName("shop.example".to_owned()),
        round: RoundId(sequence),
        arm: Arm::to(target),
        started: Stamp {
            at_us,
            uncertainty_us: 100,
        },
        scheduled_us: at_us,
        firing: Firing::OnTime,
        steps: match passed {
            true => vec![step(Layer::Tcp, 800), step(Layer::Http, 4_200)],
            false => Vec::new(),
        },
        outcome: match passed {
            true => Outcome::Passed,
            false => Outcome::Failed {
                layer: Layer::Tcp,
                failure: Failure::ConnectTimeout,
                after: Micros(2_000_000),
            },
        },
        facts: Facts::default(),
    }
}

#[tokio::test]
async fn it_is_ready_while_the_engine_answers() {
    let bench = Bench::new().await;
    assert_eq!(
        bench.get("/healthz").await,
        (StatusCode::OK, "ok\n".to_owned())
    );
    assert_eq!(
        bench.get("/readyz").await,
        (StatusCode::OK, "ready\n".to_owned())
    );
    bench.stop.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.get("/healthz").await.0, StatusCode::OK);
    let (status, why) = bench.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(why.contains("shutting down"), "{why}");
}

#[tokio::test]
async fn the_api_says_what_meshctl_prints() {
    let bench = Bench::new().await;
    bench.keep(&samples::fault()).await;
    let services = bench.json("/api/v1/services").await;
    assert_eq!(services[0]["name"], "shop.example");
    assert_eq!(
        bench.json("/api/v1/services/shop.example").await,
        services[0]
    );
    let agents = bench.json("/api/v1/agents").await;
    assert_eq!(
        (&agents[0]["name"], &agents[0]["state"]),
        (&"dc1".into(), &"disconnected".into())
    );
    let verdicts = bench.json("/api/v1/verdicts?service=shop.example").await;
    assert_eq!(
        verdicts,
        serde_json::json!([serde_json::to_value(samples::fault()).unwrap()])
    );
    assert_eq!(bench.json("/api/v1/verdicts/v-7f3a").await, verdicts[0]);
    assert_eq!(bench.json("/api/v1/status").await["services"], 1);
    let parts = bench.json("/api/v1/services/shop.example/coverage").await;
    assert!(
        parts
            .as_array()
            .unwrap()
            .iter()
            .any(|part| part["component"]["name"] == "web2")
    );
    assert_eq!(
        bench.json("/api/v1/verdicts?service=other").await,
        serde_json::json!([])
    );
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_form_that_was_asked_for() {
    let bench = Bench::new().await;
    let rows = [
        (
            "/api/v1/services/other",
            StatusCode::NOT_FOUND,
            "there is no service other",
        ),
        (
            "/api/v1/verdicts/v-none",
            StatusCode::NOT_FOUND,
            "there is no verdict v-none",
        ),
        (
            "/api/v1/agents/other",
            StatusCode::NOT_FOUND,
            "there is no agent other",
        ),
        (
            "/api/v1/verdicts?limit=many",
            StatusCode::BAD_REQUEST,
            "limit",
        ),
        (
            "/verdicts?service=a&service=b",
            StatusCode::BAD_REQUEST,
            "service",
        ),
        ("/services/%ff", StatusCode::BAD_REQUEST, "UTF-8"),
        (
            "/services/shop.example/localize",
            StatusCode::NOT_FOUND,
            "nothing at this address",
        ),
        (
            "/api/v1/nothing",
            StatusCode::NOT_FOUND,
            "nothing at this address",
        ),
        (
            "/services/other",
            StatusCode::NOT_FOUND,
            "here is no service other",
        ),
        (
            "/verdicts/v-none",
            StatusCode::NOT_FOUND,
            "here is no verdict v-none",
        ),
        (
            "/runs/r-none",
            StatusCode::NOT_FOUND,
            "here is no localisation r-none",
        ),
        (
            "/services/shop.example/history?range=2y",
            StatusCode::BAD_REQUEST,
            "here is no range",
        ),
        ("/probe", StatusCode::BAD_REQUEST, "the target is missing"),
        (
            "/probe?target=shop.example&module=icmp",
            StatusCode::BAD_REQUEST,
            "no module",
        ),
        (
            "/probe?target=other",
            StatusCode::NOT_FOUND,
            "here is no service other",
        ),
        (
            "/probe?target=shop.example",
            StatusCode::CONFLICT,
            "no agent is connected",
        ),
        ("/nothing", StatusCode::NOT_FOUND, "nothing at this address"),
    ];
    for (path, status, words) in rows {
        let (answered, text) = bench.get(path).await;
        assert_eq!(answered, status, "{path}: {text}");
        assert!(text.contains(words), "{path}: {text}");
        let is_json = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        assert_eq!(is_json, path.starts_with("/api/"), "{path}: {text}");
        let is_page = text.starts_with("<!doctype html>");
        assert_eq!(
            is_page,
            !path.starts_with("/api/") && !path.starts_with("/probe"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_fault_is_told_on_every_page_that_speaks_of_it() {
    let bench = Bench::new().await;
    bench.keep(&samples::fault()).await;
    let round = |number, failed| RoundRecord {
        service: ServiceName("shop.example".to_owned()),
        round: RoundId(number),
        fire_at_us: clock::now_us(),
        expected: 9,
        received: 9,
        failed,
        skew_us: 0,
        worst_uncertainty_us: 0,
    };
    bench
        .store
        .commit(vec![Write::Round(round(1, 4))])
        .await
        .unwrap();
    let overview = bench.page("/").await;
    for words in [
        "backend web2",
        "http_5xx",
        "98%",
        "users are affected",
        "whoever runs the application on web2",
    ] {
        assert!(overview.contains(words), "no {words} in\n{overview}");
    }
    let service = bench.page("/services/shop.example").await;
    let blamed = "href=\"/verdicts/v-7f3a#backend-web2\"";
    // In the picture for wide screens, and in that for narrow ones.
    assert_eq!(service.matches(blamed).count(), 2, "{service}");
    assert!(service.contains("class=\"part blamed\""), "{service}");
    assert!(service.contains("action=\"/services/shop.example/localize\""));
    let verdict = bench.page("/verdicts/v-7f3a").await;
    for words in [
        "id=\"backend-web2\"",
        "13 of 32 requests failed",
        "would have seen hardly any of 32 requests fail",
        "Read the error log of the application on web2",
        "home1 and home2 passed it in 96 of 96 probes",
        "24 rounds and 612 probes from dc1, home1, home2",
    ] {
        assert!(verdict.contains(words), "no {words} in\n{verdict}");
    }
    assert!(
        bench
            .page("/verdicts")
            .await
            .contains("backend web2 http_5xx, 98% sure")
    );
    assert!(
        bench
            .page("/services/shop.example/coverage")
            .await
            .contains("web2")
    );
    assert!(bench.page("/agents").await.contains("disconnected"));
    assert!(bench.page("/agents/dc1").await.contains("site="));
}

#[tokio::test]
async fn a_report_needs_nothing_else() {
    let bench = Bench::new().await;
    bench.keep(&samples::fault()).await;
    let (status, text, answer) = bench
        .ask(request(Method::GET, "/verdicts/v-7f3a/report.html"))
        .await;
    assert_eq!(status, StatusCode::OK);
    let disposition = answer.headers()[header::CONTENT_DISPOSITION]
        .to_str()
        .unwrap();
    assert_eq!(disposition, "attachment; filename=\"v-7f3a.html\"");
    assert!(text.contains("class=\"part blamed\"") && text.contains("href=\"#backend-web2\""));
    for outside in ["src=", "<link", "<script", "href=\"/", "http://", "url("] {
        assert!(!text.contains(outside), "{outside} in a report");
    }
}

#[tokio::test]
async fn hostile_words_stay_words() {
    let bench = Bench::new().await;
    let mut verdict = samples::fault();
    let odd = || HOSTILE.to_owned();
    verdict.id = "v-odd".to_owned();
    verdict.faults[0].component.name = odd();
    verdict.faults[0].summary = odd();
    verdict.faults[0].mode = odd();
    verdict.faults[0].evidence[0].text = odd();
    verdict.faults[0].rivals[0].because = odd();
    verdict.exonerated[0].component.name = odd();
    verdict.exonerated[0].because = odd();
    verdict.alternatives[0].component.name = odd();
    verdict.ask = vec![odd()];
    verdict.standing = vec![odd()];
    verdict.vantages = vec![odd()];
    bench.keep(&verdict).await;
    for path in [
        "/",
        "/services/shop.example",
        "/verdicts",
        "/verdicts/v-odd",
        "/verdicts/v-odd/report.html",
        "/agents",
        "/agents/dc1",
        "/services/shop.example/coverage",
    ] {
        let page = bench.page(path).await;
        assert!(!page.contains("<script>alert"), "{path}");
        assert!(!page.contains("\"><script"), "{path}");
    }
    let (_, page) = bench
        .get("/services/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E")
        .await;
    assert!(
        page.contains("here is no service") && !page.contains("<script>alert"),
        "{page}"
    );
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let bench = Bench::new().await;
    for path in ["/", "/style.css", "/api/v1/status", "/metrics", "/nothing"] {
        let (_, _, answer) = bench.ask(request(Method::GET, path)).await;
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(
            answer.headers()[header::X_CONTENT_TYPE_OPTIONS],
            "nosniff",
            "{path}"
        );
    }
    let mut rebound = request(Method::GET, "/");
    rebound
        .headers_mut()
        .insert(header::HOST, "evil.example".parse().unwrap());
    assert_eq!(bench.ask(rebound).await.0, StatusCode::MISDIRECTED_REQUEST);
    let mut foreign = request(Method::POST, "/services/shop.example/localize");
    foreign
        .headers_mut()
        .insert(header::ORIGIN, "https://evil.example".parse().unwrap());
    assert_eq!(bench.ask(foreign).await.0, StatusCode::FORBIDDEN);
    let own = request(Method::POST, "/services/shop.example/localize");
    let (status, text, _) = bench.ask(own).await;
    assert_eq!(status, StatusCode::CONFLICT, "{text}");
    assert!(text.contains("o agent is connected"), "{text}");
}

/// No page may ask for what its own policy forbids.
#[tokio::test]
async fn pages_hold_no_inline_style_or_script() {
    let bench = Bench::new().await;
    bench.keep(&samples::fault()).await;
    for path in [
        "/",
        "/services/shop.example",
        "/verdicts/v-7f3a",
        "/services/shop.example/history",
        "/agents",
    ] {
        let page = bench.page(path).await;
        for forbidden in ["style=", "<style", "onclick", "javascript:", "<script>"] {
            assert!(!page.contains(forbidden), "{forbidden} in {path}");
        }
    }
}

#[tokio::test]
async fn history_draws_what_the_windows_hold() {
    let bench = Bench::new().await;
    let now_us = clock::now_us();
    let passed = (1..=3).map(|sequence| seen(sequence, now_us, true));
    bench
        .observe(passed.chain([seen(4, now_us, false)]).collect())
        .await;
    let page = bench.page("/services/shop.example/history?layer=tcp").await;
    assert!(page.contains("<strong>backend/web2</strong>"), "{page}");
    assert!(
        page.contains("1 of 4 failed (25%)") && page.contains("1 connect_timeout"),
        "{page}"
    );
    let page = bench
        .page("/services/shop.example/history?layer=http&arm=backend%2Fweb2")
        .await;
    assert!(page.contains("none failed"), "{page}");
    let page = bench
        .page("/services/shop.example/history?vantage=home1")
        .await;
    assert!(page.contains("No probe reached this layer"), "{page}");
}
