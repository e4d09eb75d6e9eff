//! The pages in a browser, where Debian's `chromium` is installed: nothing that its console complains of, and
//! a script that follows a localisation to its verdict.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test may fail, skip what it does not wait for, and look at the clock"
)]

mod common;

use std::process::Command;

use common::agent::{Agent, web2_closed};
use common::{Coordinator, SHOP};
use proto::v1::ApplyServiceRequest;

/// A browser in a folder of its own.
struct Browser {
    coordinator: Coordinator,
    profile: tempfile::TempDir,
}

impl Browser {
    /// A page as it is after so many milliseconds of its own time; panics when its console says anything.
    fn open(&self, path: &str, budget_ms: u32) -> String {
        let mut chromium = Command::new("chromium");
        chromium.args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
        ]);
        chromium.args(["--enable-logging=stderr", "--log-level=0"]);
        chromium.arg(format!("--virtual-time-budget={budget_ms}"));
        chromium.arg(format!("--user-data-dir={}", self.profile.path().display()));
        chromium.arg(format!("http://{}{path}", self.coordinator.web.unwrap()));
        let said = chromium.output().unwrap();
        let log = String::from_utf8_lossy(&said.stderr);
        let complaints: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("CONSOLE"))
            .collect();
        assert!(complaints.is_empty(), "{path}: {complaints:?}");
        let page = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(page.contains("</html>"), "{path}: {page}\n{log}");
        page
    }
}

async fn browser() -> Option<Browser> {
    if Command::new("chromium").arg("--version").output().is_err() {
        eprintln!("left out: chromium is not installed");
        return None;
    }
    let coordinator = Coordinator::start_with("web = \"127.0.0.1:0\"");
    let request = ApplyServiceRequest {
        toml: SHOP.to_owned(),
        ca_pem: None,
    };
    let applied = coordinator.operator().await.apply_service(request).await;
    assert_eq!(applied.unwrap().into_inner().result, "created");
    let agent = Agent::connect(&coordinator, "dc1", web2_closed).await;
    tokio::spawn(agent.work());
    let profile = tempfile::tempdir().unwrap();
    Some(Browser {
        coordinator,
        profile,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_follows_a_localisation_and_has_nothing_to_complain_of() {
    let Some(browser) = browser().await else {
        return;
    };
    let (status, head, _) = browser
        .coordinator
        .http("POST", "/services/shop/localize")
        .await;
    assert_eq!(status, 303, "{head}");
    let run = head
        .lines()
        .find_map(|line| line.strip_prefix("location: "))
        .unwrap();
    let page = tokio::task::block_in_place(|| browser.open(run, 60_000));
    assert!(page.contains("<title>Verdict on shop"), "{page}");
    assert!(page.contains("id=\"backend-web2\""), "{page}");

    let rows = [
        ("/", "backend web2"),
        ("/services/shop", "class=\"part blamed\""),
        ("/services/shop/history?layer=tcp", "backend/web2"),
        ("/services/shop/coverage", "Probes a round"),
        ("/verdicts", "backend web2 refuses"),
        ("/agents", "connected"),
        ("/agents/dc1", "inside"),
    ];
    for (path, words) in rows {
        let page = tokio::task::block_in_place(|| browser.open(path, 1_000));
        assert!(page.contains(words), "no {words} in {path}: {page}");
        assert_eq!(page.matches("<h1").count(), 1, "{path}");
    }
}
