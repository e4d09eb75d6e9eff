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
    Ok(files)
}
