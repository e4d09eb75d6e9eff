//! What balancers and edges answer when those behind them fail: data. Each row is a program or a provider
//! as its documentation and its defaults have it, or as operators commonly set it.

use localize::{Failure, Layer};

use super::wire::Terms;

/// The statuses that a proxy answers when it got no answer.
#[derive(Debug, PartialEq)]
pub struct Answers {
    /// To a refused connection.
    pub refused: u16,
    /// When nobody answered its SYNs in time.
    pub unanswered: u16,
    /// To an ICMP error.
    pub unreachable: u16,
    /// To a failed TLS handshake.
    pub tls: u16,
    /// To a certificate that it does not take.
    pub certificate: u16,
    /// To RST or FIN in place of an answer.
    pub reset: u16,
    /// When no answer came in time.
    pub late: u16,
}

/// What a proxy does with an answer that is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It hands on what came, and ends as the answer did.
    HandedOn,
    /// It hands on what came as if it were whole.
    Reframed,
    /// It keeps answers until they are whole, and answers 502.
    Kept,
    /// It hands on what came, and does not end.
    Held,
}

/// How a proxy treats those behind it.
#[derive(Debug, PartialEq)]
pub struct Manners {
    /// For so long it waits for a handshake, in milliseconds.
    pub connect_ms: u64,
    /// For so long it waits for an answer.
    pub answer_ms: u64,
    /// So often it tries again when it cannot connect.
    pub retries: u32,
    /// For so long it waits before that.
    pub pause_ms: u64,
    /// It tries again when a connection broke after the request.
    pub asks_again: bool,
    /// It takes any certificate.
    pub trusts_all: bool,
    /// What it does with answers cut off.
    pub cut: Cut,
    /// What it answers itself.
    pub answers: Answers,
}

/// A balancer of layer 7.
#[derive(Debug, PartialEq)]
pub struct Balancer {
    /// What it is like.
    pub name: &'static str,
    /// How often it tries the same backend before another: 0 goes to another at once.
    pub insists: u32,
    /// Its answer when no backend is left.
    pub nobody: u16,
    /// Its manners.
    pub manners: Manners,
}

/// The edges of a provider.
#[derive(Debug, PartialEq)]
pub struct Edge {
    /// The name by which its headers tell it, where they do.
    pub provider: Option<&'static str>,
    /// The header that does.
    pub header: (&'static str, &'static str),
    /// It has statuses of its own from 520 on.
    pub own_statuses: bool,
    /// Its manners.
    pub manners: Manners,
}

const fn answers(refused: u16, unanswered: u16, reset: u16, late: u16) -> Answers {
    Answers {
        refused,
        unanswered,
        unreachable: refused,
        tls: refused,
        certificate: refused,
        reset,
        late,
    }
}

const OWN: Answers = Answers {
    refused: 521,
    unanswered: 522,
    unreachable: 523,
    tls: 525,
    certificate: 526,
    reset: 520,
    late: 524,
};

/// HAProxy as its documentation's examples set it: `retries 3`, `option redispatch`, `timeout connect 5s`.
const HAPROXY: Manners = Manners {
    connect_ms: 5_000,
    answer_ms: 30_000,
    retries: 3,
    pause_ms: 1_000,
    asks_again: false,
    trusts_all: true,
    cut: Cut::HandedOn,
    answers: answers(503, 503, 502, 504),
};

/// nginx with `proxy_connect_timeout 2s`: each try is at the next server of the upstream.
const NGINX: Manners = Manners {
    connect_ms: 2_000,
    answer_ms: 60_000,
    retries: 2,
    pause_ms: 0,
    asks_again: true,
    trusts_all: true,
    cut: Cut::HandedOn,
    answers: answers(502, 504, 502, 504),
};

/// Every balancer.
pub const BALANCERS: &[Balancer] = &[
    Balancer {
        name: "haproxy",
        insists: 2,
        nobody: 503,
        manners: HAPROXY,
    },
    Balancer {
        name: "haproxy without redispatch, impatient",
        insists: 9,
        nobody: 503,
        manners: Manners {
            connect_ms: 1_000,
            answer_ms: 5_000,
            retries: 1,
            ..HAPROXY
        },
    },
    Balancer {
        name: "nginx",
        insists: 0,
        nobody: 502,
        manners: NGINX,
    },
    Balancer {
        name: "nginx without a next upstream",
        insists: 9,
        nobody: 502,
        manners: Manners {
            connect_ms: 5_000,
            retries: 0,
            asks_again: false,
            ..NGINX
        },
    },
    Balancer {
        name: "envoy",
        insists: 0,
        nobody: 503,
        manners: Manners {
            connect_ms: 5_000,
            answer_ms: 15_000,
            retries: 1,
            asks_again: false,
            answers: answers(503, 503, 503, 504),
            ..NGINX
        },
    },
    Balancer {
        name: "a cloud's",
        insists: 9,
        nobody: 503,
        manners: Manners {
            connect_ms: 10_000,
            retries: 0,
            asks_again: false,
            answers: answers(502, 504, 502, 504),
            ..NGINX
        },
    },
];

/// Cloudflare: it waits for longer than probes do for handshakes and answers.
const CLOUDFLARE: Manners = Manners {
    connect_ms: 15_000,
    answer_ms: 100_000,
    retries: 0,
    pause_ms: 0,
    asks_again: false,
    trusts_all: false,
    cut: Cut::HandedOn,
    answers: OWN,
};

/// Every provider.
pub const EDGES: &[Edge] = &[
    Edge {
        provider: Some("cloudflare"),
        header: ("cf-ray", "8f0"),
        own_statuses: true,
        manners: CLOUDFLARE,
    },
    Edge {
        provider: Some("cloudflare"),
        header: ("cf-ray", "8f0"),
        own_statuses: true,
        manners: Manners {
            connect_ms: 4_000,
            answer_ms: 8_000,
            retries: 1,
            trusts_all: true,
            cut: Cut::Reframed,
            ..CLOUDFLARE
        },
    },
    Edge {
        provider: Some("cloudfront"),
        header: ("x-amz-cf-id", "k3"),
        own_statuses: false,
        manners: Manners {
            connect_ms: 10_000,
            answer_ms: 30_000,
            retries: 2,
            answers: Answers {
                late: 504,
                ..answers(502, 504, 502, 504)
            },
            ..CLOUDFLARE
        },
    },
    Edge {
        provider: Some("fastly"),
        header: ("x-fastly-request-id", "77"),
        own_statuses: false,
        manners: Manners {
            connect_ms: 1_000,
            answer_ms: 15_000,
            cut: Cut::Kept,
            answers: answers(503, 503, 503, 503),
            ..CLOUDFLARE
        },
    },
    Edge {
        provider: Some("akamai"),
        header: ("server", "AkamaiGHost"),
        own_statuses: false,
        manners: Manners {
            connect_ms: 5_000,
            answer_ms: 120_000,
            retries: 1,
            cut: Cut::Held,
            answers: answers(503, 504, 502, 504),
            ..CLOUDFLARE
        },
    },
    Edge {
        provider: None,
        header: ("server", "nginx"),
        own_statuses: false,
        manners: Manners {
            connect_ms: 3_000,
            answer_ms: 6_000,
            trusts_all: true,
            answers: answers(502, 504, 502, 504),
            ..CLOUDFLARE
        },
    },
];

/// What a proxy does about a failure of those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    /// It answers with this status.
    Status(u16),
    /// It hands on the answer, which is a whole one.
    HandsOn,
    /// The answer was cut off or came to no end.
    CutOff,
}

impl Answers {
    /// What is answered when those behind failed so.
    pub(crate) fn to(&self, failure: Failure) -> Instead {
        Instead::Status(match failure {
            Failure::HttpStatus(_)
            | Failure::CdnStatus(_)
            | Failure::UnexpectedStatus(_)
            | Failure::UnexpectedBody => return Instead::HandsOn,
            Failure::BodyTimeout | Failure::BodyTruncated => return Instead::CutOff,
            Failure::ConnectRefused => self.refused,
            Failure::ConnectTimeout => self.unanswered,
            Failure::ConnectUnreachable | Failure::ConnectLocal => self.unreachable,
            Failure::TlsTimeout
            | Failure::TlsReset
            | Failure::TlsAlert(_)
            | Failure::TlsProtocol => self.tls,
            Failure::CertificateExpired
            | Failure::CertificateNotYetValid
            | Failure::CertificateUnknownIssuer
            | Failure::CertificateChainIncomplete
            | Failure::CertificateWrongName
            | Failure::CertificateInvalid => self.certificate,
            Failure::ResetBeforeRequest
            | Failure::ResetAfterRequest
            | Failure::ClosedWithoutAnswer
            | Failure::HttpVersion(_)
            | Failure::HttpMalformed => self.reset,
            Failure::HttpTimeout | Failure::LateFirstByte => self.late,
            // No proxy of this world asks for names.
            Failure::DnsTimeout
            | Failure::DnsUnreachable
            | Failure::DnsRefused
            | Failure::DnsServfail
            | Failure::DnsNxdomain
            | Failure::DnsNoData
            | Failure::DnsMalformed
            | Failure::DnsLame => self.unreachable,
        })
    }
}

impl Manners {
    /// How it connects and asks.
    pub(crate) const fn terms(&self, tls: bool) -> Terms {
        Terms {
            connect_us: self.connect_ms * 1000,
            tls_us: self.connect_ms * 1000,
            answer_us: self.answer_ms * 1000,
            total_us: (self.connect_ms + self.answer_ms) * 2000,
            strict: !self.trusts_all,
            tls,
            request: true,
        }
    }

    /// Whether it tries again after such a failure.
    pub(crate) fn tries_again(&self, layer: Layer, failure: Failure) -> bool {
        match layer {
            Layer::Dns | Layer::Tcp | Layer::Tls => true,
            Layer::Http => {
                self.asks_again
                    && matches!(
                        failure,
                        Failure::ResetAfterRequest
                            | Failure::ResetBeforeRequest
                            | Failure::ClosedWithoutAnswer
                            | Failure::HttpTimeout
                    )
            }
        }
    }
}
