//! The service file as TOML spells it.

use localize::{Scheme, VipMode};
use serde::Deserialize;
use toml::Spanned;

/// A text with its place in the file.
pub(super) type Text = Spanned<String>;

#[derive(Deserialize)]
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
    pub schedule: Schedule,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub ca_file: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dns {
    #[serde(default)]
    pub authoritative: Vec<Text>,
    #[serde(default)]
    pub resolvers: Vec<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cdn {
    pub provider: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoadBalancer {
    #[serde(default)]
    pub vip: Vec<Text>,
    pub mode: Option<VipMode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backend {
    pub name: Text,
    pub address: Text,
    pub scheme: Option<Scheme>,
    pub path: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Schedule {
    pub every: Option<Text>,
    #[serde(default)]
    pub timeout: Timeout,
    pub reuse_ports: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeout {
    pub dns: Option<Text>,
    pub connect: Option<Text>,
    pub tls: Option<Text>,
    pub total: Option<Text>,
}
