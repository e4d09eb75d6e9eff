//! The certificates of the lab's service.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};

use crate::address::SERVICE;

/// Files of the service's certificates, all in one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// The authority that the service file names and the edges trust.
    pub ca: PathBuf,
    /// Certificate and key, as HAProxy wants them, in one file.
    pub good: PathBuf,
    /// What the edges show, as public sites do: signed by an intermediate authority, and with that one's certificate.
    pub edges: PathBuf,
    /// The same without that of the intermediate authority.
    pub lone: PathBuf,
    /// The same name, expired.
    pub expired: PathBuf,
}

/// Makes an authority, a good certificate and an expired one.
pub fn make(folder: &Path) -> Result<Certificates> {
    let mut authority = CertificateParams::new(Vec::new())?;
    // Issuer and subject must differ, or a verifier takes the leaf for a self-signed one.
    authority
        .distinguished_name
        .push(DnType::CommonName, "lab authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let files = Certificates {
        ca: folder.join("ca.pem"),
        good: folder.join("good.pem"),
        edges: folder.join("edges.pem"),
        lone: folder.join("lone.pem"),
        expired: folder.join("expired.pem"),
    };
    fs::write(&files.ca, ca.pem())?;
    for (file, last_year) in [(&files.good, 2090), (&files.expired, 2024)] {
        let mut params = CertificateParams::new(vec![SERVICE.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, SERVICE);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &ca)?;
        fs::write(
            file,
            format!("{}{}", certificate.pem(), key.serialize_pem()),
        )?;
    }
    for_edges(&files, &ca)?;
    Ok(files)
}

/// Of the authority's intermediate.
fn for_edges(files: &Certificates, ca: &CertifiedIssuer<'_, KeyPair>) -> Result<()> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority
        .distinguished_name
        .push(DnType::CommonName, "lab intermediate");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let intermediate = CertifiedIssuer::signed_by(authority, KeyPair::generate()?, ca)?;
    let mut params = CertificateParams::new(vec![SERVICE.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, SERVICE);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    let key = KeyPair::generate()?;
    let lone = params.signed_by(&key, &intermediate)?.pem();
    let key = key.serialize_pem();
    fs::write(&files.lone, format!("{lone}{key}"))?;
    fs::write(&files.edges, format!("{lone}{}{key}", intermediate.pem()))?;
    Ok(())
}
