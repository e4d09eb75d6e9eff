//! What proxies make of the failures that they meet: data, not code.

use crate::world::mode::Weighted;
use crate::world::symptom::{Stage, Symptom};
use Symptom as S;

/// Every symptom as a list of its own, for what proxies hand on as it is.
const ITSELF: [[Weighted; 1]; Symptom::COUNT] = {
    let mut table = [[(Symptom::ALL[0], 1.0)]; Symptom::COUNT];
    let mut index = 0;
    while index < Symptom::COUNT {
        table[index] = [(Symptom::ALL[index], 1.0)];
        index += 1;
    }
    table
};

fn itself(symptom: Symptom) -> &'static [Weighted] {
    &ITSELF[symptom as usize]
}

/// What a client of a layer-7 balancer sees of a symptom that the balancer meets at a backend.
pub(crate) fn through_balancer(symptom: Symptom) -> &'static [Weighted] {
    match symptom {
        S::SynLost
        | S::QueueFull
        | S::Filtered
        | S::Unrouted
        | S::TableFull
        | S::Silent
        | S::StaleAck => &[
            (S::Resent, 0.5),
            (S::Slow, 0.1),
            (S::Status503, 0.12),
            (S::Status504, 0.08),
            (S::Status502, 0.03),
            (S::HttpTimeout, 0.17),
        ],
        S::Refused | S::Unreachable => &[
            (S::Status503, 0.65),
            (S::Status502, 0.25),
            (S::Slow, 0.05),
            (S::Status504, 0.05),
        ],
        S::TlsTimeout
        | S::TlsReset
        | S::TlsRefused
        | S::CertificateExpired
        | S::CertificateEarly
        | S::CertificateClock
        | S::CertificateIssuer
        | S::CertificateChain
        | S::CertificateName
        | S::CertificateInvalid => &[(S::Status503, 0.55), (S::Status502, 0.45)],
        S::Reset | S::Closed => &[
            (S::Status502, 0.85),
            (S::Status503, 0.05),
            (S::Reset, 0.04),
            (S::Closed, 0.03),
            (S::Slow, 0.03),
        ],
        S::HttpTimeout => &[(S::Status504, 0.55), (S::HttpTimeout, 0.4), (S::Slow, 0.05)],
        S::BodyTimeout => &[
            (S::BodyTimeout, 0.7),
            (S::Truncated, 0.2),
            (S::Status504, 0.1),
        ],
        // What has been handed on cannot be taken back: only what is kept until it is whole becomes a status.
        S::Truncated => &[
            (S::Truncated, 0.75),
            (S::ContentDiffers, 0.06),
            (S::BodyTimeout, 0.05),
            (S::Status502, 0.1),
            (S::Closed, 0.04),
        ],
        S::Late => &[(S::Late, 0.96), (S::Slow, 0.04)],
        S::Slow => &[(S::Slow, 0.85), (S::Status504, 0.1), (S::HttpTimeout, 0.05)],
        S::Resent => &[(S::Resent, 0.9), (S::Slow, 0.05), (S::HttpTimeout, 0.05)],
        S::Status5xx
        | S::Status502
        | S::Status503
        | S::Status504
        | S::Status403
        | S::Status429
        | S::Status4xx
        | S::ContentDiffers => itself(symptom),
        S::Cdn520
        | S::Cdn521
        | S::Cdn522
        | S::Cdn523
        | S::Cdn524
        | S::Cdn525
        | S::Cdn526
        | S::DnsTimeout
        | S::DnsUnreachable
        | S::DnsRefused
        | S::DnsServfail
        | S::DnsNxdomain
        | S::DnsNoData
        | S::DnsMalformed
        | S::DnsLame
        | S::DnsBogus
        | S::DnsExpired
        | S::DnsFiltered
        | S::AaaaFails
        | S::SearchedElsewhere
        | S::StaleAnswer
        | S::WrongAnswer => &[],
    }
}

/// What is seen of a connection at this stage where the balancer passes bytes on and speaks neither TLS nor HTTP:
/// in the place of an answer of its own it closes, and who waits, waits for the hello.
pub(crate) fn unspoken(stage: Stage) -> fn(Symptom) -> &'static [Weighted] {
    match stage {
        Stage::Tls => unspoken_hello,
        Stage::Dns | Stage::Tcp | Stage::Arrive | Stage::Answer | Stage::Return | Stage::Http => {
            unspoken_request
        }
    }
}

/// What a layer-7 balancer answers where it got nothing.
const BALANCERS_OWN: [Symptom; 3] = [S::Status502, S::Status503, S::Status504];

fn unspoken_hello(symptom: Symptom) -> &'static [Weighted] {
    if BALANCERS_OWN.contains(&symptom) || symptom == S::Reset || symptom == S::Closed {
        itself(S::TlsReset)
    } else if symptom == S::HttpTimeout {
        itself(S::TlsTimeout)
    } else if symptom.is_late() {
        // Who is late by lost SYNs is so by seconds, and some of those who wait do not.
        &[(S::Slow, 0.8), (S::TlsTimeout, 0.2)]
    } else {
        itself(symptom)
    }
}

fn unspoken_request(symptom: Symptom) -> &'static [Weighted] {
    if BALANCERS_OWN.contains(&symptom) {
        &[(S::Closed, 0.7), (S::Reset, 0.3)]
    } else {
        itself(symptom)
    }
}

/// What a client of an edge sees of a symptom that the edge meets at the origin (Cloudflare 5xx
/// errors; other providers answer 502, 503 and 504). Most try again until a lost SYN gets through.
#[expect(clippy::too_many_lines, reason = "a table, a row for each case")]
pub(crate) fn through_edge(symptom: Symptom) -> &'static [Weighted] {
    match symptom {
        S::SynLost
        | S::QueueFull
        | S::Filtered
        | S::Unrouted
        | S::TableFull
        | S::Silent
        | S::StaleAck => &[
            (S::Resent, 0.33),
            (S::Slow, 0.05),
            (S::Cdn522, 0.18),
            (S::HttpTimeout, 0.18),
            (S::Status504, 0.15),
            (S::Status503, 0.08),
            (S::Cdn523, 0.03),
        ],
        S::Refused => &[
            (S::Cdn521, 0.4),
            (S::Status502, 0.28),
            (S::Status503, 0.22),
            (S::Cdn523, 0.06),
            (S::Cdn520, 0.04),
        ],
        S::Unreachable => &[
            (S::Cdn523, 0.35),
            (S::Status502, 0.22),
            (S::Status503, 0.15),
            (S::Cdn522, 0.13),
            (S::Cdn521, 0.07),
            (S::Status504, 0.08),
        ],
        S::TlsTimeout => &[
            (S::Cdn525, 0.3),
            (S::Status502, 0.2),
            (S::Status503, 0.13),
            (S::Cdn522, 0.13),
            (S::Status504, 0.12),
            (S::Cdn524, 0.06),
            (S::Cdn520, 0.06),
        ],
        S::TlsReset | S::TlsRefused => &[
            (S::Cdn525, 0.45),
            (S::Status502, 0.27),
            (S::Status503, 0.2),
            (S::Cdn520, 0.08),
        ],
        S::CertificateExpired
        | S::CertificateEarly
        | S::CertificateClock
        | S::CertificateIssuer
        | S::CertificateChain
        | S::CertificateName
        | S::CertificateInvalid => &[
            (S::Cdn526, 0.45),
            (S::Status502, 0.27),
            (S::Status503, 0.2),
            (S::Cdn525, 0.08),
        ],
        S::Reset | S::Closed => &[
            (S::Cdn520, 0.4),
            (S::Status502, 0.33),
            (S::Status503, 0.15),
            (S::Reset, 0.05),
            (S::Closed, 0.04),
            (S::Cdn522, 0.03),
        ],
        S::HttpTimeout => &[
            (S::HttpTimeout, 0.45),
            (S::Cdn524, 0.22),
            (S::Status504, 0.22),
            (S::Status503, 0.06),
            (S::Cdn522, 0.05),
        ],
        S::BodyTimeout => &[(S::BodyTimeout, 0.6), (S::Truncated, 0.3), (S::Cdn520, 0.1)],
        // An edge that takes an answer up whole before it hands it on frames what it got anew: a shorter
        // answer that looks whole, an error of its own, or a wait for the rest.
        S::Truncated => &[
            (S::Truncated, 0.45),
            (S::ContentDiffers, 0.25),
            (S::Status502, 0.1),
            (S::Cdn520, 0.08),
            (S::BodyTimeout, 0.07),
            (S::HttpTimeout, 0.05),
        ],
        S::Late => &[(S::Late, 0.96), (S::Slow, 0.04)],
        S::Slow => &[(S::Slow, 0.9), (S::HttpTimeout, 0.05), (S::Cdn524, 0.05)],
        S::Resent => &[(S::Resent, 0.9), (S::Slow, 0.05), (S::HttpTimeout, 0.05)],
        S::Status5xx
        | S::Status502
        | S::Status503
        | S::Status504
        | S::Status403
        | S::Status429
        | S::Status4xx
        | S::ContentDiffers => itself(symptom),
        S::Cdn520
        | S::Cdn521
        | S::Cdn522
        | S::Cdn523
        | S::Cdn524
        | S::Cdn525
        | S::Cdn526
        | S::DnsTimeout
        | S::DnsUnreachable
        | S::DnsRefused
        | S::DnsServfail
        | S::DnsNxdomain
        | S::DnsNoData
        | S::DnsMalformed
        | S::DnsLame
        | S::DnsBogus
        | S::DnsExpired
        | S::DnsFiltered
        | S::AaaaFails
        | S::SearchedElsewhere
        | S::StaleAnswer
        | S::WrongAnswer => &[],
    }
}

/// What a client of a resolver sees of a symptom that the resolver meets at a name server.
pub(crate) fn through_resolver(symptom: Symptom) -> &'static [Weighted] {
    match symptom {
        S::DnsTimeout
        | S::DnsUnreachable
        | S::DnsRefused
        | S::DnsServfail
        | S::DnsMalformed
        | S::DnsLame => &[
            (S::Slow, 0.45),
            (S::DnsServfail, 0.35),
            (S::DnsTimeout, 0.2),
        ],
        // A resolver that checks asks the next name server, and says SERVFAIL when all are alike.
        S::DnsExpired => &[
            (S::Slow, 0.45),
            (S::DnsExpired, 0.35),
            (S::DnsBogus, 0.1),
            (S::DnsTimeout, 0.1),
        ],
        // It does not know which version of the zone it is told.
        S::StaleAnswer => &[
            (S::WrongAnswer, 0.6),
            (S::DnsNxdomain, 0.25),
            (S::DnsNoData, 0.15),
        ],
        S::DnsNxdomain | S::DnsNoData | S::DnsBogus | S::AaaaFails | S::WrongAnswer => {
            itself(symptom)
        }
        S::Late => &[(S::Late, 0.95), (S::Slow, 0.05)],
        S::Slow => &[(S::Slow, 0.8), (S::DnsTimeout, 0.2)],
        S::SynLost
        | S::QueueFull
        | S::Filtered
        | S::Unrouted
        | S::TableFull
        | S::Silent
        | S::StaleAck
        | S::Refused
        | S::Unreachable
        | S::TlsTimeout
        | S::TlsReset
        | S::TlsRefused
        | S::CertificateExpired
        | S::CertificateEarly
        | S::CertificateClock
        | S::CertificateIssuer
        | S::CertificateChain
        | S::CertificateName
        | S::CertificateInvalid
        | S::Reset
        | S::Closed
        | S::HttpTimeout
        | S::BodyTimeout
        | S::Truncated
        | S::Status5xx
        | S::Status502
        | S::Status503
        | S::Status504
        | S::Status403
        | S::Status429
        | S::Status4xx
        | S::Cdn520
        | S::Cdn521
        | S::Cdn522
        | S::Cdn523
        | S::Cdn524
        | S::Cdn525
        | S::Cdn526
        | S::DnsFiltered
        | S::SearchedElsewhere
        | S::Resent
        | S::ContentDiffers => &[],
    }
}
