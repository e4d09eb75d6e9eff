//! The pages in Debian's `chromium`, on a store that holds a service in every state: everybody can use them, on
//! a desk, on a phone and on paper, and the segment that they show in red is the one that is blamed.
//!
//! What can be told of that by rules is asked of axe-core (`tests/axe`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test may fail, and look at the clock"
)]

#[path = "common/browser.rs"]
#[allow(dead_code, reason = "shared with another test and a benchmark")]
mod browser;
#[path = "common/showroom.rs"]
#[allow(dead_code, reason = "shared with a benchmark")]
mod showroom;

use browser::Browser;
use coordinator::clock::now_us;
use localize::Kind::{
    self, AuthoritativeDns, Backend, CdnOriginPath, LbBackendPath, LoadBalancer, ReturnPath,
};
use serde_json::Value;
use showroom::{LONG, Showroom};
use tokio::task::block_in_place;

const AXE: &str = include_str!("axe/axe.min.js");
/// What axe finds serious or worse, each with the first elements that it is about.
const SERIOUS: &str = "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations
    .filter(rule => ['serious', 'critical'].includes(rule.impact))
    .map(rule => rule.id + ': ' + rule.nodes.slice(0, 3).map(node => node.html + ' ' + node.failureSummary).join(' | ')))";
/// What is wider than the screen, and text that is squeezed into a column of letters.
const SQUEEZED: &str = "(() => {
    const wide = document.documentElement.scrollWidth > innerWidth ? ['wider than the screen'] : [];
    const cells = [...document.querySelectorAll('td, th, dd, p')].filter(cell => cell.getClientRects().length);
    const narrow = cells.filter(cell => cell.innerText.length > 24 && cell.getBoundingClientRect().width < 110);
    return wide.concat(narrow.slice(0, 3).map(cell => cell.outerHTML));
})()";
/// Notes which controls there are; the tabulator then strikes out whichever it comes to.
const CONTROLS: &str =
    "window.left = new Set([...document.querySelectorAll('a[href], button, select, input')]
    .filter(control => control.getClientRects().length)), left.size";
const STRIKE_OUT: &str = "left.delete(document.activeElement), left.size";
const LEFT: &str = "[...left].slice(0, 3).map(control => control.outerHTML)";

fn pages() -> Vec<String> {
    let paths = [
        "/",
        "/services/shop.example",
        "/services/well.example",
        "/services/new.example",
        "/services/unclear.example",
        "/services/shop.example/history",
        "/services/shop.example/history?range=30d&layer=tcp&beside=day",
        "/services/shop.example/coverage",
        "/verdicts",
        "/verdicts/v-shop",
        "/verdicts/v-many",
        "/verdicts/v-unclear",
        "/verdicts/v-well",
        "/agents",
        "/agents/dc1",
        "/nothing",
    ];
    let long = format!("/services/{LONG}");
    paths.into_iter().map(str::to_owned).chain([long]).collect()
}

fn list(value: &Value) -> Vec<&str> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_str().unwrap()).collect()
}

/// The report of a verdict as a file, as somebody has it who has nothing else.
async fn report(showroom: &Showroom, id: &str, folder: &tempfile::TempDir) -> String {
    let verdict = showroom.store.verdict(id).unwrap().unwrap();
    let case = showroom.store.case(id).unwrap();
    let html = coordinator::web::report(&verdict, None, case.as_deref(), now_us()).unwrap();
    let file = folder.path().join(format!("{id}.html"));
    std::fs::write(&file, html).unwrap();
    format!("file://{}", file.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_can_use_every_page() {
    let Some(mut browser) = block_in_place(Browser::start) else {
        return;
    };
    let showroom = Showroom::open(showroom::everything(now_us())).await;
    let folder = tempfile::tempdir().unwrap();
    let mut urls: Vec<String> = pages().iter().map(|path| showroom.url(path)).collect();
    for id in ["v-shop", "v-many", "v-unclear"] {
        urls.push(report(&showroom, id, &folder).await);
    }
    block_in_place(|| {
        for url in &urls {
            for (width, scheme) in [(1440, "light"), (1440, "dark"), (390, "dark")] {
                browser.look(width, scheme);
                browser.open(url);
                let squeezed = browser.evaluate(SQUEEZED);
                assert_eq!(list(&squeezed), [""; 0], "{url} at {width}");
                browser.evaluate(AXE);
                let serious = browser.evaluate(SERIOUS);
                assert_eq!(list(&serious), [""; 0], "{url} at {width}, {scheme}");
            }
            for width in [1024, 320] {
                browser.look(width, "light");
                let squeezed = browser.evaluate(SQUEEZED);
                assert_eq!(list(&squeezed), [""; 0], "{url} at {width}");
            }
        }
        let mut complaints = browser.complaints();
        // Whoever asks for nothing gets it.
        complaints.retain(|complaint| !complaint.contains("404"));
        assert_eq!(complaints, [""; 0]);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyboard_reaches_every_control() {
    let Some(mut browser) = block_in_place(Browser::start) else {
        return;
    };
    let showroom = Showroom::open(showroom::everything(now_us())).await;
    block_in_place(|| {
        for path in [
            "/",
            "/services/shop.example",
            "/services/shop.example/history",
            "/verdicts/v-shop",
        ] {
            browser.look(1440, "light");
            browser.open(&showroom.url(path));
            let controls = browser.evaluate(CONTROLS).as_u64().unwrap();
            assert!(controls > 4, "{path}");
            let mut left = controls;
            for _ in 0..controls + 2 {
                browser.tab();
                left = browser.evaluate(STRIKE_OUT).as_u64().unwrap();
            }
            assert_eq!(left, 0, "{path}: {}", browser.evaluate(LEFT));
        }
    });
}

/// What is drawn in the colour of blame, by the names that are read out for it: of the picture for a desk
/// and of that for a phone.
const RED: &str = "['.wide-path', '.tall-path'].map(picture => [...document.querySelectorAll(
        picture + ' .part, ' + picture + ' .way')]
    .filter(part => getComputedStyle(part).stroke === 'rgb(179, 38, 30)')
    .map(part => part.closest('a').getAttribute('aria-label')))";

#[tokio::test(flavor = "multi_thread")]
async fn the_red_segment_is_the_right_one() {
    let Some(mut browser) = block_in_place(Browser::start) else {
        return;
    };
    let rows: [(&str, Option<(Kind, &str)>); 9] = [
        (
            "authoritative-refuses-bare",
            Some((AuthoritativeDns, "192.0.2.53")),
        ),
        ("backend-closed-bare", Some((Backend, "web1"))),
        (
            "balancer-dead-bare",
            Some((LoadBalancer, "203.0.113.10:443")),
        ),
        (
            "edge-cut-off-bare",
            Some((CdnOriginPath, "198.51.100.11->203.0.113.10:443")),
        ),
        (
            "return-route-balancer-full",
            Some((ReturnPath, "web1->10.0.9.10")),
        ),
        (
            "path-loses-syns-full",
            Some((LbBackendPath, "203.0.113.10:443->web2")),
        ),
        ("backend-resets-full", Some((Backend, "web3"))),
        ("backend-drops-syns-full", Some((Backend, "web2"))),
        ("path-loses-syns-bare", None),
    ];
    let folder = tempfile::tempdir().unwrap();
    block_in_place(|| {
        browser.look(1440, "light");
        for (name, expected) in rows {
            let (verdict, case) = showroom::recorded("shop.example", name, now_us());
            let html = coordinator::web::report(&verdict, None, Some(&case), now_us()).unwrap();
            let file = folder.path().join("report.html");
            std::fs::write(&file, html).unwrap();
            browser.open(&format!("file://{}", file.display()));
            let red = browser.evaluate(RED);
            for picture in red.as_array().unwrap() {
                let red = list(picture);
                match expected {
                    None => assert_eq!(red, [""; 0], "{name}"),
                    Some((kind, part)) => {
                        let words = format!("{} {part}, blamed", proto::words::kind(kind));
                        assert!(
                            red.len() == 1 && red[0].starts_with(&words),
                            "{name}: {red:?}"
                        );
                    }
                }
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_takes_two_sheets_of_paper() {
    let Some(mut browser) = block_in_place(Browser::start) else {
        return;
    };
    let showroom = Showroom::open(showroom::everything(now_us())).await;
    let folder = tempfile::tempdir().unwrap();
    for id in ["v-shop", "v-many", "v-balancer"] {
        let url = report(&showroom, id, &folder).await;
        block_in_place(|| {
            browser.open(&url);
            let sheets = browser.sheets();
            assert!((1..=2).contains(&sheets), "{id}: {sheets}");
        });
    }
}

/// As if somebody came back to the page, who is told at once.
const LOOK: &str = "document.dispatchEvent(new Event('visibilitychange'))";

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_stays_true() {
    let Some(mut browser) = block_in_place(Browser::start) else {
        return;
    };
    let now_us = now_us();
    let showroom = Showroom::open(showroom::everything(now_us)).await;
    let service = "document.querySelector('a[href=\"/services/new.example\"]')";
    block_in_place(|| {
        browser.look(1440, "light");
        browser.open(&showroom.url("/"));
        let said = browser.evaluate("document.body.innerText.includes('Not looked at')");
        assert_eq!(said, true);
        browser.evaluate(&format!("{service}.focus()"));
    });
    showroom.keep(showroom::found("new.example", now_us)).await;
    block_in_place(|| {
        browser.evaluate(LOOK);
        browser.wait_for("!document.body.innerText.includes('Not looked at')");
        let focus = browser.evaluate(&format!("document.activeElement === {service}"));
        assert_eq!(focus, true, "the focus stays where it was");
    });
    drop(showroom);
    block_in_place(|| {
        let lost = format!("{LOOK}, document.body.innerText.includes('no answer since')");
        browser.wait_for(&lost);
    });
}
