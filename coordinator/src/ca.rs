//! The mesh's own certificate authority: made at the first start, kept in the data folder.
//!
//! Every certificate carries one SPIFFE URI as its name (SPIFFE-ID section 2, X.509-SVID section 2);
//! what a signing request asks for besides its key is ignored.

use std::path::Path;
use std::time::Duration;

use proto::identity::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::files::{self, Access, FileError};

/// The DNS name in the coordinator's certificate, which clients ask for whatever address they dial.
pub const SERVER_NAME: &str = "mesh-coordinator";

/// Lifetime of the authority: ten years, because rolling it means enrolling every agent again.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Certificates begin this long before they are made, for agents whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(3600);

/// The authority could not be opened, or a certificate not be made.
#[derive(Debug, Error)]
pub enum CaError {
    /// A file of the authority.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate is there, its key is not.
    #[error(
        "{certificate} is there and {key} is not: restore the key, or remove the folder to start a new mesh (every agent must then join again)"
    )]
    KeyMissing {
        /// Path of the certificate.
        certificate: String,
        /// Path of the key.
        key: String,
    },
    /// Key or certificate on disk is not what it should be.
    #[error("cannot read the authority in {folder}: {reason}")]
    Damaged {
        /// The authority's folder.
        folder: String,
        /// What is wrong.
        reason: String,
    },
    /// The signing request does not parse, or its signature does not hold.
    #[error("the certificate signing request is not valid: {0}")]
    Request(String),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// Number of a certificate: 16 random bytes as 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial(pub String);

impl Serial {
    /// From the bytes of a certificate's serial number (RFC 5280 section 4.1.2.2).
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let significant = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
        Self(hex::encode(&bytes[significant..]))
    }
}

/// A certificate that the authority has made.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// The same as PEM.
    pub pem: String,
    /// Its number.
    pub serial: Serial,
    /// Its end, in microseconds since the Unix epoch.
    pub not_after_us: u64,
}

/// The certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    /// Opens the authority in a folder, or makes it there when the folder holds none.
    ///
    /// # Errors
    /// When files cannot be read or written, when the key of an existing certificate is gone, or when
    /// the files do not parse.
    pub fn open(folder: &Path, now_us: u64) -> Result<Self, CaError> {
        let key_path = folder.join("ca.key");
        let certificate_path = folder.join("ca.pem");
        files::make_folder(folder)?;
        match (files::read(&certificate_path)?, files::read(&key_path)?) {
            (Some(pem), Some(key)) => Self::load(&pem, &key).map_err(|reason| CaError::Damaged {
                folder: folder.display().to_string(),
                reason,
            }),
            (Some(_), None) => Err(CaError::KeyMissing {
                certificate: certificate_path.display().to_string(),
                key: key_path.display().to_string(),
            }),
            // A key without its certificate has signed nothing: the first start was cut short.
            (None, _) => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                let pem = self_signed(&key, now_us)?;
                files::write(&key_path, Access::Secret, &key.serialize_pem())?;
                files::write(&certificate_path, Access::Public, &pem)?;
                Self::load(&pem, &key.serialize_pem()).map_err(|reason| CaError::Damaged {
                    folder: folder.display().to_string(),
                    reason,
                })
            }
        }
    }

    fn load(pem: &str, key: &str) -> Result<Self, String> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| e.to_string())?;
        let key = KeyPair::from_pem(key).map_err(|e| e.to_string())?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|e| e.to_string())?;
        let spki = parsed.public_key().subject_public_key.data.as_ref();
        if spki != key.der_bytes() {
            return Err("the key does not belong to the certificate".to_owned());
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|e| e.to_string())?;
        Ok(Self {
            issuer,
            pem: pem.to_owned(),
            der,
        })
    }

    /// The authority's certificate.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The authority's certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// SHA-256 of the authority's certificate in hexadecimal: what a join token carries.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(&self.der))
    }

    /// A new server certificate for the coordinator, with its key.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn issue_server(
        &self,
        now_us: u64,
        lifetime: Duration,
    ) -> Result<(Issued, KeyPair), CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = leaf(&Identity::Coordinator)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params
            .subject_alt_names
            .push(SanType::DnsName(SERVER_NAME.try_into()?));
        Ok((self.sign(params, &key, now_us, lifetime)?, key))
    }

    /// A new client certificate with a key made here: for the first operator, whose context the
    /// coordinator writes.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn issue_client(
        &self,
        identity: &Identity,
        now_us: u64,
        lifetime: Duration,
    ) -> Result<(Issued, KeyPair), CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = leaf(identity)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok((self.sign(params, &key, now_us, lifetime)?, key))
    }

    /// A client certificate for the key of a signing request (RFC 2986). The request's signature is
    /// checked; the names and usages that it asks for are ignored.
    ///
    /// # Errors
    /// [`CaError::Request`] when the request does not parse or its signature does not hold.
    pub fn issue_requested(
        &self,
        identity: &Identity,
        request_pem: &str,
        now_us: u64,
        lifetime: Duration,
    ) -> Result<Issued, CaError> {
        let der = CertificateSigningRequestDer::from_pem_slice(request_pem.as_bytes())
            .map_err(|error| CaError::Request(error.to_string()))?;
        let request = CertificateSigningRequestParams::from_der(&der)
            .map_err(|error| CaError::Request(error.to_string()))?;
        let mut params = leaf(identity)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, &request.public_key, now_us, lifetime)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        now_us: u64,
        lifetime: Duration,
    ) -> Result<Issued, CaError> {
        let mut serial: [u8; 16] = rand::random();
        // A serial number is a positive integer (RFC 5280 section 4.1.2.2), and one that begins with
        // a zero byte would be written shorter.
        serial[0] = serial[0] & 0x7f | 0x40;
        let not_after_s = end(now_us, lifetime);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.not_before = rcgen::date_time_ymd(1970, 1, 1)
            + Duration::from_micros(now_us).saturating_sub(BACKDATED);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(not_after_s);
        let certificate = params.signed_by(key, &self.issuer)?;
        Ok(Issued {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            serial: Serial::from_bytes(&serial),
            not_after_us: not_after_s.saturating_mul(1_000_000),
        })
    }
}

/// The authority's certificate, signed by itself.
fn self_signed(key: &KeyPair, now_us: u64) -> Result<String, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("mesh authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before =
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_micros(now_us).saturating_sub(BACKDATED);
    params.not_after =
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(end(now_us, AUTHORITY_LIFETIME));
    Ok(params.self_signed(key)?.pem())
}

/// What all leaf certificates have in common.
fn leaf(identity: &Identity) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&identity.to_string());
    params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into()?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// A subject for people; nothing reads it.
fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// The end of a certificate in whole seconds, as X.509 has them; rounded up, so that a short lifetime
/// is not zero.
fn end(now_us: u64, lifetime: Duration) -> u64 {
    (Duration::from_micros(now_us) + lifetime + Duration::from_millis(999)).as_secs()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls::server::WebPkiClientVerifier;
    use rustls::server::danger::ClientCertVerifier;
    use rustls_pki_types::UnixTime;

    use super::*;
    use crate::tls::PeerCertificate;

    const NOW: u64 = 1_700_000_000_500_000;
    const DAY: Duration = Duration::from_secs(86_400);

    fn authority() -> Authority {
        let folder = tempfile::tempdir().unwrap();
        Authority::open(folder.path(), NOW).unwrap()
    }

    fn agent() -> Identity {
        Identity::Agent("home1".to_owned())
    }

    fn request(names: &[&str]) -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let request = CertificateParams::new(names).unwrap();
        (request.serialize_request(&key).unwrap().pem().unwrap(), key)
    }

    fn accepts(authority: &Authority, certificate: &CertificateDer<'_>, at_us: u64) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier: Arc<dyn ClientCertVerifier> =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_micros(at_us));
        verifier.verify_client_cert(certificate, &[], at).is_ok()
    }

    #[test]
    fn an_authority_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::open(folder.path(), NOW).unwrap();
        let again = Authority::open(folder.path(), NOW + 1).unwrap();
        assert_eq!(first.fingerprint(), again.fingerprint());
        assert_eq!(first.fingerprint().len(), 64);

        let key = folder.path().join("ca.key");
        std::fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let error = Authority::open(folder.path(), NOW)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("does not belong"), "{error}");
        std::fs::remove_file(&key).unwrap();
        let error = Authority::open(folder.path(), NOW)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("restore the key"), "{error}");
        // A first start that was cut short leaves a key alone.
        std::fs::write(&key, "").unwrap();
        std::fs::remove_file(folder.path().join("ca.pem")).unwrap();
        Authority::open(folder.path(), NOW).unwrap();
    }

    #[test]
    fn a_request_gets_the_name_of_its_token_and_no_other() {
        let authority = authority();
        let (request, _) = request(&["mesh-coordinator", "192.0.2.1"]);
        let issued = authority
            .issue_requested(&agent(), &request, NOW, DAY)
            .unwrap();
        let read = PeerCertificate::read(&issued.der).unwrap();
        assert_eq!(read.identity, agent());
        assert_eq!(read.serial, issued.serial);
        assert_eq!(read.not_after_us, issued.not_after_us);
        assert_eq!(issued.not_after_us, 1_700_086_401_000_000);
        let (_, parsed) = x509_parser::parse_x509_certificate(&issued.der).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
    }

    #[test]
    fn requests_that_do_not_hold_are_refused() {
        let authority = authority();
        let (good, _) = request(&[]);
        let mut forged = CertificateSigningRequestDer::from_pem_slice(good.as_bytes())
            .unwrap()
            .to_vec();
        *forged.last_mut().unwrap() ^= 1;
        let forged = {
            use base64::Engine as _;
            let body = base64::engine::general_purpose::STANDARD.encode(forged);
            format!(
                "-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n"
            )
        };
        for bad in ["", "garbage", forged.as_str(), authority.pem()] {
            let refused = authority.issue_requested(&agent(), bad, NOW, DAY);
            assert!(matches!(refused, Err(CaError::Request(_))), "{bad}");
        }
    }

    #[test]
    fn certificates_count_for_their_time_authority_and_use() {
        let (ours, theirs) = (authority(), authority());
        let (request, _) = request(&[]);
        let issued = ours
            .issue_requested(&agent(), &request, NOW, DAY)
            .unwrap()
            .der;
        let (server, _) = ours.issue_server(NOW, DAY).unwrap();
        let hour_us = 3_600_000_000;
        for (authority, certificate, at_us, expected) in [
            (&ours, &issued, NOW, true),
            (&ours, &issued, NOW - hour_us / 2, true),
            (&ours, &issued, NOW - 2 * hour_us, false),
            (&ours, &issued, NOW + 25 * hour_us, false),
            (&theirs, &issued, NOW, false),
            (&ours, &server.der, NOW, false),
        ] {
            assert_eq!(
                accepts(authority, certificate, at_us),
                expected,
                "at {at_us}"
            );
        }
    }

    #[test]
    fn serial_numbers_differ_and_are_written_alike() {
        let authority = authority();
        let (request, _) = request(&[]);
        for _ in 0..50 {
            let issued = authority
                .issue_requested(&agent(), &request, NOW, DAY)
                .unwrap();
            assert_eq!(issued.serial.0.len(), 32);
            let read = PeerCertificate::read(&issued.der).unwrap();
            assert_eq!(read.serial, issued.serial);
        }
    }
}
