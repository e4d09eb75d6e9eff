//! What a passive witness saw of a flow.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::facts::host::HostReading;
use crate::facts::time::Stamp;
use crate::facts::topology::VantageName;

/// Which packet of a TCP flow was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packet {
    /// SYN without ACK, from the client.
    Syn,
    /// SYN with ACK, from the server.
    SynAck,
    /// The client's first segment with ACK and without SYN or RST: the handshake is complete.
    Ack,
    /// RST from the client.
    ResetByClient,
    /// RST from the server.
    ResetByServer,
    /// An ACK in answer to a SYN that acknowledges something else: the server takes the SYN for a stray
    /// segment of a connection before (RFC 9293, section 3.10.7.4; RFC 5961, section 4).
    StaleAck,
    /// A segment, from either side, that a connection which was made alone has: more than the handshake is
    /// acknowledged, or it ends with a FIN. The first of a connection whose handshake was completed by a
    /// segment with payload, which no witness sees.
    Established,
}

/// What a SYN or SYN-ACK offers or takes up (RFC 9293, RFC 7323, RFC 2018, RFC 3168).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TcpOptions {
    /// The maximum segment size, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mss: Option<u16>,
    /// The window scale, as a shift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_scale: Option<u8>,
    /// Selective acknowledgements are permitted.
    #[serde(default)]
    pub sack: bool,
    /// It bears timestamps.
    #[serde(default)]
    pub timestamps: bool,
    /// Explicit congestion notification: ECE and CWR in a SYN, ECE alone in a SYN-ACK.
    #[serde(default)]
    pub ecn: bool,
}

/// Which way a packet went, seen from the witness's host (`sll_pkttype`, packet(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It came in.
    In,
    /// It went out.
    Out,
}

/// A kind of packet, seen so many times on one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The kind of packet.
    pub packet: Packet,
    /// Which way it went.
    pub direction: Direction,
    /// The interface's name.
    pub interface: String,
    /// How many.
    pub count: u32,
    /// When the first was seen.
    pub first: Stamp,
    /// What the first one offered, of SYNs and SYN-ACKs; absent where the agent does not know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<TcpOptions>,
}

/// What a witness saw of one flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowSighting {
    /// The side that sends the SYN.
    pub client: SocketAddr,
    /// The side that the SYN is for, as addressed at the witness.
    pub server: SocketAddr,
    /// The packets seen, sorted by packet, direction and interface.
    pub seen: Vec<Seen>,
}

impl FlowSighting {
    /// Whether its handshake began in this stretch and did not end in it. One in a thousand or so is merely cut
    /// by the end of the stretch.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        let saw = |packet| self.seen.iter().any(|seen| seen.packet == packet);
        saw(Packet::Syn) && !saw(Packet::Ack) && !saw(Packet::Established)
    }
}

/// What one witness saw in one stretch of time. Stretches of one witness do not overlap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessReport {
    /// The vantage point whose agent is the witness.
    pub witness: VantageName,
    /// Report number of that agent, rising by one; names the report for ever.
    pub sequence: u64,
    /// Start of the stretch, in mesh time.
    pub from: Stamp,
    /// End of the stretch.
    pub to: Stamp,
    /// Packets that the kernel dropped before the witness read them (`PACKET_STATISTICS`), and flows
    /// over the witness's bound. When it is not zero, silence proves nothing.
    pub dropped: u64,
    /// The flows of which a packet was seen in this stretch, with that stretch's counts: a flow may
    /// stand in several reports, and its counts add up.
    pub flows: Vec<FlowSighting>,
    /// What the host's kernel counted in this stretch; absent where the agent cannot read that, or does
    /// not know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostReading>,
    /// Packets of connections whose probes failed, as far as the witness had them when it was asked; of the
    /// minute before `to`. They decide nothing: they are for whoever has to be convinced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packets: Vec<PacketHeaders>,
}

/// The headers of one packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketHeaders {
    /// When the kernel saw it.
    pub at: Stamp,
    /// Which way it went.
    pub direction: Direction,
    /// The interface's name.
    pub interface: String,
    /// IP and TCP header with their options, and no byte of what is behind them (RFC 791, RFC 8200,
    /// RFC 9293).
    #[serde(with = "hex::serde")]
    pub bytes: Vec<u8>,
}

impl PacketHeaders {
    /// Who sent it and to whom, address and port; `None` where the bytes are no headers of TCP.
    #[must_use]
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        let (from, to, tcp) = match self.version()? {
            4 => (
                self.address::<4>(12)?.into(),
                self.address::<4>(16)?.into(),
                usize::from(self.bytes.first()? & 0x0f) * 4,
            ),
            6 => (
                self.address::<16>(8)?.into(),
                self.address::<16>(24)?.into(),
                40,
            ),
            _ => return None,
        };
        Some((
            SocketAddr::new(from, self.number(tcp)?),
            SocketAddr::new(to, self.number(tcp + 2)?),
        ))
    }

    /// Bytes of the whole packet with what was behind its headers, as the IP header says; no fewer than there
    /// are. Of what a host hands to its interface in one piece, to be cut there, the header may say nothing.
    #[must_use]
    pub fn length(&self) -> u32 {
        let said = match self.version() {
            Some(4) => self.number(2).map(u32::from),
            Some(6) => self.number(4).map(|behind| u32::from(behind) + 40),
            _ => None,
        };
        let here = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        said.unwrap_or(here).max(here)
    }

    fn version(&self) -> Option<u8> {
        Some(self.bytes.first()? >> 4)
    }

    fn address<const N: usize>(&self, place: usize) -> Option<[u8; N]> {
        self.bytes.get(place..place + N)?.try_into().ok()
    }

    fn number(&self, place: usize) -> Option<u16> {
        self.address(place).map(u16::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;
    use alloc::vec;

    use super::*;

    fn packet(bytes: Vec<u8>) -> PacketHeaders {
        PacketHeaders {
            at: Stamp::default(),
            direction: Direction::In,
            interface: "eth0".to_string(),
            bytes,
        }
    }

    /// Of 192.0.2.1:40000 to 192.0.2.2:443, with an option of IP, ten bytes of payload behind it.
    fn v4() -> Vec<u8> {
        let mut bytes = vec![0x46, 0, 0, 54, 0, 0, 0, 0, 64, 6, 0, 0];
        bytes.extend([192, 0, 2, 1, 192, 0, 2, 2, 1, 1, 1, 1]);
        bytes.extend([156, 64, 1, 187]);
        bytes.extend([0; 16]);
        bytes
    }

    #[test]
    fn ends_and_length_are_read_from_the_headers() {
        let mut v6 = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
        v6.extend([0; 15].into_iter().chain([1]));
        v6.extend([0; 15].into_iter().chain([2]));
        v6.extend([156, 64, 1, 187]);
        v6.extend([0; 16]);
        for (bytes, from, to, length) in [
            (v4(), "192.0.2.1:40000", "192.0.2.2:443", 54),
            (v6, "[::1]:40000", "[::2]:443", 60),
        ] {
            let packet = packet(bytes);
            let ends = packet.ends().map(|(a, b)| (a.to_string(), b.to_string()));
            assert_eq!(ends, Some((from.to_string(), to.to_string())));
            assert_eq!(packet.length(), length);
        }
    }

    #[test]
    fn stumps_and_whatever_else_have_no_ends() {
        for length in 0..28 {
            assert_eq!(packet(v4()[..length].to_vec()).ends(), None, "{length}");
        }
        assert_eq!(packet(vec![0x75; 60]).ends(), None);
        // What says to be shorter than it is.
        let mut short = v4();
        short[3] = 4;
        assert_eq!(packet(short).length(), 44);
    }
}
