//! How parts of the path fail: data. A row is a mode, its ways are what it may look like to whoever meets it.

use localize::Failure;

use super::site::{Balancing, Place, Site};

/// What happens to whoever meets a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The packet is lost.
    Loss,
    /// The packet is answered by ICMP: no route, or forbidden.
    Unreachable,
    /// A SYN is answered by RST.
    Refused,
    /// A SYN is not answered.
    Mute,
    /// A full packet of an answer is lost; with `chain`, those of a long certificate chain as well.
    FullPackets {
        /// The certificate chain takes full packets.
        chain: bool,
    },
    /// The TLS handshake ends so, and at once.
    Tls(Failure),
    /// The TLS handshake does not end.
    TlsHangs,
    /// The TLS handshake takes longer.
    TlsLate,
    /// RST in place of an answer.
    Reset,
    /// FIN in place of an answer.
    Closed,
    /// No answer.
    Hangs,
    /// No end of the answer.
    BodyHangs,
    /// FIN in the middle of the answer.
    Cut,
    /// An answer with this status.
    Status(u16),
    /// A status of the CDN's own where the provider has such, else 502.
    EdgeStatus(u16),
    /// The answer comes later.
    Late,
    /// The answer is another one.
    WrongBody,
    /// A question of DNS is not answered.
    DnsMute,
    /// A question of DNS is answered so.
    Dns(Failure),
    /// A question of DNS is answered with an address that is not the service's.
    DnsStale,
    /// A question of DNS is answered later.
    DnsLate,
}

/// Where on its way a request can meet an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Every packet.
    Packet,
    /// A SYN, besides.
    Syn,
    /// A full packet of an answer.
    Full,
    /// The TLS handshake.
    Tls,
    /// The request.
    Http,
    /// A question of DNS.
    Dns,
}

impl Effect {
    /// Where it is met.
    #[must_use]
    pub const fn stage(self) -> Stage {
        match self {
            Self::Loss | Self::Unreachable => Stage::Packet,
            Self::Refused | Self::Mute => Stage::Syn,
            Self::FullPackets { .. } => Stage::Full,
            Self::Tls(_) | Self::TlsHangs | Self::TlsLate => Stage::Tls,
            Self::Reset
            | Self::Closed
            | Self::Hangs
            | Self::BodyHangs
            | Self::Cut
            | Self::Status(_)
            | Self::EdgeStatus(_)
            | Self::Late
            | Self::WrongBody => Stage::Http,
            Self::DnsMute | Self::Dns(_) | Self::DnsStale | Self::DnsLate => Stage::Dns,
        }
    }
}

/// What a place must be like for a mode to exist there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// It ends TLS, or those that cross it speak it.
    Tls,
    /// It answers requests.
    Http,
}

/// What kind of part a mode belongs to, as verdicts call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// `client_network`.
    Access,
    /// `resolver`.
    Resolver,
    /// `authoritative_dns`.
    NameServer,
    /// `cdn`.
    Cdn,
    /// `cdn_origin_path`.
    OriginPath,
    /// `load_balancer`.
    Balancer,
    /// `load_balancer`, in what it does with one backend.
    Toward,
    /// `lb_backend_path`.
    LbPath,
    /// `origin`: what all backends share.
    Shared,
    /// `backend`.
    Backend,
    /// `return_path`.
    Return,
}

/// Every sort, with its share of the faults drawn.
pub const SORTS: [(Sort, f64); 11] = [
    (Sort::Access, 0.10),
    (Sort::Resolver, 0.07),
    (Sort::NameServer, 0.06),
    (Sort::Cdn, 0.19),
    (Sort::OriginPath, 0.08),
    (Sort::Balancer, 0.14),
    (Sort::Toward, 0.04),
    (Sort::LbPath, 0.08),
    (Sort::Shared, 0.05),
    (Sort::Backend, 0.20),
    (Sort::Return, 0.08),
];

/// What a fault does each time: one of these, by weight.
pub type Way = &'static [(Effect, f64)];

/// A way of failing.
#[derive(Debug, PartialEq)]
pub struct Mode {
    /// What fails so.
    pub sort: Sort,
    /// What verdicts call it.
    pub word: &'static str,
    /// Share among the modes of the sort.
    pub share: f64,
    /// Where it exists.
    pub need: Need,
    /// One fault of this mode keeps to one of these.
    pub ways: &'static [Way],
}

impl Mode {
    /// Whether a place of a site can fail so.
    #[must_use]
    pub fn fits(&self, site: &Site, place: Place) -> bool {
        if place.sort() != self.sort {
            return false;
        }
        let layer7 = match place {
            Place::Balancer(_) | Place::Machine | Place::Toward(_) => {
                site.balancing == Balancing::Proxied
            }
            Place::Access(_)
            | Place::Resolver(_)
            | Place::NameServer(_)
            | Place::Edge(_)
            | Place::Provider
            | Place::OriginPath(..)
            | Place::OriginPaths
            | Place::LbPath(_)
            | Place::Shared
            | Place::Backend(_)
            | Place::Return(..) => true,
        };
        match self.need {
            Need::Nothing => true,
            Need::Http => layer7,
            Need::Tls => layer7 && site.ends_tls(place),
        }
    }
}

const fn mode(
    sort: Sort,
    word: &'static str,
    share: f64,
    need: Need,
    ways: &'static [Way],
) -> Mode {
    Mode {
        sort,
        word,
        share,
        need,
        ways,
    }
}

use Effect as E;
use Failure as F;
use Need::{Http, Nothing, Tls};

const LOSS: Way = &[(E::Loss, 1.0)];
const MUTE: Way = &[(E::Mute, 1.0)];
const REFUSED: Way = &[(E::Refused, 1.0)];
const UNREACHABLE: Way = &[(E::Unreachable, 1.0)];
const RESETS: &[Way] = &[
    &[(E::Reset, 1.0)],
    &[(E::Closed, 1.0)],
    &[(E::Reset, 0.8), (E::Closed, 0.2)],
];
const HANGS: &[Way] = &[
    &[(E::Hangs, 1.0)],
    &[(E::Hangs, 1.0)],
    &[(E::BodyHangs, 1.0)],
];
const SLOW: &[Way] = &[&[(E::Late, 1.0)]];
/// Who has no time left has none for handshakes either.
const SLOW_OR_BUSY: &[Way] = &[
    &[(E::Late, 1.0)],
    &[(E::Late, 1.0)],
    &[(E::Late, 1.0), (E::TlsLate, 1.0)],
];
const CUT: &[Way] = &[&[(E::Cut, 1.0)], &[(E::Cut, 0.9), (E::BodyHangs, 0.1)]];
const WRONG: &[Way] = &[&[(E::WrongBody, 1.0)]];
const EXPIRED: &[Way] = &[&[(E::Tls(F::CertificateExpired), 1.0)]];
const INVALID: &[Way] = &[
    &[(E::Tls(F::CertificateUnknownIssuer), 1.0)],
    &[(E::Tls(F::CertificateWrongName), 1.0)],
];
const INCOMPLETE: &[Way] = &[&[(E::Tls(F::CertificateChainIncomplete), 1.0)]];
const TLS_FAILS: &[Way] = &[
    &[(E::Tls(F::TlsAlert(40)), 1.0)],
    &[(E::Tls(F::TlsAlert(80)), 1.0)],
    &[(E::Tls(F::TlsReset), 1.0)],
    &[(E::TlsHangs, 1.0)],
];
/// What drops or resets a ClientHello on its way (RFC 8446, section 9.3, on middleboxes).
const MIDDLEBOX: &[Way] = &[&[(E::Tls(F::TlsReset), 1.0)], &[(E::TlsHangs, 1.0)]];
const CLOCK: &[Way] = &[
    &[(E::Tls(F::CertificateNotYetValid), 1.0)],
    &[(E::Tls(F::CertificateExpired), 1.0)],
];
/// A backend's former address, at which nobody is, or nobody listens, or another site is; a PROXY line to
/// one that expects none.
const MISDIRECTED: &[Way] = &[
    MUTE,
    REFUSED,
    &[(E::Status(404), 1.0)],
    &[(E::WrongBody, 1.0)],
    &[(E::Status(400), 1.0)],
    &[(E::Closed, 1.0)],
];
const STATUS_5XX: &[Way] = &[
    &[(E::Status(500), 1.0)],
    &[(E::Status(500), 1.0)],
    &[(E::Status(503), 1.0)],
    &[(E::Status(502), 1.0)],
    &[(E::Status(500), 0.7), (E::Status(503), 0.3)],
];
const BALANCER_5XX: &[Way] = &[
    &[(E::Status(503), 1.0)],
    &[(E::Status(503), 1.0)],
    &[(E::Status(502), 1.0)],
    &[(E::Status(500), 1.0)],
    &[(E::Status(504), 1.0)],
];
const EDGE_5XX: &[Way] = &[
    &[(E::Status(500), 1.0)],
    &[(E::Status(503), 1.0)],
    &[(E::Status(502), 1.0)],
    &[(E::EdgeStatus(520), 1.0)],
];
const STATUS_4XX: &[Way] = &[&[(E::Status(404), 1.0)], &[(E::Status(403), 1.0)]];
const EDGE_4XX: &[Way] = &[
    &[(E::Status(403), 1.0)],
    &[(E::Status(429), 1.0)],
    &[(E::Status(404), 1.0)],
];
const HOLE: &[Way] = &[
    &[(E::FullPackets { chain: false }, 1.0)],
    &[(E::FullPackets { chain: true }, 1.0)],
];
const DNS_MUTE: &[Way] = &[
    &[(E::DnsMute, 1.0)],
    &[(E::DnsMute, 1.0)],
    &[(E::Dns(F::DnsUnreachable), 1.0)],
];
const DNS_REFUSES: &[Way] = &[&[(E::Dns(F::DnsRefused), 1.0)]];
const DNS_FAILS: &[Way] = &[&[(E::Dns(F::DnsServfail), 1.0)]];
const DNS_WRONG: &[Way] = &[
    &[(E::DnsStale, 1.0)],
    &[(E::DnsStale, 1.0)],
    &[(E::Dns(F::DnsNxdomain), 1.0)],
];
const DNS_SLOW: &[Way] = &[&[(E::DnsLate, 1.0)]];

/// Every mode.
pub const MODES: &[Mode] = &[
    mode(Sort::Access, "packet_loss", 0.75, Nothing, &[LOSS]),
    mode(Sort::Access, "unreachable", 0.15, Nothing, &[UNREACHABLE]),
    mode(Sort::Access, "mtu_black_hole", 0.1, Nothing, HOLE),
    mode(Sort::Access, "tls_fails", 0.06, Tls, MIDDLEBOX),
    mode(Sort::Access, "resets", 0.03, Nothing, RESETS),
    mode(Sort::Access, "clock", 0.03, Tls, CLOCK),
    mode(Sort::Resolver, "no_answer", 0.45, Nothing, DNS_MUTE),
    mode(Sort::Resolver, "refuses", 0.1, Nothing, DNS_REFUSES),
    mode(Sort::Resolver, "servfail", 0.2, Nothing, DNS_FAILS),
    mode(Sort::Resolver, "wrong_answer", 0.1, Nothing, DNS_WRONG),
    mode(Sort::Resolver, "slow", 0.15, Nothing, DNS_SLOW),
    mode(Sort::NameServer, "no_answer", 0.4, Nothing, DNS_MUTE),
    mode(Sort::NameServer, "refuses", 0.2, Nothing, DNS_REFUSES),
    mode(Sort::NameServer, "servfail", 0.15, Nothing, DNS_FAILS),
    mode(Sort::NameServer, "wrong_answer", 0.2, Nothing, DNS_WRONG),
    mode(Sort::NameServer, "slow", 0.05, Nothing, DNS_SLOW),
    mode(Sort::Cdn, "no_answer", 0.14, Nothing, &[MUTE, LOSS]),
    mode(Sort::Cdn, "refuses", 0.08, Nothing, &[REFUSED]),
    mode(Sort::Cdn, "resets", 0.12, Http, RESETS),
    mode(Sort::Cdn, "certificate_expired", 0.08, Tls, EXPIRED),
    mode(Sort::Cdn, "certificate_invalid", 0.05, Tls, INVALID),
    mode(
        Sort::Cdn,
        "certificate_chain_incomplete",
        0.02,
        Tls,
        INCOMPLETE,
    ),
    mode(Sort::Cdn, "tls_fails", 0.05, Tls, TLS_FAILS),
    mode(Sort::Cdn, "http_5xx", 0.16, Http, EDGE_5XX),
    mode(Sort::Cdn, "http_4xx", 0.05, Http, EDGE_4XX),
    mode(Sort::Cdn, "stalls", 0.1, Http, HANGS),
    mode(Sort::Cdn, "slow", 0.07, Http, SLOW_OR_BUSY),
    mode(Sort::Cdn, "truncates", 0.05, Http, CUT),
    mode(Sort::Cdn, "wrong_content", 0.05, Http, WRONG),
    mode(Sort::OriginPath, "unreachable", 0.4, Nothing, &[LOSS]),
    mode(
        Sort::OriginPath,
        "blocked",
        0.25,
        Nothing,
        &[UNREACHABLE, REFUSED],
    ),
    mode(Sort::OriginPath, "resets", 0.1, Nothing, RESETS),
    mode(Sort::OriginPath, "slow", 0.15, Nothing, SLOW),
    mode(Sort::OriginPath, "mtu_black_hole", 0.1, Nothing, HOLE),
    mode(
        Sort::Balancer,
        "no_answer",
        0.18,
        Nothing,
        &[MUTE, MUTE, LOSS],
    ),
    mode(Sort::Balancer, "refuses", 0.16, Nothing, &[REFUSED]),
    mode(Sort::Balancer, "resets", 0.1, Http, RESETS),
    mode(Sort::Balancer, "certificate_expired", 0.1, Tls, EXPIRED),
    mode(Sort::Balancer, "certificate_invalid", 0.05, Tls, INVALID),
    mode(
        Sort::Balancer,
        "certificate_chain_incomplete",
        0.02,
        Tls,
        INCOMPLETE,
    ),
    mode(Sort::Balancer, "tls_fails", 0.05, Tls, TLS_FAILS),
    mode(Sort::Balancer, "http_5xx", 0.2, Http, BALANCER_5XX),
    mode(Sort::Balancer, "http_4xx", 0.03, Http, STATUS_4XX),
    mode(Sort::Balancer, "stalls", 0.06, Http, HANGS),
    mode(Sort::Balancer, "slow", 0.05, Http, SLOW_OR_BUSY),
    mode(Sort::Balancer, "truncates", 0.03, Http, CUT),
    mode(Sort::LbPath, "packet_loss", 0.65, Nothing, &[LOSS]),
    mode(
        Sort::LbPath,
        "blocked",
        0.35,
        Nothing,
        &[UNREACHABLE, REFUSED],
    ),
    mode(Sort::Toward, "misdirected", 1.0, Http, MISDIRECTED),
    mode(Sort::Shared, "http_5xx", 0.4, Nothing, STATUS_5XX),
    mode(Sort::Shared, "http_4xx", 0.1, Nothing, STATUS_4XX),
    mode(Sort::Shared, "slow", 0.25, Nothing, SLOW),
    mode(Sort::Shared, "stalls", 0.1, Nothing, HANGS),
    mode(Sort::Shared, "wrong_content", 0.05, Nothing, WRONG),
    mode(Sort::Shared, "resets", 0.1, Nothing, RESETS),
    mode(Sort::Backend, "refuses", 0.15, Nothing, &[REFUSED]),
    mode(Sort::Backend, "syn_unanswered", 0.13, Nothing, &[MUTE]),
    mode(Sort::Backend, "resets", 0.1, Http, RESETS),
    mode(Sort::Backend, "stalls", 0.1, Http, HANGS),
    mode(Sort::Backend, "http_5xx", 0.2, Http, STATUS_5XX),
    mode(Sort::Backend, "http_4xx", 0.04, Http, STATUS_4XX),
    mode(Sort::Backend, "slow", 0.12, Http, SLOW),
    mode(Sort::Backend, "truncates", 0.05, Http, CUT),
    mode(Sort::Backend, "wrong_content", 0.05, Http, WRONG),
    mode(Sort::Backend, "certificate_expired", 0.03, Tls, EXPIRED),
    mode(Sort::Backend, "tls_fails", 0.03, Tls, TLS_FAILS),
    mode(Sort::Return, "answers_lost", 0.8, Nothing, &[LOSS]),
    mode(Sort::Return, "mtu_black_hole", 0.2, Nothing, HOLE),
];
