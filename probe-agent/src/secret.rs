//! The headers that a service asks for, with the values that stand on this host: they go into requests, and
//! nowhere else.

use std::borrow::Cow;
use std::fmt;

use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use proto::spec::{Header, Value};

use crate::policy::{SecretError, Secrets};
use crate::probe::cookie::Jar;

/// Headers with their values. What was looked up on this host is hidden wherever it comes back.
#[derive(Clone, Default)]
pub struct Sent {
    headers: HeaderMap,
    secrets: Vec<String>,
}

/// What is told in place of what holds a secret.
pub const HIDDEN: &str = "(hidden)";

impl Sent {
    /// Looks the values up.
    ///
    /// # Errors
    /// When one is not there, or not given out.
    pub fn look_up(headers: &[Header], secrets: &Secrets) -> Result<Self, SecretError> {
        let mut sent = Self::default();
        for header in headers {
            let value = secrets.value(&header.value)?;
            let unsendable = || SecretError::Unsendable(header.value.clone());
            let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| unsendable())?;
            let mut sendable = HeaderValue::from_str(&value).map_err(|_| unsendable())?;
            match header.value {
                Value::Literal(_) => {}
                Value::Env(_) | Value::File(_) => {
                    sendable.set_sensitive(true);
                    sent.keep_secret(value);
                }
            }
            sent.headers.insert(name, sendable);
        }
        Ok(sent)
    }

    /// The same with cookies that the arm was given, behind those of the service's own; what comes back of
    /// them is hidden as well.
    #[must_use]
    pub fn with_cookies(&self, jar: &Jar) -> Option<Self> {
        let (given, values) = jar.header()?;
        let mut sent = self.clone();
        let cookies = match self.headers.get(COOKIE) {
            Some(own) => [own.as_bytes(), b"; ", given.as_bytes()].concat(),
            None => given.as_bytes().to_vec(),
        };
        let mut cookies = HeaderValue::from_bytes(&cookies).ok()?;
        cookies.set_sensitive(true);
        sent.headers.insert(COOKIE, cookies);
        for value in values {
            sent.keep_secret(value);
        }
        Some(sent)
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A text of a server, or that it is hidden because a secret is in it.
    #[must_use]
    pub fn hidden<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let holds = |text: &str| {
            let text = text.to_ascii_lowercase();
            self.secrets.iter().any(|s| text.contains(s.as_str()))
        };
        match !self.secrets.is_empty() && (holds(text) || holds(&decoded(text))) {
            true => Cow::Borrowed(HIDDEN),
            false => Cow::Borrowed(text),
        }
    }

    /// Of a value in words, as `Bearer TOKEN` is one, the last is the secret. All is compared in lower
    /// case, as servers may change that of what they send back.
    fn keep_secret(&mut self, value: String) {
        let value = value.to_ascii_lowercase();
        let last = value.rsplit([' ', '\t']).next().unwrap_or_default();
        self.secrets.push(last.to_owned());
        self.secrets.push(value);
    }
}

/// The names alone.
impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.headers.keys()).finish()
    }
}

/// Without the escapes of a URL (RFC 3986, section 2.1), in which a redirect may carry a secret on.
fn decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        plain.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use proto::spec::Request;

    use super::*;
    use crate::policy::Policy;

    fn sent(headers: &[(&str, &str)]) -> Result<Sent, SecretError> {
        let headers = Request::headers(headers.iter().copied()).unwrap();
        Sent::look_up(&headers, Policy::default().secrets())
    }

    /// The value is that of a variable that Cargo sets: `probe-agent`.
    #[test]
    fn what_comes_back_is_hidden() {
        let sent = sent(&[("X-Key", "env:CARGO_PKG_NAME"), ("X-Plain", "nothing")]).unwrap();
        assert_eq!(sent.headers()["x-key"], "probe-agent");
        let rows = [
            ("nothing", "nothing"),
            ("probe-agent", HIDDEN),
            ("x=Probe-Agent; y", HIDDEN),
            ("/login?key=probe%2Dagent", HIDDEN),
            ("/login?key=%70robe-agent&x=100%", HIDDEN),
            ("50% of 100%", "50% of 100%"),
        ];
        for (text, told) in rows {
            assert_eq!(sent.hidden(text), told, "{text}");
        }
        let shown = format!("{sent:?} {:?}", sent.headers());
        assert!(!shown.contains("probe-agent"), "{shown}");
        assert!(shown.contains("x-key"), "{shown}");
    }

    #[test]
    fn the_last_word_is_a_secret_by_itself() {
        let mut sent = Sent::default();
        sent.keep_secret("Bearer abcdef".to_owned());
        assert_eq!(sent.hidden("token=abcdef"), HIDDEN);
        assert_eq!(sent.hidden("Bearer"), "Bearer");
    }

    #[test]
    fn what_is_missing_is_said() {
        let error = sent(&[("X-Key", "env:NO_SUCH_VARIABLE")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "env:NO_SUCH_VARIABLE is not set in the agent's environment"
        );
    }
}
