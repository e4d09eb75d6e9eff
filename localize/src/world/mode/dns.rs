//! What modes of resolvers, name servers and zones look like.

use super::{AtStage, Class, Mode, Strikes, Weighted, Word};
use crate::world::symptom::{Stage, Symptom};
use Symptom as S;

pub(super) const SILENT: &[AtStage] = &[(
    Stage::Dns,
    &[(S::DnsTimeout, 0.75), (S::DnsUnreachable, 0.25)],
)];
pub(super) const REFUSES: &[AtStage] = &[(
    Stage::Dns,
    &[(S::DnsRefused, 0.97), (S::DnsUnreachable, 0.03)],
)];
pub(super) const FAILS: &[AtStage] =
    &[(Stage::Dns, &[(S::DnsServfail, 0.8), (S::DnsMalformed, 0.2)])];
/// What fails at random may pass with checking disabled, being asked a second time.
pub(super) const RESOLVER_FAILS: &[AtStage] = &[(
    Stage::Dns,
    &[
        (S::DnsServfail, 0.74),
        (S::DnsMalformed, 0.2),
        (S::DnsBogus, 0.06),
    ],
)];
/// Its clock or the anchor of its trust is out of date.
pub(super) const CHECKS_WRONG: &[AtStage] =
    &[(Stage::Dns, &[(S::DnsBogus, 0.6), (S::DnsExpired, 0.4)])];
pub(super) const WRONG: &[AtStage] = &[(Stage::Dns, &[(S::WrongAnswer, 1.0)])];
/// An address that is the service's no longer: of what is handed out beside it nobody has to be ill. Seen where
/// nobody has ever been met.
pub(super) const NOBODY_THERE: &[AtStage] = &[(
    Stage::Tcp,
    &[
        (S::SynLost, 0.6),
        (S::Refused, 0.25),
        (S::Unreachable, 0.15),
    ],
)];
pub(super) const NO_SUCH_NAME: &[AtStage] =
    &[(Stage::Dns, &[(S::DnsNxdomain, 0.6), (S::DnsNoData, 0.4)])];
pub(super) const FILTERED: &[AtStage] = &[(Stage::Dns, &[(S::DnsFiltered, 1.0)])];
pub(super) const UNANSWERED_AAAA: &[AtStage] = &[(Stage::Dns, &[(S::AaaaFails, 1.0)])];
/// A server that has never heard of the zone refuses, or says what it has heard elsewhere.
pub(super) const DOES_NOT_SPEAK: &[AtStage] = &[(Stage::Dns, &[(S::DnsLame, 1.0)])];
pub(super) const STALE: &[AtStage] = &[(Stage::Dns, &[(S::StaleAnswer, 1.0)])];
pub(super) const OVER: &[AtStage] = &[(Stage::Dns, &[(S::DnsExpired, 1.0)])];
/// Whoever answers in another's place speaks for no zone, and may say anything.
pub(super) const INTERCEPTS: &[AtStage] = &[(
    Stage::Dns,
    &[
        (S::DnsLame, 0.4),
        (S::DnsNxdomain, 0.15),
        (S::WrongAnswer, 0.15),
        (S::DnsFiltered, 0.15),
        (S::DnsServfail, 0.05),
        (S::DnsRefused, 0.05),
        (S::DnsNoData, 0.05),
    ],
)];

/// A resolver that is sent to servers which do not answer for the zone.
pub(super) const LED_ASTRAY: &[Weighted] = &[
    (S::DnsServfail, 0.75),
    (S::DnsTimeout, 0.15),
    (S::Slow, 0.1),
];
/// Of a resolver that says nothing else than SERVFAIL, name servers' signatures tell which it is.
pub(super) const OVER_BEHIND: &[Weighted] = &[(S::DnsExpired, 0.85), (S::DnsBogus, 0.15)];
pub(super) const BOGUS_BEHIND: &[Weighted] = &[(S::DnsBogus, 0.97), (S::DnsExpired, 0.03)];

/// What strikes the zone as a whole.
pub(super) const fn zone(
    word: Word,
    share: f64,
    direct: &'static [AtStage],
    behind: Option<&'static [Weighted]>,
) -> Mode {
    Mode {
        class: Class::Zone,
        word,
        share,
        strikes: Strikes::All,
        told: None,
        lossy: false,
        direct,
        behind,
    }
}

/// What shows where signatures are checked (RFC 4035, section 5.5), and perhaps in what is handed out.
pub(super) const fn signed(mode: Mode) -> Mode {
    Mode {
        strikes: Strikes::Validators,
        ..mode
    }
}
