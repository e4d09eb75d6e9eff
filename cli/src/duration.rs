//! Lengths of time as people type them: `60s`, `15m`, `1h30m`, `500ms`.

use std::time::Duration;

/// Why a text is not a length of time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing was given.
    #[error("empty; write for instance 30s, 15m, 1h30m or 500ms")]
    Empty,
    /// A unit without a number before it.
    #[error("no number before `{0}`; write for instance 30s, 15m, 1h30m or 500ms")]
    NoNumber(String),
    /// A number without a unit after it.
    #[error("no unit after {0}; write {0}s, {0}m, {0}h, {0}d or {0}ms")]
    NoUnit(u64),
    /// A unit that is none.
    #[error("`{0}` is no unit of time; there are ms, s, m, h and d")]
    UnknownUnit(String),
    /// More than 64 bits of milliseconds.
    #[error("too long")]
    TooLong,
    /// Nobody could use it in that time.
    #[error("too short; give it a second at least")]
    TooShort,
}

/// Reads a length of time: numbers with the units `d`, `h`, `m`, `s` and `ms`, added up. A lone `0`
/// needs no unit.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    match text {
        "" => return Err(DurationError::Empty),
        "0" => return Ok(Duration::ZERO),
        _ => {}
    }
    let mut rest = text;
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, next) = split(after, |c| !c.is_ascii_digit());
        if number.is_empty() {
            return Err(DurationError::NoNumber(unit.to_owned()));
        }
        let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
        if unit.is_empty() {
            return Err(DurationError::NoUnit(number));
        }
        millis = number
            .checked_mul(unit_in_millis(unit)?)
            .and_then(|part| millis.checked_add(part))
            .ok_or(DurationError::TooLong)?;
        rest = next;
    }
    Ok(Duration::from_millis(millis))
}

/// The same, of a time in which something is to be done.
pub fn at_least_a_second(text: &str) -> Result<Duration, DurationError> {
    parse(text).and_then(|length| match length >= Duration::from_secs(1) {
        true => Ok(length),
        false => Err(DurationError::TooShort),
    })
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn unit_in_millis(unit: &str) -> Result<u64, DurationError> {
    match unit.trim() {
        "ms" => Ok(1),
        "s" => Ok(1_000),
        "m" => Ok(60_000),
        "h" => Ok(3_600_000),
        "d" => Ok(86_400_000),
        other => Err(DurationError::UnknownUnit(other.to_owned())),
    }
}

/// A whole number of milliseconds, as the wire has it.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_could_use_is_refused() {
        for text in ["0", "0s", "999ms"] {
            assert_eq!(
                at_least_a_second(text),
                Err(DurationError::TooShort),
                "{text}"
            );
        }
        assert_eq!(at_least_a_second("1s"), Ok(Duration::from_secs(1)));
    }

    #[test]
    fn lengths_of_time() {
        let rows = [
            ("60s", Ok(60_000)),
            ("15m", Ok(900_000)),
            ("1h30m", Ok(5_400_000)),
            ("500ms", Ok(500)),
            ("2d", Ok(172_800_000)),
            ("1m 30s", Ok(90_000)),
            ("0", Ok(0)),
            ("0s", Ok(0)),
            ("", Err(DurationError::Empty)),
            ("60", Err(DurationError::NoUnit(60))),
            ("s", Err(DurationError::NoNumber("s".to_owned()))),
            ("-5s", Err(DurationError::NoNumber("-".to_owned()))),
            ("5y", Err(DurationError::UnknownUnit("y".to_owned()))),
            ("99999999999999999999s", Err(DurationError::TooLong)),
            ("9999999999999999999h", Err(DurationError::TooLong)),
        ];
        for (text, expected) in rows {
            assert_eq!(
                parse(text),
                expected.map(Duration::from_millis),
                "of {text:?}"
            );
        }
    }
}
