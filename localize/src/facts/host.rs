//! What a host's kernel counts and how it is set: why a SYN may have gone unanswered.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

macro_rules! vocabulary {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $item:ident => $word:literal, $text:literal;)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $item,)* }

        impl $name {
            /// All of them, in their order.
            pub const ALL: &'static [Self] = &[$(Self::$item,)*];

            /// The word on the wire, and in JSON.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$item => $word,)* }
            }

            /// As a sentence speaks of it.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$item => $text,)* }
            }

            /// The one of this word.
            #[must_use]
            pub fn of_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|item| item.word() == word)
            }
        }
    };
}

vocabulary! {
    /// A number that the kernel counts up: `/proc/net/snmp`, `/proc/net/netstat` and their like. Names of
    /// the kernel are those of `net/ipv4/proc.c`.
    Counter {
        /// `Tcp: RetransSegs`.
        RetransSegs => "tcp_retrans_segs", "TCP retransmissions";
        /// `TcpExt: TCPSynRetrans`: SYNs and SYN-ACKs sent again.
        SynRetrans => "tcp_syn_retrans", "SYNs or SYN-ACKs sent again";
        /// `TcpExt: ListenOverflows`: no room in a listener's accept queue.
        ListenOverflows => "listen_overflows", "listen overflows";
        /// `TcpExt: ListenDrops`: SYNs that a listener dropped, for whatever reason.
        ListenDrops => "listen_drops", "listen drops";
        /// `TcpExt: TCPReqQFullDrop`: no room for half-open connections, and no cookies allowed.
        RequestQueueDrops => "tcp_req_q_full_drop", "drops for a full request queue";
        /// `TcpExt: TCPReqQFullDoCookies`: the same, answered by a cookie.
        RequestQueueCookies => "tcp_req_q_full_do_cookies", "cookies for a full request queue";
        /// `TcpExt: SyncookiesSent`.
        SyncookiesSent => "syncookies_sent", "SYN cookies sent";
        /// `TcpExt: SyncookiesFailed`.
        SyncookiesFailed => "syncookies_failed", "SYN cookies that did not hold";
        /// `TcpExt: PAWSActive`, `PAWSEstab`, `PAWSOldAck` and `PAWSTimewait` together: segments refused
        /// for an old timestamp (RFC 7323, section 5).
        PawsRejects => "paws_rejects", "segments refused for old timestamps";
        /// `TcpExt: TW`: connections that ended in TIME_WAIT.
        TimeWaits => "time_waits", "connections that left TIME_WAIT";
        /// `TcpExt: TCPTimeWaitOverflow`.
        TimeWaitOverflows => "tcp_time_wait_overflow", "TIME_WAIT overflows";
        /// `TcpExt: TCPBacklogDrop`: no room behind a socket that was busy.
        BacklogDrops => "tcp_backlog_drop", "drops behind busy sockets";
        /// `TcpExt: IPReversePathFilter`: packets from where the route leads elsewhere (RFC 3704).
        ReversePathDrops => "ip_reverse_path_filter", "drops by the reverse-path filter";
        /// `drop` of `/proc/net/stat/nf_conntrack`: packets for which the table had no room.
        ConntrackDrops => "nf_conntrack_drop", "drops for a full connection table";
        /// `insert_failed` of the same.
        ConntrackInsertFailures => "nf_conntrack_insert_failed", "connections that the table did not take";
        /// IPv4 packets that came in and were handed to nobody, without a counter of their own that says
        /// why: what is left is the packet filter's (`Ip: InReceives` without `InDelivers`,
        /// `ForwDatagrams`, the errors and the drops that are counted). Netfilter's own rules and
        /// counters are not readable without privilege.
        Undelivered => "ip_undelivered", "packets that came in and were handed to nobody";
        /// `/proc/net/dev`, all interfaces but loopback.
        RxErrors => "rx_errors", "receive errors of its interfaces";
        /// The same.
        RxDrops => "rx_dropped", "receive drops of its interfaces";
        /// The same.
        TxErrors => "tx_errors", "send errors of its interfaces";
        /// The same.
        TxDrops => "tx_dropped", "send drops of its interfaces";
    }
}

vocabulary! {
    /// How the kernel is set, and how full its tables are; names under `/proc/sys/net`.
    Setting {
        /// `ipv4/tcp_timestamps` (RFC 7323).
        TcpTimestamps => "tcp_timestamps", "tcp_timestamps";
        /// `ipv4/tcp_tw_reuse`.
        TcpTwReuse => "tcp_tw_reuse", "tcp_tw_reuse";
        /// `ipv4/tcp_syncookies`.
        TcpSyncookies => "tcp_syncookies", "tcp_syncookies";
        /// `ipv4/tcp_max_syn_backlog`.
        TcpMaxSynBacklog => "tcp_max_syn_backlog", "tcp_max_syn_backlog";
        /// `ipv4/tcp_abort_on_overflow`.
        TcpAbortOnOverflow => "tcp_abort_on_overflow", "tcp_abort_on_overflow";
        /// `ipv4/tcp_fastopen`.
        TcpFastopen => "tcp_fastopen", "tcp_fastopen";
        /// `ipv4/tcp_max_tw_buckets`.
        TcpMaxTwBuckets => "tcp_max_tw_buckets", "tcp_max_tw_buckets";
        /// `core/somaxconn`.
        Somaxconn => "somaxconn", "somaxconn";
        /// The strictest `ipv4/conf/*/rp_filter`: 1 is strict, 2 loose, 0 off.
        RpFilter => "rp_filter", "rp_filter";
        /// `ipv4/ip_local_port_range`, its first.
        LocalPortFirst => "ip_local_port_first", "the first of ip_local_port_range";
        /// The same, its last.
        LocalPortLast => "ip_local_port_last", "the last of ip_local_port_range";
        /// `netfilter/nf_conntrack_max`.
        ConntrackMax => "nf_conntrack_max", "nf_conntrack_max";
        /// `netfilter/nf_conntrack_count`: no setting, but how full the table is.
        ConntrackCount => "nf_conntrack_count", "nf_conntrack_count";
        /// `tw` of `/proc/net/sockstat`: no setting, but how many connections are in TIME_WAIT.
        TimeWaitSockets => "time_wait_sockets", "connections in TIME_WAIT";
    }
}

impl Setting {
    /// Whether somebody sets it; the others are levels, which differ from host to host.
    #[must_use]
    pub const fn is_set(self) -> bool {
        match self {
            Self::ConntrackCount | Self::TimeWaitSockets => false,
            Self::TcpTimestamps
            | Self::TcpTwReuse
            | Self::TcpSyncookies
            | Self::TcpMaxSynBacklog
            | Self::TcpAbortOnOverflow
            | Self::TcpFastopen
            | Self::TcpMaxTwBuckets
            | Self::Somaxconn
            | Self::RpFilter
            | Self::LocalPortFirst
            | Self::LocalPortLast
            | Self::ConntrackMax => true,
        }
    }
}

/// A listener with connections that nobody has accepted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenQueue {
    /// Where it listens.
    pub local: SocketAddr,
    /// How many wait.
    pub waiting: u32,
    /// Its backlog: SYNs are dropped where more than so many wait.
    pub room: u32,
}

/// What a kernel counted in one stretch, in the agent's network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReading {
    /// By how much the counters rose that did; zero is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rose: BTreeMap<Counter, u64>,
    /// The counters that this host does not show: of them nothing is known.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unread: BTreeSet<Counter>,
    /// How the kernel is set. Empty where that was told a few readings ago and has not changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<Setting, u64>,
    /// The listeners at which connections waited at the stretch's end, the longest queue first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<ListenQueue>,
}

impl HostReading {
    /// By how much a counter rose; `None` where the host does not show it.
    #[must_use]
    pub fn rise(&self, counter: Counter) -> Option<u64> {
        let read = !self.unread.contains(&counter);
        read.then(|| self.rose.get(&counter).copied().unwrap_or(0))
    }
}
