//! The headers of the last minute's handshakes and ends, for the case that somebody asks for them.
//!
//! Nobody knows of a packet whether its connection fails until a probe has waited for as long as it waits, and
//! the coordinator has heard of it. So all are kept for a while, and those that are asked for go out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use localize::{Direction, PacketHeaders, Stamp};

use super::filter::SNAP_LENGTH;
use super::flows::Sighted;

/// Packets kept at most, the latest. One takes 216 bytes, so that all are some 4 MB: a minute of fifty
/// connections a second of six packets each; of a busier host it is a shorter time.
const MOST: usize = 18_000;

/// How long a packet is kept: a probe waits for ten seconds as a rule and a round is closed two seconds
/// after that, so that whoever is cut off from the coordinator for half a minute is asked in time.
const KEPT_US: u64 = 60_000_000;

/// How long a question stands: a connection that failed may end a little later than its probe, and the kernel
/// hands packets over when it likes.
const WANTED_US: u64 = 3_000_000;

/// Ends of connections that are asked for at a time; the oldest questions give way.
const MOST_WANTED: usize = 512;

/// Packets of one report: with 120 bytes of headers and fifteen letters of an interface each, 100 KB.
pub(super) const MOST_SENT: usize = 512;

/// One packet as it is kept: its place in time, and its headers alone.
#[derive(Debug)]
struct Kept {
    source: SocketAddr,
    destination: SocketAddr,
    at: Stamp,
    direction: Direction,
    interface: u32,
    length: usize,
    headers: [u8; SNAP_LENGTH as usize],
}

/// The packets, oldest first, and what of them is asked for.
#[derive(Debug, Default)]
pub(super) struct Ring {
    kept: VecDeque<Kept>,
    /// Each end with the instant until which it is wanted.
    wanted: VecDeque<(SocketAddr, u64)>,
}

impl Ring {
    /// Keeps the headers of a packet, which begin with its first byte. What is behind them is not kept.
    pub(super) fn keep(&mut self, sighted: &Sighted, packet: &[u8]) {
        let segment = sighted.segment;
        let mut headers = [0; SNAP_LENGTH as usize];
        let Some(bytes) = packet.get(..segment.headers) else {
            return;
        };
        let Some(place) = headers.get_mut(..bytes.len()) else {
            return;
        };
        place.copy_from_slice(bytes);
        self.forget(sighted.at.at_us);
        if self.kept.len() >= MOST {
            self.kept.pop_front();
        }
        self.kept.push_back(Kept {
            source: segment.source,
            destination: segment.destination,
            at: sighted.at,
            direction: sighted.direction,
            interface: sighted.interface,
            length: bytes.len(),
            headers,
        });
    }

    /// Packets from and to these ends are asked for.
    pub(super) fn want(&mut self, ends: &[SocketAddr], now_us: u64) {
        let until_us = now_us.saturating_add(WANTED_US);
        self.wanted.extend(ends.iter().map(|end| (*end, until_us)));
        let over = self.wanted.len().saturating_sub(MOST_WANTED);
        self.wanted.drain(..over);
    }

    /// What is there of what is asked for, each packet once. `name` gives an interface's name and is asked once
    /// for each.
    pub(super) fn asked_for(
        &mut self,
        now_us: u64,
        name: impl Fn(u32) -> String,
    ) -> Vec<PacketHeaders> {
        self.forget(now_us);
        self.wanted.retain(|(_, until_us)| *until_us > now_us);
        if self.wanted.is_empty() {
            return Vec::new();
        }
        let ends: BTreeSet<SocketAddr> = self.wanted.iter().map(|(end, _)| *end).collect();
        let mut names: BTreeMap<u32, String> = BTreeMap::new();
        let mut asked_for = Vec::new();
        self.kept.retain(|kept| {
            let wanted = ends.contains(&kept.source) || ends.contains(&kept.destination);
            if !wanted || asked_for.len() >= MOST_SENT {
                return true;
            }
            let interface = names
                .entry(kept.interface)
                .or_insert_with(|| name(kept.interface));
            asked_for.push(PacketHeaders {
                at: kept.at,
                direction: kept.direction,
                interface: interface.clone(),
                bytes: kept.headers.get(..kept.length).unwrap_or_default().to_vec(),
            });
            false
        });
        asked_for
    }

    /// Forgets what is too old. Mesh time may have been set back: what is said to come from the future stays
    /// until newer packets crowd it out.
    fn forget(&mut self, now_us: u64) {
        let is_old = |kept: &Kept| kept.at.at_us.saturating_add(KEPT_US) < now_us;
        while self.kept.front().is_some_and(is_old) {
            self.kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::super::parse;
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// A segment from port `client` of a client to a server, or back, with five bytes behind its headers.
    fn see(ring: &mut Ring, client: u16, back: bool, at_us: u64) {
        let (source, destination) = match back {
            false => ([10, 0, 0, 1], [10, 0, 0, 2]),
            true => ([10, 0, 0, 2], [10, 0, 0, 1]),
        };
        let (from, to) = if back { (443, client) } else { (client, 443) };
        let mut packet = Vec::new();
        PacketBuilder::ipv4(source, destination, 64)
            .tcp(from, to, 7, 1000)
            .fin()
            .ack(9)
            .write(&mut packet, b"hello")
            .unwrap();
        let sighted = Sighted {
            segment: parse::parse(&packet).unwrap(),
            direction: if back { Direction::Out } else { Direction::In },
            interface: 3,
            at: Stamp {
                at_us,
                uncertainty_us: 5,
            },
        };
        ring.keep(&sighted, &packet);
    }

    fn client(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    fn asked(ring: &mut Ring, now_us: u64) -> Vec<(u64, Direction, usize)> {
        let packets = ring.asked_for(now_us, |index| format!("eth{index}"));
        let told = packets.into_iter().map(|packet| {
            assert_eq!(packet.interface, "eth3");
            (
                packet.at.at_us / SECOND,
                packet.direction,
                packet.bytes.len(),
            )
        });
        told.collect()
    }

    #[test]
    fn both_ways_of_what_is_asked_for_go_out_once_and_headers_alone() {
        let mut ring = Ring::default();
        see(&mut ring, 1, false, SECOND);
        see(&mut ring, 2, false, 2 * SECOND);
        see(&mut ring, 1, true, 3 * SECOND);
        assert_eq!(asked(&mut ring, 4 * SECOND), []);
        ring.want(&[client(1)], 4 * SECOND);
        let both = [(1, Direction::In, 40), (3, Direction::Out, 40)];
        assert_eq!(asked(&mut ring, 4 * SECOND), both);
        // The end comes a little later, and is asked for as well.
        see(&mut ring, 1, true, 5 * SECOND);
        assert_eq!(asked(&mut ring, 5 * SECOND), [(5, Direction::Out, 40)]);
        see(&mut ring, 1, true, 20 * SECOND);
        assert_eq!(asked(&mut ring, 20 * SECOND), []);
    }

    #[test]
    fn a_minute_is_kept() {
        let mut ring = Ring::default();
        see(&mut ring, 1, false, SECOND);
        see(&mut ring, 1, false, 30 * SECOND);
        ring.want(&[client(1)], 62 * SECOND);
        assert_eq!(asked(&mut ring, 62 * SECOND), [(30, Direction::In, 40)]);
    }

    #[test]
    fn bounds_hold() {
        let mut ring = Ring::default();
        for n in 0..MOST + 9 {
            see(&mut ring, 1, false, SECOND + n as u64);
        }
        assert_eq!(ring.kept.len(), MOST);
        assert_eq!(ring.kept[0].at.at_us, SECOND + 9);
        assert!(size_of::<Kept>() <= 216, "{}", size_of::<Kept>());
        ring.want(&vec![client(1); MOST_WANTED + 5], 2 * SECOND);
        assert_eq!(ring.wanted.len(), MOST_WANTED);
        assert_eq!(asked(&mut ring, 2 * SECOND).len(), MOST_SENT);
        assert_eq!(ring.kept.len(), MOST - MOST_SENT);
    }
}
