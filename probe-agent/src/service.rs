//! What the agent must know of a service to probe it, parsed once from its specification.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::uri::{Authority, PathAndQuery};
use localize::{Arm, Encoding, Hello, LARGE_READ, Object, Scheme, ServiceName, Target, Traits};
use proto::spec::{self, Expect, Header, SpecError, Versions};
use proto::v1;
use rustls_pki_types::ServerName;

use crate::probe::http::{Expected, MAX_BODY};
use crate::probe::tls::{Trust, TrustError};
use crate::probe::version::Spoken;

/// How long a layer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// One question, its repetition over TCP included.
    pub dns: Duration,
    /// The TCP handshake.
    pub connect: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// A connection probe as a whole.
    pub total: Duration,
}

/// What is asked for over a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which layers there are above TCP.
    pub scheme: Scheme,
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: PathAndQuery,
    /// The body; empty for none.
    pub body: Bytes,
    /// What a good answer is.
    pub expected: Expected,
    /// The encodings of the answer's body that are accepted.
    pub encoding: Encoding,
    /// How much is said in the first message of TLS.
    pub hello: Hello,
    /// Bytes of the answer's body that are read at most.
    pub at_most: u64,
}

/// A service as its probes need it.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// The name asked of DNS, and the SNI.
    pub host: String,
    /// The host as TLS names it.
    pub server_name: ServerName<'static>,
    /// The `Host` header.
    pub authority: Authority,
    /// What a user asks for.
    pub request: Request,
    /// What the backends are asked for, by name.
    pub backends: BTreeMap<String, Request>,
    /// Path and query of the large object, if there is one.
    pub large: Option<PathAndQuery>,
    /// The headers of its own that are sent.
    pub headers: Vec<Header>,
    /// The versions of HTTP that may be spoken.
    pub versions: Versions,
    /// Those that its servers speak, as far as that is known.
    pub spoken: Spoken,
    /// How long the layers may take.
    pub limits: Limits,
    /// Whose certificates are believed.
    pub trust: Arc<Trust>,
    /// The ports that a witness watches for it.
    pub witness_ports: Vec<u16>,
    /// Whether the way is traced to what a probe met silence at.
    pub trace: bool,
}

/// A specification that cannot be probed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The service has no name, or no host.
    #[error("the service has no {0}")]
    Missing(&'static str),
    /// A scheme that this agent does not know.
    #[error("unknown scheme {0:?}")]
    Scheme(String),
    /// A path or authority that cannot stand in a request.
    #[error("{0:?} cannot stand in a request")]
    Uri(String),
    /// A port outside 1..=65535.
    #[error("{0} is no port")]
    Port(u32),
    /// How it is asked, or what a good answer is, cannot be.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The further trust anchors cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl TryFrom<v1::ServiceSpec> for Service {
    type Error = ServiceError;

    fn try_from(spec: v1::ServiceSpec) -> Result<Self, ServiceError> {
        if spec.name.is_empty() {
            return Err(ServiceError::Missing("name"));
        }
        if spec.host.is_empty() {
            return Err(ServiceError::Missing("host"));
        }
        let authority = if spec.authority.is_empty() {
            &spec.host
        } else {
            &spec.authority
        };
        let asking = spec::Request::try_from(spec.request.clone().unwrap_or_default())?;
        let expect = Expect::try_from(spec.expect.clone().unwrap_or_default())?;
        let usual = request(&asking, &expect, &spec.scheme, &spec.path)?;
        Ok(Self {
            limits: limits(&spec),
            server_name: ServerName::try_from(spec.host.clone())
                .map_err(|_| ServiceError::Uri(spec.host.clone()))?,
            authority: authority
                .parse()
                .map_err(|_| ServiceError::Uri(authority.clone()))?,
            backends: spec
                .backends
                .iter()
                .map(|b| {
                    let own = request(&asking, &expect, &b.scheme, &b.path)?;
                    Ok((b.name.clone(), own.of_the_page(&usual)))
                })
                .collect::<Result<_, ServiceError>>()?,
            request: usual,
            headers: asking.headers,
            versions: asking.versions,
            spoken: Spoken::default(),
            large: match spec.large_path.as_str() {
                "" => None,
                text => Some(path(text)?),
            },
            trust: Arc::new(Trust::new(&spec.ca_pem)?),
            witness_ports: spec
                .witness_ports
                .iter()
                .map(|&port| match u16::try_from(port) {
                    Ok(port) if port != 0 => Ok(port),
                    _ => Err(ServiceError::Port(port)),
                })
                .collect::<Result<_, ServiceError>>()?,
            trace: spec.trace,
            name: ServiceName(spec.name),
            host: spec.host,
        })
    }
}

impl Service {
    /// The port of its URL.
    #[must_use]
    pub fn port(&self) -> u16 {
        let usual = match self.request.scheme {
            Scheme::Http => 80,
            Scheme::Https | Scheme::Tcp => 443,
        };
        self.authority.port_u16().unwrap_or(usual)
    }

    /// What an arm asks its target for; `None` for a question of DNS, a backend not declared, and the large
    /// object where there is none.
    #[must_use]
    pub fn request_for(&self, arm: &Arm) -> Option<Request> {
        let usual = match &arm.target {
            Target::Resolver { .. } | Target::NameServer { .. } => None,
            Target::Edge { .. } | Target::Vip { .. } => Some(&self.request),
            Target::Backend { name, .. } => self.backends.get(name),
        }?;
        let Traits {
            encoding, hello, ..
        } = arm.traits;
        match arm.traits.object {
            Object::Usual => Some(Request {
                encoding,
                hello,
                ..usual.clone()
            }),
            Object::Large => Some(Request {
                scheme: usual.scheme,
                method: Method::GET,
                path: self.large.clone()?,
                body: Bytes::new(),
                expected: usual.expected.elsewhere(),
                encoding,
                hello,
                at_most: LARGE_READ,
            }),
        }
    }
}

impl Request {
    /// At another path than the url's there is another page: how the service answers is told of the url's.
    fn of_the_page(self, usual: &Self) -> Self {
        match self.path == usual.path {
            true => self,
            false => Self {
                expected: self.expected.elsewhere(),
                ..self
            },
        }
    }
}

fn request(
    asking: &spec::Request,
    expect: &Expect,
    scheme: &str,
    text: &str,
) -> Result<Request, ServiceError> {
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        "tcp" => Scheme::Tcp,
        other => return Err(ServiceError::Scheme(other.to_owned())),
    };
    let text = if text.is_empty() { "/" } else { text };
    let expected = Expected::of(expect);
    let (method, expected) = match asking.method {
        spec::Method::Get => (Method::GET, expected),
        spec::Method::Head => (Method::HEAD, expected.without_body()),
        spec::Method::Post => (Method::POST, expected),
        spec::Method::Options => (Method::OPTIONS, expected),
    };
    Ok(Request {
        scheme,
        method,
        path: path(text)?,
        body: Bytes::from(asking.body.clone()),
        expected,
        encoding: Encoding::Identity,
        hello: Hello::Usual,
        at_most: MAX_BODY,
    })
}

fn path(text: &str) -> Result<PathAndQuery, ServiceError> {
    let parsed = text.parse().ok().filter(|_| text.starts_with('/'));
    parsed.ok_or_else(|| ServiceError::Uri(text.to_owned()))
}

/// No limit may reach beyond this, so that a round always ends.
const LONGEST: Duration = Duration::from_secs(60);

fn limits(spec: &v1::ServiceSpec) -> Limits {
    let or = |millis: u32, default: u64| match millis {
        0 => Duration::from_secs(default),
        given => Duration::from_millis(given.into()).min(LONGEST),
    };
    Limits {
        dns: or(spec.dns_timeout_ms, 2),
        connect: or(spec.connect_timeout_ms, 5),
        tls: or(spec.tls_timeout_ms, 5),
        total: or(spec.total_timeout_ms, 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> v1::ServiceSpec {
        v1::ServiceSpec {
            name: "shop".to_owned(),
            host: "shop.example".to_owned(),
            scheme: "https".to_owned(),
            ..v1::ServiceSpec::default()
        }
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let service = Service::try_from(spec()).unwrap();
        assert_eq!(service.authority.as_str(), "shop.example");
        assert_eq!(service.request.path.as_str(), "/");
        assert_eq!(service.limits.dns, Duration::from_secs(2));
        assert_eq!(service.limits.total, Duration::from_secs(10));
    }

    #[test]
    fn each_bad_specification_has_its_sentence() {
        let backend = v1::service_spec::BackendRequest {
            name: "web1".to_owned(),
            scheme: "gopher".to_owned(),
            path: String::new(),
        };
        let rows: [(v1::ServiceSpec, &str); 9] = [
            (
                v1::ServiceSpec {
                    name: String::new(),
                    ..spec()
                },
                "the service has no name",
            ),
            (
                v1::ServiceSpec {
                    host: String::new(),
                    ..spec()
                },
                "the service has no host",
            ),
            (
                v1::ServiceSpec {
                    scheme: "ftp".to_owned(),
                    ..spec()
                },
                "unknown scheme \"ftp\"",
            ),
            (
                v1::ServiceSpec {
                    path: "x".to_owned(),
                    ..spec()
                },
                "\"x\" cannot stand in a request",
            ),
            (
                v1::ServiceSpec {
                    witness_ports: vec![0],
                    ..spec()
                },
                "0 is no port",
            ),
            (
                v1::ServiceSpec {
                    backends: vec![backend],
                    ..spec()
                },
                "unknown scheme \"gopher\"",
            ),
            (
                v1::ServiceSpec {
                    request: Some(v1::RequestSpec {
                        method: "DELETE".to_owned(),
                        ..v1::RequestSpec::default()
                    }),
                    ..spec()
                },
                "a method is GET, HEAD, POST or OPTIONS",
            ),
            (
                v1::ServiceSpec {
                    expect: Some(v1::Expect {
                        body: "/(/".to_owned(),
                        ..v1::Expect::default()
                    }),
                    ..spec()
                },
                "this is not a regular expression: unclosed group",
            ),
            (
                v1::ServiceSpec {
                    ca_pem: "nonsense".to_owned(),
                    ..spec()
                },
                "the trust anchors hold no certificate",
            ),
        ];
        for (spec, sentence) in rows {
            assert_eq!(Service::try_from(spec).unwrap_err().to_string(), sentence);
        }
    }
}
