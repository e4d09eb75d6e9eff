//! Which listeners have connections waiting to be accepted: sock_diag(7), which needs no privilege. Where
//! netlink sockets are closed to the process, nothing is told.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use localize::ListenQueue;
use socket2::{Domain, Protocol, Socket, Type};

/// Listeners told of: a host has few, and fewer of them have a queue.
const MOST: usize = 16;
/// Datagrams read of one answer; one holds some hundred listeners.
const MOST_READ: usize = 64;
/// The kernel answers at once, or not at all.
const PATIENCE: Duration = Duration::from_millis(100);

// linux/netlink.h, linux/sock_diag.h, linux/tcp_states.h.
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const IPPROTO_TCP: u8 = 6;
const LISTEN: u32 = 1 << 10;
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;
const FAMILIES: [u8; 2] = [2, 10];

/// A socket to ask by.
pub(super) struct Queues(Option<Socket>);

impl Queues {
    /// Of the network namespace of the caller.
    pub(super) fn open() -> Self {
        let family = Domain::from(libc::AF_NETLINK);
        let socket = Socket::new(family, Type::RAW, Some(Protocol::from(NETLINK_SOCK_DIAG)));
        let bounded = socket.and_then(|socket| {
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(socket)
        });
        Self(bounded.ok())
    }

    /// The listeners with connections that wait, the longest queue first.
    pub(super) fn waiting(&self) -> Vec<ListenQueue> {
        let Some(socket) = &self.0 else {
            return Vec::new();
        };
        let asked = FAMILIES.into_iter().map(|family| ask(socket, family));
        let mut queues: Vec<ListenQueue> = asked.filter_map(Result::ok).flatten().collect();
        queues.retain(|queue| queue.waiting > 0);
        queues.sort_by_key(|queue| (std::cmp::Reverse(queue.waiting), queue.local));
        queues.truncate(MOST);
        queues
    }
}

fn ask(mut socket: &Socket, family: u8) -> io::Result<Vec<ListenQueue>> {
    let mut request = [0_u8; REQUEST];
    let length = u32::try_from(REQUEST).unwrap_or(0);
    request[0..4].copy_from_slice(&length.to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    request[HEADER] = family;
    request[HEADER + 1] = IPPROTO_TCP;
    request[HEADER + 4..HEADER + 8].copy_from_slice(&LISTEN.to_ne_bytes());
    socket.write_all(&request)?;
    let mut queues = Vec::new();
    let mut answer = [0_u8; 32 << 10];
    for _ in 0..MOST_READ {
        let length = socket.read(&mut answer)?;
        let answer = answer.get(..length).unwrap_or(&answer);
        if read(answer, &mut queues) == Rest::Ended {
            break;
        }
    }
    Ok(queues)
}

/// Whether more of an answer is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    ToCome,
    Ended,
}

/// Reads one datagram: messages one after the other, each a multiple of four bytes long.
fn read(mut answer: &[u8], queues: &mut Vec<ListenQueue>) -> Rest {
    while let Some(length) = number(answer, 0) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(message) = answer.get(..length).filter(|_| length >= HEADER) else {
            return Rest::Ended;
        };
        match u16::from_ne_bytes([message[4], message[5]]) {
            NLMSG_DONE | NLMSG_ERROR => return Rest::Ended,
            _ => queues.extend(queue(&message[HEADER..])),
        }
        answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Rest::ToCome
}

/// `struct inet_diag_msg` of linux/inet_diag.h: of a listener the queues are what waits and what may.
fn queue(message: &[u8]) -> Option<ListenQueue> {
    let port = u16::from_be_bytes([*message.get(4)?, *message.get(5)?]);
    let source: [u8; 16] = message.get(8..24)?.try_into().ok()?;
    let ip = match message.first()? {
        2 => IpAddr::V4(Ipv4Addr::new(source[0], source[1], source[2], source[3])),
        10 => IpAddr::V6(Ipv6Addr::from(source)),
        _ => return None,
    };
    Some(ListenQueue {
        local: SocketAddr::new(ip, port),
        waiting: number(message, 56)?,
        room: number(message, 60)?,
    })
}

fn number(bytes: &[u8], place: usize) -> Option<u32> {
    let bytes = bytes.get(place..place + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn who_waits_is_counted_by_listener() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let local = listener.local_addr().unwrap();
            let queues = Queues::open();
            let waiting = || -> Vec<u32> {
                let all = queues.waiting().into_iter();
                let own = all.filter(|queue| queue.local == local);
                own.map(|queue| queue.waiting).collect()
            };
            assert!(waiting().is_empty());
            let clients = [(); 3].map(|()| TcpStream::connect(local).unwrap());
            assert_eq!(waiting(), [3]);
            listener.accept().unwrap();
            assert_eq!(waiting(), [2]);
            drop(clients);
        }
    }

    #[test]
    fn stumps_end_an_answer() {
        let mut queues = Vec::new();
        for bytes in [
            &[] as &[u8],
            &[1, 0],
            &[4, 0, 0, 0],
            &[200, 0, 0, 0, 20, 0, 0, 0],
        ] {
            read(bytes, &mut queues);
        }
        assert!(queues.is_empty());
        assert_eq!(queue(&[2; 59]), None);
    }
}
