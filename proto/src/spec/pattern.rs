//! What a body must hold: a text, or a regular expression between slashes.

use regex::bytes::{Regex, RegexBuilder};

/// A text or regular expression that a body is searched for. Two are equal when they are written alike.
#[derive(Clone, Debug)]
pub struct Pattern {
    written: String,
    regex: Regex,
    reach: Option<usize>,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternFlaw {
    /// Every body holds it.
    #[error("every body holds this; without an expectation leave it out")]
    Empty,
    /// Longer than a pattern may be.
    #[error("a pattern has at most {MAX_PATTERN} bytes")]
    TooLong,
    /// Not a regular expression.
    #[error("this is not a regular expression: {0}")]
    Syntax(String),
    /// A regular expression that takes too much memory.
    #[error("as a program this regular expression is larger than {} KiB", PROGRAM >> 10)]
    TooLarge,
}

/// Longest pattern, in bytes: it is sent to every agent.
const MAX_PATTERN: usize = 1000;
/// Most memory that a compiled pattern and its cache take each, in bytes: some hundred times what usual
/// patterns need, and little for an agent that has one for each of its services.
const PROGRAM: usize = 1 << 20;

impl Pattern {
    /// Reads a pattern: `/regex/` is a regular expression in the syntax of the `regex` crate, anything
    /// else the text itself.
    ///
    /// # Errors
    /// When every body would match, or the expression cannot be compiled within its bounds.
    pub fn parse(written: &str) -> Result<Self, PatternFlaw> {
        if written.len() > MAX_PATTERN {
            return Err(PatternFlaw::TooLong);
        }
        let inside = written.strip_prefix('/').and_then(|t| t.strip_suffix('/'));
        let (expression, reach) = match inside {
            Some(expression) => (expression.to_owned(), None),
            None => (regex::escape(written), Some(written.len())),
        };
        if expression.is_empty() {
            return Err(PatternFlaw::Empty);
        }
        let regex = RegexBuilder::new(&expression)
            .size_limit(PROGRAM)
            .dfa_size_limit(PROGRAM)
            .build()
            .map_err(|error| flaw(&error))?;
        if regex.is_match(b"") && regex.is_match(b"\x01") {
            return Err(PatternFlaw::Empty);
        }
        Ok(Self {
            written: written.to_owned(),
            regex,
            reach,
        })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether it is found in these bytes.
    #[must_use]
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.regex.is_match(bytes)
    }

    /// The bytes that a match spans at most; `None` where there is no such bound.
    #[must_use]
    pub fn reach(&self) -> Option<usize> {
        self.reach
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Pattern {}

/// The library draws syntax errors over several lines, of which the last says what is wrong.
fn flaw(error: &regex::Error) -> PatternFlaw {
    if matches!(error, regex::Error::CompiledTooBig(_)) {
        return PatternFlaw::TooLarge;
    }
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    PatternFlaw::Syntax(last.trim_start_matches("error: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_expressions_are_found() {
        let rows = [
            ("Welcome", "<h1>Welcome</h1>", true),
            ("Welcome", "<h1>welcome</h1>", false),
            ("a.c", "abc", false),
            ("/a.c/", "xabcx", true),
            ("/^ok$/", "ok", true),
            ("/^ok$/", "ok\n", false),
            ("/(?i)welcome/", "WELCOME", true),
            ("/^$/", "", true),
            ("/^$/", "x", false),
            ("/", "a/b", true),
            ("/static/app.js", "href=/static/app.js", true),
            ("Grüße", "viele Grüße", true),
        ];
        for (written, body, found) in rows {
            let pattern = Pattern::parse(written).unwrap();
            assert_eq!(pattern.is_in(body.as_bytes()), found, "{written} {body}");
        }
        assert_eq!(Pattern::parse("Welcome").unwrap().reach(), Some(7));
        assert_eq!(Pattern::parse("/Welcome/").unwrap().reach(), None);
    }

    #[test]
    fn each_flaw_has_its_pattern() {
        let rows = [
            (String::new(), "every body holds this"),
            ("//".to_owned(), "every body holds this"),
            ("/a*/".to_owned(), "every body holds this"),
            (
                "/(a/".to_owned(),
                "not a regular expression: unclosed group",
            ),
            ("/a{10000}{1000}/".to_owned(), "larger than 1024 KiB"),
            ("x".repeat(1001), "at most 1000 bytes"),
        ];
        for (written, sentence) in rows {
            let flaw = Pattern::parse(&written).unwrap_err().to_string();
            assert!(flaw.contains(sentence), "{written:.20}: {flaw}");
            assert!(!flaw.contains('\n'), "{flaw}");
        }
    }
}
