//! The service file as TOML spells it.

use std::collections::BTreeMap;
use std::fmt;

use localize::{Scheme, VipMode};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use toml::Spanned;

/// A text with its place in the file.
pub(super) type Text = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub name: Text,
    pub url: Text,
    pub large_path: Option<Text>,
    #[serde(default)]
    pub tls: Tls,
    #[serde(default)]
    pub dns: Dns,
    #[serde(default)]
    pub cdn: Cdn,
    #[serde(default)]
    pub load_balancer: LoadBalancer,
    #[serde(default)]
    pub backend: Vec<Spanned<Backend>>,
    #[serde(default)]
    pub request: Request,
    #[serde(default)]
    pub expect: Expect,
    #[serde(default)]
    pub schedule: Schedule,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub ca_file: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dns {
    #[serde(default)]
    pub authoritative: Vec<Text>,
    #[serde(default)]
    pub resolvers: Vec<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cdn {
    pub provider: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoadBalancer {
    #[serde(default)]
    pub vip: Vec<Text>,
    pub mode: Option<VipMode>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backend {
    pub name: Text,
    pub address: Text,
    pub scheme: Option<Scheme>,
    pub path: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub method: Option<Text>,
    #[serde(default)]
    pub headers: BTreeMap<String, Text>,
    pub body: Option<Text>,
    pub http: Option<Spanned<Vec<String>>>,
    pub follow: Option<Spanned<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    pub status: Option<Spanned<Vec<Spanned<Status>>>>,
    pub body: Option<Text>,
    pub max_ttfb: Option<Text>,
}

/// A status as a number, or a class of them as a text.
#[derive(Debug)]
pub(super) enum Status {
    Code(i64),
    Class(String),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => code.fmt(f),
            Self::Class(class) => class.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Status;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status such as 301, or a class such as \"2xx\"")
            }

            fn visit_i64<E: Error>(self, code: i64) -> Result<Status, E> {
                Ok(Status::Code(code))
            }

            fn visit_str<E: Error>(self, class: &str) -> Result<Status, E> {
                Ok(Status::Class(class.to_owned()))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Schedule {
    pub every: Option<Text>,
    #[serde(default)]
    pub timeout: Timeout,
    pub reuse_ports: Option<bool>,
    pub accept_gzip: Option<bool>,
    pub keep_cookies: Option<bool>,
    pub large_hello: Option<bool>,
    pub bursts: Option<bool>,
    pub trace: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeout {
    pub dns: Option<Text>,
    pub connect: Option<Text>,
    pub tls: Option<Text>,
    pub total: Option<Text>,
}
