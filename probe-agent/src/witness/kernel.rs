//! What the host's kernel counts of packets that it does not answer, and how it is set: procfs(5), of
//! the network namespace that the thread is in. No privilege is needed for any of it; what the rules of a
//! packet filter count is not shown without, and is told from what everything else counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Result};
use std::path::PathBuf;

use localize::{Counter, HostReading, Setting};

use super::queues::Queues;

/// How the kernel is set is told in one of so many readings: nobody changes that every second, and a
/// witness reports every second.
const SETTINGS_EVERY: u32 = 10;

/// Interfaces whose settings are read. A host of containers has thousands, and the first are its own.
const MOST_INTERFACES: usize = 64;

/// A kernel that is read again and again.
pub(super) struct Kernel {
    /// The highest total of each counter so far. What is reckoned from several may for an instant be
    /// higher than it is, while a packet is between two of them, and must not be counted again.
    highest: BTreeMap<Counter, i64>,
    queues: Queues,
    readings: u32,
}

impl Kernel {
    /// Reads what the first reading's rises are reckoned from.
    pub(super) fn start() -> Self {
        Self {
            highest: Totals::read().0,
            queues: Queues::open(),
            readings: 0,
        }
    }

    /// What rose since the reading before.
    pub(super) fn read(&mut self) -> HostReading {
        let totals = Totals::read();
        let told = self.readings.is_multiple_of(SETTINGS_EVERY);
        self.readings = self.readings.wrapping_add(1);
        HostReading {
            unread: totals.unread(),
            rose: self.rises(totals),
            settings: if told { settings() } else { BTreeMap::new() },
            queues: self.queues.waiting(),
        }
    }

    fn rises(&mut self, totals: Totals) -> BTreeMap<Counter, u64> {
        let rises = totals.0.into_iter().filter_map(|(counter, total)| {
            let highest = self.highest.entry(counter).or_insert(total);
            let rise = total.saturating_sub(*highest);
            *highest = total.max(*highest);
            let rise = u64::try_from(rise).unwrap_or(0);
            (rise > 0).then_some((counter, rise))
        });
        rises.collect()
    }
}

/// The counters since the host was started; those that it does not show are not there.
struct Totals(BTreeMap<Counter, i64>);

impl Totals {
    fn read() -> Self {
        // The threads of a process may be in different namespaces.
        let net = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}"));
        Self::of(&Files {
            snmp: net("snmp").unwrap_or_default(),
            netstat: net("netstat").unwrap_or_default(),
            dev: net("dev").unwrap_or_default(),
            conntrack: conntrack(net("stat/nf_conntrack")),
        })
    }

    fn of(files: &Files) -> Self {
        let mut named = Named::of(&files.snmp);
        named.0.extend(Named::of(&files.netstat).0);
        let mut totals = Self(BTreeMap::new());
        for counter in Counter::ALL {
            let total = match counter {
                Counter::RetransSegs => named.get("Tcp", "RetransSegs"),
                Counter::SynRetrans => named.get("TcpExt", "TCPSynRetrans"),
                Counter::ListenOverflows => named.get("TcpExt", "ListenOverflows"),
                Counter::ListenDrops => named.get("TcpExt", "ListenDrops"),
                Counter::RequestQueueDrops => named.get("TcpExt", "TCPReqQFullDrop"),
                Counter::RequestQueueCookies => named.get("TcpExt", "TCPReqQFullDoCookies"),
                Counter::SyncookiesSent => named.get("TcpExt", "SyncookiesSent"),
                Counter::SyncookiesFailed => named.get("TcpExt", "SyncookiesFailed"),
                Counter::PawsRejects => named.paws(),
                Counter::TimeWaits => named.get("TcpExt", "TW"),
                Counter::TimeWaitOverflows => named.get("TcpExt", "TCPTimeWaitOverflow"),
                Counter::BacklogDrops => named.get("TcpExt", "TCPBacklogDrop"),
                Counter::ReversePathDrops => named.get("TcpExt", "IPReversePathFilter"),
                Counter::ConntrackDrops => files.conntrack.map(|c| c.drop),
                Counter::ConntrackInsertFailures => files.conntrack.map(|c| c.insert_failed),
                Counter::Undelivered => files.conntrack.and_then(|c| named.undelivered(c.drop)),
                Counter::RxErrors => of_interfaces(&files.dev, 2),
                Counter::RxDrops => of_interfaces(&files.dev, 3),
                Counter::TxErrors => of_interfaces(&files.dev, 10),
                Counter::TxDrops => of_interfaces(&files.dev, 11),
            };
            totals.0.extend(total.map(|total| (*counter, total)));
        }
        totals
    }

    fn unread(&self) -> BTreeSet<Counter> {
        let all = Counter::ALL.iter().copied();
        all.filter(|counter| !self.0.contains_key(counter))
            .collect()
    }
}

/// What the kernel shows, as it stands in its files; empty where it cannot be read.
#[derive(Default)]
struct Files {
    snmp: String,
    netstat: String,
    dev: String,
    conntrack: Option<Conntrack>,
}

/// Of the connection table's counters, all processors together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Conntrack {
    drop: i64,
    insert_failed: i64,
}

/// `None` where there is a table and its counters are not shown. A host without one drops nothing there.
fn conntrack(file: Result<String>) -> Option<Conntrack> {
    match file {
        Ok(text) => conntrack_of(&text),
        Err(error) => {
            let none = error.kind() == ErrorKind::NotFound
                && sysctl("netfilter/nf_conntrack_count").is_none();
            none.then(Conntrack::default)
        }
    }
}

/// A line of names and one line in hexadecimal for each processor.
fn conntrack_of(text: &str) -> Option<Conntrack> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next()?.split_whitespace().collect();
    let place = |name| names.iter().position(|n| *n == name);
    let (drop, insert_failed) = (place("drop")?, place("insert_failed")?);
    let mut all = Conntrack::default();
    for line in lines {
        let values: Vec<&str> = line.split_whitespace().collect();
        let value = |place: usize| i64::from_str_radix(values.get(place)?, 16).ok();
        all.drop += value(drop)?;
        all.insert_failed += value(insert_failed)?;
    }
    Some(all)
}

/// The values of `snmp` and `netstat` by group and name: a line of names comes before each of values.
struct Named<'t>(BTreeMap<(&'t str, &'t str), i64>);

impl<'t> Named<'t> {
    fn of(text: &'t str) -> Self {
        let mut lines = text.lines();
        let mut named = BTreeMap::new();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let mut names = names.split_whitespace();
            let group = names.next().unwrap_or_default().trim_end_matches(':');
            let values = values.split_whitespace().skip(1);
            let pairs = names.zip(values);
            named.extend(
                pairs.filter_map(|(name, value)| Some(((group, name), value.parse().ok()?))),
            );
        }
        Self(named)
    }

    fn get(&self, group: &'static str, name: &'static str) -> Option<i64> {
        self.0.get(&(group, name)).copied()
    }

    /// Kernels have had more of these counters, and fewer.
    fn paws(&self) -> Option<i64> {
        let names = ["PAWSActive", "PAWSEstab", "PAWSOldAck", "PAWSTimewait"];
        let known = names.iter().filter_map(|name| self.get("TcpExt", name));
        known.reduce(|all, one| all + one)
    }

    /// Packets that came in and went to nobody, without those of which another counter says why.
    fn undelivered(&self, conntrack_drops: i64) -> Option<i64> {
        let ip = |name| self.get("Ip", name);
        let fragments = ip("ReasmReqds")? - ip("ReasmOKs")?;
        let told = [
            "InDelivers",
            "ForwDatagrams",
            "InHdrErrors",
            "InAddrErrors",
            "InUnknownProtos",
            "InDiscards",
        ];
        let told: Option<i64> = told.into_iter().map(ip).sum();
        let no_routes = self.get("IpExt", "InNoRoutes")?;
        let filtered = self.get("TcpExt", "IPReversePathFilter")?;
        Some(ip("InReceives")? - told? - no_routes - filtered - fragments - conntrack_drops)
    }
}

/// The sum of a column over all interfaces but loopback. The names are followed by sixteen columns,
/// eight of receiving first.
fn of_interfaces(dev: &str, column: usize) -> Option<i64> {
    let lines = dev.lines().filter_map(|line| line.split_once(':'));
    let others = lines.filter(|(name, _)| name.trim() != "lo");
    let value = |columns: &str| columns.split_whitespace().nth(column)?.parse::<i64>().ok();
    let sum: Option<i64> = others.map(|(_, columns)| value(columns)).sum();
    sum.filter(|_| dev.contains(':'))
}

/// How the kernel is set; what this kernel does not have is not there.
fn settings() -> BTreeMap<Setting, u64> {
    let all = Setting::ALL.iter();
    all.filter_map(|setting| Some((*setting, value_of(*setting)?)))
        .collect()
}

fn value_of(setting: Setting) -> Option<u64> {
    match setting {
        Setting::TcpTimestamps => number("ipv4/tcp_timestamps", 0),
        Setting::TcpTwReuse => number("ipv4/tcp_tw_reuse", 0),
        Setting::TcpSyncookies => number("ipv4/tcp_syncookies", 0),
        Setting::TcpMaxSynBacklog => number("ipv4/tcp_max_syn_backlog", 0),
        Setting::TcpAbortOnOverflow => number("ipv4/tcp_abort_on_overflow", 0),
        Setting::TcpFastopen => number("ipv4/tcp_fastopen", 0),
        Setting::TcpMaxTwBuckets => number("ipv4/tcp_max_tw_buckets", 0),
        Setting::Somaxconn => number("core/somaxconn", 0),
        Setting::RpFilter => reverse_path_filter(),
        Setting::LocalPortFirst => number("ipv4/ip_local_port_range", 0),
        Setting::LocalPortLast => number("ipv4/ip_local_port_range", 1),
        Setting::ConntrackMax => number("netfilter/nf_conntrack_max", 0),
        Setting::ConntrackCount => number("netfilter/nf_conntrack_count", 0),
        Setting::TimeWaitSockets => time_wait_sockets(),
    }
}

fn sysctl(name: &str) -> Option<String> {
    fs::read_to_string(PathBuf::from("/proc/sys/net").join(name)).ok()
}

/// One of the numbers that a setting consists of.
fn number(name: &str, place: usize) -> Option<u64> {
    let text = sysctl(name)?;
    text.split_whitespace().nth(place)?.parse().ok()
}

/// An interface is as strict as the stricter of its own setting and that of all
/// (`Documentation/networking/ip-sysctl.rst`). 1 is stricter than 2, and 0 is off.
fn reverse_path_filter() -> Option<u64> {
    let all = number("ipv4/conf/all/rp_filter", 0)?;
    let interfaces = fs::read_dir("/proc/sys/net/ipv4/conf").ok()?;
    let names = interfaces.take(MOST_INTERFACES).flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let own = names.filter_map(|name| number(&format!("ipv4/conf/{name}/rp_filter"), 0));
    // The kernel takes the larger number of the two.
    let effective = own.map(|own| own.max(all));
    effective.filter(|filter| *filter > 0).min().or(Some(0))
}

fn time_wait_sockets() -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/sockstat").ok()?;
    let tcp = text.lines().find(|line| line.starts_with("TCP:"))?;
    let mut words = tcp.split_whitespace().skip_while(|word| *word != "tw");
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNMP: &str = "\
Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards \
InDelivers ReasmReqds ReasmOKs
Ip: 2 64 1000 1 2 30 0 4 900 8 5
Tcp: RtoAlgorithm MaxConn RetransSegs
Tcp: 1 -1 17
";
    const NETSTAT: &str = "\
TcpExt: SyncookiesSent PAWSActive PAWSEstab TW ListenOverflows ListenDrops IPReversePathFilter TCPReqQFullDrop
TcpExt: 0 3 4 12 31 33 10 2
IpExt: InNoRoutes InOctets
IpExt: 5 99
";
    const DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       9       9    9    9    0     0          0         0        9       9    9    9    0     0       0          0
  eth0: 231219572    8956    1    2    0     0          0         0   532305    6393    3    4    0     0       0          0
  eth1:       1       1   10   20    0     0          0         0        1       1   30   40    0     0       0          0
";

    fn totals() -> Totals {
        Totals::of(&Files {
            snmp: SNMP.to_owned(),
            netstat: NETSTAT.to_owned(),
            dev: DEV.to_owned(),
            conntrack: conntrack_of(
                "entries  found insert_failed drop\n0000000a  00000001 00000010 0000000f\n\
                 0000000a  00000001 00000000 00000001\n",
            ),
        })
    }

    #[test]
    fn counters_are_found_by_group_and_name() {
        let rows = [
            (Counter::RetransSegs, Some(17)),
            (Counter::ListenOverflows, Some(31)),
            (Counter::ListenDrops, Some(33)),
            (Counter::RequestQueueDrops, Some(2)),
            (Counter::PawsRejects, Some(7)),
            (Counter::TimeWaits, Some(12)),
            (Counter::ReversePathDrops, Some(10)),
            (Counter::ConntrackDrops, Some(16)),
            (Counter::ConntrackInsertFailures, Some(16)),
            // 1000 - 900 - 30 - 1 - 2 - 4 - 5 - 10 - (8 - 5) - 16.
            (Counter::Undelivered, Some(29)),
            (Counter::RxErrors, Some(11)),
            (Counter::RxDrops, Some(22)),
            (Counter::TxErrors, Some(33)),
            (Counter::TxDrops, Some(44)),
            // This kernel has none.
            (Counter::SynRetrans, None),
        ];
        let totals = totals();
        for (counter, total) in rows {
            assert_eq!(totals.0.get(&counter).copied(), total, "{counter:?}");
        }
        assert!(totals.unread().contains(&Counter::SynRetrans));
        assert!(!totals.unread().contains(&Counter::ListenDrops));
    }

    #[test]
    fn a_host_that_shows_nothing_says_so() {
        let totals = Totals::of(&Files::default());
        assert_eq!(totals.unread().len(), Counter::ALL.len());
    }

    #[test]
    fn only_what_rises_beyond_what_was_is_told() {
        let mut kernel = Kernel {
            highest: BTreeMap::new(),
            queues: Queues::open(),
            readings: 0,
        };
        let total = |total| Totals(BTreeMap::from([(Counter::Undelivered, total)]));
        // The first is what the others are reckoned from; a packet that was on its way counts once.
        let rows = [(5, 0), (5, 0), (8, 3), (7, 0), (8, 0), (10, 2)];
        for (now, rise) in rows {
            let rises = kernel.rises(total(now));
            assert_eq!(rises.values().sum::<u64>(), rise, "{now}");
        }
    }

    #[test]
    fn this_host_can_be_read() {
        let mut kernel = Kernel::start();
        let first = kernel.read();
        assert!(
            first.settings.contains_key(&Setting::Somaxconn),
            "{first:?}"
        );
        assert!(
            !first.unread.contains(&Counter::ListenOverflows),
            "{first:?}"
        );
        let told = (1..SETTINGS_EVERY).map(|_| kernel.read().settings.len());
        assert_eq!(told.sum::<usize>(), 0);
        assert!(!kernel.read().settings.is_empty());
    }
}
