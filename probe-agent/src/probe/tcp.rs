//! The TCP layer: a non-blocking handshake, and what `TCP_INFO` tells of it.

use std::io;
use std::mem::{self, offset_of};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use localize::{Failure, Micros, TcpOptions};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure;

/// Makes the socket of a connection, bound to the source where one is asked for.
///
/// # Errors
/// What the system says: no descriptor left, or the source is not an address of this host.
pub fn prepare(to: SocketAddr, source: Option<IpAddr>) -> io::Result<Socket> {
    open(to, source.map(|source| SocketAddr::new(source, 0)))
}

/// Makes the socket of a connection from an address and port that another one has left from. The port
/// must be free by itself: with `SO_REUSEADDR` a trouble of ours would show only when the probe is fired.
///
/// # Errors
/// What the system says: somebody else uses the port, or the address is no more one of this host.
pub fn prepare_again(to: SocketAddr, local: SocketAddr) -> io::Result<Socket> {
    open(to, Some(local))
}

fn open(to: SocketAddr, from: Option<SocketAddr>) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(from) = from {
        socket.bind(&from.into())?;
    }
    Ok(socket)
}

/// Waits for the end of a handshake that is under way.
///
/// # Errors
/// Why the connection was not made.
pub async fn establish(socket: Socket, within: Duration) -> Result<TcpStream, Failure> {
    let handshake = async {
        let stream = TcpStream::from_std(socket.into())?;
        stream.writable().await?;
        match stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    };
    match timeout(within, handshake).await {
        Ok(ended) => ended.map_err(|error| failure::connect(&error)),
        Err(_) => Err(Failure::ConnectTimeout),
    }
}

/// `TCPI_OPT_*` in include/uapi/linux/tcp.h.
const OPT_TIMESTAMPS: u8 = 1;
const OPT_SACK: u8 = 2;
const OPT_WSCALE: u8 = 4;
const OPT_ECN: u8 = 8;

/// `TCP_CLOSE_WAIT` in include/net/tcp_states.h.
const CLOSE_WAIT: u8 = 8;

/// Reads what the kernel knows of a connection, even when the connection's own handle is deep inside
/// other layers, or gone.
#[derive(Debug)]
pub struct Gauge(Option<Socket>);

impl Gauge {
    /// A gauge on the socket. Without a spare descriptor it reads nothing.
    #[must_use]
    pub fn of(socket: &Socket) -> Self {
        Self(socket.try_clone().ok())
    }

    /// Segments sent again so far, SYNs included.
    #[must_use]
    pub fn retransmissions(&self) -> u32 {
        let end = offset_of!(libc::tcp_info, tcpi_total_retrans) + size_of::<u32>();
        self.read(end).map_or(0, |info| info.tcpi_total_retrans)
    }

    /// The smoothed round-trip time.
    #[must_use]
    pub fn rtt(&self) -> Option<Micros> {
        let end = offset_of!(libc::tcp_info, tcpi_rtt) + size_of::<u32>();
        let rtt_us = self.read(end)?.tcpi_rtt;
        (rtt_us > 0).then_some(Micros(rtt_us.into()))
    }

    /// Bytes that the far end has sent and has acknowledged; none on kernels before 4.1.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let end = offset_of!(libc::tcp_info, tcpi_bytes_received) + size_of::<u64>();
        self.read(end).map_or(0, |info| {
            info.tcpi_bytes_received
                .saturating_add(info.tcpi_bytes_acked)
        })
    }

    /// What the handshake left in force: `TCPI_OPT_*` of include/uapi/linux/tcp.h.
    pub(super) fn options(&self) -> Option<TcpOptions> {
        let end = offset_of!(libc::tcp_info, tcpi_snd_mss) + size_of::<u32>();
        let info = self.read(end)?;
        let has = |option| info.tcpi_options & option != 0;
        // The lower four bits are the far end's shift.
        let shift = info.tcpi_snd_rcv_wscale & 0x0f;
        Some(TcpOptions {
            mss: u16::try_from(info.tcpi_snd_mss).ok(),
            window_scale: has(OPT_WSCALE).then_some(shift),
            sack: has(OPT_SACK),
            timestamps: has(OPT_TIMESTAMPS),
            ecn: has(OPT_ECN),
        })
    }

    /// Whether the far end has closed the connection and we have not.
    #[must_use]
    pub fn waits_for_close(&self) -> bool {
        self.read(size_of::<u8>())
            .is_some_and(|info| info.tcpi_state == CLOSE_WAIT)
    }

    /// The connection itself, once nobody else reads it.
    pub(super) fn stream(&self) -> Option<TcpStream> {
        let socket = self.0.as_ref()?.try_clone().ok()?;
        TcpStream::from_std(socket.into()).ok()
    }

    /// `None` when the kernel is too old to fill the structure up to `end` bytes.
    fn read(&self, end: usize) -> Option<libc::tcp_info> {
        let socket = self.0.as_ref()?;
        // SAFETY: the structure holds integers alone, for which zero is a value.
        let mut info: libc::tcp_info = unsafe { mem::zeroed() };
        let mut filled = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
        // SAFETY: the pointer and the length describe `info`, and the kernel writes no more than that.
        let outcome = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut info).cast(),
                &raw mut filled,
            )
        };
        (outcome == 0 && usize::try_from(filled).is_ok_and(|filled| filled >= end)).then_some(info)
    }
}
