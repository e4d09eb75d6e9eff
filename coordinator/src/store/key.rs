//! The layout of the keys: a letter for the kind, then big-endian numbers, so that the order of the
//! bytes is the order of time and new records append. What there is very much of, and is asked for by
//! service, has the service's number before the time.

use localize::{Layer, ServiceName, VantageName};

use super::records::{Notice, Noticed, SecretHash};

/// The kinds of record. Their letters are on disk: they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Agent,
    Service,
    Token,
    /// Highest stored sequence of an agent.
    Watermark,
    /// An observation that passed or was not fired: service, instant, series, sequence.
    Observation,
    /// An observation that failed: likewise.
    FailedObservation,
    /// A latency window: service, minute, series, layer.
    Window,
    /// The last sequence of an agent that is counted in the windows on disk.
    Counted,
    /// What the number of a series stands for.
    Series,
    /// A witness report: end of its stretch, sequence, witness.
    Report,
    /// The way to a target that did not answer: its beginning, sequence, vantage point.
    Trace,
    Round,
    RoundSummary,
    /// A verdict, by its place in the order of storing.
    Verdict,
    /// The case of the verdict in that place.
    Case,
    /// The place of a verdict, by its id.
    VerdictPlace,
    /// What is known of a verdict that the watch has raised, by its id.
    Raised,
    /// The watch over a service.
    Watch,
    /// Something that people are to be told and that nobody has taken up: instant, what, verdict.
    Notice,
    /// What people are told of and what was told, by its id.
    Incident,
    /// A silence, by its id.
    Silence,
    /// An operator, by name.
    Operator,
    /// Something that an operator did, by its number.
    Act,
    /// The store's own counters.
    Meta,
    /// The second and later pieces of a long value: the key of the first, then a number.
    Piece,
}

impl Kind {
    /// Every kind.
    pub(super) const ALL: [Self; 25] = [
        Self::Agent,
        Self::Service,
        Self::Token,
        Self::Watermark,
        Self::Observation,
        Self::FailedObservation,
        Self::Window,
        Self::Counted,
        Self::Series,
        Self::Report,
        Self::Trace,
        Self::Round,
        Self::RoundSummary,
        Self::Verdict,
        Self::Case,
        Self::VerdictPlace,
        Self::Raised,
        Self::Watch,
        Self::Notice,
        Self::Incident,
        Self::Silence,
        Self::Operator,
        Self::Act,
        Self::Meta,
        Self::Piece,
    ];

    const fn letter(self) -> u8 {
        match self {
            Self::Agent => b'a',
            Self::Service => b's',
            Self::Token => b't',
            Self::Watermark => b'w',
            Self::Observation => b'o',
            Self::FailedObservation => b'f',
            Self::Window => b'h',
            Self::Counted => b'y',
            Self::Series => b'n',
            Self::Report => b'r',
            Self::Trace => b'b',
            Self::Round => b'q',
            Self::RoundSummary => b'k',
            Self::Verdict => b'v',
            Self::Case => b'c',
            Self::VerdictPlace => b'd',
            Self::Raised => b'i',
            Self::Watch => b'e',
            Self::Notice => b'p',
            Self::Incident => b'g',
            Self::Silence => b'l',
            Self::Operator => b'z',
            Self::Act => b'u',
            Self::Meta => b'm',
            Self::Piece => b'x',
        }
    }

    /// The key of this kind that ends with the given bytes.
    pub(super) fn key(self, rest: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(1 + rest.len());
        key.push(self.letter());
        key.extend_from_slice(rest);
        key
    }

    /// The first key of this kind, in a range's form.
    pub(super) fn start(self) -> Vec<u8> {
        vec![self.letter()]
    }

    /// The first key after all of this kind.
    pub(super) fn end(self) -> Vec<u8> {
        vec![self.letter() + 1]
    }

    /// The first key of this kind at or after an instant, for kinds that begin with one.
    pub(super) fn at(self, at_us: u64) -> Vec<u8> {
        self.key(&at_us.to_be_bytes())
    }

    /// The first key of this kind of a service at or after an instant, for kinds that begin with both.
    pub(super) fn of_at(self, service: ServiceNumber, at_us: u64) -> Vec<u8> {
        let mut rest = Vec::with_capacity(12);
        rest.extend_from_slice(&service.0.to_be_bytes());
        rest.extend_from_slice(&at_us.to_be_bytes());
        self.key(&rest)
    }

    /// The first key of this kind after all of a service.
    pub(super) fn end_of(self, service: ServiceNumber) -> Vec<u8> {
        match service.0.checked_add(1) {
            Some(next) => self.key(&next.to_be_bytes()),
            None => self.end(),
        }
    }
}

/// The number of a service. Zero is none, in series of before services had numbers.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub(super) struct ServiceNumber(pub u32);

/// The number of a series: one service, vantage point and arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SeriesId(pub u32);

/// Length of a minute in microseconds.
pub(super) const MINUTE_US: u64 = 60_000_000;

/// Names a latency window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WindowKey {
    pub service: ServiceNumber,
    /// Start of its minute, in microseconds of mesh time.
    pub minute_us: u64,
    pub series: SeriesId,
    pub layer: Layer,
}

impl WindowKey {
    /// Length of a key, in bytes.
    pub(super) const BYTES: usize = 18;

    pub(super) fn bytes(self) -> Vec<u8> {
        let mut rest = Vec::with_capacity(Self::BYTES - 1);
        rest.extend_from_slice(&self.service.0.to_be_bytes());
        rest.extend_from_slice(&self.minute_us.to_be_bytes());
        rest.extend_from_slice(&self.series.0.to_be_bytes());
        rest.push(layer_byte(self.layer));
        Kind::Window.key(&rest)
    }

    /// `None` for bytes that are no window's key.
    pub(super) fn parse(key: &[u8]) -> Option<Self> {
        let rest: &[u8; Self::BYTES - 1] = key.get(1..)?.try_into().ok()?;
        let (service, rest) = rest.split_first_chunk::<4>()?;
        let (minute, rest) = rest.split_first_chunk::<8>()?;
        let (series, rest) = rest.split_first_chunk::<4>()?;
        Some(Self {
            service: ServiceNumber(u32::from_be_bytes(*service)),
            minute_us: u64::from_be_bytes(*minute),
            series: SeriesId(u32::from_be_bytes(*series)),
            layer: layer_of(*rest.first()?)?,
        })
    }
}

/// Names an observation, failed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ObservationKey {
    pub service: ServiceNumber,
    /// Its round's instant, in microseconds of mesh time.
    pub at_us: u64,
    pub series: SeriesId,
    pub sequence: u64,
}

impl ObservationKey {
    /// Length of a key, in bytes.
    const BYTES: usize = 25;

    pub(super) fn bytes(self, kind: Kind) -> Vec<u8> {
        let mut rest = Vec::with_capacity(Self::BYTES - 1);
        rest.extend_from_slice(&self.service.0.to_be_bytes());
        rest.extend_from_slice(&self.at_us.to_be_bytes());
        rest.extend_from_slice(&self.series.0.to_be_bytes());
        rest.extend_from_slice(&self.sequence.to_be_bytes());
        kind.key(&rest)
    }

    /// `None` for bytes that are no observation's key.
    pub(super) fn parse(key: &[u8]) -> Option<Self> {
        let rest: &[u8; Self::BYTES - 1] = key.get(1..)?.try_into().ok()?;
        let (service, rest) = rest.split_first_chunk::<4>()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (series, rest) = rest.split_first_chunk::<4>()?;
        Some(Self {
            service: ServiceNumber(u32::from_be_bytes(*service)),
            at_us: u64::from_be_bytes(*at),
            series: SeriesId(u32::from_be_bytes(*series)),
            sequence: u64::from_be_bytes(rest.try_into().ok()?),
        })
    }
}

/// Series and sequence in an observation's key, of this layout or of one before: they stand at its end.
pub(super) fn end_of_observation(key: &[u8]) -> Option<(SeriesId, u64)> {
    let (_, end) = key.split_last_chunk::<12>()?;
    let (series, sequence) = end.split_first_chunk::<4>()?;
    let sequence = u64::from_be_bytes(sequence.try_into().ok()?);
    Some((SeriesId(u32::from_be_bytes(*series)), sequence))
}

pub(super) fn report(to_us: u64, sequence: u64, witness: &VantageName) -> Vec<u8> {
    Kind::Report.key(&of_agent(to_us, sequence, witness))
}

pub(super) fn trace(started_us: u64, sequence: u64, vantage: &VantageName) -> Vec<u8> {
    Kind::Trace.key(&of_agent(started_us, sequence, vantage))
}

/// The end of the key of what an agent says by the time, whatever the service.
fn of_agent(at_us: u64, sequence: u64, agent: &VantageName) -> Vec<u8> {
    let mut rest = Vec::with_capacity(16 + agent.0.len());
    rest.extend_from_slice(&at_us.to_be_bytes());
    rest.extend_from_slice(&sequence.to_be_bytes());
    rest.extend_from_slice(agent.0.as_bytes());
    rest
}

pub(super) fn round(fire_at_us: u64, round: u64) -> Vec<u8> {
    let mut rest = Vec::with_capacity(16);
    rest.extend_from_slice(&fire_at_us.to_be_bytes());
    rest.extend_from_slice(&round.to_be_bytes());
    Kind::Round.key(&rest)
}

pub(super) fn series(id: SeriesId) -> Vec<u8> {
    Kind::Series.key(&id.0.to_be_bytes())
}

/// The number in a series' key.
pub(super) fn series_id(key: &[u8]) -> Option<SeriesId> {
    let bytes: [u8; 4] = key.get(1..)?.try_into().ok()?;
    Some(SeriesId(u32::from_be_bytes(bytes)))
}

pub(super) fn agent(name: &VantageName) -> Vec<u8> {
    Kind::Agent.key(name.0.as_bytes())
}

pub(super) fn watermark(name: &VantageName) -> Vec<u8> {
    Kind::Watermark.key(name.0.as_bytes())
}

pub(super) fn counted(name: &VantageName) -> Vec<u8> {
    Kind::Counted.key(name.0.as_bytes())
}

pub(super) fn service(name: &ServiceName) -> Vec<u8> {
    Kind::Service.key(name.0.as_bytes())
}

pub(super) fn round_summary(name: &ServiceName) -> Vec<u8> {
    Kind::RoundSummary.key(name.0.as_bytes())
}

pub(super) fn watch(name: &ServiceName) -> Vec<u8> {
    Kind::Watch.key(name.0.as_bytes())
}

pub(super) fn raised(verdict: &str) -> Vec<u8> {
    Kind::Raised.key(verdict.as_bytes())
}

/// In the order in which they were decided; what begins stands before what is over at the same instant.
pub(super) fn notice(notice: &Notice) -> Vec<u8> {
    let mut rest = Vec::with_capacity(9 + notice.verdict.len());
    rest.extend_from_slice(&notice.at_us.to_be_bytes());
    rest.push(match notice.what {
        Noticed::Raised => 0,
        Noticed::Over => 1,
    });
    rest.extend_from_slice(notice.verdict.as_bytes());
    Kind::Notice.key(&rest)
}

pub(super) fn incident(id: &str) -> Vec<u8> {
    Kind::Incident.key(id.as_bytes())
}

pub(super) fn silence(id: &str) -> Vec<u8> {
    Kind::Silence.key(id.as_bytes())
}

pub(super) fn operator(name: &str) -> Vec<u8> {
    Kind::Operator.key(name.as_bytes())
}

pub(super) fn act(number: u64) -> Vec<u8> {
    Kind::Act.key(&number.to_be_bytes())
}

pub(super) fn token(secret: &SecretHash) -> Vec<u8> {
    Kind::Token.key(&secret.0)
}

pub(super) fn verdict(kind: Kind, place: u64) -> Vec<u8> {
    kind.key(&place.to_be_bytes())
}

/// The key of the `number`-th further piece of a long value.
pub(super) fn piece(head: &[u8], number: u32) -> Vec<u8> {
    let mut rest = Vec::with_capacity(head.len() + 4);
    rest.extend_from_slice(head);
    rest.extend_from_slice(&number.to_be_bytes());
    Kind::Piece.key(&rest)
}

const fn layer_byte(layer: Layer) -> u8 {
    match layer {
        Layer::Dns => 1,
        Layer::Tcp => 2,
        Layer::Tls => 3,
        Layer::Http => 4,
    }
}

const fn layer_of(byte: u8) -> Option<Layer> {
    match byte {
        1 => Some(Layer::Dns),
        2 => Some(Layer::Tcp),
        3 => Some(Layer::Tls),
        4 => Some(Layer::Http),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_keys_come_back_and_sort_by_time() {
        let mut last = Vec::new();
        for minute in [0, 1, 255, 256, u64::MAX / MINUTE_US] {
            for layer in [Layer::Dns, Layer::Tcp, Layer::Tls, Layer::Http] {
                let key = WindowKey {
                    service: ServiceNumber(3),
                    minute_us: minute * MINUTE_US,
                    series: SeriesId(70_000),
                    layer,
                };
                assert_eq!(WindowKey::parse(&key.bytes()), Some(key));
                assert!(key.bytes() > last);
                last = key.bytes();
            }
        }
        assert_eq!(WindowKey::parse(b"h"), None);
        assert_eq!(WindowKey::parse(&[0; WindowKey::BYTES]), None);
    }

    #[test]
    fn observation_keys_come_back_and_stand_by_service() {
        let mut last = Vec::new();
        for service in [1, 2, 256].map(ServiceNumber) {
            for at_us in [0, 255, 1_700_000_000_000_000] {
                let key = ObservationKey {
                    service,
                    at_us,
                    series: SeriesId(70_000),
                    sequence: 1 << 60,
                };
                let bytes = key.bytes(Kind::Observation);
                assert_eq!(ObservationKey::parse(&bytes), Some(key));
                assert!(bytes > last);
                assert!(bytes >= Kind::Observation.of_at(service, at_us));
                assert!(bytes < Kind::Observation.of_at(service, at_us + 1));
                assert!(bytes < Kind::Observation.end_of(service));
                last = bytes;
            }
        }
        assert_eq!(ObservationKey::parse(b"o"), None);
    }
}
