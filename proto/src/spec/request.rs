//! How a service is asked.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use localize::HttpVersion;

/// How a service is asked, beyond what its url says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Headers besides the probe's own, or in place of them.
    pub headers: Vec<Header>,
    /// The body; empty for none.
    pub body: String,
    /// The versions of HTTP that are spoken.
    pub versions: Versions,
}

/// The methods that a probe may use: those that ask, and POST where a service knows no other question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// GET.
    #[default]
    Get,
    /// HEAD: GET without the body.
    Head,
    /// POST.
    Post,
    /// OPTIONS.
    Options,
}

/// The versions of HTTP that a probe speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/1.1, or HTTP/2 with a server that speaks nothing else.
    #[default]
    Either,
    /// One version and no other.
    Only(HttpVersion),
}

/// A header of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name, in lower case.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// A value, or where the agent's host has it. What is referred to never leaves that host but in the
/// requests that it is for.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// The value itself.
    Literal(String),
    /// The environment variable of the agent that holds it.
    Env(String),
    /// The file of the agent's host that holds it.
    File(PathBuf),
}

/// A method or version that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// The method.
    #[error("a method is GET, HEAD, POST or OPTIONS")]
    Method,
    /// The version.
    #[error("a version of HTTP is \"1.1\" or \"2\", each once")]
    Version,
}

/// Why a header cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFlaw {
    /// Not the name of a header.
    #[error(
        "a header's name has 1 to {MAX_NAME} letters, digits and characters of !#$%&'*+-.^_`|~"
    )]
    Name,
    /// A header that frames the request or names the service.
    #[error("this header is the probe's own: it follows from url, method, body and connection")]
    Own,
    /// The same name again.
    #[error("this header is there already; names differ by more than upper and lower case")]
    Duplicate,
    /// A value that would not arrive as it is written.
    #[error(
        "a value has at most {MAX_VALUE} visible ASCII characters and blanks, and no blank at its ends"
    )]
    Value,
    /// Not a variable.
    #[error("env: is followed by the name of a variable, for example env:SHOP_TOKEN")]
    Variable,
    /// Not a path that means the same wherever the agent runs.
    #[error("file: is followed by an absolute path without '..', for example file:/etc/mesh/token")]
    Path,
    /// More headers than are sent.
    #[error("at most {MAX_HEADERS} headers are sent")]
    TooMany,
}

/// Why a body cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFlaw {
    /// A request that has none.
    #[error("only a POST has a body")]
    Method,
    /// Longer than a probe's may be.
    #[error("a body has at most {} KiB", MAX_BODY >> 10)]
    TooLong,
    /// A reference where none is followed.
    #[error("a body is sent as it stands; env: and file: are for headers")]
    Reference,
}

const MAX_NAME: usize = 64;
/// Longest value, in bytes: servers take 8 KiB for all headers together.
pub const MAX_VALUE: usize = 4096;
const MAX_HEADERS: usize = 16;
/// Longest body, in bytes: it is sent by every arm of every round.
const MAX_BODY: usize = 16 << 10;

/// What frames a message or a connection (RFC 9110, sections 7 and 8.6; RFC 9113, section 8.2.2), names the
/// service or the round, or would change the form in which answers are compared.
const OWN: [&str; 14] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "keep-alive",
    "proxy-connection",
    "http2-settings",
    "range",
    "accept-encoding",
    "mesh-round",
];

impl Request {
    /// Headers by name and value, as written.
    ///
    /// # Errors
    /// The first that cannot be sent, and why.
    pub fn headers<'a>(
        written: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Vec<Header>, (String, HeaderFlaw)> {
        let mut names = BTreeSet::new();
        let mut headers = Vec::new();
        for (name, value) in written {
            let refuse = |flaw| (name.to_owned(), flaw);
            let header = Header::parse(name, value).map_err(refuse)?;
            if !names.insert(header.name.clone()) {
                return Err(refuse(HeaderFlaw::Duplicate));
            }
            if names.len() > MAX_HEADERS {
                return Err(refuse(HeaderFlaw::TooMany));
            }
            headers.push(header);
        }
        Ok(headers)
    }
}

/// A body that may be sent with a method.
///
/// # Errors
/// When it may not.
pub fn body(method: Method, text: &str) -> Result<String, BodyFlaw> {
    if text.len() > MAX_BODY {
        return Err(BodyFlaw::TooLong);
    }
    if text.starts_with("env:") || text.starts_with("file:") {
        return Err(BodyFlaw::Reference);
    }
    match method {
        Method::Post => Ok(text.to_owned()),
        Method::Get | Method::Head | Method::Options if text.is_empty() => Ok(String::new()),
        Method::Get | Method::Head | Method::Options => Err(BodyFlaw::Method),
    }
}

impl Method {
    /// A method by its name; the empty one is GET.
    ///
    /// # Errors
    /// When no probe uses it.
    pub fn parse(text: &str) -> Result<Self, Unknown> {
        match text {
            "" | "GET" => Ok(Self::Get),
            "HEAD" => Ok(Self::Head),
            "POST" => Ok(Self::Post),
            "OPTIONS" => Ok(Self::Options),
            _ => Err(Unknown::Method),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Options => "OPTIONS",
        }
    }
}

impl Versions {
    /// Versions by their names; none, or both of them, leave the choice to the server.
    ///
    /// # Errors
    /// When one is not known, or is there twice.
    pub fn parse<'a>(written: impl IntoIterator<Item = &'a str>) -> Result<Self, Unknown> {
        let (mut one, mut two) = (false, false);
        for version in written {
            let seen = match version {
                "1.1" => &mut one,
                "2" => &mut two,
                _ => return Err(Unknown::Version),
            };
            if std::mem::replace(seen, true) {
                return Err(Unknown::Version);
            }
        }
        Ok(match (one, two) {
            (true, false) => Self::Only(HttpVersion::One),
            (false, true) => Self::Only(HttpVersion::Two),
            (true, true) | (false, false) => Self::Either,
        })
    }

    /// Their names.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Either => &["1.1", "2"],
            Self::Only(HttpVersion::One) => &["1.1"],
            Self::Only(HttpVersion::Two) => &["2"],
        }
    }

    /// Whether a version is among them.
    #[must_use]
    pub fn holds(self, version: HttpVersion) -> bool {
        match self {
            Self::Either => true,
            Self::Only(only) => only == version,
        }
    }
}

impl Header {
    fn parse(name: &str, value: &str) -> Result<Self, HeaderFlaw> {
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(token) {
            return Err(HeaderFlaw::Name);
        }
        let name = name.to_ascii_lowercase();
        if OWN.contains(&name.as_str()) {
            return Err(HeaderFlaw::Own);
        }
        Ok(Self {
            name,
            value: Value::parse(value)?,
        })
    }
}

impl Value {
    /// A value as written: `env:NAME`, `file:PATH`, or the value itself.
    ///
    /// # Errors
    /// When it is neither of them.
    pub fn parse(text: &str) -> Result<Self, HeaderFlaw> {
        if let Some(name) = text.strip_prefix("env:") {
            return match is_variable(name) {
                true => Ok(Self::Env(name.to_owned())),
                false => Err(HeaderFlaw::Variable),
            };
        }
        if let Some(path) = text.strip_prefix("file:") {
            return match is_plain_path(path) {
                true => Ok(Self::File(PathBuf::from(path))),
                false => Err(HeaderFlaw::Path),
            };
        }
        match is_sendable(text) {
            true => Ok(Self::Literal(text.to_owned())),
            false => Err(HeaderFlaw::Value),
        }
    }
}

/// Whether a header's value arrives as it is sent (RFC 9110, section 5.5).
#[must_use]
pub fn is_sendable(text: &str) -> bool {
    let visible = |c: char| c.is_ascii_graphic() || c == ' ' || c == '\t';
    text.len() <= MAX_VALUE && text.chars().all(visible) && text.trim() == text
}

fn is_variable(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.len() <= MAX_NAME && name.starts_with(begins) && name.chars().all(plain)
}

fn is_plain_path(text: &str) -> bool {
    use std::path::Component;
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    let path = Path::new(text);
    text.len() <= MAX_VALUE
        && !text.contains(char::is_control)
        && path.is_absolute()
        && path.file_name().is_some()
        && path.components().all(plain)
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(text),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// A literal may be a secret all the same, and stays out of logs.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Literal(..)"),
            Self::Env(_) | Self::File(_) => write!(f, "{self}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_literal_or_refer_to_the_host() {
        let rows = [
            ("abc def", Ok(Value::Literal("abc def".into()))),
            ("", Ok(Value::Literal(String::new()))),
            ("environment", Ok(Value::Literal("environment".into()))),
            ("env:SHOP_TOKEN", Ok(Value::Env("SHOP_TOKEN".into()))),
            ("file:/etc/t", Ok(Value::File("/etc/t".into()))),
            ("env:", Err(HeaderFlaw::Variable)),
            ("env:A B", Err(HeaderFlaw::Variable)),
            ("env:1A", Err(HeaderFlaw::Variable)),
            ("file:etc/t", Err(HeaderFlaw::Path)),
            ("file:/etc/../t", Err(HeaderFlaw::Path)),
            ("file:/", Err(HeaderFlaw::Path)),
            ("file:", Err(HeaderFlaw::Path)),
            (" a", Err(HeaderFlaw::Value)),
            ("a\r\nb: c", Err(HeaderFlaw::Value)),
            ("grüße", Err(HeaderFlaw::Value)),
        ];
        for (text, value) in rows {
            assert_eq!(Value::parse(text), value, "{text:?}");
            if let Ok(value) = value {
                assert_eq!(value.to_string(), text);
            }
        }
        let long = "x".repeat(MAX_VALUE + 1);
        assert_eq!(Value::parse(&long), Err(HeaderFlaw::Value));
    }

    #[test]
    fn headers_have_names_of_their_own() {
        let rows: [(&[(&str, &str)], HeaderFlaw); 6] = [
            (&[("", "x")], HeaderFlaw::Name),
            (&[("X Y", "x")], HeaderFlaw::Name),
            (&[("Host", "x")], HeaderFlaw::Own),
            (&[("Content-Length", "x")], HeaderFlaw::Own),
            (&[("X-A", "1"), ("x-a", "2")], HeaderFlaw::Duplicate),
            (&[("X-A", "a\nb")], HeaderFlaw::Value),
        ];
        for (written, flaw) in rows {
            let refused = Request::headers(written.iter().copied()).unwrap_err();
            assert_eq!(refused.1, flaw, "{written:?}");
        }
        let names: Vec<String> = (0..=MAX_HEADERS).map(|n| format!("x-{n}")).collect();
        let many = names.iter().map(|name| (name.as_str(), "1"));
        let refused = Request::headers(many).unwrap_err();
        assert_eq!(refused, ("x-16".to_owned(), HeaderFlaw::TooMany));
    }

    #[test]
    fn a_literal_stays_out_of_logs() {
        let headers = Request::headers([("Authorization", "Bearer abc")]).unwrap();
        assert!(!format!("{headers:?}").contains("abc"));
    }

    #[test]
    fn versions_are_named_once() {
        let rows: [(&[&str], Result<Versions, Unknown>); 7] = [
            (&[], Ok(Versions::Either)),
            (&["1.1", "2"], Ok(Versions::Either)),
            (&["2", "1.1"], Ok(Versions::Either)),
            (&["2"], Ok(Versions::Only(HttpVersion::Two))),
            (&["1.1"], Ok(Versions::Only(HttpVersion::One))),
            (&["3"], Err(Unknown::Version)),
            (&["2", "2"], Err(Unknown::Version)),
        ];
        for (written, versions) in rows {
            let read = Versions::parse(written.iter().copied());
            assert_eq!(read, versions, "{written:?}");
        }
    }

    #[test]
    fn bodies_go_with_posts() {
        let rows = [
            (Method::Post, "a", Ok("a".to_owned())),
            (Method::Post, "", Ok(String::new())),
            (Method::Get, "", Ok(String::new())),
            (Method::Get, "a", Err(BodyFlaw::Method)),
            (Method::Post, "file:/etc/x", Err(BodyFlaw::Reference)),
        ];
        for (method, text, expected) in rows {
            assert_eq!(body(method, text), expected, "{method:?} {text}");
        }
        let long = "x".repeat(MAX_BODY + 1);
        assert_eq!(body(Method::Post, &long), Err(BodyFlaw::TooLong));
    }
}
