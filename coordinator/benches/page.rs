//! What the pages cost: from the click to the first paint of the overview of a hundred services, and of a
//! month's history, in Debian's `chromium`; and how long the coordinator takes of that.
//!
//! ```sh
//! cargo bench -p coordinator --bench page             # the figures
//! cargo bench -p coordinator --bench page -- open     # a page of everything, to be looked at, until Ctrl-C
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock"
)]

#[path = "../tests/common/browser.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod browser;
#[path = "../tests/common/showroom.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod showroom;

use std::env;

use browser::Browser;
use coordinator::clock::now_us;
use showroom::{HOUR_US, MINUTE_US, Showroom};

const RUNS: usize = 9;
const SERVICES: u64 = 100;
/// A month in hours, but for its last day, which is kept in minutes.
const HOURS: u64 = 29 * 24;
const MINUTES: u64 = 24 * 60;

#[tokio::main]
async fn main() {
    if env::args().any(|word| word == "open") {
        let showroom = Showroom::open(showroom::everything(now_us())).await;
        println!("{}", showroom.url("/"));
        tokio::signal::ctrl_c().await.unwrap();
        return;
    }
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let now_us = now_us();
    let mut writes = showroom::many(SERVICES, now_us);
    let name = "service-000.example";
    writes.extend(showroom::history(
        name,
        now_us,
        HOURS,
        HOUR_US,
        MINUTES * MINUTE_US,
    ));
    writes.extend(showroom::history(name, now_us, MINUTES, MINUTE_US, 0));
    let showroom = Showroom::open(writes).await;
    let rows = [
        ("overview of 100 services", "/".to_owned()),
        ("one service", format!("/services/{name}")),
        (
            "history of 30 days",
            format!("/services/{name}/history?range=30d"),
        ),
        (
            "history of 24 hours",
            format!("/services/{name}/history?range=24h"),
        ),
    ];
    println!(
        "{:<26} {:>12} {:>12} {:>9}",
        "page", "server ms", "paint ms", "kB"
    );
    for (what, path) in rows {
        let url = showroom.url(&path);
        tokio::task::block_in_place(|| row(&mut browser, what, &url));
    }
}

/// Medians of some visits, the first of which only warms up.
fn row(browser: &mut Browser, what: &str, url: &str) {
    let timing = "(() => {
        const page = performance.getEntriesByType('navigation')[0];
        const paint = performance.getEntriesByName('first-contentful-paint')[0];
        return [page.responseEnd - page.requestStart, paint ? paint.startTime : 0, page.decodedBodySize / 1000];
    })()";
    let mut seen: Vec<Vec<f64>> = Vec::new();
    browser.look(1440, "light");
    for run in 0..=RUNS {
        browser.open(url);
        let frame = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50))))";
        browser.evaluate(frame);
        let timing = browser.evaluate(timing);
        if run > 0 {
            seen.push(serde_json::from_value(timing).unwrap());
        }
    }
    let median = |column: usize| {
        let mut column: Vec<f64> = seen.iter().map(|run| run[column]).collect();
        column.sort_by(f64::total_cmp);
        column[column.len() / 2]
    };
    println!(
        "{what:<26} {:>12.0} {:>12.0} {:>9.0}",
        median(0),
        median(1),
        median(2)
    );
}
