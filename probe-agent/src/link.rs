//! Connections to the coordinator: TLS 1.3 with the mesh's own authority, whatever address is dialled.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

/// The name in every coordinator's certificate.
const SERVER_NAME: &str = "mesh-coordinator";
/// Time for connecting and for the handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A coordinator that does not answer a ping for this long is taken for gone.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Certificate, key or authority cannot be used.
    #[error("the agent's identity cannot be used: {0}")]
    Identity(String),
    /// No answer, refused, or the other side is not the coordinator of this mesh.
    #[error("{address}: {source}")]
    Connect {
        /// The address dialled.
        address: String,
        /// What happened.
        source: io::Error,
    },
    /// HTTP/2 could not be started.
    #[error("{address}: {source}")]
    Http {
        /// The address dialled.
        address: String,
        /// What happened.
        source: tonic::transport::Error,
    },
}

/// The certificate that the agent shows; swapped when it is renewed.
#[derive(Debug)]
pub struct Presented(ArcSwap<CertifiedKey>);

impl Presented {
    /// With a first certificate.
    ///
    /// # Errors
    /// When certificate or key are not PEM of their kind, or do not belong together.
    pub fn new(certificate_pem: &str, key_pem: &str) -> Result<Self, LinkError> {
        Ok(Self(ArcSwap::from_pointee(certified(
            certificate_pem,
            key_pem,
        )?)))
    }

    /// From the next handshake on, another certificate.
    ///
    /// # Errors
    /// As [`Presented::new`].
    pub fn renew(&self, certificate_pem: &str, key_pem: &str) -> Result<(), LinkError> {
        self.0.store(Arc::new(certified(certificate_pem, key_pem)?));
        Ok(())
    }
}

impl ResolvesClientCert for Presented {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certified(certificate_pem: &str, key_pem: &str) -> Result<CertifiedKey, LinkError> {
    let bad = |error: &dyn std::fmt::Display| LinkError::Identity(error.to_string());
    let chain = CertificateDer::pem_slice_iter(certificate_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(&error))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|error| bad(&error))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| bad(&error))
}

/// TLS towards a coordinator whose authority is known.
///
/// # Errors
/// When the authority's certificate cannot be used.
pub fn known(ca_pem: &str, presented: Arc<Presented>) -> Result<ClientConfig, LinkError> {
    let bad = |error: &dyn std::fmt::Display| LinkError::Identity(error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| bad(&error))?;
        roots.add(certificate).map_err(|error| bad(&error))?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| bad(&error))?
        .with_root_certificates(roots)
        .with_client_cert_resolver(presented);
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// TLS towards a coordinator of which only its authority's SHA-256 is known, from a join token.
///
/// # Errors
/// When the fingerprint is not 32 bytes in hexadecimal.
pub fn pinned(ca_sha256: &str) -> Result<ClientConfig, LinkError> {
    let provider = Arc::new(ring::default_provider());
    let pin = Pin {
        ca_sha256: ca_sha256.to_ascii_lowercase(),
        provider: Arc::clone(&provider),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| LinkError::Identity(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pin))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Accepts a server whose chain brings the authority with the known fingerprint, and which that
/// authority vouches for.
#[derive(Debug)]
struct Pin {
    ca_sha256: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates
            .iter()
            .find(|der| hex_of(&Sha256::digest(der)) == self.ca_sha256)
            .ok_or_else(|| {
                rustls::Error::General(
                    "the coordinator there is not the one that made the token".to_owned(),
                )
            })?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Connects to one address; returns the channel and the address that answered.
///
/// # Errors
/// What kept it from connecting.
pub async fn dial(
    address: &str,
    config: Arc<ClientConfig>,
) -> Result<(Channel, SocketAddr), LinkError> {
    let failed = |source| LinkError::Connect {
        address: address.to_owned(),
        source,
    };
    let connecting = tokio::time::timeout(CONNECT_LIMIT, handshake(address, config));
    let (stream, peer) = connecting
        .await
        .map_err(|_| {
            failed(io::Error::new(
                io::ErrorKind::TimedOut,
                "no answer within 10 s",
            ))
        })?
        .map_err(failed)?;
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let stream = stream.take();
        async move { stream.ok_or_else(|| io::Error::other("the connection ended")) }
    });
    let channel = Endpoint::from_static("http://mesh-coordinator")
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map_err(|source| LinkError::Http {
            address: address.to_owned(),
            source,
        })?;
    Ok((channel, peer))
}

async fn handshake(
    address: &str,
    config: Arc<ClientConfig>,
) -> io::Result<(tokio_rustls::client::TlsStream<TcpStream>, SocketAddr)> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let peer = tcp.peer_addr()?;
    let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
    Ok((TlsConnector::from(config).connect(name, tcp).await?, peer))
}
