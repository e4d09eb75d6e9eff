//! The coordinator's end of the link: TLS 1.3 alone, HTTP/2 alone, clients known by certificate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use proto::identity::Identity;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;

use crate::ca::{self, Authority, CaError, Serial};

/// TLS cannot be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// rustls refuses.
    #[error("cannot set up TLS: {0}")]
    Rustls(#[from] rustls::Error),
    /// The verifier of client certificates cannot be built.
    #[error("cannot set up the check of client certificates: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// No server certificate.
    #[error(transparent)]
    Certificate(#[from] CaError),
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// What the certificate says; `None` without one.
    pub certificate: Option<PeerCertificate>,
}

/// What is read from a client certificate that the authority has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The SPIFFE identity.
    pub identity: Identity,
    /// The certificate's number.
    pub serial: Serial,
    /// The certificate's end, in microseconds since the Unix epoch.
    pub not_after_us: u64,
    /// When it was made, likewise, to two seconds.
    pub issued_us: u64,
}

impl PeerCertificate {
    /// Reads a certificate whose chain has been checked; `None` when it names nobody of a mesh.
    #[must_use]
    pub fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let validity = certificate.validity();
        let begin = u64::try_from(validity.not_before.timestamp()).ok()?;
        let end = u64::try_from(validity.not_after.timestamp()).ok()?;
        Some(Self {
            identity: identity(&certificate)?,
            serial: Serial::from_bytes(certificate.raw_serial()),
            not_after_us: end.saturating_mul(1_000_000),
            issued_us: ca::issued_us(begin, end),
        })
    }
}

/// The one SPIFFE URI among the names (X.509-SVID section 2); `None` when there is none or several.
fn identity(certificate: &X509Certificate<'_>) -> Option<Identity> {
    let names = certificate.subject_alternative_name().ok()??;
    let mut uris = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            GeneralName::OtherName(..)
            | GeneralName::RFC822Name(_)
            | GeneralName::DNSName(_)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => None,
        });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => uri.parse().ok(),
        _ => None,
    }
}

/// The server certificate in use, replaced while connections go on.
#[derive(Debug)]
pub struct HotCertificate(ArcSwap<CertifiedKey>);

impl HotCertificate {
    /// Makes the first certificate.
    ///
    /// # Errors
    /// When the authority cannot make it.
    pub fn new(authority: &Authority, now_us: u64, lifetime: Duration) -> Result<Self, TlsError> {
        let key = certified(authority, now_us, lifetime)?;
        Ok(Self(ArcSwap::from_pointee(key)))
    }

    /// Makes a new one and uses it from the next handshake on.
    ///
    /// # Errors
    /// When the authority cannot make it; the old one then stays.
    pub fn renew(
        &self,
        authority: &Authority,
        now_us: u64,
        lifetime: Duration,
    ) -> Result<(), TlsError> {
        self.0
            .store(Arc::new(certified(authority, now_us, lifetime)?));
        Ok(())
    }
}

impl ResolvesServerCert for HotCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// A server certificate with the authority's behind it: who joins knows only the latter's hash.
fn certified(
    authority: &Authority,
    now_us: u64,
    lifetime: Duration,
) -> Result<CertifiedKey, TlsError> {
    let (issued, key) = authority.issue_server(now_us, lifetime)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![issued.der, authority.der().clone()];
    Ok(CertifiedKey::from_der(chain, key, &provider())?)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The server's TLS: a client certificate may be absent, and must be the authority's when present.
///
/// Sessions are not resumed, since a resumed one carries the client certificate of the first
/// handshake unchecked.
///
/// # Errors
/// When rustls refuses the authority's certificate.
pub fn server_config(
    authority: &Authority,
    certificate: Arc<HotCertificate>,
) -> Result<ServerConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()?;
    let verifier = Arc::new(Undated(verifier));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Checks who has signed a client certificate and what for, at a time at which it is valid: whether it is
/// valid at this time is for each service to say. So an agent that was away may renew, and whoever comes
/// too late is told in words, where a handshake could only break off. A certificate that begins later was
/// made while this clock was ahead.
#[derive(Debug)]
struct Undated(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Undated {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let at = within_validity(end_entity, now);
        self.0.verify_client_cert(end_entity, intermediates, at)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The time nearest to `now` at which a certificate is valid; `now` for what is no certificate.
fn within_validity(der: &CertificateDer<'_>, now: UnixTime) -> UnixTime {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else {
        return now;
    };
    let seconds = |at: ASN1Time| u64::try_from(at.timestamp()).unwrap_or(0);
    let validity = certificate.validity();
    let (begin, end) = (seconds(validity.not_before), seconds(validity.not_after));
    UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().min(end).max(begin)))
}
