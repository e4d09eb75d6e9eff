//! Where in its file a declaration stands, for what is said of it.

use std::net::SocketAddr;
use std::ops::Range;

use toml::Spanned;

use super::parse::{Place, address};
use super::raw::{self, Text};

/// A declaration: where it stands, and as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declaration {
    /// Its line, from 1.
    pub line: usize,
    /// The field with its tables and its place in a list.
    pub field: String,
    /// Its value as TOML; empty for what may be a secret.
    pub value: String,
}

/// The declarations of a service file.
#[derive(Debug)]
pub struct Declarations<'t> {
    text: &'t str,
    raw: Option<raw::File>,
}

impl<'t> Declarations<'t> {
    /// Of a text that [`super::ServiceFile::parse`] reads; of another there are none.
    #[must_use]
    pub fn of(text: &'t str) -> Self {
        Self {
            text,
            raw: toml::from_str(text).ok(),
        }
    }

    /// What users ask for.
    #[must_use]
    pub fn url(&self) -> Option<Declaration> {
        self.plain("url", &self.raw.as_ref()?.url)
    }

    /// The path of something large.
    #[must_use]
    pub fn large_path(&self) -> Option<Declaration> {
        self.plain("large_path", self.raw.as_ref()?.large_path.as_ref()?)
    }

    /// The further trust anchors.
    #[must_use]
    pub fn ca_file(&self) -> Option<Declaration> {
        self.plain("tls.ca_file", self.raw.as_ref()?.tls.ca_file.as_ref()?)
    }

    /// Who runs the edges.
    #[must_use]
    pub fn provider(&self) -> Option<Declaration> {
        self.plain("cdn.provider", self.raw.as_ref()?.cdn.provider.as_ref()?)
    }

    /// A resolver.
    #[must_use]
    pub fn resolver(&self, server: SocketAddr) -> Option<Declaration> {
        let list = &self.raw.as_ref()?.dns.resolvers;
        self.listed("dns.resolvers", list, 53, server)
    }

    /// A name server.
    #[must_use]
    pub fn name_server(&self, server: SocketAddr) -> Option<Declaration> {
        let list = &self.raw.as_ref()?.dns.authoritative;
        self.listed("dns.authoritative", list, 53, server)
    }

    /// A virtual address, for a url of some port.
    #[must_use]
    pub fn vip(&self, vip: SocketAddr, port: u16) -> Option<Declaration> {
        let list = &self.raw.as_ref()?.load_balancer.vip;
        self.listed("load_balancer.vip", list, port, vip)
    }

    /// The address of a backend.
    #[must_use]
    pub fn backend(&self, name: &str) -> Option<Declaration> {
        let mut all = self.raw.as_ref()?.backend.iter().map(Spanned::get_ref);
        let index = all.position(|backend| backend.name.get_ref() == name)?;
        let backend = self.raw.as_ref()?.backend.get(index)?.get_ref();
        self.plain(&format!("backend[{index}].address"), &backend.address)
    }

    /// A header that is sent; without its value, which may be a secret.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<Declaration> {
        let headers = &self.raw.as_ref()?.request.headers;
        let mut headers = headers.iter();
        let (written, value) = headers.find(|(written, _)| written.eq_ignore_ascii_case(name))?;
        let declaration = self.plain(&format!("request.headers.{written}"), value)?;
        Some(Declaration {
            value: String::new(),
            ..declaration
        })
    }

    /// The statuses of a good answer.
    #[must_use]
    pub fn status(&self) -> Option<Declaration> {
        self.plain("expect.status", self.raw.as_ref()?.expect.status.as_ref()?)
    }

    /// What the body of a good answer holds.
    #[must_use]
    pub fn body(&self) -> Option<Declaration> {
        self.plain("expect.body", self.raw.as_ref()?.expect.body.as_ref()?)
    }

    /// How late the first byte may be.
    #[must_use]
    pub fn max_ttfb(&self) -> Option<Declaration> {
        self.plain(
            "expect.max_ttfb",
            self.raw.as_ref()?.expect.max_ttfb.as_ref()?,
        )
    }

    /// The first entry of a list that stands for an address.
    fn listed(
        &self,
        field: &str,
        list: &[Text],
        port: u16,
        wanted: SocketAddr,
    ) -> Option<Declaration> {
        let is = |text: &Text| address(text.get_ref(), Some(port)) == Ok(wanted);
        let index = list.iter().position(is)?;
        self.plain(&format!("{field}[{index}]"), list.get(index)?)
    }

    fn plain<T>(&self, field: &str, value: &Spanned<T>) -> Option<Declaration> {
        let span: Range<usize> = value.span();
        Some(Declaration {
            line: Place { text: self.text }.line(value),
            field: field.to_owned(),
            value: self.text.get(span)?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"name = "shop.example"
url  = "https://shop.example:8443/"
[dns]
authoritative = ["192.0.2.53"]
resolvers = [
  "192.0.2.1",
  "192.0.2.2:5353",
]
[load_balancer]
vip = ["203.0.113.10", "203.0.113.11:443"]
[[backend]]
name = "web1"
address = "10.0.0.51:80"
[[backend]]
name = "web2"
address = "10.0.0.52"
[request]
headers = { Authorization = "Bearer 1234" }
[expect]
status = ["2xx", 301]
"#;

    #[test]
    fn each_declaration_has_its_line() {
        let places = Declarations::of(FILE);
        let at = |text: &str| text.parse().expect("address");
        let rows: [(Option<Declaration>, usize, &str, &str); 9] = [
            (places.url(), 2, "url", "\"https://shop.example:8443/\""),
            (
                places.name_server(at("192.0.2.53:53")),
                4,
                "dns.authoritative[0]",
                "\"192.0.2.53\"",
            ),
            (
                places.resolver(at("192.0.2.2:5353")),
                7,
                "dns.resolvers[1]",
                "\"192.0.2.2:5353\"",
            ),
            (
                places.vip(at("203.0.113.10:8443"), 8443),
                10,
                "load_balancer.vip[0]",
                "\"203.0.113.10\"",
            ),
            (
                places.vip(at("203.0.113.11:443"), 8443),
                10,
                "load_balancer.vip[1]",
                "\"203.0.113.11:443\"",
            ),
            (
                places.backend("web2"),
                16,
                "backend[1].address",
                "\"10.0.0.52\"",
            ),
            (
                places.header("authorization"),
                18,
                "request.headers.Authorization",
                "",
            ),
            (places.status(), 20, "expect.status", "[\"2xx\", 301]"),
            (
                places.backend("web1"),
                13,
                "backend[0].address",
                "\"10.0.0.51:80\"",
            ),
        ];
        for (found, line, field, value) in rows {
            let expected = Declaration {
                line,
                field: field.to_owned(),
                value: value.to_owned(),
            };
            assert_eq!(found, Some(expected));
        }
        assert_eq!(places.body(), None);
        assert_eq!(places.vip(at("203.0.113.12:443"), 8443), None);
        assert_eq!(places.backend("web3"), None);
    }
}
