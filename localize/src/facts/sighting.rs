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
}
