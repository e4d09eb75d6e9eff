//! Synchronised firing: one thread that wakes at the instant and does nothing but connect and send.
//!
//! Everything that takes time is done before: sockets are made and bound, packets encoded. The thread
//! belongs to no runtime, so that a busy agent does not move the instant.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use localize::{Firing, Micros};
use socket2::Socket;
use tokio::sync::oneshot;

use crate::clock::{Clock, Local};

/// What firing an arm comes to: one system call, or one for each connection of a burst.
#[derive(Debug)]
pub enum Charge {
    /// Start the TCP handshake on a non-blocking socket.
    Connect {
        /// Made, and bound where a source was asked for.
        socket: Socket,
        /// Where to.
        to: SocketAddr,
        /// Those whose handshakes are started just before, to the same target.
        companions: Vec<Socket>,
    },
    /// Send a datagram on a connected, non-blocking socket.
    Send {
        /// Made, bound where a source was asked for, and connected.
        socket: Socket,
        /// The datagram.
        packet: Vec<u8>,
    },
    /// The socket could not be prepared; its error is what the probe reports.
    Broken(io::Error),
}

/// What came of a charge.
#[derive(Debug)]
pub struct Fired {
    /// When the call was made.
    pub at: Local,
    /// Time until the call was done: the packet left within it, for the thread may have been
    /// preempted between reading the clock and the call.
    pub blur: Micros,
    /// The local address right after the call, where there is one.
    pub local: Option<SocketAddr>,
    /// The socket on its way, or the error of the call.
    pub socket: io::Result<Socket>,
    /// The companions on their way.
    pub companions: Vec<Socket>,
}

/// A charge and who waits for it.
#[derive(Debug)]
pub struct Armed {
    /// What is to be fired.
    pub charge: Charge,
    /// Where it is reported.
    pub fired: oneshot::Sender<Fired>,
}

/// All charges of one round.
#[derive(Debug)]
pub struct Salvo {
    /// When.
    pub at: Local,
    /// What.
    pub arms: Vec<Armed>,
}

/// A probe that left within this time of its instant is on time, in microseconds.
pub const TOLERANCE_US: u64 = 5_000;

/// Whether a probe fired at `fired` left at `at`; `announced` is when the agent heard of it.
#[must_use]
pub fn firing(at: Local, fired: Local, announced: Local) -> Firing {
    let by = fired.since(at);
    if by.0 <= TOLERANCE_US {
        return Firing::OnTime;
    }
    let why = if announced > at {
        "the announcement came after the instant"
    } else {
        "the host was too busy to wake the agent in time"
    };
    Firing::Late {
        by,
        why: why.to_owned(),
    }
}

/// Hands salvos to the firing thread, which ends when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Trigger {
    salvos: SyncSender<Salvo>,
}

/// The firing thread takes no more salvos.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// The thread is behind by as many salvos as rounds may be in flight.
    #[error("the firing thread is behind")]
    Behind,
    /// The thread has ended.
    #[error("the firing thread has ended")]
    Ended,
}

/// As many salvos as rounds may be in flight, so that a salvo always finds room.
const QUEUE: usize = 64;

impl Trigger {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(clock: Arc<Clock>) -> io::Result<Self> {
        let (salvos, inbox) = mpsc::sync_channel(QUEUE);
        thread::Builder::new()
            .name("fire".to_owned())
            .spawn(move || run(&clock, &inbox))?;
        Ok(Self { salvos })
    }

    /// Hands over a salvo. One whose instant has passed is fired at once.
    ///
    /// # Errors
    /// When the thread is behind or has ended; the waiting sides see their channel close.
    pub fn load(&self, salvo: Salvo) -> Result<(), TriggerError> {
        self.salvos.try_send(salvo).map_err(|error| match error {
            TrySendError::Full(_) => TriggerError::Behind,
            TrySendError::Disconnected(_) => TriggerError::Ended,
        })
    }
}

/// Between taking up the precise sleep and the instant the thread hears of no other salvo; this is
/// short beside the tolerance and long beside the wake-up error of the imprecise wait.
const GUARD: Duration = Duration::from_millis(2);

fn run(clock: &Clock, inbox: &Receiver<Salvo>) {
    // The default slack of 50 µs would blur the instant; a kernel that refuses leaves it there.
    if let Err(errno) = nix::sys::prctl::set_timerslack(1) {
        tracing::debug!(%errno, "timer slack stays as it is");
    }
    let mut waiting: BTreeMap<Local, Vec<Salvo>> = BTreeMap::new();
    loop {
        let next = waiting.keys().next().copied();
        let heard = match next {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => inbox.recv_timeout(clock.now().until(at).saturating_sub(GUARD)),
        };
        match (heard, next) {
            (Ok(salvo), _) => waiting.entry(salvo.at).or_default().push(salvo),
            (Err(RecvTimeoutError::Disconnected), _) | (Err(RecvTimeoutError::Timeout), None) => {
                return;
            }
            (Err(RecvTimeoutError::Timeout), Some(at)) => {
                clock.sleep_until(at);
                for salvo in waiting.remove(&at).unwrap_or_default() {
                    shoot(clock, salvo);
                }
            }
        }
    }
}

fn shoot(clock: &Clock, salvo: Salvo) {
    for armed in salvo.arms {
        // Nobody waits when the agent is ending; then the socket is simply closed.
        let _ = armed.fired.send(pull(clock, armed.charge));
    }
}

fn pull(clock: &Clock, charge: Charge) -> Fired {
    let mut under_way = Vec::new();
    let mut at = clock.now();
    let (socket, outcome) = match charge {
        Charge::Connect {
            socket,
            to,
            companions,
        } => {
            under_way = companions;
            // One that cannot leave is one fewer, and says nothing of the path.
            under_way.retain(|companion| start(companion, to).is_ok());
            at = clock.now();
            let outcome = start(&socket, to);
            (socket, outcome)
        }
        Charge::Send { socket, packet } => {
            let outcome = socket.send(&packet).map(drop);
            (socket, outcome)
        }
        Charge::Broken(error) => {
            return Fired {
                at,
                blur: Micros(0),
                local: None,
                socket: Err(error),
                companions: Vec::new(),
            };
        }
    };
    let blur = clock.now().since(at);
    let local = socket.local_addr().ok().and_then(|local| local.as_socket());
    Fired {
        at,
        blur,
        local: local.filter(|local| local.port() != 0),
        socket: outcome.map(|()| socket),
        companions: under_way,
    }
}

/// Starts the handshake of a non-blocking socket; it is under way when the call says so.
///
/// # Errors
/// What connect(2) says at once.
pub fn start(socket: &Socket, to: SocketAddr) -> io::Result<()> {
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_told_with_its_reason() {
        let at = Local(1_000_000);
        let on_time = Local(1_005_000);
        let late = Local(1_005_001);
        assert_eq!(firing(at, on_time, Local(0)), Firing::OnTime);
        assert_eq!(firing(at, Local(999_999), Local(0)), Firing::OnTime);
        let rows = [(Local(0), "busy"), (Local(1_000_001), "announcement")];
        for (announced, word) in rows {
            let Firing::Late { by, why } = firing(at, late, announced) else {
                panic!("{announced:?} is late");
            };
            assert_eq!(by, Micros(5_001));
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn salvos_leave_in_the_order_of_their_instants() {
        let clock = Arc::new(Clock::start());
        let trigger = Trigger::start(Arc::clone(&clock)).unwrap();
        let start = clock.now();
        let mut waiting = Vec::new();
        for millis in [60, 20, 0, 40] {
            let (fired, wait) = oneshot::channel();
            let charge = Charge::Broken(io::Error::other("nothing to fire"));
            let at = start.after(Duration::from_millis(millis));
            let arms = vec![Armed { charge, fired }];
            trigger.load(Salvo { at, arms }).unwrap();
            waiting.push((at, wait));
        }
        for (at, wait) in waiting {
            let fired = wait.blocking_recv().unwrap();
            assert!(fired.at >= at, "{at:?}: {fired:?}");
            // A test host may be busy; within the tolerance is what a round needs.
            assert!(fired.at.since(at).0 < 20_000, "{at:?}: {fired:?}");
        }
    }
}
