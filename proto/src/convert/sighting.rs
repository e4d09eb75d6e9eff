//! What witnesses saw.

use localize::{
    Counter, Direction, FlowSighting, HostReading, ListenQueue, Packet, PacketHeaders, Seen,
    Setting, TcpOptions, VantageName, WitnessReport,
};

use super::{Malformed, few, name, narrow, socket};
use crate::v1;

/// Flows of one report, and kinds of packet of one flow: six packets, two ways, a few interfaces.
const MAX_FLOWS: usize = 20_000;
const MAX_SEEN: usize = 64;
/// Values of one reading of a host: several times as many as are known.
const MAX_VALUES: usize = 200;
/// Packets of one report: four times as many as a witness sends.
const MAX_PACKETS: usize = 2_048;
/// Bytes of one packet: 60 of an IPv4 header at its longest and 60 of a TCP header (RFC 791, RFC 9293).
const MAX_HEADERS: usize = 120;

fn packet_to_wire(packet: Packet) -> v1::Packet {
    match packet {
        Packet::Syn => v1::Packet::Syn,
        Packet::SynAck => v1::Packet::SynAck,
        Packet::Ack => v1::Packet::Ack,
        Packet::ResetByClient => v1::Packet::ResetByClient,
        Packet::ResetByServer => v1::Packet::ResetByServer,
        Packet::StaleAck => v1::Packet::StaleAck,
        Packet::Established => v1::Packet::Established,
    }
}

fn packet_from_wire(value: i32) -> Result<Packet, Malformed> {
    match v1::Packet::try_from(value) {
        Ok(v1::Packet::Syn) => Ok(Packet::Syn),
        Ok(v1::Packet::SynAck) => Ok(Packet::SynAck),
        Ok(v1::Packet::Ack) => Ok(Packet::Ack),
        Ok(v1::Packet::ResetByClient) => Ok(Packet::ResetByClient),
        Ok(v1::Packet::ResetByServer) => Ok(Packet::ResetByServer),
        Ok(v1::Packet::StaleAck) => Ok(Packet::StaleAck),
        Ok(v1::Packet::Established) => Ok(Packet::Established),
        Ok(v1::Packet::Unspecified) => Err(Malformed::Missing("packet")),
        Err(_) => Err(Malformed::Unknown {
            field: "packet",
            value: value.into(),
        }),
    }
}

impl From<TcpOptions> for v1::TcpOptions {
    fn from(options: TcpOptions) -> Self {
        Self {
            mss: options.mss.map(Into::into),
            window_scale: options.window_scale.map(Into::into),
            sack: options.sack,
            timestamps: options.timestamps,
            ecn: options.ecn,
        }
    }
}

impl TryFrom<v1::TcpOptions> for TcpOptions {
    type Error = Malformed;

    fn try_from(wire: v1::TcpOptions) -> Result<Self, Malformed> {
        let mss = wire
            .mss
            .map(|mss| narrow("options.mss", mss, u16::MAX.into()));
        let scale = wire.window_scale;
        let scale = scale.map(|by| narrow("options.window_scale", by, u8::MAX.into()));
        Ok(Self {
            mss: mss.transpose()?,
            window_scale: scale.transpose()?,
            sack: wire.sack,
            timestamps: wire.timestamps,
            ecn: wire.ecn,
        })
    }
}

impl From<&FlowSighting> for v1::FlowSighting {
    fn from(flow: &FlowSighting) -> Self {
        Self {
            client: flow.client.to_string(),
            server: flow.server.to_string(),
            seen: flow
                .seen
                .iter()
                .map(|seen| v1::Seen {
                    packet: packet_to_wire(seen.packet).into(),
                    out: seen.direction == Direction::Out,
                    interface: seen.interface.clone(),
                    count: seen.count,
                    first: Some(seen.first.into()),
                    options: seen.options.map(Into::into),
                })
                .collect(),
        }
    }
}

impl TryFrom<v1::FlowSighting> for FlowSighting {
    type Error = Malformed;

    fn try_from(wire: v1::FlowSighting) -> Result<Self, Malformed> {
        few("flow.seen", &wire.seen, MAX_SEEN)?;
        let seen = wire.seen.into_iter().map(|seen| {
            Ok(Seen {
                packet: packet_from_wire(seen.packet)?,
                direction: direction(seen.out),
                interface: name("seen.interface", seen.interface)?,
                count: seen.count,
                first: seen
                    .first
                    .ok_or(Malformed::Missing("seen.first"))?
                    .try_into()?,
                options: seen.options.map(TryInto::try_into).transpose()?,
            })
        });
        Ok(Self {
            client: socket("flow.client", &wire.client)?,
            server: socket("flow.server", &wire.server)?,
            seen: seen.collect::<Result<_, Malformed>>()?,
        })
    }
}

impl From<&ListenQueue> for v1::host_reading::Queue {
    fn from(queue: &ListenQueue) -> Self {
        Self {
            local: queue.local.to_string(),
            waiting: queue.waiting,
            room: queue.room,
        }
    }
}

impl TryFrom<v1::host_reading::Queue> for ListenQueue {
    type Error = Malformed;

    fn try_from(wire: v1::host_reading::Queue) -> Result<Self, Malformed> {
        Ok(Self {
            local: socket("queue.local", &wire.local)?,
            waiting: wire.waiting,
            room: wire.room,
        })
    }
}

fn values<T>(
    known: impl IntoIterator<Item = (T, u64)>,
    word: fn(T) -> &'static str,
) -> Vec<v1::host_reading::Value> {
    let value = |(item, value)| v1::host_reading::Value {
        word: word(item).to_owned(),
        value,
    };
    known.into_iter().map(value).collect()
}

impl From<&HostReading> for v1::HostReading {
    fn from(reading: &HostReading) -> Self {
        let rose = reading.rose.iter().map(|(counter, by)| (*counter, *by));
        let settings = reading.settings.iter().map(|(setting, to)| (*setting, *to));
        let unread = reading.unread.iter();
        Self {
            rose: values(rose, Counter::word),
            unread: unread.map(|counter| counter.word().to_owned()).collect(),
            settings: values(settings, Setting::word),
            queues: reading.queues.iter().map(Into::into).collect(),
        }
    }
}

/// A newer agent may read more than is known here: its words are left out, and not refused.
impl TryFrom<v1::HostReading> for HostReading {
    type Error = Malformed;

    fn try_from(wire: v1::HostReading) -> Result<Self, Malformed> {
        few("host.rose", &wire.rose, MAX_VALUES)?;
        few("host.unread", &wire.unread, MAX_VALUES)?;
        few("host.settings", &wire.settings, MAX_VALUES)?;
        few("host.queues", &wire.queues, MAX_VALUES)?;
        let rose = wire.rose.iter();
        let unread = wire.unread.iter();
        let settings = wire.settings.iter();
        Ok(Self {
            rose: rose
                .filter_map(|v| Some((Counter::of_word(&v.word)?, v.value)))
                .collect(),
            unread: unread.filter_map(|word| Counter::of_word(word)).collect(),
            settings: settings
                .filter_map(|v| Some((Setting::of_word(&v.word)?, v.value)))
                .collect(),
            queues: wire
                .queues
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<&PacketHeaders> for v1::PacketHeaders {
    fn from(packet: &PacketHeaders) -> Self {
        Self {
            at: Some(packet.at.into()),
            out: packet.direction == Direction::Out,
            interface: packet.interface.clone(),
            headers: packet.bytes.clone(),
        }
    }
}

impl TryFrom<v1::PacketHeaders> for PacketHeaders {
    type Error = Malformed;

    fn try_from(wire: v1::PacketHeaders) -> Result<Self, Malformed> {
        few("packet.headers", &wire.headers, MAX_HEADERS)?;
        Ok(Self {
            at: wire.at.ok_or(Malformed::Missing("packet.at"))?.try_into()?,
            direction: direction(wire.out),
            interface: name("packet.interface", wire.interface)?,
            bytes: wire.headers,
        })
    }
}

fn direction(out: bool) -> Direction {
    match out {
        true => Direction::Out,
        false => Direction::In,
    }
}

impl From<&WitnessReport> for v1::WitnessReport {
    fn from(report: &WitnessReport) -> Self {
        Self {
            witness: report.witness.0.clone(),
            sequence: report.sequence,
            from: Some(report.from.into()),
            to: Some(report.to.into()),
            dropped: report.dropped,
            flows: report.flows.iter().map(v1::FlowSighting::from).collect(),
            host: report.host.as_ref().map(Into::into),
            packets: report.packets.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::WitnessReport> for WitnessReport {
    type Error = Malformed;

    fn try_from(wire: v1::WitnessReport) -> Result<Self, Malformed> {
        few("report.flows", &wire.flows, MAX_FLOWS)?;
        few("report.packets", &wire.packets, MAX_PACKETS)?;
        Ok(Self {
            witness: VantageName(name("report.witness", wire.witness)?),
            sequence: wire.sequence,
            from: wire
                .from
                .ok_or(Malformed::Missing("report.from"))?
                .try_into()?,
            to: wire.to.ok_or(Malformed::Missing("report.to"))?.try_into()?,
            dropped: wire.dropped,
            flows: wire
                .flows
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            host: wire.host.map(TryInto::try_into).transpose()?,
            packets: wire
                .packets
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
        })
    }
}
