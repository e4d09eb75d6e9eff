//! The TLS layer: an ordinary handshake that remembers the certificate even when it is refused.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use localize::{Failure, Hello, HttpVersion, TlsFacts};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS;
use x509_parser::prelude::{FromDer as _, ParsedExtension, X509Certificate};

use super::{hello, short_hex};
use crate::failure;
use crate::service::Service;

/// Whose certificates a service's probes believe: the public roots, and the service's own.
#[derive(Debug)]
pub struct Trust {
    verifier: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
    /// What servers sent beside certificates that verified. It makes no certificate good; it tells a chain that lacks
    /// a part from one of an unknown authority, as a browser's memory of intermediates hides the difference.
    intermediates: Mutex<Vec<CertificateDer<'static>>>,
    config: ClientConfig,
    /// The same with a large hello.
    large: ClientConfig,
}

/// Intermediates that are remembered: a site has one or two authorities, and no more chains than generations of
/// certificates in use.
const MAX_INTERMEDIATES: usize = 16;

/// Trust anchors that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not PEM.
    #[error("the trust anchors are not PEM: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// PEM, but no certificate inside.
    #[error("the trust anchors hold no certificate")]
    Empty,
    /// One is not a certificate that can anchor trust.
    #[error("a trust anchor cannot be used: {0}")]
    Anchor(#[source] rustls::Error),
    /// The verifier could not be made of them.
    #[error("the trust anchors cannot be used: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
    /// The TLS library refused its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[source] rustls::Error),
}

impl Trust {
    /// The public roots and the certificates of `ca_pem`, which may be empty.
    ///
    /// # Errors
    /// When `ca_pem` is not empty and holds anything but usable certificates.
    pub fn new(ca_pem: &str) -> Result<Self, TrustError> {
        let own =
            CertificateDer::pem_slice_iter(ca_pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        if own.is_empty() && !ca_pem.trim().is_empty() {
            return Err(TrustError::Empty);
        }
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for anchor in &own {
            roots.add(anchor.clone()).map_err(TrustError::Anchor)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()?;
        Ok(Self {
            config: config(provider, &verifier)?,
            large: config(hello::provider(), &verifier)?,
            verifier,
            own,
            intermediates: Mutex::new(Vec::new()),
        })
    }

    /// Takes in what came beside a certificate that verified.
    fn remember(&self, sent: &[CertificateDer<'_>]) {
        let mut known = self
            .intermediates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for one in sent {
            if known.len() < MAX_INTERMEDIATES && !known.iter().any(|other| other == one) {
                known.push(one.clone().into_owned());
            }
        }
    }

    fn remembered(&self) -> Vec<CertificateDer<'static>> {
        let known = self.intermediates.lock();
        known.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn config(
    provider: Arc<CryptoProvider>,
    verifier: &Arc<WebPkiServerVerifier>,
) -> Result<ClientConfig, TrustError> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Setup)?
        .with_webpki_verifier(Arc::clone(verifier))
        .with_no_client_auth();
    // Every probe must see the whole handshake.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// How a handshake is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// The one version of HTTP that is offered.
    pub version: HttpVersion,
    /// How much is said.
    pub hello: Hello,
}

/// The name of a version in a handshake (RFC 7301, section 6; RFC 9113, section 3.1).
const fn alpn(version: HttpVersion) -> &'static [u8] {
    match version {
        HttpVersion::One => b"http/1.1",
        HttpVersion::Two => b"h2",
    }
}

/// Shakes hands with the service's name as SNI, and offers one version of HTTP. The facts are there whenever a certificate was shown.
pub async fn handshake(
    service: &Service,
    stream: TcpStream,
    Asking { version, hello }: Asking,
    within: Duration,
) -> (Option<TlsFacts>, Result<TlsStream<TcpStream>, Failure>) {
    let judge = Arc::new(Judge {
        trust: Arc::clone(&service.trust),
        leaf: OnceLock::new(),
        lacking: OnceLock::new(),
    });
    let mut config = match hello {
        Hello::Usual => service.trust.config.clone(),
        Hello::Large => service.trust.large.clone(),
    };
    config.alpn_protocols = vec![alpn(version).to_vec()];
    config
        .dangerous()
        .set_certificate_verifier(Arc::<Judge>::clone(&judge));
    let connector = TlsConnector::from(Arc::new(config));
    let handshake = connector.connect(service.server_name.clone(), stream);
    let ended = match timeout(within, handshake).await {
        Ok(ended) => ended.map_err(|error| judge.told(failure::tls(&error))),
        Err(_) => Err(Failure::TlsTimeout),
    };
    let shown = judge.leaf.get();
    (shown.and_then(|(leaf, at)| facts(leaf, *at)), ended)
}

fn facts(leaf: &CertificateDer<'_>, at: UnixTime) -> Option<TlsFacts> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let validity = certificate.validity();
    Some(TlsFacts {
        leaf: short_hex(&Sha256::digest(leaf)),
        not_after: validity.not_after.timestamp(),
        not_before: Some(validity.not_before.timestamp()),
        judged_at: i64::try_from(at.as_secs()).ok(),
    })
}

/// Records the leaf and then judges it as usual, by the time that the library reads from the host's own clock, as
/// programs there do; what that said is recorded with it.
#[derive(Debug)]
struct Judge {
    trust: Arc<Trust>,
    leaf: OnceLock<(CertificateDer<'static>, UnixTime)>,
    /// Set where the chain lacks an intermediate.
    lacking: OnceLock<()>,
}

impl Judge {
    /// What the library calls an unknown issuer may be a known one's certificate that was not sent.
    fn told(&self, failure: Failure) -> Failure {
        match (failure, self.lacking.get()) {
            (Failure::CertificateUnknownIssuer, Some(())) => Failure::CertificateChainIncomplete,
            (failure, Some(()) | None) => failure,
        }
    }

    /// Whether the chain leads to a trust anchor with an intermediate that another server sent, or the certificate
    /// came without that of its issuer and says where that is to be had.
    fn lacks_intermediate(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> bool {
        let mut completed = self.trust.remembered();
        completed.extend(sent.iter().map(|one| one.clone().into_owned()));
        let verifier = &self.trust.verifier;
        let verified = verifier.verify_server_cert(leaf, &completed, server_name, &[], now);
        verified.is_ok() || names_absent_issuer(leaf, sent)
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // Set once: a connection has one handshake.
        let _ = self.leaf.set((end_entity.clone().into_owned(), now));
        let judgement = self.trust.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match judgement {
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_))) => {
                self_signed(end_entity, &self.trust.own, server_name, now).unwrap_or(judgement)
            }
            // An issuer of the right name and with another key, as after a CA was made anew.
            Err(rustls::Error::InvalidCertificate(CertificateError::BadSignature)) => {
                Err(CertificateError::UnknownIssuer.into())
            }
            Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                if self.lacks_intermediate(end_entity, intermediates, server_name, now) {
                    let _ = self.lacking.set(());
                }
                judgement
            }
            Ok(_) => {
                self.trust.remember(intermediates);
                judgement
            }
            Err(_) => judgement,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trust
            .verifier
            .verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trust
            .verifier
            .verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.verifier.supported_verify_schemes()
    }
}

/// Whether a certificate says where that of its issuer is to be had (RFC 5280, section 4.2.2.1), as those of public
/// authorities do, and came without it. The issuer of one that signed itself cannot be lacking.
fn names_absent_issuer(leaf: &CertificateDer<'_>, sent: &[CertificateDer<'_>]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
        return false;
    };
    let is_issuer = |one: &CertificateDer<'_>| {
        X509Certificate::from_der(one).is_ok_and(|(_, one)| one.subject() == certificate.issuer())
    };
    let mut extensions = certificate.extensions().iter();
    let names_one = extensions.any(|extension| {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else {
            return false;
        };
        let mut places = access.accessdescs.iter();
        places.any(|at| at.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS)
    });
    let self_issued = certificate.issuer() == certificate.subject();
    names_one && !self_issued && !sent.iter().any(is_issuer)
}

/// Judges a leaf that is marked as a CA and signed by itself, as `openssl req -x509` makes them: webpki
/// takes no CA for a leaf, yet such a certificate is good when it is a trust anchor itself, and an
/// unknown issuer's when it is not. `None` when the leaf is not of that kind.
fn self_signed(
    leaf: &CertificateDer<'_>,
    own: &[CertificateDer<'static>],
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Option<Result<ServerCertVerified, rustls::Error>> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    if !certificate.is_ca() || certificate.issuer() != certificate.subject() {
        return None;
    }
    let validity = certificate.validity();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    Some(if !own.iter().any(|anchor| anchor == leaf) {
        Err(CertificateError::UnknownIssuer.into())
    } else if now < validity.not_before.timestamp() {
        Err(CertificateError::NotValidYet.into())
    } else if now > validity.not_after.timestamp() {
        Err(CertificateError::Expired.into())
    } else {
        ParsedCertificate::try_from(leaf)
            .and_then(|parsed| rustls::client::verify_server_name(&parsed, server_name))
            .map(|()| ServerCertVerified::assertion())
    })
}
