//! Every mode, with what it does to direct probes and what clients of a balancer see of it.

use super::dns::{self, signed, zone};
use super::{AtStage, Class, Mode, Strikes, Weighted, Word};
use crate::facts::component::Kind;
use crate::world::symptom::{Stage, Symptom};
use Symptom as S;

/// Behind a balancer that tries again until the packet gets through: a lost SYN costs it a second or more,
/// any packet after the handshake tenths of a second.
const RETRIED: &[Weighted] = &[
    (S::Resent, 0.5),
    (S::Slow, 0.1),
    (S::Late, 0.34),
    (S::HttpTimeout, 0.02),
    (S::Status504, 0.02),
    (S::Status503, 0.02),
];
/// The same of a way that the balancer's checks go as well: at times nobody is left to choose.
const RETRIED_OR_NONE: &[Weighted] = &[
    (S::Resent, 0.42),
    (S::Slow, 0.1),
    (S::Late, 0.27),
    (S::HttpTimeout, 0.02),
    (S::Status504, 0.02),
    (S::Status503, 0.17),
];
/// Behind a balancer that gives up.
const GIVEN_UP: &[Weighted] = &[
    (S::Status503, 0.5),
    (S::Status504, 0.22),
    (S::Status502, 0.13),
    (S::HttpTimeout, 0.1),
    (S::Resent, 0.02),
    (S::Slow, 0.01),
    (S::Late, 0.02),
];

/// Behind an edge that no packet reaches the origin from: its clients give up, or it does before. Most edges wait
/// longer for a connection (15 s and more) than a probe does for its answer.
const NEVER_REACHED: &[Weighted] = &[
    (S::HttpTimeout, 0.5),
    (S::Status504, 0.17),
    (S::Cdn522, 0.15),
    (S::Status503, 0.11),
    (S::Cdn523, 0.04),
    (S::Status502, 0.03),
];

const LOSS_TLS: &[Weighted] = &[(S::TlsTimeout, 0.4), (S::Slow, 0.5), (S::TlsReset, 0.1)];
const LOSS_HTTP: &[Weighted] = &[
    (S::Late, 0.4),
    (S::Slow, 0.2),
    (S::HttpTimeout, 0.25),
    (S::BodyTimeout, 0.1),
    (S::Reset, 0.05),
];
/// What is for an address goes to another machine: a standby's entry in the router's tables, an address that moved.
const ELSEWHERE: &[AtStage] = &[
    (Stage::Tcp, FORBIDDEN),
    (Stage::Arrive, FORBIDDEN),
    (Stage::Return, LOST),
];
const LOST: &[Weighted] = &[(S::SynLost, 0.97), (S::Unreachable, 0.03)];
const FORBIDDEN: &[Weighted] = &[
    (S::SynLost, 0.75),
    (S::Unreachable, 0.15),
    (S::Refused, 0.1),
];
const REFUSED: &[Weighted] = &[(S::Refused, 0.95), (S::Unreachable, 0.05)];
/// Most stacks answer such a SYN with an ACK of the old connection or not at all, some with a reset.
const COLLIDES: &[Weighted] = &[(S::SynLost, 0.8), (S::Refused, 0.2)];
/// The same at the host, which may say why: nothing, or that a packet filter remembers the old connection.
const COLLIDES_THERE: &[Weighted] = &[
    (S::SynLost, 0.4),
    (S::Silent, 0.2),
    (S::Filtered, 0.2),
    (S::Refused, 0.2),
];
const TLS_FAILS: &[Weighted] = &[
    (S::TlsRefused, 0.4),
    (S::TlsTimeout, 0.3),
    (S::TlsReset, 0.3),
];
const HELLO_LOST: &[Weighted] = &[
    (S::TlsTimeout, 0.6),
    (S::TlsReset, 0.3),
    (S::TlsRefused, 0.1),
];
const EXPIRED: &[Weighted] = &[(S::CertificateExpired, 1.0)];
const INVALID: &[Weighted] = &[
    (S::CertificateIssuer, 0.4),
    (S::CertificateName, 0.4),
    (S::CertificateInvalid, 0.15),
    (S::CertificateEarly, 0.05),
];
/// Who has met no server yet that sends the intermediate takes its authority for an unknown one.
const INCOMPLETE: &[Weighted] = &[(S::CertificateChain, 0.9), (S::CertificateIssuer, 0.1)];
/// To a host whose own clock is wrong, certificates are over or not yet there.
const MISJUDGED: &[Weighted] = &[(S::CertificateEarly, 0.5), (S::CertificateExpired, 0.5)];
/// What meets with an old connection of the balancer's own, which its clients know nothing of.
const COLLIDES_BEHIND: &[AtStage] = &[
    (Stage::Tcp, COLLIDES),
    (Stage::Answer, &[(S::StaleAck, 0.9), (S::SynLost, 0.1)]),
];
/// The same where the balancer speaks TCP with its clients itself.
const COLLIDES_UNSEEN: &[AtStage] = &[
    (Stage::Http, RETRIED),
    (Stage::Answer, &[(S::StaleAck, 0.9), (S::SynLost, 0.1)]),
];
const RESETS: &[Weighted] = &[(S::Reset, 0.85), (S::Closed, 0.15)];
const STALLS: &[Weighted] = &[(S::HttpTimeout, 0.85), (S::BodyTimeout, 0.15)];
const SLOW: &[Weighted] = &[(S::Late, 0.5), (S::Slow, 0.45), (S::Resent, 0.05)];
const SLOW_ANSWERS: &[AtStage] = &[(Stage::Dns, SLOW)];
/// Who has no time left for handshakes has none for requests.
const OVERLOADED: &[AtStage] = &[(Stage::Http, SLOW), (Stage::Tls, SLOW_HANDSHAKE)];
const SLOW_HANDSHAKE: &[Weighted] = &[(S::Slow, 0.8), (S::TlsTimeout, 0.2)];
const TRUNCATED: &[Weighted] = &[(S::Truncated, 0.8), (S::BodyTimeout, 0.1), (S::Closed, 0.1)];
/// A first small packet may get through with the header, or not.
const STALLS_MIDWAY: &[Weighted] = &[(S::HttpTimeout, 0.7), (S::BodyTimeout, 0.3)];
const HELD_UP: &[Weighted] = &[(S::HttpTimeout, 0.7), (S::BodyTimeout, 0.3)];
const BROKEN_OFF: &[Weighted] = &[(S::Status504, 0.7), (S::Truncated, 0.3)];
const CHAIN_LOST: &[Weighted] = &[(S::TlsTimeout, 0.9), (S::Slow, 0.1)];
const CUT: &[AtStage] = &[(
    Stage::Http,
    &[(S::Truncated, 0.9), (S::Reset, 0.06), (S::Closed, 0.04)],
)];
const STUCK: &[AtStage] = &[(Stage::Http, STALLS_MIDWAY)];
const REFUSED_LARGE: &[AtStage] = &[(Stage::Http, STATUS_5XX)];
const DIFFERS: &[Weighted] = &[(S::ContentDiffers, 1.0)];
const STATUS_4XX: &[Weighted] = &[(S::Status4xx, 0.75), (S::Status403, 0.25)];
const STATUS_429: &[Weighted] = &[(S::Status429, 1.0)];
/// How bot protection turns somebody away.
const TURNED_AWAY: &[Weighted] = &[
    (S::Status403, 0.7),
    (S::Status429, 0.15),
    (S::Status4xx, 0.1),
    (S::Status503, 0.05),
];
/// What a balancer's clients see of a backend that it has a wrong address of, or speaks to otherwise
/// than that expects: whatever is at that address says, or what the backend makes of it.
const MISDIRECTED: &[Weighted] = &[
    (S::Status503, 0.25),
    (S::Status502, 0.2),
    (S::Status4xx, 0.15),
    (S::Status504, 0.1),
    (S::Status5xx, 0.08),
    (S::Slow, 0.08),
    (S::ContentDiffers, 0.06),
    (S::HttpTimeout, 0.04),
    (S::Reset, 0.02),
    (S::Closed, 0.02),
];
/// What clients meet whose connection is forwarded to somebody else, or not as it came.
const TLS_ELSEWHERE: &[Weighted] = &[
    (S::TlsRefused, 0.35),
    (S::TlsReset, 0.25),
    (S::TlsTimeout, 0.2),
    (S::CertificateName, 0.15),
    (S::CertificateIssuer, 0.05),
];
const HTTP_ELSEWHERE: &[Weighted] = &[
    (S::Status4xx, 0.4),
    (S::ContentDiffers, 0.3),
    (S::Closed, 0.1),
    (S::Reset, 0.1),
    (S::HttpTimeout, 0.1),
];
const STATUS_5XX: &[Weighted] = &[
    (S::Status5xx, 0.6),
    (S::Status502, 0.12),
    (S::Status503, 0.2),
    (S::Status504, 0.08),
];
const EDGE_5XX: &[Weighted] = &[
    (S::Status5xx, 0.6),
    (S::Status502, 0.12),
    (S::Status503, 0.15),
    (S::Status504, 0.08),
    (S::Cdn520, 0.05),
];
const BALANCER_5XX: &[Weighted] = &[
    (S::Status503, 0.6),
    (S::Status502, 0.15),
    (S::Status504, 0.1),
    (S::Status5xx, 0.15),
];
const fn mode(kind: Kind, word: Word, share: f64, direct: &'static [AtStage]) -> Mode {
    Mode {
        class: Class::Blamable(kind),
        word,
        share,
        strikes: Strikes::All,
        told: None,
        lossy: false,
        direct,
        behind: None,
    }
}

const fn lossy(kind: Kind, word: Word, share: f64, direct: &'static [AtStage]) -> Mode {
    Mode {
        lossy: true,
        ..mode(kind, word, share, direct)
    }
}

/// What a balancer does to one backend alone.
const fn toward(share: f64, direct: &'static [AtStage]) -> Mode {
    Mode {
        class: Class::Toward,
        ..mode(Kind::LoadBalancer, Word::Misdirected, share, direct)
    }
}

const fn behind(
    kind: Kind,
    word: Word,
    share: f64,
    behind: &'static [Weighted],
    direct: &'static [AtStage],
) -> Mode {
    Mode {
        behind: Some(behind),
        ..lossy(kind, word, share, direct)
    }
}

/// A connection is taken for a stray packet of the one before it from the same address and port: its
/// SYN meets TIME_WAIT (RFC 6191 says how TCP timestamps avoid that) or a firewall's memory. A proxy's
/// own connections may meet with that whenever it uses a port again.
const fn collides(kind: Kind, share: f64, direct: &'static [AtStage]) -> Mode {
    Mode {
        strikes: Strikes::ReusedPorts,
        ..mode(kind, Word::PortReuseCollision, share, direct)
    }
}

/// The balancer's own connections come from ports that it has used too shortly before, whatever port its
/// client's came from: the backend's host is seen to take a SYN for a segment of the old connection.
const fn again_too_soon(direct: &'static [AtStage]) -> Mode {
    Mode {
        told: Some(S::StaleAck),
        ..mode(
            Kind::LoadBalancer,
            Word::PortReuseCollision,
            TOLD_SHARE,
            direct,
        )
    }
}

/// Full packets of answers vanish, and the notice that they are too big, too: a path MTU black hole
/// (RFC 2923, section 2.1). A handshake that brings a long certificate chain may meet it as well.
const fn black_hole(kind: Kind, share: f64, direct: &'static [AtStage]) -> Mode {
    Mode {
        strikes: Strikes::LongAnswers,
        ..mode(kind, Word::MtuBlackHole, share, direct)
    }
}

/// One on the way back to a balancer, which waits for longer than its clients do, or for less.
const fn black_hole_behind(
    share: f64,
    direct: &'static [AtStage],
    behind: &'static [Weighted],
) -> Mode {
    Mode {
        behind: Some(behind),
        ..black_hole(Kind::ReturnPath, share, direct)
    }
}

/// Where only requests meet a black hole, and where long certificates do, too.
const SHORT_CHAIN: &[AtStage] = STUCK;
const LONG_CHAIN: &[AtStage] = &[(Stage::Tls, CHAIN_LOST), (Stage::Http, STALLS_MIDWAY)];

/// Small answers are whole, large ones are not: a buffer that cannot be written, a limit on what is kept.
const fn large_fail(kind: Kind, share: f64, direct: &'static [AtStage]) -> Mode {
    Mode {
        strikes: Strikes::LargeObjects,
        ..mode(kind, Word::LargeAnswersFail, share, direct)
    }
}

/// One variant of the content is another than the others are: a purge or a release has missed it.
const fn wrong_variant(kind: Kind, share: f64) -> Mode {
    Mode {
        strikes: Strikes::PackedAnswers,
        ..mode(kind, Word::WrongVariant, share, &[(Stage::Http, DIFFERS)])
    }
}

/// A hello that takes more than one packet does not get through, or is not understood: who reads it from the first
/// packet alone waits for nothing, or ends the connection.
const fn large_hello(kind: Kind, share: f64) -> Mode {
    Mode {
        strikes: Strikes::LargeHellos,
        ..mode(kind, Word::LargeHello, share, &[(Stage::Tls, HELLO_LOST)])
    }
}

/// Of connections opened at once only so many are let through, by their number or by how fast they come: a packet
/// filter's rate, a table with a limit for each client, a provider that keeps off floods. What is beyond is dropped
/// for the most part, and refused by some.
const fn throttled(kind: Kind, share: f64, direct: &'static [AtStage]) -> Mode {
    Mode {
        strikes: Strikes::Bursts,
        ..mode(kind, Word::Throttled, share, direct)
    }
}

const BEYOND: &[Weighted] = &[(S::SynLost, 0.75), (S::Refused, 0.25)];
const KEPT_OUT: &[AtStage] = &[(Stage::Tcp, BEYOND), (Stage::Arrive, BEYOND)];
/// At the host, whose kernel may say that it was its own filter.
const KEPT_OUT_THERE: &[AtStage] = &[
    (Stage::Tcp, BEYOND),
    (
        Stage::Answer,
        &[
            (S::SynLost, 0.35),
            (S::Filtered, 0.3),
            (S::Refused, 0.25),
            (S::Silent, 0.1),
        ],
    ),
];
/// By who takes every connection, and ends those that are too many.
const TAKEN_AND_RESET: &[AtStage] = &[
    (
        Stage::Tls,
        &[
            (S::TlsReset, 0.8),
            (S::TlsRefused, 0.1),
            (S::TlsTimeout, 0.1),
        ],
    ),
    (Stage::Http, RESETS),
];

/// A balancer that knows its clients again sends some of them to a server that is gone, and says so itself:
/// persistence without redispatch.
const SESSIONS_FAIL: Mode = Mode {
    strikes: Strikes::Sessions,
    ..mode(
        Kind::LoadBalancer,
        Word::SessionsFail,
        0.03,
        &[(Stage::Http, BALANCER_5XX)],
    )
};

/// SYNs arrive and are not answered, and the host's kernel says why. Behind a balancer that looks as any
/// other lost SYN does.
const fn told(
    kind: Kind,
    word: Word,
    symptom: Symptom,
    behind: &'static [Weighted],
    direct: &'static [AtStage],
) -> Mode {
    Mode {
        told: Some(symptom),
        behind: Some(behind),
        ..lossy(kind, word, TOLD_SHARE, direct)
    }
}

/// Each of them, tried again or given up behind a balancer.
const TOLD_SHARE: f64 = 0.015;

/// Nearly all that a reason is told for: in the first second of a stretch a host may tell nothing, and two
/// reasons at once tell none.
const QUEUE_FULL: &[AtStage] = &[
    (Stage::Tcp, LOST),
    (
        Stage::Answer,
        &[(S::QueueFull, 0.8), (S::SynLost, 0.1), (S::Silent, 0.1)],
    ),
];
const FILTERED: &[AtStage] = &[
    (Stage::Tcp, LOST),
    (
        Stage::Answer,
        &[(S::Filtered, 0.8), (S::SynLost, 0.1), (S::Silent, 0.1)],
    ),
];
const UNROUTED: &[AtStage] = &[
    (Stage::Tcp, LOST),
    (
        Stage::Answer,
        &[(S::Unrouted, 0.8), (S::SynLost, 0.1), (S::Silent, 0.1)],
    ),
];
const TABLE_FULL: &[AtStage] = &[
    (Stage::Tcp, LOST),
    (
        Stage::Answer,
        &[(S::TableFull, 0.8), (S::SynLost, 0.1), (S::Silent, 0.1)],
    ),
];
const SILENT: &[AtStage] = &[
    (Stage::Tcp, LOST),
    (
        Stage::Answer,
        &[
            (S::Silent, 0.8),
            (S::SynLost, 0.1),
            (S::QueueFull, 0.05),
            (S::Filtered, 0.05),
        ],
    ),
];

/// Every mode. The order is that of the numbers that the inference uses.
pub(crate) const MODES: &[Mode] = &[
    lossy(
        Kind::ClientNetwork,
        Word::PacketLoss,
        0.8,
        &[
            (Stage::Dns, &[(S::DnsTimeout, 1.0)]),
            (Stage::Tcp, LOST),
            (Stage::Arrive, LOST),
            (Stage::Return, LOST),
            (Stage::Tls, LOSS_TLS),
            (Stage::Http, LOSS_HTTP),
        ],
    ),
    // A connection that stands takes such a word for a passing one, and sends again (RFC 1122, section 4.2.3.9).
    Mode {
        told: Some(S::Unreachable),
        ..lossy(
            Kind::ClientNetwork,
            Word::Unreachable,
            0.2,
            &[
                (
                    Stage::Dns,
                    &[(S::DnsTimeout, 0.6), (S::DnsUnreachable, 0.4)],
                ),
                (Stage::Tcp, &[(S::Unreachable, 0.7), (S::SynLost, 0.3)]),
                (Stage::Arrive, &[(S::Unreachable, 0.7), (S::SynLost, 0.3)]),
                (Stage::Tls, LOSS_TLS),
                (Stage::Http, LOSS_HTTP),
            ],
        )
    },
    mode(
        Kind::ClientNetwork,
        Word::TlsFails,
        0.05,
        &[(Stage::Tls, TLS_FAILS)],
    ),
    mode(
        Kind::ClientNetwork,
        Word::Resets,
        0.03,
        &[(Stage::Http, RESETS)],
    ),
    mode(
        Kind::ClientNetwork,
        Word::Clock,
        0.02,
        &[(Stage::Tls, MISJUDGED)],
    ),
    Mode {
        told: Some(S::CertificateClock),
        ..mode(
            Kind::ClientNetwork,
            Word::Clock,
            0.02,
            &[(Stage::Tls, &[(S::CertificateClock, 1.0)])],
        )
    },
    black_hole(Kind::ClientNetwork, 0.03, SHORT_CHAIN),
    black_hole(Kind::ClientNetwork, 0.03, LONG_CHAIN),
    large_hello(Kind::ClientNetwork, 0.03),
    throttled(Kind::ClientNetwork, 0.02, KEPT_OUT),
    collides(
        Kind::ClientNetwork,
        0.01,
        &[(Stage::Tcp, COLLIDES), (Stage::Arrive, COLLIDES)],
    ),
    mode(
        Kind::ClientNetwork,
        Word::DnsIntercepted,
        0.02,
        dns::INTERCEPTS,
    ),
    Mode {
        told: Some(S::SearchedElsewhere),
        ..mode(
            Kind::ClientNetwork,
            Word::SearchDomain,
            0.02,
            &[(Stage::Dns, &[(S::SearchedElsewhere, 1.0)])],
        )
    },
    mode(Kind::Resolver, Word::NoAnswer, 0.5, dns::SILENT),
    mode(Kind::Resolver, Word::Refuses, 0.1, dns::REFUSES),
    mode(Kind::Resolver, Word::Servfail, 0.2, dns::RESOLVER_FAILS),
    mode(
        Kind::Resolver,
        Word::ValidationFails,
        0.02,
        dns::CHECKS_WRONG,
    ),
    mode(Kind::Resolver, Word::WrongAnswer, 0.07, dns::WRONG),
    mode(Kind::Resolver, Word::StaleAnswer, 0.04, dns::NO_SUCH_NAME),
    mode(Kind::Resolver, Word::Filters, 0.03, dns::FILTERED),
    mode(Kind::Resolver, Word::AaaaFails, 0.02, dns::UNANSWERED_AAAA),
    mode(Kind::Resolver, Word::Slow, 0.1, SLOW_ANSWERS),
    mode(Kind::AuthoritativeDns, Word::NoAnswer, 0.4, dns::SILENT),
    mode(Kind::AuthoritativeDns, Word::Refuses, 0.2, dns::REFUSES),
    mode(Kind::AuthoritativeDns, Word::Servfail, 0.15, dns::FAILS),
    mode(
        Kind::AuthoritativeDns,
        Word::Lame,
        0.06,
        dns::DOES_NOT_SPEAK,
    ),
    mode(Kind::AuthoritativeDns, Word::WrongAnswer, 0.12, dns::WRONG),
    mode(Kind::AuthoritativeDns, Word::StaleAnswer, 0.05, dns::STALE),
    mode(
        Kind::AuthoritativeDns,
        Word::NameMissing,
        0.03,
        dns::NO_SUCH_NAME,
    ),
    signed(mode(
        Kind::AuthoritativeDns,
        Word::SignaturesExpired,
        0.03,
        dns::OVER,
    )),
    mode(
        Kind::AuthoritativeDns,
        Word::AaaaFails,
        0.02,
        dns::UNANSWERED_AAAA,
    ),
    mode(Kind::AuthoritativeDns, Word::Slow, 0.05, SLOW_ANSWERS),
    zone(Word::NameMissing, 0.2, dns::NO_SUCH_NAME, None),
    zone(Word::WrongAnswer, 0.2, dns::NOBODY_THERE, None),
    zone(Word::Lame, 0.1, &[], Some(dns::LED_ASTRAY)),
    signed(zone(
        Word::SignaturesExpired,
        0.22,
        dns::OVER,
        Some(dns::OVER_BEHIND),
    )),
    // Those of the keys alone, or where no name server was asked.
    signed(zone(
        Word::SignaturesExpired,
        0.05,
        &[],
        Some(dns::OVER_BEHIND),
    )),
    signed(zone(Word::Bogus, 0.23, &[], Some(dns::BOGUS_BEHIND))),
    lossy(
        Kind::Cdn,
        Word::NoAnswer,
        0.15,
        &[
            (Stage::Tcp, LOST),
            (Stage::Arrive, LOST),
            (Stage::Answer, LOST),
            (Stage::Tls, LOSS_TLS),
            (Stage::Http, LOSS_HTTP),
        ],
    ),
    mode(Kind::Cdn, Word::Refuses, 0.08, &[(Stage::Tcp, REFUSED)]),
    mode(Kind::Cdn, Word::Resets, 0.12, &[(Stage::Http, RESETS)]),
    mode(
        Kind::Cdn,
        Word::CertificateExpired,
        0.08,
        &[(Stage::Tls, EXPIRED)],
    ),
    mode(
        Kind::Cdn,
        Word::CertificateInvalid,
        0.05,
        &[(Stage::Tls, INVALID)],
    ),
    mode(
        Kind::Cdn,
        Word::ChainIncomplete,
        0.02,
        &[(Stage::Tls, INCOMPLETE)],
    ),
    mode(Kind::Cdn, Word::TlsFails, 0.05, &[(Stage::Tls, TLS_FAILS)]),
    mode(Kind::Cdn, Word::Http5xx, 0.15, &[(Stage::Http, EDGE_5XX)]),
    mode(Kind::Cdn, Word::Http4xx, 0.05, &[(Stage::Http, STATUS_4XX)]),
    mode(
        Kind::Cdn,
        Word::RateLimited,
        0.02,
        &[(Stage::Http, STATUS_429)],
    ),
    mode(Kind::Cdn, Word::Stalls, 0.1, &[(Stage::Http, STALLS)]),
    mode(Kind::Cdn, Word::Slow, 0.05, &[(Stage::Http, SLOW)]),
    mode(Kind::Cdn, Word::Slow, 0.02, OVERLOADED),
    mode(
        Kind::Cdn,
        Word::Truncates,
        0.05,
        &[(Stage::Http, TRUNCATED)],
    ),
    large_fail(Kind::Cdn, 0.02, CUT),
    large_fail(Kind::Cdn, 0.01, STUCK),
    large_fail(Kind::Cdn, 0.01, REFUSED_LARGE),
    mode(
        Kind::Cdn,
        Word::WrongContent,
        0.05,
        &[(Stage::Http, DIFFERS)],
    ),
    wrong_variant(Kind::Cdn, 0.02),
    large_hello(Kind::Cdn, 0.01),
    behind(
        Kind::CdnOriginPath,
        Word::Unreachable,
        0.25,
        NEVER_REACHED,
        &[(Stage::Tcp, LOST)],
    ),
    lossy(
        Kind::CdnOriginPath,
        Word::Unreachable,
        0.15,
        &[
            (Stage::Tcp, LOST),
            (Stage::Tls, LOSS_TLS),
            (Stage::Http, LOSS_HTTP),
        ],
    ),
    mode(
        Kind::CdnOriginPath,
        Word::Blocked,
        0.3,
        &[(Stage::Tcp, &[(S::Unreachable, 0.6), (S::Refused, 0.4)])],
    ),
    mode(
        Kind::CdnOriginPath,
        Word::Resets,
        0.15,
        &[(Stage::Http, RESETS)],
    ),
    mode(
        Kind::CdnOriginPath,
        Word::Slow,
        0.15,
        &[(Stage::Http, SLOW)],
    ),
    black_hole(Kind::CdnOriginPath, 0.05, SHORT_CHAIN),
    black_hole(Kind::CdnOriginPath, 0.05, LONG_CHAIN),
    lossy(
        Kind::Origin,
        Word::NoAnswer,
        0.15,
        &[
            (Stage::Tcp, LOST),
            (Stage::Arrive, LOST),
            (Stage::Answer, LOST),
            (Stage::Tls, LOSS_TLS),
            (Stage::Http, LOSS_HTTP),
        ],
    ),
    mode(
        Kind::Origin,
        Word::Refuses,
        0.1,
        &[(Stage::Tcp, REFUSED), (Stage::Answer, REFUSED)],
    ),
    mode(Kind::Origin, Word::Resets, 0.08, &[(Stage::Http, RESETS)]),
    mode(
        Kind::Origin,
        Word::CertificateExpired,
        0.05,
        &[(Stage::Tls, EXPIRED)],
    ),
    mode(
        Kind::Origin,
        Word::CertificateInvalid,
        0.03,
        &[(Stage::Tls, INVALID)],
    ),
    mode(
        Kind::Origin,
        Word::ChainIncomplete,
        0.01,
        &[(Stage::Tls, INCOMPLETE)],
    ),
    mode(
        Kind::Origin,
        Word::TlsFails,
        0.03,
        &[(Stage::Tls, TLS_FAILS)],
    ),
    mode(
        Kind::Origin,
        Word::Http5xx,
        0.25,
        &[(Stage::Http, STATUS_5XX)],
    ),
    mode(
        Kind::Origin,
        Word::Http4xx,
        0.05,
        &[(Stage::Http, STATUS_4XX)],
    ),
    mode(
        Kind::Origin,
        Word::RateLimited,
        0.02,
        &[(Stage::Http, STATUS_429)],
    ),
    mode(Kind::Origin, Word::Stalls, 0.08, &[(Stage::Http, STALLS)]),
    mode(Kind::Origin, Word::Slow, 0.08, &[(Stage::Http, SLOW)]),
    mode(
        Kind::Origin,
        Word::Truncates,
        0.03,
        &[(Stage::Http, TRUNCATED)],
    ),
    mode(
        Kind::Origin,
        Word::WrongContent,
        0.03,
        &[(Stage::Http, DIFFERS)],
    ),
    wrong_variant(Kind::Origin, 0.02),
    large_hello(Kind::Origin, 0.01),
    large_fail(Kind::Origin, 0.02, CUT),
    large_fail(Kind::Origin, 0.01, STUCK),
    large_fail(Kind::Origin, 0.01, REFUSED_LARGE),
    Mode {
        behind: Some(MISDIRECTED),
        ..toward(0.8, &[])
    },
    toward(0.1, &[(Stage::Tls, TLS_ELSEWHERE)]),
    toward(0.1, &[(Stage::Http, HTTP_ELSEWHERE)]),
    lossy(
        Kind::LoadBalancer,
        Word::NoAnswer,
        0.15,
        &[
            (Stage::Tcp, LOST),
            (Stage::Answer, LOST),
            (Stage::Tls, LOSS_TLS),
            (Stage::Http, LOSS_HTTP),
        ],
    ),
    mode(Kind::LoadBalancer, Word::NoAnswer, 0.03, ELSEWHERE),
    mode(
        Kind::LoadBalancer,
        Word::Refuses,
        0.18,
        &[(Stage::Tcp, REFUSED), (Stage::Answer, REFUSED)],
    ),
    mode(
        Kind::LoadBalancer,
        Word::Resets,
        0.1,
        &[(Stage::Http, RESETS)],
    ),
    mode(
        Kind::LoadBalancer,
        Word::CertificateExpired,
        0.1,
        &[(Stage::Tls, EXPIRED)],
    ),
    mode(
        Kind::LoadBalancer,
        Word::CertificateInvalid,
        0.05,
        &[(Stage::Tls, INVALID)],
    ),
    mode(
        Kind::LoadBalancer,
        Word::ChainIncomplete,
        0.02,
        &[(Stage::Tls, INCOMPLETE)],
    ),
    mode(
        Kind::LoadBalancer,
        Word::TlsFails,
        0.05,
        &[(Stage::Tls, TLS_FAILS)],
    ),
    mode(
        Kind::LoadBalancer,
        Word::Http5xx,
        0.2,
        &[(Stage::Http, BALANCER_5XX)],
    ),
    mode(
        Kind::LoadBalancer,
        Word::Http4xx,
        0.02,
        &[(Stage::Http, STATUS_4XX)],
    ),
    mode(
        Kind::LoadBalancer,
        Word::RateLimited,
        0.02,
        &[(Stage::Http, STATUS_429)],
    ),
    mode(
        Kind::LoadBalancer,
        Word::Stalls,
        0.06,
        &[(Stage::Http, STALLS)],
    ),
    mode(Kind::LoadBalancer, Word::Slow, 0.02, &[(Stage::Http, SLOW)]),
    mode(Kind::LoadBalancer, Word::Slow, 0.01, OVERLOADED),
    mode(
        Kind::LoadBalancer,
        Word::Truncates,
        0.03,
        &[(Stage::Http, TRUNCATED)],
    ),
    large_fail(Kind::LoadBalancer, 0.02, CUT),
    large_fail(Kind::LoadBalancer, 0.01, STUCK),
    large_fail(Kind::LoadBalancer, 0.01, REFUSED_LARGE),
    SESSIONS_FAIL,
    large_hello(Kind::LoadBalancer, 0.01),
    throttled(Kind::LoadBalancer, 0.02, KEPT_OUT_THERE),
    throttled(Kind::LoadBalancer, 0.01, TAKEN_AND_RESET),
    collides(
        Kind::LoadBalancer,
        0.05,
        &[(Stage::Tcp, COLLIDES), (Stage::Answer, COLLIDES_THERE)],
    ),
    again_too_soon(COLLIDES_BEHIND),
    again_too_soon(COLLIDES_UNSEEN),
    behind(
        Kind::LbBackendPath,
        Word::PacketLoss,
        0.35,
        RETRIED_OR_NONE,
        &[
            (Stage::Tcp, LOST),
            (Stage::Arrive, LOST),
            (Stage::Tls, LOSS_TLS),
            (Stage::Http, LOSS_HTTP),
        ],
    ),
    behind(
        Kind::LbBackendPath,
        Word::PacketLoss,
        0.35,
        GIVEN_UP,
        &[
            (Stage::Tcp, LOST),
            (Stage::Arrive, LOST),
            (Stage::Tls, LOSS_TLS),
            (Stage::Http, LOSS_HTTP),
        ],
    ),
    mode(
        Kind::LbBackendPath,
        Word::Blocked,
        0.3,
        &[
            (Stage::Tcp, &[(S::Unreachable, 0.5), (S::Refused, 0.5)]),
            (Stage::Arrive, &[(S::Unreachable, 0.5), (S::Refused, 0.5)]),
        ],
    ),
    collides(
        Kind::LbBackendPath,
        0.05,
        &[(Stage::Tcp, COLLIDES), (Stage::Arrive, COLLIDES)],
    ),
    mode(
        Kind::Backend,
        Word::Refuses,
        0.15,
        &[(Stage::Tcp, REFUSED), (Stage::Answer, REFUSED)],
    ),
    behind(
        Kind::Backend,
        Word::SynUnanswered,
        0.075,
        RETRIED,
        &[(Stage::Tcp, LOST), (Stage::Answer, LOST)],
    ),
    behind(
        Kind::Backend,
        Word::SynUnanswered,
        0.075,
        GIVEN_UP,
        &[(Stage::Tcp, LOST), (Stage::Answer, LOST)],
    ),
    mode(Kind::Backend, Word::Resets, 0.1, &[(Stage::Http, RESETS)]),
    mode(Kind::Backend, Word::Stalls, 0.1, &[(Stage::Http, STALLS)]),
    mode(
        Kind::Backend,
        Word::Http5xx,
        0.2,
        &[(Stage::Http, STATUS_5XX)],
    ),
    mode(
        Kind::Backend,
        Word::Http4xx,
        0.03,
        &[(Stage::Http, STATUS_4XX)],
    ),
    mode(
        Kind::Backend,
        Word::RateLimited,
        0.02,
        &[(Stage::Http, STATUS_429)],
    ),
    mode(Kind::Backend, Word::Slow, 0.12, &[(Stage::Http, SLOW)]),
    mode(
        Kind::Backend,
        Word::Truncates,
        0.05,
        &[(Stage::Http, TRUNCATED)],
    ),
    large_fail(Kind::Backend, 0.02, CUT),
    large_fail(Kind::Backend, 0.01, STUCK),
    large_fail(Kind::Backend, 0.01, REFUSED_LARGE),
    mode(
        Kind::Backend,
        Word::WrongContent,
        0.05,
        &[(Stage::Http, DIFFERS)],
    ),
    wrong_variant(Kind::Backend, 0.02),
    large_hello(Kind::Backend, 0.01),
    throttled(Kind::Backend, 0.02, KEPT_OUT_THERE),
    throttled(Kind::Backend, 0.01, TAKEN_AND_RESET),
    mode(
        Kind::Backend,
        Word::CertificateExpired,
        0.03,
        &[(Stage::Tls, EXPIRED)],
    ),
    mode(
        Kind::Backend,
        Word::ChainIncomplete,
        0.01,
        &[(Stage::Tls, INCOMPLETE)],
    ),
    mode(
        Kind::Backend,
        Word::TlsFails,
        0.02,
        &[(Stage::Tls, TLS_FAILS), (Stage::Tls, INVALID)],
    ),
    collides(
        Kind::Backend,
        0.05,
        &[(Stage::Tcp, COLLIDES), (Stage::Answer, COLLIDES_THERE)],
    ),
    told(
        Kind::Backend,
        Word::AcceptQueueFull,
        S::QueueFull,
        RETRIED,
        QUEUE_FULL,
    ),
    told(
        Kind::Backend,
        Word::AcceptQueueFull,
        S::QueueFull,
        GIVEN_UP,
        QUEUE_FULL,
    ),
    told(
        Kind::Backend,
        Word::HostFirewall,
        S::Filtered,
        RETRIED,
        FILTERED,
    ),
    told(
        Kind::Backend,
        Word::HostFirewall,
        S::Filtered,
        GIVEN_UP,
        FILTERED,
    ),
    told(
        Kind::Backend,
        Word::ConnectionTableFull,
        S::TableFull,
        RETRIED,
        TABLE_FULL,
    ),
    told(
        Kind::Backend,
        Word::ConnectionTableFull,
        S::TableFull,
        GIVEN_UP,
        TABLE_FULL,
    ),
    told(Kind::Backend, Word::StackSilent, S::Silent, RETRIED, SILENT),
    told(
        Kind::Backend,
        Word::StackSilent,
        S::Silent,
        GIVEN_UP,
        SILENT,
    ),
    behind(
        Kind::ReturnPath,
        Word::AnswersLost,
        0.5,
        RETRIED_OR_NONE,
        &[
            (Stage::Tcp, LOST),
            (Stage::Arrive, LOST),
            (Stage::Return, LOST),
            (Stage::Tls, LOSS_TLS),
            (Stage::Http, LOSS_HTTP),
        ],
    ),
    behind(
        Kind::ReturnPath,
        Word::AnswersLost,
        0.5,
        GIVEN_UP,
        &[
            (Stage::Tcp, LOST),
            (Stage::Arrive, LOST),
            (Stage::Return, LOST),
            (Stage::Tls, LOSS_TLS),
            (Stage::Http, LOSS_HTTP),
        ],
    ),
    told(
        Kind::ReturnPath,
        Word::ReversePathFilter,
        S::Unrouted,
        RETRIED,
        UNROUTED,
    ),
    told(
        Kind::ReturnPath,
        Word::ReversePathFilter,
        S::Unrouted,
        GIVEN_UP,
        UNROUTED,
    ),
    black_hole_behind(0.08, SHORT_CHAIN, HELD_UP),
    black_hole_behind(0.08, SHORT_CHAIN, BROKEN_OFF),
    black_hole_behind(0.04, LONG_CHAIN, HELD_UP),
    Mode {
        class: Class::NotServed,
        word: Word::NotServed,
        share: 1.0,
        strikes: Strikes::All,
        told: None,
        lossy: false,
        direct: &[(Stage::Http, TURNED_AWAY)],
        behind: None,
    },
    Mode {
        class: Class::Firewall,
        word: Word::Forbidden,
        share: 1.0,
        strikes: Strikes::All,
        told: None,
        lossy: false,
        direct: &[
            (
                Stage::Dns,
                &[
                    (S::DnsTimeout, 0.7),
                    (S::DnsUnreachable, 0.15),
                    (S::DnsRefused, 0.15),
                ],
            ),
            (Stage::Tcp, FORBIDDEN),
            (Stage::Arrive, FORBIDDEN),
        ],
        behind: None,
    },
];
