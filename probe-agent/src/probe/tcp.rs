//! The TCP layer: a non-blocking handshake, and what `TCP_INFO` tells of it.

use std::io;
use std::mem::{self, offset_of};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use localize::{Failure, Micros};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure;

/// Makes the socket of a connection, bound to the source where one is asked for.
///
/// # Errors
/// What the system says: no descriptor left, or the source is not an address of this host.
pub fn prepare(to: SocketAddr, source: Option<IpAddr>) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
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
