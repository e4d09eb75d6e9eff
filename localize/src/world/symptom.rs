//! What went wrong with one probe at one stage, as the inference counts it.

use crate::facts::observation::Failure;

/// The stages at which a probe is counted.
///
/// Where a witness stands at the far end, `Arrive`, `Answer` and `Return` take the place of `Tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Stage {
    /// A question was answered; counted by probe.
    Dns,
    /// A SYN was answered; counted by SYN.
    Tcp,
    /// A SYN reached the far host's interface; counted by SYN.
    Arrive,
    /// The far host answered a SYN that had reached it; counted by SYN that arrived.
    Answer,
    /// An answer that had left the far host came back; counted by answer.
    Return,
    /// The TLS handshake; counted by probe.
    Tls,
    /// The request; counted by probe.
    Http,
}

impl Stage {
    /// How many stages there are.
    pub(crate) const COUNT: usize = 7;
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

macro_rules! symptoms {
    ($($name:ident => $word:literal, $stage:ident, $background:literal;)*) => {
        /// One way in which a probe fails, coarser than [`Failure`] and with what only a comparison
        /// shows: another answer or content than the siblings', or an answer later than usual.
        /// `CertificateClock` is one not yet valid or expired by a host's own clock, which is wrong.
        /// A SYN that was not answered is `SynLost`, but where the far host's kernel says why.
        /// `StaleAck` is a SYN that the far host took for a segment of an old connection.
        /// `Late` is by tenths of a second, `Resent` by what a lost SYN costs, `Slow` by as much or more.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub(crate) enum Symptom { $($name,)* }

        impl Symptom {
            /// Every symptom, in the order of their numbers.
            pub(crate) const ALL: &'static [Symptom] = &[$(Symptom::$name,)*];

            /// The word that users read.
            pub(crate) const fn word(self) -> &'static str {
                match self { $(Symptom::$name => $word,)* }
            }

            /// The share of the background rate that shows as this symptom when nothing is at fault:
            /// lost packets and late answers are common, a wrong certificate is not.
            pub(crate) const fn background(self) -> f64 {
                match self { $(Symptom::$name => $background,)* }
            }

            const fn home(self) -> Home {
                match self { $(Symptom::$name => Home::$stage,)* }
            }
        }
    };
}

/// Where a symptom can be seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Home {
    Dns,
    Connect,
    Told,
    Tls,
    Http,
    Answer,
    Any,
}

symptoms! {
    DnsTimeout => "dns_timeout", Dns, 1.0;
    DnsUnreachable => "dns_unreachable", Dns, 0.02;
    DnsRefused => "dns_refused", Dns, 0.02;
    DnsServfail => "dns_servfail", Dns, 0.1;
    DnsNxdomain => "dns_nxdomain", Dns, 0.02;
    DnsNoData => "dns_no_data", Dns, 0.02;
    DnsMalformed => "dns_malformed", Dns, 0.02;
    DnsLame => "dns_lame", Dns, 0.01;
    DnsBogus => "dns_bogus", Dns, 0.01;
    DnsExpired => "dns_signatures_expired", Dns, 0.005;
    DnsFiltered => "dns_filtered", Dns, 0.01;
    AaaaFails => "dns_aaaa_fails", Dns, 0.01;
    SearchedElsewhere => "search_domain_answers", Dns, 0.001;
    StaleAnswer => "stale_answer", Dns, 0.01;
    WrongAnswer => "wrong_answer", Dns, 0.02;
    SynLost => "syn_unanswered", Connect, 1.0;
    QueueFull => "syn_unanswered", Told, 0.1;
    Filtered => "syn_unanswered", Told, 0.1;
    Unrouted => "syn_unanswered", Told, 0.1;
    TableFull => "syn_unanswered", Told, 0.1;
    Silent => "syn_unanswered", Told, 0.1;
    StaleAck => "stale_ack", Told, 0.05;
    Refused => "connect_refused", Connect, 0.03;
    Unreachable => "connect_unreachable", Connect, 0.03;
    TlsTimeout => "tls_timeout", Tls, 0.3;
    TlsReset => "tls_reset", Tls, 0.05;
    TlsRefused => "tls_alert", Tls, 0.02;
    CertificateExpired => "certificate_expired", Tls, 0.005;
    CertificateEarly => "certificate_not_yet_valid", Tls, 0.005;
    CertificateClock => "certificate_valid_by_mesh_time", Tls, 0.001;
    CertificateIssuer => "certificate_unknown_issuer", Tls, 0.005;
    CertificateChain => "certificate_chain_incomplete", Tls, 0.002;
    CertificateName => "certificate_wrong_name", Tls, 0.005;
    CertificateInvalid => "certificate_invalid", Tls, 0.005;
    Reset => "connection_reset", Http, 0.05;
    Closed => "closed_without_answer", Http, 0.05;
    HttpTimeout => "http_timeout", Http, 0.2;
    BodyTimeout => "body_timeout", Http, 0.2;
    Truncated => "body_truncated", Http, 0.05;
    Status5xx => "http_5xx", Http, 0.05;
    Status502 => "http_502", Http, 0.05;
    Status503 => "http_503", Http, 0.05;
    Status504 => "http_504", Http, 0.05;
    Status403 => "http_403", Http, 0.05;
    Status429 => "http_429", Http, 0.05;
    Status4xx => "http_4xx", Http, 0.05;
    Cdn520 => "cdn_520", Http, 0.05;
    Cdn521 => "cdn_521", Http, 0.05;
    Cdn522 => "cdn_522", Http, 0.05;
    Cdn523 => "cdn_523", Http, 0.05;
    Cdn524 => "cdn_524", Http, 0.05;
    Cdn525 => "cdn_525", Http, 0.05;
    Cdn526 => "cdn_526", Http, 0.05;
    ContentDiffers => "content_differs", Http, 0.02;
    Late => "late", Answer, 2.0;
    Resent => "late_by_a_retransmission", Http, 0.7;
    Slow => "slow", Any, 1.0;
}

impl Symptom {
    /// How many symptoms there are.
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// Whether the symptom can be seen at a stage.
    pub(crate) fn seen_at(self, stage: Stage) -> bool {
        match self.home() {
            Home::Dns => stage == Stage::Dns,
            Home::Connect => {
                matches!(
                    stage,
                    Stage::Tcp | Stage::Arrive | Stage::Answer | Stage::Return
                )
            }
            // Only where a host's kernel says so: no host must.
            Home::Told => false,
            Home::Tls => stage == Stage::Tls,
            Home::Http => stage == Stage::Http,
            Home::Answer => matches!(stage, Stage::Dns | Stage::Http),
            Home::Any => matches!(stage, Stage::Dns | Stage::Tls | Stage::Http),
        }
    }

    /// Whether the probe got its answer, only later than usual: no failure.
    pub(crate) const fn is_late(self) -> bool {
        matches!(self, Self::Late | Self::Resent | Self::Slow)
    }

    /// The symptom of a failure; `None` for trouble of the agent's own, which is no evidence.
    pub(crate) fn of(failure: Failure) -> Option<Self> {
        Some(match failure {
            Failure::DnsTimeout => Self::DnsTimeout,
            Failure::DnsUnreachable => Self::DnsUnreachable,
            Failure::DnsRefused => Self::DnsRefused,
            Failure::DnsServfail => Self::DnsServfail,
            Failure::DnsNxdomain => Self::DnsNxdomain,
            Failure::DnsNoData => Self::DnsNoData,
            Failure::DnsMalformed => Self::DnsMalformed,
            Failure::DnsLame => Self::DnsLame,
            Failure::ConnectRefused => Self::Refused,
            Failure::ConnectTimeout => Self::SynLost,
            Failure::ConnectUnreachable => Self::Unreachable,
            Failure::ConnectLocal => return None,
            Failure::TlsTimeout => Self::TlsTimeout,
            Failure::TlsReset => Self::TlsReset,
            Failure::TlsAlert(_) | Failure::TlsProtocol => Self::TlsRefused,
            Failure::CertificateExpired => Self::CertificateExpired,
            Failure::CertificateNotYetValid => Self::CertificateEarly,
            Failure::CertificateUnknownIssuer => Self::CertificateIssuer,
            Failure::CertificateChainIncomplete => Self::CertificateChain,
            Failure::CertificateWrongName => Self::CertificateName,
            Failure::CertificateInvalid => Self::CertificateInvalid,
            Failure::ResetBeforeRequest | Failure::ResetAfterRequest => Self::Reset,
            Failure::ClosedWithoutAnswer | Failure::HttpMalformed => Self::Closed,
            Failure::HttpTimeout => Self::HttpTimeout,
            Failure::BodyTimeout => Self::BodyTimeout,
            Failure::BodyTruncated => Self::Truncated,
            Failure::HttpStatus(status) => Self::of_status(status),
            Failure::CdnStatus(status) => Self::of_cdn_status(status),
            Failure::UnexpectedStatus(..400) | Failure::UnexpectedBody => Self::ContentDiffers,
            Failure::UnexpectedStatus(status) => Self::of_status(status),
            Failure::LateFirstByte => Self::Slow,
            // As a server says it that speaks HTTP/1.1 well enough to do so: 505.
            Failure::HttpVersion(_) => Self::Status5xx,
        })
    }

    fn of_status(status: u16) -> Self {
        match status {
            403 => Self::Status403,
            429 => Self::Status429,
            400..=499 => Self::Status4xx,
            502 => Self::Status502,
            503 => Self::Status503,
            504 => Self::Status504,
            _ => Self::Status5xx,
        }
    }

    /// Statuses as Cloudflare documents them (Cloudflare 5xx errors, 520 to 527 and 530).
    fn of_cdn_status(status: u16) -> Self {
        match status {
            521 => Self::Cdn521,
            522 => Self::Cdn522,
            523 | 530 => Self::Cdn523,
            524 => Self::Cdn524,
            525 => Self::Cdn525,
            526 => Self::Cdn526,
            520 | 527..=529 => Self::Cdn520,
            other => Self::of_status(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::observation::HttpVersion;

    /// What the service file expects is told by the same symptoms as what everybody expects.
    #[test]
    fn what_was_not_expected_has_its_symptom() {
        let rows = [
            (Failure::UnexpectedStatus(200), Symptom::ContentDiffers),
            (Failure::UnexpectedStatus(302), Symptom::ContentDiffers),
            (Failure::UnexpectedStatus(404), Symptom::Status4xx),
            (Failure::UnexpectedStatus(500), Symptom::Status5xx),
            (Failure::UnexpectedStatus(503), Symptom::Status503),
            (Failure::UnexpectedBody, Symptom::ContentDiffers),
            (Failure::LateFirstByte, Symptom::Slow),
            (Failure::HttpVersion(HttpVersion::Two), Symptom::Status5xx),
        ];
        for (failure, symptom) in rows {
            assert_eq!(Symptom::of(failure), Some(symptom), "{failure:?}");
            assert!(symptom.seen_at(Stage::Http), "{failure:?}");
        }
    }
}
