//! The lab's one reader of the operating system's clock.

use std::time::{Duration, Instant};

/// The present instant.
#[expect(
    clippy::disallowed_methods,
    reason = "the lab drives real daemons in real time; this is its one clock"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// Asks again and again until `ready` says yes; false when `limit` passed first.
pub fn wait_until(limit: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let start = now();
    while start.elapsed() < limit {
        if ready() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    ready()
}
