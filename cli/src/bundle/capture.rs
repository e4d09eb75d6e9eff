//! The packets as a capture file that tcpdump and Wireshark read: pcap-ng (draft-ietf-opsawg-pcapng), with an
//! interface for each host and interface that saw one.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use localize::{Direction, Observation, Outcome, PacketHeaders, WitnessReport};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, Endianness, PcapError};

/// Before each packet stands what Linux says of one in place of a link's header: that has the way it went, which
/// `tcpdump -e` shows. Without one (LINKTYPE_RAW) libpcap 1.10.3 reads no file of several interfaces.
const LINK: DataLink = DataLink::LINUX_SLL;
/// Bytes of that.
const COOKED: u32 = 16;
/// The longest headers of IP and TCP behind it (RFC 791, RFC 9293).
const SNAP_LENGTH: u32 = COOKED + 120;
/// To this host, and sent by it (linux/if_packet.h).
const PACKET_HOST: u16 = 0;
const PACKET_OUTGOING: u16 = 4;
/// A link of which nothing is known (linux/if_arp.h).
const ARPHRD_VOID: u16 = 0xffff;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Times are in units of 10^-9 s, as the writer has them.
const NANOSECONDS: u8 = 9;
/// Bits of a packet's flags: which way it went.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;
/// How long before a probe began a packet may seem to have been seen, in microseconds: clocks of two hosts differ
/// by their bounds.
const BEFORE_US: u64 = 1_000_000;

/// A packet with the host that saw it.
#[derive(Clone, Copy)]
struct Seen<'c> {
    witness: &'c str,
    packet: &'c PacketHeaders,
}

/// Whose connections the packets are: the probes that failed, by where they left from and when.
struct Probes<'c>(BTreeMap<(SocketAddr, u64), &'c Observation>);

impl<'c> Probes<'c> {
    fn of(observations: &[&'c Observation]) -> Self {
        let failed = observations.iter().copied();
        let failed = failed.filter(|seen| matches!(seen.outcome, Outcome::Failed { .. }));
        let failed = failed.filter_map(|seen| {
            let local = seen.facts.tcp.as_ref()?.local;
            Some(((local, seen.started.at_us), seen))
        });
        Self(failed.collect())
    }

    /// The probe that a packet is of: the last one from its port that had begun by then.
    fn whose(&self, packet: &PacketHeaders) -> Option<&'c Observation> {
        let (from, to) = packet.ends()?;
        let until_us = packet.at.at_us.saturating_add(BEFORE_US);
        let of = |end| self.0.range((end, 0)..=(end, until_us)).next_back();
        of(from).or_else(|| of(to)).map(|(_, probe)| *probe)
    }
}

/// The capture file of the packets of all reports, in the order of their times.
///
/// # Errors
/// When something cannot be said in the format.
pub(super) fn file(
    observations: &[&Observation],
    reports: &[&WitnessReport],
) -> io::Result<Vec<u8>> {
    let written = write(observations, reports);
    written.map_err(|error| io::Error::other(format!("packets.pcapng: {error}")))
}

fn write(observations: &[&Observation], reports: &[&WitnessReport]) -> Result<Vec<u8>, PcapError> {
    let seen = seen(reports);
    let places: BTreeSet<(&str, &str)> = seen.iter().map(|seen| seen.place()).collect();
    let numbers: BTreeMap<(&str, &str), u32> = places.iter().copied().zip(0..).collect();
    let probes = Probes::of(observations);
    let mut writer = PcapNgWriter::with_endianness(Vec::new(), Endianness::Little)?;
    for (witness, interface) in places {
        writer.write_pcapng_block(described(witness, interface))?;
    }
    for seen in &seen {
        let number = numbers.get(&seen.place()).copied().unwrap_or(0);
        writer.write_pcapng_block(seen.block(number, probes.whose(seen.packet)))?;
    }
    Ok(writer.into_inner())
}

fn seen<'c>(reports: &[&'c WitnessReport]) -> Vec<Seen<'c>> {
    let all = reports.iter().copied().flat_map(|report| {
        let witness = report.witness.0.as_str();
        let packets = report.packets.iter();
        packets.map(move |packet| Seen { witness, packet })
    });
    let mut seen: Vec<Seen> = all.collect();
    seen.sort_by_key(|seen| seen.packet.at.at_us);
    seen
}

fn described(witness: &str, interface: &str) -> InterfaceDescriptionBlock<'static> {
    let comment = format!(
        "What the agent {witness} saw on {interface} of its host, of probes that failed: headers alone. \
         Times are those of the mesh, the same on all hosts within the bounds that each packet names."
    );
    InterfaceDescriptionBlock {
        linktype: LINK,
        snaplen: SNAP_LENGTH,
        options: vec![
            InterfaceDescriptionOption::IfName(Cow::Owned(format!("{witness}:{interface}"))),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            InterfaceDescriptionOption::Comment(Cow::Owned(comment)),
        ],
    }
}

impl<'c> Seen<'c> {
    /// Host and interface.
    fn place(&self) -> (&'c str, &'c str) {
        (self.witness, &self.packet.interface)
    }

    /// The packet behind what Linux says of one (LINKTYPE_LINUX_SLL): its way, its link, no address, its protocol.
    fn cooked(&self) -> Vec<u8> {
        let way = match self.packet.direction {
            Direction::In => PACKET_HOST,
            Direction::Out => PACKET_OUTGOING,
        };
        let protocol = match self.packet.bytes.first() {
            Some(first) if first >> 4 == 6 => ETHERTYPE_IPV6,
            _ => ETHERTYPE_IPV4,
        };
        let mut cooked = Vec::with_capacity(self.packet.bytes.len() + 16);
        cooked.extend(way.to_be_bytes());
        cooked.extend(ARPHRD_VOID.to_be_bytes());
        cooked.extend([0; 10]);
        cooked.extend(protocol.to_be_bytes());
        cooked.extend(&self.packet.bytes);
        cooked
    }

    fn block(&self, interface_id: u32, probe: Option<&Observation>) -> EnhancedPacketBlock<'c> {
        let PacketHeaders { at, direction, .. } = self.packet;
        let (way, flags) = match direction {
            Direction::In => ("in at", INBOUND),
            Direction::Out => ("out from", OUTBOUND),
        };
        let mut comment = format!(
            "{way} {} by {}, to within {} us",
            self.witness, self.packet.interface, at.uncertainty_us
        );
        if let Some(probe) = probe {
            comment += &format!(
                "; probe {} from {}, round {}",
                probe.arm.label(),
                probe.vantage(),
                probe.round.0
            );
        }
        EnhancedPacketBlock {
            interface_id,
            timestamp: Duration::from_micros(at.at_us),
            original_len: self.packet.length().saturating_add(COOKED),
            data: Cow::Owned(self.cooked()),
            options: vec![
                EnhancedPacketOption::Comment(Cow::Owned(comment)),
                EnhancedPacketOption::Flags(flags),
            ],
        }
    }
}
