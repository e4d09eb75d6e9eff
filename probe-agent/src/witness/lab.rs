//! The witness on real packets: two network namespaces, two cables between them, and the kernel's
//! own TCP. Needs root, ip and nft, and says so when they are not there.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use localize::{Counter, Direction, Packet};

use super::*;
use crate::namespaces::{Namespaces, inside, run};

const INTERVAL: Duration = Duration::from_millis(100);
/// How long a connection may take that is to come about, on a machine that has little time.
const PATIENCE: Duration = Duration::from_secs(5);
/// Mesh time is this far ahead of the system's clock, to see that stamps are converted.
const AHEAD_US: u64 = 3_600_000_000;

/// Two hosts: `c0` is wired to `s0` (10.77.0.0/24, fd77::/64) and `c1` to `s1` (10.77.1.0/24). The
/// client has the addresses that end in 1, the server those that end in 2.
struct Lab {
    client: String,
    server: String,
    /// They go with it.
    _hosts: Namespaces,
}

impl Lab {
    fn new() -> Option<Self> {
        let mut hosts = Namespaces::new("wt")?;
        // Answers may come by any interface, and addresses hold at once.
        let settings = [
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
        ];
        for host in ["c", "s"] {
            hosts.add(host, &settings);
        }
        let lab = Self {
            client: hosts.name("c"),
            server: hosts.name("s"),
            _hosts: hosts,
        };
        let Self { client, server, .. } = &lab;
        for n in 0..2 {
            run(&format!(
                "ip link add c{n} netns {client} type veth peer name s{n} netns {server}"
            ));
            for (host, interface, last) in [(client, "c", 1), (server, "s", 2)] {
                run(&format!(
                    "ip -n {host} addr add 10.77.{n}.{last}/24 dev {interface}{n}"
                ));
                run(&format!(
                    "ip -n {host} addr add fd77:0:0:{n}::{last}/64 dev {interface}{n} nodad"
                ));
                run(&format!("ip -n {host} link set {interface}{n} up"));
            }
        }
        Some(lab)
    }
}

fn mesh_now() -> Stamp {
    Stamp {
        at_us: u64::try_from(sys::system_ns().unwrap() / 1000).unwrap() + AHEAD_US,
        uncertainty_us: 9,
    }
}

/// A witness in a namespace, and a thread that reads what it says.
struct Watcher {
    reader: JoinHandle<Vec<WitnessBatch>>,
    /// The reader ends with the batch that reaches this time.
    until_us: Arc<AtomicU64>,
    ports: watch::Sender<BTreeSet<u16>>,
    started: Stamp,
}

fn witness(
    namespace: &str,
    ports: watch::Receiver<BTreeSet<u16>>,
) -> (mpsc::Receiver<WitnessBatch>, mpsc::Sender<Vec<SocketAddr>>) {
    let (ask, wanted) = mpsc::channel(8);
    let config = WitnessConfig {
        ports,
        name: VantageName(namespace.to_owned()),
        interval: INTERVAL,
        wanted,
    };
    let batches = inside(namespace, || start(config, mesh_now)).unwrap();
    (batches, ask)
}

impl Watcher {
    fn start(namespace: &str, ports: &[u16]) -> Self {
        let (sender, receiver) = watch::channel(ports.iter().copied().collect());
        let (mut batches, _) = witness(namespace, receiver);
        let until_us = Arc::new(AtomicU64::new(u64::MAX));
        let until = Arc::clone(&until_us);
        let read = move || {
            let mut read: Vec<WitnessBatch> = Vec::new();
            while read
                .last()
                .is_none_or(|batch| batch.to.at_us < until.load(Ordering::Relaxed))
            {
                read.push(batches.blocking_recv().unwrap());
            }
            read
        };
        Self {
            reader: std::thread::spawn(read),
            until_us,
            ports: sender,
            started: mesh_now(),
        }
    }

    /// Everything up to now, in words; each kind of packet with its count, four and more as "many".
    fn words(self) -> String {
        let ended = mesh_now().at_us;
        self.until_us.store(ended, Ordering::Relaxed);
        let mut counts: BTreeMap<(Packet, Direction, String), u32> = BTreeMap::new();
        let mut end: Option<Stamp> = None;
        for batch in self.reader.join().unwrap() {
            assert_eq!(batch.dropped, 0);
            assert!(
                end.is_none_or(|end| end == batch.from),
                "a gap or an overlap"
            );
            end = Some(batch.to);
            for seen in batch.flows.into_iter().flat_map(|flow| flow.seen) {
                let first = seen.first;
                assert!(first.at_us + 50_000 >= self.started.at_us && first.at_us <= ended);
                assert_eq!(first.uncertainty_us, 9);
                *counts
                    .entry((seen.packet, seen.direction, seen.interface))
                    .or_default() += seen.count;
            }
        }
        let words = counts.into_iter().map(|((packet, direction, on), count)| {
            let times = match count {
                1 => String::new(),
                2 | 3 => format!(" x{count}"),
                _ => " many".to_owned(),
            };
            format!("{packet:?} {direction:?} {on}{times}")
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

/// Connects and, when that works, sends a little and ends in peace. Gives whether it worked.
fn connect(namespace: &str, to: SocketAddr, limit: Duration) -> bool {
    inside(namespace, || {
        let Ok(mut stream) = TcpStream::connect_timeout(&to, limit) else {
            return false;
        };
        std::io::Write::write_all(&mut stream, &[1; 5000]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        std::io::Read::read_to_end(&mut stream, &mut Vec::new()).unwrap();
        true
    })
}

/// A listener that reads each connection to its end and answers with a little; lives as long as the
/// process, in its own namespace.
fn listen(namespace: &str, on: SocketAddr) {
    let listener = inside(namespace, || TcpListener::bind(on).unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
            let _ = std::io::Write::write_all(&mut stream, &[2; 5000]);
        }
    });
}

struct Row {
    case: &'static str,
    /// Commands; `SERVER` and `CLIENT` stand for the namespaces.
    fault: &'static [&'static str],
    to: &'static str,
    works: bool,
    at_client: &'static str,
    at_server: &'static str,
}

const ROWS: [Row; 6] = [
    Row {
        case: "a connection that works",
        fault: &[],
        to: "10.77.0.2:80",
        works: true,
        at_client: "Syn Out c0, SynAck In c0, Ack Out c0",
        at_server: "Syn In s0, SynAck Out s0, Ack In s0",
    },
    Row {
        case: "a connection that works, IPv6",
        fault: &[],
        to: "[fd77::2]:80",
        works: true,
        at_client: "Syn Out c0, SynAck In c0, Ack Out c0",
        at_server: "Syn In s0, SynAck Out s0, Ack In s0",
    },
    Row {
        case: "the server's firewall drops the SYN",
        fault: &[
            "ip netns exec SERVER nft add table inet wt",
            "ip netns exec SERVER nft add chain inet wt in { type filter hook input priority 0 ; }",
            "ip netns exec SERVER nft add rule inet wt in tcp dport 80 drop",
        ],
        to: "10.77.0.2:80",
        works: false,
        at_client: "Syn Out c0 x2",
        at_server: "Syn In s0 x2",
    },
    Row {
        case: "nobody listens",
        fault: &[],
        to: "10.77.0.2:81",
        works: false,
        at_client: "Syn Out c0, ResetByServer In c0",
        at_server: "Syn In s0, ResetByServer Out s0",
    },
    Row {
        case: "the answers take another interface and arrive",
        fault: &["ip -n SERVER route add 10.77.0.1/32 via 10.77.1.1 dev s1"],
        to: "10.77.0.2:80",
        works: true,
        at_client: "Syn Out c0, SynAck In c1, Ack Out c0",
        at_server: "Syn In s0, SynAck Out s1, Ack In s0",
    },
    Row {
        case: "the answers get lost on the way",
        fault: &[
            "ip netns exec CLIENT nft add table inet wt",
            "ip netns exec CLIENT nft add chain inet wt in { type filter hook input priority 0 ; }",
            "ip netns exec CLIENT nft add rule inet wt in tcp sport 80 drop",
        ],
        to: "10.77.0.2:80",
        works: false,
        at_client: "Syn Out c0 x2, SynAck In c0 SOME",
        at_server: "Syn In s0 x2, SynAck Out s0 SOME",
    },
];

#[test]
fn both_ends_see_what_happens_between_them() {
    for row in &ROWS {
        let Some(lab) = Lab::new() else { return };
        for command in row.fault {
            run(&command
                .replace("SERVER", &lab.server)
                .replace("CLIENT", &lab.client));
        }
        listen(&lab.server, "10.77.0.2:80".parse().unwrap());
        listen(&lab.server, "[fd77::2]:80".parse().unwrap());
        let client = Watcher::start(&lab.client, &[80, 81]);
        let server = Watcher::start(&lab.server, &[80, 81]);
        // Long enough for the SYN to be sent again once, after a second.
        let limit = Duration::from_millis(1500);
        let worked = connect(&lab.client, row.to.parse().unwrap(), limit);
        assert_eq!(worked, row.works, "{}", row.case);
        for (words, expected) in [
            (client.words(), row.at_client),
            (server.words(), row.at_server),
        ] {
            // How often a server repeats its SYN-ACK beside the answers to repeated SYNs is its own.
            let matches = match expected.strip_suffix(" SOME") {
                Some(start) => words.starts_with(start) && !words.contains("Ack In s0"),
                None => words == expected,
            };
            assert!(matches, "{}: {words}", row.case);
        }
    }
}

#[test]
fn on_loopback_a_packet_counts_once() {
    let Some(lab) = Lab::new() else { return };
    let to = "127.0.0.1:80".parse().unwrap();
    listen(&lab.server, to);
    let watcher = Watcher::start(&lab.server, &[80]);
    assert!(connect(&lab.server, to, PATIENCE));
    assert_eq!(watcher.words(), "Syn Out lo, SynAck Out lo, Ack Out lo");
}

#[test]
fn the_ports_may_change_under_way() {
    let Some(lab) = Lab::new() else { return };
    let to = "10.77.0.2:80".parse().unwrap();
    listen(&lab.server, to);
    let rows: [(&[u16], &[u16], &str); 3] = [
        (&[], &[], ""),
        (&[], &[80], "Syn In s0, SynAck Out s0, Ack In s0"),
        (&[80], &[443], ""),
    ];
    for (first, then, expected) in rows {
        let watcher = Watcher::start(&lab.server, first);
        watcher.ports.send(then.iter().copied().collect()).unwrap();
        std::thread::sleep(2 * LONGEST_WAIT);
        assert!(connect(&lab.client, to, PATIENCE));
        assert_eq!(watcher.words(), expected, "{first:?} then {then:?}");
    }
}

#[test]
fn a_reader_that_is_slow_gets_longer_stretches_and_loses_nothing() {
    let Some(lab) = Lab::new() else { return };
    let to = "10.77.0.2:80".parse().unwrap();
    listen(&lab.server, to);
    let (_ports, receiver) = watch::channel(BTreeSet::from([80]));
    let (mut batches, _) = witness(&lab.server, receiver);
    let full = u32::try_from(WAITING_BATCHES).unwrap() + 3;
    std::thread::sleep(INTERVAL * full);
    assert!(connect(&lab.client, to, PATIENCE));
    let mut seen = 0;
    for _ in 0..full {
        let batch = batches.blocking_recv().unwrap();
        seen += batch
            .flows
            .iter()
            .map(|flow| flow.seen.len())
            .sum::<usize>();
    }
    assert_eq!(seen, 3);
}

#[test]
fn packets_are_told_of_what_is_asked_for_and_their_headers_alone() {
    let Some(lab) = Lab::new() else { return };
    let to: SocketAddr = "10.77.0.2:80".parse().unwrap();
    listen(&lab.server, to);
    let (_ports, receiver) = watch::channel(BTreeSet::from([80]));
    let (mut batches, ask) = witness(&lab.server, receiver);
    assert!(connect(&lab.client, to, PATIENCE));
    let mut clients = BTreeSet::new();
    while clients.is_empty() {
        let batch = batches.blocking_recv().unwrap();
        assert!(batch.packets.is_empty(), "nobody has asked");
        clients.extend(batch.flows.iter().map(|flow| flow.client));
    }
    // A second connection, which nobody asks for.
    assert!(connect(&lab.client, to, PATIENCE));
    let client = *clients.first().unwrap();
    ask.blocking_send(vec![client]).unwrap();
    let mut packets = Vec::new();
    while packets.is_empty() {
        packets = batches.blocking_recv().unwrap().packets;
    }
    let told = packets.iter().map(|packet| {
        assert_eq!(packet.interface, "s0");
        assert!(mesh_now().at_us.abs_diff(packet.at.at_us) < 5_000_000);
        let segment = parse::parse(&packet.bytes).unwrap();
        assert_eq!(packet.bytes.len(), segment.headers);
        let (end, way) = match packet.direction {
            Direction::In => (segment.source, "in"),
            Direction::Out => (segment.destination, "out"),
        };
        assert_eq!(end, client);
        format!("{:?} {way}", segment.kind)
    });
    let told: Vec<String> = told.collect();
    // Five thousand bytes and their ACKs went both ways besides.
    assert_eq!(
        told,
        ["Syn in", "SynAck out", "Ack in", "Fin in", "Fin out"]
    );
}

/// Why a host leaves a SYN unanswered, by how it is broken and what its kernel counts then.
struct Unanswered {
    case: &'static str,
    fault: &'static [&'static str],
    to: &'static str,
    counted: &'static [Counter],
}

/// Nobody accepts here, and the queue is full: see `full_listener`.
const FULL: &str = "10.77.0.2:82";

const UNANSWERED: [Unanswered; 5] = [
    Unanswered {
        case: "nothing is wrong",
        fault: &[],
        to: "10.77.0.2:80",
        counted: &[],
    },
    Unanswered {
        case: "a full accept queue",
        fault: &[],
        to: FULL,
        counted: &[Counter::ListenOverflows, Counter::ListenDrops],
    },
    Unanswered {
        case: "a packet filter",
        fault: &[
            "ip netns exec SERVER nft add table inet wt",
            "ip netns exec SERVER nft add chain inet wt in { type filter hook input priority 0 ; }",
            "ip netns exec SERVER nft add rule inet wt in tcp dport 80 drop",
        ],
        to: "10.77.0.2:80",
        counted: &[Counter::Undelivered],
    },
    Unanswered {
        case: "a strict reverse-path filter and another way back",
        fault: &[
            "ip netns exec SERVER sysctl -q -w net.ipv4.conf.s0.rp_filter=1",
            "ip -n SERVER route add 10.77.0.1/32 via 10.77.1.1 dev s1",
        ],
        to: "10.77.0.2:80",
        counted: &[Counter::ReversePathDrops],
    },
    Unanswered {
        case: "answers that a packet filter drops",
        fault: &[
            "ip netns exec SERVER nft add table inet wt",
            "ip netns exec SERVER nft add chain inet wt out { type filter hook output priority 0 ; }",
            "ip netns exec SERVER nft add rule inet wt out tcp sport 80 drop",
        ],
        to: "10.77.0.2:80",
        counted: &[],
    },
];

/// A listener that never accepts, with its queue filled from the host itself.
fn full_listener() -> (socket2::Socket, Vec<TcpStream>) {
    let to: SocketAddr = FULL.parse().unwrap();
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let listener = listener.unwrap();
    listener.bind(&to.into()).unwrap();
    listener.listen(1).unwrap();
    let filling = std::iter::from_fn(|| TcpStream::connect_timeout(&to, INTERVAL).ok());
    (listener, filling.collect())
}

/// What rises while a connection is tried, without what only tells that packets were sent again.
fn rises(lab: &Lab, to: &str) -> (HostReading, Vec<Counter>) {
    inside(&lab.server, || {
        let _full = full_listener();
        let mut kernel = Kernel::start();
        connect(
            &lab.client,
            to.parse().unwrap(),
            Duration::from_millis(1500),
        );
        let reading = kernel.read();
        let sent_again = [Counter::RetransSegs, Counter::SynRetrans];
        let rises = reading.rose.keys().copied();
        let rises = rises.filter(|counter| !sent_again.contains(counter));
        let rises = rises.collect();
        (reading, rises)
    })
}

#[test]
fn the_kernel_counts_why_a_syn_goes_unanswered() {
    for row in &UNANSWERED {
        let Some(lab) = Lab::new() else { return };
        let to = "10.77.0.2:80".parse().unwrap();
        listen(&lab.server, to);
        // The hosts know each other's link addresses: a strict host does not even tell its own.
        assert!(connect(&lab.client, to, PATIENCE));
        for command in row.fault {
            run(&command.replace("SERVER", &lab.server));
        }
        let (reading, rises) = rises(&lab, row.to);
        assert_eq!(rises, row.counted, "{}: {reading:?}", row.case);
        let full = reading.queues.iter().find(|q| q.local.to_string() == FULL);
        assert!(full.is_some_and(|q| q.waiting > q.room), "{reading:?}");
    }
}
