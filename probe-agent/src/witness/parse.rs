//! From a packet's first bytes to what the witness wants to know of it.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice, TcpHeaderSlice, TcpOptionElement};
use localize::TcpOptions;

/// A TCP segment that takes part in a handshake or ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    /// Its sequence number (RFC 9293 section 3.1).
    pub(super) sequence: u32,
    /// What it acknowledges; means nothing without ACK.
    pub(super) acknowledges: u32,
    pub(super) kind: SegmentKind,
    /// What it offers; of SYNs and SYN-ACKs alone.
    pub(super) options: Option<TcpOptions>,
    /// Bytes of both headers with their options: what lies behind them is the users' own.
    pub(super) headers: usize,
}

/// What its flags make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentKind {
    /// SYN without ACK.
    Syn,
    /// SYN with ACK.
    SynAck,
    /// ACK without SYN, RST and FIN.
    Ack,
    /// FIN with ACK, as every FIN has.
    Fin,
    /// RST, whatever else.
    Reset,
}

/// Reads IP and TCP header; what lies behind them may be missing. `None` for whatever is not TCP,
/// is a later fragment, or is too short.
pub(super) fn parse(packet: &[u8]) -> Option<Segment> {
    let (source, destination, tcp) = match packet.first()? >> 4 {
        4 => {
            let ip = Ipv4HeaderSlice::from_slice(packet).ok()?;
            let first = ip.fragments_offset().value() == 0;
            let tcp = packet.get(ip.slice().len()..)?;
            (first && ip.protocol() == IpNumber::TCP).then_some((
                IpAddr::from(ip.source_addr()),
                IpAddr::from(ip.destination_addr()),
                tcp,
            ))?
        }
        6 => {
            let ip = Ipv6HeaderSlice::from_slice(packet).ok()?;
            let tcp = packet.get(ip.slice().len()..)?;
            (ip.next_header() == IpNumber::TCP).then_some((
                IpAddr::from(ip.source_addr()),
                IpAddr::from(ip.destination_addr()),
                tcp,
            ))?
        }
        _ => return None,
    };
    let before = packet.len() - tcp.len();
    let tcp = TcpHeaderSlice::from_slice(tcp).ok()?;
    let mut kind = kind(tcp.syn(), tcp.ack(), tcp.rst())?;
    if kind == SegmentKind::Ack && tcp.fin() {
        kind = SegmentKind::Fin;
    }
    let offers = matches!(kind, SegmentKind::Syn | SegmentKind::SynAck);
    Some(Segment {
        source: SocketAddr::new(source, tcp.source_port()),
        destination: SocketAddr::new(destination, tcp.destination_port()),
        sequence: tcp.sequence_number(),
        acknowledges: tcp.acknowledgment_number(),
        kind,
        options: offers.then(|| options(&tcp, kind)),
        headers: before + tcp.slice().len(),
    })
}

/// What stands before the first option that cannot be read is taken.
fn options(tcp: &TcpHeaderSlice<'_>, kind: SegmentKind) -> TcpOptions {
    let mut options = TcpOptions {
        ecn: tcp.ece() && (tcp.cwr() || kind == SegmentKind::SynAck),
        ..TcpOptions::default()
    };
    for option in tcp.options_iterator().map_while(Result::ok) {
        match option {
            TcpOptionElement::MaximumSegmentSize(bytes) => options.mss = Some(bytes),
            TcpOptionElement::WindowScale(shift) => options.window_scale = Some(shift),
            TcpOptionElement::SelectiveAcknowledgementPermitted => options.sack = true,
            TcpOptionElement::Timestamp(..) => options.timestamps = true,
            TcpOptionElement::Noop | TcpOptionElement::SelectiveAcknowledgement(..) => {}
        }
    }
    options
}

fn kind(syn: bool, ack: bool, rst: bool) -> Option<SegmentKind> {
    match (rst, syn, ack) {
        (true, _, _) => Some(SegmentKind::Reset),
        (false, true, false) => Some(SegmentKind::Syn),
        (false, true, true) => Some(SegmentKind::SynAck),
        (false, false, true) => Some(SegmentKind::Ack),
        (false, false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::*;

    fn v4(flags: &str) -> Vec<u8> {
        let mut tcp = etherparse::TcpHeader::new(40000, 443, 77, 1000);
        tcp.syn = flags.contains('S');
        tcp.ack = flags.contains('A');
        tcp.rst = flags.contains('R');
        tcp.fin = flags.contains('F');
        let mut bytes = Vec::new();
        PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp_header(tcp)
            .write(&mut bytes, &[0; 30])
            .unwrap();
        bytes
    }

    #[test]
    fn flags_make_the_kind() {
        let rows = [
            ("S", Some(SegmentKind::Syn)),
            ("SA", Some(SegmentKind::SynAck)),
            ("A", Some(SegmentKind::Ack)),
            ("FA", Some(SegmentKind::Fin)),
            ("R", Some(SegmentKind::Reset)),
            ("RA", Some(SegmentKind::Reset)),
            ("SR", Some(SegmentKind::Reset)),
            ("F", None),
            ("", None),
        ];
        for (flags, expected) in rows {
            let got = parse(&v4(flags)).map(|segment| segment.kind);
            assert_eq!(got, expected, "{flags}");
        }
    }

    #[test]
    fn the_payload_may_be_cut_and_the_headers_not() {
        let whole = v4("S");
        let expected = Some(Segment {
            source: "10.0.0.1:40000".parse().unwrap(),
            destination: "10.0.0.2:443".parse().unwrap(),
            sequence: 77,
            acknowledges: 0,
            kind: SegmentKind::Syn,
            options: Some(TcpOptions::default()),
            headers: 40,
        });
        for length in 0..=whole.len() {
            let got = parse(&whole[..length]);
            assert_eq!(got, expected.filter(|_| length >= 40), "{length} bytes");
        }
    }

    #[test]
    fn options_are_what_a_handshake_offers() {
        use TcpOptionElement::{
            MaximumSegmentSize, Noop, SelectiveAcknowledgementPermitted, Timestamp, WindowScale,
        };
        let linux = [
            MaximumSegmentSize(1460),
            SelectiveAcknowledgementPermitted,
            Timestamp(7, 0),
            Noop,
            WindowScale(7),
        ];
        let whole = TcpOptions {
            mss: Some(1460),
            window_scale: Some(7),
            sack: true,
            timestamps: true,
            ecn: false,
        };
        let ecn = TcpOptions { ecn: true, ..whole };
        let offered = |flags: &str| {
            let mut tcp = etherparse::TcpHeader::new(40000, 443, 77, 1000);
            tcp.syn = flags.contains('S');
            tcp.ack = flags.contains('A');
            tcp.ece = flags.contains('E');
            tcp.cwr = flags.contains('C');
            tcp.set_options(&linux).unwrap();
            let mut bytes = Vec::new();
            let packet = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp_header(tcp);
            packet.write(&mut bytes, &[]).unwrap();
            parse(&bytes).unwrap().options
        };
        let rows = [
            ("S", Some(whole)),
            ("SEC", Some(ecn)),
            ("SE", Some(whole)),
            ("SA", Some(whole)),
            ("SAE", Some(ecn)),
            ("A", None),
        ];
        for (flags, expected) in rows {
            assert_eq!(offered(flags), expected, "{flags}");
        }
        // A length of nothing ends what can be read.
        let mut broken = v4("S");
        broken[32] = 0x60;
        broken.splice(40..40, [2, 0, 0, 0]);
        assert_eq!(parse(&broken).unwrap().options, Some(TcpOptions::default()));
    }

    #[test]
    fn ipv6_and_what_is_not_tcp() {
        let mut v6 = Vec::new();
        PacketBuilder::ipv6([0x20; 16], [0x30; 16], 64)
            .tcp(1, 2, 3, 4)
            .syn()
            .write(&mut v6, &[])
            .unwrap();
        let parsed = parse(&v6).unwrap();
        assert!(parsed.source.is_ipv6() && parsed.destination.port() == 2);
        let mut udp = Vec::new();
        PacketBuilder::ipv4([1; 4], [2; 4], 64)
            .udp(1, 2)
            .write(&mut udp, &[0; 40])
            .unwrap();
        let mut later_fragment = v4("S");
        later_fragment[7] = 1;
        let mut first_fragment = v4("S");
        first_fragment[6] = 0x20;
        assert_eq!(parse(&udp), None);
        assert_eq!(parse(&later_fragment), None);
        assert!(parse(&first_fragment).is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn bytes_that_begin_well_are_borne(
            bytes in prop::collection::vec(any::<u8>(), 0..150),
            version in prop_oneof![Just(0x45_u8), Just(0x4f), Just(0x60)],
        ) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            for at in [6, 9] {
                if let Some(protocol) = bytes.get_mut(at) {
                    *protocol = 6;
                }
            }
            let _ = parse(&bytes);
        }
    }
}
