//! TLS: certificates that are not good, and peers that do not speak it.

use std::net::SocketAddr;
use std::sync::Arc;

use localize::{Arm, Failure, Hello, Layer, Outcome};
use proto::v1::ServiceSpec;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::{Earlier, failed, layers, listener, probe, probe_of, serve, spec, vip};
use crate::clock::Clock;
use crate::service::Service;

pub(super) struct Authority {
    pub(super) pem: String,
    issuer: Issuer<'static, KeyPair>,
    der: rustls_pki_types::CertificateDer<'static>,
}

pub(super) fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    Authority {
        pem: certificate.pem(),
        der: certificate.der().clone(),
        issuer: Issuer::new(params, key),
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Clients {
    Any,
    WithCertificate,
}

pub(super) fn config(
    authority: &Authority,
    name: &str,
    years: (i32, i32),
    clients: Clients,
) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    let leaf = params.signed_by(&key, &authority.issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        Clients::Any => builder.with_no_client_auth(),
        Clients::WithCertificate => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der.clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    builder
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap()
}

/// An authority's own intermediate, and a certificate of it that says where that is to be had, or does not.
fn below(root: &Authority, says_where: bool) -> [rustls_pki_types::CertificateDer<'static>; 2] {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    let name = rcgen::DnType::CommonName;
    params.distinguished_name.push(name, "an intermediate");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let intermediate = params.signed_by(&key, &root.issuer).unwrap();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    if says_where {
        params.custom_extensions.push(ca_issuers());
    }
    let leaf = params.signed_by(&leaf_key(), &issuer).unwrap();
    [leaf.der().clone(), intermediate.der().clone()]
}

/// One key does for all of these: what is judged is who signed.
fn leaf_key() -> KeyPair {
    static KEY: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let key = KEY.get_or_init(|| KeyPair::generate().unwrap().serialize_der());
    KeyPair::try_from(key.as_slice()).unwrap()
}

/// Authority information access: the issuer's certificate at `http://ca.example/` (RFC 5280, section 4.2.2.1).
fn ca_issuers() -> rcgen::CustomExtension {
    let der =
        |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let method = der(0x06, &[0x2b, 6, 1, 5, 5, 7, 48, 2]);
    let place = der(0x86, b"http://ca.example/");
    let all = der(0x30, &der(0x30, &[method, place].concat()));
    rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], all)
}

fn showing(chain: &[rustls_pki_types::CertificateDer<'static>]) -> ServerConfig {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf_key().serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.to_vec(), key)
        .unwrap()
}

/// A certificate without that of its issuer is told from one of an unknown authority: by the intermediate that
/// another server sent before, or since the certificate says where it is to be had.
#[tokio::test]
async fn a_chain_that_lacks_its_intermediate_is_told_from_an_unknown_authority() {
    use Failure::{CertificateChainIncomplete as Incomplete, CertificateUnknownIssuer as Unknown};
    let (known, stranger) = (authority(), authority());
    let [leaf, intermediate] = below(&known, false);
    let [other, others] = below(&stranger, false);
    let [telling, _] = below(&known, true);
    let [strange, strangers] = below(&stranger, true);
    let service = Arc::new(Service::try_from(trusting(&known.pem)).unwrap());
    let rows = [
        (vec![leaf.clone()], Some(Unknown)),
        (vec![leaf.clone(), intermediate], None),
        (vec![leaf], Some(Incomplete)),
        // Of an unknown authority whatever it sends.
        (vec![other.clone()], Some(Unknown)),
        (vec![other, others], Some(Unknown)),
        (vec![telling], Some(Incomplete)),
        (vec![strange, strangers], Some(Unknown)),
    ];
    for (number, (chain, failure)) in rows.into_iter().enumerate() {
        let arm = Arm::to(vip(serve_tls(showing(&chain)).await));
        let findings = probe_of(&service, Earlier::default(), arm).await.1;
        match failure {
            None => assert_eq!(findings.outcome, Outcome::Passed, "row {number}"),
            Some(failure) => assert_eq!(failed(&findings), (Layer::Tls, failure), "row {number}"),
        }
    }
}

/// Answers one request over TLS and closes without close_notify.
async fn serve_tls(config: ServerConfig) -> SocketAddr {
    let (listener, address) = listener().await;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else {
            return;
        };
        let _ = stream.read(&mut [0; 2048]).await;
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nabc").await;
        let _ = stream.flush().await;
    });
    address
}

pub(super) fn trusting(pem: &str) -> ServiceSpec {
    ServiceSpec {
        ca_pem: pem.to_owned(),
        ..spec("https")
    }
}

#[tokio::test]
async fn a_good_certificate_passes_and_is_described() {
    let authority = authority();
    let config = config(&authority, "shop.example", (2020, 2090), Clients::Any);
    let findings = probe(trusting(&authority.pem), vip(serve_tls(config).await)).await;
    assert_eq!(findings.outcome, Outcome::Passed);
    assert_eq!(layers(&findings), [Layer::Tcp, Layer::Tls, Layer::Http]);
    let facts = findings.facts.tls.unwrap();
    assert_eq!(facts.leaf.len(), 32);
    assert_eq!(facts.not_after, 3_786_912_000);
    assert_eq!(facts.not_before, Some(1_577_836_800));
    let host = Clock::start().now().0 / 1_000_000;
    let judged = facts.judged_at.unwrap().unsigned_abs();
    assert!(judged.abs_diff(host) <= 2, "{judged} at {host}");
}

#[tokio::test]
async fn each_bad_certificate_has_its_failure_and_its_facts() {
    let known = authority();
    let stranger = authority();
    let rows = [
        (
            &known,
            "shop.example",
            (2020, 2021),
            Failure::CertificateExpired,
        ),
        (
            &known,
            "shop.example",
            (2080, 2090),
            Failure::CertificateNotYetValid,
        ),
        (
            &stranger,
            "shop.example",
            (2020, 2090),
            Failure::CertificateUnknownIssuer,
        ),
        (
            &known,
            "other.example",
            (2020, 2090),
            Failure::CertificateWrongName,
        ),
    ];
    for (signer, name, years, failure) in rows {
        let address = serve_tls(config(signer, name, years, Clients::Any)).await;
        let findings = probe(trusting(&known.pem), vip(address)).await;
        assert_eq!(failed(&findings), (Layer::Tls, failure));
        assert_eq!(layers(&findings), [Layer::Tcp]);
        assert!(findings.facts.tls.is_some(), "{failure:?}");
    }
}

#[tokio::test]
async fn a_self_signed_authority_as_leaf_is_good_when_it_is_the_anchor() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let leaf = params.self_signed(&key).unwrap();
    let other = authority();
    for (anchor, passes) in [(leaf.pem(), true), (other.pem, false)] {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        let findings = probe(trusting(&anchor), vip(serve_tls(config).await)).await;
        if passes {
            assert_eq!(findings.outcome, Outcome::Passed);
        } else {
            let failure = Failure::CertificateUnknownIssuer;
            assert_eq!(failed(&findings), (Layer::Tls, failure));
        }
    }
}

#[tokio::test]
async fn an_alert_after_the_handshake_belongs_to_the_handshake() {
    let authority = authority();
    let clients = Clients::WithCertificate;
    let config = config(&authority, "shop.example", (2020, 2090), clients);
    let findings = probe(trusting(&authority.pem), vip(serve_tls(config).await)).await;
    assert_eq!(failed(&findings), (Layer::Tls, Failure::TlsAlert(116)));
    assert_eq!(layers(&findings), [Layer::Tcp]);
}

#[tokio::test]
async fn a_peer_that_is_no_tls_server() {
    let (address, _server) = serve("", super::Then::Wait).await;
    let findings = probe(spec("https"), vip(address)).await;
    assert_eq!(failed(&findings), (Layer::Tls, Failure::TlsTimeout));

    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.read(&mut [0; 2048]).await;
    });
    let findings = probe(spec("https"), vip(address)).await;
    assert_eq!(failed(&findings), (Layer::Tls, Failure::TlsProtocol));

    let (listener, address) = super::listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 2048]).await;
    });
    let findings = probe(spec("https"), vip(address)).await;
    assert_eq!(failed(&findings), (Layer::Tls, Failure::TlsReset));
}

/// Takes what comes before an answer must, and says how much that was.
async fn first_message() -> (SocketAddr, tokio::task::JoinHandle<usize>) {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // The record's header (RFC 8446, section 5.1): type, version, length.
        let mut header = [0; 5];
        stream.read_exact(&mut header).await.unwrap();
        assert_eq!(header[0], 22);
        usize::from(u16::from_be_bytes([header[3], header[4]]))
    });
    (address, server)
}

/// A large hello takes more than one packet of Ethernet and no server minds it; a usual one does not.
#[tokio::test]
async fn a_large_hello_takes_two_packets_and_is_understood() {
    for (hello, sizes) in [(Hello::Usual, 100..1_000), (Hello::Large, 1_600..2_500)] {
        let (address, server) = first_message().await;
        let arm = Arm::to(vip(address)).twin(hello);
        super::probe_arm(spec("https"), arm).await;
        let size = server.await.unwrap();
        assert!(sizes.contains(&size), "{hello:?}: {size}");
        let authority = authority();
        for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12]] {
            let server = config_of(&authority, versions);
            let arm = Arm::to(vip(serve_tls(server).await)).twin(hello);
            let findings = super::probe_arm(trusting(&authority.pem), arm).await;
            assert_eq!(findings.outcome, Outcome::Passed, "{hello:?} {versions:?}");
        }
    }
}

/// A server that speaks these versions alone.
fn config_of(
    authority: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ServerConfig {
    let mut params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2090, 1, 1);
    let leaf = params.signed_by(&leaf_key(), &authority.issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf_key().serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap()
}
