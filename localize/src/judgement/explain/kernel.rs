//! What the kernels of the hosts say beside the probes: what one counted in the seconds in which it left
//! SYNs unanswered, and how it is set otherwise than its siblings.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::engine::search::Posterior;
use crate::facts::case::Case;
use crate::facts::host::{Counter, Setting};
use crate::facts::sighting::WitnessReport;
use crate::facts::topology::VantageName;
use crate::judgement::problem::Problem;
use crate::judgement::stretch::Suspect;
use crate::judgement::verdict::Evidence;
use crate::reading::cells::Cell;
use crate::reading::epochs::Span;
use crate::reading::kernel::{settings, unanswered};
use crate::world::mode::Word;
use crate::world::part::What;
use crate::world::symptom::Stage;

/// Counters of which a line is made.
const MOST_COUNTERS: usize = 2;
/// By so much, in microseconds, probes are ahead of the reports of a host that says all.
const LAG_US: u64 = 3_000_000;
/// A counter tells something when it rose so many times as much as at any sibling.
const BEYOND: u64 = 3;

/// The lines about one fault that is there in a stretch; none where no agent reads the kernel of the host that it is of.
pub(super) fn kernel(case: &Case, span: Span, what: &What, mode: Word) -> Vec<Evidence> {
    let (counted, set) = speaks(mode);
    let Some(host) = host(what).and_then(|name| Host::of(case, name)) else {
        return Vec::new();
    };
    let siblings: Vec<Host<'_>> = case
        .topology
        .backends
        .iter()
        .filter(|backend| backend.name != host.name)
        .filter_map(|backend| Host::of(case, &backend.name))
        .collect();
    let mut lines = Vec::new();
    if counted {
        lines.extend(counters(span, &host, &siblings));
    }
    if mode == Word::AcceptQueueFull {
        lines.extend(host.fullest(span));
    }
    if set {
        lines.extend(differences(case, &host, &siblings));
    }
    lines
}

/// Since when a host that leaves SYNs unanswered has not said why, where it is about to: reports come a
/// second after what they are of, and those of the last probes that failed have not. What it said of others
/// may be over.
pub(crate) fn awaited(
    case: &Case,
    problem: &Problem<'_>,
    posterior: &Posterior,
    suspect: &Suspect,
) -> Option<u64> {
    let mode = super::mode(problem, posterior, suspect)?;
    if !speaks(mode).0 {
        return None;
    }
    let cells = suspect
        .parts
        .iter()
        .flat_map(|part| &problem.cells_of[*part]);
    let cells = cells.map(|cell| &problem.evidence.cells[*cell]);
    let failing: Vec<&Cell> = cells.filter(|cell| cell.failed() > 0).collect();
    let last = |stage| {
        let at = failing.iter().filter(|cell| cell.stage == stage);
        at.map(|cell| cell.last).max().unwrap_or(0)
    };
    let told = last(Stage::Answer);
    let says = || Host::of(case, host(&suspect.what)?);
    (last(Stage::Tcp) > told + LAG_US && says().is_some()).then_some(told)
}

/// Whether counters and settings of the host have to do with a mode.
fn speaks(mode: Word) -> (bool, bool) {
    match mode {
        Word::SynUnanswered
        | Word::AcceptQueueFull
        | Word::HostFirewall
        | Word::ReversePathFilter
        | Word::ConnectionTableFull
        | Word::StackSilent => (true, true),
        Word::PortReuseCollision => (false, true),
        Word::PacketLoss
        | Word::Unreachable
        | Word::TlsFails
        | Word::Resets
        | Word::Clock
        | Word::NoAnswer
        | Word::Refuses
        | Word::Servfail
        | Word::WrongAnswer
        | Word::StaleAnswer
        | Word::NameMissing
        | Word::Lame
        | Word::SignaturesExpired
        | Word::Bogus
        | Word::ValidationFails
        | Word::Filters
        | Word::AaaaFails
        | Word::DnsIntercepted
        | Word::SearchDomain
        | Word::Slow
        | Word::CertificateExpired
        | Word::CertificateInvalid
        | Word::ChainIncomplete
        | Word::Http5xx
        | Word::Http4xx
        | Word::RateLimited
        | Word::Stalls
        | Word::Truncates
        | Word::WrongContent
        | Word::WrongVariant
        | Word::LargeHello
        | Word::Throttled
        | Word::SessionsFail
        | Word::Blocked
        | Word::Misdirected
        | Word::AnswersLost
        | Word::NotServed
        | Word::Forbidden
        | Word::MtuBlackHole
        | Word::LargeAnswersFail => (false, false),
    }
}

/// The host whose kernel decides on a part.
fn host(what: &What) -> Option<&str> {
    match what {
        What::Backend(name) | What::Return { host: name, .. } => Some(name),
        What::Access(_)
        | What::Resolver(_)
        | What::NameServer(_)
        | What::NameServers(_)
        | What::Zone(_)
        | What::Edge(_)
        | What::Provider(_)
        | What::Address(_)
        | What::OriginPath { .. }
        | What::Origin(_)
        | What::Shared(_)
        | What::Balancer(_)
        | What::Toward { .. }
        | What::LbBackendPath { .. }
        | What::Barred { .. }
        | What::NotServed(_) => None,
    }
}

/// A host with an agent on it.
struct Host<'c> {
    name: &'c str,
    witness: &'c VantageName,
    /// Its reports, each once.
    reports: Vec<&'c WitnessReport>,
}

impl<'c> Host<'c> {
    fn of(case: &'c Case, name: &'c str) -> Option<Self> {
        let mut vantages = case.topology.vantages.iter();
        let agent = vantages.find(|v| v.host.as_deref() == Some(name))?;
        let own = case.sightings.iter().filter(|r| r.witness == agent.name);
        let once: BTreeMap<u64, &WitnessReport> = own
            .filter(|report| report.host.is_some())
            .map(|report| (report.sequence, report))
            .collect();
        (!once.is_empty()).then(|| Self {
            name,
            witness: &agent.name,
            reports: once.into_values().collect(),
        })
    }

    /// When in a span it left SYNs unanswered, in microseconds of mesh time.
    fn struck(&self, span: Span) -> Vec<(u64, u64)> {
        let lost = |report: &&&WitnessReport| report.flows.iter().any(|flow| unanswered(flow) > 0);
        let within = |report: &&&WitnessReport| span.holds(report.to.at_us);
        let struck = self.reports.iter().filter(within).filter(lost);
        struck
            .map(|report| (report.from.at_us, report.to.at_us))
            .collect()
    }

    /// The listener that had most waiting of those that had more than their room, in a span.
    fn fullest(&self, span: Span) -> Option<Evidence> {
        let within = self.reports.iter().filter(|r| span.holds(r.to.at_us));
        let queues = within.flat_map(|report| report.host.iter().flat_map(|host| &host.queues));
        let full = queues.filter(|queue| queue.waiting > queue.room);
        let fullest = full.max_by_key(|queue| (queue.waiting, queue.local))?;
        let text = format!(
            "{}'s listener at {} had {} connections waiting to be accepted, and room for {}",
            self.name, fullest.local, fullest.waiting, fullest.room
        );
        Some(line(self, "listen_queue", text))
    }

    /// By how much a counter rose in these stretches; a report counts for the one that holds its middle.
    fn rise(&self, counter: Counter, stretches: &[(u64, u64)]) -> Option<u64> {
        let within = |report: &&&WitnessReport| {
            let middle = report.from.at_us.midpoint(report.to.at_us);
            let after = stretches.partition_point(|(_, to)| *to <= middle);
            stretches
                .get(after)
                .is_some_and(|(from, _)| *from <= middle)
        };
        let hosts = self.reports.iter().filter(within);
        hosts
            .filter_map(|report| report.host.as_ref())
            .map(|host| host.rise(counter))
            .sum()
    }
}

/// A counter that rose at a host, and what siblings counted in the same seconds.
struct Told<'h> {
    counter: Counter,
    rise: u64,
    others: Vec<(&'h str, u64)>,
}

/// What the host counted while it left SYNs unanswered, and its siblings did not.
fn counters(span: Span, host: &Host<'_>, siblings: &[Host<'_>]) -> Vec<Evidence> {
    let struck = host.struck(span);
    let seconds: u64 = struck.iter().map(|(from, to)| to - from).sum();
    let told = Counter::ALL.iter().filter_map(|counter| {
        let rise = host.rise(*counter, &struck).unwrap_or(0);
        let others = siblings.iter();
        let others = others.filter_map(|s| Some((s.name, s.rise(*counter, &struck)?)));
        let others: Vec<(&str, u64)> = others.collect();
        let most = others.iter().map(|(_, rise)| *rise).max().unwrap_or(0);
        (rise > most * BEYOND).then_some(Told {
            counter: *counter,
            rise,
            others,
        })
    });
    let mut told: Vec<Told<'_>> = told.collect();
    if told.iter().any(|t| !is_consequence(t.counter)) {
        told.retain(|t| !is_consequence(t.counter));
    }
    told.sort_by_key(|t| (Reverse(t.rise), t.counter));
    told.truncate(MOST_COUNTERS);
    let lines = told.iter().map(|t| {
        let text = format!(
            "{}'s kernel counted {} {} in the {} s in which it left SYNs unanswered{}",
            host.name,
            t.rise,
            t.counter.text(),
            seconds.div_ceil(1_000_000),
            beside(&t.others),
        );
        line(host, t.counter.word(), text)
    });
    lines.collect()
}

/// Whether a counter rises because of what keeps answers back, and says nothing of why.
fn is_consequence(counter: Counter) -> bool {
    match counter {
        Counter::RetransSegs
        | Counter::SynRetrans
        | Counter::TimeWaits
        // They hold the overflows, and what other counters say the reason of.
        | Counter::ListenDrops => true,
        Counter::ListenOverflows
        | Counter::RequestQueueDrops
        | Counter::RequestQueueCookies
        | Counter::SyncookiesSent
        | Counter::SyncookiesFailed
        | Counter::PawsRejects
        | Counter::TimeWaitOverflows
        | Counter::BacklogDrops
        | Counter::ReversePathDrops
        | Counter::ConntrackDrops
        | Counter::ConntrackInsertFailures
        | Counter::Undelivered
        | Counter::RxErrors
        | Counter::RxDrops
        | Counter::TxErrors
        | Counter::TxDrops => false,
    }
}

/// What the siblings counted in the same seconds.
fn beside(others: &[(&str, u64)]) -> String {
    let none: Vec<&str> = others.iter().filter(|o| o.1 == 0).map(|o| o.0).collect();
    let some = others.iter().filter(|o| o.1 > 0);
    let mut parts: Vec<String> = some.map(|(name, rise)| format!("{name} {rise}")).collect();
    if !none.is_empty() {
        parts.push(format!("{} none", listed(&none)));
    }
    match parts.is_empty() {
        true => String::new(),
        false => format!(", {}", parts.join(", ")),
    }
}

/// How the host is set, where all siblings are set alike and otherwise.
fn differences(case: &Case, host: &Host<'_>, siblings: &[Host<'_>]) -> Vec<Evidence> {
    let known = |host: &Host<'_>| settings(&case.sightings, host.witness);
    let Some(own) = known(host) else {
        return Vec::new();
    };
    let others: Vec<(&str, BTreeMap<Setting, u64>)> = siblings
        .iter()
        .filter_map(|sibling| Some((sibling.name, known(sibling)?)))
        .collect();
    let set = own.iter().filter(|(setting, _)| setting.is_set());
    let lines = set.filter_map(|(setting, value)| {
        let theirs: Option<Vec<u64>> = others.iter().map(|o| o.1.get(setting).copied()).collect();
        let theirs = theirs?;
        let alike = *theirs.first()?;
        if alike == *value || theirs.iter().any(|other| *other != alike) {
            return None;
        }
        let names: Vec<&str> = others.iter().map(|(name, _)| *name).collect();
        let text = format!(
            "{} is {} on {} alone ({}: {})",
            setting.text(),
            put(*setting, *value),
            host.name,
            listed(&names),
            put(*setting, alike),
        );
        Some(line(host, setting.word(), text))
    });
    lines.collect()
}

/// A value as a person speaks of it.
fn put(setting: Setting, value: u64) -> String {
    match (setting, value) {
        (
            Setting::TcpTimestamps
            | Setting::TcpTwReuse
            | Setting::TcpSyncookies
            | Setting::TcpAbortOnOverflow
            | Setting::TcpFastopen
            | Setting::RpFilter,
            0,
        ) => "off".to_string(),
        (Setting::TcpTimestamps | Setting::TcpSyncookies | Setting::TcpAbortOnOverflow, 1) => {
            "on".to_string()
        }
        (Setting::RpFilter, 1) => "strict".to_string(),
        (Setting::RpFilter, 2) => "loose".to_string(),
        (_, value) => value.to_string(),
    }
}

/// Names as a sentence lists them.
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [some @ .., last] if !some.is_empty() => format!("{} and {last}", some.join(", ")),
        _ => names.concat(),
    }
}

/// A line that no probe has seen: it counts none, and its weight is in the lines that do.
fn line(host: &Host<'_>, word: &str, text: String) -> Evidence {
    Evidence {
        text,
        vantage: host.witness.to_string(),
        arm: format!("kernel/{word}"),
        failed: 0,
        of: 0,
        failure: String::new(),
        implicates: true,
        nats: 0.0,
    }
}
