//! The pages in a browser, where Debian's `chromium` is installed: nothing that its console complains of, and
//! a script that follows a localisation to its verdict.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test may fail, skip what it does not wait for, and look at the clock"
)]

#[path = "common/browser.rs"]
#[allow(dead_code, reason = "shared with another test and a benchmark")]
mod browser;
mod common;

use browser::Browser;
use common::agent::{Agent, web2_closed};
use common::{Coordinator, SHOP};
use proto::v1::ApplyServiceRequest;
use tokio::task::block_in_place;

async fn broken() -> Coordinator {
    let coordinator = Coordinator::start_with("web = \"127.0.0.1:0\"");
    let request = ApplyServiceRequest {
        toml: SHOP.to_owned(),
        ca_pem: None,
    };
    let applied = coordinator.operator().await.apply_service(request).await;
    assert_eq!(applied.unwrap().into_inner().result, "created");
    let agent = Agent::connect(&coordinator, "dc1", web2_closed).await;
    tokio::spawn(agent.work());
    coordinator
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_follows_a_localisation_and_has_nothing_to_complain_of() {
    let Some(mut browser) = block_in_place(Browser::start) else {
        return;
    };
    let coordinator = broken().await;
    let page = |path: &str| format!("http://{}{path}", coordinator.web.unwrap());
    block_in_place(|| {
        browser.open(&page("/services/shop"));
        browser.evaluate("document.querySelector('button').click()");
        browser.wait_for("document.title.startsWith('Verdict on shop')");
        let blamed = browser.evaluate("document.querySelectorAll('#backend-web2').length");
        assert_eq!(blamed, 1);
    });

    let rows = [
        ("/", "backend web2"),
        ("/services/shop", "class=\"part blamed\""),
        ("/services/shop/history?layer=tcp", "backend/web2"),
        ("/services/shop/coverage", "Probes a round"),
        ("/verdicts", "backend web2 refuses"),
        ("/agents", "connected"),
        ("/agents/dc1", "inside"),
    ];
    block_in_place(|| {
        for (path, words) in rows {
            browser.open(&page(path));
            let html = browser.evaluate("document.documentElement.outerHTML");
            let html = html.as_str().unwrap();
            assert!(html.contains(words), "no {words} in {path}: {html}");
            assert_eq!(html.matches("<h1").count(), 1, "{path}");
        }
        assert_eq!(browser.complaints(), [""; 0]);
    });
}
