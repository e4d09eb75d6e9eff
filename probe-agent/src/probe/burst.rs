//! A burst: connections that are opened at the same instant as a probe's own, just before it, and carry nothing.
//!
//! Who limits how many connections a client has, or how fast it opens them, lets the companions in and the
//! probe not; who loses packets loses the probe's as often as one that is alone.

use std::future::{Future, pending};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use localize::Traits;
use socket2::Socket;
use tokio::time::sleep;

use super::tcp;

/// So long companions are held at most. A kernel sends a SYN again after a second (RFC 6298, section 2.1), so that none
/// of theirs comes with those of later rounds.
const HELD: Duration = Duration::from_millis(500);

/// The companions that a probe with these traits has: made, and bound to the source where one is asked for.
///
/// # Errors
/// What the system says: no descriptor left, or the source is not an address of this host.
pub fn companions(
    traits: Traits,
    to: SocketAddr,
    source: Option<IpAddr>,
) -> io::Result<Vec<Socket>> {
    let companion = |_| tcp::prepare(to, source);
    (1..traits.connections()).map(companion).collect()
}

/// Holds companions open while a probe goes on, but no longer than `HELD`. Closed without a byte they end as
/// connections do that nobody has used (FIN), and those that are not open yet with nothing.
pub async fn beside<T>(companions: Vec<Socket>, probe: impl Future<Output = T>) -> T {
    let held = async {
        sleep(HELD).await;
        drop(companions);
        pending().await
    };
    tokio::select! {
        biased;
        found = probe => found,
        never = held => never,
    }
}
