//! What a good answer is, and the search for it in a body that passes by.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use localize::{Failure, Micros};
use proto::spec::{Expect, Pattern, Status};

use crate::clock;
use crate::failure;

/// What a good answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    statuses: Statuses,
    body: Option<Arc<Pattern>>,
    first_byte: Option<Micros>,
}

/// Which statuses pass.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Statuses {
    /// All below 400.
    NoError,
    /// These, whatever they mean.
    Listed(Arc<[Status]>),
    /// All below 400, and these.
    NoErrorOr(Arc<[Status]>),
}

impl Expected {
    /// Of the page that the service's url names.
    #[must_use]
    pub fn of(expect: &Expect) -> Self {
        Self {
            statuses: match expect.statuses.as_slice() {
                [] => Statuses::NoError,
                listed => Statuses::Listed(listed.into()),
            },
            body: expect.body.clone().map(Arc::new),
            first_byte: expect
                .max_first_byte
                .map(|limit: Duration| Micros(clock::micros(limit))),
        }
    }

    /// Of another page of the service, of which nothing is known but that it may answer alike.
    #[must_use]
    pub fn elsewhere(&self) -> Self {
        Self {
            statuses: match &self.statuses {
                Statuses::NoError => Statuses::NoError,
                Statuses::Listed(listed) | Statuses::NoErrorOr(listed) => {
                    Statuses::NoErrorOr(Arc::clone(listed))
                }
            },
            body: None,
            first_byte: None,
        }
    }

    /// Without regard to the body, where none is asked for.
    #[must_use]
    pub fn without_body(self) -> Self {
        Self { body: None, ..self }
    }

    /// What a whole answer is held against, or `None`. What a CDN says by itself is told as that, since
    /// it says more of who failed than that nobody expects it.
    pub(super) fn failure(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        found: bool,
        first_byte: Option<Micros>,
    ) -> Option<Failure> {
        let error = failure::status(status, headers);
        let code = status.as_u16();
        let listed = |statuses: &[Status]| statuses.iter().any(|s| s.holds(code));
        let unwanted = match &self.statuses {
            Statuses::NoError => error,
            Statuses::NoErrorOr(statuses) => error.filter(|_| !listed(statuses)),
            Statuses::Listed(statuses) if listed(statuses) => None,
            Statuses::Listed(_) => Some(match error {
                Some(Failure::CdnStatus(code)) => Failure::CdnStatus(code),
                Some(_) | None => Failure::UnexpectedStatus(code),
            }),
        };
        if unwanted.is_some() {
            return unwanted;
        }
        if self.body.is_some() && !found {
            return Some(Failure::UnexpectedBody);
        }
        match (self.first_byte, first_byte) {
            (Some(limit), Some(took)) if took > limit => Some(Failure::LateFirstByte),
            (Some(_) | None, _) => None,
        }
    }

    pub(super) fn search(&self) -> Option<Search> {
        let pattern = Arc::clone(self.body.as_ref()?);
        Some(Search {
            pattern,
            kept: Vec::new(),
            found: false,
        })
    }
}

/// Looks for a pattern in a body that comes in pieces.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pattern: Arc<Pattern>,
    kept: Vec<u8>,
    found: bool,
}

/// Bytes of a body that a regular expression is looked for in: most pages are shorter, and for all probes
/// that an agent may have under way at once it stays below a quarter of the memory that its unit gives it.
/// A text is looked for in all that is read.
pub(super) const SEARCHED: usize = 256 << 10;

impl Search {
    /// Takes in the next piece.
    pub(super) fn take(&mut self, piece: &[u8]) {
        if self.found {
            return;
        }
        match self.pattern.reach() {
            Some(reach) => {
                self.kept.extend_from_slice(piece);
                self.found = self.pattern.is_in(&self.kept);
                let again = self.kept.len().saturating_sub(reach.saturating_sub(1));
                self.kept.drain(..again);
            }
            None => {
                let room = SEARCHED.saturating_sub(self.kept.len());
                let piece = &piece[..piece.len().min(room)];
                self.kept.extend_from_slice(piece);
            }
        }
    }

    /// Whether it was there, once the body has ended.
    pub(super) fn found(&self) -> bool {
        self.found || self.pattern.reach().is_none() && self.pattern.is_in(&self.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(statuses: &[Status]) -> Expected {
        Expected::of(&Expect {
            statuses: statuses.to_vec(),
            body: None,
            max_first_byte: Some(Duration::from_millis(50)),
        })
    }

    #[test]
    fn a_status_passes_where_it_is_expected() {
        use Failure as F;
        let no_error = expected(&[]);
        let listed = expected(&[Status::Class(2), Status::Code(404)]);
        let elsewhere = listed.elsewhere();
        let rows = [
            (&no_error, 200, None),
            (&no_error, 302, None),
            (&no_error, 404, Some(F::HttpStatus(404))),
            (&listed, 204, None),
            (&listed, 404, None),
            (&listed, 302, Some(F::UnexpectedStatus(302))),
            (&listed, 403, Some(F::UnexpectedStatus(403))),
            (&listed, 503, Some(F::UnexpectedStatus(503))),
            (&elsewhere, 302, None),
            (&elsewhere, 404, None),
            (&elsewhere, 403, Some(F::HttpStatus(403))),
        ];
        for (expected, code, failure) in rows {
            let status = StatusCode::from_u16(code).unwrap();
            let said = expected.failure(status, &HeaderMap::new(), true, Some(Micros(1)));
            assert_eq!(said, failure, "{expected:?} {code}");
        }
    }

    #[test]
    fn what_a_cdn_says_by_itself_is_told_as_that() {
        let mut headers = HeaderMap::new();
        headers.insert("cf-ray", "1".parse().unwrap());
        let status = StatusCode::from_u16(522).unwrap();
        let listed = expected(&[Status::Class(2)]);
        let said = listed.failure(status, &headers, true, None);
        assert_eq!(said, Some(Failure::CdnStatus(522)));
    }

    /// The first byte is judged last: a wrong answer says more than a late one.
    #[test]
    fn a_late_answer_must_be_a_good_one() {
        let late = Some(Micros(50_001));
        let rows = [
            (200, Some(Micros(50_000)), None),
            (200, late, Some(Failure::LateFirstByte)),
            (404, late, Some(Failure::HttpStatus(404))),
        ];
        for (code, first_byte, failure) in rows {
            let status = StatusCode::from_u16(code).unwrap();
            let said = expected(&[]).failure(status, &HeaderMap::new(), true, first_byte);
            assert_eq!(said, failure, "{code} {first_byte:?}");
        }
    }

    #[test]
    fn a_pattern_is_found_over_the_seams() {
        let rows: [(&str, &[&str], bool); 7] = [
            ("Welcome", &["<h1>Welcome</h1>"], true),
            ("Welcome", &["<h1>We", "lco", "me</h1>"], true),
            ("Welcome", &["W", "e", "l", "c", "o", "m", "e"], true),
            ("Welcome", &["Wel", "", "come"], true),
            ("Welcome", &["We", "ird", "lcome"], false),
            ("/W.*e!/", &["<h1>We", "lcome", "!"], true),
            ("/^Wel/", &["We", "lcome"], true),
        ];
        for (written, pieces, found) in rows {
            let expect = Expect {
                body: Some(Pattern::parse(written).unwrap()),
                ..Expect::default()
            };
            let mut search = Expected::of(&expect).search().unwrap();
            for piece in pieces {
                search.take(piece.as_bytes());
            }
            assert_eq!(search.found(), found, "{written} {pieces:?}");
        }
    }

    #[test]
    fn a_search_keeps_little() {
        let piece = vec![b'x'; 1 << 20];
        for (written, most) in [("Welcome", 6), ("/Welcome/", SEARCHED)] {
            let expect = Expect {
                body: Some(Pattern::parse(written).unwrap()),
                ..Expect::default()
            };
            let mut search = Expected::of(&expect).search().unwrap();
            search.take(&piece);
            search.take(&piece);
            assert!(search.kept.len() <= most, "{written}");
            search.take(b"Welcome");
            assert_eq!(search.found(), written == "Welcome", "{written}");
        }
    }
}
