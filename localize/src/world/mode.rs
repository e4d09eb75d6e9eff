//! How components fail, and what that looks like from where: data, not code.
//!
//! A mode says what a direct probe of the component sees. What a probe behind a proxy sees follows by
//! passing every symptom through the proxy's own table, so that a balancer turns a refused connection
//! into a 503 and an edge turns it into a 521.

mod dns;
mod table;

pub(crate) use self::table::MODES;
use crate::facts::component::Kind;
use crate::facts::observation::{Arm, Encoding, Hello, Object, Pace, Target};
use crate::world::symptom::{Stage, Symptom};

/// What stands between the prober's own connection and the component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum View {
    /// Nothing: the probe's own packets cross it.
    Direct,
    /// Nothing, and the probe's source port was used shortly before.
    ReusedPort,
    /// Nothing: the component itself makes the connection, from a port that it chooses.
    OwnPort,
    /// Nothing, and the prober is on the component's own host: what filters and proxies make of its answers on
    /// their way out, others see alone.
    AtHome,
    /// Nothing, and only answers come to it: it is whose address the probe leaves from.
    Answered,
    /// A layer-7 balancer.
    BehindLb,
    /// An edge of the CDN.
    BehindCdn,
    /// An edge, then a layer-7 balancer.
    BehindCdnAndLb,
    /// A recursive resolver.
    BehindResolver,
    /// A balancer that passes bytes on, as they begin to flow.
    BehindRelay,
    /// An edge, then a balancer that passes bytes on.
    BehindCdnAndRelay,
}

impl View {
    /// How many views there are.
    pub(crate) const COUNT: usize = 11;
    /// Every view.
    pub(crate) const ALL: [View; Self::COUNT] = [
        View::Direct,
        View::ReusedPort,
        View::OwnPort,
        View::AtHome,
        View::Answered,
        View::BehindLb,
        View::BehindCdn,
        View::BehindCdnAndLb,
        View::BehindResolver,
        View::BehindRelay,
        View::BehindCdnAndRelay,
    ];

    /// Whether the probe's own packets cross the component.
    pub(crate) fn is_direct(self) -> bool {
        matches!(
            self,
            View::Direct | View::ReusedPort | View::OwnPort | View::AtHome | View::Answered
        )
    }
}

/// A weighted symptom. Weights of one list need not add up to one.
pub(crate) type Weighted = (Symptom, f64);

/// What a mode does to direct probes at one stage.
pub(crate) type AtStage = (Stage, &'static [Weighted]);

/// What a mode belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A component that a verdict can name.
    Blamable(Kind),
    /// What a balancer does to one backend: a verdict names the balancer.
    Toward,
    /// The zone: what its name servers are right to hand out, and what leads to them.
    Zone,
    /// All name servers of a zone that has several.
    NameServers,
    /// A rule that keeps one vantage point from one target: an explanation, never a fault.
    Firewall,
    /// Whoever refuses a vantage point and serves others: an explanation, never a fault.
    NotServed,
}

/// Which of the probes that cross a component directly a mode strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strikes {
    /// All alike.
    All,
    /// Those alone whose source port was used shortly before.
    ReusedPorts,
    /// Requests alone whose answer takes more than one packet; what comes before them is all alike.
    LongAnswers,
    /// Those alone that ask for the large object.
    LargeObjects,
    /// Those alone whose client accepts gzip.
    PackedAnswers,
    /// Those alone whose client says more in its first message of TLS than fits into one packet.
    LargeHellos,
    /// Those alone that are the last of several connections opened at once.
    Bursts,
    /// Of requests in a session those alone that the session leads to nobody.
    Sessions,
    /// Of the questions to resolvers those alone that go to one that checks signatures.
    Validators,
}

impl Strikes {
    /// Whether it strikes an arm's probes at a stage at all. Which ports are struck depends on the view.
    pub(crate) fn meets(self, arm: &Arm, known: Known, stage: Stage) -> bool {
        match self {
            Self::Validators => known.checked || !matches!(arm.target, Target::Resolver { .. }),
            Self::All | Self::ReusedPorts => true,
            Self::LongAnswers => known.long || stage != Stage::Http,
            Self::Sessions => known.stuck,
            Self::LargeObjects => arm.traits.object == Object::Large,
            Self::LargeHellos => arm.traits.hello == Hello::Large,
            Self::Bursts => arm.traits.pace == Pace::Burst,
            Self::PackedAnswers => arm.traits.encoding == Encoding::Gzip,
        }
    }
}

/// What is known of an arm's probes, by which modes may spare them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Their answers take more than one packet.
    pub(crate) long: bool,
    /// The resolver asked checks signatures.
    pub(crate) checked: bool,
    /// They are of a session that leads to nobody.
    pub(crate) stuck: bool,
}

/// What of a request a mode spoils. One part may fail in one mode of each at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// That packets get through and somebody is there: look-ups and handshakes of TCP, and what lost packets
    /// do to everything after them.
    Reaching,
    /// What is said once somebody is there.
    Serving,
}

macro_rules! words {
    ($($name:ident => $text:literal,)*) => {
        /// The words of the verdict's `mode`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Word { $($name,)* }

        impl Word {
            /// As users and scripts read it.
            pub(crate) const fn text(self) -> &'static str {
                match self { $(Word::$name => $text,)* }
            }
        }
    };
}

words! {
    PacketLoss => "packet_loss",
    Unreachable => "unreachable",
    TlsFails => "tls_fails",
    Resets => "resets",
    Clock => "clock",
    NoAnswer => "no_answer",
    Refuses => "refuses",
    Servfail => "servfail",
    WrongAnswer => "wrong_answer",
    StaleAnswer => "stale_answer",
    NameMissing => "name_missing",
    Lame => "lame",
    SignaturesExpired => "signatures_expired",
    Bogus => "bogus",
    ValidationFails => "validation_fails",
    Filters => "filters",
    AaaaFails => "aaaa_fails",
    DnsIntercepted => "dns_intercepted",
    SearchDomain => "search_domain",
    Slow => "slow",
    CertificateExpired => "certificate_expired",
    CertificateInvalid => "certificate_invalid",
    ChainIncomplete => "certificate_chain_incomplete",
    Http5xx => "http_5xx",
    SessionsFail => "http_5xx",
    Http4xx => "http_4xx",
    RateLimited => "rate_limited",
    Stalls => "stalls",
    Truncates => "truncates",
    WrongContent => "wrong_content",
    WrongVariant => "wrong_content",
    Blocked => "blocked",
    Misdirected => "misdirected",
    SynUnanswered => "syn_unanswered",
    AnswersLost => "answers_lost",
    NotServed => "not_served",
    Forbidden => "forbidden",
    MtuBlackHole => "mtu_black_hole",
    LargeAnswersFail => "large_answers_fail",
    LargeHello => "large_hello",
    PortReuseCollision => "port_reuse_collision",
    Throttled => "throttled",
    AcceptQueueFull => "accept_queue_full",
    HostFirewall => "host_firewall",
    ReversePathFilter => "reverse_path_filter",
    ConnectionTableFull => "connection_table_full",
    StackSilent => "stack_silent",
}

/// A way in which components of a kind fail.
pub(crate) struct Mode {
    /// What has this mode.
    pub(crate) class: Class,
    /// The word of the verdict's `mode`.
    pub(crate) word: Word,
    /// Share of the kind's faults that are of this mode; relative to the kind's other modes.
    pub(crate) share: f64,
    /// Which direct probes it strikes.
    pub(crate) strikes: Strikes,
    /// It is a cause only where something shows just this: without the counters of a host's kernel nobody
    /// tells it from its like.
    pub(crate) told: Option<Symptom>,
    /// Packets are lost: what is seen after the handshake has a rate of its own.
    pub(crate) lossy: bool,
    /// What direct probes see; empty where only a proxy's clients see it.
    pub(crate) direct: &'static [AtStage],
    /// What clients of a layer-7 balancer or a resolver see, or of an edge on the way from it, where that
    /// is not what its table makes of `direct`.
    pub(crate) behind: Option<&'static [Weighted]>,
}

impl Mode {
    /// Whether a part of a class can fail in this way. All name servers together fail as each does, but
    /// for what is then the zone's own.
    pub(crate) fn is_of(&self, part: Class) -> bool {
        let each = self.class == Class::Blamable(Kind::AuthoritativeDns);
        let zones = matches!(self.word, Word::NameMissing | Word::SignaturesExpired);
        self.class == part || part == Class::NameServers && each && !zones
    }

    /// Whether edges alone see it, and its own table says what their clients do.
    pub(crate) fn is_behind_edges_alone(&self) -> bool {
        self.class == Class::Blamable(Kind::CdnOriginPath) && self.behind.is_some()
    }

    /// What of a request it spoils.
    pub(crate) fn phase(&self) -> Phase {
        let mut direct = self.direct.iter();
        let reaching = |(stage, _): &AtStage| *stage == Stage::Dns || CONNECT.contains(stage);
        match self.lossy || direct.any(reaching) {
            true => Phase::Reaching,
            false => Phase::Serving,
        }
    }

    /// Whether it is a matter of TLS alone.
    pub(crate) fn is_of_tls(&self) -> bool {
        !self.direct.is_empty() && self.direct.iter().all(|(stage, _)| *stage == Stage::Tls)
    }
}

/// The stages of a handshake.
pub(crate) const CONNECT: [Stage; 4] = [Stage::Tcp, Stage::Arrive, Stage::Answer, Stage::Return];
