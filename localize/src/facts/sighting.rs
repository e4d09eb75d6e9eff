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
