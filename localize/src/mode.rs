//! How components fail, and what that looks like from where: data, not code.
//!
//! A mode says what a direct probe of the component sees. What a probe behind a proxy sees follows by
//! passing every symptom through the proxy's own table, so that a balancer turns a refused connection
//! into a 503 and an edge turns it into a 521.

use alloc::vec;
use alloc::vec::Vec;

use crate::symptom::{Stage, Symptom};
use crate::verdict::Kind;
use Symptom as S;

/// What stands between the prober's own connection and the component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum View {
    /// Nothing: the probe's own packets cross it.
    Direct,
    /// A layer-7 balancer.
    BehindLb,
    /// An edge of the CDN.
    BehindCdn,
    /// An edge, then a layer-7 balancer.
    BehindCdnAndLb,
    /// A recursive resolver.
    BehindResolver,
}

impl View {
    const COUNT: usize = 5;
    const ALL: [View; Self::COUNT] = [
        View::Direct,
        View::BehindLb,
        View::BehindCdn,
        View::BehindCdnAndLb,
        View::BehindResolver,
    ];
}

/// A weighted symptom. Weights of one list need not add up to one.
type Weighted = (Symptom, f64);

/// What a mode does to direct probes at one stage.
type AtStage = (Stage, &'static [Weighted]);

/// What a mode belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A component that a verdict can name.
    Blamable(Kind),
    /// A rule that keeps one vantage point from one target: an explanation, never a fault.
    Firewall,
}

/// A way in which components of a kind fail.
pub(crate) struct Mode {
    /// What has this mode.
    pub(crate) class: Class,
    /// The word of the verdict's `mode`.
    pub(crate) word: &'static str,
    /// Share of the kind's faults that are of this mode; relative to the kind's other modes.
    pub(crate) share: f64,
    /// Packets are lost: what is seen after the handshake has a rate of its own.
    pub(crate) lossy: bool,
    /// What direct probes see.
    pub(crate) direct: &'static [AtStage],
}

const CONNECT: [Stage; 4] = [Stage::Tcp, Stage::Arrive, Stage::Answer, Stage::Return];

const LOSS_TLS: &[Weighted] = &[(S::TlsTimeout, 0.4), (S::Slow, 0.5), (S::TlsReset, 0.1)];
const LOSS_HTTP: &[Weighted] = &[
    (S::Slow, 0.6),
    (S::HttpTimeout, 0.25),
    (S::BodyTimeout, 0.1),
    (S::Reset, 0.05),
];
const LOST: &[Weighted] = &[(S::SynLost, 0.97), (S::Unreachable, 0.03)];
const FORBIDDEN: &[Weighted] = &[
    (S::SynLost, 0.75),
    (S::Unreachable, 0.15),
    (S::Refused, 0.1),
];
const REFUSED: &[Weighted] = &[(S::Refused, 0.95), (S::Unreachable, 0.05)];
const TLS_FAILS: &[Weighted] = &[
    (S::TlsRefused, 0.5),
    (S::TlsTimeout, 0.3),
    (S::TlsReset, 0.2),
];
const EXPIRED: &[Weighted] = &[(S::CertificateExpired, 1.0)];
const INVALID: &[Weighted] = &[(S::CertificateInvalid, 1.0)];
const RESETS: &[Weighted] = &[(S::Reset, 0.85), (S::Closed, 0.15)];
const TLS_RESETS: &[Weighted] = &[(S::TlsReset, 1.0)];
const STALLS: &[Weighted] = &[(S::HttpTimeout, 0.85), (S::BodyTimeout, 0.15)];
const TLS_STALLS: &[Weighted] = &[(S::TlsTimeout, 1.0)];
const SLOW: &[Weighted] = &[(S::Slow, 1.0)];
const TRUNCATED: &[Weighted] = &[(S::Truncated, 0.8), (S::BodyTimeout, 0.1), (S::Closed, 0.1)];
const DIFFERS: &[Weighted] = &[(S::ContentDiffers, 1.0)];
const STATUS_4XX: &[Weighted] = &[(S::Status4xx, 1.0)];
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
const DNS_SILENT: &[Weighted] = &[(S::DnsTimeout, 0.75), (S::DnsUnreachable, 0.25)];
const DNS_REFUSES: &[Weighted] = &[(S::DnsRefused, 0.97), (S::DnsUnreachable, 0.03)];
const DNS_FAILS: &[Weighted] = &[(S::DnsServfail, 0.8), (S::DnsMalformed, 0.2)];
const DNS_WRONG: &[Weighted] = &[(S::WrongAnswer, 0.7), (S::DnsNxdomain, 0.3)];

const fn mode(kind: Kind, word: &'static str, share: f64, direct: &'static [AtStage]) -> Mode {
    Mode {
        class: Class::Blamable(kind),
        word,
        share,
        lossy: false,
        direct,
    }
}

const fn lossy(kind: Kind, word: &'static str, share: f64, direct: &'static [AtStage]) -> Mode {
    Mode {
        class: Class::Blamable(kind),
        word,
        share,
        lossy: true,
        direct,
    }
}

/// Every mode. The order is that of the numbers that the inference uses.
pub(crate) const MODES: &[Mode] = &[
    lossy(
        Kind::ClientNetwork,
        "packet_loss",
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
    mode(
        Kind::ClientNetwork,
        "unreachable",
        0.2,
        &[
            (
                Stage::Dns,
                &[(S::DnsTimeout, 0.6), (S::DnsUnreachable, 0.4)],
            ),
            (Stage::Tcp, &[(S::Unreachable, 0.7), (S::SynLost, 0.3)]),
            (Stage::Arrive, &[(S::Unreachable, 0.7), (S::SynLost, 0.3)]),
        ],
    ),
    mode(
        Kind::Resolver,
        "no_answer",
        0.5,
        &[(Stage::Dns, DNS_SILENT)],
    ),
    mode(Kind::Resolver, "refuses", 0.1, &[(Stage::Dns, DNS_REFUSES)]),
    mode(Kind::Resolver, "servfail", 0.2, &[(Stage::Dns, DNS_FAILS)]),
    mode(
        Kind::Resolver,
        "wrong_answer",
        0.1,
        &[(Stage::Dns, DNS_WRONG)],
    ),
    mode(Kind::Resolver, "slow", 0.1, &[(Stage::Dns, SLOW)]),
    mode(
        Kind::AuthoritativeDns,
        "no_answer",
        0.4,
        &[(Stage::Dns, DNS_SILENT)],
    ),
    mode(
        Kind::AuthoritativeDns,
        "refuses",
        0.2,
        &[(Stage::Dns, DNS_REFUSES)],
    ),
    mode(
        Kind::AuthoritativeDns,
        "servfail",
        0.15,
        &[(Stage::Dns, DNS_FAILS)],
    ),
    mode(
        Kind::AuthoritativeDns,
        "wrong_answer",
        0.2,
        &[(Stage::Dns, DNS_WRONG)],
    ),
    mode(Kind::AuthoritativeDns, "slow", 0.05, &[(Stage::Dns, SLOW)]),
    lossy(
        Kind::Cdn,
        "no_answer",
        0.15,
        &[
            (Stage::Tcp, LOST),
            (Stage::Arrive, LOST),
            (Stage::Answer, LOST),
            (Stage::Tls, LOSS_TLS),
            (Stage::Http, LOSS_HTTP),
        ],
    ),
    mode(Kind::Cdn, "refuses", 0.08, &[(Stage::Tcp, REFUSED)]),
    mode(
        Kind::Cdn,
        "resets",
        0.12,
        &[(Stage::Tls, TLS_RESETS), (Stage::Http, RESETS)],
    ),
    mode(
        Kind::Cdn,
        "certificate_expired",
        0.08,
        &[(Stage::Tls, EXPIRED)],
    ),
    mode(
        Kind::Cdn,
        "certificate_invalid",
        0.05,
        &[(Stage::Tls, INVALID)],
    ),
    mode(Kind::Cdn, "tls_fails", 0.05, &[(Stage::Tls, TLS_FAILS)]),
    mode(Kind::Cdn, "http_5xx", 0.15, &[(Stage::Http, EDGE_5XX)]),
    mode(Kind::Cdn, "http_4xx", 0.05, &[(Stage::Http, STATUS_4XX)]),
    mode(
        Kind::Cdn,
        "stalls",
        0.1,
        &[(Stage::Tls, TLS_STALLS), (Stage::Http, STALLS)],
    ),
    mode(
        Kind::Cdn,
        "slow",
        0.07,
        &[(Stage::Tls, SLOW), (Stage::Http, SLOW)],
    ),
    mode(Kind::Cdn, "truncates", 0.05, &[(Stage::Http, TRUNCATED)]),
    mode(Kind::Cdn, "wrong_content", 0.05, &[(Stage::Http, DIFFERS)]),
    mode(
        Kind::CdnOriginPath,
        "unreachable",
        0.4,
        &[(Stage::Tcp, LOST)],
    ),
    mode(
        Kind::CdnOriginPath,
        "blocked",
        0.3,
        &[(Stage::Tcp, &[(S::Unreachable, 0.6), (S::Refused, 0.4)])],
    ),
    mode(
        Kind::CdnOriginPath,
        "resets",
        0.15,
        &[(Stage::Http, RESETS)],
    ),
    mode(Kind::CdnOriginPath, "slow", 0.15, &[(Stage::Http, SLOW)]),
    lossy(
        Kind::LoadBalancer,
        "no_answer",
        0.18,
        &[
            (Stage::Tcp, LOST),
            (Stage::Answer, LOST),
            (Stage::Tls, LOSS_TLS),
            (Stage::Http, LOSS_HTTP),
        ],
    ),
    mode(
        Kind::LoadBalancer,
        "refuses",
        0.18,
        &[(Stage::Tcp, REFUSED), (Stage::Answer, REFUSED)],
    ),
    mode(
        Kind::LoadBalancer,
        "resets",
        0.1,
        &[(Stage::Tls, TLS_RESETS), (Stage::Http, RESETS)],
    ),
    mode(
        Kind::LoadBalancer,
        "certificate_expired",
        0.1,
        &[(Stage::Tls, EXPIRED)],
    ),
    mode(
        Kind::LoadBalancer,
        "certificate_invalid",
        0.05,
        &[(Stage::Tls, INVALID)],
    ),
    mode(
        Kind::LoadBalancer,
        "tls_fails",
        0.05,
        &[(Stage::Tls, TLS_FAILS)],
    ),
    mode(
        Kind::LoadBalancer,
        "http_5xx",
        0.2,
        &[(Stage::Http, BALANCER_5XX)],
    ),
    mode(
        Kind::LoadBalancer,
        "http_4xx",
        0.02,
        &[(Stage::Http, STATUS_4XX)],
    ),
    mode(
        Kind::LoadBalancer,
        "stalls",
        0.06,
        &[(Stage::Tls, TLS_STALLS), (Stage::Http, STALLS)],
    ),
    mode(Kind::LoadBalancer, "slow", 0.03, &[(Stage::Http, SLOW)]),
    mode(
        Kind::LoadBalancer,
        "truncates",
        0.03,
        &[(Stage::Http, TRUNCATED)],
    ),
    lossy(
        Kind::LbBackendPath,
        "packet_loss",
        0.7,
        &[
            (Stage::Tcp, LOST),
            (Stage::Arrive, LOST),
            (Stage::Tls, LOSS_TLS),
            (Stage::Http, LOSS_HTTP),
        ],
    ),
    mode(
        Kind::LbBackendPath,
        "blocked",
        0.3,
        &[
            (Stage::Tcp, &[(S::Unreachable, 0.5), (S::Refused, 0.5)]),
            (Stage::Arrive, &[(S::Unreachable, 0.5), (S::Refused, 0.5)]),
        ],
    ),
    mode(
        Kind::Backend,
        "refuses",
        0.15,
        &[(Stage::Tcp, REFUSED), (Stage::Answer, REFUSED)],
    ),
    lossy(
        Kind::Backend,
        "syn_unanswered",
        0.15,
        &[(Stage::Tcp, LOST), (Stage::Answer, LOST)],
    ),
    mode(
        Kind::Backend,
        "resets",
        0.1,
        &[(Stage::Tls, TLS_RESETS), (Stage::Http, RESETS)],
    ),
    mode(
        Kind::Backend,
        "stalls",
        0.1,
        &[(Stage::Tls, TLS_STALLS), (Stage::Http, STALLS)],
    ),
    mode(Kind::Backend, "http_5xx", 0.2, &[(Stage::Http, STATUS_5XX)]),
    mode(
        Kind::Backend,
        "http_4xx",
        0.03,
        &[(Stage::Http, STATUS_4XX)],
    ),
    mode(
        Kind::Backend,
        "slow",
        0.12,
        &[(Stage::Tls, SLOW), (Stage::Http, SLOW)],
    ),
    mode(
        Kind::Backend,
        "truncates",
        0.05,
        &[(Stage::Http, TRUNCATED)],
    ),
    mode(
        Kind::Backend,
        "wrong_content",
        0.05,
        &[(Stage::Http, DIFFERS)],
    ),
    mode(
        Kind::Backend,
        "certificate_expired",
        0.03,
        &[(Stage::Tls, EXPIRED)],
    ),
    mode(
        Kind::Backend,
        "tls_fails",
        0.02,
        &[(Stage::Tls, TLS_FAILS), (Stage::Tls, INVALID)],
    ),
    lossy(
        Kind::ReturnPath,
        "answers_lost",
        1.0,
        &[
            (Stage::Tcp, LOST),
            (Stage::Return, LOST),
            (Stage::Tls, LOSS_TLS),
            (Stage::Http, LOSS_HTTP),
        ],
    ),
    Mode {
        class: Class::Firewall,
        word: "forbidden",
        share: 1.0,
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
    },
];

/// What a client of a layer-7 balancer sees of a symptom that the balancer meets at a backend.
fn through_balancer(symptom: Symptom) -> &'static [Weighted] {
    match symptom {
        S::SynLost => &[
            (S::Slow, 0.76),
            (S::Status503, 0.12),
            (S::Status504, 0.06),
            (S::Status502, 0.02),
            (S::HttpTimeout, 0.04),
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
        S::Truncated => &[
            (S::Truncated, 0.75),
            (S::BodyTimeout, 0.1),
            (S::Status502, 0.1),
            (S::Closed, 0.05),
        ],
        S::Slow => &[(S::Slow, 0.85), (S::Status504, 0.1), (S::HttpTimeout, 0.05)],
        S::Status5xx => &[(S::Status5xx, 1.0)],
        S::Status502 => &[(S::Status502, 1.0)],
        S::Status503 => &[(S::Status503, 1.0)],
        S::Status504 => &[(S::Status504, 1.0)],
        S::Status4xx => &[(S::Status4xx, 1.0)],
        S::ContentDiffers => &[(S::ContentDiffers, 1.0)],
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
        | S::DnsMalformed
        | S::WrongAnswer => &[],
    }
}

/// What a client of an edge sees of a symptom that the edge meets at the origin (Cloudflare 5xx
/// errors; other providers answer 502, 503 and 504).
fn through_edge(symptom: Symptom) -> &'static [Weighted] {
    match symptom {
        S::SynLost => &[
            (S::Cdn522, 0.6),
            (S::Slow, 0.15),
            (S::Cdn523, 0.07),
            (S::Status504, 0.08),
            (S::Status503, 0.03),
            (S::HttpTimeout, 0.07),
        ],
        S::Refused => &[
            (S::Cdn521, 0.77),
            (S::Status502, 0.08),
            (S::Cdn523, 0.06),
            (S::Status503, 0.06),
            (S::Cdn520, 0.03),
        ],
        S::Unreachable => &[
            (S::Cdn523, 0.55),
            (S::Cdn522, 0.25),
            (S::Cdn521, 0.1),
            (S::Status502, 0.1),
        ],
        S::TlsTimeout => &[
            (S::Cdn525, 0.45),
            (S::Cdn522, 0.25),
            (S::Cdn524, 0.1),
            (S::Cdn520, 0.1),
            (S::Status502, 0.1),
        ],
        S::TlsReset | S::TlsRefused => &[(S::Cdn525, 0.75), (S::Cdn520, 0.15), (S::Status502, 0.1)],
        S::CertificateExpired | S::CertificateInvalid => {
            &[(S::Cdn526, 0.75), (S::Cdn525, 0.15), (S::Status502, 0.1)]
        }
        S::Reset | S::Closed => &[
            (S::Cdn520, 0.7),
            (S::Status502, 0.18),
            (S::Reset, 0.04),
            (S::Closed, 0.03),
            (S::Cdn522, 0.05),
        ],
        S::HttpTimeout => &[
            (S::HttpTimeout, 0.45),
            (S::Cdn524, 0.4),
            (S::Status504, 0.1),
            (S::Cdn522, 0.05),
        ],
        S::BodyTimeout => &[(S::BodyTimeout, 0.6), (S::Truncated, 0.3), (S::Cdn520, 0.1)],
        S::Truncated => &[
            (S::Truncated, 0.65),
            (S::BodyTimeout, 0.1),
            (S::Cdn520, 0.15),
            (S::Status502, 0.1),
        ],
        S::Slow => &[(S::Slow, 0.9), (S::HttpTimeout, 0.05), (S::Cdn524, 0.05)],
        S::Status5xx => &[(S::Status5xx, 1.0)],
        S::Status502 => &[(S::Status502, 1.0)],
        S::Status503 => &[(S::Status503, 1.0)],
        S::Status504 => &[(S::Status504, 1.0)],
        S::Status4xx => &[(S::Status4xx, 1.0)],
        S::ContentDiffers => &[(S::ContentDiffers, 1.0)],
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
        | S::DnsMalformed
        | S::WrongAnswer => &[],
    }
}

/// What a client of a resolver sees of a symptom that the resolver meets at a name server.
fn through_resolver(symptom: Symptom) -> &'static [Weighted] {
    match symptom {
        S::DnsTimeout | S::DnsUnreachable | S::DnsRefused | S::DnsServfail | S::DnsMalformed => &[
            (S::Slow, 0.45),
            (S::DnsServfail, 0.35),
            (S::DnsTimeout, 0.2),
        ],
        S::DnsNxdomain => &[(S::DnsNxdomain, 1.0)],
        S::WrongAnswer => &[(S::WrongAnswer, 1.0)],
        S::Slow => &[(S::Slow, 0.8), (S::DnsTimeout, 0.2)],
        _ => &[],
    }
}

/// Probability of each symptom, given that a mode makes a probe fail at a stage.
pub(crate) type Distribution = [f64; Symptom::COUNT];

/// Share of every distribution that is spread evenly over what the stage can show, so that no single
/// odd outcome rules a hypothesis out.
const UNIFORM_SHARE: f64 = 0.03;

/// P(symptom | mode, view, stage) for every mode.
pub(crate) struct Signatures {
    table: Vec<Option<Distribution>>,
}

impl Signatures {
    /// Passes every mode through every view.
    pub(crate) fn new() -> Self {
        let mut table = vec![None; MODES.len() * View::COUNT * Stage::COUNT];
        for (index, mode) in MODES.iter().enumerate() {
            for view in View::ALL {
                for stage in STAGES {
                    table[slot(index, view, stage)] = distribution(mode, view, stage);
                }
            }
        }
        Self { table }
    }

    /// What a mode looks like there; `None` when it cannot be seen there at all.
    pub(crate) fn of(&self, mode: usize, view: View, stage: Stage) -> Option<&Distribution> {
        self.table[slot(mode, view, stage)].as_ref()
    }
}

/// Every stage.
pub(crate) const STAGES: [Stage; Stage::COUNT] = [
    Stage::Dns,
    Stage::Tcp,
    Stage::Arrive,
    Stage::Answer,
    Stage::Return,
    Stage::Tls,
    Stage::Http,
];

fn slot(mode: usize, view: View, stage: Stage) -> usize {
    (mode * View::COUNT + view as usize) * Stage::COUNT + stage as usize
}

fn distribution(mode: &Mode, view: View, stage: Stage) -> Option<Distribution> {
    let mut raw = [0.0; Symptom::COUNT];
    match view {
        View::Direct => {
            for (at, weighted) in mode.direct {
                if *at == stage {
                    add(&mut raw, weighted, 1.0);
                }
            }
        }
        View::BehindResolver if stage == Stage::Dns => {
            spread(mode, &mut raw, &[through_resolver]);
        }
        View::BehindLb if stage == Stage::Http => spread(mode, &mut raw, &[through_balancer]),
        View::BehindCdn if stage == Stage::Http => spread(mode, &mut raw, &[through_edge]),
        View::BehindCdnAndLb if stage == Stage::Http => {
            spread(mode, &mut raw, &[through_balancer, through_edge]);
        }
        View::BehindResolver | View::BehindLb | View::BehindCdn | View::BehindCdnAndLb => {}
    }
    normalised(raw, stage)
}

/// Passes what the mode does to direct probes through proxies, nearest to the component first.
///
/// The earliest stage of the mode speaks for it, except that packet loss shows at every stage: a
/// proxy whose handshakes fail never gets to see the rest.
fn spread(mode: &Mode, raw: &mut Distribution, proxies: &[fn(Symptom) -> &'static [Weighted]]) {
    let Some((first, _)) = mode.direct.first() else {
        return;
    };
    for (at, weighted) in mode.direct {
        if at == first || mode.lossy || !CONNECT.contains(at) && !CONNECT.contains(first) {
            for (symptom, weight) in *weighted {
                pass(raw, *symptom, *weight, proxies);
            }
        }
    }
}

fn pass(
    raw: &mut Distribution,
    symptom: Symptom,
    weight: f64,
    proxies: &[fn(Symptom) -> &'static [Weighted]],
) {
    match proxies.split_first() {
        None => raw[symptom as usize] += weight,
        Some((nearest, rest)) => {
            for (seen, share) in nearest(symptom) {
                pass(raw, *seen, weight * share, rest);
            }
        }
    }
}

fn add(raw: &mut Distribution, weighted: &[Weighted], factor: f64) {
    for (symptom, weight) in weighted {
        raw[*symptom as usize] += weight * factor;
    }
}

fn normalised(mut raw: Distribution, stage: Stage) -> Option<Distribution> {
    let total: f64 = raw.iter().sum();
    if total <= 0.0 {
        return None;
    }
    let possible = Symptom::ALL.iter().filter(|s| s.seen_at(stage)).count() as f64;
    for symptom in Symptom::ALL {
        let value = &mut raw[*symptom as usize];
        *value *= (1.0 - UNIFORM_SHARE) / total;
        if symptom.seen_at(stage) {
            *value += UNIFORM_SHARE / possible;
        }
    }
    Some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_is_a_distribution() {
        let signatures = Signatures::new();
        for (index, mode) in MODES.iter().enumerate() {
            for view in View::ALL {
                for stage in STAGES {
                    if let Some(d) = signatures.of(index, view, stage) {
                        let total: f64 = d.iter().sum();
                        assert!(
                            (total - 1.0).abs() < 1e-9,
                            "{} {view:?} {stage:?}",
                            mode.word
                        );
                        assert!(d.iter().all(|p| (0.0..1.0).contains(p)));
                    }
                }
            }
        }
    }

    #[test]
    fn a_refusing_balancer_is_a_521_at_the_edge() {
        let signatures = Signatures::new();
        let refuses = MODES
            .iter()
            .position(|m| m.class == Class::Blamable(Kind::LoadBalancer) && m.word == "refuses")
            .expect("the mode");
        let seen = signatures
            .of(refuses, View::BehindCdn, Stage::Http)
            .expect("visible");
        assert!(seen[S::Cdn521 as usize] > 0.7);
    }
}
