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

/// Certificates begin at most this long before they are made, for peers whose clock is behind ...
const MOST_BACKDATED: Duration = Duration::from_secs(24 * 3600);
/// ... and so many times less than they live, since a peer counts half of a life from the beginning.
const BACKDATED_SHARE: u32 = 10;

/// The authority could not be opened, or a certificate not be made.
#[derive(Debug, Error)]
pub enum CaError {
    /// A file of the authority.
    #[error(transparent)]
    File(#[from] FileError),
    /// Agents and operators hold certificates of an authority that is not there.
    #[error(
        "{missing} is missing, and agents and operators of this mesh hold certificates that it vouches for: {remedy}. A new authority would shut all of them out, so none is made; to begin a new mesh, start on another --data-dir"
    )]
    Missing {
        /// Path of what is missing.
        missing: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The authority on disk is not the one that the store knows.
    #[error(
        "the authority in {folder} has the fingerprint {found}, and the store belongs to {expected}: put folder `ca` and folder `store` of one and the same mesh together"
    )]
    Foreign {
        /// The authority's folder.
        folder: String,
        /// Fingerprint of the authority there.
        found: String,
        /// Fingerprint that the store knows.
        expected: String,
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

/// Whether anybody relies on the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mesh {
    /// Nobody was given a certificate or a token yet.
    Fresh,
    /// Somebody was.
    Relied,
}

const RESTORE_KEY: &str = "restore it from the backup of the folder";
const RESTORE_CERTIFICATE: &str = "restore it from a backup, or write the text of the field `ca` of any admin.toml or context.toml of this mesh there";
const RESTORE_FOLDER: &str = "restore the folder from a backup";

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
    /// Opens the authority in a folder. One is made only where nobody holds a certificate yet, and
    /// never in the place of a key that is there.
    ///
    /// # Errors
    /// When files cannot be read or written or do not parse, and when some of them are missing that
    /// somebody relies on.
    pub fn open(folder: &Path, mesh: Mesh, now_us: u64) -> Result<Self, CaError> {
        let key_path = folder.join("ca.key");
        let certificate_path = folder.join("ca.pem");
        let (pem, key) = (files::read(&certificate_path)?, files::read(&key_path)?);
        let missing = |path: &Path, remedy| CaError::Missing {
            missing: path.display().to_string(),
            remedy,
        };
        let damaged = |reason| CaError::Damaged {
            folder: folder.display().to_string(),
            reason,
        };
        match (pem, key, mesh) {
            (Some(pem), Some(key), _) => Self::load(&pem, &key).map_err(damaged),
            (Some(_), None, _) => Err(missing(&key_path, RESTORE_KEY)),
            (None, Some(_), Mesh::Relied) => Err(missing(&certificate_path, RESTORE_CERTIFICATE)),
            (None, None, Mesh::Relied) => Err(missing(folder, RESTORE_FOLDER)),
            // The first start was cut short: nobody has a certificate, and the key is kept all the same.
            (None, Some(key), Mesh::Fresh) => {
                let pair = KeyPair::from_pem(&key).map_err(|error| damaged(error.to_string()))?;
                let pem = self_signed(&pair, now_us)?;
                files::write(&certificate_path, Access::Public, &pem)?;
                Self::load(&pem, &key).map_err(damaged)
            }
            (None, None, Mesh::Fresh) => {
                files::make_folder(folder)?;
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                let pem = self_signed(&key, now_us)?;
                files::write(&key_path, Access::Secret, &key.serialize_pem())?;
                files::write(&certificate_path, Access::Public, &pem)?;
                Self::load(&pem, &key.serialize_pem()).map_err(damaged)
            }
        }
    }

    /// Holds the authority against the fingerprint that the store knows.
    ///
    /// # Errors
    /// [`CaError::Foreign`] when it is another's.
    pub fn must_be(&self, folder: &Path, expected: &str) -> Result<(), CaError> {
        let found = self.fingerprint();
        if found == expected {
            return Ok(());
        }
        Err(CaError::Foreign {
            folder: folder.display().to_string(),
            found,
            expected: expected.to_owned(),
        })
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
        let request = signing_request(request_pem)?;
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
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + begin(now_us, lifetime);
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

/// SHA-256 of the public key of a signing request, whose signature shows that the sender has the private
/// one.
///
/// # Errors
/// [`CaError::Request`] when the request does not parse or its signature does not hold.
pub fn key_sha256(request_pem: &str) -> Result<[u8; 32], CaError> {
    let request = signing_request(request_pem)?;
    Ok(Sha256::digest(request.public_key.der_bytes()).into())
}

fn signing_request(pem: &str) -> Result<CertificateSigningRequestParams, CaError> {
    let bad = |error: String| CaError::Request(error);
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| bad(error.to_string()))?;
    CertificateSigningRequestParams::from_der(&der).map_err(|error| bad(error.to_string()))
}

/// The authority's certificate, signed by itself.
fn self_signed(key: &KeyPair, now_us: u64) -> Result<String, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("mesh authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + begin(now_us, AUTHORITY_LIFETIME);
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

/// The beginning of a certificate of so long a life, since the Unix epoch.
fn begin(now_us: u64, lifetime: Duration) -> Duration {
    let back = (lifetime / BACKDATED_SHARE).min(MOST_BACKDATED);
    Duration::from_micros(now_us).saturating_sub(back)
}

/// When a certificate of this authority was made, in microseconds since the Unix epoch and to two seconds,
/// by its beginning and end in seconds: it begins as much earlier as goes with the life that it has from then.
#[must_use]
pub fn issued_us(begin_s: u64, end_s: u64) -> u64 {
    let span = Duration::from_secs(end_s.saturating_sub(begin_s));
    let back = (span / (BACKDATED_SHARE + 1)).min(MOST_BACKDATED);
    let made = Duration::from_secs(begin_s) + back;
    u64::try_from(made.as_micros()).unwrap_or(u64::MAX)
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
        Authority::open(folder.path(), Mesh::Fresh, NOW).unwrap()
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

    #[test]
    fn a_certificate_tells_when_it_was_made() {
        let authority = authority();
        for life in [2, 60, 86_400, 10 * 86_400, 365 * 86_400] {
            let life = Duration::from_secs(life);
            let (issued, _) = authority.issue_client(&agent(), NOW, life).unwrap();
            let made_us = PeerCertificate::read(&issued.der).unwrap().issued_us;
            assert!(made_us.abs_diff(NOW) <= 2_000_000, "{life:?}: {made_us}");
        }
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
        let first = Authority::open(folder.path(), Mesh::Fresh, NOW).unwrap();
        let again = Authority::open(folder.path(), Mesh::Relied, NOW + 1).unwrap();
        assert_eq!(first.fingerprint(), again.fingerprint());
        assert_eq!(first.fingerprint().len(), 64);
        again.must_be(folder.path(), &first.fingerprint()).unwrap();
        let foreign = again.must_be(folder.path(), "ab").unwrap_err().to_string();
        assert!(foreign.contains("one and the same mesh"), "{foreign}");
    }

    #[test]
    fn what_somebody_relies_on_is_never_made_anew() {
        use Mesh::{Fresh, Relied};
        let remove = |names: &[&str], folder: &Path| {
            for name in names {
                std::fs::remove_file(folder.join(name)).unwrap();
            }
        };
        let rows: [(&[&str], Mesh, Option<&str>); 6] = [
            (&["ca.key", "ca.pem"], Fresh, None),
            (&["ca.key", "ca.pem"], Relied, Some("restore the folder")),
            // A first start that was cut short leaves a key alone.
            (&["ca.pem"], Fresh, None),
            (&["ca.pem"], Relied, Some("field `ca`")),
            (&["ca.key"], Fresh, Some("restore it")),
            (&["ca.key"], Relied, Some("restore it")),
        ];
        for (gone, mesh, says) in rows {
            let folder = tempfile::tempdir().unwrap();
            Authority::open(folder.path(), Fresh, NOW).unwrap();
            remove(gone, folder.path());
            let before = std::fs::read(folder.path().join("ca.key")).ok();
            let said = Authority::open(folder.path(), mesh, NOW).err();
            let said = said.map(|error| error.to_string());
            match (said, says) {
                (None, None) => {}
                (Some(said), Some(says)) => assert!(said.contains(says), "{gone:?}: {said}"),
                other => panic!("{gone:?} {mesh:?}: {other:?}"),
            }
            let after = std::fs::read(folder.path().join("ca.key")).ok();
            assert!(before.is_none() || before == after, "{gone:?}: the key");
        }
    }

    #[test]
    fn a_key_that_is_not_the_certificates_is_told_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        Authority::open(folder.path(), Mesh::Fresh, NOW).unwrap();
        let other = KeyPair::generate().unwrap().serialize_pem();
        for (key, says) in [(other.as_str(), "does not belong"), ("", "cannot read")] {
            std::fs::write(folder.path().join("ca.key"), key).unwrap();
            let error = Authority::open(folder.path(), Mesh::Fresh, NOW).err();
            let error = error.unwrap().to_string();
            assert!(error.contains(says), "{error}");
        }
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
            (&ours, &issued, NOW - 2 * hour_us, true),
            (&ours, &issued, NOW - 3 * hour_us, false),
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
