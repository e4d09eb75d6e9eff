//! What a good answer is.

use std::fmt;
use std::time::Duration;

use super::Pattern;

/// What a good answer is, as far as the service file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// The statuses that pass, whatever they mean elsewhere; empty for all below 400.
    pub statuses: Vec<Status>,
    /// What the body must hold.
    pub body: Option<Pattern>,
    /// How long the first byte of the answer may take after the request's last one.
    pub max_first_byte: Option<Duration>,
}

/// A status that is expected, or a class of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// One status.
    Code(u16),
    /// All statuses of one first digit.
    Class(u16),
}

/// Why something is no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatusFlaw {
    /// Out of the range of HTTP (RFC 9110, section 15).
    #[error("a status is a number from 200 to 599, or a class from \"2xx\" to \"5xx\"")]
    NoStatus,
    /// None at all, or more than can be meant.
    #[error("one status at least is expected, and at most {MAX_STATUSES}")]
    Count,
}

/// Most entries of a list of statuses: more than HTTP has names for.
pub(super) const MAX_STATUSES: usize = 64;

impl Expect {
    /// Whether it says what a good answer holds, not only how soon it must come.
    #[must_use]
    pub fn is_declared(&self) -> bool {
        !self.statuses.is_empty() || self.body.is_some()
    }

    /// Whether it says nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.is_declared() && self.max_first_byte.is_none()
    }

    /// Checks the number of statuses of a list that was written.
    ///
    /// # Errors
    /// When it holds none, or too many.
    pub fn statuses(statuses: Vec<Status>) -> Result<Vec<Status>, StatusFlaw> {
        if (1..=MAX_STATUSES).contains(&statuses.len()) {
            Ok(statuses)
        } else {
            Err(StatusFlaw::Count)
        }
    }
}

impl Status {
    /// A status by its number.
    ///
    /// # Errors
    /// When no final answer has it.
    pub fn code(number: i64) -> Result<Self, StatusFlaw> {
        match u16::try_from(number) {
            Ok(code @ 200..=599) => Ok(Self::Code(code)),
            Ok(_) | Err(_) => Err(StatusFlaw::NoStatus),
        }
    }

    /// A class by its name, `2xx` to `5xx`.
    ///
    /// # Errors
    /// When it is none.
    pub fn class(text: &str) -> Result<Self, StatusFlaw> {
        match text.strip_suffix("xx") {
            Some("2") => Ok(Self::Class(2)),
            Some("3") => Ok(Self::Class(3)),
            Some("4") => Ok(Self::Class(4)),
            Some("5") => Ok(Self::Class(5)),
            Some(_) | None => Err(StatusFlaw::NoStatus),
        }
    }

    /// Whether a status is this one, or of this class.
    #[must_use]
    pub fn holds(self, status: u16) -> bool {
        let (first, last) = self.range();
        (first..=last).contains(&status)
    }

    /// The first and the last of the statuses.
    #[must_use]
    pub fn range(self) -> (u16, u16) {
        match self {
            Self::Code(code) => (code, code),
            Self::Class(digit) => (digit * 100, digit * 100 + 99),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code}"),
            Self::Class(digit) => write!(f, "{digit}xx"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbers_and_classes() {
        let rows = [
            (Status::class("2xx"), 204, true),
            (Status::class("2xx"), 301, false),
            (Status::class("4xx"), 499, true),
            (Status::code(404), 404, true),
            (Status::code(404), 405, false),
        ];
        for (status, answer, held) in rows {
            assert_eq!(status.unwrap().holds(answer), held, "{status:?} {answer}");
        }
        for class in ["1xx", "6xx", "200", "2XX", "xx", "22xx", ""] {
            assert_eq!(Status::class(class), Err(StatusFlaw::NoStatus), "{class}");
        }
        for code in [-1, 0, 99, 101, 600, 70_000] {
            assert_eq!(Status::code(code), Err(StatusFlaw::NoStatus), "{code}");
        }
        assert_eq!(Expect::statuses(Vec::new()), Err(StatusFlaw::Count));
        let many = vec![Status::Code(200); MAX_STATUSES + 1];
        assert_eq!(Expect::statuses(many), Err(StatusFlaw::Count));
    }
}
