//! The classic BPF program that keeps the kernel from copying what the witness has no use for.
//!
//! The instructions are those of `linux/filter.h`; a program begins at the IP header, since the
//! socket is a cooked one (packet(7)). The kernel refuses a load beyond the packet by ending the
//! program with 0, so that short packets need no checks of their own.

use std::collections::BTreeSet;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IND, BPF_JA, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K,
    BPF_LD, BPF_LDX, BPF_MEM, BPF_MISC, BPF_MSH, BPF_RET, BPF_RSH, BPF_ST, BPF_SUB, BPF_TAX, BPF_W,
    BPF_X, SKF_AD_HATYPE, SKF_AD_OFF, SKF_AD_PKTTYPE, SKF_AD_PROTOCOL, SKF_AD_VLAN_TAG_PRESENT,
};

/// Ports that one program can hold. Two tables of two instructions a port stay below 1,100
/// instructions, which every kernel's `net.core.optmem_max` takes; a site has a handful of ports.
pub(super) const MAX_PORTS: usize = 256;

/// Bytes of a packet that are copied: 60 of an IPv4 header at its longest and 60 of a TCP header
/// (RFC 791, RFC 9293).
pub(super) const SNAP_LENGTH: u32 = 120;

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) if_true: u8,
    pub(super) if_false: u8,
    pub(super) operand: u32,
}

const ETH_P_IP: u32 = libc::ETH_P_IP.cast_unsigned();
const ETH_P_IPV6: u32 = libc::ETH_P_IPV6.cast_unsigned();
const TCP: u32 = libc::IPPROTO_TCP.cast_unsigned();
const ARPHRD_LOOPBACK: u32 = libc::ARPHRD_LOOPBACK as u32;

/// `sll_pkttype` (linux/if_packet.h).
pub(super) const PACKET_HOST: u8 = 0;
/// `sll_pkttype` (linux/if_packet.h).
pub(super) const PACKET_OUTGOING: u8 = 4;

const SYN: u32 = 0x02;
const FIN: u32 = 0x01;
const RST: u32 = 0x04;
const ACK: u32 = 0x10;
/// Offset of the flags in the TCP header.
const FLAGS: u32 = 13;

/// The program for a set of TCP ports: at most [`MAX_PORTS`], of a larger set the lowest. An empty
/// set accepts nothing.
pub(super) fn program(ports: &BTreeSet<u16>) -> Vec<Instruction> {
    if ports.is_empty() {
        return vec![refuse()];
    }
    let mut program = link();
    program.extend(network(ports));
    program
}

/// Which packets are looked at, by what the kernel knows of them beside their bytes: IP that came in
/// for this host or goes out, once.
fn link() -> Vec<Instruction> {
    let mut code = vec![ancillary(SKF_AD_VLAN_TAG_PRESENT)];
    // A tagged frame is seen once more, without the tag, on its VLAN's own interface.
    code.extend(require(BPF_JEQ, 0));
    code.push(ancillary(SKF_AD_PROTOCOL));
    code.push(branch(BPF_JEQ, ETH_P_IP, 2, 0));
    code.extend(require(BPF_JEQ, ETH_P_IPV6));
    // On loopback every packet goes out and comes in; the going out is the one that counts.
    let mut incoming = require(BPF_JEQ, PACKET_HOST.into()).to_vec();
    incoming.push(ancillary(SKF_AD_HATYPE));
    incoming.extend(forbid(BPF_JEQ, ARPHRD_LOOPBACK));
    code.push(ancillary(SKF_AD_PKTTYPE));
    let past = short(incoming.len());
    code.push(branch(BPF_JEQ, PACKET_OUTGOING.into(), past, 0));
    code.extend(incoming);
    code
}

/// Which segments are taken, by their bytes from the IP header on: SYN, RST and FIN from or to a port of
/// the set, and ACKs without payload. A server's tell something only where they answer a SYN, which no
/// filter can know; where it sends much, they are few.
fn network(ports: &BTreeSet<u16>) -> Vec<Instruction> {
    let mut code = tcp_header();
    let mut taken = vec![load(BPF_B, BPF_IND, FLAGS)];
    let mut empty = pure_ack();
    empty.push(accept());
    let past = short(empty.len() - 1);
    taken.push(branch(BPF_JSET, SYN | RST | FIN, past, 0));
    taken.extend(empty);

    let ports: Vec<u16> = ports.iter().copied().take(MAX_PORTS).collect();
    let sources = matching(0, &ports, 1);
    code.extend(matching(2, &ports, sources.len() + 1));
    code.extend(sources);
    code.push(refuse());
    code.extend(taken);
    code
}

/// Leaves the offset of the TCP header in X and the length of header and payload in M\[0\]. Refuses
/// what is not TCP, IPv4 fragments but the first, and IPv6 with extension headers, which TCP does
/// not come with.
fn tcp_header() -> Vec<Instruction> {
    let mut v4 = vec![load(BPF_B, BPF_ABS, 9)];
    v4.extend(require(BPF_JEQ, TCP));
    v4.push(load(BPF_H, BPF_ABS, 6));
    v4.extend(forbid(BPF_JSET, 0x1fff));
    v4.push(statement(BPF_LDX | BPF_B | BPF_MSH, 0));
    v4.push(load(BPF_H, BPF_ABS, 2));
    v4.push(statement(BPF_ALU | BPF_SUB | BPF_X, 0));
    v4.push(statement(BPF_ST, 0));

    let mut v6 = vec![load(BPF_B, BPF_ABS, 6)];
    v6.extend(require(BPF_JEQ, TCP));
    v6.push(load(BPF_H, BPF_ABS, 4));
    v6.push(statement(BPF_ST, 0));
    v6.push(statement(BPF_LDX | BPF_W, 40));
    v6.push(jump(v4.len()));

    let mut code = vec![
        load(BPF_B, BPF_ABS, 0),
        statement(BPF_ALU | BPF_RSH | BPF_K, 4),
        branch(BPF_JEQ, 4, short(v6.len()), 0),
    ];
    code.extend(v6);
    code.extend(v4);
    code
}

/// Compares the port at an offset of the TCP header with the set. A match jumps over the rest of the
/// table and the `beyond` instructions after it; none falls through.
fn matching(offset: u32, ports: &[u16], beyond: usize) -> Vec<Instruction> {
    let mut code = vec![load(BPF_H, BPF_IND, offset)];
    for (index, port) in ports.iter().enumerate() {
        let rest = 2 * (ports.len() - 1 - index);
        // A conditional jump reaches 255 instructions, an unconditional one any.
        code.push(branch(BPF_JEQ, u32::from(*port), 0, 1));
        code.push(jump(rest + beyond));
    }
    code
}

/// Passes an ACK without payload; A holds the flags, X the offset of the TCP header.
fn pure_ack() -> Vec<Instruction> {
    let mut code = require(BPF_JSET, ACK).to_vec();
    // The data offset is in the upper four bits, in words of four bytes.
    code.push(load(BPF_B, BPF_IND, 12));
    code.push(statement(BPF_ALU | BPF_AND | BPF_K, 0xf0));
    code.push(statement(BPF_ALU | BPF_RSH | BPF_K, 2));
    code.push(statement(BPF_MISC | BPF_TAX, 0));
    code.push(statement(BPF_LD | BPF_MEM, 0));
    code.push(statement(BPF_ALU | BPF_SUB | BPF_X, 0));
    code.extend(require(BPF_JEQ, 0));
    code
}

fn require(condition: u32, operand: u32) -> [Instruction; 2] {
    [branch(condition, operand, 1, 0), refuse()]
}

fn forbid(condition: u32, operand: u32) -> [Instruction; 2] {
    [branch(condition, operand, 0, 1), refuse()]
}

fn refuse() -> Instruction {
    statement(BPF_RET | BPF_K, 0)
}

fn accept() -> Instruction {
    statement(BPF_RET | BPF_K, SNAP_LENGTH)
}

fn load(size: u32, mode: u32, offset: u32) -> Instruction {
    statement(BPF_LD | size | mode, offset)
}

fn ancillary(what: libc::c_int) -> Instruction {
    load(BPF_W, BPF_ABS, (SKF_AD_OFF + what).cast_unsigned())
}

fn jump(over: usize) -> Instruction {
    let over = u32::try_from(over).unwrap_or(u32::MAX);
    statement(BPF_JMP | BPF_JA, over)
}

fn branch(condition: u32, operand: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction {
        if_true,
        if_false,
        ..statement(BPF_JMP | condition | BPF_K, operand)
    }
}

fn statement(code: u32, operand: u32) -> Instruction {
    Instruction {
        // Every code of classic BPF fits in one byte.
        code: u16::try_from(code).unwrap_or(u16::MAX),
        if_true: 0,
        if_false: 0,
        operand,
    }
}

/// The blocks that are jumped over have a fixed length, far below 255.
fn short(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use etherparse::PacketBuilder;
    use proptest::prelude::*;
    use socket2::{SockFilter, SockRef};

    use super::*;

    /// The kernel's own verdict: the part of the program that reads the packet's bytes works on any
    /// datagram socket. Gives the bytes that come through.
    fn through(code: &[Instruction], packets: &[Vec<u8>]) -> Vec<Option<usize>> {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        receiver.set_nonblocking(true).unwrap();
        let filter: Vec<SockFilter> = code
            .iter()
            .map(|i| SockFilter::new(i.code, i.if_true, i.if_false, i.operand))
            .collect();
        SockRef::from(&receiver).attach_filter(&filter).unwrap();
        let verdict = |packet: &Vec<u8>| {
            sender.send(packet).unwrap();
            receiver.recv(&mut [0; 2000]).ok()
        };
        packets.iter().map(verdict).collect()
    }

    struct Row {
        v6: bool,
        source: u16,
        destination: u16,
        flags: u32,
        payload: usize,
        options: usize,
        expected: bool,
    }

    fn packet(row: &Row) -> Vec<u8> {
        let mut tcp = etherparse::TcpHeader::new(row.source, row.destination, 7, 1000);
        tcp.syn = row.flags & SYN != 0;
        tcp.ack = row.flags & ACK != 0;
        tcp.rst = row.flags & RST != 0;
        tcp.fin = row.flags & 1 != 0;
        tcp.set_options_raw(&vec![1; row.options]).unwrap();
        let builder = if row.v6 {
            PacketBuilder::ipv6([1; 16], [2; 16], 64)
        } else {
            PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        };
        let mut bytes = Vec::new();
        let payload = vec![0; row.payload];
        builder.tcp_header(tcp).write(&mut bytes, &payload).unwrap();
        bytes
    }

    #[test]
    fn the_kernel_takes_handshakes_and_resets_of_the_ports_alone() {
        let mut rows = Vec::new();
        for v6 in [false, true] {
            for options in [0, 12, 40] {
                let mut row = |source, destination, flags, payload, expected| {
                    rows.push(Row {
                        v6,
                        source,
                        destination,
                        flags,
                        payload,
                        options,
                        expected,
                    });
                };
                row(40000, 443, SYN, 0, true);
                row(40000, 80, SYN, 0, true);
                row(40000, 8080, SYN, 0, true);
                row(40000, 443, SYN, 500, true);
                row(443, 40000, SYN | ACK, 0, true);
                row(80, 40000, SYN | ACK, 0, true);
                row(40000, 443, ACK, 0, true);
                row(40000, 443, ACK | FIN, 0, true);
                row(40000, 443, ACK, 1, false);
                row(40000, 443, ACK, 1400, false);
                row(443, 40000, ACK, 0, true);
                row(443, 40000, ACK, 1400, false);
                row(443, 40000, RST, 0, true);
                row(443, 40000, RST | ACK, 0, true);
                row(40000, 443, RST, 0, true);
                row(40000, 443, FIN, 0, true);
                row(443, 40000, ACK | FIN, 700, true);
                row(40000, 444, SYN, 0, false);
                row(444, 40000, SYN | ACK, 0, false);
                row(40000, 444, ACK, 0, false);
                row(443, 80, ACK, 0, true);
            }
        }
        let code = network(&BTreeSet::from([80, 443, 8080]));
        let packets: Vec<Vec<u8>> = rows.iter().map(packet).collect();
        for ((row, bytes), got) in rows.iter().zip(&packets).zip(through(&code, &packets)) {
            let name = format!(
                "v6={} {}->{} flags {:#x} payload {} options {}",
                row.v6, row.source, row.destination, row.flags, row.payload, row.options
            );
            let snap = bytes.len().min(SNAP_LENGTH as usize);
            assert_eq!(got, row.expected.then_some(snap), "{name}");
        }
    }

    #[test]
    fn fragments_other_protocols_and_stumps_are_refused() {
        let syn = packet(&Row {
            v6: false,
            source: 1,
            destination: 443,
            flags: SYN,
            payload: 0,
            options: 0,
            expected: true,
        });
        let with = |offset: usize, value: u8| {
            let mut changed = syn.clone();
            changed[offset] = value;
            changed
        };
        let rows = [
            (syn.clone(), true),
            (with(6, 0x20), true),
            (with(7, 1), false),
            (with(6, 0x1f), false),
            (with(9, 17), false),
            (with(0, 0x55), false),
            (syn[..33].to_vec(), false),
            (syn[..20].to_vec(), false),
            (vec![0x45], false),
        ];
        let code = network(&BTreeSet::from([443]));
        let packets: Vec<Vec<u8>> = rows.iter().map(|(packet, _)| packet.clone()).collect();
        for (index, got) in through(&code, &packets).iter().enumerate() {
            assert_eq!(got.is_some(), rows[index].1, "row {index}");
        }
    }

    #[test]
    fn the_kernel_takes_as_many_ports_as_there_are() {
        for count in [1, 63, 64, 127, 128, 255, MAX_PORTS, 2000] {
            let ports: BTreeSet<u16> = (1000..).take(count).collect();
            let syn = |destination| {
                packet(&Row {
                    v6: false,
                    source: 9,
                    destination,
                    flags: SYN,
                    payload: 0,
                    options: 0,
                    expected: true,
                })
            };
            let last = 999 + u16::try_from(count.min(MAX_PORTS)).unwrap();
            let packets = [syn(1000), syn(last), syn(last + 1), syn(999)];
            let got = through(&network(&ports), &packets);
            let expected = [Some(40), Some(40), None, None];
            assert_eq!(got, expected, "{count} ports");
        }
    }

    #[test]
    fn an_empty_set_is_one_refusal() {
        assert_eq!(program(&BTreeSet::new()), [refuse()]);
    }

    proptest! {
        #[test]
        fn the_kernel_bears_any_bytes(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            let code = network(&BTreeSet::from([443]));
            let taken = through(&code, &[bytes]);
            prop_assert!(taken[0].is_none_or(|length| length <= SNAP_LENGTH as usize));
        }
    }
}
