//! The witness's memory: which packets belong to which flow, and what one stretch of time has shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use localize::{Direction, FlowSighting, HostReading, Packet, Seen, Stamp, TcpOptions};

use super::WitnessBatch;
use super::parse::{Segment, SegmentKind};

/// Flows whose handshake is not complete. A flow is about 200 bytes, so that a flood of SYNs costs
/// 4 MB at most; a busy balancer has some hundreds open.
const MAX_OPEN: usize = 20_000;

/// Completed flows that are remembered for a reset to come. A completed flow over this bound is
/// forgotten at once: its handshake is reported whole, and only a reset soon after it is missed.
const MAX_LINGERING: usize = 20_000;

/// Flows of one batch. With the next bound it keeps a batch below the 4 MiB of a gRPC message,
/// whatever the addresses and names of interfaces.
const MAX_REPORTED: usize = 10_000;

/// Kinds of packets of one batch, over all of its flows: four for each flow, where a quiet server has
/// three and a host with bonded or bridged interfaces a dozen.
const MAX_KINDS: usize = 40_000;

/// How long a flow is remembered after its last packet that counted. A SYN sent again after that
/// makes the flow known again, so that only an answer or a reset later than this is missed.
const MEMORY_US: u64 = 10_000_000;

/// No segment is further ahead of another one of its connection than a window (RFC 7323, section 2.3).
const WINDOW: u32 = 1 << 30;

/// A clock that goes back by this much was wrong before, rather than a little fast.
const STEP_US: u64 = 1_000_000;

/// One packet as the capture socket gave it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighted {
    pub(super) segment: Segment,
    pub(super) direction: Direction,
    /// The interface's index.
    pub(super) interface: u32,
    pub(super) at: Stamp,
}

/// Flows known, and the packets of the stretch that is under way.
#[derive(Debug)]
pub(super) struct FlowTable {
    from: Stamp,
    known: BTreeMap<FlowKey, Flow>,
    /// How many of the known are not complete; the others linger.
    open: usize,
    stretch: BTreeMap<FlowKey, BTreeMap<SeenKey, Tally>>,
    /// Kinds of packets in the stretch, over all flows.
    kinds: usize,
    dropped: u64,
}

/// Client, then server.
type FlowKey = (SocketAddr, SocketAddr);

/// A kind of packet on an interface, by index.
type SeenKey = (Packet, Direction, u32);

#[derive(Debug)]
struct Flow {
    /// The SYN's sequence number: tells this incarnation of the flow from the one before.
    initial: u32,
    /// A SYN-ACK was seen.
    answered: bool,
    /// Where the handshake's last segment was seen. A host that forwards sees it come and go, so
    /// that this has an entry for each interface that it passes; empty while the flow is open.
    completed: Vec<(Direction, u32)>,
    last_us: u64,
}

#[derive(Clone, Copy, Debug)]
struct Tally {
    count: u32,
    first: Stamp,
    options: Option<TcpOptions>,
}

impl FlowTable {
    /// An empty table whose first stretch begins at `from`.
    pub(super) fn new(from: Stamp) -> Self {
        Self {
            from,
            known: BTreeMap::new(),
            open: 0,
            stretch: BTreeMap::new(),
            kinds: 0,
            dropped: 0,
        }
    }

    /// Takes a packet in. Packets of a flow whose SYN was not seen say nothing that can be trusted,
    /// such as who the client is, and are passed over: then it is false.
    pub(super) fn see(&mut self, sighted: Sighted) -> bool {
        let Segment {
            source,
            destination,
            sequence,
            acknowledges,
            kind,
            options: _,
            headers: _,
        } = sighted.segment;
        let (forth, back) = ((source, destination), (destination, source));
        let now_us = sighted.at.at_us;
        let (flow, packet) = match kind {
            SegmentKind::Syn if self.open_flow(forth, sequence, now_us) => (forth, Packet::Syn),
            SegmentKind::SynAck if self.answer(back, now_us) => (back, Packet::SynAck),
            SegmentKind::Ack | SegmentKind::Fin if self.complete(forth, sighted) => {
                (forth, Packet::Ack)
            }
            SegmentKind::Ack | SegmentKind::Fin if self.establish(forth, sequence, sighted) => {
                (forth, Packet::Established)
            }
            SegmentKind::Ack | SegmentKind::Fin if self.establish(back, acknowledges, sighted) => {
                (back, Packet::Established)
            }
            SegmentKind::Ack | SegmentKind::Fin if self.is_stale(back, acknowledges) => {
                (back, Packet::StaleAck)
            }
            SegmentKind::Reset if self.touch(forth, now_us) => (forth, Packet::ResetByClient),
            SegmentKind::Reset if self.touch(back, now_us) => (back, Packet::ResetByServer),
            SegmentKind::Syn
            | SegmentKind::SynAck
            | SegmentKind::Ack
            | SegmentKind::Fin
            | SegmentKind::Reset => return false,
        };
        self.tally(flow, packet, sighted);
        true
    }

    /// Ends the stretch at `to`, which begins the next one. `kernel_dropped` is added to the batch's
    /// drops; `name` gives an interface's name and is asked once for each.
    pub(super) fn close(
        &mut self,
        to: Stamp,
        kernel_dropped: u64,
        name: impl Fn(u32) -> String,
    ) -> WitnessBatch {
        self.forget(to.at_us);
        let (from, to) = self.bounds(to);
        self.from = to;
        let stretch = std::mem::take(&mut self.stretch);
        self.kinds = 0;
        let mut names: BTreeMap<u32, String> = BTreeMap::new();
        let flows = stretch.into_iter().map(|((client, server), seen)| {
            let seen = seen
                .into_iter()
                .map(|((packet, direction, interface), tally)| Seen {
                    packet,
                    direction,
                    interface: names
                        .entry(interface)
                        .or_insert_with(|| name(interface))
                        .clone(),
                    count: tally.count,
                    first: tally.first,
                    options: tally.options,
                });
            let mut seen: Vec<Seen> = seen.collect();
            seen.sort_by(|a, b| {
                let key = |seen: &Seen| (seen.packet, seen.direction);
                (key(a), &a.interface).cmp(&(key(b), &b.interface))
            });
            FlowSighting {
                client,
                server,
                seen,
            }
        });
        WitnessBatch {
            from,
            to,
            dropped: std::mem::take(&mut self.dropped) + kernel_dropped,
            flows: flows.collect(),
            host: HostReading::default(),
            packets: Vec::new(),
        }
    }

    /// Drops what has been silent for so long that nothing is expected of it.
    pub(super) fn forget(&mut self, now_us: u64) {
        self.known
            .retain(|_, flow| now_us.abs_diff(flow.last_us) < MEMORY_US);
        self.open = self.known.values().filter(|flow| flow.is_open()).count();
    }

    /// The bounds of the stretch that ends at `to`. Mesh time is an estimate that is set right by
    /// microseconds now and then, and stretches of one witness must not overlap: one that would end
    /// before it began is empty. After a step the old start means nothing in the new time.
    fn bounds(&self, to: Stamp) -> (Stamp, Stamp) {
        match self.from.at_us.checked_sub(to.at_us) {
            None => (self.from, to),
            Some(back) if back < STEP_US => (self.from, self.from),
            Some(_) => (to, to),
        }
    }

    /// Makes the flow known as open; `false` when there is no room.
    fn open_flow(&mut self, key: FlowKey, initial: u32, now_us: u64) -> bool {
        if let Some(flow) = self.known.get_mut(&key) {
            flow.last_us = now_us;
            if flow.initial != initial {
                self.open += usize::from(!flow.is_open());
                flow.initial = initial;
                flow.answered = false;
                flow.completed.clear();
            }
            return true;
        }
        if self.open >= MAX_OPEN {
            self.dropped += 1;
            return false;
        }
        self.open += 1;
        self.known.insert(
            key,
            Flow {
                initial,
                answered: false,
                completed: Vec::new(),
                last_us: now_us,
            },
        );
        true
    }

    fn touch(&mut self, key: FlowKey, now_us: u64) -> bool {
        let Some(flow) = self.known.get_mut(&key) else {
            return false;
        };
        flow.last_us = now_us;
        true
    }

    fn answer(&mut self, key: FlowKey, now_us: u64) -> bool {
        let known = self.touch(key, now_us);
        if let Some(flow) = self.known.get_mut(&key) {
            flow.answered = true;
        }
        known
    }

    /// Whether a segment with this client's sequence number, or one that acknowledges it, is the first to
    /// show that an open flow's handshake was completed: it is beyond the handshake's own numbers.
    fn establish(&mut self, key: FlowKey, number: u32, sighted: Sighted) -> bool {
        let flow = self.known.get(&key);
        let open = flow.is_some_and(|flow| {
            let beyond = (2..WINDOW).contains(&number.wrapping_sub(flow.initial));
            flow.is_open() && flow.answered && beyond
        });
        open && self.end_handshake(key, sighted)
    }

    /// Whether the ACK is the handshake's last segment, seen at this place for the first time: the
    /// client's with the sequence number right after its SYN's (RFC 9293 section 3.5). A balancer
    /// with direct server return sees that segment and no SYN-ACK, so none is asked for.
    fn complete(&mut self, key: FlowKey, sighted: Sighted) -> bool {
        let flow = self.known.get(&key);
        let handshake =
            flow.is_some_and(|flow| sighted.segment.sequence == flow.initial.wrapping_add(1));
        handshake && self.end_handshake(key, sighted)
    }

    /// Whether the end of the flow's handshake is seen at this place for the first time.
    fn end_handshake(&mut self, key: FlowKey, sighted: Sighted) -> bool {
        let lingering = self.known.len() - self.open;
        let Some(flow) = self.known.get_mut(&key) else {
            return false;
        };
        let place = (sighted.direction, sighted.interface);
        if flow.completed.contains(&place) {
            return false;
        }
        flow.last_us = sighted.at.at_us;
        if flow.is_open() {
            self.open -= 1;
            if lingering >= MAX_LINGERING {
                self.known.remove(&key);
                return true;
            }
        }
        flow.completed.push(place);
        true
    }

    /// Whether a server's ACK is for something else than the SYN that is the last it was seen to get, and
    /// has not been answered yet.
    fn is_stale(&self, key: FlowKey, acknowledges: u32) -> bool {
        let flow = self.known.get(&key);
        let answers = |flow: &Flow| acknowledges == flow.initial.wrapping_add(1);
        flow.is_some_and(|flow| flow.is_open() && !flow.answered && !answers(flow))
    }

    fn tally(&mut self, key: FlowKey, packet: Packet, sighted: Sighted) {
        let kind = (packet, sighted.direction, sighted.interface);
        let seen = self.stretch.get_mut(&key);
        if let Some(tally) = seen.and_then(|seen| seen.get_mut(&kind)) {
            tally.count = tally.count.saturating_add(1);
            return;
        }
        let flow_fits = self.stretch.len() < MAX_REPORTED || self.stretch.contains_key(&key);
        if !flow_fits || self.kinds >= MAX_KINDS {
            self.dropped += 1;
            return;
        }
        self.kinds += 1;
        let first = Tally {
            count: 1,
            first: sighted.at,
            options: sighted.segment.options,
        };
        self.stretch.entry(key).or_default().insert(kind, first);
    }
}

impl Flow {
    fn is_open(&self) -> bool {
        self.completed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Direction::{In, Out};

    const CLIENT: &str = "10.0.0.1:40000";
    const SERVER: &str = "10.0.0.2:443";

    fn stamp(at_us: u64) -> Stamp {
        Stamp {
            at_us,
            uncertainty_us: 5,
        }
    }

    /// `S`, `A` and `R` come from the client, `SA` and `r` from the server; sequence numbers are the
    /// client's initial one, or the one after it. `s` is the server's ACK of what came long before.
    fn packet(what: &str, initial: u32, direction: Direction, interface: u32, at: u64) -> Sighted {
        let (client, server) = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
        let offers = matches!(what, "S" | "SA");
        let (source, destination, sequence, kind) = match what {
            "S" => (client, server, initial, SegmentKind::Syn),
            "SA" => (server, client, 9999, SegmentKind::SynAck),
            "s" => (server, client, 5, SegmentKind::Ack),
            "A" => (client, server, initial.wrapping_add(1), SegmentKind::Ack),
            "A+" => (client, server, initial.wrapping_add(80), SegmentKind::Ack),
            "a" => (server, client, 10_000, SegmentKind::Ack),
            "F" => (client, server, initial.wrapping_add(80), SegmentKind::Fin),
            "R" => (client, server, initial, SegmentKind::Reset),
            "r" => (server, client, 0, SegmentKind::Reset),
            other => panic!("{other}"),
        };
        Sighted {
            segment: Segment {
                source,
                destination,
                sequence,
                acknowledges: match what {
                    "s" => initial.wrapping_sub(5000),
                    "a" => initial.wrapping_add(80),
                    _ => initial.wrapping_add(1),
                },
                kind,
                options: offers.then(TcpOptions::default),
                headers: 40,
            },
            direction,
            interface,
            at: stamp(at),
        }
    }

    fn words(batch: &WitnessBatch) -> String {
        let flows = batch.flows.iter().map(|flow| {
            assert_eq!(flow.client, CLIENT.parse().unwrap());
            assert_eq!(flow.server, SERVER.parse().unwrap());
            let seen = flow.seen.iter().map(|seen| {
                format!(
                    "{:?} {:?} {} x{} @{}",
                    seen.packet, seen.direction, seen.interface, seen.count, seen.first.at_us
                )
            });
            seen.collect::<Vec<_>>().join(", ")
        });
        flows.collect::<Vec<_>>().join("; ")
    }

    fn name(index: u32) -> String {
        format!("eth{index}")
    }

    #[test]
    fn what_is_seen_is_what_is_said() {
        type Row = (&'static str, Vec<Sighted>, &'static str);
        let rows: Vec<Row> = vec![
            ("nothing", vec![], ""),
            (
                "a handshake at the server, and the ACKs after it",
                vec![
                    packet("S", 7, In, 0, 10),
                    packet("SA", 7, Out, 0, 11),
                    packet("A", 7, In, 0, 12),
                    packet("A", 7, In, 0, 13),
                    packet("A+", 7, In, 0, 14),
                    packet("a", 7, Out, 0, 15),
                ],
                "Syn In eth0 x1 @10, SynAck Out eth0 x1 @11, Ack In eth0 x1 @12",
            ),
            (
                "SYNs without answer",
                vec![
                    packet("S", 7, In, 0, 10),
                    packet("S", 7, In, 0, 20),
                    packet("S", 7, In, 0, 40),
                ],
                "Syn In eth0 x3 @10",
            ),
            (
                "a closed port",
                vec![packet("S", 7, In, 0, 10), packet("r", 7, Out, 0, 11)],
                "Syn In eth0 x1 @10, ResetByServer Out eth0 x1 @11",
            ),
            (
                "the answer leaves by another interface",
                vec![packet("S", 7, In, 0, 10), packet("SA", 7, Out, 1, 11)],
                "Syn In eth0 x1 @10, SynAck Out eth1 x1 @11",
            ),
            (
                "a reset after the handshake",
                vec![
                    packet("S", 7, Out, 0, 10),
                    packet("SA", 7, In, 0, 11),
                    packet("A", 7, Out, 0, 12),
                    packet("r", 7, In, 0, 13),
                    packet("R", 7, Out, 0, 14),
                ],
                "Syn Out eth0 x1 @10, SynAck In eth0 x1 @11, Ack Out eth0 x1 @12, \
                 ResetByClient Out eth0 x1 @14, ResetByServer In eth0 x1 @13",
            ),
            (
                "a host that forwards sees all twice",
                vec![
                    packet("S", 7, In, 0, 10),
                    packet("S", 7, Out, 1, 10),
                    packet("SA", 7, In, 1, 11),
                    packet("SA", 7, Out, 0, 11),
                    packet("A", 7, In, 0, 12),
                    packet("A", 7, Out, 1, 12),
                    packet("A", 7, Out, 1, 13),
                ],
                "Syn In eth0 x1 @10, Syn Out eth1 x1 @10, SynAck In eth1 x1 @11, \
                 SynAck Out eth0 x1 @11, Ack In eth0 x1 @12, Ack Out eth1 x1 @12",
            ),
            (
                "direct server return at the balancer",
                vec![packet("S", 7, In, 0, 10), packet("A", 7, In, 0, 12)],
                "Syn In eth0 x1 @10, Ack In eth0 x1 @12",
            ),
            (
                "sequence numbers wrap",
                vec![
                    packet("S", u32::MAX, In, 0, 10),
                    packet("A", u32::MAX, In, 0, 12),
                ],
                "Syn In eth0 x1 @10, Ack In eth0 x1 @12",
            ),
            (
                "the port is used again",
                vec![
                    packet("S", 7, In, 0, 10),
                    packet("A", 7, In, 0, 11),
                    packet("S", 900, In, 0, 20),
                    packet("A", 7, In, 0, 21),
                    packet("A", 900, In, 0, 22),
                ],
                "Syn In eth0 x2 @10, Ack In eth0 x2 @11",
            ),
            (
                "a handshake that ends with payload, which is not seen, and the ACKs of that",
                vec![
                    packet("S", 7, In, 0, 10),
                    packet("SA", 7, Out, 0, 11),
                    packet("a", 7, Out, 0, 12),
                    packet("a", 7, Out, 0, 13),
                    packet("A+", 7, In, 0, 14),
                    packet("F", 7, In, 0, 15),
                ],
                "Syn In eth0 x1 @10, SynAck Out eth0 x1 @11, Established Out eth0 x1 @12",
            ),
            (
                "the same, and nothing before the end",
                vec![
                    packet("S", 7, In, 0, 10),
                    packet("SA", 7, Out, 0, 11),
                    packet("F", 7, In, 0, 15),
                ],
                "Syn In eth0 x1 @10, SynAck Out eth0 x1 @11, Established In eth0 x1 @15",
            ),
            (
                "the old connection's ACK in answer to a SYN, and the reset that ends it",
                vec![
                    packet("S", 7, In, 0, 10),
                    packet("s", 7, Out, 0, 11),
                    packet("R", 7, In, 0, 12),
                    packet("S", 7, In, 0, 1000),
                    packet("SA", 7, Out, 0, 1001),
                    packet("A", 7, In, 0, 1002),
                    packet("s", 7, Out, 0, 1003),
                ],
                "Syn In eth0 x2 @10, SynAck Out eth0 x1 @1001, Ack In eth0 x1 @1002, \
                 ResetByClient In eth0 x1 @12, StaleAck Out eth0 x1 @11",
            ),
            (
                "a flow that was there before",
                vec![
                    packet("SA", 7, Out, 0, 11),
                    packet("A", 7, In, 0, 12),
                    packet("R", 7, In, 0, 13),
                ],
                "",
            ),
        ];
        for (case, packets, expected) in rows {
            let mut table = FlowTable::new(stamp(1));
            for packet in packets {
                table.see(packet);
            }
            let batch = table.close(stamp(1000), 0, name);
            assert_eq!(words(&batch), expected, "{case}");
            assert_eq!((batch.from, batch.to), (stamp(1), stamp(1000)), "{case}");
            assert_eq!(batch.dropped, 0, "{case}");
        }
    }

    #[test]
    fn interfaces_are_sorted_by_name_not_by_index() {
        let mut table = FlowTable::new(stamp(1));
        table.see(packet("S", 7, In, 1, 10));
        table.see(packet("S", 7, In, 2, 11));
        let batch = table.close(stamp(20), 0, |index| format!("eth{}", 9 - index));
        assert_eq!(words(&batch), "Syn In eth7 x1 @11, Syn In eth8 x1 @10");
    }

    #[test]
    fn a_flow_goes_on_over_stretches_and_is_forgotten_after_ten_silent_seconds() {
        let mut table = FlowTable::new(stamp(0));
        table.see(packet("S", 7, In, 0, 10));
        table.see(packet("A", 7, In, 0, 20));
        let first = table.close(stamp(1_000_000), 3, name);
        assert_eq!(words(&first), "Syn In eth0 x1 @10, Ack In eth0 x1 @20");
        assert_eq!(first.dropped, 3);
        table.see(packet("r", 7, Out, 0, 5_000_000));
        let second = table.close(stamp(6_000_000), 0, name);
        assert_eq!(words(&second), "ResetByServer Out eth0 x1 @5000000");
        assert_eq!((second.from, second.dropped), (first.to, 0));
        table.forget(14_999_999);
        assert_eq!(table.known.len(), 1);
        table.forget(15_000_000);
        assert_eq!((table.known.len(), table.open), (0, 0));
        table.see(packet("r", 7, Out, 0, 15_000_001));
        assert_eq!(words(&table.close(stamp(16_000_000), 0, name)), "");
    }

    #[test]
    fn a_clock_set_back_makes_no_overlap() {
        let second = 1_000_000;
        let mut table = FlowTable::new(stamp(8 * second));
        let rows = [
            (9 * second, 8 * second, 9 * second),
            (9 * second - 10, 9 * second, 9 * second),
            (10 * second, 9 * second, 10 * second),
            (3 * second, 3 * second, 3 * second),
            (4 * second, 3 * second, 4 * second),
        ];
        for (to, from, end) in rows {
            let batch = table.close(stamp(to), 0, name);
            assert_eq!((batch.from.at_us, batch.to.at_us), (from, end));
        }
    }

    fn nth_client(mut sighted: Sighted, n: usize) -> Sighted {
        let [_, a, b, c] = u32::try_from(n).unwrap().to_be_bytes();
        sighted.segment.source = SocketAddr::from(([10, a, b, c], 4000));
        sighted
    }

    #[test]
    fn what_is_over_a_bound_is_counted() {
        let mut table = FlowTable::new(stamp(0));
        for n in 0..MAX_OPEN + 7 {
            table.see(nth_client(packet("S", 7, In, 0, 10), n));
        }
        assert_eq!(table.open, MAX_OPEN);
        let batch = table.close(stamp(1_000_000), 0, name);
        assert_eq!(batch.flows.len(), MAX_REPORTED);
        assert_eq!(batch.dropped, (MAX_OPEN - MAX_REPORTED + 7) as u64);
        // Handshakes that end make room, and those that linger have a bound of their own.
        for n in 0..MAX_OPEN {
            table.see(nth_client(packet("A", 7, In, 0, 20), n));
        }
        assert_eq!((table.open, table.known.len()), (0, MAX_LINGERING));
        table.see(nth_client(packet("S", 7, In, 0, 30), MAX_OPEN + 1));
        table.see(nth_client(packet("A", 7, In, 0, 31), MAX_OPEN + 1));
        assert_eq!((table.open, table.known.len()), (0, MAX_LINGERING));
        table.forget(u64::MAX);
        assert_eq!((table.open, table.known.len()), (0, 0));
    }

    #[test]
    fn the_largest_batch_is_a_message_that_may_be_sent() {
        let at = Stamp {
            at_us: 4_000_000_000_000_000,
            uncertainty_us: 86_400_000_000,
        };
        let mut table = FlowTable::new(at);
        for n in 0..u16::try_from(MAX_OPEN).unwrap() {
            for interface in 0..4 {
                let mut sighted = packet("S", 7, In, interface, at.at_us);
                sighted.at = at;
                sighted.segment.options = Some(TcpOptions {
                    mss: Some(u16::MAX),
                    window_scale: Some(14),
                    sack: true,
                    timestamps: true,
                    ecn: true,
                });
                let server = [0xffff; 8];
                let client = [server[..7].to_vec(), vec![0x8000 | n]].concat();
                let client: [u16; 8] = client.try_into().unwrap();
                sighted.segment.source = SocketAddr::from((client, 40_000));
                sighted.segment.destination = SocketAddr::from((server, 40_000));
                table.see(sighted);
            }
        }
        let batch = table.close(at, 0, |_| "fifteen-letters".to_owned());
        let kinds: usize = batch.flows.iter().map(|flow| flow.seen.len()).sum();
        assert_eq!((batch.flows.len(), kinds), (MAX_REPORTED, MAX_KINDS));
        let packet = localize::PacketHeaders {
            at,
            direction: In,
            interface: "fifteen-letters".to_owned(),
            bytes: vec![0x4f; 120],
        };
        let report = localize::WitnessReport {
            witness: localize::VantageName("w".repeat(63)),
            sequence: u64::MAX,
            from: batch.from,
            to: batch.to,
            dropped: batch.dropped,
            flows: batch.flows,
            host: Some(batch.host),
            packets: vec![packet; super::super::ring::MOST_SENT],
        };
        let bytes = prost::Message::encoded_len(&proto::v1::WitnessReport::from(&report));
        assert!(bytes < 4 << 20, "{bytes}");
    }

    proptest! {
        #[test]
        fn the_counts_of_the_table_agree_with_what_is_in_it(
            steps in prop::collection::vec((0..9_usize, 0..3_u32, 0..4_usize, 0..3_u64), 0..200)
        ) {
            let mut table = FlowTable::new(stamp(0));
            let mut now = 0;
            for (kind, initial, client, pause) in steps {
                now += pause * 3_000_000;
                let what = ["S", "SA", "A", "A+", "a", "R", "r", "s", "F"][kind];
                let mut sighted = packet(what, initial, In, initial, now);
                if "SARF".contains(what.trim_end_matches('+')) && what != "SA" {
                    sighted = nth_client(sighted, client);
                } else {
                    sighted.segment.destination = nth_client(sighted, client).segment.source;
                }
                table.see(sighted);
                let open = table.known.values().filter(|flow| flow.is_open()).count();
                prop_assert_eq!(table.open, open);
                if pause == 2 {
                    let batch = table.close(stamp(now), 0, name);
                    prop_assert!(batch.from.at_us <= batch.to.at_us);
                    prop_assert!(batch.flows.iter().all(|flow| !flow.seen.is_empty()));
                }
            }
        }
    }
}
