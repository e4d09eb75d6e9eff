//! The passive witness: which handshakes pass this host, by which interface and which way.
//!
//! A witness tells a server that did not answer from an answer that got lost, which no probe can.
//! It looks at the TCP ports of the services alone, and at handshakes and ends alone; no payload
//! leaves it. The headers of the last minute are kept for the case that the coordinator asks for those of a
//! connection whose probe failed. Beside that it reads what the host's kernel counts, which needs no privilege
//! and goes on where nothing may be captured.

mod filter;
mod flows;
mod kernel;
#[cfg(test)]
mod lab;
mod parse;
mod queues;
mod ring;
mod sys;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use localize::{FlowSighting, HostReading, PacketHeaders, Stamp, VantageName};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use self::filter::{MAX_PORTS, SNAP_LENGTH};
use self::flows::{FlowTable, Sighted};
use self::kernel::Kernel;
use self::parse::SegmentKind;
use self::ring::Ring;
use self::sys::Capture;

/// Batches that wait for the reader. While it is full the stretch under way simply goes on, so that
/// a slow reader costs resolution in time and no packet.
const WAITING_BATCHES: usize = 8;

/// How long the thread waits for a packet before it looks whether it is still wanted, and for which
/// ports.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// The pause after each read. The kernel stamps the packets, so that reading them late costs
/// nothing, and a flood wakes the thread 500 times a second instead of once a packet.
const PAUSE: Duration = Duration::from_millis(2);

/// Packets read in one go, so that a flood does not keep the thread from its other duties.
const MOST_READ: usize = 4096;

/// What the witness is to do.
#[derive(Debug)]
pub struct WitnessConfig {
    /// The TCP ports to watch, as they are at the time; none means nothing is seen.
    pub ports: watch::Receiver<BTreeSet<u16>>,
    /// The vantage point, for the log.
    pub name: VantageName,
    /// The length of a stretch.
    pub interval: Duration,
    /// Ends of connections whose packets are asked for.
    pub wanted: mpsc::Receiver<Vec<SocketAddr>>,
}

/// What was seen in one stretch of time; see [`localize::WitnessReport`]. One comes for every
/// stretch, also when nothing was seen: silence must be told from blindness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessBatch {
    /// Start of the stretch.
    pub from: Stamp,
    /// Its end, and the start of the next.
    pub to: Stamp,
    /// Packets and flows that were missed. When it is not zero, silence proves nothing.
    pub dropped: u64,
    /// The flows seen, sorted by client and server.
    pub flows: Vec<FlowSighting>,
    /// What the host's kernel counted.
    pub host: HostReading,
    /// Packets that were asked for.
    pub packets: Vec<PacketHeaders>,
}

/// The host does not let us watch.
#[derive(Debug, Error)]
pub enum WitnessError {
    /// The process may not capture.
    #[error(
        "this process lacks the capability CAP_NET_RAW, which a witness needs: install the systemd \
         drop-in witness.conf, or run `setcap cap_net_raw+ep` on the mesh-agent program"
    )]
    NoCapability,
    /// The process may not make sockets of this family.
    #[error(
        "packet sockets are closed to this process, by RestrictAddressFamilies= as a rule: install \
         the systemd drop-in witness.conf, which grants AF_PACKET and CAP_NET_RAW"
    )]
    NoPacketSockets,
    /// The capture socket failed otherwise.
    #[error("the capture socket cannot be opened")]
    Socket(#[source] io::Error),
    /// The thread could not be started.
    #[error("the witness's thread cannot be started")]
    Thread(#[source] io::Error),
}

/// Starts the witness in a thread of its own, in the network namespace of the caller. It ends when
/// the receiver is dropped; when the receiver ends, the capture has failed for good.
///
/// `now` is the agent's clock: mesh time.
///
/// # Errors
/// When the host does not allow the capture; the error says what would.
pub fn start(
    config: WitnessConfig,
    now: impl Fn() -> Stamp + Send + 'static,
) -> Result<mpsc::Receiver<WitnessBatch>, WitnessError> {
    let mut ports = config.ports;
    let first = ports.borrow_and_update().clone();
    let capture = Capture::open(&filter::program(&first)).map_err(refused)?;
    let (out, batches) = mpsc::channel(WAITING_BATCHES);
    let mut witness = Witness {
        table: FlowTable::new(now()),
        capture,
        kernel: Kernel::start(),
        ports,
        blind: too_many(&first),
        ring: Ring::default(),
        wanted: config.wanted,
        out,
        now,
    };
    let name = config.name;
    let interval = config.interval;
    thread(move || match witness.run(interval) {
        Ok(()) => tracing::debug!(vantage = %name, "the witness ends"),
        Err(error) => tracing::error!(vantage = %name, %error, "the witness failed"),
    })?;
    Ok(batches)
}

/// Starts what is left of a witness that may not capture: what the host's kernel counts. Every batch
/// says that all packets were missed. It ends as [`start`]'s does.
///
/// # Errors
/// When the system gives no thread.
pub fn start_blind(
    interval: Duration,
    now: impl Fn() -> Stamp + Send + 'static,
) -> Result<mpsc::Receiver<WitnessBatch>, WitnessError> {
    let (out, batches) = mpsc::channel(WAITING_BATCHES);
    let (mut table, mut kernel) = (FlowTable::new(now()), Kernel::start());
    thread(move || {
        while !out.is_closed() {
            std::thread::sleep(interval);
            if let Ok(room) = out.try_reserve() {
                let batch = table.close(now(), BLIND, sys::interface_name);
                let host = kernel.read();
                room.send(WitnessBatch { host, ..batch });
            }
        }
    })?;
    Ok(batches)
}

/// How many packets are said to be missed by who sees none: any number but zero says that silence proves
/// nothing.
const BLIND: u64 = 1;

fn thread(work: impl FnOnce() + Send + 'static) -> Result<(), WitnessError> {
    let thread = std::thread::Builder::new().name("witness".to_owned());
    thread.spawn(work).map(drop).map_err(WitnessError::Thread)
}

struct Witness<N> {
    capture: Capture,
    kernel: Kernel,
    table: FlowTable,
    ports: watch::Receiver<BTreeSet<u16>>,
    /// Not every port that should be watched is.
    blind: bool,
    ring: Ring,
    wanted: mpsc::Receiver<Vec<SocketAddr>>,
    out: mpsc::Sender<WitnessBatch>,
    now: N,
}

impl<N: Fn() -> Stamp> Witness<N> {
    fn run(&mut self, interval: Duration) -> io::Result<()> {
        let mut due = Instant::now() + interval;
        while !self.out.is_closed() {
            let left = due.saturating_duration_since(Instant::now());
            self.capture.wait(left.min(LONGEST_WAIT))?;
            self.read()?;
            self.follow_ports();
            if Instant::now() >= due {
                self.report()?;
                due = Instant::now() + interval;
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Reads what is there.
    fn read(&mut self) -> io::Result<()> {
        let (now, system_ns) = ((self.now)(), sys::system_ns()?);
        let mut buffer = [0; SNAP_LENGTH as usize];
        for _ in 0..MOST_READ {
            let Some(captured) = self.capture.receive(&mut buffer)? else {
                break;
            };
            let bytes = buffer.get(..captured.length).unwrap_or(&buffer);
            if let Some(segment) = parse::parse(bytes) {
                let age_us = captured.at_ns.map_or(0, |at| (system_ns - at) / 1000);
                let sighted = Sighted {
                    segment,
                    direction: captured.direction,
                    interface: captured.interface,
                    at: Stamp {
                        at_us: now.at_us.saturating_add_signed(-age_us),
                        ..now
                    },
                };
                let told = self.table.see(sighted);
                // Of a transfer's many ACKs none tells anything.
                if told || segment.kind != SegmentKind::Ack {
                    self.ring.keep(&sighted, bytes);
                }
            }
        }
        Ok(())
    }

    /// Watches the ports that are wanted. When the kernel refuses a filter the old one stays, and
    /// the batches say that they are not complete.
    fn follow_ports(&mut self) {
        if !self.ports.has_changed().unwrap_or(false) {
            return;
        }
        let ports = self.ports.borrow_and_update().clone();
        let attached = self.capture.attach(&filter::program(&ports));
        if let Err(error) = &attached {
            tracing::error!(%error, "the witness cannot watch the new set of ports");
        }
        self.blind = attached.is_err() || too_many(&ports);
    }

    /// Sends the stretch under way, if there is room for it.
    fn report(&mut self) -> io::Result<()> {
        let now = (self.now)();
        while let Ok(clients) = self.wanted.try_recv() {
            self.ring.want(&clients, now.at_us);
        }
        match self.out.try_reserve() {
            Ok(room) => {
                let missed = self.capture.drops()? + u64::from(self.blind);
                let batch = self.table.close(now, missed, sys::interface_name);
                room.send(WitnessBatch {
                    host: self.kernel.read(),
                    packets: self.ring.asked_for(now.at_us, sys::interface_name),
                    ..batch
                });
            }
            Err(_) => self.table.forget(now.at_us),
        }
        Ok(())
    }
}

fn too_many(ports: &BTreeSet<u16>) -> bool {
    let too_many = ports.len() > MAX_PORTS;
    if too_many {
        tracing::warn!(
            ports = ports.len(),
            watched = MAX_PORTS,
            "too many ports for a witness"
        );
    }
    too_many
}

fn refused(error: io::Error) -> WitnessError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => WitnessError::NoCapability,
        Some(libc::EAFNOSUPPORT) => WitnessError::NoPacketSockets,
        _ => WitnessError::Socket(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_kernel_says_what_to_grant() {
        let rows = [
            (libc::EPERM, "CAP_NET_RAW"),
            (libc::EACCES, "setcap cap_net_raw+ep"),
            (libc::EAFNOSUPPORT, "RestrictAddressFamilies="),
            (libc::ENOBUFS, "cannot be opened"),
        ];
        for (number, expected) in rows {
            let error = refused(io::Error::from_raw_os_error(number)).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
