//! From TOML's texts to the values that they stand for.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use localize::topology::BALANCER_HOST;
use localize::{Backend, CdnProvider, NameServer, Scheme, ServiceName, VipMode};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use toml::Spanned;
use url::{Host, Url};

use super::raw::{self, Text};
use super::{Extra, Problem, ServiceFile, ServiceFileError, ServiceUrl, Timeouts};

/// Longest service file read, in bytes: as many backends as allowed take a tenth of it.
pub(super) const MAX_FILE_BYTES: usize = 64 << 10;

/// Most servers in a list: each is asked by every vantage point in every round.
const MAX_SERVERS: usize = 16;
/// Most backends: each is asked from every address of every inside vantage point.
const MAX_BACKENDS: usize = 64;
const MAX_NAME: usize = 64;

const EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
pub(super) const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(60);

pub(super) fn service_file(
    text: &str,
    ca_pem: Option<&str>,
) -> Result<ServiceFile, ServiceFileError> {
    if text.len() > MAX_FILE_BYTES {
        return Err(ServiceFileError::TooLong { bytes: text.len() });
    }
    let raw: raw::File = toml::from_str(text)
        .map_err(|error| ServiceFileError::Syntax(error.to_string().trim_end().to_owned()))?;
    let place = Place { text };
    let url = place.url(&raw.url)?;
    let authoritative = place.servers(
        &raw.dns.authoritative,
        "dns.authoritative",
        "[\"192.0.2.53\"]",
        53,
    )?;
    Ok(ServiceFile {
        name: place.service_name(&raw.name)?,
        ca_pem: place.anchors(raw.tls.ca_file.as_ref(), ca_pem)?,
        name_servers: authoritative.into_iter().map(name_server).collect(),
        resolvers: place.servers(&raw.dns.resolvers, "dns.resolvers", "[\"192.0.2.1\"]", 53)?,
        cdn: place.provider(raw.cdn.provider.as_ref())?,
        vips: place.servers(
            &raw.load_balancer.vip,
            "load_balancer.vip",
            "[\"203.0.113.10:443\"]",
            url.port,
        )?,
        vip_mode: raw.load_balancer.mode.unwrap_or(VipMode::Auto),
        backends: place.backends(&raw.backend, &url)?,
        request: place.request(&raw.request)?,
        expect: place.expect(&raw.expect, &raw.request)?,
        every: place.every(raw.schedule.every.as_ref())?,
        timeouts: place.timeouts(&raw.schedule.timeout)?,
        large_path: match &raw.large_path {
            Some(path) => Some(place.path(path, "large_path", "\"/static/app.js\"")?),
            None => None,
        },
        port_reuse: extra(raw.schedule.reuse_ports),
        gzip: extra(raw.schedule.accept_gzip),
        cookies: extra(raw.schedule.keep_cookies),
        large_hello: extra(raw.schedule.large_hello),
        bursts: extra(raw.schedule.bursts),
        trace: extra(raw.schedule.trace),
        url,
    })
}

/// What nobody speaks of is probed.
fn extra(written: Option<bool>) -> Extra {
    match written {
        Some(true) | None => Extra::Probed,
        Some(false) => Extra::LeftOut,
    }
}

/// The text, for the lines of what was found in it.
pub(super) struct Place<'a> {
    pub(super) text: &'a str,
}

impl Place<'_> {
    pub(super) fn line<T>(&self, spanned: &Spanned<T>) -> usize {
        let before = self.text.get(..spanned.span().start).unwrap_or(self.text);
        1 + before.bytes().filter(|byte| *byte == b'\n').count()
    }

    pub(super) fn refuse(
        &self,
        text: &Text,
        field: &'static str,
        problem: impl Into<Problem>,
        example: &'static str,
    ) -> ServiceFileError {
        ServiceFileError::Value {
            line: self.line(text),
            field,
            value: text.get_ref().clone(),
            problem: problem.into(),
            example,
        }
    }

    fn service_name(&self, text: &Text) -> Result<ServiceName, ServiceFileError> {
        if is_name(text.get_ref()) {
            return Ok(ServiceName(text.get_ref().clone()));
        }
        Err(self.refuse(text, "name", Problem::Name, "\"shop.example\""))
    }

    fn url(&self, text: &Text) -> Result<ServiceUrl, ServiceFileError> {
        let refuse = |problem| self.refuse(text, "url", problem, "\"https://shop.example/\"");
        let url = Url::parse(text.get_ref()).map_err(|_| refuse(Problem::Url))?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(refuse(Problem::UrlScheme)),
        };
        let host = match url.host() {
            Some(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => return Err(refuse(Problem::UrlHost)),
            None => return Err(refuse(Problem::Url)),
        };
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(refuse(Problem::UrlExtras));
        }
        let port = url.port_or_known_default().filter(|port| *port != 0);
        Ok(ServiceUrl {
            text: url.to_string(),
            scheme,
            port: port.ok_or_else(|| refuse(Problem::Nowhere))?,
            authority: match url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.clone(),
            },
            path: match url.query() {
                Some(query) => format!("{}?{query}", url.path()),
                None => url.path().to_owned(),
            },
            host,
        })
    }

    /// The trust anchors; a text that nobody named is used all the same.
    fn anchors(
        &self,
        file: Option<&Text>,
        ca_pem: Option<&str>,
    ) -> Result<Option<String>, ServiceFileError> {
        match (file, ca_pem) {
            (None, None) => Ok(None),
            (Some(file), None) => Err(ServiceFileError::CaMissing {
                line: self.line(file),
                value: file.get_ref().clone(),
            }),
            (_, Some(pem)) => {
                let mut found = 0;
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    certificate.map_err(|_| ServiceFileError::CaUnreadable)?;
                    found += 1;
                }
                match found {
                    0 => Err(ServiceFileError::CaUnreadable),
                    _ => Ok(Some(pem.to_owned())),
                }
            }
        }
    }

    fn servers(
        &self,
        texts: &[Text],
        field: &'static str,
        example: &'static str,
        default_port: u16,
    ) -> Result<Vec<SocketAddr>, ServiceFileError> {
        if let Some(beyond) = texts.get(MAX_SERVERS) {
            return Err(ServiceFileError::TooMany {
                line: self.line(beyond),
                field,
                count: texts.len(),
                limit: MAX_SERVERS,
            });
        }
        let mut servers = Vec::new();
        for text in texts {
            let server = address(text.get_ref(), Some(default_port))
                .map_err(|problem| self.refuse(text, field, problem, example))?;
            // The same server twice is asked once.
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
        Ok(servers)
    }

    fn provider(&self, text: Option<&Text>) -> Result<CdnProvider, ServiceFileError> {
        let Some(text) = text else {
            return Ok(CdnProvider::Auto(None));
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        match text.get_ref().as_str() {
            "auto" => Ok(CdnProvider::Auto(None)),
            "none" => Ok(CdnProvider::None),
            name if is_name(name) && name.chars().all(plain) => {
                Ok(CdnProvider::Named(name.to_owned()))
            }
            _ => Err(self.refuse(text, "cdn.provider", Problem::Provider, "\"cloudflare\"")),
        }
    }

    fn backends(
        &self,
        raw: &[Spanned<raw::Backend>],
        url: &ServiceUrl,
    ) -> Result<Vec<Backend>, ServiceFileError> {
        if let Some(beyond) = raw.get(MAX_BACKENDS) {
            return Err(ServiceFileError::TooMany {
                line: self.line(beyond),
                field: "backend",
                count: raw.len(),
                limit: MAX_BACKENDS,
            });
        }
        let mut names = BTreeSet::new();
        let mut backends = Vec::with_capacity(raw.len());
        for backend in raw {
            let backend = self.backend(backend.get_ref(), url, &mut names)?;
            backends.push(backend);
        }
        Ok(backends)
    }

    fn backend(
        &self,
        raw: &raw::Backend,
        url: &ServiceUrl,
        names: &mut BTreeSet<String>,
    ) -> Result<Backend, ServiceFileError> {
        let name = raw.name.get_ref().clone();
        let refuse = |problem| Err(self.refuse(&raw.name, "backend.name", problem, "\"web1\""));
        if !is_name(&name) {
            return refuse(Problem::Name);
        }
        if name == BALANCER_HOST {
            return refuse(Problem::Reserved);
        }
        if !names.insert(name.clone()) {
            return refuse(Problem::Duplicate);
        }
        let scheme = raw
            .scheme
            .unwrap_or_else(|| scheme_by_port(raw.address.get_ref(), url.scheme));
        let port = match scheme {
            Scheme::Http => Some(80),
            Scheme::Https => Some(443),
            Scheme::Tcp => None,
        };
        let address = address(raw.address.get_ref(), port).map_err(|problem| {
            self.refuse(&raw.address, "backend.address", problem, "\"10.0.0.51:80\"")
        })?;
        let path = match &raw.path {
            None => url.path.clone(),
            Some(path) => self.path(path, "backend.path", "\"/\"")?,
        };
        Ok(Backend {
            name,
            address,
            scheme,
            path,
        })
    }

    fn path(
        &self,
        text: &Text,
        field: &'static str,
        example: &'static str,
    ) -> Result<String, ServiceFileError> {
        if is_path(text.get_ref()) {
            return Ok(text.get_ref().clone());
        }
        Err(self.refuse(text, field, Problem::Path, example))
    }

    fn every(&self, text: Option<&Text>) -> Result<Option<Duration>, ServiceFileError> {
        let Some(text) = text else {
            return Ok(None);
        };
        let every = duration(text.get_ref(), &EVERY, Problem::Every);
        every
            .map(Some)
            .map_err(|problem| self.refuse(text, "schedule.every", problem, "\"10s\""))
    }

    fn timeouts(&self, raw: &raw::Timeout) -> Result<Timeouts, ServiceFileError> {
        let or = |text: &Option<Text>, field, usual| match text {
            None => Ok(usual),
            Some(text) => duration(text.get_ref(), &TIMEOUT, Problem::Timeout)
                .map_err(|problem| self.refuse(text, field, problem, "\"5s\"")),
        };
        let usual = Timeouts::default();
        Ok(Timeouts {
            dns: or(&raw.dns, "schedule.timeout.dns", usual.dns)?,
            connect: or(&raw.connect, "schedule.timeout.connect", usual.connect)?,
            tls: or(&raw.tls, "schedule.timeout.tls", usual.tls)?,
            total: or(&raw.total, "schedule.timeout.total", usual.total)?,
        })
    }
}

/// A name server of which the address alone is known.
fn name_server(server: SocketAddr) -> NameServer {
    NameServer {
        name: server.ip().to_string(),
        server,
    }
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.len() <= MAX_NAME
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(plain)
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic())
}

/// An address with its port, or alone where a port can be assumed.
pub(super) fn address(text: &str, default_port: Option<u16>) -> Result<SocketAddr, Problem> {
    let address = match text.parse::<SocketAddr>() {
        Ok(address) => address,
        Err(_) => {
            let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
            let ip: IpAddr = bare.unwrap_or(text).parse().map_err(|_| Problem::Address)?;
            SocketAddr::new(ip, default_port.ok_or(Problem::PortNeeded)?)
        }
    };
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err(Problem::Nowhere);
    }
    Ok(address)
}

/// The scheme of a backend that declares none: what its port is known for, else plain HTTP, as behind
/// most balancers; without a port that of the URL.
fn scheme_by_port(address: &str, of_url: Scheme) -> Scheme {
    match address.parse::<SocketAddr>().map(|address| address.port()) {
        Ok(443 | 8443) => Scheme::Https,
        Ok(_) => Scheme::Http,
        Err(_) => of_url,
    }
}

pub(super) fn duration(
    text: &str,
    bounds: &RangeInclusive<Duration>,
    beyond: Problem,
) -> Result<Duration, Problem> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(unit_at.ok_or(Problem::Duration)?);
    let number: u64 = number.parse().map_err(|_| Problem::Duration)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(Problem::Duration),
    };
    let duration = Duration::from_millis(number.saturating_mul(millis));
    if bounds.contains(&duration) {
        Ok(duration)
    } else {
        Err(beyond)
    }
}
