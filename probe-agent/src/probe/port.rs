//! Source ports that are used again: of each arm that asks for it that of its last connection.
//!
//! The far end must have closed that connection first, or our own kernel would remember it, and would
//! refuse the port for a minute.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use localize::{Arm, REUSE_WITHIN};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::tcp::Gauge;
use crate::clock::{Clock, Local};

/// A connection whose end has not come from the far side after so long is ended by us.
const PATIENCE: Duration = Duration::from_millis(250);

/// An address and port that a connection left from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// The address and port.
    pub local: SocketAddr,
    /// When that connection ended.
    pub ended: Local,
}

/// The last port of each arm. Those older than a minute are dropped, so that there are no more than
/// probes are let through in one.
#[derive(Debug, Default)]
pub struct Ports(Mutex<BTreeMap<Arm, Used>>);

impl Ports {
    /// Hands out the port of an arm's last connection, if that will have ended less than a minute
    /// before `at`. No other probe gets it meanwhile.
    pub fn take(&self, arm: &Arm, at: Local) -> Option<Used> {
        let used = self.ports().remove(arm);
        used.filter(|used| at.since(used.ended) < REUSE_WITHIN)
    }

    /// Keeps a port for the arm's next probe. Of two the one that was used last is kept.
    pub fn keep(&self, arm: &Arm, used: Used) {
        let mut ports = self.ports();
        ports.retain(|_, other| used.ended.since(other.ended) < REUSE_WITHIN);
        let kept = ports.entry(arm.clone()).or_insert(used);
        if kept.ended < used.ended {
            *kept = used;
        }
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<Arm, Used>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to become of a probe's port once the probe is over.
#[derive(Debug)]
pub enum Parting {
    /// Nothing: the arm does not ask for it, or the port is of no more use.
    Done,
    /// No connection was made: the port is as it was.
    Unused(Used),
    /// A connection stands, from this address and port, and its far end is to close it.
    Open(Gauge, SocketAddr),
}

impl Parting {
    /// Waits for the far end to close, and says what may be used again.
    pub async fn wait(self, clock: &Clock) -> Option<Used> {
        match self {
            Self::Done => None,
            Self::Unused(used) => Some(used),
            Self::Open(gauge, local) => {
                let closed = timeout(PATIENCE, gauge.closed_by_peer()).await;
                let ended = clock.now();
                closed.unwrap_or(false).then_some(Used { local, ended })
            }
        }
    }
}

impl Gauge {
    /// Reads whatever still comes, up to the end, and says whether that was the first end to be closed.
    async fn closed_by_peer(&self) -> bool {
        let Some(mut stream) = self.stream() else {
            return false;
        };
        let mut rest = [0; 4096];
        while let Ok(read) = stream.read(&mut rest).await {
            if read == 0 {
                return self.waits_for_close();
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use localize::Target;

    use super::*;

    fn arm(port: u16) -> Arm {
        Arm::to(Target::Vip {
            address: ([192, 0, 2, 1], port).into(),
        })
    }

    fn used(port: u16, ended: u64) -> Used {
        Used {
            local: ([192, 0, 2, 9], port).into(),
            ended: Local(ended),
        }
    }

    #[test]
    fn a_port_is_handed_out_once_and_within_a_minute() {
        let ports = Ports::default();
        ports.keep(&arm(80), used(4000, 10));
        assert_eq!(ports.take(&arm(81), Local(20)), None);
        assert_eq!(ports.take(&arm(80), Local(20)), Some(used(4000, 10)));
        assert_eq!(ports.take(&arm(80), Local(20)), None);
        ports.keep(&arm(80), used(4000, 10));
        assert_eq!(ports.take(&arm(80), Local(60_000_010)), None);
    }

    #[test]
    fn the_last_port_of_each_arm_is_kept_and_no_old_ones() {
        let ports = Ports::default();
        ports.keep(&arm(80), used(4001, 20));
        ports.keep(&arm(80), used(4000, 10));
        ports.keep(&arm(81), used(4002, 60_000_015));
        assert_eq!(
            ports.take(&arm(80), Local(60_000_015)),
            Some(used(4001, 20))
        );
        ports.keep(&arm(80), used(4001, 20));
        ports.keep(&arm(81), used(4003, 60_000_020));
        assert_eq!(ports.ports().len(), 1);
    }
}
