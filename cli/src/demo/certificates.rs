//! The site's certificates: an authority, a good one and an expired one.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::DemoError;
use super::plan::SERVICE;
use super::serve::Identities;

/// What the servers of the path need.
pub struct Certificates {
    /// The authority, for the service file.
    pub ca_pem: String,
    /// For edges and balancer.
    pub identities: Identities,
    /// With which the edges check the balancer.
    pub client: Arc<ClientConfig>,
}

/// Makes them afresh.
pub fn make() -> Result<Certificates, DemoError> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "demonstration");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone())?;
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Certificates {
        ca_pem: ca.pem(),
        identities: Identities {
            valid: server(&ca, (2020, 2099))?,
            expired: server(&ca, (2020, 2021))?,
        },
        client: Arc::new(client),
    })
}

fn server(
    ca: &CertifiedIssuer<'_, KeyPair>,
    years: (i32, i32),
) -> Result<Arc<ServerConfig>, DemoError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![SERVICE.to_owned()])?;
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    let leaf = params.signed_by(&key, ca)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    Ok(Arc::new(config))
}
