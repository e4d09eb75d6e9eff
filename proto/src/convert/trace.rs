//! The ways to targets that did not answer.

use localize::{Heard, RoundId, ServiceName, Trace, VantageName};

use super::{Malformed, few, ip, micros, name, narrow, socket};
use crate::v1;
use crate::v1::trace_hop::Heard as Word;

/// Hops of one way: a few more than any packet of the Internet takes.
const MAX_HOPS: usize = 64;

impl From<Heard> for v1::TraceHop {
    fn from(heard: Heard) -> Self {
        let hop = |word: Word, rtt: localize::Micros| Self {
            heard: word.into(),
            rtt_us: rtt.0,
            ..Self::default()
        };
        match heard {
            Heard::Silence => hop(Word::Silence, localize::Micros(0)),
            Heard::Expired { by, rtt } => Self {
                by: by.to_string(),
                ..hop(Word::Expired, rtt)
            },
            Heard::Unreachable { by, code, rtt } => Self {
                by: by.to_string(),
                code: code.into(),
                ..hop(Word::Unreachable, rtt)
            },
            Heard::Accepted { rtt } => hop(Word::SynAck, rtt),
            Heard::Refused { rtt } => hop(Word::Reset, rtt),
            Heard::Unsent => hop(Word::Unsent, localize::Micros(0)),
        }
    }
}

impl TryFrom<v1::TraceHop> for Heard {
    type Error = Malformed;

    fn try_from(wire: v1::TraceHop) -> Result<Self, Malformed> {
        let word = Word::try_from(wire.heard).map_err(|_| Malformed::Unknown {
            field: "hop.heard",
            value: wire.heard.into(),
        })?;
        let rtt = micros("hop.rtt", wire.rtt_us)?;
        Ok(match word {
            Word::Unspecified => return Err(Malformed::Missing("hop.heard")),
            Word::Silence => Self::Silence,
            Word::Expired => Self::Expired {
                by: ip("hop.by", &wire.by)?,
                rtt,
            },
            Word::Unreachable => Self::Unreachable {
                by: ip("hop.by", &wire.by)?,
                code: narrow("hop.code", wire.code, u8::MAX.into())?,
                rtt,
            },
            Word::SynAck => Self::Accepted { rtt },
            Word::Reset => Self::Refused { rtt },
            Word::Unsent => Self::Unsent,
        })
    }
}

impl From<&Trace> for v1::Trace {
    fn from(trace: &Trace) -> Self {
        Self {
            vantage: trace.vantage.0.clone(),
            sequence: trace.sequence,
            service: trace.service.0.clone(),
            round: trace.round.0,
            from: trace.from.to_string(),
            to: trace.to.to_string(),
            started: Some(trace.started.into()),
            hops: trace.hops.iter().map(|heard| (*heard).into()).collect(),
            whole: trace.whole.map(Into::into),
        }
    }
}

impl TryFrom<v1::Trace> for Trace {
    type Error = Malformed;

    fn try_from(wire: v1::Trace) -> Result<Self, Malformed> {
        few("trace.hops", &wire.hops, MAX_HOPS)?;
        let hops = wire.hops.into_iter().map(TryInto::try_into);
        Ok(Self {
            vantage: VantageName(name("trace.vantage", wire.vantage)?),
            sequence: wire.sequence,
            service: ServiceName(name("trace.service", wire.service)?),
            round: RoundId(wire.round),
            from: socket("trace.from", &wire.from)?,
            to: socket("trace.to", &wire.to)?,
            started: wire
                .started
                .ok_or(Malformed::Missing("trace.started"))?
                .try_into()?,
            hops: hops.collect::<Result<_, Malformed>>()?,
            whole: wire.whole.map(TryInto::try_into).transpose()?,
        })
    }
}
