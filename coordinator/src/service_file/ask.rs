//! How a service is asked and what a good answer is, from TOML's texts.

use proto::spec::{self, Expect, Method, Pattern, Request, Status, Versions};
use toml::Spanned;

use super::parse::{Place, TIMEOUT, duration};
use super::raw::{self, Text};
use super::{Problem, ServiceFileError};

impl Place<'_> {
    pub(super) fn request(&self, raw: &raw::Request) -> Result<Request, ServiceFileError> {
        if let Some(follow) = raw.follow.as_ref().filter(|follow| *follow.get_ref() != 0) {
            return Err(self.value("request.follow", follow, Problem::Follow, "0"));
        }
        let method = self.method(raw)?;
        Ok(Request {
            method,
            headers: self.headers(raw)?,
            body: match &raw.body {
                None => String::new(),
                Some(text) => spec::body(method, text.get_ref()).map_err(|flaw| {
                    // A body may be long, and may hold what is nobody's business.
                    self.value("request.body", &named(text, "..."), flaw, "\"\"")
                })?,
            },
            versions: self.versions(raw)?,
        })
    }

    pub(super) fn expect(
        &self,
        raw: &raw::Expect,
        request: &raw::Request,
    ) -> Result<Expect, ServiceFileError> {
        Ok(Expect {
            statuses: match &raw.status {
                None => Vec::new(),
                Some(statuses) => self.statuses(statuses)?,
            },
            body: match &raw.body {
                None => None,
                Some(text) => Some(self.pattern(text, self.method(request)?)?),
            },
            max_first_byte: match &raw.max_ttfb {
                None => None,
                Some(text) => {
                    let limit = duration(text.get_ref(), &TIMEOUT, Problem::Timeout);
                    let refuse = |flaw| self.refuse(text, "expect.max_ttfb", flaw, "\"2s\"");
                    Some(limit.map_err(refuse)?)
                }
            },
        })
    }

    fn method(&self, raw: &raw::Request) -> Result<Method, ServiceFileError> {
        let Some(text) = &raw.method else {
            return Ok(Method::Get);
        };
        Method::parse(text.get_ref())
            .map_err(|flaw| self.refuse(text, "request.method", flaw, "\"GET\""))
    }

    /// A header that is refused is called by its name alone: its value may be a secret.
    fn headers(&self, raw: &raw::Request) -> Result<Vec<spec::Header>, ServiceFileError> {
        let written = raw.headers.iter();
        let written = written.map(|(name, value)| (name.as_str(), value.get_ref().as_str()));
        Request::headers(written).map_err(|(name, flaw)| ServiceFileError::Value {
            line: raw.headers.get(&name).map_or(0, |value| self.line(value)),
            field: "request.headers",
            value: name,
            problem: flaw.into(),
            example: "{ Authorization = \"env:SHOP_TOKEN\" }",
        })
    }

    fn versions(&self, raw: &raw::Request) -> Result<Versions, ServiceFileError> {
        let Some(names) = &raw.http else {
            return Ok(Versions::Either);
        };
        let refuse = |problem| {
            let written = named(names, &names.get_ref().join(", "));
            self.value("request.http", &written, problem, "[\"1.1\", \"2\"]")
        };
        if names.get_ref().is_empty() {
            return Err(refuse(Problem::NoVersion));
        }
        let names = names.get_ref().iter().map(String::as_str);
        Versions::parse(names).map_err(|flaw| refuse(flaw.into()))
    }

    fn statuses(
        &self,
        raw: &Spanned<Vec<Spanned<raw::Status>>>,
    ) -> Result<Vec<Status>, ServiceFileError> {
        const EXAMPLE: &str = "[\"2xx\", 301]";
        let mut statuses = Vec::new();
        for entry in raw.get_ref() {
            let read = match entry.get_ref() {
                raw::Status::Code(code) => Status::code(*code),
                raw::Status::Class(class) => Status::class(class),
            };
            let refuse = |flaw| self.value("expect.status", entry, flaw, EXAMPLE);
            statuses.push(read.map_err(refuse)?);
        }
        let count = named(raw, &format!("{} entries", statuses.len()));
        Expect::statuses(statuses)
            .map_err(|flaw| self.value("expect.status", &count, flaw, EXAMPLE))
    }

    fn pattern(&self, text: &Text, method: Method) -> Result<Pattern, ServiceFileError> {
        let refuse = |problem| self.refuse(text, "expect.body", problem, "\"Welcome\"");
        match method {
            Method::Head => Err(refuse(Problem::NoBody)),
            Method::Get | Method::Post | Method::Options => {
                Pattern::parse(text.get_ref()).map_err(|flaw| refuse(flaw.into()))
            }
        }
    }

    fn value<T: ToString>(
        &self,
        field: &'static str,
        at: &Spanned<T>,
        problem: impl Into<Problem>,
        example: &'static str,
    ) -> ServiceFileError {
        ServiceFileError::Value {
            line: self.line(at),
            field,
            value: at.get_ref().to_string(),
            problem: problem.into(),
            example,
        }
    }
}

/// Something in its place, called so.
fn named<T>(at: &Spanned<T>, name: &str) -> Spanned<String> {
    Spanned::new(at.span(), name.to_owned())
}
