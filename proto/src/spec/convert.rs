//! Between the wire and the parts of a specification.

use std::time::Duration;

use super::{Expect, Method, Pattern, Request, SpecError, Status, StatusFlaw, Versions, body};
use crate::v1;

impl From<&Request> for v1::RequestSpec {
    fn from(request: &Request) -> Self {
        let headers = request.headers.iter().map(|header| v1::Header {
            name: header.name.clone(),
            value: header.value.to_string(),
        });
        Self {
            method: request.method.as_str().to_owned(),
            headers: headers.collect(),
            body: request.body.clone(),
            http: request
                .versions
                .names()
                .iter()
                .map(ToString::to_string)
                .collect(),
        }
    }
}

impl TryFrom<v1::RequestSpec> for Request {
    type Error = SpecError;

    fn try_from(wire: v1::RequestSpec) -> Result<Self, SpecError> {
        let method = Method::parse(&wire.method)?;
        let written = wire.headers.iter();
        let headers = Self::headers(written.map(|h| (h.name.as_str(), h.value.as_str())))
            .map_err(|(name, flaw)| SpecError::Header { name, flaw })?;
        Ok(Self {
            method,
            headers,
            body: body(method, &wire.body)?,
            versions: Versions::parse(wire.http.iter().map(String::as_str))?,
        })
    }
}

impl From<&Expect> for v1::Expect {
    fn from(expect: &Expect) -> Self {
        let statuses = expect.statuses.iter().map(|status| {
            let (first, last) = status.range();
            v1::StatusRange {
                first: first.into(),
                last: last.into(),
            }
        });
        Self {
            statuses: statuses.collect(),
            body: match &expect.body {
                Some(pattern) => pattern.as_str().to_owned(),
                None => String::new(),
            },
            max_first_byte_ms: match expect.max_first_byte {
                // Service files bound it to a minute.
                Some(limit) => u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
                None => 0,
            },
        }
    }
}

impl TryFrom<v1::Expect> for Expect {
    type Error = SpecError;

    fn try_from(wire: v1::Expect) -> Result<Self, SpecError> {
        let statuses: Vec<Status> = wire
            .statuses
            .iter()
            .map(status)
            .collect::<Result<_, SpecError>>()?;
        Ok(Self {
            statuses,
            body: match wire.body.as_str() {
                "" => None,
                written => Some(Pattern::parse(written)?),
            },
            max_first_byte: match wire.max_first_byte_ms {
                0 => None,
                millis => Some(Duration::from_millis(millis.into())),
            },
        })
    }
}

/// A status, or a whole class: nothing else can be written.
fn status(range: &v1::StatusRange) -> Result<Status, SpecError> {
    let &v1::StatusRange { first, last } = range;
    let refuse = |flaw| SpecError::Status { first, last, flaw };
    if first == last {
        return Status::code(first.into()).map_err(refuse);
    }
    let classes = [2, 3, 4, 5].map(Status::Class);
    let mut classes = classes.into_iter();
    classes
        .find(|class| {
            let (from, to) = class.range();
            (u32::from(from), u32::from(to)) == (first, last)
        })
        .ok_or(refuse(StatusFlaw::NoStatus))
}
