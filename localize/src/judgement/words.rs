//! The sentences of a verdict.

mod dns;
mod throttled;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem::discriminant;

use crate::facts::time::Micros;
use crate::world::mode::Word;
use crate::world::part::{Vip, What};
use crate::world::symptom::{Stage, Symptom};

/// A part as a sentence names it.
pub(crate) fn noun(what: &What) -> String {
    let balancer = |vip: &Vip| match vip {
        Vip::One(vip) | Vip::Any(vip) => format!("load balancer {vip}"),
        Vip::Undeclared => "the load balancer".to_string(),
    };
    match what {
        What::Access(vantage) => format!("the access network of vantage point {vantage}"),
        What::Resolver(server) => format!("resolver {server}"),
        What::NameServer(name) => format!("name server {name}"),
        What::NameServers(zone) => format!("all name servers of {zone}"),
        What::Zone(name) => format!("zone {name}"),
        What::Edge(edge) => format!("CDN edge {edge}"),
        What::Provider(name) => format!("CDN {name}"),
        What::Address(address) => format!("whatever answers at {address}"),
        What::OriginPath { edge, to } => {
            let from = edge.map_or_else(|| "every edge".to_string(), |edge| format!("edge {edge}"));
            let to = match to {
                Vip::Undeclared => "the origin".to_string(),
                Vip::One(vip) => vip.to_string(),
                Vip::Any(vip) => format!("{vip} and the balancer's other addresses"),
            };
            format!("the path from {from} to {to}")
        }
        What::Origin(service) => format!("the origin of {service}"),
        What::Shared(service) => format!("what all backends of {service} share"),
        What::Balancer(Vip::Any(vip)) => format!("load balancer {vip} and its other addresses"),
        What::Balancer(vip) => balancer(vip),
        What::Toward { vip, backend } => format!("{} towards {backend}", balancer(vip)),
        What::LbBackendPath { vip, backend } => {
            format!("the path from {} to {backend}", balancer(vip))
        }
        What::Backend(name) => format!("backend {name}"),
        What::Return { host, to } => format!("the way back from {host} to {to}"),
        What::Barred { vantage, target } => format!("a rule that keeps {vantage} from {target}"),
        What::NotServed(vantage) => format!("a refusal to serve {vantage}"),
    }
}

/// In what manner probes went wrong. An answer that is late is an answer, and no failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// They failed.
    Failed,
    /// Their answers were late.
    Late,
    /// Some failed and some were late.
    Both,
}

impl Manner {
    /// In what manner these symptoms are wrong; without any, what is looked for are failures.
    pub(crate) fn of(symptoms: impl IntoIterator<Item = Symptom>) -> Self {
        let (mut failed, mut late) = (false, false);
        for symptom in symptoms {
            failed |= !symptom.is_late();
            late |= symptom.is_late();
        }
        match (failed, late) {
            (_, false) => Self::Failed,
            (false, true) => Self::Late,
            (true, true) => Self::Both,
        }
    }

    /// What befell them.
    pub(crate) const fn past(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Late => "were late",
            Self::Both => "failed or were late",
        }
    }

    /// What they would be seen to do.
    const fn infinitive(self) -> &'static str {
        match self {
            Self::Failed => "fail",
            Self::Late => "end late",
            Self::Both => "fail or end late",
        }
    }
}

/// How late something is that answers, all the same.
#[derive(Clone, Copy)]
pub(crate) struct Lateness<'a> {
    /// The usual time.
    pub(crate) usual: Micros,
    /// The median of those that were late.
    pub(crate) median: Micros,
    /// From where that was seen.
    pub(crate) vantage: &'a str,
}

/// How far a fault reaches.
#[derive(Clone, Copy)]
pub(crate) struct Reach<'a> {
    /// Share of what crosses the component that it fails.
    pub(crate) rate: f64,
    /// Nothing that could have shown the fault got through.
    pub(crate) always: bool,
    /// What users do fails for it, or takes longer.
    pub(crate) user_impact: bool,
    /// By how much it is late, where that is what is wrong with it.
    pub(crate) late: Option<Lateness<'a>>,
    /// For how many seconds more a negative answer may be kept that it gives.
    pub(crate) kept: Option<u32>,
    /// By how many seconds the clock of its host is ahead of mesh time, where it is wrong.
    pub(crate) ahead: Option<i64>,
}

/// The one sentence for the person on call: what the component does, how often, whether its siblings
/// do so too, and who feels it.
pub(crate) fn summary(what: &What, mode: Word, reach: Reach<'_>, well: &[What]) -> String {
    let noun = noun(what);
    let misdeed = misdeed(what, mode, reach);
    let siblings = siblings(what, well);
    let impact = match (reach.user_impact, what) {
        (false, _) if reach.late.is_some() => {
            "what users do varies by more than that anyway, or is spared it"
        }
        (false, _) if mode == Word::PortReuseCollision => "what users do has not met it so far",
        (false, _) if mode == Word::Throttled => {
            "users who open few connections at once do not meet it, who share an address with many may"
        }
        (false, _) => "redundancy hides it from users, at the price of capacity",
        (true, What::Access(_)) => "users behind it are affected",
        (true, What::Resolver(_)) => "its users are affected",
        (true, _) => "users are affected",
    };
    let mut sentence = format!("{noun} {misdeed}{siblings}; {impact}.");
    if let Some(first) = sentence.get(..1) {
        let upper = first.to_uppercase();
        sentence.replace_range(..1, &upper);
    }
    sentence
}

/// So many of what is spoken of next.
fn quantity(reach: Reach<'_>) -> String {
    let percent = reach.rate * 100.0;
    if reach.always {
        "all".to_string()
    } else if reach.rate > 0.9 {
        "nearly all".to_string()
    } else if percent < 9.5 {
        format!("{percent:.1} % of the")
    } else {
        format!("{percent:.0} % of the")
    }
}

/// How wrong a clock is.
fn clock(ahead: i64) -> String {
    let way = if ahead < 0 { "behind" } else { "ahead of" };
    let off = ahead.unsigned_abs();
    let off = match off {
        0..7_200 => format!("{} minutes", off / 60),
        7_200..172_800 => format!("{} hours", off / 3_600),
        _ => format!("{} days", off / 86_400),
    };
    format!(": its host's clock is {off} {way} the mesh's")
}

/// Later than usual by how much, and what that was seen by.
fn later(late: Option<Lateness<'_>>) -> String {
    let Some(late) = late else {
        return "much later than usual".to_string();
    };
    let by = Micros(late.median.0.saturating_sub(late.usual.0));
    format!(
        "{} later than usual (median {} against {} at {})",
        duration(rounded(by)),
        duration(late.median),
        duration(late.usual),
        late.vantage
    )
}

/// To two digits that count.
fn rounded(time: Micros) -> Micros {
    let mut unit = 1;
    while time.0 / unit >= 100 {
        unit *= 10;
    }
    Micros((time.0 + unit / 2) / unit * unit)
}

/// A time as a person reads it.
pub(crate) fn duration(time: Micros) -> String {
    match time.0 {
        0..950 => format!("{} us", time.0),
        950..9_950 => {
            let text = format!("{:.1}", time.0 as f64 / 1e3);
            format!("{} ms", text.trim_end_matches(".0"))
        }
        9_950..999_500 => format!("{:.0} ms", time.0 as f64 / 1e3),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// What a part in a mode does wrong, to how many of what crosses it.
#[expect(clippy::too_many_lines, reason = "a table, a row for each case")]
fn misdeed(what: &What, mode: Word, reach: Reach<'_>) -> String {
    let so_many = quantity(reach);
    let dns = matches!(
        what,
        What::Resolver(_) | What::NameServer(_) | What::NameServers(_) | What::Zone(_)
    );
    let asked = if dns { "questions" } else { "requests" };
    let opened = if dns { "questions" } else { "connections" };
    match mode {
        Word::PacketLoss => format!("loses {so_many} packets"),
        Word::Unreachable => format!("drops {so_many} traffic"),
        Word::Blocked => format!("blocks {so_many} connections"),
        Word::NoAnswer => format!("leaves {so_many} {opened} unanswered"),
        Word::Refuses => format!("refuses {so_many} {opened}"),
        Word::Servfail => format!("answers {so_many} questions with SERVFAIL"),
        Word::WrongAnswer => {
            format!("answers {so_many} questions with an address that does not serve")
        }
        Word::StaleAnswer => dns::stale(what, &so_many, reach.kept),
        Word::NameMissing => dns::missing(what, &so_many),
        Word::Lame => dns::lame(what, &so_many),
        Word::SignaturesExpired => dns::expired(&so_many),
        Word::Bogus => dns::bogus(&so_many),
        Word::ValidationFails => format!(
            "answers {so_many} questions with SERVFAIL, for signatures that other resolvers accept"
        ),
        Word::Filters => format!("withholds the name in {so_many} answers, as a filter does"),
        Word::AaaaFails => format!(
            "leaves {so_many} questions for IPv6 addresses (AAAA) unanswered, and not those for IPv4"
        ),
        Word::DnsIntercepted => format!(
            "answers {so_many} questions of DNS in the place of the servers that they are sent to"
        ),
        Word::SearchDomain => format!(
            "leads {so_many} look-ups elsewhere: its search list has a domain that answers for any name, and the stub resolver tries it before the name itself"
        ),
        Word::Slow => format!("answers {so_many} {asked} {}", later(reach.late)),
        Word::Resets => format!("resets {so_many} connections"),
        Word::CertificateExpired => {
            format!("presents an expired certificate in {so_many} handshakes")
        }
        Word::CertificateInvalid => {
            format!("presents a certificate that does not verify in {so_many} handshakes")
        }
        Word::ChainIncomplete => format!(
            "presents its certificate without that of the issuer in {so_many} handshakes: the chain lacks its intermediate, which browsers know or fetch and programs do not"
        ),
        Word::Clock => {
            let clock = reach.ahead.map(clock).unwrap_or_default();
            format!(
                "finds {so_many} certificates not yet valid or expired, which others accept{clock}"
            )
        }
        Word::TlsFails => format!("fails {so_many} TLS handshakes"),
        Word::Http5xx => format!("answers {so_many} requests with server errors"),
        Word::SessionsFail => format!(
            "answers {so_many} requests of some sessions with server errors: by their cookie it keeps them to a server that is gone"
        ),
        Word::Http4xx => format!("answers {so_many} requests with client errors"),
        Word::RateLimited => {
            format!("turns {so_many} requests away as too many (429)")
        }
        Word::Stalls => format!("takes {so_many} requests and never answers them"),
        Word::Truncates => format!("cuts {so_many} bodies short"),
        Word::WrongContent => {
            format!("serves another body than its siblings to {so_many} requests")
        }
        Word::WrongVariant => {
            format!(
                "serves an older or other body to {so_many} requests of clients that accept gzip, and not to those that do not"
            )
        }
        Word::Misdirected => format!(
            "fails {so_many} requests that it sends there, while the backend answers all who ask it directly"
        ),
        Word::SynUnanswered => format!("leaves {so_many} SYNs that reach it unanswered"),
        Word::AcceptQueueFull => {
            format!("leaves {so_many} SYNs that reach it unanswered: its listen queue is full")
        }
        Word::HostFirewall => {
            format!(
                "leaves {so_many} SYNs that reach it unanswered: a packet filter on it drops them"
            )
        }
        Word::ReversePathFilter => format!(
            "keeps {so_many} SYNs unanswered: it leaves by another interface than they come in by, and the host's reverse-path filter drops them for that"
        ),
        Word::ConnectionTableFull => {
            format!("leaves {so_many} SYNs that reach it unanswered: its connection table is full")
        }
        Word::StackSilent => format!(
            "leaves {so_many} SYNs that reach its TCP stack unanswered, and its kernel counts no drop"
        ),
        Word::AnswersLost => format!("loses {so_many} answers that have left the host"),
        Word::MtuBlackHole => format!("loses {so_many} answers that take more than one packet"),
        Word::LargeHello => format!(
            "fails {so_many} TLS handshakes of clients whose hello takes two packets, as with a post-quantum key share, and not those of others"
        ),
        Word::LargeAnswersFail => format!("fails {so_many} large answers"),
        Word::Throttled => throttled::misdeed(&so_many),
        Word::PortReuseCollision => {
            format!("fails {so_many} connections whose source port was used less than 60 s before")
        }
        Word::NotServed | Word::Forbidden => format!("turns {so_many} probes away"),
    }
}

/// That siblings are well: by name where these are few and short.
fn siblings(what: &What, well: &[What]) -> String {
    if what.is_shared_parent() {
        return String::new();
    }
    let alike = |other: &&What| {
        discriminant(*other) == discriminant(what) && !other.is_shared_parent() && *other != what
    };
    let like: Vec<&What> = well.iter().filter(alike).collect();
    let short = |what: &What| match what {
        What::Access(_)
        | What::Resolver(_)
        | What::NameServer(_)
        | What::Edge(_)
        | What::Address(_)
        | What::Balancer(_)
        | What::Backend(_) => what.component().map(|c| c.name),
        What::Provider(_)
        | What::NameServers(_)
        | What::Zone(_)
        | What::OriginPath { .. }
        | What::Origin(_)
        | What::Shared(_)
        | What::Toward { .. }
        | What::LbBackendPath { .. }
        | What::Return { .. }
        | What::Barred { .. }
        | What::NotServed(_) => None,
    };
    let names: Vec<String> = like.iter().filter_map(|what| short(what)).collect();
    match names.as_slice() {
        [one] => format!(", while {one} is well"),
        [some @ .., last] if some.len() < 3 => {
            format!(", while {} and {last} are well", some.join(", "))
        }
        _ => match like.len() {
            0 => String::new(),
            1 => ", while another is well".to_string(),
            others => format!(", while {others} others are well"),
        },
    }
}

/// Who can mend a part.
pub(crate) fn owner(what: &What) -> &'static str {
    match what {
        What::Access(_) => "whoever runs that vantage point's access network",
        What::Resolver(_) => "the operator of that resolver (often the user's provider)",
        What::NameServer(_) | What::NameServers(_) | What::Zone(_) => {
            "the DNS provider of the zone"
        }
        What::Edge(_) | What::Provider(_) | What::NotServed(_) => "the CDN provider",
        What::OriginPath { .. } => {
            "the network between CDN and data centre: data-centre firewall and transit, with the CDN"
        }
        What::Origin(_) | What::Address(_) => {
            "the team that runs the site behind its public addresses"
        }
        What::Shared(_) => "the team that runs the application, its release and what it depends on",
        What::Balancer(_) | What::Toward { .. } => "the team that runs the load balancer",
        What::LbBackendPath { .. } | What::Barred { .. } => "the network team of the data centre",
        What::Backend(_) => "the team that runs that backend",
        What::Return { .. } => "the network team, with the owner of that host's routing table",
    }
}

/// What to look at or change first.
#[expect(clippy::too_many_lines, reason = "a table, a row for each case")]
pub(crate) fn next_step(what: &What, mode: Word) -> String {
    let noun = noun(what);
    match mode {
        Word::PortReuseCollision => {
            return format!(
                "it fails when a source port is used again within 60 s: check TCP timestamps (`sysctl net.ipv4.tcp_timestamps`) on balancer and backend, then stateful firewalls and NAT at {noun}"
            );
        }
        Word::MtuBlackHole => {
            return format!(
                "full packets vanish and small ones pass: check MTU and MSS on every hop and tunnel of {noun}, and that ICMP \"fragmentation needed\" (type 3 code 4; ICMPv6 type 2) is let through (`tracepath`, `ping -M do -s 1472` to its far end)"
            );
        }
        Word::LargeAnswersFail => {
            return format!(
                "small answers of {noun} are whole and large ones are not: check limits on answer size, buffers and the disk that they spill to, and its error log"
            );
        }
        Word::LargeHello => {
            return format!(
                "look for what reads TLS at {noun} (firewall, filter, DPI, proxy) and takes the ClientHello for whole in its first packet, and update it or let it pass; then for MTU and fragments in that direction. Meanwhile clients without X25519MLKEM768 get through"
            );
        }
        Word::Throttled => return throttled::next_step(what),
        Word::SessionsFail => {
            return format!(
                "let {noun} send a session elsewhere when its server is gone (HAProxy: `option redispatch`, no `option persist`), and compare its list of servers with those that there are"
            );
        }
        Word::WrongVariant => {
            return format!(
                "purge every variant of the page at {noun}, the packed ones too, and compare `curl -s --compressed` with `curl -s` there: the packed variant is another one"
            );
        }
        Word::CertificateExpired | Word::CertificateInvalid => {
            return format!("renew the certificate that {noun} presents, with its intermediates");
        }
        Word::ChainIncomplete => {
            return format!(
                "have {noun} send the whole chain, its certificate and then the intermediates (often named fullchain); `openssl s_client -showcerts` shows what it sends"
            );
        }
        Word::RateLimited => {
            return format!(
                "raise the limit of {noun} or slow the probes down (`[schedule] every`), and see whether users meet it as well"
            );
        }
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
        | Word::Http5xx
        | Word::Http4xx
        | Word::Stalls
        | Word::Truncates
        | Word::WrongContent
        | Word::Blocked
        | Word::Misdirected
        | Word::SynUnanswered
        | Word::AnswersLost
        | Word::NotServed
        | Word::Forbidden
        | Word::AcceptQueueFull
        | Word::HostFirewall
        | Word::ReversePathFilter
        | Word::ConnectionTableFull
        | Word::StackSilent => {}
    }
    match what {
        What::Access(vantage) => of_access(&vantage.0, mode),
        What::Resolver(server) => dns::of_resolver(*server, mode),
        What::NameServer(name) => dns::of_name_server(name, mode),
        What::NameServers(zone) | What::Zone(zone) => dns::of_zone(&noun, zone, mode),
        What::Edge(_) | What::Provider(_) => format!(
            "open a ticket with the CDN naming {noun}, with the evidence above; meanwhile take it out of DNS if you can"
        ),
        What::OriginPath { .. } => {
            "check the firewall in front of the balancer for the edge's addresses, then trace both ways between edge and balancer".to_string()
        }
        What::Origin(service) => format!(
            "read the origin's own log, and declare the balancer and the backends of {service} in the service file, so that the part at fault can be named"
        ),
        What::Address(address) => {
            format!("look at what listens at {address}, or take it out of DNS meanwhile")
        }
        What::Shared(_) => {
            "look at what they share: the last release or configuration change, the database, the cache; taking single backends out of rotation does not help".to_string()
        }
        What::Balancer(_) if mode == Word::Http5xx => {
            "read the balancer's log for the reason of its answers, and compare its health checks with what the backends answer to direct probes".to_string()
        }
        What::Balancer(_) => format!("check that the listener of {noun} is up, then its log"),
        What::Toward { backend, .. } => format!(
            "compare what the balancer's configuration says of {backend} with its siblings: address and port, PROXY protocol, TLS, keep-alive; then its log for {backend}"
        ),
        What::LbBackendPath { .. } => {
            "check links, policies and counters between the balancer and that backend, in that direction".to_string()
        }
        What::Backend(name) => of_backend(name, mode),
        What::Return { host, to } if mode == Word::ReversePathFilter => format!(
            "on {host} let `ip route get {to}` lead out of the interface by which requests from there come in; where the ways are to differ, rp_filter=2 (loose) lets them (`sysctl net.ipv4.conf.all.rp_filter`)"
        ),
        What::Return { host, to } => format!(
            "on {host} compare `ip route get {to}` with the interface by which requests from there come in; then follow the answer hop by hop"
        ),
        What::Barred { target, .. } => format!("let the vantage point through to {target}, or leave that arm out"),
        What::NotServed(vantage) => format!(
            "let {vantage} in: its address on the CDN's allow-list, or a header or token under [request]"
        ),
    }
}

fn of_access(vantage: &str, mode: Word) -> String {
    if mode == Word::Clock {
        return format!("set the clock of {vantage}'s host (`timedatectl`, `chronyc tracking`)");
    }
    if mode == Word::SearchDomain {
        return format!(
            "on {vantage}'s host compare `getent ahosts NAME` with `getent ahosts NAME.`, and look at `search` and `ndots` of /etc/resolv.conf: take the domain out (often it comes by DHCP), set ndots:1, or ask for the name with its last dot"
        );
    }
    if mode == Word::DnsIntercepted {
        return format!(
            "ask a name server of the zone from {vantage} (`dig +norecurse`): an answer without the aa flag is another's; let its questions on port 53 out, or use DNS over TLS there"
        );
    }
    format!(
        "ignore {vantage} for this service, and check its uplink: `mtr` from there to any target shows the same loss"
    )
}

fn of_backend(name: &str, mode: Word) -> String {
    match mode {
        Word::Refuses => format!("start the service on {name}: nothing listens there"),
        Word::SynUnanswered => format!(
            "on {name} look at `nstat` for ListenDrops, ListenOverflows and TCPReqQFullDrop, the host firewall, and tcp_timestamps"
        ),
        Word::AcceptQueueFull => format!(
            "on {name} see which listener is full (`ss -ltn`: Recv-Q above Send-Q): its application accepts too slowly, or its backlog and net.core.somaxconn are too small; `nstat -az TcpExtListenOverflows TcpExtTCPReqQFullDrop` counts it"
        ),
        Word::HostFirewall => format!(
            "on {name} read the packet filter's rules and their counters as root (`nft list ruleset`, `iptables -vnL`): they drop SYNs to its own service; rate limits are rules, too"
        ),
        Word::ConnectionTableFull => format!(
            "on {name} compare net.netfilter.nf_conntrack_count with nf_conntrack_max and raise it, or leave the service's port out of tracking (`notrack`); `conntrack -S` counts the drops"
        ),
        Word::StackSilent => format!(
            "on {name} no listen queue, filter on input, reverse path or connection table has dropped them: look at rules on output, at what stands between the filter and TCP (XDP, BPF, MD5 signatures), and at tcp_timestamps"
        ),
        Word::Slow | Word::Stalls => {
            format!(
                "look at {name}'s application and what it depends on; its siblings answer in time"
            )
        }
        Word::WrongContent => format!("compare the release on {name} with its siblings"),
        Word::WrongVariant
        | Word::LargeHello
        | Word::Throttled
        | Word::SessionsFail
        | Word::PacketLoss
        | Word::Unreachable
        | Word::TlsFails
        | Word::Resets
        | Word::Clock
        | Word::NoAnswer
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
        | Word::CertificateExpired
        | Word::CertificateInvalid
        | Word::ChainIncomplete
        | Word::Http5xx
        | Word::Http4xx
        | Word::RateLimited
        | Word::Truncates
        | Word::Blocked
        | Word::Misdirected
        | Word::AnswersLost
        | Word::NotServed
        | Word::Forbidden
        | Word::MtuBlackHole
        | Word::LargeAnswersFail
        | Word::ReversePathFilter
        | Word::PortReuseCollision => format!(
            "take {name} out of rotation, then read its error log at the times of the failed probes"
        ),
    }
}

/// What is counted at a stage.
pub(crate) fn tested(stage: Stage) -> &'static str {
    match stage {
        Stage::Dns => "queries",
        Stage::Tcp | Stage::Arrive => "SYNs",
        Stage::Answer => "SYNs that arrived",
        Stage::Return => "answers that left the host",
        Stage::Tls => "TLS handshakes",
        Stage::Http => "requests",
    }
}

/// What is counted at a stage, going wrong in a manner.
pub(crate) fn failing(stage: Stage, manner: Manner) -> String {
    match stage {
        Stage::Dns | Stage::Tcp | Stage::Tls | Stage::Http => {
            format!("{} {}", tested(stage), manner.infinitive())
        }
        Stage::Arrive => "SYNs get lost".to_string(),
        Stage::Answer => "SYNs that arrived go unanswered".to_string(),
        Stage::Return => "answers that left the host get lost".to_string(),
    }
}

/// Probes at one stage, and what became of them.
#[derive(Clone, Copy)]
pub(crate) struct Tried {
    /// How many went wrong.
    pub(crate) failed: u64,
    /// Of how many.
    pub(crate) of: u64,
    /// What most of these showed.
    pub(crate) commonest: Option<Symptom>,
    /// Not all showed the same.
    pub(crate) mixed: bool,
    /// In what manner they went wrong; where none did, what was looked for.
    pub(crate) manner: Manner,
}

impl Tried {
    /// So many of which none went wrong in this manner.
    pub(crate) const fn clean(of: u64, manner: Manner) -> Self {
        Self {
            failed: 0,
            of,
            commonest: None,
            mixed: false,
            manner,
        }
    }
}

/// How what is counted at a stage came out.
pub(crate) fn outcome(stage: Stage, tried: Tried) -> String {
    let Tried { failed, of, .. } = tried;
    let tested = tested(stage);
    let past = tried.manner.past();
    let Some(symptom) = tried.commonest.filter(|_| failed > 0) else {
        return match stage {
            Stage::Arrive => format!("all {of} SYNs arrived"),
            Stage::Answer => format!("all {of} {tested} were answered"),
            Stage::Return => format!("all {of} {tested} came back"),
            Stage::Dns | Stage::Tcp | Stage::Tls | Stage::Http => {
                format!("none of {of} {tested} {past}")
            }
        };
    };
    let word = symptom.word();
    match (symptom, stage) {
        _ if tried.manner == Manner::Late && failed == 1 => format!("1 of {of} {tested} was late"),
        _ if tried.manner == Manner::Late => format!("{failed} of {of} {tested} {past}"),
        _ if tried.mixed => format!("{failed} of {of} {tested} {past} (mostly {word})"),
        (Symptom::SynLost, Stage::Arrive) => format!("{failed} of {of} {tested} did not arrive"),
        (Symptom::SynLost, Stage::Answer) => format!("{failed} of {of} {tested} were not answered"),
        (Symptom::QueueFull, _) => {
            format!(
                "{failed} of {of} {tested} were not answered, while its listen queues overflowed"
            )
        }
        (Symptom::Filtered, _) => format!(
            "{failed} of {of} {tested} were not answered, and were handed to nobody by its kernel"
        ),
        (Symptom::Unrouted, _) => {
            format!("{failed} of {of} {tested} were dropped by its reverse-path filter")
        }
        (Symptom::TableFull, _) => {
            format!(
                "{failed} of {of} {tested} were not answered, while its connection table was full"
            )
        }
        (Symptom::Silent, _) => {
            format!("{failed} of {of} {tested} were not answered, and its kernel counted no drop")
        }
        (Symptom::StaleAck, _) => format!(
            "{failed} of {of} {tested} were answered with the ACK of an old connection from the same port"
        ),
        (Symptom::SynLost, Stage::Return) => format!("{failed} of {of} {tested} did not come back"),
        (Symptom::SynLost, _) => format!("{failed} of {of} {tested} were not answered"),
        _ => format!("{failed} of {of} {tested} failed ({word})"),
    }
}

/// How many of a number an explanation would have failed.
pub(crate) fn foreseen(expected: f64, of: u64) -> String {
    if expected < 0.5 {
        "hardly any".to_string()
    } else if expected > of as f64 - 0.5 {
        "all".to_string()
    } else {
        format!("about {expected:.0}")
    }
}

/// How many of a number failed.
pub(crate) fn seen(failed: u64, of: u64) -> String {
    match failed {
        0 => "none".to_string(),
        all if all == of => "all".to_string(),
        some => format!("{some}"),
    }
}

/// Odds in words. Beyond a thousand the model's own faults count for more than the number says.
pub(crate) fn less_probable(nats: f64) -> String {
    let times = libm::exp(nats);
    if times < 1.1 {
        "as probable".to_string()
    } else if times < 10.0 {
        format!("{times:.1} times less probable")
    } else if times < 1000.0 {
        let digit = libm::pow(10.0, libm::floor(libm::log10(times)));
        format!(
            "{:.0} times less probable",
            libm::round(times / digit) * digit
        )
    } else {
        "more than 1,000 times less probable".to_string()
    }
}
