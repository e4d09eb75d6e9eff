//! Connections to the coordinator: of strangers, of agents and of the operator.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

/// The name in every coordinator's certificate.
const SERVER_NAME: &str = "mesh-coordinator";

/// A certificate with its key, PEM.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub certificate: String,
    pub key: String,
}

/// Where the coordinator is, and how to know it.
#[derive(Debug, Clone)]
pub struct Coordinator {
    pub address: SocketAddr,
    roots: Arc<RootCertStore>,
}

impl Coordinator {
    pub fn new(address: SocketAddr, ca_pem: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            roots.add(certificate.context("the mesh's authority")?)?;
        }
        Ok(Self {
            address,
            roots: Arc::new(roots),
        })
    }

    /// Connects from an address of this host.
    pub async fn dial(&self, from: IpAddr, credentials: Option<&Credentials>) -> Result<Channel> {
        let connector = TlsConnector::from(Arc::new(self.config(credentials)?));
        let address = self.address;
        let connect = tower::service_fn(move |_: tonic::codegen::http::Uri| {
            let connector = connector.clone();
            async move {
                let socket = TcpSocket::new_v4()?;
                socket.bind((from, 0).into())?;
                let stream = socket.connect(address).await?;
                stream.set_nodelay(true)?;
                let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
                Ok::<_, io::Error>(TokioIo::new(connector.connect(name, stream).await?))
            }
        });
        let endpoint = Endpoint::from_static("http://mesh-coordinator");
        Ok(endpoint.connect_with_connector(connect).await?)
    }

    fn config(&self, credentials: Option<&Credentials>) -> Result<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match credentials {
            None => config.with_no_client_auth(),
            Some(Credentials { certificate, key }) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())?;
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
                config.with_client_auth_cert(vec![certificate], key)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        // Agents connect for days: what resumption keeps would be counted as the fleet's memory.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }
}
