//! The capture socket: everything here that the safe wrappers of the libraries do not have.
//!
//! See packet(7) and socket(7); the constants are those of `linux/if_packet.h`.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use localize::Direction;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns,
};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, SockFilter, Socket, Type};

use super::filter::{Instruction, PACKET_HOST, PACKET_OUTGOING};

const SOL_PACKET: libc::c_int = 263;
const PACKET_STATISTICS: libc::c_int = 6;

/// What the kernel may keep for us between two reads. The default of 208 KiB holds about 200 packets,
/// since a packet counts with its whole buffer; this much bears a burst of some thousands.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A cooked packet socket on all interfaces of the network namespace.
pub(super) struct Capture {
    socket: Socket,
}

/// A packet that came through the filter.
pub(super) struct Captured {
    /// How many bytes of the buffer it fills, from the IP header on.
    pub(super) length: usize,
    pub(super) direction: Direction,
    pub(super) interface: u32,
    /// When the kernel saw it, in nanoseconds of the system's clock; `None` when it did not say.
    pub(super) at_ns: Option<i64>,
}

/// `struct tpacket_stats`.
#[repr(C)]
#[derive(Default)]
struct Statistics {
    packets: libc::c_uint,
    drops: libc::c_uint,
}

impl Capture {
    /// A socket that has a filter from its first packet on: it is bound to a protocol only after the
    /// filter is in place.
    pub(super) fn open(filter: &[Instruction]) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), None)?;
        let capture = Self { socket };
        setsockopt(&capture.socket, ReceiveTimestampns, &true)?;
        // Bounded by net.core.rmem_max; what is granted is enough for all but bursts, and what does
        // not fit is counted as dropped.
        capture.socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        capture.attach(filter)?;
        capture.bind_all()?;
        Ok(capture)
    }

    /// Replaces the filter; no packet passes unfiltered in between.
    pub(super) fn attach(&self, filter: &[Instruction]) -> io::Result<()> {
        let filter: Vec<SockFilter> = filter
            .iter()
            .map(|i| SockFilter::new(i.code, i.if_true, i.if_false, i.operand))
            .collect();
        self.socket.attach_filter(&filter)
    }

    /// Waits until there is a packet, at most `limit`.
    pub(super) fn wait(&self, limit: Duration) -> io::Result<()> {
        let mut wanted = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut wanted, limit) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The next packet, if one is there. Its first bytes are in the buffer.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Captured>> {
        let mut slices = [IoSliceMut::new(buffer)];
        let mut control = cmsg_space!(libc::timespec);
        loop {
            let received = recvmsg::<LinkAddr>(
                self.socket.as_raw_fd(),
                &mut slices,
                Some(&mut control),
                MsgFlags::empty(),
            );
            let message = match received {
                Ok(message) => message,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let direction = message.address.and_then(|link| direction(link.pkttype()));
            if let (Some(link), Some(direction)) = (message.address, direction) {
                let stamped = message
                    .cmsgs()
                    .ok()
                    .and_then(|mut all| all.find_map(timestamp));
                return Ok(Some(Captured {
                    length: message.bytes,
                    direction,
                    interface: u32::try_from(link.ifindex()).unwrap_or(0),
                    at_ns: stamped,
                }));
            }
        }
    }

    /// Packets that passed the filter and found the buffer full, since the last call.
    pub(super) fn drops(&self) -> io::Result<u64> {
        let mut statistics = Statistics::default();
        let size = size_of::<Statistics>();
        let mut length = libc::socklen_t::try_from(size).unwrap_or(0);
        // SAFETY: the descriptor is open as long as `self` is; the kernel writes at most `length`
        // bytes, which is the size of `statistics`, and any bytes are a valid value of it.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                SOL_PACKET,
                PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        Errno::result(result)?;
        Ok(statistics.drops.into())
    }

    /// Binds to every protocol on every interface. `ETH_P_IP` would show no outgoing packets.
    fn bind_all(&self) -> io::Result<()> {
        // SAFETY: all zeroes is a valid value of this plain C structure.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or(0);
        address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or(0).to_be();
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
        // SAFETY: the descriptor is open as long as `self` is; the pointer is to a `sockaddr_ll` of
        // `length` bytes that lives through the call.
        let result =
            unsafe { libc::bind(self.socket.as_raw_fd(), (&raw const address).cast(), length) };
        Errno::result(result)?;
        Ok(())
    }
}

/// The system's clock in nanoseconds since the Unix epoch: the clock of the kernel's packet stamps,
/// read only to learn how old a stamp is.
pub(super) fn system_ns() -> io::Result<i64> {
    Ok(nanoseconds(clock_gettime(ClockId::CLOCK_REALTIME)?))
}

/// The name of an interface; one that is gone by then is named by its index.
pub(super) fn interface_name(index: u32) -> String {
    match nix::net::if_::if_indextoname(index) {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => format!("if{index}"),
    }
}

fn direction(packet_type: u8) -> Option<Direction> {
    match packet_type {
        PACKET_HOST => Some(Direction::In),
        PACKET_OUTGOING => Some(Direction::Out),
        // Broadcast, or for another host and seen in promiscuous mode; the filter has none of them.
        _ => None,
    }
}

fn timestamp(message: ControlMessageOwned) -> Option<i64> {
    if let ControlMessageOwned::ScmTimestampns(at) = message {
        Some(nanoseconds(at))
    } else {
        None
    }
}

fn nanoseconds(at: TimeSpec) -> i64 {
    at.tv_sec()
        .saturating_mul(1_000_000_000)
        .saturating_add(at.tv_nsec())
}
