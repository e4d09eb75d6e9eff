//! How far packets come towards a target that did not answer: SYNs that are let go over one hop, two, and so on.
//!
//! A trace is made in the round whose probe met silence, by who made that, and from its address and port, so that
//! whoever chooses ways by them chooses the same, one SYN after the other. It is plain TCP: an unprivileged socket whose packets have a short
//! time to live, and the kernel's queue of errors (`IP_RECVERR`, ip(7)) in which a router's ICMP message ends up. Of
//! connections that are being made Linux keeps them since 5.9; an older kernel lets all hops look silent.
//!
//! Whoever has stolen a coordinator must have no use of it. Nothing is traced but what a probe was let go to, its
//! SYNs count against the same limits, a target is traced once a minute, and the owner of a service may forbid it.

#[cfg(test)]
mod lab;
pub mod walk;

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use localize::{Failure, Heard, Layer, Micros, Observation, Outcome};
use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::Socket;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use self::walk::{Reach, Walk};
use crate::clock::{Clock, Local};
use crate::fire::start;
use crate::probe::tcp;

/// A target is traced no more often than this.
const EACH: Duration = Duration::from_secs(60);
/// Traces of one agent at once; further targets have their turn in a round to come.
const AT_ONCE: usize = 4;
/// Targets that are remembered: as many as four at a time can be in a minute, and no more.
const MOST_TARGETS: usize = 1024;
/// How long a whole trace may take.
pub const LONGEST: Duration = Duration::from_secs(8);
/// In less nothing would come of it.
pub const SHORTEST: Duration = Duration::from_millis(1_500);
/// What is kept of that for the target itself: two SYNs of the longest patience, about.
const FOR_TARGET: Duration = Duration::from_secs(1);
/// From the end of the probe to the first SYN: witnesses' packets belong to a probe by its port and the time, and
/// must be told from the trace's.
const PAUSE: Duration = Duration::from_millis(500);

/// The ICMP type of a packet whose time to live is over (RFC 792), and of one that cannot be delivered.
const EXPIRED_V4: u8 = 11;
const UNREACHABLE_V4: u8 = 3;
/// The same in ICMPv6 (RFC 4443).
const EXPIRED_V6: u8 = 3;
const UNREACHABLE_V6: u8 = 1;

/// A probe that met silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Where it had left from.
    pub from: SocketAddr,
    /// Where it went.
    pub to: SocketAddr,
}

impl Lost {
    /// The probe of an observation, if that met silence: no SYN was answered, or somebody says that there is no way.
    /// What was let go from a port on purpose, or the last of several at once, leaves that to the probe that is plain.
    #[must_use]
    pub fn of(observation: &Observation) -> Option<Self> {
        let Outcome::Failed {
            layer: Layer::Tcp,
            failure: Failure::ConnectTimeout | Failure::ConnectUnreachable,
            ..
        } = observation.outcome
        else {
            return None;
        };
        let to = observation.arm.target.connects_to()?;
        let local = observation.facts.tcp.as_ref().map(|tcp| tcp.local);
        let anywhere: IpAddr = match to {
            SocketAddr::V4(_) => [0; 4].into(),
            SocketAddr::V6(_) => [0; 16].into(),
        };
        // A host without a route gives a probe no address to leave from.
        let from = local.unwrap_or(SocketAddr::new(
            observation.arm.source.unwrap_or(anywhere),
            0,
        ));
        let traits = observation.arm.traits;
        let is_alone = traits.port.is_plain() && traits.pace.is_plain();
        is_alone.then_some(Self { from, to })
    }
}

/// Which targets may be traced at present.
#[derive(Debug)]
pub struct Tracer {
    /// When each was traced last, for a minute.
    last: Mutex<BTreeMap<SocketAddr, Local>>,
    places: Arc<Semaphore>,
}

impl Default for Tracer {
    fn default() -> Self {
        Self {
            last: Mutex::default(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Tracer {
    /// Takes a place for a trace, unless the target had one within the minute, or the places are taken, or `admit`
    /// says that the limits do not bear it.
    pub fn begin(
        &self,
        to: SocketAddr,
        now: Local,
        admit: impl FnOnce() -> bool,
    ) -> Option<OwnedSemaphorePermit> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, at| now.since(*at) < Micros(crate::clock::micros(EACH)));
        if last.contains_key(&to) || last.len() >= MOST_TARGETS {
            return None;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        if !admit() {
            return None;
        }
        last.insert(to, now);
        Some(place)
    }
}

/// What a trace found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where its SYNs left from.
    pub from: SocketAddr,
    /// When the first one left.
    pub started: Local,
    /// What was heard of each hop, from the first.
    pub hops: Vec<Heard>,
    /// What a SYN met that was let go all the way.
    pub whole: Option<Heard>,
}

/// Traces the way of a probe that is over, and whose socket is closed; it takes no longer than `within`.
///
/// # Errors
/// When no socket is to be had.
pub async fn trace(lost: Lost, within: Duration, clock: &Clock) -> io::Result<Found> {
    let end = clock.now().after(within.min(LONGEST));
    tokio::time::sleep(PAUSE).await;
    let started = clock.now();
    let mut from = lost.from;
    let mut walk = Walk::default();
    while let Some(reach) = walk.next(clock.now().until(end) <= FOR_TARGET) {
        if clock.now() >= end {
            break;
        }
        let socket = prepare(lost.to, from, reach)?;
        if let Some(local) = socket.local_addr()?.as_socket() {
            from = local;
        }
        let heard = ask(socket, lost.to, walk.patience(), clock).await?;
        walk.heard(reach, heard);
    }
    let (hops, whole) = walk.found();
    Ok(Found {
        from,
        started,
        hops,
        whole,
    })
}

/// A socket whose packets go so far, from the address and port, or from another port where somebody has taken that.
fn prepare(to: SocketAddr, from: SocketAddr, reach: Reach) -> io::Result<Socket> {
    let socket = match tcp::prepare_again(to, from) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            tcp::prepare(to, Some(from.ip()))?
        }
        other => other?,
    };
    match to {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
    }
    match (reach, to) {
        (Reach::Whole, _) => {}
        (Reach::Hops(hops), SocketAddr::V4(_)) => socket.set_ttl_v4(hops.into())?,
        (Reach::Hops(hops), SocketAddr::V6(_)) => socket.set_unicast_hops_v6(hops.into())?,
    }
    Ok(socket)
}

/// Sends one SYN and waits for what comes of it. The socket is closed then, and with it its port is free.
async fn ask(
    socket: Socket,
    to: SocketAddr,
    patience: Duration,
    clock: &Clock,
) -> io::Result<Heard> {
    let sent = clock.now();
    if let Err(error) = start(&socket, to) {
        return unsent(error);
    }
    let stream = TcpStream::from_std(socket.into())?;
    if timeout(patience, stream.writable()).await.is_err() {
        return Ok(Heard::Silence);
    }
    let rtt = clock.now().since(sent);
    if let Some(message) = message(&stream) {
        return Ok(message.after(rtt));
    }
    match stream.take_error()? {
        None => Ok(Heard::Accepted { rtt }),
        Some(error) => ended(error, rtt),
    }
}

/// What connect(2) says at once: the host's own routes and rules.
fn unsent(error: io::Error) -> io::Result<Heard> {
    match error.raw_os_error() {
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EPERM) => {
            Ok(Heard::Unsent)
        }
        _ => Err(error),
    }
}

/// What an error of the connection says that no message of ICMP stands beside.
fn ended(error: io::Error, rtt: Micros) -> io::Result<Heard> {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ECONNRESET) => Ok(Heard::Refused { rtt }),
        // Of somebody whose name an old kernel has not kept.
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH) => Ok(Heard::Silence),
        _ => Err(error),
    }
}

/// A router's message.
#[derive(Clone, Copy, Debug)]
struct Message {
    by: IpAddr,
    expired: bool,
    code: u8,
}

impl Message {
    fn after(self, rtt: Micros) -> Heard {
        let Self { by, code, .. } = self;
        match self.expired {
            true => Heard::Expired { by, rtt },
            false => Heard::Unreachable { by, code, rtt },
        }
    }
}

/// The message in the socket's queue of errors, if it is one of these two kinds.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "nothing else was asked of the kernel"
)]
fn message(stream: &TcpStream) -> Option<Message> {
    // A part of the packet that the message is about; it says nothing that the socket does not know.
    let mut packet = [0; 64];
    let mut pieces = [IoSliceMut::new(&mut packet)];
    let mut control = cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let received = recvmsg::<SockaddrStorage>(
        stream.as_fd().as_raw_fd(),
        &mut pieces,
        Some(&mut control),
        MsgFlags::MSG_ERRQUEUE,
    );
    let received = received.ok()?;
    let mut messages = received.cmsgs().ok()?.filter_map(|message| {
        let (error, by) = match message {
            ControlMessageOwned::Ipv4RecvErr(error, Some(by)) => {
                let by = u32::from_be(by.sin_addr.s_addr);
                (error, IpAddr::from(by.to_be_bytes()))
            }
            ControlMessageOwned::Ipv6RecvErr(error, Some(by)) => {
                (error, IpAddr::from(by.sin6_addr.s6_addr))
            }
            _ => return None,
        };
        let expired = match (error.ee_origin, error.ee_type) {
            (libc::SO_EE_ORIGIN_ICMP, EXPIRED_V4) | (libc::SO_EE_ORIGIN_ICMP6, EXPIRED_V6) => true,
            (libc::SO_EE_ORIGIN_ICMP, UNREACHABLE_V4)
            | (libc::SO_EE_ORIGIN_ICMP6, UNREACHABLE_V6) => false,
            _ => return None,
        };
        Some(Message {
            by,
            expired,
            code: error.ee_code,
        })
    });
    messages.next()
}
